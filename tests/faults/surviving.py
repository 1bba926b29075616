"""One case of the crash matrix: workers die at given moments, one after the other, and the run must not show it."""

import asyncio
import signal
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

from baton.identifiers import make_slug
from baton.records.run import RunStatus
from standin.script.scenario import Scenario
from tests.conftest import HANGS
from tests.faults.injection import Moment
from tests.faults.scene import FaultScene, script

SIDE_BY_SIDE = 8
"""Cases at once in one test: most of a case is waiting for the heartbeat of a dead worker to be missed."""


@dataclass(frozen=True)
class Case:
    """Where workers die, and what else is lost."""

    name: str
    moments: Sequence[Moment]
    """One a worker: the first dies at the first, its successor at the second; the worker after the last one lives."""
    repeats: int = 0
    """Model calls that are made a second time: 1 where one was in flight, else none."""
    loses: Sequence[Callable[[Path], None]] = ()
    """What else goes of the home at each death, before the next worker starts; one a moment, where there are any."""
    played: Callable[[], Scenario] = field(default=script)


async def survive(scene: FaultScene, case: Case, tree: str) -> str:
    """Carry the case out; an empty text, or what is wrong."""
    handle = await scene.start_run()
    for number, moment in enumerate(case.moments):
        worker = await scene.worker(moment)
        try:
            async with asyncio.timeout(HANGS.total_seconds()):
                ended = await worker.wait()
        except TimeoutError:
            return f"the moment {moment} did not come; asked so far: {dict(scene.asked())}\n{scene.log()}"
        if ended != -signal.SIGKILL:
            return f"before {moment} the worker ended by itself with {ended}\n{scene.log()}"
        if case.loses:
            case.loses[number](scene.home)
    await scene.worker()
    try:
        document = await scene.wait_for_document(handle)
    except TimeoutError:
        return f"the run did not end; asked so far: {dict(scene.asked())}\n{scene.log()}"
    wrong = []
    if document.status is not RunStatus.DONE or document.errors or document.decisions:
        wrong.append(f"the run ended as {document}")
    elif scene.tree(document) != tree:
        wrong.append(f"the published tree {scene.tree(document)} is not that of an undisturbed run, {tree}")
    repeated = scene.repeated_requests()
    if sum(repeated.values()) - len(repeated) != case.repeats:
        wrong.append(f"repeated model calls: {repeated or 'none'}; there should be {case.repeats}")
    if not wrong and (again := await scene.called_again()):
        wrong.append(f"committed answers that were asked for again: {again}")
    return "\n".join([*wrong, scene.log()]) if wrong else ""


async def survive_all(
    scenes: Callable[..., AbstractAsyncContextManager[FaultScene]], cases: Sequence[Case], tree: str
) -> None:
    """Carry cases out side by side, and say of each that went wrong what it was."""
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(case: Case) -> str:
        async with room, scenes(make_slug(case.name, 60), case.played()) as scene:
            wrong = await survive(scene, case, tree)
            return f"{case.name}: {wrong}" if wrong else ""

    wrong = [text for text in await asyncio.gather(*map(one, cases)) if text]
    assert not wrong, "\n\n".join(wrong)
