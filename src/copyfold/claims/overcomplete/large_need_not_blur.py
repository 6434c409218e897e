"""Does the squared error cause blur, or what a code leaves out?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from copyfold.claims.overcomplete import SECTION
from copyfold.measures import sharpness
from copyfold.probes.base import Reading
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Regime, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, copiers, curve
from copyfold.studies.toolkit.charts import first_images
from copyfold.studies.toolkit.codes import pca
from copyfold.studies.toolkit.copiers import D2, END, FULLY, HALF, TWICE
from copyfold.studies.toolkit.copying import qualities
from copyfold.studies.toolkit.networks import restored

NET = "U-Net, depth 2"
LOOKS = {
    NET: (D2, END),
    f"{NET}, where 10 % is left": (D2, "0.1"),
    f"{NET}, where 1 % is left": (D2, "0.01"),
    f"{NET}, half the width": (HALF, END),
    f"{NET}, twice the width": (TWICE, END),
    "fully connected": (FULLY, END),
}
NARROW = 32  # numbers of a narrow code


@dataclass(frozen=True)
class LargeNeedNotBlur(Study):
    """The squared error need not blur where the network is large.

    A U-Net of depth 2 without skips, whose code has 2.7 times as many numbers as the image, learns to copy cifar10
    at 32 pixels in colour by its squared error. The number is the sharpness (energy of the Laplacian) of the
    held-out copy over that of the image, at the end of training, with running statistics.

    Threshold: 0.8, as in the study before. Regime: 1 %, the quality at which the loss has done its work; above
    it blur is unfinished training. Controls: the sharpness of the error over that of the image, since noise is
    sharp too: below 0.2, so that most of the edges are those of the image; and PCA of 32 components must be
    below 0.5. It is the best linear copy by the same squared error, and its code cannot hold the edges: if it
    were sharp, the measure would not see blur. The same of PCA that leaves as much as the network, of half and
    twice the width, and of the fully connected network is shown, and the network on its way.

    Formerly (0.1.0) perceptrons on grey landscapes decided by three numbers: the overcomplete one (.54, where 18
    % was left), a narrow code (.29) and wide layers with a narrow code (.70): MIXED. The last is left out: its
    outputs were sharp in the wrong places.

    The first figure shows the sharpness against what copies leave. In the second, rows from the top: images, the
    copies of the U-Net where 10 % is left and at the end, and those of PCA with 32 components.
    """

    claim: ClassVar[str] = "blur"
    place: ClassVar[str] = f"{SECTION}: the paragraphs around g(a; w, mu, sigma)"
    items: ClassVar[tuple[int, ...]] = (150,)
    data: ClassVar[tuple[str, ...]] = ("cifar10",)
    asked: ClassVar[str] = "Are blurred copies the fault of the squared error, or of what the code leaves out?"
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Blur is lost information or unfinished training, and not caused by the squared error: "
        "make the code wider, train longer, and keep the loss.",
        PARTLY: "It depends: look at the numbers.",
        Verdict.DOES_NOT_HOLD: "Also a network with room for every detail blurs by the squared error, after 20 "
        "minutes: where sharp edges matter, use another loss or train much longer.",
    }
    regime: ClassVar[Mapping[str, Regime]] = {NET: Regime(0.01)}
    controls: ClassVar[Mapping[str, Control]] = {
        "sharpness of the error": (
            Below(0.2),
            "The copy's error is sharp itself, so that its edges may not be those of the image.",
        ),
        "sharpness, PCA of 32 components": (
            Below(0.5),
            "A code that cannot hold the edges is as sharp: the measure does not see blur.",
        ),
    }

    sharpness_of_the_copy: Above = Above(0.8)

    def measure(self, lab: Lab) -> Finding:
        """Read the sharpness of copies off the curve."""
        photos = copiers.photographs(lab)

        def look(seed: int) -> Reading:
            def needed(what: str) -> bool:
                return "sharpness" in what or what.startswith("copy") or what == "mean image"

            curves = curve.read_off(lab, seed, LOOKS, needed, [D2])
            x, rival = lab.images(photos), pca(lab.images(photos, "train", 2048), NARROW)
            narrow = restored(rival, x, statistics="running")
            numbers = curves.numbers | {"narrow: sharpness": sharpness(narrow)}
            return Reading(numbers, curves.images | {"narrow: copy": narrow[: charts.SHOWN]})

        found = lab.by_seed(look)

        def over(what: str) -> Estimate:
            return curve.ratio(found, what, "beside: sharpness")

        numbers = {
            "sharpness of the copy": over(f"{NET}: sharpness"),
            "sharpness of the error": over(f"{NET}: sharpness of the error"),
            "sharpness, PCA of 32 components": over("narrow: sharpness"),
            "sharpness, PCA of equal error": over(f"{NET}: pca, sharpness"),
        }
        numbers |= {f"sharpness, {called}": over(f"{called}: sharpness") for called in LOOKS if called != NET}
        at = curve.places(found, D2)
        lefts = [curve.left(found, D2, look) for look in at]
        along = {
            "copy": (lefts, [over(f"{D2} at {look}: sharpness") for look in at]),
            "its error": (lefts, [over(f"{D2} at {look}: sharpness of the error") for look in at]),
            "PCA of equal error": (lefts, [over(f"{D2} at {look}: pca, sharpness") for look in at]),
        }
        figure = charts.curves(
            along, "share of the variance that copies leave", "sharpness over that of the image",
            {"the image": 1.0}, logx=True, logy=True,
        )  # fmt: skip
        images = found[0].images
        rows = {"clean": images["beside: clean"], "10 % left": images[f"{NET}, where 10 % is left: copy"]}
        rows |= {"end": images[f"{NET}: copy"], "PCA of 32": images["narrow: copy"]}
        return Finding(
            numbers,
            {"sharpness": figure, "images": first_images(rows)},
            notes=curve.missed(found, LOOKS),
            copying=qualities(found),
            came_out=f"At the end of training the U-Net's copies have "
            f"{numbers['sharpness of the copy'].value:.2f} of the images' sharpness, its error "
            f"{numbers['sharpness of the error'].value:.2f}; PCA that copies as well "
            f"{numbers['sharpness, PCA of equal error'].value:.2f}, PCA of 32 components "
            f"{numbers['sharpness, PCA of 32 components'].value:.2f}.",
            captions={
                "sharpness": "Energy of the Laplacian over that of the image, of the U-Net's copies, of their "
                "errors and of PCA's copies, against what copies leave (better copies to the left)",
                "images": "Held-out images, the U-Net's copies where 10 % is left and at the end, and those of "
                "PCA with 32 components",
            },
        )
