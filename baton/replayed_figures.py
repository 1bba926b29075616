"""Figures that decide which commands a workflow gives. Editing one breaks the runs that are open then.

A workflow is replayed from its history after every restart of its worker. Where a figure of then led to a timer, a
signal or another step, and the one of now does not, the replay fails, and the run stands still. So a new figure comes
beside the old one, chosen by `workflow.patched`, as every other change of the workflows' commands. The same holds for
the `_MAX_` figures and tables of waits at the head of the modules of `workflows/`.
"""

from datetime import timedelta

ELSEWHERE_WAITS = tuple(timedelta(seconds=seconds) for seconds in (2, 5, 10, 20, 40, 60, 60, 60, 60, 60))
"""Between two looks whether the host is back that alone has a run's work; then a person is asked."""

TOLD_WAIT = timedelta(seconds=3)
"""A wait at least this long is told to the run, for people; a shorter one is over before anybody has read of it."""

TOLD_GATE = timedelta(seconds=10)
"""A gate that lasts longer than this is told to the run; for a shorter one the next stage is."""

MAX_LOST_HOSTS = 20
"""So often in a row a turn is given to another host before the run asks a person."""

MAX_ASKED_WAITS = 30
"""So often in a row a step waits as the Messages API asks, for up to 2 minutes each, before a person is asked."""

REPORT_EVERY = timedelta(seconds=20)
"""Least time between two edits of a run's comment, unless somebody must decide or the run has ended."""

SAVE_EVERY = timedelta(seconds=30)
"""Least time between two saves of a run's state, unless its status or a decision has changed. Each save takes six
events, and has the whole document in it."""

BATCH_MOST = timedelta(minutes=2)
"""The longest that a round waits for more comments of the same review."""

DELIVERY_LIMIT = timedelta(days=3)
"""How long a delivery that GitHub itself keeps from being carried out is tried; as long as it can be redelivered:
https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks"""

MAX_NUDGES = 3
"""So often in a row a model may end its turn without a tool call before its session counts as failed."""
