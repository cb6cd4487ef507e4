"""The end-device's side of the certification protocol on fPort 224 (LoRaWAN TS009, package 6).

Only with `"certification": true` in config.json: `mac.certification = Certification(mac, version)`
has the MAC tell it of every downlink. Whoever drives the MAC asks after each uplink:

- `next_uplink()` for what to SEND before anything else: (f_port, payload, confirmed), or None;
- `interval_ms`, 0 for the application's own, and `frames`: whether the application's frames are
  confirmed, None for its own choice;
- `reset`: the device is to start anew as after power-on; `rejoin`: it is to JOIN.

SwitchClass is for B and C: this device is Class A, and stays. PingSlotInfo and the Beacon commands
belong to Class B. TxCw, an unmodulated carrier on a frequency of the tester's choice, is left out:
it would be on the air outside every duty cycle and dwell time that the MAC keeps, and no driver of
ours can send one.
"""

from stoep_protocol.lorawan.frames import F_PORT_TEST

from stoep_firmware import mac as m

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware.mac import Mac

_PACKAGE = (6, 1)  # identifier, version
# Major, minor, patch, revision: of the link layer, and of the Regional Parameters in regions.py.
_LORAWAN = (1, 0, 4, 0)
_REGIONAL_PARAMETERS = (1, 0, 3, 0)

_PACKAGE_VERSION = const(0x00)
_DUT_RESET = const(0x01)
_DUT_JOIN = const(0x02)
_ADR_BIT_CHANGE = const(0x04)
_REGIONAL_DUTY_CYCLE = const(0x05)
_TX_PERIODICITY = const(0x06)
_TX_FRAMES = const(0x07)
_ECHO_INC_PAYLOAD = const(0x08)
_RX_APP_CNT = const(0x09)
_RX_APP_CNT_RESET = const(0x0A)
_LINK_CHECK = const(0x20)
_DEVICE_TIME = const(0x21)
_DISABLE = const(0x7E)
_DUT_VERSIONS = const(0x7F)

_PERIODS_S = (0, 5, 10, 20, 30, 40, 50, 60, 120, 240, 480)


class Certification:
    """What the test harness has asked for. `firmware` is the device's version, three numbers."""

    def __init__(self, mac: "Mac", firmware: "tuple[int, int, int]") -> None:
        self._mac = mac
        self._firmware = firmware
        self._answer = b""
        self._received = 0
        self._duty_cycle = True
        self.interval_ms = 0
        self.frames: bool | None = None
        self.reset = False
        self.rejoin = False

    def heard(self, f_port: "int | None", payload: bytes, ack: bool) -> None:
        """Take a downlink; one for another port or without one only counts."""
        if f_port or ack:
            self._received = self._received + 1 & 0xFFFF
        if f_port == F_PORT_TEST and payload:
            self._answer = self._obey(payload[0], payload[1:])

    def next_uplink(self) -> "tuple[int, bytes, bool] | None":
        """Return the answer that is due, and forget it; only an echo may be cut to fit."""
        mac = self._mac
        if not self._duty_cycle:
            mac.session.band_until_ms = [0] * len(mac.region.sub_bands)
        answer, self._answer = self._answer, b""
        room = mac.room()
        if len(answer) > room:
            answer = answer[:room] if answer[0] == _ECHO_INC_PAYLOAD else b""
        return (F_PORT_TEST, answer, bool(self.frames)) if answer else None

    def _obey(self, cid: int, body: bytes) -> bytes:
        """Do what a command says; return the answer. An unknown or short one does nothing."""
        mac = self._mac
        if cid == _PACKAGE_VERSION:
            return bytes((cid,) + _PACKAGE)
        if cid == _DUT_VERSIONS:
            return bytes((cid,) + self._firmware + (0,) + _LORAWAN + _REGIONAL_PARAMETERS)
        if cid == _ECHO_INC_PAYLOAD:
            return bytes((cid,)) + bytes([octet + 1 & 0xFF for octet in body])
        if cid == _RX_APP_CNT:
            return bytes((cid, self._received & 0xFF, self._received >> 8))
        if cid == _RX_APP_CNT_RESET:
            self._received = 0
        elif cid == _DUT_RESET:
            self.reset = True
        elif cid == _DUT_JOIN:
            self.rejoin = mac.session.joined == 1
        elif cid == _LINK_CHECK:
            mac.ask(m.LINK_CHECK)
        elif cid == _DEVICE_TIME:
            mac.ask(m.DEVICE_TIME)
        elif cid == _DISABLE:
            mac.certification = None
        elif body:
            value = body[0]
            if cid == _ADR_BIT_CHANGE:
                mac.adr = value != 0
            elif cid == _REGIONAL_DUTY_CYCLE:
                self._duty_cycle = value != 0
            elif cid == _TX_PERIODICITY and value < len(_PERIODS_S):
                self.interval_ms = 1000 * _PERIODS_S[value]
            elif cid == _TX_FRAMES and value in (1, 2):
                self.frames = value == 2
        return b""
