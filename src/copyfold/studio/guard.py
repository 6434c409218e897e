"""What reaches the page at all: hosts and origins, the routes that it needs, and the size of requests.

A browser lets every page that a person opens send requests to 127.0.0.1. So a request must name this host (DNS
rebinding does not), and where a browser says which page it is from, that must be the studio's own.
"""

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from copyfold.errors import UsageError
from copyfold.studio import limits

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

ROUTES = re.compile(
    r"/|/(config|theme\.css|favicon\.ico|manifest\.json|robots\.txt)/?|/(assets|static|svelte)/.*"
    r"|/gradio_api/(queue/(join|data)|heartbeat/\w+|upload|upload_progress|startup-events|app_id|cancel|reset"
    r"|theme\.css|file=.*)/?"
)
"""What the page asks for. Of gradio's other routes, some open addresses, and some run what they are given."""

POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; worker-src 'self' blob:; "
    "frame-src 'self' data: blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""The page opens nothing of another machine, and no other page has it in a frame."""

HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class Guard:
    """An ASGI middleware that refuses what is not the studio's own page asking."""

    def __init__(self, app: Any, port: int, uploads: Path) -> None:
        self.app = app
        self.hosts = {f"{name}:{port}" for name in ("127.0.0.1", "localhost")}
        self.origins = {f"http://{host}" for host in self.hosts}
        self.uploads = uploads

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with the reason why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        status, reason = self._refused(scope, headers)
        body = b""
        if not status and scope["method"] == "POST" and not scope["path"].startswith("/gradio_api/upload"):
            status, reason, body = await _read(receive)
            receive = _again(body, receive)
        if status:
            await _answer(send, status, reason)
            return

        async def safe(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        from starlette.requests import ClientDisconnect  # pyright: ignore[reportMissingImports]

        with suppress(ClientDisconnect):  # a page that was closed as it sent something
            await self.app(scope, receive, safe)

    def _refused(self, scope: Scope, headers: dict[str, str]) -> tuple[int, str]:
        """The status and reason of a refusal; 0 where there is none."""
        host, origin, path = headers.get("host", ""), headers.get("origin"), scope["path"]
        if host not in self.hosts:
            return 403, f"this host is not the studio's: open http://{min(self.hosts)}"
        if origin is not None and origin not in self.origins:
            return 403, "this request comes from another page: the studio answers its own alone"
        cross = headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if cross and not (path == "/" and headers.get("sec-fetch-mode") == "navigate"):
            return 403, "this request comes from another page: the studio answers its own alone"
        if scope["method"] not in ("GET", "HEAD", "POST"):
            return 405, "only GET and POST are answered"
        if not ROUTES.fullmatch(path) or "://" in path.removeprefix("/gradio_api/file="):
            return 404, "there is nothing here"
        if scope["method"] == "POST" and path.startswith("/gradio_api/upload"):
            return self._too_large(headers)
        return 0, ""

    def _too_large(self, headers: dict[str, str]) -> tuple[int, str]:
        length = headers.get("content-length", "")
        if not length.isdecimal():
            return 411, "an upload says how long it is"
        if int(length) > limits.TOTAL:
            return 413, f"this is too large: expected at most {limits.TOTAL // 10**6} MB"
        try:
            limits.check_room(self.uploads)
        except UsageError as error:
            return 507, str(error)
        return 0, ""


async def _read(receive: Receive) -> tuple[int, str, bytes]:
    """The body of a request, unless it is too large, or names an address as a file, which would be fetched."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > limits.WORDS:
            return 413, f"this is too large: expected at most {limits.WORDS // 10**6} MB", b""
        if not message.get("more_body"):
            break
    try:
        found = json.loads(body) if body else None
    except (ValueError, RecursionError):
        return 400, "this is no JSON", b""
    if _fetches(found):
        return 403, "a file is uploaded: the studio fetches nothing from an address", b""
    return 0, "", body


def _fetches(value: Any) -> bool:
    """Whether a file is named by an address anywhere in a request."""
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            path = found.get("path")
            if isinstance(path, str) and "://" in path:
                return True
            waiting.extend(found.values())
        elif isinstance(found, list):
            waiting.extend(found)
    return False


def _again(body: bytes, receive: Receive) -> Receive:
    """The body once more, then what else there is to hear: that the browser has gone."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def once() -> Message:
        return messages.pop() if messages else await receive()

    return once


async def _answer(send: Send, status: int, reason: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *HEADERS]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": f"{reason}\n".encode()})
