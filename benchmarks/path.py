"""Time a path of laws over (n, γ) against one eigendecomposition.

    python benchmarks/path.py

A problem of p = 2000 features with full covariances that do not commute, in the target and in a source. One task makes
it from its matrices and asks for the laws at 200 pairs (n, γ): checks, the decompositions of both covariances and all
that follows included. The other is one ``numpy.linalg.eigh`` of the target's covariance. They run in turns, on one BLAS
thread; the last line is the median ratio over the rounds.
"""

import argparse
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits
from timing import ratio, side_by_side

from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import GaussianMixture, RidgeSource
from rmt_alpha.transfer import Transfer


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
    source = RidgeSource(GaussianMixture(*problem["source"], label_noise=0.15), n=float(n.max()), gamma=1.0)
    target = GaussianMixture(*problem["target"], label_noise=0.1)
    return Transfer(target, n=1.0, gamma=1.0, sources=[source]).path(n[:, None], gamma)


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
