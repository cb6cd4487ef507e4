"""Who manages devices and sends downlinks over the control socket while the load goes on.

Of each answer it knows what has to be on the disk from then on, and of each command that was cut
off both ends that it may have had.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from load import BAY, CONTAINER, Device, Forwarder
from stoep_gateway.control_client import Client
from stored import Ended, Forgiven, Given, Registered, Waiting

__all__ = ["Answered", "Guest", "SiteOperator"]

_ABSENT = None
_FIRST_GUEST = 1000  # beyond the numbers of the devices in the configuration
_OFTEN = 5


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that said it is done; ``lasting`` facts hold for good, ``facts`` at its moment."""

    answer: dict[str, Any]
    facts: frozenset[Hashable]
    lasting: frozenset[Hashable]


@dataclass(slots=True)
class Guest:
    """A device that only commands know.

    ``may_be`` is what the gateway may hold of it: whether it is enabled, None for nothing. More
    than one when a command was cut off.
    """

    device: Device
    raw: dict[str, Any]
    key: bytes
    may_be: set[bool | None] = field(default_factory=lambda: {_ABSENT})

    @property
    def is_there(self) -> bool:
        """Whether it is registered and enabled for certain."""
        return self.may_be == {True}


class SiteOperator:
    """Gives random commands, one at a time: ``visitors`` come, go and are disabled.

    ``personalised`` devices (ABP, every second one of Class C) come and stay. Only devices in
    ``forgivable`` and visitors have their nonces forgiven.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        forgivable: Iterable[Device],
        chance: random.Random,
        *,
        visitors: int = 3,
        personalised: int = 2,
    ) -> None:
        self.answered: list[Answered] = []
        self.forgiven: Counter[bytes] = Counter()  # how often it was asked to, by DevEUI
        self.visitors = [_visitor(_FIRST_GUEST + n) for n in range(visitors)]
        self.residents = [_resident(_FIRST_GUEST + 500 + n) for n in range(personalised)]
        self._file_devices = list(forwarder.devices)
        self._forgivable = list(forgivable)
        self._chance = chance
        self._client: Client | None = None
        self._serial = 0
        forwarder.devices += [guest.device for guest in self.guests]

    @property
    def guests(self) -> list[Guest]:
        """All devices that come by command."""
        return self.visitors + self.residents

    def connect(self, path: Path) -> None:
        """Open the control socket."""
        self._client = Client(path)

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def register_all(self) -> None:
        """Add what is not there."""
        for guest in self.guests:
            if guest.may_be == {_ABSENT}:
                self._change(guest, "device.add", True, device=guest.raw)

    def step(self) -> None:
        """Give one command. Raises `GatewayAway` when the gateway dies over it."""
        chance = self._chance
        missing = [guest for guest in self.residents if guest.may_be == {_ABSENT}]
        if missing:
            self._change(missing[0], "device.add", True, device=missing[0].raw)
        elif chance.random() < 0.7:
            self.send()
        elif chance.random() < 0.25:
            self._forgive()
        elif chance.random() < 0.1:
            self._flush()
        else:
            self._manage(chance.choice(self.visitors))

    def send(self) -> None:
        """Queue a downlink for any device."""
        chance = self._chance
        there = [guest for guest in self.guests if guest.is_there]
        often = [guest.device for guest in there if guest.raw.get("device_class") != "C"] * _OFTEN
        # Of Class C seldom: RX2 at SF12 keeps the air busy for more than a second.
        device = chance.choice(often + self._file_devices + [guest.device for guest in there])
        self._serial += 1
        f_port, confirmed = chance.randrange(1, 224), chance.random() < 0.5
        payload = self._serial.to_bytes(4, "big") + chance.randbytes(chance.randrange(8))
        expires = {"expires_s": 1} if chance.random() < 0.1 else {}
        answer = self._ask(
            "device.send",
            dev_eui=device.dev_eui.hex(),
            f_port=f_port,
            payload=payload.hex(),
            confirmed=confirmed,
            priority=chance.randrange(2),
            **expires,
        )
        if "error" in answer:
            assert answer["error"] == "refused: queue_full"
            self._note(answer)
            return
        number = answer["downlink_id"]
        waiting = Waiting(number, device.dev_eui, f_port, payload, confirmed)
        self._note(answer, [waiting], [Given(number)])

    def _forgive(self) -> None:
        visitors = [guest.device for guest in self.visitors if guest.is_there]
        if not self._forgivable + visitors:
            return
        device = self._chance.choice(self._forgivable + visitors)
        self.forgiven[device.dev_eui] += 1
        answer = self._ask("device.forgive-nonce", dev_eui=device.dev_eui.hex())
        joins = range(1, (device.app_nonce or 0) + 1)
        self._note(answer, lasting=[Forgiven(device.dev_eui, join) for join in joins])

    def _flush(self) -> None:
        device = self._chance.choice(self._file_devices)
        answer = self._ask("device.flush", dev_eui=device.dev_eui.hex())
        waited = [
            Ended(fact.downlink_id)
            for answered in self.answered
            for fact in answered.facts
            if isinstance(fact, Waiting) and fact.dev_eui == device.dev_eui
        ]
        self._note(answer, lasting=waited)

    def _manage(self, guest: Guest) -> None:
        if guest.may_be == {_ABSENT}:
            self._change(guest, "device.add", True, device=guest.raw)
        elif self._chance.random() < 0.2:
            self._change(guest, "device.remove", _ABSENT, dev_eui=guest.raw["dev_eui"])
        elif guest.may_be == {True}:
            self._change(guest, "device.disable", False, dev_eui=guest.raw["dev_eui"])
        else:
            self._change(guest, "device.enable", True, dev_eui=guest.raw["dev_eui"])

    def _change(self, guest: Guest, command: str, after: bool | None, **members: Any) -> None:
        guest.may_be |= {after}
        answer = self._ask(command, **members)
        assert answer.get("ok"), answer
        self._settle(guest, after)
        now = () if after is _ABSENT else (Registered(guest.device.dev_eui, guest.key, after),)
        self._note(answer, now)

    def find(self, found: set[Hashable]) -> list[str]:
        """Learn what a database holds of the guests; return what contradicts an answer."""
        wrong = []
        for guest in self.guests:
            states = [
                enabled
                for enabled in (False, True)
                if Registered(guest.device.dev_eui, guest.key, enabled) in found
            ]
            state = states[0] if states else _ABSENT
            if state not in guest.may_be:
                wrong.append(f"{guest.raw['dev_eui']} is {state}, said was {guest.may_be}")
            self._settle(guest, state)
        return wrong

    def _settle(self, guest: Guest, state: bool | None) -> None:
        guest.may_be = {state}
        if guest in self.residents:
            if not guest.device.joined:
                _begin(guest)
        elif state is _ABSENT:
            guest.device.leave()

    def _ask(self, command: str, **members: Any) -> dict[str, Any]:
        assert self._client is not None
        return self._client.ask(command, **members)

    def _note(
        self,
        answer: dict[str, Any],
        facts: Iterable[Hashable] = (),
        lasting: Iterable[Hashable] = (),
    ) -> None:
        self.answered.append(Answered(answer, frozenset(facts), frozenset(lasting)))

    @property
    def sends(self) -> dict[int, Waiting]:
        """What is known of each downlink whose command was answered."""
        return {
            fact.downlink_id: fact
            for answered in self.answered
            for fact in answered.facts
            if isinstance(fact, Waiting)
        }


def _visitor(number: int) -> Guest:
    device = Device(number, BAY)
    raw = {"dev_eui": device.dev_eui.hex(), "app_key": device.app_key.hex()}
    return Guest(device, raw, device.app_key)


def _resident(number: int) -> Guest:
    device = Device(number, CONTAINER)
    chance = random.Random(number)
    nwk_s_key, app_s_key = chance.randbytes(16), chance.randbytes(16)
    raw = {
        "dev_eui": device.dev_eui.hex(),
        "dev_addr": f"{0x0100_0000 + number:08x}",
        "nwk_s_key": nwk_s_key.hex(),
        "app_s_key": app_s_key.hex(),
        "device_class": "AC"[number % 2],
    }
    return Guest(device, raw, nwk_s_key)


def _begin(guest: Guest) -> None:
    nwk_s_key, app_s_key = (bytes.fromhex(guest.raw[key]) for key in ("nwk_s_key", "app_s_key"))
    guest.device.personalise(int(guest.raw["dev_addr"], 16), nwk_s_key, app_s_key)
