"""What the battery still allows. Pure.

A cell that is nearly empty gives way under load first, so the voltage counts that the ADC reads
while the processor works. One low reading may be the cold or a bad contact: it takes two in a row
to go down, and a tenth of a volt more to come up again.
"""

const = int

# Level 0 is normal, 1 saves: readings four times as seldom, nothing confirmed, no old readings on
# demand. On level 2 there are alarms alone, and a status a day.
ASLEEP = 3  # nothing; the battery is looked at once a day

# Where each level begins, in mV; config.json's `battery_levels_mv` goes before. A LiSOCl2 cell
# holds 3.6 V for nine tenths of its life; under 2.8 V an ESP32 board browns out.
LEVELS_MV = (3300, 3100, 2900)
_RISE_MV = const(100)


def level(
    before: int, doubted: bool, battery_mv: "int | None", levels_mv: "tuple[int, ...]"
) -> "tuple[int, bool]":
    """Return the level, and whether the next reading has to confirm a lower one.

    `before` and `doubted` are what this returned last. Without a measurement nothing is saved.
    """
    if battery_mv is None:
        return 0, False
    now = 0
    while now < len(levels_mv) and battery_mv < levels_mv[now]:
        now += 1
    if now > before:
        return (now, False) if doubted else (before, True)
    while before > now and battery_mv >= levels_mv[before - 1] + _RISE_MV:
        before -= 1
    return before, False


def gauge(battery_mv: "int | None", levels_mv: "tuple[int, ...]") -> int:
    """Return the battery as DevStatusAns tells it: 1 (empty) to 254 (full), 255 unknown."""
    if battery_mv is None:
        return 255
    empty, full = levels_mv[-1], levels_mv[0] + _RISE_MV
    return min(254, max(1, 1 + (battery_mv - empty) * 253 // (full - empty)))
