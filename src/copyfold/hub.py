"""The Hugging Face Hub: fetching and pushing models, only where an address or a command asks for it."""

import logging
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, TypeGuard

from copyfold.errors import CopyfoldError, UsageError, option

log = logging.getLogger("copyfold")

PREFIX = "hf://"
FILES = ("config.json", "model.safetensors", "recipe.yaml", "log.csv", "data.json")
"""What is fetched of a model, and no other file: nothing of it is code."""
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_TAKEN, _FORBIDDEN = 409, (401, 403)  # HTTP: it is there already; not logged in, or not allowed


class Address(NamedTuple):
    """A model on the Hub: hf://owner/name, or hf://owner/name@revision."""

    name: str
    revision: str | None

    @classmethod
    def of(cls, text: str) -> "Address":
        """Read from text. UsageError where it is none."""
        name, _, revision = text.removeprefix(PREFIX).partition("@")
        if not _NAME.fullmatch(name) or (revision == "" and "@" in text):
            raise UsageError(
                f"{text} is not a model on the Hub: expected {PREFIX}owner/name, or {PREFIX}owner/name@revision"
            )
        return cls(name, revision or None)


def is_address(place: object) -> TypeGuard[str]:
    """Whether a place is on the Hub: hf://..."""
    return isinstance(place, str) and place.startswith(PREFIX)


def fetched(address: str, files: Sequence[str] = FILES) -> Path:
    """The folder that has a model of the Hub, in huggingface_hub's cache; what is there is not fetched again.

    It has those of the `files` that the model has. Without the network it is the last version that was fetched.
    UsageError where there is no such model, CopyfoldError where it cannot be fetched.
    """
    from huggingface_hub import snapshot_download

    wanted = Address.of(address)
    log.info("%s: fetching what is not here yet", address)
    with _explained(address):
        folder = Path(snapshot_download(wanted.name, revision=wanted.revision, allow_patterns=[*files]))
    log.info("%s: version %s", address, folder.name[:12])
    return folder


def pushed(folder: Path, name: str, public: bool = False, overwrite: bool = False) -> str:
    """Upload the files of a folder as a model of the Hub, as one commit, and return its page.

    A new one is private unless `public`; of one that is there the files of these names are replaced, where
    `overwrite` allows it, and it stays as private as it was. UsageError where it is there and may not be.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    name, api = Address.of(f"{PREFIX}{name}").name, HfApi()
    with _explained(f"{PREFIX}{name}"):
        try:
            api.create_repo(name, private=not public)
        except HfHubHTTPError as error:
            if error.response.status_code != _TAKEN:
                raise
            if not overwrite:
                raise UsageError(
                    f"{PREFIX}{name} is there already: give another name, or {option('overwrite', True)} for "
                    "a new version of it"
                ) from None
        api.upload_folder(folder_path=folder, repo_id=name, commit_message="Pushed by copyfold")
    return f"{api.endpoint}/{name}"


@contextmanager
def _explained(address: str) -> Generator[None]:
    """Raise errors of huggingface_hub again in one line that says what to do; without its progress bars."""
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    drawn = not are_progress_bars_disabled()
    disable_progress_bars()
    try:
        yield
    except CopyfoldError:
        raise
    except RevisionNotFoundError:
        raise UsageError(f"{address} has no such revision: see its page for its versions") from None
    except HFValidationError as error:
        raise UsageError(f"{address} is not a model on the Hub: {_line(error)}") from None
    except (RepositoryNotFoundError, LocalTokenNotFoundError):
        raise UsageError(
            f"{address} is not on the Hub, or is private: see that the name is right, and log in with "
            "hf auth login"
        ) from None
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        cause = error.__cause__ or error
        offline = "HF_HUB_OFFLINE is set" if isinstance(cause, OfflineModeIsEnabled) else _line(cause)
        raise CopyfoldError(
            f"{address} cannot be reached ({offline}): see that the network is there, and try again"
        ) from None
    except HfHubHTTPError as error:
        forbidden = error.response.status_code in _FORBIDDEN
        advice = "log in with hf auth login, as one who may do this" if forbidden else "try again later"
        raise CopyfoldError(f"{address}: the Hub answers {_line(error)}; {advice}") from None
    except Exception as error:  # of the network, by the names of the library that makes the calls; or of a disk
        raise CopyfoldError(f"{address} cannot be reached, or not be kept: {_line(error)}") from error
    finally:
        if drawn:
            enable_progress_bars()


def _line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
