"""The npm packages of the tests: exact versions, no registry named, and they are there."""

import json
from pathlib import Path

from tests.support.github.npm import Npm

HERE = Path(__file__).parents[1] / "support" / "github"


def test_the_lock_file_is_exact_and_names_no_registry() -> None:
    wanted = json.loads((HERE / "package.json").read_bytes())["devDependencies"]
    locked = json.loads((HERE / "package-lock.json").read_bytes())["packages"]
    assert locked.pop("")["devDependencies"] == wanted
    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    for package in locked.values():
        assert "resolved" not in package
        assert package["integrity"].startswith("sha512-")
        assert not package.get("hasInstallScript")


def test_payloads_and_emulator_are_installed(npm: Npm) -> None:
    assert npm.emulator.is_file()
    assert len(npm.examples()) == 329
