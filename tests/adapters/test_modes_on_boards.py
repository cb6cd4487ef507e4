"""A bay's modes on a board of chip models, with cars that come and go."""

import pytest
from firmware_place import Place
from stoep_hardware.devices import CPythonDevice
from stoep_protocol import messages, schema


@pytest.fixture
def place():
    made = []

    def make(**options):
        made.append(Place(CPythonDevice, **options))
        return made[-1]

    yield make
    for one in made:
        one.device.close()


def reports(here):
    return [it for it in here.far.messages if isinstance(it, messages.BayReport)]


def idle_ua(here):
    """Return the mean current of a minute between two wakes."""
    before_uc = here.board.charge_uc(here.engine.now_us)
    here.run(seconds=60)
    return (here.board.charge_uc(here.engine.now_us) - before_uc) / 60


def stay(here, hours, away_hours):
    """Let a car stay so long, and then none."""
    here.bay.arrive()
    here.run(hours=hours)
    here.bay.leave()
    here.run(hours=away_hours)


def test_a_bay_in_mode_regular_looks_at_its_slots_and_its_sensor_rests(place):
    here = place(kind="bay", mode=schema.MODE_REGULAR)
    here.run(hours=1.5)
    assert idle_ua(here) < 16.2  # the board's 15 and the radio; watching takes 2 more
    before = len(reports(here))
    for _ in range(5):
        stay(here, 0.1, 0.1)  # whoever comes and goes between the slots is not seen
        stay(here, 3, 2.8)
    said = reports(here)[before:]
    assert 29 <= len(said) <= 31
    assert said[-1].change_count == 10
    assert {it.state for it in said} == {schema.FREE, schema.OCCUPIED}
    here.check()


def test_a_bay_in_mode_on_change_tells_changes_and_one_state_a_day(place):
    here = place(kind="bay", mode=schema.MODE_ON_CHANGE)
    here.run(hours=2)
    for _ in range(3):
        stay(here, 1, 4)
    assert [it.change_count for it in reports(here)] == list(range(7))
    here.run(hours=72)
    assert [it.change_count for it in reports(here)[7:]] in ([6] * 3, [6] * 4)
    here.check()


def test_a_bay_that_is_told_to_watch_begins_when_it_is_told(place):
    here = place(kind="bay", mode=schema.MODE_REGULAR, interval_s=6 * 3600)
    here.far.down = [
        {
            "f_port": schema.F_PORT_CONFIGURATION,
            "data": messages.encode(messages.Configuration(mode=schema.MODE_ON_CHANGE))[1],
        }
    ]
    here.run(hours=1)
    assert here.far.down == []
    stay(here, 1, 1)
    assert [it.change_count for it in reports(here)] == [0, 1, 2]
    here.check()
