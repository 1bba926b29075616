"""The paths that a role may change: the rules, the decision on a path, and the sentence of a refusal. Pure.

Paths have git's form: relative, with forward slashes. A path of another form (absolute, with `..`, with characters that
some file system reads differently) is outside every scope.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from baton.records.run import ROLES
from system.path_patterns import PathRules, invert_patterns
from workspaces.project.baton_toml import ProjectConfig
from workspaces.project.default_scopes import FRONTEND, PROTECTED, SHARED, TESTS

_DEFAULTS: Mapping[str, Sequence[str]] = {
    "orchestrator": (),
    "backend": ["**", *invert_patterns(FRONTEND), *SHARED, *invert_patterns(TESTS)],
    "frontend": [*FRONTEND, *SHARED, *invert_patterns(TESTS)],
    "tester": TESTS,
    "reviewer": (),
}

_WORDS = {
    "orchestrator": "nothing: you read and plan",
    "backend": "everything except tests and the frontend's files (components, pages, styles, static files, its build "
    "tools)",
    "frontend": "the frontend's files (components, pages, styles, templates, static files, its build tools), not the "
    "backend's code and not tests",
    "tester": "tests, their data and the configuration of the test runner",
    "reviewer": "nothing: you read and judge",
}

# Characters that HFS+ ignores in names: `.g\u200cit` is `.git` there.
# https://github.com/git/git/blob/master/utf8.c (next_hfs_char)
_IGNORABLE = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")
_MAX_PATH = 4_096
_MAX_NAME = 255


@dataclass(frozen=True)
class Scope:
    """The paths that one role may change. `custom` has the patterns of the project's `baton.toml`, if it names any."""

    role: str
    rules: PathRules
    custom: tuple[str, ...] | None = None
    others: Mapping[str, PathRules] = field(default_factory=dict)
    """The other roles' rules, to name the owner of a path."""

    @property
    def can_write(self) -> bool:
        """Whether the role may change any path."""
        return bool(self.rules.patterns)

    def allows_path(self, path: str) -> bool:
        """Whether the role may change this path."""
        return is_clean(path) and not is_protected(path) and self.rules.includes_path(path)

    def paths_outside(self, paths: Iterable[str]) -> list[str]:
        """Return the paths that the role may not change, in their order."""
        return [path for path in paths if not self.allows_path(path)]

    def describe_owner(self, path: str) -> str:
        """Return the owner of a path as part of a sentence."""
        if not is_clean(path):
            return "nobody: it is not a plain relative path"
        if is_protected(path):
            return "nobody but a person"
        owners = [role for role, rules in self.others.items() if rules.includes_path(path)]
        return f"the {' or the '.join(owners)} role" if owners else "none of the roles"

    def explain_refusal(self, path: str) -> str:
        """Return the sentences with which a tool refuses to change a path."""
        return (
            f"{_display_path(path)} is outside your scope and was not changed: it belongs to"
            f" {self.describe_owner(path)}. "
            f"As {self.role} you may change {self.describe_scope()}."
        )

    def describe_scope(self) -> str:
        """Return the scope as text for prompts and refusals."""
        if self.custom is not None:
            return (
                f"only paths that match {', '.join(f'`{pattern}`' for pattern in self.custom)}"
                if self.custom
                else "nothing"
            )
        return _WORDS.get(self.role, "nothing")


def scope_for(role: str, config: ProjectConfig | None = None) -> Scope:
    """Return the scope of a role in a project; an unknown role may change no path."""
    custom = dict(config.scope) if config is not None else {}
    rules = {name: _cached_rules(tuple(custom.get(name, _DEFAULTS[name]))) for name in ROLES}
    own = custom.get(role)
    return Scope(
        role=role,
        rules=rules.get(role, PathRules(())),
        custom=tuple(own) if own is not None else None,
        others={name: other for name, other in rules.items() if name != role},
    )


@lru_cache(maxsize=256)
def _cached_rules(patterns: tuple[str, ...]) -> PathRules:
    # Compiling hundreds of patterns takes longer than a turn may take, and each turn needs a scope.
    return PathRules(patterns)


def is_clean(path: str) -> bool:
    """Whether a path means the same on every file system: relative, normal, UTF-8, no final dots or spaces in names."""
    if not path or len(path) > _MAX_PATH or path.startswith("/") or "\\" in path:
        return False
    try:
        names = path.encode().split(b"/")
    except UnicodeEncodeError:  # a name that is not UTF-8 comes as lone surrogates
        return False
    if any(unicodedata.category(character) == "Cc" for character in path):
        return False
    return all(name and name[-1:] not in (b".", b" ") and len(name) <= _MAX_NAME for name in names)


def is_protected(path: str) -> bool:
    """Whether no role may change a path, in any spelling (`.GIT`, `.git::$DATA`, `GIT~1`, `.g\u200cit`)."""
    names = [_IGNORABLE.sub("", unicodedata.normalize("NFKC", name)).casefold() for name in path.split("/")]
    names = [name.partition(":")[0].rstrip(". ") for name in names]
    if any(name == ".git" or re.fullmatch(r"git~\d+", name) for name in names):
        return True
    return _PROTECTED.includes_path("/".join(names))


def _display_path(path: str) -> str:
    return path if path.isprintable() and len(path) <= 300 else repr(path[:300])


_PROTECTED = PathRules([pattern.casefold() for pattern in PROTECTED])
