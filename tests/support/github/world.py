"""A world with GitHub in it: people and their issues there, our webhook, a worker, and a model that has a script."""

import asyncio
import hashlib
import hmac
import json
import secrets
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.github.comment_marker import MARKER
from baton import identifiers
from baton.github.app import EVENTS
from baton.records.run import RunDocument
from baton.settings.core import Settings
from baton.steps.github import DeliveryOutcome
from standin.server.app import StandIn
from tests.conftest import HANGS, assert_eventually
from tests.support.github.emulator import BOT, OWNER, SECRET, token_of
from tests.support.github.hub import Hub
from tests.support.repositories import git
from workflows.pipeline import Pipeline

PATIENCE = HANGS.total_seconds()


@dataclass
class Forge:
    """The GitHub of a test process."""

    hub: Hub
    address: str
    emulator: str
    repositories: Path
    key: str


@dataclass
class World:
    """One repository on GitHub, and everything that works for it."""

    client: Client
    settings: Settings
    standin: StandIn
    forge: Forge
    name: str
    """The repository's name; ada is its owner."""
    webhook: str
    """Address of our webhook."""
    http: httpx2.AsyncClient = field(default_factory=lambda: httpx2.AsyncClient(timeout=HANGS.total_seconds()))

    @property
    def hub(self) -> Hub:
        return self.forge.hub

    @property
    def full_name(self) -> str:
        return f"{OWNER}/{self.name}"

    @property
    def bare(self) -> Path:
        """The repository behind git's address."""
        return self.forge.repositories / OWNER / f"{self.name}.git"

    @property
    def clone_url(self) -> str:
        return f"{self.forge.address}/{self.full_name}.git"

    # ---- what people do on GitHub; never hindered by faults

    async def api(self, method: str, path: str, data: Any = None, *, who: str = OWNER) -> Any:
        """A request of a person's; the path is that below the repository."""
        said = await self.http.request(
            method,
            f"{self.forge.emulator}/repos/{self.full_name}{path}",
            json=data,
            headers={"authorization": f"token {token_of(who)}"},
        )
        assert said.status_code < 400, f"{method} {path}: {said.status_code} {said.text}"
        return said.json() if said.content else None

    async def hook_by_hand(self) -> None:
        """Somebody makes a webhook in the repository's settings; the App has none here."""
        address = f"{self.forge.address}/_deliveries/by-hand"
        config = {"url": address, "content_type": "json", "secret": SECRET}
        await self.api("POST", "/hooks", {"name": "web", "active": True, "events": list(EVENTS), "config": config})
        self.hub.by_hand = True

    async def issue(self, title: str = "Add pages", body: str = "", *, label: str | None = "baton", **more: Any) -> int:
        """Open an issue and label it."""
        made = await self.api("POST", "/issues", {"title": title, "body": body}, **more)
        if label:
            await self.api("POST", f"/issues/{made['number']}/labels", {"labels": [label]})
        return int(made["number"])

    async def comment(self, number: int, text: str, *, who: str = OWNER) -> int:
        made = await self.api("POST", f"/issues/{number}/comments", {"body": text}, who=who)
        return int(made["id"])

    async def review(self, pull: int, event: str, body: str = "", *, who: str = OWNER, **more: Any) -> None:
        await self.api("POST", f"/pulls/{pull}/reviews", {"event": event, "body": body, **more}, who=who)

    async def merge(self, pull: int) -> None:
        await self.api("PATCH", f"/pulls/{pull}", {"draft": False})
        await self.api("PUT", f"/pulls/{pull}/merge", {})

    async def deliver(self, event: str, payload: dict[str, Any], *, to: str | None = None) -> httpx2.Response:
        """Send our webhook what the emulator has no event for."""
        repository = await self.api("GET", "")
        whole = {
            "repository": repository,
            "sender": repository["owner"],
            **({} if self.hub.by_hand else {"installation": {"id": 100}}),
            **payload,
        }
        body = json.dumps(whole).encode()
        signature = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
        return await self.http.post(
            to or self.webhook,
            content=body,
            headers={
                "content-type": "application/json",
                "x-github-event": event,
                "x-github-delivery": secrets.token_hex(8),
                "x-hub-signature-256": f"sha256={signature}",
            },
        )

    async def check_fails(self, branch: str, commit: str, name: str = "build", **more: Any) -> None:
        """A check of GitHub Actions fails on a commit; `event` may be another than `check_run`."""
        event = more.pop("event", "check_run")
        suite = {"id": 5, "head_branch": branch, "head_sha": commit, "conclusion": "failure", "pull_requests": []}
        actions = {"id": 15_368, "slug": "github-actions"}
        if event == "check_suite":
            said = await self.deliver(event, {"action": "completed", "check_suite": {**suite, "app": actions, **more}})
        else:
            run = {
                "id": 77,
                "name": name,
                "head_sha": commit,
                "status": "completed",
                "conclusion": "failure",
                "app": actions,
                "output": {"title": f"{name} failed", "summary": None, "text": None},
                "check_suite": suite,
                "pull_requests": [],
                **more,
            }
            said = await self.deliver(event, {"action": "completed", "check_run": run})
        assert said.status_code == 202, said.text

    @asynccontextmanager
    async def unheard(self, *names: str) -> AsyncIterator[None]:
        """Lose the deliveries of GitHub meanwhile; these events are on their way, and are waited for to be lost."""
        receivers, self.hub.receivers = self.hub.receivers, []
        before = len(self.hub.deliveries)
        yield

        async def lost() -> bool:
            sent = {
                f"{headers['x-github-event']}.{json.loads(body).get('action')}"
                for headers, body in self.hub.deliveries[before:]
                if self._mine(body)
            }
            return sent.issuperset(names)

        await self.until(lost, lambda: ", ".join(names))
        self.hub.receivers = receivers

    def clone(self, place: Path, branch: str) -> Path:
        """A person's clone of a branch."""
        subprocess.run(["git", "clone", "-q", "-b", branch, str(self.bare), str(place)], check=True)
        return place

    def commit(self, branch: str, name: str) -> str:
        """Somebody's commit on a branch, made right where it lies; the commit."""
        blob = git(self.bare, "hash-object", "-w", str(self.bare / "HEAD"))
        listed = git(self.bare, "ls-tree", branch)
        entry = f"100644 blob {blob}\t{name}"
        made = subprocess.run(
            ["git", "-C", str(self.bare), "mktree"],
            input=f"{listed}\n{entry}\n",
            text=True,
            check=True,
            capture_output=True,
        )
        commit = git(self.bare, "commit-tree", made.stdout.strip(), "-p", branch, "-m", f"Add {name}")
        git(self.bare, "update-ref", f"refs/heads/{branch}", commit)
        return commit

    # ---- what there is to see

    async def comments(self, number: int) -> list[dict[str, Any]]:
        """Our comments on an issue."""
        return [
            comment
            for comment in await self.api("GET", f"/issues/{number}/comments")
            if comment["user"]["login"] == BOT and comment["body"].startswith(MARKER)
        ]

    async def says(self, number: int) -> str:
        """What our one comment says; there is never a second one."""
        found = await self.comments(number)
        assert len(found) <= 1, found
        return str(found[0]["body"]) if found else ""

    async def until_says(self, number: int, *words: str) -> str:
        """Wait until our comment holds all these words."""
        said = ""

        async def there() -> bool:
            nonlocal said
            said = await self.says(number)
            return all(word in said for word in words)

        await self.until(there, lambda: f"{words} in {said!r}")
        return said

    async def pulls(self, state: str = "all") -> list[dict[str, Any]]:
        return list(await self.api("GET", f"/pulls?state={state}"))

    async def until_pull(self) -> dict[str, Any]:
        """Wait for the pull request."""
        found: list[dict[str, Any]] = []

        async def there() -> bool:
            nonlocal found
            found = await self.pulls()
            return bool(found)

        await self.until(there, lambda: "a pull request")
        return found[0]

    async def checks(self, commit: str) -> list[dict[str, Any]]:
        """Check runs on a commit, by anybody."""
        said = await self.http.get(
            f"{self.forge.address}/repos/{self.full_name}/commits/{commit}/check-runs",
            headers={"authorization": f"token {token_of(OWNER)}"},
        )
        return list(said.json()["check_runs"])

    def run_id(self, number: int, attempt: int = 1) -> str:
        return identifiers.github_run_id(OWNER, self.name, number, attempt)

    def run(self, number: int, attempt: int = 1) -> WorkflowHandle[Pipeline, RunDocument]:
        """The run of an issue."""
        return self.client.get_workflow_handle_for(Pipeline.run, self.run_id(number, attempt))

    async def document(self, number: int, attempt: int = 1) -> RunDocument:
        return await self.run(number, attempt).query(Pipeline.state)

    async def until_status(self, number: int, status: str, attempt: int = 1) -> RunDocument:
        """Wait until the run of an issue has a status."""
        document: RunDocument | None = None

        async def there() -> bool:
            nonlocal document
            try:
                document = await self.document(number, attempt)
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # its delivery is still on the way
                    raise
            return document is not None and document.status.value == status

        await self.until(there, lambda: f"{status}: {document}")
        assert document is not None
        return document

    async def until_closed(self, number: int, attempt: int = 1) -> WorkflowExecutionStatus:
        """Wait until the run's workflow has ended."""
        found: WorkflowExecutionStatus | None = None

        async def there() -> bool:
            nonlocal found
            found = (await self.run(number, attempt).describe()).status
            return found is not WorkflowExecutionStatus.RUNNING

        await self.until(there, lambda: f"the end of {self.run_id(number, attempt)}: {found}")
        assert found is not None
        return found

    async def runs(self) -> list[str]:
        """Ids of all runs of this repository."""
        query = f"WorkflowType = 'Pipeline' AND WorkflowId STARTS_WITH 'gh-{OWNER}-{self.name}-'"
        return sorted([found.id async for found in self.client.list_workflows(query)])

    async def handled(self) -> list[DeliveryOutcome]:
        """What became of the deliveries of this repository that concerned us, in the order in which they came."""
        found = []
        for delivery in [headers["x-github-delivery"] for headers, body in self.hub.deliveries if self._mine(body)]:
            handle = self.client.get_workflow_handle(f"gh-delivery-{delivery}", result_type=DeliveryOutcome)
            try:
                found.append(await handle.result())
            except RPCError as error:
                if error.status is not RPCStatusCode.NOT_FOUND:  # the webhook saw that it does not concern us
                    raise
        return found

    def _mine(self, body: bytes) -> bool:
        return bool(json.loads(body).get("repository", {}).get("full_name") == self.full_name)

    async def until(self, condition: Callable[[], Awaitable[bool]], what: Callable[[], str]) -> None:
        """Wait for a condition; fails with what was waited for."""
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not await condition():
            assert asyncio.get_running_loop().time() < deadline, f"not within {PATIENCE:.0f} s: {what()}"
            await asyncio.sleep(0.1)

    def head(self, branch: str) -> str:
        """The commit that a branch is at."""
        return git(self.bare, "rev-parse", branch)


__all__ = ["Forge", "World", "assert_eventually"]
