"""What the LoRaWAN codec costs the gateway per frame: one `name value unit` line per figure."""

import timeit
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from stoep_protocol.lorawan import crypto, frames, network_frames
from stoep_protocol.lorawan.airtime import time_on_air_us


class Aes:
    """One cached `cryptography` context per direction, as the gateway keeps them."""

    def __init__(self, key: bytes) -> None:
        cipher = Cipher(algorithms.AES(key), modes.ECB())
        self.encrypt = cipher.encryptor().update
        self.decrypt = cipher.decryptor().update


def best_us(action: Callable[[], object], number: int = 5000, repeat: int = 9) -> float:
    """Return the quickest mean of several rounds: the others measure the machine's neighbours."""
    return min(timeit.repeat(action, number=number, repeat=repeat)) / number * 1e6


def main() -> None:
    nwk_s_key = crypto.Key(Aes(bytes(range(16))))
    app_s_key = crypto.Key(Aes(bytes(range(16, 32))))
    app_key = bytes(range(32, 48))
    dev_addr, f_cnt = 0x26011234, 70000
    phy_payload = frames.encode_data(
        frames.UNCONFIRMED_UP,
        dev_addr,
        f_cnt,
        nwk_s_key,
        app_s_key,
        adr=True,
        f_port=10,
        payload=b"twelve bytes",
    )
    assert len(phy_payload) == 25
    frame = frames.parse(phy_payload)
    assert isinstance(frame, frames.DataFrame)

    def uplink() -> bytes | None:
        received = frames.parse(phy_payload)
        assert isinstance(received, frames.DataFrame)
        full = frames.full_f_cnt(f_cnt, received.f_cnt)
        if not frames.verify(received, nwk_s_key, full):
            return None
        return frames.decrypt_payload(received, app_s_key, full)

    assert uplink() == b"twelve bytes"

    def downlink() -> bytes:
        return frames.encode_data(
            frames.UNCONFIRMED_DOWN, dev_addr, f_cnt, nwk_s_key, app_s_key, ack=True
        )

    def join() -> bytes:
        key = crypto.Key(Aes(app_key))
        accept = network_frames.encode_join_accept(key, 1, 0x13, dev_addr, 0, 0, 1, bytes(16))
        for session_key in crypto.derive_session_keys(key, 1, 0x13, 2):
            crypto.Key(Aes(session_key))
        return accept

    for name, action in (
        ("lorawan_uplink_us", uplink),
        ("lorawan_parse_us", lambda: frames.parse(phy_payload)),
        ("lorawan_verify_us", lambda: frames.verify(frame, nwk_s_key, f_cnt)),
        ("lorawan_decrypt_us", lambda: frames.decrypt_payload(frame, app_s_key, f_cnt)),
        ("lorawan_downlink_us", downlink),
        ("lorawan_time_on_air_us", lambda: time_on_air_us(25, 7, 125000)),
    ):
        print(name, f"{best_us(action):.2f}", "us")
    print("lorawan_join_us", f"{best_us(join, 500):.2f}", "us")


if __name__ == "__main__":
    main()
