"""The journal of a session in git: what of a turn is done already, and the transcript up to it.

A turn leaves up to three kinds of files under `transcript/<round>-<role>/`: `NNNNN-user.json` (tool results; the
commit that holds it holds the workspace after them), `NNNNN-cut-K.json` (an answer that max_tokens cut off: paid for,
never acted on) and `NNNNN-assistant.json` (the answer). What is there is never done again.

A session that starts anew goes on in the same folder with the turn that could not be taken. Its first entry says so
(`level`), and no earlier one is sent any more; its prefix is in `prefix-K.json`. The user's side that the API refused
stays readable as `NNNNN-refused-K.json`.
"""

import json
from collections import OrderedDict
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from activities.runtime.superseded import still_wanted
from activities.session.conversation import Message, extend
from activities.session.left_out_paths import LEFT_OUT, Book
from agents.messages.request import Prefix
from baton.errors import ConversationLost, StaleAttempt
from baton.records.run import Contract, Usage
from baton.steps.session import LeftOut, SessionKey, TurnInput, TurnResult
from workspaces.checkpoints.checkpoint_files import session_folder
from workspaces.checkpoints.checkpoints import Checkpoints, Lane
from workspaces.checkpoints.workspace import Snapshot


class UserEntry(Contract):
    """The user's side of a turn: tool results and messages, or nothing where the model just goes on."""

    turn: int
    expected: str
    """The checkpoint that the turn started from; tells a retry from a stranger."""
    message: Message | None
    tools: list[dict[str, Any]] = Field(default_factory=list)
    """How each tool call went: name, error, exit code, seconds. For people; the model sees the message."""
    put_back: list[str] = Field(default_factory=list)
    """Paths as `show_path` shows them, for a name need not be UTF-8."""
    left_out: LeftOut | None = None
    """What is written and not kept, where people do not know it as it is after these tools."""
    heard: int = 0
    """How many of the turn's messages from people are in it; more may have come until the turn is tried again."""
    start: int = 0
    """How often the session had started anew by then."""
    level: int = 0
    """Set where the turn is the first of a new start: how short its brief is."""
    result: TurnResult | None = None
    """Set where the turn ends without asking the model. If the session goes on all the same, for a person has said
    something meanwhile, the next turn says to the model what this one would have; its message was never sent."""


class LostCall(Contract):
    """A call of a turn that came to nothing: cut off in its stream, or by the end of its worker."""

    call: str
    day: str
    usd: float = 0.0
    most: float = 0.0
    """USD: the most that it can have cost."""


class AssistantEntry(Contract):
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
    """Calls of this turn that came to nothing."""
    seconds: float = 0.0
    runnable: bool = True
    """False: the answer was cut off, so none of its tool calls may run."""
    faults: dict[str, str] = Field(default_factory=dict)
    """By the id of a tool call: why it does not run, for the model."""
    fault: str = ""
    """Why nothing of the answer can be sent back, for the model; then the message is empty."""
    unsent: list[dict[str, Any]] = Field(default_factory=list)
    """The content of such an answer, for people."""
    result: TurnResult | None = None
    """None in a cut answer, which ends no turn."""


class Position(Contract):
    """How far an earlier attempt of this turn got."""

    state: Literal["fresh", "asked", "ended"]
    head: str
    user: UserEntry | None = None
    result: TurnResult | None = None
    cuts: list[AssistantEntry] = Field(default_factory=list)


class TranscriptCache:
    """Transcripts of the sessions at work, so that a turn does not read all the earlier ones again."""

    def __init__(self, size: int = 64) -> None:
        self._size = size
        self._kept: OrderedDict[str, tuple[int, Prefix, list[Message]]] = OrderedDict()

    def get(self, key: str, turns: int) -> tuple[Prefix, list[Message]] | None:
        """Prefix and messages of the first `turns` turns, if they are exactly what is kept."""
        kept = self._kept.get(key)
        if kept is None or kept[0] != turns:
            return None
        self._kept.move_to_end(key)
        return kept[1], kept[2]

    def put(self, key: str, turns: int, prefix: Prefix, messages: list[Message]) -> None:
        """Keep a transcript; the one used longest ago goes."""
        self._kept[key] = (turns, prefix, messages)
        self._kept.move_to_end(key)
        while len(self._kept) > self._size:
            self._kept.popitem(last=False)

    def drop(self, key: str) -> None:
        """Forget a session that has ended."""
        self._kept.pop(key, None)


class Journal:
    """Reads and extends the journal of one session."""

    def __init__(self, checkpoints: Checkpoints, key: SessionKey, cache: TranscriptCache) -> None:
        self._checkpoints = checkpoints
        self._store = checkpoints.store
        self._key = key
        self._cache = cache
        self._cache_key = f"{key.repo}\0{key.workflow_id}"
        self.lane = Lane(key.run, key.task)
        self.folder = session_folder(key.session)
        self._head: str | None = None

    async def position(self, turn: TurnInput) -> Position:
        """Make the lane this attempt's, and say what of this turn is done already.

        Raises StaleAttempt where the lane has moved on without it, and WorkElsewhere where it is not to be had here.
        """
        self._head = head = await self._checkpoints.claim(self.lane, still_wanted)
        if head is None:
            raise self._store.elsewhere(self._key.run, f"checkpoint of task {self._key.task}")
        self._store.require(self._key.run, turn.expected)
        if self._checkpoints.stands_at(head, turn.expected):
            return Position(state="fresh", head=head)
        user = await self.user(head, turn.turn)
        if user is None or user.expected != turn.expected:
            raise StaleAttempt(f"Another attempt has taken over {self._key.workflow_id} at turn {turn.turn}.")
        if user.result is not None:
            return Position(state="ended", head=head, user=user, result=user.result)
        answer = await self._read(head, f"{turn.turn:05d}-assistant.json")
        if answer is not None:
            entry = AssistantEntry.model_validate_json(answer)
            return Position(state="ended", head=head, user=user, result=entry.result)
        return Position(state="asked", head=head, user=user, cuts=await self._cuts(head, turn.turn))

    async def prefix(self, head: str, opening: UserEntry | None = None) -> Prefix | None:
        """The frozen part of every request since a session's (last) start; None before its first turn.

        `opening` is the first entry of the start that is meant, the very first one where none is given.
        """
        data = await self._read(head, _prefix_file(opening))
        return Prefix.from_json(data) if data is not None else None

    async def transcript(self, head: str, turns: int) -> tuple[Prefix, list[Message]]:
        """The frozen prefix and all messages of the first `turns` turns."""
        cached = self._cache.get(self._cache_key, turns)
        if cached is not None:
            return cached[0], list(cached[1])
        pairs: list[tuple[UserEntry, AssistantEntry]] = []
        for number in range(turns, 0, -1):
            user, answer = await self.user(head, number), await self.last_answer(head, number)
            if user is not None and user.result is not None and answer is None:
                continue  # Of no answer, and sent with a later turn.
            if user is None or answer is None:
                raise ConversationLost(f"Turn {number} of {self._key.workflow_id} is missing in the store.")
            pairs.append((user, answer))
            if user.level:
                break
        prefix = await self.prefix(head, pairs[-1][0] if pairs else None)
        if prefix is None:
            raise ConversationLost(f"The store has no transcript of {self._key.workflow_id}.")
        messages: list[Message] = []
        for user, answer in reversed(pairs):
            extend(messages, user.message, answer.message)
        return prefix, messages

    async def left_out(self) -> Book:
        """What is not kept of the lane's workspace, as it stood at the newest checkpoint."""
        data = await self._store.read(self._head, LEFT_OUT) if self._head else None
        return Book.model_validate_json(data) if data is not None else Book()

    async def last_answer(self, head: str, turn: int) -> AssistantEntry | None:
        """The answer that ended a turn."""
        data = await self._read(head, f"{turn:05d}-assistant.json")
        return AssistantEntry.model_validate_json(data) if data is not None else None

    async def before(self, head: str, turn: int) -> tuple[AssistantEntry | None, list[UserEntry]]:
        """The last answer before a turn, and the turns since then: they ended the session, which went on."""
        ended: list[UserEntry] = []
        for number in range(turn - 1, 0, -1):
            answer = await self.last_answer(head, number)
            if answer is not None:
                return answer, ended
            user = await self.user(head, number)
            if user is None or user.result is None:
                break
            ended.insert(0, user)
        return None, ended

    async def record_user(
        self,
        entry: UserEntry,
        *,
        at: datetime,
        snapshot: Snapshot | None,
        prefix: Prefix | None = None,
        files: dict[str, bytes] | None = None,
    ) -> str:
        """Commit the user's side of a turn together with the workspace after its tools."""
        contents = {f"{self.folder}/{entry.turn:05d}-user.json": entry.model_dump_json(exclude_defaults=True).encode()}
        if prefix is not None:
            contents[f"{self.folder}/{_prefix_file(entry)}"] = prefix.to_json()
        if entry.level and self._head and (refused := await self._read(self._head, f"{entry.turn:05d}-user.json")):
            contents[f"{self.folder}/{entry.turn:05d}-refused-{entry.start}.json"] = refused
        contents.update(files or {})
        names = ", ".join(str(tool["name"]) for tool in entry.tools)
        return await self._checkpoints.record(
            self.lane,
            # Not `entry.expected`: this host may have taken the lane over since.
            expected=self._head or entry.expected,
            files=contents,
            workspace=snapshot,
            summary=f"{self._key.session} turn {entry.turn}: {names or 'message'}",
            at=at,
        )

    async def record_cut(self, head: str, entry: AssistantEntry, count: int, *, at: datetime) -> str:
        """Commit an answer that was cut off: it is paid for, and it is not acted on."""
        path = f"{self.folder}/{entry.turn:05d}-cut-{count}.json"
        return await self._checkpoints.record(
            self.lane,
            expected=head,
            files={path: entry.model_dump_json(exclude_defaults=True).encode()},
            workspace=None,
            summary=f"{self._key.session} turn {entry.turn}: answer cut off",
            at=at,
        )

    async def record_answer(
        self, head: str, entry: AssistantEntry, *, at: datetime, files: dict[str, bytes] | None = None
    ) -> str:
        """Commit the model's answer. From here on the call is never made again."""
        path = f"{self.folder}/{entry.turn:05d}-assistant.json"
        return await self._checkpoints.record(
            self.lane,
            expected=head,
            files={path: entry.model_dump_json(exclude_defaults=True).encode(), **(files or {})},
            workspace=None,
            summary=f"{self._key.session} turn {entry.turn}: answer ({entry.stop_reason})",
            at=at,
        )

    def remember(self, turns: int, prefix: Prefix, messages: list[Message]) -> None:
        """Keep the transcript for the next turn on this worker."""
        self._cache.put(self._cache_key, turns, prefix, messages)

    def forget(self) -> None:
        """The session is over."""
        self._cache.drop(self._cache_key)

    async def user(self, head: str, turn: int) -> UserEntry | None:
        """The user's side of a turn."""
        data = await self._read(head, f"{turn:05d}-user.json")
        return UserEntry.model_validate_json(data) if data is not None else None

    async def _cuts(self, head: str, turn: int) -> list[AssistantEntry]:
        cuts: list[AssistantEntry] = []
        while (data := await self._read(head, f"{turn:05d}-cut-{len(cuts) + 1}.json")) is not None:
            cuts.append(AssistantEntry.model_validate_json(data))
        return cuts

    async def _read(self, head: str, name: str) -> bytes | None:
        return await self._store.read(head, f"{self.folder}/{name}")


def _prefix_file(opening: UserEntry | None) -> str:
    """Where the prefix of a start is kept."""
    return f"prefix-{opening.start}.json" if opening is not None and opening.level else "prefix.json"


def dump(value: Any) -> bytes:
    """A report as it is kept in the store."""
    return (json.dumps(value, indent=1, ensure_ascii=False) + "\n").encode()
