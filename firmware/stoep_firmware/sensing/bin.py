"""A burst of ultrasonic distances -> one reading with its quality. Pure, integers only."""

from stoep_protocol.schema import ECHO_BLOCKED, ECHO_UNSTABLE, ECHO_WEAK

const = int

_STEADY_MM = const(20)  # spread of a still surface
_LOOSE_MM = const(100)


def reading(
    distances_mm: "list[int]", wanted: int, nearest_mm: int, farthest_mm: int
) -> "tuple[int | None, int, int]":
    """Return `(distance_mm or None for no echo, quality 0..4, schema.ECHO_... flags)`.

    `distances_mm` are those of a burst that should have held `wanted`, as drivers return them. The
    distance is the median of those in range. Quality follows LwM2M 3435: 4 all there and steady, 3
    steady but some missing, 2 loose, 1 unstable, 0 no echo, which is weak if it came from beyond
    the range.
    """
    blocked = 0
    echoes = []
    for distance_mm in distances_mm:
        if 0 < distance_mm < nearest_mm:
            blocked += 1
        elif 0 < distance_mm <= farthest_mm:
            echoes.append(distance_mm)
    flags = ECHO_BLOCKED if 2 * blocked > wanted else 0
    if not echoes:
        return None, 0, flags or (ECHO_WEAK if any(distances_mm) else 0)
    echoes.sort()
    count = len(echoes)
    middle = (echoes[(count - 1) // 2] + echoes[count // 2]) // 2
    # One stray frame in five does not make a burst loose: the spread is that of the inner ones.
    trim = count // 5
    spread_mm = echoes[count - 1 - trim] - echoes[trim]
    if 2 * count < wanted:
        flags |= ECHO_WEAK
    if spread_mm > _LOOSE_MM:
        return middle, 1, flags | ECHO_UNSTABLE
    if spread_mm > _STEADY_MM or flags & ECHO_WEAK:
        return middle, 2, flags
    return middle, 4 if count >= wanted else 3, flags
