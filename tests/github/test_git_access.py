"""Git with a token for one operation: it reaches the repository, and is found nowhere but in git's environment."""

import asyncio
from pathlib import Path

import pytest
from pydantic import SecretStr

from activities.github.client import GitHubClient, make_http_client
from baton.errors import GitHubDenied, RepositoryAway, RepositoryError
from tests.support.git_over_http import serving
from tests.support.github.emulator import OWNER, token_of
from tests.support.github.hub import Fault
from tests.support.github.opening import make_for_git
from tests.support.github.world import World
from tests.support.leftovers import commands_with
from tests.support.repositories import git, make_repository
from workspaces.delivery.push_branch import push_branch
from workspaces.store.store import Store

BRANCH = "baton/issue-1-add-pages"


async def test_fetch_and_push_with_a_token_of_their_own(bare_world: World, tmp_path: Path) -> None:
    w = bare_world
    make_for_git(w, tmp_path, None)
    async with make_http_client() as http:
        github = GitHubClient(w.settings, http)
        store = await Store.open(tmp_path / "home", w.clone_url, credentials=github.git_header)
        # Slow, so that there is time to look at the processes.
        w.hub.faults = [Fault(".*/info/refs", status_kept=True, delay=1.0)]
        fetching = asyncio.create_task(store.fetch_base(None))
        seen: list[str] = []
        while not fetching.done():
            seen += commands_with(w.clone_url)
            await asyncio.sleep(0.05)
        base = await fetching
        assert base.commit == git(w.bare, "rev-parse", "main")
        first = w.hub.minted[-1]
        commands = "\n".join(seen)
        assert "ls-remote" in commands
        assert first not in commands
        assert "Basic " not in commands

        made = git(w.bare, "commit-tree", f"{base.commit}^{{tree}}", "-p", base.commit, "-m", "made")
        git(w.bare, "branch", "elsewhere", made)
        await store.fetch_base(None)
        published = await push_branch(store, made, BRANCH, expected=None)
        assert not published.already
        assert w.head(BRANCH) == made
        # The answer to the push gets lost: the branch is there, and that is found out.
        w.hub.faults = [Fault(".*/git-receive-pack", after=True)]
        again = await push_branch(store, base.commit, "baton/issue-1-again", expected=None)
        assert w.head("baton/issue-1-again") == again.commit
        assert len(set(w.hub.minted)) == len(w.hub.minted)
        files = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
        for token in w.hub.minted:
            assert not any(token.encode() in path.read_bytes() for path in files)

        # GitHub is away, and does not let us in.
        w.hub.faults = [Fault(".*/info/refs", status=503)]
        with pytest.raises(RepositoryAway):
            await store.fetch_base(None)
        bad = GitHubClient(w.settings.model_copy(update=by_token("wrong")), http)
        stranger = await Store.open(tmp_path / "other", w.clone_url, credentials=bad.git_header)
        with pytest.raises(GitHubDenied, match="renew the credential") as denied:
            await stranger.fetch_base(None)
        assert "wrong" not in str(denied.value)


def by_token(token: str) -> dict[str, object]:
    return {"github_app_id": None, "github_private_key": None, "github_token": SecretStr(token)}


async def test_only_repositories_on_github_get_a_token(bare_world: World) -> None:
    w = bare_world
    async with make_http_client() as http:
        app = GitHubClient(w.settings, http)
        assert (await app.git_header(w.clone_url) or "").startswith("Authorization: Basic ")
        others = (
            f"https://example.org/{w.full_name}.git",
            f"{w.forge.address}.example.org/{w.full_name}.git",
            f"{w.forge.address}/{w.full_name}/more.git",
            f"{w.forge.address}/",
            "/srv/git/shop",
            f"{w.forge.address}/{OWNER}/not-there.git",
        )
        before = len(w.hub.minted)
        for url in others:
            assert await app.git_header(url) is None, url
        assert len(w.hub.minted) == before
        nobody = GitHubClient(w.settings.model_copy(update={**by_token("x"), "github_token": None}), http)
        assert await nobody.git_header(w.clone_url) is None
        person = GitHubClient(w.settings.model_copy(update=by_token(token_of(OWNER))), http)
        assert await person.git_header(w.clone_url) is not None


async def test_a_helper_of_the_persons_git_gets_none_of_our_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the person's own git reaches a repository, their helpers run in the environment of the worker."""
    helper, seen = tmp_path / "helper", tmp_path / "seen"
    helper.write_text(f"#!/bin/sh\nenv > {seen}\n")
    helper.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[credential]\n\thelper = {helper}\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    secrets = ("ANTHROPIC_API_KEY", "BATON_GITHUB_TOKEN", "BATON_GITHUB_PRIVATE_KEY", "BATON_GITHUB_WEBHOOK_SECRET")
    for name in secrets:
        monkeypatch.setenv(name, f"canary-{name}")
    repositories = tmp_path / "served"
    make_repository(repositories / "shop.git")
    with serving(repositories) as port:
        store = await Store.open(tmp_path / "home", f"http://127.0.0.1:{port}/shop.git")
        with pytest.raises(RepositoryError, match="access was denied"):
            await store.fetch_base(None)
    assert "PATH=" in seen.read_text()
    assert "canary-" not in seen.read_text()
