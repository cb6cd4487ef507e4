"""`stoep flash` that stops before one of its steps, says so, and waits: a test then does harm.

Run with the moment's name, two descriptors (what is told, what is heard) and the command's words.
It is told one octet: to go on, once Ctrl-C was noticed, with a full disk, or with a board that is
gone and does not come again (which is waited for a second then, not for half a minute).
"""

import errno
import functools
import os
import sqlite3
import sys
from pathlib import Path

from stoep_tools.flash import command, labels, ledger, registration, repl, selftest, together
from stoep_tools.flash.esptool import Esptool

GO, STOPPED, FULL, GONE = b"g", b"s", b"f", b"x"
_PATIENCE_S = 60


def mark(state):
    return (ledger.Ledger, "mark", lambda _self, _dev_eui, reached: reached == state)


def always(*_arguments, **_more):
    return True


MOMENTS = {  # by the call that comes next
    "finding": (Esptool, "detect", always),
    "reading back": (Esptool, "fetch", always),
    "issuing": (ledger.Ledger, "issue", always),
    "writing": (Esptool, "write", always),
    "written": mark("written"),
    "verified": mark("verified"),
    "registering": (registration, "register", always),
    "registered": mark("registered"),
    "opening": (repl.Repl, "__enter__", always),
    "testing": (selftest, "run", always),
    "joining": (selftest._Test, "_join", always),
    "tested": (repl.Repl, "reset", always),
    "labelling": (labels, "label_png", always),
    "labelled": mark("labelled"),
}


class FullConnection:
    """A ledger's connection whose disk is full."""

    def __init__(self, connection):
        self._connection = connection

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, statement, *values):
        if statement == "COMMIT":
            problem = sqlite3.OperationalError("database or disk is full")
            problem.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise problem
        return self._connection.execute(statement, *values)


def fill_disk():
    def refuse(_path, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    Path.write_bytes = Path.write_text = refuse
    for book in BOOKS:
        book._connection = FullConnection(book._connection)


BOOKS = []


def wait_less():
    hold = repl.Repl.hold

    def briefly(self):
        self._wait_s = 1.0
        hold(self)

    repl.Repl.hold = briefly


def stop_before(moment, tell, hear):
    """Have the command stop once, before the call that begins the moment."""
    whose, name, is_it = MOMENTS[moment]
    call = getattr(whose, name)
    waited = []

    @functools.wraps(call)
    def stopping(*arguments, **more):
        if not waited and is_it(*arguments, **more):
            waited.append(True)
            os.write(tell, b"x")
            answer = os.read(hear, 1)
            if answer == FULL:
                fill_disk()
            elif answer == GONE:
                wait_less()
            elif answer == STOPPED:
                assert together._stopped.wait(_PATIENCE_S)
        return call(*arguments, **more)

    setattr(whose, name, stopping)


def main():
    moment, tell, hear, *words = sys.argv[1:]
    begin = ledger.Ledger.__init__

    def begun(self, *arguments, **more):
        begin(self, *arguments, **more)
        BOOKS.append(self)

    ledger.Ledger.__init__ = begun
    if moment != "-":
        stop_before(moment, int(tell), int(hear))
    sys.exit(command.main(words))


if __name__ == "__main__":
    main()
