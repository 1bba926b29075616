"""A key of Baton's own that is typed into a request, a note or guidance: in no history, store, prompt or log."""

import base64
import json
import subprocess
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from baton.records.run import Decide, Guide, RunStatus
from baton.text.key_masker import KeyMasker, encoded_forms, masked_names
from standin.script.scenario import ScriptedStep
from tests.pipelines.conftest import CANARY
from tests.support.scripts import escalate, made, plan, reviewed, scenario, session, task, tested
from workflows.pipeline import Pipeline

HUB = 'ghs_canary"0f\\31+/=ab9'
NAMES = {CANARY: "ANTHROPIC_API_KEY", HUB: "BATON_GITHUB_TOKEN"}
FORMS = {
    "plain": CANARY,
    "in JSON": json.dumps({"key": HUB}),
    "in a URL": f"https://example.org/?k={quote(HUB, safe='')}",
    "base64": base64.b64encode(HUB.encode()).decode(),
    "base64 of more": base64.b64encode(b"user:" + CANARY.encode()).decode(),
    "base64 of more still": base64.b64encode(b"login " + CANARY.encode() + b" end").decode(),
    "over two lines": f"{CANARY[:14]}\n  {CANARY[14:]}",
}


@pytest.mark.parametrize("name", FORMS)
def test_every_form_is_masked_and_named(name: str) -> None:
    masked = KeyMasker(NAMES)(f"Use {FORMS[name]} for it.")
    assert masked_names(masked) in (["ANTHROPIC_API_KEY"], ["BATON_GITHUB_TOKEN"])
    for secret in NAMES:
        assert not any(form in masked for form in encoded_forms(secret))


@pytest.mark.parametrize(
    "key",
    [
        "sk-ant-api03-AAAAAAAAAAAAAAAA",
        "ghp_" + "a1" * 18,
        "github_pat_" + "a1" * 20,
        "AKIA" + "A1" * 8,
        "xoxb-1234567890-abcdef",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl",
    ],
)
def test_keys_of_others_are_known_by_their_shape(key: str) -> None:
    masked = KeyMasker({})(f"Use {key}")
    assert masked == "Use [masked: a key]"


@pytest.mark.parametrize(
    "text", ["Rename the field password: str", "x = sk-ant", "a\n***\nb", "https://a:b@host/x", "é😀"]
)
def test_other_words_stay(text: str) -> None:
    assert KeyMasker(NAMES)(text) == text


async def test_what_any_client_sends_is_masked_before_it_is_kept_or_shown(staged) -> None:  # type: ignore[no-untyped-def]
    """The test's own client knows nothing of masking: history keeps what it sent, and nothing else does."""
    ask = escalate("Which?", "one", "two")
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[ask], ScriptedStep(calls=[made()])]),
        session("tester", "t1", [[tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script, github_token=SecretStr(HUB)) as stage:
        words = f"Do it with {CANARY}, {FORMS['base64 of more']} and {FORMS['in JSON']}."
        handle = await stage.start(task=words)
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.guide, Guide(text=f"Here is {CANARY}"))
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="one", note=f"as {CANARY}", by=CANARY))
        document = await stage.outcome(handle)
        asked = "".join(str(record.body) for record in stage.standin.requests)
        home = stage.settings.home
    assert document.status is RunStatus.DONE
    said = document.model_dump_json()
    assert "ANTHROPIC_API_KEY" in "".join(document.notes)
    assert "masked" in asked
    wanted = sorted({form for secret in NAMES for form in encoded_forms(secret)})
    assert not [form for form in wanted if form in said or form in asked]
    patterns = [word for form in wanted for word in ("-e", form)]
    found = subprocess.run(["grep", "-rlaF", *patterns, str(home)], capture_output=True, text=True, check=False)
    assert found.stdout == ""
    for store in home.glob("stores/*/*.git"):
        listed = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"]
        objects = subprocess.run(listed, cwd=store, capture_output=True, check=True).stdout
        assert not [form for form in wanted if form.encode() in objects]
