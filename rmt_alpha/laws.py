r"""The hub: the law of the margin, and every answer that is a function of it.

With ``a = (1, α₁, …, α_K)`` the margin ``y·w_αᵀx`` of a fresh target point is Gaussian with

    mean(α) = a·M,        var(α) = aᵀ V a,

M of length K+1 and V symmetric positive semi-definite (THEORY §2). Every front of the package (closed form, fixed
point, simulation, data) ends in such a pair; accuracy, risk and the special values of α are written here, once.

For one source they are scalar kernels of the five numbers (M₀, M₁, V₀₀, V₀₁, V₁₁). More sources reduce to one: along
a given α ∈ ℝᴷ the law is that of the single source Σ αₖ w̃ₖ.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt_alpha import _tables
from rmt_alpha._jit import jit, ufunc
from rmt_alpha._validation import FloatArray, broadcast_shape, plain, real_array

Result = float | FloatArray

_SINGULAR = 16 * np.finfo(np.float64).eps
"""V counts as singular when the smallest eigenvalue of its correlation matrix is below (K+1) times this."""

_TINY = np.finfo(np.float64).tiny
"""Below this, float64 loses digits."""

_SYMMETRY = 1e-10
"""How far a given V may be from symmetric and positive semi-definite, relative to its scale."""


# The kernels: one source, one law.


@jit
def _signal_to_noise(alpha: float, m0: float, m1: float, v00: float, v01: float, v11: float) -> float:
    """Mean over standard deviation; for |α| > 1 both are divided by |α|, so that no α overflows."""
    if math.isinf(v00):
        return 0.0
    if m1 == 0.0 and v11 == 0.0:  # the classifier has forgotten its source
        mean, variance = m0, v00
    elif abs(alpha) <= 1.0:
        mean, variance = m0 + alpha * m1, v00 + alpha * (2.0 * v01 + alpha * v11)
    else:
        u, sign = 1.0 / abs(alpha), math.copysign(1.0, alpha)
        mean, variance = m0 * u + sign * m1, v11 + u * (2.0 * sign * v01 + u * v00)
    if math.isnan(mean) or math.isnan(variance):
        return np.nan
    if variance <= 0.0:  # a rounding error below zero is zero
        return np.inf * mean  # nan when there is no signal either
    return mean / math.sqrt(variance)


@ufunc
def _accuracy(alpha: float, m0: float, m1: float, v00: float, v01: float, v11: float) -> float:
    return 0.5 * math.erfc(-math.sqrt(0.5) * _signal_to_noise(alpha, m0, m1, v00, v01, v11))


@ufunc
def _error(alpha: float, m0: float, m1: float, v00: float, v01: float, v11: float) -> float:
    return 0.5 * math.erfc(math.sqrt(0.5) * _signal_to_noise(alpha, m0, m1, v00, v01, v11))


@ufunc
def _risk(alpha: float, m0: float, m1: float, v00: float, v01: float, v11: float) -> float:
    if m1 == 0.0 and v11 == 0.0:
        return (1.0 - m0) ** 2 + v00
    if math.isinf(alpha):
        return np.inf
    return (1.0 - m0 - alpha * m1) ** 2 + max(v00 + alpha * (2.0 * v01 + alpha * v11), 0.0)


@jit
def _best(m0: float, m1: float, v00: float, v01: float, v11: float) -> float:
    """V⁻¹M in units where both variances are 1: its second entry over its first."""
    if not (0.0 < v00 < np.inf and 0.0 < v11 < np.inf):
        return np.nan
    scale0, scale1 = math.sqrt(v00), math.sqrt(v11)
    correlation = v01 / scale0 / scale1
    if not 1.0 - abs(correlation) > 2.0 * _SINGULAR:
        return np.nan
    x0 = m0 / scale0 - correlation * (m1 / scale1)
    x1 = m1 / scale1 - correlation * (m0 / scale0)
    if x0 > 0.0:
        return x1 / x0 * (scale0 / scale1)
    return np.inf * m1  # the supremum is at infinity; nan when the source has no signal


@ufunc
def _optimal_alpha(m0: float, m1: float, v00: float, v01: float, v11: float) -> float:
    return _best(m0, m1, v00, v01, v11)


@ufunc
def _best_accuracy(m0: float, m1: float, v00: float, v01: float, v11: float) -> float:
    alpha = _best(m0, m1, v00, v01, v11)
    if math.isnan(alpha):
        regular = 1.0 - abs(v01) / math.sqrt(v00) / math.sqrt(v11) > 2.0 * _SINGULAR
        if v00 > 0.0 and v11 > 0.0 and regular and m0 <= 0.0 and m1 == 0.0:
            return 0.5  # nothing to gain: the supremum of no signal, or of a wrong one that α → ∞ drowns in noise
        if not (m1 == 0.0 and v11 == 0.0):
            return np.nan
        alpha = 0.0
    return 0.5 * math.erfc(-math.sqrt(0.5) * _signal_to_noise(alpha, m0, m1, v00, v01, v11))


_LABELS = {
    "optimal_alpha": "α*",
    "worst_alpha": "worst α",
    "risk_optimal_alpha": "α of least risk",
    "accuracy_0": "accuracy at α = 0",
    "accuracy_1": "accuracy at α = 1",
    "best_accuracy": "best accuracy",
    "risk_0": "risk at α = 0",
    "risk_1": "risk at α = 1",
    "best_risk": "least risk",
}
"""What tables in a notebook call the columns of those of pandas."""


def _taken(named: dict[str, list[str]]) -> set[str]:
    """Return the names that no axis may have, the same for pandas and xarray; `named` is of `Law._tabulated`."""
    columns = {column for names in named.values() for column in names}
    return {*named, *columns, *({"source"} if len(columns) > len(named) else ())}


def flatten(law: "MarginLaw") -> FloatArray:
    """Return the numbers of a law in one array.

    Parameters
    ----------
    law : MarginLaw
        Of K sources.

    Returns
    -------
    ndarray, shape (..., (K+1)(K+4)/2)
        (M₀, …, M_K, V₀₀, V₀₁, …, V_KK): M, then the upper triangle of V row by row.
    """
    i, j = np.triu_indices(law.n_sources + 1)
    return np.concatenate([law.mean, law.cov[..., i, j]], axis=-1)


def number_names(n_sources: int) -> tuple[str, ...]:
    """Name the numbers of a law in the order of `flatten`.

    Parameters
    ----------
    n_sources : int
        K.

    Returns
    -------
    tuple of str
        M0, …, V00, V01, …; indices above 9 are set apart by a comma.
    """
    return (*(f"M{k}" for k in range(n_sources + 1)), *_triangle_names("V", 0, n_sources))


def _triangle_names(name: str, low: int, high: int) -> list[str]:
    """Name the upper triangle of a matrix with indices from `low` to `high`, row by row."""
    comma = "," if high > 9 else ""
    return [f"{name}{k}{comma}{m}" for k in range(low, high + 1) for m in range(k, high + 1)]


def zero_and_one(n_sources: int) -> tuple[Any, Any]:
    """Return the α of training from scratch, and of ordinary fine-tuning.

    Parameters
    ----------
    n_sources : int
        K, at least 1.

    Returns
    -------
    zero, one : float or ndarray of shape (K,)
        As laws take them.
    """
    return (0.0, 1.0) if n_sources == 1 else (np.zeros(n_sources), np.ones(n_sources))


class Law(ABC):
    """What a margin law and a risk law share: a batch of forms in a = (1, α), held in read-only arrays."""

    _ARRAYS: ClassVar[dict[str, int]]
    """Names of the arrays, with the number of their axes that come after the batch's."""

    _NOTE: ClassVar[str] = ""
    """What its table in a notebook says of the values."""

    @property
    @abstractmethod
    def n_sources(self) -> int:
        """K, the number of sources."""

    @abstractmethod
    def _numbers_by_name(self) -> dict[str, FloatArray]:
        """Return the numbers that make the law."""

    @abstractmethod
    def _answers_by_name(self) -> dict[str, Any]:
        """Return what follows from them; α of several sources with a trailing axis."""

    def _shown(self) -> dict[str, Any]:
        """Return what a notebook shows, by name: the numbers of a single law too, unless they are too many."""
        many = bool(self.shape) or self.n_sources > 3
        return self._answers_by_name() if many else self._numbers_by_name() | self._answers_by_name()

    def _tabulated(self) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """Return all that tables hold, by name, and what pandas calls the columns of each."""
        found = self._numbers_by_name() | self._answers_by_name()
        several = {name for name, value in found.items() if np.ndim(value) > len(self.shape)}
        ends = range(1, self.n_sources + 1)
        return found, {name: [f"{name}_{k}" for k in ends] if name in several else [name] for name in found}

    def _part(self, index: _tables.Index) -> Self:
        return self._trusted(*(getattr(self, name)[index] for name in self._ARRAYS)) if index else self

    def _repr_html_(self) -> str:
        def cells(index: _tables.Index) -> _tables.Cells:
            return {_LABELS.get(name, name): value for name, value in self._part(index)._shown().items()}

        note = _tables.counted(self.n_sources, "source") + self._NOTE
        return _tables.show(type(self).__name__, self.shape, note, cells)

    def to_pandas(self, **axes: ArrayLike | None) -> Any:
        """Return a table, one row per law: its numbers and what follows from them.

        Parameters
        ----------
        **axes : array_like or None
            A name for each axis of the batch, in their order, with its labels, or None for 0, 1, …. Left out, the axes
            are numbered.

        Returns
        -------
        pandas.DataFrame
            The axes make the index. What there is for each of several sources ends in the source's number.

        Raises
        ------
        ImportError
            If pandas is not installed: it comes with ``pip install 'rmt_alpha[table]'``.
        ValueError
            If `axes` do not fit the batch.

        Examples
        --------
        >>> import rmt_alpha as ra
        >>> beta = [0.2, 0.8]
        >>> frame = ra.margin_law(beta, n=100, p=200, gamma=0.5).to_pandas(beta=beta)
        >>> frame["optimal_alpha"].round(3).to_dict(), round(float(frame.loc[0.8, "accuracy_1"]), 3)
        ({0.2: 0.168, 0.8: 0.946}, 0.763)
        """
        pandas, (found, named) = _tables.extra("pandas"), self._tabulated()
        labels = _tables.axes_of(self.shape, axes, _taken(named))
        size = math.prod(self.shape)
        columns: dict[str, Any] = {}
        for name, value in found.items():
            flat = np.asarray(value).reshape(size, len(named[name]))
            columns |= zip(named[name], flat.T, strict=True)
        if len(labels) == 1:
            ((name, values),) = labels.items()
            index = pandas.Index(values, name=name if axes else None)
        elif labels:
            index = pandas.MultiIndex.from_product(labels.values(), names=list(labels))
        else:
            index = None
        return pandas.DataFrame(columns, index)

    def to_xarray(self, **axes: ArrayLike | None) -> Any:
        """Return the batch with its axes: its numbers and what follows from them.

        Parameters
        ----------
        **axes : array_like or None
            As in `to_pandas`.

        Returns
        -------
        xarray.Dataset
            What there is for each of several sources has a last axis "source", with the labels 1, …, K.

        Raises
        ------
        ImportError
            If xarray is not installed: it comes with ``pip install 'rmt_alpha[table]'``.
        ValueError
            If `axes` do not fit the batch.

        Examples
        --------
        >>> import rmt_alpha as ra
        >>> beta, n = np.array([0.2, 0.5, 0.8]), np.array([50, 100])
        >>> data = ra.margin_law(beta[:, None], n, p=200, gamma=0.5).to_xarray(beta=beta, n=n)
        >>> data["optimal_alpha"].dims, round(data["optimal_alpha"].sel(beta=0.8, n=100).item(), 3)
        (('beta', 'n'), 0.946)
        """
        xarray, (found, named) = _tables.extra("xarray"), self._tabulated()
        labels = _tables.axes_of(self.shape, axes, _taken(named))
        coords: dict[str, Any] = dict(labels) if axes else {}
        coords = {name: values for name, values in coords.items() if axes[name] is not None}
        data = {}
        for name, value in found.items():
            several = len(named[name]) > 1
            data[name] = ((*labels, "source") if several else tuple(labels), np.asarray(value))
            if several:
                coords["source"] = np.arange(1, self.n_sources + 1)
        return xarray.Dataset(data, coords)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the batch; () for a single law."""
        name, core = next(iter(self._ARRAYS.items()))
        array = getattr(self, name)
        return array.shape[: array.ndim - core]  # type: ignore[no-any-return]

    @classmethod
    def _trusted(cls, *arrays: FloatArray) -> Self:
        """Wrap arrays of a front of this package: no copy, no check, nan allowed."""
        law = object.__new__(cls)
        law._set(arrays)
        return law

    def _set(self, arrays: Iterable[FloatArray]) -> None:
        for name, array in zip(self._ARRAYS, arrays, strict=True):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    def __setstate__(self, state: dict[str, FloatArray]) -> None:
        self._set(state[name] for name in self._ARRAYS)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a single law has no length")
        return self.shape[0]

    def __bool__(self) -> bool:
        return True  # a law is something, whatever its length

    def __iter__(self) -> Iterator[Self]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Self:
        """Select laws along the batch, as NumPy would select entries of an array of its shape."""
        if not self.shape:
            raise IndexError("a single law cannot be indexed")
        arrays = [getattr(self, name) for name in self._ARRAYS]
        if isinstance(index, int | np.integer | slice):
            return self._trusted(*(np.asarray(array[index]) for array in arrays))
        size = math.prod(self.shape)
        batch = np.arange(size).reshape(self.shape)[index]
        flat = [array.reshape(size, *array.shape[len(self.shape) :]) for array in arrays]
        return self._trusted(*(np.asarray(array[batch]) for array in flat))

    def checked_alpha(self, alpha: ArrayLike | None, *, infinite: bool) -> FloatArray:
        """Check α: no trailing axis for one source, one of length K for several, None (nothing) without sources.

        Parameters
        ----------
        alpha : array_like or None
            As a user gives it.
        infinite : bool
            Whether ±inf is allowed.

        Returns
        -------
        ndarray
            As float64; of shape (0,) without sources.

        Raises
        ------
        ValueError
            If it has the wrong shape or does not broadcast with the batch.
        """
        if alpha is None:
            if self.n_sources:
                raise ValueError(f"alpha is required: this law has {self.n_sources} source(s)")
            return np.zeros((0,))
        if not self.n_sources:
            raise ValueError("alpha must be left out: this law has no source")
        plain("alpha", alpha)
        array = real_array("alpha", alpha, infinite=infinite)
        if self.n_sources > 1 and array.shape[-1:] != (self.n_sources,):
            raise ValueError(
                f"alpha must have a trailing axis of length {self.n_sources}, one entry per source, "
                f"got shape {array.shape}"
            )
        core = () if self.n_sources == 1 else (self.n_sources,)
        broadcast_shape({"alpha": array.shape[: array.ndim - len(core)], "the law": self.shape})
        return array


def as_result(value: Any) -> Result:
    """Return what users get: a Python float for a 0-d result, everything else as an array.

    Parameters
    ----------
    value : float or ndarray
        The result.

    Returns
    -------
    float or ndarray
        The same.
    """
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


@dataclass(frozen=True, eq=False)
class MarginLaw(Law):
    """Gaussian law of the margin y·w_αᵀx as a function of α, or a batch of such laws.

    Parameters
    ----------
    mean : array_like, shape (..., K+1)
        M: the margin's mean is ``M[0] + Σ α_k M[k]``.
    cov : array_like, shape (..., K+1, K+1)
        V: the margin's variance is ``aᵀ V a`` with ``a = (1, α)``; symmetric and positive semi-definite to a relative
        1e-10. K = 0 (no source) is plain ridge. An infinite V₀₀ stands for interpolation without regularisation.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is nan or infinite (save V₀₀ = +inf), or `cov` is not symmetric positive
        semi-definite.

    Notes
    -----
    With one source α has no trailing axis and broadcasts against the batch: use ``alpha[:, None]`` for a curve of
    each law. With K > 1 sources α and `optimal_alpha` carry a trailing axis of length K. α = ±inf stands for the limit.
    Results of 0-d laws are Python floats.

    Laws made by the package's own fronts may hold nan where their problem is undefined; all answers are nan there.

    `to_pandas` and `to_xarray` make tables of a batch.

    Examples
    --------
    >>> law = MarginLaw(mean=[0.5, 0.4], cov=[[1.0, 0.1], [0.1, 0.5]])
    >>> round(law.optimal_alpha(), 6)
    1.666667
    >>> round(law.accuracy(1.0), 4), round(law.accuracy(law.optimal_alpha()), 4)
    (0.755, 0.7602)
    """

    _ARRAYS = {"mean": 1, "cov": 2}  # noqa: RUF012 - a class variable, as its base says

    mean: FloatArray
    cov: FloatArray

    def __init__(self, mean: ArrayLike, cov: ArrayLike) -> None:
        mean_array = real_array("mean", mean)
        cov_array = real_array("cov", cov, infinite=True)
        _check_shapes(mean_array, "cov", cov_array)
        infinite = np.isinf(cov_array)
        infinite[..., 0, 0] &= cov_array[..., 0, 0] < 0.0
        if infinite.any():
            raise ValueError("cov must be finite, save +inf as its first entry")
        check_positive(cov_array)
        self._set((mean_array.copy(), cov_array.copy()))

    @property
    def n_sources(self) -> int:
        """K, the number of sources."""
        return int(self.mean.shape[-1]) - 1

    def __repr__(self) -> str:
        if self.shape:
            return f"MarginLaw(shape={self.shape}, n_sources={self.n_sources})"
        return f"MarginLaw(mean={self.mean.tolist()}, cov={self.cov.tolist()})"

    def _numbers_by_name(self) -> dict[str, FloatArray]:
        return dict(zip(number_names(self.n_sources), np.moveaxis(flatten(self), -1, 0), strict=True))

    def _answers_by_name(self) -> dict[str, Any]:
        if not self.n_sources:
            return {"accuracy": self.accuracy()}
        zero, one = zero_and_one(self.n_sources)
        worst = {"worst_alpha": self.worst_alpha()} if self.n_sources == 1 else {}
        return {
            "optimal_alpha": self.optimal_alpha(),
            **worst,
            "risk_optimal_alpha": self.risk_optimal_alpha(),
            "accuracy_0": self.accuracy(zero),
            "accuracy_1": self.accuracy(one),
            "best_accuracy": self.best_accuracy(),
        }

    def _numbers(self, alpha: ArrayLike | None) -> tuple[FloatArray, ...]:
        """Return (α, M₀, M₁, V₀₀, V₀₁, V₁₁): of the one source, or of the sources' combination along α."""
        array = self.checked_alpha(alpha, infinite=self.n_sources == 1)
        mean, cov = self.mean, self.cov
        if self.n_sources == 1:
            return array, mean[..., 0], mean[..., 1], cov[..., 0, 0], cov[..., 0, 1], cov[..., 1, 1]
        # the sources' combination along α, of unit size so that no α overflows, at its scale
        scale = np.abs(array).max(axis=-1, initial=0.0)
        u = array / np.where(scale > 0.0, scale, 1.0)[..., None]
        return (
            scale,
            mean[..., 0],
            np.einsum("...k,...k->...", mean[..., 1:], u),
            cov[..., 0, 0],
            np.einsum("...k,...k->...", cov[..., 0, 1:], u),
            np.einsum("...j,...jk,...k->...", u, cov[..., 1:, 1:], u),
        )

    def moments(self, alpha: ArrayLike | None = None) -> tuple[Result, Result]:
        """Mean and variance of the margin at a finite α.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy`, finite.

        Returns
        -------
        mean, variance : float or ndarray
            ``a·M`` and ``aᵀ V a`` with ``a = (1, α)``.
        """
        array, m0, m1, v00, v01, v11 = self._numbers(alpha)
        if not np.isfinite(array).all():
            raise ValueError("alpha must be finite: the moments have no limit")
        with np.errstate(over="ignore", invalid="ignore"):
            return as_result(m0 + array * m1), as_result(v00 + array * (2.0 * v01 + array * v11))

    def accuracy(self, alpha: ArrayLike | None = None) -> Result:
        """Probability Φ(mean/√var) that a fresh target point is classified correctly.

        Parameters
        ----------
        alpha : array_like
            Scale(s) of the source; see the class notes for shapes. Left out when there is no source.

        Returns
        -------
        float or ndarray
            Signed: below ½ where the classifier learns the opposite. nan where the law is, or where mean and variance
            are both 0.
        """
        return as_result(_accuracy(*self._numbers(alpha)))

    def error(self, alpha: ArrayLike | None = None) -> Result:
        """Probability of a wrong classification, exact in relative terms where it is tiny.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy`.

        Returns
        -------
        float or ndarray
            ``1 - accuracy(alpha)``, without the cancellation.
        """
        return as_result(_error(*self._numbers(alpha)))

    def risk(self, alpha: ArrayLike | None = None) -> Result:
        """Squared risk ``E(1 − y w_αᵀx)² = (1 − mean)² + var`` for clean labels.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy`.

        Returns
        -------
        float or ndarray
            The risk; `risk_law` gives it as a quadratic, also for observed (noisy) labels.
        """
        return as_result(_risk(*self._numbers(alpha)))

    def optimal_alpha(self) -> Result:
        """α* that maximises the accuracy: ``x[1:]/x[0]`` with ``x = V⁻¹M``.

        Returns
        -------
        float or ndarray
            Batch shape, with a trailing axis of length K for K > 1. Where ``x[0] ≤ 0`` the supremum lies at infinity:
            ``sign(M₁)·inf`` for one source, nan for several (`best_direction` tells). nan where V is singular.

        Notes
        -----
        As V gets singular the solution loses digits (the accuracy there does not). The isotropic closed form has them
        all: `rmt_alpha.optimal_alpha`.
        """
        if self.n_sources == 1:
            mean, cov = self.mean, self.cov
            return as_result(_optimal_alpha(mean[..., 0], mean[..., 1], cov[..., 0, 0], cov[..., 0, 1], cov[..., 1, 1]))
        direction = self.best_direction()
        finite = direction[..., :1] == 1.0
        return as_result(np.where(finite, direction[..., 1:], np.nan))

    def best_direction(self) -> FloatArray:
        """Direction ``a`` in (1, α) space in which the accuracy is best, finite even where α* is not.

        Returns
        -------
        ndarray, shape (..., K+1)
            ``(1, α*)`` where α* is finite, ``(0, u)`` with the unit vector u along ``V₁₁⁻¹M₁`` (source block) where the
            supremum lies at infinity, nan where V is singular or there is no signal.
        """
        x = _whitened(self.cov, self.mean)
        first = x[..., :1]
        at_infinity = np.zeros_like(x)
        at_infinity[..., 1:] = _whitened(self.cov[..., 1:, 1:], self.mean[..., 1:])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            at_infinity /= np.abs(at_infinity).max(axis=-1, keepdims=True)  # lest the norm underflows
            at_infinity /= np.linalg.norm(at_infinity, axis=-1, keepdims=True)
            result = np.where(first > 0.0, x / first, at_infinity)
        return np.where(np.isnan(x).any(axis=-1, keepdims=True), np.nan, result)

    def best_accuracy(self) -> Result:
        """Supremum of the accuracy over all α: ``Φ(√(MᵀV⁻¹M))`` where α* is finite, else what infinity gives.

        Returns
        -------
        float or ndarray
            Defined as well where no α matters because the classifier has forgotten its sources (M and V vanish in the
            source block: γ = 0 with more samples than dimensions), and ½ where there is nothing to gain. nan where V is
            otherwise singular.
        """
        mean, cov = self.mean, self.cov
        if self.n_sources == 0:
            return self.accuracy()
        if self.n_sources == 1:
            return as_result(_best_accuracy(mean[..., 0], mean[..., 1], cov[..., 0, 0], cov[..., 0, 1], cov[..., 1, 1]))
        x, source = _whitened(cov, mean), _whitened(cov[..., 1:, 1:], mean[..., 1:])
        at_alpha = np.einsum("...k,...k->...", x, mean)
        at_infinity = np.einsum("...k,...k->...", source, mean[..., 1:])
        squared = np.where(x[..., 0] > 0.0, at_alpha, at_infinity)
        signal = np.sqrt(np.where(np.isnan(x[..., 0]), np.nan, np.maximum(squared, 0.0)))
        forgotten = (mean[..., 1:] == 0.0).all(axis=-1) & (cov[..., 1:, 1:] == 0.0).all(axis=(-2, -1))
        zero, one = np.zeros(()), np.ones(())
        scratch = _accuracy(zero, mean[..., 0], zero, cov[..., 0, 0], zero, zero)
        return as_result(np.where(forgotten, scratch, _accuracy(zero, signal, zero, one, zero, zero)))

    def worst_alpha(self) -> Result:
        """α at which the margin's mean vanishes, ``−M₀/M₁``: accuracy is exactly ½ there (one source).

        Returns
        -------
        float or ndarray
            The zero of the mean, not a minimum: beyond it accuracy is below ½. nan where the source has no mean
            margin (M₁ = 0, or too small for float64 to hold its digits).

        Raises
        ------
        ValueError
            If the law does not have exactly one source.
        """
        if self.n_sources != 1:
            raise ValueError(f"worst_alpha needs a law with one source, this one has {self.n_sources}")
        m0, m1 = self.mean[..., 0], self.mean[..., 1]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return as_result(np.where(np.abs(m1) < _TINY, np.nan, -m0 / m1))

    def risk_law(self, label_noise: ArrayLike = 0.0) -> "RiskLaw":
        """Squared risk as a quadratic in α, for labels flipped with probability `label_noise`.

        Parameters
        ----------
        label_noise : array_like, default 0
            ε of the *observed* labels on which the risk is measured, in [0, ½); 0 is the risk for clean labels,
            the training label noise gives what leave-one-out risk estimates.

        Returns
        -------
        RiskLaw
            ``1 − 2(1−2ε)·mean + mean² + var`` of this law's batch shape (broadcast with `label_noise`).
        """
        t = 1.0 - 2.0 * real_array("label_noise", label_noise, 0.0, 0.5, open_high=True)
        broadcast_shape({"label_noise": t.shape, "the law": self.shape})
        t, mean, cov = t[..., None], self.mean, self.cov
        m0, m1 = mean[..., :1], mean[..., 1:]
        constant = (1.0 - t) * (1.0 + t) + (t - m0) ** 2 + cov[..., 0, :1]
        return RiskLaw._trusted(
            np.asarray(constant[..., 0]),
            (t - m0) * m1 - cov[..., 0, 1:],
            cov[..., 1:, 1:] + m1[..., :, None] * m1[..., None, :],
        )

    def risk_optimal_alpha(self) -> Result:
        """α that minimises the squared risk for clean labels.

        Returns
        -------
        float or ndarray
            ``(V₁₁ + M₁M₁ᵀ)⁻¹((1−M₀)M₁ − V₁₀)`` (source block), shaped as `optimal_alpha`; nan where singular.
        """
        return self.risk_law().optimal_alpha()


@dataclass(frozen=True, eq=False)
class RiskLaw(Law):
    """A squared risk that is quadratic in α: ``constant − 2 linear·α + αᵀ quadratic α``, or a batch of them.

    Parameters
    ----------
    constant : array_like, shape (...)
        Risk at α = 0.
    linear : array_like, shape (..., K)
        Minus half the gradient at α = 0.
    quadratic : array_like, shape (..., K, K)
        Half the Hessian, symmetric positive semi-definite to a relative 1e-10.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is not finite, or `quadratic` is not symmetric positive semi-definite.

    Examples
    --------
    >>> law = RiskLaw(constant=1.0, linear=[0.5], quadratic=[[2.0]])
    >>> law.optimal_alpha(), law.risk(0.25), law.best_risk()
    (0.25, 0.875, 0.875)
    """

    _ARRAYS = {"constant": 0, "linear": 1, "quadratic": 2}  # noqa: RUF012 - a class variable, as its base says

    constant: FloatArray
    linear: FloatArray
    quadratic: FloatArray

    def __init__(self, constant: ArrayLike, linear: ArrayLike, quadratic: ArrayLike) -> None:
        constant_array = real_array("constant", constant)
        linear_array = real_array("linear", linear)
        quadratic_array = real_array("quadratic", quadratic)
        _check_shapes(linear_array, "quadratic", quadratic_array, name="linear")
        if constant_array.shape != linear_array.shape[:-1]:
            raise ValueError(
                f"constant must have the batch shape {linear_array.shape[:-1]} of linear, got {constant_array.shape}"
            )
        check_positive(quadratic_array, name="quadratic")
        self._set((constant_array.copy(), linear_array.copy(), quadratic_array.copy()))

    @property
    def n_sources(self) -> int:
        """K, the number of sources."""
        return int(self.linear.shape[-1])

    def __repr__(self) -> str:
        return f"RiskLaw(shape={self.shape}, n_sources={self.n_sources})"

    def _numbers_by_name(self) -> dict[str, FloatArray]:
        K = self.n_sources
        names = [f"linear_{k}" for k in range(1, K + 1)] if K > 1 else ["linear"] * K
        i, j = np.triu_indices(K)
        squares = _triangle_names("quadratic_", 1, K) if K > 1 else ["quadratic"] * K
        columns = np.concatenate([self.linear, self.quadratic[..., i, j]], axis=-1)
        return {"constant": self.constant, **dict(zip([*names, *squares], np.moveaxis(columns, -1, 0), strict=True))}

    def _answers_by_name(self) -> dict[str, Any]:
        if not self.n_sources:
            return {"risk": self.risk()}
        zero, one = zero_and_one(self.n_sources)
        return {
            "optimal_alpha": self.optimal_alpha(),
            "risk_0": self.risk(zero),
            "risk_1": self.risk(one),
            "best_risk": self.best_risk(),
        }

    def risk(self, alpha: ArrayLike | None = None) -> Result:
        """Risk at α, shaped as in `MarginLaw`.

        Parameters
        ----------
        alpha : array_like
            Finite scale(s) of the source(s); left out when there is none.

        Returns
        -------
        float or ndarray
            ``constant − 2 linear·α + αᵀ quadratic α``; 0 where only rounding takes it below.
        """
        array = self.checked_alpha(alpha, infinite=False)
        if self.n_sources == 1:
            array = array[..., None]
        with np.errstate(over="ignore", invalid="ignore"):
            slope = np.einsum("...jk,...k->...j", self.quadratic, array) - self.linear  # half the gradient
            change = np.einsum("...k,...k->...", slope, array) - np.einsum("...k,...k->...", self.linear, array)
            risk = self.constant + change
            rounding = (risk < 0.0) & (risk > -1e-14 * np.abs(self.constant))
            return as_result(np.where(rounding, 0.0, risk))

    def optimal_alpha(self) -> Result:
        """α of least risk, ``quadratic⁻¹ linear``.

        Returns
        -------
        float or ndarray
            Batch shape, with a trailing axis of length K for K > 1; nan where `quadratic` is singular.
        """
        alpha = _whitened(self.quadratic, self.linear)
        return as_result(alpha[..., 0] if self.n_sources == 1 else alpha)

    def best_risk(self) -> Result:
        """Risk at `optimal_alpha`.

        Returns
        -------
        float or ndarray
            Batch shape. Defined as well where no α matters because the sources are forgotten (`linear` and `quadratic`
            vanish); nan where `quadratic` is otherwise singular.
        """
        if self.n_sources == 0:
            return self.risk()
        alpha = np.asarray(self.optimal_alpha())
        risk = self.risk(np.where(np.isnan(alpha), 0.0, alpha))
        defined = ~np.isnan(alpha) if self.n_sources == 1 else ~np.isnan(alpha).any(axis=-1)
        forgotten = (self.linear == 0.0).all(axis=-1) & (self.quadratic == 0.0).all(axis=(-2, -1))
        return as_result(np.where(defined | forgotten, risk, np.nan))


def _whitened(matrix: FloatArray, vector: FloatArray) -> FloatArray:
    """Solve ``matrix · x = vector`` on the last axes, scaled to unit diagonal; nan where singular or not finite."""
    size = vector.shape[-1]
    if size == 1:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            x = vector / matrix[..., 0]
        return np.where(np.isfinite(x) & np.isfinite(matrix[..., 0]), x, np.nan)
    diagonal = np.einsum("...ii->...i", matrix)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = np.sqrt(diagonal)
        correlation = matrix / scale[..., :, None] / scale[..., None, :]
        scaled = vector / scale
    good = np.isfinite(correlation).all(axis=(-2, -1)) & np.isfinite(scaled).all(axis=-1)
    good &= np.isfinite(diagonal).all(axis=-1)
    correlation = np.where(good[..., None, None], correlation, np.eye(size))
    if size:
        good &= np.linalg.eigvalsh(correlation)[..., 0] > size * _SINGULAR
    correlation = np.where(good[..., None, None], correlation, np.eye(size))
    scaled = np.where(good[..., None], scaled, 0.0)
    x = np.linalg.solve(correlation, scaled[..., None])[..., 0]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        x = x / scale
    return np.where((good & np.isfinite(x).all(axis=-1))[..., None], x, np.nan)


def _check_shapes(vector: FloatArray, matrix_name: str, matrix: FloatArray, *, name: str = "mean") -> None:
    if vector.ndim == 0 or (name == "mean" and vector.shape[-1] == 0):
        raise ValueError(f"{name} must have a trailing axis, one entry per coefficient, got shape {vector.shape}")
    expected = (*vector.shape, vector.shape[-1])
    if matrix.shape != expected:
        raise ValueError(f"{matrix_name} must have shape {expected} to fit {name} {vector.shape}, got {matrix.shape}")


def check_positive(matrix: FloatArray, *, name: str = "cov") -> None:
    """Refuse what is not symmetric positive semi-definite to 1e-10, in units where its diagonal is 1.

    Parameters
    ----------
    matrix : ndarray, shape (..., d, d)
        Without nan.
    name : str, default "cov"
        What the message calls it.

    Raises
    ------
    ValueError
        If one is not.
    """
    diagonal = np.einsum("...ii->...i", matrix)
    if (diagonal < 0.0).any():
        raise ValueError(f"{name} must be positive semi-definite, it has {diagonal.min():.3g} on its diagonal")
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = np.where((diagonal > 0.0) & np.isfinite(diagonal), 1.0 / np.sqrt(diagonal), 0.0)
        finite = np.where(np.isinf(matrix), 0.0, matrix)
        correlation = finite * scale[..., :, None] * scale[..., None, :]
    if not np.isfinite(correlation).all():
        raise ValueError(f"{name} must be positive semi-definite, a correlation in it exceeds 1")
    asymmetry = np.abs(correlation - np.swapaxes(correlation, -1, -2))
    # a row of zero or infinite variance must be 0 elsewhere, which the scaled matrix does not show
    unscaled = (scale == 0.0)[..., None] & (finite != 0.0)
    if (asymmetry > _SYMMETRY).any() or (unscaled & ~_mirrored(finite)).any():
        raise ValueError(f"{name} must be symmetric")
    if unscaled.any():
        raise ValueError(f"{name} must be positive semi-definite, it has a covariance beside a variance of 0 or inf")
    if matrix.shape[-1]:
        lowest = np.linalg.eigvalsh(correlation)[..., 0]
        if (lowest < -_SYMMETRY).any():
            text = f"its correlation matrix has the eigenvalue {lowest.min():.3g}"
            raise ValueError(f"{name} must be positive semi-definite, {text}")


def is_positive(matrix: FloatArray) -> NDArray[np.bool_]:
    """Tell which symmetric matrices of a batch are positive semi-definite, to 1e-10 where their diagonal is 1.

    Parameters
    ----------
    matrix : ndarray, shape (..., d, d)
        Symmetric; where an entry is not finite the answer is no.

    Returns
    -------
    ndarray of bool
        Batch shape.
    """
    diagonal = np.einsum("...ii->...i", matrix)
    good = np.isfinite(matrix).all(axis=(-2, -1)) & (diagonal >= 0.0).all(axis=-1)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = np.where(diagonal > 0.0, 1.0 / np.sqrt(diagonal), 0.0)
        correlation = matrix * scale[..., :, None] * scale[..., None, :]
    good &= ~((scale == 0.0)[..., None] & (matrix != 0.0)).any(axis=(-2, -1))
    lowest = np.linalg.eigvalsh(np.where(good[..., None, None], correlation, 0.0))[..., 0]
    return np.asarray(good & (lowest >= -_SYMMETRY))


def _mirrored(matrix: FloatArray) -> NDArray[np.bool_]:
    return np.asarray(matrix == np.swapaxes(matrix, -1, -2))
