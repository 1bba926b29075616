"""Every setting, read once from the environment at the edge of a process. Nobody else reads the environment.

Temporal's own settings (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, TLS, profiles) are read by
`temporalio.envconfig`, by the conventions of the `temporal` command.
"""

import os
import re
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import (
    AliasChoices,
    ByteSize,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_settings import SettingsConfigDict

from baton.budget.caps import amount_in
from baton.errors import ConfigurationError
from baton.policies import GATE_MARGIN, TURN_TIMEOUT
from baton.records.base import Count, Usd
from baton.records.run import Bounds
from baton.settings.bind_paths import refuse_for_this_account
from baton.settings.encryption_keys import KeyRing
from baton.settings.github import WEB_ADDRESS, GitHubSettings
from baton.settings.home_directory import default_home, require_writable
from baton.settings.network_names import parse_grants
from baton.text.key_masking import Masker
from baton.text.redaction import url_secrets

SHORTEST_TOKEN = 16
"""Characters of the codec server's token: whoever guesses it reads everything."""

_SOURCE = re.compile(
    r"(?:/|https?://[^/\s]+|ssh://[^/\s]+|git://[^/\s]+|file:///)\S*"  # the beginning of a path or URL
    r"|(?:[\w.-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*(?::[\w~/.-]+)?"  # a host, with a port; or as scp writes it
)

SMALLEST_BOUND = 64_000_000
"""Bytes that a command needs to start at all."""


class SandboxMode(StrEnum):
    """`auto`: the sandbox, or no shell at all. `bwrap`: the same, said explicitly. `none`: no isolation."""

    AUTO = "auto"
    BWRAP = "bwrap"
    NONE = "none"


class Settings(GitHubSettings):
    """Settings of one process; `BATON_<NAME>` in the environment. `baton doctor` lists them."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", env_ignore_empty=True, populate_by_name=True)

    home: Path = Field(
        default_factory=default_home,
        description="Stores, workspaces and the embedded server's state",
    )
    sandbox: SandboxMode = Field(default=SandboxMode.AUTO, description="auto, bwrap or none")
    log: Literal["console", "json"] = Field(default="console", description="Form of the log lines")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="Least level of the log lines"
    )
    service_log: Literal["console", "json"] | None = Field(
        default=None, description="BATON_LOG of up, worker, webhook and codec-server alone, where that is not set"
    )
    service_log_level: Literal["debug", "info", "warning", "error"] | None = Field(
        default=None, description="BATON_LOG_LEVEL of the same services alone, where that is not set"
    )
    state_remote: str | None = Field(
        default=None,
        description="Bare repository that checkpoints are copied to, for takeover by another host",
    )
    prices: Path | None = Field(default=None, description="Price list to use instead of the shipped one")

    orchestrator_model: str | None = Field(default=None, description="Model of the orchestrator, before its file")
    backend_model: str | None = Field(default=None, description="Model of the backend role, before its file")
    frontend_model: str | None = Field(default=None, description="Model of the frontend role, before its file")
    tester_model: str | None = Field(default=None, description="Model of the tester, before its file")
    reviewer_model: str | None = Field(default=None, description="Model of the reviewer, before its file")

    usd_per_run: Usd | None = Field(default=None, description="Most USD of one run")
    usd_per_task: Usd | None = Field(default=None, description="Most USD of one task")
    usd_per_session: Usd | None = Field(default=None, description="Most USD of one session")
    usd_per_day: Usd | None = Field(default=None, description="Most USD of a UTC day, over all runs of this home")
    turns_per_run: Count | None = Field(default=None, description="Most turns of one run")
    turns_per_session: Count | None = Field(default=None, description="Most turns of one session")
    wall_clock: timedelta | None = Field(default=None, description="Longest that a run may work: 90s, 30m, 2h")
    turns_per_task: Count | None = Field(default=None, description="Most turns of one task")
    turns_per_day: Count | None = Field(default=None, description="Most turns of a UTC day, over all runs of this home")
    sandbox_network: Literal["repository", "never"] = Field(
        default="never", description="Whether baton.toml may open the network to commands: repository or never"
    )
    setup_network: Literal["registries", "never"] = Field(
        default="registries",
        description="Whether the set-up of an environment reaches package registries: registries or never",
    )
    submodules: str = Field(
        default="",
        description="Hosts or beginnings of URLs from which submodules are fetched, divided by commas; none by default",
    )
    sandbox_binds: str = Field(
        default="",
        description="Directories that baton.toml may ask to have shown to commands, read-only; separated by colons",
    )
    decision_defaults: Literal["repository", "never"] = Field(
        default="never",
        description="Whether baton.toml may have open decisions answered after a deadline: repository or never",
    )
    max_gate_timeout: timedelta = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        le=TURN_TIMEOUT - GATE_MARGIN,
        description="Longest that baton.toml may let set-up or tests of the gate take: 90s, 30m, 1h",
    )
    sandbox_memory: ByteSize | None = Field(
        default=None, description="Most memory of one command: 4GB, 512MB; by the size of the machine where not set"
    )
    sandbox_memory_total: ByteSize | None = Field(
        default=None, description="Most memory of all commands of a worker together; four fifths of the machine"
    )
    sandbox_processes: int | None = Field(
        default=None, ge=32, le=1_000_000, description="Most processes and threads of one command; 2048 where not set"
    )
    sandbox_disk: ByteSize = Field(
        default=ByteSize(20_000_000_000),
        description="Most that one command may add to its working directory, and never over half of what is free",
    )
    target_hooks: Literal["never", "run"] = Field(
        default="never", description="Whether a target repository at a path runs its own hooks: never or run"
    )
    network_allow: str | None = Field(
        default=None,
        description="Names that an open network reaches, none but these where set: pypi.org,*.example.org,host:port",
    )
    https_proxy: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("HTTPS_PROXY", "HTTP_PROXY"),
        description="Proxy through which an open network goes out (HTTPS_PROXY)",
    )
    no_proxy: str | None = Field(
        default=None, validation_alias=AliasChoices("NO_PROXY"), description="Hosts reached without it (NO_PROXY)"
    )
    max_output_tokens: int = Field(default=32_000, ge=1_024, le=128_000, description="Most tokens of one answer")
    cache_ttl: Literal["5m", "1h"] = Field(default="1h", description="Lifetime of the prompt cache")
    max_activities: int = Field(default=64, ge=1, description="Activities that one worker runs at once")
    disk_warn_gb: float = Field(
        default=5.0,
        ge=0,
        allow_inf_nan=False,
        description="Free GB of BATON_HOME's disk below which a warning is given",
    )
    disk_floor_gb: float = Field(
        default=0.5, ge=0, allow_inf_nan=False, description="Free GB below which no new run begins"
    )
    server_port: int | None = Field(default=None, description="Port of the embedded server; free ports where not set")
    ui_port: int | None = Field(default=None, description="Port of the embedded server's Web UI")

    metrics_address: str | None = Field(
        default=None, description="Where `up`, `worker` and `webhook` serve Prometheus metrics, as 127.0.0.1:9464"
    )
    otlp_endpoint: str | None = Field(
        default=None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"),
        description="Where traces go (OTEL_EXPORTER_OTLP_ENDPOINT); needs the extra `otel`",
    )
    secrets_dir: Path | None = Field(
        default=None,
        description="Directory with a file for each secret, named like its variable in lower case",
    )
    encryption_keys: SecretStr | None = Field(
        default=None,
        description="Keys that encrypt what goes to the Temporal server: ID:BASE64, the first one is current",
    )
    codec_token: SecretStr | None = Field(
        default=None,
        description="Token of the codec server, for Web UI and `temporal` command; 16 characters or more",
    )

    web_ui: str | None = Field(
        default=None,
        description="Address of the Web UI of a configured Temporal server, for links; the embedded one knows its own",
    )

    api_key: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("ANTHROPIC_API_KEY"),
        description="Key of the Messages API (ANTHROPIC_API_KEY)",
    )
    base_url: str | None = Field(
        default=None,
        validation_alias=AliasChoices("ANTHROPIC_BASE_URL"),
        description="Address of the Messages API or a gateway (ANTHROPIC_BASE_URL)",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_not_set(cls, value: object, info: ValidationInfo) -> object:
        """A secret's file that is empty says nothing, as an empty variable does."""
        optional = info.field_name is not None and cls.model_fields[info.field_name].default is None
        return None if optional and isinstance(value, str) and not value.strip() else value

    @field_validator("wall_clock", "max_gate_timeout", mode="before")
    @classmethod
    def _span(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        seconds = amount_in(text, "seconds")
        if seconds is None:
            raise ValueError("write a time such as 90s, 30m or 2h")
        return timedelta(seconds=seconds)

    @field_validator("sandbox_memory", "sandbox_memory_total", "sandbox_disk", mode="wrap")
    @classmethod
    def _size(cls, text: object, read: ValidatorFunctionWrapHandler) -> object:
        try:
            size = read(text)
        except ValidationError as error:
            raise ValueError("write a size such as 4GB or 512MB") from error
        if size is not None and size < SMALLEST_BOUND:
            raise ValueError("write a size such as 4GB or 512MB, of 64MB or more")
        return size

    @field_validator("submodules", mode="after")
    @classmethod
    def _sources(cls, text: str) -> str:
        for entry in filter(None, map(str.strip, text.split(","))):
            if not _SOURCE.fullmatch(entry):
                raise ValueError(
                    f"{entry[:80]!r} is no host and no beginning of a URL or path; write github.com,"
                    " https://git.example.org/team or /path/to/mirrors"
                )
        return text

    @field_validator("network_allow", mode="after")
    @classmethod
    def _names(cls, text: str | None) -> str | None:
        if text is not None:
            parse_grants(text)
        return text

    @field_validator("web_ui", "base_url", mode="after")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is not None and not WEB_ADDRESS.fullmatch(url):
            raise ValueError("it must be an http or https URL")
        return url if url is None else url.rstrip("/")

    @field_validator("codec_token", mode="after")
    @classmethod
    def _long_enough(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < SHORTEST_TOKEN:
            raise ValueError(f"a token has {SHORTEST_TOKEN} characters or more")
        return token

    @field_validator("home", mode="after")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        try:
            return home.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("the home directory that `~` stands for is not known: write the whole path") from error

    @model_validator(mode="after")
    def _binds_that_may_be(self) -> "Settings":
        for directory in self.allowed_binds():
            fault = refuse_for_this_account(directory, baton_home=self.home)
            if fault:
                raise ConfigurationError(
                    f"BATON_SANDBOX_BINDS does not fit: {directory} {fault}; take it off the list, for commands of"
                    " agents never see such a place."
                )
        return self

    def allowed_binds(self) -> tuple[Path, ...]:
        """The directories on or below which `baton.toml` may ask for one."""
        entries = [entry.strip() for entry in self.sandbox_binds.split(":")]
        return tuple(dict.fromkeys(Path(entry).expanduser() for entry in entries if entry))

    def model_for(self, role: str) -> str | None:
        """The model that the environment names for a role (`BATON_<ROLE>_MODEL`)."""
        value = getattr(self, f"{role}_model", None)
        return value if isinstance(value, str) else None

    def bounds(self) -> Bounds:
        """Return the limits of a run that the environment names."""
        return Bounds(
            usd=self.usd_per_run,
            usd_per_task=self.usd_per_task,
            usd_per_session=self.usd_per_session,
            turns=self.turns_per_session,
            turns_per_task=self.turns_per_task,
            turns_per_run=self.turns_per_run,
            usd_per_day=self.usd_per_day,
            turns_per_day=self.turns_per_day,
            wall_clock_seconds=self.wall_clock.total_seconds() if self.wall_clock else None,
        )

    def for_service(self) -> "Settings":
        """The settings of a command that serves: its own form and level of log lines, where none is set for all."""
        own = {"log": self.service_log, "log_level": self.service_log_level}
        return self.model_copy(
            update={name: value for name, value in own.items() if value and name not in self.model_fields_set}
        )

    def secrets(self) -> list[str]:
        """Values that must never be stored or shown."""
        own = [secret.get_secret_value() for secret in (self.api_key, self.codec_token) if secret]
        keys = self.encryption_keys.get_secret_value() if self.encryption_keys else ""
        encoded = [entry.partition(":")[2].strip() for entry in re.split(r"[,\n]", keys)]
        proxy = url_secrets(self.https_proxy.get_secret_value()) if self.https_proxy else []
        return [*own, *filter(None, encoded), *url_secrets(self.state_remote or ""), *proxy, *self.github_credentials()]

    def require_home(self) -> None:
        """Raise NoHome where this user may not write to the home, or not make it."""
        require_writable(self.home, named="home" in self.model_fields_set)

    def masker(self) -> Masker:
        """What masks these secrets in the words of people, under the names of their settings."""
        known = (
            ("ANTHROPIC_API_KEY", [self.api_key.get_secret_value()] if self.api_key else []),
            ("BATON_CODEC_TOKEN", [self.codec_token.get_secret_value()] if self.codec_token else []),
            ("BATON_STATE_REMOTE", url_secrets(self.state_remote or "")),
            ("BATON_GITHUB_WEBHOOK_SECRET", list(self.github_webhook_secrets)),
            ("BATON_GITHUB_TOKEN", [self.github_token.get_secret_value()] if self.github_token else []),
        )
        named = {value: name for name, values in known for value in values}
        github = dict.fromkeys(self.github_credentials(), "BATON_GITHUB_PRIVATE_KEY")
        return Masker({**dict.fromkeys(self.secrets(), "BATON_ENCRYPTION_KEYS"), **github, **named})

    def key_ring(self) -> KeyRing | None:
        """The keys that encrypt what goes to the Temporal server; None where nothing is encrypted."""
        return KeyRing.parse(self.encryption_keys.get_secret_value()) if self.encryption_keys else None


def read_settings(**overrides: object) -> Settings:
    """Read the environment; raises ConfigurationError that names the variable and what it takes.

    What stands in the environment wins over the files of `BATON_SECRETS_DIR`.
    """
    secrets = os.environ.get("BATON_SECRETS_DIR")
    if secrets and not Path(secrets).is_dir():
        raise ConfigurationError(f"BATON_SECRETS_DIR does not fit: {secrets} is not a directory.")
    try:
        return Settings(_secrets_dir=secrets or None, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        variable = name if name.isupper() else f"BATON_{name.upper()}"
        raise ConfigurationError(f"{variable} does not fit: {first['msg'].removeprefix('Value error, ')}") from error
