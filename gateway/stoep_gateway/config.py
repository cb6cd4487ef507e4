"""The gateway's configuration: what may stand in the TOML files, and reading them.

`load` reports every mistake of all files at once, each with its file, its line and, where a name
is only misspelt, the right one. Keys and passwords never appear in a message or a ``repr``.
"""

from __future__ import annotations

import csv
import datetime
import re
import zoneinfo
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from stoep_gateway.config_reader import Document, Entry, Reader, did_you_mean
from stoep_gateway.errors import ConfigError, Mistake
from stoep_gateway.planning.distances import DistanceTable, read_table

__all__ = ["Config", "load", "mqtt_password"]

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_NOT_ID = re.compile(r"[^A-Za-z0-9._-]+")
_ASSET = re.compile(r"(container|bay)/(.+)", re.DOTALL)
_NAME_OR_IPV4 = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*\.?", re.ASCII)
_IPV6 = re.compile(r"[0-9a-fA-F.]*(:[0-9a-fA-F.]*){2,}(%\w+)?", re.ASCII)
_HOST_AND_PORT = re.compile(r"\w+://.*|[\w.-]+:[0-9]+")
_CLOCK_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _identifier(value: str) -> str:
    if _ID.fullmatch(value):
        return value
    better = _NOT_ID.sub("-", value).strip("-._")[:64]
    hint = f' (did you mean "{better}"?)' if better else ""
    raise ValueError(f"an id is 1 to 64 letters, digits, '.', '_' or '-'{hint}")


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
    folder: Path = info.context["folder"] if info.context else Path()
    return folder / value


def _host(value: str) -> str:
    if _NAME_OR_IPV4.fullmatch(value) or _IPV6.fullmatch(value):
        return value
    if _HOST_AND_PORT.fullmatch(value):
        raise ValueError('a host is a name or an address alone; its port belongs in "port"')
    raise ValueError('a host is a name or an address, such as "127.0.0.1" or "broker.example.org"')


def _clock_time(value: object) -> object:
    match = _CLOCK_TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a time of day is written "HH:MM"')
    return datetime.time(int(match[1]), int(match[2]))


def _asset_reference(value: str) -> str:
    match = _ASSET.fullmatch(value)
    if match is None:
        raise ValueError('an asset is "container/ID" or "bay/ID"')
    return value


Id = Annotated[str, AfterValidator(_identifier)]
Eui = Annotated[bytes, _hexadecimal(8, "an EUI")]
AppKey = Annotated[bytes, _hexadecimal(16, "a key"), Field(repr=False)]
NetId = Annotated[bytes, _hexadecimal(3, "a NetID")]
FilePath = Annotated[Path, BeforeValidator(_beside_the_file)]
TimeOfDay = Annotated[datetime.time, BeforeValidator(_clock_time)]
AssetReference = Annotated[str, AfterValidator(_asset_reference)]
Text = Annotated[str, Field(min_length=1, max_length=200)]
Host = Annotated[Text, AfterValidator(_host)]
Port = Annotated[int, Field(ge=1, le=65535)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class StoreConfig(_Model):
    """``[store]``: where readings, sessions and unsent messages are kept."""

    path: FilePath = Field(default="stoep.db", validate_default=True)


class MqttConfig(_Model):
    """``[mqtt]``: the broker that messages are published to."""

    host: Host = "127.0.0.1"
    port: Port = 1883
    client_id: Id | None = None
    username: Text | None = None
    password_file: FilePath | None = None
    keepalive_s: int = Field(default=60, ge=5, le=3600)


class GwmpConfig(_Model):
    """``[gwmp]``: the UDP port that packet forwarders send to; port 0 lets the system choose."""

    bind: Host = "127.0.0.1"
    port: int = Field(default=1700, ge=0, le=65535)


class LorawanConfig(_Model):
    """``[lorawan]``: the network server's settings."""

    region: Literal["EU868"] = "EU868"
    net_id: NetId = b"\x00\x00\x13"
    dedup_window_ms: int = Field(default=200, ge=0, le=2000)
    rx1_delay_s: int = Field(default=1, ge=1, le=15)


class PlanningConfig(_Model):
    """``[planning]``: the daily round; absent means that none is planned."""

    enabled: bool = True
    at: TimeOfDay = datetime.time(6, 0)
    threshold_pct: float = Field(default=80, gt=0, le=100)
    distances: FilePath | None = None
    detour_factor: float = Field(default=1.35, ge=1, le=5)
    speed_kmh: float = Field(default=30, gt=0, le=120)
    service_min: float = Field(default=8, ge=0, le=240)
    iterations: int = Field(default=1000, ge=1, le=1_000_000)
    seed: int = Field(default=0, ge=0, le=2**32 - 1)


class GatewayConfig(_Model):
    """``[[gateway]]``: one packet forwarder; only those listed are listened to."""

    id: Id
    eui: Eui
    lat: Latitude | None = None
    lon: Longitude | None = None


class DeviceConfig(_Model):
    """``[[device]]``: one sensor board, its keys and the container or bay it stands for."""

    dev_eui: Eui
    join_eui: Eui = bytes(8)
    app_key: AppKey
    name: Text | None = None
    asset: AssetReference | None = None


class ContainerConfig(_Model):
    """``[[container]]``: a bin; the sensor looks down on the waste from the lid.

    ``depth_mm`` is the distance from the sensor to the floor (0 %), ``full_mm`` to the level that
    counts as 100 %; ``distance_index`` is its id in the table of road distances.
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
    distance_index: int | None = None


class BayConfig(_Model):
    """``[[bay]]``: a parking bay."""

    id: Id
    name: Text | None = None
    street: Text
    lat: Latitude
    lon: Longitude


class PlaceConfig(_Model):
    """``[[place]]``: a yard where trucks stand, or a site where they unload."""

    id: Id
    name: Text | None = None
    kind: Literal["depot", "disposal"]
    lat: Latitude
    lon: Longitude
    distance_index: int | None = None


class TruckConfig(_Model):
    """``[[truck]]``: starts and ends at ``depot``, unloads at ``disposal`` whenever it is full.

    ``compaction`` is how many litres of loose waste go into one litre of the truck.
    """

    id: Id
    capacity_l: int = Field(gt=0, le=1_000_000)
    depot: Id
    disposal: Id
    shift_h: float = Field(default=8, gt=0, le=24)
    unload_min: float = Field(default=15, ge=0, le=240)
    compaction: float = Field(default=1, ge=1, le=20)


class Config(_Model):
    """Everything the gateway was told, checked; relative paths are made from their file's place."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: Path
    site: Id
    timezone: zoneinfo.ZoneInfo
    store: StoreConfig
    mqtt: MqttConfig
    gwmp: GwmpConfig
    lorawan: LorawanConfig
    planning: PlanningConfig
    gateways: tuple[GatewayConfig, ...]
    devices: tuple[DeviceConfig, ...]
    containers: tuple[ContainerConfig, ...]
    bays: tuple[BayConfig, ...]
    places: tuple[PlaceConfig, ...]
    trucks: tuple[TruckConfig, ...]
    distances: DistanceTable | None = None


_SECTIONS: dict[str, type[_Model]] = {
    "store": StoreConfig,
    "mqtt": MqttConfig,
    "gwmp": GwmpConfig,
    "lorawan": LorawanConfig,
    "planning": PlanningConfig,
}
_LISTS: dict[str, type[_Model]] = {
    "gateway": GatewayConfig,
    "device": DeviceConfig,
    "container": ContainerConfig,
    "bay": BayConfig,
    "place": PlaceConfig,
    "truck": TruckConfig,
}
_SCALARS = ("site", "timezone", "assets")
_Entries = dict[str, list[Entry]]


def load(path: Path | str) -> Config:
    """Read the configuration at ``path`` and the files that it names.

    Raises `ConfigError` with every mistake in all of them.
    """
    path = Path(path)
    reader = Reader(_SECTIONS, _SCALARS)
    main = reader.document(path, str(path))
    if main is None:
        raise ConfigError(reader.mistakes)
    reader.unknown_keys(main, (*_SCALARS, *_SECTIONS, *_LISTS))
    site = _site(reader, main)
    timezone = _timezone(reader, main)
    sections = {name: reader.section(main, name, model) for name, model in _SECTIONS.items()}
    if "planning" not in main.values:
        sections["planning"] = PlanningConfig(enabled=False)
    documents = [main, *_asset_files(reader, main)]
    entries: _Entries = {
        name: [entry for document in documents for entry in reader.entries(document, name, model)]
        for name, model in _LISTS.items()
    }
    _check_unique(reader, entries)
    _check_references(reader, entries)
    _check_geometry(reader, entries)
    _check_password_file(reader, main, sections["mqtt"])
    distances = _distances(reader, main, sections["planning"], entries)
    if reader.mistakes:
        order = {document.name: index for index, document in enumerate(documents)}
        raise ConfigError(
            sorted(reader.mistakes, key=lambda it: (order.get(it.file, len(order)), it.line))
        )
    lists = {f"{name}s": tuple(entry.model for entry in entries[name]) for name in _LISTS}
    values: dict[str, Any] = {**sections, **lists}
    return Config(path=path, site=site, timezone=timezone, distances=distances, **values)


def mqtt_password(config: MqttConfig) -> str | None:
    """Return the broker's password: the first line of ``password_file``.

    Raises `ConfigError` if the file has gone since the configuration was read.
    """
    if config.password_file is None:
        return None
    try:
        lines = config.password_file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        mistake = Mistake(str(config.password_file), 0, f"cannot be read: {reason}")
        raise ConfigError([mistake]) from None
    return lines[0] if lines else ""


def _site(reader: Reader, main: Document) -> str:
    site = main.values.get("site")
    if site is None:
        reader.report(
            main, (), 'the file needs "site", the name under which everything is published'
        )
        return ""
    if not isinstance(site, str):
        reader.report(main, ("site",), "site must be a string")
        return ""
    try:
        return _identifier(site)
    except ValueError as error:
        reader.report(main, ("site",), f"site: {error}")
        return ""


def _timezone(reader: Reader, main: Document) -> zoneinfo.ZoneInfo:
    name = main.values.get("timezone", "UTC")
    utc = zoneinfo.ZoneInfo("UTC")
    if not isinstance(name, str):
        reader.report(main, ("timezone",), "timezone must be a string")
        return utc
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, zoneinfo.available_timezones())
        reader.report(main, ("timezone",), f'timezone "{name}" is not known{hint}')
        return utc


def _asset_files(reader: Reader, main: Document) -> list[Document]:
    names = main.values.get("assets", [])
    if not isinstance(names, list) or not all(
        isinstance(name, str) and "\0" not in name for name in names
    ):
        reader.report(main, ("assets",), 'assets must be a list of file names, ["street.toml"]')
        return []
    documents = []
    for index, name in enumerate(names):
        at = ("assets", index)
        path = main.path.parent / name
        if name in names[:index]:
            reader.report(main, at, f'"{name}" is listed twice')
            continue
        document = reader.document(path, str(path), (main, at))
        if document is not None:
            reader.unknown_keys(document, _LISTS)
            documents.append(document)
    return documents


def _check_unique(reader: Reader, entries: _Entries) -> None:
    for kind, key in (
        ("gateway", "id"),
        ("gateway", "eui"),
        ("device", "dev_eui"),
        ("device", "asset"),
        ("container", "id"),
        ("bay", "id"),
        ("place", "id"),
        ("truck", "id"),
    ):
        first: dict[Any, Entry] = {}
        for entry in entries[kind]:
            value = getattr(entry.model, key) if entry.model else entry.raw.get(key)
            if value is None or not isinstance(value, str | bytes):
                continue
            other = first.setdefault(value, entry)
            if other is not entry:
                shown = value.hex() if isinstance(value, bytes) else value
                where = other.document.where((*other.path, key))
                message = f'{key} "{shown}" is already used by the {kind} at {where}'
                reader.report(entry.document, (*entry.path, key), message)


def _ids(entries: list[Entry]) -> set[str]:
    return {entry.raw["id"] for entry in entries if isinstance(entry.raw.get("id"), str)}


def _check_references(reader: Reader, entries: _Entries) -> None:
    assets = {f"{kind}/{name}" for kind in ("container", "bay") for name in _ids(entries[kind])}
    depots, disposals = (
        _ids([place for place in entries["place"] if place.raw.get("kind") != other])
        for other in ("disposal", "depot")
    )
    for kind, key, known, what in (
        ("device", "asset", assets, "an asset"),
        ("truck", "depot", depots, 'a [[place]] of kind "depot"'),
        ("truck", "disposal", disposals, 'a [[place]] of kind "disposal"'),
    ):
        for entry in entries[kind]:
            value = entry.raw.get(key)
            if not isinstance(value, str) or value in known:
                continue
            if key == "asset" and not _ASSET.fullmatch(value):
                continue  # reported by its own check
            message = f'{key} "{value}" is not {what}{did_you_mean(value, known)}'
            reader.report(entry.document, (*entry.path, key), message)


def _check_geometry(reader: Reader, entries: _Entries) -> None:
    for entry in entries["container"]:
        container = entry.model
        if container is not None and container.full_mm >= container.depth_mm:
            message = (
                f"full_mm ({container.full_mm}) must be less than depth_mm ({container.depth_mm}):"
                " the sensor measures downward"
            )
            reader.report(entry.document, (*entry.path, "full_mm"), message)


def _check_password_file(reader: Reader, main: Document, mqtt: _Model | None) -> None:
    if isinstance(mqtt, MqttConfig) and mqtt.password_file is not None:
        try:
            mqtt_password(mqtt)
        except ConfigError as error:
            message = f"password_file {error.mistakes[0].message}"
            reader.report(main, ("mqtt", "password_file"), message)
            return
        if mqtt.username is None:
            message = 'password_file needs "username" beside it'
            reader.report(main, ("mqtt", "password_file"), message)


def _distances(
    reader: Reader, main: Document, planning: _Model | None, entries: _Entries
) -> DistanceTable | None:
    if not isinstance(planning, PlanningConfig):
        return None
    if planning.enabled and not entries["truck"]:
        reader.report(main, ("planning",), "a round needs at least one [[truck]]")
    if planning.distances is None:
        return None
    at = ("planning", "distances")
    try:
        with planning.distances.open(encoding="utf-8-sig", newline="") as file:
            table, mistakes = read_table(file, str(planning.distances))
    except OSError as error:
        reader.report(main, at, f"distances cannot be read: {error.strerror}")
        return None
    except (UnicodeDecodeError, csv.Error):
        reader.report(main, at, "distances is not a table (CSV) in UTF-8 text")
        return None
    reader.mistakes.extend(mistakes)
    for kind in ("container", "place"):
        for entry in entries[kind]:
            index = entry.raw.get("distance_index")
            if isinstance(index, int) and index not in table and not mistakes:
                message = f"distance_index {index} is not in {planning.distances.name}"
                reader.report(entry.document, (*entry.path, "distance_index"), message)
    return table
