"""Cuts of a device's power, and resets, at every point of a life that has all of it: joining,
LinkADRReq, receive windows moved, a new channel, repetitions, confirmed frames both ways,
configurations. What must hold is in tests/support, device_cuts.py and distrustful_network.py; that
it would be noticed is shown here by breaking the firmware on purpose.

`make test` takes one point in 59, `make test-system` all of them, over 20 000 cuts.
"""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
from device_cuts import POWER, RESET, World, live, play, script
from distrustful_network import GENUINE, MINUTE_MS, SILENT, ViolationError
from stoep_firmware import mac as m
from stoep_firmware import store
from stoep_firmware.mac import Mac
from stoep_firmware.session import Session
from stoep_firmware.wake import Wake

STRIDE = int(os.environ.get("STOEP_CUT_STRIDE", "59"))
PARTS = 5
FEWEST_IN_ALL = 20_000  # cuts, with a stride of 1


def _cut_everywhere(region: str, wakes: range, stride: int) -> int:
    """Cut these wakes of the script at every `stride`-th point; return how many cuts that were."""
    steps = script(region)
    world = World(region=region)
    cuts = 0
    for number, step in enumerate(steps):
        play(world, step)
        before = copy.deepcopy(world)
        points = world.wake()
        world.sleep()
        if number not in wakes:
            continue
        cuts += _cut_wake(before, points, number * 7, stride, f"wake {number}")
    return cuts


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("region", ["EU868", "US915"])
def test_one_cut_at_every_point(region: str, part: int) -> None:
    cuts = _cut_everywhere(region, range(part, 100, PARTS), STRIDE)
    print(f"{cuts} cuts")
    assert cuts >= FEWEST_IN_ALL // (2 * PARTS) // STRIDE * 0.8


def _cut_wake(before: World, points: int, first: int, stride: int, where: str) -> int:
    cuts = 0
    for at in range(first % stride, points, stride):
        for kind in (POWER, RESET):
            cut = copy.deepcopy(before)
            assert cut.wake(at) is None, where
            try:
                cut.survive(kind, at)
            except ViolationError as violation:
                raise ViolationError(f"{where}, point {at}, {kind}: {violation}") from violation
            cuts += 1
    return cuts


def test_session_that_is_asked_for_anew_is_cut_at_every_point() -> None:
    world = World()
    world.until(GENUINE, lambda: world.network.answered > 0)
    world.network.mode = SILENT
    world.network.gave_up = True
    joins = len(world.network.dev_nonces)
    while len(world.network.dev_nonces) == joins:
        before = copy.deepcopy(world)
        world.wake()
        world.sleep()
    cuts = 0
    for number in range(4):  # the first join-request, unanswered ones, one with an accept
        cuts += _cut_wake(before, copy.deepcopy(before).wake() or 0, number, STRIDE, f"{number}")
        if number == 2:
            before.network.mode = GENUINE
        else:
            before.wake()
            before.sleep()
    print(f"{cuts} cuts")
    assert cuts >= 600 // STRIDE
    assert world.network.sessions[0].used


def _live(region: str, seed: int, full_once_in: int) -> int:
    world = World(seed, region=region)
    world.full_once_in = full_once_in
    try:
        return live(world, script(region), 12, 2)
    except ViolationError as violation:
        raise ViolationError(f"seed {seed}: {violation}") from violation


@pytest.mark.parametrize("full_once_in", [0, 6])
@pytest.mark.parametrize("region", ["EU868", "US915"])
def test_lives_cut_at_random_points_and_in_what_follows(region: str, full_once_in: int) -> None:
    lives = 4 + 100 // STRIDE
    cuts = sum(_live(region, seed, full_once_in) for seed in range(lives))
    print(f"{cuts} cuts")
    assert cuts >= 8 * lives


@pytest.mark.parametrize("region", ["EU868", "US915"])
def test_lives_cut_at_start_after_start_until_safe_mode(region: str) -> None:
    cuts = 0
    for seed in range(5 + 100 // STRIDE):
        world = World(seed, region=region)
        world.most_wakes = 60
        for step in script(region)[: 3 + seed % 12]:
            play(world, step)
            world.wake()
            world.sleep()
        world.network.interval_ms = 24 * 60 * MINUTE_MS  # what hangs is left alone for as long
        for order in world.network.orders:
            order.believe.pop("interval_ms", None)
        for _ in range(3 + seed % 4):
            if world.wake(world.random(160)) is None:
                world.cut(RESET)
                cuts += 1
            else:
                world.sleep()
        world.survive(POWER if seed % 2 else RESET, seed)
    print(f"{cuts} cuts")
    assert cuts > 2 * (5 + 100 // STRIDE)


def test_answer_that_leaves_though_storage_failed_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = Wake._save
    monkeypatch.setattr(Wake, "_save", lambda self, durable: save(self, durable) or not durable)
    with pytest.raises(ViolationError, match="obeyed a downlink that was sent again"):
        _live("EU868", 45, 6)


def _never_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: Any, sections: list[bytes]) -> None:
        self.owing = False

    monkeypatch.setattr(store.Store, "save_storage", nothing)


def _no_skip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "skip_ahead", lambda self: None)


def _older_f_cnt_down(monkeypatch: pytest.MonkeyPatch) -> None:
    unpack = Session.unpack

    def older(self: Session, data: bytes) -> None:
        unpack(self, data)
        self.f_cnt_down = max(0, self.f_cnt_down - 1)

    monkeypatch.setattr(Session, "unpack", older)


def _skipped_f_cnt_down(monkeypatch: pytest.MonkeyPatch) -> None:
    skip = Session.skip_ahead

    def deaf(self: Session) -> None:
        skip(self)
        self.f_cnt_down += 32

    monkeypatch.setattr(Session, "skip_ahead", deaf)


def _save_after_transmit(monkeypatch: pytest.MonkeyPatch) -> None:
    handle = Mac.handle

    def late(self: Mac, event: Any, now_ms: int) -> Any:
        actions = handle(self, event, now_ms)
        if len(actions) == 2 and actions[1][0] == m.TRANSMIT:
            return actions[1], actions[0]
        return actions

    monkeypatch.setattr(Mac, "handle", late)


def _nothing_owed_after_a_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    load = store.Store.load_rtc

    def forgetful(self: store.Store) -> Any:
        sections = load(self)
        self.owing = False
        return sections

    monkeypatch.setattr(store.Store, "load_rtc", forgetful)


def _forgotten_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    skip = Session.skip_ahead

    def forgetful(self: Session) -> None:
        skip(self)
        self.sticky = b""

    monkeypatch.setattr(Session, "skip_ahead", forgetful)


def _no_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_sound", lambda record: record[:3] == store.LAYOUT)


def _one_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_NAMES", ("session.0", "session.0"))


@pytest.fixture
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    request.param(monkeypatch)


@pytest.mark.parametrize(
    ("broken", "wake", "noticed"),
    [
        (_never_durable, 0, "came twice"),
        (_no_skip, 1, "FCntUp"),
        (_older_f_cnt_down, 1, "obeyed a downlink that was sent again"),
        (_skipped_f_cnt_down, 1, "did not hear|was for it"),
        (_save_after_transmit, 0, "came twice"),
        (_nothing_owed_after_a_reset, 3, "LinkADRAns|came twice|did not hear|was for it"),
        (_forgotten_answers, 6, "did not hear|was for it"),
        (_no_check, 1, "."),
        (_one_record, 1, "joined again|came twice"),
    ],
    indirect=["broken"],
)
def test_what_is_broken_is_noticed(broken: None, wake: int, noticed: str) -> None:
    with pytest.raises(Exception, match=noticed):
        _cut_everywhere("EU868", range(wake, wake + 4), 3)
