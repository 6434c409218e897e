"""What each choice of a plan brings: one U-Net, the same number of images, one choice changed at a time.

    python benchmarks/optimizers.py cifar10/train.parquet cifar10/test.parquet [--steps 1500] [--only NAME ...]

UNet(width=32, skips="none") of depth 2 on images of 32x32. "left" is the squared error of 512 test images over
that of the mean training image, "passed" the share of the energy of added normal noise of std 0.1 that the copy
keeps, both with running averages. The time of a step is a ratio to the first row's, the median of three pairs of
short trainings that alternate, so that other programs on the machine matter little.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from copyfold import Photos, UNet, fit
from copyfold.training.optimizers import Adam, Muon

PACED = 48  # steps of 16 images that a step is timed in

ROWS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Muon 0.02, cosine, batch 16: the default": ({}, {}),
    "linear": ({}, {"schedule": "linear"}),
    "constant": ({}, {"schedule": "constant"}),
    "constant, average 0.999": ({}, {"schedule": "constant", "average": 0.999}),
    "average 0.99": ({}, {"average": 0.99}),
    "Muon 0.01": ({}, {"lr": 0.01}),
    "Muon 0.04": ({}, {"lr": 0.04}),
    "Muon, momentum 0.95": ({}, {"optimizer": Muon(momentum=0.95)}),
    "Muon, Adam's part at 0.05 of its rate": ({}, {"optimizer": Muon(adam=0.05)}),
    "batch 8, twice the steps": ({}, {"batch": 8}),
    "batch 32, half the steps": ({}, {"batch": 32}),
    "Adam 1e-3, cosine": ({}, {"optimizer": Adam()}),
    "Adam 1e-3, constant": ({}, {"optimizer": Adam(), "schedule": "constant"}),
    "Adam 3e-3, cosine": ({}, {"optimizer": Adam(), "lr": 3e-3}),
    "Adam 1e-4, constant: the essay's": ({}, {"optimizer": Adam(), "lr": 1e-4, "schedule": "constant"}),
    "no warm-up": ({}, {"warm_up": 0}),
    "warm-up of 300 steps": ({}, {"warm_up": 300}),
    "orthogonal weights at the start": ({"start": nn.init.orthogonal_}, {}),
    "Kaiming's normal weights at the start": ({"start": nn.init.kaiming_normal_}, {}),
    'skips="self", as in the essay': ({"skips": "self"}, {}),
    'norm="none"': ({"norm": "none"}, {}),
    "width 16": ({"width": 16}, {}),
    "width 48": ({"width": 48}, {}),
}


def trained(photos: Photos, name: str, steps: int) -> tuple[UNet, float]:
    """A model trained by a row, and its median step in seconds."""
    shape, plan = ROWS[name]
    marks: list[float] = []
    torch.manual_seed(0)
    start = shape.get("start")
    model = UNet(photos.shape, **{"width": 32, "depth": 2} | {k: v for k, v in shape.items() if k != "start"})
    if start is not None:
        for weights in model.parameters():
            if weights.dim() > 1:
                start(weights)
    plan = {"batch": 16} | plan
    with tempfile.TemporaryDirectory() as folder:
        fit(
            model, None, photos, f"{folder}/run", steps=steps * 16 // plan["batch"],
            progress=lambda *_: marks.append(time.perf_counter()), **plan,
        )  # fmt: skip
    return model, statistics.median(b - a for a, b in pairwise(marks))


@torch.no_grad()
def look(model: UNet, photos: Photos, test: Photos) -> tuple[float, float]:
    """What is left, and what passes."""
    x = test.sample("train", 512).images
    mean = torch.from_numpy(photos.train.mean(0)).permute(2, 0, 1).float() / 255
    noise = 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    with model.using("running"):
        y, noisy = (torch.cat([model(part) for part in these.split(64)]) for these in (x, x + noise))
    left = (y - x).square().sum() / (x - mean).square().sum()
    return left.item(), ((noisy - y).square().sum() / noise.square().sum()).item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--only", nargs="*", default=list(ROWS))
    options = parser.parse_args()
    photos, test = Photos(options.train, 32), Photos(options.test, 32, whole=True)
    print("choice | left, % | passed, % | time of a step")
    first = next(iter(ROWS))
    for name in options.only:
        model, _ = trained(photos, name, options.steps)
        left, passed = look(model, photos, test)
        pairs = [(trained(photos, name, PACED)[1], trained(photos, first, PACED)[1]) for _ in range(3)]
        ratio = statistics.median(here / there for here, there in pairs)
        print(f"{name} | {100 * left:.2f} | {100 * passed:.1f} | {ratio:.2f}", flush=True)


if __name__ == "__main__":
    main()
