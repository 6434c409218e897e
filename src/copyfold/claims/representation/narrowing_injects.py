"""Do narrow layers add noise, and does training remove it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit import represented
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.represented import (
    COLOUR,
    HALVING,
    LINES,
    NARROW,
    OVERCOMPLETE,
    STAGES,
    TRAINED,
    UNTRAINED,
)

LAYERS = {HALVING: LINES, OVERCOMPLETE: LINES, NARROW: STAGES, COLOUR: STAGES}
PLACES = ("first layer", "second layer", "third layer", "output")
CODES = {HALVING: "encoder.8", OVERCOMPLETE: "encoder.8", NARROW: "encoder.down2", COLOUR: "encoder.down2"}
WIDEST = "encoder.down1"  # of the narrow U-Net


@dataclass(frozen=True)
class NarrowingInjects(Study):
    """Undercomplete layers put noise into the representation; training removes it.

    Two networks whose layers narrow: a perceptron whose layers halve, n -> n/2 -> n/4 -> n/8 and back, for
    CIFAR-10 at 16 pixels, and a narrow U-Net of depth 2 at 32 pixels, whose map after the first halving has 4/3 of
    the image's numbers and whose code 2/3. From a held-out image x with white noise n of std 1/18 an image a is
    sought for which the layer gives what it gives for x, to three tenths of the change that n makes there. "Noise
    left" is ||a-x||^2/||n||^2, the share of the noise's energy that the layer does not see, the median over 16
    images; of a linear layer with m of n numbers it is 1 - m/n.

    Three numbers decide. "Added", untrained: the noise left at the code over that where nothing narrows, above 1,
    the threshold of before: for the perceptron at the code of one with as many layers, each wider than the image;
    for the U-Net at the code of one of four times the width, whose maps are all longer than the image. "Left
    unet": the noise left at the U-Net's code, trained over untrained, below 0.7. Removing all is impossible where
    a layer narrows: of a code of 2/3 a third is left by counting, .37 of what an untrained one left in a pilot
    (.9), so that 0.7 is about half of what training could remove. The perceptron's code, of an eighth, cannot
    leave less than 7/8, what it leaves untrained; so its number is shown and does not decide. The claim
    presupposes that the U-Net leaves at most 7.5 % of other images, a half more than it is trained for.

    Controls: the identity must leave no noise, and a random layer that keeps a quarter of the numbers three
    quarters, to .05; searches must arrive at the codes; and training must remove less where no noise was added:
    "left unet" must be below the same ratio at the map after the first halving, or what training removes is not
    that of narrow layers. The perceptrons are trained for 10,000 batches of 64, and what they have learned then
    stands beside what PCA leaves. What the search of all claims finds from plain images is shown, with its
    answers.

    Redesigned before it was measured: the U-Net's own map after the first halving, which precedes its code, stood
    in place of the wide network, and what a map does not see its code cannot see either. Formerly (0.1.0) the
    U-Net was 4 to 32 times wider than its image at every layer, and so not undercomplete; 50 steps of L-BFGS found
    noise that training more than doubled there (2.5 [1.9, 3.0]) and left in the perceptron (.96 [.88, 1.04]),
    which added none (1.04 [.98, 1.10]): UNDECIDED. The networks left 13 % and more.

    The first figure shows the noise left along the layers; the others images, and what is left of their noise at
    the codes.
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
        PARTLY: "Do not explain denoising by narrow layers alone: they add noise and training leaves it, or it "
        "removes what they did not add.",
        Verdict.DOES_NOT_HOLD: "Look for another reason of denoising: narrow layers add no noise, or training "
        "leaves it.",
        Verdict.UNDECIDED: "Measure more seeds: whether narrow layers add noise, or training removes it, is "
        "within the intervals.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: the narrow network has not learned to copy.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {NARROW: Regime(0.075)}
    controls: ClassVar[Mapping[str, Control]] = (
        reps.sees()
        | reps.arrives(f"{HALVING}, {UNTRAINED} {PLACES[2]}")
        | reps.arrives(f"{OVERCOMPLETE}, {UNTRAINED} {PLACES[2]}")
        | reps.arrives(f"{NARROW}, {UNTRAINED} {PLACES[1]}")
        | reps.arrives(f"{COLOUR}, {UNTRAINED} {PLACES[1]}")
        | reps.arrives(f"{NARROW}, {TRAINED} {PLACES[1]}")
        | {
            "left unet, code over first halving": (
                Below(1.0),
                "Training removes as much noise where no layer is narrow.",
            )
        }
    )

    added_mlp: Above = Above(1.0)
    added_unet: Above = Above(1.0)
    left_unet: Below = Below(0.7)

    def measure(self, lab: Lab) -> Finding:
        """Compare layers that narrow with others, before training and after it."""
        found = {name: reps.by_seed(lab, name, LAYERS[name], represented.dashed(name)) for name in LAYERS}
        found = reps.paired(lab, found)
        both = reps.together(found)

        def noise(name: str, state: str, layer: str = "") -> str:
            return f"{name}: near noise left; {state}; {layer or CODES[name]}"

        numbers = {
            "added mlp": reps.noise_ratio(both, noise(HALVING, UNTRAINED), noise(OVERCOMPLETE, UNTRAINED)),
            "added unet": reps.noise_ratio(both, noise(NARROW, UNTRAINED), noise(COLOUR, UNTRAINED)),
            "left unet, first halving": reps.noise_ratio(
                both, noise(NARROW, TRAINED, WIDEST), noise(NARROW, UNTRAINED, WIDEST)
            ),
        }
        for name, short in {NARROW: "unet", HALVING: "mlp", OVERCOMPLETE: "overcomplete"}.items():
            numbers[f"left {short}"] = reps.noise_ratio(both, noise(name, TRAINED), noise(name, UNTRAINED))
        numbers["left unet, code over first halving"] = statistics.ratio_over_seeds(
            numbers["left unet"].seeds, numbers["left unet, first halving"].seeds
        )
        lines = {}
        for name, of in found.items():
            for state in (UNTRAINED, TRAINED):
                where = {
                    f"{name}, {state} {p}": f"{state}; {layer}"
                    for p, layer in zip(PLACES, LAYERS[name], strict=True)
                }
                numbers |= reps.summary(of, where)
                lines[f"{name}, {state}"] = [numbers[f"noise left, {called}"] for called in where]
        numbers |= reps.known_numbers(found[HALVING])
        looks = {}
        for name, of in found.items():
            rows = {"images": of[0].images["photographs"]}
            rows |= {state: of[0].images[f"near; {state}; {CODES[name]}"] for state in (UNTRAINED, TRAINED)}
            looks[represented.dashed(name)] = first_images(rows)
        added = [reps.said(numbers[f"added {short}"]) for short in ("mlp", "unet")]
        return Finding(
            numbers,
            {"noise": reps.along(lines, list(PLACES), "share of the noise's energy that is left"), **looks},
            copying={name: q for of in found.values() for name, q in qualities(of).items()},
            came_out=f"Untrained, narrow codes leave {added[0]} (perceptron) and {added[1]} (U-Net) times the "
            f"noise unseen that is left where nothing narrows; training leaves "
            f"{reps.said(numbers['left unet'])} of the U-Net's.",
            captions={
                "noise": "The share of white noise near an image that four layers of each network do not see, "
                "before training and after it",
                **{
                    represented.dashed(name): "Images, and what is left of noise of std 1/18 in them that the "
                    f"code of the {name} does not see, before training and after it"
                    for name in LAYERS
                },
            },
        )
