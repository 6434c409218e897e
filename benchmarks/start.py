"""How long it takes to start: `copyfold --help`, a training to its first step, and what each command imports.

    python benchmarks/start.py [DATA] [--rounds 5] [--only help step imports]

help     seconds of `copyfold --help`, and of the help of some commands, beside those of a process that only
         imports torch.
step     DATA is what `copyfold train` takes; by default images made here, 50,000 of 32x32. The seconds of a
         process that only imports torch and lightning, those of one that trains until its first step is done, its
         images decoded before, and the difference. All are medians of several, alternated.
imports  of every command at work on a tiny run: the packages whose modules took longest to import (-X importtime,
         milliseconds of each package's own modules), to be compared with what the command is for.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LEAST = 15.0  # milliseconds from which on a package is listed
IMPORTS = "import os, torch, lightning_fabric; os._exit(0)"  # as STEP ends, for to tidy up takes time too
HELPS = ("--help", "data --help", "sample --help", "train --help")
COMMAND = "import sys; from copyfold.cli import main; sys.exit(main(sys.argv[1:]))"
STEP = """
import os, sys
from contextlib import contextmanager
from copyfold.cli import _memory, main
_memory.import_torch()  # as main does, if it is the first to
from copyfold.cli import _screen

@contextmanager
def first_step():
    def show(what, done, total, numbers):
        if what.startswith("training"):
            os._exit(0)
    yield show

_screen.progress = first_step
sys.exit(main(["train", *sys.argv[1:]]) or 1)
"""


def seconds(code: str, *arguments: str) -> float:
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    return time.perf_counter() - begin


def helped(options: argparse.Namespace) -> None:
    """Print the times and their ratios."""
    rounds = [
        (seconds("import torch"), *(seconds(COMMAND, *words.split()) for words in HELPS))
        for _ in range(options.rounds + 1)
    ][1:]
    bare, *ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"import torch                  {bare:6.2f} s")
    for words, took in zip(HELPS, ours, strict=True):
        print(f"copyfold {words:<21}{took:6.2f} s: {took / bare:.2f} times as long")


def first_step(options: argparse.Namespace, folder: Path) -> None:
    """Print both times and the difference."""
    arguments = (options.data or made(folder, 50_000), "--run", f"{folder}/run", "--overwrite", "--model", "UNet")
    print(f"first start, images decoded   {seconds(STEP, *arguments):6.2f} s")
    rounds = [(seconds(IMPORTS), seconds(STEP, *arguments)) for _ in range(options.rounds)]
    imports, step = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"import torch, lightning_fabric       {imports:6.2f} s")
    print(f"second start, to its 1st step {step:6.2f} s: {step - imports:.2f} s more")


def imported(folder: Path) -> None:
    """Print the packages of every command, those that take longest first."""
    from PIL import Image

    data, run, photo = made(folder, 100), folder / "tiny", folder / "photo.png"
    Image.new("RGB", (32, 32)).save(photo)
    trained = ("train", data, "--run", run, "--overwrite", "--model.width", 4, "--epochs", 1)
    commands = {
        "--help": ("--help",),
        "train --help": ("train", "--help"),
        "models": ("models",),
        "data": ("data", data),
        "train": trained,
        "denoise": ("denoise", run, photo, "--out", folder / "denoised"),
        "embed": ("embed", run, data, "--out", folder / "codes.parquet"),
        "sample": ("sample", run, "--sampler.steps", 2, "--out", folder / "sample.png"),
        "probe": ("probe", run, "--probe", "CodeStatistics"),
        "report": ("report", run),
    }
    print("| command | packages imported, ms |\n|---|---|")
    for name, arguments in commands.items():
        line = [sys.executable, "-X", "importtime", "-m", "copyfold", *map(str, arguments)]
        done = subprocess.run(line, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"copyfold {name} failed: {done.stderr.splitlines()[-1]}")
        own: dict[str, float] = {}
        for micros, module in re.findall(r"^import time: +(\d+) \| +\d+ \| +([\w.]+)$", done.stderr, re.MULTILINE):
            package = module.partition(".")[0]
            if package not in sys.stdlib_module_names:
                own[package] = own.get(package, 0.0) + int(micros) / 1000
        longest = sorted(own, key=own.__getitem__, reverse=True)
        said = ", ".join(f"{package} {own[package]:.0f}" for package in longest if own[package] >= LEAST)
        print(f"| {name} | {said} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="what to train on until the first step")
    parser.add_argument("--rounds", type=int, default=5)
    parts = ("help", "step", "imports")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if "help" in options.only:
            helped(options)
        if "step" in options.only:
            first_step(options, Path(folder))
        if "imports" in options.only:
            imported(Path(folder))


def made(folder: Path, count: int) -> str:
    import numpy as np

    from copyfold.data import scenes

    np.save(folder / "images.npy", scenes(count, 32))
    return str(folder / "images.npy")


if __name__ == "__main__":
    main()
