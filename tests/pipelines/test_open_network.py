"""A repository that asks for the network: a person decides, and even an open one does not lead to the engine."""

import json
import subprocess
from pathlib import Path

import pytest

from baton import identifiers
from baton.records.run import RunRequest, RunStatus
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, reviewed, scenario, session, task, tested, write
from workflows.pipeline import Pipeline
from workspaces.sandbox.network.open_network import PORT

ATTACK = f"""
import json, os, socket
places = json.load(open("places.json"))
for host in places["hosts"]:
    for port in places["ports"]:
        ways = [(host.strip("[]"), port, b"")]
        if os.environ.get("HTTPS_PROXY"):
            asked = f"CONNECT {{host}}:{{port}} HTTP/1.1\\r\\nHost: {{host}}\\r\\n\\r\\n".encode()
            ways.append(("127.0.0.1", {PORT}, asked))
        for to, number, head in ways:
            try:
                with socket.create_connection((to, number), 5) as way:
                    way.settimeout(10)
                    way.sendall(head or b"PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n")
                    answer = way.recv(100)
                    print("REACHED" if not head or b" 200 " in answer else "refused", host, port, answer[:20])
            except OSError as error:
                print("no way", host, port, error.errno)
"""
"""What a repository's tests try, to list or end runs: every way to the server, and from it all else would follow."""


@pytest.mark.parametrize("setting", [None, "never", "repository"])
async def test_a_repository_asks_for_the_network_and_a_person_decides(  # type: ignore[no-untyped-def]
    staged, repo: Path, setting: str | None
) -> None:
    own = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    hosts = ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "2130706433", "[::ffff:127.0.0.1]", *own]
    (repo / "attack.py").write_text(ATTACK)
    (repo / "baton.toml").write_text('[gate]\ntest = "python3 attack.py"\n[sandbox]\nnetwork = true\n')
    git(repo, "add", "-A")
    # Where a person says nothing, the repository's wish is none.
    async with staged(scenario(plan(task("t1"))), **({"sandbox_network": setting} if setting else {})) as stage:
        server = int(stage.client.service_client.config.target_host.rpartition(":")[2])
        ports = [server, int(stage.standin.base_url.rpartition(":")[2])]
        (repo / "places.json").write_text(json.dumps({"hosts": hosts, "ports": ports}))
        git(repo, "add", "-A")
        git(repo, "commit", "-qm", "Attack the engine")
        stage.standin.scenario.steps.extend(
            [
                *session("backend", "t1", [[bash("python3 attack.py"), write("src/x.txt", "x\n")], [made()]]),
                *session("tester", "t1", [[tested()]]),
                *session("reviewer", "t1", [[reviewed()]]),
            ]
        )
        other = await stage.client.start_workflow(
            Pipeline.run,
            RunRequest(task="Wait", repo=str(repo)),
            id=f"{stage.run}-other",
            task_queue=f"{identifiers.TASK_QUEUE}-nobody",
        )
        document = await stage.finish()
        result = next(r.body for r in stage.standin.requests if (r.role, r.turn) == ("backend", 2))["messages"][-1]
        described = await other.describe()
        store = await stage.store()
        head = await store.read_head(identifiers.task_ref(stage.run, "t1"))
        log = await store.read_file(head or "", "gates/1.log")
    assert document.status is RunStatus.DONE, document
    assert described.status is not None
    assert described.status.name == "RUNNING"
    assert log is not None
    for text in (str(result), log.decode()):
        assert "no way" in text
        assert "REACHED" not in text
        # What was refused is told to the agent, and stands in the gate's log; so is, that it was closed.
        assert ("the network refused localhost" in text) == (setting == "repository")
        assert ("refused 127.1" in text) == (setting == "repository")
    note = next(note for note in document.notes if "BATON_SANDBOX_NETWORK=never" in note)
    assert ("asks for the network" in note and "stays closed" in note and "`repository`" in note) == (
        setting != "repository"
    )
