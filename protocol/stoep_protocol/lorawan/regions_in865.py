"""IN865. Source: LoRaWAN 1.0.3 Regional Parameters rev A, section 2.10 (IN865-867)."""

from stoep_protocol.lorawan.regions import CF_LIST_FREQUENCIES, SF12_TO_SF7, Region, SubBand

IN865 = Region(
    name="IN865",
    data_rates=SF12_TO_SF7,  # 2.10.3: DR6 is reserved, DR7 is FSK
    max_payload=(51, 51, 51, 115, 242, 242, 0, 242),  # 2.10.6
    default_channels_hz=(865062500, 865402500, 865985000),  # 2.10.2
    extra_channels_hz=(),
    channels=16,
    rx2=(866550000, 2),  # 2.10.7
    max_rx1_dr_offset=7,
    top_rx1_dr=5,
    max_eirp_dbm=30,
    max_tx_power=10,  # 2.10.3
    cf_list_type=CF_LIST_FREQUENCIES,
    sub_bands=(SubBand(865000000, 867000000, 1, 30),),
)
