"""How values and failures become what the Temporal server keeps: pydantic's JSON, encrypted where there are keys."""

from dataclasses import replace
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultFailureConverter,
    EncodingPayloadConverter,
    PayloadConverter,
)
from temporalio.exceptions import ApplicationError

from baton.errors import ConfigurationError
from baton.keyring import KeyRing
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


def data_converter(ring: KeyRing | None) -> DataConverter:
    """How a connection turns values into payloads; with keys it encrypts them, and the texts of failures."""
    plain = replace(
        pydantic_data_converter, payload_converter_class=BatonPayloadConverter, failure_converter_class=PlainWords
    )
    if ring is None:
        return plain
    return replace(plain, payload_codec=EncryptionCodec(ring), failure_converter_class=SealedWords)
