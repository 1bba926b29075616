"""Settings for GitHub, `BATON_GITHUB_<NAME>`; part of `Settings`. Each secret may lie in a file instead."""

import re
from pathlib import Path

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from baton.errors import ConfigurationError
from baton.text.redaction import has_url_credentials
from system.durations import parse_duration

WEB_ADDRESS = re.compile(r"https?://[^\s/?#]+(?:/[^\s?#]*)?")

_MIN_SECRET_CHARACTERS = 8
_MIN_KEY_LINE = 32
"""Characters of a line of a private key from which on the line is masked by itself."""


class GitHubSettings(BaseSettings):
    """The settings of webhook and worker for GitHub."""

    github_webhook_secret: SecretStr | None = Field(
        default=None, description="Secret of the webhook; several, separated by commas, while it is changed"
    )
    github_webhook_secret_file: Path | None = Field(default=None, description="File with the secret of the webhook")
    github_webhook_host: str = Field(default="127.0.0.1", description="Address that the webhook listens on")
    github_webhook_port: int = Field(default=8473, ge=0, le=65_535, description="Port of the webhook; 0: a free one")
    github_app_id: int | None = Field(default=None, ge=1, description="Id of the GitHub App")
    github_private_key: SecretStr | None = Field(default=None, description="Private key of the GitHub App (PEM)")
    github_private_key_file: Path | None = Field(default=None, description="File with the private key")
    github_token: SecretStr | None = Field(default=None, description="Token to use instead of a GitHub App")
    github_token_file: Path | None = Field(default=None, description="File with the token")
    github_api_url: str = Field(default="https://api.github.com", description="Address of GitHub's REST API")
    github_url: str = Field(default="https://github.com", description="Address of GitHub, for clones and links")
    github_label: str = Field(
        default="baton", min_length=1, max_length=50, description="Label that starts a run on an issue"
    )
    github_bots: str = Field(default="", description="Logins of bots that may trigger, separated by commas")
    github_repositories: str = Field(
        default="", description="Repositories to serve, owner/name or owner/*, separated by commas; empty: all"
    )
    github_coauthor: bool = Field(default=True, description="Name the requester as co-author of the commits")
    github_writes_per_second: float = Field(
        default=1.0, gt=0, allow_inf_nan=False, description="Maximum writes to GitHub's API in a second"
    )

    github_quiet: float = Field(
        default=20.0,
        ge=0,
        le=110,
        allow_inf_nan=False,
        description="Time without a further comment until a review of a pull request becomes a round of work: 20s",
    )

    @field_validator("github_url", "github_api_url", mode="after")
    @classmethod
    def _check_url(cls, url: str) -> str:
        if not WEB_ADDRESS.fullmatch(url) or has_url_credentials(url):
            raise ValueError("it must be an http or https URL without credentials")
        return url.rstrip("/")

    @field_validator("github_quiet", mode="before")
    @classmethod
    def _read_seconds(cls, text: object) -> object:
        span = parse_duration(text) if isinstance(text, str) else None
        return text if span is None else span.total_seconds()

    @model_validator(mode="after")
    def _read_files(self) -> "GitHubSettings":
        for name in ("github_webhook_secret", "github_private_key", "github_token"):
            file = getattr(self, f"{name}_file")
            if file is not None:
                if getattr(self, name) is not None:
                    raise ConfigurationError(
                        f"{_variable_name(name)} and {_variable_name(name)}_FILE are both set: unset one."
                    )
                setattr(self, name, SecretStr(_read_secret_file(f"{name}_file", file)))
        if self.github_private_key is not None:
            key = self.github_private_key.get_secret_value().replace("\\n", "\n").strip() + "\n"
            if not key.startswith("-----BEGIN "):
                raise ConfigurationError("BATON_GITHUB_PRIVATE_KEY is invalid: it must be a private key in PEM form.")
            self.github_private_key = SecretStr(key)
        if any(len(secret) < _MIN_SECRET_CHARACTERS for secret in self.github_webhook_secrets):
            raise ConfigurationError(
                f"BATON_GITHUB_WEBHOOK_SECRET is invalid: a secret has at least {_MIN_SECRET_CHARACTERS} characters;"
                " make one by `openssl rand -hex 32`."
            )
        return self

    @property
    def github_webhook_secrets(self) -> tuple[str, ...]:
        """The secrets that a delivery may be signed with."""
        given = self.github_webhook_secret.get_secret_value() if self.github_webhook_secret else ""
        return tuple(secret.strip() for secret in re.split(r"[,\n]", given) if secret.strip())

    @property
    def github_bot_logins(self) -> frozenset[str]:
        """Logins of bots that may trigger, in lower case."""
        return _split_words(self.github_bots)

    @property
    def github_served(self) -> frozenset[str]:
        """Repositories to serve, in lower case; empty: all."""
        return _split_words(self.github_repositories)

    def list_github_credentials(self) -> list[str]:
        """Return the values that must never be stored or shown."""
        values = list(self.github_webhook_secrets)
        if self.github_token is not None:
            values.append(self.github_token.get_secret_value())
        if self.github_private_key is not None:
            key = self.github_private_key.get_secret_value()
            values += [key, *(line for line in key.splitlines() if len(line) >= _MIN_KEY_LINE)]
        return values


def _split_words(text: str) -> frozenset[str]:
    return frozenset(word for word in re.split(r"[,\s]+", text.lower()) if word)


def _variable_name(name: str) -> str:
    return f"BATON_{name.upper()}"


def _read_secret_file(name: str, file: Path) -> str:
    try:
        text = file.expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        if isinstance(error, RuntimeError):
            reason = "the home directory that `~` stands for is not known"
        raise ConfigurationError(f"{_variable_name(name)} names {file}, which cannot be read: {reason}.") from error
    if not text:
        raise ConfigurationError(f"{_variable_name(name)} names {file}, which is empty.")
    return text
