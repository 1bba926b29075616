"""Shows a run while it goes on: a live tree in a terminal, plain lines elsewhere. Both on stderr."""

import sys
from types import TracebackType
from typing import Protocol, Self

from interfaces.cli.runs.snapshot import Snapshot
from interfaces.cli.terminal.output import console, message
from interfaces.cli.views.progress_lines import events
from interfaces.cli.views.run_tree import run_tree


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

    def __init__(self, *, asks: bool = False) -> None:
        """`asks`: open decisions are put to the person, so that they need not be told here."""
        self._asks = asks
        self._before: Snapshot | None = None

    def show(self, now: Snapshot) -> None:
        """Say what is new."""
        for line in events(self._before, now, asks=self._asks):
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
    """A tree of the run that is kept up to date, below the lines of what has happened."""

    def __init__(self, *, asks: bool = False) -> None:
        """`asks`: open decisions are put to the person, so that they need not be told here."""
        from rich.live import Live

        self._asks = asks
        self._console = console()
        self._live = Live(console=self._console, refresh_per_second=4, transient=True)
        self._before: Snapshot | None = None

    def show(self, now: Snapshot) -> None:
        """Write what is new above the tree, and renew it."""
        from rich.text import Text

        for line in events(self._before, now, asks=self._asks):
            self._console.print(Text(line, style="bold yellow" if line.startswith(("decision", "reminder")) else ""))
        if not self._live.is_started and not now.closed:
            self._live.start()
        self._live.update(run_tree(now))
        self._before = now

    def pause(self) -> None:
        """Take the tree away until the next `show`."""
        self._live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


def choose_view(*, as_json: bool, asks: bool) -> View:
    """The live tree where a person watches a terminal, plain lines otherwise; `asks`: they are asked what is open."""
    live = not as_json and sys.stdout.isatty() and sys.stderr.isatty()
    return LiveView(asks=asks) if live else PlainView(asks=asks)
