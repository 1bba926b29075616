"""The agent's own refs and stash in its disposable `.git`: read as data, compared, and written into a new one.

The `.git` is hostile. It is read here by descriptors, without following a link, with maximums for each file and their
number, and its text counts only as far as a name is a valid ref and an id an id. No git of the engine ever runs on it.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from system.safe_directory import SafeDirectory

BRANCH = "refs/heads/work"
STASH = "refs/stash"

MAX_REFS = 1_000
MAX_STASHES = 200
_MAX_REF_FILE = 1_024
_MAX_FILE = 1 << 20
_MAX_DEPTH = 12
_MAX_NAMES = 5

_OID = re.compile(r"[0-9a-f]{40}")
_NONE = "0" * 40
# Names by git-check-ref-format(1), without characters that a terminal or a file system could interpret.
_PART = r"(?!\.)(?!@/?\Z)(?:(?!\.\.|@\{)[^\x00-\x20\x7f-\x9f~^:?*\[\\/\ud800-\udfff])+(?<!\.)(?<!\.lock)"
_REF = re.compile(rf"refs(?:/{_PART})+")
_STASHED = re.compile(r"[0-9a-f]{40} (?P<oid>[0-9a-f]{40}) [^\t\n\0]{1,300} \d{1,12} [+-]\d{4}\t[^\n\0]{0,2000}")
# Refs of one work tree or of an operation under way; git refuses them elsewhere.
_PASSING = ("refs/bisect", "refs/worktree", "refs/rewritten")
_UNDER_WAY = {
    "MERGE_HEAD": "a merge",
    "CHERRY_PICK_HEAD": "a cherry-pick",
    "REVERT_HEAD": "a revert",
    "rebase-merge": "a rebase",
    "rebase-apply": "a rebase or `git am`",
    "BISECT_LOG": "a bisection",
}


@dataclass(frozen=True)
class AgentRefs:
    """The HEAD, refs and stash of an agent's git."""

    base: str
    """The project commit that the branch `work` was made at."""
    head: str
    """A ref, or a commit where HEAD is detached."""
    refs: Mapping[str, str]
    stash: tuple[str, ...] = ()
    """Lines of the stash's reflog, the oldest first."""
    lost: bool = False
    """Its objects are not kept: it holds only as long as the `.git` stands."""
    told: tuple[str, ...] = ()
    """Descriptions of parts that are not kept, of which the agent has been told."""

    def equals(self, other: "AgentRefs") -> bool:
        """Whether HEAD, refs and stash are the same."""
        return (self.head, dict(self.refs), self.stash) == (other.head, dict(other.refs), other.stash)

    @property
    def tips(self) -> list[str]:
        """The objects that HEAD, refs and stash lead to directly, sorted."""
        stashed = [found["oid"] for line in self.stash if (found := _STASHED.fullmatch(line))]
        detached = [self.head] if _OID.fullmatch(self.head) else []
        return sorted({*self.refs.values(), *stashed, *detached})

    @property
    def commit(self) -> str | None:
        """The commit of HEAD; None on a branch without a commit."""
        return self.head if _OID.fullmatch(self.head) else self.refs.get(self.head)

    def rebased_on(self, commit: str) -> "AgentRefs":
        """Return this state for a workspace that begins anew from another commit: `work` is there, and its old tip
        is kept.
        """
        if commit == self.base:
            return self
        refs = dict(self.refs)
        before = refs.get(BRANCH, self.base)
        refs[BRANCH] = commit
        if before != self.base:
            refs[f"{BRANCH}-{self.base[:12]}"] = before
        return replace(self, base=commit, head=BRANCH, refs=refs)

    def dump(self) -> bytes:
        """Return the bytes of `git/state.json`."""
        fields = {
            "base": self.base,
            "head": self.head,
            "refs": dict(sorted(self.refs.items())),
            "stash": list(self.stash),
            "lost": self.lost,
            "told": list(self.told),
        }
        return (json.dumps(fields, indent=1) + "\n").encode()


def new_state(commit: str) -> AgentRefs:
    """Return the state of a `.git` as the engine makes it at a commit."""
    return AgentRefs(base=commit, head=BRANCH, refs={BRANCH: commit})


def parse_state(data: bytes) -> AgentRefs | None:
    """Parse the bytes of `git/state.json`; None if they are invalid."""
    try:
        fields = json.loads(data)
        state = AgentRefs(
            base=fields["base"],
            head=fields["head"],
            refs=dict(fields["refs"]),
            stash=tuple(fields["stash"]),
            lost=bool(fields["lost"]),
            told=tuple(fields["told"]),
        )
    except (ValueError, TypeError, KeyError):
        return None
    names = [*state.refs, *([] if _OID.fullmatch(state.head) else [state.head])]
    oids = [state.base, *state.refs.values()]
    whole = (
        all(_OID.fullmatch(oid) for oid in oids)
        and all(is_ref(name) for name in names)
        and all(_STASHED.fullmatch(line) for line in state.stash)
    )
    return state if whole else None


def is_ref(name: str) -> bool:
    """Whether a text is the name of a ref that is kept."""
    return (
        len(name.encode(errors="replace")) <= 255
        and name.count("/") <= _MAX_DEPTH
        and _REF.fullmatch(name) is not None
        and not any(name == passing or name.startswith(f"{passing}/") for passing in _PASSING)
    )


@dataclass
class ReadRefs:
    """The result of reading a `.git`."""

    state: AgentRefs | None
    """None where there is no HEAD and no refs that can be read."""
    strange: list[str] = field(default_factory=list)
    """Parts that cannot be kept, as the rest of a sentence each; the text of one part never changes."""


def read_state(work: Path, base: str) -> ReadRefs:
    """Read HEAD, refs and stash of the `.git` in a workspace. Never raises, with any contents of the `.git`."""
    found = ReadRefs(None)
    try:
        _read_refs(SafeDirectory(work / ".git"), base, found)
    except OSError:
        found.state = None
    return found


def stash_log(state: AgentRefs) -> bytes:
    """Return the reflog of the stash as git writes it."""
    return "".join(f"{line}\n" for line in state.stash).encode()


def packed_refs(state: AgentRefs) -> bytes:
    """Return all refs but the branch `work` as git packs them; such a list needs no directories, in which names
    could collide.
    """
    return "".join(f"{oid} {name}\n" for name, oid in sorted(state.refs.items()) if name != BRANCH).encode()


def _read_refs(git: SafeDirectory, base: str, found: ReadRefs) -> None:
    text = (_read_small(git, "HEAD", _MAX_REF_FILE) or b"").decode(errors="replace").strip()
    head = text.removeprefix("ref:").strip() if text.startswith("ref:") else text
    if not _OID.fullmatch(head) and not (text.startswith("ref:") and is_ref(head)):
        return
    refs: dict[str, str] = {}
    odd: list[str] = []
    for name, oid in [*_read_packed(git), *_read_loose(git, "refs", 0)]:
        if any(name == passing or name.startswith(f"{passing}/") for passing in _PASSING):
            continue
        if not is_ref(name) or oid is None:
            odd.append(name)
        elif len(refs) < MAX_REFS or name in refs:
            refs[name] = oid
        else:
            odd.append(name)
    stash = _read_stashes(git, refs, odd)
    found.state = AgentRefs(base=base, head=head, refs=refs, stash=stash)
    if odd:
        shown = ", ".join(sorted({name.encode(errors="replace").decode()[:80] for name in odd})[:_MAX_NAMES])
        found.strange.append(f"the refs {shown} (only {MAX_REFS:,} refs with plain names that hold an id are)")
    if git.stat("reftable") is not None:
        found.strange.append("refs in a reftable")
    found.strange += [f"{what} that is under way" for name, what in _UNDER_WAY.items() if git.stat(name) is not None]


def _read_stashes(git: SafeDirectory, refs: Mapping[str, str], odd: list[str]) -> tuple[str, ...]:
    if STASH not in refs:
        return ()
    data = _read_small(git, "logs/refs/stash", _MAX_FILE)
    if data is None:
        odd.append(f"{STASH} (its log is missing or too large)")
    lines = data.decode(errors="replace").split("\n")[:-1] if data else []
    kept = [line for line in lines if _STASHED.fullmatch(line)]
    if len(kept) < len(lines) or len(kept) > MAX_STASHES:
        odd.append(f"{STASH} (its {len(lines)} entries)")
        kept = kept[-MAX_STASHES:]
    return tuple(kept)


def _read_packed(git: SafeDirectory) -> Iterator[tuple[str, str | None]]:
    data = _read_small(git, "packed-refs", _MAX_FILE)
    if data is None and git.stat("packed-refs") is not None:
        yield "packed-refs", None
    for line in (data or b"").decode(errors="replace").split("\n"):
        oid, _, name = line.partition(" ")
        if line and line[0] not in "#^":
            yield name, oid if _OID.fullmatch(oid) else None


def _read_loose(git: SafeDirectory, path: str, depth: int) -> Iterator[tuple[str, str | None]]:
    try:
        with git.open_directory(path) as directory, os.scandir(directory) as listing:
            some = [entry for _, entry in zip(range(2 * MAX_REFS), listing, strict=False)]
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in some)
    except (OSError, ValueError):  # ValueError: a name such as `.git`
        yield path, None
        return
    if depth > _MAX_DEPTH:
        yield path, None
        return
    for entry, is_directory in entries:
        below = f"{path}/{entry}"
        if is_directory:
            yield from _read_loose(git, below, depth + 1)
        elif not entry.endswith(".lock"):
            oid = (_read_small(git, below, _MAX_REF_FILE) or b"").decode(errors="replace").strip()
            yield below, oid if _OID.fullmatch(oid) and oid != _NONE else None


def _read_small(git: SafeDirectory, path: str, most: int) -> bytes | None:
    """Return the bytes of a plain file of at most so many; None for all else."""
    try:
        return git.read_file(path, most)
    except (OSError, ValueError):
        return None


def not_yet_told(strange: Iterable[str], told: Iterable[str]) -> list[str]:
    """Return the sentences that the agent has not been told yet."""
    known = set(told)
    return [text for text in strange if text not in known]
