"""What a board does after power-up or deep sleep: boot.py, then main.py, unchanged.

What main.py imports is loaded before the wake comes, in the background of the simulation.
"""

import _link
from stoep_firmware import app, wake  # noqa: F401
from stoep_firmware.device.main import main

_link.begin()

import stoep_firmware.device.boot  # noqa: E402, F401

main()
