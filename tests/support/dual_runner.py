"""Runs the test functions of one file and prints one line each. Runs on MicroPython and CPython.

usage: micropython dual_runner.py FILE_WITHOUT_PY   (its folder must be on the module path)
"""

import sys


def main(name: str) -> int:
    module = __import__(name)
    failed = 0
    for test in sorted(dir(module)):
        if not test.startswith("test_"):
            continue
        try:
            getattr(module, test)()
        except Exception as problem:
            failed += 1
            print("FAIL", test)
            if hasattr(sys, "print_exception"):
                sys.print_exception(problem, sys.stdout)
            else:
                raise
        else:
            print("PASS", test)
    return failed


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1]) else 0)
