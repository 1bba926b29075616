"""Objects that a power cut left half-written: read, they are an error, and never a loop without end."""

import os
from pathlib import Path

import pytest

from baton.errors import WorkspaceError
from tests.workspaces.conftest import AT, Lab, apart
from workspaces.git.loose_objects import DamagedObject, object_directories, read_loose, require_whole
from workspaces.git.object_database import ObjectDatabase
from workspaces.store.store import Store


@pytest.mark.parametrize("data", [b"", b"short\n", os.urandom(70_000)])
def test_whole_objects_are_read_as_git_has_them(lab: Lab, data: bytes) -> None:
    oid = lab.store.objects.write_blob(data)
    found = read_loose(object_directories(lab.store.path), oid)
    assert found == lab.store.objects.repo.read(oid)
    assert read_loose(object_directories(lab.store.path), "0" * 40) is None


@pytest.mark.parametrize("kept", [0, 1, 5, 0.5, -1])
@pytest.mark.parametrize("path", ["meta.json", "workspace", ""])
async def test_a_truncated_object_is_an_error_that_says_what_to_do(lab: Lab, path: str, kept: float) -> None:
    await apart(lab.store.path)
    objects = lab.store.objects
    entry = objects.find_entry(objects.tree_of(lab.checkpoint), path)
    assert entry is not None
    oids = [entry.oid, lab.checkpoint]
    for oid in oids:
        for repository in (lab.store.path, lab.store.source_path):
            file = repository / "objects" / oid[:2] / oid[2:]
            if file.exists():
                file.chmod(0o600)
                size = file.stat().st_size
                os.truncate(file, int(size * kept) if 0 < kept < 1 else size - 1 if kept < 0 else int(kept))
    store = await Store.open(lab.home, lab.store.repo)
    fresh = ObjectDatabase(store.path)
    for oid in oids:
        if not (store.path / "objects" / oid[:2] / oid[2:]).exists():
            continue
        with pytest.raises(DamagedObject, match="doctor --store --repair"):
            fresh.read_object(oid)
        with pytest.raises(DamagedObject):
            require_whole(store.path, oid)
    with pytest.raises(WorkspaceError, match="is damaged"):
        await store.read_file(lab.checkpoint, "meta.json")
    with pytest.raises(WorkspaceError, match="is damaged"):
        await store.commit_files(lab.lane.ref, expected=lab.checkpoint, files={"a": b"1"}, message="m", at=AT)


def test_borrowed_objects_are_found(lab: Lab, tmp_path: Path) -> None:
    blob = lab.store.source.write_blob(b"in the other repository")
    assert ObjectDatabase(lab.store.path).read_object(blob)[1] == b"in the other repository"
