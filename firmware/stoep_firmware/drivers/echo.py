"""How far an echo has come."""

const = int

# Dry air: 331.3 m/s at 0 degrees, and 0.606 m/s more for each, the tangent there to an ideal gas's
# 331.3 * sqrt(1 + T / 273.15). It is 0.1 % off at -20 and at 25 degrees, 0.5 % at 60.
_AT_ZERO = const(331300)  # mm/s
_PER_DEGREE = const(606)
_USUAL_C = const(20)


def echo_mm(us: int, temperature_c: "int | None") -> int:
    """Return the distance of what echoed after so long; without a temperature as if at 20 degrees.

    Each degree that the air differs from what is given makes 0.18 % of the distance.
    """
    if temperature_c is None:
        temperature_c = _USUAL_C
    return us * (_AT_ZERO + _PER_DEGREE * temperature_c) // 2_000_000
