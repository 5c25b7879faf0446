r"""The isotropic closed form: five numbers from the aspect ratio, the penalty and the source's two numbers.

Statement (THEORY §4). Let η = p/n, let κ be the positive root of ``κ² − (η − 1 + γ)κ − γ = 0`` (the effective
ridge), ``ρ = γ/κ = 1 − η/(1+κ)``, ``h = 1 − η/(1+κ)²``, ``m² = ‖μ_β‖²``, ``λ = m² + 1 + κ``, ``t = 1 − 2ε``. A source w̃
enters through ``s = ⟨w̃, μ_β⟩`` and w⊥², the squared length of its part orthogonal to μ_β; ``w∥² = s²/m²``. Then, as
n, p → ∞,

    M₀ = t m²/λ                                M₁ = κ s/λ
    V₀₀·hλ² = t²m² + η [1 + (1−t²) m² (m² + 2(1+κ))/(1+κ)²]
    V₀₁·hλ² = t γ s
    V₁₁·hλ² = κ² [λ² w⊥²/(1+κ)² + w∥² (1 + η m²/(1+κ)²)]
    α* = η s [1 + κ + (1−t²)m²] / (t κ [λ m² w⊥² + η s²])

A source is ``w̃ = g μ + noise``. The oracle has gain g = 1 and no noise; the ridge classifier of N samples (with its own
κ̃, h̃, η̃ = p/N, t_s, λ̃ = mu² + 1 + κ̃) has gain ``g = t_s/λ̃`` and isotropic noise of squared length

    r² = η̃ [1 + (1−t_s²) mu² (mu² + 2(1+κ̃))/(1+κ̃)² + t_s² mu²/(1+κ̃)²] / (h̃ λ̃²)

so that ``s = g β mu²`` and ``m² w⊥² = g² (1−β²) mu² mu_perp² + r² m²``.

Numerics. Every expression is a sum of positive terms (``1−β² = (1−β)(1+β)``, ``1−t² = 4ε(1−ε)``, κ, ρ and h in their
forms without cancellation), accurate to 1e-12 over the whole domain. The work is done in stages, each at its own
broadcast shape: κ and h on (n, p, γ), the source on (mu, p, N, γ̃, ε_s), and one fused loop over everything.

By rule: γ = 0 with p < n forgets the source (M₁ = V₀₁ = V₁₁ = 0, α* and the worst α are nan); γ = 0 with p = n has
V₀₀ = inf and accuracy ½; γ = 0 with p > n is the minimum-norm interpolator, all finite. A source that was itself
trained without penalty on N = p samples is infinitely long: nan. So that no digit is ever lost to over- or underflow,
nan is also the result for lengths outside 1e±30 and for n, p, N, γ, γ̃ outside 1e±60 (other than 0).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._jit import jit, ufunc
from rmt_alpha._validation import FloatArray, broadcast_shape, check_memory, real_array
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Isotropic

# Nothing is lost with lengths within 1e±30, their squares, sample sizes and penalties within 1e±60 (or 0). Outside, the
# results are nan by rule.

UNDERFLOW = 1e-290
"""Variances and products below this have lost digits."""

OVERFLOW = 1e130
"""λ above this loses digits in what is made of it."""


SOURCE = ("n_source", "gamma_source")
"""The parameters that only a trained source has."""


@jit
def is_length(value: float) -> bool:
    """Tell whether a length is in range.

    Parameters
    ----------
    value : float
        The length.

    Returns
    -------
    bool
        Whether it is 0 or within 1e±30.
    """
    return value == 0.0 or 1e-30 <= value <= 1e30


@jit
def is_size(value: float) -> bool:
    """Tell whether a squared length, a sample size or a penalty is in range.

    Parameters
    ----------
    value : float
        One of these.

    Returns
    -------
    bool
        Whether it is 0 or within 1e±60.
    """
    return value == 0.0 or 1e-60 <= value <= 1e60


# Stage 1: the resolvent, on (n, p, γ).


@jit
def _root(n: float, p: float, gamma: float) -> float:
    if not (is_size(n) and is_size(p) and is_size(gamma)):
        return np.nan
    b = (p - n) / n + gamma  # not η + γ − 1, which cancels near η = 1
    root = math.hypot(b, 2.0 * math.sqrt(gamma))
    return 0.5 * root + 0.5 * b if b >= 0.0 else 2.0 * gamma / (root - b)


@jit
def _ratio(n: float, p: float, gamma: float) -> float:
    b = (p - n) / n + gamma
    root = math.hypot(b, 2.0 * math.sqrt(gamma))
    if b < 0.0:
        return 0.5 * (root - b)
    return 2.0 * gamma / (root + b) if gamma > 0.0 else 0.0


@ufunc
def aspect_ratio(n: float, p: float) -> float:
    """Return η."""
    return p / n


@ufunc
def effective_ridge(n: float, p: float, gamma: float) -> float:
    """Return the effective ridge κ."""
    return _root(n, p, gamma)


@ufunc
def penalty_ratio(n: float, p: float, gamma: float) -> float:
    """Return ρ = γ/κ, which is 1 − η at γ = 0, p < n and 0 at γ = 0, p ≥ n."""
    return _ratio(n, p, gamma)


@ufunc
def residual_fraction(n: float, p: float, gamma: float) -> float:
    """Return h = ρ + κη/(1+κ)², which is 0 at γ = 0, p = n."""
    kappa = _root(n, p, gamma)
    return _ratio(n, p, gamma) + kappa / (1.0 + kappa) * (p / n / (1.0 + kappa))


# Stage 2: a ridge-trained source, w̃ = g μ + isotropic noise of squared length r².


@ufunc
def source_gain(mu: float, kappa: float, label_noise: float) -> float:
    """Return the gain g."""
    lam = mu * mu + 1.0 + kappa
    return (1.0 - 2.0 * label_noise) / lam if lam < 1e60 else np.nan


@ufunc
def source_spread(mu: float, kappa: float, h: float, eta: float, label_noise: float) -> float:
    """Return the noise r², infinite at h̃ = 0."""
    t2 = (1.0 - 2.0 * label_noise) ** 2
    flips = 4.0 * label_noise * (1.0 - label_noise)
    mu2, k1 = mu * mu, 1.0 + kappa
    signal = t2 * (mu2 / k1) / k1 + flips * (mu2 / k1) * (mu2 / k1 + 2.0)
    return eta * (1.0 + signal) / h / (mu2 + k1) ** 2


# Stage 3: the geometry of source and target.


@jit
def geometry(beta: float, mu: float, mu_perp: float, gain: float, spread: float) -> tuple[float, float, float]:
    """Return what the target sees of a source.

    Parameters
    ----------
    beta, mu, mu_perp : float
        Alignment and norms.
    gain, spread : float
        g and r² of the source.

    Returns
    -------
    m2, size, product : float
        m², s/β and m²w⊥²; nan where a length is out of range.
    """
    if not (is_length(mu) and is_length(mu_perp)):
        return np.nan, np.nan, np.nan
    off = (1.0 - beta) * (1.0 + beta) * (mu_perp * mu_perp)
    m2 = (beta * mu) * (beta * mu) + off  # β² alone could underflow
    if m2 < UNDERFLOW and beta != 0.0 and mu != 0.0:  # the target's mean is the source's, but too short to see
        m2 = np.nan
    return m2, gain * (mu * mu), gain * gain * (mu * mu) * off + spread * m2


@ufunc
def target_norm2(beta: float, mu: float, mu_perp: float) -> float:
    """Return m²."""
    return geometry(beta, mu, mu_perp, 0.0, 0.0)[0]


@ufunc
def source_overlap(beta: float, mu: float, mu_perp: float, gain: float) -> float:
    """Return s."""
    return beta * geometry(beta, mu, mu_perp, gain, 0.0)[1]


@ufunc
def source_off_target(beta: float, mu: float, mu_perp: float, gain: float, spread: float) -> float:
    """w⊥²; the whole of ‖w̃‖² where the target has no mean."""
    m2, _, product = geometry(beta, mu, mu_perp, gain, 0.0)
    if m2 == 0.0:  # without a target mean, all of w̃ is off it
        return gain * gain * (mu * mu) + spread
    return product / m2 + spread


# Stage 4: the results.


@ufunc
def five_numbers(
    which: float,
    m2: float,
    s: float,
    off_target: float,
    gamma: float,
    kappa: float,
    h: float,
    eta: float,
    label_noise: float,
) -> float:
    """Return M₀, M₁, V₀₀, V₀₁ or V₁₁, for `which` from 0 to 4."""
    t = 1.0 - 2.0 * label_noise
    flips = 4.0 * label_noise * (1.0 - label_noise)
    k1 = 1.0 + kappa
    lam = m2 + k1
    scale = h * lam * lam
    along_target = s / m2 * s if m2 > 0.0 else 0.0
    m0, m1 = t * m2 / lam, kappa * s / lam
    v00, v01, v11 = np.inf, 0.0, 0.0
    lost = not (math.isfinite(m0 + m1) and lam < OVERFLOW)
    if h != 0.0:
        v00 = (t * t * m2 + eta * (1.0 + flips * (m2 / k1) * (m2 / k1 + 2.0))) / scale
        v01 = t * gamma * s / scale
        off = (lam / k1) ** 2 * off_target
        v11 = kappa * kappa * (off + along_target * (1.0 + eta * m2 / (k1 * k1))) / scale
        lost |= v11 < UNDERFLOW and kappa * (off_target + along_target) != 0.0
        lost |= v00 < UNDERFLOW or scale < UNDERFLOW or not math.isfinite(v00 + v01 + v11 + scale)
    if lost:
        return np.nan
    if which < 2.0:
        return m0 if which == 0.0 else m1
    if which == 2.0:
        return v00
    return v01 if which == 3.0 else v11


@jit
def best_alpha(
    m2: float, sign: float, size: float, product: float, kappa: float, eta: float, label_noise: float
) -> float:
    """Return α* in the form without cancellation.

    Parameters
    ----------
    m2 : float
        Squared norm m² of the target mean.
    sign, size : float
        Factors of the overlap ``s = sign · size``.
    product : float
        m²w⊥².
    kappa, eta : float
        Effective ridge and aspect ratio.
    label_noise : float
        Probability ε that a target label is flipped.

    Returns
    -------
    float
        α*; nan where nothing is left to weigh, or where a term under- or overflows.
    """
    t = 1.0 - 2.0 * label_noise
    flips = 4.0 * label_noise * (1.0 - label_noise)
    k1 = 1.0 + kappa
    lam = m2 + k1
    s2 = (sign * size) ** 2
    denominator = t * kappa * (lam * product + eta * s2)
    if lam < OVERFLOW and product + s2 > UNDERFLOW and UNDERFLOW < denominator < np.inf:
        return sign * (size * eta * (k1 + flips * m2) / denominator)
    return np.nan


@ufunc
def optimal_alpha(
    beta: float,
    mu: float,
    mu_perp: float,
    gain: float,
    spread: float,
    kappa: float,
    eta: float,
    label_noise: float,
) -> float:
    """Return α* of the oracle or a trained source."""
    m2, size, product = geometry(beta, mu, mu_perp, gain, spread)
    return best_alpha(m2, beta, size, product, kappa, eta, label_noise)


@ufunc
def optimal_alpha_fixed(s: float, w_perp2: float, m2: float, kappa: float, eta: float, label_noise: float) -> float:
    """Return α* of any source."""
    return best_alpha(m2, s, 1.0, m2 * w_perp2, kappa, eta, label_noise)


@ufunc
def squared_length(value: float) -> float:
    """Return the value, or nan outside the range in which the theory keeps its digits."""
    return value if is_size(abs(value)) else np.nan


# The stages, put together on arrays.


def resolvent(n: Any, p: Any, gamma: Any) -> tuple[Any, Any, Any]:
    """Solve for what the limit knows of (n, p, γ).

    Parameters
    ----------
    n, p, gamma : float or ndarray
        Number of samples, dimension, ridge penalty.

    Returns
    -------
    kappa, h, eta : float or ndarray
        The effective ridge κ, the residual fraction h, the aspect ratio η.
    """
    return effective_ridge(n, p, gamma), residual_fraction(n, p, gamma), aspect_ratio(n, p)


def gain_and_spread(problem: Isotropic) -> tuple[Any, Any]:
    """Return what is random and what is not in the problem's source.

    Parameters
    ----------
    problem : Isotropic
        The problem.

    Returns
    -------
    gain, spread : float or ndarray
        g and r²: the source is g μ plus isotropic noise of squared length r².
    """
    if problem.n_source is None:
        return 1.0, 0.0
    n, gamma, noise = problem.n_source, problem.gamma_source, problem.label_noise_source
    kappa, h, eta = resolvent(n, problem.p, gamma)
    return source_gain(problem.mu, kappa, noise), source_spread(problem.mu, kappa, h, eta, noise)


def five_number_law(
    s: Any, w_perp2: Any, m2: Any, n: Any, p: Any, gamma: Any, label_noise: Any, shape: tuple[int, ...]
) -> MarginLaw:
    """Return the law of an arbitrary source.

    Parameters
    ----------
    s, w_perp2, m2, n, p, gamma, label_noise : float or ndarray
        As in `rmt_alpha.theory.isotropic.fixed_source_law`, checked.
    shape : tuple of int
        To which they broadcast.

    Returns
    -------
    MarginLaw
        Batched over `shape`.
    """
    check_memory(f"laws of shape {shape}", 96.0 * math.prod(shape))
    kappa, h, eta = resolvent(n, p, gamma)
    problem = [np.expand_dims(x, -1) for x in (m2, s, w_perp2, gamma, kappa, h, eta, label_noise)]
    numbers = np.broadcast_to(five_numbers(np.arange(5.0), *problem), (*shape, 5))
    return MarginLaw._trusted(numbers[..., :2].copy(), numbers[..., [[2, 3], [3, 4]]])


def isotropic_law(problem: Isotropic) -> MarginLaw:
    """Return the law of an isotropic problem, or of an array of them.

    Parameters
    ----------
    problem : Isotropic
        The problem.

    Returns
    -------
    MarginLaw
        Batched over its shape.
    """
    beta, mu, mu_perp = problem.beta, problem.mu, problem.mu_perp
    gain, spread = gain_and_spread(problem)
    return five_number_law(
        source_overlap(beta, mu, mu_perp, gain),
        source_off_target(beta, mu, mu_perp, gain, spread),
        target_norm2(beta, mu, mu_perp),
        problem.n,
        problem.p,
        problem.gamma,
        problem.label_noise,
        problem.shape,
    )


def full(values: Any, shape: tuple[int, ...]) -> FloatArray:
    """Return values at the broadcast shape, on which not all of them depend.

    Parameters
    ----------
    values : float or ndarray
        What was computed at the shape on which it depends.
    shape : tuple of int
        To which that broadcasts.

    Returns
    -------
    ndarray
        Of that shape, writable.
    """
    return np.asarray(values) if np.shape(values) == shape else np.broadcast_to(values, shape).copy()


def isotropic_optimal_alpha(problem: Isotropic) -> FloatArray:
    """Return α* of an isotropic problem, in the form without cancellation.

    Parameters
    ----------
    problem : Isotropic
        The problem.

    Returns
    -------
    ndarray
        Of its shape.
    """
    gain, spread = gain_and_spread(problem)
    kappa, eta = effective_ridge(problem.n, problem.p, problem.gamma), aspect_ratio(problem.n, problem.p)
    alpha = optimal_alpha(problem.beta, problem.mu, problem.mu_perp, gain, spread, kappa, eta, problem.label_noise)
    return full(alpha, problem.shape)


def problem_at(alpha: ArrayLike, parameters: dict[str, Any]) -> Isotropic:
    """Check a problem, and that α broadcasts against every parameter of it.

    Parameters
    ----------
    alpha : array_like
        Scale of the source.
    parameters : dict
        Those of `Isotropic`.

    Returns
    -------
    Isotropic
        The problem, of its own shape without that of α.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.
    """
    problem = Isotropic(**parameters)
    broadcast_shape({"alpha": real_array("alpha", alpha, infinite=True).shape, **problem.shapes})
    return problem


def checked_fixed_source(
    s: ArrayLike,
    w_perp2: ArrayLike,
    m2: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    label_noise: ArrayLike,
) -> tuple[dict[str, FloatArray], tuple[int, ...]]:
    """Check the parameters of an arbitrary source.

    Parameters
    ----------
    s, w_perp2, m2, n, p, gamma, label_noise
        As in `rmt_alpha.theory.isotropic.fixed_source_law`.

    Returns
    -------
    parameters : dict of ndarray
        By name; nan where a squared length is out of range.
    shape : tuple of int
        To which they broadcast.

    Raises
    ------
    ValueError
        If one is outside its range, the shapes do not broadcast, or s ≠ 0 where m² = 0.
    """
    checked = {
        "s": real_array("s", s),
        "w_perp2": real_array("w_perp2", w_perp2, 0.0),
        "m2": real_array("m2", m2, 0.0),
        "n": real_array("n", n, 0.0, open_low=True),
        "p": real_array("p", p, 0.0, open_low=True),
        "gamma": real_array("gamma", gamma, 0.0),
        "label_noise": real_array("label_noise", label_noise, 0.0, 0.5, open_high=True),
    }
    shape = broadcast_shape({name: array.shape for name, array in checked.items()})
    if np.any((checked["m2"] == 0.0) & (checked["s"] != 0.0)):
        raise ValueError("s must be 0 where m2 is 0: it is the overlap with a mean of squared norm m2")
    for name in ("s", "w_perp2", "m2"):
        checked[name] = np.asarray(squared_length(checked[name]))
    return checked, shape
