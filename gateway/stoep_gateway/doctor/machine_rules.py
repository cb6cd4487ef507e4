"""The rules about the machine that the gateway runs on. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stoep_gateway.doctor.facts import FileFacts, Finding, MachineFacts, StorageFacts
from stoep_gateway.doctor.gateway_rules import duration

__all__ = ["of_machine", "size"]

FREE_OCTETS, FREE_SHARE = 500_000_000, 0.05
FULL_OCTETS = 50_000_000  # a copy before a migration, a WAL, and the journal
LIFE_PCT = 80
BACKUP_S = 35 * 86_400  # a month, and a few days of grace
_WRITES_A_DAY = 0.5  # of the whole drive: 1000 cycles last for five years
_URGENT = 3


def of_machine(machine: MachineFacts) -> Iterator[Finding]:
    """Find what is wrong with the machine."""
    if machine.clock_synchronised is False:
        yield Finding(
            "warning",
            "clock-unsynchronised",
            "",
            "this machine's clock is not synchronised",
            "times of messages may be wrong, rounds come at the wrong hour, and TLS may fail",
            "timedatectl status; let it reach a time server: systemctl enable --now"
            " systemd-timesyncd; without one set trust_clock in [time]",
        )
    yield from _disk(machine)
    if machine.storage is not None:
        yield from _storage(machine.storage)
    for file in machine.files or ():
        yield _file(file)
    if machine.context_broker:
        yield Finding(
            "warning",
            "context-broker",
            "",
            f"the context broker is not reached: {machine.context_broker}",
            "it is not told of anything; what changes meanwhile goes there when it is back",
            "see whether it runs, and url and ca_file in [ngsi_ld]",
        )
    if machine.backup_s is None:
        yield Finding(
            "note",
            "no-backup",
            "",
            "no copy of this gateway is known",
            "when the card dies, every device has to be set up anew",
            "stoep gateway backup FILE, and the sealing key to another place",
        )
    elif machine.backup_s > BACKUP_S:
        yield Finding(
            "warning",
            "old-backup",
            "",
            f"the last copy was made {duration(machine.backup_s)} ago",
            "what came since would be lost with the card: devices, sessions, settings",
            "stoep gateway backup FILE, from a timer best",
        )


def size(octets: float) -> str:
    """Write a number of octets as people say it."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if octets >= factor:
            return f"{octets / factor:.3g} {unit}"
    return f"{octets:.0f} octets"


def _disk(machine: MachineFacts) -> Iterator[Finding]:
    free, whole = machine.disk_free_octets, machine.disk_octets
    if free is None or not whole:
        return
    if free < FULL_OCTETS:
        yield Finding(
            "error",
            "disk-full",
            "",
            f"the disk of the database is full: {size(free)} left",
            "soon no uplink can be recorded, and the gateway ends",
            "make room: journalctl --vacuum-size=100M; old copies beside the database",
        )
    elif free < min(FREE_OCTETS, FREE_SHARE * whole):
        yield Finding(
            "warning",
            "disk",
            "",
            f"the disk of the database has {size(free)} left of {size(whole)}",
            "a broker that is away for long, or a copy before an upgrade, may fill it",
            "make room, or shorten [retention] uplinks_days and [mqtt] outbox_mb",
        )


def _storage(storage: StorageFacts) -> Iterator[Finding]:
    urgent = storage.pre_eol == _URGENT
    worn = storage.life_used_pct is not None and storage.life_used_pct >= LIFE_PCT
    if worn or storage.pre_eol in (2, _URGENT):
        told = "" if storage.life_used_pct is None else f"{storage.life_used_pct} % of its life"
        yield Finding(
            "error" if urgent else "warning",
            "worn",
            "",
            f"{storage.name} says that it is worn: {told or 'its spare blocks run out'}",
            "it will become read-only, or lose what is written",
            "stoep gateway backup FILE now, and replace it",
        )
    written = storage.written_per_day
    if written is not None and written > _WRITES_A_DAY * storage.octets > 0:
        yield Finding(
            "warning",
            "writes",
            "",
            f"{size(written)} a day go to {storage.name}, a drive of {size(storage.octets)}",
            "a card is worn out by that within a few years",
            "see who writes (iotop -ao): the journal may be kept in memory (Storage=volatile)",
        )


def _file(file: FileFacts) -> Finding:
    if file.problem == "readable":
        return Finding(
            "warning",
            "secret-readable",
            "",
            f"everybody on this machine can read {file.path} ({file.what})",
            "whoever has an account here has that secret",
            f"chmod o= {file.path}",
        )
    return Finding(
        "error",
        "file-unusable",
        "",
        f"{file.path} ({file.what}) is {file.problem}",
        "the gateway does not start without it, or what needs it cannot connect",
        "put it there, or correct its name in the configuration",
    )
