"""The project's own configuration, `baton.toml` at the root of its base branch: its model and its strict parser. Pure.

The file comes from a repository: its size is bounded, unknown keys are errors, and it changes the rights of agents only
within this model. Whether a requested directory exists is checked where commands run.
"""

import contextlib
import tomllib
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from baton import policies
from baton.errors import ConfigurationError
from baton.records.run import ROLES, Bounds, Fallback, StrictRecord
from baton.settings.bind_paths import refuse_bind
from system.durations import GRAMMAR, parse_duration
from system.path_patterns import parse_pattern

FILE = "baton.toml"
MAX_BYTES = 64_000
_MAX_PATTERNS = 200
_MAX_BINDS = 20
_MAX_DURATION = timedelta(days=30)


def _parse_duration(value: object) -> timedelta:
    """Read seconds as a number, a text such as `90s`, `15m` or `2h`, or a duration as JSON writes it (`PT10M`)."""
    duration = value if isinstance(value, timedelta) else None
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError, ValueError):  # an infinite number, or none
            duration = timedelta(seconds=value)
    elif isinstance(value, str):
        duration = parse_duration(value)
    if duration is None or not timedelta() < duration <= _MAX_DURATION:
        raise ValueError(f"takes seconds, or a text such as {GRAMMAR}, up to 30 days")
    return duration


Duration = Annotated[timedelta, BeforeValidator(_parse_duration)]


def _check_command(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError("must be a shell command")
    return text


CommandText = Annotated[str, StringConstraints(max_length=10_000), AfterValidator(_check_command)]


class _Table(StrictRecord):
    # Strict: `turns = "many"` and `network = 1` are mistakes, not values to convert.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class GateConfig(_Table):
    """The table `[gate]`: the engine's own run of the project's tests."""

    setup: CommandText | None = None
    """Shell command that prepares a clean checkout, such as an installation of packages."""
    test: CommandText | None = None
    """Shell command whose exit code is the verdict; None: derived from the detected technology."""
    timeout: Duration = policies.GATE_TIMEOUT
    """Time limit of each of the two commands."""


Money = Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]


def _maximum(name: str) -> Any:
    """Return the field of a maximum; in the file its name begins with `max_`, and the name without it is taken too."""
    return Field(default=None, validation_alias=AliasChoices(f"max_{name}", name))


class LimitsConfig(_Table):
    """The table `[limits]`: maximums of a run on this project; None leaves one to the caller."""

    usd: Money | None = _maximum("usd")
    """Of the whole run."""
    usd_per_task: Money | None = _maximum("usd_per_task")
    usd_per_session: Money | None = _maximum("usd_per_session")
    turns: Count | None = _maximum("turns")
    """Of one session."""
    turns_per_task: Count | None = _maximum("turns_per_task")
    turns_per_run: Count | None = _maximum("turns_per_run")
    usd_per_day: Money | None = _maximum("usd_per_day")
    """Of a UTC day, over all runs of a home."""
    turns_per_day: Count | None = _maximum("turns_per_day")
    rounds: Annotated[int, Field(ge=1, le=10)] | None = _maximum("rounds")
    parallel: Annotated[int, Field(ge=1, le=32)] | None = _maximum("parallel")
    wall_clock: Duration | None = _maximum("wall_clock")

    @model_validator(mode="before")
    @classmethod
    def _refuse_both_names(cls, table: object) -> object:
        twice = [name for name in cls.model_fields if isinstance(table, dict) and {name, f"max_{name}"} <= table.keys()]
        if twice:
            raise ValueError(f"max_{twice[0]} and {twice[0]} mean the same: keep max_{twice[0]}")
        return table

    def bounds(self) -> Bounds:
        """Return the table as a record, with the wall clock in seconds."""
        seconds = self.wall_clock.total_seconds() if self.wall_clock else None
        return Bounds(**self.model_dump(exclude={"wall_clock"}), wall_clock_seconds=seconds)


class DecisionsConfig(_Table):
    """The table `[decisions]`: the deadline of questions to a person, and the default answer."""

    default: Fallback | None = None
    """The choice after the deadline has passed."""
    deadline: Duration | None = None
    remind: Duration = timedelta(days=1)
    """Time until the first reminder; each further one takes twice as long."""

    @model_validator(mode="after")
    def _both_or_none(self) -> "DecisionsConfig":
        if (self.default is None) != (self.deadline is None):
            raise ValueError("takes `default` and `deadline` together: one without the other has no effect")
        return self


class SandboxConfig(_Table):
    """The table `[sandbox]`: the network and the directories that commands request beyond their workspace."""

    network: bool = False
    binds: list[str] = Field(default_factory=list, max_length=_MAX_BINDS)
    """Directories of toolchains, mounted read-only at their own path; the `bin` of each joins PATH."""

    @field_validator("binds")
    @classmethod
    def _check_binds(cls, binds: list[str]) -> list[str]:
        for bind in binds:
            if fault := refuse_bind(bind):
                raise ValueError(f"{bind[:100]!r} {fault}")
        return binds


class ProjectConfig(_Table):
    """The complete file; its defaults apply to a project without one."""

    gate: GateConfig = GateConfig()
    scope: dict[str, list[str]] = Field(default_factory=dict)
    """Patterns by role; a role that is named here has these instead of its default ones."""
    limits: LimitsConfig = LimitsConfig()
    decisions: DecisionsConfig = DecisionsConfig()
    sandbox: SandboxConfig = SandboxConfig()

    @field_validator("scope")
    @classmethod
    def _known_roles_and_patterns(cls, scope: dict[str, list[str]]) -> dict[str, list[str]]:
        for role, patterns in scope.items():
            if role not in ROLES:
                raise ValueError(f"{role[:40]!r} is not a role; there are {', '.join(ROLES)}")
            if role in ("orchestrator", "reviewer") and patterns:
                raise ValueError(f"the {role} changes nothing, in any project")
            if len(patterns) > _MAX_PATTERNS:
                raise ValueError(f"{role} has more than {_MAX_PATTERNS} patterns")
            for pattern in patterns:
                try:
                    parse_pattern(pattern)
                except ValueError as error:
                    raise ValueError(f"{role}: {error}") from error
        return scope


def parse_config(data: bytes | None) -> ProjectConfig:
    """Read the file's bytes; None (no file) gives the defaults. Raises ConfigurationError with table and key."""
    if data is None:
        return ProjectConfig()
    if len(data) > MAX_BYTES:
        raise ConfigurationError(f"{FILE} has {len(data):,} bytes; {MAX_BYTES:,} are allowed.")
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{FILE} is not UTF-8.") from error
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{FILE} is not TOML: {_one_line(str(error)) or 'too deeply nested'}.") from error
    try:
        return ProjectConfig.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise ConfigurationError(f"{FILE}, {_key_name(first['loc'])}: {_one_line(first['msg'])}.") from error


def _key_name(location: Sequence[int | str]) -> str:
    """Return the table and key of a fault, such as `[gate] timeout` or `[nonsense]`."""
    table, *keys = [str(part)[:60] for part in location] or ["the file"]
    return " ".join([f"[{table}]", *([keys[0]] if keys else [])])


def _one_line(message: str) -> str:
    if message.startswith("Extra inputs are not permitted"):
        return "there is no such key"
    if message.startswith("Input should be a valid dictionary"):
        return "must be a table"
    return " ".join(message.removeprefix("Value error, ").split()).rstrip(".")[:300]
