"""A local stand-in for the Hugging Face Hub: as much of its interface as fetching and pushing a model needs."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

VERSION = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_standin"


class Hub(ThreadingHTTPServer):
    """Models by their names, a file each by its path; and every call that came, as method and path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.models: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()
        self.calls: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@contextmanager
def hub() -> Iterator[Hub]:
    """A stand-in that answers within a with-block."""
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class _Answer(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self._called()
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|tree)/(\w+))?", path):
            name, what, revision = found.groups()
            if self._hidden(name):
                return
            if revision not in (None, "main", VERSION):
                self._send(404, {}, {"X-Error-Code": "RevisionNotFound"})
            elif what == "tree":
                self._send(200, [self._entry(path, data) for path, data in self.server.models[name].items()])
            else:
                files = [{"rfilename": path} for path in self.server.models[name]]
                self._send(200, {"id": name, "sha": VERSION, "siblings": files, "private": False})
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/\w+/(.+)", path):
            name, file = found[1], unquote(found[2])
            if self._hidden(name):
                return
            data = self.server.models[name].get(file)
            if data is None:
                self._send(404, {}, {"X-Error-Code": "EntryNotFound"})
            else:
                tag = hashlib.sha256(data).hexdigest()
                self._send(200, data, {"ETag": f'"{tag}"', "X-Repo-Commit": VERSION, "Accept-Ranges": "bytes"})
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        path = self._called()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send(401, {"error": "Invalid username or password."})
        elif path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            if name in self.server.models:
                self._send(
                    409, {"error": "You already created this model repo", "url": f"{self.server.address}/{name}"}
                )
                return
            self.server.models[name] = {}
            if asked.get("visibility") == "private" or asked.get("private"):
                self.server.private.add(name)
            self._send(200, {"url": f"{self.server.address}/{name}"})
        elif "/preupload/" in path:
            files = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": file, "uploadMode": "regular", "shouldIgnore": False, "oid": None} for file in files]
            self._send(200, {"files": modes})
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.models[found[1]][line["value"]["path"]] = content
            url = f"{self.server.address}/{found[1]}/commit/{VERSION}"
            self._send(200, {"commitUrl": url, "commitOid": VERSION, "success": True})
        elif path == "/api/validate-yaml":
            self._send(200, {"errors": [], "warnings": []})
        else:
            self._send(404, {})

    def _called(self) -> str:
        path = self.path.partition("?")[0]
        self.server.calls.append(f"{self.command} {path}")
        return path

    def _hidden(self, name: str) -> bool:
        """Whether a model is not to be seen, which is answered."""
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        if name in self.server.models and (known or name not in self.server.private):
            return False
        self._send(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return True

    @staticmethod
    def _entry(path: str, data: bytes) -> dict[str, object]:
        return {"type": "file", "path": path, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}

    def _send(self, code: int, content: object, headers: dict[str, str] | None = None) -> None:
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
