"""Restoration with a denoiser as the prior, beside what needs no network, on images set aside.

    python benchmarks/restoration.py RUN DATA [--count 20] [--samples 8] [--pictures FOLDER]

DATA is the folder of images that the run was trained on; of those that it held out --count are used, evenly
spaced, in grey. Each is measured, and restored: without a network by biharmonic inpainting (scikit-image), Lanczos
enlargement (Pillow), or the pseudo-inverse alone for the blur; by `cf.solve`, one sample and the mean of
--samples; by one pass of the same network over the pseudo-inverse, projected; and, where deepinv can be imported,
by its plug-and-play DPIR with the same network. PSNR in dB with peak 1, clipped, mean and standard error over the
images; the seconds of one sample for a megapixel. With --pictures a .png of four images for every problem.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

import copyfold as cf
from copyfold.restoration import applied

START = 0.5  # where nothing is measured, for what needs a start


def holes(height: int, width: int) -> Tensor:
    """A mask of 12 x 12 pixels missing in every 48 x 48, and of a line across, four pixels wide."""
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    square = (rows % 48 >= 18) & (rows % 48 < 30) & (columns % 48 >= 18) & (columns % 48 < 30)
    line = ((rows - columns) % 120 < 4) & (rows >= 0)
    return ~(square | line)


def problems(height: int, width: int) -> dict[str, cf.Problem]:
    """The problems, by what they are called in the table."""
    return {
        "Inpaint, holes and a line": cf.Inpaint(holes(height, width)),
        "Missing, 50 %": cf.Missing(0.5),
        "Missing, 90 %": cf.Missing(0.9),
        "Enlarge, 2": cf.Enlarge(2),
        "Enlarge, 4": cf.Enlarge(4),
        "Deblur, std 2": cf.Deblur(2.0),
    }


# ---------------------------------------------------------------- ways to restore


def biharmonic(problem: cf.Problem, m: Tensor) -> Tensor:
    """Missing pixels from the biharmonic equation."""
    missing = ~problem.known(*m.shape[2:]).numpy()
    return torch.from_numpy(np.stack([inpaint_biharmonic(one, missing) for one in m[:, 0].numpy()]))[
        :, None
    ].float()


def lanczos(problem: cf.Problem, m: Tensor) -> Tensor:
    """Pillow's Lanczos enlargement, in floats."""
    size = (m.shape[3] * problem.factor, m.shape[2] * problem.factor)
    made = [np.asarray(Image.fromarray(one).resize(size, Image.Resampling.LANCZOS)) for one in m[:, 0].numpy()]
    return torch.from_numpy(np.stack(made))[:, None]


def classical(problem: cf.Problem, m: Tensor) -> Tensor:
    """What needs no network."""
    if isinstance(problem, cf.Enlarge):
        return lanczos(problem, m)
    return problem.invert(m) if isinstance(problem, cf.Deblur) else biharmonic(problem, m)


def started(problem: cf.Problem, m: Tensor) -> Tensor:
    """The pseudo-inverse, with grey where nothing is measured."""
    grey = torch.full_like(problem.invert(m), START)
    return grey + problem.project(torch.zeros_like(grey), grey, m)


def once(model: cf.Autoencoder, problem: cf.Problem, m: Tensor) -> Tensor:
    """One pass of the network, projected."""
    y = started(problem, m)
    return y + problem.project(applied(model, y) - y, y, m)


def plug_and_play(model: cf.Autoencoder, problem: cf.Problem, m: Tensor) -> Tensor:
    """deepinv's DPIR with this denoiser, from the same start."""
    import deepinv

    class Denoiser(deepinv.models.Denoiser):
        def forward(self, x: Tensor, sigma: Tensor, **_: object) -> Tensor:
            return applied(model, x)

    y = started(problem, m)
    physics = deepinv.physics.LinearPhysics(
        A=lambda x, **_: problem.measure(x),
        A_adjoint=deepinv.physics.adjoint_function(problem.measure, tuple(y.shape)),
    )
    return deepinv.optim.DPIR(sigma=0.01, denoiser=Denoiser())(m, physics, init=y)


def ways(options: argparse.Namespace, model: cf.Autoencoder) -> dict[str, Callable[[cf.Problem, Tensor], Tensor]]:
    """How measurements are restored, by the name of the column; the sampler has two and is not among them."""
    found: dict[str, Callable[[cf.Problem, Tensor], Tensor]] = {
        "measured": started,
        "classical": classical,
        "one pass": lambda problem, m: once(model, problem, m),
    }
    try:
        import deepinv  # noqa: F401
    except ImportError:
        print("deepinv cannot be imported: its column is left out")
    else:
        found["deepinv DPIR"] = lambda problem, m: plug_and_play(model, problem, m)
    return found


# ---------------------------------------------------------------- the table


def psnr(found: Tensor, x: Tensor) -> Tensor:
    """Of each image, in dB."""
    return -10 * torch.log10((found.clamp(0, 1) - x).square().mean((1, 2, 3)))


def cell(values: Tensor) -> str:
    """Mean and standard error."""
    return (
        f"{values.mean():.2f} ± {values.std() / len(values) ** 0.5:.2f}"
        if len(values) > 1
        else f"{values.item():.2f}"
    )


def loaded(folder: Path, count: int) -> Tensor:
    """`count` of the images that a training on the folder, of images of one size, holds out."""
    names = cf.Photos(folder, 16, channels=1, progress=False).held_out_names
    chosen = [folder / names[i * len(names) // count] for i in range(count)]
    images = [torch.from_numpy(np.array(Image.open(file).convert("L"))) for file in chosen]
    height, width = (min(image.shape[axis] for image in images) // 4 * 4 for axis in (0, 1))
    return torch.stack([image[:height, :width] for image in images])[:, None] / 255


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", help="a run's folder")
    parser.add_argument("data", metavar="DATA", type=Path, help="a folder of images")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--beta", type=float, default=0.05)
    parser.add_argument("--h0", type=float, default=0.01)
    parser.add_argument("--from-std", type=float, default=1.0)
    parser.add_argument("--only", default="", help="problems whose name has this word")
    parser.add_argument("--pictures", type=Path)
    options = parser.parse_args()

    model, x = cf.load(options.run), loaded(options.data, options.count)
    ascent = cf.Ascent(beta=options.beta, h0=options.h0, from_std=options.from_std)
    others = ways(options, model)
    columns = ["problem", *others, "one sample", f"mean of {options.samples}", "seconds for a megapixel"]
    print(f"| {' | '.join(columns)} |\n|---|{'---:|' * (len(columns) - 1)}")
    for name, problem in problems(*x.shape[2:]).items():
        if options.only not in name:
            continue
        m = problem.measure(x)
        found = {way: restore(problem, m) for way, restore in others.items()}
        began = time.monotonic()
        samples = cf.solve(model, problem, m, options.samples, ascent=ascent, progress=False)
        seconds = (time.monotonic() - began) / (options.samples * x.numel() / 1e6)
        found |= {"one sample": samples[0], "mean": samples.mean(0)}
        print(
            f"| {name} | {' | '.join(cell(psnr(image, x)) for image in found.values())} | {seconds:.0f} |",
            flush=True,
        )
        if options.pictures is not None:
            figure = cf.comparison({"image": x[:4]} | {way: image[:4].clamp(0, 1) for way, image in found.items()})
            cf.save_picture(
                figure,
                options.pictures / f"{name.lower().replace(', ', '-').replace(' %', '').replace(' ', '-')}.png",
            )


if __name__ == "__main__":
    main()
