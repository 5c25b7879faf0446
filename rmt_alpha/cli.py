"""The command line: ``rmt-alpha COMMAND …``, the same as ``python -m rmt_alpha COMMAND …``.

Exit status: 0 on success, 1 where `compare` finds theory and simulation apart, `lora-demo` theory and training, or
`verify` a false proof, 2 on bad input, 130 when interrupted.
"""

import argparse
import csv
import io
import json
import math
import os
import re
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import rmt_alpha as ra
from rmt_alpha._random import child, seed_sequence
from rmt_alpha._validation import check_memory, integer, real

PROBLEM = (
    "beta",
    "n",
    "p",
    "gamma",
    "mu",
    "mu_perp",
    "n_source",
    "gamma_source",
    "label_noise",
    "label_noise_source",
)
MIN_SPLITS = 10
"""Fewer splits have so wide a threshold that no prediction fails."""

LORA_DEMO: dict[str, Any] = {"p": 100, "gamma": 1.0, "mu": 1.5, "mu_perp": 1.2, "n_source": 200, "gamma_source": 0.5}
LORA_DEMO_BETA, LORA_DEMO_N = 0.6, (50, 200)
"""The problems of `lora_demo`, in which the theories of the trained α are far apart."""

LORA_DEMO_STEPS = 1000
"""Steps of its trainings at fixed α: after 600 one of 1605 draws of rank 1 was still further off than `EXACT`."""

MIN_TRAININGS = 5
"""Fewer have so wide a threshold that any theory of the trained α is within chance."""

EXACT = 1e-6
"""How far, relatively, trained layers may be from the ridge classifier."""

PICTURES = (".png", ".pdf", ".svg")


@dataclass
class Report:
    """What a command has to say: as data for ``--json``, as lines for people, and an exit status."""

    data: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    status: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the program's name; by default those of the process. None at all means ``demo``.

    Returns
    -------
    int
        The exit status.

    Examples
    --------
    >>> main(["optimal", "--beta", "0.8", "--n", "200", "--p", "400", "--gamma", "0.1", "--json"])  # doctest: +ELLIPSIS
    {"beta": [0.8], "optimal_alpha": [1.2161...
    0
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a Greek letter must not end a run where the terminal has none
            stream.reconfigure(errors="replace")
    parser = _parser()
    arguments = parser.parse_args(argv if argv is not None else sys.argv[1:] or ["demo"])
    try:
        if arguments.seed is not None:
            integer("--seed", arguments.seed, 0)
        report: Report = arguments.run(arguments)
        print(
            json.dumps(_plain(report.data), allow_nan=False) if arguments.json else "\n".join(report.lines), flush=True
        )
        return report.status
    except ValueError as error:
        arguments.parser.print_usage(sys.stderr)
        print(f"{arguments.parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a closed terminal
        print(f"{arguments.parser.prog}: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


# The commands.


def demo(arguments: argparse.Namespace) -> Report:
    """Figure 1 of the paper: theory against simulation at three β, with one source for all of them."""
    from rmt_alpha.comparison import compare, require_trials

    _check_out(arguments.out)
    require_trials(arguments.trials)
    beta = np.array([0.2, 0.5, 0.9])
    setting: dict[str, Any] = {"n": 40, "p": 1000, "gamma": 0.1, "mu": 0.8, "mu_perp": 0.8}
    setting |= {"n_source": 5000, "gamma_source": 5.0}
    run = ra.simulate(beta, **setting, trials=arguments.trials, seed=arguments.seed, progress=_interactive(arguments))
    law = ra.margin_law(beta, **setting)
    best, worst = ra.optimal_alpha(beta, **setting), np.asarray(law.worst_alpha())
    rows, data, agrees = [], [], True
    for i in range(beta.size):
        alphas = [0.0, 1.0, float(best[i])]
        comparison = compare(run[i], alphas)
        agrees &= comparison.agrees
        entries = list(zip(("0", "1", "α*"), alphas, _records(comparison)[-3:], strict=True))
        data.append(
            {"beta": beta[i], "optimal_alpha": best[i], "worst_alpha": worst[i], "accuracies": [r for *_, r in entries]}
        )
        for name, alpha, r in entries:
            rows.append((beta[i], best[i], worst[i], name, alpha, r["theory"], r["simulated"], r["stderr"], r["z"]))
    at_one, at_best = law[-1].accuracy(1.0), law[-1].best_accuracy()
    verdict = "agree within chance" if agrees else "DISAGREE beyond chance"
    sentence = (
        f"Scaling the pre-trained weights by α* instead of 1 raises accuracy from {at_one:.3f} to {at_best:.3f} at β = "
        f"{beta[-1]:g}; theory and {arguments.trials} simulated experiments {verdict}."
    )
    limits = float(worst.min()) - 0.5, 1.5 * float(best.max())
    out = _picture(arguments.out, lambda ax: _draw_demo(ax, law, beta, run, limits))
    header = ("β", "α*", "worst α", "α", "value", "theory", "simulated", "± s.e.", "z")
    lines = [
        "Accuracy of fine-tuning on n = 40 target samples in p = 1000 dimensions, γ = 0.1, ‖μ‖ = ‖μ_⊥‖ = 0.8,",
        "from a ridge classifier of N = 5000 source samples, γ̃ = 5 (Figure 1 of arXiv 2510.21345):",
        "",
        *_table(header, rows, ".3f", {0: ".1f", 3: "", 4: ".3f", 7: ".4f", 8: "+.2f"}),
        "",
        *textwrap.wrap(sentence, 100),
        f"Written: {out}",
    ]
    data_ = {"setting": setting, "trials": arguments.trials, "seed": run.seed.entropy, "results": data}
    return Report({**data_, "agrees": agrees, "summary": sentence, "figure": str(out)}, lines)


def optimal(arguments: argparse.Namespace) -> Report:
    """α*, the worst α, the risk-optimal α, and what they are worth."""
    problem = _problem(arguments)
    law = ra.margin_law(**problem)
    columns: dict[str, Any] = {
        "beta": problem["beta"],
        "optimal_alpha": ra.optimal_alpha(**problem),
        "worst_alpha": law.worst_alpha(),
        "risk_optimal_alpha": law.risk_optimal_alpha(),
        "accuracy_0": law.accuracy(0.0),
        "accuracy_1": law.accuracy(1.0),
    }
    best = np.asarray(columns["optimal_alpha"])
    at_best = law.accuracy(np.nan_to_num(best))  # the closed form's α*, where the law is too near singular for its own
    columns["accuracy_optimal"] = np.where(np.isnan(best), law.best_accuracy(), at_best)
    if arguments.trials:
        run = _simulate(arguments, problem)
        alpha = np.stack([np.zeros(law.shape), np.ones(law.shape), np.nan_to_num(columns["optimal_alpha"])])
        estimate = run.accuracy(alpha)
        values, errors = np.asarray(estimate.value), np.asarray(estimate.stderr)
        for name, value, stderr in zip(("0", "1", "optimal"), values, errors, strict=True):
            columns[f"simulated_{name}"], columns[f"stderr_{name}"] = value, stderr
    names = [name.replace("_", " ") for name in columns]
    return Report(columns, _table(names, list(zip(*columns.values(), strict=True)), ".4f"))


def curve(arguments: argparse.Namespace) -> Report:
    """Accuracy and risk against α, as a plot, a CSV file, or a table on standard output."""
    _check_out(arguments.out, ".csv")
    problem = _problem(arguments)
    law = ra.margin_law(**problem)
    low, high = _range(arguments, law)
    points = integer("--points", arguments.points, 2)
    check_memory(f"--points {points}", 500.0 * points * len(law))  # rows of Python numbers, before they are written
    grid = np.linspace(low, high, points)
    columns: dict[str, Any] = {"alpha": np.tile(grid, len(law)), "beta": np.repeat(problem["beta"], points)}
    columns["accuracy"] = np.asarray(law[:, None].accuracy(grid)).ravel()
    columns["risk"] = np.asarray(law[:, None].risk(grid)).ravel()
    run = _simulate(arguments, problem) if arguments.trials else None
    if run is not None:
        for name, estimate in (("accuracy", run.accuracy(grid[:, None])), ("risk", run.risk(grid[:, None]))):
            columns[f"simulated_{name}"] = np.asarray(estimate.value).T.ravel()
            columns[f"stderr_{name}"] = np.asarray(estimate.stderr).T.ravel()
    rows = list(zip(*(np.asarray(c).tolist() for c in columns.values()), strict=True))
    if arguments.out is None:
        return Report(columns, [",".join(columns), *(",".join(map(repr, row)) for row in rows)])
    if arguments.out.suffix.lower() == ".csv":
        _write_csv(arguments.out, columns, rows)
    else:
        _picture(arguments.out, lambda axes: _draw_curves(axes, law, problem["beta"], grid, run), panels=2)
    return Report({**columns, "out": str(arguments.out)}, [f"{len(rows)} points: {arguments.out}"])


def compare(arguments: argparse.Namespace) -> Report:
    """Theory against simulation for one problem; exit status 1 if they disagree beyond chance."""
    from rmt_alpha.comparison import LEVEL, compare, require_trials

    require_trials(integer("trials", arguments.trials))
    problem = _problem(arguments)
    best = ra.optimal_alpha(**problem)
    marks = [0.0, 1.0] if math.isnan(best) else [0.0, 1.0, best]
    run = _simulate(arguments, problem)
    comparison = compare(run, marks if arguments.alpha is None else arguments.alpha)
    records = _records(comparison)
    verdict = "agree" if comparison.agrees else "DISAGREE"
    lines = _table(list(records[0]), [tuple(r.values()) for r in records], ".5f", {5: "+.2f", 6: "+.2f"})
    lines += [
        "",
        "z: difference over its standard error. excess: the same after allowing for the O(1/n) bias of finite size.",
        f"Theory and simulation {verdict}: |excess| ≤ {comparison.threshold:.2f} is within chance for "
        f"{len(records)} quantities (level {LEVEL:g}, {comparison.trials} trials).",
    ]
    data = {"rows": records, "threshold": comparison.threshold, "agrees": comparison.agrees}
    return Report({**data, "trials": comparison.trials, "seed": run.seed.entropy}, lines, 0 if comparison.agrees else 1)


def errata(arguments: argparse.Namespace) -> Report:
    """Compare the published and the corrected formula with Monte Carlo, where the source has few samples."""
    from rmt_alpha.estimate import Estimate
    from rmt_alpha.theory import errata

    problem = {name: getattr(arguments, name) for name in PROBLEM if "noise" not in name}
    integer("trials", arguments.trials, 2)
    published = (
        errata.published_second_moment(arguments.alpha, **problem),
        errata.published_optimal_alpha(**problem),
    )
    if arguments.gamma_source == 0.0 and arguments.n_source == arguments.p:
        raise ValueError("--gamma-source must be positive with as many source samples as dimensions")
    corrected = float(_second_moment(ra.margin_law(**problem), arguments.alpha)), ra.optimal_alpha(**problem)
    run = _simulate(arguments, problem)
    moment = Estimate.of(_second_moment(run.law, arguments.alpha))
    rows, data = [], []
    for name, (second, best) in {"published": published, "corrected": corrected}.items():
        estimate = Estimate(np.nan, np.nan, arguments.trials) if np.isnan(best) else run.accuracy(best)
        z = float(np.divide(second - moment.value, moment.stderr))
        rows.append((name, second, z, best, estimate.value, estimate.stderr))
        data.append(
            {
                "formula": name,
                "second_moment": second,
                "z": z,
                "optimal_alpha": best,
                "simulated_accuracy": estimate.value,
                "stderr_accuracy": estimate.stderr,
            }
        )
    header = ("formula", "E[(w·x)²]", "z", "its α*", "accuracy there", "± s.e.")
    lines = [
        f"Second moment at α = {arguments.alpha:g}, Monte Carlo: {moment.value:.3f} ± {moment.stderr:.3f} "
        f"({arguments.trials} trials; accuracies are simulated)",
        "",
        *_table(header, rows, ".4f", {0: "", 1: ".3f", 2: "+.1f", 3: ".3f"}),
        "",
        "In the published code the squared length of a ridge-trained source lacks a factor 1/h̃ and the last term of a",
        "square. The corrected formula is the limit of large n; with many trials its O(1/n) error shows in z.",
    ]
    monte_carlo = {"second_moment": moment.value, "stderr": moment.stderr, "trials": arguments.trials}
    return Report(
        {"alpha": arguments.alpha, "monte_carlo": {**monte_carlo, "seed": run.seed.entropy}, "formulas": data}, lines
    )


def _second_moment(law: ra.MarginLaw, alpha: float) -> Any:
    mean, variance = law.moments(alpha)
    with np.errstate(over="ignore"):
        return np.square(mean) + variance


def lora_demo(arguments: argparse.Namespace) -> Report:
    """Train α-LoRA layers: with fixed α they are ridge classifiers; a trained α rests where theory says."""
    from rmt_alpha.lora.experiments import LEVEL, THEORIES, fixed_alpha_study, trained_alpha_study
    from rmt_alpha.problem import Experiment

    _check_out(arguments.out)
    trials = integer("--trials", arguments.trials, MIN_TRAININGS)
    root, progress = seed_sequence(arguments.seed), _interactive(arguments)
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

    out = _picture(
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
        *_table(("α", "difference", "theory", "trained", "± s.e."), fixed, ".4f", {0: ".3f", 1: ".0e"}),
        "",
        "Trained α, a step on a fresh batch after every 10 steps of the adapter: where it comes to rest, and three",
        f"theories of that ({trials} data sets; tolerance: what chance and an O(1/n) bias explain)",
        "",
        *_table(header, rows, ".4f"),
    ]


def verify(arguments: argparse.Namespace) -> Report:  # noqa: ARG001 - every command takes them
    """Derive the theory anew, step by step; exit status 1 if a derivation fails."""
    from rmt_alpha.theory.symbolic import ProofError, verify

    lines: list[str] = []
    try:
        proofs = verify(echo=lines.append)
    except ProofError as error:
        return Report({"agrees": False, "error": str(error), "proofs": lines}, [*lines, "", str(error)], 1)
    return Report({"agrees": True, "proofs": [proof.name for proof in proofs]}, lines)


def transfer(arguments: argparse.Namespace) -> Report:
    """Predict and measure the accuracy curve of a transfer between two real data sets."""
    from importlib.util import find_spec

    from rmt_alpha import plots
    from rmt_alpha.estimation.datasets import load
    from rmt_alpha.estimation.held_out import held_out_curves

    _check_out(arguments.out, ".csv")
    points = integer("--points", arguments.points, 2)
    check_memory(f"--points {points}", 500.0 * points)
    low, high = _ends(arguments.alpha_min, arguments.alpha_max)
    shrinkage = arguments.shrinkage
    if shrinkage is None and find_spec("sklearn") is not None:
        shrinkage = "ledoit-wolf"
    curves = held_out_curves(
        load(arguments.source),
        load(arguments.target),
        n=arguments.n,
        gamma=arguments.gamma,
        gamma_source=arguments.gamma_source,
        n_source=arguments.n_source,
        alphas=np.linspace(low, high, points),
        splits=arguments.splits,
        shrinkage=shrinkage,
        seed=arguments.seed,
        progress=_interactive(arguments),
    )
    columns = {
        "alpha": curves.alphas,
        "measured": np.asarray(curves.accuracy.value),
        "stderr": np.asarray(curves.accuracy.stderr),
        "predicted": curves.prediction,
        "predicted_spread": curves.prediction_spread,
    }
    if curves.with_covariance is not None:
        columns["predicted_with_covariance"] = curves.with_covariance.prediction
        columns["predicted_with_covariance_spread"] = curves.with_covariance.prediction_spread
    if arguments.out.suffix.lower() == ".csv":
        _write_csv(arguments.out, columns, zip(*columns.values(), strict=True))
    else:

        def draw(ax: Any) -> None:
            plots.held_out(ax, curves)
            ax.set_title(
                rf"{curves.source} $\to$ {curves.target}, n = {curves.n}, $\gamma$ = {curves.gamma:g}", fontsize=10
            )
            ax.figure.legend(loc="outside lower center", ncols=3, fontsize=8)  # seven entries would hide the curves

        _picture(arguments.out, draw)
    summary = _transfer_summary(curves)
    lines = _transfer_lines(curves, summary)
    return Report({**summary, "curve": columns, "out": str(arguments.out)}, [*lines, f"Written: {arguments.out}"])


def _transfer_summary(curves: Any) -> dict[str, Any]:
    """Return what the curves say, in numbers."""
    from rmt_alpha.estimate import Estimate

    second = curves.with_covariance
    at_best = {"scratch": curves.at_zero, "fine_tuning": curves.at_one, "predicted_alpha": curves.at_optimal_alpha}
    alphas = {"scratch": 0.0, "fine_tuning": 1.0, "predicted_alpha": curves.optimal_alpha}
    if second is not None:
        at_best["predicted_alpha_with_covariance"] = second.at_optimal_alpha
        alphas["predicted_alpha_with_covariance"] = second.optimal_alpha
    measured = {name: Estimate.of(samples) for name, samples in at_best.items()} | {"hindsight": curves.best_accuracy}
    alphas["hindsight"] = curves.best_alpha

    def predicted(prediction: Any, at: str) -> float:
        return float(np.mean(prediction.law.accuracy(np.where(np.isnan(alphas[at]), 1.0, alphas[at]))))

    accuracies = []
    for at, estimate in measured.items():
        defined = np.ravel(alphas[at])[~np.isnan(np.ravel(alphas[at]))]
        row = {"at": at, "alpha": float(np.median(defined)) if defined.size else np.nan}
        row |= {"measured": estimate.value, "stderr": estimate.stderr, "predicted": predicted(curves, at)}
        if second is not None:
            row["predicted_with_covariance"] = predicted(second, at)
        accuracies.append(row)
    return {
        "source": curves.source,
        "target": curves.target,
        "n": curves.n,
        "p": int(np.median(curves.p)),
        "n_source": int(np.median(curves.n_source)),
        "gamma": curves.gamma,
        "gamma_source": curves.gamma_source,
        "splits": len(curves.measured),
        "seed": curves.seed.entropy,
        "accuracies": accuracies,
        "splits_at_bound": float(np.mean(curves.at_bound)),
        **_judge(curves, curves),
        "with_covariance": None if second is None else _judge(curves, second),
        "anisotropy": float(np.median(curves.anisotropy)),
        "source_variance": float(np.median(curves.source_variance)),
    }


def _judge(curves: Any, prediction: Any) -> dict[str, Any]:
    """Return the verdict on one prediction."""
    verdict = curves.verdict(prediction)
    judged = len(curves.measured) >= MIN_SPLITS or bool(verdict.ranges)
    return {
        "splits_without_predicted_alpha": prediction.fraction_undefined,
        "prediction_holds": verdict.holds if judged else None,
        "prediction_undefined": bool(verdict.undefined.any()),
        "threshold": verdict.threshold,
        "prediction_fails": [list(ends) for ends in verdict.ranges],
        "largest_difference": verdict.largest,
        "largest_difference_at": verdict.alpha,
    }


def _transfer_lines(curves: Any, summary: dict[str, Any]) -> list[str]:
    """Say the summary in words."""
    names = {
        "scratch": "from scratch",
        "fine_tuning": "fine-tuning",
        "predicted_alpha": "isotropic α* (median)",
        "predicted_alpha_with_covariance": "covariance α* (median)",
        "hindsight": "best in hindsight",
    }
    second = summary["with_covariance"]
    header = ("", "α", "measured", "± s.e.", "isotropic", "with covariance")[: 5 if second is None else 6]
    rows = [(names[r["at"]], *list(r.values())[1:]) for r in summary["accuracies"]]
    lines = [
        f"{curves.source} → {curves.target}: n = {curves.n} target rows, p = {summary['p']} features, "
        f"N = {summary['n_source']} source rows,",
        f"γ = {curves.gamma:g}, γ̃ = {curves.gamma_source:g}, {summary['splits']} splits. Measured accuracy, and two "
        "predictions:"
        if second is not None
        else f"γ = {curves.gamma:g}, γ̃ = {curves.gamma_source:g}, {summary['splits']} splits.",
        "",
        *_table(header, rows, ".3f", {3: ".4f"}),
        "",
        "Each split takes its own predicted α*; the best α in hindsight was chosen on the held-out rows themselves.",
    ]
    if summary["splits_at_bound"] > 0.0:
        lines.append(
            f"In {summary['splits_at_bound']:.0%} of the splits the target rows show no mean beyond the source's "
            "direction: the isotropic α* is little more than noise there."
        )
    lines.append(_judgement("isotropic prediction", summary))
    if second is None:
        lines.append(
            "The prediction with covariance is left out. Give --shrinkage a number in [0, 1], or install scikit-learn:"
        )
        lines.append('    pip install "rmt_alpha[data]"')
    else:
        lines.append(_judgement("prediction with covariance", second))
    lines.append(
        "The isotropic theory assumes noise alike in all directions. Here p·tr Σ²/(tr Σ)² is "
        f"{summary['anisotropy']:.2f} instead of 1, and the variance along the source's weights is "
        f"{summary['source_variance']:.2f} of the average instead of 1."
    )
    return [short for line in lines for short in (textwrap.wrap(line, 100) or [""])]


def _judgement(name: str, verdict: dict[str, Any]) -> str:
    """Say a verdict in a sentence."""
    at, errors = f"α = {verdict['largest_difference_at']:.3g}", f"{verdict['threshold']:.3g} errors"
    difference = f"predicted − measured is {verdict['largest_difference']:+.3f} at {at}"
    if verdict["prediction_fails"]:
        where = ", ".join(f"[{left:.3g}, {right:.3g}]" for left, right in verdict["prediction_fails"])
        return f"The {name} FAILS (by more than {errors}) for α in {where}; {difference}."
    if verdict["prediction_undefined"]:
        return f"The {name} is undefined here: the theory's numbers leave its range in some split."
    if verdict["prediction_holds"] is None:
        return f"Fewer than {MIN_SPLITS} splits cannot tell whether the {name} fails; {difference}."
    return f"The {name} is not refuted: within {errors} for every α; at most, {difference}."


SWEEP = """\
trials = 100                # of each point; 0: theory alone
seed = 1                    # also: method, noise, dof, test_size

[grid]                      # arguments of a problem: a number, an array, or a range
beta = [0.2, 0.8]
n = [50, 100]
p = [100, 200]
gamma = { start = 0.01, stop = 1, num = 3, spacing = "log" }
alpha = [0, 1, "optimal"]
together = [["n", "p"]]     # these vary in step
"""
"""What a sweep's file looks like."""

SETTINGS = {"trials": int, "seed": int, "method": str, "noise": str, "dof": float, "test_size": int}
"""What the file of a sweep says beside the grid, and as what."""


def sweep(arguments: argparse.Namespace) -> Report:
    """Theory and simulation over a grid of problems, described by a TOML file, as a table."""
    from rmt_alpha.sweeps import sweep

    for name, least in (("trials", 0), ("workers", 1)):
        if getattr(arguments, name) is not None:
            integer(f"--{name}", getattr(arguments, name), least)
    out, table = _sweep_files(arguments)
    given = {name: getattr(arguments, name) for name in ("trials", "seed") if getattr(arguments, name) is not None}
    plan = {"trials": 100, "seed": 0} | _read_sweep(arguments.file) | given
    checkpoint = out if plan["trials"] else None
    try:
        result = sweep(**plan, workers=arguments.workers, progress=_interactive(arguments), checkpoint=checkpoint)
        result.to_csv(table)
    except ValueError as error:
        raise ValueError(f"{arguments.file}: {error}") from None
    except KeyboardInterrupt:
        if checkpoint is not None and out.exists():
            print(f"{out} keeps what is finished: the same command with --resume continues", file=sys.stderr)
        raise

    points = math.prod(result.shape[:-1])
    data = {"points": points, "rows": points * result.shape[-1], "trials": result.trials, "axes": list(result.dims)}
    lines = [f"{points} points at {result.shape[-1]} values of α, {result.trials or 'no'} trials at each point."]
    if result.seed is not None:
        scores = np.abs(result["z"])
        largest = float(np.nanmax(scores)) if not np.isnan(scores).all() else math.nan
        data |= {"largest_z": largest, "seed": result.seed.entropy, "out": str(out)}
        lines.append(f"Largest |z| of the accuracy, in which theory's own O(1/n) error shows: {largest:.2f}")
        lines.append(f"Trials: {out}")
    return Report({**data, "csv": str(table)}, [*lines, f"Table: {table}"])


def _sweep_files(arguments: argparse.Namespace) -> tuple[Path, Path]:
    """Return the files for trials and table; refuse, before the work is done, what would be lost or fail."""
    out: Path = arguments.out
    _require_writable("--out", out)
    table: Path = arguments.csv or out.with_suffix(".csv")
    _require_writable("--csv", table)
    if len({path.resolve() for path in (out, table, arguments.file)}) < 3:
        raise ValueError(f"--out {out}, --csv {table} and {arguments.file} must be different files")
    if not arguments.resume:
        if out.exists():
            raise ValueError(f"--out {out} is there already: continue it with --resume, or name another file")
        if arguments.csv is None and table.exists():
            raise ValueError(f"{table}, where the table would go, is there already: name another file with --csv")
    return out, table


def _read_sweep(file: Path) -> dict[str, Any]:
    """Return what a sweep's file says, as keywords of `rmt_alpha.sweep`; its ranges written out."""
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:  # neither TOML nor text
        raise ValueError(f"{file} is not a TOML file: {error}") from None
    grid = content.pop("grid", None)
    if not isinstance(grid, dict):
        raise ValueError(f"{file}: [grid] is missing, the table of the problem's arguments")
    for where, entries, known in (("", content, SETTINGS), ("grid.", grid, (*PROBLEM, "alpha", "together"))):
        for key in entries:
            if key not in known:
                raise ValueError(f"{file}: {where}{key} is unknown, the keys here are {', '.join(known)}")
    for key, value in content.items():
        kind = SETTINGS[key]
        if isinstance(value, bool) or not isinstance(value, kind | int if kind is float else kind):
            raise ValueError(f"{file}: {key} must be of type {kind.__name__}, got {value!r}")
    for name in PROBLEM[:4]:
        if name not in grid:
            raise ValueError(f"{file}: grid.{name} is missing")
    for name in (*PROBLEM, "alpha"):
        if name in grid:
            grid[name] = _axis(f"{file}: grid.{name}", grid[name], whole=name in ("n", "p", "n_source"))
    return {**content, **grid}


def _axis(where: str, value: Any, *, whole: bool) -> Any:
    """Return the values of one argument, those of a range written out, and rounded where they count something."""
    if isinstance(value, dict):
        return _written_out(where, value, whole=whole)
    for entry in value if isinstance(value, list) else [value]:
        if isinstance(entry, bool) or not isinstance(entry, int | float | str):
            raise ValueError(f"{where} must be a number, an array or a range {{ start, stop, num }}, got {entry!r}")
    return value


def _written_out(where: str, value: dict[str, Any], *, whole: bool) -> Any:
    spacing = value.get("spacing", "linear")
    if not {"start", "stop", "num"} <= set(value) <= {"start", "stop", "num", "spacing"}:
        raise ValueError(f"{where} must have start, stop and num, and may have spacing, got {', '.join(value)}")
    if spacing not in ("linear", "log"):
        raise ValueError(f'{where}.spacing must be "linear" or "log", got {spacing!r}')
    low = 0.0 if spacing == "log" else -math.inf
    start, stop = (real(f"{where}.{end}", value[end], low, open_low=spacing == "log") for end in ("start", "stop"))
    num = integer(f"{where}.num", value["num"])
    check_memory(f"{where}.num = {num}", 1e3 * num)
    values = np.geomspace(start, stop, num) if spacing == "log" else np.linspace(start, stop, num)
    return np.rint(values) if whole else values


# What the commands share.


def _problem(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the problem's parameters as keywords of the package's functions."""
    return {name: getattr(arguments, name) for name in PROBLEM}


def _simulate(arguments: argparse.Namespace, problem: dict[str, Any]) -> ra.Simulation:
    return ra.simulate(**problem, trials=arguments.trials, seed=arguments.seed, progress=_interactive(arguments))


def _interactive(arguments: argparse.Namespace) -> bool:
    """Tell whether a person is watching standard error."""
    return not arguments.json and sys.stderr.isatty()


def _records(comparison: Any) -> list[dict[str, Any]]:
    names = ("quantity", "theory", "simulated", "stderr", "allowance", "z", "excess")
    c = comparison
    columns = (c.quantities, c.theory, c.simulated, c.stderr, c.allowance, c.z, c.excess)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _range(arguments: argparse.Namespace, law: ra.MarginLaw) -> tuple[float, float]:
    """Return the ends of the α axis: as asked, or such that 0, 1, α* and the worst α are all on it."""
    marks = np.concatenate([[0.0, 1.0], np.ravel(law.optimal_alpha()), np.ravel(law.worst_alpha())])
    marks = marks[np.isfinite(marks) & (np.abs(marks) < 1e3)]
    margin = 0.2 * (marks.max() - marks.min())
    low = marks.min() - margin if arguments.alpha_min is None else arguments.alpha_min
    high = marks.max() + margin if arguments.alpha_max is None else arguments.alpha_max
    return _ends(float(low), float(high))


def _ends(low: float, high: float) -> tuple[float, float]:
    """Check the ends of the α axis."""
    if not (low < high and math.isfinite(high - low)):
        raise ValueError(f"--alpha-min must be finite and below --alpha-max, got {low:g} and {high:g}")
    return low, high


def _table(
    header: Iterable[str], rows: Iterable[Iterable[Any]], style: str, styles: dict[int, str] | None = None
) -> list[str]:
    """Lay out rows under a header; `styles` overrides the number format of single columns."""
    formats = styles or {}

    def cell(column: int, value: Any) -> str:
        return value if isinstance(value, str) else format(float(value), formats.get(column, style))

    cells = [list(header), *([cell(i, value) for i, value in enumerate(row)] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in cells]


def _plain(value: Any) -> Any:
    """Return what JSON can hold: lists for arrays, null for nan and the infinities."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, np.ndarray | list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _check_out(out: Path | None, *tables: str) -> None:
    """Refuse a file that cannot be written before the work is done."""
    if out is None:
        return
    suffixes = (*PICTURES, *tables)
    if out.suffix.lower() not in suffixes:
        raise ValueError(f"--out must end in {', '.join(suffixes)}, got {str(out)!r}")
    _require_writable("--out", out)


def _require_writable(option: str, out: Path) -> None:
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise ValueError(f"{option} {out} cannot be written")


def _write_csv(out: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    try:
        with out.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(rows)
    except OSError as error:
        raise ValueError(f"--out {out}: {error.strerror}") from None


def _picture(out: Path, draw: Callable[[Any], None], panels: int = 1) -> Path:
    """Draw one figure into a file, without a display."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4 * panels, 4.4), layout="constrained")
    draw(figure.subplots(1, panels))
    try:
        figure.savefig(out, dpi=150)
    except OSError as error:
        raise ValueError(f"--out {out}: {error.strerror}") from None
    return out


def _draw_demo(ax: Any, law: ra.MarginLaw, beta: Any, run: ra.Simulation, limits: tuple[float, float]) -> None:
    from rmt_alpha import plots

    grid, few = np.linspace(*limits, 200), np.linspace(*limits, 15)
    for i, colour in zip(range(len(beta)), plots.COLOURS, strict=False):
        plots.accuracy_curve(ax, law[i], grid, label=rf"theory, $\beta$ = {beta[i]:g}", color=colour)
        label = f"{len(run.law)} experiments ± 2 s.e." if i == 0 else "_"
        plots.estimates(ax, few, run[i].accuracy(few), label=label, color=colour)
    ax.axvline(1.0, color="0.6", linewidth=0.8)
    ax.axhline(0.5, color="0.6", linewidth=0.8)
    ax.annotate(r"$\alpha = 1$", (1.0, ax.get_ylim()[0]), xytext=(3, 4), textcoords="offset points", color="0.4")
    ax.set_title(r"Best scale of the pre-trained weights ($\bigstar$: $\alpha^*$, $\times$: accuracy ½)", fontsize=10)
    ax.legend(fontsize=8)


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


def _draw_curves(axes: Any, law: ra.MarginLaw, beta: Any, grid: Any, run: ra.Simulation | None) -> None:
    from rmt_alpha import plots

    few = grid[:: max(1, len(grid) // 15)]
    for i in range(len(beta)):
        style = {"color": plots.COLOURS[i % len(plots.COLOURS)]}
        label = rf"$\beta$ = {beta[i]:g}"
        plots.accuracy_curve(axes[0], law[i], grid, label=label, **style)
        plots.risk_curve(axes[1], law[i], grid, label=label, **style)
        if run is not None:
            plots.estimates(axes[0], few, run[i].accuracy(few), label="_", **style)
            plots.estimates(axes[1], few, run[i].risk(few), label="_", **style)
    for ax in axes:
        ax.axvline(1.0, color="0.6", linewidth=0.8)
    axes[0].set_title(r"$\bigstar$: $\alpha^*$, $\times$: accuracy ½", fontsize=10)
    axes[1].set_title(r"$\bigstar$: least risk", fontsize=10)
    axes[0].legend(fontsize=8)


# The parser.


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rmt-alpha",
        description="Random matrix theory for transfer learning: the best scale of pre-trained weights, predicted and "
        "checked. Without a command: demo.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {ra.__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    command = _command(commands, "demo", demo, "")
    _trials(command, 2000)
    command.add_argument("--out", type=Path, default=Path("rmt_alpha_demo.png"), help="picture (default: %(default)s)")

    setting = "--beta 0.2 0.8 --n 200 --p 400 --gamma 0.1 --n-source 2000 --gamma-source 1"
    command = _command(commands, "optimal", optimal, setting)
    _problem_arguments(command, many=True)
    _trials(command, 0)

    command = _command(commands, "curve", curve, f"{setting} --out curve.png")
    _problem_arguments(command, many=True)
    _trials(command, 0)
    command.add_argument("--alpha-min", type=float, help="left end of the α axis (default: shows α* and the worst α)")
    command.add_argument("--alpha-max", type=float, help="right end of the α axis")
    command.add_argument("--points", type=int, default=101, help="values of α (default: %(default)s)")
    command.add_argument("--out", type=Path, help="picture or .csv file (default: CSV on standard output)")

    command = _command(commands, "compare", compare, setting.replace("0.2 0.8", "0.8") + " --trials 50")
    _problem_arguments(command)
    _trials(command, 100)
    command.add_argument("--alpha", type=float, nargs="+", help="where accuracies are compared (default: 0, 1, α*)")

    command = _command(commands, "errata", errata, "--n-source 300 --trials 50")
    _problem_arguments(command, noise=False, beta=0.8, n=200, p=400, gamma=0.5, n_source=400, gamma_source=0.1, mu=1.5)
    _trials(command, 100)
    command.add_argument(
        "--alpha", type=float, default=3.0, help="where the second moment is taken (default: %(default)s)"
    )

    command = _command(commands, "lora-demo", lora_demo, "--trials 5")
    what = "data sets to train on for each of the problems, at least 5 (default: %(default)s)"
    command.add_argument("--trials", type=int, default=8, help=what)
    out = Path("rmt_alpha_lora_demo.png")
    command.add_argument("--out", type=Path, default=out, help="picture (default: %(default)s)")

    _command(commands, "verify", verify, "")

    command = _command(commands, "transfer", transfer, "digits:6,8 digits:5,9 --n 40 --gamma 1 --gamma-source 1")
    what = "a .npz file (arrays X, y), a .csv file (label: the column named y or label, else the last), or digits:A,B"
    command.add_argument("source", help=f"data of the source task: {what}")
    command.add_argument("target", help="data of the target task, likewise")
    command.add_argument(
        "--n", type=int, default=40, help="target rows to train on, at least 4 of each label (default: %(default)s)"
    )
    command.add_argument("--n-source", type=int, help="source rows to train on (default: all)")
    command.add_argument("--gamma", type=float, default=1.0, help="ridge penalty γ (default: %(default)g)")
    command.add_argument("--gamma-source", type=float, default=1.0, help="that of the source (default: %(default)g)")
    command.add_argument("--splits", type=int, default=50, help="random splits (default: %(default)s)")
    what = "how covariances are shrunk: ledoit-wolf, oas (both need scikit-learn) or a number in [0, 1] that does not"
    command.add_argument("--shrinkage", type=_number_or_name, help=f"{what} (default: ledoit-wolf where it can)")
    command.add_argument("--alpha-min", type=float, default=-1.0, help="left end of the α axis (default: %(default)g)")
    command.add_argument("--alpha-max", type=float, default=3.0, help="right end of the α axis (default: %(default)g)")
    command.add_argument("--points", type=int, default=81, help="values of α (default: %(default)s)")
    out = Path("rmt_alpha_transfer.png")
    command.add_argument("--out", type=Path, default=out, help="picture or .csv file (default: %(default)s)")

    example = "sweep.toml --out results.sqlite\n\nwith sweep.toml such as\n\n" + textwrap.indent(SWEEP, "  ")
    command = _command(commands, "sweep", sweep, example, seed=None)
    command.add_argument("file", type=Path, metavar="FILE.toml", help="the grid, see below")
    what = "file that keeps the trials as they are finished, so that a run that was stopped can be continued"
    command.add_argument("--out", type=Path, required=True, help=what)
    command.add_argument("--csv", type=Path, help="the table (default: --out with the ending .csv)")
    command.add_argument("--resume", action="store_true", help="continue --out, if it is there")
    command.add_argument("--workers", type=int, help="threads (default: one for each CPU)")
    command.add_argument("--trials", type=int, help="simulated experiments at each point, instead of FILE's")
    return parser


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _command(
    commands: Any, name: str, run: Callable[..., Report], example: str, *, seed: int | None = 0
) -> argparse.ArgumentParser:
    summary = (run.__doc__ or "").strip()
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example: rmt-alpha {name} {example}".rstrip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,  # an example must stay on its line to be copied
        allow_abbrev=False,
    )
    parser.set_defaults(run=run, parser=parser)
    parser._negative_number_matcher = re.compile(
        r"-((\d+\.?\d*|\.\d+)(e[-+]?\d+)?|inf|nan)$", re.IGNORECASE
    )  # argparse's misses 1e3
    parser.add_argument("--json", action="store_true", help="print one JSON object (null where undefined)")
    what = "seed of all random numbers" + (" (default: %(default)s)" if seed is not None else ", instead of FILE's")
    parser.add_argument("--seed", type=int, default=seed, help=what)
    return parser


def _trials(parser: argparse.ArgumentParser, default: int) -> None:
    what = "simulated experiments" if default else "simulated experiments to set beside theory"
    parser.add_argument("--trials", type=int, default=default, help=f"{what} (default: %(default)s)")


def _problem_arguments(
    parser: argparse.ArgumentParser, *, many: bool = False, noise: bool = True, **defaults: float
) -> None:
    """Add the parameters of an isotropic problem; those without a default here are the user's to give."""
    group = parser.add_argument_group("problem")
    defaults = {"mu": 1.0, "mu_perp": 1.0, "label_noise": 0.0, "label_noise_source": 0.0} | defaults
    optional = ("n_source", "gamma_source")
    helps = {
        "beta": "alignment β of target and source, in [-1, 1]" + ("; one or more" if many else ""),
        "n": "target samples",
        "p": "dimension",
        "gamma": "ridge penalty γ of the fine-tuning",
        "mu": "norm of the source mean",
        "mu_perp": "norm of the orthogonal direction",
        "n_source": "source samples N; left out, the source is the oracle w̃ = μ",
        "gamma_source": "ridge penalty γ̃ of the source",
        "label_noise": "probability that a target label is flipped",
        "label_noise_source": "probability that a source label is flipped",
    }
    for name in PROBLEM if noise else PROBLEM[:-2]:
        default = defaults.get(name)
        group.add_argument(
            "--" + name.replace("_", "-"),
            type=float,
            nargs="+" if many and name == "beta" else None,
            required=default is None and name not in optional,
            default=default,
            help=helps[name].split(";")[0] + f" (default: {default:g})" if default is not None else helps[name],
        )
