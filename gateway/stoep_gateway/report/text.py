"""A report in a few lines, for who asks at a terminal. Pure."""

from __future__ import annotations

from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.report import figures
from stoep_gateway.report.making import Report
from stoep_gateway.report.verdict import KNOWN_WELL_PCT
from stoep_gateway.report.words import Words

__all__ = ["against", "answer", "doubts", "for_people", "month_doubts"]


def answer(report: Report, words: Words) -> str:
    """Return whether it paid, or what it takes to say."""
    comparison = report.comparison
    if comparison is None:
        return words.text("against_nothing" if report.is_costed else "no_trucks")
    return words.verdict(comparison)


def against(report: Report, words: Words) -> str:
    """Return what makes up the difference, and what was compared with what."""
    comparison = report.comparison
    if comparison is None:
        return ""
    said = words.text(
        f"against_{comparison.kind}",
        other=words.period(comparison.other.period),
        period=words.period(comparison.ours.period),
    )
    if not comparison.reasons:
        said = f"{words.parts(comparison, report.overflow_day_eur)} {said}"
    if comparison.running_eur:
        return f"{said} {words.text('running', value=words.euros(comparison.running_eur))}"
    return f"{said} {words.text('no_running')}"


def doubts(report: Report, words: Words) -> list[str]:
    """Return why to be careful with the answer."""
    if report.comparison is None:
        return []
    said = [words.doubt(it) for it in report.comparison.doubts]
    return [*said, words.text("lines")] if report.distances == "lines" else said


def month_doubts(report: Report, words: Words) -> list[str]:
    """Return why to be careful with the month's figures."""
    known_pct = figures.total(report.cells.values()).known_pct
    said = []
    if not report.period.whole:
        said.append(words.text("not_over", one=report.period.days))
    if known_pct is not None and known_pct < KNOWN_WELL_PCT:
        said.append(words.text("known_month", one=round(known_pct)))
    return said


def for_people(report: Report, words: Words) -> str:
    """Return the answer, the doubts, and the month in a line."""
    it = figures.total(report.cells.values())
    line = [
        f"{words.number(it.emptyings)} {words.text('emptyings')}",
        f"{words.number(it.needless)} {words.text('needless')}",
        f"{words.number(it.full_ms / HOUR_MS)} {words.text('overflow_h')}",
    ]
    if report.is_costed:
        line += [f"{words.number(it.km)} km", words.euros(it.eur_rounds)]
    line.append(f"{words.text('known_pct')} {words.percent(it.known_pct)}")
    said = [answer(report, words), against(report, words)]
    said += [f"- {one}" for one in doubts(report, words)]
    said += [f"{words.period(report.period)}: {', '.join(line)}", *month_doubts(report, words)]
    return "\n".join(filter(None, said))
