"""The growth of a computation with its input, measured in processor time of this thread: other load does not count."""

import statistics
import time
from collections.abc import Callable
from typing import TypeVar

Input = TypeVar("Input")

_REPEATS = 5
_MAX_FACTOR = 3.0
"""Twice the input takes twice the time where growth is linear, and four times where it is quadratic."""
_NOISE = 0.003
"""Seconds below which a measurement says little."""


def median_seconds(work: Callable[[], object], repeats: int = _REPEATS) -> float:
    """Return the median processor time of a computation in seconds."""
    taken = []
    for _ in range(repeats):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return statistics.median(taken)


def assert_linear(work: Callable[[Input], object], once: Input, twice: Input, repeats: int = _REPEATS) -> None:
    """Fail where a computation takes three times as long or more for an input of twice the size."""
    small = max(median_seconds(lambda: work(once), repeats), _NOISE)
    large = median_seconds(lambda: work(twice), repeats)
    assert large < _MAX_FACTOR * small, f"{small * 1000:.1f} ms became {large * 1000:.1f} ms for twice the input"
