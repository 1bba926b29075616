"""The demo's directory: a home of its own, and a new git repository made of the sample project."""

import shutil
import time
from importlib import resources
from pathlib import Path

import git

from baton.errors import UsageError
from system.safe_directory import clear_away
from workers.embedded.server_files import ServerFiles, UserLock

MAX_DEMOS = 3
"""Demos that are kept under BATON_HOME, for people to read; older ones are removed."""


def make_demo_directory(home: Path, keep: Path | None) -> Path:
    """Make a new directory for a demo; raises UsageError if the directory that was asked for is not empty."""
    if keep is not None:
        place = keep.expanduser().absolute()
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            raise UsageError(f"{place} is not an empty directory: name another one with --keep.")
        place.mkdir(parents=True, exist_ok=True)
        return place
    demos = home / "demo"
    demos.mkdir(parents=True, exist_ok=True, mode=0o700)
    _remove_old(demos)
    place = demos / time.strftime("%Y%m%d-%H%M%S")
    number = 1
    while True:
        try:
            place.mkdir()
        except FileExistsError:
            number += 1
            place = demos / f"{time.strftime('%Y%m%d-%H%M%S')}-{number}"
        else:
            return place


def make_repository(path: Path) -> str:
    """Copy the sample project to `path` and commit it on `main`; return the commit."""
    with resources.as_file(resources.files("standin").joinpath("sample")) as sample:
        shutil.copytree(sample, path, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".pytest_cache"))
    # GitPython inherits the person's environment and configuration: right here, where the repository is Baton's own
    # sample, and nowhere else (docs/architecture.md, "The store").
    with git.Repo.init(path, initial_branch="main") as repository:
        repository.git.add(all=True)
        author = git.Actor("Sample", "sample@example.org")
        return repository.index.commit("A small orders service\n", author=author, committer=author).hexsha


def list_commits(path: Path, base: str, branch: str) -> list[str]:
    """Return the commits of a branch since `base`, the oldest first, as `<short id> <subject>`."""
    with git.Repo(path) as repository:
        return [
            f"{commit.hexsha[:9]} {str(commit.message).splitlines()[0]}"
            for commit in repository.iter_commits(f"{base}..{branch}", reverse=True, topo_order=True)
        ]


def _remove_old(demos: Path) -> None:
    """Remove the oldest demos, except those in use."""
    places = sorted(place for place in demos.iterdir() if place.is_dir() and not place.is_symlink())
    for place in places[: max(0, len(places) - MAX_DEMOS + 1)]:
        lock = UserLock(ServerFiles.open_home(place / "home").users_lock)
        try:
            if lock.try_exclusive():
                clear_away(place)
        finally:
            lock.close()
