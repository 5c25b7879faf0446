"""The figures of the paper, drawn anew: figures."""

import argparse
import os
import sys
import textwrap
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path
from typing import Any
from unicodedata import combining

from rmt_alpha._validation import integer
from rmt_alpha.cli._shared import Report, add_command, interactive

NEEDS_DATA = "real-data"
"""The figure that cannot be drawn without scikit-learn, which has the data."""


def figures(arguments: argparse.Namespace) -> Report:
    """Redraw the figures of the paper: theory, exact simulation, and where single draws lie; as PDF and PNG."""
    from rmt_alpha.figures import FIGURES, NAMES, draw, save

    names = list(dict.fromkeys(arguments.name)) or list(NAMES)
    for name in names:
        if name not in FIGURES:
            raise ValueError(f"NAME must be one of {', '.join(NAMES)}, got {name!r}")
    if arguments.list:
        return _listed(names)
    if not arguments.out:
        raise ValueError("--out must name a folder, got ''")  # Path("") would be the current one
    out = Path(arguments.out)
    trials = None if arguments.trials is None else integer("--trials", arguments.trials, 2)
    lines = []
    if not arguments.name and find_spec("sklearn") is None:
        names.remove(NEEDS_DATA)
        lines.append(f'Left out: {NEEDS_DATA}, whose data need scikit-learn (pip install "rmt_alpha[data]").')
    _make_folder(out, names)

    progress = interactive(arguments)
    written: list[dict[str, Any]] = []
    for name in names:
        if progress:
            print(f"{name} ({len(written) + 1} of {len(names)})", file=sys.stderr)
        try:
            drawn = draw(name, trials=trials, seed=arguments.seed, progress=progress)
            files = [str(file) for file in save(drawn, name, out)]
        except OSError as error:
            raise ValueError(f"--out {out}: {error.strerror or error}") from None
        except KeyboardInterrupt:
            done = ", ".join(entry["name"] for entry in written)
            print(f"\nWritten before the interruption: {done or 'nothing'}", file=sys.stderr)
            raise
        drawing = FIGURES[name]
        told = {"shows": drawing.shows, "setting": drawing.setting, "trials": trials or drawing.trials}
        written.append({"name": name, **told, "files": files})
    lines = [*(f"Written: {', '.join(entry['files'])}" for entry in written), *lines]
    return Report({"figures": written, "seed": arguments.seed}, lines)


def _make_folder(folder: Path, names: list[str]) -> None:
    """Make the folder, and refuse what could not be written into it before the work is done."""
    from rmt_alpha.figures import SUFFIXES

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"--out {folder}: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ValueError(f"--out {folder} cannot be written")
    for file in (folder / f"{name}{suffix}" for name in names for suffix in SUFFIXES):
        if file.is_dir():
            raise ValueError(f"--out {folder}: {file} is a folder")


def _listed(names: list[str]) -> Report:
    """Say what the figures show, and in which setting."""
    from rmt_alpha.figures import FIGURES

    rows = [
        {"name": name, **{key: getattr(FIGURES[name], key) for key in ("shows", "setting", "function", "trials")}}
        for name in names
    ]
    columns = {"name": 17, "shows": 34, "setting": 36, "trials": 6}
    lines: list[str] = []
    for row in ({key: key for key in columns}, *rows):
        whole = [str(row[key]).replace(" = ", "\u00a0=\u00a0") for key in columns]  # a value stays by its symbol
        wrapped = [textwrap.wrap(text, width) for text, width in zip(whole, columns.values(), strict=True)]
        for parts in zip_longest(*wrapped, fillvalue=""):
            cells = [_padded(part, width) for part, width in zip(parts, columns.values(), strict=True)]
            lines.append("  ".join(cells).replace("\u00a0", " ").rstrip())
    return Report({"figures": rows}, lines)


def _padded(text: str, width: int) -> str:
    """Fill up to a width on the screen, on which the tilde of γ̃ takes none."""
    return text + " " * (width - sum(not combining(letter) for letter in text))


def add_figures(commands: Any) -> None:
    """Add figures."""
    command = add_command(commands, "figures", figures, "alpha-beta gamma --out figures")
    command.add_argument("name", nargs="*", metavar="NAME", help="which figures (default: all)")
    what = "simulated experiments behind each dot, or splits of real data (default: as --list says)"
    command.add_argument("--trials", type=int, help=what)
    command.add_argument("--out", default="rmt_alpha_figures", metavar="DIR", help="folder (default: %(default)s)")
    command.add_argument("--list", action="store_true", help="only tell what the figures show, and in which setting")
