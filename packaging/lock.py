"""Writes the lock files: `python packaging/lock.py`, where PyPI is to be reached.

One for each Debian release, since each has one Python: what the gateway needs, each package with
its version and the hashes of its wheels for all `ARCHITECTURES`. pip resolves as if it ran there;
nothing is compiled, so a package without a wheel is a mistake.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib

from flavours import ARCHITECTURES, HERE, LEFT_OUT, RELEASES, ROOT, lock_file, wheel_options


def resolve(release: str, architecture: str, requirements: list[str]) -> dict[str, tuple[str, str]]:
    """Return version and SHA-256 of each package's wheel, by name."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run"]
    command += ["--ignore-installed", *wheel_options(release, architecture)]
    command += ["--report", "-", "--target", str(HERE / "nowhere")]
    report = subprocess.run([*command, *requirements], check=True, stdout=subprocess.PIPE).stdout
    return {
        item["metadata"]["name"].lower().replace("_", "-"): (
            item["metadata"]["version"],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in json.loads(report)["install"]
    }


def versions(packages: dict[str, tuple[str, str]]) -> dict[str, str]:
    """Return the version of each."""
    return {name: version for name, (version, _) in packages.items()}


def main() -> int:
    """Write all lock files; return the exit code."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for release in RELEASES:
        pins: list[str] = []
        resolved = {}
        for architecture in ARCHITECTURES:
            # The second machine gets what the first one got, or there is no such wheel.
            resolved[architecture] = resolve(release, architecture, pins or project["dependencies"])
            pins = [f"{name}=={found[0]}" for name, found in resolved[architecture].items()]
        first, *others = resolved.values()
        if any(versions(it) != versions(first) for it in others):
            sys.exit(f"{release}: the machines need different packages")
        lines = ["# Written by lock.py."]
        for name, version in sorted(versions(first).items()):
            if name in LEFT_OUT:
                continue
            hashes = sorted({packages[name][1] for packages in resolved.values()})
            lines.append(f"{name}=={version} " + " ".join(f"--hash=sha256:{it}" for it in hashes))
        lock_file(release).write_text("\n".join(lines) + "\n")
        print(f"{lock_file(release)}: {len(lines) - 1} packages")
    return 0


if __name__ == "__main__":
    sys.exit(main())
