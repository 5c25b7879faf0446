"""Numbers of the suite as the documentation has them: formats, tables, a picture, and all of it in terms of JSON."""

import math
from pathlib import Path
from typing import Any

from benchmarks.reports import machine, table, today, version_numbers
from benchmarks.suite import Agreement, Case, Row, of, slopes
from rmt_alpha.plots import COLOURS

PACKAGES = ("scipy", "numba", "scikit-learn")
"""What else the times depend on."""


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
            cells = [size, duration(row["ours"]), duration(row["theirs"]), factor(row), str(row["rounds"]), agreement]
            lines.append([name if i == 0 else "", *map(unbroken, cells)])
    return table(["case", "size", "ours", "theirs", "theirs / ours", "rounds", "agreement"], lines)


def overview(cases: dict[str, Case], rows: list[Row]) -> str:
    """Return a line for each case: the ratio at the largest size of both, and the slopes with their sizes."""
    lines = []
    for name, case in cases.items():
        mine = of(rows, name)
        last = [row for row in mine if row["ratio"] is not None][-1]
        cells = [f"{case.label} = {shown(last['size'])}", factor(last)]
        for fitted, sides in zip(slopes(mine).values(), (("ours", "theirs"), ("ours",)), strict=True):
            if fitted is None:
                cells.append("–")
                continue
            low, high = map(shown, fitted["sizes"])
            exponents = ", ".join(f"{round(fitted[side], 2) + 0.0:.2f}".replace("-", "−") for side in sides)
            cells.append(f"{exponents} ({low}–{high})")
        lines.append([name, *map(unbroken, cells)])
    return table(["case", "largest size of both", "theirs / ours", "slopes: ours, theirs", "slope beyond: ours"], lines)


def slower(cases: dict[str, Case], rows: list[Row]) -> str:
    """Say where the other way is faster."""
    found = []
    for name, case in cases.items():
        sizes = [shown(row["size"]) for row in of(rows, name) if row["ratio"] is not None and row["ratio"] < 1.0]
        if sizes:
            found.append(f"{name} ({case.label} = {', '.join(sizes)})")
    return f"The other way is faster in: {'; '.join(found) or 'none'}."


def document(cases: dict[str, Case], rows: list[Row], *, quick: bool, repeats: int) -> dict[str, Any]:
    """Return all that was measured, and where, in terms of JSON."""
    return {
        "date": today(),
        "machine": machine(),
        "versions": version_numbers(*PACKAGES),
        "quick": quick,
        "repeats": repeats,
        "cases": [
            {
                "name": name,
                "job": case.job,
                "against": case.against,
                "size": case.label,
                "slopes": slopes(of(rows, name)),
                "rows": [{k: v for k, v in row.items() if k != "case"} for row in of(rows, name)],
            }
            for name, case in cases.items()
            if of(rows, name)
        ],
    }


def fragments(cases: dict[str, Case], about: dict[str, Any]) -> dict[str, str]:
    """Return what the page of the docs includes of a document: summary, list of the cases, all sizes."""
    rows = [{"case": case["name"], **row} for case in about["cases"] for row in case["rows"]]
    where, threads = about["machine"], about["machine"]["blas_threads"]
    trial = "**A trial run (`--quick`), not a measurement.** " if about["quick"] else ""
    numbers = ", ".join(f"{name} {number}" for name, number in about["versions"].items())
    place = (
        f"{trial}{where['cpu']}, {where['cores']} cores, {where['os']}; {numbers}; "
        f"{where['blas']} with {threads} thread{'s' * (threads != 1)}; {about['date']}.\n"
    )
    jobs = "".join(f"- **{name}**: {case.job}; against {case.against}.\n" for name, case in cases.items())
    summary = [overview(cases, rows), slower(cases, rows) + "\n", place]
    return {"summary": "\n".join(summary), "cases": jobs, "sizes": comparisons(cases, rows)}


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
