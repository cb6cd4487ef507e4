"""A machine with a real systemd: a Debian root of debootstrap, booted by systemd-nspawn.

It has a network of its own with nothing in it but ``lo``. Roots are kept in ``$STOEP_CACHE``, or
``~/.cache/stoep``; what is booted is a copy.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from waiting import wait_until

__all__ = ["Machine", "cache", "root_of", "why_not"]

INCLUDED = "systemd,systemd-sysv,dbus,python3,mosquitto,ca-certificates"
MIRROR = "http://deb.debian.org/debian"
TIMEOUT_S = 300
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


def why_not() -> str | None:
    """Return why this machine cannot boot another one, or None if it can."""
    if os.geteuid() != 0:
        return "a machine is booted by root only: sudo make test-system"
    for program, package in (
        ("systemd-nspawn", "systemd-container"),
        ("debootstrap", "debootstrap"),
        ("nsenter", "util-linux"),
    ):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_PATH}") is None:
            return f"{program} is missing: apt install {package}"
    return None


def cache(name: str) -> Path:
    """Return a folder for what is kept from one run to the next."""
    folder = Path(os.environ.get("STOEP_CACHE") or Path.home() / ".cache" / "stoep") / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def root_of(release: str) -> Path:
    """Return an untouched root of a Debian release, made now or before.

    Raises ``RuntimeError`` with debootstrap's last words.
    """
    root = cache("roots") / release
    if not root.exists():
        new = root.with_name(f"{release}.new")
        shutil.rmtree(new, ignore_errors=True)
        made = subprocess.run(
            [
                *("nice", "debootstrap", "--variant=minbase", f"--include={INCLUDED}"),
                *(release, str(new), MIRROR),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
            check=False,
        )
        if made.returncode:
            raise RuntimeError(f"debootstrap {release}: {' '.join(made.stdout.splitlines()[-3:])}")
        new.rename(root)
    return root


class Machine:
    """A booted copy of a root; what is run in it is run by root."""

    def __init__(self, release: str, folder: Path) -> None:
        self.root = folder / release
        subprocess.run(["cp", "-a", "--reflink=auto", root_of(release), self.root], check=True)
        self.root.chmod(0o755)  # of the copy, too: else nobody but root gets anywhere in it
        self.write("/etc/hostname", "Town-Hall\n")
        self._log = folder / "boot.log"
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(
                [
                    "systemd-nspawn",
                    "--boot",
                    f"--directory={self.root}",
                    f"--machine=stoep-{release}-{os.getpid()}",
                    "--private-network",
                    "--register=no",
                    "--keep-unit",
                    "--console=pipe",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(self._is_up, f"systemd in {release}", patience_s=300)
        except TimeoutError as error:
            self.stop()
            raise RuntimeError(f"{error}: {self._log.read_text(errors='replace')}") from None

    def _is_up(self) -> bool:
        assert self._nspawn.poll() is None, self._log.read_text(errors="replace")
        leader = self._leader()
        if leader is None:
            return False
        said = self.run("systemctl is-system-running", check=False).stdout.strip()
        return said in ("running", "degraded")

    def _leader(self) -> str | None:
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return children[0] if children else None

    def enter(self, *namespaces: str) -> list[str]:
        """Return how a command line begins that runs in some of its namespaces."""
        leader = self._leader()
        assert leader is not None, "the machine is not up"
        return ["nsenter", "--target", leader, *namespaces]

    def run(
        self, script: str, *, check: bool = True, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script in it."""
        shell = ["sh", "-c", script]
        if user is not None:
            shell = ["runuser", "-u", user, "--", *shell]
        done = subprocess.run(
            [
                *(*self.enter("--all"), "env", "-i", f"PATH={_PATH}", "LANG=C.UTF-8"),
                *("DEBIAN_FRONTEND=noninteractive", *shell),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file in it; its folder is made if need be."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def shows(self, name: str) -> str:
        """Return a property of the gateway's service."""
        return self.run(f"systemctl show --property={name} --value stoep-gateway").stdout.strip()

    def journal(self, *arguments: str) -> str:
        """Return messages of the gateway's service."""
        words = " ".join(arguments) or "--unit=stoep-gateway"
        return self.run(f"journalctl --no-pager --output=cat {words}").stdout

    def stop(self) -> None:
        """Turn it off."""
        self._nspawn.terminate()
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()
