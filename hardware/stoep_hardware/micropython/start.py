"""What a board does after power-up or deep sleep: boot.py, then main.py, unchanged."""

import stoep_firmware.device.boot  # noqa: F401
from stoep_firmware.device.main import main

main()
