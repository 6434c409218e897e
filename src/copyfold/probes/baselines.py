"""Baseline denoisers without a network, to compare an autoencoder with.

Each is fitted or tuned on pairs of clean and noisy reference images. The linear filters are for any corruption;
all others get the standard deviation of the noise, which must be white: x~ = x + std xi, xi ~ N(0, I).
Images are b, c, h, w.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product, starmap
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from copyfold import catalogue
from copyfold.catalogue import Recorded
from copyfold.errors import UsageError
from copyfold.measures import mse
from copyfold.types import Float, Images

__all__: list[str] = []  # used through `Denoising`, so not among copyfold's public names

D = TypeVar("D", bound="Baseline")

FITTED = 200_000  # pixels that a linear filter is fitted on
PATCHES = 32_768  # patches that principal components are taken of
TUNED = 2**16  # pixels on which settings are compared: 16 images of 64 x 64
GROUP = 16  # images whose patches are in memory together


class Baseline(Recorded, ABC):
    """A denoiser without a network, which gets the standard deviation of the noise."""

    name: ClassVar[str] = ""
    """The name of its result in a Reading; the name of its class where this is empty."""

    @abstractmethod
    def __call__(self, x: Images, std: float) -> Images:
        """Restore x = clean + std xi, xi ~ N(0, I): images of x's shape, dtype and device."""

    @classmethod
    def tuned(cls: type[D], noisy: Images, clean: Images, std: float) -> D:
        """The baseline with the best settings for these pairs and this std; the defaults where none vary."""
        return cls()


def linear_filter(noisy: Images, clean: Images, x: Float[Tensor, "n c h w"], side: int = 7) -> Tensor:
    """Apply to x the side x side filter, with a constant, that best maps `noisy` to `clean`.

        min over w, a of the mean of (<w, p> + a - t)^2        p a neighbourhood in noisy, t its centre in clean

    Least squares over at most 200,000 pixels drawn evenly, one filter for all channels, edges replicated; the
    same for any corruption. An even `side` has no centre: UsageError.
    """
    if side % 2 == 0:
        raise UsageError(f"side={side} is invalid: expected an odd number, as an even filter has no centre")
    target = clean.reshape(-1)
    chosen = torch.linspace(0, len(target) - 1, min(FITTED, len(target)), dtype=torch.float64).long().to(x.device)
    windows = _padded(noisy, side).unfold(2, side, 1).unfold(3, side, 1)  # a view: (b c) 1 h w side side
    b, row, column = torch.unravel_index(chosen, (len(windows), *clean.shape[2:]))
    rows = windows[b, 0, row, column].flatten(1).double()
    rows = torch.cat((rows, torch.ones_like(rows[:, :1])), dim=1)
    answers = target[chosen].double()[:, None]
    # on the CPU, whose solver takes images without any contrast too
    *weights, constant = torch.linalg.lstsq(rows.cpu(), answers.cpu()).solution.to(x.device)
    kernel = torch.cat(weights).reshape(1, 1, side, side)
    return F.conv2d(_padded(x, side).double(), kernel, constant).to(x.dtype).reshape(x.shape)


def frequency_filter(noisy: Images, clean: Images, x: Float[Tensor, "n c h w"]) -> Tensor:
    """Apply to x the best linear map from `noisy` to `clean` for each frequency separately.

        X^[k] = mean X[k] + g[k] (Y[k] - mean Y[k])        g = cov(X, Y) / var(Y),   for every k

    X and Y are cosine transforms of clean and noisy images mirrored at their border pixels (DCT-I). A symmetric
    blur with this mirroring is a factor per frequency. The channels share the gain, each has its own mean. The
    Wiener filter with spectra estimated from the pairs: the same for any corruption.
    """
    from scipy.fft import dctn, idctn

    axes = [axis for axis in (2, 3) if x.shape[axis] > 1]  # one pixel is its own transform
    doubles = (y.double().cpu().numpy() for y in (noisy, clean, x))
    seen, wanted, found = (np.asarray(dctn(y, type=1, axes=axes)) for y in doubles)
    seen_mean, wanted_mean = seen.mean(0), wanted.mean(0)
    seen, wanted = seen - seen_mean, wanted - wanted_mean
    gain = (seen * wanted).sum((0, 1)) / np.maximum((seen**2).sum((0, 1)), 1e-30)
    restored = wanted_mean + gain * (found - seen_mean)
    return torch.from_numpy(idctn(restored, type=1, axes=axes)).to(x)


@dataclass(frozen=True, eq=False)
class PCAWiener(Baseline):
    r"""Shrink the principal components of patches: a Gaussian's Wiener filter.

        D(p) = m + sum_i  lambda_i / (lambda_i + std^2)  <p - m, v_i> v_i        at every position, averaged

    m, lambda and v are the mean, variances and directions of `clean` patches of `side` x `side` pixels, all
    channels together; side = 0 takes whole images. For Gaussian patches with this covariance it is the posterior
    mean, and its mean squared error is the sum of lambda_i std^2 / (lambda_i + std^2). `fit` estimates them from
    at most 32,768 patches drawn evenly; directions in which the sample does not vary have lambda = 0.
    """

    name: ClassVar[str] = "PCA-Wiener"

    patch: tuple[int, int]
    mean: Float[Tensor, "d"]
    variances: Float[Tensor, "k"]
    directions: Float[Tensor, "d k"]

    @classmethod
    def fit(cls, clean: Images, side: int = 8) -> "PCAWiener":
        """Take the principal components of clean images or of their patches, clamped to the image."""
        height, width = (min(side or n, n) for n in clean.shape[2:])
        windows = clean.unfold(2, height, 1).unfold(3, width, 1)  # a view: b c rows columns height width
        places = (len(clean), *windows.shape[2:4])
        count = places[0] * places[1] * places[2]
        chosen = torch.linspace(0, count - 1, min(PATCHES, count), dtype=torch.float64).long().to(clean.device)
        b, row, column = torch.unravel_index(chosen, places)
        rows = windows[b, :, row, column].flatten(1)
        mean = rows.mean(dim=0)
        return cls((height, width), mean, *_principal(rows - mean))

    @classmethod
    def tuned(cls, noisy: Images, clean: Images, std: float) -> "PCAWiener":
        """The best of patches of 8 or 16 pixels and whole images on held-out images, then fitted to all."""
        shown = _shown(clean)
        others = torch.ones_like(clean[:, 0, 0, 0], dtype=torch.bool).index_fill(0, shown, len(clean) == 1)
        sides = [side for side in (8, 16, 0) if side < min(clean.shape[2:])]
        fits = _fits_of(clean)  # which no noise is in: the same for any std
        for side in sides:
            if ("others", side) not in fits:
                fits["others", side] = cls.fit(clean[others], side)
        fitted = {fits["others", side]: side for side in sides}
        side = fitted[best(fitted, noisy[shown], clean[shown], std)]
        if ("all", side) not in fits:
            fits["all", side] = cls.fit(clean, side)
        return fits["all", side]

    def __call__(self, x: Images, std: float) -> Images:
        """Restore x, noisy with this std; UsageError where it is smaller than a patch or has other channels."""
        if len(self.mean) != x.shape[1] * self.patch[0] * self.patch[1] or min(x.shape[2:]) < min(self.patch):
            raise UsageError(
                f"components of {len(self.mean)} pixel values, {self.patch[0]} x {self.patch[1]} in every channel,"
                f" do not fit images of {tuple(x.shape[1:])}: fit them on images of that size"
            )
        shrink = self.variances / (self.variances + std**2)
        return torch.cat([self._restored(group, shrink) for group in x.split(GROUP)])

    def _restored(self, x: Images, shrink: Tensor) -> Images:
        size = x.shape[2:]
        # Every second position is enough for large patches, where these cover the image to its border
        reach = [n - m for n, m in zip(size, self.patch, strict=True)]
        step = 2 if min(self.patch) > 8 and not any(r % 2 for r in reach) else 1
        p = F.unfold(x, self.patch, stride=step).transpose(1, 2)  # b positions d
        restored = (((p - self.mean) @ self.directions) * shrink) @ self.directions.T + self.mean
        both = torch.stack((restored, torch.ones_like(restored)))
        total, times = (F.fold(v.transpose(1, 2), size, self.patch, stride=step) for v in both)
        return total / times


@dataclass(frozen=True)
class NonLocalMeans(Baseline):
    r"""Average the pixels whose neighbourhoods look alike.

        D(x)[i] = sum_j w[i, j] x[j] / sum_j w[i, j]
        w[i, j] = exp(-max(d[i, j] - 2 std^2, 0) / (h std)^2)

    d is the mean squared difference of the patches (`patch` pixels wide) around i and j, at most `distance`
    pixels apart in each axis. Buades, Coll and Morel (2005), as scikit-image has it.
    """

    name: ClassVar[str] = "non-local means"

    h: float = 0.8
    patch: int = 5
    distance: int = 6

    @classmethod
    def tuned(cls, noisy: Images, clean: Images, std: float) -> "NonLocalMeans":
        """The best of four h, two patches and three distances."""
        shown = _shown(clean)
        settings = starmap(cls, product(*_MEANS))
        return best(settings, noisy[shown], clean[shown], std)

    def __call__(self, x: Images, std: float) -> Images:
        """Restore x, noisy with this std."""
        from skimage.restoration import denoise_nl_means

        restored = [
            denoise_nl_means(
                image, self.patch, self.distance, self.h * std, fast_mode=True, sigma=std, channel_axis=-1
            )
            for image in x.permute(0, 2, 3, 1).double().cpu().numpy()
        ]
        return torch.from_numpy(np.stack(restored)).reshape(len(x), *x.shape[2:], -1).permute(0, 3, 1, 2).to(x)


@dataclass(frozen=True)
class Wavelet(Baseline):
    r"""Shrink the wavelet coefficients of all shifts of the image, and average.

        d -> sign(d) max(|d| - t, 0)        t = factor std^2 / sqrt(max(mean d^2 - std^2, 0))  per image and band

    BayesShrink (Chang, Yu and Vetterli, "Adaptive wavelet thresholding for image denoising and compression",
    2000) on `shifts`^2 translations of the image, mirrored at its border (Coifman and Donoho's cycle spinning,
    1995). The transform has at most `levels`, fewer where the image is small for the wavelet, a name that
    PyWavelets knows. Colour images: the mean of the channels and their differences.
    """

    name: ClassVar[str] = "wavelet"

    wavelet: str = "db2"
    factor: float = 1.0
    shifts: int = 8
    levels: int = 4

    @classmethod
    def tuned(cls, noisy: Images, clean: Images, std: float) -> "Wavelet":
        """The best of three wavelets and four factors, compared with 4 shifts, in a quarter of the time."""
        shown = _shown(clean)
        settings = (cls(*setting, shifts=4) for setting in product(*_WAVELETS))
        return replace(best(settings, noisy[shown], clean[shown], std), shifts=8)

    def __call__(self, x: Images, std: float) -> Images:
        """Restore x, noisy with this std."""
        reach, (height, width) = self.shifts - 1, x.shape[2:]
        ones = torch.ones(x.shape[1], 1, dtype=torch.float64)
        rotation = torch.linalg.qr(ones, mode="complete").Q.numpy()  # orthonormal: white noise stays white
        y = np.einsum("bchw,ck->bkhw", x.double().cpu().numpy(), rotation)
        y = np.pad(y, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="symmetric")
        total = np.zeros(x.shape)
        for row, column in product(range(self.shifts), repeat=2):
            restored = self._shrunk(y[..., row : row + height + reach, column : column + width + reach], std)
            total += restored[..., reach - row :, reach - column :][..., :height, :width]
        return torch.from_numpy(np.einsum("bkhw,ck->bchw", total / self.shifts**2, rotation)).to(x)

    def _shrunk(self, y: np.ndarray, std: float) -> np.ndarray:
        """Transform one shift, shrink the coefficients, transform back; the last row or column may be doubled."""
        import pywt

        levels = min(self.levels, pywt.dwtn_max_level(y.shape[2:], self.wavelet))
        coarse, *fine = pywt.wavedec2(y, self.wavelet, level=levels)
        kept = [tuple(_soft(band, std, self.factor) for band in bands) for bands in fine]
        return pywt.waverec2([coarse, *kept], self.wavelet)


_fits: Any = WeakTensorKeyDictionary()


def _fits_of(clean: Images) -> dict[tuple[str, int], PCAWiener]:
    """The principal components of images that are known so far, as long as the images are there and unchanged."""
    version = 0 if clean.is_inference() else clean._version  # counts what is written into a tensor
    before, found = _fits.get(clean, (version, {}))
    if before != version:
        found = {}
    _fits[clean] = version, found
    return found


def best(candidates: Iterable[D], noisy: Images, clean: Images, std: float) -> D:
    """The candidate with the smallest mean squared error on these images; of equal ones the first."""
    return min(candidates, key=lambda restore: mse(restore(noisy, std), clean).mean().item())


def tuned(noisy: Images, clean: Images, std: float) -> dict[str, Baseline]:
    """Every Baseline of copyfold's own with the best settings for these images and this noise, by name.

    Settings are compared on at most a quarter of the images and at most 65,536 pixels, drawn evenly. For this
    comparison the principal components are those of the other images, and in the end those of all.
    """
    made = [cls.tuned(noisy, clean, std) for cls in catalogue.classes(Baseline).values()]
    return {called(restore): restore for restore in sorted(made, key=called)}


def called(baseline: Baseline) -> str:
    """The name of a baseline's result."""
    return baseline.name or type(baseline).__name__


def _shown(clean: Images) -> Tensor:
    """The indices of the images that settings are compared on."""
    count = max(1, min(len(clean) // 4, TUNED // (clean.shape[2] * clean.shape[3])))
    return torch.linspace(0, len(clean) - 1, count, device=clean.device).long()


_MEANS = (0.5, 0.65, 0.8, 0.95), (5, 7), (3, 4, 6)  # h, patch, distance
_WAVELETS = ("db1", "db2", "sym4"), (0.7, 0.85, 1.0, 1.2)  # wavelet, factor


def _soft(band: np.ndarray, std: float, factor: float) -> np.ndarray:
    signal = (band**2).mean(axis=(2, 3), keepdims=True) - std**2
    t = factor * std**2 / np.sqrt(np.maximum(signal, np.finfo(np.float64).tiny))
    return np.sign(band) * np.maximum(np.abs(band) - t, 0)


def _principal(rows: Float[Tensor, "n d"]) -> tuple[Tensor, Tensor]:
    """Variances (k) and directions (d k) of centred rows: by their covariance, or by thin SVD if they are few."""
    n, d = rows.shape
    if n > d:
        variances, directions = torch.linalg.eigh(rows.T @ rows / n)
        return variances.clamp(min=0), directions
    _, s, v = torch.linalg.svd(rows, full_matrices=False)
    return s**2 / n, v.T


def _padded(x: Images, side: int) -> Tensor:
    """Channels apart, (b c) 1 h w, the border replicated as far as the filter reaches."""
    return F.pad(x.reshape(-1, 1, *x.shape[2:]), (side // 2,) * 4, mode="replicate")
