"""Dashboard, alert rules and page of monitoring: they name only what the gateway tells."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from network_in_hand import NetworkInHand
from prometheus_client.parser import text_string_to_metric_families
from stoep_gateway.exposition import Exposition
from watched import CONFIG, parts_of

ROOT = Path(__file__).parents[2]
RULES = ROOT / "packaging" / "prometheus" / "stoep.rules.yml"
DASHBOARD = json.loads((ROOT / "packaging" / "grafana" / "stoep.json").read_text(encoding="utf-8"))
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)
PREFIXES = r"\b(?:stoep|process|python)_[a-z_]+\b"
HISTOGRAM = ("_bucket", "_sum", "_count")

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool: install Debian's package prometheus"
)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """Return the names of all samples that a gateway may tell."""
    network = NetworkInHand(tmp_path_factory.mktemp("site"), CONFIG)
    text = Exposition(parts_of(network)).text().decode()
    names = set()
    for family in text_string_to_metric_families(text):
        if family.type == "counter":
            names.add(f"{family.name}_total")
        elif family.type == "histogram":
            names |= {family.name + suffix for suffix in HISTOGRAM}
        else:
            names.add(family.name)
    return names


def rules():
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return group["rules"]


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def test_alerts_ask_for_what_is_told(told):
    for rule in rules():
        named = set(re.findall(PREFIXES, rule["expr"]))
        assert named <= told, rule["alert"]
        assert named or "up{" in rule["expr"]


def test_the_dashboard_asks_for_what_is_told(told):
    asked = set()
    for expression in expressions():
        named = set(re.findall(PREFIXES, expression))
        assert named, expression
        assert named <= told, expression
        asked |= named
    own = {name for name in told if name.startswith("stoep_") and not name.endswith("_count")}
    forgotten = {name.removesuffix("_bucket").removesuffix("_sum") for name in own - asked}
    assert forgotten <= {
        "stoep_broker_connections_total",
        "stoep_clock_known",
        "stoep_commit_records",
        "stoep_commit_seconds",
        "stoep_downlink_spare_seconds",
        "stoep_gateway_last_seen_timestamp_seconds",
        "stoep_gateway_rejected_total",
        "stoep_gateways_unregistered",
        "stoep_outbox_oldest_timestamp_seconds",
        "stoep_source_connected",
    }


def test_the_dashboard_can_be_imported():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    boxes = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    cells = [
        (x, y)
        for box in boxes
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(cells) == len(set(cells)), "panels lie on each other"
    assert all(box["x"] + box["w"] <= 24 for box in boxes)
    variables = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD)))
    assert used <= variables
    assert "id" not in DASHBOARD, "of one installation"


def test_each_alert_tells_what_it_is_and_what_to_do():
    names = [rule["alert"] for rule in rules()]
    assert len(names) == len(set(names))
    for rule in rules():
        assert re.fullmatch("Stoep[A-Z][A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_and_every_metric_is_on_the_page(told):
    page = (ROOT / "docs" / "monitoring.md").read_text(encoding="utf-8")
    for rule in rules():
        assert f"`{rule['alert']}`" in page
    for name in told:
        if name.startswith("stoep_"):
            base = name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
            assert f"`{base}" in page, base
    assert set(re.findall(r"`(stoep_[a-z_]+[a-z])", page)) <= told | {
        name.removesuffix("_bucket") for name in told
    }


@needs_promtool
def test_promtool_takes_the_rules_and_their_tests():
    for arguments in (
        ("check", "rules", "--lint=all", "--lint-fatal", str(RULES)),
        ("test", "rules", str(RULES.with_suffix(".test.yml"))),
    ):
        run = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


@needs_promtool
def test_promtool_understands_the_dashboard(tmp_path):
    file = tmp_path / "dashboard.yml"
    asked = [
        {"record": f"panel:{number}", "expr": expression.replace("$instance", ".*")}
        for number, expression in enumerate(expressions())
    ]
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": asked}]}))
    run = subprocess.run(
        [PROMTOOL, "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
