"""T4: does a U-Net denoise better than a fully connected network?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from copyfold.claims.normalisation import SECTION
from copyfold.probes.base import Reading
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, copiers, curve
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.copiers import D2, END, FULLY
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.looks import BY_64, RUNNING
from copyfold.studies.toolkit.networks import parameters

NET, RIVAL = "U-Net", "fully connected"
LOOKS = {
    NET: (D2, "0.1"),
    RIVAL: (FULLY, "0.1"),
    f"{NET}, at 5 %": (D2, "0.05"),
    f"{RIVAL}, at 5 %": (FULLY, "0.05"),
    f"{NET}, end": (D2, END),
    f"{RIVAL}, end": (FULLY, END),
}
STRONG = "gaussian 0.2"
NOISES = {"mix": ("mix", BY_64), "gaussian": (STRONG, RUNNING)}


@dataclass(frozen=True)
class UNetOverFullyConnected(Study):
    """A U-Net denoises better than a fully connected network.

    A U-Net of depth 2 without skips and a fully connected network of five hidden layers of 1,024 units learn only
    to copy cifar10 at 32 pixels in colour. They are compared at equal quality: better copies pass more noise, so
    that at equal steps or minutes the comparison would be of how fast they learn. The quality is that of the fully
    connected network where its copies first leave 10 % of held-out images' variance, or at its end, where it does
    not come so far. The U-Net comes there within its first few hundred steps, and may jump over that quality from
    one look to the next; so its errors are interpolated between the looks before and after, over what is left, for
    every seed. There its learning rate is still high, and the other's has fallen, which favours the other. Two
    numbers decide, squared errors of the U-Net over those of the other for the same noisy images: mixed half and
    half with noise N(0.7, 0.2^2), where the U-Net uses the statistics of batches of 64, as in the essay; and with
    noise of std 0.2, where it uses running statistics and no image depends on another. Of the mix the statistics
    of a batch set the brightness right, which nothing tells the other network: what is left of the first number
    where it is told is shown.

    Thresholds: 1, as in the study before. Regime: 15 %, about what PCA of 64 components leaves (.142), the least
    that a network of 1,024 units has to reach to be called a copier. The same numbers where each leaves 5 % and at
    the end of each training are shown; the table of copies says where 5 % was not reached. Controls: the copying
    error of the U-Net, interpolated, is at least 0.8 of the other's: it is 1, but for its interval over images,
    unless the U-Net's looks do not enclose the other's quality, so that the difference would be one of quality;
    and without a shift of brightness the other must remove some noise, or the U-Net is compared with a network
    that does nothing. The fully connected network has 20 times the weights and a code of a third of the image, an
    eighth of that of the U-Net: both favour it, as a short code removes noise.

    Formerly (0.1.0) both were trained equally long on 1,325 grey landscapes, which is too few for fully connected
    ones: UNDECIDED, with errors over those of the fully connected network of .20 (mix) and .88 (Gaussian). A
    network with as many weights as the U-Net decided too; at equal quality that question is left out.

    The first figure has a line for each network, quality and noise: left of the mark noise is removed. In the
    second, rows from the top: clean, with noise of std 0.2, and the output of each where 10 % is left.
    """

    claim: ClassVar[str] = "T4"
    place: ClassVar[str] = f"{SECTION}: its first paragraph"
    items: ClassVar[tuple[int, ...]] = (105, 139)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    asked: ClassVar[str] = (
        "Of a convolutional and a fully connected network that copy equally well, which denoises?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Emergent denoising comes from convolution and depth: prefer a U-Net even where both copy "
        "equally well.",
        PARTLY: "It depends on the noise: the U-Net's advantage on the mix is that the statistics of a batch "
        "undo a shift of brightness.",
        Verdict.DOES_NOT_HOLD: "A fully connected network that copies equally well denoises as well or better: "
        "what matters is how much is left out, not convolution.",
    }
    regime: ClassVar[Mapping[str, Regime]] = {NET: Regime(0.15), RIVAL: Regime(0.15)}
    controls: ClassVar[Mapping[str, Control]] = {
        "copying error over fully connected": (
            Above(0.8),
            "The U-Net copies better where both should be equal: that may be why it denoises better.",
        ),
        "error over doing nothing, fully connected, gaussian": (
            Below(1.0),
            "The fully connected network removes no noise at all, so that being better than it says little.",
        ),
    }

    error_over_fully_connected_mix: Below = Below(1.0)
    error_over_fully_connected_gaussian: Below = Below(1.0)

    def measure(self, lab: Lab) -> Finding:
        """Read errors off the curves, at equal quality."""
        found = lab.by_seed(lambda seed: at_equal_quality(curve.read_off(lab, seed, LOOKS, _needed, [D2])))
        numbers = _numbers(found)
        drawn = {
            k.removeprefix("error over doing nothing, "): e for k, e in numbers.items() if "doing nothing" in k
        }
        figure = charts.intervals(
            drawn, "squared error over that of doing nothing", {"doing nothing": 1.0}, logx=True
        )
        images = found[0].images
        rows = {"clean": images["beside: clean"], "noisy": images[f"beside: {STRONG}"]}
        rows |= {called: images[f"{called}: {STRONG}"] for called in (NET, RIVAL)}
        shape, of = copiers.photographs(lab).shape, copiers.configurations(lab)
        count = [parameters(of[name].make, shape) for name in (D2, FULLY)]
        mix, gaussian = (numbers[f"error over fully connected {name}"].value for name in NOISES)
        return Finding(
            numbers,
            {"ratios": figure, "images": first_images(rows)},
            notes=(f"weights: U-Net {count[0]:,}, fully connected {count[1]:,}", *curve.missed(found, LOOKS)),
            copying=qualities(found),
            came_out=f"Where both copy equally well, the U-Net's error is {mix:.2f} of the fully connected "
            f"network's for the essay's mix, and {gaussian:.2f} of it for noise of std 0.2.",
            captions={
                "ratios": "Squared error over that of doing nothing, for each network, quality and noise, and for "
                "the best linear filter and PCA that copies as the U-Net does; small circles are seeds",
                "images": "Held-out images, the same with noise of std 0.2, and the output of each network where "
                "10 % is left",
            },
        )


def _numbers(found: Sequence[Reading]) -> dict[str, Estimate]:
    """The errors over the fully connected network's, and those of all over doing nothing."""
    numbers = {
        "copying error over fully connected": curve.ratio(
            found, f"{NET}: copy, {RUNNING}", f"{RIVAL}: copy, {RUNNING}"
        )
    }
    for name, (noise, way) in NOISES.items():
        for at in ("", ", at 5 %", ", end"):
            numbers[f"error over fully connected {name}{at}"] = curve.ratio(
                found, f"{NET}{at}: error, {noise}, {way}", f"{RIVAL}{at}: error, {noise}, {way}"
            )
        for called in LOOKS:
            numbers[f"error over doing nothing, {called}, {name}"] = curve.ratio(
                found, f"{called}: error, {noise}, {way}", f"beside: nothing, {noise}"
            )
        numbers[f"error over doing nothing, best linear filter, {name}"] = curve.ratio(
            found, f"beside: linear, error, {noise}", f"beside: nothing, {noise}"
        )
    numbers["error over doing nothing, PCA of equal error, gaussian"] = curve.ratio(
        found, f"{NET}: pca, error, {STRONG}", f"beside: nothing, {STRONG}"
    )
    # A mix whose brightness and contrast are set right is the image with noise of std 0.2
    numbers["error over fully connected that is told the brightness, mix"] = curve.ratio(
        found, f"{NET}: error, mix, {BY_64}", f"{RIVAL}: error, {STRONG}, {RUNNING}"
    )
    return numbers


def at_equal_quality(found: Reading) -> Reading:
    """The U-Net's numbers where it leaves what the other leaves: between two looks, linear in what is left.

    At the nearer end, where the other leaves more than at the U-Net's first look or less than at its last.
    """
    places = curve.places([found], D2)
    lefts = [found.numbers[f"{D2} at {at}: copy, {RUNNING}"].mean().item() for at in places]
    wanted = found.numbers[f"{RIVAL}: copy, {RUNNING}"].mean().item()
    after = next((i for i, left in enumerate(lefts) if left <= wanted), len(places) - 1)
    before = max(0, after - 1)
    apart = lefts[before] - lefts[after]
    share = min(1.0, (lefts[before] - wanted) / apart) if apart > 0 else 1.0
    numbers = {name: value for name, value in found.numbers.items() if not name.startswith(f"{D2} at ")}
    for name in [name for name in numbers if name.startswith(f"{NET}: ")]:
        a, b = (
            found.numbers.get(f"{D2} at {places[i]}: {name.removeprefix(f'{NET}: ')}") for i in (before, after)
        )
        if a is not None and b is not None:
            numbers[name] = (1 - share) * a + share * b
    return Reading(numbers, found.images)


def _needed(what: str) -> bool:
    return "copy" in what or STRONG in what or what.endswith(("mix", "mix, batches of 64"))
