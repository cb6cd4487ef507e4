"""Steps the street against real time, draws what is seen of it, and adds it up at the end.

The one place in the simulator that reads the real clock: it paces the simulated one.
"""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.live import Live

from stoep_hardware.blantyre import TIMEZONE
from stoep_hardware.demo.picture import Picture
from stoep_hardware.demo.view import Figures, draw, gateway_counts
from stoep_hardware.demo.watcher import Watcher
from stoep_hardware.scenario import Street
from stoep_hardware.street_files import SITE

_DRAWS_PER_S = 5
_DRAW_S = 1 / _DRAWS_PER_S
_STEP_MAX_MS = 60_000
_LAST_MESSAGES_S = 10.0
_POLL_S = 0.02


class Show:
    """One run of the demo over a street that is built and a watcher that listens."""

    def __init__(self, street: Street, watcher: Watcher, *, speed: float) -> None:
        """Pace the street at ``speed`` simulated seconds per second, or as fast as it can."""
        self._street = street
        self._watcher = watcher
        self._speed = speed
        self._console = Console()
        self._zone = ZoneInfo(TIMEZONE)
        self._planned: set[tuple[str, str]] = set()
        self._started_s = time.monotonic()
        self._elapsed_s = 0.0
        self._simulated_s = 0.0

    def run(self, seconds: float | None) -> None:
        """Run for so many seconds, or until Ctrl-C."""
        self._started_s = time.monotonic()
        next_draw_s = 0.0
        with self._screen() as live, contextlib.suppress(KeyboardInterrupt):
            while seconds is None or self._elapsed_s < seconds:
                self._keep_pace()
                self._elapsed_s = time.monotonic() - self._started_s
                self._simulated_s = self._street.now_ms / 1000
                if self._elapsed_s >= next_draw_s:
                    next_draw_s = self._elapsed_s + _DRAW_S
                    self._drive_new_rounds()
                    if live is not None:
                        live.update(self._drawing(), refresh=True)

    def _keep_pace(self) -> None:
        due_ms = int((time.monotonic() - self._started_s) * self._speed * 1000)
        behind_ms = due_ms - self._street.now_ms
        if behind_ms > 0:
            self._street.step(min(behind_ms, _STEP_MAX_MS))
        else:
            time.sleep(_POLL_S)

    @contextlib.contextmanager
    def _screen(self) -> Iterator[Live | None]:
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            yield None
            return
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            yield live

    def _drive_new_rounds(self) -> None:
        """Let the truck do what the gateway proposed: empty each container when it gets there."""
        with self._watcher.lock:
            rounds = dict(self._watcher.picture.rounds)
        for key, body in rounds.items():
            if key in self._planned:
                continue
            self._planned.add(key)
            for stop in body["stops"]:
                if stop["action"] == "empty":
                    eta = datetime.fromisoformat(stop["eta_utc"]).timestamp() * 1000
                    self._street.collect(stop["id"], round(eta) - self._street.plan.utc_start_ms)

    def _drawing(self) -> Any:
        with self._watcher.lock:
            return draw(self._watcher.picture, self._figures(), self._console.height)

    def _figures(self) -> Figures:
        street = self._street.summary()
        now_s = self._street.plan.utc_start_ms / 1000 + self._simulated_s
        micropython = int(street["micropython_devices"])
        return Figures(
            site=SITE,
            now=datetime.fromtimestamp(now_s, UTC).astimezone(self._zone),
            speedup=self._simulated_s / self._elapsed_s if self._elapsed_s else 0.0,
            elapsed_s=self._elapsed_s,
            micropython_devices=micropython,
            cpython_devices=int(street["containers"] + street["bays"]) - micropython,
            sent=int(street["sent"]),
        )

    def finish(self) -> dict[str, Any]:
        """End the gateway, wait for its last messages, show the picture, return the summary.

        Everything said of joins, uplinks and rounds comes from MQTT messages; only what boards
        sent, and on which runtime they run, comes from the simulator.
        """
        street = self._street.summary()
        exit_code = self._street.stop_gateway()
        self._wait_for_last_messages()
        with self._watcher.lock:
            summary = _summary(self._watcher.picture, street, exit_code)
            if self._console.is_terminal:
                self._console.print(
                    draw(self._watcher.picture, self._figures(), self._console.height),
                    height=self._console.height - 2,
                )
        summary["elapsed_s"] = round(self._elapsed_s, 2)
        summary["speedup"] = round(self._simulated_s / self._elapsed_s, 1)
        self._console.print(_sentence(summary), highlight=False, soft_wrap=True)
        return summary

    def _wait_for_last_messages(self) -> None:
        """The gateway's last words say how many uplinks it accepted; all of them have to come."""
        deadline_s = time.monotonic() + _LAST_MESSAGES_S
        while time.monotonic() < deadline_s:
            with self._watcher.lock:
                accepted, _ = gateway_counts(self._watcher.picture)
                if 0 < accepted <= len(self._watcher.picture.uplinks):
                    return
            time.sleep(_POLL_S)


def _summary(picture: Picture, street: dict[str, Any], exit_code: int) -> dict[str, Any]:
    accepted, rejected = gateway_counts(picture)
    joined = list(picture.joined.values())
    return {
        "containers_joined": sum(asset.startswith("container/") for asset in joined),
        "bays_joined": sum(asset.startswith("bay/") for asset in joined),
        "micropython_devices": street["micropython_devices"],
        "sent": street["sent"],
        "accepted": accepted,
        "published": len(picture.uplinks),
        "rounds": len(picture.rounds),
        "messages": dict(sorted(picture.messages_by_kind.items())),
        "rejected": dict(sorted(rejected.items())),
        "duplicates": picture.duplicates,
        "simulated_s": round(street["simulated_s"], 1),
        "gateway_exit_code": exit_code,
    }


def _sentence(summary: dict[str, Any]) -> str:
    return (
        f"{summary['containers_joined']} containers and {summary['bays_joined']} bays joined"
        f" ({summary['micropython_devices']} on MicroPython); {summary['sent']} uplinks sent,"
        f" {summary['accepted']} accepted, {summary['published']} published;"
        f" {summary['rounds']} round(s) planned; {summary['simulated_s'] / 3600:.1f} h in"
        f" {summary['elapsed_s']:.0f} s, {summary['speedup']:,.0f} times real time"
    )
