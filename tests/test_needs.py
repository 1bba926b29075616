"""The markers of tests: derived from fixtures, and a test without `server` is refused a server."""

import re
from pathlib import Path

import pytest

from baton.settings.core import Settings
from tests.support.forked import fork_server, inherited_environment
from tests.support.needs import NEEDS_BY_FIXTURE, ORDER
from tests.support.server_guard import ServerRefused
from workers.embedded.server import use_embedded_server

TESTS = Path(__file__).parent


async def test_a_test_without_the_marker_starts_no_server(settings: Settings) -> None:
    with pytest.raises(ServerRefused):
        async with use_embedded_server(settings):
            pass


async def test_nor_does_a_command_that_it_calls(tmp_path: Path) -> None:
    command = await fork_server().start_piped(
        inherited_environment(BATON_HOME=str(tmp_path / "home")), tmp_path, be="baton", arguments=["up"]
    )
    _, said = await command.communicate()
    assert command.returncode != 0
    assert "mark it with pytest.mark.server" in said.decode()


def test_the_table_names_fixtures_and_markers(pytestconfig: pytest.Config) -> None:
    fixtures = {
        name
        for file in TESTS.rglob("*.py")
        for name in re.findall(r"fixture\b.*\n(?:async )?def (\w+)\(", file.read_text())
    }
    assert NEEDS_BY_FIXTURE.keys() <= fixtures
    markers = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    assert {marker for needs in NEEDS_BY_FIXTURE.values() for marker in needs} | set(ORDER) <= markers


def test_the_makefile_chooses_by_markers_that_exist(pytestconfig: pytest.Config) -> None:
    markers = {line.partition(":")[0] for line in pytestconfig.getini("markers")}
    chosen = re.findall(r"^[A-Z_]+ := (\w+(?: or \w+)+)$", (TESTS.parent / "Makefile").read_text(), re.MULTILINE)
    assert chosen
    assert {word for line in chosen for word in line.split(" or ")} <= markers


def test_a_test_with_a_server_carries_the_marker(request: pytest.FixtureRequest) -> None:
    items = [item for item in request.session.items if "service" in getattr(item, "fixturenames", ())]
    assert all(item.get_closest_marker("server") for item in items)
