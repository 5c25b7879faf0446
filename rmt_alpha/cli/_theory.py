"""The theory of one problem, beside simulations: demo, optimal, curve, compare, errata, verify."""

import argparse
import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

import rmt_alpha as ra
from rmt_alpha._tables import ERRORS
from rmt_alpha._validation import check_memory, integer
from rmt_alpha.cli._shared import (
    PICTURES,
    Report,
    add_command,
    add_trials,
    check_out,
    ends,
    interactive,
    picture,
    table,
    write_csv,
)

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


def demo(arguments: argparse.Namespace) -> Report:
    """Figure 1 of the paper: theory against simulation at three β, with one source for all of them."""
    from rmt_alpha.comparison import compare, require_trials

    check_out(arguments.out, *PICTURES)
    require_trials(arguments.trials)
    beta = np.array([0.2, 0.5, 0.9])
    setting: dict[str, Any] = {"n": 40, "p": 1000, "gamma": 0.1, "mu": 0.8, "mu_perp": 0.8}
    setting |= {"n_source": 5000, "gamma_source": 5.0}
    run = ra.simulate(beta, **setting, trials=arguments.trials, seed=arguments.seed, progress=interactive(arguments))
    between = ra.fluctuations(beta, **setting)
    law = between.law
    best, worst = ra.optimal_alpha(beta, **setting), np.asarray(law.worst_alpha())
    rows, data, agrees, spreads_agree = [], [], True, True
    for i in range(beta.size):
        alphas = [0.0, 1.0, float(best[i])]
        comparison = compare(run[i], alphas)
        agrees &= comparison.agrees
        spreads_agree &= comparison.spreads_agree
        entries = list(zip(("0", "1", "α*"), alphas, comparison._records()[-3:], strict=True))
        data.append(
            {"beta": beta[i], "optimal_alpha": best[i], "worst_alpha": worst[i], "accuracies": [r for *_, r in entries]}
        )
        for name, alpha, r in entries:
            places = beta[i], best[i], worst[i], name, alpha
            rows.append((*places, *(r[key] for key in ("theory", "simulated", *ERRORS, "z"))))
    at_one, at_best = law[-1].accuracy(1.0), law[-1].best_accuracy()
    verdict = "agree within chance" if agrees else "DISAGREE beyond chance"
    sentence = (
        f"Scaling the pre-trained weights by α* instead of 1 raises accuracy from {at_one:.3f} to {at_best:.3f} at β = "
        f"{beta[-1]:g}; theory and {arguments.trials} simulated experiments {verdict}."
    )
    errors = f"At α* and β = {beta[-1]:g} {comparison._two_errors(agree=spreads_agree)}"
    limits = float(worst.min()) - 0.5, 1.5 * float(best.max())
    out = picture(arguments.out, lambda ax: _draw_demo(ax, between, beta, run, limits))
    header = ("β", "α*", "worst α", "α", "value", "theory", "simulated", *ERRORS.values(), "z")
    lines = [
        "Accuracy of fine-tuning on n = 40 target samples in p = 1000 dimensions, γ = 0.1, ‖μ‖ = ‖μ_⊥‖ = 0.8,",
        "from a ridge classifier of N = 5000 source samples, γ̃ = 5 (Figure 1 of arXiv 2510.21345):",
        "",
        *table(header, rows, ".3f", {0: ".1f", 3: "", 4: ".3f", 7: ".4f", 8: ".4f", 9: ".4f", 10: "+.2f"}),
        "",
        *textwrap.wrap(f"{sentence} {errors}", 100),
        f"Written: {out}",
    ]
    data_ = {"setting": setting, "trials": arguments.trials, "seed": run.seed.entropy, "results": data}
    verdicts = {"agrees": agrees, "spreads_agree": spreads_agree}
    return Report({**data_, **verdicts, "summary": f"{sentence} {errors}", "figure": str(out)}, lines)


def _draw_demo(ax: Any, between: ra.Fluctuations, beta: Any, run: ra.Simulation, limits: tuple[float, float]) -> None:
    from rmt_alpha import plots
    from rmt_alpha.figures import LINES, MARKERS

    grid, few = np.linspace(*limits, 200), np.linspace(*limits, 15)
    for i, (colour, line, marker) in enumerate(zip(plots.COLOURS[: len(beta)], LINES, MARKERS, strict=False)):
        style: dict[str, Any] = {"color": colour, "linestyle": line}
        plots.accuracy_curve(ax, between[i], grid, label=rf"theory, $\beta$ = {beta[i]:g}", **style)
        label = f"mean of {len(run.law)} ± 2 s.e." if i == 0 else "_"
        plots.estimates(ax, few, run[i].accuracy(few), label=label, color=colour, fmt=marker)
    ax.axvline(1.0, color="0.6", linewidth=0.8)
    ax.axhline(0.5, color="0.6", linewidth=0.8)
    ax.annotate(r"$\alpha = 1$", (1.0, ax.get_ylim()[0]), xytext=(3, 4), textcoords="offset points", color="0.4")
    ax.set_title(r"Best scale of the pre-trained weights ($\bigstar$: $\alpha^*$, $\times$: accuracy ½)", fontsize=10)
    ax.legend(fontsize=8)


def optimal(arguments: argparse.Namespace) -> Report:
    """α*, the worst α, the risk-optimal α, and what they are worth."""
    problem, order = _problem(arguments), arguments.order
    between = ra.fluctuations(**problem)
    law = _law(between, order)
    accuracy = law.accuracy if order == 1 else between.mean_accuracy
    columns: dict[str, Any] = {
        "beta": problem["beta"],
        "optimal_alpha": ra.optimal_alpha(**problem, order=order),
        "worst_alpha": law.worst_alpha(),
        "risk_optimal_alpha": law.risk_optimal_alpha(),
        "accuracy_0": accuracy(0.0),
        "accuracy_1": accuracy(1.0),
    }
    best = np.asarray(columns["optimal_alpha"])
    at_best = accuracy(np.nan_to_num(best))  # the closed form's α*, where the law is too near singular for its own
    columns["accuracy_optimal"] = np.where(np.isnan(best), law.best_accuracy(), at_best)
    forgotten = (law.mean[..., 1] == 0.0) & (law.cov[..., 1, 1] == 0.0)  # no α matters
    at_best = np.where(np.isnan(best) & ~forgotten, np.nan, between.accuracy_std(np.nan_to_num(best)))
    spreads: dict[str, Any] = {
        "optimal_alpha": between.optimal_alpha_std(),
        "accuracy_0": between.accuracy_std(0.0),
        "accuracy_1": between.accuracy_std(1.0),
        "accuracy_optimal": at_best,
    }
    if arguments.trials:
        run = _simulate(arguments, problem)
        alpha = np.stack([np.zeros(law.shape), np.ones(law.shape), np.nan_to_num(columns["optimal_alpha"])])
        estimate = run.accuracy(alpha)
        values, errors = np.asarray(estimate.value), np.asarray(estimate.stderr)
        for name, value, stderr in zip(("0", "1", "optimal"), values, errors, strict=True):
            columns[f"simulated_{name}"], columns[f"stderr_{name}"] = value, stderr
    cells = {**columns}
    for name, spread in spreads.items():
        cells[name] = [f"{value:.4f} ± {std:.4f}" for value, std in zip(columns[name], spread, strict=True)]
    names = [name.replace("_", " ") for name in cells]
    lines = table(names, list(zip(*cells.values(), strict=True)), ".4f")
    lines += ["", "±: the standard deviation between single draws of the samples; of α*, that of a draw's own best α."]
    return Report({**columns, **{f"{name}_std": spread for name, spread in spreads.items()}}, lines)


def curve(arguments: argparse.Namespace) -> Report:
    """Accuracy and risk against α, as a plot, a CSV file, or a table on standard output."""
    check_out(arguments.out, *PICTURES, ".csv")
    problem = _problem(arguments)
    between = ra.fluctuations(**problem)
    law = _law(between, arguments.order)
    low, high = _range(arguments, law)
    points = integer("--points", arguments.points, 2)
    check_memory(f"--points {points}", 500.0 * points * len(law))  # rows of Python numbers, before they are written
    grid = np.linspace(low, high, points)
    columns: dict[str, Any] = {"alpha": np.tile(grid, len(law)), "beta": np.repeat(problem["beta"], points)}
    of_alpha = (law[:, None].accuracy, law[:, None].risk)
    if arguments.order == 2:
        of_alpha = (between[:, None].mean_accuracy, between[:, None].mean_risk)
    columns["accuracy"], columns["risk"] = (np.asarray(value(grid)).ravel() for value in of_alpha)
    columns["accuracy_std"] = np.asarray(between[:, None].accuracy_std(grid)).ravel()
    columns["risk_std"] = np.asarray(between[:, None].risk_std(grid)).ravel()
    run = _simulate(arguments, problem) if arguments.trials else None
    if run is not None:
        for name, estimate in (("accuracy", run.accuracy(grid[:, None])), ("risk", run.risk(grid[:, None]))):
            columns[f"simulated_{name}"] = np.asarray(estimate.value).T.ravel()
            columns[f"stderr_{name}"] = np.asarray(estimate.stderr).T.ravel()
    rows = list(zip(*(np.asarray(c).tolist() for c in columns.values()), strict=True))
    if arguments.out is None:
        return Report(columns, [",".join(columns), *(",".join(map(repr, row)) for row in rows)])
    if arguments.out.suffix.lower() == ".csv":
        write_csv(arguments.out, columns, rows)
    else:
        shown = between, arguments.order, problem["beta"], grid, run
        picture(arguments.out, lambda axes: _draw_curves(axes, *shown), panels=2)
    return Report({**columns, "out": str(arguments.out)}, [f"{len(rows)} points: {arguments.out}"])


def _law(between: ra.Fluctuations, order: int) -> ra.MarginLaw:
    """Return the law that `ra.margin_law` gives to this order, whose numbers the fluctuations have."""
    return between.law if order == 1 else between.corrected_law


def _range(arguments: argparse.Namespace, law: ra.MarginLaw) -> tuple[float, float]:
    """Return the ends of the α axis: as asked, or such that 0, 1, α* and the worst α are all on it."""
    marks = np.concatenate([[0.0, 1.0], np.ravel(law.optimal_alpha()), np.ravel(law.worst_alpha())])
    marks = marks[np.isfinite(marks) & (np.abs(marks) < 1e3)]
    margin = 0.2 * (marks.max() - marks.min())
    low = marks.min() - margin if arguments.alpha_min is None else arguments.alpha_min
    high = marks.max() + margin if arguments.alpha_max is None else arguments.alpha_max
    return ends(float(low), float(high))


def _draw_curves(
    axes: Any, between: ra.Fluctuations, order: int, beta: Any, grid: Any, run: ra.Simulation | None
) -> None:
    from rmt_alpha import plots

    few = grid[:: max(1, len(grid) // 15)]
    for i in range(len(beta)):
        style: dict[str, Any] = {"color": plots.COLOURS[i % len(plots.COLOURS)]}
        label = rf"$\beta$ = {beta[i]:g}"
        plots.accuracy_curve(axes[0], between[i], grid, label=label, order=order, **style)
        plots.risk_curve(axes[1], between[i], grid, label=label, order=order, **style)
        if run is not None:
            named = f"mean of {len(run.law)} ± 2 s.e." if i == 0 else "_"
            plots.estimates(axes[0], few, run[i].accuracy(few), label=named, **style)
            plots.estimates(axes[1], few, run[i].risk(few), label="_", **style)
    for ax in axes:
        ax.axvline(1.0, color="0.6", linewidth=0.8)
    axes[0].set_title(r"$\bigstar$: $\alpha^*$, $\times$: accuracy ½", fontsize=10)
    axes[1].set_title(r"$\bigstar$: least risk", fontsize=10)
    axes[0].legend(fontsize=8)


def compare(arguments: argparse.Namespace) -> Report:
    """Theory against simulation for one problem; exit status 1 if they, or their spreads, disagree beyond chance."""
    from rmt_alpha.comparison import compare, require_trials

    require_trials(integer("trials", arguments.trials))
    problem = _problem(arguments)
    best = ra.optimal_alpha(**problem)
    marks = [0.0, 1.0] if math.isnan(best) else [0.0, 1.0, best]
    run = _simulate(arguments, problem)
    comparison = compare(run, marks if arguments.alpha is None else arguments.alpha, order=arguments.order)
    records, lines = comparison._records(), str(comparison).splitlines()
    data = {"rows": records, "threshold": comparison.threshold, "agrees": comparison.agrees}
    data |= {"spreads_agree": comparison.spreads_agree, "order": comparison.order}
    good = comparison.agrees and comparison.spreads_agree
    return Report({**data, "trials": comparison.trials, "seed": run.seed.entropy}, lines, 0 if good else 1)


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
        *table(header, rows, ".4f", {0: "", 1: ".3f", 2: "+.1f", 3: ".3f"}),
        "",
        "In the published code the squared length of a ridge-trained source lacks a factor 1/h̃ and the last",
        "term of a square. The corrected formula is the limit of large n; with many trials its O(1/n) error",
        "shows in z.",
    ]
    monte_carlo = {"second_moment": moment.value, "stderr": moment.stderr, "trials": arguments.trials}
    return Report(
        {"alpha": arguments.alpha, "monte_carlo": {**monte_carlo, "seed": run.seed.entropy}, "formulas": data}, lines
    )


def _second_moment(law: ra.MarginLaw, alpha: float) -> Any:
    mean, variance = law.moments(alpha)
    with np.errstate(over="ignore"):
        return np.square(mean) + variance


def verify(arguments: argparse.Namespace) -> Report:  # noqa: ARG001 - every command takes them
    """Derive the theory anew, step by step; exit status 1 if a derivation fails."""
    from rmt_alpha.theory.symbolic import ProofError, verify

    lines: list[str] = []
    try:
        proofs = verify(echo=lines.append)
    except ProofError as error:
        return Report({"agrees": False, "error": str(error), "proofs": lines}, [*lines, "", str(error)], 1)
    return Report({"agrees": True, "proofs": [proof.name for proof in proofs]}, lines)


def _problem(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the problem's parameters as keywords of the package's functions."""
    return {name: getattr(arguments, name) for name in PROBLEM}


def _add_order(command: argparse.ArgumentParser) -> None:
    what = "theory: 1 the limit of large n and p, 2 the means over draws, to O(1/n) (default: %(default)s)"
    command.add_argument("--order", type=int, choices=(1, 2), default=1, help=what)


def _simulate(arguments: argparse.Namespace, problem: dict[str, Any]) -> ra.Simulation:
    return ra.simulate(**problem, trials=arguments.trials, seed=arguments.seed, progress=interactive(arguments))


def add_theory(commands: Any) -> None:
    """Add demo, optimal, curve, compare, errata and verify."""
    command = add_command(commands, "demo", demo, "")
    add_trials(command, 2000)
    command.add_argument("--out", type=Path, default=Path("rmt_alpha_demo.png"), help="picture (default: %(default)s)")

    setting = "--beta 0.2 0.8 --n 200 --p 400 --gamma 0.1 --n-source 2000 --gamma-source 1"
    command = add_command(commands, "optimal", optimal, setting)
    _problem_arguments(command, many=True)
    add_trials(command, 0)
    _add_order(command)

    command = add_command(commands, "curve", curve, f"{setting} --out curve.png")
    _problem_arguments(command, many=True)
    add_trials(command, 0)
    _add_order(command)
    command.add_argument("--alpha-min", type=float, help="left end of the α axis (default: shows α* and the worst α)")
    command.add_argument("--alpha-max", type=float, help="right end of the α axis")
    command.add_argument("--points", type=int, default=101, help="values of α (default: %(default)s)")
    command.add_argument("--out", type=Path, help="picture or .csv file (default: CSV on standard output)")

    command = add_command(commands, "compare", compare, setting.replace("0.2 0.8", "0.8") + " --trials 50")
    _problem_arguments(command)
    add_trials(command, 100)
    _add_order(command)
    command.add_argument("--alpha", type=float, nargs="+", help="where accuracies are compared (default: 0, 1, α*)")

    command = add_command(commands, "errata", errata, "--n-source 300 --trials 50")
    _problem_arguments(command, noise=False, beta=0.8, n=200, p=400, gamma=0.5, n_source=400, gamma_source=0.1, mu=1.5)
    add_trials(command, 100)
    command.add_argument(
        "--alpha", type=float, default=3.0, help="where the second moment is taken (default: %(default)s)"
    )

    add_command(commands, "verify", verify, "")


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
