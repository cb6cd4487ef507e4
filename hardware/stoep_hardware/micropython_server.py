"""Starts MicroPython processes by forking: a few milliseconds each, against 36 for a program.

usage: python -m stoep_hardware.micropython_server     (standard input is a Unix socket)

Its client, micropython_runtime.py, sends one line of JSON per request and gets one line back:

    {"start": [ARGUMENT…], "folder": PATH, "path": MICROPYPATH, "console": FILE}   + one descriptor
                                  → {"pid": PID}          the descriptor becomes the child's 3
    {"wait": PID}                 → {"status": EXIT}      negative: the signal that ended it
    {"kill": PID}                 → {"status": EXIT}

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
    console = os.open(request["console"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    if link != _LINK:
        os.dup2(link, _LINK)
    for target, source in ((0, nothing), (1, console), (2, console)):
        os.dup2(source, target)
    os.closerange(_LINK + 1, 64)
    os.chdir(request["folder"])
    os.environ["MICROPYPATH"] = request["path"]
    os.environ.pop("MICROPYINSPECT", None)
    return int(micropython_run.run_main(["micropython", *arguments]))


def _wait(pid: int, children: set[int]) -> int:
    if pid not in children:
        return 0
    _, status = os.waitpid(pid, 0)
    children.discard(pid)
    return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Serve until the client closes its end."""
    client = socket.socket(fileno=os.dup(0))
    children: set[int] = set()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is the client's affair
    while True:
        message, descriptors, _, _ = socket.recv_fds(client, _MESSAGE_BYTES, 1)
        if not message:
            break
        request = json.loads(message)
        if "start" in request:
            link = descriptors[0]
            pid = os.fork()
            if pid == 0:
                client.close()
                os._exit(_become(request, request["start"], link))
            os.close(link)
            children.add(pid)
            answer = {"pid": pid}
        elif "kill" in request:
            pid = request["kill"]
            if pid in children:
                os.kill(pid, signal.SIGKILL)
            answer = {"status": _wait(pid, children)}
        else:
            answer = {"status": _wait(request["wait"], children)}
        client.sendall(json.dumps(answer).encode())
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(main())
