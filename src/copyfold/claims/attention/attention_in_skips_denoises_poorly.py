"""Does attention in the skips of a U-Net make it denoise worse?"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import Tensor

from copyfold.claims.attention import SECTION
from copyfold.models.attention import AttentionUNet
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab, Make
from copyfold.studies.toolkit import charts, represented
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit.charts import SHOWN, first_images
from copyfold.studies.toolkit.copying import copying, principal_part, qualities
from copyfold.studies.toolkit.networks import LARGE, restored, unet
from copyfold.studies.toolkit.represented import IDENTITY, PCA_100
from copyfold.studies.toolkit.training import on_the_way

ATTENTION, PLAIN, SKIPS, END = "attention U-Net", "U-Net", "U-Net with skips", "attention U-Net, end"
STEPS, QUALITY = 170, 0.02  # batches of a training with skips, and what is left where it is looked at


@dataclass(frozen=True)
class AttentionInSkipsDenoisesPoorly(Study):
    """A U-Net with linear attention in its skips is not very effective at denoising.

    U-Nets of depth 2 learn to copy grey landscapes of 32 pixels: with the essay's linear attention in every skip,
    and without skips. They are compared at equal quality, where a copy first leaves 2 % of held-out images, on the
    way of a training: of 2,500 batches without skips, and of 170 with attention, which copies almost at once.
    Gaussian noise of std 0.2 is removed with running statistics, so that no image depends on others and no
    brightness has to be corrected, as in the claim on one attention.

    Two numbers decide, with the thresholds of before. "Not very effective" means that more than half of the
    squared error of the noise remains, and that its error is larger than that of the U-Net without skips. The
    claim presupposes that both leave at most 3 %, a half more than they are trained for.

    Controls: the attention U-Net's copy must leave at least 0.75 of what the other's leaves, since better copies
    pass more noise; PCA of 100 components must remove more than half of the noise, and the identity none, or the
    measure does not tell a denoiser from a copy. Shown: plain skips at the same quality, since the skips and not
    the attention in them may pass the noise; the attention U-Net at the end of its training; and the share of the
    noise that passes.

    Formerly (0.1.0) depth 3 was trained for 2,500 steps of Adam, and the half and half mix with batches of 16
    decided, whose brightness batch norm undoes: .43 [.38, .48] of the error remained, 2.1 [2.0, 2.4] times that of
    the U-Net without skips, which left three times as much of clean images: MIXED.

    In the first figure 1 is doing nothing. In the second, rows from the top: clean, noisy, and the output of each.
    """

    claim: ClassVar[str] = "attention-unet"
    place: ClassVar[str] = f"{SECTION}: the sentence and the figure under the diagram of the attention U-Net"
    items: ClassVar[tuple[int, ...]] = (126, 152)
    asked: ClassVar[str] = "Does a U-Net with linear attention in its skips, trained only to copy, remove noise?"
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Attention in the skips undoes the effect of leaving skips out: the network only learns "
        "to copy.",
        PARTLY: "It denoises worse than the U-Net without skips, or little, but not both: see the numbers.",
        Verdict.DOES_NOT_HOLD: "With attention in the skips, training to copy still gives denoising.",
        Verdict.UNDECIDED: "Measure both on your images before putting attention into skips.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: one of the networks has not learned to copy.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {ATTENTION: Regime(0.03), PLAIN: Regime(0.03)}
    controls: ClassVar[Mapping[str, Control]] = {
        f"left, {ATTENTION} over {PLAIN}": (
            Above(0.75),
            "With attention the network copies better: that alone passes more noise.",
        ),
        f"error over doing nothing, {PCA_100}": (Below(0.5), "The measure does not see a denoiser."),
        f"error over doing nothing, {IDENTITY}": (Above(0.99), "The measure sees noise removed that is all kept."),
    }

    error_over_doing_nothing_attention_unet: Above = Above(0.5)
    error_attention_unet_over_unet: Above = Above(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Copy and denoise with each kind of skips."""
        found = lab.by_seed(lambda seed: _look(lab, seed))

        def of(what: str) -> list[Tensor]:
            return reps.of(found, what)

        copies, rivals = qualities(found), (SKIPS, END)
        over = {
            name: statistics.ratio(of(f"error; {name}"), of(f"nothing; {name}"))
            for name in (ATTENTION, PLAIN, *rivals, PCA_100, IDENTITY)
        }
        against = {
            name: statistics.ratio(of(f"error; {ATTENTION}"), of(f"error; {name}")) for name in (PLAIN, SKIPS)
        }
        lefts = [copies[name].left["held out"].seeds for name in (ATTENTION, PLAIN)]
        numbers = {
            "error over doing nothing attention unet": over[ATTENTION],
            "error attention unet over unet": against[PLAIN],
            f"left, {ATTENTION} over {PLAIN}": statistics.ratio_over_seeds(*lefts),
            f"error {ATTENTION} over {SKIPS}": against[SKIPS],
        }
        numbers |= {f"error over doing nothing, {name}": e for name, e in over.items()}
        numbers |= {f"noise passed, {name}": statistics.mean(of(f"passed; {name}")) for name in over}
        return Finding(
            numbers,
            {
                "errors": charts.intervals(
                    over, "squared error, ratio to doing nothing", {"doing nothing": 1.0}, logx=True
                ),
                "images": first_images(found[0].images),
            },
            copying=copies,
            came_out="Where it leaves 2 %, a U-Net with attention in its skips leaves "
            f"{over[ATTENTION].value:.0%} of the noise's squared error, {against[PLAIN].value:.2g} times what the "
            f"U-Net without skips leaves and {against[SKIPS].value:.2g} times what plain skips leave.",
            captions={
                "errors": "Squared error over that of doing nothing, for noise of std 0.2: of each U-Net, of PCA "
                "with 100 components and of the identity",
                "images": "Held-out images, the same with noise of std 0.2, and the output of each U-Net",
            },
        )


def _look(lab: Lab, seed: int) -> Reading:
    """One seed: every network at 2 % left, and the maps that are known."""
    photos = lab.photos("landscapes")
    sizes = {"width": lab.budget.width, "depth": 2}
    at, end = _on_its_way(lab, partial(AttentionUNet, **sizes), seed)
    models: dict[str, Autoencoder] = {
        ATTENTION: at,
        PLAIN: _on_its_way(lab, unet(lab, depth=2), seed, lab.budget.steps)[0],
        SKIPS: _on_its_way(lab, unet(lab, depth=2, skips="concat"), seed)[0],
        END: end,
    }
    known = {PCA_100: principal_part(lab, photos, represented.HUNDRED), IDENTITY: represented.same(photos.shape)}
    x = lab.images(photos, count=SHOWN)
    noisy = represented.NOISE(x, lab.rng(seed, "shown"))
    numbers, images = dict[str, Tensor](), {"clean": x, "with noise": noisy}
    for name, model in models.items():
        numbers |= copying(lab, name, model, photos)
        images[name] = restored(model, noisy, LARGE, "running")
    for name, model in (models | known).items():
        numbers |= {f"{what}; {name}": v for what, v in represented.denoised(lab, model, photos, seed).items()}
    return Reading(numbers, images)


def _on_its_way(lab: Lab, make: Make, seed: int, steps: int | None = None) -> tuple[Autoencoder, Autoencoder]:
    """A network where it first leaves 2 % of held-out images, or at its end, and at its end."""
    steps = steps or lab.budget.scaled(STEPS)
    looks = on_the_way(lab, make, lab.photos("landscapes"), seed, steps, lefts=(QUALITY,))
    return next((look.model for look in looks if look.left <= QUALITY), looks[-1].model), looks[-1].model
