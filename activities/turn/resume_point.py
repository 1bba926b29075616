"""The resume point of a session whose workflow was terminated or timed out, from the journal in the store."""

from activities.runtime.step import step
from activities.runtime.stores import Stores
from activities.session.journal import Journal, TranscriptCache
from agents.messages.restart_message import next_level
from baton.steps.task import FindSessionInput, FoundSession
from workspaces.checkpoints.checkpoints import Checkpoints


class ResumeActivities:
    """The activity `find_session`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @step("find_session")
    async def find_session(self, wanted: FindSessionInput) -> FoundSession:
        """Return the turn that was under way, or else the last answered one, whose answer needs no new call."""
        store = await self._stores.open_store(wanted.key.repo)
        await store.catch_up(wanted.key.run)
        journal = Journal(Checkpoints(store), wanted.key, TranscriptCache())
        head = await store.read_head(journal.lane.ref)
        if head is None:
            raise store.work_elsewhere(wanted.key.run, f"checkpoint of task {wanted.key.task}")
        if wanted.start and (level := await _due_level(journal, head, wanted)):
            return FoundSession(commit=head, turn=wanted.turn, level=level)
        turn = wanted.turn
        while await _is_over(journal, head, turn):
            turn += 1
        under_way = await journal.read_user(head, turn)
        if under_way is not None:
            return FoundSession(commit=under_way.expected, turn=turn, level=under_way.level)
        before = await journal.read_user(head, turn - 1) if turn > wanted.turn else None
        if before is not None:
            return FoundSession(commit=before.expected, turn=turn - 1, level=before.level)
        return FoundSession(commit=head, turn=wanted.turn)


async def _is_over(journal: Journal, head: str, turn: int) -> bool:
    """Whether a turn has ended: with an answer, or without one and a later turn follows."""
    return await journal.read_answer(head, turn) is not None or await journal.read_user(head, turn + 1) is not None


async def _due_level(journal: Journal, head: str, wanted: FindSessionInput) -> int:
    """Return the level of the brief of a new start that is still to be made; 0 if it is made already."""
    last = await journal.read_user(head, wanted.turn) or await journal.read_user(head, wanted.turn - 1)
    if last is not None and last.start >= wanted.start:
        return 0
    return next_level(last.level if last else 0, opening=last is None or last.turn == 1 or bool(last.level))
