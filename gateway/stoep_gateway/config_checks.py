"""What one table of the configuration cannot know of another, or of the files that it names.

Of the tables of the network side: regions, TLS, tokens, other network servers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stoep_protocol.lorawan.regions import by_name

from stoep_gateway.config_dispatch import DispatcherConfig, token_of
from stoep_gateway.config_makes import CODEC_MAX_OCTETS, MakeConfig
from stoep_gateway.config_model import (
    AdrConfig,
    BasicsStationConfig,
    GatewayConfig,
    LorawanConfig,
    MqttConfig,
    SourceConfig,
)
from stoep_gateway.config_planning import OUTCOME, SUMMARY, TruckConfig
from stoep_gateway.config_reader import Document, Entry, Reader
from stoep_gateway.config_service import NgsiLdConfig
from stoep_gateway.lns import channel_plan

__all__ = ["check_network_side", "check_trucks"]

_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_READ_BY_OTHERS = 0o004


def check_network_side(
    reader: Reader,
    main: Document,
    sections: Mapping[str, Any],
    entries: Mapping[str, Sequence[Entry]],
) -> None:
    """Report what does not fit; tables that are wrong in themselves are ``None`` and left out."""
    lorawan, adr = sections["lorawan"], sections["adr"]
    if isinstance(lorawan, LorawanConfig):
        _check_region(reader, main, lorawan, adr)
    if isinstance(adr, AdrConfig) and adr.min_dr > adr.max_dr:
        key = "min_dr" if "min_dr" in adr.model_fields_set else "max_dr"
        message = f"min_dr ({adr.min_dr}) is more than max_dr ({adr.max_dr})"
        reader.report(main, ("adr", key), message)
    station = sections["basics_station"]
    if isinstance(station, BasicsStationConfig):
        _check_station(reader, main, station)
    mqtt, ngsi_ld = sections["mqtt"], sections["ngsi_ld"]
    if isinstance(mqtt, MqttConfig):
        _check_broker(reader, main, mqtt)
        if mqtt.encoding != "json" and sections["home_assistant"] is not None:
            message = 'Home Assistant reads JSON alone: "json" here, or no [home_assistant]'
            reader.report(main, ("mqtt", "encoding"), message)
    if isinstance(ngsi_ld, NgsiLdConfig):
        for key in ("token_file", "ca_file"):
            if (path := getattr(ngsi_ld, key)) is not None:
                _check_file(reader, main, ("ngsi_ld", key), path, is_secret=key == "token_file")
    for entry in entries["gateway"]:
        if isinstance(entry.model, GatewayConfig) and entry.model.token_file is not None:
            at = (*entry.path, "token_file")
            _check_file(reader, entry.document, at, entry.model.token_file, is_secret=True)
    for entry in entries["source"]:
        if isinstance(entry.model, SourceConfig):
            _check_source(reader, entry, entry.model)
    for entry in entries["dispatcher"]:
        if isinstance(entry.model, DispatcherConfig) and entry.model.token_file is not None:
            _check_token(reader, entry, entry.model.token_file)
    for entry in entries["make"]:
        if isinstance(entry.model, MakeConfig):
            _check_codec(reader, entry, entry.model.codec)


def check_trucks(reader: Reader, entries: Mapping[str, Sequence[Entry]]) -> None:
    """Report trucks whose topic would be the summary's, and breaks longer than their shift."""
    for entry in entries["truck"]:
        if not isinstance(entry.model, TruckConfig):
            continue
        if entry.model.id in (SUMMARY, OUTCOME):
            message = f'a truck cannot be called "{entry.model.id}": that topic is of the whole day'
            reader.report(entry.document, (*entry.path, "id"), message)
        if entry.model.break_min >= 60 * entry.model.shift_h:
            message = "break_min is as long as the shift"
            reader.report(entry.document, (*entry.path, "break_min"), message)


def _check_region(
    reader: Reader, main: Document, lorawan: LorawanConfig, adr: AdrConfig | None
) -> None:
    region = by_name(lorawan.region)
    if "sub_band" in lorawan.model_fields_set and not region.has_fixed_channels:
        message = f"{region.name} has no sub-bands; sub_band is of US915 and AU915"
        reader.report(main, ("lorawan", "sub_band"), message)
    if lorawan.rx1_dr_offset > region.max_rx1_dr_offset:
        message = (
            f"rx1_dr_offset is at most {region.max_rx1_dr_offset} in {region.name},"
            f" not {lorawan.rx1_dr_offset}"
        )
        reader.report(main, ("lorawan", "rx1_dr_offset"), message)
    if adr is None:
        return
    channels = channel_plan.for_region(region, lorawan.sub_band).channels
    top_dr = max(channel.max_dr for channel in channels)
    for key in ("min_dr", "max_dr"):
        dr: int = getattr(adr, key)
        if key in adr.model_fields_set and dr > top_dr:
            message = f"{key} is at most {top_dr} for the channels of {region.name}, not {dr}"
            reader.report(main, ("adr", key), message)


def _check_station(reader: Reader, main: Document, station: BasicsStationConfig) -> None:
    needs = (("tls_cert", "tls_key"), ("tls_key", "tls_cert"), ("client_ca", "tls_cert"))
    for key, other in needs:
        path: Path | None = getattr(station, key)
        if path is None:
            continue
        at = ("basics_station", key)
        if getattr(station, other) is None:
            reader.report(main, at, f'{key} needs "{other}" beside it')
        _check_file(reader, main, at, path, is_secret=key == "tls_key")


def _check_broker(reader: Reader, main: Document, mqtt: MqttConfig) -> None:
    for key in ("ca_file", "client_cert", "client_key"):
        path: Path | None = getattr(mqtt, key)
        if path is None:
            continue
        at = ("mqtt", key)
        if not mqtt.tls:
            reader.report(main, at, f'{key} needs "tls = true" beside it')
        _check_file(reader, main, at, path, is_secret=key == "client_key")
    for key, other in (("client_cert", "client_key"), ("client_key", "client_cert")):
        if getattr(mqtt, key) is not None and getattr(mqtt, other) is None:
            reader.report(main, ("mqtt", key), f'{key} needs "{other}" beside it')


def _check_source(reader: Reader, entry: Entry, source: SourceConfig) -> None:
    def at(key: str) -> tuple[str | int, ...]:
        return (*entry.path, key)

    if source.kind == "chirpstack" and not _UUID.fullmatch(source.application):
        message = "application is the id that ChirpStack shows of it, 8-4-4-4-12 hexadecimal digits"
        reader.report(entry.document, at("application"), message)
    if source.password_file is not None:
        if source.username is None:
            message = 'password_file needs "username" beside it'
            reader.report(entry.document, at("password_file"), message)
        _check_file(
            reader, entry.document, at("password_file"), source.password_file, is_secret=True
        )
    if source.ca_file is not None:
        if not source.tls:
            reader.report(entry.document, at("ca_file"), 'ca_file needs "tls = true" beside it')
        _check_file(reader, entry.document, at("ca_file"), source.ca_file, is_secret=False)


def _check_codec(reader: Reader, entry: Entry, path: Path) -> None:
    at = (*entry.path, "codec")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        reader.report(entry.document, at, f"codec cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        reader.report(entry.document, at, "codec is not UTF-8 text")
    else:
        if len(text) > CODEC_MAX_OCTETS:
            message = f"codec is larger than {CODEC_MAX_OCTETS >> 10} kB"
            reader.report(entry.document, at, message)
        elif "decodeUplink" not in text:
            message = 'codec has no "decodeUplink": that is what TS013 calls the function'
            reader.report(entry.document, at, message)


def _check_token(reader: Reader, entry: Entry, path: Path) -> None:
    at = (*entry.path, "token_file")
    before = len(reader.mistakes)
    _check_file(reader, entry.document, at, path, is_secret=True)
    if len(reader.mistakes) > before:
        return
    try:
        token_of(path.read_text(encoding="latin-1"))
    except ValueError as error:
        reader.report(entry.document, at, f"token_file {error}")


def _check_file(
    reader: Reader, document: Document, at: tuple[str | int, ...], path: Path, *, is_secret: bool
) -> None:
    try:
        is_empty = not path.read_bytes().strip()
        mode = path.stat().st_mode
    except OSError as error:
        reader.report(document, at, f"{at[-1]} cannot be read: {error.strerror}")
        return
    if is_empty:
        reader.report(document, at, f"{at[-1]} is empty")
    elif is_secret and mode & _READ_BY_OTHERS:
        reader.report(document, at, f"{at[-1]} can be read by everybody; chmod o-rwx {path}")
