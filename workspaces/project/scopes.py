"""Which paths a role may change: the rules, their answer for a path, and the words for a refusal. Pure.

Whoever asks gives paths as git gives them: relative, with forward slashes. A path that is anything else (absolute, with
`..`, with characters that some disk reads differently) is outside every scope.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from baton.records.run import ROLES
from system.path_patterns import Rules, invert
from workspaces.project.baton_toml import ProjectConfig
from workspaces.project.default_scopes import FRONTEND, PROTECTED, SHARED, TESTS

_DEFAULTS: Mapping[str, Sequence[str]] = {
    "orchestrator": (),
    "backend": ["**", *invert(FRONTEND), *SHARED, *invert(TESTS)],
    "frontend": [*FRONTEND, *SHARED, *invert(TESTS)],
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
    """What one role may change. `custom` holds the patterns where the project's `baton.toml` gives them."""

    role: str
    rules: Rules
    custom: tuple[str, ...] | None = None
    others: Mapping[str, Rules] = field(default_factory=dict)
    """The other roles' rules, to say whose a path is."""

    @property
    def writes(self) -> bool:
        """Whether there is any path that the role may change."""
        return bool(self.rules.patterns)

    def allows(self, path: str) -> bool:
        """Whether the role may change this path."""
        return is_clean(path) and not is_protected(path) and self.rules.match(path)

    def outside(self, paths: Iterable[str]) -> list[str]:
        """Those of the paths that the role may not change, in their order."""
        return [path for path in paths if not self.allows(path)]

    def owner(self, path: str) -> str:
        """Who may change a path, in words for the one who may not."""
        if not is_clean(path):
            return "nobody: it is not a plain relative path"
        if is_protected(path):
            return "nobody but a person"
        owners = [role for role, rules in self.others.items() if rules.match(path)]
        return f"the {' or the '.join(owners)} role" if owners else "none of the roles"

    def refusal(self, path: str) -> str:
        """Why the role may not change a path: what a tool answers."""
        return (
            f"{_shown(path)} is outside your scope and was not changed: it belongs to {self.owner(path)}. "
            f"As {self.role} you may change {self.describe()}."
        )

    def describe(self) -> str:
        """The scope in words, for prompts and refusals."""
        if self.custom is not None:
            return (
                f"only paths that match {', '.join(f'`{pattern}`' for pattern in self.custom)}"
                if self.custom
                else "nothing"
            )
        return _WORDS.get(self.role, "nothing")


def scope_for(role: str, config: ProjectConfig | None = None) -> Scope:
    """The scope of a role in a project; a role that is not known may change nothing."""
    custom = dict(config.scope) if config is not None else {}
    rules = {name: _rules(tuple(custom.get(name, _DEFAULTS[name]))) for name in ROLES}
    own = custom.get(role)
    return Scope(
        role=role,
        rules=rules.get(role, Rules(())),
        custom=tuple(own) if own is not None else None,
        others={name: other for name, other in rules.items() if name != role},
    )


@lru_cache(maxsize=256)
def _rules(patterns: tuple[str, ...]) -> Rules:
    # Making hundreds of expressions takes longer than a whole turn may; a scope is asked for in each.
    return Rules(patterns)


def is_clean(path: str) -> bool:
    """Whether a path means the same on every disk: relative, normal, UTF-8, no name that ends with a dot or space."""
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
    """Whether a path is nobody's to change, however it is spelled (`.GIT`, `.git::$DATA`, `GIT~1`, `.g\u200cit`)."""
    names = [_IGNORABLE.sub("", unicodedata.normalize("NFKC", name)).casefold() for name in path.split("/")]
    names = [name.partition(":")[0].rstrip(". ") for name in names]
    if any(name == ".git" or re.fullmatch(r"git~\d+", name) for name in names):
        return True
    return _PROTECTED.match("/".join(names))


def _shown(path: str) -> str:
    return path if path.isprintable() and len(path) <= 300 else repr(path[:300])


_PROTECTED = Rules([pattern.casefold() for pattern in PROTECTED])
