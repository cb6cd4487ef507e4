"""Files on the board, for repl.py; defines names that begin with _s_ in the REPL."""

import os
from binascii import a2b_base64, b2a_base64  # noqa: F401 - the commands use them
from hashlib import sha256

_s_f = None  # the file that is being read or written


def _s_tree(folder):
    found = {}
    for entry in os.ilistdir(folder):
        path = folder.rstrip("/") + "/" + entry[0]
        if folder == "/" and len(entry) < 4:
            continue  # another file system, which is mounted here
        if entry[1] == 0x4000:
            found.update(_s_tree(path))
        else:
            found[path] = os.stat(path)[6]
    return found


def _s_hash(path):
    digest = sha256()
    buffer = bytearray(512)
    try:
        with open(path, "rb") as file:
            while True:
                count = file.readinto(buffer)
                if not count:
                    return digest.digest()
                digest.update(memoryview(buffer)[:count])
    except OSError:
        return None


def _s_free():
    stat = os.statvfs("/")
    return stat[0] * stat[3], stat[0] * stat[2]


def _s_begin(path):
    global _s_f
    at = path.find("/", 1)
    while at > 0:
        try:
            os.mkdir(path[:at])
        except OSError as problem:
            if problem.errno != 17:  # EEXIST
                raise
        at = path.find("/", at + 1)
    _s_f = open(path + ".new", "wb")


def _s_end(path, digest):
    _s_f.close()
    if _s_hash(path + ".new") != digest:
        os.remove(path + ".new")
        return False
    os.rename(path + ".new", path)
    return True


def _s_drop(path):
    try:
        _s_f.close()
    except (OSError, AttributeError):
        pass
    _s_remove(path + ".new")


def _s_remove(path):
    try:
        os.remove(path)
    except OSError as problem:
        if problem.errno != 2:  # ENOENT
            raise
    folder = path.rsplit("/", 1)[0]
    while folder:
        try:
            os.rmdir(folder)
        except OSError:
            break  # not empty
        folder = folder.rsplit("/", 1)[0]


def _s_copy(source, path):
    _s_begin(path)
    buffer = bytearray(512)
    with open(source, "rb") as file:
        while True:
            count = file.readinto(buffer)
            if not count:
                break
            _s_f.write(memoryview(buffer)[:count])
    return _s_end(path, _s_hash(source))
