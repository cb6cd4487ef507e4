"""A bench that issues identities and says so: for kills, power cuts and two of them at once.

usage: ledger_writer.py PATH FIRST COUNT PORT [FIRST_EUI-LAST_EUI]

Chips FIRST, FIRST + 1, … are issued their identities, again at the end of each ten, and marked as
written. Of each the ledger's word goes to PORT as a line of JSON, once the call has returned.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

from stoep_tools.flash.identity import EuiRange
from stoep_tools.flash.ledger import Ledger

__all__ = ["mac_of"]


def mac_of(number: int) -> bytes:
    """Return the MAC of a chip."""
    return b"\x34\xb7\xda" + number.to_bytes(3)


def main(path: Path, first: int, count: int, port: int, euis: EuiRange | None) -> None:
    """Issue identities one after the other."""
    with socket.create_connection(("127.0.0.1", port)) as told, Ledger(path) as ledger:
        for number in range(first, first + count):
            for chip in {number, number // 10 * 10}:
                if chip < first:
                    continue
                mac = mac_of(chip)
                issued = ledger.issue(mac, "heltec_wifi_lora_32_v3", "bin", "EU868", euis=euis)
                said = {
                    "mac": mac.hex(),
                    "dev_eui": issued.entry.identity.dev_eui.hex(),
                    "app_key": issued.entry.identity.app_key.hex(),
                    "dev_nonce": issued.entry.dev_nonce,
                    "flashed": issued.entry.flashed,
                }
                told.sendall(json.dumps(said).encode() + b"\n")
                ledger.mark(issued.entry.identity.dev_eui, "written")


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        int(sys.argv[2]),
        int(sys.argv[3]),
        int(sys.argv[4]),
        EuiRange.parse(sys.argv[5]) if len(sys.argv) > 5 else None,
    )
