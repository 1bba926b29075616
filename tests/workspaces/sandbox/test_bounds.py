"""Memory, processes and disk of commands under attack: each is bounded, said, and the worker lives on."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from baton.errors import ConfigurationError, DiskFull
from baton.settings.core import SandboxMode, read_settings
from baton.tool_inputs import BashInput, GrepInput
from workspaces.project.baton_toml import GateConfig
from workspaces.project.gate import run_gate
from workspaces.sandbox import bounds as bounds_module
from workspaces.sandbox import cgroup_hierarchy
from workspaces.sandbox.bounds import ProcessBounds, ResourceLimits, limits_of
from workspaces.sandbox.cgroup_hierarchy import CgroupsUnavailable, find_parents
from workspaces.sandbox.cgroups import remove_stale_groups
from workspaces.sandbox.disk_watch import DiskWatch, size_of
from workspaces.sandbox.sandbox import CommandResult, Sandbox, SandboxCommand
from workspaces.tools import search as search_tools
from workspaces.tools.bash import BashTool
from workspaces.tools.inputs import ToolFault
from workspaces.tools.paths import WorkspacePaths
from workspaces.tools.search import SearchTools

MB = 1_000_000
LIMITS = ResourceLimits(
    memory=200 * MB,
    memory_total=600 * MB,
    processes=60,
    processes_total=240,
    disk=100 * MB,
    disk_floor=0,
)

HOG = "import time\nkept = []\nfor _ in range(300):\n    kept.append(bytearray(10_000_000))\nprint('ALL OF IT')\n"
BOMB = """
import os, sys, time
made = refused = 0
for _ in range(600):
    try:
        if os.fork() == 0:
            time.sleep(30)
            os._exit(0)
        made += 1
    except OSError:
        refused += 1
print("made", made, "refused", refused, flush=True)
time.sleep(1)
"""


@pytest.fixture(scope="session")
async def sandbox() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


@pytest.fixture(params=["groups", "watch"])
def how(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Control groups where this machine has them, and the watch of machines without."""
    if request.param == "watch":

        def none(*_limits: int) -> None:
            raise CgroupsUnavailable("a test has none")

        monkeypatch.setattr(bounds_module, "WorkerCgroups", none)
    else:
        try:
            find_parents()
        except CgroupsUnavailable as error:
            pytest.skip(f"no control groups here: {error}")
    return str(request.param)


def bounded(sandbox: Sandbox, limits: ResourceLimits = LIMITS) -> Sandbox:
    return Sandbox(sandbox.status, sandbox.toolchains, bounds=ProcessBounds(limits))


async def python(box: Sandbox, text: str, work: Path, seconds: float = 60) -> CommandResult:
    (work / "it.py").write_text(text)
    return await box.run_command(
        SandboxCommand(argv=["python", "it.py"], workspace=work, timeout=timedelta(seconds=seconds))
    )


def groups_left() -> list[Path]:
    tops = [top for place in find_parents() for top in place.path.glob(f"baton-{os.getpid()}-*")]
    return [path for top in tops for path in top.iterdir() if path.is_dir()]


def is_dead(pid: int) -> bool:
    """Whether a process ended; its parent may not have taken notice yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


async def test_memory_is_bounded_and_said(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    box = bounded(sandbox)
    result = await python(box, HOG + "time.sleep(20)", tmp_path)
    assert "ALL OF IT" not in result.output
    assert result.exit_code == 137
    assert result.exceeded == "killed: it used more than 200 MB of memory; BATON_SANDBOX_MEMORY raises it"
    assert not result.timed_out
    # The next one is none the worse for it.
    after = await python(box, "print('fine')", tmp_path)
    assert (after.exit_code, after.output, after.exceeded) == (0, "fine\n", "")


async def test_memory_of_many_processes_counts_together(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    text = (
        "import os, sys, time\n"
        "for _ in range(8):\n    if os.fork() == 0:\n"
        "        kept = bytearray(os.urandom(1)) * 50_000_000\n        time.sleep(100)\n        os._exit(0)\n"
        "sys.exit(os.wait()[1])\n"
    )
    result = await python(bounded(sandbox), text, tmp_path, seconds=90)
    assert not result.timed_out
    assert "it used more than 200 MB of memory" in result.exceeded


async def test_memory_that_is_reserved_and_not_used_is_free(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    """Java, Go, node and sanitizers reserve much more than they use."""
    text = (
        "import mmap\nkept = mmap.mmap(-1, 50_000_000_000, flags=0x4022)  # MAP_PRIVATE, ANONYMOUS, NORESERVE\nprint(1)"
    )
    assert (await python(bounded(sandbox), text, tmp_path)).output == "1\n"


async def test_processes_are_bounded_and_said(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    """Also those of root, for whom no resource limit of the kernel's holds."""
    result = await python(bounded(sandbox), BOMB, tmp_path, seconds=30)
    assert "it wanted more than 60 processes and threads; BATON_SANDBOX_PROCESSES raises it" in result.exceeded
    if how == "groups":
        made = int(result.output.split()[1])
        assert made < 60
        assert result.exceeded.startswith("refused")
    else:
        assert result.exit_code == 137
        assert result.exceeded.startswith("killed")


async def test_a_fork_bomb_is_ended(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    text = "import os\nwhile True:\n    try:\n        os.fork()\n    except OSError:\n        pass\n"
    result = await python(bounded(sandbox), text, tmp_path, seconds=120)
    assert not result.timed_out
    assert "BATON_SANDBOX_PROCESSES" in result.exceeded


async def test_many_hogs_at_once_leave_the_worker_alive(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    """Each is within its own bound; together they are not."""
    box = bounded(sandbox, replace(LIMITS, memory_total=400 * MB))
    text = (
        "import os, time\nopen(f'begun-{os.urandom(4).hex()}', 'w').close()\n"
        "while sum(name.startswith('begun') for name in os.listdir('.')) < 8:\n    time.sleep(0.02)\n"
        "kept = bytearray(b'x') * 150_000_000\ntime.sleep(5)\n"
    )
    (tmp_path / "it.py").write_text(text)
    command = SandboxCommand(argv=["python", "it.py"], workspace=tmp_path, timeout=timedelta(seconds=60))
    results = await asyncio.gather(*(box.run_command(command) for _ in range(8)))
    stopped = [result for result in results if result.exceeded]
    assert stopped
    assert all("BATON_SANDBOX_MEMORY_TOTAL" in result.exceeded for result in stopped)
    assert (await python(box, "print('fine')", tmp_path)).output == "fine\n"


async def test_without_isolation_the_bounds_hold_too(how: str, tmp_path: Path) -> None:
    plain = await Sandbox.open_sandbox(SandboxMode.NONE)
    result = await python(bounded(plain), HOG, tmp_path)
    assert "BATON_SANDBOX_MEMORY" in result.exceeded


async def test_commands_are_the_first_to_be_killed_by_the_kernel(sandbox: Sandbox, tmp_path: Path) -> None:
    ours = Path("/proc/self/oom_score_adj").read_text()
    for box in (sandbox, await Sandbox.open_sandbox(SandboxMode.NONE)):
        result = await box.run_command(SandboxCommand(argv="cat /proc/self/oom_score_adj", workspace=tmp_path))
        assert result.output == "1000\n"
    assert Path("/proc/self/oom_score_adj").read_text() == ours != "1000\n"


async def test_nothing_is_added_to_the_environment(sandbox: Sandbox, tmp_path: Path) -> None:
    result = await sandbox.run_command(SandboxCommand(argv="cat /proc/1/environ | wc -c", workspace=tmp_path))
    assert result.output.strip() == "0"


async def test_groups_are_removed_with_their_commands(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    if how == "watch":
        pytest.skip("there are none")
    box = bounded(sandbox)
    await box.run_command(SandboxCommand(argv="sleep 100 & true", workspace=tmp_path))
    task = asyncio.create_task(box.run_command(SandboxCommand(argv="touch begun; sleep 100", workspace=tmp_path)))
    while not (tmp_path / "begun").exists():
        await asyncio.sleep(0.01)
    assert groups_left()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await box.run_command(SandboxCommand(argv="true", workspace=tmp_path))
    assert groups_left() == []


async def test_a_daemon_that_escapes_without_isolation_ends_with_its_group(how: str, tmp_path: Path) -> None:
    if how == "watch":
        pytest.skip("only a group holds it")
    plain = bounded(await Sandbox.open_sandbox(SandboxMode.NONE))
    result = await plain.run_command(
        SandboxCommand(argv="setsid sleep 100 > /dev/null 2>&1 & echo $!", workspace=tmp_path)
    )
    assert is_dead(int(result.output))


WORKER = """
import asyncio, sys
from pathlib import Path
from baton.settings.core import SandboxMode
from workspaces.sandbox.sandbox import SandboxCommand, Sandbox
async def main():
    sandbox = await Sandbox.open_sandbox(SandboxMode.NONE)
    text = "setsid sleep 300 & echo $! > pid; mv pid begun; sleep 300"
    await sandbox.run_command(SandboxCommand(argv=text, workspace=Path(sys.argv[1])))
asyncio.run(main())
"""


async def test_groups_of_a_killed_worker_are_swept(how: str, tmp_path: Path) -> None:
    if how == "watch":
        pytest.skip("there are none")
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(tmp_path)], cwd=Path(__file__).parents[3], start_new_session=True
    )
    try:
        while not (tmp_path / "begun").exists():
            assert worker.poll() is None
            await asyncio.sleep(0.02)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    escaped = int((tmp_path / "begun").read_text())
    left = [path for place in find_parents() for path in place.path.glob(f"baton-{worker.pid}-*")]
    assert left
    assert not is_dead(escaped)
    mine = ProcessBounds(LIMITS)  # another worker starts
    assert not any(path.exists() for path in left)
    assert is_dead(escaped)
    # A living one's are left alone.
    for place in find_parents():
        remove_stale_groups(place.path)
    assert [path for place in find_parents() for path in place.path.glob(f"baton-{os.getpid()}-*")]
    assert mine.are_exact


def test_groups_of_others_are_left_alone_whatever_they_are_called() -> None:
    try:
        parents = [place.path for place in find_parents()]
    except CgroupsUnavailable as error:
        pytest.skip(str(error))
    others = [parent / f"baton-{os.getpid()}.service" for parent in parents]
    for group in others:
        group.mkdir()
    process = subprocess.Popen(["sleep", "600"])
    try:
        for group in others:
            (group / "cgroup.procs").write_text(str(process.pid))
        for parent in parents:
            remove_stale_groups(parent)
        assert process.poll() is None
        assert all(group.exists() for group in others)
    finally:
        process.kill()
        process.wait()
        for group in others:
            if group.exists():
                group.rmdir()


async def test_a_search_is_bounded_too(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ripgrep keeps a whole line in memory, and a line can be as long as a file."""
    small = ProcessBounds(replace(LIMITS, memory=80 * MB))
    monkeypatch.setattr(search_tools, "bounds_of", lambda: small)
    (tmp_path / "src").mkdir()
    with (tmp_path / "src" / "line").open("wb") as file:
        for _ in range(300):
            file.write(b"a" * MB)
    search = SearchTools(WorkspacePaths(tmp_path))
    with pytest.raises(ToolFault, match="The search was killed: it used more than 80 MB of memory"):
        await search.find_lines(GrepInput(pattern="a*b"))
    (tmp_path / "src" / "line").write_text("aab\n")
    assert "src/line" in await search.find_lines(GrepInput(pattern="a*b"))


# --- what is said to agents, and in the evidence


async def test_the_agent_is_told(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    (tmp_path / "hog.py").write_text(HOG)
    tool = BashTool(tmp_path, bounded(sandbox), patterns=None, writable=True, network=False, read_only={})
    said, code = await tool.run_command(BashInput(command="python hog.py"))
    assert code == 137
    assert said.rstrip().endswith("it used more than 200 MB of memory; BATON_SANDBOX_MEMORY raises it]")


async def test_the_evidence_says_it(sandbox: Sandbox, how: str, tmp_path: Path) -> None:
    async def checkout(_commit: str, directory: Path) -> None:
        (directory / "hog.py").write_text(HOG)

    evidence, log = await run_gate(
        checkout, "c0ffee", tmp_path / "g", GateConfig(test="python hog.py; true; exit 1"), bounded(sandbox)
    )
    assert not evidence.is_green
    assert "BATON_SANDBOX_MEMORY" in evidence.exceeded
    assert evidence.exceeded in evidence.log_tail
    assert evidence.exceeded in log.read_text()


# --- the disk


async def test_what_fills_the_disk_is_stopped_and_said(sandbox: Sandbox, tmp_path: Path) -> None:
    text = "for i in $(seq 400); do head -c 2000000 /dev/urandom > f$i; done; echo ALL OF IT"
    result = await bounded(sandbox).run_command(
        SandboxCommand(argv=text, workspace=tmp_path, timeout=timedelta(seconds=100))
    )
    assert "ALL OF IT" not in result.output
    assert result.exit_code == 153
    assert "it wrote more than 100 MB to the disk" in result.exceeded
    assert not result.disk_full
    assert size_of(tmp_path) < 600 * MB
    assert (await bounded(sandbox).run_command(SandboxCommand(argv="rm f*; ls", workspace=tmp_path))).output == ""


async def test_a_gate_on_a_disk_without_room_is_no_verdict(sandbox: Sandbox, tmp_path: Path) -> None:
    """Another one may have filled it: the tests are not to blame."""

    async def checkout(_commit: str, _directory: Path) -> None:
        pass

    free = shutil.disk_usage(tmp_path).free
    limits = replace(LIMITS, disk=10_000 * MB, disk_floor=max(free - 120 * MB, 0))
    text = (
        "python -c \"import os, time; f = open('x', 'wb'); os.unlink('x')\nwhile 1: f.write(bytes(10**6)); f.flush()\""
    )
    with pytest.raises(DiskFull, match="BATON_DISK_FLOOR_GB"):
        await run_gate(checkout, "c0ffee", tmp_path / "g", GateConfig(test=text), bounded(sandbox, limits))
    assert not (tmp_path / "g" / "work").exists()


def test_another_ones_writing_is_not_blamed_on_a_large_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "large").write_bytes(os.urandom(3 * MB))
    time.sleep(0.1)  # it is older than the command
    free = [10_000 * MB]
    monkeypatch.setattr("workspaces.sandbox.disk_watch._free_bytes", lambda _directory: free[0])
    watch = DiskWatch(tmp_path, replace(LIMITS, disk=2 * MB))
    for _ in range(40):
        free[0] -= 10 * MB
        assert watch.check_disk() is None
    (tmp_path / "own").write_bytes(os.urandom(3 * MB))
    free[0] -= 70 * MB
    full = watch.check_disk()
    assert full is not None
    assert not full.disk_full


def test_with_too_little_room_a_command_can_still_clean_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = [100 * MB]
    monkeypatch.setattr("workspaces.sandbox.disk_watch._free_bytes", lambda _directory: free[0])
    watch = DiskWatch(tmp_path, replace(LIMITS, disk_floor=500 * MB))
    assert watch.check_disk() is None
    free[0] = 20 * MB
    full = watch.check_disk()
    assert full is not None
    assert full.disk_full


# --- settings


def test_the_settings_are_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, size in (("4GB", 4_000_000_000), ("512MB", 512 * MB), ("2GiB", 2 << 30), ("1G", 1_000_000_000)):
        monkeypatch.setenv("BATON_SANDBOX_MEMORY", text)
        assert limits_of(read_settings()).memory == size
    for text in ("4", "much", "-1GB", "1MB"):
        monkeypatch.setenv("BATON_SANDBOX_MEMORY", text)
        with pytest.raises(ConfigurationError, match=r"BATON_SANDBOX_MEMORY is invalid: write a size such as 4GB"):
            read_settings()
    monkeypatch.setenv("BATON_SANDBOX_MEMORY", "")
    monkeypatch.setenv("BATON_SANDBOX_PROCESSES", "100")
    limits = limits_of(read_settings())
    assert limits.processes == 100
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert limits.memory <= limits.memory_total < machine


# --- version 2, as its files are read and written


def fake_v2(tmp_path: Path, *, inside: str = "unit", controllers: str = "cpu memory pids") -> Path:
    """A hierarchy of version 2 in plain files, and what /proc says of a process in it."""
    top = tmp_path / "cgroup"
    unit = top / "slice" / inside
    unit.mkdir(parents=True)
    for path in (top, top / "slice", unit, *unit.parents[: unit.parents.index(top)]):
        (path / "cgroup.controllers").write_text(controllers + "\n")
        (path / "cgroup.subtree_control").write_text("")
        (path / "cgroup.procs").write_text("")
        if path != top:
            (path / "cgroup.type").write_text("domain\n")
    proc = tmp_path / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text(f"30 23 0:26 / {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
    (proc / "cgroup").write_text(f"0::/slice/{inside}\n")
    return unit


def test_version_2_needs_delegation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = fake_v2(tmp_path)
    own = cgroup_hierarchy._own_groups(tmp_path / "proc")
    assert own == {"": unit}
    monkeypatch.setattr(cgroup_hierarchy, "_own_groups", lambda: own)
    with pytest.raises(CgroupsUnavailable, match="Delegate=yes"):
        find_parents()
    monkeypatch.setattr(cgroup_hierarchy, "_is_ours", lambda _base: True)
    assert [(place.path, place.version) for place in find_parents()] == [(unit, 2)]
    assert (unit / "cgroup.subtree_control").read_text() == "+memory +pids"
    assert (unit / cgroup_hierarchy.LEAF).is_dir()


def test_version_2_without_its_controllers_has_no_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = fake_v2(tmp_path, controllers="cpu")
    monkeypatch.setattr(cgroup_hierarchy, "_own_groups", lambda: {"": unit})
    with pytest.raises(CgroupsUnavailable, match="controllers memory and pids"):
        find_parents()


def test_a_worker_in_its_leaf_makes_groups_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    leaf = fake_v2(tmp_path, inside=f"unit/{cgroup_hierarchy.LEAF}")
    monkeypatch.setattr(cgroup_hierarchy, "_own_groups", lambda: {"": leaf})
    monkeypatch.setattr(cgroup_hierarchy, "_is_ours", lambda _base: True)
    assert [place.path for place in find_parents()] == [leaf.parent]


def test_the_groups_of_a_container_are_found(tmp_path: Path) -> None:
    """Version 1 with the mount of a part, as Docker shows it, and both controllers in one hierarchy."""
    (tmp_path / "fs/memory/sub").mkdir(parents=True)
    (tmp_path / "fs/pids").mkdir()
    (tmp_path / "mountinfo").write_text(
        textwrap.dedent(f"""\
        1 0 0:1 /docker/abc {tmp_path}/fs/memory rw,nosuid - cgroup cgroup rw,memory
        2 0 0:2 /docker/abc {tmp_path}/fs/pids rw - cgroup cgroup rw,pids
        3 0 0:3 / /proc rw - proc proc rw
        """)
    )
    (tmp_path / "cgroup").write_text("5:memory:/docker/abc/sub\n4:pids:/docker/abc\n1:name=systemd:/docker/abc\n")
    found = cgroup_hierarchy._own_groups(tmp_path)
    assert found == {"memory": tmp_path / "fs/memory/sub", "pids": tmp_path / "fs/pids"}
