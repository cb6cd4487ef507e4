"""Events as ChirpStack publishes them: its own protobuf messages, in protobuf's JSON mapping."""

from __future__ import annotations

import datetime

from chirpstack_api.integration import integration_pb2 as pb
from google.protobuf.json_format import MessageToJson

__all__ = [
    "APPLICATION",
    "DEV_EUI",
    "device_info",
    "heard_at",
    "join",
    "message",
    "topic",
    "uplink",
]

APPLICATION = "0b2f4b0e-6c3c-4d9e-9d6e-6d2d5a1a7c11"
DEV_EUI = bytes.fromhex("70b3d57ed0001a2b")
EPOCH = datetime.datetime(2026, 3, 1, 12, 0, tzinfo=datetime.UTC)


def heard_at(seconds: float) -> datetime.datetime:
    """Return a moment, counted from the beginning of the tests' time."""
    return EPOCH + datetime.timedelta(seconds=seconds)


def device_info(dev_eui: bytes = DEV_EUI) -> pb.DeviceInfo:
    return pb.DeviceInfo(
        tenant_id="52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
        tenant_name="City",
        application_id=APPLICATION,
        application_name="bins",
        device_profile_name="Stoep bin",
        device_name="market-1",
        dev_eui=dev_eui.hex(),
        tags={"street": "Market"},
    )


def uplink(
    f_cnt: int,
    data: bytes = b"\x01\x02",
    *,
    key: str | None = None,
    dev_addr: str = "01a2b3c4",
    seconds: float | None = None,
    dev_eui: bytes = DEV_EUI,
    dr: int = 5,
    f_port: int = 10,
) -> pb.UplinkEvent:
    """Return an uplink heard by two gateways, the better one second."""
    moment = heard_at(60 * f_cnt if seconds is None else seconds)
    event = pb.UplinkEvent(
        deduplication_id=key or f"3ac7e3c4-0000-4000-8000-{f_cnt:012d}",
        time=moment,
        device_info=device_info(dev_eui),
        dev_addr=dev_addr,
        dr=dr,
        f_cnt=f_cnt,
        f_port=f_port,
        data=data,
    )
    for gateway_id, rssi, snr in (("0016c001f1500812", -97, 5.5), ("0016c001f1500813", -88, 9.2)):
        info = event.rx_info.add(gateway_id=gateway_id, rssi=rssi, snr=snr, uplink_id=44221)
        info.ns_time.FromDatetime(moment)
        info.location.latitude = 52.37
    event.tx_info.frequency = 868_100_000
    event.tx_info.modulation.lora.bandwidth = 125_000
    event.tx_info.modulation.lora.spreading_factor = 12 - dr
    event.object.update({"fill": 41.0})
    return event


def join(key: str, dev_addr: str = "01a2b3c4", seconds: float = 0) -> pb.JoinEvent:
    return pb.JoinEvent(
        deduplication_id=key,
        time=heard_at(seconds),
        device_info=device_info(),
        dev_addr=dev_addr,
    )


def topic(event: str, dev_eui: bytes = DEV_EUI) -> str:
    return f"application/{APPLICATION}/device/{dev_eui.hex()}/event/{event}"


def message(event) -> bytes:
    """Return what is published of an event."""
    return MessageToJson(event, indent=None).encode()
