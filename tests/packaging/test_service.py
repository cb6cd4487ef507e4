"""The unit file, by systemd's own word, and what goes with it into the package."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from stoep_gateway import config

ROOT = Path(__file__).parents[2]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "systemd" / "stoep-gateway.service"
SCRIPTS = sorted((PACKAGING / "debian").glob("stoep-gateway.p*"))

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="systemd-analyze is missing and cannot be had here: apt install systemd",
)


def analyze(*arguments):
    return subprocess.run(
        ["systemd-analyze", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "SYSTEMD_COLORS": "0", "LANG": "C.UTF-8"},
    )


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    text = UNIT.read_text()
    (tmp_path / "usr/bin").mkdir(parents=True)
    program = tmp_path / "usr/bin/stoep"
    program.touch(0o755)
    unit = tmp_path / UNIT.name
    unit.write_text(text.replace("/usr/bin/stoep", str(program)))
    said = analyze("verify", "--man=no", str(unit))
    assert (said.returncode, said.stderr) == (0, "")


@needs_systemd
def test_systemd_finds_the_sandbox_tight():
    said = analyze("security", "--offline=true", "--threshold=20", "--no-pager", str(UNIT))
    assert said.returncode == 0, said.stdout
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", said.stdout)
    assert exposure is not None
    assert float(exposure[1]) < 2.0


def test_the_watchdog_outlasts_the_longest_wait_of_a_commit():
    """SQLite waits so long for somebody who copies the database, and that is no hang."""
    from stoep_gateway.store import store

    minutes = re.search(r"^WatchdogSec=(\d+)min$", UNIT.read_text(), re.MULTILINE)
    assert minutes is not None
    assert int(minutes[1]) * 60_000 / 2 > store._COMMIT_BUSY_MS


def test_the_configuration_that_is_installed_is_right(tmp_path):
    written = (PACKAGING / "debian" / "stoep.toml").read_text().replace("@SITE@", "town-hall")
    path = tmp_path / "stoep.toml"
    path.write_text(written)
    read = config.load(path)
    assert read.site == "town-hall"
    assert read.store.path == Path("/var/lib/stoep-gateway/stoep.db")
    assert read.control.group == "stoep"
    assert read.gwmp.bind == read.http.bind == "127.0.0.1"
    # What is commented is right, too.
    tables = written.index("# [[gateway]]")
    path.write_text(written[:tables] + re.sub(r"^# ?", "", written[tables:], flags=re.MULTILINE))
    assert [it.id for it in config.load(path).containers] == ["market-1"]


@pytest.mark.skipif(
    shutil.which("shellcheck") is None, reason="shellcheck is missing: apt install shellcheck"
)
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.suffix)
def test_maintainer_scripts_please_shellcheck(script):
    said = subprocess.run(
        ["shellcheck", "--shell=sh", str(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (said.returncode, said.stdout) == (0, "")


def test_there_are_maintainer_scripts():
    assert {path.suffix for path in SCRIPTS} == {".postinst", ".postrm", ".prerm"}


@pytest.mark.parametrize("release", ["bookworm", "trixie"])
def test_the_lock_file_is_what_the_project_asks_for(release):
    lines = (PACKAGING / f"requirements-{release}.txt").read_text().splitlines()[1:]
    pinned = {line.split("==")[0]: line.split("==")[1].split()[0] for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pinned[wanted.name.replace("_", "-")]), text
    assert all("--hash=sha256:" in line for line in lines)


def test_what_is_left_out_is_only_what_the_solver_draws_with():
    asked = {Requirement(text).name for text in requires("pyvrp") or ()}
    assert "matplotlib" in asked, "the solver no longer asks for it: empty LEFT_OUT"
