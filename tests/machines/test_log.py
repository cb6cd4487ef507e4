"""What is logged cannot be taken for what was not, and the journal can be asked for it."""

import logging
import os
import re
import socket

import pytest
from lns_values import GATEWAY, OTHER_GATEWAY
from network_in_hand import NetworkInHand
from stoep_gateway import log
from stoep_protocol.messages import BayReport, BinReport, Status
from watched import BAY, BIN, CONFIG


@pytest.fixture(autouse=True)
def as_before():
    root = logging.getLogger("stoep_gateway")
    before = root.handlers[:], root.level, root.propagate
    yield
    log.uplinks.set_up(None, enabled=False)
    for handler in set(root.handlers) - set(before[0]):
        handler.close()
    root.handlers[:], root.level, root.propagate = before


@pytest.fixture
def streamed(capfd):
    """Return the environment in which standard error is the journal's stream."""
    seen = os.fstat(2)
    return {"JOURNAL_STREAM": f"{seen.st_dev}:{seen.st_ino}"}


class Journal:
    """The other end of the native protocol, which takes it apart by its specification."""

    def __init__(self, path):
        self.path = path
        self.open()

    def open(self):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)

    def close(self):
        self.socket.close()
        self.path.unlink()

    def entry(self):
        """Return the fields of the next entry, each a list."""
        data = self.socket.recv(1 << 20)
        fields = {}
        while data:
            head, _, data = data.partition(b"\n")
            name, equals, value = head.partition(b"=")
            if not equals:
                size = int.from_bytes(data[:8], "little")
                value, end, data = data[8 : 8 + size], data[8 + size : 9 + size], data[9 + size :]
                assert end == b"\n"
            assert re.fullmatch("[A-Z][A-Z0-9_]{0,63}", name.decode())
            fields.setdefault(name.decode(), []).append(value.decode())
        return fields

    def nothing(self):
        try:
            self.socket.recv(1 << 20)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "socket")
    yield journal
    journal.close()


def test_what_strangers_send_neither_makes_lines_nor_steers_a_terminal(capsys):
    log.set_up(environ={})
    logging.getLogger("stoep_gateway.test").warning("rejected %s", "a\nb\x1b[2Jc\x9bd")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r"rejected a\x0ab\x1b[2Jc\x9bd")


def test_a_traceback_keeps_its_lines(capsys):
    log.set_up(environ={})
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("stoep_gateway.test").exception("failed")
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: why"


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, "7"), (logging.INFO, "6"), (logging.WARNING, "4"), (logging.ERROR, "3")],
)
def test_an_entry_of_the_journal_has_its_fields(journal, streamed, capfd, level, priority):
    log.set_up(verbose=True, environ=streamed, journal=journal.path)
    extra = log.fields("joined", ("DEV_EUI", "70b3d57ed0000001"), ("GATEWAY", None))
    logging.getLogger("stoep_gateway.test").log(level, "%s joined", "it", extra=extra)
    entry = journal.entry()
    assert int(entry.pop("CODE_LINE")[0]) > 0
    assert entry.pop("CODE_FILE")[0].endswith("test_log.py")
    assert entry == {
        "MESSAGE": ["it joined"],
        "PRIORITY": [priority],
        "SYSLOG_IDENTIFIER": ["stoep-gateway"],
        "LOGGER": ["stoep_gateway.test"],
        "CODE_FUNC": ["test_an_entry_of_the_journal_has_its_fields"],
        "EVENT": ["joined"],
        "DEV_EUI": ["70b3d57ed0000001"],
    }
    assert capfd.readouterr().err == ""


def test_what_strangers_send_makes_no_fields(journal, streamed):
    log.set_up(environ=streamed, journal=journal.path)
    text = "a\nDEV_EUI=70b3d57ed0000001\nb\x1b[2J\udcff"
    logging.getLogger("stoep_gateway.test").warning(text)
    entry = journal.entry()
    assert entry["MESSAGE"] == [r"a\x0aDEV_EUI=70b3d57ed0000001\x0ab\x1b[2J\udcff"]
    assert "DEV_EUI" not in entry


def test_a_traceback_is_one_entry_of_several_lines(journal, streamed):
    log.set_up(environ=streamed, journal=journal.path)
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("stoep_gateway.test").exception("failed")
    (message,) = journal.entry()["MESSAGE"]
    assert message.splitlines()[0] == "failed"
    assert message.splitlines()[-1] == "ValueError: why"
    assert journal.nothing()


def test_a_message_that_is_too_long_is_cut(journal, streamed):
    log.set_up(environ=streamed, journal=journal.path)
    logging.getLogger("stoep_gateway.test").warning("ä" * 10_000_000)
    (message,) = journal.entry()["MESSAGE"]
    assert message == "ä" * log.MAX_MESSAGE + "…"


def test_a_journal_that_restarts_is_found_again_and_misses_nothing(journal, streamed, capfd):
    log.set_up(environ=streamed, journal=journal.path)
    logger = logging.getLogger("stoep_gateway.test")
    logger.warning("one")
    assert journal.entry()["MESSAGE"] == ["one"]
    journal.close()
    logger.warning("two")
    assert "two" in capfd.readouterr().err
    journal.open()
    logger.warning("three")
    assert journal.entry()["MESSAGE"] == ["three"]


def test_a_journal_that_takes_nothing_holds_nobody_up(journal, streamed):
    log.set_up(environ=streamed, journal=journal.path)
    logger = logging.getLogger("stoep_gateway.test")
    for number in range(2000):  # more than any system queues
        logger.warning("%d", number)
    taken = 0
    while not journal.nothing():
        taken += 1
    assert 0 < taken < 2000
    logger.warning("at last")
    assert journal.entry()["MESSAGE"] == ["at last"]
    told = journal.entry()
    assert told["MESSAGE"] == [f"{2000 - taken} entries are missing here: the journal had no room"]
    assert told["PRIORITY"] == ["4"]


@pytest.mark.parametrize("environ", [{}, {"JOURNAL_STREAM": "1:2"}, {"JOURNAL_STREAM": "x"}])
def test_another_standard_error_than_systemd_s_gets_lines(environ, journal, capsys):
    log.set_up(environ=environ, journal=journal.path)
    logging.getLogger("stoep_gateway.test").warning("here")
    assert capsys.readouterr().err.endswith("WARNING stoep_gateway.test: here\n")
    assert journal.nothing()


@pytest.fixture
def network(tmp_path, journal, streamed):
    log.set_up(environ=streamed, journal=journal.path)
    return NetworkInHand(tmp_path, CONFIG)


def told(journal, event="uplink"):
    """Return the next entry of such an event."""
    while (entry := journal.entry()).get("EVENT") != [event]:
        pass
    return entry


def test_an_uplink_is_one_entry_that_can_be_asked_for(network, journal):
    device = network.join(BIN)
    phy_payload = device.uplink(BinReport(1, 375, 4), confirmed=True)
    network.hear(phy_payload, rssi_dbm=-101.0, snr_db=2.5)
    network.take(phy_payload, gateway=OTHER_GATEWAY, rssi_dbm=-110.0, snr_db=-3.0)
    other = OTHER_GATEWAY.hex()  # has left the configuration meanwhile
    message = (
        "uplink dev_eui=70b3d57ed0000001 asset=container/corner f_cnt_up=0 f_port=10 dr=5"
        f" rssi=-101.0 snr=2.5 gateways=kerb-1,{other} fill=75 quality=4 answered"
    )
    assert told(journal) == {
        "MESSAGE": [message],
        "PRIORITY": ["6"],
        "SYSLOG_IDENTIFIER": ["stoep-gateway"],
        "LOGGER": ["stoep_gateway.uplinks"],
        "EVENT": ["uplink"],
        "DEV_EUI": ["70b3d57ed0000001"],
        "F_CNT_UP": ["0"],
        "DR": ["5"],
        "ASSET": ["container/corner"],
        "GATEWAY": ["kerb-1", other],
    }


def test_what_other_uplinks_say(network, journal):
    device = network.join(BAY)
    said = []
    for message in (BayReport(1, 1), Status(battery_mv=3600), BinReport(1, 900, 4)):
        network.take(device.uplink(message))
        said.append(told(journal)["MESSAGE"][0].partition("gateways=kerb-1")[2])
    assert said == [" state=occupied", " battery_mv=3600", ""]
    network.take(device.uplink(f_port=10, payload=b"\xff\xff"))
    assert "undecodable=" in told(journal)["MESSAGE"][0]


def test_joins_gateways_and_rejections_have_their_fields(network, journal):
    network.join(BIN)
    assert told(journal, "joined")["DEV_EUI"] == ["70b3d57ed0000001"]
    device = network.join(BIN)
    phy_payload = device.uplink(BinReport(1, 900, 4))
    network.take(phy_payload)
    told(journal)
    network.take(device.uplink(BinReport(1, 900, 4)))
    rejected = told(journal, "rejected")
    assert rejected["REASON"] == ["repeated_reading"]
    assert rejected["DEV_EUI"] == ["70b3d57ed0000001"]
    told(journal)
    network.take(b"\x40" + bytes(4) + phy_payload[5:])
    strange = told(journal, "rejected")
    assert strange["REASON"] == ["unknown_dev_addr"]
    assert "DEV_EUI" not in strange


@pytest.mark.parametrize(
    ("options", "native", "shown"),
    [
        ({}, True, True),
        ({"quiet": True}, True, False),
        ({}, False, False),
        ({"verbose": True}, False, True),
        ({"verbose": True, "quiet": True}, True, True),
    ],
)
def test_where_uplinks_are_shown(journal, streamed, tmp_path, capfd, options, native, shown):
    log.set_up(environ=streamed if native else {}, journal=journal.path, **options)
    network = NetworkInHand(tmp_path, CONFIG)
    network.take(network.join(BIN).uplink(BinReport(1, 900, 4)))
    lines = capfd.readouterr().err
    entries = []
    while True:
        try:
            entries.append(journal.entry()["MESSAGE"][0])
        except BlockingIOError:
            break
    found = [it for it in (entries if native else lines.splitlines()) if "uplink dev_eui" in it]
    assert len(found) == shown
    assert not (native and lines)
    assert GATEWAY.hex() not in "".join(found)


def test_a_line_of_an_uplink_costs_no_device_its_window(journal, streamed):
    """What it costs is told by ``make bench B=pipeline``; here only that it never waits."""
    log.set_up(environ=streamed, journal=journal.path)
    for number in range(2000):
        log.uplinks.write("uplink", f"F_CNT_UP={number}\n")
    assert journal.entry()["F_CNT_UP"] == ["0"]
