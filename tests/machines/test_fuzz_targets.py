"""The targets of ``make fuzz``, for as long as a test may take: what they assert holds."""

from importlib import import_module
from pathlib import Path

import pytest
from fuzz_shapes import Octets, altered
from hypothesis import given, settings
from hypothesis import strategies as st

FUZZ = Path(__file__).parents[2] / "fuzz"
TARGETS = sorted(path.stem for path in FUZZ.glob("fuzz_*.py") if "Target" in path.read_text())


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_whatever_is_like_them(name):
    target = import_module(name).Target()
    seeds = target.seeds()
    for seed in seeds:
        target(seed)

    @given(st.sampled_from(seeds), st.binary(max_size=8), st.integers(0, 60))
    def spoilt(seed, octets, at):
        target(seed[:at] + octets + seed[at + len(octets) :])

    @given(st.integers(0, 7), st.binary(max_size=300))
    @settings(max_examples=300)
    def anything(shape, octets):
        target(bytes((shape,)) + octets)

    spoilt()
    anything()


def test_an_input_alters_always_the_same_way_and_sometimes_not_at_all():
    template = {"a": 1, "b": ["x", {"c": 2.5}]}
    assert altered(template, Octets(b"")) == template
    made = {str(altered(template, Octets(bytes((n, 7, n, 3)) * 9))) for n in range(256)}
    assert len(made) > 50
    assert made == {str(altered(template, Octets(bytes((n, 7, n, 3)) * 9))) for n in range(256)}
