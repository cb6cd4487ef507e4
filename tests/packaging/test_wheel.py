"""What a user installs is the wheel, so the wheel is what is tried: in an empty environment."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHEELHOUSE = ROOT / ".venv" / "wheelhouse"
PACKAGES = {"stoep_protocol", "stoep_firmware", "stoep_gateway", "stoep_hardware", "stoep_tools"}


def run(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=ROOT)
    (built,) = out.glob("*.whl")
    return built


def test_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES


def test_wheel_carries_every_data_file_of_the_checkout(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = run("git", "ls-files", *(f"*/{p}/*" for p in PACKAGES), cwd=ROOT).stdout.split()
    assert len(tracked) > 50
    assert {path.split("/", 1)[1] for path in tracked} - names == set()


def test_demo_runs_from_the_wheel_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    assert WHEELHOUSE.is_dir(), "make .venv/wheelhouse/ready fetches what the wheel needs"
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(
        *(python, "-m", "pip", "install", "--no-index", "--find-links", WHEELHOUSE),
        f"stoep[demo] @ {wheel.as_uri()}",
        cwd=tmp_path,
    )
    stoep = tmp_path / "env" / "bin" / "stoep"
    run(stoep, "demo", "--seconds", "10", "--json", "out.json", cwd=tmp_path, TERM="dumb")
    summary = json.loads((tmp_path / "out.json").read_text())
    assert summary["containers_joined"] >= 16
    assert summary["bays_joined"] >= 8
    assert summary["accepted"] == summary["published"] > 0
