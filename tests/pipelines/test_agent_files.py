"""A repository's own agent files: used from the base commit, held to the same scope; broken ones stop the run."""

import json
from pathlib import Path

from baton.records.run import RunStatus
from tests.support.repositories import git
from tests.support.scripts import bash, made, plan, scenario, session, simple_task, task, write

OWN = """\
---
name: backend
description: our backend: with a colon that strict YAML refuses
model: haiku
tools: Read, Write, Bash(sh:*), Teleport
maxTurns: 7
---
You are OUR-BACKEND.
"""


def add(repo: Path, name: str, text: str) -> None:
    path = repo / ".claude/agents" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", f"Add {name}")


async def test_a_role_of_the_repository_is_used_and_held_to_its_tools(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    add(repo, "backend.md", OWN)
    add(repo, "poet.md", "---\nname: poet\ndescription: writes poems\n---\nWrite poems.\n")
    script = scenario(
        plan(task("t1")),
        session(
            "backend",
            "t1",
            [[bash("echo no > src/x.txt"), bash("sh check.sh"), write(".claude/agents/backend.md", "me")], [made()]],
        ),
        simple_task("t1")[1:],
    )
    async with staged(script) as stage:
        document = await stage.finish()
        first, second = (r.body for r in stage.standin.requests if r.role == "backend")
    assert document.status is RunStatus.DONE, document
    assert "OUR-BACKEND" in json.dumps(first["system"])
    assert first["model"] == "claude-haiku-5-5"
    assert [tool["name"] for tool in first["tools"]] == ["Read", "Write", "Bash", "hand_off", "escalate"]
    results = second["messages"][-1]["content"]
    assert [bool(result.get("is_error")) for result in results[:3]] == [True, False, True]
    notes = " ".join(document.notes)
    assert "The role backend is the repository's own" in notes
    assert "Teleport" in notes
    assert "poet" in notes


async def test_a_broken_file_of_a_role_stops_the_run_with_one_sentence(staged, repo: Path) -> None:  # type: ignore[no-untyped-def]
    add(repo, "tester.md", "no frontmatter at all")
    async with staged(scenario(plan(task("t1")))) as stage:
        document = await stage.finish()
    assert document.status is RunStatus.FAILED
    assert ".claude/agents/tester.md" in document.notes[-1]
    assert stage.standin.requests == []
