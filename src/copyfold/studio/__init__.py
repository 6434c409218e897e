"""The studio: copyfold in a browser, on this machine alone.

The page starts the commands of the command line as processes, and shows what they make. Its forms are derived from
the same signatures as the flags. gradio is imported here and nowhere else.
"""

import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from copyfold.errors import UsageError

if TYPE_CHECKING:
    from copyfold.studio.paths import Root
    from copyfold.studio.room import Room

HOST = "127.0.0.1"
VISITORS = 200
"""Actions that wait in gradio's own queue, of all visitors."""


@contextmanager
def served(root: str | os.PathLike[str] = ".", port: int = 7860) -> Generator[str]:
    """Serve the studio of a folder within a with-block; gives its address. UsageError where that is not possible.

    Temporary files are deleted at the end. A training that runs goes on.
    """
    os.environ.update(GRADIO_ANALYTICS_ENABLED="False", HF_HUB_OFFLINE="1", GRADIO_SSR_MODE="False")
    from copyfold.studio.paths import Root
    from copyfold.studio.room import Room

    here, room = Root(root), Room()
    os.environ["GRADIO_TEMP_DIR"] = str(room.uploads)
    former = Path.cwd()
    os.chdir(here.folder)  # the commands that are shown are those of the root
    try:
        yield from _served(here, room, port)
    finally:
        os.chdir(former)
        room.close()


def _served(root: "Root", room: "Room", port: int) -> Generator[str]:
    import torch
    from PIL import Image
    from starlette.middleware import Middleware  # pyright: ignore[reportMissingImports]

    from copyfold.studio import limits
    from copyfold.studio.context import Studio
    from copyfold.studio.desk import Desk
    from copyfold.studio.guard import Guard
    from copyfold.studio.page import page, theme
    from copyfold.studio.trainings import Trainings

    torch.set_num_threads(1)  # of what the page itself computes: the rest is a command's
    Image.MAX_IMAGE_PIXELS = limits.PIXELS // 2  # Pillow refuses twice as many, where gradio opens an image
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    trainings = Trainings(root.folder)
    try:
        blocks = page(Studio(root, room, Desk(root.folder), trainings))
        blocks.queue(max_size=VISITORS)
        guard = Middleware(Guard, port=port, uploads=room.folder)  # pyright: ignore[reportArgumentType]
        try:
            blocks.launch(
                server_name=HOST,
                server_port=port,
                share=False,
                ssr_mode=False,
                allowed_paths=[],
                max_file_size=limits.FILE,
                prevent_thread_lock=True,
                quiet=True,
                show_error=False,
                enable_monitoring=False,
                mcp_server=False,
                footer_links=[],
                theme=theme(),
                css_paths=Path(__file__).with_name("look.css"),
                app_kwargs={"middleware": [guard]},
            )
        except OSError:
            raise UsageError(f"--port {port} is in use: give another, or 0 for any that is free") from None
        try:
            yield f"http://{HOST}:{port}/"
        finally:
            blocks.close(verbose=False)
    finally:
        trainings.close()
