"""Open the studio: train, look, make, repair and find in the browser, on this machine alone.

The page works in one folder, --root: photos are taken from below it, and runs are written there, as by the command
line. Only this machine can open the page. A training goes on when the page or the studio is closed, and the studio
finds it again. It needs `pip install copyfold[studio]`. Ctrl+C ends it.
"""

import signal
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from types import FrameType

from copyfold.cli import _imports, _parsing
from copyfold.errors import UsageError
from copyfold.files import absolute

MOST = 65_535


def command(arguments: Sequence[str]) -> int:
    """Serve the page until a signal ends it."""
    parser = _parsing.parser("studio", __doc__)
    parser.add_argument("--port", type=int, default=7860, help="The port of the page; 0 for any that is free.")
    parser.add_argument("--root", type=str, default=".", help="The folder of photos and runs.")
    options = _parsing.parse(parser, arguments)
    if not 0 <= options.port <= MOST:
        raise UsageError(f"--port {options.port} is invalid: expected a number from 0 to {MOST}")
    if find_spec("gradio") is None:
        raise UsageError("the studio needs gradio, which is not installed: pip install copyfold[studio]")
    _imports.given[:] = [str(absolute(name)) if name.endswith(".py") else name for name in _imports.given]
    from copyfold.studio import served

    def ended(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGINT, ended)  # also where a shell started it in the background
    with served(options.root, options.port or _free()) as address:
        print(f"the studio is at {address}; Ctrl+C ends it", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("the studio is closed; a training that was running goes on", flush=True)
    return 0


def _free() -> int:
    """A port that is free."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
