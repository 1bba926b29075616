"""Git's command line: fixed environment, bounded output, a time limit, the whole process group killed on cancellation.

There are two environments. The engine's own takes no setting from the person: no global, no system configuration, no
hooks. The person's own is for fetching and publishing only, where their credential helpers and ssh keys are needed; it
still runs in the engine's repository, never in one with a configuration that a stranger wrote.
"""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from baton import policies
from baton.errors import WorkspaceError
from workspaces.git.credentials import CredentialHeader
from workspaces.git.errors import GitFailed, clean_text, disk_full, is_disk_full

ALLOWED_PROTOCOLS = "file:https:http:ssh:git"
"""Never `ext` (runs a command) or `fd`: https://git-scm.com/docs/git#Documentation/git.txt-GITALLOWPROTOCOL"""

CONFIG = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.untrackedCache=false",
    "core.pager=cat",
    "core.editor=false",
    "core.sshCommand=false",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.autocrlf=false",
    "core.safecrlf=false",
    "core.quotePath=false",
    "core.precomposeUnicode=false",
    # Not the owner: in the sandbox files belong to another user, and git would read all of them again.
    "core.checkStat=minimal",
    # git syncs next to nothing by default in plumbing: https://git-scm.com/docs/git-config#Documentation/git-config.txt-corefsync
    "core.fsync=all",
    "core.fsyncMethod=batch",
    "credential.helper=",
    "diff.external=",
    "gc.auto=0",
    "maintenance.auto=false",
    "gpg.program=false",
    "commit.gpgSign=false",
    "protocol.ext.allow=never",
    "submodule.recurse=false",
    "advice.detachedHead=false",
)
"""Options on every command line of the engine, which no configuration file can override."""

FETCH_OPTIONS = (
    "--quiet",
    "--no-tags",
    "--no-recurse-submodules",
    "--no-auto-maintenance",
    "--no-write-fetch-head",
)
"""For every `git fetch`: only the named refs are fetched, and no other file of the repository is written."""

# Settings of the person's own git that hold: how to reach and to authenticate at their repository, and their filters.
_PERSONS = ("core.sshCommand=", "credential.helper=", "core.autocrlf=", "core.attributesFile=")

FIXED_ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_SYSTEM": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "file",
    "GIT_LITERAL_PATHSPECS": "0",
    "GIT_ADVICE": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "HOME": "/nonexistent",
    "XDG_CONFIG_HOME": "/nonexistent",
    "LC_ALL": "C",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
}
"""The whole environment of the engine's own git."""

_PERSONS_ENVIRONMENT = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": ALLOWED_PROTOCOLS,
    "SSH_ASKPASS_REQUIRE": "never",
    "LC_ALL": "C",
}
# Variables that would make git work on another repository, run a program, or give our keys to a helper.
_DROPPED = (
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_CEILING_DIRECTORIES",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_CONFIG_COUNT",
    "GIT_EXTERNAL_DIFF",
    "GIT_TEMPLATE_DIR",
    "GIT_QUARANTINE_PATH",
    "GIT_TRACE",
    "GIT_TRACE_CURL",
    "GIT_TRACE_PACKET",
    "GIT_CURL_VERBOSE",
    "ANTHROPIC_API_KEY",
    "BATON_GITHUB_TOKEN",
    "BATON_GITHUB_PRIVATE_KEY",
    "BATON_GITHUB_WEBHOOK_SECRET",
)

_ERROR_LIMIT = 16_000
_CHUNK = 1 << 16


@dataclass(frozen=True)
class GitResult:
    """The answer of a git command. `cut` means that its output was longer than the limit."""

    code: int
    stdout: bytes
    stderr: str
    cut: bool = False

    @property
    def text(self) -> str:
        """Standard output as text without the last line end; bytes that are not UTF-8 survive as surrogates."""
        return os.fsdecode(self.stdout).rstrip("\n")

    def split_names(self) -> list[str]:
        """Standard output as a list ended by NULs (`-z`)."""
        return [os.fsdecode(name) for name in self.stdout.split(b"\0") if name]

    def split_fields(self) -> list[str]:
        """Standard output as fields ended by NULs, empty ones among them."""
        return [os.fsdecode(field) for field in self.stdout.split(b"\0")[:-1]]


def git_program() -> str:
    """Return the path of git. Raises WorkspaceError with advice if it is not installed."""
    found = shutil.which("git")
    if found is None:
        raise WorkspaceError("git is not installed: install git 2.38 or newer and try again.")
    return found


def engine_options(*, persons: bool = False) -> list[str]:
    """Return the `-c` options of a command line; `persons` leaves out those that the person may decide."""
    chosen = (entry for entry in CONFIG if not (persons and entry.startswith(_PERSONS)))
    return [part for entry in chosen for part in ("-c", entry)]


def quote_alternate(objects: Path) -> str:
    """Return a directory of objects as an entry of GIT_ALTERNATE_OBJECT_DIRECTORIES, a list divided by colons.

    It is quoted, so that a colon in the path divides it in no way:
    https://git-scm.com/docs/git#Documentation/git.txt-codeGITALTERNATEOBJECTDIRECTORIEScode
    """
    escaped = str(objects).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


async def call_git(
    arguments: Sequence[str],
    *,
    git_dir: Path,
    work_tree: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    persons: bool = False,
    check: bool = True,
    limit: int | None = None,
    timeout: timedelta = policies.GIT_TIMEOUT,
    header: CredentialHeader | None = None,
) -> GitResult:
    """Run git on one of the engine's repositories.

    `persons` uses the person's own environment and global settings; with a `header`, no credentials but that. `limit`
    is the maximum of standard output in bytes, after which git is ended. Raises GitFailed (with `check`), DiskFull, and
    WorkspaceError on a time-out.
    """
    where = {"GIT_DIR": str(git_dir), **({"GIT_WORK_TREE": str(work_tree)} if work_tree else {}), **(env or {})}
    command = [git_program(), *engine_options(persons=persons and header is None), *arguments]
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=work_tree or git_dir,
        env={
            **(_persons_environment() if persons else FIXED_ENVIRONMENT),
            **where,
            **(header.environment if header else {}),
        },
        stdin=asyncio.subprocess.PIPE if stdin else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,  # a group to kill, and no terminal on which ssh could ask
        umask=0o022,
    )
    try:
        async with asyncio.timeout(timeout.total_seconds()):
            stdout, stderr, cut = await _communicate(process, stdin, limit)
            code = await process.wait()
    except TimeoutError as error:
        raise WorkspaceError(f"git {arguments[0]} took longer than {timeout} and was ended.") from error
    finally:
        await _kill_group(process)
    said = stderr.decode(errors="replace")
    if code != 0 and not cut:
        if is_disk_full(said):
            raise disk_full(f"git {arguments[0]} ran")
        if check:
            raise GitFailed(f"git {arguments[0]} failed: {clean_text(said)}", stderr=clean_text(said, 4_000), code=code)
    return GitResult(0 if cut else code, stdout, said, cut)


def _persons_environment() -> dict[str, str]:
    """Return this process's environment without variables that would mislead git, and without the engine's own
    credentials.
    """
    inherited = {name: value for name, value in os.environ.items() if name not in _DROPPED}
    return {**inherited, **_PERSONS_ENVIRONMENT}


async def _communicate(
    process: asyncio.subprocess.Process, stdin: bytes, limit: int | None
) -> tuple[bytes, bytes, bool]:
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.TaskGroup() as group:
        group.create_task(_write_stdin(process, stdin))
        errors = group.create_task(_read_tail(process.stderr))
        output = bytearray()
        cut = False
        while piece := await process.stdout.read(_CHUNK):
            output += piece
            if limit is not None and len(output) > limit:
                del output[limit:]
                cut = True
                _signal_group(process, signal.SIGKILL)
                break
    return bytes(output), errors.result(), cut


async def _write_stdin(process: asyncio.subprocess.Process, stdin: bytes) -> None:
    if process.stdin is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # git's exit code says why it stopped reading
        process.stdin.write(stdin)
        await process.stdin.drain()
    process.stdin.close()


async def _read_tail(stream: asyncio.StreamReader) -> bytes:
    kept = b""
    while piece := await stream.read(_CHUNK):
        kept = (kept + piece)[-_ERROR_LIMIT:]
    return kept


async def _kill_group(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _signal_group(process, signal.SIGKILL)
        await process.wait()


def _signal_group(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
