"""What the technician was asked and said; the last answers are the next defaults."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
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

    def choose(self, key: str, question: str, said: str | None, choices: Mapping[str, str]) -> str:
        """Return one of the choices, which say what each means; a number is enough of an answer.

        So is the beginning of a word, whatever its case.
        """
        last = self._last.get(key)
        default = last if last in choices else None
        if said is None and self.asks:
            said = self._choice(question, choices, default)
        return self._settle(key, said or default)

    def _choice(self, question: str, choices: Mapping[str, str], default: str | None) -> str:
        names = list(choices)
        width = max(map(len, names))
        self._say(f"\n{question}")
        for number, name in enumerate(names, 1):
            mark = "*" if name == default else " "
            self._say(f" {mark}{number:2}  {name:{width}}  {choices[name]}".rstrip())
        kept = f", Enter for {default}" if default else ""
        while True:
            answer = self._line(f"a number or a name{kept}: ") or default or ""
            if answer.isdigit() and 1 <= int(answer) <= len(names):
                return names[int(answer) - 1]
            said = answer.lower()
            matching = [name for name in names if said and name.lower().startswith(said)]
            exact = [name for name in matching if name.lower() == said]
            if len(exact or matching) == 1:
                return (exact or matching)[0]
            what = "could be " + " or ".join(matching) if matching else "is none of them"
            self._say(f"{answer!r} {what}" if answer else "one of them is needed")

    def text(self, key: str, question: str, said: str | None, otherwise: str) -> str:
        """Return a line of text; `otherwise` is the answer of who was never asked."""
        last = self._last.get(key, otherwise)
        if said is None and self.asks:
            said = self._line(f"\n{question}\nEnter for {last}: ")
        return self._settle(key, said or last)

    def kept(self, key: str, said: str | None) -> str | None:
        """Return what is said or else was the last time; it is not asked for."""
        value = self._last.get(key) if said is None else said
        if value is not None:
            self._given[key] = value
        return value

    def path(self, key: str, question: str, said: Path | None) -> Path:
        """Return a file; one that is asked for is there. It may be dragged into the terminal."""
        if said is not None:
            return Path(self._settle(key, str(said.expanduser().absolute())))
        last = self._last.get(key, "")
        if not self.asks:
            return Path(self._settle(key, last or None))
        self._say(f"\n{question}")
        while True:
            kept = f"Enter for {last}" if Path(last).is_file() else "its name"
            answer = _unquoted(self._line(f"{kept}: ")) or last
            path = Path(answer).expanduser().absolute()
            if answer and path.is_file():
                return Path(self._settle(key, str(path)))
            if answer:
                self._say(f"there is no file {answer}")

    def agrees(self, question: str) -> bool:
        """Return whether the answer is yes; Enter is no."""
        return self.asks and self._line(f"{question} [y/N]: ").lower() in ("y", "yes")

    def goes_on(self, question: str) -> bool:
        """Return whether there is more to do; q is no, and so is the end of the input."""
        try:
            return self._line(question).lower() not in ("q", "quit", "n", "no")
        except FlashError:
            return False

    def remember(self) -> None:
        """Keep the answers for the next run; where that cannot be done, they are asked again."""
        kept = {key: value for key, value in self._given.items() if key != "port"}
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps({**self._last, **kept}, indent=1) + "\n", "utf-8")
            beside.replace(self._path)
        except OSError:
            pass

    def _line(self, prompt: str) -> str:
        try:
            return self._read(prompt).strip()
        except EOFError:
            self._say("")
            raise FlashError(
                "the input ended in the middle of a question",
                "say everything by options, with --yes: stoep flash --help",
                USAGE,
            ) from None

    def _settle(self, key: str, value: str | None) -> str:
        if value is None:
            raise FlashError(f"it has to be said which {key}", f"--{key} …", USAGE)
        self._given[key] = value
        return value


def _unquoted(text: str) -> str:
    """Return the name of a file that a terminal has put into quotes, as on dragging it there."""
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text if os.name == "nt" else text.replace("\\ ", " ")
