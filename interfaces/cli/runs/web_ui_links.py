"""Links to lists of runs in the Web UI: waiting, costly, failed today."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from workers.temporal_service import TemporalService

_RUNS = "WorkflowType = 'Pipeline'"


@dataclass(frozen=True)
class RunListLink:
    """A list of runs in the Web UI."""

    name: str
    query: str
    """In the list filters of Temporal: https://docs.temporal.io/list-filter."""
    url: str


def make_links(service: TemporalService, usd: float, today: datetime) -> list[RunListLink]:
    """Return the lists; runs above `usd` are costly. Empty if the address of the Web UI is not known."""
    if service.web_ui is None:
        return []
    midnight = today.strftime("%Y-%m-%dT00:00:00Z")
    queries = {
        "all runs": _RUNS,
        "at work": f"{_RUNS} AND BatonStatus IN ('planning', 'working', 'publishing') AND ExecutionStatus = 'Running'",
        "waiting for a person": f"{_RUNS} AND BatonPendingDecisions > 0 AND ExecutionStatus = 'Running'",
        f"over budget (${usd:g})": f"{_RUNS} AND BatonCostUsd > {usd:g}",
        "failed today": f"{_RUNS} AND ExecutionStatus = 'Failed' AND CloseTime > '{midnight}'",
    }
    base = f"{service.web_ui}/namespaces/{quote(service.client.namespace)}/workflows?query="
    return [RunListLink(name, query, base + quote(query)) for name, query in queries.items()]
