"""Run the service with its page: `python -m orders`."""

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

from orders.api import Application, StartResponse
from orders.repository import OrderRepository
from orders.service import OrderService

_WEB = Path(__file__).resolve().parent.parent / "web"
_PAGES = {"/": "index.html", "/app.js": "app.js", "/style.css": "style.css"}
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}


def main() -> None:
    """Serve on port 8000 until interrupted."""
    connection = sqlite3.connect("orders.sqlite", check_same_thread=False)
    api = Application(OrderService(OrderRepository(connection)))

    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        page = _PAGES.get(environ.get("PATH_INFO", "/"))
        if page is None:
            return api(environ, start_response)
        file = _WEB / page
        start_response("200 OK", [("Content-Type", _TYPES[file.suffix])])
        return [file.read_bytes()]

    with make_server("127.0.0.1", 8000, application) as server:
        print("http://127.0.0.1:8000")
        server.serve_forever()


if __name__ == "__main__":
    main()
