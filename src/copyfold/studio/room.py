"""Temporary files: a folder for every visitor, swept when the visitor leaves, at the end, and at the start."""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

BEGIN = "copyfold-studio"


class Room:
    """The temporary folder of one studio process: `uploads` for what comes in, a folder for each session."""

    def __init__(self) -> None:
        sweep()
        self.folder: Path = Path(tempfile.mkdtemp(prefix=f"{BEGIN}-{os.getpid()}-"))
        self.uploads = self.folder / "uploads"
        self.uploads.mkdir()

    def of(self, session: str | None) -> Path:
        """The folder of a session, which no other session is shown; made when it is first needed."""
        name = hashlib.blake2b((session or "").encode(), digest_size=16).hexdigest()
        folder = self.folder / name
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def forget(self, session: str | None) -> None:
        """Delete what a session had."""
        shutil.rmtree(self.of(session), ignore_errors=True)

    def close(self) -> None:
        """Delete everything."""
        shutil.rmtree(self.folder, ignore_errors=True)


def sweep() -> None:
    """Delete the folders of this user's studios that are no more, as one that was killed leaves."""
    for folder in Path(tempfile.gettempdir()).glob(f"{BEGIN}-*-*"):
        process = folder.name.removeprefix(f"{BEGIN}-").partition("-")[0]
        if process.isdecimal() and not folder.is_symlink() and folder.stat().st_uid == os.getuid():
            try:
                os.kill(int(process), 0)
            except ProcessLookupError:
                shutil.rmtree(folder, ignore_errors=True)
            except OSError:  # it belongs to someone else by now
                continue
