"""Labels: the code on them, read back by a decoder that we did not write, and where things lie."""

import io
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from PIL import Image
from stoep_tools.flash import labels
from stoep_tools.flash.errors import FlashError
from stoep_tools.flash.identity import Identity
from stoep_tools.flash.labels import HEIGHT_MM, PER_SHEET, WIDTH_MM, Label
from stoep_tools.flash.ledger import Entry

KEY = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
ENTRY = Entry(
    number=17,
    mac=bytes.fromhex("34b7da0c1d2e"),
    identity=Identity(bytes.fromhex("34b7dafffe0c1d2e"), bytes(8), KEY),
    board="heltec_wifi_lora_32_v3",
    kind="bin",
    region="EU868",
    lorawan="1.0.4",
    asset="container/market-1",
    name="behind the fish market",
    serial="a-2026/17",
    dev_nonce=0,
    times={"issued": 1},
    flashed=1,
)
ENTRIES = {
    "full": ENTRY,
    "bare": replace(ENTRY, asset=None, name=None, serial=None),
    "bay": replace(ENTRY, kind="bay", asset="bay/high-street-12", board="lilygo_t3_s3"),
    "long": replace(
        ENTRY,
        asset="container/" + "very-long-name-of-a-container-" * 3,
        name='A name <& "such"> that takes far more than there is room for on a label',
        board="esp32_s3_sx1262_module",
    ),
}
DPI = 300


def px(mm: float) -> int:
    return round(mm * DPI / 25.4)


def decoded(image: Image.Image) -> str:
    zxingcpp = pytest.importorskip("zxingcpp")
    (found,) = zxingcpp.read_barcodes(image, zxingcpp.BarcodeFormat.QRCode)
    return str(found.text)


def test_the_checksum_is_crc_16_modbus() -> None:
    assert labels.crc(b"123456789") == 0x4B37  # the catalogue's check value


def test_the_example_that_other_readers_of_tr005_are_tested_with() -> None:
    # From The Things Stack's console and TagoIO's parser.
    assert labels.tr005(
        bytes.fromhex("1122334455667788"),
        bytes.fromhex("aabbccddeeff0011"),
        0xAABB,
        0x1122,
        owner="AABBCCDDEEFF",
        serial="YYWWNNNNNN",
        proprietary="FOOBAR",
    ) == (
        "LW:D0:1122334455667788:AABBCCDDEEFF0011:AABB1122:OAABBCCDDEEFF:SYYWWNNNNNN:PFOOBAR:CAF2C"
    )


@pytest.mark.parametrize("serial", ["a:b", "größe", "a_b", "#1"])
def test_what_does_not_go_into_the_code_is_told(serial: str) -> None:
    with pytest.raises(FlashError, match="QR code"):
        labels.tr005(bytes(8), bytes(8), serial=serial)


@pytest.mark.parametrize("dpi", [203, 300, 600])
@pytest.mark.parametrize("name", ENTRIES)
def test_the_png_says_what_it_should_to_a_foreign_decoder(name: str, dpi: int) -> None:
    label = labels.label_of(ENTRIES[name])
    image = Image.open(io.BytesIO(labels.label_png(label, dpi)))
    assert image.size == (round(WIDTH_MM * dpi / 25.4), round(HEIGHT_MM * dpi / 25.4))
    assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
    text = decoded(image)
    assert text == label.code
    head, _, check = text.rpartition(":C")
    assert int(check, 16) == labels.crc(head.encode())
    assert "34B7DAFFFE0C1D2E" in text


@pytest.mark.skipif(shutil.which("rsvg-convert") is None, reason="no rsvg-convert (librsvg2-bin)")
@pytest.mark.parametrize("name", ENTRIES)
def test_the_svg_says_what_it_should_to_a_foreign_decoder(name: str) -> None:
    label = labels.label_of(ENTRIES[name])
    png = subprocess.run(
        ["rsvg-convert", "-d", str(DPI), "-p", str(DPI)],
        input=labels.label_svg(label).encode(),
        capture_output=True,
        check=True,
    ).stdout
    image = Image.open(io.BytesIO(png)).convert("L")
    assert image.size == pytest.approx((px(WIDTH_MM), px(HEIGHT_MM)), abs=1)
    assert decoded(image) == label.code
    assert margins(image) >= px(1.0)


@pytest.mark.parametrize("name", ENTRIES)
def test_text_stays_on_the_label_and_off_the_quiet_zone(name: str) -> None:
    label = labels.label_of(ENTRIES[name])
    image = Image.open(io.BytesIO(labels.label_png(label, DPI)))
    assert margins(image) >= px(1.5)
    dark = image.point(lambda value: 255 if value < 128 else 0)
    first = dark.crop((0, 0, px(33.5), image.height)).getbbox()
    assert first is not None
    left, top, right, bottom = first
    assert right - left == bottom - top, "nothing but the square code is at the left"
    rows = len(labels._modules(label))
    quiet = 4 * (right - left) // rows
    assert dark.crop((right, top, right + quiet, bottom)).getbbox() is None
    assert left >= quiet


def margins(image: Image.Image) -> int:
    """Return how near anything is to the right, upper and lower edge."""
    box = image.point(lambda value: 255 if value < 128 else 0).getbbox()
    assert box is not None
    return min(image.width - box[2], box[1], image.height - box[3])


def test_a_label_is_the_same_when_it_is_printed_again_and_holds_no_key() -> None:
    later = replace(ENTRY, times={"issued": 5, "labelled": 6}, flashed=2, dev_nonce=1024)
    label = labels.label_of(ENTRY)
    assert labels.label_of(later) == label
    written = labels.label_svg(label) + labels.sheet([label]) + repr(label)
    assert KEY.hex() not in written.lower()
    assert labels.label_png(label) == labels.label_png(labels.label_of(later))
    for text in ("market-1", "behind the fish market", "34B7 DAFF", "FE0C 1D2E", "no. 17"):
        assert text in written
    assert "A name &lt;&amp; &quot;" in labels.label_svg(labels.label_of(ENTRIES["long"]))


def test_labels_lie_on_the_sheet_where_those_of_the_paper_are() -> None:
    made = [replace(labels.label_of(ENTRY), title=f"m-{n}") for n in range(PER_SHEET + 3)]
    pages = re.findall(r"<svg.*?</svg>", labels.sheet(made, skip=2), re.DOTALL)
    assert len(pages) == 2
    places = [
        [
            (float(x), float(y))
            for x, y in re.findall(r'translate\(([\d.]+) ([\d.]+)\)">\n?<g', page)
        ]
        for page in pages
    ]
    assert list(map(len, places)) == [PER_SHEET - 2, 5]
    # L7160: 7.21 and 15.15 mm from the left and upper edge, 66.04 and 38.1 mm apart.
    assert places[0][0] == pytest.approx((7.21 + 2 * 66.04, 15.15), abs=0.02)
    assert places[1][:4] == [
        pytest.approx((7.21 + column * 66.04, 15.15 + row * 38.1), abs=0.02)
        for row, column in ((0, 0), (0, 1), (0, 2), (1, 0))
    ]
    assert all(x + WIDTH_MM <= 210 and y + HEIGHT_MM <= 297 for x, y in places[0] + places[1])
    assert 'width="210.0mm" height="297.0mm" viewBox="0 0 210.0 297.0"' in pages[0]
    assert "m-18<" in pages[0]
    assert "m-19<" in pages[1]
    assert "stroke" not in pages[0]
    assert "stroke" in labels.sheet(made, outline=True)
    for skip in (-1, PER_SHEET):
        with pytest.raises(FlashError):
            labels.sheet(made, skip=skip)


def test_too_few_dots_are_refused() -> None:
    label: Label = labels.label_of(ENTRY)
    with pytest.raises(FlashError, match="too few"):
        labels.label_png(label, 50)
