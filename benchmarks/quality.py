"""Which degradations each measure of image quality detects: real images made worse, and their values.

    python benchmarks/quality.py [RUN DATA] [--size 64] [--epochs 20] [--count 150]

Without RUN the digits, with a convolutional autoencoder and a classifier trained for --epochs, both as extractors;
with RUN photographs DATA of --size, and the encoder of RUN. The images judged are --count real ones that are
neither in the reference nor in the floor: as they are, blurred, with noise, and with modes lost. Modes are the
digits' classes, or ten clusters of the photographs' 8x8 thumbnails. Prints every number (the real one is the mean
of five draws, and beside it how far these are apart), then the strength from which on each measure detects blur,
noise and lost modes: worse than real by more than that spread, for this strength and all above. Worse is a larger
distance, a lower density or coverage, or a sharpness farther from 1.
"""

import argparse
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from sklearn.cluster import KMeans
from torch import Generator, Tensor, nn

import copyfold as cf
from copyfold import runs
from copyfold.models.base import Autoencoder
from copyfold.training.classifying import fit_classifier

Numbers = dict[str, float]
BLURS, NOISES, KEPT = (0.5, 1.0, 2.0), (0.05, 0.1, 0.2), (5, 2, 1)  # mild to strong; modes kept of ten
DRAWS = 5


def degraded(x: Tensor, modes: Tensor, count: int, rng: Generator) -> Iterator[tuple[str, Tensor]]:
    """The images judged by name, drawn from x."""

    def drawn(x: Tensor) -> Tensor:
        return x[torch.randperm(len(x), generator=rng)[:count]]

    for draw in range(DRAWS):
        yield f"real {draw}", drawn(x)
    for std in BLURS:
        yield f"blur {std:g}", cf.Blur(std=std)(drawn(x), rng)
    for std in NOISES:
        yield f"noise {std:g}", cf.Gaussian(std)(drawn(x), rng)
    common = modes.bincount(minlength=10).argsort(descending=True)
    for kept in KEPT:
        few = drawn(x[torch.isin(modes, common[:kept])])
        yield f"{kept} of 10 modes", few


def digits(epochs: int) -> tuple[Tensor, Tensor, Autoencoder, nn.Module | None]:
    """The digits, their classes, and two extractors trained on half of them, which are not measured."""
    photos = cf.Photos(size=16)
    x, y = photos.images(), torch.from_numpy(photos.labels)
    model, classifier = cf.Conv(photos.shape), cf.CNN(photos.shape, 10)
    optimizer = torch.optim.Adam(model.parameters(), 2e-3)
    for step in range(epochs * len(x) // 64):
        chosen = torch.randint(len(x), (64,), generator=Generator().manual_seed(step))
        loss = sum(cf.Classical()(model, x[chosen]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    fit_classifier(classifier, x, y, epochs=epochs)
    return x, y, model.eval(), classifier


def photographs(folder: str, data: str, size: int) -> tuple[Tensor, Tensor, Autoencoder, None]:
    """Photographs, ten clusters of them, and the model of a run."""
    photos = cf.Photos(data, size)
    x = torch.cat((photos.images(), photos.images("held_out")))
    small = F.adaptive_avg_pool2d(x, 8).flatten(1).numpy()
    modes = KMeans(10, n_init=4, random_state=0).fit_predict(small)
    return x, torch.from_numpy(modes).long(), runs.open(folder).model, None


def worse(name: str) -> Callable[[float], float]:
    """The number, transformed so that it grows as images get worse."""
    if name.startswith(("density", "coverage")):
        return lambda value: -value
    if name.startswith("sharpness"):
        return lambda value: abs(value - 1)
    return lambda value: value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", metavar="RUN", nargs="?", help="a run's folder")
    parser.add_argument("data", metavar="DATA", nargs="?", help="what it was trained on")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--count", type=int, default=150)
    options = parser.parse_args()

    torch.manual_seed(0)
    given = options.run is not None
    x, modes, model, classifier = (
        photographs(options.run, options.data, options.size) if given else digits(options.epochs)
    )
    order = torch.randperm(len(x), generator=Generator().manual_seed(0))
    half, rest = order[: len(x) // 2], order[len(x) // 2 :]
    reference, floor, judged = x[half], x[rest[: options.count]], rest[options.count :]
    probes = [cf.Quality(reference, floor)]
    if classifier is not None:
        probes.append(cf.Quality(reference, floor, extractor=classifier, layer="blocks"))

    rows: dict[str, Numbers] = {}
    for name, y in degraded(x[judged], modes[judged], options.count, Generator().manual_seed(1)):
        rows[name] = {}
        for probe in probes:
            found = probe(model, y, Generator().manual_seed(2)).numbers
            rows[name] |= {k: v.item() for k, v in found.items() if not k.endswith(", real")}
    real = [rows.pop(f"real {draw}") for draw in range(DRAWS)]
    rows = {"real": {k: sum(r[k] for r in real) / DRAWS for k in real[0]}} | rows
    spread = {k: max(r[k] for r in real) - min(r[k] for r in real) for k in real[0]}
    print(f"{len(reference)} reference images, {options.count} judged\n")
    print(f"| measure | {' | '.join(rows)} | spread of real | seen from |")
    print(f"|---|{'---:|' * (len(rows) + 1)}---|")
    for measure in rows["real"]:
        cells = [measure, *(f"{row[measure]:.4g}" for row in rows.values()), f"{spread[measure]:.2g}"]
        print(f"| {' | '.join(cells)} | {', '.join(verdicts(rows, measure, spread[measure]))} |", flush=True)


def verdicts(rows: dict[str, Numbers], measure: str, spread: float) -> Iterator[str]:
    """For each kind of degradation, the mildest strength that is detected, with all stronger ones."""
    found = {name: worse(measure)(row[measure]) for name, row in rows.items()}
    names = list(rows)[1:]
    for start in range(0, len(names), 3):
        kind, seen = names[start : start + 3], "blind"
        for name in reversed(kind):
            if found[name] <= found["real"] + spread:
                break
            seen = name
        yield seen


if __name__ == "__main__":
    main()
