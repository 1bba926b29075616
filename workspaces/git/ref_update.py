"""Moves refs of a store's repositories, durably: after a crash a ref is where it was or where it was to be."""

from pathlib import Path

from system.fsync import settle, settle_all, sync_names


def move_ref(repository: Path, ref: str, new: str) -> None:
    """Let a ref point to an object, whatever it points to now. For whoever holds the store's lock for its refs.

    Raises OSError.
    """
    path = repository / ref
    known = path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")  # git's own; one that is here was left by a crash
    with lock.open("wb") as file:
        file.write(f"{new}\n".encode())
        file.flush()
        settle(file.fileno())
    settle_all(repository)  # git gives names to what it has fetched or merged, and does not sync those
    lock.replace(path)
    sync_names(path, path.parent if known else repository / "refs")
