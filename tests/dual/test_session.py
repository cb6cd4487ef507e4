"""The session as octets, and what a power loss does to it."""

from stoep_firmware import session as s


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
    session.sticky = b"\x05\x07\x08"
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


def test_power_loss_does_not_forget_an_answer_that_the_network_has_to_hear():
    # It sends where the device no longer listens until it has heard RXParamSetupAns.
    again = s.Session()
    again.unpack(filled_session().pack())
    assert again.sticky == b"\x05\x07\x08"
    assert again.answers == b""
