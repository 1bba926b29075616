"""What a repository's baton.toml asks for: a person's settings grant it, or it does not hold and the run says so."""

import os
import socket
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from activities.runtime.stores import read_run_config, read_run_json
from baton.records.run import RunDocument, RunStatus
from baton.settings.bind_paths import refuse_for_this_account
from baton.settings.core import SandboxMode
from baton.steps.store_paths import LIMITS
from interfaces.cli.views.run_summary import document_lines
from tests.support.repositories import CONFIG, git
from tests.support.scripts import (
    bash,
    made,
    plan,
    reviewed,
    scenario,
    session,
    simple_task,
    task,
    tested,
    write,
)


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A directory where a toolchain may lie."""
    for place in (Path(__file__).parents[3] / ".pytest_cache", Path.home()):
        if refuse_for_this_account(place / "shelf", baton_home=None) is None:
            place.mkdir(exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="shelf-", dir=place) as directory:
                yield Path(directory).resolve()
            return
    pytest.skip("There is no place for a toolchain here: checkout and home lie where none may be.")


def ask(repo: Path, text: str) -> None:
    (repo / "baton.toml").write_text(f"{CONFIG}\n{text}")
    git(repo, "commit", "-qam", "Ask for more")


def said(document: RunDocument, *words: str) -> list[str]:
    """The notes that hold all these words."""
    return [note for note in document.notes if all(word in note for word in words)]


@pytest.mark.parametrize("allowed", [True, False])
async def test_a_repository_asks_for_directories_and_a_person_decides(  # type: ignore[no-untyped-def]
    staged, repo: Path, shelf: Path, allowed: bool
) -> None:
    (shelf / "tool" / "bin").mkdir(parents=True)
    (shelf / "tool" / "bin" / "greet").write_text("#!/bin/sh\necho hello-from-the-tool\n")
    (shelf / "tool" / "bin" / "greet").chmod(0o755)
    (shelf / "door").mkdir()
    here = Path.cwd()
    server = socket.socket(socket.AF_UNIX)
    os.chdir(shelf / "door")
    server.bind("s")
    os.chdir(here)
    server.listen()
    asked = [str(shelf / "tool"), str(shelf / "door"), "/srv/data", "/var/lib"]
    ask(repo, f"[sandbox]\nbinds = {asked!r}\n")
    steps = [
        *session("backend", "t1", [[bash(f"greet; ls {shelf}/door /srv/data /var/lib")], [made()]]),
        *session("tester", "t1", [[tested()]]),
        *session("reviewer", "t1", [[reviewed()]]),
    ]
    binds = f"{shelf}:/opt/none" if allowed else ""
    async with staged(scenario(plan(task("t1")), steps), sandbox_binds=binds) as stage:
        document = await stage.finish()
        seen = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2))["messages"]
        judged = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("reviewer", 1))["messages"]
    server.close()
    assert document.status is RunStatus.DONE, document
    tool = str(shelf / "tool")
    assert document.binds == ([tool] if allowed else [])
    assert document.gate is not None
    assert document.gate.binds == document.binds
    assert (tool in "\n".join(document_lines(document)).partition("to know")[0]) is allowed
    # The first message, the command's answer, the reviewer's evidence.
    assert (tool in str(seen[0])) is allowed
    assert ("hello-from-the-tool" in str(seen[-1])) is allowed
    assert (tool in str(judged[0])) is allowed
    assert "door" not in str(seen[0])
    assert said(document, tool, "BATON_SANDBOX_BINDS")
    assert said(document, str(shelf / "door"), "socket" if allowed else "BATON_SANDBOX_BINDS")
    assert len(said(document, "/srv/data")) == len(said(document, "/var/lib")) == 1


async def test_time_defaults_and_limits_are_a_persons(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    text = CONFIG.replace("timeout = 60", 'timeout = "30d"')
    text += '\n[decisions]\ndefault = "abort"\ndeadline = 1\n\n[limits]\nrounds = 10\nparallel = 32\nturns = 500\n'
    (repo / "baton.toml").write_text(text)
    git(repo, "commit", "-qam", "Ask for more")
    script = scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))
    async with staged(script, max_gate_timeout=timedelta(minutes=5)) as stage:
        handle = await stage.start()
        document = await stage.outcome(handle)
        store = await stage.store()
        config = await read_run_config(store, stage.run)
        limits = (await read_run_json(store, stage.run, LIMITS))["limits"]
    assert document.status is RunStatus.DONE, document
    assert config.gate.timeout == timedelta(minutes=5)
    assert (config.decisions.default, config.decisions.deadline) == (None, None)
    assert (limits["rounds"], limits["parallel"], limits["turns"]) == (3, 3, 80)
    assert said(document, "30d", "5m", "BATON_MAX_GATE_TIMEOUT")
    assert said(document, "abort", "BATON_DECISION_DEFAULTS=repository")
    for name in ("rounds", "parallel", "turns"):
        assert said(document, f"[limits] {name}", f"--{name}")


async def test_a_person_may_grant_them(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    ask(repo, '[decisions]\ndefault = "abort"\ndeadline = 1\n\n[limits]\nrounds = 10\n')
    # No script for the maker: its session fails, and a decision is opened.
    async with staged(scenario(plan(task("t1"))), decision_defaults="repository") as stage:
        handle = await stage.start(rounds=9)
        document = await stage.outcome(handle)
    assert document.status is RunStatus.STOPPED, document
    assert document.decisions[-1].by == "deadline"
    assert said(document, "abort", "BATON_DECISION_DEFAULTS allows")
    assert not said(document, "[limits] rounds")


async def test_a_scope_does_not_reach_what_is_protected(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    scope = '[scope]\nbackend = ["**", ".github/workflows/**", "baton.toml", ".git/**"]\ntester = ["**"]\n'
    (repo / "baton.toml").write_text(f'[gate]\ntest = "true"\n{scope}')
    git(repo, "commit", "-qam", "Ask for more")
    attack = "mkdir -p .github/workflows; echo x > .github/workflows/x.yml; echo x >> baton.toml; echo x > src/y.txt"
    steps = [
        *session("backend", "t1", [[bash(attack)], [made()]]),
        *session("tester", "t1", [[bash(attack)], [tested()]]),
        *session("reviewer", "t1", [[reviewed()]]),
    ]
    async with staged(scenario(plan(task("t1")), steps)) as stage:
        document = await stage.finish()
    assert document.status is RunStatus.DONE, document
    assert git(repo, "diff", "--name-only", "main", str(document.branch)) == "src/y.txt"


async def test_without_isolation_it_says_that_nothing_is_kept_away(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    ask(repo, '[sandbox]\nnetwork = true\nbinds = ["/opt/tool"]\n')
    script = scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))
    async with staged(script, sandbox=SandboxMode.NONE) as stage:
        document = await stage.finish()
    assert document.status is RunStatus.DONE, document
    assert said(document, "BATON_SANDBOX=none", "changes nothing")
    assert document.sandboxed is False
    assert document.binds == []
