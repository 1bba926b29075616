"""Repositories that a run cannot start from, for any client that starts it: one clear sentence, and nothing is paid."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError

from baton.records.run import RunStatus
from tests.pipelines.conftest import CANARY, Stage
from tests.support.repositories import git
from tests.support.scripts import plan, scenario, simple_task, task, write


def nothing_here(stage: Stage) -> str:
    return str(stage.repo.with_name("nothing-here"))


def empty(stage: Stage) -> str:
    path = stage.repo.with_name("empty")
    subprocess.run(["git", "init", "-q", "-b", "main", str(path)], check=True)
    return str(path)


def no_repository(stage: Stage) -> str:
    path = stage.repo.with_name("plain")
    path.mkdir()
    return str(path)


def relative(_stage: Stage) -> str:
    return "shop"


def nobody_listens(_stage: Stage) -> str:
    return "http://127.0.0.1:9/shop.git"


def as_it_is(stage: Stage) -> str:
    return str(stage.repo)


def partial(stage: Stage) -> Path:
    """A clone that lacks the contents of files."""
    git(stage.repo, "config", "uploadpack.allowFilter", "true")
    path = stage.repo.with_name("partial")
    address = stage.repo.as_uri()
    subprocess.run(["git", "clone", "-q", "--filter=blob:none", "--bare", address, str(path)], check=True)
    return path


def partial_without_its_remote(stage: Stage) -> str:
    path = partial(stage)
    subprocess.run(["git", "config", "remote.origin.url", str(path.with_name("gone"))], cwd=path, check=True)
    return str(path)


def with_config(text: str) -> Callable[[Stage], str]:
    def changed(stage: Stage) -> str:
        (stage.repo / "baton.toml").write_text(text)
        git(stage.repo, "commit", "-qam", "Configure")
        return str(stage.repo)

    return changed


CASES = [
    (with_config("[gate\n"), None, "baton.toml"),
    (with_config('[gate]\ncommand = "pytest"\n'), None, "baton.toml"),
    (with_config('[gate]\ntimeout = "soon"\n'), None, "baton.toml"),
    (nothing_here, None, "nothing-here"),
    (empty, None, "make a first commit"),
    (no_repository, None, "plain"),
    (relative, None, "shop"),
    (partial_without_its_remote, None, "is a partial clone, and the objects that it lacks cannot be fetched"),
    (nobody_listens, None, "http://127.0.0.1:9/shop.git cannot be read: it cannot be reached"),
    (as_it_is, "no-such-branch", "no branch, tag or commit 'no-such-branch'; it has, for instance, main."),
    (as_it_is, "--upload-pack=touch /tmp/x", "no branch, tag or commit"),
    (as_it_is, "0" * 40, "no branch, tag or commit"),
]


@pytest.mark.parametrize(("where", "base", "words"), CASES)
async def test_a_run_that_cannot_start_says_why(staged, where, base, words) -> None:  # type: ignore[no-untyped-def]
    async with staged(scenario(plan(task("t1")))) as stage:
        handle = await stage.start(repo=where(stage), base=base)
        with pytest.raises(WorkflowFailureError) as failure:
            await handle.result()
        document = await handle.query("state")
        assert stage.standin.requests == []

    sentence = str(failure.value.cause)
    assert words in sentence
    assert "Traceback" not in sentence
    assert len(sentence) < 400
    assert document["status"] == RunStatus.FAILED
    assert document["notes"][-1] in sentence
    assert document["errors"][-1]["error"] in sentence
    assert document["ended_at"]
    # Asking again helps only where the other side may come back.
    tries = "3 attempts" if where is nobody_listens else "1 attempt"
    assert document["errors"][-1]["recovery_attempted"].startswith(tries)


async def test_uncommitted_changes_are_not_seen_and_not_touched(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    (repo / "src/orders.txt").write_text("half an idea\n")
    (repo / "src/draft.txt").write_text("another one\n")
    (repo / "web/index.html").unlink()
    git(repo, "rm", "-q", "--cached", "README.md")
    before = git(repo, "status", "--porcelain")
    script = scenario(plan(task("t1")), simple_task("t1", write("src/x.txt", "x\n")))
    async with staged(script) as stage:
        document = await stage.finish()

    assert document.status is RunStatus.DONE, document
    assert [note for note in document.notes if "uncommitted changes" in note]
    assert git(repo, "status", "--porcelain") == before
    assert (repo / "src/orders.txt").read_text() == "half an idea\n"
    assert git(repo, "diff", "--name-only", "main", str(document.branch)) == "src/x.txt"
    assert CANARY not in document.model_dump_json()


async def test_a_run_on_a_partial_clone_brings_what_it_lacks_and_says_so(staged) -> None:  # type: ignore[no-untyped-def]
    async with staged(scenario(plan(task("t1")), simple_task("t1", write("src/new.txt", "n\n")))) as stage:
        path = partial(stage)
        handle = await stage.start(repo=str(path), base=None)
        await handle.result()
        document = await handle.query("state")
    assert document["status"] == RunStatus.DONE
    assert any("is a partial clone" in note for note in document["notes"])
    assert git(path, "show", f"{document['branch']}:src/new.txt") == "n"
