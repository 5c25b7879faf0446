r"""Labelled data from files and from scikit-learn's bundled sets, as two-class tasks to transfer between.

A bundled set is named by ``SET:PART``, with two things that may follow: ``/HALF`` and, if its rows are images,
``+SHIFT`` or ``+SHIFT=STRENGTH``.

- Parts. ``digits:A,B``, two of ten digits, and ``wine:A,B``, two of three cultivars: A is -1, B is +1. ``cancer:small``
  and ``cancer:large``, breast tumours, malignant ones +1: those whose "mean area" is at most the median of their own
  label, and the others. One median for both labels would leave 17 malignant tumours among the small ones, against 268
  others; so there are 106 against 179, and 106 against 178. The nine features of radius, perimeter and area are left
  out, since a split made label by label makes size tell the label: with them training from scratch on 40 rows
  (γ = 1) is right in 98 % of cases, as good as any transfer; without them α = 0 is right in 95 and 96 % (to small, to
  large), α = 1 in 96 and 97 %.
- Halves. ``/1`` and ``/2`` are every other row of each class, in the order of the set, from the first and from the
  second. ``/1`` of one part shares no row with ``/2`` of any other, also where the two have a class in common.
- Shifts, of 8 × 8 images with grey levels from 0 (paper) to 16 (ink), outside of which is paper:
  ``noise`` adds to every pixel a normal number whose standard deviation is the strength, in grey levels, and clips
  nothing. Each row of the set has its own fixed noise, times the strength.
  ``blur`` takes the mean over a Gaussian window whose standard deviation is the strength, in pixels.
  ``rotation`` turns counter-clockwise about the centre by the strength, in degrees, with linear interpolation.

The default strengths, 6 grey levels, 1.5 pixels and 30 degrees, are middling. Over 20 pairs of digits, from half ``/1``
to half ``/2`` shifted, n = 40 and γ = γ̃ = 1, accuracy at α = 0 and at α = 1 is .915 and .942 (noise), .945 and .954
(blur), .982 and .984 (rotation; α = 1 is the worse in 5 pairs). At γ = 10 it is .923 and .959, .914 and .944, .971 and
.963 (the worse in 13).

A shifted set has the images of the unshifted one, but no row is equal (above strength 0). So what looks for rows in
both (`held_out`) does not see that they are the same images, and a source head trained on ``digits:3,5`` knows those of
``digits:3,5+blur`` that it is tested on. Transfer from ``digits:3,5/1`` to ``digits:3,5/2+blur`` instead, as `tasks`
does.
"""

import csv
import math
import os
import tokenize
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np
import scipy  # which loads ndimage when a shift first asks for it
from numpy.typing import ArrayLike, NDArray

from rmt_alpha._validation import FloatArray, check_memory, real, real_array

LARGEST = 1e100  # squares and their sums stay within float64


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
        - ``wine:A,B``: two of its three cultivars of wine, 0, 1 and 2, likewise.
        - ``cancer:small``, ``cancer:large``: its breast tumours, split by size, malignant ones as +1.

        ``/1`` or ``/2`` after a bundled set takes one half of it; after digits ``+noise``, ``+blur`` or ``+rotation``
        shifts the images, as in ``digits:3,5/2+rotation=45``. The number is a standard deviation in grey levels (0 to
        16; 6 by default), one in pixels (0 to 8; 1.5), or an angle in degrees (-180 to 180; 30). The module says what
        they do, and why a shifted set should not be the target of a source that has the same images.

        In files the labels may be any two distinct numbers or strings; the first in sorted order becomes -1. They are
        called what the file calls them; equal numbers are one label, called what the first of them is.

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
    >>> load("digits:6,8/1").X.shape, load("cancer:small").X.shape
    ((178, 64), (285, 21))
    >>> load("digits:6,8/2").X.std().round(2), load("digits:6,8/2+noise=3").X.std().round(2)
    (np.float64(6.02), np.float64(6.71))
    """
    return _located(spec, _bundled, _read_npz, _read_csv)


@dataclass(frozen=True, eq=False)
class Samples:
    """Samples with whatever labels they have.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Samples in rows.
    labels : tuple of str, or None
        The label of each row, as the data write it; None without labels.
    name : str
        What messages call them.
    features : tuple of str, or None
        Names of the columns, where they are known.
    """

    X: FloatArray = field(repr=False)
    labels: tuple[str, ...] | None = field(repr=False)
    name: str
    features: tuple[str, ...] | None


def load_samples(spec: str | os.PathLike[str], p: int, features: Sequence[str] | None = None) -> Samples:
    r"""Read samples for a head to predict.

    Parameters
    ----------
    spec : str or path
        As in `load`, except that there may be any labels, or none:

        - ``NAME.npz`` may lack ``y``.
        - ``NAME.csv``, if it has a header and `features` are known, must name each of them; they are found by name. A
          column ``y`` or ``label`` that is none of them holds labels, and so does one more column behind all features
          in their order. Other columns are ignored. If the names of one of the two are not known, there must be p
          columns, or p and one with labels.
    p : int
        Number of features of the head.
    features : sequence of str, optional
        Their names.

    Returns
    -------
    Samples
        Named after `spec`.

    Raises
    ------
    ValueError
        If the data cannot be read or are not as described; the message names the file and the place.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "new.csv"
    ...     _ = path.write_text("height,id,label,age\n1.5,k,yes,30\n")
    ...     samples = load_samples(path, 2, ["age", "height"])
    >>> samples.X, samples.labels
    (array([[30. ,  1.5]]), ('yes',))
    """

    def bundled(name: str) -> Samples:
        data = _bundled(name)
        return Samples(data.X, tuple(data.classes[int(sign > 0.0)] for sign in data.y), name, data.features)

    def npz(path: Path, name: str) -> Samples:
        arrays = _npz_arrays(path, "X")
        X, y = real_array("X", arrays["X"]), arrays.get("y")
        if X.ndim != 2 or X.size == 0:
            raise ValueError(f"X must be a matrix with at least one row and one column, got shape {X.shape}")
        if y is not None and y.shape != X.shape[:1]:
            raise ValueError(f"y must have shape ({len(X)},) to fit the rows of X, got {y.shape}")
        return Samples(X, None if y is None else tuple(map(label_text, _usable(y))), name, None)

    return _located(spec, bundled, npz, lambda path, name: _csv_samples(path, name, p, features))


_Data = TypeVar("_Data", LabelledData, Samples)


def _located(
    spec: str | os.PathLike[str],
    bundled: Callable[[str], _Data],
    npz: Callable[[Path, str], _Data],
    table: Callable[[Path, str], _Data],
) -> _Data:
    """Read a bundled set, or a file with the reader of its kind; name it in messages."""
    if not isinstance(spec, str | os.PathLike):
        raise ValueError(f"spec must be text or a path, got {type(spec).__name__}")
    name = os.fspath(spec)
    try:
        if name.partition(":")[0] in _BUNDLED and ":" in name:
            return bundled(name)
        path = Path(name)
        reader = {".npz": npz, ".csv": table}.get(path.suffix.lower())
        if reader is None:
            known = ", ".join(kind.form for kind in _BUNDLED.values())
            raise ValueError(f"unknown kind of data, expected a .npz file, a .csv file, {known}")
        if not path.is_file():
            raise ValueError("is not a file" if path.exists() else "no such file")
        return reader(path, name)
    except OSError as error:
        raise ValueError(f"{name}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _read_npz(path: Path, name: str) -> LabelledData:
    arrays = _npz_arrays(path, "X", "y")
    X, y = arrays["X"], arrays["y"]
    if X.ndim != 2 or y.ndim != 1 or len(X) != len(y):
        raise ValueError(f"X must have shape (n, p) and y shape (n,), got {X.shape} and {y.shape}")
    signs, classes = _signs(y)
    return LabelledData(X, signs, name, classes)


def _npz_arrays(path: Path, *needed: str) -> dict[str, NDArray[np.generic]]:
    """Read X and y, as far as they are there."""
    if not zipfile.is_zipfile(path):
        raise ValueError("is not an .npz archive")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for key in needed:
                if key not in members:
                    raise ValueError(f"has no array {key!r}, only {', '.join(map(repr, members)) or 'nothing'}")
            return {key: _read_array(archive, key, members[key]) for key in ("X", "y") if key in members}
    except zipfile.BadZipFile as error:
        raise ValueError(f"is a damaged .npz archive ({error})") from None


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


_Rows = list[tuple[int, list[str]]]


def _read_csv(path: Path, name: str) -> LabelledData:
    rows = _csv_rows(path)
    top, width = [cell.strip() for cell in rows[0][1]], len(rows[0][1])
    if width < 2:
        raise ValueError("must have at least two columns, a feature and the label")
    _refuse_index(rows)
    header = all(_number(cell) is None for cell in top)
    numbered = top[:-1] == [str(j) for j in range(width - 1)] and (_number(top[-1]) in (None, width - 1))
    at = _label_column(top) if header else None
    at = width - 1 if at is None else at
    columns = [j for j in range(width) if j != at]
    X, labels = _csv_values(rows, columns, at, header)
    numbers = [_number(label) for label in labels]
    try:
        y, classes = _signs(np.array(labels if None in numbers else numbers), labels)
    except ValueError as error:
        hint = "; is the first line a header? Then give the columns names, not numbers" if numbered else ""
        raise ValueError(f"{error}{hint}") from None
    return LabelledData(X, y, name, classes, tuple(top[j] for j in columns) if header else None)


def _csv_samples(path: Path, name: str, p: int, features: Sequence[str] | None) -> Samples:
    rows = _csv_rows(path)
    top, width = [cell.strip() for cell in rows[0][1]], len(rows[0][1])
    wanted = None if features is None else [feature.strip() for feature in features]
    header = all(_number(cell) is None for cell in top) or (wanted is not None and set(wanted) <= set(top))
    at = _label_column(top, wanted or ()) if header else None
    columns = [j for j in range(width) if j != at]
    if header and wanted is not None:
        columns, at = _by_name(top, at, wanted)
    else:
        _refuse_index(rows)
        if at is None and width == p + 1:
            at = columns.pop()
        if len(columns) != p:
            raise ValueError(f"must have a column for each of the head's {p} features, got {len(columns)}")
    X, labels = _csv_values(rows, columns, at, header)
    if not len(X):
        raise ValueError("must have at least one row")
    found = features if wanted is not None else [top[j] for j in columns] if header else None
    return Samples(X, None if at is None else tuple(labels), name, None if found is None else tuple(found))


def _csv_rows(path: Path) -> _Rows:
    """Return the lines that are not blank: their numbers and cells."""
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
    return rows


def _refuse_index(rows: _Rows) -> None:
    line, cells = rows[0]
    if not cells[0].strip():
        raise ValueError(
            f"line {line} begins with a blank cell: an index column? Leave it out, in pandas to_csv(index=False)"
        )


def _label_column(header: Sequence[str], features: Sequence[str] = ()) -> int | None:
    """Find the column that is called y or label, and is no feature."""
    called = [j for j, cell in enumerate(header) if cell.lower() in ("y", "label") and cell not in features]
    if len(called) > 1:
        raise ValueError(f"has {len(called)} label columns: {', '.join(header[j] for j in called)}")
    return called[0] if called else None


def _by_name(header: list[str], at: int | None, features: list[str]) -> tuple[list[int], int | None]:
    """Find the columns of features, and of the label if there is one."""
    others = [j for j in range(len(header)) if j != at]
    found = [header[j] for j in others]
    if found == features:
        return others, at
    if at is None and found[:-1] == features:
        return others[:-1], others[-1]
    there = Counter(found)
    for feature, count in Counter(features).items():
        if not count == there[feature] == 1:
            listed = ", ".join(features[:8]) + (", ..." if len(features) > 8 else "")
            raise ValueError(
                f"the header must hold the head's features {listed}, each once: it has {feature!r} {there[feature]} "
                "times"
            )
    return [header.index(feature) for feature in features], at


def _csv_values(rows: _Rows, columns: list[int], at: int | None, header: bool) -> tuple[FloatArray, list[str]]:
    """Read the numbers of columns, and the labels in another one."""
    width, top = len(rows[0][1]), rows[0][1]
    rows = rows[1:] if header else rows
    X, labels = np.empty((len(rows), len(columns))), []
    for i, (line, cells) in enumerate(rows):
        if len(cells) != width:
            raise ValueError(f"line {line} has {len(cells)} cells, the first line {width}")
        X[i] = [_number(cells[j], np.nan) for j in columns]
        wrong = ~np.isfinite(X[i])
        if wrong.any():
            j = columns[int(np.argmax(wrong))]
            where = top[j].strip() if header else f"column {j + 1}"
            raise ValueError(f"line {line}, {where}: {cells[j]!r} is not a finite number")
        if at is not None:
            labels.append(cells[at].strip())
            if labels[-1].lower() in ("", "nan"):
                raise ValueError(f"line {line} has no label")
    return X, labels


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


def label_text(label: Any) -> str:
    """Return what a label is called.

    Parameters
    ----------
    label : object
        A label of any kind.

    Returns
    -------
    str
        The shortest text that is no other number of its kind, 3 for 3.0.

    Examples
    --------
    >>> label_text(3.0), label_text(1234567), label_text("yes")
    ('3', '1234567', 'yes')
    """
    return str(label).removesuffix(".0") if isinstance(label, float | np.floating) else str(label)


def match_labels(labels: Iterable[str], known: Sequence[str]) -> list[int | None]:
    """Find labels among known ones, "1.0" as "1" if all of those are numbers.

    Parameters
    ----------
    labels, known : sequence of str
        Labels, and different ones to look for them in.

    Returns
    -------
    list of int or None
        The place of each label, None where it is not there.

    Examples
    --------
    >>> match_labels(["5.0", "3", "7"], ["3", "5"])
    [1, 0, None]
    """
    texts: dict[Any, int] = {label: i for i, label in enumerate(known)}
    numbers = {_number(label): i for i, label in reversed(list(enumerate(known)))}
    if None in numbers:
        numbers = {}
    return [texts.get(label, numbers.get(_number(label))) for label in labels]


def _usable(labels: NDArray[np.generic]) -> NDArray[np.generic]:
    if labels.dtype.kind not in "biufU":
        raise ValueError(f"labels must be numbers or strings, got dtype {labels.dtype}")
    if labels.dtype.kind == "f" and not np.isfinite(labels.astype(np.float64)).all():
        raise ValueError("labels must be finite")
    return labels


def _signs(labels: NDArray[np.generic], texts: Sequence[str] | None = None) -> tuple[FloatArray, tuple[str, str]]:
    """Map two distinct labels, in sorted order, to -1 and +1; return what they are called as well.

    The first of the texts of equal labels is what these are called.
    """
    values, first, index = np.unique(_usable(labels), return_index=True, return_inverse=True)
    names = [label_text(labels[i]) if texts is None else texts[i] for i in first[:5]]
    if len(values) != 2:
        found = ", ".join(names) + (", ..." if len(values) > 5 else "")
        raise ValueError(f"needs exactly two distinct labels, found {len(values)}: {found}")
    return 2.0 * index.reshape(-1) - 1.0, (names[0], names[1])


# Bundled sets.


class _Arrays(NamedTuple):
    X: FloatArray
    label: NDArray[np.intp]
    features: tuple[str, ...] | None


@dataclass(frozen=True)
class _Bundled:
    """A set of scikit-learn's: its loader, what to make of that, the labels of each part, and their names."""

    form: str
    loader: str
    arrays: Callable[[Any], _Arrays]
    parts: dict[str, tuple[int, int]]
    classes: tuple[str, ...]
    image: tuple[int, int] | None = None


def _pairs(count: int) -> dict[str, tuple[int, int]]:
    return {f"{a},{b}": (a, b) for a, b in permutations(range(count), 2)}


def _by_size(bunch: Any) -> _Arrays:
    """Label the tumours 0 and 1 (small), 2 and 3 (large), the odd ones malignant; leave out what measures size."""
    names = [str(name) for name in bunch.feature_names]
    malignant = (bunch.target == list(bunch.target_names).index("malignant")).astype(np.intp)
    area = bunch.data[:, names.index("mean area")]
    medians = np.array([np.median(area[malignant == label]) for label in (0, 1)])
    other = [not any(word in name for word in ("radius", "perimeter", "area")) for name in names]
    features = tuple(name for name, keep in zip(names, other, strict=True) if keep)
    return _Arrays(bunch.data[:, other], malignant + 2 * (area > medians[malignant]), features)


_BUNDLED = {
    "digits": _Bundled(
        form="digits:A,B with two different digits from 0 to 9",
        loader="load_digits",
        arrays=lambda bunch: _Arrays(bunch.data, bunch.target, None),
        parts=_pairs(10),
        classes=tuple("0123456789"),
        image=(8, 8),
    ),
    "wine": _Bundled(
        form="wine:A,B with two different cultivars from 0 to 2",
        loader="load_wine",
        arrays=lambda bunch: _Arrays(bunch.data, bunch.target, tuple(bunch.feature_names)),
        parts=_pairs(3),
        classes=tuple("012"),
    ),
    "cancer": _Bundled(
        form="cancer:small or cancer:large",
        loader="load_breast_cancer",
        arrays=_by_size,
        parts={"small": (0, 1), "large": (2, 3)},
        classes=("benign", "malignant") * 2,
    ),
}


def _bundled(spec: str) -> LabelledData:
    """Read SET:PART/HALF+SHIFT=STRENGTH, of which all but the first two may be missing."""
    rest, plus, shift = spec.partition("+")
    rest, slash, half = rest.partition("/")
    name, _, part = rest.partition(":")
    bundled = _BUNDLED[name]
    if part not in bundled.parts:
        raise ValueError(f"expected {bundled.form}")
    if slash and half not in ("1", "2"):
        raise ValueError(f"expected /1 or /2, a half of the rows, got {slash + half!r}")
    labels = bundled.parts[part]
    X, label, features = _arrays(name)
    groups = [np.flatnonzero(label == k) for k in labels]
    if slash:
        groups = [group[int(half) - 1 :: 2] for group in groups]
    rows = np.sort(np.concatenate(groups))
    samples = X[rows]
    if plus:
        if bundled.image is None:
            raise ValueError(f"only images can be shifted, {name} has none")
        images = _shifted(samples.reshape(-1, *bundled.image), rows, shift)
        samples = images.reshape(samples.shape)
    y = np.where(label[rows] == labels[1], 1.0, -1.0)
    return LabelledData(samples, y, spec, (bundled.classes[labels[0]], bundled.classes[labels[1]]), features)


@cache
def _arrays(name: str) -> _Arrays:
    """Load a bundled set once, since studies ask for it hundreds of times."""
    try:
        module = import_module("sklearn.datasets")
    except ImportError:
        raise ValueError('the bundled data sets need scikit-learn: pip install "rmt_alpha[data]"') from None
    bundled = _BUNDLED[name]
    return bundled.arrays(getattr(module, bundled.loader)())


@dataclass(frozen=True)
class _Shift:
    """A change of images: of their array, their row numbers in the set and a strength; the strength's range."""

    apply: Callable[[FloatArray, NDArray[np.intp], float], FloatArray]
    unit: str
    default: float
    low: float
    high: float


def _add_noise(images: FloatArray, rows: NDArray[np.intp], strength: float) -> FloatArray:
    # drawn for the rows of the set one after the other, so that a row's does not depend on which others are here
    noise = np.random.Generator(np.random.PCG64(0)).standard_normal((int(rows.max()) + 1, *images.shape[1:]))
    return images + strength * noise[rows]


SHIFTS = {
    "noise": _Shift(_add_noise, "grey levels", 6.0, 0.0, 16.0),
    "blur": _Shift(
        lambda images, _, width: scipy.ndimage.gaussian_filter(images, (0.0, width, width), mode="constant"),
        "pixels",
        1.5,
        0.0,
        8.0,
    ),
    "rotation": _Shift(
        lambda images, _, angle: scipy.ndimage.rotate(images, angle, axes=(1, 2), reshape=False, order=1),
        "degrees",
        30.0,
        -180.0,
        180.0,
    ),
}
"""The shifts of images by name."""


def _shifted(images: FloatArray, rows: NDArray[np.intp], text: str) -> FloatArray:
    """Shift images as SHIFT or SHIFT=STRENGTH says."""
    name, equals, strength = text.partition("=")
    if name not in SHIFTS:
        raise ValueError(f"expected a shift {', '.join(f'+{known}' for known in SHIFTS)}, got {'+' + name!r}")
    shift = SHIFTS[name]
    value = _number(strength) if equals else shift.default
    if value is None:
        raise ValueError(f"{name} must be a number of {shift.unit}, got {strength!r}")
    value = real(f"{name} in {shift.unit}", value, shift.low, shift.high)
    return np.asarray(shift.apply(images, rows, value))
