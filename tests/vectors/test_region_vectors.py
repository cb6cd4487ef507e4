"""What public stacks say of the regions, against our tables; each fact with its source."""

import json
import pathlib
from collections.abc import Callable
from typing import Any

import pytest
from stoep_gateway.lns.channel_plan import for_region, link_adr_masks
from stoep_protocol.errors import DecodeError
from stoep_protocol.lorawan.regions import Region, by_name

VECTORS: list[dict[str, Any]] = json.loads(
    (pathlib.Path(__file__).parent / "regions.json").read_text()
)["vectors"]


def or_none(value: Callable[..., int], *arguments: Any) -> int | None:
    try:
        return value(*arguments)
    except DecodeError:
        return None


def data_rates(region: Region) -> dict[str, list[int]]:
    return {str(dr): list(region.data_rate(dr)) for dr in range(16) if region.has_data_rate(dr)}


def max_payload(region: Region, dwell: bool) -> dict[str, int]:
    # 0 and absence say the same.
    sizes = {str(dr): or_none(region.max_payload, dr, dwell) for dr in range(16)}
    return {dr: size for dr, size in sizes.items() if size}


def tx_power(region: Region) -> list[int]:
    return [region.tx_power_dbm(index) for index in range(region.max_tx_power + 1)]


def channels(region: Region) -> dict[str, list[int]]:
    return {
        str(index): [freq_hz, *region.dr_range(index)]
        for index, freq_hz in enumerate(region.default_channels_hz)
    }


def rx1_data_rates(region: Region, rows: int, dwell: bool) -> list[list[int]]:
    freq_hz = region.default_channels_hz[0]
    return [
        [
            region.rx1(freq_hz, dr, offset, dwell)[1]
            for offset in range(region.max_rx1_dr_offset + 1)
        ]
        for dr in range(rows)
    ]


def ch_mask(region: Region, enabled: str, cntl: int, mask: str) -> str | None:
    defined = (1 << region.channels) - 1
    value = or_none(region.apply_ch_mask, int(enabled, 16), defined, cntl, int(mask, 16))
    return None if value is None else hex(value)


def link_adr(region: Region, current: str, wanted: str) -> list[list[Any]]:
    masks = link_adr_masks(for_region(region), int(current, 16), int(wanted, 16))
    return [[hex(mask), cntl] for mask, cntl in masks]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_region_vector(vector: dict[str, Any]) -> None:
    region = by_name(vector["region"])
    given, expected = vector["input"], vector["expect"]
    first_hz = region.default_channels_hz[0]
    match vector["kind"]:
        case "data_rates":
            assert data_rates(region) == expected
        case "max_payload":
            wanted = {dr: size for dr, size in expected.items() if size}
            assert max_payload(region, **given) == wanted
        case "rx2":
            assert [region.rx2_hz, region.rx2_dr] == expected
        case "tx_power":
            assert tx_power(region) == expected
        case "channels":
            ours = channels(region)
            assert {index: ours[index] for index in expected} == expected
        case "rx1_frequency":
            assert region.rx1(given["freq_hz"], given["dr"], 0)[0] == expected
        case "rx1_data_rate":
            assert region.rx1(first_hz, given["dr"], given["offset"], given["dwell"])[1] == expected
        case "rx1_data_rates":
            assert rx1_data_rates(region, len(expected), given["dwell"]) == expected
        case "rx1_offsets":
            assert region.max_rx1_dr_offset == len(expected) - 1
            middle = 3
            assert [region.rx1(first_hz, middle, offset)[1] for offset in range(len(expected))] == [
                max(0, middle - by) for by in expected
            ]
        case "ch_mask":
            assert ch_mask(region, **given) == expected
        case "link_adr":
            assert link_adr(region, **given) == expected
        case "boot_dwell":
            assert region.starts_dwelling is expected["uplinks"]
            assert not expected["downlinks"]  # the default of `rx1` and `max_payload`
        case "cf_list":
            values = tuple(given["values"])
            assert region.encode_cf_list(values).hex() == expected
            assert region.decode_cf_list(bytes.fromhex(expected))[: len(values)] == values
        case kind:
            raise AssertionError(f"no test for {kind}")


def test_every_vector_has_its_own_name_and_a_source() -> None:
    assert len({vector["id"] for vector in VECTORS}) == len(VECTORS)
    assert all(vector["source"] for vector in VECTORS)
