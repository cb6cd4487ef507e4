"""People decide over MQTT while the gateway is killed and the broker goes away."""

import asyncio
import datetime
import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from broker import Mosquitto, Subscriber
from gateway_process import Gateway
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from stoep_gateway import config as configuration
from stoep_gateway.config import Config
from stoep_gateway.planning import cli
from stoep_gateway.planning.days import round_at
from stoep_gateway.planning.plan import Plan, dumps
from stoep_gateway.store.records import PlanRow, Record
from stoep_gateway.store.sealing import Sealer
from stoep_gateway.store.store import Store
from waiting import PATIENCE_S, wait_until

TOKEN = "0123456789abcdef-the-office-0123"
CONFIG = """
site = "town"
timezone = "Etc/UTC"
[mqtt]
port = {port}
[gwmp]
port = 0
[planning]
at = "{at:%H:%M}"
iterations = 1
[[dispatcher]]
id = "office"
token_file = "office.token"
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
""" + "".join(
    f'[[container]]\nid = "c{n}"\nlat = 0.0{n}\nlon = 0.0\ncapacity_l = 1100\ndepth_mm = 1000\n'
    for n in (1, 2, 3)
)
COMMANDS = "stoep/v1/town/plan/office/command"
ANSWERS = "stoep/v1/town/plan/office/answer"


async def planned(town: Config) -> str:
    """Have a round under way, of an hour ago, with nothing in it; return its date."""
    now_ms = time.time_ns() // 1_000_000 - 3_600_000
    date = datetime.datetime.fromtimestamp(now_ms / 1000, datetime.UTC).date().isoformat()
    next_ms = round_at(town, now_ms + 7_200_000)
    plan = Plan("town", date, now_ms, now_ms, next_ms, False, (), (), (), None, "none", "-", 1, 0)
    store = Store(town.store.path, lambda _: Sealer(bytes(32)))
    await store.open()
    row = PlanRow(date, 0, now_ms, 12.0, 70.0, 0, dumps(plan))
    store.submit(Record(plans=(row,), planned_date=date))
    await store.close()
    with closing(sqlite3.connect(town.store.path)) as connection:
        connection.execute("DELETE FROM sealing")  # the gateway's own key is another one
        connection.commit()
    return date


def send(broker: Mosquitto, *payloads: dict[str, Any] | bytes, retain: bool = False) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2)
    client.connect(*broker.address)
    client.loop_start()
    for it in payloads:
        payload = it if isinstance(it, bytes) else json.dumps(it)
        client.publish(COMMANDS, payload, 1, retain).wait_for_publish(PATIENCE_S)
    client.disconnect()
    client.loop_stop()


def answers(office: Subscriber) -> list[tuple[str | None, str, str | None]]:
    found = [json.loads(payload) for _, payload, _ in office.of(ANSWERS)]
    return [(it["id"], it["result"], it["reason"]) for it in found]


def stops(office: Subscriber, date: str) -> list[tuple[str, str]]:
    """Return the stops of the newest round of the day."""
    found = office.of(f"round/{date}/t1")
    if not found:
        return []
    return [(it["id"], it["status"]) for it in json.loads(found[-1][1])["stops"]]


def test_no_decision_is_lost_or_taken_twice(tmp_path: Path, capsys: Any) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        at = datetime.datetime.now(datetime.UTC) - datetime.timedelta(hours=1)
        folder = tmp_path / "gateway"
        text = CONFIG.format(port=broker.port, at=at)
        folder.mkdir()
        (folder / "office.token").write_text(f"{TOKEN}\n")
        (folder / "office.token").chmod(0o600)
        (folder / "stoep.toml").write_text(text)
        date = asyncio.run(planned(configuration.load(folder / "stoep.toml")))

        def said(identifier: str, action: str, container: str) -> dict[str, Any]:
            return {
                "token": TOKEN,
                "id": identifier,
                "action": action,
                "container": container,
                "date": date,
            }

        first = said("1", "include", "c1")
        send(broker, said("0", "include", "c3"), retain=True)
        gateway = Gateway(folder, text)
        try:
            gateway.start()
            with Subscriber(broker, "stoep/#", "office") as office:
                # The gateway has subscribed when it answers; before, what is sent is nobody's.
                wait_until(lambda: "plan commands are taken" in gateway.log(), "the subscription")
                send(broker, b"no JSON")
                send(broker, first | {"token": TOKEN[::-1]}, said("2", "include", "c9"), first)
                office.wait_for(lambda: ("1", "accepted", None) in answers(office))
                gateway.kill()
                known = answers(office)
                assert ("1", "refused", "not authorised") in known
                assert ("2", "refused", "there is no container c9") in [
                    (*it[:2], str(it[2])[:24]) for it in known
                ]
                assert {it[0] for it in known} == {None, "1", "2"}  # and not the retained one
                send(broker, first, said("3", "done", "c2"))
                broker.stop()
                broker.start()
                gateway.start()
                office.wait_for(lambda: ("3", "accepted", None) in answers(office))
                assert ("1", "known", None) in answers(office)
                office.wait_for(
                    lambda: (
                        stops(office, date)
                        == [("c2", "done"), ("c1", "planned"), ("dump", "planned")]
                    )
                )
                broker.stop()
                broker.start()
                send(broker, said("4", "exclude", "c1"))
                office.wait_for(lambda: ("4", "accepted", None) in answers(office))
                office.wait_for(
                    lambda: stops(office, date) == [("c2", "done"), ("dump", "planned")]
                )
            assert cli.main(["decisions", "--config", str(folder / "stoep.toml"), "--json"]) == 0
            told = [json.loads(it) for it in capsys.readouterr().out.splitlines()]
            assert [(it["id"], it["sender"], it["truck"]) for it in told] == [
                ("1", "dispatcher/office", None),
                ("3", "dispatcher/office", "t1"),
                ("4", "dispatcher/office", None),
            ]
            assert gateway.stop() == 0
        finally:
            gateway.kill()
        assert TOKEN not in gateway.log()
        assert "command_retained" in gateway.log()
    with closing(sqlite3.connect(folder / "stoep.db")) as connection:
        rows = connection.execute("SELECT container, source, truck FROM collection").fetchall()
    assert rows == [("c2", "driver", "t1")]
