"""How long a training takes to its first step when its images were decoded before.

    python benchmarks/start.py [DATA]

DATA is what `copyfold train` takes; by default images made here, 50,000 of 32x32. Prints the seconds of a process
that only imports torch and lightning, those of one that trains until its first step is done, and the difference:
medians of several, alternated.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMPORTS = "import torch, lightning"
STEP = """
import os, sys
from copyfold.cli import _screen, main
from contextlib import contextmanager

@contextmanager
def first_step():
    def show(what, done, total):
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = sys.argv[1] if len(sys.argv) > 1 else made(Path(folder))
        arguments = (data, "--run", f"{folder}/run", "--overwrite", "--model", "UNet")
        print(f"first start, images decoded   {seconds(STEP, *arguments):6.2f} s")
        rounds = [(seconds(IMPORTS), seconds(STEP, *arguments)) for _ in range(5)]
    imports, step = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"import torch, lightning       {imports:6.2f} s")
    print(f"second start, to its 1st step {step:6.2f} s: {step - imports:.2f} s more")


def made(folder: Path) -> str:
    import numpy as np

    from copyfold.data import scenes

    np.save(folder / "images.npy", scenes(50_000, 32))
    return str(folder / "images.npy")


if __name__ == "__main__":
    main()
