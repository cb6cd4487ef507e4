"""The virtual clock."""

import pytest
from stoep_hardware.engine import Engine


def test_callbacks_run_in_order_of_time_and_ties_in_order_of_asking():
    engine = Engine()
    ran = []
    for name, t_us in (("b", 20), ("a", 10), ("c", 20)):
        engine.at(t_us, lambda name=name: ran.append((name, engine.now_us)))
    engine.run_until(30)
    assert ran == [("a", 10), ("b", 20), ("c", 20)]
    assert engine.now_us == 30


def test_a_callback_may_ask_for_more_at_its_own_time():
    engine = Engine()
    ran = []
    engine.at(10, lambda: engine.after(0, lambda: ran.append(engine.now_us)))
    engine.run_until(10)
    assert ran == [10]


def test_a_cancelled_callback_does_not_run_and_is_not_next():
    engine = Engine()
    handle = engine.at(10, lambda: pytest.fail("it was cancelled"))
    engine.at(20, lambda: None)
    handle.cancel()
    assert not handle.is_due
    assert engine.next_us() == 20
    engine.run_until(20)
    assert engine.next_us() is None


def test_the_past_is_refused():
    engine = Engine()
    engine.run_until(10)
    with pytest.raises(ValueError, match="already 10 us"):
        engine.at(9, lambda: None)


def test_time_stays_at_the_callback_that_failed():
    engine = Engine()

    def fail():
        raise RuntimeError("broken")

    engine.at(5, fail)
    with pytest.raises(RuntimeError, match="broken"):
        engine.run_until(10)
    assert engine.now_us == 5


def test_randomness_depends_on_the_seed_and_the_purpose_alone():
    one, same, other = Engine(1), Engine(1), Engine(2)
    same.random("another purpose").random()
    assert one.random("air").random() == same.random("air").random()
    assert one.random("air").random() != other.random("air").random()
    assert one.random("air") is one.random("air")
