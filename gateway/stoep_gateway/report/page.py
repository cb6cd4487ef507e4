"""A report as one page (HTML) that asks nothing of anybody: no scripts, fonts or pictures. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from stoep_gateway.forecast.calendar import HOUR_MS
from stoep_gateway.report import charts, figures, text, verdict
from stoep_gateway.report.chance import Interval
from stoep_gateway.report.charts import Frame, Series
from stoep_gateway.report.figures import NEEDLESS_PCT, Figures
from stoep_gateway.report.making import Report
from stoep_gateway.report.table import eur_per_m3
from stoep_gateway.report.verdict import METRICS, Comparison, Metric
from stoep_gateway.report.words import Words

__all__ = ["page"]

_STYLE = """
@page { size: A4; margin: 16mm 15mm }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; color: #222;
  background: #fff; max-width: 60rem; margin: 1.5rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 0 .8rem; line-height: 1.2 }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; break-after: avoid }
.answer { border: 2px solid #222; border-left-width: 12px; padding: .8rem 1rem; margin: 0 }
.answer p { margin: 0 } .answer .said { font-size: 1.25rem; font-weight: 600; line-height: 1.35 }
.answer p + p { margin-top: .4rem }
.paid { border-color: #14653a } .cost { border-color: #a02020 }
ul.doubts { margin: .8rem 0 0; padding-left: 1.3rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
td { white-space: nowrap }
th, td { text-align: right; padding: .22rem .5rem; border-bottom: 1px solid #ddd }
th { font-weight: 600; vertical-align: bottom } tbody th { font-weight: 400 }
th:first-child { text-align: left; min-width: 5rem; overflow-wrap: break-word }
thead th { border-bottom: 2px solid #222 }
tr.sum > * { font-weight: 600 }
.scroll { overflow-x: auto }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr));
  gap: 1rem 2rem; margin-top: 1.5rem }
figure { margin: 0; break-inside: avoid }
figcaption { font-weight: 600; margin-bottom: .2rem }
figure p { margin: .2rem 0 0; font-size: .85em; color: #444 }
svg { width: 100%; height: auto; display: block }
svg text { font-size: 13px; fill: #222; font-family: inherit }
.small { font-size: .85em; color: #444 }
@media print { body { font-size: 9.5pt; line-height: 1.35; margin: 0; max-width: none; padding: 0 }
  .plots { grid-template-columns: 1fr 1fr; gap: .6rem 1.5rem }
  th, td { padding: .12rem .4rem } h2 { margin: 1.2rem 0 .3rem } h1 { font-size: 16pt }
  tr { break-inside: avoid }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact } }
"""
_WORST = 10
_CLASS_PCT = 10


def page(report: Report, words: Words) -> str:
    """Return the page, complete."""
    return _Page(report, words).html()


class _Page:
    def __init__(self, report: Report, words: Words) -> None:
        self._report = report
        self._words = words
        self._text = words.text
        self._comparison = report.comparison
        # Two sides that can be put beside each other.
        self._sides = None
        if report.comparison is not None and report.comparison.ours.cells:
            self._sides = report.comparison if math.isfinite(report.comparison.scale) else None
        self._weeks = report.period.weeks()
        self._labels = [words.text("week_short", number=n + 1) for n in range(len(self._weeks))]

    def html(self) -> str:
        report, words = self._report, self._words
        name = "title" if self._comparison else "no_title"
        title = escape(self._text(name, site=report.site, period=words.period(report.period)))
        parts = [
            "<!DOCTYPE html>",
            f'<html lang="{words.language}"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body><main>",
            f"<h1>{title}</h1>",
            self._answer(),
            *self._side_by_side(),
            f'<section class="plots">{"".join(self._plots())}</section>',
            f'<p class="small">{escape(self._text("a_week"))}</p>' if self._uneven() else "",
            *self._month(),
            *self._tables(),
            f"<h2>{escape(self._text('how'))}</h2>",
            f'<p class="small">{escape(self._how())}</p>',
            "</main></body></html>",
        ]
        return "\n".join(it for it in parts if it) + "\n"

    def _week(self, number: int) -> str:
        day = self._words.day(self._weeks[number].first)
        return self._text("week", number=number + 1, day=day)

    def _uneven(self) -> bool:
        return any(week.days != 7 for week in self._weeks)

    def _how(self) -> str:
        price = self._words.euros(self._report.overflow_day_eur)
        return self._text("how_text", price=price)

    # The answer.

    def _answer(self) -> str:
        report, words = self._report, self._words
        kind = "unknown" if self._comparison is None else self._comparison.answer
        said = f'<p class="said">{escape(text.answer(report, words))}</p>'
        if against := text.against(report, words):
            said += f"<p>{escape(against)}</p>"
        items = "".join(f"<li>{escape(it)}</li>" for it in text.doubts(report, words))
        return f'<div class="answer {kind}">{said}</div>' + (
            f'<ul class="doubts">{items}</ul>' if items else ""
        )

    def _side_by_side(self) -> Iterable[str]:
        comparison = self._sides
        if comparison is None:
            return
        other, ours = verdict.figures(comparison.other), verdict.figures(comparison.ours)
        rows = []
        for name in METRICS:
            write = self._writer(name)
            both = [
                write(verdict.scaled(float(METRICS[name](it)), comparison, other=it is other))
                for it in (other, ours)
            ]
            saved = comparison.differences[name]
            rows.append([self._text(name), *both, write(saved.value), self._limits(saved, write)])
        names = (comparison.kind, "done", "difference", "interval")
        head = ["", *(self._text(name) for name in names)]
        yield f"<h2>{escape(self._text('compared'))}</h2>"
        yield self._table(head, rows, sums=1)
        yield f'<p class="small">{escape(self._text("compared_note"))}</p>'

    def _writer(self, name: str) -> Callable[[float | None], str]:
        words = self._words
        return words.euros if name.startswith("eur") else words.number

    def _limits(self, it: Interval, write: Callable[[float | None], str]) -> str:
        return self._text("range", a=write(it.low), b=write(it.high))

    # Plots.

    def _plots(self) -> Iterable[str]:
        words = self._words
        yield self._by_week("overflow_h", "plot_overflow", words.number)
        if self._report.is_costed:
            yield self._by_week("eur", "plot_eur", words.euros)
        comparison = self._sides
        if comparison is not None and comparison.kind == "schedule":
            yield self._saved_by_week(comparison)
        yield self._fills()
        yield self._known()
        yield self._worst()

    def _figure(self, name: str, svg: str, note: str = "") -> str:
        said = f"<p>{escape(note)}</p>" if note else ""
        return f"<figure><figcaption>{escape(self._text(name))}</figcaption>{svg}{said}</figure>"

    def _frame(self, name: str, write: Callable[[float], str]) -> Frame:
        return Frame(name, self._text(name), write)

    def _by_week(self, metric: str, name: str, write: Callable[[float | None], str]) -> str:
        comparison = self._sides
        if comparison is None:
            series = [Series("", self._of_weeks(METRICS[metric]))]
        else:
            sides = [(comparison.kind, comparison.other), ("done", comparison.ours)]
            if comparison.kind == "before":  # other weeks: their mean
                count = len(self._weeks)
                total = float(METRICS[metric](verdict.figures(comparison.other)))
                mean = total * comparison.scale / self._report.period.days * 7
                values = [[mean] * count, self._weekly(comparison, ours=True, metric=metric)]
            else:
                values = [self._weekly(comparison, ours=it, metric=metric) for it in (False, True)]
            series = [
                Series(self._text(label), its)
                for (label, _), its in zip(sides, values, strict=True)
            ][::-1]
        return self._figure(name, charts.bars(self._frame(name, write), self._labels, series))

    def _weekly(self, comparison: Comparison, *, ours: bool, metric: str) -> list[float]:
        side = comparison.ours if ours else comparison.other
        sums = verdict.by_week(side, metric)
        return [it * 7 / week.days for it, week in zip(sums, self._weeks, strict=True)]

    def _of_weeks(self, of: Metric) -> list[float | None]:
        sums = [Figures() for _ in self._weeks]
        for (_, number), it in self._report.cells.items():
            sums[number] += it
        return [
            of(it) * 7 / week.days if it.known_ms else None
            for it, week in zip(sums, self._weeks, strict=True)
        ]

    def _saved_by_week(self, comparison: Comparison) -> str:
        sides = [self._weekly(comparison, ours=it, metric="eur") for it in (False, True)]
        a_week = 7 / comparison.ours.period.days
        off = comparison.running_eur * a_week
        values = [before - after - off for before, after in zip(*sides, strict=True)]
        saved = comparison.saved
        mean = Interval(
            saved.value * a_week,
            None if saved.low is None else saved.low * a_week,
            None if saved.high is None else saved.high * a_week,
        )
        note = self._text("plot_saved_note")
        frame = self._frame("plot_saved", self._words.euros)
        return self._figure(
            "plot_saved", charts.points(frame, self._labels, values, mean, note), note
        )

    def _fills(self) -> str:
        classes = list(range(0, 100, _CLASS_PCT))
        counts = [0] * len(classes)
        for it in figures.total(self._report.cells.values()).fills_pct:
            counts[min(int(it) // _CLASS_PCT, len(classes) - 1)] += 1
        labels = [f"{it}–{it + _CLASS_PCT}" for it in classes]
        labels[-1] = f"{classes[-1]}+"
        svg = charts.bars(
            self._frame("plot_fill", self._words.number),
            labels,
            [Series("", counts)],
            hatched=lambda number: classes[number] < NEEDLESS_PCT,
        )
        return self._figure("plot_fill", svg, self._text("plot_fill_note"))

    def _known(self) -> str:
        sums = [
            figures.total(it for key, it in self._report.cells.items() if key[1] == number)
            for number in range(len(self._weeks))
        ]
        frame = self._frame("plot_known", self._words.number)
        series = [Series("", [it.known_pct for it in sums])]
        return self._figure("plot_known", charts.bars(frame, self._labels, series, most=100))

    def _worst(self) -> str:
        names = {it.id: it.name or it.id for it in self._report.containers}
        hours = dict.fromkeys(names, 0.0)
        for (name, _), it in self._report.cells.items():
            hours[name] += it.full_ms / HOUR_MS
        worst = sorted(hours.items(), key=lambda it: (-it[1], it[0]))[:_WORST]
        rows = [(names[name], value) for name, value in worst if value > 0]
        if not rows:
            return self._figure("plot_worst", "", self._text("no_overflow"))
        frame = self._frame("plot_worst", lambda it: self._words.number(it, 1))
        return self._figure("plot_worst", charts.beside(frame, rows))

    # Tables.

    def _month(self) -> Iterable[str]:
        words, report = self._words, self._report
        it = figures.total(report.cells.values())
        quartiles = it.quartiles_pct
        rows = [
            ("known_pct", words.percent(it.known_pct)),
            ("emptyings", words.number(it.emptyings)),
            ("needless", words.number(it.needless)),
            ("unknown_fill", words.number(it.unknown_fill)),
            ("fill_median_pct", words.percent(quartiles[1] if quartiles else None)),
        ]
        if quartiles:
            limits = words.percent(quartiles[0]), words.percent(quartiles[2])
            rows.append(("fill_quartiles", self._text("range", a=limits[0], b=limits[1])))
        rows += [
            ("overflow_h", words.number(it.full_ms / HOUR_MS if it.known_ms else None)),
            ("overflow_days", words.number(it.overflow_days if it.known_ms else None)),
            ("collected_m3", f"{words.number(it.litres / 1000, 1)}\u00a0m³"),
        ]
        if it.weighed:
            rows.append(("weight", f"{words.number(it.weight_kg)}\u00a0kg ({it.weighed} ×)"))
        if it.readings:
            share = words.percent(100 * it.false_readings / it.readings)
            rows.append(("readings", words.number(it.readings)))
            rows.append(("false_readings", f"{words.number(it.false_readings)} ({share})"))
        if report.is_costed:
            each = it.eur_rounds / it.emptyings if it.emptyings else None
            rows += [
                ("km", words.number(it.km)),
                ("hours", words.number(it.hours, 1)),
                ("eur_rounds", words.euros(it.eur_rounds)),
                ("eur_per_emptying", words.euros(each)),
                ("eur_per_m3", words.euros(eur_per_m3(it))),
                ("eur_overflow", words.euros(it.eur_overflow)),
            ]
        if (planned := report.planned) is not None:
            value = self._text(
                "planned_value",
                km=words.number(planned.km),
                hours=words.number(planned.hours, 1),
                eur=words.euros(planned.eur),
                days=planned.days,
            )
            rows.append(("planned_cost", value))
            kinds = ("confirmed", "contradicted", "unplanned")
            rows.append(("plan", words.number(it.planned)))
            rows += [(kind, words.number(getattr(it, kind))) for kind in kinds]
        yield f"<h2>{escape(self._text('figures'))}</h2>"
        yield from (f"<p>{escape(it)}</p>" for it in text.month_doubts(report, words))
        yield self._table([], [[self._text(name), value] for name, value in rows])

    def _tables(self) -> Iterable[str]:
        report = self._report
        fraction_of = {it.id: it.fraction for it in report.containers}
        names = {it.id: it.name or it.id for it in report.containers}
        groups: dict[str, dict[str, Figures]] = {
            "of_weeks": {},
            "of_fractions": {},
            "of_trucks": dict(report.trucks),
            "of_containers": {},
        }
        order = {it.id: number for number, it in enumerate(report.containers)}
        in_order = sorted(report.cells.items(), key=lambda it: (order[it[0][0]], it[0][1]))
        for (name, number), it in in_order:
            for group, of in (
                ("of_weeks", self._week(number)),
                ("of_fractions", fraction_of[name]),
                ("of_containers", names[name]),
            ):
                groups[group][of] = groups[group].get(of, Figures()) + it
        for group, rows in groups.items():
            if rows and not (group == "of_fractions" and len(rows) == 1):
                yield f"<h2>{escape(self._text(group))}</h2>"
                yield f'<div class="small">{self._rows(rows, levels=group != "of_trucks")}</div>'

    def _rows(self, rows: dict[str, Figures], *, levels: bool) -> str:
        words = self._words
        columns: list[tuple[str, Callable[[Figures], str]]] = [
            ("emptyings", lambda it: words.number(it.emptyings)),
            ("needless", lambda it: words.number(it.needless)),
            ("fill_median_pct", lambda it: words.percent((it.quartiles_pct or [None] * 3)[1])),
        ]
        if levels:
            columns.insert(0, ("known_pct", lambda it: words.percent(it.known_pct)))
            columns.append(
                (
                    "overflow_h",
                    lambda it: words.number(it.full_ms / HOUR_MS if it.known_ms else None),
                )
            )
        if self._report.is_costed:
            columns += [
                ("km", lambda it: words.number(it.km)),
                ("hours", lambda it: words.number(it.hours, 1)),
                ("eur_rounds", lambda it: words.euros(it.eur_rounds)),
            ]
        head = ["", *(self._text(name) for name, _ in columns)]
        return self._table(
            head, [[name, *(write(it) for _, write in columns)] for name, it in rows.items()]
        )

    def _table(self, head: Sequence[str], rows: Sequence[Sequence[str]], sums: int = 0) -> str:
        top = "".join(f'<th scope="col">{escape(it)}</th>' for it in head)
        lines = []
        for number, (name, *cells) in enumerate(rows):
            kind = ' class="sum"' if number < sums else ""
            row = "".join(f"<td>{escape(it)}</td>" for it in cells)
            lines.append(f'<tr{kind}><th scope="row">{escape(name)}</th>{row}</tr>')
        begin = f"<thead><tr>{top}</tr></thead>" if head else ""
        return f'<div class="scroll"><table>{begin}<tbody>{"".join(lines)}</tbody></table></div>'
