"""Views of a run in progress: a live tree in a terminal, plain lines elsewhere. Both on stderr."""

import sys
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from interfaces.cli.runs.snapshot import RunSnapshot
from interfaces.cli.terminal.output import read_verbosity, write_message
from interfaces.cli.views.progress_lines import list_events
from interfaces.cli.views.run_tree import make_run_tree


class RunView(Protocol):
    """A view of a run's progress; used as a context manager."""

    def show_snapshot(self, now: RunSnapshot) -> None:
        """Show the run as it is now."""

    def clear_screen(self) -> None:
        """Clear the screen for a question."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class PlainView:
    """A view that writes one line for each event."""

    def __init__(self, *, asks: bool = False) -> None:
        """`asks`: the person is asked open decisions, so that they are only named here."""
        self._asks = asks
        self._before: RunSnapshot | None = None

    def show_snapshot(self, now: RunSnapshot) -> None:
        """Write a line for each event since the last call."""
        for line in list_events(self._before, now, asks=self._asks):
            write_message(line)
        self._before = now

    def clear_screen(self) -> None:
        """Return at once: lines leave the screen free."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


class LiveView:
    """A tree of the run that is kept up to date, below the lines of its events."""

    def __init__(self, *, asks: bool = False) -> None:
        """`asks`: the person is asked open decisions, so that they are only named here."""
        self._asks = asks
        self._console = Console(stderr=True, highlight=False)
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._before: RunSnapshot | None = None

    def show_snapshot(self, now: RunSnapshot) -> None:
        """Write new events above the tree, and redraw it."""
        for line in list_events(self._before, now, asks=self._asks):
            self._console.print(Text(line, style="bold yellow" if line.startswith(("decision", "reminder")) else ""))
        if not self._live.is_started and not now.closed:
            self._live.start()
        self._live.update(make_run_tree(now))
        self._before = now

    def clear_screen(self) -> None:
        """Remove the tree until the next `show`."""
        self._live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def choose_view(*, as_json: bool, asks: bool) -> RunView:
    """Return the live tree for a person at a terminal, else plain lines; `asks`: the person is asked open decisions."""
    live = not as_json and read_verbosity() >= 0 and sys.stdout.isatty() and sys.stderr.isatty()
    return LiveView(asks=asks) if live else PlainView(asks=asks)
