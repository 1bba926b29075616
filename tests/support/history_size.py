"""Events and bytes in the histories of a whole run: pipeline, tasks and sessions, continued executions included."""

from collections import Counter
from dataclasses import dataclass, field

from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client


@dataclass
class HistorySize:
    """Sums over all executions of a run, by workflow type."""

    turns: int = 0
    """Scheduled activities `take_turn`."""
    executions: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    """Bytes of the events as protobuf."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Events by workflow type and kind, such as `Pipeline ACTIVITY_TASK_SCHEDULED save_state`."""
    bytes_of: Counter[str] = field(default_factory=Counter)
    """Bytes, by the same keys."""
    longest: int = 0
    """Events of the longest execution."""
    largest: int = 0
    """Bytes of the largest one."""

    @property
    def events_a_turn(self) -> float:
        """Events of all workflows, by turn."""
        return sum(self.events.values()) / max(1, self.turns)

    @property
    def bytes_a_turn(self) -> float:
        """Bytes of all histories, by turn."""
        return sum(self.sizes.values()) / max(1, self.turns)

    def __str__(self) -> str:
        parts = [
            f"{name} {count} x, {self.events[name]} events, {self.sizes[name]:,} bytes"
            for name, count in sorted(self.executions.items())
        ]
        return (
            f"{self.turns} turns, {self.events_a_turn:.1f} events and {self.bytes_a_turn:,.0f} bytes a turn"
            f" ({'; '.join(parts)})"
        )


async def read_history_size(client: Client, run: str) -> HistorySize:
    """Read the histories of a run and of all its children, from its latest execution's first one on.

    Children are found in the histories themselves, since the list of workflows is a moment behind.
    """
    size = HistorySize()
    description = await client.get_workflow_handle(run).describe()
    first = description.raw_description.workflow_execution_info.first_run_id or description.run_id
    left = [(run, str(first))]
    while left:
        workflow_id, run_id = left.pop()
        name, count, before = "", 0, sum(size.sizes.values())
        async for event in client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events():
            count += 1
            if event.HasField("workflow_execution_started_event_attributes"):
                name = event.workflow_execution_started_event_attributes.workflow_type.name
                size.executions[name] += 1
            size.events[name] += 1
            size.sizes[name] += event.ByteSize()
            kind = kind_of(event)
            size.kinds[f"{name} {kind}"] += 1
            size.bytes_of[f"{name} {kind}"] += event.ByteSize()
            size.turns += kind == "ACTIVITY_TASK_SCHEDULED take_turn"
            if event.HasField("child_workflow_execution_started_event_attributes"):
                child = event.child_workflow_execution_started_event_attributes.workflow_execution
                left.append((child.workflow_id, child.run_id))
            if event.HasField("workflow_execution_continued_as_new_event_attributes"):
                new = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
                left.append((workflow_id, new))
        size.longest = max(size.longest, count)
        size.largest = max(size.largest, sum(size.sizes.values()) - before)
    return size


def kind_of(event: HistoryEvent) -> str:
    """Return an event's type, with the name of its activity or signal."""
    name = EventType.Name(event.event_type).removeprefix("EVENT_TYPE_")
    of = (
        event.activity_task_scheduled_event_attributes.activity_type.name
        or event.workflow_execution_signaled_event_attributes.signal_name
    )
    return f"{name} {of}".strip()
