"""What the technician was asked and said; the last answers are the next defaults."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .errors import USAGE, FlashError


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return where the last answers are kept. They hold no key."""
    base = environ.get("APPDATA") or environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "stoep" / "flash.json"


class Answers:
    """Takes what an option says, else asks, else takes the answer of the last run."""

    def __init__(
        self,
        *,
        ask: bool,
        path: Path | None = None,
        read: Callable[[str], str] = input,
        say: Callable[[str], None] = print,
    ) -> None:
        self.asks = ask
        self._path = default_path() if path is None else path
        self._read = read
        self._say = say
        self._given: dict[str, str] = {}
        try:
            self._last = {str(k): str(v) for k, v in json.loads(self._path.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            self._last = {}

    def choose(self, key: str, question: str, said: str | None, choices: Sequence[str]) -> str:
        """Return one of the choices; a number or the beginning of a word is enough of an answer."""
        last = self._last.get(key)
        if said is None and self.asks:
            self._say(question)
            for number, choice in enumerate(choices, 1):
                self._say(f"  {number}  {choice}{'  (Enter)' if choice == last else ''}")
            while said is None:
                answer = self._read("> ").strip() or last or ""
                matching = [one for one in choices if answer and one.startswith(answer)]
                if answer in choices:
                    said = answer
                elif answer.isdigit() and 1 <= int(answer) <= len(choices):
                    said = choices[int(answer) - 1]
                elif len(matching) == 1:
                    said = matching[0]
        return self._settle(key, said or (last if last in choices else None))

    def text(self, key: str, question: str, said: str | None) -> str:
        """Return a line of text."""
        last = self._last.get(key, "none")
        if said is None and self.asks:
            said = self._read(f"{question} [{last}]: ").strip()
        return self._settle(key, said or last)

    def path(self, key: str, question: str, said: Path | None) -> Path:
        """Return a file that is there."""
        text = None if said is None else str(said)
        while text is None and self.asks:
            last = self._last.get(key, "")
            answer = self._read(f"{question} [{last}]: ").strip() or last
            if Path(answer).expanduser().is_file():
                text = answer
            else:
                self._say(f"there is no file {answer!r}")
        return Path(self._settle(key, text or self._last.get(key))).expanduser()

    def remember(self) -> None:
        """Keep the answers for the next run; where that cannot be done, they are asked again."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            kept = {key: value for key, value in self._given.items() if key != "port"}
            self._path.write_text(json.dumps({**self._last, **kept}, indent=1))
        except OSError:
            pass

    def _settle(self, key: str, value: str | None) -> str:
        if value is None:
            raise FlashError(f"it has to be said which {key}", f"--{key}", USAGE)
        self._given[key] = value
        return value
