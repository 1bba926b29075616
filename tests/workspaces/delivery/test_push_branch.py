"""Publishing: one branch, exactly once, into bare repositories and checkouts; every refusal is a clear sentence."""

import asyncio
from pathlib import Path

import pytest

from baton.errors import RepositoryError
from tests.workspaces.conftest import AT, Lab, run_git
from workspaces.delivery import push_branch as publish_module
from workspaces.delivery.merge import commit_tree
from workspaces.delivery.push_branch import push_branch
from workspaces.git.credentials import CredentialHeader
from workspaces.git.run import GitResult, call_git
from workspaces.store.store import Store

BRANCH = "baton/run-1"


async def made(lab: Lab, message: str = "published") -> str:
    return await commit_tree(lab.store, lab.store.find_tree(lab.base), [lab.base], message, AT)


def refs(path: Path) -> dict[str, str]:
    lines = run_git(path, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
    return dict(line.split() for line in lines)


async def bare(lab: Lab, tmp_path: Path) -> Path:
    run_git(tmp_path, "clone", "--quiet", "--bare", str(lab.project.path), "bare.git")
    lab.store = await Store.open(lab.home, str(tmp_path / "bare.git"))
    lab.base = (await lab.store.fetch_base(None)).commit
    return tmp_path / "bare.git"


async def test_into_a_checkout_and_only_the_branch(lab: Lab) -> None:
    before = refs(lab.project.path)
    (lab.project.path / "README.md").write_text("not committed")
    commit = await made(lab)
    published = await push_branch(lab.store, commit, BRANCH, expected=None)
    assert (published.commit, published.already) == (commit, False)
    assert refs(lab.project.path) == {**before, f"refs/heads/{BRANCH}": commit}
    assert (lab.project.path / "README.md").read_text() == "not committed"
    assert (await push_branch(lab.store, commit, BRANCH, expected=None)).already
    assert lab.project.git("log", "--format=%s", BRANCH) == "published\nfirst"


async def test_into_a_bare_repository_then_forward(lab: Lab, tmp_path: Path) -> None:
    target = await bare(lab, tmp_path)
    one = await made(lab)
    await push_branch(lab.store, one, BRANCH, expected=None)
    two = await commit_tree(lab.store, lab.store.find_tree(lab.base), [one], "more", AT)
    assert not (await push_branch(lab.store, two, BRANCH, expected=one)).already
    assert refs(target)[f"refs/heads/{BRANCH}"] == two


async def test_a_branch_that_somebody_else_moved_is_left_alone(lab: Lab) -> None:
    commit = await made(lab)
    theirs = lab.project.commit({"t": b"t"})
    lab.project.git("branch", BRANCH)
    with pytest.raises(RepositoryError, match="somebody else has moved it"):
        await push_branch(lab.store, commit, BRANCH, expected=None)
    with pytest.raises(RepositoryError, match="somebody else has moved it"):
        await push_branch(lab.store, commit, BRANCH, expected=lab.base)
    assert refs(lab.project.path)[f"refs/heads/{BRANCH}"] == theirs


async def test_moved_between_the_look_and_the_push(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lease holds where the look was too early."""
    commit = await made(lab)
    theirs = lab.project.commit({"t": b"t"})
    real = publish_module._read_remote_ref
    looks = 0

    async def look(store: Store, ref: str, header: CredentialHeader | None) -> str | None:
        nonlocal looks
        found = await real(store, ref, header)
        looks += 1
        if looks == 1:
            lab.project.git("branch", BRANCH)
        return found

    monkeypatch.setattr(publish_module, "_read_remote_ref", look)
    with pytest.raises(RepositoryError, match="somebody else has moved it"):
        await push_branch(lab.store, commit, BRANCH, expected=None)
    assert refs(lab.project.path)[f"refs/heads/{BRANCH}"] == theirs


async def test_of_two_attempts_at_once_both_find_it_published(lab: Lab) -> None:
    commit = await made(lab)
    results = await asyncio.gather(*(push_branch(lab.store, commit, BRANCH, expected=None) for _ in range(4)))
    assert {result.commit for result in results} == {commit}


async def test_a_push_that_landed_without_an_answer(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = await made(lab)

    async def cut(arguments: list[str], **options: object) -> GitResult:
        await call_git(arguments, **options)  # type: ignore[arg-type]
        return GitResult(128, b"", "fatal: the remote end hung up unexpectedly")

    monkeypatch.setattr(publish_module, "call_git", cut)
    assert (await push_branch(lab.store, commit, BRANCH, expected=None)).commit == commit
    assert refs(lab.project.path)[f"refs/heads/{BRANCH}"] == commit


async def test_a_hook_that_refuses_is_quoted(lab: Lab, tmp_path: Path) -> None:
    target = await bare(lab, tmp_path)
    lab.store = await Store.open(lab.home, str(target), hooks=True)
    hook = target / "hooks/pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'Branches need a ticket; token=abcdefgh12345' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(RepositoryError) as caught:
        await push_branch(lab.store, await made(lab), BRANCH, expected=None)
    assert "pre-receive hook declined" in str(caught.value)
    assert "Branches need a ticket" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert f"refs/heads/{BRANCH}" not in refs(target)


async def test_a_branch_that_is_checked_out_is_refused(lab: Lab) -> None:
    commit = await made(lab)
    with pytest.raises(RepositoryError, match="could not be pushed"):
        await push_branch(lab.store, commit, "main", expected=lab.base)
    assert refs(lab.project.path)["refs/heads/main"] == lab.base


async def test_a_branch_in_the_way_of_the_name(lab: Lab) -> None:
    lab.project.git("branch", "baton")
    with pytest.raises(RepositoryError, match="could not be pushed"):
        await push_branch(lab.store, await made(lab), BRANCH, expected=None)


@pytest.mark.parametrize("branch", ["-x", "a..b", "a b", "x.lock", "", "a:b", "refs/../x", "a\nb"])
async def test_impossible_names(lab: Lab, branch: str) -> None:
    with pytest.raises(RepositoryError, match="cannot be the name of a branch"):
        await push_branch(lab.store, await made(lab), branch, expected=None)


async def test_a_repository_that_is_gone(lab: Lab, tmp_path: Path) -> None:
    commit = await made(lab)
    lab.project.path.rename(tmp_path / "moved")
    with pytest.raises(RepositoryError, match="There is no directory"):
        await push_branch(lab.store, commit, BRANCH, expected=None)
