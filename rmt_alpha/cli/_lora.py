"""Trained α-LoRA layers beside their theory: lora-demo."""

import argparse
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

import rmt_alpha as ra
from rmt_alpha._random import child, seed_sequence
from rmt_alpha._validation import integer
from rmt_alpha.cli._shared import PICTURES, Report, add_command, check_out, interactive, picture, table

LORA_DEMO: dict[str, Any] = {"p": 100, "gamma": 1.0, "mu": 1.5, "mu_perp": 1.2, "n_source": 200, "gamma_source": 0.5}


LORA_DEMO_BETA, LORA_DEMO_N = 0.6, (50, 200)
"""The problems of `lora_demo`, in which the theories of the trained α are far apart."""


LORA_DEMO_STEPS = 1000
"""Steps of its trainings at fixed α: after 600 one of 1605 draws of rank 1 was still further off than `EXACT`."""


MIN_TRAININGS = 5
"""Fewer have so wide a threshold that any theory of the trained α is within chance."""


EXACT = 1e-6
"""How far, relatively, trained layers may be from the ridge classifier."""


def lora_demo(arguments: argparse.Namespace) -> Report:
    """Train α-LoRA layers: with fixed α they are ridge classifiers; a trained α rests where theory says."""
    from rmt_alpha.lora.experiments import LEVEL, THEORIES, fixed_alpha_study, trained_alpha_study
    from rmt_alpha.problem import Experiment

    check_out(arguments.out, *PICTURES)
    trials = integer("--trials", arguments.trials, MIN_TRAININGS)
    root, progress = seed_sequence(arguments.seed), interactive(arguments)
    problems = [Experiment(np.asarray(LORA_DEMO_BETA), n=n, **LORA_DEMO) for n in LORA_DEMO_N]
    law = ra.margin_law(LORA_DEMO_BETA, LORA_DEMO_N[0], **LORA_DEMO)
    alphas = np.array([2.0 * law.worst_alpha(), 0.0, law.optimal_alpha(), 1.0, 4.0])
    differences, accuracy = fixed_alpha_study(  # these take less time
        problems[0], alphas, 2 * trials, child(root, 0), steps=LORA_DEMO_STEPS, progress=progress
    )
    level = LEVEL / len(problems)
    verdicts = [
        trained_alpha_study(problem, trials, child(root, 1 + k), level=level, progress=progress)
        for k, problem in enumerate(problems)
    ]
    exact, agrees = bool((differences <= EXACT).all()), not any(verdict.refused("trained") for verdict in verdicts)

    out = picture(
        arguments.out, lambda axes: _draw_lora_demo(axes, law, alphas, accuracy, [v.estimate for v in verdicts]), 2
    )
    curves = (law.accuracy(alphas), accuracy.value, accuracy.stderr)
    fixed = list(zip(alphas, differences, *map(np.asarray, curves), strict=True))
    refused = {name: all(verdict.refused(name) for verdict in verdicts) for name in THEORIES}
    sentence = (
        f"With fixed α trained layers {'are' if exact else 'are NOT'} the ridge classifiers of the theory (largest "
        f"relative difference {differences.max():.0e}). A trained α "
        f"{'rests where its theory says, within chance' if agrees else 'does NOT rest where its theory says'}; that it "
        f"finds α* is {'refuted' if refused['optimal'] else 'not refuted everywhere'}, that it finds the α of least "
        f"risk is {'refuted' if refused['risk_optimal'] else 'not refuted everywhere'}."
    )
    data = {
        "setting": {**LORA_DEMO, "beta": LORA_DEMO_BETA},
        "trials": trials,
        "seed": root.entropy,
        "fixed_alpha": [
            dict(zip(("alpha", "largest_difference", "theory", "trained", "stderr"), row, strict=True)) for row in fixed
        ],
        "trained_alpha": [
            {
                "n": n,
                "alpha": v.estimate.value,
                "stderr": v.estimate.stderr,
                "theories": v.theory,
                "z": v.z,
                "tolerance": v.tolerance,
                "refused": {name: v.refused(name) for name in v.theory},
            }
            for n, v in zip(LORA_DEMO_N, verdicts, strict=True)
        ],
        "exact": exact,
        "agrees": agrees,
        "summary": sentence,
        "figure": str(out),
    }
    lines = [*_lora_demo_lines(trials, fixed, verdicts), "", *textwrap.wrap(sentence, 100), f"Written: {out}"]
    return Report(data, lines, 0 if exact and agrees else 1)


def _lora_demo_lines(trials: int, fixed: list[Any], verdicts: list[Any]) -> list[str]:
    setting = (
        "p = {p}, β = {beta:g}, ‖μ‖ = {mu:g}, ‖μ_⊥‖ = {mu_perp:g}, γ = {gamma:g}, from a ridge classifier of "
        "N = {n_source}, γ̃ = {gamma_source:g}"
    ).format(beta=LORA_DEMO_BETA, **LORA_DEMO)
    header = ("n", "trained α", "± s.e.", "its theory", "α*", "least risk", "tolerance")
    rows = [
        (f"{n}", v.estimate.value, v.estimate.stderr, *v.theory.values(), v.tolerance)
        for n, v in zip(LORA_DEMO_N, verdicts, strict=True)
    ]
    return [
        f"α-LoRA layers of one output, {setting}.",
        "",
        f"Fixed α, n = {LORA_DEMO_N[0]}: the layer beside the ridge classifier, its accuracy beside theory "
        f"({2 * trials} data sets)",
        "",
        *table(("α", "difference", "theory", "trained", "± s.e."), fixed, ".4f", {0: ".3f", 1: ".0e"}),
        "",
        "Trained α, a step on a fresh batch after every 10 steps of the adapter: where it comes to rest, and three",
        f"theories of that ({trials} data sets; tolerance: what chance and an O(1/n) bias explain)",
        "",
        *table(header, rows, ".4f"),
    ]


def _draw_lora_demo(axes: Any, law: ra.MarginLaw, alphas: Any, measured: Any, learned: list[Any]) -> None:
    from rmt_alpha import plots

    plots.accuracy_curve(axes[0], law, np.linspace(alphas.min() - 0.3, alphas.max() + 0.3, 200), color=plots.COLOURS[0])
    plots.estimates(axes[0], alphas, measured, label="trained layers ± 2 s.e.", color=plots.COLOURS[1])
    axes[0].set_title(rf"Fixed $\alpha$, n = {LORA_DEMO_N[0]} ($\bigstar$: $\alpha^*$)", fontsize=10)
    axes[0].legend(fontsize=8)

    n = np.geomspace(0.5 * min(LORA_DEMO_N), 2.0 * max(LORA_DEMO_N), 100)
    at = {"beta": LORA_DEMO_BETA, "n": n, **LORA_DEMO}
    best, least = ra.optimal_alpha(**at), ra.margin_law(**at).risk_optimal_alpha()
    for alpha, label, style, colour in (
        (ra.trained_alpha(**at), "where it should rest", "-", 0),
        (best, r"most accurate: $\alpha^*$", "--", 1),
        (least, "least risk", ":", 2),
    ):
        axes[1].plot(n, alpha, style, color=plots.COLOURS[colour], label=label)
    values, errors = ([getattr(e, name) for e in learned] for name in ("value", "stderr"))
    bars = {"fmt": "ko", "markersize": 4, "capsize": 2}
    axes[1].errorbar(LORA_DEMO_N, values, 2.0 * np.array(errors), label="trained ± 2 s.e.", **bars)
    axes[1].set(xscale="log", xlabel="n", ylabel=r"$\alpha$")
    axes[1].set_xticks([25, 50, 100, 200, 400], ["25", "50", "100", "200", "400"])
    axes[1].minorticks_off()
    axes[1].set_title(r"Trained $\alpha$", fontsize=10)
    axes[1].legend(fontsize=8)


def add_lora_demo(commands: Any) -> None:
    """Add lora-demo."""
    command = add_command(commands, "lora-demo", lora_demo, "--trials 5")
    what = "data sets to train on for each of the problems, at least 5 (default: %(default)s)"
    command.add_argument("--trials", type=int, default=8, help=what)
    out = Path("rmt_alpha_lora_demo.png")
    command.add_argument("--out", type=Path, default=out, help="picture (default: %(default)s)")
