"""How well outliers are found: our scores beside PyOD's detectors and PCA, as AUROC.

    python benchmarks/outliers.py ROOT --pyod ENV/bin/python [--minutes 25] [--only NAME] [--out results/outliers]
    python benchmarks/outliers.py ROOT --quick            every kind of row once, on few images, into OUT/quick
    python benchmarks/outliers.py ROOT --mvtec FOLDER     folders as MVTec AD has them, where there is one

ROOT holds the parquet folders fashion_mnist, cifar10 and landscapes. PyOD needs an environment of its own:

    python -m venv ENV && ENV/bin/pip install pyod==3.6.7

A call works for --minutes, starts nothing after them, goes on where the last one stopped, and ends with the table
(outliers.csv) of all that is measured; every row is a file of JSON. A row that fails is printed and stops no
other; the exit status is then 1. It computes on one thread, in bf16, so that results do not depend on what else
runs: start as many calls as there are cores, which share the rows. All rows take some five hours of two cores.
Networks learn from normal images alone, for a number of steps, and no score of ours sees an outlier:

    classes    one class of fashion_mnist or cifar10 is normal, the other nine are outliers: AUROC over the test
               images, every class and three seeds
    odd        landscapes at 64 pixels are normal: black, white, noise and text images, and those of other sets; or
               coasts alone: landscapes of the other categories
    textures   crops of 64 pixels of forests, or of coasts, are normal: defects are painted over those of test
               images, by other code than that of our corruption `Patches`, though scratch, dots and turned are
               like what it makes; a pixel is a defect where it has changed; AUROC of images and of pixels
    mvtec      a category of a folder CATEGORY/{train/good, test/KIND, ground_truth/KIND}, at 128 pixels

AUROC of pixels is over all test images, the normal ones included, as MVTec AD has it; that of one kind of defect
over these images and the normal ones.

"copy" is Conv, trained to copy; "repair" is the network of the recipe `defects`, with its corruption, for a number
of steps and without flips. "plain error" is the squared error that most people rank by; "local contrast" knows no
network and no other image: the logarithm of the contrast around a pixel, against that of the whole image. "PCA
error" is the squared error of the first 64 principal components, or 256; "PCA distance" the length of the first
64, each in its own spread. PyOD has its defaults, on pixels, and on 64 components as they are, or on 64 or 256 in
their own spread. Its ECOD ranks images beside all others that are tested, outliers too; "ECOD, train only" is the
same against the normal ones alone. These have no network, and rows of their own, "rivals-..."; as the images do
not depend on the seed, there is one row of each, and three of IForest, which alone is random.

The interval of the table is Student's over seeds, and knows nothing of how few the test images are: of that
"error" says the standard error (DeLong's, for images; "normal" and "odd" count them). A mean is over the classes
that every seed has.

How `Combined` puts scores together was chosen on classes 0, 2, 6 and 8 of fashion_mnist and 0 and 1 of cifar10, by
one network each of seed 0 and 900 test images that are outliers of each: the rows "unseen" of the table are over
the other classes, and are those that count. That it holds scores by which black and white images are odd was
chosen on images like those of "odd". The score that counts was fixed before all rows were measured: `Combined` of
"copy"; for maps `RestorationError` of "repair".
"""

import argparse
import csv
import io
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow.parquet as pq
import torch
from filelock import FileLock, Timeout
from PIL import Image, ImageDraw
from scipy.stats import rankdata
from scipy.stats import t as student
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from torch import Tensor

import copyfold as cf
from copyfold.data.sampling import as_images, stratified
from copyfold.detection.base import PART, Detector, Score, Scored
from copyfold.errors import CopyfoldError
from copyfold.files import write_text
from copyfold.measures import mse
from copyfold.studies.provenance import module_digest
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
CHOSEN_ON = {*(f"fashion_mnist/{k}" for k in (0, 2, 6, 8)), "cifar10/0", "cifar10/1"}
AROUND = cf.Blur(7, 1.5)
COMPONENTS, MORE = 64, 256
PYOD = ("kNN", "ECOD", "IForest")
Found: TypeAlias = tuple[np.ndarray, np.ndarray | None]
LEARNED = 1024
MADE = {
    "copyfold": cf.__version__,
    "code": module_digest("copyfold.detection.finding"),
    "torch": torch.__version__,
}
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
class Rival:
    """A detector without a network; one in which nothing is random has no seed."""

    task: str
    data: str
    method: str
    seed: int | None = None
    quick: bool = False
    net = "-"

    @property
    def name(self) -> str:
        seed = "" if self.seed is None else f"-seed{self.seed}"
        return f"rivals-{self.task}-{self.data.replace('/', '-')}-{self.method.replace(' ', '-')}{seed}"


@dataclass(frozen=True)
class Material:
    """Normal images to learn from, and sets of test images: outliers by name, and where their defects are."""

    photos: cf.Photos
    normal: np.ndarray
    odd: dict[str, np.ndarray]
    defects: dict[str, np.ndarray]


def rows(mvtec: Path | None) -> list[Row | Rival]:
    """All rows, so ordered that the first seeds of all come first."""
    found: list[Row | Rival] = []
    categories = [] if mvtec is None else [path.name for path in sorted(mvtec.iterdir()) if path.is_dir()]
    sets = [("odd", "landscapes"), ("odd", "coast"), ("textures", "forest"), ("textures", "coast")]
    sets += [("classes", f"{data}/{k}") for data in ("fashion_mnist", "cifar10") for k in range(10)]
    for seed in range(3):
        for task, data in sets:
            nets = ("copy",) if task == "classes" else ("copy", "repair")
            found += [Row(task, data, net, seed, 4000 if task == "textures" else STEPS[net]) for net in nets]
        compared = [*sets, *(("mvtec", category) for category in categories)]
        if seed == 0:
            found += [Rival(*one, method) for method in (*OWN, *PYOD[:-1]) for one in compared]
        found += [Rival(*one, PYOD[-1], seed) for one in compared]
    found += [
        Row("classes", f"{data}/{k}", "repair", 0, 1000)
        for data in ("fashion_mnist", "cifar10")
        for k in range(10)
    ]
    return found + [Row("mvtec", category, "repair", 0, 2000) for category in categories]


STEPS = {"copy": 3000, "repair": 2000}


def quick() -> list[Row | Rival]:
    """Every kind of row once."""
    return [
        Row("odd", "landscapes", "copy", 0, 60, True),
        Row("odd", "coast", "copy", 0, 20, True),
        Row("textures", "forest", "repair", 0, 20, True),
        Row("classes", "fashion_mnist/0", "copy", 0, 60, True),
        *(Rival("textures", "forest", method, None, True) for method in (*OWN, *PYOD[:-1])),
        Rival("textures", "forest", PYOD[-1], 0, True),
        Rival("classes", "fashion_mnist/1", "PCA error", None, True),
    ]


# ---------------------------------------------------------------- images


def material(root: Path, mvtec: Path | None, row: Row | Rival) -> Material:
    """The images of a row."""
    few = 200 if row.quick else None
    if row.task == "classes":
        return _classes(root, *row.data.split("/"), few)
    if row.task == "odd":
        return _odd(root, few) if row.data == "landscapes" else _category(root, row.data, few)
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


def _category(root: Path, label: str, few: int | None) -> Material:
    """Landscapes of one category, and test images of the others."""
    train, test = (next((root / "landscapes").glob(f"{part}*")) for part in ("train", "test"))
    photos = cf.Photos(_of_label(train, label)[: few and 40], 64, channels=1)
    mine, others = (
        cf.Photos(_of_label(test, label, same), 64, channels=1, whole=True).train for same in (True, False)
    )
    normal = np.concatenate([photos.held_out, mine])
    return Material(photos, normal, {"other categories": np.asarray(others)}, {})


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


def _of_label(path: Path, label: str, same: bool = True) -> list[np.ndarray]:
    """The images of a parquet file that are filed under a label, or under any other, in grey."""
    table = pq.read_table(path)
    known = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    rows = [row for row in table.to_pylist() if (known[row["label"]] == label) == same]
    return [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("L")) for row in rows]


DEFECTS = ("scratch", "ring", "noise", "turned", "blurred", "dots")
VISIBLE = 3  # levels by which a pixel has to change


def _spoil(image: np.ndarray, k: int) -> np.ndarray:
    """Paint a defect into an image H x W x 1, at a place where it is seen, and return what has changed."""
    rng = np.random.default_rng([0, k])
    for _ in range(50):
        there, new = _defect(rng, image[..., 0].astype(float), DEFECTS[k % len(DEFECTS)])
        changed = there & (np.abs(new - image[..., 0]) >= VISIBLE)
        if 2 * changed.sum() >= there.sum():
            break
    image[there, 0] = new[there].astype(np.uint8)
    return changed


def _defect(rng: np.random.Generator, grey: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A shape somewhere in an image H x W, and the image that is to be seen within it."""
    side = len(grey)
    sheet = Image.new("L", (side, side))
    draw = ImageDraw.Draw(sheet)
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
    if kind == "noise":
        new = rng.integers(0, 256, grey.shape)
    elif kind == "turned":
        new = np.rot90(grey)
    elif kind == "blurred":
        blur = cf.Blur(15, 4.0)(torch.from_numpy(grey)[None, None])
        new = blur[0, 0].numpy()
    else:
        new = np.full_like(grey, rng.choice([10, 245]))
    return np.asarray(sheet) > 0, new


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
            precision="bf16", threads=1, callbacks=[stepped], progress=False, **options,
        )  # fmt: skip
    except CopyfoldError as error:
        if not isinstance(error.__cause__, TimeOver):
            raise
        raise TimeOver from error
    return run.model


def scored(detect: Callable[[Tensor], Scored], pixels: np.ndarray, places: bool) -> Found:
    """The scores of stored images, and where there are any and they are asked for, their maps."""
    scores, maps = [], []
    for start in range(0, len(pixels), PART):
        part = detect(as_images(pixels[start : start + PART]))
        scores.append(part.scores)
        maps += [part.maps.numpy()] if places and part.maps is not None else []
    return torch.cat(scores).numpy(), np.concatenate(maps) if maps else None


def compared(images: Material, usual: Found, found: dict[str, Found]) -> dict[str, Any]:
    """The AUROC over each set of outliers, over all of them, and of pixels over defects and normal images.

    "error" has the standard errors of those of images, and "counts" how many outliers there are.
    """
    odd = {kind: scores for kind, (scores, _) in found.items()}
    odd["all"] = np.concatenate(list(odd.values()))
    numbers = {kind: auroc(usual[0], scores) for kind, scores in odd.items()}
    about = {
        "error": {kind: standard_error(usual[0], scores) for kind, scores in odd.items()},
        "counts": {"normal": len(usual[0])} | {kind: len(scores) for kind, scores in odd.items()},
    }
    maps = {
        kind: one.reshape(-1) for kind, (_, one) in found.items() if one is not None and kind in images.defects
    }
    if maps and usual[1] is not None:
        where = {kind: images.defects[kind].reshape(-1) for kind in maps}
        normal = usual[1].reshape(-1)

        def of_pixels(kinds: Iterable[str]) -> float:
            inside = np.concatenate([where[kind] for kind in kinds])
            values = np.concatenate([maps[kind] for kind in kinds])
            return auroc(np.concatenate([normal, values[~inside]]), values[inside])

        numbers["pixels"] = of_pixels(list(maps))
        numbers |= {f"pixels, {kind}": of_pixels([kind]) for kind in maps}
    return {"auroc": numbers, **about}


@torch.no_grad()
def measured(images: Material, detectors: dict[str, Callable[[], Detector]]) -> list[dict[str, Any]]:
    """An entry for every detector, each of which is made first."""
    entries = []
    for name, make in detectors.items():
        started, places = time.monotonic(), bool(images.defects)
        detect = make()
        usual = scored(detect, images.normal, places)
        found = {kind: scored(detect, pixels, places) for kind, pixels in images.odd.items()}
        seconds = time.monotonic() - started
        entries.append({"score": name, "seconds": seconds, **compared(images, usual, found)})
    return entries


def of_network(model: cf.Autoencoder, images: Material) -> list[dict[str, Any]]:
    """All scores by a network."""
    model.eval()
    with model.using("running"):
        normal = images.photos.sample("train", LEARNED).images
        detectors: dict[str, Callable[[], Detector]] = {
            name: partial(score, model, normal) for name, score in SCORES.items()
        }
        return measured(images, detectors | {"plain error": lambda: partial(plain_error, model)})


def plain_error(model: Callable[[Tensor], Tensor], x: Tensor) -> Scored:
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
    where = np.repeat([False, True], [len(normal), len(odd)])
    return float(roc_auc_score(where, np.concatenate([normal, odd])))


def standard_error(normal: np.ndarray, odd: np.ndarray) -> float:
    """The standard error of `auroc` over samples of images: DeLong, DeLong and Clarke-Pearson (1988).

    From the share of normal images below each outlier, and of outliers above each normal image.
    """
    together = rankdata(np.concatenate([normal, odd]))
    below = (together[len(normal) :] - rankdata(odd)) / len(normal)
    above = 1 - (together[: len(normal)] - rankdata(normal)) / len(odd)
    return math.sqrt(below.var(ddof=1) / len(odd) + above.var(ddof=1) / len(normal))


# ---------------------------------------------------------------- rivals


def principal(train: np.ndarray, components: int) -> PCA:
    """The first principal components of normal images."""
    rows = as_images(train).flatten(1).numpy()
    return PCA(min(components, len(rows) - 1, rows.shape[1]), random_state=0).fit(rows)


def pca_error(train: np.ndarray, components: int = COMPONENTS) -> Detector:
    """The plain error of the first principal components of normal images."""
    pca = principal(train, components)

    def copy(x: Tensor) -> Tensor:
        found = pca.inverse_transform(pca.transform(x.flatten(1).numpy()))
        return torch.from_numpy(found).to(x).reshape(x.shape)

    return partial(plain_error, copy)


def pca_distance(train: np.ndarray) -> Detector:
    """The length of the first principal components, each in its own spread: Mahalanobis' distance."""
    pca = principal(train, COMPONENTS)
    spread = np.sqrt(pca.explained_variance_)

    def detect(x: Tensor) -> Scored:
        codes = pca.transform(x.flatten(1).numpy()) / spread
        return Scored(torch.from_numpy(np.square(codes).sum(1)))

    return detect


OWN: dict[str, Callable[[np.ndarray], Detector]] = {
    "local contrast": lambda _: local_contrast,
    "PCA error": pca_error,
    f"PCA error {MORE}": partial(pca_error, components=MORE),
    "PCA distance": pca_distance,
}


def of_rival(python: str | None, row: Rival, images: Material) -> list[dict[str, Any]]:
    """The same without a network: here, or by PyOD in its own process, on pixels and on principal components."""
    train = np.asarray(images.photos.train[:])
    if row.method in OWN:
        return measured(images, {row.method: partial(OWN[row.method], train)})
    assert python is not None
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "images.npz", Path(folder) / "scores.npz"
        test = [images.normal, *images.odd.values()]
        np.savez(given, train=train, test=np.concatenate(test))
        worker = Path(__file__).with_name("outliers_rivals.py")
        asked = (row.method, str(row.seed or 0), str(COMPONENTS), str(MORE))
        subprocess.run([python, "-I", worker, given, made, *asked], check=True)
        with np.load(made) as found:
            scores = {name: found[name] for name in found.files if name != "seconds"}
            seconds = json.loads(str(found["seconds"]))
    ends = np.cumsum([len(part) for part in test])[:-1]
    entries = []
    for name, values in scores.items():
        usual, *odd = ((part, None) for part in np.split(values, ends))
        numbers = compared(images, usual, dict(zip(images.odd, odd, strict=True)))
        entries.append({"score": name, "seconds": seconds[name], **numbers})
    return entries


# ---------------------------------------------------------------- the table

HEADER = (
    "task", "data", "net", "score", "outliers",
    "auroc", "low", "high", "error", "seeds", "classes", "normal", "odd",
)  # fmt: skip


@dataclass(frozen=True)
class Measured:
    """An AUROC, its standard error over test images, and how many of these there are."""

    auroc: float
    error: float
    normal: int
    odd: int


def tell(out: Path, chosen: Sequence[Row | Rival]) -> None:
    """Write the means over classes, with Student's interval over seeds where there are several."""
    found: dict[tuple[str, ...], dict[int, dict[str, Measured]]] = defaultdict(lambda: defaultdict(dict))
    for row in chosen:
        if not (path := out / f"{row.name}.json").is_file():
            continue
        for entry in json.loads(path.read_text()):
            for data in averages(row):
                for kind, value in entry["auroc"].items():
                    key = (row.task, data, row.net, entry["score"], kind)
                    counts = entry["counts"]
                    error = entry["error"].get(kind, math.nan)
                    one = Measured(
                        value, error, counts["normal"], counts.get(kind.removeprefix("pixels, "), counts["all"])
                    )
                    found[key][row.seed or 0][row.data] = one
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow(HEADER)
    for key, seeds in sorted(found.items()):
        common = sorted(set.intersection(*map(set, seeds.values())))
        if not common:  # no class has all seeds yet
            continue
        means = [statistics.mean(values[name].auroc for name in common) for values in seeds.values()]
        mean, half = statistics.mean(means), math.nan
        if len(means) > 1:
            half = student.ppf(0.975, len(means) - 1) * statistics.stdev(means) / math.sqrt(len(means))
        first = [min(seeds.items())[1][name] for name in common]
        error = math.sqrt(sum(one.error**2 for one in first)) / len(first)
        numbers = [f"{value:.4f}" for value in (mean, mean - half, mean + half, error)]
        counts = [sum(one.normal for one in first), sum(one.odd for one in first)]
        writer.writerow((*key, *numbers, len(means), len(first), *counts))
    write_text(out / "outliers.csv", table.getvalue())
    print(table.getvalue())


def averages(row: Row | Rival) -> Iterator[str]:
    """What a row is averaged over, by its name in the table."""
    data = row.data.split("/")[0]
    yield data
    if row.task == "classes" and row.data not in CHOSEN_ON:
        yield f"{data}, unseen"
        yield "both, unseen"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--pyod", help="The python of an environment with PyOD; without it PyOD is left out.")
    parser.add_argument("--mvtec", type=Path, help="A folder of categories as MVTec AD has them.")
    parser.add_argument("--minutes", type=float, default=25, help="Nothing is started after these.")
    parser.add_argument("--only", default="", help="Rows whose names contain this.")
    parser.add_argument("--quick", action="store_true", help="Every kind of row once, on few images.")
    parser.add_argument("--out", type=Path, default=Path("results/outliers"))
    options = parser.parse_args()
    deadline = time.monotonic() + 60 * options.minutes
    torch.set_num_threads(1)
    out = options.out / "quick" if options.quick else options.out
    chosen = quick() if options.quick else rows(options.mvtec)
    failed = []
    (out / "runs").mkdir(parents=True, exist_ok=True)
    for row in chosen:
        path = out / f"{row.name}.json"
        asked = options.only in row.name and (options.pyod or not (isinstance(row, Rival) and row.method in PYOD))
        if path.is_file() or not asked or time.monotonic() > deadline:
            continue
        try:
            with FileLock(out / "runs" / f"{row.name}.lock", blocking=False):
                if path.is_file():  # from another call, by now
                    continue
                print(f"{row.name} ...", flush=True)
                images = material(options.root, options.mvtec, row)
                if isinstance(row, Rival):
                    entries = of_rival(options.pyod, row, images)
                else:
                    model = trained(row, images.photos, out / "runs" / row.name, deadline)
                    entries = of_network(model, images)
                write_text(path, json.dumps([entry | {"made": MADE} for entry in entries], indent=1) + "\n")
                print(f"{row.name}: measured", flush=True)
        except (Timeout, TimeOver):
            continue  # another call is at it, or the time is over
        except Exception:
            traceback.print_exc()
            failed.append(row.name)
    tell(out, chosen)
    if failed:
        print(f"failed, and tried again by the next call: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
