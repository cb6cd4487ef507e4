"""Debian packages for this machine: of this tree, and of the build that upgrades start from."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from nspawn import cache

__all__ = ["before", "built", "why_no_before"]

ROOT = Path(__file__).parents[2]
# Of the first database that has all steps up to 0008; of those before it some lack one of them.
BEFORE = "6afc707080b2fd47ed04a8c0876484ed31de3edb"
_SUFFIXES = {"bookworm": "deb12", "trixie": "deb13"}


def _told(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _build(root: Path, release: str, out: Path, *options: str, **environ: str) -> Path:
    command = [sys.executable, root / "packaging" / "build.py", "--dist", release, "--out", out]
    command += ["--arch", _told("dpkg", "--print-architecture"), "--compression", "gzip"]
    subprocess.run([*command, *options], check=True, timeout=900, env={**os.environ, **environ})
    (package,) = out.glob("*.deb")
    return package


def built(release: str, folder: Path) -> Path:
    """Return the package of this tree: of ``$STOEP_PACKAGES``, or built now in ``folder``."""
    if given := os.environ.get("STOEP_PACKAGES"):
        architecture = _told("dpkg", "--print-architecture")
        (package,) = Path(given).glob(f"*+{_SUFFIXES[release]}.*_{architecture}.deb")
        return package
    return _build(ROOT, release, folder)


def why_no_before() -> str | None:
    """Return why there is nothing to upgrade from, or None."""
    command = ["git", "-C", ROOT, "cat-file", "-e", f"{BEFORE}^{{commit}}"]
    try:
        found = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        found = False
    if found:
        return None
    return f"an upgrade starts from commit {BEFORE[:8]}, which is not here: git fetch --unshallow"


def before(release: str, folder: Path) -> Path:
    """Return the package of ``BEFORE``, built now or before; ``folder`` is for the work."""
    kept = cache("packages") / f"{BEFORE[:8]}-{release}.deb"
    if not kept.exists():
        sources = folder / "before"
        sources.mkdir()
        archive = folder / "before.tar"
        _told("git", "-C", str(ROOT), "archive", f"--output={archive}", BEFORE)
        _told("tar", "--extract", f"--file={archive}", f"--directory={sources}")
        moment = _told("git", "-C", str(ROOT), "show", "--no-patch", "--format=%ct", BEFORE)
        made = _build(sources, release, folder / "old", "--revision", "0", SOURCE_DATE_EPOCH=moment)
        kept.with_suffix(".new").write_bytes(made.read_bytes())
        kept.with_suffix(".new").rename(kept)
    return kept
