"""Each board's file: its pins can do what they are for, and the whole firmware lives on it."""

import pytest
from firmware_place import Place
from stoep_hardware import board_data
from stoep_hardware.devices import CPythonDevice
from stoep_hardware.esp32 import RTC_PINS
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import messages, schema

BOARDS = board_data.names()
# Those that MicroPython runs too: one of either radio, and one whose radio cannot end a sleep.
ON_MICROPYTHON = ("lilygo_t3_s3", "lilygo_ttgo_lora32_v21")
# Not for a sensor: strapping pins that a level at reset keeps from starting, flash, USB, console.
FORBIDDEN = {
    "esp32s3": {45, 46, *range(26, 33), 19, 20, 44},
    "esp32": {0, 12, *range(6, 12)},
}
OUTPUTS = {"esp32s3": range(49), "esp32": range(34)}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    with MicroPythonRuntime(tmp_path_factory.mktemp("modules")) as runtime:
        yield runtime


@pytest.fixture
def place(request):
    made = []

    def make(board, *, micropython=False, **options):
        runtime = CPythonDevice
        if micropython:
            program = request.getfixturevalue("program")
            runtime = lambda *arguments: MicroPythonDevice(*arguments, program)  # noqa: E731
        made.append(Place(runtime, board=board, **options))
        return made[-1]

    yield make
    for one in made:
        one.device.close()


def of(kind, far):
    return [message for message in far.messages if isinstance(message, kind)]


def test_the_boards_there_are():
    assert BOARDS == [
        "esp32_s3_sx1262_module",
        "heltec_wifi_lora_32_v3",
        "lilygo_t3_s3",
        "lilygo_ttgo_lora32_v21",
    ]
    numbers = [board_data.load(name).id for name in BOARDS]
    assert len(set(numbers)) == len(numbers), "a status report tells boards apart"
    bench_only = [name for name in BOARDS if board_data.load(name).bench_only]
    assert bench_only == ["lilygo_ttgo_lora32_v21"]


@pytest.mark.parametrize("name", BOARDS)
def test_pins_can_do_what_they_are_for(name):
    data = board_data.load(name)
    radio, pins = data.radio, data.pins
    fixed = [data.spi[line] for line in ("sck", "mosi", "miso")]
    fixed += [radio[line] for line in ("nss", "reset", "busy", "dio0", "dio1") if line in radio]
    fixed += [pins[line] for line in ("battery_adc", "battery_enable") if line in pins]
    # A container has the UART and a switch, a bay I2C and an interrupt line; never both.
    container = [data.uart["tx"], data.uart["rx"]]
    container += [pins["sensor_power"]] if "sensor_power" in pins else []
    bay = [data.i2c["scl"], data.i2c["sda"], pins["sensor_int"]]
    for used in (fixed + container, fixed + bay):
        assert len(set(used)) == len(used), "no pin twice"
        assert not FORBIDDEN[data.chip] & set(used)
    outputs = [data.spi["sck"], data.spi["mosi"], radio["nss"], radio["reset"], *bay[:2]]
    assert all(pin in OUTPUTS[data.chip] for pin in [*outputs, data.uart["tx"]])
    assert pins["sensor_int"] in RTC_PINS[data.chip]
    lines = {radio[line] for line in ("dio0", "dio1") if line in radio}
    assert radio.get("dio_wakes", True) == (lines <= RTC_PINS[data.chip])
    # What is not held in deep sleep needs a pull-up, and only RTC pins are held.
    assert data.nss_pull_up or radio["nss"] in RTC_PINS[data.chip] or radio["chip"] == "sx1276"


@pytest.mark.parametrize(
    ("name", "micropython"),
    [*((name, False) for name in BOARDS), *((name, True) for name in ON_MICROPYTHON)],
)
def test_container_joins_and_reports(place, name, micropython):
    here = place(name, micropython=micropython, confirmed_every=2)
    here.run(hours=2.5)
    here.far.second = True
    here.run(hours=3)
    joins = [frame for _, frame, message, _ in here.far.uplinks if message is None]
    assert len(joins) == 1
    reports = of(messages.BinReport, here.far)
    assert [report.sequence for report in reports] == list(range(len(reports)))
    assert len(reports) >= 6
    assert {report.distance_mm for report in reports} == {800}
    status = of(messages.Status, here.far)[0]
    assert (status.errors, status.hardware) == ((), board_data.load(name).id)
    assert status.reset_reason == schema.RESET_POWER_ON
    for _, frame, _, _ in here.far.uplinks:
        assert frame.power_dbm == pytest.approx(16.0)  # EIRP
    counters = [data.f_cnt for _, _, _, data in here.far.uplinks if data]
    assert len(counters) == len(set(counters)), "what is confirmed is heard, in RX1 as in RX2"
    here.check()


@pytest.mark.parametrize("rtc_ppm", [-2500.0, 2500.0])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("name", BOARDS)
def test_windows_allow_for_a_bad_clock(place, name, rtc_ppm, second):
    here = place(name, rtc_ppm=rtc_ppm, confirmed_every=1)
    here.far.second = second
    here.run(hours=1.5)
    counters = [data.f_cnt for _, _, _, data in here.far.uplinks if data]
    assert len(counters) >= 3
    assert counters == sorted(set(counters))  # nothing had to be repeated
    here.check()


@pytest.mark.parametrize("name", BOARDS)
def test_car_wakes_the_board(place, name):
    here = place(name, kind="bay")
    here.run(hours=0.4)
    here.bay.arrive()
    here.run(seconds=30)
    report = here.far.messages[-1]
    assert (report.state, report.change_count) == (schema.OCCUPIED, 1)
    here.check()


@pytest.mark.parametrize("name", BOARDS)
def test_power_loss_needs_no_join(place, name):
    here = place(name)
    here.run(hours=1.5)
    here.device.power_cycle()
    here.run(hours=1.5)
    assert len(here.far.network.dev_nonces) == 1
    here.check()


@pytest.mark.parametrize("name", BOARDS)
def test_between_wakes_everything_sleeps(place, name):
    here = place(name)
    here.run(hours=1.5)
    deep_ua = board_data.load(name).currents_ua["deep"]
    before_uc = here.board.charge_uc(here.engine.now_us)
    here.run(seconds=60)
    taken_ua = (here.board.charge_uc(here.engine.now_us) - before_uc) / 60
    # The radio adds 0.16 or 0.2 uA; a sensor without a switch is always on.
    sensor_ua = 0 if "sensor_power" in board_data.load(name).pins else 8_000
    assert deep_ua < taken_ua < deep_ua + sensor_ua + 1


@pytest.mark.parametrize("region", ["EU868", "US915"])
def test_a_radio_for_another_band_is_refused_with_its_name(region):
    for chip, refused in (("sx1262", ""), ("sx1276", ""), ("sx1268", "810"), ("sx1278", "525")):
        data = board_data.load("lilygo_t3_s3")
        data.radio["chip"] = chip
        if not refused:
            data.check_region(region)
            continue
        with pytest.raises(ValueError, match=f"{chip.upper()} ends at {refused} MHz, {region}"):
            data.check_region(region)
