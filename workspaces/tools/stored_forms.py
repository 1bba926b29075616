"""Pointers and ciphertext that a git filter has stored instead of a file's content, recognised for agents.

It is a hint only: the author of a file can imitate such a form, so no decision depends on it.
"""

import os

from workspaces.tools.inputs import ToolFault
from workspaces.tools.paths import WorkspacePaths

_HEAD = 4096
_STARTS = (
    (
        b"version https://git-lfs.github.com/spec/v1",
        "a Git LFS pointer: the file's real content is elsewhere and cannot be read here",
    ),
    (b"\0GITCRYPT\0", "ciphertext of git-crypt: its plain text cannot be read here"),
    (b"U2FsdGVkX1", "ciphertext (OpenSSL, as transcrypt makes it): its plain text cannot be read here"),
    (b"age-encryption.org/v1", "ciphertext of age: its plain text cannot be read here"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "ciphertext of age: its plain text cannot be read here"),
    (b"$ANSIBLE_VAULT;", "ciphertext of Ansible Vault: its plain text cannot be read here"),
)
_SOPS = b"ENC[AES256_GCM,"


def recognise_content(head: bytes) -> str:
    """Return a description of the stored form by the first bytes of a file; empty for ordinary content."""
    head = head.removeprefix(b"\xef\xbb\xbf")
    for start, words in _STARTS:
        if head.startswith(start):
            return words
    return "ciphertext of sops: its plain text cannot be read here" if _SOPS in head else ""


def recognise_file(inside: WorkspacePaths, path: str) -> str:
    """Return the description for a file of a workspace; empty if it is no plain file."""
    try:
        place = inside.find_path(path)
        inside.plain_file(place, "Read")
        descriptor = os.open(place.target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ToolFault, ValueError):
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return recognise_content(file.read(_HEAD))
