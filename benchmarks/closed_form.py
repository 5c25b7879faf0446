"""The closed form against what a person would otherwise write: `python -m benchmarks closed-form accuracy-curve`.

The package's checks of its arguments are included in:

- α* of a ridge-trained source for many β, against vectorised NumPy formulas for T₁, T₂, T₃ (the α-LoRA paper's
  organisation of E[(w_αᵀx)²], arXiv 2510.21345, with the corrected length of the source),
- the accuracy curve against α, against the same formulas and `scipy.special.ndtr`.
"""

from functools import partial
from typing import Any

import numpy as np
from scipy.special import ndtr

import rmt_alpha as ra
from benchmarks.suite import Case, Pair, exact

SETTING = {"n": 200, "p": 400, "gamma": 0.5, "mu": 1.5, "mu_perp": 1.0, "n_source": 2000, "gamma_source": 0.1}


def published_kappa(eta: Any, gamma: Any) -> Any:
    """Effective ridge γ(1+δ) from the paper's quadratic for δ."""
    delta = (eta - gamma - 1 + np.sqrt((eta - gamma - 1) ** 2 + 4 * eta * gamma)) / (2 * gamma)
    return gamma * (1 + delta)


def numpy_moments(
    beta: Any, n: Any, p: Any, gamma: Any, mu: Any, mu_perp: Any, n_source: Any, gamma_source: Any
) -> tuple[Any, ...]:
    """Return M₀, M₁, T₁, T₂, T₃ of a ridge-trained source, written as formulas on arrays."""
    eta, eta_source = p / n, p / n_source
    kappa, kappa_source = published_kappa(eta, gamma), published_kappa(eta_source, gamma_source)
    h, h_source = 1 - eta / (1 + kappa) ** 2, 1 - eta_source / (1 + kappa_source) ** 2
    m2 = (beta * mu) ** 2 + (1 - beta**2) * mu_perp**2
    lam, lam_source = m2 + 1 + kappa, mu**2 + 1 + kappa_source
    s = beta * mu**2 / lam_source
    norm2 = (mu**2 / lam_source**2 + (1 - h_source) * (1 - mu**2 / lam_source) ** 2) / h_source
    t1 = (1 - h) / h + m2 / (h * lam) * ((m2 + 1) / lam - 2 * (1 - h))
    t2 = 2 * kappa * s / (h * lam) * ((m2 + 1) / lam - (1 - h))
    t3 = kappa**2 / h * (s**2 / lam**2 + (1 - h) / eta * (norm2 + s**2 * (m2 / lam - 2) / lam))
    return m2 / lam, kappa * s / lam, t1, t2, t3


def numpy_optimal_alpha(beta: Any, **setting: Any) -> Any:
    """Return α* where mean²/(second moment) is stationary."""
    m0, m1, t1, t2, t3 = numpy_moments(beta, **setting)
    return (2 * m1 * t1 - m0 * t2) / (2 * m0 * t3 - m1 * t2)


def numpy_accuracy(alpha: Any, beta: float, **setting: Any) -> Any:
    """Return the accuracy at many α."""
    m0, m1, t1, t2, t3 = numpy_moments(beta, **setting)
    mean = m0 + alpha * m1
    return ndtr(mean / np.sqrt(t1 + alpha * t2 + alpha**2 * t3 - mean**2))


def formulas(points: int) -> Pair:
    """Return α* at so many β: ours, and by NumPy formulas."""
    beta = np.random.default_rng(0).uniform(-1.0, 1.0, points)
    return exact(partial(ra.optimal_alpha, beta, **SETTING), partial(numpy_optimal_alpha, beta, **SETTING))


def curve(points: int) -> Pair:
    """Return the accuracy at so many α: ours, and by NumPy formulas."""
    alpha = np.linspace(-2.0, 8.0, points)
    return exact(partial(ra.accuracy, alpha, 0.8, **SETTING), partial(numpy_accuracy, alpha, 0.8, **SETTING))


CASES = {
    "closed-form": Case(
        "α* of a ridge-trained source at many β",
        "vectorised NumPy formulas",
        "points",
        formulas,
        sizes=(100, 1000, 10_000, 100_000, 1_000_000, 10_000_000),
        quick=(100, 1000),
    ),
    "accuracy-curve": Case(
        "accuracy of a ridge-trained source at many α",
        "vectorised NumPy formulas and `scipy.special.ndtr`",
        "points",
        curve,
        sizes=(100, 1000, 10_000, 100_000, 1_000_000, 10_000_000),
        quick=(100, 1000),
    ),
}
