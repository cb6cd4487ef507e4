"""PDFs made by a process of its own, which takes its memory with it when it ends: see `pdf`."""

from __future__ import annotations

import base64
import importlib.util
import json
from collections.abc import Callable, Sequence

from pydantic import TypeAdapter

from stoep_gateway.planning import child
from stoep_gateway.planning.files.sheet import Sheet

__all__ = ["DOCUMENTS", "REMEDY", "pdfs"]

DOCUMENTS = TypeAdapter(tuple[tuple[Sheet, ...], ...])
REMEDY = (
    "PDF needs ReportLab: pip install 'stoep[sheet]', with the Debian package"
    " apt install python3-reportlab fonts-dejavu-core"
)
_PROGRAM = "stoep_gateway.planning.files.pdf"


def pdfs(documents: Sequence[Sequence[Sheet]], cancelled: Callable[[], bool] = bool) -> list[bytes]:
    """Return a PDF for each document; to be called off the event loop.

    Raises ``RuntimeError`` that says why there is none, and what to do; once ``cancelled()``, too.
    """
    if importlib.util.find_spec("reportlab") is None:
        raise RuntimeError(REMEDY)
    ended = child.run(_PROGRAM, DOCUMENTS.dump_json(tuple(map(tuple, documents))), cancelled)
    if ended.returncode != 0:
        raise RuntimeError(child.why(ended, "the PDFs' process"))
    return [base64.b64decode(it) for it in json.loads(ended.stdout)]
