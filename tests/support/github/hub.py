"""A GitHub for tests: the emulator behind a proxy that adds what it lacks, git over HTTP with tokens, and faults.

It adds reactions, commit statuses, the check runs of a commit that only git knows, logs of jobs, the refusal of a
second pull request for a branch, and that what was commented on is a pull request. A fault answers in the emulator's
place, or after it has done what was asked.
"""

import asyncio
import base64
import hashlib
import hmac
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tests.conftest import HANGS
from tests.support.github.emulator import BOT, OWNER, PEOPLE, SECRET, token_of
from tests.support.github.smart_http import git_backend

_GIT = re.compile(r"/[\w.-]+/[\w.-]+\.git/.+")
_REACTIONS = re.compile(r"/repos/[\w.-]+/[\w.-]+/issues/(comments/)?\d+/reactions")
_CHECKS_OF = re.compile(r"(/repos/[\w.-]+/[\w.-]+)/commits/([0-9a-f]{40})/check-runs")
_STATUSES = re.compile(r"(/repos/[\w.-]+/[\w.-]+)/statuses/([0-9a-f]{40})")
_STATUSES_OF = re.compile(r"(/repos/[\w.-]+/[\w.-]+)/commits/([0-9a-f]{40})/statuses")
_LOGS = re.compile(r"/repos/[\w.-]+/[\w.-]+/actions/jobs/(\d+)/logs")
_DROPPED = {"host", "content-length", "connection", "accept-encoding", "transfer-encoding", "content-encoding"}


@dataclass
class Fault:
    """An answer in the place of GitHub's."""

    path: str
    """A regular expression that the whole path matches."""
    status: int = 502
    method: str = ".*"
    times: int = 1
    after: bool = False
    """Whether what was asked for is done before."""
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)
    message: str = "Something is wrong"
    status_kept: bool = False
    """Only slow: the answer is GitHub's own."""


class Hub:
    """What answers at GitHub's address."""

    def __init__(self, emulator: str, repositories: Path) -> None:
        self._emulator = emulator
        self._repositories = repositories
        self._http = httpx2.AsyncClient(timeout=HANGS.total_seconds())
        self._tokens = {token_of(person): person for person in PEOPLE}
        self._checks: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        """Method and path of every request, in order."""
        self.reactions: list[tuple[str, str, str]] = []
        """Path, login and content; each once."""
        self.statuses: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.logs: dict[int, str] = {}
        self.receivers: list[str] = []
        """Addresses that the emulator's webhooks go on to."""
        self.copies = 1
        """How often each delivery is sent."""
        self.by_hand = False
        """Whether deliveries come from webhooks that were made by hand, and not from the App's."""
        self.deliveries: list[tuple[dict[str, str], bytes]] = []
        self.minted: list[str] = []
        self.minted_for: list[list[str]] = []
        """Names of the repositories that each token is for."""
        self.answers: dict[str, Any] = {}
        """Answers of a GitHub that is set up in another way, by path."""
        self.hook_url = "https://baton.example.org/webhook"
        self.codes: list[int] = []
        """What the latest deliveries were answered with, as GitHub tells its App."""
        self.writes_at_once = self._writing = 0
        """The most of our writes to the API that were under way at one moment."""
        self.hidden_pulls = 0
        """So many times a search finds no pull requests, as if they came a moment later."""

    def application(self) -> Starlette:
        """The ASGI application."""
        methods = ["GET", "POST", "PATCH", "PUT", "DELETE"]
        return Starlette(
            routes=[
                Route("/_deliveries", self._of_app, methods=["POST"]),
                Route("/_deliveries/by-hand", self._of_hook, methods=["POST"]),
                Route("/_logs/{job:int}", self._log, methods=["GET"]),
                Route("/{path:path}", self._answer, methods=methods),
            ]
        )

    def quiet(self) -> None:
        """No faults, and deliveries go nowhere: as it is between two tests."""
        self.faults, self.receivers, self.answers = [], [], {}
        self.writes_at_once = 0
        self.copies, self.codes, self.hidden_pulls, self.by_hand = 1, [], 0, False

    async def close(self) -> None:
        """Let go of connections."""
        await self._http.aclose()

    async def _answer(self, request: Request) -> Response:
        path, body = request.url.path, await request.body()
        self.requests.append((request.method, path))
        if request.method == "GET" or _GIT.fullmatch(path) or path.endswith("/access_tokens"):
            return await self._fault_or_real(request, path, body)
        self._writing += 1
        self.writes_at_once = max(self.writes_at_once, self._writing)
        try:
            return await self._fault_or_real(request, path, body)
        finally:
            self._writing -= 1

    async def _fault_or_real(self, request: Request, path: str, body: bytes) -> Response:
        fault = self._fault(request.method, path)
        if fault is not None:
            await asyncio.sleep(fault.delay)
        if fault is not None and not fault.after and not fault.status_kept:
            return JSONResponse({"message": fault.message}, fault.status, headers=fault.headers)
        answer = await self._real(request, path, body)
        if fault is not None and fault.after:
            return JSONResponse({"message": fault.message}, fault.status, headers=fault.headers)
        return answer

    def _fault(self, method: str, path: str) -> Fault | None:
        for fault in self.faults:
            if fault.times > 0 and re.fullmatch(fault.method, method) and re.fullmatch(fault.path, path):
                fault.times -= 1
                return fault
        return None

    def _login(self, request: Request) -> str:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind == "Basic":
            token = base64.b64decode(token).decode().partition(":")[2]
        return self._tokens.get(token, "")

    async def _real(self, request: Request, path: str, body: bytes) -> Response:
        if _GIT.fullmatch(path):
            if not self._login(request):
                return Response(status_code=401, headers={"www-authenticate": 'Basic realm="GitHub"'})
            return await git_backend(self._repositories, request, body)
        if _REACTIONS.fullmatch(path):
            return self._react(path, self._login(request), json.loads(body)["content"])
        if found := _CHECKS_OF.fullmatch(path):
            return await self._checks_of(request, found[1], found[2])
        if found := _STATUSES.fullmatch(path):
            status = {**json.loads(body), "id": len(self.statuses[found[2]]) + 1}
            self.statuses[found[2]].insert(0, status)
            return JSONResponse(status, 201)
        if found := _STATUSES_OF.fullmatch(path):
            return JSONResponse(self.statuses[found[2]])
        if path in self.answers:
            return JSONResponse(self.answers[path])
        if path == "/app/hook/config":
            return JSONResponse({"url": self.hook_url, "content_type": "json"})
        if path == "/app/hook/deliveries":
            return JSONResponse([{"id": number, "status_code": code} for number, code in enumerate(self.codes)])
        if found := _LOGS.fullmatch(path):
            if int(found[1]) not in self.logs:
                return JSONResponse({"message": "Not Found"}, 404)
            return RedirectResponse(f"/_logs/{found[1]}", 302)
        if request.method == "GET" and path.endswith("/pulls") and self.hidden_pulls:
            self.hidden_pulls -= 1
            return JSONResponse([])
        if request.method == "POST" and path.endswith("/pulls") and await self._has_pull(request, path, body):
            owner_and_branch = json.loads(body)["head"]
            message = f"A pull request already exists for {owner_and_branch}."
            return JSONResponse({"message": "Validation Failed", "errors": [{"message": message}]}, 422)
        return await self._pass_on(request, path, body)

    async def _pass_on(self, request: Request, path: str, body: bytes) -> Response:
        said = await self._ask(request.method, path, request, body)
        if said.status_code == 201 and path.endswith("/access_tokens"):
            self._tokens[said.json()["token"]] = BOT
            self.minted.append(said.json()["token"])
            self.minted_for.append(json.loads(body)["repositories"])
        if said.status_code == 201 and path.endswith("/check-runs"):
            self._checks[path.removesuffix("/check-runs"), said.json()["head_sha"]].append(said.json()["id"])
        headers = {name: value for name, value in said.headers.items() if name.lower() not in _DROPPED}
        return Response(said.content, said.status_code, headers=headers)

    async def _ask(self, method: str, path: str, request: Request, body: bytes = b"") -> httpx2.Response:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
        query = f"?{request.url.query}" if request.url.query else ""
        return await self._http.request(method, f"{self._emulator}{path}{query}", headers=headers, content=body)

    def _react(self, path: str, login: str, content: str) -> Response:
        reaction = (path.removesuffix("/reactions"), login, content)
        there = reaction in self.reactions
        if not there:
            self.reactions.append(reaction)
        return JSONResponse({"content": content}, 200 if there else 201)

    async def _checks_of(self, request: Request, root: str, commit: str) -> Response:
        runs = []
        for number in self._checks[root, commit]:
            said = await self._http.get(
                f"{self._emulator}{root}/check-runs/{number}",
                headers={"authorization": request.headers["authorization"]},
            )
            runs.append(said.json())
        wanted = request.query_params.get("check_name")
        runs = [run for run in runs if wanted in (None, run["name"])]
        return JSONResponse({"total_count": len(runs), "check_runs": runs})

    async def _has_pull(self, request: Request, path: str, body: bytes) -> bool:
        head = json.loads(body)["head"]
        said = await self._http.get(
            f"{self._emulator}{path}?state=open&per_page=100",
            headers={"authorization": request.headers["authorization"]},
        )
        return any(pull["head"]["ref"] == head for pull in said.json())

    async def _log(self, request: Request) -> Response:
        # What GitHub sends on to lies elsewhere, and must not be shown a credential. Here it is the same host.
        return Response(self.logs[request.path_params["job"]], media_type="text/plain")

    async def _of_app(self, request: Request) -> Response:
        return Response(status_code=202) if self.by_hand else await self._forward_delivery(request)

    async def _of_hook(self, request: Request) -> Response:
        return await self._forward_delivery(request) if self.by_hand else Response(status_code=202)

    async def _forward_delivery(self, request: Request) -> Response:
        body = await request.body()
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _DROPPED}
        body = await self._completed(headers, body)
        self.deliveries.append((headers, body))
        for receiver in self.receivers:
            for _ in range(self.copies):
                await self._http.post(receiver, headers=headers, content=body)
        return Response(status_code=202)

    async def _completed(self, headers: dict[str, str], body: bytes) -> bytes:
        """The emulator does not say that what was commented on is a pull request; GitHub does."""
        payload = json.loads(body)
        if headers["x-github-event"] != "issue_comment":
            return body
        path = f"/repos/{payload['repository']['full_name']}/pulls/{payload['issue']['number']}"
        said = await self._http.get(f"{self._emulator}{path}", headers={"authorization": f"token {token_of(OWNER)}"})
        if said.status_code == 200:
            payload["issue"]["pull_request"] = {"url": said.json()["url"]}
            body = json.dumps(payload).encode()
            digest = hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
            headers["x-hub-signature-256"] = f"sha256={digest}"
        return body
