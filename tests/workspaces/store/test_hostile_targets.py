"""A target repository at a path that a stranger made: fetching from it and publishing to it runs nothing of its own.

Each plant would write a canary. `live` ones are shown to do so where a person's setting lets them run.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from baton.errors import BatonError
from tests.workspaces.conftest import AT, run_git
from workspaces.delivery.merge import commit_tree
from workspaces.delivery.push_branch import push_branch
from workspaces.store.local_source import HOOKS, is_local
from workspaces.store.store import Store

BRANCH = "baton/run-1"


class Target:
    """A stranger's repository, and the canary that it would write."""

    def __init__(self, place: Path, *, bare: bool = True) -> None:
        self.place = place
        self.canary = place / "canary"
        self.path = place / "target"
        origin = place / "origin"
        origin.mkdir()
        run_git(origin, "init", "--quiet", "--initial-branch=main")
        (origin / "a.txt").write_text("a\n")
        run_git(origin, "add", "a.txt")
        run_git(origin, "commit", "--quiet", "-m", "first")
        run_git(place, "clone", "--quiet", *(["--bare"] if bare else []), str(origin), str(self.path))
        self.git_dir = self.path if bare else self.path / ".git"

    def config(self, *arguments: str) -> None:
        run_git(self.path, "config", *arguments)

    def hook(self, name: str, folder: Path | None = None) -> None:
        path = (folder or self.git_dir / "hooks") / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {self.canary}\n")
        path.chmod(0o755)

    @property
    def command(self) -> str:
        return f"touch {self.canary}; :"

    async def use(self, home: Path, repo: str | None = None, *, hooks: bool) -> str:
        """Fetch and publish as a run does; the words of what failed."""
        try:
            store = await Store.open(home, repo or str(self.path), hooks=hooks)
            base = (await store.fetch_base(None)).commit
            commit = await commit_tree(store, store.find_tree(base), [base], "published", AT)
            found = run_git(self.path, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}", check=False)
            await push_branch(store, commit, BRANCH, expected=found or None)
        except BatonError as error:
            return str(error)
        return ""

    def head(self) -> str:
        return run_git(self.path, "rev-parse", "--verify", "--quiet", f"refs/heads/{BRANCH}", check=False)


def hooks_path(target: Target) -> None:
    target.hook("post-receive", target.place / "elsewhere")
    target.config("core.hooksPath", str(target.place / "elsewhere"))


def included(target: Target) -> None:
    target.hook("post-receive", target.place / "elsewhere")
    (target.place / "more").write_text(f"[core]\n\thooksPath = {target.place / 'elsewhere'}\n")
    target.config("include.path", str(target.place / "more"))


def proc_receive(target: Target) -> None:
    target.hook("proc-receive")
    target.config("receive.procReceiveRefs", "refs/heads/baton")


def borrowed(target: Target) -> None:
    (target.git_dir / "objects/info").mkdir(exist_ok=True)
    (target.git_dir / "objects/info/alternates").write_text(f"{target.place}/origin/.git/objects\n")
    target.config("core.alternateRefsCommand", target.command)


def housekeeping(target: Target) -> None:
    target.hook("pre-auto-gc")
    target.config("gc.auto", "1")
    target.config("gc.autoDetach", "false")
    target.config("receive.unpackLimit", "100")
    target.config("gc.recentObjectsHook", target.command)
    for number in range(600):
        (target.git_dir / "objects/17").mkdir(exist_ok=True)
        (target.git_dir / "objects/17" / f"{number:038x}").touch()


def named_hook(target: Target) -> None:
    """As newer versions of git have them."""
    target.config("hook.a=b.command", target.command)
    target.config("--add", "hook.a=b.event", "post-receive")
    target.config("--add", "hook.a=b.event", "reference-transaction")


def pack_hook(target: Target) -> None:
    target.config("uploadpack.packObjectsHook", target.command)


def missing_objects(target: Target) -> None:
    """A partial clone fetches what it has not from a remote, by a command of its configuration."""
    blob = run_git(target.path, "rev-parse", "HEAD:a.txt")
    run_git(target.path, "unpack-objects", "-q", check=False)
    for pack in (target.git_dir / "objects/pack").glob("*"):
        pack.unlink()
    for loose in (target.place / "origin/.git/objects").glob("??/*"):
        copy = target.git_dir / "objects" / loose.parent.name / loose.name
        copy.parent.mkdir(exist_ok=True)
        copy.unlink(missing_ok=True)
        copy.write_bytes(loose.read_bytes())
    (target.git_dir / "objects" / blob[:2] / blob[2:]).unlink()
    target.config("core.repositoryFormatVersion", "1")
    target.config("extensions.partialClone", "origin")
    target.config("remote.origin.promisor", "true")
    target.config("remote.origin.url", str(target.place / "origin"))
    target.config("remote.origin.uploadpack", target.command)


def many_programs(target: Target) -> None:
    for key in ("core.fsmonitor", "core.sshCommand", "core.gitProxy", "core.pager", "core.editor", "gpg.program"):
        target.config(key, target.command)
    for key in ("credential.helper", "diff.external", "core.askPass", "alias.upload-pack", "alias.receive-pack"):
        target.config(key, f"!{target.command}")


PLANTS: dict[str, tuple[Callable[[Target], None], bool]] = {
    **{
        name: (partial(Target.hook, name=name), True)
        for name in ("pre-receive", "update", "post-receive", "post-update", "reference-transaction")
    },
    "proc-receive": (proc_receive, True),
    "core.hooksPath": (hooks_path, True),
    "core.hooksPath, included": (included, True),
    "core.alternateRefsCommand": (borrowed, True),
    "pre-auto-gc": (housekeeping, True),
    "hook.<name>.command": (named_hook, False),
    "uploadpack.packObjectsHook": (pack_hook, False),
    "a partial clone": (missing_objects, False),
    "many programs": (many_programs, False),
}


@pytest.mark.parametrize("name", PLANTS)
async def test_a_plant_never_runs(tmp_path: Path, name: str) -> None:
    plant, live = PLANTS[name]
    target = Target(tmp_path)
    plant(target)
    fault = await target.use(tmp_path / "home", hooks=False)
    assert not target.canary.exists(), fault
    if name not in ("proc-receive", "a partial clone"):
        assert fault == ""
        assert target.head()
    if live:
        again = Target(_folder(tmp_path / "again"))
        plant(again)
        await again.use(tmp_path / "home2", hooks=True)
        assert again.canary.exists(), "the plant is not live"


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def push_to_checkout(target: Target) -> None:
    target.hook("push-to-checkout")


def smudge(target: Target) -> None:
    (target.git_dir / "info").mkdir(exist_ok=True)
    (target.git_dir / "info/attributes").write_text("* filter=evil\n")
    target.config("filter.evil.smudge", f"touch {target.canary}; cat")


def monitor(target: Target) -> None:
    target.config("core.fsmonitor", target.command)


@pytest.mark.parametrize("plant", [push_to_checkout, smudge, monitor])
async def test_a_checkout_that_would_be_updated_is_refused(tmp_path: Path, plant: Callable[[Target], None]) -> None:
    for folder, hooks in (("never", False), ("run", True)):
        target = Target(_folder(tmp_path / folder), bare=False)
        run_git(target.path, "checkout", "--quiet", "-b", BRANCH)
        target.config("receive.denyCurrentBranch", "updateInstead")
        (target.place / "origin/a.txt").unlink()
        plant(target)
        before = target.head()
        store = await Store.open(tmp_path / folder / "home", str(target.path), hooks=hooks)
        base = (await store.fetch_base(None)).commit
        other = await commit_tree(store, store.find_tree(base), [base], "one", AT)
        if hooks:
            await push_branch(store, other, BRANCH, expected=before)
            continue
        with pytest.raises(BatonError, match="could not be pushed"):
            await push_branch(store, other, BRANCH, expected=before)
        assert not target.canary.exists()
        assert target.head() == before


@pytest.mark.parametrize("form", ["file", "link", "gitfile", "worktree", "insteadOf", "pushInsteadOf", "linked .git"])
async def test_whatever_leads_to_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    target = Target(tmp_path, bare=False)
    for name in HOOKS:
        target.hook(name)
    borrowed(target)
    repo = str(tmp_path / "form")
    if form == "file":
        repo = f"file://{target.path}"
    elif form == "link":
        os.symlink(target.path, repo)
    elif form == "gitfile":
        Path(repo).mkdir()
        Path(repo, ".git").write_text(f"gitdir: {target.git_dir}\n")
    elif form == "linked .git":
        Path(repo).mkdir()
        os.symlink(target.git_dir, Path(repo, ".git"))
    elif form == "worktree":
        run_git(target.path, "worktree", "add", "--quiet", repo, "-b", "other")
        target.canary.unlink(missing_ok=True)
    else:
        own = tmp_path / "gitconfig"
        own.write_text(f'[url "{target.path}"]\n\t{form} = https://example.org/shop\n')
        if form == "pushInsteadOf":
            own.write_text(own.read_text() + f'[url "{tmp_path}/origin"]\n\tinsteadOf = https://example.org/shop\n')
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(own))
        repo = "https://example.org/shop"
    fault = await target.use(tmp_path / "home", repo, hooks=False)
    assert not target.canary.exists(), fault
    # A lease is looked for where is fetched from, so that a push elsewhere may be refused; all others go through.
    assert fault == "" or form == "pushInsteadOf"
    run_git(target.path, "update-ref", "-d", f"refs/heads/{BRANCH}")
    target.canary.unlink(missing_ok=True)
    await target.use(tmp_path / "home2", repo, hooks=True)
    assert target.canary.exists(), "the plant is not live"


async def test_what_is_not_run_is_said(tmp_path: Path) -> None:
    target = Target(tmp_path)
    for name in ("pre-receive", "update"):
        target.hook(name)
    (target.git_dir / "hooks/post-receive").write_text("not executable")
    borrowed(target)
    store = await Store.open(tmp_path / "home", str(target.path))
    (note,) = (await store.fetch_base(None)).notes
    assert "(pre-receive, update, core.alternateRefsCommand)" in note
    assert "BATON_TARGET_HOOKS=run" in note
    allowed = await Store.open(tmp_path / "home2", str(target.path), hooks=True)
    assert (await allowed.fetch_base(None)).notes == []


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("/srv/a", True),
        ("file:///srv/a", True),
        ("FILE:///srv/a", True),
        ("./a:b", True),
        ("a", True),
        ("host:a/b", False),
        ("git@host:a", False),
        ("ssh://host/a", False),
        ("https://host/a", False),
    ],
)
def test_paths_and_hosts_are_told_apart(url: str, local: bool) -> None:
    assert is_local(url) is local
