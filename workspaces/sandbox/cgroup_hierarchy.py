"""The cgroup file system as this process sees it: where it may make groups, and the limits that hold for it.

Version 1 needs a writable hierarchy only. In version 2 a group with processes cannot have controlled children, so the
worker first moves into a child group, which requires that systemd delegated its group (`Delegate=yes`) or that the
group is a container's own.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

LEAF = "baton-worker"
"""The worker's own group in version 2; `DelegateSubgroup=` of the units names it, too."""


class CgroupsUnavailable(Exception):
    """No groups can be made here; the message has the reason."""


@dataclass(frozen=True)
class CgroupParent:
    """A directory of the cgroup file system in which groups can be made, with the controllers that bound them."""

    path: Path
    version: int
    controllers: frozenset[str]

    def write_limits(self, group: Path, memory: int, processes: int) -> None:
        """Write the limits of a group: memory in bytes, and the number of processes."""
        if "memory" in self.controllers and self.version == 1:
            write_number(group / "memory.limit_in_bytes", memory)
            if (group / "memory.memsw.limit_in_bytes").exists():
                write_number(group / "memory.memsw.limit_in_bytes", memory)
        elif "memory" in self.controllers:
            write_number(group / "memory.max", memory)
            if (group / "memory.swap.max").exists():
                write_number(group / "memory.swap.max", 0)
        if "pids" in self.controllers:
            write_number(group / "pids.max", processes)


def find_parents() -> list[CgroupParent]:
    """Return the directories in which this process can make groups. Raises NoGroups if there are none."""
    own = _own_groups()
    if "memory" in own and "pids" in own:
        found = [
            CgroupParent(own["memory"], 1, frozenset({"memory"})),
            CgroupParent(own["pids"], 1, frozenset({"pids"})),
        ]
        if own["memory"] == own["pids"]:
            found = [CgroupParent(own["memory"], 1, frozenset({"memory", "pids"}))]
        for place in found:
            if not os.access(place.path, os.W_OK):
                raise CgroupsUnavailable(f"{place.path} cannot be written")
        return found
    if "" in own:
        return [CgroupParent(_delegated_group(own[""]), 2, frozenset({"memory", "pids"}))]
    raise CgroupsUnavailable("there are no control groups with the controllers memory and pids")


def memory_of_this_group() -> int | None:
    """Return the smallest memory limit of this process's groups in bytes; None if there is none."""
    try:
        own = _own_groups()
        if "memory" in own:
            limit = read_counters(own["memory"] / "memory.stat").get("hierarchical_memory_limit")
            return limit if limit and limit < 1 << 60 else None
        limits = [read_number(path / "memory.max") for path in [own[""], *own[""].parents]] if "" in own else []
        return min((limit for limit in limits if limit), default=None)
    except (OSError, CgroupsUnavailable):
        return None


def processes_of_this_group() -> int | None:
    """Return the smallest limit on the processes of this process's groups; None if there is none."""
    try:
        own = _own_groups()
        path = own.get("pids") or own.get("")
        limits = [read_number(above / "pids.max") for above in [path, *path.parents]] if path else []
        return min((limit for limit in limits if limit), default=None)
    except (OSError, CgroupsUnavailable):
        return None


def _own_groups(proc: Path = Path("/proc/self")) -> dict[str, Path]:
    """Return the directory of this process's group by controller (version 1); by an empty name that of version 2."""
    mounts: dict[str, tuple[str, str]] = {}
    for line in (proc / "mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        kind, _, options = after.split(" ", 2)
        root, mounted = before.split(" ")[3:5]
        if kind == "cgroup2":
            mounts.setdefault("", (root, mounted))
        elif kind == "cgroup":
            for option in options.split(" ")[-1].split(","):
                mounts.setdefault(option, (root, mounted))
    found: dict[str, Path] = {}
    for line in (proc / "cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            if controller in mounts:
                root, mounted = mounts[controller]
                # A container mounts a subtree: names begin at the root or, with a namespace, at the subtree.
                inside = path.removeprefix(root) if root != "/" and path.startswith(root) else path
                directory = Path(mounted, inside.lstrip("/"))
                if ".." not in directory.parts and directory.is_dir():
                    found[controller] = directory
    return found


def _delegated_group(own: Path) -> Path:
    """Return the group of version 2 in which a worker may make its own; moves this process if that is needed."""
    base = own.parent if own.name == LEAF else own
    if not {"memory", "pids"} <= set(read_words(base / "cgroup.controllers")):
        raise CgroupsUnavailable(f"{base} lacks the controllers memory and pids")
    if not os.access(base, os.W_OK) or not os.access(base / "cgroup.procs", os.W_OK):
        raise CgroupsUnavailable(f"{base} cannot be written; a service may write it with Delegate=yes")
    control = base / "cgroup.subtree_control"
    if {"memory", "pids"} <= set(read_words(control)):
        return base
    top = not (base / "cgroup.type").exists()
    if not top and not _is_ours(base):
        raise CgroupsUnavailable(f"{base} is not delegated to this service (Delegate=yes)")
    if not top:
        leaf = base / LEAF
        leaf.mkdir(exist_ok=True)
        for _ in range(10):
            left = read_words(base / "cgroup.procs")
            for number in left:
                with contextlib.suppress(ProcessLookupError):
                    (leaf / "cgroup.procs").write_text(number)
            if not left:
                break
    control.write_text("+memory +pids")
    return base


def _is_ours(base: Path) -> bool:
    """Whether systemd delegated the group, or it is the topmost one that a container sees."""
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(base, name) == b"1":
                return True
    return not (base.parent / "cgroup.procs").exists()


def write_number(path: Path, value: int) -> None:
    """Write a number into a file of the cgroup file system."""
    path.write_text(str(value))


def read_words(path: Path) -> list[str]:
    """Return the words of a file. Raises OSError."""
    return path.read_text().split()


def read_number(path: Path) -> int:
    """Return the number in a file; 0 if it says `max` or does not exist."""
    try:
        text = path.read_text().strip()
    except OSError:
        return 0
    return int(text) if text.isdigit() else 0


def read_counters(path: Path) -> dict[str, int]:
    """Return the lines `name number` of a file; none if it does not exist."""
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}
