"""Several boards at once: what becomes of one is not what becomes of the others."""

import threading

import pytest
from stoep_tools.flash.errors import BOARD_FAILED, FlashError
from stoep_tools.flash.together import at_once

KEY = "00112233445566778899aabbccddeeff"


def fails():
    raise FlashError("cable", "plug it in", BOARD_FAILED)


def mistaken():
    raise ValueError(f"config says {KEY}")


def test_each_board_has_its_own_end():
    meeting = threading.Barrier(2, timeout=30)
    results = at_once(
        {"a": lambda: meeting.wait() >= 0, "b": lambda: meeting.wait() >= 0, "c": fails}
    )
    assert results["a"] is results["b"] is True
    assert isinstance(results["c"], FlashError)
    assert results["c"].message == "cable"


def test_a_mistake_of_ours_ends_one_board_and_tells_no_key():
    results = at_once({"a": lambda: 1, "b": mistaken})
    assert results["a"] == 1
    problem = results["b"]
    assert isinstance(problem, FlashError)
    assert problem.exit_code == BOARD_FAILED
    assert "ValueError" in problem.message
    assert KEY not in str(problem)


def test_an_interruption_is_not_a_boards():
    def interrupted():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        at_once({"a": interrupted})
    assert at_once({"a": lambda: 1}) == {"a": 1}
