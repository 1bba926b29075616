"""The cost of a checkpoint in small, medium and large repositories, beside the figures it is held to.

Run it with `python -m benchmarks.checkpoints [small medium large]`.
"""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pygit2

from baton.settings.core import SandboxMode
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import Workspace
from workspaces.delivery.merge import merge_commits, project_commit
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.store import Store

SIZES = {"small": 128, "medium": 7_092, "large": 51_514}

# Milliseconds, measured with plain git and libgit2 on two shared cores; a checkpoint may take 1.5 times as long. The
# row for known paths is a maximum as it stands: its objects are on the disk, which those of plain libgit2 are not.
HELD_TO = {
    "yardstick: plain git, four commands": (21, 82, 220),
    "yardstick: plain libgit2, known paths": (2.6, 5.7, 21),
    "known paths, with commit": (8, 8, 8),
    "scan in the sandbox, with commit": (48, 178, 489),
    "files only (an answer)": (10, 10, 10),
    "restore in place": (102, 418, 900),
    "made from nothing": (300, 2_200, 2_100),
    "merge of two tasks": (16, 16, 16),
}
_AT = datetime(2026, 1, 1, tzinfo=UTC)


def make_repository(path: Path, files: int) -> None:
    """A repository with this many small files, ten to a directory, in one commit."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
    stream = ["commit refs/heads/main\ncommitter A <a@b> 1700000000 +0000\ndata 1\nx\n"]
    for number in range(files):
        data = f"# file {number}\n" + "value = 1\n" * (number % 200)
        name = f"package{number // 500}/module{number // 10 % 50}/file{number}.py"
        stream.append(f"M 100644 inline {name}\ndata {len(data)}\n{data}\n")
    environment = {"PATH": os.defpath}
    subprocess.run(
        ["git", "fast-import", "--quiet"], cwd=path, env=environment, input="".join(stream).encode(), check=True
    )


async def time_call(
    action: Callable[[int], Awaitable[object]], times: int, before: Callable[[int], object] = lambda _: None
) -> float:
    """Return the median milliseconds of `action`; `before` makes its work and is not counted."""
    taken = []
    for number in range(times):
        before(number)
        began = time.perf_counter()
        await action(number)
        taken.append((time.perf_counter() - began) * 1_000)
    return statistics.median(taken)


async def measure_checkpoints(size: str, sandbox: Sandbox) -> dict[str, float]:
    """Every row of the table for one size."""
    with tempfile.TemporaryDirectory(prefix="baton-benchmark-") as directory:
        place = Path(directory)
        make_repository(place / "project.git", SIZES[size])
        store = await Store.open(place / "home", str(place / "project.git"))
        base = (await store.fetch_base(None)).commit
        checkpoints, lane = Checkpoints(store), Lane("run", "task")
        head = await checkpoints.begin_lane(lane, base, at=_AT)
        found: dict[str, float] = {}

        async def fresh(number: int) -> None:
            other = Lane("run", f"fresh{number}")
            await Workspace.open_at(store, other, await checkpoints.begin_lane(other, base, at=_AT), sandbox=sandbox)

        found["made from nothing"] = await time_call(fresh, 3)
        workspace = await Workspace.open_at(store, lane, head, sandbox=sandbox)
        edited = "package0/module1/file15.py"

        def edit(number: int) -> None:
            (workspace.path / edited).write_text(f"changed {time.monotonic_ns()} {number}\n")

        async def change(number: int, touched: list[str] | None) -> None:
            nonlocal head
            workspace.mark_dirty()
            snapshot = await workspace.take_snapshot(touched)
            assert snapshot.changed == [edited]
            head = await checkpoints.record_checkpoint(
                lane, expected=head, files={f"t/{number}": b"{}" * 500}, workspace=snapshot, summary="turn", at=_AT
            )
            workspace.mark_clean(head)

        async def answer(number: int) -> None:
            nonlocal head
            head = await checkpoints.record_checkpoint(
                lane, expected=head, files={f"a/{number}": b"{}" * 500}, workspace=None, summary="answer", at=_AT
            )

        async def restore(_number: int) -> None:
            workspace.mark_dirty()
            (workspace.path / edited).write_text("wrecked\n")
            (workspace.path / "junk").write_text("junk\n")
            await Workspace.open_at(store, lane, head, sandbox=sandbox)

        environment = {
            "PATH": os.defpath,
            "GIT_DIR": str(store.path),
            "GIT_WORK_TREE": str(workspace.path),
            "GIT_INDEX_FILE": str(place / "plain.index"),
            "GIT_CONFIG_COUNT": "2",
            "GIT_CONFIG_KEY_0": "user.name",
            "GIT_CONFIG_VALUE_0": "x",
            "GIT_CONFIG_KEY_1": "user.email",
            "GIT_CONFIG_VALUE_1": "x",
        }

        async def plain(number: int) -> None:
            """Return the reference figure, which tells the speed of this machine from that of the code."""
            said = b""
            for command in (["add", "-A"], ["write-tree"], ["commit-tree", "-m", "x"], ["update-ref", "refs/plain"]):
                said = subprocess.run(
                    ["git", *command, *([said.strip()] if len(command) > 1 and command[0] != "add" else [])],
                    cwd=workspace.path,
                    env=environment,
                    capture_output=True,
                    check=True,
                ).stdout

        index = pygit2.Index()
        index.read_tree(store.source.commit_object(base).tree)
        signature = pygit2.Signature("x", "x@y", 1, 0)
        plain_head = pygit2.Oid(hex=base)

        async def library(number: int) -> None:
            """Measure a checkpoint of known paths without a transcript and without a wait for the disk."""
            nonlocal plain_head
            repo = store.source.repo
            index.add(pygit2.IndexEntry(edited, repo.create_blob(b"plain %d\n" % number), pygit2.enums.FileMode.BLOB))
            tree = index.write_tree(repo)
            plain_head = repo.create_commit(None, signature, signature, "turn", tree, [plain_head])
            repo.references.create("refs/plain", plain_head, force=True)

        found["yardstick: plain libgit2, known paths"] = await time_call(library, 25)
        workspace.mark_dirty()
        await plain(-1)
        found["yardstick: plain git, four commands"] = await time_call(plain, 9, edit)
        workspace = await Workspace.open_at(store, lane, head, sandbox=sandbox)
        found["known paths, with commit"] = await time_call(lambda number: change(number, [edited]), 25, edit)
        # git looks again at all files that are as young as its index, to the second; a model takes longer to answer.
        await asyncio.sleep(1.1)
        found["scan in the sandbox, with commit"] = await time_call(lambda number: change(number, None), 9, edit)
        found["files only (an answer)"] = await time_call(answer, 25)
        found["restore in place"] = await time_call(restore, 7)
        (workspace.path / "other.py").write_text("x\n")
        snapshot = await workspace.take_snapshot(["other.py"])
        head = await checkpoints.record_checkpoint(
            lane, expected=head, files={}, workspace=snapshot, summary="more", at=_AT
        )
        first = (await checkpoints.list_history(lane))[1].commit
        one = await project_commit(store, lane, first, parent=base, message="one", at=_AT)
        other = await project_commit(store, lane, head, parent=base, message="other", at=_AT)
        found["merge of two tasks"] = await time_call(
            lambda _: merge_commits(store, base=base, ours=one, theirs=other), 9
        )
        return found


async def main(sizes: list[str]) -> None:
    """Print the table."""
    sandbox = await Sandbox.open_sandbox(SandboxMode.AUTO)
    sandbox.require_available()
    print(f"{'milliseconds, median':36}" + "".join(f"{size:>10}{'held to':>10}" for size in sizes))
    columns = [await measure_checkpoints(size, sandbox) for size in sizes]
    for row, limits in HELD_TO.items():
        cells = [
            f"{column[row]:10.1f}{limits[list(SIZES).index(size)]:10}"
            for size, column in zip(sizes, columns, strict=True)
        ]
        print(f"{row:36}" + "".join(cells))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or list(SIZES)))
