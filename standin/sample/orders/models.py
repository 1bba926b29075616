"""What an order is."""

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Order:
    """One order of a customer; money in cents."""

    id: int
    customer: str
    total_cents: int
    status: str
    created_at: str

    def as_json(self) -> dict[str, object]:
        """The order as the API shows it."""
        return asdict(self)
