"""Which images this user's own trainings were given: a private note for every run, in the user's cache.

A run's recipe.yaml names the images that it was trained on, and a run may come from somewhere else. Nothing that a
file says opens another place: the images that a recipe names are read unasked only where `remember` has noted, on
this machine and for this user, that a training of this run was given them.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from copyfold.data.reading import cache
from copyfold.errors import CopyfoldError
from copyfold.files import write_text

FOLDER = "runs"


def remember(run: str | os.PathLike[str], recipe: Mapping[str, Any]) -> None:
    """Note that a training of the run in this folder was given the images, and masks, that a recipe names.

    Files on this machine only. Where the cache cannot be written there is no note, and they must be named again.
    """
    for data in (recipe["data"], recipe.get("masks")):
        if isinstance(data, str) and os.path.isabs(data):
            with suppress(CopyfoldError, OSError):
                write_text(_file(run, data), json.dumps(_note(run, data)) + "\n")


def is_remembered(run: str | os.PathLike[str], data: object) -> bool:
    """Whether this user's own training of the run in this folder was given these images, or masks.

    Not of a run that was moved, nor of a link that leads elsewhere by now. The images are not looked at unless
    there is a note.
    """
    if not isinstance(data, str) or not os.path.isabs(data):
        return False
    try:
        note = _file(run, data)
        return note.stat().st_uid == os.getuid() and json.loads(note.read_text()) == _note(run, data)
    except (CopyfoldError, OSError, ValueError):
        return False


def _note(run: str | os.PathLike[str], data: str) -> dict[str, str]:
    """What is noted: where links lead too."""
    return {"run": os.path.realpath(run), "data": data, "where": os.path.realpath(data)}


def _file(run: str | os.PathLike[str], data: str) -> Path:
    """The file of a note."""
    known = json.dumps([os.path.realpath(run), data])
    name = hashlib.blake2b(known.encode(errors="surrogateescape"), digest_size=16).hexdigest()
    return cache.folder() / FOLDER / f"{name}.json"
