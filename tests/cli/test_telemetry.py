"""What a running Baton tells of itself: metrics, one trace from the command to the model call, and JSON log lines."""

import asyncio
import json
import re
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from baton.records.run import RunDocument, RunStatus
from baton.settings.core import read_settings
from standin.script.scenario import Fault
from standin.server.app import StandIn
from standin.server.server import serve_scenario
from tests.cli.conftest import Cli, Process
from tests.conftest import HANGS, assert_eventually
from tests.interfaces.github.deliveries import SECRET, encode, headers, issue, payload
from tests.interfaces.github.http import post
from tests.support.ports import reserve_port
from tests.support.repositories import make_repository
from tests.support.scripts import bash, plan, scenario, simple_task, task, write
from workers.connection import connect_to_address
from workers.embedded.server import find_running_server
from workers.http_server import serve_http

pytestmark = pytest.mark.server

KEY = "sk-ant-canary-0f3a77c1d2"
TASK = "Add the canary-4bd1 feature"


def collector(spans: list[Span]) -> Starlette:
    """Takes traces as an OpenTelemetry collector does."""

    async def take(request: Request) -> Response:
        sent = ExportTraceServiceRequest.FromString(await request.body())
        spans.extend(span for one in sent.resource_spans for scope in one.scope_spans for span in scope.spans)
        return Response(b"", media_type="application/x-protobuf")

    return Starlette(routes=[Route("/v1/traces", take, methods=["POST"])])


def parse(page: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Prometheus' text format: samples by name."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for line in page.splitlines():
        match = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line)
        if match and not line.startswith("#"):
            labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            found.setdefault(match[1], []).append((labels, float(match[3])))
    return found


async def run_once(cli: Cli, repository: Path) -> tuple[RunDocument, str]:
    """A run from the command line, on the worker of `baton up`; its document, and the metrics page afterwards."""
    started = await cli("run", TASK, "--repo", str(repository), "--detach")
    assert started.code == 0, started.err
    server = find_running_server(read_settings(home=cli.home))
    assert server is not None
    client = await connect_to_address(server.address)
    handle = client.get_workflow_handle(started.out.strip(), result_type=RunDocument)
    document: RunDocument = await asyncio.wait_for(handle.result(), HANGS.total_seconds())

    def read() -> str:
        with urllib.request.urlopen(
            f"http://{cli.env['BATON_METRICS_ADDRESS']}/metrics", timeout=HANGS.total_seconds()
        ) as answer:
            return str(answer.read().decode())

    # The worker counts the workflow's end a moment after the server has told it to everybody.
    counted = re.compile(r'temporal_workflow_completed_total\{[^}]*workflow_type="Pipeline"')
    await assert_eventually(lambda: counted.search(read()) is not None)
    return document, read()


@pytest.fixture
def spans() -> list[Span]:
    return []


async def test_metrics_traces_and_logs_of_one_run(tmp_path: Path, spans: list[Span]) -> None:
    script = scenario(
        plan(task("t1"), faults=[Fault(status=529)]), simple_task("t1", write("src/a.txt", "a\n"), bash("true"))
    )
    async with (
        serve_scenario(script) as standin,
        serve_http(collector(spans), "127.0.0.1", 0, "collector") as otlp,
    ):
        cli = Cli(
            tmp_path / "home",
            ANTHROPIC_BASE_URL=standin.base_url,
            ANTHROPIC_API_KEY=KEY,
            BATON_METRICS_ADDRESS=f"127.0.0.1:{reserve_port()}",
            BATON_LOG="json",
            BATON_LOG_LEVEL="info",
            OTEL_EXPORTER_OTLP_ENDPOINT=otlp,
            BATON_GITHUB_WEBHOOK_SECRET=SECRET,
            BATON_GITHUB_WEBHOOK_PORT="0",
        )
        up = await cli.start("up")
        try:
            said = await until(up, "A worker is at work")
            await deliver(said)
            document, page = await run_once(cli, make_repository(tmp_path / "shop"))
            up.send_signal(signal.SIGTERM)
            _, rest = await asyncio.wait_for(up.communicate(), HANGS.total_seconds())
        finally:
            await cli.end()
        log = said + rest.decode()
        assert document.status is RunStatus.DONE, document
        check_metrics(page, document, standin)
        check_dashboard(page)
        check_log(log, document.run)
        await assert_eventually(lambda: {"baton run", "model call"} <= {span.name for span in spans})
        check_trace(spans, document)
        check_delivery(spans)
    for text in (page, log, str(spans)):
        assert KEY not in text
        assert SECRET not in text
    assert "canary-4bd1 feature" not in page + str(spans)


async def test_log_lines_of_services_are_kept_from_the_commands_of_people(tmp_path: Path) -> None:
    """A container has one environment for its worker and for those who look in by `docker exec`."""
    script = scenario(plan(task("t1")), simple_task("t1", write("src/a.txt", "a\n")))
    async with serve_scenario(script) as standin:
        cli = Cli(
            tmp_path / "home",
            ANTHROPIC_BASE_URL=standin.base_url,
            ANTHROPIC_API_KEY=KEY,
            BATON_SERVICE_LOG="json",
            BATON_SERVICE_LOG_LEVEL="info",
        )
        try:
            alone = await cli("run", TASK, "--repo", str(make_repository(tmp_path / "shop")))
            cli.env |= {"BATON_LOG": "json", "BATON_LOG_LEVEL": "info"}
            asked = await cli("run", TASK, "--repo", str(tmp_path / "shop"))
            del cli.env["BATON_LOG"], cli.env["BATON_LOG_LEVEL"]
            up = await cli.start("up")
            said = await until(up, "A worker is at work")
            shown = await cli("list")
            up.send_signal(signal.SIGTERM)
            _, rest = await asyncio.wait_for(up.communicate(), HANGS.total_seconds())
        finally:
            await cli.end()
    assert alone.code == 0, alone.err
    assert json_lines(alone.err) == json_lines(shown.err) == []
    assert "turn" in {line["event"] for line in json_lines(asked.err)}
    assert "bounds" in {line["event"] for line in json_lines(said + rest.decode())}


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


async def deliver(said: str) -> None:
    """What GitHub sends when an issue is closed, to the webhook that said where it is."""
    (address,) = re.findall(r"GitHub webhook (\S+)/webhook", said)
    body = encode(payload("closed", issue=issue()))
    taken = await post(address, headers(body, "issues"), body)
    assert taken.status == 202


async def until(process: Process, words: str) -> str:
    """What a process says until it has said this."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = await asyncio.wait_for(process.stderr.readline(), HANGS.total_seconds())
        assert line, said
        said += line.decode()
    return said


def check_metrics(page: str, document: RunDocument, standin: StandIn) -> None:
    found = parse(page)

    def total(name: str, **labels: str) -> float:
        return sum(value for own, value in found[name] if labels.items() <= own.items())

    answered = [record for record in standin.requests if record.status == 200]
    assert total("baton_turns_total") == document.turns == len(answered)
    assert total("baton_call_usd_sum") == pytest.approx(document.cost_usd)
    assert total("baton_tokens_total", kind="output") == sum(record.usage.output_tokens for record in answered)
    assert total("baton_tokens_total", kind="cache_read") > 0
    assert total("baton_tool_seconds_count", tool="Bash", error="false") == 1
    assert total("baton_checkpoint_seconds_count", side="model") == len(answered)
    assert total("baton_gate_seconds_count", green="true") == 2
    assert {"step": "take_turn", "class": "ModelUnavailable", "again": "true"}.items() <= (
        found["baton_failed_attempts_total"][0][0].items()
    )
    assert total("baton_open_decisions") == 0
    assert total("baton_disk_free_bytes") > 0
    assert {labels["status"] for labels, _ in found["baton_runs"]} == {"planning", "working", "waiting", "publishing"}
    assert total("temporal_workflow_completed_total", workflow_type="Pipeline") == 1
    # No label grows with the runs: neither their ids nor anything of theirs is one.
    assert document.run not in page
    assert document.repo not in page
    assert max(Counter(name for name in found for _ in found[name]).values()) < 500


def check_dashboard(page: str) -> None:
    """Dashboard and alerts ask for nothing that is not there."""
    deploy = Path(__file__).parents[2] / "deploy"
    panels = json.loads((deploy / "grafana" / "dashboards" / "baton.json").read_text())["panels"]
    (group,) = yaml.safe_load((deploy / "alerts.yml").read_text())["groups"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    expressions += [rule["expr"] for rule in group["rules"]]
    asked = {name for text in expressions for name in re.findall(r"\b(?:baton|temporal)_[a-z_]+", text)}
    # Nothing failed in this run that the SDK would count as a failed request.
    assert asked - {"temporal_request_failure_total"} <= parse(page).keys()


def check_log(log: str, run: str) -> None:
    lines: list[dict[str, Any]] = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    failures = [line for line in lines if "Completing activity as failed" in line["event"]]
    assert [(line["run"], line["task"], line["role"], line["turn"], line["level"]) for line in failures] == [
        (run, "plan", "orchestrator", "1", "warning")
    ]
    (attempt,) = [line for line in lines if line["event"] == "an attempt failed"]
    assert (attempt["run"], attempt["activity"], attempt["attempt"]) == (run, "take_turn", "1")
    assert re.fullmatch(r"[0-9a-f]{32}", attempt["trace_id"])


def check_trace(spans: list[Span], document: RunDocument) -> None:
    (root,) = [span for span in spans if span.name == "baton run"]
    mine = [span for span in spans if span.trace_id == root.trace_id]
    names = Counter(span.name for span in mine)
    assert names["StartWorkflow:Pipeline"] == 1
    assert names["RunActivity:take_turn"] == document.turns + 1
    assert names["tool call"] == 2
    calls = [span for span in mine if span.name == "model call"]
    assert len(calls) == document.turns + 1
    # Every model call leads back to the command, step by step.
    by_id = {span.span_id: span for span in mine}
    for span in calls:
        path = [span]
        while path[-1].parent_span_id:
            path.append(by_id[path[-1].parent_span_id])
        assert path[-1] is root
        assert len(path) > 4


def check_delivery(spans: list[Span]) -> None:
    """The webhook's start of a workflow, and what the worker did for it, are one trace."""
    (start,) = [span for span in spans if span.name == "StartWorkflow:Delivery"]
    mine = Counter(span.name for span in spans if span.trace_id == start.trace_id)
    assert mine["RunWorkflow:Delivery"] == mine["RunActivity:find_run"] == 1, mine
