"""The decision book: questions to a person, their answers, and the reasons for refusing an answer. Pure."""

from datetime import datetime

from baton.budget.caps import RAISE, amount_fault
from baton.records.run import Decide, Decision, DecisionState

ALWAYS = ("retry", "skip", "abort")
"""Choices that every decision offers, after its own."""

_MAX_REFUSALS = 20
"""Refusals that are kept, the newest ones."""

PUBLISH = "publish"
"""The choice that publishes files without their git filter. Examples, defaults and deadlines never name it."""


def example_choice(decision: Decision) -> str:
    """Return the choice to show in an example of an answer."""
    return next((choice for choice in decision.choices if choice != PUBLISH), decision.choices[0])


class DecisionRefused(ValueError):
    """An answer to a decision is invalid; the message gives the reason."""


class AmountRefused(DecisionRefused):
    """The note of an answer holds no amount by which its cap can be raised."""


class DecisionBook:
    """All decisions of a run, in the order in which they were opened.

    Its ids are `D1`, `D2`, ... An answer takes effect once: a decision that was answered or withdrawn refuses another.
    """

    def __init__(self) -> None:
        self._decisions: dict[str, Decision] = {}
        self.refusals: list[str] = []
        """Answers that arrived by signal and were refused, with the reason; the newest last, bounded."""

    def restore(self, decisions: list[Decision], refusals: list[str]) -> None:
        """Take over the decisions of the execution that this one continues."""
        self._decisions = {decision.id: decision for decision in decisions}
        self.refusals = list(refusals)

    def list_all(self) -> list[Decision]:
        """Return every decision, open or closed."""
        return list(self._decisions.values())

    def list_open(self) -> list[Decision]:
        """Return the decisions that wait for an answer."""
        return [decision for decision in self._decisions.values() if decision.state is DecisionState.OPEN]

    def get_decision(self, decision_id: str) -> Decision:
        """Return the decision of an id; raises KeyError if there is none."""
        return self._decisions[decision_id]

    def open_decision(self, decision: Decision) -> Decision:
        """Open a decision with the next id, and add the choices that every decision offers."""
        own = list(dict.fromkeys(choice.strip() for choice in decision.choices if choice.strip()))
        choices = [*[choice for choice in own if choice.lower() not in ALWAYS], *ALWAYS]
        opened = decision.model_copy(update={"id": f"D{len(self._decisions) + 1}", "choices": choices})
        self._decisions[opened.id] = opened
        return opened

    def check_answer(self, answer: Decide) -> str:
        """Return the choice of an answer as the decision spells it; raises DecisionRefused if the answer is invalid."""
        decision = self._decisions.get(answer.decision_id.strip().upper())
        if decision is None:
            known = ", ".join(found.id for found in self.list_open()) or "none"
            raise DecisionRefused(f"There is no decision {answer.decision_id[:80]!r}; open decisions: {known}.")
        if decision.state is DecisionState.ANSWERED:
            by = f" by {decision.by}" if decision.by else ""
            raise DecisionRefused(f"Decision {decision.id} was answered already{by}: {decision.choice}.")
        if decision.state is DecisionState.WITHDRAWN:
            raise DecisionRefused(f"Decision {decision.id} is stale: the run no longer needs an answer.")
        about = answer.commit.strip().lower()
        if about and not (decision.commit or "").startswith(about):
            now = f"commit {decision.commit[:12]}" if decision.commit else "no commit"
            raise DecisionRefused(
                f"The answer is stale: it is about commit {about[:12]}, decision {decision.id} about {now}. Read it"
                " again."
            )
        wanted = answer.choice.strip().casefold()
        for choice in decision.choices:
            if choice.casefold() == wanted:
                # A role may offer a choice named `raise`, too: that decision has no cap, and its note is for the role.
                if choice == RAISE and decision.unit != "" and (fault := amount_fault(answer.note, decision.unit)):
                    raise AmountRefused(fault)
                return choice
        choices = ", ".join(decision.choices)
        raise DecisionRefused(f"Decision {decision.id} has no choice {answer.choice[:80]!r}; choose one of: {choices}.")

    def take_answer(self, answer: Decide, now: datetime) -> Decision:
        """Check an answer and record it; raises DecisionRefused if it is invalid."""
        return self.record_answer(answer, self.check_answer(answer), now)

    def record_answer(self, answer: Decide, choice: str, now: datetime) -> Decision:
        """Record an answer with the choice that `check` has returned."""
        decision = self._decisions[answer.decision_id.strip().upper()]
        decision.state = DecisionState.ANSWERED
        decision.choice = choice
        decision.note = answer.note
        decision.by = answer.by
        decision.answered_at = now
        return decision

    def record_refusal(self, text: str) -> None:
        """Record the refusal of an answer that arrived by signal, which has no reply."""
        self.refusals = [*self.refusals[-(_MAX_REFUSALS - 1) :], text]

    def withdraw_decision(self, decision_id: str, now: datetime) -> None:
        """Close an open decision that needs no answer any more; a no-op for a closed one."""
        decision = self._decisions[decision_id]
        if decision.state is DecisionState.OPEN:
            decision.state = DecisionState.WITHDRAWN
            decision.answered_at = now
