"""The store: the engine's own bare repositories of one project, with checkpoints and project commits.

    <home>/stores/<key>/source.git   the fetched history, and the project commits that the engine makes: all that an
                                     agent may see (its disposable `.git` borrows these objects, read-only)
    <home>/stores/<key>/store.git    checkpoints with transcripts and the run's own files; borrows from source.git

Objects are removed by `baton gc` only. Refs move by compare-and-swap, and are copied to the state remote if there is
one.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path

from baton import identifiers
from baton.errors import StaleAttempt, StoreDamaged, WorkElsewhere, WorkspaceError
from system.file_lock import hold_lock
from system.uncancellable import run_in_thread
from workspaces.git.credentials import CredentialHeader, Credentials, header_for
from workspaces.git.errors import hold_brief_lock, translate_errors
from workspaces.git.inventory import inspect_store
from workspaces.git.object_database import ObjectDatabase
from workspaces.git.ref_update import move_ref
from workspaces.git.repack import is_due, repack_loose
from workspaces.git.repositories import create_repositories, remove_abandoned, scratch_repository
from workspaces.git.run import call_git, quote_alternate
from workspaces.git.tree_codec import EMPTY_TREE, EXECUTABLE, FILE, LINK, TREE, TreeEntry
from workspaces.store import replication
from workspaces.store.fetch import ResolvedBase, fetch_base
from workspaces.store.private_home import close_home, make_private
from workspaces.store.state_remote import OURS, StateRemote

_REF = re.compile(r"refs/baton/[A-Za-z0-9._+-]+(/[A-Za-z0-9._-]+)+")
_OBJECT = re.compile(r"[0-9a-f]{40}")
_OF_PROJECT = re.compile(r"refs/baton/[^/]+/(?:integration/head|[^/]+/(?:candidate|landing)/.+)")
"""Refs of project commits. Anchored: a plan may call a task `candidate`, and its lane is none of these."""


class Store:
    """The repositories of one project; cheap to open, safe to use from several processes at once."""

    def __init__(
        self,
        home: Path,
        repo: str,
        remote: StateRemote | None = None,
        credentials: Credentials | None = None,
        *,
        hooks: bool = False,
    ) -> None:
        self.home = home
        self.repo = repo
        self.remote = remote
        self.hooks = hooks
        self._credentials = credentials
        self.root = home / "stores" / identifiers.repo_key(repo)
        self.source_path = self.root / "source.git"
        self.path = self.root / "store.git"
        self.objects = ObjectDatabase(self.path)
        self.source = ObjectDatabase(self.source_path)

    @classmethod
    async def open(
        cls,
        home: Path,
        repo: str,
        remote: StateRemote | None = None,
        credentials: Credentials | None = None,
        *,
        hooks: bool = False,
    ) -> "Store":
        """Open the store of a repository (an absolute path or a URL); it is made if it is missing.

        A process that moves refs of a home with a state remote opens it with that. `credentials` are for fetching and
        publishing, and `hooks` lets a repository at a path run its own then (`local_source`). Raises ConfigurationError
        if the repository is its own state remote, and StoreDamaged if the store cannot be used.
        """
        if remote is not None:
            remote.refuse_target(repo)
        root = home / "stores" / identifiers.repo_key(repo)
        with translate_errors("opening the store"):
            place = await run_in_thread(inspect_store, home, root, repo)
            if place is not None and place.faults:
                raise StoreDamaged(place.first_fault)
            if not (root / "ready").exists():
                await run_in_thread(_make_root, home)
                async with hold_lock(root / "create.lock"):
                    await run_in_thread(create_repositories, root, repo)
            await run_in_thread(remove_abandoned, root)
            return cls(home, repo, remote, credentials, hooks=hooks)

    async def credential_header(self) -> CredentialHeader | None:
        """Return the credential for one operation on the repository; None if the person's own git has one."""
        return await header_for(self.repo, self._credentials)

    async def fetch_base(self, base: str | None) -> ResolvedBase:
        """Fetch all branches and tags, and resolve the commit that a run starts from; see `fetch.fetch_base`."""
        return await fetch_base(self, base)

    async def read_head(self, ref: str) -> str | None:
        """Return the commit that a ref of the engine points to; None if there is no such ref."""
        with translate_errors(f"reading {ref}"):
            return self._read_head(ref)

    async def move_ref(self, ref: str, new: str, *, expected: str | None) -> None:
        """Point a ref to `new` if it points to `expected` (None: if there is none), durably.

        A ref that already is at `new` is left: the same attempt was here before. Raises StaleAttempt if it is anywhere
        else, for then another attempt has taken over, on this host or (with a state remote) on another one. Raises
        StateRemoteAway if the push failed; the next step repeats it.
        """
        with translate_errors(f"moving {ref}"):
            await run_in_thread(self._move_ref, ref, new, expected)
        await self._after_move(ref, new, expected)

    async def catch_up(
        self, run: str, lane: str | None = None, wanted: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Bring this host up to date with a run's refs in the state remote, and take over the lane of a given ref.

        The caller is at a step's start and holds the lane's workspace. A no-op without a state remote. Raises
        StateRemoteAway, and the errors of `wanted`, which is called before a lane is taken over.
        """
        if self.remote is not None:
            await replication.catch_up(self, self.remote, run, lane, wanted)

    def require_commits(self, run: str, *commits: str) -> None:
        """Raise WorkElsewhere, with a remedy, if one of these commits of a run is not in this store."""
        if missing := [commit for commit in commits if not self.objects.has_object(commit)]:
            raise self.work_elsewhere(run, f"commit {missing[0][:12]}")

    def work_elsewhere(self, run: str, what: str) -> WorkElsewhere:
        """Return the error for a part of a run that another host has and this one lacks."""
        if self.remote is None:
            advice = (
                "it lies on the host that worked on the run before; start that one again, or set BATON_STATE_REMOTE on"
                " all hosts so that they can take over from each other"
            )
        else:
            advice = (
                "the state remote does not have it either; start the host that worked on the run before, with the same"
                " BATON_STATE_REMOTE"
            )
        return WorkElsewhere(f"This host has no {what} of run {run}: {advice}.")

    def _read_head(self, ref: str) -> str | None:
        found = self.repository_of(ref).repo.references.get(ref)
        return None if found is None else str(found.target)

    def _move_ref(self, ref: str, new: str, expected: str | None) -> None:
        keeper = self.repository_of(ref)
        with self._refs_held():
            current = self._read_head(ref)
            if current == new:
                return
            if current != expected:
                raise StaleAttempt(
                    f"{ref} is at {_short_id(current)}, not at {_short_id(expected)}:"
                    " another attempt has taken over, this one ends."
                )
            move_ref(Path(keeper.repo.path), ref, new)

    def set_ref(self, ref: str, value: str | None) -> None:
        """Set a ref, or remove it with None, without a comparison: the caller knows its commit in the state remote."""
        keeper = self.repository_of(ref)
        with self._refs_held():
            if value is not None:
                move_ref(Path(keeper.repo.path), ref, value)
            elif ref in keeper.repo.references:
                # Every writer of these refs holds the store's lock: an existing lock file was left by a crash.
                (Path(keeper.repo.path) / f"{ref}.lock").unlink(missing_ok=True)
                keeper.repo.references.delete(ref)

    def _refs_held(self) -> AbstractContextManager[None]:
        return hold_brief_lock(self.root / "refs.lock", f"The lock for the refs of {self.root}")

    def list_refs(self, run: str) -> list[str]:
        """List all refs of a run, sorted."""
        with translate_errors("listing refs"):
            names = [*self.source.repo.references, *self.objects.repo.references]
        return sorted(name for name in names if name.startswith(f"{OURS}{run}/"))

    def repository_of(self, ref: str) -> ObjectDatabase:
        """Return the repository of a ref: `source` for project commits, which agents may see, `objects` for all
        others.
        """
        if not _REF.fullmatch(ref) or ".." in ref or ref.endswith(".lock"):
            raise WorkspaceError(f"{ref!r} is not a ref of the engine.")
        return self.source if _OF_PROJECT.fullmatch(ref) else self.objects

    async def read_file(self, commit: str, path: str) -> bytes | None:
        """Return the bytes of a file in a commit's tree, or a link's target; None if there is none."""
        with translate_errors(f"reading {path}"):
            entry = self.objects.find_entry(self.objects.tree_of(commit), path)
            return (
                self.objects.read_blob(entry.oid)
                if entry and entry.mode in (FILE, EXECUTABLE, LINK, 0o100664)
                else None
            )

    async def list_paths(self, commit: str, prefix: str = "") -> list[str]:
        """List every file below a directory of a commit's tree, with its full path."""
        prefix = prefix.strip("/")
        tree = self.find_tree(f"{commit}:{prefix}")
        if tree == EMPTY_TREE:
            return []
        listed = await call_git(["ls-tree", "-r", "-z", "--name-only", tree], git_dir=self.path)
        return [f"{prefix}/{name}" if prefix else name for name in listed.split_names()]

    async def changed_paths(self, old: str, new: str) -> list[str]:
        """List the files that differ between two commits, trees, or directories of commits."""
        with translate_errors("comparing commits"):
            changes = await run_in_thread(
                lambda: list(self.objects.diff_trees(self.find_tree(old), self.find_tree(new)))
            )
        return [change.path for change in changes]

    def find_tree(self, treeish: str) -> str:
        """Return the tree that `<commit or tree>[:directory]` names; the empty tree if there is no such directory."""
        commit, _, path = treeish.partition(":")
        if not _OBJECT.fullmatch(commit):
            raise WorkspaceError(f"{commit!r} is not the full id of a commit.")
        with translate_errors(f"looking for {commit}"):
            entry = self.objects.find_entry(self.objects.tree_of(commit), path)
        return entry.oid if entry is not None and entry.mode == TREE else EMPTY_TREE

    async def commit_message(self, commit: str) -> str:
        """Return the message of a commit."""
        with translate_errors(f"reading {commit}"):
            return self.objects.commit_object(commit).message

    async def list_parents(self, commit: str) -> list[str]:
        """Return the parents of a commit."""
        with translate_errors(f"reading {commit}"):
            return self.objects.list_parents(commit)

    async def first_parents(self, head: str, base: str) -> list[str]:
        """List the commits from `head` back to `base` (without it) by first parents, the newest first."""
        found: list[str] = []
        while head != base:
            found.append(head)
            parents = await self.list_parents(head)
            if not parents:
                break
            head = parents[0]
        return found

    async def check_out(self, commit: str, directory: Path) -> None:
        """Write the files of a commit into an empty directory, as a checkout with the project's attributes would.

        No filter is run. The directory gets no `.git`.
        """
        with translate_errors("checking a commit out"):
            await run_in_thread(directory.mkdir, parents=True, exist_ok=True)
            async with scratch_repository(self.root, "* -filter\n") as place:
                await call_git(
                    ["read-tree", "--reset", "-u", commit], git_dir=place, work_tree=directory, env=self.scratch_env()
                )

    def scratch_env(self, *, write_to: Path | None = None) -> dict[str, str]:
        """Return variables with which git in a scratch repository reads both repositories, and writes to the one
        given.
        """
        paths = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": quote_alternate(self.path / "objects")}
        return {**paths, "GIT_OBJECT_DIRECTORY": str(write_to / "objects")} if write_to else paths

    async def commit_files(
        self,
        ref: str,
        *,
        expected: str | None,
        files: Mapping[str, bytes],
        message: str,
        at: datetime,
        keep: bool = True,
    ) -> str:
        """Commit files onto a ref: on top of the files of `expected`, or (without `keep`) in their place.

        The same call gives the same id. Raises StaleAttempt if the ref is not at `expected`.
        """

        def build() -> str:
            base = self.objects.tree_of(expected) if expected and keep else EMPTY_TREE
            return self.objects.edit_tree(base, self.write_blobs(files))

        return await self.commit_tree(ref, build, expected=expected, message=message, at=at)

    def write_blobs(self, files: Mapping[str, bytes]) -> dict[str, TreeEntry | None]:
        """Store files; returns them as entries of a tree."""
        return {path: TreeEntry(FILE, self.objects.write_blob(data)) for path, data in files.items()}

    async def commit_tree(
        self,
        ref: str,
        build: Callable[[], str],
        *,
        expected: str | None,
        message: str,
        at: datetime,
    ) -> str:
        """Commit the tree that `build` makes on top of `expected` and move the ref there, durably.

        `build` runs in a thread. The same tree gives the same id. Raises StaleAttempt if the ref is elsewhere.
        """
        objects = self.repository_of(ref)

        def work() -> str:
            new = objects.write_commit(build(), [expected] if expected else [], message, at)
            self._move_ref(ref, new, expected)
            return new

        with translate_errors(f"writing to {ref}"):
            new = await run_in_thread(work)
        await self._after_move(ref, new, expected)
        return new

    async def _after_move(self, ref: str, new: str, before: str | None) -> None:
        """Copy a moved ref to the state remote, and pack loose objects where they are many."""
        if self.remote is not None:
            await replication.publish_ref(self, self.remote, ref, new, before=before)
        objects = self.repository_of(ref)
        if is_due(Path(objects.repo.path)) and await repack_loose(Path(objects.repo.path)):
            self.objects.close_packs()
            self.source.close_packs()


def _short_id(commit: str | None) -> str:
    return commit[:12] if commit else "nothing"


def _make_root(home: Path) -> None:
    close_home(home)
    for name in ("stores", "workspaces", "gates"):
        make_private(home / name)
