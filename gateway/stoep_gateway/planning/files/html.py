"""A sheet as HTML: nothing is fetched, everything is escaped, black on white. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from stoep_gateway.planning.files.lines import StopLine
from stoep_gateway.planning.files.sheet import (
    Blanks,
    Block,
    Drawing,
    Prose,
    Sheet,
    Stops,
    Table,
)
from stoep_gateway.planning.files.sketch import TEXT_MM, Label, Mark, Sketch

__all__ = ["DASHES_MM", "WIDTHS_MM", "document"]

# A line per truck, to be told apart without colour; in millimetres drawn and left out.
DASHES_MM = ((), (3.0, 1.2), (0.9, 0.9), (4.0, 1.0, 0.8, 1.0), (1.8, 2.4))
_STYLE = """
@page { size: A4; margin: 10mm 12mm 13mm; @bottom-right { content: PAGE; font: 9pt sans-serif; } }
* { box-sizing: border-box; }
body { font: 10.5pt/1.25 "DejaVu Sans", Verdana, sans-serif; color: #000; background: #fff;
  max-width: 186mm; margin: 0 auto; overflow-wrap: anywhere; }
section + section { break-before: page; margin-top: 12mm; }
h1 { font-size: 17pt; line-height: 1.15; margin: 0 0 2mm; }
h2 { font-size: 12pt; margin: 5mm 0 1mm; break-after: avoid; }
p { margin: 1.5mm 0; }
.badge { border: 0.6mm solid #000; padding: 0 2mm; margin-right: 2mm; }
.large { font-size: 16pt; margin: 10mm 0; }
.facts { display: flex; flex-wrap: wrap; gap: 1mm 7mm; margin: 0 0 2mm; padding: 0; }
.facts div { break-inside: avoid; }
.facts dt { font-size: 8.5pt; }
.facts dd { margin: 0; font-size: 12pt; font-weight: bold; }
.blanks { display: flex; gap: 6mm; margin: 3mm 0; }
.blanks span { flex: 1; border-bottom: 0.3mm solid #000; padding-bottom: 0.5mm; height: 9mm;
  display: flex; align-items: flex-end; font-size: 8.5pt; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
th { text-align: left; font-size: 8.5pt; vertical-align: bottom; padding: 0.5mm 1.2mm;
  border-bottom: 0.5mm solid #000; overflow-wrap: normal; }
.running th { font-weight: normal; border: 0; padding: 1mm 0; }
td { vertical-align: top; padding: 0.8mm 1.2mm; border-bottom: 0.2mm solid #555; font-size: 9pt; }
.number, th.number { text-align: right; }
.stops td { height: 12mm; padding: 0.8mm 1.2mm; }
.stops .no { font-size: 19pt; font-weight: bold; line-height: 1; text-align: right; }
.stops .no.long { font-size: 13pt; }
.stops td b { font-size: 11pt; }
.stops small b { font-size: inherit; }
.stops .at, .stops .title { font-size: 12pt; font-weight: bold; }
.stops .title { display: block; }
.stops small { display: block; font-size: 8.5pt; line-height: 1.2; }
.box { display: block; width: 7mm; height: 7mm; border: 0.5mm solid #000; background: #fff; }
.box svg { border: 0; fill: none; stroke: #000; stroke-width: 0.8; }
.stops .remark { border-left: 0.2mm solid #555; font-size: 8.5pt; }
.stops .yard td { height: 0; }
.stops .yard .title { font-size: 10pt; }
.stops tr:last-child { break-before: avoid; }
.stops .unload td { background: #ddd; border-top: 0.5mm solid #000;
  border-bottom: 0.5mm solid #000; print-color-adjust: exact; -webkit-print-color-adjust: exact; }
.drawing { break-inside: avoid; }
svg { display: block; width: 100%; border: 0.2mm solid #555; }
svg.key { display: inline; width: 14mm; height: 3mm; border: 0; }
.key span { margin-right: 5mm; white-space: nowrap; }
.stops .at, .figure { white-space: nowrap; }
@media screen { body { padding: 4mm; max-width: 194mm; } }
@media screen and (max-width: 150mm) {
  .stops { table-layout: auto; }
  .stops col { width: auto !important; }
  .stops tr > :nth-child(n+6) { display: none; }
}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
WIDTHS_MM = (12, 13, 16, 75, 21, 19, 30)  # of the columns of stops


def document(sheets: Sequence[Sheet]) -> str:
    """Return a whole document with the sheets one after the other; at least one."""
    first = sheets[0]
    before, _, rest = first.page.partition("{page}")
    between, _, after = rest.partition("{pages}")
    page = f'"{before}" counter(page) "{between}" counter(pages) "{after}"'
    return "\n".join(
        [
            "<!DOCTYPE html>",
            f'<html lang="{first.language}"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(first.title)}</title>",
            f"<style>{_STYLE.replace('PAGE', page)}</style></head><body>",
            *(_section(it) for it in sheets),
            "</body></html>\n",
        ]
    )


def _section(sheet: Sheet) -> str:
    badge = f'<span class="badge">{escape(sheet.badge)}</span>' if sheet.badge else ""
    facts = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_said(value)}</dd></div>" for name, value in sheet.facts
    )
    blocks = "\n".join(_block(it, sheet) for it in sheet.blocks)
    facts = f'<dl class="facts">{facts}</dl>' if facts else ""
    return f"<section><h1>{badge}{_said(sheet.title)}</h1>\n{facts}\n{blocks}</section>"


def _block(block: Block, sheet: Sheet) -> str:
    match block:
        case Stops():
            return _stops(block, sheet.header)
        case Table():
            return _table(block, sheet.header)
        case Drawing():
            return _drawing(block)
        case Blanks():
            blanks = "".join(f"<span>{escape(it)}</span>" for it in block.labels)
            return f'<div class="blanks">{blanks}</div>'
        case Prose():
            large = ' class="large"' if block.large else ""
            return f"<p{large}>{_said(block.text)}</p>"


def _said(text: str) -> str:
    """Return text of others, escaped, in the direction in which it is written."""
    return f"<bdi>{escape(_CONTROL.sub(' ', text))}</bdi>"


def _columns(shares: Sequence[int]) -> str:
    columns = "".join(f'<col style="width:{100 * it / sum(shares):.1f}%">' for it in shares)
    return f"<colgroup>{columns}</colgroup>"


def _stops(block: Stops, header: str) -> str:
    head = "".join(f"<th>{escape(it)}</th>" for it in block.head)
    lines = "\n".join(_line(it) for it in block.lines)
    running = f'<tr class="running"><th colspan="7">{_said(header)}</th></tr>'
    return (
        f'<table class="stops">{_columns(WIDTHS_MM)}<thead>{running}<tr>{head}</tr></thead>'
        f"<tbody>\n{lines}\n</tbody></table>"
    )


def _line(it: StopLine) -> str:
    small = "".join(f"<small>{_said(text)}</small>" for text in (it.about, it.why) if text)
    if it.heed:
        small += f"<small><b>{_said(it.heed)}</b></small>"
    ticked = '<svg viewBox="0 0 7 7"><path d="M1 3.5l2 2.5l3 -5"/></svg>' if it.done else ""
    box = f'<span class="box">{ticked}</span>' if it.kind != "yard" else ""
    long = " long" if len(it.number) > 2 else ""
    cells = "".join(
        f'<td class="figure"><b>{escape(large)}</b><small>{escape(below)}</small></td>'
        for large, below in (it.full, it.leg)
    )
    return (
        f'<tr class="{it.kind}"><td>{box}</td><td class="no{long}">{it.number}</td>'
        f'<td class="at">{it.at}</td><td><span class="title">{_said(it.title)}</span>{small}</td>'
        f'{cells}<td class="remark">{escape(it.remark)}</td></tr>'
    )


def _table(block: Table, header: str) -> str:
    def cells(tag: str, texts: Sequence[str]) -> str:
        kinds = [' class="number"' if index in block.numbers else "" for index in range(len(texts))]
        told = zip(kinds, texts, strict=True)
        return "".join(f"<{tag}{kind}>{_said(text)}</{tag}>" for kind, text in told)

    title = f"<h2>{escape(block.title)}</h2>" if block.title else ""
    about = f"<p>{escape(block.about)}</p>" if block.about else ""
    rows = "\n".join(f"<tr>{cells('td', it)}</tr>" for it in block.rows)
    running = f'<tr class="running"><th colspan="{len(block.head)}">{_said(header)}</th></tr>'
    running = running if block.title else ""
    return (
        f"{title}{about}<table>{_columns(block.shares)}<thead>{running}"
        f"<tr>{cells('th', block.head)}</tr></thead><tbody>\n{rows}\n</tbody></table>"
    )


def _drawing(block: Drawing) -> str:
    key = "".join(
        f'<span><svg class="key" viewBox="0 0 14 3">{_path(((0, 1.5), (14, 1.5)), dash)}</svg> '
        f"{_said(name)}</span>"
        for dash, name in block.key
    )
    return (
        f'<div class="drawing"><h2>{escape(block.title)}</h2>{_svg(block.sketch, block.title)}'
        f'<p>{escape(block.about)}</p><p class="key">{key}</p></div>'
    )


def _svg(it: Sketch, title: str) -> str:
    parts = [_path(line.points, line.dash) for line in it.lines]
    parts += [
        f'<path d="M{label.mark_x} {label.mark_y}L{label.x} {label.y}" {_stroke(0.2)}/>'
        for label in it.labels
    ]
    parts += [_mark(mark) for mark in it.marks]
    parts += [_label(label) for label in it.labels]
    bottom = it.height + 3.5
    parts.append(f'<path d="M3 {bottom}h{it.bar_mm}m0-1v2M3 {bottom - 1}v2" {_stroke(0.4)}/>')
    parts.append(f'<text x="{it.bar_mm + 5}" y="{bottom + 1}" font-size="3">{it.bar}</text>')
    east = it.width - 6
    parts.append(f'<path d="M{east} {bottom + 2}v-5l-1.2 2m1.2-2l1.2 2" {_stroke(0.4)}/>')
    parts.append(f'<text x="{east + 2}" y="{bottom + 1}" font-size="3">N</text>')
    return (
        f'<svg role="img" aria-label="{escape(title)}" viewBox="0 0 {it.width:g}'
        f' {it.height + 7:g}" font-family="DejaVu Sans, Verdana, sans-serif">{"".join(parts)}</svg>'
    )


def _stroke(width: float) -> str:
    return f'fill="none" stroke="#000" stroke-width="{width}"'


def _path(points: Sequence[tuple[float, float]], dash: int) -> str:
    way = "L".join(f"{x} {y}" for x, y in points)
    dashes = " ".join(map(str, DASHES_MM[dash % len(DASHES_MM)]))
    return f'<path d="M{way}" {_stroke(0.35)} stroke-dasharray="{dashes}"/>'


def _mark(it: Mark) -> str:
    x, y = it.x, it.y
    match it.kind:
        case "stop":
            return f'<circle cx="{x}" cy="{y}" r="0.9"/>'
        case "yard":
            return f'<path d="M{x} {y - 2.2}l2.2 2.2l-2.2 2.2l-2.2 -2.2z"/>'
        case "unload":
            return f'<path d="M{x - 1.6} {y - 1.6}h3.2v3.2h-3.2z"/>'
        case "left":
            return f'<circle cx="{x}" cy="{y}" r="0.8" {_stroke(0.25)}/>'
        case "deferred":
            cross = f"M{x - 1.2} {y - 1.2}l2.4 2.4M{x - 1.2} {y + 1.2}l2.4 -2.4"
            thin = _stroke(0.3)
            return f'<circle cx="{x}" cy="{y}" r="1.2" {thin}/><path d="{cross}" {thin}/>'


def _label(it: Label) -> str:
    high = 1.3 * TEXT_MM
    return (
        f'<rect x="{it.x - it.width / 2:.2f}" y="{it.y - high / 2:.2f}" width="{it.width}"'
        f' height="{high:.2f}" rx="1" fill="#fff" stroke="#000" stroke-width="0.15"/>'
        f'<text x="{it.x}" y="{it.y + TEXT_MM * 0.36:.2f}" font-size="{TEXT_MM}" font-weight="bold"'
        f' text-anchor="middle">{escape(it.text)}</text>'
    )
