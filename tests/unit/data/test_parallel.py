"""Threads that decode and read: in order, and not waited for when iteration stops early."""

import threading
from collections.abc import Callable

import pytest

from copyfold.data.reading.epochs import Reading
from copyfold.data.reading.parallel import in_order


def within_a_minute(close: Callable[[], object]) -> bool:
    """Whether a call returns; one that waits for ever is left to a thread that dies with the test."""
    closer = threading.Thread(target=close, daemon=True)
    closer.start()
    closer.join(60)
    return not closer.is_alive()


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_results_come_in_order(workers):
    assert list(in_order(lambda n: n * n, range(40), workers)) == [n * n for n in range(40)]


def test_an_error_is_raised_at_its_place_in_the_order():
    squares = in_order(lambda n: 1 // (5 - n), range(40), 2)
    assert [next(squares) for _ in range(5)] == [0, 0, 0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(squares)


def test_closing_early_does_not_wait_for_running_work():
    go_on = threading.Event()
    results = in_order(lambda n: n if n == 0 else go_on.wait(300), range(40), 2)
    assert next(results) == 0
    try:
        assert within_a_minute(results.close)
    finally:
        go_on.set()


def test_closing_early_does_not_wait_for_prefetching():
    go_on = threading.Event()
    reading = Reading(None)  # type: ignore[arg-type]
    reading._pool.submit(go_on.wait, 300)
    try:
        assert within_a_minute(lambda: reading.__exit__())
    finally:
        go_on.set()
