"""``[[make]]``: a device of another make, whose codec's results become readings of ours."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from stoep_gateway.config_model import FilePath, Id, TableModel, Text
from stoep_gateway.integrations.codecs.places import place

__all__ = ["CODEC_MAX_OCTETS", "MakeConfig", "Word"]

CODEC_MAX_OCTETS = 256 << 10
Word = bool | int | float | Annotated[str, Field(max_length=100)]


def _place(text: str, info: ValidationInfo) -> str:
    place(info.field_name or "", text)
    return text


Place = Annotated[Text, AfterValidator(_place)]
Words = Annotated[tuple[Word, ...], Field(max_length=50, strict=False)]


# Of each kind: what it needs, and what is another kind's.
_KEYS = {
    "bin": (("distance_mm",), ("state", "free", "occupied", "uncertain", "previous_duration_s")),
    "bay": (("state", "free", "occupied"), ("distance_mm", "no_echo", "flaps")),
}


class MakeConfig(TableModel):
    """``[[make]]``: how the uplinks of a make are read.

    ``codec`` is a JavaScript file with TS013's ``decodeUplink``. ``distance_mm`` and what follows
    it say where in its result a value is, and in which unit if not in ours: ``"data.level cm"``.
    ``no_echo`` are distances that are none; ``free``, ``occupied`` and ``uncertain`` what the
    codec calls these states. ``quality`` is that of a reading that nothing speaks against.
    """

    id: Id
    codec: FilePath
    maker: Text | None = None
    source: Text | None = None
    kind: Literal["bin", "bay"]
    distance_mm: Place | None = None
    no_echo: Words = ()
    quality: int = Field(default=0, ge=0, le=4)
    flaps: Place | None = None
    state: Place | None = None
    free: Words = ()
    occupied: Words = ()
    uncertain: Words = ()
    previous_duration_s: Place | None = None
    temperature_c: Place | None = None
    battery_mv: Place | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        needed, foreign = _KEYS[self.kind]
        for key in needed:
            if not getattr(self, key) and not (key == "distance_mm" and self.flaps):
                raise ValueError(f'of kind "{self.kind}" needs "{key}"')
        for key in foreign:
            if getattr(self, key):
                raise ValueError(f'of kind "{self.kind}" has no "{key}"')
        said: list[tuple[bool, object]] = []
        for word in (*self.free, *self.occupied, *self.uncertain):
            if (isinstance(word, bool), word) in said:
                raise ValueError(f"gives {word!r} to two states")
            said.append((isinstance(word, bool), word))
        return self
