"""`baton webhook`, and the webhook of `baton up`: what they say, what they need, how they end."""

import asyncio
import json
import secrets
import signal
import socket
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client

from baton.settings.core import read_settings
from interfaces.cli.commands.webhook import receive_webhooks
from tests.cli.conftest import Cli, Process, finish, nothing_runs
from tests.cli.test_wrong_input import refused
from tests.conftest import HANGS, assert_eventually
from tests.interfaces.github.deliveries import SECRET, encode, headers, labeled
from tests.interfaces.github.http import get, post
from workers.temporal_service import TemporalService


async def said(process: Process, words: str) -> str:
    """The line on stderr with these words."""
    assert process.stderr is not None
    seen = b""
    async with asyncio.timeout(HANGS.total_seconds()):
        while line := await process.stderr.readline():
            seen += line
            if words in line.decode():
                return line.decode()
    raise AssertionError(f"it ended without saying {words!r}:\n{seen.decode()}")


async def test_it_says_where_it_listens_and_takes_deliveries(
    cli: Cli, service: TemporalService, client: Client, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    cli.env |= {"TEMPORAL_ADDRESS": service.address, "BATON_GITHUB_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")}
    process = await cli.start("webhook", "--port", "0")
    line = await said(process, "GitHub webhook")
    assert "label 'baton'" in line
    address = line.split()[2].removesuffix("/webhook,")
    assert (await get(address, "/readyz")).status == 200
    body = encode(labeled())
    taken = await post(address, headers(body, "issues"), body)
    assert taken.status == 202
    described = await client.get_workflow_handle(taken.says["workflow"]).describe()
    assert (described.workflow_type, described.task_queue) == ("Delivery", "baton")
    await client.get_workflow_handle(taken.says["workflow"]).terminate()
    process.send_signal(signal.SIGTERM)
    ended = await finish(process)
    assert ended.code == 0
    assert "Stopped" in ended.err
    assert SECRET not in line + ended.err + ended.out


async def test_up_serves_it_where_a_secret_is_set(cli: Cli, service: TemporalService) -> None:
    cli.env |= {"TEMPORAL_ADDRESS": service.address, "BATON_GITHUB_WEBHOOK_PORT": "0"}
    cli.env["BATON_GITHUB_WEBHOOK_SECRET"] = SECRET
    serving, without = await cli.start("up"), await cli.start("up", "--no-webhook")
    line = await said(serving, "GitHub webhook")
    assert (await get(line.split()[2].removesuffix("/webhook,"), "/healthz")).status == 200
    await said(serving, "Ctrl-C stops")
    await said(without, "Temporal server")
    assert "webhook" not in await said(without, "Ctrl-C stops")
    for process in (serving, without):
        process.send_signal(signal.SIGINT)
        assert (await finish(process)).code == 130


async def test_what_it_needs(cli: Cli, service: TemporalService) -> None:
    refused(await cli("webhook"), 2, "BATON_GITHUB_WEBHOOK_SECRET", "is not set")
    cli.env["BATON_GITHUB_WEBHOOK_SECRET"] = SECRET
    refused(await cli("webhook"), 4, "TEMPORAL_ADDRESS", "baton up")
    cli.env["TEMPORAL_ADDRESS"] = "127.0.0.1:1"
    refused(await cli("webhook"), 4, "127.0.0.1:1")
    cli.env["TEMPORAL_ADDRESS"] = service.address
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", 0))
        occupied.listen()
        port = occupied.getsockname()[1]
        busy = await cli("webhook", "--port", str(port))
        assert busy.code == 2
        assert f"127.0.0.1:{port}: Address already in use" in busy.err.splitlines()[-1]
        assert "Traceback" not in busy.err
    odd = await cli("webhook", "--host", "no.such.host.invalid")
    assert odd.code == 2
    assert "no.such.host.invalid" in odd.err
    await assert_eventually(lambda: nothing_runs(cli.home))


async def test_doctor_lists_its_settings_and_shows_no_secret(cli: Cli, service: TemporalService) -> None:
    cli.env |= {"TEMPORAL_ADDRESS": service.address, "BATON_GITHUB_WEBHOOK_SECRET": SECRET}
    cli.env |= {"BATON_GITHUB_TOKEN": "canary-github-token", "BATON_GITHUB_BOTS": "renovate[bot]"}
    result = await cli("doctor", "--json")
    shown = {setting["variable"]: setting["value"] for setting in json.loads(result.out)["settings"]}
    assert shown["BATON_GITHUB_WEBHOOK_SECRET"] == shown["BATON_GITHUB_TOKEN"] == "***"
    assert shown["BATON_GITHUB_BOTS"] == "renovate[bot]"
    assert shown["BATON_GITHUB_WEBHOOK_PORT"] == 8473
    assert "canary" not in result.out + result.err


async def test_a_namespace_that_forgets_too_soon_is_named(
    service: TemporalService, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"short-{secrets.token_hex(4)}"
    day = Duration()
    day.FromTimedelta(timedelta(days=1))
    await service.client.workflow_service.register_namespace(
        RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=day)
    )
    short = await Client.connect(service.address, namespace=name, tls=service.tls or False)
    settings = read_settings(github_webhook_secret=SECRET, github_webhook_port=0)
    async with receive_webhooks(short, settings):
        pass
    said = capsys.readouterr().err
    assert f"The namespace {name} forgets ended runs after 1 day" in said
    async with receive_webhooks(service.client, settings):
        pass
    assert "forgets" not in capsys.readouterr().err
