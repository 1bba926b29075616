"""`meta.json` of a checkpoint: what a git tree cannot hold, in a canonical form, so that equal states give equal ids.

Modes beyond the x bit, empty directories, and the project's gitlinks: those stand here and not in the checkpoint's
tree, so that none is ever in an index (git would enter the repository there, and run what that one configures).
"""

import json
import stat
from dataclasses import dataclass, field

from workspaces.git.tree_codec import EXECUTABLE

PLAIN_FILE = 0o644
PLAIN_EXECUTABLE = 0o755
PLAIN_DIRECTORY = 0o755


def plain_mode(git_mode: int) -> int:
    """The permissions that a file of this mode in git gets unless the meta data says otherwise."""
    return PLAIN_EXECUTABLE if git_mode == EXECUTABLE else PLAIN_FILE


def kept_mode(mode: int) -> int:
    """What is kept of a file's permissions: never setuid, setgid or sticky, and its owner can always read it."""
    return stat.S_IMODE(mode) & 0o777 | 0o400


def is_plain(mode: int) -> bool:
    """Whether git's x bit says all about a file's permissions."""
    return kept_mode(mode) in (PLAIN_FILE, PLAIN_EXECUTABLE)


@dataclass(frozen=True)
class Meta:
    """Permissions by path (files and directories) that are not the plain ones, empty directories, gitlinks by path."""

    modes: dict[str, int] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()
    gitlinks: dict[str, str] = field(default_factory=dict)

    def dump(self) -> bytes:
        """The bytes of `meta.json`."""
        document = {
            "version": 1,
            "modes": {path: f"{mode:04o}" for path, mode in self.modes.items()},
            "empty": sorted(self.empty),
            "gitlinks": self.gitlinks,
        }
        return json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"


def parse_meta(data: bytes | None) -> Meta:
    """Read `meta.json`; nothing is an empty one."""
    if data is None:
        return Meta()
    document = json.loads(data)
    return Meta(
        modes={path: int(mode, 8) for path, mode in document["modes"].items()},
        empty=frozenset(document["empty"]),
        gitlinks=dict(document["gitlinks"]),
    )
