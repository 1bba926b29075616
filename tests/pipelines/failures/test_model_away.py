"""The Messages API cannot be reached: three attempts, then a question, and the run goes on when it is back."""

from pydantic import SecretStr
from temporalio.client import Client

from baton import identifiers
from baton.records.run import Decide, RunStatus
from baton.settings.core import Settings
from standin.server.server import serve_scenario
from tests.pipelines.conftest import CANARY, Stage
from tests.support.ports import reserve_port
from tests.support.scripts import plan, scenario, simple_task, task, write
from workflows.pipeline import Pipeline


async def test_a_model_that_cannot_be_reached(client: Client, settings: Settings, repo, run_id: str) -> None:  # type: ignore[no-untyped-def]
    port = reserve_port()
    own = settings.model_copy(
        update={"api_key": SecretStr(CANARY), "base_url": f"http://127.0.0.1:{port}"},
    )
    script = scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))
    stage = Stage(client, own, None, repo, run_id)  # type: ignore[arg-type]
    async with stage.worker():
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert "cannot be reached; check the network and ANTHROPIC_BASE_URL" in decision.question
        assert decision.error_type == "connection"
        assert decision.attempted == ["3 attempts, after waits of 1 s and 2 s"]
        assert waiting.cost_usd == 0
        async with serve_scenario(script, port=port) as standin:
            await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
            document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE, document
    assert document.branch == identifiers.branch_name(run_id)
    assert len(standin.requests) == document.turns


async def test_a_worker_without_a_key_asks_for_one(staged) -> None:  # type: ignore[no-untyped-def]
    """`baton run` asks before; a worker of a shared server may be set up without one all the same."""
    script = scenario(plan(task("t1")))
    script.keys = [CANARY]
    async with staged(script, api_key=None) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert "Set a valid ANTHROPIC_API_KEY" in waiting.decisions[0].question
        assert len(stage.standin.requests) == 1
