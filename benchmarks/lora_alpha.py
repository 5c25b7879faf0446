"""Where α comes to rest when it is trained as the α-LoRA paper trains it, and what that costs.

    python -m benchmarks.lora_alpha --keep lora_alpha.jsonl --docs docs/benchmarks/lora

One output, squared loss, a ridge on the update, fresh Gaussian mixtures; α takes a step on a held-out batch after every
T steps of the adapter. Theories: `trained_alpha` (where both gradients vanish), α*, and the α of least risk.

- Settings: the learned α over (β, n), for trained and oracle sources and noisy labels, with z-scores against the three
  theories. The standard errors are those of the control variate of `rmt_alpha.lora.experiments`; ✗ marks a theory
  that is refused at level 0.001 over all settings, beyond an allowance for the O(1/n) bias.
- Regimes: at one setting, what changes where α is trained otherwise: T, the start, the held-out data, the speed of the
  adapter, no ridge. "from its rest" is the mean difference from the α at which fresh data leave both gradients 0 for
  the training set at hand (on a fixed batch: that batch). Where α does not get there, the mean is without the control
  variate.
- Loss: accuracy at α* minus that at `trained_alpha`, at α = 1, and at the α of least risk, by theory.
- The figure: learned α, by the control variate, on the curves of the theories; and the way of α with a fast and a slow
  adapter.
"""

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import rmt_alpha as ra
from benchmarks.reports import Keep, table, versions, write
from rmt_alpha._random import child
from rmt_alpha.estimate import Estimate
from rmt_alpha.lora.experiments import (
    LEVEL,
    THEORIES,
    Verdict,
    adapter_free_alpha,
    draw,
    judge,
    learned_alpha,
    resting_alphas,
    theories,
)
from rmt_alpha.lora.optimizers import Adam, AdamW
from rmt_alpha.plots import COLOURS
from rmt_alpha.problem import Experiment

COMMON: dict[str, Any] = {"p": 100, "gamma": 1.0, "mu": 1.5, "mu_perp": 1.2}
RIDGE: dict[str, Any] = {**COMMON, "n_source": 200, "gamma_source": 0.5}
SIZES, BETAS = (25, 50, 100, 200, 400), (0.4, 0.6, 0.9)
LONG = {"steps": 10_000}
"""Instead of 3000, where α comes to rest far from 1: else it is still on its way."""

REGIME = {"beta": 0.6, "n": 50, **RIDGE}
PAPER = AdamW(1e-4, betas=(0.9, 0.99))


@dataclass(frozen=True)
class Case:
    """A problem and a way to train α on it.

    `training` are arguments of `one`. `control` names the held-out data on which the resting α is the control variate:
    "fresh", "batch", "training", or "none" where α does not get there. `shown` is the label in the figure, if any.
    """

    name: str
    problem: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    control: str = "fresh"
    shown: str = ""


def setting(kind: str, problem: dict[str, Any], training: dict[str, Any], shown: str = "") -> Case:
    return Case(f"{kind}, β = {problem['beta']:g}, n = {problem['n']}", problem, training, shown=shown)


SETTINGS = [
    *(setting("trained", {"beta": b, "n": n, **RIDGE}, {}, f"learned, β = {b:g}") for b in BETAS for n in SIZES),
    *(setting("oracle", {"beta": 0.6, "n": n, **COMMON}, LONG) for n in (50, 100, 200)),
    *(setting("20 % flipped", {"beta": 0.9, "n": n, **RIDGE, "label_noise": 0.2}, LONG) for n in (50, 100, 200)),
]


def regime(name: str, control: str = "fresh", shown: str = "", **training: Any) -> Case:
    return Case(name, REGIME, training, control, shown)


STOPPED = {"ridge": 0.0, "optimizer": Adam(1e-3), "validation": "batch", "patience": 30, "steps": 6000}
REGIMES = [
    regime("T = 10, from α = 1", shown="adapter 1e-2"),
    regime("T = 1", alpha_every=1),
    regime("T = 100, α at 0.05", alpha_every=100, alpha_optimizer=Adam(0.05)),
    regime("from α = 0, 12000 steps", alpha=0.0, steps=12_000),
    regime("from α = 2, 12000 steps", alpha=2.0, steps=12_000),
    regime("rank 2, lora_alpha 5", rank=2, layer={"lora_alpha": 5.0}),
    regime("fixed held-out batch of 2n", "batch", held_out="batch"),
    regime("the training batch", "training", held_out="training"),
    regime(
        "adapter 1e-4, from α = 0.5, T = 1, 600 steps", "none", optimizer=PAPER, alpha=0.5, alpha_every=1, steps=600
    ),
    regime("adapter 1e-4, 1000 steps", "none", optimizer=PAPER, steps=1000),
    regime("adapter 1e-4, 4000 steps", optimizer=PAPER, steps=4000),
    regime("adapter 1e-4, 20000 steps", shown="adapter 1e-4", optimizer=PAPER, steps=20_000),
    regime("no ridge, early stopping, T = 1", "none", **STOPPED, alpha_every=1),
]
"""How else α may be trained; the adapter's rate is 1e-2, and α's 5e-3, unless told otherwise."""


def one(problem: dict[str, Any], trial: int, arguments: dict[str, Any], key: int = 0) -> dict[str, Any]:
    """Return the learned and the resting α of one data set, and some of the way there."""
    root = np.random.SeedSequence(trial, spawn_key=(key,))
    sample = draw(Experiment(**problem), root)
    training, batch = dict(arguments), None
    rng = np.random.default_rng(np.random.SeedSequence(trial, spawn_key=(key, 9)))
    held_out = training.pop("held_out", None)
    if held_out is not None:
        batch = (sample.inputs, sample.labels) if held_out == "training" else sample.fresh(2 * sample.labels.size)(rng)
        training["held_out"] = batch
    if "validation" in training:
        training["validation"] = sample.fresh(sample.labels.size)(rng)
    alpha, history = learned_alpha(sample, seed=trial, **training)
    path = history.alpha["alpha"]
    if "validation" in training:  # where the best validation loss was
        alpha = float(path[history.alpha_steps <= history.best_step][-1])
    few = np.unique(np.geomspace(1, path.size, 60).astype(int)) - 1
    return {
        "learned": alpha,
        "resting": sample.resting_alpha(),
        "resting_here": sample.resting_alpha(batch),
        "steps": history.alpha_steps[few].tolist(),
        "path": path[few].tolist(),
        "stopped": history.best_step,
    }


def verdict_of(rows: list[Any], case: Case, draws: int, level: float) -> Verdict:
    """Return the verdict, with the resting α of the case's own held-out data as control variate, if any."""
    experiment, learned = Experiment(**case.problem), [r["learned"] for r in rows]
    root = np.random.SeedSequence(1, spawn_key=(1,))
    if case.control == "none":
        return judge(experiment, learned, np.zeros(len(learned)), np.zeros(2), level)
    if case.control == "fresh":
        return judge(experiment, learned, [r["resting"] for r in rows], resting_alphas(experiment, draws, root), level)
    found, rng = [], np.random.default_rng(root)
    for i in range(draws):
        sample = draw(experiment, child(root, i))
        training = (sample.inputs, sample.labels)
        found.append(
            sample.resting_alpha(training if case.control == "training" else sample.fresh(2 * experiment.n)(rng))
        )
    return judge(experiment, learned, [r["resting_here"] for r in rows], np.array(found), level)


def row_of(verdict: Verdict) -> list[str]:
    cells = [f"{verdict.plain.value:.3f} ± {verdict.plain.stderr:.3f}"]
    cells += [f"{verdict.estimate.value:.4f} ± {verdict.estimate.stderr:.4f}"]
    for name in THEORIES:
        cells.append(f"{verdict.theory[name]:.4f} ({verdict.z[name]:+.1f}{' ✗' if verdict.refused(name) else ''})")
    return cells


def losses() -> list[list[str]]:
    """Return, by theory, what other choices lose against α*, in percentage points of accuracy."""
    rows = []
    for kind, noise in (("trained", 0.0), ("20 % flipped", 0.2)):
        for beta in BETAS:
            for n in SIZES:
                problem = {"beta": beta, "n": n, **RIDGE, "label_noise": noise}
                law, found = ra.margin_law(**problem), theories(Experiment(**problem))
                best = law.accuracy(found["optimal"])
                lost = [100 * (best - law.accuracy(a)) for a in (found["trained"], found["risk_optimal"], 1.0)]
                numbers = [f"{found[name]:.3f}" for name in THEORIES]
                rows.append([f"{kind}, β = {beta:g}, n = {n}", *numbers, f"{best:.4f}", *(f"{x:.2f}" for x in lost)])
    return rows


def plot(verdicts: list[tuple[Case, Verdict]], ways: dict[str, list[Any]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    grid = np.geomspace(20, 500, 100)
    styles = {"trained": "-", "optimal": "--", "risk_optimal": ":"}
    for colour, marker, beta in zip(COLOURS, "os^", BETAS, strict=False):
        at = {"beta": beta, "n": grid, **RIDGE}
        curves = ra.trained_alpha(**at), ra.optimal_alpha(**at), ra.margin_law(**at).risk_optimal_alpha()
        for name, curve in zip(THEORIES, curves, strict=True):
            left.plot(grid, curve, styles[name], color=colour, lw=1.2)
        mine = [(c, v.estimate) for c, v in verdicts if c.shown and c.problem["beta"] == beta]
        if mine:
            value, error = ([float(getattr(e, name)) for _, e in mine] for name in ("value", "stderr"))
            sizes, label = [c.problem["n"] for c, _ in mine], mine[0][0].shown
            bars = {"fmt": marker, "ms": 5, "capsize": 2, "color": colour, "mec": "k", "mew": 0.5}
            left.errorbar(sizes, value, 2 * np.array(error), label=label, **bars)
    for name, words in zip(THEORIES, ("trained_alpha", "α*", "least risk"), strict=True):
        left.plot([], [], styles[name], color="0.3", label=words)
    left.set(xscale="log", xlabel="n", ylabel=r"$\alpha$")
    left.set_xticks(SIZES, [f"{n}" for n in SIZES])
    left.minorticks_off()
    left.legend(frameon=False, fontsize=7, ncols=2, title="learned: with the control variate", title_fontsize=7)

    experiment = Experiment(**REGIME)
    found = theories(experiment)
    for colour, (name, rows) in zip(COLOURS, ways.items(), strict=False):
        steps, paths = np.array(rows[0]["steps"]), np.array([r["path"] for r in rows])
        middle, error = paths.mean(axis=0), paths.std(axis=0, ddof=1) / len(paths) ** 0.5
        right.plot(steps[1:], middle[1:], color=colour, label=name, lw=1.2)
        right.fill_between(steps[1:], (middle - 2 * error)[1:], (middle + 2 * error)[1:], color=colour, alpha=0.2, lw=0)
    lines = [(found[name], styles[name]) for name in THEORIES] + [(adapter_free_alpha(experiment), "-.")]
    for (value, style), words in zip(lines, ("trained_alpha", "α*", "least risk", "α₀: no adapter"), strict=True):
        right.axhline(value, color="0.3", linestyle=style, lw=1)
        at = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
        right.annotate(words, (1.0, value), (-3, 2), ha="right", fontsize=7, color="0.3", **at)
    right.set(xscale="log", xlabel="steps of the adapter", ylabel=r"$\alpha$", ylim=(0.6, 1.08))
    right.legend(frameon=False, fontsize=7, loc=(0.02, 0.3))
    for ax in (left, right):
        ax.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--trials", type=int, default=12, help="data sets of each setting, at least 3 (default: %(default)s)"
    )
    parser.add_argument("--draws", type=int, default=2000, help="data sets without training (default: %(default)s)")
    parser.add_argument("--settings", type=int, default=len(SETTINGS), help="how many settings (default: all)")
    parser.add_argument("--regimes", type=int, default=len(REGIMES), help="how many regimes (default: all)")
    parser.add_argument("--keep", type=Path, help="JSON lines with what is finished: read first, then added to")
    parser.add_argument("--out", type=Path, help="picture")
    parser.add_argument("--docs", type=Path, help="folder for lora_alpha.png and lora_alpha.md")
    arguments = parser.parse_args()
    keep, lines = Keep(arguments.keep), []

    def learn(case: Case) -> list[Any]:
        tasks = [{"problem": case.problem, "trial": t, "arguments": case.training} for t in range(arguments.trials)]
        return keep.map(one, tasks, case.name)

    def show(title: str, *more: str) -> None:
        lines.extend([title, "", *more])
        print("\n".join(lines[-len(more) - 2 :]), flush=True)

    settings = SETTINGS[: arguments.settings]
    level = LEVEL / len(settings)
    verdicts = [(case, verdict_of(learn(case), case, arguments.draws, level)) for case in settings]
    rows = [[case.name, *row_of(verdict)] for case, verdict in verdicts]
    header = ["source, β, n", "learned", "with control variate", "trained_alpha (z)", "α* (z)", "least risk (z)"]
    counts = {name: sum(v.refused(name) for _, v in verdicts) for name in THEORIES}
    summary = "Refused: " + ", ".join(f"{name} {count} of {len(settings)}" for name, count in counts.items())
    about = "p = 100, γ = 1, ‖μ‖ = 1.5, ‖μ_⊥‖ = 1.2; trained source: N = 200, γ̃ = 0.5"
    title = f"**Learned α over settings, {arguments.trials} data sets each** ({about})."
    show(title, table(header, rows), summary + ".\n")

    ways, rows = {}, []
    free = adapter_free_alpha(Experiment(**REGIME))
    regimes = REGIMES[: arguments.regimes]
    for case in regimes:
        learned = learn(case)
        verdict = verdict_of(learned, case, arguments.draws, LEVEL / len(regimes))
        here = Estimate.of(np.array([r["learned"] - r["resting_here"] for r in learned]))
        z = (float(verdict.estimate.value) - free) / float(verdict.estimate.stderr)
        rows.append([case.name, f"{here.value:+.4f} ± {here.stderr:.4f}", *row_of(verdict), f"{z:+.1f}"])
        if case.shown:
            ways[case.shown] = learned
    header = ["regime", "from its rest", *header[1:], "z of α₀"]
    edge = ra.trained_alpha(**{**REGIME, "gamma": 0.0})
    about = f"trained source, β = {REGIME['beta']:g}, n = {REGIME['n']}"
    show(f"**Regimes, {about}; α₀ = {free:.4f}, γ → 0: {edge:.4f}.**", table(header, rows))

    rows = losses()
    header = ["labels, β, n", "trained_alpha", "α*", "least risk", "accuracy at α*"]
    header += ["lost at trained_alpha", "at least risk", "at α = 1"]
    show("**Accuracy lost against α*, in percentage points, by theory** (trained source).", table(header, rows))

    if arguments.out:
        plot(verdicts, ways, arguments.out)
        print(f"Written: {arguments.out}")
    if arguments.docs:
        command = f"`python -m benchmarks.lora_alpha --trials {arguments.trials} --draws {arguments.draws}`"
        lines.append(f"{command}: {arguments.trials} trainings each; {versions()}.\n")
        write(arguments.docs, "lora_alpha", "\n".join(lines), lambda path: plot(verdicts, ways, path))


if __name__ == "__main__":
    main()
