"""The engine's own services are known, wherever they are said to be."""

import pytest

from baton.settings.core import read_settings
from workers.embedded.server import use_embedded_server
from workers.embedded.server_files import ServerFiles
from workers.engine_ports import read_engine_services

pytestmark = pytest.mark.server


async def test_a_running_server_and_what_the_settings_name(tmp_path_factory, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.example.org:7233")
    settings = read_settings(
        home=tmp_path_factory.mktemp("home"),
        metrics_address="127.0.0.1:9464",
        github_webhook_port=8091,
        base_url="http://localhost:4000",
        web_ui="https://ui.example.org",
    )
    assert read_engine_services(settings).ports == {9464, 8091, 4000}
    async with use_embedded_server(settings) as server:
        (ServerFiles.open_home(settings.home).codec).write_text("4321 a-token")
        found = read_engine_services(settings)
    own = {int(place.rpartition(":")[2]) for place in (server.address, server.web_ui)}
    assert found.ports == {9464, 8091, 4000, 4321, *own}
    assert {("temporal.example.org", 7233), ("ui.example.org", 443)} <= found.places
