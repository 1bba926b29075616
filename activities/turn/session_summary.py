"""The summary of a session that starts anew, from its journal, its lane and the run's decisions."""

import json
from typing import Any

from pydantic import ValidationError

from activities.runtime.stores import Stores, read_run_file
from activities.session.journal import AssistantEntry, Journal, UserEntry
from agents.messages.restart_message import SessionPast, message_lines
from baton.identifiers import PLAN_TASK
from baton.records.left_out import show_path, with_reasons
from baton.records.run import Decision, DecisionState
from baton.steps.session import TurnInput
from baton.steps.store_paths import DECISIONS
from baton.text.truncation import first_items
from workspaces.checkpoints.checkpoints import Checkpoints

_MAX_TURNS = 200
"""Number of the last turns from which messages of people are taken."""
_MAX_MESSAGES = 12
"""Number of the last turns whose messages are quoted."""
_MAX_FILES = 300


class SessionHistory:
    """The history of a session before a turn that is the first of a new start."""

    def __init__(self, journal: Journal, stores: Stores, turn: TurnInput) -> None:
        self._journal = journal
        self._stores = stores
        self._turn = turn

    async def read_history(self) -> SessionPast:
        """Return the summary, as of the checkpoint that the turn starts from."""
        turn, head = self._turn, self._turn.expected
        entries = [
            await self._read_turn(head, number) for number in range(max(1, turn.turn - _MAX_TURNS), turn.turn + 1)
        ]
        people: list[str] = []
        messages: list[str] = []
        asked: dict[str, Any] = {}
        for number, (user, answer) in enumerate(entries):
            # Messages of the refused turn are among those of the new start.
            if user is not None and answer is not None:
                people += _messages_of_people(user)
            people += _answers_to_questions(user, asked)
            asked = _open_questions(answer)
            if number >= len(entries) - _MAX_MESSAGES and not (user and (user.level or user.turn == 1)):
                messages += message_lines(user.message if user else None)
            if number >= len(entries) - _MAX_MESSAGES:
                messages += message_lines(answer.message if answer else None)
        return SessionPast(
            start=turn.start,
            turns=sum(answer is not None for _, answer in entries) + max(0, turn.turn - _MAX_TURNS - 1),
            changed=await self._changed_paths(),
            people=people,
            decisions=await self._answered_decisions(),
            left_out=with_reasons(
                {
                    path: kept.reason
                    for path, kept in (await self._journal.read_left_out()).paths.items()
                    if not kept.is_minor(path)
                }
            ),
            messages=messages,
            answer=turn.answer or "",
        )

    async def _read_turn(self, head: str, number: int) -> tuple[UserEntry | None, AssistantEntry | None]:
        """Return both sides of a turn; None for both if it cannot be parsed, the possible reason of the new start."""
        try:
            user = await self._journal.read_user(head, number)
            answer = await self._journal.read_answer(head, number)
        except ValidationError:
            return None, None
        return user, answer

    async def _changed_paths(self) -> list[str]:
        """Return the project paths that differ from the task's base."""
        store = await self._stores.open_store(self._turn.key.repo)
        checkpoints = Checkpoints(store)
        base = checkpoints.project_commit(self._turn.expected)
        paths = await store.changed_paths(base, checkpoints.workspace_tree(self._turn.expected))
        return first_items(list(map(show_path, paths)), _MAX_FILES)

    async def _answered_decisions(self) -> list[str]:
        """Return the answered questions about the task, as they were last saved."""
        key = self._turn.key
        store = await self._stores.open_store(key.repo)
        data = await read_run_file(store, key.run, DECISIONS)
        try:
            decisions = [Decision.model_validate(one) for one in json.loads(data or b"[]")]
        except (ValueError, TypeError):
            return []
        mine = [one for one in decisions if one.state is DecisionState.ANSWERED]
        mine = [one for one in mine if one.task_id in (key.task, None) or key.task == PLAN_TASK == one.task_id]
        return [f"{one.question}\nThe answer: {one.choice}. {one.note}".strip() for one in mine]


def _messages_of_people(user: UserEntry) -> list[str]:
    """Return the messages of people in a turn: its last texts, as many as the entry counts."""
    content = (user.message or {}).get("content")
    if not user.heard or not isinstance(content, list):
        return []
    return [str(block.get("text", "")) for block in content[-user.heard :] if block.get("type") == "text"]


def _open_questions(answer: AssistantEntry | None) -> dict[str, Any]:
    """Return the inputs of the `escalate` calls in an answer, by the id of the call."""
    content = answer.message.get("content") if answer else None
    return {
        str(block.get("id")): block.get("input")
        for block in (content if isinstance(content, list) else [])
        if block.get("type") == "tool_use" and block.get("name") == "escalate"
    }


def _answers_to_questions(user: UserEntry | None, asked: dict[str, Any]) -> list[str]:
    """Return the questions in `asked` that a turn answers, each with its answer."""
    content = (user.message or {}).get("content") if user else None
    found = []
    for block in content if isinstance(content, list) else []:
        if block.get("type") == "tool_result" and block.get("tool_use_id") in asked:
            given = asked[block["tool_use_id"]]
            question = given.get("question", "") if isinstance(given, dict) else ""
            said = "\n".join(message_lines({"role": "user", "content": [block]}))
            found.append(f"You asked: {question}\n{said}")
    return found
