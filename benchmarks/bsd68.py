"""Denoisers on BSD68: PSNR and SSIM at noise of std 15, 25 and 50 of 255, beside the published ones.

    copyfold train ROOT/train --config denoiser --minutes 60 --run runs/denoiser
    python benchmarks/bsd68.py [RUN ...] --data ROOT [--held-out] [--ensemble] [--baselines]
        [--quick] [--out results/bsd68]

ROOT has the folders train (400 images of 180x180) and test (68 images). `copyfold train` learns from 360 of the
400 and holds 40 out, on which choices are made (--held-out); the 68 are looked at once for each setting that is
reported. Without a RUN, and without --baselines, it is the network of the package copyfold-weights. --ensemble:
the mean over the eight turns and flips of an image, as by `copyfold denoise --ensemble`. --quick: the first ten
images.

Noise is added to the 8-bit image as float and not clipped, that of image i by NumPy's generator of seed i; the
result is clipped to 0..255 and not rounded. PSNR has the peak 255, SSIM Wang's window of 11 pixels; both are means
over images, with the standard deviation over images behind them. Every network is blind: it is not told the level.
Seconds a megapixel are medians over images, on as many threads as torch takes. --baselines adds the classical
denoisers that copyfold has, which are told the level and tuned on 64 of the 360 training images.
"""

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from copyfold import Photos, pretrained, runs
from copyfold.measures import psnr, ssim
from copyfold.probes.baselines import Baseline, tuned
from copyfold.restoration import restore

STDS = (15, 25, 50)
QUICK, REFERENCE = 10, 64
SEED = 1_000  # of the noise on the first reference image
COLUMNS = ["", *(f"{name} {std}" for std in STDS for name in ("PSNR", "SSIM")), "s / megapixel"]
PUBLISHED = {  # Zhang et al., "Beyond a Gaussian denoiser", 2017 (arXiv:1608.03981), tables II and III
    "BM3D (published)": (31.07, 28.57, 25.62),
    "WNNM (published)": (31.37, 28.83, 25.87),
    "DnCNN-S, one network a level (published)": (31.73, 29.23, 26.23),
    "DnCNN-B, blind (published)": (31.61, 29.16, 26.23),
}

Restore: TypeAlias = Callable[[Tensor, float], Tensor]


def images(folder: Path) -> Iterator[Tensor]:
    """The images of a folder in the order of their names, 1 x 1 x h x w in [0, 1]."""
    for path in sorted(folder.glob("*.png")):
        yield torch.from_numpy(np.array(Image.open(path).convert("L"))).div(255)[None, None]


def noisy(x: Tensor, std: float, seed: int) -> Tensor:
    """The image with white noise of its own generator."""
    eta = np.random.default_rng(seed).standard_normal(x.shape, dtype=np.float32)
    return x + std / 255 * torch.from_numpy(eta)


def measured(restore: Restore, clean: list[Tensor], std: float) -> dict[str, list[float]]:
    """PSNR, SSIM and seconds a megapixel of every image."""
    found: dict[str, list[float]] = {"PSNR": [], "SSIM": [], "seconds": []}
    for seed, x in enumerate(clean):
        y = noisy(x, std, seed)
        begun = time.perf_counter()
        restored = restore(y, std / 255).clamp(0, 1)
        found["seconds"].append((time.perf_counter() - begun) / x.numel() * 1e6)
        found["PSNR"].append(psnr(restored, x).item())
        found["SSIM"].append(ssim(restored, x).item())
    return found


def row(name: str, restore: Restore, clean: list[Tensor]) -> list[str]:
    """One line of the table."""
    found = {std: measured(restore, clean, std) for std in STDS}
    cells = [
        f"{statistics.mean(found[std][what]):.{digits}f} ± {statistics.pstdev(found[std][what]):.{digits}f}"
        for std in STDS
        for what, digits in (("PSNR", 2), ("SSIM", 3))
    ]
    seconds = statistics.median(second for std in STDS for second in found[std]["seconds"])
    return [name, *cells, f"{seconds:.2f}"]


def held_out(root: Path) -> Tensor:
    """The 40 images that `copyfold train ROOT/train` does not learn from, 40 x 1 x 180 x 180."""
    return Photos(root / "train", 180, channels=1, progress=False).images("held_out")


def network(folder: Path | None, ensemble: bool = False) -> tuple[str, Restore]:
    """A model, as `copyfold denoise` applies it; the name of a run's says how long it was trained."""
    if folder is None:
        name, model = "copyfold-weights", pretrained()
    else:
        run = runs.open(folder)
        name, model = f"{folder.name}: {run.history['seconds'][-1] / 60:.0f} minutes", run.model
    return f"{name}{', ensemble' * ensemble}", lambda x, _: restore(model, x, ensemble=ensemble)


def baselines(clean: Tensor, std: float) -> dict[str, Baseline]:
    """The classical denoisers, tuned on training images with noise of this std."""
    y = torch.cat([noisy(x[None], std, SEED + k) for k, x in enumerate(clean)])
    return tuned(y, clean, std / 255)


def published() -> list[list[str]]:
    return [
        [name, *(cell for value in values for cell in (f"{value:.2f}", "")), ""]
        for name, values in PUBLISHED.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/bsd68"))
    parser.add_argument("--held-out", action="store_true", help="the 40 images for choices, not the 68")
    parser.add_argument("--ensemble", action="store_true", help="the mean over eight turns and flips")
    parser.add_argument("--baselines", action="store_true")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, help="a folder for bsd68.csv")
    options = parser.parse_args()

    found = held_out(options.data).split(1) if options.held_out else images(options.data / "test")
    clean = list(islice(found, QUICK if options.quick else None))
    if not clean:
        parser.error(f"{options.data / 'test'} has no PNG images: give --data ROOT, a folder with train and test")
    networks = [network(run, options.ensemble) for run in options.runs or [None] * (not options.baselines)]
    table = [] if options.held_out or options.quick else published()
    table.append(row("nothing", lambda x, _: x, clean))
    if options.baselines:
        photos = Photos(options.data / "train", 180, channels=1, progress=False)
        fitted = {std: baselines(photos.sample("train", REFERENCE).images, std) for std in STDS}
        for name in fitted[STDS[0]]:
            table.append(row(name, lambda x, std, name=name: fitted[round(255 * std)][name](x, std), clean))
    table += [row(*named, clean) for named in networks]

    print(f"{len(clean)} images {'held out of the training images' if options.held_out else 'of BSD68'}\n")
    print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    for line in table:
        print(f"| {' | '.join(line)} |")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        with open(options.out / "bsd68.csv", "w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *table])


if __name__ == "__main__":
    main()
