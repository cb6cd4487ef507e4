"""What is remembered of each asset and device between uplinks, and its form in the store.

Times are UTC milliseconds. A stored text is a JSON object, a container's was one and is an array
now. A key or what follows in an array that this version does not know is ignored, and what is
missing takes its default, so that versions may come and go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson

from stoep_gateway.assets.calibration import Answer
from stoep_gateway.insight.echoes import EchoState, FalseDistance, Jump
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.insight.flaps import FlapCount
from stoep_gateway.insight.soundness import Soundness
from stoep_gateway.values import value

__all__ = ["AssetState", "BayState", "ContainerState", "DeviceState", "dumps", "loads"]


@value
class ContainerState:
    """A container after its newest reading. Stored as an array: new fields go to the end.

    ``sequence`` is the reading's full number (stoep_protocol.reports.full_sequence), ``missing``
    the numbers below it that never arrived. ``distance_mm``, ``quality`` and ``reason`` are the
    newest reading's, ``track`` and ``echo`` are None until a reading had an echo; the waste is most
    likely ``likely_mm`` away. ``alarms`` is a set of the protocol's flags, ``press`` when the press
    last ran, as far as it was told, and the level that it left. A ``sequence`` of -1: nothing was
    ever heard of it, but its ``flaps`` are known.
    """

    sequence: int
    measured_ms: int
    interval_ms: int | None = None
    missing: tuple[int, ...] = ()
    distance_mm: int | None = None
    quality: int = 0
    reason: str | None = None
    track: FillTrack | None = None
    echo: EchoState | None = None
    likely_mm: float | None = None
    alarms: int = 0
    press: tuple[int, float] | None = None
    sensor: Soundness | None = None
    flaps: FlapCount | None = None


@value
class BayState:
    """A bay after its newest report; ``state`` is FREE, OCCUPIED or UNCERTAIN of the protocol."""

    state: int
    since_ms: int
    change_count: int
    reported_ms: int


@value
class DeviceState:
    """What a device last said of itself; a split status is put together here.

    ``answers`` are those to steps of a calibration, one of each step.
    """

    reported_ms: int
    firmware: str | None = None
    hardware: int | None = None
    charge_used_mah: int | None = None
    battery_mv: int | None = None
    reset_reason: int | None = None
    link_margin_db: int | None = None
    calibration: int | None = None
    answers: tuple[Answer, ...] = ()


AssetState = ContainerState | BayState | DeviceState


def dumps(state: AssetState) -> str:
    """Return the text that is stored of a state.

    It is written with every uplink and has to fit into a quarter of a page of SQLite, so a
    container's is arrays, without names.
    """
    if isinstance(state, ContainerState):
        values = _array(state)
        if state.track is not None:
            values[_TRACK] = _array(state.track)
        if state.echo is not None:
            values[_ECHO] = echo = _array(state.echo)
            echo[_JUMP] = None if state.echo.jump is None else _array(state.echo.jump)
            echo[_FALSE] = [_array(it) for it in state.echo.false_distances]
        if state.sensor is not None:
            values[_SENSOR] = _array(state.sensor)
        if state.flaps is not None:
            values[_FLAPS] = _array(state.flaps)
        return orjson.dumps(values).decode()
    return orjson.dumps(state).decode()


def loads(key: str, text: str) -> AssetState:
    """Return the state stored as ``text`` under ``key``: "container/…", "bay/…" or "device/…".

    Raises ValueError for what is none.
    """
    values = orjson.loads(text)
    kind = key.partition("/")[0]
    if isinstance(values, list) and kind == "container":
        values = dict(zip(_order(ContainerState), values, strict=False))
    if not isinstance(values, dict):
        raise ValueError(f"the state of {key} is no JSON object")
    try:
        if kind == "container":
            track = values.get("track")
            values["track"] = None if track is None else _track(track)
            echo = values.get("echo")
            values["echo"] = None if echo is None else _echo(echo)
            values["missing"] = tuple(values.get("missing", ()))
            press = values.get("press")
            values["press"] = None if press is None else tuple(press)
            sensor = values.get("sensor")
            values["sensor"] = None if sensor is None else _sensor(sensor)
            flaps = values.get("flaps")
            values["flaps"] = None if flaps is None else FlapCount(*flaps[: len(_order(FlapCount))])
            return ContainerState(**_known(ContainerState, values))
        if kind == "bay":
            return BayState(**_known(BayState, values))
        if kind == "device":
            answers = values.get("answers", ())
            values["answers"] = tuple(
                Answer(
                    *(it["at_ms"], it["step"], it["result"], tuple(it["values"])), it.get("asset")
                )
                for it in answers
            )
            return DeviceState(**_known(DeviceState, values))
    except TypeError as error:
        raise ValueError(f"the state of {key} is incomplete: {error}") from None
    raise ValueError(f'"{key}" names no container, bay or device')


_Part = ContainerState | FillTrack | EchoState | Jump | FalseDistance | Soundness | FlapCount


def _array(part: _Part) -> list[Any]:
    return list(_values(type(part))(part))  # type: ignore[arg-type]


def _track(values: Sequence[Any] | Mapping[str, Any]) -> FillTrack:
    """Return the track from its array, or from the object that it once was."""
    if isinstance(values, Mapping):
        return FillTrack(**_known(FillTrack, values))
    return FillTrack(*values[: len(_order(FillTrack))])


def _echo(values: Sequence[Any]) -> EchoState:
    """Return the state from its array; one that is shorter was written before later fields."""
    known = dict(zip(_order(EchoState), values, strict=False))
    jump = known.get("jump")
    known["jump"] = None if jump is None else Jump(*jump)
    known["false_distances"] = tuple(FalseDistance(*it) for it in known.get("false_distances", ()))
    return EchoState(**known)


def _sensor(values: Sequence[Any]) -> Soundness:
    known = dict(zip(_order(Soundness), values, strict=False))
    known["floors"] = tuple(known.get("floors", ()))
    return Soundness(**known)


def _known(cls: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    names = _names(cls)  # type: ignore[arg-type]
    return {name: values[name] for name in values if name in names}


@functools.cache
def _names(cls: type[Any]) -> frozenset[str]:
    return frozenset(field.name for field in fields(cls))


@functools.cache
def _values(cls: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*_order(cls))  # type: ignore[arg-type]


@functools.cache
def _order(cls: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


_TRACK, _ECHO, _SENSOR, _FLAPS = map(
    _order(ContainerState).index, ("track", "echo", "sensor", "flaps")
)
_JUMP = _order(EchoState).index("jump")
_FALSE = _order(EchoState).index("false_distances")
