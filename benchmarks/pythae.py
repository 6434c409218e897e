"""Images per second of `fit` beside pythae's own trainer and plain loops, on one network, alternated in one run.

    python benchmarks/pythae.py FASHION_MNIST --pythae ENV/bin/python [--rounds 3] [--epochs 6] [--fit-epochs N]

The network is the perceptron 784-512-30-512-784 (ReLU), Adam, batches of 128, the same images of 28x28 for all.
pythae needs an environment of its own, since it brings a `dataclasses` that hides Python's:

    python -m venv ENV && ENV/bin/pip install torch==2.13 pythae==0.1.2

Every training is a process of its own, and they take turns. "steady" is images per second from the end of an
epoch's first step to the end of its last, the median of all epochs but each training's first: for fit it
contains the rows of its log, for pythae its progress bar and its DataLoader (no workers, its default), for none
a checkpoint at an epoch's end. "start" is from the call to the end of the first step reported, compilation with
it, "imports" what comes before the call. "whole" is from the call until it returns: for fit with its checkpoints
and the held-out error of every epoch, for pythae with the copies that it keeps of the best model. The error is
per pixel, of all held-out images, in float32, when all is done.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TypeAlias

Found: TypeAlias = dict[str, Any]

SIDE = 28
LOOPS = {
    "plain loop, float32": (False, False),
    "float32, fused Adam": (False, True),
    "bf16, fused Adam": (True, True),
}
"""bf16?, fused?"""
KINDS = ("fit", "pythae", *LOOPS)


def fitted(options: argparse.Namespace) -> Found:
    """One training by `fit`, in this process."""
    import torch

    import copyfold as cf

    photos = cf.Photos(options.data, size=SIDE, limit=options.limit)
    torch.manual_seed(0)
    model, marks = perceptron(), []
    steps = len(photos) // options.batch
    with tempfile.TemporaryDirectory() as folder:
        called = time.time()
        cf.fit(
            model,
            cf.Classical(),
            photos,
            Path(folder) / "run",
            epochs=options.fit_epochs or options.epochs,
            batch=options.batch,
            lr=options.lr,
            precision=options.precision,
            progress=lambda what, done, total, numbers: marks.append((time.time(), done * options.batch)),
        )
        returned = time.time()
    return {
        "called": called,
        "returned": returned,
        "marks": marks,
        "epoch": steps * options.batch,
        "error": error(model, photos),
    }


def looped(options: argparse.Namespace, fast: bool, fused: bool) -> Found:
    """A plain loop over images in memory; `fast`: in bf16."""
    import torch
    import torch.nn.functional as F

    import copyfold as cf

    photos = cf.Photos(options.data, size=SIDE, limit=options.limit)
    torch.manual_seed(0)
    model, marks = perceptron(), []
    called = time.time()
    images = torch.from_numpy(photos.train).permute(0, 3, 1, 2).contiguous()
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr, fused=fused)
    for _ in range(options.epochs):
        for rows in torch.randperm(len(images)).split(options.batch)[: len(images) // options.batch]:
            x = images[rows].float() / 255
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                y = model(x)
            # The sum over pixels, as pythae and fit have it, so that Adam sees the same loss.
            loss = F.mse_loss(y.float(), x, reduction="sum") / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            marks.append((time.time(), (len(marks) + 1) * options.batch))
    epoch = len(images) // options.batch * options.batch
    found = {"called": called, "returned": time.time(), "marks": marks, "epoch": epoch}
    return found | {"error": error(model, photos)}


def perceptron() -> Any:
    import copyfold as cf

    return cf.MLP((1, SIDE, SIDE), hidden=[512], latent_dim=30, activation="relu")


def error(model: Any, photos: Any) -> float:
    """The squared error per pixel on all held-out images."""
    import torch

    x = photos.images("held_out")
    with torch.no_grad():
        return (model.eval()(x) - x).square().mean().item()


def apart(kind: str, options: argparse.Namespace, files: tuple[Path, Path], images: int) -> dict[str, float]:
    """Train in a new process; seconds, images per second, error."""
    if kind == "pythae":
        worker = Path(__file__).with_name("pythae_worker.py")
        rest = [*files, options.epochs, options.batch, options.lr]
        line = [options.pythae, "-I", worker, *rest]
    else:
        line = [sys.executable, __file__, *sys.argv[1:], "--worker", kind]
    environment = dict(os.environ)
    if options.threads:
        environment["OMP_NUM_THREADS"] = str(options.threads)
    begin = time.time()
    done = subprocess.run([str(part) for part in line], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{kind} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        "imports": found["called"] - begin,
        "start": found["marks"][0][0] - found["called"],
        "steady": steady(found["marks"], found.get("epoch", images)),
        "whole": found["returned"] - found["called"],
        "error": found["error"],
    }


def steady(marks: list[tuple[float, int]], epoch: int) -> float:
    """Images per second within epochs, the median over all but the first; `epoch` in images."""
    rates = []
    for number in range(1 if marks[-1][1] > epoch else 0, -(-marks[-1][1] // epoch)):
        inside = [mark for mark in marks if number * epoch < mark[1] <= (number + 1) * epoch]
        (begin, first), (end, last) = inside[0], inside[-1]
        rates.append((last - first) / (end - begin))
    return statistics.median(rates)


def main() -> None:
    options = parse()
    if options.worker:
        found = fitted(options) if options.worker == "fit" else looped(options, *LOOPS[options.worker])
        print(json.dumps(found))
        return
    import numpy as np

    import copyfold as cf

    photos = cf.Photos(options.data, size=SIDE, limit=options.limit)
    if photos.shape != (1, SIDE, SIDE):
        sys.exit(f"{options.data} is read as {photos.shape}: this network is for grey images")
    kinds = [kind for kind in KINDS if kind in options.only and (kind != "pythae" or options.pythae)]
    rounds: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "train.npy", Path(folder) / "held_out.npy"
        for file, pixels in zip(files, (photos.train, photos.held_out), strict=True):
            np.save(file, pixels)
        for turn in range(options.rounds):
            for kind in kinds if turn % 2 == 0 else kinds[::-1]:
                rounds[kind].append(apart(kind, options, files, len(photos)))
                print(kind, {name: round(value, 5) for name, value in rounds[kind][-1].items()}, file=sys.stderr)
    table({kind: medians(found) for kind, found in rounds.items()})


def medians(found: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


def table(found: dict[str, dict[str, float]]) -> None:
    """Print the results, and their ratios to pythae's rate."""
    base = found.get("pythae")
    print("| | images/s, steady | times pythae | imports, s | start, s | whole, s | times pythae | error |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind, row in found.items():
        rate, time_ = (row["steady"] / base["steady"], base["whole"] / row["whole"]) if base else (0.0, 0.0)
        print(
            f"| {kind} | {row['steady']:,.0f} | {rate:.2f} | {row['imports']:.1f} | {row['start']:.2f} "
            f"| {row['whole']:.1f} | {time_:.2f} | {row['error']:.5f} |"
        )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="what copyfold reads as grey images: fashion_mnist as parquet, for one")
    parser.add_argument("--pythae", help="a python that has pythae 0.1.2; without it, the others alone are run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--fit-epochs", type=int, help="of fit, to ask in what time it reaches pythae's error")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--limit", type=int, help="images to train on, for a trial")
    parser.add_argument("--precision", default="auto", help="of fit")
    parser.add_argument("--threads", type=int, help="of every training; all of the machine's by default")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--worker", choices=KINDS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
