"""The command `stoep flash`: what it is told, what it answers, and with which exit code.

No board and no gateway here: what flashes one is replaced. Options and files are read as they are.
"""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from micropython_image import firmware
from stoep_tools.flash import (
    board_commands,
    command,
    ledger_commands,
    options,
    ports,
    scanned,
    start,
    steps,
)
from stoep_tools.flash import ledger as ledgers
from stoep_tools.flash.errors import BOARD_FAILED, GATEWAY_REFUSED, NO_BOARD, USAGE, FlashError
from stoep_tools.flash.labels import tr005

ROOT = Path(__file__).parents[2]
BOARD = "heltec_wifi_lora_32_v3"
MAC = bytes.fromhex("34b7da0c1d2e")
OTHER_MAC = bytes.fromhex("34b7da0c1d2f")
DEV_EUI = "34b7dafffe0c1d2e"
OTHER = "34b7dafffe0c1d2f"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """Keep ledger, answers and labels of the person who tests out of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def run(capsys):
    """Give what runs the command and returns exit code, output and what was said of errors."""

    def run(*words):
        code = command.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "ESP32_GENERIC_S3.bin"
    path.write_bytes(firmware())
    return path


@pytest.fixture
def book():
    """Give a ledger with two boards that are flashed; none is registered."""
    with ledgers.Ledger(ledgers.default_path()) as book:
        for mac in (MAC, OTHER_MAC):
            entry = book.issue(mac, BOARD, "bin", "EU868").entry
            book.mark(entry.identity.dev_eui, "written")
            book.mark(entry.identity.dev_eui, "verified")
        yield book


@pytest.fixture
def gateway(monkeypatch):
    """Stand in for the gateway's process; it keeps what it was told."""

    class Gateway:
        def __init__(self):
            self.told = []
            self.problem = None

        def register(self, command, entries, *, options=(), dry_run=False):
            if self.problem is not None:
                raise self.problem
            if not dry_run:
                self.told.append(
                    (list(command), [(e.identity.dev_eui.hex(), e.asset) for e in entries])
                )
            return ledger_commands.registration.Registered(len(entries), 0, 0)

    gateway = Gateway()
    monkeypatch.setattr(ledger_commands.registration, "register", gateway.register)
    return gateway


@pytest.fixture
def flashed(monkeypatch):
    """Replace the flashing of a board; gives what was asked of it."""
    orders = []

    def flash(port, order, book, tell, progress, ask):
        orders.append((port, order))
        tell("found", "a chip")
        progress(1, 2)
        if "bad" in port:
            return steps.Outcome(
                port, problem=FlashError("no answer", "hold BOOT"), left="untouched"
            )
        if "deaf" in port:
            raise FlashError("unforeseen", "", GATEWAY_REFUSED)
        entry = book.issue(MAC, order.board.name, order.kind, order.region).entry
        return steps.Outcome(port, entry=entry)

    monkeypatch.setattr(steps, "flash", flash)
    return orders


def words(image, *more):
    what = ("--board", BOARD, "--kind", "bin", "--region", "EU868")
    return (*what, "--firmware", image, "--trust", *more)


# ---- what is typed ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        (["lable"], "stoep flash label"),
        (["wombat"], "one of: boards,"),
        (["list", "--wombat"], "stoep flash list --help"),
        (["label", "--format", "gif"], "stoep flash label --help"),
        (["export"], "stoep flash export --help"),
        (["--board", "wombat"], "stoep flash boards --help"),
        (["--yes"], "--board"),
        (["--csv", "x.csv", "--asset", "bay/1"], "leave one out"),
        (["--all", "--port", "x"], "leave one out"),
        (["--gateway", "pi", "--no-gateway"], "leave one out"),
        (["--port", "a", "--port", "b", "--name", "lid"], "--csv FILE"),
        (["--asset", "market-1"], "container/ID or bay/ID"),
        (["place"], "--csv FILE"),
        (["place", DEV_EUI], "--asset container/ID"),
        (["place", DEV_EUI, "--csv", "x", "--name", "y"], "--csv FILE"),
        (["place", "--csv", "x.csv", "--name", "y"], "leave --asset"),
        (["place", "--csv", "x.csv"], "name the file"),
        (["register", "--gateway", "none"], "--gateway HOST"),
        (["register", "--gateway=-oProxyCommand=x"], "--gateway HOST"),
        (["export", "keys.csv", "--to", "chirpstack"], "--application ID"),
    ],
)
def test_wrong_usage_names_its_remedy(run, book, typed, remedy):
    code, out, err = run(*typed)
    assert (code, out) == (USAGE, "")
    assert remedy in err.splitlines()[-1]
    code, out, err = run(*typed, "--json")
    assert (code, err) == (USAGE, "")
    answer = json.loads(out)
    assert answer["exit_code"] == USAGE
    assert answer["error"]
    assert remedy in answer["hint"]


@pytest.mark.parametrize("name", [None, *options.COMMANDS])
def test_help_fits_a_terminal_and_ends_well(name, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")
    with pytest.raises(SystemExit) as end:
        command.main([*([name] if name else []), "--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    assert "exit codes: 0 done" in said
    assert max(map(len, said.splitlines())) <= 100


def test_every_command_answers_in_json_and_every_change_can_be_rehearsed():
    assert set(command._COMMANDS) == set(options.COMMANDS)
    parser = options.parser()
    for name in options.COMMANDS:
        needed = ["file"] if name in ("export", "restore") else []
        parsed = parser.parse_args([name, *needed, "--json"])
        assert parsed.json is True
        assert hasattr(parsed, "dry_run") == (name not in ("ports", "list", "show"))


# ---- flashing --------------------------------------------------------------------------


def test_boards_are_flashed_as_was_said(run, image, flashed):
    csv = Path("street.csv")
    csv.write_text(f"mac,asset\n{MAC.hex(':')},container/market-1\n")
    said = words(image, "--port", "good", "--gateway", "pi", "--interval-min", 30, "--csv", csv)
    code, out, err = run(*said, "--yes")
    assert (code, err) == (0, "")
    assert "done" in out
    assert "34B7 DAFF FE0C 1D2E" in out
    [(port, order)] = flashed
    assert (port, order.board.name, order.kind, order.region) == ("good", BOARD, "bin", "EU868")
    assert order.gateway == ["ssh", "pi", "stoep"]
    assert order.behaviour == {"interval_s": 1800}
    assert order.labels == Path("labels")
    assert [row.texts for row in order.rows] == [{"asset": "container/market-1"}]
    # The next time, all that is as it was.
    assert run("--port", "good", "--yes")[0] == 0
    again = flashed[1][1]
    assert (again.kind, again.gateway) == ("bin", ["ssh", "pi", "stoep"])
    assert again.image.path == image


def test_what_is_wired_to_a_board_is_said_once(run, image, flashed):
    said = words(image, "--port", "good", "--no-gateway", "--yes")
    assert run(*said)[0] == 0
    code, out, _ = run(*said, "--sensor", "maxbotix", "--motion", "lis3dh", "--lid")
    assert code == 0
    assert "bin, maxbotix, lis3dh, lid, EU868" in out
    assert run(*said)[0] == 0  # as last time
    assert run(*said, "--sensor", "a02yyuw", "--motion", "none", "--no-lid")[0] == 0
    bay = [word if word != "bin" else "bay" for word in said]
    assert run(*bay, "--sensor", "rm3100", "--second", "vl53l1x")[0] == 0
    wired = {"sensor": "maxbotix", "motion": "lis3dh", "lid": True}
    assert [order.parts for _, order in flashed] == [
        {},
        wired,
        wired,
        {"sensor": "a02yyuw"},
        {"sensor": "rm3100", "second": "vl53l1x"},
    ]


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (("--sensor", "max-botix"), "did you mean maxbotix?"),
        (("--sensor", "HC-SR04"), "did you mean hcsr04?"),
        (("--sensor", "lis3mdl"), "one of: a02yyuw, maxbotix"),
        (("--motion", "lis3"), "did you mean lis3dh?"),
        (("--second", "vl53l1x"), "--second is not for a bin"),
    ],
)
def test_a_sensor_that_there_is_not_is_told_before_anything_is_done(
    run, image, flashed, typed, says
):
    code, _, err = run(*words(image, "--port", "good", "--no-gateway", "--yes"), *typed)
    assert code == USAGE
    assert says in err
    assert flashed == []
    # What was wrong is not what was said the last time.
    assert run(*words(image, "--port", "good", "--no-gateway", "--yes"))[0] == 0
    assert flashed[0][1].parts == {}


def test_of_several_boards_each_is_told_of_and_the_first_failure_counts(run, image, flashed):
    several = ("--port", "good", "--port", "deaf", "--port", "bad")
    code, out, _ = run(*words(image, *several, "--no-gateway", "--yes"))
    assert code == GATEWAY_REFUSED
    assert "1 of 3 boards are done" in out
    assert "hold BOOT" in out
    assert "untouched" in out
    code, out, err = run(*words(image, *several, "--no-gateway", "--json"))
    assert (code, err) == (GATEWAY_REFUSED, "")
    answer = json.loads(out)
    assert answer["exit_code"] == GATEWAY_REFUSED
    assert [board["exit_code"] for board in answer["boards"]] == [0, GATEWAY_REFUSED, BOARD_FAILED]
    assert answer["boards"][0]["dev_eui"] == DEV_EUI
    assert answer["boards"][2]["hint"] == "hold BOOT"


def test_a_rehearsal_touches_nothing(run, image, flashed, home):
    before = sorted(home.rglob("*"))
    said = words(image, "--port", "good", "--gateway", "pi")
    code, out, _ = run(*said, "--dry-run", "--yes")
    assert code == 0
    assert "would flash" in out
    assert "ssh pi stoep device import" in out
    code, out, _ = run(*said, "--dry-run", "--json")
    answer = json.loads(out)
    assert answer["dry_run"] is True
    assert answer["ports"] == ["good"]
    assert answer["micropython"] == "1.29.0"
    assert flashed == []
    assert sorted(home.rglob("*")) == before


def test_an_unknown_firmware_is_refused_until_somebody_trusts_it(run, image, flashed):
    said = [word for word in words(image, "--port", "good", "--yes") if word != "--trust"]
    code, _, err = run(*said)
    assert code == USAGE
    assert "--trust" in err
    assert flashed == []
    assert run(*said, "--trust")[0] == 0
    assert run(*said)[0] == 0


def port_of(device, problem=None):
    return ports.Port(device, "CP210x", 0x10C4, 0xEA60, None, problem)


def test_which_board_is_not_guessed(run, image, flashed, monkeypatch):
    found = []
    monkeypatch.setattr(ports, "list_ports", lambda: found)
    said = words(image, "--yes", "--no-gateway")
    code, _, err = run(*said)
    assert code == NO_BOARD
    assert "cable" in err
    found.append(port_of("/dev/ttyUSB0", "you are not in the group dialout: sudo usermod"))
    code, _, err = run(*said)
    assert code == NO_BOARD
    assert "group dialout" in err
    found[:] = [port_of("/dev/ttyUSB0")]
    assert run(*said)[0] == 0
    found.append(port_of("/dev/ttyUSB1"))
    code, _, err = run(*said)
    assert code == USAGE
    assert "--port PORT or --all" in err
    assert run(*said, "--all")[0] == 0
    assert [port for port, _ in flashed] == ["/dev/ttyUSB0", "/dev/ttyUSB0", "/dev/ttyUSB1"]


def test_ctrl_c_says_what_became_of_each_board(run, image, flashed, monkeypatch):
    def pressed(jobs):
        next(iter(jobs.values()))()
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "at_once", pressed)
    code, out, err = run(*words(image, "--port", "good", "--port", "late", "--yes"))
    assert code == 130
    assert "interrupted" in err
    assert "1 of 2 boards are done" in out
    assert "the board was not touched" in out
    code, out, _ = run(*words(image, "--port", "late", "--json"))
    assert code == 130
    assert json.loads(out)["exit_code"] == 130


# ---- the ledger ------------------------------------------------------------------------


def test_the_ledger_is_shown_without_keys(run, book):
    keys = [entry.identity.app_key.hex() for entry in book.entries()]
    code, out, _ = run("list")
    assert code == 0
    assert "34B7 DAFF FE0C 1D2E" in out
    answer = json.loads(run("list", "--json")[1])
    assert [board["dev_eui"] for board in answer["boards"]] == [DEV_EUI, OTHER]
    csv = run("list", "--csv")[1]
    assert csv.startswith("number,mac,dev_eui,")
    for said in (out, json.dumps(answer), csv):
        assert not any(key in said.lower() for key in keys)
    assert "nothing is half done" in run("list", "--unfinished")[1]


def test_looking_makes_no_ledger(run, home):
    assert run("list") == (0, "no board yet\n", "")
    assert json.loads(run("list", "--json")[1]) == {"boards": []}
    code, _, err = run("label")
    assert code == USAGE
    assert "stoep flash" in err
    assert list(home.rglob("*")) == []


def test_labels_are_printed_again(run, book, home):
    assert run("label", "--dry-run")[0] == 0
    assert not (home / "labels").exists()
    code, out, _ = run("label", tr005(bytes(8), bytes.fromhex(DEV_EUI)), "--json")
    assert code == 0
    assert json.loads(out)["labels"] == [f"labels/{DEV_EUI}.png"]
    assert (home / "labels" / f"{DEV_EUI}.png").read_bytes().startswith(b"\x89PNG")
    assert book.entries()[0].state == "labelled"
    assert book.entries()[1].state == "verified"
    code, out, _ = run("label", "--sheet", "sheets/labels.html", "--skip", 3)
    assert code == 0
    assert "print it at 100 %" in out
    assert (home / "sheets" / "labels.html").read_text().count("<path") == 2
    (home / "file").write_text("")
    assert run("label", "--folder", "file/x")[0] == USAGE


def test_a_board_that_is_half_done_has_to_be_named(run, book):
    book.issue(OTHER_MAC, BOARD, "bin", "EU868")
    for typed in (["label"], ["export", "keys.csv"]):
        answer = json.loads(run(*typed, "--dry-run", "--json")[1])
        assert answer.get("boards", len(answer.get("labels", ()))) == 1
    answer = json.loads(run("label", OTHER, "--dry-run", "--json")[1])
    assert answer["labels"] == [f"labels/{OTHER}.png"]
    assert "HALF DONE" in run("list", "--unfinished")[1]


def test_an_export_says_that_it_holds_keys(run, book, home):
    assert run("export", "keys.csv", "--dry-run")[0] == 0
    assert not (home / "keys.csv").exists()
    code, out, _ = run("export", "keys.csv")
    assert code == 0
    assert "WITH THEIR KEYS" in out
    assert book.entries()[0].identity.app_key.hex() in (home / "keys.csv").read_text()
    assert (home / "keys.csv").stat().st_mode & 0o777 == 0o600


def test_what_is_not_registered_yet_is_registered(run, book, gateway):
    assert (
        run("register", "--dry-run")[1]
        == "at the gateway would be 2 added, 0 changed, 0 unchanged\n"
    )
    assert gateway.told == []
    code, out, _ = run("register", "--gateway", "pi", "--json")
    assert code == 0
    assert json.loads(out)["added"] == 2
    assert gateway.told == [(["ssh", "pi", "stoep"], [(DEV_EUI, None), (OTHER, None)])]
    assert [entry.state for entry in book.entries()] == ["registered"] * 2
    code, out, _ = run("register")
    assert (code, out) == (0, "every board that is flashed is registered already\n")


# ---- places ----------------------------------------------------------------------------


def test_a_board_is_placed_by_what_was_scanned(run, book, gateway):
    scan = tr005(bytes(8), bytes.fromhex(OTHER), serial="A-17")
    code, out, _ = run("place", scan, "--asset", "container/market-1", "--gateway", "local")
    assert code == 0
    assert "34B7 DAFF FE0C 1D2F is container/market-1" in out
    assert book.of(bytes.fromhex(OTHER)).asset == "container/market-1"
    assert gateway.told == [(["stoep"], [(OTHER, "container/market-1")])]
    code, out, _ = run("place", DEV_EUI, "--asset", "container/market-1", "--json")
    assert "34B7 DAFF FE0C 1D2F too" in json.loads(out)["also"][0]


def test_an_asset_is_taken_away(run, book, gateway):
    assert run("place", DEV_EUI, "--asset", "container/market-1")[0] == 0
    code, out, _ = run("place", DEV_EUI, "--asset", "none", "--gateway", "pi")
    assert (code, book.entries()[0].asset) == (0, None)
    assert "nowhere yet" in out
    assert gateway.told[-1] == (["ssh", "pi", "stoep"], [(DEV_EUI, "")])  # who takes it away, too
    Path("street.csv").write_text(
        f"dev_eui,asset\n{DEV_EUI},bay/1\n{OTHER},none\n", encoding="utf-8"
    )
    book.place(bytes.fromhex(OTHER), asset="bay/2")
    assert run("place", "--csv", "street.csv")[0] == 0
    assert [entry.asset for entry in book.entries()] == ["bay/1", None]
    again = book.issue(MAC, BOARD, "bay", "EU868", asset="")
    assert again.entry.asset is None


def test_what_the_gateway_refuses_is_not_noted(run, book, gateway):
    gateway.problem = FlashError("the gateway refused: no such asset", "", GATEWAY_REFUSED)
    code, _, err = run("place", DEV_EUI, "--asset", "container/x", "--gateway", "pi")
    assert code == GATEWAY_REFUSED
    assert "no such asset" in err
    assert book.of(bytes.fromhex(DEV_EUI)).asset is None


def test_a_street_is_placed_by_its_table(run, book, gateway):
    table = Path("street.csv")
    table.write_text(
        f"\ufeffDev_EUI;mac;Asset;name;serial\r\n{DEV_EUI.upper()};;container/a;lid 1;\r\n"
        f";{OTHER_MAC.hex('-')};bay/b;;S7\r\n;;;;\r\n",
        "utf-8",
    )
    before = book.entries()
    assert run("place", "--csv", table, "--dry-run", "--gateway", "pi")[0] == 0
    assert book.entries() == before
    code, out, _ = run("place", "--csv", table, "--gateway", "pi")
    assert code == 0
    assert "1D2F is bay/b S7" in out
    first, second = book.entries()
    assert (first.asset, first.name, first.serial) == ("container/a", "lid 1", None)
    assert (second.asset, second.name, second.serial) == ("bay/b", None, "S7")
    assert gateway.told[0][1] == [(DEV_EUI, "container/a"), (OTHER, "bay/b")]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "line 1: the heading does not say which board"),
        ("asset\nbay/1\n", "line 1: the heading does not say which board"),
        ("dev_eui,colour\n", "line 1: the heading has a column 'colour'"),
        ("dev_eui,asset\n", "names no board"),
        (f"dev_eui,asset\n{DEV_EUI},bay/1,x\n", "line 2: more fields"),
        ("dev_eui,asset\n,bay/1\n", "line 2: neither a DevEUI nor a MAC"),
        ("dev_eui,asset\n12,bay/1\n", "line 2: a DevEUI is 16"),
        ("mac,asset\n12,bay/1\n", "line 2: '12' is no MAC"),
        (f"dev_eui,asset\n{DEV_EUI},market 1\n", "line 2: asset: 'market 1'"),
        (f"dev_eui,asset\n{DEV_EUI},\n\n{DEV_EUI},\n", f"line 4: {DEV_EUI} is in line 2"),
        (f"dev_eui,asset\n{DEV_EUI},bay/1\n{OTHER},bay/1\n", "line 3: bay/1 is in line 2"),
        (f'dev_eui,asset\n"{DEV_EUI}"x,bay/1\n', "line 2"),
        ("dev_eui,asset\n70b3d57ed0000001,bay/1\n", "line 2: no board 70b3d57ed0000001"),
        ("dev_eui,asset\nLW:D0:x,bay/1\n", "line 2: 'LW:D0:x' is no code"),
    ],
)
def test_every_mistake_in_a_table_is_told_with_its_line(run, book, gateway, text, says):
    Path("street.csv").write_text(text)
    code, _, err = run("place", "--csv", "street.csv", "--gateway", "pi")
    assert code == USAGE
    assert says in err
    assert gateway.told == []


@pytest.mark.parametrize("data", [b"\xff\xfe\0x", b"PK\x03\x04\0\0", b"dev_eui\n\xe4"])
def test_a_spreadsheet_that_is_no_csv_is_named_so(run, book, data):
    Path("street.xlsx").write_bytes(data)
    code, _, err = run("place", "--csv", "street.xlsx")
    assert code == USAGE
    assert "CSV UTF-8" in err


# ---- scanned codes ---------------------------------------------------------------------

CODE = "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:OAABBCCDDEEFF:SYYWWNNNNNN:PFOOBAR:CAF2C"


def test_the_example_of_tr005_is_read():
    scan = scanned.read_qr(CODE)
    assert scan.join_eui.hex() == "1122334455667788"
    assert scan.dev_eui.hex() == "aabbccddeeff0011"
    assert scan.serial == "YYWWNNNNNN"
    assert scanned.read_dev_eui(f" {CODE}\r\n").hex() == "aabbccddeeff0011"


def test_what_we_print_is_what_we_read():
    for serial in (None, "A 17.3/B"):
        code = tr005(bytes(7) + b"\1", bytes.fromhex(DEV_EUI), serial=serial)
        assert scanned.read_qr(code) == scanned.Scan(
            bytes.fromhex(DEV_EUI), bytes(7) + b"\1", serial
        )
        assert (
            scanned.read_qr(code.rpartition(":C")[0]).serial == serial
        )  # TR005 lets it be left out


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (CODE.replace("0011", "0012"), "scan it again"),
        (CODE[:-1] + "D", "scan it again"),
        (CODE.lower(), "Caps Lock"),
        (CODE.replace(":", "Ö"), "English (US)"),
        (CODE + "LW", "type the DevEUI"),
        (CODE[:30], "type the DevEUI"),
        (CODE.replace("D0", "D1"), "type the DevEUI"),
        (
            CODE.replace(":OAABBCCDDEEFF:SYYWWNNNNNN", ":SYYWWNNNNNN:OAABBCCDDEEFF"),
            "type the DevEUI",
        ),
        (CODE.replace("PFOO", "XFOO"), "type the DevEUI"),
    ],
)
def test_a_code_that_was_misread_is_refused(code, hint):
    with pytest.raises(FlashError) as problem:
        scanned.read_dev_eui(code)
    assert problem.value.exit_code == USAGE
    assert hint in problem.value.remedy


@pytest.mark.parametrize("typed", [DEV_EUI, "34B7 DAFF FE0C 1D2E", "34:b7:da:ff:fe:0c:1d:2e"])
def test_a_dev_eui_is_read_as_people_write_it(typed):
    assert scanned.read_dev_eui(typed).hex() == DEV_EUI


def test_a_row_is_of_a_board_by_its_mac_or_by_the_dev_eui_that_it_will_have(book):
    Path("s.csv").write_text(f"dev_eui,mac,name\n{DEV_EUI},,a\n,{OTHER_MAC.hex()},b\n")
    rows = scanned.read_csv(Path("s.csv"))
    assert scanned.texts_of(rows, MAC, None) == {"name": "a"}
    assert scanned.texts_of(rows, OTHER_MAC, book.of_mac(OTHER_MAC)) == {"name": "b"}
    assert scanned.texts_of(rows, bytes(6), None) == {}


# ---- rescue ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed", [["test"], ["update"], ["reset"], ["backup"], ["restore", "x.tar"]]
)
def test_a_rescue_is_rehearsed_without_opening_the_port(run, monkeypatch, typed):
    monkeypatch.setattr(board_commands, "Repl", None)
    monkeypatch.setattr(board_commands.backup, "read_archive", lambda _: {"/config.json": b""})
    code, out, _ = run(*typed, "--port", "/dev/ttyUSB9", "--dry-run")
    assert code == 0
    assert out.startswith("would ")
    assert out.endswith(" at /dev/ttyUSB9\n")
    answer = json.loads(run(*typed, "--port", "/dev/ttyUSB9", "--dry-run", "--json")[1])
    assert answer["port"] == "/dev/ttyUSB9"


@pytest.mark.parametrize("typed", [["reset"], ["restore", "x.tar"]])
def test_what_cannot_be_undone_is_not_done_unasked(run, monkeypatch, typed):
    monkeypatch.setattr(board_commands, "Repl", None)
    monkeypatch.setattr(board_commands.backup, "read_archive", lambda _: {})
    code, _, err = run(*typed, "--port", "/dev/ttyUSB9")
    assert code == USAGE
    assert "--yes" in err


def test_ports_are_listed_with_what_hinders(run, monkeypatch):
    found = [port_of("/dev/ttyUSB0"), port_of("/dev/ttyUSB1", "you are not in the group dialout")]
    monkeypatch.setattr(ports, "list_ports", lambda: found)
    code, out, _ = run("ports")
    assert code == 0
    assert "group dialout" in out
    listed = json.loads(run("ports", "--json")[1])["ports"]
    assert [(port["device"], port["usable"]) for port in listed] == [
        ("/dev/ttyUSB0", True),
        ("/dev/ttyUSB1", False),
    ]
    found.clear()
    code, out, _ = run("ports", "--json")
    assert (code, json.loads(out)["exit_code"]) == (NO_BOARD, NO_BOARD)


# ---- the start -------------------------------------------------------------------------


def test_what_is_needed_is_what_the_package_asks_for():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {line.split("#")[0] for line in project["optional-dependencies"]["flash"]}
    asked |= {line for line in project["dependencies"] if line.startswith("cryptography")}
    needed = {start._requirement(name) for name in start.PACKAGES}
    assert {frozenset(line.replace(">", ",>").split(",")) for line in asked} == {
        frozenset(line.replace(">", ",>").split(",")) for line in needed
    }


def test_an_old_or_missing_package_is_named():
    versions = {name: oldest for name, (oldest, _) in start.PACKAGES.items()}
    versions |= {"esptool": "4.7.0", "rich": "13.9rc1"}

    def version_of(name):
        if name == "segno":
            raise start.metadata.PackageNotFoundError(name)
        return versions[name]

    assert start.missing(version_of) == ["esptool>=5.2,<6", "segno>=1.6"]
    versions["esptool"] = "6.0"
    assert "esptool>=5.2,<6" in start.missing(version_of)
    versions["esptool"] = "5.2.1"
    assert start.missing(version_of) == ["segno>=1.6"]


def test_the_line_that_installs_suits_the_system():
    lacking = ["esptool>=5.2,<6", "rich>=13.9"]
    [line] = start.remedy(lacking, system="posix", managed=False)
    assert line == f'{sys.executable} -m pip install "esptool>=5.2,<6" "rich>=13.9"'
    [line] = start.remedy(lacking, system="nt", managed=False)
    assert line.startswith(f'"{sys.executable}" -m pip install')
    lines = "\n".join(start.remedy(lacking, system="posix", managed=True, clone=Path("/x")))
    assert "python3 -m venv ~/.stoep-venv" in lines
    assert "~/.stoep-venv/bin/python /x/tools/flash.py" in lines
    assert 'pipx install "/x[flash]"' in lines


def test_a_clone_starts_without_being_installed(home):
    """As from a system's own Python: nothing of ours and no package is found but by the file."""
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(ROOT / "tools" / "flash.py"), "list"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ, HOME=str(home)),
        timeout=60,
    )
    assert done.returncode == USAGE
    assert "not installed yet: cryptography" in done.stderr
    assert "pip install" in done.stderr
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "flash.py"), "list"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "no board yet\n")


def test_a_ledger_of_something_else_is_told_as_such(run, home):
    with sqlite3.connect(home / "other.db") as other:
        other.execute("CREATE TABLE x (y)")
    other.close()
    code, out, _ = run("list", "--ledger", home / "other.db", "--json")
    assert code == USAGE
    assert "is no ledger of boards" in json.loads(out)["error"]
