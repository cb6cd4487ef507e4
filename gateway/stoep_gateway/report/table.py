"""A report as a table (CSV): one row for each thing that is counted, always the same columns."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator

from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.report import figures, verdict
from stoep_gateway.report.figures import Figures
from stoep_gateway.report.making import Report
from stoep_gateway.report.verdict import METRICS, Comparison

__all__ = ["COLUMNS", "csv_text", "eur_per_m3", "rows"]

COLUMNS = (
    "period",
    "scope",
    "id",
    "name",
    "from",
    "to",
    "containers",
    "known_pct",
    "readings",
    "false_readings",
    "emptyings",
    "needless",
    "unknown_fill",
    "fill_q1_pct",
    "fill_median_pct",
    "fill_q3_pct",
    "overflow_h",
    "overflow_days",
    "collected_l",
    "weighed",
    "weight_kg",
    "km",
    "hours",
    "eur_rounds",
    "eur_overflow",
    "eur",
    "eur_per_emptying",
    "eur_per_m3",
    "planned",
    "confirmed",
    "contradicted",
    "unplanned",
)
Row = dict[str, object]
_RISKY = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would take it for a formula


def csv_text(report: Report) -> str:
    """Return the table as RFC 4180 has it, with a mark that tells spreadsheets that it is UTF-8."""
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, COLUMNS, restval="")
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows(report))
    return "\ufeff" + file.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.2f}" if math.isfinite(value) else ""
    if isinstance(value, str) and value.startswith(_RISKY):
        return "'" + value
    return "" if value is None else value


def rows(report: Report) -> Iterator[Row]:
    """Yield the rows: all, weeks, fractions, containers, trucks, what was planned, what was saved.

    What nobody knows has no value.
    """
    cells = report.cells
    yield _row(report, "all", "", figures.total(cells.values()))
    for number, week in enumerate(report.period.weeks()):
        of_week = figures.total(it for key, it in cells.items() if key[1] == number)
        last = report.period.dates()[(week.first - report.period.first).days + week.days - 1]
        yield _row(report, "week", str(number + 1), of_week) | {"from": week.first, "to": last}
    fraction_of = {it.id: it.fraction for it in report.containers}
    for fraction in sorted(set(fraction_of.values())):
        of_it = figures.total(it for key, it in cells.items() if fraction_of[key[0]] == fraction)
        yield _row(report, "fraction", fraction, of_it)
    by_container: dict[str, Figures] = {}
    for (name, _), it in cells.items():
        by_container[name] = by_container.get(name, Figures()) + it
    for container in report.containers:
        row = _row(report, "container", container.id, by_container[container.id])
        yield row | {"name": container.name}
    for truck, it in report.trucks.items():
        yield _row(report, "truck", truck, it)
    if report.planned is not None:
        planned = report.planned
        head = _head(report, "planned", f"{planned.days} days")
        yield head | {"km": planned.km, "hours": planned.hours, "eur_rounds": planned.eur}
    if report.comparison is not None:
        yield from _compared(report, report.comparison)


def eur_per_m3(it: Figures) -> float | None:
    """Return what a cubic metre cost; where the fill is not known it was as much as elsewhere."""
    told = it.emptyings - it.unknown_fill
    return it.eur_rounds / (it.litres * it.emptyings / told / 1000) if told and it.litres else None


def _head(report: Report, scope: str, name: str) -> Row:
    period = report.period
    return {
        "period": period.name,
        "scope": scope,
        "id": name,
        "from": period.first,
        "to": period.last,
    }


def _row(report: Report, scope: str, name: str, it: Figures) -> Row:
    quartiles = it.quartiles_pct or (None,) * 3
    row = _head(report, scope, name) | {
        "containers": len(it.containers),
        "known_pct": it.known_pct,
        "readings": it.readings,
        "false_readings": it.false_readings,
        "emptyings": it.emptyings,
        "needless": it.needless,
        "unknown_fill": it.unknown_fill,
        **dict(zip(("fill_q1_pct", "fill_median_pct", "fill_q3_pct"), quartiles, strict=True)),
        "overflow_h": it.full_ms / HOUR_MS if it.known_ms else None,
        "overflow_days": it.overflow_days if it.known_ms else None,
        "collected_l": it.litres,
        "weighed": it.weighed,
        "weight_kg": it.weight_kg if it.weighed else None,
        "planned": it.planned,
        "confirmed": it.confirmed,
        "contradicted": it.contradicted,
        "unplanned": it.unplanned,
    }
    if report.is_costed:
        row |= {"km": it.km, "hours": it.hours, "eur_rounds": it.eur_rounds}
        row |= {"eur_overflow": it.eur_overflow, "eur": it.eur}
        row["eur_per_emptying"] = it.eur_rounds / it.emptyings if it.emptyings else None
        row["eur_per_m3"] = eur_per_m3(it)
    return row


def _compared(report: Report, comparison: Comparison) -> Iterator[Row]:
    for scope, side, other in (("ours", comparison.ours, False), ("other", comparison.other, True)):
        row = _head(report, f"compared_{scope}", comparison.kind) | {
            "from": side.period.first,
            "to": side.period.last,
        }
        sums = verdict.figures(side)
        row["containers"] = len(sums.containers)
        for name, metric_of in METRICS.items():
            row[name] = verdict.scaled(float(metric_of(sums)), comparison, other=other)
        yield row
    for scope, part in (("saved", "value"), ("saved_low", "low"), ("saved_high", "high")):
        row = _head(report, scope, comparison.kind)
        for name, it in comparison.differences.items():
            row[name] = getattr(it, part)
        yield row
