"""What goes wrong at the bench, said so that a technician can put it right."""

USAGE = 2
NO_BOARD = 3
BOARD_FAILED = 4
GATEWAY_REFUSED = 5
INTERRUPTED = 130


class FlashError(Exception):
    """Something failed: what, what to do about it, and the exit code of the command.

    Neither text ever holds a key.
    """

    def __init__(self, message: str, remedy: str = "", exit_code: int = BOARD_FAILED) -> None:
        super().__init__(message, remedy, exit_code)
        self.message = message
        self.remedy = remedy
        self.exit_code = exit_code

    def __str__(self) -> str:
        return f"{self.message}: {self.remedy}" if self.remedy else self.message
