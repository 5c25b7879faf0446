r"""What to choose in a transfer problem of any covariance: α and γ together, and whether to transfer at all.

The questions of `rmt_alpha.theory.choice`, answered from the deterministic equivalents (THEORY §3), where nothing is a
closed form in γ or n, but one eigendecomposition serves any number of them.

**α and γ together.** For each γ the best α, and its SNR ``√(MᵀV⁻¹M)``, are the margin law's. The best γ is sought as
there: the three highest local maxima of a logarithmic grid, eight points a decade, are refined, and compared with γ = 0
and γ = ∞. The grid covers with eight decades on either side the scales on which the law varies: the eigenvalues of Σ,
``tr Σ/n``, and the ridge at which source and data weigh the same, ``√(‖μ‖² + tr Σ/n)/‖w̃‖``.

**From scratch.** The SNR with n samples is a smooth function of the effective ridge on the scales of the eigenvalues,
also where it has narrow dips in n (double descent). So the last crossing of a level is sought in ``z = κ − γ``, in
terms of which ``n = κ df₁(κ)/z``: on a grid of sixteen points a decade, from n = 10¹² max(n, p) down, and then ever
closer, the dips between its points included.
Without penalty κ = 0 beyond n = rank Σ, where accuracy grows with n from ½; there the crossing is bisected.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rmt_alpha._validation import FloatArray
from rmt_alpha.laws import MarginLaw, Result
from rmt_alpha.theory.choice import JointChoice, maximum
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge

_MARGIN = 1e8
"""How far the grid of γ reaches beyond the smallest and the largest scale."""

_TIE = 1e-12
"""An end of the range of γ wins unless the inside is better by more than this, relative in SNR."""

_FAR = 1e12
"""More samples than this, in units of max(n, p), count as infinitely many."""

_PER_DECADE, _POINTS = 16, 17
"""Points of the grid of κ in a decade, and in each refinement of a crossing."""


def joint_choice(equivalent: Equivalent, n: float, gamma: float) -> JointChoice:
    """Find the best α and γ together, and what each of them alone would bring.

    Parameters
    ----------
    equivalent : Equivalent
        Target and sources, at least one.
    n : float
        Number of target samples, positive.
    gamma : float
        Ridge penalty from which gains are counted.

    Returns
    -------
    JointChoice
        ``α = 1`` stands for every source kept whole. α and c are vectors for several sources. If γ = inf is best, α is
        0 and c says how the sources weigh beside the data; nan if they are best used alone. A γ below every scale of
        the problem stands for γ → 0 where that is better than γ = 0, at which a source can be forgotten. nan where the
        law is.

    Raises
    ------
    ValueError
        If there is no source or an argument is outside its range.

    Examples
    --------
    >>> from rmt_alpha.problem import FixedSource, GaussianMixture
    >>> target = GaussianMixture([1.0, 0.5, 0.0, 0.2], covariance=[1.0, 2.0, 0.5, 0.1])
    >>> print(joint_choice(Equivalent(target, [FixedSource([1.0, 0.0, 0.0, 0.5])]), n=5, gamma=0.1))
                       γ       α  accuracy     gain
    as given         0.1       1    0.8011  +0.0000
    best α           0.1   3.069    0.8193  +0.0182
    best γ          8.85       1    0.8618  +0.0607
    both           16.62  0.2727    0.8644  +0.0633
    """
    K = len(equivalent.sources)
    if K == 0:
        raise ValueError("sources must have at least one entry: without a source there is no α to choose")
    ones: Any = np.ones(K) if K > 1 else 1.0
    given, limit = equivalent.law(n, gamma), equivalent.limit_law(n)
    low, high = _range(equivalent, n)

    def best(gammas: FloatArray) -> FloatArray:
        return _best_snr(equivalent.law(n, gammas))

    def at_one(gammas: FloatArray) -> FloatArray:
        return _snr(equivalent.law(n, gammas), np.ones(K + 1))

    alone = np.ones(K + 1)
    alone[0] = 0.0
    gamma_best = _best_gamma(best, low, high, float(_best_snr(limit)))
    gamma_one = _best_gamma(at_one, low, high, float(_snr(limit, alone)))
    if np.isinf(gamma_best):
        c, accuracy = np.asarray(limit.optimal_alpha()), limit.best_accuracy()
        alpha = np.where(np.isfinite(c), 0.0, np.nan)
    else:
        law = equivalent.law(n, np.nan_to_num(gamma_best, nan=gamma))  # nan as well
        alpha, accuracy = np.asarray(law.optimal_alpha()), law.best_accuracy()
        c = alpha * effective_ridge(equivalent.target.eigenvalues, n, np.nan_to_num(gamma_best)).kappa
    single = equivalent.law(n, gamma_one).accuracy(ones) if np.isfinite(gamma_one) else _phi(_snr(limit, alone))
    return JointChoice(
        alpha=_result(alpha),
        gamma=gamma_best,
        c=_result(c),
        accuracy=accuracy,
        gamma_at_one=gamma_one,
        accuracy_at_one=single,
        gamma_given=float(gamma),
        accuracy_given=given.accuracy(ones),
        alpha_given=given.optimal_alpha(),
        accuracy_alpha_given=given.best_accuracy(),
    )


def sample_gain(equivalent: Equivalent, n: float, gamma: float, alpha: ArrayLike | None = None) -> float:
    """Target samples n′ from which on training from scratch is as good as the transfer with n.

    Parameters
    ----------
    equivalent : Equivalent
        Target and sources.
    n : float
        Number of target samples, positive.
    gamma : float
        Ridge penalty γ ≥ 0, with the sources and from scratch.
    alpha : array_like, optional
        Scale of each source, shape () for one and (K,) for several. Left out, the best, α*.

    Returns
    -------
    float
        The smallest n′ ≥ 0 such that training from scratch is at least as accurate with every number of samples from n′
        on; inf if there is none, which is possible where Σ is not a multiple of I and γ > 0. nan where the law is.
        As in `rmt_alpha.effective_sample_gain`, compare with α = 0 to tell what the sources are worth.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> from rmt_alpha.problem import FixedSource, GaussianMixture
    >>> target = GaussianMixture([1.0, 0.5, 0.0, 0.2], covariance=[1.0, 2.0, 0.5, 0.1])
    >>> equivalent = Equivalent(target, [FixedSource([1.0, 0.0, 0.0, 0.5])])
    >>> [round(sample_gain(equivalent, n=5, gamma=0.1, alpha=a), 2) for a in (0.0, 1.0)]
    [5.0, 7.32]
    """
    law = equivalent.law(n, gamma)
    if alpha is None:
        level = float(_best_snr(law))
    else:
        scales = law.checked_alpha(alpha, infinite=False)
        if scales.size != len(equivalent.sources):
            raise ValueError(f"alpha must have one entry per source here, got shape {scales.shape}")
        level = float(_snr(law, np.concatenate([[1.0], scales.ravel()])))
    if np.isnan(level):
        return np.nan
    if level <= 0.0:
        return 0.0
    values, scratch = equivalent.target.eigenvalues, Equivalent(equivalent.target)
    largest = _FAR * max(n, values.size)

    def excess(samples: FloatArray) -> FloatArray:
        return np.asarray(_snr(scratch.law(samples, gamma), np.ones(1)) - level)

    if excess(np.array(largest)) < 0.0:
        return np.inf
    if gamma == 0.0:
        rank = np.count_nonzero(values)
        beyond = optimize.brentq(lambda u: float(excess(np.array(rank * (1.0 + np.exp(u))))), -34.0, np.log(_FAR))
        return float(rank * (1.0 + np.exp(beyond)))

    def samples_at(z: FloatArray) -> FloatArray:
        kappa = gamma + z
        return np.asarray(kappa / z * (values / (values + kappa[:, None])).sum(axis=1))

    start = gamma * (values / (values + gamma)).sum() / largest
    stop = 1e9 * values.sum() / n
    z = np.geomspace(start, stop, int(_PER_DECADE * np.log10(stop / start)) + 2)
    z = np.sort(np.concatenate([z, _dips(lambda x: excess(samples_at(x)), z)]))
    while True:
        below = excess(samples_at(z)) < 0.0
        if not below.any():  # fewer than 10⁻⁹ n samples do
            return 0.0
        i = int(np.argmax(below))
        if i == 0 or z[i] <= z[i - 1] * (1.0 + 1e-14):
            return float(samples_at(z[i : i + 1])[0])
        z = np.geomspace(z[i - 1], z[i], _POINTS)


def _dips(function: Callable[[FloatArray], FloatArray], z: FloatArray) -> FloatArray:
    """Return the local minima of a function that is positive at the points around them: it may not be between."""
    values, u = function(z), np.log(z)
    lowest = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:]) & (values[1:-1] >= 0.0)) + 1
    found = [
        optimize.minimize_scalar(
            lambda x: float(function(np.exp([x]))[0]),
            bounds=(u[j - 1], u[j + 1]),
            method="bounded",
            options={"xatol": 1e-8},
        ).x
        for j in lowest
    ]
    return np.exp(np.array(found))


def _range(equivalent: Equivalent, n: float) -> tuple[float, float]:
    """Return bounds for γ beyond which the law has nothing new."""
    values = equivalent.target.eigenvalues
    positive = values[values > 0.0]
    weights, spread = equivalent._sources
    data = np.sqrt(np.square(equivalent.target.mean).sum() + values.sum() / n)
    lengths = np.sqrt(np.square(weights).sum(axis=0) + spread.sum(axis=0))
    scales = np.concatenate([positive, [values.sum() / n], data / lengths[(lengths > 0.0) & np.isfinite(lengths)]])
    scales = scales[(scales > 0.0) & np.isfinite(scales)]
    low, high = np.min(scales, initial=1.0), np.max(scales, initial=1.0)
    return max(low / _MARGIN, 1e-59), min(high * _MARGIN, 1e59)


def _best_gamma(function: Any, low: float, high: float, at_infinity: float) -> float:
    """Return the γ in [0, ∞] at which a function is largest."""
    inside = float(maximum(lambda x: function(x[0])[None], np.array([low]), np.array([high]))[0])
    at_zero, height = (float(function(np.array([x]))[0]) for x in (0.0, inside))
    if np.isnan(height):
        return np.nan
    best = inside
    if at_zero >= height - _TIE * abs(height):
        best, height = 0.0, max(height, at_zero)
    return np.inf if at_infinity >= height - _TIE * abs(height) else best


def _snr(law: MarginLaw, direction: FloatArray) -> FloatArray:
    """Return mean over standard deviation along (1, α), or any multiple of it."""
    with np.errstate(all="ignore"):
        mean = np.einsum("...k,...k->...", law.mean, direction)
        finite = np.where(np.isinf(law.cov), 0.0, law.cov)  # an infinite V₀₀ has no other entries beside it
        variance = np.einsum("...j,...jk,...k->...", direction, finite, direction)
        return np.asarray(np.where(np.isinf(law.cov[..., 0, 0]), 0.0, mean / np.sqrt(variance)))


def _best_snr(law: MarginLaw) -> FloatArray:
    """Return the SNR at α*, or what stands for it where the law has forgotten its sources."""
    if law.n_sources == 0:
        return _snr(law, np.ones(1))
    snr = _snr(law, law.best_direction())
    return np.asarray(np.where(np.isnan(snr), special.ndtri(np.asarray(law.best_accuracy())), snr))


def _phi(snr: FloatArray) -> float:
    return float(special.ndtr(snr))


def _result(value: FloatArray) -> Result:
    return float(value) if value.ndim == 0 else value
