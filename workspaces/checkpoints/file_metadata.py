"""File metadata of a checkpoint (`meta.json`) beyond a git tree, in a canonical form: equal states give equal ids.

Modes beyond the x bit, empty directories, and the project's gitlinks: those stand here and not in the checkpoint's
tree, so that none is ever in an index (git would enter the repository there, and run programs of its configuration).
"""

import json
import stat
from dataclasses import dataclass, field

from workspaces.git.tree_codec import EXECUTABLE

PLAIN_FILE = 0o644
PLAIN_EXECUTABLE = 0o755
PLAIN_DIRECTORY = 0o755


def plain_mode(git_mode: int) -> int:
    """Return the permissions of a file with this mode in git, unless the metadata has others."""
    return PLAIN_EXECUTABLE if git_mode == EXECUTABLE else PLAIN_FILE


def kept_mode(mode: int) -> int:
    """Return the permissions that are kept of a file: never setuid, setgid or sticky, and always readable by its
    owner.
    """
    return stat.S_IMODE(mode) & 0o777 | 0o400


def is_plain(mode: int) -> bool:
    """Whether git's x bit says all about a file's permissions."""
    return kept_mode(mode) in (PLAIN_FILE, PLAIN_EXECUTABLE)


@dataclass(frozen=True)
class FileMetadata:
    """Permissions of files and directories that are not plain, by path; empty directories; gitlinks by path."""

    modes: dict[str, int] = field(default_factory=dict)
    empty: frozenset[str] = frozenset()
    gitlinks: dict[str, str] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the bytes of `meta.json`."""
        document = {
            "version": 1,
            "modes": {path: f"{mode:04o}" for path, mode in self.modes.items()},
            "empty": sorted(self.empty),
            "gitlinks": self.gitlinks,
        }
        return json.dumps(document, sort_keys=True, indent=1).encode() + b"\n"


def parse_metadata(data: bytes | None) -> FileMetadata:
    """Parse `meta.json`; None gives empty metadata."""
    if data is None:
        return FileMetadata()
    document = json.loads(data)
    return FileMetadata(
        modes={path: int(mode, 8) for path, mode in document["modes"].items()},
        empty=frozenset(document["empty"]),
        gitlinks=dict(document["gitlinks"]),
    )
