"""System calls of the kernel's objects that have no namespace: each is made in the sandbox, and seen refused."""

import json
import os
import platform
import struct
import sys
from pathlib import Path

import pytest

from baton.errors import SandboxUnavailable
from baton.settings.core import SandboxMode
from workspaces.sandbox import sandbox as sandbox_module
from workspaces.sandbox import seccomp
from workspaces.sandbox.sandbox import Sandbox, SandboxCommand, probe_sandbox
from workspaces.sandbox.seccomp import seccomp_filter
from workspaces.sandbox.syscall_numbers import MACHINES

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is one of Linux")

NUMBERS = {
    "keyctl": (250, 219),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "userfaultfd": (323, 282),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "mount": (165, 40),
    "umount2": (166, 39),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "pivot_root": (155, 41),
    "unshare": (272, 97),
    "setns": (308, 268),
    "chroot": (161, 51),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "reboot": (169, 142),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "open_by_handle_at": (304, 265),
    "acct": (163, 89),
    "lookup_dcookie": (212, 18),
    "syslog": (103, 116),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "fanotify_init": (300, 262),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "mbind": (237, 235),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "vhangup": (153, 58),
    "open_tree_attr": (467, 467),
}
"""Refused with EPERM: by name the number on x86_64 and on aarch64."""

ONE = 0 if platform.machine() == "x86_64" else 1

# Every call in a process of its own: one that is allowed by mistake would do what it does to nobody else.
ASK = """
import ctypes, json, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments))
    return ctypes.get_errno() if result == -1 else 0
"""


@pytest.fixture(scope="session")
async def sandbox() -> Sandbox:
    opened = await Sandbox.open_sandbox(SandboxMode.AUTO)
    opened.require_available()
    return opened


async def ask(sandbox: Sandbox, work: Path, script: str) -> dict[str, object]:
    (work / "ask.py").write_text(ASK + script)
    result = await sandbox.run_command(SandboxCommand(argv=["python", "ask.py"], workspace=work))
    assert result.exit_code == 0, result.output
    answer = json.loads(result.output)
    assert isinstance(answer, dict)
    return answer


async def test_calls_of_what_has_no_namespace_are_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    numbers = {name: both[ONE] for name, both in NUMBERS.items()}
    # Arguments that fail otherwise (EFAULT, EINVAL, EBADF): only the filter gives EPERM before they are looked at.
    script = f"print(json.dumps({{name: call(number, 2**63 - 1, 0, 0, 0, 0) for name, number in {numbers!r}.items()}}))"
    answers = await ask(sandbox, tmp_path, script)
    assert answers == dict.fromkeys(numbers, 1)


async def test_newer_calls_do_not_exist(sandbox: Sandbox, tmp_path: Path) -> None:
    """glibc falls back from clone3 to clone, whose flags can be looked at; openat2's mode cannot."""
    answers = await ask(
        sandbox, tmp_path, "print(json.dumps({str(n): call(n, 0, 0, 0, 0) for n in (435, 437, 471, 500, 9999)}))"
    )
    assert set(answers.values()) == {38}


@pytest.mark.parametrize("kind", [1, 2, 3, 5])
async def test_sockets_of_other_families_cannot_be_made(sandbox: Sandbox, tmp_path: Path, kind: int) -> None:
    script = f"""
import socket
made = []
for family in range(64):
    for protocol in range(32) if family == 16 else (0,):
        try:
            socket.socket(family, {kind}, protocol).close()
            made.append([family, protocol])
        except OSError as error:
            if family in (40, 38, 17, 29, 31, 44):
                assert error.errno == 97, (family, error)
print(json.dumps({{"made": made}}))
"""
    for network in (False, True):
        (tmp_path / "ask.py").write_text(ASK + script)
        result = await sandbox.run_command(
            SandboxCommand(argv=["python", "ask.py"], workspace=tmp_path, network=network)
        )
        assert result.exit_code == 0, result.output
        made = {tuple(pair) for pair in json.loads(result.output)["made"]}
        assert made <= {(1, 0), (2, 0), (10, 0), (16, 0)}
        if kind == 1:
            assert (1, 0) in made
            assert (2, 0) in made


async def test_a_family_is_not_hidden_in_the_upper_half_of_the_argument(sandbox: Sandbox, tmp_path: Path) -> None:
    number = (41, 198)[ONE]
    script = f"print(json.dumps({{str(n): call({number}, n, 1, 0) for n in (40, 2**32 + 40, 2**63 + 40)}}))"
    assert set((await ask(sandbox, tmp_path, script)).values()) == {97}


async def test_new_namespaces_cannot_be_cloned(sandbox: Sandbox, tmp_path: Path) -> None:
    flags = (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x10000000 | 2**32)
    script = f"""
def clone(flags):
    code = call({(56, 220)[ONE]}, flags | 17, 0, 0, 0, 0)
    return code
print(json.dumps({{hex(f): clone(f) for f in {flags!r}}}))
"""
    assert set((await ask(sandbox, tmp_path, script)).values()) == {1}


async def test_personalities_and_typing_into_the_terminal_are_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    script = f"""
import pty, fcntl
_, slave = pty.openpty()
ioctl, personality = {(16, 29)[ONE]}, {(135, 92)[ONE]}
letter = ctypes.create_string_buffer(b"x")
answers = {{f"ioctl {{n:x}}": call(ioctl, slave, n, letter) for n in (0x5412, 0x541c, 2**32 + 0x5412)}}
answers |= {{f"personality {{n:x}}": call(personality, n) for n in (0x400000, 0x100000, 0x40000, 0x7)}}
assert call(personality, 0xffffffff) == 0
assert fcntl.ioctl(slave, 0x5413, b"........")  # TIOCGWINSZ
print(json.dumps(answers))
"""
    assert set((await ask(sandbox, tmp_path, script)).values()) == {1}


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other entries of x86_64")
async def test_i386_and_x32_are_no_way_round(sandbox: Sandbox, tmp_path: Path) -> None:
    script = """
import mmap
def run(code):
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(code)
    return ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
def i386(number, first):
    # push rbx; mov eax, number; mov ebx, first; xor ecx, ecx; xor edx, edx; int 0x80; movsxd rax, eax; pop rbx; ret
    return run(b"\\x53\\xb8" + number.to_bytes(4, "little") + b"\\xbb" + first.to_bytes(4, "little")
               + b"\\x31\\xc9\\x31\\xd2\\xcd\\x80\\x48\\x63\\xc0\\x5b\\xc3")
answers = {"i386 keyctl": i386(288, 0), "i386 getpid": i386(20, 0), "i386 socket": i386(359, 40)}
answers |= {f"x32 {n}": -call(0x40000000 | n, 40, 1, 0) for n in (250, 41, 39, 321)}
print(json.dumps(answers))
"""
    assert set((await ask(sandbox, tmp_path, script)).values()) == {-38}


async def test_no_file_becomes_set_user_id(sandbox: Sandbox, tmp_path: Path) -> None:
    """The files of a root worker's commands belong to root outside."""
    script = f"""
machine = {ONE}
at = ctypes.c_long(-100)
def path(text): return ctypes.create_string_buffer(text.encode())
open("file", "w").close()
answers = {{}}
for bits in (0o4755, 0o2755, 0o6755):
    for name, attempt in {{
        "chmod": lambda: os.chmod("file", bits),
        "fchmod": lambda: os.fchmod(os.open("file", os.O_RDWR), bits),
        "fchmodat2": lambda: call(452, at, path("file"), bits, 0) == 0 or (_ for _ in ()).throw(OSError(1, "")),
        "open": lambda: os.open(f"open{{bits}}", os.O_CREAT | os.O_WRONLY, bits),
        "tmpfile": lambda: os.open(".", os.O_TMPFILE | os.O_WRONLY, bits),
        "mknod": lambda: os.mknod(f"mknod{{bits}}", 0o100000 | bits),
        "mkdir": lambda: os.chmod(".", bits),
    }}.items():
        try:
            attempt()
            answers[f"{{name}} {{bits:o}}"] = 0
        except OSError as error:
            answers[f"{{name}} {{bits:o}}"] = error.errno
    if machine == 0:
        answers[f"creat {{bits:o}}"] = call(85, path(f"creat{{bits}}"), bits)
        answers[f"old open {{bits:o}}"] = call(2, path(f"old{{bits}}"), 0o101, bits)
        answers[f"old mknod {{bits:o}}"] = call(133, path(f"oldnod{{bits}}"), 0o100000 | bits)
# What is not made needs no mode: the register may hold anything.
assert call({(257, 56)[ONE]}, at, path("file"), 0, 0o6777) == 0
os.chmod("file", 0o1755)
print(json.dumps(answers))
"""
    assert set((await ask(sandbox, tmp_path, script)).values()) == {1}
    assert [path for path in tmp_path.rglob("*") if path.lstat().st_mode & 0o6000] == []


async def test_the_filter_holds_in_a_bare_sandbox_too(sandbox: Sandbox, tmp_path: Path) -> None:
    script = "touch f; chmod 4755 f && echo MADE; chmod 2755 f && echo MADE; unshare -U true && echo MADE; true"
    result = await sandbox.run_command(SandboxCommand(argv=script, workspace=tmp_path, bare=True))
    assert "MADE" not in result.output
    assert result.output.count("Operation not permitted") == 3
    assert (tmp_path / "f").stat().st_mode & 0o6000 == 0


async def test_programs_find_the_ordinary_calls(sandbox: Sandbox, tmp_path: Path) -> None:
    """Threads, processes, shared memory, sockets, timers and watches, as compilers and databases need them."""
    script = """
import mmap, multiprocessing, select, signal, socket, subprocess, tempfile, threading
from multiprocessing import shared_memory
thread = threading.Thread(target=lambda: None); thread.start(); thread.join()
assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
with multiprocessing.get_context("fork").Pool(2) as pool: assert pool.map(abs, [-1, -2]) == [1, 2]
memory = shared_memory.SharedMemory(create=True, size=100); memory.close(); memory.unlink()
server = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(server.getsockname())
socket.socketpair(); select.epoll(); os.memfd_create("x"); os.pidfd_open(os.getpid())
socket.if_nameindex(); socket.getaddrinfo("localhost", 80)
signal.setitimer(signal.ITIMER_REAL, 100)
os.sched_setaffinity(0, os.sched_getaffinity(0))
open("a", "w").write("x"); os.link("a", "b"); os.chmod("a", 0o755); os.setxattr
os.mkfifo("fifo"); os.copy_file_range
print(json.dumps({"fine": True}))
"""
    assert await ask(sandbox, tmp_path, script) == {"fine": True}


async def test_an_architecture_without_a_list_has_no_sandbox(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(SandboxUnavailable, match="riscv64"):
        seccomp_filter()
    status = await probe_sandbox(SandboxMode.AUTO)
    assert status.kind == "unavailable"
    assert "riscv64" in status.reason


async def test_a_bubblewrap_without_filters_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It would run everything else as asked."""
    real = (await probe_sandbox(SandboxMode.AUTO)).bwrap
    assert real is not None
    fake = tmp_path / "bwrap"
    fake.write_text(
        "#!/bin/bash\nline=()\nwhile (($#)); do\n"
        'if [ "$1" = --seccomp ]; then shift 2; else line+=("$1"); shift; fi\ndone\n'
        f'exec {real.path} "${{line[@]}}"\n'
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sandbox_module, "_bwrap_candidates", lambda: [fake])
    seccomp_of_this = [line for line in Path("/proc/self/status").read_text().splitlines() if "Seccomp:" in line]
    if "2" in seccomp_of_this[0]:
        pytest.skip("this process runs under a filter itself")
    assert (await probe_sandbox(SandboxMode.AUTO)).kind == "unavailable"


# --- the program, as the kernel would run it


def answer(program: bytes, *, arch: int, number: int, arguments: tuple[int, ...] = ()) -> str:
    """The answer of a filter to a call, by an interpreter of the few instructions it is made of."""
    data = struct.pack("=IIQ6Q", number & 0xFFFFFFFF, arch, 0, *(*arguments, *[0] * (6 - len(arguments))))
    steps = list(struct.iter_unpack("=HBBI", program))
    at = loaded = 0
    while True:
        code, true, false, operand = steps[at]
        at += 1
        if code == 0x20:
            loaded = struct.unpack_from("=I", data, operand)[0]
        elif code == 0x05:
            at += operand
        elif code == 0x06:
            return "allow" if operand == 0x7FFF0000 else f"errno {operand & 0xFFFF}"
        else:
            holds = {0x15: loaded == operand, 0x35: loaded >= operand, 0x45: bool(loaded & operand)}[code]
            at += true if holds else false


@pytest.mark.parametrize(("name", "arch", "one"), [("x86_64", 0xC000003E, 0), ("aarch64", 0xC00000B7, 1)])
def test_both_architectures_have_a_filter(name: str, arch: int, one: int) -> None:
    program = seccomp_filter(name)
    for number in [both[one] for both in NUMBERS.values()]:
        assert answer(program, arch=arch, number=number) == "errno 1"
    checked = {"socket", "socketpair"}
    for call, number in MACHINES[name].allowed.items():
        assert answer(program, arch=arch, number=number) == ("errno 97" if call in checked else "allow"), call
        for other in (0x40000003, 0x40000028, 0xC000003E, 0xC00000B7):
            if other != arch:
                assert answer(program, arch=other, number=number) == "errno 38"
        assert answer(program, arch=arch, number=number | 0x40000000) == "errno 38"
    known = {*MACHINES[name].allowed.values(), 435, 437}
    for number in set(range(471)) - known:
        assert answer(program, arch=arch, number=number) == "errno 1"
    assert answer(program, arch=arch, number=-1) == "errno 38"
    assert len(program) // 8 < 4_096  # BPF_MAXINSNS
    assert seccomp._assemble_program.cache_info().hits


@pytest.mark.skipif(platform.machine() != "x86_64", reason="numbers of this machine's headers")
def test_the_numbers_are_those_of_the_kernels_headers() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("the kernel's headers are not installed")
    words = [line.split() for line in header.read_text().splitlines() if line.startswith("#define __NR_")]
    known = {word[1].removeprefix("__NR_"): int(word[2]) for word in words}
    listed = MACHINES["x86_64"].allowed
    assert {name: number for name, number in listed.items() if known.get(name, number) != number} == {}
    assert len(listed.keys() & known.keys()) > 250
    assert os.uname().machine in MACHINES
