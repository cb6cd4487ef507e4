"""The firmware's own MAC against the network server's knowledge of it, over air that loses frames.

Whenever the server hears an uplink, the windows that it computes are those in which the device
listens; at the end both ends have the same settings, and nothing is asked for ever.
"""

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from lns_values import frame_set
from stoep_firmware import channels, joining
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_gateway.lns import channel_plan, mac_commands, mac_state
from stoep_gateway.lns.adr import SNR_FLOOR_DB, AdrSettings, History
from stoep_gateway.lns.mac_commands import Heard
from stoep_gateway.lns.mac_state import MacState, Target
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan import regions
from stoep_protocol.lorawan.crypto import DOWN

HOUR_MS = 3_600_000
UTC_MS = 1_790_000_000_000
LEAD_MS = 60  # a receiver opens this much early at most, for its clock is inexact


def first(actions, kind):
    return next((action for action in actions if action[0] == kind), None)


class Pair:
    """A device and its network server; ``loss`` is the share of frames lost, either way."""

    def __init__(self, target, seed, *, battery=200):
        self.target = target
        self.region = target.plan.region
        self.random = Random(seed)
        self.loss = 0.0
        self.mean_snr_db, self.fading_db = 5.0, 0.0
        self.now_ms = 1000
        self.network = Network()
        self.session = Session()
        self.mac = m.Mac(
            self.region,
            self.session,
            new_key,
            self.random.randrange,
            JOIN_EUI,
            DEV_EUI,
            APP_KEY,
            adr=True,
        )
        self.mac.battery = battery
        self.asked = Counter()
        self.downlinks = 0
        self.last_f_cnt = -1
        self.join()

    def join(self):
        target = self.target
        transmit = first(self.mac.handle((m.JOIN,), self.now_ms), m.TRANSMIT)
        accept = self.network.accept(
            transmit[5],
            rx1_dr_offset=target.rx1_dr_offset,
            rx2_dr=target.rx2_dr,
            rx_delay_s=target.rx1_delay_s,
            cf_list=target.plan.cf_list,
        )
        self.mac.handle((m.TX_DONE,), self.now_ms + 100)
        done = first(self.mac.handle((m.RECEIVED, accept, 5), self.now_ms + 5200), m.DONE)
        assert done == (m.DONE, m.JOINED, 0)
        self.state = mac_state.fresh(target, abp=False)
        self.history = History()

    def hours(self, count):
        for _ in range(count):
            self.now_ms = (self.now_ms // HOUR_MS + 1) * HOUR_MS
            confirmed = self.random.random() < 0.2
            actions = self.mac.handle((m.SEND, 10, b"hi", confirmed), self.now_ms)
            transmit = first(actions, m.TRANSMIT)
            while transmit is None:
                done = first(actions, m.DONE)
                if done is not None and done[1] == m.BUSY:
                    self.now_ms = done[2]
                    actions = self.mac.handle((m.SEND, 10, b"hi", confirmed), self.now_ms)
                transmit = first(actions, m.TRANSMIT)
            self.exchange(transmit)

    def exchange(self, transmit):
        """Carry one frame with all its repetitions."""
        while transmit is not None:
            self.now_ms += transmit[6]
            rx1 = first(self.mac.handle((m.TX_DONE,), self.now_ms), m.RECEIVE)
            down, windows = self.uplink(transmit)
            if windows:
                self.listens(rx1, windows[0])
            arrives = down is not None and self.random.random() >= self.loss
            second = self.random.random() < 0.3
            after_ms = rx1[4] + 500
            actions = ()
            if arrives and not second:
                actions = self.mac.handle((m.RECEIVED, down, 5), after_ms)
            else:
                rx2 = first(self.mac.handle((m.RX_TIMEOUT,), after_ms), m.RECEIVE)
                if windows:
                    self.listens(rx2, windows[1])
                event = (m.RECEIVED, down, 5) if arrives else (m.RX_TIMEOUT,)
                actions = self.mac.handle(event, rx2[4] + 2000)
            self.now_ms = after_ms + 3000
            transmit = None
            while first(actions, m.DONE) is None and transmit is None:
                self.now_ms = max(self.now_ms, self.mac.next_deadline())
                actions = self.mac.handle((m.TIMER,), self.now_ms)
                transmit = first(actions, m.TRANSMIT)

    def listens(self, receive, window):
        """Check that the device opens its receiver where and when the server would send."""
        _, freq_hz, sf, bw_hz, at_ms, _ = receive
        delay_s, wanted_hz, dr = window
        assert (freq_hz, (sf, bw_hz)) == (wanted_hz, self.region.data_rate(dr))
        assert 0 <= self.now_ms + 1000 * delay_s - at_ms <= LEAD_MS

    def uplink(self, transmit):
        """Return the server's downlink and its windows; no windows if it has heard nothing."""
        _, freq_hz, sf, bw_hz, _, phy_payload, _ = transmit
        snr_db = self.mean_snr_db + self.random.gauss(0, self.fading_db)
        snr_db -= 2 * self.session.tx_power
        if (
            snr_db < SNR_FLOOR_DB[sf]
            or self.random.random() < self.loss
            or not self.target.plan.hears(freq_hz)
        ):
            return None, ()
        frame, _ = self.network.open(phy_payload)
        region, target = self.region, self.target
        dr = region.dr_of(sf, bw_hz)
        heard = Heard(
            frame_set(phy_payload, freq_hz=freq_hz, sf=sf, bw_hz=bw_hz, snr_db=min(snr_db, 11.0)),
            self.network.f_cnt_up,
            dr,
            frame.adr,
            frame.confirmed,
            frame.f_opts,
            UTC_MS + self.now_ms,
        )
        if self.network.f_cnt_up == self.last_f_cnt:
            turn = mac_commands.hear_again(self.state, heard)
        else:
            turn = mac_commands.hear(self.state, self.history, target, AdrSettings(), heard)
            assert {event.what for event in turn.events} <= {"accepted", "refused"}
        self.last_f_cnt = self.network.f_cnt_up
        self.state = state = MacState.loads(turn.state.dumps())
        rx1_hz, rx1_dr = region.rx1(freq_hz, dr, state.rx1_dr_offset, state.dwell(region)[0])
        windows = (
            (state.rx1_delay_s, state.rx1_hz(freq_hz, rx1_hz), rx1_dr),
            (state.rx1_delay_s + 1, state.rx2_hz, state.rx2_dr),
        )
        if not (turn.due or frame.confirmed or frame.adr_ack_req):
            return None, windows
        f_opts, self.state = mac_commands.pack(turn, 15, UTC_MS + self.now_ms)
        self.asked.update(cid for cid, *_ in mc.decode(DOWN, f_opts)[0])
        self.downlinks += not frame.confirmed
        return self.network.down(ack=frame.confirmed, f_opts=f_opts), windows

    def agree(self):
        """Check that the server knows what the device does, once nothing is under way."""
        for _ in range(3):
            if self.state.pending:
                self.hours(1)
        assert self.state.pending == ()
        session, state = self.session, self.state
        assert (session.dr, session.tx_power, session.nb_trans) == (
            state.dr,
            state.tx_power,
            state.nb_trans,
        )
        assert session.ch_mask == state.channels
        assert (session.rx_delay_s, session.rx1_dr_offset, session.rx2_dr, session.rx2_hz) == (
            state.rx1_delay_s,
            state.rx1_dr_offset,
            state.rx2_dr,
            state.rx2_hz,
        )
        assert session.max_duty_cycle == state.max_duty_cycle
        if state.tx_param is not None:
            down, up, eirp_dbm = state.tx_param
            assert (session.dwell, session.max_eirp_dbm) == (2 * down + up, eirp_dbm)
        down_hz = dict(state.down_hz)
        for index, up_hz in enumerate(state.channels_hz):
            if up_hz:
                known = channels.channel(session, self.region, index)
                assert known[:2] == (up_hz, down_hz.get(index, up_hz))
        assert state.battery == self.mac.battery


EU868 = channel_plan.for_region(regions.EU868)
US915 = channel_plan.for_region(regions.by_name("US915"), 2)
AS923 = channel_plan.for_region(regions.by_name("AS923"))
MORE_HZ = (*regions.EU868.extra_channels_hz, 867_000_000, 866_800_000)
PLAIN = {
    "EU868": Target(EU868, 1, 0, 0, 869_525_000),
    "US915": Target(US915, 1, 0, 8, 923_300_000),
    "AS923": Target(AS923, 1, 0, 2, 923_200_000),
}
CHANGED = {
    "EU868": Target(
        channel_plan.for_region(regions.EU868, extra_hz=MORE_HZ),
        5,
        2,
        3,
        869_525_000,
        max_duty_cycle=7,
        down_hz=((1, 868_500_000), (4, 867_900_000)),
    ),
    "US915": Target(US915, 3, 1, 10, 923_900_000, max_duty_cycle=2),
    "AS923": Target(AS923, 2, 0, 4, 923_200_000, tx_param=(False, False, 14)),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("loss", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("region", PLAIN)
def test_both_ends_agree_after_lossy_air_and_another_configuration(region, loss, seed):
    pair = Pair(PLAIN[region], seed)
    pair.loss = loss
    pair.fading_db = 4.0
    pair.hours(120)
    pair.target = CHANGED[region]
    pair.hours(150)
    pair.loss = pair.fading_db = 0.0
    pair.hours(200)  # whatever rests is asked again within a day
    before, asked_before = pair.downlinks, pair.asked.copy()
    pair.hours(240)
    pair.agree()
    assert pair.state.channels == pair.target.plan.mask
    assert (pair.state.rx1_delay_s, pair.state.rx2_dr) == (
        pair.target.rx1_delay_s,
        pair.target.rx2_dr,
    )
    assert pair.state.tx_param == pair.target.tx_param
    assert pair.state.refused == ()
    later = pair.asked - asked_before
    assert set(later) <= {mc.DEV_STATUS, mc.LINK_ADR}
    assert later[mc.DEV_STATUS] <= 11
    assert later[mc.LINK_ADR] <= 3
    assert pair.downlinks - before <= 14


def test_a_weak_device_gets_faster_when_the_air_gets_better_and_back():
    pair = Pair(PLAIN["EU868"], 1)
    pair.mean_snr_db = -9.0  # nobody hears SF7: what ADR_ACK_LIMIT and ADR_ACK_DELAY are for
    pair.hours(200)
    assert pair.session.dr <= 2
    pair.mean_snr_db = 8.0
    pair.hours(100)
    pair.agree()
    assert (pair.session.dr, pair.session.tx_power > 0) == (5, True)
    pair.mean_snr_db = -9.0
    pair.hours(150)
    pair.agree()
    assert pair.session.dr <= 2
    assert pair.session.tx_power == 0


def test_lost_frames_bring_repetitions_and_good_air_ends_them():
    pair = Pair(PLAIN["EU868"], 2)
    pair.loss = 0.4
    pair.hours(150)
    assert pair.session.nb_trans == 3
    pair.loss = 0.0
    pair.hours(200)
    pair.agree()
    assert pair.session.nb_trans == 1


def test_a_device_out_of_reach_comes_back_slow_and_is_followed():
    pair = Pair(PLAIN["EU868"], 3)
    pair.mean_snr_db = 11.0
    pair.hours(60)
    assert (pair.session.dr, pair.session.tx_power > 0) == (5, True)
    pair.mean_snr_db = -17.0  # a container was set before it: only SF11 and SF12 get through
    pair.hours(400)
    pair.agree()
    assert pair.session.dr == 0


@pytest.mark.parametrize("seed", range(4))
def test_a_device_without_the_join_accepts_channels_learns_them(seed):
    pair = Pair(PLAIN["EU868"], seed)
    pair.loss = 0.3
    joining.reset_channels(pair.session, pair.region)
    pair.session.rx2_dr = 0
    pair.target = CHANGED["EU868"]
    pair.state = mac_state.fresh(pair.target, abp=True)
    pair.hours(150)
    pair.loss = 0.0
    pair.hours(60)
    pair.agree()
    assert pair.state.channels == pair.target.plan.mask


def test_a_network_that_moves_to_other_channels_gets_its_devices_back():
    # Nobody hears them until they have backed off to all channels; then they follow.
    pair = Pair(PLAIN["US915"], 4)
    pair.hours(10)
    assert pair.state.channels == US915.mask
    elsewhere = channel_plan.for_region(regions.by_name("US915"), 7)
    pair.target = replace(PLAIN["US915"], plan=elsewhere)
    pair.hours(400)
    pair.agree()
    assert pair.session.ch_mask == elsewhere.mask
    assert pair.session.dr == 3
