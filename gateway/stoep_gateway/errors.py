"""The gateway's own exceptions; one root, and the narrowest class says what the caller can do.

::

    GatewayError
    ├── RemoteProtocolError       they sent bad bytes: count, drop, go on
    ├── LocalProtocolError        we broke a rule: our bug, the task dies loudly
    ├── TransientError            retry with backoff
    │   ├── BrokerUnavailable
    │   └── StoreBusy
    └── FatalError                one line each, non-zero exit
        ├── ConfigError           every mistake at once, with file and line
        └── StoreCorrupt

Bad bytes inside a device's payload are ``stoep_protocol.errors.DecodeError``, not of this tree.
The names say the situation, as the table of the architecture has them, without an ``Error`` each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "BrokerUnavailable",
    "ConfigError",
    "FatalError",
    "GatewayError",
    "LocalProtocolError",
    "Mistake",
    "RemoteProtocolError",
    "StoreBusy",
    "StoreCorrupt",
    "TransientError",
]


class GatewayError(Exception):
    """Whatever the gateway raises on purpose."""


class RemoteProtocolError(GatewayError):
    """A forwarder or a device broke its protocol; count it by ``reason``, drop the input, go on."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class LocalProtocolError(GatewayError):
    """This program broke a rule of a protocol it speaks: a bug."""


class TransientError(GatewayError):
    """It may work later: retry with backoff."""


class BrokerUnavailable(TransientError):  # noqa: N818 (the architecture's name)
    """The MQTT broker does not answer."""


class StoreBusy(TransientError):  # noqa: N818 (the architecture's name)
    """The database is locked by somebody else."""


class FatalError(GatewayError):
    """The program cannot go on; the command prints ``str(error)`` and exits with ``exit_code``."""

    exit_code = 1


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in a configuration file; ``line`` counts from 1, 0 when no line can be named."""

    file: str
    line: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}"


class ConfigError(FatalError):
    """The configuration is wrong; ``mistakes`` holds all of them in the order of their lines."""

    exit_code = 2

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(str(mistake) for mistake in mistakes))
        self.mistakes = tuple(mistakes)


class StoreCorrupt(FatalError):  # noqa: N818 (the architecture's name)
    """The database is damaged, or written by a newer version."""
