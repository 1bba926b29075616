"""The door of the embedded server: who has no certificate of this home, or is another user, does not get in."""

import asyncio
import datetime
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.service import TLSConfig

from baton.errors import TemporalUnreachable
from baton.settings.core import Settings, read_settings
from tests.cli.conftest import Cli, cli
from tests.conftest import HANGS, assert_eventually, server_environment
from workers.connection import connect_to_address
from workers.embedded import certificates
from workers.embedded.certificates import ensure_credentials
from workers.embedded.private_network import ConnectionOwners, kernel_address, open_tables
from workers.embedded.server import EmbeddedServer, find_temporal, use_embedded_server
from workers.embedded.server_files import ServerFiles, read_record, write_record
from workers.temporal_service import TemporalService, connect_service

__all__ = ["cli"]


def split(address: str) -> tuple[str, int]:
    host, _, port = address.removeprefix("http://").partition(":")
    return host, int(port)


async def refused(address: str, tls: TLSConfig | bool) -> bool:
    """Whether a client does not get in."""
    try:
        await asyncio.wait_for(Client.connect(address, tls=tls), HANGS.total_seconds())
    except (RuntimeError, ValueError, TimeoutError):
        return True
    return False


@pytest.mark.server
async def test_without_the_certificate_of_this_home_nobody_gets_in(settings: Settings, tmp_path: Path) -> None:
    async with use_embedded_server(settings) as server:
        assert server.credentials is not None
        good = server.credentials.tls()
        assert not await refused(server.address, good)
        other = ensure_credentials(ServerFiles.open_home(tmp_path / "other")).tls()
        own = server.credentials.directory
        no_client = TLSConfig(
            server_root_ca_cert=good.server_root_ca_cert,
            # The server's own pair is good for a server only.
            client_cert=(own / "server.pem").read_bytes(),
            client_private_key=(own / "server.key").read_bytes(),
        )
        foreign = TLSConfig(
            server_root_ca_cert=good.server_root_ca_cert,
            client_cert=other.client_cert,
            client_private_key=other.client_private_key,
        )
        bare = TLSConfig(server_root_ca_cert=good.server_root_ca_cert)
        for tls in (False, bare, foreign, no_client, other):
            assert await refused(server.address, tls), tls


@pytest.mark.server
async def test_the_server_has_no_port_that_others_reach(settings: Settings) -> None:
    async with use_embedded_server(settings) as server:
        record = read_record(ServerFiles.open_home(settings.home))
        assert record is not None
        assert server.warnings == ()
        assert record.inner_port == 0
        family = processes_below(record.server)
        listening = {port for port, inode in listeners() if inode in sockets_of(family)}
        assert listening == {split(server.address)[1], split(server.web_ui)[1]}


def processes_below(pid: int) -> list[int]:
    found = [pid]
    for thread in Path(f"/proc/{pid}/task").iterdir():
        for child in (thread / "children").read_text().split():
            found += processes_below(int(child))
    return found


def sockets_of(pids: list[int]) -> set[str]:
    links = [os.readlink(entry) for pid in pids for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return {match[1] for link in links if (match := re.fullmatch(r"socket:\[(\d+)\]", link))}


def listeners() -> list[tuple[int, str]]:
    """Port and inode of every listening socket of this network namespace."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.append((int(fields[1].rpartition(":")[2], 16), fields[9]))
    return found


TERMINATE = """
import os, socket, sys
host, port, way, user, run = sys.argv[1:]
host.encode("idna")  # what a later import would find may be this user's only
os.setuid(int(user))
body = b'{"reason": "x"}'
head = f"POST /api/v1/namespaces/default/workflows/{run}/terminate HTTP/1.1\\r\\nHost: {host}:{port}\\r\\n"
head += f"Content-Type: application/json\\r\\nConnection: close\\r\\nContent-Length: {len(body)}\\r\\n\\r\\n"
for _ in range(50 if way == "gone" else 1):
    try:
        with socket.create_connection((host, int(port)), 60) as client:
            client.sendall(head.encode() + body)
            if way == "half":
                client.shutdown(socket.SHUT_WR)
            # What is left of a connection that was ended belongs to root by name.
            if way != "gone":
                print(client.recv(1000).split(b"\\r\\n")[0].decode())
    except OSError:
        print("reset")
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
async def test_the_web_ui_admits_the_same_user_and_root_only(service: TemporalService) -> None:
    run = f"victim-{secrets.token_hex(4)}"
    handle = await service.client.start_workflow("Nobody", id=run, task_queue="nobody")
    assert service.web_ui is not None

    async def attack(way: str, user: int) -> str:
        host, port = split(service.web_ui or "")
        line = ["python3", "-c", TERMINATE, host, str(port), way, str(user), run]
        done = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, check=True)
        return done.stdout

    for way in ("plain", "half", "gone"):
        said = await attack(way, 65534)
        assert " 200 " not in said
        assert way == "gone" or "403" in said or "reset" in said, (way, said)
    assert (await handle.describe()).status is WorkflowExecutionStatus.RUNNING
    # Those who may are answered by the Web UI itself, which asks for more than the attack has.
    assert " 400 " in await attack("plain", 0)
    await handle.terminate()


def test_the_owner_of_a_connection_is_known_while_it_lasts() -> None:
    users = ConnectionOwners(open_tables())
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::ffff:127.0.0.1")):
        with socket.socket() as listener, socket.socket(family) as client:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            client.connect((host, listener.getsockname()[1]))
            near, peer = listener.accept()
            with near:
                ends = kernel_address(peer), kernel_address(near.getsockname())
                assert users.find_owner(*ends) == os.getuid()
                client.close()
                assert users.find_owner(*ends) is None


async def test_the_temporal_command_gets_in_by_the_profile_or_by_variables(service: TemporalService) -> None:
    assert service.server is not None
    line = [str(find_temporal()), "operator", "namespace", "list", "--output", "json"]
    plain = {"PATH": os.defpath, "HOME": "/nonexistent"}
    for env in ({"TEMPORAL_CONFIG_FILE": str(service.server.profile)}, server_environment(service.address)):
        said = await asyncio.to_thread(subprocess.run, line, env={**plain, **env}, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        assert "default" in said.stdout
    shut = await asyncio.to_thread(
        subprocess.run, [*line, "--address", service.address], env=plain, capture_output=True, text=True
    )
    assert shut.returncode != 0


@pytest.mark.server
async def test_a_door_that_is_killed_is_replaced_with_its_server(settings: Settings) -> None:
    async with connect_service(settings) as service:
        files = ServerFiles.open_home(settings.home)
        before = read_record(files)
        assert before is not None
        (door,) = processes_below(before.server)[1:]
        os.kill(door, signal.SIGKILL)

        def back() -> bool:
            now = read_record(files)
            return now is not None and now.server != before.server and now.state == "running"

        await assert_eventually(back)
        now = read_record(files)
        assert now is not None
        assert now.address == before.address
        assert (await service.client.count_workflows()).count == 0


async def test_keys_are_made_once_for_the_owner_only_and_renewed_in_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ServerFiles.open_home(settings.home)
    made = ensure_credentials(files)
    before = {path.name: path.read_bytes() for path in made.directory.iterdir()}
    assert set(before) == {"ca.pem", "server.pem", "server.key", "client.pem", "client.key"}
    assert made.directory.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in made.directory.iterdir())
    ensure_credentials(files)
    assert {path.name: path.read_bytes() for path in made.directory.iterdir()} == before
    for spoil in (lambda: (made.directory / "client.key").unlink(), lambda: made.key.write_text("half")):
        spoil()
        ensure_credentials(files)
        now = {path.name: path.read_bytes() for path in made.directory.iterdir()}
        assert set(now) == set(before)
        assert now != before
    monkeypatch.setattr(certificates, "_RENEW", timedelta(days=11 * 365))
    old = made.certificate.read_bytes()
    ensure_credentials(files)
    assert made.certificate.read_bytes() != old
    left = x509.load_pem_x509_certificate(made.certificate.read_bytes()).not_valid_after_utc
    assert left > datetime.datetime.now(datetime.UTC) + timedelta(days=365)


@pytest.mark.server
async def test_where_no_namespace_can_be_made_the_door_stays_and_it_is_said(
    settings: Settings, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's limit for this user is taken down in a namespace of the test's own."""
    script = (
        "import asyncio, json\n"
        "from baton.settings.core import read_settings\n"
        "from workers.embedded.server import use_embedded_server\n"
        "from workers.embedded.server_files import ServerFiles, read_record\n"
        "async def main():\n"
        "    settings = read_settings()\n"
        "    async with use_embedded_server(settings) as server:\n"
        "        print(json.dumps([server.warnings, read_record(ServerFiles.open_home(settings.home)).inner_port]))\n"
        "asyncio.run(main())\n"
    )
    limited = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_net_namespaces && exec "$@"', "sh"]
    said = await asyncio.to_thread(
        subprocess.run,
        [*limited, sys.executable, "-P", "-c", script],
        env={**os.environ, "BATON_HOME": str(settings.home)},
        capture_output=True,
        text=True,
        timeout=HANGS.total_seconds(),
    )
    if "Permission denied" in said.stderr or "unshare" in said.stderr:
        pytest.skip("this machine lets nobody make a user namespace")
    assert said.returncode == 0, said.stderr
    warnings, port = json.loads(said.stdout)
    assert port > 0
    assert f"127.0.0.1:{port}" in warnings[0]


@pytest.mark.server
async def test_a_named_server_of_this_home_is_entered_too(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with use_embedded_server(settings) as server:
        monkeypatch.setattr("workers.embedded.server._used", {})
        monkeypatch.setenv("TEMPORAL_ADDRESS", server.address.replace("127.0.0.1", "localhost"))
        async with connect_service(settings) as service:
            assert not service.embedded


async def test_a_record_of_an_older_baton_asks_for_no_certificate(settings: Settings) -> None:
    files = ServerFiles.open_home(settings.home)
    (files.record).write_text('{"id": "a", "state": "running", "keeper": 1, "address": "127.0.0.1:7", "web_ui": ""}')
    record = read_record(files)
    assert record is not None
    assert EmbeddedServer.from_record(files, record).credentials is None
    write_record(files, record)


@pytest.mark.server
async def test_doctor_and_up_say_how_to_get_in(cli: Cli) -> None:
    async with use_embedded_server(read_settings(home=cli.home)) as server:
        said = await cli("doctor")
    assert f"TEMPORAL_CONFIG_FILE={server.profile}" in said.out


@pytest.mark.server
async def test_a_certificate_that_is_gone_is_one_clear_sentence(settings: Settings) -> None:
    async with use_embedded_server(settings) as server:
        assert server.credentials is not None
        kept = server.credentials.key.read_bytes()
        server.credentials.key.unlink()
        with pytest.raises(TemporalUnreachable, match=r"asks for a certificate, and .*client\.key cannot be read"):
            await connect_to_address(server.address)
        server.credentials.key.write_bytes(kept)
        await connect_to_address(server.address, timedelta(seconds=60))
