"""`baton diff`: a patch that is the change, byte for byte, whatever is in it and however the person's git is set up."""

import base64
import json
import os
import pty
import sys
from pathlib import Path

from baton import identifiers
from baton.records.run import RunDocument, RunStatus
from tests.cli.conftest import Cli
from tests.workspaces.conftest import AT, Project, run_git
from workspaces.store.store import Store

BEFORE = {
    b"latin1.txt": b"caf\xe9\none\n",
    b"utf16.txt": "\ufeffone\ntwo\n".encode("utf-16-le"),
    b"binary.dat": bytes(range(256)) * 40,
    b"crlf.txt": b"one\r\ntwo\r\nthree\r\n",
    b"mode.sh": b"#!/bin/sh\n",
    b"old name.txt": b"".join(b"line %d\n" % number for number in range(40)),
    b"gone.txt": b"gone\n",
    b"gone.bin": b"\0gone",
    b"gone-empty": b"",
    b"d b/a b/f": b"1\n",
    b'quo"te': b"1\n",
    b"back\\slash": b"1\n",
    b"tab\there": b"1\n",
    b"new\nline": b"1\n",
    b"caf\xe9": b"1\n",
    "grüße".encode(): b"1\n",
    b" blank ": b"1\n",
    b"no-end": b"a\nb",
    b"link-later": b"file\n",
    b"esc\x1b[31m": b"\x1b[2Jclear\n",
}
AFTER = {
    **{name: data.replace(b"1\n", b"2\n3\n") for name, data in BEFORE.items() if data == b"1\n"},
    b"latin1.txt": b"caf\xe9\ntwo \xfc\n",
    b"utf16.txt": "\ufeffone\nthree\n".encode("utf-16-le"),
    b"binary.dat": bytes(range(256)) * 40 + b"\0more",
    b"crlf.txt": b"one\r\nTWO\r\nthree\nfour\r\n",
    b"mode.sh": b"#!/bin/sh\n",
    b"new name.txt": b"".join(b"line %d\n" % number for number in range(41)),
    b"empty": b"",
    b"no-end": b"a\nc",
    b"esc\x1b[31m": b"\x1b[2Jnew\n",
    b"++ b/odd": b"++ b/mode.sh\n-- a/x\n",
}


def commit(project: Project, files: dict[bytes, bytes], *, later: bool) -> str:
    for path in project.path.iterdir():
        if path.name != ".git":
            run_git(project.path, "rm", "-rq", "--force", "--", str(path.name))
    top = os.fsencode(project.path)
    for name, data in files.items():
        os.makedirs(os.path.dirname(os.path.join(top, name)), exist_ok=True)
        with open(os.path.join(top, name), "wb") as file:
            file.write(data)
    if later:
        (project.path / "mode.sh").chmod(0o755)
        (project.path / "link-later").unlink(missing_ok=True)
        (project.path / "link-later").symlink_to("mode.sh")
    run_git(project.path, "add", "--all")
    run_git(project.path, "commit", "-qm", "change")
    return project.git("rev-parse", "HEAD")


async def keep(store: Store, run: str, base: str, head: str) -> None:
    document = RunDocument(run=run, status=RunStatus.DONE, repo=store.repo, base_commit=base)
    files = {"state.json": document.model_dump_json().encode()}
    await store.commit_files(identifiers.run_ref(run), expected=None, files=files, message="r", at=AT)
    await store.move_ref(identifiers.integration_ref(run), head, expected=None)


async def patch_of(cli: Cli, *arguments: str) -> bytes:
    process = await cli.start("diff", *arguments)
    out, err = await process.communicate(b"")
    assert process.returncode == 0, err
    return out


def applied(project: Project, tmp_path: Path, start: str, patch: bytes) -> str:
    """The tree that comes of a patch."""
    (tmp_path / "patch").write_bytes(patch)
    run_git(project.path, "checkout", "-qf", start)
    run_git(project.path, "clean", "-qfdx")
    run_git(project.path, "apply", "--index", str(tmp_path / "patch"))
    return run_git(project.path, "write-tree")


async def test_a_patch_is_the_change_byte_for_byte(cli: Cli, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    # The project and the person say otherwise, in every way that git knows.
    one = commit(project, {**BEFORE, b".gitattributes": b"*.txt diff=odd\n* text=auto\n"}, later=False)
    two = commit(project, {**AFTER, b".gitattributes": b"*.txt -diff\n"}, later=True)
    config = tmp_path / "gitconfig"
    config.write_text(
        "[diff]\n\tnoprefix = true\n\tmnemonicPrefix = true\n\trenames = false\n\texternal = false\n\tcontext = 0\n"
        '[diff "odd"]\n\ttextconv = false\n\tbinary = true\n[core]\n\tautocrlf = true\n\tquotePath = true\n'
        "[color]\n\tui = always\n"
    )
    cli.env |= {"GIT_CONFIG_GLOBAL": str(config), "GIT_EXTERNAL_DIFF": "false", "GIT_DIFF_OPTS": "-u0"}
    store = await Store.open(cli.home, str(project.path))
    await store.fetch_base(None)
    await keep(store, "shop-a", one, two)
    await keep(store, "shop-b", one, one)

    patch = await patch_of(cli, "shop-a")
    assert applied(project, tmp_path, one, patch) == project.git("rev-parse", f"{two}^{{tree}}")
    back = await patch_of(cli, "shop-b", "--against", "shop-a")
    assert applied(project, tmp_path, two, back) == project.git("rev-parse", f"{one}^{{tree}}")
    assert b"rename to new name.txt" in patch

    document = json.loads(await patch_of(cli, "shop-a", "--json"))
    assert base64.b64decode(document["patch_base64"]) == patch
    assert document["patch"] == patch.decode(errors="replace")
    files = {file["path"]: file for file in document["files"]}
    assert files["new name.txt"]["renamed_from"] == "old name.txt"
    for name in ("d b/a b/f", 'quo"te', "back\\slash", "tab\there", "new\nline", "grüße", " blank ", "caf\\xe9"):
        assert (files[name]["added"], files[name]["removed"], files[name]["binary"]) == (2, 1, False), name
    assert files["binary.dat"]["binary"]
    assert {"mode.sh", "link-later", "empty", "gone.bin"} <= files.keys()

    lines = (await patch_of(cli, "shop-a", "--stat")).split(b"\n")
    assert len(lines) == len(files) + 1
    for raw in (b"d b/a b/f", b'quo"te', b"tab\there", b"caf\xe9", b'"new\\nline"', b'"esc\\033[31m"'):
        assert any(line.endswith(b" -  " + raw) for line in lines), raw
    assert b"     - +       - -  binary.dat" in lines


async def test_at_a_terminal_nothing_steers_it(cli: Cli, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    one = commit(project, BEFORE, later=False)
    two = commit(project, AFTER, later=True)
    store = await Store.open(cli.home, str(project.path))
    await store.fetch_base(None)
    await keep(store, "shop-a", one, two)
    for arguments in ("shop-a", "shop-a --stat"):
        shown = spawn(f"{Path(sys.prefix) / 'bin/baton'} diff {arguments}", cli.env)
        assert b"binary.dat" in shown
        assert b"\x1b" not in shown
        assert "\N{REPLACEMENT CHARACTER}[2Jnew".encode() in shown or "--stat" in arguments


def spawn(command: str, env: dict[str, str]) -> bytes:
    """What a terminal gets to see."""
    shown = bytearray()

    def read(descriptor: int) -> bytes:
        data = os.read(descriptor, 65_536)
        shown.extend(data)
        return data

    pid, terminal = pty.fork()
    if pid == 0:
        os.execve("/bin/sh", ["sh", "-c", command], env)
    try:
        while read(terminal):
            pass
    except OSError:
        pass  # so a terminal says that its last process has ended
    os.close(terminal)
    assert os.waitpid(pid, 0)[1] == 0, shown
    return bytes(shown)
