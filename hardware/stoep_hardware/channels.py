"""The channels that a simulated gateway listens to, as the reference forwarder's files set them."""

from dataclasses import dataclass

_GROUP = 8


@dataclass(frozen=True, slots=True)
class GatewayChannels:
    """A concentrator's set-up.

    `narrow` are (frequency, RF chain) of up to eight channels of 125 kHz, for spreading factors 7
    to 12; `wide` is (frequency, RF chain, spreading factor, bandwidth) of the ninth, if it is in
    use: it knows one data rate. It transmits from `tx_min_hz` to `tx_max_hz`.
    """

    narrow: tuple[tuple[int, int], ...]
    wide: tuple[int, int, int, int] | None
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


def of(region: str, sub_band: int) -> GatewayChannels:
    """Return the channels of a region, in US915 and AU915 of one of its sub-bands, 1 to 8.

    Raises ValueError for a region that is not simulated.
    """
    match region:
        case "EU868":
            return EU868
        case "US915":
            return _group(902_300_000, 903_000_000, sub_band, 923_000_000)
        case "AU915":
            return _group(915_200_000, 915_900_000, sub_band, 915_000_000)
        case "AS923":
            return _few((923_200_000, 923_400_000), 915_000_000, 928_000_000)
        case "IN865":
            return _few((865_062_500, 865_402_500, 865_985_000), 865_000_000, 867_000_000)
    raise ValueError(f"no simulated gateway for {region}")


def _group(first_hz: int, first_wide_hz: int, sub_band: int, tx_min_hz: int) -> GatewayChannels:
    first_hz += 200_000 * _GROUP * (sub_band - 1)
    return GatewayChannels(
        narrow=tuple((first_hz + 200_000 * n, n // 4) for n in range(_GROUP)),
        wide=(first_wide_hz + 1_600_000 * (sub_band - 1), 0, 8, 500_000),
        tx_min_hz=tx_min_hz,
        tx_max_hz=928_000_000,
    )


def _few(channels_hz: tuple[int, ...], tx_min_hz: int, tx_max_hz: int) -> GatewayChannels:
    narrow = tuple((freq_hz, 0) for freq_hz in channels_hz)
    return GatewayChannels(narrow, None, tx_min_hz, tx_max_hz)
