"""A plan in each of the formats: one document of all rounds, or a file for each truck."""

from __future__ import annotations

from collections.abc import Callable

from stoep_gateway.config import Config
from stoep_gateway.config_planning import Language
from stoep_gateway.planning.files import geojson, gpx, html, printing
from stoep_gateway.planning.files.sheet import sheets
from stoep_gateway.planning.files.words import Words
from stoep_gateway.planning.plan import Plan

__all__ = ["document", "files"]


def document(
    plan: Plan,
    config: Config,
    form: str,
    language: Language | None = None,
    cancelled: Callable[[], bool] = bool,
) -> bytes:
    """Return all rounds in one of the `FORMATS`. Raises ``RuntimeError`` for want of a PDF."""
    words = _words(config, language)
    match form:
        case "geojson":
            return geojson.document(plan, config)
        case "gpx":
            return gpx.document(plan, config, words, plan.rounds)
        case "html":
            return html.document(sheets(plan, config, words)).encode()
        case _:
            return printing.pdfs([sheets(plan, config, words)], cancelled)[0]


def files(
    plan: Plan,
    config: Config,
    language: Language | None = None,
    cancelled: Callable[[], bool] = bool,
) -> tuple[dict[str, bytes], str]:
    """Return the files of a plan by name, and why there is no PDF among them, or ""."""
    words = _words(config, language)
    made = {"rounds.geojson": geojson.document(plan, config)}
    for it in plan.rounds:
        if it.stops:
            made[f"{it.truck}.gpx"] = gpx.document(plan, config, words, [it])
    of_plan = sheets(plan, config, words)
    made |= {f"{it.name}.html": html.document([it]).encode() for it in of_plan}
    try:
        printed = printing.pdfs([[it] for it in of_plan], cancelled)
    except RuntimeError as error:
        return made, str(error)
    made |= {f"{it.name}.pdf": pdf for it, pdf in zip(of_plan, printed, strict=True)}
    return made, ""


def _words(config: Config, language: Language | None) -> Words:
    return Words(language or config.planning.language, config.timezone)
