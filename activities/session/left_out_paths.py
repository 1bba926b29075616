"""The list of paths that agents wrote and that will not be in the branch, reported to agents and people.

The list is in the lane's checkpoints (`left-out.json`), so that a later session, another host and a fork have it. A
path leaves it when it is kept after all or an agent deletes it; a path that a rebuilt workspace lost stays.
"""

from collections.abc import Callable, Collection, Mapping

from pydantic import Field

from baton.records.left_out import describe_reason, group_by_name, is_minor, read_path, show_path, with_reasons
from baton.records.run import Record
from baton.steps.session import LeftOut, SessionKey
from baton.text.truncation import MAX_NAMED, bullet_list, cut_item, join_names

_MAX_KEPT = 500
"""Maximum of paths in the list; of more it has the number."""


class LeftOutPath(Record):
    """A path that is not kept."""

    reason: str
    state: str = ""
    """Size and modification time of the file when it was last read."""
    written: bool = False
    """Whether one of the file tools wrote it: then it counts as no cache, even by its name."""
    told: str = ""
    """The session that was informed of it with this reason."""

    def is_minor(self, path: str) -> bool:
        """Whether it is a cache or the like, which no change needs."""
        return not self.written and is_minor(path, self.reason)


_NONE = LeftOutPath(reason="")


class LeftOutList(Record):
    """The list of one lane, by path as `show_path` shows it."""

    paths: dict[str, LeftOutPath] = Field(default_factory=dict)
    more: int = 0
    """Number of further paths that are not kept, beyond the maximum of the list."""
    run: str = ""
    """The run to whose people the list was reported; in a fork it is another run."""

    def known_paths(self) -> list[str]:
        """Return the paths as git has them."""
        return [read_path(shown) for shown in self.paths]

    def to_left_out(self) -> LeftOut:
        """Return the list for people, bounded because histories hold it, with one cache of each name."""
        major = {shown: path.reason for shown, path in sorted(self.paths.items()) if not path.is_minor(shown)}
        named_so = {_base_name(shown): shown for shown, path in sorted(self.paths.items()) if path.is_minor(shown)}
        minor = sorted(named_so.values())
        return LeftOut(
            paths={cut_item(shown): major[shown] for shown in list(major)[:MAX_NAMED]},
            minor=list(map(cut_item, minor[:MAX_NAMED])),
            more=max(0, len(major) - MAX_NAMED) + max(0, len(minor) - MAX_NAMED) + self.more,
        )


class LeftOutChanges:
    """The changes that a turn's tool calls make to the list of a lane."""

    def __init__(self, book: LeftOutList, key: SessionKey) -> None:
        self.before = book
        self.after = book
        self.seen: dict[str, LeftOutPath] = {}
        """Paths of the list that these calls wrote or changed, reported before or not."""
        self.fresh: dict[str, LeftOutPath] = {}
        """Paths that were not reported to this session before, and those that a file tool wrote again."""
        self._key = key
        self._untold = 0

    def take_snapshot(
        self,
        unkept: Mapping[str, str],
        states: Mapping[str, str],
        *,
        written: Collection[str],
        before: Mapping[str, str],
        whole: bool,
        holds: Callable[[str], bool],
        files_in: Callable[[str], Collection[str] | None],
    ) -> None:
        """Enter the paths that a snapshot left out.

        `unkept` has the reason of each. `states` are size and time of the files now, `before` those before the calls.
        `written` are the paths that file tools wrote; `whole` is whether the snapshot covers the whole workspace;
        `holds` tests whether a path is kept; `files_in` returns the files of a directory, None if there are many.
        """
        paths: dict[str, LeftOutPath] = {}
        for path, known in ((read_path(shown), known) for shown, known in self.before.paths.items()):
            deleted = path in before and path not in states
            if path not in unkept and (deleted or holds(path) or (whole and _is_obsolete(known, path, unkept, states))):
                continue
            paths[path] = known
        unkept = {path: reason for path, reason in unkept.items() if not _is_named(path, paths, files_in)}
        if whole:  # Paths that git names by their directory only.
            unkept = {**{path: known.reason for path, known in paths.items() if path in states}, **unkept}
        new: set[str] = set()
        for path, reason in unkept.items():
            known = paths.get(path, _NONE)
            now = LeftOutPath(reason=reason, state=states.get(path, ""), written=path in written or known.written)
            now.told = known.told if reason == known.reason else ""
            if path in written or (reason, now.state) != (known.reason, known.state):
                new.add(path)
            paths[path] = now
        ordered = sorted(paths.items(), key=lambda item: (not item[1].written, item[1].is_minor(item[0]), item[0]))
        kept = dict(ordered[:_MAX_KEPT])
        self._untold = len(ordered) - len(kept)
        self.seen = {path: kept[path] for path in sorted(new & kept.keys())}
        self.fresh = {
            path: kept[path]
            for path in sorted(unkept.keys() & kept.keys())
            if path in written or kept[path].told != self._key.session_name
        }
        told = {"told": self._key.session_name}
        self.after = LeftOutList(
            paths={
                show_path(path): known.model_copy(update=told) if path in self.fresh else known
                for path, known in kept.items()
            },
            more=self._untold + (0 if whole else self.before.more),
            run=self._key.run,
        )

    @property
    def changed_list(self) -> LeftOut | None:
        """The whole list for people; None if it is the one that they know."""
        now = self.after.to_left_out()
        if self.before.run == self._key.run and now == self.before.to_left_out():
            return None
        return now if now != LeftOut() or self.before.paths else None

    @property
    def is_important(self) -> bool:
        """Whether the session must read about a path before it may hand off."""
        return any(not known.is_minor(path) for path, known in self.seen.items() if path in self.fresh)

    def remark_text(self) -> str:
        """Return the remark for the session's next message, with each path once; empty if there is no new path."""
        weighty = {show_path(path): known.reason for path, known in self.fresh.items() if not known.is_minor(path)}
        minor = group_by_name(show_path(path) for path, known in self.fresh.items() if known.is_minor(path))
        lines = []
        if weighty:
            lines += [
                "The engine does NOT keep these paths: they will not be in the branch, and the engine's own test run"
                " does not have them:",
                bullet_list(with_reasons(weighty), more=self._untold),
                "If the change needs one, put it where the project keeps it (another name or place, a smaller file, a"
                " changed .gitignore); if not, leave or delete it. Say in your hand-off what is missing.",
            ]
        if minor:
            lines.append(f"Not kept, as is usual for caches and empty directories: {join_names(minor)}.")
        return "\n".join(lines)


def file_note(reason: str) -> str:
    """Return the line for the result of a file tool whose file is not kept."""
    return f"NOT KEPT: {describe_reason(reason)}, so this file will not be in the branch."


def command_note(seen: Mapping[str, LeftOutPath]) -> str:
    """Return the line for the result of a command that wrote paths that are not kept; empty if there are none."""
    weighty = {show_path(path): known.reason for path, known in seen.items() if not known.is_minor(path)}
    return f"[NOT KEPT, so not in the branch: {join_names(with_reasons(weighty), 5)}]" if weighty else ""


def _is_obsolete(known: LeftOutPath, path: str, unkept: Mapping[str, str], states: Mapping[str, str]) -> bool:
    """Whether a path that a snapshot of the whole workspace does not name leaves the list."""
    if any(other.endswith("/") and path.startswith(other) for other in unkept):
        return False  # named with its directory
    return path in states or known.is_minor(path)


def _is_named(path: str, paths: Mapping[str, LeftOutPath], files_in: Callable[[str], Collection[str] | None]) -> bool:
    """Whether all files of an ignored directory are in the list one by one."""
    if not path.endswith("/") or not any(known.startswith(path) and known != path for known in paths):
        return False
    files = files_in(path)
    return files is not None and paths.keys() >= set(files)


def _base_name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
