"""What the commands share: reports, tables, files, and how a command gets its arguments."""

import argparse
import csv
import math
import os
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rmt_alpha._tables import lines

table = lines
"""Lay out rows under a header."""

PICTURES = (".png", ".pdf", ".svg")


DATA = (
    "a .npz file (arrays X, y), a .csv file (label: the column named y or label, else the last), or a bundled set: "
    "digits:A,B, wine:A,B, cancer:small, cancer:large; /1 or /2 after it takes every other row, and after digits "
    "+noise, +blur or +rotation, with =STRENGTH or without, shifts the images: digits:3,5/2+rotation=45"
)
"""What `rmt_alpha.estimation.datasets.load` takes."""


@dataclass
class Report:
    """What a command has to say: as data for ``--json``, as lines for people, and an exit status."""

    data: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    status: int = 0


def interactive(arguments: argparse.Namespace) -> bool:
    """Tell whether a person is watching standard error."""
    return not arguments.json and sys.stderr.isatty()


def ends(low: float, high: float) -> tuple[float, float]:
    """Check the ends of the α axis."""
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"--alpha-min must be finite and below --alpha-max, got {low:g} and {high:g}")
    return low, high


def plain(value: Any) -> Any:
    """Return what JSON can hold: lists for arrays, null for nan and the infinities."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def check_out(out: Path | None, *suffixes: str) -> None:
    """Refuse a file that cannot be written before the work is done."""
    if out is None:
        return
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"--out must end in {', '.join(suffixes)}, got {str(out)!r}")
    require_writable("--out", out)


def require_writable(option: str, out: Path) -> None:
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise ValueError(f"{option} {out} cannot be written")


def write_csv(out: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as error:
        raise ValueError(f"--out {out}: {error.strerror}") from None


def picture(out: Path, draw: Callable[[Any], None], panels: int = 1) -> Path:
    """Draw one figure into a file, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * panels, 4.4), layout="constrained")
    draw(figure.subplots(1, panels))
    try:
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise ValueError(f"--out {out}: {error.strerror}") from None
    return out


def number_or_name(text: str) -> float | str:
    """Read an option that may be either."""
    try:
        return float(text)
    except ValueError:
        return text


def add_command(
    commands: Any, name: str, run: Callable[..., Report], example: str, *, seed: int | None = 0
) -> argparse.ArgumentParser:
    """Add a command, with what all of them have: --json, --seed, an example."""
    summary = (run.__doc__ or "").strip()
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example: rmt-alpha {name} {example}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # an example must stay on its line to be copied
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser._negative_number_matcher = re.compile(
        r"-((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|inf|nan)$", re.IGNORECASE
    )  # argparse's misses 1e3
    parser.add_argument("--json", action="store_true", help="print one JSON object (null where undefined)")
    what = "seed of all random numbers" + (" (default: %(default)s)" if seed is not None else ", instead of FILE's")
    parser.add_argument("--seed", type=int, default=seed, help=what)
    return parser


def add_trials(parser: argparse.ArgumentParser, default: int) -> None:
    """Add --trials."""
    what = "simulated experiments" if default else "simulated experiments to set beside theory"
    parser.add_argument("--trials", type=int, default=default, help=f"{what} (default: %(default)s)")
