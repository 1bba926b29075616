"""Constants that decide which commands a workflow issues. Changing one breaks the replay of open runs.

A worker replays a workflow from its history after a restart. If a constant led to a timer, a signal or another step
then, and its new value does not, the replay fails and the run stops making progress. So add a new constant beside the
old one and choose between them with `workflow.patched`, as for every change of a workflow's commands. The same holds
for the `_MOST_` and `_MAX_` constants and the tables of waits in the modules of `workflows/`.
"""

from datetime import timedelta

ELSEWHERE_WAITS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 20, 40, 60, 60, 60, 60, 60))
"""Between checks whether the only host with a run's work is back; after the last one a person is asked."""

MIN_REPORTED_WAIT = timedelta(seconds=3)
"""The shortest wait that a session or task reports to its run, where people see it."""

TOLD_GATE = timedelta(seconds=10)
"""A gate that lasts longer than this is told to the run; for a shorter one the next stage is."""

MAX_LOST_HOSTS = 20
"""Hosts in a row that a turn may lose before the run asks a person."""

MAX_REQUESTED_WAITS = 30
"""Waits in a row that the Messages API may request, of up to 2 minutes each, before a person is asked."""

REPORT_INTERVAL = timedelta(seconds=20)
"""The shortest time between two edits of a run's comment, unless a decision was opened or the run has ended."""

SAVE_EVERY = timedelta(seconds=30)
"""Least time between two saves of a run's state, unless its status or a decision has changed. Each save takes six
events, and has the whole document in it."""

MAX_BATCH_WAIT = timedelta(minutes=2)
"""The longest that a round waits for more comments of the same review."""

MAX_DELIVERY_TIME = timedelta(days=3)
"""How long a delivery is retried while GitHub is unreachable; GitHub can redeliver it for as long:
https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks"""

MAX_NUDGES = 3
"""Turns in a row that a model may end without a tool call before its session counts as failed."""
