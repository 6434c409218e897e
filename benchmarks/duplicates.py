"""How well copies of images are found, beside imagehash; and how well neighbours by code have one label.

    python benchmarks/duplicates.py ROOT --imagehash ENV/bin/python [--run RUN ...] [--out results/duplicates]
    python benchmarks/duplicates.py ROOT --quick             few images of each set, in a minute
    python benchmarks/duplicates.py --pace                   seconds for 60,000 images whose codes are known

ROOT holds the parquet folders cifar10 and landscapes. imagehash needs no environment of its own, but is no
dependency of copyfold: python -m venv ENV && ENV/bin/pip install imagehash.

copies       of every tenth image of a set four copies are made: encoded again as JPEG (quality 30 to 80), resized
             (to 40 to 80 % of the side), cropped (2 to 10 % of both sides), brightened (by 1.1 to 1.4). A pair is
             right where both are of one image. Precision, recall and F1 over all pairs of what is called near, at
             the default and at other distances; of imagehash's hashes at every number of bits. Equal files in the
             sets themselves count as right. With --run the neighbours of the run's codes are looked at too.
neighbours   with --run, of a run trained on a set: the share of the 5 nearest images that have the label of an
             image, by its code averaged to grids of several sizes, and by principal components of the pixels.

Rows are files of JSON, which are not measured again; the table is duplicates.csv.
"""

import argparse
import csv
import io
import json
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

import copyfold as cf
from copyfold import runs
from copyfold.detection.codes import Vectors
from copyfold.detection.copies import NEAR
from copyfold.probes.nearest import neighbours

SETS = {"landscapes": 1325, "cifar10": 10_000}
EVERY = 10
HASHES = ("phash", "dhash", "average_hash", "whash")
BITS = range(0, 21, 2)
DISTANCES = (0.2, 0.25, NEAR, 0.35, 0.4)
WORKER = """
import json, sys
from pathlib import Path
import imagehash, numpy as np
from PIL import Image
names, kinds = json.loads(sys.stdin.read())
found = {kind: [] for kind in kinds}
for name in names:
    with Image.open(name) as image:
        for kind in kinds:
            found[kind].append("".join(map(str, getattr(imagehash, kind)(image).hash.astype(int).flatten())))
print(json.dumps(found))
"""


def images(root: Path, name: str, count: int) -> list[Image.Image]:
    """The first images of a set."""
    table = pq.read_table(next((root / name).glob("train*.parquet")))
    column = next(known for known in table.column_names if known in ("img", "image"))
    return [Image.open(io.BytesIO(image["bytes"])) for image in table[column][:count].to_pylist()]


def with_copies(found: Sequence[Image.Image], folder: Path) -> list[tuple[str, int]]:
    """Write images and the copies of some of them: the names, each with the number of its image."""
    rng, written = np.random.default_rng(0), []

    def write(image: Image.Image, number: int, kind: str, suffix: str = ".png", **options: Any) -> None:
        name = f"{number:05d}-{kind}{suffix}"
        image.save(folder / name, **options)
        written.append((name, number))

    for number, image in enumerate(found):
        write(image, number, "image")
        if number % EVERY:
            continue
        width, height = image.size
        share, cut = rng.uniform(0.4, 0.8), rng.uniform(0.02, 0.1)
        left, top = rng.uniform(0, cut, 2) * image.size
        brighter = float(rng.uniform(1.1, 1.4))
        write(image, number, "encoded", ".jpg", quality=int(rng.integers(30, 80)))
        write(image.resize((max(8, round(share * width)), max(8, round(share * height)))), number, "resized")
        corners = (round(left), round(top), round(left + (1 - cut) * width), round(top + (1 - cut) * height))
        write(image.crop(corners), number, "cropped")
        write(image.point(lambda value, b=brighter: min(255, int(b * value))), number, "brightened")
    return written


def compared(pairs: Iterable[tuple[str, str]], truth: dict[str, int], right: int) -> dict[str, float]:
    """Precision, recall and F1 of pairs of names."""
    found = {tuple(sorted(pair)) for pair in pairs}
    hits = sum(truth[a] == truth[b] for a, b in found)
    precision, recall = hits / max(1, len(found)), hits / right
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * hits / max(1, len(found) + right),
        "pairs": len(found),
    }


def same_files(folder: Path, written: list[tuple[str, int]]) -> dict[str, int]:
    """The image of every name, where images whose pixels are equal are one."""
    first: dict[bytes, int] = {}
    one: dict[int, int] = {}
    for name, number in written:
        if "-image" in name:
            with Image.open(folder / name) as image:
                one[number] = first.setdefault(bytes(str(image.size), "ascii") + image.tobytes(), number)
    return {name: one[number] for name, number in written}


def copies(root: Path, name: str, count: int, python: str | None, chosen: list[str]) -> list[dict[str, Any]]:
    """Our duplicates beside imagehash's, on one set."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        truth = same_files(folder, with_copies(images(root, name, count), folder))
        groups: dict[int, list[str]] = {}
        for file, number in truth.items():
            groups.setdefault(number, []).append(file)
        right = sum(len(group) * (len(group) - 1) // 2 for group in groups.values())

        def add(method: str, limit: float, pairs: Iterable[tuple[str, str]], seconds: float) -> None:
            found = compared(pairs, truth, right)
            rows.append({"set": name, "method": method, "limit": limit, **found, "seconds": seconds})

        for run in (None, *chosen):
            model = None if run is None else runs.open(run).model
            for near in DISTANCES:
                started = time.monotonic()
                found = cf.duplicates(folder, model, near=near, similar=0, progress=False)
                whole = [*found.exact, *_with_equals(found)]
                pairs = [(found.names[a], found.names[b]) for group in whole for a, b in combinations(group, 2)]
                method = "copyfold" if run is None else f"copyfold, {Path(run).name}"
                add(method, near, pairs, time.monotonic() - started)
        if python:
            started = time.monotonic()
            names = sorted(truth)
            given = json.dumps([[str(folder / file) for file in names], HASHES])
            said = subprocess.run(
                [python, "-I", "-c", WORKER], input=given, text=True, capture_output=True, check=True
            )
            seconds = time.monotonic() - started
            for kind, hashes in json.loads(said.stdout).items():
                bits = np.array([[int(bit) for bit in one] for one in hashes], np.float32)
                first, second = np.triu_indices(len(bits), 1) if len(bits) <= 3000 else _close(bits)
                apart = np.abs(bits[first] - bits[second]).sum(1)
                for limit in BITS:
                    near = np.flatnonzero(apart <= limit)
                    pairs = [(names[first[k]], names[second[k]]) for k in near]
                    add(f"imagehash.{kind}", limit, pairs, seconds / len(HASHES))
    return rows


def _with_equals(found: Any) -> list[list[int]]:
    """Groups of near images, with those that equal one of them."""
    equal = {group[0]: group for group in found.exact}
    return [[one for row in group for one in equal.get(row, [row])] for group in found.near]


def _close(bits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of hashes that differ in at most the largest number of bits, a part of the rows at a time."""
    signs, pairs = 2 * bits - 1, []
    for start in range(0, len(bits), 1000):
        apart = (bits.shape[1] - signs[start : start + 1000] @ signs.T) / 2
        rows, columns = np.nonzero(apart <= max(BITS))
        later = rows + start < columns
        pairs.append(np.stack([rows[later] + start, columns[later]]))
    first, second = np.concatenate(pairs, axis=1)
    return first, second


def labels(run: str, limit: int | None) -> list[dict[str, Any]]:
    """The share of neighbours that have the same label, by every code."""
    opened = runs.open(run)
    channels, height, width = opened.model.shape
    photos = cf.Photos(
        opened.recipe["data"], (height, width), channels=channels, whole=True, limit=limit or 6000, progress=False
    )
    assert photos.labels is not None
    known = torch.from_numpy(photos.labels)
    rows = []

    def add(method: str, near: np.ndarray) -> None:
        share = (known[torch.from_numpy(near)] == known[:, None]).double().mean().item()
        rows.append({"set": Path(run).name, "method": method, "limit": 5, "precision": share})

    for grid in (1, 2, 4, 8):
        numbers = Vectors(grid=grid)(opened.model, photos.images(count=1)).shape[1]
        found = cf.similar(opened.model, photos, count=5, grid=grid, progress=False)
        add(f"neighbours by code, grid {grid}: {numbers} numbers", found.rows)
    x = photos.images().flatten(1)
    _, _, axes = torch.linalg.svd(x[:2000] - x.mean(0), full_matrices=False)
    add(
        "neighbours by 128 principal components",
        neighbours(x @ axes[:128].T, x @ axes[:128].T, 5, True)[1].numpy(),
    )
    return rows


def pace(count: int = 60_000, numbers: int = 128) -> None:
    """Print the seconds that the nearest neighbours of all take, of random codes."""
    places = torch.nn.functional.normalize(torch.randn(count, numbers, generator=torch.Generator().manual_seed(0)))
    started = time.monotonic()
    for start in range(0, count, 1024):
        neighbours(places[start : start + 1024], places, 9)
    seconds, threads = time.monotonic() - started, torch.get_num_threads()
    print(f"{count:,} images of {numbers} numbers: {seconds:.0f} s on {threads} threads")


def tell(out: Path) -> None:
    """Write and print the table of all that is measured; of every method the limit of its highest F1."""
    found = [row for path in sorted(out.glob("*.json")) for row in json.loads(path.read_text())]
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for row in found:
        key = row["set"], row["method"]
        if key not in best or row.get("f1", 0) > best[key].get("f1", 0):
            best[key] = row
    names = ("set", "method", "limit", "precision", "recall", "f1", "pairs", "seconds")
    with (out / "duplicates.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows({k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()} for row in found)
    for row in best.values():
        numbers = (f"{name} {row[name]:.3g}" for name in names[2:] if name in row)
        print("  ".join([row["set"], row["method"], *numbers]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, nargs="?")
    parser.add_argument("--imagehash", help="The python of an environment with imagehash.")
    parser.add_argument("--run", nargs="*", default=[], help="Runs trained on a set with labels.")
    parser.add_argument("--quick", action="store_true", help="Few images.")
    parser.add_argument("--pace", action="store_true", help="Measure the seconds of the search, and nothing else.")
    parser.add_argument("--out", type=Path, default=Path("results/duplicates"))
    options = parser.parse_args()
    if options.pace:
        return pace()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, count in SETS.items():
        path = options.out / f"copies-{name}{'-quick' * options.quick}.json"
        if not path.is_file():
            few = 300 if options.quick else count
            path.write_text(json.dumps(copies(options.root, name, few, options.imagehash, options.run), indent=1))
    for run in options.run:
        path = options.out / f"labels-{Path(run).name}.json"
        if not path.is_file():
            path.write_text(json.dumps(labels(run, 600 if options.quick else None), indent=1))
    return tell(options.out)


if __name__ == "__main__":
    main()
