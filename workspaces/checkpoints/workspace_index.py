"""git's index of a workspace, which makes a scan cheap, with a note of the tree that it was last at."""

from pathlib import Path

from system.safe_directory import clear_away
from workspaces.checkpoints.sandboxed_git import Quarantine


class WorkspaceIndex:
    """The index beside a workspace, and its note (`index.tree`): a tree, and whether a scan has been over it since."""

    def __init__(self, home: Path) -> None:
        self.path = home / "index"
        self._note = home / "index.tree"

    def adopt_index(self, quarantine: Quarantine, tree: str, *, fresh: bool = False) -> None:
        """Take over the index that git made in a quarantine, and empty that; `fresh`: the files were just written."""
        self._note.unlink(missing_ok=True)
        quarantine.index.replace(self.path)
        self._note.write_text(f"{tree} {'fresh' if fresh else 'seen'}")
        clear_away(quarantine.path)

    def read_state(self) -> tuple[str, bool]:
        """Return the tree that the index was last at, and whether it is fresh; ("", False) for a lost index."""
        try:
            tree, state = self._note.read_text().split()
        except (FileNotFoundError, ValueError):
            return "", False
        return (tree, state == "fresh") if self.path.exists() else ("", False)
