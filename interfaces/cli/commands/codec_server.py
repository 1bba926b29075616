"""The command `codec-server`: decrypts payloads for the Web UI and the `temporal` command."""

import asyncio
from urllib.parse import urlsplit

from baton.errors import ExitCode, UsageError
from baton.settings.encryption_keys import KeyRing
from interfaces.cli.arguments import load_settings
from interfaces.cli.terminal.output import print_json, write_message
from interfaces.cli.terminal.runner import run_body
from workers.codec_server import build_codec_app
from workers.http_server import serve_http


def codec_server(port: int, host: str, web_ui: list[str] | None, as_json: bool) -> None:
    """Serve until Ctrl-C; raises UsageError without encryption keys or without a token."""
    settings = load_settings(service=True)
    ring, token = settings.make_key_ring(), settings.codec_token
    if ring is None:
        raise UsageError("BATON_ENCRYPTION_KEYS is not set: there is nothing to decrypt with.")
    if token is None:
        raise UsageError("BATON_CODEC_TOKEN is not set: without a token anybody could read everything.")
    web_uis = web_ui or ([settings.web_ui] if settings.web_ui else [])
    run_body(_serve_codec(ring, token.get_secret_value(), web_uis, host, port, as_json), terminated=ExitCode.DONE)


async def _serve_codec(ring: KeyRing, token: str, web_uis: list[str], host: str, port: int, as_json: bool) -> None:
    origins = ["{0.scheme}://{0.netloc}".format(urlsplit(url)) for url in web_uis]
    async with serve_http(build_codec_app(ring, token, origins), host, port, "codec server") as url:
        write_message(f"codec server {url}, for pages of {', '.join(origins) or 'no Web UI'}. Ctrl-C stops.")
        if as_json:
            print_json({"url": url, "web_uis": origins})
        await asyncio.Event().wait()
