"""Well-known packages by ecosystem, and the frameworks, databases and test runners that they indicate."""

import tomllib
from collections.abc import Collection, Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

Kind = Literal["framework", "database", "orm", "validation", "authentication", "tests"]
Ecosystem = Literal["python", "node", "go", "rust", "java", "ruby", "php", "dotnet"]


class PackageCatalogue:
    """Package names of one ecosystem with their labels, by kind; an earlier entry takes precedence."""

    def __init__(self, kinds: Mapping[Kind, Mapping[str, str]]) -> None:
        self._kinds = kinds

    def find_labels(self, kind: Kind, names: Collection[str]) -> list[str]:
        """Return the labels of the packages, each once. A key that ends with `*` matches names by prefix."""
        found: dict[str, None] = {}
        for package, label in self._kinds.get(kind, {}).items():
            prefix = package.removesuffix("*")
            if package in names or (prefix != package and any(name.startswith(prefix) for name in names)):
                found[label] = None
        return list(found)

    def find_first(self, kind: Kind, names: Collection[str]) -> str | None:
        """Return the label that takes precedence; None if no package has one."""
        return next(iter(self.find_labels(kind, names)), None)


@cache
def read_catalogue(ecosystem: Ecosystem) -> PackageCatalogue:
    """Return the catalogue of an ecosystem, from `packages.toml`."""
    return PackageCatalogue(_read_data()[ecosystem])


def database_of_image(name: str) -> str | None:
    """Return the database of a container image or of a provider of Prisma; None for others."""
    label: str | None = _read_data()["images"].get(name.lower())
    return label


@cache
def _read_data() -> dict[str, Any]:
    return tomllib.loads(resources.files("agents.detection").joinpath("packages.toml").read_text(encoding="utf-8"))
