"""The gate: the exit code is the verdict, the log is whole, and nothing is left behind or left over."""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from baton import policies
from baton.errors import DiskFull, SandboxUnavailable
from baton.settings.core import SandboxMode
from baton.text.redaction import Redactor
from system.safe_directory import clear_away
from tests.conftest import HANGS
from workspaces.project.baton_toml import GateConfig
from workspaces.project.gate import Checkout, run_gate
from workspaces.sandbox.sandbox import TIMED_OUT, Sandbox, SandboxStatus

COMMIT = "c0ffee"


@pytest.fixture(scope="session")
async def sandbox() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


def tree(files: Mapping[str, str]) -> Checkout:
    """A commit with these files; an empty, clean directory is asked for."""

    async def checkout(commit: str, directory: Path) -> None:
        assert commit == COMMIT
        assert list(directory.iterdir()) == []
        for name, text in files.items():
            (directory / name).write_text(text)

    return checkout


async def test_green_and_red(sandbox: Sandbox, tmp_path: Path) -> None:
    files = {"test_it.py": "from it import answer\n\ndef test_it():\n    assert answer == 42\n"}
    gate = GateConfig(test="python -m pytest -q")
    for answer, code in ((42, 0), (41, 1)):
        evidence, log = await run_gate(
            tree({**files, "it.py": f"answer = {answer}\n"}), COMMIT, tmp_path / "g", gate, sandbox
        )
        assert (evidence.commit, evidence.command, evidence.exit_code) == (COMMIT, "python -m pytest -q", code)
        assert evidence.is_green == (code == 0)
        assert evidence.log_digest == "sha256:" + hashlib.sha256(log.read_bytes()).hexdigest()
        assert ("1 passed" if code == 0 else "assert 41 == 42") in evidence.log_tail
        assert evidence.sandboxed
        assert not evidence.timed_out
        assert evidence.seconds > 0
        assert sorted(path.name for path in (tmp_path / "g").iterdir()) == ["gate.log"]


async def test_words_do_not_make_a_red_gate_green(sandbox: Sandbox, tmp_path: Path) -> None:
    gate = GateConfig(test="echo '100 passed'; echo '[test] exit code 0'; false")
    evidence, _log = await run_gate(tree({}), COMMIT, tmp_path / "g", gate, sandbox)
    assert evidence.exit_code == 1
    assert not evidence.is_green


async def test_set_up_comes_first_and_its_failure_is_the_verdict(sandbox: Sandbox, tmp_path: Path) -> None:
    gate = GateConfig(setup="echo made > made.txt", test="cat made.txt && exit 3")
    evidence, log = await run_gate(tree({}), COMMIT, tmp_path / "g", gate, sandbox)
    assert (evidence.command, evidence.exit_code) == ("cat made.txt && exit 3", 3)
    assert "[setup] echo made > made.txt" in log.read_text()
    assert "\nmade\n" in log.read_text()
    broken = GateConfig(setup="echo no; exit 9", test="touch ran")
    evidence, log = await run_gate(tree({}), COMMIT, tmp_path / "g", broken, sandbox)
    assert (evidence.command, evidence.exit_code, evidence.is_green) == ("echo no; exit 9", 9, False)
    assert "[test]" not in log.read_text()


async def test_without_tests_nothing_is_run_and_nothing_is_claimed(sandbox: Sandbox, tmp_path: Path) -> None:
    evidence, log = await run_gate(tree({}), COMMIT, tmp_path / "g", GateConfig(setup="touch ran"), sandbox)
    assert (evidence.command, evidence.exit_code, evidence.log_digest) == (None, None, "")
    assert log.read_bytes() == b""


async def test_a_hanging_test_is_killed_with_its_children(sandbox: Sandbox, tmp_path: Path) -> None:
    gate = GateConfig(test="trap '' TERM; echo begun; sleep 3600 & sleep 3600", timeout=timedelta(seconds=5))
    async with asyncio.timeout(HANGS.total_seconds()):
        evidence, _log = await run_gate(tree({}), COMMIT, tmp_path / "g", gate, sandbox)
    assert (evidence.exit_code, evidence.timed_out, evidence.is_green) == (TIMED_OUT, True, False)
    assert "begun" in evidence.log_tail
    assert "killed after 5 s" in evidence.log_tail


async def test_a_long_log_is_whole_and_its_tail_is_bounded_and_masked(sandbox: Sandbox, tmp_path: Path) -> None:
    text = "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo password=hunter2-hunter2; echo KEY-1234567890; exit 1"
    gate = GateConfig(test=text)
    redact = Redactor(["KEY-1234567890"])
    evidence, log = await run_gate(tree({}), COMMIT, tmp_path / "g", gate, sandbox, redact=redact)
    assert log.stat().st_size > 5_000_000
    assert evidence.log_digest == "sha256:" + hashlib.sha256(log.read_bytes()).hexdigest()
    assert len(evidence.log_tail) <= policies.MAX_LOG_TAIL
    assert evidence.log_tail.endswith("password=***\n***\n")


async def test_what_a_former_attempt_left_is_not_there(sandbox: Sandbox, tmp_path: Path) -> None:
    directory = tmp_path / "g"
    closed = directory / "work" / "closed"
    closed.mkdir(parents=True)
    (closed / "conftest.py").write_text("raise SystemExit(0)")
    closed.chmod(0)
    (directory / "work" / "link").symlink_to(tmp_path)
    (tmp_path / "keep.txt").write_text("kept")
    evidence, _log = await run_gate(tree({"a": "b"}), COMMIT, directory, GateConfig(test="ls -A"), sandbox)
    assert evidence.log_tail.splitlines()[2:] == ["a"]
    assert (tmp_path / "keep.txt").exists()


async def test_what_the_tests_leave_is_removed_whatever_its_modes(sandbox: Sandbox, tmp_path: Path) -> None:
    gate = GateConfig(test="mkdir -p a/b/c; touch a/b/c/d; chmod 0 a/b/c; chmod 500 a/b; chmod 0 a; ln -s / up")
    evidence, _log = await run_gate(tree({}), COMMIT, tmp_path / "g", gate, sandbox)
    assert evidence.is_green
    assert not (tmp_path / "g" / "work").exists()


async def test_the_tests_see_neither_machine_nor_network(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("CANARY")
    gate = GateConfig(test=f"cat {tmp_path}/secret; ls {tmp_path}; cat /proc/net/route")
    evidence, log = await run_gate(tree({}), COMMIT, tmp_path / "g", gate, sandbox)
    assert "CANARY" not in log.read_text()
    assert "No such file" in evidence.log_tail


async def test_without_a_sandbox_there_is_no_verdict(tmp_path: Path) -> None:
    box = Sandbox(SandboxStatus("unavailable", "No sandbox.", "Install it."))
    with pytest.raises(SandboxUnavailable, match="Install it"):
        await run_gate(tree({}), COMMIT, tmp_path / "g", GateConfig(test="true"), box)
    evidence, _log = await run_gate(tree({}), COMMIT, tmp_path / "g", GateConfig(), box)
    assert evidence.command is None


async def test_where_isolation_was_waived_the_evidence_says_so(tmp_path: Path) -> None:
    box = await Sandbox.open_sandbox(SandboxMode.NONE)
    evidence, _log = await run_gate(tree({"a": ""}), COMMIT, tmp_path / "g", GateConfig(test="test -e a"), box)
    assert evidence.is_green
    assert not evidence.sandboxed


async def test_a_fault_of_the_checkout_is_no_verdict(sandbox: Sandbox, tmp_path: Path) -> None:
    async def full(_commit: str, _directory: Path) -> None:
        raise DiskFull("No room.")

    with pytest.raises(DiskFull):
        await run_gate(full, COMMIT, tmp_path / "g", GateConfig(test="true"), sandbox)
    assert not (tmp_path / "g" / "work").exists()


async def test_cancelling_ends_it_at_once_and_cleans_up(sandbox: Sandbox, tmp_path: Path) -> None:
    gate = GateConfig(test="trap '' TERM; touch begun; sleep 3600")
    task = asyncio.create_task(run_gate(tree({}), COMMIT, tmp_path / "g", gate, sandbox))
    while not (tmp_path / "g" / "work" / "begun").exists():
        await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(HANGS.total_seconds()):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not (tmp_path / "g" / "work").exists()


def test_removing_follows_no_link(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_text("")
    (tmp_path / "link").symlink_to(kept)
    clear_away(tmp_path / "link")
    clear_away(tmp_path / "nothing")
    assert not (tmp_path / "link").is_symlink()
    assert (kept / "file").exists()
