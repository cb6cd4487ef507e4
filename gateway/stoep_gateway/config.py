"""The gateway's configuration: what may stand in the TOML files, and reading them.

`load` reports every mistake of all files at once, each with its file, its line and, where a name
is only misspelt, the right one. Keys and passwords never appear in a message or a ``repr``.
"""

from __future__ import annotations

import csv
import datetime
import os
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from stoep_gateway.assets.geometry import Misfit, inside
from stoep_gateway.config_assets import AssetFileConfig, EventConfig
from stoep_gateway.config_checks import check_network_side, check_trucks
from stoep_gateway.config_dispatch import DispatcherConfig
from stoep_gateway.config_documents import Merged, drop_ins, merge
from stoep_gateway.config_events import check_events
from stoep_gateway.config_makes import MakeConfig
from stoep_gateway.config_model import (
    ASSET,
    AdrConfig,
    BasicsStationConfig,
    BayConfig,
    ContainerConfig,
    ControlConfig,
    DeviceConfig,
    GatewayConfig,
    GwmpConfig,
    Id,
    LorawanConfig,
    MqttConfig,
    ReadingsConfig,
    SourceConfig,
    StoreConfig,
    TableModel,
    identifier,
)
from stoep_gateway.config_names import check_names
from stoep_gateway.config_planning import (
    FractionConfig,
    KindConfig,
    PlaceConfig,
    PlanningConfig,
    TruckConfig,
)
from stoep_gateway.config_positions import check_positions
from stoep_gateway.config_reader import Document, Entry, Reader, did_you_mean
from stoep_gateway.config_service import (
    HomeAssistantConfig,
    HttpConfig,
    NgsiLdConfig,
    RetentionConfig,
    TimeConfig,
)
from stoep_gateway.config_sheets import read_sheets, shortened
from stoep_gateway.errors import ConfigError, Mistake
from stoep_gateway.integrations.codecs import shipped
from stoep_gateway.planning.distances import DistanceTable, read_table

__all__ = ["Config", "Loaded", "load", "mqtt_password", "named_paths", "read"]

CREDENTIAL = "mqtt-password"


class Config(TableModel):
    """Everything the gateway was told, checked; relative paths are made from their file's place."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    path: Path
    site: Id
    timezone: zoneinfo.ZoneInfo
    store: StoreConfig
    mqtt: MqttConfig
    gwmp: GwmpConfig
    lorawan: LorawanConfig
    control: ControlConfig
    adr: AdrConfig
    readings: ReadingsConfig
    basics_station: BasicsStationConfig | None
    planning: PlanningConfig
    retention: RetentionConfig
    time: TimeConfig
    http: HttpConfig | None
    home_assistant: HomeAssistantConfig | None
    ngsi_ld: NgsiLdConfig | None
    gateways: tuple[GatewayConfig, ...]
    sources: tuple[SourceConfig, ...]
    makes: tuple[MakeConfig, ...] = ()
    devices: tuple[DeviceConfig, ...]
    containers: tuple[ContainerConfig, ...]
    bays: tuple[BayConfig, ...]
    kinds: tuple[KindConfig, ...] = ()
    fractions: tuple[FractionConfig, ...] = ()
    places: tuple[PlaceConfig, ...]
    trucks: tuple[TruckConfig, ...]
    events: tuple[EventConfig, ...] = ()
    asset_files: tuple[AssetFileConfig, ...] = ()
    dispatchers: tuple[DispatcherConfig, ...] = ()
    holidays: Mapping[str, tuple[datetime.date, ...]] = {}  # by country, of events
    distances: DistanceTable | None = None
    files: tuple[Path, ...] = ()  # it was read from
    warnings: tuple[str, ...] = ()  # what was left out of it, and why


_SECTIONS: dict[str, type[TableModel]] = {
    "store": StoreConfig,
    "mqtt": MqttConfig,
    "gwmp": GwmpConfig,
    "basics_station": BasicsStationConfig,
    "lorawan": LorawanConfig,
    "adr": AdrConfig,
    "readings": ReadingsConfig,
    "control": ControlConfig,
    "planning": PlanningConfig,
    "retention": RetentionConfig,
    "time": TimeConfig,
    "http": HttpConfig,
    "home_assistant": HomeAssistantConfig,
    "ngsi_ld": NgsiLdConfig,
}
_ABSENT_IS_OFF = ("basics_station", "http", "home_assistant", "ngsi_ld")
_LISTS: dict[str, type[TableModel]] = {
    "gateway": GatewayConfig,
    "source": SourceConfig,
    "make": MakeConfig,
    "device": DeviceConfig,
    "container": ContainerConfig,
    "bay": BayConfig,
    "kind": KindConfig,
    "fraction": FractionConfig,
    "place": PlaceConfig,
    "truck": TruckConfig,
    "event": EventConfig,
    "asset_file": AssetFileConfig,
    "dispatcher": DispatcherConfig,
}
_SCALARS = ("site", "timezone", "assets")
_Entries = dict[str, list[Entry]]


# What an unknown key in them leaves undone is seen soon and harms nobody. In all others, which say
# who is let in, what is encrypted, what goes on the air and what is kept, it is a mistake.
LENIENT = (
    "adr",
    "readings",
    "planning",
    "time",
    "home_assistant",
    "container",
    "bay",
    "kind",
    "fraction",
    "place",
    "truck",
    "event",
)
# What only people read: a wrong value of it is left out.
COSMETIC = {
    "gateway": ("lat", "lon"),
    "device": ("name",),
    "container": ("name", "kind", "fraction"),
    "bay": ("name",),
    "place": ("name",),
    "event": ("name",),
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A configuration with its documents: ``merged`` has the tables, ``entries`` the lists."""

    config: Config
    merged: Merged
    entries: Mapping[str, list[Entry]]


def load(path: Path | str) -> Config:
    """Read the configuration at ``path``, what is in ``conf.d`` beside it, and what they name.

    Raises `ConfigError` with every mistake in all of them.
    """
    return read(path).config


def read(path: Path | str) -> Loaded:
    """Do what `load` does, and say where everything stands."""
    path = Path(path)
    reader = Reader(_SECTIONS, _SCALARS, LENIENT, COSMETIC)
    first = reader.document(path, str(path))
    if first is None:
        raise ConfigError(reader.mistakes)
    documents = [first, *drop_ins(reader, path)]
    for document in documents:
        reader.unknown_keys(document, (*_SCALARS, *_SECTIONS, *_LISTS))
    main = merge(reader, documents, _SECTIONS, ("site", "timezone"))
    site = _site(reader, main)
    timezone = _timezone(reader, main)
    sections = {name: reader.section(main, name, model) for name, model in _SECTIONS.items()}
    if "planning" not in main.values:
        sections["planning"] = PlanningConfig(enabled=False)
    for name in _ABSENT_IS_OFF:
        if name not in main.values:
            sections[name] = None
    documents += [one for document in documents for one in _asset_files(reader, document)]
    entries: _Entries = {
        name: [entry for document in documents for entry in reader.entries(document, name, model)]
        for name, model in _LISTS.items()
    }
    files = tuple(it.path for it in documents)
    sheets = read_sheets(reader, entries["asset_file"], _LISTS)
    for sheet in sheets:
        entries[sheet.of] += reader.entries(sheet, sheet.of, _LISTS[sheet.of])
    documents += sheets
    _check_unique(reader, entries)
    _check_references(reader, entries)
    check_trucks(reader, entries)
    check_names(reader, entries)
    check_positions(reader, entries, timezone)
    _check_geometry(reader, entries, sections["planning"])
    _check_password_file(reader, main, sections["mqtt"])
    check_network_side(reader, main, sections, entries)
    holidays = check_events(reader, entries)
    distances = _distances(reader, main, sections["planning"], entries)
    order = {document.name: index for index, document in enumerate(documents)}
    for found in (reader.mistakes, reader.warnings):
        found[:] = shortened(found, {it.name for it in sheets})
        found.sort(key=lambda it: (order.get(it.file, len(order)), it.line))
    if reader.mistakes:
        raise ConfigError(reader.mistakes)
    lists = {f"{name}s": tuple(entry.model for entry in entries[name]) for name in _LISTS}
    values: dict[str, Any] = {**sections, **lists, "files": files}
    config = Config(
        path=path,
        site=site,
        timezone=timezone,
        distances=distances,
        holidays=holidays,
        warnings=tuple(map(str, reader.warnings)),
        **values,
    )
    return Loaded(config, main, entries)


def named_paths(config: Config) -> Iterator[tuple[str, Path]]:
    """Yield each path that a table says, with its key."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        for table in value if isinstance(value, tuple) else (value,):
            if isinstance(table, TableModel):
                for key in type(table).model_fields:
                    if isinstance(path := getattr(table, key), Path):
                        yield key, path


def mqtt_password(
    config: MqttConfig | SourceConfig, environ: Mapping[str, str] = os.environ
) -> str | None:
    """Return the broker's password: the first line of ``password_file``.

    Our own broker's may be systemd's credential ``mqtt-password`` instead. Raises `ConfigError` if
    the file has gone since the configuration was read.
    """
    path = config.password_file
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if path is None and folder and isinstance(config, MqttConfig) and config.username is not None:
        credential = Path(folder) / CREDENTIAL
        path = credential if credential.exists() else None
    if path is None:
        return None
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        mistake = Mistake(str(path), 0, f"cannot be read: {reason}")
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
        return identifier(site)
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
        ("source", "id"),
        ("make", "id"),
        ("device", "dev_eui"),
        ("device", "asset"),
        ("container", "id"),
        ("bay", "id"),
        ("kind", "id"),
        ("fraction", "id"),
        ("place", "id"),
        ("truck", "id"),
        ("event", "id"),
        ("dispatcher", "id"),
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
        ("device", "source", _ids(entries["source"]), "a [[source]]"),
        ("device", "make", shipped.names() | _ids(entries["make"]), "a [[make]]"),
        ("truck", "depot", depots, 'a [[place]] of kind "depot"'),
        ("truck", "disposal", disposals, 'a [[place]] of kind "disposal"'),
        ("truck", "kinds", _named(entries, "kind"), "the kind of any [[container]]"),
        ("truck", "fractions", _named(entries, "fraction"), "the fraction of any [[container]]"),
        ("container", "trucks", _ids(entries["truck"]), "a [[truck]]"),
        ("kind", "id", _named(entries, "kind"), "the kind of any [[container]]"),
        ("fraction", "id", _named(entries, "fraction"), "the fraction of any [[container]]"),
        ("event", "containers", _ids(entries["container"]), "a [[container]]"),
        ("event", "kinds", _named(entries, "kind"), "the kind of any [[container]]"),
        ("event", "fractions", _named(entries, "fraction"), "the fraction of any [[container]]"),
    ):
        for entry in entries[kind]:
            said = entry.raw.get(key)
            for value in said if isinstance(said, list) else [said]:
                if not isinstance(value, str) or value in known:
                    continue
                if key == "asset" and not ASSET.fullmatch(value):
                    continue  # reported by its own check
                message = f'{key} "{value}" is not {what}{did_you_mean(value, known)}'
                reader.report(entry.document, (*entry.path, key), message)


def _named(entries: _Entries, key: str) -> set[str]:
    """Return what containers say of themselves under a key."""
    models = [entry.model for entry in entries["container"] if entry.model is not None]
    return {getattr(model, key) for model in models}


def _check_geometry(reader: Reader, entries: _Entries, planning: TableModel | None) -> None:
    for entry in entries["container"]:
        if entry.model is None:
            continue
        try:
            found = inside(entry.model)
        except Misfit as misfit:
            reader.report(entry.document, (*entry.path, misfit.key), str(misfit))
            continue
        highest_pct = found.fill_pct(0)
        if isinstance(planning, PlanningConfig) and highest_pct < planning.threshold_pct:
            message = (
                f"its sensor sees no level above {highest_pct:g} %, and it is due at"
                f" {planning.threshold_pct:g} %"
            )
            reader.warn(entry.document, entry.path, message)


def _check_password_file(reader: Reader, main: Document, mqtt: TableModel | None) -> None:
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
    reader: Reader, main: Document, planning: TableModel | None, entries: _Entries
) -> DistanceTable | None:
    if not isinstance(planning, PlanningConfig):
        return None
    if planning.enabled and not entries["truck"]:
        reader.report(main, ("planning",), "a round needs at least one [[truck]]")
    if planning.roads is not None and not planning.roads.is_file():
        message = "roads is not there, so distances are estimated"
        reader.warn(main, ("planning", "roads"), message)
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
