"""The certification protocol on fPort 224: octets of TS009-1.0.0, as test harnesses send them."""

from dual_mac import answered, joined, kinds, send
from stoep_firmware import mac as m
from stoep_firmware.certification import Certification
from stoep_protocol.lorawan import mac_commands as mc

PORT = 224


def device(**options):
    mac, network = joined(**options)
    mac.certification = Certification(mac, (1, 2, 3))
    return mac, network


def told(mac, network, now_ms, data, f_port=PORT):
    answered(mac, network, now_ms, f_port=f_port, data=data)
    return mac.certification and mac.certification.next_uplink()


def test_commands_that_are_answered():
    for request, answer in (
        (b"\x00", b"\x00\x06\x01"),
        (b"\x7f", b"\x7f\x01\x02\x03\x00\x01\x00\x04\x00\x01\x00\x03\x00"),
        (b"\x08\x01\x02\xff", b"\x08\x02\x03\x00"),
        (b"\x08", b"\x08"),
        (b"\x09", b"\x09\x01\x00"),
    ):
        mac, network = device()
        assert told(mac, network, 100_000, request) == (PORT, answer, False)
        assert mac.certification.next_uplink() is None
        transmit, _ = send(mac, 200_000, PORT, answer)
        assert network.open(transmit[5])[1] == answer


def test_downlinks_are_counted_but_not_those_of_the_mac():
    mac, network = device()
    for number in range(1, 300):
        told(mac, network, 100_000 * number, b"x", f_port=13)
    answered(mac, network, 100_000_000, f_port=0, data=mc.encode(1, ((mc.DEV_STATUS,),)))
    answered(mac, network, 110_000_000)
    answered(mac, network, 120_000_000, confirmed=True, ack=True)
    assert told(mac, network, 130_000_000, b"\x09")[1] == b"\x09" + (301).to_bytes(2, "little")
    mac.certification.heard(None, b"", False)
    for _ in range(65_536 - 301):
        mac.certification.heard(13, b"x", False)
    assert told(mac, network, 135_000_000, b"\x09")[1] == b"\x09\x01\x00"
    assert told(mac, network, 140_000_000, b"\x0a") is None
    assert told(mac, network, 150_000_000, b"\x09")[1] == b"\x09\x01\x00"


def test_commands_that_change_the_device():
    mac, network = device()
    certification = mac.certification
    assert (certification.interval_ms, certification.frames) == (0, None)
    told(mac, network, 100_000, b"\x06\x01")
    assert certification.interval_ms == 5_000
    told(mac, network, 200_000, b"\x06\x0a")
    assert certification.interval_ms == 480_000
    told(mac, network, 300_000, b"\x06\x0b")
    assert certification.interval_ms == 480_000
    told(mac, network, 400_000, b"\x06\x00")
    assert certification.interval_ms == 0
    told(mac, network, 500_000, b"\x07\x02")
    assert certification.frames is True
    assert told(mac, network, 600_000, b"\x00") == (PORT, b"\x00\x06\x01", True)
    told(mac, network, 700_000, b"\x07\x01")
    assert certification.frames is False
    told(mac, network, 800_000, b"\x07\x00")  # no change
    assert certification.frames is False
    told(mac, network, 900_000, b"\x04\x01")
    assert network.open(send(mac, 1_000_000)[0][5])[0].adr
    told(mac, network, 1_100_000, b"\x04\x00")
    assert not network.open(send(mac, 1_200_000)[0][5])[0].adr
    assert (certification.reset, certification.rejoin) == (False, False)
    told(mac, network, 1_300_000, b"\x01")
    told(mac, network, 1_400_000, b"\x02")
    assert (certification.reset, certification.rejoin) == (True, True)


def test_duty_cycle_is_left_to_the_harness_and_taken_back():
    mac, network = device()
    mac.session.dr = 0
    told(mac, network, 100_000, b"\x05\x00")
    for second in range(10):
        mac.certification.next_uplink()
        send(mac, 110_000 + 5_000 * second)
    told(mac, network, 160_000, b"\x05\x01")
    mac.session.band_until_ms = [0] * len(mac.region.sub_bands)
    for second in range(2):  # as many as there are sub-bands in use
        mac.certification.next_uplink()
        send(mac, 170_000 + 5_000 * second)
    mac.certification.next_uplink()
    actions = mac.handle((m.SEND, 10, b"x", False), 180_000)
    assert (kinds(actions), actions[0][1]) == ([m.DONE], m.BUSY)


def test_mac_requests_of_the_harness_are_sent():
    mac, network = device()
    told(mac, network, 100_000, b"\x20")
    told(mac, network, 200_000, b"\x21")
    frame, _ = network.open(send(mac, 300_000)[0][5])
    assert mc.decode(0, frame.f_opts) == (((mc.LINK_CHECK,), (mc.DEVICE_TIME,)), b"")


def test_class_b_carriers_and_nonsense_change_nothing():
    mac, network = device()
    certification = mac.certification

    def state():
        return (mac.adr, certification.interval_ms, certification.frames, certification.reset)

    before = state()
    now_ms = 100_000
    for data in (
        b"\x03\x01",
        b"\x03\x02",
        b"\x22\x07",
        b"\x40",
        b"\x7d\x08\x00\xd8\xb2\x83\x0e",
        b"\x04",
        b"\x06",
        b"\x55\x01",
        b"",
    ):
        assert told(mac, network, now_ms, data) is None
        assert state() == before
        assert not certification.rejoin
        now_ms += 100_000
    assert mac.state == m.IDLE


def test_port_is_closed_when_the_harness_says_so():
    mac, network = device()
    told(mac, network, 100_000, b"\x7e")
    assert mac.certification is None
    _, actions = answered(mac, network, 200_000, f_port=PORT, data=b"\x00")
    assert kinds(actions) == [m.SAVE, m.DELIVER, m.DONE]


def test_answer_is_no_longer_than_there_is_room():
    mac, network = device()
    told(mac, network, 100_000, b"\x08" + bytes(200))
    mac.session.dr = 0
    mac.certification.heard(PORT, b"\x08" + bytes(200), False)
    assert mac.certification.next_uplink() == (PORT, b"\x08" + b"\x01" * 50, False)
    mac.room = lambda: 11
    mac.certification.heard(PORT, b"\x7f", False)
    assert mac.certification.next_uplink() is None
