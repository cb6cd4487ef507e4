"""Asks pip-audit for known vulnerabilities of what is vendored; part of `make check`.

Where its data cannot be reached this is said in one line, and is no failure: a fault of the network
shall not hold up who works.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from flavours import RELEASES, lock_file

_PATIENCE_S = 20


def verdict(report: dict[str, Any]) -> tuple[list[str], int, int]:
    """Return each known vulnerability in a line, and how many were looked up, or could not be."""
    packages = report["dependencies"]
    found = [
        f"{package['name']} {package['version']}: {it['id']}"
        + (f", mended in {', '.join(it['fix_versions'])}" if it["fix_versions"] else "")
        for package in packages
        for it in package.get("vulns", ())
    ]
    skipped = sum("skip_reason" in package for package in packages)
    return found, len(packages) - skipped, skipped


def _ask(release: str) -> dict[str, Any] | None:
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    command += ["--timeout", "5", "--disable-pip", "--no-deps", "--require-hashes"]
    command += ["--requirement", str(lock_file(release))]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
        report: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, json.JSONDecodeError):
        return None
    return report


def main() -> int:
    """Print what is known; return 1 if there is anything."""
    code = 0
    for release in RELEASES:
        report = _ask(release)
        found, looked_up, skipped = verdict(report or {"dependencies": []})
        if not looked_up:
            print("pip-audit: its data cannot be reached from here; nothing was audited")
            return code
        print(*found, sep="\n", end="\n" if found else "")
        print(
            f"pip-audit: {release}: {looked_up} packages, known vulnerabilities: {len(found)}"
            + (f"; not found: {skipped}" if skipped else "")
        )
        code = code or int(bool(found))
    return code


if __name__ == "__main__":
    sys.exit(main())
