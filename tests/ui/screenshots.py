"""Takes the pictures of docs/monitoring.md from the real Web UI: `make screenshots`.

The demo's run, with the server, worker and browser of this machine; only the model is scripted.
"""

import asyncio
import json
import logging
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from playwright.async_api import Browser, Page
from pydantic import SecretStr

from baton.logs import configure_logging
from baton.records.run import DecisionState, RunDocument, RunRequest
from baton.settings.core import read_settings
from baton.text.redaction import Redactor
from interfaces.cli.commands.demo import TASK
from interfaces.cli.runs.sample_repository import make_repository
from interfaces.cli.runs.start import start_run
from interfaces.cli.runs.web_ui_links import make_links
from standin.script.scenario_file import load_scenario
from standin.server.server import serve_scenario
from tests.ui.browser import chromium, find_chromium, open_page
from tests.ui.test_answer import fill_signal, submit_signal
from workers.temporal_service import TemporalService, connect_service
from workers.worker import run_worker
from workflows.pipeline import Pipeline

IMAGES = Path(__file__).parents[2] / "docs" / "images"
RUN = "orders-add-pagination-k7wm"
WIDTH = 1_400


class Camera:
    """Takes pictures of the Web UI's pages."""

    def __init__(self, browser: Browser, service: TemporalService) -> None:
        self.browser = browser
        self.base = f"{service.web_ui}/namespaces/default/workflows"

    async def open(self, path: str, tab: str = "Timeline", height: int = 1_300) -> Page:
        """The page of a workflow, with one of its tabs."""
        page = await open_page(self.browser, f"{self.base}/{path}", WIDTH, height)
        await page.get_by_role("tab", name=tab).click()
        return page

    async def open_list(self, url: str) -> Page:
        """The page of a list."""
        page = await open_page(self.browser, url, WIDTH, 620)
        await page.get_by_role("link", name=RUN).first.wait_for()
        return page

    async def shoot(self, page: Page, name: str) -> None:
        """A picture, once the page has come to rest; it goes on asking the server, so only time tells."""
        await page.wait_for_timeout(3_000)
        await page.screenshot(path=IMAGES / f"{name}.png", animations="disabled")
        print(IMAGES / f"{name}.png")


async def until_asked(service: TemporalService) -> RunDocument:
    """Wait until the run has a question and its other task has gone as far as it can."""
    handle = service.client.get_workflow_handle_for(Pipeline.run, RUN)
    while True:
        document = await handle.query(Pipeline.state)
        if document.status == "waiting" and any(one.state is DecisionState.OPEN for one in document.decisions):
            return document
        await asyncio.sleep(0.2)


async def take(service: TemporalService, camera: Camera, repository: Path) -> None:
    """Start the runs, and take a picture wherever there is something to see."""
    await start_run(
        service, RunRequest(task=TASK, repo=str(repository), run=RUN, started_by="ada", scripted_model=True)
    )
    bad = RunRequest(task="Remove the orders page", repo=str(repository), run="orders-remove-page-p3xd", base="develop")
    await start_run(service, bad)
    handle = service.client.get_workflow_handle_for(Pipeline.run, RUN)

    document = await until_asked(service)
    found = {link.name: link.url for link in make_links(service, usd=0.1, today=datetime.now(UTC))}
    await camera.shoot(await camera.open_list(found["waiting for a person"]), "waiting")
    details = await camera.open(RUN, "User Metadata", 1_500)
    await camera.shoot(details, "decision")
    (decision,) = [one for one in document.decisions if one.state is DecisionState.OPEN]
    answer = {"decision_id": decision.id, "choice": decision.choices[0], "note": "As the other pages do", "by": "ada"}
    dialog = await fill_signal(details, "decide", json.dumps(answer))
    await camera.shoot(details, "answer")
    await submit_signal(dialog)
    await handle.result()
    await camera.shoot(await camera.open(RUN), "done")
    await camera.shoot(await camera.open(f"{RUN}%2Ft1%2F1-backend", height=1_040), "session")
    await camera.shoot(await camera.open(bad.run, height=900), "failed")


async def main() -> None:
    """Make everything, and take the pictures."""
    path = find_chromium()
    if path is None:
        sys.exit("Chromium is missing: `sh scripts/chromium.sh` installs it on Debian.")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="baton-") as directory:
        repository = Path(directory) / "orders"
        make_repository(repository)
        settings = read_settings(home=Path(directory) / "home")
        # One of the runs fails on purpose; that is for the picture, not for the person who takes it.
        configure_logging("console", "error", Redactor([]), sys.stderr)
        logging.getLogger("temporalio").setLevel(logging.CRITICAL)
        async with (
            serve_scenario(load_scenario("demo")) as standin,
            connect_service(settings, embedded_only=True) as service,
            chromium(path) as browser,
        ):
            own = settings.model_copy(update={"base_url": standin.base_url, "api_key": SecretStr("sk-ant-scripted")})
            async with run_worker(service.client, own):
                await take(service, Camera(browser, service), repository)


if __name__ == "__main__":
    asyncio.run(main())
