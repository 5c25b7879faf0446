"""Time the simulators: against random numbers, against their size, and against plain NumPy.

    python benchmarks/simulators.py --out simulators.png

- the streaming sampler's target step, per column, against four standard normal numbers drawn one by one from the same
  kind of generator in compiled code,
- time per draw against size, both methods, with fitted slopes,
- peak memory of a small and of a large draw, each in a process of its own,
- one draw of the paper's shape (N = 5000, n = 200, p = 400) by both methods, against the experiment in plain NumPy that
  a person would otherwise write: for one α, with a test set; and two workers against one.

Figures are medians over alternating rounds; BLAS runs on one thread.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from threadpoolctl import threadpool_limits
from timing import ratio, side_by_side, slope

import rmt_alpha as ra
from rmt_alpha.problem import Experiment
from rmt_alpha.simulation import dense, streaming

PAPER: dict[str, Any] = {"beta": 0.8, "n": 200, "p": 400, "gamma": 0.5, "n_source": 5000, "gamma_source": 1.0}


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
    seeds = iter(np.random.SeedSequence(0).spawn(10_000))
    return lambda: sampler.sample(next(seeds), trials)


def plain_numpy(rng: np.random.Generator, alpha: float = 1.0) -> float:
    """Return the accuracy of one experiment of the paper's shape, as one writes it from the paper."""
    beta, n, p, gamma, n_source, gamma_source = PAPER.values()
    mu, mu_perp = np.zeros(p), np.zeros(p)
    mu[0] = mu_perp[1] = 1.0
    mu_beta = beta * mu + np.sqrt(1 - beta**2) * mu_perp

    def data(size: int, mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y = rng.choice([-1.0, 1.0], size)
        return np.outer(y, mean) + rng.standard_normal((size, p)), y

    X, y = data(n_source, mu)
    source = np.linalg.solve(X.T @ X / n_source + gamma_source * np.eye(p), np.eye(p)) @ (X.T @ y / n_source)
    X, y = data(n, mu_beta)
    resolvent = np.linalg.solve(X.T @ X / n + gamma * np.eye(p), np.eye(p))
    w = resolvent @ (X.T @ y / n + alpha * gamma * source)
    X, y = data(20 * n, mu_beta)
    return float(np.mean(y * (X @ w) > 0))


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


def peak_memory(size: int) -> float:
    """Return the peak memory, in MB, of a process that draws once."""
    done = subprocess.run([sys.executable, __file__, "--draw", str(size)], capture_output=True, text=True, check=True)
    return float(done.stdout)


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
    trials = 24 * many
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
    parser.add_argument("--draw", type=int, help="only draw once at n = p = DRAW, and print the peak memory in MB")
    arguments = parser.parse_args()
    if arguments.draw is not None:
        import resource  # not on every platform

        streaming.isotropic(oracle(arguments.draw)).sample(np.random.SeedSequence(0), 1)
        unit = 1 if sys.platform == "darwin" else 1024
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)
        return
    with threadpool_limits(1, user_api="blas"):
        column(arguments.size, arguments.repeats)
        curves = against_size(arguments.largest, arguments.largest_dense, max(arguments.repeats // 3, 1))
        small, large = peak_memory(1000), peak_memory(arguments.largest)
        print(f"Peak memory: {small:.1f} MB at n = p = 1000, {large:.1f} MB at {arguments.largest}")
        paper(arguments.repeats)
    if arguments.out:
        plot(curves, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
