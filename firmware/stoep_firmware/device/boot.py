"""Runs before main.py at every start: keep the processor slow enough to save charge.

The radio and the sensors need no more than 80 MHz, and a wake spends its time waiting.
"""

import machine

if hasattr(machine, "freq"):
    machine.freq(80_000_000)
