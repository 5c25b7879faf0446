r"""The published code's formulas for a ridge-trained source, kept to show what their correction changes.

The α-LoRA paper (arXiv 2510.21345) organises ``E[(w_αᵀx)²] = V + M²`` as ``T₁ + αT₂ + α²T₃`` (clean labels, THEORY §6):

    T₁ = (1−h)/h + m²/(hλ)·[(m²+1)/λ − 2(1−h)]        T₂ = (2κs/(hλ))·[(m²+1)/λ − (1−h)]
    T₃ = (κ²/h)·{ s²/λ² + (1−h)/η·[ ‖w̃‖² + s²(m²/λ − 2)/λ ] }

Its published code inserts, in T₃, ``‖w̃‖² = mu²/λ̃² + (1−h̃)(1 − 2mu²/λ̃)``. The correct value is
``[mu²/λ̃² + (1−h̃)(1 − mu²/λ̃)²]/h̃``: a factor 1/h̃ and the last term of the square are missing. The difference is
negligible for N ≫ p and decisive otherwise. The corrected quantities are those of `rmt_alpha.theory.isotropic`.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._validation import FloatArray, broadcast_shape, real_array
from rmt_alpha.problem import Isotropic
from rmt_alpha.theory.isotropic import effective_ridge, residual_fraction, source_numbers


def published_norm2(p: ArrayLike, n_source: ArrayLike, gamma_source: ArrayLike, *, mu: ArrayLike = 1.0) -> Any:
    """Squared length ‖w̃‖² of a ridge-trained source according to the published code.

    Parameters
    ----------
    p, n_source, gamma_source, mu
        As in `rmt_alpha.optimal_alpha`.

    Returns
    -------
    float or ndarray
        ``mu²/λ̃² + (1−h̃)(1 − 2mu²/λ̃)``, which is too small and can be negative.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Examples
    --------
    >>> s, w_perp2, m2 = source_numbers(0.8, 400, mu=1.5, n_source=400, gamma_source=0.1)
    >>> round(published_norm2(400, 400, 0.1, mu=1.5), 4), round(s**2 / m2 + w_perp2, 4)
    (0.0422, 0.5306)
    """
    problem = Isotropic(1.0, 1.0, p, 0.0, mu=mu, n_source=n_source, gamma_source=gamma_source)
    kappa = np.asarray(effective_ridge(n_source, p, gamma_source))
    mu2 = np.square(problem.mu)
    lam = mu2 + 1.0 + kappa
    spread = np.divide(problem.p, problem.n_source) / (1.0 + kappa) ** 2  # type: ignore[arg-type]
    norm2 = mu2 / lam**2 + spread * (1.0 - 2.0 * mu2 / lam)
    return float(norm2) if norm2.ndim == 0 else norm2


def published_second_moment(
    alpha: ArrayLike,
    beta: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    n_source: ArrayLike,
    gamma_source: ArrayLike,
    *,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
) -> Any:
    """``E[(w_αᵀx)²]`` according to the published code.

    Parameters
    ----------
    alpha, beta, n, p, gamma, n_source, gamma_source, mu, mu_perp
        As in `rmt_alpha.accuracy`; γ must be positive.

    Returns
    -------
    float or ndarray
        ``T₁ + αT₂ + α²T₃`` with the published ‖w̃‖².

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Examples
    --------
    >>> round(published_second_moment(3, 0.8, 200, 400, 0.5, 400, 0.1, mu=1.5), 3)
    1.182
    """
    t1, t2, t3 = _published_terms(beta, n, p, gamma, n_source, gamma_source, mu, mu_perp)[2]
    scale = real_array("alpha", alpha)
    broadcast_shape({"alpha": scale.shape, "the problem": np.shape(t3)})
    with np.errstate(over="ignore", invalid="ignore"):
        result = np.asarray(t1 + scale * (t2 + scale * t3))
    return float(result) if result.ndim == 0 else result


def published_optimal_alpha(
    beta: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    n_source: ArrayLike,
    gamma_source: ArrayLike,
    *,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
) -> Any:
    """α* according to the published code: the stationary point of mean²/variance with the published T₃.

    Parameters
    ----------
    beta, n, p, gamma, n_source, gamma_source, mu, mu_perp
        As in `rmt_alpha.optimal_alpha`; γ must be positive.

    Returns
    -------
    float or ndarray
        The published α*; compare `rmt_alpha.optimal_alpha`.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> setting = dict(beta=0.8, n=200, p=400, gamma=0.5, n_source=400, gamma_source=0.1, mu=1.5)
    >>> round(published_optimal_alpha(**setting), 2), round(ra.optimal_alpha(**setting), 3)
    (-5.36, 0.415)
    """
    m0, m1, (t1, t2, t3) = _published_terms(beta, n, p, gamma, n_source, gamma_source, mu, mu_perp)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        alpha = np.asarray((2.0 * m1 * t1 - m0 * t2) / (2.0 * m0 * t3 - m1 * t2))
    return float(alpha) if alpha.ndim == 0 else alpha


def _published_terms(
    beta: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    n_source: ArrayLike,
    gamma_source: ArrayLike,
    mu: ArrayLike,
    mu_perp: ArrayLike,
) -> tuple[FloatArray, FloatArray, tuple[FloatArray, FloatArray, FloatArray]]:
    """Return M₀, M₁ and (T₁, T₂, T₃); the first two are as in the corrected theory."""
    real_array("gamma", gamma, 0.0, open_low=True)
    Isotropic(beta, n, p, gamma, mu=mu, mu_perp=mu_perp, n_source=n_source, gamma_source=gamma_source)
    s, _, m2 = source_numbers(beta, p, mu=mu, mu_perp=mu_perp, n_source=n_source, gamma_source=gamma_source)
    kappa = effective_ridge(n, p, gamma)
    eta, lam = np.asarray(p) / np.asarray(n), m2 + 1.0 + kappa
    rest = eta / (1.0 + kappa) ** 2
    h = residual_fraction(n, p, gamma)
    norm2 = published_norm2(p, n_source, gamma_source, mu=mu)
    t1 = rest / h + m2 / (h * lam) * ((m2 + 1.0) / lam - 2.0 * rest)
    t2 = 2.0 * kappa * s / (h * lam) * ((m2 + 1.0) / lam - rest)
    t3 = kappa**2 / h * ((s / lam) ** 2 + rest / eta * (norm2 + s**2 * (m2 / lam - 2.0) / lam))
    return np.asarray(m2 / lam), np.asarray(kappa * s / lam), (t1, t2, t3)
