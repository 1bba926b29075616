"""The memory and processes that a command uses, read from /proc on machines without control groups."""

import os
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")
_FRESH_SECONDS = 0.05


@dataclass(frozen=True)
class ProcessUsage:
    """The present use of a command."""

    pids: tuple[int, ...]
    processes: int
    """Processes and threads."""
    memory: int
    """Bytes of anonymous memory; pages that processes share by fork count for each of them."""


_lock = threading.Lock()
_table: tuple[float, dict[int, tuple[int, int, int]]] = (0.0, {})


def use_of(pid: int) -> ProcessUsage:
    """Return the use of a process, its descendants and all other processes of its session."""
    table = _read_processes()
    children: dict[int, list[int]] = {}
    for number, (parent, _session, _threads) in table.items():
        children.setdefault(parent, []).append(number)
    found: set[int] = set()
    waiting = [pid, *(number for number, (_, session, _) in table.items() if session == pid)]
    while waiting:
        number = waiting.pop()
        if number not in found and number in table:
            found.add(number)
            waiting += children.get(number, [])
    threads = sum(table[number][2] for number in found)
    return ProcessUsage(tuple(found), threads, sum(_own_memory(number) for number in found))


def shared_once(pids: Collection[int]) -> int:
    """Return the memory of processes with shared pages counted once; exact, and slow for large processes."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        except OSError:
            total += _own_memory(pid)
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss_Anon:"))
    return total


def _own_memory(pid: int) -> int:
    try:
        _, resident, shared = Path(f"/proc/{pid}/statm").read_text().split()[:3]
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _read_processes() -> dict[int, tuple[int, int, int]]:
    """Return parent, session and number of threads of every process; cached for calls within 50 ms."""
    global _table
    with _lock:
        if time.monotonic() - _table[0] > _FRESH_SECONDS:
            table = {}
            for name in os.listdir("/proc"):
                if name.isdigit():
                    try:
                        fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
                    except OSError:
                        continue
                    table[int(name)] = (int(fields[1]), int(fields[3]), int(fields[17]))
            _table = (time.monotonic(), table)
        return _table[1]
