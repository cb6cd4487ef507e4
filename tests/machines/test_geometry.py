"""How full a container is by its shape: figures by hand, and what holds for every shape."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError
from stoep_gateway.assets.geometry import FILL_MAX_PCT, Inside, Misfit, inside
from stoep_gateway.config_model import ContainerConfig


def container(**values: object) -> ContainerConfig:
    return ContainerConfig(
        **{"id": "c", "lat": 0.0, "lon": 0.0, "capacity_l": 1000, "depth_mm": 1300} | values
    )


STRAIGHT = inside(container(depth_mm=1800, full_mm=300))
# 0 to 1000 mm high, as wide at the floor as a third of the top: 1/3 and 1.
TAPERED = inside(container(full_mm=300, shape="tapered", floor_width_mm=300, full_width_mm=900))
TROUGH = inside(container(full_mm=300, shape="trough", floor_width_mm=0, full_width_mm=800))
LYING = inside(container(full_mm=300, shape="lying", diameter_mm=1000))
TABLE = inside(
    container(full_mm=300, shape="table", litres_at_mm=[[0, 0], [200, 100], [1000, 1000]])
)


@pytest.mark.parametrize(
    ("it", "distance_mm", "expected"),
    [
        (STRAIGHT, 1800, 0.0),
        (STRAIGHT, 300, 100.0),
        (STRAIGHT, 1050, 50.0),
        (STRAIGHT, 2500, 0.0),
        (STRAIGHT, 0, 120.0),
        (STRAIGHT, 299, 100.1),
        (TAPERED, 300, 100.0),
        # Two thirds wide at half the height: (1/9 + 2/9 + 4/9) / 3 / 2 of (1/9 + 1/3 + 1) / 3.
        (TAPERED, 800, 26.9),
        (TAPERED, 200, 120.0),  # heaped on 900 x 900: 10 cm are 20.8 %
        (TROUGH, 800, 25.0),
        (TROUGH, 1200, 1.0),
        (LYING, 800, 50.0),
        (LYING, 1050, 19.6),  # a quarter of the diameter: 1/3 - sqrt(3) / (4 pi)
        (LYING, 550, 80.4),
        (LYING, 0, 100.0),
        (TABLE, 1100, 10.0),
        (TABLE, 700, 55.0),
        (TABLE, 250, 105.6),
    ],
)
def test_by_hand(it: Inside, distance_mm: int, expected: float) -> None:
    assert it.fill_pct(distance_mm) == expected


def test_a_sensor_below_the_lid_measures_less() -> None:
    said = {"full_mm": 300, "shape": "trough", "floor_width_mm": 0, "full_width_mm": 800}
    lower = inside(container(sensor_below_mm=120, **said))
    assert lower.fill_pct(680) == TROUGH.fill_pct(800) == 25.0
    hanging = inside(container(depth_mm=1000, sensor_below_mm=200))
    assert (hanging.fill_pct(800), hanging.fill_pct(0)) == (0.0, 80.0)
    in_a_nozzle = inside(container(depth_mm=1000, sensor_below_mm=-100))
    assert in_a_nozzle.fill_pct(100) == 100.0


def test_a_sensor_beside_the_middle_sees_a_wall_of_the_empty_container() -> None:
    # A V of 800 mm: 100 mm beside the middle its wall is at a quarter of the height. What lies
    # below is not seen; 0 % is what is. By height, the other three quarters are 750 mm.
    said = {"shape": "trough", "floor_width_mm": 0, "full_width_mm": 800, "sensor_beside_mm": 100}
    beside = inside(container(depth_mm=1050, full_mm=300, **said))
    assert beside.hidden_mm == pytest.approx(250)
    assert (beside.fill_pct(1050), beside.fill_pct(300)) == (0.0, 100.0)
    assert beside.level_pct(800) == pytest.approx(100 * (0.5**2 - 0.25**2) / (1 - 0.25**2))
    # 300 mm beside the middle of a tank of 1 m its wall is 100 mm above the lowest point.
    tank = inside(container(depth_mm=900, shape="lying", diameter_mm=1000, sensor_beside_mm=300))
    assert tank.hidden_mm == pytest.approx(100)
    assert (tank.fill_pct(900), tank.fill_pct(0)) == (0.0, 100.0)


def test_in_the_dead_zone_a_container_is_as_full_as_at_its_edge() -> None:
    it = inside(container(depth_mm=1000, dead_zone_mm=250))
    assert it.fill_pct(30) == it.fill_pct(250) == 75.0


@st.composite
def shapes(draw: st.DrawFn) -> Inside:
    full_mm = draw(st.integers(0, 1000))
    height_mm = draw(st.integers(1, 3000))
    shape = draw(st.sampled_from(["straight", "tapered", "trough", "lying", "table"]))
    values: dict[str, object] = {"shape": shape}
    if shape in ("tapered", "trough"):
        values["floor_width_mm"] = floor_mm = draw(st.integers(0, 2000))
        values["full_width_mm"] = top_mm = draw(st.integers(1, 2000))
        values["sensor_beside_mm"] = draw(st.integers(0, max(floor_mm, top_mm - 1) // 3))
        assume(2 * values["sensor_beside_mm"] <= 0.9 * max(top_mm, floor_mm))
    elif shape == "lying":
        values["diameter_mm"] = diameter_mm = draw(st.integers(height_mm, 4000))
        assume(diameter_mm > 1)
    elif shape == "table":
        steps = draw(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500)), min_size=1))
        rows = [[0, 0]]
        for up_mm, litres in steps:
            rows.append([rows[-1][0] + up_mm, rows[-1][1] + litres])
        height_mm, values["capacity_l"] = rows[-1]
        assume(rows[-1][1] > 0)
        values["litres_at_mm"] = rows
    return inside(container(depth_mm=full_mm + height_mm, full_mm=full_mm, **values))


@given(shapes(), st.lists(st.integers(0, 10_000), min_size=2))
def test_nearer_waste_is_never_less(it: Inside, distances_mm: list[int]) -> None:
    levels = [it.fill_pct(distance) for distance in sorted(distances_mm)]
    assert levels == sorted(levels, reverse=True)
    assert all(0 <= level <= FILL_MAX_PCT for level in levels)
    assert it.fill_pct(it.depth_mm) == 0
    assert it.fill_pct(max(it.full_mm, 0)) == pytest.approx(100)


@given(shapes(), st.floats(0.05, 1))
def test_volumes_are_the_sums_of_their_slices(it: Inside, share: float) -> None:
    """Against the cross-section's width at each height, added up in thin slices."""
    shape = it.shape
    assume(shape is not None)
    assume(not hasattr(shape, "litres"))
    top_mm = it.depth_mm + it.hidden_mm - it.full_mm
    slices = 4000

    def area(height_mm: float) -> float:
        if hasattr(shape, "diameter_mm"):
            r = shape.diameter_mm / 2
            return 2 * math.sqrt(max(r * r - (height_mm - r) ** 2, 0))
        width_mm = shape.floor_mm + (shape.full_mm - shape.floor_mm) * height_mm / shape.height_mm
        return width_mm**2 if shape.both else width_mm

    def volume(height_mm: float) -> float:
        step_mm = height_mm / slices
        return sum(area((n + 0.5) * step_mm) for n in range(slices)) * step_mm

    unseen = volume(it.hidden_mm)
    height_mm = it.hidden_mm + share * (top_mm - it.hidden_mm)
    expected = 100 * (volume(height_mm) - unseen) / (volume(top_mm) - unseen)
    distance_mm = it.depth_mm + it.hidden_mm - height_mm
    assert it.level_pct(distance_mm) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("values", "key", "message"),
    [
        ({"full_mm": 1300}, "full_mm", "must be less than depth_mm"),
        ({"shape": "lying"}, "shape", 'shape "lying" needs "diameter_mm"'),
        ({"shape": "tapered", "floor_width_mm": 1}, "shape", 'needs "full_width_mm"'),
        ({"diameter_mm": 1300}, "diameter_mm", 'diameter_mm is of shape "lying"'),
        ({"sensor_beside_mm": 9}, "sensor_beside_mm", '"tapered" or "trough" or "lying"'),
        ({"shape": "lying", "diameter_mm": 1299}, "diameter_mm", "is more than diameter_mm"),
        (
            {"shape": "lying", "diameter_mm": 1300, "sensor_beside_mm": 650},
            "sensor_beside_mm",
            "less than half the diameter",
        ),
        (
            {"shape": "trough", "floor_width_mm": 0, "full_width_mm": 9, "sensor_beside_mm": 5},
            "sensor_beside_mm",
            "beyond the wall",
        ),
        ({"sensor_below_mm": 1300}, "sensor_below_mm", "less than 1300"),
        ({"sensor_below_mm": 300, "dead_zone_mm": 1000}, "dead_zone_mm", "less than 1000"),
        ({"shape": "table", "litres_at_mm": [[0, 0], [9, 9]]}, "litres_at_mm", "ends below"),
        ({"shape": "table", "litres_at_mm": [[0, 1], [9, 9]]}, "litres_at_mm", "begins with"),
        ({"shape": "table", "litres_at_mm": [[0, 0], [0, 9]]}, "litres_at_mm", "and rises"),
        (
            {"shape": "table", "litres_at_mm": [[0, 0], [1300, 900]]},
            "capacity_l",
            "capacity_l (1000) is 900 at full_mm",
        ),
    ],
)
def test_what_is_no_container_is_told(values: dict[str, object], key: str, message: str) -> None:
    with pytest.raises(Misfit) as told:
        inside(container(**values))
    assert told.value.key == key
    assert message in str(told.value)


def test_a_table_is_finite() -> None:
    for row in ([math.inf, math.inf], [1300, math.nan]):
        with pytest.raises(ValidationError):
            container(shape="table", litres_at_mm=[[0, 0], row])
