"""The state remote: a bare repository that holds a second copy of every run's refs, for a host that takes over.

This module speaks to it; `replication` decides when, and which host may write.

A ref `refs/baton/<run>/...` lies there as `refs/baton/<key of the target repository>/<run>/...`: one remote serves many
target repositories, and no two of their run ids can collide. `refs/baton/<key>/trees/<id>` are the project trees that
runs began from: git leaves out of a push the objects of a tree that it knows the remote to have, which it would not see
from commits alone, and so a checkpoint costs only its changes and not the whole project.
"""

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

import pygit2

from baton import identifiers
from baton.errors import ConfigurationError, DiskFull, RepositoryError, StateRemoteAway, WorkspaceError
from baton.policies import GIT_TIMEOUT
from baton.text.redaction import strip_url_credentials
from system.uncancellable import finish_work
from workspaces.git.credentials import basic_header
from workspaces.git.errors import GitFailed, clean_text
from workspaces.git.run import FETCH_OPTIONS, GitResult, call_git
from workspaces.store.target_repository import display_name, explain_stderr, local_path

if TYPE_CHECKING:
    from workspaces.store.store import Store

Result = TypeVar("Result")

OURS = "refs/baton/"


def run_of_ref(ref: str) -> str:
    """Return the key of the run that a ref of the engine belongs to."""
    return ref.removeprefix(OURS).partition("/")[0]


LOOK_TIMEOUT = timedelta(seconds=30)
"""For the list of refs, with which every step begins, so that an unreachable remote shows soon."""

_STALLED = ("http.lowSpeedLimit=1", "http.lowSpeedTime=30")
"""A connection without traffic for this many seconds is given up; a large push as a whole may take longer."""


@dataclass(frozen=True)
class StateRemote:
    """A state remote, with the host and the login that write to it."""

    url: str
    """A path or a URL, without credentials."""
    host: str = ""
    """Name of the host that writes, for people who read the history."""
    login: tuple[str, str] | None = field(default=None, repr=False)
    """User and password where the URL had them."""

    @classmethod
    def parse(cls, text: str, host: str = "") -> "StateRemote":
        """Parse the setting BATON_STATE_REMOTE. Raises ConfigurationError if it names no repository."""
        url = strip_url_credentials(text.strip())
        try:
            path = local_path(url)
        except RepositoryError as error:
            if not url.startswith("/"):
                raise ConfigurationError(
                    f"BATON_STATE_REMOTE is {display_name(url)!r}: give an absolute path, or a URL with file, http,"
                    " https or"
                    " ssh, of a bare repository."
                ) from error
            path = None  # a missing path may be mounted later; an error is raised when it is needed
        parts = urlsplit(text.strip()) if path is None and "://" in text else None
        login = None
        if parts is not None and parts.scheme in ("http", "https") and parts.username:
            login = (unquote(parts.username), unquote(parts.password or ""))
        elif parts is not None and parts.username:
            url = text.strip()  # the user of an ssh URL is no secret, and needed
        return cls(url, host, login)

    def refuse_target(self, repo: str) -> None:
        """Raise ConfigurationError if this is the target repository itself: transcripts would be published."""
        if _normalise_url(repo) == _normalise_url(self.url):
            raise ConfigurationError(
                f"BATON_STATE_REMOTE is the target repository {display_name(repo)} itself, which would publish the"
                " transcripts"
                " of its runs: use a repository of its own."
            )

    async def require_answer(self, git_dir: Path) -> None:
        """Raise StateRemoteAway if the remote does not answer; `git_dir` is any repository to run git in."""
        await self._run_git(["ls-remote", "--", self.url, "HEAD"], git_dir, "read", LOOK_TIMEOUT)

    async def list_refs(self, store: "Store", run: str) -> dict[str, str]:
        """List the refs of a run as they are in the remote now, by the names they have here."""
        prefix = self._remote_name(store, f"{OURS}{run}/")
        listed = await self._run_git(["ls-remote", "--", self.url, f"{prefix}*"], store.path, "read", LOOK_TIMEOUT)
        found = (line.partition("\t") for line in listed.text.splitlines())
        return {f"{OURS}{run}/{name.removeprefix(prefix)}": oid for oid, _, name in found if name.startswith(prefix)}

    async def push_ref(
        self, store: "Store", ref: str, new: str, *, lease: str | None, git_dir: Path, tree: str | None = None
    ) -> bool:
        """Set a ref in the remote to `new` if it is at `lease` (None: if it is not there); returns whether it is at
        `new` now.

        `tree` is a project's tree to push besides. A push that has begun is brought to its end even if the caller is
        cancelled: cut short, it could leave the remote locked. If it ends without a clear answer, the remote is asked
        for the ref. Raises StateRemoteAway.
        """
        name = self._remote_name(store, ref)
        options = ["--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--no-signed"]
        # The ref of a tree never moves: it has this value or is missing.
        trees = [f"{tree}:{self._remote_name(store, f'{OURS}trees/{tree}')}"] if tree else []
        arguments = ["push", *options, f"--force-with-lease={name}:{lease or ''}", "--", self.url, f"{new}:{name}"]
        fault: WorkspaceError | None = None
        try:
            await finish_work(self._run_git([*arguments, *trees], git_dir, "written to", GIT_TIMEOUT))
        except DiskFull:
            raise
        except WorkspaceError as error:
            fault = error
        if fault is None:
            return True
        now = (await self.list_refs(store, run_of_ref(ref))).get(ref)
        if now == new:
            return True
        if now != lease:
            return False
        raise fault

    async def fetch_refs(self, store: "Store", refs: Collection[str], git_dir: Path) -> None:
        """Fetch the objects of these refs into a repository; no ref is written. Raises StateRemoteAway."""
        if not refs:
            return
        names = [self._remote_name(store, ref) for ref in sorted(refs)]
        await self._run_git(
            ["fetch", *FETCH_OPTIONS, "--update-shallow", "--", self.url, *names], git_dir, "fetched from", GIT_TIMEOUT
        )

    async def fetch_runs(self, store: "Store", runs: Collection[str], git_dir: Path) -> None:
        """Fetch all refs of some runs into a repository that is still empty. Raises StateRemoteAway."""
        specs = [f"+{self._remote_name(store, f'{OURS}{run}/*')}:refs/state/{run}/*" for run in sorted(runs)]
        await self._run_git(
            ["fetch", *FETCH_OPTIONS, "--update-shallow", "--", self.url, *specs], git_dir, "fetched from", GIT_TIMEOUT
        )

    def _remote_name(self, store: "Store", ref: str) -> str:
        return f"{OURS}{identifiers.repo_key(store.repo)}/{ref.removeprefix(OURS)}"

    async def _run_git(self, arguments: Sequence[str], git_dir: Path, doing: str, timeout: timedelta) -> GitResult:
        # Packs and not loose objects: after a crash a pack is there whole or not at all.
        settings = ["-c", "fetch.unpackLimit=1", *(part for entry in _STALLED for part in ("-c", entry))]
        header = basic_header(self.url, *self.login) if self.login else None
        try:
            return await call_git(
                [*settings, *arguments], git_dir=git_dir, persons=True, timeout=timeout, header=header
            )
        except DiskFull:
            raise
        except GitFailed as error:
            raise StateRemoteAway(self._error_message(doing, _explain_stderr(error.stderr))) from error
        except WorkspaceError as error:
            raise StateRemoteAway(self._error_message(doing, f"it did not answer within {timeout}")) from error

    def _error_message(self, doing: str, reason: str) -> str:
        return (
            f"The state remote {display_name(self.url)} (BATON_STATE_REMOTE) cannot be {doing}:"
            f" {reason.rstrip('.')}. What was"
            " done is kept on this host and copied at the next try."
        )


async def probe_remote(remote: StateRemote) -> None:
    """Check that a state remote answers. Raises StateRemoteAway with the reason if it does not."""
    with tempfile.TemporaryDirectory(prefix="baton-") as place:
        pygit2.init_repository(place, bare=True)
        await remote.require_answer(Path(place))


def _explain_stderr(stderr: str) -> str:
    if "shallow update not allowed" in stderr:
        return (
            "the target repository is a shallow clone, which it does not take; deepen that (`git fetch --unshallow`),"
            " or set `receive.shallowUpdate=true` in the state remote"
        )
    if "File exists" in stderr and ".lock" in stderr:
        return f"a lock that a crash left stands in the way; remove it there if no git is at work: {clean_text(stderr)}"
    return explain_stderr(stderr) or clean_text(stderr, 300) or "git ended with an error"


def _normalise_url(repo: str) -> str:
    """Return a repository's address in a form for comparison."""
    return strip_url_credentials(repo).removeprefix("file://").rstrip("/").removesuffix(".git").rstrip("/")
