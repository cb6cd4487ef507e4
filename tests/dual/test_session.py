"""What survives sleep, reset and power cuts: records, the session as octets, the store."""

from dual_device import Files
from stoep_firmware import session as s


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


def filled_session():
    session = s.Session()
    session.dev_nonce = 0x10000
    session.joined = 1
    session.dev_addr = 0xFFFFFFFE
    session.nwk_s_key = bytes(range(16))
    session.f_cnt_up = 0xFFFFFFFF
    session.ch_mask = (1 << 72) - 1
    session.channels = [(868100000, 868100000, 0x50), (0, 0, 0), (867100000, 869525000, 0x66)]
    session.join_until_ms = -5
    session.retry_at_ms = 1 << 45
    session.margin_db = -20
    session.band_until_ms = [0, 1 << 45, 3]
    session.answers = b"\x06\xff\x00"
    session.kept = bytes(64)
    return session


def attributes(session):
    return {name: getattr(session, name) for name in dir(session) if name[0] != "_"}


def plain(session):
    values = attributes(session)
    return {name: values[name] for name in values if not callable(values[name])}


def test_session_as_octets_loses_nothing():
    session = filled_session()
    again = s.Session()
    again.unpack(session.pack())
    again.unpack_volatile(session.pack_volatile())
    assert plain(again) == plain(session)
    assert plain(again) != plain(s.Session())


def test_power_loss_skips_to_the_stored_bound():
    session = s.Session()
    session.f_cnt_up = 5
    session.f_cnt_limit = 32
    again = s.Session()
    again.unpack(session.pack())
    again.skip_ahead()
    assert again.f_cnt_up == 32


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
