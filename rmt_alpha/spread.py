r"""The companion of the hub: how the numbers of a margin law vary from draw to draw.

At finite n and p every draw of the training samples has a law of its own. Its numbers, those of M and the upper
triangle of V,

    ν = (M₀, …, M_K, V₀₀, V₀₁, …, V_KK),

scatter with a covariance C of order 1/n around a mean that is off the limit ν̄ by a bias b of order 1/n, and tend to be
Gaussian. What a draw makes of them follows by the delta method. At a given α, with ``a = (1, α)``, they matter only
through the margin's mean ``m = a·M`` and variance ``v = aᵀVa``. Let ``A = Var m``, ``B = Cov(m, v)``, ``D = Var v`` and
let b_m, b_v be their biases. Then the ratio ``S = m/√v``, which an accuracy is Φ of, has

    Var S = A/v − mB/v² + m²D/(4v³),
    E S   = m/√v + b_m/√v − m b_v/(2 v^{3/2}) − B/(2 v^{3/2}) + 3mD/(8 v^{5/2})              up to O(n^{−3/2}),

and a Gaussian S with these makes

    sd Φ(S) ≃ φ(S) sd S,       E Φ(S) = Φ(E S/√(1 + Var S)),       Φ(E S ± z sd S)  a prediction interval.

The interval is made for S and not for the accuracy: S is closer to Gaussian, and an accuracy stays in [0, 1]. The
risk ``(1 − m)² + v`` has the variance ``4(1−m)²A − 4(1−m)B + D``. For a draw's own α*, from ``x = V⁻¹M`` and
``δx = V⁻¹(δM − δV x)``,

    δα*ₖ = (δxₖ − α*ₖ δx₀)/x₀.

Reference: THEORY §8.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from rmt_alpha._validation import FloatArray, check_memory, real, real_array
from rmt_alpha.laws import (
    Law,
    MarginLaw,
    Result,
    as_result,
    check_positive,
    flatten,
    is_positive,
    number_names,
    zero_and_one,
)

_DIGITS = 1e-7
"""A difference that is smaller, in units of its terms, has too few digits for derivatives of what is divided by it."""


def _unflatten(numbers: FloatArray, n_sources: int) -> MarginLaw:
    size = n_sources + 1
    i, j = np.triu_indices(size)
    cov = np.empty((*numbers.shape[:-1], size, size))
    cov[..., i, j] = numbers[..., size:]
    cov[..., j, i] = numbers[..., size:]
    return MarginLaw._trusted(numbers[..., :size].copy(), cov)


@dataclass(frozen=True, eq=False)
class Fluctuations(Law):
    """Spread of a margin law between draws of the training samples, or a batch of such spreads.

    Parameters
    ----------
    law : MarginLaw
        The limit, around which the draws scatter.
    cov : array_like, shape (..., d, d)
        Covariance between draws of the d = (K+1)(K+4)/2 numbers (M₀, …, M_K, V₀₀, V₀₁, …, V_KK): five for one source.
        Symmetric and positive semi-definite to a relative 1e-10.
    bias : array_like, shape (..., d), default 0
        Mean of a draw's numbers minus those of `law`.

    Raises
    ------
    ValueError
        If the shapes do not fit, an entry is nan or infinite, or `cov` is not symmetric positive semi-definite.

    Notes
    -----
    α has shapes as in `MarginLaw`, and broadcasts against the batch. Everything here is of first order in the spread,
    but for `mean_accuracy`, `mean_risk` and the middle of `accuracy_interval`, which take bias and curvature into
    account. With few dimensions p, up to some tens, an accuracy near its best α hardly depends on the numbers to first
    order, and its standard deviation and intervals come out too large.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> spread = ra.fluctuations(0.8, n=200, p=400, gamma=0.1)
    >>> spread.names
    ('M0', 'M1', 'V00', 'V01', 'V11')
    >>> spread.std.round(4)
    array([0.0249, 0.0263, 0.0377, 0.0046, 0.0319])
    >>> round(spread.law.accuracy(1.0), 4), round(spread.accuracy_std(1.0), 4)
    (0.7365, 0.0086)
    """

    _ARRAYS: ClassVar[dict[str, int]] = {"numbers": 1, "cov": 2, "bias": 1}
    _NOTE: ClassVar[str] = ", limit ± standard deviation between draws"

    numbers: FloatArray
    cov: FloatArray
    bias: FloatArray

    def __init__(self, law: MarginLaw, cov: ArrayLike, bias: ArrayLike | None = None) -> None:
        if not isinstance(law, MarginLaw):
            raise ValueError(f"law must be a MarginLaw, got {type(law).__name__}")
        numbers = real_array("law", flatten(law))
        spread = real_array("cov", cov)
        shift = np.zeros_like(numbers) if bias is None else real_array("bias", bias)
        for name, array, shape in (
            ("cov", spread, (*numbers.shape, numbers.shape[-1])),
            ("bias", shift, numbers.shape),
        ):
            if array.shape != shape:
                raise ValueError(f"{name} must have shape {shape} to fit the numbers of law, got {array.shape}")
        check_positive(spread)
        self._set((numbers, spread.copy(), shift.copy()))

    @property
    def n_sources(self) -> int:
        """K, the number of sources."""
        return round((math.sqrt(8 * self.numbers.shape[-1] + 9) - 5) / 2)

    def __repr__(self) -> str:
        if self.shape:
            return f"Fluctuations(shape={self.shape}, n_sources={self.n_sources})"
        pairs = zip(self.names, self.numbers, self.std, strict=True)
        return "Fluctuations(" + ", ".join(f"{name} = {value:.4g} ± {std:.2g}" for name, value, std in pairs) + ")"

    def _numbers_by_name(self) -> dict[str, FloatArray]:
        of_all = {"": self.numbers, "std_": self.std, "bias_": self.bias}
        return {f"{kind}{name}": array[..., i] for kind, array in of_all.items() for i, name in enumerate(self.names)}

    def _answers_by_name(self) -> dict[str, Any]:
        law = self.law
        if not self.n_sources:
            return {"accuracy": law.accuracy(), "std_accuracy": self.accuracy_std()}
        found: dict[str, Any] = {"optimal_alpha": law.optimal_alpha(), "std_optimal_alpha": self.optimal_alpha_std()}
        for i, alpha in enumerate(zero_and_one(self.n_sources)):
            found |= {f"accuracy_{i}": law.accuracy(alpha), f"std_accuracy_{i}": self.accuracy_std(alpha)}
        return found

    def _shown(self) -> dict[str, Any]:
        found = super()._shown()
        shown = [name for name in found if not name.startswith(("std_", "bias_"))]
        return {name: (found[name], found[f"std_{name}"]) for name in shown}

    @property
    def law(self) -> MarginLaw:
        """The law around which the draws scatter: in theory, the limit of many samples and dimensions."""
        return _unflatten(self.numbers, self.n_sources)

    @property
    def corrected_law(self) -> MarginLaw:
        """The law of the mean numbers of a draw, limit plus bias; nan where its V is not positive semi-definite.

        That happens with so few samples that an expansion in 1/n says nothing.
        """
        law = _unflatten(self.numbers + self.bias, self.n_sources)
        good = is_positive(law.cov)
        mean, cov = np.where(good[..., None], law.mean, np.nan), np.where(good[..., None, None], law.cov, np.nan)
        return MarginLaw._trusted(mean, cov)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the numbers: M0, M1, V00, V01, V11 for one source."""
        return number_names(self.n_sources)

    @property
    def std(self) -> FloatArray:
        """Standard deviations of the numbers between draws, shape (..., d)."""
        return np.sqrt(np.maximum(np.diagonal(self.cov, axis1=-2, axis2=-1), 0.0))

    @property
    def correlation(self) -> FloatArray:
        """Correlations of the numbers between draws, shape (..., d, d); nan beside a number that does not vary."""
        std = self.std
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.cov / std[..., :, None] / std[..., None, :])

    def _at(self, alpha: ArrayLike | None, *, infinite: bool) -> tuple[FloatArray, ...]:
        """Return (m, v, A, B, D, b_m, b_v) at α, and what a is divided by: with `infinite` |α| where that exceeds 1."""
        K = self.n_sources
        array = self.checked_alpha(alpha, infinite=infinite and K == 1)
        if K == 1:
            array = array[..., None]
        i, j = np.triu_indices(K + 1)
        shape = np.broadcast_shapes(array.shape[:-1], self.shape)
        check_memory(f"alpha of shape {shape}", 64.0 * math.prod(shape) * (K + 1 + len(i)))
        absent = (self.numbers == 0.0) & (np.diagonal(self.cov, axis1=-2, axis2=-1) == 0.0)
        forgotten = absent[..., 1 : K + 1] & absent[..., K + 1 :][..., i == j][..., 1:]
        a = np.ones((*shape, K + 1))
        a[..., 1:] = np.where(forgotten, 0.0, array)  # sources without a say, whatever their α
        largest = np.ones((*shape, 1))
        if infinite:
            largest = np.abs(a).max(axis=-1, keepdims=True)
            endless = np.isinf(largest)
            a = np.where(endless, np.where(np.isinf(a), np.sign(a), 0.0), a / np.where(endless, 1.0, largest))

        def along(u: FloatArray, v: FloatArray) -> FloatArray:
            return np.asarray(np.einsum("...i,...ij,...j->...", u, self.cov, v))

        with np.errstate(over="ignore", invalid="ignore"):
            of_mean = np.concatenate([a, np.zeros((*a.shape[:-1], len(i)))], axis=-1)
            products = np.where(i == j, 1.0, 2.0) * a[..., i] * a[..., j]
            of_variance = np.concatenate([np.zeros_like(a), products], axis=-1)
            m, v = (of_mean * self.numbers).sum(axis=-1), (of_variance * self.numbers).sum(axis=-1)
            b_m, b_v = (of_mean * self.bias).sum(axis=-1), (of_variance * self.bias).sum(axis=-1)
            A, B, D = along(of_mean, of_mean), along(of_mean, of_variance), along(of_variance, of_variance)
        return m, v, A, B, D, b_m, b_v, largest[..., 0]

    def _ratio(self, alpha: ArrayLike | None) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return S = m/√v in the limit, its mean between draws, and its standard deviation."""
        m, v, A, B, D, b_m, b_v, _ = self._at(alpha, infinite=True)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            root = np.sqrt(v)
            ratio = m / root
            variance = (A - ratio * B / root + 0.25 * ratio * ratio * D / v) / v
            shift = (b_m - 0.5 * ratio * b_v / root - 0.5 * B / v + 0.375 * ratio * D / (v * root)) / root
            return ratio, ratio + shift, np.sqrt(np.maximum(variance, 0.0))

    def accuracy_std(self, alpha: ArrayLike | None = None) -> Result:
        """How far the accuracy varies between draws: its standard deviation.

        Parameters
        ----------
        alpha : array_like
            Scale(s) of the source, as in `MarginLaw.accuracy`.

        Returns
        -------
        float or ndarray
            ``φ(S) sd S`` with S, the ratio of the margin's mean to its standard deviation, in the limit.
        """
        ratio, _, std = self._ratio(alpha)
        return as_result(np.exp(-0.5 * ratio * ratio) / np.sqrt(2.0 * np.pi) * std)

    def mean_accuracy(self, alpha: ArrayLike | None = None) -> Result:
        """Mean of the accuracy over draws, to second order.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy_std`.

        Returns
        -------
        float or ndarray
            ``Φ(E S/√(1 + Var S))``. It differs from the accuracy of `law` by the bias of the numbers and by the
            curvature of what is made of them, each O(1/n); from that of `corrected_law` by the curvature.
        """
        _, mean, std = self._ratio(alpha)
        return as_result(special.ndtr(mean / np.sqrt(1.0 + std * std)))

    def accuracy_interval(self, alpha: ArrayLike | None = None, coverage: float = 0.9) -> tuple[Result, Result]:
        """Prediction interval for the accuracy of one draw.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy_std`.
        coverage : float, default 0.9
            Probability, above 0 and below 1, that a draw's accuracy lies inside.

        Returns
        -------
        low, high : float or ndarray
            The ends, between 0 and 1. With few samples accuracies are skewed: the two ends together have the coverage,
            one alone is no bound (at n = 20 a tail that should hold 5 % may hold 6 % or 3 %).

        Raises
        ------
        ValueError
            If `coverage` is not a number between 0 and 1, or α has the wrong shape.

        Examples
        --------
        >>> import rmt_alpha as ra
        >>> spread = ra.fluctuations(0.8, n=200, p=400, gamma=0.1)
        >>> low, high = spread.accuracy_interval([0.0, 1.0], coverage=0.9)
        >>> low.round(3), high.round(3)
        (array([0.648, 0.722]), array([0.692, 0.751]))
        """
        share = real("coverage", coverage, 0.0, 1.0, open_low=True, open_high=True)
        _, mean, std = self._ratio(alpha)
        half = special.ndtri(0.5 + 0.5 * share) * std
        return as_result(special.ndtr(mean - half)), as_result(special.ndtr(mean + half))

    def risk_std(self, alpha: ArrayLike | None = None) -> Result:
        """How far the squared risk for clean labels varies between draws: its standard deviation.

        Parameters
        ----------
        alpha : array_like
            Finite, as in `MarginLaw.risk`.

        Returns
        -------
        float or ndarray
            The square root of ``4(1−m)²A − 4(1−m)B + D``.
        """
        self.checked_alpha(alpha, infinite=False)
        m, _, A, B, D, _, _, scale = self._at(alpha, infinite=True)
        rest = 1.0 / scale - m
        with np.errstate(over="ignore", invalid="ignore"):
            return as_result(scale * scale * np.sqrt(np.maximum(4.0 * rest * (rest * A - B) + D, 0.0)))

    def mean_risk(self, alpha: ArrayLike | None = None) -> Result:
        """Mean over draws, to second order, of the squared risk for clean labels.

        Parameters
        ----------
        alpha : array_like
            As in `MarginLaw.risk`.

        Returns
        -------
        float or ndarray
            ``(1−m)² − 2(1−m) b_m + v + b_v + A``: the risk of `corrected_law`, and the variance of the margin's mean.
        """
        array = self.checked_alpha(alpha, infinite=self.n_sources == 1)
        finite = np.isfinite(array)
        if not finite.all():
            return as_result(np.where(finite, self.mean_risk(np.where(finite, array, 0.0)), self.law.risk(array)))
        m, v, A, _, _, b_m, b_v, _ = self._at(alpha, infinite=False)
        with np.errstate(over="ignore", invalid="ignore"):
            return as_result((1.0 - m) ** 2 - 2.0 * (1.0 - m) * b_m + v + b_v + A)

    def optimal_alpha_std(self) -> Result:
        """How far each draw's own α* varies: its standard deviation between draws.

        Returns
        -------
        float or ndarray
            Batch shape, with a trailing axis of length K for K > 1; nan where α* is not finite, or V so nearly singular
            that no digits would be left. To be believed where it is small beside α* or 1/α*: with a weak signal some
            draws have an α* far out, or none.
        """
        K, law = self.n_sources, self.law
        best = np.asarray(law.optimal_alpha())
        best = best[..., None] if K == 1 else best
        inverse, x, good = _solved(law)
        good &= np.isfinite(best).all(axis=-1)
        i, j = np.triu_indices(K + 1)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            a = np.concatenate([np.ones((*best.shape[:-1], 1)), best], axis=-1) * x[..., :1]
            rows = (inverse[..., 1:, :] - best[..., None] * inverse[..., :1, :]) / x[..., :1, None]
            through = rows[..., i] * a[..., None, j] + np.where(i == j, 0.0, 1.0) * rows[..., j] * a[..., None, i]
            gradient = np.concatenate([rows, -through], axis=-1)
            variance = np.einsum("...ki,...ij,...kj->...k", gradient, self.cov, gradient)
            std = np.where(good[..., None], np.sqrt(np.maximum(variance, 0.0)), np.nan)
        return as_result(std[..., 0] if K == 1 else std)


def _solved(law: MarginLaw) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return V⁻¹, x = V⁻¹M, and where they are finite and x₀ has digits left to divide by."""
    K = law.n_sources
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        scale = np.sqrt(np.diagonal(law.cov, axis1=-2, axis2=-1))
        correlation = law.cov / scale[..., :, None] / scale[..., None, :]
        good: NDArray[np.bool_] = np.asarray(np.isfinite(correlation).all(axis=(-2, -1)))
        correlation = np.where(good[..., None, None], correlation, np.eye(K + 1))
        good &= np.linalg.eigvalsh(correlation)[..., 0] > _DIGITS
        inverse = np.linalg.inv(np.where(good[..., None, None], correlation, np.eye(K + 1)))
        terms = inverse[..., 0, :] * (law.mean / scale)
        good &= np.abs(terms.sum(axis=-1)) > _DIGITS * np.abs(terms).sum(axis=-1)
        inverse = inverse / scale[..., :, None] / scale[..., None, :]
        return inverse, np.einsum("...ij,...j->...i", inverse, law.mean), good


def precise_optimal_alpha(law: MarginLaw) -> FloatArray:
    """Return α* of a law, or nan where rounding errors of the law's numbers would decide it.

    Parameters
    ----------
    law : MarginLaw
        Its numbers good to some 1e-15.

    Returns
    -------
    ndarray
        As `MarginLaw.optimal_alpha`.
    """
    best, good = np.asarray(law.optimal_alpha()), np.asarray(_solved(law)[2])
    return np.where(good if law.n_sources == 1 else np.expand_dims(good, -1), best, np.nan)
