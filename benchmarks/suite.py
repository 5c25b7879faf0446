"""Cases of the suite: two ways to one result, held against each other, then timed in turns over a range of sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from benchmarks.timing import Task, rounds_of, slope

SHORTEST = 0.01
"""Seconds between two looks at the clock, at least: a shorter task is called again and again."""

FEWEST = 3
"""Rounds of a slow comparison, unless fewer are asked for."""

LARGEST = 3
"""Sizes that a slope is fitted to: small ones show what a call costs, not how the work grows."""

Row = dict[str, Any]
"""A comparison at one size, as it is in the JSON file."""


class Agreement(NamedTuple):
    """How far two results are apart: their relative difference, or |z|; and how far they may be."""

    kind: str
    value: float
    allowed: float

    @property
    def holds(self) -> bool:
        """Whether the results are close enough; nan is not."""
        return self.value <= self.allowed

    def __str__(self) -> str:
        return f"{self.value:.1f} s.e." if self.kind == "z" else f"{self.value:.0e}"


def to_rounding(ours: Any, theirs: Any, allowed: float = 1e-9) -> Agreement:
    """Compare two arrays by their largest difference, relative to the largest entry."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    assert ours.shape == theirs.shape, f"shapes {ours.shape} and {theirs.shape}"
    return Agreement("relative", float(np.abs(ours - theirs).max() / np.abs(theirs).max()), allowed)


def exact(ours: Task, theirs: Task) -> "Pair":
    """Pair two tasks whose results are the same to rounding."""
    return Pair(ours, theirs, lambda: to_rounding(ours(), theirs()))


def in_standard_errors(difference: Any, stderr: Any, allowed: float = 5.0) -> Agreement:
    """Compare two estimates, or an estimate and a number, by the largest |z|."""
    return Agreement("z", float(np.abs(np.asarray(difference) / stderr).max()), allowed)


@dataclass(frozen=True)
class Pair:
    """Two ways to one result.

    Parameters
    ----------
    ours, theirs : callable
        The tasks.
    agreement : callable
        Computes both results, and compares them.
    units : (float, float)
        How often each task does its job in one call.
    """

    ours: Task
    theirs: Task
    agreement: Callable[[], Agreement]
    units: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Case:
    """A comparison over a range of sizes.

    Parameters
    ----------
    job, against : str
        What is done, and by what else, in words.
    label : str
        What the size is.
    pair : callable
        Returns the pair of a size.
    sizes, quick : tuple of int
        The sizes, and those of a trial run.
    alone : tuple of int
        Sizes beyond, at which the other way is not waited for.
    """

    job: str
    against: str
    label: str
    pair: Callable[[int], Pair]
    sizes: tuple[int, ...]
    quick: tuple[int, ...]
    alone: tuple[int, ...] = ()


def compared(name: str, case: Case, size: int, repeats: int, seconds: float) -> Row:
    """Check that both ways agree at a size, and time them."""
    pair = case.pair(size)
    tasks: list[Task] = [pair.ours, pair.theirs]
    row: Row = {"case": name, "size": size, "agreement": None}
    if size in case.alone:
        tasks = tasks[:1]
    else:
        agreement = pair.agreement()
        if not agreement.holds:
            allowed = agreement._replace(value=agreement.allowed)
            raise ArithmeticError(f"{name}, {case.label} = {size}: results differ by {agreement}, allowed is {allowed}")
        row["agreement"] = agreement._asdict()
    units = np.array(pair.units[: len(tasks)])
    once = rounds_of(*tasks, repeats=2)[-1]
    calls = np.maximum(np.ceil(SHORTEST / once), 1).astype(int)
    rounds = min(max(int(seconds / (once @ calls)), FEWEST), repeats)
    again = [partial(_repeat, task, int(count)) for task, count in zip(tasks, calls, strict=True)]
    measured = rounds_of(*again, repeats=rounds) / (calls * units)
    row |= {"rounds": rounds, "ours": float(np.median(measured[:, 0]))}
    row |= {"theirs": None, "ratio": None, "quartiles": None}
    if len(tasks) == 2:
        low, middle, high = np.quantile(measured[:, 1] / measured[:, 0], [0.25, 0.5, 0.75]).tolist()
        row |= {"theirs": float(np.median(measured[:, 1])), "ratio": middle, "quartiles": [low, high]}
    return row


def _repeat(task: Task, count: int) -> None:
    for _ in range(count):
        task()


def slopes(rows: list[Row]) -> dict[str, Row | None]:
    """Return the exponents of the size in the time, each with the first and the last of the sizes it was fitted to.

    Those of both sides, at the largest sizes that both were timed at; and ours at the largest of all, if there is more.
    """
    both = [row for row in rows if row["ratio"] is not None]
    more = rows if len(rows) > len(both) else []
    return {"both": _fitted(both, "ours", "theirs"), "beyond": _fitted(more, "ours")}


def _fitted(rows: list[Row], *sides: str) -> Row | None:
    rows = rows[-LARGEST:]
    if len(rows) < 2:
        return None
    sizes = [row["size"] for row in rows]
    return {"sizes": [sizes[0], sizes[-1]], **{side: slope(sizes, [row[side] for row in rows]) for side in sides}}


def of(rows: list[Row], name: str) -> list[Row]:
    """Return the rows of a case."""
    return [row for row in rows if row["case"] == name]
