r"""The isotropic problem behind labelled data: debiased estimates of s, m² and w⊥², with standard errors.

Statement. The closed form (THEORY §4) needs ``s = ⟨w̃, μ⟩``, ``m² = ‖μ‖²`` and ``w⊥² = ‖w̃‖² − s²/m²``, where μ is half
the difference of the target's class means. Its estimate ``μ̂ = (x̄₊ − x̄₋)/2`` has covariance ``Ω = Σ_c Σ_c/(4 n_c)``, so
that ``‖μ̂‖²`` is too long by tr Ω ≈ p/n: as much as the signal. Hence, with S_c the covariance within class c and
``Ω̂ = Σ_c S_c/(4 n_c)``,

    ŝ = ⟨w̃, μ̂⟩,        m̂² = ‖μ̂‖² − tr Ω̂,

both unbiased, for any noise, any class sizes and any origin. That is THEORY §10 up to the last word:
``(‖Xᵀy‖² − Σ‖xᵢ‖²)/(n(n−1))`` knows that the model's origin is 0, but real data have to be centred first, and on rows
that were centred by themselves it is p/(n(n−1)) too large (1.05 at n = 20, p = 400). With balanced classes both are
equally precise.

The rule. m̂² can be negative, and s² ≤ m²‖w̃‖² for any vectors, so ``m² = max(m̂², ŝ²/‖w̃‖²)``. Where the second wins the
data show no part of μ outside the source's direction, and w⊥² = 0. This trusts the source: accuracies predicted with it
are nearly unbiased, but α* is then ``(1+κ)/(κŝ)``, little more than noise, and callers should say so (`at_bound`).

Standard errors. To leading order in 1/n,

    Var(g ŝ + h m̂²) = vᵀΩv + 2h² tr Ω²,        v = g w̃ + 2h μ.

Plugging in μ̂ and Ω̂ gives the (infinitesimal) jackknife, whose mean is ``vᵀΩv + 4h² tr Ω²``: it counts the quadratic
part twice, and p ~ n is where that part matters (standard errors up to √2 too large). So ``2h² tr Ω²`` is subtracted,
but never more than half, by an unbiased estimate of tr Ω² (Himeno and Yamada 2014, J. Multivariate Anal. 130). w⊥², not
linear and biased low by O(1/n), gets its error by the delta method, capped at ‖w̃‖²/2: no quantity between 0 and ‖w̃‖²
has a larger one.

Fourth powers of samples occur on the way. So X and w̃ are first divided by powers of two, exactly, and any samples
within ±1e100 and weights from 1e-100 to 1e100 will do.

Label noise: a fraction ε of flipped labels, t = 1 − 2ε, makes these estimates of ts, t²m², and w⊥² (unchanged).
Cost: O(np min(n, p)), for tr Ω².
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha import _tables
from rmt_alpha._validation import FloatArray, power_of_two, real, real_array
from rmt_alpha.estimation.datasets import LARGEST, labelled
from rmt_alpha.estimation.splits import MIN_TRAINING, within_classes
from rmt_alpha.laws import MarginLaw
from rmt_alpha.theory.isotropic import fixed_source_law


@dataclass(frozen=True)
class ProblemEstimate:
    """What `estimate_problem` found: the three numbers of an isotropic problem with a fixed source.

    Parameters
    ----------
    s, m2, w_perp2 : float
        Estimates of ``⟨w̃, μ⟩``, ``‖μ‖²`` and of w⊥², the squared length of the part of w̃ orthogonal to μ.
    s_stderr, m2_stderr, w_perp2_stderr : float
        Their standard errors; that of `m2` is the one of `m2_unbiased`.
    m2_unbiased : float
        Estimate of m² before the rule, possibly negative.
    at_bound : bool
        Whether the rule ``m2 ≥ s²/‖w̃‖²`` was needed: the data show no part of μ outside the source's direction.
    """

    s: float
    m2: float
    w_perp2: float
    s_stderr: float
    m2_stderr: float
    w_perp2_stderr: float
    m2_unbiased: float
    at_bound: bool

    def _repr_html_(self) -> str:
        rows = [
            ("s = ⟨w̃, μ⟩", (self.s, self.s_stderr)),
            ("m² = ‖μ‖², unbiased", (self.m2_unbiased, self.m2_stderr)),
            ("m² by the rule m² ≥ s²/‖w̃‖²", self.m2),
            ("w⊥²", (self.w_perp2, self.w_perp2_stderr)),
            ("the rule was needed", self.at_bound),
        ]
        return _tables.table("ProblemEstimate: value ± standard error", ("quantity", "value"), rows)

    def margin_law(self, n: ArrayLike, p: ArrayLike, gamma: ArrayLike, *, label_noise: float = 0.0) -> MarginLaw:
        """Law of the margin that the isotropic theory predicts for these numbers.

        Parameters
        ----------
        n, p, gamma : float or array_like
            Number of target samples, dimension and ridge penalty of the fine-tuning that is predicted; n need not be
            the number of samples behind the estimate.
        label_noise : float, default 0
            Probability ε in [0, ½) that a label was flipped, in the samples behind the estimate and in the fine-tuning.
            The law is that of clean test labels.

        Returns
        -------
        MarginLaw
            One source; batched over the broadcast shape of n, p and γ.

        Raises
        ------
        ValueError
            If an argument is outside its range or the shapes do not broadcast.
        """
        t = 1.0 - 2.0 * real("label_noise", label_noise, 0.0, 0.5, open_high=True)
        return fixed_source_law(
            self.s / t, self.w_perp2, self.m2 / (t * t), n, p, gamma, label_noise=np.asarray(label_noise)
        )


def estimate_problem(X: ArrayLike, y: ArrayLike, source_coef: ArrayLike) -> ProblemEstimate:
    """Estimate (s, m², w⊥²) from labelled target samples, as `fixed_source_law` takes them.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Target samples in rows, between -1e100 and 1e100. Features should have unit variance within the classes, for
        the law that is made of the estimates; the estimates themselves hold for any covariance and any origin.
    y : array_like, shape (n,)
        Labels ±1, at least four of each.
    source_coef : array_like, shape (p,)
        Source weights w̃, independent of these samples; all 0, or the largest between 1e-100 and 1e100 in size.

    Returns
    -------
    ProblemEstimate
        Estimates and standard errors.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite or outside its range, or a label is too rare.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([-1.0, 1.0], 100)
    >>> X = rng.standard_normal((200, 400)) + np.outer(y, np.eye(400)[0])  # m² = 1
    >>> w = 0.8 * np.eye(400)[0] + 0.6 * np.eye(400)[1]  # s = .8, w⊥² = .36
    >>> e = estimate_problem(X, y, w)
    >>> [f"{value:.2f} ± {error:.2f}" for value, error in ((e.s, e.s_stderr), (e.m2, e.m2_stderr))]
    ['0.81 ± 0.07', '0.94 ± 0.20']
    """
    X, y = labelled(X, y)
    w = real_array("source_coef", real_array("source_coef", source_coef), -LARGEST, LARGEST)
    if w.shape != X.shape[1:]:
        raise ValueError(f"source_coef must have shape ({X.shape[1]},) to fit the columns of X, got {w.shape}")
    rarest = int(min((y == 1.0).sum(), (y == -1.0).sum()))
    if rarest < MIN_TRAINING:
        raise ValueError(f"y must have at least {MIN_TRAINING} samples of each label, got {rarest} of one")

    means, residuals = within_classes(X, y)
    mu = 0.5 * (means[1] - means[0])
    unit = _unit("X", mu, *residuals)
    unit_w = _unit("source_coef", w)
    mu, w, residuals = mu / unit, w / unit_w, (residuals[0] / unit, residuals[1] / unit)
    sizes = [len(r) for r in residuals]

    def omega(v: FloatArray) -> float:
        """Return vᵀΩ̂v."""
        return sum(float(np.square(r @ v).sum()) / (4 * k * (k - 1)) for r, k in zip(residuals, sizes, strict=True))

    trace = sum(float(np.square(r).sum()) / (4 * k * (k - 1)) for r, k in zip(residuals, sizes, strict=True))
    trace2 = trace_of_square(residuals, [1.0 / (4 * k) for k in sizes])

    def stderr(g: float, h: float) -> float:
        """Return the standard error of g ŝ + h m̂²."""
        jackknife = omega(g * w + 2.0 * h * mu)
        return math.sqrt(max(jackknife - 2.0 * h * h * trace2, 0.5 * jackknife))

    s, unbiased, length2 = float(w @ mu), float(mu @ mu) - trace, float(w @ w)
    bound = s * s / length2 if length2 > 0.0 else 0.0
    m2 = max(unbiased, bound)
    along = s * s / m2 if m2 > 0.0 else 0.0
    return ProblemEstimate(
        s=s * unit * unit_w,
        m2=m2 * unit**2,
        w_perp2=0.0 if unbiased < bound else (length2 - along) * unit_w**2,
        s_stderr=stderr(1.0, 0.0) * unit * unit_w,
        m2_stderr=stderr(0.0, 1.0) * unit**2,
        w_perp2_stderr=unit_w**2
        * (min(stderr(-2.0 * s / m2, along / m2), 0.5 * length2) if m2 > 0.0 else 0.5 * length2),
        m2_unbiased=unbiased * unit**2,
        at_bound=unbiased < bound,
    )


def _unit(name: str, *arrays: FloatArray) -> float:
    """Return the power of two just above the largest entry, 1 if all are 0; refuse one whose square would vanish."""
    largest = max(float(np.abs(array).max()) for array in arrays)
    if 0.0 < largest < 1.0 / LARGEST:
        raise ValueError(
            f"{name} must differ from 0 by at least {1.0 / LARGEST:g} somewhere, got at most {largest:.1e}"
        )
    return power_of_two(np.array(largest))


def trace_of_square(residuals: Sequence[FloatArray], weights: Sequence[float]) -> float:
    """Estimate ``tr (Σ_c a_c Σ_c)²`` without bias, for any distribution of the samples.

    Parameters
    ----------
    residuals : sequence of ndarray, shapes (n_c, p)
        Samples of each class minus their class's mean, at least four of each.
    weights : sequence of float
        The a_c.

    Returns
    -------
    float
        The estimate. Between classes ``tr S_c S_d`` is unbiased as it is; within one, the formula of Himeno and
        Yamada (2014) removes what p > n adds.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((50, 400))  # tr Σ² = 400, tr S² near 3700
    >>> round(trace_of_square([noise - noise.mean(axis=0)], [1.0]))
    377
    """
    total = 0.0
    for c, (r, a) in enumerate(zip(residuals, weights, strict=True)):
        n = len(r)
        lengths2 = np.square(r).sum(axis=1)
        squares = (n - 2) / (n - 1) * _inner2(r, r) + (lengths2.sum() / (n - 1)) ** 2
        total += a * a * (n - 1) / (n * (n - 2) * (n - 3)) * (squares - n / (n - 1) * np.square(lengths2).sum())
        for q, b in zip(residuals[:c], weights[:c], strict=True):
            total += 2.0 * a * b * _inner2(r, q) / ((n - 1) * (len(q) - 1))
    return float(total)


def _inner2(r: FloatArray, q: FloatArray) -> float:
    """Sum of the squared inner products of all rows of r with all rows of q, on the smaller side."""
    if r.shape[1] < max(len(r), len(q)):
        return float(np.vdot(r.T @ r, q.T @ q))
    return float(np.square(r @ q.T).sum())


def anisotropy(residuals: Sequence[FloatArray]) -> float:
    """Estimate ``p tr Σ²/(tr Σ)²`` of the covariance within classes: 1 if isotropic, p if it has a single direction.

    Parameters
    ----------
    residuals : sequence of ndarray, shapes (n_c, p)
        Samples of each class minus their class's mean, at least four of each.

    Returns
    -------
    float
        Mean squared eigenvalue over squared mean eigenvalue, the numerator without bias, so that few samples do not
        pass for correlated features. nan where nothing varies.

    Examples
    --------
    >>> noise = np.random.default_rng(1).standard_normal((50, 400))
    >>> noise -= noise.mean(axis=0)
    >>> round(anisotropy([noise]), 1), round(anisotropy([noise * np.linspace(0.0, 2.0, 400)]), 1)
    (1.1, 1.9)
    """
    degrees = sum(len(r) - 1 for r in residuals)
    trace = sum(float(np.square(r).sum()) for r in residuals) / degrees
    if trace == 0.0:
        return math.nan
    weights = [(len(r) - 1) / degrees for r in residuals]
    return float(residuals[0].shape[1] * trace_of_square(residuals, weights) / trace**2)
