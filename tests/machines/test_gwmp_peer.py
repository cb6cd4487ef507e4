"""The GWMP server and PyPI ``pamoja-gateway``: each reads what the other writes."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pamoja import gateway as pamoja
from pamoja.gateway import Crc, Packet, PacketKind, Rxpk, Stat, TxStatus
from pamoja.lora import link as lora_link
from stoep_gateway.forwarders.gwmp import DatagramReceived, GatewayStat, GwmpServer, SendDatagram
from stoep_gateway.forwarders.links import Link, Links
from stoep_gateway.lns.frames import Rejected, Transmit, Transmitted, UplinkFrame

EUI = bytes.fromhex("b827ebfffe010203")
ADDRESS = ("192.0.2.1", 40001)
UTC_S = 1_792_461_600


def server(gain_dbi: float = 0.0) -> GwmpServer:
    return GwmpServer(Links([Link(EUI, antenna_gain_dbi=gain_dbi)]))


def tell(machine: GwmpServer, kind: PacketKind, token: int = 0x1234, **fields: object) -> list:
    datagram = pamoja.encode(Packet(kind, token, gateway=EUI.hex(), **fields))
    return machine.handle(DatagramReceived(datagram, ADDRESS), 5000)


def read(action: object) -> Packet:
    assert isinstance(action, SendDatagram)
    return pamoja.parse(action.data)


@given(
    payload=st.binary(min_size=1, max_size=255),
    sf=st.integers(7, 12),
    bw_hz=st.sampled_from([125_000, 250_000, 500_000]),
    freq_hz=st.integers(8_631, 8_699).map(lambda it: it * 100_000),
    tmst_us=st.integers(0, 2**32 - 1),
    rssi_dbm=st.integers(-139, 10),
    snr_db=st.integers(-200, 150),
)
def test_a_reception_reads_the_same(payload, sf, bw_hz, freq_hz, tmst_us, rssi_dbm, snr_db):
    heard = Rxpk(
        freq_hz,
        payload,
        link=lora_link(sf, bw_hz),
        crc=Crc.OK,
        rssi_dbm=float(rssi_dbm),
        snr_db=snr_db / 10,
        timestamp_us=tmst_us,
    )
    ack, frame = tell(server(), PacketKind.PUSH_DATA, packets=[heard])
    assert (read(ack).kind, read(ack).token) == (PacketKind.PUSH_ACK, 0x1234)
    assert isinstance(frame, UplinkFrame)
    assert frame == UplinkFrame(
        payload, EUI, tmst_us, freq_hz, sf, bw_hz, rssi_dbm, frame.snr_db, 5000
    )
    assert frame.snr_db == pytest.approx(snr_db / 10)


@pytest.mark.parametrize(("crc", "reason"), [(Crc.FAILED, "rxpk_crc"), (Crc.ABSENT, "rxpk_no_crc")])
def test_a_reception_without_a_correct_checksum(crc, reason):
    heard = Rxpk(868_100_000, b"x", link=lora_link(7, 125_000), crc=crc, snr_db=1.0, timestamp_us=1)
    _, rejected = tell(server(), PacketKind.PUSH_DATA, packets=[heard])
    assert isinstance(rejected, Rejected)
    assert rejected.reason == reason


def test_a_stat_reads_the_same():
    status = Stat(
        time_s=UTC_S, received=9, received_ok=7, forwarded=6, acknowledged_percent=87.5, downlinks=3
    )
    _, stat = tell(server(), PacketKind.PUSH_DATA, status=status)
    assert isinstance(stat, GatewayStat)
    assert stat.stat["time"] == "2026-10-20 02:00:00 GMT"
    assert [stat.stat[name] for name in ("rxnb", "rxok", "rxfw", "ackr", "dwnb")] == [
        9,
        7,
        6,
        87.5,
        3,
    ]


def order(machine: GwmpServer, **changes: object) -> Packet:
    """Let the forwarder ask for downlinks, and return the order that it then reads."""
    (ack,) = tell(machine, PacketKind.PULL_DATA)
    assert (read(ack).kind, read(ack).token) == (PacketKind.PULL_ACK, 0x1234)
    transmit = Transmit(7, EUI, 4_294_000_000, 869_525_000, 12, 125_000, 27, b"\x60down")
    (sent,) = machine.handle(dataclasses.replace(transmit, **changes), 6000)
    return read(sent)


def test_an_order_reads_the_same():
    packet = order(server(gain_dbi=2.15))
    txpk = packet.transmit
    assert packet.kind == PacketKind.PULL_RESP
    assert (txpk.immediate, txpk.timestamp_us) == (False, 4_294_000_000)
    assert (txpk.frequency_hz, txpk.payload) == (869_525_000, b"\x60down")
    assert (txpk.link.spreading_factor, txpk.link.bandwidth_hz, txpk.power_dbm) == (12, 125_000, 24)
    assert (txpk.invert_polarity, txpk.without_crc, txpk.preamble_symbols) == (True, True, 8)


def test_an_order_for_class_c_reads_as_one_for_now():
    txpk = order(server(), at_once=True).transmit
    assert (txpk.immediate, txpk.timestamp_us) == (True, None)


@pytest.mark.parametrize("status", list(TxStatus))
def test_what_became_of_an_order_reads_the_same(status):
    machine = server()
    token = order(machine).token
    (transmitted,) = tell(machine, PacketKind.TX_ACK, token, tx_status=status)
    expected = "" if status is TxStatus.NONE else str(status.value)
    assert isinstance(transmitted, Transmitted)
    assert expected in (transmitted.error, transmitted.warning)
