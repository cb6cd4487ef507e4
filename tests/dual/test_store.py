"""What survives sleep, reset and power cuts: records and the store."""

from dual_device import Files
from stoep_firmware import store as s


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


def test_generation_goes_on_after_deep_sleep():
    files = Files()
    rtc = Rtc()
    store = s.Store(rtc.memory, files)
    store.save_storage([b"0"])
    store.save_storage([b"1"])
    store.save_rtc([b"rtc"])
    woken = s.Store(rtc.memory, files)
    assert woken.load_rtc() == [b"rtc"]
    sound = dict(files.content)
    woken.save_storage([b"2"])
    kept = [name for name in sound if sound[name] == files.content[name]]
    assert s.parse_record(files.content[kept[0]]) == [b"1"]


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
