"""AS923 and its frequency groups.

Source: LoRaWAN 1.0.3 Regional Parameters rev A, section 2.8 (AS923MHz); the offsets of the groups
are those of RP002-1.0.1 and later. A country's own rules, such as which further channels a network
may define, are not in here. The 1 % holds on the 500 kHz around the two default channels.
"""

from stoep_protocol.lorawan.regions import CF_LIST_FREQUENCIES, SF12_TO_SF7, Region, SubBand

_OFFSET_HZ = {"AS923": 0, "AS923-2": -1800000, "AS923-3": -6600000, "AS923-4": -5900000}


def by_name(name: str) -> Region:
    """Return the group "AS923", "AS923-2", "AS923-3" or "AS923-4". Raises `KeyError`."""
    offset_hz = _OFFSET_HZ[name]
    low_hz, high_hz = 923000000 + offset_hz, 923500000 + offset_hz
    return Region(
        name=name,
        data_rates=SF12_TO_SF7 + ((7, 250000), (0, 0)),  # 2.8.3: DR7 is FSK
        max_payload=(51, 51, 51, 115, 242, 242, 242, 242),  # 2.8.6
        max_payload_dwell=(0, 0, 11, 53, 125, 242, 242, 242),
        default_channels_hz=(923200000 + offset_hz, 923400000 + offset_hz),  # 2.8.2
        extra_channels_hz=(),
        channels=16,
        rx2=(923200000 + offset_hz, 2),  # 2.8.7
        max_rx1_dr_offset=7,
        top_rx1_dr=5,
        max_eirp_dbm=16,
        max_tx_power=7,  # 2.8.3
        cf_list_type=CF_LIST_FREQUENCIES,
        sub_bands=(
            SubBand(915000000, low_hz - 1, 1, 16),
            SubBand(low_hz, high_hz, 100, 16),
            SubBand(high_hz + 1, 928000000, 1, 16),
        ),
    )
