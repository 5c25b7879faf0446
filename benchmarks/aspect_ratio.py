"""Sweep both ratios of dimension and sample size, η = p/n and η̃ = p/N: theory, exact draws and dense draws.

    python -m benchmarks.aspect_ratio --out aspect_ratio.png

The setting is that of the α-LoRA paper's Figure 2 (arXiv 2510.21345) at β = .8, all lengths and penalties 1, but with
N = p/η̃ instead of one N, and n = 100, half of its n, for the sake of the dense draws. At each pair (η, η̃):

- α*, by theory and as the best α of the mean margin law of the draws, with a standard error by the jackknife;
- the accuracies at α = 0, 1 and α*, with z. Streaming draws are so cheap that the O(1/n) bias of theory shows in their
  z against its first order, and not against its second; dense draws are few, and held against the streaming mean.
"""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import rmt_alpha as ra
from benchmarks.reports import Keep, table
from benchmarks.simulators import ALPHAS, draws_at, plain_draw, plain_numbers
from benchmarks.suite import Agreement, Case, Pair, in_standard_errors
from rmt_alpha.plots import COLOURS

ETA_SOURCE = (0.05, 0.5, 5.0)
ENDS = (0.1, 10.0)
"""Range of η."""

BLOCKS = 20
"""Of the draws, for the jackknife."""

NAMES = ("α = 0", "α = 1", "α*")

MARKERS = ("o", "s", "^")


def problem(eta: Any, eta_source: float, n: int) -> dict[str, Any]:
    """Return the setting at pairs of ratios."""
    p = np.asarray(eta) * n
    return {"beta": 0.8, "n": n, "p": p, "gamma": 1.0, "n_source": p / eta_source, "gamma_source": 1.0}


def rounded(eta: float, eta_source: float, n: int) -> dict[str, Any]:
    """Return the same with sizes that can be drawn."""
    setting = problem(eta, eta_source, n)
    return setting | {name: max(round(float(setting[name])), 1) for name in ("p", "n_source")}


def best(run: ra.Simulation) -> tuple[float, float]:
    """Return the best α of the mean law of the draws, with its standard error by the jackknife."""
    parts = np.array_split(np.arange(len(run.law.mean)), BLOCKS)
    mean, cov = (np.array([numbers[part].sum(axis=0) for part in parts]) for numbers in (run.law.mean, run.law.cov))
    count = len(run.law.mean)
    whole = ra.MarginLaw(mean.sum(axis=0) / count, cov.sum(axis=0) / count)
    left = np.array([count - len(part) for part in parts])
    rest = ra.MarginLaw((mean.sum(axis=0) - mean) / left[:, None], (cov.sum(axis=0) - cov) / left[:, None, None])
    spread = np.asarray(rest.optimal_alpha()).std(ddof=0) * (BLOCKS - 1) ** 0.5
    return float(whole.optimal_alpha()), float(spread)


def at(eta: float, eta_source: float, n: int, trials: int, dense_trials: int) -> dict[str, Any]:
    """Return theory and draws at a pair of ratios: plain data."""
    setting = rounded(eta, eta_source, n)
    star = [float(ra.optimal_alpha(**setting, order=order)) for order in (1, 2)]
    alphas = np.array([0.0, 1.0, star[0]])
    result = {"p": setting["p"], "n_source": setting["n_source"], "alpha": star}
    result["theory"] = [np.asarray(ra.accuracy(alphas, **setting, order=order)).tolist() for order in (1, 2)]
    for role, (method, count) in enumerate((("streaming", trials), ("dense", dense_trials))):
        seed = np.random.SeedSequence([setting["p"], setting["n_source"], role])
        run = ra.simulate(**setting, trials=count, seed=seed, method=method)
        found = run.accuracy(alphas)
        if method == "streaming":
            result |= {"streaming": [found.value.tolist(), found.stderr.tolist()], "best": best(run)}
        else:
            result["dense"] = found.value.tolist()
    return result


def study(keep: Keep, points: int, n: int, trials: int, dense_trials: int) -> list[dict[str, Any]]:
    """Return the results at all pairs, the η of one η̃ after the other."""
    eta = np.geomspace(*ENDS, points).round(4).tolist()
    common = {"n": n, "trials": trials, "dense_trials": dense_trials}
    tasks = [{"eta": e, "eta_source": e_s, **common} for e_s in ETA_SOURCE for e in eta]
    found = keep.map(at, tasks, "ratios")
    return [task | result for task, result in zip(tasks, found, strict=True)]


def scores(result: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return z of α* and of accuracies, against theory to first and second order, and of dense to streaming draws."""
    value, error = np.array(result["streaming"])
    # the few dense draws follow the same law, so that the spread of the many streaming ones is theirs as well
    dense_error = error * np.sqrt(1 + result["trials"] / result["dense_trials"])
    z_best = (result["best"][0] - np.array(result["alpha"])) / result["best"][1]
    return z_best, (value - np.array(result["theory"])) / error, (np.array(result["dense"]) - value) / dense_error


def text(found: list[dict[str, Any]]) -> str:
    rows = []
    for result in found:
        z_best, z, z_dense = scores(result)
        cells = [f"{result['eta']:.3g}", f"{result['eta_source']:g}", f"{result['alpha'][0]:.3f}"]
        cells += ["{:.3f} ± {:.3f}".format(*result["best"]), f"{z_best[0]:+.1f} / {z_best[1]:+.1f}"]
        for i in range(len(NAMES)):
            value, error = (numbers[i] for numbers in result["streaming"])
            cells += [f"{result['theory'][0][i]:.4f}", f"{value:.4f} ± {error:.4f}"]
            cells += [f"{z[0, i]:+.1f} / {z[1, i]:+.1f}", f"{z_dense[i]:+.1f}"]
        rows.append(cells)
    columns = [cell for name in NAMES for cell in (f"accuracy, {name}", "streaming", "z, order 1 / 2", "z, dense")]
    return table(["η", "η̃", "α*", "of the draws", "z, order 1 / 2", *columns], rows)


def summary(found: list[dict[str, Any]]) -> str:
    """Say how far draws and theory are apart, in standard errors and as numbers."""
    z_best, z, z_dense = map(np.array, zip(*map(scores, found), strict=True))
    bias = max(np.abs(np.array(r["streaming"][0]) - r["theory"][0]).max() for r in found)
    apart = max(abs(r["best"][0] - r["alpha"][0]) for r in found)
    of_best, of_accuracy = np.median(np.abs(z_best), axis=0), np.median(np.abs(z), axis=(0, 2))
    return (
        f"{len(found)} pairs (η, η̃), n = {found[0]['n']}, {found[0]['trials']:,} streaming draws at each. α* of the "
        f"draws is off by at most {apart:.3f}, their accuracies by at most {1e3 * bias:.1f} thousandths: in the "
        f"median by {of_best[0]:.1f} and {of_accuracy[0]:.1f} standard errors from theory, and by {of_best[1]:.1f} and "
        f"{of_accuracy[1]:.1f} from theory to second order. Dense against streaming draws: largest |z| "
        f"{np.abs(z_dense).max():.1f} of {z_dense.size}.\n"
    )


def plot(found: list[dict[str, Any]], path: str | Path) -> None:
    """Draw α*, and the accuracies at α = 1 and α*, against η for each η̃; below, z of α* and of the accuracies at α*."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.4), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, height_ratios=(2.4, 1))
    n = found[0]["n"]
    for eta_source, colour, marker in zip(ETA_SOURCE, COLOURS, MARKERS, strict=False):
        mine = [result for result in found if result["eta_source"] == eta_source]
        fine, eta = np.geomspace(*ENDS, 200), np.array([result["p"] / n for result in mine])
        setting = problem(fine, eta_source, n)
        star = ra.optimal_alpha(**setting)
        axes[0, 0].plot(fine, star, color=colour, label=f"η̃ = {eta_source:g}")
        value, error = np.array([result["best"] for result in mine]).T
        dots = {"fmt": marker, "color": colour, "ms": 4, "lw": 1}
        axes[0, 0].errorbar(eta, value, 2 * error, **dots)
        axes[0, 1].plot(fine, ra.accuracy(star, **setting), color=colour)
        axes[0, 1].plot(fine, ra.accuracy(1.0, **setting), "--", color=colour, lw=1)
        for i in (1, 2):
            value, error = np.array([np.array(result["streaming"])[:, i] for result in mine]).T
            axes[0, 1].errorbar(eta, value, 2 * error, **dots, mfc=colour if i == 2 else "white")
        z = [scores(result) for result in mine]
        axes[1, 0].plot(eta, [one[0][1] for one in z], marker, color=colour, ms=4)
        axes[1, 1].plot(eta, [one[1][1, 2] for one in z], marker, color=colour, ms=4)
        axes[1, 1].plot(eta, [one[2][2] for one in z], marker, color=colour, ms=4, mfc="white")
    axes[0, 0].axhline(1.0, color="0.6", lw=0.8)
    axes[0, 0].set(xscale="log", ylabel="α*")
    axes[0, 1].set(ylabel="accuracy")
    for ax in axes[1]:
        ax.axhspan(-3, 3, color="0.92", zorder=0)
        ax.set(xlabel="η = p/n", ylabel="z", ylim=(-4.5, 6.5))
    styles = {"fontsize": 7, "frameon": False}
    axes[0, 0].legend(**styles)
    key = [axes[0, 1].plot([], [], f"k{line}", lw=1)[0] for line in ("-", "--")]
    axes[0, 1].legend(key, ["at α*", "at α = 1"], **styles)
    key = [axes[1, 1].plot([], [], "ko", ms=4, mfc=fill)[0] for fill in ("k", "white")]
    axes[1, 1].legend(
        key, ["draws − theory", "dense − streaming"], **styles, ncols=2, handletextpad=0.2, loc="upper center"
    )
    for ax in axes.ravel():
        ax.tick_params(labelsize=8)
    figure.savefig(path, dpi=150)


def against_one_draw(p: int) -> Pair:
    """Return what theory says at one pair of ratios, and one experiment in plain NumPy."""
    setting = rounded(p / 200, p / 2000, 200)
    rng = np.random.default_rng(1)

    def ours() -> tuple[Any, Any]:
        return ra.optimal_alpha(**setting), ra.accuracy(ALPHAS, **setting)

    def agreement() -> Agreement:
        drawn = np.array([plain_numbers(rng, setting) for _ in range(draws_at(p))])
        theory = ra.fluctuations(**setting)
        return in_standard_errors(drawn.mean(axis=0) - theory.numbers, theory.std / len(drawn) ** 0.5)

    return Pair(ours, partial(plain_draw, rng, setting), agreement)


CASES = {
    "dimension-ratios": Case(
        "α* and accuracies at 3 α, n = 200, N = 2000 (the paper's Figure 2)",
        "one draw of the experiment in plain NumPy",
        "p",
        against_one_draw,
        sizes=(20, 50, 100, 200, 500, 1000),
        quick=(20, 50),
        alone=(1_000_000,),
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=100, help="target samples (default: %(default)s)")
    parser.add_argument("--points", type=int, default=9, help="values of η from .1 to 10 (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=4000, help="streaming draws at each pair (default: %(default)s)")
    parser.add_argument("--dense-trials", type=int, default=10, help="dense draws at each pair (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="JSON lines with what is finished: read first, then added to")
    parser.add_argument("--out", help="picture")
    arguments = parser.parse_args()

    sizes = arguments.points, arguments.n, arguments.trials, arguments.dense_trials
    found = study(Keep(arguments.keep), *sizes)
    print(f"n = {arguments.n}, {arguments.trials} streaming and {arguments.dense_trials} dense draws at each pair")
    print(text(found))
    print(summary(found))
    if arguments.out:
        plot(found, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
