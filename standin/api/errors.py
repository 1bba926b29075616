"""Errors with the types, messages and bodies of the Messages API.

The body is `{"type": "error", "error": {"type", "message", "details"?}, "request_id"}`.
https://docs.claude.com/en/api/errors
"""

from typing import Any

TYPES_BY_STATUS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "invalid_request_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""The error type of a status, unless a fault names another."""

MESSAGES_BY_TYPE = {
    "authentication_error": "invalid x-api-key",
    "billing_error": "Your credit balance is too low to access the Anthropic API.",
    "permission_error": "Your API key does not have permission to use the specified resource.",
    "not_found_error": "Not found",
    "request_too_large": "Request exceeds the maximum size",
    "rate_limit_error": "This request would exceed your organization's rate limit. Please try again later.",
    "api_error": "Internal server error",
    "timeout_error": "Request timed out",
    "overloaded_error": "Overloaded",
    "invalid_request_error": "Invalid request",
}
"""The API's message for a type, if the error has no message of its own."""


class ApiError(Exception):
    """The refusal of a request: status, headers, and the parts of the body of the answer."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        kind: str | None = None,
        error_code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.kind = kind or TYPES_BY_STATUS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        self.message = message if message is not None else MESSAGES_BY_TYPE.get(self.kind, "Error")
        self.error_code = error_code
        self.headers = headers or {}
        super().__init__(self.message)


def invalid_request(message: str) -> ApiError:
    """Return a 400 `invalid_request_error` with this message."""
    return ApiError(400, message)


def error_body(error: ApiError, request_id: str) -> dict[str, Any]:
    """Return the JSON body of an error answer, which is also the data of an `error` event in a stream."""
    inner: dict[str, Any] = {"type": error.kind, "message": error.message}
    if error.error_code is not None:
        inner["details"] = {"error_code": error.error_code}
    return {"type": "error", "error": inner, "request_id": request_id}
