"""What of the store is taken over at the start."""

import pytest
from lns_values import APP_S_KEY, DEV_ADDR, DEV_EUI, NWK_S_KEY
from stoep_gateway import memory
from stoep_gateway.lns import channel_plan, mac_state
from stoep_gateway.lns.mac_state import Target
from stoep_gateway.store.records import MacStateRow, SessionRow, State
from stoep_protocol.lorawan import regions

EU868 = regions.EU868
EUROPEAN = mac_state.fresh(
    Target(channel_plan.for_region(EU868), 5, 0, 3, 869_525_000), abp=False, dr=4
)
AMERICAN = mac_state.fresh(
    Target(channel_plan.for_region(regions.by_name("US915")), 1, 0, 8, 923_300_000), abp=False
)


def stored(text):
    fields = dict.fromkeys(State.__dataclass_fields__, ()) | {"app_nonce_floor": 9}
    session = SessionRow(7, DEV_EUI, DEV_ADDR, NWK_S_KEY, APP_S_KEY, 1, 1, 0)
    rows = {"sessions": ((session, 5, 2),), "mac_states": (MacStateRow(7, text),)}
    return State(**fields | rows)


@pytest.mark.parametrize(
    ("text", "kept"),
    [(EUROPEAN.dumps(), EUROPEAN), (AMERICAN.dumps(), None), ("{}", None), ("", None)],
    ids=["readable", "another region", "incomplete", "empty"],
)
def test_what_a_device_had_accepted(text, kept, caplog):
    (session,) = memory.of(stored(text), EU868).sessions.of_device(DEV_EUI)
    assert session.mac == kept
    assert (session.f_cnt_up, session.f_cnt_down) == (5, 2)
    assert [record.levelname for record in caplog.records] == ["WARNING"] * (kept is None)
    assert all("session 7" in record.getMessage() for record in caplog.records)


def test_after_a_restoration_no_app_nonce_comes_again():
    nonces = memory.of(stored(""), EU868).nonces
    assert nonces.next_app_nonce(DEV_EUI) == 10
    nonces.remember(DEV_EUI, 5, 10)
    assert nonces.next_app_nonce(DEV_EUI) == 11
    assert nonces.next_app_nonce(bytes(8)) == 10
