"""Data access: orders in SQLite. Returns plain records and knows no rules."""

import sqlite3

from orders.models import Order

_SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    customer TEXT NOT NULL,
    total_cents INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'open',
    created_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""


class OrderRepository:
    """Orders in one database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._db.row_factory = sqlite3.Row
        self._db.execute(_SCHEMA)

    def add(self, customer: str, total_cents: int) -> Order:
        """Store a new order and return it."""
        with self._db:
            cursor = self._db.execute(
                "INSERT INTO orders (customer, total_cents) VALUES (?, ?)", (customer, total_cents)
            )
        order = self.get(int(cursor.lastrowid or 0))
        assert order is not None
        return order

    def get(self, order_id: int) -> Order | None:
        """One order, or None."""
        row = self._db.execute("SELECT * FROM orders WHERE id = ?", (order_id,)).fetchone()
        return Order(**dict(row)) if row else None

    def list_all(self) -> list[Order]:
        """All orders, the newest first."""
        rows = self._db.execute("SELECT * FROM orders ORDER BY id DESC").fetchall()
        return [Order(**dict(row)) for row in rows]
