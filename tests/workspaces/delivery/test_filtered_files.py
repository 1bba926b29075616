"""What is behind a git filter, and what of it a push would show: by every version of the attributes, in each commit."""

from pathlib import Path

import pytest

from tests.workspaces.conftest import AT, Lab, run_git
from tests.workspaces.delivery.test_merge import change, commit
from workspaces.delivery.filter_attributes import filter_lines, filters_of
from workspaces.delivery.filtered_files import FilterReport, examine_commits, leave_out
from workspaces.delivery.merge import commit_tree, merge_commits
from workspaces.git.run import call_git

CIPHERTEXT = b"\0GITCRYPT\0" + bytes(range(50))
PLAIN = b"password = hunter2\n"
BASE = {
    ".gitattributes": b"secret/** filter=git-crypt diff=git-crypt\n*.big filter=lfs -text\n",
    "secret/old": CIPHERTEXT,
    "secret/other": CIPHERTEXT[::-1],
    "plain.txt": b"plain\n",
}


@pytest.fixture
async def lab(lab: Lab) -> Lab:
    lab.project.commit(BASE)
    await lab.rebase("run-2")
    return lab


async def seen(lab: Lab, made: str, published: str | None = None) -> FilterReport:
    return await examine_commits(lab.store, made, base=lab.base, published=published)


Files = dict[str, bytes | None]

# Each is a change that a person's git would have passed through a filter, or would have refused to show as it is.
HIDDEN: dict[str, tuple[Files, dict[str, tuple[str, ...]]]] = {
    "a new file": ({"secret/new": PLAIN}, {"secret/new": ("git-crypt",)}),
    "a changed file": ({"secret/old": PLAIN}, {"secret/old": ("git-crypt",)}),
    "a directory deeper": ({"secret/a/b/c": PLAIN}, {"secret/a/b/c": ("git-crypt",)}),
    "the line is taken away": (
        {".gitattributes": b"*.big filter=lfs -text\n", "secret/new": PLAIN},
        {"secret/new": ("git-crypt",)},
    ),
    "the file of lines is removed": ({".gitattributes": None, "secret/new": PLAIN}, {"secret/new": ("git-crypt",)}),
    "unset next to it": (
        {"secret/.gitattributes": b"* -filter\n", "secret/new": PLAIN},
        {"secret/.gitattributes": ("git-crypt",), "secret/new": ("git-crypt",)},
    ),
    "unspecified later on": (
        {".gitattributes": BASE[".gitattributes"] + b"secret/** !filter\n", "secret/new": PLAIN},
        {"secret/new": ("git-crypt",)},
    ),
    "another filter in its place": (
        {".gitattributes": b"secret/** filter=cat\n", "secret/new": PLAIN},
        {"secret/new": ("cat", "git-crypt")},
    ),
    "a macro of the agent's": (
        {".gitattributes": b"[attr]hush filter=sops diff=sops\nplain.txt hush\n", "plain.txt": PLAIN},
        {"plain.txt": ("sops",)},
    ),
    "a macro from a nested file": (
        {".gitattributes": b"[attr]hush filter=sops\n", "a/.gitattributes": b"deep/* hush\n", "a/deep/x": PLAIN},
        {"a/deep/x": ("sops",)},
    ),
    "a filter named like no value": (
        {".gitattributes": b"plain.txt filter=unset\n", "plain.txt": PLAIN},
        {"plain.txt": ("unset",)},
    ),
    "odd names": (
        {'secret/"quoted"\n\tname': PLAIN, "secret/größe": PLAIN, "secret/ space ": PLAIN, "secret/b\\s": PLAIN},
        {
            'secret/"quoted"\n\tname': ("git-crypt",),
            "secret/größe": ("git-crypt",),
            "secret/ space ": ("git-crypt",),
            "secret/b\\s": ("git-crypt",),
        },
    ),
    "a name that is not UTF-8": ({"secret/\udcff": PLAIN}, {"secret/\udcff": ("git-crypt",)}),
    "capitals, for systems that take them for small letters": (
        {"Secret/New": PLAIN, "x.BIG": PLAIN},
        {"Secret/New": ("git-crypt",)},
    ),
    "what looks like ciphertext": ({"secret/new": b"\0GITCRYPT\0" + PLAIN}, {"secret/new": ("git-crypt",)}),
    "a plain file copied behind it": ({"secret/new": b"plain\n"}, {"secret/new": ("git-crypt",)}),
}


@pytest.mark.parametrize("name", HIDDEN)
async def test_what_a_filter_would_have_changed_is_found(lab: Lab, name: str) -> None:
    files, expected = HIDDEN[name]
    made = await commit(lab, await change(lab, files))
    assert (await seen(lab, made)).plain == expected


async def test_a_file_that_leaves_lfs_is_asked_about(lab: Lab) -> None:
    """Without the line it would be published whole, behind no filter any more: the base says that it was."""
    made = await commit(lab, await change(lab, {".gitattributes": b"secret/** filter=x\n", "x.big": PLAIN}))
    assert await lab.store.read_file(made, "x.big") == PLAIN
    assert (await seen(lab, made)).plain == {"x.big": ("lfs",)}


# Each leaves what is to be seen in the repository as it was.
HARMLESS: dict[str, Files] = {
    "nothing behind a filter": {"plain.txt": b"changed\n", "new.txt": PLAIN},
    "removed": {"secret/old": None},
    "moved behind the same filter": {"secret/old": None, "secret/moved": CIPHERTEXT},
    "copied behind the same filter": {"secret/deeper/copy": CIPHERTEXT},
    "moved out as it is": {"secret/old": None, "old.crypt": CIPHERTEXT},
    "empty": {"secret/.keep": b""},
    "taken from behind a filter, not changed": {".gitattributes": b"\n"},
    "negated before and after": {
        ".gitattributes": BASE[".gitattributes"] + b"*.txt filter=sops\n*.txt -filter\n",
        "plain.txt": PLAIN,
    },
}


@pytest.mark.parametrize("name", HARMLESS)
async def test_what_is_there_already_is_no_question(lab: Lab, name: str) -> None:
    made = await commit(lab, await change(lab, HARMLESS[name]))
    assert await seen(lab, made) == FilterReport()


async def test_modes_and_links_are_no_content(lab: Lab) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "secret/old").chmod(0o755)
    (workspace.path / "secret/link").symlink_to("old")
    made = await commit(lab, await lab.record(workspace, await workspace.take_snapshot(None)))
    assert await seen(lab, made) == FilterReport()
    listed = await call_git(["ls-tree", "-r", made, "secret"], git_dir=lab.store.source_path)
    assert [line.split()[0] for line in listed.text.splitlines()] == ["120000", "100755", "100644"]
    (workspace.path / "secret/link").unlink()
    (workspace.path / "secret/link").write_bytes(PLAIN)  # a link becomes a file
    workspace.mark_dirty()
    made = await commit(lab, await lab.record(workspace, await workspace.take_snapshot(None), "2"))
    assert (await seen(lab, made)).plain == {"secret/link": ("git-crypt",)}


async def test_each_commit_counts_and_not_only_the_last(lab: Lab) -> None:
    first = await commit(lab, await change(lab, {"secret/new": PLAIN, "a.txt": b"a\n"}))
    second = await commit_tree(lab.store, lab.store.find_tree(lab.base), [first], "undo\n", AT)
    assert (await seen(lab, second)).plain == {"secret/new": ("git-crypt",)}
    assert await seen(lab, second, published=first) == FilterReport()
    # The line goes in one commit, the plain text comes in the next.
    lines = await commit(lab, await change(lab, {".gitattributes": b"\n", "secret/new": None}, "2"))
    workspace = await change(lab, {".gitattributes": b"\n", "secret/new": PLAIN}, "3")
    later = await commit(lab, workspace, parent=lines)
    assert (await seen(lab, later)).plain == {"secret/new": ("git-crypt",)}
    assert (await seen(lab, later, published=lines)).plain == {"secret/new": ("git-crypt",)}


async def test_what_others_pushed_is_no_change_of_ours(lab: Lab) -> None:
    ours = await commit(lab, await change(lab, {"a.txt": b"a\n"}))
    theirs = lab.project.commit({"secret/theirs": CIPHERTEXT[5:], "secret/old": b"\0GITCRYPT\0new"})
    await lab.store.fetch_base(None)
    merged = await merge_commits(lab.store, base=lab.base, ours=theirs, theirs=ours)
    assert merged.tree is not None
    both = await commit_tree(lab.store, merged.tree, [ours, theirs], "merge\n", AT)
    assert await seen(lab, both, published=theirs) == FilterReport()
    # And one by which it comes in without a merge: content that the repository has in its history.
    taken = await commit(lab, await change(lab, {"secret/old": b"\0GITCRYPT\0new"}, "2"))
    assert await seen(lab, taken) == FilterReport()
    # A merge that changes more than it merges.
    evil = lab.store.objects.edit_tree(merged.tree, lab.store.write_blobs({"secret/theirs": PLAIN}))
    bad = await commit_tree(lab.store, evil, [ours, theirs], "merge\n", AT)
    assert (await seen(lab, bad, published=theirs)).plain == {"secret/theirs": ("git-crypt",)}


async def test_a_commit_goes_out_without_them(lab: Lab) -> None:
    lab.project.commit({"x.txt": b"x\n"})  # the branch of the repository goes on meanwhile
    first = await commit(lab, await change(lab, {"secret/new": PLAIN, "a.txt": b"a\n"}))
    second = await commit(
        lab, await change(lab, {"secret/new": None, "secret/old": PLAIN, "b.txt": b"b\n"}, "2"), parent=first
    )
    third = await commit(lab, await change(lab, {"secret/old": PLAIN + PLAIN}, "3"), parent=second)
    plain = (await seen(lab, third)).plain
    assert sorted(plain) == ["secret/new", "secret/old"]
    made = await leave_out(lab.store, third, plain, base=lab.base, published=None)
    assert made == await leave_out(lab.store, third, plain, base=lab.base, published=None)
    left = made[third]
    assert await seen(lab, left) == FilterReport()
    assert await lab.store.changed_paths(lab.base, left) == ["a.txt", "b.txt"]
    assert await lab.store.read_file(left, "secret/old") == CIPHERTEXT
    log = await call_git(["log", "--format=%an %s %ct", f"{lab.base}..{left}"], git_dir=lab.store.source_path)
    assert log.text.splitlines() == [f"Baton Do it {int(AT.timestamp())}"] * 2  # the third had nothing else
    await call_git(["fsck", "--strict", "--connectivity-only"], git_dir=lab.store.source_path)
    everything = await call_git(["log", "-p", "--text", left], git_dir=lab.store.source_path)
    assert b"hunter2" not in everything.stdout
    none = await leave_out(lab.store, first, ["secret/new", "a.txt"], base=lab.base, published=None)
    assert none[first] == lab.base
    assert (await leave_out(lab.store, first, [], base=lab.base, published=None))[first] == first


async def test_a_merge_goes_out_without_them(lab: Lab) -> None:
    ours = await commit(lab, await change(lab, {"secret/new": PLAIN, "a.txt": b"a\n"}))
    theirs = lab.project.commit({"t.txt": b"t\n", "secret/theirs": CIPHERTEXT[7:]})
    await lab.store.fetch_base(None)
    merged = await merge_commits(lab.store, base=lab.base, ours=theirs, theirs=ours)
    both = await commit_tree(lab.store, str(merged.tree), [ours, theirs], "merge\n", AT)
    plain = (await seen(lab, both, published=theirs)).plain
    left = (await leave_out(lab.store, both, plain, base=lab.base, published=theirs))[both]
    assert await lab.store.changed_paths(theirs, left) == ["a.txt"]
    assert (await lab.store.list_parents(left))[1] == theirs
    assert await seen(lab, left, published=theirs) == FilterReport()


async def test_attributes_outside_the_tree_count(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`nbstripout --install` writes into the checkout's own attributes, with `--global` into the person's."""
    made = await commit(lab, await change(lab, {"a.ipynb": PLAIN, "b.conf": PLAIN}))
    assert await seen(lab, made) == FilterReport()
    (lab.project.path / ".git/info").mkdir(exist_ok=True)
    (lab.project.path / ".git/info/attributes").write_text("*.ipynb filter=nbstripout\n")
    assert (await seen(lab, made)).plain == {"a.ipynb": ("nbstripout",)}
    (lab.project.path / ".git/info/attributes").unlink()
    home = tmp_path / "persons-home"
    (home / ".config/git").mkdir(parents=True)
    (home / ".config/git/attributes").write_text("*.conf filter=hide\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    assert (await seen(lab, made)).plain == {"b.conf": ("hide",)}


async def test_a_planted_filter_never_runs(lab: Lab, tmp_path: Path) -> None:
    """In the agent's `.git`, in the project's own configuration, and in files that git could be made to include."""
    canary = tmp_path / "canary"
    run = f"touch {canary}"
    planted = f'[filter "git-crypt"]\n\tclean = {run}\n\tsmudge = {run}\n\tprocess = {run}\n\trequired = true\n'
    planted += planted.replace("git-crypt", "lfs")
    workspace = await lab.workspace()
    workspace.mark_dirty()
    for place in (".git/config", ".gitconfig", "config", ".lfsconfig"):
        with (workspace.path / place).open("a") as file:
            file.write(planted)
    (workspace.path / "secret/new").write_bytes(PLAIN)
    (workspace.path / "x.big").write_bytes(PLAIN)
    checkpoint = await lab.record(workspace, await workspace.take_snapshot(None))
    made = await commit(lab, checkpoint)
    assert (await seen(lab, made)).plain == {"secret/new": ("git-crypt",)}
    await lab.store.check_out(made, tmp_path / "out")
    assert not canary.exists()
    # The same plant in a checkout with plain git is live.
    with (lab.project.path / ".git/config").open("a") as file:
        file.write(planted)
    lab.project.write({"secret/new": PLAIN})
    run_git(lab.project.path, "add", "secret/new", check=False)
    assert canary.exists()


async def test_many_paths_and_no_attributes(lab: Lab) -> None:
    tree = lab.store.find_tree(lab.base)
    paths = [f"secret/{number}/{'x' * 100}" for number in range(5_000)]
    found = await filters_of(lab.store, [tree], [*paths, "plain.txt"])
    assert sorted(found) == sorted(paths)
    assert await filters_of(lab.store, [tree], []) == {}
    lab.project.commit({".gitattributes": b"*.txt text\n"})
    await lab.rebase("run-3")
    assert await filters_of(lab.store, [lab.store.find_tree(lab.base)], paths) == {}


def test_lines_for_agents() -> None:
    files = {
        ".gitattributes": b"# filter=none\n[attr]hush filter=sops\n*.txt text\n*.key hush\n*.big filter=lfs -text\n",
        "sub/.gitattributes": b"\xef\xbb\xbf* !filter\n",
        "other/.gitattributes": b"*.md diff=filter\n",
    }
    assert filter_lines(files) == ["[attr]hush filter=sops", "*.key hush", "*.big filter=lfs -text", "sub/: * !filter"]
