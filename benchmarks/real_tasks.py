"""Rules for α on real transfer tasks: as good as the better of α = 0 and α = 1, without knowing which that is.

    python -m benchmarks.real_tasks --workers 2 --keep real_tasks.jsonl --docs docs/benchmarks/real_tasks

`rmt_alpha.estimation.study` says what is measured and how: tasks of pairs of digits in three kinds, n training rows, a
penalty or "loo", many splits, accuracy on held-out rows. Tasks are those of the half that is kept for reporting; with
`--half choose` those that the robust rule was tuned on. `--others` adds tasks of another sort: breast cancer, wine, and
digits in 1,000 random ReLU features or 600 products of pixels (n = 10 and 20); the last two, made of tasks of the half
"choose", were shown beside the score of the tuning but did not count in it.

Tables: regret to the oracle by kind and n; every cell with the robust rule's difference to the better fixed choice of
α; the robust rule against the first one; γ = "loo" against the best fixed γ by kind and n. In thousandths of
accuracy, with standard errors over tasks.
"""

import argparse
import hashlib
import inspect
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reports import Keep, table, versions, write
from rmt_alpha.estimation import robust, rules
from rmt_alpha.estimation import study as protocol
from rmt_alpha.estimation.datasets import load
from rmt_alpha.estimation.study import GAMMAS, METHODS, SIZES, StudyResult, half, study_task, with_features
from rmt_alpha.estimation.tasks import TransferTask, bundled_tasks, digit_tasks

KINDS = ("unrelated", "shared", "shifted")
FEATURES = {"relu": "unrelated shifted", "products": "shared shifted"}
FEW = (10, 20)
SHOWN = {
    "α = 0": ("C7", ":"),
    "α = 1": ("C7", "--"),
    "loo": ("#D55E00", "-"),
    "theory-cov": ("#CC79A7", "-"),
    "first rule": ("#56B4E9", "-"),
    "robust": ("#0072B2", "-"),
}


def chosen_tasks(kind: str, count: int, which: str) -> list[TransferTask]:
    return list(islice((task for task in digit_tasks(kind) if half(task) == which), count))


def measure(name: str, kind: str, n: int, splits: int, made_by: str) -> list[list[float]]:  # noqa: ARG001
    """Return accuracies of methods and penalties on a task given by its name; `made_by` tells results apart."""
    plain = name.split(", ")[0]
    task = TransferTask(plain, kind, *map(load, plain.split(" → ")))
    if kind in FEATURES:
        task = with_features(task, kind)
    return study_task(task, n, splits=splits).tolist()


def study(keep: Keep, tasks: list[tuple[str, str]], sizes: tuple[int, ...], splits: int, workers: int) -> StudyResult:
    made_by = hashlib.sha256("".join(map(inspect.getsource, (protocol, robust, rules))).encode()).hexdigest()[:12]
    settings = {"splits": splits, "made_by": made_by}
    jobs = [{"name": name, "kind": kind, "n": n, **settings} for name, kind in tasks for n in sizes]
    found = np.array(keep.map(measure, jobs, "tasks", workers), dtype=np.float64)
    accuracy = found.reshape(len(tasks), len(sizes), len(METHODS), len(GAMMAS) + 1)
    return StudyResult(*(tuple(names) for names in zip(*tasks, strict=True)), sizes, GAMMAS, accuracy)


def thousandths(values: np.ndarray) -> str:
    """Return mean and standard error over tasks."""
    values = values[np.isfinite(values)]
    return f"{1000 * values.mean():.1f} ± {1000 * values.std(ddof=1) / len(values) ** 0.5:.1f}"


def regrets(result: StudyResult, kinds: list[str]) -> str:
    """Return the mean regret over the fixed penalties, by kind and n."""
    rows = []
    for kind in kinds:
        part = result.of(kind)
        for i, n in enumerate(result.n):
            if np.isfinite(part.accuracy[:, i]).all(axis=(1, 2)).sum() > 1:
                cells = [thousandths(part.regret(m)[:, i, :-1].mean(axis=1)) for m in METHODS[:-1]]
                rows.append([kind, str(n), *cells])
    means = [f"{1000 * np.nanmean(result.regret(method)[:, :, :-1]):.1f}" for method in METHODS[:-1]]
    return table(["tasks", "n", *METHODS[:-1]], [*rows, ["all", "", *means]])


def cells(rows: list[dict[str, Any]]) -> str:
    def row(r: dict[str, Any]) -> list[str]:
        low, high = 1000 * r["low"], 1000 * r["high"]
        difference = f"{1000 * r['difference']:+.1f} ± {1000 * r['stderr']:.1f}"
        accuracies = [f"{1000 * r['accuracy'][method]:.0f}" for method in METHODS]
        return [
            r["kind"],
            str(r["n"]),
            r["gamma"],
            *accuracies,
            difference,
            f"{low:+.1f} to {high:+.1f}",
            f"{r['p']:.2g}",
        ]

    header = ["tasks", "n", "γ", *METHODS, "robust − better of 0, 1", "95 %", "Wilcoxon, Holm"]
    return table(header, map(row, rows))


def interval(found: dict[str, float]) -> str:
    low, high = 1000 * found["low"], 1000 * found["high"]
    return f"{1000 * found['difference']:+.2f} ± {1000 * found['stderr']:.2f} ({low:+.2f} to {high:+.2f})"


def verdict(result: StudyResult, kinds: list[str]) -> str:
    """Return what the robust rule was asked to do, and did."""
    rows = result.cells()
    within = [r for r in rows if r["difference"] >= -r["stderr"]]
    inside = [r for r in rows if r["high"] >= 0.0]
    found = [r for r in rows if r["p"] < 0.05 and not r["low"] <= 0.0 <= r["high"]]  # two tests, of ranks and of means
    better = [r for r in found if r["difference"] > 0.0]
    by_gamma = [r for r in better if r["gamma"] == "loo"]
    worse = [r for r in found if r["difference"] < 0.0]
    listed = "; ".join(
        f"{r['kind']}, n = {r['n']}, γ = {r['gamma']}: {1000 * r['difference']:+.1f} ± {1000 * r['stderr']:.1f}"
        for r in rows
        if r not in within
    )
    lines = [
        f"- The robust rule against the better of α = 0, 1, in {len(rows)} cells: no worse within one standard error "
        f"in {len(within)}, within the 95 % interval in {len(inside)}; better (Wilcoxon with Holm, 5 %, and the "
        f"interval) in {len(better)}, {len(by_gamma)} of them with γ = loo, worse in {len(worse)}.",
        f"- Worse by more than one standard error (± it): {listed or 'nowhere'}.",
    ]
    for other in ("first rule", "α = 0", "α = 1", "loo", "evidence"):
        parts = [f"{kind} {interval(result.against(other, kind=kind))}" for kind in [*kinds, "all"]]
        lines.append(f"- robust − {other}, mean over n and γ (95 %): " + ", ".join(parts) + ".")
    for kind in [*kinds, "all"]:
        found = result.gamma_by_loo(kind=kind)
        lines.append(f'- γ = "loo" − the best fixed γ, {found["best"]:g}, {kind}: {interval(found)}.')
    return "\n".join(lines) + "\n"


def gammas(result: StudyResult, kinds: list[str]) -> str:
    """Return γ = "loo" against the best fixed γ of each kind and n."""
    rows = []
    for kind in kinds:
        for n in result.n:
            found = result.gamma_by_loo(kind=kind, n=n)
            rows.append([kind, str(n), f"{found['best']:g}", interval(found)])
    return table(["tasks", "n", "best fixed γ", "loo − best fixed (95 %)"], rows)


def draw(result: StudyResult, path: Path) -> None:
    """Draw the mean regret against n, one panel for each kind."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    kinds = list(dict.fromkeys(result.kinds))
    size = (3.4 * len(kinds), 3.6)
    figure, axes = plt.subplots(1, len(kinds), figsize=size, layout="constrained", squeeze=False, sharey=True)
    places = np.arange(len(result.n))
    for ax, kind in zip(axes[0], kinds, strict=True):
        for k, (method, (colour, line)) in enumerate(SHOWN.items()):
            regret = 1000 * result.of(kind).regret(method)[:, :, :-1].mean(axis=2)
            error = regret.std(axis=0, ddof=1) / len(regret) ** 0.5
            x = places + 0.04 * (k - 0.5 * (len(SHOWN) - 1))
            width = 2.2 if method == "robust" else 1.2
            ax.errorbar(x, regret.mean(axis=0), error, color=colour, linestyle=line, linewidth=width, label=method)
        ax.set_xticks(places, result.n)
        ax.set_yscale("log")
        ax.set_yticks([3, 10, 30, 100], ["3", "10", "30", "100"])
        ax.minorticks_off()
        ax.grid(axis="y", color="0.9")
        ax.set_xlabel("training rows n")
        ax.set_title(f"{kind}, {len(result.of(kind).tasks)} tasks", fontsize=10)
    axes[0, 0].set_ylabel("regret to the best α, thousandths")
    axes[0, len(kinds) // 2].legend(fontsize=8, loc="upper right")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--tasks", type=int, nargs=3, default=[80, 70, 70], help="tasks of each kind (default: %(default)s)"
    )
    parser.add_argument("--splits", type=int, default=20, help="splits of each task (default: %(default)s)")
    parser.add_argument("--half", choices=["choose", "report"], default="report", help="default: %(default)s")
    parser.add_argument("--n", type=int, nargs="+", default=SIZES, help="training rows (default: %(default)s)")
    parser.add_argument(
        "--others", type=int, default=24, help="digit tasks in each other set of features (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--keep", metavar="FILE", help="results so far, to go on from")
    parser.add_argument("--docs", metavar="FOLDER", help="where to write the tables and the picture")
    arguments = parser.parse_args()
    keep = Keep(arguments.keep)

    named = []
    for kind, count in zip(KINDS, arguments.tasks, strict=True):
        named += [(task.name, kind) for task in chosen_tasks(kind, count, arguments.half)]
    result = study(keep, named, tuple(arguments.n), arguments.splits, arguments.workers)
    kinds = list(dict.fromkeys(result.kinds))
    counts = ", ".join(f"{len(result.of(kind).tasks)} {kind}" for kind in kinds)
    parts = [
        verdict(result, kinds),
        f"Mean regret to the oracle over γ = {', '.join(result.penalties[:-1])}, in thousandths, ± standard error\n\n"
        + regrets(result, kinds),
        'The robust rule with γ = "loo" against the fixed γ that is best in the same tasks, in thousandths\n\n'
        + gammas(result, kinds),
        "Accuracy in every cell, in thousandths\n\n" + cells(result.cells()),
    ]
    if arguments.others:
        more = [(task.name, task.kind) for task in bundled_tasks()]
        for features, sorts in FEATURES.items():
            sort = sorts.split()
            for kind in sort:
                count = arguments.others // len(sort)
                tasks = chosen_tasks(kind, count, arguments.half)
                more += [(f"{task.name}, {features}", features) for task in tasks]
        others = study(keep, more, FEW, arguments.splits, arguments.workers)
        sorts = list(dict.fromkeys(others.kinds))
        parts.append(
            "Other collections, mean regret to the oracle over the fixed γ\n\n"
            + regrets(others, sorts)
            + "\n"
            + "\n".join(
                f"- {kind}: robust − α = 0 {interval(others.against('α = 0', kind=kind))}, "
                f"− α = 1 {interval(others.against('α = 1', kind=kind))}, "
                f"− first rule {interval(others.against('first rule', kind=kind))}, "
                f"− evidence {interval(others.against('evidence', kind=kind))}."
                for kind in sorts
            )
            + "\n"
        )
    used = f'Tasks of the half "{arguments.half}": {counts}; {arguments.splits} splits each.'
    parts.append(f"{used} {versions('scikit-learn', 'scipy')}.\n")
    text = "\n".join(parts)
    print(text)
    if arguments.docs:
        write(arguments.docs, "real_tasks", text, lambda path: draw(result, path))


if __name__ == "__main__":
    main()
