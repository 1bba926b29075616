"""Project commits from checkpoints, and merges of the commits of several tasks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from baton.errors import WorkspaceError
from system.uncancellable import in_thread
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.gitlinks import with_gitlinks
from workspaces.delivery.filter_attributes import attribute_files
from workspaces.delivery.lfs_store import as_pointers, keep_contents
from workspaces.git.commits import ENGINE, Author
from workspaces.git.errors import GitFailed, translated
from workspaces.git.object_database import Objects
from workspaces.git.repositories import scratch
from workspaces.git.run import git
from workspaces.git.safe_directory import Beneath
from workspaces.git.tree_codec import EXECUTABLE, FILE, GITLINK, TREE, Change, Entry
from workspaces.store.store import Store

# Line ends follow the project's attributes. Encodings do not: agents read and write the bytes of the repository.
_ADD_ATTRIBUTES = "* -filter -working-tree-encoding\n"
_NO_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class Merged:
    """The result of a merge: a tree, or the paths in conflict and a tree with conflict markers."""

    tree: str | None
    conflicts: list[str]
    conflict_tree: str


async def project_commit(
    store: Store,
    lane: Lane,
    checkpoint: str,
    *,
    parent: str,
    message: str,
    at: datetime,
    author: Author = ENGINE,
) -> str:
    """Make a commit of the project with the files of a checkpoint, in source.git, where agents and the person see it.

    Changed files get the line ends of the project's attributes, as by `git add`. No filter runs: files of Git LFS
    become pointers, whose contents the store keeps, and other files stay as they are; the check before publication is
    `workspaces.delivery.filtered_files`. Submodules stay as they were. The same arguments give the same id.
    """
    checkpoints = Checkpoints(store)
    tree, meta = checkpoints.tree(checkpoint), checkpoints.meta(checkpoint)
    objects = store.objects
    with translated(f"making a commit of {lane.run}/{lane.task}"):
        changes = await in_thread(lambda: list(objects.differences(store.source.tree_of(parent), tree)))
        files = {change.path: change for change in changes if change.new and change.new.mode in (FILE, EXECUTABLE)}
        pointers, contents = await as_pointers(store, tree, {path: c.new for path, c in files.items() if c.new})
        files = {path: change._replace(new=pointers.get(path, change.new)) for path, change in files.items()}
        normal = await _normalised(store, await in_thread(objects.edit, tree, pointers), files)

        def finish() -> str:
            whole = with_gitlinks(objects, normal, meta.gitlinks)
            copy_tree(objects, store.source, whole)
            return store.source.commit(whole, [parent], message, at, author)

        commit = await in_thread(finish)
    await keep_contents(store, lane.run, lane.task, commit, contents)
    return commit


async def merge(store: Store, *, base: str, ours: str, theirs: str) -> Merged:
    """Merge two project commits that both descend from `base`, without moving a ref."""
    objects = store.objects

    def anchor() -> tuple[str, str]:
        # Separate commits, so that the merge uses this base for any history, even a shallow one.
        root = objects.commit(objects.tree_of(base), [], "base", _NO_TIME)
        sides = (objects.commit(objects.tree_of(side), [root], "side", _NO_TIME) for side in (ours, theirs))
        return next(sides), next(sides)

    with translated("merging"):
        one, other = await in_thread(anchor)
        async with scratch(store.root) as place:
            # Conflict markers show the names of these refs.
            for name, commit in (("integrated", one), ("this-task", other)):
                (place / "refs/heads" / name).write_text(f"{commit}\n")
            result = await git(
                ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "integrated", "this-task"],
                git_dir=place,
                env=store.env(write_to=store.source_path),
                check=False,
            )
    if result.code not in (0, 1):
        raise GitFailed("git could not merge; version 2.38 or newer is needed.", stderr=result.stderr, code=result.code)
    tree, *conflicts = result.names()
    if result.code == 0:
        return Merged(tree, [], tree)
    return Merged(None, sorted(set(conflicts)), tree)


async def commit_tree(
    store: Store, tree: str, parents: Sequence[str], message: str, at: datetime, author: Author = ENGINE
) -> str:
    """Make a commit of the project with this tree; the same arguments give the same id."""
    with translated("making a commit"):
        await in_thread(copy_tree, store.objects, store.source, tree)
        return await in_thread(store.source.commit, tree, parents, message, at, author)


async def begin_from_conflict(
    store: Store,
    lane: Lane,
    *,
    expected: str,
    tree: str,
    project_base: str,
    files: Mapping[str, bytes] | None = None,
    at: datetime,
) -> str:
    """Continue a lane from a tree with conflict markers, on a new base, so that its maker resolves them."""
    return await Checkpoints(store).begin(lane, project_base, at=at, replace=expected, tree=tree, files=files)


def copy_tree(source: Objects, target: Objects, tree: str) -> None:
    """Copy a tree with its objects into another repository, contents first, so that an existing tree is complete."""
    waiting = [(tree, False)]
    while waiting:
        oid, complete = waiting.pop()
        if target.has(oid):
            continue
        if complete:
            target.raw_tree(source.read(oid)[1])
            continue
        waiting.append((oid, True))
        for entry in source.entries(oid).values():
            if entry.mode == TREE:
                waiting.append((entry.oid, False))
            elif entry.mode != GITLINK and not target.has(entry.oid):
                target.blob(source.data(entry.oid))


async def _normalised(store: Store, tree: str, files: Mapping[str, Change]) -> str:
    """Return the tree with the changed files as `git add` stores them; the same tree if no attributes apply."""
    objects = store.objects
    attributes = await in_thread(attribute_files, objects, tree, files)
    if not attributes:
        return tree
    async with scratch(store.root, _ADD_ATTRIBUTES) as place:
        work = place / "work"
        await in_thread(_lay_out, objects, work, {**attributes, **{path: c.new for path, c in files.items() if c.new}})
        env = store.env(write_to=store.path)
        before = b"".join(
            b"%o %s\t%s\0" % (change.old.mode, change.old.oid.encode(), os.fsencode(path))
            for path, change in files.items()
            if change.old and change.old.mode in (FILE, EXECUTABLE)
        )
        # git needs the old entries: a file that has CRLF in the repository keeps it under `text=auto`.
        if before:
            await git(["update-index", "-z", "--index-info"], git_dir=place, work_tree=work, env=env, stdin=before)
        paths = b"\0".join(b":(top,literal)" + os.fsencode(path) for path in files)
        await git(
            ["add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"],
            git_dir=place,
            work_tree=work,
            env=env,
            stdin=paths,
        )
        listed = await git(["ls-files", "-z", "--stage"], git_dir=place, work_tree=work, env=env)
    changed: dict[str, Entry | None] = {}
    for line in listed.names():
        about, _, path = line.partition("\t")
        entry = files.get(path)
        if entry is not None and entry.new is not None:
            changed[path] = Entry(entry.new.mode, about.split()[1])
    if changed.keys() != files.keys():
        raise WorkspaceError(f"git did not add {sorted(files.keys() - changed.keys())[:3]}.")
    return await in_thread(objects.edit, tree, changed)


def _lay_out(objects: Objects, work: Path, entries: Mapping[str, Entry]) -> None:
    work.mkdir()
    files = Beneath(work)
    for path, entry in entries.items():
        files.write(path, objects.data(entry.oid), 0o755 if entry.mode == EXECUTABLE else 0o644)
