"""Packs of git with the objects of one step: two files in place of one for each object, merged when they are many.

Making a file costs more than what a small object has in it, and most in a directory of its own. Entries are whole
objects, never deltas, so that packs are merged by copying. https://git-scm.com/docs/gitformat-pack
"""

import hashlib
import os
import secrets
import struct
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from system.fsync import settle, sync_files, sync_names
from workspaces.git.file_lock import held_if_free

MANY = 16
"""Packs from which on they are merged: whoever looks for an object may have to look into each of them."""
_LARGEST_MERGED = 16 << 20
"""Bytes of a pack that is still copied into another."""
_LARGEST_MERGE = 64 << 20
"""Bytes that one merge copies, in memory."""

_PACK = struct.Struct(">4sII")
_INDEX_HEAD = b"\377tOc\0\0\0\2"
_FANOUT = struct.Struct(">256I")
_KINDS = frozenset({1, 2, 3, 4})
"""Commit, tree, blob and tag; 6 and 7 are deltas."""
_LARGE_OFFSET = 1 << 31


class Pack:
    """Objects that are going to be one pack; until then they are in memory only."""

    def __init__(self) -> None:
        self._entries: dict[str, bytes] = {}
        self.size = 0
        """Bytes it is going to have, roughly."""

    def __contains__(self, oid: object) -> bool:
        return oid in self._entries

    def __bool__(self) -> bool:
        return bool(self._entries)

    def add(self, kind: int, oid: str, data: bytes) -> None:
        """Take in an object under its id."""
        if oid not in self._entries:
            entry = self._entries[oid] = _head(kind, len(data)) + zlib.compress(data, 1)
            self.size += len(entry)

    def get(self, oid: str) -> tuple[int, bytes] | None:
        """Kind and bytes of an object; None where it is not in here."""
        entry = self._entries.get(oid)
        if entry is None:
            return None
        start = next(at for at, byte in enumerate(entry) if not byte & 0x80) + 1
        return entry[0] >> 4 & 7, zlib.decompress(entry[start:])

    def write(self, directory: Path) -> tuple[Path, Path]:
        """Make the pack and its index in `objects/pack`, for a commit to sync, and be empty then. Raises OSError."""
        made = _write(directory, self._entries)
        self._entries, self.size = {}, 0
        return made


def gc_lock(repository: Path) -> Path:
    """The lock for whoever removes packs of a store's repository."""
    return repository.parent / "gc.lock"


def merge(repository: Path) -> None:
    """Bring small packs together where there are many, durably; nothing is done while another does so.

    A pack goes only into one that is at least half as large again, so that an object is copied a few times in all. One
    with deltas, or one that is damaged, stays as it is. Raises OSError.
    """
    directory = repository / "objects/pack"
    with held_if_free(gc_lock(repository)) as free:
        if not free:
            return
        entries: dict[str, bytes] = {}
        merged = []
        for pack in _small(directory):
            found = _read(pack)
            if found is not None:
                entries |= found
                merged.append(pack)
        if len(merged) < 2:
            return
        newest = max(pack.stat().st_mtime for pack in merged)
        made = _write(directory, entries)
        for path in made:  # as old as what is in it: for `baton gc`, old garbage must not get young again
            os.utime(path, (newest, newest))
        sync_files(made, directory)
        sync_names(directory, directory)
        for pack in merged:
            # A reader that has the index open and finds no pack looks for the object again.
            pack.with_suffix(".idx").unlink(missing_ok=True)
            pack.unlink(missing_ok=True)


def _small(directory: Path) -> list[Path]:
    """Which packs to merge, where there are many: the smaller half, and more, up to one that is too large for them."""
    found = []
    for entry in os.scandir(directory):
        if entry.name.startswith("pack-") and entry.name.endswith(".pack"):
            with suppress(FileNotFoundError):
                found.append((entry.stat().st_size, Path(entry.path)))
    packs = sorted((size, path) for size, path in found if size <= _LARGEST_MERGED)
    if len(packs) < MANY:
        return []
    count = total = 0
    while count < len(packs) and (total := total + packs[count][0]) <= _LARGEST_MERGE:
        count += 1
    while count > len(packs) // 2 and packs[count - 1][0] >= 2 * sum(size for size, _ in packs[: count - 1]):
        count -= 1
    return [path for _, path in packs[:count]]


def _head(kind: int, size: int) -> bytes:
    """Kind and size as a pack has them before the deflated bytes: four bits of the size first, then seven at a time."""
    byte, size = kind << 4 | size & 0x0F, size >> 4
    head = bytearray()
    while size:
        head.append(byte | 0x80)
        byte, size = size & 0x7F, size >> 7
    head.append(byte)
    return bytes(head)


def _write(directory: Path, entries: Mapping[str, bytes]) -> tuple[Path, Path]:
    offsets: dict[str, int] = {}
    at = _PACK.size
    for oid, entry in entries.items():
        offsets[oid] = at
        at += len(entry)
    if at >= _LARGE_OFFSET:
        raise ValueError(f"{at} bytes are too many for one pack")
    pack = [_PACK.pack(b"PACK", 2, len(entries)), *entries.values()]
    digest = _digest(pack)
    ordered = sorted(entries)
    firsts = [0] * 256
    for oid in ordered:
        firsts[int(oid[:2], 16)] += 1
    for before, here in pairwise(range(256)):
        firsts[here] += firsts[before]
    count = f">{len(ordered)}I"
    index = [
        _INDEX_HEAD,
        _FANOUT.pack(*firsts),
        bytes.fromhex("".join(ordered)),
        struct.pack(count, *(zlib.crc32(entries[oid]) for oid in ordered)),
        struct.pack(count, *(offsets[oid] for oid in ordered)),
        digest,
    ]
    # Never a name that was there before: a `git repack` at work removes by name what it has looked at under it.
    name = f"pack-{secrets.token_hex(20)}"
    made = directory / f"{name}.pack", directory / f"{name}.idx"
    _place(directory, {made[0]: [*pack, digest], made[1]: [*index, _digest(index)]})
    return made


def _place(directory: Path, files: Mapping[Path, Iterable[bytes]]) -> None:
    """Write files under other names, and name them in this order: git counts a pack as there with its index."""
    mark = f"{os.getpid()}_{secrets.token_hex(6)}"
    written: list[Path] = []
    try:
        for number, pieces in enumerate(files.values()):
            beside = directory / f"tmp_pack_{mark}_{number}"
            with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444), "wb") as file:
                written.append(beside)
                file.writelines(pieces)
                file.flush()
                settle(file.fileno())
        for path, beside in zip(files, written, strict=True):
            beside.rename(path)
    except BaseException:  # whatever it was, nothing that is half written stays
        for beside in written:
            with suppress(OSError):  # the reason why it failed is what counts
                beside.unlink(missing_ok=True)
        raise


def _read(pack: Path) -> dict[str, bytes] | None:
    """The entries of a pack as they are; None where it has deltas, or is not what its index says."""
    try:
        index, data = pack.with_suffix(".idx").read_bytes(), pack.read_bytes()
    except FileNotFoundError:
        return None
    start = len(_INDEX_HEAD) + _FANOUT.size
    if not index.startswith(_INDEX_HEAD) or len(index) < start + 40 or data[-20:] != index[-40:-20]:
        return None
    count = int.from_bytes(index[start - 4 : start])
    if len(index) != start + count * 28 + 40:  # also where offsets are large
        return None
    crcs = struct.unpack_from(f">{count}I", index, start + count * 20)
    offsets = struct.unpack_from(f">{count}I", index, start + count * 24)
    oids = [index[start + number * 20 : start + number * 20 + 20].hex() for number in range(count)]
    ordered = sorted(zip(offsets, crcs, oids, strict=True))
    found = {}
    for (offset, crc, oid), (end, _, _) in pairwise([*ordered, (len(data) - 20, 0, "")]):
        entry = data[offset:end]
        if not entry or zlib.crc32(entry) != crc or entry[0] >> 4 & 7 not in _KINDS:
            return None
        found[oid] = entry
    return found


def _digest(pieces: Iterable[bytes]) -> bytes:
    digest = hashlib.sha1(usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()
