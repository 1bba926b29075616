"""Git LFS without its filter: the pointers are those of git-lfs, the contents are kept, and uploaded by git-lfs."""

import base64
import shutil
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton.errors import ContentsMissing
from tests.support.git_over_http import PASSWORD, USER
from tests.support.lfs_over_http import LfsServer, serving_lfs
from tests.workspaces.conftest import AT, Lab, run_git
from tests.workspaces.delivery.test_merge import change, commit
from workspaces.delivery import lfs_transfer
from workspaces.delivery.filtered_files import FilterReport, examine_commits
from workspaces.delivery.lfs_store import LfsPointer, checkout_files, find_contents, parse_pointer, pointer_to
from workspaces.delivery.lfs_transfer import upload_contents
from workspaces.delivery.merge import copy_tree
from workspaces.git.credentials import CredentialHeader
from workspaces.maintenance.verify import verify_store
from workspaces.store.store import Store

needs_git_lfs = pytest.mark.skipif(
    shutil.which("git-lfs") is None, reason="git-lfs is not installed (scripts/git-lfs.sh)"
)

CONTENT = bytes(range(256)) * 40
OTHER = b"text that is not large\r\n"
THERE = pointer_to(b"somewhere else")


@pytest.fixture
async def lab(lab: Lab) -> Lab:
    attributes = b"*.big filter=lfs diff=lfs merge=lfs -text\nsmall/*.big -filter\n"
    lab.project.commit({".gitattributes": attributes, "old.big": THERE.file_bytes, "more.big": THERE.file_bytes})
    await lab.rebase("run-2")
    return lab


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LfsServer]:
    """A server that the person's own git has a password for."""
    with serving_lfs(tmp_path / "lfs-objects") as served:
        config = tmp_path / "gitconfig"
        helper = f"!f() {{ echo username={USER}; echo 'password={PASSWORD}'; }}; f"
        run_git(tmp_path, "config", "--file", str(config), "credential.helper", helper)
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
        yield served


async def at(lab: Lab, url: str) -> Store:
    """A store of a repository at this address."""
    return await Store.open(lab.home, url)


def kept(store: Store, *contents: bytes) -> dict[LfsPointer, str]:
    return {pointer_to(content): store.objects.write_blob(content) for content in contents}


def test_pointers_are_as_the_specification_says() -> None:
    pointer = pointer_to(b"hello\n")
    assert pointer.file_bytes == (
        b"version https://git-lfs.github.com/spec/v1\n"
        b"oid sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03\nsize 6\n"
    )
    assert parse_pointer(pointer.file_bytes) == pointer
    extended = pointer.file_bytes.replace(b"oid", b"ext-0-case sha256:" + b"0" * 64 + b"\noid", 1)
    assert parse_pointer(extended) == pointer
    for broken in (
        b"",
        pointer.file_bytes[:-1],
        pointer.file_bytes + b"\n",
        pointer.file_bytes.replace(b"\n", b"\r\n"),
        pointer.file_bytes.replace(b"sha256", b"sha512"),
        b"<<<<<<< ours\n" + pointer.file_bytes,
        pointer.file_bytes.replace(b"size 6", b"size -6"),
        pointer.file_bytes.replace(b"size 6", b"size 06"),
        pointer.file_bytes + b"x" * 2_000,
    ):
        assert parse_pointer(broken) is None, broken


@needs_git_lfs
def test_pointers_are_as_git_lfs_makes_them(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(CONTENT)
    made = subprocess.run(["git-lfs", "pointer", "--file=file"], cwd=tmp_path, capture_output=True, check=True)
    assert made.stdout == pointer_to(CONTENT).file_bytes


CHANGES: dict[str, bytes | None] = {
    "new.big": CONTENT,
    "a/b/new.big": OTHER,
    "old.big": OTHER,
    "more.big": None,
    "empty.big": b"",
    "by-hand.big": pointer_to(b"by hand").file_bytes,
    "small/new.big": OTHER,
    "sub/.gitattributes": b"*.dat filter=lfs\n*.big -filter\n",
    "sub/x.dat": CONTENT,
    "sub/x.big": CONTENT,
    "text.txt": b"plain\n",
}


async def test_what_lfs_would_have_replaced_is_a_pointer(lab: Lab) -> None:
    made = await commit(lab, await change(lab, CHANGES))
    found = {path: await lab.store.read_file(made, path) for path in CHANGES}
    assert found == {
        **CHANGES,
        "new.big": pointer_to(CONTENT).file_bytes,
        "a/b/new.big": pointer_to(OTHER).file_bytes,
        "old.big": pointer_to(OTHER).file_bytes,
        "sub/x.dat": pointer_to(CONTENT).file_bytes,
    }
    contents = await find_contents(lab.store, lab.lane.run)
    assert {pointer: lab.store.objects.read_blob(blob) for pointer, blob in contents.items()} == {
        pointer_to(CONTENT): CONTENT,
        pointer_to(OTHER): OTHER,
    }
    assert made == await commit(lab, lab.checkpoint)
    report = await verify_store(lab.store)
    assert report.findings == []


@needs_git_lfs
async def test_the_tree_is_the_one_that_git_lfs_makes(lab: Lab) -> None:
    """The same changes in a person's checkout with git-lfs give the very same tree."""
    made = await commit(lab, await change(lab, CHANGES))
    for name, value in (("clean", "git-lfs clean -- %f"), ("smudge", "git-lfs smudge --skip -- %f")):
        lab.project.git("config", f"filter.lfs.{name}", value)
    lab.project.git("config", "filter.lfs.required", "true")
    for path, data in CHANGES.items():
        if data is None:
            (lab.project.path / path).unlink()
        else:
            lab.project.write({path: data})
    environment = {"PATH": f"{Path(str(shutil.which('git-lfs'))).parent}:/usr/bin:/bin", "HOME": "/nonexistent"}
    # Both with the filter: git looks again at files that are as young as its index.
    for command in ("add", "--all"), ("write-tree",):
        said = subprocess.run(
            ["git", *command], cwd=lab.project.path, env=environment, check=True, capture_output=True, text=True
        )
    assert lab.store.find_tree(made) == said.stdout.strip()


async def test_tests_see_what_the_workspace_held(lab: Lab, tmp_path: Path) -> None:
    workspace = await lab.workspace()
    workspace.mark_dirty()
    (workspace.path / "tool.big").write_bytes(CONTENT)
    (workspace.path / "tool.big").chmod(0o755)
    (workspace.path / "copy.txt").write_bytes(pointer_to(CONTENT).file_bytes)  # about a pointer, and none
    made = await commit(lab, await lab.record(workspace, await workspace.take_snapshot(None)))
    await checkout_files(lab.store, lab.lane.run, made, tmp_path / "out")
    assert (tmp_path / "out/tool.big").read_bytes() == CONTENT
    assert stat.S_IMODE((tmp_path / "out/tool.big").stat().st_mode) == 0o755
    assert (tmp_path / "out/old.big").read_bytes() == THERE.file_bytes
    assert (tmp_path / "out/copy.txt").read_bytes() == pointer_to(CONTENT).file_bytes
    await checkout_files(lab.store, "another-run", made, tmp_path / "other")
    assert (tmp_path / "other/tool.big").read_bytes() == pointer_to(CONTENT).file_bytes


async def test_pointers_are_told_from_what_is_there(lab: Lab) -> None:
    files: dict[str, bytes | None] = {"new.big": CONTENT, "by-hand.big": pointer_to(b"by hand").file_bytes}
    files |= {"old.big": None, "moved.big": THERE.file_bytes}
    made = await commit(lab, await change(lab, files))
    found = await examine_commits(lab.store, made, base=lab.base, published=None)
    assert found == FilterReport(pointers={"new.big": {pointer_to(CONTENT)}, "by-hand.big": {pointer_to(b"by hand")}})


@needs_git_lfs
async def test_contents_go_beside_a_repository_on_this_machine(lab: Lab) -> None:
    contents = kept(lab.store, CONTENT, OTHER)
    await upload_contents(lab.store, contents, contents)
    for pointer in contents:
        path = lab.project.path / ".git/lfs/objects" / pointer.oid[:2] / pointer.oid[2:4] / pointer.oid
        assert path.stat().st_size == pointer.size
    await upload_contents(lab.store, contents, {})  # what an agent writes a pointer to, and is there
    with pytest.raises(ContentsMissing, match=r"could not be found|no content"):
        await upload_contents(lab.store, [*contents, pointer_to(b"nowhere")], {})


@needs_git_lfs
async def test_contents_are_uploaded_with_the_persons_credentials(lab: Lab, server: LfsServer) -> None:
    store = await at(lab, server.url(user=""))
    contents = kept(store, *(CONTENT + bytes([number]) for number in range(5)))
    await upload_contents(store, contents, contents)
    assert server.held() == {pointer.oid for pointer in contents}
    asked = len(server.requests)
    await upload_contents(store, contents, contents)  # a retry sends nothing again
    assert not [request for request in server.requests[asked:] if request.startswith("PUT")]
    await upload_contents(store, contents, {})
    with pytest.raises(ContentsMissing):
        await upload_contents(store, [pointer_to(b"nowhere")], {})


@needs_git_lfs
async def test_contents_are_uploaded_with_our_credential(
    lab: Lab, server: LfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    value = "Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    url = server.url(user="")

    async def credentials(_repo: str) -> str | None:
        return value

    store = await Store.open(lab.home, url, credentials=credentials)
    assert await store.credential_header() == CredentialHeader(url, value)
    contents = kept(store, CONTENT)
    await upload_contents(store, contents, contents)
    assert server.held() == {pointer_to(CONTENT).oid}
    await upload_contents(store, contents, {})


@needs_git_lfs
async def test_a_server_that_refuses_is_a_question(
    lab: Lab, server: LfsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    store = await at(lab, server.url(user=""))
    contents = kept(store, CONTENT)
    with pytest.raises(ContentsMissing, match="could not be uploaded"):
        await upload_contents(store, contents, contents)
    assert server.held() == set()


HOSTILE = """\
[lfs]
\turl = http://127.0.0.1:{port}/evil.git/info/lfs
\tpushurl = http://127.0.0.1:{port}/evil.git/info/lfs
\tstandalonetransferagent = evil
\tsshtransfer = never
[lfs "customtransfer.evil"]
\tpath = {canary}
[remote "target"]
\tlfsurl = http://127.0.0.1:{port}/evil.git/info/lfs
[include]
\tpath = {canary}.config
"""


@needs_git_lfs
async def test_nothing_that_a_repository_says_is_obeyed(lab: Lab, server: LfsServer, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {canary}\n")
    program.chmod(0o755)
    (tmp_path / "evil.config").write_text(f"[lfs]\n\turl = http://127.0.0.1:{server.port}/evil.git\n")
    hostile = HOSTILE.format(port=server.port, canary=program).encode()
    files: dict[str, bytes | None] = {".lfsconfig": hostile, "new.big": CONTENT}
    workspace = await lab.workspace()
    workspace.mark_dirty()
    for name in ("pre-push", "post-checkout", "reference-transaction"):
        (workspace.path / ".git/hooks").mkdir(exist_ok=True)
        shutil.copy(program, workspace.path / ".git/hooks" / name)
    made = await commit(lab, await change(lab, files))
    contents = await find_contents(lab.store, lab.lane.run)
    tree = lab.store.find_tree(made)
    await upload_contents(lab.store, contents, contents, trees=[tree])  # a path: nothing is sent anywhere
    assert (lab.project.path / ".git/lfs/objects").is_dir()
    assert server.requests == []
    store = await at(lab, server.url(user=""))
    other = await _copied(lab, store, made)
    with pytest.raises(ContentsMissing, match="another server"):
        await upload_contents(store, contents, kept(store, CONTENT), trees=[store.source.tree_of(other)])
    assert server.requests == []
    assert not canary.exists()


@needs_git_lfs
async def test_an_lfsconfig_that_names_the_repository_itself_is_fine(lab: Lab, server: LfsServer) -> None:
    text = f"[lfs]\n\turl = {server.url(user='')}/info/lfs\n\tfetchexclude = *\n"
    made = await commit(lab, await change(lab, {".lfsconfig": text.encode()}))
    store = await at(lab, server.url(user=""))
    tree = store.source.tree_of(await _copied(lab, store, made))
    contents = kept(store, CONTENT)
    await upload_contents(store, contents, contents, trees=[tree])
    assert server.held() == {pointer_to(CONTENT).oid}


async def test_without_git_lfs_it_is_said(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "bin"
    place.mkdir()
    (place / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(place))
    contents = kept(lab.store, CONTENT)
    with pytest.raises(ContentsMissing, match="not installed"):
        await upload_contents(lab.store, contents, contents)
    await upload_contents(lab.store, [], {})


async def test_what_is_too_large_to_look_for(lab: Lab) -> None:
    with pytest.raises(ContentsMissing, match=r"too large|not installed"):
        await upload_contents(lab.store, [LfsPointer("0" * 64, lfs_transfer._MAX_CHECK + 1)], {})


async def _copied(lab: Lab, store: Store, commit: str) -> str:
    """A commit of the laboratory's store in another one."""
    tree = lab.store.source.tree_of(commit)
    copy_tree(lab.store.source, store.source, tree)
    return store.source.write_commit(tree, [], "copied", AT)
