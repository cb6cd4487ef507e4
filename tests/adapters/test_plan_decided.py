"""``stoep plan include``, ``done`` and the like, to a gateway's rounds through its socket."""

import asyncio
import getpass
import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest
from hand_clock import HandClock
from one_road import NOW, town
from stoep_gateway.assets.states import AssetState, ContainerState
from stoep_gateway.control import ControlServer
from stoep_gateway.control_client import Client
from stoep_gateway.forecast.calendar import Calendar
from stoep_gateway.forecast.forecasts import Forecasts
from stoep_gateway.insight.filling import FillTrack
from stoep_gateway.metrics import Metrics
from stoep_gateway.planning import cli, routes
from stoep_gateway.planning.commands import PlanCommands
from stoep_gateway.planning.decide_commands import DecideCommands
from stoep_gateway.planning.in_force import Kept
from stoep_gateway.publish.messages import OutboxMessage
from stoep_gateway.rounds import DailyRounds
from stoep_gateway.store.records import Record

TODAY, TOMORROW = "2026-10-20", "2026-10-21"
Said = Callable[..., Awaitable[tuple[int, list[str]]]]


class Gateway:
    """The rounds of a town with five containers on a road, four of them full, and their socket."""

    def __init__(self, folder: Path, path: Path) -> None:
        config = town(folder, {n: n for n in range(1, 6)}, capacity_l=50_000, iterations=1)
        self.clock = HandClock(NOW - 60_000)
        states: dict[str, AssetState] = {
            f"container/c{n}": ContainerState(1, NOW, track=FillTrack(NOW, 99.0, NOW, 99.0))
            for n in range(1, 5)
        }
        self.socket = path
        self.kept: list[Record] = []
        forecasts = Forecasts(Calendar(config.timezone))
        self.rounds = DailyRounds(
            config, states, forecasts, self.clock, Metrics(), self._keep, Kept()
        )
        self.server = ControlServer(path)
        DecideCommands(self.rounds, self.clock).register(self.server)
        commands = PlanCommands(config, states, forecasts, self.clock, self.rounds.in_force)
        commands.register(self.server)

    def _keep(
        self, _: Iterable[OutboxMessage], record: Record, then: Callable[[], None] | None
    ) -> None:
        self.kept.append(record)
        if then is not None:
            then()

    async def pass_s(self, seconds: int) -> None:
        self.clock.pass_ms(1000 * seconds)
        while self.rounds._tasks:
            await asyncio.wait(self.rounds._tasks)

    def stops(self) -> list[tuple[str, str]]:
        """Return the stops of the round in force."""
        today, _ = self.rounds.plans
        assert today is not None
        return [(stop.id, stop.status) for stop in today.rounds[0].stops]


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr("stoep_gateway.planning.apart.answer", routes.answer)
    with tempfile.TemporaryDirectory() as short:
        gateway = Gateway(tmp_path, Path(short) / "control.sock")
        await gateway.server.open()
        gateway.rounds.go_on()
        await gateway.pass_s(60)
        yield gateway
        await gateway.server.close()
        gateway.rounds.stop()


@pytest.fixture
def plan(gateway: Gateway, capsys: pytest.CaptureFixture[str]) -> Said:
    async def run(*arguments: str) -> tuple[int, list[str]]:
        line = [*arguments, "--socket", str(gateway.socket)]
        code = await asyncio.to_thread(cli.main, line)
        said = capsys.readouterr()
        return code, (said.out + said.err).splitlines()

    return run


async def test_a_day_of_decisions(gateway: Gateway, plan: Said) -> None:
    assert gateway.stops() == [(it, "planned") for it in ("c1", "c2", "c3", "c4", "dump")]
    for line, told in (
        (("exclude", "c1", "c2"), [f"{TODAY}, c1: exclude", f"{TODAY}, c2: exclude"]),
        (("lock", "c2", "--truck", "t1"), [f"{TODAY}, c2: lock"]),
        (("include", "c5", "--id", "x"), [f"{TODAY}, c5: include"]),
        (("include", "c5", "--id", "x"), [f"{TODAY}, c5: include (known already)"]),
        (("exclude", "c3", "--date", TOMORROW), [f"{TOMORROW}, c3: exclude"]),
        (("undo", "c4"), [f"{TODAY}, c4: nothing is decided"]),
    ):
        assert await plan(*line) == (0, told)
    await gateway.pass_s(10)
    assert gateway.stops() == [(it, "planned") for it in ("c2", "c3", "c4", "c5", "dump")]
    _, tomorrow = gateway.rounds.plans
    assert tomorrow is not None
    assert ("c3", "excluded") in [(it.container, it.reason) for it in tomorrow.skipped]
    # Two minutes after they began, as is planned, and then out of order.
    gateway.clock.pass_ms(120_000)
    done = ("done", "c2", "--fill-pct", "80.5", "--weight-kg", "99", "--at", "2026-10-20T04:02Z")
    assert await plan(*done) == (0, [f"{TODAY}, c2: done"])
    assert await plan("skip", "c4") == (0, [f"{TODAY}, c4: skip"])
    await gateway.pass_s(10)
    assert gateway.stops()[:2] == [("c2", "done"), ("c4", "skipped")]
    assert sorted(gateway.stops()[2:]) == [
        ("c3", "planned"),
        ("c5", "planned"),
        ("dump", "planned"),
    ]
    assert await plan("done", "--unloaded", "dump", "--truck", "t1") == (
        0,
        [f"{TODAY}, dump: done"],
    )
    assert await plan("truck-out", "t1") == (0, [f"{TODAY}, t1: truck_out"])
    await gateway.pass_s(10)
    assert gateway.stops() == [("c2", "done"), ("c4", "skipped"), ("dump", "done")]
    today, _ = gateway.rounds.plans
    assert today is not None
    assert today.rounds[0].status == "out_of_service"
    assert {(it.container, it.reason) for it in today.deferred} == {
        ("c3", "no_truck"),
        ("c5", "no_truck"),
    }
    code, lines = await plan("show")
    assert code == 0
    assert any("done at 06:02" in line for line in lines)
    assert any("c4: skipped at" in line for line in lines)


async def test_who_decided_what_is_listed(gateway: Gateway, plan: Said) -> None:
    await plan("done", "c1", "--fill-pct", "80.5")
    await plan("exclude", "c3", "--date", TOMORROW)
    who = getpass.getuser()
    assert await plan("decisions") == (
        0,
        [
            f"{TODAY}  2026-10-20T04:00:00.000Z  done c1 t1, 80.5 %  (user/{who})",
            f"{TOMORROW}  2026-10-20T04:00:00.000Z  exclude c3  (user/{who})",
        ],
    )
    code, lines = await plan("decisions", "--date", TOMORROW, "--json")
    (it,) = map(json.loads, lines)
    assert (code, it["container"], it["sender"]) == (0, "c3", f"user/{who}")


async def test_what_is_refused_says_why(gateway: Gateway, plan: Said) -> None:
    kept = len(gateway.kept)
    assert await plan("include", "c11", "c2", "--date", TOMORROW) == (
        1,
        [f"{TOMORROW}, c2: include", 'there is no container c11 (did you mean "c1"?)'],
    )
    assert await plan("done", "c1", "--date", TOMORROW) == (1, [f"{TOMORROW} has not come yet"])
    assert await plan("include", "c1", "c2", "--id", "x") == (
        1,
        ["--id names one decision: say it of one container"],
    )
    assert [len(it.decisions) for it in gateway.kept[kept:]] == [0, 1, 0]


async def test_nobody_decides_in_the_name_of_another(gateway: Gateway) -> None:
    def ask() -> dict[str, object]:
        with Client(gateway.socket) as client:
            return client.ask("plan.decide", user="mayor", id="1", action="include", container="c1")

    assert (await asyncio.to_thread(ask))["ok"] is True
    (it,) = gateway.rounds.in_force.dispatch.everything()
    assert it.sender == f"user/{getpass.getuser()}"


async def test_an_answer_comes_once_it_is_durable(gateway: Gateway) -> None:
    held: list[Callable[[], None]] = []
    asked = asyncio.Event()

    def hold(_: object, record: Record, then: Callable[[], None] | None) -> None:
        assert then is not None
        held.append(then)
        asked.set()

    gateway.rounds._keep = hold

    def ask() -> dict[str, object]:
        with Client(gateway.socket) as client:
            return client.ask("plan.decide", id="1", action="include", container="c1")

    answer = asyncio.create_task(asyncio.to_thread(ask))
    await asked.wait()
    assert not answer.done()
    held[0]()
    assert (await answer)["result"] == "accepted"


async def test_what_goes_as_planned_needs_no_search(
    gateway: Gateway, plan: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("stoep_gateway.planning.driving.replanned")
    await plan("done", "c1", "--at", "2026-10-20T04:01Z")
    before = gateway.rounds.plans
    await gateway.pass_s(10)
    assert gateway.stops() == [
        ("c1", "done"),
        *((it, "planned") for it in ("c2", "c3", "c4", "dump")),
    ]
    assert gateway.rounds.plans[1] == before[1]
    assert [row.date for row in gateway.kept[-1].plans] == [TODAY]
