"""LoRa transceivers over an injected SPI bus and pins.

Each has the same methods: `start, transmit, receive, interrupted, outcome, frame, sleep`.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Radio
    from stoep_firmware.board import Board

TX_DONE = const(0x001)  # what `outcome` returns; 0: not ended
RX_DONE = const(0x002)
TIMEOUT = const(0x200)  # no frame, or a bad one
STOPPED = const(0x400)  # no frame; the chip went on listening for one that has no header

BUSY_STUCK = const(64)
NOT_THERE = const(65)
SILENT = const(66)  # its line did not tell of the end
WRONG_BAND = const(67)  # the chip is made for another one
DEVICE_ERROR = const(80)  # and the number of the bit that the chip reports


class RadioError(Exception):
    """The radio does not do its part. `code` is carried by a status report beside ERROR_RADIO."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def open_radio(board: "Board") -> "Radio":
    """Make the board's radio; only that one's driver is loaded."""
    config = board.wiring["radio"]
    if config["chip"] in ("sx1276", "sx1278"):
        from stoep_firmware.radio.sx127x import Sx127x as Chip  # noqa: PLC0415 - heap
    else:
        from stoep_firmware.radio.sx126x import Sx126x as Chip  # type: ignore[assignment]  # noqa: PLC0415
    return Chip(board.spi(), board.radio_pins(), board.delay_us, config)
