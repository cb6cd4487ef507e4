"""The days on which the city empties by itself."""

import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from stoep_gateway import config
from stoep_gateway.assets.schedules import schedules
from stoep_gateway.backtest import policies
from stoep_gateway.backtest.policies import Day
from stoep_gateway.config_days import ScheduledConfig
from stoep_gateway.errors import ConfigError

MONDAY = datetime.date(2026, 1, 5)  # of week 2
TOWN = """\
site = "town"
timezone = "Europe/Amsterdam"

[[kind]]
id = "skip"
every_days = 3
first_on = 2026-01-06
"""
CONTAINER = '[[container]]\nid = "{}"\nlat = 52\nlon = 5\ncapacity_l = 1\ndepth_mm = 1\n{}\n'


def town(folder: Path, **said: str) -> config.Config:
    text = TOWN + "".join(CONTAINER.format(*it) for it in said.items())
    (folder / "stoep.toml").write_text(text)
    return config.load(folder / "stoep.toml")


def days(days: int = 28, **said: object) -> list[int]:
    its = ScheduledConfig.model_validate(said)
    return [n for n in range(days) if its.falls_on(MONDAY + datetime.timedelta(n))]


def test_weekdays_of_all_even_and_odd_weeks() -> None:
    assert days(emptied_on=["mon", "thu"]) == [0, 3, 7, 10, 14, 17, 21, 24]
    assert days(emptied_on=["ma", "donderdag"]) == days(emptied_on=["Monday", "thu"])
    assert days(emptied_on="tue", weeks="even") == [1, 15]
    assert days(emptied_on="tue", weeks="odd") == [8, 22]


def test_every_so_many_days_and_exceptions() -> None:
    assert days(14, every_days=5, first_on=MONDAY + datetime.timedelta(12)) == [2, 7, 12]
    exceptions = {"not_on": ["2026-01-12"], "also_on": ["13-01-2026"]}
    assert days(14, emptied_on=["mon"], **exceptions) == [0, 8]
    assert days(20, emptied_on=["mon"], not_on=["2026-01-10/2026-01-19"]) == [0]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('emptied_on = ["mon"]\nevery_days = 14', 'has "emptied_on" and "every_days": leave one'),
        ("every_days = 14", '"every_days" and "first_on", a day on which it is emptied, are one'),
        ('weeks = "even"', '"weeks" needs "emptied_on" beside it'),
        ('emptied_on = ["mnd"]', 'emptied_on must be "mon"'),
        ('not_on = ["30-02-2026"]', "not_on: a date is written 2026-04-27 or 27-04-2026"),
        ('also_on = ["2026-02-02/2026-01-01"]', "also_on: a span of dates ends after it begins"),
        ("also_on = [5]", "also_on must be a date, such as 2026-04-27"),
    ],
)
def test_what_is_no_schedule_is_told(tmp_path: Path, said: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        town(tmp_path, a=said)
    assert words in str(raised.value)


def test_a_container_goes_by_its_own_days_or_else_those_of_its_kind(tmp_path: Path) -> None:
    here = town(tmp_path, a='kind = "skip"', b='kind = "skip"\nemptied_on = ["wed"]', c="")
    found = schedules(here)
    assert found.keys() == {"a", "b"}
    assert found["a"].every_days == 3
    assert found["b"].emptied_on == ["wed"]


def test_the_citys_own_schedule_as_a_policy(tmp_path: Path) -> None:
    here = town(tmp_path, a='emptied_on = ["fri"]', b='emptied_on = ["sat"]', c='kind = "skip"')
    here = here.model_copy(update={"kinds": ()})
    policy = policies.of_schedule(here)
    assert policy is not None
    assert policy.name == "as now"

    def on(number: int, until: int) -> tuple[set[str], set[str]]:
        at, end = (
            datetime.datetime.combine(
                MONDAY + datetime.timedelta(n), datetime.time(6), ZoneInfo("Europe/Amsterdam")
            )
            for n in (number, until)
        )
        now_ms, next_ms = (round(it.timestamp() * 1000) for it in (at, end))
        said = policy.decisions(Day(number, {}, dict.fromkeys("abc"), now_ms, next_ms))
        return set(said.included), set(said.excluded)

    assert on(3, 4) == (set(), {"a", "b", "c"})
    assert on(4, 5) == ({"a"}, {"b", "c"})
    assert on(4, 7) == ({"a", "b"}, {"c"})  # no rounds on Saturdays
    assert policies.of_schedule(here.model_copy(update={"containers": here.containers[2:]})) is None
