"""The client of GitHub's API, with the credential of an App or a token. It makes no retries.

As an App it mints an installation token for each operation, for one repository. That token is never stored, and is
redacted in all text that the operation writes.
"""

import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from gidgethub.httpx import GitHubAPI

from activities.github.errors import translate_errors
from baton.errors import GitHubDenied, GitHubRefused
from baton.policies import GITHUB_CALL_TIMEOUT
from baton.records.issue import Repository
from baton.settings.github import GitHubSettings
from baton.text.redaction import Redactor

_AGENT = "baton"
_HEADERS = {"X-GitHub-Api-Version": "2022-11-28"}
"""https://docs.github.com/en/rest/about-the-rest-api/api-versions"""

_CLOCK_DRIFT = timedelta(minutes=1)
_JWT_LIFE = timedelta(minutes=9)
"""GitHub's maximum is ten minutes."""


def make_http_client() -> httpx2.AsyncClient:
    """Return an HTTP client without retries, for all operations of a worker."""
    return httpx2.AsyncClient(timeout=GITHUB_CALL_TIMEOUT.total_seconds())


class RepositoryApi:
    """GitHub's API for one operation on one repository; paths are relative to the repository."""

    def __init__(self, gh: GitHubAPI, http: httpx2.AsyncClient, repository: Repository, redact: Redactor) -> None:
        self._gh = gh
        self._http = http
        self._root = f"/repos/{repository.owner}/{repository.name}"
        self.redact = redact
        """A redactor of secrets that also knows the operation's token."""

    async def get(self, path: str, doing: str) -> Any:
        """Return one item."""
        with translate_errors(doing, self.redact):
            return await self._gh.getitem(f"{self._root}{path}", extra_headers=_HEADERS)

    async def list_items(self, path: str, doing: str, *, max_items: int, key: str = "items") -> list[Any]:
        """Return at most `max_items` items of a list, over all pages; `key` is the field of an answer with its list."""
        found: list[Any] = []
        with translate_errors(doing, self.redact):
            async for item in self._gh.getiter(f"{self._root}{path}", extra_headers=_HEADERS, iterable_key=key):
                found.append(item)
                if len(found) == max_items:
                    break
        return found

    async def post(self, path: str, data: Mapping[str, Any], doing: str) -> Any:
        """Create an item and return it."""
        with translate_errors(doing, self.redact):
            return await self._gh.post(f"{self._root}{path}", data=dict(data), extra_headers=_HEADERS)

    async def patch(self, path: str, data: Mapping[str, Any], doing: str) -> Any:
        """Edit an item and return it."""
        with translate_errors(doing, self.redact):
            return await self._gh.patch(f"{self._root}{path}", data=dict(data), extra_headers=_HEADERS)

    async def read_tail(self, path: str, doing: str, *, limit: int) -> str:
        """Return the last `limit` bytes of a text, such as a job's log.

        GitHub redirects to another host, which httpx sends no credential.
        """
        kept = b""
        headers = {**_HEADERS, "Authorization": f"Bearer {self._gh.oauth_token}", "User-Agent": _AGENT}
        address = f"{self._gh.base_url}{self._root}{path}"
        with translate_errors(doing, self.redact):
            async with self._http.stream("GET", address, headers=headers, follow_redirects=True) as answer:
                if answer.status_code != 200:
                    raise GitHubRefused(
                        f"GitHub refused {doing}: HTTP {answer.status_code}.", status=answer.status_code
                    )
                async for piece in answer.aiter_bytes():
                    kept = (kept + piece)[-limit:]
        return kept.decode("utf-8", "replace")


class GitHubClient:
    """The credential and the HTTP client, which open operations on repositories."""

    def __init__(self, settings: GitHubSettings, http: httpx2.AsyncClient) -> None:
        self._settings = settings
        self._http = http
        self._secrets = settings.list_github_credentials()
        self._login = ""
        self._key: RSAPrivateKey | None = None

    @property
    def is_configured(self) -> bool:
        """Whether there is a credential."""
        return self.is_app or self._settings.github_token is not None

    @property
    def is_app(self) -> bool:
        """Whether the credential is a GitHub App's; only Apps can write check runs."""
        return self._settings.github_app_id is not None and self._settings.github_private_key is not None

    @asynccontextmanager
    async def open_repository(self, repository: Repository) -> AsyncIterator[RepositoryApi]:
        """Open an operation on a repository, with a token of its own."""
        token = await self._mint_token(repository)
        gh = GitHubAPI(self._http, _AGENT, oauth_token=token, base_url=self._settings.github_api_url)
        yield RepositoryApi(gh, self._http, repository, Redactor([*self._secrets, token]))

    async def read_login(self) -> str:
        """Return the login under which our comments appear."""
        if not self._login:
            if self.is_app:
                self._login = f"{(await self.read_app())['slug']}[bot]"
            else:
                with translate_errors("asking who we are", Redactor(self._secrets)):
                    user = await self._make_api().getitem("/user", oauth_token=self._plain_token())
                self._login = str(user["login"])
        return self._login

    async def read_app(self) -> Any:
        """Return GitHub's record of the App: slug, permissions, events."""
        return await self.get_as_app("/app")

    async def get_as_app(self, path: str) -> Any:
        """Return a record that GitHub has for the App, by its path; authenticated as the App."""
        with translate_errors(f"asking for {path}", Redactor(self._secrets)):
            return await self._make_api().getitem(path, jwt=self._sign_jwt(), extra_headers=_HEADERS)

    async def git_header(self, url: str) -> str | None:
        """Return the header with a token by which git reaches a repository; None if the repository is not on GitHub."""
        root = f"{self._settings.github_url}/"
        owner, _, name = url.removeprefix(root).removesuffix(".git").partition("/")
        if not self.is_configured or not url.startswith(root) or not owner or not name or "/" in name:
            return None
        try:
            token = await self._mint_token(Repository(owner=owner, name=name, clone_url=url))
        except GitHubDenied:
            raise
        except GitHubRefused:  # The App is not installed there; the person's own git may reach it.
            return None
        # https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/authenticating-as-a-github-app-installation#about-authentication-as-a-github-app-installation
        return "Authorization: Basic " + base64.b64encode(f"x-access-token:{token}".encode()).decode()

    def _make_api(self) -> GitHubAPI:
        return GitHubAPI(self._http, _AGENT, base_url=self._settings.github_api_url)

    def _plain_token(self) -> str:
        if self._settings.github_token is None:
            raise GitHubDenied(
                "This worker has no credential for GitHub: set BATON_GITHUB_APP_ID and BATON_GITHUB_PRIVATE_KEY, or"
                " BATON_GITHUB_TOKEN, for all workers, and restart them."
            )
        return self._settings.github_token.get_secret_value()

    def _sign_jwt(self) -> str:
        # https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
        issued = datetime.now(UTC) - _CLOCK_DRIFT
        claims = {"iat": issued, "exp": issued + _JWT_LIFE, "iss": str(self._settings.github_app_id)}
        return jwt.encode(claims, self._app_key(), algorithm="RS256")

    def _app_key(self) -> RSAPrivateKey:
        # Cached, because loading a key checks it, which takes twenty times as long as a signature.
        if self._key is None:
            assert self._settings.github_private_key is not None
            pem = self._settings.github_private_key.get_secret_value().encode()
            try:
                key = load_pem_private_key(pem, password=None)
            except (ValueError, TypeError, UnsupportedAlgorithm) as error:
                raise GitHubDenied(f"BATON_GITHUB_PRIVATE_KEY is not an App's private key: {error}") from None
            if not isinstance(key, RSAPrivateKey):
                raise GitHubDenied("BATON_GITHUB_PRIVATE_KEY is not an App's private key: those are RSA keys.")
            self._key = key
        return self._key

    async def _mint_token(self, repository: Repository) -> str:
        """Return a token for this repository only; the token of the settings if the credential is no App's."""
        if not self.is_app:
            return self._plain_token()
        redact, signed = Redactor(self._secrets), self._sign_jwt()
        installation = repository.installation
        if installation is None:
            with translate_errors(f"looking for the App's installation on {repository.full_name}", redact):
                found = await self._make_api().getitem(
                    f"/repos/{repository.full_name}/installation", jwt=signed, extra_headers=_HEADERS
                )
            installation = int(found["id"])
        doing = f"asking for a token for {repository.full_name}"
        try:
            with translate_errors(doing, redact):
                minted = await self._make_api().post(
                    f"/app/installations/{installation}/access_tokens",
                    data={"repositories": [repository.name]},
                    jwt=signed,
                    extra_headers=_HEADERS,
                )
        except GitHubRefused as error:
            raise GitHubDenied(
                f"{error} Install the GitHub App on {repository.full_name}, then answer `retry`."
            ) from None
        return str(minted["token"])
