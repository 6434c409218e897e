"""How much noise a model removes, beside classical denoisers."""

import math

import torch

from copyfold import pictures
from copyfold.corruptions import Corruption, Gaussian, Masking, Mix
from copyfold.data.sampling import SHOWN, stratified
from copyfold.probes.base import Reading
from copyfold.probes.denoising import Denoising, best_baseline
from copyfold.report.base import BELOW, Content, Figure, Scale, Section, error_said
from copyfold.report.commands import command
from copyfold.report.context import SOME, Context

STDS = (0.05, 0.1, 0.2, 0.4, 0.8)
CORRUPTIONS: tuple[Corruption, ...] = (*map(Gaussian, STDS), Mix(), Masking())
SAID = 2  # which of them the sentence and the picture are about
CURVES = {
    "corrupted": "no denoising",
    "restored": "the model",
    "reconstruction": "the model on clean images",
    "7x7 filter": "7x7 filter",
    "PCA-Wiener": "PCA-Wiener",
    "non-local means": "non-local means",
    "wavelet": "wavelet",
    "mean image": "mean image",
}


class NoiseRemoval(Section):
    """How much noise it removes, beside the best of the classical denoisers."""

    title = "What noise it removes"
    order = 20
    scales = (
        Scale(
            "noise left",
            "mse(restored, x) / mse(corrupted, x), noise of std 0.2, means over images",
            (
                (BELOW, "It removes noise: {noise_left:.0%} of the squared error of noise of std 0.2 remains"),
                (0.25, "It removes some noise: {noise_left:.0%} of the squared error of noise of std 0.2 remains"),
                (
                    0.80,
                    "It hardly removes noise: {noise_left:.0%} of the squared error of noise of std 0.2 remains",
                ),
                (
                    1.00,
                    "It removes no noise: its output is farther from the clean image than the noisy image is "
                    "(noise of std 0.2)",
                ),
            ),
        ),
        Scale(
            "ratio to the best baseline",
            "mse(restored, x) / mse(best classical denoiser, x), noise of std 0.2",
            (
                (
                    BELOW,
                    ", less than after the best classical denoiser, tuned on the same photos "
                    "({noise_left_by_the_best_baseline:.0%}).",
                ),
                (
                    0.95,
                    ", about as much as after the best classical denoiser, tuned on the same photos "
                    "({noise_left_by_the_best_baseline:.0%}).",
                ),
                (
                    1.05,
                    "; the best classical denoiser, tuned on the same photos, leaves "
                    "{noise_left_by_the_best_baseline:.0%} of it.",
                ),
            ),
        ),
    )

    def __call__(self, context: Context) -> Content:
        """Corrupt images and restore them, with noise of several strengths and with other corruptions."""
        readings = [_denoised(context, corruption) for corruption in CORRUPTIONS]
        means = [{name: error.mean().item() for name, error in reading.numbers.items()} for reading in readings]
        best, errors = best_baseline(readings[SAID])
        rival, shown = errors.mean().item(), means[SAID]
        noisy, left, other = (error_said(error) for error in (shown["corrupted"], shown["restored"], rival))
        text = (
            f"Noise of std 0.2 on {len(readings[SAID].images['clean'])} {context.measured_word} images: of a "
            f"squared error of {noisy} per pixel the model leaves {left}; the best baseline, {best}, leaves "
            f"{other}. The baselines are told the std and tuned on {context.reference_word} images; the model is "
            "not told the std."
        )
        numbers = {
            "noise left": _ratio(shown["restored"], shown["corrupted"]),
            "ratio to the best baseline": _ratio(shown["restored"], rival),
            "noise left by the best baseline": _ratio(rival, shown["corrupted"]),
        }
        for corruption, reading, mean in zip(CORRUPTIONS, readings, means, strict=True):
            name, error = best_baseline(reading)
            numbers |= {f"{corruption}: {what}": value for what, value in mean.items()}
            ratio = _ratio(mean["restored"], error.mean().item())
            numbers[f"{corruption}: restored / {name}, the best baseline"] = ratio
        again = command(context, Denoising(CORRUPTIONS[SAID]), len(readings[SAID].images["clean"]))
        return Content(text, (_curves(means, again), _images(readings[SAID], shown, best, again)), numbers)


def _ratio(error: float, other: float) -> float:
    """One error over another: 1 where they are equal, infinite where only the other is 0, as of black images."""
    return 1.0 if error == other else error / other if other else math.inf


def _denoised(context: Context, corruption: Corruption) -> Reading:
    return Denoising(corruption, context.reference.images)(context.model, context.few(SOME), context.rng)


def _curves(means: list[dict[str, float]], again: str) -> Figure:
    """Error against the strength of the noise."""
    series = {called: (STDS, [mean[name] for mean in means[: len(STDS)]]) for name, called in CURVES.items()}
    caption = (
        "How to read it: lower is better. Where the model's curve is below those of all filters, it has learned "
        "more about images than a filter knows. It cannot go below its own error on clean images unless it was "
        "trained to denoise."
    )
    return Figure(
        pictures.curves(series, "std of the noise", "squared error per pixel", logy=True), caption, again
    )


def _images(reading: Reading, means: dict[str, float], best: str, again: str) -> Figure:
    """The images themselves, at one strength."""
    drawn = torch.from_numpy(stratified(len(reading.images["clean"]), SHOWN))
    rows = {name: reading.images[name] for name in ("clean", "corrupted", "restored", best)}
    rows = {name: images[drawn.to(images.device)] for name, images in rows.items()}
    caption = (
        "How to read it: clean images, the same with noise of std 0.2, what the model makes of those, and what "
        f"the best baseline, {best}, makes of them. The numbers are the mean squared error per pixel."
    )
    figure = pictures.comparison(rows, {name: error_said(means[name]) for name in rows if name in means})
    return Figure(figure, caption, again)
