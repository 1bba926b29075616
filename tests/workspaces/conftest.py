"""A project repository made with plain git, and a laboratory: a store of it, one lane, and its workspace."""

import asyncio
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from baton.records.run import RunDocument, RunRequest, RunStatus
from baton.settings.bind_paths import refuse_for_this_account
from baton.settings.core import SandboxMode
from workspaces.checkpoints.checkpoints import Checkpoints, Lane, WorkspaceSnapshot
from workspaces.checkpoints.workspace import Workspace
from workspaces.git.run import call_git
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
_ENV = {
    "PATH": os.defpath,
    "HOME": "/nonexistent",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Person",
    "GIT_AUTHOR_EMAIL": "person@example.org",
    "GIT_COMMITTER_NAME": "Person",
    "GIT_COMMITTER_EMAIL": "person@example.org",
}


def run_git(directory: Path, *arguments: str, check: bool = True) -> str:
    """The person's own git in a directory."""
    done = subprocess.run(["git", *arguments], cwd=directory, env=_ENV, capture_output=True, check=False)
    assert not check or done.returncode == 0, done.stderr.decode()
    return os.fsdecode(done.stdout).rstrip("\n")


class Project:
    """A repository of a person, as they made it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *arguments: str, check: bool = True) -> str:
        return run_git(self.path, *arguments, check=check)

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self.path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def commit(self, files: Mapping[str, bytes], message: str = "change") -> str:
        self.write(files)
        if files:
            self.git("add", "--force", "--", *files)
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")


def contents(directory: Path) -> dict[str, tuple[str, int, bytes]]:
    """Everything beneath a directory but its top `.git`: kind, permissions, bytes, by path."""
    found: dict[str, tuple[str, int, bytes]] = {}
    for top, directories, files in os.walk(directory):
        if Path(top) == directory and ".git" in directories:
            directories.remove(".git")
        for name in [*directories, *files]:
            path = Path(top, name)
            state = path.lstat()
            key = str(path.relative_to(directory))
            mode = stat.S_IMODE(state.st_mode)
            if stat.S_ISLNK(state.st_mode):
                found[key] = ("link", 0, os.fsencode(os.readlink(path)))
            elif stat.S_ISDIR(state.st_mode):
                found[key] = ("directory", mode, b"")
            else:
                found[key] = ("file", mode, path.read_bytes())
    return found


@dataclass
class Lab:
    """A store with one lane that has begun, and the means to work in it."""

    home: Path
    project: Project
    store: Store
    lane: Lane
    sandbox: Sandbox
    checkpoint: str
    base: str

    @property
    def checkpoints(self) -> Checkpoints:
        return Checkpoints(self.store)

    async def workspace(self, checkpoint: str | None = None) -> Workspace:
        return await Workspace.open_at(self.store, self.lane, checkpoint or self.checkpoint, sandbox=self.sandbox)

    async def record(self, workspace: Workspace, snapshot: WorkspaceSnapshot, name: str = "turn") -> str:
        self.checkpoint = await self.checkpoints.record_checkpoint(
            self.lane,
            expected=self.checkpoint,
            files={f"transcript/{name}.json": b"{}"},
            workspace=snapshot,
            summary=name,
            at=AT,
        )
        workspace.mark_clean(self.checkpoint)
        return self.checkpoint

    async def rebase(self, run: str) -> None:
        """Begin another lane on what the project's HEAD is now."""
        base = await self.store.fetch_base(None)
        self.base = base.commit
        self.lane = Lane(run, self.lane.task)
        self.checkpoint = await self.checkpoints.begin_lane(self.lane, base.commit, at=AT)


async def apart(repository: Path) -> None:
    """Have every object of a repository lie by itself, as those do that git wrote in a scan."""
    for packed in [*(repository / "objects/pack").glob("*.pack")]:
        moved = packed.rename(repository / packed.name)
        packed.with_suffix(".idx").unlink()
        await call_git(["unpack-objects", "-q"], git_dir=repository, stdin=moved.read_bytes())
        moved.unlink()


def packs(repository: Path) -> list[Path]:
    """The packs of a repository."""
    return sorted((repository / "objects/pack").glob("*.pack"))


async def records(lab: Lab, count: int, size: int = 100) -> list[str]:
    """Checkpoints with a file of their own each."""
    made = []
    for number in range(count):
        files = {f"transcript/{number}": os.urandom(size)}
        lab.checkpoint = await lab.checkpoints.record_checkpoint(
            lab.lane, expected=lab.checkpoint, files=files, workspace=None, summary=str(number), at=AT
        )
        made.append(lab.checkpoint)
    return made


HOLDER = """
import asyncio, os, signal, sys
from pathlib import Path
from system.file_lock import hold_lock

async def hold():
    async with hold_lock(Path(sys.argv[1])):
        print("held", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)

asyncio.run(hold())
"""


@asynccontextmanager
async def stopped_holder(lock: Path) -> AsyncIterator[int]:
    """A process that holds a lock and was stopped; gives its id, and kills it at the end."""
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        HOLDER,
        str(lock),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        yield holder.pid
    finally:
        holder.kill()
        await holder.wait()


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A directory where toolchains may lie, unlike pytest's own below /tmp."""
    for place in (Path(__file__).parents[2] / ".pytest_cache", Path.home(), Path("/opt")):
        if refuse_for_this_account(place / "shelf", baton_home=None) is None and os.access(place.parent, os.W_OK):
            place.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="baton-shelf-", dir=place) as directory:
                yield Path(directory).resolve()
            return
    pytest.skip("There is no place for a toolchain here: checkout and home lie where none may be.")


@pytest.fixture(scope="session")
async def machine_sandbox() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project")
    made.commit({"README.md": b"hello\n", "src/app.py": b"print(1)\n", "src/lib/util.py": b"x = 1\n"}, "first")
    return made


@pytest.fixture
async def store(tmp_path: Path, project: Project) -> Store:
    return await Store.open(tmp_path / "home", str(project.path))


@pytest.fixture
async def lab(tmp_path: Path, project: Project, store: Store, machine_sandbox: Sandbox) -> Lab:
    base = await store.fetch_base(None)
    lane = Lane("run-1", "task-1")
    checkpoint = await Checkpoints(store).begin_lane(lane, base.commit, at=AT)
    return Lab(tmp_path / "home", project, store, lane, machine_sandbox, checkpoint, base.commit)


def run_files(run: str, repo: str) -> dict[str, bytes]:
    """The files of a run that has just begun."""
    request = {**RunRequest(task="x", repo=repo, run=run).model_dump(mode="json"), "base_commit": "0" * 40}
    document = RunDocument(run=run, status=RunStatus.WORKING, repo=repo)
    return {"request.json": json.dumps(request).encode(), "state.json": document.model_dump_json().encode()}
