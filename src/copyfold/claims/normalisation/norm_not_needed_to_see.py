"""T23: is batch norm needed for an accurate representation?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.claims.normalisation import SECTION
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import representations as reps
from copyfold.studies.toolkit import represented
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.represented import NO_NORM, OUTPUT, RANDOM, STAGES, TRAINED, U_NET

KINDS = {"batch norm": U_NET, "without norm": NO_NORM}
NAMES = {
    "encoder.down1": "first halving",
    "encoder.down2": "code",
    "decoder.up1": "first doubling",
    OUTPUT: "output",
}


@dataclass(frozen=True)
class NormNotNeededToSee(Study):
    """Batch norm is not needed for an accurate representation in the output layer.

    U-Nets of depth 2 without skips learn to copy grey landscapes of 32 pixels until they leave 2 % of others, with
    batch norm and without. The representation of a held-out image is an image with the same output, found by the
    search that all claims share: up to 500 steps of Adam and then 500 of L-BFGS, from a plain image lighter than
    the photograph and from one darker, until the output is within a tenth of the change that noise of std 1/18
    makes. Its error is its distance from the held-out image over the root of the number of values, the mean of
    both, the median over 16 images; intervals contain those from either start. Batch norm uses its running
    statistics, so that no image's search depends on others.

    Two numbers decide, with the thresholds of before: without norm the error is below 1.1 of that with it, a
    difference that an eye would not see; and below 0.1, a tenth of the range, which is "accurate". In pilots of
    other networks, images as near at the output were .09 to .27 of the range away, by start and method, and L-BFGS
    alone went farther away as the output came nearer: so a verdict has to be that of both starts. The claim
    presupposes that both leave at most 3 %, a half more than they are trained for.

    Controls: searches must arrive in both networks; what is left without norm must be below twice what is left
    with it, as a network that copies worse may represent worse for that reason; and a random layer that keeps a
    quarter of the numbers must have an error above 0.1, or that threshold sees nothing. Shown beside: the share of
    white noise near the image that the output and three more layers do not see.

    Formerly (0.1.0) depth 3 learned for 2,500 steps of Adam and left 9 % and more, and 80 steps of L-BFGS from
    noise found .82 [.68, .98] of the error with batch norm, and .15 [.12, .19]: MIXED. Group norm and the
    untrained network, whose searches do not end, are left out.

    The first figure shows the noise left along the layers, near the image; the second images, and what the outputs
    represent.
    """

    claim: ClassVar[str] = "T23"
    place: ClassVar[str] = f"{SECTION}: the last paragraph and the figure under it"
    items: ClassVar[tuple[int, ...]] = (125, 151)
    asked: ClassVar[str] = "Does an autoencoder need batch norm for its output to determine the input accurately?"
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Leave batch norm out where it is in the way: the output determines the image as "
        "accurately.",
        PARTLY: "Compare both numbers: without batch norm the representation is as good as with it but not "
        "accurate, or accurate but worse.",
        Verdict.DOES_NOT_HOLD: "Keep batch norm where the input must be recovered: without it the output does not "
        "determine the image accurately, or less so than with it.",
        Verdict.UNDECIDED: "Measure more seeds before leaving it out: the difference is within the interval.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: one of the networks has not learned to copy.",
    }
    seeds: ClassVar[int] = 5
    regime: ClassVar[Mapping[str, Regime]] = {U_NET: Regime(0.03), NO_NORM: Regime(0.03)}
    controls: ClassVar[Mapping[str, Control]] = (
        reps.answered("batch norm output")
        | reps.answered("without norm output")
        | {
            "left without norm over batch norm": (
                Below(2.0),
                "Without norm the network copies worse: the representation may be worse for that reason.",
            ),
            f"error found, {RANDOM}": (
                Above(0.1),
                "The measure does not see that most of an image is lost.",
            ),
        }
    )

    representation_error_without_norm_over_batch_norm: Below = Below(1.1)
    representation_error_without_norm: Below = Below(0.1)

    def measure(self, lab: Lab) -> Finding:
        """Compare both networks at four layers."""
        found = {kind: reps.by_seed(lab, name, STAGES, represented.dashed(name)) for kind, name in KINDS.items()}
        found = reps.paired(lab, found)
        both, at = reps.together(found), f"{TRAINED}; {OUTPUT}"
        numbers = {
            "representation error without norm over batch norm": reps.error_ratio(
                both, f"without norm: found {{}}; {at}", f"batch norm: found {{}}; {at}"
            ),
            "noise left without norm over batch norm": reps.noise_ratio(
                both, f"without norm: near noise left; {at}", f"batch norm: near noise left; {at}"
            ),
        }
        copying = {name: q for of in found.values() for name, q in qualities(of).items()}
        lefts = [copying[name].left["held out"].seeds for name in (NO_NORM, U_NET)]
        numbers["left without norm over batch norm"] = statistics.ratio_over_seeds(*lefts)
        for kind, of in found.items():
            numbers |= reps.summary(of, {f"{kind} {NAMES[layer]}": f"{TRAINED}; {layer}" for layer in STAGES})
        numbers |= reps.known_numbers(found["batch norm"])
        numbers["representation error without norm"] = numbers["error found, without norm output"]
        lines = {kind: [numbers[f"noise left, {kind} {NAMES[s]}"] for s in STAGES] for kind in KINDS}
        seen = {kind: of[0].images for kind, of in found.items()}
        return Finding(
            numbers,
            {
                "layers": reps.along(lines, list(NAMES.values()), "share of the noise's energy that is left"),
                "representations": reps.beside(seen["batch norm"]["photographs"], seen, at),
            },
            copying=copying,
            came_out=f"Without batch norm the error of the representation is "
            f"{reps.said(numbers['representation error without norm'])} of the range, "
            f"{reps.said(numbers['representation error without norm over batch norm'])} of that with it.",
            captions={
                "layers": "The share of white noise near an image that four layers do not see, with batch norm "
                "and without any norm",
                "representations": "Held-out images, and images with the same output of each network, found from "
                "a plain image and from the image with noise",
            },
        )
