"""What the firmware's meter counts against what the chips really did, state by state."""

import pytest
from firmware_place import Place
from stoep_firmware import meter
from stoep_firmware.drivers import a02yyuw
from stoep_firmware.meter import Meter
from stoep_hardware import board_data, currents
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.engine import US_PER_MS

HELTEC = "heltec_wifi_lora_32_v3"
# The meter's states, and the part and state of the simulator's that each stands for.
PARTS = {
    "boot": ("esp32", "boot"),
    "awake": ("esp32", "awake"),
    "light": ("esp32", "light"),
    "deep": ("esp32", "deep"),
    "watch": ("esp32", "deep"),
    "tx": ("radio", "tx"),
    "rx": ("radio", "rx"),
    "sensor": ("a02yyuw", "on"),
}
DAYS = 3


class Counted:
    """Milliseconds by state, as the firmware's meters count them."""

    def __init__(self, monkeypatch):
        self.ms = dict.fromkeys(PARTS, 0)
        add, sent, draw = Meter.add, Meter.sent, Meter.draw

        def counting_add(one, state, ms):
            self.ms[state] += max(ms, 0)
            add(one, state, ms)

        def counting_sent(one, power_dbm, ms):
            self.ms["tx"] += ms
            sent(one, power_dbm, ms)

        def counting_draw(one, current_ua, ms):
            if current_ua == a02yyuw.SUPPLY_UA:  # no other part takes that much
                self.ms["sensor"] += ms
            draw(one, current_ua, ms)

        monkeypatch.setattr(Meter, "draw", counting_draw)
        monkeypatch.setattr(Meter, "add", counting_add)
        monkeypatch.setattr(Meter, "sent", counting_sent)


def real_ms(here):
    logs = here.board.logs()
    logs["radio"] = here.board.radio.log
    now_us = here.engine.now_us
    return {
        state: logs[part].us_in(name, now_us) / US_PER_MS if part in logs else 0
        for state, (part, name) in PARTS.items()
    }


@pytest.mark.parametrize("kind", ["bin", "bay"])
@pytest.mark.parametrize("board", board_data.names())
def test_the_meter_knows_what_every_part_was_doing(monkeypatch, kind, board):
    counted = Counted(monkeypatch)
    here = Place(CPythonDevice, kind=kind, board=board, confirmed_every=5, interval_s=1_800)
    here.run(hours=1)
    begun_ms, before_ms = real_ms(here), dict(counted.ms)
    for day in range(DAYS):
        here.run(hours=11.9)
        if kind == "bay":
            here.bay.leave() if day % 2 else here.bay.arrive()
        here.run(hours=12.1)
    real = {state: ms - begun_ms[state] for state, ms in real_ms(here).items()}
    seen = {state: ms - before_ms[state] for state, ms in counted.ms.items()}
    real["watch" if kind == "bin" else "deep"] = 0  # one state of the processor, two of the meter
    wakes = 48 * DAYS
    for state, ms in real.items():
        # A few per cent, and the few milliseconds of each wake on which a clock cannot be read.
        assert seen[state] == pytest.approx(ms, rel=0.04, abs=6 * wakes), state
    assert min(seen[state] for state in ("tx", "rx", "light", "awake")) > 1_000
    here.check()
    here.device.close()


@pytest.mark.parametrize("board", board_data.names())
def test_the_meters_sum_is_the_charge_that_left_the_cell(board):
    here = Place(CPythonDevice, board=board, interval_s=900)
    here.run(hours=DAYS * 24)
    taken_mah = here.board.charge_uc(here.engine.now_us) / 3_600_000
    wake = Meter(here.config["board"])
    wake.used_uc = used_uc(here)
    here.device.close()
    assert taken_mah > 2
    assert wake.used_uc / 3_600_000 == pytest.approx(taken_mah, rel=0.03)


def used_uc(here):
    """Return the sum that the last wake kept in RTC memory."""
    found = []
    started = Meter.started

    def look(one, *times_ms):
        found.append(one.used_uc)
        started(one, *times_ms)

    Meter.started = look
    try:
        here.run(hours=0.3)
    finally:
        Meter.started = started
    return found[-1]


def test_the_firmwares_own_table_is_the_heltecs():
    data = board_data.load(HELTEC)
    assert currents.currents_ua(data) == meter.CURRENTS_UA
    assert currents.wiring(data) == {}


def test_a_board_that_differs_says_so():
    data = board_data.load(HELTEC)
    data.currents_ua["deep"] = 60
    assert currents.wiring(data) == {"currents_ua": {"deep": 60, "watch": 62}}
    counting = Meter(currents.wiring(data))
    counting.add("deep", 1_000)
    counting.add("rx", 1_000)
    assert counting.used_uc == 60 + 4_600


def test_a_transmission_costs_by_its_power():
    counting = Meter({})
    found = []
    for power_dbm in (-5, 2, 13, 14, 16, 22, 30):
        before_uc = counting.used_uc
        counting.sent(power_dbm, 1_000)
        found.append(counting.used_uc - before_uc)
    assert found == [22_436, 22_436, 45_000, 45_000, 58_000, 118_000, 118_000]


def test_imports_count_as_awake():
    counting = Meter({})
    counting.started(meter.BOOT_MS + 1_000, 50_000)
    counting.ended("deep", meter.BOOT_MS + 1_000 + 10_000)
    assert counting.used_uc == 63 * meter.BOOT_MS + 30_000 + 150
    counting.until(50_100)
    counting.until(51_101, "light")
    assert counting.used_uc == 63 * meter.BOOT_MS + 30_000 + 150 + 3_000 + 30 + 1_000
