"""What is logged cannot be taken for what was not."""

import logging

import pytest
from stoep_gateway import log


@pytest.fixture(autouse=True)
def as_before():
    root = logging.getLogger("stoep_gateway")
    before = root.handlers[:], root.level, root.propagate
    yield
    root.handlers[:], root.level, root.propagate = before


def test_what_strangers_send_neither_makes_lines_nor_steers_a_terminal(capsys):
    log.set_up()
    logging.getLogger("stoep_gateway.test").warning("rejected %s", "a\nb\x1b[2Jc\x9bd")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r"rejected a\x0ab\x1b[2Jc\x9bd")


def test_a_traceback_keeps_its_lines(capsys):
    log.set_up()
    try:
        raise ValueError("why")
    except ValueError:
        logging.getLogger("stoep_gateway.test").exception("failed")
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: why"
