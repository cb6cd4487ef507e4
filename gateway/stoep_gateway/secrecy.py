"""Keeps the process's memory, which holds keys, out of core dumps and other processes' reach."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import resource
from collections.abc import Mapping

__all__ = ["keep_memory_private"]

_PR_SET_DUMPABLE = 4  # prctl(2)
# Not 0, in spite of which the kernel hands a dump to a program such as systemd-coredump (core(5)).
# At 1 it makes none (Linux, fs/coredump.c), and a file of one octet is none either.
_NO_CORE = 1

_log = logging.getLogger(__name__)


def keep_memory_private(environ: Mapping[str, str] = os.environ) -> None:
    """Forbid core dumps for good and, in a service, other processes of the same user to look in.

    Only there, for it also keeps a developer's strace and profiler out.
    """
    # A service's manager has forbidden them, and may have forbidden to change limits as well.
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (_NO_CORE, _NO_CORE))
    if "NOTIFY_SOCKET" in environ and ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        _log.warning("other processes of this user can read the gateway's memory")
