"""Denoising learned from noisy images alone, on BSD68 with white Gaussian noise of std 25 of 255.

    python benchmarks/noisy_only.py BSD68 RUN [--minutes 120] [--test] [--ensemble] [--config noisy-only]
        [FLAGS OF TRAIN ...]

BSD68 is a folder of train/ (the 400 images of 180x180) and test/ (the 68), 8-bit grey PNG. Noise is added once to
each training image, as floats that are not clipped. Trained is `copyfold train` with the recipe on 360 of them,
resumed where RUN exists; the 40 that bsd68.py holds out too are held out, and choices are made by their PSNR. No
clean image is trained on. `--test` looks at the 68, once for each setting that is reported. Images, noise and PSNR
are those of bsd68.py, beside doing nothing and what is published. A second row has `copyfold denoise --strength
sure`, for which the noise is estimated from each image; --ensemble adds both of the eight turns and flips.
"""

import argparse
import statistics
import sys
from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from bsd68 import held_out, images, measured, noisy
from torch import Tensor

import copyfold as cf
from copyfold.cli import main as copyfold
from copyfold.restoration import restore

STD = 25
SEED = 1_000  # of the noise on the first training image; the images that are measured have seeds from 0
RANGE = (-0.6, 1.6)  # six standard deviations beyond 0 and 1: nothing is clipped
PUBLISHED = {"BM3D (needs no training)": 28.57, "Noise2Void": 27.71}
"""DnCNN's repository (Zhang et al., 2017); Krull et al., 2019 (arXiv:1811.10980). Both on all 68."""


def data(root: Path, run: Path) -> Path:
    """The file of noisy images to train on, beside the run, with its held-out split."""
    file = run.parent / f"{run.name}-noisy.npz"
    if not file.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        aside = held_out(root)
        learned = [x for x in images(root / "train") if not (aside == x).flatten(1).all(1).any()]
        trained = torch.cat([noisy(x, STD, SEED + i) for i, x in enumerate(learned)])
        tested = torch.cat([noisy(x, STD, i) for i, x in enumerate(aside.split(1))])
        np.savez(file, x_train=trained[:, 0].numpy(), x_test=tested[:, 0].numpy())
    return file


@torch.no_grad()
def denoised(model: cf.Autoencoder, y: Tensor, strength: float | Literal["sure"], ensemble: bool) -> Tensor:
    """The network on noisy images."""
    low, high = RANGE
    return restore(model, (y - low) / (high - low), strength=strength, ensemble=ensemble) * (high - low) + low


def row(name: str, values: list[float]) -> str:
    """A row of the table: mean, standard deviation, smallest and largest PSNR."""
    numbers = (statistics.mean(values), statistics.pstdev(values), min(values), max(values))
    return f"| {name} | {' | '.join(f'{value:.2f}' for value in numbers)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bsd68", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--config", default="noisy-only")
    parser.add_argument("--ensemble", action="store_true", help="also the mean over eight turns and flips")
    parser.add_argument("--test", action="store_true", help="look at the 68 test images, rather than at the 40")
    options, flags = parser.parse_known_args()

    how = ["--bits=16", f"--range=[{RANGE[0]},{RANGE[1]}]", f"--minutes={options.minutes}", "--no-pictures"]
    where = [str(data(options.bsd68, options.run)), "--run", str(options.run)]
    again = ["--resume"] if options.run.exists() else [f"--config={options.config}"]
    if code := copyfold(["train", *where, *again, *how, *flags]):
        sys.exit(code)

    run = cf.runs.open(options.run)
    model, last = run.model.eval(), run.history[-1]
    clean = list(images(options.bsd68 / "test") if options.test else held_out(options.bsd68).split(1))
    set_of = "68 test images" if options.test else f"{len(clean)} images held out"
    print(
        f"\nPSNR in dB, std 25, on the {set_of}; {last['step']:,.0f} steps in {last['seconds'] / 60:.1f} minutes\n"
    )
    print("| | mean | std | lowest | highest |\n|---|---:|---:|---:|---:|")
    print(row("nothing done", measured(lambda y, _: y, clean, STD)["PSNR"]))
    for ensemble, strength in product((False, True) if options.ensemble else (False,), (1.0, "sure")):
        name = f"trained on noisy images alone{', strength sure' * (strength == 'sure')}{', ensemble' * ensemble}"
        found = measured(lambda y, _, how=(strength, ensemble): denoised(model, y, *how), clean, STD)
        print(row(name, found["PSNR"]), flush=True)
    if options.test:
        for name, value in PUBLISHED.items():
            print(f"| {name}, published | {value:.2f} | | | |")


if __name__ == "__main__":
    main()
