"""The channels of a session: what every uplink needs of them."""

const = int
TYPE_CHECKING = const(0)
if TYPE_CHECKING:
    from stoep_protocol.lorawan.regions import Region

    from stoep_firmware.session import Session


def dr_range_of(region: "Region", index: int) -> int:
    """Return the data rates of a channel of the region's own, as max << 4 | min."""
    low, high = region.dr_range(index)
    return high << 4 | low


def channel(session: "Session", region: "Region", index: int) -> "tuple[int, int, int]":
    """Return (uplink Hz, downlink Hz, DR range) of a channel; 0 Hz if there is none."""
    if region.has_fixed_channels:
        freq_hz = region.default_channels_hz[index]
        return freq_hz, freq_hz, dr_range_of(region, index)
    if index < len(session.channels):
        return session.channels[index]
    return 0, 0, 0


def carrying(
    session: "Session", region: "Region", ch_mask: int, dr: int
) -> "list[tuple[int, int]]":
    """Return (uplink Hz, downlink Hz) of the channels in a mask that carry this data rate."""
    found = []
    for index in range(region.channels):
        if ch_mask >> index & 1:
            freq_hz, down_hz, dr_range = channel(session, region, index)
            if freq_hz and dr_range & 15 <= dr <= dr_range >> 4:
                found.append((freq_hz, down_hz))
    return found


def usable_channels(session: "Session", region: "Region", dr: int) -> "list[tuple[int, int]]":
    """Return (uplink Hz, downlink Hz) of the channels in use that carry this data rate."""
    return carrying(session, region, session.ch_mask, dr)


def stay_heard(session: "Session", region: "Region") -> None:
    """See to it that a channel carries the data rate: by SF7, else by the region's own channels.

    Those are used at full power (1.0.4, 4.3.1.1).
    """
    if not usable_channels(session, region, session.dr):
        session.dr = min(session.dr, region.dr_of(7, 125000))
        if not usable_channels(session, region, session.dr):
            session.ch_mask |= (1 << len(region.default_channels_hz)) - 1
            session.tx_power = 0
