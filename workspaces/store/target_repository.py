"""The person's repository: its kind, its refs, and in one sentence the reason if it cannot be reached."""

import re
from dataclasses import dataclass
from pathlib import Path

import pygit2
from pygit2.enums import FileStatus

from baton.errors import BatonError, GitHubDenied, RepositoryAway, RepositoryError
from baton.github.app import RENEW
from baton.text.redaction import strip_url_credentials
from system.uncancellable import run_in_thread
from workspaces.git.credentials import CredentialHeader
from workspaces.git.errors import GitFailed, clean_text
from workspaces.git.object_database import prepare_library
from workspaces.git.run import ALLOWED_PROTOCOLS, call_git
from workspaces.store.local_source import guard_options, is_sparse

_SCP = re.compile(r"[\w.-]+@[\w.-]+:[^:\s][^\s]*")
_URL = re.compile(rf"(?:{ALLOWED_PROTOCOLS.replace(':', '|')}|git\+ssh|ssh\+git)://[^\s]+")

_DENIED = "access was denied; check your git credentials for it"
_AWAY = "it cannot be reached; check the address and the network"

# Messages of git, http and ssh, the more specific ones first.
_REASONS = (
    (
        r"no user exists for uid",
        "ssh works only for a user that is in /etc/passwd; add one for this uid, or use https",
    ),
    (r"dubious ownership", "it belongs to another user; git says how to trust it (safe.directory)"),
    (
        r"unknown repository extension|expected git repo version|unknown ref storage format|reftable",
        "its format is newer than the git on this machine; install a newer one",
    ),
    (
        r"mismatched algorithms|unknown object format|object-format",
        "it uses SHA-256 object ids, which are not supported",
    ),
    (
        r"authentication failed|could not read (username|password)|terminal prompts disabled|permission denied"
        r"|publickey|access denied|returned error: 40[13]\b",
        _DENIED,
    ),
    (
        r"could not resolve|couldn't resolve|could not connect|failed to connect|couldn't connect|connection refused"
        r"|connection timed out|network is unreachable|no route to host|unable to connect|connection reset"
        r"|returned error: (?:429|5\d\d)|empty reply from server|remote end hung up|timed out",
        _AWAY,
    ),
    (r"transport '[^']*' not allowed|protocol '[^']*' is not supported", "its protocol is not allowed"),
    (
        r"possible repository corruption|died of signal|not our ref",
        "its own git cannot read it: objects are missing or damaged, or directories are nested tens of thousands deep;"
        " `git fsck` says which",
    ),
    (
        r"not a git repository|does not appear to be a git repository|repository .*not found|returned error: 404\b",
        "it is not a git repository; check the path or the URL",
    ),
)


@dataclass(frozen=True)
class OfferedRefs:
    """The refs that a repository offers: ids by full name, and the branch its HEAD is on."""

    refs: dict[str, str]
    branch: str | None

    def with_prefix(self, prefix: str) -> dict[str, str]:
        """Return the refs below a prefix."""
        return {name: oid for name, oid in self.refs.items() if name.startswith(prefix)}


def local_path(repo: str) -> Path | None:
    """Return the directory of a repository, None for a URL. Raises RepositoryError for a text that is neither."""
    if repo.startswith("/") and "\0" not in repo:
        path = Path(repo)
        if not path.is_dir():
            raise RepositoryError(f"There is no directory {display_name(repo)}; check the path of the repository.")
        return path
    if _URL.fullmatch(repo) or _SCP.fullmatch(repo):
        return None
    raise RepositoryError(
        f"{display_name(repo)} names no repository: give an absolute path, or a URL with https, http, ssh, git or file."
    )


def display_name(repo: str) -> str:
    """Return a repository's name for messages: without credentials, printable, bounded."""
    return clean_text(strip_url_credentials(repo), 300)


def unreachable_error(
    repo: str, stderr: str, doing: str = "read", header: CredentialHeader | None = None
) -> BatonError:
    """Return the error for a repository that git could not work with, with the reason in plain words if it is known."""
    reason = explain_stderr(stderr)
    if header is not None and reason == _DENIED:
        return GitHubDenied(f"The repository {display_name(repo)} cannot be {doing} with our credential: {RENEW}.")
    kind = RepositoryAway if reason == _AWAY else RepositoryError
    return kind(
        f"The repository {display_name(repo)} cannot be {doing}: {f'{reason}.' if reason else clean_text(stderr, 300)}"
    )


def explain_stderr(stderr: str) -> str | None:
    """Explain git's message about another repository in plain words; None for an unknown message."""
    return next((reason for pattern, reason in _REASONS if re.search(pattern, stderr, re.IGNORECASE)), None)


async def list_refs(
    repo: str, git_dir: Path, *patterns: str, header: CredentialHeader | None = None, hooks: bool = False
) -> OfferedRefs:
    """Ask a repository for its refs; for `hooks` see `local_source.guard_options`.

    Raises RepositoryError if it does not answer.
    """
    local_path(repo)
    try:
        guarded = await guard_options("upload-pack", repo, git_dir, hooks=hooks)
        asked = ["ls-remote", "--symref", *guarded, "--", repo, *patterns]
        answer = await call_git(asked, git_dir=git_dir, persons=True, header=header)
    except GitFailed as error:
        raise unreachable_error(repo, error.stderr, header=header) from error
    refs: dict[str, str] = {}
    branch = None
    for line in answer.text.splitlines():
        value, _, name = line.partition("\t")
        if value.startswith("ref: "):
            branch = value.removeprefix("ref: ") if name == "HEAD" else branch
        else:
            refs[name] = value
    return OfferedRefs(refs, branch)


async def is_dirty(path: Path) -> bool:
    """Whether a checkout has changes that are not committed.

    By libgit2, which runs neither hooks nor filters nor file monitors: the checkout may have been made by a stranger.
    """

    def look() -> bool:
        prepare_library()
        try:
            repo = pygit2.Repository(str(path))
            # libgit2 does not know that a sparse checkout lacks files on purpose.
            meant = FileStatus.WT_DELETED if is_sparse(Path(repo.path)) else FileStatus.CURRENT
            changed = (state for state in repo.status(untracked_files="normal").values() if state != meant)
            return not repo.is_bare and any(state != FileStatus.IGNORED for state in changed)
        except (pygit2.GitError, KeyError, ValueError, OSError):
            return False  # for a note only: the fetch reports a repository that cannot be read

    return await run_in_thread(look)
