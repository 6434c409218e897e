"""Corruptions of an image before the encoder sees it: x -> a sample of C(x~ | x).

None of these clips to [0, 1]: clipping changes the distribution that the theory of denoising is about (the
score, the posterior mean), and a model takes values outside [0, 1] as well. Clip only for display.

Every corruption takes the generator to draw from, which may be on another device than the images; without one it
draws from torch's global generator of the images' device. Numbers are drawn on the generator's device and then
moved, so that one state of the generator gives the same sample for any device and memory format of the images.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Generator, Tensor

from copyfold.catalogue import Recorded
from copyfold.errors import UsageError, is_number, within
from copyfold.types import Images

Level: TypeAlias = float | tuple[float, float]
"""The strength of a corruption: one number, or (low, high) to draw one between them for every image."""

UNIT = (0.0, 1.0)


def noise_like(x: Tensor, mean: float = 0.0, std: float = 1.0, rng: Generator | None = None) -> Tensor:
    """Normal noise N(mean, std^2), independent per element, of the same kind as x.

    Shape, dtype, device and memory format are those of x. Raises UsageError where x is not floating point.
    """
    if not x.is_floating_point():
        raise UsageError(f"noise needs images of floating point, not {x.dtype}: divide them by 255 first")
    source = x.device if rng is None else rng.device
    eta = torch.randn(x.shape, generator=rng, dtype=x.dtype, device=source)
    # Drawn in logical order, then copied: filled in place, channels_last would change which pixel gets what.
    # The copy to a GPU is asynchronous
    return torch.empty_like(x, requires_grad=False).copy_(eta, non_blocking=x.is_cuda).mul_(std).add_(mean)


def uniform_like(x: Tensor, rng: Generator | None = None) -> Tensor:
    """Samples of U(0, 1) in x's shape, on its device; float32, as half is too coarse for a small rate."""
    source = x.device if rng is None else rng.device
    u = torch.rand(x.shape, generator=rng, dtype=torch.float32, device=source)
    return u.to(x.device, non_blocking=x.is_cuda)


def drawn(level: tuple[float, float], x: Images, rng: Generator | None = None) -> Tensor:
    """A sample of U(low, high) for every image, b x 1 x 1 x 1."""
    low, high = level
    return (low + (high - low) * uniform_like(x[:, :1, :1, :1], rng)).to(x)


class Corruption(Recorded, ABC):
    """A conditional distribution C(x~ | x); a call draws one sample per image.

    A call draws from `rng` alone, or from torch's global generator without one, and does not change x.
    `copyfold.testing.check_corruption` tests one of your own.
    """

    @abstractmethod
    def __call__(self, x: Images, rng: Generator | None = None) -> Images:
        """A sample x~, with the shape, dtype and device of x; gradients flow to x."""


@dataclass(frozen=True)
class Clean(Corruption):
    """No corruption: x~ = x, the same tensor."""

    def __call__(self, x: Images, rng: Generator | None = None) -> Images:
        """Return x itself."""
        return x


@dataclass(frozen=True)
class Mix(Corruption):
    r"""A convex combination of image and noise, brighter than most photos.

        x~ = k x + (1 - k) eta        eta ~ N(mean, std^2) per pixel value,   k = keep in [0, 1]
        E ||x~ - x||^2 = (1 - k)^2 (||x - mean||^2 + D std^2)        D = c h w

    The corruption of the essay "Autoencoders: Learning by Copying": its text says that noise is added, its
    scripts combine it convexly, with these defaults. keep = 0 is pure noise, keep = 1 does not change the images;
    a pair (low, high) draws it per image, (0, 1) as in a line that its scripts do not run.
    """

    keep: Level = 0.5
    mean: float = 0.7
    std: float = 0.2

    def __post_init__(self) -> None:
        _take(self, "keep", 0.0, 1.0)
        within("(-inf, inf)", self, mean=self.mean)
        within("[0, inf)", self, std=self.std)

    def __call__(self, x: Images, rng: Generator | None = None) -> Images:
        """Draw k x + (1 - k) eta."""
        keep = drawn(self.keep, x, rng) if isinstance(self.keep, tuple) else self.keep
        return keep * x + (1 - keep) * noise_like(x, self.mean, self.std, rng)


@dataclass(frozen=True)
class Gaussian(Corruption):
    r"""Add normal noise to every pixel value: x~ ~ N(x, std^2 I).

        x~ = x + std eta        eta ~ N(0, I)
        E ||x~ - x||^2 = D std^2        D = c h w

    A pair std = (low, high) draws a std per image, its logarithm uniform between theirs, so that one model
    learns to remove noise of all these levels.
    For this corruption the optimal denoiser gives the score: E[x | x~] = x~ + std^2 grad log p_std(x~),
    p_std the density of x~ (Tweedie's formula; Murphy, Probabilistic Machine Learning: An Introduction, 2022,
    section 20.3).
    """

    std: Level = 0.2

    def __post_init__(self) -> None:
        _take(self, "std", 0.0)
        lowest = self.std[0] if isinstance(self.std, tuple) else 1.0
        _require(
            lowest > 0, f"Gaussian(std={self.std}) is invalid: expected a pair above 0, as its logarithm is drawn"
        )

    def __call__(self, x: Images, rng: Generator | None = None) -> Images:
        """Draw x + std eta."""
        if isinstance(self.std, tuple):
            low, high = map(math.log, self.std)
            return x + torch.exp(drawn((low, high), x, rng)) * noise_like(x, rng=rng)
        return x + self.std * noise_like(x, rng=rng)


@dataclass(frozen=True)
class Masking(Corruption):
    r"""Set each pixel value to zero with probability `rate`: dropout of the input.

        x~ = m x              m ~ Bernoulli(1 - rate), per element: channels are masked independently
        E ||x~ - x||^2 = rate ||x||^2
        with rescale:  x~ = m x / (1 - rate),   E x~ = x,   E ||x~ - x||^2 = rate / (1 - rate) ||x||^2

    Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (2008), without
    rescaling; with it, it is what torch.nn.Dropout does in training. A pair (low, high) draws a rate per image.
    """

    rate: Level = 0.5
    rescale: bool = False

    def __post_init__(self) -> None:
        _take(self, "rate", 0.0, 1.0)
        highest = max(self.rate) if isinstance(self.rate, tuple) else self.rate
        _require(
            highest < 1 or not self.rescale,
            f"Masking(rate={self.rate}, rescale=True) is invalid: expected a rate below 1, or rescale=False",
        )

    def __call__(self, x: Images, rng: Generator | None = None) -> Images:
        """Draw m x, or m x / (1 - rate)."""
        rate = drawn(self.rate, x, rng) if isinstance(self.rate, tuple) else self.rate
        kept = x.clone().masked_fill_(uniform_like(x, rng) < rate, 0)
        return kept / (1 - rate) if self.rescale else kept


@dataclass(frozen=True)
class Blur(Corruption):
    r"""Blur with a Gaussian window, `kernel` pixels wide (odd), `std` in pixels.

        x~[i, j] = sum_{u,v} g[u] g[v] x[i + u, j + v]        g[u] ~ exp(-u^2 / (2 std^2)), sum_u g[u] = 1

    Deterministic; every channel has the same window. Beyond its border the image is mirrored (d c b |
    a b c d | c b a), as often as the window needs, so that an image smaller than the window works too.
    Defaults: the essay's de-blurring script.
    """

    kernel: int = 19
    std: float = 8.0

    def __post_init__(self) -> None:
        odd = isinstance(self.kernel, int) and self.kernel > 0 and self.kernel % 2 == 1
        _require(odd, f"Blur(kernel={self.kernel}) is invalid: expected an odd number of pixels")
        within("(0, inf)", self, std=self.std)

    def __call__(self, x: Images, rng: Generator | None = None) -> Images:
        """Blur both axes: H x W^T, H and W the matrices of the convolution along one."""
        # Two matrix products: several times faster than a depthwise convolution on a CPU, and as exact
        rows, columns = (self.matrix(size).to(x, non_blocking=x.is_cuda) for size in x.shape[-2:])
        return rows @ x @ columns.T

    def window(self) -> Tensor:
        """g: `kernel` weights in float64 that sum to 1."""
        u = torch.arange(self.kernel, dtype=torch.float64) - self.kernel // 2
        return torch.softmax(-(u**2) / (2 * self.std**2), dim=0)

    def matrix(self, size: int) -> Tensor:
        """The convolution of an axis of `size` pixels, as a size x size matrix in float64."""
        reach, period = self.kernel // 2, max(2 * (size - 1), 1)
        i = torch.arange(-reach, size + reach) % period
        mirrored = torch.minimum(i, period - i) % size  # a single pixel is its own mirror image
        sources = mirrored.unfold(0, self.kernel, 1)  # size, kernel: where each output pixel reads
        return torch.zeros(size, size, dtype=torch.float64).scatter_add_(
            1, sources, self.window().expand(size, -1)
        )


@dataclass(frozen=True)
class Patches(Corruption):
    r"""Paint defects over an image: pieces of other images, colours, smooth textures.

        x~ = (1 - s m) x + s m c,   m in [0, 1] the mask of one of 1 to `count` defects

    Masks m are rectangles, lines a pixel or more wide, or blobs, at any place and angle. `size` is half of a
    defect's length, as a share of the image's shorter side; of a pair (low, high) its logarithm is drawn. The
    content c is a piece of another image of the batch (of the image itself where it is alone), one colour, or a
    smooth texture; `strength` is s. `clean` is the share of images that stay as they are.

    A network that is trained to undo it (recipe `defects`) repairs structured defects that it has not seen, and
    what it changes shows where they are: the idea of arXiv:2511.07233.
    """

    count: int = 3
    size: Level = (0.03, 0.25)
    strength: Level = (0.3, 1.0)
    clean: float = 0.2

    def __post_init__(self) -> None:
        whole = isinstance(self.count, int) and self.count >= 1
        _require(whole, f"Patches(count={self.count}) is invalid: expected a whole number of at least 1")
        _take(self, "size", 1e-3, 1.0)
        _take(self, "strength", 0.0, 1.0)
        within("[0, 1]", self, clean=self.clean)

    def __call__(self, x: Images, rng: Generator | None = None) -> Images:
        """Paint 1 to `count` defects, as likely each, over every image that does not stay as it is."""
        painted = x
        wanted = drawn(UNIT, x, rng) * self.count
        for k in range(self.count):
            seen = self._mask(x, rng) * drawn(_pair(self.strength), x, rng) * (wanted >= k)
            painted = painted + seen * (self._content(x, rng) - painted)
        return torch.where(drawn(UNIT, x, rng) < self.clean, x, painted)

    def _mask(self, x: Images, rng: Generator | None) -> Tensor:
        """The mask of one defect for every image, b x 1 x h x w; soft over one pixel at its edge."""
        height, width = x.shape[2:]
        side = min(height, width)
        down, right, angle, kind, breadth = (drawn(UNIT, x, rng) for _ in range(5))
        low, high = map(math.log, _pair(self.size))
        a = side * torch.exp(drawn((low, high), x, rng))  # half of its length, in pixels
        line = kind < 1 / 3
        b = torch.where(line, 0.5 + 0.02 * side * breadth, a * (0.3 + 0.7 * breadth))
        y = torch.arange(height, dtype=x.dtype, device=x.device)[:, None] + 0.5 - down * height
        z = torch.arange(width, dtype=x.dtype, device=x.device) + 0.5 - right * width
        cos, sin = torch.cos(math.pi * angle), torch.sin(math.pi * angle)
        u, v = (cos * z + sin * y) / a, (cos * y - sin * z) / b
        box = torch.maximum(u.abs(), v.abs())
        blob = (u.square() + v.square()).sqrt() + 0.5 * (_smooth(x[:, :1], rng) - 0.5)
        inside = 1 - torch.where(kind > 2 / 3, blob, box)
        return (inside * torch.minimum(a, b) + 0.5).clamp(0, 1)

    def _content(self, x: Images, rng: Generator | None) -> Images:
        """What is painted: a piece of another image, a colour or a smooth texture, b x c x h x w."""
        b, _, height, width = x.shape
        # Drawn in float32, whatever x has, and floored only then: a GPU gets the numbers of a CPU
        other, down, right = (uniform_like(x[:, 0, 0, 0], rng) for _ in range(3))
        i = torch.arange(b, device=x.device)
        others = (i + 1 + (other * (b - 1)).long()) % b
        rows = (torch.arange(height, device=x.device) + (down * height).long()[:, None]) % height
        columns = (torch.arange(width, device=x.device) + (right * width).long()[:, None]) % width
        piece = x[others[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
        colour = uniform_like(x[:, :, :1, :1], rng).to(x)
        texture = (colour + _smooth(x, rng) - 0.5).clamp(0, 1)
        kind = drawn(UNIT, x, rng)
        return torch.where(kind < 0.5, piece, torch.where(kind < 0.75, colour, texture))


def _pair(level: Level) -> tuple[float, float]:
    return level if isinstance(level, tuple) else (level, level)


def _smooth(x: Images, rng: Generator | None, cells: int = 6) -> Images:
    """Smooth random textures of x's shape in [0, 1]: a coarse grid of uniform noise, interpolated."""
    height, width = x.shape[2:]
    coarse = uniform_like(x.new_empty(*x.shape[:2], cells, cells), rng).to(x)
    rows, columns = (_between(cells, side).to(x) for side in (height, width))
    return rows @ coarse @ columns.T


def _between(cells: int, side: int) -> Tensor:
    """Linear interpolation from `cells` points to `side` pixels, as a side x cells matrix in float64."""
    place = torch.linspace(0, cells - 1, side, dtype=torch.float64)
    points = torch.arange(cells, dtype=torch.float64)
    return (1 - (place[:, None] - points).abs()).clamp(min=0)


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise UsageError(message)


def _take(corruption: Corruption, name: str, low: float, high: float = math.inf) -> None:
    """Check a level, and store the list that a recipe has as a pair."""
    value = getattr(corruption, name)
    if isinstance(value, list | tuple):
        value = tuple(value)
        object.__setattr__(corruption, name, value)
    levels = value if isinstance(value, tuple) else (value,)
    where = f"between {low:g} and {high:g}" if high < math.inf else f"of at least {low:g}"
    given = f"{type(corruption).__name__}({name}={value}) is invalid"
    _require(
        all(is_number(level) and low <= level <= high and math.isfinite(level) for level in levels)
        and (len(levels) == 2 or not isinstance(value, tuple)),
        f"{given}: expected a finite number {where}, or a pair (low, high) of such numbers",
    )
    _require(levels[0] <= levels[-1], f"{given}: expected (low, high), the lower number first")
