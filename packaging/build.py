"""Builds the Debian packages: `python packaging/build.py --dist bookworm --arch arm64`; see --help.

Everything compiled comes as a wheel with the hash of the lock file, for the other machine, too; so
one machine builds for all. What is built twice from one commit is the same to the octet.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from email.utils import formatdate
from pathlib import Path

from flavours import ARCHITECTURES, HERE, RELEASES, ROOT, lock_file, wheel_options
from sbom import bill

NAME = "stoep-gateway"
# What a gateway runs; boards are flashed and streets simulated from the wheel.
OURS = ("stoep_gateway", "stoep_protocol", "stoep_tools")
# Bays are evaluated by the boards' own detector, which only the wheel has.
_NOT_OURS = re.compile(r" = stoep_(hardware|firmware|tools\.(flash|evaluate\.bays))\b")
# Of the wheels: what is for compiling against them, for testing them, for type checkers.
UNUSED = (
    "bin",
    "stoep_tools/evaluate/bays.py",
    "stoep_tools/flash",
    "**/tests",
    "**/*.pyi",
    "**/__pycache__",
    "numpy/_core/include",
    "numpy/_core/lib",
    "numpy/_core/_*_tests.*",
    "numpy/testing",
    "numpy/f2py",
    "numpy/random/lib",
    "pyvrp/plotting",
    "cffi/*.h",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/INSTALLER",
    "*.dist-info/direct_url.json",
)
# Which Debian package has what the wheels do not bring themselves.
LIBRARIES = {
    "libc.so.6": "libc6",
    "libm.so.6": "libc6",
    "libdl.so.2": "libc6",
    "librt.so.1": "libc6",
    "libpthread.so.0": "libc6",
    "ld-linux-x86-64.so.2": "libc6",
    "ld-linux-aarch64.so.1": "libc6",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> str:
    """Run a command and return its output; where it fails, end with all that it said."""
    words = [str(word) for word in command]
    told = {**os.environ, **environment}
    done = subprocess.run(words, cwd=cwd, env=told, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout


def epoch_s() -> int:
    """Return the moment that all files in the packages bear."""
    if text := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(text)
    return int(run("git", "log", "-1", "--format=%ct"))


def vendor(tree: Path, wheel: Path, release: str, architecture: str) -> None:
    """Unpack our wheel and all that it needs into ``tree``, and remove what no gateway runs."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    pip += ["--disable-pip-version-check", "--target", str(tree)]
    pip += wheel_options(release, architecture)
    run(*pip, "--require-hashes", "--requirement", lock_file(release))
    run(*pip, "--no-index", wheel)
    for pattern in UNUSED:
        for path in sorted(tree.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for path in tree.glob("stoep_*"):
        if path.name not in OURS:
            shutil.rmtree(path)
    (entries,) = tree.glob("stoep-*.dist-info/entry_points.txt")
    kept = [line for line in entries.read_text().splitlines() if not _NOT_OURS.search(line)]
    entries.write_text("\n".join(kept) + "\n")


def needed_libraries(tree: Path, release: str) -> str:
    """Return the dependencies of the compiled parts, or end if the release lacks one."""
    objects = [path for path in tree.rglob("*") if ".so" in path.suffixes and path.is_file()]
    brought = {path.name for path in objects}
    packages: set[str] = set()
    glibc = (2, 17)
    for path in objects:
        said = run("readelf", "--wide", "--dynamic", "--version-info", path)
        for name in re.findall(r"\(NEEDED\).*\[(.*)\]", said):
            if name not in brought:
                if name not in LIBRARIES:
                    sys.exit(f"{path} needs {name}, which no package is known to have")
                packages.add(LIBRARIES[name])
        versions = re.findall(r"Name: GLIBC_(\d+)\.(\d+)", said)
        glibc = max([glibc, *((int(major), int(minor)) for major, minor in versions)])
    if glibc > RELEASES[release].glibc:
        sys.exit(f"{release}'s glibc is older than {glibc}")
    floor = {"libc6": f" (>= {glibc[0]}.{glibc[1]})"}
    return ", ".join(name + floor.get(name, "") for name in sorted(packages))


def prepare(work: Path, wheel: Path, release: str, architecture: str, version: str) -> Path:
    """Lay out the source tree that debhelper packs; return it."""
    source = work / f"{NAME}-{version}"
    tree = source / "tree"
    vendor(tree, wheel, release, architecture)
    shutil.copytree(HERE / "debian", source / "debian")
    shutil.copy(HERE / "systemd" / f"{NAME}.service", source / "debian" / f"{NAME}.service")
    for folder in ("mosquitto", "sysusers", "grafana", "prometheus"):
        if (HERE / folder).is_dir():
            shutil.copytree(HERE / folder, source / folder)
    shutil.copy(ROOT / "gateway" / "stoep_gateway" / "example.toml", source / "stoep.toml")
    shutil.copytree(ROOT / "docs", source / "docs", ignore=shutil.ignore_patterns("adr", "*.svg"))
    for name in ("CHANGELOG.md", "NOTICE", "SECURITY.md"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source / "docs")
    (source / "sbom.cdx.json").write_text(bill(tree, lock_file(release), epoch_s()))
    major, minor = RELEASES[release].python
    control = source / "debian" / "control"
    depends = f"python3 (>= {major}.{minor}), python3 (<< {major}.{minor + 1}), "
    depends += needed_libraries(tree, release)
    control.write_text(control.read_text().replace("@DEPENDS@", depends))
    (source / "debian" / "changelog").write_text(
        f"{NAME} ({version}) {release}; urgency=medium\n\n"
        "  * See CHANGELOG.md.\n\n"
        f" -- Stoep maintainers <maintainers@stoep.invalid>  {formatdate(epoch_s())}\n"
    )
    return source


def build(
    out: Path, wheel: Path, release: str, architecture: str, revision: int, compression: str
) -> Path:
    """Build one package into ``out``; return its path."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    version = f"{project['version']}+{RELEASES[release].suffix}.{revision}"
    work = out / f"{release}-{architecture}"
    shutil.rmtree(work, ignore_errors=True)
    source = prepare(work, wheel, release, architecture, version)
    run(
        *("dpkg-buildpackage", "--build=binary", "--unsigned-changes", "--no-check-builddeps"),
        *("--no-pre-clean", f"--host-arch={architecture}"),
        cwd=source,
        SOURCE_DATE_EPOCH=str(epoch_s()),
        DEB_BUILD_OPTIONS="nostrip nocheck noautodbgsym",
        COMPRESSION=compression,
    )
    (built,) = work.glob("*.deb")
    package = out / built.name
    shutil.move(built, package)
    shutil.copy(source / "sbom.cdx.json", out / f"{package.stem}.cdx.json")
    shutil.rmtree(work)
    return package


def main() -> int:
    """Build what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dist", choices=RELEASES, action="append", help="default: all")
    parser.add_argument("--arch", choices=ARCHITECTURES, action="append", help="default: all")
    parser.add_argument("--out", type=Path, default=ROOT / "build", help="default: build/")
    parser.add_argument("--revision", type=int, default=1, help="counts packages of one version")
    parser.add_argument("--compression", default="xz", help="or gzip, which is fast; default: xz")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    dist = options.out / "wheel"
    shutil.rmtree(dist, ignore_errors=True)
    run(
        *(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", dist, ROOT),
        SOURCE_DATE_EPOCH=str(epoch_s()),
    )
    (wheel,) = dist.glob("*.whl")
    for release in options.dist or RELEASES:
        for architecture in options.arch or ARCHITECTURES:
            package = build(
                options.out, wheel, release, architecture, options.revision, options.compression
            )
            print(json.dumps({"package": str(package), "octets": package.stat().st_size}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
