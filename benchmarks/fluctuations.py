"""The spread and the bias of exact finite-size draws, beside what the theory of fluctuations says of them.

    python -m benchmarks.fluctuations all --keep fluctuations.jsonl --docs docs/benchmarks/fluctuations

- spread: standard deviations of the five numbers, of accuracies at α = 0, 1 and α*, and of each draw's own α*, and the
  correlations of the five numbers, at shapes with n, p ≥ 1000,
- small: the same standard deviations from n = 20 on, at fixed ratios,
- coverage: how many accuracies lie in their prediction intervals, and how Gaussian they are,
- order: means of the five numbers at small n beside the limit and beside the limit plus bias; slopes on log-log axes,
- cost: seconds of the theory, beside those of a simulation that is as good.

Errors (±) are one Monte-Carlo standard error: that of a standard deviation is made of the sample's fourth moment.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy import special

import rmt_alpha as ra
from benchmarks.convergence import slope
from benchmarks.reports import Keep, table, versions
from benchmarks.suite import Agreement, Case, Pair, in_standard_errors
from benchmarks.timing import ratio, side_by_side
from rmt_alpha.laws import flatten
from rmt_alpha.plots import COLOURS
from rmt_alpha.simulation.experiment import Simulation
from rmt_alpha.spread import Fluctuations

Problem = dict[str, Any]

NUMBERS = ("M₀", "M₁", "V₀₀", "V₀₁", "V₁₁")
ACCURACIES = ("α = 0", "α = 1", "α*")
BATCH = 10**6
"""Draws of one simulation: about 100 MB."""


def problem(beta: float, n: int, p: int, gamma: float, norms: tuple[float, float] = (1.2, 0.9), **more: Any) -> Problem:
    """Return a problem; `trained` = (N, γ̃) and `noise` = (ε, ε̃) may be added."""
    result: Problem = {"beta": beta, "n": n, "p": p, "gamma": gamma, "mu": norms[0], "mu_perp": norms[1]}
    if "trained" in more:
        result["n_source"], result["gamma_source"] = more["trained"]
    if "noise" in more:
        result["label_noise"], result["label_noise_source"] = more["noise"]
    return result


LARGE = (
    problem(0.8, 100_000, 1000, 0.3),
    problem(0.7, 40_000, 1200, 1e-3, noise=(0.2, 0)),
    problem(0.6, 20_000, 2000, 2, trained=(2000, 0.5), noise=(0.05, 0.1)),
    problem(0.8, 5000, 1000, 1e3, trained=(5000, 0.1)),
    problem(-0.6, 2000, 1000, 0.05, (2, 0.5), trained=(3000, 1)),
    problem(0.8, 1500, 1000, 0.2, trained=(1000, 0.2), noise=(0.2, 0.1)),
    problem(0.8, 1200, 1000, 0.01, trained=(1100, 0.05)),
    problem(0.7, 2000, 2000, 0.3),
    problem(0.7, 2000, 2000, 1e-3),
    problem(0.9, 1000, 1000, 30, (1.5, 1), trained=(1000, 3), noise=(0.1, 0.15)),
    problem(0.5, 1000, 1500, 0.1, (0.5, 1.5), trained=(4000, 5)),
    problem(0.8, 1000, 2000, 1e3, trained=(4000, 1), noise=(0.05, 0.05)),
    problem(0.8, 1000, 2500, 0, noise=(0.1, 0)),
    problem(0.8, 1000, 3000, 1e-3, trained=(3000, 0.1)),
    problem(0.6, 1000, 10_000, 0.1, (1.5, 1.5), trained=(2000, 2), noise=(0.3, 0)),
    problem(0.9, 1000, 100_000, 0.1, (3, 2), trained=(1500, 1)),
)
"""η from .01 to 100, γ from 0 and 1e-3 to 1e3, N ≈ p among them."""


def n_above_p(n: int) -> Problem:
    """Return a problem with n = 2p, a trained source with N = n, noisy labels on both sides."""
    return problem(0.7, n, n // 2, 0.3, trained=(n, 0.5), noise=(0.1, 0.05))


def n_equals_p(n: int) -> Problem:
    """Return a problem with n = p and the oracle."""
    return problem(0.8, n, n, 0.3)


def n_below_p(n: int) -> Problem:
    """Return a problem with p = 2.5n, a trained source with N = 2n, noisy labels on both sides."""
    return problem(0.8, n, 5 * n // 2, 0.3, trained=(2 * n, 0.5), noise=(0.1, 0.05))


def n_below_p_stiff(n: int) -> Problem:
    """Return a problem with p = 1.5n, a small penalty and the oracle."""
    return problem(0.8, n, 3 * n // 2, 0.05)


def ordinary(n: int) -> Problem:
    """Return a problem with p = 1.5n, a trained source with N = 4n, a few noisy labels on both sides."""
    return problem(0.7, n, 3 * n // 2, 0.3, trained=(4 * n, 1), noise=(0.05, 0.05))


SMALL: dict[str, Callable[[int], Problem]] = {
    "n = 2p, N = n, noisy labels": n_above_p,
    "n = p, oracle": n_equals_p,
    "p = 2.5n, N = 2n, noisy labels": n_below_p,
}
SIZES = (20, 40, 80, 160, 320, 640, 1280)

COVERED = (
    problem(0.8, 4000, 400, 0.3),
    problem(0.7, 1000, 400, 0.05, trained=(400, 0.3), noise=(0.1, 0.1)),
    problem(0.8, 500, 450, 0.1, trained=(2000, 1)),
    problem(0.8, 400, 400, 0.3),
    problem(0.6, 400, 400, 10, (0.6, 1.2), trained=(400, 1), noise=(0.2, 0)),
    ordinary(400),
    problem(-0.7, 400, 1000, 0, (1.5, 0.7)),
    problem(0.9, 400, 4000, 0.5, (2, 1), trained=(600, 2), noise=(0, 0.2)),
    problem(0.5, 400, 2000, 100, (0.8, 0.8), trained=(5000, 5)),
)
BREAKING = (
    *map(ordinary, (20, 50, 100, 200)),
    problem(0.8, 400, 400, 1e-4),
    problem(0.8, 400, 50, 0.1),
    problem(0.8, 400, 20, 0.1),
    problem(0.8, 20_000, 5, 0.1),
)
"""Few samples; many, of which a tiny penalty leaves few degrees of freedom; few dimensions."""

MEANS = (
    problem(0.8, 50, 50, 0.3),
    problem(0.7, 50, 50, 0.5, trained=(100, 0.5), noise=(0.1, 0.05)),
    problem(0.8, 20, 20, 1),
    problem(0.8, 20, 40, 1, trained=(80, 1)),
    problem(0.6, 20, 200, 0.3, (1.5, 1.5), trained=(100, 1)),
    problem(0.9, 25, 100, 0.05, (0.7, 1.3)),
    problem(0.7, 30, 60, 0.2, trained=(30, 0.5), noise=(0.2, 0.1)),
    problem(0.8, 35, 30, 0.1),
    problem(0.8, 40, 20, 0.5, noise=(0.15, 0)),
    problem(-0.6, 60, 30, 0.1, (2, 0.5), trained=(60, 0.3)),
    problem(0.7, 100, 25, 2, trained=(25, 1), noise=(0.1, 0.1)),
)

SLOPES: dict[str, tuple[Callable[[int], Problem], tuple[int, ...], float]] = {
    "n = p, oracle": (n_equals_p, (10, 14, 20, 28, 40), 1.0),
    "p = 1.5n, small γ, oracle": (n_below_p_stiff, (8, 12, 16, 24, 32), 0.5),
    "n = 2p, N = n, noisy labels": (n_above_p, (8, 12, 16, 24), 0.8),
}
"""What grows, its n for the remainder, and how many draws it gets, in units of the option's number times n."""

LARGER = (48, 72, 108)
"""n for the gap, with the number of draws of other small shapes: there its leading term is all that is seen."""

PRECISE = 4.0
"""Standard errors that a remainder must be away from 0 at three sizes to have a slope."""

LEVELS = np.append(np.arange(0.05, 0.95, 0.05), [0.9, 0.95, 0.98, 0.99])
GRID = np.linspace(-3.5, 3.5, 57)
"""Normal quantiles of the QQ plots."""


# What is drawn: plain data, which can be kept.


def simulated(setting: Problem, draws: int, seed: int, batch: int = 0) -> Simulation:
    """Return a batch of exact draws."""
    root = np.random.SeedSequence(seed, spawn_key=(batch,))
    return ra.simulate(**setting, trials=draws, seed=root, method="streaming")


def accuracies(run: Simulation, alphas: Iterable[float]) -> np.ndarray:
    """Return the accuracy of every draw (row) at every α (column)."""
    return np.asarray(run.law.accuracy(np.array(list(alphas))[:, None])).T


def drawn_spread(setting: Problem, alphas: list[float], draws: int, seed: int) -> dict[str, Any]:
    """Return standard deviations, their relative errors, and the correlations of the five numbers."""
    run = simulated(setting, draws, seed)
    samples = np.column_stack([flatten(run.law), accuracies(run, alphas), run.optimal_alpha()])
    samples[:, ~np.isfinite(samples).all(axis=0)] = np.nan
    samples -= samples.mean(axis=0)
    variance = np.square(samples).mean(axis=0)
    excess = (samples**4).mean(axis=0) / variance**2 - 1.0
    return {
        "std": np.sqrt(variance * draws / (draws - 1)).tolist(),
        "error": (0.5 * np.sqrt(excess / draws)).tolist(),
        "correlation": run.fluctuations().correlation.tolist(),
    }


def drawn_coverage(setting: Problem, alphas: list[float], draws: int, seed: int) -> dict[str, Any]:
    """Return how many accuracies are in intervals of LEVELS, and quantiles at Φ(GRID) of what should be normal.

    That are the five numbers and Φ⁻¹ of the accuracies, standardised by the theory's mean and standard deviation.
    """
    run, spread = simulated(setting, draws, seed), ra.fluctuations(**setting)
    accuracy = accuracies(run, alphas)
    inside = []
    for level in LEVELS:
        low, high = spread.accuracy_interval(alphas, coverage=float(level))
        inside.append(((low <= accuracy) & (accuracy <= high)).mean(axis=0).tolist())
    ends = special.ndtri(spread.accuracy_interval(alphas, coverage=0.5))  # of Φ⁻¹(accuracy): quartiles
    middle, half = ends.mean(axis=0), 0.5 * (ends[1] - ends[0]) / special.ndtri(0.75)
    std = np.where(spread.std > 0.0, spread.std, np.nan)
    numbers = (flatten(run.law) - spread.numbers - spread.bias) / std
    standard = np.column_stack([numbers, (special.ndtri(accuracy) - middle) / half])
    return {"inside": inside, "quantiles": np.quantile(standard, special.ndtr(GRID), axis=0).T.tolist()}


def drawn_means(setting: Problem, draws: int, seed: int) -> dict[str, Any]:
    """Return the means of the five numbers, and their standard errors."""
    total, squares = np.zeros(5), np.zeros(5)
    for batch, first in enumerate(range(0, draws, BATCH)):
        count = min(BATCH, draws - first)
        estimate = simulated(setting, count, seed, batch).five_numbers()
        total += count * estimate.value
        squares += np.square(count * estimate.stderr)
    return {"mean": (total / draws).tolist(), "error": (np.sqrt(squares) / draws).tolist()}


# What is compared.


class Spread(NamedTuple):
    """Drawn over predicted standard deviations minus 1, with their errors; what the correlations are off at most."""

    setting: Problem
    draws: int
    off: np.ndarray
    error: np.ndarray
    correlation: float


class Coverage(NamedTuple):
    """Shares inside the intervals (level, α), and sample quantiles (five numbers and three accuracies, GRID)."""

    setting: Problem
    draws: int
    inside: np.ndarray
    quantiles: np.ndarray

    def at(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the shares at a level, with their errors by what they should be."""
        share = self.inside[np.flatnonzero(np.isclose(LEVELS, level))[0]]
        return share, np.full_like(share, np.sqrt(level * (1.0 - level) / self.draws))


class Means(NamedTuple):
    """Means of the draws minus the limit, and minus limit and bias, of the five numbers."""

    setting: Problem
    draws: int
    bias: np.ndarray
    gap: np.ndarray
    remainder: np.ndarray
    error: np.ndarray

    @property
    def good(self) -> np.ndarray:
        """Whether the remainder is within three standard errors or 5 % of the gap."""
        return np.abs(self.remainder) <= np.maximum(3.0 * self.error, 0.05 * np.abs(self.gap))


class Growth(NamedTuple):
    """Means along n at fixed ratios, small and larger, and the exponents with errors of gap and remainder there."""

    name: str
    small: list[Means]
    larger: list[Means]
    gap: np.ndarray
    remainder: np.ndarray


def predicted(spread: Fluctuations, alphas: list[float]) -> np.ndarray:
    """Return standard deviations of the five numbers, the accuracies and α*."""
    return np.array([*spread.std, *spread.accuracy_std(alphas), spread.optimal_alpha_std()])


def tasks_of(settings: Iterable[Problem], draws: Iterable[int]) -> list[dict[str, Any]]:
    return [
        {"setting": setting, "draws": count, "seed": seed}
        for seed, (setting, count) in enumerate(zip(settings, draws, strict=True))
    ]


def with_alphas(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [task | {"alphas": [0.0, 1.0, ra.optimal_alpha(**task["setting"])]} for task in tasks]


def spreads(keep: Keep, tasks: list[dict[str, Any]], desc: str) -> list[Spread]:
    """Compare standard deviations and correlations."""
    tasks = with_alphas(tasks)
    result = []
    for task, drawn in zip(tasks, keep.map(drawn_spread, tasks, desc), strict=True):
        spread = ra.fluctuations(**task["setting"])
        theory = predicted(spread, task["alphas"])
        over = np.array(drawn["std"]) / np.where(theory > 0.0, theory, np.nan)
        difference = np.abs(np.array(drawn["correlation"]) - spread.correlation)
        largest = float(np.nanmax(difference))
        result.append(Spread(task["setting"], task["draws"], over - 1, over * drawn["error"], largest))
    return result


def large_spreads(keep: Keep, draws: int) -> list[Spread]:
    """Part (spread): shapes with n, p ≥ 1000."""
    return spreads(keep, tasks_of(LARGE, [draws] * len(LARGE)), "spread")


def small_spreads(keep: Keep, draws: int) -> dict[str, list[Spread]]:
    """Part (small): along n; so many draws at the smallest, in all the same number of columns."""
    counts = [max(draws * SIZES[0] // n, 2) for n in SIZES]
    return {name: spreads(keep, tasks_of(map(kind, SIZES), counts), name) for name, kind in SMALL.items()}


def coverages(keep: Keep, draws: int) -> tuple[list[Coverage], list[Coverage]]:
    """Part (coverage): at the large shapes, and along n."""
    settings = [*COVERED, *BREAKING]
    tasks = with_alphas(tasks_of(settings, [draws] * len(settings)))
    result = [
        Coverage(task["setting"], draws, np.array(drawn["inside"]), np.array(drawn["quantiles"]))
        for task, drawn in zip(tasks, keep.map(drawn_coverage, tasks, "coverage"), strict=True)
    ]
    return result[: len(COVERED)], result[len(COVERED) :]


def means(keep: Keep, tasks: list[dict[str, Any]], desc: str) -> list[Means]:
    """Compare means."""
    result = []
    for task, drawn in zip(tasks, keep.map(drawn_means, tasks, desc), strict=True):
        spread = ra.fluctuations(**task["setting"])
        gap = np.array(drawn["mean"]) - spread.numbers
        result.append(
            Means(task["setting"], task["draws"], spread.bias, gap, gap - spread.bias, np.array(drawn["error"]))
        )
    return result


def small_means(keep: Keep, draws: int) -> list[Means]:
    """Part (order): at small shapes."""
    return means(keep, tasks_of(MEANS, [draws] * len(MEANS)), "order")


def exponent(n: np.ndarray, values: np.ndarray, error: np.ndarray) -> tuple[float, float]:
    """Return the exponent of n in values, with its error; nan where they are not resolved."""
    if (np.abs(values) > PRECISE * error).sum() < 3:
        return np.nan, np.nan
    return slope(n, values, error)


def growths(keep: Keep, draws: int, draws_larger: int) -> list[Growth]:
    """Part (order): along n, with `draws` times n draws, and beyond, where the remainder is too small to be seen."""
    result = []
    for name, (kind, sizes, share) in SLOPES.items():
        counts = [max(round(draws * share * n), 2) for n in sizes] + [draws_larger] * len(LARGER)
        n, first = np.array([*sizes, *LARGER], dtype=float), len(sizes)
        found = means(keep, tasks_of(map(kind, [*sizes, *LARGER]), counts), f"slopes, {name}")
        gap, remainder, error = (np.array([getattr(m, what) for m in found]) for what in ("gap", "remainder", "error"))
        columns = range(len(NUMBERS))
        of_gap = [exponent(n[first:], gap[first:, i], error[first:, i]) for i in columns]
        of_remainder = [exponent(n[:first], remainder[:first, i], error[:first, i]) for i in columns]
        result.append(Growth(name, found[:first], found[first:], np.array(of_gap), np.array(of_remainder)))
    return result


DRAWS = 556
"""Draws that give a standard deviation to 3 %."""


def cost_of(setting: Problem) -> Pair:
    """Return the standard deviations of a problem: by theory, and of exact draws."""

    def agreement() -> Agreement:
        drawn = drawn_spread(setting, [0.0, 1.0], DRAWS, 0)
        spread = ra.fluctuations(**setting)
        theory = np.array([*spread.std, *spread.accuracy_std([0.0, 1.0])])
        std, error = (np.array(drawn[name])[: theory.size] for name in ("std", "error"))
        return in_standard_errors(std - theory, std * error)

    ours = partial(ra.fluctuations, **setting)
    theirs = partial(ra.simulate, **setting, trials=DRAWS, seed=0, method="streaming", workers=1)
    return Pair(ours, theirs, agreement)


CASES = {
    "fluctuations": Case(
        "standard deviations of the five numbers, p = 1.5n, N = 4n",
        f"those of {DRAWS} exact draws (to 3 %), by the streaming sampler",
        "n",
        lambda n: cost_of(ordinary(n)),
        sizes=(100, 1000, 10_000),
        quick=(50, 100),
        alone=(1_000_000,),
    )
}


def costs(repeats: int) -> tuple[list[tuple[Problem, float, float, float]], float]:
    """Part (cost): milliseconds of one problem, seconds of DRAWS draws, their ratio; seconds of 10⁴ problems."""
    result = []
    for setting in (n_below_p(40), ordinary(400), problem(0.7, 10_000, 10_000, 0.3, trained=(10_000, 1))):
        pair = cost_of(setting)
        seconds = side_by_side(pair.ours, pair.theirs, repeats=repeats)
        ours, theirs = np.median(seconds, axis=0)
        result.append((setting, 1e3 * ours, theirs, ratio(seconds, 0, 1)))
    grid = ordinary(400) | {"beta": np.linspace(-1, 1, 100), "gamma": np.geomspace(1e-3, 1e3, 100)[:, None]}
    start = time.perf_counter()
    spread = ra.fluctuations(**grid)
    return result, (time.perf_counter() - start) * 10**4 / spread.numbers[..., 0].size


# Tables.


def described(setting: Problem) -> str:
    text = "β {beta:g}, n {n}, p {p}, γ {gamma:g}; norms {mu:g}, {mu_perp:g}".format(**setting)
    if "n_source" in setting:
        text += "; N {n_source}, γ̃ {gamma_source:g}".format(**setting)
    if "label_noise" in setting:
        text += "; ε {label_noise:g}".format(**setting)
        if "n_source" in setting:
            text += ", ε̃ {label_noise_source:g}".format(**setting)
    return text


def percent(off: float, error: float) -> str:
    if not np.isfinite(off) or error > 0.2:
        return "–"
    digits = 1 if error > 6e-4 else 2
    return f"{100 * off:+.{digits}f} ± {100 * error:.{digits}f}"


def spread_table(found: list[Spread]) -> str:
    names = [*NUMBERS, *(f"accuracy, {name}" for name in ACCURACIES), "own α*", "correlations"]
    rows = [
        [
            described(one.setting),
            *map(percent, one.off, one.error),
            f"{one.correlation:.4f}",
        ]
        for one in found
    ]
    worst = max(found, key=lambda one: np.nanmax(np.abs(one.off)))
    number = int(np.nanargmax(np.abs(worst.off)))
    text = (
        f"Drawn over predicted standard deviation, minus 1, in %; largest absolute difference of a correlation (of "
        f"ten: chance alone makes it about {1.2 / np.sqrt(worst.draws):.4f}). "
        f"Farthest off: {percent(worst.off[number], worst.error[number])} ({names[number]}; "
        f"{described(worst.setting)}); correlations {max(one.correlation for one in found):.4f}. "
        "–: does not vary.\n\n"
    )
    return text + table(["shape", *names], rows)


def small_table(found: dict[str, list[Spread]]) -> str:
    parts = []
    for name, along in found.items():
        head = described(along[0].setting)
        names = ["n", "draws", *NUMBERS, *(f"accuracy, {a}" for a in ACCURACIES), "own α*"]
        rows = [[str(one.setting["n"]), f"{one.draws:,}", *map(percent, one.off, one.error)] for one in along]
        parts.append(
            f"**{name}** ({head} and so on): drawn over predicted standard deviation, minus 1, in %\n\n"
            + table(names, rows)
        )
    parts.append("–: not resolved. Where the signal is weak some draws have an α* far out, or none.\n")
    return "\n".join(parts)


def coverage_table(large: list[Coverage], small: list[Coverage]) -> str:
    names = ["shape", *(f"{level} %, {name}" for level in (90, 99) for name in ACCURACIES)]

    def rows(found: list[Coverage]) -> list[list[str]]:
        result = []
        for one in found:
            cells = [f"{100 * s:.2f}" for level in (0.9, 0.99) for s in one.at(level)[0]]
            result.append([described(one.setting), *cells])
        return result

    off = {level: max(np.abs(one.at(level)[0] - level).max() for one in large) for level in (0.9, 0.99)}
    errors = {level: 100 * large[0].at(level)[1][0] for level in off}
    text = (
        f"Share of draws, in %, with an accuracy inside the prediction interval. Standard errors: {errors[0.9]:.2f} "
        f"beside 90 %, {errors[0.99]:.2f} beside 99 %. Farthest off in the first table: {100 * off[0.9]:.2f} and "
        f"{100 * off[0.99]:.2f} percentage points.\n\n"
    )
    return text + table(names, rows(large)) + "\nWhere it breaks:\n\n" + table(names, rows(small))


def means_table(found: list[Means]) -> str:
    rows = []
    for one in found:
        cells = []
        for gap, rest, error, good in zip(one.gap, one.remainder, one.error, one.good, strict=True):
            text = f"{gap / error:+.0f} → {rest / error:+.1f} ({100 * rest / gap:+.1f} %)"
            cells.append(text if good else f"**{text}**")
        rows.append([described(one.setting), *cells])
    total, good = sum(one.good.size for one in found), sum(int(one.good.sum()) for one in found)
    whole = sum(bool(one.good.all()) for one in found)
    return (
        "Mean of the draws minus the limit, and what is left of it after the bias: both in standard errors, and the "
        f"latter in % of the former. {good} of {total} are left with at most 3 standard errors or 5 %, "
        f"all five at {whole} of {len(found)} shapes; the others are in bold.\n\n" + table(["shape", *NUMBERS], rows)
    )


def growth_table(found: list[Growth]) -> str:
    parts = [
        "Exponents of n in the first-order gap (mean − limit) and in the remainder (mean − limit − bias), fitted with "
        f"weights: the first at n = {', '.join(map(str, LARGER))}, the second at smaller n, where it can be seen; both "
        f"only where three sizes are {PRECISE:g} standard errors away from 0.\n"
    ]
    for growth in found:
        sizes = [m.setting["n"] for m in growth.small]
        rows = []
        for i, name in enumerate(NUMBERS):
            exponents = [
                "–" if np.isnan(value) else f"{value:.2f} ± {error:.2f}"
                for value, error in (growth.gap[i], growth.remainder[i])
            ]
            z = [f"{m.remainder[i] / m.error[i]:+.1f}" for m in growth.small]
            rows.append([name, f"{growth.small[0].bias[i] * sizes[0]:+.4f}", *exponents, *z])
        head = ["", "n · bias", "slope of gap", "slope of remainder", f"z, n = {sizes[0]}", *map(str, sizes[1:])]
        counts = " to ".join(f"{growth.small[end].draws / 1e6:.1f}" for end in (0, -1))
        about = f"**{growth.name}** ({described(growth.small[0].setting)} and so on; {counts} million draws)"
        parts.append(f"{about}; z is the remainder over its standard error\n\n{table(head, rows)}")
    return "\n".join(parts)


def cost_table(found: list[tuple[Problem, float, float, float]], grid: float) -> str:
    rows = [[described(s), f"{ms:.2f} ms", f"{seconds:.3f} s", f"{times:,.0f}"] for s, ms, seconds, times in found]
    names = ["shape", "fluctuations", f"{DRAWS} draws, one thread", "ratio"]
    return (
        "One problem after warm-up, beside as many draws as give a standard deviation to 3 %. "
        f"A grid of 10⁴ problems takes {grid:.2f} s.\n\n" + table(names, rows)
    )


# Pictures.


def plot_small(found: dict[str, list[Spread]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3 * len(found), 3.7), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    shown = [*enumerate(NUMBERS), (7, "accuracy at α*")]
    for ax, (name, along) in zip(axes, found.items(), strict=True):
        n = np.array([one.setting["n"] for one in along], dtype=float)
        for (i, label), colour, marker in zip(shown, COLOURS, "os^vDP", strict=True):
            off, error = np.array([(abs(one.off[i]), one.error[i]) for one in along]).T
            sure = off > 3.0 * error
            ax.errorbar(n[sure], off[sure], error[sure], fmt=marker + "-", color=colour, ms=4, lw=1, label=label)
        ax.plot(
            n,
            [one.error[0] for one in along],
            ":",
            color="0.5",
            lw=1,
            label="Monte-Carlo error; shown is what exceeds 3 of it",
        )
        ax.plot(n, 3.0 / n, "k--", lw=1, label="slope −1")
        ax.set(xscale="log", yscale="log", xlabel="n", ylim=(5e-4, 0.2))
        ax.set_title(name, fontsize=10)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("|drawn / predicted std − 1|")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def plot_coverage(found: tuple[Coverage, Coverage], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 6.2), layout="constrained")
    axes = figure.subplots(2, 3)
    for row, one in zip(axes, found, strict=True):
        size = f"n = {one.setting['n']}"
        five, three = one.quantiles[: len(NUMBERS)], one.quantiles[len(NUMBERS) :]
        for ax, names, quantiles in ((row[0], NUMBERS, five), (row[1], ACCURACIES, three)):
            ax.plot(GRID[[0, -1]], GRID[[0, -1]], color="0.6", lw=0.8)
            for i, (name, values) in enumerate(zip(names, quantiles, strict=True)):
                ax.plot(GRID, values, "os^vD"[i] + "-", color=COLOURS[i], ms=3, lw=1, markevery=8, label=name)
            ax.set(xlabel="normal quantile", xlim=(-3.7, 3.7), ylim=(-4.6, 4.6))
            ax.grid(alpha=0.3)
            ax.legend(frameon=False, fontsize=8, loc="upper left")
        row[0].set_ylabel("quantile of standardised draws")
        row[0].set_title(f"{size}: five numbers", fontsize=10)
        row[1].set_title(f"{size}: Φ⁻¹(accuracy)", fontsize=10)
        row[2].axhline(0.0, color="0.6", lw=0.8)
        for i, name in enumerate(ACCURACIES):
            off = 100 * (one.inside[:, i] - LEVELS)
            row[2].plot(100 * LEVELS, off, "os^"[i] + "-", color=COLOURS[i], ms=3, lw=1, label=name)
        error = 200 * np.sqrt(LEVELS * (1.0 - LEVELS) / one.draws)
        row[2].fill_between(100 * LEVELS, -error, error, color="0.85", lw=0, label="± 2 s.e.")
        row[2].set(xlabel="nominal coverage, %", ylabel="drawn − nominal, points", xlim=(0, 100))
        row[2].set_title(f"{size}: prediction intervals", fontsize=10)
        row[2].grid(alpha=0.3)
        row[2].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def plot_order(found: list[Growth], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.3 * len(found), 3.9), layout="constrained")
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for ax, growth in zip(axes, found, strict=True):
        along = [*growth.small, *growth.larger]
        n = np.array([m.setting["n"] for m in along], dtype=float)
        for i, (name, colour, marker) in enumerate(zip(NUMBERS, COLOURS, "os^vD", strict=False)):
            gap, rest, error = np.array([(abs(m.gap[i]), abs(m.remainder[i]), m.error[i]) for m in along]).T
            style = {"marker": marker, "color": colour, "ms": 4, "lw": 1}
            sure = gap > 2.0 * error
            ax.errorbar(n[sure], gap[sure], error[sure], label=name, **style)
            sure = (rest > 2.0 * error) & (n < LARGER[0])
            if not np.isnan(growth.remainder[i, 0]):
                ax.errorbar(n[sure], rest[sure], error[sure], mfc="white", ls="--", **style)
        ax.plot(n, 0.4 / n, "k-", lw=0.8, label="slope −1")
        ax.plot(n, 0.9 / n**2, "k:", lw=1.2, label="slope −2")
        ax.plot([], [], "ko--", mfc="white", ms=4, lw=1, label="after the bias, where resolved")
        ax.set(xscale="log", yscale="log", xlabel="n")
        ax.set_xticks(n[::2], [f"{size:.0f}" for size in n[::2]])
        ax.minorticks_off()
        ax.set_title(growth.name, fontsize=10)
        ax.grid(alpha=0.3)
    axes[0].set_ylabel("|mean of draws − theory|")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


# The study.


class Report(NamedTuple):
    """A table, how many draws it took, and perhaps a picture."""

    draws: str
    text: str
    plot: Callable[[Path], None] | None = None


def spread_report(keep: Keep, options: argparse.Namespace) -> Report:
    found = large_spreads(keep, options.draws_spread)
    return Report(f"{options.draws_spread:,} draws of each shape", spread_table(found))


def small_report(keep: Keep, options: argparse.Namespace) -> Report:
    found = small_spreads(keep, options.draws_small)
    return Report(f"{options.draws_small:,} · 20/n draws", small_table(found), partial(plot_small, found))


def coverage_report(keep: Keep, options: argparse.Namespace) -> Report:
    large, small = coverages(keep, options.draws_coverage)
    pair = next(one for one in large if one.setting == ordinary(400)), small[0]
    text = coverage_table(large, small)
    return Report(f"{options.draws_coverage:,} draws of each shape", text, partial(plot_coverage, pair))


def order_report(keep: Keep, options: argparse.Namespace) -> Report:
    found, along = small_means(keep, options.draws_order), growths(keep, options.draws_slope, options.draws_order)
    text = means_table(found) + "\n" + growth_table(along)
    return Report(f"{options.draws_order:,} draws of each shape", text, partial(plot_order, along))


def cost_report(_: Keep, options: argparse.Namespace) -> Report:
    return Report(f"median of {options.repeats} rounds", cost_table(*costs(options.repeats)))


PARTS = {
    "spread": (spread_report, ("draws_spread",)),
    "small": (small_report, ("draws_small",)),
    "coverage": (coverage_report, ("draws_coverage",)),
    "order": (order_report, ("draws_order", "draws_slope")),
    "cost": (cost_report, ("repeats",)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", nargs="?", choices=[*PARTS, "all"], default="all", help="default: %(default)s")
    for name, count, text in (
        ("spread", 40_000, "of each large shape"),
        ("small", 1_000_000, "at n = 20; 20/n of them at n"),
        ("coverage", 100_000, "of each shape"),
        ("order", 2_000_000, "of each small shape"),
        ("slope", 600_000, "times n (or a part of it), at n"),
    ):
        parser.add_argument(f"--draws-{name}", type=int, default=count, help=f"draws {text} (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=20, help="rounds of timing (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="JSON lines with what is drawn: read first, then added to")
    parser.add_argument("--docs", type=Path, help="folder for the tables and the pictures")
    options = parser.parse_args()
    keep = Keep(options.keep)
    for part in PARTS if options.part == "all" else [options.part]:
        make, names = PARTS[part]
        report = make(keep, options)
        command = " ".join(f"--{name.replace('_', '-')} {getattr(options, name)}" for name in names)
        about = f"`python -m benchmarks.fluctuations {part} {command}`: {report.draws}; {versions('scipy')}."
        text = f"{about}\n\n{report.text}"
        print(text, flush=True)
        if options.docs:
            options.docs.mkdir(parents=True, exist_ok=True)
            (options.docs / f"{part}.md").write_text(text, encoding="utf-8")
            if report.plot:
                report.plot(options.docs / f"{part}.png")


if __name__ == "__main__":
    main()
