"""A real Git LFS server with a password, for `git lfs` to talk to: the batch API with basic transfers, on a directory.

https://github.com/git-lfs/git-lfs/blob/main/docs/api/batch.md
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.support.git_over_http import PASSWORD, USER

_BATCH = re.compile(r"/[^/]+\.git/info/lfs/objects/batch")
_OBJECT = re.compile(r"/objects/([0-9a-f]{64})")
_JSON = "application/vnd.git-lfs+json"


@dataclass
class LfsServer:
    """What a test sees of it."""

    port: int
    objects: Path
    requests: list[str] = field(default_factory=list)
    """Method and path of each."""

    def url(self, user: str = f"{USER}@", name: str = "project.git") -> str:
        """The address of a repository there."""
        return f"http://{user}127.0.0.1:{self.port}/{name}"

    def held(self) -> set[str]:
        """The ids of the objects that it holds."""
        return {path.name for path in self.objects.iterdir()}


@contextmanager
def serving_lfs(directory: Path) -> Iterator[LfsServer]:
    """Serve LFS objects out of a directory on a free port."""
    directory.mkdir(exist_ok=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    held = LfsServer(server.server_address[1], directory)
    server.RequestHandlerClass = _handler(held)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(held: LfsServer) -> type[BaseHTTPRequestHandler]:
    wanted = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Nothing on the test's stderr."""

        def do_GET(self) -> None:
            found = _OBJECT.fullmatch(self.path)
            if self._allowed() and found:
                path = held.objects / found[1]
                self._answer(200, path.read_bytes()) if path.exists() else self._answer(404)

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            found = _OBJECT.fullmatch(self.path)
            if self._allowed() and found:
                assert hashlib.sha256(data).hexdigest() == found[1]
                (held.objects / found[1]).write_bytes(data)
                self._answer(200)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not self._allowed():
                return
            if not _BATCH.fullmatch(self.path):
                self._answer(404, b'{"message": "no such thing"}')
                return
            asked = json.loads(body)
            objects = [self._object(asked["operation"], one) for one in asked["objects"]]
            self._answer(200, json.dumps({"transfer": "basic", "objects": objects}).encode())

        def _object(self, operation: str, one: dict[str, Any]) -> dict[str, Any]:
            there = (held.objects / one["oid"]).exists()
            if operation == "download" and not there:
                return {**one, "error": {"code": 404, "message": "there is no such object"}}
            if operation == "upload" and there:
                return one
            href = f"http://127.0.0.1:{held.port}/objects/{one['oid']}"
            return {**one, "actions": {operation: {"href": href, "header": {"Authorization": wanted}}}}

        def _allowed(self) -> bool:
            held.requests.append(f"{self.command} {self.path}")
            if self.headers.get("Authorization") == wanted:
                return True
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="lfs"')
            self.send_header("LFS-Authenticate", 'Basic realm="lfs"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False

        def _answer(self, status: int, body: bytes = b"") -> None:
            self.send_response(status)
            self.send_header("Content-Type", _JSON)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
