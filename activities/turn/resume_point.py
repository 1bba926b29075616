"""The resume point of a session whose workflow was terminated or timed out, from the journal in the store."""

from activities.runtime.step import step
from activities.runtime.stores import Stores
from activities.session.journal import AssistantEntry, UserEntry
from agents.messages.restart_message import next_level
from baton.steps.task import FindSessionInput, FoundSession
from workspaces.checkpoints.checkpoints import Lane
from workspaces.store.store import Store


class ResumingActivities:
    """The activity `find_session`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @step("find_session")
    async def find_session(self, wanted: FindSessionInput) -> FoundSession:
        """Return the turn that was under way, or else the last answered one, whose answer needs no new call."""
        store = await self._stores.get(wanted.key.repo)
        await store.catch_up(wanted.key.run)
        lane = Lane(wanted.key.run, wanted.key.task)
        head = await store.head(lane.ref)
        if head is None:
            raise store.elsewhere(wanted.key.run, f"checkpoint of task {wanted.key.task}")
        folder = f"transcript/{wanted.key.session}"
        if wanted.start and (level := await _due(store, head, folder, wanted)):
            return FoundSession(commit=head, turn=wanted.turn, level=level)
        turn = wanted.turn
        while await _over(store, head, folder, turn):
            turn += 1
        under_way = await _user(store, head, f"{folder}/{turn:05d}-user.json")
        if under_way is not None:
            return FoundSession(commit=under_way.expected, turn=turn, level=under_way.level)
        before = await _user(store, head, f"{folder}/{turn - 1:05d}-user.json") if turn > wanted.turn else None
        if before is not None:
            return FoundSession(commit=before.expected, turn=turn - 1, level=before.level)
        return FoundSession(commit=head, turn=wanted.turn)


async def _over(store: Store, head: str, folder: str, turn: int) -> bool:
    """Whether a turn has ended: with an answer, or without one and a later turn follows."""
    data = await store.read(head, f"{folder}/{turn:05d}-assistant.json")
    if data is not None:
        AssistantEntry.model_validate_json(data)  # Raises if it is damaged.
        return True
    return await _user(store, head, f"{folder}/{turn + 1:05d}-user.json") is not None


async def _user(store: Store, head: str, path: str) -> UserEntry | None:
    data = await store.read(head, path)
    return UserEntry.model_validate_json(data) if data is not None else None


async def _due(store: Store, head: str, folder: str, wanted: FindSessionInput) -> int:
    """Return the level of the brief of a new start that is still to be made; 0 if it is made already."""
    last = None
    for turn in (wanted.turn, wanted.turn - 1):
        last = last or await _user(store, head, f"{folder}/{turn:05d}-user.json")
    if last is not None and last.start >= wanted.start:
        return 0
    return next_level(last.level if last else 0, opening=last is None or last.turn == 1 or bool(last.level))
