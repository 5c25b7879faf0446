r"""Labelled data from files, splits of it, and the scaling that the model asks for.

The isotropic model (THEORY §1) has samples ``x = y μ + z`` with z of unit variance in every direction. Two steps bring
real features near it, and both look at training rows only:

- centre: each domain by the midpoint ``(x̄₊ + x̄₋)/2`` of its own class means. The plain mean is ``(π₊ − π₋) μ`` away
  from the model's origin when the classes are unequal, the midpoint never is.
- scale: each feature by the root of one variance for both domains, since the source's weights are applied to the
  target. With σ_s² and σ_t² the variances within the classes of source and target, on N − 2 and n − 2 degrees of
  freedom, it is

      ((N−2) σ_s² + (n−2) σ_t²)/(N + n − 4)    where σ_t²/σ_s² is within the two-sided bounds of an F test,
      max(σ_s², σ_t²)                          where it is not: no feature varies more than the other domain explains.

  Pooled, because anything in which n rows weigh more than their share is correlated with what those rows are used for
  next: dividing ``m̂²`` (`plug_in`) by a scale that holds (σ_s² + σ_t²)/2 biases it by (p/n)·O(1/n), more than m² itself
  where n ≪ p. The exception, because domains do differ in what varies: a feature constant in N source rows would have
  variance N/n in n target rows if its variance were pooled. At level `_LEVEL` it is too rare among features that
  are alike in both domains to bring the bias back.

A feature that does not vary within the classes of either domain keeps its unit. A constant one is exactly 0 on the rows
that it was fitted on, hence has weight 0. Equal rows of one data set are so many samples: they may fall on both sides
of a split.
"""

import csv
import math
import os
import re
import tokenize
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import fdtri

from rmt_alpha._validation import FloatArray, check_memory, integer, real_array

MIN_TRAINING, MIN_HELD_OUT = 4, 2
"""Rows of each label that a split must have: an unbiased estimate of tr Σ² takes four, a test of both labels two."""

LARGEST = 1e100  # squares and their sums stay within float64
_LEVEL = 1e-4  # of the F test for variances that differ between the domains


@dataclass(frozen=True, eq=False)
class LabelledData:
    """Samples with two labels, read-only copies of what is given.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Samples in rows, between -1e100 and 1e100.
    y : array_like, shape (n,)
        Labels -1 and +1, at least two rows of each.
    name : str, default "data"
        What messages call it.
    classes : tuple of two str, default ("-1", "+1")
        What the labels stand for.
    features : tuple of str, optional
        Names of the columns.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or a label is not ±1.

    Examples
    --------
    >>> LabelledData([[0.0], [1.0], [2.0], [3.0]], [-1, -1, 1, 1], name="ladder")
    LabelledData(name='ladder', classes=('-1', '+1'), features=None)
    """

    X: FloatArray = field(repr=False)
    y: FloatArray = field(repr=False)
    name: str = "data"
    classes: tuple[str, str] = ("-1", "+1")
    features: tuple[str, ...] | None = None

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        name: str = "data",
        classes: tuple[str, str] = ("-1", "+1"),
        features: tuple[str, ...] | None = None,
    ) -> None:
        X, y = (array.copy() for array in labelled(X, y))
        for array in (X, y):
            array.setflags(write=False)
        for sign, label in zip((-1.0, 1.0), classes, strict=True):
            if (rows := int((y == sign).sum())) < 2:
                raise ValueError(f"at least two rows of each label are needed, label {label} has {rows}")
        if features is not None and len(features) != X.shape[1]:
            raise ValueError(f"features must name the {X.shape[1]} columns of X, got {len(features)} names")
        for attribute, value in {"X": X, "y": y, "name": name, "classes": classes, "features": features}.items():
            object.__setattr__(self, attribute, value)


def labelled(X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Check that X is a finite matrix and y holds one label ±1 for each of its rows.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Samples in rows.
    y : array_like, shape (n,)
        Labels.

    Returns
    -------
    X, y : ndarray
        As float64.

    Raises
    ------
    ValueError
        If they are not.
    """
    X = real_array("X", real_array("X", X), -LARGEST, LARGEST)  # first finite, for the sake of the message
    y = real_array("y", y)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X must be a matrix with at least one row and one column, got shape {X.shape}")
    if y.shape != X.shape[:1]:
        raise ValueError(f"y must have shape ({len(X)},) to fit the rows of X, got {y.shape}")
    wrong = np.abs(y) != 1.0
    if wrong.any():
        raise ValueError(f"y must hold the labels -1 and +1, got {y[wrong][0]:g}")
    return X, y


# Reading.


def load(spec: str | os.PathLike[str]) -> LabelledData:
    """Read a labelled data set.

    Parameters
    ----------
    spec : str or path
        One of

        - ``NAME.npz``: arrays ``X``, real numbers of shape (n, p), and ``y`` of shape (n,). Pickled objects are
          refused.
        - ``NAME.csv``: one sample per line, UTF-8. The separator is whichever of semicolon, tab and comma the first
          line has most of. The first line is a header if none of its cells is a number, nan and inf being numbers.
          The label is the column that the header calls ``y`` or ``label``, else the last one; all others are features.
          An index column without a name, as pandas writes it, is refused.
        - ``digits:A,B``: two digits of scikit-learn's bundled optical digits, A as -1 and B as +1.

        In files the labels may be any two distinct numbers or strings; the first in sorted order becomes -1.

    Returns
    -------
    LabelledData
        Named after `spec`.

    Raises
    ------
    ValueError
        If the data cannot be read or is not as described; the message names the file and the place.

    Examples
    --------
    >>> load("digits:6,8")
    LabelledData(name='digits:6,8', classes=('6', '8'), features=None)
    """
    if not isinstance(spec, str | os.PathLike):
        raise ValueError(f"spec must be text or a path, got {type(spec).__name__}")
    name = os.fspath(spec)
    readers = {".npz": _read_npz, ".csv": _read_csv}
    try:
        if name.startswith("digits:"):
            return _digits(name)
        path = Path(name)
        reader = readers.get(path.suffix.lower())
        if reader is None:
            raise ValueError("unknown kind of data, expected a .npz file, a .csv file or digits:A,B")
        if not path.is_file():
            raise ValueError("is not a file" if path.exists() else "no such file")
        X, y, classes, features = reader(path)
        return LabelledData(X, y, name, classes, features)
    except OSError as error:
        raise ValueError(f"{name}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


_Table = tuple[ArrayLike, FloatArray, tuple[str, str], tuple[str, ...] | None]


def _read_npz(path: Path) -> _Table:
    if not zipfile.is_zipfile(path):
        raise ValueError("is not an .npz archive")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for key in ("X", "y"):
                if key not in members:
                    raise ValueError(f"has no array {key!r}, only {', '.join(map(repr, members)) or 'nothing'}")
                arrays[key] = _read_array(archive, key, members[key])
    except zipfile.BadZipFile as error:
        raise ValueError(f"is a damaged .npz archive ({error})") from None
    X, y = arrays["X"], arrays["y"]
    if X.ndim != 2 or y.ndim != 1 or len(X) != len(y):
        raise ValueError(f"X must have shape (n, p) and y shape (n,), got {X.shape} and {y.shape}")
    return X, *_signs(y), None


def _read_array(archive: zipfile.ZipFile, key: str, member: str) -> NDArray[np.generic]:
    """Read one array, after a look at what its header claims; not through `numpy.load`, which allocates first."""
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    broken = (zipfile.BadZipFile, zlib.error, tokenize.TokenError, SyntaxError, TypeError, OverflowError, EOFError)
    try:
        with archive.open(member) as file:
            version = np.lib.format.read_magic(file)
            if version not in headers:
                raise ValueError(f"version {version} of the format")
            shape, _, dtype = headers[version](file)
        if min(shape, default=0) < 0:
            raise ValueError(f"shape {shape}")
        check_memory(f"shape {shape}", float(math.prod(shape)) * max(dtype.itemsize, 8))
        with archive.open(member) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (*broken, NotImplementedError, RuntimeError, MemoryError, ValueError) as error:
        raise ValueError(f"array {key!r} cannot be read ({error})") from None


def _read_csv(path: Path) -> _Table:
    with path.open(newline="", encoding="utf-8-sig") as file:
        first = next((line for line in file if line.strip()), "")
        file.seek(0)
        reader = csv.reader(file, delimiter=max(";\t,", key=first.count), skipinitialspace=True, strict=True)
        try:
            rows = [(reader.line_num, row) for row in reader if row not in ([], [""])]
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num} is not CSV ({error})") from None
    if not rows:
        raise ValueError("is empty")
    width = len(rows[0][1])
    if width < 2:
        raise ValueError("must have at least two columns, a feature and the label")
    names = [f"column {j + 1}" for j in range(width)]
    top = [cell.strip() for cell in rows[0][1]]
    if not top[0]:
        raise ValueError(
            f"line {rows[0][0]} begins with a blank cell: an index column? Leave it out, in pandas to_csv(index=False)"
        )
    header = all(_number(cell) is None for cell in top)
    numbered = top[:-1] == [str(j) for j in range(width - 1)] and (_number(top[-1]) in (None, width - 1))
    if header:
        names = top
        rows.pop(0)
    called = [j for j, name in enumerate(names) if name.lower() in ("y", "label")]
    if len(called) > 1:
        raise ValueError(f"has {len(called)} label columns: {', '.join(names[j] for j in called)}")
    at = called[0] if called else width - 1
    names.pop(at)

    X, labels = np.empty((len(rows), width - 1)), []
    for i, (line, cells) in enumerate(rows):
        if len(cells) != width:
            raise ValueError(f"line {line} has {len(cells)} cells, the first line {width}")
        labels.append(cells.pop(at).strip())
        X[i] = [_number(cell, np.nan) for cell in cells]
        wrong = ~np.isfinite(X[i])
        if wrong.any():
            j = int(np.argmax(wrong))
            raise ValueError(f"line {line}, {names[j]}: {cells[j]!r} is not a finite number")
        if labels[-1].lower() in ("", "nan"):
            raise ValueError(f"line {line} has no label")
    numbers = [_number(label) for label in labels]
    try:
        y, classes = _signs(np.array(labels if None in numbers else numbers))
    except ValueError as error:
        hint = "; is the first line a header? Then give the columns names, not numbers" if numbered else ""
        raise ValueError(f"{error}{hint}") from None
    return X, y, classes, tuple(names) if header else None


@overload
def _number(cell: str) -> float | None: ...
@overload
def _number(cell: str, otherwise: float) -> float: ...
def _number(cell: str, otherwise: float | None = None) -> float | None:
    """Return the cell's number, or what to say of one that is none."""
    try:
        return float(cell)
    except ValueError:
        return otherwise


def _digits(spec: str) -> LabelledData:
    match = re.fullmatch("digits:([0-9]),([0-9])", spec)
    if match is None or match[1] == match[2]:
        raise ValueError("expected digits:A,B with two different digits from 0 to 9")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError('the bundled digits need scikit-learn: pip install "rmt_alpha[data]"') from None
    X, digit = load_digits(return_X_y=True)
    first, second = int(match[1]), int(match[2])
    rows = (digit == first) | (digit == second)
    return LabelledData(X[rows], np.where(digit[rows] == second, 1.0, -1.0), spec, (match[1], match[2]))


def _signs(labels: NDArray[np.generic]) -> tuple[FloatArray, tuple[str, str]]:
    """Map two distinct labels, in sorted order, to -1 and +1; return what they were called as well."""
    if labels.dtype.kind not in "biufU":
        raise ValueError(f"labels must be numbers or strings, got dtype {labels.dtype}")
    if labels.dtype.kind == "f" and not np.isfinite(labels.astype(np.float64)).all():
        raise ValueError("labels must be finite")
    values, index = np.unique(labels, return_inverse=True)
    names = [f"{value:g}" if labels.dtype.kind == "f" else str(value) for value in values[:5]]
    if len(values) != 2:
        found = ", ".join(names) + (", ..." if len(values) > 5 else "")
        raise ValueError(f"needs exactly two distinct labels, found {len(values)}: {found}")
    return 2.0 * index.reshape(-1) - 1.0, (names[0], names[1])


# Splitting and scaling.


def split(
    y: FloatArray, n: int, stream: np.random.Generator, *, held_out: int = MIN_HELD_OUT, argument: str = "n"
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split rows at random into n training rows and the rest, each label in proportion.

    Parameters
    ----------
    y : ndarray
        Labels ±1.
    n : int
        Number of training rows; label +1 gets ``n·(share of +1)`` of them, rounded.
    stream : numpy.random.Generator
        Where the order of the rows comes from.
    held_out : int, default 2
        Rows of each label that must remain.
    argument : str, default "n"
        What messages call n.

    Returns
    -------
    training, rest : ndarray of int
        Row numbers, increasing.

    Raises
    ------
    ValueError
        If a label would get fewer than 4 training rows, or leave fewer than `held_out`.

    Examples
    --------
    >>> y = np.repeat([-1.0, 1.0], [12, 6])
    >>> training, rest = split(y, 12, np.random.default_rng(0))
    >>> y[training].sum(), y[rest].sum()
    (np.float64(-4.0), np.float64(-2.0))
    """
    n = integer(argument, n)
    if not y.size:
        raise ValueError("there are no rows to split")
    positive = round(n * float((y == 1.0).mean()))
    training = []
    for sign, count in ((-1.0, n - positive), (1.0, positive)):
        rows = np.flatnonzero(y == sign)
        if count < MIN_TRAINING or rows.size - count < held_out:
            raise ValueError(
                f"{argument} must give each label at least {MIN_TRAINING} rows for training and leave {held_out}: "
                f"{argument}={n} takes {count} of the {rows.size} rows with label {sign:+g}"
            )
        training.append(stream.permutation(rows)[:count])
    chosen = np.zeros(y.size, dtype=bool)
    chosen[np.concatenate(training)] = True
    return np.flatnonzero(chosen), np.flatnonzero(~chosen)


def within_classes(X: FloatArray, y: FloatArray) -> tuple[FloatArray, tuple[FloatArray, FloatArray]]:
    """Return the two class means, and what is left of each class's rows after subtracting its own.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Samples in rows.
    y : ndarray, shape (n,)
        Labels ±1, both present.

    Returns
    -------
    means : ndarray, shape (2, p)
        Of label -1, then +1.
    residuals : tuple of two ndarray, shapes (n₋, p) and (n₊, p)
        In the same order; exactly 0 where a feature is constant within the class.

    Examples
    --------
    >>> means, (minus, plus) = within_classes(np.array([[0.0], [2.0], [5.0]]), np.array([-1.0, -1.0, 1.0]))
    >>> means.tolist(), minus.tolist(), plus.tolist()
    ([[1.0], [5.0]], [[-1.0], [1.0]], [[0.0]])
    """
    means, residuals = [], []
    for sign in (-1.0, 1.0):
        rows = X[y == sign]
        first = rows[0]
        difference = rows - first  # so that the mean of equal numbers is that number: no rounding
        shift = difference.mean(axis=0)
        means.append(first + shift)
        difference -= shift
        residuals.append(difference)
    return np.array(means), (residuals[0], residuals[1])


@dataclass(frozen=True, eq=False)
class Standardiser:
    """Centre and scale of two domains, as the module describes.

    Parameters
    ----------
    source_centre, target_centre : ndarray, shape (p,)
        Midpoints of the class means.
    scale : ndarray, shape (p,)
        Common to both domains, positive.

    Examples
    --------
    >>> X, y = np.array([[0.0, 7.0], [2.0, 7.0], [4.0, 7.0], [6.0, 7.0]]), np.array([-1.0, -1.0, 1.0, 1.0])
    >>> Standardiser.fit(X, y, 2 * X, y).source(X)
    array([[-1.34164079,  0.        ],
           [-0.4472136 ,  0.        ],
           [ 0.4472136 ,  0.        ],
           [ 1.34164079,  0.        ]])
    """

    source_centre: FloatArray
    target_centre: FloatArray
    scale: FloatArray

    @classmethod
    def fit(
        cls, source_X: FloatArray, source_y: FloatArray, target_X: FloatArray, target_y: FloatArray
    ) -> "Standardiser":
        """Fit on the training rows of both domains.

        Parameters
        ----------
        source_X, target_X : ndarray, shapes (N, p) and (n, p)
            Training rows.
        source_y, target_y : ndarray
            Their labels ±1, at least two rows of each.

        Returns
        -------
        Standardiser
            The fit.
        """
        centres, squares, degrees = [], [], []
        for X, y in ((source_X, source_y), (target_X, target_y)):
            means, residuals = within_classes(X, y)
            centres.append(means.mean(axis=0))
            squares.append(np.sum([np.square(r).sum(axis=0) for r in residuals], axis=0))
            degrees.append(len(y) - 2)
        ours, theirs = squares[1] / degrees[1], squares[0] / degrees[0]
        low, high = (fdtri(degrees[1], degrees[0], level) for level in (0.5 * _LEVEL, 1.0 - 0.5 * _LEVEL))
        alike = (low * theirs <= ours) & (ours <= high * theirs)
        variance = np.where(alike, (squares[0] + squares[1]) / sum(degrees), np.maximum(ours, theirs))
        return cls(centres[0], centres[1], np.sqrt(np.where(variance > 0.0, variance, 1.0)))

    def source(self, X: FloatArray) -> FloatArray:
        """Standardise rows of the source.

        Parameters
        ----------
        X : ndarray, shape (..., p)
            Rows.

        Returns
        -------
        ndarray
            As `X`.
        """
        Z = X - self.source_centre
        Z /= self.scale  # in place: the time of large data sets is that of their copies
        return Z

    def target(self, X: FloatArray) -> FloatArray:
        """Standardise rows of the target.

        Parameters
        ----------
        X : ndarray, shape (..., p)
            Rows.

        Returns
        -------
        ndarray
            As `X`.
        """
        Z = X - self.target_centre
        Z /= self.scale  # in place: the time of large data sets is that of their copies
        return Z
