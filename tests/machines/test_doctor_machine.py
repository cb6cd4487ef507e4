"""The doctor's rules about the machine, what it sees of one, and how it tells all of it."""

import dataclasses
import os
from pathlib import Path

import pytest
from stoep_gateway import config as configuration
from stoep_gateway.doctor import machine
from stoep_gateway.doctor.facts import FileFacts, Finding, MachineFacts, StorageFacts
from stoep_gateway.doctor.machine_rules import BACKUP_S, of_machine, size
from stoep_gateway.doctor.text import report
from stoep_gateway.store import copied_mark

CARD = StorageFacts("mmcblk0", 32_000_000_000, 3_000_000_000)
EMMC = dataclasses.replace(CARD, life_used_pct=10, pre_eol=1)
WELL = MachineFacts(
    clock_synchronised=True,
    disk_free_octets=600_000_000,
    disk_octets=30_000_000_000,
    storage=EMMC,
    backup_s=86_400,
    files=(),
    context_broker="",
)


def found(**changes):
    return [(it.level, it.code) for it in of_machine(dataclasses.replace(WELL, **changes))]


def test_a_machine_that_is_well_and_one_that_does_not_tell():
    assert found() == []
    assert found(storage=CARD) == []
    assert found(disk_free_octets=60_000_000, disk_octets=200_000_000) == []
    assert list(of_machine(MachineFacts(backup_s=0))) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"clock_synchronised": False}, ("warning", "clock-unsynchronised")),
        ({"disk_free_octets": 499_000_000}, ("warning", "disk")),
        ({"disk_free_octets": 49_000_000}, ("error", "disk-full")),
        ({"storage": dataclasses.replace(EMMC, life_used_pct=80)}, ("warning", "worn")),
        ({"storage": dataclasses.replace(EMMC, pre_eol=2)}, ("warning", "worn")),
        ({"storage": dataclasses.replace(CARD, pre_eol=3)}, ("error", "worn")),
        (
            {"storage": dataclasses.replace(CARD, written_per_day=17_000_000_000)},
            ("warning", "writes"),
        ),
        ({"backup_s": None}, ("note", "no-backup")),
        ({"backup_s": BACKUP_S + 1}, ("warning", "old-backup")),
        (
            {"files": (FileFacts("/etc/stoep/key", "key_file", "readable"),)},
            ("warning", "secret-readable"),
        ),
        (
            {"files": (FileFacts("/etc/stoep/ca.pem", "ca_file", "missing"),)},
            ("error", "file-unusable"),
        ),
        (
            {"files": (FileFacts("/etc/stoep/ca.pem", "ca_file", "empty"),)},
            ("error", "file-unusable"),
        ),
        ({"context_broker": "https://x: refused"}, ("warning", "context-broker")),
    ],
)
def test_each_trouble_of_a_machine(changes, expected):
    assert found(**changes) == [expected]


@pytest.mark.parametrize(
    ("octets", "text"),
    [(999, "999 octets"), (1500, "1.5 kB"), (49_000_000, "49 MB"), (31_900_000_000, "31.9 GB")],
)
def test_sizes(octets, text):
    assert size(octets) == text


# What is seen.


@pytest.fixture
def sys(tmp_path):
    """Make a /sys in which the drive of ``tmp_path`` is an eMMC with two partitions."""
    drive = tmp_path / "sys/devices/emmc/block/mmcblk0"
    partition = drive / "mmcblk0p2"
    partition.mkdir(parents=True)
    (partition / "partition").write_text("2\n")
    (drive / "size").write_text("62333952\n")
    (drive / "stat").write_text("  100 0 8000 9 200 0 2000000 9 0 9 9\n")
    (drive / "device").mkdir()
    (drive / "device/life_time").write_text("0x03 0x09\n")
    (drive / "device/pre_eol_info").write_text("0x02\n")
    number = tmp_path.stat().st_dev
    link = tmp_path / f"sys/dev/block/{os.major(number)}:{os.minor(number)}"
    link.parent.mkdir(parents=True)
    link.symlink_to(partition)
    return tmp_path / "sys"


def test_the_wear_of_an_emmc_is_read_from_its_drive(sys, tmp_path):
    seen = machine.look(tmp_path / "stoep.db", sys=sys).storage
    assert (seen.name, seen.octets) == ("mmcblk0", 62333952 * 512)
    assert (seen.life_used_pct, seen.pre_eol) == (90, 2)
    if seen.written_per_day is not None:  # up for an hour at least
        assert 0 < seen.written_per_day <= 2_000_000 * 512 * 24


def test_a_card_without_wear_and_a_drive_that_nobody_knows(sys, tmp_path):
    drive = sys / "devices/emmc/block/mmcblk0"
    (drive / "device/life_time").unlink()
    seen = machine.look(tmp_path / "stoep.db", sys=sys).storage
    assert (seen.life_used_pct, seen.pre_eol) == (None, None)
    (drive / "stat").write_text("")
    assert machine.look(tmp_path / "stoep.db", sys=sys).storage is None
    assert machine.look(tmp_path / "stoep.db", sys=Path("/nowhere")).storage is None


def test_disk_and_database_and_copy(tmp_path):
    database = tmp_path / "stoep.db"
    seen = machine.look(database)
    assert 0 < seen.disk_free_octets < seen.disk_octets
    assert (seen.database_octets, seen.backup_s, seen.files) == (None, None, None)
    assert seen.clock_synchronised in (True, False, None)
    database.write_bytes(bytes(5000))
    copied = copied_mark(database)
    copied.touch()
    os.utime(copied, (1_000_000_000, 1_000_000_000))
    seen = machine.look(database)
    assert seen.database_octets == 5000
    assert seen.backup_s > 700_000_000
    assert machine.look(tmp_path / "not" / "there.db") == MachineFacts(
        clock_synchronised=seen.clock_synchronised
    )


CONFIG = """
site = "test"
[mqtt]
username = "stoep"
password_file = "mqtt-password"
[[gateway]]
id = "roof"
eui = "0016c001ff10a235"
token_file = "roof.token"
[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "2b7e151628aed2a6abf7158809cf4f3c"
"""


def test_secrets_that_everybody_reads_and_files_that_are_not_there(tmp_path):
    file = tmp_path / "stoep.toml"
    file.write_text(CONFIG)
    for name in ("mqtt-password", "stoep.db.key", "roof.token"):
        (tmp_path / name).write_text("secret")
        (tmp_path / name).chmod(0o640)
    file.chmod(0o640)
    config = configuration.load(file)
    (tmp_path / "roof.token").write_text("")

    def problems():
        files = machine.look(config.store.path, config).files
        return {Path(it.path).name: it.problem for it in files}

    assert problems() == {"roof.token": "empty"}
    (tmp_path / "roof.token").unlink()
    for name in ("mqtt-password", "stoep.db.key", "stoep.toml"):
        (tmp_path / name).chmod(0o644)
    assert problems() == {
        "roof.token": "missing",
        "mqtt-password": "readable",
        "stoep.db.key": "readable",
        "stoep.toml": "readable",
    }


def test_a_context_broker_that_is_not_there(tmp_path):
    file = tmp_path / "stoep.toml"
    file.write_text('site = "test"\n[ngsi_ld]\nurl = "http://127.0.0.1:1"\n')
    config = configuration.load(file)
    refused = machine.look(config.store.path, config).context_broker
    assert refused == "http://127.0.0.1:1: Connection refused"


# How it is told.

SITE = {"name": "street", "up_s": 9000.0, "devices": {"heard": 3, "never_heard": 1, "silent": 0}}
SITE |= {"broker": "127.0.0.1:1883", "broker_connected": False, "waiting_messages": 12}
BAD = Finding("error", "broker", "", "it is away", "nothing", "something")


def test_a_report_in_black_and_white():
    roof = {"id": "roof-of-the-town-hall", "seen_s": None}
    lines = report(SITE, [roof], WELL, [BAD]).splitlines()
    said = "clock synchronised, 600 MB free of 30 GB, mmcblk0 10 % worn, last copy 24 h ago"
    assert lines == [
        "street, up 2 h",
        f"machine                {said}",
        "broker                 127.0.0.1:1883 away, 12 messages wait",
        "devices                3 heard, 1 never heard",
        "roof-of-the-town-hall  never heard since the start",
        "",
        "error[broker]: it is away",
        "  means: nothing",
        "  do:    something",
        "",
        "1 error.",
    ]


def test_a_report_in_colour_says_the_same():
    text = report(SITE, [], WELL, [BAD], colour=True)
    assert "\x1b[1;31merror[broker]\x1b[0m: it is away" in text
    plain = text.replace("\x1b[0m", "").replace("\x1b[1;31m", "").replace("\x1b[1m", "")
    assert plain == report(SITE, [], WELL, [BAD])


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ([], "Nothing is wrong as far as can be seen from here."),
        (["note"], "Nothing is wrong as far as can be seen from here (1 note)."),
        (["warning", "note", "note"], "1 warning, 2 notes."),
        (["error", "error", "warning"], "2 errors, 1 warning."),
    ],
)
def test_the_last_line_is_the_sum(levels, said):
    findings = [dataclasses.replace(BAD, level=level) for level in levels]
    assert report(SITE, [], WELL, findings).splitlines()[-1] == said
