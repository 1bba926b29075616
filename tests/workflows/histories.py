"""Histories as files: small, and without any trace of the machine that they were recorded on."""

import base64
import gzip
import json
from collections.abc import Mapping
from pathlib import Path

from google.protobuf.message import Message
from temporalio.client import WorkflowHistory

FOLDER = Path(__file__).with_name("histories")


def names() -> list[str]:
    """The recorded runs."""
    return sorted(path.name.removesuffix(".json.gz") for path in FOLDER.glob("*.json.gz"))


def write(name: str, histories: list[WorkflowHistory]) -> None:
    """Keep the histories of one run."""
    FOLDER.mkdir(exist_ok=True)
    data = [{"id": history.workflow_id, "history": history.to_json_dict()} for history in histories]
    text = json.dumps(data, sort_keys=True, separators=(",", ":")).encode()
    (FOLDER / f"{name}.json.gz").write_bytes(gzip.compress(text, mtime=0))


def read(name: str) -> list[WorkflowHistory]:
    """The histories of one run, the first one its pipeline's."""
    data = json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes()))
    return [WorkflowHistory.from_json(entry["id"], entry["history"]) for entry in data]


def everything(name: str) -> str:
    """All that a file says, with payloads decoded, to be searched."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "data" and isinstance(inner, str):
                    found.append(base64.b64decode(inner).decode(errors="replace"))
                else:
                    walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        else:
            found.append(str(value))

    walk(json.loads(gzip.decompress((FOLDER / f"{name}.json.gz").read_bytes())))
    return "\n".join(found)


def neutral(history: WorkflowHistory, names: Mapping[str, str]) -> WorkflowHistory:
    """The history with these texts replaced everywhere, in payloads too, and without stack traces and identities."""
    for event in history.events:
        _clean(event, names)
    return history


def _clean(message: Message, names: Mapping[str, str]) -> None:
    for field, value in message.ListFields():
        if field.name in ("stack_trace", "identity"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            if field.message_type.GetOptions().map_entry:
                inner = [entry for entry in value.values() if isinstance(entry, Message)]
            else:
                inner = list(value) if field.is_repeated else [value]
            for part in inner:
                _clean(part, names)
        elif isinstance(value, str | bytes):
            setattr(message, field.name, _replaced(value, names))


def _replaced(value: str | bytes, names: Mapping[str, str]) -> str | bytes:
    for old, new in names.items():
        value = value.replace(old, new) if isinstance(value, str) else value.replace(old.encode(), new.encode())
    return value
