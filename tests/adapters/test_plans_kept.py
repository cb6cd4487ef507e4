"""Plans and decisions in the store: what is in force outlives the gateway."""

import dataclasses
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stoep_gateway.errors import FatalError, StoreCorrupt
from stoep_gateway.planning.plan import Plan, dumps, loads
from stoep_gateway.store.latest import read_plans
from stoep_gateway.store.records import DecisionRow, PlanRow, Record, State
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store

SOME = Plan("town", "2026-10-20", 1, 2, 3, False, (), (), (), None, "none", "none", 1000, 0)


async def kept(path: Path, *records: Record) -> State:
    """Write records, and return what is found at the next start."""
    for some in (records, ()):
        store = Store(path, lambda check_value: Sealer(bytes(32)))
        state = await store.open()
        for record in some:
            store.submit(record)
        await store.close()
    return state


def row(date: str, provisional: int, **more: object) -> PlanRow:
    plan = dataclasses.replace(SOME, date=date, provisional=bool(provisional), **more)
    return PlanRow(date, provisional, 5, 11.5, 71.5, 7, dumps(plan))


FINITE = st.floats(allow_nan=False, allow_infinity=False)


def like(kind: Any) -> st.SearchStrategy[Any]:
    """Return values of a type in which numbers are such as JSON has."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return st.builds(kind, **{name: like(hint) for name, hint in hints.items()})
    if typing.get_origin(kind) is tuple:
        return st.lists(like(typing.get_args(kind)[0]), max_size=3).map(tuple)
    if kind == float | None:
        return st.none() | FINITE
    return FINITE if kind is float else st.from_type(kind)


@given(like(Plan))
@settings(max_examples=30)
def test_a_plan_is_the_same_again(plan: Plan) -> None:
    assert loads(dumps(plan)) == plan


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"site": 3}'])
def test_what_is_no_plan_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="no plan"):
        loads(text)


async def test_the_plan_in_force_and_the_next_one_are_found_again(tmp_path: Path) -> None:
    path = tmp_path / "stoep.db"
    days = [row("2026-10-19", 0), row("2026-10-20", 1), row("2026-10-20", 0, seed=7)]
    decisions = [DecisionRow(1, "2026-10-20", "user/a", "x", "{}")]
    state = await kept(
        path,
        Record(plans=tuple(days), planned_date="2026-10-20", decisions=tuple(decisions)),
        Record(plans=(row("2026-10-21", 1),)),
    )
    assert state.plans == (days[-1], row("2026-10-21", 1))
    assert state.decisions == tuple(decisions)
    assert state.last_decision == 1
    found = read_plans(path, "2026-10-19", "2026-10-20")
    assert [(it.date, it.provisional, it.seed) for it in found] == [
        ("2026-10-19", False, 0),
        ("2026-10-20", False, 7),
    ]


async def test_what_is_old_is_forgotten_and_its_number_is_not_used_again(tmp_path: Path) -> None:
    path = tmp_path / "stoep.db"
    dates = ("2026-10-18", "2026-10-19", "2026-10-20")
    state = await kept(
        path,
        Record(
            plans=tuple(row(date, 0) for date in dates),
            decisions=tuple(
                DecisionRow(n, date, "user/a", date, "{}") for n, date in enumerate(dates, 1)
            ),
            planned_date="2026-10-20",
        ),
        Record(rounds_from=(("2026-10-19", "2026-10-21"),)),
    )
    assert [it.date for it in read_plans(path, "", "9")] == list(dates[1:])
    assert state.decisions == ()
    assert state.last_decision == 3


async def test_plans_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    path = tmp_path / "stoep.db"
    with pytest.raises(FatalError, match="no such database"):
        read_plans(path, "", "9")
    await kept(path, Record(plans=(row("2026-10-20", 0)._replace(plan="{}"),)))
    with pytest.raises(StoreCorrupt, match="no plan"):
        read_plans(path, "", "9")
