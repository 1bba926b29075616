"""The runs of ended commands that a worker may continue, by the place that they were started from."""

import socket
from pathlib import Path

import pytest

from workers.run_queues import RunOrigin

HERE, OTHER = "0123abcd", "89abcdef"
URL = "https://git.example.org/shop.git"


@pytest.mark.parametrize(
    ("host", "has_state_remote", "expected"),
    [
        (HERE, False, True),  # its own host
        (OTHER, False, False),  # the work is in another home
        (OTHER, True, True),  # and in the state remote
        ("", False, True),  # detached: no work was done
    ],
)
@pytest.mark.parametrize("scheme", ["", "file://", URL])
def test_a_host_needs_the_work_of_a_run(
    tmp_path: Path, scheme: str, host: str, has_state_remote: bool, expected: bool
) -> None:
    repo = URL if scheme == URL else f"{scheme}{tmp_path}"
    origin = RunOrigin.from_here(repo, host)
    assert origin.machine == ("" if repo == URL else socket.gethostname())
    assert RunOrigin.from_memo(origin.to_memo()) == origin
    assert origin.may_be_continued(HERE, has_state_remote=has_state_remote) is expected


def test_a_path_is_served_by_the_machine_that_has_it(tmp_path: Path) -> None:
    for machine, path, expected in (
        (socket.gethostname(), tmp_path, True),
        ("elsewhere", tmp_path, False),  # a directory of that name is there, too: it is another repository
        (socket.gethostname(), tmp_path / "missing", False),
    ):
        for scheme in ("", "file://"):
            origin = RunOrigin(f"{scheme}{path}", "", machine)
            assert origin.may_be_continued(HERE, has_state_remote=True) is expected, origin
    # Its own host has fetched what it needs.
    assert RunOrigin(str(tmp_path / "missing"), HERE, "elsewhere").may_be_continued(HERE, has_state_remote=False)


def test_the_home_that_started_a_detached_run_may_move_to_a_machine_of_another_name(tmp_path: Path) -> None:
    """A container that is made anew has another name and the same volume."""
    origin = RunOrigin(str(tmp_path), "", "a-former-container", HERE)
    assert RunOrigin.from_memo(origin.to_memo()) == origin
    assert origin.may_be_continued(HERE, has_state_remote=False)
    assert not origin.may_be_continued("another-home", has_state_remote=True)
    # The server lists the polls of the former container for a while, which are no reason to wait.
    assert [origin.is_shared_at(host) for host in (HERE, OTHER)] == [True, False]
    assert not RunOrigin(str(tmp_path), HERE, "a-former-container", HERE).is_shared_at(HERE), "its command serves it"


def test_a_memo_without_origin_is_read() -> None:
    assert RunOrigin.from_memo({"repo": URL, "task": "x"}) == RunOrigin(URL)
