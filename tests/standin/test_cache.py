"""The prompt cache keeps its published rules: look-back, minimum, order, time to live, breakpoints."""

from itertools import pairwise
from typing import Any

import pytest
from anthropic import OverloadedError
from pydantic_core import to_json

from baton.records.run import Usage
from standin import Fault, Scenario, ScriptedCall, ScriptedStep, serve_scenario
from standin.api.prefix import read_prefix
from standin.api.prompt_cache import PromptCache
from standin.api.schema import parse_request
from tests.standin.conftest import MODEL, request

FIVE = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}
LONG = "word " * 600


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> PromptCache:
    return PromptCache(clock)


def pay(cache: PromptCache, body: dict[str, Any]) -> Usage:
    """What a request is billed, and its effect on the cache."""
    checked = parse_request(to_json(body))
    outcome = cache.account_request(checked, read_prefix(checked))
    cache.commit_outcome(outcome)
    return outcome.usage


def text(words: str, mark: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "text", "text": words} | ({"cache_control": mark} if mark else {})


def user(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def total(usage: Usage) -> int:
    return usage.prompt_tokens


def test_without_a_breakpoint_nothing_is_cached(cache: PromptCache) -> None:
    body = request(messages=[user(text(LONG))])
    for _ in range(2):
        usage = pay(cache, body)
        assert (usage.input_tokens, usage.prompt_tokens) == (total(usage), total(usage))


def test_the_second_request_reads_what_the_first_wrote(cache: PromptCache) -> None:
    body = request(messages=[user(text(LONG, FIVE), text("The question."))])
    first, second = pay(cache, body), pay(cache, body)
    assert first.cache_read_tokens == 0
    assert first.cache_write_5m_tokens > 700
    assert first.input_tokens < 20
    assert second == first.model_copy(
        update={"cache_read_tokens": first.cache_write_5m_tokens, "cache_write_5m_tokens": 0}
    )


def test_less_than_512_tokens_are_not_cached(cache: PromptCache) -> None:
    small = request(messages=[user(text("x" * 4 * 490, FIVE))])
    for _ in range(2):
        assert pay(cache, small).input_tokens == total(pay(cache, small))
    large = request(messages=[user(text("x" * 4 * 520, FIVE))])
    assert pay(cache, large).cache_write_5m_tokens > 512
    assert pay(cache, large).cache_read_tokens > 512


@pytest.mark.parametrize(("mark", "seconds"), [(FIVE, 300), (HOUR, 3600)])
def test_entries_live_their_time_and_reading_renews_them(
    cache: PromptCache, clock: Clock, mark: dict[str, Any], seconds: int
) -> None:
    body = request(messages=[user(text(LONG, mark))])
    written = pay(cache, body)
    assert (written.cache_write_1h_tokens if mark is HOUR else written.cache_write_5m_tokens) > 512
    for _ in range(2):
        clock.now += seconds - 1
        assert pay(cache, body).cache_read_tokens > 512
    clock.now += seconds + 1
    assert pay(cache, body).cache_read_tokens == 0


def test_long_lived_and_short_lived_writes_are_billed_apart(cache: PromptCache) -> None:
    tool = {"name": "Read", "description": LONG, "input_schema": {"type": "object"}}
    body = request(tools=[tool], system=[text(LONG, HOUR)], messages=[user(text(LONG, FIVE), text("End."))])
    usage = pay(cache, body)
    assert usage.cache_write_1h_tokens > 2 * 700
    assert 700 < usage.cache_write_5m_tokens < 800
    assert usage.input_tokens < 20
    body["messages"][0]["content"][0]["text"] = "other " + LONG
    changed = pay(cache, body)
    assert changed.cache_read_tokens == usage.cache_write_1h_tokens
    assert changed.cache_write_1h_tokens == 0
    assert changed.cache_write_5m_tokens > 700


@pytest.mark.parametrize(("later", "hits"), [(18, True), (19, True), (20, False), (21, False)])
def test_the_look_back_ends_after_twenty_positions(cache: PromptCache, later: int, hits: bool) -> None:
    """The breakpoint is the first of the 20 positions."""
    start = [text(LONG, FIVE)]
    pay(cache, request(messages=[user(*start)]))
    grown = [text(LONG), *[text(f"Block {n}.") for n in range(later)]]
    grown[-1]["cache_control"] = FIVE
    assert (pay(cache, request(messages=[user(*grown)])).cache_read_tokens > 0) == hits


def test_changes_lose_what_comes_after_them(cache: PromptCache) -> None:
    tool = {"name": "Read", "description": LONG, "input_schema": {"type": "object"}, "cache_control": FIVE}
    body = request(tools=[tool], system=[text(LONG, FIVE)], messages=[user(text(LONG, FIVE))])
    whole = pay(cache, body).cache_write_5m_tokens
    assert pay(cache, body).cache_read_tokens == whole
    other_system = pay(cache, body | {"system": [text("other " + LONG, FIVE)]})
    assert 700 < other_system.cache_read_tokens < 1_200, "the tools are read"
    other_choice = pay(cache, body | {"tool_choice": {"type": "none"}})
    assert 1_400 < other_choice.cache_read_tokens < whole, "tools and system are read, messages are not"
    assert pay(cache, body | {"model": "claude-opus-5-5"}).cache_read_tokens == 0


def turns(calls: int, *, layout: bool) -> Scenario:
    """A session whose every turn thinks and calls so many tools in parallel."""
    step = {"thinking": "Hm.", "calls": [ScriptedCall("Read", {"file_path": f"f{n}"}) for n in range(calls)]}
    return Scenario(name=f"layout={layout}", steps=[ScriptedStep(repeat=6, **step)])


async def session(sdk: Any, calls: int, *, layout: bool) -> list[Usage]:
    """Six turns; usage per turn. With `layout` breakpoints stand where the engine sets them."""
    history: list[dict[str, Any]] = [user(text("Begin. " + LONG))]
    async with serve_scenario(turns(calls, layout=layout)) as standin, sdk(standin) as client:
        for turn in range(1, 7):
            sent = [{**message, "content": [dict(block) for block in message["content"]]} for message in history]
            system = [text(LONG)]
            if layout:
                system[0]["cache_control"] = FIVE
                if turn > 1:
                    sent[-3]["content"][-1]["cache_control"] = FIVE
            answer = await client.messages.create(
                model=MODEL,
                max_tokens=5_000,
                messages=sent,
                system=system,
                cache_control=FIVE,
                extra_headers={"X-Baton-Turn": str(turn)},
            )
            content = answer.to_dict(mode="json")["content"]
            results = [
                {"type": "tool_result", "tool_use_id": block["id"], "content": "result " * 100}
                for block in content
                if block["type"] == "tool_use"
            ]
            history += [{"role": "assistant", "content": content}, user(*results)]
        return [record.usage for record in standin.requests]


async def test_nine_parallel_calls_a_turn_hit_with_the_automatic_breakpoint_alone(sdk: Any) -> None:
    usages = await session(sdk, 9, layout=False)
    for before, usage in pairwise(usages):
        assert usage.cache_read_tokens == before.prompt_tokens


async def test_ten_parallel_calls_a_turn_lose_every_hit_with_the_automatic_breakpoint_alone(sdk: Any) -> None:
    """1 thinking + 10 calls + 10 results are 21 blocks: one more than the look-back."""
    usages = await session(sdk, 10, layout=False)
    assert [usage.cache_read_tokens for usage in usages] == [0] * 6
    assert all(usage.input_tokens == 0 for usage in usages), "everything is written, dearer than without a cache"


@pytest.mark.parametrize("calls", [1, 10, 30])
async def test_the_engines_layout_hits_however_many_calls_a_turn_has(sdk: Any, calls: int) -> None:
    usages = await session(sdk, calls, layout=True)
    for before, usage in pairwise(usages):
        assert usage.cache_read_tokens == before.prompt_tokens
        assert usage.input_tokens == 0


async def test_a_request_that_fails_before_its_answer_writes_nothing(sdk: Any) -> None:
    scenario = Scenario(default=ScriptedStep(text="x", faults=[Fault(status=529)]))
    body = request(messages=[user(text(LONG, FIVE))])
    async with serve_scenario(scenario) as standin, sdk(standin) as client:
        with pytest.raises(OverloadedError):
            await client.messages.create(**body)
        message = await client.messages.create(**body)
        assert message.usage.cache_read_input_tokens == 0
        assert message.usage.cache_creation.ephemeral_5m_input_tokens == message.usage.cache_creation_input_tokens > 512
        again = await client.messages.create(**body)
        assert again.usage.cache_read_input_tokens == message.usage.cache_creation_input_tokens
