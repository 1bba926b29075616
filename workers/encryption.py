"""The encryption codec: AES-GCM for every payload that goes to the Temporal server, under a key with an id.

Search attributes, workflow ids and the names of types and queues stay readable, for the server searches by them.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadCodec

from baton.errors import ConfigurationError
from baton.settings.encryption_keys import KeyRing

ENCODING = b"binary/encrypted"
_KEY_ID = "encryption-key-id"
_NONCE = 12
"""Bytes, random for each payload (8.2.2 of https://doi.org/10.6028/NIST.SP.800-38D)."""


class EncryptionCodec(PayloadCodec):
    """Codec that encrypts with the current key, and decrypts with the key that a payload names.

    A payload that is not encrypted is passed on as it is: an answer from a Web UI without a codec server is accepted,
    and payloads from before encryption was switched on stay readable.
    """

    def __init__(self, ring: KeyRing) -> None:
        self._current = ring.current
        self._ciphers = {name: AESGCM(key) for name, key in ring.keys.items()}

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Encrypt the payloads that are not encrypted yet."""
        return [payload if is_encrypted(payload) else self._encrypt(payload) for payload in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt; raises ConfigurationError if the key is missing, or is another one of the same id."""
        return [self._decrypt(payload) if is_encrypted(payload) else payload for payload in payloads]

    def _encrypt(self, payload: Payload) -> Payload:
        nonce = os.urandom(_NONCE)
        name = self._current.encode()
        sealed = self._ciphers[self._current].encrypt(nonce, payload.SerializeToString(), name)
        return Payload(metadata={"encoding": ENCODING, _KEY_ID: name}, data=nonce + sealed)

    def _decrypt(self, payload: Payload) -> Payload:
        name = read_key_id(payload)
        cipher = self._ciphers.get(name)
        if cipher is None:
            raise ConfigurationError(describe_missing_key(name))
        try:
            plain = cipher.decrypt(payload.data[:_NONCE], payload.data[_NONCE:], name.encode())
        except (InvalidTag, ValueError) as error:
            raise ConfigurationError(
                f"This was encrypted with another key than the one that is configured as {name}, or was changed since."
            ) from error
        return Payload.FromString(plain)


def is_encrypted(payload: Payload) -> bool:
    """Whether this codec encrypted a payload."""
    return payload.metadata.get("encoding") == ENCODING


def read_key_id(payload: Payload) -> str:
    """Return the id of the key that a payload was encrypted with."""
    return payload.metadata.get(_KEY_ID, b"").decode(errors="replace")[:64]


def describe_missing_key(name: str) -> str:
    """Return the sentence about a key that is not configured."""
    return (
        f"This was encrypted with the key {name!r}, which is not among the keys that are configured: add it to"
        " BATON_ENCRYPTION_KEYS."
    )
