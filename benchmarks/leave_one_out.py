"""Time leave-one-out over a path of penalties against one singular value decomposition, and against refitting.

    python -m benchmarks.leave_one_out

For every shape n × p three tasks run in turns, on one BLAS thread: the leave-one-out predictions of a classifier with
one source at 50 penalties, from the samples, decomposition and checks included; ``numpy.linalg.svd`` of the same
samples, ``full_matrices=False``; and the fit of all samples but one at one penalty, which brute force would repeat
n times for each of 50 penalties. The ratios are medians over the rounds. Brute force is given by its number of fits
times the time of one.
"""

import argparse
from functools import partial
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV
from threadpoolctl import threadpool_limits

from benchmarks.suite import Case, Pair, exact
from benchmarks.timing import ratio, side_by_side
from rmt_alpha.estimation.leave_one_out import leave_one_out
from rmt_alpha.ridge import affine_ridge

ALPHAS = np.linspace(-0.5, 2.0, 21)


def samples(n: int, p: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return data, labels, and weights of a source."""
    rng = np.random.default_rng(0)
    y, w = rng.choice([-1.0, 1.0], n), rng.standard_normal(p) / np.sqrt(p)
    return rng.standard_normal((n, p)) + np.outer(y, w), y, w


def penalties(points: int) -> np.ndarray:
    return np.geomspace(1e-3, 1e3, points)


def ridge_cv(X: np.ndarray, y: np.ndarray, w: np.ndarray, gamma: np.ndarray, alpha: float) -> np.ndarray:
    """Return the squared leave-one-out residuals at one α and every γ, by scikit-learn."""
    model = RidgeCV(alphas=len(y) * gamma, fit_intercept=False, store_cv_results=True)
    return np.asarray(model.fit(X, y - alpha * (X @ w)).cv_results_).T


def ridge_cv_of_scales(X: np.ndarray, y: np.ndarray, w: np.ndarray, gamma: np.ndarray) -> np.ndarray:
    """Return the mean of the same at every γ and α, each α an output of one model."""
    model = RidgeCV(alphas=len(y) * gamma, fit_intercept=False, store_cv_results=True, alpha_per_target=True)
    return np.asarray(model.fit(X, y[:, None] - np.outer(X @ w, ALPHAS)).cv_results_).mean(axis=0)


def of_penalties(n: int) -> Pair:
    """Return the squared residuals at 50 γ and one α: ours, and by scikit-learn."""
    X, y, w = samples(n, 2 * n)
    gamma = penalties(50)

    def ours() -> np.ndarray:
        return np.square(leave_one_out(X, y, w, gamma).residuals(0.7))

    return exact(ours, partial(ridge_cv, X, y, w, gamma, 0.7))


def of_scales(n: int) -> Pair:
    """Return the mean squared residuals at 21 α and 50 γ: ours, and by scikit-learn."""
    X, y, w = samples(n, 2 * n)
    gamma = penalties(50)

    def ours() -> Any:
        return leave_one_out(X, y, w, gamma).risk_law().risk(ALPHAS[:, None])

    return exact(ours, partial(ridge_cv_of_scales, X, y, w, gamma))


CASES = {
    "leave-one-out": Case(
        "leave-one-out residuals at 50 γ and one α, p = 2n",
        "`RidgeCV(store_cv_results=True)`",
        "n",
        of_penalties,
        sizes=(50, 100, 200, 400, 800),
        quick=(20, 40),
    ),
    "leave-one-out-alpha": Case(
        "leave-one-out risk at 21 α and 50 γ, p = 2n",
        "one `RidgeCV(store_cv_results=True, alpha_per_target=True)`, an output for each α",
        "n",
        of_scales,
        sizes=(50, 100, 200, 400, 800),
        quick=(20, 40),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--shapes",
        nargs="+",
        default=["400x2000", "2000x400", "1000x1000", "100x64"],
        help="numbers of samples and features, as 400x2000 (default: %(default)s)",
    )
    parser.add_argument("--gamma-points", type=int, default=50, help="values of γ (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default: %(default)s)")
    arguments = parser.parse_args()

    gamma = penalties(arguments.gamma_points)
    print(f"{gamma.size} penalties, one source, median of {arguments.repeats} rounds on one BLAS thread")
    print(f"{'n':>6} {'p':>6} {'path':>10} {'one SVD':>10} {'one refit':>10} {'path / SVD':>11} {'refits / path':>14}")
    for shape in arguments.shapes:
        n, p = map(int, shape.split("x"))
        X, y, w = samples(n, p)
        tasks = (
            partial(leave_one_out, X, y, w, gamma),
            partial(np.linalg.svd, X, full_matrices=False),
            partial(affine_ridge, X[1:], y[1:], w, 1.0),
        )
        with threadpool_limits(1):
            seconds = side_by_side(*tasks, repeats=arguments.repeats)
        times = " ".join(f"{1e3 * t:7.1f} ms" for t in np.median(seconds, axis=0))
        brute = n * gamma.size * ratio(seconds, 0, 2)
        print(f"{n:6} {p:6} {times} {ratio(seconds, 1, 0):11.2f} {brute:14.0f}")


if __name__ == "__main__":
    main()
