"""What noise an autoencoder removes without being taught to, beside what honest baselines remove."""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Generator, Tensor

from copyfold.corruptions import Clean, Corruption, Gaussian, Mix
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Probe, Reading
from copyfold.types import Images, Statistics

FITTED = 200_000  # pixels that a linear filter of 50 weights is fitted on


@dataclass(frozen=True)
class Denoising(Probe):
    r"""Corrupt images, let the model restore them, compare with simple filters.

        mse(D(E(x~)), x)   beside   mse(x~, x)   and   mse(baseline(x~), x)        x~ ~ C(x)

    Numbers, per image and pixel: "corrupted" (doing nothing), "restored" (the model), "reconstruction" (the
    model's error on the clean image, its floor), "7x7 filter" (the least-squares linear filter with a constant,
    fitted on corrupted `reference` images) and "non-local means" (Buades et al., 2005; the brightness of a Mix
    undone first, told the std of the noise). Images under the same names, and "clean". `statistics` are those
    that the model uses here; with "batch" an image's result depends on the others.
    """

    corruption: Corruption = field(default_factory=Gaussian)
    reference: Images | None = None
    statistics: Statistics = "running"

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Restore C(x), with the model and with the baselines."""
        noisy = self.corruption(x, rng)
        with model.using(self.statistics):
            images = {"clean": x, "corrupted": noisy, "restored": model(noisy), "reconstruction": model(x)}
        if self.reference is not None and not isinstance(self.corruption, Clean):
            images["7x7 filter"] = linear_filter(self.corruption(self.reference, rng), self.reference, noisy)
        level = noise_of(self.corruption)
        if level is not None:
            keep, mean, std = level
            images["non-local means"] = nonlocal_means((noisy - (1 - keep) * mean) / keep, std)
        return Reading({k: mse(v, x) for k, v in images.items() if k != "clean"}, images)


def noise_of(corruption: Corruption) -> tuple[float, float, float] | None:
    """(keep, mean, std) such that x~ = keep (x + std xi) + (1 - keep) mean; None for other corruptions."""
    match corruption:
        case Gaussian(std=std) if isinstance(std, float) and std > 0:
            return 1.0, 0.0, std
        case Mix(keep=keep, mean=mean, std=std) if 0 < keep < 1:
            return keep, mean, std * (1 - keep) / keep
        case _:
            return None


def linear_filter(noisy: Images, clean: Images, x: Float[Tensor, "n c h w"], side: int = 7) -> Tensor:
    """Apply to x the side x side filter, with a constant, that best maps `noisy` to `clean`.

    Least squares over at most 200,000 pixels drawn evenly, one filter for all channels, edges replicated.
    """
    patches, target = _patches(noisy, side), clean.reshape(-1)
    chosen = torch.linspace(0, len(target) - 1, min(FITTED, len(target)), device=x.device).long().unique()
    weights = torch.linalg.lstsq(_constant(patches[chosen]), target[chosen].double()[:, None]).solution
    return (_constant(_patches(x, side)) @ weights).to(x.dtype).reshape(x.shape)


def nonlocal_means(x: Images, std: float) -> Images:
    """Non-local means (scikit-image) of each image, told that its noise has this std."""
    from skimage.restoration import denoise_nl_means

    restored = [
        denoise_nl_means(
            image.permute(1, 2, 0).double().cpu().numpy(),
            patch_size=5, patch_distance=6, h=0.8 * std, sigma=std, fast_mode=True, channel_axis=-1,
        )
        for image in x
    ]  # fmt: skip
    return (
        torch.stack([torch.from_numpy(image).reshape(*x.shape[2:], -1) for image in restored])
        .permute(0, 3, 1, 2)
        .to(x)
    )


def _patches(x: Images, side: int) -> Tensor:
    """Every pixel's neighbourhood as a row: (b c h w) x side^2."""
    single = x.reshape(-1, 1, *x.shape[2:])
    rows = F.unfold(F.pad(single, (side // 2,) * 4, mode="replicate"), side)
    return rows.transpose(1, 2).reshape(-1, side * side)


def _constant(rows: Tensor) -> Tensor:
    """The rows in double precision, with a column of ones."""
    return torch.cat((rows.double(), torch.ones(len(rows), 1, dtype=torch.float64, device=rows.device)), dim=1)
