"""Which files are flashed as MicroPython, and what is said of those that are not."""

import contextlib
import subprocess
import sys
from hashlib import sha256

import micropython_image as made
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stoep_hardware import board_data
from stoep_tools.flash import images
from stoep_tools.flash.errors import USAGE, FlashError
from stoep_tools.flash.images import Known

HELTEC = board_data.load("heltec_wifi_lora_32_v3")
TTGO = board_data.load("lilygo_ttgo_lora32_v21")


@pytest.fixture
def file_of(tmp_path):
    def write(data, name="firmware.bin"):
        path = tmp_path / name
        path.write_bytes(data)
        return path

    return write


def refusal(action, *arguments):
    with pytest.raises(FlashError) as refused:
        action(*arguments)
    assert refused.value.exit_code == USAGE
    return refused.value


def esptool(chip, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "esptool", "--chip", chip, *arguments],
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(("board", "chip"), [(HELTEC, "esp32s3"), (TTGO, "esp32")])
def test_an_image_tells_its_chip_version_and_file_system(file_of, board, chip):
    data = made.firmware(chip)
    image = images.load(file_of(data), board)
    assert (image.chip, image.version) == (chip, "1.29.0")
    assert image.sha256 == sha256(data).hexdigest()
    assert image.data == data
    assert image.file_system(board.flash["size"]) == (
        board.flash["vfs_offset"],
        board.flash["vfs_size"],
    )
    assert str(data[:4]) not in repr(image)


def test_our_images_are_images_to_esptool(file_of, tmp_path):
    """What tests are made with is no mistake of ours that both ends share."""
    for chip in ("esp32", "esp32s3"):
        said = esptool(chip, "image-info", file_of(made.application(chip), f"{chip}.bin"))
        assert "Checksum: 0x" in said
        assert said.count("(valid)") == 2
        assert "Segments: 2" in said


def test_images_merged_by_esptool_are_accepted(file_of, tmp_path):
    for board in (HELTEC, TTGO):
        whole = made.firmware(board.chip)
        offset = board.flash["firmware_offset"]
        parts = {
            offset: made.image(board.chip, bytes(64), b"bootloader" * 100),
            0x8000: whole[0x8000 - offset :][:0xC00],
            0x10000: made.application(board.chip),
        }
        pairs = [
            word
            for at, part in parts.items()
            for word in (hex(at), file_of(part, f"{board.chip}-{at:x}"))
        ]
        out = tmp_path / f"{board.chip}.bin"
        where = ("--target-offset", hex(offset), "--output", out)
        esptool(board.chip, "merge-bin", *where, *pairs)
        assert images.load(out, board).data == whole


def test_where_the_file_system_is_comes_from_the_image(file_of):
    later = images.load(file_of(made.firmware(factory=0x210000)), HELTEC)
    assert later.file_system(8 << 20) == (0x220000, 0x5E0000)
    assert later.file_system(16 << 20) == (0x220000, 0xDE0000)
    entry = (1, 0x81, 0x200000, 0x200000, "vfs")
    fixed = images.load(file_of(made.firmware(extra=[entry])), HELTEC)
    assert fixed.file_system(8 << 20) == (0x200000, 0x200000)
    small = refusal(fixed.file_system, 2 << 20)
    assert "does not fit a board with 2 MiB" in small.message
    fat = made.firmware(extra=[(1, 0x81, 0x200000, 0x200000, "ffat")])
    assert "FAT" in refusal(images.load, file_of(fat), HELTEC).message
    large = (1, 0x81, 0x200000, 0xE00000, "vfs")
    assert "8 MiB" in refusal(images.load, file_of(made.firmware(extra=[large])), HELTEC).message


def test_another_chips_image_is_refused(file_of):
    wrong = refusal(images.load, file_of(made.firmware("esp32")), HELTEC)
    assert wrong.message == (
        "firmware.bin is for an ESP32, a Heltec WiFi LoRa 32 V3 has an ESP32-S3"
    )
    assert wrong.remedy.endswith(
        "take the .bin of https://micropython.org/download/ESP32_GENERIC_S3"
    )
    assert "ESP32-C3" in refusal(images.load, file_of(made.firmware("esp32c3")), TTGO).message


def test_an_application_alone_and_a_bootloader_alone_are_refused(file_of):
    alone = refusal(images.load, file_of(made.application()), HELTEC)
    assert "holds the application alone" in alone.message
    boot = refusal(images.load, file_of(made.image("esp32s3", bytes(64))), HELTEC)
    assert "no partition table" in boot.message


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "is empty"),
        (b"UF2\n" + bytes(600), "is a UF2 file"),
        (b"\x7fELF" + bytes(600), "is an ELF file"),
        (b"PK\x03\x04" + bytes(600), "is a ZIP archive"),
        (b"\x1f\x8b" + bytes(600), "is compressed with gzip"),
        (b"<!doctype html>" + bytes(600), "is a web page"),
        (b"hello" * 100, "is no image for an ESP32 (it begins with 0x68, not 0xe9)"),
        (b"\xe9", "is no image"),
        (b"\xff" * 5000, "is no image"),
    ],
)
def test_other_files_are_told_by_what_they_are(file_of, data, what):
    refused = refusal(images.load, file_of(data), HELTEC)
    assert f"firmware.bin {what}" in refused.message
    assert "micropython.org" in refused.remedy


def test_what_is_not_micropython_is_refused(file_of):
    other = made.firmware(app=made.application(banner=b"Meshtastic 2.7"))
    assert "is not MicroPython" in refusal(images.load, file_of(other), HELTEC).message


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        (b"MicroPython v1.27.0 on 2025-12-09", "1.27.0"),
        (b"MicroPython v1.30.0-preview.12.gabcdef on 2026-09-01", "1.30.0-preview.12.gabcdef"),
        (b"MicroPython (with v2.0 preview) v1.30.0 on 2026-09-01", "1.30.0"),
        (b"MicroPython v1.29 on 2026-09-01", "1.29.0"),
    ],
)
def test_versions(file_of, banner, version):
    data = made.firmware(app=made.application(banner=banner))
    assert images.load(file_of(data), HELTEC).version == version


def test_an_old_version_is_refused(file_of):
    data = made.firmware(app=made.application(banner=b"MicroPython v1.24.1 on 2024-11-29"))
    old = refusal(images.load, file_of(data), HELTEC)
    assert "is MicroPython 1.24.1: our firmware needs 1.27 or newer" in old.message


@pytest.mark.parametrize("length", [0xF001, 0xF002, 0xF00D, 0xF017, 0xF018, 0xF020])
def test_an_esp32s_image_that_ends_in_the_applications_header_is_refused(file_of, length):
    refusal(images.load, file_of(WHOLE["esp32"][:length]), TTGO)


def test_every_cut_and_every_flipped_bit_in_code_is_noticed(file_of):
    """Octets between the parts, and what only headers say, are the manifest's to notice."""
    data = made.firmware()
    for length in (1, 31, 200, 0x7FFF, 0x8010, 0x9000, 0x10000, 0x10004, 0x12000, len(data) - 1):
        refusal(images.load, file_of(data[:length]), HELTEC)
    for at in (200, 1000, 0x8004, 0x8048, 0x10200, 0x14000, len(data) - 33, len(data) - 1):
        flipped = bytearray(data)
        flipped[at] ^= 4
        refusal(images.load, file_of(bytes(flipped)), HELTEC)


def test_a_file_that_is_not_there(tmp_path):
    assert "No such file" in refusal(images.load, tmp_path / "none.bin", HELTEC).message


def known(image, **changed):
    fields = {
        "name": image.path.name,
        "chip": image.chip,
        "version": image.version,
        "sha256": image.sha256,
        **changed,
    }
    return Known(**fields)


def test_only_a_known_image_passes(file_of):
    path = file_of(made.firmware())
    image = images.load(path, HELTEC)
    assert images.check(path, HELTEC, [known(image)]) == image
    assert images.check(path, HELTEC, [known(image, name="another.bin")]) == image

    unknown = refusal(images.check, path, HELTEC, [])
    assert image.sha256 in unknown.message
    assert "--trust" in unknown.remedy

    damaged = refusal(
        images.check, path, HELTEC, [known(image, sha256="0" * 64, url="https://example.org/f")]
    )
    assert "is not the file of that name" in damaged.message
    assert damaged.remedy == "download it again from https://example.org/f"

    wrong = refusal(images.check, path, HELTEC, [known(image, version="1.28.0")])
    assert "manifest has it as 1.28.0" in wrong.message


def test_trust_enters_an_image_once_and_keeps_what_is_there(file_of, tmp_path):
    manifest = tmp_path / "config" / "stoep" / "firmware.toml"
    first = file_of(made.firmware(), 'an "odd" name\n.bin')
    images.trust(first, HELTEC, manifest)
    manifest.write_text("# my own\n" + manifest.read_text())
    second = file_of(made.firmware("esp32"))
    for _ in range(2):
        images.trust(second, TTGO, manifest)
    text = manifest.read_text()
    assert text.startswith("# my own\n")
    assert text.count("[[image]]") == 2
    for path, board in ((first, HELTEC), (second, TTGO)):
        images.check(path, board, images.manifests(manifest))


def test_trust_does_not_enter_what_is_no_image(file_of, tmp_path):
    manifest = tmp_path / "firmware.toml"
    refusal(images.trust, file_of(b"hello" * 100), HELTEC, manifest)
    assert not manifest.exists()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[[image]\n", "line 1"),
        ('[[image]]\nname = "a"\n', "image 1: it has name"),
        ('[[image]]\nname="a"\nchip="esp32"\nversion="1"\nsha256="zz"\n', "64 hexadecimal"),
    ],
)
def test_a_manifest_with_a_mistake_says_where(tmp_path, text, what):
    manifest = tmp_path / "firmware.toml"
    manifest.write_text(text)
    wrong = refusal(images.manifests, manifest)
    assert str(manifest) in wrong.message
    assert what in wrong.message


def test_where_the_users_manifest_lies(tmp_path):
    assert images.user_manifest({"XDG_CONFIG_HOME": "/c"}, "linux").as_posix() == (
        "/c/stoep/firmware.toml"
    )
    assert images.user_manifest({}, "linux").as_posix().endswith("/.config/stoep/firmware.toml")
    assert images.user_manifest({"APPDATA": "/a"}, "win32").as_posix() == "/a/stoep/firmware.toml"


def test_the_manifest_that_comes_with_us_can_be_read(tmp_path):
    for one in images.manifests(tmp_path / "none"):
        assert one.chip in {"esp32", "esp32s3"}


WHOLE = {board.chip: made.firmware(board.chip) for board in (HELTEC, TTGO)}


@given(st.data())
def test_no_file_does_more_than_be_refused(tmp_path_factory, data):
    board = data.draw(st.sampled_from([HELTEC, TTGO]))
    octets = bytearray(WHOLE[board.chip])
    for _ in range(data.draw(st.integers(0, 3))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    around = data.draw(st.sampled_from([0, 0x7000, 0x8000, 0xF000, 0x10000, len(octets)]))
    length = max(0, around + data.draw(st.integers(-64, 64)))
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(octets[:length])
    with contextlib.suppress(FlashError):
        assert len(images.load(path, board).data) >= len(WHOLE[board.chip])
