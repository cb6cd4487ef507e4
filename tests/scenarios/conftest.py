"""What scenarios need: a real broker of their own."""

import pytest
from broker import Mosquitto


@pytest.fixture
def broker(tmp_path):
    """A Mosquitto that ends with the test."""
    with Mosquitto(tmp_path / "broker") as running:
        yield running
