"""What a running gateway has loaded: nothing large that its configuration does not ask for.

A thousand devices leave a Raspberry Pi's gateway 80 MB, and each of these costs 1 to 40 of them and
a part of the start.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOR_SOME = {
    "cbor2",  # encoding = "cbor"
    "h11",  # [http]
    "httpx",  # [ngsi_ld]
    "numpy",  # a round that is planned
    "prometheus_client",  # [http]
    "pyarrow",  # an export
    "pyvrp",
    "websockets",  # [basics_station]
    "yaml",  # a file of devices, which `stoep device` reads
}
FOR_NOBODY = {"amqtt", "esptool", "rich", "serial", "stoep_hardware"}  # of other commands

PROGRAM = """
import asyncio, json, sys
from stoep_gateway import app
from stoep_tools import cli

def ready(*_):
    with open("modules.json", "w") as file:
        json.dump(sorted({name.partition(".")[0] for name in sys.modules}), file)
    raise KeyboardInterrupt

app._leave_to_stay = ready
sys.exit(cli.main(["gateway", "run", "--config", "stoep.toml"]))
"""
CONFIGURATION = """\
site = "test"
[mqtt]
port = 1
[gwmp]
port = 0
"""


def loaded(folder: Path, more: str = "") -> set[str]:
    (folder / "stoep.toml").write_text(CONFIGURATION + more)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=folder,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 130, run.stderr
    return set(json.loads((folder / "modules.json").read_text()))


def test_a_plain_gateway_has_loaded_only_what_it_needs(tmp_path: Path) -> None:
    assert not loaded(tmp_path) & (FOR_SOME | FOR_NOBODY)


@pytest.mark.parametrize(
    ("more", "name"),
    [("[basics_station]\nport = 0\n", "websockets"), ("[http]\nport = 0\n", "prometheus_client")],
)
def test_what_is_configured_is_loaded(tmp_path: Path, more: str, name: str) -> None:
    """Else the names above would be of no module."""
    found = loaded(tmp_path, more) & FOR_SOME
    assert name in found
    assert not found & {"numpy", "pyvrp", "httpx", "yaml", "pyarrow"}
