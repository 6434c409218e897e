"""Outliers among images: a score, a heat map and a threshold, learned from normal images alone."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from copyfold import screen
from copyfold.data import Photos, Stream
from copyfold.data.beside import as_photos, check_shape
from copyfold.data.reading.opening import Given
from copyfold.data.sampling import REFERENCE, SHOWN, as_images, stratified
from copyfold.data.writing import write_table
from copyfold.detection.base import PART, Detector, Score, Scored
from copyfold.detection.combination import Combined
from copyfold.detection.sets import batches, named, one, parts, searched, stored
from copyfold.detection.thresholds import RATES, Threshold, check_rate, needed, p_values, threshold, usual_rate
from copyfold.errors import UsageError, option
from copyfold.files import readable
from copyfold.models.base import Autoencoder
from copyfold.models.checks import check_model
from copyfold.pictures import save_picture
from copyfold.probes.base import still
from copyfold.types import Float, Images, Progress

__all__ = ["outliers"]

log = logging.getLogger("copyfold")

VALUES = 2**26
"""Numbers of the normal images that are learned from at most: 268 MB."""

LEARNED = 16
"""Normal images to learn from, at least."""


@dataclass(frozen=True, repr=False)
class Outliers:
    """Every image with its score, and the threshold: what `outliers` returns."""

    names: Sequence[str]
    """The images, in the order of the photos."""
    scores: np.ndarray
    """The higher, the less like normal images."""
    threshold: Threshold | None
    """Of the scores; None where no rate was named and too few normal images are held out for any."""
    why: str
    """How the rate was chosen, in words; "" where it was named."""
    normal: np.ndarray
    """The scores of the held-out normal images, from which the threshold is."""
    splits: Sequence[str] | None
    """Which part of the normal images each image is of: train, held_out, or "" for none, told by its name and its
    pixels; None where none of them is, or nothing is held out."""
    labels: np.ndarray | None
    classes: tuple[str, ...] | None
    marked: np.ndarray | None
    """The share of each image's pixels that are marked; None of a score without maps."""
    pixels: Threshold | None
    """Of the maps: the share of normal images of which any pixel is marked."""
    heat: float | None
    """The value at which a map is drawn yellow: its threshold, or without one the largest of normal images."""
    read: Callable[[int], Images]
    """One of the images, 1 x c x h x w."""
    detect: Detector

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        if self.threshold is None:
            return f"Outliers({len(self):,} images, ranked without a threshold)"
        count = int(self.outlier.sum())
        return f"Outliers({len(self):,} images, {count:,} above {self.threshold})"

    def _repr_html_(self) -> str:
        """For a notebook: the images of the highest scores, and under them their maps."""
        from copyfold.pictures import embedded, grid, heated, shown

        rows = self.order[:SHOWN].tolist()
        x, maps = self.maps(rows)
        parts = [embedded(grid(x, columns=SHOWN), "the highest scores")]
        if maps is not None and self.heat is not None:
            hot = heated(x, maps, self.heat / 2, 2 * self.heat)
            parts.append(embedded(grid(hot, columns=SHOWN), "where"))
        return shown(repr(self), *parts)

    @property
    def outlier(self) -> np.ndarray:
        """Which images are above the threshold; none where there is no threshold."""
        return self.scores > (np.inf if self.threshold is None else self.threshold.value)

    @property
    def p(self) -> np.ndarray:
        """The share of normal images that score as high as each image; never 0."""
        return p_values(self.scores, self.normal)

    @property
    def order(self) -> np.ndarray:
        """The rows of the images, the highest score first."""
        return np.argsort(-self.scores, kind="stable")

    def maps(self, rows: Sequence[int] | np.ndarray) -> tuple[Images, Float[Tensor, "b h w"] | None]:
        """Some of the images, and their maps, computed again: they are not kept."""
        x = torch.cat([self.read(int(row)) for row in rows])
        found = [self.detect(part) for part in x.split(PART)]
        maps = [part.maps for part in found if part.maps is not None]
        return x.cpu(), torch.cat(maps).cpu() if maps else None

    def columns(self) -> dict[str, tuple[Any, Any]]:
        """The columns of a table: the kind (see `write_table`) and the values of each."""
        found: dict[str, tuple[Any, Any]] = {"path": ("name", self.names)}
        if self.splits is not None:
            found["split"] = ("string", self.splits)
        if self.labels is not None:
            found["label"] = (self.classes or "int64", self.labels)
        rate = None if self.threshold is None else self.threshold.rate
        found |= {"score": ("float64", self.scores), "p": ("float64", self.p), "outlier": ("bool", self.outlier)}
        found["rate"] = ("float64", [rate] * len(self))
        if self.marked is not None:
            found["marked"] = ("float64", self.marked)
        return found

    def save(self, path: str | Path) -> Path:
        """Write a table, .csv or .parquet: path, score, p, outlier, rate, marked of every image.

        `rate` is that of the threshold, the same in every row, and empty where there is no threshold.
        """
        return write_table(path, self.columns())


def outliers(
    model: Autoencoder,
    photos: Photos | Given,
    normal: Photos | Stream | Given = None,
    *,
    score: Score | None = None,
    rate: float | None = None,
    marks: str | Path | None = None,
    progress: Progress | bool | None = None,
) -> Outliers:
    """Score images by how unlike normal ones they are, with maps and a threshold.

        found = cf.outliers(run.model, "new", normal="good")
        found.save("found.csv")

    Args:
        model: An autoencoder, trained on normal images or on images that are mostly so.
        photos: The images to score, of the model's shape; all of them. Any other source of images that `Photos`
            takes is read at the model's own height, width and channels.
        normal: Normal images, likewise, as the model was trained on; `photos` themselves unless given. What is
            usual is learned from up to 1,024 of those to train on, the threshold from all that are held out. Of
            `whole` photos, one half serves the one and one the other.
        score: `Combined()` unless given.
        rate: The share of normal images that may be called outliers. The threshold has it, whatever the scores are
            like, within an interval that `threshold` gives. It takes 3 / rate held-out normal images. Unless
            given, the smallest of 5, 10 and 20 % that there are enough for; where there are fewer than 15, images
            are scored and ranked, and there is no threshold.
        marks: A folder for a PNG file of every image in which something is marked: white where the map is above
            the largest value of the maps of all but a share `rate` of the normal images, in the model's size.
        progress: As in `fit`.

    A few images are in memory at a time, and of each a few numbers are kept. Computed where the model is, with
    running statistics. Raises UsageError where the images do not fit the model, and where there are too few normal
    ones for the rate.
    """
    check_model(model)
    score = Combined() if score is None else score
    photos = searched(model, photos, progress)
    normal = photos if normal is None else as_photos(normal, model, progress=progress)
    check_shape(model, normal)
    learned, held = _divided(normal, rate)
    why = ""
    if rate is None:
        rate, why = usual_rate(len(held))
        if rate is None and marks is not None:
            raise UsageError(
                f"too few held-out images for {option('marks')}, which needs a threshold: {needed(RATES[-1])} are "
                f"needed, and {len(held)} are held out: give more ({option('normal')}), or leave it out"
            )
        log.info("%s", why)
    device = next(model.parameters(), torch.empty(0))
    with still(model), torch.no_grad(), screen.told(progress) as tell:
        detect = score(model, learned.to(device))
        usual, tops = _usual(detect, held, device, tell)
        if np.isnan(usual).any():
            raise UsageError(
                f"the scores of {np.isnan(usual).sum()} of {len(usual)} normal images are NaN: the model has "
                "diverged, or the score does not suit it"
            )
        found = None if rate is None else threshold(usual, rate)
        pixels = None if rate is None or tops is None else threshold(tops, rate)
        names, sizes = named(photos), list(map(len, parts(photos)))
        scores, shares = _scored(detect, photos, names, device, pixels, marks, tell)
    labels = [photos.labels, photos.held_out_labels][: len(sizes)]
    heat = None if tops is None else float(tops.max()) if pixels is None else pixels.value

    def read(row: int) -> Images:
        return one(photos, row).to(device)

    def again(x: Images) -> Scored:
        with still(model), torch.no_grad():
            return detect(x)

    return Outliers(
        names, scores, found, why, usual, _splits(photos, normal, names),
        None if labels[0] is None else np.concatenate([part for part in labels if part is not None]),
        photos.classes, shares, pixels, heat, read, again,
    )  # fmt: skip


def mask_file(folder: Path, name: str) -> Path:
    """The .png file for the mask of an image, under its name below the folder."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    path = folder.joinpath(*parts)
    return path if path.suffix.lower() == ".png" else path.with_name(f"{path.name}.png")


def _splits(photos: Photos, normal: Photos | Stream, names: Sequence[str]) -> list[str] | None:
    """Which part of the normal images each image is of, told by its name and its pixels; None where none is."""
    if not isinstance(normal, Photos) or normal.whole:
        return None
    places = {name: row for row, name in enumerate(named(normal))}

    def part(row: int) -> str:
        place = row if photos is normal else places.get(names[row])
        if place is None or not (photos is normal or _same(stored(photos, row), stored(normal, place))):
            return ""
        return "train" if place < len(normal.train) else "held_out"

    found = list(map(part, range(len(names))))
    return found if any(found) else None


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two images have the same pixels; those that are missing are NaN."""
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _divided(normal: Photos | Stream, rate: float | None) -> tuple[Images, Any]:
    """Normal images to learn from, and stored pixels of those for the threshold; UsageError for too few."""
    most = max(LEARNED, min(REFERENCE, VALUES // prod(normal.shape)))
    if isinstance(normal, Photos) and normal.whole:
        rows = np.arange(len(normal))
        mine, others = rows[::2], rows[1::2]
        share = f" (of the {len(rows):,} one half is learned from, and the threshold is from the other)"
        if rate is not None:
            check_rate(rate, len(others), share)
        learned = as_images(normal.train[mine[stratified(len(mine), most)]])
        held = _Rows(normal.train, others)
    else:
        share = ""
        if rate is not None:
            check_rate(rate, len(normal.held_out))
        learned, held = normal.sample("train", most).images, normal.held_out
    if len(learned) < LEARNED:
        raise UsageError(
            f"too few normal images to learn from: {LEARNED} are needed, there are {len(learned)}{share}: "
            f"give more ({option('normal')})"
        )
    return learned, held


class _Rows:
    """Some rows of stored pixels, read when they are sliced."""

    def __init__(self, pixels: Any, rows: np.ndarray) -> None:
        self.pixels, self.rows = pixels, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.pixels[self.rows[part]]


def _usual(
    detect: Detector, held: Any, device: Tensor, tell: Progress | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """The scores of normal images, and the largest values of their maps."""
    scores: list[Tensor] = []
    tops: list[Tensor] = []
    for x in batches(held, device):
        found = detect(x)
        scores.append(found.scores)
        tops += [] if found.maps is None else [found.maps.flatten(1).amax(1)]
        if tell is not None:
            tell("looking at normal images", sum(map(len, scores)), len(held), {})
    return _array(scores), _array(tops) if tops else None


def _scored(
    detect: Detector,
    photos: Photos,
    names: Sequence[str],
    device: Tensor,
    pixels: Threshold | None,
    marks: str | Path | None,
    tell: Progress | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The score of every image, and the share of its pixels that are marked; masks are written at once."""
    if marks is not None and pixels is None:
        raise UsageError(f"{option('marks')} needs a score with maps: this one is of whole images")
    scores: list[Tensor] = []
    shares: list[Tensor] = []
    done = 0
    for x in chain.from_iterable(batches(part, device) for part in parts(photos)):
        found = detect(x)
        scores.append(found.scores)
        if found.maps is not None and pixels is not None:
            above = found.maps > pixels.value
            shares.append(above.flatten(1).float().mean(1))
            if marks is not None:
                _write_masks(Path(marks), names[done : done + len(x)], above.cpu())
        done += len(x)
        if tell is not None:
            tell("looking for outliers", done, len(names), {})
    return _array(scores), _array(shares) if shares else None


def _write_masks(folder: Path, names: Sequence[str], above: Tensor) -> None:
    for name, mask in zip(names, above, strict=True):
        if mask.any():
            picture = (mask[..., None].expand(-1, -1, 3).numpy() * np.uint8(255)).astype(np.uint8)
            save_picture(picture, mask_file(folder, readable(name)))


def _array(parts: list[Tensor]) -> np.ndarray:
    return torch.cat(parts).cpu().double().numpy() if parts else np.empty(0)
