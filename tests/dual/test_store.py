"""What survives sleep, reset and power cuts: records and the store."""

from binascii import crc32

from dual_device import Files
from stoep_firmware import store as s
from stoep_firmware.session import Session


class Rtc:
    def __init__(self):
        self.data = b""

    def memory(self, data=None):
        if data is not None:
            self.data = data
        return self.data


def test_record_gives_its_sections_back():
    for sections in ([], [b""], [b"a", b"", b"x" * 300]):
        assert s.parse_record(s.make_record(7, sections)) == sections


def test_damaged_record_is_none():
    record = s.make_record(7, [b"abc", b"de"])
    for length in range(len(record)):
        assert s.parse_record(record[:length]) is None
    for at in range(len(record)):
        damaged = record[:at] + bytes([record[at] ^ 0x10]) + record[at + 1 :]
        assert s.parse_record(damaged) is None, at
    assert s.parse_record(record + b"\0") is None


def test_store_writes_records_in_turn_and_reads_the_newest():
    files = Files()
    store = s.Store(Rtc().memory, files)
    assert store.load_storage() is None
    for number in range(5):
        store.save_storage([b"%d" % number])
        assert s.Store(Rtc().memory, files).load_storage() == [b"%d" % number]
    assert sorted(files.content) == ["session.0", "session.1"]


def test_cut_in_the_middle_of_a_write_leaves_the_older_record():
    for cut in (0, 1, 10, 16):
        files = Files()
        store = s.Store(Rtc().memory, files)
        for number in range(4):
            store.save_storage([b"%d" % number])
        before = dict(files.content)
        store.save_storage([b"torn"])
        torn = [name for name in before if before[name] != files.content[name]]
        assert len(torn) == 1
        files.content[torn[0]] = files.content[torn[0]][:cut]
        again = s.Store(Rtc().memory, files)
        assert again.load_storage() == [b"3"]
        # And the next write replaces the torn one, not the sound one.
        again.save_storage([b"next"])
        files.content[torn[0]] = b""
        assert s.Store(Rtc().memory, files).load_storage() == [b"3"]


def test_failed_write_keeps_the_newest_record():
    files = Files()
    store = s.Store(Rtc().memory, files)
    store.save_storage([b"0"])
    files.broken = True
    try:
        store.save_storage([b"1"])
        raise AssertionError("no error")
    except OSError:
        pass
    files.broken = False
    assert s.Store(Rtc().memory, files).load_storage() == [b"0"]
    store.save_storage([b"2"])
    assert s.Store(Rtc().memory, files).load_storage() == [b"2"]


def test_strikes_are_counted_until_a_start_ends_well():
    rtc = Rtc()
    for strikes in [0, 1, 2, 3]:
        assert s.Store(rtc.memory, Files()).begin() == strikes
    store = s.Store(rtc.memory, Files())
    assert store.begin() == 4
    assert store.save_rtc([b"kept"])
    assert s.Store(rtc.memory, Files()).begin() == 5
    assert s.Store(rtc.memory, Files()).load_rtc() == [b"kept"]
    store = s.Store(rtc.memory, Files())
    store.begin()
    store.end(0)
    assert s.Store(rtc.memory, Files()).load_rtc() == [b"kept"]
    assert s.Store(rtc.memory, Files()).begin() == 0
    rtc.data = b""
    assert s.Store(rtc.memory, Files()).begin() == 0
    for _ in range(40):
        s.Store(rtc.memory, Files()).begin()
    assert s.Store(rtc.memory, Files()).begin() == 15


def test_start_knows_what_the_one_before_was_at():
    rtc = Rtc()
    first = s.Store(rtc.memory, Files())
    first.begin()
    first.save_rtc([b"kept"])
    first.mark(2)
    first.save_rtc([b"kept on"])
    second = s.Store(rtc.memory, Files())
    assert (second.begin(), second.marked) == (1, 2)
    assert second.load_rtc() == [b"kept on"]
    second.end(2)
    third = s.Store(rtc.memory, Files())
    assert (third.begin(), third.marked) == (2, 0)


def test_strikes_change_no_octet_of_the_record():
    # So a reset in the middle of counting them cannot damage it.
    rtc = Rtc()
    s.Store(rtc.memory, Files()).save_rtc([b"kept"])
    record = rtc.data[2:]
    store = s.Store(rtc.memory, Files())
    store.begin()
    assert rtc.data[2:] == record
    store.end(0)
    assert rtc.data[2:] == record


def test_rtc_memory_of_a_firmware_without_strikes_is_read():
    record = s.make_record(0, [b"kept"])
    rtc = Rtc()
    rtc.data = record
    store = s.Store(rtc.memory, Files())
    assert store.load_rtc() == [b"kept"]
    assert store.begin() == 0
    assert store.load_rtc() == [b"kept"]


def test_rtc_memory_filled_with_anything_is_a_power_loss():
    for octet in range(256):
        rtc = Rtc()
        rtc.data = bytes([octet]) * 2048
        store = s.Store(rtc.memory, Files())
        store.begin()
        assert store.load_rtc() is None
        assert store.save_rtc([b"kept"])
        assert s.Store(rtc.memory, Files()).load_rtc() == [b"kept"]
        assert len(rtc.data) <= 2048


def test_what_rtc_memory_cannot_hold_leaves_nothing_that_is_outdated():
    rtc = Rtc()
    store = s.Store(rtc.memory, Files())
    store.begin()
    longest = s.RTC_SIZE - 2 - len(s.make_record(0, [b""]))
    assert store.save_rtc([bytes(longest)])
    assert len(rtc.data) == s.RTC_SIZE
    assert not store.save_rtc([bytes(longest + 1)])
    again = s.Store(rtc.memory, Files())
    assert again.load_rtc() is None
    assert again.begin() == 1


def test_what_is_owed_to_storage_is_owed_after_a_reset():
    rtc = Rtc()
    files = Files()
    store = s.Store(rtc.memory, files)
    store.owing = True
    store.save_rtc([b"new"])
    store = s.Store(rtc.memory, files)  # a reset before storage was written
    assert store.load_rtc() == [b"new"]
    assert store.owing
    files.broken = True
    try:
        store.save_storage([b"new"])
        raise AssertionError("no error")
    except OSError:
        pass
    assert store.owing
    files.broken = False
    store.save_storage([b"new"])
    assert not store.owing
    store.save_rtc([b"new"])
    store = s.Store(rtc.memory, files)
    store.load_rtc()
    assert not store.owing


def test_a_reset_before_rtc_memory_knows_of_the_newest_record_does_not_overwrite_that():
    files = Files()
    rtc = Rtc()
    store = s.Store(rtc.memory, files)
    store.save_storage([b"0"])
    store.save_rtc([b"0"])
    store.save_storage([b"1"])
    woken = s.Store(rtc.memory, files)
    woken.load_rtc()
    newest = dict(files.content)
    woken.save_storage([b"2"])
    kept = [name for name in newest if newest[name] == files.content[name]]
    assert [s.parse_record(files.content[name]) for name in kept] == [[b"1"]]


def other_layout(number, sections):
    record = b"SW1" + s.make_record(number, sections)[len(s.LAYOUT) : -4]
    return record + crc32(record).to_bytes(4, "little")


def test_a_record_of_another_layout_gives_its_dev_nonce_only():
    session = Session()
    for newest in (0, 1):
        files = Files()
        rtc = Rtc()
        for number in (6 + newest, 7 + newest):
            session.dev_nonce = number * 1000
            record = other_layout(number, [session.pack(), b"what"])
            files.content["session.%d" % (number & 1)] = record
        store = s.Store(rtc.memory, files)
        assert store.load_storage() is None
        assert store.dev_nonce() == 7000 + newest * 1000
        # The newest is overwritten last, for a cut may leave but one.
        kept = dict(files.content)
        store.save_storage([b"now"])
        assert files.content["session.%d" % (newest ^ 1)] == kept["session.%d" % (newest ^ 1)]
        assert s.Store(rtc.memory, files).load_storage() == [b"now"]
    session.dev_nonce = 0xFFFF + 1
    rtc.data = b"\xf0\xf0" + other_layout(1, [session.pack()])
    assert s.Store(rtc.memory, Files()).load_rtc() is None
    assert s.Store(rtc.memory, Files()).dev_nonce() == 0x10000


def test_no_record_or_none_that_is_sound_is_a_dev_nonce_of_0():
    files = Files()
    rtc = Rtc()
    assert s.Store(rtc.memory, files).dev_nonce() == 0
    for record in (other_layout(1, []), other_layout(1, [b"abc"]), b"SW", bytes(300), b"\xff" * 30):
        files.content["session.0"] = record
        assert s.Store(rtc.memory, files).dev_nonce() == 0
    damaged = bytearray(other_layout(1, [Session().pack()]))
    damaged[9] ^= 1
    files.content["session.0"] = bytes(damaged)
    assert s.Store(rtc.memory, files).dev_nonce() == 0
