"""T27: what dot-product attention alone copies and represents, and whether it can be inverted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from copyfold import pictures
from copyfold.claims.attention import SECTION
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit.attention import ALONE, alone, single_attention
from copyfold.studies.toolkit.charts import SHOWN, first_images
from copyfold.studies.toolkit.copying import copying, qualities
from copyfold.studies.toolkit.networks import LARGE, restored
from copyfold.studies.toolkit.representations import IDENTITY, RANDOM, TRAINED, UNTRAINED
from copyfold.studies.toolkit.spectra import SIDE, full_rank, log_condition, spectrum

BLIND = "PCA of half"
STATES = (TRAINED, UNTRAINED, BLIND)


@dataclass(frozen=True)
class DotProductAlone(Study):
    """Dot-product attention is not invertible, represents well and does not denoise.

    The attention without any convolution, 1,539 parameters, learns to copy CIFAR-10 at 8 pixels in colour, where
    its whole Jacobian can be computed. Three numbers decide, each part of the sentence one, with the thresholds
    of before. "Strictly non-invertible" requires a Jacobian, 192 x 192 in float64, of full rank at less than a
    tenth of 128 held-out images (of 16 no interval could show it); a singular value counts as 0 below D times
    the rounding error times the largest. "Represents well": the image with the same output that is found by the
    search of all claims, up to 2,000 steps of Adam from grey and as many from a dark image, is within a tenth of
    the range per value; the median of 16. "Does not denoise": of the squared error of Gaussian noise of std 0.2,
    more than nine tenths remain.

    The essay speaks of an effective autoencoder: the claim presupposes that the attention leaves at most a
    quarter of held-out images, what PCA leaves with 7 of the 192 numbers, where an image of 8 pixels can just be
    recognised. A softmax over averages of the image's own colours may not be able to copy better.

    Controls: PCA that keeps half of the numbers, which is singular everywhere, must be found so, and the
    identity not; the search must end; a random layer that keeps a quarter must represent worse than a tenth of
    the range. Full rank means invertible near that image; it does not exclude a distant image with the same
    output. The attention before training, the attention's own output (its only layer that is not the image), and
    near the image by linearisation are shown beside.

    Formerly (0.1.0) grey landscapes of 32 pixels were copied, of which it left 50 %: the representation was
    exact to a millionth, .98 [.89, 1.06] of the mix's error remained, and full rank was everywhere, also for 8
    pixels: UNDECIDED.

    In the first figure, the singular values of the Jacobian over the largest: lines are medians over images and
    seeds, bands reach from minimum to maximum. In the second, rows from the top: images, with noise, then output
    and representation.
    """

    claim: ClassVar[str] = "T27"
    place: ClassVar[str] = f"{SECTION}: the paragraph before the last figure"
    items: ClassVar[tuple[int, ...]] = (37, 129, 152)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    asked: ClassVar[str] = (
        "Can the input of a dot-product attention be recovered from its output, and is noise removed?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Do not fear a singular attention: its input can be recovered well all the same.",
        PARTLY: "See which part fails. If it is the rank, attention is not non-invertible as such: it is hard to "
        "invert where some singular values are very small.",
        Verdict.DOES_NOT_HOLD: "Do not rely on anything that is said of dot-product attention alone.",
        Verdict.UNDECIDED: "Measure more seeds, or searches that end, before relying on either part.",
        Verdict.NOT_IN_REGIME: "Do not use dot-product attention alone as an autoencoder: it has not learned to "
        "copy, however long it is trained here.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {ALONE: Regime(0.25)}
    controls: ClassVar[Mapping[str, Control]] = reps.answered("output") | {
        f"full rank {BLIND}": (Below(0.5), "The measure does not see that a map is singular."),
        f"full rank {IDENTITY}": (Above(0.5), "The measure takes the identity for a singular map."),
        f"error near the image, {RANDOM}": (Above(0.1), "The measure does not see that most of an image is lost."),
    }

    representation_error: Below = Below(0.1)
    error_over_doing_nothing: Above = Above(0.9)
    full_rank_trained: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Copy, denoise, represent, and compute the Jacobian."""
        found = lab.by_seed(lambda seed: _look(lab, seed))
        numbers = {
            "representation error": reps.median(found, f"found error; {TRAINED}; "),
            "error over doing nothing": statistics.ratio(
                *(reps.of(found, f"{what}; {TRAINED}") for what in ("error", "nothing"))
            ),
        }
        lines, bands = {}, {}
        for name in (*STATES, IDENTITY):
            values = reps.of(found, f"singular values; {name}")
            numbers |= {
                f"full rank {name}": statistics.fraction([full_rank(s) for s in values]),
                f"log10 condition {name}": statistics.mean([log_condition(s) for s in values]),
            }
            if name in (TRAINED, UNTRAINED):
                relative = torch.cat([s / s[:, :1] for s in values])
                lines[name] = (torch.arange(1, relative.shape[1] + 1), relative.median(0).values)
                bands[name] = (relative.amin(0), relative.amax(0))
        numbers["noise passed"] = statistics.mean(reps.of(found, f"passed; {TRAINED}"))
        numbers |= reps.summary(found, {"output": f"{TRAINED}; ", "untrained output": f"{UNTRAINED}; "})
        numbers[f"error near the image, {RANDOM}"] = reps.median(found, f"near error; {RANDOM}")
        figure: Any = pictures.curves(
            lines, "number of the singular value", "singular value, over the largest", logy=True, bands=bands,
            title=f"Jacobian at {SIDE}x{SIDE}",
        )  # fmt: skip
        return Finding(
            numbers,
            {"spectrum": figure, "images": first_images(found[0].images)},
            copying=qualities(found),
            came_out=f"The Jacobian has full rank at {numbers['full rank trained'].value:.0%} of the images; an "
            f"image with the same output is {reps.said(numbers['representation error'])} of the range away, and "
            f"{numbers['error over doing nothing'].value:.0%} of the noise's squared error remains.",
            captions={
                "spectrum": "The singular values of the attention's Jacobian at held-out images, over the "
                "largest, before training and after it",
                "images": "Held-out images, the same with noise of std 0.2, and for each state its output, its "
                "output for noise and an image with the same output",
            },
        )


def _look(lab: Lab, seed: int) -> Reading:
    """One seed: copying, denoising, representations and singular values."""
    photos = lab.photos("cifar10", SIDE)
    x, model = reps.few(lab, photos), alone(lab, seed, "dot")
    blank = lab.untrained(single_attention("dot", None), photos, seed)
    numbers = copying(lab, ALONE, model, photos)
    numbers |= {f"{what}; {TRAINED}": v for what, v in reps.denoised(lab, model, photos, seed).items()}
    noisy = reps.NOISE(x, lab.rng(seed, "shown"))
    images = {"images": x[:SHOWN], "with noise": noisy[:SHOWN]}
    for state, one in ((TRAINED, model), (UNTRAINED, blank)):
        part = reps.both_ways(lab, one, "", photos, seed)
        numbers |= {f"{what}; {state}; ": value for what, value in part.numbers.items()}
        images |= {
            f"{state}: output": restored(one, x, LARGE, "running")[:SHOWN],
            f"{state}: output of noise": restored(one, noisy, LARGE, "running")[:SHOWN],
            f"{state}: representation": part.images["found"],
        }
    half = reps.principal_part(lab, photos, x[0].numel() // 2)
    maps = {TRAINED: model, UNTRAINED: blank, BLIND: half, IDENTITY: reps.same(photos.shape)}
    numbers |= {f"singular values; {name}": spectrum(one, lab.images(photos)) for name, one in maps.items()}
    random = reps.known_layers(lab, photos, seed)[RANDOM]
    numbers |= {f"near {what}; {RANDOM}": v for what, v in reps.numbers_of(random, x, lab, seed).items()}
    return Reading(numbers, images)
