"""The grants of a person for the requests in a repository's `baton.toml`; a note says what is granted or refused.

A repository can make the limits of a run narrower by itself, and wider only as far as the worker's settings allow.
"""

from datetime import timedelta

from baton.records.run import RunLimits, RunRequest
from baton.settings.core import Settings
from workspaces.project.baton_toml import ProjectConfig
from workspaces.sandbox.sandbox import Sandbox


async def grant_config(
    config: ProjectConfig, request: RunRequest, settings: Settings, sandbox: Sandbox, notes: list[str]
) -> ProjectConfig:
    """Return the configuration as far as it is granted; `binds` are the directories that commands can read now."""
    for narrow in (_grant_gate_timeout, _grant_decision_defaults):
        config = narrow(config, settings, notes)
    within = request.decision_deadline_seconds or config.decisions.deadline
    if request.decision_default is not None and within is None:
        notes.append("An unanswered decision waits: `--decision-default` has no effect without `--decision-deadline`.")
    if request.decision_deadline_seconds is not None and request.decision_default is config.decisions.default is None:
        notes.append("An unanswered decision waits: `--decision-deadline` has no effect without `--decision-default`.")
    config = _grant_limits(config, request, settings, notes)
    return await _grant_binds(config, sandbox, notes)


def note_isolation(asked: ProjectConfig, sandbox: Sandbox, notes: list[str]) -> None:
    """Add a note that `[sandbox]` has no effect without isolation."""
    if sandbox.status.kind == "none" and (asked.sandbox.binds or asked.sandbox.network):
        notes.append(
            "BATON_SANDBOX=none: [sandbox] in baton.toml changes nothing, for commands see all directories and the"
            " network as the worker does."
        )


def _grant_gate_timeout(config: ProjectConfig, settings: Settings, notes: list[str]) -> ProjectConfig:
    longest = settings.max_gate_timeout
    if config.gate.timeout <= longest:
        return config
    notes.append(
        f"The repository's baton.toml lets the gate's commands take {_format_duration(config.gate.timeout)} each;"
        f" {_format_duration(longest)} is the longest that BATON_MAX_GATE_TIMEOUT allows, and holds."
    )
    return config.model_copy(update={"gate": config.gate.model_copy(update={"timeout": longest})})


def _grant_decision_defaults(config: ProjectConfig, settings: Settings, notes: list[str]) -> ProjectConfig:
    table = config.decisions
    if table.default is None or table.deadline is None:
        return config
    choice = f"answered with {table.default!r} after {_format_duration(table.deadline)}"
    if settings.decision_defaults == "repository":
        notes.append(
            f"An open decision is {choice}, as the repository's baton.toml asks and BATON_DECISION_DEFAULTS allows."
        )
        return config
    notes.append(
        f"The repository's baton.toml asks that an open decision be {choice}; it is not, and waits for a person."
        " BATON_DECISION_DEFAULTS=repository would allow it, and `baton run --decision-default` says it for one run."
    )
    return config.model_copy(update={"decisions": table.model_copy(update={"default": None, "deadline": None})})


def _grant_limits(config: ProjectConfig, request: RunRequest, settings: Settings, notes: list[str]) -> ProjectConfig:
    """Cut limits of the repository to the defaults, which a repository does not widen unless the request does."""
    known = RunLimits()
    bounds = {"rounds": known.rounds, "parallel": known.parallel, "turns": settings.turns_per_session or known.turns}
    cut = {}
    for name, bound in bounds.items():
        asked = getattr(config.limits, name)
        # A person's option comes before the repository's limit.
        if asked is not None and asked > bound and getattr(request, name) is None:
            notes.append(
                f"The repository's baton.toml asks for {asked} as [limits] {name}; {bound} holds, and"
                f" `baton run --{name}` allows more."
            )
            cut[name] = bound
    return config.model_copy(update={"limits": config.limits.model_copy(update=cut)}) if cut else config


async def _grant_binds(config: ProjectConfig, sandbox: Sandbox, notes: list[str]) -> ProjectConfig:
    if not config.sandbox.binds:
        return config
    judged = await sandbox.with_binds(config.sandbox.binds).binds.decide_binds()
    for bind in judged.granted:
        notes.append(
            f"Commands of agents and tests can read {bind.target}, as the repository's baton.toml asks and"
            " BATON_SANDBOX_BINDS allows."
        )
    notes += [f"[sandbox] binds in baton.toml: {sentence}" for sentence in judged.refused]
    asked = [str(name) for bind in judged.granted for name in (bind.target, *bind.names)]
    return config.model_copy(update={"sandbox": config.sandbox.model_copy(update={"binds": asked})})


def _format_duration(time: timedelta) -> str:
    seconds = time.total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
