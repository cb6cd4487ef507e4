"""The payload codec on both runtimes: every vector, and whatever bytes may come."""

import json
from binascii import unhexlify

from stoep_protocol import history, messages, reports, schema
from stoep_protocol.calibration import Calibrate, Calibrated
from stoep_protocol.errors import DecodeError, EncodeError
from stoep_protocol.messages import (
    BayReport,
    BinReport,
    Configuration,
    ConfigurationAck,
    Status,
    decode,
    encode,
    fit,
    split,
)
from stoep_protocol.requests import ReadingsRequest

with open(__file__.rsplit("/", 2)[0] + "/vectors/payload.json") as file:
    VECTORS = json.load(file)

TYPES = {
    "bin": BinReport,
    "bay": BayReport,
    "status": Status,
    "configuration": Configuration,
    "configuration_ack": ConfigurationAck,
    "readings_request": ReadingsRequest,
    "calibrate": Calibrate,
    "calibrated": Calibrated,
}


def octets(vector):
    return unhexlify(vector["hex"].replace(" ", ""))


def made(plain):
    """The message of a vector."""
    fields = dict(plain)
    kind = TYPES[fields.pop("type")]
    if kind is BinReport:
        fields["history"] = tuple(
            [(r["age_min"], r["distance_mm"], r["quality"]) for r in fields["history"]]
        )
    if kind is Calibrated:
        fields["values"] = tuple(fields["values"])
    if kind is Status:
        fields["errors"] = tuple(fields["errors"])
        if fields["firmware"]:
            fields["firmware"] = tuple(fields["firmware"])
    return kind(**fields)


def refused(call, *arguments):
    try:
        call(*arguments)
    except EncodeError:
        return True
    return False


class Numbers:
    """Numbers that look random and are the same on both runtimes (xorshift, 32 bits)."""

    def __init__(self, seed):
        self.state = seed

    def below(self, limit):
        x = self.state
        x ^= x << 13 & 0xFFFFFFFF
        x ^= x >> 17
        x ^= x << 5 & 0xFFFFFFFF
        self.state = x
        return x % limit


def test_every_vector_decodes_to_its_message_and_encodes_to_its_bytes():
    assert len(VECTORS["vectors"]) > 40
    for vector in VECTORS["vectors"]:
        message = made(vector["message"])
        assert decode(vector["f_port"], octets(vector)) == message, vector["id"]
        assert encode(message) == (vector["f_port"], octets(vector)), vector["id"]


def test_every_malformed_vector_is_refused_with_its_code():
    assert len(VECTORS["malformed"]) > 80
    for vector in VECTORS["malformed"]:
        code = None
        try:
            decode(vector["f_port"], octets(vector))
        except DecodeError as problem:
            code = problem.code
        assert code == vector["code"], vector["id"]


def test_bytes_that_decode_are_the_one_encoding_and_others_raise_decode_error():
    numbers = Numbers(2)
    originals = [(vector["f_port"], octets(vector)) for vector in VECTORS["vectors"]]
    accepted = 0
    for _ in range(4000):
        f_port, data = originals[numbers.below(len(originals))]
        data = bytearray(data)
        for _ in range(numbers.below(3)):
            data[numbers.below(len(data))] ^= 1 << numbers.below(8)
        if not numbers.below(4):
            data = data[: numbers.below(len(data) + 1)]
        try:
            message = decode(f_port, data)
        except DecodeError:
            continue
        accepted += 1
        assert encode(message) == (f_port, bytes(data))
    assert accepted > 1000


def test_values_out_of_range_are_not_encoded():
    for wrong in (
        BinReport(65536, 100),
        BinReport(-1, 100),
        BinReport(0, 10001),
        BinReport(0, -1),
        BinReport(0, 100, 5),
        BinReport(0, 100, 0, 256),
        BinReport(0, 100, temperature_c=86),
        BinReport(0, 100, temperature_c=-41),
        BinReport(0, 100, flaps=256),
        BinReport(0, 100, age_min=65536),
        BinReport(0, 100, temperature_c=20, age_min=1),
        BinReport(0, 100, flaps=0, age_min=1),
        BinReport(0, 100, history=((60, 10001, 0),)),
        BinReport(0, 100, history=((60, -9, 0),)),
        BinReport(0, 100, history=((60, 100, 5),)),
        BinReport(0, 100, history=((60, 100, 0), (59, 100, 0))),
        BinReport(0, 100, history=((3072, 100, 0),)),
        BinReport(0, 100, history=((60, 100, 0),), age_min=61),
        BinReport(0, 100, history=((65536, 100, 0),), age_min=65535),
        BinReport(0, 100, history=tuple([(i, 100, 0) for i in range(25)])),
        ReadingsRequest(1024, 1),
        ReadingsRequest(-1, 1),
        ReadingsRequest(0, 0),
        ReadingsRequest(0, 25),
        Calibrate(3),
        Calibrate(-1),
        Calibrate(2, 0),
        Calibrate(2, 1001),
        Calibrated(3, 0),
        Calibrated(0, 8),
        Calibrated(0, -1),
        Calibrated(2, 0, (0x10000,)),
        Calibrated(2, 0, (-1,)),
        Calibrated(2, 0, (1, None)),
        Calibrated(2, 0, (1, 2, 3, 4, 5)),
        BayReport(3, 0),
        BayReport(0, 16384),
        BayReport(0, 0, -1),
        BayReport(0, 0, 0, -1),
        BayReport(0, 0, flags=16),
        Status(firmware=(16, 0, 0)),
        Status(firmware=(0, 64, 0)),
        Status(firmware=(0, 0, -1)),
        Status(hardware=256),
        Status(charge_used_mah=65536),
        Status(battery_mv=-1),
        Status(reset_reason=16),
        Status(calibration=4),
        Status(link_margin_db=128),
        Status(errors=(256,)),
        Status(errors=(-1,)),
        Status(errors=(1,) * 17),
        Configuration(interval_min=0),
        Configuration(interval_min=31),
        Configuration(interval_min=2160),
        Configuration(mode=3),
        Configuration(history=25),
        ConfigurationAck(65536),
        ConfigurationAck(0, 256),
        messages.Message(),
    ):
        assert refused(encode, wrong), wrong


def test_sequence_numbers_travel_modulo_1024_and_come_back_in_full():
    for full in (0, 1, 1023, 1024, 5000, 65535):
        report = decode(*encode(BinReport(full, None)))
        assert report.sequence == full % 1024
        for behind in (0, 1, 400, 511):
            if behind <= full:
                assert reports.full_sequence(full - behind, report.sequence) == full
                assert reports.full_sequence(full + behind, report.sequence) == full
    # After 2000 lost readings, 30 more or fewer than the elapsed time suggests.
    assert reports.full_sequence(100, 2100 % 1024, 1970) == 2100
    assert reports.full_sequence(100, 2100 % 1024, 2030) == 2100
    # A number below zero would be none: what looks like one is ahead of a young device.
    assert reports.full_sequence(0, 700) == 700
    assert reports.full_sequence(3, 1020) == 1020


def test_readings_are_numbered_backwards_from_the_newest():
    report = BinReport(7, 1000, 4, history=((60, 990, 3), (120, None, 0)))
    assert reports.readings(report, 2055) == [
        (2055, 0, 1000, 4),
        (2054, 60, 990, 3),
        (2053, 120, None, 0),
    ]


def test_durations_are_coded_to_three_percent_and_stay_what_they_are():
    last = -1
    seconds = 0
    while seconds < 2_000_000:
        code = messages.duration_code(seconds)
        back = reports.duration_s(code)
        assert code >= last
        assert abs(back - seconds) <= max(2, (seconds + 31) // 32)
        assert messages.duration_code(back) == code
        last = code
        seconds += 1 + seconds // 97
    assert [messages.duration_code(s) for s in (0, 1, 2, 5, 6, 126, 128)] == [0, 0, 1, 1, 2, 32, 32]
    assert messages.duration_code(1_966_080) == 254
    assert messages.duration_code(0x7FFFFFFF) == 254
    assert [messages.duration_code(reports.duration_s(c)) for c in range(255)] == list(range(255))


def test_gap_codes_name_each_interval_once():
    minutes = [history.gap_min(code) for code in range(1, 64)]
    assert minutes == sorted(set(minutes))
    for usual in (1, 5, 10, 15, 20, 30, 45, 60, 120, 180, 240, 360, 480, 720, 1440):
        assert usual in minutes
    assert [history.gap_code(m) for m in minutes] == list(range(1, 64))
    assert history.gap_code(0) == history.gap_code(61) == history.gap_code(3071) == 0


def test_fit_keeps_as_much_history_as_there_is_room_for():
    past = tuple([(60 * i, 1000 + 10 * i, 4) for i in range(1, 25)])
    report = BinReport(5000, 1004, 4, 0, 21, 3, past)
    assert fit(report, 51) is report
    sizes = []
    for room in range(9, 40):
        short = fit(report, room)
        size = len(encode(short)[1])
        assert size <= room
        taken = len(short.history)
        assert short.history == past[:taken]
        if taken < 24:
            longer = BinReport(5000, 1004, 4, 0, 21, 3, past[: taken + 1])
            assert len(encode(longer)[1]) > room
        sizes.append(taken)
    assert sizes[0] == 0
    assert sizes[-1] == 24
    assert fit(report, 8) == BinReport(5000, 1004, 4, 0, 21)
    assert refused(fit, report, 7)
    alarm = BinReport(5000, 9999, 4, schema.FIRE, 85, 255, past)
    assert fit(alarm, 13) == BinReport(5000, 9999, 4, schema.FIRE, 85, 255)
    assert fit(alarm, 11) == BinReport(5000, 9999, 4, schema.FIRE, 85)
    assert alarm.flaps == 255
    assert refused(fit, alarm, 10)
    late = BinReport(5000, 9999, 4, schema.FIRE | schema.ECHO_WEAK, age_min=65535)
    assert fit(late, 12) is late
    assert fit(late, 11) == BinReport(5000, 9999, 4, schema.ECHO_WEAK, age_min=65535)
    assert refused(fit, BayReport(1, 100), 5)


def test_fit_and_split_end_a_history_where_it_cannot_go_on():
    past = ((60, 1000, 4), (3132, 990, 4), (3192, 980, 4))
    report = BinReport(70, 1010, 4, history=past)
    assert fit(report, 51).history == past[:1]
    assert split(report, 51) == [
        BinReport(70, 1010, 4, history=past[:1]),
        BinReport(68, 990, 4, history=past[2:], age_min=3132),
    ]


def test_split_says_everything_in_eleven_bytes_each():
    past = tuple([(61 * i, (1234 * i) % 9999, i % 5) for i in range(1, 25)])
    report = BinReport(5, 9999, 4, 7, 85, 255, past)
    listed = []
    newest = 5
    for part in split(report, 11):
        f_port, data = encode(part)
        assert len(data) <= 11
        back = decode(f_port, data)
        newest = reports.full_sequence(1029, back.sequence)
        listed.extend(reports.readings(back, newest))
    assert [entry[0] for entry in listed] == list(range(1029, 1004, -1))
    assert [entry[1:] for entry in listed[1:]] == [
        (age, (mm + 5) // 10 * 10, quality) for age, mm, quality in past
    ]


def test_split_status_into_eleven_bytes_each():
    status = Status((15, 63, 63), 255, 65535, 65535, 15, tuple(range(16)), -128, 3)
    parts = split(status, 11)
    assert [part for part in parts if len(encode(part)[1]) > 11] == []
    together = Status()
    for part in parts:
        for name in Status.__slots__:
            value = getattr(part, name)
            if name == "errors":
                together.errors += value
            elif value is not None:
                assert getattr(together, name) is None
                setattr(together, name, value)
    assert together == status
    assert split(status, 51) == [status]
    assert refused(split, status, 9)
    assert split(Status(errors=(1,)), 11) == [Status(errors=(1,))]


def test_configuration_hash_is_of_what_is_in_force():
    one = Configuration(60, schema.MODE_BOTH)
    assert messages.config_hash(one) == messages.config_hash(Configuration(60, schema.MODE_BOTH))
    assert messages.config_hash(one) != messages.config_hash(Configuration(60))
    # 82 183c 02 by another CRC-32, that of gzip
    assert messages.config_hash(one) == 0x4BB7


def test_messages_compare_by_type_and_fields_and_show_them():
    assert ConfigurationAck(1) == ConfigurationAck(1)
    assert ConfigurationAck(1) != ConfigurationAck(2)
    assert Status() != Configuration()
    assert Status() != None  # noqa: E711 - the comparison is what is tested
    assert repr(ConfigurationAck(1, 2)) == "ConfigurationAck(config_hash=1, refused=2)"
