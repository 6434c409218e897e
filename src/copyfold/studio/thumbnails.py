"""A few images of a source, small, for the page: decoded one at a time, and only those that are shown."""

import base64
import html
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from copyfold.data.reading.decoding import Refused, flatten
from copyfold.data.reading.opening import recognise
from copyfold.data.sampling import stratified
from copyfold.files import readable
from copyfold.pictures import Picture
from copyfold.studio.limits import PIXELS

SIDE = 112
SHOWN = 24
KINDS = {b"\xff\xd8": "jpeg", b"GIF": "gif"}


def thumbnails(source: str | Path | None, most: int = SHOWN) -> str:
    """Some images of a source, spread evenly, each under its name, as HTML. What cannot be read is left out."""
    with recognise(None if source is None else str(source), None, alone=True) as opened:
        names = opened.listing().names
        figures = [
            _figure(small, names[index])
            for index in stratified(len(names), min(most, len(names)))
            if (small := _small(opened, int(index))) is not None
        ]
    more = f'<p class="facts">{len(figures)} of {len(names):,} images</p>' if len(names) > len(figures) else ""
    return f'<div class="thumbs">{"".join(figures)}</div>{more}'


def picture(found: "Picture | Image.Image | bytes", caption: str, wide: bool = False) -> str:
    """A picture as HTML, with its caption."""
    if isinstance(found, bytes):
        data = found
    else:
        data = _encoded(found if isinstance(found, Image.Image) else Image.fromarray(found), "PNG")
    text = html.escape(readable(caption))
    kind = ' class="wide"' if wide else ""
    shown = f'<img src="data:image/{_kind(data)};base64,{base64.b64encode(data).decode()}" alt="{text}">'
    return f"<figure{kind}>{shown}<figcaption>{text}</figcaption></figure>"


def _figure(small: Image.Image, name: str) -> str:
    return picture(_encoded(small, "JPEG"), Path(name).name)


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, quality=88)
    return buffer.getvalue()


def _kind(data: bytes) -> str:
    """Of an encoded picture, as the browser is told."""
    return next((name for begin, name in KINDS.items() if data.startswith(begin)), "png")


def _small(source: Any, index: int) -> Image.Image | None:
    try:
        found = source.header(index)
        if found.width * found.height > PIXELS:
            return None
        given = source.read(index, SIDE)
        image = (
            given
            if isinstance(given, Image.Image)
            else Image.fromarray(_bytes(np.asarray(getattr(given, "array", given))))
        )
        image = flatten(image, 3)
    except (Refused, ValueError, TypeError):  # numbers that are no picture have no thumbnail
        return None
    scale = SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(size, Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST)


def _bytes(values: np.ndarray) -> np.ndarray:
    """Numbers as bytes, from 0 to the largest."""
    values = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    if values.dtype == np.uint8:
        return values
    top = float(np.nanmax(values)) or 1.0
    return np.nan_to_num(np.clip(values / top, 0, 1) * 255).astype(np.uint8)
