"""A day of a dispatcher, from the levels in the night to what the month's report makes of it.

The gateway and the broker are processes of their own; time is simulated, so that it waits for both.
"""

import csv
import datetime
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from broker import Mosquitto, Subscriber
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from plain_device import PlainDevice
from stoep_gateway.report import cli as report
from stoep_hardware.air import Air
from stoep_hardware.clock_channel import Lockstep
from stoep_hardware.engine import Engine
from stoep_hardware.forwarder import Forwarder
from stoep_hardware.gateway_process import GatewayProcess
from waiting import PATIENCE_S, wait_until

DATE = "2024-10-08"  # a month that is over, whatever day it is
BEGIN = datetime.datetime(2024, 10, 8, tzinfo=datetime.UTC)
TOKEN = "0123456789abcdef-the-office-0123"
GATEWAY_EUI = "0016c001ff10a235"
CONFIG = f"""
site = "town"
timezone = "Etc/UTC"
[mqtt]
port = {{port}}
[gwmp]
port = 0
[planning]
at = "06:00"
iterations = 10
[[dispatcher]]
id = "office"
token_file = "office.token"
[[gateway]]
id = "roof"
eui = "{GATEWAY_EUI}"
[[truck]]
id = "t1"
capacity_l = 14000
depot = "yard"
disposal = "dump"
[[place]]
id = "yard"
kind = "depot"
lat = 0.0
lon = 0.0
[[place]]
id = "dump"
kind = "disposal"
lat = 0.1
lon = 0.0
"""
CONTAINER = """
[[container]]
id = "{name}"
lat = 0.0{number}
lon = 0.0
capacity_l = 1100
depth_mm = 1000
full_mm = 0
[[device]]
dev_eui = "{dev_eui}"
app_key = "{app_key}"
asset = "container/{name}"
"""


class Town:
    """Containers of levels that only the test changes, heard every quarter of an hour."""

    def __init__(self, folder: Path, broker: Mosquitto, fill_pct: dict[str, int]) -> None:
        self.fill_pct = fill_pct
        self.folder = folder
        self.file = folder / "stoep.toml"
        begin_ms = round(BEGIN.timestamp() * 1000)
        self._engine = Engine(1)
        air = Air(self._engine, shadowing_db=0)
        self._lockstep = Lockstep(self._engine, begin_ms)
        send = self._lockstep.sender()
        eui = bytes.fromhex(GATEWAY_EUI)
        self._forwarder = Forwarder(self._engine, air, eui, (0.0, 0.0), send, utc_start_ms=begin_ms)
        text = CONFIG.format(port=broker.port)
        for number, name in enumerate(fill_pct, 1):
            dev_eui, app_key = f"70b3d57ed000000{number}", f"{number:032x}"
            text += CONTAINER.format(name=name, number=number, dev_eui=dev_eui, app_key=app_key)
            keys = (bytes.fromhex(dev_eui), bytes(8), bytes.fromhex(app_key))
            device = PlainDevice(
                self._engine,
                air,
                (50.0 + number, 0.0),
                *keys,
                interval_s=900,
                distance_mm=lambda _t_us, name=name: 1000 - 10 * fill_pct[name],
            )
            device.start(number * 10_000_000)
        folder.mkdir()
        self.file.write_text(text)
        (folder / "office.token").write_text(f"{TOKEN}\n")
        (folder / "office.token").chmod(0o600)
        self._forwarder.start()
        self.start()

    def start(self) -> None:
        self._gateway = GatewayProcess(self.file, self.folder)
        self._gateway.wait_until_ready()
        ports = self._gateway.clock_port, self._gateway.gwmp_port
        self._lockstep.attach([self._forwarder], *ports, self._gateway.last_words)
        log = self.folder / "gateway.log"
        # Until it has subscribed for the first time, what is sent is nobody's.
        wait_until(lambda: "plan commands are taken" in log.read_text(), "the subscription")

    def kill(self) -> None:
        self._gateway.kill()
        self._lockstep.detach()

    def until(self, hour: int, minute: int) -> None:
        at = BEGIN.replace(hour=hour, minute=minute)
        self._lockstep.run_until((at - BEGIN) // datetime.timedelta(microseconds=1))


class Office:
    """Hears everything, and says one thing after another."""

    def __init__(self, broker: Mosquitto, heard: Subscriber) -> None:
        self._heard = heard
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.connect(*broker.address)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def newest(self, topic: str) -> Any:
        found = self._heard.of(topic)
        return json.loads(found[-1][1]) if found else None

    def say(self, identifier: str, action: str, container: str, **more: object) -> dict[str, Any]:
        """Return the answer."""
        said = {"token": TOKEN, "id": identifier, "action": action, "container": container}
        before = len(self._heard.of("/office/answer"))
        payload = json.dumps({**said, "date": DATE, **more})
        sent = self._client.publish("stoep/v1/town/plan/office/command", payload, 1)
        sent.wait_for_publish(PATIENCE_S)
        self._heard.wait_for(lambda: len(self._heard.of("/office/answer")) > before, identifier)
        answer: dict[str, Any] = self.newest("/office/answer")
        assert answer["id"] == identifier
        return answer

    def sees_stops(self, *expected: tuple[str, str]) -> None:
        def stops() -> list[tuple[str, str]]:
            found = self.newest(f"round/{DATE}/t1")
            return [] if found is None else [(it["id"], it["status"]) for it in found["stops"]]

        self._heard.wait_for(lambda: stops() == list(expected), f"{expected}")

    def sees_outcome(self, since: str, expected: dict[str, tuple[str, list[str]]]) -> None:
        """Wait for these statuses and sources of containers, told since a time of day."""

        def stops() -> dict[str, tuple[str, list[str]]]:
            found = self.newest(f"round/{DATE}/outcome")
            is_new = found is not None and found["time_utc"] >= f"{DATE}T{since}"
            of = found["stops"] if is_new else ()
            return {it["container"]: (it["status"], it["sources"]) for it in of}

        self._heard.wait_for(lambda: stops() == expected, f"{expected}")


def test_what_a_driver_said_and_a_sensor_saw_is_one_emptying(tmp_path: Path) -> None:
    with (
        Mosquitto(tmp_path / "broker") as broker,
        Subscriber(broker, "stoep/#", "office") as heard,
    ):
        office = Office(broker, heard)
        town = Town(tmp_path / "gateway", broker, {"full": 98, "denied": 97, "asked": 5})
        try:
            town.until(6, 1)  # a level of two hours might be a false echo, of six it is believed
            office.sees_stops(("full", "planned"), ("denied", "planned"), ("dump", "planned"))
            town.until(6, 10)
            assert office.say("1", "done", "full", fill_pct=96)["truck"] == "t1"
            town.fill_pct["full"] = 0
            assert office.say("2", "include", "asked")["result"] == "accepted"
            assert office.say("3", "done", "denied")["result"] == "accepted"
            town.until(6, 11)
            done = [(it, "done") for it in ("full", "denied")]
            office.sees_stops(*done, ("asked", "planned"), ("dump", "planned"))
            town.until(9, 30)
            statuses = {
                "full": ("confirmed", ["sensor", "driver"]),
                "denied": ("contradicted", ["driver"]),
                "asked": ("unknown", []),
            }
            office.sees_outcome("06:00", statuses)
            town.kill()
            town.start()
            town.until(9, 46)
            office.sees_outcome("09:30", statuses)
            assert office.say("1", "done", "full", fill_pct=96)["result"] == "known"
        finally:
            town.kill()
            office.close()
    with closing(sqlite3.connect(town.folder / "stoep.db")) as connection:
        rows = connection.execute(
            "SELECT container, source FROM collection ORDER BY 1, 2"
        ).fetchall()
    assert rows == [("denied", "driver"), ("full", "driver"), ("full", "sensor")]
    table = tmp_path / "month.csv"
    assert report.main(["month", DATE[:7], "--config", str(town.file), "--csv", str(table)]) == 0
    lines = table.read_text(encoding="utf-8-sig").splitlines()
    told = {it["id"]: it for it in csv.DictReader(lines)}
    counted = ("emptyings", "planned", "confirmed", "contradicted", "unplanned", "fill_median_pct")
    assert {it: [told[it][name] for name in counted] for it in statuses} == {
        "full": ["1", "1", "1", "0", "0", "98.00"],
        "denied": ["0", "1", "0", "1", "0", ""],
        "asked": ["0", "1", "0", "0", "0", ""],
    }
