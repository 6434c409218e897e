"""Images from noise: Ascent with a denoiser, beside Renoising with the same network and with one trained to copy.

    copyfold train DATA --size 32 --config prior --run runs/prior
    copyfold train DATA --size 32 --config unet --run runs/copy
    python benchmarks/ascent.py runs/prior runs/copy [DATA] [--count 256] [--picture FILE.png]
        [--h-max 1] [--to-std .01]

Both runs are of DATA at one size; without DATA, of the digits. Each way draws --count images from noise: Ascent
and Renoising by the network that removes noise, with their defaults, or Ascent with --h-max and --to-std;
Renoising by the network that copies; and one pass of the denoiser over pure noise, which any of them must beat.
All are clipped to [0, 1]. Printed are numbers of `Quality` against --count training images, all in the features of
one PCA of 32 numbers, beside those of as many held-out images: the distance of patches, Frechet distance and
coverage, and sharpness; the share of images that are nearer to a training image than nine held-out images in ten
are (copies); network passes; and seconds an image. --picture draws ten of each, held-out images first.
"""

import argparse
import time
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Generator, Tensor

import copyfold as cf
from copyfold import pictures, runs
from copyfold.errors import Diverged
from copyfold.models.base import Autoencoder
from copyfold.probes.nearest import neighbours

FEATURES, REFERENCE, BATCH, SHOWN = 32, 4096, 64, 10
Noisy: TypeAlias = cf.Ascent | cf.Renoising
COLUMNS = ["", "patches", "Frechet", "coverage", "sharpness", "copies", "passes", "s / image"]


def drawn(sampler: Noisy, model: Autoencoder, count: int) -> tuple[Tensor, float] | None:
    """Images from noise, and the seconds that each took; None where the sampler left the range of images."""
    rng, found, begun = Generator().manual_seed(0), [], time.perf_counter()
    for part in torch.empty(count).split(BATCH):
        x = sampler.noise(len(part), model.shape, rng)
        try:
            for frame in sampler(model, x, rng):
                x = frame
        except Diverged:
            return None
        found.append(x.clamp(0, 1))
    return torch.cat(found), (time.perf_counter() - begun) / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prior", type=Path)
    parser.add_argument("copy", type=Path)
    parser.add_argument("data", metavar="DATA", nargs="?")
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--h-max", type=float, default=cf.Ascent.h_max, help="of Ascent")
    parser.add_argument("--to-std", type=float, default=cf.Ascent.to_std, help="of Ascent")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()

    denoiser, copier = runs.open(options.prior).model, runs.open(options.copy).model
    channels, height, width = denoiser.shape
    photos = cf.Photos(options.data, (height, width), channels=channels, progress=False)
    train = photos.sample("train", REFERENCE).images
    pca = cf.fit(cf.Linear(photos.shape, FEATURES), cf.Classical(), photos, solve=True, progress=False).model
    real = photos.sample("held_out").images
    floor, judged = real[: len(real) // 2], real[len(real) // 2 :]
    near = neighbours(floor, train)[0].quantile(0.1).item()

    ways: dict[str, tuple[Noisy, Autoencoder]] = {
        "Ascent, denoiser": (cf.Ascent(h_max=options.h_max, to_std=options.to_std), denoiser),
        "Renoising, denoiser": (cf.Renoising(), denoiser),
        "Renoising, trained to copy": (cf.Renoising(), copier),
        "one pass, denoiser": (cf.Ascent(steps=1), denoiser),
    }
    made = {"held-out images": (judged[: options.count], 0.0)}
    for name, way in ways.items():
        if (found := drawn(*way, options.count)) is None:
            print(f"{name} diverged")
        else:
            made[name] = found
    passes = {name: str(sampler.length()) for name, (sampler, _) in ways.items()}

    print(f"| {' | '.join(COLUMNS)} |\n|---|{'---:|' * (len(COLUMNS) - 1)}")
    quality = cf.Quality(reference=train[: options.count], floor=floor, extractor=pca)
    for name, (x, seconds) in made.items():
        found = quality(pca, x, Generator().manual_seed(0)).numbers
        cells = [
            f"{found['sliced Wasserstein']:.3f}",
            f"{found['Frechet distance, Linear']:.3f}",
            f"{found['coverage, Linear']:.3f}",
            f"{found['sharpness']:.2f}",
            f"{(neighbours(x, train)[0] < near).float().mean():.2f}",
        ]
        print(f"| {name} | {' | '.join(cells)} | {passes.get(name, '')} | {f'{seconds:.2f}' if seconds else ''} |")
    if options.picture:
        rows = [x[:SHOWN] for x, _ in made.values()]
        pictures.save_picture(pictures.grid(torch.cat(rows), columns=SHOWN), options.picture)


if __name__ == "__main__":
    main()
