"""The rules, without HTTP."""

import pytest

from orders.errors import InvalidInput, NotFound


def test_customer_names_are_trimmed(service) -> None:
    assert service.create_order("  Ada ", 100).customer == "Ada"


def test_money_is_whole_cents(service) -> None:
    with pytest.raises(InvalidInput, match="whole number"):
        service.create_order("Ada", 12.5)


def test_an_order_that_is_not_there(service) -> None:
    with pytest.raises(NotFound):
        service.get_order(1)
