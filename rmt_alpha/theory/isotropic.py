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

from rmt_alpha._elementwise import elementwise
from rmt_alpha._jit import Ufunc, jit, ufunc
from rmt_alpha._validation import FloatArray, broadcast_shape, check_memory, integer, real_array
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Isotropic

_UNDERFLOW, _OVERFLOW = 1e-290, 1e130
"""Where nothing is lost: lengths within 1e±30, their squares, sample sizes and penalties within 1e±60 (or 0); variances
and products above the first, λ below the second. Outside, the results are nan by rule."""


_SOURCE = ("n_source", "gamma_source")
"""The parameters that only a trained source has."""


@jit
def _length(value: float) -> bool:
    """Tell whether a length is in range: 0 or within 1e±30."""
    return value == 0.0 or 1e-30 <= value <= 1e30


@jit
def _size(value: float) -> bool:
    """Tell whether a squared length, a sample size or a penalty is in range: 0 or within 1e±60."""
    return value == 0.0 or 1e-60 <= value <= 1e60


# Stage 1: the resolvent, on (n, p, γ).


@jit
def _root(n: float, p: float, gamma: float) -> float:
    if not (_size(n) and _size(p) and _size(gamma)):
        return np.nan
    b = (p - n) / n + gamma  # not η + γ − 1, which cancels near η = 1
    root = math.hypot(b, 2.0 * math.sqrt(gamma))
    return 0.5 * root + 0.5 * b if b >= 0.0 else 2.0 * gamma / (root - b)


@ufunc
def _aspect_ratio(n: float, p: float) -> float:
    """Return η."""
    return p / n


@ufunc
def _effective_ridge(n: float, p: float, gamma: float) -> float:
    """Return the effective ridge κ."""
    return _root(n, p, gamma)


@ufunc
def _residual_fraction(n: float, p: float, gamma: float) -> float:
    """Return h = ρ + κη/(1+κ)², which is 0 at γ = 0, p = n."""
    b = (p - n) / n + gamma
    kappa = _root(n, p, gamma)
    root = math.hypot(b, 2.0 * math.sqrt(gamma))
    if b < 0.0:
        rho = 0.5 * (root - b)
    elif gamma == 0.0:
        rho = 0.0
    else:
        rho = 2.0 * gamma / (root + b)
    return rho + kappa / (1.0 + kappa) * (p / n / (1.0 + kappa))


# Stage 2: a ridge-trained source, w̃ = g μ + isotropic noise of squared length r².


@ufunc
def _source_gain(mu: float, kappa: float, label_noise: float) -> float:
    """Return the gain g."""
    lam = mu * mu + 1.0 + kappa
    return (1.0 - 2.0 * label_noise) / lam if lam < 1e60 else np.nan


@ufunc
def _source_spread(mu: float, kappa: float, h: float, eta: float, label_noise: float) -> float:
    """Return the noise r², infinite at h̃ = 0."""
    t2 = (1.0 - 2.0 * label_noise) ** 2
    flips = 4.0 * label_noise * (1.0 - label_noise)
    mu2, k1 = mu * mu, 1.0 + kappa
    signal = t2 * (mu2 / k1) / k1 + flips * (mu2 / k1) * (mu2 / k1 + 2.0)
    return eta * (1.0 + signal) / h / (mu2 + k1) ** 2


# Stage 3: the geometry of source and target.


@jit
def _geometry(beta: float, mu: float, mu_perp: float, gain: float, spread: float) -> tuple[float, float, float]:
    """(m², s/β, m²w⊥²)."""
    if not (_length(mu) and _length(mu_perp)):
        return np.nan, np.nan, np.nan
    off = (1.0 - beta) * (1.0 + beta) * (mu_perp * mu_perp)
    m2 = (beta * mu) * (beta * mu) + off  # β² alone could underflow
    if m2 < _UNDERFLOW and beta != 0.0 and mu != 0.0:  # the target's mean is the source's, but too short to see
        m2 = np.nan
    return m2, gain * (mu * mu), gain * gain * (mu * mu) * off + spread * m2


@ufunc
def _target_norm2(beta: float, mu: float, mu_perp: float) -> float:
    return _geometry(beta, mu, mu_perp, 0.0, 0.0)[0]


@ufunc
def _source_overlap(beta: float, mu: float, mu_perp: float, gain: float) -> float:
    return beta * _geometry(beta, mu, mu_perp, gain, 0.0)[1]


@ufunc
def _source_off_target(beta: float, mu: float, mu_perp: float, gain: float, spread: float) -> float:
    """w⊥²; the whole of ‖w̃‖² where the target has no mean."""
    m2, _, product = _geometry(beta, mu, mu_perp, gain, 0.0)
    if m2 == 0.0:  # without a target mean, all of w̃ is off it
        return gain * gain * (mu * mu) + spread
    return product / m2 + spread


# Stage 4: the results.


@ufunc
def _five_numbers(
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
    lost = not (math.isfinite(m0 + m1) and lam < _OVERFLOW)
    if h != 0.0:
        v00 = (t * t * m2 + eta * (1.0 + flips * (m2 / k1) * (m2 / k1 + 2.0))) / scale
        v01 = t * gamma * s / scale
        off = (lam / k1) ** 2 * off_target
        v11 = kappa * kappa * (off + along_target * (1.0 + eta * m2 / (k1 * k1))) / scale
        lost |= v11 < _UNDERFLOW and kappa * (off_target + along_target) != 0.0
        lost |= v00 < _UNDERFLOW or scale < _UNDERFLOW or not math.isfinite(v00 + v01 + v11 + scale)
    if lost:
        return np.nan
    if which < 2.0:
        return m0 if which == 0.0 else m1
    if which == 2.0:
        return v00
    return v01 if which == 3.0 else v11


@jit
def _best(m2: float, sign: float, size: float, product: float, kappa: float, eta: float, label_noise: float) -> float:
    """α* from m², s = sign·size and m²w⊥²; nan where nothing is left to weigh, or where a term under- or overflows."""
    t = 1.0 - 2.0 * label_noise
    flips = 4.0 * label_noise * (1.0 - label_noise)
    k1 = 1.0 + kappa
    lam = m2 + k1
    s2 = (sign * size) ** 2
    denominator = t * kappa * (lam * product + eta * s2)
    if lam < _OVERFLOW and product + s2 > _UNDERFLOW and _UNDERFLOW < denominator < np.inf:
        return sign * (size * eta * (k1 + flips * m2) / denominator)
    return np.nan


@ufunc
def _optimal_alpha(
    beta: float,
    mu: float,
    mu_perp: float,
    gain: float,
    spread: float,
    kappa: float,
    eta: float,
    label_noise: float,
) -> float:
    m2, size, product = _geometry(beta, mu, mu_perp, gain, spread)
    return _best(m2, beta, size, product, kappa, eta, label_noise)


@ufunc
def _optimal_alpha_fixed(s: float, w_perp2: float, m2: float, kappa: float, eta: float, label_noise: float) -> float:
    return _best(m2, s, 1.0, m2 * w_perp2, kappa, eta, label_noise)


@ufunc
def _squared_length(value: float) -> float:
    """Return the value, or nan outside the range in which the theory keeps its digits."""
    return value if _size(abs(value)) else np.nan


# The stages, put together on arrays.


def _resolvent(n: Any, p: Any, gamma: Any) -> tuple[Any, Any, Any]:
    """Return (κ, h, η)."""
    return _effective_ridge(n, p, gamma), _residual_fraction(n, p, gamma), _aspect_ratio(n, p)


def _source(problem: Isotropic) -> tuple[Any, Any]:
    """Return (g, r²) of the problem's source."""
    if problem.n_source is None:
        return 1.0, 0.0
    n, gamma, noise = problem.n_source, problem.gamma_source, problem.label_noise_source
    kappa, h, eta = _resolvent(n, problem.p, gamma)
    return _source_gain(problem.mu, kappa, noise), _source_spread(problem.mu, kappa, h, eta, noise)


def _law(
    s: Any, w_perp2: Any, m2: Any, n: Any, p: Any, gamma: Any, label_noise: Any, shape: tuple[int, ...]
) -> MarginLaw:
    check_memory(f"laws of shape {shape}", 96.0 * math.prod(shape))
    kappa, h, eta = _resolvent(n, p, gamma)
    problem = [np.expand_dims(x, -1) for x in (m2, s, w_perp2, gamma, kappa, h, eta, label_noise)]
    numbers = np.broadcast_to(_five_numbers(np.arange(5.0), *problem), (*shape, 5))
    return MarginLaw._trusted(numbers[..., :2].copy(), numbers[..., [[2, 3], [3, 4]]])


def _isotropic_law(problem: Isotropic) -> MarginLaw:
    beta, mu, mu_perp = problem.beta, problem.mu, problem.mu_perp
    gain, spread = _source(problem)
    return _law(
        _source_overlap(beta, mu, mu_perp, gain),
        _source_off_target(beta, mu, mu_perp, gain, spread),
        _target_norm2(beta, mu, mu_perp),
        problem.n,
        problem.p,
        problem.gamma,
        problem.label_noise,
        problem.shape,
    )


def _optimal_alpha_array(**parameters: Any) -> FloatArray:
    problem = Isotropic(**parameters)
    gain, spread = _source(problem)
    kappa, eta = _effective_ridge(problem.n, problem.p, problem.gamma), _aspect_ratio(problem.n, problem.p)
    alpha = _optimal_alpha(problem.beta, problem.mu, problem.mu_perp, gain, spread, kappa, eta, problem.label_noise)
    return alpha if np.shape(alpha) == problem.shape else np.broadcast_to(alpha, problem.shape).copy()


def _worst_alpha_array(**parameters: Any) -> FloatArray:
    return np.asarray(_isotropic_law(Isotropic(**parameters)).worst_alpha())


def _accuracy_array(alpha: ArrayLike, **parameters: Any) -> FloatArray:
    return np.asarray(_law_at(alpha, parameters).accuracy(alpha))


def _risk_array(alpha: ArrayLike, **parameters: Any) -> FloatArray:
    return np.asarray(_law_at(alpha, parameters).risk(alpha))


def _law_at(alpha: ArrayLike, parameters: dict[str, Any]) -> MarginLaw:
    """Return the law, once it is certain that α broadcasts against every parameter."""
    problem = Isotropic(**parameters)
    broadcast_shape({"alpha": real_array("alpha", alpha, infinite=True).shape, **problem.shapes})
    return _isotropic_law(problem)


# The public functions.


def optimal_alpha(
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
) -> Any:
    """Scale α* of the source weights that maximises the accuracy of the fine-tuned classifier.

    Parameters
    ----------
    beta : float or array_like
        Alignment β of target and source, in [-1, 1]: the target mean is ``β μ + √(1−β²) μ_⊥``.
    n : float or array_like
        Number of target samples, positive.
    p : float or array_like
        Dimension, positive.
    gamma : float or array_like
        Ridge penalty γ ≥ 0 of the fine-tuning (on ``‖a‖²`` beside the mean squared loss).
    mu, mu_perp : float or array_like, default 1
        Norms of the source mean μ and of the orthogonal direction μ_⊥, in units of the noise's standard deviation.
    n_source, gamma_source : float or array_like, optional
        Samples N and penalty γ̃ of a ridge-trained source. Left out, the source is the oracle w̃ = μ.
    label_noise, label_noise_source : float or array_like, default 0
        Probability in [0, ½) that a training label is flipped, in the target and in the source.

    Returns
    -------
    float or array
        α*, of the broadcast shape; a Python float for scalars. xarray, dask and pandas objects pass through. nan
        where the classifier forgets its source (γ = 0, p ≤ n), where source or target carry no signal at all, and by
        rule outside the range in which float64 keeps all digits: lengths mu, mu_perp within 1e±30, and n, p, gamma,
        n_source, gamma_source within 1e±60 (or 0).

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    See Also
    --------
    accuracy, risk, worst_alpha, margin_law

    Notes
    -----
    THEORY §4. α = 1 is ordinary fine-tuning, α = 0 training from scratch.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> round(ra.optimal_alpha(0.8, n=200, p=400, gamma=0.1), 4)
    1.2162
    >>> ra.optimal_alpha([0.2, 0.9], 40, 1000, 0.1, mu=0.8, mu_perp=0.8, n_source=5000, gamma_source=5).round(3)
    array([1.632, 7.471])
    """
    return elementwise(
        _optimal_alpha_array,
        {
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=_SOURCE,
    )


def worst_alpha(
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
) -> Any:
    """Scale at which the fine-tuned classifier is as good as a coin: the zero of the margin's mean.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        ``−M₀/M₁``, where accuracy is exactly ½ (beyond it, below ½). nan where the source has no mean margin, as for
        β = 0, and outside the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    The paper's ᾱ (THEORY §2).

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> round(ra.worst_alpha(0.9, 40, 1000, 0.1, mu=0.8, mu_perp=0.8, n_source=5000, gamma_source=5), 3)
    -0.314
    """
    return elementwise(
        _worst_alpha_array,
        {
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=_SOURCE,
    )


def accuracy(
    alpha: Any,
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
) -> Any:
    """Asymptotic accuracy of the α-scaled fine-tuned classifier on fresh target points.

    Parameters
    ----------
    alpha : float or array_like
        Scale of the source weights; ±inf stands for the limit.
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        Probability of a correct (clean) label, signed: below ½ where the classifier learns the opposite. nan outside
        the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §2 and §4. Where `optimal_alpha` is nan, ``margin_law(...).best_accuracy()`` may still be defined.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> setting = dict(n=40, p=1000, gamma=0.1, mu=0.8, mu_perp=0.8, n_source=5000, gamma_source=5)
    >>> ra.accuracy([0, 1, 7.471], 0.9, **setting).round(3)
    array([0.549, 0.668, 0.731])
    """
    return elementwise(
        _accuracy_array,
        {
            "alpha": alpha,
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=_SOURCE,
    )


def risk(
    alpha: Any,
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
) -> Any:
    """Asymptotic squared risk ``E(1 − y w_αᵀx)²`` of the α-scaled classifier, for clean labels.

    Parameters
    ----------
    alpha : float or array_like
        Scale of the source weights.
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        The risk; infinite at γ = 0, n = p, nan outside the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §2. The α of least risk is ``margin_law(...).risk_optimal_alpha()``; it is not α*.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> ra.risk([0, 1], 0.8, n=200, p=400, gamma=0.1).round(4)
    array([0.9799, 1.0859])
    """
    return elementwise(
        _risk_array,
        {
            "alpha": alpha,
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=_SOURCE,
    )


def margin_law(
    beta: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
    n_source: ArrayLike | None = None,
    gamma_source: ArrayLike | None = None,
    label_noise: ArrayLike = 0.0,
    label_noise_source: ArrayLike = 0.0,
    order: int = 1,
) -> MarginLaw:
    """Asymptotic law of the margin as a function of α: the five numbers behind every other answer.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.
    order : int, default 1
        Order of the expansion in 1/n. 1, the leading order, is the only one there is.

    Returns
    -------
    MarginLaw
        One source; batched over the broadcast shape of the arguments. nan outside the range of `optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range, a labelled or lazy array, or the shapes do not broadcast.

    Notes
    -----
    THEORY §4. The five numbers are ``law.mean`` = (M₀, M₁) and ``law.cov`` = ((V₀₀, V₀₁), (V₀₁, V₁₁)).

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> law = ra.margin_law(0.8, n=200, p=400, gamma=0.1)
    >>> law.mean.round(4), law.cov.round(4).tolist()
    (array([0.314 , 0.2976]), [[0.5093, 0.0136], [0.0136, 0.3985]])
    >>> round(law.risk_optimal_alpha(), 4), round(law.best_accuracy(), 4)
    (0.3912, 0.7374)
    """
    if integer("order", order) != 1:
        raise ValueError(f"order must be 1, got {order!r}")
    problem = Isotropic(
        beta=beta,
        n=n,
        p=p,
        gamma=gamma,
        mu=mu,
        mu_perp=mu_perp,
        n_source=n_source,
        gamma_source=gamma_source,
        label_noise=label_noise,
        label_noise_source=label_noise_source,
    )
    return _isotropic_law(problem)


def effective_ridge(n: ArrayLike, p: ArrayLike, gamma: ArrayLike) -> Any:
    """Effective ridge κ of isotropic data: the penalty that the population problem sees.

    Parameters
    ----------
    n, p : float or array_like
        Number of samples and dimension, positive.
    gamma : float or array_like
        Ridge penalty γ ≥ 0.

    Returns
    -------
    float or ndarray
        The non-negative root of ``κ = γ + (κ/n)·p/(1+κ)``; 0 at γ = 0 for p ≤ n.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §3 and §4; γ(1+δ) in the paper's notation.

    Examples
    --------
    >>> effective_ridge(200, 400, 0.0), effective_ridge(400, 200, 0.0)
    (1.0, 0.0)
    """
    return _on_shapes(_effective_ridge, n, p, gamma)


def residual_fraction(n: ArrayLike, p: ArrayLike, gamma: ArrayLike) -> Any:
    """Fraction h = 1 − df₂/n of the samples left as residual degrees of freedom: what ridge variances are divided by.

    Parameters
    ----------
    n, p, gamma : float or array_like
        As in `effective_ridge`.

    Returns
    -------
    float or ndarray
        ``h = 1 − η/(1+κ)²``, in [0, 1); 0 only at γ = 0, p = n, where the classifier diverges.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §4. By the factorisation of THEORY §5 all that γ costs at α* is this factor.

    Examples
    --------
    >>> residual_fraction(200, 400, 0.0), round(residual_fraction(200, 400, 1.0), 4)
    (0.5, 0.8284)
    """
    return _on_shapes(_residual_fraction, n, p, gamma)


def _on_shapes(kernel: Ufunc, n: ArrayLike, p: ArrayLike, gamma: ArrayLike) -> Any:
    """Check (n, p, γ) and evaluate a kernel of them."""
    arrays = {
        "n": real_array("n", n, 0.0, open_low=True),
        "p": real_array("p", p, 0.0, open_low=True),
        "gamma": real_array("gamma", gamma, 0.0),
    }
    broadcast_shape({name: array.shape for name, array in arrays.items()})
    result = kernel(*arrays.values())
    return float(result) if np.ndim(result) == 0 else result


def source_numbers(
    beta: ArrayLike,
    p: ArrayLike,
    *,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
    n_source: ArrayLike | None = None,
    gamma_source: ArrayLike | None = None,
    label_noise_source: ArrayLike = 0.0,
) -> tuple[Any, Any, Any]:
    """Return what the target sees of a source: (s, w⊥², m²), as `fixed_source_law` takes them.

    Parameters
    ----------
    beta, p, mu, mu_perp, n_source, gamma_source, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    s : float or ndarray
        Overlap ``⟨w̃, μ_β⟩``.
    w_perp2 : float or ndarray
        Squared length w⊥² of the part of w̃ orthogonal to μ_β (all of w̃ where m² = 0).
    m2 : float or ndarray
        Squared norm m² of the target mean μ_β.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Notes
    -----
    THEORY §4, "the source's two numbers". w⊥² and not ‖w̃‖² is returned: it has no cancellation.

    Examples
    --------
    >>> s, w_perp2, m2 = source_numbers(0.8, 400, n_source=2000, gamma_source=1.0)
    >>> round(s, 4), round(w_perp2, 4), round(m2, 4)
    (0.2576, 0.064, 1.0)
    """
    problem = Isotropic(
        beta,
        1.0,
        p,
        0.0,
        mu=mu,
        mu_perp=mu_perp,
        n_source=n_source,
        gamma_source=gamma_source,
        label_noise_source=label_noise_source,
    )
    gain, spread = _source(problem)
    numbers = (
        _source_overlap(problem.beta, problem.mu, problem.mu_perp, gain),
        _source_off_target(problem.beta, problem.mu, problem.mu_perp, gain, spread),
        _target_norm2(problem.beta, problem.mu, problem.mu_perp),
    )
    s, w_perp2, m2 = (float(x) if np.ndim(x) == 0 else x for x in numbers)
    return s, w_perp2, m2


def _fixed_source(
    s: ArrayLike,
    w_perp2: ArrayLike,
    m2: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    label_noise: ArrayLike,
) -> tuple[list[FloatArray], tuple[int, ...]]:
    """Check the parameters of an arbitrary source; return them in order, with their common shape."""
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
        checked[name] = np.asarray(_squared_length(checked[name]))
    return list(checked.values()), shape


def fixed_source_law(
    s: ArrayLike,
    w_perp2: ArrayLike,
    m2: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    label_noise: ArrayLike = 0.0,
) -> MarginLaw:
    """Asymptotic law of the margin for an arbitrary fixed source classifier w̃.

    Parameters
    ----------
    s : float or array_like
        Overlap ``⟨w̃, μ_β⟩`` with the target mean.
    w_perp2 : float or array_like
        Squared length ``‖w̃‖² − s²/m²`` of w̃'s part orthogonal to the target mean.
    m2 : float or array_like
        Squared norm ``‖μ_β‖²`` of the target mean.
    n, p, gamma, label_noise
        As in `optimal_alpha`.

    Returns
    -------
    MarginLaw
        One source; batched over the broadcast shape. nan where s, w_perp2, m2, n, p or gamma is not 0 and outside
        1e±60.

    Raises
    ------
    ValueError
        If an argument is outside its range, the shapes do not broadcast, or s ≠ 0 where m² = 0.

    Notes
    -----
    THEORY §4. Everything else about w̃ is irrelevant.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> law = fixed_source_law(s=0.8, w_perp2=0.36, m2=1.0, n=200, p=400, gamma=0.1)  # the oracle, β = .8
    >>> round(law.accuracy(1.0) - ra.accuracy(1.0, 0.8, 200, 400, 0.1), 12)
    0.0
    """
    (s_, w_perp2_, m2_, n_, p_, gamma_, noise), shape = _fixed_source(s, w_perp2, m2, n, p, gamma, label_noise)
    return _law(s_, w_perp2_, m2_, n_, p_, gamma_, noise, shape)


def fixed_source_optimal_alpha(
    s: ArrayLike,
    w_perp2: ArrayLike,
    m2: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    label_noise: ArrayLike = 0.0,
) -> Any:
    """α* for an arbitrary fixed source classifier, in the form without cancellation.

    Parameters
    ----------
    s, w_perp2, m2, n, p, gamma, label_noise
        As in `fixed_source_law`.

    Returns
    -------
    float or ndarray
        α*, of the broadcast shape; nan as in `optimal_alpha`, and as in `fixed_source_law`.

    Raises
    ------
    ValueError
        As in `fixed_source_law`.

    Examples
    --------
    >>> round(fixed_source_optimal_alpha(s=0.8, w_perp2=0.36, m2=1.0, n=200, p=400, gamma=0.1), 4)
    1.2162
    """
    (s_, w_perp2_, m2_, n_, p_, gamma_, noise), _ = _fixed_source(s, w_perp2, m2, n, p, gamma, label_noise)
    alpha = _optimal_alpha_fixed(s_, w_perp2_, m2_, _effective_ridge(n_, p_, gamma_), _aspect_ratio(n_, p_), noise)
    return float(alpha) if np.ndim(alpha) == 0 else alpha
