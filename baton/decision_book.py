"""The book of decisions: questions to a person, their answers, and why an answer is refused. Pure."""

from datetime import datetime

from baton.budget.caps import RAISE, amount_fault
from baton.records.run import Decide, Decision, DecisionState

ALWAYS = ("retry", "skip", "abort")
"""Choices that every decision has, after its own."""

_MOST_REFUSALS = 20


PUBLISH = "publish"
"""Shows what a git filter should have hidden: no example, no default and no deadline ever names it."""


def example_choice(decision: Decision) -> str:
    """The choice that an example of an answer has."""
    return next((choice for choice in decision.choices if choice != PUBLISH), decision.choices[0])


class DecisionRefused(ValueError):
    """An answer that cannot be taken; the message says why."""


class AmountRefused(DecisionRefused):
    """A cap cannot be raised by what the note says."""


class DecisionBook:
    """All decisions of a run, in the order in which they were opened."""

    def __init__(self) -> None:
        self._decisions: dict[str, Decision] = {}
        self.refusals: list[str] = []
        """What people sent by signal and was refused, with the reason; the newest last, bounded."""

    def restore(self, decisions: list[Decision], refusals: list[str]) -> None:
        """Take over the decisions of the execution that this one continues."""
        self._decisions = {decision.id: decision for decision in decisions}
        self.refusals = list(refusals)

    def all(self) -> list[Decision]:
        """Every decision, open or not."""
        return list(self._decisions.values())

    def open_ones(self) -> list[Decision]:
        """Decisions that wait for an answer."""
        return [decision for decision in self._decisions.values() if decision.state is DecisionState.OPEN]

    def get(self, decision_id: str) -> Decision:
        """One decision; KeyError where there is none of that id."""
        return self._decisions[decision_id]

    def open(self, decision: Decision) -> Decision:
        """Open a question: it gets the next id, and the choices that every decision has."""
        own = list(dict.fromkeys(choice.strip() for choice in decision.choices if choice.strip()))
        choices = [*[choice for choice in own if choice.lower() not in ALWAYS], *ALWAYS]
        opened = decision.model_copy(update={"id": f"D{len(self._decisions) + 1}", "choices": choices})
        self._decisions[opened.id] = opened
        return opened

    def check(self, answer: Decide) -> str:
        """The choice as it is written in the decision; raises DecisionRefused with the reason."""
        decision = self._decisions.get(answer.decision_id.strip().upper())
        if decision is None:
            known = ", ".join(found.id for found in self.open_ones()) or "none"
            raise DecisionRefused(f"There is no decision {answer.decision_id[:80]!r}; open decisions: {known}.")
        if decision.state is DecisionState.ANSWERED:
            by = f" by {decision.by}" if decision.by else ""
            raise DecisionRefused(f"Decision {decision.id} was answered already{by}: {decision.choice}.")
        if decision.state is DecisionState.WITHDRAWN:
            raise DecisionRefused(f"Decision {decision.id} is stale: the work it asked about has moved on.")
        about = answer.commit.strip().lower()
        if about and not (decision.commit or "").startswith(about):
            now = f"commit {decision.commit[:12]}" if decision.commit else "no commit"
            raise DecisionRefused(
                f"The answer is stale: it is about commit {about[:12]}, decision {decision.id} about {now}. Look again."
            )
        wanted = answer.choice.strip().casefold()
        for choice in decision.choices:
            if choice.casefold() == wanted:
                # A role may offer a choice of that name, too: then there is no cap, and the note is for the role.
                if choice == RAISE and decision.unit != "" and (fault := amount_fault(answer.note, decision.unit)):
                    raise AmountRefused(fault)
                return choice
        choices = ", ".join(decision.choices)
        raise DecisionRefused(f"Decision {decision.id} has no choice {answer.choice[:80]!r}; choose one of: {choices}.")

    def answer(self, answer: Decide, now: datetime) -> Decision:
        """Take an answer; raises DecisionRefused where it cannot be taken. An answer has one effect, once."""
        return self.take(answer, self.check(answer), now)

    def take(self, answer: Decide, choice: str, now: datetime) -> Decision:
        """Take an answer that was checked."""
        decision = self._decisions[answer.decision_id.strip().upper()]
        decision.state = DecisionState.ANSWERED
        decision.choice = choice
        decision.note = answer.note
        decision.by = answer.by
        decision.answered_at = now
        return decision

    def refuse(self, text: str) -> None:
        """Record something that came by signal and could not be taken."""
        self.refusals = [*self.refusals[-(_MOST_REFUSALS - 1) :], text]

    def withdraw(self, decision_id: str, now: datetime) -> None:
        """Close a question that nobody needs to answer any more."""
        decision = self._decisions[decision_id]
        if decision.state is DecisionState.OPEN:
            decision.state = DecisionState.WITHDRAWN
            decision.answered_at = now
