"""The limits of a run: one list of names (`ProcessBounds`), three sources that can name each of them."""

from baton.records.run import DecisionPolicy, RunLimits, RunRequest
from baton.settings.core import Settings
from workspaces.project.baton_toml import ProjectConfig


def limits_of(request: RunRequest, config: ProjectConfig, settings: Settings) -> RunLimits:
    """Return the run's limits: each as the request says, else the stricter of `baton.toml` and the settings.

    A repository is not trusted: it can make a person's caps tighter, never wider.
    """
    repository, person, asked = config.limits.bounds().named(), settings.bounds().named(), request.named()
    stricter = {
        name: min(bounds[name] for bounds in (repository, person) if name in bounds)
        for name in repository.keys() | person.keys()
    }
    return RunLimits.model_validate(stricter | asked)


def decisions_of(request: RunRequest, config: ProjectConfig) -> DecisionPolicy:
    """Return how long decisions wait: as the request says, else as `baton.toml` says, else without a deadline."""
    table = config.decisions
    default, deadline = table.default, table.deadline.total_seconds() if table.deadline else None
    if request.decision_default is not None:
        default, deadline = request.decision_default, request.decision_deadline_seconds or deadline
    return DecisionPolicy(default=default, deadline_seconds=deadline, remind_seconds=table.remind.total_seconds())
