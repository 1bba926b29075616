"""Repair from a run's history: refs with commits that are still here, and files that were valid in an earlier
commit.

A ref gets the one commit that certainly was its newest, or none. A file gets the newest of its versions that can be
read, in a commit on top, so that the damaged one stays in the history.
"""

import json
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pygit2

from baton import identifiers
from baton.errors import StaleAttempt, WorkspaceError
from baton.steps.store_paths import DECISIONS, REQUEST, STATE
from system.uncancellable import run_in_thread
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.run import call_git
from workspaces.store.run_records import find_fault, read_json
from workspaces.store.state_remote import OURS, run_of_ref
from workspaces.store.store import Store

_NAMED = re.compile(r"refs/baton/[^/]+/[^/]+/(?:candidate|landing/\d+)/(?P<commit>[0-9a-f]{40})")
_MAX_COMMITS = 100_000
"""Of the history of one ref that is searched."""


async def lost_tip(store: Store, ref: str) -> str | None:
    """Return the commit that a ref of the engine was at, if that is certain; else None."""
    keeper = store.repository_of(ref)
    if named := _NAMED.fullmatch(ref):
        return named["commit"] if keeper.has_object(named["commit"]) else None
    said = await call_git(
        ["fsck", "--dangling", "--connectivity-only", "--no-reflogs", "--no-progress"],
        git_dir=Path(keeper.repo.path),
        check=False,
    )
    tips = re.findall(r"^dangling commit ([0-9a-f]{40})$", said.text, re.MULTILINE)
    found = [tip for tip in tips if await run_in_thread(_was_at, store, keeper, ref, tip)]
    return found[0] if len(found) == 1 else None


def _was_at(store: Store, keeper: ObjectDatabase, ref: str, tip: str) -> bool:
    """Whether a commit that no ref leads to is one of this ref, and of no other."""
    run, _, rest = ref.removeprefix(OURS).partition("/")
    if rest == "run/head":
        return any(_run_of(keeper, tip, name) == run for name in (REQUEST, STATE))
    return not _known_commits(store, ref, run, rest.partition("/")[0]).isdisjoint(_first_parents(keeper, tip))


def _known_commits(store: Store, ref: str, run: str, task: str) -> set[str]:
    """Return commits that are certainly of this ref: the one that was pushed last, and those that state.json names."""
    known = set()
    with suppress(OSError, ValueError):
        known.add((store.root / "pushed" / ref.removeprefix(OURS)).read_text().strip())
    with suppress(KeyError, ValueError, TypeError, AttributeError, OSError, pygit2.GitError, WorkspaceError):
        head = store.objects.repo.references[identifiers.run_ref(run)].target
        state = _read_content(store.objects, str(head), STATE)
        known |= {state["head_commit"]} if task == "integration" else set()
        known |= {entry["commit"] for entry in state["tasks"] if entry["id"] == task}
    return known - {None, ""}


def _first_parents(objects: ObjectDatabase, tip: str) -> list[str]:
    """List a commit and those before it by first parents, as far as they can be read."""
    found: list[str] = []
    with suppress(KeyError, ValueError, OSError, pygit2.GitError, WorkspaceError):
        while len(found) < _MAX_COMMITS:
            found.append(tip)
            parents = objects.list_parents(tip)
            if not parents:
                break
            tip = parents[0]
    return found


def _run_of(objects: ObjectDatabase, commit: str, name: str) -> str | None:
    with suppress(KeyError, ValueError, OSError, pygit2.GitError, WorkspaceError, AttributeError):
        run = _read_content(objects, commit, name).get("run")
        return identifiers.run_key(run) if isinstance(run, str) else None
    return None


def _read_content(objects: ObjectDatabase, commit: str, name: str) -> Any:
    entry = objects.find_entry(objects.tree_of(commit), name)
    return None if entry is None else read_json(objects.read_blob(entry.oid))


async def restore_records(store: Store) -> None:
    """Restore the invalid files of runs from the newest version in the run's history that is valid."""
    for name in sorted(await run_in_thread(lambda: set(store.objects.repo.references))):
        if name.startswith(OURS) and name == identifiers.run_ref(run_of_ref(name)):
            head = await store.read_head(name)
            with suppress(StaleAttempt):  # a worker has just written a newer one
                files = await run_in_thread(_whole_versions, store.objects, str(head))
                if files:
                    message = f"repair: {', '.join(sorted(files))} as it last was whole"
                    await store.commit_files(name, expected=head, files=files, message=message, at=datetime.now(UTC))


def _whole_versions(objects: ObjectDatabase, head: str) -> dict[str, bytes]:
    """Return, for each file that is invalid at `head`, the bytes of its newest valid version."""
    try:
        entries = [
            (name, leaf.oid) for name, leaf in objects.list_leaves(objects.tree_of(head)) if name.endswith(".json")
        ]
    except (KeyError, ValueError, OSError, pygit2.GitError):
        return {}
    found: dict[str, bytes] = {}
    for name, oid in entries:
        if _read_whole(objects, name, oid) is not None:
            continue
        if name == DECISIONS and (decisions := _decisions_of(objects, head)) is not None:
            found[name] = decisions
            continue
        for commit in _first_parents(objects, head)[1:]:
            with suppress(KeyError, ValueError, OSError, pygit2.GitError):
                entry = objects.find_entry(objects.tree_of(commit), name)
                data = _read_whole(objects, name, entry.oid) if entry else None
                if data is not None:
                    found[name] = data
                    break
    return found


def _read_whole(objects: ObjectDatabase, name: str, oid: str) -> bytes | None:
    try:
        data = objects.read_blob(oid)
    except (KeyError, ValueError, OSError, pygit2.GitError):
        return None
    return data if find_fault(name, data) is None else None


def _decisions_of(objects: ObjectDatabase, head: str) -> bytes | None:
    """Return `decisions.json` as the state of the same commit has it; None if that is invalid, too."""
    entry = objects.find_entry(objects.tree_of(head), STATE)
    data = _read_whole(objects, STATE, entry.oid) if entry else None
    if data is None:
        return None
    decisions = read_json(data).get("decisions", [])
    return (json.dumps(decisions, indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
