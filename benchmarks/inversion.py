"""How many evaluations of a model it takes to find an image with the same output as another (inversion).

    python benchmarks/inversion.py RUN DATA [--size 64] [--count 16] [--limit 100]

The first --count held-out images, the whole model's output. Three models: that of RUN with its running statistics;
the same architecture with new weights and the statistics of the batch, as the essay's scripts have it; and with
new weights and group norm, where no image depends on another. (Under running averages the output of a U-Net with
new weights hardly depends on the image at all.) The goal, for each image, is the distance at the output that the
essay's descent (Inversion.unet_representations) has after its 500 evaluations, a pass forward and backward each;
the others count theirs until they first reach this distance, at most --limit, and continue. Evaluations: 10, 50,
90 % of the images, inf where the goal is not reached. Ratio: 500 over that. m_g is the distance at the output
after 25, 50 and --limit evaluations, m_i that of the images at the end, both L2; medians over the images.
"""

import argparse
import math
from dataclasses import replace

import torch
from torch import Generator, Tensor

import copyfold as cf
from copyfold import measures, runs
from copyfold.probes.base import still, tap
from copyfold.types import Statistics

SPREAD = (0.1, 0.5, 0.9)
WAYS = {
    "lbfgs, l2": {},
    "lbfgs, l1": {"distance": "l1"},
    "adam, l2, rate 0.1 to 0.01": {"optimizer": "adam", "rate": (0.1, 0.01)},
    "adam, l2, rate 0.03 to 0.003": {"optimizer": "adam", "rate": (0.03, 0.003)},
    "adam, l1, rate 0.1 to 0.01": {"optimizer": "adam", "rate": (0.1, 0.01), "distance": "l1"},
}


def untrained(model: cf.Autoencoder, **given: str) -> cf.Autoencoder:
    """The same architecture with new weights, and these arguments."""
    torch.manual_seed(0)
    return type(model)(**model.config | given).eval()


@torch.no_grad()
def curves(probe: cf.Inversion, model: cf.Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """m_g after every evaluation, steps x images, and m_i at the end."""
    with still(model, probe.statistics):
        target = tap(model, probe.layer, x)
    found, frame = [], x
    for frame in probe.film(model, x, Generator().manual_seed(0)):
        with still(model, probe.statistics):
            found.append(measures.distance(tap(model, probe.layer, frame), target))
    return torch.stack(found), measures.distance(frame, x)


def row(name: str, found: Tensor, image: Tensor, goal: Tensor, most: int) -> str:
    """One line of the table."""
    reached = found <= goal
    evaluations = torch.where(reached.any(0), reached.float().argmax(0) + 1.0, math.inf)
    quantiles = evaluations.sort().values[[round(q * (len(goal) - 1)) for q in SPREAD]].tolist()
    cells = [name, ", ".join(f"{n:g}" for n in quantiles), ", ".join(f"{most / n:.1f}" for n in quantiles)]
    cells += [f"{found[min(n, len(found)) - 1].median():.4g}" for n in (25, 50, len(found))]
    return f"| {' | '.join([*cells, f'{image.median():.3f}'])} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="a run's folder: of a model without skips")
    parser.add_argument("data", metavar="DATA", help="what the run was trained on: a folder, array or data set")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--limit", type=int, default=100)
    options = parser.parse_args()

    photos = cf.Photos(options.data, options.size)
    x, trained = photos.images("held_out", options.count), runs.open(options.run).model
    models: dict[str, tuple[cf.Autoencoder, Statistics]] = {
        "trained": (trained, "running"),
        "untrained, batch": (untrained(trained), "batch"),
        "untrained, group": (untrained(trained, norm="group"), "running"),
    }
    for title, (model, statistics) in models.items():
        essay = replace(cf.Inversion.unet_representations(), statistics=statistics)
        found, image = curves(essay, model, x)
        goal = found[-1]
        heads = [title, "evaluations", "ratio", "m_g at 25", "at 50", "at the end", "m_i"]
        print(f"\n| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
        print(row("the essay's descent", found, image, goal, essay.steps), flush=True)
        for name, way in WAYS.items():
            found, image = curves(cf.Inversion(steps=options.limit, statistics=statistics, **way), model, x)
            print(row(name, found, image, goal, essay.steps), flush=True)


if __name__ == "__main__":
    main()
