"""Path patterns mean what they mean to git, and take linear time whoever wrote pattern and path."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from system.path_patterns import PathPattern, PathRules
from tests.support.growth import assert_linear


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(directory)], check=True)
    return directory


@pytest.mark.parametrize(
    "pattern",
    ["", "!", "/", "  ", "#a", "!!a", "a\\b", "../a", "a/../b", "./a", "a\0", "a\n", " a", "a ", "a" * 301,
     "\u202ea", "[z-a]", "a[b", "a**", "**b/c", "a/**/"],
)  # fmt: skip
def test_patterns_that_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="The pattern"):
        PathRules([pattern])


def test_the_time_for_a_hostile_path_grows_with_its_length() -> None:
    patterns = ["*a*a*a*a*a/**/*a*a*b/**/x*y*z", "**/*a*a*a*a*a*a*b/**/*a*c/**/d", "?*" * 100 + "b", "**/" * 60 + "b"]
    rules = PathRules(patterns)
    for path in (
        lambda n: "a" * n,
        lambda n: "/".join(["a" * 63] * (n // 4)),
        lambda n: "/".join("a" * 8 * n),
        lambda n: "a/" * 8 * n + "ab",
    ):
        assert_linear(rules.includes_path, path(125), path(250))


NAMES = st.sampled_from(
    ["**", "*", "a", "?", "b*", "*a*b", "[ab]", "[!a]", "[^b]c", "[]a]", "[+-9]", "[a-c]*", "*[*]*", "[a-]", "[!]b]*"]
)
FOREIGN = st.sampled_from(["a**b", "\\*", "\\a?", "[\\]a]", "[\\-b]", "[--a]", "*\\]*", "[a\\]b"])
"""Names that only a `.gitignore` may hold."""
PATHS = st.lists(st.text(alphabet="abc]-*", min_size=1, max_size=4), min_size=1, max_size=5).map("/".join)


@given(
    st.lists(NAMES | FOREIGN, min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
    st.booleans(),
    st.lists(PATHS, min_size=30),
)
@example(["[a\\]b", "[ab]"], "", False, ["]", "a", "b/a", "[a]b/a", "]/b", "a]b/a"])
@example(["[a\\]b", "**", "a**b", "[--a]"], "", True, ["a/c", "b/c", "-/c", "]/c", "[/c", "c/c"])
@settings(max_examples=50, deadline=None)  # of 30 paths and more each
def test_patterns_mean_what_they_mean_to_git(
    repository: Path, names: list[str], start: str, directory: bool, paths: list[str]
) -> None:
    text = start + "/".join(names) + ("/" if directory and names[-1] != "**" else "")
    (repository / ".gitignore").write_text(text + "\n")
    asked = subprocess.run(
        ["git", "-C", str(repository), "check-ignore", "--no-index", "--stdin", "-z"],
        input="\0".join(paths),
        capture_output=True,
        text=True,
        env={"PATH": os.defpath, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"},
    )
    theirs = set(asked.stdout.split("\0")) - {""}
    pattern = _parse(text)
    assert {path for path in paths if pattern and pattern.covers_path(path)} == theirs
    assert {
        path for path in paths if pattern and any(pattern.matches_path(*above) for above in _upwards(path))
    } == theirs


def _parse(text: str) -> PathPattern | None:
    try:
        return PathPattern(text)
    except ValueError:
        return None  # git never matches it


def _upwards(path: str) -> Iterator[tuple[str, bool]]:
    """A path and the directories above it, each with whether it is a directory."""
    parts = path.split("/")
    return (("/".join(parts[:count]), count < len(parts)) for count in range(len(parts), 0, -1))
