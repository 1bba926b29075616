"""Counts what a patch changes, file by file. Pure."""

from dataclasses import dataclass


@dataclass
class FileChange:
    """One file of a patch."""

    path: str
    added: int = 0
    removed: int = 0

    def as_json(self) -> dict[str, str | int]:
        """For `--json`."""
        return {"path": self.path, "added": self.added, "removed": self.removed}


def statistics(patch: str) -> list[FileChange]:
    """Files of a patch as `git diff` writes it, with the lines added and removed."""
    files: list[FileChange] = []
    in_hunk = False
    for line in patch.split("\n"):
        if line.startswith("diff --git "):
            files.append(FileChange(line.removeprefix("diff --git ").rpartition(" b/")[2]))
            in_hunk = False
        elif line.startswith("@@ "):
            in_hunk = True
        elif in_hunk and line.startswith("+"):
            files[-1].added += 1
        elif in_hunk and line.startswith("-"):
            files[-1].removed += 1
    return files
