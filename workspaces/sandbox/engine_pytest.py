"""A copy of pytest for projects that install none, with its dependencies under names of the engine's own.

pytest imports pluggy, packaging, iniconfig and others. If they were importable under their own names, a project that
forgets one of them would pass here and fail on other machines, and a project that is one of them would be tested
against this copy. So the copy imports them from the engine's package `_baton_pytest`.
"""

import ast
import compileall
import contextlib
import os
import py_compile
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

PRIVATE = "_baton_pytest"

_KEPT = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR"})
_NONE = 200
"""Exit code for "there is no pytest"; lower ones are error numbers of the system."""

_COPIED = ("pluggy", "iniconfig", "packaging", "py")
_STANDS_IN = "pygments"
"""It only colours output for terminals; it loads its modules by name, which a renamed copy cannot serve."""

_RENAMED = frozenset({*_COPIED, _STANDS_IN})
_LIKELY = re.compile(rf"^\s*(?:from|import)\s.*\b(?:{'|'.join(sorted(_RENAMED))})\b", re.MULTILINE)
"""A file without such a line has no import to rename, so it need not be parsed, which is slow."""

_PYGMENTS = {
    "__init__.py": (
        '"""Colours nothing."""\n'
        f"from {PRIVATE}.pygments import util as util\n"
        "def highlight(source, lexer, formatter):\n    return source\n"
    ),
    "util.py": "class ClassNotFound(ValueError):\n    pass\nclass OptionError(Exception):\n    pass\n",
    "lexer.py": "class Lexer:\n    def __init__(self, *args, **options):\n        pass\n",
    "lexers/__init__.py": "",
    "lexers/python.py": f"from {PRIVATE}.pygments.lexer import Lexer\nclass PythonLexer(Lexer):\n    pass\n",
    "lexers/diff.py": f"from {PRIVATE}.pygments.lexer import Lexer\nclass DiffLexer(Lexer):\n    pass\n",
    "formatters/__init__.py": "",
    "formatters/terminal.py": "class TerminalFormatter:\n    def __init__(self, *args, **options):\n        pass\n",
}

_GUARD = '''"""Dependencies of pytest, under names that no project uses; provided by Baton."""
import glob as _glob
import os as _os

# A project that is pytest itself must be tested from its own sources, never from this copy.
_place, _patterns = _os.getcwd(), ("", "src", "*", "*/src")
while True:
    for _pattern in _patterns:
        if _glob.glob(_os.path.join(_glob.escape(_place), _pattern, "_pytest", "__init__.py")):
            raise ImportError(
                "This repository holds pytest itself, which cannot be tested by the copy that Baton brings:"
                " install it in [gate] setup, into an environment of its own."
            )
    _place, _patterns, _last = _os.path.dirname(_place), ("", "src"), _place
    if _place == _last:
        break
'''


def copy_pytest(site: Path) -> bool:
    """Write the copy into a directory of packages; return False if this installation of Baton has no pytest.

    It runs in a process of its own, because `ast.parse` in several threads of one process fails now and then
    (https://github.com/python/cpython/issues/106905), and other threads may parse, too. Raises OSError.
    """
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("PYTHON")}
    command = [sys.executable, "-P", __file__, str(site)]
    done = subprocess.run(command, env=kept, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if 0 < done.returncode < _NONE:
        raise OSError(done.returncode, os.strerror(done.returncode), str(site))
    if done.returncode not in (0, _NONE):
        raise ChildProcessError(f"Copying pytest for projects that bring none ended with {done.returncode}.")
    return done.returncode == 0


def _copy_pytest(site: Path) -> bool:
    try:
        distribution = metadata.distribution("pytest")
    except metadata.PackageNotFoundError:
        return False
    root = Path(str(distribution.locate_file("")))
    private = site / PRIVATE
    private.mkdir(parents=True)
    (private / "__init__.py").write_text(_GUARD)
    for name in ("pytest", "_pytest"):
        _copy_package(root / name, site / name)
    _insert_guard(site / "_pytest" / "__init__.py")
    described = site / f"pytest-{distribution.version}.dist-info"
    described.mkdir()
    (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: pytest\nVersion: {distribution.version}\n")
    for name in _COPIED:
        source = root / name
        if not source.exists() and not source.with_suffix(".py").exists():
            source = Path(str(metadata.distribution(name).locate_file(name)))
        if source.is_dir():
            _copy_package(source, private / name)
            _tell_version(name, private / name / "__init__.py")
        else:
            _write_renamed(source.with_suffix(".py"), private / f"{name}.py")
    for file, text in _PYGMENTS.items():
        target = private / "pygments" / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    # Commands write no .pyc; with these pytest starts at once. Unchecked: the directory is never changed.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(site, quiet=2, invalidation_mode=mode, workers=1)
    return True


def _insert_guard(entry: Path) -> None:
    """Insert an import of the guard into pytest's first module, after its `from __future__` lines."""
    lines = entry.read_text(encoding="utf-8").splitlines(keepends=True)
    first = max((number + 1 for number, line in enumerate(lines) if line.startswith("from __future__")), default=0)
    text = "".join([*lines[:first], f"import {PRIVATE} as _  # noqa\n", *lines[first:]])
    entry.write_text(text, encoding="utf-8")


def _tell_version(name: str, module: Path) -> None:
    """Append the version that a module would read from its installation's metadata, which is not copied."""
    with contextlib.suppress(metadata.PackageNotFoundError), module.open("a", encoding="utf-8") as file:
        file.write(f"\n__version__ = {metadata.version(name)!r}\n")


def _copy_package(source: Path, target: Path) -> None:
    for file in sorted(source.rglob("*")):
        place = target / file.relative_to(source)
        if file.is_dir() or "__pycache__" in file.parts or file.suffix == ".pyc":
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".py":
            _write_renamed(file, place)
        elif file.suffix != ".so":
            shutil.copyfile(file, place)


def _write_renamed(source: Path, target: Path) -> None:
    target.write_text(rename_imports(source.read_text(encoding="utf-8")), encoding="utf-8")


def rename_imports(text: str) -> str:
    """Return Python source with pytest's dependencies imported from `_baton_pytest`; other lines do not change."""
    if not _LIKELY.search(text):
        return text
    lines = [line.encode() for line in text.splitlines(keepends=True)]
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset), reverse=True):
        renamed = _rename_import(node)
        if renamed is None:
            continue
        first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        end = lines[last][node.end_col_offset :]
        begin = lines[first][: node.col_offset]
        # As many lines as before, so that tracebacks show the lines of pytest's own source.
        lines[first : last + 1] = [begin + renamed.encode() + end, *([b"\n"] * (last - first))]
    return b"".join(lines).decode()


def _rename_import(node: ast.Import | ast.ImportFrom) -> str | None:
    """Return an import statement with the new names; None if it imports no renamed package."""
    if isinstance(node, ast.ImportFrom):
        root = (node.module or "").partition(".")[0]
        if node.level or root not in _RENAMED:
            return None
        return ast.unparse(ast.ImportFrom(module=f"{PRIVATE}.{node.module}", names=node.names, level=0))
    if not any(alias.name.partition(".")[0] in _RENAMED for alias in node.names):
        return None
    statements = []
    for alias in node.names:
        root, _, rest = alias.name.partition(".")
        given = f" as {alias.asname}" if alias.asname else ""
        if root not in _RENAMED:
            statements.append(f"import {alias.name}{given}")
        elif rest and alias.asname:
            statements.append(f"import {PRIVATE}.{alias.name}{given}")
        elif rest:
            statements += [f"import {PRIVATE}.{alias.name}", f"from {PRIVATE} import {root}"]
        else:
            statements.append(f"from {PRIVATE} import {root}{given}")
    return "; ".join(statements)


def main(site: Path) -> int:
    """Copy pytest and return an exit code: 0, `_NONE` if there is no pytest, or the error number of the system."""
    try:
        return 0 if _copy_pytest(site) else _NONE
    except OSError as error:
        return error.errno or _NONE + 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
