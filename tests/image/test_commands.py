"""Commands for people in the image, behind the walls of docker-compose.yml's worker: read-only, no capabilities."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.image.containers import Containers, security, services

pytestmark = pytest.mark.image

WORKER = security(services()["worker"])
UNKNOWN = ["--user=12345", "--user=12345:12345"]
"""Users that the image does not know: `docker run --user` and OpenShift give such."""


def checks(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What `doctor --json` found, by name."""
    return {check["name"]: check for check in json.loads(done.stdout)["checks"]}


@pytest.mark.parametrize("user", ["--user=10001:10001", *UNKNOWN])
def test_doctor_finds_all_that_is_needed(containers: Containers, user: str) -> None:
    done = containers.run([*WORKER, user], "doctor", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = checks(done)
    assert {name: check["status"] for name, check in found.items() if check["status"] != "ok"} == {"key": "warn"}
    assert "Commands run in bubblewrap" in found["sandbox"]["detail"]
    assert done.stderr == ""


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(security(services()["webhook"]), id="with none of the three"),
        pytest.param(security(services()["worker"], without="seccomp:unconfined"), id="with Docker's seccomp"),
        pytest.param(security(services()["worker"], without="systempaths=unconfined"), id="with masked paths"),
    ],
)
def test_without_the_options_the_sandbox_is_refused_with_the_reason(containers: Containers, options: list[str]) -> None:
    done = containers.run(options, "doctor", "--json")
    assert done.returncode == 1
    sandbox = checks(done)["sandbox"]
    assert sandbox["status"] == "fail"
    assert re.match(r"No sandbox can be made here: .*bwrap: .+", sandbox["detail"])
    assert "BATON_SANDBOX=none" in sandbox["advice"]


def test_a_user_who_may_not_write_to_the_volume_is_told_so(containers: Containers) -> None:
    volume = [containers.volume("home:/var/lib/baton")]
    assert containers.run([*WORKER, *volume], "doctor").returncode == 0
    done = containers.run([*WORKER, *volume, "--user=12345"], "gc")
    assert done.returncode == 2
    assert "cannot be written by this user (uid 12345): set BATON_HOME" in done.stderr


def test_the_demo_runs_to_its_end_for_an_unknown_user_and_is_looked_at(containers: Containers) -> None:
    place = [*WORKER, "--user=12345", containers.volume("home:/var/lib/baton")]
    done = containers.run(place, "demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The change is done." in done.stdout
    home, run = re.findall(r"BATON_HOME=(\S+) baton show (\S+)", done.stdout)[0]
    shown = containers.run([*place, f"--env=BATON_HOME={home}"], "show", run)
    assert shown.returncode == 0, shown.stderr
    for line in (done.stdout + done.stderr + shown.stdout + shown.stderr).splitlines():
        assert not line.startswith("{"), "a log line in JSON for a person who did not ask for it"


def test_a_command_that_is_stopped_ends_within_the_grace(containers: Containers) -> None:
    containers.start("stopped", WORKER, "demo")
    assert "planning" in containers.wait_for("stopped", "planning")
    assert containers.stop("stopped", services()["worker"]["stop_grace_period"]) == 143


def test_nothing_lent_to_the_build_stays_in_the_image(containers: Containers) -> None:
    looks = '! test -s /etc/pip.conf && ! test -s /etc/apt/sources.list && test -z "$(ls /run/secrets)" && id -u'
    done = containers.run(["--entrypoint=sh"], "-c", looks)
    assert (done.returncode, done.stdout.strip()) == (0, "10001"), done.stderr
    history = containers.podman("history", "--no-trunc", "localhost/baton:test").stdout
    assert "deb http" not in history
    assert "index-url" not in history
