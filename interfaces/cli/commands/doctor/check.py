"""The result of one check of `doctor`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Check:
    """One check: its status, the facts, and the remedy."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    advice: str = ""
