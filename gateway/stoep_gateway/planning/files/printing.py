"""PDFs made by a process of its own, which takes its memory with it when it ends: see `pdf`."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter

from stoep_gateway.planning.files.sheet import Sheet

__all__ = ["DOCUMENTS", "REMEDY", "pdfs"]

DOCUMENTS = TypeAdapter(tuple[tuple[Sheet, ...], ...])
REMEDY = (
    "PDF needs ReportLab: pip install 'stoep[sheet]', with the Debian package"
    " apt install python3-reportlab fonts-dejavu-core"
)
_PROGRAM = "stoep_gateway.planning.files.pdf"
_ASK_S = 0.2  # whether to give up


def pdfs(documents: Sequence[Sequence[Sheet]], cancelled: Callable[[], bool] = bool) -> list[bytes]:
    """Return a PDF for each document; to be called off the event loop.

    Raises ``RuntimeError`` that says why there is none, and what to do; once ``cancelled()``, too.
    """
    if importlib.util.find_spec("reportlab") is None:
        raise RuntimeError(REMEDY)
    asked: bytes | None = DOCUMENTS.dump_json(tuple(map(tuple, documents)))
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-m", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environ,
    ) as process:
        while True:
            try:
                told, words = process.communicate(asked, timeout=_ASK_S)
                break
            except subprocess.TimeoutExpired:
                asked = None
                if cancelled():
                    process.kill()
    if process.returncode != 0:
        last = words.decode(errors="replace").strip().rpartition("\n")[2]
        said = f"the PDFs' process has ended with {process.returncode}: {last}"
        raise RuntimeError(said.removesuffix(": "))
    return [base64.b64decode(it) for it in json.loads(told)]
