"""PHYPayloads for an uplink's way: from octets to what would be recorded and published.

Most inputs are made with the right keys, for octets that fail the MIC get no further: then MAC
commands, payload and counters are what the fuzzer chooses.
"""

from __future__ import annotations

import json

from fuzz_shapes import Octets
from stoep_gateway.assets import states
from stoep_gateway.assets.geometry import Inside
from stoep_gateway.assets.registry import Bay, Container, Device
from stoep_gateway.assets.states import AssetState
from stoep_gateway.lns import downlink, join, mac_commands, mac_state, uplink
from stoep_gateway.lns.adr import AdrSettings
from stoep_gateway.lns.channel_plan import for_region
from stoep_gateway.lns.crypto import new_key
from stoep_gateway.lns.frames import Rejected, UplinkFrame, UplinkFrameSet
from stoep_gateway.lns.mac_commands import Heard
from stoep_gateway.lns.sessions import Match, Session, Sessions
from stoep_gateway.publish import topics
from stoep_gateway.publish.messages import UplinkMeta
from stoep_protocol.calibration import STEP_ECHOES, Calibrated, echo
from stoep_protocol.errors import EncodeError
from stoep_protocol.lorawan import frames, network_frames
from stoep_protocol.lorawan.frames import DataFrame
from stoep_protocol.lorawan.network_frames import JoinRequest
from stoep_protocol.lorawan.regions import EU868
from stoep_protocol.messages import BayReport, BinReport, Status, encode

__all__ = ["Target"]

KEY = bytes(range(16))
NET_ID = 0x13
JOIN_EUI = bytes(8)
BIN = Container(
    "c", "container/c", 0.0, 0.0, 1100, Inside(1500, 300), 80.0, "t/c", "e/c", '"name":"c"'
)
BAY = Bay("b", "bay/b", 0.0, 0.0, "t/b", "e/b", '"name":"b"')
F_PORTS = (10, 11, 12, 13, 14, 15, 16, 17, 18, 0, 20, 223, 224, 255)
NONCES = 64  # a device may use 65 536, which is not the leak that is looked for


def _eui(number: int) -> bytes:
    return bytes((0x70, 0xB3, 0xD5, 0x7E, 0xD0, 0, 0, number))


def _device(number: int, asset: Container | Bay | None) -> Device:
    eui = _eui(number)
    return Device(
        dev_eui=eui,
        dev_eui_hex=eui.hex(),
        key=f"device/{eui.hex()}",
        join_eui=JOIN_EUI,
        app_key=KEY,
        asset=asset,
        status_topic="t/d",
        event_topic="e/d",
        fixed_json=f'"dev_eui":"{eui.hex()}"',
    )


class Target:
    """One network server for the whole run: a bin, a bay, a board without an asset."""

    def __init__(self) -> None:
        self.devices = {
            device.dev_eui: device
            for device in (_device(0, BIN), _device(1, BAY), _device(2, None))
        }
        self.nonces = join.DevNonces(())
        self.sessions = Sessions(())
        self.current: dict[bytes, Session] = {}
        self.states: dict[str, AssetState] = {}
        self.target = mac_state.Target(
            for_region(EU868), 1, 0, EU868.rx2_dr, EU868.rx2_hz, max_duty_cycle=1
        )
        self.key = new_key(KEY)
        self.session_ids = 0
        self.utc_ms = 1_767_225_600_000
        for eui in self.devices:
            self.begin(eui, 0x26000000 | eui[-1], 0)

    def seeds(self) -> list[bytes]:
        reports = (
            encode(BinReport(7, 900, 4, history=((60, 880, 4), (120, 870, 3)))),
            encode(BayReport(1, 12, 30, 60)),
            encode(Calibrated(STEP_ECHOES, 0, (None, echo(150, 22), echo(57, 8)))),
            encode(Status(firmware=(1, 0, 0), battery_mv=3600, errors=(1, 2))),
        )
        made = [
            bytes((1, 1, number, 0x80, 1, 0, F_PORTS.index(f_port))) + payload
            for number, (f_port, payload) in enumerate(reports)
        ]
        commands = bytes.fromhex("02030706ff05000d")
        made.append(bytes((1, 1, 0, 0xA0, 1, len(commands))) + commands)
        made.append(bytes((1, 1, 0, 0xA0, 1, 0, F_PORTS.index(0))) + commands)
        made.append(bytes((2, 1, 0, 3)))
        made.append(
            b"\x00\x01" + network_frames.encode_join_request(self.key, JOIN_EUI, _eui(0), 5)
        )
        return made

    def __call__(self, data: bytes) -> None:
        octets = Octets(data)
        shape = octets.number() % 3
        self.utc_ms += octets.number() ** 3
        if shape == 0:
            phy_payload = octets.rest()[:255] or b"\0"
        elif shape == 1:
            made = self.data_frame(octets)
            if made is None:
                return
            phy_payload = made
        else:
            eui = _eui(octets.number() % 4)
            nonce = octets.number() % NONCES
            phy_payload = network_frames.encode_join_request(self.key, JOIN_EUI, eui, nonce)
        frame = UplinkFrame(
            phy_payload, bytes(8), 0, 868_100_000, 7, 125_000, -90.0, 5.0, self.utc_ms
        )
        self.take(UplinkFrameSet(phy_payload, (frame,), self.utc_ms))

    def data_frame(self, octets: Octets) -> bytes | None:
        session = self.current[_eui(octets.number() % 3)]
        bits = octets.number()
        f_cnt = max(0, session.f_cnt_up + octets.number() % 8 - 1)
        f_opts = octets.take(octets.number() % 16)
        f_port = octets.pick(F_PORTS) if octets else None
        try:
            return frames.encode_data(
                frames.CONFIRMED_UP if bits & 1 else frames.UNCONFIRMED_UP,
                session.dev_addr,
                f_cnt,
                session.nwk_s_key,
                session.app_s_key,
                adr=bool(bits & 0x80),
                adr_ack_req=bool(bits & 0x40),
                ack=bool(bits & 0x20),
                f_pending=bool(bits & 0x10),
                f_opts=f_opts,
                f_port=f_port,
                payload=octets.take(222),
            )
        except EncodeError:  # what the codec itself refuses to write, such as commands twice
            return None

    def take(self, frame_set: UplinkFrameSet) -> None:
        frame = uplink.parse(frame_set)
        if type(frame) is DataFrame:
            self.take_data(frame, frame_set)
        elif type(frame) is JoinRequest:
            self.take_join(frame, frame_set)
        else:
            assert isinstance(frame, Rejected)

    def take_data(self, frame: DataFrame, frame_set: UplinkFrameSet) -> None:
        match = self.sessions.match(frame)
        if isinstance(match, Rejected):
            return
        plain = uplink.decrypt(match, frame)
        self.take_commands(match, frame, frame_set, plain.commands)
        if match.repeated:
            return
        before = match.session.f_cnt_up
        self.sessions.claim(match, downlink=frame.confirmed)
        assert match.session.f_cnt_up > before
        message = uplink.decode(plain)
        if message is None or isinstance(message, str):
            return
        device = self.devices[match.session.dev_eui]
        key = topics.state_key(device, message)
        meta = UplinkMeta("e", self.utc_ms, match.f_cnt_up, 5, -90.0, 5.0, 1)
        previous = None if key is None else self.states.get(key)
        outputs = topics.uplink_outputs(device, message, meta, previous)
        for published in outputs.messages:
            json.loads(published.payload)
        if key is not None and outputs.state is not None:
            self.states[key] = outputs.state
            assert states.loads(key, states.dumps(outputs.state)) == outputs.state

    def take_commands(
        self, match: Match, frame: DataFrame, frame_set: UplinkFrameSet, commands: bytes
    ) -> None:
        session = match.session
        known = session.mac or mac_state.fresh(self.target, abp=False, dr=5)
        heard = Heard(
            frame_set, match.f_cnt_up, 5, frame.adr, frame.confirmed, commands, self.utc_ms
        )
        if match.repeated:
            turn = mac_commands.hear_again(known, heard)
        else:
            turn = mac_commands.hear(known, session.history, self.target, AdrSettings(), heard)
        windows = downlink.windows(frame_set.receptions[0], EU868, turn.state)
        reply = downlink.compose(
            session,
            EU868,
            windows,
            turn,
            (),
            self.utc_ms,
            ack=frame.confirmed,
            must=frame.confirmed,
        )
        session.mac = turn.state if reply is None else reply.mac
        assert mac_state.MacState.loads(session.mac.dumps()) == session.mac
        if reply is not None:
            frames.parse(reply.phy_payload)

    def take_join(self, request: JoinRequest, frame_set: UplinkFrameSet) -> None:
        activation = join.activate(
            request,
            frame_set.phy_payload,
            self.devices.get(request.dev_eui),
            self.nonces,
            NET_ID,
            self.target,
        )
        if isinstance(activation, Rejected):
            return
        self.nonces.remember(activation.dev_eui, activation.dev_nonce, activation.app_nonce)
        assert self.nonces.is_replayed(activation.dev_eui, activation.dev_nonce, counts_up=False)
        self.begin(
            activation.dev_eui,
            activation.dev_addr,
            activation.app_nonce,
            activation.nwk_s_key,
            activation.app_s_key,
        )

    def begin(
        self,
        dev_eui: bytes,
        dev_addr: int,
        app_nonce: int,
        nwk_s_key: bytes = KEY,
        app_s_key: bytes = KEY,
    ) -> None:
        self.session_ids += 1
        session = Session(self.session_ids, dev_eui, dev_addr, nwk_s_key, app_s_key, app_nonce)
        self.sessions.begin(session)
        self.current[dev_eui] = session
