"""LoRA, its neighbours and α-LoRA on handwritten digits: equal budgets, the same splits, paired tests.

    python -m benchmarks.lora_digits --workers 2 --keep lora_digits.jsonl --docs docs/benchmarks/lora

Tasks. A source is trained on five of scikit-learn's ten digits and adapted to

- "other digits": the other five, classes matched in increasing order, so that nothing but the pixels relates an output
  of the source to the target's. The source has all rows of its digits;
- "turned digits": the same five, turned by 30°. Source and target have different halves of the rows.

The target has few rows per class (`--per-class`; of the turned digits only the smallest number) and is tested on all
its other rows. Tuning tasks are four; no reporting task has the five digits of one of them, or the five left by one.

Models. "linear": one layer without bias, 64 → 5, the source a ridge regression on centred one-hot targets; squared
loss. "network": 64 → 64 → 5 with ReLU, pre-trained in full; cross-entropy; both layers are adapted. Pixels are divided
by their standard deviation within the source's classes (or by 1, if that is more), and centred on the training rows of
their domain.

Methods. All have the same rows, all in one batch, Adam with linear decay, the same number of steps and the same initial
A; rank 4 and lora_alpha = 8 where there is a rank. Each has twelve candidates, learning rates times ridges on the
update (for IA³, which has no update, twelve learning rates; where α is trained, fewer of both times two rates for α),
and takes the one with the best mean accuracy on the tuning tasks. IA³ scales the inputs of each layer.

- "α*": each row of the head has its own fixed α, the theory's α* for that row against the rest. It is estimated from
  the training rows, by the isotropic closed form with three numbers (`estimate_problem`) in units of the standard
  deviation within classes, or by the equivalent with covariance (`Transfer.from_data`), and cut to [−3, 3]. γ is the
  ridge of the training. In the network the features are the frozen hidden layer's, whose own α is 1; γ is their
  variance and rows of the head count as long as fits the source's labels best, as cross-entropy has units of its own.
  "shared": all rows have the mean of these, since the largest output is predicted and outputs of other scales compete.
- "α trained": the paper's procedure. A quarter of the rows is held out of the adapter's training, and after every fifth
  step of the adapter α, 1 at first, makes one on them. In the network each layer has its own α.

References. No training; LoRA without the rows held out; α = 0 in the head; from scratch and all weights, the ridge
on their change; and for each task the best of seven α from 0 to 2 *on its test rows*, which nobody knows. It has the
learning rate and ridge of α = 0 below 1, and LoRA's from 1 on.

Statistics. Each method has one number a task, the mean over the seeds (rows, initial A). Its differences to LoRA are
paired by task: mean, 95 % interval (t), tasks won : lost, Wilcoxon's signed-rank test with Holm's correction within the
table. The last columns are the mean differences to LoRA without the rows held out, and to α = 0, with the half widths
of their intervals. Intervals are about tasks like these and take them as independent, though all choose from the same
ten digits.
"""

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from itertools import combinations, product
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage, stats
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.reports import Keep, table, versions, write
from rmt_alpha.estimation.plug_in import estimate_problem
from rmt_alpha.lora import Adam, AlphaLoRALinear, DoRALinear, Linear, LoRALinear, Module, ReLU, Sequential, train
from rmt_alpha.theory.isotropic import fixed_source_optimal_alpha
from rmt_alpha.transfer import Transfer

ADAPTER: dict[str, Any] = {"rank": 4, "lora_alpha": 8.0}
STEPS = {"linear": 200, "network": 100}
LOSS = {"linear": "squared", "network": "cross_entropy"}
RIDGES = {"linear": (0.3, 1.0, 3.0), "network": (0.0, 0.01, 0.1)}
RATES = {"linear": (1e-3, 3e-3, 1e-2, 3e-2), "network": (3e-3, 1e-2, 3e-2, 1e-1)}
BESIDE_ALPHA = {"linear": ((1e-2, 3e-2), (0.3, 1.0, 3.0)), "network": ((1e-2, 3e-2, 1e-1), (0.0, 0.01))}
ALPHA_RATES = (0.05, 0.2)
ALPHA_EVERY = 5
HIDDEN = 64
ANGLE = 30.0
GRID = (0.25, 0.5, 0.75, 1.5, 2.0)
"""Values of α, beside 0 and 1, of which the best on the test rows is a reference."""

TUNING = ((0, 2, 3, 7, 9), (0, 1, 2, 5, 8), (1, 3, 5, 7, 9), (2, 4, 5, 6, 7))
TUNING_SEEDS = 2

Five = tuple[int, ...]
Rows = tuple[np.ndarray, np.ndarray]
Layers = list[tuple[np.ndarray, np.ndarray | None]]
Candidate = tuple[float, float, float]
"""Learning rate, ridge, learning rate of α."""


# Methods: how a layer is made of a source's, and what it is trained on.


class Full(Linear):
    """A layer of which all is trained, with the ridge on its change that adapters have on theirs."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray | None = None) -> None:
        super().__init__(weight, bias)
        self.start = self.weight.copy()

    def update_penalty(self) -> tuple[float, dict[str, np.ndarray]]:
        """Return the squared length of the change, with its gradient."""
        change = self.weight - self.start
        return float(np.vdot(change, change)), {"weight": 2.0 * change}


def scratch(weight: np.ndarray, bias: np.ndarray | None, seed: int) -> Full:
    """Return a layer of the same shape that knows nothing: 0 where the loss is convex, else random."""
    if bias is None:
        return Full(np.zeros_like(weight))
    new = Linear.random(*weight.shape[::-1], seed=seed)
    return Full(new.weight, new.bias)


Build = Callable[[np.ndarray, np.ndarray | None, Any, int], Module]
"""A layer from weight, bias, α and seed."""


def adapter(cls: type[LoRALinear], **options: Any) -> Build:
    return lambda weight, bias, _alpha, seed: cls(weight, bias, seed=seed, **ADAPTER | options)


def alpha_lora(train_alpha: bool = False, each_row: bool = False) -> Build:
    def build(weight: np.ndarray, bias: np.ndarray | None, alpha: Any, seed: int) -> Module:
        start = np.full(len(weight), alpha) if each_row else alpha
        return AlphaLoRALinear(weight, bias, alpha=start, train_alpha=train_alpha, seed=seed, **ADAPTER)

    return build


@dataclass(frozen=True)
class Method:
    """One way to adapt a source.

    `alpha` is α of the head, at first if it is trained, or the rule that finds it; `apart` whether the adapter does
    without the rows held out.
    """

    build: Build
    alpha: float | str = 1.0
    apart: bool = False
    trains_alpha: bool = False
    has_update: bool = True

    def candidates(self, model: str) -> list[Candidate]:
        """Return what tuning tries."""
        if self.trains_alpha:
            return list(product(*BESIDE_ALPHA[model], ALPHA_RATES))
        if self.has_update:
            return list(product(RATES[model], RIDGES[model], (0.0,)))
        return [(rate, 0.0, 0.0) for rate in np.geomspace(3e-3, 1.0, 12).tolist()]


METHODS = {
    "LoRA": Method(adapter(LoRALinear)),
    "rsLoRA": Method(adapter(LoRALinear, rank_stabilized=True)),
    "DoRA": Method(adapter(DoRALinear)),
    "DoRA, norm detached": Method(adapter(DoRALinear, detach_norm=True)),
    "IA³": Method(adapter(LoRALinear, rank=0, ia3="input"), has_update=False),
    "α*, isotropic": Method(alpha_lora(), "isotropic"),
    "α*, with covariance": Method(alpha_lora(), "covariance"),
    "α*, isotropic, shared": Method(alpha_lora(), "isotropic, shared"),
    "α*, with covariance, shared": Method(alpha_lora(), "covariance, shared"),
    "α trained": Method(alpha_lora(True), apart=True, trains_alpha=True),
    "α trained, each row": Method(alpha_lora(True, each_row=True), apart=True, trains_alpha=True),
}
REFERENCES = {
    "LoRA, ¾ of the rows": Method(adapter(LoRALinear), apart=True),
    "α = 0": Method(alpha_lora(), 0.0),
    "from scratch": Method(lambda weight, bias, _alpha, seed: scratch(weight, bias, seed)),
    "all weights": Method(lambda weight, bias, _alpha, _seed: Full(weight, bias)),
}
FROZEN, ORACLE, APART = "no training", "best α on test rows", "LoRA, ¾ of the rows"
TUNED = {name: method for name, method in (METHODS | REFERENCES).items() if name != APART}


# Data and sources.


@dataclass(frozen=True)
class Setting:
    """What a table is about."""

    model: str
    kind: str
    per_class: int

    def __str__(self) -> str:
        return f"{self.model}, {self.kind} digits, {self.per_class} rows per class"


@cache
def images() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the images, the same ones turned, and the digits."""
    X, digit = load_digits(return_X_y=True)
    turned = [ndimage.rotate(x.reshape(8, 8), ANGLE, reshape=False, order=1).ravel() for x in X]
    return X, np.array(turned), digit


def domains(kind: str, five: Five) -> tuple[Rows, Rows]:
    """Return source and target, classes from 0 to 4."""
    X, turned, digit = images()
    first = np.random.default_rng(0).permutation(len(X)) % 2 == 0
    everything = np.ones(len(X), dtype=bool)

    def rows(images: np.ndarray, digits: Five, part: np.ndarray) -> Rows:
        chosen = part & np.isin(digit, digits)
        return images[chosen], np.searchsorted(digits, digit[chosen])

    if kind == "other":
        return rows(X, five, everything), rows(X, tuple(d for d in range(10) if d not in five), everything)
    return rows(X, five, first), rows(turned, five, ~first)


def residuals(X: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Return the rows minus their class's mean."""
    return X - np.array([X[c == k].mean(axis=0) for k in range(5)])[c]


def one_hot(c: np.ndarray) -> np.ndarray:
    return np.eye(5)[c] - 0.2


@dataclass
class Source:
    """A pre-trained model, the rows it was trained on, as it sees them, and the rows of the target."""

    model: str
    kind: str
    five: Five
    layers: Layers = field(init=False)
    X: np.ndarray = field(init=False)
    c: np.ndarray = field(init=False)
    unit: np.ndarray = field(init=False)
    target: Rows = field(init=False)

    def __post_init__(self) -> None:
        (X, self.c), self.target = domains(self.kind, self.five)
        self.unit = np.maximum(np.sqrt(np.square(residuals(X, self.c)).sum(axis=0) / (len(X) - 5)), 1.0)
        self.X = (X - X.mean(axis=0)) / self.unit
        if self.model == "linear":
            gram = self.X.T @ self.X / len(X) + np.eye(64)
            self.layers = [(np.linalg.solve(gram, self.X.T @ one_hot(self.c) / len(X)).T, None)]
            return
        seed = int("".join(map(str, self.five)))
        first, last = Linear.random(64, HIDDEN, seed=seed), Linear.random(HIDDEN, 5, seed=seed + 1)
        options: dict[str, Any] = {"steps": 400, "batch_size": 64, "optimizer": Adam(3e-3), "seed": seed}
        train(Sequential([first, ReLU(), last]), self.X, self.c, loss="cross_entropy", **options)
        self.layers = [(first.weight, first.bias), (last.weight, last.bias)]

    def features(self, X: np.ndarray) -> np.ndarray:
        """Return what the head sees, centred."""
        for weight, bias in self.layers[:-1]:
            X = np.maximum(X @ weight.T + bias, 0.0)
        return X - X.mean(axis=0)

    @cached_property
    def rows_of_head(self) -> np.ndarray:
        """Rows of the head for labels ±1, as long as fits the source's labels best where its loss was not squared."""
        head = self.layers[-1][0]
        if self.model == "linear":
            return 2.0 * head
        outputs, labels = self.features(self.X) @ head.T, 2.0 * one_hot(self.c)
        return head * (np.sum(outputs * labels, axis=0) / np.square(outputs).sum(axis=0))[:, None]


class Split:
    """A source and one choice of the target's rows."""

    def __init__(self, source: Source, per_class: int, seed: int) -> None:
        self.source, self.seed = source, seed
        X, c = source.target
        rng = np.random.default_rng([int("1" + "".join(map(str, source.five))), seed])
        chosen = np.array([rng.permutation(np.flatnonzero(c == k))[:per_class] for k in range(5)])
        held = max(per_class // 4, 1)
        self.held_out, self.apart, self.rows = chosen[:, :held].ravel(), chosen[:, held:].ravel(), chosen.ravel()
        self.test = np.setdiff1d(np.arange(len(c)), self.rows)
        self.X, self.c = (X - X[self.rows].mean(axis=0)) / source.unit, c
        self.targets = one_hot(c) if source.model == "linear" else c
        self._alphas: dict[tuple[str, float], np.ndarray] = {}

    def model(self, method: Method, ridge: float, alpha: float | None = None) -> Sequential:
        """Return the source's layers, each as the method has it."""
        value: Any = method.alpha if alpha is None else alpha
        if isinstance(value, str):
            value = self.best_alpha(value, ridge)
        parts: list[Module] = []
        for i, (weight, bias) in enumerate(self.source.layers):
            last = i == len(self.source.layers) - 1
            parts += [method.build(weight, bias, value if last else 1.0, 10 * self.seed + i), ReLU()]
        return Sequential(parts[:-1])

    def best_alpha(self, rule: str, gamma: float) -> np.ndarray:
        """Return the theory's α* for each row of the head, 1 where it is undefined, or their mean for all."""
        rule, _, shared = rule.partition(", ")
        if (rule, gamma) not in self._alphas:
            H, c = self.source.features(self.X[self.rows]), self.c[self.rows]
            alphas = [self._row(rule, gamma, H, c, k) for k in range(5)]
            self._alphas[rule, gamma] = np.clip(np.where(np.isnan(alphas), 1.0, alphas), -3.0, 3.0)
        alphas = self._alphas[rule, gamma]
        return np.full(5, alphas.mean()) if shared else alphas

    def _row(self, rule: str, gamma: float, H: np.ndarray, c: np.ndarray, k: int) -> float:
        w, y = self.source.rows_of_head[k], np.where(c == k, 1.0, -1.0)
        n, p = H.shape
        unit = np.sqrt(np.square(residuals(H, c)).sum() / (p * (n - 5)))
        if self.source.model == "network":
            gamma = unit**2
        if rule == "isotropic":
            found = estimate_problem(H / unit, y, w * unit)
            return float(fixed_source_optimal_alpha(found.s, found.w_perp2, found.m2, n, p, gamma / unit**2))
        old = self.source.features(self.source.X)
        varies = H.any(axis=0) & old.any(axis=0)
        labels = np.where(self.source.c == k, 1.0, -1.0)
        options: dict[str, Any] = {"gamma": gamma, "source_coef": w[varies]}
        transfer = Transfer.from_data(old[:, varies], labels, H[:, varies], y, **options)
        return float(transfer.margin_law().optimal_alpha())

    def accuracy(self, model: Module) -> float:
        """Return the accuracy on the test rows."""
        return float((model.forward(self.X[self.test]).argmax(axis=1) == self.c[self.test]).mean())

    def fit(self, method: Method, candidate: Candidate, alpha: float | None = None) -> Sequential:
        """Return the adapted model."""
        rate, ridge, alpha_rate = candidate
        model = self.model(method, ridge, alpha)
        rows = self.apart if method.apart else self.rows
        train(
            model,
            self.X[rows],
            self.targets[rows],
            loss=LOSS[self.source.model],
            ridge=ridge,
            steps=STEPS[self.source.model],
            optimizer=Adam(rate),
            held_out=(self.X[self.held_out], self.targets[self.held_out]) if method.trains_alpha else None,
            alpha_optimizer=Adam(alpha_rate or 1.0),
            alpha_every=ALPHA_EVERY,
            seed=self.seed,
        )
        return model

    def score(self, method: Method, candidate: Candidate, alpha: float | None = None) -> tuple[float, float]:
        """Return the accuracy of a method, and the mean α of its head."""
        model = self.fit(method, candidate, alpha)
        state = model.state_dict().get(f"{len(model.layers) - 1}.alpha", np.asarray(1.0))
        return self.accuracy(model), float(state.mean())


# Tasks: plain data in, plain data out.

Task = dict[str, Any]


def perform(
    purpose: str, model: str, kind: str, five: list[int], per_class: int, seeds: int, **given: Any
) -> dict[str, Any]:
    """Do one task: try all candidates, or report. What else is given only tells results of other settings apart."""
    with threadpool_limits(limits=1):
        source = Source(model, kind, tuple(five))
        splits = [Split(source, per_class, seed) for seed in range(seeds)]
        return tuning(splits) if purpose == "tuning" else reporting(splits, given["chosen"])


def tuning(splits: list[Split]) -> dict[str, Any]:
    """Return the accuracy of each candidate of each method, averaged over the splits."""
    return {
        name: [
            float(np.mean([split.score(method, candidate)[0] for split in splits]))
            for candidate in method.candidates(splits[0].source.model)
        ]
        for name, method in TUNED.items()
    }


def reporting(splits: list[Split], chosen: dict[str, Candidate]) -> dict[str, Any]:
    """Return accuracy and α of each method, split by split, and its number of parameters."""
    accuracy: dict[str, list[float]] = {}
    alphas: dict[str, list[float]] = {}
    for name, method in (METHODS | REFERENCES).items():
        accuracy[name], alphas[name] = map(list, zip(*(s.score(method, chosen[name]) for s in splits), strict=True))
    accuracy[FROZEN] = [split.accuracy(split.model(METHODS["LoRA"], 0.0)) for split in splits]
    for alpha in GRID:
        candidate = chosen["α = 0" if alpha < 1.0 else "LoRA"]
        accuracy[f"α = {alpha:g}"] = [split.score(REFERENCES["α = 0"], candidate, alpha)[0] for split in splits]
    counts = {name: splits[0].model(m, 1.0).parameter_count() for name, m in (METHODS | REFERENCES).items()}
    return {"accuracy": accuracy, "alpha": alphas, "parameters": counts}


# Tables.


@dataclass(frozen=True)
class Line:
    """A row of a table: percentages, and differences in percentage points with half widths of their intervals."""

    name: str
    parameters: str
    accuracy: tuple[float, float]
    alpha: str
    to_lora: tuple[float, float]
    to_apart: tuple[float, float]
    to_zero: tuple[float, float]
    won: int
    lost: int
    p: float
    compared: bool


def lines_of(reports: list[dict[str, Any]]) -> list[Line]:
    """Compare every method with LoRA over the tasks."""
    means = {
        name: 100.0 * np.array([np.mean(report["accuracy"][name]) for report in reports])
        for name in reports[0]["accuracy"]
    }
    grid = ["α = 0", *(f"α = {alpha:g}" for alpha in GRID), "LoRA"]
    means[ORACLE] = np.max([means[name] for name in grid], axis=0)
    others = [name for name in METHODS if name != "LoRA"]
    ps = dict(zip(others, holm([signed_rank(means[name] - means["LoRA"]) for name in others]), strict=True))
    lines = []
    for name in (*METHODS, FROZEN, *REFERENCES, ORACLE):
        change = means[name] - means["LoRA"]
        alpha = np.ravel([report["alpha"].get(name, []) for report in reports])
        lines.append(
            Line(
                name=name,
                parameters=str(reports[0]["parameters"].get(name, 0 if name == FROZEN else "")),
                accuracy=(float(means[name].mean()), float(means[name].std(ddof=1)) / len(reports) ** 0.5),
                alpha=f"{alpha.mean():.2f} ({alpha.std():.2f})".replace("-", "−") if alpha.size and alpha.std() else "",
                to_lora=with_half_width(change),
                to_apart=with_half_width(means[name] - means[APART]),
                to_zero=with_half_width(means[name] - means["α = 0"]),
                won=int((change > 1e-9).sum()),
                lost=int((change < -1e-9).sum()),
                p=ps.get(name, np.nan),
                compared=name in ps,
            )
        )
    return lines


def with_half_width(values: np.ndarray) -> tuple[float, float]:
    """Return the mean and the half width of its 95 % interval."""
    quantile = float(stats.t.ppf(0.975, len(values) - 1))
    return float(values.mean()), quantile * float(values.std(ddof=1)) / len(values) ** 0.5


def signed_rank(change: np.ndarray) -> float:
    """Return the p-value of Wilcoxon's test without the tasks where nothing differs, 1 if none is left."""
    change = change[np.abs(change) > 1e-9]
    return float(stats.wilcoxon(change).pvalue) if change.size else 1.0


def holm(ps: list[float]) -> list[float]:
    """Return the p-values times what Holm's method asks for."""
    order = np.argsort(ps)
    steps = np.maximum.accumulate(np.asarray(ps)[order] * np.arange(len(ps), 0, -1))
    out = np.empty(len(ps))
    out[order] = np.minimum(steps, 1.0)
    return out.tolist()


HEADER = (
    "",
    "trained",
    "accuracy, %",
    "α (s.d.)",
    "− LoRA",
    "95 % interval",
    "won : lost",
    "p (Holm)",
    f"− {APART}",
    "− (α = 0)",
)


def cells(line: Line) -> list[str]:
    out = [line.name, line.parameters, "{:.1f} ± {:.1f}".format(*line.accuracy), line.alpha]
    if line.name == "LoRA":
        out += [""] * 4
    else:
        mean, half = line.to_lora
        p = "" if not line.compared else f"{line.p:.3f}" if line.p >= 1e-3 else f"{line.p:.0e}"
        out += [signed(mean), f"{signed(mean - half)} … {signed(mean + half)}", f"{line.won} : {line.lost}", p]
    others = ((APART, line.to_apart), ("α = 0", line.to_zero))
    return [*out, *("" if line.name == name else f"{signed(mean)} ± {half:.1f}" for name, (mean, half) in others)]


def signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def common_alphas(tables: dict[Setting, list[dict[str, Any]]]) -> str:
    """Return the table of accuracies with one fixed α for the whole head."""
    grid = {"0": "α = 0", **{f"{alpha:g}": f"α = {alpha:g}" for alpha in GRID}, "1": "LoRA"}
    order = sorted(grid, key=float)
    rows = (
        [str(setting), *(f"{100.0 * np.mean([r['accuracy'][grid[a]] for r in reports]):.1f}" for a in order)]
        for setting, reports in tables.items()
    )
    return table(("α of the head", *order), rows)


def choices(chosen: dict[Setting, dict[str, Candidate]]) -> str:
    """Return the table of the tuned candidates."""
    shown = {
        setting: {name: " / ".join(f"{x:.2g}" for x in candidate if x) for name, candidate in of.items()}
        for setting, of in chosen.items()
    }
    rows = ([name, *(shown[setting][name] for setting in shown)] for name in TUNED)
    return table(("", *(f"{s.model}, {s.kind}, {s.per_class}" for s in shown)), rows)


def plot(tables: dict[Setting, list[Line]], path: str | Path) -> None:
    from matplotlib.figure import Figure

    models = list(dict.fromkeys(setting.model for setting in tables))
    columns = len(tables) // len(models)
    figure = Figure(figsize=(2.9 * columns + 1.5, 3.4 * len(models) + 0.2), layout="constrained")
    axes = figure.subplots(len(models), columns, squeeze=False, sharey=True, sharex=True)
    for ax, (setting, lines) in zip(axes.flat, tables.items(), strict=True):
        shown = [line for line in lines if line.name not in ("LoRA", FROZEN)]
        for place, line in enumerate(shown):
            style = {"fmt": "o", "color": "#0072b2"} if line.compared else {"fmt": "s", "color": "0.4", "mfc": "w"}
            mean, half = line.to_lora
            ax.errorbar(mean, -place, xerr=half, ms=4.5, lw=1.3, capsize=2, **style)
        ax.axvline(0.0, color="k", lw=0.8)
        ax.axhline(0.5 - sum(line.compared for line in shown), color="0.6", lw=0.8, ls=":")
        ax.set_yticks([-place for place in range(len(shown))], [line.name for line in shown], fontsize=8)
        ax.set_title(f"{setting.model}: {setting.kind} digits, {setting.per_class} per class", fontsize=9)
        ax.grid(axis="x", alpha=0.3)
    for ax in axes[-1]:
        ax.set_xlabel("accuracy − LoRA's (percentage points)", fontsize=8)
    figure.savefig(path, dpi=110)


def tasks(number: int) -> list[Five]:
    """Return choices of five digits at random, none of a tuning task's nor their complements."""
    digits = set(range(10))
    taken = {*TUNING, *(tuple(sorted(digits - set(five))) for five in TUNING)}
    free = [five for five in combinations(range(10), 5) if five not in taken]
    order = np.random.default_rng(6).permutation(len(free))
    return [free[i] for i in order[:number]]


def candidates(model: str) -> dict[str, list[Candidate]]:
    return {name: method.candidates(model) for name, method in TUNED.items()}


def choose(model: str, tried: list[dict[str, Any]]) -> dict[str, Candidate]:
    """Return the candidate of each method with the best mean over the tuning tasks."""
    chosen = {
        name: options[int(np.argmax(np.mean([result[name] for result in tried], axis=0)))]
        for name, options in candidates(model).items()
    }
    return chosen | {APART: chosen["LoRA"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=20, help="reporting tasks, 2 to 244 (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=10, help="splits of each task (default: %(default)s)")
    parser.add_argument("--per-class", type=int, nargs="+", default=[4, 12], help="at least 4 (default: 4 12)")
    parser.add_argument("--models", nargs="+", choices=[*STEPS], default=[*STEPS], help="default: both")
    parser.add_argument("--tuning", type=int, default=len(TUNING), help="tuning tasks (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--keep", metavar="FILE", help="results so far, to continue an interrupted run")
    parser.add_argument("--docs", metavar="FOLDER", help="where to write lora_digits.md and lora_digits.png")
    arguments = parser.parse_args()
    if not (2 <= arguments.tasks <= 244 and min(arguments.per_class) >= 4 and 1 <= arguments.tuning <= len(TUNING)):
        parser.error("--tasks must be in 2 ... 244, --per-class at least 4, --tuning in 1 ... 4")

    sizes = sorted(arguments.per_class)
    kinds = [("other", size) for size in sizes] + [("turned", sizes[0])]
    settings = [Setting(model, *kind) for model in arguments.models for kind in kinds]
    constants = [ADAPTER, STEPS, ALPHA_EVERY, HIDDEN, ANGLE, GRID]

    keep = Keep(arguments.keep)

    def tasks_of(purpose: str, setting: Setting, fives: Iterable[Five], seeds: int, **more: Any) -> list[Task]:
        common = {"purpose": purpose, "seeds": seeds, "constants": constants, **vars(setting), **more}
        return [{"five": five, **common} for five in fives]

    def run(purpose: str, asked: dict[Setting, list[Task]]) -> dict[Setting, list[dict[str, Any]]]:
        found = iter(keep.map(perform, [task for of in asked.values() for task in of], purpose, arguments.workers))
        return {setting: [next(found) for _ in of] for setting, of in asked.items()}

    known, seeds = TUNING[: arguments.tuning], min(TUNING_SEEDS, arguments.seeds)
    asked = {s: tasks_of("tuning", s, known, seeds, candidates=candidates(s.model)) for s in settings}
    chosen = {s: choose(s.model, tried) for s, tried in run("tuning", asked).items()}
    fives = tasks(arguments.tasks)
    asked = {s: tasks_of("reporting", s, fives, arguments.seeds, chosen=chosen[s]) for s in settings}
    found = run("reporting", asked)
    tables = {s: lines_of(reports) for s, reports in found.items()}

    text = "\n".join(f"**{s}**\n\n{table(HEADER, map(cells, lines))}" for s, lines in tables.items())
    text += f"\n**One fixed α for the head**: accuracy, %\n\n{common_alphas(found)}"
    text += f"\n**Chosen on the tuning tasks**: learning rate / ridge / learning rate of α\n\n{choices(chosen)}\n"
    print(text)
    if arguments.docs:
        note = f"{arguments.tasks} tasks, {arguments.seeds} splits of each; {versions('scipy', 'scikit-learn')}"
        text += f"\n`python -m benchmarks.lora_digits`: {note}.\n"
        write(arguments.docs, "lora_digits", text, lambda path: plot(tables, path))


if __name__ == "__main__":
    main()
