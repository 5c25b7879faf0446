"""Time the closed form against what a person would otherwise write.

    python benchmarks/closed_form.py

Two comparisons, each measured side by side in one run on one thread, the package's checks of its arguments included:

- α* of a ridge-trained source for many β, against vectorised NumPy formulas for T₁, T₂, T₃ (the α-LoRA paper's
  organisation of E[(w_αᵀx)²], arXiv 2510.21345, with the corrected length of the source),
- the accuracy curve against α, against code that integrates the Gaussian density by `scipy.integrate.quad`.

Figures are medians over the repeats; a ratio is the median of the ratios of neighbouring runs.
"""

import argparse
from typing import Any

import numpy as np
from scipy import integrate
from timing import ratio, side_by_side

import rmt_alpha as ra

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


def quad_accuracy(alpha: float, beta: float, **setting: Any) -> float:
    """Return the accuracy by numerical integration of the standard normal density."""
    m0, m1, t1, t2, t3 = numpy_moments(beta, **setting)
    mean = m0 + alpha * m1
    deviation = np.sqrt(t1 + alpha * t2 + alpha**2 * t3 - mean**2)
    density = integrate.quad(lambda x: np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), -np.inf, mean / deviation)
    return float(density[0])


def check(points: int) -> None:
    """Make sure that what is timed computes the same."""
    beta = np.linspace(-0.99, 0.99, points)
    np.testing.assert_allclose(ra.optimal_alpha(beta, **SETTING), numpy_optimal_alpha(beta, **SETTING), rtol=1e-10)
    for alpha in (-2.0, 0.3, 5.0):
        np.testing.assert_allclose(ra.accuracy(alpha, 0.8, **SETTING), quad_accuracy(alpha, 0.8, **SETTING), rtol=1e-7)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=10**6, help="values of β and of α (default: %(default)s)")
    parser.add_argument("--quad-points", type=int, default=1000, help="values of α for quad (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=15, help="alternating runs (default: %(default)s)")
    arguments = parser.parse_args()

    check(min(arguments.points, 1000))
    beta = np.random.default_rng(0).uniform(-1.0, 1.0, arguments.points)
    alpha = np.linspace(-2.0, 8.0, arguments.points)
    few = np.linspace(-2.0, 8.0, arguments.quad_points)
    comparisons = {
        f"α* at {beta.size} β, against NumPy formulas": (
            side_by_side(
                lambda: ra.optimal_alpha(beta, **SETTING),
                lambda: numpy_optimal_alpha(beta, **SETTING),
                repeats=arguments.repeats,
            )
            / beta.size
        ),
        f"accuracy at {alpha.size} α, against quad": (
            side_by_side(
                lambda: ra.accuracy(alpha, 0.8, **SETTING),
                lambda: [quad_accuracy(a, 0.8, **SETTING) for a in few],
                repeats=min(arguments.repeats, 5),
            )
            / [alpha.size, few.size]
        ),
    }
    print(f"{'':48}{'rmt_alpha':>14}{'other':>14}{'ratio':>10}")
    for name, seconds in comparisons.items():
        ours, theirs = np.median(seconds, axis=0) * 1e9
        print(f"{name:48}{ours:11.2f} ns{theirs:11.2f} ns{ratio(seconds, 0, 1):10.1f}")


if __name__ == "__main__":
    main()
