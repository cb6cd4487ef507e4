"""What docs/mac.md says is loaded when: heap is a board's scarcest thing, so it is held to that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PATH = ":".join(str(ROOT / name) for name in ("protocol", "firmware", "tests/support"))
RARE = {
    "stoep_firmware.joining",
    "stoep_firmware.downlink",
    "stoep_firmware.commands",
    "stoep_firmware.certification",
    "stoep_protocol.lorawan.mac_commands",
}
# A device in its session, without what plays the network's part: that would load everything.
PROGRAM = """
import sys
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.crypto import Key

class Aes:
    def encrypt(self, data):
        return bytes(len(data))

def keep(octets):
    return Key(Aes())

session = Session()
mac = m.Mac(regions.EU868, session, keep, lambda n: 0, bytes(8), bytes(8), bytes(16), adr=True)
session.joined = 1
session.ch_mask = 7
session.channels = [(hz, hz, 0x50) for hz in regions.EU868.default_channels_hz]
session.rx2_hz = 869525000

def listen(received=None):
    mac.handle((m.TX_DONE,), 100)
    if received is not None:
        mac.handle((m.RECEIVED, received, 5), 1100)
        return
    while mac.state != m.IDLE:
        mac.handle((m.RX_TIMEOUT,), 1100)

DOWN = "6000000000{:02x}0000{}00000000"
{step}
print(*sorted(sys.modules))
"""
SEND = "mac.handle((m.SEND, 10, b'x', {}), 0)\n"
STEPS = {
    "an uplink and nothing heard": (SEND.format(False) + "listen()", set()),
    "confirmed, asking, with an answer to repeat": (
        "mac.ask(m.LINK_CHECK); session.sticky = b'\\x08'\n" + SEND.format(True) + "listen()",
        set(),
    ),
    "a downlink": (
        SEND.format(False) + "listen(bytes.fromhex(DOWN.format(0, '')))",
        {"stoep_firmware.downlink"},
    ),
    "a downlink with commands": (
        SEND.format(False) + "listen(bytes.fromhex(DOWN.format(1, '06')))",
        {
            "stoep_firmware.downlink",
            "stoep_firmware.commands",
            "stoep_protocol.lorawan.mac_commands",
        },
    ),
    "a join": (
        "mac.handle((m.JOIN,), 0)\nlisten()",
        {"stoep_firmware.joining", "stoep_firmware.downlink"},
    ),
}


@pytest.mark.parametrize("what", STEPS)
def test_rare_parts_are_loaded_when_they_are_needed(what: str) -> None:
    step, expected = STEPS[what]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("{step}", step)],
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded = set(run.stdout.split())
    assert {"stoep_firmware.mac", "stoep_firmware.channels"} <= loaded
    assert loaded & RARE == expected
