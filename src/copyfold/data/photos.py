"""Photos: any source of images, decoded once into stored pixels of one size that later runs memory-map."""

import logging
import operator
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from copyfold import screen
from copyfold.data.batches import Batches, check_turn
from copyfold.data.crops import CropBatches, Crops, alone, divide
from copyfold.data.reading import cache, digests
from copyfold.data.reading.masks import Given as GivenMasks
from copyfold.data.reading.masks import Masks
from copyfold.data.reading.opening import Given, recognise
from copyfold.data.reading.ragged import Ragged
from copyfold.data.reading.sizes import Fit, Sides, Size, Suits, plain, sides, simple
from copyfold.data.reading.stored import Stored
from copyfold.data.reading.values import Bits, Range, Values
from copyfold.data.reading.values import check as check_values
from copyfold.data.sampling import SHOWN, Sample, as_images, described, stratified
from copyfold.errors import UsageError, at_least, image_numbers, one_of, option, worded
from copyfold.files import readable
from copyfold.pictures import embedded, grid, shown
from copyfold.types import Images, Progress, Shape

log = logging.getLogger("copyfold")

Which = Literal["train", "held_out"]


class Photos(Dataset[Any]):
    """Images to learn from and images held out: stored pixels of one height and width, memory-mapped.

    With `crop` they are parts of photographs of any size at their own resolution, unscaled, cut from a
    memory-mapped cache of the whole photographs. A training batch has crops at random places. An epoch has as many
    crops of each photograph as fit into it without overlap, and `len(photos)` is their number: a large photograph
    is used more often than a small one. `train` is a fixed grid of as many crops, read when it is indexed;
    `held_out` is a part of such a grid, spread over the photographs held out, at most 1,024 crops. A photograph
    smaller than the crop is left out, and said.

    A torch Dataset of the images to train on: photos[i] is a float32 tensor C·H·W in [0, 1], or (image, label)
    where there are labels, as torchvision's data sets have it; `flip` and `turn` have no effect there. The workers
    of a DataLoader map the pixels in the cache, which are not copied to them.

    Args:
        source: A folder of images of any depth, or a .zip of one; a .npy or .npz file; a folder of parquet, or of
            `save_to_disk`, or a file of them; `hf://owner/name[@revision]`; or None for scikit-learn's digits. In
            Python also an array or tensor; a list of paths, arrays, tensors or Pillow images; a torch Dataset, of
            images, of (image, label, ...) or of dicts with an image; a DataLoader, of which the dataset is read.
        size: Height and width in pixels: (48, 64), or "48x64"; one number for a square. Unless given, images that
            all have one shape keep it, scaled to a longer side of 128 where it is longer; images of several
            shapes become squares, of the median short side, at most 128, moved to the nearest that the model takes
            without padding (`suits`).
        fit: What is done with images of another shape. "crop" scales to cover `size` and takes the centre; "pad"
            scales to fit into it and pads with black; "stretch" scales both sides apart. A note says what is lost.
        limit: The largest number of images in `train` and in `held_out`, drawn by seed before decoding; with
            `crop` of photographs, not of crops.
        flip: Mirror every image with probability 1/2 in training (`Batches` does it).
        turn: Turn every image by 0 to 3 quarter turns in training, drawn at random; of square images.
        layout: The axes of an array: NHW, NCHW, NHWC or lsun. Detected unless given, where one axis alone can be
            that of 1, 3 or 4 channels; else an error asks for it.
        skip_bad: Leave unreadable images out instead of raising.
        channels: 1 for grey, 3 for colour, or the source's own number; detected unless given. Of 4 channels the
            fourth is transparency, unless 4 channels or a range are asked for.
        range: The values (low, high) that become 0 and 1, as in (-1000, 3000); what is outside is clipped. Unless
            given, uint8 is 0 to 255, uint16 0 to 65535, bool 0 or 1, floats are in [0, 1], and others are refused.
        bits: 8 or 16: those that a stored pixel has.
        masks: Which pixels are observed, where some are missing: an array N·H·W or in the images' layout, or the
            path of one, or of a folder of masks of the images' names. 0 is missing. So is NaN, in an array of
            floats or where there are masks.
        column: The column of images of a table, the array of an .npz, or the key of a dict. Unless given, `image`,
            or else `img`, or else the only one of images, or else the first, which `notes` say.
        seed: For the random choice of held-out images and of those that `limit` takes.
        whole: Hold nothing out: all images, of every split and in their order, are in `train`, to be evaluated.
            They cannot be trained on. The source may then be one image file.
        crop: The side in pixels of crops at the photographs' own resolution, or their height and width; in place
            of `size`. The cache then has the photographs whole: three bytes a pixel, one where all are grey.
        suits: Says whether a model takes images of a shape: True or False, or the shape that it pads them to. None
            means any shape that all images have, and squares of multiples of 16.
        progress: As in `fit`: unless given, a bar as images are read where there is a terminal or a notebook; a
            function is called as progress(what, done, total, numbers).

    The test split of a source is held out, or else its validation split, or else a tenth. Splits are named by
    folders, files or arrays, in any spelling (Train, TESTING, dev). What is in memory is identified by a hash of
    its content; a torch Dataset is read once, so its random transforms stay as they came out. There is 1 channel
    where every image is grey (by its decoded pixels, not by its mode), else 3. The result is cached by path, size
    and modification time of the files, with digests, some of which are checked when it is opened again:
    COPYFOLD_CHECK_CACHE=1 in the environment checks all of it, at about a second per GB. Missing pixels are NaN in
    the images, and a fidelity has to leave them out, see `Observed`; models and probes see images that are
    `measures.filled`.

    Raises UsageError for invalid arguments, DataError where there is no usable image.
    """

    shape: Shape
    """Channels, height, width of every image."""
    train: np.ndarray | Crops
    """The images to train on, N·H·W·C: uint8, or uint16 with 16 bits, or float32 where pixels may be missing; with
    `crop` the fixed grid of `Crops`."""
    held_out: np.ndarray
    """The images held out, in the same way; none where `whole`."""
    whole: bool
    """Whether all images are in `train`, and cannot be trained on."""
    labels: np.ndarray | None
    """Class numbers of `train`, where the source has them; -1 is a missing one."""
    held_out_labels: np.ndarray | None
    """Class numbers of `held_out`."""
    classes: tuple[str, ...] | None
    """The names of the classes, where they have names."""
    names: Sequence[str]
    """File names or row numbers of `train`; of a crop photo.png[64x64+LEFT+TOP]."""
    held_out_names: Sequence[str]
    """File names or row numbers of `held_out`."""
    notes: tuple[str, ...]
    """Sentences about automatic choices: size, split, channels, what fitting costs, files left out."""
    size: int | tuple[int, int] | None
    """The side of square images in pixels; else height and width; None with `crop`."""
    fingerprint: str
    """Hexadecimal: identifies the source's files and how they were prepared."""
    selection: str
    """Hexadecimal: identifies the source's files and which of them are held out, however they were prepared."""

    def __init__(
        self,
        source: Given = None,
        size: Size | None = None,
        *,
        fit: Fit = "crop",
        limit: int | None = None,
        flip: bool = False,
        turn: bool = False,
        layout: str | None = None,
        skip_bad: bool = False,
        channels: int | None = None,
        range: Range | None = None,
        bits: Bits = 8,
        masks: GivenMasks | None = None,
        column: str | None = None,
        seed: int = 0,
        whole: bool = False,
        crop: Size | None = None,
        suits: Suits | None = None,
        progress: Progress | bool | None = None,
    ) -> None:
        _check(fit, limit, seed, channels)
        wanted = None if size is None else sides(size, channels=channels)
        values = Values(check_values(range, bits), bits)
        self.flip, self.turn, self.whole = flip, turn, whole
        self.crop = None if crop is None else alone(crop, size, fit, channels)
        given = recognise(source, layout, column, alone=whole)
        with given as opened, screen.told(progress) as told, ExitStack() as stack:
            found = None if masks is None else Masks(masks, layout, opened)
            if found is not None:
                stack.callback(found.close)
            stored = Stored(opened, fit, limit, skip_bad, seed, channels, values, found, whole, told)
            if self.crop is None:
                self._pixels, meta, why = stored(wanted, suits)
                _, height, width, depth = self._pixels.shape
                self.size, self.shape = simple((height, width)), (depth, height, width)
                self.fingerprint, notes = meta["fingerprint"], (why, *meta["notes"])
                self._divide(self._pixels, meta)
            else:
                images, meta = stored.unscaled()
                image_numbers(*self.crop, images.channels, option("crop", plain(self.crop)))
                self._pixels = images.values
                self.size, self.shape = None, (images.channels, *self.crop)
                self.fingerprint = cache.key(meta["fingerprint"], "crops", self.crop)
                notes = (*meta["notes"], *self._cut(images, meta, seed, opened.where))
            self._blocks = meta.get("digests")
            self.selection = stored.selection
            self._recipe: dict[str, Any] = {
                "data": opened.describe(),
                "size": None if self.size is None else plain(sides(self.size)),
                "fit": fit,
                "limit": limit,
                "flip": flip,
                "turn": turn,
                "layout": layout,
                "skip_bad": skip_bad,
                "channels": channels,
                "range": None if values.range is None else list(values.range),
                "bits": bits,
                "masks": None if found is None else found.where,
                "seed": seed,
            }
            if whole:
                self._recipe["whole"] = True
            if column is not None:
                self._recipe["column"] = column
            if self.crop is not None:
                self._recipe["crop"] = plain(self.crop)
            where, asides = opened.where, opened.asides()
        check_turn(turn, self.shape)
        self.notes = tuple(worded(note) for note in (*notes, *asides) if note)
        for note in self.notes:
            log.info("%s: %s", where, note)

    def __len__(self) -> int:
        return len(self.train)

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, int]:
        """An image to train on, float32 C·H·W in [0, 1]; where there are labels with its own, -1 if missing."""
        row = operator.index(index)
        if not -len(self) <= row < len(self):
            raise IndexError(f"index {row} is out of range for {len(self)} images to train on")
        row %= len(self)
        image = as_images(self.train[row : row + 1])[0]
        return image if self.labels is None else (image, int(self.labels[row]))

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle: of mapped pixels the file, not the pixels; `Crops` see to theirs."""
        arrays = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        parts = {name: cache.where(value) for name, value in arrays.items()}
        return vars(self) | {name: place for name, place in parts.items() if place is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value.mapped() if isinstance(value, cache.Mapped) else value)

    def __repr__(self) -> str:
        if isinstance(self.train, Crops):
            return described(self, self.held_out, "crops", f" from {len(self.train.images):,} images")
        return described(self, self.held_out)

    def _repr_html_(self) -> str:
        """For a notebook: what they are, and some of them."""
        return shown(repr(self), embedded(grid(self.sample("train", 2 * SHOWN).images, columns=SHOWN)))

    @cached_property
    def digest(self) -> str:
        """Hexadecimal: identifies the pixels themselves, in their order, and which of them are held out.

        Unlike `fingerprint` it does not depend on where the files are or when they were written.
        """
        blocks = self._blocks or digests.of_blocks(self._pixels)
        return digests.of_array(self._pixels.shape, self._pixels.dtype, blocks, len(self.train))

    @property
    def missing(self) -> bool:
        """Whether pixels may be missing: they are NaN in the images."""
        return self.train.dtype.kind == "f"

    def recipe(self) -> dict[str, Any]:
        """Return the arguments that give the same images again, as plain data, with the resolved size.

        A size is the side of a square, or "48x64", height x width.

        An array in memory cannot be serialised: its "data" is a description in words.
        """
        return dict(self._recipe)

    def batches(self, batch: int, seed: int = 0, rank: int = 0, world: int = 1) -> Batches:
        """The batches to train on, see `Batches`; with `crop` of random crops, see `CropBatches`."""
        if isinstance(self.train, Crops):
            return CropBatches(self.train, batch, seed, self.flip, rank, world, self.turn)
        return Batches(self.train, batch, seed, self.flip, rank, world, self.turn)

    def images(self, which: Which = "train", count: int | None = None, start: int = 0) -> Images:
        """Return `count` images (None: all) from `start` on, as float32 N·C·H·W in [0, 1], NaN where pixels miss.

        For a fair choice of images take a `sample`: the first of a folder may all be of one class.
        """
        return as_images(self._part(which)[0][start : None if count is None else start + count])

    def sample(self, which: Which = "train", count: int | None = None, seed: int = 0) -> Sample:
        """Return `count` images (None: all) spread evenly over the set, with their rows, names and labels.

        One of each of `count` equal parts of the set, drawn by `seed` (see `stratified`), in the set's order; all
        where there are no more. Other seeds give other images.
        """
        pixels, names, labels = self._part(which)
        rows = stratified(len(pixels), count, seed)
        return Sample(
            as_images(pixels[rows]),
            torch.from_numpy(rows),
            tuple(names[int(row)] for row in rows),
            None if labels is None else torch.from_numpy(labels[rows]),
        )

    def _part(self, which: Which) -> tuple[np.ndarray | Crops, Sequence[str], np.ndarray | None]:
        """Pixels, names and labels of either part."""
        if which not in get_args(Which):
            raise UsageError(f"which={which!r} is invalid: expected train or held_out")
        if which == "train":
            return self.train, self.names, self.labels
        return self.held_out, self.held_out_names, self.held_out_labels

    def _divide(self, pixels: np.ndarray, meta: dict[str, Any]) -> None:
        train, rows, labels = meta["train"], meta["names"], meta["labels"]
        # A single image is trained on and held out alike.
        held = slice(train if len(rows) > train or self.whole else 0, None)
        self.train, self.held_out = pixels[:train], pixels[held]
        self.names, self.held_out_names = rows[:train], rows[held]
        numbers = None if labels is None else np.asarray(labels, dtype=np.int64)
        self.labels = None if numbers is None else numbers[:train]
        self.held_out_labels = None if numbers is None else numbers[held]
        self.classes = tuple(map(readable, meta["classes"])) if meta["classes"] else None

    def _cut(self, images: Ragged, meta: dict[str, Any], seed: int, where: str) -> tuple[str, ...]:
        """Divide whole images into crops to train on and those held out; returns notes on them."""
        assert self.crop is not None
        found = divide(images, meta, self.crop, self.whole, seed, where)
        self.train, self.held_out = found.train, found.held_out
        self.names, self.held_out_names = found.names, found.held_out_names
        self.labels, self.held_out_labels = found.labels, found.held_out_labels
        self.classes = tuple(map(readable, meta["classes"])) if meta["classes"] else None
        return found.notes


def natural_size(
    source: Given,
    limit: int | None = None,
    layout: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    column: str | None = None,
) -> Sides:
    """Height and width that `Photos` aims at where no size is given, before a model is asked.

    Headers are read for it, and no image is decoded. DataError where there is no image.
    """
    with recognise(source, layout, column) as opened:
        stored = Stored(opened, "crop", limit, False, seed, None, Values(), None, False, progress)
        return stored.aim.size


def _check(fit: str, limit: int | None, seed: int, channels: int | None) -> None:
    """UsageError for invalid arguments."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit={limit} is invalid: expected a number of images, at least 1")
    one_of(Fit, "fit", fit)
    at_least(0, seed=seed)
    if channels is not None and channels < 1:
        raise UsageError(
            f"channels={channels} is invalid: expected 1 (grey), 3 (colour), or the source's own number"
        )
