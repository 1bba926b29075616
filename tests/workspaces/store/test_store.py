"""The store: what it fetches, how its refs move, what it reads back, and each way a repository can be unusable."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import pytest

from baton.errors import RepositoryError, StaleAttempt, WorkspaceError
from tests.workspaces.conftest import AT, Project, run_git, stopped_holder
from workspaces.git.run import call_git
from workspaces.store.diffs import diff_text
from workspaces.store.store import Store

REF = "refs/baton/run-1/run/head"


async def test_fetch_finds_head_branch_tag_and_commit(project: Project, store: Store) -> None:
    first = project.git("rev-parse", "HEAD")
    project.git("tag", "-a", "v1", "-m", "one")
    second = project.commit({"b": b"2"})
    project.git("branch", "old", first)
    found = {
        base: await store.fetch_base(base) for base in (None, "main", "v1", "old", first, first[:9], "refs/heads/old")
    }
    assert {base: result.commit for base, result in found.items()} == {
        None: second,
        "main": second,
        "v1": first,
        "old": first,
        first: first,
        first[:9]: first,
        "refs/heads/old": first,
    }
    assert found[None].ref == "refs/heads/main"
    assert found["v1"].ref == "refs/tags/v1"
    assert found[None].notes == []


async def test_fetch_follows_rewritten_and_replaced_branches(project: Project, store: Store) -> None:
    project.git("branch", "topic")
    await store.fetch_base(None)
    project.git("branch", "-D", "topic")
    project.git("branch", "topic/more")
    project.git("commit", "--quiet", "--amend", "-m", "other")
    assert (await store.fetch_base("main")).commit == project.git("rev-parse", "HEAD")
    assert (await store.fetch_base("topic/more")).ref == "refs/heads/topic/more"
    with pytest.raises(RepositoryError, match="no branch, tag or commit 'topic'"):
        await store.fetch_base("topic")


async def test_fetch_with_nothing_new_only_looks(project: Project, store: Store) -> None:
    await store.fetch_base(None)
    before = {path: path.stat().st_mtime_ns for path in (store.source_path / "refs").rglob("*") if path.is_file()}
    await store.fetch_base(None)
    assert before == {
        path: path.stat().st_mtime_ns for path in (store.source_path / "refs").rglob("*") if path.is_file()
    }


async def test_a_dirty_checkout_is_fetched_and_noted(project: Project, store: Store) -> None:
    (project.path / "README.md").write_text("not committed")
    base = await store.fetch_base(None)
    assert await store.read_file(base.commit, "README.md") == b"hello\n"
    assert len(base.notes) == 1
    assert "uncommitted changes" in base.notes[0]


async def test_a_shallow_checkout_and_a_detached_head_are_fetched(tmp_path: Path, project: Project) -> None:
    project.commit({"c": b"3"})
    run_git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{project.path}", "shallow")
    shallow = tmp_path / "shallow"
    run_git(shallow, "checkout", "--quiet", "--detach")
    (shallow / "d").write_text("4")
    run_git(shallow, "add", "d")
    run_git(shallow, "commit", "--quiet", "-m", "on no branch")
    store = await Store.open(tmp_path / "home", str(shallow))
    base = await store.fetch_base(None)
    assert base.ref == "HEAD"
    assert await store.list_paths(base.commit) == ["README.md", "c", "d", "src/app.py", "src/lib/util.py"]


async def test_unusable_repositories_are_one_clear_sentence(tmp_path: Path) -> None:
    empty = Project(tmp_path / "empty")
    plain = tmp_path / "plain"
    plain.mkdir()
    unborn = Project(tmp_path / "unborn")
    unborn.commit({"a": b"1"})
    unborn.git("checkout", "--quiet", "--orphan", "later")
    expected = {
        str(tmp_path / "missing"): "There is no directory",
        str(plain): "it is not a git repository",
        str(empty.path): "is empty: make a first commit",
        str(unborn.path): "on a branch without commits: name a base, such as main",
        "https://user:secret@127.0.0.1:9/x.git": "cannot be reached",
        "ext::sh -c touch% canary": "names no repository",
        "relative/path": "names no repository",
        "-u/etc": "names no repository",
        f"file://{tmp_path}/nothing": "it is not a git repository",
    }
    for repo, words in expected.items():
        store = await Store.open(tmp_path / "home", repo)
        with pytest.raises(RepositoryError) as caught:
            await store.fetch_base(None)
        assert words in str(caught.value), repo
        assert "\n" not in str(caught.value)
        assert "secret" not in str(caught.value)


async def test_an_unknown_base_names_what_there_is(store: Store) -> None:
    for base in ("nope", "--upload-pack=touch canary", "0" * 40, "HEAD~1", "../x"):
        with pytest.raises(RepositoryError, match="it has, for instance, main"):
            await store.fetch_base(base)


async def test_a_tree_is_no_base(project: Project, store: Store) -> None:
    project.git("tag", "tree", project.git("rev-parse", "HEAD^{tree}"))
    with pytest.raises(RepositoryError, match="no branch, tag or commit 'tree'"):
        await store.fetch_base("tree")


async def test_a_crash_in_a_fetch_leaves_locks_that_do_not_matter(project: Project, store: Store) -> None:
    await store.fetch_base(None)
    for lock in ("refs/source/heads/main.lock", "packed-refs.lock", "refs/source/HEAD.lock"):
        (store.source_path / lock).touch()
    commit = project.commit({"n": b"n"})
    assert (await store.fetch_base(None)).commit == commit


async def test_opening_at_once_gives_one_sound_store(tmp_path: Path, project: Project) -> None:
    stores = await asyncio.gather(*(Store.open(tmp_path / "many", str(project.path)) for _ in range(8)))
    bases = await asyncio.gather(*(store.fetch_base(None) for store in stores))
    assert len({base.commit for base in bases}) == 1
    for path in (stores[0].path, stores[0].source_path):
        await call_git(["fsck", "--strict"], git_dir=path)


async def test_a_half_made_store_is_completed(tmp_path: Path, project: Project) -> None:
    store = await Store.open(tmp_path / "home", str(project.path))
    (store.root / "ready").unlink()
    (store.path / "objects/info/alternates").unlink()
    (store.path / "config").unlink()
    again = await Store.open(tmp_path / "home", str(project.path))
    base = await again.fetch_base(None)
    assert again.objects.has_object(base.commit), "store.git borrows from source.git"


async def test_refs_move_by_compare_and_swap(store: Store) -> None:
    one = await store.commit_files(REF, expected=None, files={"a.json": b"1"}, message="one", at=AT)
    two = await store.commit_files(REF, expected=one, files={"b/c.json": b"2"}, message="two", at=AT)
    assert await store.read_head(REF) == two
    assert await store.list_paths(two) == ["a.json", "b/c.json"]
    with pytest.raises(StaleAttempt):
        await store.commit_files(REF, expected=one, files={"z": b"9"}, message="zombie", at=AT)
    with pytest.raises(StaleAttempt):
        await store.commit_files(REF, expected=None, files={"z": b"9"}, message="zombie", at=AT)
    with pytest.raises(StaleAttempt):
        await store.move_ref(REF, one, expected=one)
    assert await store.read_head(REF) == two
    # The same attempt once more is no other attempt.
    assert await store.commit_files(REF, expected=one, files={"b/c.json": b"2"}, message="two", at=AT) == two
    three = await store.commit_files(REF, expected=two, files={"only": b"3"}, message="3", at=AT, keep=False)
    assert await store.list_paths(three) == ["only"]


async def test_of_many_that_swap_at_once_one_wins(tmp_path: Path, project: Project, store: Store) -> None:
    start = await store.commit_files(REF, expected=None, files={"n": b"0"}, message="0", at=AT)
    others = [await Store.open(tmp_path / "home", str(project.path)) for _ in range(6)]
    results = await asyncio.gather(
        *(
            other.commit_files(REF, expected=start, files={"n": b"%d" % number}, message="n", at=AT)
            for number, other in enumerate(others, 1)
        ),
        return_exceptions=True,
    )
    won = [result for result in results if isinstance(result, str)]
    assert len(won) == 1
    assert all(isinstance(result, StaleAttempt) for result in results if not isinstance(result, str))
    assert await store.read_head(REF) == won[0]


async def test_a_process_that_was_stopped_in_the_middle_of_a_move_is_named(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock cannot be broken: it may be about to go on."""
    monkeypatch.setattr("workspaces.git.errors.BRIEF_WAIT", timedelta(seconds=0.3))
    async with stopped_holder(store.root / "refs.lock") as process:
        with pytest.raises(WorkspaceError, match=f"by process {process}, which is stopped, .* kill it"):
            await store.commit_files(REF, expected=None, files={"a": b"1"}, message="m", at=AT)
        assert await store.read_head(REF) is None
    assert await store.commit_files(REF, expected=None, files={"a": b"1"}, message="m", at=AT)


async def test_a_lock_left_by_a_crash_does_not_stop_a_ref(store: Store) -> None:
    one = await store.commit_files(REF, expected=None, files={"a": b"1"}, message="one", at=AT)
    (store.path / f"{REF}.lock").touch()
    assert await store.commit_files(REF, expected=one, files={"a": b"2"}, message="two", at=AT) != one


@pytest.mark.parametrize(
    "ref", ["refs/heads/main", "refs/baton/../x", "refs/baton/a/b.lock", "HEAD", "refs/baton/a/\n"]
)
async def test_other_refs_are_never_touched(store: Store, ref: str) -> None:
    with pytest.raises(WorkspaceError):
        await store.move_ref(ref, "0" * 40, expected=None)


async def test_reading(project: Project, store: Store) -> None:
    commit = project.commit({"dir/f": b"data", "dir/sub/g": b"more"})
    (project.path / "link").symlink_to("/etc/passwd")
    project.git("add", "link")
    project.git("commit", "--quiet", "-m", "link")
    head = (await store.fetch_base(None)).commit
    assert await store.read_file(commit, "dir/f") == b"data"
    assert await store.read_file(head, "link") == b"/etc/passwd"
    assert await store.read_file(commit, "dir") is None
    assert await store.read_file(commit, "dir/f/g") is None
    assert await store.read_file(commit, "../../etc/passwd") is None
    assert await store.list_paths(commit, "dir") == ["dir/f", "dir/sub/g"]
    assert await store.list_paths(commit, "nowhere") == []
    assert await store.changed_paths(commit, head) == ["link"]
    assert await store.list_parents(head) == [commit]
    assert await store.commit_message(head) == "link\n"
    with pytest.raises(WorkspaceError):
        await store.read_file("f" * 40, "a")


async def test_a_diff_is_bounded_and_says_so(project: Project, store: Store) -> None:
    old = project.commit({"f": b"one\n"})
    new = project.commit({"f": b"two\n", "large": b"line\n" * 100_000})
    await store.fetch_base(None)
    diff = await diff_text(store, old, new, 10_000)
    assert "-one\n+two\n" in diff
    assert len(diff) < 10_200
    assert diff.endswith("(the rest of the diff is left out)\n")
    assert "left out" not in await diff_text(store, old, new, 10_000_000)


async def test_a_checkout_has_the_line_ends_of_the_project(tmp_path: Path, project: Project, store: Store) -> None:
    project.write({".gitattributes": b"*.bat text eol=crlf\n* -filter\n", "run.bat": b"a\r\n"})
    project.git("add", "--all")
    project.git("commit", "--quiet", "-m", "attributes")
    base = await store.fetch_base(None)
    assert await store.read_file(base.commit, "run.bat") == b"a\n"
    await store.check_out(base.commit, tmp_path / "out")
    assert (tmp_path / "out/run.bat").read_bytes() == b"a\r\n"
    assert (tmp_path / "out/src/app.py").read_bytes() == b"print(1)\n"
    assert not (tmp_path / "out/.git").exists()
    assert not list((store.root / "scratch").iterdir()), "scratch directories are removed"


async def test_what_crashes_left_is_removed_after_a_day(tmp_path: Path, project: Project, store: Store) -> None:
    old, new = store.root / "scratch/old", store.root / "scratch/new"
    half = store.path / "objects/tmp_object_git2_x"
    for path in (old / "refs", new / "refs"):
        path.mkdir(parents=True)
    half.touch()
    for path in (old, half):
        os.utime(path, (0, 0))
    await Store.open(tmp_path / "home", str(project.path))
    assert not old.exists()
    assert not half.exists()
    assert new.exists()
