"""The guard of the marker `server`: no other test starts a Temporal server, in this process or in one of `baton`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import pytest
from temporalio.testing import WorkflowEnvironment

from workers.embedded import server

_refused = False


class ServerRefused(BaseException):
    """A test without the marker `server` was about to start a server. No code under test catches this."""


def refuse_server(*_: object, **__: object) -> NoReturn:
    """Take the place of a function that starts a server, or that every start of one calls first."""
    raise ServerRefused("this test starts a Temporal server: mark it with pytest.mark.server")


def is_refused() -> bool:
    """Whether the test that runs now is refused a server; processes forked for it are, too."""
    return _refused


def refuse_servers(patch: pytest.MonkeyPatch) -> None:
    """Refuse servers to this process until the patch is undone."""
    patch.setattr(server, server.find_temporal.__name__, refuse_server)
    patch.setattr(WorkflowEnvironment, "start_local", refuse_server)
    patch.setattr(WorkflowEnvironment, "start_time_skipping", refuse_server)


@contextmanager
def refused_servers() -> Iterator[None]:
    """Refuse servers to this process, and to those that it forks, for as long as this is entered."""
    global _refused
    with pytest.MonkeyPatch.context() as patch:
        refuse_servers(patch)
        _refused = True
        try:
            yield
        finally:
            _refused = False
