"""Where images come from: what every kind of source must say of itself."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from copyfold.data.reading.decoding import Header
from copyfold.data.reading.unread import Unread

if TYPE_CHECKING:
    from copyfold.data.reading.values import Given, Values


@dataclass(frozen=True)
class Listing:
    """The images of a source before any is decoded: their names, splits and labels.

    `splits` maps the names that the source itself uses to the indices of the images in them.
    """

    names: list[str]
    splits: dict[str, np.ndarray]
    labels: list[int] | None = None
    classes: list[str] | None = None
    notes: list[str] = field(default_factory=list)


class Source(ABC):
    """A numbered collection of images that are not decoded yet."""

    kind: str
    """One word or two for messages: "folder", "parquet dataset"."""

    where: str
    """What messages call it: the path or the id."""

    in_memory = False
    """Whether the pixels are in memory already, so that keeping them on disk would gain nothing."""

    unread: Unread | None = None
    """Files beside the images that are not read, where it is a folder or an archive."""

    said: tuple[str, ...] = ()
    """Sentences about what was given that do not follow from the images, and so are not cached with them."""

    side: int | None = None
    """The side to take, in pixels, where the images' own size is not the one to learn from."""

    @abstractmethod
    def identity(self) -> Iterable[str]:
        """Say what changes when the images do, without decoding any: paths, sizes and times of files."""

    @abstractmethod
    def listing(self) -> Listing:
        """List the images; raises DataError where there are none."""

    @abstractmethod
    def header(self, index: int) -> Header:
        """Size and mode of one image; raises Refused."""

    @abstractmethod
    def read(self, index: int, near: int | None, deep: bool = False) -> "Given":
        """One image, upright: a picture in its own mode, or numbers H·W·C; raises Refused.

        `near` is as in `decoding.decode`; `deep` asks for numbers at the depth of the file, where it has one.
        """

    def check(self, chosen: np.ndarray, values: "Values") -> None:  # noqa: B027 - most have nothing to check
        """Raise DataError where the chosen images as a whole cannot be used."""

    def has_missing(self, chosen: np.ndarray) -> bool:
        """Whether pixels of the chosen images are known to be missing."""
        del chosen
        return False

    def value_range(self) -> tuple[float, float] | None:
        """Smallest and largest value, where a source has values of its own rather than coded images."""
        return None

    def describe(self) -> object:
        """What stands in a recipe as the data: a path, an id, or None for the digits."""
        return self.where

    def asides(self) -> tuple[str, ...]:
        """Sentences about what is not read and how the source was taken, as it is now."""
        wanted = self.unread.wanted() if self.unread else ""
        return (*self.said, *([wanted] if wanted else []))

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Let go of temporary files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
