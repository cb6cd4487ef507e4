"""Magnetometers by the names that config.json has for them."""

from collections.abc import Mapping
from typing import Any

from stoep_hardware.engine import Engine
from stoep_hardware.world import FieldSource

from .compass import Compass
from .hmc5883l import Hmc5883l
from .lis3mdl import Lis3mdl
from .mmc5983ma import Mmc5983ma
from .qmc5883 import Qmc5883l, Qmc5883p
from .rm3100 import Rm3100

Magnetometer = Lis3mdl | Compass

GY271 = (Qmc5883p, Qmc5883l, Hmc5883l)  # what is sold by that name
_KINDS: Mapping[str, type[Lis3mdl] | type[Compass]] = {
    kind.NAME: kind for kind in (Lis3mdl, Rm3100, Mmc5983ma, *GY271)
} | {"gy271": Qmc5883p}


def watching_ua(name: str | None) -> float:
    """Return what the one of that name takes while its board sleeps; None for that of a bay that
    names none.
    """
    return _KINDS[name or Lis3mdl.NAME].WATCHING_UA


def make(name: str, engine: Engine, field: FieldSource, **options: Any) -> Magnetometer:
    """Make the one of that name; of the three called "gy271", the one that is sold now."""
    return _KINDS[name](engine, field, **options)
