"""What tools and tests may throw at the engine: megabytes, bytes that are no text, commands that never end."""

import json
import subprocess
from pathlib import Path

from baton.records.run import Decide, RunStatus
from standin.script.scenario import ScriptedCall
from tests.conftest import assert_eventually
from tests.support.leftovers import commands_with, unique_seconds
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, scenario, session, simple_task, task
from workflows.pipeline import Pipeline

LATIN = "caf\xe9 \xff\xfe\n".encode("latin-1")


async def test_ten_megabytes_of_output_are_cut_and_not_stored(staged) -> None:  # type: ignore[no-untyped-def]
    flood = "printf BEGIN; head -c 10000000 /dev/zero | tr '\\0' x; printf END"
    noise = "head -c 3000000 /dev/urandom; exit 3"
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[bash(flood), bash(noise)], [made()]]),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        document = await stage.finish()
        second = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2))
        history = await stage.session("t1", "1-backend").fetch_history()
        store = await stage.store()

    assert document.status is RunStatus.DONE, document
    text, bytes_ = (result["content"] for result in second["messages"][-1]["content"])
    assert len(text) <= 30_000
    assert text.startswith("BEGIN")
    assert "END\n[exit code 0]" in text
    assert "left out here" in text
    assert len(bytes_) <= 30_000
    assert "[exit code 3]" in bytes_
    assert len(history.to_json()) < 60_000
    size = sum(file.stat().st_size for file in store.path.parent.rglob("*") if file.is_file())
    assert size < 3_000_000


async def test_files_that_are_no_utf8_survive_byte_for_byte(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    (repo / "src/latin.txt").write_bytes(LATIN)
    (repo / "src/image.bin").write_bytes(bytes(range(256)))
    odd = "caf\udce9.txt"  # A name that is no UTF-8 either: os.fsencode gives the byte 0xe9.
    (repo / "src" / odd).write_text("odd\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "Old encodings")
    calls = [
        ScriptedCall("Read", {"file_path": "src/latin.txt"}),
        ScriptedCall("Edit", {"file_path": "src/latin.txt", "old_string": "caf", "new_string": "CAF"}),
        ScriptedCall("Grep", {"pattern": "caf", "path": "src"}),
        ScriptedCall("Glob", {"pattern": "src/*"}),
        bash("cat src/latin.txt src/image.bin; printf 'new \\351\\n' > src/new.txt"),
    ]
    script = scenario(plan(task("t1")), session("backend", "t1", [calls, [made()]]), simple_task("t1")[1:])
    async with staged(script) as stage:
        document = await stage.finish()
        second = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2))

    assert document.status is RunStatus.DONE, document
    results = second["messages"][-1]["content"]
    assert len(results) == len(calls)
    # Read and Edit say that they cannot, the others show what can be shown; no byte is changed that nobody meant.
    assert [bool(result.get("is_error")) for result in results] == [True, True, False, False, False]
    assert all("src/latin.txt is not valid UTF-8" in result["content"] for result in results[:2])
    assert "src/latin.txt" in results[3]["content"]
    assert git_bytes(repo, f"{document.branch}:src/latin.txt") == LATIN
    assert git_bytes(repo, f"{document.branch}:src/image.bin") == bytes(range(256))
    assert git_bytes(repo, f"{document.branch}:src/new.txt") == b"new \xe9\n"
    assert git(repo, "diff", "--name-only", "main", str(document.branch)) == "src/new.txt"
    assert "caf\\351.txt" in git(repo, "ls-tree", "--name-only", f"{document.branch}:src")


def git_bytes(repo: Path, what: str) -> bytes:
    return subprocess.run(["git", "-C", str(repo), "cat-file", "blob", what], check=True, capture_output=True).stdout


async def test_a_test_command_that_hangs_is_killed_and_counts_as_red(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    forever = unique_seconds()
    hanging = f"trap '' TERM; echo begun; sleep {forever} & sleep {forever}"
    (repo / "baton.toml").write_text(f'[gate]\ntest = "{hanging}"\ntimeout = 1.5\n')
    git(repo, "commit", "-qam", "Hang")
    script = scenario(
        plan(task("t1")),
        simple_task("t1", bash("echo x > src/x.txt"))[:-1],
        session(
            "orchestrator",
            "plan",
            [[ScriptedCall("hand_off", {"action": "ask_person", "guidance": "", "reason": "?"})]],
            round_number=2,
        ),
    )
    async with staged(script) as stage:
        handle = await stage.start(rounds=1)
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert decision.error_type == "gate_red"
        assert "tests of task t1 still fail" in decision.question
        assert forever in waiting.errors[0].error
        evidence = json.loads(await (await stage.store()).read_file(str(decision.commit), "gates/1.json") or b"{}")[
            "evidence"
        ]
        assert evidence["timed_out"] is True
        assert evidence["exit_code"] != 0
        assert "begun" in evidence["log_tail"]
        assert "killed after 1.5 s" in evidence["log_tail"]
        # Everything it had started is gone, too.
        await assert_eventually(lambda: commands_with(forever) == [])
        assert not any(request.role == "reviewer" for request in stage.standin.requests)
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.FAILED
    assert document.branch is None
