"""The package on a real systemd, from its installation to its purge: bookworm and trixie.

The tests of one release follow each other on one machine. ``make test-system`` runs them.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nspawn
import pytest
from street_inside import CONFIG, DEV_EUI, OPEN_PORT, Street
from waiting import wait_until

ROOT = Path(__file__).parents[2]
SUFFIXES = {"bookworm": "deb12", "trixie": "deb13"}
STATE = "/var/lib/private/stoep-gateway"
SETTINGS = "/etc/stoep-gateway/stoep.toml"
BROKER = f"""
per_listener_settings true
listener 1883 127.0.0.1
allow_anonymous false
password_file /etc/mosquitto/passwords
listener {OPEN_PORT} 127.0.0.1
allow_anonymous true
"""
# Of the same unit, only sooner.
SOONER = "[Service]\nWatchdogSec={watchdog}\nRestartSec=1\n"

pytestmark = [
    pytest.mark.skipif(
        "STOEP_SYSTEM" not in os.environ, reason="takes minutes: make test-system runs it"
    ),
    pytest.mark.skipif(bool(nspawn.why_not()), reason=nspawn.why_not() or ""),
]


def older(package, folder):
    """Return the package as it was before: the same, with a version that is less."""
    tree = folder / "older"
    subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 0~"))
    out = folder / "older.deb"
    subprocess.run(["dpkg-deb", "--build", "-Zgzip", "-z1", tree, out], check=True)
    return out


def package_of(release, folder):
    """Return a package for this machine, of ``$STOEP_PACKAGES`` or built now."""
    architecture = subprocess.run(
        ["dpkg", "--print-architecture"], check=True, capture_output=True, text=True
    ).stdout.strip()
    if given := os.environ.get("STOEP_PACKAGES"):
        (package,) = Path(given).glob(f"*+{SUFFIXES[release]}.*_{architecture}.deb")
        return package
    command = [sys.executable, ROOT / "packaging" / "build.py", "--dist", release]
    command += ["--arch", architecture, "--out", folder, "--compression", "gzip"]
    subprocess.run(command, check=True, timeout=900)
    (package,) = folder.glob("*.deb")
    return package


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request, tmp_path_factory):
    release = request.param
    folder = tmp_path_factory.mktemp(release)
    package = package_of(release, folder)
    machine = nspawn.Machine(release, folder)
    try:
        shutil.copy(package, machine.root / "opt" / "new.deb")
        shutil.copy(older(package, folder), machine.root / "opt" / "old.deb")
        yield machine
    finally:
        machine.stop()


@pytest.fixture(scope="module")
def street(machine):
    street = Street(machine.enter("--net"))
    yield street
    street.end()


def sooner(machine, watchdog="2min"):
    drop_in = "/etc/systemd/system/stoep-gateway.service.d/sooner.conf"
    machine.write(drop_in, SOONER.format(watchdog=watchdog))
    machine.run("systemctl daemon-reload && systemctl restart stoep-gateway")


def count(machine, table="uplink"):
    program = (
        "import sqlite3; it = sqlite3.connect('file:/var/lib/stoep-gateway/stoep.db', uri=True);"
        f"print(*it.execute('SELECT count(*) FROM {table}').fetchone(),"
        " *it.execute('PRAGMA integrity_check').fetchone())"
    )
    number, integrity = machine.run(f'python3 -c "{program}"').stdout.split()
    assert integrity == "ok"
    return int(number)


def restarts(machine):
    return int(machine.shows("NRestarts"))


def has_restarted(machine, before):
    wait_until(
        lambda: restarts(machine) > before and machine.shows("ActiveState") == "active",
        "the service started anew",
        patience_s=180,
    )


def test_it_is_installed_and_runs_with_its_key_encrypted(machine):
    said = machine.run("dpkg --install /opt/old.deb").stdout
    assert "copy the sealing key to a safe place" in said
    assert machine.shows("ActiveState") == "active"
    assert 'site = "town-hall' in machine.run(f"cat {SETTINGS}").stdout
    assert machine.run(f"stat -c '%a %U %G' {SETTINGS}").stdout == "640 root stoep\n"
    sealed = machine.run("stat -c '%a %U' /etc/credstore.encrypted/stoep-key").stdout
    assert sealed == "600 root\n"
    assert machine.run(f"ls {STATE}").stdout.split()[0] == "stoep.db"
    assert not (machine.root / STATE.lstrip("/") / "stoep.db.key").exists()
    assert machine.shows("StatusText").startswith("uplinks 0, messages waiting ")
    # A user of systemd's making, who is nobody when the service is not there.
    user = int(machine.run(f"stat -c %u /proc/{machine.shows('MainPID')}").stdout)
    assert 61184 <= user <= 65519  # systemd's range of DynamicUser=


def test_it_publishes_with_a_password_that_is_encrypted(machine):
    machine.write("/etc/mosquitto/conf.d/test.conf", BROKER)
    machine.run(
        "mosquitto_passwd -b -c /etc/mosquitto/passwords stoep geheim;"
        " chown mosquitto /etc/mosquitto/passwords; systemctl restart mosquitto;"
        " printf geheim | systemd-creds encrypt --with-key=host --name=mqtt-password -"
        " /etc/credstore.encrypted/stoep-mqtt-password"
    )
    machine.run(f"sed -i 's/^# username = .*/username = \"stoep\"/' {SETTINGS}")
    with (machine.root / SETTINGS.lstrip("/")).open("a") as settings:
        settings.write(CONFIG)
    sooner(machine)
    wait_until(lambda: machine.shows("StatusText").endswith("connected"), "the broker")
    assert "geheim" not in machine.journal("--all")


def test_who_is_in_the_group_manages_devices_and_nobody_else(machine):
    machine.run("useradd anna; usermod -aG stoep anna; useradd ben")
    add = f"stoep device import - <<END\ndev_eui,app_key,asset\n{DEV_EUI},{{}},{{}}\nEND\n"
    add = add.format("2b7e151628aed2a6abf7158809cf4f3c", "container/corner")
    refused = machine.run(add, user="ben", check=False)
    assert refused.returncode != 0
    assert "you may not open it" in refused.stderr
    machine.run(add, user="anna")
    assert DEV_EUI in machine.run("stoep device list", user="anna").stdout
    assert machine.run(f"cat {SETTINGS}", user="ben", check=False).returncode != 0


def test_uplinks_are_published_and_found_in_the_journal(machine, street):
    street.do("join")
    assert len(street.do("uplinks", 5)) == 5
    found = machine.journal(f"DEV_EUI={DEV_EUI}").splitlines()
    assert len([line for line in found if DEV_EUI in line]) >= 5
    assert DEV_EUI not in machine.journal("DEV_EUI=70b3d57ed0000002")
    assert count(machine) == 5


def test_a_round_is_planned_inside_the_sandbox(machine, street):
    """The solver is compiled code that wants no memory both written and executed."""
    assert "corner" in machine.run("stoep plan show", user="anna").stdout.split("Not due")[0]


def test_a_killed_gateway_comes_back_with_its_sessions(machine, street):
    before = restarts(machine)
    machine.run("systemctl kill --kill-whom=main --signal=KILL stoep-gateway")
    has_restarted(machine, before)
    assert len(street.do("uplinks", 3)) == 8
    assert count(machine) == 8


def test_a_gateway_that_stands_still_is_started_anew(machine, street):
    sooner(machine, "4s")
    before = restarts(machine)
    machine.run("systemctl kill --kill-whom=main --signal=STOP stoep-gateway")
    has_restarted(machine, before)
    assert "Watchdog timeout" in machine.journal()
    street.do("uplinks", 1)
    assert count(machine) == 9


def test_a_writer_that_hangs_is_a_hang_although_the_loop_turns(machine, street):
    before = restarts(machine)
    program = (
        "import sqlite3, time; it = sqlite3.connect('/var/lib/stoep-gateway/stoep.db');"
        "it.execute('BEGIN IMMEDIATE'); time.sleep(20)"
    )
    machine.run(f'systemd-run --quiet --unit=holder python3 -c "{program}"')
    wait_until(lambda: restarts(machine) > before, "the watchdog", patience_s=120)
    machine.run("systemctl stop holder")
    has_restarted(machine, before)
    # Where it hung: every thread's stack, by name and line and without a value.
    assert "write_group" in machine.journal()
    sooner(machine)
    street.do("uplinks", 1)
    assert count(machine) == 10


def test_a_full_disk_is_said_and_loses_nothing_that_was_recorded(machine, street):
    machine.run(
        f"systemctl stop stoep-gateway; mv {STATE} {STATE}.kept; mkdir {STATE};"
        f" mount -t tmpfs -o size=16m tmpfs {STATE}; cp -a {STATE}.kept/. {STATE}/;"
        f" chown --reference={STATE}.kept {STATE}; chmod 750 {STATE};"
        " systemctl start stoep-gateway"
    )
    before = restarts(machine)
    street.do("uplinks", 2)
    machine.run(f"dd if=/dev/zero of={STATE}/filler bs=4k 2>/dev/null || true")
    for _ in range(200):  # what the log of the database has room for goes on being recorded
        street.do("unheard", 20)
        if restarts(machine) > before:
            break
    else:
        pytest.fail("the disk was full and nobody minded")
    wait_until(lambda: "full" in machine.journal(), "a word about the disk")
    machine.run(f"rm {STATE}/filler")
    has_restarted(machine, before)
    recorded = count(machine)
    assert recorded >= 12
    street.do("uplinks", 2)
    assert count(machine) == recorded + 2
    machine.run(
        f"systemctl stop stoep-gateway; cp -a {STATE}/. {STATE}.kept/; umount {STATE};"
        f" rmdir {STATE}; mv {STATE}.kept {STATE}; systemctl start stoep-gateway"
    )
    assert count(machine) == recorded + 2


def test_an_upgrade_keeps_all_and_starts_the_new_one(machine, street):
    before, pid = count(machine), machine.shows("MainPID")
    said = machine.run("dpkg --install /opt/new.deb").stdout
    assert "does not start" not in said
    assert machine.shows("ActiveState") == "active"
    assert machine.shows("MainPID") != pid
    street.do("uplinks", 1)
    assert count(machine) == before + 1


def test_mistakes_in_the_configuration_are_told_and_tried_no_more(machine):
    machine.run(f"cp -a {SETTINGS} /opt/kept.toml; echo 'sight = 1' >> {SETTINGS}")
    machine.run(f"echo 'site = [' >> {SETTINGS}")
    said = machine.run("dpkg --install /opt/new.deb").stdout
    assert "it does not start with this configuration" in said
    assert f"{SETTINGS}:" in said
    assert machine.shows("ActiveState") == "failed"
    assert machine.shows("ExecMainStatus") == "2"
    machine.run(f"cp -a /opt/kept.toml {SETTINGS}; systemctl start stoep-gateway")
    assert machine.shows("ActiveState") == "active"


def test_removing_keeps_the_data_and_purging_leaves_nothing(machine):
    before = count(machine)
    machine.run("dpkg --remove stoep-gateway")
    assert machine.run("pgrep -f stoep_tools || pgrep -x stoep", check=False).stdout == ""
    machine.run("dpkg --install /opt/new.deb")
    assert count(machine) == before
    machine.run("dpkg --purge stoep-gateway")
    left = machine.run(
        "find / -xdev -not -path '/proc/*' -not -path '/opt/*' -not -path '/var/log/*'"
        " -iname '*stoep*' -print"
    ).stdout.split()
    assert left in ([], ["/etc/systemd/system/stoep-gateway.service.d"])
