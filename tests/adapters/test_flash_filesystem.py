"""The file system that is flashed: made here, mounted and run by the real MicroPython."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from firmware_place import Place
from stoep_hardware import board_data
from stoep_hardware.micropython_device import MicroPythonDevice
from stoep_hardware.micropython_runtime import MicroPythonRuntime, is_available
from stoep_protocol import messages
from stoep_tools.flash import filesystem
from stoep_tools.flash.errors import FlashError

PROGRAM = Path(__file__).parents[1] / "support/flash_board.py"
CONFIG = b'{"kind":"bin"}' * 60
MIB = 1 << 20
EVERYWHERE = [
    (board, kind, region)
    for board in ("heltec_wifi_lora_32_v3", "lilygo_ttgo_lora32_v21")
    for kind, region in (("bin", "EU868"), ("bay", "US915"), ("bin", "AS923-2"))
]


def files_of(board, kind, region, **options):
    data = board_data.load(board)
    return filesystem.firmware_files(data, kind, region, **options)


def run_on_micropython(*arguments):
    micropython = shutil.which("micropython", path=str(Path(sys.executable).parent))
    if micropython is None:
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    run = subprocess.run(
        [micropython, "-X", "heapsize=64M", PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.mark.parametrize(("board", "kind", "region"), EVERYWHERE)
def test_a_board_mounts_the_image_imports_all_of_it_and_writes(board, kind, region, tmp_path):
    data = board_data.load(board)
    files = {**files_of(board, kind, region), "config.json": CONFIG}
    image = filesystem.build(files, data.flash["vfs_size"], data.flash["vfs_block"])
    assert len(image) < 512 * 1024
    (tmp_path / "image").write_bytes(image)
    blocks = data.flash["vfs_size"] // 4096
    modules = sum(name.endswith(".mpy") for name in files)
    assert run_on_micropython(tmp_path / "image", blocks).splitlines() == [
        f"{modules} modules",
        "0199",
        "100",
        f"{blocks} blocks",
        "True",
    ]


def test_an_image_is_read_back_and_is_the_same_each_time():
    files = {**files_of("lilygo_t3_s3", "bin", "EU868"), "config.json": CONFIG}
    image = filesystem.build(files, 2 * MIB)
    assert filesystem.read(image) == files
    assert filesystem.read(image + b"\xff" * MIB) == files
    assert filesystem.build(dict(reversed(files.items())), 2 * MIB) == image
    assert filesystem.build({**files, "config.json": CONFIG + b" "}, 2 * MIB) != image


def test_files_of_every_length_come_back():
    lengths = [0, 1, 127, 128, 129, 4095, 4096, 4097, 70_000, 300_000]
    files = {f"a/b{length}/c": bytes([length % 251]) * length for length in lengths}
    assert filesystem.read(filesystem.build(files, 2 * MIB)) == files


def test_files_that_do_not_fit_are_refused():
    with pytest.raises(FlashError) as refused:
        filesystem.build({"large": bytes(MIB)}, MIB)
    assert "1048576 octets of files do not fit" in refused.value.message


@pytest.mark.parametrize("flash", [b"\xff" * 65536, bytes(65536), b"", b"\x5a" * 9000])
def test_flash_without_a_file_system_says_so(flash):
    with pytest.raises(FlashError) as refused:
        filesystem.read(flash)
    assert "cannot be read" in refused.value.message


@pytest.mark.parametrize("blocks", [1, 2, 3, 10, 40, 60, 70])
def test_flash_that_was_not_read_to_the_end_of_its_files_says_so(blocks):
    files = {"large": bytes(range(256)) * 1200, "config.json": CONFIG}
    image = filesystem.build(files, 2 * MIB)
    with pytest.raises(FlashError) as refused:
        filesystem.read(image[: blocks * 4096])
    assert "cannot be read" in refused.value.message


def test_records_of_a_board_that_has_lived_are_found_wherever_they_are(tmp_path):
    data = board_data.load("heltec_wifi_lora_32_v3")
    files = {**files_of(data.name, "bin", "EU868"), "config.json": CONFIG}
    image = filesystem.build(files, data.flash["vfs_size"])
    (tmp_path / "image").write_bytes(image)
    lived = tmp_path / "lived"
    run_on_micropython(tmp_path / "image", data.flash["vfs_size"] // 4096, lived)
    flash = lived.read_bytes()
    fetched = []

    def fetch(offset, size):
        fetched.append(offset)
        return flash[offset : offset + size]

    records = filesystem.read_from(fetch, ["session.0", "session.1", "session.2", "config.json"])
    assert records == {
        "session.0": b"0198" * 100,
        "session.1": b"0199" * 100,
        "config.json": CONFIG,
    }
    assert len(fetched) == len(set(fetched)) <= 6
    assert max(fetched) >= len(image), "the records are not where they were flashed"
    with pytest.raises(FlashError):
        filesystem.read(flash[: len(image)])


def test_a_board_that_cannot_be_read_says_so():
    def fetch(offset, size):
        raise FlashError("the board was unplugged", "plug it in")

    with pytest.raises(FlashError) as refused:
        filesystem.read_from(fetch, ["config.json"])
    assert refused.value.message == "the board was unplugged"


def test_a_board_gets_only_what_it_needs():
    container = set(files_of("heltec_wifi_lora_32_v3", "bin", "EU868"))
    bay = set(files_of("lilygo_ttgo_lora32_v21", "bay", "US915"))
    assert container - bay == {
        "stoep_firmware/answers.mpy",
        "stoep_firmware/bin_task.mpy",
        "stoep_firmware/drivers/a02yyuw.mpy",
        "stoep_firmware/drivers/frames.mpy",
        "stoep_firmware/guard.mpy",
        "stoep_firmware/guarded_task.mpy",
        "stoep_firmware/lid.mpy",
        "stoep_firmware/outbox.mpy",
        "stoep_firmware/radio/sx126x.mpy",
        "stoep_firmware/sensing/alarms.mpy",
        "stoep_firmware/sensing/bin.mpy",
        "stoep_firmware/sensing/news.mpy",
    }
    assert bay - container == {
        "stoep_firmware/bay_look.mpy",
        "stoep_firmware/bay_task.mpy",
        "stoep_firmware/drivers/lis3mdl.mpy",
        "stoep_firmware/radio/sx127x.mpy",
        "stoep_firmware/second.mpy",
        "stoep_protocol/lorawan/regions_fixed.mpy",
        "stoep_protocol/lorawan/regions_us915.mpy",
    }
    for name in ("reports", "lorawan/network_frames", "lorawan/network_encoding"):
        assert f"stoep_protocol/{name}.mpy" not in container
    bench = set(files_of("heltec_wifi_lora_32_v3", "bin", "EU868", certification=True))
    assert bench - container == {
        "stoep_firmware/certification.mpy",
        "stoep_firmware/certify.mpy",
    }


def test_what_is_sent_to_a_board_is_what_a_board_ever_has_of_the_sources():
    """Nothing that the firmware has is left out for every board by mistake."""
    everything = set()
    root = Path(__file__).parents[2]
    folder = root / "firmware/stoep_firmware/drivers"
    drivers = [path.stem for path in folder.glob("*.py") if path.stem != "__init__"]
    for board in board_data.names():
        for kind in ("bin", "bay"):
            for region in ("EU868", "US915", "AU915", "IN865", "AS923"):
                data = board_data.load(board)
                everything.update(
                    filesystem.modules(data, kind, region, certification=True, drivers=drivers)
                )
    sources = {
        ".".join(path.relative_to(root / folder).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("firmware", "protocol")
        for path in (root / folder).rglob("*.py")
    }
    assert sources - everything == {
        "stoep_firmware.device.boot",  # lies in the root as its source
        "stoep_protocol.advice",
        "stoep_protocol.lorawan.network_encoding",
        "stoep_protocol.lorawan.network_frames",
        "stoep_protocol.reports",
    }


@pytest.mark.parametrize(
    ("board", "kind"), [("lilygo_ttgo_lora32_v21", "bin"), ("heltec_wifi_lora_32_v3", "bay")]
)
def test_the_firmware_of_an_image_joins_reports_and_takes_a_configuration(board, kind, tmp_path):
    if not is_available():
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    image = filesystem.build(files_of(board, kind, "EU868"), 2 * MIB)
    with MicroPythonRuntime(tmp_path) as program:
        for package in ("stoep_firmware", "stoep_protocol"):
            shutil.rmtree(tmp_path / package)
        for name, octets in filesystem.read(image).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(octets)
        # The simulator's start takes it from there.
        (tmp_path / "boot.py").rename(tmp_path / "stoep_firmware/device/boot.py")
        place = Place(
            lambda *arguments: MicroPythonDevice(*arguments, program), board=board, kind=kind
        )
        port, payload = messages.encode(messages.Configuration(interval_min=30))
        place.far.down.append({"f_port": port, "data": payload})
        place.run(hours=4)
        place.device.close()
    place.check()
    report = messages.BinReport if kind == "bin" else messages.BayReport
    kinds = [type(message) for message in place.far.messages]
    assert kinds.count(report) > 3
    assert messages.ConfigurationAck in kinds
