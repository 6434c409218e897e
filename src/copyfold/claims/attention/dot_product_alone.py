"""T27: what dot-product attention alone copies and represents, and whether it can be inverted."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar

import torch

from copyfold import pictures
from copyfold.claims.attention import SECTION
from copyfold.models.base import Autoencoder
from copyfold.models.dense import Linear
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit import represented
from copyfold.studies.toolkit.attention import ALONE, alone, single_attention
from copyfold.studies.toolkit.charts import SHOWN, first_images
from copyfold.studies.toolkit.copying import copying, principal_part, qualities
from copyfold.studies.toolkit.networks import LARGE, restored
from copyfold.studies.toolkit.represented import IDENTITY, QUARTER, RANDOM, TRAINED, UNTRAINED
from copyfold.studies.toolkit.search import representation
from copyfold.studies.toolkit.spectra import SIDE, full_rank, log_condition, spectrum

BLIND = "PCA of half"
MAPS = (TRAINED, UNTRAINED, BLIND, IDENTITY)
SEARCHED = (TRAINED, UNTRAINED, RANDOM)


@dataclass(frozen=True)
class DotProductAlone(Study):
    """Dot-product attention alone copies, is not invertible, and does not denoise.

    The attention without any convolution, 1,539 parameters, learns to copy CIFAR-10 at 8 pixels in colour, where
    its whole Jacobian can be computed. The essay's sentences have four parts, and each has a number that decides.

    - "An effective autoencoder may be trained": it leaves less than a quarter of held-out images, what PCA leaves
      with 7 of the 192 numbers, where an image of 8 pixels can just be recognised. This is part of the claim, so
      that there is no regime: a network that cannot reach it refutes that part, and hides no other.
    - "Strictly non-invertible", which is said of the operation, trained or not: its Jacobian, 192 x 192 in
      float64, has full rank at less than a tenth of 128 held-out images (of 16 no interval could show it); a
      singular value counts as 0 below D times the rounding error times the largest.
    - "Good input representation": the image with the same output that is found by the search of all claims, up to
      500 steps of Adam and then 500 of L-BFGS, from a plain image lighter than the image and from one darker, is
      within a tenth of the range per value; the median of 16, from either start.
    - "Does not denoise": of the squared error of Gaussian noise of std 0.2, more than nine tenths remain. An error
      of copying remains too, so that the share of the noise that passes is shown beside.

    The last three thresholds are those of before. Controls: PCA that keeps half of the numbers, which is singular
    everywhere, must be found so, and the identity not; the search must end; what it finds for a random layer that
    keeps a quarter must be farther away than a tenth of the range. Full rank means invertible near that image; it
    does not exclude a distant image with the same output. The attention before training is shown beside.

    Trials before this study was measured had .38 to .46 left, and no length of training changed it: a softmax over
    averages of the image's own colours may not be able to copy better.

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
        "invert where some singular values are very small. If it is what is left, use attention with convolutions "
        "or a residual to copy.",
        Verdict.DOES_NOT_HOLD: "Do not rely on anything that is said of dot-product attention alone.",
        Verdict.UNDECIDED: "Measure more seeds, or searches that end, before relying on any part.",
    }
    seeds: ClassVar[int] = 5
    controls: ClassVar[Mapping[str, Control]] = reps.answered("output") | {
        f"full rank {BLIND}": (Below(0.5), "The measure does not see that a map is singular."),
        f"full rank {IDENTITY}": (Above(0.5), "The measure takes the identity for a singular map."),
        f"representation error, {RANDOM}": (Above(0.1), "The measure does not see that most of an image is lost."),
    }

    left: Below = Below(0.25)
    representation_error: Below = Below(0.1)
    error_over_doing_nothing: Above = Above(0.9)
    full_rank_trained: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Copy, denoise, represent, and compute the Jacobian."""
        found = lab.by_seed(lambda seed: _look(lab, seed))
        copies = qualities(found)
        numbers = {
            "left": copies[ALONE].left["held out"],
            "representation error": reps.either(
                lambda what: reps.median(found, f"{what.replace('error', 'distance')}; {TRAINED}")
            ),
            "error over doing nothing": statistics.ratio(
                *(reps.of(found, f"{what}; {TRAINED}") for what in ("error", "nothing"))
            ),
        }
        lines, bands = {}, {}
        for name in MAPS:
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
        for name in SEARCHED:
            called = "output" if name == TRAINED else name
            numbers |= {
                f"answers found, {called}": reps.answers(found, f"answer; {name}"),
                f"layer over reference, {called}": reps.median(found, f"layer over reference; {name}"),
            }
        for name in SEARCHED[1:]:
            numbers[f"representation error, {name}"] = reps.median(found, f"distance; {name}")
        figure: Any = pictures.curves(
            lines, "number of the singular value", "singular value, over the largest", logy=True, bands=bands,
            title=f"Jacobian at {SIDE}x{SIDE}",
        )  # fmt: skip
        return Finding(
            numbers,
            {"spectrum": figure, "images": first_images(found[0].images)},
            copying=copies,
            came_out=f"It leaves {numbers['left'].value:.0%} of images' variance; its Jacobian has full rank at "
            f"{numbers['full rank trained'].value:.0%} of the images; an image with the same output is "
            f"{reps.said(numbers['representation error'])} of the range away, and "
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
    x, model = represented.few(lab, photos), alone(lab, seed, "dot")
    blank = lab.untrained(single_attention("dot", None), photos, seed)
    quarter = lab.untrained(partial(Linear, latent_dim=max(1, prod(photos.shape) // QUARTER)), photos, seed)
    numbers = copying(lab, ALONE, model, photos)
    numbers |= {f"{what}; {TRAINED}": v for what, v in represented.denoised(lab, model, photos, seed).items()}
    noisy = represented.NOISE(x, lab.rng(seed, "shown"))
    images = {"images": x[:SHOWN], "with noise": noisy[:SHOWN]}
    for name, one in {TRAINED: model, UNTRAINED: blank, RANDOM: quarter.encoder}.items():
        seen = representation(lab, one, "", x, lab.rng(seed, "representation"))
        numbers |= {f"{what}; {name}": seen.numbers[what] for what in ("answer", "layer over reference")}
        for start in ("", " from light", " from dark"):
            numbers[f"distance{start}; {name}"] = seen.numbers[f"error{start}"]
        if isinstance(one, Autoencoder):
            images |= {
                f"{name}: output": restored(one, x, LARGE, "running")[:SHOWN],
                f"{name}: output of noise": restored(one, noisy, LARGE, "running")[:SHOWN],
                f"{name}: representation": seen.images["found"][:SHOWN],
            }
    half = principal_part(lab, photos, x[0].numel() // 2)
    maps = {TRAINED: model, UNTRAINED: blank, BLIND: half, IDENTITY: represented.same(photos.shape)}
    numbers |= {f"singular values; {name}": spectrum(one, lab.images(photos)) for name, one in maps.items()}
    return Reading(numbers, images)
