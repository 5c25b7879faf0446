"""The study of adapters on digits compares what it says it compares."""

import importlib
import pathlib

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield importlib.import_module("lora_digits")


FIVE = (0, 2, 3, 5, 8)


@pytest.mark.parametrize(("model", "kind"), [("linear", "other"), ("network", "turned")])
def test_no_method_sees_a_test_row(study, model, kind, monkeypatch):
    monkeypatch.setitem(study.STEPS, model, 10)
    source = study.Source(model, kind, FIVE)
    split = study.Split(source, 4, seed=3)
    X, c = (array.copy() for array in source.target)
    rng = np.random.default_rng(0)
    X[split.test] = rng.uniform(-90.0, 90.0, (len(split.test), 64))
    c[split.test] = rng.permutation(c[split.test])
    source.target = X, source.target[1]  # the labels say which rows are drawn
    other = study.Split(source, 4, seed=3)
    other.c = c
    other.targets = study.one_hot(c) if model == "linear" else c
    for name, method in (study.METHODS | study.REFERENCES).items():
        candidate = method.candidates(model)[4]
        state, again = (one.fit(method, candidate).state_dict() for one in (split, other))
        assert state.keys() == again.keys()
        for key, array in state.items():
            np.testing.assert_array_equal(array, again[key], err_msg=f"{name}, {key}")


@pytest.mark.parametrize("per_class", [4, 12])
def test_rows_for_alpha_are_a_quarter_of_the_same_rows(study, per_class):
    source = study.Source("linear", "other", FIVE)
    splits = [study.Split(source, per_class, seed) for seed in range(3)]
    for split in splits:
        assert sorted([*split.held_out, *split.apart]) == sorted(split.rows)
        assert np.bincount(split.c[split.held_out]).tolist() == [per_class // 4] * 5
        assert np.bincount(split.c[split.rows]).tolist() == [per_class] * 5
        assert len(split.rows) + len(split.test) == len(split.c)
        assert not set(split.rows) & set(split.test)
    assert set(splits[0].rows) != set(splits[1].rows)


def test_turned_digits_are_not_those_of_the_source(study):
    X, turned, digit = study.images()
    (first, _), (second, _) = study.domains("turned", FIVE)
    assert len(first) + len(second) == np.isin(digit, FIVE).sum()
    seen = {x.tobytes() for x in first}
    assert not any(x.tobytes() in seen for x, z in zip(X, turned, strict=True) if (second == z).all(axis=1).any())


def test_reporting_tasks_are_new(study):
    fives = study.tasks(244)
    assert len(set(fives)) == 244
    for five in study.TUNING:
        assert five not in fives
        assert tuple(sorted(set(range(10)) - set(five))) not in fives


def test_every_method_has_as_many_candidates(study):
    for model in study.STEPS:
        counts = {name: len(set(method.candidates(model))) for name, method in study.TUNED.items()}
        assert set(counts.values()) == {12}, counts


def test_rows_of_the_head_are_in_units_of_the_labels(study):
    for model in study.STEPS:
        source = study.Source(model, "other", FIVE)
        H = source.features(source.X)
        for k in range(5):
            y, f = np.where(source.c == k, 1.0, -1.0), H @ source.rows_of_head[k]
            slope = (y - y.mean()) @ (f - f.mean()) / np.square(f - f.mean()).sum()
            assert slope == pytest.approx(1.0, abs=0.25)


@pytest.mark.parametrize("rule", ["isotropic", "covariance"])
def test_best_alpha_does_not_depend_on_the_unit_of_the_features(study, rule):
    split = study.Split(study.Source("linear", "turned", FIVE), 12, seed=1)
    alphas = split.best_alpha(rule, 0.4)
    assert np.ptp(alphas) > 0.1
    head, X = split.source.rows_of_head, split.source.X
    split.source.rows_of_head, split.source.X, split.X = head / 3.0, 3.0 * X, 3.0 * split.X
    split._alphas.clear()
    np.testing.assert_allclose(split.best_alpha(rule, 9.0 * 0.4), alphas, rtol=1e-6)
    assert np.abs(split.best_alpha(rule, 0.4) - alphas).max() > 0.01  # γ counts
    np.testing.assert_allclose(split.best_alpha(f"{rule}, shared", 9.0 * 0.4), alphas.mean(), rtol=1e-6)


def test_best_alpha_of_the_network_takes_the_features_variance_for_gamma(study):
    split = study.Split(study.Source("network", "turned", FIVE), 12, seed=1)
    H, c = split.source.features(split.X[split.rows]), split.c[split.rows]
    unit = np.sqrt(np.square(H - np.array([H[c == k].mean(axis=0) for k in c])).sum() / (H.shape[1] * (len(H) - 5)))
    for k, alpha in enumerate(split.best_alpha("isotropic", 0.0)):
        w, y = split.source.rows_of_head[k] * unit, np.where(c == k, 1.0, -1.0)
        found = study.estimate_problem(H / unit, y, w)
        expected = study.fixed_source_optimal_alpha(found.s, found.w_perp2, found.m2, *H.shape, 1.0)
        assert alpha == pytest.approx(np.clip(expected, -3.0, 3.0))


def test_holm_correction(study):
    # sorted .01 .02 .03 .04: times 4, 3, 2, 1, and never less than the one before
    np.testing.assert_allclose(study.holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    assert study.holm([0.4, 0.6]) == [0.8, 0.8]


def test_table_pairs_by_task(study):
    rng = np.random.default_rng(1)
    base, gain = rng.uniform(0.5, 0.9, 12), 0.01 * (1 + rng.uniform(size=12))
    names = [*study.METHODS, *study.REFERENCES, study.FROZEN, *(f"α = {alpha:g}" for alpha in study.GRID)]
    reports = [
        {
            "accuracy": {name: [b + g, b - g] if name != "IA³" else [b + g + 0.02, b + g] for name in names},
            "alpha": {},
            "parameters": {},
        }
        for b, g in zip(base, gain, strict=True)
    ]
    lines = {line.name: line for line in study.lines_of(reports)}
    change = 100 * (gain + 0.01)
    half = 2.200985 * change.std(ddof=1) / 12**0.5  # Student's t, 11 degrees of freedom
    assert lines["IA³"].to_lora == lines["IA³"].to_zero == pytest.approx((change.mean(), half))
    assert (lines["IA³"].won, lines["IA³"].lost) == (12, 0)
    assert lines["IA³"].p == pytest.approx(10 * 2 / 2**12)  # all signs alike, times Holm's 10
    assert lines["DoRA"].p == 1.0
