import numpy as np
import pytest

from rmt_alpha.estimation.plug_in import estimate_problem
from rmt_alpha.estimation.splits import Standardiser, split, within_classes

# Splits.


def test_split_of_nothing():
    with pytest.raises(ValueError, match="no rows to split"):
        split(np.empty(0), 8, np.random.default_rng(0))


@pytest.mark.parametrize(("negative", "positive", "n"), [(30, 30, 20), (60, 20, 40), (11, 47, 29)])
def test_split_is_a_partition_in_proportion(negative, positive, n):
    y = np.random.default_rng(0).permutation(np.repeat([-1.0, 1.0], [negative, positive]))
    training, rest = split(y, n, np.random.default_rng(1))
    assert len(training) == n
    assert np.array_equal(np.sort(np.concatenate([training, rest])), np.arange(y.size))
    assert abs((y[training] == 1).sum() - n * positive / (negative + positive)) <= 0.5


def test_split_takes_every_row_equally_often():
    y = np.repeat([-1.0, 1.0], [12, 24])
    rng = np.random.default_rng(2)
    counts = np.zeros(36)
    for _ in range(2000):
        counts[split(y, 18, rng)[0]] += 1
    assert (np.abs(counts - 1000) < 5 * np.sqrt(500)).all()


@pytest.mark.parametrize(
    ("n", "message"),
    [
        (7, r"n=7 takes 3 of the 10 rows with label"),
        (17, r"n=17 takes 9 of the 10 rows with label -1"),
        (20, "n must give each label at least 4 rows for training and leave 2: n=20 takes 10 of the 10"),
        (0, "n must be an integer of at least 1"),
        (8.5, "n must be an integer"),
    ],
)
def test_split_refuses(n, message):
    with pytest.raises(ValueError, match=message):
        split(np.repeat([-1.0, 1.0], [10, 10]), n, np.random.default_rng(0))


# Standardising.


def two_domains(seed=0):
    rng = np.random.default_rng(seed)
    domains = []
    for n, shift in ((200, 3.0), (30, -5.0)):
        y = np.repeat([-1.0, 1.0], [n // 3, n - n // 3])
        X = shift + rng.standard_normal((n, 5)) * [1.0, 10.0, 0.01, 2.0, 5.0] + y[:, None] * [1.0, 2.0, 0.1, 0.0, -3.0]
        domains += [X, y]
    return domains


def within_variance(X, y):
    return sum(np.square(r).sum(axis=0) for r in within_classes(X, y)[1]) / (len(y) - 2)


def test_standardiser_centres_on_midpoints_and_equalises():
    source_X, source_y, X, y = two_domains()
    fit = Standardiser.fit(source_X, source_y, X, y)
    for Z, labels in ((fit.source(source_X), source_y), (fit.target(X), y)):
        np.testing.assert_allclose(Z[labels == 1].mean(axis=0), -Z[labels == -1].mean(axis=0), atol=1e-12)
        assert np.abs(Z.mean(axis=0)).max() > 0.1  # unequal classes: the plain mean is somewhere else
    pooled = 198 * within_variance(fit.source(source_X), source_y) + 28 * within_variance(fit.target(X), y)
    np.testing.assert_allclose(pooled, 226.0, rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9 + 0.1, -1 / 3])
def test_constant_features_become_exactly_zero(value):
    source_X, source_y, X, y = two_domains()
    source_X[:, 1] = X[:, 1] = value
    fit = Standardiser.fit(source_X, source_y, X, y)
    assert fit.scale[1] == 1.0
    assert not fit.source(source_X)[:, 1].any()
    assert not fit.target(X)[:, 1].any()


@pytest.mark.parametrize("where", ["source", "target"])
def test_feature_constant_in_one_domain_only(where):
    source_X, source_y, X, y = two_domains()
    (source_X if where == "source" else X)[:, 1] = 0.1
    fit = Standardiser.fit(source_X, source_y, X, y)
    variances = within_variance(fit.source(source_X), source_y)[1], within_variance(fit.target(X), y)[1]
    np.testing.assert_allclose(sorted(variances), [0.0, 1.0], rtol=1e-12)
    assert not (fit.source(source_X) if where == "source" else fit.target(X))[:, 1].any()


@pytest.mark.parametrize(("factor", "expected"), [(1e-9, 1.0), (0.02, 1.0), (50.0, None)])
def test_feature_nearly_constant_in_the_source(factor, expected):
    """No feature's variance exceeds what the F test lets pass, in either domain."""
    source_X, source_y, X, y = two_domains()
    source_X[:, 1] *= factor
    fit = Standardiser.fit(source_X, source_y, X, y)
    variances = within_variance(fit.source(source_X), source_y)[1], within_variance(fit.target(X), y)[1]
    assert max(variances) == pytest.approx(expected or 1.0, rel=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source_y": [0.0, 1.0, 0.0, 1.0]}, r"source_y must hold the labels -1 and \+1, got 0"),
        ({"target_y": [-1.0, 1.0, 1.0, 1.0]}, "target_y must have at least two rows of each label, got 1"),
        ({"target_y": [-1.0, 1.0]}, r"target_y must have shape \(4,\)"),
        ({"target_X": np.eye(4)[:, :3]}, "target_X must have the 4 features of the source, got 3"),
        ({"source_X": np.full((4, 4), np.nan)}, "source_X must be finite"),
    ],
)
def test_standardiser_refuses(changes, message):
    y = [-1.0, -1.0, 1.0, 1.0]
    with pytest.raises(ValueError, match=message):
        Standardiser.fit(**({"source_X": np.eye(4), "source_y": y, "target_X": np.eye(4), "target_y": y} | changes))


def isotropic_m2(n, p, trials, noise="gaussian"):
    """m̂² of isotropic targets with m² = 1.44, standardised beside a source."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(trials):
        domains = []
        for rows in (300, n):
            y = np.resize([-1.0, 1.0], rows)
            z = rng.standard_normal((rows, p)) if noise == "gaussian" else rng.standard_t(6, (rows, p)) / np.sqrt(1.5)
            domains += [z + 1.2 * np.outer(y, np.arange(p) == 0), y]
        fit = Standardiser.fit(*domains)
        found.append(estimate_problem(fit.target(domains[2]), domains[3], np.ones(p)).m2_unbiased)
    return np.mean(found), np.std(found, ddof=1) / np.sqrt(trials)


@pytest.mark.parametrize(("n", "p"), [(10, 200), (20, 400)])
def test_scale_does_not_bias_m2_where_n_is_small(n, p):
    mean, stderr = isotropic_m2(n, p, 400)
    assert abs(mean - 1.44) < 4 * stderr


@pytest.mark.slow
def test_scale_hardly_biases_m2_of_heavy_tails():
    mean, stderr = isotropic_m2(20, 400, 400, "student")
    assert abs(mean - 1.44) < 4 * stderr + 0.1


def test_that_test_has_power(monkeypatch):
    """The mean of the two domains' variances as scale, which this module once used."""

    def fit(source_X, source_y, X, y):
        variance = (within_variance(source_X, source_y) + within_variance(X, y)) / 2
        centres = [within_classes(*domain)[0].mean(axis=0) for domain in ((source_X, source_y), (X, y))]
        return Standardiser(*centres, np.sqrt(variance))

    monkeypatch.setattr(Standardiser, "fit", fit)
    mean, stderr = isotropic_m2(20, 400, 100)
    assert mean - 1.44 > 6 * stderr
