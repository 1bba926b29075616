"""The filter of system calls for sandboxed commands: a BPF program for `bwrap --seccomp`.

It is an allow-list: the kernel has some 460 calls, and many of them reach facilities without a namespace (keyrings,
eBPF, performance counters, io_uring, exotic sockets). A known call that is not listed fails with EPERM, as in a
container; a call that is newer than the list fails with ENOSYS, which programs take for an older kernel. The program is
assembled here because libseccomp is a system library that a fresh machine lacks, and its Python binding does not
include it.
"""

import errno
import platform
import struct
from collections.abc import Callable, Sequence
from functools import cache

from baton.errors import SandboxUnavailable
from workspaces.sandbox.syscall_numbers import LAST_KNOWN, MACHINES, MachineSyscalls

# <linux/bpf_common.h>, <linux/seccomp.h>
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _GO, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x05, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _ARCH = 0, 4

_FAMILIES = (1, 2, 10)
"""AF_UNIX, AF_INET, AF_INET6."""
_NETLINK, _ROUTE = 16, 0
"""AF_NETLINK with NETLINK_ROUTE, by which programs read their own addresses."""
_NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
_PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""PER_LINUX, PER_LINUX32, both with UNAME26, and the query of the present one."""
_TERMINAL_INPUT = (0x5412, 0x541C)
"""TIOCSTI and TIOCLINUX, which insert input into the controlling terminal."""
_SET_ID_BITS = 0o6000
"""Commands of a root worker create files of root, so set-user-ID would outlive the sandbox. nixpkgs forbids it, too."""
_CREATES = 0o100 | 0o20000000
"""O_CREAT, __O_TMPFILE: only with them open(2) uses the mode."""

Step = tuple[int, int, int, int]
"""An instruction: code, steps to skip if true, steps to skip if false, operand."""


def seccomp_filter(machine: str | None = None) -> bytes:
    """Return the program for `machine` or, by default, this machine. Raises SandboxUnavailable if it is unknown."""
    name = machine or platform.machine()
    if name not in MACHINES:
        raise SandboxUnavailable(
            f"No filter of system calls is known for the architecture {name!r} (there are: {', '.join(MACHINES)})."
        )
    return _assemble_program(name)


@cache
def _assemble_program(name: str) -> bytes:
    machine = MACHINES[name]
    checks = _argument_checks(machine)
    segments = _answer_segments(machine, checks)
    tree = _search_tree(segments)
    steps = [_load_word(_ARCH), (_EQUAL, 1, 0, machine.audit_arch), _refuse_with(errno.ENOSYS), _load_word(_NUMBER)]
    starts, end = {}, len(steps) + len(tree)
    for number, check in checks.items():
        starts[number] = end
        end += len(check)
    for step in tree:
        # The offset of a check is known only now.
        steps.append((_GO, 0, 0, starts[step[3]] - len(steps) - 1) if step[0] == _GO else step)
    for check in checks.values():
        steps += check
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _answer_segments(machine: MachineSyscalls, checks: dict[int, list[Step]]) -> list[tuple[int, Step]]:
    """Return the call numbers from 0 as runs with one answer each: the first number of the run, and the answer."""
    answers: dict[int, Step] = dict.fromkeys(machine.allowed.values(), (_RETURN, 0, 0, _ALLOW))
    answers |= dict.fromkeys(machine.answered.values(), _refuse_with(errno.ENOSYS))
    answers |= {number: (_GO, 0, 0, number) for number in checks}
    segments: list[tuple[int, Step]] = []
    for number in range(LAST_KNOWN + 1):
        answer = answers.get(number, _refuse_with(errno.EPERM))
        if not segments or segments[-1][1] != answer:
            segments.append((number, answer))
    # Greater numbers include those of x32, from 0x40000000.
    return [*segments, (LAST_KNOWN + 1, _refuse_with(errno.ENOSYS))]


def _search_tree(segments: Sequence[tuple[int, Step]]) -> list[Step]:
    """Return a binary search over the runs: a call costs eight comparisons instead of three hundred."""
    if len(segments) == 1:
        return [segments[0][1]]
    half = len(segments) // 2
    lower, upper = _search_tree(segments[:half]), _search_tree(segments[half:])
    assert len(lower) < 256, "a jump reaches 255 steps"
    return [(_AT_LEAST, len(lower), 0, segments[half][0]), *lower, *upper]


def _argument_checks(machine: MachineSyscalls) -> dict[int, list[Step]]:
    """Return the checks of arguments by call number."""
    modes = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "mknod": 1, "mknodat": 2, "creat": 1}
    checks: dict[str, Callable[[], list[Step]]] = {
        "socket": _socket_check,
        "socketpair": lambda: _allow_only(0, _FAMILIES[:1], errno.EAFNOSUPPORT),
        "clone": lambda: [_load_argument(0), *_unless_any_bit(_NEW_NAMESPACES)],
        "personality": lambda: _allow_only(0, _PERSONALITIES, errno.EPERM),
        "ioctl": lambda: _all_but(1, _TERMINAL_INPUT, errno.EPERM),
        "open": lambda: _open_check(1),
        "openat": lambda: _open_check(2),
        **{name: _mode_check(argument) for name, argument in modes.items()},
    }
    return {machine.allowed[name]: make() for name, make in checks.items() if name in machine.allowed}


def _socket_check() -> list[Step]:
    allowed = _allow_only(0, _FAMILIES, errno.EAFNOSUPPORT)
    netlink = [_load_argument(2), *_answer_for((_ROUTE,), errno.EPROTONOSUPPORT)]
    return [_load_argument(0), (_EQUAL, 0, len(netlink), _NETLINK), *netlink, *allowed]


def _mode_check(argument: int) -> Callable[[], list[Step]]:
    return lambda: [_load_argument(argument), *_unless_any_bit(_SET_ID_BITS)]


def _open_check(flags: int) -> list[Step]:
    return [
        _load_argument(flags),
        (_ANY_BIT, 1, 0, _CREATES),
        (_RETURN, 0, 0, _ALLOW),
        _load_argument(flags + 1),
        *_unless_any_bit(_SET_ID_BITS),
    ]


def _allow_only(argument: int, values: Sequence[int], otherwise: int) -> list[Step]:
    return [_load_argument(argument), *_answer_for(values, otherwise)]


def _answer_for(values: Sequence[int], otherwise: int) -> list[Step]:
    tests: list[Step] = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [*tests, _refuse_with(otherwise), (_RETURN, 0, 0, _ALLOW)]


def _all_but(argument: int, values: Sequence[int], refused: int) -> list[Step]:
    tests: list[Step] = [(_EQUAL, len(values) - place, 0, value) for place, value in enumerate(values)]
    return [_load_argument(argument), *tests, (_RETURN, 0, 0, _ALLOW), _refuse_with(refused)]


def _unless_any_bit(bits: int) -> list[Step]:
    return [(_ANY_BIT, 0, 1, bits), _refuse_with(errno.EPERM), (_RETURN, 0, 0, _ALLOW)]


def _load_word(offset: int) -> Step:
    return (_LOAD, 0, 0, offset)


def _load_argument(number: int) -> Step:
    """Load the lower half of an argument, which is all that these calls use; both machines are little-endian."""
    return _load_word(16 + 8 * number)


def _refuse_with(code: int) -> Step:
    return (_RETURN, 0, 0, _ERRNO | code)
