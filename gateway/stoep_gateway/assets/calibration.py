"""Steps of a calibration: what a device can be asked for, and what it answered. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stoep_protocol import advice
from stoep_protocol.calibration import STEP_CAR, STEP_ECHOES, STEP_EMPTY, Calibrate, Calibrated
from stoep_protocol.messages import encode

from stoep_gateway.assets.registry import Bay, Container, Device
from stoep_gateway.values import value

__all__ = ["Answer", "after", "compose", "described", "echoes_of", "level_mm"]


@value
class Answer:
    """What a device answered to a step at ``at_ms`` UTC; fields as in ``Calibrated``.

    ``asset`` is the key of what it stood for then, None: that is not known.
    """

    at_ms: int
    step: int
    result: int
    values: tuple[int | None, ...] = ()
    asset: str | None = None


def compose(device: Device, *, car: bool, distance_cm: int | None) -> tuple[int, int, bytes]:
    """Return a step for a device, and its downlink's fPort and payload.

    Raises ValueError with a text for people.
    """
    asset = device.asset
    if asset is None:
        raise ValueError("it belongs to no container and no bay; stoep device place says to which")
    is_bay = isinstance(asset, Bay)
    if car and not is_bay:
        raise ValueError("no car stands on a container")
    if distance_cm is not None and is_bay:
        raise ValueError("a bay has no distance")
    if distance_cm is not None and not 1 <= distance_cm <= 1000:
        raise ValueError("a distance is 1 to 1000 cm")
    step = STEP_CAR if car else STEP_EMPTY if is_bay else STEP_ECHOES
    return (step, *encode(Calibrate(step, distance_cm)))


def after(answers: Iterable[Answer], answer: Answer) -> tuple[Answer, ...]:
    """Return the answers, the newest one of each step, after one more.

    What a bay knew of a car ends when its empty field is another.
    """
    gone = {answer.step}
    if answer.step == STEP_EMPTY and not answer.result:
        gone.add(STEP_CAR)
    kept = [it for it in answers if it.step not in gone]
    return tuple(sorted([*kept, answer], key=lambda it: it.step))


def level_mm(device: Device) -> int | None:
    """Return how far the floor is below a device's sensor, None if it is over no container."""
    return device.asset.inside.depth_mm if isinstance(device.asset, Container) else None


def echoes_of(answers: Iterable[Answer], floor_mm: int | None) -> tuple[int, advice.Echoes] | None:
    """Return the last echo test that was done, and when."""
    for it in answers:
        if it.step == STEP_ECHOES and not it.result:
            return it.at_ms, advice.Echoes(it.values, floor_mm)
    return None


def described(answer: Answer, floor_mm: int | None) -> dict[str, Any]:
    """Return an answer by name, with what was found and what to do."""
    said: dict[str, Any] = {
        "step": advice.STEPS[answer.step],
        "result": advice.RESULTS.get(answer.result, f"code_{answer.result}"),
        "measured_nt": None,
        "against_nt": None,
        "level_mm": None,
        "places": [],
    }
    if answer.step == STEP_ECHOES:
        echoes = advice.Echoes(answer.values, floor_mm)
        said["level_mm"] = echoes.level_mm
        floor = [] if echoes.floor is None else [echoes.floor]
        dead = [(0, echoes.dead)] if echoes.dead else []
        said["places"] = [
            {"what": what, "distance_mm": mm, "echoes": count}
            for what, places in (
                ("dead_zone", dead),
                ("fixed", echoes.fixed),
                ("floor", floor),
                ("beyond", echoes.beyond),
            )
            for mm, count in places
        ]
    elif len(answer.values) > 1:
        said["measured_nt"], said["against_nt"] = answer.values[:2]
    found = advice.advice(Calibrated(answer.step, answer.result, answer.values), floor_mm)
    said["found"] = [{"text": text, "remedy": remedy or None} for text, remedy in found]
    return said
