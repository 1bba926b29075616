"""docs/api.md: its commands are run as they stand, and it names everything that is API."""

import asyncio
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel
from temporalio import workflow

from baton.errors import ExitCode
from baton.identifiers import TASK_QUEUE
from baton.records.run import (
    Decide,
    Decision,
    ErrorRecord,
    GateDocument,
    Guide,
    RoundDocument,
    RunDocument,
    RunRequest,
    RunStatus,
    TaskDocument,
    TaskState,
)
from tests.conftest import assert_eventually, server_environment
from tests.support.scripts import bash, escalate, made, plan, scenario, session, task
from workers.search_attributes import SEARCH_ATTRIBUTES
from workers.temporal_service import TemporalService
from workflows.pipeline import Pipeline
from workflows.registry import WORKFLOWS

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BLOCK = re.compile(r"```sh\n(.*?)```", re.DOTALL)
WORDS = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", BLOCK.sub("", PAGE)))))
MODELS: list[type[BaseModel]] = [
    *(RunRequest, RunDocument, TaskDocument, RoundDocument, GateDocument),
    *(Decision, ErrorRecord, Decide, Guide),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_field_is_on_the_page(model: type[BaseModel]) -> None:
    assert not set(model.model_fields) - WORDS


def test_every_name_is_on_the_page() -> None:
    names = {TASK_QUEUE, *SEARCH_ATTRIBUTES, *RunStatus, *TaskState}
    for kind in WORKFLOWS:
        definition = workflow._Definition.must_from_class(kind)
        names |= {str(definition.name), *map(str, definition.signals), *map(str, definition.queries)}
        names |= set(map(str, definition.updates))
    assert not names - WORDS
    assert all(re.search(rf"\b{int(code)} ", PAGE) for code in ExitCode)


def command_name(line: str) -> str:
    """What a line is about: `signal decide`, `list`."""
    what = line.split()[2]
    about = re.search(r"--(?:name|type) (\w+)", line)
    return f"{what} {about[1]}" if about else what


async def temporal(service: TemporalService, line: str) -> str:
    """Run one line of the page, and give what it prints."""
    program, *arguments = shlex.split(line)
    assert program == "temporal"
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name(program)),
        *(*arguments, "--address", service.address, "--disable-config-file"),
        env={**os.environ, **server_environment(service.address)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, f"{line}\n{said.decode()}"
    return said.decode()


async def test_the_commands_do_what_the_page_says(staged, service: TemporalService) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [[escalate("Where?", "url", "page")], [escalate("Really?", "url", "page")], [bash("sleep 60")], [made()]],
        ),
    )
    async with staged(script) as stage:
        text = "".join(BLOCK.findall(PAGE)).replace("\\\n", "")
        text = text.replace("shop-pages-x7k2", stage.run).replace("/srv/git/shop", str(stage.repo))
        commands = {command_name(line): line for line in text.splitlines()}
        assert len(commands) == 9

        await temporal(service, commands["start Pipeline"])
        handle = stage.client.get_workflow_handle_for(Pipeline.run, stage.run)
        await stage.until_waiting(handle, decision="D1")

        async def listed() -> bool:
            # The list is a moment behind.
            return stage.run in await temporal(service, commands["list"])

        await assert_eventually(listed)
        await temporal(service, commands["signal decide"])
        await stage.until_waiting(handle, decision="D2")
        await temporal(service, commands["signal guide"])
        await temporal(service, commands["update submit_decision"])

        async def heard() -> bool:
            return any("Keep the old parameter working" in str(r.body) for r in stage.standin.requests)

        await assert_eventually(heard)
        status = await temporal(service, commands["query status"])
        assert '"tasks":{"t1":"working"}' in status.replace(" ", "")
        for name in ("state", "decisions"):
            answer = await temporal(service, commands[f"query {name}"])
            assert "as in the other pages" in answer
        await temporal(service, commands["cancel"])
        document = await stage.outcome(handle)
    assert document.status is RunStatus.STOPPED
    assert [(found.choice, found.by) for found in document.decisions] == [("url", "ada"), ("url", "")]
    # What the page says of the document is what a program reads.
    assert json.loads(document.model_dump_json())["tasks"][0]["state"] == "stopped"
