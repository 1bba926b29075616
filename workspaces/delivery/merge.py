"""Project commits from checkpoints, and merges of the commits of several tasks."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from baton.errors import WorkspaceError
from system.safe_directory import SafeDirectory
from system.uncancellable import run_in_thread
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.gitlinks import with_gitlinks
from workspaces.delivery.filter_attributes import attribute_files
from workspaces.delivery.lfs_store import keep_contents, make_pointers
from workspaces.git.commits import ENGINE, CommitAuthor
from workspaces.git.errors import GitFailed, translate_errors
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.repositories import scratch_repository
from workspaces.git.run import call_git
from workspaces.git.tree_codec import EXECUTABLE, FILE, GITLINK, TREE, TreeChange, TreeEntry
from workspaces.store.store import Store

# Line ends follow the project's attributes. Encodings do not: agents read and write the bytes of the repository.
_ADD_ATTRIBUTES = "* -filter -working-tree-encoding\n"
_NO_TIME = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True)
class MergeResult:
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
    author: CommitAuthor = ENGINE,
) -> str:
    """Make a commit of the project with the files of a checkpoint, in source.git, where agents and the person see it.

    Changed files get the line ends of the project's attributes, as by `git add`. No filter runs: files of Git LFS
    become pointers, whose contents the store keeps, and other files stay as they are; the check before publication is
    `workspaces.delivery.filtered_files`. Submodules stay as they were. The same arguments give the same id.
    """
    checkpoints = Checkpoints(store)
    tree, meta = checkpoints.workspace_tree(checkpoint), checkpoints.read_metadata(checkpoint)
    objects = store.objects
    with translate_errors(f"making a commit of {lane.run}/{lane.task}"):
        changes = await run_in_thread(lambda: list(objects.diff_trees(store.source.tree_of(parent), tree)))
        files = {change.path: change for change in changes if change.new and change.new.mode in (FILE, EXECUTABLE)}
        pointers, contents = await make_pointers(store, tree, {path: c.new for path, c in files.items() if c.new})
        files = {path: change._replace(new=pointers.get(path, change.new)) for path, change in files.items()}
        normal = await _normalise_files(store, await run_in_thread(objects.edit_tree, tree, pointers), files)

        def write_commit() -> str:
            whole = with_gitlinks(objects, normal, meta.gitlinks)
            copy_tree(objects, store.source, whole)
            return store.source.write_commit(whole, [parent], message, at, author)

        commit = await run_in_thread(write_commit)
    await keep_contents(store, lane.run, lane.task, commit, contents)
    return commit


async def merge_commits(store: Store, *, base: str, ours: str, theirs: str) -> MergeResult:
    """Merge two project commits that both descend from `base`, without moving a ref."""
    objects = store.objects

    def anchor_sides() -> tuple[str, str]:
        # Separate commits, so that the merge uses this base for any history, even a shallow one.
        root = objects.write_commit(objects.tree_of(base), [], "base", _NO_TIME)
        sides = (objects.write_commit(objects.tree_of(side), [root], "side", _NO_TIME) for side in (ours, theirs))
        return next(sides), next(sides)

    with translate_errors("merging"):
        one, other = await run_in_thread(anchor_sides)
        async with scratch_repository(store.root) as place:
            # Conflict markers show the names of these refs.
            for name, commit in (("integrated", one), ("this-task", other)):
                (place / "refs/heads" / name).write_text(f"{commit}\n")
            result = await call_git(
                ["merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "integrated", "this-task"],
                git_dir=place,
                env=store.scratch_env(write_to=store.source_path),
                check=False,
            )
    if result.code not in (0, 1):
        raise GitFailed("git could not merge; version 2.38 or newer is needed.", stderr=result.stderr, code=result.code)
    tree, *conflicts = result.split_names()
    if result.code == 0:
        return MergeResult(tree, [], tree)
    return MergeResult(None, sorted(set(conflicts)), tree)


async def commit_tree(
    store: Store, tree: str, parents: Sequence[str], message: str, at: datetime, author: CommitAuthor = ENGINE
) -> str:
    """Make a commit of the project with this tree; the same arguments give the same id."""
    with translate_errors("making a commit"):
        await run_in_thread(copy_tree, store.objects, store.source, tree)
        return await run_in_thread(store.source.write_commit, tree, parents, message, at, author)


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
    return await Checkpoints(store).begin_lane(lane, project_base, at=at, replace=expected, tree=tree, files=files)


def copy_tree(source: ObjectDatabase, target: ObjectDatabase, tree: str) -> None:
    """Copy a tree with its objects into another repository, contents first, so that an existing tree is complete."""
    waiting = [(tree, False)]
    while waiting:
        oid, complete = waiting.pop()
        if target.has_object(oid):
            continue
        if complete:
            target.write_raw_tree(source.read_object(oid)[1])
            continue
        waiting.append((oid, True))
        for entry in source.list_entries(oid).values():
            if entry.mode == TREE:
                waiting.append((entry.oid, False))
            elif entry.mode != GITLINK and not target.has_object(entry.oid):
                target.write_blob(source.read_blob(entry.oid))


async def _normalise_files(store: Store, tree: str, files: Mapping[str, TreeChange]) -> str:
    """Return the tree with the changed files as `git add` stores them; the same tree if no attributes apply."""
    objects = store.objects
    attributes = await run_in_thread(attribute_files, objects, tree, files)
    if not attributes:
        return tree
    async with scratch_repository(store.root, _ADD_ATTRIBUTES) as place:
        work = place / "work"
        await run_in_thread(
            _lay_out, objects, work, {**attributes, **{path: c.new for path, c in files.items() if c.new}}
        )
        env = store.scratch_env(write_to=store.path)
        before = b"".join(
            b"%o %s\t%s\0" % (change.old.mode, change.old.oid.encode(), os.fsencode(path))
            for path, change in files.items()
            if change.old and change.old.mode in (FILE, EXECUTABLE)
        )
        # git needs the old entries: a file that has CRLF in the repository keeps it under `text=auto`.
        if before:
            await call_git(["update-index", "-z", "--index-info"], git_dir=place, work_tree=work, env=env, stdin=before)
        paths = b"\0".join(b":(top,literal)" + os.fsencode(path) for path in files)
        await call_git(
            ["add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"],
            git_dir=place,
            work_tree=work,
            env=env,
            stdin=paths,
        )
        listed = await call_git(["ls-files", "-z", "--stage"], git_dir=place, work_tree=work, env=env)
    changed: dict[str, TreeEntry | None] = {}
    for line in listed.split_names():
        about, _, path = line.partition("\t")
        entry = files.get(path)
        if entry is not None and entry.new is not None:
            changed[path] = TreeEntry(entry.new.mode, about.split()[1])
    if changed.keys() != files.keys():
        raise WorkspaceError(f"git did not add {sorted(files.keys() - changed.keys())[:3]}.")
    return await run_in_thread(objects.edit_tree, tree, changed)


def _lay_out(objects: ObjectDatabase, work: Path, entries: Mapping[str, TreeEntry]) -> None:
    work.mkdir()
    files = SafeDirectory(work)
    for path, entry in entries.items():
        files.write_file(path, objects.read_blob(entry.oid), 0o755 if entry.mode == EXECUTABLE else 0o644)
