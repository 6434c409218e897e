"""How well outliers are found: our scores beside PyOD's detectors and PCA, as AUROC.

    python benchmarks/outliers.py ROOT --pyod ENV/bin/python [--minutes 25] [--only NAME] [--out results/outliers]
    python benchmarks/outliers.py ROOT --quick            every kind of row once, on few images, in two minutes
    python benchmarks/outliers.py ROOT --mvtec FOLDER     folders as MVTec AD has them, where there is one

ROOT holds the parquet folders fashion_mnist, cifar10 and landscapes. PyOD needs an environment of its own:

    python -m venv ENV && ENV/bin/pip install pyod==3.6.7

A call works for at most --minutes, goes on where the last one stopped, and ends with the table (outliers.csv) of
all that is measured; every row is a file of JSON. Results do not depend on what else runs. All rows take some five
hours of two cores. Networks learn from normal images alone, for a number of steps, and no score sees an outlier:

    classes    one class of fashion_mnist or cifar10 is normal, the other nine are outliers: AUROC over the test
               images, every class and three seeds
    odd        landscapes at 64 pixels are normal: black, white, noise and text images, and those of other sets
    textures   crops of 64 pixels of forests, or of coasts, are normal: defects that no corruption of ours makes
               are painted over those of test images; AUROC of images and of pixels
    mvtec      a category of a folder CATEGORY/{train/good, test/KIND, ground_truth/KIND}, at 128 pixels

"copy" is Conv, trained to copy; "repair" is the recipe `defects`. "plain error" is the squared error that most
people rank by; "local contrast" knows no network and no other image: the logarithm of the contrast around a pixel,
against that of the whole image. PyOD has its defaults, on pixels and on the first 64 principal components.
How `Combined` puts scores together was chosen on classes 0, 2, 6 and 8 of fashion_mnist and 0 and 1 of cifar10, by
one network each of seed 0 and 900 outliers of each.
"""

import argparse
import csv
import io
import json
import math
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout
from PIL import Image, ImageDraw
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score
from torch import Tensor

import copyfold as cf
from copyfold.data.sampling import as_images, stratified
from copyfold.detection.base import PART, Score, Scored
from copyfold.errors import CopyfoldError
from copyfold.measures import mse
from copyfold.training.state import TrainState

SCORES: dict[str, Score] = {
    "RelativeError": cf.RelativeError(),
    "RestorationError": cf.RestorationError(),
    "Mahalanobis": cf.Mahalanobis(),
    "Mahalanobis, grid 1": cf.Mahalanobis(grid=1),
    "NeighbourDistance": cf.NeighbourDistance(),
    "NeighbourDistance, grid 1": cf.NeighbourDistance(grid=1),
    "Combined": cf.Combined(),
}
AROUND = cf.Blur(7, 1.5)
LEARNED = 1024
MEASURED = 10_000


@dataclass(frozen=True)
class Row:
    """One network, and what is measured with it."""

    task: str
    data: str
    net: str
    seed: int
    steps: int
    quick: bool = False

    @property
    def name(self) -> str:
        return f"{self.task}-{self.data.replace('/', '-')}-{self.net}-{self.steps}steps-seed{self.seed}"


@dataclass(frozen=True)
class Material:
    """Normal images to learn from, and sets of test images: outliers by name, and where their defects are."""

    photos: cf.Photos
    normal: np.ndarray
    odd: dict[str, np.ndarray]
    defects: dict[str, np.ndarray]


def rows(mvtec: Path | None) -> list[Row]:
    """All rows, so ordered that the first seeds of all come first."""
    found = []
    for seed in range(3):
        found += [Row("odd", "landscapes", net, seed, STEPS[net]) for net in ("copy", "repair")]
        for data in ("forest", "coast"):
            found += [Row("textures", data, net, seed, 4000) for net in ("copy", "repair")]
        for data in ("fashion_mnist", "cifar10"):
            found += [Row("classes", f"{data}/{k}", "copy", seed, STEPS["copy"]) for k in range(10)]
    found += [
        Row("classes", f"{data}/{k}", "repair", 0, 1000)
        for data in ("fashion_mnist", "cifar10")
        for k in range(10)
    ]
    if mvtec is not None:
        found += [Row("mvtec", path.name, "repair", 0, 2000) for path in sorted(mvtec.iterdir()) if path.is_dir()]
    return found


STEPS = {"copy": 3000, "repair": 2000}


def quick() -> list[Row]:
    """Every kind of row once."""
    return [
        Row("odd", "landscapes", "copy", 0, 60, True),
        Row("textures", "forest", "repair", 0, 20, True),
        Row("classes", "fashion_mnist/0", "copy", 0, 60, True),
    ]


# ---------------------------------------------------------------- images


def material(root: Path, mvtec: Path | None, row: Row) -> Material:
    """The images of a row."""
    few = 200 if row.quick else None
    if row.task == "classes":
        return _classes(root, *row.data.split("/"), few)
    if row.task == "odd":
        return _odd(root, few)
    if row.task == "mvtec":
        assert mvtec is not None
        return _mvtec(mvtec / row.data)
    return _textures(root, row.data, few)


def _classes(root: Path, data: str, k: str, few: int | None) -> Material:
    train, test = (
        cf.Photos(str(next((root / data).glob(f"{part}*"))), 32, whole=True) for part in ("train", "test")
    )
    assert train.labels is not None
    assert test.labels is not None
    mine = np.flatnonzero(train.labels == int(k))[:few]
    normal, others = (np.flatnonzero((test.labels == int(k)) == same)[:few] for same in (True, False))
    others = others[stratified(len(others), MEASURED)]
    return Material(cf.Photos(train.train[mine]), test.train[normal], {"nine others": test.train[others]}, {})


def _odd(root: Path, few: int | None) -> Material:
    photos = cf.Photos(str(root / "landscapes"), 64, channels=1, limit=few)
    count = len(photos.held_out)
    odd = made_images(count, 64)
    for data in ("cifar10", "fashion_mnist"):
        test = next((root / data).glob("test*"))
        odd[data] = cf.Photos(str(test), 64, channels=1, limit=max(count, few or 500), whole=True).train
    return Material(photos, photos.held_out, odd, {})


def made_images(count: int, side: int) -> dict[str, np.ndarray]:
    """Images that no landscape is like: nearly black, nearly white, noise, a grey one with noise, text."""
    rng = np.random.default_rng(0)
    shape = (count, side, side, 1)
    found = {
        "black": np.broadcast_to(rng.integers(0, 8, (count, 1, 1, 1)), shape),
        "white": np.broadcast_to(rng.integers(248, 256, (count, 1, 1, 1)), shape),
        "noise": rng.integers(0, 256, shape),
        "grey noise": rng.normal(128, 50, shape).clip(0, 255),
        "text": np.stack([_text(rng, side) for _ in range(count)]),
    }
    return {name: images.astype(np.uint8) for name, images in found.items()}


def _text(rng: np.random.Generator, side: int) -> np.ndarray:
    """Lines of random letters on white."""
    sheet = Image.new("L", (side, side), 255)
    draw, size = ImageDraw.Draw(sheet), int(rng.integers(8, 14))
    for top in range(2, side, size + 2):
        words = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz   "), 20))
        draw.text((2, top), words, fill=int(rng.integers(0, 60)), font_size=size)
    return np.asarray(sheet)[..., None]


def _textures(root: Path, label: str, few: int | None) -> Material:
    parts = {part: next((root / "landscapes").glob(f"{part}*")) for part in ("train", "test")}
    found = {part: _of_label(path, label) for part, path in parts.items()}
    crops = np.asarray(cf.Photos(found["test"], crop=64, channels=1, whole=True).train)
    crops = crops[stratified(len(crops), 400)]
    normal, spoiled = crops[::2], crops[1::2].copy()
    masks = np.stack([_spoil(image, k) for k, image in enumerate(spoiled)])
    kinds = [spoiled[k :: len(DEFECTS)] for k in range(len(DEFECTS))]
    learned = cf.Photos(found["train"][: few and 40], crop=64, channels=1)
    return Material(
        learned,
        normal,
        dict(zip(DEFECTS, kinds, strict=True)),
        {name: masks[k :: len(DEFECTS)] for k, name in enumerate(DEFECTS)},
    )


def _of_label(path: Path, label: str) -> list[np.ndarray]:
    """The images of a parquet file that are filed under a label, in grey."""
    table = pq.read_table(path)
    known = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    rows = [row for row in table.to_pylist() if known[row["label"]] == label]
    return [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("L")) for row in rows]


DEFECTS = ("scratch", "ring", "noise", "turned", "blurred", "dots")


def _spoil(image: np.ndarray, k: int) -> np.ndarray:
    """Paint a defect into an image H x W x 1, and return where it is."""
    rng, side = np.random.default_rng([0, k]), len(image)
    sheet = Image.new("L", (side, side))
    draw, kind = ImageDraw.Draw(sheet), DEFECTS[k % len(DEFECTS)]
    top, left = rng.uniform(6, side - 22, 2)
    length = rng.uniform(8, 16)
    if kind == "scratch":
        bends = rng.uniform(4, side - 4, (2, 2)).tolist()
        draw.line([tuple(bends[0]), (left, top), tuple(bends[1])], fill=255, width=1)
    elif kind == "ring":
        draw.ellipse((left, top, left + length, top + length), outline=255, width=2)
    elif kind == "dots":
        for y, x in rng.uniform(0, length, (8, 2)):
            draw.ellipse((left + x, top + y, left + x + 1.5, top + y + 1.5), fill=255)
    else:
        draw.rectangle((left, top, left + length, top + length), fill=255)
    there = np.asarray(sheet) > 0
    grey = image[..., 0].astype(float)
    if kind == "noise":
        new = rng.integers(0, 256, grey.shape)
    elif kind == "turned":
        new = np.rot90(grey)
    elif kind == "blurred":
        blur = cf.Blur(15, 4.0)(torch.from_numpy(grey)[None, None])
        new = blur[0, 0].numpy()
    else:
        new = np.full_like(grey, rng.choice([10, 245]))
    image[there, 0] = new[there].astype(np.uint8)
    return there


def _mvtec(folder: Path) -> Material:
    """A category of MVTec AD, or of a folder laid out alike: train/good, test/KIND, ground_truth/KIND."""
    side = 128
    photos = cf.Photos(str(folder / "train" / "good"), side)
    taken = {"size": side, "channels": photos.shape[0], "whole": True}
    normal = cf.Photos(str(folder / "test" / "good"), **taken).train
    odd, defects = {}, {}
    for kind in sorted(path for path in (folder / "test").iterdir() if path.is_dir() and path.name != "good"):
        found = cf.Photos(str(kind), **taken)
        odd[kind.name] = found.train
        masks = [folder / "ground_truth" / kind.name / f"{Path(name).stem}_mask.png" for name in found.names]
        defects[kind.name] = cf.Photos(list(map(str, masks)), side, channels=1, whole=True).train[..., 0] > 127
    return Material(photos, normal, odd, defects)


# ---------------------------------------------------------------- networks and scores


class TimeOver(Exception):
    """A call has had its minutes."""


def trained(row: Row, photos: cf.Photos, folder: Path, deadline: float) -> cf.Autoencoder:
    """The network of a row: trained, or trained on from its last checkpoint. Raises TimeOver."""

    def stepped(_event: str, state: TrainState) -> None:
        if time.monotonic() > deadline and state.step < row.steps:
            raise TimeOver

    torch.manual_seed(row.seed)
    if row.net == "copy":
        model: cf.Autoencoder = cf.Conv(photos.shape)
        options: dict[str, Any] = {"batch": 64}
    else:
        model = cf.UNet(photos.shape, width=16, depth=4, skips="concat", norm="none")
        options = {"batch": 16, "objective": cf.Classical(corruption=cf.Patches())}
    objective = options.pop("objective", None)
    try:
        run = cf.fit(
            model, objective, photos, folder, resume=True, steps=row.steps, seed=row.seed, save_minutes=1,
            callbacks=[stepped], progress=False, **options,
        )  # fmt: skip
    except CopyfoldError as error:
        if not isinstance(error.__cause__, TimeOver):
            raise
        raise TimeOver from error
    return run.model


def scored(detect: Callable[[Tensor], Scored], pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """The scores of stored images, and their maps."""
    found = [detect(as_images(pixels[k : k + PART])) for k in range(0, len(pixels), PART)]
    maps = [part.maps.numpy() for part in found if part.maps is not None]
    return torch.cat([part.scores for part in found]).numpy(), np.concatenate(maps) if maps else None


@torch.no_grad()
def measure(row: Row, model: cf.Autoencoder, images: Material) -> Iterator[dict[str, Any]]:
    """The AUROC of every score, over each set of outliers, all of them, and the pixels of defects."""
    model.eval()
    with model.using("running"):
        normal = images.photos.sample("train", LEARNED).images
        detectors = {name: (lambda score=score: score(model, normal)) for name, score in SCORES.items()}
        detectors |= {"plain error": lambda: partial(plain_error, model), "local contrast": lambda: local_contrast}
        for name, make in detectors.items():
            started = time.monotonic()
            detect = make()
            usual, _ = scored(detect, images.normal)
            found = {kind: scored(detect, pixels) for kind, pixels in images.odd.items()}
            numbers = {kind: auroc(usual, scores) for kind, (scores, _) in found.items()}
            numbers["all"] = auroc(usual, np.concatenate([scores for scores, _ in found.values()]))
            maps = {kind: one for kind, (_, one) in found.items() if one is not None and kind in images.defects}
            if maps:
                where = np.concatenate([images.defects[kind].reshape(-1) for kind in maps])
                numbers["pixels"] = roc_auc_score(
                    where, np.concatenate([one.reshape(-1) for one in maps.values()])
                )
                for kind, one in maps.items():
                    numbers[f"pixels, {kind}"] = roc_auc_score(images.defects[kind].reshape(-1), one.reshape(-1))
            yield {"score": name, "seconds": time.monotonic() - started, "auroc": numbers}


def plain_error(model: cf.Autoencoder, x: Tensor) -> Scored:
    """The squared error, and around every pixel."""
    copy = model(x)
    return Scored(mse(copy, x), AROUND((copy - x).square()).mean(1))


def local_contrast(x: Tensor) -> Scored:
    """How far the contrast around a pixel is from that of the whole image, on either side."""
    contrast = ((AROUND(x.square()) - AROUND(x).square()).clamp(min=0).mean(1) + 1e-5).log()
    of_all = contrast.flatten(1)
    middle, spread = of_all.median(1).values, of_all.std(1)
    maps = (contrast - middle[:, None, None]).abs() / (spread + 0.1)[:, None, None]
    return Scored(maps.flatten(1).amax(1), maps)


def auroc(normal: np.ndarray, odd: np.ndarray) -> float:
    """The probability that an outlier scores above a normal image."""
    return float(roc_auc_score([0] * len(normal) + [1] * len(odd), np.concatenate([normal, odd])))


def rivals(python: str, row: Row, images: Material) -> list[dict[str, Any]]:
    """The same of PyOD's detectors and PCA, in their own process."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "images.npz", Path(folder) / "scores.npz"
        test = [images.normal, *images.odd.values()]
        np.savez(given, train=np.asarray(images.photos.train), test=np.concatenate(test))
        worker = Path(__file__).with_name("outliers_rivals.py")
        subprocess.run([python, "-I", worker, given, made, str(row.seed)], check=True)
        with np.load(made) as found:
            scores = {name: found[name] for name in found.files if name != "seconds"}
            seconds = json.loads(str(found["seconds"]))
    ends = np.cumsum([len(part) for part in test])[:-1]
    rows = []
    for name, values in scores.items():
        usual, *odd = np.split(values, ends)
        numbers = {kind: auroc(usual, part) for kind, part in zip(images.odd, odd, strict=True)}
        numbers["all"] = auroc(usual, np.concatenate(odd))
        rows.append({"score": name, "seconds": seconds[name], "auroc": numbers})
    return rows


# ---------------------------------------------------------------- the table


def tell(out: Path, chosen: list[Row]) -> None:
    """Write the means over classes, with Student's interval over seeds where there are several."""
    found: dict[tuple[str, ...], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in chosen:
        if not (path := out / f"{row.name}.json").is_file():
            continue
        for entry in json.loads(path.read_text()):
            net = row.net if entry["score"] in (*SCORES, "plain error") else "-"
            for kind, value in entry["auroc"].items():
                found[row.task, row.data.split("/")[0], net, entry["score"], kind][row.seed].append(value)
    with (out / "outliers.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("task", "data", "net", "score", "outliers", "auroc", "low", "high", "seeds", "classes"))
        for key, seeds in sorted(found.items()):
            means = [statistics.mean(values) for values in seeds.values()]
            mean, half = statistics.mean(means), math.nan
            if len(means) > 1:
                half = student.ppf(0.975, len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
            classes = min(map(len, seeds.values()))
            numbers = [f"{value:.4f}" for value in (mean, mean - half, mean + half)]
            writer.writerow((*key, *numbers, len(means), classes))
    print((out / "outliers.csv").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pyod", help="The python of an environment with PyOD; without it rivals are left out.")
    parser.add_argument("--mvtec", type=Path, help="A folder of categories as MVTec AD has them.")
    parser.add_argument("--minutes", type=float, default=25, help="The most that this call works.")
    parser.add_argument("--only", default="", help="Rows whose names contain this.")
    parser.add_argument("--quick", action="store_true", help="Every kind of row once, on few images.")
    parser.add_argument("--out", type=Path, default=Path("results/outliers"))
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = quick() if options.quick else rows(options.mvtec)
    for row in chosen:
        path, folder = options.out / f"{row.name}.json", options.out / "runs" / row.name
        if path.is_file() or options.only not in row.name or time.monotonic() > deadline:
            continue
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(options.out / "runs" / f"{row.name}.lock", blocking=False):
                print(f"{row.name}: training", flush=True)
                images = material(options.root, options.mvtec, row)
                model = trained(row, images.photos, folder, deadline)
                entries = list(measure(row, model, images))
                if options.pyod and row.net == "copy":  # they have no network
                    entries += rivals(options.pyod, row, images)
                path.write_text(json.dumps(entries, indent=1) + "\n")
                best = max(entries, key=lambda entry: entry["auroc"]["all"])
                print(f"{row.name}: {best['score']} {best['auroc']['all']:.4f}", flush=True)
        except (Timeout, TimeOver):
            continue  # another call is at it, or the time is over
    tell(options.out, chosen)


if __name__ == "__main__":
    main()
