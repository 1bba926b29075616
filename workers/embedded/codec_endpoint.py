"""The address of the codec server for the embedded server's Web UI: a port and a secret path, kept over restarts."""

import os
import secrets
from dataclasses import dataclass

from baton.settings.core import Settings
from system.ports import free_port
from workers.embedded.server_files import ServerFiles


@dataclass(frozen=True)
class CodecEndpoint:
    """Port, token and keys of the codec server of an embedded server."""

    port: int
    token: str
    keys: str

    @property
    def url(self) -> str:
        """The URL for the Web UI. The token in its path is the credential."""
        return f"http://127.0.0.1:{self.port}/{self.token}"

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the codec server's process."""
        return {"BATON_ENCRYPTION_KEYS": self.keys, "BATON_CODEC_TOKEN": self.token}


def make_codec_endpoint(files: ServerFiles, settings: Settings) -> CodecEndpoint | None:
    """Return the endpoint for a server that is about to start; None where encryption is off."""
    if settings.encryption_keys is None:
        return None
    port, token = _read_last(files)
    port = free_port(port)
    if settings.codec_token is not None:
        token = settings.codec_token.get_secret_value()
    descriptor = os.open(files.codec, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{port} {token}\n")
    return CodecEndpoint(port, token, settings.encryption_keys.get_secret_value())


def _read_last(files: ServerFiles) -> tuple[int, str]:
    try:
        port, token = files.codec.read_text().split()
        return int(port), token
    except (OSError, ValueError):
        return 0, secrets.token_urlsafe(24)
