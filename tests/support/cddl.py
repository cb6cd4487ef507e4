"""stoep.cddl through PyPI zcbor."""

import functools
import pathlib
from typing import Any

import cbor2

# zcbor 0.9 imports a name that cbor2 6 no longer has; there, what it named is a CBORDecodeError.
if not hasattr(cbor2, "CBORDecodeValueError"):
    cbor2.CBORDecodeValueError = cbor2.CBORDecodeError  # type: ignore[attr-defined]

import zcbor


@functools.cache
def rules(path: pathlib.Path) -> dict[str, Any]:
    """Every rule of a CDDL file by its name."""
    translator = zcbor.DataTranslator.from_cddl(path.read_text(), default_max_qty=16)
    found: dict[str, Any] = translator.my_types
    return found


def conforms(path: pathlib.Path, rule: str, data: bytes) -> bool:
    try:
        rules(path)[rule].validate_str(data)
    except zcbor.CddlValidationError:
        return False
    return True
