"""No distance sensor: a container whose lid is counted, or that is only watched over.

Its readings have no distance and quality 0, and nobody is called silent.
"""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_firmware._types import Wait
    from stoep_firmware.board import Board

NEAREST_MM = 0
FARTHEST_MM = 0
SUPPLY_UA = 0


def sample(
    board: "Board", pings: int, temperature_c: "int | None"
) -> "Wait[tuple[list[int], int]]":
    """Return no distances, and a sign of life."""
    return [], 1
    yield  # a generator, as every driver's is
