"""The settings of a process, read once from the environment when a command starts. No other module reads it.

Temporal's own settings (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`, TLS, profiles) are read by
`temporalio.envconfig`, by the conventions of the `temporal` command.
"""

import os
import re
from datetime import timedelta
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

from baton.errors import ConfigurationError
from baton.policies import GATE_MARGIN, TURN_TIMEOUT
from baton.records.base import Count, Usd
from baton.records.run import Bounds
from baton.settings.bind_paths import refuse_for_this_account
from baton.settings.choices import SandboxMode as SandboxMode
from baton.settings.encryption_keys import KeyRing
from baton.settings.github import WEB_ADDRESS, GitHubSettings
from baton.settings.home_directory import find_default_home, require_writable
from baton.settings.network_names import parse_grants
from baton.settings.variables import cap_field, variables_of
from baton.text.key_masker import KeyMasker
from baton.text.redaction import url_secrets
from system.durations import GRAMMAR, parse_duration

MIN_TOKEN_CHARACTERS = 16
"""The codec server decrypts every payload for the holder of its token, so the token must not be guessable."""

_SOURCE = re.compile(
    r"(?:/|https?://[^/\s]+|ssh://[^/\s]+|git://[^/\s]+|file:///)\S*"  # the beginning of a path or URL
    r"|(?:[\w.-]+@)?[A-Za-z0-9][A-Za-z0-9.-]*(?::[\w~/.-]+)?"  # a host, with a port; or as scp writes it
)

MIN_BOUND = 64_000_000
"""Bytes of memory that a command needs to start at all."""


class Settings(GitHubSettings):
    """The settings of one process; `BATON_<NAME>` in the environment. `baton config` lists them."""

    model_config = SettingsConfigDict(env_prefix="BATON_", extra="ignore", env_ignore_empty=True, populate_by_name=True)

    home: Path = Field(
        default_factory=find_default_home,
        description="Stores, workspaces and the embedded server's state",
    )
    sandbox: SandboxMode = Field(default=SandboxMode.AUTO, description="auto, bwrap or none")
    log: Literal["console", "json"] = Field(default="console", description="Form of the log lines")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="warning", description="Lowest level of the log lines that are written"
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

    usd_per_run: Usd | None = cap_field("MAX_USD", "USD_PER_RUN", "Maximum USD of one run")
    usd_per_task: Usd | None = cap_field("MAX_USD_PER_TASK", "USD_PER_TASK", "Maximum USD of one task")
    usd_per_session: Usd | None = cap_field("MAX_USD_PER_SESSION", "USD_PER_SESSION", "Maximum USD of one session")
    usd_per_day: Usd | None = cap_field(
        "MAX_USD_PER_DAY", "USD_PER_DAY", "Maximum USD of a UTC day, over all runs of this home"
    )
    turns_per_run: Count | None = cap_field("MAX_TURNS_PER_RUN", "TURNS_PER_RUN", "Maximum turns of one run")
    turns_per_session: Count | None = cap_field("MAX_TURNS", "TURNS_PER_SESSION", "Maximum turns of one session")
    wall_clock: timedelta | None = cap_field(
        "MAX_WALL_CLOCK", "WALL_CLOCK", f"Maximum time that a run may work: {GRAMMAR}"
    )
    turns_per_task: Count | None = cap_field("MAX_TURNS_PER_TASK", "TURNS_PER_TASK", "Maximum turns of one task")
    turns_per_day: Count | None = cap_field(
        "MAX_TURNS_PER_DAY", "TURNS_PER_DAY", "Maximum turns of a UTC day, over all runs of this home"
    )
    sandbox_network: Literal["repository", "never"] = Field(
        default="never", description="Whether baton.toml may open the network to commands: repository or never"
    )
    setup_network: Literal["registries", "never"] = Field(
        default="registries",
        description="Whether the set-up of an environment reaches package registries: registries or never",
    )
    submodules: str = Field(
        default="",
        description="Hosts or prefixes of URLs from which submodules are fetched, separated by commas; none by default",
    )
    sandbox_binds: str = Field(
        default="",
        description="Directories that baton.toml may mount read-only for commands; separated by colons",
    )
    decision_defaults: Literal["repository", "never"] = Field(
        default="never",
        description="Whether baton.toml may set a default answer for decisions after a deadline: repository or never",
    )
    max_gate_timeout: timedelta = Field(
        default=timedelta(hours=1),
        gt=timedelta(0),
        le=TURN_TIMEOUT - GATE_MARGIN,
        description=f"Maximum time that baton.toml may give set-up or tests of the gate: {GRAMMAR}",
    )
    sandbox_memory: ByteSize | None = Field(
        default=None, description="Maximum memory of one command: 4GB, 512MB; by the size of the machine where not set"
    )
    sandbox_memory_total: ByteSize | None = Field(
        default=None,
        description="Maximum memory of all commands of a worker together; not set: 80 % of the machine",
    )
    sandbox_processes: int | None = Field(
        default=None,
        ge=32,
        le=1_000_000,
        description="Maximum processes and threads of one command; not set: 2048",
    )
    sandbox_disk: ByteSize = Field(
        default=ByteSize(20_000_000_000),
        description="Maximum size that one command may add to its working directory, at most half of the free space",
    )
    target_hooks: Literal["never", "run"] = Field(
        default="never", description="Whether a target repository at a path runs its own hooks: never or run"
    )
    network_allow: str | None = Field(
        default=None,
        description="The only names that an open network reaches, where set: pypi.org,*.example.org,host:port",
    )
    https_proxy: SecretStr | None = Field(
        default=None,
        validation_alias=AliasChoices("HTTPS_PROXY", "HTTP_PROXY"),
        description="Proxy through which an open network goes out (HTTPS_PROXY)",
    )
    no_proxy: str | None = Field(
        default=None, validation_alias=AliasChoices("NO_PROXY"), description="Hosts reached without it (NO_PROXY)"
    )
    max_output_tokens: int = Field(default=32_000, ge=1_024, le=128_000, description="Maximum tokens of one answer")
    cache_ttl: Literal["5m", "1h"] = Field(default="1h", description="Lifetime of the prompt cache")
    max_activities: int = Field(default=64, ge=1, description="Maximum activities that one worker runs at once")
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
    def _read_empty_as_unset(cls, value: object, info: ValidationInfo) -> object:
        """Read an empty file of a secret as not set, as an empty variable is."""
        optional = info.field_name is not None and cls.model_fields[info.field_name].default is None
        return None if optional and isinstance(value, str) and not value.strip() else value

    @field_validator("wall_clock", "max_gate_timeout", mode="before")
    @classmethod
    def _read_duration(cls, text: object) -> object:
        if not isinstance(text, str):
            return text
        span = parse_duration(text)
        if span is None:
            raise ValueError(f"write a duration such as {GRAMMAR}")
        return span

    @field_validator("sandbox_memory", "sandbox_memory_total", "sandbox_disk", mode="wrap")
    @classmethod
    def _read_size(cls, text: object, read: ValidatorFunctionWrapHandler) -> object:
        try:
            size = read(text)
        except ValidationError as error:
            raise ValueError("write a size such as 4GB or 512MB") from error
        if size is not None and size < MIN_BOUND:
            raise ValueError("write a size such as 4GB or 512MB, of 64MB or more")
        return size

    @field_validator("submodules", mode="after")
    @classmethod
    def _check_submodules(cls, text: str) -> str:
        for entry in filter(None, map(str.strip, text.split(","))):
            if not _SOURCE.fullmatch(entry):
                raise ValueError(
                    f"{entry[:80]!r} is no host and no prefix of a URL or path; write github.com,"
                    " https://git.example.org/team or /path/to/mirrors"
                )
        return text

    @field_validator("network_allow", mode="after")
    @classmethod
    def _check_network_names(cls, text: str | None) -> str | None:
        if text is not None:
            parse_grants(text)
        return text

    @field_validator("web_ui", "base_url", mode="after")
    @classmethod
    def _check_web_address(cls, url: str | None) -> str | None:
        if url is not None and not WEB_ADDRESS.fullmatch(url):
            raise ValueError("it must be an http or https URL")
        return url if url is None else url.rstrip("/")

    @field_validator("codec_token", mode="after")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and len(token.get_secret_value()) < MIN_TOKEN_CHARACTERS:
            raise ValueError(f"a token has {MIN_TOKEN_CHARACTERS} characters or more")
        return token

    @field_validator("home", mode="after")
    @classmethod
    def _make_absolute(cls, home: Path) -> Path:
        try:
            return home.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("the home directory that `~` stands for is not known: write the whole path") from error

    @model_validator(mode="after")
    def _check_binds(self) -> "Settings":
        for directory in self.list_allowed_binds():
            fault = refuse_for_this_account(directory, baton_home=self.home)
            if fault:
                raise ConfigurationError(
                    f"BATON_SANDBOX_BINDS is invalid: {directory} {fault}; take it off the list: commands of agents"
                    " never see such a directory."
                )
        return self

    def list_allowed_binds(self) -> tuple[Path, ...]:
        """Return the directories that `baton.toml` may mount for commands, themselves or a directory below."""
        entries = [entry.strip() for entry in self.sandbox_binds.split(":")]
        return tuple(dict.fromkeys(Path(entry).expanduser() for entry in entries if entry))

    def model_of_role(self, role: str) -> str | None:
        """Return the model that `BATON_<ROLE>_MODEL` names for a role; None where it is not set."""
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

    def adapt_to_service(self) -> "Settings":
        """Return the settings of a service: `BATON_SERVICE_LOG*` hold where `BATON_LOG*` are not set."""
        own = {"log": self.service_log, "log_level": self.service_log_level}
        return self.model_copy(
            update={name: value for name, value in own.items() if value and name not in self.model_fields_set}
        )

    def list_secrets(self) -> list[str]:
        """Return the values that must never be stored or shown."""
        own = [secret.get_secret_value() for secret in (self.api_key, self.codec_token) if secret]
        keys = self.encryption_keys.get_secret_value() if self.encryption_keys else ""
        encoded = [entry.partition(":")[2].strip() for entry in re.split(r"[,\n]", keys)]
        proxy = url_secrets(self.https_proxy.get_secret_value()) if self.https_proxy else []
        return [
            *own,
            *filter(None, encoded),
            *url_secrets(self.state_remote or ""),
            *proxy,
            *self.list_github_credentials(),
        ]

    def require_home(self) -> None:
        """Raise NoHome if this user can neither write to the home nor make it."""
        require_writable(self.home, named="home" in self.model_fields_set)

    def make_masker(self) -> KeyMasker:
        """Return the masker of these secrets in texts of people; it names the setting of each."""
        known = (
            ("ANTHROPIC_API_KEY", [self.api_key.get_secret_value()] if self.api_key else []),
            ("BATON_CODEC_TOKEN", [self.codec_token.get_secret_value()] if self.codec_token else []),
            ("BATON_STATE_REMOTE", url_secrets(self.state_remote or "")),
            ("BATON_GITHUB_WEBHOOK_SECRET", list(self.github_webhook_secrets)),
            ("BATON_GITHUB_TOKEN", [self.github_token.get_secret_value()] if self.github_token else []),
        )
        named = {value: name for name, values in known for value in values}
        github = dict.fromkeys(self.list_github_credentials(), "BATON_GITHUB_PRIVATE_KEY")
        return KeyMasker({**dict.fromkeys(self.list_secrets(), "BATON_ENCRYPTION_KEYS"), **github, **named})

    def make_key_ring(self) -> KeyRing | None:
        """Return the keys that encrypt payloads for the Temporal server; None where payloads are not encrypted."""
        return KeyRing.parse_keys(self.encryption_keys.get_secret_value()) if self.encryption_keys else None


def read_settings(**overrides: object) -> Settings:
    """Read the environment; raises ConfigurationError that names the variable and the values it takes.

    The environment wins over the files of `BATON_SECRETS_DIR`, and `overrides`, by field name, win over both.
    """
    secrets = os.environ.get("BATON_SECRETS_DIR")
    if secrets and not Path(secrets).is_dir():
        raise ConfigurationError(f"BATON_SECRETS_DIR is invalid: {secrets} is not a directory.")
    for name, field in Settings.model_fields.items():
        new, *old = variables_of(name, field)
        if old and os.environ.get(new) and os.environ.get(old[0]):
            raise ConfigurationError(f"{new} and {old[0]}, its old name, are both set: unset {old[0]}.")
    try:
        return Settings(_secrets_dir=secrets or None, **overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        variable = _variable_of_error(str(first["loc"][0])) if first["loc"] else "?"
        raise ConfigurationError(f"{variable} is invalid: {first['msg'].removeprefix('Value error, ')}") from error


def _variable_of_error(location: str) -> str:
    """Return the variable that an error is about, by the name under which it is set."""
    for name, field in Settings.model_fields.items():
        variables = variables_of(name, field)
        if location in (name, *variables):
            return next((variable for variable in variables if os.environ.get(variable)), variables[0])
    return location
