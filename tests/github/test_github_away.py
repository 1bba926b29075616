"""GitHub is away, asks to wait, or does not let us in: the run waits and says so, and nothing is lost or done twice."""

from datetime import UTC, datetime, timedelta

import pytest

from baton.records.run import Decide, RunStatus
from tests.support.github.hub import Fault
from tests.support.scripts import plan, scenario, simple_task, task, write
from workflows.pipeline import Pipeline


async def test_a_run_waits_for_github(world, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    waits = (timedelta(seconds=1), timedelta(seconds=1))
    monkeypatch.setattr("workflows.calls.github_queues.UNREACHABLE_WAITS", waits)
    # The sandbox of a workflow reads its own module anew, and with it this.
    monkeypatch.setattr("baton.policies.UNREACHABLE_WAITS", waits)
    script = scenario(
        plan(task("t1")),
        simple_task("t1", write("src/pages.txt", "page size 20\n")),
        simple_task("follow-up", write("src/pages.txt", "page size 30\n")),
    )
    async with world(script) as w:
        soon = str(int(datetime.now(UTC).timestamp()) + 2)
        limit = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": soon}
        w.hub.faults = [
            # More often than there are attempts, for the delivery, for git and for the pull request.
            Fault(".*/collaborators/.*", times=4, status=503),
            Fault(".*/info/refs", times=4, status=502),
            Fault(".*/pulls", method="POST", times=2, status=500),
            # Asked to wait, in each way there is, and slow.
            Fault(".*/comments", method="GET", status=429, headers={"retry-after": "1"}, message="slow down"),
            Fault(".*/comments", method="POST", status=403, headers=limit, message="API rate limit exceeded"),
            Fault(".*/check-runs", method="POST", status_kept=True, delay=1.0),
        ]
        number = await w.issue("Add pages")
        pull = await w.until_pull()
        document = await w.until_status(number, "waiting")
        assert not any(fault.times for fault in w.hub.faults), w.hub.faults
        assert not document.decisions
        assert not document.errors
        assert document.waiting_for == {"run": "a review, or the merge, of the pull request"}
        assert len(await w.pulls()) == 1
        await w.until_says(number, "waits for a review")

        # Revoked: one question for all who wait, that says what to renew; also for who learns of it after the answer.
        denied = {"path": ".*/access_tokens", "status": 401, "message": "Bad credentials"}
        w.hub.faults = [Fault(**denied), Fault(**denied, times=2, delay=2.0)]  # type: ignore[arg-type]
        branch = pull["head"]["ref"]
        await w.check_fails(branch, w.head(branch))

        async def asked() -> bool:
            return bool((await w.document(number)).decisions)

        await w.until(asked, lambda: "a decision about the credential")
        document = await w.document(number)
        (decision,) = document.decisions
        assert decision.error_type == "credentials"
        assert "renew the credential" in decision.question
        assert "BATON_GITHUB_TOKEN" in decision.question
        assert document.status is RunStatus.WAITING
        # The delivery of a person waits as well.
        comment = await w.comment(number, "/baton status")
        answer = Decide(decision_id="D1", choice="retry", by="ben")
        await w.run(number).execute_update(Pipeline.submit_decision, answer)
        await w.until_says(number, "round 1 for check build", "D1: `retry`, by ben", "waits for a review")
        document = await w.document(number)
        assert len(document.decisions) == 1
        assert not any(fault.times for fault in w.hub.faults), w.hub.faults
        assert len(await w.comments(number)) == 1

        async def answered() -> bool:
            return any(f"/comments/{comment}" in place for place, _, _ in w.hub.reactions)

        await w.until(answered, lambda: "the reaction to /baton status")

        # Away at the end: the last word is said when GitHub is back.
        w.hub.faults = [Fault(".*/comments/\\d+", method="PATCH", times=2, status=503)]
        await w.merge(pull["number"])
        await w.until_closed(number)
        assert "**Baton** is done" in await w.says(number)
