"""Time the simulators: against random numbers, against their size, and against plain NumPy.

    python -m benchmarks.simulators --out simulators.png

- the streaming sampler's target step, per column, against four standard normal numbers drawn one by one from the same
  kind of generator in compiled code,
- time per draw against size, both methods, with fitted slopes,
- peak memory of a process after a small and after a large draw,
- one draw of the paper's shape (N = 5000, n = 200, p = 400) by both methods, against the experiment in plain NumPy that
  a person would otherwise write: for one α, with a test set; and two workers against one.

Figures are medians over alternating rounds; BLAS runs on one thread.
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numba
import numpy as np
from scipy.special import ndtr
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

import rmt_alpha as ra
from benchmarks.path import matrices
from benchmarks.suite import Agreement, Case, Pair, in_standard_errors
from benchmarks.timing import ratio, side_by_side, slope
from rmt_alpha.problem import Experiment, GaussianMixture, RidgeSource
from rmt_alpha.simulation import dense, streaming
from rmt_alpha.transfer import Transfer

ALPHAS = np.array([0.0, 1.0, 2.0])

PAPER: dict[str, Any] = {"beta": 0.8, "n": 200, "p": 400, "gamma": 0.5, "n_source": 5000, "gamma_source": 1.0}

CHUNKS = 24
"""Chunks of work that two workers share."""


@numba.njit
def normals(rng: np.random.Generator, count: int) -> float:
    """Draw standard normal numbers one by one."""
    total = 0.0
    for _ in range(count):
        total += rng.standard_normal()
    return total


def oracle(size: int) -> Experiment:
    """Return an experiment of n = p = `size` without source samples: the target step alone."""
    return Experiment(0.8, size, size, 0.5)


def draws(sampler: Any, trials: int) -> Callable[[], Any]:
    """Return a task: so many trials of a sampler, from a seed of their own each time."""
    seeds = (np.random.SeedSequence(0, spawn_key=(i,)) for i in itertools.count())
    return lambda: sampler.sample(next(seeds), trials)


def plain_data(rng: np.random.Generator, size: int, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return samples around ± a mean, and their labels."""
    y = rng.choice([-1.0, 1.0], size)
    return np.outer(y, mean) + rng.standard_normal((size, len(mean))), y


def plain_ridge(X: np.ndarray, y: np.ndarray, gamma: float, source: np.ndarray | None = None) -> np.ndarray:
    """Return weights of ridge, and in a second column what a unit of the source adds, by solving as it is written."""
    n, p = X.shape
    right = X.T @ y[:, None] / n if source is None else np.column_stack([X.T @ y / n, gamma * source])
    return np.linalg.solve(X.T @ X / n + gamma * np.eye(p), right)


def plain_weights(rng: np.random.Generator, problem: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return μ_β and (w₀, w₁) of one experiment, as one writes it from the paper."""
    p, beta = problem["p"], problem["beta"]
    mu, mu_perp = np.zeros(p), np.zeros(p)
    mu[0] = mu_perp[1] = 1.0
    mu_beta = beta * mu + np.sqrt(1 - beta**2) * mu_perp
    source = plain_ridge(*plain_data(rng, problem["n_source"], mu), problem["gamma_source"])[:, 0]
    return mu_beta, plain_ridge(*plain_data(rng, problem["n"], mu_beta), problem["gamma"], source)


def plain_draw(rng: np.random.Generator, problem: dict[str, Any], alphas: np.ndarray = ALPHAS) -> np.ndarray:
    """Return the exact accuracies of one experiment at several α."""
    mu_beta, w = plain_weights(rng, problem)
    w_alpha = w[:, :1] + alphas * w[:, 1:]
    return np.asarray(ndtr(mu_beta @ w_alpha / np.linalg.norm(w_alpha, axis=0)))


def plain_numbers(rng: np.random.Generator, problem: dict[str, Any]) -> np.ndarray:
    """Return the five numbers of one experiment."""
    mu_beta, w = plain_weights(rng, problem)
    return five(mu_beta @ w, w.T @ w)


def five(mean: Any, cov: Any) -> np.ndarray:
    """Return the five numbers of laws on the leading axes: M₀, M₁, V₀₀, V₀₁, V₁₁."""
    mean, cov = np.asarray(mean), np.asarray(cov)
    return np.concatenate([mean, cov[..., [0, 0, 1], [0, 1, 1]]], axis=-1)


def plain_numpy(rng: np.random.Generator, alpha: float = 1.0) -> float:
    """Return the accuracy of one experiment of the paper's shape on a test set, for one α."""
    mu_beta, w = plain_weights(rng, PAPER)
    X, y = plain_data(rng, 20 * PAPER["n"], mu_beta)
    return float(np.mean(y * (X @ (w[:, 0] + alpha * w[:, 1])) > 0))


MANY = 1000
"""Draws of the streaming sampler that a comparison takes."""


def draws_at(n: int) -> int:
    """Return how many draws of the other kind a comparison takes: 200, fewer where one of them takes long."""
    return max(min(200, 10_000 // n), 8)


def against_draws(ours: np.ndarray, theirs: Any) -> Agreement:
    """Compare the means of many draws of ours and of theirs, by the standard deviation of ours."""
    count = 1 / len(ours) + 1 / len(theirs)
    return in_standard_errors(ours.mean(axis=0) - np.mean(theirs, axis=0), ours.std(axis=0, ddof=1) * count**0.5)


def stream(n: int, trials: int | None = None) -> Pair:
    """Return a draw of the paper's shape, scaled to n: exact, in runs of so many (default: a chunk), or plain."""
    problem = PAPER | {"n": n, "p": 2 * n, "n_source": 25 * n}
    rng = np.random.default_rng(1)
    trials = streaming.isotropic(Experiment(**problem)).chunk if trials is None else trials
    simulate = partial(ra.simulate, **problem, seed=0, method="streaming", workers=1)

    def ours() -> Any:
        return simulate(trials=trials).law.accuracy(ALPHAS[:, None])

    def agreement() -> Agreement:
        law = simulate(trials=MANY).law
        return against_draws(five(law.mean, law.cov), [plain_numbers(rng, problem) for _ in range(draws_at(n))])

    return Pair(ours, partial(plain_draw, rng, problem), agreement, (trials, 1))


def scikit_learn(rng: np.random.Generator, problem: Transfer, root: np.ndarray, alphas: np.ndarray) -> np.ndarray:
    """Return the weights of one experiment, a row for each α, by scikit-learn; `root` of both covariances."""
    (source,) = problem.sources
    assert isinstance(source, RidgeSource)
    tasks = (source.mixture, int(source.n), root[1]), (problem.target, int(problem.n), root[0])
    data = []
    for mixture, n, half in tasks:
        y = rng.choice([-1.0, 1.0], n)
        X = np.outer(y, mixture.mean) + rng.standard_normal((n, mixture.p)) @ half.T
        data.append((X, np.where(rng.random(n) < mixture.label_noise, -y, y)))
    old = Ridge(alpha=source.n * source.gamma, fit_intercept=False).fit(*data[0]).coef_
    X, y = data[1]
    # each α is an output of one model
    new = Ridge(alpha=problem.n * problem.gamma, fit_intercept=False).fit(X, y[:, None] - np.outer(X @ old, alphas))
    return np.asarray(np.outer(alphas, old) + new.coef_)


RUN = 8
"""Draws with full covariances in one run, of both kinds."""


def matrices_at(p: int) -> Pair:
    """Return draws with full covariances, at eleven α: ours, and by scikit-learn."""
    (mu, covariance), (mu_source, covariance_source) = matrices(p).values()
    source = RidgeSource(GaussianMixture(mu_source, covariance_source, label_noise=0.15), 2 * p, 0.5)
    problem = Transfer(GaussianMixture(mu, covariance, label_noise=0.1), p // 2, 0.1, [source])
    rng, alphas = np.random.default_rng(1), np.linspace(-0.5, 2.0, 11)

    def ours() -> Any:
        return problem.simulate(RUN, seed=0, method="dense", workers=1).law.accuracy(alphas[:, None])

    def theirs() -> list[np.ndarray]:
        root = np.linalg.cholesky([covariance, covariance_source])
        weights = (scikit_learn(rng, problem, root, alphas) for _ in range(RUN))
        return [ndtr(W @ mu / np.linalg.norm(W @ root[0], axis=1)) for W in weights]

    def agreement() -> Agreement:
        count = draws_at(p // 2)
        law = problem.simulate(2 * count, seed=0, method="dense", workers=1).law
        root = np.linalg.cholesky([covariance, covariance_source])
        affine, numbers = np.linalg.pinv(np.column_stack([np.ones_like(alphas), alphas])), []
        for _ in range(count):
            w = affine @ scikit_learn(rng, problem, root, alphas)
            numbers.append(five(w @ mu, w @ covariance @ w.T))
        return against_draws(five(law.mean, law.cov), numbers)

    return Pair(ours, theirs, agreement, (RUN, RUN))


CASES = {
    "streaming": Case(
        "a draw with p = 2n, N = 25n, exact accuracies at 3 α, in runs of up to 4096 draws",
        "the experiment in plain NumPy",
        "n",
        stream,
        sizes=(25, 50, 100, 200, 400),
        quick=(10, 20),
        alone=(10_000, 100_000, 1_000_000),
    ),
    "streaming-once": Case(
        "the same, but a call of `simulate` for a single draw",
        "the experiment in plain NumPy",
        "n",
        partial(stream, trials=1),
        sizes=(25, 50, 100, 200, 400),
        quick=(10, 20),
    ),
    "dense": Case(
        "a draw with full covariances, n = p/2, N = 2p, exact accuracies at 11 α",
        "scikit-learn's `Ridge`, one fit for the source and one for all α",
        "p",
        matrices_at,
        sizes=(50, 100, 200, 400),
        quick=(20, 40),
    ),
}


def column(size: int, repeats: int) -> None:
    rng = np.random.default_rng(0)
    seconds = side_by_side(draws(streaming.isotropic(oracle(size)), 1), lambda: normals(rng, 4 * size), repeats=repeats)
    ours, theirs = np.median(seconds, axis=0) / size * 1e9
    print(f"A column of the target step at n = p = {size}: {ours:.1f} ns; four normal numbers: {theirs:.1f} ns")
    print(f"    ratio {np.median(seconds[:, 0] / seconds[:, 1]):.2f}")


def against_size(largest: int, largest_dense: int, repeats: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return sizes and seconds per draw of both methods, and print them with their slopes."""
    curves = {}
    for name, module, smallest, last in (
        ("streaming", streaming, 1000, largest),
        ("dense", dense, 100, largest_dense),
    ):
        steps = max(round(2 * np.log10(last / smallest)), 1)
        sizes = np.unique(np.round(np.geomspace(smallest, last, steps + 1)).astype(int))
        samplers = [module.isotropic(oracle(int(size))) for size in sizes]
        trials = [sampler.chunk for sampler in samplers]
        tasks = [draws(sampler, count) for sampler, count in zip(samplers, trials, strict=True)]
        seconds = np.median(side_by_side(*tasks, repeats=repeats), axis=0) / trials
        curves[name] = sizes, seconds
        print(f"{name}: time per draw against n = p")
        for size, value in zip(sizes, seconds, strict=True):
            print(f"    {size:>9} {value * 1e6:>14.1f} µs")
        print(f"    slope {slope(sizes, seconds):.3f}")
    return curves


def peak_memory(*sizes: int) -> list[float]:
    """Return the peak memory, in MB, of a process that draws at one size after the other, after each."""
    command = [sys.executable, "-m", "benchmarks.simulators", "--draw", *map(str, sizes)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    return [float(line) for line in done.stdout.split()]


def paper(repeats: int) -> None:
    rng = np.random.default_rng(0)
    experiment = Experiment(**PAPER)
    exact, matrices = streaming.isotropic(experiment), dense.isotropic(experiment)
    many, few = exact.chunk, 5
    tasks = (draws(exact, many), draws(matrices, few), lambda: [plain_numpy(rng) for _ in range(few)])
    seconds = side_by_side(*tasks, repeats=repeats) / [many, few, few]
    print("A draw at N = 5000, n = 200, p = 400")
    for name, value in zip(("streaming", "dense", "plain NumPy"), np.median(seconds, axis=0), strict=True):
        print(f"    {name:12}{value * 1e6:>12.1f} µs")
    print(f"    plain / streaming {ratio(seconds, 0, 2):.0f}, plain / dense {ratio(seconds, 1, 2):.2f}")
    trials = CHUNKS * many
    runs = side_by_side(
        lambda: ra.simulate(**PAPER, trials=trials, method="streaming", seed=0, workers=2),
        lambda: ra.simulate(**PAPER, trials=trials, method="streaming", seed=0, workers=1),
        repeats=repeats,
    )
    print(f"    one worker / two workers {ratio(runs, 0, 1):.2f}")


def plot(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.6), layout="constrained")
    ax = figure.subplots()
    for (name, (sizes, seconds)), style in zip(curves.items(), ("o-", "s--"), strict=True):
        ax.loglog(sizes, seconds, style, label=f"{name}, slope {slope(sizes, seconds):.2f}")
    ax.set(xlabel="n = p", ylabel="seconds per draw")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10**6, help="n = p of the column (default: %(default)s)")
    parser.add_argument("--largest", type=int, default=10**7, help="n = p at most (default: %(default)s)")
    parser.add_argument("--largest-dense", type=int, default=2000, help="the same, dense (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="alternating rounds (default: %(default)s)")
    parser.add_argument("--out", help="picture of time against size")
    parser.add_argument(
        "--draw", type=int, nargs="+", help="only draw once at each n = p, and print the peak MB so far"
    )
    arguments = parser.parse_args()
    if arguments.draw is not None:
        import resource  # not on every platform

        unit = 1 if sys.platform == "darwin" else 1024
        for size in arguments.draw:
            streaming.isotropic(oracle(size)).sample(np.random.SeedSequence(0), 1)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
        return
    with threadpool_limits(1, user_api="blas"):
        column(arguments.size, arguments.repeats)
        curves = against_size(arguments.largest, arguments.largest_dense, max(arguments.repeats // 3, 1))
        small, large = peak_memory(1000, arguments.largest)
        print(f"Peak memory: {small:.1f} MB at n = p = 1000, {large:.1f} MB at {arguments.largest}")
        paper(arguments.repeats)
    if arguments.out:
        plot(curves, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
