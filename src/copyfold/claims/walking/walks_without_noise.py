"""T15: do images walk without any noise, too?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from copyfold import pictures
from copyfold.claims.walking import SECTION
from copyfold.errors import Diverged
from copyfold.measures import mse
from copyfold.probes.base import Reading
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import samples, walks
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.copying import copying, qualities
from copyfold.studies.toolkit.walks import FATES, GOOD, NAMES, NOISY, SETS
from copyfold.types import Film, Images

MANY = SETS[-1]
NAME = NAMES[GOOD]
DECIDE = ("running statistics", "batches of 64")
ESSAY = DECIDE[-1]
CAPTIONS = {
    "ends": "Training images, and where 300 passes lead them: without noise, then with noise on the code, with "
    "running statistics and with those of batches of 64; and where they lead under the untrained network. "
    "White, or white and black, are images that have escaped",
    "larger": "Larger training images of another network, and where passes without noise lead them, with running "
    "statistics and with those of batches of 64. White and black are images that have escaped, grey those without "
    "any value left",
}


@dataclass(frozen=True)
class WalksWithoutNoise(Study):
    """Images walk along the manifold without any noise, too.

    A U-Net of depth 2 memorises 256 photographs of 16 pixels a side until its copies leave 1 % of their variance,
    where they look like their photographs. Its own map, g[n+1] = D(E(g[n])), is applied 300 times to 64 of them.
    An image walks if it neither escapes (a value below -1 or above 2) nor cycles (its last frame is that of 2 to 8
    steps before), and ends farther from its first step than half the median distance of a training image to the
    nearest other, or nearest to another training image. The deciding numbers are the share of training images that
    walk, with running statistics, where an image depends on nothing but itself, and with those of batches of 64,
    as in the essay. "Images walk" is taken as most of them: above 0.5; the essay counted 7 of 8 and, after more
    training, 1 of 8, and how it depends on training is another study (training-ends-the-walk).

    Controls: the ends must differ from each other, or the map draws all images to one, which by this count is a
    walk too: their median squared distance from their mean must be above 0.1 of that of the photographs. They must
    be no farther from the training images than 1.5 times the ends of walks with the essay's noise and the same
    statistics, or they do not move along the manifold that those do. Beside them stand 32 images, held-out images,
    the identity, PCA and the untrained network, how many of the walkers have come to rest elsewhere, and, as
    pictures only, walks at 64 pixels, where a person recognises a landscape, of another network, which leaves 2 %
    of held-out images.

    The network is taken on its way, before its learning rate has fallen: one whose training ends at 1 % may walk
    less. What changed: the old study started from held-out photographs, of 64 pixels, under networks that left
    about 13 % of them. Its verdict was HOLDS, although its control, the untrained network, moved all images as
    well. The displacement relative to walks with noise, which decided too, is only shown now.

    In both figures each column is a training image. The first has where its walks end, without noise and with it,
    with each kind of statistics; the second walks without noise at 64 pixels, step by step. The films show the
    steps between, with running statistics.
    """

    claim: ClassVar[str] = "T15"
    place: ClassVar[str] = f"{SECTION}: the equations without noise and the third film"
    items: ClassVar[tuple[int, ...]] = (89, 91, 113, 146)
    asked: ClassVar[str] = (
        "If an autoencoder's output is fed back into it again and again, with no noise added, does an image that "
        "it copies well turn into others?"
    )
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A good copy is not a stable one: what a walk shows is the motion of the map itself, and "
        "noise is not needed. Do not apply an autoencoder repeatedly where an image has to stay.",
        PARTLY: "The statistics decide: with one kind most images walk, with the other most do not, and whether "
        "they rest, cycle or escape then, the shares say. Say which statistics a walk uses.",
        Verdict.DOES_NOT_HOLD: "Do not count on walks without noise: at this quality most images rest, cycle or "
        "escape, which of it the shares say. Where many escape, the map does not keep images either.",
        Verdict.UNDECIDED: "Images differ too much, or all go to one place: look at the shares that rest and "
        "escape before calling a movement a walk.",
        Verdict.NOT_IN_REGIME: "Train longer before asking: a network that does not copy moves images by that.",
    }
    seeds: ClassVar[int] = 8
    regime: ClassVar[Mapping[str, Regime]] = {walks.quality(MANY, GOOD): Regime(GOOD, "training")}
    controls: ClassVar[Mapping[str, Control]] = {
        f"variance of the ends over that of photographs, {way}": (
            Above(0.1),
            "All images go to one: that is decay, and no walk along a manifold.",
        )
        for way in DECIDE
    } | {
        f"distance from the data over that with noise, {way}": (
            Below(1.5),
            "The images leave the manifold that the walks with noise stay on.",
        )
        for way in DECIDE
    }

    walking_running_statistics: Above = Above(0.5)
    walking_batches_of_64: Above = Above(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Take what is kept of the walks at 1 % left."""
        sets = walks.sizes(lab)
        found = {
            count: lab.by_seed(lambda seed, count=count: _picked(walks.walks(lab, count, seed)), str(count))
            for count in SETS
        }
        x, of = walks.starting(lab, sets[MANY])["training"], found[MANY]
        usual = [mse(x, x.mean(0).expand_as(x)).cpu()] * len(of)

        def per_image(what: str, way: str, kind: str = "") -> list[Tensor]:
            return [r.numbers[f"{what}{kind}; {NAME}; training; {way}"] for r in of]

        numbers = {f"walking {way}": statistics.fraction(per_image("walking", way)) for way in DECIDE}
        for way in DECIDE:
            spread = statistics.ratio_of_medians(per_image("apart", way), usual)
            numbers[f"variance of the ends over that of photographs, {way}"] = spread
            near = [per_image("near", way, kind) for kind in ("", NOISY)]
            numbers[f"distance from the data over that with noise, {way}"] = statistics.ratio_of_medians(*near)
            moved = [per_image("moved", way, kind) for kind in ("", NOISY)]
            numbers[f"displacement over that with noise, {way}"] = statistics.ratio_of_medians(*moved)
        for name in (walks.IDENTITY, walks.PCA):
            numbers[f"walking, {name}"] = walks.share(of, f"walking; {name}; training; {DECIDE[0]}")
        for count, readings in found.items():
            numbers |= _shares(count, readings)
        figures: dict[str, Any] = {"ends": pictures.comparison(self._rows(x[:SHOWN], of[0]))}
        films: dict[str, Film] = {"without-noise": walks.played(of[0].images[f"strip; {DECIDE[0]}"])}
        large = _larger(lab)
        if large.images:
            figures["larger"] = pictures.comparison(_steps(lab, large))
            films["larger-without-noise"] = walks.played(large.images[DECIDE[0]])
        return Finding(
            numbers,
            figures,
            films,
            notes=tuple(walks.unreached(found)),
            copying={name: c for rs in (*found.values(), [large]) for name, c in qualities(rs).items()},
            came_out=self._said(numbers),
            captions={name: text for name, text in CAPTIONS.items() if name in figures},
        )

    def _said(self, numbers: Mapping[str, Estimate]) -> str:
        def shares(way: str) -> str:
            # means over networks, which add to one; an interval is about the share of a typical network
            each = {fate: samples.mean(numbers[f"{fate}, {MANY} images, training, {way}"].seeds) for fate in FATES}
            others = ", ".join(f"{share:.0%} are {fate}" for fate, share in each.items() if fate != "walking")
            return f"{each['walking']:.0%} of the training images walk without noise ({others}) with {way}"

        return "; ".join(shares(way) for way in DECIDE) + "."

    def _rows(self, x: Images, first: Reading) -> dict[str, Images]:
        rows = {"training image": x}
        for way in DECIDE:
            rows[f"last, {way}"] = first.images[f"last; {NAME}; training; {way}"]
            rows[f"last with noise, {way}"] = first.images[f"last{NOISY}; {NAME}; training; {way}"]
        rows["last, untrained"] = first.images[f"last; {walks.UNTRAINED}; training; {DECIDE[0]}"]
        return rows


def _picked(reading: Reading) -> Reading:
    """What this claim keeps: the walks at 1 % left and of the controls, with and without noise."""
    names = (NAME, walks.UNTRAINED, walks.IDENTITY, walks.PCA)
    numbers = {
        name: value
        for name, value in reading.numbers.items()
        if name.startswith(("copying", "left;")) or name.split("; ")[1] in names
    }
    shown = {
        name: x
        for name, x in reading.images.items()
        if name.startswith("strip") or (name.split("; ")[1] in names and "; training; " in name)
    }
    return Reading(numbers, shown)


def _larger(lab: Lab) -> Reading:
    """Walks without noise of larger images, of the first seed, kept by the lab; empty where it diverges."""
    photos = lab.photos("landscapes", lab.budget.large)

    def look(seed: int) -> Reading:
        model, x = samples.large_copier(lab, seed), lab.images(photos, "train", walks.measured(lab))
        images = {"training image": x[:SHOWN]}
        for way in DECIDE:
            images[way] = walks.shown(walks.strip(lab, model, x, seed, *walks.WAYS[way], 0.0))
        return Reading(copying(lab, "larger images, which are shown only", model, photos), images)

    try:
        return lab.shared("walks-of-larger-images", lab.first, (photos,), look)
    except Diverged:  # the pictures decide nothing
        return Reading({}, {})


def _steps(lab: Lab, large: Reading) -> dict[str, Images]:
    """Rows of some of the frames."""
    rows, steps = {"training image": large.images["training image"]}, [n + 1 for n in walks.marks(lab)]
    for way in DECIDE:
        frames = list(walks.played(large.images[way]))
        for i in dict.fromkeys((0, len(steps) // 10, len(steps) // 3, len(steps) - 1)):
            rows[f"step {steps[i]}, {way}"] = frames[i]
    return rows


def _shares(count: int, of: list[Reading]) -> dict[str, Estimate]:
    """What became of the images of one set, in every way."""
    numbers: dict[str, Estimate] = {}
    for start in walks.STARTS:
        for way in walks.WAYS:
            for fate in FATES:
                numbers[f"{fate}, {count} images, {start}, {way}"] = walks.share(
                    of, f"{fate}; {NAME}; {start}; {way}"
                )
    for way in walks.WAYS:
        stopped = walks.share(of, f"stopped; {NAME}; training; {way}")
        numbers[f"walked and came to rest, {count} images, {way}"] = stopped
        noisy = walks.share(of, f"walking{NOISY}; {NAME}; training; {way}")
        numbers[f"walking with noise, {count} images, {way}"] = noisy
        blank = walks.share(of, f"walking; {walks.UNTRAINED}; training; {way}")
        numbers[f"walking, {count} images, untrained, {way}"] = blank
    return numbers
