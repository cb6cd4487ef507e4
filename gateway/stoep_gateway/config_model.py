"""What may stand in the configuration files, table by table: types, bounds, defaults.

`stoep_gateway.config` reads the files and checks what one table cannot know of another. Keys and
passwords never appear in a message or a ``repr``.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from stoep_gateway.config_days import ScheduledConfig

__all__ = [
    "ASSET",
    "AdrConfig",
    "BasicsStationConfig",
    "BayConfig",
    "ContainerConfig",
    "ControlConfig",
    "DeviceConfig",
    "GatewayConfig",
    "GwmpConfig",
    "Id",
    "LorawanConfig",
    "MqttConfig",
    "ReadingsConfig",
    "SourceConfig",
    "StoreConfig",
    "TableModel",
    "clean_id",
    "identifier",
]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_ID = re.compile(r"[^A-Za-z0-9._-]+")
ASSET = re.compile(r"(container|bay)/(.+)", re.DOTALL)
_NAME_OR_IPV4 = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_IPV6 = re.compile(r"[0-9a-fA-F.]*(:[0-9a-fA-F.]*){2,}(%\w+)?", re.ASCII)
_HOST_AND_PORT = re.compile(r"\w+://.*|[\w.-]+:[0-9]+")
_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def identifier(value: str) -> str:
    """Return ``value`` if it may name a thing in a topic. Raises ``ValueError``."""
    if _ID.fullmatch(value):
        return value
    better = clean_id(value)
    hint = f' (did you mean "{better}"?)' if better else ""
    raise ValueError(f"an id is 1 to 64 letters, digits, '.', '_' or '-'{hint}")


def clean_id(value: str) -> str:
    """Return the nearest that may be an id; perhaps nothing."""
    return _NOT_ID.sub("-", value).strip("-._")[:64]


def _hexadecimal(octets: int, what: str) -> BeforeValidator:
    def decode(value: object) -> bytes:
        if isinstance(value, bytes):
            return value
        digits = re.sub(r"[\s:-]", "", value) if isinstance(value, str) else ""
        try:
            decoded = bytes.fromhex(digits)
        except ValueError:
            decoded = b""
        if len(decoded) != octets:
            raise ValueError(f"{what} is a string of {2 * octets} hexadecimal digits")
        return decoded

    return BeforeValidator(decode)


def _beside_the_file(value: object, info: ValidationInfo) -> object:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("a path is a non-empty string")
    folders: Mapping[str, Path] = info.context or {}
    return (folders.get(info.field_name or "") or folders.get("", Path())) / value


def _host(value: str) -> str:
    if _NAME_OR_IPV4.fullmatch(value) or _IPV6.fullmatch(value):
        return value
    if _HOST_AND_PORT.fullmatch(value):
        raise ValueError('a host is a name or an address alone; its port belongs in "port"')
    raise ValueError('a host is a name or an address, such as "127.0.0.1" or "broker.example.org"')


def _clock_time(value: object) -> datetime.time:
    match = _CLOCK_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a time of day is written "HH:MM"')
    return datetime.time(int(match[1]), int(match[2]))


def _window(value: object) -> tuple[datetime.time, datetime.time]:
    early, dash, late = value.partition("-") if isinstance(value, str) else ("", "", "")
    if not dash:
        raise ValueError('a window is written "07:00-09:30"')
    window = _clock_time(early.strip()), _clock_time(late.strip())
    if window[0] >= window[1]:
        raise ValueError("a window ends after it begins, on the same day")
    return window


def _network(value: str) -> str:
    try:
        ipaddress.ip_network(value)
    except ValueError:
        raise ValueError(
            'an address is written "192.0.2.7", a network "192.0.2.0/24", zeros behind the prefix'
        ) from None
    return value


def _asset_reference(value: str) -> str:
    match = ASSET.fullmatch(value)
    if match is None:
        raise ValueError('an asset is "container/ID" or "bay/ID"')
    return value


def _name(value: str) -> str:
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
        raise ValueError("a name has no control characters")
    if not value.strip():
        raise ValueError("a name must not be empty")
    return value.strip()


Id = Annotated[str, AfterValidator(identifier)]
KeyOctets = Annotated[bytes, _hexadecimal(16, "a key")]
Eui = Annotated[bytes, _hexadecimal(8, "an EUI")]
NetId = Annotated[bytes, _hexadecimal(3, "a NetID")]
DevAddr = Annotated[bytes, _hexadecimal(4, "a DevAddr")]
Network = Annotated[str, AfterValidator(_network)]
FilePath = Annotated[Path, BeforeValidator(_beside_the_file)]
RegionName = Literal["EU868", "US915", "AU915", "AS923", "IN865"]
TimeOfDay = Annotated[datetime.time, BeforeValidator(_clock_time)]
AssetReference = Annotated[str, AfterValidator(_asset_reference)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[Text, AfterValidator(_name)]
Host = Annotated[Text, AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Window = Annotated[tuple[datetime.time, datetime.time], BeforeValidator(_window)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
HeightAndLitres = Annotated[list[Finite], Field(min_length=2, max_length=2)]


class TableModel(BaseModel):
    """One table of a configuration file: nothing is converted, nothing unknown passes."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class StoreConfig(TableModel):
    """``[store]``: where readings, sessions and unsent messages are kept.

    Keys in it are encrypted with the one in ``key_file``; without it that is systemd's credential
    ``stoep-key``, or else a file beside the database, made at the first start.
    """

    path: FilePath = Field(default="stoep.db", validate_default=True)
    key_file: FilePath | None = None


class ControlConfig(TableModel):
    """``[control]``: the socket over which ``stoep device`` and ``stoep plan`` reach the gateway.

    Without ``path`` it is ``control.sock`` in systemd's runtime directory, or else beside the
    database. ``group`` may use it besides the gateway's own user.
    """

    path: FilePath | None = None
    group: Id | None = None


class MqttConfig(TableModel):
    """``[mqtt]``: the broker that messages are published to.

    A password is the first line of ``password_file``, or systemd's credential ``mqtt-password``.
    Messages wait in the store, at most ``outbox_mb`` of them; an event that nobody took expires
    at the broker after ``event_expiry_h`` (MQTT 5).
    """

    host: Host = "127.0.0.1"
    port: Port = 1883
    client_id: Id | None = None
    username: Text | None = None
    password_file: FilePath | None = None
    keepalive_s: int = Field(default=60, ge=5, le=3600)
    tls: bool = False
    ca_file: FilePath | None = None
    client_cert: FilePath | None = None
    client_key: FilePath | None = None
    encoding: Literal["json", "cbor"] = "json"
    event_expiry_h: int = Field(default=168, ge=1, le=24 * 365)
    outbox_mb: int = Field(default=256, ge=1, le=100_000)


class GwmpConfig(TableModel):
    """``[gwmp]``: the UDP port that packet forwarders send to; port 0 lets the system choose.

    A gateway may send ``datagrams_per_s`` for long, and ``burst`` at once.
    """

    bind: Host = "127.0.0.1"
    port: int = Field(default=1700, ge=0, le=65535)
    datagrams_per_s: int = Field(default=500, ge=1, le=100_000)
    burst: int = Field(default=1000, ge=1, le=1_000_000)


class BasicsStationConfig(TableModel):
    """``[basics_station]``: the WebSocket port of the LNS protocol; no table, no port.

    With ``tls_cert`` and ``tls_key`` it is wss; with ``client_ca`` too, a station has to show a
    certificate of that authority whose common name is its EUI.
    """

    bind: Host = "127.0.0.1"
    port: int = Field(default=3001, ge=0, le=65535)
    tls_cert: FilePath | None = None
    tls_key: FilePath | None = None
    client_ca: FilePath | None = None


class LorawanConfig(TableModel):
    """``[lorawan]``: the network server's settings."""

    region: RegionName = "EU868"
    net_id: NetId = b"\x00\x00\x00"  # of private networks; 000013 is The Things Network's
    dedup_window_ms: int = Field(default=200, ge=0, le=2000)
    rx1_delay_s: int = Field(default=1, ge=1, le=15)
    rx1_dr_offset: int = Field(default=0, ge=0, le=7)
    sub_band: int = Field(default=2, ge=1, le=8)  # of US915 and AU915: the eight channels in use
    duty_cycle: bool = (
        True  # of our gateways, where the region has one; false where they listen first
    )
    device_status_every_h: int = Field(default=0, ge=0, le=8760)  # 0: devices are not asked


class AdrConfig(TableModel):
    """``[adr]``: how the network server steers devices that ask for it."""

    enabled: bool = True
    margin_db: float = Field(default=10, ge=0, le=30)
    min_dr: int = Field(default=0, ge=0, le=15)
    max_dr: int = Field(default=5, ge=0, le=15)


class ReadingsConfig(TableModel):
    """``[readings]``: whether devices are asked for readings that never arrived."""

    request_missing: bool = True


class GatewayConfig(TableModel):
    """``[[gateway]]``: one packet forwarder; only those listed are listened to.

    ``addresses`` are the only ones that its datagrams may come from, if there are any;
    ``token_file`` holds the ``Authorization`` header that a Basics Station has to send;
    ``antenna_gain_dbi``, less the cable's loss, is taken off the power that it is told to use.
    """

    id: Id
    eui: Eui
    lat: Latitude | None = None
    lon: Longitude | None = None
    addresses: list[Network] = []
    token_file: FilePath | None = None
    antenna_gain_dbi: float = Field(default=0, ge=-10, le=30)


class DeviceConfig(TableModel):
    """``[[device]]``: one sensor board, its keys and the container or bay it stands for.

    It joins with ``app_key``, or was personalised with ``dev_addr`` and two session keys (ABP), or
    belongs to another network server, the ``source``. ``lorawan`` is the version it follows: from
    1.0.4 on a DevNonce has to be larger than the last. ``lat`` and ``lon`` are where it is mounted.
    ``make`` is the ``[[make]]`` of one that is not ours.
    """

    dev_eui: Eui
    join_eui: Eui = bytes(8)
    app_key: KeyOctets | None = Field(default=None, repr=False)
    dev_addr: DevAddr | None = None
    nwk_s_key: KeyOctets | None = Field(default=None, repr=False)
    app_s_key: KeyOctets | None = Field(default=None, repr=False)
    source: Id | None = None
    lorawan: Literal["1.0.2", "1.0.3", "1.0.4"] = "1.0.3"
    device_class: Literal["A", "C"] = "A"
    adr: bool = True
    enabled: bool = True
    name: Name | None = None
    asset: AssetReference | None = None
    make: Id | None = None
    lat: Latitude | None = None
    lon: Longitude | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError('"lat" and "lon" belong together')
        abp = (self.dev_addr, self.nwk_s_key, self.app_s_key)
        personalised = [part for part in abp if part is not None]
        ways = (self.app_key is not None) + bool(personalised) + (self.source is not None)
        if ways != 1 or len(personalised) not in (0, 3):
            raise ValueError(
                'needs one of: "app_key" (it joins); "dev_addr", "nwk_s_key" and "app_s_key" (ABP);'
                ' "source" (another network server\'s)'
            )
        return self


class SourceConfig(TableModel):
    """``[[source]]``: another network server, whose uplinks come over its MQTT broker.

    ``application`` is ChirpStack's application id, or The Things Stack's ``app@tenant``.
    """

    id: Id
    kind: Literal["chirpstack", "the_things_stack"]
    application: Text
    host: Host = "127.0.0.1"
    port: Port = 1883
    username: Text | None = None
    password_file: FilePath | None = None
    tls: bool = False
    ca_file: FilePath | None = None


class ContainerConfig(ScheduledConfig, TableModel):
    """``[[container]]``: a bin; the sensor looks down on the waste from the lid, or counts.

    ``depth_mm`` is the distance from the sensor to the floor (0 %), ``full_mm`` to the level that
    counts as 100 %, both from the lid if the sensor hangs ``sensor_below_mm`` lower. ``shape`` and
    what belongs to it are explained and checked in `stoep_gateway.assets.geometry`.
    ``compaction`` is how many litres of loose waste its own press makes one of. ``distance_index``
    is its id in the table of road distances. Where the ``level`` is by "flaps", openings of the lid
    are counted, of ``litres_per_flap`` until that is learned, and there are no distances. It is
    emptied within one of its ``windows``, by one of its ``trucks``, where some are named, and
    ``max_days`` after the last time at the latest; on the ``side`` "near" the truck stops on its
    own side of the street. The days on which the city empties it are as its kind's by default.
    """

    id: Id
    name: Text | None = None
    lat: Latitude
    lon: Longitude
    kind: Id = "container"
    fraction: Id = "residual"
    capacity_l: int = Field(gt=0, le=100_000)
    depth_mm: int = Field(gt=0, le=20_000)
    full_mm: int = Field(default=0, ge=0, le=20_000)
    shape: Literal["straight", "tapered", "trough", "lying", "table"] = "straight"
    floor_width_mm: int | None = Field(default=None, ge=0, le=20_000)
    full_width_mm: int | None = Field(default=None, gt=0, le=20_000)
    diameter_mm: int | None = Field(default=None, gt=0, le=20_000)
    litres_at_mm: list[HeightAndLitres] | None = Field(default=None, min_length=2, max_length=1000)
    sensor_beside_mm: int = Field(default=0, ge=0, le=10_000)
    sensor_below_mm: int = Field(default=0, ge=-5000, le=20_000)
    dead_zone_mm: int = Field(default=0, ge=0, le=5000)
    compaction: float = Field(default=1, ge=1, le=20)
    level: Literal["distance", "flaps"] = "distance"
    litres_per_flap: float | None = Field(default=None, gt=0, le=10_000)
    windows: list[Window] = []
    trucks: list[Id] = []
    max_days: float | None = Field(default=None, gt=0, le=3650)
    distance_index: int | None = None
    side: Literal["any", "near"] = "any"

    @model_validator(mode="before")
    @classmethod
    def _depth_of_none(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("level") == "flaps":
            return {"depth_mm": 1000, **values}
        return values

    @property
    def pool(self) -> str:
        """Kind and fraction: from others of it is taken what of one is not known yet."""
        return f"{self.kind}/{self.fraction}"


class BayConfig(TableModel):
    """``[[bay]]``: a parking bay."""

    id: Id
    name: Text | None = None
    street: Text
    lat: Latitude
    lon: Longitude
