"""Time-outs, maximums and the retry policy, each with its reason. They may be changed while runs are open.

A time-out is an attribute of a command, and replay does not compare attributes. A constant that decides which commands
a workflow issues belongs to `baton/replayed_figures.py`.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class RetryFigures:
    """The fields of a Temporal retry policy; `maximum_attempts` includes the first attempt."""

    initial_interval: timedelta
    backoff_coefficient: float
    maximum_attempts: int


OUTSIDE_RETRY = RetryFigures(timedelta(seconds=1), 2.0, 3)
"""Policy of every activity that calls an external system: three attempts, with waits of 1 s and 2 s between them."""

TURN_TIMEOUT = timedelta(hours=2)
"""Of one attempt of a turn: tool calls and a model call, each with its own time-out. It ends an attempt that hangs."""

GATE_MARGIN = timedelta(minutes=5)
"""Time of a gate beyond the time-outs of its commands: checkout, set-up of the sandbox, log."""

QUERY_TIMEOUT = timedelta(seconds=10)
"""Of one query that a command of the command line sends to a workflow."""

GIT_TIMEOUT = timedelta(minutes=15)
"""Of a fetch, merge or publication. The first fetch of a large repository takes the longest."""

HEARTBEAT_TIMEOUT = timedelta(seconds=5)
"""Heartbeat time-out: a worker that sends no heartbeat for this long counts as dead."""

HEARTBEAT_INTERVAL = timedelta(seconds=1)
"""Between two heartbeats. A timer sends them, because a thinking model can send no event for minutes.

The answer to a heartbeat also carries a cancellation."""

HEARTBEAT_DELAY = timedelta(milliseconds=250)
"""Before the first heartbeat. A step that ends sooner sends none."""

SCHEDULE_TO_START = timedelta(seconds=2)
"""Schedule-to-start time-out of a step on a host. A host that misses it is busy or dead: its presence queue decides."""

PRESENCE_ANSWER = timedelta(seconds=3)
"""Time for a host to answer on its presence queue, which has slots of its own. Without an answer it counts as dead, and
the run acquires another."""

PRESENCE_INTERVAL = timedelta(seconds=5)
"""Between two checks of a host whether a step waits in its queue although it has free slots."""

MAX_IDLE_FINDINGS = 3
"""Positive checks in a row after which a worker counts as cut off from its queue."""

QUEUE_TIMEOUT = timedelta(days=1)
"""A step that waits for a busy host is scheduled again after this time."""

ATTEND_TIMEOUT = timedelta(days=1)
"""Of one attempt of the activity that holds a host while a step waits in its queue."""

COMMAND_TIMEOUT = timedelta(minutes=2)
"""Of a shell command of an agent that names no time-out."""

MAX_COMMAND_TIMEOUT = timedelta(minutes=10)
"""The longest time-out that an agent may give a shell command."""

GATE_TIMEOUT = timedelta(minutes=10)
"""Of the test command, unless `baton.toml` sets another."""

MODEL_CONNECT_TIMEOUT = timedelta(seconds=5)
"""To connect to the Messages API."""

MODEL_READ_TIMEOUT = timedelta(minutes=10)
"""Between two bytes of an answer. The API sends pings, which the SDK does not pass on."""

GRACEFUL_SHUTDOWN = timedelta(seconds=10)
"""Time for running activities to make a checkpoint when a worker shuts down."""

WORKSPACE_WAIT = timedelta(minutes=5)
"""For the lock of a workspace that an earlier attempt holds. A cancelled attempt releases it within seconds, unless its
process is stopped (SIGSTOP)."""

HOST_ANSWER = timedelta(seconds=5)
"""Of the activity by which a worker names its host. It takes no time; a worker that misses it was stopped meanwhile."""

BRIEF_WAIT = timedelta(seconds=30)
"""For a lock that processes of this host hold for milliseconds: of a ref or of the ledger."""

GITHUB_TIMEOUT = timedelta(minutes=2)
"""Of one attempt to read from or write to GitHub's API, including the reads before a write."""

GITHUB_CALL_TIMEOUT = timedelta(seconds=20)
"""Of one request to GitHub's API. GitHub itself ends requests after 10 s:
https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#timeouts"""

GITHUB_PICKUP = timedelta(minutes=10)
"""A GitHub activity that no worker takes within this time is reported as waiting for one, and scheduled again."""

UNREACHABLE_WAITS = tuple(timedelta(seconds=seconds) for seconds in (30, 60, 120, 300, 600, 900))
"""Backoff between series of attempts while GitHub is unreachable; the last wait repeats."""

MIN_RATE_LIMIT_WAIT = timedelta(minutes=1)
"""After a rate limit without a stated end; the minimum that GitHub asks for:
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit"""

MAX_RATE_LIMIT_WAIT = timedelta(minutes=75)
"""The longest wait that is accepted from an answer of GitHub; its primary rate limit resets every hour."""

MAX_LAST_REPORT_WAIT = timedelta(hours=1)
"""How long the end of a run waits for an unreachable GitHub to accept its last report."""

MAX_PLAN_TASKS = 30
"""Tasks of a plan. A plan with more is sent back to the orchestrator: it is a project and no change."""

MAX_TOOL_OUTPUT = 30_000
"""Characters of one tool result that the model sees; a longer one is cut in its middle."""

MAX_EXCERPT = 160
"""Characters of model text in a turn's summary."""

MAX_LOG_TAIL = 6_000
"""Characters of a gate's log that agents and evidence get; the complete log is in the store."""
