"""What a model generates, beside the nearest images that it was trained on."""

import torch

from copyfold import pictures
from copyfold.data.sampling import SHOWN
from copyfold.measures import filled, spread
from copyfold.probes.nearest import Nearest
from copyfold.probes.quality import Quality
from copyfold.report.base import BELOW, Content, Figure, Scale, Section
from copyfold.report.commands import command
from copyfold.report.context import HELD, Context
from copyfold.samplers.base import Sampler
from copyfold.samplers.latent import Prior
from copyfold.samplers.renoising import Renoising
from copyfold.samplers.walk import Walk
from copyfold.types import Images

MOST = 64  # samples
ALIKE = 0.2  # of the spread of photos, below which samples are nearly the same; of their contrast, nearly flat
UNLIKE = 3.0  # times as far from the photos as other photos are, from which on samples do not look like them
FAR = "({sliced_Wasserstein_ratio:.1f} times as far from them as other photos are)"
STEPS = 30  # of the walk
NAN = float("nan")  # where there is no such number: no words follow from it


class Samples(Section):
    """What it makes from noise, beside the nearest images that it was trained on."""

    title = "What it makes"
    order = 60
    scales = (
        Scale(
            "no variety",
            "1 where all photos are the same, so that no distance from them can be compared with theirs; else 0",
            ((BELOW, ""), (1, "The photos are all the same: there is no variety that samples could have.")),
        ),
        Scale(
            "sliced Wasserstein ratio",
            "sliced Wasserstein distance of samples to photos / the same of other real photos",
            (
                (BELOW, f"What it makes from noise has the texture of the photos at every scale {FAR}"),
                (1.50, f"What it makes from noise roughly resembles the photos {FAR}"),
                (UNLIKE, f"What it makes from noise does not look like the photos {FAR}"),
            ),
        ),
        Scale(
            "variety",
            "how far samples differ from each other / how far photos do, root mean squares per pixel",
            ((BELOW, ", and is nearly the same every time."), (ALIKE, "")),
        ),
        Scale(
            "novelty",
            "distance of samples to their nearest training image / that of held-out images, medians; not said of "
            f"samples that do not look like the photos (sliced Wasserstein ratio of {UNLIKE:g} or more), that are "
            f"nearly the same (variety below {ALIKE:g}) or nearly flat (contrast below {ALIKE:g} of that of "
            "photos), which are near to many photos at once and copies of none",
            (
                (BELOW, ", and is memorised: training images come back."),
                (0.50, ", and is not memorised."),
            ),
        ),
    )

    def __call__(self, context: Context) -> Content:
        """Make images from noise, and compare them with real ones."""
        sampler: Sampler = Prior() if context.model.stochastic else Renoising()
        made = _made(context, sampler)
        nearest = Nearest(context.reference.images)
        near = nearest(context.model, made, context.rng)
        real = nearest(context.model, context.x, context.rng)
        distances = near.numbers["distance"].median().item(), real.numbers["distance"].median().item()
        figure = _figure(context, sampler, made, near.images["nearest"], distances)
        if len(made) < HELD:
            return Content(
                f"What it makes is not compared with photos by numbers: that takes {HELD} {context.measured_word} "
                f"images or more, and there {'are' if len(context.x) != 1 else 'is'} {len(context.x)}.",
                (figure,),
            )
        numbers = _numbers(context, made, distances)
        text = (
            f"Patches of what it makes are {numbers['sliced Wasserstein ratio']:.1f} times as far from those of "
            f"{context.reference_word} images as patches of {context.measured_word} images are (sliced "
            "Wasserstein distance over a Laplacian pyramid)."
        )
        if numbers["no variety"]:
            text = "All photos are the same, and no distance between them says what far is."
        if numbers["variety"] < ALIKE:
            text += (
                " They are nearly the same: they differ from each other by "
                f"{numbers['variety']:.2f} of what photos do (root mean square per pixel)."
            )
        return Content(text, (figure,), numbers)


def _made(context: Context, sampler: Sampler) -> Images:
    """The last frame of a film from noise, within the range of images."""
    count = min(len(context.x), len(context.reference) // 2, MOST)
    rng = context.rng  # one for both, or the first noise of the film would be that of the start once more
    start = sampler.noise(count, context.model.shape, rng)
    assert start is not None  # both samplers generate
    *_, made = sampler(context.model, start.to(context.x), rng)
    return torch.nan_to_num(made, nan=0.0, posinf=1.0, neginf=0.0).clamp(0, 1)


def _numbers(context: Context, made: Images, distances: tuple[float, float]) -> dict[str, float]:
    """Numbers of the samples beside those of real images; `distances` are those to the nearest, of both."""
    probe = Quality(context.reference.images, floor=context.x)
    quality = probe(context.model, made, context.rng).numbers
    nearest = f"distance to the nearest {context.reference_word} image"
    alike = any(_alike(filled(images)) for images in (context.x, context.reference.images))
    varies, real = spread(made), spread(filled(context.x))
    ratios = {
        "sliced Wasserstein ratio": quality["sliced Wasserstein"] / quality["sliced Wasserstein, real"],
        "variety": varies[0] / real[0].clamp(min=1e-12),
        "contrast": varies[1] / real[1].clamp(min=1e-12),
    }
    numbers = {
        "no variety": float(alike),
        **{name: NAN if alike else ratio.item() for name, ratio in ratios.items()},
        nearest: distances[0],
        f"{nearest}, {context.measured_word.replace('-', ' ')}": distances[1],
    } | {name: value.item() for name, value in quality.items()}
    if context.reference_word == "training":  # other photos cannot be memorised
        numbers["novelty"] = distances[0] / max(distances[1], 1e-12) if _may_be_copies(numbers) else NAN
    return numbers


def _may_be_copies(numbers: dict[str, float]) -> bool:
    """Whether samples look enough like photos, each in its own way, that a small distance to one says something.

    A flat grey is nearer to its nearest photo than photos are to each other, and is a copy of none.
    """
    return (
        not numbers["no variety"]
        and numbers["sliced Wasserstein ratio"] < UNLIKE
        and min(numbers["variety"], numbers["contrast"]) >= ALIKE
    )


def _alike(images: Images) -> bool:
    """Whether all images are the same."""
    return bool((images == images[:1]).all())


def _figure(
    context: Context, sampler: Sampler, made: Images, near: Images, distances: tuple[float, float]
) -> Figure:
    """Samples, the real images nearest to them, and where a walk from real images leads."""
    nearest, walk = f"nearest {context.reference_word} image", Walk(steps=STEPS)
    rows = {
        f"made from noise ({type(sampler).__name__})": made[:SHOWN],
        nearest: near[:SHOWN],
        **{f"walk, {n}": v for n, v in context.frames(walk, context.few(SHOWN), (STEPS,)).items()},
    }
    captions = {nearest: f"{distances[0]:.3f} away; {context.measured_word} images {distances[1]:.3f}"}
    twice = ""
    if context.reference_word == "training":
        twice = "The same image twice would mean that it was memorised. "
    caption = (
        "How to read it: the first row is made from noise alone, the second is the "
        f"{context.reference_word} image nearest to each. {twice}The last row began with {context.measured_word} "
        f"images and walked {STEPS} steps, with noise on the code in each."
    )
    return Figure(pictures.comparison(rows, captions), caption, command(context, sampler, len(made)))
