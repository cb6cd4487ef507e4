"""The firmware's whole program against a network that is none of ours, over air that loses frames.

The network's end is `tests/oracles/lora_packet_network.js`; pamoja opens every frame a second time.
MAC commands are octets written down from the specification (LoRaWAN 1.0.3, 5). What the device
has to have on the air next (counter, answers, acknowledgement, channel, data rate, power) is
known from what it has heard, and every frame is held against it, also those that the air loses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from dual_air import Air
from dual_device import APP_KEY, DEV_EUI, JOIN_EUI
from dual_wakes import Device
from lora_packet import LoraPacket
from pamoja import _native as pamoja

__all__ = ["EU868", "US915", "Command", "Life", "Plan", "hz"]

LINK_CHECK_REQ, DEVICE_TIME_REQ = 0x02, 0x0D
# Octets behind the CID of what a device sends (1.0.3, 5, table 4).
UPLINK_OCTETS = {2: 0, 3: 1, 4: 0, 5: 1, 6: 2, 7: 1, 8: 0, 9: 0, 0x0A: 1, 0x0D: 0}
GPS_S = 1_300_000_000  # what the network's clock says when the device's begins
ANTENNA_DBI = 2


def hz(freq_hz: int) -> bytes:
    """Return a frequency as MAC commands carry it: units of 100 Hz, 24 bits, little-endian."""
    return (freq_hz // 100).to_bytes(3, "little")


@dataclass
class Plan:
    """How a device of a region begins, by the Regional Parameters."""

    name: str
    rates: dict[tuple[int, int], int]  # (SF, Hz of bandwidth) -> uplink data rate
    most: tuple[int, ...]  # octets of FOpts and payload at a data rate
    join: dict[str, Any]
    channels: dict[int, int]  # in use after the join: number -> Hz
    join_hz: frozenset[int]
    airtime_share: dict[tuple[int, int], float]  # (lowest, highest Hz) -> most of an hour
    moved_rx2: tuple[int, int]  # Hz and data rate where RX2 may be, too


EU868 = Plan(
    "EU868",
    {(12, 125000): 0, (11, 125000): 1, (10, 125000): 2, (9, 125000): 3, (8, 125000): 4}
    | {(7, 125000): 5, (7, 250000): 6},
    (51, 51, 51, 115, 242, 242, 242),
    {
        "rx1_dr_offset": 1,
        "rx2_dr": 3,
        "rx_delay_s": 5,
        "cf_list": "184f84e85684b85e84886684586e8400",  # 867.1 to 867.9 MHz
    },
    dict(
        enumerate(
            [868100000, 868300000, 868500000, 867100000, 867300000, 867500000, 867700000, 867900000]
        )
    ),
    frozenset((868100000, 868300000, 868500000)),
    {(865000000, 868000000 - 1): 0.01, (868000000, 868600000): 0.01},
    (869700000, 2),
)
US915 = Plan(
    "US915",
    {(10, 125000): 0, (9, 125000): 1, (8, 125000): 2, (7, 125000): 3, (8, 500000): 4},
    (11, 53, 125, 242, 242),
    # Masks: channels 8 to 15 and 65, the second sub-band.
    {
        "rx1_dr_offset": 1,
        "rx2_dr": 8,
        "rx_delay_s": 1,
        "cf_list": "00ff" + "0000" * 3 + "0200" + "00" * 5 + "01",
    },
    {n: 902300000 + 200000 * n for n in range(8, 16)} | {65: 904600000},
    frozenset(902300000 + 200000 * n for n in range(64))
    | frozenset(903000000 + 1600000 * n for n in range(8)),
    {},
    (923900000, 10),
)


@dataclass
class Command:
    """MAC commands of one downlink, and what a device that obeys the specification does on them.

    `answers` are (octets, sticky) in order, a dot in the hex standing for any half octet; `obeyed`
    changes the device as it ought to be, `listens` is what the network then knows of its windows.
    """

    octets: bytes
    answers: tuple[tuple[str, bool], ...] = ()
    obeyed: Callable[[Expected], None] = lambda expected: None
    listens: dict[str, Any] = field(default_factory=dict)
    on_port_0: bool = False


@dataclass
class Expected:
    """The device as what it has heard ought to have made it."""

    plan: Plan
    channels: dict[int, int]
    dr: int | None = None  # None: not laid down yet
    eirp_dbm: int | None = None
    nb_trans: int = 1
    duty_exponent: int = 0  # MaxDCycle: 1 / 2^n of the time
    answers: list[tuple[str, bool]] = field(default_factory=list)  # that are due
    acks: bool = False


class Life(Device):
    """A device, wake by wake, and the network; `commands` are given one after the other."""

    def __init__(
        self,
        network: LoraPacket,
        plan: Plan,
        seed: int,
        *,
        f_cnt_down: int = 0,
        adr: bool = True,
        **config: Any,
    ) -> None:
        super().__init__(region=plan.name, adr=adr, **config)
        self.plan = plan
        self.lora_packet = network
        self.dice = Random(seed)
        self.board.random = self.dice.randrange
        self.loss_up = self.loss_down = 0.0
        self.snr_db = 5
        self.joins = self.lost = self.repeated = 0
        self.replays: list[bytes] = []  # old downlinks that somebody sends again, in RX1
        self.frames: list[dict[str, Any]] = []  # every data frame of the device, lost or not
        self.downlinks = 0  # that the device has heard
        self.sent_ms: list[tuple[int, int, int]] = []  # (ms, Hz, ms of airtime)
        self.commands: list[Command] = []
        self.obeyed = 0
        self.says: list[dict[str, Any]] = []  # application's downlinks to come
        self.times_told = self.links_told = 0
        self.confirmed = 0  # confirmed downlinks that the network has had acknowledged
        self.expected = Expected(plan, dict(plan.channels))
        self._current: Command | None = None  # asked for, its answer not heard yet
        self._awaited: list[tuple[str, bool]] = []
        self._settled: Command | None = None  # the last that moved the windows, for both ends
        self._told: Command | None = None  # what the device has heard last
        self._stale = False  # the network does not know yet where the device listens
        self._said: dict[str, Any] | None = None  # the last downlink; None for a join-accept
        self._wants_ack = False  # the network's, of its last downlink
        self._last: dict[str, Any] | None = None
        self._last_octets = b""
        self._repeats = 0
        self._power_lost = False
        self._silent_until_ms = 0
        self.f_cnt_down = f_cnt_down
        self.said: list[bytes] = []  # every downlink, lost or not
        self.last_heard = 0  # number of the frame that was answered last
        self.f_cnt_in_the_dark = 0  # of a device that nobody hears
        self._dark = False
        self.radio = Air(self.board.clock, self.uplink, self.received)
        network(
            "open",
            region=plan.name,
            app_key=APP_KEY.hex(),
            dev_eui=DEV_EUI.hex(),
            join_eui=JOIN_EUI.hex(),
            net_id="000013",
            f_cnt_down=f_cnt_down,
            **plan.join,
        )

    def run_wakes(self, count: int) -> None:
        """Let the device wake that many times, at its own times."""
        for _ in range(count):
            self.wake()
            for problem in self.board.problems:  # an assertion of these lines, too
                raise problem
            self.sleep()

    def run_until_obeyed(self, most: int = 400) -> None:
        """Let it wake until the network has the answers to all commands."""
        for _ in range(most):
            if not (self.commands or self._current):
                return
            self.run_wakes(1)
        raise AssertionError(f"no answer to {self._current}")

    def lose_power(self) -> None:
        super().lose_power()
        self.board.random = self.dice.randrange
        self.radio = Air(self.board.clock, self.uplink, self.received)
        self._power_lost = True
        self._silent_until_ms = 0

    def be_deaf(self, dark: bool) -> None:
        """Let the network hear nothing at all, or hear again."""
        self._dark = dark
        self.f_cnt_in_the_dark = self.frames[-1]["f_cnt"]

    # On the air.

    def uplink(
        self,
        now_ms: int,
        airtime_ms: int,
        freq_hz: int,
        sf: int,
        bw_hz: int,
        power_dbm: int,
        octets: bytes,
    ) -> Any:
        """Take one transmission; return what is sent back, None if nothing or if that is lost."""
        assert self._stale or not self.radio.missed(), "it has not heard what was on the air"
        assert now_ms >= self._silent_until_ms
        self._silent_until_ms = now_ms + airtime_ms * (2**self.expected.duty_exponent - 1)
        self.sent_ms.append((now_ms, freq_hz, airtime_ms))
        if self._dark:
            assert octets[0] >> 5 != 0, "a join-request"
            f_cnt = int.from_bytes(octets[6:8], "little")
            assert f_cnt > self.f_cnt_in_the_dark
            self.f_cnt_in_the_dark = f_cnt
            return None
        lost = self.dice.random() < self.loss_up
        place = {"freq_hz": freq_hz, "sf": sf, "bw_hz": bw_hz}
        self.lost += lost
        heard = self.lora_packet("hear", phy_payload=octets.hex(), lost=lost, **place)
        if heard["kind"] == "join":
            return self._joins(heard, freq_hz, lost, octets)
        assert heard["kind"] == "data", heard
        heard |= place | {"power_dbm": power_dbm, "ms": now_ms, "lost": lost}
        if octets == self._last_octets:
            self._repeats += 1
            self.repeated += 1
            heard["asked"] = []
            assert self._repeats < max(self.expected.nb_trans, 8 if heard["confirmed"] else 1)
        else:
            self._checks(heard, octets)
            self._repeats = 0
        self._last, self._last_octets = heard, octets
        if self.replays:
            self._said = {"replay": True}
            return tuple(self._windows(heard)[0]), self.replays.pop(0), self.snr_db
        return None if lost else self._answers(heard)

    def _joins(self, heard: dict[str, Any], freq_hz: int, lost: bool, octets: bytes) -> Any:
        assert heard["genuine"]
        assert heard["fresh"]
        assert freq_hz in self.plan.join_hz
        request = pamoja.lorawan_parse_join_request(octets, APP_KEY)
        assert (request.dev_eui, request.app_eui) == (DEV_EUI, JOIN_EUI)
        assert request.dev_nonce == heard["dev_nonce"]
        self.joins += 1
        self._last, self._last_octets = None, b""
        if lost or self.dice.random() < self.loss_down:
            return None
        self._said = None
        self._stale = False
        window = heard["windows"][self.dice.random() < 0.3]
        return tuple(window), bytes.fromhex(heard["phy_payload"]), self.snr_db

    def received(self) -> None:
        """Note that the device has received a downlink."""
        self.downlinks += 1
        say = self._said
        expected = self.expected
        if say is not None and "replay" in say:
            return
        if say is None:
            self.expected = Expected(self.plan, dict(self.plan.channels))
            return
        self.last_heard = len(self.frames) - 1
        expected.answers = []
        expected.acks = say["confirmed"]
        command = say["command"]
        if command is not None:
            expected.answers = list(command.answers)
            command.obeyed(expected)
            self._told = command

    # What the device has to have sent.

    def _checks(self, frame: dict[str, Any], octets: bytes) -> None:
        """Hold a new frame against what has gone before, and against pamoja."""
        expected = self.expected
        last, lost_power = self._last, self._power_lost
        self._power_lost = False
        if last is not None:
            least = last["f_cnt"] + 1
            assert frame["f_cnt"] == least or (lost_power and frame["f_cnt"] >= least)
        self.frames.append(frame)
        assert frame["direction"] == "up"
        assert frame["adr"] == self.config["adr"]
        assert frame["ack"] == (expected.acks and not lost_power)
        expected.acks = False
        dr = self.plan.rates[frame["sf"], frame["bw_hz"]]
        room = min(15, self.plan.most[dr] - len(frame["payload"]) // 2)
        frame["asked"] = self._checks_answers(bytes.fromhex(frame["f_opts"]), room, lost_power)
        assert expected.dr in (None, dr)
        assert frame["freq_hz"] in expected.channels.values(), (frame, expected.channels)
        if expected.eirp_dbm is not None:
            assert frame["power_dbm"] == expected.eirp_dbm - ANTENNA_DBI
        keys = (bytes.fromhex(frame["nwk_s_key"]), bytes.fromhex(frame["app_s_key"]))
        session = pamoja.LorawanSession(int(frame["dev_addr"], 16), *keys)
        theirs = session.decode(octets, frame["f_cnt"])
        for name in ("confirmed", "adr", "adr_ack_req", "ack"):
            assert getattr(theirs, name) == frame[name]
        assert theirs.fcnt == frame["f_cnt"] & 0xFFFF
        assert theirs.fport == frame["f_port"]
        assert theirs.fopts.hex() == frame["f_opts"]
        assert theirs.payload.hex() == frame["payload"]
        names = [c.cid for c in pamoja.lorawan_mac_parse("Uplink", theirs.fopts)]
        assert len(names) == len(_split(theirs.fopts))

    def _checks_answers(self, f_opts: bytes, room: int, lost_power: bool) -> list[int]:
        """Every answer that is due and fits has to be there, in order; return what is asked.

        A power loss may undo those that are given once: the network asks again.
        """
        answers, asked = _answers_in(f_opts)
        due = self.expected.answers
        self.expected.answers = []
        left = room - len(f_opts)
        for answer, sticky in due:
            there = bool(answers) and _matches(answers[0], answer)
            if there:
                del answers[0]
            if lost_power and not there and not sticky:
                continue
            assert there or len(answer) // 2 > left, (f_opts, due)
            if sticky or not there:
                self.expected.answers.append((answer, sticky))
        assert answers == [], (f_opts, due)
        return asked

    # What the network does on it.

    def _answers(self, frame: dict[str, Any]) -> Any:
        """Return what the network says in answer, None for nothing or if the air loses it."""
        if frame["ack"] and not frame["repeated"]:
            assert self._wants_ack
            self._wants_ack = False
            self.confirmed += 1
        current = self._current
        if current is not None and not frame["repeated"]:
            answers, _ = _answers_in(bytes.fromhex(frame["f_opts"]))
            for answer in answers:
                found = [one for one in self._awaited if _matches(answer, one[0])]
                if found:
                    self._awaited.remove(found[0])
            if current.listens and not any(sticky for _, sticky in self._awaited):
                self.lora_packet("listens", **current.listens)
                self._settled = current
            if not self._awaited:
                self._current = None
                self.obeyed += 1
        say = self._next(frame)
        if say is None:
            return None
        command = say["command"]
        fields = {
            "confirmed": say["confirmed"],
            "ack": frame["confirmed"],
            "f_pending": False,
            "f_opts": "",
            "f_port": None,
            "payload": "",
        } | say["fields"]
        said = self.lora_packet("say", **fields)
        self.f_cnt_down = said["f_cnt"]
        self.said.append(bytes.fromhex(said["phy_payload"]))
        if say["confirmed"]:
            self._wants_ack = True
        if command is not None:
            self._current = command
            self._awaited = list(command.answers)
        if self.dice.random() < self.loss_down:
            return None
        self._said = say
        current = self._current
        self._stale = (
            current is not None
            and bool(current.listens)
            and current is self._told is not self._settled
        )
        window = self._windows(frame)[self.dice.random() < 0.3]
        return tuple(window), bytes.fromhex(said["phy_payload"]), self.snr_db

    def _windows(self, frame: dict[str, Any]) -> Any:
        """Ask the network again: an answer may just have told it of other windows."""
        return self.lora_packet(
            "windows", freq_hz=frame["freq_hz"], sf=frame["sf"], bw_hz=frame["bw_hz"]
        )["windows"]

    def _next(self, frame: dict[str, Any]) -> dict[str, Any] | None:
        fields: dict[str, Any] = {}
        told = b""
        for cid in frame["asked"]:
            if cid == LINK_CHECK_REQ:
                told += bytes((LINK_CHECK_REQ, 20, 1))
                self.links_told += 1
            else:
                end_ms = frame["ms"] + 1
                told += bytes((DEVICE_TIME_REQ,)) + (GPS_S + end_ms // 1000).to_bytes(4, "little")
                told += bytes((end_ms % 1000 * 256 // 1000,))
                self.times_told += 1
        command = self._current
        if command is None and self.commands and not told:
            command = self.commands.pop(0)
        if told and command is not None:
            command = None  # in the next downlink
        if command is not None and command.on_port_0:
            fields = {"f_port": 0, "payload": command.octets.hex()}
        elif command is not None or told:
            fields = {"f_opts": (command.octets if command else told).hex()}
        confirmed = False
        if self.says and "f_port" not in fields:
            fields |= self.says.pop(0)
            confirmed = fields.pop("confirmed", False)
        if not fields and not frame["confirmed"]:
            return None
        return {"command": command, "confirmed": confirmed, "fields": fields}


def _answers_in(f_opts: bytes) -> tuple[list[str], list[int]]:
    """Part answers (as hex) from the CIDs of what the device asks for by itself."""
    commands = _split(f_opts)
    asked = [c[0] for c in commands if c[0] in (LINK_CHECK_REQ, DEVICE_TIME_REQ)]
    return [c.hex() for c in commands if c[0] not in asked], asked


def _split(f_opts: bytes) -> list[bytes]:
    """Part a device's MAC commands; every one has to be whole."""
    commands = []
    while f_opts:
        end = 1 + UPLINK_OCTETS[f_opts[0]]
        assert end <= len(f_opts)
        commands.append(f_opts[:end])
        f_opts = f_opts[end:]
    return commands


def _matches(octets: str, pattern: str) -> bool:
    """Compare hex with a pattern in which a dot stands for any half octet."""
    return len(octets) == len(pattern) and all(
        wanted in (".", have) for have, wanted in zip(octets, pattern, strict=True)
    )
