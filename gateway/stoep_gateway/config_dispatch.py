"""The table of the configuration files that says who may decide of rounds over MQTT."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from stoep_gateway.config_model import FilePath, Id, TableModel
from stoep_gateway.errors import FatalError

__all__ = ["DispatcherConfig", "read_dispatchers", "token_of"]

_SHORTEST, _LONGEST = 32, 256


class DispatcherConfig(TableModel):
    """``[[dispatcher]]``: his token is in a file or in a variable of the environment."""

    id: Id
    token_file: FilePath | None = None
    token_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")] | None = None

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if (self.token_file is None) == (self.token_env is None):
            raise ValueError("needs either token_file or token_env")
        return self


def token_of(text: str) -> str:
    """Return the token that a file or variable holds. Raises ``ValueError``, without its words."""
    token = text.strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("holds no token: printable ASCII without spaces, on one line")
    if not _SHORTEST <= len(token) <= _LONGEST:
        raise ValueError(
            f"holds a token of {len(token)} characters: it needs {_SHORTEST} to {_LONGEST}"
        )
    return token


def read_dispatchers(
    dispatchers: Iterable[DispatcherConfig], environ: Mapping[str, str]
) -> dict[str, str]:
    """Return the tokens by the dispatchers' ids. Raises ``FatalError``."""
    return {it.id: _token(it, environ) for it in dispatchers}


def _token(config: DispatcherConfig, environ: Mapping[str, str]) -> str:
    try:
        if config.token_file is None:
            name = str(config.token_env)
            if name not in environ:
                raise ValueError("is not set")
            return token_of(environ[name])
        name = str(config.token_file)
        return token_of(Path(config.token_file).read_text(encoding="ascii"))
    except UnicodeDecodeError:
        reason = "holds no token: printable ASCII without spaces, on one line"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except ValueError as error:
        reason = str(error)
    raise FatalError(f'[[dispatcher]] "{config.id}": {name} {reason}')
