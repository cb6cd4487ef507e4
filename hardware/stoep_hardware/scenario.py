"""A simulated street: the world, the air, the boards, the forwarders, and a real gateway process.

    with Street(directory, seed=1, broker=("127.0.0.1", 1883)) as street:
        street.run_until(6 * 3600 * 1000)
        print(street.summary())

The gateway is reached over loopback only, as packet forwarders reach it, and by its clock
channel. The same seed gives the same frames at the same times, and the same answers.
"""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from . import blantyre, channels, street_files
from .air import Air, Frame, Radio
from .clock_channel import Lockstep
from .engine import US_PER_MS, US_PER_S, Engine
from .forwarder import Forwarder
from .gateway_process import GatewayProcess
from .street_plan import DEPTH_MM, FULL_MM, PlannedBay, PlannedContainer, plan
from .world import Bay, Container, FillCurve, ParkingHabits, Weather, generated_fill

# Boards are switched on one after the other, as a technician would.
_SWITCHED_ON_WITHIN_S = 240
_GENERATED_DAYS = 100  # as long as the log goes on from the demo's first day
# Sensors hang where a technician has tried the link: shadowing is milder than anywhere.
_SHADOWING_DB = 4.0

_JOIN_REQUEST, _UNCONFIRMED_UP, _CONFIRMED_UP = 0, 2, 4  # MHDR's message types


class Device(Protocol):
    """A board with firmware that runs: `devices.CPythonDevice` or `devices.MicroPythonDevice`."""

    @property
    def runtime(self) -> str:
        """What the firmware runs on: "cpython" or "micropython"."""
        ...

    def start(self, at_us: int) -> None:
        """Connect the battery."""
        ...

    def close(self) -> None:
        """Free what it holds of the operating system."""
        ...


Planned = PlannedContainer | PlannedBay
# Makes a planned board's device, and tells its radio.
MakeDevice = Callable[["Street", Planned], tuple[Device, Radio]]


class Street:
    """Builds everything; time then moves by `step` and `run_until`.

    `containers` takes `Container`s and `bays` `Bay`s by id: the truth, to compare messages with.
    """

    def __init__(
        self,
        directory: Path,
        *,
        broker: tuple[str, int],
        seed: int = 1,
        containers: int = 16,
        bays: int = 8,
        micropython: int = 4,
        bin_sensors: Sequence[str] = ("a02yyuw",),
        bin_interval_s: int = 3600,
        bay_interval_s: int = 6 * 3600,
        history: int = 3,
        planning_at: str | None = "06:00",
        start: datetime = blantyre.DEMO_START,
        backhaul_ms: int = 0,
        region: str = "EU868",
        sub_band: int = 2,
        make_device: MakeDevice | None = None,
    ) -> None:
        """Build the street and start its gateway, which keeps its files in `directory`.

        `broker` is the MQTT broker's host and port, `bin_sensors` what the containers have in
        turn, `planning_at` the local time of the daily
        round, None for none, `backhaul_ms` how long a datagram takes from or to a forwarder.
        `region` is the network's, in US915 and AU915 with the gateways on `sub_band` 1 to 8.
        `make_device` replaces the firmware, for tests of the rest.
        Raises `GatewayGoneError` when the gateway does not start, ValueError for numbers of
        things that cannot be had.
        """
        self.directory = directory
        self.region = region
        self.engine = Engine(seed)
        self.plan = plan(
            self.engine, containers=containers, bays=bays, micropython=micropython, start=start
        )
        self.planned: tuple[Planned, ...] = (*self.plan.containers, *self.plan.bays)
        self.air = Air(self.engine, shadowing_db=_SHADOWING_DB)
        self.air.observe(self._on_sent)
        self.weather = Weather(self.plan.local_start_s)
        self.bin_sensors = bin_sensors
        self.bin_interval_s = bin_interval_s
        self.bay_interval_s = bay_interval_s
        self.history = history
        self.containers = {one.id: self._container(one) for one in self.plan.containers}
        self.bays = {
            one.id: Bay(self.engine, one.id, self.weather, ParkingHabits())
            for one in self.plan.bays
        }
        in_row = list(self.bays.values())
        for index, bay in enumerate(in_row):
            bay.neighbours = in_row[max(index - 1, 0) : index] + in_row[index + 1 : index + 2]

        self.lockstep = Lockstep(self.engine, self.plan.utc_start_ms, backhaul_ms=backhaul_ms)
        self.forwarders = [
            Forwarder(
                self.engine,
                self.air,
                gateway.eui,
                gateway.position_m,
                self.lockstep.sender(),
                utc_start_ms=self.plan.utc_start_ms,
                location=(gateway.lat, gateway.lon, 1040),
                channels=channels.of(region, sub_band),
            )
            for gateway in self.plan.gateways
        ]
        self.devices: dict[bytes, Device] = {}
        self._running: list[Device] = []
        self._euis: dict[int, bytes] = {}  # by the radio's identity
        self.sent: Counter[bytes] = Counter()  # uplinks with data; who has sent one has joined
        self._join_requests = 0
        self.gateway: GatewayProcess | None = None
        self.config = street_files.write(
            self.plan,
            directory,
            broker=broker,
            planning_at=planning_at,
            region=region,
            sub_band=sub_band,
        )
        try:
            # The gateway starts while the boards are made.
            self.gateway = GatewayProcess(self.config, self.directory)
            for planned in self.planned:
                self._add_device(planned, *(make_device or _firmware)(self, planned))
            self._attach(self.gateway)
        except BaseException:
            self.close()
            raise
        for forwarder in self.forwarders:
            forwarder.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the gateway and every board's process."""
        with contextlib.ExitStack() as ending:  # all of it, even if a board ends badly
            if self.gateway is not None:
                ending.callback(self.gateway.stop)
                self.gateway = None
            for device in self._running:
                ending.callback(device.close)
            self._running.clear()
            self.lockstep.detach()

    # Time.

    @property
    def now_ms(self) -> int:
        """Simulated milliseconds since the street began."""
        return self.engine.now_us // US_PER_MS

    def run_until(self, t_ms: int) -> None:
        """Run the street and its gateway up to a simulated time."""
        self.lockstep.run_until(t_ms * US_PER_MS)

    def step(self, max_ms: int) -> int:
        """Run for at most `max_ms`; return the simulated milliseconds that passed.

        Stops early when street and gateway have talked, so that a caller that paces itself by
        real time can look at its clock often.
        """
        before_us = self.engine.now_us
        self.lockstep.step(before_us + max_ms * US_PER_MS)
        return (self.engine.now_us - before_us) // US_PER_MS

    # The gateway.

    def start_gateway(self) -> None:
        """Start the gateway, the first time or after it has been stopped or killed."""
        self.gateway = GatewayProcess(self.config, self.directory)
        self._attach(self.gateway)

    def stop_gateway(self) -> int:
        """Ask the gateway to end and return its exit code; its street goes on without it."""
        self.lockstep.detach()
        assert self.gateway is not None
        return self.gateway.stop()

    def kill_gateway(self) -> None:
        """Kill the gateway at once; its street goes on without it."""
        assert self.gateway is not None
        self.gateway.kill()
        self.lockstep.detach()  # after the kill: a gateway whose simulator has gone would end well

    # What happens in the street.

    def collect(self, container_id: str, at_ms: int) -> None:
        """Have a container emptied at a simulated time; raises KeyError for an unknown id."""
        container = self.containers[container_id]
        at_us = max(at_ms * US_PER_MS, self.engine.now_us)
        self.engine.at(at_us, lambda: container.collect(at_us))

    def summary(self) -> dict[str, int | float]:
        """Return what the street did: counts, and simulated seconds."""
        return {
            "containers": len(self.plan.containers),
            "bays": len(self.plan.bays),
            "containers_joined": self._joined(self.plan.containers),
            "bays_joined": self._joined(self.plan.bays),
            "micropython_devices": sum(
                device.runtime == "micropython" for device in self.devices.values()
            ),
            "sent": self.sent.total(),
            "join_requests": self._join_requests,
            "forwarded": sum(one.counts["forwarded"] for one in self.forwarders),
            "downlinks": sum(one.counts["tx_ok"] for one in self.forwarders),
            "simulated_s": self.engine.now_us / US_PER_S,
        }

    def _joined(self, planned: Iterable[Planned]) -> int:
        return sum(one.board.dev_eui in self.sent for one in planned)

    def forwarder_counts(self) -> Mapping[str, int]:
        """Return all forwarders' counts, added up."""
        total: Counter[str] = Counter()
        for forwarder in self.forwarders:
            total.update(forwarder.counts)
        return total

    # Building.

    def _attach(self, gateway: GatewayProcess) -> None:
        gateway.wait_until_ready()
        self.lockstep.attach(
            self.forwarders, gateway.clock_port, gateway.gwmp_port, gateway.last_words
        )

    def _container(self, planned: PlannedContainer) -> Container:
        curve: FillCurve
        if planned.skip is not None:
            curve = blantyre.fill_curve(planned.skip, self.plan.start)
        else:
            curve = generated_fill(self.engine, planned.id, _GENERATED_DAYS, self.weather)
        return Container(self.engine, planned.id, curve, depth_mm=DEPTH_MM, full_mm=FULL_MM)

    def _add_device(self, planned: Planned, device: Device, radio: Radio) -> None:
        dev_eui = planned.board.dev_eui
        self.devices[dev_eui] = device
        self._running.append(device)
        self._euis[id(radio)] = dev_eui
        at_s = self.engine.random("scenario/start").uniform(1, _SWITCHED_ON_WITHIN_S)
        device.start(round(at_s * US_PER_S))

    def _on_sent(self, radio: Radio, frame: Frame) -> None:
        """Count what boards send."""
        dev_eui = self._euis.get(id(radio))
        if dev_eui is None or not frame.payload:
            return
        m_type = frame.payload[0] >> 5
        if m_type == _JOIN_REQUEST:
            self._join_requests += 1
        elif m_type in (_UNCONFIRMED_UP, _CONFIRMED_UP):
            self.sent[dev_eui] += 1


def _firmware(street: Street, planned: Planned) -> tuple[Device, Radio]:
    from .street_devices import make_device  # noqa: PLC0415 - it needs this module's types

    return make_device(street, planned)
