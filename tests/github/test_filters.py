"""Files behind git filters on the road of a pull request: each push asks for what is new in it, and for that only."""

from pathlib import Path

from tests.github.test_commits_of_others import push, tell
from tests.support.repositories import git
from tests.support.scripts import plan, scenario, simple_task, task, write

FILES = {".gitattributes": "src/secrets/** filter=git-crypt\n", "src/secrets/old.key": "\0GITCRYPT\0old"}


async def test_every_push_to_a_pull_request_asks_for_itself(world, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    script = scenario(
        plan(task("t1")),
        simple_task("t1", write("src/pages.txt", "page size 20\n")),
        simple_task("follow-up", write("src/secrets/one.key", "hunter2\n"), write("src/pages.txt", "page size 30\n")),
        simple_task("follow-up-2", write("src/secrets/two.key", "hunter3\n")),
        simple_task("follow-up-3", write("src/pages.txt", "page size 50\n")),
    )
    async with world(script, files=FILES) as w:
        number = await w.issue("Add pages")
        pull = await w.until_pull()
        await w.until_status(number, "waiting")
        branch = pull["head"]["ref"]
        before = w.head(branch)

        # What others push is theirs: it is taken in, and not asked about.
        person = w.clone(tmp_path / "clone", branch)
        theirs = push(person, "src/secrets/theirs.key", "\0GITCRYPT\0theirs")
        await tell(w, branch, theirs)
        await w.until_says(number, "took in 1 commit of others", theirs[:12])

        await w.review(pull["number"], "REQUEST_CHANGES", "Make it 30.", who="ben")
        said = await w.until_says(number, "Decision D1", r"src/secrets/one\.key", r"filter=git\-crypt")
        assert "theirs" not in said
        assert "/baton decide D1 publish" not in said
        assert w.head(branch) == theirs
        await w.comment(number, "/baton decide D1 skip")
        await w.until_says(number, "round 1", "left out 1 file behind a git filter", "waits for a review")
        assert git(w.bare, "show", f"{branch}:src/pages.txt") == "page size 30"
        assert git(w.bare, "diff", "--name-only", before, branch).split() == ["src/pages.txt", "src/secrets/theirs.key"]
        document = await w.document(number)
        assert document.head_commit == w.head(branch)
        assert document.gate is not None
        assert document.gate.commit == document.head_commit
        assert any("src/secrets/one.key" in note and "Left out" in note for note in document.notes)

        await w.review(pull["number"], "REQUEST_CHANGES", "And the second key.", who="ben")
        await w.until_says(number, "Decision D2", r"src/secrets/two\.key")
        await w.comment(number, "/baton decide D2 publish")
        await w.until_says(number, "round 2", "waits for a review")
        assert git(w.bare, "show", f"{branch}:src/secrets/two.key") == "hunter3"

        # What is published is not asked about again.
        await w.review(pull["number"], "REQUEST_CHANGES", "Make it 50.", who="ben")
        await w.until_says(number, "round 3", "waits for a review")
        assert git(w.bare, "show", f"{branch}:src/pages.txt") == "page size 50"
        assert [decision.id for decision in (await w.document(number)).decisions] == ["D1", "D2"]
        everything = git(w.bare, "log", "-p", "--text", branch)
        assert "hunter2" not in everything
