"""Work on threads, ahead of its consumer."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beam_pipeline.runtime.threads import batched, map_ahead


@given(st.lists(st.integers()), st.integers(1, 3), st.integers(1, 5))
def test_results_come_in_order(numbers, threads, ahead):
    assert list(map_ahead(lambda number: 2 * number, numbers, threads, ahead)) == [2 * number for number in numbers]


def test_no_more_than_allowed_is_taken_ahead():
    taken = []

    def source():
        for number in range(10):
            taken.append(number)
            yield number

    results = map_ahead(str, source(), threads=1, ahead=3)
    assert next(results) == "0"
    assert taken == [0, 1, 2, 3]
    results.close()
    assert taken == [0, 1, 2, 3]


def test_work_goes_on_while_the_consumer_waits():
    second = threading.Event()
    results = map_ahead(lambda number: second.set() if number == 2 else None, [1, 2], threads=1, ahead=2)
    next(results)
    assert second.wait(timeout=30)


def test_an_error_comes_in_the_place_of_its_result():
    results = map_ahead(lambda number: 1 // number, [1, 0, 1], threads=2, ahead=3)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize(
    ("number", "batches"), [(0, []), (1, [[0]]), (4, [[0, 1], [2, 3]]), (5, [[0, 1], [2, 3], [4]])]
)
def test_batches(number, batches):
    assert list(batched(range(number), 2)) == batches
