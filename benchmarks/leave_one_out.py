"""Time leave-one-out over a path of penalties against one singular value decomposition, and against refitting.

    python benchmarks/leave_one_out.py

For every shape n × p three tasks run in turns, on one BLAS thread: the leave-one-out predictions of a classifier with
one source at 50 penalties, from the samples, decomposition and checks included; ``numpy.linalg.svd`` of the same
samples, ``full_matrices=False``; and the fit of all samples but one at one penalty, which brute force would repeat
n times for each of 50 penalties. The ratios are medians over the rounds. Brute force is given by its number of fits
times the time of one.
"""

import argparse

import numpy as np
from threadpoolctl import threadpool_limits
from timing import ratio, side_by_side

from rmt_alpha.estimation.leave_one_out import leave_one_out
from rmt_alpha.ridge import affine_ridge


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

    gamma = np.geomspace(1e-3, 1e3, arguments.gamma_points)
    print(f"{gamma.size} penalties, one source, median of {arguments.repeats} rounds on one BLAS thread")
    print(f"{'n':>6} {'p':>6} {'path':>10} {'one SVD':>10} {'one refit':>10} {'path / SVD':>11} {'refits / path':>14}")
    for shape in arguments.shapes:
        n, p = map(int, shape.split("x"))
        rng = np.random.default_rng(0)
        y, w = rng.choice([-1.0, 1.0], n), rng.standard_normal(p) / np.sqrt(p)
        X = rng.standard_normal((n, p)) + np.outer(y, w)

        def path(X: np.ndarray = X, y: np.ndarray = y, w: np.ndarray = w) -> object:
            return leave_one_out(X, y, w, gamma)

        def svd(X: np.ndarray = X) -> object:
            return np.linalg.svd(X, full_matrices=False)

        def refit(X: np.ndarray = X, y: np.ndarray = y, w: np.ndarray = w) -> object:
            return affine_ridge(X[1:], y[1:], w, 1.0)

        with threadpool_limits(1):
            seconds = side_by_side(path, svd, refit, repeats=arguments.repeats)
        times = " ".join(f"{1e3 * t:7.1f} ms" for t in np.median(seconds, axis=0))
        brute = n * gamma.size * ratio(seconds, 0, 2)
        print(f"{n:6} {p:6} {times} {ratio(seconds, 1, 0):11.2f} {brute:14.0f}")


if __name__ == "__main__":
    main()
