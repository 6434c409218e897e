"""T15: do images walk without any noise, too?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from copyfold import pictures
from copyfold.claims.walking import SECTION
from copyfold.models.base import Autoencoder
from copyfold.probes.nearest import neighbours
from copyfold.probes.stability import rms
from copyfold.samplers.base import parts
from copyfold.samplers.walk import Walk
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Control, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import BATCH, unet
from copyfold.studies.toolkit.samples import EPSILON, REFERENCE, essay_steps, film, levels, mean, thinned
from copyfold.studies.toolkit.walks import KNOWN, repeated, walked
from copyfold.types import Film, Images


@dataclass(frozen=True)
class WalksWithoutNoise(Study):
    """Images walk along the manifold without any noise, too.

    The U-Net's own map, g[n+1] = D(E(g[n])), is applied 100 times (300 at the gpu budget) to held-out photographs,
    the batch norms using the statistics of the batch, as in the essay. An image walks if it ends farther from its
    first step than half the usual distance between neighbouring photographs, or if its nearest photograph has
    changed. The numbers are the share that walks, and the displacement over that of the same images with the
    essay's noise.

    Controls: running statistics, with which an image does not depend on the others of its batch; the network
    before training; the distance of the ends from the data, with and without noise, since images that move may
    just decay; and the shares that reach a fixed point, enter a cycle, or diverge: a map that draws all images to
    one makes them walk too, by this count, and is completely stable.

    In the figure each column is a photograph, its first step and its last; the film shows the steps between.
    """

    claim: ClassVar[str] = "T15"
    place: ClassVar[str] = f"{SECTION}: the equations without noise and the third film"
    items: ClassVar[tuple[int, ...]] = (89, 91, 113, 146)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "What a walk shows is mostly the motion of the map itself, to which noise only adds. "
        "Whether the map is unstable or attracts images, the share that comes to rest tells.",
        PARTLY: "Either most images move without noise but less than half as far, or few move, but far.",
        Verdict.DOES_NOT_HOLD: "The map keeps images where they are: noise causes the walk.",
    }

    walking_fraction: Above = Above(0.5)
    displacement_over_noisy_walk: Above = Above(0.5)

    controls: ClassVar[Mapping[str, Control]] = {
        "walking fraction, untrained": (
            Below(0.5),
            "An untrained network moves its images too: this count says nothing about a manifold.",
        )
    }

    def measure(self, lab: Lab) -> Finding:
        """Apply the map repeatedly, with and without noise."""
        photos = lab.photos("landscapes", lab.budget.large)
        x = lab.images(photos, count=max(SHOWN, lab.budget.measured // 2))
        known, fitted = (lab.images(photos, "train", count) for count in (KNOWN, REFERENCE))
        make, noisy = unet(lab, large=True), Walk(essay_steps(lab, 300, 100), EPSILON)

        def look(seed: int) -> tuple[dict[str, dict[str, Tensor]], Autoencoder]:
            model = lab.trained(make, photos, seed)
            frames = film(noisy, model, x, lab.rng(seed, "walk"))
            first, end = pictures.sampled(frames, pictures.evenly(noisy.steps, 2))
            return {
                "batch statistics": repeated(lab, model, x, known, seed),
                "running statistics": repeated(lab, model, x, known, seed, "running"),
                "untrained": repeated(lab, lab.untrained(make, photos, seed), x, known, seed),
                "with noise": {
                    "displacement": rms(end, first),
                    "walks": walked(first, end, known),
                    "last": end,
                },
            }, model

        found, models = zip(*lab.each(look), strict=True)
        moved = [[f[name]["displacement"] for f in found] for name in ("batch statistics", "with noise")]
        numbers = {
            "walking fraction": statistics.fraction([f["batch statistics"]["walks"] for f in found]),
            "displacement over noisy walk": statistics.ratio(*moved),
        }
        rows = {"photograph": x[:SHOWN], "step 1": found[0]["batch statistics"]["first"][:SHOWN]}
        for name in found[0]:
            ends = [f[name]["last"] for f in found]
            numbers |= self._ends(lab, name, ends, fitted, known)
            rows[f"last step, {name}"] = ends[0][:SHOWN]
            if name != "batch statistics":
                numbers[f"walking fraction, {name}"] = statistics.fraction([f[name]["walks"] for f in found])
            if name != "with noise":
                periods = [f[name]["period"] for f in found]
                numbers[f"at rest, {name}"] = statistics.fraction([(p == 1).float() for p in periods])
                numbers[f"in a cycle, {name}"] = statistics.fraction([(p > 1).float() for p in periods])
                numbers[f"escaped, {name}"] = statistics.fraction([f[name]["escaped"] for f in found])
        numbers |= self._ends(lab, "photographs", [x] * len(found), fitted, known)
        frames = film(Walk(noisy.steps, 0.0), models[0], parts(x, BATCH)[0], lab.rng(0, "film"))
        films: dict[str, Film] = {"without-noise": (frame[:SHOWN] for frame in thinned(frames, noisy.steps))}
        return Finding(numbers, {"ends": pictures.comparison(rows)}, films)

    def _ends(self, lab: Lab, name: str, ends: list[Images], fitted: Images, known: Images) -> dict[str, Estimate]:
        """Distances from the data of the images at the end."""
        patches = [mean(levels(y, fitted, lab.rng(i, "patches"))) for i, y in enumerate(ends)]
        return {
            f"patch distance, {name}": statistics.over_seeds(patches),
            f"nearest distance, {name}": statistics.mean([neighbours(y, known)[0][:, 0] for y in ends]),
        }
