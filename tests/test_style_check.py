"""The style check of `make lint` refuses a tree whose figures rise, and says where and how to lower them."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import HANGS

SCRIPT = Path(__file__).parents[1] / "scripts" / "style_check.py"

GOOD = '''
"""Names of runs."""


class RunName:
    """The name of a run."""

    def read_slug(self) -> str:
        """Return the slug."""
        return ""
'''

BAD = {
    "guessed_percent": (
        "room/names.py",
        GOOD.replace("The name of a run.", "What nobody else names."),
        "names.py:6: What",
    ),
    "gerund_modules": ("room/naming.py", GOOD.replace("RunName", "Naming"), "room/naming.py:1"),
    "repeated_class_names": ("room/other_names.py", GOOD, "room/other_names.py:5: RunName"),
    "folder_modules": ("room/other_names.py", GOOD.replace("RunName", "OtherName"), "room: 2 modules"),
    "one_word_percent": ("room/names.py", GOOD.replace("read_slug", "slug"), "names.py:8: slug"),
}


def measure(root: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(SCRIPT), "--root", str(root), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANGS.total_seconds(), check=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    limits = dict.fromkeys(BAD, 0) | {"folder_modules": 1}
    table = "\n".join(f"{name} = {limit}" for name, limit in limits.items())
    (tmp_path / "pyproject.toml").write_text(
        f'[tool.hatch.build.targets.wheel]\npackages = ["room"]\n[tool.baton.style]\nexclude = ["room/data"]\n{table}\n'
    )
    for place, text in (("names.py", GOOD), ("__init__.py", ""), ("data/running.py", "def what(): 'What.'")):
        (tmp_path / "room" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "room" / place).write_text(text)
    return tmp_path


def test_a_tree_within_its_limits_passes(tree: Path) -> None:
    ended = measure(tree)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert all(name in ended.stdout for name in BAD)


@pytest.mark.parametrize("figure", BAD)
def test_a_figure_above_its_limit_fails_with_its_place_and_remedy(tree: Path, figure: str) -> None:
    place, text, expected = BAD[figure]
    (tree / place).write_text(text)
    ended = measure(tree)
    assert ended.returncode == 1, ended.stdout + ended.stderr
    above = [line.split()[0] for line in ended.stdout.splitlines() if line.endswith("too high")]
    assert figure in above
    assert set(above) <= {figure, "folder_modules"}
    assert expected in ended.stdout


def test_a_figure_below_its_limit_asks_for_the_lower_limit(tree: Path) -> None:
    table = tree / "pyproject.toml"
    table.write_text(table.read_text().replace("one_word_percent = 0", "one_word_percent = 7"))
    ended = measure(tree)
    assert ended.returncode == 0
    assert "write 0 into [tool.baton.style]" in ended.stdout


@pytest.mark.parametrize(
    ("place", "before", "after", "said"),
    [
        ("pyproject.toml", "gerund_modules = 0\n", "", "gerund_modules"),
        ("room/names.py", "class", "klass", "names.py"),
    ],
)
def test_a_tree_that_cannot_be_measured_is_an_error(tree: Path, place: str, before: str, after: str, said: str) -> None:
    (tree / place).write_text((tree / place).read_text().replace(before, after))
    ended = measure(tree)
    assert ended.returncode == 2
    assert said in ended.stdout


def test_all_names_every_place_of_figures_within_their_limits(tree: Path) -> None:
    assert "room: 1 modules" in measure(tree, "--all").stdout
    assert "room: 1 modules" not in measure(tree).stdout
