"""A run whose request has lost the commit that the run began from: one sentence, and nothing is guessed."""

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.run.prepare import PrepareActivities
from activities.run.publish import PublishActivities
from activities.runtime.stores import Stores, read_run_json, to_json, write_run_files
from activities.task.gate import GateActivities
from baton import identifiers
from baton.budget.pricing import load_prices
from baton.records.run import RunRequest
from baton.settings.core import Settings
from baton.steps.publish import PublishInput
from baton.steps.store_paths import REQUEST
from baton.steps.task import GateInput, Prepared, PrepareInput
from baton.text.redaction import Redactor
from tests.support.repositories import git, make_repository
from tests.workspaces.conftest import AT
from workspaces.sandbox.sandbox import Sandbox

RUN = "shop-1"


class Scene:
    """A run that is prepared, and the activities that read what it began from."""

    def __init__(self, tmp_path: Path, sandbox: Sandbox) -> None:
        self.repo = str(make_repository(tmp_path / "shop"))
        settings = Settings(home=tmp_path / "home")
        self.stores = Stores(settings.home)
        redact = Redactor([])
        self.prepare = PrepareActivities(self.stores, sandbox, load_prices(None), settings).prepare_run
        self.gate = GateActivities(self.stores, sandbox, redact, settings).run_gate
        self.publish = PublishActivities(self.stores).publish_run

    async def prepared(self) -> Prepared:
        request = RunRequest(task="Add pages", repo=self.repo, run=RUN)
        found: Prepared = await ActivityEnvironment().run(self.prepare, PrepareInput(request=request))
        return found

    async def lose_base(self) -> None:
        store = await self.stores.open_store(self.repo)
        request = await read_run_json(store, RUN, REQUEST)
        del request["base_commit"]
        await write_run_files(store, RUN, {REQUEST: to_json(request)}, "damage", AT)


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path, await Sandbox.open_sandbox(Settings().sandbox))


async def test_a_retry_keeps_the_base_although_the_branch_has_moved(scene: Scene) -> None:
    first = await scene.prepared()
    readme = Path(scene.repo) / "README.md"
    readme.write_text("changed\n")
    git(Path(scene.repo), "commit", "-qam", "later")
    assert (await scene.prepared()).base_commit == first.base_commit


@pytest.mark.parametrize("step", ["prepare", "gate", "publish"])
async def test_a_request_without_its_base_commit_is_damage(scene: Scene, step: str) -> None:
    first = await scene.prepared()
    await scene.lose_base()
    inputs: dict[str, Any] = {
        "prepare": PrepareInput(request=RunRequest(task="Add pages", repo=scene.repo, run=RUN)),
        "gate": GateInput(run=RUN, repo=scene.repo, task="gate", base=first.base_commit),
        "publish": PublishInput(run=RUN, repo=scene.repo, commit=first.base_commit),
    }
    with pytest.raises(ApplicationError) as raised:
        await ActivityEnvironment().run(getattr(scene, step), inputs[step])
    assert raised.value.type == "StoreDamaged"
    assert "request.json of the run shop-1 is damaged" in raised.value.message
    assert "base_commit" in raised.value.message
    assert "doctor --store --repair" in raised.value.message
    store = await scene.stores.open_store(scene.repo)
    assert await store.read_head(identifiers.integration_ref(RUN)) == first.base_commit
    assert "base_commit" not in json.dumps(await read_run_json(store, RUN, REQUEST))
