"""T13: does a walk on the learned manifold explore it through images that resemble the data?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from copyfold import pictures
from copyfold.claims.walking import SECTION
from copyfold.corruptions import Gaussian, noise_like
from copyfold.measures import mse
from copyfold.models.base import Autoencoder, flat
from copyfold.probes.base import still
from copyfold.probes.nearest import neighbours
from copyfold.probes.stability import rms
from copyfold.samplers.base import parts, unflatten
from copyfold.samplers.fitted import FittedGaussian
from copyfold.samplers.walk import DirectedWalk, Walk
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts, samples
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.networks import BATCH, unet
from copyfold.studies.toolkit.samples import EPSILON, REFERENCE, film, last, levels, mean
from copyfold.studies.toolkit.walks import KNOWN, walked
from copyfold.types import Images

MARKS = 31  # frames of a walk that are measured, and that its film shows


@dataclass(frozen=True)
class ManifoldWalk(Study):
    r"""A walk on the learned manifold goes through images that resemble the data.

    The essay's U-Net without skips learns to copy photographs. Held-out ones are then mapped repeatedly, with
    noise on the code, h[n+1] = E(D(h[n])) + 0.2 xi, for 300 steps, the batch norms using the statistics of the
    batch. Resembling the data is measured by two numbers: the distance from the end of a walk to its nearest
    training photograph, over that of held-out photographs to theirs; and the patch distance of all ends from
    training photographs, over that of images decoded from random codes, each number normal with its own mean and
    std. Exploring is the share of walks that end farther from their first step than half the usual distance
    between neighbours, or whose nearest photograph has changed.

    Controls: random codes with the full covariance of the codes of photographs; noise in pixels, as large as the
    displacement of the walks; the mean photograph, which is nearer to any photograph than most others are, so that
    a small distance alone says little; the variance of the ends about their mean, over that of the photographs,
    since walks that all decay to one image have moved and are near but explore nothing; held-out photographs; and
    the directed walk to another photograph, halfway.

    In the first figure each column is a walk, with the training photograph nearest to its end, and images from
    random codes. The second shows, step by step, the distances of the walk from the data and from its first step.
    """

    claim: ClassVar[str] = "T13"
    place: ClassVar[str] = f"{SECTION}: the equations of h[n+1] and g[n+1], and the first film"
    items: ClassVar[tuple[int, ...]] = (88, 92, 100, 101, 111, 146)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "Applying the model repeatedly with a little noise makes new images of the kind of the "
        "data, where random codes do not: a deterministic autoencoder can be explored from photographs.",
        PARTLY: "It moves, or it stays near the data, but not both: what looks like exploring may be decay.",
        Verdict.DOES_NOT_HOLD: "The walk leaves the data as random codes do: it shows the network and not the "
        "data.",
    }

    nearest_distance_over_held_out: Below = Below(1.1)
    patch_distance_over_random_codes: Below = Below(0.5)
    walked: Above = Above(0.5)

    def measure(self, lab: Lab) -> Finding:
        """Walk from held-out photographs, and measure where the walks are."""
        photos = lab.photos("landscapes", lab.budget.large)
        x = lab.images(photos, count=max(SHOWN, lab.budget.measured // 2))
        known, fitted = (lab.images(photos, "train", count) for count in (KNOWN, REFERENCE))
        walk = Walk(samples.essay_steps(lab, 300), EPSILON)
        marks = pictures.evenly(walk.steps, MARKS)

        def look(seed: int) -> _Walked:
            model = lab.trained(unet(lab, large=True), photos, seed)
            frames = pictures.sampled(film(walk, model, x, lab.rng(seed, "walk")), marks)
            moved = [rms(frame, frames[0]) for frame in frames]
            sets = {"walk": frames[-1]} | self._controls(lab, model, x, known, fitted, moved[-1], seed)
            places = {name: lab.rng(seed, "patches") for name in sets}  # the same for all
            return _Walked(
                near=[neighbours(frame, known)[0][:, 0] for frame in frames],
                moved=moved,
                walks=walked(frames[0], frames[-1], known),
                apart=mse(frames[-1], frames[-1].mean(0).expand_as(x)),
                nearest={name: neighbours(images, known)[0][:, 0] for name, images in sets.items()},
                patches={name: mean(levels(images, fitted, places[name])) for name, images in sets.items()},
                spread=flat(model.encode(x[:BATCH])).detach().std().item(),
                strip=torch.stack([frame[:SHOWN] for frame in frames]),
                shown={name: images[:SHOWN] for name, images in sets.items()},
            )

        found = lab.each(look)
        near, far = ([f.nearest[name] for f in found] for name in ("walk", "held-out photographs"))
        usual = [mse(x, x.mean(0).expand_as(x))] * len(found)
        ratios = [f.patches["walk"] / f.patches["random codes"] for f in found]
        numbers = {
            "nearest distance over held out": statistics.ratio(near, far),
            "patch distance over random codes": statistics.over_seeds(ratios, "log"),
            "walked": statistics.fraction([f.walks for f in found]),
            "displacement at the end": statistics.mean([f.moved[-1] for f in found]),
            "variance of the ends over that of photographs": statistics.ratio([f.apart for f in found], usual),
            "noise over the spread of the codes": statistics.over_seeds(
                [EPSILON / f.spread for f in found], "log"
            ),
        }
        for name in found[0].nearest:
            numbers[f"nearest distance, {name}"] = statistics.mean([f.nearest[name] for f in found])
        numbers |= samples.pooled([{f"patch distance, {n}": v for n, v in f.patches.items()} for f in found])
        figures = {"walk": self._strip(found[0], marks, known), "distances": self._curves(found, marks, numbers)}
        return Finding(numbers, figures, {"walk": iter(found[0].strip)})

    def _controls(
        self, lab: Lab, model: Autoencoder, x: Images, known: Images, fitted: Images, moved: Tensor, seed: int
    ) -> dict[str, Images]:
        """What the ends of walks with this displacement are compared with."""
        rng, directed = lab.rng(seed, "controls"), DirectedWalk(samples.essay_steps(lab, 60))
        aimed = film(directed, model, x, rng)
        return {
            "random codes": random_codes(model, fitted, len(x), rng),
            "codes of their covariance": last(film(FittedGaussian(fitted, BATCH), model, x, rng)),
            "noise in pixels": Gaussian(moved.square().mean().sqrt().item())(x, rng),
            "mean photograph": known.mean(0).expand_as(x),
            "directed walk, halfway": pictures.sampled(aimed, [directed.steps // 2 - 1])[0],
            "held-out photographs": x,
        }

    def _strip(self, found: "_Walked", marks: list[int], known: Images) -> Any:
        """The walks of the first seed, and what to compare them with."""
        rows = {"photograph": found.shown["held-out photographs"]}
        for i in dict.fromkeys((0, len(marks) // 10, len(marks) // 3, len(marks) - 1)):
            rows[f"step {marks[i] + 1}"] = found.strip[i]
        rows["nearest training photograph"] = known[neighbours(found.shown["walk"], known)[1][:, 0]]
        names = ("directed walk, halfway", "random codes", "codes of their covariance")
        return pictures.comparison(rows | {name: found.shown[name] for name in names})

    def _curves(self, found: "list[_Walked]", marks: list[int], numbers: Mapping[str, Estimate]) -> Any:
        """Distances along the walks, with those of the controls as level lines."""
        steps = [n + 1 for n in marks]
        along = {
            "walk: to the nearest training photograph": [f.near for f in found],
            "walk: to its own first step": [f.moved for f in found],
        }
        lines: dict[str, tuple[list[int], list[Estimate]]] = {}
        for name, values in along.items():
            lines[name] = steps, [statistics.mean([v[i] for v in values]) for i in range(len(marks))]
        for name in ("held-out photographs", "random codes", "mean photograph"):
            ends = [numbers[f"nearest distance, {name}"]] * 2
            lines[f"{name}: to the nearest"] = [steps[0], steps[-1]], ends
        wrapped = {name.replace(": ", ":\n"): line for name, line in lines.items()}
        return charts.curves(wrapped, "step of the walk", "distance per pixel value, RMS")


@dataclass(frozen=True)
class _Walked:
    """The measurements of one seed's walks and their controls."""

    near: list[Tensor]
    """Distance of every image to the nearest training image, at every mark."""
    moved: list[Tensor]
    """The same to the walk's first step."""
    walks: Tensor
    apart: Tensor
    """Squared error of every end against the mean of all ends."""
    nearest: dict[str, Tensor]
    patches: dict[str, float]
    spread: float
    """Standard deviation of the numbers of the codes."""
    strip: Tensor
    shown: dict[str, Images]


@torch.no_grad()
def random_codes(model: Autoencoder, reference: Images, count: int, rng: Generator) -> Images:
    """Decode codes whose numbers are independent and normal, each with its mean and std over the reference."""
    with still(model, "batch"):
        like = model.encode(reference[:BATCH])
        codes = torch.cat([flat(model.encode(part)) for part in parts(reference, BATCH)])
        drawn = codes.mean(0) + codes.std(0) * noise_like(codes.new_empty(count, codes.shape[1]), rng=rng)
        return torch.cat([model.decode(unflatten(part, like)) for part in parts(drawn, BATCH)])
