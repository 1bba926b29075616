"""`baton doctor --github`: what is right, what is missing, and what to do about it."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import SecretStr

from baton.settings.core import Settings
from interfaces.cli.commands.doctor.github import check_github
from tests.cli.conftest import Cli, cli
from tests.conftest import server_environment
from tests.support.github.emulator import BOT, OWNER, token_of
from tests.support.github.hub import Fault
from tests.support.github.world import World
from workers.temporal_service import TemporalService

__all__ = ["cli"]


@pytest.fixture
def examine(
    service: TemporalService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bare_world: World
) -> Any:
    """The checks by name, for settings like these, and the exit code."""
    for name, value in server_environment(service.address).items():
        monkeypatch.setenv(name, value)

    async def look(**more: Any) -> tuple[int, dict[str, dict[str, str]]]:
        capsys.readouterr()
        code = await check_github(bare_world.settings.model_copy(update=more), True)
        return code, {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}

    return look


async def test_a_good_set_up(examine: Any, bare_world: World) -> None:
    bare_world.hub.codes = [202] * 5
    code, checks = await examine(github_webhook_port=9)
    assert code == 0
    assert {name: check["status"] for name, check in checks.items()} == {
        "secret": "ok",
        "credential": "ok",
        "permissions": "ok",
        "events": "ok",
        "deliveries": "ok",
        "webhook": "warn",
        "retention": "ok",
    }
    assert f"knows us as {BOT}, by a GitHub App" in checks["credential"]["detail"]
    assert "5 arrived and 0 did not" in checks["deliveries"]["detail"]
    assert "baton webhook" in checks["webhook"]["advice"]


async def test_what_is_missing_is_named(examine: Any, bare_world: World, settings: Settings) -> None:
    bare_world.hub.codes = [500, 401]
    code, checks = await examine(github_webhook_secret=None)
    assert code == 1
    assert checks["secret"]["status"] == checks["deliveries"]["status"] == "fail"
    bare_world.hub.faults = [Fault("/app", status=401, message="A JSON web token could not be decoded")]
    code, checks = await examine()
    assert code == 1
    assert "renew the credential" in checks["credential"]["detail"]
    assert "permissions" not in checks
    narrow = {"slug": "narrow", "permissions": {"metadata": "read", "contents": "read"}, "events": ["issues"]}
    bare_world.hub.answers["/app"] = narrow
    code, checks = await examine()
    assert code == 1
    assert "contents: write, issues: write" in checks["permissions"]["detail"]
    assert "issue_comment, pull_request" in checks["events"]["detail"]
    bare_world.hub.answers.clear()
    token: dict[str, Any] = {
        "github_app_id": None,
        "github_private_key": None,
        "github_token": SecretStr(token_of(OWNER)),
    }
    code, checks = await examine(**token)
    assert code == 0
    assert "only an App can write check runs" in checks["credential"]["detail"]
    assert checks["permissions"]["status"] == "warn"

    # A token, and the webhook that was made by hand.
    w = bare_world
    token["github_repositories"] = w.full_name
    code, checks = await examine(**token)
    assert (code, checks["permissions"]["status"]) == (1, "ok")
    assert f"{w.full_name} has none" in checks["events"]["detail"]
    narrow_hook = {"name": "web", "active": True, "events": ["issues", "push"], "config": {"url": "http://127.0.0.1:9"}}
    await w.api("POST", "/hooks", narrow_hook)
    code, checks = await examine(**token)
    assert code == 1
    assert f"that of {w.full_name} does not send issue_comment, pull_request" in checks["events"]["detail"]
    await w.hook_by_hand()
    code, checks = await examine(**token)
    assert (code, checks["events"]["status"]) == (0, "ok")
    w.hub.answers[f"/repos/{w.full_name}"] = {"permissions": {"push": False}}
    code, checks = await examine(**{**token, "github_repositories": f"{w.full_name},{OWNER}/not-there"})
    assert code == 1
    said = checks["permissions"]["detail"]
    assert f"may not write to {w.full_name}" in said
    assert f"{OWNER}/not-there is not to be seen" in said
    bare_world.hub.faults = [Fault("/user", status=401, message="Bad credentials")]
    code, checks = await examine(**token)
    assert code == 1
    assert "renew the credential" in checks["credential"]["detail"]
    code, checks = await examine(**{**token, "github_token": None})
    assert "has no credential for GitHub" in checks["credential"]["detail"]


@pytest.mark.server
async def test_the_command(cli: Cli) -> None:
    both, alone = await asyncio.gather(cli("doctor", "--github", "--store"), cli("doctor", "--github"))
    assert both.code == 2
    assert "exclude each other" in both.err
    assert alone.code == 1
    assert "BATON_GITHUB_WEBHOOK_SECRET is not set" in alone.out
    assert "has no credential for GitHub" in alone.out
