"""The units of systemd: what the bounds of commands need from them."""

from pathlib import Path

import pytest

from workspaces.sandbox.cgroup_hierarchy import LEAF

UNITS = sorted((Path(__file__).parents[2] / "deploy" / "systemd").glob("*.service"))


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_commands_have_groups_beneath_the_services(unit: Path) -> None:
    lines = unit.read_text().splitlines()
    assert "OOMPolicy=continue" in lines
    assert "Delegate=memory pids" in lines
    assert f"DelegateSubgroup={LEAF}" in lines
    assert not any(line.startswith("ProtectControlGroups") for line in lines)
