"""What runs on the board, unchanged on MicroPython and CPython.

`const(n)` is nothing but n. MicroPython's compiler knows it by its name, puts the number in the
place of the name, keeps no name that begins with an underscore, and drops what follows `if` and a
zero: so `TYPE_CHECKING` is one, and what only mypy imports takes no memory.
"""

import sys


def unload(*names: str) -> None:
    """Let go of modules that this wake will hardly need again; a later import loads them anew."""
    if sys.implementation.name != "micropython":
        return  # no need, and what holds on to a class of the old module would not know the new
    for name in names:
        if sys.modules.pop(name, None):
            package, _, leaf = name.rpartition(".")
            delattr(sys.modules[package], leaf)
