"""Watching a run: what its activities say of themselves by heartbeats, without a trace in the history."""

from datetime import timedelta

from interfaces.cli.documents import Snapshot, look
from interfaces.cli.events import doing
from tests.conftest import assert_eventually
from tests.pipelines.scripts import bash, made, plan, scenario, session, task
from workers.service import TemporalService


async def test_the_tool_at_work_its_time_and_the_cost_so_far_are_seen(staged, service: TemporalService) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), session("backend", "t1", [[bash("sleep 60")], [made()]]))
    async with staged(script) as stage:
        handle = await stage.start()
        seen: Snapshot | None = None

        async def at_work() -> bool:
            nonlocal seen
            seen = await look(service, stage.run)
            return seen.doing.get("t1") is not None and seen.doing["t1"].seconds >= 2

        await assert_eventually(at_work, within=timedelta(seconds=60))
        assert seen is not None
        beat, at = seen.doing["t1"], seen.sessions[0]
        assert (beat.stage, beat.tool, beat.turn) == ("tools", "Bash", 2)
        assert beat.cost_usd == at.cost_usd > 0
        shown = doing(seen.document.tasks[0], at, beat=beat)
        assert shown == f"turn 2: Bash, {beat.seconds:.0f} s"
        session_handle = stage.session("t1", "1-backend")
        length = (await session_handle.describe()).history_length
        await look(service, stage.run)
        assert (await session_handle.describe()).history_length == length
        await handle.cancel()
        await stage.outcome(handle)
