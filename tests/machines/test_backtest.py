"""What policies cost: the waste, the schedules and the counting by hand, and a small town."""

import datetime
import itertools
import json
import random
from pathlib import Path

import pytest
from stoep_gateway import config, recorded_levels
from stoep_gateway.assets.geometry import inside
from stoep_gateway.backtest import cli, comparison, policies, town
from stoep_gateway.backtest.policies import Day, Fixed
from stoep_gateway.backtest.replay import Outcome, learned, replay
from stoep_gateway.backtest.sensor import Sensor
from stoep_gateway.backtest.waste import Perfect, Waste, from_levels
from stoep_gateway.config import Config
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight.filling import Emptying
from stoep_gateway.insight.readings import Reading

START = town.START_MS


def steadily(per_day: float, days: int) -> list[float]:
    return [per_day / 24] * 24 * days


def small_town(folder: Path, containers: int, seed: int = 1) -> Config:
    (folder / "stoep.toml").write_text(town.config_text(seed, containers), encoding="utf-8")
    return config.load(folder / "stoep.toml")


def test_waste_comes_evenly_within_an_hour() -> None:
    waste = Waste(START, {"a": [6.0, 0.0, 12.0]})
    assert [
        waste.until("a", START + minutes * 60_000) for minutes in (-5, 0, 30, 60, 120, 135)
    ] == [
        0.0,
        0.0,
        3.0,
        6.0,
        6.0,
        9.0,
    ]
    assert waste.until("a", START + 99 * HOUR_MS) == 18.0
    assert Waste(START, {"a": steadily(24, 2)}).of_days("a", 2) == pytest.approx([24.0, 24.0])


def test_recorded_levels_tell_what_came() -> None:
    rows = [(START, 10.0), (START + 2 * HOUR_MS, 30.0), (START + 4 * HOUR_MS, 5.0)]
    waste = from_levels({"a": [*rows, (START + 5 * HOUR_MS, 4.0)]})
    # 20 points, then emptied and 4.5 more, which is between the levels that should not fall.
    came = [waste.until("a", START + hour * HOUR_MS) for hour in (1, 2, 4, 5)]
    assert came == pytest.approx([10, 20, 24.5, 24.5])
    with pytest.raises(ValueError, match="no levels"):
        from_levels({})


def test_noise_of_recorded_levels_is_no_waste() -> None:
    """Ten points a day that are two points wrong, every hour for a month."""
    source = random.Random(1)
    rows = [(START + hour * HOUR_MS, hour % 240 / 2.4 + source.gauss(0, 2)) for hour in range(720)]
    assert from_levels({"a": rows}).until("a", rows[-1][0]) == pytest.approx(300, rel=0.05)


def test_who_knows_what_will_come_is_never_wrong() -> None:
    waste = Waste(START, {"a": steadily(24, 5)})
    perfect = Perfect(waste, "a", START + DAY_MS, 50.0)
    assert perfect.level(START + 2 * DAY_MS)[0] == pytest.approx(74)
    assert perfect.p_overflow_before(START + 3 * DAY_MS) == 0
    assert perfect.p_overflow_before(START + 4 * DAY_MS) == 1
    emptied = [START + 2 * DAY_MS]
    assert perfect.level(START + 4 * DAY_MS, emptied)[0] == pytest.approx(48)
    assert perfect.p_overflow_before(START + 4 * DAY_MS, emptied) == 0
    assert perfect.p_overflow_before(START + 5 * DAY_MS, [START + 4 * DAY_MS + HOUR_MS]) == 1


def test_a_tuned_schedule_is_as_seldom_as_its_risk_allows(tmp_path: Path) -> None:
    here = small_town(tmp_path, 3)
    # Without any spread the risk is none: ten points a day are 100 after ten days.
    same = {"c1": [10.0] * 28, "c2": [24.9] * 28, "c3": [120.0] * 28}
    assert policies.tuned(here, same, 0.05)._every == {"c1": 10, "c2": 4, "c3": 1}
    # One day in two brings 20 points: intervals of two days always bring 20.
    varied = {name: [0.0, 20.0] * 14 for name in same}
    careful, bold = (policies.tuned(here, varied, risk)._every["c1"] for risk in (0.05, 0.5))
    assert careful <= bold == 10


def test_a_fixed_schedule_comes_round(tmp_path: Path) -> None:
    here = small_town(tmp_path, 30)
    names = {it.id for it in here.containers}
    weekly = policies.fixed(here, 7)
    days = [Day(number, {}, dict.fromkeys(names), 0, 0) for number in range(7)]
    visited = [set(weekly.decisions(day).included) for day in days]
    assert set().union(*visited) == names
    assert not any(a & b for a, b in itertools.combinations(visited, 2))
    assert weekly.decisions(days[3]).excluded == names - visited[3]


def test_days_over_the_brim_are_counted_once(tmp_path: Path) -> None:
    """60 points a day, emptied every second day in the morning: full on the second."""
    here = small_town(tmp_path, 2)
    waste = Waste(START, {"c1": steadily(60, 12), "c2": steadily(1, 12)})
    every_other = Fixed("every 2 days", {"c1": 2, "c2": 50}, {"c1": 0, "c2": 49})
    outcome = replay(learned(here, waste, every_other, 4, 1), every_other, 6)
    assert (outcome.emptyings, outcome.needless, outcome.overflow_days) == (3, 0, 6)
    # Day 1: 120 points by the end; day 2: 120 when it is emptied.
    daily = Fixed("every day", {"c1": 1, "c2": 50}, {"c1": 0, "c2": 49})
    outcome = replay(learned(here, waste, daily, 4, 1), daily, 6)
    assert (outcome.emptyings, outcome.overflow_days) == (6, 0)
    assert outcome.fill_sum_pct / outcome.emptyings == pytest.approx(60, abs=5)
    assert outcome.eur == pytest.approx(outcome.km + 61 * outcome.hours, rel=0.01)


def test_one_policy_does_not_change_the_next(tmp_path: Path) -> None:
    """A town is learned once, and each policy begins where that ended."""
    here = small_town(tmp_path, 5)
    waste = town.waste(1, [it.id for it in here.containers], 20)
    weekly = policies.fixed(here, 7)
    begun = learned(here, waste, weekly, 10, 1)
    first = replay(begun, policies.Ours(), 5)
    replay(begun, weekly, 5)
    assert replay(begun, policies.Ours(), 5) == first
    assert first.emptyings > 0


def test_what_was_missing_comes_with_the_next_uplink(tmp_path: Path) -> None:
    """Of 18 % of hours nothing is heard in time, of hardly any nothing at all."""
    here = small_town(tmp_path, 1)
    sensor = Sensor("c1", "", 1, inside(here.containers[0]), Forecasts(Calendar(here.timezone)))
    taken: list[int] = []
    take = sensor.level.take

    def count(reading: Reading) -> tuple[Reading, Emptying | None]:
        taken.append(reading.number)
        return take(reading)

    sensor.level.take = count  # type: ignore[method-assign, assignment]
    in_time = 0
    for hour in range(2000):
        before = len(taken)
        sensor.read(START + hour * HOUR_MS, 30.0)
        in_time += len(taken) > before
    assert taken == sorted(set(taken))
    assert 1580 < in_time < 1700
    assert len(taken) > 1900


def test_ours_is_cheaper_than_what_cities_do(tmp_path: Path) -> None:
    """Two weeks of 25 containers; the long form is `make bench B=waste_plan`."""
    here = small_town(tmp_path, 25, seed=3)
    quick = here.planning.model_copy(update={"iterations": 60})
    here = here.model_copy(update={"planning": quick})
    waste = town.waste(3, [it.id for it in here.containers], 45)
    found = {
        it.policy: it
        for it in comparison.compare(
            here, waste, ["weekly", "tuned", "ours", "perfect"], 28, 14, 3, 0.1
        )
    }
    weekly, tuned, ours, perfect = found.values()
    assert list(found) == ["weekly", "tuned, risk 10%", "ours", "ours, perfect forecast"]
    assert perfect.eur < ours.eur < min(weekly.eur, tuned.eur)
    lines = comparison.table([comparison.figures([it]) for it in found.values()])
    assert len(lines) == 5
    assert lines[2].endswith("1.00")


def test_means_of_several_towns() -> None:
    one = Outcome(
        "ours", 30, 100.0, 10.0, 50, 5, 2, 3500.0, eur_of_rounds=700.0, eur_of_overflows=60.0
    )
    other = Outcome("ours", 30, 120.0, 12.0, 70, 7, 0, 4900.0, eur_of_rounds=840.0)
    mean = comparison.figures([one, other])
    assert (mean.km, mean.emptyings, mean.overflow_days, mean.eur) == (110, 60, 1, 800)
    assert mean.fill_pct == pytest.approx(70)
    assert mean.needless_pct == pytest.approx(10)
    assert mean.spread == pytest.approx(40)
    assert comparison.figures([one]).spread is None


def test_the_same_seed_is_the_same_town() -> None:
    assert town.config_text(5, 20) == town.config_text(5, 20) != town.config_text(6, 20)
    names = ["c1", "c2"]
    assert town.waste(5, names, 3).came == town.waste(5, names, 3).came


def sim(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = cli.main(["waste", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def levels(days: int, **per_day: float) -> str:
    """Return levels every six hours of containers that are emptied on every fourth day."""
    begin = datetime.datetime(2026, 1, 5, tzinfo=datetime.UTC)
    text = "container,time_utc,fill_pct\n"
    for name, rate in per_day.items():
        for step in range(4 * days):
            at = begin + step * datetime.timedelta(hours=6)
            text += f"{name},{at.isoformat()},{rate / 4 * (step % 16):.1f}\n"
    return text


def test_a_town_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_town(tmp_path, 4)
    file = tmp_path / "levels.csv"
    broken = "c1,yesterday,5\nc1,2026-01-06,250\nelsewhere,2026-01-06,5\n"
    file.write_text(levels(26, c1=20.0, c2=12.0, c3=5.0) + broken, encoding="utf-8")
    own = ("--config", tmp_path / "stoep.toml", "--levels", file, "--learning", "14")
    code, out, err = sim(capsys, *own, "--policies", "weekly,ours,85", "--json")
    assert code == 0
    weekly, ours, at_85 = json.loads(out)
    assert (weekly["policy"], ours["policy"], at_85["policy"]) == ("weekly", "ours", "at 85 %")
    assert weekly["overflow_days"] > 0
    assert ours["eur"] < weekly["eur"]
    told = err.splitlines()
    assert told[0] == f"{file}:314: 'yesterday' is no time: write 2026-01-31T06:00Z; skipped"
    assert told[1] == f"{file}:315: fill_pct is from 0 to 200, not 250; skipped"
    assert len(told) == 2
    code, out, _ = sim(capsys, *own[:4], "--learning", "20", "--days", "4", "--policies", "weekly")
    assert (code, "weekly" in out) == (0, True)
    code, _, err = sim(capsys, *own[:4], "--learning", "20")
    assert code == 1
    assert err.endswith(f"{file}: 25 days are too few for 20 of learning and 7 that are counted\n")


def test_levels_as_a_dutch_spreadsheet_saves_them(tmp_path: Path) -> None:
    file = tmp_path / "levels.csv"
    rows = "c1 ;2026-01-06T00:00Z;12,5;\r\nc1;2026-01-06 01:00;13;\r\nc1\r\nc1;6-1-2026;14;\r\n"
    file.write_text("\ufeffContainer;time_utc;fill_pct;\r\n" + rows, encoding="utf-8")
    read, bad = recorded_levels.read(file, {"c1"})
    assert read == {"c1": [(1_767_657_600_000, 12.5), (1_767_661_200_000, 13.0)]}
    assert bad == [
        f"{file}:4: is too short; skipped",
        f"{file}:5: '6-1-2026' is no time: write 2026-01-31T06:00Z; skipped",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "levels.csv:1: has no column container, fill_pct, time_utc"),
        ("container,time_utc,fill_pct\n", "levels.csv: has levels of none of the configured"),
    ],
)
def test_levels_that_are_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, words: str
) -> None:
    small_town(tmp_path, 2)
    (tmp_path / "levels.csv").write_text(text, encoding="utf-8")
    own = ("--config", tmp_path / "stoep.toml", "--levels", tmp_path / "levels.csv")
    code, out, err = sim(capsys, *own)
    assert (code, out) == (1, "")
    assert words in err
    assert sim(capsys, *own[:2])[::2] == (1, "--config and --levels belong together\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--days", "0"),
        ("--seeds", "x"),
        ("--seeds", "3-1"),
        ("--seeds", "1-9999999999"),
        ("--policies", "ours,best"),
        ("--risk", "60"),
    ],
)
def test_arguments_that_are_none(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(["waste", *arguments])
    assert raised.value.code == 2
    assert arguments[0] in capsys.readouterr().err
