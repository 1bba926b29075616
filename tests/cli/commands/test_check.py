"""`baton check`: a repository set up and tested at its base commit, without a model and without a server."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.workspaces.conftest import Project

UNITTEST = (
    "import unittest\n\nclass T(unittest.TestCase):\n    def test_a(self):\n        pass\n\n    def test_b(self):\n"
    "        self.fail('as ever')\n"
)


def npm_package(name: str, code: str) -> bytes:
    """A package as npm packs it."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        manifest = json.dumps({"name": name, "version": "1.0.0", "main": "index.js"})
        for path, text in (("package/package.json", manifest), ("package/index.js", code)):
            entry = tarfile.TarInfo(path)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return made.getvalue()


@pytest.mark.skipif(shutil.which("npm", path="/usr/bin:/usr/local/bin") is None, reason="the system has no npm")
async def test_a_repository_with_dependencies_is_green_without_a_baton_toml(cli: Cli, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    package = {
        "name": "shop",
        "scripts": {"test": "node --test"},
        "dependencies": {"greeting": "file:greeting-1.0.0.tgz"},
    }
    project.commit(
        {
            "package.json": json.dumps(package).encode(),
            "greeting-1.0.0.tgz": npm_package("greeting", "module.exports = () => 'hello'\n"),
            "shop.test.js": b"const g = require('greeting')\n"
            b"require('node:test').test('greets', () => require('node:assert').equal(g(), 'hello'))\n",
        },
        "first",
    )
    done = await cli("check", "--repo", str(project.path), "--json")
    assert done.code == 0, done.err
    document = json.loads(done.out)
    assert document["verdict"] == "green"
    assert [step["exit_code"] for step in document["setup"]] == [0]
    assert document["missing"] == []
    assert document["failing_at_base"] == []
    assert [(test["command"], test["exit_code"], test["passed"]) for test in document["test_commands"]] == [
        ("npm test", 0, 1)
    ]
    assert {"key", "seconds", "mb", "reused"} == set(document["environment"])
    assert not document["environment"]["reused"]
    assert document["technology"]["stacks"][0]["language"] == "JavaScript"

    again = await cli("check", "--repo", str(project.path))
    assert again.code == 0, again.err
    assert "kept from before" in again.out
    assert "Verdict      green" in again.out
    # Neither the person's checkout nor the home keeps anything of the trials.
    assert not (project.path / "node_modules").exists()
    assert list((cli.home / "trials").iterdir()) == []


async def test_tests_that_fail_at_the_base_are_named(cli: Cli, tmp_path: Path) -> None:
    project = Project(tmp_path / "shop")
    project.commit(
        {"baton.toml": b'[gate]\nsetup = "true"\ntest = "python3 -m unittest"\n', "test_shop.py": UNITTEST.encode()},
        "first",
    )
    done = await cli("check", "--repo", str(project.path))
    assert done.code == 0, done.err
    assert "fails at the base: test_b (test_shop.T.test_b)" in done.out
    assert "1 passed, 1 failed, 0 skipped, exit code 1" in done.out
    assert "Verdict      green against base" in done.out


@pytest.mark.parametrize(
    ("files", "verdict", "said"),
    [
        ({"README.md": "shop"}, "untested", ""),
        ({"shop.csproj": '<PackageReference Include="xunit"/>'}, "broken_environment", "https://dot.net/download"),
        ({"baton.toml": '[gate]\nsetup = "echo no; exit 3"\ntest = "true"\n'}, "broken_environment", "exit code 3: no"),
        ({"baton.toml": '[gate]\nsetup = "true"\ntest = "exit 4"\n'}, "red", ""),
        ({"baton.toml": '[gate]\nsetup = "true"\ntest = "no-such-program"\n'}, "broken_environment", ""),
        ({"baton.toml": '[gate]\nsetup = "true"\ntest = "python3 -m unittest"\n'}, "untested", ""),
    ],
)
async def test_what_cannot_be_green_says_so(
    cli: Cli, tmp_path: Path, files: dict[str, str], verdict: str, said: str
) -> None:
    project = Project(tmp_path / "shop")
    project.commit({name: text.encode() for name, text in files.items()}, "first")
    done = await cli("check", "--repo", str(project.path), "--json")
    document = json.loads(done.out)
    assert (done.code, document["verdict"]) == (1, verdict), done.err
    assert said in json.dumps(document["missing"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--repo", "nowhere"), "nowhere"),
        (("--repo", ".", "--base", "no-such-branch"), "no-such-branch"),
        (("--repo", ".", "--sandbox", "none"), "needs the sandbox"),
    ],
)
async def test_what_cannot_be_checked_is_one_sentence(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    project = Project(tmp_path / "shop")
    project.commit({"README.md": b"shop"}, "first")
    done = await cli("check", *arguments, cwd=project.path)
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
