"""Cases of the suite: two ways to one result, held against each other, then timed in turns over a range of sizes."""

import math
import os
import platform
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_info

from benchmarks.reports import table
from benchmarks.timing import Task, rounds_of, slope
from rmt_alpha.plots import COLOURS

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


def slopes(rows: list[Row]) -> dict[str, float | None]:
    """Return the exponents of the size in the time of both sides, at the largest sizes of each."""
    result: dict[str, float | None] = {}
    for side in ("ours", "theirs"):
        known = [row for row in rows if row[side] is not None][-LARGEST:]
        result[side] = None
        if len(known) > 1:
            result[side] = slope([row["size"] for row in known], [row[side] for row in known])
    return result


# What was measured, where.


def machine() -> dict[str, Any]:
    """Return processor, number of cores, operating system and BLAS, with its threads here and now."""
    blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
    names = sorted({f"{info['internal_api']} {info['version']}" for info in blas})
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "os": f"{platform.system()} {platform.machine()}",
        "blas": ", ".join(names),
        "blas_threads": max((info["num_threads"] for info in blas), default=None),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def today() -> str:
    return datetime.now(UTC).date().isoformat()


# Tables and picture.


def duration(seconds: float | None) -> str:
    """Return a time with three digits and its unit."""
    if seconds is None:
        return "–"
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 0.9995 or unit == "µs":
            return f"{three(seconds * factor)} {unit}"
    raise AssertionError


def three(value: float) -> str:
    """Return a number with three digits, without an exponent."""
    digits = max(2 - math.floor(math.log10(value)), 0) if value > 0.0 else 0
    return f"{round(value, 2 - math.floor(math.log10(value))):,.{min(digits, 3)}f}"


def factor(row: Row) -> str:
    """Return how many times as long the other way takes, with quartiles; in bold where it is faster."""
    if row["ratio"] is None:
        return "–"
    text = f"{three(row['ratio'])} ({three(row['quartiles'][0])}–{three(row['quartiles'][1])})"
    return text if row["ratio"] >= 1.0 else f"**{text}**"


def shown(size: int) -> str:
    """Return a size without separators: powers of ten as such."""
    exponent = round(math.log10(size))
    power = str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{power}" if exponent >= 4 and size == 10**exponent else str(size)


def unbroken(text: str) -> str:
    """Return a cell that a narrow page does not break."""
    return text.replace(" ", "\N{NO-BREAK SPACE}").replace("-", "\N{NON-BREAKING HYPHEN}")


def comparisons(cases: dict[str, Case], rows: list[Row]) -> str:
    """Return the table of all sizes."""
    lines = []
    for name, case in cases.items():
        for i, row in enumerate(of(rows, name)):
            agreement = "–" if row["agreement"] is None else str(Agreement(**row["agreement"]))
            size = f"{case.label} = {shown(row['size'])}"
            cells = [size, duration(row["ours"]), duration(row["theirs"]), factor(row), agreement]
            lines.append([name if i == 0 else "", *map(unbroken, cells)])
    return table(["case", "size", "ours", "theirs", "theirs / ours", "agreement"], lines)


def overview(cases: dict[str, Case], rows: list[Row]) -> str:
    """Return a line for each case: the ratio at the largest size of both, and the slopes."""
    lines = []
    for name, case in cases.items():
        mine = of(rows, name)
        last = [row for row in mine if row["ratio"] is not None][-1]
        exponents = ["–" if value is None else f"{value:.2f}" for value in slopes(mine).values()]
        lines.append([name, *map(unbroken, (f"{case.label} = {shown(last['size'])}", factor(last))), *exponents])
    return table(["case", "largest size of both", "theirs / ours", "slope, ours", "slope, theirs"], lines)


def slower(cases: dict[str, Case], rows: list[Row]) -> str:
    """Say where the other way is faster."""
    found = []
    for name, case in cases.items():
        sizes = [shown(row["size"]) for row in of(rows, name) if row["ratio"] is not None and row["ratio"] < 1.0]
        if sizes:
            found.append(f"{name} ({case.label} = {', '.join(sizes)})")
    return f"The other way is faster in: {'; '.join(found) or 'none'}."


def of(rows: list[Row], name: str) -> list[Row]:
    return [row for row in rows if row["case"] == name]


def plot(cases: dict[str, Case], rows: list[Row], path: Path) -> None:
    """Draw time against size, a panel for each case."""
    from matplotlib.figure import Figure

    columns = 3
    lines = math.ceil(len(cases) / columns)
    figure = Figure(figsize=(7.0, 1.9 * lines + 0.4), layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes[len(cases) :]:
        ax.remove()
    for ax, (name, case) in zip(axes, cases.items(), strict=False):
        for side, style, colour in (("ours", "o-", COLOURS[0]), ("theirs", "s--", COLOURS[1])):
            known = [(row["size"], row[side]) for row in of(rows, name) if row[side] is not None]
            ax.loglog(*zip(*known, strict=True), style, color=colour, ms=4, lw=1.2, label=side)
        ax.set_title(name, fontsize=8)
        ax.set_xlabel(case.label, fontsize=8)
        ax.tick_params(labelsize=7)
        sizes = [row["size"] for row in of(rows, name)]
        ax.set_xticks(sizes, ["" if 0 < i < len(sizes) - 1 else shown(size) for i, size in enumerate(sizes)])
        ax.minorticks_off()
        ax.grid(alpha=0.3)
    for ax in axes[: len(cases) : columns]:
        ax.set_ylabel("seconds", fontsize=8)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)
