"""Numbers about images: tensors in, tensors out, one value per image mostly.

Images are floating point with values nominally in [0, 1]; half precision is computed in float32. Those of a
pair take two tensors of the same shape b, ...; all raise UsageError for what they cannot measure. Missing pixels
are NaN: `mse` and `psnr` leave those of their second images out, the others take `filled` images.
"""

from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from copyfold.errors import UsageError, at_least
from copyfold.types import Float, Images

PerImage = Float[Tensor, "b"]


def filled(x: Images) -> Images:
    """Images without missing pixels: those, NaN, have the mean of the others in their image and channel.

    1/2 where a channel has no others. It is what models see; what is compared with x leaves the pixels out.
    """
    missing = x.isnan()
    total = torch.where(missing, 0, x).sum((2, 3), keepdim=True)
    count = (~missing).sum((2, 3), keepdim=True)
    mean = torch.where(count > 0, total / count.clamp(min=1), 0.5)
    return torch.where(missing, mean.to(x.dtype), x)


def mean_image(x: Images) -> Float[Tensor, "c h w"]:
    """The mean over images of every pixel, of those in which it is not missing; 1/2 where it always is.

    Summed in float64: in float32 the mean of equal images is not one of them.
    """
    return x.nanmean(0, dtype=torch.float64).nan_to_num(0.5).to(x)


def mse(a: Tensor, b: Tensor) -> PerImage:
    """Mean squared error per pixel value: ||a - b||^2 / D, of D = c h w values.

    Pixels missing in b, NaN, are left out, and D is the number of the others; 0 where there are none. NaN in a, as
    of a model that diverged, is not left out.
    """
    errors = _difference(a, b).square()
    missing = b.flatten(1).isnan() & ~a.flatten(1).isnan()
    return torch.where(missing, 0, errors).sum(dim=1) / (~missing).sum(dim=1).clamp(min=1)


def distance(a: Tensor, b: Tensor, norm: Literal["l1", "l2"] = "l2") -> PerImage:
    """Distance of each pair: ||a - b||_2 or ||a - b||_1.

    The root of the sum of squares, or the sum of absolute values; not a mean over pixels. Takes codes as well
    as images: whatever follows the batch is one vector.
    """
    if norm not in ("l1", "l2"):
        raise UsageError(f"norm={norm!r} is invalid: expected l1 or l2")
    return torch.linalg.vector_norm(_difference(a, b), ord=int(norm[1]), dim=1)


def psnr(a: Tensor, b: Tensor) -> PerImage:
    """Peak signal-to-noise ratio in dB for values of range 1: -10 log10 mse(a, b).

    Infinite for equal images. Report its mean over images: the PSNR of the pooled error (torchmetrics'
    default) is ruled by the worst images of the batch. Two images of 20 and 40 dB pool to 23, not to 30.
    """
    return -10 * torch.log10(mse(a, b))


def ssim(a: Images, b: Images) -> PerImage:
    """Structural similarity for values of range 1: 1 if equal, near 0 if unrelated.

    Wang, Bovik, Sheikh and Simoncelli (2004): Gaussian window of 11 pixels and standard deviation 1.5,
    constants (0.01)^2 and (0.03)^2, mean over channels and over the positions where the window fits. In
    images of 6 to 10 pixels it fits nowhere: there the mean is over all positions of the mirrored image, a
    number to compare with its like only. Smaller images: UsageError. scikit-image's, on the CPU; no gradient.
    """
    _difference(a, b)
    side, reach = min(a.shape[2:], default=0), 5
    if side <= reach or a.dim() != 4:
        raise UsageError(f"SSIM needs images b, c, h, w of at least 6 x 6 pixels, not {_size(a)}")
    from skimage.metrics import structural_similarity

    a, b = _at_least_single(a), _at_least_single(b)
    if side <= 2 * reach:
        a, b = (F.pad(x, (reach,) * 4, mode="reflect") for x in (a, b))
    pairs = zip(*(x.detach().cpu().numpy() for x in (a, b)), strict=True)
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}  # the paper's
    found = [structural_similarity(*pair, data_range=1.0, channel_axis=0, **window) for pair in pairs]
    return a.new_tensor(found)


def sharpness(x: Images) -> PerImage:
    """Energy of the Laplacian: mean of (x[up] + x[down] + x[left] + x[right] - 4x)^2.

    The mean is over channels and the pixels that have four neighbours; in squared intensity. Subbarao, Choi
    and Nikzad, "Focusing techniques" (1993). Blur lowers it and noise raises it: white noise of variance s^2
    adds 20 s^2, so read it beside `noise_level`. Images under 3 x 3 pixels: UsageError.
    """
    return _filtered(x, _LAPLACIAN).square().mean(dim=1)


def noise_level(x: Images) -> PerImage:
    """Estimate the standard deviation of the white noise in each image, without a clean reference.

        median |x * N| / (6 * 0.6745)        N = [[1, -2, 1], [-2, 4, -2], [1, -2, 1]]

    N is the difference of two Laplacians: planes and straight edges along the axes vanish in it, and the
    noise comes out with standard deviation 6 s (Immerkaer, "Fast noise variance estimation", 1996). The
    median instead of his mean makes it robust to texture (Donoho and Johnstone, 1994; 0.6745 is the median of
    |N(0, 1)|). Fine texture still counts as noise, and noise that was clipped at 0 or 1 or quantised away is
    missed. Images under 3 x 3 pixels: UsageError.
    """
    # Sorted, not torch.median: that one has no deterministic form on a GPU
    response = _filtered(x, _IMMERKAER).abs().sort(dim=1).values
    return response[:, response.shape[1] // 2] / (6 * 0.6744897501960817)


def noise_correlation(x: Images) -> tuple[Float[Tensor, ""], Float[Tensor, "4"], Float[Tensor, ""]]:
    """Estimate the noise of a set of images and how neighbours correlate in it: (std, correlations, error).

        E sum_{i, i+d} r_i r_{i+d} = sum_k c_k tr(P A_d P A_k)        r = P block,   A_d the pairs at distance d

    The four correlations c_d / c_0 are those of a pixel and the next one to the right, below, below to the right
    and below to the left; 0 in white noise. r is what a plane leaves of a block of 8 x 8 pixels of one channel.
    The c come from these five equations, which know what the plane takes away (P), solved for the flattest blocks,
    where hardly anything but noise is left: those whose squares are at most 1.25 times what a twentieth of all
    blocks, and at least 32, stay below. Blocks of one value, or with missing pixels, are left out.

    `error` is the standard error of a correlation of white noise. The flattest blocks are so by chance too: std
    comes out up to an eighth too small, a correlation up to a third. Texture as fine as a pixel counts as noise
    where it is in all blocks; what varies more slowly than a block counts as image. NaN for fewer than 32 blocks.
    """
    if x.dim() != 4:
        raise UsageError(f"this measure needs images b, c, h, w, not {_size(x)}")
    m, none = BLOCK, x.new_full((), torch.nan, dtype=torch.float64)
    if min(x.shape[2:]) < m:
        return none, none.expand(4), none
    blocks = x.double().unfold(2, m, m).unfold(3, m, m).reshape(-1, m * m)
    u = torch.arange(m, dtype=torch.float64, device=x.device)
    plane = torch.linalg.qr(torch.stack([torch.ones(m * m).to(u), u.repeat(m), u.repeat_interleave(m)], 1)).Q
    rest = torch.eye(m * m).to(u) - plane @ plane.T
    left = blocks[(blocks.amax(1) > blocks.amin(1)) & blocks.isfinite().all(1)] @ rest
    if len(left) < FLATTEST:
        return none, none.expand(4), none
    squares = left.square().sum(1)
    least = squares.sort().values[max(FLATTEST, len(left) // 20) - 1]
    left = left[squares <= 1.25 * least]
    covariance = left.T @ left / len(left)
    pairs = torch.stack([_pairs(m, *d) for d in ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))]).to(u)
    seen = (covariance * pairs).sum((1, 2))
    expected = torch.einsum("dij,kij->dk", pairs, rest @ pairs @ rest)
    c = torch.linalg.solve(expected, seen)
    return c[0].clamp(min=0).sqrt(), c[1:] / c[0], none.new_tensor((len(left) * m * (m - 1)) ** -0.5)


BLOCK, FLATTEST = 8, 32
"""Of `noise_correlation`: the side of a block in pixels, and the number of blocks at least."""


def _pairs(side: int, down: int, right: int) -> Tensor:
    """Which pixels of a block are so far from each other: a symmetric matrix of 0 and 1, side^2 x side^2."""
    i = torch.arange(side)
    row, column = i.repeat_interleave(side), i.repeat(side)
    there = (row[None] - row[:, None] == down) & (column[None] - column[:, None] == right)
    return (there | there.T).double()


def kurtosis(x: Images) -> PerImage:
    """Excess kurtosis of the pixel values of each image: 0 for normal noise, -1.2 for uniform noise.

        m4 / m2^2 - 3        m_k = mean (x - mean x)^k

    For D values of normal noise its standard deviation is about sqrt(24 / D). NaN where all values are
    the same.
    """
    centred = _centred(x)
    return centred.pow(4).mean(dim=1) / centred.square().mean(dim=1).square() - 3


def normality(x: Images) -> PerImage:
    """Kolmogorov-Smirnov distance of each image's pixel values from a normal distribution: 0 if they have it.

        max_t |F(t) - Phi((t - m) / s)|        F the share of values <= t,   m, s their mean and std

    For D independent normal values about 0.62 / sqrt(D) (0.9 / sqrt(D) for one in twenty: Lilliefors, 1967),
    for uniform ones 0.06 and more, however large the image. NaN where all values are the same.
    """
    centred = _centred(x)
    z = (centred / centred.square().mean(dim=1, keepdim=True).sqrt()).sort(dim=1).values
    expected, n = torch.special.ndtr(z), z.shape[1]
    below = torch.arange(n, dtype=z.dtype, device=z.device) / n
    return torch.maximum(expected - below, below + 1 / n - expected).amax(dim=1)


def flatness(x: Images) -> PerImage:
    """Spectral flatness: the geometric mean of the power spectrum over its arithmetic mean, DC left out.

    exp(-0.5772) = 0.561 for white noise of whatever distribution, since its powers are exponentially distributed
    about one mean; towards 0 the more the image is made of few waves, as smooth images are. Mean over channels.
    Johnston, "Transform coding of audio signals using perceptual noise criteria" (1988), there in one dimension.
    NaN where all values are the same.
    """
    spectrum = torch.fft.fft2(_centred(x).view(x.shape)).abs().square().flatten(2)[..., 1:]
    return (spectrum.log().mean(dim=2).exp() / spectrum.mean(dim=2)).mean(dim=1)


def spread(x: Images) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """How far images differ from each other, and how far the pixels of each from their mean: (between, within).

        between^2 = mean over pixels and channels of the variance over images
        within^2  = mean over images of the variance over pixels and channels

    Root mean squares per pixel value, of variances that divide by the count. Of independent noise both are its
    standard deviation (but for few images); of one image again and again `between` is 0, of flat images `within`.
    """
    rows = _rows(x)
    return rows.var(0, correction=0).mean().sqrt(), rows.var(1, correction=0).mean().sqrt()


def sliced_wasserstein(
    a: Tensor, b: Tensor, rng: Generator | None = None, projections: int = 128
) -> Float[Tensor, ""]:
    """Sliced 2-Wasserstein distance of a set of n vectors and one of m: one number.

        SW2(a, b)^2 = mean_t W2(<a, t>, <b, t>)^2        t uniform on the unit sphere, `projections` of them

    Exact along each direction, whatever n and m: the integral of the squared difference of the two quantile
    functions. In the units of the vectors: moving a set by v costs |v| / sqrt(d), in d dimensions. a is n,
    ... and b is m, ... with the same trailing shape, flattened. Two samples of one distribution are not at
    distance 0, and the fewer the farther: compare only numbers from the same counts.
    Rabin, Peyre, Delon and Bernot, "Wasserstein barycenter and its application to texture mixing" (2011).
    """
    if a.shape[1:] != b.shape[1:] or a.dim() < 2 or not (len(a) and len(b)):
        raise UsageError(
            f"the distance of two sets needs vectors of one size in both, not {_size(a)} and {_size(b)}"
        )
    at_least(1, projections=projections)
    a, b = _at_least_single(a).flatten(1), _at_least_single(b).flatten(1)
    source = a.device if rng is None else rng.device
    t = torch.randn(a.shape[1], projections, generator=rng, dtype=a.dtype, device=source).to(a.device)
    t = t / torch.linalg.vector_norm(t, dim=0)
    return _wasserstein2_squared(a @ t, b @ t).mean().sqrt()


def _wasserstein2_squared(a: Tensor, b: Tensor) -> Tensor:
    """W2^2 of the samples in each column of a (n, p) and b (m, p): shape p."""
    n, m = len(a), len(b)
    # Quantile functions are steps, i/n wide and j/m wide: between breakpoints, in units of 1/nm, both rest
    steps = [torch.arange(1, n + 1, device=a.device) * m, torch.arange(1, m + 1, device=a.device) * n]
    ends = torch.cat(steps).unique()
    widths = ends.diff(prepend=ends.new_zeros(1)).to(a.dtype) / (n * m)
    at_a, at_b = (ends - 1) // m, (ends - 1) // n
    return widths @ (a.sort(dim=0).values[at_a] - b.sort(dim=0).values[at_b]).square()


_LAPLACIAN = ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0))
_IMMERKAER = ((1.0, -2.0, 1.0), (-2.0, 4.0, -2.0), (1.0, -2.0, 1.0))


def _filtered(x: Tensor, kernel: tuple[tuple[float, ...], ...]) -> Float[Tensor, "b n"]:
    """Convolve each channel with a symmetric 3 x 3 kernel where it fits."""
    if x.dim() != 4 or min(x.shape[-2:]) < 3:
        raise UsageError(f"this measure needs images b, c, h, w of at least 3 x 3 pixels, not {_size(x)}")
    x = _at_least_single(x)
    weight = x.new_tensor(kernel).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, weight, groups=x.shape[1]).flatten(1)


def _difference(a: Tensor, b: Tensor) -> Float[Tensor, "b n"]:
    """Subtract, each image a row; shapes must agree, as broadcasting hides mistakes."""
    if a.shape != b.shape or a.dim() < 2:
        raise UsageError(f"images are compared in pairs of one shape b, c, h, w, not {_size(a)} and {_size(b)}")
    return (_at_least_single(a) - _at_least_single(b)).flatten(1)


def _at_least_single(x: Tensor) -> Tensor:
    if not x.is_floating_point():
        raise UsageError(f"images are measured in floating point, not {x.dtype}: divide them by 255")
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def _rows(x: Tensor) -> Float[Tensor, "b n"]:
    """Each image a row."""
    if x.dim() != 4:
        raise UsageError(f"this measure needs images b, c, h, w, not {_size(x)}")
    return _at_least_single(x).flatten(1)


def _centred(x: Tensor) -> Float[Tensor, "b n"]:
    """Each image a row, without its mean."""
    rows = _rows(x)
    return rows - rows.mean(dim=1, keepdim=True)


def _size(x: Tensor) -> str:
    return " x ".join(str(n) for n in x.shape)
