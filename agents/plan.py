"""The orchestrator's plan: its tasks, its faults, and the order of its tasks. Pure, because workflows use it."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from baton.errors import PlanError
from baton.identifiers import RESERVED_TASK_IDS, is_task_id
from baton.policies import MAX_PLAN_TASKS
from baton.records.run import Maker

_MAX_SHOWN = 60


class PlanTask(BaseModel):
    """One task of the plan."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Annotated[
        str, Field(description="Short and unique, letters, digits, dashes and underscores: orders-pagination")
    ]
    title: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)] = Field(
        description="What the task achieves, as one line a person understands without the rest"
    )
    role: Maker = Field(description="Who makes it: backend (server side) or frontend (what runs in the browser)")
    instructions: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=20_000)] = Field(
        description="Everything the maker must know: it sees this text and the repository, not the request"
    )
    acceptance: Annotated[
        list[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2_000)]],
        Field(max_length=50),
    ] = Field(description="Criteria that a test or a look at the diff can decide, one per entry")
    depends_on: Annotated[list[str], Field(max_length=MAX_PLAN_TASKS)] = Field(
        description="Ids of tasks whose result this one builds on; empty where it can start at once"
    )


def plan_faults(tasks: Sequence[PlanTask]) -> list[str]:
    """Return all faults of a plan, each as `place: fault and expectation`."""
    if not tasks:
        return ["tasks: there is no task; give at least one."]
    if len(tasks) > MAX_PLAN_TASKS:
        return [
            f"tasks: there are {len(tasks)} tasks; at most {MAX_PLAN_TASKS} are taken. Merge what belongs together."
        ]
    faults: list[str] = []
    seen: dict[str, int] = {}
    for index, task in enumerate(tasks):
        where = f"tasks[{index}]"
        if not is_task_id(task.id):
            faults.append(
                f"{where}.id: {_quote_shortened(task.id)} is no valid id; use up to 40 letters, digits, dashes and "
                "underscores, beginning with a letter or digit."
            )
        elif task.id.lower() in RESERVED_TASK_IDS:
            reserved = ", ".join(sorted(RESERVED_TASK_IDS))
            faults.append(f"{where}.id: {_quote_shortened(task.id)} is reserved ({reserved}); choose another id.")
        # Ids become directory names, and some file systems do not tell upper from lower case.
        if (first := seen.setdefault(task.id.lower(), index)) != index:
            faults.append(
                f"{where}.id: {_quote_shortened(task.id)} is already the id of tasks[{first}]; ids must be unique."
            )
    known = {task.id for task in tasks}
    for index, task in enumerate(tasks):
        for position, dependency in enumerate(task.depends_on):
            if dependency not in known:
                faults.append(
                    f"tasks[{index}].depends_on[{position}]: there is no task {_quote_shortened(dependency)}; "
                    f"the ids are {', '.join(_quote_shortened(name) for name in sorted(known))}."
                )
    if not faults and (cycle := find_cycle(tasks)):
        faults.append(f"tasks: the dependencies form a cycle ({' -> '.join(cycle)}); remove one of them.")
    return faults


def find_cycle(tasks: Sequence[PlanTask]) -> list[str] | None:
    """Return the ids along a cycle of dependencies, the first repeated at the end; None if there is none."""
    edges = {task.id: list(task.depends_on) for task in tasks}
    finished: set[str] = set()
    for start in edges:
        path: list[str] = []
        stack = [(start, iter(edges[start]))] if start not in finished else []
        path.extend(name for name, _ in stack)
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                path.pop()
                finished.add(name)
            elif following in path:
                return [*path[path.index(following) :], following]
            elif following not in finished and following in edges:
                stack.append((following, iter(edges[following])))
                path.append(following)
    return None


def require_plan(tasks: Sequence[PlanTask]) -> None:
    """Raise PlanError with all faults of a plan, if it has any."""
    if faults := plan_faults(tasks):
        raise PlanError("The plan cannot be carried out: " + " ".join(faults))


def order_tasks(tasks: Sequence[PlanTask]) -> list[PlanTask]:
    """Return the tasks in the plan's order, but each after its dependencies. Raises PlanError for a cycle."""
    placed: set[str] = set()
    rest, ordered = list(tasks), list[PlanTask]()
    while rest:
        ready = next((task for task in rest if placed.issuperset(task.depends_on)), None)
        if ready is None:
            require_plan(tasks)
            raise PlanError("The plan cannot be carried out: a task depends on one that is not in it.")
        rest.remove(ready)
        placed.add(ready.id)
        ordered.append(ready)
    return ordered


def _quote_shortened(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "...")
