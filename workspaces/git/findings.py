"""The report on a store: one finding for each fault, in sentences for the person who decides how to go on."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Kind = Literal[
    "store",
    "object",
    "pack",
    "missing",
    "ref",
    "checkpoint",
    "record",
    "transcript",
    "index",
    "workspace",
    "leftover",
    "stray",
]


@dataclass(frozen=True)
class StoreFinding:
    """One fault of a store or a workspace."""

    kind: Kind
    where: str
    """A path below the home, a ref, or the id of an object."""
    what: str
    """The fault and its consequence, in a sentence."""
    advice: str = ""
    """The remedy, in a sentence."""
    mendable: bool = True
    """Whether `repair` may be able to repair it; False if it certainly is not."""

    @property
    def is_harmless(self) -> bool:
        """Whether all runs can go on in spite of it."""
        return self.kind in ("leftover", "stray", "workspace", "index")


@dataclass
class StoreReport:
    """The findings in one store, and (after `repair`) those that were repaired."""

    repository: str
    path: Path
    refs: int = 0
    findings: list[StoreFinding] = field(default_factory=list)
    mended: list[StoreFinding] = field(default_factory=list)

    @property
    def is_sound(self) -> bool:
        """Whether all findings are harmless to runs."""
        return all(finding.is_harmless for finding in self.findings)

    def of_kinds(self, *kinds: Kind) -> list[StoreFinding]:
        """Return the findings of these kinds."""
        return [finding for finding in self.findings if finding.kind in kinds]
