"""The forecast's bench in small, and the aims that its page tells of."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "bench" / "forecast.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_forecast", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_collections_of_edinburgh(bench):
    score = bench.edinburgh()
    off = {name: mean.value() for name, mean in score.found.items()}
    assert score.found["forecast"].count > 8000
    assert off["forecast"] < 15.5
    assert off["forecast"] < off["mean"] < off["rate_x_gap"]
    assert score.inside["collection"].value() == pytest.approx(0.9, abs=0.03)


@pytest.mark.slow
def test_made_up_containers(bench):
    score = bench.simulated(24, 63, seed=2000)
    off = {name: mean.value() for name, mean in score.level.items()}
    assert score.level["forecast"].count > 2000
    assert off["forecast"] == min(off.values())
    assert off["forecast"] < 0.8 * off["persistence"]
    for horizon in ("24h", "72h"):
        # Of fewer containers than the bench's, from another draw.
        assert score.inside[horizon].value() == pytest.approx(0.9, abs=0.05), horizon
    precision, recall = score.rule()
    assert score.precision_at(recall) > precision


def test_visits_to_blantyres_skips_are_reported(bench, capsys):
    bench.report("blantyre", bench.skips())
    said = capsys.readouterr().out
    assert "forecast_blantyre_persistence_24h_mae" in said
    assert "forecast_blantyre_interval_24h" in said
