"""Errors that a caller can be told about; each knows its HTTP status."""


class OrdersError(Exception):
    """Root of all errors of this service."""

    status = 500
    code = "internal"


class InvalidInput(OrdersError):
    """What the caller sent does not fit."""

    status = 400
    code = "invalid_input"


class NotFound(OrdersError):
    """There is no such thing."""

    status = 404
    code = "not_found"
