"""Watching a run: what its activities say of themselves by heartbeats, without a trace in the history."""

import io

from rich.console import Console

from interfaces.cli.runs.snapshot import RunSnapshot, take_snapshot
from interfaces.cli.views.run_tree import make_run_tree
from tests.conftest import assert_eventually
from tests.support.scripts import bash, made, plan, scenario, session, task
from workers.temporal_service import TemporalService


async def test_the_tool_at_work_its_time_and_the_cost_so_far_are_seen(staged, service: TemporalService) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), session("backend", "t1", [[bash("sleep 60")], [made()]]))
    async with staged(script) as stage:
        handle = await stage.start()
        seen: RunSnapshot | None = None
        place = f"{stage.run}/t1/1-backend"

        async def at_work() -> bool:
            nonlocal seen
            seen = await take_snapshot(service, stage.run)
            step = seen.steps.get(place)
            return step is not None and step.tool == "Bash" and step.seconds >= 2

        await assert_eventually(at_work)
        assert seen is not None
        step, at = seen.steps[place], seen.sessions[0]
        assert (step.stage, step.tool, at.turn) == ("tools", "Bash", 2)
        assert step.cost_usd == at.cost_usd > 0
        screen = io.StringIO()
        Console(file=screen, width=120, color_system=None).print(make_run_tree(seen))
        assert f"backend, turn 2: Bash, {step.seconds:.0f} s" in screen.getvalue()
        session_handle = stage.session("t1", "1-backend")
        length = (await session_handle.describe()).history_length
        await take_snapshot(service, stage.run)
        assert (await session_handle.describe()).history_length == length
        await handle.cancel()
        await stage.outcome(handle)
