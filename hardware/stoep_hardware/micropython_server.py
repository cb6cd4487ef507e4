"""Starts MicroPython processes by forking: a few milliseconds each, against 36 for a program.

usage: python -m stoep_hardware.micropython_server     (standard input is a Unix socket)

Its client, micropython_runtime.py, sends a datagram of JSON per request:

    {"start": [ARGUMENT…], "number": N, "folder": PATH, "path": MICROPYPATH, "console": FILE}
            with a descriptor that becomes the program's 3; no answer
    {"wait": N}, {"kill": N} → {"status": EXIT}      negative: the signal that ended it

It knows nothing of simulation. When its client is gone it ends its children and itself.
"""

import json
import os
import signal
import socket
import sys

import micropython_run

_MESSAGE_BYTES = 65_536
_LINK = 3


def _become(request: dict[str, str], arguments: list[str], link: int) -> int:
    """Turn this forked process into a MicroPython that runs `arguments`."""
    if link != _LINK:  # first: what is opened next might get this number
        os.dup2(link, _LINK)
    console = os.open(request["console"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, console), (2, console)):
        os.dup2(source, target)
    os.closerange(_LINK + 1, 64)
    os.chdir(request["folder"])
    os.environ["MICROPYPATH"] = request["path"]
    os.environ.pop("MICROPYINSPECT", None)
    return int(micropython_run.run_main(["micropython", *arguments]))


def _end(pid: int | None, sign: int) -> int:
    """Wait for a program, after sending it `sign` unless that is 0; returns its exit code."""
    if pid is None:
        return 0
    if sign:
        os.kill(pid, sign)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Serve until the client closes its end."""
    client = socket.socket(fileno=os.dup(0))
    programs: dict[int, int] = {}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the client's affair
    while True:
        message, descriptors, _, _ = socket.recv_fds(client, _MESSAGE_BYTES, 1)
        if not message:
            break
        request = json.loads(message)
        if "start" in request:
            pid = os.fork()
            if pid == 0:
                client.close()
                os._exit(_become(request, request["start"], descriptors[0]))
            os.close(descriptors[0])
            programs[request["number"]] = pid
        else:
            sign = signal.SIGKILL if "kill" in request else 0
            number = request.get("kill", request.get("wait"))
            status = _end(programs.pop(number, None), sign)
            client.sendall(json.dumps({"status": status}).encode())
    for pid in programs.values():
        _end(pid, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
