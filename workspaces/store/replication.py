"""Replication: the host that may write a lane, and how its store and the state remote are kept in step.

The remote is the authority, this host's refs are a copy. A ref moves here first and is pushed before the step counts as
done, by compare-and-swap against the commit that this host last saw there (`<store>/pushed/...`). The next step repeats
a push that failed. A host that finds a lane moved by another one takes it over: it puts a commit of its own with the
same tree on top, so that a later push of the other host is rejected.

A run's own files and its line of integrated commits have several writers by design, which fetch and try again when they
lost a race; those refs are only brought up to date. All refs move forward only.
"""

import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pygit2

from baton import identifiers
from baton.errors import StaleAttempt, StateRemoteAway
from system.file_lock import hold_lock
from system.uncancellable import run_in_thread
from workspaces.git.errors import translate_errors
from workspaces.store.state_remote import OURS, StateRemote, run_of_ref

if TYPE_CHECKING:
    from workspaces.store.store import Store

_STEPS = 50
"""Commits that are followed one by one before git searches the whole history."""

_MAX_RACES = 10
"""Attempts in which another host may write between our listing of the remote and our push."""


async def publish_ref(store: "Store", remote: StateRemote, ref: str, new: str, *, before: str | None) -> None:
    """Push a ref that this host has just moved from `before` to `new`.

    Raises StaleAttempt if another host has written it since: then a lane is reset here to `before`, and a shared ref to
    its commit in the remote. Raises StateRemoteAway if the push failed: the next step repeats it.
    """
    async with _one_at_a_time(store, ref):
        lease = _last_pushed(store, ref)
        if lease is not None and _is_ancestor(store, ref, lease, new):
            return  # pushed already, by an earlier attempt or together with later commits of others
        if lease is not None and not _is_ancestor(store, ref, new, lease):
            await _handle_refusal(store, remote, ref, new, before, lease)
        if not await _push_ref(store, remote, ref, new, lease):
            there = (await remote.list_refs(store, run_of_ref(ref))).get(ref)
            # A remote that was emptied is filled again.
            if there is not None or not await _push_ref(store, remote, ref, new, None):
                await _handle_refusal(store, remote, ref, new, before, there)


async def catch_up(
    store: "Store",
    remote: StateRemote,
    run: str,
    lane: str | None,
    wanted: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Fetch the refs of a run that a step needs, and take the lane over if another host wrote it last.

    The caller is at a step's start and holds the lane's workspace. Raises StateRemoteAway, and the errors of `wanted`:
    a step that slept may be about to take the lane from its own successor.
    """
    for _ in range(_MAX_RACES):
        offered = await remote.list_refs(store, run)
        shared = {ref: offered[ref] for ref in _shared_refs(run) if ref in offered}
        # Refs that are written once are for all hosts: a gate or a publication needs them.
        shared |= {ref: oid for ref, oid in offered.items() if identifiers.is_contents_ref(ref)}
        foreign = lane is not None and lane in offered and not _is_ours(store, lane, offered[lane])
        # A host that takes over needs the run and not only a lane: its accounts are over all of it.
        if not await _fetch_refs(store, remote, offered if foreign else shared):
            continue
        for ref, oid in (offered if foreign else shared).items():
            await _adopt_ref(store, ref, oid, known=ref in shared)
        if not offered.keys() >= set(_shared_refs(run)):
            await _copy_all(store, remote, run, offered)
        if lane is None:
            return
        if foreign and wanted is not None:
            await wanted()
        try:
            if foreign:
                await _take_over(store, remote, lane, offered[lane])
            else:
                await _push_missed(store, remote, lane, offered.get(lane))
        except StaleAttempt:
            continue
        return
    raise StateRemoteAway(f"The refs of run {run} kept being moved in the state remote; try again.")


async def _take_over(store: "Store", remote: StateRemote, lane: str, theirs: str) -> None:
    """Put a commit on top of a lane that another host wrote, which thereby can write no more."""

    def commit() -> str:
        # Never the id of another host's commit: two may take over in the same second.
        message = f"taken over by host {remote.host or 'unknown'} ({secrets.token_hex(4)})"
        return store.objects.write_commit(store.objects.tree_of(theirs), [theirs], message, datetime.now(UTC))

    with translate_errors("taking a task over"):
        ours = await run_in_thread(commit)
    async with _one_at_a_time(store, lane):
        if not await _push_ref(store, remote, lane, ours, theirs):
            raise StaleAttempt(f"{lane} was written by another host at the same moment.")
        await _set_ref(store, lane, ours)


async def _push_missed(store: "Store", remote: StateRemote, lane: str, there: str | None) -> None:
    """Push a lane that an earlier attempt on this host could not push."""
    here = await store.read_head(lane)
    if here is None or here == there:
        return
    async with _one_at_a_time(store, lane):
        if not await _push_ref(store, remote, lane, here, there):
            raise StaleAttempt(f"{lane} was written by another host at the same moment.")


async def _copy_all(store: "Store", remote: StateRemote, run: str, offered: dict[str, str]) -> None:
    """Push all refs of a run that the remote lacks: a push failed, or the remote was set or emptied meanwhile."""
    for ref in sorted(store.list_refs(run), key=lambda ref: ref != identifiers.integration_ref(run)):
        here = await store.read_head(ref)
        if here is not None and ref not in offered:
            async with _one_at_a_time(store, ref):
                await _push_ref(store, remote, ref, here, None)


async def _push_ref(store: "Store", remote: StateRemote, ref: str, new: str, lease: str | None) -> bool:
    objects = store.repository_of(ref)
    # The tree of a run's first commit is pushed, too: later pushes leave out its objects.
    tree = objects.tree_of(new) if lease is None and ref == identifiers.integration_ref(run_of_ref(ref)) else None
    done = await remote.push_ref(store, ref, new, lease=lease, git_dir=Path(objects.repo.path), tree=tree)
    if done:
        await run_in_thread(_note_pushed, store, ref, new)
    return done


async def _handle_refusal(
    store: "Store", remote: StateRemote, ref: str, new: str, before: str | None, there: str | None
) -> None:
    """Handle a push that was rejected because of another host's; always raises StaleAttempt."""
    if ref in _shared_refs(run_of_ref(ref)) and there is not None:
        if await _fetch_refs(store, remote, {ref: there}):
            await _adopt_ref(store, ref, there, known=True)
    elif await store.read_head(ref) == new:
        await _set_ref(store, ref, before)
    raise StaleAttempt(
        f"{ref} was moved by another host, which has taken over: what this attempt did is not taken over, it ends."
    )


async def _fetch_refs(store: "Store", remote: StateRemote, refs: dict[str, str]) -> bool:
    """Fetch the missing objects of these refs; False if a ref has moved on since it was listed."""
    for objects in (store.source, store.objects):  # the project first: checkpoints borrow from it
        lacking = [
            ref for ref, oid in refs.items() if store.repository_of(ref) is objects and not objects.has_object(oid)
        ]
        await remote.fetch_refs(store, lacking, Path(objects.repo.path))
    return all(store.repository_of(ref).has_object(oid) for ref, oid in refs.items())


async def _adopt_ref(store: "Store", ref: str, oid: str, *, known: bool) -> None:
    """Set a ref to its commit in the remote, unless it is ahead here: then a push of this host is under way or will
    be repeated.

    `known`: writes may build on it. Not so for a lane, which has to be taken over first.
    """
    here = await store.read_head(ref)
    if here is None or not _is_ancestor(store, ref, here, oid):
        await _set_ref(store, ref, oid)
    if known:
        await run_in_thread(_note_pushed, store, ref, oid)


async def _set_ref(store: "Store", ref: str, value: str | None) -> None:
    with translate_errors(f"moving {ref}"):
        await run_in_thread(store.set_ref, ref, value)


def _is_ours(store: "Store", lane: str, there: str) -> bool:
    """Whether this host was the last to write a lane in the remote, and its own commit builds on that one."""
    found = store.objects.repo.references.get(lane)
    return (
        _last_pushed(store, lane) == there and found is not None and _is_ancestor(store, lane, str(found.target), there)
    )


def _is_ancestor(store: "Store", ref: str, new: str, old: str) -> bool:
    """Whether a commit is another one or builds on it."""
    if new == old:
        return True
    objects, at = store.repository_of(ref), new
    with suppress(pygit2.GitError, KeyError, ValueError):
        for _ in range(_STEPS):
            parents = objects.list_parents(at)
            if old in parents:
                return True
            if len(parents) != 1:
                break
            at = parents[0]
        return objects.repo.descendant_of(pygit2.Oid(hex=new), pygit2.Oid(hex=old))
    return False


def _shared_refs(run: str) -> tuple[str, str]:
    """Return the refs with several writers, that of the project's commits first."""
    return identifiers.integration_ref(run), identifiers.run_ref(run)


def _one_at_a_time(store: "Store", ref: str) -> AbstractAsyncContextManager[None]:
    """Return the lock for pushes of one ref by all attempts and processes of this host; refs share 256 such locks."""
    return hold_lock(store.root / "pushing" / f"{hashlib.sha256(ref.encode()).hexdigest()[:2]}.lock")


def _note_path(store: "Store", ref: str) -> Path:
    return store.root / "pushed" / ref.removeprefix(OURS)


def _last_pushed(store: "Store", ref: str) -> str | None:
    """Return the commit that this host last wrote to a ref in the remote, or for a shared ref last saw there."""
    try:
        return _note_path(store, ref).read_text().strip() or None
    except FileNotFoundError:
        return None


def _note_pushed(store: "Store", ref: str, oid: str) -> None:
    # If a power cut loses it, this host takes the lane over from itself: no work is lost.
    path = _note_path(store, ref)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    beside.write_text(f"{oid}\n")
    beside.replace(path)
