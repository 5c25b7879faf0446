"""Results as tables: in a notebook, and as what pandas and xarray hold.

The HTML is a table and nothing else: no style, so that it takes the colours of the page, dark ones included. Its
caption says what it is, and every header says whether it heads a row or a column, for those who have it read aloud. Of
a batch the first entries are shown, and only these are computed.
"""

import importlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
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
        Significant digits of numbers; two of what follows ±.

    Returns
    -------
    str
        The first entries of arrays, the beginning of what is long.
    """
    if isinstance(value, tuple):
        return f"{text(value[0])} ± {text(value[1], 2)}"
    if isinstance(value, np.ndarray) and value.ndim:
        shown = [text(x, digits) for x in value.ravel()[:_ENTRIES]]
        return f"({', '.join([*shown, '…'] if value.size > _ENTRIES else shown)})"
    if isinstance(value, np.ndarray | np.generic):
        value = value.item()
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    written = f"{value:.{digits}g}" if isinstance(value, float) else str(value)
    return written if len(written) <= _CHARACTERS else f"{written[:_CHARACTERS]}…"


def table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, more: int = 0) -> str:
    """Write a table.

    Parameters
    ----------
    caption : str
        What it is.
    columns : sequence of str
        Headers of the columns.
    rows : iterable of sequences
        The first entry heads the row; the others are written by `text`.
    more : int, default 0
        Number of rows that are not shown.

    Returns
    -------
    str
        HTML, in which everything is escaped.
    """
    lines = ["<table>", f"<caption>{escape(text(caption))}</caption>"]
    lines += ["<thead>", f"<tr>{''.join(_cell('th', name, 'col') for name in columns)}</tr>", "</thead>", "<tbody>"]
    for head, *cells in rows:
        lines.append(f"<tr>{_cell('th', head, 'row')}{''.join(_cell('td', cell) for cell in cells)}</tr>")
    lines.append("</tbody>")
    if more:
        lines.append(f'<tfoot><tr><td colspan="{len(columns)}">… and {more} more</td></tr></tfoot>')
    return "\n".join([*lines, "</table>"])


def _cell(tag: str, value: Any, scope: str = "") -> str:
    attribute = f' scope="{scope}"' if scope else ""
    return f"<{tag}{attribute}>{escape(text(value))}</{tag}>"


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
    return [", ".join(str(int(i)) for i in place) for place in zip(*index, strict=True)]


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


def axes_of(shape: tuple[int, ...], axes: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Name the axes of a batch.

    Parameters
    ----------
    shape : tuple of int
        Of the batch.
    axes : mapping
        Names of all its axes in their order, each with its labels, or None for 0, 1, …; or nothing at all.

    Returns
    -------
    dict of ndarray
        Labels of each axis by name; dim_0, dim_1, … where none were given, as xarray calls them.

    Raises
    ------
    ValueError
        If there are names, and not one for each axis, or labels that do not fit.
    """
    names = axes or {f"dim_{i}": None for i in range(len(shape))}
    if len(names) != len(shape):
        raise ValueError(f"axes must name the {len(shape)} axes of shape {shape}, got {', '.join(names) or 'none'}")
    labels = {
        name: np.arange(size) if given is None else np.asarray(given)
        for (name, given), size in zip(names.items(), shape, strict=True)
    }
    for (name, array), size in zip(labels.items(), shape, strict=True):
        if array.shape != (size,):
            raise ValueError(f"{name} must have shape ({size},), one label for each entry, got shape {array.shape}")
    return labels
