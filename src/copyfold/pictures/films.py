"""Films: write frames one at a time as .mp4, .gif or .png, in constant memory. The only module that uses PyAV."""

import contextlib
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, overload

import numpy as np
from torch.nn import functional as F

from copyfold.errors import UsageError, at_least
from copyfold.files import plain, written
from copyfold.pictures.grids import Contrast, Picture, enlarged, png, tiled, to_bytes, visible_scale
from copyfold.pictures.notebook import Clip
from copyfold.types import Film, Images

if TYPE_CHECKING:
    from av.filter import Graph


@overload
def film(
    frames: Film | Iterable[Images],
    path: str | Path,
    fps: float = 12,
    columns: int | None = None,
    scale: int | None = None,
    contrast: Contrast = "raw",
) -> int: ...
@overload
def film(
    frames: Film | Iterable[Images],
    path: None = None,
    fps: float = 12,
    columns: int | None = None,
    scale: int | None = None,
    contrast: Contrast = "raw",
) -> Clip: ...
def film(
    frames: Film | Iterable[Images],
    path: str | Path | None = None,
    fps: float = 12,
    columns: int | None = None,
    scale: int | None = None,
    contrast: Contrast = "raw",
) -> int | Clip:
    """Write a film: .mp4 (H.264), .gif (loops) or .png (its last frame). Without a path, show it in a notebook.

    Frames are taken one at a time and not kept: memory does not grow with their number. Returns the number of
    frames written, 1 for a .png. The grid is laid out as in `grid`, for the first frame; images that change
    their size on the way are resized to it (`scale` leaves room for larger ones). A .gif shows at most 50
    frames per second. The file is whole or not there, also where a frame raises. Raises UsageError for
    another suffix, a film without frames, and a number of images that changes.
    """
    if path is None:
        with TemporaryDirectory() as folder:
            count = film(frames, shown := Path(folder) / "film.gif", fps, columns, scale, contrast)
            return Clip(shown.read_bytes(), count)
    path = Path(path)
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(f"a film is written to {', '.join(_WRITERS)}, not {path.suffix!r}: rename {path}")
    if not 0.01 <= fps <= 1000:
        raise UsageError(f"a film shows between 0.01 and 1000 frames per second, not {fps}")
    pictures = (tiled(cells, columns, gap=2) for cells in _cells(frames, scale, contrast))
    first = next(pictures, None)
    if first is None:
        raise UsageError(f"the film for {path} has no frames: ask for at least one step")
    write, rate = _WRITERS[path.suffix.lower()], Fraction(fps).limit_denominator(1000)
    with written(path) as temporary, plain(temporary) as opened:
        return write(opened, itertools.chain([first], pictures), rate)


def strip(
    frames: Film | Iterable[Images],
    count: int = 8,
    scale: int | None = None,
    contrast: Contrast = "raw",
) -> Picture:
    """A film on one picture: a row an image, and `count` of its frames from left to right.

    Frames are taken evenly, the first and the last among them, of a film of any length, of which no more than
    16 x count are ever held. Images that change their size on the way are resized to their first. Raises
    UsageError for a film without frames.
    """
    at_least(2, count=count)
    kept: list[np.ndarray] = []
    last, every, length = None, 1, 0
    for length, last in enumerate(_cells(frames, scale, contrast), 1):
        if (length - 1) % every == 0:
            kept.append(last)
        if len(kept) == 16 * count:  # every other one is enough
            kept, every = kept[::2], 2 * every
    if last is None:
        raise UsageError(
            "a strip is made of the frames of a film, and this one has none: ask for at least one step"
        )
    if (length - 1) % every:
        kept.append(last)
    chosen = np.stack([kept[i] for i in evenly(len(kept), count)], axis=1)  # image, frame, height, width, colour
    return tiled(chosen.reshape(-1, *chosen.shape[2:]), chosen.shape[1], gap=2)


def sampled(frames: Film | Iterable[Images], indices: Sequence[int]) -> list[Images]:
    """The frames of these numbers, counted from 0; the film is run no further.

    For a still picture of how images form: `comparison({f"step {i}": x for i, x in zip(...)})`. Raises
    UsageError where the film ends before the last of them.
    """
    if not indices or min(indices) < 0:
        raise UsageError(f"frames are sampled by numbers from 0 on, not {list(indices)}")
    kept: dict[int, Images] = {}
    seen = 0
    for seen, frame in zip(range(1, max(indices) + 2), frames, strict=False):
        if seen - 1 in indices:
            kept[seen - 1] = frame
    if max(indices) not in kept:
        raise UsageError(f"the film has {seen} frames: there is no frame {max(indices)}, counted from 0")
    return [kept[i] for i in indices]


def evenly(length: int, count: int) -> list[int]:
    """Choose `count` of a film's `length` frames, evenly, the first and last included."""
    if length < 1 or count < 1:
        raise UsageError(f"cannot choose {count} frames of {length}: both must be at least 1")
    return np.linspace(0, length - 1, min(length, count)).round().astype(int).tolist()


def _cells(frames: Iterable[Images], scale: int | None, contrast: Contrast) -> Iterator[np.ndarray]:
    """The images of every frame as bytes b, h, w, 3, of one size, that of the first."""
    shape: tuple[int, ...] = ()
    for images in frames:
        cells = to_bytes(images, contrast)
        if not shape:
            scale = visible_scale(cells) if scale is None else scale
            shape = (len(cells), cells.shape[1] * scale, cells.shape[2] * scale)
        if len(cells) != shape[0]:
            raise UsageError(f"a film keeps its number of images, but {shape[0]} became {len(cells)} in this one")
        factor, rest = divmod(shape[1], cells.shape[1])
        if rest or (cells.shape[1] * factor, cells.shape[2] * factor) != shape[1:]:
            x = F.interpolate(images.detach().float(), size=shape[1:], mode="bilinear", antialias=True)
            cells, factor = to_bytes(x, contrast), 1
        yield enlarged(cells, factor)


def _write_mp4(path: Path, pictures: Iterator[Picture], fps: Fraction) -> int:
    import av
    from av.video.reformatter import ColorRange, Colorspace

    # Said in the file and done to the frames: players guess otherwise, and colours come out shifted
    space, span = Colorspace.ITU709, ColorRange.MPEG
    stream, count = None, 0
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        for picture in pictures:
            height, width, _ = picture.shape
            # H.264 halves the colours in both directions and so refuses odd sizes
            even = np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
                stream.height, stream.width, stream.pix_fmt = *even.shape[:2], "yuv420p"
                stream.codec_context.colorspace, stream.codec_context.color_range = space, span
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=space, dst_color_range=span)
            container.mux(stream.encode(frame))
            count += 1
        if stream is not None:
            container.mux(stream.encode())
    return count


def _write_gif(path: Path, pictures: Iterator[Picture], fps: Fraction) -> int:
    import av

    first = next(pictures)
    height, width, _ = first.shape
    beat = 1 / min(fps, Fraction(50))  # a GIF counts hundredths of a second, and viewers slow down beyond 50
    painter = _palette_painter(width, height, beat)
    count = 0
    with av.open(str(path), "w", format="gif", options={"loop": "0"}) as container:
        stream = container.add_stream("gif", rate=1 / beat)
        stream.height, stream.width, stream.pix_fmt = height, width, "pal8"
        for picture in itertools.chain([first], pictures, [None]):
            frame = None  # the end of the film
            if picture is not None:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = count, beat
                count += 1
            painter.push(frame)
            with contextlib.suppress(BlockingIOError, EOFError):  # until the painter has no more for now
                while True:
                    container.mux(stream.encode(painter.vpull()))
        container.mux(stream.encode())
    return count


def _palette_painter(width: int, height: int, beat: Fraction) -> "Graph":
    """A filter to 256 colours, chosen for every frame separately, so that no frame is buffered."""
    from av import VideoFormat
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=VideoFormat("rgb24"), time_base=beat)
    both, sink = graph.add("split"), graph.add("buffersink")
    palette = graph.add("palettegen", "stats_mode=single:reserve_transparent=0")
    painted = graph.add("paletteuse", "new=1:dither=sierra2_4a")
    source.link_to(both)
    both.link_to(painted, 0, 0)
    both.link_to(palette, 1, 0)
    palette.link_to(painted, 0, 1)
    painted.link_to(sink)
    graph.configure()
    return graph


def _write_png(path: Path, pictures: Iterator[Picture], _fps: Fraction) -> int:
    path.write_bytes(png(deque(pictures, maxlen=1).pop()))
    return 1


_WRITERS: dict[str, Callable[[Path, Iterator[Picture], Fraction], int]] = {
    ".mp4": _write_mp4,
    ".gif": _write_gif,
    ".png": _write_png,
}
