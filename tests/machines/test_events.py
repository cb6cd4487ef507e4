"""Events: which containers they are about, and what knowing of them does to the forecast."""

import json
import math
import random
import statistics
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from stoep_gateway import config
from stoep_gateway.assets.occasions import calendar
from stoep_gateway.errors import ConfigError
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, Calendar, day_of
from stoep_gateway.forecast.course import Course
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.kind import Kind
from stoep_gateway.forecast.occasions import Effect, Event, Factors, Occasion, Occasions
from stoep_gateway.forecast.outlook import Outlook
from stoep_tools.evaluate.command import main as evaluate

MONDAY = day_of(date(2026, 1, 5))
EVENLY = [hour / 24 for hour in range(25)]
EVERY = 10  # days between fairs, so that no weekday is theirs
DAYS = 120
RATE, DEPOSIT = 6.0, 1.5

TOWN = """\
site = "town"
timezone = "Europe/Amsterdam"

[[container]]
id = "square"
lat = 52.0
lon = 5.0
capacity_l = 1
depth_mm = 1
kind = "skip"

[[container]]
id = "corner"
lat = 52.001
lon = 5.0
capacity_l = 1
depth_mm = 1
fraction = "paper"

"""


def town(folder: Path, text: str) -> config.Config:
    (folder / "stoep.toml").write_text(TOWN + text)
    return config.load(folder / "stoep.toml")


def events_on(here: config.Config, key: str, day: date) -> list[Event]:
    occasions = calendar(here).about.get(f"container/{key}")
    return [] if occasions is None else list(occasions.on(day_of(day)))


class TestConfiguration:
    def test_of_all_or_of_those_that_everything_fits(self, tmp_path):
        here = town(
            tmp_path,
            '[[event]]\nid = "all"\ndates = [2026-04-27, "2026-07-10/2026-07-12"]\n'
            '[[event]]\nid = "near"\nweekly = "za"\nlat = 52.0\nlon = 5.0\nradius_m = 50\n'
            'hours = "08:00-16:30"\nfactor = 2.5\nnot_on = ["2026-12-26"]\n'
            '[[event]]\nid = "paper"\ndates = ["11-07-2026"]\nfractions = ["paper"]\n'
            '[[event]]\nid = "none"\ndates = [2026-07-11]\nkinds = ["skip"]\n'
            'fractions = ["paper"]\n',
        )
        market = Event("near", 2.5, (8 * HOUR_MS, 16 * HOUR_MS + HOUR_MS // 2))
        saturday = date(2026, 7, 11)
        assert events_on(here, "square", saturday) == [Event("all"), market]
        assert events_on(here, "corner", saturday) == [Event("all"), Event("paper")]
        assert events_on(here, "corner", date(2026, 7, 12)) == [Event("all")]
        assert events_on(here, "corner", date(2026, 7, 13)) == []
        assert events_on(here, "square", date(2026, 12, 26)) == []
        (warning,) = here.warnings
        assert warning.endswith('event "none" is about none of the containers')

    def test_public_holidays(self, tmp_path):
        here = town(tmp_path, '[[event]]\nid = "holiday"\nholidays = "NL"\n')
        for day in (date(2026, 4, 27), date(2030, 12, 25), date(2027, 3, 28)):
            assert events_on(here, "square", day) == [Event("holiday")]
        assert events_on(here, "square", date(2026, 4, 28)) == []

    def test_without_the_library_or_such_a_country_that_is_told(self, tmp_path, monkeypatch):
        text = '[[event]]\nid = "a"\nholidays = "{}"\n'
        with pytest.raises(ConfigError, match=r'stoep.toml:22: holidays "XX" is not known'):
            town(tmp_path, text.format("XX"))
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(ConfigError, match=r'holidays "NL" needs: pip install "stoep\[holidays'):
            town(tmp_path, text.format("NL"))

    @pytest.mark.parametrize(
        ("said", "words"),
        [
            ("", 'needs "dates", "weekly" or "holidays"'),
            ('weekly = ["sat"]\nlat = 52', '"lat", "lon" and "radius_m" belong together'),
            ('weekly = ["sat"]\nfactor = 0', "factor must be at least 0.01, not 0"),
            ('weekly = ["sat"]\ncontainers = ["squar"]', '(did you mean "square"?)'),
            ('holidays = "nl"', "a country is two capital letters"),
        ],
    )
    def test_what_is_no_event_is_told(self, tmp_path, said, words):
        with pytest.raises(ConfigError) as raised:
            town(tmp_path, f'[[event]]\nid = "a"\n{said}\n')
        assert words in str(raised.value)


def poisson(source: random.Random, mean: float) -> int:
    count, product, least = 0, source.random(), math.exp(-mean)
    while product > least:
        count, product = count + 1, product * source.random()
    return count


def fairs(first: int, factor: float | None = None) -> Occasions:
    return Occasions(
        [Occasion(Event("fair", factor), frozenset(range(MONDAY + first, MONDAY + 400, EVERY)))]
    )


def errors(occasions: Occasions | None, effect: float, seed: int = 7) -> dict[str, list[float]]:
    """Let 12 containers fill, deposit by deposit, ``effect`` times as fast on days of a fair.

    Return errors of the level a day ahead, and whether it was in the interval, of the second half.
    """
    source = random.Random(seed)
    kind = Kind(Calendar(UTC))
    found: dict[str, list[float]] = {"fair": [], "inside": [], "other": [], "width": []}
    for _ in range(12):
        history = History(kind, occasions)
        level, rate = 0.0, RATE * source.uniform(0.6, 1.6)
        asked = None
        for hour in range(0, DAYS * 24, 6):
            at_ms = MONDAY * DAY_MS + hour * HOUR_MS
            day = hour // 24
            history.take(at_ms + 1, level)
            if hour % 24 == 0:
                was_fair = (day - 1) % EVERY == 3
                if asked is not None and day > DAYS // 2:
                    found["fair" if was_fair else "other"].append(abs(level - asked.middle))
                    if was_fair:
                        found["inside"].append(asked.low <= level <= asked.high)
                        found["width"].append(asked.high - asked.low)
                if level > 60:
                    level = 0.0
                    history.correct(at_ms + 2, 0.0)
                asked = Outlook(history, at_ms + 2).level(at_ms + DAY_MS)
            is_fair = day % EVERY == 3
            deposits = poisson(source, rate * (effect if is_fair else 1) / 4 / DEPOSIT)
            level = min(level + DEPOSIT * deposits, 110.0)
    return found


class TestForecast:
    def test_an_event_that_is_known_makes_its_days_better_forecast(self):
        blind, knowing = errors(None, 3.0), errors(fairs(3), 3.0)
        given = errors(fairs(3, 3.0), 3.0)
        mean = statistics.mean
        assert mean(knowing["fair"]) < 0.55 * mean(blind["fair"])
        assert mean(knowing["fair"]) < 1.2 * mean(given["fair"])
        assert mean(knowing["other"]) < mean(blind["other"])
        assert mean(blind["inside"]) < 0.6
        assert mean(knowing["inside"]) > 0.85

    def test_an_event_without_effect_does_no_harm(self):
        blind, knowing = errors(None, 1.0), errors(fairs(3), 1.0)
        mean = statistics.mean
        assert mean(knowing["fair"]) < 1.05 * mean(blind["fair"])
        assert mean(knowing["other"]) < 1.02 * mean(blind["other"])
        assert mean(knowing["width"]) < 1.25 * mean(blind["width"])

    def test_an_event_that_never_was_makes_the_interval_wide_and_nothing_else(self):
        history = History(Kind(Calendar(UTC)))
        at_ms = MONDAY * DAY_MS
        for hour in range(0, 28 * 24 + 1, 6):
            if hour % (14 * 24) == 0:
                history.correct(at_ms + hour * HOUR_MS, 0.0)
            history.take(at_ms + hour * HOUR_MS + 1, hour % (14 * 24) / 4)
        now_ms = at_ms + 28 * DAY_MS + 1
        usual = Outlook(history, now_ms)
        before = [usual.level(now_ms + n * DAY_MS) for n in (1, 3, 5)]
        hours = usual.hours_to(80)
        history.attend(fairs(29))
        new = Outlook(history, now_ms)
        after = [new.level(now_ms + n * DAY_MS) for n in (1, 3, 5)]
        assert after[0] == pytest.approx(before[0])
        for was, now in zip(before[1:], after[1:], strict=True):
            assert now.middle == pytest.approx(was.middle, abs=0.5)
            assert now.high > was.high + 2
            assert now.low < was.low
        wide = new.hours_to(80)
        assert wide.expected == pytest.approx(hours.expected)
        assert (wide.low or 0) < (hours.low or 0)

    def test_one_time_is_not_believed_as_much_as_many(self):
        kind = Kind(Calendar(UTC))
        event = Event("fair")
        factors = []
        for time in range(6):
            for _ in range(500):  # of one kind, on one day: many deposits, one time
                kind.learn_day(MONDAY + time, 18.0, 6.0, 2.0, [1 / 24] * 24, [event])
            factors.append(kind.effect(event))
        assert 2.5 < factors[0].factor < factors[-1].factor < 3
        assert factors[0].vary > 1.5 * factors[-1].vary
        again = Kind.restored(Calendar(UTC), kind.values())
        assert again.effect(event) == factors[-1]

    def test_of_two_unknown_events_on_one_day_nothing_is_learned(self):
        kind = Kind(Calendar(UTC))
        both = [Event("fair"), Event("market")]
        kind.learn_day(MONDAY, 30.0, 6.0, 2.0, [1 / 24] * 24, both)
        assert kind.effect(both[0]) == kind.effect(both[1])
        assert kind.effect(both[0]).factor == 1
        kind.learn_day(MONDAY, 36.0, 6.0, 2.0, [1 / 24] * 24, [Event("fair"), Event("m", 2.0)])
        assert 1.5 < kind.effect(both[0]).factor < 3

    def test_other_events_from_a_new_configuration(self):
        about = {"container/a": fairs(3, 2.0)}
        forecasts = Forecasts(Calendar(UTC, about))
        history, other = (forecasts.history(f"container/{it}", "skip") for it in "ab")
        assert history.course.day(MONDAY + 3) == pytest.approx(2 * other.course.day(MONDAY + 3))
        forecasts.attend({"container/b": fairs(3, 4.0)})
        assert other.course.day(MONDAY + 3) == pytest.approx(4 * history.course.day(MONDAY + 3))
        assert forecasts.history("container/c", "skip").course.factors is None

    def test_what_is_asked_from_another_thread_stays(self):
        history = History(Kind(Calendar(UTC)), fairs(3))
        copy = history.course.copy()
        before = copy.day(MONDAY + 3)
        for _ in range(100):
            history.kind.learn_day(MONDAY + 3, 60.0, 6.0, 2.0, [1 / 24] * 24, [Event("fair")])
        assert history.course.day(MONDAY + 3) > 2 * before
        assert copy.day(MONDAY + 3) == before


def test_what_an_event_did_in_a_recorded_series(tmp_path, capsys):
    first, last = date(2026, 1, 8), date(2026, 4, 8)
    days = [str(date.fromordinal(n)) for n in range(first.toordinal(), last.toordinal(), EVERY)]
    town(tmp_path, f'[[event]]\nid = "fair"\ndates = {days}\n')
    rows, levels = [], {"square": 0.0, "corner": 40.0}
    for hour in range(0, 90 * 24, 6):
        at = datetime.fromtimestamp(MONDAY * DAY_MS / 1000 + hour * 3600, UTC)
        for name, level in levels.items():
            rows.append(f"{name},{at.isoformat()},{level}\n")
            rise = 6.0 if str(at.date()) in days else 2.0
            levels[name] = level + rise if level < 70 else 0.0
    series = tmp_path / "levels.csv"
    series.write_text("device,time_utc,level_pct\n" + "".join(rows))
    known = ["forecast", str(series), "--config", str(tmp_path / "stoep.toml"), "--json"]
    assert evaluate(known) == 0
    (fair,) = json.loads(capsys.readouterr().out)["all"]["events"].values()
    assert fair["factor"] == pytest.approx(3, rel=0.2)
    assert fair["times"] == 8


class TestHours:
    def course(self, *events: tuple[float, tuple[float, float]]) -> Course:
        occasions = Occasions(
            Occasion(
                Event(str(n), factor, (round(first * HOUR_MS), round(last * HOUR_MS))),
                frozenset([MONDAY]),
            )
            for n, (factor, (first, last)) in enumerate(events)
        )
        return Course([24.0] * 7, EVENLY, Factors(occasions, lambda it: Effect(it.factor, 0.0)))

    def test_they_are_when_more_comes(self):
        course = self.course((2.0, (8.0, 12.5)))
        begin_ms = MONDAY * DAY_MS
        assert course.between(begin_ms, begin_ms + DAY_MS) == pytest.approx(48)
        assert course.between(begin_ms, begin_ms + 8 * HOUR_MS) == pytest.approx(8)
        assert course.between(begin_ms, begin_ms + 13 * HOUR_MS) == pytest.approx(37)
        end_ms = begin_ms + 32 * HOUR_MS
        assert course.between(begin_ms + 13 * HOUR_MS, end_ms) == pytest.approx(19)

    @pytest.mark.parametrize("points", [0.5, 7.9, 20.0, 45.0, 60.0])
    def test_until_undoes_between(self, points):
        course = self.course((2.0, (8.0, 12.5)), (0.5, (12.0, 18.25)), (1.5, (20.0, 20.0)))
        begin_ms = MONDAY * DAY_MS + HOUR_MS
        until_ms = course.until(begin_ms, points)
        assert course.between(begin_ms, until_ms) == pytest.approx(points, abs=0.01)
        assert course.day(MONDAY) == pytest.approx(24 * 1.5)

    def test_less_comes_then_too_and_never_less_than_nothing(self):
        noon_ms = 12 * HOUR_MS
        assert self.course((0.75, (0.0, 12.0))).share(MONDAY, noon_ms) == pytest.approx(1 / 3)
        assert self.course((0.1, (0.0, 12.0))).share(MONDAY, noon_ms) == pytest.approx(0)
        assert self.course((0.1, (0.0, 12.0))).share(MONDAY + 1, noon_ms) == 0.5
