"""The state diagram in docs/mac.md against the machine: a random walk over every transition."""

import re
from pathlib import Path
from random import Random

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_protocol.lorawan import regions

PAGE = Path(__file__).parents[2] / "docs/mac.md"
STATES = ("IDLE", "WAIT", "TX", "RX1", "RX2")
EVENTS = ("JOIN", "SEND", "TX_DONE", "RECEIVED", "RX_TIMEOUT", "TIMER", "FAULT")
STATE_NAMES = {getattr(m, name): name for name in STATES}
EVENT_NAMES = {getattr(m, name): name for name in EVENTS}
ARROW = re.compile(r"^ +(\w+) --> (\w+): ([A-Z_0-9, ]+)$", re.MULTILINE)


def drawn():
    """Return the diagram's arrows: (from, event, to)."""
    (diagram,) = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return {
        (begin, event, end)
        for begin, end, events in ARROW.findall(diagram)
        for event in events.split(", ")
    }


class Walk:
    """Feeds a machine events that its table knows, in all their kinds; notes what follows."""

    def __init__(self, seed):
        self.random = Random(seed)
        self.network = Network()
        self.session = Session()
        self.now_ms = 1000
        self.arrows = set()
        self.refused = set()
        self.mac = self._machine()

    def _machine(self):
        return m.Mac(
            regions.EU868,
            self.session,
            new_key,
            self.random.randrange,
            JOIN_EUI,
            DEV_EUI,
            APP_KEY,
            adr=True,
        )

    def step(self):
        random, mac, session = self.random, self.mac, self.session
        if mac.state in (m.IDLE, m.WAIT):
            if random.random() < 0.1:  # a deep sleep
                self.mac = mac = self._machine()
            session.nb_trans = random.choice((1, 2, 4))
            session.lost = random.choice((0, 0, 2))
            session.dev_nonce = random.choice((session.dev_nonce, 0x10000))
            if random.random() < 0.3:  # as after a long sleep
                session.join_until_ms = session.duty_until_ms = 0
                session.band_until_ms = [0] * len(session.band_until_ms)
        kind = random.choice(list(m._TABLE[mac.state]))
        if kind == m.SEND and not session.joined:
            kind = m.JOIN
        event = getattr(self, EVENT_NAMES[kind].lower(), lambda: (kind,))()
        before = mac.state
        for action in mac.handle(event, self.now_ms):
            if action[0] == m.TRANSMIT:
                self.last = action[5]
        self.arrows.add((STATE_NAMES[before], EVENT_NAMES[kind], STATE_NAMES[mac.state]))
        if session.dev_nonce > 0xFFFF:
            session.dev_nonce = len(self.network.dev_nonces)
        self.now_ms += random.choice((1, 50, 1000, 60_000))

    def send(self):
        size = self.random.choice((0, 10, 10, 10, 250))
        return (m.SEND, 10, bytes(size), self.random.random() < 0.5)

    def received(self):
        network, random = self.network, self.random
        if random.random() < 0.5:
            return (m.RECEIVED, random.randbytes(random.randrange(40)), 5)
        if self.mac.joining:
            network.dev_nonces.clear()
            return (m.RECEIVED, network.accept(self.last), 5)
        return (m.RECEIVED, network.down(ack=random.random() < 0.5), 5)

    def timer(self):
        if self.random.random() < 0.7:
            self.now_ms = max(self.now_ms, self.mac.next_deadline())
        return (m.TIMER,)


def test_diagram_shows_every_transition_and_no_other():
    found = set()
    for seed in range(12):
        walk = Walk(seed)
        for _ in range(2500):
            walk.step()
        found |= walk.arrows
    assert found == drawn()


def test_table_knows_the_events_of_the_diagram_and_refuses_all_others():
    table = {
        (STATE_NAMES[state], EVENT_NAMES[event])
        for state, events in enumerate(m._TABLE)
        for event in events
    }
    assert table == {(begin, event) for begin, event, _ in drawn()}
    for state, state_name in STATE_NAMES.items():
        for event, event_name in EVENT_NAMES.items():
            if (state_name, event_name) in table:
                continue
            mac = Walk(0).mac
            mac.state = state
            try:
                mac.handle((event, 10, b"", False), 0)
            except ValueError:
                assert mac.state == state
            else:
                raise AssertionError((state_name, event_name))
