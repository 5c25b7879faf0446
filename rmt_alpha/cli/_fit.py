"""A head for labelled data of the user's own: fit."""

import argparse
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rmt_alpha.cli._shared import (
    DATA,
    Report,
    add_command,
    check_out,
    number_or_name,
    require_writable,
    table,
    write_csv,
)

FIT: dict[str, Any] = {"alpha": "robust", "gamma": 1.0, "gamma_source": 1.0, "scale": None}
"""What the options of `fit` are if they are not given; beside ``--head`` they must not be."""

MIN_SHARE, RELATED, SIGN_LEVEL = 0.01, 0.25, 0.05
"""Of the predictions' variance, for a source to count; its chance before any row (robust rule); of a sign test."""

SHOWN = 10
"""How many predictions are printed."""

FIT_HELP = """\
The interval is for the accuracy on new samples of the same kind. It counts the rows that the fit without
them puts right. A prediction comes with the probability that it is right, which takes the margins of the
same fits for Gaussian.
"""
"""What the numbers of `fit` mean."""


def fit(arguments: argparse.Namespace) -> Report:
    """Train a head on few labelled samples, from pre-trained ones, and say which α, which γ and what to expect."""
    if arguments.out is not None:
        if arguments.predict is None:
            raise ValueError("--out needs --predict, the data to predict")
        check_out(arguments.out, ".csv")
    read = [arguments.data, arguments.predict, arguments.head, *(name for _, name in arguments.sources or ())]
    for option, written in (("--out", arguments.out), ("--save", arguments.save)):
        if written is not None and written.resolve() in [Path(name).resolve() for name in read if name is not None]:
            raise ValueError(f"{option} {written} is read as well, and would be lost: name another file")
    if arguments.head is not None:
        report, head = _load_head(arguments)
    else:
        report, head = _train_head(arguments)
    if arguments.predict is not None:
        _predict(arguments, head, report)
    if arguments.save is not None:
        from rmt_alpha.estimation.heads import save_head

        try:
            save_head(arguments.save, head)
        except OSError as error:
            raise ValueError(f"--save {arguments.save}: {error.strerror}") from None
        report.data["saved"] = str(arguments.save)
        report.lines.append(f"Head: {arguments.save}")
    return report


def _load_head(arguments: argparse.Namespace) -> tuple[Report, Any]:
    """Return a head that was saved, and what there is to say of it."""
    from rmt_alpha.estimation.heads import load_head

    given = {"DATA": arguments.data, "--save": arguments.save, "--source and --source-data": arguments.sources}
    given |= {"--" + name.replace("_", "-"): getattr(arguments, name) for name in FIT}
    if wrong := [name for name, value in given.items() if value is not None]:
        raise ValueError(f"--head is a head that is trained already: leave out {', '.join(wrong)}")
    if arguments.predict is None:
        raise ValueError("--head needs --predict, the data to predict")
    head = load_head(arguments.head)
    if head.classes is None:
        raise ValueError(f"--head {arguments.head} is a regression, it has no classes")
    names, p = head.class_names, head.coef.shape[1]
    data = {"head": str(arguments.head), "p": p, "classes": names, "alpha": head.alpha, "gamma": head.gamma}
    return Report(data, [f"{arguments.head}: a head on {p} features, for the labels {', '.join(names)}."]), head


def _train_head(arguments: argparse.Namespace) -> tuple[Report, Any]:
    """Return a head trained as told, and what there is to say of it."""
    try:
        from rmt_alpha.estimation.estimators import AlphaRidgeClassifier
    except ImportError as error:
        raise ValueError(str(error)) from None
    from rmt_alpha.estimation.datasets import load, match_labels
    from rmt_alpha.estimation.heads import head_of
    from rmt_alpha.estimation.judgement import judge

    if arguments.data is None:
        raise ValueError("DATA is missing, the samples to train on; or give a trained head with --head")
    if arguments.save is not None:
        if arguments.save.suffix.lower() != ".npz":
            raise ValueError(f"--save must end in .npz, got {str(arguments.save)!r}")
        require_writable("--save", arguments.save)
    kinds = {kind for kind, _ in arguments.sources or ()}
    if arguments.alpha is not None and not kinds:
        raise ValueError("--alpha needs a source, --source or --source-data: without one there is no α")
    if arguments.gamma_source is not None and "data" not in kinds:
        raise ValueError("--gamma-source needs --source-data, to train a source head on")
    data = load(arguments.data)
    rule, gamma, gamma_source, scale = (
        default if (value := getattr(arguments, name)) is None else value for name, default in FIT.items()
    )
    given = [_read_source(kind, name, data) for kind, name in arguments.sources or ()]
    unit = _unit(scale, given, data)
    sources = []
    for name, source in given:
        if not hasattr(source, "coef"):
            try:
                model = AlphaRidgeClassifier(gamma=gamma_source, scale=unit).fit(source.X, source.y)
            except ValueError as error:
                raise ValueError(f"--source-data {name}, --gamma-source: {error}") from None
            source = replace(head_of(model), classes=source.classes)
        turned = match_labels(source.class_names, data.classes) == [1, 0]  # then so that they mean the same
        sources.append(-source.coef if turned else source.coef)

    model = AlphaRidgeClassifier(sources or None, alpha=rule, gamma=gamma, scale=unit).fit(data.X, data.y)
    head = replace(head_of(model), classes=np.array(data.classes, dtype=object), features=data.features)
    judgement = judge(model)
    summary = {
        "data": data.name,
        "n": judgement.n,
        "p": data.X.shape[1],
        "rows": {name: int((data.y == sign).sum()) for sign, name in zip((-1.0, 1.0), data.classes, strict=True)},
        "sources": [{"name": name, "rows": len(source.y) if hasattr(source, "y") else None} for name, source in given],
        "rule": rule if sources else None,
        "scale": "source" if isinstance(unit, np.ndarray) else unit or "none",
        "alpha": model.alpha_,
        "gamma": model.gamma_,
        "related": getattr(model, "related_", None),
        "source_share": judgement.share,
        "leave_one_out": [{"at": at, "accuracy": a.hits / judgement.n, **vars(a)} for at, a in judgement.at.items()],
        "expected_accuracy": judgement.accuracy,
        "interval": judgement.interval,
        "level": judgement.level,
        "law_accuracy": judgement.law_accuracy,
    }
    return Report(summary, _fit_lines(summary)), head


def _read_source(kind: str, name: str, data: Any) -> tuple[str, Any]:
    """Return a source's name, and its head or the data to train one on, without the rows that `data` has too."""
    from rmt_alpha.estimation.datasets import LabelledData, load
    from rmt_alpha.estimation.heads import load_head
    from rmt_alpha.estimation.held_out import shared_rows

    if kind == "head":
        head = load_head(name)
        _require_features(name, head, data)
        if len(head.coef) > 1:
            raise ValueError(f"{name} is a head of {len(head.coef)} outputs, two labels need one of a single output")
        return name, head
    source = load(name)
    _require_features(name, source, data)
    kept = np.setdiff1d(np.arange(len(source.y)), shared_rows(source.X, data.X)[0])
    try:
        return name, LabelledData(source.X[kept], source.y[kept], name, source.classes, source.features)
    except ValueError as error:
        raise ValueError(f"{name} without the rows that are in {data.name} as well: {error}") from None


def _require_features(name: str, ours: Any, data: Any) -> None:
    """Refuse data of other features than a head, or other data, has."""
    p, theirs = (ours.coef if hasattr(ours, "coef") else ours.X).shape[1], data.X.shape[1]
    if p != theirs:
        raise ValueError(f"{name} has {p} features, {data.name} has {theirs}")
    if ours.features is not None and data.features is not None:
        for mine, other in zip(ours.features, data.features, strict=True):
            if mine != other:
                raise ValueError(f"{name} has the feature {mine!r} where {data.name} has {other!r}")


def _unit(scale: str | None, sources: list[tuple[str, Any]], data: Any) -> Any:
    """Return the units of the features, as the estimators take them."""
    from rmt_alpha.estimation.splits import Standardiser

    units = None
    if sources and scale in (None, "source"):
        first = sources[0][1]
        known = hasattr(first, "coef")
        units = first.scale if known else Standardiser.fit(first.X, first.y, data.X, data.y).scale
    if scale == "source" and units is None:
        raise ValueError("--scale source needs a first source with units: --source-data, or a head saved with its own")
    return units if units is not None else None if scale == "none" else "std"


def _fit_lines(summary: dict[str, Any]) -> list[str]:
    """Say in words what was trained, and what the samples say of it."""
    counts = ", ".join(f"{rows} of label {name}" for name, rows in summary["rows"].items())
    units = {"source": "scaled as the source's", "std": "scaled by their standard deviations", "none": "not scaled"}
    lines = [
        f"{summary['data']}: n = {summary['n']} rows ({counts}), p = {summary['p']} features {units[summary['scale']]}."
    ]
    alphas = np.ravel(summary["alpha"] if summary["sources"] else [])
    for source, alpha in zip(summary["sources"], alphas, strict=True):
        rows = "" if source["rows"] is None else f" ({source['rows']} rows)"
        lines.append(f"Source {source['name']}{rows}: α = {alpha:.4g}")
    lines.append(f"γ = {summary['gamma']:.4g}")
    if summary["related"] is not None:
        who = "the source" if alphas.size == 1 else "a source"
        lines.append(f"Probability that {who} matters: {summary['related']:.2f}")
    names = {"scratch": "from scratch, α = 0", "fine_tuning": "fine-tuning, α = 1", "chosen": "this α"}
    places = [(names[row["at"]], row["accuracy"], row["risk"]) for row in summary["leave_one_out"]]
    lines += ["", *table((f"leave-one-out of {summary['n']} rows", "accuracy", "risk"), places, ".3f", {2: ".4f"}), ""]
    low, high = summary["interval"]
    lines.append(
        f"Accuracy to expect: {summary['expected_accuracy']:.3f}, {summary['level']:.0%} interval {low:.3f} to "
        f"{high:.3f}; {summary['law_accuracy']:.3f} if margins are Gaussian."
    )
    lines += _fit_verdict(summary) if alphas.size else []
    return [short for line in lines for short in (textwrap.wrap(line, 100) or [""])]


def _fit_verdict(summary: dict[str, Any]) -> list[str]:
    """Say whether the source, and α, made a difference."""
    share = summary["source_share"]
    idle, lines = share < MIN_SHARE, []
    if idle:
        who = "the source" if len(summary["sources"]) == 1 else "the sources"
        doubted = summary["related"] is None or summary["related"] < RELATED
        what = "Nothing speaks for" if doubted else "These rows hardly need"
        lines.append(f"{what} {who}: {share:.1%} of the variance of the predictions.")
    for row in summary["leave_one_out"]:
        alike = row["p_value"] >= SIGN_LEVEL
        if row["at"] == "chosen" or np.array_equal(row["alpha"], summary["alpha"]):
            continue
        if row["at"] == "scratch" and idle and alike:
            continue  # has been said
        at = {"scratch": "α = 0", "fine_tuning": "α = 1"}[row["at"]]
        verdict = f"{at} may do as well within error"
        if not alike:
            verdict = f"This α is {'better' if row['better'] > row['worse'] else 'WORSE'} than {at}"
        count = "both are right on the same rows left out"
        if row["better"] or row["worse"]:
            count = f"this α alone is right on {row['better']} of the rows left out, {at} alone on {row['worse']}"
            count += f" (sign test: p = {row['p_value']:.2g})"
        lines.append(f"{verdict}: {count}.")
    return lines


def _predict(arguments: argparse.Namespace, head: Any, report: Report) -> None:
    """Add to a report what a head predicts."""
    from scipy.stats import binomtest

    from rmt_alpha.estimation.datasets import load_samples, match_labels

    data = load_samples(arguments.predict, head.coef.shape[1], head.features)
    _require_features(str(arguments.head or arguments.data), head, data)
    names = head.class_names
    predicted = replace(head, classes=names).predict(data.X)
    probability = np.full(len(predicted), np.nan) if head.slope is None else head.predict_proba(data.X).max(axis=1)
    columns = {"row": np.arange(1, len(predicted) + 1), "predicted": predicted, "probability": probability}
    counts = {name: int((predicted == name).sum()) for name in names}
    said: dict[str, Any] = {"data": data.name, "counts": counts, "mean_probability": float(probability.mean())}
    listed = ", ".join(f"{count} as {name}" for name, count in counts.items())
    certain = "" if head.slope is None else f"; mean probability of being right {said['mean_probability']:.3f}"
    lines = ["", f"{data.name}: {len(predicted)} rows, {listed}{certain}."]
    if data.labels is not None:
        columns["label"] = np.array(data.labels)
        places = match_labels(data.labels, names)
        if None not in places:
            hits = predicted == np.array([names[place] for place in places if place is not None])
            ends = binomtest(int(hits.sum()), len(hits)).proportion_ci(method="exact")
            said |= {"accuracy": float(hits.mean()), "interval": (float(ends.low), float(ends.high))}
            lines.append(f"Right: {hits.mean():.3f}, 95% interval {ends.low:.3f} to {ends.high:.3f}.")
        else:
            known = zip(data.labels, places, strict=True)
            foreign = sorted({label for label, place in known if place is None})
            listed = ", ".join(foreign[:5]) + (", ..." if len(foreign) > 5 else "")
            lines.append(f"Not among the head's labels: {listed}. Nothing counts as right or wrong.")
    rows = list(zip(*(column.tolist() for column in columns.values()), strict=True))
    if arguments.out is None:
        lines += ["", *table(columns, [(str(row[0]), *row[1:]) for row in rows[:SHOWN]], ".3f")]
        lines += [f"{len(rows) - SHOWN} more rows with --out FILE.csv"] if len(rows) > SHOWN else []
        said["rows"] = columns
    else:
        write_csv(arguments.out, columns, rows)
        lines.append(f"Predictions: {arguments.out}")
        said["out"] = str(arguments.out)
    report.data["predictions"] = said
    report.lines += lines


def add_fit(commands: Any) -> None:
    """Add fit."""
    example = "digits:3,8/2 --source-data digits:3,5/1 --gamma loo --save head.npz"
    command = add_command(commands, "fit", fit, f"{example}\n\n{FIT_HELP}")
    command.add_argument("data", nargs="?", metavar="DATA", help=f"samples to train on: {DATA}")
    what = "a head that was saved, to start from; this and the next may be given several times, each has its own α"
    command.add_argument("--source", metavar="HEAD.npz", dest="sources", action="append", type=_head, help=what)
    what = "data to train a source head on by plain ridge, without the rows that are in DATA as well"
    command.add_argument("--source-data", metavar="DATA", dest="sources", action="append", type=_data, help=what)
    command.add_argument("--gamma-source", type=float, help=f"its ridge penalty (default: {FIT['gamma_source']:g})")
    what = "α, a number, or how it is chosen: robust, loo, theory, theory-cov"
    command.add_argument("--alpha", type=number_or_name, help=f"{what} (default: {FIT['alpha']})")
    what = "ridge penalty γ, a number, or loo: chosen by leaving samples out"
    command.add_argument("--gamma", type=number_or_name, help=f"{what} (default: {FIT['gamma']:g})")
    what = (
        "units of the features, in which penalties act: none (their own), std (their standard deviations in DATA), "
        "source (those saved with the first source; with --source-data the standard deviations in both)"
    )
    choices = ("none", "std", "source")
    command.add_argument("--scale", choices=choices, help=f"{what} (default: source where it has any, else std)")
    command.add_argument("--save", type=Path, metavar="HEAD.npz", help="where to save the head")
    what = "predict with this head, instead of training one"
    command.add_argument("--head", type=Path, metavar="HEAD.npz", help=what)
    what = (
        "samples to predict, with labels or without; labels only count the predictions that are right. Of a .csv file "
        "whose header names the head's features these are taken, in whatever order, and y or label; not the others"
    )
    command.add_argument("--predict", metavar="DATA", help=what)
    command.add_argument("--out", type=Path, metavar="FILE.csv", help="the predictions, one for each row")


def _head(name: str) -> tuple[str, str]:
    return "head", name


def _data(name: str) -> tuple[str, str]:
    return "data", name
