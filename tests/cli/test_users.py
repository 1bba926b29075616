"""A user that is not in /etc/passwd, as `docker -u 12345`, OpenShift and LDAP make them: with a home and without."""

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from interfaces.cli.runs.sample_repository import make_repository
from tests.cli.conftest import BATON
from tests.conftest import HANGS

UID = 12345

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(
        sys.platform != "linux" or os.getuid() != 0 or not shutil.which("setpriv"),
        reason="becoming another user needs root",
    ),
]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of that user's; those of pytest are closed to others."""
    made = Path(tempfile.mkdtemp(prefix="baton-user-"))
    os.chown(made, UID, UID)
    yield made
    shutil.rmtree(made)


def _script() -> str:
    """Shell that becomes the user in a mount namespace in which interpreter and checkout can be reached."""
    wanted = {Path(sys.base_prefix).resolve(), Path(sys.prefix).resolve(), Path(__file__).resolve().parents[2]}
    closed = {
        next((up for up in reversed(path.parents) if not up.stat().st_mode & 0o001), None): path for path in wanted
    }
    lines = ["set -e"]
    for top in closed.keys() - {None}:
        inside = [str(path) for path in wanted if top is not None and path.is_relative_to(top)]
        lines += [f"k{n}=$(mktemp -d); mount --bind {shlex.quote(path)} $k{n}" for n, path in enumerate(inside)]
        lines += [f"mount -t tmpfs -o mode=755 none {shlex.quote(str(top))}"]
        for n, path in enumerate(inside):
            lines += [f"mkdir -p {shlex.quote(path)}; mount --bind $k{n} {shlex.quote(path)}"]
    # A bash stays above the command: completion is installed for the shell that is found there.
    lines += [f"""setpriv --reuid {UID} --regid {UID} --clear-groups bash -c '"$@"; exit $?' bash "$@" """]
    return "\n".join(lines)


def run(place: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `baton` as the user, with this environment only."""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", _script(), "sh", str(BATON), *arguments],
        cwd=place,
        env={"PATH": os.defpath, "TMPDIR": str(place), "NO_COLOR": "1", **env},
        capture_output=True,
        text=True,
        timeout=HANGS.total_seconds(),
    )
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mount namespaces here")
    return done


@pytest.mark.parametrize("home", ["own", "none", pytest.param("root of the file system", marks=pytest.mark.soak)])
def test_the_demo_runs_to_its_end(place: Path, home: str) -> None:
    homes = {"own": str(place), "root of the file system": "/"}
    done = run(place, "demo", **({"HOME": homes[home]} if home in homes else {}))
    assert done.returncode == 0, done.stderr
    assert "The change is done." in done.stdout
    assert "Traceback" not in done.stderr
    assert ("set BATON_HOME to" in done.stderr) == (home != "own")
    # The answer's author has a name, though the user has none.
    assert "by baton demo" in done.stdout


@pytest.mark.parametrize("command", ["list", "gc", "up"])
def test_a_command_without_a_place_says_what_to_set(place: Path, command: str) -> None:
    for env in ({}, {"HOME": "/"}, {"HOME": "/root"}, {"BATON_HOME": "/data"}, {"BATON_HOME": "~/data"}):
        done = run(place, *command.split(), ANTHROPIC_API_KEY="sk-ant-none-0000", **env)
        assert done.returncode == 2, (env, done.stderr)
        assert done.stderr.startswith("baton: "), done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
        assert "BATON_HOME" in done.stderr


def test_commands_with_a_place_and_without_a_home(place: Path) -> None:
    repository = place / "orders"
    make_repository(repository)
    subprocess.run(["chown", "-R", f"{UID}:{UID}", str(repository)], check=True)
    env = {"BATON_HOME": str(place / "data"), "ANTHROPIC_API_KEY": "sk-ant-none-0000"}
    for line in ("list", "gc", "doctor", "agents list"):
        done = run(place, *line.split(), **env)
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0, done.stderr
    for command in (
        ["run", "x", "--repo", "~/x"],
        ["run", "@~/task", "--repo", str(repository)],
        ["demo", "--keep", "~/demo"],
        ["--install-completion", "bash"],
    ):
        done = run(place, *command, **env)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert "set HOME" in done.stderr
    done = run(place, "list", BATON_GITHUB_TOKEN_FILE="~/token", **env)
    assert done.returncode == 2
    assert "BATON_GITHUB_TOKEN_FILE" in done.stderr
    assert done.stderr.count("\n") == 1


def test_doctor_looks_at_everything_without_a_place(place: Path) -> None:
    done = run(place, "doctor", HOME="/", ANTHROPIC_API_KEY="sk-ant-none-0000")
    assert "Traceback" not in done.stderr
    assert [line for line in ("packages", "disk", "git", "sandbox") if f"  {line} " not in done.stdout] == []
    assert "/.local/share/baton" in done.stdout
