"""The LoRaWAN codec on both runtimes, with the AES that each has.

Figures are from tests/vectors/lorawan.json, where each names its source, or worked out by hand
from the sections of the specification that the code cites.
"""

from binascii import hexlify, unhexlify

from stoep_protocol import errors
from stoep_protocol.lorawan import airtime, crypto, frames, mac_commands, network_frames, regions

try:
    import cryptolib

    def new_key(text):
        return crypto.Key(cryptolib.aes(unhexlify(text), 1))

    def new_server_key(text):
        return crypto.Key(TwoWay(unhexlify(text)))

    class TwoWay:
        """One `cryptolib.aes` works in one direction only; a server's key needs both."""

        def __init__(self, key):
            self.encrypt = cryptolib.aes(key, 1).encrypt
            self.decrypt = cryptolib.aes(key, 1).decrypt

except ImportError:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    class TwoWay:
        def __init__(self, key):
            cipher = Cipher(algorithms.AES(key), modes.ECB())
            self.encrypt = cipher.encryptor().update
            self.decrypt = cipher.decryptor().update

    def new_key(text):
        return crypto.Key(TwoWay(unhexlify(text)))

    new_server_key = new_key

UP = crypto.UP
DOWN = crypto.DOWN
EU868 = regions.EU868
US915 = regions.by_name("US915")
NWK = "44024241ed4ce9a68c6a8bc055233fd3"
APP = "ec925802ae430ca77fd3dd73cb2cc588"


def text(data):
    return hexlify(data).decode()


def code_of(function, *args):
    """Return the code of the DecodeError that a call raises, None if it raises nothing."""
    try:
        function(*args)
    except errors.DecodeError as problem:
        return problem.code
    return None


def refuses(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except errors.EncodeError:
        return True
    return False


# crypto


def test_cmac_of_rfc_4493():
    key = new_key("2b7e151628aed2a6abf7158809cf4f3c")
    message = unhexlify(
        "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"
        "30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
    )
    for length, mac in (
        (0, "bb1d6929e95937287fa37d129b756746"),
        (16, "070a16b46b4d4144f79bdd9dd04a287c"),
        (40, "dfa66747de9ae63030ca32611497c827"),
        (64, "51f0bebf7e3b9d92fc49741779363cfe"),
    ):
        assert text(key.cmac(message[:length])) == mac
    k1, k2 = key.subkeys()
    assert text(k1) == "fbeed618357133667c85e08f7236a8de"
    assert text(k2) == "f7ddac306ae266ccf90bc11ee46d513b"


def test_cipher_is_its_own_inverse_at_every_length():
    key = new_key(APP)
    data = bytes([i * 7 & 255 for i in range(255)])
    whole = crypto.crypt(key, UP, 0xFFFFFFFE, 0xFFFFFFFD, data)
    for length in (0, 1, 15, 16, 17, 31, 32, 33, 51, 222, 242, 255):
        cipher = crypto.crypt(key, UP, 0xFFFFFFFE, 0xFFFFFFFD, data[:length])
        assert cipher == whole[:length]
        assert crypto.crypt(key, UP, 0xFFFFFFFE, 0xFFFFFFFD, cipher) == data[:length]
    leading_zeros = crypto.crypt(key, DOWN, 1, 2, crypto.crypt(key, DOWN, 1, 2, bytes(20)))
    assert leading_zeros == bytes(20)


def test_cipher_and_mic_of_the_things_stack():
    key = new_key("01010101010101010101010101010101")
    assert text(crypto.crypt(key, UP, 0x01020304, 1, b"\1\2\3\4")) == "cff30b4e"
    assert text(crypto.crypt(key, DOWN, 0x01020304, 1, b"\1\2\3\4")) == "4e75f440"
    message = unhexlify("40040302010001000101020304")
    assert text(crypto.data_mic(key, UP, 0x01020304, 1, message)) == "3b073182"
    assert text(crypto.data_mic(key, DOWN, 0x01020304, 1, message)) == "a5609fa9"


def test_session_keys():
    app_key = new_key("98929b92c49edba9676d646d3b612456")
    keys = crypto.derive_session_keys(app_key, 0x376338, 0xAABBCC, 0xF18E)
    assert text(keys[0]) == "4e3d6e6afbcc67af2ba3c8e8ec4acf4b"
    assert text(keys[1]) == "610897aa6f1460623443b527d3ac6a9d"


# data frames


def test_uplink_of_lora_packet_both_ways():
    phy_payload = unhexlify(
        "40f17dbe490004000155332de41a11adc072553544429ce7787707d1c316e027"
        "e7e5e334263376affb8aa17ad30075293f28dea8a20af3c5e7"
    )
    nwk_s_key, app_s_key = new_key(NWK), new_key(APP)
    frame = frames.parse(phy_payload)
    assert isinstance(frame, frames.DataFrame)
    assert frame.m_type == frames.UNCONFIRMED_UP
    assert frame.dev_addr == 0x49BE7DF1
    assert (frame.f_cnt, frame.f_port, frame.f_opts) == (4, 1, b"")
    assert not (frame.adr or frame.ack or frame.adr_ack_req or frame.f_pending or frame.confirmed)
    assert frames.verify(frame, nwk_s_key, 4)
    assert not frames.verify(frame, nwk_s_key, 5)
    assert not frames.verify(frame, nwk_s_key, 4 + 65536)
    assert not frames.verify(frame, app_s_key, 4)
    plain = b"The quick brown fox jumps over the lazy dog."
    assert frames.decrypt_payload(frame, app_s_key, 4) == plain
    again = frames.encode_data(
        frames.UNCONFIRMED_UP, 0x49BE7DF1, 4, nwk_s_key, app_s_key, f_port=1, payload=plain
    )
    assert again == phy_payload


def test_every_flag_is_where_the_specification_has_it():
    keys = (new_key(NWK), new_key(APP))
    up = frames.encode_data(
        frames.CONFIRMED_UP, 1, 2, *keys, adr=True, adr_ack_req=True, ack=True, f_opts=b"\x02"
    )
    assert up[0] == 0x80
    assert up[5] == 0xE1
    frame = frames.parse(up)
    assert frame.adr and frame.adr_ack_req and frame.ack and frame.confirmed
    assert not frame.f_pending
    assert frame.direction == UP
    assert (frame.f_opts, frame.f_port, frame.frm_payload) == (b"\x02", None, b"")
    down = frames.encode_data(
        frames.CONFIRMED_DOWN, 1, 2, *keys, adr=True, ack=True, f_pending=True, f_port=224
    )
    assert down[0] == 0xA0
    assert down[5] == 0xB0
    frame = frames.parse(down)
    assert frame.adr and frame.ack and frame.f_pending and frame.confirmed
    assert not frame.adr_ack_req
    assert frame.direction == DOWN
    assert (frame.f_opts, frame.f_port, frame.frm_payload) == (b"", 224, b"")


def test_counter_above_16_bits_is_part_of_mic_and_cipher():
    keys = (new_key(NWK), new_key(APP))
    frame = frames.parse(
        frames.encode_data(2, 0xFFFFFFFF, 0xFFFF0001, *keys, f_port=10, payload=b"twelve bytes")
    )
    assert frame.f_cnt == 1
    assert frames.verify(frame, keys[0], 0xFFFF0001)
    assert not frames.verify(frame, keys[0], 1)
    assert frames.decrypt_payload(frame, keys[1], 0xFFFF0001) == b"twelve bytes"


def test_port_0_is_encrypted_with_the_network_key():
    nwk_s_key, app_s_key = new_key("01" * 16), new_key("02" * 16)
    phy_payload = unhexlify("40040302010000000069369eee6aa508")
    frame = frames.parse(phy_payload)
    assert frame.f_port == 0
    assert text(frames.decrypt_payload(frame, nwk_s_key, 0)) == "020305"
    again = frames.encode_data(
        2, 0x01020304, 0, nwk_s_key, app_s_key, f_port=0, payload=b"\x02\x03\x05"
    )
    assert again == phy_payload


def test_longest_frame_and_one_more():
    keys = (new_key(NWK), new_key(APP))
    payload = bytes(range(242))
    phy_payload = frames.encode_data(2, 1, 1, *keys, f_port=1, payload=payload)
    assert len(phy_payload) == 255
    frame = frames.parse(phy_payload)
    assert frames.verify(frame, keys[0], 1)
    assert frames.decrypt_payload(frame, keys[1], 1) == payload
    assert refuses(frames.encode_data, 2, 1, 1, *keys, f_port=1, payload=payload + b"!")
    assert code_of(frames.parse, b"\x40" + bytes(255)) == errors.LENGTH


def test_what_is_no_frame():
    assert code_of(frames.parse, b"") == errors.TRUNCATED
    assert code_of(frames.parse, b"\x40" + bytes(10)) == errors.TRUNCATED
    for major in (1, 2, 3):
        assert code_of(frames.parse, bytes((0x40 | major,)) + bytes(11)) == errors.VERSION
    assert code_of(frames.parse, b"\x40\0\0\0\0\x01\0\0\0\0\0\0") == errors.TRUNCATED
    assert code_of(frames.parse, b"\x40\0\0\0\0\x01\0\0\x02\0\0\0\0") is None
    assert code_of(frames.parse, b"\x40\0\0\0\0\x01\0\0\x02\0\0\0\0\0") == errors.F_PORT
    assert code_of(frames.parse, b"\xc0" + bytes(18)) == errors.RESERVED
    assert code_of(frames.parse, b"\xe0" + bytes(18)) == errors.RESERVED
    assert code_of(frames.parse, bytes(22)) == errors.LENGTH
    assert code_of(frames.parse, bytes(24)) == errors.LENGTH
    assert code_of(frames.parse, b"\x20" + bytes(17)) == errors.LENGTH
    # Reserved bits of MHDR: a receiver ignores them, the MIC still covers them.
    frame = frames.parse(b"\x5c" + bytes(11))
    assert frame.m_type == frames.UNCONFIRMED_UP
    assert frame.mic_message[0] == 0x5C


def test_reserved_flags_mean_nothing():
    up = frames.parse(b"\x40\0\0\0\0\x10\0\0\0\0\0\0")  # Class B in an uplink
    down = frames.parse(b"\x60\0\0\0\0\x40\0\0\0\0\0\0")  # reserved in a downlink
    for frame in (up, down):
        assert not (frame.adr or frame.adr_ack_req or frame.ack or frame.f_pending)


def test_what_a_frame_cannot_carry():
    keys = (new_key(NWK), new_key(APP))
    encode = frames.encode_data
    assert refuses(encode, frames.JOIN_REQUEST, 1, 1, *keys)
    assert refuses(encode, 6, 1, 1, *keys)
    assert refuses(encode, 2, 1 << 32, 1, *keys)
    assert refuses(encode, 2, 1, 1 << 32, *keys)
    assert refuses(encode, 2, 1, -1, *keys)
    assert refuses(encode, 2, 1, 1, *keys, f_opts=bytes(16))
    assert refuses(encode, 2, 1, 1, *keys, payload=b"no port")
    assert refuses(encode, 2, 1, 1, *keys, f_port=225)
    assert refuses(encode, 2, 1, 1, *keys, f_port=-1)
    assert refuses(encode, 2, 1, 1, *keys, f_port=0, f_opts=b"\x02", payload=b"\x02")
    assert refuses(encode, 2, 1, 1, *keys, f_pending=True)
    assert refuses(encode, 3, 1, 1, *keys, adr_ack_req=True)


def test_full_counter():
    for expected, low, full in (
        (0, 0, 0),
        (0, 1, 1),
        (1, 1, 1),
        (2, 1, 1),  # the last one again
        (0, 65535, 65535),  # nothing came before 0
        (65536, 0, 65536),
        (65536, 65535, 65535),
        (65537, 0, 65536),
        (65537, 1, 65537),
        (65537, 2, 65538),
        (65537, 65535, 131071),
        (100, 98, 65536 + 98),
        (0xFFFFFFFF, 0, 0),
        (0xFFFFFFFF, 0xFFFE, 0xFFFFFFFE),
    ):
        assert frames.full_f_cnt(expected, low) == full, (expected, low)


# join


def test_join_request():
    app_key = new_key("01" * 16)
    join_eui = dev_eui = unhexlify("0102030405060708")
    phy_payload = network_frames.encode_join_request(app_key, join_eui, dev_eui, 258)
    assert text(phy_payload) == "00080706050403020108070605040302010201e6e10c55"
    request = frames.parse(phy_payload)
    assert isinstance(request, network_frames.JoinRequest)
    assert (request.join_eui, request.dev_eui, request.dev_nonce) == (join_eui, dev_eui, 258)
    assert network_frames.verify_join_request(phy_payload, app_key)
    assert not network_frames.verify_join_request(phy_payload, new_key("02" * 16))
    assert not network_frames.verify_join_request(phy_payload[:-1] + b"\0", app_key)
    assert refuses(network_frames.encode_join_request, app_key, join_eui, dev_eui, 65536)
    assert refuses(network_frames.encode_join_request, app_key, join_eui[1:], dev_eui, 1)


def test_join_accept_from_server_to_device():
    server, device = new_server_key(APP), new_key(APP)
    cf_list = EU868.encode_cf_list(EU868.extra_channels_hz)
    assert text(cf_list) == "184f84e85684b85e84886684586e8400"
    for given, expected in ((b"", ()), (cf_list, EU868.extra_channels_hz)):
        phy_payload = network_frames.encode_join_accept(
            server, 0xFEDCBA, 0x000013, 0x26FFFFFE, 3, 5, 15, given
        )
        assert len(phy_payload) == 17 + len(given)
        assert isinstance(frames.parse(phy_payload), frames.EncryptedJoinAccept)
        accept = network_frames.decode_join_accept(phy_payload, device)
        assert accept.app_nonce == 0xFEDCBA
        assert accept.net_id == 0x000013
        assert accept.dev_addr == 0x26FFFFFE
        assert (accept.rx1_dr_offset, accept.rx2_dr, accept.rx_delay_s) == (3, 5, 15)
        assert EU868.decode_cf_list(accept.cf_list) == expected
        assert code_of(network_frames.decode_join_accept, phy_payload, new_key(NWK)) == errors.MIC
        broken = phy_payload[:-1] + bytes((phy_payload[-1] ^ 1,))
        assert code_of(network_frames.decode_join_accept, broken, device) == errors.MIC


def test_join_accept_of_the_things_stack():
    accept = network_frames.decode_join_accept(
        unhexlify("20c9fbb259e11649096a568a9e3b7117c3"), new_key("01" * 16)
    )
    assert (accept.app_nonce, accept.net_id, accept.dev_addr) == (66051, 0x010203, 0x01020304)
    assert (accept.rx1_dr_offset, accept.rx2_dr, accept.rx_delay_s) == (0, 0, 1)
    assert accept.cf_list == b""


def test_reserved_bits_of_a_join_accept_are_ignored():
    server = new_server_key(APP)
    message = b"\x20" + bytes(10) + b"\xb5\xf7"  # DLSettings with OptNeg of 1.1, RxDelay
    sealed = b"\x20" + server.decrypt(message[1:] + server.cmac(message)[:4])
    accept = network_frames.decode_join_accept(sealed, new_key(APP))
    assert (accept.rx1_dr_offset, accept.rx2_dr, accept.rx_delay_s) == (3, 5, 7)


def test_join_accept_that_is_none():
    key = new_key(APP)
    assert code_of(network_frames.decode_join_accept, b"\x20" + bytes(10), key) == errors.LENGTH
    assert code_of(network_frames.decode_join_accept, bytes(23), key) == errors.RESERVED
    assert code_of(network_frames.decode_join_accept, b"\x60" + bytes(16), key) == errors.RESERVED
    assert code_of(network_frames.decode_join_accept, b"", key) == errors.TRUNCATED
    server = new_server_key(APP)
    encode = network_frames.encode_join_accept
    assert refuses(encode, server, 1 << 24, 0, 0, 0, 0, 1)
    assert refuses(encode, server, 0, 1 << 24, 0, 0, 0, 1)
    assert refuses(encode, server, 0, 0, 1 << 32, 0, 0, 1)
    assert refuses(encode, server, 0, 0, 0, 8, 0, 1)
    assert refuses(encode, server, 0, 0, 0, 0, 16, 1)
    assert refuses(encode, server, 0, 0, 0, 0, 0, 16)
    assert refuses(encode, server, 0, 0, 0, 0, 0, 1, bytes(15))


def test_a_key_that_only_encrypts_makes_no_join_accept():
    class OneWay:
        def encrypt(self, data):
            return bytes(len(data))

    assert refuses(network_frames.encode_join_accept, crypto.Key(OneWay()), 0, 0, 0, 0, 0, 1)


# MAC commands

ALL_UP = (
    ((mac_commands.LINK_CHECK,), "02"),
    ((mac_commands.LINK_ADR, True, True, True), "0307"),
    ((mac_commands.LINK_ADR, True, False, False), "0301"),
    ((mac_commands.DUTY_CYCLE,), "04"),
    ((mac_commands.RX_PARAM_SETUP, True, False, True), "0505"),
    ((mac_commands.DEV_STATUS, 0, -30), "060022"),
    ((mac_commands.DEV_STATUS, 127, -1), "067f3f"),
    ((mac_commands.DEV_STATUS, 255, 31), "06ff1f"),
    ((mac_commands.NEW_CHANNEL, False, True), "0702"),
    ((mac_commands.RX_TIMING,), "08"),
    ((mac_commands.TX_PARAM,), "09"),
    ((mac_commands.DL_CHANNEL, True, True), "0a03"),
    ((mac_commands.DEVICE_TIME,), "0d"),
)
ALL_DOWN = (
    ((mac_commands.LINK_CHECK, 10, 15), "020a0f"),
    ((mac_commands.LINK_ADR, 1, 2, 4, 4, 5), "0312040045"),
    ((mac_commands.DUTY_CYCLE, 13), "040d"),
    ((mac_commands.RX_PARAM_SETUP, 3, 11, 26265700), "053b010204"),
    ((mac_commands.DEV_STATUS,), "06"),
    ((mac_commands.NEW_CHANNEL, 3, 26265700, 10, 5), "07030102045a"),
    ((mac_commands.RX_TIMING, 15), "080f"),
    ((mac_commands.TX_PARAM, True, False, 16), "0925"),
    ((mac_commands.TX_PARAM, False, True, 36), "091f"),
    ((mac_commands.DL_CHANNEL, 0, 868100000), "0a00287684"),
    ((mac_commands.DEVICE_TIME, 0xC0FFEE42, 128), "0d42eeffc080"),
)


def test_each_mac_command_both_ways():
    for direction, table in ((UP, ALL_UP), (DOWN, ALL_DOWN)):
        stream = b""
        for command, octets in table:
            encoded = mac_commands.encode(direction, (command,))
            assert text(encoded) == octets
            assert mac_commands.decode(direction, encoded) == ((command,), b"")
            stream += encoded
        commands = tuple([command for command, _ in table])
        assert mac_commands.encode(direction, commands) == stream
        assert mac_commands.decode(direction, stream) == (commands, b"")


def test_commands_before_an_unknown_one_are_read():
    known = ((mac_commands.DEV_STATUS,), (mac_commands.RX_TIMING, 1))
    for rest in (b"\x80\1\2", b"\x0b", b"\x00\6", b"\x03\1\2", b"\x02"):
        stream = mac_commands.encode(DOWN, known) + rest
        assert mac_commands.decode(DOWN, stream) == (known, rest)
    assert mac_commands.decode(DOWN, b"") == ((), b"")


def test_reserved_bits_of_mac_commands_are_ignored():
    assert mac_commands.decode(UP, b"\x03\xff") == (((3, True, True, True),), b"")
    assert mac_commands.decode(DOWN, b"\x08\xf1") == (((8, 1),), b"")
    assert mac_commands.decode(DOWN, b"\x03\0\0\0\xff") == (((3, 0, 0, 0, 7, 15),), b"")


def test_mac_commands_that_cannot_be():
    for direction, command in (
        (UP, ()),
        (UP, (0x0B,)),
        (UP, (0x03,)),
        (UP, (0x02, 1)),
        (UP, (0x06, 256, 0)),
        (UP, (0x06, 0, 32)),
        (UP, (0x06, 0, -33)),
        (DOWN, (0x06, 1)),
        (DOWN, (0x03, 16, 0, 0, 0, 0)),
        (DOWN, (0x03, 0, 0, 65536, 0, 0)),
        (DOWN, (0x05, 0, 0, 868100050)),
        (DOWN, (0x07, 3, -100, 0, 5)),
        (DOWN, (0x08, 16)),
        (DOWN, (0x09, True, True, 15)),
    ):
        assert refuses(mac_commands.encode, direction, (command,)), command


# regions and time on air


def test_eu868():
    assert EU868.default_channels_hz == (868100000, 868300000, 868500000)
    assert (EU868.rx2_hz, EU868.rx2_dr) == (869525000, 0)
    assert [EU868.data_rate(dr) for dr in range(7)] == [
        (12, 125000),
        (11, 125000),
        (10, 125000),
        (9, 125000),
        (8, 125000),
        (7, 125000),
        (7, 250000),
    ]
    for dr in range(7):
        assert EU868.dr_of(*EU868.data_rate(dr)) == dr
        assert EU868.has_data_rate(dr)
    assert not EU868.has_data_rate(7)
    for beyond in (-1, 7, 8):
        assert code_of(EU868.data_rate, beyond) == errors.RANGE
    assert code_of(EU868.dr_of, 12, 500000) == errors.RANGE
    assert [EU868.max_payload(dr) for dr in range(8)] == [51, 51, 51, 115, 242, 242, 242, 242]
    assert code_of(EU868.max_payload, 8) == errors.RANGE
    assert EU868.rx1(868300000, 5, 0) == (868300000, 5)
    assert EU868.rx1(868300000, 5, 5) == (868300000, 0)
    assert EU868.rx1(868300000, 2, 5) == (868300000, 0)
    assert code_of(EU868.rx1, 868300000, 5, 6) == errors.RANGE
    assert [EU868.tx_power_dbm(i) for i in range(8)] == [16, 14, 12, 10, 8, 6, 4, 2]
    assert code_of(EU868.tx_power_dbm, 8) == errors.RANGE
    assert EU868.in_band(867100000) and not EU868.in_band(902300000)


def test_duty_cycle_of_eu868():
    for freq_hz, duty_cycle, eirp_dbm in (
        (863100000, 1000, 16),
        (867100000, 100, 16),
        (867900000, 100, 16),
        (868100000, 100, 16),
        (868500000, 100, 16),
        (868800000, 1000, 16),
        (869525000, 10, 29),
        (869850000, 100, 16),
    ):
        band = EU868.sub_band(freq_hz)
        assert (band.duty_cycle, band.max_eirp_dbm) == (duty_cycle, eirp_dbm)
    assert EU868.sub_band(868650000) is None
    assert EU868.sub_band(869300000) is None
    bands = [EU868.sub_band(freq_hz) for freq_hz in (867900000, 868100000, 868300000)]
    assert bands[0] is not bands[1]
    assert bands[1] is bands[2]


def test_channel_masks_of_eu868():
    assert EU868.apply_ch_mask(0b111, 0xFF, 0, 0b10101) == 0b10101
    assert EU868.apply_ch_mask(0b001, 0xFF, 6, 0) == 0xFF
    assert code_of(EU868.apply_ch_mask, 0b111, 0b111, 0, 0b1000) == errors.RANGE
    assert EU868.apply_ch_mask(0b111, 0b111, 0, 0) == 0
    for reserved in (1, 2, 3, 4, 5, 7):
        assert code_of(EU868.apply_ch_mask, 0b111, 0b111, reserved, 1) == errors.RESERVED


def test_us915():
    assert len(US915.default_channels_hz) == US915.channels == 72
    assert US915.default_channels_hz[0] == 902300000
    assert US915.default_channels_hz[63] == 914900000
    assert US915.default_channels_hz[64] == 903000000
    assert US915.default_channels_hz[71] == 914200000
    for number, freq_hz in enumerate(US915.default_channels_hz):
        assert US915.channel_of(freq_hz) == number
        assert US915.rx1(freq_hz, 4, 0) == (923300000 + 600000 * (number % 8), 13)
    assert code_of(US915.channel_of, 902400000) == errors.RANGE
    assert code_of(US915.channel_of, 915100000) == errors.RANGE
    assert (US915.rx2_hz, US915.rx2_dr) == (923300000, 8)
    assert [US915.max_payload(dr) for dr in range(5)] == [11, 53, 125, 242, 242]
    assert [US915.max_payload(dr) for dr in range(8, 14)] == [53, 129, 242, 242, 242, 242]
    assert US915.dr_of(8, 500000) == 4  # DR12 is the same modulation, downlink only
    assert US915.data_rate(8) == (12, 500000)
    for missing in (5, 6, 7, 14):
        assert code_of(US915.data_rate, missing) == errors.RANGE
        assert code_of(US915.max_payload, missing) == errors.RANGE
    table = ((10, 9, 8, 8), (11, 10, 9, 8), (12, 11, 10, 9), (13, 12, 11, 10), (13, 13, 12, 11))
    for dr, row in enumerate(table):
        assert tuple([US915.rx1(902300000, dr, offset)[1] for offset in range(4)]) == row
    assert code_of(US915.rx1, 902300000, 0, 4) == errors.RANGE
    assert code_of(US915.rx1, 902300000, 8, 0) == errors.RANGE
    assert US915.tx_power_dbm(0) == 30
    assert US915.tx_power_dbm(10) == 10


def test_channel_masks_of_us915():
    every = (1 << 72) - 1
    assert US915.apply_ch_mask(every, every, 7, 0x0002) == 1 << 65
    second = US915.apply_ch_mask(1 << 65, every, 0, 0xFF00)  # sub-band 2 as most networks use it
    assert second == 1 << 65 | 0xFF00
    assert US915.apply_ch_mask(second, every, 6, 0x00FF) == every
    assert US915.apply_ch_mask(second, every, 4, 0x0001) == 1 << 64 | 0xFF00
    assert code_of(US915.apply_ch_mask, second, every, 4, 0x0100) == errors.RANGE
    # Down to the first bank: all off, then eight of them on, as one block.
    none = US915.apply_ch_mask(every, every, 7, 0)
    assert none == 0
    assert US915.apply_ch_mask(none, every, 0, 0x00FF) == 0xFF
    # A bit for each group and its wide channel.
    assert US915.apply_ch_mask(every, every, 5, 0x0082) == 0xFF << 56 | 0xFF00 | 1 << 71 | 1 << 65


def test_cf_lists():
    assert EU868.decode_cf_list(b"") == ()
    assert EU868.decode_cf_list(EU868.encode_cf_list((867100000,))) == (867100000, 0, 0, 0, 0)
    masks = (0xFF00, 0, 0, 0, 2)
    encoded = US915.encode_cf_list(masks)
    assert text(encoded) == "00ff0000000000000200000000000001"
    assert US915.decode_cf_list(encoded) == masks
    assert code_of(EU868.decode_cf_list, encoded) == errors.RESERVED
    assert code_of(US915.decode_cf_list, bytes(16)) == errors.RESERVED
    assert code_of(EU868.decode_cf_list, bytes(15)) == errors.LENGTH
    assert refuses(EU868.encode_cf_list, (867100000,) * 6)
    assert refuses(EU868.encode_cf_list, (867100001,))
    assert refuses(US915.encode_cf_list, (65536,))


def test_time_on_air():
    for length, sf, bw_hz, us in (
        (10, 7, 125000, 41216),
        (10, 8, 125000, 72192),
        (10, 9, 125000, 144384),
        (10, 10, 125000, 288768),
        (10, 11, 125000, 577536),
        (10, 12, 125000, 991232),
        (10, 7, 250000, 20608),
        (13, 7, 125000, 46336),
    ):
        assert airtime.time_on_air_us(length, sf, bw_hz) == us
    # Bounds of the optimisation: SF11 on 125 kHz has it, on 250 kHz not, SF12 on 250 kHz has it.
    assert airtime.time_on_air_us(20, 12, 250000) * 2 == airtime.time_on_air_us(20, 12, 125000)
    assert airtime.time_on_air_us(20, 11, 250000) * 2 < airtime.time_on_air_us(20, 11, 125000)
    assert airtime.time_on_air_us(0, 12, 500000, crc=False, implicit=True) == 165888
    for sf, bw_hz, coding_rate in ((6, 125000, 5), (13, 125000, 5), (7, 0, 5), (7, 125000, 9)):
        assert refuses(airtime.time_on_air_us, 1, sf, bw_hz, coding_rate=coding_rate)
