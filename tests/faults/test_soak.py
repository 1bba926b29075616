"""Random kills, seeded: workers die at any moment, again and again, and the run ends as if nothing had happened."""

import asyncio
import random

import pytest

from baton.records.run import RunStatus
from tests.faults.conftest import Scenes
from tests.faults.scene import FaultScene, script
from tests.faults.surviving import SIDE_BY_SIDE

RUNS = 10
MOST_KILLS = 3
LONGEST_LIFE = 4.0
"""Seconds until a worker that is to die does; a run by itself takes about three."""


async def torment(scene: FaultScene, seed: int, tree: str) -> str:
    """One run whose workers are killed at random; an empty text, or what is wrong."""
    dice = random.Random(seed)
    lives = [dice.uniform(0.1, LONGEST_LIFE) for _ in range(dice.randint(1, MOST_KILLS))]
    handle = await scene.start_run()
    for life in lives:
        worker = await scene.worker()
        await asyncio.sleep(life)
        await worker.kill()
    await scene.worker()
    try:
        document = await scene.wait_for_document(handle)
    except TimeoutError:
        return f"the run did not end; asked so far: {dict(scene.asked())}\n{scene.log()}"
    if document.status is not RunStatus.DONE or document.errors or document.decisions:
        return f"the run ended as {document}\n{scene.log()}"
    if scene.tree(document) != tree:
        return f"the published tree {scene.tree(document)} is not that of an undisturbed run, {tree}"
    repeated = scene.repeated_requests()
    if sum(repeated.values()) - len(repeated) > len(lives):
        return f"more model calls were repeated than workers killed: {repeated}"
    if again := await scene.called_again():
        return f"committed answers that were asked for again: {again}"
    return ""


async def torment_all(scenes: Scenes, seeds: list[int], tree: str) -> None:
    """Runs side by side, one a seed."""
    room = asyncio.Semaphore(SIDE_BY_SIDE)

    async def one(seed: int) -> str:
        async with room, scenes(f"seed-{seed}", script(pause=0.2, thinking=0.2)) as scene:
            wrong = await torment(scene, seed, tree)
            return f"seed {seed}: {wrong}" if wrong else ""

    wrong = [text for text in await asyncio.gather(*map(one, seeds)) if text]
    assert not wrong, "\n\n".join(wrong)


async def test_random_kills_are_not_noticed(scenes: Scenes, tree: str) -> None:
    await torment_all(scenes, list(range(RUNS)), tree)


@pytest.mark.soak
async def test_many_random_kills_are_not_noticed(scenes: Scenes, tree: str, pytestconfig: pytest.Config) -> None:
    await torment_all(scenes, list(range(RUNS, RUNS + pytestconfig.getoption("soak_runs"))), tree)
