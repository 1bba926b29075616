"""The Web UI as a person uses it: find the run that waits, read its question, answer it in the signal dialog."""

import json
import re
from datetime import UTC, datetime
from typing import Any

from playwright.async_api import Browser, Locator, Page, expect

from baton.records.run import DecisionState, RunStatus
from interfaces.cli.runs.web_ui_links import make_links
from tests.support.scripts import escalate, plan, scenario, session, simple_task, task, write
from tests.ui.browser import PATIENCE, open_page
from workers.temporal_service import TemporalService

QUESTION = "One database or <img src=x onerror=alert(1)>[two](http://evil.example)?"
"""Foreign text: it must arrive as text."""


def script() -> Any:
    """A plan that comes only once a question is answered."""
    (planned,) = plan(task("t1"))
    asks = session("orchestrator", "plan", [[escalate(QUESTION, "one", "two")], list(planned.calls)])
    return scenario(asks, simple_task("t1", write("src/a.txt", "a\n")))


async def fill_signal(page: Page, name: str, data: str) -> Locator:
    """Fill in the UI's own dialog for a signal."""
    await page.get_by_role("button", name="More Actions").click()
    await page.get_by_role("menuitem", name="Send a Signal").click()
    dialog = page.get_by_role("dialog").filter(has_text="Send a Signal")
    await dialog.get_by_test_id("signal-select-button").click()
    await dialog.get_by_role("option", name=re.compile(rf"^{name}\b")).click()
    await dialog.get_by_role("textbox", name="Data").fill(data)
    # The editor lays its text out anew when it is left, which moves the button under the pointer.
    await dialog.get_by_role("textbox", name="Data").blur()
    return dialog


async def submit_signal(dialog: Locator) -> None:
    """Send it."""
    await dialog.get_by_test_id("confirm-modal-button").click()
    await expect(dialog).to_be_hidden(timeout=PATIENCE)


async def test_a_run_is_found_read_and_answered_in_the_web_ui(  # type: ignore[no-untyped-def]
    staged, service: TemporalService, browser: Browser
) -> None:
    async with staged(script()) as stage:
        handle = await stage.start()
        await stage.until_waiting(handle)
        lists = {link.name: link.url for link in make_links(service, 5.0, datetime.now(UTC))}
        page = await open_page(browser, lists["waiting for a person"])
        await page.get_by_role("link", name=stage.run).first.click()

        await page.get_by_role("tab", name="User Metadata").click()
        details = page.frame_locator("iframe[title=output]").last.locator("main")
        await expect(details).to_contain_text("Decision D1", timeout=PATIENCE)
        text = await details.inner_text()
        assert await details.locator("img, a, script").count() == 0
        found = re.search(r"with (\{[^}]*\})", text)
        assert found, text
        assert QUESTION in text.replace("\u2060", "")

        answer = {**json.loads(found[1]), "choice": "two", "by": "ada"}
        await submit_signal(await fill_signal(page, "decide", json.dumps(answer)))
        document = await stage.outcome(handle)
        await page.close()

    assert document.status is RunStatus.DONE, document
    (decision,) = document.decisions
    assert (decision.state, decision.choice, decision.by) == (DecisionState.ANSWERED, "two", "ada")
