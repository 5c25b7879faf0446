"""Time a path of laws over (n, γ) against one eigendecomposition.

    python -m benchmarks.path

A problem of p = 2000 features with full covariances that do not commute, in the target and in a source. One task makes
it from its matrices and asks for the laws at 200 pairs (n, γ): checks, the decompositions of both covariances and all
that follows included. The other is one ``numpy.linalg.eigh`` of the target's covariance. They run in turns, on one BLAS
thread; the last line is the median ratio over the rounds.
"""

import argparse
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.suite import Agreement, Case, Pair, to_rounding
from benchmarks.timing import ratio, side_by_side
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import GaussianMixture, RidgeSource
from rmt_alpha.transfer import Transfer

NOISE = {"target": 0.1, "source": 0.15}
"""Shares of flipped labels."""


def matrices(p: int) -> dict[str, Any]:
    """Return mean and covariance of a target and of a source: power laws in bases that have nothing in common."""
    rng = np.random.default_rng(0)

    def covariance(exponent: float) -> np.ndarray:
        basis, _ = np.linalg.qr(rng.standard_normal((p, p)))
        return np.asarray((basis * (np.arange(1, p + 1) / p) ** -exponent) @ basis.T)

    target, source = (rng.standard_normal(p) / np.sqrt(p) for _ in range(2))
    return {
        "target": (target, covariance(0.5)),
        "source": (target + 0.5 * source, covariance(1.0)),
    }


def path(problem: dict[str, Any], n: np.ndarray, gamma: np.ndarray) -> MarginLaw:
    """Return the laws on the grid, from nothing but matrices."""
    source = RidgeSource(GaussianMixture(*problem["source"], label_noise=NOISE["source"]), n=float(n.max()), gamma=1.0)
    target = GaussianMixture(*problem["target"], label_noise=NOISE["target"])
    return Transfer(target, n=1.0, gamma=1.0, sources=[source]).path(n[:, None], gamma)


def fixed_point(eigenvalues: np.ndarray, n: float, gamma: float) -> tuple[float, float]:
    """Return effective ridge and df₂/n, by iteration of κ = γ + κ df₁/n."""
    kappa, old = gamma + eigenvalues.sum() / n, np.inf
    while abs(kappa - old) > 1e-14 * kappa:
        old = kappa
        kappa = gamma + kappa / n * np.sum(eigenvalues / (eigenvalues + kappa))
    return kappa, float(np.sum(np.square(eigenvalues / (eigenvalues + kappa)))) / n


def numpy_path(problem: dict[str, Any], n: np.ndarray, gamma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return M and V on the grid by the formulas of THEORY §3, in the eigenbasis of the target's covariance."""
    (mu, S), (mu_s, S_s) = problem["target"], problem["source"]
    t, t_s, n_s = 1 - 2 * NOISE["target"], 1 - 2 * NOISE["source"], n.max()

    values, U = np.linalg.eigh(S_s)
    m = U.T @ mu_s
    kappa, df2 = fixed_point(values, n_s, 1.0)
    g = 1 / (values + kappa)
    w = t_s * g * m / (1 + m @ (g * m))
    risk = 1 - 2 * t_s * m @ w + w @ (values * w) + (m @ w) ** 2
    spread, w, U_s = risk / (1 - df2) / n_s * g * values * g, U @ w, U

    values, U = np.linalg.eigh(S)
    m, w = U.T @ mu, U.T @ w
    spread = np.square(U.T @ U_s) @ spread
    mean, cov = np.empty((n.size, gamma.size, 2)), np.empty((n.size, gamma.size, 2, 2))
    for i, j in np.ndindex(n.size, gamma.size):
        kappa, df2 = fixed_point(values, n[i], gamma[j])
        g = 1 / (values + kappa)
        W = g[:, None] * np.column_stack([t * m, kappa * w])
        W -= np.outer(g * m, m @ W) / (1 + m @ (g * m))
        mean[i, j] = m @ W
        noise = W.T @ (values[:, None] * W)
        risk = noise + np.outer(mean[i, j], mean[i, j])
        risk[0] -= t * mean[i, j]
        risk[:, 0] -= t * mean[i, j]
        risk[0, 0] += 1
        cov[i, j] = noise + df2 / (1 - df2) * risk
        cov[i, j, 1, 1] += kappa**2 / (1 - df2) * np.sum(spread * g * values * g)
    return mean, cov


def equivalents(p: int) -> Pair:
    """Return the laws on a grid of 12 pairs (n, γ): ours, and in NumPy."""
    problem, n, gamma = matrices(p), np.array([0.5, 1.5, 5.0]) * p, np.array([0.01, 0.1, 1.0, 10.0])
    ours, theirs = partial(path, problem, n, gamma), partial(numpy_path, problem, n, gamma)

    def flat(mean: np.ndarray, cov: np.ndarray) -> np.ndarray:
        return np.concatenate([mean, cov.reshape(*cov.shape[:-2], -1)], axis=-1)

    def agreement() -> Agreement:
        law = ours()
        return to_rounding(flat(law.mean, law.cov), flat(*theirs()))

    return Pair(ours, theirs, agreement)


CASES = {
    "equivalents": Case(
        "laws of a source with a full covariance, on a grid of 12 pairs (n, γ)",
        "the formulas in NumPy, one `eigh` for each covariance and a fixed-point iteration at each pair",
        "p",
        equivalents,
        sizes=(50, 100, 200, 400, 800),
        quick=(20, 40),
        alone=(1600,),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=int, default=2000, help="features (default: %(default)s)")
    parser.add_argument("--n-points", type=int, default=10, help="values of n (default: %(default)s)")
    parser.add_argument("--gamma-points", type=int, default=20, help="values of γ (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: %(default)s)")
    arguments = parser.parse_args()

    p = arguments.p
    problem = matrices(p)
    n, gamma = np.geomspace(0.1 * p, 10.0 * p, arguments.n_points), np.geomspace(1e-3, 1e3, arguments.gamma_points)
    with threadpool_limits(1):
        seconds = side_by_side(
            lambda: path(problem, n, gamma), lambda: np.linalg.eigh(problem["target"][1]), repeats=arguments.repeats
        )
    ours, theirs = np.median(seconds, axis=0)
    print(f"p = {p}, {n.size * gamma.size} pairs (n, γ), median of {arguments.repeats} rounds on one BLAS thread")
    print(f"    path, from the matrices    {ours:.2f} s")
    print(f"    one eigendecomposition     {theirs:.2f} s")
    print(f"path / eigendecomposition {ratio(seconds, 1, 0):.2f}")


if __name__ == "__main__":
    main()
