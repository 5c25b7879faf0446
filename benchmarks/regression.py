"""Theory of fine-tuned ridge regression against simulation, and how fast the two meet.

    python -m benchmarks.regression --out regression.png

Three outputs, Σ and Σ_s that do not commute, a source trained on its own samples beside a given one. Risks are sums
over the outputs, noise included, at several α: one for all outputs, or one for each (`rows`).

- the table at each p: theory, mean of the trials, and z, their difference over the standard error,
- the bias of theory against p, with the slope of a power law fitted by weighted least squares: it is O(1/p), so −1.
"""

import argparse

import numpy as np
from scipy import fft

from benchmarks.convergence import slope
from rmt_alpha.problem import FixedSource, RegressionTask, RidgeSource
from rmt_alpha.regression import RegressionTransfer

NAMES = ("scratch", "trained source", "given source", "best", "best rows")

LARGEST = 15 * 10**10
"""Trials times p³ at most, so that no p takes more than a minute or so."""


def problem(p: int) -> RegressionTransfer:
    """Return a problem that is the same for every p: p/n = 4/3, p/N = 4/5, weights that are chirps."""
    place = np.arange(p) + 0.5
    new, change, other = (
        (2 / p) ** 0.5 * np.cos(np.pi * np.outer(rates, place**2) / p)
        for rates in ([0.31, 0.47, 0.61], [0.37, 0.53, 0.71], [0.41, 0.59, 0.83])
    )
    axes = fft.dct(np.eye(p), norm="ortho")
    target = RegressionTask(new, axes * np.geomspace(0.1, 4.0, p) @ axes.T, noise=[0.3, 0.5, 0.8])
    old = RegressionTask(0.8 * new + 0.5 * change, np.linspace(0.2, 2.0, p), noise=0.4)
    given = FixedSource(np.array([[0.9], [0.6], [0.3]]) * new + 0.4 * other)
    return RegressionTransfer(target, 3 * p // 4, 0.02, [RidgeSource(old, 5 * p // 4, 0.02), given])


def against_theory(p: int, trials: int, workers: int | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return theory, mean and standard error of the risks."""
    transfer = problem(p)
    rows, law = transfer.risk_law(per_output=True), transfer.risk_law()
    run = transfer.simulate(trials, seed=p, workers=workers)
    common = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], law.optimal_alpha()])
    risks = np.column_stack([run.total[:, None].risk(common), run.law.risk(rows.optimal_alpha()).sum(axis=1)])
    theory = np.append(law.risk(common), np.sum(rows.best_risk()))
    return theory, risks.mean(axis=0), risks.std(axis=0, ddof=1) / trials**0.5


def plot(sizes: np.ndarray, bias: np.ndarray, stderr: np.ndarray, path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    ax = figure.subplots()
    for i, name in enumerate(NAMES):
        ax.errorbar(sizes, np.abs(bias[:, i]), stderr[:, i], fmt="os^vD"[i] + "-", ms=4, lw=1, label=name)
    ax.plot(sizes, 1.5 * np.abs(bias[0]).max() * sizes[0] / sizes, "k:", lw=1, label="slope −1")
    ax.set(xscale="log", yscale="log", xlabel="p", ylabel="|mean risk of trials / theory − 1|")
    ax.set_xticks(sizes, [f"{p:.0f}" for p in sizes])
    ax.minorticks_off()
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[24, 48, 100, 200, 400], help="p (default: 24 … 400)")
    parser.add_argument("--trials", type=int, default=40_000, help="where p is small (default: %(default)s)")
    parser.add_argument("--workers", type=int, help="threads (default: all)")
    parser.add_argument("--out", help="picture of the bias against p")
    arguments = parser.parse_args()

    results = []
    for p in arguments.sizes:
        trials = max(min(arguments.trials, LARGEST // p**3), 2)
        theory, mean, stderr = against_theory(p, trials, arguments.workers)
        results.append((mean / theory - 1, stderr / theory))
        print(f"\np = {p}, {trials} trials")
        print(f"{'':16}{'theory':>10}{'mean':>10}{'± s.e.':>10}{'relative':>11}{'z':>7}")
        for name, t, m, s in zip(NAMES, theory, mean, stderr, strict=True):
            print(f"{name:16}{t:10.4f}{m:10.4f}{s:10.4f}{m / t - 1:11.1e}{(m - t) / s:7.2f}")

    sizes, bias, errors = np.array(arguments.sizes, float), *map(np.array, zip(*results, strict=True))
    print("\nSlope of the relative bias against p (± standard error)")
    for i, name in enumerate(NAMES):
        value, error = slope(sizes, bias[:, i], errors[:, i])
        print(f"{name:16}{value:8.2f} ± {error:.2f}")
    if arguments.out:
        plot(sizes, bias, errors, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
