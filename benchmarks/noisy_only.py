"""Denoising learned from noisy images alone, on BSD68 with white Gaussian noise of std 25 of 255.

    python benchmarks/noisy_only.py BSD68 RUN [--minutes 120] [--test] [--config noisy-only] [FLAGS OF TRAIN ...]

BSD68 is a folder of train/ (the 400 images of 180x180) and test/ (the 68), 8-bit grey PNG. Noise is added once, to
image i of each folder by name from generator seed i, as floats that are not clipped. Trained is `copyfold train`
with the recipe on the first 360 noisy images, resumed where RUN exists; the last 40 are held out, and choices are
made by their PSNR. No clean image is trained on. `--test` looks at the 68, once for each setting that is reported.
Prints PSNR with peak 255, its mean over images and its spread, beside doing nothing and what is published.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

import copyfold as cf
from copyfold.cli import main as copyfold
from copyfold.restoration import restore

STD, HELD_OUT = 25 / 255, 40
RANGE = (-0.6, 1.6)  # six standard deviations beyond 0 and 1: nothing is clipped
PUBLISHED = {"BM3D (needs no training)": 28.57, "Noise2Void": 27.71}
"""DnCNN's repository (Zhang et al., 2017); Krull et al., 2019 (arXiv:1811.10980). Both on all 68."""


def clean(folder: Path) -> list[Tensor]:
    """The images of a folder in the order of their names, 1 x h x w, in [0, 1]."""
    files = sorted(folder.glob("*.png"))
    return [torch.from_numpy(np.array(Image.open(file).convert("L")))[None] / 255 for file in files]


def noisy(images: list[Tensor]) -> list[Tensor]:
    """The images with noise, that of image i from generator seed i."""
    return [x + STD * torch.randn(x.shape, generator=Generator().manual_seed(i)) for i, x in enumerate(images)]


def data(bsd68: Path, run: Path) -> Path:
    """The file of noisy images to train on, beside the run; the last 40 are its held-out split."""
    file = run.parent / f"{run.name}-noisy.npz"
    if not file.exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        x = torch.cat(noisy(clean(bsd68 / "train"))).numpy()
        np.savez(file, x_train=x[:-HELD_OUT], x_test=x[-HELD_OUT:])
    return file


@torch.no_grad()
def denoised(model: cf.Autoencoder, x: Tensor) -> Tensor:
    """The network on one noisy image, clipped to the values that images have."""
    low, high = RANGE
    return (restore(model, (x[None] - low) / (high - low))[0] * (high - low) + low).clamp(0, 1)


def row(name: str, images: list[Tensor], restored: list[Tensor]) -> str:
    """A row of the table: mean, standard deviation, smallest and largest PSNR."""
    found = torch.stack([-10 * (a - b).square().mean().log10() for a, b in zip(images, restored, strict=True)])
    numbers = (found.mean(), found.std(), found.min(), found.max())
    return f"| {name} | {' | '.join(f'{value:.2f}' for value in numbers)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bsd68", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--config", default="noisy-only")
    parser.add_argument("--test", action="store_true", help="look at the 68 test images, rather than at the 40")
    options, flags = parser.parse_known_args()

    how = ["--bits=16", f"--range=[{RANGE[0]},{RANGE[1]}]", f"--minutes={options.minutes}", "--no-pictures"]
    where = [str(data(options.bsd68, options.run)), "--run", str(options.run)]
    again = ["--resume"] if options.run.exists() else [f"--config={options.config}"]
    if code := copyfold(["train", *where, *again, *how, *flags]):
        sys.exit(code)

    run = cf.runs.open(options.run)
    images, set_of = clean(options.bsd68 / ("test" if options.test else "train")), "the 68 test images"
    mixed = noisy(images)
    if not options.test:
        images, mixed, set_of = images[-HELD_OUT:], mixed[-HELD_OUT:], f"the {HELD_OUT} images set aside"
    last = run.history[-1]
    print(f"\nPSNR in dB, std 25, on {set_of}; {last['step']:,.0f} steps in {last['seconds'] / 60:.1f} minutes\n")
    print("| | mean | std | lowest | highest |\n|---|---:|---:|---:|---:|")
    print(row("nothing done", images, mixed))
    print(row("trained on noisy images alone", images, [denoised(run.model.eval(), x) for x in mixed]))
    if options.test:
        for name, value in PUBLISHED.items():
            print(f"| {name}, published | {value:.2f} | | | |")


if __name__ == "__main__":
    main()
