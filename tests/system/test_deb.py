"""The package as it is built: what is in it, and that it is the same each time.

``make test-system`` runs this; building takes too long for ``make test``.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
LIB = "./usr/lib/stoep-gateway/"

pytestmark = [
    pytest.mark.skipif(
        "STOEP_SYSTEM" not in os.environ, reason="takes minutes: make test-system runs it"
    ),
    pytest.mark.skipif(
        shutil.which("dh") is None, reason="debhelper is missing: apt install debhelper dpkg-dev"
    ),
]


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of what is kept: nothing else gets into a package, and nobody changes it meanwhile."""
    folder = tmp_path_factory.mktemp("sources")
    for name in told("git", "-C", ROOT, "ls-files", "-z").split("\0"):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    return folder


def build(sources, out, release="bookworm", architecture="amd64"):
    command = [sys.executable, sources / "packaging" / "build.py", "--dist", release]
    command += ["--arch", architecture, "--out", out, "--compression", "gzip"]
    # As two who build the same commit on different days do.
    environ = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}
    subprocess.run(command, check=True, timeout=900, env=environ)
    (package,) = out.glob("*.deb")
    return package


def told(*command):
    return subprocess.run(
        [str(it) for it in command], check=True, capture_output=True, text=True, timeout=300
    ).stdout


@pytest.fixture(scope="module")
def package(sources, tmp_path_factory):
    return build(sources, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def names(package):
    return [
        line.split(maxsplit=5)[5]
        for line in told("dpkg-deb", "--contents", package).split("\n")
        if line
    ]


@pytest.fixture(scope="module")
def control(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("control")
    told("dpkg-deb", "--control", package, folder)
    return folder


def test_everything_is_where_debian_has_it(names):
    for path in (
        "./usr/bin/stoep",
        "./lib/systemd/system/stoep-gateway.service",
        "./usr/lib/sysusers.d/stoep-gateway.conf",
        "./etc/mosquitto/conf.d/stoep-gateway.conf",
        "./usr/share/stoep-gateway/stoep.toml",
        "./usr/share/doc/stoep-gateway/operator.md",
        "./usr/share/doc/stoep-gateway/sbom.cdx.json",
        "./usr/share/doc/stoep-gateway/examples/stoep.toml",
        LIB + "stoep_gateway/store/migrations/0001_sessions_uplinks_outbox.sql",
        LIB + "pyvrp/__init__.py",
    ):
        assert path in names
    places = ("./etc/mosquitto", "./lib/systemd", "./usr/bin", "./usr/lib/stoep-gateway")
    places += ("./usr/lib/sysusers.d", "./usr/share")
    assert [name for name in names if name[-1] != "/" and not name.startswith(places)] == []


def test_it_carries_no_simulator_no_bench_no_tests_and_no_key(names):
    of_lib = [name.removeprefix(LIB) for name in names if name.startswith(LIB)]
    ours = {name.split("/")[0] for name in of_lib if name.startswith("stoep")}
    assert {it for it in ours if ".dist-info" not in it} == {
        *("stoep_gateway", "stoep_protocol", "stoep_tools")
    }
    unwanted = ("/tests/", "stoep_tools/flash", "matplotlib", "__pycache__", ".pem", ".key")
    assert [
        name for name in of_lib if any(it in name for it in unwanted) and "certifi/" not in name
    ] == []


def test_only_the_broker_snippet_is_a_conffile(control):
    assert (control / "conffiles").read_text() == "/etc/mosquitto/conf.d/stoep-gateway.conf\n"


def test_it_asks_for_one_python_and_the_libraries_that_the_wheels_do_not_bring(control):
    text = (control / "control").read_text()
    (depends,) = (line for line in text.split("\n") if line.startswith("Depends: "))
    wanted = {it.split()[0] for it in depends.removeprefix("Depends: ").split(", ")}
    assert wanted == {"python3", "libc6", "libgcc-s1", "libstdc++6", "zlib1g", "systemd"}
    assert "python3 (<< 3.12)" in depends


def test_its_bill_of_materials_is_valid_and_whole(package, names, tmp_path):
    told("dpkg-deb", "--extract", package, tmp_path)
    text = (tmp_path / "usr/share/doc/stoep-gateway/sbom.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    told_of = {it["name"]: it for it in bill["components"]}
    shipped = {
        name.removeprefix(LIB).split("-")[0].lower().replace("_", "-")
        for name in names
        if name.endswith(".dist-info/")
    }
    assert set(told_of) | {"stoep"} == shipped
    assert all(it["hashes"] and it["licenses"] for it in told_of.values())
    assert bill["metadata"]["component"]["name"] == "stoep"


@pytest.mark.skipif(shutil.which("lintian") is None, reason="lintian is missing: apt install it")
def test_lintian_finds_no_error(package):
    said = subprocess.run(
        ["lintian", "--fail-on", "error", "--allow-root", str(package)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert said.returncode == 0, said.stdout


def test_it_is_the_same_each_time(sources, package, tmp_path):
    again = build(sources, tmp_path)
    assert again.name == package.name
    assert again.read_bytes() == package.read_bytes()


def test_for_a_pi_everything_compiled_is_of_its_kind(sources, tmp_path):
    package = build(sources, tmp_path, "trixie", "arm64")
    told("dpkg-deb", "--extract", package, tmp_path / "tree")
    compiled = [it for it in tmp_path.rglob("*.so*") if it.is_file() and it.suffix != ".js"]
    assert len(compiled) > 20
    machines = {it.read_bytes()[18:20] for it in compiled}
    assert machines == {b"\xb7\x00"}  # ELF's e_machine of AArch64
    assert all("cpython-313-aarch64" in it.name for it in compiled if "cpython-" in it.name)
    assert (tmp_path / "tree/usr/lib/systemd/system/stoep-gateway.service").exists()
