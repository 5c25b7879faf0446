"""Timing side by side, so that a ratio does not depend on what else the machine did."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

Task = Callable[[], Any]


def side_by_side(*tasks: Task, repeats: int) -> np.ndarray:
    """Return the seconds of each task, a row per round of alternating runs, after a warm-up."""
    for task in tasks:
        task()
    return rounds_of(*tasks, repeats=repeats)


def rounds_of(*tasks: Task, repeats: int) -> np.ndarray:
    """Return the seconds of each task, a row per round of alternating runs."""
    rounds = []
    for _ in range(repeats):
        times = [time.perf_counter()]
        for task in tasks:
            task()
            times.append(time.perf_counter())
        rounds.append(np.diff(times))
    return np.array(rounds)


def ratio(seconds: np.ndarray, ours: int, theirs: int) -> float:
    """Return the median over the rounds of their time over ours."""
    return float(np.median(seconds[:, theirs] / seconds[:, ours]))


def slope(sizes: Any, values: Any) -> float:
    """Return the slope of log values against log sizes, by least squares."""
    return float(np.polynomial.Polynomial.fit(np.log(sizes), np.log(values), 1).convert().coef[1])
