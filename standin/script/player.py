"""The choice of the step that answers a request, by its `X-Baton-*` headers; a repeated request gets the same step."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from standin.api.errors import ApiError, invalid_request
from standin.script.scenario import Fault, Scenario, ScriptedStep


@dataclass(frozen=True)
class Caller:
    """The values of a request's `X-Baton-*` headers."""

    run: str | None = None
    role: str | None = None
    task: str | None = None
    round: int | None = None
    turn: int | None = None

    def template_names(self) -> dict[str, str]:
        """Return the values of the names in `${...}` of an answer to this caller."""
        values = {"run": self.run, "role": self.role, "task": self.task, "round": self.round, "turn": self.turn}
        return {name: str(value) for name, value in values.items() if value is not None}


def read_caller(headers: Mapping[str, str]) -> Caller:
    """Read the headers; raises ApiError (400) for an invalid number."""

    def number(name: str) -> int | None:
        text = headers.get(name)
        if text is None:
            return None
        if not text.isdecimal():
            raise invalid_request(f"{name}: expected a number, got {text!r}")
        return int(text)

    return Caller(
        run=headers.get("x-baton-run"),
        role=headers.get("x-baton-role"),
        task=headers.get("x-baton-task"),
        round=number("x-baton-round"),
        turn=number("x-baton-turn"),
    )


_Key = tuple[Caller, str]


@dataclass
class PlayedStep:
    """The step that was chosen for a request."""

    step: ScriptedStep
    index: int | None
    """Number of the step in the scenario, from 0; None for the default."""
    attempt: int
    """Number of the request among those for this step, from 1."""
    fault: Fault | None


@dataclass
class Player:
    """The state of a scenario that is being played; each run uses up steps for itself."""

    scenario: Scenario
    _chosen: dict[_Key, int] = field(default_factory=dict)
    _used: set[tuple[str | None, int]] = field(default_factory=set)
    _attempts: dict[tuple[_Key, int], int] = field(default_factory=dict)
    _limits: dict[tuple[_Key, int, int], float] = field(default_factory=dict)

    def play_request(self, caller: Caller, digest: bytes, max_tokens: int, now: float, said: str = "") -> PlayedStep:
        """Choose the step and count the request; raises ApiError (400) if no step matches.

        A request with the same headers, turn included, is a repetition; without a turn in the headers, one with the
        same content. A repetition with other `max_tokens` gets the next step that matches, if any. `said` is the text
        of the request's last message, `now` the seconds of a clock.
        """
        base: _Key = (caller, "" if caller.turn is not None else digest.hex())
        exact: _Key = (caller, f"{base[1]}/{max_tokens}")
        index = self._chosen.get(exact)
        if index is None:
            found = self._find_next(caller, said)
            index = found if found is not None else self._chosen.get(base)
            if index is None:
                index = self._default_or_refuse(caller, said)
            self._chosen[exact] = self._chosen[base] = index
            self._used.add((caller.run, index))
        step = self._step_at(index)
        attempt = self._attempts[base, index] = self._attempts.get((base, index), 0) + 1
        return PlayedStep(
            step, index if index >= 0 else None, attempt, self._pick_fault(base, index, step, attempt, now)
        )

    def _step_at(self, index: int) -> ScriptedStep:
        step = self.scenario.steps[index] if index >= 0 else self.scenario.default
        assert step is not None
        return step

    def _find_next(self, caller: Caller, said: str) -> int | None:
        for index, step in enumerate(self.scenario.steps):
            if not _step_matches(step, caller, said):
                continue
            if step.repeat is not None or (caller.run, index) not in self._used:
                return index
        return None

    def _default_or_refuse(self, caller: Caller, said: str) -> int:
        if self.scenario.default is not None:
            return -1
        headers = ", ".join(
            f"X-Baton-{name.capitalize()}={value if value is not None else '(none)'}"
            for name, value in vars(caller).items()
        )
        near = [str(i) for i, step in enumerate(self.scenario.steps) if _step_matches(step, caller, said)]
        used = f" Steps that match are used up: {', '.join(near)}." if near else ""
        raise ApiError(400, f"scenario: no step of `{self.scenario.name or 'scenario'}` is left for {headers}.{used}")

    def _pick_fault(self, key: _Key, index: int, step: ScriptedStep, attempt: int, now: float) -> Fault | None:
        """Return the fault of the n-th request; a usage limit recurs until its reset, without counting requests."""
        for number, fault in enumerate(step.faults):
            if fault is None or fault.usage_limit is None:
                continue
            reset = self._limits.get((key, index, number))
            if reset is not None and now < reset:
                self._attempts[key, index] -= 1
                return fault
        fault = step.fault_of_request(attempt)
        if fault is not None and fault.usage_limit is not None:
            number = next(i for i, known in enumerate(step.faults) if known is fault)
            self._limits[key, index, number] = now + fault.usage_limit
        return fault

    def resets_at(self, caller: Caller, digest: bytes, fault: Fault, now: float) -> float:
        """Return the reset of the usage limit that was just reached, in seconds of the clock that `play` was given."""
        key: _Key = (caller, "" if caller.turn is not None else digest.hex())
        resets = [reset for (owner, _, _), reset in self._limits.items() if owner == key and reset > now]
        return min(resets, default=now + (fault.usage_limit or 0.0))


def _step_matches(step: ScriptedStep, caller: Caller, said: str) -> bool:
    for name in ("run", "role", "task", "round", "turn"):
        wanted = getattr(step, name)
        if wanted is not None and wanted != getattr(caller, name):
            return False
    if step.contains is not None and step.contains not in said:
        return False
    if isinstance(step.repeat, int):
        return caller.turn is not None and 1 <= caller.turn <= step.repeat
    return True
