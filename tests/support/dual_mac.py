"""A Class A machine that has joined, and shorthand for the events of an uplink; both runtimes."""

from dual_device import APP_KEY, DEV_EUI, JOIN_EUI, Network, new_key
from stoep_firmware import mac as m
from stoep_firmware.session import Session
from stoep_protocol.lorawan import regions

EU868 = regions.EU868


def new_mac(session=None, **options):
    return m.Mac(
        EU868, session or Session(), new_key, lambda n: 0, JOIN_EUI, DEV_EUI, APP_KEY, **options
    )


def first(actions, kind):
    for action in actions:
        if action[0] == kind:
            return action
    raise AssertionError(f"no action {kind} in {actions}")


def kinds(actions):
    return [action[0] for action in actions]


def joined(session=None, **options):
    """Return a MAC that joined at 0, and its network."""
    network = Network()
    mac = new_mac(session, **options)
    phy_payload = first(mac.handle((m.JOIN,), 0), m.TRANSMIT)[5]
    mac.handle((m.TX_DONE,), 62)
    actions = mac.handle((m.RECEIVED, network.accept(phy_payload), 5), 5100)
    assert first(actions, m.DONE) == (m.DONE, m.JOINED, 0)
    return mac, network


def send(mac, now_ms, f_port=10, payload=b"hello", confirmed=False):
    """Send and let both windows pass; return the TRANSMIT and the actions of the last event."""
    transmit = first(mac.handle((m.SEND, f_port, payload, confirmed), now_ms), m.TRANSMIT)
    done_ms = now_ms + transmit[6]
    mac.handle((m.TX_DONE,), done_ms)
    mac.handle((m.RX_TIMEOUT,), done_ms + 1100)
    return transmit, mac.handle((m.RX_TIMEOUT,), done_ms + 2300)


def answered(mac, network, now_ms, snr_db=5, confirmed=False, **down):
    """Send, and hear a downlink in RX1; return the uplink's frame and the actions."""
    transmit = first(mac.handle((m.SEND, 10, b"hello", confirmed), now_ms), m.TRANSMIT)
    frame, _ = network.open(transmit[5])
    mac.handle((m.TX_DONE,), now_ms + transmit[6])
    received = (m.RECEIVED, network.down(**down), snr_db)
    return frame, mac.handle(received, now_ms + transmit[6] + 1100)
