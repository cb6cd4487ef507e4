"""AU915. Source: LoRaWAN 1.0.3 Regional Parameters rev A, section 2.6 (AU915-928)."""

from stoep_protocol.lorawan.regions import SF12_TO_SF7, SubBand
from stoep_protocol.lorawan.regions_fixed import FixedRegion

_DOWN = (0, 53, 129, 242, 242, 242, 242)  # from DR7, which there is not

AU915 = FixedRegion(
    name="AU915",
    first_hz=915200000,  # 2.6.2
    wide_hz=915900000,
    narrow=SF12_TO_SF7,  # 2.6.3
    max_payload=(51, 51, 51, 115, 242, 242, 242) + _DOWN,  # 2.6.6
    max_payload_dwell=(0, 0, 11, 53, 125, 242, 242) + _DOWN,
    rx1_from=8,  # 2.6.7
    max_rx1_dr_offset=5,
    max_tx_power=14,  # 2.6.3
    sub_bands=(SubBand(915000000, 928000000, 1, 30),),
)
