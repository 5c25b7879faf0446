"""A small study of rules for α on transfer tasks made of digits: benchmark-tasks."""

import argparse
import textwrap
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from rmt_alpha._validation import integer
from rmt_alpha.cli._shared import Report, add_command, check_out, interactive, table, write_csv

KINDS = ("unrelated", "shared", "shifted")
HALVES = ("report", "choose")

SHOWN = ("α = 0", "α = 1", "loo", "theory", "theory-cov", "robust", "oracle")
"""The methods that have a column in the table of cells; there are more in the CSV."""


def benchmark_tasks(arguments: argparse.Namespace) -> Report:
    """Compare the rules for α, by their accuracy on held-out rows of many small transfer tasks of digits."""
    try:
        from rmt_alpha.estimation.study import METHODS, half, run
    except ImportError as error:
        raise ValueError(str(error)) from None
    from rmt_alpha.estimation.tasks import digit_tasks

    check_out(arguments.out, ".csv")
    count = integer("--tasks", arguments.tasks, 2)
    sizes = list(dict.fromkeys(arguments.n))
    tasks = []
    for kind in dict.fromkeys(arguments.kind):
        found = list(islice((task for task in digit_tasks(kind) if half(task) == arguments.half), count))
        if len(found) < count:
            raise ValueError(f"--tasks must be at most {len(found)}, the {kind} tasks of this half, got {count}")
        # a line needs two tasks whose targets have n/2 rows of each label, and 2 more to test on
        most = sorted(2 * min(int((task.target.y == sign).sum()) for sign in (-1.0, 1.0)) - 4 for task in found)[-2]
        if max(sizes) > most:
            raise ValueError(f"--n must be at most {most} for two of the {kind} tasks to have it, got {max(sizes)}")
        tasks += found
    result = run(
        tasks,
        n=sizes,
        gamma=list(dict.fromkeys(arguments.gamma)),
        splits=arguments.splits,
        seed=arguments.seed,
        workers=arguments.workers,
        progress=interactive(arguments),
    )
    cells = result.cells()
    methods = [
        {
            "method": name,
            "accuracy": float(np.nanmean(result.method(name))),
            "regret": float(np.nanmean(result.regret(name))),
        }
        for name in METHODS
    ]
    level = sum(cell["difference"] >= -cell["stderr"] for cell in cells)
    summary = {
        "half": arguments.half,
        "tasks": list(result.tasks),
        "splits": arguments.splits,
        "seed": arguments.seed,
        "cells": cells,
        "methods": methods,
        "cells_level": level,
        "against_first_rule": result.against("first rule"),
        "gamma_by_loo": result.gamma_by_loo(),
    }
    lines = _lines(summary)
    if arguments.out is not None:
        columns = ("task", "kind", "n", "gamma", "method", "accuracy")
        write_csv(arguments.out, columns, _rows(result, METHODS))
        summary["out"] = str(arguments.out)
        lines.append(f"Table: {arguments.out}")
    return Report(summary, lines)


def _rows(result: Any, methods: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [
        (task, kind, n, gamma, method, float(result.accuracy[t, i, m, j]))
        for t, (task, kind) in enumerate(zip(result.tasks, result.kinds, strict=True))
        for i, n in enumerate(result.n)
        for j, gamma in enumerate(result.penalties)
        for m, method in enumerate(methods)
    ]


def _lines(summary: dict[str, Any]) -> list[str]:
    """Say the summary in words."""
    cells = [
        (c["kind"], f"{c['n']}", c["gamma"], *(c["accuracy"][m] for m in SHOWN), c["difference"], c["stderr"], c["p"])
        for c in summary["cells"]
    ]
    header = ("kind", "n", "γ", *SHOWN, "robust − fixed", "± s.e.", "p")
    styles = {len(header) - 3: "+.3f", len(header) - 1: ".2g"}
    methods = [(m["method"], m["accuracy"], 1000.0 * m["regret"]) for m in summary["methods"]]
    first, by_loo = summary["against_first_rule"], summary["gamma_by_loo"]
    said = [
        f"robust − fixed: difference to the better of α = 0 and α = 1 on average over the tasks of that very line. p: "
        f"signed-rank test, adjusted for {len(cells)} lines.",
        f"Within one standard error robust is level with it, or better, in {summary['cells_level']} of {len(cells)}.",
        f"robust − first rule, over all: {first['difference']:+.4f} ± {first['stderr']:.4f}.",
        f"robust with γ = loo − with the best fixed γ ({by_loo['best']:g}): {by_loo['difference']:+.4f} ± "
        f"{by_loo['stderr']:.4f}.",
    ]
    return [
        f"{len(summary['tasks'])} tasks of the half “{summary['half']}”, {summary['splits']} splits: accuracy on "
        "held-out rows",
        "",
        *table(header, cells, ".3f", styles),
        "",
        *table(("over all", "accuracy", "regret/1000"), methods, ".3f", {2: ".1f"}),
        "",
        *(short for line in said for short in textwrap.wrap(line, 100)),
    ]


def add_benchmark_tasks(commands: Any) -> None:
    """Add benchmark-tasks."""
    command = add_command(commands, "benchmark-tasks", benchmark_tasks, "--kind shifted --tasks 4 --n 20 --splits 3")
    what = "what source and target have in common: nothing, one digit, or both under a shift (default: all three)"
    command.add_argument("--kind", choices=KINDS, nargs="+", default=list(KINDS), help=what)
    what = "tasks of each kind, at least 2 (default: %(default)s)"
    command.add_argument("--tasks", type=int, default=12, help=what)
    what = (
        "half of the tasks: report, or choose, on which the prior of the rule robust was chosen (default: %(default)s)"
    )
    command.add_argument("--half", choices=HALVES, default="report", help=what)
    what = "target rows to train on, even numbers of at least 8; one or more (default: 10 40)"
    command.add_argument("--n", type=int, nargs="+", default=[10, 40], help=what)
    what = "ridge penalties γ, one or more; loo is always there as well (default: 0.1 1 10)"
    command.add_argument("--gamma", type=float, nargs="+", default=[0.1, 1.0, 10.0], help=what)
    command.add_argument("--splits", type=int, default=5, help="random splits of each task (default: %(default)s)")
    command.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    command.add_argument("--out", type=Path, metavar="FILE.csv", help="the accuracies of all methods on every task")
