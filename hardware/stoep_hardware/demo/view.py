"""The demo's picture in a terminal, drawn with rich: from a Picture and Figures, nothing else."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stoep_hardware.demo.picture import Picture

_BAR_CELLS = 12
_FULL_PCT = 80
_HALF_PCT = 50
_BAY_STYLE = {"free": "green", "occupied": "red", "uncertain": "yellow"}


@dataclass(frozen=True, slots=True)
class Figures:
    """What the demo itself measures, beside what the messages tell."""

    site: str
    now: datetime
    """Simulated time, in the street's own time zone."""
    speedup: float
    elapsed_s: float
    micropython_devices: int
    cpython_devices: int
    sent: int


def draw(picture: Picture, figures: Figures, rows: int = 40) -> RenderableType:
    """Lay the whole street out for a terminal of ``rows`` lines."""
    zone = figures.now.tzinfo
    layout = Layout()
    street = max(len(picture.containers), len(picture.bays)) + 5
    street = max(min(street, rows - 14), 8)
    layout.split_column(
        Layout(_header(figures), size=1),
        Layout(name="street", size=street),
        Layout(name="below", minimum_size=8),
        Layout(_footer(picture, figures), size=2),
    )
    layout["street"].split_row(
        Layout(_containers(picture, zone), ratio=3), Layout(_bays(picture, zone), ratio=2)
    )
    layout["below"].split_row(
        Layout(_round(picture, zone), ratio=3), Layout(_news(picture, zone), ratio=2)
    )
    return layout


def _header(figures: Figures) -> Text:
    return Text.assemble(
        (" Stoep ", "bold reverse"),
        f"  {figures.site}, simulated  ",
        (f"{figures.now:%a %d %b %Y  %H:%M}", "bold"),
        f"   × {figures.speedup:,.0f}   {figures.elapsed_s:.0f} s of yours",
    )


def _local(utc: str, zone: tzinfo | None) -> str:
    return datetime.fromisoformat(utc).astimezone(zone).strftime("%H:%M")


def _bar(fill_pct: float) -> Text:
    style = "red" if fill_pct >= _FULL_PCT else "yellow" if fill_pct >= _HALF_PCT else "green"
    cells = round(min(fill_pct, 100) / 100 * _BAR_CELLS)
    return Text.assemble(("█" * cells, style), ("░" * (_BAR_CELLS - cells), "dim"))


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1))
    for title, justify in columns:
        right = justify == "right"
        table.add_column(title, justify="right" if right else "left", no_wrap=True)
    return table


def _containers(picture: Picture, zone: tzinfo | None) -> Panel:
    table = _table(("container", ""), ("fill", ""), ("%", "right"), ("q", "right"), ("at", ""))
    for asset, body in sorted(picture.containers.items()):
        fill_pct = body["fill_pct"]
        table.add_row(
            asset,
            _bar(fill_pct) if fill_pct is not None else Text("no echo", "yellow"),
            f"{fill_pct:.0f}" if fill_pct is not None else "–",
            str(body["quality"]),
            _local(body["measured_utc"], zone),
        )
    return Panel(table, title="containers", border_style="dim")


def _bays(picture: Picture, zone: tzinfo | None) -> Panel:
    table = _table(("bay", ""), ("state", ""), ("since", ""), ("changes", "right"))
    for asset, body in sorted(picture.bays.items()):
        state = body["state"]
        table.add_row(
            asset,
            Text("● " + state, _BAY_STYLE[state]),
            _local(body["since_utc"], zone) if body["since_utc"] else "–",
            str(body["change_count"]),
        )
    return Panel(table, title="parking bays", border_style="dim")


def _round(picture: Picture, zone: tzinfo | None) -> Panel:
    if not picture.rounds:
        return Panel(
            Text("no round yet: it is planned once a morning", "dim"),
            title="round",
            border_style="dim",
        )
    (date, truck), body = max(picture.rounds.items())
    table = _table(("at", ""), ("stop", ""), ("fill %", "right"), ("km", "right"), ("why", ""))
    for stop in body["stops"]:
        emptied = stop["action"] == "empty"
        table.add_row(
            _local(stop["eta_utc"], zone),
            stop["id"],
            _number(stop["fill_pct"]) if emptied else "",
            _number(stop["leg_km"], 1),
            str(stop["reason"]).replace("_", " "),
            style="" if emptied else "dim",
        )
    summary = picture.summaries.get(date, {"deferred": (), "skipped": ()})
    left_out = [
        f"{it['container']} ({it['reason'].replace('_', ' ')})"
        for it in (*summary["deferred"], *summary["skipped"])
        if it["reason"] != "too_empty"
    ]
    words = Text("not on it: " + ", ".join(left_out) if left_out else "", "yellow")
    totals = body["totals"]
    title = (
        f"round of {date}, {truck}: {totals['containers']} containers, {totals['km']:.1f} km,"
        f" {totals['hours']:.1f} h ({body['distance_source']})"
    )
    return Panel(Group(table, words), title=title, border_style="dim")


def _number(value: Any, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _news(picture: Picture, zone: tzinfo | None) -> Panel:
    lines = [Text(f"{_local(utc, zone)}  {words}") for utc, words in reversed(picture.news)]
    return Panel(Group(*lines[:40]), title="what happens", border_style="dim")


def _footer(picture: Picture, figures: Figures) -> Text:
    accepted, rejected = gateway_counts(picture)
    words = ", ".join(f"{name} {count}" for name, count in sorted(rejected.items())) or "none"
    return Text.assemble(
        f" boards: {figures.micropython_devices} on MicroPython, {figures.cpython_devices} on"
        f" CPython   uplinks sent {figures.sent}, accepted {accepted}"
        f"   messages {sum(picture.messages_by_kind.values())}\n",
        (f" rejected: {words}", "dim"),
    )


def gateway_counts(picture: Picture) -> tuple[int, Counter[str]]:
    """Uplinks accepted and datagrams rejected by reason, as the gateways' last states say."""
    accepted = 0
    rejected: Counter[str] = Counter()
    for body in picture.gateways.values():
        accepted += body["uplinks_accepted"]
        rejected.update(body["rejected"])
    return accepted, rejected
