"""The Python that comes first in PATH for commands: Baton's interpreter with its standard library and pytest only.

It has the layout of a virtual environment of that interpreter, so that neither Baton's packages nor those of the
interpreter are importable: a project that forgets a dependency, or breaks one that Baton happens to have, fails here as
it does on other machines. A second directory, with pytest, pip, uv and ripgrep, comes last in PATH.
"""

import contextlib
import hashlib
import os
import shutil
import site
import sys
import sysconfig
import tempfile
import threading
import time
from importlib import metadata
from pathlib import Path

from workspaces.sandbox.engine_pytest import copy_pytest

INSIDE = "/baton"
"""Path of the directory inside the sandbox; the same on every host, so that references to it stay valid."""

FIRST, LAST = "bin", "last"
"""Its subdirectories: the one that comes first in PATH, and the one that comes last."""

_GIVEN_UP = 3_600.0
"""Seconds after which an unfinished directory counts as abandoned."""

_FORMAT = 2
"""Version of the directory's layout; a new number creates a new directory."""

_TRAMPOLINE = """#!/bin/sh
'''exec' "${{0%/{last}/*}}/{first}/python3" "$0" "$@"
' '''
"""
"""A shell script that is also a Python script, because the path of an interpreter may be too long for `#!`."""

_PYTEST = """import sys
from pytest import console_main
sys.exit(console_main())
"""

_PIP = """import runpy, sys
sys.path.insert(0, {wheel!r})
sys.modules.pop("pip", None)
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""

_PIP_PACKAGE = '''"""pip as a program only (`python -m pip`): no project can import it by mistake."""
import sys
if sys.argv[:1] != ["-m"]:
    raise ModuleNotFoundError("No module named 'pip'", name="pip")
'''


def base_executable() -> Path:
    """Return the interpreter below any virtual environment, with links resolved."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def base_prefixes() -> list[Path]:
    """Return the directories outside `/usr` that the interpreter needs."""
    found = (Path(sys.base_prefix), Path(sys.base_exec_prefix), base_executable().parent.parent)
    return [path for path in dict.fromkeys(found) if path.is_dir() and not path.resolve().is_relative_to("/usr")]


def uv_program() -> Path | None:
    """Return the uv that came with Baton; None if there is none."""
    program = Path(sys.executable).with_name("uv")
    return program.resolve() if program.is_file() else None


def own_packages() -> list[Path]:
    """Return the directories of packages of Baton and its interpreter, which commands must not see."""
    python, standard = base_executable(), Path(sysconfig.get_path("stdlib")).resolve()
    # A checkout holds other directories beside the packages; an installation holds packages only.
    found = [path.parent for path in Path(__file__).parents[2].glob("*/__init__.py")]
    found += [Path(entry) for entry in sys.path if _holds_packages(Path(entry))]
    if sys.prefix != sys.base_prefix:
        found.append(Path(sys.prefix))
    beside = [Path(path) for path in site.getsitepackages(list(dict.fromkeys([sys.base_prefix, sys.base_exec_prefix])))]
    # Packages of the system's own Python belong to its programs, and no command finds them by itself.
    found += [path for path in beside if not path.resolve().is_relative_to("/usr")]
    resolved = dict.fromkeys(path.resolve() for path in found if path.is_dir())
    own = [path for path in resolved if not (python.is_relative_to(path) or standard.is_relative_to(path))]
    return [path for path in own if not any(path != other and path.is_relative_to(other) for other in own)]


_making = threading.Lock()
"""Held while a directory is created, so that the tasks of a worker create one."""


def make_own_python(home: Path, like: Path | None = None) -> Path:
    """Return the directory under `BATON_HOME` for this interpreter and these packages; create it if there is none.

    `like` is the directory of another home of this process, which is copied, because that is faster.
    """
    parent = home / "python"
    place = parent / _directory_name()
    with _making:
        return place if place.is_dir() else _make_directory(parent, place, like)


def _make_directory(parent: Path, place: Path, like: Path | None) -> Path:
    parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_unfinished(parent)
    made = Path(tempfile.mkdtemp(prefix=".making-", dir=parent))
    try:
        if like is not None and like.name == place.name:
            shutil.copytree(like, made, symlinks=True, dirs_exist_ok=True, copy_function=_link_file)
        else:
            _lay_out(made)
        made.chmod(0o755)
        try:
            made.rename(place)
        except OSError:
            # Another process was first; its directory is the same.
            if not place.is_dir():
                raise
    finally:
        if made.exists():
            shutil.rmtree(made, ignore_errors=True)
    return place


def _remove_unfinished(parent: Path) -> None:
    """Remove directories of processes that were killed during creation, which takes seconds."""
    for left in parent.glob(".making-*"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _GIVEN_UP:
                shutil.rmtree(left, ignore_errors=True)


def _lay_out(place: Path) -> None:
    python = base_executable()
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = place / "lib" / f"python{version}" / "site-packages"
    for directory in (place / FIRST, place / LAST, packages):
        directory.mkdir(parents=True)
    (place / "pyvenv.cfg").write_text(
        f"home = {python.parent}\ninclude-system-site-packages = false\nversion = {sys.version.split()[0]}\n"
    )
    (place / FIRST / "python3").symlink_to(python)
    for name in ("python", f"python{version}"):
        (place / FIRST / name).symlink_to("python3")
    if copy_pytest(packages):
        for name in ("pytest", "py.test"):
            _write_program(place / LAST / name, _PYTEST)
    if wheel := _pip_wheel():
        run = _PIP.format(wheel=str(wheel))
        (packages / "pip").mkdir()
        (packages / "pip" / "__init__.py").write_text(_PIP_PACKAGE)
        (packages / "pip" / "__main__.py").write_text(run)
        for name in ("pip", "pip3"):
            _write_program(place / LAST / name, run)
    ripgrep = Path(sys.executable).with_name("rg")
    if ripgrep.is_file():
        shutil.copy(ripgrep, place / LAST / "rg")
    if uv_program() is not None:
        # Too large for a copy in each home: the sandbox mounts the program itself here.
        (place / LAST / "uv").touch()


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _write_program(file: Path, text: str) -> None:
    file.write_text(_TRAMPOLINE.format(first=FIRST, last=LAST) + text)
    file.chmod(0o755)


def _pip_wheel() -> Path | None:
    """Return the pip that the interpreter bundles for virtual environments."""
    bundled = Path(sysconfig.get_path("stdlib")) / "ensurepip" / "_bundled"
    return next(iter(sorted(bundled.glob("pip-*.whl"))), None)


def _holds_packages(entry: Path) -> bool:
    """Whether an entry of the module search path is a directory with installed packages."""
    with contextlib.suppress(OSError):
        return any(name.endswith((".dist-info", ".egg-info", ".egg-link")) for name in os.listdir(entry))
    return False


def _directory_name() -> str:
    """Return a name that identifies the contents of the directory."""
    versions = []
    for name in ("pytest", "pluggy", "iniconfig", "packaging"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    parts = [str(_FORMAT), str(base_executable()), sys.version, *versions]
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return f"{sys.version_info.major}.{sys.version_info.minor}-{digest[:16]}"
