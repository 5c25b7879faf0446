r"""What to choose in the isotropic model: α and γ together, and whether to transfer at all.

Notation of `rmt_alpha.theory.closed_form`, with ``T = t²m²``, ``f = 1 − t²``, ``P = m²w⊥²``, ``u = 1/(1+κ)``. A
classifier is described by the share ``x = SNR²/m²`` of the best possible signal to noise, and by what is missing,
``d = 1 − x``. Both are ratios of sums of positive terms, so neither loses a digit when the other is close to 1.

**The ceiling** (THEORY §5). The accuracy at α* grows with γ, so the best pair (α, γ) lies at γ = ∞, where only
``c = lim ακ`` counts:

    c* = ηs/(tP),    x = (TP + ηs²)/(TP + ηs² + ηP),    accuracy Φ(m√x).

At a finite γ > 0 the best α reaches

    x = h(ηs² + TP) / {ηs²(1 + fηm²u²) + P[T + η + fηm²u(2 + m²u)]},

and any other, with ``c = ακ`` and ``A = tm² + cs``, ``x = hA²/(D + hA²)`` where

    D = (1−h)[m²(t(1+κ) − cs)² + m²fλ² + A²] + c²λ²P u².

**Ordinary fine-tuning**, α = 1, can have several local optima in γ. In terms of κ its SNR² is a ratio of polynomials of
degree four, with at most five stationary points, that varies on the scales of their coefficients. So the three highest
local maxima of a grid, eight points a decade over all these scales with eight decades on either side, are refined until
γ is known to a relative 1e-7 (the maximum is flat: its height is then known to rounding), and compared with the ends
γ = 0 and γ = ∞. Cost: some 700 laws.

**From scratch**, in terms of κ instead of n: ``η = (1+κ)(κ−γ)/κ``. So x is reached with n samples when

    dTκ(1+κ) ≥ z {T + x[(1+κ)² + fm²(m² + 2(1+κ))]},        z = κ − γ,

a cubic in z. Its smallest positive root belongs to the largest crossing ``n′ = pκ/((1+κ)z)``, from which on the
inequality holds. Newton's iteration converges to it monotonically: from 0 where the cubic is convex left of the root,
from above where it is concave right of it; the sign at the local minimum tells which. Without penalty the largest
crossing has κ = 0, and ``n′ = p[T + x(1 + fm²(m²+2))]/(dT)``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha import _tables
from rmt_alpha._elementwise import elementwise
from rmt_alpha._jit import jit, ufunc
from rmt_alpha._validation import FloatArray, broadcast_shape, check_memory, real_array
from rmt_alpha.laws import MarginLaw, Result
from rmt_alpha.problem import Isotropic
from rmt_alpha.theory.closed_form import (
    OVERFLOW,
    SOURCE,
    UNDERFLOW,
    five_number_law,
    full,
    gain_and_spread,
    geometry,
    is_size,
    isotropic_law,
    isotropic_optimal_alpha,
    resolvent,
    source_off_target,
    source_overlap,
    target_norm2,
)

_PER_DECADE = 8
"""Points of the grid in a decade."""

_MARGIN = 8
"""Decades of the grid beyond the smallest and the largest scale."""

_PEAKS, _POINTS, _ZOOMS = 3, 17, 9
"""Local maxima that are refined; points across the neighbourhood of one; how often that shrinks, by 8."""

_CHUNK = 2**19
"""Laws that are evaluated together, 50 MB."""

_TIE = 1e-14
"""An end of the range of γ wins unless the inside is better by more than rounding, relative in SNR."""


# The share x of the best possible SNR², and what is missing from it, d = 1 − x.


@jit
def _share(reached: float, missing: float) -> tuple[float, float]:
    """(x, d) from their common multiples; nan where digits were lost."""
    whole = reached + missing
    if not UNDERFLOW < whole < np.inf:
        return np.nan, np.nan
    return reached / whole, missing / whole


@jit
def _scratch(m2: float, kappa: float, h: float, eta: float, label_noise: float) -> tuple[float, float]:
    """(x, d) of training from scratch."""
    t2 = (1.0 - 2.0 * label_noise) ** 2
    flips = 4.0 * label_noise * (1.0 - label_noise)
    k1 = 1.0 + kappa
    spread = eta * (1.0 + flips * (m2 / k1) * (m2 / k1 + 2.0))
    return _share(h * t2 * m2, t2 * m2 * (eta / k1 / k1) + spread)


@jit
def _best_share(
    m2: float, s: float, product: float, kappa: float, h: float, eta: float, label_noise: float
) -> tuple[float, float]:
    """(x, d) at α*."""
    t2 = (1.0 - 2.0 * label_noise) ** 2
    flips = 4.0 * label_noise * (1.0 - label_noise)
    if kappa == 0.0 or s == 0.0:  # the source is forgotten, or of no use
        return _scratch(m2, kappa, h, eta, label_noise)
    k1 = 1.0 + kappa
    along, off, rest = eta * s * s, t2 * m2 * product, eta / k1 / k1
    noisy = flips * m2 * rest
    missing = along * (rest + noisy) + off * rest + product * (eta + noisy * (2.0 * k1 + m2))
    return _share(h * (along + off), missing)


@jit
def _share_at(
    alpha: float, m2: float, s: float, product: float, kappa: float, h: float, eta: float, label_noise: float
) -> tuple[float, float]:
    """(x, d) at a given α; x has the sign of the mean margin."""
    if kappa == 0.0 or alpha == 0.0:
        return _scratch(m2, kappa, h, eta, label_noise)
    t = 1.0 - 2.0 * label_noise
    flips = 4.0 * label_noise * (1.0 - label_noise)
    k1 = 1.0 + kappa
    lam, c = m2 + k1, alpha * kappa
    a = 1.0  # (a, c) = (1, ακ), divided by |ακ| where that is large
    if abs(c) > 1.0:
        a, c = 1.0 / abs(c), math.copysign(1.0, c)
    mean = a * t * m2 + c * s
    risk = m2 * (a * t * k1 - c * s) ** 2 + m2 * flips * (a * lam) ** 2 + mean * mean
    x, d = _share(h * mean * mean, eta / k1 / k1 * risk + product * (c * lam / k1) ** 2)
    return math.copysign(x, mean), d


@jit
def _accuracy_of(m2: float, x: float) -> float:
    return 0.5 * math.erfc(-math.sqrt(0.5 * m2 * x))


# The joint optimum, γ → ∞.


@ufunc
def _checked_aspect_ratio(n: float, p: float) -> float:
    """Return η, or nan outside the range in which the theory keeps its digits."""
    return p / n if is_size(n) and is_size(p) else np.nan


@ufunc
def _limit_accuracy(
    beta: float, mu: float, mu_perp: float, gain: float, spread: float, eta: float, label_noise: float
) -> float:
    """Return the accuracy at α* for γ → ∞."""
    m2, size, product = geometry(beta, mu, mu_perp, gain, spread)
    t2, s = (1.0 - 2.0 * label_noise) ** 2, beta * size
    if s == 0.0 and product == 0.0:
        return _accuracy_of(m2, _share(t2 * m2, eta)[0])
    return _accuracy_of(m2, _share(t2 * m2 * product + eta * s * s, eta * product)[0])


@ufunc
def _limit_scale(
    beta: float, mu: float, mu_perp: float, gain: float, spread: float, eta: float, label_noise: float
) -> float:
    """Return c*: infinite where w⊥ = 0, nan where nothing is left to weigh."""
    _, size, product = geometry(beta, mu, mu_perp, gain, spread)
    if not UNDERFLOW < product + (beta * size) ** 2 < np.inf:
        return np.nan
    return beta * (eta * size / ((1.0 - 2.0 * label_noise) * product))


@ufunc
def _limit_alpha(beta: float, mu: float, mu_perp: float, gain: float, spread: float, eta: float) -> float:
    """Return α at γ = ∞: 0, or ±1 where the source points along the target mean (w⊥ = 0) and is used alone."""
    _, size, product = geometry(beta, mu, mu_perp, gain, spread)
    if not UNDERFLOW < product + (beta * size) ** 2 < np.inf or math.isnan(eta):
        return np.nan
    return 0.0 if product > 0.0 else math.copysign(1.0, beta)


@ufunc
def _best_accuracy(
    beta: float,
    mu: float,
    mu_perp: float,
    gain: float,
    spread: float,
    kappa: float,
    h: float,
    eta: float,
    label_noise: float,
) -> float:
    """Return the accuracy at α* for a finite γ."""
    m2, size, product = geometry(beta, mu, mu_perp, gain, spread)
    return _accuracy_of(m2, _best_share(m2, beta * size, product, kappa, h, eta, label_noise)[0])


def _limit_law(s: Any, w_perp2: Any, m2: Any, eta: Any, label_noise: Any) -> MarginLaw:
    """Return the law for γ → ∞ in the variables (1, c)."""
    t = 1.0 - 2.0 * label_noise
    with np.errstate(all="ignore"):
        along = np.where(m2 > 0.0, s / m2 * s, 0.0)
        numbers = np.stack(np.broadcast_arrays(t * m2, s, t * t * m2 + eta, t * s, along + w_perp2), axis=-1)
    return MarginLaw._trusted(numbers[..., :2].copy(), numbers[..., [[2, 3], [3, 4]]])


# The best γ for α = 1.


def maximum(function: Callable[[FloatArray], FloatArray], low: FloatArray, high: FloatArray) -> FloatArray:
    """Find where functions of one positive variable are largest, each between its own bounds.

    Parameters
    ----------
    function : callable
        Takes points of shape (B, k), row b for the b-th function, and returns their values; nan is never largest.
    low, high : ndarray, shape (B,)
        Bounds, positive.

    Returns
    -------
    ndarray, shape (B,)
        The best point of each: the highest after refinement of the three highest local maxima of a logarithmic grid
        of eight points a decade.
    """

    def value(position: FloatArray) -> FloatArray:
        values = function(np.exp(position).reshape(len(low), -1)).reshape(position.shape)
        return np.where(np.isnan(values), -np.inf, values)

    decades = float(np.max(np.log10(high / low), initial=1.0))
    position = np.linspace(np.log(low), np.log(high), math.ceil(_PER_DECADE * decades) + 1, axis=-1)
    values = value(position)
    padded = np.pad(values, ((0, 0), (1, 1)), constant_values=-np.inf)
    peaks = np.where((values >= padded[:, :-2]) & (values >= padded[:, 2:]), values, -np.inf)
    best = np.argsort(peaks, axis=-1)[:, -_PEAKS:]
    for zoom in range(_ZOOMS + 1):
        left = np.take_along_axis(position, np.maximum(best - 1, 0), axis=-1)
        right = np.take_along_axis(position, np.minimum(best + 1, position.shape[-1] - 1), axis=-1)
        if zoom:
            left, right = left[..., 0], right[..., 0]
        position = np.linspace(left, right, _POINTS, axis=-1)
        values = value(position)
        best = np.argmax(values, axis=-1)[..., None]
    heights = np.take_along_axis(values, best, axis=-1)[..., 0]
    places = np.take_along_axis(position, best, axis=-1)[..., 0]
    return np.asarray(np.exp(np.take_along_axis(places, np.argmax(heights, axis=-1)[:, None], axis=-1)[:, 0]))


def _at_one(problem: Isotropic) -> tuple[FloatArray, FloatArray]:
    """Return the best γ for α = 1, and the accuracy there."""
    gain, spread = gain_and_spread(problem)
    parameters = (
        source_overlap(problem.beta, problem.mu, problem.mu_perp, gain),
        source_off_target(problem.beta, problem.mu, problem.mu_perp, gain, spread),
        target_norm2(problem.beta, problem.mu, problem.mu_perp),
        problem.n,
        problem.p,
        problem.label_noise,
    )
    size = math.prod(problem.shape)
    check_memory(f"best penalties of shape {problem.shape}", 200.0 * size)
    flat = [np.broadcast_to(x, problem.shape).reshape(-1, 1) for x in parameters]
    gamma = np.empty(size)
    step = max(_CHUNK // 1000, 1)
    for start in range(0, size, step):
        gamma[start : start + step] = _best_gamma(*(x[start : start + step] for x in flat))
    s, w_perp2, m2, n, p, label_noise = (x[:, 0] for x in flat)
    finite = np.where(np.isfinite(gamma), gamma, 0.0)
    inside = five_number_law(s, w_perp2, m2, n, p, finite, label_noise, gamma.shape).accuracy(1.0)
    outside = _limit_law(s, w_perp2, m2, _checked_aspect_ratio(n, p), label_noise).accuracy(np.inf)
    accuracy = np.where(np.isinf(gamma), outside, np.where(np.isnan(gamma), np.nan, inside))
    return gamma.reshape(problem.shape), accuracy.reshape(problem.shape)


def _best_gamma(
    s: FloatArray, w_perp2: FloatArray, m2: FloatArray, n: FloatArray, p: FloatArray, label_noise: FloatArray
) -> FloatArray:
    """Return the best γ for α = 1 of problems of shape (B, 1)."""
    above, below = np.maximum((p - n) / n, 0.0), np.maximum((n - p) / n, 0.0)  # η − 1 = above − below

    def gamma_at(x: FloatArray) -> FloatArray:
        """γ at which κ is x above its value for γ = 0."""
        kappa = above + x
        return (x + below) * (kappa / (1.0 + kappa))

    def snr(gamma: FloatArray) -> FloatArray:
        mean, variance = five_number_law(
            s, w_perp2, m2, n, p, gamma, label_noise, np.broadcast_shapes(gamma.shape, s.shape)
        ).moments(1.0)
        return np.asarray(mean / np.sqrt(variance))

    with np.errstate(all="ignore"):
        scales = _scales(s, w_perp2, m2, above + below, _checked_aspect_ratio(n, p), label_noise)
        low = np.maximum(np.min(scales, axis=0, initial=1.0) * 10.0**-_MARGIN, 1e-59)
        high = np.minimum(np.max(scales, axis=0, initial=1.0, where=np.isfinite(scales)) * 10.0**_MARGIN, 1e59)
        inside = gamma_at(maximum(lambda x: snr(gamma_at(x)), low[:, 0], high[:, 0])[:, None])
        law = _limit_law(s, w_perp2, m2, _checked_aspect_ratio(n, p), label_noise)
        v00, v11 = law.cov[..., 0, 0], law.cov[..., 1, 1]
        ends = (
            snr(np.zeros_like(s)),
            np.where(v11 > 0.0, law.mean[..., 1] / np.sqrt(v11), law.mean[..., 0] / np.sqrt(v00)),
        )
        height = snr(inside)
        best = np.where(ends[0] >= height - _TIE * np.abs(height), 0.0, inside)
        height = np.fmax(height, ends[0])
        best = np.where(ends[1] >= height - _TIE * np.abs(height), np.inf, best)
    return np.where(np.isnan(height) | np.isnan(ends[1]), np.nan, best)[:, 0]


def _scales(
    s: FloatArray, w_perp2: FloatArray, m2: FloatArray, gap: FloatArray, eta: FloatArray, label_noise: FloatArray
) -> FloatArray:
    """Return the values of κ at which the SNR for α = 1 can change its course; inf stands for none.

    They are ratios of coefficients of ``(1+κ)² V`` in powers of κ, and the zero of the mean.
    """
    t = 1.0 - 2.0 * label_noise
    flips = 4.0 * label_noise * (1.0 - label_noise)
    along, scratch, cross = np.where(m2 > 0.0, s / m2 * s, 0.0), t * t * m2 + eta, 2.0 * t * np.abs(s)
    powers = (
        scratch + eta * flips * m2 * (m2 + 2.0),
        2.0 * scratch + 2.0 * eta * flips * m2 + cross * (1.0 + eta),
        scratch + cross * (2.0 + eta) + (m2 + 1.0) ** 2 * w_perp2 + along * (1.0 + eta * m2),
        cross + 2.0 * (m2 + 1.0) * w_perp2 + 2.0 * along,
        w_perp2 + along,
    )
    ratios = [(powers[i] / powers[j]) ** (1.0 / (j - i)) for j in range(5) for i in range(j)]
    scales = np.stack([gap, t * m2 / np.abs(s), *ratios])
    return np.where((scales > 0.0) & np.isfinite(scales), scales, 1.0)


# The number of samples from which on training from scratch is as good.


@jit
def _smallest_root(a0: float, a1: float, a2: float, a3: float) -> float:
    """Smallest positive root of ``a0 + a1 z + a2 z² + a3 z³``, a0 > 0 > a3."""
    curvature = a2 * a2 - 3.0 * a1 * a3
    if curvature > 0.0:
        root = math.sqrt(curvature)
        turn = -a1 / (a2 + root) if a2 > 0.0 else (root - a2) / (3.0 * a3)  # the local minimum
    else:
        turn = -a2 / (3.0 * a3)  # the inflection
    left = turn > 0.0 and a0 + turn * (a1 + turn * (a2 + turn * a3)) <= 0.0
    z = 0.0
    if not left:
        z = 2.0 * max(max(a2, 0.0) / -a3, math.sqrt(max(a1, 0.0) / -a3), (a0 / -a3) ** (1.0 / 3.0))
    for _ in range(200):
        value = a0 + z * (a1 + z * (a2 + z * a3))
        slope = a1 + z * (2.0 * a2 + 3.0 * z * a3)
        if not slope < 0.0:
            break
        step = value / slope
        if abs(step) <= 1e-16 * z or (left != (step < 0.0) and abs(step) <= 1e-7 * z):  # the rest is rounding
            break
        z -= step
    return z


@jit
def _samples(x: float, d: float, m2: float, gamma: float, p: float, label_noise: float) -> float:
    """Return n′, from which on training from scratch with penalty γ has at least the share x."""
    t2 = (1.0 - 2.0 * label_noise) ** 2
    flips = 4.0 * label_noise * (1.0 - label_noise)
    if math.isnan(x + d):
        return np.nan
    if x <= 0.0:
        return 0.0
    signal, noisy = t2 * m2, flips * m2
    if gamma == 0.0:
        n = p * ((signal + x * (1.0 + noisy * (m2 + 2.0))) / (d * signal))
        return n if d * signal > UNDERFLOW else np.nan
    k1 = 1.0 + gamma
    a0 = d * signal * gamma * k1
    a1 = d * signal * (gamma + k1) - signal - x * (k1 * k1 + noisy * (m2 + 2.0 * k1))
    a2 = d * signal - 2.0 * x * (k1 + noisy)
    if not (a0 > UNDERFLOW and x > UNDERFLOW and abs(a1) < OVERFLOW and abs(a2) < OVERFLOW):
        return np.nan
    z = _smallest_root(a0, a1, a2, -x)
    kappa = gamma + z
    return p * (kappa / (1.0 + kappa) / z)


@ufunc
def _samples_at_best(
    beta: float,
    mu: float,
    mu_perp: float,
    gain: float,
    spread: float,
    p: float,
    gamma: float,
    kappa: float,
    h: float,
    eta: float,
    label_noise: float,
) -> float:
    m2, size, product = geometry(beta, mu, mu_perp, gain, spread)
    x, d = _best_share(m2, beta * size, product, kappa, h, eta, label_noise)
    return _samples(x, d, m2, gamma, p, label_noise)


@ufunc
def _samples_at(
    alpha: float,
    beta: float,
    mu: float,
    mu_perp: float,
    gain: float,
    spread: float,
    p: float,
    gamma: float,
    kappa: float,
    h: float,
    eta: float,
    label_noise: float,
) -> float:
    m2, size, product = geometry(beta, mu, mu_perp, gain, spread)
    x, d = _share_at(alpha, m2, beta * size, product, kappa, h, eta, label_noise)
    return _samples(x, d, m2, gamma, p, label_noise)


def _geometry_of(problem: Isotropic) -> tuple[Any, ...]:
    return problem.beta, problem.mu, problem.mu_perp, *gain_and_spread(problem)


def _limit_accuracy_array(**parameters: Any) -> FloatArray:
    problem = Isotropic(gamma=0.0, **parameters)
    eta = _checked_aspect_ratio(problem.n, problem.p)
    return full(_limit_accuracy(*_geometry_of(problem), eta, problem.label_noise), problem.shape)


def _best_accuracy_array(**parameters: Any) -> FloatArray:
    problem = Isotropic(**parameters)
    ridge = resolvent(problem.n, problem.p, problem.gamma)
    return full(_best_accuracy(*_geometry_of(problem), *ridge, problem.label_noise), problem.shape)


def _effective_sample_gain_array(alpha: ArrayLike | None = None, **parameters: Any) -> FloatArray:
    problem = Isotropic(**parameters)
    p, gamma = problem.p, problem.gamma
    arguments = (*_geometry_of(problem), p, gamma, *resolvent(problem.n, p, gamma), problem.label_noise)
    if alpha is None:
        return full(_samples_at_best(*arguments), problem.shape)
    scale = real_array("alpha", alpha, infinite=True)
    shape = broadcast_shape({"alpha": scale.shape, **problem.shapes})
    return full(_samples_at(scale, *arguments), shape)


# The public functions.


def limit_accuracy(
    beta: Any,
    n: Any,
    p: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
) -> Any:
    """Accuracy at the best α and γ together: the ceiling of the isotropic model.

    Parameters
    ----------
    beta, n, p, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        Supremum of the accuracy over all α and γ, approached at α = α* for γ → ∞. Without a source to speak of (mu = 0,
        oracle), that of ridge from scratch. nan outside the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    See Also
    --------
    optimal_alpha_gamma

    Notes
    -----
    THEORY §5. With isotropic noise a large penalty costs nothing, because the covariance need not be learned; with any
    other covariance the best γ is finite.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> round(limit_accuracy(0.5, n=1000, p=400, n_source=2000, gamma_source=1.0), 4)
    0.8041
    """
    return elementwise(
        _limit_accuracy_array,
        {
            "beta": beta,
            "n": n,
            "p": p,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=SOURCE,
    )


def effective_sample_gain(
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    alpha: Any = None,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
) -> Any:
    """Target samples n′ from which on training from scratch is as good as the transfer with n.

    Parameters
    ----------
    beta, n, p, gamma
        As in `optimal_alpha`; training from scratch has the same γ.
    alpha : float or array_like, optional
        Scale of the source: 1 for ordinary fine-tuning, 0 for no transfer, ±inf for the source alone. Left out, the
        best one, α*.
    mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        The smallest real n′ ≥ 0 such that training from scratch (α = 0) is at least as accurate with every number of
        samples from n′ on. 0 where the transfer is no better than a coin. n itself where no α matters (γ = 0, p < n).
        Otherwise finite: given enough samples, isotropic data need no source. nan outside the range of `optimal_alpha`,
        and where n′ leaves that range.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    See Also
    --------
    optimal_alpha_gamma, accuracy

    Notes
    -----
    *Does the source help, and how many target samples is it worth?* Compare with ``alpha=0``: the source helps where n′
    is larger than there, harms where it is smaller, and is worth the difference. Without a source n′ is n itself if
    more samples are better from there on. Near n = p with a small penalty they are not (double descent): then n′ > n
    without any source, and proves nothing.

    The n′ of a cubic equation in the effective ridge (THEORY §4): see the module.

    Examples
    --------
    Fifty samples and a good source are worth as much as 506 samples alone; with the source kept whole, 427:

    >>> setting = dict(n=50, p=400, gamma=1.0, n_source=2000, gamma_source=1.0)
    >>> [round(effective_sample_gain(0.8, alpha=a, **setting), 1) for a in (None, 1.0, 0.0)]
    [505.6, 426.8, 50.0]

    A source that has little to do with the target is worth one sample if it is scaled, and costs 23 if it is not:

    >>> [round(effective_sample_gain(0.05, alpha=a, **setting), 1) for a in (None, 1.0, 0.0)]
    [50.9, 26.7, 50.0]

    Double descent: with almost no penalty, 530 samples from scratch are needed to stay above what 200 gave. So the
    source is worth 17, not 348:

    >>> setting = dict(n=200, p=400, gamma=0.01, n_source=800, gamma_source=2.0)
    >>> [round(effective_sample_gain(0.3, alpha=a, **setting), 1) for a in (None, 1.0, 0.0)]
    [547.7, 547.5, 530.2]
    """
    return elementwise(
        _effective_sample_gain_array,
        {
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "alpha": alpha,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=(*SOURCE, "alpha"),
    )


_LABELS = {
    "alpha": "α",
    "gamma": "γ",
    "accuracy": "accuracy",
    "gamma_at_one": "best γ at α = 1",
    "accuracy_at_one": "accuracy there",
    "gamma_given": "γ as given",
    "accuracy_given": "accuracy at it and α = 1",
    "alpha_given": "α* at γ as given",
    "accuracy_alpha_given": "accuracy at that α*",
}
"""Headers of the columns of many choices in a notebook."""


@dataclass(frozen=True, eq=False)
class JointChoice:
    """The best α and γ, and how much of the gain each of them brings. Prints as a table.

    Parameters
    ----------
    alpha, gamma : float or ndarray
        The joint optimum. In the isotropic model γ = inf, and α is 0, since only ``c = ακ`` counts there. Where the
        source is best used alone (it points exactly along the target mean, say) α = ±1: any other of that sign gives
        the same classifier. nan where there is no source.
    c : float or ndarray
        c*, at γ = inf the limit of α*κ: the scale of the source beside ``lim γ·(classifier from scratch)``. ±inf where
        the source is best used alone.
    accuracy : float or ndarray
        Accuracy at the joint optimum: the most that any α and γ can reach.
    gamma_at_one, accuracy_at_one : float or ndarray
        The best penalty for ordinary fine-tuning, α = 1 (0 and inf included), and the accuracy there.
    gamma_given, accuracy_given : float or ndarray, optional
        A given penalty, and the accuracy of ordinary fine-tuning there.
    alpha_given, accuracy_alpha_given : float or ndarray, optional
        α* at the given penalty (nan where it is undefined), and the accuracy there.

    Examples
    --------
    >>> print(optimal_alpha_gamma(0.5, n=1000, p=400, gamma=0.1, n_source=2000, gamma_source=1.0))
                       γ         α  accuracy     gain
    as given         0.1         1    0.7623  +0.0000
    best α           0.1     2.062    0.7630  +0.0007
    best γ        0.8208         1    0.7866  +0.0243
    both             inf  0.6168/κ    0.8041  +0.0418
    """

    alpha: Result
    gamma: Result
    c: Result
    accuracy: Result
    gamma_at_one: Result
    accuracy_at_one: Result
    gamma_given: Result | None = None
    accuracy_given: Result | None = None
    alpha_given: Result | None = None
    accuracy_alpha_given: Result | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Broadcast shape of the problems; () for a single one."""
        return np.shape(self.accuracy)

    @property
    def gain_gamma(self) -> Result | None:
        """What γ alone brings: ``accuracy_at_one − accuracy_given``. None without a given γ."""
        return _difference(self.accuracy_at_one, self.accuracy_given)

    @property
    def gain_alpha(self) -> Result | None:
        """What α alone brings, at the given γ: ``accuracy_alpha_given − accuracy_given``. None without a given γ."""
        return _difference(self.accuracy_alpha_given, self.accuracy_given)

    @property
    def gain_both(self) -> Result | None:
        """What α and γ bring together: ``accuracy − accuracy_given``. None without a given γ."""
        return _difference(self.accuracy, self.accuracy_given)

    @property
    def gain_alpha_once_tuned(self) -> Result:
        """What α adds to ordinary fine-tuning with its best γ: ``accuracy − accuracy_at_one``."""
        return self.accuracy - self.accuracy_at_one

    def __getitem__(self, index: Any) -> "JointChoice":
        """Select problems, as NumPy would select entries of an array of this shape."""
        if not self.shape:
            raise IndexError("the choice for a single problem cannot be indexed")
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen: dict[str, Any] = {name: None if x is None else _scalar(x[index]) for name, x in values.items()}
        return JointChoice(**chosen)

    def __repr__(self) -> str:
        if self.shape:
            return f"JointChoice(shape={self.shape})"
        shown = {f.name: _show(getattr(self, f.name), ".6g") for f in fields(self)}
        return f"JointChoice({', '.join(f'{name}={text}' for name, text in shown.items() if text)})"

    def _repr_html_(self) -> str:
        if self.shape:

            def cells(index: _tables.Index) -> _tables.Cells:
                some = self[index]
                known = {label: getattr(some, name) for name, label in _LABELS.items()}
                alpha = [_show_alpha(*pair) for pair in zip(np.asarray(some.alpha), np.asarray(some.c), strict=True)]
                return {label: x for label, x in known.items() if x is not None} | {_LABELS["alpha"]: alpha}

            return _tables.show("JointChoice", self.shape, "the best α and γ", cells)
        return _tables.table("JointChoice: the best α and γ", ("choice", "γ", "α", "accuracy", "gain"), self._rows())

    def __str__(self) -> str:
        if self.shape:
            return f"{self!r}: index it for the table of a problem"
        rows = self._rows()
        width = max(len(alpha) for _, _, alpha, _, _ in rows) + 2
        lines = [f"{'':10}{'γ':>10}{'α':>{width}}{'accuracy':>10}{'gain':>9}"]
        lines += [
            f"{name:10}{gamma:>10}{alpha:>{width}}{accuracy:>10}{gain:>9}"
            for name, gamma, alpha, accuracy, gain in rows
        ]
        return "\n".join(lines)

    def _rows(self) -> list[tuple[str, str, str, str, str]]:
        """Write the choices for a single problem: name, γ, α, accuracy, gain."""
        choices: list[tuple[str, Any, str, Any]] = [
            ("as given", self.gamma_given, "1", self.accuracy_given),
            ("best α", self.gamma_given, _show(self.alpha_given), self.accuracy_alpha_given),
            ("best γ", self.gamma_at_one, "1", self.accuracy_at_one),
            ("both", self.gamma, _show_alpha(self.alpha, self.c), self.accuracy),
        ]
        base: Any = self.accuracy_at_one if self.accuracy_given is None else self.accuracy_given
        return [
            (name, f"{gamma:.4g}", alpha, f"{accuracy:.4f}", f"{accuracy - base:+.4f}")
            for name, gamma, alpha, accuracy in choices
            if accuracy is not None
        ]


def _show(value: Any, digits: str = ".4g") -> str:
    """Write a number, or the numbers of several sources."""
    if np.ndim(value):
        return f"({', '.join(f'{x:{digits}}' for x in value)})"
    return "" if value is None else f"{value:{digits}}"


def _show_alpha(alpha: Any, c: Any) -> str:
    """Write the best α, which is c/κ where only that has a limit."""
    return _show(alpha) if np.any(alpha) else f"{_show(c)}/κ"


def _difference(left: Result | None, right: Result | None) -> Result | None:
    return None if left is None or right is None else left - right


def _scalar(value: Any) -> Result:
    return float(value) if np.ndim(value) == 0 else np.asarray(value)


def optimal_alpha_gamma(
    beta: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    *,
    gamma: ArrayLike | None = None,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
    n_source: ArrayLike | None = None,
    gamma_source: ArrayLike | None = None,
    label_noise: ArrayLike = 0.0,
    label_noise_source: ArrayLike = 0.0,
) -> JointChoice:
    """Find the best α and γ together, and what each of them alone would bring.

    Parameters
    ----------
    beta, n, p
        As in `optimal_alpha`.
    gamma : float or array_like, optional
        A penalty from which gains are counted.
    mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    JointChoice
        Of the broadcast shape; floats for scalars. nan outside the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range, a labelled or lazy array, or the shapes do not broadcast.

    See Also
    --------
    limit_accuracy

    Notes
    -----
    THEORY §5. Much of what α brings at a given γ is a badly tuned γ, and the reverse; `JointChoice` tells them apart.

    The best γ for α = 1 is found numerically, among all local optima: accuracy to 1e-13, γ to a relative 1e-6 unless
    the optimum is flat. Where an end is as good, up to rounding, the end is returned: γ = inf if that is best (the
    source alone), else 0.

    Examples
    --------
    >>> choice = optimal_alpha_gamma(0.5, n=1000, p=400, gamma=0.1, n_source=2000, gamma_source=1.0)
    >>> round(choice.accuracy_given, 4), round(choice.accuracy_at_one, 4), round(choice.accuracy, 4)
    (0.7623, 0.7866, 0.8041)
    >>> round(choice.c, 4), round(choice.gain_alpha_once_tuned, 4)
    (0.6168, 0.0175)
    """
    parameters: dict[str, Any] = {
        "beta": beta,
        "n": n,
        "p": p,
        "mu": mu,
        "mu_perp": mu_perp,
        "n_source": n_source,
        "gamma_source": gamma_source,
        "label_noise": label_noise,
        "label_noise_source": label_noise_source,
    }
    problem = Isotropic(gamma=0.0 if gamma is None else gamma, **parameters)
    shape = problem.shape
    limit = (*_geometry_of(problem), _checked_aspect_ratio(problem.n, problem.p), problem.label_noise)
    accuracy = full(_limit_accuracy(*limit), shape)
    gamma_at_one, accuracy_at_one = _at_one(problem)
    values: dict[str, Any] = {
        "alpha": full(_limit_alpha(*limit[:-1]), shape),
        "gamma": np.where(np.isnan(accuracy), np.nan, np.inf),
        "c": full(_limit_scale(*limit), shape),
        "accuracy": accuracy,
        "gamma_at_one": gamma_at_one,
        "accuracy_at_one": accuracy_at_one,
    }
    if gamma is not None:
        values |= {
            "gamma_given": full(problem.gamma, shape),
            "accuracy_given": isotropic_law(problem).accuracy(1.0),
            "alpha_given": isotropic_optimal_alpha(Isotropic(gamma=gamma, **parameters)),
            "accuracy_alpha_given": _best_accuracy_array(gamma=gamma, **parameters),
        }
    return JointChoice(**{name: _scalar(value) for name, value in values.items()})
