"""Paths as text: any name can be shown, kept as JSON, and read back."""

import json
import os

import pytest

from baton.records.left_out import IGNORED, group_by_name, is_minor, read_path, show_path
from baton.text.truncation import bullet_list, cut_beginning, cut_item, cut_text, first_items, join_names


@pytest.mark.parametrize(
    "name",
    [
        b"src/app.py",
        "gr\u00fc\u00dfe/\u00fcber.txt".encode(),
        b"caf\xe9.txt",
        b"\xff\xfe/\x80",
        b'say "hi".txt',
        b"back\\slash",
        b"\\351",
        b"line\nend\ttab\rreturn",
        b"\x1b[31mred",
        b'"quoted"',
        b'"',
        "zero\u200bwidth \u202egnp.exe".encode(),
    ],
)
def test_a_path_is_shown_so_that_it_can_be_read_back(name: bytes) -> None:
    path = os.fsdecode(name)
    shown = show_path(path)
    assert shown.isprintable()
    assert json.loads(json.dumps(shown).encode()) == shown
    assert shown.encode()
    assert os.fsencode(read_path(shown)) == name


def test_plain_paths_are_shown_as_they_are() -> None:
    assert show_path("src/a b/ünï.py") == "src/a b/ünï.py"
    assert show_path(os.fsdecode(b"caf\xe9.txt")) == '"caf\\351.txt"'


def test_what_is_not_named_is_counted() -> None:
    names = [f"f{number}" for number in range(30)]
    assert join_names(names).endswith("f19 and 10 more")
    assert join_names(names, 2, more=5) == "f0, f1 and 33 more"
    assert join_names(["a"], more=0) == "a"
    assert bullet_list(names).splitlines()[-1] == "- and 10 more"
    assert "more characters" not in cut_item("x" * 400)
    assert cut_item("x" * 1_000) == "x" * 373 + "[... 627 characters more]"
    assert len(cut_text("x" * 10**6, 50)) <= 50
    assert cut_beginning("x" * 1_000, 100) == "[... 929 characters before]" + "x" * 71
    assert first_items(["a", "b", "c"], 2) == ["a", "b", "and 1 more"]


def test_caches_are_known_by_their_names_and_only_where_the_project_ignores_them() -> None:
    assert is_minor("a/__pycache__/", IGNORED)
    assert is_minor("web/node_modules/", IGNORED)
    assert is_minor("a/b.pyc", IGNORED)
    assert not is_minor("build/", IGNORED)
    assert not is_minor(".env", IGNORED)
    assert not is_minor("node_modules/big.bin", "large")
    assert group_by_name(["a/__pycache__/", "b/__pycache__/", ".venv/"]) == [".venv/", "__pycache__/ (in 2 places)"]
