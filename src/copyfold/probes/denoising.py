"""How much noise an autoencoder removes, compared with baselines that need no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from copyfold.corruptions import Clean, Corruption, Gaussian, Mix
from copyfold.measures import filled, mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Probe, Reading
from copyfold.probes.baselines import Baseline, NonLocalMeans, called, frequency_filter, linear_filter, tuned
from copyfold.types import Float, Images, Statistics

OWN = ("restored", "reconstruction")  # errors of the model, beside which the others are baselines


@dataclass(frozen=True)
class Denoising(Probe):
    r"""Corrupt images, restore them with the model, compare with baselines.

        mse(D(E(x~)), x)   beside   mse(x~, x)   and   mse(baseline(x~), x)        x~ ~ C(x)

    Numbers are squared errors, per image, averaged over pixels: "corrupted" (doing nothing), "restored" (the
    model), "reconstruction" (the model's error on the clean image, its floor) and the baselines. For every C,
    fitted on `reference` images with a new sample of C: "mean image", their mean, which ignores the input; the
    least-squares linear filters "7x7 filter", "11x11 filter" and "frequency filter", which has a gain and a mean
    for every frequency (it inverts a Blur, which loses almost no information). Where C is noise of one known std,
    also "PCA-Wiener", "non-local means" and "wavelet", tuned on the reference and given that std, after the
    brightness of a Mix is undone. Without `reference` only "non-local means", with its default settings. Images
    have the same names, and "clean". `baselines` are denoisers of your own, compared too where the std of the
    noise is known, without tuning. `best_baseline` and `error_ratios` evaluate the reading. `statistics` are those
    that the model uses here; with "batch" an image's result depends on the others. Pixels missing in x, NaN, are
    `filled` before the corruption, and no error is of them.

    When: Whenever a model is said to denoise: filters are strong opponents.
    Cost: One pass, and seconds to minutes for the baselines; non-local means are the slowest.
    Fails: Few reference images fit poor filters, which the model then beats too easily.
    Source: Least squares: Wiener; non-local means: Buades et al., 2005; wavelets: Donoho and Johnstone, 1994.
    """

    corruption: Corruption = field(default_factory=Gaussian)
    reference: Images | None = None
    statistics: Statistics = "running"
    baselines: Sequence[Baseline] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "baselines", tuple(self.baselines))

    @torch.no_grad()
    def __call__(self, model: Autoencoder, x: Images, rng: Generator) -> Reading:
        """Restore C(x), with the model and with the baselines."""
        known = filled(x)
        noisy = self.corruption(known, rng)
        with model.using(self.statistics):
            images = {"clean": x, "corrupted": noisy, "restored": model(noisy), "reconstruction": model(known)}
        if not isinstance(self.corruption, Clean):
            images |= self._baselines(noisy, rng)
        return Reading({k: mse(v, x) for k, v in images.items() if k != "clean"}, images)

    def _baselines(self, noisy: Images, rng: Generator) -> dict[str, Images]:
        """The noisy images restored by each baseline, by name."""
        level = noise_of(self.corruption)
        clean = None if self.reference is None else self.reference.to(noisy)
        if clean is not None and clean.isnan().any():  # else the same tensor, of which fits are known
            clean = filled(clean)
        rivals = {called(restore): restore for restore in self.baselines}
        if clean is None:
            rivals = {NonLocalMeans.name: NonLocalMeans()} | rivals
            return {} if level is None else _restored(rivals, noisy, level)
        corrupted = self.corruption(clean, rng)
        found = {"mean image": clean.mean(0).expand_as(noisy)}
        found |= {f"{side}x{side} filter": linear_filter(corrupted, clean, noisy, side) for side in (7, 11)}
        found["frequency filter"] = frequency_filter(corrupted, clean, noisy)
        if level is not None:
            rivals = tuned(_undone(corrupted, level), clean, level[2]) | rivals
            found |= _restored(rivals, noisy, level)
        return found


def best_baseline(reading: Reading) -> tuple[str, Float[Tensor, "b"]]:
    """The name of the baseline with the smallest mean error, and its errors.

    Doing nothing ("corrupted") is one of them; of equal ones the first.
    """
    rivals = {name: errors for name, errors in reading.numbers.items() if name not in OWN}
    name = min(rivals, key=lambda name: rivals[name].mean().item())
    return name, rivals[name]


def error_ratios(reading: Reading) -> dict[str, Float[Tensor, "b"]]:
    """The model's squared error per image over that of doing nothing, and over that of the best baseline.

    By the names "corrupted" and "best baseline"; below 1 the model is better. Their square roots are the ratios of
    distances, ||O(x~) - x|| / ||x~ - x||. 1 where both errors are 0; infinite where only the denominator is 0.
    """
    restored = reading.numbers["restored"]
    others = {"corrupted": reading.numbers["corrupted"], "best baseline": best_baseline(reading)[1]}
    return {
        name: torch.where(restored == errors, torch.ones_like(errors), restored / errors)
        for name, errors in others.items()
    }


def noise_of(corruption: Corruption) -> tuple[float, float, float] | None:
    """(keep, mean, std) such that x~ = keep (x + std xi) + (1 - keep) mean; None for other corruptions.

    Also None where the level is drawn per image, and where there is no noise.
    """
    match corruption:
        case Gaussian(std=float() | int() as std) if std > 0:
            return 1.0, 0.0, float(std)
        case Mix(keep=float() | int() as keep, mean=mean, std=std) if 0 < keep < 1 and std > 0:
            return float(keep), mean, std * (1 - keep) / keep
        case _:
            return None


def _restored(
    rivals: Mapping[str, Baseline], noisy: Images, level: tuple[float, float, float]
) -> dict[str, Images]:
    """The images restored by each baseline, after the brightness of a Mix is undone."""
    y = _undone(noisy, level)
    return {name: restore(y, level[2]) for name, restore in rivals.items()}


def _undone(noisy: Images, level: tuple[float, float, float]) -> Images:
    """x + std xi: the images with the brightness of a Mix undone."""
    keep, mean, _ = level
    return (noisy - (1 - keep) * mean) / keep
