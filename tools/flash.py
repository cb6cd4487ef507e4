"""``python3 tools/flash.py`` from a clone: the same as ``stoep flash``."""

import sys
from pathlib import Path

sys.path[:0] = [
    str(Path(__file__).resolve().parent.parent / folder)
    for folder in ("tools", "hardware", "firmware", "protocol")
]

from stoep_tools.flash.start import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
