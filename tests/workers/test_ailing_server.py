"""A server that dies again and again: it is tried ever more rarely, never given up, and never in silence."""

import asyncio
import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from baton.errors import ServerStartFailed
from baton.settings.core import Settings
from tests.cli.conftest import Cli, nothing_runs
from tests.conftest import HANGS, assert_eventually
from workers.embedded import server, supervisor
from workers.embedded.certificates import ensure_credentials
from workers.embedded.server import find_temporal, use_embedded_server
from workers.embedded.server_files import (
    ServerFiles,
    ServerRecord,
    UserLock,
    is_held,
    read_record,
    write_record,
)

SCRIPT = """#!/bin/sh
echo start >> {place}/starts
if [ -e {place}/broken ]; then echo "boom: the database is broken" >&2; exit 3; fi
exec {real} "$@"
"""
QUICK = """
import sys
from workers.embedded import supervisor as keeper
keeper.RESTART_WAITS = (0.01, 0.01, 0.01)
keeper.LONGEST_WAIT = 0.1
sys.exit(keeper.main(sys.argv[1:]))
"""


class Binary:
    """A server binary that dies at its start for as long as it is broken, and counts its starts."""

    def __init__(self, place: Path) -> None:
        self.path = place / "bin/temporal"
        self._broken = place / "broken"
        self._starts = place / "starts"
        self.path.parent.mkdir()
        self.path.write_text(SCRIPT.format(place=place, real=find_temporal()))
        self.path.chmod(0o755)

    def break_it(self) -> None:
        self._broken.touch()

    def mend(self) -> None:
        self._broken.unlink()

    @property
    def starts(self) -> int:
        return len(self._starts.read_text().splitlines()) if self._starts.exists() else 0


@pytest.fixture
def binary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Binary:
    made = Binary(tmp_path)
    monkeypatch.setattr(server, "find_temporal", lambda: made.path)
    return made


def record_of(files: ServerFiles) -> ServerRecord:
    record = read_record(files)
    assert record is not None
    return record


@pytest.mark.server
async def test_a_server_that_dies_at_its_first_start_is_said_with_its_last_words(
    settings: Settings, binary: Binary
) -> None:
    binary.break_it()
    files = ServerFiles.open_home(settings.home)
    for attempt in (1, 2):
        with pytest.raises(ServerStartFailed) as failed:
            async with use_embedded_server(settings):
                pass
        assert str(files.log) in str(failed.value)
        assert "boom: the database is broken" in str(failed.value)
        assert binary.starts == attempt
    assert not is_held(files.supervisor_lock)
    binary.mend()
    async with use_embedded_server(settings):
        assert record_of(files).state == "running"


async def test_a_keeper_goes_on_for_ever_with_longer_waits_and_says_so(settings: Settings, binary: Binary) -> None:
    files = ServerFiles.open_home(settings.home)
    users = UserLock(files.users_lock)
    assert users.try_shared()
    ensure_credentials(files)
    with files.log.open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", QUICK, str(files.directory), "0", "0", "0", "--"),
            *(str(binary.path), "server", "start-dev", "--ip", "127.0.0.1", "--log-level", "error"),
            stdout=log,
            stderr=log,
        )
    try:
        await assert_eventually(lambda: (read_record(files) or ServerRecord("", "failed", 0)).state == "running")
        binary.break_it()
        os.kill(record_of(files).server, signal.SIGKILL)
        await assert_eventually(lambda: record_of(files).deaths > 8)
        ailing = record_of(files)
        assert (ailing.state, process.returncode) == ("ailing", None)
        assert "times in a row" in ailing.message
        assert f"Its log is {files.log}, with the last line: boom: the database is broken" in ailing.message
        # It is told by how much it waits, and the longest wait bounds it: never a start without a wait before.
        assert binary.starts <= record_of(files).deaths + 1
        binary.mend()
        await assert_eventually(lambda: record_of(files).state == "running")
        assert record_of(files).message == ""
        binary.break_it()
        os.kill(record_of(files).server, signal.SIGKILL)
        await assert_eventually(lambda: record_of(files).state == "ailing")
    finally:
        users.close()  # the last user leaves while it waits
        await asyncio.wait_for(process.wait(), HANGS.total_seconds())
    assert process.returncode == 0
    assert not files.record.exists()
    assert not is_held(files.server_lock)


def test_the_waits_grow_to_a_bound(settings: Settings) -> None:
    made = supervisor.Supervisor(ServerFiles.open_home(settings.home), 0, 0, 0, ["false"])
    waits = []
    for deaths in range(30):
        made.deaths = deaths
        waits.append(made._next_wait())
    assert waits[: len(supervisor.RESTART_WAITS)] == list(supervisor.RESTART_WAITS)
    assert waits == sorted(waits)
    assert waits[-1] == supervisor.LONGEST_WAIT
    for lock in (made.lock, made.users, made.server.lock):
        lock.close()


async def test_a_server_that_lives_for_a_while_has_its_deaths_forgiven(
    settings: Settings, binary: Binary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "HEALTHY_AFTER", 0.0)
    made = supervisor.Supervisor(ServerFiles.open_home(settings.home), 0, 0, 0, [str(binary.path)])
    made.deaths = 5

    looks = iter([False, False, True])
    monkeypatch.setattr(made.server, "is_running", lambda: True)
    monkeypatch.setattr(made.server, "door_has_ended", lambda: False)
    monkeypatch.setattr(made, "_is_abandoned", lambda: next(looks))
    made._watch_server()
    assert made.deaths == 0
    for lock in (made.lock, made.users, made.server.lock):
        lock.close()


async def test_users_replace_a_keeper_ever_more_rarely_and_say_why(settings: Settings, binary: Binary) -> None:
    files = ServerFiles.open_home(settings.home)
    users = UserLock(files.users_lock)
    assert users.try_shared()
    binary.break_it()
    guard = server._SupervisorGuard(files, settings)
    waits = []
    with capture_logs() as said:
        for _ in range(5):
            waits.append(guard.check_supervisor())
            await assert_eventually(lambda: binary.starts == len(waits))
            await assert_eventually(lambda: not is_held(files.supervisor_lock))
    assert waits == [server.GUARD * 2**power for power in range(5)]
    assert binary.starts == 5
    assert said, "nothing was said"
    for entry in said:
        assert str(files.log) in entry["event"]
        assert "boom: the database is broken" in entry["event"]
    users.close()


@pytest.mark.server
async def test_a_log_that_cannot_be_opened_is_said_and_ends_no_guard(settings: Settings) -> None:
    files = ServerFiles.open_home(settings.home)
    files.log.mkdir()
    guard = server._SupervisorGuard(files, settings)
    with capture_logs() as said:
        assert guard.check_supervisor() < guard.check_supervisor() < guard.check_supervisor()
    assert all("log" in entry["event"] for entry in said)
    assert said
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(OSError, match="log"):
            async with use_embedded_server(settings):
                pass
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_what_ails_the_server_is_said_once_and_its_return_too(settings: Settings) -> None:
    files = ServerFiles.open_home(settings.home)
    held = UserLock(files.supervisor_lock)
    assert held.try_exclusive()
    record = ServerRecord(id="x", state="ailing", keeper=os.getpid(), deaths=6, message="It died. Its log is /x/log.")
    write_record(files, record)
    guard = server._SupervisorGuard(files, settings)
    with capture_logs() as said:
        for _ in range(5):
            guard.check_supervisor()
        write_record(files, replace(record, deaths=7, message="It died again. Its log is /x/log."))
        guard.check_supervisor()
        write_record(files, replace(record, state="running", deaths=0, message=""))
        for _ in range(5):
            guard.check_supervisor()
    held.close()
    assert [entry["event"] for entry in said] == [
        "It died. Its log is /x/log.",
        "It died again. Its log is /x/log.",
        "The embedded Temporal server is back, and has been for a while.",
    ]


@pytest.mark.server
async def test_a_command_says_what_ails_the_server_and_helps_once_that_is_mended(
    settings: Settings, binary: Binary
) -> None:
    cli = Cli(settings.home)
    files = ServerFiles.open_home(settings.home)
    async with use_embedded_server(settings):
        binary.break_it()
        os.kill(record_of(files).server, signal.SIGKILL)
        await assert_eventually(lambda: record_of(files).state == "ailing")
        before = binary.starts
        said = await cli("gc", "--dry-run", "--json")
        assert said.code == 4, said
        assert f"Its log is {files.log}, with the last line: boom" in said.err
        assert binary.starts <= before + 2  # its own attempt, and one that came by itself
        binary.mend()
        found = await cli("gc", "--dry-run", "--json")
        assert (found.code, json.loads(found.out)["removed"]) == (0, [])
    await assert_eventually(lambda: nothing_runs(settings.home))
    await cli.end()
