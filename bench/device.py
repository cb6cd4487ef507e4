"""What the firmware takes of a board: memory and charge. One `name value unit` line per figure.

The figures and how each is measured: `_size.py` (octets on the board, heap) and `_energy.py`
(charge of a wake, processor time, airtime, years on a cell).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import _energy
import _size


def main() -> None:
    _size.main()
    _energy.main()


if __name__ == "__main__":
    main()
