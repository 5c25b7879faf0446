"""One α for each output of a regression: what the α-LoRA layer learns, and what it is worth.

    python -m benchmarks.lora_rows --docs docs/benchmarks/lora --keep rows.jsonl

Four outputs, whose rows of the target matrix are -0.5, 0.3, 1 and 2 times those of the source, plus a part of their
own. Features have Σ = I, or variances from 0.05 to 5; there the relation fades along directions of small variance λ, by
the factor λ/(λ + ½). The source is that matrix itself, or trained by ridge on samples of its own. A layer of full rank
is trained on n samples with a ridge on its update; every tenth step α follows the squared loss on fresh samples.

- the learned α, its standard error in brackets in units of the last digit, against theory: the rest point of training
  (`RegressionTransfer.trained_alpha`) and the α of least risk (`RiskLaw.optimal_alpha`). "place" is where it lies on
  the line from the α of least risk, 0, to the rest point, 1; "largest z" is the largest difference from the rest point
  in standard errors, of the four rows; the last column is the root mean square distance to the α at which the training
  of that very draw would rest,
- the risk of the trained layers, noise left out, against the theory of the same α, and against other choices of α for
  the same samples, their adapters exact,
- theory alone: how far the two α are apart where the relation fades, and where it does not.

All risks are those of the population. Standard errors are over draws of the samples; the matrices stay the same.
Bars of the picture are two standard errors.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.reports import Keep, table, versions, write
from rmt_alpha.estimate import Estimate
from rmt_alpha.lora import Adam, AlphaLoRALinear, train
from rmt_alpha.problem import FixedSource, RegressionTask, RidgeSource
from rmt_alpha.regression import RegressionTransfer
from rmt_alpha.ridge import affine_ridge

DEGREES = np.array([-0.5, 0.3, 1.0, 2.0])
"""How the rows of the target are related to those of the source."""

NOISE, GAMMA, GAMMA_SOURCE = 0.3, 0.1, 0.1

SETTINGS = ("identity, given", "identity, trained", "anisotropic, given", "anisotropic, trained")

COMPARED = (("learned", "rest", "learned α"), ("ones", "ones", "α = 1"), ("zeros", "zeros", "α = 0"))
"""Trained layers, what theory calls them, and their names in the picture."""

Results = dict[tuple[str, int], list[dict[str, Any]]]
"""The draws of each setting and n."""


def measured(samples: np.ndarray, digits: int = 3) -> str:
    """Return the mean over the samples with its standard error."""
    estimate = Estimate.of(np.asarray(samples, float))
    return f"{estimate.value:.{digits}f} ± {estimate.stderr:.{digits}f}"


def problem(setting: str, p: int, n: int, *, fades: bool = True) -> RegressionTransfer:
    """Return a problem, whose matrices depend on p alone."""
    covariance = np.ones(p) if setting.startswith("identity") else np.geomspace(0.05, 5.0, p)
    rng = np.random.default_rng(0)
    old, own = rng.standard_normal((2, len(DEGREES), p)) / p**0.5
    fade = covariance / (covariance + 0.5) if fades and not setting.startswith("identity") else np.ones(p)
    target = RegressionTask(DEGREES[:, None] * fade * old + 0.5 * own, covariance, NOISE)
    task = RegressionTask(old, covariance, NOISE)
    source = FixedSource(old) if setting.endswith("given") else RidgeSource(task, 2 * p, GAMMA_SOURCE)
    return RegressionTransfer(target, n, GAMMA, [source])


def samples(task: RegressionTask, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    X = rng.standard_normal((n, task.p))
    task.colour(X)
    return X, X @ task.weights.T + task.noise * rng.standard_normal((n, task.d))


def source_weights(source: FixedSource | RidgeSource[RegressionTask], rng: np.random.Generator) -> np.ndarray:
    if isinstance(source, FixedSource):
        return source.weights
    X, Y = samples(source.mixture, int(source.n), rng)
    return np.array([affine_ridge(X, y, None, source.gamma)[0] for y in Y.T])


def draw(setting: str, p: int, n: int, seed: int, steps: int, batch: int) -> dict[str, Any]:
    """Train one layer, and return what it learned beside what can be computed."""
    transfer = problem(setting, p, n)
    target, rng = transfer.target, np.random.default_rng([seed, SETTINGS.index(setting), n])
    old = source_weights(transfer.sources[0], rng)
    X, Y = samples(target, n, rng)
    layer = AlphaLoRALinear(old, alpha=np.ones(target.d), rank=target.d + 2, lora_alpha=2.0 * target.d, seed=seed)
    train(
        layer,
        X,
        Y,
        ridge=GAMMA,
        steps=steps,
        optimizer=Adam(1e-2),
        held_out=lambda stream: samples(target, batch, stream),
        alpha_optimizer=Adam(4e-2),
        alpha_decay="linear",
        seed=seed,
    )
    alpha, (learned, _) = layer.parameters()["alpha"], layer.merge()

    scratch, pull = np.swapaxes([affine_ridge(X, y, w, GAMMA) for y, w in zip(Y.T, old, strict=True)], 0, 1)
    seen = target.apply(old.T).T
    rest = np.sum(seen * (target.weights - scratch), axis=1) / np.sum(seen * pull, axis=1)
    best = transfer.risk_law(per_output=True).optimal_alpha()
    exact = scratch + alpha[:, None] * pull
    weights = {"learned": learned, "optimum": scratch + best[:, None] * pull, "ones": scratch + pull, "zeros": scratch}
    risks = {name: np.sum((W - target.weights) * target.apply((W - target.weights).T).T) for name, W in weights.items()}
    return {
        "alpha": alpha.tolist(),
        "rest": rest.tolist(),
        "off": float(np.linalg.norm(learned - exact) / np.linalg.norm(exact)),
        **{name: float(risk) for name, risk in risks.items()},
    }


def theory(setting: str, p: int, n: int, *, fades: bool = True) -> dict[str, np.ndarray]:
    """Return both α, shape (d,), and the risks that theory gives to the layers, noise left out."""
    transfer = problem(setting, p, n, fades=fades)
    law = transfer.risk_law(per_output=True)
    alphas = {
        "optimum": np.asarray(law.optimal_alpha()),
        "rest": np.asarray(transfer.trained_alpha(per_output=True)),
        "ones": np.ones(len(DEGREES)),
        "zeros": np.zeros(len(DEGREES)),
    }
    noise = float(np.square(transfer.target.noise).sum())
    risks = {f"risk {name}": np.sum(law.risk(alpha)) - noise for name, alpha in alphas.items()}
    return {**alphas, **risks}


def column(records: list[dict[str, Any]], name: str) -> np.ndarray:
    return np.array([record[name] for record in records])


def alphas_table(results: Results, p: int) -> str:
    rows = []
    for (setting, n), records in results.items():
        expected, alpha = theory(setting, p, n), column(records, "alpha")
        mean, error = alpha.mean(axis=0), alpha.std(axis=0, ddof=1) / len(alpha) ** 0.5
        learned = [f"{m:.2f}({100 * e:.0f})" for m, e in zip(mean, error, strict=True)]
        known = [", ".join(f"{a:.2f}" for a in expected[name]) for name in ("rest", "optimum")]
        apart = expected["rest"] - expected["optimum"]
        place = "–"
        if np.abs(apart).max() > 1e-9:
            place = measured((alpha - expected["optimum"]) @ apart / (apart @ apart), 2)
        z = np.abs((mean - expected["rest"]) / error).max()
        near = np.sqrt(np.mean(np.square(alpha - column(records, "rest"))))
        rows.append((setting, f"{n}", ", ".join(learned), *known, place, f"{z:.1f}", f"{near:.3f}"))
    head = ("Σ, source", "n", "learned α", "rest point", "least risk", "place", "largest z", "to the draw's own")
    return table(head, rows)


def risks_table(results: Results, p: int) -> str:
    rows = []
    for (setting, n), records in results.items():
        expected, learned = theory(setting, p, n), column(records, "learned")
        differences = [measured(column(records, name) - learned, 4) for name in ("optimum", "ones", "zeros")]
        known = [f"{expected[f'risk {name}']:.4f}" for name in ("rest", "optimum")]
        rows.append((setting, f"{n}", measured(learned, 4), *known, *differences))
    known = ("theory, rest point", "theory, least")
    others = ("fixed α of least mean risk, minus learned", "α = 1, minus learned", "α = 0, minus learned")
    head = ("Σ, source", "n", "learned α", *known, *others)
    return table(head, rows)


def relations_table(p: int, sizes: list[int]) -> str:
    rows = []
    for setting in SETTINGS[2:]:
        for n in (sizes[0], sizes[-1]):
            for fades in (True, False):
                t = theory(setting, p, n, fades=fades)
                alphas = [", ".join(f"{a:.2f}" for a in t[name]) for name in ("rest", "optimum")]
                risks = [f"{t[f'risk {name}']:.4f}" for name in ("rest", "optimum", "ones", "zeros")]
                rows.append((setting, f"{n}", "fades" if fades else "the same everywhere", *alphas, *risks))
    head = ("Σ, source", "n", "relation", "rest point", "least risk", "risk at rest", "least", "at α = 1", "at α = 0")
    return table(head, rows)


def plot(results: Results, p: int, sizes: list[int], path: str | Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 5.6), layout="constrained")
    axes = figure.subplots(2, 4, sharex=True, sharey="row", height_ratios=(3, 2))
    grid = np.geomspace(sizes[0], sizes[-1], 60)
    for (above, below), setting in zip(axes.T, SETTINGS, strict=True):
        curves = [theory(setting, p, n) for n in grid]
        for j, degree in enumerate(DEGREES):
            for name, style in (("rest", "-"), ("optimum", "--")):
                above.plot(grid, [t[name][j] for t in curves], style, color=f"C{j}", lw=1.3)
            alpha = [column(results[setting, n], "alpha")[:, j] for n in sizes]
            errors = [2.0 * a.std(ddof=1) / len(a) ** 0.5 for a in alpha]
            label = f"row {degree:g}"
            above.errorbar(sizes, [a.mean() for a in alpha], errors, fmt="os^D"[j], color=f"C{j}", ms=4, label=label)
        above.set_title(setting.replace("identity", "Σ = I").replace(",", ", source"), fontsize=10)
        least = np.array([t["risk optimum"] for t in curves])
        measured_at = np.array([theory(setting, p, n)["risk optimum"] for n in sizes])
        for i, (name, known, label) in enumerate(COMPARED):
            below.plot(grid, [t[f"risk {known}"] for t in curves] / least, color=f"C{4 + i}", lw=1.3)
            risks = np.array([column(results[setting, n], name) for n in sizes]) / measured_at[:, None]
            errors = 2.0 * risks.std(axis=1, ddof=1) / risks.shape[1] ** 0.5
            below.errorbar(sizes, risks.mean(axis=1), errors, fmt="os^"[i], color=f"C{4 + i}", ms=4, label=label)
        below.set(xscale="log", xlabel="target samples n", yscale="log")
        below.set_xticks(sizes, [f"{n}" for n in sizes])
        below.set_yticks([1, 2, 4], ["1", "2", "4"])
        below.minorticks_off()
        above.grid(alpha=0.3)
        below.grid(alpha=0.3)
    axes[0, 0].set_ylabel("α of each row\n(— rest point, - - least risk)")
    axes[1, 0].set_ylabel("risk / least risk of theory")
    axes[0, 0].legend(frameon=False, fontsize=8, ncols=2, loc="center", bbox_to_anchor=(0.5, 0.68))
    axes[1, 0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=int, default=100, help="features (default: %(default)s)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[25, 50, 100, 200, 400], help="n (default: 25 … 400)")
    parser.add_argument("--draws", type=int, default=20, help="for each n and setting (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4000, help="of training (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=200, help="fresh samples for a step of α (default: %(default)s)")
    parser.add_argument("--keep", help="file of finished draws, to go on from")
    parser.add_argument("--out", help="picture")
    parser.add_argument("--docs", help="folder for picture and tables")
    arguments = parser.parse_args()
    p, sizes, keep = arguments.p, arguments.sizes, Keep(arguments.keep)

    options = {"p": p, "steps": arguments.steps, "batch": arguments.batch}
    kinds = [(setting, n) for setting in SETTINGS for n in sizes]
    tasks = [{"setting": s, "n": n, "seed": seed, **options} for seed in range(arguments.draws) for s, n in kinds]
    records = keep.map(draw, tasks, "layers")
    results: Results = {kind: records[i :: len(kinds)] for i, kind in enumerate(kinds)}

    off = max(record["off"] for record in records)
    tables = [alphas_table(results, p), risks_table(results, p), relations_table(p, sizes)]
    command = f"python -m benchmarks.lora_rows --p {p} --sizes {' '.join(map(str, sizes))} --draws {arguments.draws}"
    about = (
        f"`{command} --steps {arguments.steps} --batch {arguments.batch}`; {arguments.draws} draws in each row of the "
        f"table; the trained matrix is off the exact one for its α by at most {off:.0e} (relative). {versions()}.\n"
    )
    text = "\n".join([*tables, about])
    print(text)
    if arguments.docs:
        write(arguments.docs, "lora_rows", text, lambda path: plot(results, p, sizes, path))
    if arguments.out:
        plot(results, p, sizes, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
