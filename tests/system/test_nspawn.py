"""The package on a real systemd, from its installation to its purge: bookworm and trixie.

The tests of one release follow each other on one machine. ``make test-system`` runs them.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nspawn
import packages
import pytest
from street_inside import (
    APP_KEY,
    BOARD_EUI,
    CODEC,
    CONFIG,
    DEV_EUI,
    MAKE,
    OPEN_PORT,
    OTHER_EUI,
    Street,
)
from waiting import wait_until

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
DROP_IN = "/etc/systemd/system/stoep-gateway.service.d/test.conf"
# Of the same unit, only sooner.
SOONER = """
[Service]
WatchdogSec={watchdog}
RestartSec=1
Environment=PYTHONPATH=/opt/test
"""
# What Python imports first of all. A handler of signals runs in the main thread: the event loop's.
HOLDS_THE_LOOP = """
import signal, time

def hold_the_loop(*_):
    time.sleep(3600)

signal.signal(signal.SIGUSR1, hold_the_loop)
"""

pytestmark = [
    pytest.mark.skipif(
        "STOEP_SYSTEM" not in os.environ, reason="takes minutes: make test-system runs it"
    ),
    pytest.mark.skipif(bool(nspawn.why_not()), reason=nspawn.why_not() or ""),
]


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def machine(request, tmp_path_factory):
    release = request.param
    folder = tmp_path_factory.mktemp(release)
    package = packages.built(release, folder)
    old = None if packages.why_no_before() else packages.before(release, folder)
    machine = nspawn.Machine(release, folder)
    try:
        shutil.copy(package, machine.root / "opt" / "new.deb")
        if old is not None:
            shutil.copy(old, machine.root / "opt" / "old.deb")
        machine.write("/opt/test/sitecustomize.py", HOLDS_THE_LOOP)
        yield machine
    finally:
        machine.stop()


@pytest.fixture(scope="module")
def street(machine):
    street = Street(machine.enter("--net"))
    yield street
    street.end()


def sooner(machine, watchdog="2min"):
    machine.write(DROP_IN, SOONER.format(watchdog=watchdog))
    machine.run("systemctl daemon-reload && systemctl restart stoep-gateway")


def configure(machine, more):
    with (machine.root / SETTINGS.lstrip("/")).open("a") as settings:
        settings.write(more)


def told_by(machine, question, database="stoep.db"):
    """Return what an SQL question is answered of the database, or of a copy of it."""
    how = "mode=ro" if database == "stoep.db" else "immutable=1"  # which leaves no log beside it
    program = (
        "import sqlite3;"
        f"it = sqlite3.connect('file:/var/lib/stoep-gateway/{database}?{how}', uri=True);"
        f"print(*it.execute('{question}').fetchone(),"
        " *it.execute('PRAGMA integrity_check').fetchone())"
    )
    number, integrity = machine.run(f'python3 -c "{program}"').stdout.split()
    assert integrity == "ok"
    return int(number)


def count(machine, database="stoep.db"):
    return told_by(machine, "SELECT count(*) FROM uplink", database)


def version(machine, database="stoep.db"):
    return told_by(machine, "PRAGMA user_version", database)


def add(machine, dev_eui, asset, make="", user="anna", check=True):
    rows = f"dev_eui,app_key,asset\n{dev_eui},{APP_KEY},{asset}"
    if make:
        rows = f"dev_eui,app_key,asset,make\n{dev_eui},{APP_KEY},{asset},{make}"
    script = f"stoep device import - <<END\n{rows}\nEND\n"
    return machine.run(script, user=user, check=check)


def restarts(machine):
    return int(machine.shows("NRestarts"))


def has_restarted(machine, before):
    wait_until(
        lambda: restarts(machine) > before and machine.shows("ActiveState") == "active",
        "the service started anew",
        patience_s=180,
    )


def move_to(machine, disk):
    """Move the database to a disk of its own; ``disk`` is how it is mounted."""
    machine.run(
        f"systemctl stop stoep-gateway; mv {STATE} {STATE}.kept; mkdir {STATE};"
        f" mount {disk} {STATE}; cp -a {STATE}.kept/. {STATE}/;"
        f" chown --reference={STATE}.kept {STATE}; chmod 750 {STATE};"
        " systemctl start stoep-gateway"
    )


def move_back(machine):
    machine.run(
        f"systemctl stop stoep-gateway; cp -a {STATE}/. {STATE}.kept/; umount {STATE};"
        f" rmdir {STATE}; mv {STATE}.kept {STATE}; systemctl start stoep-gateway"
    )


def journal_of(machine, run):
    """Return what one run of the service said, and systemd of it; ``run`` is its InvocationID."""
    return machine.journal(f"_SYSTEMD_INVOCATION_ID={run} + INVOCATION_ID={run}")


def reload(machine):
    run = machine.shows("InvocationID")
    before = journal_of(machine, run).count("reloaded: ")
    machine.run("systemctl reload stoep-gateway")
    wait_until(lambda: journal_of(machine, run).count("reloaded: ") > before, "it reads anew")


def processes(machine, pattern):
    """Return the ids of the processes whose command lines match; ``pattern`` not itself."""
    said = machine.run(f"grep -l '{pattern}' /proc/[0-9]*/cmdline 2>/dev/null", check=False)
    return [path.split("/")[2] for path in said.stdout.split()]


def nothing_is_left(machine):
    left = machine.run(
        "find / -xdev -not -path '/proc/*' -not -path '/opt/*' -not -path '/var/log/*'"
        " -iname '*stoep*' -print"
    ).stdout.split()
    assert left in ([], ["/etc/systemd/system/stoep-gateway.service.d"])


def test_it_is_installed_and_runs_with_its_key_encrypted(machine):
    said = machine.run("dpkg --install /opt/new.deb").stdout
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
    configure(machine, CONFIG)
    sooner(machine)
    wait_until(lambda: machine.shows("StatusText").endswith("connected"), "the broker")
    assert "geheim" not in machine.journal("--all")


def test_who_is_in_the_group_manages_devices_and_nobody_else(machine):
    machine.run("useradd anna; usermod -aG stoep anna; useradd ben")
    refused = add(machine, DEV_EUI, "container/corner", user="ben", check=False)
    assert refused.returncode != 0
    assert "you may not open it" in refused.stderr
    add(machine, DEV_EUI, "container/corner")
    assert DEV_EUI in machine.run("stoep device list", user="anna").stdout
    assert machine.run(f"cat {SETTINGS}", user="ben", check=False).returncode != 0


def test_uplinks_are_published_and_found_in_the_journal(machine, street):
    street.do("join")
    assert len(street.do("uplinks", 5)) == 5
    found = machine.journal(f"DEV_EUI={DEV_EUI}").splitlines()
    assert len([line for line in found if DEV_EUI in line]) >= 5
    assert DEV_EUI not in machine.journal("DEV_EUI=70b3d57ed0000002")
    assert count(machine) == 5


def test_a_board_with_all_its_firmware_joins_and_is_read(machine, street):
    add(machine, BOARD_EUI, "container/kerb")
    (state,) = street.do("boot", container="kerb")
    assert (state["distance_mm"], state["quality"]) == (800, 4)
    assert state["dev_eui"] == BOARD_EUI


def test_a_round_is_planned_inside_the_sandbox(machine, street):
    """The solver is compiled code that wants no memory both written and executed."""
    assert "corner" in machine.run("stoep plan show", user="anna").stdout.split("Not due")[0]


def test_codecs_of_other_makes_run_inside_the_sandbox_and_within_their_own_limits(machine, street):
    machine.write("/etc/stoep-gateway/acme-level.js", CODEC, 0o640)
    machine.run("chgrp stoep /etc/stoep-gateway/acme-level.js")
    configure(machine, MAKE)
    reload(machine)
    add(machine, OTHER_EUI, "container/market", "acme-level")
    street.do("join", container="market")
    (state,) = street.do("uplinks", 1, container="market")
    assert (state["distance_mm"], state["temperature_c"]) == (900, 21)
    (pid,) = processes(machine, "codecs/[w]orker.py")
    assert machine.run(f"cat /proc/{pid}/cgroup").stdout.endswith("/stoep-gateway.service\n")
    status = dict(
        line.split(":\t", 1)
        for line in machine.run(f"cat /proc/{pid}/status").stdout.splitlines()
        if ":\t" in line
    )
    filters = machine.run("sed -n 's/^Seccomp_filters:[[:space:]]*//p' /proc/1/status").stdout
    assert int(status["Seccomp_filters"]) > int(filters)
    assert (status["NoNewPrivs"], int(status["CapBnd"], 16)) == ("1", 0)
    limits = machine.run(f"cat /proc/{pid}/limits").stdout
    assert ["Max", "processes", "0", "0", "processes"] in map(str.split, limits.splitlines())
    assert "Max file size             0" in limits
    assert f"Max address space         {512 << 20}" in limits


def test_a_codec_that_never_ends_is_ended_and_the_gateway_is_not(machine, street):
    recorded, run = count(machine), machine.shows("InvocationID")
    street.do("forever", 1, container="market")
    street.do("uplinks", 1)
    assert "codec acme-level ran too long and is not asked for an hour" in journal_of(machine, run)
    reload(machine)
    assert len(street.do("uplinks", 1, container="market")) == 2
    assert count(machine) == recorded + 3
    assert machine.shows("InvocationID") == run


def test_a_killed_gateway_comes_back_with_its_sessions(machine, street):
    before, recorded = restarts(machine), count(machine)
    machine.run("systemctl kill --kill-whom=main --signal=KILL stoep-gateway")
    has_restarted(machine, before)
    street.do("uplinks", 3)
    street.do("uplinks", 1, container="market")
    assert count(machine) == recorded + 4


def test_a_gateway_that_stands_still_is_started_anew(machine, street):
    sooner(machine, "4s")
    before, recorded, run = restarts(machine), count(machine), machine.shows("InvocationID")
    machine.run("systemctl kill --kill-whom=main --signal=STOP stoep-gateway")
    has_restarted(machine, before)
    assert "Watchdog timeout" in journal_of(machine, run)
    street.do("uplinks", 1)
    assert count(machine) == recorded + 1


def test_a_loop_that_hangs_is_a_hang_although_the_writer_would_write(machine, street):
    before, recorded, run = restarts(machine), count(machine), machine.shows("InvocationID")
    machine.run("systemctl kill --kill-whom=main --signal=USR1 stoep-gateway")
    has_restarted(machine, before)
    said = journal_of(machine, run)
    assert "Watchdog timeout" in said
    # Where it hung, and what the others did meanwhile.
    stacks = re.split("[Tt]hread 0x", said.partition("Fatal Python error: Aborted")[2])
    (loop,) = (stack for stack in stacks if "hold_the_loop" in stack)
    assert "run_forever" in loop
    (writer,) = (stack for stack in stacks if "_write_until_closed" in stack)
    assert "in _take" in writer  # and has nothing to do
    street.do("uplinks", 1)
    assert count(machine) == recorded + 1


def test_a_writer_that_hangs_is_a_hang_although_the_loop_turns(machine, street):
    before, recorded, run = restarts(machine), count(machine), machine.shows("InvocationID")
    program = (
        "import sqlite3, time; it = sqlite3.connect('/var/lib/stoep-gateway/stoep.db');"
        "it.execute('BEGIN IMMEDIATE'); time.sleep(20)"
    )
    machine.run(f'systemd-run --quiet --unit=holder python3 -c "{program}"')
    wait_until(lambda: restarts(machine) > before, "the watchdog", patience_s=120)
    machine.run("systemctl stop holder")
    has_restarted(machine, before)
    # Where it hung: every thread's stack, by name and line and without a value.
    assert "write_group" in journal_of(machine, run)
    sooner(machine)
    street.do("uplinks", 1)
    assert count(machine) == recorded + 1


def test_a_full_disk_is_said_and_loses_nothing_that_was_recorded(machine, street):
    move_to(machine, "-t tmpfs -o size=16m tmpfs")
    before, recorded = restarts(machine), count(machine)
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
    assert count(machine) >= recorded + 2
    recorded = count(machine)
    street.do("uplinks", 2)
    assert count(machine) == recorded + 2
    move_back(machine)
    assert count(machine) == recorded + 2


@pytest.fixture
def disk(machine, tmp_path):
    """The number of a loop device with an empty file system."""
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    loop = ["losetup", "--find", "--show", image]
    device = subprocess.run(loop, check=True, capture_output=True, text=True).stdout.strip()
    yield os.minor(Path(device).stat().st_rdev)
    subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.skipif(
    not Path("/dev/loop-control").exists() or shutil.which("mkfs.ext4") is None,
    reason="a disk that stalls needs loop devices and mkfs.ext4: apt install e2fsprogs",
)
def test_a_disk_that_stalls_is_a_hang_and_costs_nothing_that_was_recorded(machine, street, disk):
    machine.run(f"mknod /opt/disk b 7 {disk}")
    move_to(machine, "-t ext4 /opt/disk")
    sooner(machine, "4s\nTimeoutStopSec=5")
    before, recorded, run = restarts(machine), count(machine), machine.shows("InvocationID")
    machine.run(f"fsfreeze --freeze {STATE}")
    try:
        street.do("unheard", 1)
        wait_until(lambda: "write_group" in journal_of(machine, run), "where it hung")
        assert "Watchdog timeout" in journal_of(machine, run)
    finally:
        machine.run(f"fsfreeze --unfreeze {STATE}")
    has_restarted(machine, before)
    move_back(machine)
    sooner(machine)
    street.do("uplinks", 1)
    assert recorded + 1 <= count(machine) <= recorded + 2  # whether the unheard one had been


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
    assert processes(machine, "bin/[s]toep")
    machine.run("dpkg --remove stoep-gateway")
    assert not processes(machine, "bin/[s]toep")
    machine.run("dpkg --install /opt/new.deb")
    assert count(machine) == before
    machine.run("dpkg --purge stoep-gateway")
    nothing_is_left(machine)


def test_a_key_that_is_there_is_taken_and_is_roots_alone_where_nothing_encrypts_it(machine):
    key = 32 * "5a"
    machine.run(
        "mv /usr/bin/systemd-creds /opt; mkdir /var/lib/stoep-gateway;"
        f" echo {key} >/var/lib/stoep-gateway/stoep.db.key"
    )
    said = machine.run("dpkg --install /opt/new.deb").stdout
    assert "systemd-creds cannot encrypt here" in said
    plain = "/etc/stoep-gateway/stoep-key"
    assert machine.run(f"stat -c '%a %U' {plain}; cat {plain}").stdout == f"600 root\n{key}\n"
    assert machine.shows("ActiveState") == "active"
    machine.run("dpkg --purge stoep-gateway; mv /opt/systemd-creds /usr/bin")
    nothing_is_left(machine)


@pytest.fixture(scope="module")
def later(machine):
    """After the purge: a gateway that has forgotten all names new events as it did the first."""
    street = Street(machine.enter("--net"))
    yield street
    street.end()


needs_before = pytest.mark.skipif(
    bool(packages.why_no_before()), reason=packages.why_no_before() or ""
)


@needs_before
def test_an_upgrade_copies_and_migrates_the_database_and_goes_on(machine, later):
    machine.run("dpkg --install /opt/old.deb")
    machine.run(f"sed -i 's/^port = 1883/port = {OPEN_PORT}/' {SETTINGS}")
    configure(machine, CONFIG)
    machine.run("systemctl restart stoep-gateway; usermod -aG stoep anna")
    add(machine, DEV_EUI, "container/corner")
    later.do("join")
    later.do("uplinks", 3)
    old, pid = version(machine), machine.shows("MainPID")
    said = machine.run("dpkg --install /opt/new.deb").stdout
    assert "does not start" not in said
    assert machine.shows("ActiveState") == "active"
    assert machine.shows("MainPID") != pid
    assert version(machine) > old
    later.do("uplinks", 1)
    assert count(machine) == 4
    copy = f"stoep.db.version-{old}"
    assert (version(machine, copy), count(machine, copy)) == (old, 3)
    assert machine.run(f"stat -c %a {STATE}/{copy}").stdout == "600\n"


@needs_before
def test_the_build_before_refuses_what_is_newer_and_goes_on_from_the_copy(machine, later):
    """As operator.md has it: move the database away, restore the copy that it names."""
    machine.run("dpkg --install /opt/old.deb", check=False)
    wait_until(lambda: "newer than this program" in machine.journal(), "its refusal")
    (copy,) = (it for it in machine.run(f"ls {STATE}").stdout.split() if "version-" in it)
    machine.run(
        "systemctl stop stoep-gateway; cd /var/lib/stoep-gateway; mkdir /opt/newer;"
        f" mv stoep.db stoep.db-* /opt/newer; stoep gateway restore {copy};"
        " systemctl start stoep-gateway"
    )
    assert count(machine) == 3
    later.do("uplinks", 1)
    assert count(machine) == 4
