"""Forecasts: small cases by hand, what has to hold of all of them, and intervals that keep."""

import itertools
import math
import pickle
import random
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from stoep_gateway.forecast.calendar import DAY_MS, HOUR_MS, Calendar, day_of, weekday
from stoep_gateway.forecast.course import LONGEST_DAYS, Course
from stoep_gateway.forecast.feeding import feed
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.forecast.history import History
from stoep_gateway.forecast.kind import Kind
from stoep_gateway.forecast.occasions import Effect, Event, Factors, Occasion, Occasions
from stoep_gateway.forecast.outlook import Outlook
from stoep_gateway.forecast.slowing import level_of, waste_of
from stoep_gateway.forecast.spread import Spread
from stoep_gateway.insight import filling
from stoep_gateway.publish import topics
from stoep_protocol.messages import BinReport
from street import START_MS, checked, device, meta

MONDAY_MS = 1_767_571_200_000  # 2026-01-05T00:00Z
EVENLY = [hour / 24 for hour in range(25)]


def at(text, zone="UTC"):
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


def given_factors(by_day):
    occasions = Occasions(
        Occasion(Event(str(day), factor), frozenset([day])) for day, factor in by_day.items()
    )
    return Factors(occasions, lambda event: Effect(event.factor, 0.0))


def steady(days=28, per_day=(6.0,) * 7, zone=UTC, until=80.0, kind=None, noise=0.0):
    """Return a history, and the time of its last level, of a container that fills evenly."""
    source = random.Random(1)
    history = History(kind or Kind(Calendar(zone)))
    level, at_ms = 0.0, MONDAY_MS
    for hour in range(days * 24):
        at_ms = MONDAY_MS + hour * HOUR_MS
        if level >= until:
            level = 0.0
            history.emptied(at_ms, None, level)
        history.take(at_ms + 1, level + source.gauss(0, noise))
        level += per_day[hour // 24 % 7] / 24
    return history, at_ms + 1


class TestCalendar:
    def test_days_and_weekdays_are_local(self):
        calendar = Calendar(ZoneInfo("Europe/Amsterdam"))
        late = calendar.local_ms(at("2026-07-05T22:30"))
        assert weekday(late // DAY_MS) == 0  # there it is Monday, half past midnight
        assert late % DAY_MS == HOUR_MS // 2
        assert day_of(date(2026, 7, 6)) == late // DAY_MS

    def test_it_stands_while_the_clock_on_the_wall_shows_an_hour_again(self):
        calendar = Calendar(ZoneInfo("Europe/Amsterdam"))
        change_ms = at("2026-10-25T01:00")
        before, first, last, after = (
            calendar.local_ms(change_ms + ms) for ms in (-1, 0, HOUR_MS - 1, HOUR_MS)
        )
        assert before + 1 == first == last == after
        assert calendar.local_ms(change_ms + 2 * HOUR_MS) == after + HOUR_MS

    @given(st.integers(at("2026-03-01"), at("2026-12-31")), st.integers(0, 3 * HOUR_MS))
    def test_it_never_goes_back_and_is_undone(self, utc_ms, later_ms):
        calendar = Calendar()  # Europe/Amsterdam
        local_ms = calendar.local_ms(utc_ms)
        assert calendar.local_ms(utc_ms + later_ms) >= local_ms
        back_ms = calendar.utc_ms(local_ms)
        assert calendar.local_ms(back_ms) == local_ms
        assert 0 <= utc_ms - back_ms <= HOUR_MS


class TestCourse:
    def test_by_hand(self):
        # Monday 24 points, else 12; all from 06:00 to 18:00.
        day = [0.0] * 7 + [n / 12 for n in range(1, 13)] + [1.0] * 6
        course = Course([24.0] + [12.0] * 6, day)
        assert course.between(MONDAY_MS, MONDAY_MS + DAY_MS) == 24
        assert course.between(MONDAY_MS + 6 * HOUR_MS, MONDAY_MS + 9 * HOUR_MS) == 6
        assert course.between(MONDAY_MS + 12 * HOUR_MS, MONDAY_MS + DAY_MS + 12 * HOUR_MS) == 18
        assert course.until(MONDAY_MS, 6) == MONDAY_MS + 9 * HOUR_MS
        assert course.until(MONDAY_MS + 12 * HOUR_MS, 18) == MONDAY_MS + DAY_MS + 12 * HOUR_MS
        week_ms = 7 * DAY_MS
        assert course.until(MONDAY_MS, 96 + 6) == MONDAY_MS + week_ms + 9 * HOUR_MS
        assert course.until(MONDAY_MS, 96 * 9) is None
        assert course.until(MONDAY_MS, 0) == MONDAY_MS

    def test_an_event_multiplies_its_day(self):
        course = Course([24.0] * 7, EVENLY, given_factors({MONDAY_MS // DAY_MS + 1: 0.5}))
        assert course.between(MONDAY_MS, MONDAY_MS + 2 * DAY_MS) == 36
        assert course.until(MONDAY_MS, 30) == MONDAY_MS + DAY_MS + 12 * HOUR_MS

    @given(
        st.lists(st.floats(0.1, 100), min_size=7, max_size=7),
        st.lists(st.floats(0, 1), min_size=24, max_size=24),
        st.integers(0, 7 * DAY_MS),
        st.floats(0.1, 300),
        st.dictionaries(st.integers(20458, 20475), st.floats(0.1, 5), max_size=3),
    )
    def test_until_undoes_between(self, rates, hours, within_ms, points, factors):
        assume(sum(hours) > 0.1)
        before = [sum(hours[:n]) / sum(hours) for n in range(24)] + [1.0]
        course = Course(rates, before, given_factors(factors))
        begin_ms = MONDAY_MS + within_ms
        end_ms = course.until(begin_ms, points)
        if end_ms is None:
            assert course.between(begin_ms, begin_ms + (LONGEST_DAYS - 1) * DAY_MS) < points
        else:
            assert course.between(begin_ms, end_ms) == pytest.approx(points, abs=0.02)


spreads = st.builds(
    Spread,
    st.floats(0.2, 30),
    st.floats(0.05, 40),
    st.floats(0, 3),
    st.tuples(
        st.floats(-4, -1.1),
        st.floats(-1, -0.3),
        st.floats(-0.2, 0.2),
        st.floats(0.3, 1),
        st.floats(1.1, 4),
    ),
)


class TestSpread:
    def test_a_unit_variance_is_made_of_any(self):
        # T' = 1 / sqrt(v): by a difference.
        spread = Spread(noise=2.0, unit=1.5, vary=0.04)
        for points in (0.0, 1.0, 20.0, 90.0):
            slope = (spread.scaled(points + 1e-4) - spread.scaled(points)) / 1e-4
            assert slope == pytest.approx((4 + 1.5 * points + 0.04 * points**2) ** -0.5, rel=1e-3)

    @given(spreads, st.floats(-50, 300))
    def test_points_undoes_scaled(self, spread, points):
        assert spread.points(spread.scaled(points)) == pytest.approx(points, abs=1e-5, rel=1e-5)

    @given(spreads, st.floats(0, 200), st.floats(0, 200), st.floats(-20, 150))
    def test_more_that_is_expected_is_more_in_every_quantile(self, spread, mean, more, missing):
        few, many = spread.interval(mean), spread.interval(mean + more)
        assert all(a <= b + 1e-9 for a, b in zip(few, many, strict=True))
        assert list(few) == sorted(few)
        assert spread.p_at_least(missing, mean) <= spread.p_at_least(missing, mean + more) + 1e-12

    @given(spreads, st.floats(5, 200))
    def test_the_limits_are_exceeded_as_often_as_they_say(self, spread, mean):
        low, _, high = spread.interval(mean)
        assert spread.p_at_least(low, mean) == pytest.approx(0.95, abs=1e-3)
        assert spread.p_at_least(high, mean) == pytest.approx(0.05, abs=1e-3)


def test_an_outlook_for_a_plan_stays_as_it_was():
    """The solver's thread reads it while uplinks come in."""
    forecasts = Forecasts(Calendar(UTC))
    history = forecasts.history("container/a", "glass")
    for hour in range(0, 24 * 10, 4):
        history.take(MONDAY_MS + hour * HOUR_MS, hour / 10)
    now_ms = MONDAY_MS + 10 * DAY_MS
    outlook = forecasts.outlook("container/a", "glass", now_ms)
    before = outlook.level(now_ms + DAY_MS), outlook.p_over(80, now_ms + 20 * DAY_MS)
    for hour in range(24 * 10, 24 * 14, 4):
        history.take(MONDAY_MS + hour * HOUR_MS, hour / 5)
    assert (outlook.level(now_ms + DAY_MS), outlook.p_over(80, now_ms + 20 * DAY_MS)) == before
    assert forecasts.outlook("container/a", "glass", now_ms).level(now_ms + DAY_MS) != before[0]


class TestSlowing:
    @given(st.floats(0, 150), st.floats(0, 0.95))
    def test_level_and_waste_undo_each_other(self, level, slow):
        assert level_of(waste_of(level, slow), slow) == pytest.approx(level, abs=1e-6)
        assert waste_of(level, slow) >= level - 1e-9

    def test_by_hand(self):
        assert waste_of(50, 0) == 50
        assert waste_of(50, 0.5) == pytest.approx(-200 * math.log(0.75))
        assert waste_of(110, 0.5) == pytest.approx(-200 * math.log(0.5) + 10 / 0.5)

    @pytest.mark.parametrize("slow", [0.0, 0.4, 0.8])
    def test_it_is_learned_from_collections(self, slow):
        source = random.Random(3)
        kind = Kind(Calendar(UTC))
        histories = [History(kind) for _ in range(20)]
        at_ms = [MONDAY_MS] * 20
        for _ in range(80):
            for number, history in enumerate(histories):
                gap_h = source.uniform(24, 24 * 6)
                at_ms[number] += round(gap_h * HOUR_MS)
                waste = 25 * gap_h / 24 * source.uniform(0.8, 1.2)
                history.emptied(at_ms[number], level_of(waste, slow))
        assert kind.slow == pytest.approx(slow, abs=0.2)

    def test_gaps_between_readings_do_not_tell(self):
        """A sudden rise is doubted, and then taken after hours: such a gap is of a large rise."""
        history = History(kind := Kind(Calendar(UTC)))
        for day in range(60):
            at_ms = START_MS + day * DAY_MS
            history.emptied(at_ms)
            history.take(at_ms + HOUR_MS, 1.0)
            for hour in range(4, 24, 2):  # what is unexpected comes low in the container
                if not (day % 4 == 0 and 4 <= hour < 18):
                    history.take(at_ms + hour * HOUR_MS, 2.0 * hour + 40 * (day % 4 == 0))
        assert kind.slow == 0


class TestHistory:
    def test_a_steady_rate_is_learned(self):
        history, at_ms = steady(days=56)
        assert list(history.course.rates) == pytest.approx([6.0] * 7, rel=0.05)
        outlook = Outlook(history, at_ms)
        level = outlook.level(at_ms + 2 * DAY_MS)
        assert level.middle == pytest.approx(history.level_pct + 12, abs=1)
        assert level.low < level.middle < level.high
        hours = outlook.hours_to(80)
        assert hours.expected == pytest.approx((80 - history.level_pct) * 4, rel=0.05)
        assert hours.low < hours.expected < hours.high
        assert outlook.doubt is None

    def test_weekdays_are_learned_and_local(self):
        per_day = (2.0, 2.0, 2.0, 2.0, 2.0, 12.0, 12.0)
        history, _ = steady(days=84, per_day=per_day)
        rates = history.course.rates
        assert min(rates[5:]) > 4 * max(rates[:5])
        assert sum(rates) == pytest.approx(sum(per_day), rel=0.1)

    def test_hours_are_learned(self):
        history = History(Kind(Calendar(UTC)))
        level = 0.0
        for hour in range(56 * 24):
            if level >= 90:
                level = 0.0
                history.emptied(MONDAY_MS + hour * HOUR_MS - 1)
            history.take(MONDAY_MS + hour * HOUR_MS, level)
            if hour % 24 == 20:
                level += 8
        before = history.course.before
        assert before[21] - before[20] > 0.7

    def test_what_falls_again_was_no_waste(self):
        history, at_ms = steady(days=42)
        rates = list(history.course.rates)
        level = 10.0
        history.correct(at_ms, level)
        history.take(at_ms + HOUR_MS, level + 60)
        history.take(at_ms + 3 * DAY_MS, level + 60)
        history.take(at_ms + 3 * DAY_MS + HOUR_MS, level + 18)
        history.take(at_ms + 5 * DAY_MS, level + 30)
        assert list(history.course.rates) == pytest.approx(rates, rel=0.35)

    def test_what_is_full_shows_nothing_of_what_comes(self):
        history, at_ms = steady(days=42)
        rates = list(history.course.rates)
        history.correct(at_ms + 1, 99.0)
        for day in range(1, 15):
            history.take(at_ms + day * DAY_MS, 100)
        assert list(history.course.rates) == pytest.approx(rates, rel=0.3)

    def test_a_press_or_an_emptying_without_a_level_is_no_loss(self):
        history, at_ms = steady(days=42, until=60)
        rates = list(history.course.rates)
        history.correct(at_ms, 0.0)
        for day in range(1, 8):
            history.take(at_ms + day * DAY_MS, 6.0)
            history.correct(at_ms + day * DAY_MS + 1, 0.0)
        assert list(history.course.rates) == pytest.approx(rates, rel=0.2)

    def test_a_level_that_is_not_newer_changes_nothing(self):
        history, at_ms = steady(days=3)
        before = history.values()
        history.take(at_ms, 99)
        history.take(at_ms - HOUR_MS, 99)
        assert history.values() == before

    def test_an_event_is_left_out_of_the_rates_and_its_factor_learned(self):
        days = frozenset(day_of(date(2026, 1, 7)) + 14 * n for n in range(8))
        fairs = Occasions([Occasion(Event("fair"), days)])
        kind = Kind(Calendar(UTC))
        histories = [History(kind, fairs) for _ in range(10)]
        levels = [0.0] * 10
        for hour in range(100 * 24):
            at_ms = MONDAY_MS + hour * HOUR_MS
            is_fair = at_ms // DAY_MS in days
            for number, history in enumerate(histories):
                if levels[number] > 70:
                    levels[number] = 0.0
                    history.emptied(at_ms)
                levels[number] += 6 / 24 * (4 if is_fair else 1)
                history.take(at_ms + 1, levels[number])
        factors = kind.factors(fairs)
        assert factors[day_of(date(2026, 4, 15))] == pytest.approx(4, rel=0.2)
        assert factors[day_of(date(2026, 4, 16))] == 1
        assert list(histories[0].course.rates) == pytest.approx([6.0] * 7, rel=0.2)

    def test_an_events_factor_can_be_given(self):
        market = Occasion(Event("market", 3.0), frozenset([day_of(date(2026, 2, 3))]))
        history, at_ms = steady(days=28)
        history.attend(Occasions([market]))
        outlook = Outlook(history, at_ms)
        monday = outlook.level(at("2026-02-03")).middle - outlook.level(at("2026-02-02")).middle
        tuesday = outlook.level(at("2026-02-04")).middle - outlook.level(at("2026-02-03")).middle
        assert tuesday == pytest.approx(3 * monday, rel=0.1)

    def test_a_new_container_takes_from_its_kind_what_it_cannot_know(self):
        kind = Kind(Calendar(UTC))
        per_day = (2.0, 2.0, 2.0, 2.0, 2.0, 12.0, 12.0)
        for _ in range(6):
            steady(days=70, per_day=per_day, kind=kind)
        fresh = History(kind)
        assert min(fresh.course.rates[5:]) > 3 * max(fresh.course.rates[:5])
        fresh.take(MONDAY_MS, 20)
        new = Outlook(fresh, MONDAY_MS)
        assert new.doubt == "few_days"
        assert not new.is_learned

    def test_a_day_that_falls_is_no_weekday_of_its_kind(self):
        kind = Kind(Calendar(UTC))
        history, at_ms = steady(days=28, kind=kind)
        for day in range(1, 4):
            history.take(at_ms + day * DAY_MS, 90.0)
            history.take(at_ms + day * DAY_MS + 1, 0.0)
        history.take(at_ms + 5 * DAY_MS, 30.0)
        assert min(kind.weekdays()) > 0.5
        assert sum(kind.weekdays()) == pytest.approx(7)
        assert min(History(kind).course.rates) > 1

    def test_little_bad_and_old_data_make_the_interval_wide(self):
        def width(history, now_ms):
            level = Outlook(history, now_ms).level(now_ms + DAY_MS)
            return level.high - level.low

        history, at_ms = steady(days=56)
        usual = width(history, at_ms)
        young, young_ms = steady(days=3)
        assert Outlook(young, young_ms).doubt == "few_days"
        assert width(young, young_ms) > 1.5 * usual
        assert Outlook(history, at_ms + 3 * DAY_MS).doubt == "no_data"
        assert width(history, at_ms + 3 * DAY_MS) > usual
        for _ in range(10):
            history.refused()
        assert Outlook(history, at_ms).doubt == "bad_data"
        assert width(history, at_ms) > 1.5 * usual

    def test_a_clock_that_jumps_by_years_holds_nothing_up(self):
        history, at_ms = steady(days=14)
        history.take(at_ms + 40 * 365 * DAY_MS, 50)
        assert history.days < 0.01
        assert Outlook(history, at_ms + 40 * 365 * DAY_MS).doubt == "few_days"

    def test_nothing_is_known_before_the_first_level(self):
        with pytest.raises(ValueError, match="no level"):
            Outlook(History(Kind(Calendar(UTC))), MONDAY_MS)


class TestOutlook:
    def test_an_emptying_begins_anew(self):
        history, at_ms = steady(days=56, until=60)
        outlook = Outlook(history, at_ms)
        noon_ms, end_ms = at_ms + DAY_MS, at_ms + 3 * DAY_MS
        assert outlook.level(end_ms, (noon_ms,)).middle == pytest.approx(12, abs=1.5)
        assert outlook.level(noon_ms - 1, (noon_ms,)) == outlook.level(noon_ms - 1)
        past_ms = at_ms - HOUR_MS  # the last level is of after that
        assert outlook.level(end_ms, (past_ms,)) == outlook.level(end_ms)
        assert outlook.p_over(60, end_ms, (past_ms,)) == outlook.p_over(60, end_ms)
        late = at_ms + 30 * DAY_MS
        rounds = tuple(at_ms + day * DAY_MS for day in range(1, 30, 5))
        assert outlook.p_overflow_before(late) > 0.99
        assert outlook.p_overflow_before(late, rounds) < 0.01

    def test_an_overflow_before_the_emptying_counts(self):
        history, at_ms = steady(days=56, until=99)
        history.take(at_ms + 1, 90.0)
        outlook = Outlook(history, at_ms + 1)
        end_ms = at_ms + 6 * DAY_MS
        before_ms = at_ms + 5 * DAY_MS
        p = outlook.p_overflow_before(before_ms)
        assert p > 0.9
        assert outlook.p_overflow_before(end_ms, (before_ms,)) == pytest.approx(p, abs=0.02)
        assert outlook.p_overflow_before(end_ms, (at_ms + HOUR_MS,)) < 0.1

    @settings(deadline=None)
    @given(
        st.lists(st.tuples(st.integers(1, 30), st.floats(-30, 60)), min_size=1, max_size=60),
        st.floats(0, 0.95),
        st.floats(1, 120),
        st.data(),
    )
    def test_whatever_was_measured(self, steps, slow, threshold, data):
        kind = Kind(Calendar())
        history = History(kind)
        at_ms, level = at("2026-10-01"), 10.0
        for hours, change in steps:
            at_ms += hours * HOUR_MS
            level = min(max(level + change, 0.0), 120.0)
            if change < -25:
                history.emptied(at_ms, None, level)
            elif change == 0:
                history.refused()
            history.take(at_ms + 1, level)
            kind.slow = slow
        at_ms += 1
        outlook = Outlook(history, at_ms)
        times = sorted(data.draw(st.lists(st.integers(0, 40 * DAY_MS), min_size=2, max_size=8)))
        levels = [outlook.level(at_ms + it) for it in times]
        chances = [outlook.p_over(threshold, at_ms + it) for it in times]
        for it in levels:
            assert 0 <= it.low <= it.middle <= it.high <= 200
        for earlier, later in itertools.pairwise(levels):
            assert all(a <= b + 1e-6 for a, b in zip(earlier, later, strict=True))
        for earlier, later in itertools.pairwise(chances):
            assert 0 <= earlier <= later + 1e-9 <= 1 + 2e-9
        hours = outlook.hours_to(threshold)
        low, expected, high = (
            math.inf if it is None else it for it in (hours.low, hours.expected, hours.high)
        )
        assert 0 <= low <= expected <= high
        if 0 < low < 1000:
            assert outlook.p_over(threshold, at_ms + round(low * HOUR_MS)) == pytest.approx(
                0.05, abs=0.01
            )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_interval_keeps_what_it_says(seed):
    """Deposits by chance, weekdays of their own: 90 of 100 levels inside, after 1 and 4 days."""
    source = random.Random(seed)
    kind = Kind(Calendar(UTC))
    inside = {1: [], 4: []}
    over = []
    for _ in range(12):
        history = History(kind)
        rate, unit = source.uniform(2, 12), source.uniform(0.5, 2.5)
        of_day = [source.uniform(0.5, 1.5) for _ in range(7)]
        level, at_ms, waiting = 0.0, MONDAY_MS, []
        for hour in range(100 * 24):
            at_ms += HOUR_MS
            busy = 1.6 if 7 <= hour % 24 < 22 else 0.0
            expected = rate / 24 * busy * of_day[hour // 24 % 7] / unit
            while (expected := expected - source.expovariate(1)) > 0:
                level += source.expovariate(1 / unit)
            told = level + source.gauss(0, 0.7)
            if level > 85:
                level, told, waiting = 0.0, 0.0, []
                history.emptied(at_ms)
            history.take(at_ms + 1, told)
            for item in [it for it in waiting if it[0] <= at_ms]:
                waiting.remove(item)
                _, days, (_, low, high), p = item
                inside[days].append(low <= told <= high)
                if days == 1:
                    over.append((p, told >= 60))
            if hour > 28 * 24 and hour % 12 == 5:
                outlook = Outlook(history, at_ms + 1)
                for days in inside:
                    due_ms = at_ms + days * DAY_MS
                    p = outlook.p_over(60, due_ms)
                    waiting.append((due_ms, days, outlook.level(due_ms), p))
    for days, them in inside.items():
        assert len(them) > 300
        # Windows up to an emptying only, and those overlap: three points, and as many of chance.
        assert sum(them) / len(them) == pytest.approx(0.90, abs=0.06), days
    likely = [was for p, was in over if 0.1 < p < 0.9]
    assert sum(likely) / len(likely) == pytest.approx(
        sum(p for p, _ in over if 0.1 < p < 0.9) / len(likely), abs=0.12
    )


class TestForecasts:
    def taught(self, kept=None, days=20):
        forecasts = Forecasts(Calendar(UTC), kept)
        track, level = filling.start(MONDAY_MS, 5.0), 5.0
        for hour in range(1, days * 24):
            level += 0.25
            track, _ = filling.advance(track, MONDAY_MS + hour * HOUR_MS, level)
            forecasts.take("container/a", "skip", track.at_ms, track, level, 4)
            if level > 60:
                level = 2.0
        return forecasts, track

    def test_they_are_kept_and_go_on(self):
        forecasts, track = self.taught()
        kept = forecasts.everything()
        assert set(kept) == {"container/a", "kind/skip"}
        assert forecasts.everything() == {}
        again = Forecasts(Calendar(UTC), kept)
        before, after = (
            it.outlook("container/a", "skip", track.at_ms).level(track.at_ms + 3 * DAY_MS)
            for it in (forecasts, again)
        )
        assert after == pytest.approx(before, rel=0.02)
        assert after.middle == pytest.approx(track.fill_pct + 18, abs=1.5)
        assert again.unreadable == []

    def test_a_history_is_kept_once_its_day_is_over(self):
        forecasts, track = self.taught(days=2)
        assert set(forecasts.changes()) == {"container/a", "kind/skip"}
        now_ms = track.at_ms + HOUR_MS
        track, _ = filling.advance(track, now_ms, track.fill_pct)
        forecasts.take("container/a", "skip", now_ms, track, track.fill_pct, 4)
        over_ms = now_ms // DAY_MS * DAY_MS + DAY_MS + 1
        if now_ms // DAY_MS == (now_ms - HOUR_MS) // DAY_MS:
            assert forecasts.changes() == {}
        track, _ = filling.advance(track, over_ms, track.fill_pct)
        forecasts.take("container/a", "skip", over_ms, track, track.fill_pct, 4)
        assert "container/a" in forecasts.changes(1)
        assert forecasts.changes() == {}

    def test_an_emptying_in_between_is_none_of_the_waste(self):
        forecasts, _ = self.taught(days=40)
        history = forecasts.history("container/a", "skip")
        assert list(history.course.rates) == pytest.approx([6.0] * 7, rel=0.15)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "[]",
            "{",
            '{"week": [1]}',
            '{"rise": "x"}',
            '{"hours": {}}',
            "null",
            "7",
            '{"days": 0}',
            '{"came": [0, 0, 0, 0, 0, 0, -1e99]}',
        ],
    )
    def test_what_is_unreadable_starts_afresh_and_is_told(self, text):
        forecasts = Forecasts(Calendar(UTC), {"container/a": text, "kind/skip": text})
        track = filling.start(MONDAY_MS, 5.0)
        assert forecasts.take("container/a", "skip", MONDAY_MS, track, 5.0, 4) is not None
        assert "container/a" in forecasts.unreadable

    def test_a_level_from_a_wrong_clocks_future_does_not_stand(self):
        forecasts, track = self.taught()
        now_ms = track.at_ms - 5 * DAY_MS
        early = filling.start(now_ms, 30.0)
        outlook = forecasts.take("container/a", "skip", now_ms, early, 30.0, 4)
        assert outlook.level(now_ms).middle == pytest.approx(30, abs=0.5)
        assert outlook.is_learned

    def test_another_kind_takes_over_what_was_learned(self):
        forecasts, track = self.taught()
        before = forecasts.history("container/a", "skip")
        after = forecasts.history("container/a", "bell")
        assert after is not before
        assert list(after.course.rates) == pytest.approx(list(before.course.rates), rel=0.1)
        assert forecasts.outlook("container/b", "bell", track.at_ms) is None

    def test_they_can_be_sent_to_another_process(self):
        forecasts, track = self.taught()
        there = pickle.loads(pickle.dumps(forecasts))
        args = "container/a", "skip", track.at_ms
        assert there.outlook(*args).hours_to(80) == forecasts.outlook(*args).hours_to(80)

    def test_a_drop_waits_until_it_is_confirmed(self):
        history = History(Kind(Calendar(UTC)))
        track = filling.start(MONDAY_MS, 70.0)
        feed(history, track, 70.0, 4)
        track, _ = filling.advance(track, MONDAY_MS + HOUR_MS, 3.0)
        feed(history, track, 3.0, 4)
        assert history.level_pct == 70
        track, _ = filling.advance(track, MONDAY_MS + 2 * HOUR_MS, 4.0)
        feed(history, track, 4.0, 4)
        assert history.level_pct == 4
        assert history.bad == 0
        feed(history, track, 4.0, 1)
        assert history.bad > 0


def test_a_live_container_says_when_it_is_full_and_how_sure_that_is():
    """By its device's reports, as the gateway takes them."""
    board, forecasts, state, said = device(1), Forecasts(Calendar(UTC)), None, []
    for hour in range(9 * 24):
        report = BinReport(hour % 256, 1400 - 6 * (hour % 96), 4, 0, 21, 2)
        uplink_meta = meta(START_MS + hour * HOUR_MS)
        outputs = topics.uplink_outputs(board, report, uplink_meta, state, forecasts=forecasts)
        state = outputs.state
        said.append(checked(outputs.messages[-1]))
    first, last = said[12], said[-1]
    assert first["hours_to_threshold"] is not None
    assert first["hours_to_threshold_low"] is first["hours_to_threshold_high"] is None
    assert said[3 * 24]["forecast_doubt"] == "few_days"
    assert last["forecast_doubt"] is None
    missing = last["threshold_pct"] - last["fill_pct"]
    per_hour = (said[90]["fill_pct"] - said[10]["fill_pct"]) / 80
    assert last["hours_to_threshold"] == pytest.approx(missing / per_hour, rel=0.15)
    low, high = last["hours_to_threshold_low"], last["hours_to_threshold_high"]
    assert 0 < low < last["hours_to_threshold"] < high
