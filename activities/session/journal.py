"""The journal of a session in git: the position of a turn between its steps, and the transcript up to it.

A turn leaves up to three kinds of files under `transcript/<round>-<role>/`: `NNNNN-user.json` (tool results; the
commit that holds it holds the workspace after them), `NNNNN-cut-K.json` (an answer that max_tokens cut off: paid for,
never acted on) and `NNNNN-assistant.json` (the answer). A step whose file is there is never made again.

A session that starts anew continues in the same folder with the turn that failed. The first entry of the new start has
a `level`; no earlier entry is sent any more, and the prefix is in `prefix-K.json`. The user's side that the API refused
stays readable as `NNNNN-refused-K.json`.
"""

import json
from collections import OrderedDict
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from activities.runtime.superseded import ensure_not_superseded
from activities.session.conversation import Message, append_turn
from activities.session.left_out_paths import LeftOutList
from agents.messages.request import FrozenPrefix
from baton.errors import ConversationLost, StaleAttempt
from baton.records.run import Record, Usage
from baton.steps.session import LeftOut, SessionKey, TurnInput, TurnResult
from baton.steps.store_paths import LEFT_OUT, answer_file, cut_file, prefix_file, refused_file, user_file
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import WorkspaceSnapshot


class UserEntry(Record):
    """The user's side of a turn: tool results and messages; without a message the model continues its own pause."""

    turn: int
    expected: str
    """The checkpoint that the turn started from; by it a retry recognises its own turn."""
    message: Message | None
    tools: list[dict[str, Any]] = Field(default_factory=list)
    """Name, error, exit code and seconds of each tool call. For people; the model sees the message."""
    put_back: list[str] = Field(default_factory=list)
    """Paths as `show_path` shows them, for a name need not be UTF-8."""
    left_out: LeftOut | None = None
    """The paths that are not kept, if the list differs from the one that people know."""
    heard: int = 0
    """Number of the turn's messages from people in this entry; more may have come before the turn is retried."""
    start: int = 0
    """Number of times that the session had started anew."""
    level: int = 0
    """Set if the turn is the first of a new start: how short its brief is."""
    result: TurnResult | None = None
    """Set if the turn ends without a model call. If a message of a person continues the session all the same, the next
    turn sends the content of this one to the model."""


class LostCall(Record):
    """A call of a turn that ended without an answer: its stream broke, or its worker ended."""

    call: str
    day: str
    usd: float = 0.0
    most: float = 0.0
    """USD: the maximum that it can have cost."""


class AssistantEntry(Record):
    """The model's side of a turn."""

    turn: int
    message: Message
    stop_reason: str
    stop_details: dict[str, Any] | None = None
    model: str = ""
    request_id: str | None = None
    usage: Usage = Field(default_factory=Usage)
    cost_usd: float = 0.0
    call: str = ""
    """Its id in the ledger."""
    day: str = ""
    """The UTC day on which it counts."""
    lost: list[LostCall] = Field(default_factory=list)
    """Calls of this turn that ended without an answer."""
    seconds: float = 0.0
    runnable: bool = True
    """False: the answer was cut off, so none of its tool calls may run."""
    faults: dict[str, str] = Field(default_factory=dict)
    """The reason why a tool call does not run, by its id; for the model."""
    fault: str = ""
    """The reason why no part of the answer can be sent back, for the model; then the message is empty."""
    unsent: list[dict[str, Any]] = Field(default_factory=list)
    """The content of such an answer, for people."""
    result: TurnResult | None = None
    """None in a cut answer, which ends no turn."""


class TurnPosition(Record):
    """The last step of a turn that an earlier attempt has committed."""

    state: Literal["fresh", "asked", "ended"]
    head: str
    user: UserEntry | None = None
    result: TurnResult | None = None
    cuts: list[AssistantEntry] = Field(default_factory=list)


class TranscriptCache:
    """A cache of the transcripts of active sessions, so that a turn does not read all earlier turns again."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._kept: OrderedDict[str, tuple[int, FrozenPrefix, list[Message]]] = OrderedDict()

    def get(self, key: str, turns: int) -> tuple[FrozenPrefix, list[Message]] | None:
        """Return prefix and messages of the first `turns` turns; None if another number of turns is cached."""
        kept = self._kept.get(key)
        if kept is None or kept[0] != turns:
            return None
        self._kept.move_to_end(key)
        return kept[1], kept[2]

    def put(self, key: str, turns: int, prefix: FrozenPrefix, messages: list[Message]) -> None:
        """Cache a transcript; evict the least recently used one."""
        self._kept[key] = (turns, prefix, messages)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def drop(self, key: str) -> None:
        """Evict a session that has ended."""
        self._kept.pop(key, None)


class Journal:
    """The journal of one session."""

    def __init__(self, checkpoints: Checkpoints, key: SessionKey, cache: TranscriptCache) -> None:
        self._checkpoints = checkpoints
        self._store = checkpoints.store
        self._key = key
        self._cache = cache
        self._cache_key = f"{key.repo}\0{key.workflow_id}"
        self.lane = Lane(key.run, key.task)
        self._head: str | None = None

    async def claim_position(self, turn: TurnInput) -> TurnPosition:
        """Claim the lane for this attempt, and return the position of the turn.

        Raises StaleAttempt if another attempt has moved the lane on, and WorkElsewhere if the lane is on no host that
        can be reached.
        """
        self._head = head = await self._checkpoints.claim_lane(self.lane, ensure_not_superseded)
        if head is None:
            raise self._store.work_elsewhere(self._key.run, f"checkpoint of task {self._key.task}")
        self._store.require_commits(self._key.run, turn.expected)
        if self._checkpoints.stands_at(head, turn.expected):
            return TurnPosition(state="fresh", head=head)
        user = await self.read_user(head, turn.turn)
        if user is None or user.expected != turn.expected:
            raise StaleAttempt(f"Another attempt has taken over {self._key.workflow_id} at turn {turn.turn}.")
        if user.result is not None:
            return TurnPosition(state="ended", head=head, user=user, result=user.result)
        answer = await self.read_answer(head, turn.turn)
        if answer is not None:
            return TurnPosition(state="ended", head=head, user=user, result=answer.result)
        return TurnPosition(state="asked", head=head, user=user, cuts=await self._read_cuts(head, turn.turn))

    async def read_prefix(self, head: str, opening: UserEntry | None = None) -> FrozenPrefix | None:
        """Return the frozen part of every request since a start of the session; None before its first turn.

        `opening` is the first entry of that start; without it the first start of the session is meant.
        """
        start = opening.start if opening is not None and opening.level else 0
        data = await self._store.read_file(head, prefix_file(self._key.session_name, start))
        return FrozenPrefix.from_json(data) if data is not None else None

    async def read_transcript(self, head: str, turns: int) -> tuple[FrozenPrefix, list[Message]]:
        """Return the frozen prefix and the messages of the first `turns` turns. Raises ConversationLost."""
        cached = self._cache.get(self._cache_key, turns)
        if cached is not None:
            return cached[0], list(cached[1])
        pairs: list[tuple[UserEntry, AssistantEntry]] = []
        for number in range(turns, 0, -1):
            user, answer = await self.read_user(head, number), await self.read_answer(head, number)
            if user is not None and user.result is not None and answer is None:
                continue  # It has no answer, and was sent with a later turn.
            if user is None or answer is None:
                raise ConversationLost(f"Turn {number} of {self._key.workflow_id} is missing in the store.")
            pairs.append((user, answer))
            if user.level:
                break
        prefix = await self.read_prefix(head, pairs[-1][0] if pairs else None)
        if prefix is None:
            raise ConversationLost(f"The store has no transcript of {self._key.workflow_id}.")
        messages: list[Message] = []
        for user, answer in reversed(pairs):
            append_turn(messages, user.message, answer.message)
        return prefix, messages

    async def read_left_out(self) -> LeftOutList:
        """Return the list of paths that are not kept, as of the newest checkpoint of the lane."""
        data = await self._store.read_file(self._head, LEFT_OUT) if self._head else None
        return LeftOutList.model_validate_json(data) if data is not None else LeftOutList()

    async def read_answer(self, head: str, turn: int) -> AssistantEntry | None:
        """Return the answer that ended a turn; None if the turn has none."""
        data = await self._store.read_file(head, answer_file(self._key.session_name, turn))
        return AssistantEntry.model_validate_json(data) if data is not None else None

    async def read_before(self, head: str, turn: int) -> tuple[AssistantEntry | None, list[UserEntry]]:
        """Return the last answer before a turn, and the turns since it, each of which ended a session that went on."""
        ended: list[UserEntry] = []
        for number in range(turn - 1, 0, -1):
            answer = await self.read_answer(head, number)
            if answer is not None:
                return answer, ended
            user = await self.read_user(head, number)
            if user is None or user.result is None:
                break
            ended.insert(0, user)
        return None, ended

    async def record_user(
        self,
        entry: UserEntry,
        *,
        at: datetime,
        snapshot: WorkspaceSnapshot | None,
        prefix: FrozenPrefix | None = None,
        files: dict[str, bytes] | None = None,
    ) -> str:
        """Commit the user's side of a turn together with the workspace after its tools."""
        session, path = self._key.session_name, user_file(self._key.session_name, entry.turn)
        contents = {path: entry.model_dump_json(exclude_defaults=True).encode()}
        if prefix is not None:
            contents[prefix_file(session, entry.start if entry.level else 0)] = prefix.to_json()
        if entry.level and self._head and (refused := await self._store.read_file(self._head, path)):
            contents[refused_file(session, entry.turn, entry.start)] = refused
        contents.update(files or {})
        names = ", ".join(str(tool["name"]) for tool in entry.tools)
        return await self._checkpoints.record_checkpoint(
            self.lane,
            # Not `entry.expected`: the takeover of a lane by this host adds a commit to it.
            expected=self._head or entry.expected,
            files=contents,
            workspace=snapshot,
            summary=f"{session} turn {entry.turn}: {names or 'message'}",
            at=at,
        )

    async def record_cut(self, head: str, entry: AssistantEntry, count: int, *, at: datetime) -> str:
        """Commit an answer that max_tokens cut off: it is paid for, and its tool calls do not run."""
        path = cut_file(self._key.session_name, entry.turn, count)
        return await self._record_answer(head, path, entry, "answer cut off", at, {})

    async def record_answer(
        self, head: str, entry: AssistantEntry, *, at: datetime, files: dict[str, bytes] | None = None
    ) -> str:
        """Commit the model's answer, after which the call is never made again."""
        path = answer_file(self._key.session_name, entry.turn)
        return await self._record_answer(head, path, entry, f"answer ({entry.stop_reason})", at, files or {})

    async def _record_answer(
        self, head: str, path: str, entry: AssistantEntry, about: str, at: datetime, files: dict[str, bytes]
    ) -> str:
        return await self._checkpoints.record_checkpoint(
            self.lane,
            expected=head,
            files={path: entry.model_dump_json(exclude_defaults=True).encode(), **files},
            workspace=None,
            summary=f"{self._key.session_name} turn {entry.turn}: {about}",
            at=at,
        )

    def remember_transcript(self, turns: int, prefix: FrozenPrefix, messages: list[Message]) -> None:
        """Cache the transcript for the next turn on this worker."""
        self._cache.put(self._cache_key, turns, prefix, messages)

    def forget_transcript(self) -> None:
        """Evict the transcript of the session from the cache."""
        self._cache.drop(self._cache_key)

    async def read_user(self, head: str, turn: int) -> UserEntry | None:
        """Return the user's side of a turn; None if it is not committed."""
        data = await self._store.read_file(head, user_file(self._key.session_name, turn))
        return UserEntry.model_validate_json(data) if data is not None else None

    async def _read_cuts(self, head: str, turn: int) -> list[AssistantEntry]:
        cuts: list[AssistantEntry] = []
        while (
            data := await self._store.read_file(head, cut_file(self._key.session_name, turn, len(cuts) + 1))
        ) is not None:
            cuts.append(AssistantEntry.model_validate_json(data))
        return cuts


def dump_json(value: Any) -> bytes:
    """Return a report as the JSON of the store."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
