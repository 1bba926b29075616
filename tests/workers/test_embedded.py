"""The embedded server's life: shared, restarted when it dies, stopped by the last user however that one ends."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from temporalio.client import Client

from baton.errors import ServerStartFailed, UsageError
from baton.settings.core import Settings, read_settings
from tests.conftest import HANGS, assert_eventually
from workers.embedded.server import find_running_server, use_embedded_server
from workers.embedded.server_files import (
    ServerFiles,
    ServerRecord,
    UserLock,
    is_held,
    read_record,
    write_record,
)
from workers.temporal_service import connect_service

pytestmark = pytest.mark.server

USER = """
import asyncio, sys
from baton.settings.core import read_settings
from workers.temporal_service import connect_service

async def main():
    async with connect_service(read_settings()) as service:
        print(service.address, flush=True)
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main())
"""


async def start_user(home: Path) -> tuple[asyncio.subprocess.Process, str]:
    """A process that uses the server of a home until it gets a line; returns it with the server's address."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        USER,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "BATON_HOME": str(home)},
    )
    assert process.stdout is not None
    address = (await asyncio.wait_for(process.stdout.readline(), HANGS.total_seconds())).decode().strip()
    assert address, "the user process did not get a server"
    return process, address


async def end_user(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await asyncio.wait_for(process.wait(), HANGS.total_seconds())


def alive(pid: int) -> bool:
    try:
        # A zombie that nobody has waited for yet does not count as alive.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def record_of(home: Path) -> ServerRecord:
    record = read_record(ServerFiles.open_home(home))
    assert record is not None
    return record


def answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


async def test_two_commands_share_one_server_and_the_last_one_stops_it(settings: Settings) -> None:
    first, address = await start_user(settings.home)
    second, same = await start_user(settings.home)
    assert same == address
    record = record_of(settings.home)
    await end_user(first)
    assert answers(address)
    await end_user(second)
    assert not alive(record.server)
    assert not alive(record.keeper)
    assert not answers(address)
    assert find_running_server(settings) is None
    assert not ServerFiles.open_home(settings.home).record.exists()


async def test_commands_that_start_at_the_same_moment_get_the_same_server(settings: Settings) -> None:
    users = await asyncio.gather(*(start_user(settings.home) for _ in range(3)))
    assert len({address for _, address in users}) == 1
    await asyncio.gather(*(end_user(process) for process, _ in users))
    # Of keepers that were started together one may look for the lock only now, and finds that nobody is left.
    await assert_eventually(lambda: not is_held(ServerFiles.open_home(settings.home).supervisor_lock))


async def test_a_keeper_that_comes_too_late_starts_nothing(settings: Settings) -> None:
    files = ServerFiles.open_home(settings.home)
    keeper = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "workers.embedded.supervisor", str(files.directory), "0", "0", "0", "--", "false")
    )
    assert await asyncio.wait_for(keeper.wait(), HANGS.total_seconds()) == 0
    assert read_record(files) is None


async def test_a_newcomer_during_the_stop_gets_a_new_server(settings: Settings) -> None:
    for _ in range(3):
        async with use_embedded_server(settings):
            pass
        # The last user has waited for the end above; here the end is under way when the newcomer arrives.
        process, _ = await start_user(settings.home)
        process.kill()
        await process.wait()
        async with use_embedded_server(settings) as server:
            assert answers(server.address)


async def test_the_server_goes_when_its_only_user_is_killed(settings: Settings) -> None:
    process, address = await start_user(settings.home)
    record = record_of(settings.home)
    process.kill()
    await process.wait()
    await assert_eventually(lambda: not alive(record.server) and not alive(record.keeper))
    assert not answers(address)


async def test_a_killed_server_is_back_on_the_same_port_with_its_data(settings: Settings) -> None:
    async with connect_service(settings) as service:
        await start_a_workflow(service.client, "survivor")
        before = record_of(settings.home)
        os.kill(before.server, signal.SIGKILL)
        await assert_eventually(lambda: record_of(settings.home).server != before.server and answers(service.address))
        assert (await service.client.get_workflow_handle("survivor").describe()).id == "survivor"
        assert record_of(settings.home).address == before.address
        # It writes ahead, which is as safe as a rollback journal and much quicker: https://www.sqlite.org/fileformat.html
        assert ServerFiles.open_home(settings.home).database.read_bytes()[18:20] == b"\x02\x02"


async def test_a_killed_keeper_is_replaced_and_leaves_no_second_server(settings: Settings) -> None:
    async with connect_service(settings) as service:
        await start_a_workflow(service.client, "survivor")
        before = record_of(settings.home)
        os.kill(before.keeper, signal.SIGKILL)

        def replaced() -> bool:
            now = read_record(ServerFiles.open_home(settings.home))
            return now is not None and now.keeper != before.keeper and now.state == "running"

        await assert_eventually(replaced)
        assert not alive(before.server)
        assert record_of(settings.home).address == before.address
        assert (await service.client.get_workflow_handle("survivor").describe()).id == "survivor"
    assert not is_held(ServerFiles.open_home(settings.home).supervisor_lock)


async def test_an_orphaned_server_is_ended_before_another_one_opens_its_database(settings: Settings) -> None:
    """Where the kernel does not tell the server of its keeper's death, the lock it inherited gives it away."""
    files = ServerFiles.open_home(settings.home)
    held = UserLock(files.server_lock)
    assert held.try_exclusive()
    orphan = await asyncio.create_subprocess_exec("sleep", "600", pass_fds=(held.descriptor,))
    held.close()
    write_record(files, ServerRecord(id="old", state="running", keeper=1, server=orphan.pid, address="127.0.0.1:1"))
    async with use_embedded_server(settings) as server:
        assert answers(server.address)
        assert await asyncio.wait_for(orphan.wait(), HANGS.total_seconds()) == -signal.SIGTERM


@pytest.mark.parametrize("name", ["server_port", "ui_port"])
async def test_a_port_in_use_is_one_clear_sentence(settings: Settings, name: str) -> None:
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        with pytest.raises(ServerStartFailed, match=f"^Port {port} is in use by another program: set BATON_"):
            async with use_embedded_server(read_settings(home=settings.home, **{name: port})):
                pass
    # The old failure says nothing about the next attempt.
    async with use_embedded_server(settings) as server:
        assert answers(server.address)


async def test_a_running_server_does_not_move_to_other_ports(settings: Settings) -> None:
    async with use_embedded_server(settings) as server:
        with pytest.raises(UsageError, match=f"already runs at {server.address}"):
            async with use_embedded_server(read_settings(home=settings.home, server_port=1)):
                pass
        assert answers(server.address)


async def test_a_broken_record_is_as_good_as_none(settings: Settings) -> None:
    files = ServerFiles.open_home(settings.home)
    files.record.write_text('{"id": ')
    async with use_embedded_server(settings) as server:
        assert answers(server.address)


async def test_only_the_owner_may_read_what_the_server_keeps(settings: Settings) -> None:
    async with use_embedded_server(settings):
        files = ServerFiles.open_home(settings.home)
        assert files.directory.stat().st_mode & 0o077 == 0
        assert files.record.stat().st_mode & 0o077 == 0


async def start_a_workflow(client: Client, name: str) -> None:
    await client.start_workflow("Nobody", id=name, task_queue="nobody")
