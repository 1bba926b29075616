"""Log lines: where they belong, and no secret in them, however deep it lies."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from baton.identifiers import place_of
from baton.logs import FIELDS, configure_logging, get_logger
from baton.text.redaction import Redactor


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("json", "info", Redactor(["zanzibar-7"]), stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


def test_secrets_are_masked_at_any_depth(log: io.StringIO) -> None:
    get_logger("ours").info("zanzibar-7", tools=["a", {"b": "zanzibar-7"}])
    logging.getLogger("theirs").warning("%s", "zanzibar-7", extra={FIELDS: {"record": {"url": "zanzibar-7"}}})
    first, second = map(json.loads, log.getvalue().splitlines())
    assert (first["event"], first["tools"]) == ("***", ["a", {"b": "***"}])
    assert (second["event"], second["record"]) == ("***", {"url": "***"})


@pytest.mark.parametrize(
    ("workflow_id", "place"),
    [
        ("shop-1", {"run": "shop-1"}),
        ("shop-1/t1", {"run": "shop-1", "task": "t1"}),
        ("shop-1/t1/2-backend", {"run": "shop-1", "task": "t1", "round": "2", "role": "backend"}),
        ("", {}),
    ],
)
def test_a_line_of_the_sdk_is_placed_by_its_workflow(log: io.StringIO, workflow_id: str, place: dict[str, str]) -> None:
    assert place_of(workflow_id) == place
    info = {"workflow_id": workflow_id, "attempt": 1}
    logging.getLogger("temporalio.workflow").warning("x", extra={"temporal_workflow": info})
    assert place.items() <= json.loads(log.getvalue()).items()
