"""The study: what it measures against plain definitions, and that no test row takes part in a choice."""

import numpy as np
import pytest
from scipy.stats import ttest_rel

from rmt_alpha.estimation import study
from rmt_alpha.estimation.datasets import LabelledData
from rmt_alpha.estimation.leave_one_out import leave_one_out
from rmt_alpha.estimation.rules import Training, default_grid
from rmt_alpha.estimation.splits import Standardiser
from rmt_alpha.estimation.tasks import TransferTask, bundled_tasks, digit_tasks
from rmt_alpha.laws import MarginLaw
from rmt_alpha.ridge import affine_ridge

GAMMAS = np.array([0.05, 2.0])


def a_task(rows=60, p=12, seed=0, kind="made"):
    rng = np.random.default_rng(seed)
    means = rng.standard_normal((2, p)) * 0.5

    def data(mean, name):
        y = np.where(np.arange(rows) % 2 == 0, -1.0, 1.0)
        return LabelledData(rng.standard_normal((rows, p)) + y[:, None] * mean, y, name)

    return TransferTask(f"made {seed}", kind, data(means[0], "old"), data(means[0] + 0.5 * means[1], "new"))


def samples(n=20, p=12, seed=3):
    rng = np.random.default_rng(seed)
    y = np.repeat([-1.0, 1.0], n // 2)
    X = rng.standard_normal((n, p)) + np.outer(y, 0.3 * np.ones(p))
    return Training(X, y[:, None], rng.standard_normal((1, 1, p)) + 0.5, labels=True, fit_intercept=True)


def best_of(margins):
    """The best accuracy over one α from each interval between zeros."""
    moved = margins[margins[:, 1] != 0.0]
    zeros = np.unique(-moved[:, 0] / moved[:, 1])
    between = np.concatenate([[zeros[0] - 1.0], 0.5 * (zeros[1:] + zeros[:-1]), [zeros[-1] + 1.0]])
    return max((0.5 + 0.5 * np.sign(margins @ [1.0, alpha])).mean() for alpha in between)


def test_the_oracle_is_the_best_over_all_alpha():
    rng = np.random.default_rng(1)
    for _ in range(20):
        margins = rng.standard_normal((9, 2))
        margins[0, 1] = 0.0
        assert study.best_accuracy(margins) == pytest.approx(best_of(margins), abs=1e-15)


def test_the_oracle_passes_equal_zeros_together():
    assert study.best_accuracy(np.array([[-1.0, 1.0], [1.0, -1.0]])) == 0.5
    rng = np.random.default_rng(2)
    for _ in range(20):
        margins = rng.integers(-2, 3, (12, 2)).astype(float)
        for rows in (margins, margins[::-1], rng.permutation(margins)):
            assert study.best_accuracy(rows) == pytest.approx(best_of(margins), abs=1e-15)


def test_the_oracle_of_margins_that_no_alpha_moves():
    assert study.best_accuracy(np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0], [2.0, 0.0]])) == 0.625


def test_the_first_rule_is_the_one_of_its_description():
    law = MarginLaw([[0.5, 0.3], [0.5, 0.05]], [[[1.0, 0.2], [0.2, 0.6]]] * 2)
    n = 16
    m0, m1, v00, v01, v11 = 0.5, 0.3, 1.0, 0.1, 0.6 * 1.5
    kept = 1.0 - 0.6 / 16 / 0.3**2
    expected = kept * (m1 * v00 - m0 * v01) / (m0 * v11 - m1 * v01)
    assert study.first_rule(law, n) == pytest.approx([expected, 0.0])


def test_evidence_is_the_maximum_of_the_likelihood():
    given = samples()
    X, y = given.X - given.X.mean(axis=0), given.Y[:, 0] - given.Y[:, 0].mean()
    for gamma, alpha in zip(GAMMAS, study.evidence(given, GAMMAS), strict=True):
        precision = np.linalg.inv(X @ X.T + len(X) * gamma * np.eye(len(X)))
        f = X @ given.W[0, 0]

        def misfit(a, precision=precision, f=f):
            return (y - a * f) @ precision @ (y - a * f)

        assert misfit(alpha) < min(misfit(alpha - 1e-3), misfit(alpha + 1e-3))


def test_methods_stand_in_the_order_of_their_names():
    given = samples()
    found = study.choices(given, GAMMAS)
    assert len(found) == len(study.METHODS) - 1
    for name, (alpha, score) in zip(study.METHODS, found, strict=False):
        assert alpha.shape == score.shape == (2,)
        if name in study.FIXED:
            assert (alpha == float(name[-1])).all()
        elif name in study.RULES:
            assert np.array_equal(alpha, given.choose(name, GAMMAS)[0][:, 0, 0])
    least = found[study.METHODS.index("loo risk")][0]
    assert least == pytest.approx(given.leave_one_out(GAMMAS).risk_law()[:, 0].optimal_alpha())


def test_scores_beside_the_rules_are_the_accuracy_of_leave_one_out_at_their_alpha():
    given = samples()
    law = leave_one_out(given.X, given.Y[:, 0], given.W[0, 0], GAMMAS, fit_intercept=True).margin_law()
    found = dict(zip(study.METHODS, study.choices(given, GAMMAS), strict=False))
    for name in ("first rule", "loo risk", "evidence"):
        alpha, score = found[name]
        assert score == pytest.approx(law.accuracy(alpha), rel=1e-10)
        assert (np.abs(score - law.accuracy(alpha + 0.1)) > 1e-4).all()


class WrittenOut:
    """One split of `a_task`, the training rows first, with the protocol of the module's docstring."""

    def __init__(self, task, n=20):
        self.training = np.arange(len(task.target.y)) < n
        old, X, y = task.source, task.target.X[:n], task.target.y[:n]
        scale = Standardiser.fit(old.X, old.y, X, y).scale
        self.head = affine_ridge((old.X - old.X.mean(axis=0)) / scale, old.y - old.y.mean(), None, 1.0)[0]
        self.rows, self.labels = X / scale, y
        self.centred, self.mean = (X - X.mean(axis=0)) / scale, y.mean()
        self.test = (task.target.X[n:] - X.mean(axis=0)) / scale, task.target.y[n:]
        self.grid = default_grid(self.rows)

    def margins(self, gamma):
        X, y = self.test
        w0, w1 = affine_ridge(self.centred, self.labels, self.head, gamma)
        return y[:, None] * np.column_stack([X @ w0 + self.mean, X @ w1])

    def accuracy(self, gamma, alpha):
        return (self.margins(gamma) @ [1.0, alpha] > 0.0).mean()


def test_accuracies_are_those_of_the_classifier_written_out():
    task = a_task()
    split = WrittenOut(task)
    found = study._split(task, split.training, GAMMAS)
    for j, gamma in enumerate(GAMMAS):
        for i, alpha in enumerate((0.0, 1.0)):
            assert found[i, j] == split.accuracy(gamma, alpha)


def test_the_source_has_a_penalty_of_one_on_all_its_rows(monkeypatch):
    made = []
    monkeypatch.setattr(study, "Training", lambda *a, **k: made.append(Training(*a, **k)) or made[-1])
    task = a_task()
    split = WrittenOut(task)
    study._split(task, split.training, GAMMAS)
    (given,) = made
    np.testing.assert_allclose(given.W[0, 0], split.head, rtol=1e-10)
    np.testing.assert_allclose(given.X, split.rows, rtol=1e-12)
    assert np.array_equal(given.Y[:, 0], split.labels)
    assert given.labels
    assert given.fit_intercept


def test_the_penalty_of_every_method_has_its_best_score(monkeypatch):
    seen, choose = [], study.choices
    monkeypatch.setattr(study, "choices", lambda *given: seen.append(choose(*given)) or seen[-1])
    task = a_task()
    split = WrittenOut(task)
    found = study._split(task, split.training, GAMMAS)
    for i, (alpha, score) in enumerate(seen[0]):
        alpha, score = alpha[len(GAMMAS) :], score[len(GAMMAS) :]
        best = max(range(13), key=lambda j, score=score: (score[j], j))
        assert found[i, -1] == pytest.approx(split.accuracy(split.grid[best], alpha[best]), abs=1e-15)


@pytest.mark.parametrize(("best", "chosen"), [([4], 4), ([2, 9], 9), ([0, 7, 12], 12)])
def test_of_penalties_that_tie_the_largest_is_taken(monkeypatch, best, chosen):
    """The fixed penalties, which come first, have better scores and do not count."""
    alpha = np.random.default_rng(0).standard_normal(len(GAMMAS) + 13)
    score = np.r_[np.full(len(GAMMAS), 0.99), np.linspace(0.5, 0.6, 13)]
    score[len(GAMMAS) + 5] = 0.4
    score[[len(GAMMAS) + j for j in best]] = 0.9
    monkeypatch.setattr(study, "choices", lambda *_: [(alpha, score)] * (len(study.METHODS) - 1))
    task = a_task()
    split = WrittenOut(task)
    accuracy = [split.accuracy(gamma, a) for gamma, a in zip(split.grid, alpha[len(GAMMAS) :], strict=True)]
    assert accuracy[chosen] not in [accuracy[j] for j in (5, *best) if j != chosen]  # or a wrong choice would not show
    assert study._split(task, split.training, GAMMAS)[:-1, -1] == pytest.approx(accuracy[chosen], abs=1e-15)


def test_the_oracle_of_loo_has_all_penalties_of_the_grid():
    task, gamma = a_task(seed=1), np.array([1e-3, 1e3])
    split = WrittenOut(task)
    every, fixed = ([best_of(split.margins(g)) for g in penalties] for penalties in (split.grid, gamma))
    assert max(every) > max(every[0], every[-1], *fixed)  # or a part of the penalties would do
    assert study._split(task, split.training, gamma)[-1] == pytest.approx([*fixed, max(every)], abs=1e-15)


def test_a_margin_of_zero_counts_half():
    """Training rows that cancel in pairs, so that a row of zeros is exactly their mean."""
    task = a_task()
    X, y = task.target.X.copy(), task.target.y
    X[1:20:2], X[20:] = -X[0:20:2], 0.0
    zeros = TransferTask("zeros", "made", task.source, LabelledData(X, y, "zeros"))
    assert (study._split(zeros, np.arange(60) < 20, GAMMAS) == 0.5).all()


@pytest.mark.parametrize("constant", [0.0, 1.0])
def test_a_source_that_says_nothing_does_not_stop_the_study(constant):
    """Features of zeros give a head of zeros; other constants, in units that are rounded, one of rounding."""
    task = a_task()
    old = LabelledData(np.full(task.source.X.shape, constant), task.source.y, "constant")
    result = study.run([TransferTask("silent", "made", old, task.target)], n=(10,), gamma=(1.0,), splits=2)
    assert np.isfinite(result.accuracy).all()
    if not constant:
        for name in study.METHODS:
            assert result.method(name)[..., 0] == pytest.approx(result.method("α = 0")[..., 0], abs=1e-15), name


def test_test_rows_take_no_part_in_a_choice(monkeypatch):
    seen = []
    choose = study.choices
    monkeypatch.setattr(study, "choices", lambda *given: seen.append(choose(*given)) or seen[-1])
    task = a_task()
    training = np.zeros(60, dtype=bool)
    training[10:30] = True
    study._split(task, training, GAMMAS)
    rows = task.target.X.copy()
    rows[~training] = 1e3 * np.random.default_rng(5).standard_normal(rows[~training].shape)
    labels = np.where(training, task.target.y, -task.target.y)
    changed = TransferTask(task.name, task.kind, task.source, LabelledData(rows, labels, "new"))
    study._split(changed, training, GAMMAS)
    for (alpha, score), (again, other) in zip(*seen, strict=True):
        assert np.array_equal(alpha, again)
        assert np.array_equal(score, other)


def test_results_depend_neither_on_the_other_tasks_nor_on_workers():
    tasks = [a_task(seed=seed) for seed in range(2)]
    both = study.run(tasks, n=(8, 10), gamma=(1.0,), splits=2)
    alone = study.run(tasks[1:], n=(10,), gamma=(1.0,), splits=2)
    assert np.array_equal(both.accuracy[1:, 1:], alone.accuracy)
    assert np.array_equal(both.accuracy, study.run(tasks, n=(8, 10), gamma=(1.0,), splits=2, workers=2).accuracy)
    other = study.run(tasks, n=(8, 10), gamma=(1.0,), splits=2, seed=1)
    assert not np.array_equal(both.accuracy, other.accuracy)
    assert (both.regret("robust")[..., 0] >= 0.0).all()


@pytest.fixture
def splits(monkeypatch):
    """The training rows of each split, of studies that do nothing else."""
    seen = []

    def split(_, training, gamma):
        seen.append(set(np.flatnonzero(training).tolist()))
        return np.zeros((len(study.METHODS), len(gamma) + 1))

    monkeypatch.setattr(study, "_split", split)
    return seen


def test_splits_are_others_for_each_n_task_and_seed(splits):
    task = a_task()
    twin = TransferTask("another name", task.kind, task.source, task.target)
    for given, n, seed in ((task, 8, 0), (task, 10, 0), (twin, 8, 0), (task, 8, 1), (task, 8, 0)):
        study.study_task(given, n, gamma=(1.0,), splits=3, seed=seed)
    plain, more, named, seeded, again = (splits[i : i + 3] for i in range(0, 15, 3))
    assert plain == again
    assert len({frozenset(rows) for rows in (*plain, *named, *seeded)}) == 9
    for few, many in zip(plain, more, strict=True):
        assert not few <= many  # as they would be of one stream
    assert all(sum(task.target.y[list(rows)]) == 0.0 for rows in splits)
    assert [len(rows) for rows in splits] == [8] * 3 + [10] * 3 + [8] * 9


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_two_rows_of_each_label_are_left_to_test_on(splits, sign):
    task = a_task()
    kept = np.flatnonzero((task.target.y != sign) | (np.cumsum(task.target.y == sign) <= 12))
    data = LabelledData(task.target.X[kept], task.target.y[kept], "few")
    few = TransferTask("few", "made", task.source, data)
    assert np.isfinite(study.study_task(few, 20, splits=1)).all()
    assert np.isnan(study.study_task(few, 22, splits=1)).all()
    assert len(splits) == 1


def test_a_task_with_too_few_rows_is_left_out():
    small, large = a_task(rows=24), a_task(rows=60, seed=1)
    result = study.run([small, large, a_task(seed=2)], n=(24,), gamma=(1.0,), splits=1)
    assert np.isnan(result.accuracy[0]).all()
    assert np.isfinite(result.accuracy[1:]).all()
    assert {row["tasks"] for row in result.cells()} == {2}
    assert np.isfinite(result.against("α = 0")["difference"])


def made(accuracy, kinds=None):
    accuracy = np.asarray(accuracy, dtype=np.float64)
    names = tuple(f"task {i}" for i in range(len(accuracy)))
    return study.StudyResult(names, kinds or ("a",) * len(names), (10,), (1.0,), accuracy)


def test_cells_compare_with_the_better_fixed_choice():
    rng = np.random.default_rng(2)
    accuracy = rng.random((12, 1, len(study.METHODS), 2))
    accuracy[:, :, 1] += 0.1  # α = 1
    rows = made(accuracy).cells()
    assert [row["better"] for row in rows] == ["α = 1", "α = 1"]
    for j, row in enumerate(rows):
        test = ttest_rel(accuracy[:, 0, study.METHODS.index("robust"), j], accuracy[:, 0, 1, j])
        interval = test.confidence_interval()
        assert (row["low"], row["high"]) == pytest.approx((interval.low, interval.high))
        assert row["difference"] / row["stderr"] == pytest.approx(test.statistic)


def test_p_values_are_adjusted_for_all_cells():
    """Six differences of which the ranks with the lesser sign sum to 0, 1, 2, 3 have p = 2, 4, 6 and 10 of 64."""
    accuracy = np.zeros((12, 1, len(study.METHODS), 2))
    steps, robust = 0.01 * np.arange(1.0, 7.0), study.METHODS.index("robust")
    for (kind, j), negative in {(0, 0): [1], (0, 1): [], (1, 0): [3], (1, 1): [2]}.items():
        accuracy[6 * kind : 6 * kind + 6, 0, robust, j] = np.where(np.isin(np.arange(1, 7), negative), -steps, steps)
    rows = made(accuracy, ("a",) * 6 + ("b",) * 6).cells()
    assert [(row["kind"], row["gamma"]) for row in rows] == [("a", "1"), ("a", "loo"), ("b", "1"), ("b", "loo")]
    assert [row["p"] * 64 for row in rows] == pytest.approx([4 * 3, 2 * 4, 4 * 3, 6 * 2])


def test_comparisons_are_over_tasks():
    accuracy = np.zeros((4, 1, len(study.METHODS), 2))
    accuracy[:, 0, study.METHODS.index("robust")] = [[0.1, 0.4], [0.3, 0.4], [0.1, 0.2], [0.5, 0.6]]
    accuracy[1, 0, study.METHODS.index("oracle")] = 1.0
    result = made(accuracy, ("a", "a", "b", "b"))
    assert result.against("α = 0")["difference"] == pytest.approx(0.325)
    assert result.against("α = 0", kind="b")["difference"] == pytest.approx(0.35)
    assert result.gamma_by_loo() == pytest.approx({"best": 1.0, **study.paired(np.array([0.3, 0.1, 0.1, 0.1]))})
    assert result.regret("robust")[1] == pytest.approx(np.array([[0.7, 0.6]]))


def test_the_best_fixed_gamma_is_that_of_the_n_asked_for():
    accuracy = np.zeros((3, 2, len(study.METHODS), 3))
    robust = study.METHODS.index("robust")
    accuracy[:, 0, robust] = [[0.9, 0.1, 0.6], [0.8, 0.1, 0.8], [0.7, 0.1, 0.7]]
    accuracy[:, 1, robust] = [[0.1, 0.5, 0.6], [0.1, 0.4, 0.4], [0.1, 0.3, 0.5]]
    accuracy[2, 0] = np.nan  # too few rows for this n
    names = ("task 0", "task 1", "task 2")
    result = study.StudyResult(names, ("a",) * 3, (10, 20), (1.0, 2.0), accuracy)
    assert result.gamma_by_loo(n=10) == pytest.approx({"best": 1.0, **study.paired(np.array([-0.3, 0.0]))})
    assert result.gamma_by_loo(n=20) == pytest.approx({"best": 2.0, **study.paired(np.array([0.1, 0.0, 0.2]))})
    with pytest.raises(ValueError, match=r"n must be one of \(10, 20\), got 40"):
        result.gamma_by_loo(n=40)


def test_no_difference_has_p_one():
    assert study.paired(np.zeros(5))["p"] == 1.0


def test_names_and_comparisons_that_are_not_there():
    result = made(np.zeros((1, 1, len(study.METHODS), 2)))
    with pytest.raises(ValueError, match=r"kind must be .*'a'.*'nokind'"):
        result.of("nokind")
    with pytest.raises(ValueError, match=r"method must be .*'robust'.*'robsut'"):
        result.method("robsut")
    with pytest.raises(ValueError, match=r"two tasks.* got 1"):
        study.paired(np.array([0.1]))
    with pytest.raises(ValueError, match=r"n must be even.* got 9"):
        study.study_task(a_task(), 9)


def test_halves_depend_on_the_digits_alone():
    tasks = list(digit_tasks("shifted", 60))
    pairs = {}
    for task in tasks:
        pairs.setdefault(task.source.classes, set()).add(study.half(task))
    assert all(len(halves) == 1 for halves in pairs.values())
    assert {half for halves in pairs.values() for half in halves} == {"choose", "report"}
    with pytest.raises(ValueError, match="one of digits"):
        study.half(next(bundled_tasks()))


@pytest.mark.parametrize("features", ["relu", "products"])
def test_other_features_are_the_same_for_source_and_target(features):
    task = next(digit_tasks("shared"))
    mapped = study.with_features(task, features)
    assert mapped.source.X.shape[1] == mapped.target.X.shape[1] > 500
    twin = TransferTask(task.name, task.kind, task.target, task.source)
    assert np.array_equal(study.with_features(twin, features).source.X, mapped.target.X)
    with pytest.raises(ValueError, match="features must be"):
        study.with_features(task, "sines")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n": (9,)}, "n must be even"),
        ({"n": (6,)}, "n must be an integer of at least 8"),
        ({"gamma": (0.0,)}, r"gamma must be in \(0, inf"),
        ({"splits": 0}, "splits must be"),
        ({"workers": 0}, "workers must be"),
        ({"seed": -1}, "seed must be"),
        ({"n": ()}, "at least one entry"),
    ],
)
def test_bad_arguments_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        study.run([a_task()], **{"n": (8,), "gamma": (1.0,), "splits": 1} | wrong)


def test_a_study_needs_a_task():
    with pytest.raises(ValueError, match="tasks, n and gamma"):
        study.run([])
