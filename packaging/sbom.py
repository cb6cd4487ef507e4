"""The bill of materials of a built tree: CycloneDX 1.6 as JSON, valid by its schema.

What is in it is read from the tree itself, every ``*.dist-info``, so that it tells what is shipped
and not what was asked for. The hashes are those of the wheels in the lock file. Nothing in it
depends on when or where it was made.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model import HashType
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

_VERSION = SchemaVersion.V1_6
_REQUIREMENT = re.compile(r"[A-Za-z0-9._-]+")


def name_of(text: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", text).lower()


def locked_hashes(lock_file: Path) -> dict[str, list[str]]:
    """Return the SHA-256 of each package's wheels."""
    lines = [line.split() for line in lock_file.read_text().splitlines() if "==" in line]
    return {
        name_of(first.partition("==")[0]): [it.rpartition(":")[2] for it in hashes]
        for first, *hashes in lines
    }


# Of those whose metadata names none: what their LICENSE file says.
_OF_ITS_FILE = {"quickjs-ng": "MIT"}


def _licences(found: Distribution) -> list[str]:
    meta = found.metadata
    if expression := meta.get("License-Expression"):
        return [expression]
    of_classifiers = [
        line.rpartition(" :: ")[2]
        for line in meta.get_all("Classifier") or ()
        if line.startswith("License :: OSI Approved :: ")
    ]
    written = (meta.get("License") or "").strip()
    if not of_classifiers and not written:
        written = _OF_ITS_FILE.get(name_of(meta["Name"]), "")
    return of_classifiers[:1] or ([written.splitlines()[0][:80]] if written else [])


def _component(found: Distribution, hashes: list[str], kind: ComponentType) -> Component:
    factory = LicenseFactory()
    name = name_of(found.metadata["Name"])
    url = PackageURL("pypi", name=name, version=found.version)
    return Component(
        name=name,
        version=found.version,
        type=kind,
        bom_ref=url.to_string(),
        purl=url,
        description=found.metadata.get("Summary"),
        licenses=[factory.make_from_string(text) for text in _licences(found)],
        hashes=[HashType.from_composite_str(f"sha256:{it}") for it in hashes],
    )


def bill(tree: Path, lock_file: Path, epoch_s: int) -> str:
    """Return the text of it. Raises ``ValueError`` if it breaks its schema."""
    hashes = locked_hashes(lock_file)
    parts: dict[str, Component] = {}
    needs: dict[str, list[str]] = {}
    for found in sorted(distributions(path=[str(tree)]), key=lambda it: it.metadata["Name"]):
        name = name_of(found.metadata["Name"])
        kind = ComponentType.APPLICATION if name == "stoep" else ComponentType.LIBRARY
        parts[name] = _component(found, hashes.get(name, []), kind)
        needs[name] = [
            name_of(match[0])
            for text in found.requires or ()
            if "extra ==" not in text and (match := _REQUIREMENT.match(text))
        ]
    whole = parts.pop("stoep")
    told = BomMetaData(component=whole, timestamp=datetime.fromtimestamp(epoch_s, UTC))
    bom = Bom(components=parts.values(), metadata=told)
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, f"{whole.purl} {sorted(hashes.items())}")
    parts["stoep"] = whole
    for name, component in parts.items():
        bom.register_dependency(component, [parts[it] for it in needs[name] if it in parts])
    text = make_outputter(bom, OutputFormat.JSON, _VERSION).output_as_string(indent=1)
    if error := JsonStrictValidator(_VERSION).validate_str(text):
        raise ValueError(f"the bill of materials breaks its schema: {error}")
    return json.dumps(json.loads(text), indent=1, sort_keys=True) + "\n"
