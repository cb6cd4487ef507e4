"""What pip-audit's answers come to; its format is pip-audit 2.x's JSON."""

import importlib.util
import sys
from pathlib import Path

import pytest

PACKAGING = Path(__file__).parents[2] / "packaging"


@pytest.fixture(scope="module")
def audit():
    sys.path.insert(0, str(PACKAGING))
    try:
        spec = importlib.util.spec_from_file_location("audit", PACKAGING / "audit.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(PACKAGING))
    return module


def test_each_vulnerability_is_told_with_what_mends_it(audit):
    report = {
        "dependencies": [
            {
                "name": "h11",
                "version": "0.14.0",
                "vulns": [{"id": "X-1", "fix_versions": ["0.16"]}],
            },
            {"name": "idna", "version": "3.20", "vulns": []},
            {"name": "odd", "version": "1", "vulns": [{"id": "X-2", "fix_versions": []}]},
            {"name": "pyvrp", "skip_reason": "not found"},
        ]
    }
    found = ["h11 0.14.0: X-1, mended in 0.16", "odd 1: X-2"]
    assert audit.verdict(report) == (found, 3, 1)


@pytest.mark.parametrize(
    "answer",
    [None, {"dependencies": [{"name": "h11", "skip_reason": "not found on PyPI"}]}],
)
def test_data_that_cannot_be_reached_is_said_and_no_failure(audit, monkeypatch, capsys, answer):
    monkeypatch.setattr(audit, "_ask", lambda release: answer)
    assert audit.main() == 0
    assert capsys.readouterr().out == (
        "pip-audit: its data cannot be reached from here; nothing was audited\n"
    )


def test_a_vulnerability_fails_the_check(audit, monkeypatch, capsys):
    known = {"name": "h11", "version": "0", "vulns": [{"id": "X-1", "fix_versions": []}]}
    monkeypatch.setattr(audit, "_ask", lambda release: {"dependencies": [known]})
    assert audit.main() == 1
    assert "h11 0: X-1\npip-audit: bookworm: 1 packages, known vulnerabilities: 1" in (
        capsys.readouterr().out
    )
