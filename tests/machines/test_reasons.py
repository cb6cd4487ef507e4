"""Every reason under which something is counted is in the operator's table."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
GATEWAY = ROOT / "gateway" / "stoep_gateway"


def test_every_reason_is_explained_to_the_operator():
    table = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    told = set(re.findall(r"`([a-z_]+)(?:…)?`", table))
    prefixes = tuple(re.findall(r"`([a-z]+_)…`", table))
    reasons = set()
    for path in GATEWAY.rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        reasons |= set(re.findall(r'Rejected\(\s*"([a-z_]+)"', source))
        reasons |= set(re.findall(r'Outputs\(\(\), None, "([a-z_]+)"', source))
    assert len(reasons) > 25
    for reason in sorted(reasons):
        assert reason in told or reason.startswith(prefixes), reason
        if reason.startswith(("gwmp_", "rxpk_")):
            assert reason in told or f"`{reason.partition('_')[2]}`" in table, reason
