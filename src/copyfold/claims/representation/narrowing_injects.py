"""Do narrow layers add noise, and does training remove it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.representations import (
    HALVING,
    LINES,
    NARROW,
    OVERCOMPLETE,
    STAGES,
    TRAINED,
    UNTRAINED,
)

LAYERS = {HALVING: LINES, OVERCOMPLETE: LINES, NARROW: STAGES}
PLACES = ("first layer", "second layer", "third layer", "output")
WIDEST, CODES = "encoder.down1", {HALVING: "encoder.8", OVERCOMPLETE: "encoder.8", NARROW: "encoder.down2"}


@dataclass(frozen=True)
class NarrowingInjects(Study):
    """Undercomplete layers put noise into the representation; training removes it.

    Two networks whose layers narrow learn to copy CIFAR-10: a perceptron whose layers halve, n -> n/2 -> n/4 ->
    n/8 and back, at 16 pixels, and a narrow U-Net of depth 2 at 32 pixels, whose map after the first halving has
    4/3 of the image's numbers and whose code 2/3. What a layer represents of a held-out image is the image, near
    it, that is nearest to grey in the directions that the layer sees, to a tenth of the change that noise of std
    1/18 makes: of the layer's linearisation, by conjugate gradients, so that it exists before training too, when
    every search stops at the network's kinks. Noise is the std of the white component of its difference from the
    image, the median over 16 images; for one linear layer it is the closed form of the law of one layer.

    Four numbers decide, with the thresholds of before. "Added", untrained: the noise at the code over that where
    nothing narrows, above 1: for the perceptron at the code of one with as many layers, each wider than the
    image; for the U-Net at its map after the first halving. "Left": the noise at the code, trained over
    untrained, at most a half. The claim presupposes that each leaves at most 10 % of other images, where all but
    the finest detail is copied: a quarter more than the perceptrons are trained for, as they get to know others
    slowly.

    Controls: for the identity, the measure must see no noise, and for a random layer that keeps a quarter of the
    numbers, some; training must remove no noise where none was added: in the overcomplete perceptron, "left" above
    a half, or what training removes is not that of narrow layers. What the search of all claims finds is shown
    beside, with its answers.

    Formerly (0.1.0) the U-Net was 4 to 32 times wider than its image at every layer, and so not undercomplete; 50
    steps of L-BFGS found noise that training more than doubled there (2.5 [1.9, 3.0]) and left in the perceptron
    (.96 [.88, 1.04]), which added none (1.04 [.98, 1.10]): UNDECIDED. The networks left 13 % and more.

    The first figure shows the noise along the layers; the second images, and what the codes represent.
    """

    claim: ClassVar[str] = "injected"
    place: ClassVar[str] = 'essay, "Conclusion": what it means to train explicitly for a task'
    items: ClassVar[tuple[int, ...]] = (82, 83, 144)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    asked: ClassVar[str] = (
        "Do layers with fewer numbers than their input put noise into what a network represents, and does "
        "learning to copy take it out?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Expect noise from a narrow network before training, and little after it: training to copy "
        "removes it.",
        PARTLY: "Do not explain denoising by narrow layers alone: they and noise do not go together in every "
        "network, before training or after it.",
        Verdict.DOES_NOT_HOLD: "Look for another reason of denoising: narrow layers add no noise, or training "
        "leaves it.",
        Verdict.UNDECIDED: "Measure more seeds: whether narrow layers add noise, or training removes half of it, "
        "is within the intervals.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: one of the networks has not learned to copy.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {HALVING: Regime(0.1), OVERCOMPLETE: Regime(0.1), NARROW: Regime(0.1)}
    controls: ClassVar[Mapping[str, Control]] = reps.sees() | {
        "left overcomplete": (Above(0.5), "Training removes as much noise where no layer is narrow.")
    }

    added_mlp: Above = Above(1.0)
    added_unet: Above = Above(1.0)
    left_mlp: Below = Below(0.5)
    left_unet: Below = Below(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Compare layers that narrow with others, before training and after it."""
        found = {name: reps.by_seed(lab, name, LAYERS[name], reps.dashed(name)) for name in LAYERS}
        both = reps.together(found)

        def noise(name: str, state: str, layer: str = "") -> str:
            return f"{name}: near noise; {state}; {layer or CODES[name]}"

        numbers = {
            "added mlp": reps.ratio(both, noise(HALVING, UNTRAINED), noise(OVERCOMPLETE, UNTRAINED)),
            "added unet": reps.ratio(both, noise(NARROW, UNTRAINED), noise(NARROW, UNTRAINED, WIDEST)),
        }
        for name, short in {HALVING: "mlp", NARROW: "unet", OVERCOMPLETE: "overcomplete"}.items():
            numbers[f"left {short}"] = reps.ratio(both, noise(name, TRAINED), noise(name, UNTRAINED))
        lines = {}
        for name, of in found.items():
            for state in (UNTRAINED, TRAINED):
                where = {
                    f"{name}, {state} {p}": f"{state}; {layer}"
                    for p, layer in zip(PLACES, LAYERS[name], strict=True)
                }
                numbers |= reps.summary(of, where)
                lines[f"{name}, {state}"] = [numbers[f"noise near the image, {called}"] for called in where]
        numbers |= reps.known_numbers(found[HALVING])
        looks = {}
        for name, of in found.items():
            rows = {"images": of[0].images["photographs"]}
            rows |= {state: of[0].images[f"near; {state}; {CODES[name]}"] for state in (UNTRAINED, TRAINED)}
            looks[name.replace(" ", "-").lower()] = first_images(rows)
        added, left = ([reps.said(numbers[f"{what} {n}"]) for n in ("mlp", "unet")] for what in ("added", "left"))
        return Finding(
            numbers,
            {"noise": reps.along(lines, list(PLACES), "noise, std in units of the range"), **looks},
            copying={name: q for of in found.values() for name, q in qualities(of).items()},
            came_out=f"Untrained, narrow layers have {added[0]} (perceptron) and {added[1]} (U-Net) times the "
            f"noise where nothing narrows; training leaves {left[0]} and {left[1]} of it.",
            captions={
                "noise": "The noise in what four layers of each network represent near an image, before training "
                "and after it",
                **{
                    name.replace(" ", "-").lower(): f"Images, and what the code of the {name} represents of them, "
                    "before training and after it"
                    for name in LAYERS
                },
            },
        )
