"""Paths of the agents' work that are not in the branch: the document's `left_out`, and the notes about them.

A note is replaced when there is something newer to say of the same task, so that the notes hold what is true now.
"""

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from baton.records.left_out import with_reasons
    from baton.records.run import RunDocument
    from baton.steps.carried import CarriedNotes, CarriedPutBack
    from baton.steps.session import LeftOut, PutBack
    from baton.steps.task import TaskProgressSignal
    from baton.text.truncation import join_names

_MAX_IN_NOTE = 5
_MAX_IN_DOCUMENT = 100


class LeftOutNotes:
    """Keeps a run's document up to date on paths that are not kept or were put back."""

    def __init__(self, document: RunDocument) -> None:
        self._document = document
        self._left_out: dict[str, LeftOut] = {}
        self._put_back: dict[tuple[str, str], PutBack] = {}
        self._notes: dict[str, str] = {}

    def carry_notes(self, tasks: set[str]) -> CarriedNotes:
        """Return the paths and notes of these tasks, for the next execution of the run."""
        return CarriedNotes(
            left_out={task: left for task, left in self._left_out.items() if task in tasks},
            put_back=[
                CarriedPutBack(task=task, role=role, put_back=paths)
                for (task, role), paths in self._put_back.items()
                if task in tasks
            ],
            notes=dict(self._notes),
        )

    def restore_notes(self, carried: CarriedNotes) -> None:
        """Take over the paths and notes of an earlier execution."""
        self._left_out = dict(carried.left_out)
        self._put_back = {(entry.task, entry.role): entry.put_back for entry in carried.put_back}
        self._notes = dict(carried.notes)

    def take_progress(self, news: TaskProgressSignal) -> None:
        """Enter the paths of a task's progress."""
        if news.put_back is not None:
            key = (news.task, news.role)
            self._put_back[key] = put_back = self._put_back.get(key, PutBack()) + news.put_back
            paths = join_names(put_back.paths, _MAX_IN_NOTE, put_back.more)
            said = f"Task {news.task}: the engine put back what the {news.role} may not change: {paths}."
            self._replace_note(f"put back {news.task} {news.role}", said)
        if news.left_out is not None:
            self._left_out[news.task] = news.left_out
            self._show_notes()

    @property
    def named_paths(self) -> list[str]:
        """All paths that are named."""
        return sorted({path for left in self._left_out.values() for path in left.paths})

    def keep_paths(self, paths: list[str]) -> None:
        """Remove the paths that the published commit has: another task may have kept them."""
        if not paths:
            return
        for task, left in self._left_out.items():
            still = {path: reason for path, reason in left.paths.items() if path not in paths}
            self._left_out[task] = left.model_copy(update={"paths": still})
        self._show_notes()

    def _show_notes(self) -> None:
        every = sorted({path for left in self._left_out.values() for path in (*left.paths, *left.minor)})
        self._document.left_out = every[:_MAX_IN_DOCUMENT]
        for task, left in self._left_out.items():
            more = left.more + max(0, len(every) - _MAX_IN_DOCUMENT)
            paths = join_names(with_reasons(left.paths), _MAX_IN_NOTE, more) if left.paths or more else ""
            said = f"Task {task}: written and not kept, so not in the branch: {paths}." if paths else ""
            self._replace_note(f"left out {task}", said)

    def _replace_note(self, key: str, text: str) -> None:
        notes, before = self._document.notes, self._notes.get(key)
        if before is not None and before in notes:
            at = notes.index(before)
            notes[at : at + 1] = [text] if text else []
        elif text:
            notes.append(text)
        self._notes[key] = text
