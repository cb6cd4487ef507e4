"""A street in US915: the real firmware finds the group of channels that its gateways listen to."""

import pytest
from broker import Subscriber
from stoep_hardware.scenario import Street

HOUR_MS = 3_600_000
SUB_BAND = 5  # its narrow group comes late, its wide channel first
NARROW_HZ = range(908_700_000, 910_300_000, 200_000)
WIDE_HZ = 909_400_000


def street(directory, broker, **options):
    directory.mkdir(exist_ok=True)
    return Street(directory, broker=broker.address, region="US915", sub_band=SUB_BAND, **options)


@pytest.mark.slow
@pytest.mark.parametrize("micropython", [0, 1])
def test_boards_join_and_report_on_the_networks_channels(broker, tmp_path, micropython):
    with (
        Subscriber(broker, "stoep/v1/blantyre/container/#") as subscriber,
        street(tmp_path / "gateway", broker, containers=3, bays=0, micropython=micropython) as here,
    ):
        uplinks, downlinks = [], []

        def listen_in(_, frame):
            (downlinks if frame.iq_inverted else uplinks).append(frame)

        here.air.observe(listen_in)
        here.run_until(4 * HOUR_MS)
        summary = here.summary()
        assert summary["containers_joined"] == 3
        assert [what for device in here.devices.values() for what in device.board.violations] == []

        # A join-request in every group at most twice; after that only where somebody listens.
        assert summary["join_requests"] <= 3 * 16
        data = [frame for frame in uplinks if frame.payload[0] >> 5 in (2, 4)]
        assert len(data) >= 9
        for frame in data:
            assert frame.freq_hz in ([WIDE_HZ] if frame.bw_hz == 500_000 else NARROW_HZ)
        # Every downlink is one of 500 kHz, on the channel that goes with its uplink's or in RX2.
        assert downlinks
        for frame in downlinks:
            assert frame.bw_hz == 500_000
            assert (frame.freq_hz - 923_300_000) % 600_000 == 0

        def reported():
            topics = [topic for topic, _, _ in subscriber.of("/container/")]
            return [topic.split("/")[4] for topic in topics if topic.endswith("/state")]

        subscriber.wait_for(lambda: len(reported()) >= 9)
        assert set(reported()) == {container.id for container in here.plan.containers}
