"""Plans that can be carried out, those that cannot, and the order of tasks."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.plan import PlanTask, find_cycle, order_tasks, plan_faults, require_plan
from baton.errors import PlanError
from baton.policies import MAX_PLAN_TASKS


def task(name: str, *depends_on: str) -> PlanTask:
    return PlanTask(
        id=name, title=name or "t", role="backend", instructions="do", acceptance=[], depends_on=list(depends_on)
    )


def test_a_good_plan_has_no_faults() -> None:
    assert plan_faults([task("a"), task("b", "a"), task("c", "a", "b")]) == []


@pytest.mark.parametrize(
    ("tasks", "fault"),
    [
        ([], "tasks: there is no task"),
        ([task(f"t{number}") for number in range(MAX_PLAN_TASKS + 30)], f"at most {MAX_PLAN_TASKS}"),
        ([task("a b")], "tasks[0].id: 'a b' is no valid id"),
        ([task("../x")], "no valid id"),
        ([task("x" * 100)], "no valid id"),
        ([task("plan")], "reserved"),
        ([task("Gate")], "reserved"),
        ([task("a"), task("A")], "tasks[1].id: 'A' is already the id of tasks[0]"),
        ([task("a", "z")], "tasks[0].depends_on[0]: there is no task 'z'"),
        ([task("a", "a")], "(a -> a)"),
        ([task("x"), task("a", "b"), task("b", "c"), task("c", "a")], "(a -> b -> c -> a)"),
    ],
)
def test_a_fault_is_named_with_its_place(tasks: list[PlanTask], fault: str) -> None:
    assert fault in "\n".join(plan_faults(tasks))
    with pytest.raises(PlanError):
        require_plan(tasks)


def test_all_faults_are_told_at_once() -> None:
    assert len(plan_faults([task("run"), task("a", "nope"), task("a")])) == 3


def test_the_order_follows_the_dependencies() -> None:
    plan = [task("c", "b"), task("b", "a"), task("a"), task("d")]
    assert [each.id for each in order_tasks(plan)] == ["a", "b", "c", "d"]


def test_the_order_of_a_circle_is_an_error() -> None:
    with pytest.raises(PlanError, match="a -> b -> a"):
        order_tasks([task("a", "b"), task("b", "a")])
    with pytest.raises(PlanError, match="no task 'z'"):
        order_tasks([task("a", "z")])


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(0, 7), max_size=4), min_size=1, max_size=8))
def test_a_plan_has_an_order_exactly_when_it_has_no_circle(edges: list[list[int]]) -> None:
    count = len(edges)
    plan = [task(f"t{index}", *(f"t{other % count}" for other in others)) for index, others in enumerate(edges)]
    cycle = find_cycle(plan)
    if cycle is None:
        ordered = [each.id for each in order_tasks(plan)]
        assert sorted(ordered) == sorted(each.id for each in plan)
        for each in plan:
            assert all(ordered.index(name) < ordered.index(each.id) for name in each.depends_on)
    else:
        needs = {each.id: each.depends_on for each in plan}
        assert cycle[0] == cycle[-1]
        assert all(following in needs[name] for name, following in pairwise(cycle))
        with pytest.raises(PlanError):
            order_tasks(plan)
