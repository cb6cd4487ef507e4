"""The drivers of a bay's magnetometers, each on its chip's model, and what the chips do to them."""

import pytest
from magnet_bench import Field, MagnetBench, counts
from stoep_firmware.drivers import gy271
from stoep_hardware.chips import hmc5883l as hmc
from stoep_hardware.chips.magnetometers import GY271, make
from stoep_hardware.engine import Engine

WITHOUT_THRESHOLD = ("qmc5883l", "qmc5883p", "hmc5883l", "mmc5983ma")
ALL = ("lis3mdl", "rm3100", *WITHOUT_THRESHOLD)
# Half a count of the coarsest of them, the HMC5883L at 2.5 gauss, and its rounding.
CLOSE = 12
HERE_UT = (21.5, -3.25, 44.0)


@pytest.fixture(params=ALL)
def bench(request):
    bench = MagnetBench(request.param, *HERE_UT)
    yield bench
    assert bench.chip.violations == []


@pytest.mark.parametrize("ut", [HERE_UT, (-40.0, 60.0, -5.5), (150.0, -150.0, 0.0)])
def test_every_driver_measures_the_same(bench, ut):
    bench.become(*ut)
    assert bench.measured(bench.open()) == pytest.approx(counts(*ut), abs=CLOSE)


def test_every_look_sees_the_field_of_its_time(bench):
    sensor = bench.open()
    sensor.measure()
    for number in range(8):
        ut = (5.0 * number, -7.0 * number, 40.0)
        bench.become(*ut)
        assert bench.look(sensor) == pytest.approx(counts(*ut), abs=CLOSE), number
        assert not sensor.saturated()


def test_what_was_measured_before_a_rest_does_not_pass_for_new(bench):
    sensor = bench.open()
    bench.measured(sensor)
    bench.go(400)  # measurements that nobody reads
    sensor.rest()
    bench.go(60_000)
    bench.become(1.0, 2.0, 3.0)
    again = bench.open()
    assert bench.measured(again) == pytest.approx(counts(1.0, 2.0, 3.0), abs=CLOSE)


@pytest.mark.parametrize("name", ["qmc5883l", "qmc5883p", "rm3100"])
def test_nothing_is_fresh_before_a_measurement_is_done(name):
    """Of a LIS3MDL and an HMC5883L only CONVERSION_MS says so."""
    bench = MagnetBench(name, *HERE_UT)
    sensor = bench.open()
    bench.measured(sensor)
    bench.go(400)  # measurements that nobody reads
    sensor.rest()
    bench.go(1000)
    sensor.measure()
    assert not sensor.fresh()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("ut", [-3000.0, 3000.0])
def test_saturation(bench, axis, ut):
    sensor = bench.open()
    beyond = list(HERE_UT)
    beyond[axis] = ut
    bench.become(*beyond)
    assert bench.measured(sensor) is not None
    assert sensor.saturated()
    bench.become(*HERE_UT)
    assert bench.look(sensor) == pytest.approx(counts(*HERE_UT), abs=CLOSE)
    assert not sensor.saturated()


def test_at_rest_a_sensor_takes_little(bench):
    sensor = bench.open()
    bench.measured(sensor)
    assert bench.chip.NAME == "mmc5983ma" or bench.chip.log.current_ua > 30
    sensor.rest()
    assert bench.chip.log.current_ua < 25


def test_another_chip_at_the_address_is_refused(bench):
    identity = {
        "lis3mdl": 0x0F,
        "rm3100": 0x36,
        "qmc5883l": 0x0D,
        "qmc5883p": 0x00,
        "hmc5883l": 0x0B,
        "mmc5983ma": 0x2F,
    }
    register = identity[bench.chip.NAME]
    registers = getattr(bench.chip, "registers", None) or bench.chip._registers
    registers[register] ^= 0x01
    with pytest.raises(OSError, match="19"):
        bench.open()


def test_no_chip_is_told(bench):
    bench.chip.power(False, bench.t_us)
    with pytest.raises(OSError, match="19"):
        bench.open()


def test_a_transaction_that_fails_is_told_and_the_next_look_is_sound(bench):
    """At any transaction of a look; what the chip was left in spoils nothing."""
    bench.measured(bench.open())
    bench.transactions = 0
    sensor = bench.open()
    bench.measured(sensor)
    sensor.temperature()
    sensor.saturated()
    sensor.rest()
    whole = bench.transactions
    assert whole >= 5
    raised = 0
    for number in range(1, whole + 1):
        bench.transactions = 0
        bench.fails_at = {number}
        try:
            sensor = bench.open()
            bench.measured(sensor)
            sensor.temperature()
            sensor.saturated()
            sensor.rest()
        except OSError:
            raised += 1
        bench.fails_at = set()
        ut = (10.0 + number, -number, 30.0)
        bench.become(*ut)
        assert bench.measured(bench.open()) == pytest.approx(counts(*ut), abs=CLOSE), number
    # A LIS3MDL is looked for at a second address even if it was found at the first.
    assert raised == whole - (bench.chip.NAME == "lis3mdl")


def test_a_chip_that_lost_its_supply_gives_nothing_old(bench):
    """It answers again, but measures nothing: silence, not the field from before."""
    sensor = bench.open()
    bench.measured(sensor)
    bench.chip.power(False, bench.t_us)
    bench.chip.power(True, bench.t_us)
    assert bench.look(sensor) is None


@pytest.mark.parametrize("name", WITHOUT_THRESHOLD)
def test_a_chip_without_a_threshold_says_so(name):
    sensor = MagnetBench(name, *HERE_UT).open()
    assert sensor.POLL_S == 60
    assert not hasattr(sensor, "watch")
    assert MagnetBench("lis3mdl", *HERE_UT).open().POLL_S == 0


# ---- each chip's own ways -----------------------------------------------------------------------


def test_warmth_of_a_qmc5883l_is_relative():
    bench = MagnetBench("qmc5883l", *HERE_UT)
    sensor = bench.open()
    bench.measured(sensor)
    before = sensor.temperature()
    bench.field.celsius += 12.5
    bench.look(sensor)
    assert sensor.temperature() - before == pytest.approx(100, abs=1)


@pytest.mark.parametrize("name", ["qmc5883p", "hmc5883l", "mmc5983ma", "rm3100"])
def test_warmth_that_is_not_known_is_none_that_drifts(name):
    bench = MagnetBench(name, *HERE_UT)
    sensor = bench.open()
    bench.measured(sensor)
    bench.field.celsius += 12.5
    bench.look(sensor)
    assert sensor.temperature() == 0


def test_reading_the_status_of_a_qmc5883p_takes_its_flags_away():
    bench = MagnetBench("qmc5883p", 3000.0, 0.0, 0.0)
    sensor = bench.open()
    bench.measured(sensor)
    assert sensor.saturated()
    assert sensor.saturated(), "though the chip says so once"
    assert bench.chip.read(bench.chip.STATUS, 1, bench.t_us) == b"\0"


def test_the_signs_of_a_qmc5883p_are_asked_for():
    bench = MagnetBench("qmc5883p", *HERE_UT)
    bench.chip.write(bench.chip.CONTROL_1, b"\x05", 0)
    assert "sign" in bench.chip.violations[0]


def test_what_rdy_of_an_hmc5883l_does_not_say():
    """It stays when a measurement was read, and while the chip rests: time has to tell."""
    bench = MagnetBench("hmc5883l", *HERE_UT)
    sensor = bench.open()
    bench.measured(sensor)
    sensor.rest()
    bench.go(60_000)
    bench.become(1.0, 2.0, 3.0)
    assert sensor.fresh()
    assert sensor.field() == pytest.approx(counts(*HERE_UT), abs=CLOSE)


def test_the_first_measurement_of_an_hmc5883l_has_the_gain_before():
    bench = MagnetBench("hmc5883l", *HERE_UT)
    sensor = bench.open()
    sensor.measure()
    bench.go(60)
    x_ut = counts(HERE_UT[0])[0]
    assert sensor.field()[0] == pytest.approx(x_ut * 1090 / 660, rel=0.03)
    assert bench.look(sensor) == pytest.approx(counts(*HERE_UT), abs=CLOSE)


def test_an_hmc5883l_of_which_a_part_was_read_measures_on():
    bench = MagnetBench("hmc5883l", *HERE_UT)
    sensor = bench.open()
    bench.measured(sensor)
    bench.chip.read(hmc.OUT, 2, bench.t_us)
    bench.become(1.0, 2.0, 3.0)
    bench.go(1000)
    assert bench.chip.read(hmc.STATUS, 1, bench.t_us)[0] & 2
    assert bench.measured(bench.open()) == pytest.approx(counts(1.0, 2.0, 3.0), abs=CLOSE)


def test_the_offset_of_an_mmc5983ma_and_its_drift_do_not_show():
    bench = MagnetBench("mmc5983ma", *HERE_UT)
    sensor = bench.open()
    raw = []
    for celsius in (-15.0, 25.0, 60.0):
        bench.field.celsius = celsius
        assert bench.measured(sensor) == pytest.approx(counts(*HERE_UT), abs=3)
        raw.append(bench.chip.read(0, 1, bench.t_us)[0])
    assert len(set(raw)) == 3, "one measurement alone has them in it"
    assert bench.chip.violations == []


def test_an_mmc5983ma_that_does_not_know_its_trim_gives_nothing():
    bench = MagnetBench("mmc5983ma", *HERE_UT)
    bench.chip.is_trimmed = False
    bench.chip.power(False, 1)
    bench.chip.power(True, 1)
    assert bench.measured(bench.open()) is None


def test_an_mmc5983ma_in_one_direction_is_at_its_end():
    """With its offset one of the two measurements is beyond the end, the other is not."""
    bench = MagnetBench("mmc5983ma", 0.0, 0.0, 785.0)
    sensor = bench.open()
    assert bench.measured(sensor) is not None
    assert sensor.saturated()


@pytest.mark.parametrize(
    ("octets", "words"),
    [(b"\x08\x01", "while a pulse lasts"), (b"\x09", "several things"), (None, "for writing")],
)
def test_what_an_mmc5983ma_does_not_take(octets, words):
    chip = MagnetBench("mmc5983ma", *HERE_UT).chip
    if octets is None:
        chip.read(0x09, 1, 0)
    for octet in octets or b"":
        chip.write(0x09, bytes((octet,)), 0)
    assert words in chip.violations[0]


# ---- an RM3100 watches --------------------------------------------------------------------------


def watching(*ut, **options):
    """Return a bench whose RM3100 has settled on the field, with 4 uT to each side."""
    bench = MagnetBench("rm3100", *ut, **options)
    sensor = bench.open()
    field = bench.measured(sensor)
    sensor.watch(field, 274)
    bench.go(sensor.CONVERSION_MS + 20)
    sensor.settle()
    bench.edges.clear()
    return bench


@pytest.mark.parametrize("is_unsigned", [False, True])
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_change_of_one_axis_raises_drdy_within_a_measurement(is_unsigned, axis, sign):
    bench = watching(21.5, -13.25, 44.0, is_unsigned=is_unsigned)
    bench.go(20_000)
    changed = [21.5, -13.25, 44.0]
    changed[axis] += sign * 3.9
    bench.become(*changed)
    bench.go(20_000)
    assert bench.edges == [], "not as far as the threshold"
    changed[axis] += sign * 0.3
    bench.become(*changed)
    changed_us = bench.t_us
    bench.go(5_000)
    ((level, t_us),) = bench.edges
    assert level
    assert t_us - changed_us <= 1_760_000
    assert bench.chip.violations == []


def test_drdy_stays_until_the_driver_measures_anew():
    bench = watching(21.5, -13.25, 44.0)
    bench.become(40.0, -13.25, 44.0)
    bench.go(2_000)
    bench.become(21.5, -13.25, 44.0)
    bench.go(20_000)
    assert bench.chip.int_level
    sensor = bench.open()
    sensor.measure()
    assert not bench.chip.int_level
    assert bench.look(sensor) == pytest.approx(counts(21.5, -13.25, 44.0), abs=CLOSE)


def test_an_axis_near_zero_has_limits_of_two_signs():
    """Where the sensor compares signed; one that does not cries at once, and the board polls."""
    bench = watching(21.5, 1.0, 44.0)
    bench.go(20_000)
    assert bench.edges == []
    bench.become(21.5, -3.5, 44.0)
    bench.go(2_000)
    assert bench.chip.int_level
    assert watching(21.5, 1.0, 44.0, is_unsigned=True).chip.int_level


def test_a_quiet_bay_costs_the_engine_nothing():
    bench = watching(21.5, -13.25, 44.0)
    before = bench.engine.events_run
    bench.go(100_000_000)
    assert bench.engine.events_run == before
    assert bench.chip.log.current_ua < 12


def test_what_ends_the_watch_of_an_rm3100():
    bench = watching(21.5, -13.25, 44.0)
    bench.chip.read(0x01, 1, bench.t_us)
    bench.become(60.0, -13.25, 44.0)
    bench.go(5_000)
    assert bench.edges == []
    bench.chip.write(0x01, b"\x79", bench.t_us)
    bench.chip.write(0x00, b"\x70", bench.t_us)
    bench.go(500)
    bench.chip.read(0x24, 9, bench.t_us)
    bench.chip.read(0x24, 9, bench.t_us)
    found = [what.split(": ")[1] for what in bench.chip.violations]
    assert found[0].startswith("POLL in continuous mode")
    assert found[1].startswith("reads a measurement that is not there")


@pytest.mark.parametrize("kind", GY271, ids=lambda kind: kind.NAME)
def test_which_chip_a_gy271_carries(kind):
    bench = MagnetBench(kind.NAME, *HERE_UT, driver="gy271")
    sensor = bench.open()
    assert type(sensor).__name__ == kind.__name__
    assert bench.measured(sensor) == pytest.approx(counts(*HERE_UT), abs=CLOSE)
    assert bench.chip.violations == []


def test_a_gy271_that_carries_none_of_them():
    """A LIS3MDL may be at 0x1E as well."""
    bench = MagnetBench("lis3mdl", *HERE_UT, driver="gy271")
    with pytest.raises(OSError, match="19"):
        bench.open()
    bench.chip.address = 0x1E
    with pytest.raises(OSError, match="19"):
        gy271.open_sensor(bench)


def test_models_refuse_what_the_chips_would_not_take():
    engine = Engine()
    for name, register in (
        ("qmc5883l", 0x00),
        ("qmc5883p", 0x00),
        ("hmc5883l", 0x0A),
        ("mmc5983ma", 0x2F),
        ("rm3100", 0x36),
    ):
        chip = make(name, engine, Field(*HERE_UT))
        before = chip.read(register, 1, 0)
        chip.write(register, b"\x55", 0)
        assert chip.read(register, 1, 0) == before
        chip.read(0x3F, 1, 0)
        assert [what.split(": ")[1] for what in chip.violations] == [
            f"writes register {register:#04x}",
            "reads reserved register 0x3f",
        ]
