"""T7: is noise lost in the representation of a noisy photograph?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold.claims.denoising import SECTION
from copyfold.corruptions import Clean, Corruption, Gaussian, Mix
from copyfold.measures import distance
from copyfold.models.base import Autoencoder
from copyfold.probes.base import Reading
from copyfold.probes.inversion import Inversion
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit import represented
from copyfold.studies.toolkit.charts import SHOWN, first_images, intervals
from copyfold.studies.toolkit.copying import MARK, copying, linear_left, principal_part, qualities
from copyfold.studies.toolkit.denoising import share
from copyfold.studies.toolkit.networks import LARGE, restored
from copyfold.studies.toolkit.represented import IDENTITY, U_NET
from copyfold.studies.toolkit.search import representation
from copyfold.types import Images

NOISES: dict[str, tuple[Corruption, Corruption]] = {
    "gaussian": (Gaussian(0.2), Clean()),
    "mix": (Mix(0.5), Mix(0.5, std=0.0)),
}
"""A corruption, and the same without its random part: E[x~ | x]."""
OUTPUT, CODE, BATCHES = "output", "code", "output in batches of 64"
LAYERS = {OUTPUT: "", CODE: "encoder.down2"}
PCA, PASSED = "PCA of equal error", "passed to the output itself"
LONG = 500  # steps of the one search with batch statistics, whose images cannot be searched apart


@dataclass(frozen=True)
class RepresentationLosesNoise(Study):
    r"""The representation of a noisy photograph has less noise than was added.

    A U-Net of depth 2 without skips learns to copy grey landscapes of 32 pixels until it leaves 2 % of others. A
    held-out photograph x is corrupted to x~ = m + n; m = E[x~ | x] is the photograph itself for Gaussian noise of
    std 0.2, and for the essay's half and half mix with N(0.7, 0.2^2) the mix without its random part, as a change
    of brightness is no noise. The search that all claims share finds an image a(x~) with the output of x~, and in
    the same way, from the same start, a(m) with the output of m. The number is the share of the noise that is in
    the representation,

        <a(x~) - a(m), n> / ||n||^2        1 where all of it is kept, 0 where none is,

    the median over 16 photographs: what the representation has wrong without any noise is in a(x~) and a(m) alike.
    Both noises decide. The claim presupposes that the network leaves at most 3 %, a half more than it is trained
    for.

    Threshold: below 0.9. A search ends where the output is within a tenth of the change that noise of std 1/18
    makes, which hides up to a thirtieth of noise of std 0.2, and a twentieth of that of the mix, from a map that
    keeps all; a tenth is beyond that, and the control asks it of the identity. Controls: the identity, above 0.9
    for each noise; and searches that end, for each noise, of both x~ and m. Shown beside: PCA with as many
    components as leave what the network leaves, which keeps the noise of its own directions alone; the share that
    passes to the output itself; the code; how far a(x~) and a(m) are from m, over the noise; and, with Gaussian
    noise and one search of 500 steps, the statistics of a batch of 64, in which images cannot be searched apart.

    Formerly (0.1.0) 60 steps of L-BFGS in a network that left 9 % and more found 1.5 [1.36, 1.63] and 1.5 [1.46,
    1.55] with the statistics of batches of 8: FAILS. The number was ||a(x~) - x|| over the noise, which counts the
    representation's own error as noise. A trial with one network, before this study was measured, showed that:
    the distance of a(m) from m was most of it, and the share of the noise .13 to .28.

    The first figure has the share of every place and control for Gaussian noise; the second and third, one for
    each noise, have rows from the top: clean, noisy, output, an image with the output of the noisy one, and one
    with the output of the image without noise.
    """

    claim: ClassVar[str] = "T7"
    place: ClassVar[str] = f"{SECTION}: the figure of representations of noised inputs"
    items: ClassVar[tuple[int, ...]] = (81, 109, 140)
    asked: ClassVar[str] = (
        "If an autoencoder that only learned to copy is given a noisy image, does its output still determine the "
        "noise?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Expect the noise to be lost on the way to the output: it cannot all be recovered from it.",
        PARTLY: "Ask about your noise: one kind is lost on the way, and the other reaches the output.",
        Verdict.DOES_NOT_HOLD: "Do not explain denoising by what is represented: the output still determines "
        "nearly all the noise that was added.",
        Verdict.UNDECIDED: "Measure more images or seeds: the interval contains what a map that keeps all may "
        "have.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: this network has not learned to copy.",
    }
    seeds: ClassVar[int] = 3
    regime: ClassVar[Mapping[str, Regime]] = {U_NET: Regime(0.03)}
    controls: ClassVar[Mapping[str, Control]] = {
        f"share represented, {IDENTITY}, {noise}": (Above(0.9), "The measure loses noise that is all kept.")
        for noise in NOISES
    } | {name: control for noise in NOISES for name, control in reps.answered(f"{OUTPUT}, {noise}").items()}

    share_represented_gaussian: Below = Below(0.9)
    share_represented_mix: Below = Below(0.9)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt, find images with the same output, with and without the noise, and compare them."""
        found = lab.by_seed(lambda seed: _look(lab, seed))
        numbers = {
            f"share represented {noise}": reps.median(found, f"share; {OUTPUT}, {noise}") for noise in NOISES
        }
        places = [name.removeprefix("share; ") for name in found[0].numbers if name.startswith("share; ")]
        numbers |= {f"share represented, {place}": reps.median(found, f"share; {place}") for place in places}
        searched = [place for place in places if f"answer; {place}" in found[0].numbers]
        for place in searched:
            numbers |= {
                f"distance over noise, {place}": reps.median(found, f"away; {place}"),
                f"distance over noise, without noise, {place}": reps.median(found, f"own; {place}"),
                f"answers found, {place}": reps.answers(found, f"answer; {place}"),
            }
        together = lab.by_seed(lambda seed: _in_batches(lab, seed), "batches")
        place = f"{BATCHES}, gaussian"
        numbers |= {
            f"share represented, {place}": reps.median(together, "share"),
            f"layer over reference, {place}": reps.median(together, "left"),
        }
        shown = {
            name.removeprefix("share represented, ").removesuffix(", gaussian"): e
            for name, e in numbers.items()
            if name.startswith("share represented, ") and name.endswith("gaussian") and reps.known(e)
        }
        images = found[0].images
        rows = {
            noise: {"clean": images["photographs"]}
            | {
                what: images[f"{what}; {noise}"]
                for what in ("noisy", "output", "same output", "same output, without noise")
            }
            for noise in NOISES
        }
        said = " and ".join(
            f"{reps.said(numbers[f'share represented {noise}'])} of the {noise} noise" for noise in NOISES
        )
        words = {"gaussian": "Gaussian noise of std 0.2", "mix": "The essay's mix"}
        return Finding(
            numbers,
            {"shares": intervals(shown, "share of the noise that is represented", {"all": 1.0, "none": 0.0})}
            | {noise: first_images(of) for noise, of in rows.items()},
            copying=qualities(found),
            came_out=f"An image with the same output still has {said}.",
            captions={
                "shares": "How much of the noise that was added (Gaussian, std 0.2) is in an image with the same "
                "layer; 1 where all of it is kept",
            }
            | {
                noise: f"{words[noise]}: clean, noisy, the network's output, an image with the output of the "
                "noisy one, and one with the output of the image without noise"
                for noise in NOISES
            },
        )


def _look(lab: Lab, seed: int) -> Reading:
    """One seed: every noise at the output, the code and the controls; shares and distances per image."""
    photos = represented.networks(lab)[U_NET].photos(lab)
    model, x = represented.network(lab, U_NET, seed), represented.few(lab, photos)
    numbers, images = copying(lab, U_NET, model, photos), {"photographs": x[:SHOWN]}
    left = numbers[f"{MARK}{U_NET}: left, held out"].item()
    better = (linear_left(lab, photos) <= left).nonzero().flatten()
    rival = principal_part(lab, photos, int(better[0]) if len(better) else len(linear_left(lab, photos)))
    same = represented.same(photos.shape)

    def found(place: str, one: Autoencoder, layer: str, target: Images) -> Reading:
        """An image with the layer's output for each target: a piece of its own, as it takes minutes."""

        def search(seed: int) -> Reading:
            reading = representation(lab, one, layer, target, lab.rng(seed, "representation"))
            return Reading({"found": reading.images["found"], "answer": reading.numbers["answer"]})

        called = f"noise-in-{place}".lower().replace(", ", "-").replace(" ", "-")
        return lab.shared(called, seed, (photos,), search)

    for noise, (corruption, quiet) in NOISES.items():
        noisy, middle = corruption(x, lab.rng(seed, noise)), quiet(x, lab.rng(seed, noise))
        places = {OUTPUT: (model, ""), IDENTITY: (same, ""), PCA: (rival, "")}
        places |= {CODE: (model, LAYERS[CODE])} if noise == "gaussian" else {}
        for what, (one, layer) in places.items():
            place = f"{what}, {noise}"
            loud, still = (found(f"{place}{end}", one, layer, y) for end, y in (("", noisy), (", quiet", middle)))
            numbers |= {f"{name}; {place}": v for name, v in compared(loud, still, noisy, middle).items()}
            if what == OUTPUT:
                images[f"same output; {noise}"] = loud.numbers["found"][:SHOWN]
                images[f"same output, without noise; {noise}"] = still.numbers["found"][:SHOWN]
        output, calm = (restored(model, y, LARGE, "running") for y in (noisy, middle))
        numbers[f"share; {PASSED}, {noise}"] = share(output - calm, noisy - middle)
        images |= {f"noisy; {noise}": noisy[:SHOWN], f"output; {noise}": output[:SHOWN]}
    return Reading(numbers, {name: y.clone() for name, y in images.items()})


def compared(loud: Reading, still: Reading, noisy: Images, middle: Images) -> dict[str, Tensor]:
    """What a representation has of the noise, and how far it is from m with it and without, over the noise.

    NaN where one of the two searches has no answer. Both are from the lighter start.
    """
    noise = noisy - middle
    size = distance(noisy, middle)
    answer = loud.numbers["answer"] * still.numbers["answer"]
    numbers = {
        "share": share(loud.numbers["found"] - still.numbers["found"], noise),
        "away": distance(loud.numbers["found"], middle) / size,
        "own": distance(still.numbers["found"], middle) / size,
    }
    return {name: v.where(answer > 0, torch.nan) for name, v in numbers.items()} | {"answer": answer}


def _in_batches(lab: Lab, seed: int) -> Reading:
    """The same at the output, with the statistics of a batch: of the 16 images first in a batch of 64.

    "left" is how far the output is from its target where the search stops, over the reference: the larger of two.
    """
    photos = represented.networks(lab)[U_NET].photos(lab)
    model, few = represented.network(lab, U_NET, seed), represented.few(lab, photos)
    x = torch.cat((few, lab.images(photos, count=LARGE)))[: max(len(few), min(LARGE, lab.budget.measured))]
    noisy = NOISES["gaussian"][0](x, lab.rng(seed, "gaussian in batches"))
    steps = min(LONG, lab.budget.scaled(LONG))
    search = Inversion("", steps, "adam", rate=(0.03, 0.003), start="constant", statistics="batch")
    loud, still = (search(model, y, lab.rng(seed, "representation")) for y in (noisy, x))
    left = [r.numbers["layer"] / r.numbers["layer, reference"] for r in (loud, still)]
    shares = share(loud.images["found"] - still.images["found"], noisy - x)
    return Reading({"share": shares[: len(few)], "left": torch.maximum(*left)[: len(few)]})
