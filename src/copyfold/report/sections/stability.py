"""Whether a model, applied again and again to its own output, keeps images where they are."""

from dataclasses import replace

from torch import Tensor

from copyfold import pictures
from copyfold.data.sampling import SHOWN
from copyfold.probes.stability import Stability
from copyfold.report.base import BELOW, Content, Figure, Scale, Section
from copyfold.report.commands import command
from copyfold.report.context import SOME, Context
from copyfold.samplers.walk import Walk

STEPS = 60
NAN = float("nan")  # where there is no such number: no words follow from it
DRAWN = (1, 3, 10, 30, STEPS)


class ManifoldStability(Section):
    """Where its own map D(E(.)), applied again and again, leads."""

    title = "Is its manifold stable?"
    order = 40
    scales = (
        Scale(
            "no distance",
            "1 where neighbouring photos are the same, so that none can become another one; else 0",
            ((BELOW, ""), (1, "The photos are the same, so that none can drift to another one")),
        ),
        Scale(
            "drifting",
            "fraction of images that D(E(.)), applied again and again, carries away (95 % interval beside it)",
            (
                (BELOW, f"After {STEPS} passes through the model few images have drifted away ({{drifting:.0%}})"),
                (0.25, f"After {STEPS} passes through the model some images have drifted away ({{drifting:.0%}})"),
                (0.75, f"After {STEPS} passes through the model most images have drifted away ({{drifting:.0%}})"),
            ),
        ),
        Scale(
            "diverged",
            "fraction of images that move by more than 1 per pixel, root mean square, the whole range of an image",
            ((BELOW, ""), (0.05, ", and {diverged:.0%} have diverged")),
        ),
        Scale(
            "largest singular value",
            "largest singular value of the Jacobian of D(E(.)) at images, median",
            (
                (
                    BELOW,
                    "; a small change of an image shrinks in every direction, to {largest_singular_value:.2f} of "
                    "its size at most.",
                ),
                (
                    0.95,
                    "; a small change of an image hardly grows in any direction, by a factor of "
                    "{largest_singular_value:.2f} at most.",
                ),
                (1.20, "; a small change of an image can grow by a factor of {largest_singular_value:.1f}."),
            ),
        ),
    )

    def __call__(self, context: Context) -> Content:
        """Apply the model many times, and differentiate it once."""
        probe = Stability(steps=STEPS, values=0, reference=context.reference.images)
        walked = probe(context.model, context.few(SOME), context.rng).numbers
        once = replace(probe, steps=1, values=1)
        values = once(context.model, context.few(SHOWN), context.rng).numbers["singular values"]
        numbers = _numbers(walked, values)
        text = (
            f"{walked['walks'].sum():.0f} of {len(walked['walks'])} {context.measured_word} images drift away in "
            f"{STEPS} steps ({numbers['drifting']:.0%}, 95 % interval {numbers['drifting, low']:.0%} to "
            f"{numbers['drifting, high']:.0%}): from the first step to the last they move by more than "
            f"{numbers['tau']:.3f} per pixel, which is half of the distance between neighbouring photos, or their "
            f"nearest {context.reference_word} image becomes another one. Batch norms, if any, use their running "
            "averages."
        )
        if numbers["no distance"]:
            text = "Neighbouring photos are the same, and no distance between them says what far is."
        return Content(text, (_figure(context),), numbers)


def _numbers(walked: dict[str, Tensor], values: Tensor) -> dict[str, float]:
    known = walked["tau"].item() > 0  # or images are the same, and none can become another one
    fractions = {"drifting": "fraction", "drifting, low": "fraction, low", "drifting, high": "fraction, high"}
    return {name: walked[number].item() if known else NAN for name, number in fractions.items()} | {
        "no distance": float(not known),
        "largest singular value": values[:, 0].median().item(),
        "diverged": (walked["displacement"] > 1).float().mean().item(),
        "at a fixed point": (walked["period"] == 1).float().mean().item(),
        "in a cycle": (walked["period"] > 1).float().mean().item(),
        "late step": walked["late step"].median().item(),
        "displacement": walked["displacement"].median().item(),
        "tau": walked["tau"].item(),
    }


def _figure(context: Context) -> Figure:
    """Some steps on the way."""
    x, walk = context.few(SHOWN), Walk(steps=STEPS, std=0.0)
    rows = {"image": x} | context.frames(walk, x, DRAWN, "running")
    caption = (
        "How to read it: each row shows the images after so many steps; in a step the model is applied to its "
        "last output, without noise. Where a column changes into another image or fades, the model does not hold "
        "that image."
    )
    return Figure(pictures.comparison(rows), caption, command(context, walk, len(x), "running"))
