"""The pages in Markdown: their links, commands, settings, modules, tests, files and names in the code exist.

A page names a place in the code by the file and the name behind it: `workflows/pipeline.py` `Pipeline.run`.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from baton import __version__
from baton.settings.core import Settings
from baton.settings.variables import variables_of
from interfaces.cli.main import app

ROOT = Path(__file__).parents[1]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
TOUR = ROOT / "docs" / "tour.md"
GLOSSARY = ROOT / "docs" / "glossary.md"
PRODUCT = r"(?:activities|agents|baton|interfaces|standin|system|workers|workflows|workspaces)/[\w./-]+\.\w+"
OTHERS = r"(?:agents|benchmarks|deploy|docs|scripts|tests)/[\w./-]+"
REFERENCE = re.compile(r"`([\w./-]+\.py)`\s+`([A-Za-z_][\w.]*)`")
RECIPES = {
    *("Add a role", "Add an activity", "Add a command", "Add a GitHub event", "Add a setting", "Add an error class"),
    "Change a workflow",
}
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
    } | {option for _, found in all_commands() for option in getattr(found, "renamed", ())}
    for code in inline(page):
        words = code.split()
        if words[0] == "baton" and len(words) > 1 and not re.match(r"[^a-z-]", words[1]):
            _, found, arguments = command(words[1:])
            known = {option for one in found.params for option in (*one.opts, *one.secondary_opts)}
            known |= set(getattr(found, "renamed", ()))
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
    known = {variable for name, field in Settings.model_fields.items() for variable in variables_of(name, field)}
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
        if re.fullmatch(f"{PRODUCT}|{OTHERS}", code):
            assert (ROOT / code).exists(), code


@cache
def definitions(file: Path) -> frozenset[str]:
    """The names that a module defines: classes, functions, variables, and with their class methods and fields."""

    def within(body: list[ast.stmt], prefix: str) -> Iterator[str]:
        for node in body:
            if isinstance(node, ast.ClassDef):
                yield prefix + node.name
                yield from within(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield prefix + node.name
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (prefix + target.id for target in targets if isinstance(target, ast.Name))

    return frozenset(within(ast.parse(file.read_text()).body, ""))


def dangling(text: str) -> list[str]:
    """The references to code in a text that lead nowhere."""
    return [
        f"{file} {name}"
        for file, name in REFERENCE.findall(text)
        if not (ROOT / file).exists() or name not in definitions(ROOT / file)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_in_code_are_where_the_page_says(page: Path) -> None:
    assert not dangling(prose(page))


def test_a_name_that_is_gone_is_noticed() -> None:
    assert not dangling("`tests/test_pages.py` `dangling`, `baton/records/run.py`\n`RunRequest.task`")
    for gone in (
        "`tests/test_pages.py` `gone`",
        "`baton/records/run.py` `CheckRun.task`",
        "`baton/gone.py` `RunRequest`",
    ):
        assert len(dangling(gone)) == 1


def sections(page: Path, level: str) -> dict[str, str]:
    """The text below each heading of a level."""
    parts = re.split(rf"^{level} (.+)$", page.read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_the_tour_has_ten_stops_and_a_recipe_for_each_kind_of_change() -> None:
    every = sections(TOUR, "###")
    stops = [title for title in every if re.match(r"\d+\. ", title)]
    assert [int(title.partition(".")[0]) for title in stops] == list(range(1, 11))
    assert set(every) >= RECIPES
    for title in [*stops, *RECIPES]:
        assert REFERENCE.search(every[title]), f"{title} names no place in the code"


def test_each_word_of_the_glossary_names_its_place_in_the_code() -> None:
    entries = re.split(r"^- (?=\*\*)", GLOSSARY.read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) > 30
    for entry in entries:
        assert REFERENCE.search(entry), entry


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    assert any(re.fullmatch(rf"\[{re.escape(__version__)}\] - \d{{4}}-\d\d-\d\d", version) for version in versions[1:])
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    # An entry outside of a kind is one that a merge has left behind.
    assert not re.search(r"^## .+\n+- ", text, re.MULTILINE)
