"""The API as a caller sees it."""

import pytest


def test_no_orders_yet(client) -> None:
    status, body = client.get("/orders")
    assert status == 200
    assert body["orders"] == []


def test_the_newest_order_comes_first(client, service) -> None:
    for customer in ("Ada", "Grace", "Edsger"):
        service.create_order(customer, 1_200)
    status, body = client.get("/orders")
    assert status == 200
    assert [order["customer"] for order in body["orders"]] == ["Edsger", "Grace", "Ada"]


def test_one_order(client, service) -> None:
    order = service.create_order("Ada", 1_200)
    status, body = client.get(f"/orders/{order.id}")
    assert status == 200
    assert body["customer"] == "Ada"
    assert body["total_cents"] == 1_200
    assert body["status"] == "open"


def test_an_unknown_order(client) -> None:
    status, body = client.get("/orders/7")
    assert status == 404
    assert body["error"]["code"] == "not_found"


def test_an_unknown_path(client) -> None:
    assert client.get("/nothing")[0] == 404


def test_create(client) -> None:
    status, body = client.request("POST", "/orders", {"customer": "Ada", "total_cents": 500})
    assert status == 201
    assert body["id"] == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"customer": "", "total_cents": 1},
        {"customer": "Ada"},
        {"customer": "Ada", "total_cents": -1},
        {"customer": "Ada", "total_cents": True},
        {"customer": "x" * 201, "total_cents": 1},
    ],
)
def test_bad_input_is_refused(client, body) -> None:
    status, answer = client.request("POST", "/orders", body)
    assert status == 400
    assert answer["error"]["code"] == "invalid_input"
