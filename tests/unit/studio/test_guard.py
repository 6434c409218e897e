"""What reaches the page: its own requests, and no other page's."""

import asyncio
import json

import pytest

from copyfold.studio import limits
from copyfold.studio.guard import Guard

pytest.importorskip("starlette")

PORT = 7899
OWN = {"host": f"127.0.0.1:{PORT}"}


def asked(tmp_path, method="GET", path="/", headers=None, body=b"", pieces=1):
    """The status and text of an answer; the app behind the guard answers 200 with the body that it got."""

    async def app(scope, receive, send):
        got = b""
        while method == "POST":
            message = await receive()
            got += message.get("body", b"")
            if not message.get("more_body"):
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": got})

    size = -(-len(body) // pieces) or 1
    parts = [body[k : k + size] for k in range(0, len(body), size)] or [b""]
    waiting = [{"type": "http.request", "body": part, "more_body": part is not parts[-1]} for part in parts]
    sent = []

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    given = [(k.encode(), v.encode()) for k, v in (OWN | (headers or {})).items()]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    asyncio.run(Guard(app, PORT, tmp_path)(scope, receive, send))
    return sent[0]["status"], sent[1]["body"], dict(sent[0]["headers"])


@pytest.mark.parametrize("host", [f"127.0.0.1:{PORT}", f"localhost:{PORT}"])
def test_its_own_page(tmp_path, host):
    status, _, headers = asked(tmp_path, headers={"host": host, "origin": f"http://{host}"})
    assert status == 200
    assert b"frame-ancestors 'none'" in headers[b"content-security-policy"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7899", "127.0.0.1", "127.0.0.1:80", "0.0.0.0:7899", ""]
)
def test_rebinding_is_refused(tmp_path, host):
    assert asked(tmp_path, headers={"host": host})[0] == 403


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "https://127.0.0.1:7899", "http://127.0.0.1:7898"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_other_origins_are_refused(tmp_path, origin, method):
    headers = {"origin": origin}
    assert asked(tmp_path, method, "/gradio_api/queue/join", headers, b"{}")[0] == 403


def test_what_another_page_sends_without_an_origin(tmp_path):
    cross = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert asked(tmp_path, path="/gradio_api/file=/tmp/a.png", headers=cross)[0] == 403
    assert asked(tmp_path, headers={"sec-fetch-site": "same-site"})[0] == 403
    followed = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert asked(tmp_path, headers=followed)[0] == 200  # a link to the page is no harm
    assert asked(tmp_path, path="/config", headers=followed)[0] == 403


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://a.hf.space/", "/gradio_api/file=https://example.org/a", "/gradio_api/vibe-code",
        "/monitoring", "/gradio_api/call/x", "/gradio_api/run/x", "/gradio_api/info", "/dev/reload", "/login",
        "/gradio_api/component_server", "/gradio_api/process_recording", "/gradio_api/queue/join/../../x",
    ],
)  # fmt: skip
def test_routes_that_the_page_does_not_need(tmp_path, path):
    assert asked(tmp_path, path=path)[0] == 404
    assert asked(tmp_path, "POST", path, body=b"{}")[0] == 404


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods(tmp_path, method):
    assert asked(tmp_path, method)[0] == 405


@pytest.mark.parametrize(
    "path", ["http://169.254.169.254/", "https://example.org/a.png", "HTTP://example.org", "file:///etc/passwd"]
)
def test_nothing_is_fetched_from_an_address(tmp_path, path):
    said = {"data": [[{"path": path, "meta": {"_type": "gradio.FileData"}}]]}
    body = json.dumps(said).replace("h", "\\u0068", 1).encode()
    assert asked(tmp_path, "POST", "/gradio_api/queue/join", body=body)[0] == 403


def test_an_upload_is_named_by_its_path(tmp_path):
    said = {"data": [{"path": "/tmp/x/a.png", "url": f"http://127.0.0.1:{PORT}/gradio_api/file=/tmp/x/a.png"}]}
    body = json.dumps(said).encode()
    assert asked(tmp_path, "POST", "/gradio_api/queue/join", body=body, pieces=3)[:2] == (200, body)


def test_requests_have_a_size(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "WORDS", 100)
    assert asked(tmp_path, "POST", "/gradio_api/queue/join", body=b'"' + b"x" * 200 + b'"', pieces=5)[0] == 413
    assert asked(tmp_path, "POST", "/gradio_api/queue/join", body=b"[" * 90)[0] == 400


def test_uploads_have_a_size(tmp_path, monkeypatch):
    upload = "/gradio_api/upload"
    assert asked(tmp_path, "POST", upload)[0] == 411
    assert asked(tmp_path, "POST", upload, {"content-length": str(limits.TOTAL + 1)})[0] == 413
    assert asked(tmp_path, "POST", upload, {"content-length": "3"}, b"abc")[:2] == (200, b"abc")
    (tmp_path / "a").write_bytes(bytes(1000))
    monkeypatch.setattr(limits, "KEPT", 500)
    assert asked(tmp_path, "POST", upload, {"content-length": "3"}, b"abc")[0] == 507
