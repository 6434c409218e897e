"""What a command found: a table, and the page beside it."""

from pathlib import Path
from typing import Protocol


class Table(Protocol):
    """What is found of images, a row each."""

    def save(self, path: str | Path) -> Path:
        """Write the table, and return its path."""
        ...


def save(found: Table, out: Path, page: str) -> None:
    """Write the table and its page, made before as it takes its time: no table is left with an older page."""
    from copyfold.files import write_text

    beside = out.with_suffix(".html")
    print(found.save(out))
    write_text(beside, page)
    print(beside)
