"""How values and failures become what the Temporal server keeps: pydantic's JSON, encrypted where there are keys."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    EncodingPayloadConverter,
    PayloadCodec,
    PayloadConverter,
)
from temporalio.exceptions import ApplicationError

from baton.errors import ConfigurationError
from baton.settings.encryption_keys import KeyRing
from baton.text.key_masking import Masker
from baton.text.untrusted import mend_json
from workers.encryption import ENCODING, EncryptionCodec, key_of, missing


class _Sealed(EncodingPayloadConverter):
    """Says what is missing where an encrypted payload is read without any key."""

    @property
    def encoding(self) -> str:
        return ENCODING.decode()

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise ConfigurationError(missing(key_of(payload)))


class BatonPayloadConverter(CompositePayloadConverter):
    """Pydantic's converter, and a clear word about payloads that cannot be read."""

    def __init__(self) -> None:
        super().__init__(*PydanticPayloadConverter().converters.values(), _Sealed())


class PlainWords(DefaultFailureConverter):
    """Failures that Baton raises on purpose are one sentence each: a stack trace below would only hide it."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert; without the trace where the error has a sentence of its own."""
        trace = exception.__traceback__
        if isinstance(exception, ApplicationError):
            exception.__traceback__ = None
        try:
            super().to_failure(exception, payload_converter, failure)
        finally:
            exception.__traceback__ = trace


class SealedWords(PlainWords):
    """The same, with message and trace where the codec encrypts them."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)


class MaskingCodec(PayloadCodec):
    """Masks the engine's own secrets in whatever goes to the server or comes from it, whoever has sent it."""

    def __init__(self, masker: Masker, inner: PayloadCodec | None = None) -> None:
        self._masker = masker
        self._inner = inner

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Mask, then encrypt."""
        masked = [self._masked(payload) for payload in payloads]
        return masked if self._inner is None else await self._inner.encode(masked)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt, then mask; what JSON cannot be read for half a surrogate pair is mended."""
        plain = list(payloads) if self._inner is None else await self._inner.decode(payloads)
        return [self._masked(payload, mend=True) for payload in plain]

    def _masked(self, payload: Payload, *, mend: bool = False) -> Payload:
        if not payload.metadata.get("encoding", b"").startswith(b"json/"):
            return payload
        data = self._masker.exact(payload.data)
        data = mend_json(data) if mend and b"\\u" in data else data
        return payload if data == payload.data else Payload(metadata=payload.metadata, data=data)


def masked_client(client: Client, masker: Masker) -> Client:
    """The same connection, with the secrets masked in what comes by it and goes by it."""
    converter = client.data_converter
    config = client.config()
    config["data_converter"] = replace(converter, payload_codec=MaskingCodec(masker, converter.payload_codec))
    return Client(**config)


def data_converter(ring: KeyRing | None, masker: Masker | None = None) -> DataConverter:
    """How a connection turns values into payloads; with keys it encrypts them, and the texts of failures."""
    converter = _converter(ring)
    return replace(converter, payload_codec=MaskingCodec(masker, converter.payload_codec)) if masker else converter


def _converter(ring: KeyRing | None) -> DataConverter:
    plain = replace(
        pydantic_data_converter, payload_converter_class=BatonPayloadConverter, failure_converter_class=PlainWords
    )
    if ring is None:
        return plain
    return replace(plain, payload_codec=EncryptionCodec(ring), failure_converter_class=SealedWords)
