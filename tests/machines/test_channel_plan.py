"""The network's channels, and the LinkADRReq that lead devices onto them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.lns.channel_plan import Channel, Plan, for_region, link_adr_masks
from stoep_protocol.lorawan.regions import EU868, Region, by_name

US915 = by_name("US915")
ALL = (1 << 72) - 1
SECOND = 0xFF00 | 1 << 65  # the second sub-band


def after(region: Region, current: int, requests: tuple[tuple[int, int], ...]) -> int:
    defined = (1 << region.channels) - 1
    for ch_mask, ch_mask_cntl in requests:
        current = region.apply_ch_mask(current, defined, ch_mask_cntl, ch_mask)
    return current


def test_eu868_has_the_default_channels_and_those_of_the_cf_list():
    plan = for_region(EU868)
    assert plan.cf_list.hex() == "184f84e85684b85e84886684586e8400"
    assert plan.channels_hz == (*EU868.default_channels_hz, *EU868.extra_channels_hz)
    assert plan.mask == 0xFF
    assert plan.channels[0] == Channel(0, 868_100_000, 0, 5)
    assert plan.hears(867_900_000)
    assert not plan.hears(869_525_000)
    assert link_adr_masks(plan, 0b111) == ((0xFF, 0),)
    assert link_adr_masks(plan, 0b111, 0b101) == ((0b101, 0),)


def test_channels_that_no_cf_list_holds_are_still_in_use():
    extra = (*EU868.extra_channels_hz, 868_850_000)
    plan = for_region(EU868, extra_hz=extra)
    assert len(plan.channels_hz) == 8
    assert plan.mask == 0x1FF
    assert plan.channels[8].freq_hz == 868_850_000


def test_a_plan_without_extra_channels_has_no_cf_list():
    plan = for_region(EU868, extra_hz=())
    assert plan.cf_list == b""
    assert plan.mask == 0b111


def test_us915_has_eight_channels_and_the_wide_one_that_goes_with_them():
    plan = for_region(US915, sub_band=2)
    assert plan.mask == SECOND
    assert plan.channels[0] == Channel(8, 903_900_000, 0, 3)
    assert plan.channels[-1] == Channel(65, 904_600_000, 4, 4)
    assert plan.cf_list.hex() == "00ff0000000000000200000000000001"
    assert plan.channels_hz == US915.default_channels_hz
    assert plan.hears(904_600_000)
    assert not plan.hears(902_300_000)


@pytest.mark.parametrize(
    ("sub_band", "current", "requests"),
    [
        (2, ALL, ((0x02, 7), (0xFF00, 0))),  # a device that took no CFList
        (1, ALL, ((0x01, 7), (0x00FF, 0))),
        (8, ALL, ((0x80, 7), (0xFF00, 3))),
        (2, SECOND, ((0xFF00, 0),)),  # nothing to change
        (2, SECOND & ~(1 << 65), ((0x02, 4),)),
        (2, 0x00FF | 1 << 65, ((0xFF00, 0),)),
        (2, 0x00FF | 1 << 64, ((0xFF00, 0), (0x02, 4))),
        (2, 0x00FF << 32 | 1 << 64, ((0x02, 7), (0xFF00, 0))),
    ],
)
def test_the_shortest_block_in_us915(sub_band, current, requests):
    assert link_adr_masks(for_region(US915, sub_band), current) == requests


def test_all_channels_of_us915_take_one_request():
    assert link_adr_masks(for_region(US915), SECOND, ALL) == ((0xFF, 6),)


@given(st.integers(0, ALL), st.integers(1, ALL))
def test_a_block_always_leads_to_what_is_wanted(current: int, wanted: int) -> None:
    requests = link_adr_masks(for_region(US915), current, wanted)
    assert after(US915, current, requests) == wanted
    assert 1 <= len(requests) <= 5


def refused(*arguments: object, **options: object) -> bool:
    try:
        for_region(*arguments, **options)  # type: ignore[arg-type]
    except ValueError:
        return True
    return False


def test_what_cannot_be_is_refused():
    assert refused(US915, 0)
    assert refused(US915, 9)
    assert refused(US915, extra_hz=(903_000_000,))
    assert refused(EU868, extra_hz=(902_300_000,))
    assert refused(EU868, extra_hz=(867_100_000,) * 14)
    plan: Plan = for_region(EU868)
    with pytest.raises(ValueError, match="channel"):
        link_adr_masks(plan, 7, 0)


def test_au915_has_groups_and_the_others_only_their_own_channels():
    plan = for_region(by_name("AU915"), sub_band=1)
    assert plan.channels[0] == Channel(0, 915_200_000, 0, 5)
    assert plan.channels[-1] == Channel(64, 915_900_000, 6, 6)
    for name in ("AS923", "AS923-3", "IN865"):
        plan = for_region(by_name(name))
        assert plan.channels_hz == plan.region.default_channels_hz
        assert plan.cf_list == b""
    extra = (923_600_000, 923_800_000)
    plan = for_region(by_name("AS923"), extra_hz=extra)
    assert plan.region.decode_cf_list(plan.cf_list) == (*extra, 0, 0, 0)
    assert plan.mask == 0b1111
