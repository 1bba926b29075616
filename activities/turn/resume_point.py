"""Finds where a session goes on whose workflow ended without a word: the journal in the store has every turn of it."""

from temporalio import activity

from activities.runtime.failures import with_posture
from activities.runtime.heartbeat import heartbeating
from activities.runtime.stores import Stores
from activities.session.journal import AssistantEntry, UserEntry
from agents.messages.restart_message import next_level
from baton.steps.task import FindSessionInput, FoundSession
from workspaces.checkpoints.checkpoint_files import session_folder
from workspaces.checkpoints.checkpoints import Lane
from workspaces.store.store import Store


class ResumingActivities:
    """The activity `find_session`."""

    def __init__(self, stores: Stores) -> None:
        self._stores = stores

    @activity.defn(name="find_session")
    @with_posture
    @heartbeating
    async def find_session(self, wanted: FindSessionInput) -> FoundSession:
        """The turn that was under way, or else the last one that was answered: its answer is given again, unpaid."""
        store = await self._stores.get(wanted.key.repo)
        await store.catch_up(wanted.key.run)
        lane = Lane(wanted.key.run, wanted.key.task)
        head = await store.head(lane.ref)
        if head is None:
            raise store.elsewhere(wanted.key.run, f"checkpoint of task {wanted.key.task}")
        folder = session_folder(wanted.key.session)
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
    """Whether a turn is answered, or ended without an answer and the session went on all the same."""
    data = await store.read(head, f"{folder}/{turn:05d}-assistant.json")
    if data is not None:
        return AssistantEntry.model_validate_json(data) is not None
    return await _user(store, head, f"{folder}/{turn + 1:05d}-user.json") is not None


async def _user(store: Store, head: str, path: str) -> UserEntry | None:
    data = await store.read(head, path)
    return UserEntry.model_validate_json(data) if data is not None else None


async def _due(store: Store, head: str, folder: str, wanted: FindSessionInput) -> int:
    """How short the brief of a new start must be that has not been made yet; 0 where it has been."""
    last = None
    for turn in (wanted.turn, wanted.turn - 1):
        last = last or await _user(store, head, f"{folder}/{turn:05d}-user.json")
    if last is not None and last.start >= wanted.start:
        return 0
    return next_level(last.level if last else 0, opening=last is None or last.turn == 1 or bool(last.level))
