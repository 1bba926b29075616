"""What every test may use: a real Temporal server per test process, a connected client, unique names, patience."""

import asyncio
import contextlib
import inspect
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from baton.settings.core import Settings, read_settings
from tests.support.forked import fork_server
from tests.support.needs import has_need, mark_needs, rank_by_length
from tests.support.patient_client import make_patient, repeat
from tests.support.server_guard import refused_servers
from tests.support.strays import running_processes, strays_that_stay
from tests.support.time_limits import HANGS as HANGS  # most tests import it from here
from tests.support.unreaped import wait_for_unreaped
from workers.embedded.server import server_at
from workers.temporal_service import TemporalService, connect_service

FOREIGN = ("BATON_", "TEMPORAL_", "ANTHROPIC_", "OTEL_")
"""Settings of the person who runs the tests; no test may depend on them."""


# A shell starts processes in the background with SIGINT ignored, nohup with SIGHUP, and that is inherited: commands
# that the tests start would not hear theirs. https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the long tests are: `pytest -m soak --soak-runs 200`."""
    parser.addoption("--soak-runs", type=int, default=50, help="runs with random faults, of the tests marked soak")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their needs, leave out `soak` and `image` unless `-m` names them, and order the rest."""
    for item in items:
        mark_needs(item)
    off = [name for name in ("soak", "image") if name not in config.getoption("markexpr")]
    left_out = [item for item in items if has_need(item, *off)]
    if left_out:
        items[:] = [item for item in items if item not in set(left_out)]
        config.hook.pytest_deselected(items=left_out)
    for item in items:
        if has_need(item, "install"):  # its session fixtures take long: one process makes them
            item.add_marker(pytest.mark.xdist_group(item.path.as_posix()))
    items[:] = spread(items)


def spread(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the tests with those that wait spread evenly among those that compute, to fill the processors."""
    ranks = {item: rank_by_length(item) for item in items}
    last = max(ranks.values(), default=0)
    waiting = sorted((item for item in items if ranks[item] < last), key=ranks.__getitem__)
    computing = [item for item in items if ranks[item] == last]
    order = [((number + 0.5) / len(kind), item) for kind in (waiting, computing) for number, item in enumerate(kind)]
    return [item for _, item in sorted(order, key=lambda pair: pair[0])]


@pytest.fixture(scope="session", autouse=True)
def clean_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests start from no settings at all, with a home of their own and no Temporal profile."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(FOREIGN):
                patch.delenv(name)
        empty = tmp_path_factory.mktemp("settings")
        (empty / "temporal.toml").touch()
        patch.setenv("TEMPORAL_CONFIG_FILE", str(empty / "temporal.toml"))
        patch.setenv("BATON_HOME", str(empty / "home"))
        yield
        # All that belongs to this test process has been taken down by now, but for the processes that it forks from.
        if fork_server.cache_info().currsize:
            fork_server().close()
        left = strays_that_stay(tmp_path_factory.getbasetemp(), running_processes(), within=HANGS)
        assert not left, f"these processes outlived the tests: {left}"
        unreaped = wait_for_unreaped(within=HANGS)
        assert not unreaped, f"these processes were never waited for, and still run: {unreaped}"


@pytest.fixture(autouse=True)
def no_strays(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a process behind.

    First of all fixtures of a test, so that it is finished last. Only a test with a directory of its own is looked at;
    what others leave is found when all tests have run.
    """
    before = running_processes()
    yield
    directory = (request.node.funcargs or {}).get("tmp_path")  # none where the test was interrupted before it began
    if directory is not None and (new := running_processes() - before):
        left = strays_that_stay(directory, new, within=HANGS)
        assert not left, f"the test left these processes behind: {left}"


@pytest.fixture(autouse=True)
def server_guard(request: pytest.FixtureRequest) -> Iterator[None]:
    """Refuse a Temporal server to a test without the marker `server`."""
    with contextlib.nullcontext() if has_need(request.node, "server") else refused_servers():
        yield


def server_environment(address: str) -> dict[str, str]:
    """The variables by which another process gets in at a server that this one uses."""
    server = server_at(address)
    return server.environment if server else {"TEMPORAL_ADDRESS": address}


@pytest_asyncio.fixture(scope="session")
async def service(tmp_path_factory: pytest.TempPathFactory, clean_environment: None) -> AsyncIterator[TemporalService]:
    """A real Temporal server for this test process, in a directory of its own, on free ports."""
    settings = read_settings(home=tmp_path_factory.mktemp("server"))
    async with connect_service(settings) as running:
        yield running


async def end_open_workflows(client: Client) -> None:
    """Terminate every workflow that is open."""
    async for left in client.list_workflows("ExecutionStatus = 'Running'"):
        with contextlib.suppress(RPCError):
            await client.get_workflow_handle(left.id, run_id=left.run_id).terminate("its test is over")


@pytest_asyncio.fixture
async def client(service: TemporalService) -> AsyncIterator[Client]:
    """A client of the real server, with the search attributes registered; what a test leaves open ends with the test.

    An open run would be worked on by the workers of later tests.
    """
    yield make_patient(service.client)
    await repeat(lambda: end_open_workflows(service.client))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of their own."""
    return read_settings(home=tmp_path / "home")


@pytest.fixture
def run_id() -> str:
    """A run id that no other test uses."""
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def task_queue() -> str:
    """A task queue that no other test uses."""
    return f"queue-{secrets.token_hex(4)}"


async def assert_eventually(
    condition: Callable[[], bool | Awaitable[bool]],
    within: timedelta = HANGS,
    every: timedelta = timedelta(milliseconds=50),
) -> None:
    """Wait until a condition holds; fails with its source line when it does not in time."""
    deadline = asyncio.get_running_loop().time() + within.total_seconds()
    while True:
        held = condition()
        if inspect.isawaitable(held):
            held = await held
        if held:
            return
        if asyncio.get_running_loop().time() > deadline:
            pytest.fail(f"did not come true within {within}: {inspect.getsource(condition).strip()}")
        await asyncio.sleep(every.total_seconds())
