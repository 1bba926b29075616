"""Git as a weapon: an agent plants what makes git run a command, and the engine's git is sent over all of it.

Each plant would write a canary. The attacks run without any isolation, where nothing but the engine's own way of
calling git keeps the canary from being written, and some of them in the sandbox, too. `test_the_plants_are_live` shows
that they do write it when plain git is used on the same workspace.
"""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from baton.settings.core import SandboxMode
from tests.conftest import HANGS
from tests.workspaces.conftest import AT, Lab, contents, run_git
from workspaces.checkpoints.workspace import Workspace, discard_run
from workspaces.delivery.merge import commit_tree, merge_commits, project_commit
from workspaces.delivery.push_branch import push_branch
from workspaces.sandbox.sandbox import Sandbox
from workspaces.store.diffs import count_lines, diff_text, write_patch

Plant = Callable[[Path, str, Path], None]
"""Plants something in a workspace: its directory, the command to be run, and a directory outside of it."""

HOOKS = (
    "applypatch-msg", "pre-commit", "prepare-commit-msg", "commit-msg", "post-commit", "post-checkout", "post-merge",
    "pre-push", "pre-auto-gc", "post-rewrite", "post-index-change", "reference-transaction", "pre-receive", "update",
    "post-receive", "fsmonitor-watchman", "p4-changelist", "proc-receive", "push-to-checkout", "sendemail-validate",
)  # fmt: skip


def executable(path: Path, command: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
    return path


def config(git_dir: Path, text: str) -> None:
    with (git_dir / "config").open("a") as file:
        file.write(f"\n{text}\n")


def hooks(work: Path, command: str, _outside: Path) -> None:
    for name in HOOKS:
        executable(work / ".git/hooks" / name, command)


def hooks_path(work: Path, command: str, _outside: Path) -> None:
    for name in HOOKS:
        executable(work / "evil-hooks" / name, command)
    config(work / ".git", f"[core]\n\thooksPath = {work}/evil-hooks")


def fsmonitor(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[core]\n\tfsmonitor = "{command}; false"')


def filters(work: Path, command: str, _outside: Path) -> None:
    config(
        work / ".git", f'[filter "evil"]\n\tclean = "{command}; cat"\n\tsmudge = "{command}; cat"\n\trequired = true'
    )
    (work / ".gitattributes").write_text("* filter=evil\n")


def filter_process(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[filter "evil"]\n\tprocess = "{command}"')
    (work / ".gitattributes").write_text("* filter=evil\n")


def include_path(work: Path, command: str, _outside: Path) -> None:
    (work / "innocent.cfg").write_text(f'[core]\n\tfsmonitor = "{command}; false"\n')
    config(work / ".git", "[include]\n\tpath = ../innocent.cfg")


def home_config(work: Path, command: str, _outside: Path) -> None:
    text = f'[core]\n\tfsmonitor = "{command}; false"\n[filter "evil"]\n\tclean = "{command}; cat"\n'
    for name in (".gitconfig", ".config/git/config", "etc/gitconfig"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(text)
    (work / ".gitattributes").write_text("* filter=evil\n")


def ssh_command(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[core]\n\tsshCommand = "{command};"\n[remote "origin"]\n\turl = ssh://localhost/x')
    config(work / ".git", '[branch "work"]\n\tremote = origin\n\tmerge = refs/heads/main')


def ext_url(work: Path, command: str, _outside: Path) -> None:
    words = command.replace(" ", "% ")
    config(work / ".git", f'[remote "origin"]\n\turl = "ext::sh -c {words}"\n[protocol "ext"]\n\tallow = always')
    config(work / ".git", f'[url "ext::sh -c {words} #"]\n\tinsteadOf = /')


def diff_external(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[diff]\n\texternal = "{command};"')


def diff_driver(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[diff "evil"]\n\tcommand = "{command};"\n\ttextconv = "{command}; cat"')
    (work / ".gitattributes").write_text("* diff=evil\n")


def textconv(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[diff "evil"]\n\ttextconv = "{command}; cat"')
    (work / ".gitattributes").write_text("* diff=evil\n")


def merge_driver(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[merge "evil"]\n\tdriver = "{command}"')
    (work / ".gitattributes").write_text("* merge=evil\n")


def gpg_program(work: Path, command: str, outside: Path) -> None:
    program = executable(outside / "gpg", command)
    config(work / ".git", f"[gpg]\n\tprogram = {program}\n[commit]\n\tgpgSign = true\n[log]\n\tshowSignature = true")


def git_pointer(work: Path, command: str, outside: Path) -> None:
    evil = outside / "evil.git"
    run_git(outside, "init", "--quiet", "--bare", str(evil))
    config(evil, f'[core]\n\tbare = false\n\tworktree = {work}\n\tfsmonitor = "{command}; false"')
    (work / ".git").rename(outside / "was")
    (work / ".git").write_text(f"gitdir: {evil}\n")


def git_link(work: Path, command: str, outside: Path) -> None:
    git_pointer(work, command, outside)
    (work / ".git").unlink()
    (work / ".git").symlink_to(outside / "evil.git")


def git_pipe(work: Path, _command: str, outside: Path) -> None:
    (work / ".git").rename(outside / "was")
    os.mkfifo(work / ".git")
    (work / "nested").mkdir()
    os.mkfifo(work / "nested/.git")
    os.mkfifo(work / ".gitattributes")
    os.mkfifo(work / ".gitignore")


def worktree_config(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", "[core]\n\trepositoryformatversion = 1\n[extensions]\n\tworktreeConfig = true")
    (work / ".git/config.worktree").write_text(f'[core]\n\tfsmonitor = "{command}; false"\n')


def core_worktree(work: Path, command: str, outside: Path) -> None:
    (outside / "elsewhere").mkdir()
    config(work / ".git", f'[core]\n\tworktree = {outside}/elsewhere\n\tfsmonitor = "{command}; false"')


def alternates(work: Path, _command: str, outside: Path) -> None:
    (work / ".git/objects/info/alternates").write_text(f"{outside}\n/etc\n")
    (work / ".git/objects/info/http-alternates").write_text("http://127.0.0.1:9/\n")


def credential_helper(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[credential]\n\thelper = "!{command};"\n[core]\n\taskPass = "{command}"')


def editor_and_pager(work: Path, command: str, outside: Path) -> None:
    program = executable(outside / "editor", command)
    config(
        work / ".git", f"[core]\n\teditor = {program}\n\tpager = {program}\n[pager]\n\tdiff = {program}\n\tlog = true"
    )


def submodule_update(work: Path, command: str, _outside: Path) -> None:
    text = '[submodule "lib"]\n\tpath = lib\n\turl = ./lib\n\tignore = none\n'
    (work / ".gitmodules").write_text(text)
    config(work / ".git", f'{text}\tupdate = "!{command} #"\n\tactive = true\n[submodule]\n\trecurse = true')
    commit = run_git(work, "rev-parse", "HEAD")
    run_git(work, "update-index", "--add", "--cacheinfo", f"160000,{commit},lib")
    nested(work / "lib", command)


def info_attributes(work: Path, command: str, _outside: Path) -> None:
    config(work / ".git", f'[filter "evil"]\n\tclean = "{command}; cat"\n\tsmudge = "{command}; cat"')
    (work / ".git/info").mkdir(exist_ok=True)
    (work / ".git/info/attributes").write_text("* filter=evil\n")
    (work / ".git/info/exclude").write_text("*\n")


def attributes_file(work: Path, command: str, _outside: Path) -> None:
    (work / "attr").write_text("* filter=evil\n")
    config(work / ".git", f'[core]\n\tattributesFile = {work}/attr\n[filter "evil"]\n\tclean = "{command}; cat"')


def nested(directory: Path, command: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "f").write_text("x")
    (directory / ".gitattributes").write_text("* filter=evil diff=evil\n")
    run_git(directory, "init", "--quiet")
    run_git(directory, "add", ".")
    run_git(directory, "commit", "--quiet", "-m", "nested")
    (directory / "f").write_text("changed")
    text = f'[core]\n\tfsmonitor = "{command}; false"\n[filter "evil"]\n\tclean = "{command}; cat"\n'
    config(directory / ".git", text + f'[diff "evil"]\n\ttextconv = "{command}; cat"')
    for name in HOOKS:
        executable(directory / ".git/hooks" / name, command)


def nested_filter(work: Path, command: str, _outside: Path) -> None:
    nested(work / "vendor/nested", command)
    run_git(work, "add", "vendor/nested")  # a gitlink in the agent's own index


def nested_around_tracked_files(work: Path, command: str, _outside: Path) -> None:
    nested(work / "src", command)


def bare_in_disguise(work: Path, command: str, _outside: Path) -> None:
    """A directory that is a bare repository without being called `.git`: git finds it from inside."""
    run_git(work, "init", "--quiet", "--bare", "innocent")
    config(work / "innocent", f'[core]\n\tbare = false\n\tworktree = ..\n\tfsmonitor = "{command}; false"')


def store_look_alike(work: Path, command: str, _outside: Path) -> None:
    """Files with the names that a git directory has, at the top of the workspace."""
    for name in ("objects", "refs"):
        (work / name).mkdir()
    (work / "HEAD").write_text("ref: refs/heads/main\n")
    (work / "config").write_text(f'[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = "{command}; false"\n')


PLANTS: list[Plant] = [
    hooks, hooks_path, fsmonitor, filters, filter_process, include_path, home_config, ssh_command, ext_url,
    diff_external, diff_driver, textconv, merge_driver, gpg_program, git_pointer, git_link, git_pipe, worktree_config,
    core_worktree, alternates, credential_helper, editor_and_pager, submodule_update, info_attributes,
    attributes_file, nested_filter, nested_around_tracked_files, bare_in_disguise, store_look_alike,
]  # fmt: skip

LIVE: list[Plant] = [
    hooks, hooks_path, fsmonitor, filters, filter_process, include_path, diff_external, diff_driver, textconv,
    gpg_program, git_pointer, git_link, worktree_config, info_attributes, attributes_file, nested_filter,
    ssh_command, ext_url, submodule_update, editor_and_pager, nested_around_tracked_files,
]  # fmt: skip


ISOLATED: list[Plant] = [hooks, filters, git_pipe, git_link, submodule_update, nested_filter]


def command_for(canary: Path) -> str:
    return f"touch {canary}"


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.__name__)
async def test_nothing_planted_is_run(lab: Lab, tmp_path: Path, plant: Plant) -> None:
    lab.sandbox = await Sandbox.open_sandbox(SandboxMode.NONE)
    await attack(lab, tmp_path, plant)


@pytest.mark.parametrize("plant", ISOLATED, ids=lambda plant: plant.__name__)
async def test_nothing_planted_is_run_in_the_sandbox_either(lab: Lab, tmp_path: Path, plant: Plant) -> None:
    await attack(lab, tmp_path, plant)


async def attack(lab: Lab, tmp_path: Path, plant: Plant) -> None:
    """Plant it, and do to the workspace all that the engine ever does."""
    canary, outside = tmp_path / "canary", tmp_path / "outside"
    outside.mkdir()
    clean = contents((await lab.workspace()).path)
    workspace = await lab.workspace()
    workspace.mark_dirty()
    # Something to keep, so that git also has to do with the agent's own objects.
    (workspace.path / "README.md").write_text("stashed by the agent\n")
    run_git(workspace.path, "stash", "-q")
    (workspace.path / "README.md").write_text("changed by the agent\n")
    (workspace.path / "src/app.py").write_text("print(3)\n")
    plant(workspace.path, command_for(canary), outside)
    first = lab.checkpoint

    async with asyncio.timeout(HANGS.total_seconds()):
        quick = await workspace.take_snapshot(["README.md"])
        snapshot = await workspace.take_snapshot(None)
        assert {"README.md", "src/app.py"} <= set(snapshot.changed)
        assert not [path for path in snapshot.changed if ".git" in path.split("/")]
        assert "160000" not in {stat_of(lab, snapshot.tree, path) for path in snapshot.changed}
        put = await workspace.put_back(snapshot, ["src/app.py"])
        assert "src/app.py" not in put.changed
        checkpoint = await lab.record(workspace, put, "attack")
        # Again, now that what was planted is part of the checkpoint; then by the next session, and by a retry.
        assert (await workspace.take_snapshot(None)).tree == put.tree
        again = await Workspace.open_at(lab.store, lab.lane, checkpoint, sandbox=lab.sandbox)
        assert (again.path / ".git").is_dir()
        again.mark_dirty()
        (again.path / "src/app.py").write_text("print(4)\n")
        if plant in (hooks, fsmonitor, filters):
            plant(again.path, command_for(canary), outside)
        await lab.workspace(checkpoint)
        # What becomes of it: a commit, a diff, a merge, a checkout, a branch.
        made = await project_commit(lab.store, lab.lane, checkpoint, parent=lab.base, message="m", at=AT)
        await diff_text(lab.store, lab.base, made, 100_000)
        await write_patch(lab.store, lab.base, made, tmp_path / "patch")
        await count_lines(lab.store, lab.base, made)
        other = await commit_tree(lab.store, lab.store.find_tree(lab.base), [lab.base], "other", AT)
        merged = await merge_commits(lab.store, base=lab.base, ours=other, theirs=made)
        assert merged.tree == lab.store.find_tree(made)
        await lab.store.check_out(made, tmp_path / "gate")
        await push_branch(lab.store, made, "baton/run-1", expected=None)
        await lab.store.fetch_base("baton/run-1")
        # And back to the beginning.
        await lab.workspace(first)
        assert contents(workspace.path) == clean
        await discard_run(lab.store, lab.lane.run)
    assert quick.changed == ["README.md"]
    assert not canary.exists(), f"{plant.__name__} was run"


def stat_of(lab: Lab, tree: str, path: str) -> str:
    entry = lab.store.objects.find_entry(tree, path)
    return f"{entry.mode:o}" if entry else ""


@pytest.mark.parametrize("plant", LIVE, ids=lambda plant: plant.__name__)
async def test_the_plants_are_live(lab: Lab, tmp_path: Path, plant: Plant) -> None:
    """Plain git on the same workspace runs them: the canary can be written."""
    canary, outside = tmp_path / "canary", tmp_path / "outside"
    outside.mkdir()
    work = (await lab.workspace()).path
    (work / "README.md").write_text("changed by the agent\n")
    plant(work, command_for(canary), outside)
    for arguments in (
        ["status"],
        ["diff"],
        ["-c", "core.pager=cat", "log", "-1"],
        ["add", "--all"],
        ["commit", "-m", "x"],
        ["commit", "--amend"],
        ["fetch"],
        ["submodule", "update", "--init"],
        ["checkout", "--", "."],
    ):
        run_git(work, *arguments, check=False)
    if plant is nested_around_tracked_files:
        run_git(work / "src", "status")
    assert canary.exists()


async def test_a_hostile_checkout_of_the_person_runs_nothing_either(lab: Lab, tmp_path: Path) -> None:
    """The repository a person points at may be a stranger's: looking whether it is dirty must run nothing of it."""
    canary = tmp_path / "canary"
    work = lab.project.path
    command = command_for(canary)
    lab.project.commit({".gitattributes": b"* filter=evil diff=evil\n"})
    (work / "README.md").write_text("dirty")
    config(work / ".git", f'[core]\n\tfsmonitor = "{command}; false"\n\tsshCommand = "{command};"')
    config(work / ".git", f'[filter "evil"]\n\tclean = "{command}; cat"\n[diff]\n\texternal = "{command};"')
    config(work / ".git", f'[uploadpack]\n\tpackObjectsHook = "{command};"')
    base = await lab.store.fetch_base(None)
    assert len(base.notes) == 1
    assert not canary.exists()


async def test_a_link_in_the_place_of_the_quarantine_is_not_written_through(lab: Lab, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("x")
    workspace = await lab.workspace()
    (workspace.path.parent / "quarantine").symlink_to(victim)
    (workspace.path / "x").write_text("x")
    assert (await workspace.take_snapshot(None)).changed == ["x"]
    assert [path.name for path in victim.iterdir()] == ["precious"]
