"""Pillow's reader of PNG files, for which a long text or colour profile is no reason to refuse a picture.

Pillow refuses a PNG with a compressed text of more than a megabyte, as editors and generators write them, because
a few bytes can be a text of any length. Here such a text is passed over, and a profile is read up to a limit.
"""

import zlib
from typing import Any

from PIL import PngImagePlugin

TEXTS = 4 * 2**20
"""Bytes of texts, decompressed, after which further texts of a file are passed over."""

PROFILE = 16 * 2**20
"""Bytes of the longest colour profile that is kept."""


class Chunks(PngImagePlugin.PngStream):
    """Pillow's reader of the chunks of a PNG, in bounded time and memory whatever the texts are."""

    fp: Any
    spent = 0
    """Bytes of texts so far."""

    def check_text_memory(self, chunklen: int) -> None:
        """Count; Pillow itself refuses the file from some length on."""
        self.spent += chunklen

    def chunk_tEXt(self, pos: int, length: int) -> bytes:
        """A plain text."""
        return self._text(super().chunk_tEXt, pos, length)

    def chunk_zTXt(self, pos: int, length: int) -> bytes:
        """A compressed text."""
        return self._text(super().chunk_zTXt, pos, length)

    def chunk_iTXt(self, pos: int, length: int) -> bytes:
        """A text in UTF-8, compressed or not."""
        return self._text(super().chunk_iTXt, pos, length)

    def chunk_iCCP(self, pos: int, length: int) -> bytes:
        """The colour profile; of several, the first long one counts."""
        start = self.fp.tell()
        try:
            if "icc_profile" not in self.im_info:
                return super().chunk_iCCP(pos, length)
        except ValueError:  # longer than Pillow reads
            inflate = zlib.decompressobj()
            _, _, packed = self._passed(start, length).partition(b"\0")
            profile = inflate.decompress(packed[1:], PROFILE)
            self.im_info["icc_profile"] = None if inflate.unconsumed_tail else profile
        return self._passed(start, length)

    def _text(self, read: Any, pos: int, length: int) -> bytes:
        start = self.fp.tell()
        if self.spent <= TEXTS:
            try:
                return read(pos, length)
            except ValueError:  # longer than Pillow reads: it has decompressed so much of it
                self.spent += PngImagePlugin.MAX_TEXT_CHUNK
        return self._passed(start, length)

    def _passed(self, start: int, length: int) -> bytes:
        """The bytes of a chunk, of which the checksum is to be compared."""
        self.fp.seek(start)
        data = self.fp.read(length)
        if len(data) < length:
            raise OSError("truncated file")
        return data


class Png(PngImagePlugin.PngImageFile):
    """Pillow's PNG image, read by these chunks; nothing of Pillow is changed for others in the process."""

    @property
    def png(self) -> Any:
        """The reader of chunks that is at work."""
        return self._chunks

    @png.setter
    def png(self, stream: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if isinstance(stream, PngImagePlugin.PngStream):
            stream.__class__ = Chunks
        self._chunks = stream
