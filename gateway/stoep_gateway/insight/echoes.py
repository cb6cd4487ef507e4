"""Which echoes to believe: the filter that learns a sensor's false distances. Pure.

A lid's bar or a wall's edge answers in place of the waste now and then, always from the same
distance, for a few readings in a row; then the waste answers again where it was. So a rise that
comes at once is not believed until it has grown as waste does or stayed for long, and when it ends
where it began, its distance is remembered as false. From then on a reading there only says that the
waste is no nearer. Waste does not fall by itself: a sudden fall is an emptying, or one stray echo,
which the next reading tells.

Nothing is dropped: every reading gets a quality and a reason, and with it the distance at which the
waste most likely is. What has no source was chosen on the training series of bench/bins.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from stoep_gateway.values import value

__all__ = ["EchoState", "FalseDistance", "Jump", "Verdict", "advance", "settle", "tested"]

_HOUR_MS = 3_600_000

STEADY_MM = 60.0  # what noise and a moving heap do between two readings
JUMP_MM = 150.0  # a stray echo differs by more, as measured in the field; a bag by less
FALSE_WIDTH_MM = 25.0  # on either side of a false distance
TIGHT_MM = 15.0  # no reading of a false run is farther from their mean
GROWN_MM = 40.0  # what has come nearer by this since it appeared is waste
LEARNED = 1.0  # weight from which a false distance is believed in
SURE = 3.0  # and from which a sensor is unlikely to have another
WEIGHT_MAX = 20.0
ONE_READING = 0.4  # weight of a run of one, which may be a stray echo
FORGET = 0.98  # of the others' weight, at each run at one of them
KEPT = 3  # false distances of a sensor
TESTED = 2.0  # weight of what an echo test has found; a guess
FALSE_SHARE = 0.8  # of the depth: a false distance beyond does little harm
PROVEN = 200  # readings after which a sensor without false echoes is unlikely to have any
PATIENCE_RISEN = 2  # readings of a rise that waste may have made
PATIENCE = 12  # of any other
PATIENCE_FALSE = 30  # of one to a false distance
FIRST = 24  # readings until which a fall may be the end of a false start
SOON_MS = 12 * _HOUR_MS  # within which one reading undoes a rise that was believed
LATE_MS = 72 * _HOUR_MS  # and two
HOLD_H = 24.0  # for which the waste is taken to go on rising unseen
RATE_MEMORY_H = 96.0
RATE_MAX_MM_H = 40.0
RATE_PRIOR_MM_H = 8.0
EMPTY_SHARE = 0.08  # of the depth: what may be left in a container until its habit is known


@value
class FalseDistance:
    """Where false echoes were seen, in mm, and how sure that is."""

    distance_mm: float
    weight: float


@value
class Jump:
    """A change that is not yet believed: ``count`` readings, the newest the ``seen``-th of all.

    ``first_mm`` and ``last_mm`` are its ends, ``spread_mm`` the farthest that one was from their
    mean, ``mean_mm``.
    """

    count: int
    seen: int
    first_mm: float
    last_mm: float
    mean_mm: float
    spread_mm: float


@value
class EchoState:
    """What is remembered of one sensor; times in UTC ms, distances in mm.

    Stored as an array: new fields go to the end. The waste was last believed at ``distance_mm``
    at ``at_ms`` and comes nearer by ``rate_mm_h``, learned over ``rate_h`` hours; ``seen``
    counts readings from the one at ``first_mm`` on. ``false_count`` readings in a row were at a
    false distance, ``false_mm`` (0: the waste may have been there). ``rise_mm`` at ``rise_ms``
    (0: none) is where the waste was before the last sudden rise that was believed, and
    ``fall_mm`` at ``fall_ms`` before the last fall that the next reading has to confirm;
    ``empty_mm`` (0: not known) is where it is after an emptying. The last echo test that is known
    was at ``tested_ms`` (0: none).
    """

    at_ms: int
    distance_mm: float
    rate_mm_h: float = RATE_PRIOR_MM_H
    rate_h: float = 24.0
    seen: int = 1
    first_mm: float = 0.0
    jump: Jump | None = None
    false_count: int = 0
    false_mm: float = 0.0
    rise_ms: int = 0
    rise_mm: float = 0.0
    fall_ms: int = 0
    fall_mm: float = 0.0
    empty_mm: float = 0.0
    false_distances: tuple[FalseDistance, ...] = ()
    tested_ms: int = 0


@value
class Verdict:
    """What a reading is worth: quality 1 to 4 (LwM2M 3435), and why it is not 4.

    ``distance_mm`` is where the waste most likely is; ``believed`` whether the reading says so;
    ``undone`` that what was believed before was a stray or false echo: no emptying lies between.
    """

    quality: int
    reason: str | None
    distance_mm: float
    believed: bool
    undone: bool = False


def tested(state: EchoState, at_ms: int, fixed_mm: Iterable[float], depth_mm: int) -> EchoState:
    """Return the state after an echo test that has found fixed reflections at ``fixed_mm``."""
    false = state.false_distances
    for distance_mm in fixed_mm:
        if distance_mm < FALSE_SHARE * depth_mm:
            false = _learned(false, distance_mm, TESTED)
    return replace(state, tested_ms=at_ms, false_distances=false)


def advance(
    state: EchoState | None, at_ms: int, distance_mm: int, depth_mm: int
) -> tuple[EchoState, Verdict]:
    """Return the state after one more reading that had an echo, and what it is worth.

    Readings come in the order of their times; ``depth_mm`` is from the sensor to the floor.
    """
    if state is None:
        return EchoState(at_ms, distance_mm, first_mm=distance_mm), Verdict(
            4, None, distance_mm, True
        )
    state = replace(state, seen=state.seen + 1)
    hours = max(at_ms - state.at_ms, 0) / _HOUR_MS
    expected_mm = _risen(state.distance_mm, state.rate_mm_h, hours)
    known = _near(state.false_distances, distance_mm)
    if known is not None and known.weight >= LEARNED and state.false_count + 1 < PATIENCE_FALSE:
        return _at_false(state, at_ms, distance_mm, expected_mm, known, depth_mm)
    farther_mm = distance_mm - expected_mm
    if -JUMP_MM - state.rate_mm_h * hours <= farther_mm <= JUMP_MM:
        return _went_on(_returned(state, depth_mm), at_ms, distance_mm, hours)
    state = replace(state, jump=_jumped(state, distance_mm))
    if farther_mm < 0:
        return _rose(state, at_ms, distance_mm, expected_mm)
    return _fell(state, at_ms, distance_mm, expected_mm, depth_mm)


def settle(state: EchoState, at_ms: int, distance_mm: int) -> EchoState:
    """Return the state after the waste has moved for a reason that is known."""
    first_mm = state.first_mm + distance_mm - state.distance_mm
    state = _changed(state, at_ms, distance_mm)
    return replace(state, seen=state.seen + 1, first_mm=first_mm, rise_ms=0)


def _risen(distance_mm: float, rate_mm_h: float, hours: float) -> float:
    return max(distance_mm - rate_mm_h * min(hours, HOLD_H), 0.0)


def _slack_mm(rate_mm_h: float, hours: float) -> float:
    """Return how much nearer than expected the waste may be: days are uneven, bags come at once."""
    return max(JUMP_MM, STEADY_MM + 3 * rate_mm_h * hours)


def _went_on(
    state: EchoState, at_ms: int, distance_mm: int, hours: float
) -> tuple[EchoState, Verdict]:
    """Take a reading in which the waste has gone on from where it was."""
    rate = state.rate_mm_h
    if hours > 0:
        weight_h = min(hours, 24.0)
        gained = (state.distance_mm - distance_mm) / hours
        rate += (gained - rate) * weight_h / (state.rate_h + weight_h)
    empty_mm = state.empty_mm
    if state.fall_ms:
        empty_mm += (state.distance_mm - empty_mm) * (0.3 if empty_mm else 1.0)
    state = replace(
        state,
        at_ms=at_ms,
        distance_mm=distance_mm,
        rate_mm_h=round(min(max(rate, 0.0), RATE_MAX_MM_H), 2),
        rate_h=round(min(state.rate_h + hours, RATE_MEMORY_H), 1),
        false_count=0,
        fall_ms=0,
        empty_mm=round(empty_mm, 1),
    )
    return state, Verdict(4, None, distance_mm, True)


def _at_false(
    state: EchoState,
    at_ms: int,
    distance_mm: int,
    expected_mm: float,
    known: FalseDistance,
    depth_mm: int,
) -> tuple[EchoState, Verdict]:
    """Take a reading at a false distance."""
    hours = max(at_ms - state.at_ms, 0) / _HOUR_MS
    state = replace(state, false_count=state.false_count + 1)
    if expected_mm - distance_mm > _slack_mm(state.rate_mm_h, hours):
        state = replace(state, false_mm=known.distance_mm)
        return state, Verdict(1, "false_echo", expected_mm, False)
    state = replace(state, jump=None)
    if distance_mm - state.distance_mm > JUMP_MM / 2:
        # It had been nearer, and hid this; so it has been taken away.
        return state, Verdict(2, "false_echo", (1 - EMPTY_SHARE / 4) * depth_mm, False)
    likely_mm = max(expected_mm, distance_mm)
    state = replace(state, at_ms=at_ms, distance_mm=likely_mm)
    return state, Verdict(3, "false_echo", likely_mm, False)


def _rose(
    state: EchoState, at_ms: int, distance_mm: int, expected_mm: float
) -> tuple[EchoState, Verdict]:
    jump = state.jump
    assert jump is not None
    if state.fall_ms:
        hours = (at_ms - state.fall_ms) / _HOUR_MS
        farther_mm = distance_mm - _risen(state.fall_mm, state.rate_mm_h, hours)
        if -_slack_mm(state.rate_mm_h, hours) <= farther_mm <= JUMP_MM:
            # What looked like an emptying was one stray echo.
            state = replace(state, at_ms=at_ms, distance_mm=distance_mm, fall_ms=0, jump=None)
            return state, Verdict(4, None, distance_mm, True, undone=True)
    patience = _patience(state, at_ms, distance_mm, expected_mm)
    has_grown = jump.count >= 3 and jump.first_mm - distance_mm >= GROWN_MM
    if has_grown or jump.count >= patience:
        state = _changed(state, at_ms, distance_mm)
        state = replace(state, rise_ms=at_ms, rise_mm=round(expected_mm, 1))
        return state, Verdict(3, "sudden_rise", distance_mm, True)
    quality = 2 if patience == PATIENCE else 3
    return state, Verdict(quality, "sudden_rise", expected_mm, False)


def _patience(state: EchoState, at_ms: int, distance_mm: int, expected_mm: float) -> int:
    """Return how many readings a rise has to stay."""
    hours = max(at_ms - state.at_ms, 0) / _HOUR_MS
    if expected_mm - distance_mm <= _slack_mm(state.rate_mm_h, hours):
        return PATIENCE_RISEN
    surest = max((it.weight for it in state.false_distances), default=0.0)
    is_known = surest >= SURE or (surest < LEARNED and state.seen >= PROVEN)
    if is_known and _near(state.false_distances, distance_mm) is None:
        return PATIENCE_RISEN
    return PATIENCE


def _fell(
    state: EchoState, at_ms: int, distance_mm: int, expected_mm: float, depth_mm: int
) -> tuple[EchoState, Verdict]:
    assert state.jump is not None
    again = state.jump.count >= 2
    if state.empty_mm:
        is_empty = abs(distance_mm - state.empty_mm) <= STEADY_MM
    else:
        is_empty = distance_mm >= (1 - EMPTY_SHARE) * depth_mm
    if state.rise_ms:
        since_ms = at_ms - state.rise_ms
        before_mm = _risen(state.rise_mm, state.rate_mm_h, since_ms / _HOUR_MS)
        is_back = -JUMP_MM <= distance_mm - before_mm <= 2 * STEADY_MM
        if is_back and since_ms <= (LATE_MS if again or is_empty else SOON_MS):
            # What looked like waste was a false echo that stayed for long, or a bag that hung.
            false = _learned(state.false_distances, state.distance_mm, 0.5)
            state = _changed(state, at_ms, distance_mm)
            state = replace(state, rise_ms=0, false_distances=false)
            return state, Verdict(4, None, distance_mm, True, undone=True)
    if again or is_empty:
        has_grown = state.first_mm - state.distance_mm >= GROWN_MM
        undone = state.seen < FIRST and not has_grown
        state = _changed(state, at_ms, distance_mm)
        if not again:
            state = replace(state, fall_ms=at_ms, fall_mm=round(expected_mm, 1))
        return state, Verdict(3, "sudden_fall", distance_mm, True, undone)
    return state, Verdict(3, "sudden_fall", expected_mm, False)


def _changed(state: EchoState, at_ms: int, distance_mm: int) -> EchoState:
    """Believe a jump."""
    return replace(
        state,
        at_ms=at_ms,
        distance_mm=distance_mm,
        jump=None,
        false_count=0,
        false_mm=0.0,
        fall_ms=0,
    )


def _jumped(state: EchoState, distance_mm: int) -> Jump:
    """Add a reading to the jump that waits to be believed, or begin another."""
    jump = state.jump
    if (
        jump is None
        or state.seen - jump.seen > 3
        or not -JUMP_MM <= distance_mm - jump.last_mm <= STEADY_MM
    ):
        return Jump(1, state.seen, distance_mm, distance_mm, distance_mm, 0.0)
    mean_mm = jump.mean_mm + (distance_mm - jump.mean_mm) / (jump.count + 1)
    return Jump(
        jump.count + 1,
        state.seen,
        jump.first_mm,
        distance_mm,
        round(mean_mm, 1),
        round(max(jump.spread_mm, abs(distance_mm - mean_mm)), 1),
    )


def _returned(state: EchoState, depth_mm: int) -> EchoState:
    """Learn from a rise that ended where it began."""
    false, jump = state.false_distances, state.jump
    if jump is None and not state.false_mm:
        return state
    if state.false_mm:
        false = _learned(false, state.false_mm, LEARNED)
    nearest_mm = min(state.distance_mm, FALSE_SHARE * depth_mm)
    if jump is not None and jump.spread_mm <= TIGHT_MM and jump.mean_mm < nearest_mm:
        false = _learned(false, jump.mean_mm, LEARNED if jump.count >= 2 else ONE_READING)
    return replace(state, jump=None, false_mm=0.0, false_distances=false)


def _learned(
    false: tuple[FalseDistance, ...], at_mm: float, weight: float
) -> tuple[FalseDistance, ...]:
    known = _near(false, at_mm)
    kept = [
        FalseDistance(it.distance_mm, round(it.weight * FORGET, 3))
        for it in false
        if it is not known
    ]
    if known is not None:
        share = weight / (known.weight + weight)
        at_mm = known.distance_mm + (at_mm - known.distance_mm) * share
        weight = min(known.weight + weight, WEIGHT_MAX)
    kept.append(FalseDistance(round(at_mm, 1), round(weight, 3)))
    kept.sort(key=lambda it: -it.weight)
    return tuple(kept[:KEPT])


def _near(false: tuple[FalseDistance, ...], distance_mm: float) -> FalseDistance | None:
    for it in false:
        if abs(it.distance_mm - distance_mm) <= FALSE_WIDTH_MM:
            return it
    return None
