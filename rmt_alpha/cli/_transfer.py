"""Two real data sets, predicted and measured: transfer."""

import argparse
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from rmt_alpha._validation import check_memory, integer
from rmt_alpha.cli._shared import (
    DATA,
    PICTURES,
    Report,
    add_command,
    check_out,
    ends,
    interactive,
    number_or_name,
    picture,
    table,
    write_csv,
)

MIN_SPLITS = 10
"""Fewer splits have so wide a threshold that no prediction fails."""


def transfer(arguments: argparse.Namespace) -> Report:
    """Predict and measure the accuracy curve of a transfer between two real data sets."""
    from importlib.util import find_spec

    from rmt_alpha import plots
    from rmt_alpha.estimation.datasets import load
    from rmt_alpha.estimation.held_out import held_out_curves

    check_out(arguments.out, *PICTURES, ".csv")
    points = integer("--points", arguments.points, 2)
    check_memory(f"--points {points}", 500.0 * points)
    low, high = ends(arguments.alpha_min, arguments.alpha_max)
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
        progress=interactive(arguments),
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
        write_csv(arguments.out, columns, zip(*columns.values(), strict=True))
    else:

        def draw(ax: Any) -> None:
            plots.held_out(ax, curves)
            ax.set_title(
                rf"{curves.source} $\to$ {curves.target}, n = {curves.n}, $\gamma$ = {curves.gamma:g}", fontsize=10
            )
            ax.figure.legend(loc="outside lower center", ncols=3, fontsize=8)  # seven entries would hide the curves

        picture(arguments.out, draw)
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
        *table(header, rows, ".3f", {3: ".4f"}),
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


def add_transfer(commands: Any) -> None:
    """Add transfer."""
    command = add_command(commands, "transfer", transfer, "digits:6,8 digits:5,9 --n 40 --gamma 1 --gamma-source 1")
    command.add_argument("source", help=f"data of the source task: {DATA}")
    command.add_argument("target", help="data of the target task, likewise")
    command.add_argument(
        "--n", type=int, default=40, help="target rows to train on, at least 4 of each label (default: %(default)s)"
    )
    command.add_argument("--n-source", type=int, help="source rows to train on (default: all)")
    command.add_argument("--gamma", type=float, default=1.0, help="ridge penalty γ (default: %(default)g)")
    command.add_argument("--gamma-source", type=float, default=1.0, help="that of the source (default: %(default)g)")
    command.add_argument("--splits", type=int, default=50, help="random splits (default: %(default)s)")
    what = "how covariances are shrunk: ledoit-wolf, oas (both need scikit-learn) or a number in [0, 1] that does not"
    command.add_argument("--shrinkage", type=number_or_name, help=f"{what} (default: ledoit-wolf where it can)")
    command.add_argument("--alpha-min", type=float, default=-1.0, help="left end of the α axis (default: %(default)g)")
    command.add_argument("--alpha-max", type=float, default=3.0, help="right end of the α axis (default: %(default)g)")
    command.add_argument("--points", type=int, default=81, help="values of α (default: %(default)s)")
    out = Path("rmt_alpha_transfer.png")
    command.add_argument("--out", type=Path, default=out, help="picture or .csv file (default: %(default)s)")
