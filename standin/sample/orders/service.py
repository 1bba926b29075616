"""Business rules of orders."""

from orders.errors import InvalidInput, NotFound
from orders.models import Order
from orders.repository import OrderRepository

MAX_CUSTOMER_LENGTH = 200


class OrderService:
    """What can be done with orders."""

    def __init__(self, repository: OrderRepository) -> None:
        self._repository = repository

    def list_orders(self) -> list[Order]:
        """All orders, the newest first."""
        return self._repository.list_all()

    def get_order(self, order_id: int) -> Order:
        """One order; raises NotFound."""
        order = self._repository.get(order_id)
        if order is None:
            raise NotFound(f"There is no order {order_id}.")
        return order

    def create_order(self, customer: object, total_cents: object) -> Order:
        """Check and store a new order; raises InvalidInput."""
        if not isinstance(customer, str) or not customer.strip():
            raise InvalidInput("customer must be a text that is not empty.")
        if len(customer) > MAX_CUSTOMER_LENGTH:
            raise InvalidInput(f"customer may have {MAX_CUSTOMER_LENGTH} characters at most.")
        if not isinstance(total_cents, int) or isinstance(total_cents, bool) or total_cents < 0:
            raise InvalidInput("total_cents must be a whole number, zero or more.")
        return self._repository.add(customer.strip(), total_cents)
