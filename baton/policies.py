"""Timeouts and the retry policy, each with its reason. All of them may be edited while runs are open.

A time-out is an attribute of a command, which a replay does not compare. A figure that decides which commands a
workflow gives stands in `baton/replayed_figures.py`.

The figures of the retry policy are the owner's: two attempts after the first, waits of 1 s and 2 s.
"""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class Retry:
    """A retry policy in Temporal's words; `maximum_attempts` counts the first try."""

    initial_interval: timedelta
    backoff_coefficient: float
    maximum_attempts: int


OUTSIDE = Retry(timedelta(seconds=1), 2.0, 3)
"""For every activity that talks to the outside: first try + 2, after 1 s and 2 s."""

TURN_TIMEOUT = timedelta(hours=2)
"""One attempt of a turn: tool calls and a model call, each bounded on its own. A wedged attempt ends here."""

GATE_MARGIN = timedelta(minutes=5)
"""What a gate may take beyond the time-outs of its own commands: checkout, set-up of the sandbox, log."""

QUERY_LIMIT = timedelta(seconds=10)
"""How long a worker may take to answer a query of a command."""

GIT_TIMEOUT = timedelta(minutes=15)
"""Fetch, merge and publish. A first fetch of a large repository is the longest."""

HEARTBEAT = timedelta(seconds=5)
"""Without a heartbeat for this long the worker counts as dead. Cancellation arrives by heartbeat, too."""

HEARTBEAT_EVERY = timedelta(seconds=1)
"""Sent on a timer, not per event: thinking can be silent for minutes."""

HEARTBEAT_FIRST = timedelta(milliseconds=250)
"""Before the first heartbeat. A step that ends sooner sends none; cancelling one that does not is no later for it."""

SCHEDULE_TO_START = timedelta(seconds=2)
"""A host that does not take its work within this time is busy or gone; it is asked which."""

PRESENCE_ANSWER = timedelta(seconds=3)
"""A host that does not say within this time that it lives, on slots for that alone, is gone: another is acquired."""

LOOK_EVERY = timedelta(seconds=5)
"""Between two looks of a host's whether it leaves a step lying though its hands are free."""

MAX_LEFT_LYING = 3
"""After so many of these looks in a row a worker counts as cut off from its queue."""

QUEUE_TIMEOUT = timedelta(days=1)
"""A step that waits for a busy host is put into its queue anew after this time."""

ATTEND_TIMEOUT = timedelta(days=1)
"""One attempt to stay on a host while a step waits there."""

COMMAND_TIMEOUT = timedelta(minutes=2)
"""A shell command of an agent, unless it asks for another time."""

COMMAND_TIMEOUT_MAX = timedelta(minutes=10)
"""The longest time a shell command of an agent may ask for."""

GATE_TIMEOUT = timedelta(minutes=10)
"""The test command, unless `baton.toml` says otherwise."""

MODEL_CONNECT_TIMEOUT = timedelta(seconds=5)
"""To reach the Messages API at all."""

MODEL_READ_TIMEOUT = timedelta(minutes=10)
"""Between two bytes of an answer. The API sends pings, which the SDK swallows."""

GRACEFUL_SHUTDOWN = timedelta(seconds=10)
"""What running activities get to checkpoint when a worker is told to stop."""

WORKSPACE_WAIT = timedelta(minutes=5)
"""For a workspace that an earlier attempt holds. One that was given up ends within seconds, unless it was stopped."""

HOST_ANSWER = timedelta(seconds=5)
"""To name a host is nothing to do: one that does not answer within this time has been stopped with the question."""

BRIEF_WAIT = timedelta(seconds=30)
"""For what another process on this host does in milliseconds: to move a ref, to open the ledger."""

GITHUB_TIMEOUT = timedelta(minutes=2)
"""One attempt to read from or write to GitHub's API, looks before the write included."""

GITHUB_CALL_TIMEOUT = timedelta(seconds=20)
"""One request to GitHub's API. GitHub itself gives up after 10 s:
https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api#timeouts"""

GITHUB_PICKUP = timedelta(minutes=10)
"""A read or write that no worker takes up within this time is said to wait for one, and put into the queue again."""

AWAY_WAITS = tuple(timedelta(seconds=seconds) for seconds in (30, 60, 120, 300, 600, 900))
"""Between two rounds of attempts while GitHub does not answer; the last one again and again."""

LIMIT_WAIT = timedelta(minutes=1)
"""After a rate limit without a stated end, the least that GitHub asks for:
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit"""

LIMIT_WAIT_MAX = timedelta(minutes=75)
"""The longest wait that is taken from an answer of GitHub's; its primary limit is by the hour."""

LAST_REPORT_LIMIT = timedelta(hours=1)
"""How long the end of a run is held up by a GitHub that does not take its last report."""

MAX_PLAN_TASKS = 30
"""More tasks than this are a project, not a change; the plan is sent back."""

TOOL_OUTPUT_LIMIT = 30_000
"""Characters of one tool result that the model sees; the middle of a longer one is left out."""

EXCERPT_LIMIT = 160
"""Characters of model text in a turn's summary."""

LOG_TAIL_LIMIT = 6_000
"""Characters of a gate's log that are handed on; the whole log is in the store."""
