"""Streets in other regions: the real firmware finds the channels that its gateways listen to."""

import pytest
from broker import Subscriber
from stoep_hardware import channels
from stoep_hardware.scenario import Street
from stoep_protocol.lorawan.airtime import time_on_air_us

HOUR_MS = 3_600_000
SUB_BAND = 5  # its narrow channels come late, its wide one early
_DATA_UP = (2, 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("region", "micropython"),
    [("US915", 0), ("US915", 1), ("AU915", 1), ("AS923", 1), ("IN865", 0)],
)
def test_boards_join_and_report_on_the_networks_channels(broker, tmp_path, region, micropython):
    directory = tmp_path / "gateway"
    directory.mkdir()
    options = {"containers": 3, "bays": 0, "micropython": micropython}
    with (
        Subscriber(broker, "stoep/v1/blantyre/container/#") as subscriber,
        Street(
            directory, broker=broker.address, region=region, sub_band=SUB_BAND, **options
        ) as here,
    ):
        uplinks, downlinks = [], []
        here.air.observe(
            lambda _, frame: (downlinks if frame.iq_inverted else uplinks).append(frame)
        )
        here.run_until(4 * HOUR_MS)
        summary = here.summary()
        assert summary["containers_joined"] == 3
        assert [what for device in here.devices.values() for what in device.board.violations] == []

        # Each asked everywhere at most once; having joined it sends where somebody listens.
        assert summary["join_requests"] <= 3 * 8
        heard = channels.of(region, SUB_BAND)
        narrow_hz = [freq_hz for freq_hz, _ in heard.narrow]
        data = [frame for frame in uplinks if frame.payload[0] >> 5 in _DATA_UP]
        assert len(data) >= 9
        for frame in data:
            assert frame.freq_hz in (narrow_hz if frame.bw_hz == 125_000 else [heard.wide[0]])
            if region in ("AU915", "AS923"):
                assert time_on_air_us(len(frame.payload), frame.sf, frame.bw_hz) <= 400_000
        assert downlinks
        for frame in downlinks:
            assert heard.tx_min_hz <= frame.freq_hz <= heard.tx_max_hz
            if region in ("US915", "AU915"):
                assert frame.bw_hz == 500_000
                assert (frame.freq_hz - 923_300_000) % 600_000 == 0

        def reported():
            topics = [topic for topic, _, _ in subscriber.of("/container/")]
            return [topic.split("/")[4] for topic in topics if topic.endswith("/state")]

        subscriber.wait_for(lambda: len(reported()) >= 9)
        assert set(reported()) == {container.id for container in here.plan.containers}
