"""Results as tables: in a notebook, and as what pandas and xarray hold.

The HTML is a table and nothing else: no style, so that it takes the colours of the page, dark ones included. Its
caption says what it is, and every header says whether it heads a row or a column, for those who have it read aloud. Of
a batch the first entries are shown, and only these are computed.
"""

import importlib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROWS = 8
"""Entries of a batch that are shown."""

_ENTRIES = 6
"""Entries of a vector that are shown."""

_CHARACTERS = 300
"""Characters of a text that are shown."""

_DECIMALS = 6
"""Most decimals of a column in which decimal points stand below each other."""

_MINUS = re.compile(r"(?<![^\s(±/])-(?=[\d.]|inf)|(?<=\de)-(?=\d)")
"""Hyphens that are signs of numbers."""

_JOINTS = re.compile(r" (?=[±/] )|(?<=[±/]) ")
"""Spaces at which no line may break."""

ERRORS = {"stderr": "± s.e.", "spread": "± one draw", "predicted_spread": "predicted"}
"""The columns of a comparison that tell two errors apart: of the mean over the trials, and of single draws."""

Index = tuple[NDArray[np.intp], ...]
"""Places in a batch, as NumPy takes them."""

Cells = Mapping[str, Any]
"""What to show, by label: arrays of the batch's shape, vectors with one more axis; or pairs of a value and its ±."""


def text(value: Any, digits: int = 4) -> str:
    """Write what stands in a cell.

    Parameters
    ----------
    value : object
        A number, an array of numbers, a pair of a value and what follows ±, None for nothing, or anything else.
    digits : int, default 4
        Significant digits of numbers; pairs are written by `measured`.

    Returns
    -------
    str
        The first entries of arrays, the beginning of what is long.
    """
    if isinstance(value, tuple):
        return _pairs(*value)
    if isinstance(value, np.ndarray) and value.ndim:
        shown = [text(x, digits) for x in value.ravel()[:_ENTRIES]]
        return f"({', '.join([*shown, '…'] if value.size > _ENTRIES else shown)})"
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    written = f"{value:z.{digits}g}" if isinstance(value, float) else str(value)
    return written if len(written) <= _CHARACTERS else f"{written[:_CHARACTERS]}…"


def measured(value: float, error: float) -> str:
    """Write a value to the last digit of its error, which has two.

    Parameters
    ----------
    value, error : float
        The two of them; nan for an error that is not known.

    Returns
    -------
    str
        Plain decimals for errors from 1e-5 and values below 1e6, else powers of ten. The value alone where its error is
        nan.

    Examples
    --------
    >>> measured(0.684, 0.0054), measured(0.66782, 0.000016), measured(12345.6, 231.0)
    ('0.6840 ± 0.0054', '0.667820 ± 0.000016', '12350 ± 230')
    >>> measured(0.66782, 1.6e-7), measured(0.5505, float("nan"))
    ('6.6782000e-01 ± 1.6e-07', '0.5505')
    """
    if math.isnan(error):
        return text(value)
    if not math.isfinite(value) or not math.isfinite(error) or error <= 0.0:
        return f"{text(value)} ± {text(error, 2)}"
    last = int(f"{error:.1e}".partition("e")[2]) - 1  # the power of ten of the last digit
    if error >= 1e-5 and max(abs(value), error) < 1e6:
        decimals = max(-last, 0)
        shown, scatter = (round(x, -last) for x in (value, error))
        return f"{shown:z.{decimals}f} ± {scatter:.{decimals}f}"
    size = int(f"{abs(value):e}".partition("e")[2]) if value else last
    return f"{value:z.{min(max(size - last, 0), 15)}e} ± {error:.1e}"


def _pairs(value: Any, error: Any) -> str:
    values, errors = np.broadcast_arrays(np.asarray(value, float), np.asarray(error, float))
    if not values.ndim:
        return measured(values.item(), errors.item())
    entries = zip(values.ravel()[:_ENTRIES].tolist(), errors.ravel()[:_ENTRIES].tolist(), strict=True)
    shown = [measured(*entry) for entry in entries]
    return f"({', '.join([*shown, '…'] if values.size > _ENTRIES else shown)})"


def lines(
    header: Iterable[str], rows: Iterable[Iterable[Any]], style: str, styles: dict[int, str] | None = None
) -> list[str]:
    """Lay out rows under a header, for a terminal.

    Parameters
    ----------
    header : iterable of str
        Names of the columns.
    rows : iterable of iterables
        Texts, which stay as they are, and numbers.
    style : str
        Format of numbers.
    styles : dict of int to str, optional
        Overrides the format of single columns.

    Returns
    -------
    list of str
        One line each.
    """
    formats = styles or {}

    def cell(column: int, value: Any) -> str:
        return value if isinstance(value, str) else format(float(value), formats.get(column, style))

    cells = [list(header), *([cell(i, value) for i, value in enumerate(row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in cells]


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, more: int = 0) -> str:
    """Write a table.

    Parameters
    ----------
    caption : str
        What it is.
    columns : sequence of str
        Headers of the columns.
    rows : iterable of sequences
        The first entry heads the row. All are written by `text`, but numbers of a column with equally many decimals.
    more : int, default 0
        Number of rows that are not shown.

    Returns
    -------
    str
        HTML, in which everything is escaped.
    """
    html = ["<table>", f"<caption>{escape(_typeset(text(caption)))}</caption>"]
    html += ["<thead>", f"<tr>{''.join(_cell('th', name, 'col') for name in columns)}</tr>", "</thead>", "<tbody>"]
    heads, *others = [list(column) for column in zip(*rows, strict=True)] or [[]]
    shown = zip(heads, _aligned(heads), strict=True)
    named = [head if isinstance(head, str) else _typeset(written) for head, written in shown]
    body = [[_typeset(cell) for cell in _aligned(column)] for column in others]
    for head, *cells in zip(named, *body, strict=True):
        html.append(f"<tr>{_cell('th', head, 'row')}{''.join(_cell('td', cell) for cell in cells)}</tr>")
    html.append("</tbody>")
    if more:
        html.append(f'<tfoot><tr><td colspan="{len(columns)}">… and {more} more</td></tr></tfoot>')
    return "\n".join([*html, "</table>"])


def _cell(tag: str, value: str, scope: str = "") -> str:
    attribute = f' scope="{scope}"' if scope else ""
    return f"<{tag}{attribute}>{escape(text(value))}</{tag}>"


def _typeset(written: str) -> str:
    """Give numbers their sign, and keep what belongs together on one line."""
    signed = _MINUS.sub("\N{MINUS SIGN}", written).replace("/κ", "/\N{WORD JOINER}κ")
    return _JOINTS.sub("\N{NO-BREAK SPACE}", signed)


def _aligned(column: Sequence[Any]) -> list[str]:
    """Write a column, its numbers with as many decimals as the one that needs most, unless these are too many."""
    cells = [cell.item() if isinstance(cell, np.ndarray | np.generic) and not cell.ndim else cell for cell in column]
    written = [text(cell) for cell in cells]
    finite = [isinstance(cell, float) and math.isfinite(cell) for cell in cells]
    numbers = [shown for shown, number in zip(written, finite, strict=True) if number]
    decimals = max((len(shown.partition(".")[2]) for shown in numbers), default=0)
    if decimals > _DECIMALS or any("e" in shown for shown in numbers):
        return written
    return [f"{c:z.{decimals}f}" if n else w for c, w, n in zip(cells, written, finite, strict=True)]


def first(shape: tuple[int, ...], rows: int = ROWS) -> tuple[Index, int]:
    """Choose the entries of a batch that are shown.

    Parameters
    ----------
    shape : tuple of int
        Of the batch.
    rows : int, optional
        How many at most.

    Returns
    -------
    index : tuple of ndarray
        Their places; () for a single entry, which stands for itself.
    more : int
        How many are left out.
    """
    size = math.prod(shape)
    shown = min(size, rows)
    if not shape:
        return (), 0
    return tuple(np.unravel_index(np.arange(shown), shape)), size - shown


def places(index: Index) -> list[str]:
    """Write places in a batch.

    Parameters
    ----------
    index : tuple of ndarray
        As of `first`.

    Returns
    -------
    list of str
        One for each, as it would be written in brackets.
    """
    return [",\N{NO-BREAK SPACE}".join(str(int(i)) for i in place) for place in zip(*index, strict=True)]


def show(name: str, shape: tuple[int, ...], note: str, cells: Callable[[Index], Cells]) -> str:
    """Write a result as a table: a single one a quantity in each row, a batch an entry in each row.

    Parameters
    ----------
    name : str
        What it is called.
    shape : tuple of int
        Of the batch.
    note : str
        What the caption says of it.
    cells : callable
        Returns what to show at the places that it is given; () for a single result.

    Returns
    -------
    str
        HTML.
    """
    index, more = first(shape)
    with np.errstate(all="ignore"):  # what overflows shows as inf or nan
        found = cells(index)
    if not shape:
        return table(f"{name}: {note}", ("quantity", "value"), found.items())
    entries = [zip(*value, strict=True) if isinstance(value, tuple) else value for value in found.values()]
    rows = zip(places(index), *entries, strict=True)
    return table(f"{name} of shape {shape}: {note}", ("index", *found), rows, more=more)


def problem(name: str, target: Any, n: float, gamma: float, sources: Sequence[Any]) -> str:
    """Write a problem of fine-tuning as a table.

    Parameters
    ----------
    name : str
        What it is called.
    target : object
        The target task, with a short repr.
    n, gamma : float
        Number of samples, and ridge penalty.
    sources : sequence
        Trained ones have a task `mixture` or `task`, `n` and `gamma`; others are known.

    Returns
    -------
    str
        HTML.
    """
    rows: list[tuple[str, Any]] = [("target", repr(target)), ("n", f"{n:g}"), ("γ", f"{gamma:g}")]
    for k, source in enumerate(sources[:ROWS], 1):
        task = getattr(source, "mixture", getattr(source, "task", None))
        known = "weights as given" if task is None else f"ridge on {task!r}, N = {source.n:g}, γ̃ = {source.gamma:g}"
        rows.append((f"source {k}" if len(sources) > 1 else "source", known))
    more = max(len(sources) - ROWS, 0)
    return table(f"{name}: p = {target.p}, {counted(len(sources), 'source')}", ("part", "what it is"), rows, more=more)


def counted(number: int, what: str) -> str:
    """Write a number of things.

    Parameters
    ----------
    number : int
        How many.
    what : str
        Of what, with the plural that an s makes.

    Returns
    -------
    str
        The two of them.
    """
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def extra(package: str) -> Any:
    """Import a package that comes with the extra `table`.

    Parameters
    ----------
    package : str
        Its name.

    Returns
    -------
    module
        The package.

    Raises
    ------
    ImportError
        If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(f"this needs {package}: pip install 'rmt_alpha[table]'") from error


def axes_of(shape: tuple[int, ...], axes: Mapping[str, Any], taken: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """Name the axes of a batch.

    Parameters
    ----------
    shape : tuple of int
        Of the batch.
    axes : mapping
        Names of all its axes in their order, each with its labels, or None for 0, 1, …; or nothing at all.
    taken : collection of str, optional
        Names of what stands in the table, which no axis may have.

    Returns
    -------
    dict of ndarray
        Labels of each axis by name; dim_0, dim_1, … where none were given, as xarray calls them.

    Raises
    ------
    ValueError
        If there are names, and not one for each axis, or one that is taken, or labels that do not fit.
    """
    names = axes or {f"dim_{i}": None for i in range(len(shape))}
    if len(names) != len(shape):
        raise ValueError(f"axes must name the {len(shape)} axes of shape {shape}, got {', '.join(names) or 'none'}")
    for name in names:
        if name in taken:
            raise ValueError(f"axes must have names that no quantity of the table has, got {name!r}: choose another")
    labels = {
        name: np.arange(size) if given is None else np.asarray(given)
        for (name, given), size in zip(names.items(), shape, strict=True)
    }
    for (name, array), size in zip(labels.items(), shape, strict=True):
        if array.shape != (size,):
            raise ValueError(f"{name} must have shape ({size},), one label for each entry, got shape {array.shape}")
    return labels
