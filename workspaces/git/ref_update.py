"""Durable moves of a store's refs: after a crash a ref is at its old or at its new commit."""

from pathlib import Path

from system.fsync import sync_contents, sync_metadata, sync_names


def move_ref(repository: Path, ref: str, new: str) -> None:
    """Point a ref to an object, without a comparison: the caller holds the store's lock for its refs and has compared.

    Raises OSError.
    """
    path = repository / ref
    known = path.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f"{path.name}.lock")  # the name of git's own lock; an existing file was left by a crash
    with lock.open("wb") as file:
        file.write(f"{new}\n".encode())
        file.flush()
        sync_contents(file.fileno())
    sync_metadata(repository)  # git does not sync the names of files that it has fetched or merged
    lock.replace(path)
    sync_names(path, path.parent if known else repository / "refs")
