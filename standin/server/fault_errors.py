"""The error answers of faults: a status, a usage limit with its reset, a spend limit."""

import math
from datetime import UTC, datetime, timedelta

from standin.api.errors import ApiError
from standin.script.scenario import Fault


def raise_status(fault: Fault, until_reset: timedelta) -> None:
    """Raise the ApiError of a fault; a no-op for a fault without an error answer."""
    headers: dict[str, str] = {}
    if fault.usage_limit is not None:
        reset = datetime.now(UTC) + until_reset
        stamp = math.ceil(reset.timestamp())
        regain = datetime.fromtimestamp(stamp, UTC).strftime("%Y-%m-%d at %H:%M:%S UTC")
        headers = {
            "retry-after": str(max(1, math.ceil(until_reset.total_seconds()))),
            "x-should-retry": "false",
            "anthropic-ratelimit-unified-status": "rejected",
            "anthropic-ratelimit-unified-reset": str(stamp),
        }
        message = f"You have reached your specified API usage limits. You will regain access on {regain}."
        raise ApiError(429, fault.message or message, headers=headers)
    if fault.spend_limit:
        message = "Your organization has crossed the monthly API usage threshold of its tier."
        code = fault.error_code or "enforced_spend_limit_reached"
        raise ApiError(429, fault.message or message, error_code=code, headers={"x-should-retry": "false"})
    if fault.status is None:
        return
    if fault.retry_after is not None:
        headers["retry-after"] = f"{fault.retry_after:g}"
    retry = fault.should_retry
    if retry is None:
        retry = fault.status in (408, 409, 429) or fault.status >= 500
    headers["x-should-retry"] = "true" if retry else "false"
    raise ApiError(fault.status, fault.message, kind=fault.error_type, error_code=fault.error_code, headers=headers)
