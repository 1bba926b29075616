"""The data converter: values and failures as payloads in pydantic's JSON, masked, and encrypted where keys are set."""

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
from baton.text.key_masker import KeyMasker
from baton.text.untrusted import repair_json
from workers.encryption import ENCODING, EncryptionCodec, describe_missing_key, read_key_id


class _EncryptedPayloadConverter(EncodingPayloadConverter):
    """Converter of encrypted payloads on a connection without keys: it raises ConfigurationError with the key's id."""

    @property
    def encoding(self) -> str:
        return ENCODING.decode()

    def to_payload(self, value: Any) -> Payload | None:
        return None

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        raise ConfigurationError(describe_missing_key(read_key_id(payload)))


class BatonPayloadConverter(CompositePayloadConverter):
    """Pydantic's converter, with an error that names the missing key for an encrypted payload."""

    def __init__(self) -> None:
        super().__init__(*PydanticPayloadConverter().converters.values(), _EncryptedPayloadConverter())


class PlainFailureConverter(DefaultFailureConverter):
    """Failure converter that drops the stack trace of an ApplicationError: its message is one sentence for people."""

    def to_failure(self, exception: BaseException, payload_converter: PayloadConverter, failure: Failure) -> None:
        """Convert an exception to a failure, without the trace of an ApplicationError."""
        trace = exception.__traceback__
        if isinstance(exception, ApplicationError):
            exception.__traceback__ = None
        try:
            super().to_failure(exception, payload_converter, failure)
        finally:
            exception.__traceback__ = trace


class EncryptedFailureConverter(PlainFailureConverter):
    """The same, with message and trace in an attribute that the codec encrypts."""

    def __init__(self) -> None:
        super().__init__(encode_common_attributes=True)


class MaskingCodec(PayloadCodec):
    """Codec that masks the engine's own secrets in all payloads to and from the server, also in those of others."""

    def __init__(self, masker: KeyMasker, inner: PayloadCodec | None = None) -> None:
        self._masker = masker
        self._inner = inner

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Mask, then encrypt."""
        masked = [self._mask_payload(payload) for payload in payloads]
        return masked if self._inner is None else await self._inner.encode(masked)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Decrypt, then mask; replace lone surrogates, which pydantic's JSON parser refuses."""
        plain = list(payloads) if self._inner is None else await self._inner.decode(payloads)
        return [self._mask_payload(payload, repair=True) for payload in plain]

    def _mask_payload(self, payload: Payload, *, repair: bool = False) -> Payload:
        if not payload.metadata.get("encoding", b"").startswith(b"json/"):
            return payload
        data = self._masker.mask_bytes(payload.data)
        data = repair_json(data) if repair and b"\\u" in data else data
        return payload if data == payload.data else Payload(metadata=payload.metadata, data=data)


def mask_client(client: Client, masker: KeyMasker) -> Client:
    """Return a client of the same connection whose payloads are masked in both directions."""
    converter = client.data_converter
    config = client.config()
    config["data_converter"] = replace(converter, payload_codec=MaskingCodec(masker, converter.payload_codec))
    return Client(**config)


def make_data_converter(ring: KeyRing | None, masker: KeyMasker | None = None) -> DataConverter:
    """Return the data converter of a connection; with keys it encrypts payloads and the texts of failures."""
    converter = _unmasked_converter(ring)
    return replace(converter, payload_codec=MaskingCodec(masker, converter.payload_codec)) if masker else converter


def _unmasked_converter(ring: KeyRing | None) -> DataConverter:
    plain = replace(
        pydantic_data_converter,
        payload_converter_class=BatonPayloadConverter,
        failure_converter_class=PlainFailureConverter,
    )
    if ring is None:
        return plain
    return replace(plain, payload_codec=EncryptionCodec(ring), failure_converter_class=EncryptedFailureConverter)
