"""Theory and simulation over a grid: sweep."""

import argparse
import math
import sys
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from rmt_alpha._validation import check_memory, integer, real
from rmt_alpha.cli._shared import Report, add_command, interactive, require_writable
from rmt_alpha.cli._theory import PROBLEM

SWEEP = """\
trials = 100                # of each point; 0: theory alone
seed = 1                    # also: method, noise, dof, test_size

[grid]                      # arguments of a problem: a number, an array, or a range
beta = [0.2, 0.8]
n = [50, 100]
p = [100, 200]
gamma = { start = 0.01, stop = 1, num = 3, spacing = "log" }
alpha = [0, 1, "optimal"]
together = [["n", "p"]]     # these vary in step
"""
"""What a sweep's file looks like."""


SETTINGS = {"trials": int, "seed": int, "order": int, "method": str, "noise": str, "dof": float, "test_size": int}
"""What the file of a sweep says beside the grid, and as what."""


def sweep(arguments: argparse.Namespace) -> Report:
    """Theory and simulation over a grid of problems, described by a TOML file, as a table."""
    from rmt_alpha.sweeps import sweep

    for name, least in (("trials", 0), ("workers", 1)):
        if getattr(arguments, name) is not None:
            integer(f"--{name}", getattr(arguments, name), least)
    out, table = _sweep_files(arguments)
    given = {name: getattr(arguments, name) for name in ("trials", "seed") if getattr(arguments, name) is not None}
    plan = {"trials": 100, "seed": 0} | _read_sweep(arguments.file) | given
    checkpoint = out if plan["trials"] else None
    try:
        result = sweep(**plan, workers=arguments.workers, progress=interactive(arguments), checkpoint=checkpoint)
        result.to_csv(table)
    except ValueError as error:
        raise ValueError(f"{arguments.file}: {error}") from None
    except KeyboardInterrupt:
        if checkpoint is not None and out.exists():
            print(f"{out} keeps what is finished: the same command with --resume continues", file=sys.stderr)
        raise

    points = math.prod(result.shape[:-1])
    data = {"points": points, "rows": points * result.shape[-1], "trials": result.trials, "axes": list(result.dims)}
    lines = [f"{points} points at {result.shape[-1]} values of α, {result.trials or 'no'} trials at each point."]
    if result.seed is not None:
        scores = np.abs(result["z"])
        largest = float(np.nanmax(scores)) if not np.isnan(scores).all() else math.nan
        data |= {"largest_z": largest, "seed": result.seed.entropy, "out": str(out)}
        bias = "1/n" if result.order == 1 else "1/n²"
        lines.append(f"Largest |z| of the accuracy, in which theory's own O({bias}) error shows: {largest:.2f}")
        lines.append(f"Trials: {out}")
    return Report({**data, "csv": str(table)}, [*lines, f"Table: {table}"])


def _sweep_files(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return the files for trials and table; refuse, before the work is done, what would be lost or fail."""
    out: Path = arguments.out
    require_writable("--out", out)
    table: Path = arguments.csv or out.with_suffix(".csv")
    require_writable("--csv", table)
    if len({path.resolve() for path in (out, table, arguments.file)}) < 3:
        raise ValueError(f"--out {out}, --csv {table} and {arguments.file} must be different files")
    if not arguments.resume:
        if out.exists():
            raise ValueError(f"--out {out} is there already: continue it with --resume, or name another file")
        if arguments.csv is None and table.exists():
            raise ValueError(f"{table}, where the table would go, is there already: name another file with --csv")
    return out, table


def _read_sweep(file: Path) -> dict[str, Any]:
    """Return what a sweep's file says, as keywords of `rmt_alpha.sweep`; its ranges written out."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # neither TOML nor text
        raise ValueError(f"{file} is not a TOML file: {error}") from None
    grid = content.pop("grid", None)
    if not isinstance(grid, dict):
        raise ValueError(f"{file}: [grid] is missing, the table of the problem's arguments")
    for where, entries, known in (("", content, SETTINGS), ("grid.", grid, (*PROBLEM, "alpha", "together"))):
        for key in entries:
            if key not in known:
                raise ValueError(f"{file}: {where}{key} is unknown, the keys here are {', '.join(known)}")
    for key, value in content.items():
        kind = SETTINGS[key]
        if isinstance(value, bool) or not isinstance(value, kind | int if kind is float else kind):
            raise ValueError(f"{file}: {key} must be of type {kind.__name__}, got {value!r}")
    for name in PROBLEM[:4]:
        if name not in grid:
            raise ValueError(f"{file}: grid.{name} is missing")
    for name in (*PROBLEM, "alpha"):
        if name in grid:
            grid[name] = _axis(f"{file}: grid.{name}", grid[name], whole=name in ("n", "p", "n_source"))
    return {**content, **grid}


def _axis(where: str, value: Any, *, whole: bool) -> Any:
    """Return the values of one argument, those of a range written out, and rounded where they count something."""
    if isinstance(value, dict):
        return _written_out(where, value, whole=whole)
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, bool) or not isinstance(entry, int | float | str):
            raise ValueError(f"{where} must be a number, an array or a range {{ start, stop, num }}, got {entry!r}")
    return value


def _written_out(where: str, value: dict[str, Any], *, whole: bool) -> Any:
    spacing = value.get("spacing", "linear")
    if not {"start", "stop", "num"} <= set(value) <= {"start", "stop", "num", "spacing"}:
        raise ValueError(f"{where} must have start, stop and num, and may have spacing, got {', '.join(value)}")
    if spacing not in ("linear", "log"):
        raise ValueError(f'{where}.spacing must be "linear" or "log", got {spacing!r}')
    low = 0.0 if spacing == "log" else -math.inf
    start, stop = (real(f"{where}.{end}", value[end], low, open_low=spacing == "log") for end in ("start", "stop"))
    num = integer(f"{where}.num", value["num"])
    check_memory(f"{where}.num = {num}", 1e3 * num)
    values = np.geomspace(start, stop, num) if spacing == "log" else np.linspace(start, stop, num)
    return np.rint(values) if whole else values


def add_sweep(commands: Any) -> None:
    """Add sweep."""
    example = "sweep.toml --out results.sqlite\n\nwith sweep.toml such as\n\n" + textwrap.indent(SWEEP, "  ")
    command = add_command(commands, "sweep", sweep, example, seed=None)
    command.add_argument("file", type=Path, metavar="FILE.toml", help="the grid, see below")
    what = "file that keeps the trials as they are finished, so that a run that was stopped can be continued"
    command.add_argument("--out", type=Path, required=True, help=what)
    command.add_argument("--csv", type=Path, help="the table (default: --out with the ending .csv)")
    command.add_argument("--resume", action="store_true", help="continue --out, if it is there")
    command.add_argument("--workers", type=int, help="threads (default: one for each CPU)")
    command.add_argument("--trials", type=int, help="simulated experiments at each point, instead of FILE's")
