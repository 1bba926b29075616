"""Errors of a full disk."""

import errno


def is_disk_full(error: BaseException | None) -> bool:
    """Whether an error says that the disk, or the account's quota of it, has no space left."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
