"""What the tests of faults share: the nursery of workers, a template repository, scenes."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from baton.records.run import RunStatus
from standin.script.scenario import Scenario
from tests.faults.scene import FaultScene, new_namespace, scene, script
from tests.support.forked import ForkServer, fork_server
from tests.support.repositories import CHECK, make_repository
from workers.temporal_service import TemporalService

Scenes = Callable[..., AbstractAsyncContextManager[FaultScene]]


@pytest.fixture(scope="session")
def workers(clean_environment: None) -> ForkServer:
    """The nursery of this test process."""
    return fork_server()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The target repository that every scene gets a copy of; its tests last long enough to be killed in the middle."""
    return make_repository(tmp_path_factory.mktemp("template") / "shop", {"check.sh": f"sleep 0.1\n{CHECK}"})


@pytest.fixture
def scenes(service: TemporalService, workers: ForkServer, template: Path, tmp_path: Path) -> Scenes:
    """`async with scenes("name", scenario) as scene`: a run of its own, of which many can go on side by side."""

    @asynccontextmanager
    async def open_scene(name: str, played: Scenario, **environment: str) -> AsyncIterator[FaultScene]:
        client = await new_namespace(service.address)
        async with scene(client, service.address, workers, template, tmp_path / name, played, **environment) as opened:
            yield opened

    return open_scene


@pytest_asyncio.fixture(scope="session")
async def tree(
    service: TemporalService, workers: ForkServer, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The tree that an undisturbed run publishes."""
    client, place = await new_namespace(service.address), tmp_path_factory.mktemp("undisturbed")
    async with scene(client, service.address, workers, template, place / "run", script()) as calm:
        handle = await calm.start_run()
        await calm.worker()
        document = await calm.wait_for_document(handle)
        assert document.status is RunStatus.DONE, document
        assert not calm.repeated_requests()
        return calm.tree(document)
