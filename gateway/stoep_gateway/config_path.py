"""Where the configuration is if nobody says so."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from stoep_gateway.errors import ConfigError, Mistake

__all__ = ["HELP", "find", "is_named", "named"]

_VARIABLE = "STOEP_CONFIG"
_PLACES = (Path("/etc/stoep-gateway/stoep.toml"), Path("stoep.toml"))
HELP = f"the configuration (default: ${_VARIABLE}, {_PLACES[0]}, ./{_PLACES[1]})"


def find(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the configuration that the environment names, or else the first that is there."""
    if said := environ.get(_VARIABLE):
        return Path(said)
    return next((place for place in _PLACES if os.access(place, os.R_OK)), None)


def is_named(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the environment names one."""
    return bool(environ.get(_VARIABLE))


def named(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """Return the configuration that was given, or the one that is found. Raises `ConfigError`."""
    path = given or find(environ)
    if path is None:
        looked = (
            f"not named by --config or ${_VARIABLE}, and not to be read at {_PLACES[0]} or"
            f" {Path.cwd() / _PLACES[1]}"
        )
        raise ConfigError([Mistake("configuration", 0, looked)])
    return path
