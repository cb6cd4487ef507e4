"""What people decide of the rounds of a date, and what it comes to. Pure.

Decisions are a set: each has its sender's id and a time, and what holds of a container or a truck
follows from all of them in the order of their times. So it does not matter in which order they
come, or how often. What was done stays done; of the rest the last word counts, and ``undo`` takes
back the last word that it finds.
"""

from __future__ import annotations

import datetime
import json
import re
from bisect import insort
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stoep_gateway.assets.geometry import FILL_MAX_PCT
from stoep_gateway.config import Config
from stoep_gateway.config_reader import did_you_mean
from stoep_gateway.planning.days import date_of, local, round_on, seconds_of
from stoep_gateway.planning.plan import Plan
from stoep_gateway.planning.selection import Decisions, obstacle
from stoep_gateway.publish.messages import utc

__all__ = [
    "ACTIONS",
    "Answer",
    "Day",
    "Decision",
    "Dispatch",
    "Word",
    "dumps",
    "is_under_way",
    "loads",
]

Action = Literal["include", "exclude", "lock", "done", "skip", "truck_out", "undo"]
ACTIONS: tuple[Action, ...] = ("include", "exclude", "lock", "done", "skip", "truck_out", "undo")

_AHEAD_MS = 60_000  # by which another clock may be fast
_AFTER_MS = 2 * 3_600_000  # the last truck should be back: a round is over
_LATEST_S = 4 * 3600  # after their time no rounds are planned any more
_LATEST_DAYS = 60
_MOST = 10_000  # decisions of a date
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")
_ABOUT: dict[Action, tuple[set[str], ...]] = {
    "include": ({"container"},),
    "exclude": ({"container"},),
    "lock": ({"container", "truck"},),
    "done": ({"container"}, {"container", "truck"}, {"place", "truck"}),
    "skip": ({"container"}, {"container", "truck"}),
    "truck_out": ({"truck"},),
    "undo": ({"container"}, {"truck"}, {"place", "truck"}),
}


class Word(BaseModel):
    """A decision as somebody sends it; what is left out, the gateway knows or need not know."""

    model_config = ConfigDict(strict=True, extra="forbid")

    id: str = Field(pattern=rf"^{_ID.pattern}$")
    action: Action
    container: str | None = None
    truck: str | None = None
    place: str | None = None
    date: str | None = None
    time_utc: str | None = None
    fill_pct: float | None = Field(default=None, ge=0, le=FILL_MAX_PCT, allow_inf_nan=False)
    weight_kg: float | None = Field(default=None, ge=0, le=100_000, allow_inf_nan=False)

    @classmethod
    def read(cls, said: object) -> Self:
        """Raises ``ValueError`` that says what is wrong with it, and quotes nothing of it."""
        try:
            return cls.model_validate(said)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = ".".join(str(it) for it in first["loc"] if it in cls.model_fields)
            if first["type"] == "extra_forbidden":
                raise ValueError("a member that a decision does not have") from None
            if name == "id":
                raise ValueError("id must be 1 to 64 letters, digits, and . _ : -") from None
            if name == "action":
                raise ValueError(f"action must be one of {', '.join(ACTIONS)}") from None
            raise ValueError(f"{name or 'a decision'}: {first['msg']}") from None


@dataclass(frozen=True, slots=True)
class Decision:
    """A word that was taken: of which ``date``, and made when, by its sender.

    ``container`` was emptied or not, or shall be; by ``truck``, if that is known. With a ``place``
    it is a truck's unloading there.
    """

    number: int
    date: str
    sender: str
    id: str
    at_ms: int
    action: Action
    container: str | None = None
    truck: str | None = None
    place: str | None = None
    fill_pct: float | None = None
    weight_kg: float | None = None

    @property
    def order(self) -> tuple[int, str, str]:
        """Return what they are put in order by."""
        return self.at_ms, self.sender, self.id

    @property
    def about(self) -> tuple[str, ...]:
        """Return what it is about."""
        if self.container is not None:
            return ("container", self.container)
        assert self.truck is not None
        return ("truck", self.truck) if self.place is None else ("place", self.place, self.truck)

    @property
    def tells_emptying(self) -> bool:
        """Whether a container was emptied, as it says."""
        return self.action == "done" and self.container is not None


def dumps(decision: Decision) -> str:
    """Return, as JSON, what is not in other columns of its row."""
    values = asdict(decision)
    for name in ("number", "date", "sender", "id"):
        del values[name]
    return json.dumps({name: it for name, it in values.items() if it is not None})


def loads(number: int, date: str, sender: str, identifier: str, said: str) -> Decision:
    """Return the decision of a row. Raises ``ValueError``."""
    values = json.loads(said)
    if not isinstance(values, dict) or values.get("action") not in ACTIONS:
        raise ValueError(f"decision {number}: not of this version")
    try:
        return Decision(number, date, sender, identifier, **values)
    except TypeError as error:
        raise ValueError(f"decision {number}: {error}") from None


@dataclass(frozen=True, slots=True)
class Day:
    """What holds of a date: for the planner, and the ``facts``, oldest first.

    A fact is that a container is emptied (done) or was not to be emptied (skip), once each, or that
    a truck has unloaded (done, with its place).
    """

    decisions: Decisions = field(default_factory=Decisions)
    facts: tuple[Decision, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """``result`` is accepted, known or refused; ``reason`` says why it was refused.

    ``holds`` is the action that counts now of what the decision is about, None: none. ``emptied``
    are the decisions by which a container is known to be emptied since, ``not_emptied`` those that
    are taken back.
    """

    id: str
    result: Literal["accepted", "known", "refused"]
    reason: str | None = None
    decision: Decision | None = None
    holds: Action | None = None
    emptied: tuple[Decision, ...] = ()
    not_emptied: tuple[Decision, ...] = ()


class _Refused(Exception):  # noqa: N818 (it says the situation)
    pass


class Dispatch:
    """All decisions that are remembered; ``last_number`` is the highest ever given."""

    def __init__(self, decisions: Iterable[Decision] = (), last_number: int = 0) -> None:
        self._last_number = last_number
        self._by_id: dict[tuple[str, str], Decision] = {}
        self._by_date: dict[str, list[Decision]] = {}  # as they came
        self._about: dict[str, dict[tuple[str, ...], list[Decision]]] = {}  # of dates, in order
        for it in decisions:
            self._add(it)

    def decide(
        self, word: Word, sender: str, config: Config, now_ms: int, in_force: Plan | None = None
    ) -> Answer:
        """Take what somebody decides, unless it is known, or cannot be.

        ``in_force`` is the plan by which trucks drive. What is accepted has to be kept.
        """
        known = self._by_id.get((sender, word.id))
        if known is not None:
            if _is_other(word, known):
                return Answer(word.id, "refused", "another decision had this id")
            return Answer(word.id, "known", None, known, _holds(self._said(known)))
        try:
            decision = self._checked(word, sender, config, now_ms, in_force)
        except _Refused as refused:
            return Answer(word.id, "refused", str(refused))
        before = self._said(decision)
        self._add(decision)
        after = self._said(decision)
        return Answer(
            word.id,
            "accepted",
            None,
            decision,
            _holds(after),
            tuple(it for it in after if it.tells_emptying and it not in before),
            tuple(it for it in before if it.tells_emptying and it not in after),
        )

    def day(self, date: str) -> Day:
        """Return what holds of a date."""
        names: dict[str, set[str]] = {it: set() for it in ACTIONS}
        locked: dict[str, str] = {}
        facts: list[Decision] = []
        for about, words in self._about.get(date, {}).items():
            said = _standing(words)
            counts = _counting(said)
            if about[0] == "place":
                facts += said
            elif counts is not None:
                names[counts.action].add(about[1])
                lock = next((it.truck for it in reversed(said) if it.action == "lock"), None)
                if counts.action == "lock":
                    locked[about[1]] = str(lock)
                elif counts.action in ("done", "skip"):
                    facts.append(replace(counts, truck=counts.truck or lock))
        facts.sort(key=lambda it: it.order)
        decisions = Decisions(
            included=names["include"],
            excluded=names["exclude"],
            skipped=names["skip"],
            done=names["done"],
            locked=locked,
            trucks_out=names["truck_out"],
        )
        return Day(decisions, tuple(facts))

    def of(self, date: str) -> list[Decision]:
        """Return all decisions of a date, in their order."""
        return sorted(self._by_date.get(date, ()), key=lambda it: it.order)

    def everything(self) -> list[Decision]:
        """Return all decisions, by date."""
        return [it for date in sorted(self._by_date) for it in self.of(date)]

    def after(self, date: str, number: int) -> list[Decision]:
        """Return those of a date that were taken after the one with that number."""
        return [it for it in self._by_date.get(date, ()) if it.number > number]

    def last(self, date: str) -> int:
        """Return the number of the last one of a date, 0 if there is none."""
        return max((it.number for it in self._by_date.get(date, ())), default=0)

    def forget(self, before: str) -> None:
        """Forget decisions of dates before one."""
        for date in [it for it in self._by_date if it < before]:
            del self._about[date]
            for decision in self._by_date.pop(date):
                del self._by_id[decision.sender, decision.id]

    def _add(self, decision: Decision) -> None:
        self._last_number = max(self._last_number, decision.number)
        self._by_id[decision.sender, decision.id] = decision
        self._by_date.setdefault(decision.date, []).append(decision)
        about = self._about.setdefault(decision.date, {})
        insort(about.setdefault(decision.about, []), decision, key=lambda it: it.order)

    def _said(self, decision: Decision) -> list[Decision]:
        """Return what holds of what a decision is about, in order."""
        return _standing(self._about.get(decision.date, {}).get(decision.about, ()))

    def _checked(
        self, word: Word, sender: str, config: Config, now_ms: int, in_force: Plan | None
    ) -> Decision:
        about = {it for it in ("container", "truck", "place") if getattr(word, it) is not None}
        if about not in _ABOUT[word.action]:
            wanted = " or ".join(" and ".join(sorted(it)) for it in _ABOUT[word.action])
            raise _Refused(f"{word.action} is about {wanted}")
        for name in ("fill_pct", "weight_kg"):
            if getattr(word, name) is not None and (word.action, word.place) != ("done", None):
                raise _Refused(f"{name} is said of a container that is done")
        _check_names(word, config)
        date = _date(word, config, now_ms, in_force)
        at_ms = _time(word, config, now_ms, date)
        if len(self._by_date.get(date, ())) >= _MOST:
            raise _Refused(f"more than {_MOST} decisions of {date}")
        truck = word.truck
        if truck is None and word.action in ("done", "skip"):
            planned = in_force if in_force is not None and in_force.date == date else None
            truck = _truck_of(word.container, planned, config)
        decision = Decision(
            self._last_number + 1,
            date,
            sender,
            word.id,
            now_ms if at_ms is None else at_ms,
            word.action,
            word.container,
            truck,
            word.place,
            word.fill_pct,
            word.weight_kg,
        )
        if at_ms is None:  # then it is after all that came before
            before = self._about.get(date, {}).get(decision.about)
            if before and before[-1].at_ms >= now_ms:
                decision = replace(decision, at_ms=before[-1].at_ms + 1)
        return decision


def _truck_of(container: str | None, planned: Plan | None, config: Config) -> str | None:
    """Return which truck a driver of whom nothing is said is with."""
    for it in () if planned is None else planned.rounds:
        if any(stop.id == container and stop.action == "empty" for stop in it.stops):
            return it.truck
    return config.trucks[0].id if len(config.trucks) == 1 else None


def is_under_way(plan: Plan, config: Config, now_ms: int) -> bool:
    """Whether the rounds of a plan have begun, and not all shifts have ended long since."""
    ends = [datetime.datetime.fromisoformat(it.return_utc).timestamp() for it in plan.rounds]
    for truck in config.trucks:
        starts_s = seconds_of(config, truck.starts or config.planning.at, plan.starts_ms)
        ends.append(plan.starts_ms / 1000 + max(0, starts_s) + 3600 * truck.shift_h)
    end_ms = min(1000 * max(ends, default=0) + _AFTER_MS, plan.next_round_ms)
    return plan.starts_ms - _AHEAD_MS <= now_ms <= end_ms


def _standing(words: Iterable[Decision]) -> list[Decision]:
    """Return what was not taken back, of words of one thing in order."""
    said: list[Decision] = []
    for it in words:
        if it.action != "undo":
            said.append(it)
        elif said:
            said.pop()
    return said


def _holds(said: list[Decision]) -> Action | None:
    counts = _counting(said)
    return None if counts is None else counts.action


def _counting(said: list[Decision]) -> Decision | None:
    """Return the one that counts: the first that says that it is done, else the last."""
    return next((it for it in said if it.action == "done"), said[-1] if said else None)


def _is_other(word: Word, known: Decision) -> bool:
    for name in ("action", "container", "truck", "place", "date", "fill_pct", "weight_kg"):
        value = getattr(word, name)
        if value is not None and value != getattr(known, name):
            return True
    return False


def _check_names(word: Word, config: Config) -> None:
    trucks = {it.id: it for it in config.trucks}
    containers = {it.id: it for it in config.containers}
    places = {it.id for it in config.places if it.kind == "disposal"}
    known: Mapping[str, Iterable[str]] = {
        "container": containers,
        "truck": trucks,
        "place": places,
    }
    for what, names in known.items():
        name = getattr(word, what)
        if name is not None and name not in names:
            label = "place to unload" if what == "place" else what
            shown = name if _ID.fullmatch(name) else "that"
            raise _Refused(f"there is no {label} {shown}{did_you_mean(name[:64], names)}")
    if word.action == "lock":
        why = obstacle(trucks[str(word.truck)], containers[str(word.container)])
        if why is not None:
            raise _Refused(f"{word.truck} cannot take {word.container}: {why}")


def _date(word: Word, config: Config, now_ms: int, in_force: Plan | None) -> str:
    """Return the date that is meant: that of the rounds under way, else today's."""
    today = local(config, now_ms).date()
    driven = None if in_force is None else datetime.date.fromisoformat(in_force.date)
    goes_on = in_force is not None and is_under_way(in_force, config, now_ms)
    usual = driven if driven is not None and goes_on else today
    try:
        date = usual if word.date is None else _read_date(word.date)
    except ValueError:
        raise _Refused("date is written 2026-10-20") from None
    if date < min(today, usual):
        raise _Refused(f"{date} is past")
    if date > today + datetime.timedelta(days=_LATEST_DAYS):
        raise _Refused(f"{date} is more than {_LATEST_DAYS} days ahead")
    if word.action in ("done", "skip"):
        if date > today:
            raise _Refused(f"{date} has not come yet")
    elif word.action != "undo":
        if date == driven and not goes_on:
            raise _Refused(f"the rounds of {date} are over")
        late_s = -seconds_of(config, config.planning.at, now_ms)
        if date == today != driven and late_s > _LATEST_S:
            raise _Refused(f"it is too late for rounds on {date}; name another date")
        if date != driven and (next_one := round_on(config, date)) != date:
            raise _Refused(f"there are no rounds on {date}; the next ones are on {next_one}")
    return date.isoformat()


def _read_date(text: str) -> datetime.date:
    date = datetime.date.fromisoformat(text)
    if date.isoformat() != text:  # which reads other ways to write one, too
        raise ValueError("not as it is written here")
    return date


def _time(word: Word, config: Config, now_ms: int, date: str) -> int | None:
    """Return when it was decided, if that is said."""
    if word.time_utc is None:
        return None
    try:
        moment = datetime.datetime.fromisoformat(word.time_utc)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or not 2000 <= moment.year < 3000:
        raise _Refused("time_utc is written 2026-10-20T06:23:00Z")
    at_ms = round(moment.timestamp() * 1000)
    if at_ms > now_ms + _AHEAD_MS:
        raise _Refused(f"{utc(at_ms)} has not come yet")
    if word.action in ("done", "skip") and date_of(config, at_ms) < date:
        raise _Refused(f"{utc(at_ms)} was before {date}")
    return min(at_ms, now_ms)
