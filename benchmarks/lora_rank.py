"""Adapters of small rank on a head of several classes: accuracy against α, and how the best α moves with the rank.

    python -m benchmarks.lora_rank --docs docs/benchmarks/lora --keep rank.jsonl

Six Gaussian classes; the means of the target's are those of the source's times β plus √(1−β²) times others, or all but
two are the same. Heads are trained by squared loss on centred one-hot targets: the source's by ridge on plenty of
samples, the target's, on few, with α times the source's frozen and a ridge γ on the update, whose rank is limited. A
class is predicted where its output is largest. All layers are exact (`rmt_alpha.ridge.reduced_rank_ridge`) and see the
same fresh test points. Centred targets sum to 0, so that rank C − 1 is full rank for C classes, and rank C the same.

- for each relation, γ and rank: the α of highest mean accuracy (of a cubic spline through the points) and the accuracy
  there, that at α = 1, their difference, and how far both are from full rank at its own best α; in per cent. Standard
  errors are by bootstrap over the draws, of means, samples and test points; bars and bands of the picture are two.
  Rank 0 is the source's head, whose predictions are the same for all α > 0,
- trained layers against exact ones, in the fitted values of the samples.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from benchmarks.reports import Keep, table, versions, write
from rmt_alpha.lora import Adam, AlphaLoRALinear, train
from rmt_alpha.ridge import reduced_rank_ridge

LENGTH, GAMMA_SOURCE = 3.0, 0.1

LAST = 4.0
"""The grid of α is from -0.5 to here."""

RESAMPLES = 400


def blend(beta: float) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda old, other: beta * old + (1.0 - beta**2) ** 0.5 * other


def two_moved(old: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.concatenate([other[:2], old[2:]])


RELATIONS = {
    "closely related, β = 0.9": blend(0.9),
    "weakly related, β = 0.3": blend(0.3),
    "two classes moved": two_moved,
}

Data = tuple[np.ndarray, np.ndarray]


def centred(means: np.ndarray) -> np.ndarray:
    return means - means.mean(axis=0)


def samples(means: np.ndarray, n: int, rng: np.random.Generator) -> Data:
    classes = rng.integers(0, len(means), n)
    return means[classes] + rng.standard_normal((n, means.shape[1])), classes


def one_hot(classes: np.ndarray, size: int) -> np.ndarray:
    return np.eye(size)[classes] - 1.0 / size


def problem(relation: str, seed: int, p: int, n: int, n_source: int, classes: int, n_test: int) -> list[Any]:
    """Return the source's head, and samples of the target to train on and to test on.

    All relations share their random numbers.
    """
    rng = np.random.default_rng(seed)
    old, other = LENGTH / p**0.5 * rng.standard_normal((2, classes, p))
    new = centred(RELATIONS[relation](old, other))
    X, labels = samples(centred(old), n_source, rng)
    head = reduced_rank_ridge(X, one_hot(labels, classes), None, GAMMA_SOURCE, 0.0, classes)
    return [head, samples(new, n, rng), samples(new, n_test, rng)]


def draw(gamma: float, step: float, **setting: Any) -> dict[str, Any]:
    """Return how many test points are right, for each α and each rank from 0 to C − 1."""
    head, (X, labels), (X_test, truth) = problem(**setting)
    alphas, C = grid(step), len(head)
    Y = one_hot(labels, C)
    right = [
        [
            int(np.sum(np.argmax(X_test @ reduced_rank_ridge(X, Y, head, gamma, alpha, rank).T, axis=1) == truth))
            for rank in range(C)
        ]
        for alpha in alphas
    ]
    return {"right": right}


def grid(step: float) -> np.ndarray:
    return np.linspace(-0.5, LAST, round((LAST + 0.5) / step) + 1)


def trained(gamma: float, alpha: float, rank: int, steps: int, **setting: Any) -> dict[str, Any]:
    """Train a layer, and return how far its fitted values are from the exact ones, and how well these are determined.

    The latter is the quotient of the first singular value left out to the last one kept.
    """
    head, (X, labels), _ = problem(**setting)
    Y = one_hot(labels, len(head))
    layer = AlphaLoRALinear(
        head, alpha=alpha, train_alpha=False, rank=rank, lora_alpha=1.5 * rank, init="uniform", seed=setting["seed"]
    )
    train(layer, X, Y, ridge=gamma, steps=steps, optimizer=Adam(1e-2))
    exact, full = (reduced_rank_ridge(X, Y, head, gamma, alpha, r) for r in (rank, len(head)))
    update = full - alpha * head
    fitted = np.concatenate([X @ update.T / len(X) ** 0.5, gamma**0.5 * update.T])
    values = np.append(np.linalg.svd(fitted, compute_uv=False), 0.0)
    off = np.abs(X @ (layer.merge()[0] - exact).T).max() / np.abs(X @ exact.T).max()
    return {"off": float(off), "gap": float(values[rank] / values[rank - 1])}


def top(alphas: np.ndarray, curve: np.ndarray) -> tuple[float, float]:
    """Return where a smooth curve through the points is highest, and its height there."""
    fine = np.linspace(alphas[0], alphas[-1], 10 * len(alphas) - 9)
    values = CubicSpline(alphas, curve)(fine)
    return float(fine[np.argmax(values)]), float(values.max())


def summary(alphas: np.ndarray, accuracy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return what the table tells of each rank, shape (ranks, 6), with its standard error.

    The columns are the best α, the accuracy there and at α = 1, their difference, and how far both are from full rank.
    """

    def numbers(mean: np.ndarray) -> np.ndarray:
        one = mean[np.argmin(np.abs(alphas - 1.0))]
        best = np.array([(1.0, one[0]), *(top(alphas, curve) for curve in mean.T[1:])])  # all α > 0 are one at rank 0
        full = best[-1, 1]
        return np.column_stack([best, one, best[:, 1] - one, best[:, 1] - full, one - full])

    rng, size = np.random.default_rng(0), len(accuracy)
    resampled = (accuracy[rng.integers(0, size, size)].mean(axis=0) for _ in range(RESAMPLES))
    return numbers(accuracy.mean(axis=0)), np.std([numbers(mean) for mean in resampled], axis=0, ddof=1)


def curves_table(results: dict[tuple[str, float], np.ndarray], alphas: np.ndarray) -> str:
    rows = []
    for (relation, gamma), accuracy in results.items():
        values, errors = summary(alphas, accuracy)
        for rank, (value, error) in enumerate(zip(values, errors, strict=True)):
            cells = [f"{100 * v:.1f} ± {100 * e:.1f}" for v, e in zip(value[1:], error[1:], strict=True)]
            best = f"{value[0]:.2f} ± {error[0]:.2f}" if value[0] < LAST - 0.05 else f"≥ {LAST:g}"
            rows.append((relation, f"{gamma:g}", f"{rank}", best if rank else "–", *cells))
    away = ("best, minus full rank", "α = 1, minus full rank")
    return table(("relation", "γ", "rank", "best α", "accuracy there", "at α = 1", "difference", *away), rows)


def trained_table(checks: list[tuple[dict[str, Any], dict[str, Any]]]) -> str:
    rows = [
        (c["relation"], f"{c['gamma']:g}", f"{c['alpha']:g}", f"{c['rank']}", f"{r['gap']:.2f}", f"{r['off']:.0e}")
        for c, r in checks
    ]
    return table(("relation", "γ", "α", "rank", "next / last singular value", "trained − exact, relative"), rows)


def plot(results: dict[tuple[str, float], np.ndarray], alphas: np.ndarray, path: str | Path) -> None:
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    gammas = list(dict.fromkeys(gamma for _, gamma in results))
    figure = Figure(figsize=(9.0, 2.8 * len(gammas)), layout="constrained")
    axes = figure.subplots(len(gammas), len(RELATIONS), sharex=True, sharey="col", squeeze=False)
    for (relation, gamma), accuracy in results.items():
        ax = axes[gammas.index(gamma), list(RELATIONS).index(relation)]
        values, errors = summary(alphas, accuracy)
        mean, spread = accuracy.mean(axis=0), 2.0 * accuracy.std(axis=0, ddof=1) / len(accuracy) ** 0.5
        for rank in range(mean.shape[1]):
            colour = colormaps["viridis"](0.95 * rank / mean.shape[1])
            style = ":" if rank == 0 else "-"
            ax.plot(alphas, mean[:, rank], style, color=colour, lw=1.2, label=f"rank {rank}")
            band = (mean - spread)[:, rank], (mean + spread)[:, rank]
            ax.fill_between(alphas, *band, color=colour, alpha=0.2, lw=0)
            if rank:
                at, error = values[rank, :2], 2.0 * errors[rank, 0]
                ax.errorbar(*at, xerr=error, fmt="os^Dv"[(rank - 1) % 5], color=colour, mec="k", ms=5)
        ax.axvline(1.0, color="k", lw=0.8, ls="--")
        ax.set_title(f"{relation}; γ = {gamma:g}", fontsize=9)
        ax.grid(alpha=0.3)
    for ax in axes[-1]:
        ax.set(xlabel="α", ylim=(0.15, None))
    for ax in axes[:, 0]:
        ax.set_ylabel("test accuracy")
    axes[0, 0].legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path, dpi=84)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=int, default=100, help="features (default: %(default)s)")
    parser.add_argument("--n", type=int, default=60, help="target samples (default: %(default)s)")
    parser.add_argument("--n-source", type=int, default=2000, help="source samples (default: %(default)s)")
    parser.add_argument("--classes", type=int, default=6, help="at least 3 (default: %(default)s)")
    parser.add_argument("--gammas", type=float, nargs="+", default=[0.1, 1.0], help="ridges (default: 0.1 1)")
    parser.add_argument("--draws", type=int, default=150, help="for each relation and γ (default: %(default)s)")
    parser.add_argument("--tests", type=int, default=2000, help="test points in each draw (default: %(default)s)")
    parser.add_argument("--step", type=float, default=0.1, help="of α; divides 1/2 (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=6000, help="of training, to check (default: %(default)s)")
    parser.add_argument("--keep", help="file of finished draws, to go on from")
    parser.add_argument("--out", help="picture")
    parser.add_argument("--docs", help="folder for picture and tables")
    arguments = parser.parse_args()
    keep, alphas, gammas = Keep(arguments.keep), grid(arguments.step), arguments.gammas
    sizes = {"p": arguments.p, "n": arguments.n, "n_source": arguments.n_source, "classes": arguments.classes}

    cases = [
        {"relation": relation, "gamma": gamma, "alpha": alpha, "rank": rank}
        for relation in RELATIONS
        for gamma, alpha, rank in ((gammas[0], 0.5, 1), (gammas[0], 2.5, 3), (gammas[-1], 1.0, 2))
    ]
    options = {"steps": arguments.steps, "seed": 0, "n_test": 1, **sizes}
    checks = list(zip(cases, keep.map(trained, [case | options for case in cases], "trainings"), strict=True))

    kinds = [(relation, gamma) for relation in RELATIONS for gamma in gammas]
    options = {"step": arguments.step, "n_test": arguments.tests, **sizes}
    tasks = [{"relation": r, "gamma": g, "seed": s, **options} for s in range(arguments.draws) for r, g in kinds]
    right = [one["right"] for one in keep.map(draw, tasks, "draws")]
    results = {kind: np.array(right[i :: len(kinds)]) / arguments.tests for i, kind in enumerate(kinds)}

    command = " ".join(f"--{name.replace('_', '-')} {size}" for name, size in sizes.items())
    about = (
        f"`python -m benchmarks.lora_rank {command} --gammas {' '.join(f'{g:g}' for g in gammas)} "
        f"--draws {arguments.draws} --tests {arguments.tests} --step {arguments.step:g} --steps {arguments.steps}`; "
        f"{arguments.draws} draws for each relation and γ, common to all. {versions()}.\n"
    )
    text = "\n".join([curves_table(results, alphas), trained_table(checks), about])
    print(text)
    if arguments.docs:
        write(arguments.docs, "lora_rank", text, lambda path: plot(results, alphas, path))
    if arguments.out:
        plot(results, alphas, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
