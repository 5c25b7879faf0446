import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rmt_alpha._random import stream
from rmt_alpha.estimation import held_out
from rmt_alpha.estimation.datasets import LabelledData, load
from rmt_alpha.estimation.held_out import held_out_curves
from rmt_alpha.estimation.splits import Standardiser, split
from rmt_alpha.ridge import affine_ridge
from rmt_alpha.transfer import Transfer

GRID = np.linspace(-1.0, 3.0, 21)
SETTING = {"n": 40, "gamma": 0.7, "gamma_source": 1.3, "alphas": GRID, "splits": 6, "seed": 3}


def task(seed, n, mean, *, mixing=None, shift=0.0, name="task"):
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.resize([-1.0, 1.0], n))
    z = rng.standard_normal((n, len(mean)))
    return LabelledData(shift + (z if mixing is None else z @ mixing) + np.outer(y, mean), y, name)


def pair(p=60, n_target=600, beta=0.7, m=1.6, seed=0, **kind):
    mu, other = np.zeros(p), np.zeros(p)
    mu[0], other[:2] = m, (m * beta, m * np.sqrt(1 - beta**2))
    return (
        task([seed, 0], 300, mu, name="source", **kind),
        task([seed, 1], n_target, other, name="target", shift=2.0, **kind),
    )


def same(one, other, *names):
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        assert np.array_equal(a.mean if name == "law" else a, b.mean if name == "law" else b, equal_nan=True), name
    if getattr(one, "with_covariance", None) is not None and "predicted" in names and "optimal_alpha" in names:
        same(one.with_covariance, other.with_covariance, "predicted", "optimal_alpha", "law")


EVERYTHING = (
    "measured",
    "predicted",
    "at_zero",
    "at_one",
    "optimal_alpha",
    "at_optimal_alpha",
    "law",
    "p",
    "n_source",
    "at_bound",
    "anisotropy",
    "source_variance",
)


# Is it right?


@pytest.mark.parametrize("seed", range(3))
def test_isotropic_data_agree_with_the_isotropic_prediction(seed):
    curves = held_out_curves(*pair(seed=seed, n_target=1000), **{**SETTING, "n": 60, "splits": 20})
    verdict = curves.verdict()
    assert verdict.holds
    assert verdict.ranges == ()
    assert abs(verdict.largest) < 0.04
    assert curves.anisotropy.mean() == pytest.approx(1.0, abs=0.1)
    assert curves.source_variance.mean() == pytest.approx(1.0, abs=0.15)
    assert (curves.p == 60).all()


def isotropic(seed, p, rows, share):
    rng = np.random.default_rng([seed, 7])
    for size, mean in ((800, (1.2, 0.0)), (rows, (0.96, 0.6))):
        y = np.where(np.arange(size) < share * size, 1.0, -1.0)
        z = rng.standard_normal((size, p))
        z[:, :2] += np.outer(y, mean)
        yield LabelledData(z, y)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "p", "rows", "share", "splits"),
    [
        (20, 400, 600, 0.5, 50),
        (60, 60, 1000, 0.5, 20),
        (60, 60, 1000, 0.35, 20),
        (60, 60, 5000, 0.2, 2),
        (40, 100, 600, 0.5, 3),
        (40, 100, 600, 0.5, 2),
    ],
)
def test_verdict_seldom_fails_isotropic_data(n, p, rows, share, splits):
    setting = {"gamma": 1.0, "gamma_source": 1.0, "alphas": GRID, "n": n, "splits": splits, "shrinkage": None}
    holds = [held_out_curves(*isotropic(s, p, rows, share), **setting, seed=s).verdict().holds for s in range(20)]
    assert sum(holds) >= 19


@pytest.mark.slow
@pytest.mark.parametrize(("n", "p", "share", "low", "high"), [(10, 200, 0.5, 0.03, 0.08), (60, 60, 0.2, -0.06, -0.03)])
def test_documented_shortcomings_on_isotropic_data(n, p, share, low, high):
    setting = {"gamma": 1.0, "gamma_source": 1.0, "alphas": [0.0], "n": n, "splits": 20, "shrinkage": None}
    found = [held_out_curves(*isotropic(s, p, 1000, share), **setting, seed=s).verdict().largest for s in range(16)]
    assert low < np.mean(found) < high


def test_correlated_data_fail_the_verdict():
    rng = np.random.default_rng(1)
    basis = np.linalg.qr(rng.standard_normal((60, 60)))[0]
    mixing = basis * np.sqrt(np.geomspace(0.002, 8.0, 60)) @ basis.T
    curves = held_out_curves(*pair(seed=2, n_target=1000, mixing=mixing), **{**SETTING, "n": 60, "splits": 20})
    verdict = curves.verdict()
    assert not verdict.holds
    assert abs(verdict.largest) > 0.05
    assert curves.anisotropy.mean() > 3
    second = curves.verdict(curves.with_covariance)
    assert second.holds
    assert np.abs(second.difference).mean() < 0.3 * np.abs(verdict.difference).mean()


def test_accuracy_is_signed():
    """A source of the opposite sign: below ½ at α = 1 in few samples, and α* is negative."""
    source, target = pair(m=1.0, beta=-1.0)
    curves = held_out_curves(source, target, **{**SETTING, "n": 10, "gamma": 20.0})
    assert curves.at_one.mean() < 0.3
    assert curves.predicted[:, -1].mean() < 0.3
    assert curves.median_alpha < 0


def test_ties_count_half():
    y = np.resize([-1.0, 1.0], 80)
    X = y[:, None].copy()
    X[:4] = 0.0  # on the midpoint: score 0
    target = LabelledData(X, y)
    source = LabelledData(np.random.default_rng(0).standard_normal((40, 1)) + y[:40, None], y[:40])
    curves = held_out_curves(source, target, n=8, gamma=1.0, gamma_source=1.0, alphas=[0.0, 1.0], splits=30, seed=0)
    untouched = ~np.isfinite(curves.anisotropy)  # no tie among the training rows, so that nothing varies within a class
    assert untouched.sum() > 5
    assert np.unique(curves.measured[untouched]).tolist() == [70 / 72]


def test_shared_rows_are_never_learned_and_tested():
    """Labels without any meaning: a source that has seen the held-out rows would recite them."""
    rng = np.random.default_rng(4)
    data = LabelledData(rng.standard_normal((120, 400)), np.resize([-1.0, 1.0], 120))
    curves = held_out_curves(data, data, n=20, gamma=10.0, gamma_source=0.01, alphas=[0.0, 1.0], splits=40, seed=0)
    assert abs(curves.at_one.mean() - 0.5) < 0.08
    assert curves.n_source.min() > 40
    assert curves.n_source.max() < 80


def test_rows_are_dealt_out_to_one_side():
    def rows(*values):
        return np.array([[value, -value] for value in values], dtype=float)

    source_X, target_X = rows(0, 1, 2, 3, 3, 9, 5), rows(2, 5, 3, 4, 9, 8, 8, -0.0)
    shared = held_out.shared_rows(source_X, target_X)
    assert sorted(zip(*(rows.tolist() for rows in shared), strict=True)) == [(0, 7), (2, 0), (5, 4), (6, 1)]
    source, target = LabelledData(source_X, [1, -1] * 3 + [1]), LabelledData(target_X, [1, -1] * 4)
    task = held_out._Task(source, target, *shared, 1, None, 1.0, 1.0, GRID)
    dealt = set()
    for seed in range(200):
        left, right = task._deal(np.random.default_rng(seed))
        a, b = source_X[left, 0].tolist(), target_X[right, 0].tolist()
        assert set(a) & set(b) <= {3.0}
        assert [value for value in a if value in (1, 3)] == [1, 3, 3]
        assert [value for value in b if value in (3, 4, 8)] == [3, 4, 8, 8]
        assert sorted({*a, *b}) == [0, 1, 2, 3, 4, 5, 8, 9]
        dealt.add(frozenset(a) & {0.0, 2.0, 5.0, 9.0})
    assert len(dealt) == 16


def test_equal_rows_of_discrete_features_are_so_many_samples():
    def binary(seed, name):
        rng = np.random.default_rng(seed)
        y = np.resize([-1.0, 1.0], 200)
        return LabelledData((rng.random((200, 4)) < 0.5 + 0.3 * y[:, None]).astype(float), y, name)

    curves = held_out_curves(binary(0, "a"), binary(1, "b"), **SETTING)
    assert (curves.n_source == 200).all()
    assert curves.at_one.mean() > 0.7


def test_two_distinct_rows():
    data = LabelledData(np.repeat([[0.0, 1.0], [1.0, 0.0]], 20, axis=0), np.repeat([-1.0, 1.0], 20), "sep")
    curves = held_out_curves(data, data, **{**SETTING, "n": 10})
    assert np.isfinite(curves.measured).all()
    assert (curves.n_source == 40).all()


@pytest.mark.parametrize("rows", [2, 6])
def test_too_little_is_left_of_shared_rows(rows):
    y = np.repeat([-1.0, 1.0], rows)
    data = LabelledData(np.random.default_rng(0).standard_normal((2 * rows, 3)), y, "few")
    big = task(1, 60, np.ones(3), name="big")
    both = LabelledData(np.vstack([big.X, data.X]), np.concatenate([big.y, data.y]), "both")
    message = rf"few: .*of its {2 * rows} rows, as few and both share {2 * rows} and each goes to one of them"
    with pytest.raises(ValueError, match=message):
        held_out_curves(data, both, **{**SETTING, "n": 8, "splits": 40})
    with pytest.raises(ValueError, match="few: "):
        held_out_curves(both, data, **{**SETTING, "n": 8, "splits": 40})


# No leakage.


def test_held_out_rows_change_nothing_but_the_measurement(monkeypatch):
    source, target = pair()
    root = np.random.SeedSequence(SETTING["seed"])
    rows = np.zeros(len(target.y), dtype=bool)
    for j in range(SETTING["splits"]):
        rows[split(target.y, SETTING["n"], stream(root, j, 0))[0]] = True
    assert 100 < rows.sum() < 500

    heads, solve = [], held_out._head

    def record(*arguments):
        heads.append(solve(*arguments))
        return heads[-1]

    monkeypatch.setattr(held_out, "_head", record)
    before = held_out_curves(source, target, **SETTING)
    X = target.X.copy()
    X[~rows] = 1e3 * np.random.default_rng(5).standard_normal(X[~rows].shape)
    after = held_out_curves(source, LabelledData(X, target.y, "target"), **SETTING)

    same(before, after, *(name for name in EVERYTHING if not name.startswith(("measured", "at_zero", "at_o"))))
    assert not np.array_equal(before.measured, after.measured)
    count = len(heads) // 2
    assert count == 2 * SETTING["splits"]
    for one, other in zip(heads[:count], heads[count:], strict=True):
        assert np.array_equal(one, other)

    X[rows] += 1e-6  # the test itself: training rows do matter
    assert not np.array_equal(before.predicted, held_out_curves(source, LabelledData(X, target.y), **SETTING).predicted)


def test_prediction_with_covariance_is_that_of_the_transfer_from_the_training_rows():
    """Split and scaling by hand; what is predicted is public."""
    source, target = pair()
    curves = held_out_curves(source, target, **SETTING, shrinkage=0.3)
    root = np.random.SeedSequence(SETTING["seed"])
    for j in range(2):
        rows, _ = split(target.y, SETTING["n"], stream(root, j, 0))
        order = split(source.y, 300, stream(root, j, 1), held_out=0)[0]
        X, y = target.X[rows], target.y[rows]
        scaling = Standardiser.fit(source.X[order], source.y[order], X, y)
        Z_source, Z = scaling.source(source.X[order]), scaling.target(X)
        w, _ = affine_ridge(Z_source, source.y[order], None, SETTING["gamma_source"])
        problem = Transfer.from_data(
            Z_source, source.y[order], Z, y, gamma=SETTING["gamma"], source_coef=w, shrinkage=0.3
        )
        law = problem.margin_law()
        np.testing.assert_allclose(curves.with_covariance.predicted[j], law.accuracy(GRID), rtol=1e-9)
        assert curves.with_covariance.optimal_alpha[j] == pytest.approx(law.optimal_alpha(), rel=1e-6)


def test_margins_have_the_accuracy_of_gaussian_ones():
    curves = held_out_curves(*pair(n_target=3000), **SETTING)
    accuracy = curves.margins[:, None].accuracy(GRID)
    assert np.abs(accuracy - curves.measured).max() < 0.02  # the data are Gaussian
    assert np.abs(accuracy - curves.measured).max() > 0.0

    y = np.resize([-1.0, 1.0], 400)  # classes apart, and one outlier in five at a distance
    outlying = np.where(np.arange(400) % 5 == 0, 6.0, 0.5)[:, None]
    heavy = LabelledData(y[:, None] * [1.0, 1.0] + outlying * np.random.default_rng(0).standard_normal((400, 2)), y)
    curves = held_out_curves(heavy, heavy, **SETTING)
    accuracy = curves.margins[:, None].accuracy(GRID)
    assert (accuracy - curves.measured).mean() < -0.05


def test_prediction_with_covariance_may_be_left_out():
    domains = pair()
    plain = held_out_curves(*domains, **SETTING, shrinkage=None)
    assert plain.with_covariance is None
    same(plain, held_out_curves(*domains, **SETTING), *(set(EVERYTHING) - {"optimal_alpha"}))


def test_prediction_with_covariance_needs_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.covariance", None)
    with pytest.raises(ValueError, match="needs scikit-learn"):
        held_out_curves(*pair(), **SETTING)
    assert held_out_curves(*pair(), **SETTING, shrinkage=0.5).with_covariance is not None
    with pytest.raises(ValueError, match="shrinkage must be"):
        held_out_curves(*pair(), **SETTING, shrinkage="none")


def test_infinite_alpha_is_the_source_alone(monkeypatch):
    source, target = pair(m=1.0)
    plain = held_out_curves(source, target, **{**SETTING, "alphas": [-1e12, 1e12]})
    for sign in (-1.0, 1.0):
        with monkeypatch.context() as patch:
            patch.setattr(held_out.MarginLaw, "optimal_alpha", lambda _, sign=sign: sign * np.inf)
            curves = held_out_curves(source, target, **SETTING)
        assert (curves.with_covariance.optimal_alpha == sign * np.inf).all()
        assert curves.with_covariance.median_alpha == sign * np.inf
        assert np.array_equal(curves.with_covariance.at_optimal_alpha, plain.measured[:, int(sign > 0)])


# Constant features.


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1])
def test_constant_column_changes_nothing(value):
    plain = held_out_curves(*pair(), **SETTING)
    widened = [LabelledData(np.insert(d.X, 7, value, axis=1), d.y, d.name) for d in pair()]
    same(plain, held_out_curves(*widened, **SETTING), *(name for name in EVERYTHING if name != "measured"))


@pytest.mark.parametrize(("gamma", "n"), [(0.7, 40), (0.0, 90)])
@pytest.mark.parametrize("where", [0, 1])
def test_column_constant_in_one_domain(where, gamma, n):
    domains = list(pair())
    d = domains[where]
    domains[where] = LabelledData(np.where(np.arange(60) == 5, 0.1, d.X), d.y, d.name)
    curves = held_out_curves(*domains, **{**SETTING, "gamma": gamma, "n": n})
    assert (curves.p == (59 if where else 60)).all()
    for name in ("measured", "predicted", "anisotropy", "source_variance"):
        assert np.isfinite(getattr(curves, name)).all()
    assert curves.at_one.mean() > 0.8


def test_rare_feature_that_training_rows_may_miss():
    source, target = pair()
    rare = np.zeros((len(target.y), 1))
    rare[:3] = 1.0
    source = LabelledData(np.hstack([source.X, np.random.default_rng(6).random((300, 1))]), source.y)
    curves = held_out_curves(source, LabelledData(np.hstack([target.X, rare]), target.y), **SETTING)
    assert set(curves.p) == {60, 61}
    assert np.isfinite(curves.measured).all()


def test_nothing_varies():
    y = np.resize([-1.0, 1.0], 40)
    flat = LabelledData(np.ones((40, 3)), y, "flat")
    other = task(0, 40, np.ones(3), name="other")
    for domains in ((flat, other), (other, flat)):
        with pytest.raises(ValueError, match="flat: no feature varies in the training rows"):
            held_out_curves(*domains, **{**SETTING, "n": 20})


# Randomness.


def test_seed_reproduces_and_more_splits_begin_with_the_fewer():
    domains = pair()
    few, again = (held_out_curves(*domains, **SETTING) for _ in range(2))
    same(few, again, *EVERYTHING)
    many = held_out_curves(*domains, **{**SETTING, "splits": 9})
    for name in set(EVERYTHING) - {"law"}:
        assert np.array_equal(getattr(many, name)[:6], getattr(few, name)), name
    other = held_out_curves(*domains, **{**SETTING, "seed": 4})
    assert not np.array_equal(few.measured, other.measured)
    drawn = held_out_curves(*domains, **{**SETTING, "seed": None})
    same(drawn, held_out_curves(*domains, **{**SETTING, "seed": drawn.seed}), *EVERYTHING)


def test_splits_differ():
    curves = held_out_curves(*pair(), **SETTING)
    assert len(np.unique(curves.predicted[:, 0])) == SETTING["splits"]


def test_number_of_source_rows():
    domains = pair()
    assert (held_out_curves(*domains, **SETTING).n_source == 300).all()
    subsets = held_out_curves(*domains, **SETTING, n_source=50)
    assert (subsets.n_source == 50).all()
    assert subsets.at_one.mean() < held_out_curves(*domains, **SETTING).at_one.mean()


# What is made of the splits.


def test_summaries():
    curves = held_out_curves(*pair(), **SETTING)
    np.testing.assert_allclose(curves.accuracy.value, curves.measured.mean(axis=0))
    np.testing.assert_allclose(curves.accuracy.stderr, curves.measured.std(axis=0, ddof=1) / np.sqrt(6))
    np.testing.assert_allclose(curves.prediction, curves.predicted.mean(axis=0))
    np.testing.assert_allclose(curves.prediction_spread, curves.predicted.std(axis=0, ddof=1))
    np.testing.assert_array_equal(curves.at_zero, curves.measured[:, np.argmin(np.abs(GRID))])
    np.testing.assert_array_equal(curves.at_one, curves.measured[:, np.argmin(np.abs(GRID - 1))])
    np.testing.assert_allclose(curves.optimal_alpha, curves.law.optimal_alpha(), rtol=1e-9)
    assert curves.best_accuracy.value == curves.measured.mean(axis=0).max()
    assert curves.fraction_undefined == 0.0
    assert curves.rows == 600
    gaps = replace(curves, optimal_alpha=np.array([np.nan, 5.0, 1.0, np.nan, 3.0, 9.0]))
    assert gaps.median_alpha == 4.0
    assert gaps.fraction_undefined == pytest.approx(1 / 3)
    assert np.isnan(replace(curves, optimal_alpha=np.full(6, np.nan)).median_alpha)


def test_best_alpha_is_the_nearest_to_one_among_equals():
    curves = held_out_curves(*pair(), **{**SETTING, "alphas": [-1.0, 0.0, 1.5, 4.0]})
    flat = replace(curves, measured=np.tile([0.8, 0.9, 0.9, 0.9], (6, 1)))
    assert flat.best_alpha == 1.5
    assert flat.best_accuracy.value == pytest.approx(0.9)


def test_verdict_by_hand():
    curves = held_out_curves(*pair(), **{**SETTING, "alphas": [0.0, 1.0, 2.0, 3.0, 4.0]})
    wobble = np.array([-1.0, 1.0, -1.0, 1.0, -1.0, 1.0])[:, None] * 0.01
    measured = np.tile(0.7, (6, 5))

    def verdict_of(*difference):
        return replace(curves, measured=measured, predicted=measured + np.array(difference) + wobble).verdict()

    verdict = verdict_of(0.2, 0.1, 0.0, np.nan, -0.3)
    assert verdict.threshold == pytest.approx(stats.t.isf(stats.norm.sf(3), 5), rel=1e-9)
    assert verdict.fails.tolist() == [True, True, False, False, True]
    assert verdict.undefined.tolist() == [False, False, False, True, False]
    assert verdict.ranges == ((0.0, 1.0), (4.0, 4.0))
    assert (verdict.alpha, verdict.largest) == (4.0, pytest.approx(-0.3))
    assert not verdict_of(0.0, 0.0, 0.0, np.nan, 0.0).holds
    q = (600 * 0.9 + 1) / 602
    assert verdict.error[0] == pytest.approx(np.sqrt(0.01**2 / 5 + q * (1 - q) / 600))
    whole = verdict_of(0.2, 0.1, 0.0, 0.0, -0.3)
    assert (whole.alpha, whole.largest) == (4.0, pytest.approx(-0.3))
    assert not whole.holds
    assert verdict_of(0.0, 0.0, 0.01, 0.0, -0.01).holds


def test_few_splits_decide_little():
    """Two splits leave one degree of freedom: 3 of their standard errors are nothing."""
    curves = held_out_curves(*pair(), **{**SETTING, "alphas": [0.0, 1.0], "splits": 3})
    measured = np.full((3, 2), 0.9)
    shifted = replace(curves, measured=measured, predicted=measured + 0.1 + np.array([[-0.02], [0.0], [0.02]]))
    verdict = shifted.verdict()
    assert verdict.threshold == pytest.approx(19.2, abs=0.1)
    assert (np.abs(verdict.difference) > 5 * verdict.error).all()
    assert verdict.holds


@pytest.mark.parametrize("gamma", [1e300, 1.0])
def test_undefined_law_neither_holds_nor_fails(gamma):
    curves = held_out_curves(*pair(), **{**SETTING, "gamma": gamma})
    assert curves.verdict(curves.with_covariance).undefined.all() == (gamma == 1e300)
    if gamma == 1.0:  # in one split only
        curves = replace(curves, predicted=np.where(np.arange(6)[:, None] == 2, np.nan, curves.predicted))
    verdict = curves.verdict()
    assert np.isfinite(curves.measured).all()
    assert verdict.undefined.all()
    assert not verdict.holds
    assert not verdict.fails.any()
    assert verdict.ranges == ()
    assert np.isnan([verdict.alpha, verdict.largest]).all()


def test_huge_alpha_has_the_accuracy_of_its_sign():
    curves = held_out_curves(
        *pair(), **{**SETTING, "alphas": [-1.7e308, -1e9, 1e9, 1.7e308], "gamma": 50.0, "gamma_source": 0.01}
    )
    np.testing.assert_allclose(curves.measured[:, :2], 1.0 - curves.measured[:, :1:-1], rtol=1e-12)
    assert np.array_equal(curves.measured[:, 2], curves.measured[:, 3])


def test_specs_are_loaded():
    setting = {**SETTING, "alphas": [0.0, 1.0], "splits": 2}
    loaded = held_out_curves(load("digits:6,8"), load("digits:5,9"), **setting)
    same(loaded, held_out_curves("digits:6,8", Path("digits:5,9"), **setting), *EVERYTHING)
    with pytest.raises(ValueError, match=r"nowhere\.csv: no such file"):
        held_out_curves("nowhere.csv", "digits:5,9", **setting)


def test_without_penalty_the_source_is_forgotten():
    curves = held_out_curves(*pair(p=20), **{**SETTING, "gamma": 0.0})
    assert curves.fraction_undefined == 1.0
    assert np.ptp(curves.measured, axis=1).max() == 0.0
    assert np.array_equal(curves.at_optimal_alpha, curves.at_one)
    assert curves.best_alpha == 1.0


# Bad input.


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 6}, "n must give each label at least 4 rows"),
        ({"n": 599}, "n must give each label at least 4 rows for training and leave 2"),
        ({"n": 600}, "n=600 takes 300 of the 300 rows"),
        ({"n": True}, "n must be an integer"),
        ({"n_source": 301}, "n_source must give each label"),
        ({"n_source": 0}, "n_source must be an integer of at least 1"),
        ({"splits": 1}, "splits must be an integer of at least 2"),
        ({"gamma": -1.0}, "gamma must be in"),
        ({"gamma": 0.0}, "target: gamma must be larger"),
        ({"gamma_source": np.nan}, "gamma_source must be in"),
        ({"gamma_source": 0.0, "n_source": 50}, "source: gamma must be larger"),
        ({"alphas": []}, "alphas must be a sequence of increasing numbers"),
        ({"alphas": 1.0}, "alphas must be a sequence"),
        ({"alphas": [0.0, 0.0]}, "alphas must be a sequence of increasing"),
        ({"alphas": [0.0, np.inf]}, "alphas must be finite"),
        ({"seed": -1}, "seed must be"),
        ({"splits": 10**10}, r"splits 10000000000 × alphas 21 would need"),
        ({"splits": 10**6, "alphas": np.arange(1e6)}, r"splits 1000000 × alphas 1000000 would need"),
        ({"gamma_source": 1e250}, "gamma_source must be smaller"),
    ],
)
def test_bad_arguments(change, message):
    with pytest.raises(ValueError, match=message):
        held_out_curves(*pair(), **{**SETTING, **change})


def test_features_must_match():
    source, target = pair()
    with pytest.raises(ValueError, match="target has 59 features, the source source has 60"):
        held_out_curves(source, LabelledData(target.X[:, 1:], target.y, "target"), **SETTING)
    names = tuple(f"f{j}" for j in range(60))
    named = LabelledData(source.X, source.y, "source", features=names)
    other = LabelledData(target.X, target.y, "target", features=names[::-1])
    with pytest.raises(ValueError, match="target has feature 'f59' where the source source has 'f0'"):
        held_out_curves(named, other, **SETTING)
    held_out_curves(named, target, **SETTING)


# Real data.


def test_digits_report_the_failure():
    """On digits the closed form promises far fewer errors than there are."""
    curves = held_out_curves(
        load("digits:6,8"), load("digits:5,9"), n=40, gamma=10.0, gamma_source=1.0, alphas=GRID, seed=0
    )
    assert 0.96 < curves.at_one.mean() < 0.99
    assert not curves.verdict().holds
    assert curves.verdict().largest > 0.05
    assert curves.anisotropy.mean() > 2
    assert curves.median_alpha < 0.2
    assert (curves.p < 64).all()
    second = curves.verdict(curves.with_covariance)
    assert np.abs(second.difference).mean() < 0.8 * np.abs(curves.verdict().difference).mean()
