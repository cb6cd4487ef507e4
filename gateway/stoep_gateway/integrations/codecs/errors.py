"""What other makes' codecs fail with. Pure."""

from __future__ import annotations

__all__ = ["CodecError"]


class CodecError(Exception):
    """A codec gave no result; ``code`` counts it."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
