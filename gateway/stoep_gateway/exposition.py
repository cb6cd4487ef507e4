"""What the gateway has counted, for Prometheus: read when it is asked for, at no cost before.

Names have the prefix ``stoep_`` and base units; a device's identity is no label, or every device
would be a time series of each name.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version

from prometheus_client import (
    CollectorRegistry,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from stoep_gateway import census
from stoep_gateway.metrics import Histogram
from stoep_gateway.services import Parts

__all__ = ["CONTENT_TYPE", "Exposition"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LOST = "downlink_"  # the reasons of downlinks that were not sent
_QUEUED = "queued_"
_NAMED = frozenset(  # counts with a name of their own; all others are stoep_events_total
    {
        "receptions",
        "uplinks_accepted",
        "source_uplinks_accepted",
        "source_uplinks_lost",
        "joins",
        "downlinks_sent",
        "downlinks_lost",
        "published",
        "publish_refused",
        "broker_connections",
        "rounds_planned",
        "rounds_replanned",
        "rounds_failed",
    }
)


class Exposition(Collector):
    """The text of ``/metrics``, with the process's own figures."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._version = version("stoep")
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return everything as it is now."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield one metric after the other, for the library."""
        build = {"version": self._version, "python": platform.python_version()}
        yield InfoMetricFamily("stoep_build", "What runs.", build)
        yield from self._uplinks()
        yield from self._downlinks()
        yield from self._store()
        yield from self._publishing()
        yield from self._gateways()
        yield from self._site()

    def _uplinks(self) -> Iterator[Metric]:
        counts, rejected = self._parts.metrics.counts, self._parts.metrics.rejected
        yield CounterMetricFamily(
            "stoep_receptions", "Frames that gateways brought, copies too.", counts["receptions"]
        )
        yield _counters(
            "stoep_uplinks_accepted",
            "Uplinks that were recorded, by network: our own, or another's (source).",
            "network",
            {"own": counts["uplinks_accepted"], "source": counts["source_uplinks_accepted"]},
        )
        yield CounterMetricFamily(
            "stoep_source_uplinks_lost",
            "Uplinks of other networks that never came, by gaps in their counters.",
            counts["source_uplinks_lost"],
        )
        yield _counters(
            "stoep_rejected",
            "What was not accepted, by reason.",
            "reason",
            {name: count for name, count in rejected.items() if not name.startswith(_LOST)},
        )
        yield CounterMetricFamily("stoep_joins", "Joins that were accepted.", counts["joins"])
        yield _counters(
            "stoep_events",
            "What else was counted, by its name.",
            "event",
            {
                name: count
                for name, count in counts.items()
                if name not in _NAMED and not name.startswith(_QUEUED)
            },
        )

    def _downlinks(self) -> Iterator[Metric]:
        metrics = self._parts.metrics
        yield _counters(
            "stoep_downlinks",
            "Downlinks that have ended: sent, or why not.",
            "outcome",
            {"sent": metrics.counts["downlinks_sent"], **_of_prefix(metrics.rejected, _LOST)},
        )
        yield _counters(
            "stoep_queued_downlinks",
            "What became of applications' downlinks.",
            "outcome",
            _of_prefix(metrics.counts, _QUEUED),
        )
        yield _histogram(
            "stoep_downlink_spare_seconds",
            "How long before its time a downlink left for its gateway.",
            self._parts.scheduler.spare_s,
        )

    def _store(self) -> Iterator[Metric]:
        store = self._parts.store
        what = "How long a commit took, fsync included."
        yield _histogram("stoep_commit_seconds", what, store.commit_s)
        yield _histogram("stoep_commit_records", "How many records shared a commit.", store.group)

    def _publishing(self) -> Iterator[Metric]:
        parts, counts = self._parts, self._parts.metrics.counts
        yield GaugeMetricFamily(
            "stoep_outbox_messages",
            "Messages that the broker has not acknowledged.",
            len(parts.outbox),
        )
        yield GaugeMetricFamily(
            "stoep_outbox_bytes", "How much room they take on the disk.", parts.outbox.octets
        )
        yield GaugeMetricFamily(
            "stoep_outbox_limit_bytes",
            "How much they may take; beyond that the oldest events are thinned.",
            parts.outbox.limit_octets,
        )
        oldest_ms = parts.outbox.oldest_utc_ms
        yield GaugeMetricFamily(
            "stoep_outbox_oldest_timestamp_seconds",
            "When the oldest of them was recorded; 0 if none waits.",
            0 if oldest_ms is None else oldest_ms / 1000,
        )
        yield CounterMetricFamily(
            "stoep_messages_published",
            "Messages that the broker has acknowledged.",
            counts["published"],
        )
        yield CounterMetricFamily(
            "stoep_messages_refused",
            "Messages that the broker has refused.",
            counts["publish_refused"],
        )
        yield GaugeMetricFamily(
            "stoep_broker_connected", "Whether the broker is there.", int(parts.publisher.connected)
        )
        yield CounterMetricFamily(
            "stoep_broker_connections",
            "How often the broker was connected.",
            counts["broker_connections"],
        )
        yield _gauges(
            "stoep_source_connected",
            "Whether the broker of another network server is there.",
            "source",
            {name: int(connected) for name, connected in parts.sources_connected().items()},
        )

    def _gateways(self) -> Iterator[Metric]:
        parts = self._parts
        now, utc_ms = parts.clock.now_ms(), parts.clock.utc_ms()
        gateways = [(it.eui, it.id) for it in parts.registry.gateways.values()]
        states = {due.gateway.eui: due.status for due in parts.monitor.all_due(now, utc_ms)}
        heard = [(name, states[eui]) for eui, name in gateways if eui in states]
        yield _gauges(
            "stoep_gateway_online",
            "Whether a gateway was heard in the last two minutes.",
            "gateway",
            {name: float(eui in states and states[eui].online) for eui, name in gateways},
        )
        yield _gauges(
            "stoep_gateway_last_seen_timestamp_seconds",
            "When a gateway was heard last; absent if never since the start.",
            "gateway",
            {name: _seconds(it.last_seen_utc_ms) for name, it in heard},
        )
        yield _gauges(
            "stoep_gateway_round_trip_seconds",
            "The median of a gateway's last answers.",
            "gateway",
            {name: _seconds(it.round_trip_ms) for name, it in heard},
        )
        yield _gauges(
            "stoep_gateway_round_trip_worst_seconds",
            "The slowest of a gateway's last answers.",
            "gateway",
            {name: _seconds(it.round_trip_worst_ms) for name, it in heard},
        )
        yield _gauges(
            "stoep_gateway_clock_offset_seconds",
            "A gateway's clock less ours.",
            "gateway",
            {name: _seconds(it.clock_offset_ms) for name, it in heard},
        )
        yield _counters(
            "stoep_gateway_uplinks",
            "Accepted uplinks that a gateway heard best.",
            "gateway",
            {name: it.uplinks_accepted for name, it in heard},
        )
        downlinks = CounterMetricFamily(
            "stoep_gateway_downlinks",
            "What a gateway said of its downlinks.",
            labels=["gateway", "outcome"],
        )
        rejected = CounterMetricFamily(
            "stoep_gateway_rejected",
            "What was not accepted from a gateway.",
            labels=["gateway", "reason"],
        )
        for name, it in heard:
            for outcome, count in sorted(it.downlinks.items()):
                downlinks.add_metric([name, outcome], count)
            for reason, count in sorted(it.rejected.items()):
                rejected.add_metric([name, reason], count)
        yield downlinks
        yield rejected
        used = GaugeMetricFamily(
            "stoep_gateway_duty_cycle_used_ratio",
            "Share of what the duty cycle allows in the last hour, by the sub-band's lower end.",
            labels=["gateway", "band_mhz"],
        )
        accounts = parts.scheduler.accounts(now)
        for eui, name in gateways:
            for use in accounts[eui].airtime if eui in accounts else ():
                if use.limit_permille is not None:
                    share = use.used_permille / use.limit_permille
                    used.add_metric([name, f"{use.low_hz / 1e6:g}"], share)
        yield used
        yield GaugeMetricFamily(
            "stoep_gateways_unregistered",
            "Gateways that came since the start and are not registered.",
            len(parts.links.unregistered),
        )

    def _site(self) -> Iterator[Metric]:
        parts, counts = self._parts, self._parts.metrics.counts
        yield GaugeMetricFamily(
            "stoep_clock_known",
            "Whether the time is known, so that messages go out.",
            int(parts.clock.utc_is_known()),
        )
        taken = census.take(
            parts.registry, parts.memory.states, parts.memory.sessions.all(), parts.clock.utc_ms()
        )
        lately = "by whether they were heard lately"
        yield _gauges("stoep_containers", f"Containers {lately}.", "state", taken.containers)
        yield _gauges("stoep_bays", "Parking bays by state.", "state", taken.bays)
        yield _gauges("stoep_devices", f"Devices {lately}.", "state", taken.devices)
        yield _gauges(
            "stoep_container_readings",
            "The newest readings of containers, by quality.",
            "quality",
            taken.readings,
        )
        yield _counters(
            "stoep_planning_runs",
            "Runs of the day's planner.",
            "outcome",
            {it: counts[f"rounds_{it}"] for it in ("planned", "replanned", "failed")},
        )


def _counters(name: str, what: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, what, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _gauges(name: str, what: str, label: str, values: Mapping[str, float | None]) -> Metric:
    family = GaugeMetricFamily(name, what, labels=[label])
    for key, value in sorted(values.items()):
        if value is not None:
            family.add_metric([key], value)
    return family


def _histogram(name: str, what: str, histogram: Histogram) -> Metric:
    buckets = [
        ("+Inf" if bound == float("inf") else f"{bound:g}", float(count))
        for bound, count in histogram.cumulative()
    ]
    return HistogramMetricFamily(name, what, buckets=buckets, sum_value=histogram.total)


def _of_prefix(counts: Mapping[str, int], prefix: str) -> dict[str, float]:
    return {
        name.removeprefix(prefix): count
        for name, count in counts.items()
        if name.startswith(prefix)
    }


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
