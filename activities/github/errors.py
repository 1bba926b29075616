"""The errors of gidgethub and the HTTP client as Baton's own; `to_application_error` makes ApplicationErrors of those.

https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import httpx2
from gidgethub import GitHubBroken, GitHubException, HTTPException, RedirectionException

from baton.errors import GitHubAway, GitHubDenied, GitHubError, GitHubRefused
from baton.github.app import RENEW
from baton.policies import MAX_RATE_LIMIT_WAIT, MIN_RATE_LIMIT_WAIT
from baton.text.redaction import Redactor

_LIMITED = re.compile(r"rate limit|abuse detection", re.IGNORECASE)
# 403 that no other credential would change: the item itself accepts no writes.
_CLOSED = re.compile(r"locked|archived|read-only|blocked|disabled", re.IGNORECASE)


@contextmanager
def translate_errors(doing: str, redact: Redactor) -> Iterator[None]:
    """Raise Baton's errors instead of those of the libraries. `doing` names the operation, as in `reading issue 12`."""
    try:
        yield
    except HTTPException as error:
        raise _of_answer(doing, error, redact) from None
    except GitHubException as error:
        raise GitHubRefused(
            f"GitHub's answer to {doing} cannot be used: {redact(str(error))[:300]}", status=0
        ) from None
    except httpx2.HTTPError as error:
        raise GitHubAway(f"GitHub is unreachable ({doing}): {_transport_reason(error)}.") from None
    except ValueError:
        # A proxy answers for an unreachable GitHub with a body that is not the JSON that its header names.
        raise GitHubAway(f"GitHub's answer to {doing} is not JSON.") from None


def _of_answer(doing: str, error: HTTPException, redact: Redactor) -> GitHubError:
    status = int(error.status_code)
    said = redact(" ".join(str(error).split()))[:300]
    where = f"{doing}: HTTP {status}, {said}"
    if isinstance(error, GitHubBroken) or status == 408:
        return GitHubAway(f"GitHub is in trouble ({where}).")
    if status in (403, 429):
        wait = _asked_wait(error, said, certainly=status == 429)
        if wait is not None:
            return GitHubAway(f"GitHub's rate limit is reached ({where}).", retry_after=wait)
    if isinstance(error, RedirectionException):
        return GitHubRefused(f"The repository was renamed or moved ({where}).", status=status)
    if status == 401:
        return GitHubDenied(f"GitHub does not accept our credential ({where}): {RENEW}.")
    if status == 403 and not _CLOSED.search(said):
        return GitHubDenied(f"GitHub does not allow us this ({where}): {RENEW}.")
    return GitHubRefused(f"GitHub refused {where}.", status=status)


def _asked_wait(error: HTTPException, said: str, *, certainly: bool) -> timedelta | None:
    """Return the time until a rate limit resets; None if the answer is not about a rate limit."""
    headers = error.headers
    seconds: float | None = None
    try:
        if "retry-after" in headers:
            seconds = float(headers["retry-after"])
        elif headers.get("x-ratelimit-remaining") == "0":
            seconds = float(headers["x-ratelimit-reset"]) - datetime.now(UTC).timestamp()
    except (KeyError, ValueError):
        pass
    if seconds is None:
        return MIN_RATE_LIMIT_WAIT if certainly or _LIMITED.search(said) else None
    # One second more, because clocks differ.
    return min(max(timedelta(seconds=seconds), timedelta(0)) + timedelta(seconds=1), MAX_RATE_LIMIT_WAIT)


def _transport_reason(error: httpx2.HTTPError) -> str:
    if isinstance(error, httpx2.TimeoutException):
        return "it took too long"
    return " ".join(str(error).split())[:200] or type(error).__name__
