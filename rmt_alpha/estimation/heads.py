r"""Heads, the linear maps on top of features, in files.

A head with weights W, an output in each row, and intercepts b says ``f(x) = Wx + b``. With two classes there is one
output, and f > 0 means the second; with more there is an output for each, and the largest counts. Where margins are
Gaussian with mean M and variance V in units of f, Bayes' rule makes f a probability,

    P(second class | f) = 1/(1 + exp(−slope·f)),        slope = 2M/V,

with several classes the softmax of ``slope·f``. A head without classes is a regression.

A file is an ``.npz`` archive of plain arrays, nothing of which is ever executed: ``version``, and one for each
parameter of `Head`, empty where that is not known, so that no damage passes for a head that knows less. It is written
under another name first, so that its own name always stands for a whole head: the old one until the new one is
complete.
"""

import os
import secrets
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, softmax

from rmt_alpha._tables import text
from rmt_alpha._validation import FloatArray, real, real_array
from rmt_alpha.estimation.datasets import _read_array, label_text
from rmt_alpha.estimation.leave_one_out import LOOResult

VERSION = 1
"""Of the files; a file of another version is refused."""

_ARRAYS = ("coef", "intercept", "classes", "features", "alpha", "gamma", "scale", "slope")
_CERTAIN = 1e3
"""Where a logistic function is 0 or 1 in float64."""

_EXACT = 1e-6
"""What a model's output may differ from Wx + b by, relative to the sizes of the products in it."""


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Head:
    """A trained linear head, in the units of the features.

    Parameters
    ----------
    coef : array_like, shape (p,) or (d, p)
        Weights, an output in each row. The attribute has shape (d, p).
    intercept : float or array_like, shape (d,), default 0
        Added to each output. The attribute has shape (d,).
    classes : array_like, optional
        What the outputs mean: two classes for d = 1, else d of them; numbers, booleans or strings. Left out, the head
        is a regression.
    features : sequence of str, optional
        Names of the p features.
    alpha : float or array_like, optional
        The scale of the source, or several of them, that the head was trained with.
    gamma : float, optional
        The penalty that it was trained with.
    scale : array_like, shape (p,), optional
        Units of the features in which that penalty acted. The weights are not in these units, but in the original ones.
    slope : float, optional
        Turns outputs into probabilities; only with classes.

    Raises
    ------
    ValueError
        If a shape does not fit, a number is outside its range, or classes are not different.

    Notes
    -----
    `coef_`, `intercept_`, `classes_` and `feature_names_in_` are what scikit-learn's linear models call them: so a head
    is a `source_coef` of `rmt_alpha.AlphaRidgeClassifier`.

    Examples
    --------
    >>> head = Head([1.0, -2.0], intercept=0.5, classes=["ham", "spam"], slope=1.5)
    >>> head.decision_function([[1.0, 0.0], [0.0, 1.0]])
    array([ 1.5, -1.5])
    >>> head.predict([[1.0, 0.0], [0.0, 1.0]])
    array(['spam', 'ham'], dtype='<U4')
    >>> head.predict_proba([[1.0, 0.0], [0.0, 1.0]]).round(3)
    array([[0.095, 0.905],
           [0.905, 0.095]])
    """

    coef: FloatArray
    intercept: FloatArray
    classes: NDArray[Any] | None
    features: tuple[str, ...] | None
    alpha: FloatArray | None
    gamma: float | None
    scale: FloatArray | None
    slope: float | None

    def __init__(
        self,
        coef: ArrayLike,
        intercept: ArrayLike = 0.0,
        classes: ArrayLike | None = None,
        features: Sequence[str] | None = None,
        alpha: ArrayLike | None = None,
        gamma: float | None = None,
        scale: ArrayLike | None = None,
        slope: float | None = None,
    ) -> None:
        coef, intercept = real_array("coef", coef), real_array("intercept", intercept)
        if coef.ndim not in (1, 2) or coef.size == 0:
            raise ValueError(f"coef must have shape (p,) or (d, p), at least (1,), got {coef.shape}")
        coef = np.atleast_2d(coef)
        d, p = coef.shape
        if intercept.shape not in ((), (d,)):
            raise ValueError(f"intercept must be a number or have shape ({d},), got shape {intercept.shape}")
        if scale is not None:
            scale = real_array("scale", scale, 0.0, open_low=True)
            if scale.shape != (p,):
                raise ValueError(f"scale must have shape ({p},) to fit the columns of coef, got {scale.shape}")
        if slope is not None and classes is None:
            raise ValueError("slope needs classes to be probabilities of")
        values = {
            "coef": coef,
            "intercept": np.broadcast_to(intercept, (d,)),
            "classes": None if classes is None else _classes(classes, 2 if d == 1 else d),
            "alpha": None if alpha is None else real_array("alpha", alpha),
            "scale": scale,
        }
        for name, value in values.items():
            if value is not None:
                value = value.copy()
                value.setflags(write=False)
            object.__setattr__(self, name, value)
        object.__setattr__(self, "features", None if features is None else _features(features, p))
        object.__setattr__(self, "gamma", None if gamma is None else real("gamma", gamma, 0.0))
        object.__setattr__(self, "slope", None if slope is None else real("slope", slope, 0.0))

    def __repr__(self) -> str:
        d, p = self.coef.shape
        known: dict[str, Any] = {"alpha": self.alpha, "gamma": self.gamma, "slope": self.slope}
        numbers = [f"{name}={text(value)}" for name, value in known.items() if value is not None]
        classes = [] if self.classes is None else [f"classes={text(np.array(self.class_names))}"]
        return f"Head({', '.join([f'outputs={d}', f'features={p}', *classes, *numbers])})"

    @property
    def coef_(self) -> FloatArray:
        """The weights, shape (d, p)."""
        return self.coef

    @property
    def intercept_(self) -> FloatArray:
        """The intercepts, shape (d,)."""
        return self.intercept

    @property
    def feature_names_in_(self) -> NDArray[np.object_]:
        """Names of the features; there is no such attribute where they are not known."""
        if self.features is None:
            raise AttributeError("the features of this head have no names")
        return np.array(self.features, dtype=object)

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes; a regression has no such attribute."""
        if self.classes is None:
            raise AttributeError("a head without classes is a regression")
        return self.classes

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes as `rmt_alpha.estimation.datasets.load` would write them; nothing for a regression."""
        classes = () if self.classes is None else self.classes
        return tuple(map(label_text, classes))

    def decision_function(self, X: ArrayLike) -> FloatArray:
        """Return what the head says of samples.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows.

        Returns
        -------
        ndarray, shape (n,) or (n, d)
            ``Wx + b``, without the last axis if d = 1.

        Raises
        ------
        ValueError
            If X does not fit, its columns have names and not those of the features in their order, an entry is not
            finite, or the products exceed float64.
        """
        self._require_names(getattr(X, "columns", None))
        X = real_array("X", X)
        d, p = self.coef.shape
        if X.ndim != 2 or X.shape[1] != p:
            raise ValueError(f"X must have shape (n, {p}) to fit the columns of coef, got {X.shape}")
        with np.errstate(over="ignore", invalid="ignore"):
            scores = X @ self.coef.T + self.intercept
        if not np.isfinite(scores).all():
            raise ValueError("X or coef must be smaller: their products exceed float64")
        return scores[:, 0] if d == 1 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Predict classes, or the outputs themselves if there are none.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows.

        Returns
        -------
        ndarray, shape (n,), or (n, d) for several outputs without classes
            Predictions.

        Raises
        ------
        ValueError
            As `decision_function`.
        """
        scores = self.decision_function(X)
        if self.classes is None:
            return scores
        return np.asarray(self.classes[(scores > 0.0).astype(np.intp) if scores.ndim == 1 else scores.argmax(axis=1)])

    def predict_proba(self, X: ArrayLike) -> FloatArray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : array_like, shape (n, p)
            Samples in rows.

        Returns
        -------
        ndarray, shape (n, number of classes)
            Probabilities, which add up to 1.

        Raises
        ------
        ValueError
            As `decision_function`, or if the head has no slope.
        """
        scores = self.decision_function(X)
        if self.slope is None:
            raise ValueError("probabilities need a slope, which this head does not have")
        with np.errstate(over="ignore"):
            scaled = np.clip(self.slope * scores, -_CERTAIN, _CERTAIN)
        if scaled.ndim == 1:
            return np.stack([expit(-scaled), expit(scaled)], axis=1)
        return np.asarray(softmax(scaled, axis=1))

    def _require_names(self, columns: Any) -> None:
        """Refuse a table of other features, as far as names are known."""
        names = [] if columns is None else list(columns)
        if self.features is None or not names or not all(isinstance(name, str) for name in names):
            return
        for j, (name, feature) in enumerate(zip_longest(names, self.features)):
            if name != feature:
                raise ValueError(
                    f"X must have the features of the head in their order: its column {j} is {name!r}, the head's "
                    f"{feature!r}"
                )


def _classes(classes: ArrayLike, count: int) -> NDArray[Any]:
    """Check the names of classes."""
    array = np.asarray(classes)
    if array.dtype.kind == "O" and all(isinstance(name, str) for name in array.flat):
        array = array.astype(str)
    if array.dtype.kind not in "biufU":
        raise ValueError(f"classes must be numbers, booleans or strings, got dtype {array.dtype}")
    if array.shape != (count,):
        raise ValueError(f"classes must be {count} to fit the rows of coef, got shape {array.shape}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError("classes must be finite")
    if any("\0" in name for name in np.asarray(classes, dtype=object).flat if isinstance(name, str)):
        raise ValueError("classes must not hold the character NUL")  # see `_features`
    if len(np.unique(array)) < count:
        raise ValueError(f"classes must be different, got {', '.join(map(str, array))}")
    return array


def _features(features: Sequence[str], p: int) -> tuple[str, ...]:
    """Check the names of features."""
    names = tuple(features)
    if not all(isinstance(name, str) for name in names):
        raise ValueError("features must be strings")
    if len(names) != p:
        raise ValueError(f"features must name the {p} columns of coef, got {len(names)} names")
    if any("\0" in name for name in names):  # of which NumPy's fixed-width strings lose those at the end
        raise ValueError("features must not hold the character NUL")
    return tuple(map(str, names))


def save_head(path: str | os.PathLike[str], head: Any) -> None:
    """Write a head to a file, in place of what is there.

    Parameters
    ----------
    path : str or path-like
        The file, ``NAME.npz``.
    head : Head, or a fitted linear model
        What to save: a head, a fitted `rmt_alpha.AlphaRidgeClassifier` or `rmt_alpha.AlphaRidge`, or another model with
        scikit-learn's attributes `coef_` and `intercept_`, of which only these, its classes and its features' names
        are kept. Its `decision_function`, or `predict` if it has no classes, must be ``Wx + b``.

    Raises
    ------
    ValueError
        If `path` is not such a name, or `head` none of these.
    OSError
        If the file cannot be written; then, as when the writing is interrupted, what was there is still there.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_head(f"{folder}/head.npz", Head([1.0, -2.0], classes=[3, 8]))
    ...     load_head(f"{folder}/head.npz").predict([[3.0, 1.0]])
    array([8])
    """
    target = _path(path)
    if target.suffix.lower() != ".npz":
        raise ValueError(f"path must end in .npz, got {str(target)!r}")
    head = head_of(head)
    arrays: dict[str, Any] = {"version": np.array(VERSION)}
    arrays |= {name: np.asarray([] if (value := getattr(head, name)) is None else value) for name in _ARRAYS}
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb") as file:
            np.savez(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def head_of(model: Any) -> Head:
    """Return the head of a fitted linear model.

    Parameters
    ----------
    model : object
        As in `save_head`.

    Returns
    -------
    Head
        A copy of its numbers; a `Head` itself is returned as it is.

    Raises
    ------
    ValueError
        If it is none.

    Examples
    --------
    >>> from sklearn.linear_model import LogisticRegression
    >>> model = LogisticRegression().fit([[0.0], [1.0], [2.0]], ["no", "no", "yes"])
    >>> head_of(model).classes
    array(['no', 'yes'], dtype='<U3')
    """
    if isinstance(model, Head):
        return model
    if not hasattr(model, "coef_") or not hasattr(model, "intercept_"):
        raise ValueError(f"head must be a Head or a fitted linear model, got {type(model).__name__}")
    coef, classes = model.coef_, getattr(model, "classes_", None)
    if classes is not None and len(classes) > 2 and hasattr(model, "dual_coef_"):
        raise ValueError(
            f"head must have a row of weights for each class: those of {type(model).__name__} are for pairs of classes"
        )
    names = getattr(model, "feature_names_in_", None)
    known = {}
    if isinstance(getattr(model, "loo_", None), LOOResult):  # others' attributes of these names mean something else
        known = {"alpha": "alpha_", "gamma": "gamma_", "scale": "scale_", "slope": "slope_"}
    head = Head(
        coef.toarray() if hasattr(coef, "toarray") else coef,
        model.intercept_,
        classes=classes,
        features=None if names is None else tuple(names),
        **{name: getattr(model, attribute, None) for name, attribute in known.items()},
    )
    _require_linear(model, head)
    return head


def _require_linear(model: Any, head: Head) -> None:
    """Refuse a model that does something else with its weights than multiply, by its output on a few random rows."""
    output = "predict" if head.classes is None else "decision_function"
    if not hasattr(model, output):
        return
    X = np.random.default_rng(0).standard_normal((8, head.coef.shape[1]))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # rows without names, or far from all that the model was fitted to
        scores = np.asarray(getattr(model, output)(X), dtype=np.float64).reshape(len(X), -1)
    size = np.abs(X) @ np.abs(head.coef.T) + np.abs(head.intercept)
    expected = X @ head.coef.T + head.intercept
    if scores.shape != expected.shape or not (np.abs(scores - expected) <= _EXACT * size).all():
        raise ValueError(f"head must be a linear model: {output} of {type(model).__name__} is not coef_ x + intercept_")


def load_head(path: str | os.PathLike[str]) -> Head:
    """Read a file of `save_head`.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    Head
        What was saved.

    Raises
    ------
    ValueError
        If there is no such file, it cannot be read, is damaged, or does not hold a head; the message names the file.
        Pickled objects are refused.
    """
    source = _path(path)
    try:
        if not source.is_file():
            raise ValueError("is not a file" if source.exists() else "no such file")
        return _read(source)
    except OSError as error:
        raise ValueError(f"{source}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def _read(path: Path) -> Head:
    if not zipfile.is_zipfile(path):
        raise ValueError("is not an .npz archive")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name.removesuffix(".npy"): name for name in archive.namelist()}
            for name in ("version", *_ARRAYS):
                if name not in members:
                    raise ValueError(f"is not a whole saved head: it has no array {name!r}")
            if unknown := set(members) - {"version", *_ARRAYS}:
                raise ValueError(f"has arrays that no head has: {', '.join(map(repr, sorted(unknown)))}")
            version = _read_array(archive, "version", members["version"])
            if version.dtype.kind not in "iu" or version.shape != () or version != VERSION:
                raise ValueError(f"version must be {VERSION}, got {version}: it is of another rmt_alpha")
            arrays: dict[str, Any] = {name: _read_array(archive, name, members[name]) for name in _ARRAYS}
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"is a damaged .npz archive ({error})") from None
    arrays = {name: None if array.shape == (0,) else array for name, array in arrays.items()}
    if (features := arrays["features"]) is not None:
        if features.dtype.kind != "U" or features.ndim != 1:
            raise ValueError("features must be strings, in one dimension")
        arrays["features"] = features.tolist()
    return Head(**arrays)


def _path(path: str | os.PathLike[str]) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"path must be text or a path, got {type(path).__name__}")
    return Path(path)
