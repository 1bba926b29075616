"""The keys that encrypt payloads, parsed from a setting: the first encrypts, all of them decrypt."""

import base64
import binascii
import re
from dataclasses import dataclass

from baton.errors import ConfigurationError

KEY_BYTES = 32
"""AES-256."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_REMEDY = "make one with: openssl rand -base64 32"


@dataclass(frozen=True)
class KeyRing:
    """Keys by their ids. The current one encrypts new payloads; each payload names the key that decrypts it."""

    current: str
    keys: dict[str, bytes]

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(self.keys)})"

    @classmethod
    def parse_keys(cls, text: str) -> "KeyRing":
        """Parse keys as `ID:BASE64`, one a line or separated by commas; the first is current. `#` begins a comment.

        Raises ConfigurationError, which never repeats a key.
        """
        keys: dict[str, bytes] = {}
        lines = [line.partition("#")[0] for line in text.splitlines()]
        for number, entry in enumerate((part.strip() for line in lines for part in line.split(",")), start=1):
            if not entry:
                continue
            name, separator, encoded = entry.partition(":")
            if not separator or not _ID.fullmatch(name):
                raise ConfigurationError(f"Encryption key {number} is invalid: write ID:BASE64 ({_REMEDY}).")
            if name in keys:
                raise ConfigurationError(f"There are two encryption keys with the id {name}.")
            keys[name] = _decode_key(name, encoded.strip())
        if not keys:
            raise ConfigurationError(f"BATON_ENCRYPTION_KEYS holds no key: write ID:BASE64 ({_REMEDY}).")
        return cls(next(iter(keys)), keys)


def _decode_key(name: str, encoded: str) -> bytes:
    try:
        key = base64.b64decode(encoded.replace("-", "+").replace("_", "/"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ConfigurationError(f"The encryption key {name} is not base64 ({_REMEDY}).") from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"The encryption key {name} has {len(key)} bytes instead of {KEY_BYTES} ({_REMEDY}).")
    return key
