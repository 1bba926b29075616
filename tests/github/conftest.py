"""The npm packages, for the tests beside it."""

from tests.github.npm import npm

__all__ = ["npm"]
