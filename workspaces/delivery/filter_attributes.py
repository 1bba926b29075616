"""The git filters of a project's files, by the `.gitattributes` of its trees, as git itself reads them.

Filters are programs of the person (git-crypt, sops, nbstripout, Git LFS, ...). None of them runs here, so the engine
must know each file that the person's git would pass through one. `git check-attr` runs no program.
"""

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pygit2

from system.safe_directory import SafeDirectory
from system.uncancellable import run_in_thread
from workspaces.git.errors import translate_errors
from workspaces.git.object_database import ObjectDatabase, prepare_library
from workspaces.git.repositories import scratch_repository
from workspaces.git.run import call_git
from workspaces.git.tree_codec import EXECUTABLE, FILE, TreeEntry
from workspaces.store.store import Store

ATTRIBUTES_FILE = ".gitattributes"
LFS = "lfs"
"""The name of Git LFS's filter."""

_NO_FILTER = ("unspecified", "unset")
_MAX_INFO = 1 << 20

Filters = dict[str, tuple[str, ...]]
"""The names of the filters by path, for paths that have one."""


async def filters_of(
    store: Store,
    trees: Sequence[str],
    paths: Collection[str],
    *,
    persons: bool = False,
) -> Filters:
    """Return the filters of these paths: a path has each filter that the attributes of any of the trees name for it.

    With several trees, a change that removes the line of a filter does not remove the filter from the file. `persons`
    includes attributes outside the trees: those of the person, and of their checkout if the repository is one
    (`nbstripout --install` writes there). It also ignores case, as git does on some systems, except for LFS, which
    protects no content.
    """
    if not paths:
        return {}
    objects = store.objects

    def read_views() -> list[dict[str, bytes]]:
        found = {tuple(sorted(attribute_files(objects, tree, paths).items())) for tree in trees}
        return [{path: objects.read_blob(entry.oid) for path, entry in files} for files in sorted(found)]

    with translate_errors("reading attributes"):
        views = await run_in_thread(read_views)
        info = await run_in_thread(_info_of, store.repo) if persons else b""
    found: dict[str, set[str]] = {}
    for view in views or [{}]:
        if any(b"filter" in data for data in view.values()):
            _add_names(found, await _check_attributes(store, view, paths))
        if persons:
            _add_names(found, await _check_attributes(store, view, paths, info=info, persons=True))
            either = await _check_attributes(store, view, paths, info=info, ignore_case=True)
            _add_names(found, {path: name for path, name in either.items() if name != LFS})
    return {path: tuple(sorted(names)) for path, names in sorted(found.items())}


def attribute_files(objects: ObjectDatabase, tree: str, paths: Collection[str]) -> dict[str, TreeEntry]:
    """Return the `.gitattributes` of a tree that apply to these paths. A link of that name is ignored, as by git."""
    directories = {""}
    for path in paths:
        names = path.split("/")[:-1]
        directories.update("/".join(names[:count]) for count in range(1, len(names) + 1))
    found = {}
    for directory in directories:
        path = f"{directory}/{ATTRIBUTES_FILE}" if directory else ATTRIBUTES_FILE
        entry = objects.find_entry(tree, path)
        if entry is not None and entry.mode in (FILE, EXECUTABLE):
            found[path] = entry
    return found


def filter_lines(files: Mapping[str, bytes]) -> list[str]:
    """Return the lines of attributes files that concern filters, each after the directory that it applies to."""
    macros = {
        words[0].removeprefix("[attr]")
        for data in files.values()
        for words in _attribute_lines(data)
        if words[0].startswith("[attr]") and any("filter" in word for word in words[1:])
    }
    found = []
    for path, data in sorted(files.items()):
        directory = path.removesuffix(ATTRIBUTES_FILE)
        for words in _attribute_lines(data):
            named = {word.lstrip("-!").partition("=")[0] for word in words[1:]}
            if named & ({"filter"} | macros) and not words[0].startswith("[attr]"):
                found.append(f"{directory}: {' '.join(words)}" if directory else " ".join(words))
            elif words[0].startswith("[attr]") and words[0].removeprefix("[attr]") in macros:
                found.append(" ".join(words))
    return found


def _attribute_lines(data: bytes) -> list[list[str]]:
    lines = [line.split() for line in data.decode("utf-8-sig", "replace").splitlines()]
    return [words for words in lines if words and not words[0].startswith("#")]


def _add_names(found: dict[str, set[str]], more: Mapping[str, str]) -> None:
    for path, name in more.items():
        found.setdefault(path, set()).add(name)


async def _check_attributes(
    store: Store,
    files: Mapping[str, bytes],
    paths: Collection[str],
    *,
    info: bytes = b"",
    persons: bool = False,
    ignore_case: bool = False,
) -> dict[str, str]:
    async with scratch_repository(store.root, "") as place:
        work = place / "work"
        await run_in_thread(_lay_out, place, work, files, info, ignore_case)
        asked = b"\0".join(os.fsencode(path) for path in sorted(paths)) + b"\0"
        answer = await call_git(
            ["check-attr", "-z", "--stdin", "filter"], git_dir=place, work_tree=work, stdin=asked, persons=persons
        )
    # git answers the same for `-filter` and for a filter named `unset`; if there may be one, it counts as a filter.
    said = answer.split_fields()
    whole = b"\n".join([*files.values(), info])
    none = [value for value in _NO_FILTER if f"filter={value}".encode() not in whole]
    return {path: value for path, value in zip(said[::3], said[2::3], strict=True) if value not in none}


def _lay_out(place: Path, work: Path, files: Mapping[str, bytes], info: bytes, ignore_case: bool) -> None:
    work.mkdir()
    beneath = SafeDirectory(work)
    for path, data in files.items():
        beneath.write_file(path, data, 0o644)
    (place / "info/attributes").write_bytes(info)
    if ignore_case:
        with (place / "config").open("a") as config:
            config.write("[core]\n\tignoreCase = true\n")


def _info_of(repo: str) -> bytes:
    """Return the `info/attributes` of a person's repository on this machine; empty for others."""
    if not repo.startswith("/"):
        return b""
    prepare_library()
    try:
        found = pygit2.discover_repository(repo, False, repo)
        if found is None:
            return b""
        git_dir = Path(found)
        pointer = git_dir / "commondir"  # of a linked worktree
        common = git_dir / pointer.read_text().strip() if pointer.is_file() else git_dir
        path = common / "info/attributes"
        if not stat.S_ISREG(path.lstat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(_MAX_INFO)
    except (OSError, pygit2.GitError, KeyError, ValueError):
        return b""
