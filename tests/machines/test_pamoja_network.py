"""The firmware's whole program against the network side of pamoja: joined, heard, commanded.

pamoja decides when and where it answers, and makes the frames and the MAC commands.
"""

from random import Random

import pytest
from dual_air import Air
from dual_device import APP_KEY, DEV_EUI, JOIN_EUI
from dual_wakes import Device, of
from pamoja import _native as pamoja
from stoep_protocol import messages

RX_DELAY_S = 3
DEVICE_TIME, GPS_S = 0x0D, 1_400_000_000
CONCENTRATOR = 0xFFFFFFFF  # its microseconds go round


class Life(Device):
    """A device and pamoja's network; a tenth of the frames is lost, either way."""

    def __init__(self, region, seed):
        super().__init__(region=region, adr=True)
        self.dice = Random(seed)
        self.board.random = self.dice.randrange
        plan = pamoja.ChannelPlan.for_region(region)
        self.pamoja = pamoja.GatewayNetwork(
            plan, 0x13, receive_delay_us=RX_DELAY_S * 1_000_000, join_delay_us=5_000_000
        )
        self.pamoja.register(DEV_EUI, JOIN_EUI, APP_KEY)
        self.radio = Air(self.board.clock, self.uplink)
        self.events = []
        self.messages = []
        self.answers = []  # pamoja's reading of the FOpts of the frames that it heard
        self.places = []  # (Hz, SF) of each
        self.commands = b""
        self.says = []
        self.times_told = 0

    def uplink(self, now_ms, airtime_ms, freq_hz, sf, bw_hz, power_dbm, octets):
        assert not self.radio.missed()
        if self.dice.random() < 0.1:
            return None
        end_us = (now_ms + airtime_ms) * 1000 & CONCENTRATOR
        link = pamoja.LoraLink(sf, bw_hz)
        heard = pamoja.GatewayRxpk(freq_hz, octets, link=link, timestamp_us=end_us, snr_db=5.0)
        event = self.pamoja.uplink(heard)
        self.events.append(event)
        if event.outcome == "joined":
            assert event.dev_eui == DEV_EUI.hex()
            return self.sends(event.accept, end_us)
        assert event.outcome == "data"
        if event.fport:
            self.messages.append(messages.decode(event.fport, event.payload))
        f_opts = octets[8 : 8 + (octets[5] & 15)]
        self.answers.append(pamoja.lorawan_mac_parse("Uplink", f_opts))
        self.places.append((freq_hz, sf))
        request = self.commands
        if DEVICE_TIME in [answer.cid for answer in self.answers[-1]]:
            request += bytes((DEVICE_TIME,)) + (GPS_S + end_us // 1_000_000).to_bytes(4, "little")
            request += bytes((end_us // 1000 % 1000 * 256 // 1000,))
            self.times_told += 1
        if request:
            commands = pamoja.lorawan_mac_parse("Downlink", request)
            return self.sends(self.pamoja.command(event.dev_addr, event.slot, commands), end_us)
        if self.says:
            f_port, payload = self.says.pop(0)
            txpk = self.pamoja.answer(event.dev_addr, event.slot, f_port, payload)
            return self.sends(txpk, end_us)
        return None

    def sends(self, txpk, end_us):
        assert txpk.invert_polarity
        if self.dice.random() < 0.1:
            return None
        delay_s, rest_us = divmod((txpk.timestamp_us - end_us) & CONCENTRATOR, 1_000_000)
        assert rest_us == 0
        place = delay_s, txpk.frequency_hz, txpk.link.spreading_factor, txpk.link.bandwidth_hz
        return place, txpk.payload, 5

    def run_wakes(self, count):
        for _ in range(count):
            self.wake()
            for problem in self.board.problems:
                raise problem
            self.sleep()

    def until_answered(self, kind, octets):
        """Send these commands until one is answered by that kind; return the answers."""
        self.commands = octets
        before = len(self.answers)
        for _ in range(20):
            self.run_wakes(1)
            for at, answers in enumerate(self.answers[before:], before):
                if kind in [answer.kind for answer in answers]:
                    self.commands = b""
                    del self.places[: at + 1]
                    return answers
        raise AssertionError(f"no {kind}")


@pytest.mark.parametrize("region", ["EU868", "US915"])
def test_pamoja_joins_hears_and_commands_the_firmware(region):
    life = Life(region, 1)
    life.run_wakes(30)
    counters = [event.fcnt for event in life.events if event.outcome == "data"]
    assert counters == sorted(set(counters))
    assert len(of(messages.BinReport, life.messages)) >= 20

    answer = life.until_answered("dev_status_ans", b"\x06")[0]
    assert (answer.kind, answer.snr_margin) == ("dev_status_ans", 5)
    assert answer.battery > 0  # that would be mains

    octets, sf, channels = {
        # DR4, power 1, channels 0 and 2; DR2, power 1, channels 8 to 15 and none of 500 kHz.
        "EU868": ("0341050001", 8, {868_100_000, 868_500_000}),
        "US915": ("0321000071 032100ff01", 8, {902_300_000 + 200_000 * n for n in range(8, 16)}),
    }[region]
    answers = life.until_answered("link_adr_ans", bytes.fromhex(octets))
    of_blocks = [answer for answer in answers if answer.kind == "link_adr_ans"]
    assert len(of_blocks) == len(octets.split())
    for answer in of_blocks:
        assert (answer.channel_mask_ack, answer.data_rate_ack, answer.power_ack) == (True,) * 3
    life.run_wakes(20)
    assert life.times_told > 0
    assert {place[1] for place in life.places} == {sf}
    assert {place[0] for place in life.places} <= channels
    assert len({place[0] for place in life.places}) > 1

    wanted = messages.Configuration(interval_min=30)
    while not of(messages.ConfigurationAck, life.messages):
        life.says = [messages.encode(wanted)]
        life.run_wakes(1)
    (ack, *_) = of(messages.ConfigurationAck, life.messages)
    assert (ack.config_hash, ack.refused) == (messages.config_hash(wanted), 0)
