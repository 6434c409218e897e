"""Data made by formula: small landscapes with structure, and plane densities whose score is known exactly."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from copyfold.errors import UsageError


def scenes(count: int, size: int = 32, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Paint landscapes, uint8 N·H·W·C: a sky that pales downwards, a sun, two chains of hills, ground.

    Image k depends on (seed, k) alone, so that a longer series begins with the shorter one. Sizes are in
    pixels. Raises UsageError for a count or size below 1, or channels other than 1 or 3.
    """
    if count < 1 or size < 1 or channels not in (1, 3):
        raise UsageError(f"{count} scenes of size {size} in {channels} channels: at least 1, at least 1, 1 or 3")
    painted = np.stack([_scene(np.random.default_rng([seed, k]), size) for k in range(count)])
    if channels == 1:
        painted = painted @ np.array([[0.299], [0.587], [0.114]])  # luma, ITU-R BT.601
    return np.rint(255 * painted.clip(0, 1)).astype(np.uint8)


def _scene(rng: np.random.Generator, size: int) -> np.ndarray:
    """One landscape, H·W·3 in [0, 1]; y runs down from 0 to 1."""
    y, x = np.meshgrid((np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size, indexing="ij")
    horizon = rng.uniform(0.45, 0.7)
    zenith, haze = _colour(rng, (0.15, 0.3, 0.6), 0.15), _colour(rng, (0.8, 0.75, 0.7), 0.15)
    height = np.clip(y / horizon, 0, 1)[..., None]
    picture = (1 - height) * zenith + height * haze

    across, up, radius = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.8) * horizon, rng.uniform(0.05, 0.12)
    picture = _over(picture, (1.0, 0.95, 0.8), radius - np.hypot(x - across, y - up), size)
    for depth in (0.0, 0.5):
        waves, phase = rng.uniform(1, 4, 3), rng.uniform(0, 2 * np.pi, 3)
        ridge = sum(np.sin(2 * np.pi * w * x + p) / w for w, p in zip(waves, phase, strict=True))
        top = horizon + 0.1 * depth - 0.06 * (1.5 + ridge)
        picture = _over(
            picture,
            _colour(rng, (0.4 - 0.3 * depth, 0.45 - 0.2 * depth, 0.5 - 0.5 * depth), 0.08),
            y - top,
            size,
        )
    ground = _colour(rng, (0.25, 0.3, 0.12), 0.12) * (0.6 + 0.4 * y[..., None])
    return _over(picture, ground, y - horizon - 0.12, size)


def _colour(rng: np.random.Generator, base: tuple[float, float, float], spread: float) -> np.ndarray:
    return np.asarray(base) + rng.uniform(-spread, spread, 3)


def _over(picture: np.ndarray, colour: object, inside: np.ndarray, size: int) -> np.ndarray:
    """Paint a colour where `inside` (a signed distance) is positive, its edge one pixel soft."""
    cover = np.clip(inside * size + 0.5, 0, 1)[..., None]
    return (1 - cover) * picture + cover * np.asarray(colour)


@dataclass(frozen=True)
class GaussianMixture:
    r"""A mixture of round Gaussians with its exact density and score under noise.

        p_s(x) = sum_k w_k N(x; m_k, (std^2 + s^2) I)
        grad log p_s(x) = sum_k r_k(x) (m_k - x) / (std^2 + s^2),   r_k the responsibilities

    `means` is K·D, `weights` K (None: equal), `std` one standard deviation for all. Points are N·D; log
    densities are in nats. The density convolved with noise is what denoising score matching learns
    (Vincent, A connection between score matching and denoising autoencoders, 2011).
    """

    means: Tensor
    std: float
    weights: Tensor | None = None

    def sample(self, count: int, rng: Generator | None = None) -> Tensor:
        """Draw points, count·D."""
        chosen = torch.multinomial(self._log_weights(self.means).exp(), count, replacement=True, generator=rng)
        spread = torch.randn(count, self.means.shape[1], generator=rng, dtype=self.means.dtype)
        return self.means[chosen] + self.std * spread

    def log_prob(self, x: Tensor, noise: float = 0.0) -> Tensor:
        """Log density at N points, after convolving with N(0, noise^2 I)."""
        return self._joint(x, noise).logsumexp(1)

    def score(self, x: Tensor, noise: float = 0.0) -> Tensor:
        """Gradient of `log_prob` at N points, N·D."""
        responsibility = self._joint(x, noise).softmax(1)
        return (responsibility @ self.means.to(x) - x) / (self.std**2 + noise**2)

    def _joint(self, x: Tensor, noise: float) -> Tensor:
        """log w_k + log N(x; m_k, variance I), N·K."""
        variance = self.std**2 + noise**2
        distance = (x[:, None] - self.means.to(x)).square().sum(2)
        dimensions = x.shape[1]
        return self._log_weights(x) - distance / (2 * variance) - dimensions / 2 * math.log(2 * math.pi * variance)

    def _log_weights(self, like: Tensor) -> Tensor:
        weights = torch.ones(len(self.means)) if self.weights is None else self.weights
        weights = weights.to(like)
        return (weights / weights.sum()).log()


def ring(count: int = 8, radius: float = 1.0, std: float = 0.1) -> GaussianMixture:
    """Equal Gaussians evenly on a circle in the plane, in float64."""
    angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
    return GaussianMixture(radius * torch.stack([angle.cos(), angle.sin()], dim=1), std)
