"""What the tabs share: the root, the temporary files, the queues, and what a visitor has chosen."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from copyfold.errors import CopyfoldError
from copyfold.studio.answers import Answer, Hint, Show
from copyfold.studio.desk import Desk
from copyfold.studio.paths import Root
from copyfold.studio.room import Room
from copyfold.studio.trainings import Trainings

CHEAP: dict[str, Any] = {"concurrency_id": "cheap", "concurrency_limit": 8, "api_visibility": "private"}
"""Of actions that take a moment: they never wait for heavy ones."""

HEAVY: dict[str, Any] = {"concurrency_id": "heavy", "concurrency_limit": 24, "api_visibility": "private"}
"""Of those that take their turn at the desk, which tells the rest that it is full."""


@dataclass
class Studio:
    """One studio, and the components that every tab uses."""

    root: Root
    room: Room
    desk: Desk
    trainings: Trainings
    run: Any = field(init=False)
    """The run that is chosen, by its name below the root."""
    photos: Any = field(init=False)
    """The images that are chosen: a path, or "" for none. A visitor's own; the browser cannot set it."""

    def follow(
        self, answer: Answer, request: gr.Request, make: Any, show: Show, count: int, hint: Hint | None = None
    ) -> Iterator[list[Any]]:
        """Answer an action by a command; `hint` is what may help after an error."""
        return answer.follow(make, self.desk, self.mine(request), show, count, hint)

    def mine(self, request: gr.Request) -> Path:
        """The folder of a visitor's temporary files."""
        return self.room.of(request.session_hash)

    def runs(self) -> list[str]:
        """The runs that can be chosen, those in the queue too, which may have no folder yet."""
        queued = [job.run for job in reversed(self.trainings.jobs()) if self.trainings.state(job) != "failed"]
        return list(dict.fromkeys([*self.root.runs(), *queued]))

    def given(self, photos: str) -> list[str]:
        """The images of a command, as a word; none where none are chosen."""
        return [self.root.name(photos)] if photos else []

    def which(self, own: str, photos: str) -> list[str]:
        """The images that a command is used with: none for a run's own, else those that are chosen."""
        if own == OWN:
            return []
        if not photos:
            raise CopyfoldError("no photos are chosen: choose some in Photos, or take the run's own")
        return self.given(photos)


OWN, CHOSEN = "the run's own images", "the photos chosen in Photos"


def which_images(label: str = "Images") -> Any:
    """The choice between a run's own images and those that are chosen."""
    choices: Sequence[str] = (OWN, CHOSEN)
    return gr.Radio(choices, value=OWN, label=label)
