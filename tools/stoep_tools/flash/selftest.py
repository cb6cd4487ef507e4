"""The self-test: checks on the board over its REPL, by the firmware's own drivers, as a table.

Each check is on its own: one that hangs is ended by a reset and said to have failed, and the
others go on. What a check says never holds a key.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from stoep_hardware.board_data import BoardData

from .errors import FlashError
from .repl import BoardError, Repl, helper

JOIN_TRIES = 3
_JOIN_S = 180.0
_CHECK_S = 30.0

_CELL_MV = (2_600, 4_500)  # LiSOCl2 that is loaded, to a charger's output
_WIRES = {
    "hcsr04": "its trigger at the board's tx pin, its echo at rx",
    "jsnsr04t": "its trigger at the board's tx pin, its echo at rx",
    "vl53l1x": "its SDA and SCL",
}
_FRAME = re.compile(rb"\xff...", re.DOTALL).findall  # an A02YYUW's: distance, sum
_VL53L1X = 0x29
_FIELD_NT = (15_000, 250_000)  # the earth's is 22 to 67 uT; iron nearby bends it
_LEAST_FREE = 64 * 1024
_LEAST_HEAP = 110_000  # what a wake may take, see docs/developer.md

_LIS3MDL = 0x3D
_DISPLAY = 0x3C
# Where a bay's sensors are, but for the LIS3MDL, which shares 0x1E and says what it is.
_MAGNETOMETERS = {
    0x1E: "hmc5883l",
    0x0D: "qmc5883l",
    0x2C: "qmc5883p",
    0x30: "mmc5983ma",
    **dict.fromkeys(range(0x20, 0x24), "rm3100"),
}
_GY271 = ("hmc5883l", "qmc5883l", "qmc5883p")  # what is sold by that name

# What the firmware's drivers raise: stoep_firmware.radio, and DS.SX1261-2 13.6 from 80 on.
_RADIO = {
    64: ("BUSY never falls", "check the BUSY pin, and that the board is the one you chose"),
    65: ("no chip answers", "check NSS, SCK, MISO, MOSI and RESET, and the chosen board"),
    66: ("DIO1 does not tell of the end", "check the DIO1 pin"),
    67: ("the chip is made for another band", "take a board for this band"),
    80: ("RC64k calibration failed", "the chip is damaged: replace the board"),
    81: ("RC13M calibration failed", "the chip is damaged: replace the board"),
    82: ("PLL calibration failed", "the chip is damaged: replace the board"),
    83: ("ADC calibration failed", "the chip is damaged: replace the board"),
    84: ("image calibration failed", "the chip is damaged: replace the board"),
    85: (
        "the oscillator does not start",
        "tcxo_mv of the board file has to be what this board has: 0 for a crystal",
    ),
    86: ("the PLL does not lock", "the chip is damaged: replace the board"),
    88: ("the power amplifier does not ramp", "check the supply; replace the board"),
}


@dataclass(frozen=True, slots=True)
class Check:
    """One check: `passed` is None for what the bench cannot know, with how to know it as hint."""

    name: str
    passed: bool | None
    value: str
    expected: str
    hint: str = ""


def run(
    repl: Repl,
    board: BoardData,
    kind: str,
    *,
    files: Mapping[str, bytes] | None = None,
    join: bool = True,
    say: Callable[[Check], object] = lambda _check: None,
) -> list[Check]:
    """Test a board that is held, of that kind; `say` is told of each check as it ends.

    `files`: what was flashed, by path; its hashes are compared. `join`: send join-requests, which
    use DevNonces as any join does; what comes of it is the session with which the board starts.
    """
    checks = []
    for check in _Test(repl, board, kind).checks(files or {}, join):
        checks.append(check)
        say(check)
    return checks


def passed(checks: list[Check]) -> bool:
    """Tell whether nothing failed."""
    return all(check.passed is not False for check in checks)


def table(checks: list[Check]) -> str:
    """Return the checks as a table, and below it what to do about those that failed."""
    rows = [(MARKS[check.passed], check.name, check.value, check.expected) for check in checks]
    rows.insert(0, ("", "check", "found", "expected"))
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    lines = ["  ".join([*(row[at].ljust(widths[at]) for at in range(3)), row[3]]) for row in rows]
    hints = [f"{check.name}: {check.hint}" for check in checks if check.hint and not check.passed]
    return "\n".join([line.rstrip() for line in lines] + [""] * bool(hints) + hints) + "\n"


def write_report(path: Path, checks: list[Check], about: Mapping[str, str]) -> tuple[Path, Path]:
    """Write `path`.json and `path`.txt; `about` says whose report it is: never a key."""
    document = {
        **about,
        "passed": passed(checks),
        "checks": [asdict(check) for check in checks],
    }
    head = "".join(f"{name}: {value}\n" for name, value in about.items())
    verdict = "PASSED" if passed(checks) else "FAILED"
    texts = (
        (path.with_name(path.name + ".json"), json.dumps(document, indent=2) + "\n"),
        (path.with_name(path.name + ".txt"), f"{head}self-test: {verdict}\n\n{table(checks)}"),
    )
    for target, text in texts:
        beside = target.with_name(target.name + ".new")
        beside.write_text(text, "utf-8")
        os.replace(beside, target)  # noqa: PTH105 - the same on Windows
    return texts[0][0], texts[1][0]


MARKS = {True: "ok", False: "FAILED", None: "--"}


class _Test:
    def __init__(self, repl: Repl, board: BoardData, kind: str) -> None:
        self._repl = repl
        self._board = board
        self._kind = kind
        self._made = False

    def checks(self, files: Mapping[str, bytes], join: bool) -> Iterator[Check]:
        if files:
            yield self._files(files)
        yield self._one("free flash", self._flash)
        yield self._one("free heap", self._heap)
        yield self._one("battery", self._battery)
        if self._kind == "bay":
            yield self._one("sensor's bus", self._bus)
        yield self._one("sensor", self._bay if self._kind == "bay" else self._bin)
        if self._kind == "bin":
            yield from self._fitted()
        yield self._one("radio", self._radio)
        if join:
            yield self._one("join", self._join)
        yield self._sleep()

    def _one(self, name: str, look: Callable[[str], Check]) -> Check:
        """Run one check, whatever becomes of it."""
        try:
            return look(name)
        except BoardError as problem:
            return Check(name, False, problem.what, "no exception", _PROGRAM)
        except FlashError as problem:
            self._made = False
            try:
                self._repl.hold()
            except FlashError:
                raise problem from None
            return Check(name, False, "hangs", "an answer", _HANGS.get(name, _PROGRAM))

    def _ask(self, expression: str, timeout_s: float = _CHECK_S) -> Any:
        if not self._made:
            self._repl.run(helper("check") + "\n_t_board = _t_make()\n")
            self._made = True
        return self._repl.value(expression, timeout_s)

    def _drive(self, check: str, timeout_s: float = _CHECK_S) -> Any:
        return self._ask(f"_t_drive(_t_board, {check})", timeout_s)

    # ---- what is looked at ----------------------------------------------------------------------

    def _files(self, files: Mapping[str, bytes]) -> Check:
        found = self._repl.hashes(["/" + path for path in files])
        wrong = sorted(
            path
            for path, data in files.items()
            if found.get("/" + path) != sha256(data).hexdigest()
        )
        if not wrong:
            return Check("files", True, f"{len(files)} as flashed", "as flashed")
        few = ", ".join(wrong[:3]) + (" and more" if len(wrong) > 3 else "")
        return Check("files", False, f"{few} differ", "as flashed", "run stoep flash update")

    def _flash(self, name: str) -> Check:
        free, size = self._repl.free()
        return Check(
            name,
            free >= _LEAST_FREE,
            f"{free // 1024} of {size // 1024} KiB",
            f"at least {_LEAST_FREE // 1024} KiB",
            "remove what is not ours, or flash the board anew",
        )

    def _heap(self, name: str) -> Check:
        free = self._repl.value("(__import__('gc').collect(), __import__('gc').mem_free())[1]")
        return Check(
            name,
            free >= _LEAST_HEAP,
            f"{free // 1000} kB",
            f"at least {_LEAST_HEAP // 1000} kB",
            "the MicroPython image leaves too little memory: take the board's own",
        )

    def _battery(self, name: str) -> Check:
        low, high = _CELL_MV
        expected = f"{low} to {high} mV"
        mv = self._ask("_t_board.battery_mv()")
        if mv is None:
            return Check(name, None, "not measured", expected, "this board has no divider for it")
        hint = "check the cell and its plug; on USB alone some boards show nothing sensible"
        return Check(name, low <= mv <= high, f"{mv} mV", expected, hint)

    def _magnetometer(self) -> str:
        """Return the sensor that the board's config.json names."""
        return str(self._ask("_t_board.config.get('sensor', 'lis3mdl')"))

    def _bus(self, name: str) -> Check:
        sensor = self._magnetometer()
        found = self._ask("_t_scan(_t_board, 'i2c')")
        chips = {
            address: "lis3mdl" if octet == _LIS3MDL else _MAGNETOMETERS.get(address)
            for address, octet in sorted(found.items())
        }
        wanted = _GY271 if sensor == "gy271" else (sensor,)
        for address, chip in sorted(chips.items(), key=lambda it: it[1] not in wanted):
            if chip is not None:
                said = f"{chip.upper()} at 0x{address:02x}"
                hint = f'this is another sensor: "sensor" in config.json has to be "{chip}"'
                return Check(name, chip in wanted, said, sensor.upper(), hint)
        said = ", ".join(f"0x{address:02x}" for address in chips) or "nothing"
        hint = "check SDA, SCL, 3.3 V and ground of the sensor"
        return Check(name, False, said, sensor.upper(), hint)

    def _bay(self, name: str) -> Check:
        low, high = _FIELD_NT
        expected = f"{low // 1000} to {high // 1000} uT"
        got = self._drive("_t_bay(_t_board)")
        if got is None:
            hint = "check SDA, SCL, 3.3 V and ground of the sensor"
            said = f"no {self._magnetometer().upper()} answers"
            return Check(name, False, said, expected, hint)
        fields, saturated, line, poll_s = got
        if not fields:
            return Check(name, False, "it measures nothing", expected, "replace the sensor")
        if saturated:
            hint = "a magnet is near: take it away, or replace the sensor"
            return Check(name, False, "saturated", expected, hint)
        x, y, z = fields[-1]
        nt = round((x * x + y * y + z * z) ** 0.5)
        said = f"{nt / 1000:.0f} uT"
        if not low <= nt <= high:
            hint = "take iron and magnets away and test again, or replace the sensor"
            return Check(name, False, said, expected, hint)
        if line and line != [True, False]:
            hint = "connect INT of the sensor to the board's sensor_int pin"
            return Check(name, False, "INT does not follow", "INT rises and falls", hint)
        if poll_s:
            said += ", not for batteries: it has no threshold of its own"
        return Check(name, True, said + (", INT follows" if line else ""), expected)

    def _bin(self, name: str) -> Check:
        distances, signs, sensor, low, high = self._drive("_t_bin(_t_board)")
        if sensor == "absent":
            return Check(name, None, "absent", "none", "its lid is counted, or it is watched over")
        expected = f"{low} to {high} mm"
        wires = _WIRES.get(sensor, "that its TX is at the board's rx pin")
        other = "" if distances else self._ranger()
        if other and other != sensor:
            said = f"{other.upper()} answers, not {sensor.upper()}"
            hint = f"wire the other, or flash it again with --sensor {other}"
            return Check(name, False, said, expected, hint)
        if not signs:
            hint = f"check the sensor's supply and {wires}"
            return Check(name, False, "silent", expected, hint)
        if not distances:
            hint = (
                f"is it the {sensor.upper()} of config.json? point it at a wall, check its ground"
            )
            return Check(name, False, "no distance", expected, hint)
        middle = sorted(distances)[len(distances) // 2]
        said = f"{middle} mm by {sensor.upper()} (median of {len(distances)})"
        hint = "point it at a wall half a metre away and test again"
        return Check(name, low <= middle <= high, said, expected, hint)

    def _ranger(self) -> str:
        """Return the distance sensor that answers unasked, or at its address; "" for none."""
        heard = self._drive("_t_heard(_t_board)")
        if re.search(rb"R[0-9]{3,4}\r", heard):
            return "maxbotix"
        if any((frame[0] + frame[1] + frame[2]) & 0xFF == frame[3] for frame in _FRAME(heard)):
            return "a02yyuw"
        found = self._ask("_t_scan(_t_board, 'i2c')")
        return "vl53l1x" if _VL53L1X in found else ""

    def _fitted(self) -> Iterator[Check]:
        """Look at what else config.json names; a lid's switch may say either."""
        try:
            found = self._drive("_t_fitted(_t_board)")
        except (BoardError, FlashError) as problem:

            def fails(_name: str, problem: Exception = problem) -> Check:
                raise problem

            yield self._one("body and lid", fails)
            return
        if "motion" in found:
            expected = "800 to 1200 mg"
            hint = "check SDA, SCL, 3.3 V and ground of the accelerometer, and lay the board still"
            pull = found["motion"]
            mg = round(sum(part * part for part in pull or ()) ** 0.5)
            said = f"{mg} mg" if pull else "silent"
            yield Check("motion", 800 <= mg <= 1200, said, expected, hint)
        if "thermometer" in found:
            celsius = found["thermometer"]
            hint = "check SDA, SCL, 3.3 V and ground of the thermometer, and its ADD0 at ground"
            said = "silent" if celsius is None else f"{celsius} C"
            is_so = celsius is not None and -20 <= celsius <= 60
            yield Check("thermometer", is_so, said, "-20 to 60 C", hint)
        if "lid" in found:
            said = "open" if found["lid"] else "shut"
            yield Check("lid", None, said, "as it is", "move the magnet and test again")

    def _radio(self, name: str) -> Check:
        chip = self._board.radio["chip"].upper()
        expected = f"{chip}, calibrated"
        found = self._drive("_t_radio(_t_board)")
        if "code" in found:
            what, hint = _RADIO.get(found["code"], (f"error {found['code']}", "replace the board"))
            return Check(name, False, what, expected, hint)
        if "version" in found:
            return Check(name, True, f"version 0x{found['version']:02x}, calibrated", expected)
        if found.get("mode", 3) != 3:
            return Check(name, False, *_RADIO[85][:1], expected, _RADIO[85][1])
        said = f"errors 0x{found['errors']:04x}" + (", TCXO runs" if "mode" in found else "")
        return Check(name, found["errors"] == 0, said, expected, "replace the board")

    def _join(self, name: str) -> Check:
        expected = "an answer of the network"
        got = self._drive(f"_t_join(_t_board, {JOIN_TRIES})", _JOIN_S)
        result = got["result"]
        if result == "joined" and got["heard"]:
            rssi, snr = got["heard"]
            said = f"joined, accept at {rssi} dBm, SNR {snr} dB, DevNonce {got['dev_nonce'] - 1}"
            return Check(name, True, said, expected)
        if got.get("faults"):
            fault = got["faults"][0]
            what, hint = _RADIO.get(fault, (f"error {fault}", "run the self-test again"))
            return Check(name, False, what, expected, hint)
        if result == "busy":
            hint = f"the band's duty cycle lets it send in {got['wait_s']} s: test again then"
            return Check(name, False, "may not send yet", expected, hint)
        if result == "exhausted":
            return Check(name, False, "no DevNonce is left", expected, "give it new keys")
        if result == "personalised":
            return Check(name, None, "has a session without a join", expected, "for the bench only")
        hint = (
            "is the antenna on, the gateway in reach, and the board registered there? after a new"
            " DevNonce: stoep device forgive-nonce"
        )
        return Check(name, False, f"{got['sent']} requests, no answer", expected, hint)

    def _sleep(self) -> Check:
        deep = self._board.currents_ua["deep"]
        more = 2 if self._kind == "bay" else 0
        return Check(
            "sleep current",
            None,
            "not measured",
            f"about {deep + more} uA",
            "the bench cannot measure it: unplug USB, put a meter for microamperes (or a power"
            " profiler at 3.6 V) into the battery's lead, press RESET, and read after the first"
            " report; above 100 uA a display, a sensor's supply or NSS is awake",
        )


_PROGRAM = "flash the board anew (stoep flash); if it stays, this is a mistake of ours"
_HANGS = {
    "sensor": "unplug the sensor and test again: its bus or supply is short-circuited",
    "sensor's bus": "unplug the sensor and test again: SDA or SCL is short-circuited",
    "radio": "check the radio's pins, and that the board is the one you chose",
}
