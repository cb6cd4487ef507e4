"""A model of the SSD1306 that many boards carry: what it takes, lit or not.

Figures: Solomon Systech's SSD1306 data sheet, revision 1.1 (DS); what users measured of boards that
sleep with display and radio left on, 1.35 mA and more, less the radio's standby.
"""

from .state_log import StateLog

ADDRESS = 0x3C  # DS 8.1.5.1, SA0 low
LIT_UA = 750.0
_COMMANDS = 0x00  # the control octet before commands (DS 8.1.5.2)
_ONE_COMMAND = 0x80
_DISPLAY_OFF, _DISPLAY_ON = 0xAE, 0xAF
# How many octets follow a command (DS 9); those not named here have none.
_ARGUMENTS = {
    **dict.fromkeys((0x20, 0x81, 0x8D, 0xA8, 0xD3, 0xD5, 0xD9, 0xDA, 0xDB), 1),
    **dict.fromkeys((0x21, 0x22, 0xA3), 2),
    **dict.fromkeys((0x26, 0x27), 6),
    **dict.fromkeys((0x29, 0x2A), 5),
}


class Ssd1306:
    """One display, always fed.

    A proper reset leaves it dark (DS 8.5). Here it comes up lit: boards only pull its reset line
    up, and what ran before may have used it. Dark it takes nothing beside the board's own figure
    for deep sleep, which is measured with it.
    """

    def __init__(self, *, keep_states: bool = False) -> None:
        self.log = StateLog(keep=keep_states)

    def power(self, on: bool, t_us: int) -> None:
        """Connect or cut the supply."""
        if on:
            self.log.enter(t_us, "lit", LIT_UA)
        else:
            self.log.enter(t_us, "off", 0.0)

    def read(self, _sub_address: int, count: int, _t_us: int) -> bytes | None:
        """Return its status: bit 6 tells that it is dark (DS 8.1.5.3)."""
        return bytes((0x40 if self.log.state == "dark" else 0x00,)) * count

    def write(self, sub_address: int, data: bytes, t_us: int) -> bool:
        """Take what follows a control octet: commands count, pictures do not."""
        if sub_address == _ONE_COMMAND:
            data = data[:1]
        elif sub_address != _COMMANDS:
            return True
        at = 0
        while at < len(data):
            command = data[at]
            if command == _DISPLAY_OFF:
                self.log.enter(t_us, "dark", 0.0)
            elif command == _DISPLAY_ON:
                self.log.enter(t_us, "lit", LIT_UA)
            at += 1 + _ARGUMENTS.get(command, 0)
        return True
