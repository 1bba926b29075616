"""The content blocks of an answer, built from a step: ids, signatures, templates, and the cut by `max_tokens`."""

import hashlib
import string
from dataclasses import dataclass
from typing import Any

from pydantic_core import to_json

from standin.api.prefix import (
    ANY_TEXT,
    HashedPrefix,
    canonical_bytes,
    estimate_tokens,
    extend_digest,
    seal_thinking,
    sign_thinking,
)
from standin.script.scenario import ScriptedStep

_ALPHABET = string.ascii_letters + string.digits


@dataclass
class AnswerBlock:
    """One content block."""

    body: dict[str, Any]
    partial_input: str | None = None
    """JSON text to stream as the input of a tool call, in place of `body["input"]`; it is shorter in a cut answer."""


@dataclass
class ScriptedAnswer:
    """The model's answer to one request."""

    message_id: str
    model: str
    blocks: list[AnswerBlock]
    stop_reason: str
    stop_details: dict[str, Any] | None
    output_tokens: int
    digest: bytes
    """The hash of the request and this answer together."""
    sealed: list[str]
    """Redacted blocks, each after the hash of the prefix before it."""

    def content_blocks(self) -> list[dict[str, Any]]:
        """Return the content blocks of an answer that is not streamed."""
        return [block.body for block in self.blocks]


def derive_token(seed: bytes, length: int = 22) -> str:
    """Return letters and digits that are derived from a seed."""
    number = int.from_bytes(hashlib.sha512(seed).digest(), "big")
    letters = []
    for _ in range(length):
        number, index = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[index])
    return "".join(letters)


def fill_template(value: Any, names: dict[str, str]) -> Any:
    """Replace `${turn}` and the other names in every text of a value; other `${...}` stay as they are."""
    if isinstance(value, str):
        for name, text in names.items():
            value = value.replace("${" + name + "}", text)
        return value
    if isinstance(value, list):
        return [fill_template(item, names) for item in value]
    if isinstance(value, dict):
        return {key: fill_template(item, names) for key, item in value.items()}
    return value


def compose_answer(
    step: ScriptedStep, request: dict[str, Any], prefix: HashedPrefix, names: dict[str, str], identity: str
) -> ScriptedAnswer:
    """Return the answer of a step to a checked request; the same request of the same `identity` gets the same ids."""
    digest = prefix.digest
    seed = digest + identity.encode()
    sealed: list[str] = []
    bodies: list[dict[str, Any]] = []
    raws: dict[str, str] = {}
    if step.thinking is not None:
        thinking = fill_template(step.thinking, names)
        if step.redacted:
            data = seal_thinking(digest, thinking)
            sealed.append(digest.hex() + data)
            bodies.append({"type": "redacted_thinking", "data": data})
        else:
            bodies.append({"type": "thinking", "thinking": thinking, "signature": sign_thinking(digest, thinking)})
    if step.text:
        bodies.append({"type": "text", "text": fill_template(step.text, names)})
    for number, call in enumerate(step.calls):
        kind, start = ("server_tool_use", "srvtoolu_01") if call.server else ("tool_use", "toolu_01")
        call_id = start + derive_token(seed + b"call" + str(number).encode())
        bodies.append({"type": kind, "id": call_id, "name": call.name, "input": fill_template(call.input, names)})
        if call.raw is not None:
            raws[call_id] = fill_template(call.raw, names)
            bodies[-1]["input"] = {}

    blocks = [AnswerBlock(body, raws.get(body.get("id", ""))) for body in bodies]
    costs = [
        estimate_tokens(canonical_bytes(block.body) + (block.partial_input or "").encode(*ANY_TEXT)) for block in blocks
    ]
    ours = any(not call.server for call in step.calls)
    stop_reason = step.stop_reason or ("tool_use" if ours else "end_turn")
    budget = request["max_tokens"]
    total = sum(costs) if step.output_tokens is None else step.output_tokens
    if stop_reason == "max_tokens" and costs:
        budget = min(budget, sum(costs) - max(1, costs[-1] // 2))
    if sum(costs) > budget:
        blocks, stop_reason = _cut_blocks(blocks, costs, budget), "max_tokens"
    for block in blocks:
        digest = extend_digest(digest, "assistant", canonical_bytes(block.body))
    return ScriptedAnswer(
        message_id="msg_01" + derive_token(seed + b"message"),
        model=step.answers_as or request["model"],
        blocks=blocks,
        stop_reason=stop_reason,
        stop_details=step.stop_details,
        output_tokens=min(total, budget) if stop_reason == "max_tokens" else max(1, total),
        digest=digest,
        sealed=sealed,
    )


def _cut_blocks(blocks: list[AnswerBlock], costs: list[int], budget: int) -> list[AnswerBlock]:
    """Return the blocks that fit into a budget of tokens, the last one cut."""
    kept: list[AnswerBlock] = []
    for block, cost in zip(blocks, costs, strict=True):
        if cost <= budget:
            kept.append(block)
            budget -= cost
            continue
        share = budget / cost
        body = block.body
        if body["type"] == "tool_use" and budget > 0:
            whole = to_json(body["input"]).decode() if block.partial_input is None else block.partial_input
            kept.append(AnswerBlock({**body, "input": {}}, partial_input=whole[: int(len(whole) * share)]))
        elif body["type"] == "text" and int(len(body["text"]) * share):
            kept.append(AnswerBlock({**body, "text": body["text"][: int(len(body["text"]) * share)]}))
        elif body["type"] == "thinking" and int(len(body["thinking"]) * share):
            # The signature would come last and is missing: a client cannot send this block back.
            cut = body["thinking"][: int(len(body["thinking"]) * share)]
            kept.append(AnswerBlock({**body, "thinking": cut, "signature": ""}))
        break
    return kept
