"""A service on an empty database in memory, and a client that speaks WSGI to it."""

import io
import json
import sqlite3
from collections.abc import Iterator
from typing import Any

import pytest

from orders.api import Application
from orders.repository import OrderRepository
from orders.service import OrderService


class Client:
    """Sends requests to the application without a network."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def request(self, method: str, target: str, body: object = None) -> tuple[int, dict[str, Any]]:
        """The status and the JSON body of the answer."""
        path, _, query = target.partition("?")
        data = b"" if body is None else json.dumps(body).encode()
        environ = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": str(len(data)),
            "wsgi.input": io.BytesIO(data),
        }
        statuses: list[str] = []
        answer = b"".join(self._application(environ, lambda status, headers: statuses.append(status)))
        return int(statuses[0].split()[0]), json.loads(answer)

    def get(self, target: str) -> tuple[int, dict[str, Any]]:
        """A GET request."""
        return self.request("GET", target)


@pytest.fixture
def repository() -> Iterator[OrderRepository]:
    connection = sqlite3.connect(":memory:")
    yield OrderRepository(connection)
    connection.close()


@pytest.fixture
def service(repository: OrderRepository) -> OrderService:
    return OrderService(repository)


@pytest.fixture
def client(service: OrderService) -> Client:
    return Client(Application(service))
