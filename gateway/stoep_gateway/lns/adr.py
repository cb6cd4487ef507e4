"""Adaptive data rate: what a device should send with, as a function of how it was heard.

The recommended way of Semtech ("LoRaWAN simple rate adaptation algorithm", 2016), as ChirpStack and
The Things Stack have it too: the best signal of the last frames says how many steps of 3 dB are to
spare; they go into the data rate first, then into less power. Here a link that is too weak gets
power back and then, which neither does, a lower data rate. How often frames are repeated follows
from the share that was lost.
"""

from __future__ import annotations

import functools
from array import array
from dataclasses import dataclass

from stoep_protocol.lorawan.regions import Region

from stoep_gateway.values import value

__all__ = ["CALM_FRAMES", "FRAMES", "SNR_FLOOR_DB", "AdrSettings", "History", "Setting", "decide"]

FRAMES = 20  # before a device is told to send faster, or with less power, or more often
CALM_FRAMES = 60  # before it is told to send less often: repetitions themselves hide the loss
_RECOVERY_FRAMES = 5  # before it is told to send with more power, or slower, in an emergency
_STEP_DB = 3.0
_OUTAGE_FRAMES = 12  # longer runs of lost frames tell of a gateway that was off, not of a link
_CONFIRMED_STRAYS = 4  # as many tries as a confirmed frame has at data rates below the device's own

# Signal to noise at which a spreading factor is just demodulated: SX1301 data sheet, table 2.
SNR_FLOOR_DB = {5: -2.5, 6: -5.0, 7: -7.5, 8: -10.0, 9: -12.5, 10: -15.0, 11: -17.5, 12: -20.0}

# NbTrans by the share of lost frames (below, in per cent) and by the present NbTrans: 1, 2, 3.
_NB_TRANS = (
    (5, (1, 1, 2)),
    (10, (1, 2, 3)),
    (30, (2, 3, 3)),
    (101, (3, 3, 3)),
)


@dataclass(frozen=True, slots=True)
class AdrSettings:
    """``margin_db``: what a link has to spare above demodulation, against fading."""

    margin_db: float = 10.0
    min_dr: int = 0
    max_dr: int = 5


@value
class Setting:
    """What a LinkADRReq sets besides channels: data rate, TXPower index, repetitions."""

    dr: int
    tx_power: int
    nb_trans: int


class History:
    """How the last frames of one session were heard, all of them sent with one setting.

    Small, since there is one per device, and in memory only: a restart costs twenty frames.
    """

    __slots__ = ("_f_cnts", "_snrs_db", "_strays", "setting")

    def __init__(self) -> None:
        self.setting: Setting | None = None
        self._snrs_db = array("f")
        self._f_cnts = array("I")  # since the last outage
        self._strays = 0

    def add(self, f_cnt_up: int, snr_db: float, setting: Setting) -> None:
        """Take a frame that ``setting`` was sent with; ``snr_db`` is the best of all gateways'.

        A repetition is not counted.
        """
        old = self.setting
        if old is not setting and old != setting:
            if old is None or (old.dr, old.tx_power) != (setting.dr, setting.tx_power):
                del self._snrs_db[:]
            del self._f_cnts[:]
            self.setting = setting
        self._strays = 0
        if self._count(f_cnt_up):
            self._snrs_db.append(snr_db)
            del self._snrs_db[:-FRAMES]

    def strays(self, f_cnt_up: int, *, confirmed: bool, lower: bool) -> bool:
        """Take a frame at another data rate; return whether the device has moved there for good.

        A confirmed frame may be a late try, for which a device goes down only then (1.0.3, 18.4).
        """
        self._strays += 1
        if not (confirmed and lower) or self._strays >= _CONFIRMED_STRAYS:
            return True
        self._count(f_cnt_up)
        return False

    @property
    def frames(self) -> int:
        """How many frames ``snr_db`` is the best of, up to ``FRAMES``."""
        return len(self._snrs_db)

    @property
    def snr_db(self) -> float:
        """The best signal. There must be a frame."""
        return max(self._snrs_db)

    def loss_pct(self, frames: int = FRAMES) -> float | None:
        """Return the share that did not come until the last ``frames`` had; None if fewer have."""
        f_cnts = self._f_cnts
        if len(f_cnts) < frames:
            return None
        sent = f_cnts[-1] - f_cnts[-frames] + 1
        return 100.0 * (sent - frames) / sent

    def _count(self, f_cnt_up: int) -> bool:
        f_cnts = self._f_cnts
        if f_cnts:
            lost = f_cnt_up - f_cnts[-1] - 1
            if lost < 0:
                return False
            if lost > _OUTAGE_FRAMES:
                del f_cnts[:]
        f_cnts.append(f_cnt_up)
        del f_cnts[:-CALM_FRAMES]
        return True


def decide(
    history: History,
    setting: Setting,
    region: Region,
    settings: AdrSettings,
    *,
    dwell: bool = False,
) -> Setting:
    """Return what a device that asks for it should send with; ``setting`` itself to change nothing.

    ``setting`` is what it sends with now. The range of ``settings`` is cut to what the region's
    ordinary channels carry, under the 400 ms limit if ``dwell``. Before twenty frames nothing
    changes but a link that is two steps too weak, by one step less: few frames have a weaker best.
    """
    lowest, highest = _range(region, settings, dwell)
    dr, tx_power, nb_trans = min(setting.dr, highest), setting.tx_power, setting.nb_trans
    frames = history.frames if history.setting == setting else 0
    if dr == setting.dr and frames >= _RECOVERY_FRAMES:
        sf, _ = region.data_rate(dr)
        steps = int((history.snr_db - SNR_FLOOR_DB[sf] - settings.margin_db) / _STEP_DB)
        if frames < FRAMES:
            steps = min(0, steps + 1)
        else:
            dr = max(dr, lowest)
        for _ in range(steps):
            if dr < highest:
                dr += 1
            elif tx_power < region.max_tx_power:
                tx_power += 1
        for _ in range(-steps):
            if tx_power:
                tx_power -= 1
            elif dr > lowest:
                dr -= 1
        nb_trans = _nb_trans(history, nb_trans)
    if (dr, tx_power, nb_trans) == (setting.dr, setting.tx_power, setting.nb_trans):
        return setting
    return Setting(dr, tx_power, nb_trans)


@functools.cache
def _range(region: Region, settings: AdrSettings, dwell: bool) -> tuple[int, int]:
    highest = region.dr_range(0)[1]
    lowest = min(max(settings.min_dr, region.min_dr(dwell)), highest)
    return lowest, max(lowest, min(settings.max_dr, highest))


def _nb_trans(history: History, current: int) -> int:
    loss_pct = history.loss_pct()
    if loss_pct is None:
        return current
    decided = _by_loss(loss_pct, current)
    if decided < current:
        loss_pct = history.loss_pct(CALM_FRAMES)
        return current if loss_pct is None else max(decided, _by_loss(loss_pct, current))
    return decided


def _by_loss(loss_pct: float, current: int) -> int:
    return next(row[min(current, 3) - 1] for up_to, row in _NB_TRANS if loss_pct < up_to)
