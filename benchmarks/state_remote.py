"""The cost of a state remote: a checkpoint with and without one, a step that reads it, and a take-over.

`python -m benchmarks.state_remote [small medium large]`; `--http` serves the remote over HTTP on this machine.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pygit2

from baton import identifiers
from benchmarks.checkpoints import SIZES, make_repository
from tests.support.git_over_http import PASSWORD, USER, serving
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_LANE = Lane("run", "task")


async def time_call(work: Callable[[int], Awaitable[None]], times: int) -> float:
    """Median milliseconds."""
    taken = []
    for number in range(times):
        started = time.perf_counter()
        await work(number)
        taken.append((time.perf_counter() - started) * 1_000)
    return statistics.median(taken)


async def open_run(home: Path, project: Path, remote: StateRemote | None) -> tuple[Store, str]:
    """A store with a run that has begun."""
    store = await Store.open(home, str(project), remote)
    base = (await store.fetch_base(None)).commit
    await store.commit_files(
        identifiers.run_ref("run"), expected=None, files={"request.json": b"{}"}, message="r", at=_AT
    )
    await store.move_ref(identifiers.integration_ref("run"), base, expected=None)
    return store, await Checkpoints(store).begin_lane(_LANE, base, at=_AT)


async def make_answers(store: Store, head: str, times: int) -> float:
    """Checkpoints with a file of the transcript each."""
    checkpoints = Checkpoints(store)

    async def answer(number: int) -> None:
        nonlocal head
        files = {f"transcript/1-backend/{number:05d}-assistant.json": b"{}" * 500}
        head = await checkpoints.record_checkpoint(
            _LANE, expected=head, files=files, workspace=None, summary="a", at=_AT
        )

    return await time_call(answer, times)


async def measure_remote(size: str, http: bool) -> dict[str, float]:
    """All rows for one size."""
    found: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="baton-benchmark-") as directory, ExitStack() as stack:
        place = Path(directory)
        make_repository(place / "project.git", SIZES[size])
        state = pygit2.init_repository(str(place / "state.git"), bare=True)
        state.config["http.receivepack"] = True
        address = str(place / "state.git")
        if http:
            address = f"http://{USER}:{PASSWORD.replace('%', '%25').replace(':', '%3A')}@127.0.0.1:"
            address += f"{stack.enter_context(serving(place))}/state.git"
        store, head = await open_run(place / "alone", place / "project.git", None)
        found["checkpoint, no remote"] = await make_answers(store, head, 25)
        started = time.perf_counter()
        store, head = await open_run(place / "first", place / "project.git", StateRemote.parse(address, "first"))
        found["begin a run"] = (time.perf_counter() - started) * 1_000
        found["checkpoint, remote"] = await make_answers(store, head, 25)

        async def look(_number: int) -> None:
            await Checkpoints(store).claim_lane(_LANE)

        found["look at a step's start"] = await time_call(look, 15)

        async def take_over(number: int) -> None:
            other = await Store.open(
                place / f"other{number}", str(place / "project.git"), StateRemote.parse(address, f"other{number}")
            )
            await Checkpoints(other).claim_lane(_LANE)

        found["take-over, nothing there"] = await time_call(take_over, 3)
        refs = place / "state.git" / "packed-refs"
        refs.write_text("".join(f"{head} refs/baton/other/run{number:04d}/t/head\n" for number in range(5_000)))
        head = await Checkpoints(store).claim_lane(_LANE) or ""
        files = {"again": b"1"}
        head = await Checkpoints(store).record_checkpoint(
            _LANE, expected=head, files=files, workspace=None, summary="a", at=_AT
        )
        found["checkpoint, 5,000 refs more"] = await make_answers(store, head, 9)
    return found


async def main(arguments: list[str]) -> None:
    """Print the table."""
    sizes = [size for size in arguments if size in SIZES] or list(SIZES)
    columns = [await measure_remote(size, "--http" in arguments) for size in sizes]
    print(f"{'milliseconds, median':32}" + "".join(f"{size:>10}" for size in sizes))
    for row in columns[0]:
        print(f"{row:32}" + "".join(f"{column[row]:10.1f}" for column in columns))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
