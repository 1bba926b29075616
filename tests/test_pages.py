"""The pages in Markdown: links lead somewhere, and commands, settings, modules, tests and files in them are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from baton.settings.core import Settings
from interfaces.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SUITE = "\n".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def inline(page: Path) -> list[str]:
    """What stands between backticks in the text."""
    return [" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose(page))]


def blocks(page: Path) -> Iterator[str]:
    """Lines of shell: in blocks marked so, and in indented ones. A line that goes on is one."""
    fenced = re.findall(r"^```(?:sh|shell|bash|console)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^    (\S.*)$", prose(page), re.MULTILINE)
    yield from "\n".join([*fenced, *indented]).replace("\\\n", " ").splitlines()


def anchors(page: Path) -> set[str]:
    """What GitHub makes of the headings: https://docs.github.com/en/get-started/writing-on-github (section links)."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command(words: list[str]) -> tuple[str, Any, list[str]]:
    """The command that words after `baton` name, and its arguments; fails where there is none."""
    found: Any = typer.main.get_command(app)
    name = []
    while words and words[0] in getattr(found, "commands", {}):
        name.append(words[0])
        found, words = found.commands[words[0]], words[1:]
    assert name or not words or words[0].startswith("-"), f"there is no command `baton {words[0]}`"
    return " ".join(name), found, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_blocks_are_such_that_they_are_taken(page: Path) -> None:
    for line in blocks(page):
        for part in re.split(r"&&|\||;", re.sub(r"\s#\s.*", "", line)):
            try:
                words = shlex.split(part)
            except ValueError:
                continue
            while words and re.match(r"[A-Z_]+=", words[0]):
                words = words[1:]
            if words and words[0] in ("baton", ".venv/bin/baton"):
                name, found, arguments = command(words[1:])
                # Parses and runs nothing; what does not fit raises.
                found.make_context(name, arguments, resilient_parsing="--install-completion" in arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_in_the_text_are_there(page: Path) -> None:
    every = {
        option for _, found in all_commands() for one in found.params for option in (*one.opts, *one.secondary_opts)
    }
    for code in inline(page):
        words = code.split()
        if words[0] == "baton" and len(words) > 1 and not re.match(r"[^a-z-]", words[1]):
            _, found, arguments = command(words[1:])
            known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)}
            assert {word for word in arguments if word.startswith("--")} <= known | {"--help"}, code
        elif re.match(r"--[a-z]", code) and page.name not in ("api.md", "performance.md"):
            assert words[0] in every | {"--help", "--json"}, code


def all_commands() -> Iterator[tuple[str, Any]]:
    """Every command and group by name."""
    waiting: list[tuple[str, Any]] = [("", typer.main.get_command(app))]
    while waiting:
        name, found = waiting.pop()
        yield name, found
        waiting += getattr(found, "commands", {}).items()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_modules_targets_tests_and_files_are_there(page: Path) -> None:
    text = page.read_text()
    known = {f"BATON_{name.upper()}" for name in Settings.model_fields}
    for variable in re.findall(r"\bBATON_[A-Z_]*[A-Z]\b(?!\*)", text):
        assert variable in known, variable
    for module in re.findall(r"python -m ((?:benchmarks|tests)[\w.]*)", text):
        place = ROOT / module.replace(".", "/")
        assert place.with_suffix(".py").exists() or (place / "__main__.py").exists(), module
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for target in re.findall(r"(?:^|`)make ([a-z]+)", text, re.MULTILINE):
        assert target in targets, target
    for test in re.findall(r"\btest_\w{12,}", text):
        assert re.search(rf"(?:def |^){test}\b", SUITE, re.MULTILINE) or list(ROOT.rglob(f"tests/**/{test}.py")), test
    for code in inline(page):
        if re.fullmatch(r"(?:agents|benchmarks|deploy|docs|scripts|tests)/[\w./-]+", code):
            assert (ROOT / code).exists(), code
