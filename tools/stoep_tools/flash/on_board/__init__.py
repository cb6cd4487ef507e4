"""Programs that the bench sends to a board over the REPL; they run on MicroPython."""
