"""Devices and the whole network server, paired over air and backhaul that fail in every way.

Whatever happened: no frame counter is used or accepted twice, nothing is recorded twice, both ends
agree once the air is good again, and every downlink has exactly one end.
"""

import json
from collections import Counter

import pytest
from lns_values import target
from lora_packet import opened
from lorawan_keys import new_key
from paired_world import Air, Node, Sign, World
from stoep_firmware import channels
from stoep_gateway.lns import channel_plan
from stoep_gateway.lns.mac_state import Target
from stoep_protocol.lorawan import frames, regions
from stoep_protocol.lorawan import mac_commands as mc
from stoep_protocol.lorawan.crypto import DOWN

GATEWAYS = """
site = "street"
timezone = "UTC"
[[gateway]]
id = "kerb-1"
eui = "0016c001ff10a235"
[[gateway]]
id = "kerb-2"
eui = "0016c001ff10a236"
"""
APP_KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
NWK_S_KEY, APP_S_KEY = bytes(range(16)), bytes(range(16, 32))
JOINING = [bytes.fromhex(f"70b3d57ed00000{number:02x}") for number in range(1, 5)]
METER, SIGN = (bytes.fromhex(f"70b3d57ed00000{number:02x}") for number in (0x11, 0x12))
MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CONFIG = (
    GATEWAYS
    + "".join(
        f"""
[[device]]
dev_eui = "{eui.hex()}"
app_key = "{APP_KEY.hex()}"
lorawan = "1.0.4"
"""
        for eui in JOINING
    )
    + "".join(
        f"""
[[device]]
dev_eui = "{eui.hex()}"
dev_addr = "{address:08x}"
nwk_s_key = "{NWK_S_KEY.hex()}"
app_s_key = "{APP_S_KEY.hex()}"
device_class = "{device_class}"
"""
        for eui, address, device_class in ((METER, 0x26010001, "A"), (SIGN, 0x26010002, "C"))
    )
)
BAD = Air(
    loss=0.25,
    backhaul_loss=0.05,
    duplicates=0.2,
    slow=0.05,
    replays=0.1,
    cuts=0.03,
    clock_jumps_an_hour=0.5,
)


def wanted(region_name):
    if region_name == "EU868":
        return target(rx1_delay_s=2, rx1_dr_offset=1, rx2_dr=3, status_every_ms=12 * HOUR_MS)
    region = regions.by_name(region_name)
    return Target(
        channel_plan.for_region(region, 2),
        1,
        0,
        region.rx2_dr,
        region.rx2_hz,
        status_every_ms=12 * HOUR_MS,
    )


def street(path, region_name, seed):
    """Return a world after a day of misfortunes and one of good air."""
    world = World(path, CONFIG, wanted(region_name), seed)
    nodes = [Node(world, eui, APP_KEY, every_ms=15 * MINUTE_MS) for eui in JOINING]
    meter = Node(world, METER, APP_KEY, every_ms=15 * MINUTE_MS)
    meter.personalise(0x26010001, NWK_S_KEY, APP_S_KEY)
    if region_name == "EU868":
        Sign(world, SIGN, 0x26010002, NWK_S_KEY, APP_S_KEY)
    for node in nodes:
        node.rejoins(0.04)
    random = world.random

    def ask():
        dev_eui = random.choice([*JOINING, METER, SIGN][: 6 if world.signs else 5])
        expires = None
        if random.random() < 0.3:
            expires = world.clock.utc_ms() + random.randrange(HOUR_MS)
        world.enqueue(
            dev_eui,
            world.now.to_bytes(5, "big") + bytes(random.randrange(60)),
            confirmed=random.random() < 0.5,
            priority=random.randrange(-1, 2),
            expires_utc_ms=expires,
        )
        if world.air is BAD:
            world.at(world.now + random.randrange(10 * MINUTE_MS), ask)

    world.air = BAD
    world.at(HOUR_MS, ask)
    world.run(24 * HOUR_MS)
    for node in nodes:
        node.rejoins(0.0)
    world.air = Air()
    world.run(36 * HOUR_MS)
    for _ in range(60):  # till nothing is under way, for a moment
        sessions_of = world.network.memory.sessions.of_device
        if all(
            node.is_idle() and not (one.mac and one.mac.pending)
            for node in world.nodes
            for one in sessions_of(node.dev_eui)
        ):
            break
        world.run(2 * MINUTE_MS)
    assert world.cuts > 10
    return world


def recorded(world):
    return [row for record in world.network.records for row in record.uplinks]


def no_uplink_is_taken_twice(world):
    rows = recorded(world)
    assert rows
    by_counter = Counter((row.session_id, row.f_cnt_up) for row in rows)
    assert max(by_counter.values()) == 1
    by_content = Counter((row.dev_eui, row.frm_payload) for row in rows if row.f_port)
    assert max(by_content.values()) == 1
    taken = set(by_content)
    for device in (*world.nodes, *world.signs):
        sent = {(device.dev_eui, payload) for payload in device.sent}
        assert {one for one in taken if one[0] == device.dev_eui} <= sent
    for node in world.nodes:
        assert {(node.dev_eui, payload) for payload in node.acknowledged} <= taken
    counts = Counter(
        event["event_id"]
        for record in world.network.records
        for row in record.outbox
        if "event_id" in (event := json.loads(row.payload))
    )
    assert max(counts.values()) == 1


def sessions(world):
    return [row for record in world.network.records for row in record.sessions]


def data_frames(world):
    """Return ``(session row, f_cnt_down, order)`` of every data frame that left the server."""
    rows = sessions(world)
    found = []
    for _, order in world.emitted:
        frame = frames.parse(order.phy_payload)
        if not isinstance(frame, frames.DataFrame):
            continue
        (row,) = [
            row
            for row in rows
            if row.dev_addr == frame.dev_addr
            and frames.verify(frame, new_key(row.nwk_s_key), frame.f_cnt)
        ]
        found.append((row, frame.f_cnt, order))
    return found


def no_counter_is_used_for_two_downlinks(world):
    used = {}
    for row, f_cnt, order in data_frames(world):
        assert used.setdefault((row.session_id, f_cnt), order.phy_payload) == order.phy_payload
    assert used
    # And each one was durable before it left: the last one stored is beyond all of them.
    for row, _, f_cnt_down in world.network.connection.execute(
        "SELECT session_id, f_cnt_up, f_cnt_down FROM frame_counter"
    ):
        newest = max((f_cnt for session_id, f_cnt in used if session_id == row), default=-1)
        assert f_cnt_down > newest


def no_nonce_is_answered_twice(world):
    nonces = [row for record in world.network.records for row in record.nonces]
    assert len({(row.dev_eui, row.dev_nonce) for row in nonces}) == len(nonces)
    assert len({(row.dev_eui, row.app_nonce) for row in nonces}) == len(nonces)


def every_downlink_has_one_end(world):
    network = world.network
    events = [
        event
        for record in network.records
        for row in record.outbox
        if (event := json.loads(row.payload)).get("event", "").startswith("downlink_")
    ]
    ends = Counter(event["downlink_id"] for event in events if not event["will_retry"])
    assert len(world.queued) > 100
    assert ends == dict.fromkeys(world.queued, 1)
    for device in (*world.nodes, *world.signs):
        mine = {
            number: one for number, one in world.queued.items() if one.dev_eui == device.dev_eui
        }
        assert mine
        contents = {one.frm_payload for one in mine.values()}
        assert set(device.delivered) <= contents
        acknowledged = {
            mine[event["downlink_id"]].frm_payload
            for event in events
            if event["downlink_id"] in mine and event["event"] == "downlink_acknowledged"
        }
        assert acknowledged <= set(device.delivered)
        assert network.memory.queue.of_device(device.dev_eui) == ()
    assert {event["event"] for event in events} >= {
        "downlink_sent",
        "downlink_acknowledged",
        "downlink_expired",
        "downlink_unacknowledged",
    }


def both_ends_agree(world):
    for node in world.nodes:
        session = node.session
        assert session.joined
        # Besides, there may be one whose accept the device has not heard.
        (known,) = (
            one
            for one in world.network.memory.sessions.of_device(node.dev_eui)
            if one.dev_addr == session.dev_addr
        )
        state = known.mac
        assert known.dev_addr == session.dev_addr
        assert known.f_cnt_up == session.f_cnt_up - 1
        assert known.f_cnt_down >= session.f_cnt_down
        assert state.pending == ()
        assert (session.dr, session.tx_power, session.nb_trans) == (
            state.dr,
            state.tx_power,
            state.nb_trans,
        )
        assert (session.ch_mask, world.plan.mask) == (state.channels, state.channels)
        assert (session.rx_delay_s, session.rx1_dr_offset, session.rx2_dr, session.rx2_hz) == (
            state.rx1_delay_s,
            state.rx1_dr_offset,
            state.rx2_dr,
            state.rx2_hz,
        )
        for index, up_hz in enumerate(state.channels_hz):
            if up_hz:
                assert channels.channel(session, world.region, index)[0] == up_hz
        assert state.battery == node.mac.battery


@pytest.mark.parametrize(
    ("region_name", "seed"), [("EU868", 1), ("EU868", 2), ("EU868", 3), ("US915", 4), ("US915", 5)]
)
def test_whatever_happens(tmp_path, region_name, seed):
    world = street(tmp_path, region_name, seed)
    no_uplink_is_taken_twice(world)
    no_counter_is_used_for_two_downlinks(world)
    no_nonce_is_answered_twice(world)
    every_downlink_has_one_end(world)
    both_ends_agree(world)
    assert sum(node.joins for node in world.nodes) > len(JOINING)


def reads_the_accepts(oracle, world):
    """Check every join-accept, and the keys of the session that it begins; return how many."""
    begun = {}
    for record in world.network.records:
        for nonce in record.nonces:
            (session,) = record.sessions
            begun[session.dev_addr] = (nonce, session)
    count = 0
    for _, order in world.emitted:
        if isinstance(frames.parse(order.phy_payload), frames.DataFrame):
            continue
        accept = oracle(
            "decode_join_accept", phy_payload=order.phy_payload.hex(), app_key=APP_KEY.hex()
        )
        assert accept.pop("mic_valid")
        nonce, session = begun[int(accept["dev_addr"], 16)]
        assert session.dev_eui == nonce.dev_eui == order.dev_eui
        aim = world.network.target
        assert accept == {
            "app_nonce": f"{nonce.app_nonce:06x}",
            "net_id": "000013",
            "dev_addr": f"{session.dev_addr:08x}",
            "rx1_dr_offset": aim.rx1_dr_offset,
            "rx2_dr": aim.rx2_dr,
            "rx_delay_s": aim.rx1_delay_s,
            "cf_list": world.plan.cf_list.hex(),
            "frequencies": accept["frequencies"],
        }
        if not world.region.has_fixed_channels:
            assert [int(step, 16) * 100 for step in accept["frequencies"]] == [
                channel.freq_hz for channel in world.plan.channels[3:]
            ]
        assert oracle(
            "session_keys",
            app_key=APP_KEY.hex(),
            net_id="000013",
            app_nonce=accept["app_nonce"],
            dev_nonce=f"{nonce.dev_nonce:04x}",
        ) == {"nwk_s_key": session.nwk_s_key.hex(), "app_s_key": session.app_s_key.hex()}
        count += 1
    return count


def reads_the_data(oracle, world):
    """Check every data frame; return what they carried."""
    contents = {(one.dev_eui, one.frm_payload): one for one in world.queued.values()}
    carried = Counter()
    for row, f_cnt, order in data_frames(world):
        keys = {"nwk_s_key": row.nwk_s_key.hex(), "app_s_key": row.app_s_key.hex()}
        phy_payload = order.phy_payload.hex()
        frame = oracle("decode_data", phy_payload=phy_payload, f_cnt=f_cnt, **keys)
        assert frame["mic_valid"]
        assert (frame["direction"], frame["dev_addr"]) == ("down", f"{row.dev_addr:08x}")
        assert frame["f_cnt"] == f_cnt
        assert not frame["adr_ack_req"]
        assert row.dev_eui == order.dev_eui
        payload, f_opts = (bytes.fromhex(frame[name]) for name in ("payload", "f_opts"))
        assert len(payload) + len(f_opts) <= world.region.max_payload(order.window.dr)
        requests, rest = mc.decode(DOWN, f_opts)
        assert not rest
        carried.update(cid for cid, *_ in requests)
        if frame["f_port"] is None:
            assert not frame["confirmed"]
        else:
            queued = contents[row.dev_eui, payload]
            assert (frame["f_port"], frame["confirmed"]) == (queued.f_port, queued.confirmed)
            carried["payload"] += 1
        carried["ack"] += frame["ack"]
        carried["pending"] += frame["f_pending"]
        again = oracle(
            "encode_data",
            **{name: frame[name] for name in frame if name not in ("mic_valid", "direction")},
            **keys,
        )
        assert again["phy_payload"] == phy_payload
    return carried


@pytest.mark.parametrize(("region_name", "seed"), [("EU868", 6), ("US915", 7)])
def test_lora_packet_reads_every_frame_that_the_server_emits(tmp_path, region_name, seed):
    world = street(tmp_path, region_name, seed)
    with opened() as oracle:
        assert reads_the_accepts(oracle, world) > len(JOINING)
        carried = reads_the_data(oracle, world)
    assert min(carried[what] for what in ("payload", "ack", "pending", mc.LINK_ADR)) > 10
    assert carried[mc.DEV_STATUS] > 5


@pytest.mark.parametrize(("region_name", "adr", "seed"), [("EU868", True, 8), ("US915", False, 9)])
def test_session_that_the_server_has_lost_is_begun_anew(tmp_path, region_name, adr, seed):
    world = World(tmp_path, CONFIG, wanted(region_name), seed)
    lost, other = (Node(world, eui, APP_KEY, every_ms=15 * MINUTE_MS) for eui in JOINING[:2])
    lost.mac.adr = other.mac.adr = adr
    world.air = Air(loss=0.1)
    world.run(12 * HOUR_MS)
    before = lost.session.dev_addr, other.session.dev_addr
    joins = lost.joins, other.joins
    world.network.connection.execute(
        "DELETE FROM device_session WHERE dev_eui = ?", (lost.dev_eui,)
    )
    world.cut()
    heard = len(recorded(world))
    world.run(7 * 24 * HOUR_MS)
    assert lost.session.dev_addr != before[0]
    (known,) = world.network.memory.sessions.of_device(lost.dev_eui)
    assert known.dev_addr == lost.session.dev_addr
    after = [row for row in recorded(world)[heard:] if row.dev_eui == lost.dev_eui]
    # Well before the week is over it is heard again, and goes on being heard.
    assert len(after) > 100
    assert {row.frm_payload for row in after} <= set(lost.sent)
    assert joins == (lost.joins, other.joins)  # none was a JOIN of the application's
    assert other.session.dev_addr == before[1]  # whoever is answered keeps its session
