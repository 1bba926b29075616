"""Files behind git filters: agents hear of them, no filter runs, and only a person has them published in plain text."""

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from baton import identifiers
from baton.records.run import Decide, Fork, RunRequest, RunStatus
from standin.script.scenario import ScriptedCall
from tests.support.repositories import CONFIG, git, make_repository
from tests.support.scripts import (
    bash,
    made,
    plan,
    reviewed,
    scenario,
    session,
    simple_task,
    task,
    tested,
    write,
)
from workflows.pipeline import Pipeline
from workspaces.delivery.lfs_store import find_contents, pointer_to
from workspaces.store.state_remote import StateRemote
from workspaces.store.store import Store

ATTRIBUTES = """\
src/secrets/** filter=git-crypt diff=git-crypt
*.enc.yaml filter=sops
*.ipynb filter=nbstripout
*.bin filter=lfs -text
"""
CIPHERTEXT = "\0GITCRYPT\0ciphertext"
PLAIN = "password = hunter2-in-plain\n"


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repository(
        tmp_path / "shop",
        {".gitattributes": ATTRIBUTES, "src/secrets/old.key": CIPHERTEXT, "src/plain.txt": "plain\n"},
    )


def everything(repo: Path) -> str:
    """All that a push has brought into the repository, as text."""
    listed = git(repo, "rev-list", "--objects", "--all").splitlines()
    found = []
    for line in listed:
        oid = line.split()[0]
        if git(repo, "cat-file", "-t", oid) == "blob":
            found.append(git(repo, "cat-file", "-p", oid))
    return "\n".join(found)


SECRETS = {
    "src/secrets/new.key": "git-crypt",
    "src/secrets/old.key": "git-crypt",
    "src/app.enc.yaml": "sops",
    "src/work.ipynb": "nbstripout",
}


@pytest.mark.parametrize("choice", ["publish", "skip", "abort"])
@pytest.mark.parametrize("path", SECRETS)
async def test_plain_text_is_published_by_a_persons_word_only(staged, repo: Path, path: str, choice: str) -> None:  # type: ignore[no-untyped-def]
    before = git(repo, "rev-parse", "HEAD")
    script = scenario(plan(task("t1")), simple_task("t1", write(path, PLAIN), write("src/x.txt", "x\n")))
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert path in decision.question
        assert f"filter={SECRETS[path]}" in decision.question
        assert "plain text" in decision.question
        assert decision.choices == ["publish", "retry", "skip", "abort"]
        assert decision.commit == waiting.head_commit
        assert git(repo, "branch", "--list", "baton/*") == ""
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="retry"))
        await stage.until_waiting(handle, decision="D2")
        await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice=choice))
        document = await stage.outcome(handle)
        heard = [str(record.body) for record in stage.standin.requests if record.role == "backend"]

    assert "filter=git-crypt" in heard[0]  # the first message names the patterns
    assert f"behind a git filter (filter={SECRETS[path]})" in heard[1]
    assert "in plain text, so a person is asked" in heard[1]
    assert ("hunter2" in everything(repo)) is (choice == "publish")
    branch = f"baton/{stage.run}"
    if choice == "abort":
        assert document.status is RunStatus.STOPPED
        assert git(repo, "branch", "--list", "baton/*") == ""
        return
    assert document.status is RunStatus.DONE
    assert document.branch == branch
    assert document.head_commit == git(repo, "rev-parse", branch)
    assert document.gate is not None
    assert document.gate.commit == document.head_commit
    assert [found.commit for found in document.tasks] == [document.head_commit]  # also where it was made anew
    assert git(repo, "show", f"{branch}:src/x.txt") == "x"
    changed = git(repo, "diff", "--name-only", before, branch).splitlines()
    assert sorted(changed) == sorted(["src/x.txt", *([path] if choice == "publish" else [])])
    said = "published as plain text" if choice == "publish" else "Left out of the branch"
    assert any(said in note and path in note for note in document.notes)


async def test_nothing_is_left_without_the_files_behind_filters(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(plan(task("t1")), simple_task("t1", write("src/secrets/new.key", PLAIN)))
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE
    assert document.branch is None
    assert git(repo, "branch", "--list", "baton/*") == ""
    assert "there is no change" in document.notes[-1]


async def test_what_one_task_adds_and_the_next_removes_is_not_in_the_history(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1"), task("t2", depends_on=["t1"])),
        simple_task("t1", write("src/secrets/new.key", PLAIN), write("src/x.txt", "x\n")),
        simple_task("t2", bash("rm src/secrets/new.key; echo y > src/y.txt")),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        assert "src/secrets/new.key" in waiting.decisions[0].question
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        document = await stage.outcome(handle)
    assert document.status is RunStatus.DONE
    assert "hunter2" not in everything(repo)
    assert git(repo, "show", f"{document.branch}:src/y.txt") == "y"
    assert len(git(repo, "rev-list", f"main..{document.branch}").splitlines()) == 2


async def test_tests_that_need_what_was_left_out_hold_the_branch_back(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        session("backend", "t1", [[write("src/secrets/new.key", PLAIN), write("src/x.txt", "x\n")], [made()]]),
        session("tester", "t1", [[write("tests/key.expect", "src/secrets/new.key hunter2\n")], [tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
    )
    async with staged(script) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice="skip"))
        waiting = await stage.until_waiting(handle, decision="D2")
        assert "tests fail" in waiting.decisions[1].question
        assert git(repo, "branch", "--list", "baton/*") == ""
        await handle.signal(Pipeline.decide, Decide(decision_id="D2", choice="skip"))
        document = await stage.outcome(handle)
    assert (document.status, document.branch) == (RunStatus.DONE, None)
    assert "was not published" in document.notes[-1]


async def test_a_default_of_the_repository_leaves_out_and_never_publishes(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    (repo / "baton.toml").write_text(CONFIG + '\n[decisions]\ndefault = "skip"\ndeadline = "1s"\n')
    git(repo, "commit", "-qam", "deadline")
    script = scenario(plan(task("t1")), simple_task("t1", write("src/secrets/new.key", PLAIN), write("src/x", "x\n")))
    async with staged(script, decision_defaults="repository") as stage:
        document = await stage.finish()
    assert document.status is RunStatus.DONE
    assert "hunter2" not in everything(repo)
    (repo / "baton.toml").write_text(CONFIG + '\n[decisions]\ndefault = "publish"\ndeadline = "1s"\n')
    git(repo, "commit", "-qam", "a grant that a repository cannot give")
    async with staged(script) as stage:
        stage.run += "-2"
        document = await stage.finish()
    assert document.status is RunStatus.FAILED
    assert "hunter2" not in everything(repo)


@pytest.mark.parametrize("choice", ["publish", "skip"])
async def test_large_files_without_git_lfs_are_asked_about(staged, repo: Path, monkeypatch, choice: str) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("PATH", str(_without_lfs(repo.parent)))
    content = "big content\n"
    script = scenario(plan(task("t1")), simple_task("t1", write("src/asset.bin", content), write("src/x.txt", "x\n")))
    async with staged(script) as stage:
        handle = await stage.start()
        waiting = await stage.until_waiting(handle)
        (decision,) = waiting.decisions
        assert "src/asset.bin" in decision.question
        assert "git-lfs" in decision.question
        assert decision.choices == ["publish", "retry", "skip", "abort"]
        await handle.signal(Pipeline.decide, Decide(decision_id="D1", choice=choice))
        document = await stage.outcome(handle)
    assert "big content" not in everything(repo)
    assert git(repo, "show", f"{document.branch}:src/x.txt") == "x"
    if choice == "skip":
        assert git(repo, "ls-tree", str(document.branch), "src/asset.bin") == ""
        assert any("Left out of the branch" in note and "src/asset.bin" in note for note in document.notes)
        return
    oid = hashlib.sha256(content.encode()).hexdigest()
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}"
    assert git(repo, "show", f"{document.branch}:src/asset.bin") == pointer
    assert any("not uploaded" in note for note in document.notes)


@pytest.mark.skipif(shutil.which("git-lfs") is None, reason="git-lfs is not installed (scripts/git-lfs.sh)")
async def test_large_files_are_published_as_pointers_and_uploaded(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    asset = "mesh of the shop\n" * 100
    script = scenario(
        plan(task("t1"), task("t2", depends_on=["t1"])),
        session("backend", "t1", [[write("src/asset.bin", asset), write("src/tail.bin", "tail\n")], [made()]]),
        session("tester", "t1", [[write("tests/asset.expect", "src/asset.bin mesh of the shop\n")], [tested()]]),
        session("reviewer", "t1", [[reviewed()]]),
        session(
            "backend",
            "t2",
            [[ScriptedCall("Read", {"file_path": "src/asset.bin"})], [bash("rm src/tail.bin")], [made()]],
        ),
        session("tester", "t2", [[tested()]]),
        session("reviewer", "t2", [[reviewed()]]),
    )
    async with staged(script) as stage:
        document = await stage.finish()
        heard = [
            str(record.body) for record in stage.standin.requests if (record.task, record.role) == ("t2", "backend")
        ]
    assert document.status is RunStatus.DONE
    assert document.decisions == []
    assert "mesh of the shop" not in heard[-1]
    assert "this is a Git LFS pointer" in heard[-1]
    oid = hashlib.sha256(asset.encode()).hexdigest()
    assert f"oid sha256:{oid}" in git(repo, "show", f"{document.branch}:src/asset.bin")
    assert "mesh of the shop" not in everything(repo).replace("src/asset.bin mesh of the shop", "")
    assert (repo / ".git/lfs/objects" / oid[:2] / oid[2:4] / oid).read_text() == asset
    # What the second task removed is in the history that is published, and so its content is there, too.
    tail = hashlib.sha256(b"tail\n").hexdigest()
    assert (repo / ".git/lfs/objects" / tail[:2] / tail[2:4] / tail).exists()
    assert any("Git LFS pointers" in note and "uploaded" in note for note in document.notes)


def _without_lfs(directory: Path) -> Path:
    """A directory for PATH with git and no git-lfs."""
    place = directory / "bin"
    place.mkdir()
    for name in ("git", "sh", "env"):
        found = shutil.which(name, path="/usr/bin:/bin")
        assert found
        (place / name).symlink_to(found)
    return place


async def test_contents_of_large_files_go_with_a_fork_and_to_another_host(staged, repo: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "state.git")], check=True)
    asset = "mesh of the shop\n"
    script = scenario(
        plan(task("t1"), task("t2", depends_on=["t1"])),
        simple_task("t1", write("src/asset.bin", asset)),
        simple_task("t2", write("src/x.txt", "x\n")),
    )
    remote = str(tmp_path / "state.git")
    async with staged(script, state_remote=remote) as stage:
        handle = await stage.start(publish=False)
        document = await stage.outcome(handle)
        assert any("src/asset.bin (lfs)" in note for note in document.notes)
        fork = Fork(run=stage.run, task="t2", session="1-backend", turn=1)
        request = RunRequest(task="Add a feature", repo=str(repo), fork=fork, publish=False)
        forked = f"{stage.run}-f"
        await stage.outcome(
            await stage.client.start_workflow(Pipeline.run, request, id=forked, task_queue=identifiers.TASK_QUEUE)
        )
        store = await stage.store()
        pointer = pointer_to(asset.encode())
        for run in (stage.run, forked):
            assert set(await find_contents(store, run)) == {pointer}
        other = await Store.open(tmp_path / "other", str(repo), StateRemote.parse(remote, "other"))
        for run in (stage.run, forked):
            await other.fetch_base(None)
            await other.catch_up(run)
            contents = await find_contents(other, run)
            assert [other.objects.read_blob(blob) for blob in contents.values()] == [asset.encode()]
