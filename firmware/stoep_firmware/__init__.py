"""What runs on the board, unchanged on MicroPython and CPython."""
