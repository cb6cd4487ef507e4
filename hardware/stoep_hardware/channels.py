"""The channels that a simulated gateway listens to, as the reference forwarder's files set them."""

from dataclasses import dataclass

_GROUP = 8


@dataclass(frozen=True, slots=True)
class GatewayChannels:
    """A concentrator's set-up.

    `narrow` are (frequency, RF chain) of the eight channels of 125 kHz, for spreading factors 7 to
    12; `wide` is (frequency, RF chain, spreading factor, bandwidth) of the ninth, which
    knows one data rate. It transmits from `tx_min_hz` to `tx_max_hz`.
    """

    narrow: tuple[tuple[int, int], ...]
    wide: tuple[int, int, int, int]
    tx_min_hz: int
    tx_max_hz: int


EU868 = GatewayChannels(
    narrow=(
        (868_100_000, 1),
        (868_300_000, 1),
        (868_500_000, 1),
        (867_100_000, 0),
        (867_300_000, 0),
        (867_500_000, 0),
        (867_700_000, 0),
        (867_900_000, 0),
    ),
    wide=(868_300_000, 1, 7, 250_000),
    tx_min_hz=863_000_000,
    tx_max_hz=870_000_000,
)


def us915(sub_band: int) -> GatewayChannels:
    """Return one of the eight groups of US915, 1 to 8."""
    first_hz = 902_300_000 + 200_000 * _GROUP * (sub_band - 1)
    return GatewayChannels(
        narrow=tuple((first_hz + 200_000 * n, n // 4) for n in range(_GROUP)),
        wide=(903_000_000 + 1_600_000 * (sub_band - 1), 0, 8, 500_000),
        tx_min_hz=923_000_000,
        tx_max_hz=928_000_000,
    )


def of(region: str, sub_band: int) -> GatewayChannels:
    """Return the channels of a region. Raises ValueError for one that is not simulated."""
    if region == "EU868":
        return EU868
    if region == "US915":
        return us915(sub_band)
    raise ValueError(f"no simulated gateway for {region}")
