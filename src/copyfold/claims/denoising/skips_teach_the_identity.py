"""T5: do skips make a U-Net learn the identity?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.claims.denoising import SECTION
from copyfold.studies.base import PARTLY, Above, Below, Control, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, curve
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.copiers import D2, D3, END, SKIPS_2, SKIPS_3
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.looks import BY_64, RUNNING

WITH, WITHOUT = "with skips", "without skips"
LOOKS = {
    WITH: (SKIPS_2, END),
    WITHOUT: (D2, "0.01"),
    f"{WITH}, at 1 %": (SKIPS_2, "0.01"),
    f"{WITHOUT}, end": (D2, END),
    f"{WITH}, depth 3, end": (SKIPS_3, END),
    f"{WITH}, depth 3, at 1 %": (SKIPS_3, "0.01"),
    f"{WITHOUT}, depth 3": (D3, "0.01"),
}
WEAK = "gaussian 0.1"


@dataclass(frozen=True)
class SkipsTeachTheIdentity(Study):
    """With its skips a U-Net learns the identity function; without them it does not.

    Two U-Nets of depth 2, one whose decoder stages receive the encoder's maps and one without these, learn only
    to copy cifar10 at 32 pixels in colour, equally long. "Noise passed" is the share of noise of std 0.1 that
    comes out again, 1 for the identity, with running statistics: those of a batch undo a shift of brightness,
    which the identity does not. Two numbers decide: with skips, at the end of training, where it should be the
    identity if it ever is; without skips, where 1 % is left, the quality that T1 presupposes.

    Thresholds: 0.9 for a copy and 0.8 for no copy, as in the study before. Regimes: with skips 0.5 %, since that
    network copies far better before its training ends, and without skips 1 %. Better copies pass more noise
    whatever the network, so that a difference between the two numbers may be one of quality alone. Control,
    therefore: where both leave 1 %, the network with skips must pass more than the one without; if it does not,
    the skips teach copying sooner, and nothing else. And the identity itself, measured in the same way. Depth 3
    is shown beside.

    Formerly (0.1.0) both were trained on grey landscapes at 64 pixels for 2,500 steps: with skips .84 passed,
    where 2.9 % was left, without .016, where 13 % was left: MIXED. The distance to the input for the mix decided
    too (with skips .19 of that of the clean image); a brightness shift is most of it, and it is left out.

    The first figure has a line for each network and quality; the marks are the identity and the two thresholds. In
    the second, rows from the top: clean, with noise of std 0.2, and the outputs with skips at the end, with skips
    and without where 1 % is left.
    """

    claim: ClassVar[str] = "T5"
    place: ClassVar[str] = f"{SECTION}: the paragraph on residual connections"
    items: ClassVar[tuple[int, ...]] = (19, 139)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    asked: ClassVar[str] = "Do skip connections turn a U-Net that learns to copy into the identity?"
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Leave skips out where a network is to learn more than to copy.",
        PARTLY: "Skips alone do not decide whether a U-Net becomes the identity: compare networks at equal "
        "quality of their copies.",
        Verdict.DOES_NOT_HOLD: "Skips do not make a U-Net the identity, and one without them may come as near to "
        "it.",
    }
    regime: ClassVar[Mapping[str, Regime]] = {WITH: Regime(0.005), WITHOUT: Regime(0.01)}
    controls: ClassVar[Mapping[str, Control]] = {
        "noise passed with skips over without, both at 1 %": (
            Above(1.0),
            "At equal quality skips pass no more noise: what differs is how soon the networks copy well.",
        ),
        "noise passed, identity": (Above(0.999), "The measure does not see the identity."),
    }

    noise_passed_with_skips: Above = Above(0.9)
    noise_passed_without_skips: Below = Below(0.8)

    def measure(self, lab: Lab) -> Finding:
        """Read the share of weak noise that passes off the curves, with skips and without."""
        found = lab.by_seed(
            lambda seed: curve.read_off(lab, seed, LOOKS, lambda what: WEAK in what or what.startswith("copy"))
        )
        passed = f"passed, {WEAK}, {RUNNING}"
        numbers = {f"noise passed {called}": curve.mean(found, f"{called}: {passed}") for called in LOOKS}
        numbers |= {
            f"noise passed {called}, batches of 64": curve.mean(found, f"{called}: passed, {WEAK}, {BY_64}")
            for called in LOOKS
        }
        numbers |= {
            "noise passed with skips over without, both at 1 %": curve.ratio(
                found, f"{WITH}, at 1 %: {passed}", f"{WITHOUT}: {passed}"
            ),
            "noise passed, identity": curve.mean(found, f"beside: identity, {passed}"),
            "noise passed, PCA as good as without skips": curve.mean(found, f"{WITHOUT}: pca, passed, {WEAK}"),
            "noise passed, PCA as good as with skips": curve.mean(found, f"{WITH}: pca, passed, {WEAK}"),
        }
        marks = {"identity": 1.0, "with skips: above": 0.9, "without: below": 0.8}
        drawn = {called: numbers[f"noise passed {called}"] for called in LOOKS}
        images = found[0].images
        rows = {"clean": images["beside: clean"], "noisy": images["beside: gaussian 0.2"]}
        rows |= {called: images[f"{called}: gaussian 0.2"] for called in (WITH, f"{WITH}, at 1 %", WITHOUT)}
        both = numbers["noise passed with skips over without, both at 1 %"].value
        return Finding(
            numbers,
            {
                "shares": charts.intervals(drawn, "share of noise of std 0.1 that passes", marks),
                "images": first_images(rows),
            },
            notes=curve.missed(found, LOOKS),
            copying=qualities(found),
            came_out=f"With skips {numbers['noise passed with skips'].value:.0%} of weak noise passes at the end "
            f"of training, without {numbers['noise passed without skips'].value:.0%} where 1 % is left; where "
            f"both leave 1 %, skips pass {both:.2f} times as much.",
            captions={
                "shares": "The share of weak noise that passes each network, and the identity and the thresholds "
                "as marks; small circles are seeds",
                "images": "Held-out images, the same with noise of std 0.2, and the outputs of the U-Net with "
                "skips at the end and where 1 % is left, and without skips where 1 % is left",
            },
        )
