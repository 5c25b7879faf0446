r"""Rules for α on many real tasks: accuracies on held-out rows, and what of them is more than chance.

Protocol. Of a task (`tasks`) the target's rows are split at random into n training rows, half with each label, and test
rows, all others; `splits` times. Features are divided by the scale that `Standardiser` finds in the source's rows and
the training rows; the source's head is ridge with γ̃ = 1 on all rows of the source, which has none in common with the
target. Both have an intercept. Every method then chooses α for each penalty γ, from the training rows alone, and is
tested on the rest. With γ = "loo" it chooses the penalty as well, from `rules.default_grid`, by the same score as the
estimators.

Methods beside α = 0, α = 1 and the `rules`: with M, V the leave-one-out margin law,

- *first rule*: α* of the law with V₁₁(1 + 2/√n) and V₀₁/2, times max(0, 1 − V₁₁/(n M₁²));
- *loo risk*: the minimiser of the leave-one-out squared error;
- *evidence*: ``α = fᵀAy/fᵀAf``, f = Xw̃, A = (XXᵀ + nγI)⁻¹ of centred samples, which is α by maximum likelihood;
- *oracle*: the best of all real α on the test rows, for "loo" of the grid's penalties as well. No rule can reach it,
  and it profits from chance in the test rows: regret to it compares rules, its size means little.

Statistics. The splits of one task are averaged; tasks are what errors are taken over (they share images, see `tasks`).
For each cell (kind, n, γ) a rule is compared with the better of α = 0 and α = 1, the one with the larger mean in that
very cell: this favours the fixed choice. The difference comes with its standard error, a 95 % interval by Student's t,
and the p-value of Wilcoxon's signed-rank test, adjusted for the number of cells by Holm.

Halves. Rules that are tuned must not be judged on the same tasks. `half` divides tasks of digits by the digits in them;
what `robust` assumes was chosen on "choose", and is judged on "report".
"""

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.special import stdtrit
from scipy.stats import wilcoxon
from tqdm import tqdm

from rmt_alpha._blas import one_blas_thread
from rmt_alpha._random import child, seed_sequence, stream
from rmt_alpha._validation import FloatArray, integer, real_array
from rmt_alpha.estimation.datasets import LabelledData
from rmt_alpha.estimation.rules import RULES, Training, best_penalty, default_grid, finite_alpha
from rmt_alpha.estimation.splits import Standardiser
from rmt_alpha.estimation.tasks import TransferTask
from rmt_alpha.laws import MarginLaw
from rmt_alpha.ridge import RidgePath

FIXED = ("α = 0", "α = 1")
METHODS = (*FIXED, *RULES, "first rule", "loo risk", "evidence", "oracle")
"""What is compared, in the order of the arrays."""

GAMMAS = (0.01, 0.1, 1.0, 10.0)
SIZES = (10, 20, 40, 100)

_FEATURES, _PRODUCTS, _SEED = 1000, 600, 7


@dataclass(frozen=True, eq=False)
class StudyResult:
    """Accuracies of a study.

    Parameters
    ----------
    tasks, kinds : tuple of str
        Names and kinds of the T tasks.
    n : tuple of int
        Numbers of training rows.
    gamma : tuple of float
        Penalties; "loo" comes after them.
    accuracy : ndarray, shape (T, sizes, methods, penalties + 1)
        Mean over the splits; nan where a task has too few rows.

    Examples
    --------
    >>> from rmt_alpha.estimation.tasks import digit_tasks
    >>> result = run(digit_tasks("shifted", 3), n=(20,), gamma=(1.0,), splits=2)
    >>> result.accuracy.shape
    (3, 1, 10, 2)
    """

    tasks: tuple[str, ...]
    kinds: tuple[str, ...]
    n: tuple[int, ...]
    gamma: tuple[float, ...]
    accuracy: FloatArray

    @property
    def penalties(self) -> tuple[str, ...]:
        """Names of the penalties."""
        return (*(f"{gamma:g}" for gamma in self.gamma), "loo")

    def of(self, kind: str) -> "StudyResult":
        """Select tasks.

        Parameters
        ----------
        kind : str
            Their kind, or "all".

        Returns
        -------
        StudyResult
            Theirs.
        """
        rows = [i for i, k in enumerate(self.kinds) if kind in (k, "all")]
        if not rows:
            listed = ", ".join(repr(k) for k in dict.fromkeys((*self.kinds, "all")))
            raise ValueError(f"kind must be one of {listed}, got {kind!r}")
        tasks, kinds = (tuple(names[i] for i in rows) for names in (self.tasks, self.kinds))
        return StudyResult(tasks, kinds, self.n, self.gamma, self.accuracy[rows])

    def method(self, name: str) -> FloatArray:
        """Select a method.

        Parameters
        ----------
        name : str
            One of `METHODS`.

        Returns
        -------
        ndarray, shape (T, sizes, penalties + 1)
            Its accuracies.
        """
        if name not in METHODS:
            raise ValueError(f"a method must be one of {', '.join(map(repr, METHODS))}, got {name!r}")
        return self.accuracy[:, :, METHODS.index(name)]

    def regret(self, name: str) -> FloatArray:
        """Compare a method with the oracle.

        Parameters
        ----------
        name : str
            One of `METHODS`.

        Returns
        -------
        ndarray, shape (T, sizes, penalties + 1)
            Accuracy of the oracle minus the method's.
        """
        return self.method("oracle") - self.method(name)

    def cells(self, method: str = "robust") -> list[dict[str, Any]]:
        """Compare a method with the better of α = 0 and α = 1 in every cell.

        Parameters
        ----------
        method : str, default "robust"
            One of `METHODS`.

        Returns
        -------
        list of dict
            For each kind, n and γ with at least two tasks: ``kind``, ``n``, ``gamma``, ``tasks``, ``better`` (the fixed
            choice), ``accuracy`` of every method, ``difference`` (method minus better), ``stderr``, ``low``, ``high``
            (95 %), ``p`` (Wilcoxon, Holm).
        """
        rows: list[dict[str, Any]] = []
        for kind in dict.fromkeys(self.kinds):
            part = self.of(kind)
            for i, n in enumerate(self.n):
                table = part.accuracy[:, i]
                table = table[np.isfinite(table).all(axis=(1, 2))]
                if len(table) < 2:
                    continue
                for j, gamma in enumerate(self.penalties):
                    means = dict(zip(METHODS, table[:, :, j].mean(axis=0).tolist(), strict=True))
                    better = max(FIXED, key=means.__getitem__)
                    difference = table[:, METHODS.index(method), j] - table[:, METHODS.index(better), j]
                    row = {"kind": kind, "n": n, "gamma": gamma, "tasks": len(table), "better": better}
                    rows.append({**row, "accuracy": means, **paired(difference)})
        for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
            row["p"] = p
        return rows

    def against(self, other: str, method: str = "robust", kind: str = "all") -> dict[str, float]:
        """Compare two methods over all n and γ, task by task.

        Parameters
        ----------
        other, method : str
            Two of `METHODS`.
        kind : str, default "all"
            Kind of tasks.

        Returns
        -------
        dict
            `method` minus `other`, see `paired`.
        """
        part = self.of(kind)
        return paired(_by_task(part.method(method) - part.method(other)).mean(axis=1))

    def gamma_by_loo(self, method: str = "robust", kind: str = "all", n: int | None = None) -> dict[str, Any]:
        """Compare γ = "loo" with the fixed γ that is best on the mean of these very tasks, task by task.

        Parameters
        ----------
        method : str, default "robust"
            One of `METHODS`.
        kind : str, default "all"
            Kind of tasks.
        n : int, optional
            Training rows; all if not given.

        Returns
        -------
        dict
            ``best``, the fixed γ, and "loo" minus it, see `paired`.

        Raises
        ------
        ValueError
            If there is no such n.
        """
        if n is not None and n not in self.n:
            raise ValueError(f"n must be one of {self.n}, got {n}")
        sizes = [i for i, size in enumerate(self.n) if n in (size, None)]
        accuracy = _by_task(self.of(kind).method(method)[:, sizes])
        best = int(np.argmax(accuracy[:, :-1].mean(axis=0)))
        return {"best": self.gamma[best], **paired(accuracy[:, -1] - accuracy[:, best])}


def _by_task(values: FloatArray) -> FloatArray:
    """Return means over those n for which a task has rows enough, shape (T, penalties + 1); tasks with none go."""
    return np.asarray(np.nanmean(values[np.isfinite(values).any(axis=(1, 2))], axis=1))


def paired(difference: FloatArray) -> dict[str, float]:
    """Describe paired differences: mean, standard error, 95 % interval of Student's t, and Wilcoxon's p-value.

    Parameters
    ----------
    difference : ndarray, shape (T,)
        One for each task, T ≥ 2.

    Returns
    -------
    dict
        ``difference``, ``stderr``, ``low``, ``high``, ``p``; p is 1 where all differences are 0.

    Raises
    ------
    ValueError
        If there are fewer than two tasks.

    Examples
    --------
    >>> {name: round(value, 3) for name, value in paired(np.array([0.1, 0.2, 0.3, -0.1])).items()}
    {'difference': 0.125, 'stderr': 0.085, 'low': -0.147, 'high': 0.397, 'p': 0.375}
    """
    if len(difference) < 2:
        raise ValueError(f"difference must have at least two tasks to compare, got {len(difference)}")
    mean, stderr = float(difference.mean()), float(difference.std(ddof=1) / len(difference) ** 0.5)
    reach = float(stdtrit(len(difference) - 1, 0.975)) * stderr
    p = float(wilcoxon(difference).pvalue) if np.any(difference != 0.0) else 1.0
    return {"difference": mean, "stderr": stderr, "low": mean - reach, "high": mean + reach, "p": p}


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p-values for their number, as Holm (1979, Scand. J. Statist. 6) does.

    Parameters
    ----------
    p : sequence of float
        One for each test.

    Returns
    -------
    list of float
        In the same order.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    steps = np.maximum.accumulate(np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted.tolist()


def half(task: TransferTask) -> str:
    """Tell for which purpose a task of digits may be used.

    Parameters
    ----------
    task : TransferTask
        Of `tasks.digit_tasks`.

    Returns
    -------
    {"choose", "report"}
        By the digits of the source and those of the target, whatever their signs, shifts and rows.

    Raises
    ------
    ValueError
        If the task is not one of digits.

    Examples
    --------
    >>> from rmt_alpha.estimation.tasks import digit_tasks
    >>> [half(task) for task in digit_tasks("unrelated", 6)]
    ['choose', 'choose', 'report', 'choose', 'choose', 'choose']
    """
    pairs = []
    for data in (task.source, task.target):
        found = re.match(r"digits:(\d),(\d)", data.name)
        if found is None:
            raise ValueError(f"task must be one of digits, got {task.name}")
        pairs.append("".join(sorted(found.groups())))
    return ("choose", "report")[zlib.crc32(":".join(pairs).encode()) & 1]


def with_features(task: TransferTask, features: str) -> TransferTask:
    """Replace the pixels of a task by many correlated features.

    Parameters
    ----------
    task : TransferTask
        A task of digits.
    features : {"relu", "products"}
        1,000 random features ``max(0, ⟨pixels, g⟩)``, g Gaussian, or the products of 600 random pairs of pixels.

    Returns
    -------
    TransferTask
        Of the kind ``"relu"`` or ``"products"``.

    Raises
    ------
    ValueError
        If `features` is neither.

    Examples
    --------
    >>> from rmt_alpha.estimation.tasks import digit_tasks
    >>> with_features(next(digit_tasks("shared")), "relu").target.X.shape
    (176, 1000)
    """
    if features not in ("relu", "products"):
        raise ValueError(f"features must be 'relu' or 'products', got {features!r}")
    p, draw = task.source.X.shape[1], stream(seed_sequence(_SEED))
    if features == "relu":
        weights = draw.standard_normal((p, _FEATURES))

        def mapped(X: FloatArray) -> FloatArray:
            return np.maximum(X @ weights, 0.0)
    else:
        first, second = np.triu_indices(p)
        pairs = draw.permutation(len(first))[:_PRODUCTS]

        def mapped(X: FloatArray) -> FloatArray:
            return X[:, first[pairs]] * X[:, second[pairs]]

    def of(data: LabelledData) -> LabelledData:
        return LabelledData(mapped(data.X), data.y, data.name, data.classes)

    return TransferTask(f"{task.name}, {features}", features, of(task.source), of(task.target))


def run(
    tasks: Iterable[TransferTask],
    *,
    n: Sequence[int] = SIZES,
    gamma: Sequence[float] = GAMMAS,
    splits: int = 20,
    seed: int = 0,
    workers: int = 1,
    progress: bool = False,
) -> StudyResult:
    """Carry out the study.

    Parameters
    ----------
    tasks : iterable of TransferTask
        The tasks.
    n : sequence of int
        Numbers of training rows, even and at least 8.
    gamma : sequence of float
        Penalties, positive.
    splits : int, default 20
        Splits of each task for each n.
    seed : int, default 0
        Of the splits. Each task and n has its own stream, so that results do not depend on the other tasks.
    workers : int, default 1
        Processes.
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    StudyResult
        The accuracies.

    Raises
    ------
    ValueError
        If there is no task or an argument is outside its range.
    """
    tasks = list(tasks)
    sizes = tuple(_size(size) for size in n)
    penalties = tuple(real_array("gamma", list(gamma), 0.0, open_low=True).tolist())
    if not tasks or not sizes or not penalties:
        raise ValueError("tasks, n and gamma must have at least one entry each")
    work = partial(study_task, gamma=penalties, splits=integer("splits", splits), seed=integer("seed", seed, 0))
    jobs = [(task, size) for task in tasks for size in sizes]
    results = _each(work, jobs, integer("workers", workers))
    found = list(tqdm(results, "tasks", len(jobs), disable=not progress, leave=False))
    accuracy = np.array(found).reshape(len(tasks), len(sizes), len(METHODS), len(penalties) + 1)
    return StudyResult(tuple(t.name for t in tasks), tuple(t.kind for t in tasks), sizes, penalties, accuracy)


def _size(n: int) -> int:
    n = integer("n", n, 8)
    if n % 2:
        raise ValueError(f"n must be even, half for each label, got {n}")
    return n


def _each(work: Callable[..., FloatArray], jobs: list[tuple[TransferTask, int]], workers: int) -> Iterable[FloatArray]:
    if workers == 1:
        yield from (work(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from pool.map(work, *zip(*jobs, strict=True))


def study_task(
    task: TransferTask, n: int, *, gamma: Sequence[float] = GAMMAS, splits: int = 20, seed: int = 0
) -> FloatArray:
    """Return the accuracies of all methods on one task, averaged over splits.

    Parameters
    ----------
    task, n, gamma, splits, seed
        As in `run`.

    Returns
    -------
    ndarray, shape (methods, penalties + 1)
        All nan if the target has fewer than n/2 + 2 rows with a label.
    """
    n, target = _size(n), task.target
    rows = [np.flatnonzero(target.y == sign) for sign in (-1.0, 1.0)]
    if min(len(r) for r in rows) < n // 2 + 2:
        return np.full((len(METHODS), len(gamma) + 1), np.nan)
    root = child(seed_sequence(seed), zlib.crc32(task.name.encode()), n)
    total = np.zeros((len(METHODS), len(gamma) + 1))
    with one_blas_thread():
        for i in range(splits):
            draw = stream(root, i)
            training = np.zeros(len(target.y), dtype=bool)
            for r in rows:
                training[draw.permutation(r)[: n // 2]] = True
            total += _split(task, training, np.array(gamma))
    return total / splits


def _split(task: TransferTask, training: Any, gamma: FloatArray) -> FloatArray:
    """Return the accuracies of one split."""
    source, X, y = task.source, task.target.X, task.target.y
    scale = Standardiser.fit(source.X, source.y, X[training], y[training]).scale
    head = RidgePath(source.X / scale, fit_intercept=True).ridge(source.y[:, None], np.array([1.0]))[0]
    samples = Training(X[training] / scale, y[training, None], head[None], labels=True, fit_intercept=True)
    every = np.concatenate([gamma, default_grid(samples.X)])
    weights = samples.weights(every)[:, 0]
    test = (X[~training] / scale - samples.path.mean) @ np.swapaxes(weights, 1, 2)
    test[..., 0] += y[training].mean()
    margins = test * y[~training, None]

    found = np.empty((len(METHODS), len(gamma) + 1))
    for i, (alpha, score) in enumerate(choices(samples, every)):
        best = len(gamma) + best_penalty(score[len(gamma) :], every[len(gamma) :])
        chosen = [*range(len(gamma)), best]
        m = margins[chosen, :, 0] + alpha[chosen, None] * margins[chosen, :, 1]
        found[i] = 0.5 + 0.5 * np.sign(m).mean(axis=1)
    best_possible = np.array([best_accuracy(m) for m in margins])
    found[-1] = [*best_possible[: len(gamma)], best_possible[len(gamma) :].max()]
    return found


def choices(samples: Training, gamma: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Return α and the score of each penalty, both of shape (q,), for all methods but the oracle.

    Parameters
    ----------
    samples : Training
        Labels, one output, one source.
    gamma : ndarray, shape (q,)
        Penalties.

    Returns
    -------
    list of tuple
        In the order of `METHODS`.
    """
    fixed = [samples.choose(np.full((1, 1), alpha), gamma) for alpha in (0.0, 1.0)]
    chosen = [*fixed, *(samples.choose(rule, gamma) for rule in RULES)]
    loo = samples.leave_one_out(gamma)
    law = loo.margin_law()[:, 0]
    least_risk = finite_alpha(loo.risk_law()[:, 0])[:, 0]
    alphas = [first_rule(law, len(samples.X)), least_risk, evidence(samples, gamma)]
    others = [(alpha, np.asarray(law.accuracy(alpha))) for alpha in alphas]
    return [(alpha[:, 0, 0], score) for alpha, score in chosen] + others


def first_rule(law: MarginLaw, n: int) -> FloatArray:
    """Return the α of the first rule, see the module.

    Parameters
    ----------
    law : MarginLaw
        Leave-one-out law, one source.
    n : int
        Samples behind it.

    Returns
    -------
    ndarray
        Batch shape.
    """
    cov = law.cov * np.array([[1.0, 0.5], [0.5, 1.0 + 2.0 / n**0.5]])
    noise = law.cov[..., 1, 1] / n
    signal = np.square(law.mean[..., 1])
    kept = np.maximum(0.0, 1.0 - np.divide(noise, signal, out=np.ones_like(noise), where=signal > 0.0))
    return finite_alpha(MarginLaw(law.mean, cov))[..., 0] * kept


def evidence(samples: Training, gamma: FloatArray) -> FloatArray:
    """Return the α of maximum likelihood, see the module.

    Parameters
    ----------
    samples : Training
        Labels, one output, one source.
    gamma : ndarray, shape (q,)
        Penalties.

    Returns
    -------
    ndarray, shape (q,)
        At each penalty; 0 where the source says the same of all samples.
    """
    both = np.column_stack([samples.Y[:, 0], samples.X @ samples.W[0, 0]])
    residuals, _ = samples.path.residuals(both, gamma)
    f = both[:, 1] - both[:, 1].mean()
    along = np.einsum("n,qnk->qk", f, residuals)
    return np.asarray(np.divide(along[:, 0], along[:, 1], out=np.zeros(len(gamma)), where=along[:, 1] > 0.0))


def best_accuracy(margins: FloatArray) -> float:
    """Return the best fraction of positive margins over all real α.

    Parameters
    ----------
    margins : ndarray, shape (m, 2)
        Of each row at α = 0, and what each unit of α adds.

    Returns
    -------
    float
        The supremum over all α but the zeros ``−m₀/m₁`` themselves. Between two of them nothing changes, so each
        interval is counted.

    Examples
    --------
    >>> best_accuracy(np.array([[1.0, -1.0], [-1.0, 1.0], [-1.0, 2.0]]))  # 2/3 for α in (½, 1) and beyond 1
    0.6666666666666666
    """
    constant = margins[:, 1] == 0.0
    m0, m1 = margins[~constant].T
    start = float((m1 < 0.0).sum())  # α → −∞
    zeros = -m0 / m1
    order = np.argsort(zeros)
    steps = np.where(m1[order] > 0.0, 1.0, -1.0)
    last = np.diff(zeros[order], append=np.inf) > 0.0  # of equal zeros, which are passed together
    counts = start + np.concatenate([[0.0], np.cumsum(steps)[last]])
    always = 0.5 * float((1.0 + np.sign(margins[constant, 0])).sum())
    return float((counts.max() + always) / len(margins))
