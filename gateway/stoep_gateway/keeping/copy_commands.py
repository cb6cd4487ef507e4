"""``stoep gateway backup`` and ``stoep gateway restore``: what is asked, and what is told."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from pathlib import Path

from stoep_gateway import config as configuration
from stoep_gateway import config_path
from stoep_gateway.config import Config
from stoep_gateway.errors import FatalError
from stoep_gateway.keeping import archive, backup, restore
from stoep_gateway.keeping.archive import Manifest
from stoep_gateway.keeping.restore import Plan, Restored
from stoep_gateway.publish.messages import utc
from stoep_gateway.store.migrate import latest_version
from stoep_gateway.store.sealing import CREDENTIAL, key_path, read_key

__all__ = ["back_up", "bring_back"]

_CREDENTIAL_OF_THE_SERVICE = Path("/run/credentials/stoep-gateway.service") / CREDENTIAL
_KB = 1000


def back_up(options: argparse.Namespace) -> int:
    """Make a copy; return the exit code. Raises `FatalError`."""
    config = configuration.load(config_path.named(options.config))
    target: Path = options.file
    if target.is_dir():
        target /= backup.default_name(config.site)
    if target.exists() and not options.force:
        raise FatalError(f"{target}: is there already; --force replaces it")
    key = None
    if options.with_key:
        key = (_key(config, options.key_file), _passphrase(options, twice=True))
    manifest = backup.back_up(config, target, key)
    print("\n".join(_told(target, manifest, config)))
    return 0


def _key(config: Config, given: Path | None) -> bytes:
    path = given or key_path(config.store, os.environ)
    if given is None and not path.exists() and os.access(_CREDENTIAL_OF_THE_SERVICE, os.R_OK):
        path = _CREDENTIAL_OF_THE_SERVICE
    if not path.exists():
        raise FatalError(
            f"{path}: the sealing key is not there; --key-file names it. From a credential:"
            " systemd-creds decrypt --name=stoep-key /etc/credstore.encrypted/stoep-key FILE"
        )
    return read_key(path)


def _passphrase(options: argparse.Namespace, *, twice: bool = False) -> str:
    if options.passphrase_file is not None:
        try:
            lines = options.passphrase_file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "is not UTF-8 text"
            raise FatalError(f"{options.passphrase_file}: {reason}") from None
        return str(lines[0]) if lines else ""
    if not sys.stdin.isatty():
        raise FatalError("nobody can be asked for the passphrase here; --passphrase-file FILE")
    phrase = getpass.getpass("Passphrase: ")
    if twice and phrase != getpass.getpass("Once more: "):
        raise FatalError("these were two different ones")
    return phrase


def _told(target: Path, manifest: Manifest, config: Config) -> list[str]:
    size = f"{target.stat().st_size / _KB:.0f} kB"
    told = [f"{target}: {size}; database (version {manifest.schema}), configuration"]
    if manifest.entry(archive.KEY) is not None:
        told.append("with the sealing key, under the passphrase: keep that apart")
    else:
        told.append(
            "without the sealing key: it is worthless without that, which has to be kept elsewhere"
        )
    if any(it.app_key or it.nwk_s_key for it in config.devices):
        told.append("with the keys of devices that the configuration names, in plain text")
    if manifest.left_out:
        told.append("not in it: " + ", ".join(manifest.left_out))
    return told


def bring_back(options: argparse.Namespace) -> int:
    """Restore one; return the exit code. Raises `FatalError`."""
    path = config_path.named(options.config)
    config = None
    if path.exists() and not options.replace_config:
        config = configuration.load(path)
    wanted = restore.plan(
        options.file,
        path,
        config,
        replace_config=options.replace_config,
        with_key=options.with_key,
    )
    print("\n".join(_announced(wanted)))
    if options.dry_run:
        return 0
    done = restore.carry_out(wanted, lambda: _passphrase(options))
    print("\n".join(_done(wanted, done)))
    return 0


def _announced(wanted: Plan) -> list[str]:
    of = "" if wanted.manifest is None else f" of {wanted.manifest.site}"
    said = [f"{wanted.copy}: a copy{of} of {utc(wanted.made_utc_ms)}, version {wanted.schema}"]
    migrated = "" if wanted.schema == latest_version() else f", as version {latest_version()}"
    said.append(f"the database goes to {wanted.database}{migrated}")
    if wanted.key is not None:
        said.append(f"the sealing key goes to {wanted.key}")
    elif not wanted.key_file.exists():
        said.append(f"the sealing key is not at {wanted.key_file}: put it there before the start")
    said += [f"{path} is moved aside" for path in wanted.replaced]
    said += [f"{path} comes from the copy" for _, path in wanted.config_files]
    said += [f"{path} stays; the copy's is another (--replace-config)" for path in wanted.kept]
    said += [
        f"{it.path} is not put back: unzip -p {wanted.copy} {it.name}" for it in wanted.elsewhere
    ]
    if wanted.manifest is not None:
        said += [f"{path} is not in the copy" for path in wanted.manifest.left_out]
    return said


def _done(wanted: Plan, done: Restored) -> list[str]:
    said = [f"done: {done.devices} devices, {done.uplinks} uplinks"]
    said.append(
        f"downlink counters skipped {done.f_cnt_down}; waiting downlinks that were forgotten:"
        f" {done.forgotten_downlinks}"
    )
    if not done.enough:
        said.append(
            "the copy is old: a device that had more than 16000 downlinks since has to join again"
        )
    said.append(
        "devices that joined since the copy was made have to join again; until a device has sent a"
        " frame, recorded ones since the copy can be played back in its name"
    )
    said.append("next: start the gateway, stoep gateway doctor, and make a new copy")
    return said
