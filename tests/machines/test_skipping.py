"""How far counters skip after a restoration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.keeping.skipping import skips

MINUTE_MS = 60_000
MAX_FCNT_GAP = 16_384  # LoRaWAN 1.0.3, 4.3.1.5


@given(st.integers(-(10**15), 10**15))
def test_a_device_takes_the_next_downlink(elapsed_ms):
    """It may have heard any number since, and takes what is ahead by less than the gap."""
    skip = skips(elapsed_ms)
    assert 0 < skip.f_cnt_down < MAX_FCNT_GAP
    assert skip.numbers >= skip.f_cnt_down


@pytest.mark.parametrize("days", [0, 1, 7, 10])
def test_a_downlink_a_minute_is_never_counted_twice(days):
    skip = skips(days * 1440 * MINUTE_MS)
    assert skip.enough
    assert skip.f_cnt_down > days * 1440


def test_an_old_copy_may_not_be_enough():
    assert not skips(30 * 1440 * MINUTE_MS).enough


@given(st.integers(0, 14_000), st.integers(0, 900))
def test_coming_back_twice_to_one_copy_uses_nothing_twice(first_min, later_min):
    """The first time up to a downlink a minute is sent until the second."""
    first = skips(first_min * MINUTE_MS)
    second = skips((first_min + later_min) * MINUTE_MS)
    assert second.f_cnt_down >= first.f_cnt_down + later_min
