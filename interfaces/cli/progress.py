"""Shows a run while it goes on: a live table in a terminal, plain lines elsewhere. Both on stderr."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from interfaces.cli.documents import Snapshot
from interfaces.cli.events import at_turn, doing, events
from interfaces.cli.output import console, message, one_line, usd

if TYPE_CHECKING:
    from rich.table import Table


class View(Protocol):
    """Something that shows a run's progress; used as a context manager."""

    def show(self, now: Snapshot) -> None:
        """Show the run as it is now."""

    def pause(self) -> None:
        """Leave the screen to a question."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainView:
    """One line for each thing that happens."""

    def __init__(self) -> None:
        self._before: Snapshot | None = None

    def show(self, now: Snapshot) -> None:
        """Say what is new."""
        for line in events(self._before, now):
            message(line)
        self._before = now

    def pause(self) -> None:
        """Nothing is on the screen that could be in the way."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class LiveView:
    """A table of the tasks that is kept up to date, below the lines of what has happened."""

    def __init__(self) -> None:
        from rich.live import Live

        self._console = console()
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._before: Snapshot | None = None

    def show(self, now: Snapshot) -> None:
        """Write what is new above the table, and renew it."""
        from rich.text import Text

        for line in events(self._before, now):
            self._console.print(Text(line, style="bold yellow" if line.startswith(("decision", "reminder")) else ""))
        if not self._live.is_started and not now.closed:
            self._live.start()
        self._live.update(_table(now))
        self._before = now

    def pause(self) -> None:
        """Take the table away until the next `show`."""
        self._live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def choose_view(*, as_json: bool) -> View:
    """The live table where a person watches a terminal, plain lines otherwise."""
    return LiveView() if not as_json and sys.stdout.isatty() and sys.stderr.isatty() else PlainView()


def _table(now: Snapshot) -> "Table":
    from rich.table import Table
    from rich.text import Text

    document = now.document
    title = f"{document.run}  {document.status.value}  {usd(document.cost_usd)}  turns {document.turns}"
    table = Table(title=Text(title), title_justify="left", show_edge=False, pad_edge=False)
    for heading in ("task", "what", "round", "now", "cost"):
        table.add_column(heading, justify="right" if heading in ("round", "cost") else "left", no_wrap=True)
    sessions = {session.task: session for session in now.sessions}
    for session in now.sessions:
        if all(task.id != session.task for task in document.tasks):
            cells = (
                session.task,
                session.role,
                "",
                at_turn(session, now.doing.get(session.task)),
                usd(session.cost_usd),
            )
            table.add_row(*map(Text, cells))
    for task in document.tasks:
        at_work = sessions.get(task.id)
        role = at_work.role if at_work else task.role
        cells = (
            one_line(task.id, 20),
            f"{role}: {one_line(task.title, 50)}",
            str(task.rounds or ""),
            doing(task, at_work, document.waiting_for.get(task.id, ""), now.doing.get(task.id)),
            usd(task.cost_usd),
        )
        table.add_row(*map(Text, cells))
    return table
