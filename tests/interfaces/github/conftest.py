"""The example payloads, for the tests beside it."""

from tests.support.github.npm import npm

__all__ = ["npm"]
