"""How English and Dutch write figures, months, doubts and the answer of a report. Pure."""

from __future__ import annotations

import datetime
import math
from typing import get_args

from stoep_gateway.config_planning import Language
from stoep_gateway.report.periods import Period
from stoep_gateway.report.texts import TEXTS
from stoep_gateway.report.verdict import Comparison, Doubt

__all__ = ["LANGUAGES", "Language", "Words"]

LANGUAGES: tuple[Language, ...] = get_args(Language)

_MONTHS = {
    "en": "January February March April May June July August September October November December",
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
}
_OPEN = "–"  # of what nobody knows


class Words:
    """The words and figures of one language."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._which = LANGUAGES.index(language)

    def text(self, name: str, **values: object) -> str:
        """Return a text with its values filled in."""
        return TEXTS[name][self._which].format(**values)

    def number(self, value: float | None, decimals: int = 0) -> str:
        """Write a number as the language does; an en dash for what nobody knows."""
        if value is None or not math.isfinite(value):
            return _OPEN
        text = f"{round(value, decimals) + 0.0:,.{decimals}f}".replace("-", "−")
        return text.translate(str.maketrans(",.", ".,")) if self.language == "nl" else text

    def euros(self, value: float | None) -> str:
        """Write euros: whole ones, and cents below ten."""
        if value is None or not math.isfinite(value):
            return _OPEN
        text = self.number(abs(value), 0 if round(abs(value), 2) >= 10 or value == 0 else 2)
        sign = "−" if value < 0 and text.strip("0.,") else ""
        return f"{sign}€\u00a0{text}" if self.language == "nl" else f"{sign}€{text}"

    def percent(self, value: float | None) -> str:
        """Write percents."""
        return _OPEN if value is None else f"{self.number(value)}\u00a0%"

    def day(self, day: datetime.date) -> str:
        """Write a day of a year that is known."""
        return f"{day.day} {_MONTHS[self.language].split()[day.month - 1]}"

    def month(self, day: datetime.date) -> str:
        """Write the month of a day."""
        return f"{_MONTHS[self.language].split()[day.month - 1]} {day.year}"

    def period(self, it: Period) -> str:
        """Write a period."""
        one, other = self.month(it.first), self.month(it.last)
        if one == other:
            return one
        if it.first.year == it.last.year:
            one = one.removesuffix(f" {it.first.year}")
        return self.text("and", a=one, b=other)

    def doubt(self, it: Doubt) -> str:
        """Write why to be careful."""
        return self.text(it.code, one=round(it.one), two=round(it.two))

    def verdict(self, comparison: Comparison) -> str:
        """Answer whether it paid, for a councillor."""
        period = self.period(comparison.ours.period)
        saved = comparison.saved
        if comparison.reasons or saved.low is None or saved.high is None:
            why = map(self.doubt, comparison.reasons)
            return " ".join([self.text("impossible", period=period), *why])
        if comparison.answer == "paid":
            limits = self._about(saved.low), self._about(saved.high)
            return self._of("paid", period, saved.value, limits)
        if comparison.answer == "cost":
            limits = self._about(-saved.high), self._about(-saved.low)
            return self._of("cost", period, -saved.value, limits)
        limits = self._money(saved.low), self._money(saved.high)
        value = self._money(saved.value)
        said = self.text("unknown", period=period, value=value, low=limits[0], high=limits[1])
        if (weeks := comparison.more_weeks) is None:
            return said
        name = "never" if weeks >= 52 else "one_more_week" if weeks == 1 else "more_weeks"
        return f"{said} {self.text(name, weeks=weeks)}"

    def parts(self, comparison: Comparison, price: float) -> str:
        """Say what rounds and overflows have to do with it."""
        rounds = comparison.differences["eur_rounds"].value
        days = comparison.differences["overflow_days"].value
        first = self.text(
            "rounds_less" if rounds >= 0 else "rounds_more", value=self._about(abs(rounds))
        )
        second = self.text(
            f"{'same' if round(days) == 0 else 'fewer' if days > 0 else 'more'}_overflow",
            count=self.number(abs(days)),
            price=self.euros(price),
        )
        return f"{first}; {second}"

    def _about(self, value: float) -> str:
        """Write euros without a precision that they do not have."""
        return self.euros(round(value, -1) if abs(value) >= 100 else round(value))

    def _of(self, name: str, period: str, value: float, limits: tuple[str, str]) -> str:
        low, high = limits
        return self.text(name, period=period, value=self._about(value), low=low, high=high)

    def _money(self, value: float) -> str:
        return self.text("saved" if value >= 0 else "lost", value=self._about(abs(value)))
