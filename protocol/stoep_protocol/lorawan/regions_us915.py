"""US915. Source: LoRaWAN 1.0.3 Regional Parameters rev A, section 2.3 (US902-928)."""

from stoep_protocol.lorawan.regions import SubBand
from stoep_protocol.lorawan.regions_fixed import FixedRegion

const = int

_WIDE_DR = const(4)
_HOPPING_CHANNELS = const(50)


class _Us915(FixedRegion):
    __slots__ = ()

    def limit_dbm(self, dr: int, ch_mask: int) -> int:
        """Return the highest EIRP at a data rate with these channels in use.

        2.3.3: 26 dBm conducted on 500 kHz, 21 where a device hops over less than 50 channels of
        125 kHz; with a dipole of 2.15 dBi, rounded down.
        """
        if dr >= _WIDE_DR:
            return 28
        count = 0
        for index in range(64):
            count += ch_mask >> index & 1
        return self.max_eirp_dbm if count >= _HOPPING_CHANNELS else 23


US915 = _Us915(
    name="US915",
    first_hz=902300000,  # 2.3.2
    wide_hz=903000000,
    narrow=((10, 125000), (9, 125000), (8, 125000), (7, 125000)),  # 2.3.3
    max_payload=(11, 53, 125, 242, 242, 0, 0, 0, 53, 129, 242, 242, 242, 242),  # 2.3.6
    rx1_from=10,  # 2.3.7
    max_rx1_dr_offset=3,
    max_tx_power=14,  # 2.3.3
    # Uplinks, then downlinks, which are on 500 kHz all.
    sub_bands=(SubBand(902000000, 914999999, 1, 30), SubBand(915000000, 928000000, 1, 28)),
)
