"""An α-LoRA layer with one output, trained by gradients, beside the ridge classifier of the theory.

    python -m benchmarks.lora_ridge --keep lora_ridge.jsonl --docs docs/benchmarks/lora

Squared loss, a ridge on the update, α held fixed. On every data set layers are trained at several α, from a random
adapter that is of rank 1, of rank 4 with lora_alpha = 10, or of rank 4 with lora_alpha = 3 and the scaling of rsLoRA,
in turn.

- The table: the largest ``‖w − w_α‖/‖w_α‖`` over the data sets for each kind of adapter, w the layer's merged weights
  and w_α solved for; and the mean accuracy of the layers (each Φ of its margin, no test set) beside theory.
- The figure: these means with bars of two standard errors on theory's curve.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import rmt_alpha as ra
from benchmarks.reports import Keep, table, versions, write
from rmt_alpha.estimate import Estimate
from rmt_alpha.lora.experiments import ADAPTERS, draw, trained_classifiers
from rmt_alpha.lora.optimizers import Adam
from rmt_alpha.plots import COLOURS, accuracy_curve, estimates
from rmt_alpha.problem import Experiment

FIGURE_1 = {"n": 40, "p": 1000, "gamma": 0.1, "mu": 0.8, "mu_perp": 0.8, "n_source": 5000, "gamma_source": 5.0}
NOISY = {"n": 150, "p": 100, "gamma": 0.3, "mu": 1.2, "mu_perp": 0.9, "n_source": 300, "gamma_source": 1.0}
PROBLEMS: dict[str, dict[str, Any]] = {
    "Figure 1, β = 0.5": {"beta": 0.5, **FIGURE_1},
    "n > p, noisy labels": {"beta": 0.8, **NOISY, "label_noise": 0.1, "label_noise_source": 0.05},
}
NAMES = ("rank 1", "rank 4, lora_alpha 10", "rank 4, lora_alpha 3, rsLoRA")
"""Of the ADAPTERS, which are taken in turn."""

RATE = 0.02
"""Learning rate of Adam. At .03 the layer was off by up to 8e-3 in 6 of 108 trainings of the first problem: where the
gradient falls faster than Adam's memory of its size, steps become too long and throw the layer out again."""


def alphas_of(problem: dict[str, Any]) -> np.ndarray:
    """Return values of α: negative, 0, below and at α*, and beyond."""
    best, worst = ra.optimal_alpha(**problem), ra.worst_alpha(**problem)
    return np.round([2.0 * worst, worst, 0.0, 0.4 * best, best, 2.0 * best], 3)


def trained(problem: dict[str, Any], adapter: dict[str, Any], trial: int, steps: int, rate: float) -> dict[str, Any]:
    """Return, for one data set, how far the layers are from w_α, and their accuracies."""
    sample = draw(Experiment(**problem), np.random.SeedSequence(trial, spawn_key=(0,)))
    alphas = alphas_of(problem)
    weights = trained_classifiers(sample, alphas, steps=steps, optimizer=Adam(rate), seed=trial, **adapter)
    return {"distance": sample.distance(weights, alphas).tolist(), "accuracy": sample.accuracy(weights).tolist()}


def plot(measured: dict[str, Estimate], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4 * len(measured), 3.6), layout="constrained")
    for ax, (name, estimate) in zip(figure.subplots(1, len(measured), squeeze=False)[0], measured.items(), strict=True):
        alphas = alphas_of(PROBLEMS[name])
        margin = 0.08 * np.ptp(alphas)
        law, grid = ra.margin_law(**PROBLEMS[name]), np.linspace(alphas.min() - margin, alphas.max() + margin, 200)
        accuracy_curve(ax, law, grid, color=COLOURS[0])
        estimates(ax, alphas, estimate, label=f"{estimate.n} trained layers each ± 2 s.e.", color=COLOURS[1])
        ax.axvline(1.0, color="0.6", linewidth=0.8)
        ax.set_title(name, fontsize=10)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=18, help="data sets of each problem (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5000, help="of each training (default: %(default)s)")
    parser.add_argument("--problems", type=int, default=len(PROBLEMS), help="how many, from the last (default: all)")
    parser.add_argument("--keep", type=Path, help="JSON lines with what is finished: read first, then added to")
    parser.add_argument("--out", type=Path, help="picture")
    parser.add_argument("--docs", type=Path, help="folder for lora_ridge.png and lora_ridge.md")
    arguments = parser.parse_args()
    keep, lines, measured = Keep(arguments.keep), [], {}
    for name in list(PROBLEMS)[-arguments.problems :]:
        problem = PROBLEMS[name]
        alphas = alphas_of(problem)
        common = {"problem": problem, "steps": arguments.steps, "rate": RATE}
        tasks = [common | {"adapter": ADAPTERS[t % len(ADAPTERS)], "trial": t} for t in range(arguments.trials)]
        records = keep.map(trained, tasks, name)
        accuracies = [record["accuracy"] for record in records]
        measured[name] = Estimate.of(np.array(accuracies))
        theory, value, stderr = ra.accuracy(alphas, **problem), measured[name].value, measured[name].stderr
        numbers = [["α", *(f"{a:.3g}" for a in alphas)]]
        for i, kind in enumerate(NAMES[: len(records)]):
            distances = [record["distance"] for record in records[i :: len(NAMES)]]
            numbers.append([f"{kind} ({len(distances)})", *(f"{d:.0e}" for d in np.max(distances, axis=0))])
        numbers.append(["accuracy, theory", *(f"{t:.4f}" for t in theory)])
        numbers.append(["accuracy, trained", *(f"{v:.4f}" for v in value)])
        numbers.append(["± s.e.", *(f"{s:.4f}" for s in stderr)])
        numbers.append(["z", *(f"{z:+.1f}" for z in (value - theory) / stderr)])
        setting = ", ".join(f"{key} = {entry:g}" for key, entry in problem.items())
        title = f"**{name}** ({setting}): largest ‖w − w_α‖/‖w_α‖ by adapter (data sets), and mean accuracies."
        lines += [title, "", table(numbers[0], numbers[1:])]
        print("\n".join(lines[-3:]), flush=True)

    if arguments.out:
        plot(measured, arguments.out)
        print(f"Written: {arguments.out}")
    if arguments.docs:
        command = f"`python -m benchmarks.lora_ridge --trials {arguments.trials} --steps {arguments.steps}`"
        lines.append(f"{command}: {arguments.trials} data sets for each problem; {versions()}.\n")
        write(arguments.docs, "lora_ridge", "\n".join(lines), lambda path: plot(measured, path))


if __name__ == "__main__":
    main()
