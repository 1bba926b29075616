"""The HTTP layer: a thin WSGI application that turns requests into calls of the service."""

import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any

from orders.errors import InvalidInput, NotFound, OrdersError
from orders.service import OrderService

_ORDER_PATH = re.compile(r"/orders/(\d{1,18})")
_MAX_BODY = 64 * 1024

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Application:
    """The WSGI application of the service."""

    def __init__(self, service: OrderService) -> None:
        self._service = service

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request, in one shape, also when it fails."""
        try:
            status, body = self._route(environ)
        except OrdersError as error:
            status = HTTPStatus(error.status)
            body = {"error": {"code": error.code, "message": str(error)}}
        data = json.dumps(body).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        start_response(f"{status.value} {status.phrase}", headers)
        return [data]

    def _route(self, environ: dict[str, Any]) -> tuple[HTTPStatus, dict[str, Any]]:
        method, path = environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/")
        if path == "/orders" and method == "GET":
            return HTTPStatus.OK, {"orders": [order.as_json() for order in self._service.list_orders()]}
        if path == "/orders" and method == "POST":
            body = _read_json(environ)
            order = self._service.create_order(body.get("customer"), body.get("total_cents"))
            return HTTPStatus.CREATED, order.as_json()
        match = _ORDER_PATH.fullmatch(path)
        if match and method == "GET":
            return HTTPStatus.OK, self._service.get_order(int(match[1])).as_json()
        raise NotFound(f"There is no {method} {path}.")


def _read_json(environ: dict[str, Any]) -> dict[str, Any]:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if length > _MAX_BODY:
        raise InvalidInput("The body is too large.")
    try:
        body = json.loads(environ["wsgi.input"].read(length) or b"{}")
    except ValueError as error:
        raise InvalidInput("The body is not JSON.") from error
    if not isinstance(body, dict):
        raise InvalidInput("The body must be an object.")
    return body
