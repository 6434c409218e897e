"""A denoising autoencoder and the classical denoisers, on photos that neither has seen.

    python benchmarks/denoiser.py RUN DATA [--size 64] [--count 128] [--std 0.1 0.2 0.4] [--reference 1325]

The first --count held-out images, white Gaussian noise of each --std from a fixed seed. The baselines are fitted
and tuned on the first --reference training images with other noise of that std; the model uses its running
statistics and is not told the std. Prints squared errors per pixel value, means over images; the ratio of the
model's mean to that of the best baseline; and per image the ratio of the model's error to that same baseline's.
"""

import argparse

import torch
from torch import Generator, Tensor

import copyfold as cf
from copyfold import runs
from copyfold.probes.denoising import best_baseline, error_ratios

SPREAD = (0.1, 0.5, 0.9)


def errors(model: cf.Autoencoder, x: Tensor, reference: Tensor, std: float) -> cf.Reading:
    """Squared error per image of the noisy images, the model and every baseline."""
    found = cf.Denoising(cf.Gaussian(std), reference)(model, x, Generator().manual_seed(0)).numbers
    return cf.Reading({name: found[name] for name in found if name != "reconstruction"})


def row(std: float, found: cf.Reading) -> str:
    """One line of the table."""
    means = {name: error.mean().item() for name, error in found.numbers.items()}
    best, ratios = best_baseline(found)[0], error_ratios(found)["best baseline"]
    cells = [f"{std:g}", *(f"{mean:.6f}" for mean in means.values()), best]
    cells.append(f"{means['restored'] / means[best]:.3f}")
    cells.append(", ".join(f"{q:.3f}" for q in ratios.quantile(torch.tensor(SPREAD)).tolist()))
    cells.append(f"{int((ratios < 1).sum())} of {len(ratios)}")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument("data", metavar="DATA", help="what the run was trained on: a folder, array or data set")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=128)
    parser.add_argument("--std", type=float, nargs="+", default=[0.1, 0.2, 0.4])
    parser.add_argument("--reference", type=int, default=1325)
    options = parser.parse_args()

    model, photos = runs.open(options.run).model, cf.Photos(options.data, options.size)
    x, reference = photos.images("held_out", options.count), photos.images("train", options.reference)
    for number, std in enumerate(options.std):
        found = errors(model, x, reference, std)
        if number == 0:
            names = [
                "std",
                *found.numbers,
                "best baseline",
                "restored / best",
                "per image: 10, 50, 90 %",
                "better on",
            ]
            print(f"| {' | '.join(names)} |\n|{'---:|' * len(names)}")
        print(row(std, found), flush=True)


if __name__ == "__main__":
    main()
