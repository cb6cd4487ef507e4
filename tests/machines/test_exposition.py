"""What Prometheus is told: right by its own parser, by its own rules, and by what was counted."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lns_values import GATEWAY
from network_in_hand import NetworkInHand
from prometheus_client.parser import text_string_to_metric_families
from stoep_gateway.exposition import CONTENT_TYPE, Exposition
from stoep_gateway.lns.frames import Rejected, Transmitted
from stoep_gateway.metrics import Histogram
from stoep_protocol.messages import BinReport
from watched import BIN, CONFIG, parts_of

PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)


@pytest.fixture
def network(tmp_path):
    return NetworkInHand(tmp_path, CONFIG)


def families(network, **changes):
    text = Exposition(parts_of(network, **changes)).text().decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def values(family):
    return {
        tuple(sample.labels.values()): sample.value
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def busy(network):
    """Let something happen of most of what is counted."""
    device = network.join(BIN)
    network.take(device.uplink(BinReport(1, 900, 4), confirmed=True))
    order = network.orders[-1]
    network.clock.pass_ms(30)
    network.pipeline.receive(Transmitted(order.downlink_id, order.gateway_eui, ""))
    network.pipeline.reject(Rejected("mic", "", GATEWAY))
    network.pipeline.reject(Rejected("downlink_too_late", "", GATEWAY))
    network.metrics.count("configuration_in_force")
    network.metrics.count("queued_acknowledged")
    network.links[GATEWAY].opened("basics_station", ("192.0.2.1", 4), network.clock.now_ms())
    network.links[GATEWAY].add_round_trip(40.0)
    network.links[GATEWAY].clock_offset_ms = -1500


def test_what_was_counted_is_there(network):
    busy(network)
    told = families(network, sources_connected=lambda: {"city": False})
    assert values(told["stoep_receptions"]) == {(): 2}
    assert values(told["stoep_uplinks_accepted"]) == {("own",): 1, ("source",): 0}
    assert values(told["stoep_joins"]) == {(): 1}
    assert values(told["stoep_rejected"]) == {("mic",): 1}
    assert values(told["stoep_downlinks"]) == {("sent",): 2, ("too_late",): 1}  # with the accept
    assert values(told["stoep_queued_downlinks"]) == {("acknowledged",): 1}
    assert values(told["stoep_events"])["configuration_in_force",] == 1
    assert values(told["stoep_gateway_round_trip_seconds"]) == {("kerb-1",): 0.04}
    assert values(told["stoep_gateway_clock_offset_seconds"]) == {("kerb-1",): -1.5}
    assert values(told["stoep_gateway_uplinks"]) == {("kerb-1",): 1}
    assert values(told["stoep_gateway_rejected"])["kerb-1", "mic"] == 1
    assert values(told["stoep_gateway_downlinks"]) == {("kerb-1", "sent"): 2}
    assert values(told["stoep_source_connected"]) == {("city",): 0}
    assert values(told["stoep_broker_connected"]) == {(): 1}
    assert values(told["stoep_containers"])["heard",] == 1
    assert values(told["stoep_container_readings"])["good",] == 1
    seen = values(told["stoep_gateway_last_seen_timestamp_seconds"])["kerb-1",]
    assert seen == pytest.approx(network.clock.utc_ms() / 1000)
    shares = values(told["stoep_gateway_duty_cycle_used_ratio"])
    assert all(0 < share < 0.1 for share in shares.values())
    assert {label for _, label in shares} == {"kerb-1"}
    spare = told["stoep_downlink_spare_seconds"].samples
    assert [it.value for it in spare if it.name.endswith("_count")] == [2]  # the join's accept, too
    (total,) = [it.value for it in spare if it.name.endswith("_sum")]
    assert 0.7 < total - 4.8 < 0.9  # 5 s and 1 s, less the window of deduplication


def test_a_gateway_that_was_never_heard_is_offline_and_has_no_time(network):
    told = families(network)
    assert values(told["stoep_gateway_online"]) == {("kerb-1",): 0}
    assert values(told["stoep_gateway_last_seen_timestamp_seconds"]) == {}


def test_histograms_are_cumulative(network):
    parts = parts_of(network)
    for seconds in (0.002, 0.01, 0.5, 7.0):
        parts.store.commit_s.observe(seconds)
    text = Exposition(parts).text().decode()
    found = re.findall(r'^stoep_commit_seconds_bucket\{le="(.+)"\} (.+)$', text, re.MULTILINE)
    assert found == [("0.01", "2.0"), ("1", "3.0"), ("+Inf", "4.0")]
    assert "stoep_commit_seconds_count 4.0" in text
    assert "stoep_commit_seconds_sum 7.512" in text


def test_a_histogram_counts_a_bound_with_what_is_below_it():
    histogram = Histogram((1, 2))
    for value in (1, 1.5, 2, 2.1):
        histogram.observe(value)
    assert histogram.cumulative() == [(1, 1), (2, 3), (float("inf"), 4)]
    assert len(histogram) == 4
    assert (histogram.above(1), histogram.above(2)) == (3, 1)
    assert histogram.total == 6.6


def test_names_follow_the_rules(network):
    busy(network)
    for name, family in families(network).items():
        assert family.documentation, name
        assert family.documentation.endswith((".", "python")) or not name.startswith("stoep_"), name
        assert family.type in ("counter", "gauge", "histogram"), name
        if not name.startswith(("process_", "python_")):
            assert re.fullmatch(r"stoep_[a-z]+(_[a-z]+)*", name), name
        assert not re.search(r"_(ms|us|pct|percent|minutes|hours|kb|mb|count|total)$", name), name
        for sample in family.samples:
            if family.type == "counter":
                assert sample.name == f"{name}_total"
            assert set(sample.labels) <= {
                "band_mhz", "event", "gateway", "le", "network", "outcome", "quality", "reason",
                "source", "state", "version", "python", "implementation", "major", "minor",
                "patchlevel",
            }, sample.name  # fmt: skip
            assert not re.search("[0-9a-f]{16}", str(sample.labels)), "a device is no label"


def test_the_process_and_the_build_are_there(network):
    text = Exposition(parts_of(network)).text().decode()
    assert re.search(r'^stoep_build_info\{python="3\.\d+\.\d+",version="\d.*"\} 1\.0$', text, re.M)
    assert re.search(r"^process_resident_memory_bytes \d", text, re.MULTILINE)
    assert re.search(r"^process_open_fds \d", text, re.MULTILINE)


def test_a_strange_name_breaks_no_line(network):
    network.metrics.count('a"b\\c\nd')
    told = values(families(network)["stoep_events"])
    assert told['a"b\\c\nd',] == 1
    assert CONTENT_TYPE.startswith("text/plain; version=0.0.4")


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool: install Debian's package prometheus")
def test_prometheus_own_tool_finds_nothing(network):
    busy(network)
    text = Exposition(parts_of(network)).text()
    run = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")
