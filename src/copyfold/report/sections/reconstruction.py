"""How much of an image comes back."""

import shlex

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.data.sampling import SHOWN
from copyfold.measures import filled, mean_image, mse, psnr
from copyfold.probes.latent import CodeStatistics
from copyfold.report.base import BELOW, Content, Figure, Scale, Section, error_said
from copyfold.report.context import Context
from copyfold.types import Images

BATCH = 16
NAN = float("nan")  # where there is no such number: no words follow from it


class Reconstruction(Section):
    """How much of an image comes back: the best, the median and the worst."""

    title = "What it keeps"
    order = 10
    scales = (
        Scale(
            "kept",
            "1 - mse(D(E(x)), x) / mse(mean of the reference, x), over the images measured",
            (
                (
                    BELOW,
                    "It does not reconstruct images: its output is farther from an image than the mean image is",
                ),
                (-0.05, "It keeps nothing: its reconstructions are no better than the mean image"),
                (0.10, "It keeps little: {kept:.0%} of the variance between images"),
                (0.60, "It keeps the coarse structure of images: {kept:.0%} of the variance between them"),
                (0.90, "It keeps most of an image: {kept:.1%} of the variance between images"),
                (0.98, "It keeps nearly everything: {kept:.1%} of the variance between images"),
            ),
        ),
        Scale(
            "variance ratio",
            "variance of the reconstructions over images / variance of the images",
            (
                (BELOW, ", and its output is nearly the same whatever the input is."),
                (0.05, " (PSNR {psnr:.1f} dB)."),
            ),
        ),
        Scale(
            "no variance",
            "1 where all images are the same, so that nothing tells them apart that a code could keep; else 0",
            ((BELOW, ""), (1, "The images are all the same, so there is no variance between them to keep.")),
        ),
        Scale(
            "active units",
            "share of the latent dimensions whose mean varies (by more than 0.01); of variational models",
            (
                (BELOW, " Its posterior has collapsed: the code carries no information about the image."),
                (0.01, " {active_units:.0%} of its latent dimensions are active."),
                (0.95, ""),
            ),
        ),
    )

    @torch.no_grad()
    def __call__(self, context: Context) -> Content:
        """Encode and decode the images."""
        x = context.x
        with context.model.using("running"):
            y = torch.cat([context.model(filled(part)) for part in x.split(BATCH)])
        errors = mse(y, x)
        numbers = _numbers(context, y, errors)
        text = (
            f"{context.measured_word.capitalize()} images, encoded and decoded: {error_said(numbers['mse'])} "
            f"squared error per pixel. The mean {context.reference_word} image has "
            f"{error_said(numbers['mse of the mean image'])}."
        )
        return Content(text, (_figure(context, y, errors),), numbers)


def _numbers(context: Context, y: Images, errors: Tensor) -> dict[str, float]:
    x, mean = context.x, mean_image(context.reference.images)
    base, varies = mse(mean.expand_as(x), x).mean().item(), _variance(x)
    numbers = {
        "no variance": float(not base),
        "kept": 1 - errors.mean().item() / base if base else NAN,
        "variance ratio": _variance(y) / varies if varies and base else NAN,
        "mse": errors.mean().item(),
        "mse of the mean image": base,
        "psnr": psnr(y, x).mean().item(),
    }
    if context.model.stochastic:
        used = CodeStatistics()(context.model, x, context.rng).numbers
        numbers["active units"] = (used["active_units"] / used["units"]).item()
    return numbers


def _variance(x: Images) -> float:
    """The variance over images, of all pixel values together."""
    return (x - mean_image(x)).square().nanmean(0).nansum().item()  # exactly 0 for equal images


def _figure(context: Context, y: Images, errors: Tensor) -> Figure:
    """The best, the median and the worst, or all where there are few."""
    order, n = errors.argsort(), len(errors)
    chosen, which = order, "from the best to the worst"
    if n >= SHOWN:
        chosen = torch.cat((order[:3], order[n // 2 - 1 : n // 2 + 1], order[n - 3 :]))
        which = "the three best, the two median and the three worst, from left to right"
    three = [error_said(error.item()) for error in (errors.min(), errors.quantile(0.5), errors.max())]
    figure = pictures.comparison(
        {"image": context.x[chosen], "reconstruction": y[chosen]},
        {"reconstruction": f"errors {', '.join(three)}"},
    )
    caption = (
        f"How to read it: of {n} {context.measured_word} images {which}. The errors are the squared error per "
        "pixel of the best, of the median and of the worst."
    )
    run = context.run
    again = "" if run is None else shlex.join(["copyfold", "denoise", run.where, "IMAGE", "--out", "FOLDER"])
    return Figure(figure, caption, again)
