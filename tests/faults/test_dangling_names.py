"""The fault injection names functions as text: each exists, so that a rename makes no test pass in vain."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


TARGET = re.compile(r"[a-z_]+(?:\.[a-z_]+)*:\w+(?:\.\w+)?")
ROOMS = {
    "activities",
    "agents",
    "baton",
    "interfaces",
    "pathlib",
    "standin",
    "system",
    "workers",
    "workflows",
    "workspaces",
}


def named_functions() -> Iterator[tuple[str, str]]:
    """Yield each text of the tests that names a function as `tests.faults.injection.Moment` does, with its file."""
    for file in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            text = node.value if isinstance(node, ast.Constant) else None
            if isinstance(text, str) and TARGET.fullmatch(text) and re.split(r"[.:]", text)[0] in ROOMS:
                yield text, file.relative_to(TESTS).as_posix()


NAMED = dict(named_functions())


def find(target: str) -> object:
    """Return what a target names. Raises ImportError or AttributeError where it dangles."""
    module, _, path = target.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = inspect.getattr_static(found, name)
    return found


@pytest.mark.parametrize("target", sorted(NAMED))
def test_a_moment_names_a_function_that_is_there(target: str) -> None:
    found = find(target)
    assert callable(getattr(found, "__func__", found)), f"{target}, named in {NAMED[target]}, is no function"


def test_a_name_that_dangles_is_found() -> None:
    assert len(NAMED) > 20
    with pytest.raises(AttributeError):
        find("workspaces.store.store:Store." + "no_such_method")
    with pytest.raises(ImportError):
        find("workspaces.no_such_module:" + "run")
