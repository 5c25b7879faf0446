"""Transfer problems: frozen descriptions that check their parameters once, so that no front has to.

The isotropic problem (THEORY §1): target samples ``x = y μ_β + z`` with ``μ_β = β μ + √(1−β²) μ_⊥``, μ ⊥ μ_⊥,
z ~ N(0, I_p), and a source classifier that is either the oracle ``w̃ = μ`` or the ridge classifier of `n_source`
samples ``x = y μ + z`` with penalty `gamma_source`.

In general each task is a mixture of its own, ``x = y μ + Σ^{1/2} z``, its mean and covariance of any form, and there
are any number of sources: classifiers trained by ridge on samples of a mixture, or given as they are.

In regression a task has d real outputs, ``y = W x + σ ε`` with ``x = Σ^{1/2} z`` and W of shape (d, p), and a source is
a d × p matrix: trained by ridge on samples of a task of its own, or given.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from rmt_alpha._blas import one_blas_thread
from rmt_alpha._validation import FloatArray, broadcast_shape, check_memory, integer, lengths, plain, real, real_array

_SEMIDEFINITE = 1e-10
"""How far a covariance may be from symmetric and positive semi-definite, relative to its Frobenius norm."""


class _ReadOnly:
    """Arrays of a frozen problem, its cached ones included: read-only, also after pickling, which forgets it."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            self.__dict__[name] = _read_only(value) if isinstance(value, np.ndarray) else value


def _read_only(array: FloatArray) -> FloatArray:
    array = np.asarray(array)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Isotropic(_ReadOnly):
    """One isotropic transfer problem, or an array of them (all parameters broadcast).

    Arrays are not copied: they were checked as they are, and must not be changed afterwards.

    Parameters
    ----------
    beta : array_like
        Alignment β of the two tasks, in [-1, 1].
    n : array_like
        Number of target samples, positive; any real number, since the theory only sees ratios.
    p : array_like
        Dimension, positive.
    gamma : array_like
        Ridge penalty γ ≥ 0 of the fine-tuning.
    mu, mu_perp : array_like, default 1
        Norms of μ and μ_⊥, non-negative.
    n_source : array_like, optional
        Number N of source samples. None: the oracle source w̃ = μ.
    gamma_source : array_like, optional
        Ridge penalty γ̃ ≥ 0 of the source; required with `n_source`, forbidden without.
    label_noise, label_noise_source : array_like, default 0
        Probability ε in [0, ½) that a training label is flipped, in the target and in the source.

    Attributes
    ----------
    shape : tuple of int
        The shape to which all parameters broadcast.
    shapes : dict
        The shape of each parameter, by name.

    Raises
    ------
    ValueError
        If a parameter is outside its range, if the shapes do not broadcast, or if only one of `n_source`,
        `gamma_source` is given, or label noise of a source that was not trained.

    Examples
    --------
    >>> problem = Isotropic([0.2, 0.8], n=200, p=400, gamma=0.1)
    >>> problem.shape
    (2,)
    """

    beta: ArrayLike
    n: ArrayLike
    p: ArrayLike
    gamma: ArrayLike
    mu: ArrayLike = 1.0
    mu_perp: ArrayLike = 1.0
    n_source: ArrayLike | None = None
    gamma_source: ArrayLike | None = None
    label_noise: ArrayLike = 0.0
    label_noise_source: ArrayLike = 0.0
    shapes: dict[str, tuple[int, ...]] = field(init=False, repr=False)
    shape: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.init:
                plain(f.name, getattr(self, f.name))
        checked = {
            "beta": real_array("beta", self.beta, -1.0, 1.0),
            "n": real_array("n", self.n, 0.0, open_low=True),
            "p": real_array("p", self.p, 0.0, open_low=True),
            "gamma": real_array("gamma", self.gamma, 0.0),
            "mu": real_array("mu", self.mu, 0.0),
            "mu_perp": real_array("mu_perp", self.mu_perp, 0.0),
            "label_noise": real_array("label_noise", self.label_noise, 0.0, 0.5, open_high=True),
            "label_noise_source": real_array("label_noise_source", self.label_noise_source, 0.0, 0.5, open_high=True),
        }
        if self.n_source is not None and self.gamma_source is not None:
            checked["n_source"] = real_array("n_source", self.n_source, 0.0, open_low=True)
            checked["gamma_source"] = real_array("gamma_source", self.gamma_source, 0.0)
        elif self.n_source is not None:
            raise ValueError("gamma_source is required with n_source, for the ridge of the source")
        elif self.gamma_source is not None:
            raise ValueError("gamma_source needs n_source: without it the source is the oracle w̃ = mu, never trained")
        elif checked["label_noise_source"].any():
            raise ValueError("label_noise_source needs n_source: the oracle source w̃ = mu saw no labels")
        for name, array in checked.items():
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        shapes = {name: array.shape for name, array in checked.items()}
        object.__setattr__(self, "shapes", shapes)
        object.__setattr__(self, "shape", broadcast_shape(shapes))


@dataclass(frozen=True, eq=False)
class Experiment(_ReadOnly):
    """An isotropic problem that can be carried out: whole numbers of samples and features, one value of each parameter.

    Only `beta` may be an array: one experiment then serves all its entries, which share source and noise.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `Isotropic`.

    Raises
    ------
    ValueError
        As in `Isotropic`; also if a parameter other than `beta` is an array, if n, p or n_source is not an integer, if
        a length exceeds 1e30 or a penalty 1e60, or if p = 1 leaves no room for μ_⊥, which ``|β| < 1`` and mu_perp > 0
        ask for.

    Examples
    --------
    >>> Experiment(0.8, n=10.5, p=20, gamma=0.1)
    Traceback (most recent call last):
        ...
    ValueError: n must be an integer, got 10.5
    """

    beta: FloatArray
    n: int
    p: int
    gamma: float
    mu: float = 1.0
    mu_perp: float = 1.0
    n_source: int | None = None
    gamma_source: float | None = None
    label_noise: float = 0.0
    label_noise_source: float = 0.0

    def __post_init__(self) -> None:
        problem = Isotropic(**{f.name: getattr(self, f.name) for f in fields(self)})
        object.__setattr__(self, "beta", problem.beta)
        largest = {"mu": 1e30, "mu_perp": 1e30, "gamma": 1e60, "gamma_source": 1e60}
        for name in (*largest, "label_noise", "label_noise_source"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, real(name, getattr(self, name), 0.0, largest.get(name, 0.5)))
        for name in ("n", "p", "n_source"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name)))
        if self.p == 1 and self.mu_perp != 0.0 and np.any(np.abs(self.beta) != 1.0):
            raise ValueError("p must be at least 2 unless |beta| = 1 or mu_perp = 0: p = 1 has no room for mu_perp")

    @property
    def coordinates(self) -> FloatArray:
        """The target mean μ_β of each β along μ and along μ_⊥, shape (..., 2)."""
        across = np.sqrt((1.0 - self.beta) * (1.0 + self.beta))
        return np.stack([self.beta * self.mu, across * self.mu_perp], axis=-1)


def _vector(name: str, value: ArrayLike) -> FloatArray:
    plain(name, value)
    vector = real_array(name, value)
    if vector.ndim != 1 or vector.size == 0:
        raise ValueError(f"{name} must be a vector with at least one entry, got shape {vector.shape}")
    return _read_only(vector.copy())


def _weights(value: ArrayLike) -> FloatArray:
    """Check weights of one output, a vector, or of d outputs, in rows."""
    plain("weights", value)
    weights = real_array("weights", value)
    if weights.size == 0 or weights.ndim not in (1, 2):
        raise ValueError(
            f"weights must be a vector (p,), or a matrix (d, p) with an output in each row, got shape {weights.shape}"
        )
    return _read_only(weights.copy())


class Task(_ReadOnly, ABC):
    """What every task has: samples of p features with noise ``Σ^{1/2} z``.

    Attributes
    ----------
    covariance : ndarray, shape (), (p,) or (p, p)
        Σ, in the simplest form that it has.
    """

    covariance: FloatArray

    @property
    @abstractmethod
    def p(self) -> int:
        """Dimension of the samples."""

    @property
    def _form(self) -> str:
        return (f"{self.covariance.flat[0]:g}·I", "diagonal", "full")[self.covariance.ndim]

    @property
    def eigenvalues(self) -> FloatArray:
        """Eigenvalues of Σ, shape (p,); those within rounding error of 0, below p·eps of the largest, are 0."""
        return np.broadcast_to(self.covariance, (self.p,)) if self.covariance.ndim < 2 else self._eigen[0]

    @property
    def eigenvectors(self) -> FloatArray | None:
        """Eigenvectors of Σ in columns, in the order of `eigenvalues`; None for the coordinate axes (Σ diagonal)."""
        return None if self.covariance.ndim < 2 else self._eigen[1]

    @cached_property
    def _eigen(self) -> tuple[FloatArray, FloatArray]:
        with one_blas_thread():  # simulations are to be the same bits for any number
            values, vectors = np.linalg.eigh(self.covariance)
        values[values < self.p * np.finfo(np.float64).eps * values[-1]] = 0.0
        return _read_only(values), _read_only(vectors)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_eigen"}

    @cached_property
    def root(self) -> FloatArray:
        """The symmetric square root Σ^{1/2}, in the form of `covariance`: shape (), (p,) or (p, p)."""
        if self.eigenvectors is None:
            return _read_only(np.sqrt(self.covariance))
        half = self.eigenvectors * self.eigenvalues**0.25
        with one_blas_thread():
            return _read_only(half @ half.T)

    def coordinates(self, rows: FloatArray) -> FloatArray:
        """Return vectors in the eigenbasis of Σ.

        Parameters
        ----------
        rows : ndarray, shape (..., p)
            Vectors in rows.

        Returns
        -------
        ndarray, shape (..., p)
            Their coordinates, in the order of `eigenvalues`. If Σ is a full matrix and not regular, what lies in its
            null space is 0 unless it is larger than the error of the null space explains, which is up to
            ``4√p eps ‖v‖`` times the ratio of the largest eigenvalue to the smallest positive one.
        """
        if self.eigenvectors is None:
            return rows
        coordinates = rows @ self.eigenvectors
        null = self.eigenvalues == 0.0
        if null.any() and not null.all():
            ratio = self.eigenvalues[-1] / self.eigenvalues[~null][0]
            error = 4.0 * self.p**0.5 * np.finfo(np.float64).eps * ratio * lengths(rows)
            coordinates[..., null] *= (lengths(coordinates[..., null]) > error)[..., None]
        return np.asarray(coordinates)

    def combine(self, coordinates: FloatArray) -> FloatArray:
        """Return the vectors that have these coordinates: the inverse of `coordinates`.

        Parameters
        ----------
        coordinates : ndarray, shape (..., p)
            In the eigenbasis of Σ.

        Returns
        -------
        ndarray, shape (..., p)
            Vectors in rows.
        """
        return coordinates if self.eigenvectors is None else coordinates @ self.eigenvectors.T

    def diagonal(self, other: "Task", values: FloatArray) -> FloatArray:
        """Return the diagonal, in the eigenbasis of Σ, of a matrix that is diagonal in that of another task.

        Parameters
        ----------
        other : Task
            The other task.
        values : ndarray, shape (p,)
            The matrix's eigenvalues, in the order of the other's.

        Returns
        -------
        ndarray, shape (p,)
            ``uᵢᵀ V diag(values) Vᵀ uᵢ``, uᵢ being the eigenvectors here and V the matrix of those there. One p × p
            product if both are full.
        """
        overlap = None if (values == values[0]).all() else self.overlap(other)
        return values if overlap is None else np.asarray(np.square(overlap) @ values)

    def overlap(self, other: "Task") -> FloatArray | None:
        """Return the cosines between the eigenvectors of Σ and those of another task.

        Parameters
        ----------
        other : Task
            The other task.

        Returns
        -------
        ndarray, shape (p, p), or None
            A row for each eigenvector here, a column for each there; None if they are the same.
        """
        ours, theirs = self.eigenvectors, other.eigenvectors
        if ours is theirs:
            return None
        return theirs if ours is None else ours.T if theirs is None else np.asarray(ours.T @ theirs)

    def alike(self, known: Iterable["Task"]) -> "Task":
        """Return the first known task with the same covariance, so that it is decomposed once; else this one.

        Parameters
        ----------
        known : iterable of Task
            Where to look.

        Returns
        -------
        Task
            With the same `eigenvalues` and `eigenvectors`.
        """
        return next((task for task in known if np.array_equal(task.covariance, self.covariance)), self)

    def apply(self, vectors: FloatArray) -> FloatArray:
        """Return ``Σ v`` of each column v.

        Parameters
        ----------
        vectors : ndarray, shape (..., p, k)
            Vectors in columns.

        Returns
        -------
        ndarray, shape (..., p, k)
            Their images.
        """
        return _apply(self.covariance, vectors)

    def apply_root(self, vectors: FloatArray) -> FloatArray:
        """Return ``Σ^{1/2} v`` of each column v.

        Parameters
        ----------
        vectors : ndarray, shape (..., p, k)
            Vectors in columns.

        Returns
        -------
        ndarray, shape (..., p, k)
            Their images.
        """
        return _apply(self.root, vectors)

    def colour(self, rows: FloatArray) -> None:
        """Turn each row z into ``Σ^{1/2} z``, in place.

        Parameters
        ----------
        rows : ndarray, shape (k, p)
            Overwritten.
        """
        if self.root.ndim == 2:
            rows[...] = rows @ self.root
        elif (self.root != 1.0).any():
            rows *= self.root


@dataclass(frozen=True, eq=False, repr=False)
class GaussianMixture(Task):
    """Two classes y = ±1 with samples ``x = y μ + Σ^{1/2} z``; z has independent standardised entries.

    Parameters
    ----------
    mean : array_like, shape (p,)
        μ, the mean of the class y = 1.
    covariance : array_like, shape (), (p,) or (p, p), optional
        Σ: a multiple of the identity, its diagonal, or the full matrix, symmetric and positive semi-definite to 1e-10
        of its Frobenius norm. None: the identity. A full matrix that is diagonal is kept as its diagonal, and a
        constant diagonal as a number.
    label_noise : float, default 0
        Probability ε in [0, ½) that a training label is flipped.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or a parameter is outside its range.

    Examples
    --------
    >>> mixture = GaussianMixture([1.0, 0.0], covariance=[[2.0, 1.0], [1.0, 2.0]])
    >>> mixture.p, mixture.eigenvalues
    (2, array([1., 3.]))
    """

    mean: FloatArray
    covariance: FloatArray
    label_noise: float = 0.0

    def __init__(self, mean: ArrayLike, covariance: ArrayLike | None = None, label_noise: float = 0.0) -> None:
        object.__setattr__(self, "mean", _vector("mean", mean))
        object.__setattr__(self, "covariance", _covariance(covariance, self.p, "mean"))
        object.__setattr__(self, "label_noise", real("label_noise", label_noise, 0.0, 0.5, open_high=True))

    def __repr__(self) -> str:
        return f"GaussianMixture(p={self.p}, covariance={self._form}, label_noise={self.label_noise:g})"

    @property
    def p(self) -> int:
        """Dimension of the samples."""
        return self.mean.size


@dataclass(frozen=True, eq=False, repr=False)
class RegressionTask(Task):
    """A linear model with d outputs: ``y = W x + σ ε``, ``x = Σ^{1/2} z``; z, ε have independent standardised entries.

    Parameters
    ----------
    weights : array_like, shape (p,) or (d, p)
        W, an output in each row; a vector is a single output. Kept in the shape (d, p).
    covariance : array_like, shape (), (p,) or (p, p), optional
        Σ, as in `GaussianMixture`.
    noise : array_like, shape () or (d,), default 0
        σ ≥ 0, the standard deviation of the noise of each output. Kept in the shape (d,).

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, or a parameter is outside its range.

    Examples
    --------
    >>> task = RegressionTask([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]], covariance=[1.0, 2.0, 0.5], noise=0.3)
    >>> task.d, task.p, task.noise
    (2, 3, array([0.3, 0.3]))
    """

    weights: FloatArray
    covariance: FloatArray
    noise: FloatArray

    def __init__(self, weights: ArrayLike, covariance: ArrayLike | None = None, noise: ArrayLike = 0.0) -> None:
        object.__setattr__(self, "weights", _read_only(np.atleast_2d(_weights(weights))))
        object.__setattr__(self, "covariance", _covariance(covariance, self.p, "weights"))
        plain("noise", noise)
        sigma = real_array("noise", noise, 0.0)
        if sigma.shape not in ((), (self.d,)):
            raise ValueError(f"noise must be a number or have shape ({self.d},) to fit weights, got {sigma.shape}")
        object.__setattr__(self, "noise", _read_only(np.broadcast_to(sigma, (self.d,)).copy()))

    def __repr__(self) -> str:
        return f"RegressionTask(d={self.d}, p={self.p}, covariance={self._form})"

    @property
    def p(self) -> int:
        """Dimension of the samples."""
        return int(self.weights.shape[1])

    @property
    def d(self) -> int:
        """Number of outputs."""
        return int(self.weights.shape[0])


def _apply(matrix: FloatArray, vectors: FloatArray) -> FloatArray:
    return matrix @ vectors if matrix.ndim == 2 else matrix[..., None] * vectors


def _covariance(value: ArrayLike | None, p: int, beside: str) -> FloatArray:
    """Check a covariance of any form and return it symmetric, as a diagonal where it is one; None is the identity."""
    plain("covariance", value)
    covariance = real_array("covariance", 1.0 if value is None else value)
    if covariance.shape not in ((), (p,), (p, p)):
        raise ValueError(f"covariance must have shape (), ({p},) or ({p}, {p}) to fit {beside}, got {covariance.shape}")
    if covariance.ndim == 2 and np.count_nonzero(covariance) == np.count_nonzero(covariance.diagonal()):
        covariance = covariance.diagonal()
    if covariance.ndim == 1 and (covariance == covariance[0]).all():
        covariance = covariance[0]
    if covariance.ndim < 2:
        return _read_only(real_array("covariance", covariance, 0.0).copy())
    check_memory(f"a covariance of p={p} with its eigenvectors", 40.0 * p * p)
    scale = np.abs(covariance).max()
    unit = covariance / scale
    norm = float(np.linalg.norm(unit))
    if np.abs(unit - unit.T).max() > _SEMIDEFINITE * norm:
        raise ValueError("covariance must be symmetric")
    unit = 0.5 * (unit + unit.T)
    if lapack.dpotrf(unit + _SEMIDEFINITE * norm * np.eye(p))[1]:
        lowest = np.linalg.eigvalsh(unit)[0] * scale
        raise ValueError(f"covariance must be positive semi-definite, it has the eigenvalue {lowest:.3g}")
    return _read_only(unit * scale)


AnyTask = TypeVar("AnyTask", bound=Task, covariant=True)


@dataclass(frozen=True, eq=False)
class RidgeSource(Generic[AnyTask]):
    """A source trained by ridge on its own samples of a task.

    Parameters
    ----------
    mixture : GaussianMixture or RegressionTask
        The source task: a mixture, or for regression a linear model.
    n : float
        Number N of source samples, positive; a whole number where it is simulated.
    gamma : float
        Ridge penalty γ̃ ≥ 0 of the source.

    Raises
    ------
    ValueError
        If a parameter is outside its range.
    """

    mixture: AnyTask
    n: float
    gamma: float

    def __post_init__(self) -> None:
        if not isinstance(self.mixture, GaussianMixture | RegressionTask):
            raise ValueError(
                f"mixture must be a GaussianMixture, got {type(self.mixture).__name__} "
                f"(for regression it may be a RegressionTask)"
            )
        object.__setattr__(self, "n", real("n", self.n, 0.0, open_low=True))
        object.__setattr__(self, "gamma", real("gamma", self.gamma, 0.0))

    @property
    def p(self) -> int:
        """Dimension of the samples."""
        return self.mixture.p


@dataclass(frozen=True, eq=False)
class FixedSource(_ReadOnly):
    """A source that is given as it is.

    Parameters
    ----------
    weights : array_like, shape (p,) or (d, p)
        w̃, the weights of a classifier or of a single output; for regression with d outputs, one in each row.

    Raises
    ------
    ValueError
        If the weights are not a vector or a matrix of finite numbers.
    """

    weights: FloatArray = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", _weights(self.weights))

    @property
    def p(self) -> int:
        """Number of weights, of each output."""
        return int(self.weights.shape[-1])


Source = RidgeSource[GaussianMixture] | FixedSource
"""What a classifier starts from."""

RegressionSource = RidgeSource[RegressionTask] | FixedSource
"""What a regression starts from."""


def check_sources(target: GaussianMixture, sources: Iterable[Source]) -> tuple[Source, ...]:
    """Check that target and sources fit together.

    Parameters
    ----------
    target : GaussianMixture
        The target task.
    sources : iterable of RidgeSource or FixedSource
        The sources: of mixtures, or vectors of weights.

    Returns
    -------
    tuple of RidgeSource or FixedSource
        The sources.

    Raises
    ------
    ValueError
        If one of them is something else, or of another dimension.
    """
    checked = _fitting(GaussianMixture, target, sources)
    for k, source in enumerate(checked):
        if isinstance(source, FixedSource) and source.weights.ndim != 1:
            raise ValueError(
                f"sources[{k}].weights must be a vector to fit a GaussianMixture, got shape {source.weights.shape}"
            )
    return cast(tuple[Source, ...], checked)


def check_regression_sources(
    target: RegressionTask, sources: Iterable[RegressionSource]
) -> tuple[RegressionSource, ...]:
    """Check that target and sources of a regression fit together.

    Parameters
    ----------
    target : RegressionTask
        The target task.
    sources : iterable of RidgeSource or FixedSource
        The sources: of regression tasks, or weights of every output.

    Returns
    -------
    tuple of RidgeSource or FixedSource
        The sources.

    Raises
    ------
    ValueError
        If one of them is something else, of another dimension, or has another number of outputs.
    """
    checked = cast(tuple[RegressionSource, ...], _fitting(RegressionTask, target, sources))
    for k, source in enumerate(checked):
        d = len(np.atleast_2d(source.weights)) if isinstance(source, FixedSource) else source.mixture.d
        if d != target.d:
            raise ValueError(f"sources[{k}] must have as many outputs as target, {target.d}, got {d}")
    return checked


def _fitting(kind: type[Task], target: object, sources: object) -> tuple[RidgeSource[Any] | FixedSource, ...]:
    """Check what does not depend on the kind of task, and that the kind is the same everywhere."""
    if not isinstance(target, kind):
        raise ValueError(f"target must be a {kind.__name__}, got {type(target).__name__}")
    if not isinstance(sources, Iterable):
        raise ValueError(f"sources must be a sequence of sources, got {type(sources).__name__}")
    sources = tuple(sources)
    for k, source in enumerate(sources):
        if not isinstance(source, RidgeSource | FixedSource):
            raise ValueError(f"sources[{k}] must be a RidgeSource or a FixedSource, got {type(source).__name__}")
        if isinstance(source, RidgeSource) and not isinstance(source.mixture, kind):
            raise ValueError(
                f"sources[{k}].mixture must be a {kind.__name__}, as target is, got {type(source.mixture).__name__}"
            )
        if source.p != target.p:
            raise ValueError(f"sources[{k}] must have the dimension {target.p} of target, got {source.p}")
    return sources
