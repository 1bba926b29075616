"""Lost objects of a store come back from a target repository that is a partial clone itself."""

from pathlib import Path

import pytest

from baton import identifiers
from tests.workspaces.conftest import AT, Project, run_files, run_git
from workspaces.maintenance.repair import repair_store
from workspaces.maintenance.verify import verify_store
from workspaces.store.store import Store

RUN = "run-1"


@pytest.fixture
def origin(tmp_path: Path) -> Project:
    project = Project(tmp_path / "origin")
    for number in range(3):
        project.commit({f"src/f{number}.py": b"# %d\n" % number, "same.txt": b"%d\n" % number}, f"change {number}")
    project.git("config", "uploadpack.allowFilter", "true")
    project.git("config", "uploadpack.allowAnySHA1InWant", "true")
    return project


async def damaged_store(tmp_path: Path, origin: Project, kind: str) -> Store:
    """Return a store with a run whose target is a partial clone of `origin`, without any object of the project."""
    target = tmp_path / "target"
    run_git(tmp_path, "clone", "--quiet", f"--filter={kind}", "--no-checkout", origin.path.as_uri(), str(target))
    store = await Store.open(tmp_path / "home", str(target))
    base = await store.fetch_base(None)
    await store.commit_files(
        identifiers.run_ref(RUN), expected=None, files=run_files(RUN, store.repo), message="r", at=AT
    )
    await store.move_ref(identifiers.integration_ref(RUN), base.commit, expected=None)
    for path in [*store.source_path.glob("objects/pack/*"), *store.source_path.glob("objects/??/*")]:
        path.unlink()
    return await Store.open(tmp_path / "home", str(target))


@pytest.mark.parametrize("kind", ["blob:none", "tree:0"])
async def test_the_remote_of_a_partial_clone_is_asked(tmp_path: Path, origin: Project, kind: str) -> None:
    store = await damaged_store(tmp_path, origin, kind)
    report = await verify_store(store)
    assert not report.is_sound
    after = await repair_store(store, report)
    assert after.findings == []
    assert (await verify_store(await Store.open(store.home, store.repo))).findings == []


async def test_an_unreachable_remote_of_a_partial_clone_is_named(tmp_path: Path, origin: Project) -> None:
    store = await damaged_store(tmp_path, origin, "blob:none")
    origin.path.rename(tmp_path / "elsewhere")
    after = await repair_store(store, await verify_store(store))
    assert after.findings
    assert all("is a partial clone" in finding.advice for finding in after.findings)
