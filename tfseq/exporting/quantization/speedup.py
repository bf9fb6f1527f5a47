"""The speed-up of a quantized file: both files timed in turn in one process, so that both suffer what disturbs one.

Files too large to be open at once are timed one after the other.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

LEAST, MOST = 7, 50  # rounds
LEAST_APART = 3  # of one file
QUICK = 0.03  # seconds


@dataclass(frozen=True)
class Speed:
    """Times in milliseconds (medians), and how many times as fast the second is: the median over rounds, and the
    range that holds the middle half of them."""

    before: float
    after: float
    faster: float
    low: float
    high: float
    rounds: int


def compare_speed(before: Callable[[], Any], after: Callable[[], Any], seconds: float = 3.0) -> Speed:
    """Times both in turn, for about `seconds`.

    In a round each runs first for nothing, to have the other's caches and waiting threads behind it; then counts the
    median of some runs.
    """
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() < end):
        pair = (_typical(before), _typical(after))
        times.append(pair)
    array = np.array(times) * 1e3  # (rounds, 2)
    low, faster, high = np.percentile(array[:, 0] / array[:, 1], (25, 50, 75))
    first, second = np.median(array, axis=0)
    return Speed(float(first), float(second), float(faster), float(low), float(high), len(times))


def run_times(run: Callable[[], Any], seconds: float = 1.5) -> list[float]:
    """Seconds that a run takes, again and again for about `seconds`; the first run does not count."""
    _timed(run)
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < LEAST_APART or (len(times) < MOST and time.perf_counter() < end):
        times.append(_timed(run))
    return times


def compare_apart(before: list[float], after: list[float]) -> Speed:
    """Of two files that were timed one after the other; the range is that of their quartiles.

    Args:
        before, after: as `run_times` gives them.
    """
    (quick, old, slow), (quicker, new, slower) = (1e3 * np.percentile(times, (25, 50, 75)) for times in (before, after))
    rounds = min(len(before), len(after))
    return Speed(float(old), float(new), float(old / new), float(quick / slower), float(slow / quicker), rounds)


def _typical(run: Callable[[], Any]) -> float:
    first = _timed(run)
    return float(np.median([_timed(run) for _ in range(5 if first < QUICK else 1)]))


def _timed(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
