"""The places of submodules in a workspace: filled by the engine, and put in order again after each change to them."""

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from system.safe_directory import SafeDirectory
from workspaces.checkpoints.gitlinks import clear_places, is_within
from workspaces.checkpoints.walk import Strays
from workspaces.store.submodules import SubmoduleContents, digest_of, place_copy


class SubmodulePlaces:
    """The submodules of one workspace; `fillings` are the contents of those that a person allows, by path."""

    def __init__(self, files: SafeDirectory, home: Path, fillings: Mapping[str, SubmoduleContents] | None) -> None:
        self._files = files
        self._home = home
        self._fillings = dict(fillings or {})
        self.strays: Strays = frozenset()
        """Contents that were moved elsewhere with a directory above them, for a scan to find by inode and time."""

    def filled_paths(self, gitlinks: Mapping[str, str]) -> list[str]:
        """Return the submodules that the engine fills: those with contents for the commit of their gitlink."""
        return [path for path in sorted(self._fillings) if gitlinks.get(path) == self._fillings[path].commit]

    def put_in_order(self, gitlinks: Mapping[str, str]) -> list[str]:
        """Restore each place to its contents, or to an empty directory; gives the paths that were changed."""
        known = self._read_placed()
        wanted = {path: self._fillings[path] for path in self.filled_paths(gitlinks)}
        intact = [
            path for path, one in wanted.items() if known.get(path, "") == (self._describe_place(path, one) or None)
        ]
        stray = [path for path in known if path in wanted and path not in intact]
        noted = [known[path].split() for path in stray if known[path]]
        self.strays = frozenset((int(inode), int(moment)) for _, inode, moment, _ in noted)
        undone = clear_places(self._files, gitlinks, intact)
        if len(intact) == len(wanted):
            return undone
        self._place_missing(wanted, intact)
        # For a changed place that was filled, its path stands for its many files.
        return sorted({*(path for path in undone if not is_within(path, wanted)), *stray})

    def _place_missing(self, wanted: Mapping[str, SubmoduleContents], intact: Collection[str]) -> None:
        for path, one in wanted.items():
            if path not in intact:
                place_copy(self._files, path, one.tree, self._home)
        placed = {path: self._describe_place(path, one) for path, one in wanted.items()}
        (self._home / "submodules").write_text(json.dumps(placed))

    def _read_placed(self) -> dict[str, str]:
        try:
            return dict(json.loads((self._home / "submodules").read_text()))
        except (FileNotFoundError, ValueError):
            return {}

    def _describe_place(self, path: str, one: SubmoduleContents) -> str:
        """Return a line that differs after any change below a place; empty if no directory is there."""
        try:
            with self._files.open_directory(path) as descriptor:
                state = os.fstat(descriptor)
            return f"{one.tree.name} {state.st_ino} {state.st_mtime_ns} {digest_of(self._files, path)}"
        except OSError:
            return ""
