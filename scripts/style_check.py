"""Five figures on the style of the product code, which may only fall. `make lint` runs it.

    python scripts/style_check.py            the figures beside their limits, and the worst places of those above
    python scripts/style_check.py --all      every place that counts, also of figures within their limits
    python scripts/style_check.py --root DIR another tree

The limits stand in the table `[tool.baton.style]` of `pyproject.toml`. The exit code is 1 if a figure is above its
limit, and 2 if the table or a source file cannot be read. The code is parsed, never imported or run.
"""

import argparse
import ast
import re
import sys
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_PRINTED = 15
"""Places that are printed of a figure above its limit."""

_PRONOUN = re.compile(
    r"\b(?:what|whatever|whichever|whoever|whom|whose|(?:no|some|any|every)body|(?:no|some|any|every)thing)\b", re.I
)
_NOUN_IN_ING = re.compile(
    r"binding|caching|encoding|keyring|logging|mapping|parsing|pricing|routing|setting|streaming|string|tracing|typing"
    r"|versioning|warning"
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One source file, parsed."""

    path: Path
    """Relative to the root of the tree."""
    tree: ast.Module


@dataclass(frozen=True)
class Figure:
    """A measured figure with the places that count towards it, the worst first."""

    name: str
    """Its name in the table of limits."""
    value: float
    places: list[str]
    remedy: str


def read_modules(root: Path, packages: list[str], excluded: list[str]) -> list[Module]:
    """Parse every module of the packages; raises SyntaxError for a file that is no Python."""
    skipped = [root / place for place in excluded]
    paths = (path for package in packages for path in sorted((root / package).rglob("*.py")))
    return [
        Module(path.relative_to(root), ast.parse(path.read_text(encoding="utf-8"), str(path)))
        for path in paths
        if not any(path.is_relative_to(place) for place in skipped)
    ]


def measure_guessed(modules: list[Module]) -> Figure:
    """Measure the share of docstrings whose first sentence has a pronoun in place of a noun."""
    counted, total = [], 0
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Module | ast.ClassDef | Function) and (text := ast.get_docstring(node)):
                total += 1
                sentence = re.split(r"(?<=[.!?])\s|\n\n", text.strip())[0]
                if found := _PRONOUN.findall(sentence):
                    line = node.body[0].lineno
                    counted.append((-len(found), f"{module.path}:{line}: {' '.join(sentence.split())}"))
    remedy = (
        "Name the subject with a noun of docs/glossary.md, or begin with an imperative verb or `Whether`:"
        " no `what`, `nobody`, `nothing`, `everything` in a docstring's first sentence."
    )
    return Figure("guessed_percent", percent(len(counted), total), [place for _, place in sorted(counted)], remedy)


def measure_gerunds(modules: list[Module]) -> Figure:
    """Count the modules that are named by an activity."""
    places = [
        f"{module.path}:1"
        for module in modules
        if (word := module.path.stem.rsplit("_", 1)[-1]).endswith("ing") and not _NOUN_IN_ING.fullmatch(word)
    ]
    remedy = "Name the module by a noun: `names.py` for `naming.py`, `key_masker.py` for `key_masking.py`."
    return Figure("gerund_modules", len(places), places, remedy)


def measure_class_names(modules: list[Module]) -> Figure:
    """Count the public class names that two modules or more define."""
    places: dict[str, dict[Path, int]] = defaultdict(dict)
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].setdefault(module.path, node.lineno)
    repeated = [
        f"{', '.join(f'{path}:{line}' for path, line in found.items())}: {name}"
        for name, found in sorted(places.items(), key=lambda entry: -len(entry[1]))
        if len(found) > 1
    ]
    remedy = "Give each class a name of its own: `CheckEvent` and `DoctorCheck`, not `Check` twice."
    return Figure("repeated_class_names", len(repeated), repeated, remedy)


def measure_folders(modules: list[Module]) -> Figure:
    """Count the modules of the largest folder; an `__init__.py` is none."""
    sizes = Counter(module.path.parent for module in modules if module.path.name != "__init__.py")
    places = [f"{folder}: {size} modules" for folder, size in sizes.most_common()]
    return Figure(
        "folder_modules", max(sizes.values(), default=0), places, "Part the folder into packages by their subject."
    )


def measure_one_word_names(modules: list[Module]) -> Figure:
    """Measure the share of functions and methods, special ones too, with a name of one word."""
    names = [
        (node.name.strip("_"), f"{module.path}:{node.lineno}: {node.name}")
        for module in modules
        for node in ast.walk(module.tree)
        if isinstance(node, Function) and node.name.strip("_")
    ]
    single = [(name, place) for name, place in names if "_" not in name and not re.search("[a-z][A-Z]", name)]
    uses = Counter(name for name, _ in single)
    ordered = sorted(
        ((-uses[name], name, place) for name, place in single if not place.endswith("__")),
    )
    remedy = "Name the function by a verb and its object: `read_head` for `head`, `is_clean` for `clean`."
    return Figure("one_word_percent", percent(len(single), len(names)), [place for *_, place in ordered], remedy)


def percent(part: int, whole: int) -> float:
    """Return a share in percent with one decimal; 0 of none."""
    return round(100 * part / whole, 1) if whole else 0.0


def measure(modules: list[Module]) -> Iterator[Figure]:
    """Yield every figure."""
    yield measure_guessed(modules)
    yield measure_gerunds(modules)
    yield measure_class_names(modules)
    yield measure_folders(modules)
    yield measure_one_word_names(modules)


def report(figure: Figure, limit: float, *, every: bool) -> list[str]:
    """Return the lines on one figure."""
    lines = [f"{figure.name:22} {figure.value:6g}   limit {limit:g}"]
    if figure.value > limit:
        lines[0] += "   too high"
    elif figure.value < limit and figure.name != "folder_modules":
        lines[0] += f"   has fallen: write {figure.value:g} into [tool.baton.style] of pyproject.toml"
    if figure.value > limit or every:
        shown = figure.places if every else figure.places[:MAX_PRINTED]
        lines += [f"    {place}" for place in shown]
        if len(shown) < len(figure.places):
            lines.append(f"    and {len(figure.places) - len(shown)} more: run it with --all")
        lines.append(f"  {figure.remedy}")
    return lines


def read_table(root: Path) -> tuple[list[str], dict[str, Any]]:
    """Return the packages and the style table of a tree; raises KeyError for a missing table."""
    tools = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    return tools["hatch"]["build"]["targets"]["wheel"]["packages"], tools["baton"]["style"]


def main(arguments: list[str]) -> int:
    """Measure a tree, print its figures, and return the exit code."""
    parser = argparse.ArgumentParser(description="Figures on the style of the product code, which may only fall.")
    parser.add_argument("--all", action="store_true", help="print every place that counts")
    parser.add_argument("--root", type=Path, default=Path(__file__).parents[1], help="the tree to measure")
    options = parser.parse_args(arguments)
    try:
        packages, table = read_table(options.root)
        figures = list(measure(read_modules(options.root, packages, table.get("exclude", []))))
        limits = {figure.name: float(table[figure.name]) for figure in figures}
    except KeyError as error:
        print(f"pyproject.toml has no {error}: [tool.baton.style] needs a limit for each figure.")
        return 2
    except (OSError, SyntaxError, ValueError) as error:
        print(f"The tree cannot be measured: {error}")
        return 2
    for figure in figures:
        print(*report(figure, limits[figure.name], every=options.all), sep="\n")
    above = [figure.name for figure in figures if figure.value > limits[figure.name]]
    if above:
        print(f"Style: {', '.join(above)} above the limit. Change the code; a limit is only ever lowered.")
    return int(bool(above))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
