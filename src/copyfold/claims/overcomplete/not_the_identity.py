"""T1: does a network that could represent the identity learn it?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from copyfold import pictures
from copyfold.claims.overcomplete import SECTION
from copyfold.corruptions import Gaussian, Mix
from copyfold.measures import mse
from copyfold.models.base import Autoencoder
from copyfold.probes.base import still
from copyfold.probes.geometry import IdentityGap
from copyfold.studies import statistics
from copyfold.studies.base import PARTLY, Above, Below, Estimate, Finding, Study, Verdict
from copyfold.studies.lab import Lab
from copyfold.studies.toolkit import charts
from copyfold.studies.toolkit.charts import SHOWN
from copyfold.studies.toolkit.denoising import FITTED, copying_error
from copyfold.studies.toolkit.networks import WIDE, overcomplete
from copyfold.types import Images


@dataclass(frozen=True)
class NotTheIdentity(Study):
    """An overcomplete network does not learn the identity function.

    The essay's network, five hidden layers of 1.3 times as many units as the image has numbers, learns to copy
    photographs by its squared error. Held-out images are then mixed half and half with noise N(0.7, 0.2^2), as in
    the essay, or get noise of std 0.1. The gap is the distance from the output to the corrupted input over the
    distance from the clean image to the corrupted input: 0 for the identity. "Passed" is the share of the added
    noise that passes to the output: 1 for the identity, and independent of the network's error on clean images.
    The Jacobian's distance from the identity, ||J - I|| / sqrt(D), is taken at clean images.

    Controls: the same network before training, which does not copy either, so that a large gap alone is no merit;
    training images, on which a network that only memorises would differ; and a fifth and four times the training,
    with the error on clean images over that of the mean training image, since a network that has not learned to
    copy passes no noise either.

    In the first figure, rows from the top: clean, the network's copy, mixed with noise, and its output for the
    mix. The second shows both shares against training: if the line of the noise rose while that of the error fell,
    the network would be approaching the identity.
    """

    claim: ClassVar[str] = "T1"
    place: ClassVar[str] = f"{SECTION}: the text under the figure of the overcomplete autoencoder"
    items: ClassVar[tuple[int, ...]] = (12, 103, 138)
    means: ClassVar[Mapping[str, str]] = {
        Verdict.HOLDS: "A wide network does not become the identity: gradient descent stops well before it.",
        PARTLY: "It copies by one measure and not by another: look at all three.",
        Verdict.DOES_NOT_HOLD: "A wide network copies every input: its output on noise says nothing.",
    }

    gap: Above = Above(0.3)
    passed: Below = Below(0.8)
    jacobian: Above = Above(0.3)

    def measure(self, lab: Lab) -> Finding:
        """Corrupt images, and compare outputs with inputs."""
        photos = lab.photos("landscapes")
        x, seen = lab.images(photos), lab.images(photos, "train")
        make = overcomplete(lab)
        mix, weak = IdentityGap(Mix(), draws=0), IdentityGap(Gaussian(0.1))

        def look(model: Autoencoder, images: Images, seed: int) -> dict[str, Tensor]:
            rng = lab.rng(seed, "noise")
            return weak(model, images, rng).numbers | {"gap": mix(model, images, rng).numbers["gap"]}

        steps = [lab.whole(photos, lab.budget.scaled(n), 64) for n in (500, 2500, 10_000)]
        found = lab.each(lambda seed: (seed, lab.course(make, photos, seed, steps, batch=64, lr=WIDE)))
        models = {seed: course[1] for seed, course in found}
        trained = [look(model, x, seed) for seed, model in models.items()]
        first = [look(lab.untrained(make, photos, seed), x, seed) for seed in models]
        memory = [look(model, seen, seed) for seed, model in models.items()]
        numbers = {name: statistics.mean([f[name] for f in trained]) for name in ("gap", "passed", "jacobian")}
        numbers |= {f"{name}, untrained": statistics.mean([f[name] for f in first]) for name in ("gap", "passed")}
        numbers["passed, training images"] = statistics.mean([f["passed"] for f in memory])
        mean = [mse(lab.images(photos, "train", FITTED).mean(0).expand_as(x), x)] * len(found)
        lines: dict[str, list[Estimate]] = {"noise passed": [], "error over mean image": []}
        for i, count in enumerate(steps):
            passed = statistics.mean([look(course[i], x, seed)["passed"] for seed, course in found])
            error = statistics.ratio([copying_error(course[i], x) for _, course in found], mean)
            for name, number in zip(lines, (passed, error), strict=True):
                numbers[f"{name}, {count} steps"] = number
                lines[name].append(number)
        along = {name: (steps, line) for name, line in lines.items()}
        course = charts.curves(along, "steps of training", "share", logx=True)
        noisy, model = Mix()(x[:SHOWN], lab.rng(0, "figure")), found[0][1][1]
        with still(model), torch.no_grad():
            rows = {
                "clean": x[:SHOWN],
                "copy": model(x[:SHOWN]),
                "mixed with noise": noisy,
                "output": model(noisy),
            }
        return Finding(numbers, {"copies": pictures.comparison(rows), "training": course})
