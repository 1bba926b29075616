"""Encryption: no plain text reaches the server's database, keys rotate, the codec server opens to its token only."""

import asyncio
import base64
import json
import os
import secrets
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict
from pydantic import SecretStr
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowFailureError
from temporalio.exceptions import ApplicationError

from baton.errors import ConfigurationError
from baton.identifiers import new_run_id
from baton.records.run import Decide, Guide, RunRequest, RunStatus
from baton.settings.core import read_settings
from baton.settings.encryption_keys import KeyRing
from interfaces.cli.runs.start import start_run
from standin.server.server import serve_scenario
from tests.conftest import HANGS, server_environment
from tests.pipelines.conftest import Stage
from tests.support.repositories import make_repository
from tests.support.scripts import escalate, scenario, session
from workers.codec_server import build_codec_app
from workers.connection import connect_to_address
from workers.embedded.codec_endpoint import make_codec_endpoint
from workers.embedded.server import find_temporal
from workers.embedded.server_files import ServerFiles
from workers.encryption import EncryptionCodec
from workers.http_server import serve_http
from workers.temporal_service import connect_service
from workers.worker import run_worker
from workflows.pipeline import Pipeline

FIXED = base64.b64encode(bytes(32)).decode()


def key(name: str) -> str:
    return f"{name}:{base64.b64encode(secrets.token_bytes(32)).decode()}"


def ring(*keys: str) -> KeyRing:
    return KeyRing.parse_keys(",".join(keys))


def canary(name: str) -> str:
    return f"canary-{name}-{secrets.token_hex(6)}"


def stored(home: Path, text: str) -> bool:
    """Whether a text stands anywhere in the server's database."""
    files = ServerFiles.open_home(home).database.parent.glob("temporal.sqlite*")
    return any(text.encode() in file.read_bytes() for file in files)


def ask(url: str, body: Any = None, **headers: str) -> Any:
    """What an HTTP server answers, as JSON."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=HANGS.total_seconds()) as answer:
        return json.loads(answer.read())


def refusal(url: str, body: Any, **headers: str) -> int:
    """The status with which a request is refused."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        ask(url, body, **headers)
    refused.value.close()
    return refused.value.code


def allowed_origin(url: str, origin: str) -> str | None:
    """What a browser is told before it calls from a page of this origin."""
    headers = {"Origin": origin, "Access-Control-Request-Method": "POST"}
    request = urllib.request.Request(url, headers=headers, method="OPTIONS")
    try:
        with urllib.request.urlopen(request, timeout=HANGS.total_seconds()) as answer:
            return str(answer.headers["Access-Control-Allow-Origin"])
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.headers["Access-Control-Allow-Origin"]


async def web_ui_reads(web_ui: str, run: str) -> str:
    """The start of a run, as a page of the embedded server's Web UI gets to see it: by the codec server beside it."""

    def read() -> str:
        endpoint = ask(f"{web_ui}/api/v1/settings")["Codec"]["Endpoint"]
        history = ask(f"{web_ui}/api/v1/namespaces/default/workflows/{run}/history")["history"]["events"]
        sealed = history[0]["workflowExecutionStartedEventAttributes"]["input"]
        assert refusal(f"{endpoint[:-1]}/decode", sealed) == 401
        opened = ask(f"{endpoint}/decode", sealed, Origin=web_ui)
        return base64.b64decode(opened["payloads"][0]["data"]).decode()

    return await asyncio.to_thread(read)


async def command_reads(home: Path, address: str, run: str) -> str:
    """The start of a run, as the `temporal` command shows it with the codec server."""
    port, token = ServerFiles.open_home(home).codec.read_text().split()
    codec = ["--codec-endpoint", f"http://127.0.0.1:{port}", "--codec-auth", f"Bearer {token}"]
    command = ["workflow", "show", "--workflow-id", run, "--address", address, "--output", "json", *codec]
    process = await asyncio.create_subprocess_exec(
        *(str(find_temporal()), *command, "--disable-config-file"),
        env={**os.environ, **server_environment(address)},
        stdout=asyncio.subprocess.PIPE,
    )
    history = json.loads((await process.communicate())[0])["events"]
    started = history[0]["workflowExecutionStartedEventAttributes"]["input"]["payloads"][0]
    return base64.b64decode(started["data"]).decode()


@pytest.mark.server
async def test_no_plain_text_reaches_the_database(tmp_path: Path) -> None:
    settings = read_settings(home=tmp_path / "home", encryption_keys=SecretStr(key("k1")), usd_per_day=50)
    repo = make_repository(tmp_path / "shop")
    names = ("task", "question", "choice", "guidance", "note", "by", "failure")
    words = {name: canary(name) for name in names}
    script = scenario(session("orchestrator", "plan", [[escalate(words["question"], words["choice"])]]))
    async with serve_scenario(script) as standin, connect_service(settings, embedded_only=True) as service:
        own = settings.model_copy(update={"base_url": standin.base_url, "api_key": SecretStr("sk-ant-x")})
        run = new_run_id(str(repo), words["task"], discreet=True)
        stage = Stage(service.client, own, standin, repo, run)
        async with run_worker(service.client, own):
            request = RunRequest(task=words["task"], repo=str(repo), run=run, started_by=words["by"])
            await start_run(service, request)
            handle = service.client.get_workflow_handle_for(Pipeline.run, run)
            await stage.until_waiting(handle)
            await handle.signal("guide", Guide(text=words["guidance"]))
            refused = Decide(decision_id="D1", choice=words["note"])
            await handle.signal("decide", refused)
            answer = Decide(decision_id="D1", choice="abort", note=words["note"], by=words["by"])
            await handle.execute_update("submit_decision", answer)
            document = await stage.outcome(handle)
            # A failure: of the activity that cannot find the base, and of the run.
            bad = RunRequest(task="x", repo=str(repo), run=f"{run}-bad", base=words["failure"])
            await start_run(service, bad)
            with pytest.raises(WorkflowFailureError) as failed:
                await service.client.get_workflow_handle(bad.run).result()
            (row,) = [found async for found in service.client.list_workflows(f"WorkflowId = '{run}'")]
            memo = await row.memo()
        # What a person without the keys sees, and what the search would find were it there.
        blind = await connect_to_address(service.address)
        with pytest.raises(ConfigurationError, match="encrypted with the key 'k1'"):
            await (await blind.get_workflow_handle(bad.run).describe()).memo()
        open_word = canary("open")
        await blind.start_workflow("Pipeline", RunRequest(task=open_word, repo="/x"), id="open", task_queue="nowhere")
        seen = await web_ui_reads(service.web_ui or "", run)
        told = await command_reads(settings.home, service.address, run)

    assert document.status is RunStatus.STOPPED
    assert document.decisions[0].note == words["note"]
    assert memo["task"] == words["task"]
    assert json.loads(seen)["task"] == json.loads(told)["task"] == words["task"]
    assert words["failure"] in str(failed.value.cause)
    # One sentence, and no trace of the engine below it.
    assert isinstance(failed.value.cause, ApplicationError)
    assert failed.value.cause.failure is not None
    assert failed.value.cause.failure.stack_trace == ""
    assert stored(settings.home, open_word)
    assert stored(settings.home, run)
    assert [name for name, word in words.items() if stored(settings.home, word)] == []


async def test_keys_rotate() -> None:
    old, new = key("2025"), key("2026")
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b'"hello"')
    (first,) = await EncryptionCodec(ring(old)).encode([payload])
    both = EncryptionCodec(ring(new, old))
    (second,) = await both.encode([payload])
    assert first.metadata["encryption-key-id"] == b"2025"
    assert second.metadata["encryption-key-id"] == b"2026"
    assert b"hello" not in first.data + second.data
    assert await both.decode([first, second, payload]) == [payload] * 3
    with pytest.raises(ConfigurationError, match="'2025', which is not among the keys"):
        await EncryptionCodec(ring(new)).decode([first])
    with pytest.raises(ConfigurationError, match="another key than the one that is configured as 2025"):
        await EncryptionCodec(ring(key("2025"))).decode([first])
    # Encrypted once, whatever passes it on.
    assert await both.encode([first]) == [first]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no key"),
        ("# only a comment\n", "holds no key"),
        ("secret-without-an-id", "key 1 is invalid"),
        (f"a:{FIXED},a b:x", "key 2 is invalid"),
        ("a:not base64!", "The encryption key a is not base64"),
        ("a:c2hvcnQ=", "has 5 bytes instead of 32"),
        (f"a:{FIXED}\na:{FIXED}", "two encryption keys with the id a"),
    ],
)
def test_keys_that_do_not_fit_are_refused_without_being_repeated(text: str, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as refused:
        KeyRing.parse_keys(text)
    assert not [part for part in text.replace(":", ",").split(",") if len(part) > 6 and part in str(refused.value)]


def test_secrets_come_from_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "baton_encryption_keys").write_text(f"{key('new')}  # since May\n{key('old')}\n")
    (tmp_path / "anthropic_api_key").write_text("sk-ant-from-a-file\n")
    monkeypatch.setenv("BATON_SECRETS_DIR", str(tmp_path))
    settings = read_settings()
    found = settings.make_key_ring()
    assert found is not None
    assert (found.current, list(found.keys)) == ("new", ["new", "old"])
    assert settings.api_key == SecretStr("sk-ant-from-a-file")
    assert base64.b64encode(found.keys["old"]).decode() in settings.list_secrets()
    monkeypatch.setenv("BATON_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigurationError, match="BATON_SECRETS_DIR is invalid"):
        read_settings()


@pytest.mark.parametrize("kept", ["", "no port", "99999999 token", "-5 token", "1 2 3"])
def test_a_damaged_note_of_the_codec_server_gives_a_new_endpoint(tmp_path: Path, kept: str) -> None:
    files = ServerFiles.open_home(tmp_path)
    files.codec.write_text(kept)
    endpoint = make_codec_endpoint(files, read_settings(home=tmp_path, encryption_keys=SecretStr(key("k"))))
    assert endpoint is not None
    assert 0 < endpoint.port < 65_536
    assert endpoint.token


async def test_the_codec_server_opens_to_its_token_only() -> None:
    """In a process of its own it is tested with the Web UI; here, what it answers to whom."""
    current, token = key("k"), secrets.token_urlsafe(16)
    plain = MessageToDict(Payload(metadata={"encoding": b"json/plain"}, data=b"1"))
    (foreign,) = await EncryptionCodec(ring(key("other"))).encode([Payload(data=b"2")])
    body = {"payloads": [plain]}
    async with serve_http(build_codec_app(ring(current), token, ["https://ui"]), "127.0.0.1", 0, "codec") as url:

        def talk() -> None:
            auth = {"Authorization": f"Bearer {token}"}
            assert refusal(f"{url}/encode", body) == 401
            assert refusal(f"{url}/decode", body, Authorization="Bearer wrong") == 401
            assert refusal(f"{url}/{token}x/decode", body) == 401
            sealed = ask(f"{url}/encode", body, **auth)
            assert sealed != body
            assert ask(f"{url}/decode", sealed, **auth) == body
            assert ask(f"{url}/{token}/decode", sealed) == body
            # What cannot be decrypted comes back as it is, beside what can.
            mixed = {"payloads": [*sealed["payloads"], MessageToDict(foreign)]}
            assert ask(f"{url}/decode", mixed, **auth) == {"payloads": [plain, MessageToDict(foreign)]}
            assert refusal(f"{url}/decode", ["no", "payloads"], **auth) == 400
            assert refusal(f"{url}/decode", {"payloads": [{"data": "A" * 33_000_000}]}, **auth) == 413
            assert ask(f"{url}/healthz") == {"status": "ok"}
            assert allowed_origin(f"{url}/decode", "https://ui") == "https://ui"
            assert allowed_origin(f"{url}/decode", "https://elsewhere") is None

        await asyncio.to_thread(talk)
