"""A plan for a large town on a small machine, from what is stored to what is published."""

from __future__ import annotations

from pathlib import Path

import stored_town


def test_500_containers_are_planned_on_one_core_with_half_a_gigabyte(tmp_path: Path) -> None:
    file, now_ms = stored_town.write(tmp_path, 500, "iterations = 300")
    planned = stored_town.plan(file, now_ms, limit_mb=512)
    (summary,) = (it for it in planned.messages if "skipped" in it)
    rounds = [it for it in planned.messages if "stops" in it]
    told = [it["container"] for it in (*summary["skipped"], *summary["deferred"])]
    told += [stop["id"] for it in rounds for stop in it["stops"] if stop["action"] == "empty"]
    assert sorted(told) == sorted(f"c{number}" for number in range(1, 501))
    assert summary["totals"]["containers"] > 150
    assert planned.seconds < 10  # of a processor
    assert planned.rss_mb < 200
