"""A board on the bench that is not there: real esptool talks to it over a PTY."""

import subprocess
import sys
from pathlib import Path

__all__ = ["MockBoard"]


class MockBoard:
    """A bootloader in a process of its own; its port keeps its name over `pull` and `plug`.

    Faults are methods named as the commands of mock_board_process.py: `pull_after(octets)`,
    `stop_after(octets)`, `lose_after(octets)`, `bad_cell(offset)`, `deaf()` and so on.
    """

    COMMANDS = (
        *("pull_after", "stop_after", "lose_after", "plug", "pull", "deaf", "hear"),
        *("bad_cell", "sound", "octets"),
    )

    def __init__(
        self, folder, *, chip="esp32s3", mac="240ac4000001", megabytes=8, paced=False, name="board"
    ):
        self.port = str(Path(folder) / f"tty-{name}")
        self._flash = Path(folder) / f"{name}.flash"
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(Path(__file__).with_name("mock_board_process.py"))),
                *("--link", self.port, "--flash", self._flash, "--chip", chip, "--mac", mac),
                *("--megabytes", str(megabytes), *(["--paced"] if paced else [])),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def _answer(self):
        answer = self.process.stdout.readline().strip()
        if not answer:
            raise RuntimeError(f"the mock board has ended with {self.process.wait()}")
        return answer

    def __getattr__(self, name):
        if name not in MockBoard.COMMANDS:
            raise AttributeError(name)

        def tell(number=0):
            self.process.stdin.write(f"{name} {number}\n")
            self.process.stdin.flush()
            return self._answer()

        return tell

    def flash(self, offset=0, size=None):
        """Return what the flash holds."""
        with self._flash.open("rb") as file:
            file.seek(offset)
            return file.read() if size is None else file.read(size)

    def put(self, offset, data):
        """Change what the flash holds, as a board that has run does."""
        with self._flash.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *_problem):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
