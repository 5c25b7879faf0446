"""Predicted and measured accuracy on real features: the isotropic theory, and the one that knows the covariance.

    python -m benchmarks.real_features --splits 100
    python -m benchmarks.real_features --splits 100 --markdown      # the tables of docs/benchmarks/real_features.md

Every transfer is split many times (`held_out_curves`): n target rows to train on and to predict from, all others to
measure on. At α = 0, α = 1 and each prediction's own α* the error is the predicted accuracy minus the one measured at
the same α: the mean over the splits, with its standard error. Two more columns tell where errors come from.

- "all rows": the prediction from mean and covariance of all target rows, whose error is not that of the estimates; at
  the α* of its own law, the same in every split.
- "Gaussian margins": the accuracy that margins with the measured mean and variance would have if they were Gaussian,
  minus the measured one, which no theory of means and covariances predicts; at the α* of the one with covariance.

The second summary is of errors against that Gaussian accuracy: how well the law is predicted. "gain" is the isotropic
error minus the one with covariance, transfer by transfer.

Digits: the estimates were chosen on the transfers of the half "choose", with simulated problems beside them; the table
is made of the other half. Both halves draw on the same ten digits, so that rows recur, but no transfer does. The other
data sets, scikit-learn's as well, are split into source and target by a feature, or by classes.
"""

import argparse
from collections.abc import Iterator

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from rmt_alpha.estimation.datasets import LabelledData, load
from rmt_alpha.estimation.held_out import Prediction, held_out_curves
from rmt_alpha.estimation.splits import Standardiser, within_classes
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import FixedSource, GaussianMixture
from rmt_alpha.ridge import affine_ridge
from rmt_alpha.theory.equivalents import Equivalent

CHOOSE = "46:27 54:90 12:78 60:98 61:53 73:05 67:54 81:46 57:81 01:42 56:93 17:86"
KINDS = ("digits", "cancer", "diabetes", "wine")
REPORT = "29:36 45:76 46:23 20:68 65:47 21:56 35:47 49:15 90:26 40:58 85:12 48:79"

COLUMNS = ("isotropic", "covariance", "all rows", "Gaussian margins")

Transfer = tuple[str, LabelledData, LabelledData]
Row = dict[str, np.ndarray]


def digits(half: str) -> Iterator[Transfer]:
    for name in half.split():
        a, b, _, c, d = name
        yield f"digits {a}/{b} → {c}/{d}", load(f"digits:{a},{b}"), load(f"digits:{c},{d}")


def by_feature(name: str, X: np.ndarray, y: np.ndarray, column: int) -> Iterator[Transfer]:
    """Split rows at the median of a feature, which is then left out; both ways."""
    high = X[:, column] > np.median(X[:, column])
    rest = np.delete(X, column, axis=1)
    parts = [LabelledData(rest[rows], y[rows], name) for rows in (high, ~high)]
    for i in (0, 1):
        yield f"{name}, by feature {column}, {('down', 'up')[i]}", parts[i], parts[1 - i]


def others() -> Iterator[Transfer]:
    X, y = load_breast_cancer(return_X_y=True)
    yield from by_feature("cancer", X, 2.0 * y - 1.0, 8)
    X, y = load_diabetes(return_X_y=True)
    for column in (0, 1):
        yield from by_feature("diabetes", X, np.where(y > np.median(y), 1.0, -1.0), column)
    X, y = load_wine(return_X_y=True)

    def pair(first: int, second: int) -> LabelledData:
        rows = (y == first) | (y == second)
        return LabelledData(X[rows], np.where(y[rows] == first, 1.0, -1.0))

    for one, other in (((0, 1), (2, 1)), ((0, 1), (0, 2)), ((1, 2), (0, 2))):
        yield f"wine {one[0]}/{one[1]} → {other[0]}/{other[1]}", pair(*one), pair(*other)


def from_all_rows(source: LabelledData, target: LabelledData) -> Equivalent:
    """Return the theory with the target's mean and covariance from all of its rows, and the source's head."""
    scaling = Standardiser.fit(source.X, source.y, target.X, target.y)
    Z_source, Z = scaling.source(source.X), scaling.target(target.X)
    varies = Z.any(axis=0) & Z_source.any(axis=0)
    w, _ = affine_ridge(Z_source[:, varies], source.y, None, 1.0)
    means, residuals = within_classes(Z[:, varies], target.y)
    rows = np.vstack(residuals)
    return Equivalent(GaussianMixture(0.5 * (means[1] - means[0]), rows.T @ rows / (len(rows) - 2)), (FixedSource(w),))


def measure(source: LabelledData, target: LabelledData, n: int, gamma: float, splits: int) -> Row:
    """Return measured accuracy at 0, 1 and both α*, and the errors at 0, 1 and α*, split by split on the last axis."""
    law = from_all_rows(source, target).law(n, gamma)
    best = float(law.optimal_alpha())
    if not np.isfinite(best) or best in (0.0, 1.0):
        best = 1.0 + 1e-9
    alphas = np.sort([0.0, 1.0, best])
    curves = held_out_curves(source, target, n=n, gamma=gamma, gamma_source=1.0, alphas=alphas, splits=splits, seed=1)
    second = curves.with_covariance
    assert second is not None
    measured = np.array([curves.at_zero, curves.at_one, second.at_optimal_alpha])
    places = np.searchsorted(alphas, [0.0, 1.0, best])
    return {
        "measured": np.array([curves.at_zero, curves.at_one, curves.at_optimal_alpha, second.at_optimal_alpha]),
        "isotropic": accuracies(curves.law, curves) - [curves.at_zero, curves.at_one, curves.at_optimal_alpha],
        "covariance": accuracies(second.law, second) - measured,
        "all rows": np.subtract(law.accuracy(alphas), curves.measured)[:, places].T,
        "Gaussian margins": accuracies(curves.margins, second) - measured,
        "isotropic, law": accuracies(curves.law, curves) - accuracies(curves.margins, curves),
        "covariance, law": accuracies(second.law, second) - accuracies(curves.margins, second),
        "all rows, law": np.subtract(law.accuracy(alphas), curves.margins[:, None].accuracy(alphas))[:, places].T,
    }


def accuracies(law: MarginLaw, prediction: Prediction) -> np.ndarray:
    """Return accuracies of each split's law at 0, 1 and the α* of a prediction, shape (3, splits)."""
    best = np.where(np.isnan(prediction.optimal_alpha), 1.0, prediction.optimal_alpha)
    return np.asarray(law.accuracy(np.stack(np.broadcast_arrays(0.0, 1.0, best))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--splits", type=int, default=20, help="splits of each transfer (default: %(default)s)")
    parser.add_argument("--n", type=int, nargs="+", default=[20, 40], help="target rows (default: %(default)s)")
    parser.add_argument("--gamma", type=float, nargs="+", default=[0.1, 1.0, 10.0], help="default: %(default)s")
    parser.add_argument("--half", choices=["choose", "report"], default="report", help="default: %(default)s")
    parser.add_argument("--digits", type=int, default=12, help="pairs of digits (default: %(default)s)")
    parser.add_argument("--markdown", action="store_true", help="print Markdown tables")
    arguments = parser.parse_args()
    half = CHOOSE if arguments.half == "choose" else REPORT
    transfers = [*digits(" ".join(half.split()[: arguments.digits])), *others()]
    results: dict[tuple[int, float], dict[str, Row]] = {}
    for n in arguments.n:
        for gamma in arguments.gamma:
            results[n, gamma] = {
                name: measure(source, target, n, gamma, arguments.splits) for name, source, target in transfers
            }
    table, means = (markdown, markdown_means) if arguments.markdown else (plain, plain_means)
    for (n, gamma), rows in results.items():
        table(f"n = {n}, γ = {gamma:g}", rows)
    for ending, against in (("", "measured accuracy"), (", law", "the accuracy of Gaussian margins")):
        print(f"Mean absolute error against {against}, ± s.e. over transfers, in thousandths, at 0, 1, α*\n")
        means(results, ending)


def cell(samples: np.ndarray) -> tuple[float, float]:
    """Return the mean over splits and its standard error, in thousandths."""
    return 1e3 * samples.mean(), 1e3 * samples.std(ddof=1) / np.sqrt(samples.size)


def plain(title: str, rows: dict[str, Row]) -> None:
    print(f"{title}: accuracy and errors ± s.e., in thousandths")
    print(f"{'':28s}{'measured at 0, 1, both α*':^34s}" + "".join(f"{name + ' at 0, 1, α*':^35s}" for name in COLUMNS))
    for name, row in rows.items():
        cells = [" ".join("{:4.0f} ±{:2.0f}".format(*cell(one)) for one in row["measured"])]
        cells += [" ".join("{:+6.1f} ±{:3.1f}".format(*cell(one)) for one in row[k]) for k in COLUMNS]
        print(f"{name:28s}" + "  ".join(cells))
    print()


def markdown(title: str, rows: dict[str, Row]) -> None:
    print(f"**{title}**\n")
    print("| transfer | measured at 0, 1, both α* | " + " | ".join(COLUMNS) + " |")
    print("|---|---|" + "---|" * len(COLUMNS))
    for name, row in rows.items():
        cells = [" / ".join("{:.0f} ± {:.0f}".format(*cell(one)) for one in row["measured"])]
        cells += [" / ".join("{:+d} ± {:d}".format(*map(round, cell(one))) for one in row[k]) for k in COLUMNS]
        print("| " + " | ".join([name, *cells]) + " |")
    print()


def averages(results: dict[tuple[int, float], dict[str, Row]]) -> Iterator[tuple[str, int, str, list[list[Row]]]]:
    """Yield kind of data, number of transfers, setting, and what was measured there."""
    for kind in KINDS:
        chosen = [[row for name, row in table.items() if name.startswith(kind)] for table in results.values()]
        for (n, gamma), rows in zip(results, chosen, strict=True):
            yield kind, len(rows), f"n = {n}, γ = {gamma:g}", [rows]
        yield kind, len(chosen[0]), "all", chosen


def plain_means(results: dict[tuple[int, float], dict[str, Row]], ending: str) -> None:
    for kind, count, setting, settings in averages(results):
        parts = (
            f" | {name} " + " ".join(f"{m:5.1f} ± {s:3.1f}" for m, s in numbers)
            for name, numbers in summary(settings, ending).items()
        )
        print(f"{kind:9s}{count:2d} transfers, {setting:16s}" + "".join(parts))
    print()


def markdown_means(results: dict[tuple[int, float], dict[str, Row]], ending: str) -> None:
    print("| data | n, γ | isotropic | covariance | all rows | gain |\n|---|---|---|---|---|---|")
    for kind, count, setting, settings in averages(results):
        cells = (" / ".join(f"{m:.1f} ± {s:.1f}" for m, s in x) for x in summary(settings, ending).values())
        print("| " + " | ".join([f"{kind}, N = {count}", setting, *cells]) + " |")
    print()


def summary(settings: list[list[Row]], ending: str) -> dict[str, list[tuple[float, float]]]:
    """Say the mean absolute errors, averaged over the settings first: each transfer is one sample."""
    sizes = {
        name: np.mean([[np.abs(row[name + ending].mean(axis=-1)) for row in rows] for rows in settings], axis=0)
        for name in COLUMNS[:3]
    }
    sizes["gain"] = sizes["isotropic"] - sizes["covariance"]
    return {name: [cell(column) for column in size.T] for name, size in sizes.items()}


if __name__ == "__main__":
    main()
