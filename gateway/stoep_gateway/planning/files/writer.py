"""Writes the files of each plan of the running gateway, one after the other, off the event loop."""

from __future__ import annotations

import asyncio
import datetime
import logging
import threading

from stoep_gateway.clock import Clock
from stoep_gateway.config import Config
from stoep_gateway.planning.files import folder
from stoep_gateway.planning.plan import Plan

__all__ = ["Writer"]

_log = logging.getLogger(__name__)


class Writer:
    """What cannot be written is logged once, and so is that it can be again; nothing stops for it.

    While it writes, simulated time stands still.
    """

    name = "plan files"

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._plans: dict[str, Plan] = {}
        self._trouble = ""
        self._due = asyncio.Event()
        self._stopped = threading.Event()

    def reconfigure(self, config: Config) -> None:
        """Write to another folder, or none, from the next plan on."""
        self._config = config

    def take(self, *plans: Plan | None) -> None:
        """Write these plans' files soon; of a date only the newest that waits."""
        if self._config.planning.files is not None:
            self._plans |= {it.date: it for it in plans if it is not None}
            if not self._due.is_set():
                self._clock.begin()
                self._due.set()

    async def open(self) -> None:
        """Nothing is held."""

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._due.wait()
            try:
                while self._plans:
                    plan = self._plans.pop(min(self._plans))
                    self._tell(await asyncio.to_thread(self._one, plan, self._config))
            except Exception:  # noqa: BLE001 (the root of this task: no files, but a gateway)
                _log.exception("the files of a plan cannot be made")
            finally:
                self._due.clear()
                self._clock.end()

    async def close(self) -> None:
        """Have a process that makes PDFs give up."""
        self._stopped.set()

    def _one(self, plan: Plan, config: Config) -> str:
        """Write one plan's files; return what is wrong, or ""."""
        from stoep_gateway.planning.files import formats  # noqa: PLC0415 (2 MB, rarely needed)

        target, keep = config.planning.files, config.planning.files_days
        if target is None:
            return ""
        made, trouble = formats.files(plan, config, cancelled=self._stopped.is_set)
        if self._stopped.is_set():
            return ""
        before = datetime.date.fromisoformat(plan.date) - datetime.timedelta(days=keep)
        try:
            folder.write(target, plan.date, made)
            folder.forget(target, before.isoformat())
        except OSError as error:
            return f"{error.filename or target}: {error.strerror}"
        return trouble

    def _tell(self, trouble: str) -> None:
        if trouble and trouble != self._trouble:
            _log.warning("files of rounds: %s", trouble)
        if self._trouble and not trouble:
            _log.info("files of rounds: all are written again")
        self._trouble = trouble
