"""What leave-one-out says of a classifier: counts, intervals and tests against their definitions."""

import numpy as np
import pytest
from scipy.stats import binom, norm

from rmt_alpha.estimation.estimators import AlphaRidge, AlphaRidgeClassifier
from rmt_alpha.estimation.judgement import judge


def sample(rng, n=24, p=40, size=1.0):
    y = np.repeat([-1.0, 1.0], n // 2)
    return rng.standard_normal((n, p)) + np.outer(y, size * np.eye(p)[0]), y


def refitted(X, y, w, alpha, gamma):
    """Margins of samples left out, each from a fit of the others with the same penalty nγ."""
    n = len(y)
    margins = []
    for i in range(n):
        rest = np.arange(n) != i
        fit = AlphaRidgeClassifier(w, alpha, gamma * n / (n - 1)).fit(X[rest], y[rest])
        margins.append(y[i] * fit.decision_function(X[i : i + 1])[0])
    return np.array(margins)


def test_counts_are_those_of_refitting():
    rng = np.random.default_rng(5)
    X, y = sample(rng)
    w = np.eye(40)[:2] * [[0.9], [0.3]] + 0.1 * rng.standard_normal((2, 40))
    model = AlphaRidgeClassifier(list(w), alpha=[0.7, -0.4], gamma=0.3).fit(X, y)
    judgement = judge(model, 0.9)
    hits = {
        name: refitted(X, y, list(w), alpha, 0.3) > 0
        for name, alpha in {"scratch": [0.0, 0.0], "fine_tuning": [1.0, 1.0], "chosen": [0.7, -0.4]}.items()
    }
    assert list(judgement.at) == list(hits)
    assert judgement.n == 24
    for name, right in hits.items():
        at = judgement.at[name]
        assert at.hits == right.sum()
        assert at.better == (hits["chosen"] & ~right).sum()
        assert at.worse == (right & ~hits["chosen"]).sum()
        discordant = at.better + at.worse
        tail = binom.cdf(min(at.better, at.worse), discordant, 0.5) if discordant else 1.0
        assert at.p_value == pytest.approx(min(1.0, 2.0 * tail))
    assert judgement.at["scratch"].better + judgement.at["scratch"].worse > 3
    k = judgement.at["chosen"].hits
    low, high = judgement.interval
    assert judgement.accuracy == k / 24
    assert binom.sf(k - 1, 24, low) == pytest.approx(0.05)
    assert binom.cdf(k, 24, high) == pytest.approx(0.05)
    risk = np.square(1.0 - refitted(X, y, list(w), [0.7, -0.4], 0.3)).mean()
    assert judgement.at["chosen"].risk == pytest.approx(risk)
    scratch = y * refitted(X, y, list(w), [0.0, 0.0], 0.3)
    source = y * refitted(X, y, list(w), [0.7, -0.4], 0.3) - scratch
    assert judgement.share == pytest.approx(source.var() / (source.var() + scratch.var()))
    assert judgement.law_accuracy == model.margin_law_.accuracy([0.7, -0.4])


def test_share_of_the_source():
    rng = np.random.default_rng(0)
    X, y = sample(rng)
    w = np.eye(40)[0]

    def share(alpha, gamma=1.0, size=1.0):
        return judge(AlphaRidgeClassifier(size * w, alpha / size, gamma).fit(X, y)).share

    assert share(0.0) == 0.0
    assert 0.2 < share(1.0) < share(3.0) < 1.0
    assert share(1.0, 1e9) > 0.99
    assert share(1.0, size=1e-6) == pytest.approx(share(1.0))
    with pytest.raises(ValueError, match="two classes"):
        judge(AlphaRidge(w, 1.0).fit(X, y))


def test_without_a_source_and_without_doubt():
    X, y = sample(np.random.default_rng(0), size=9.0)
    judgement = judge(AlphaRidgeClassifier().fit(X, y))
    assert list(judgement.at) == ["scratch"]
    assert judgement.at["scratch"].alpha is None
    assert judgement.share == 0.0
    assert judgement.accuracy == judgement.interval[1] == 1.0
    assert judgement.interval[0] == pytest.approx(0.025 ** (1 / 24))


@pytest.mark.slow
def test_intervals_hold_what_they_should():
    """Coverage on the model, in which the accuracy of a classifier is known; the bounds are four standard errors."""
    rng = np.random.default_rng(0)
    mu = 1.2 * np.eye(60)[0]
    below = above = 0
    draws = 200
    for _ in range(draws):
        X, y = sample(rng, n=20, p=60, size=1.2)
        model = AlphaRidgeClassifier(0.8 * np.eye(60)[0] + 0.6 * np.eye(60)[1]).fit(X, y)
        w, b = model.coef_[0], model.intercept_[0]
        accuracy = 0.5 * (norm.cdf([(w @ mu + b), (w @ mu - b)] / np.linalg.norm(w))).sum()
        low, high = judge(model).interval
        below, above = below + (accuracy < low), above + (accuracy > high)
    assert below <= draws * (0.025 + 4 * 0.011)
    assert above <= draws * (0.04 + 4 * 0.014)


@pytest.mark.parametrize("level", [0.0, 1.0, -0.5, np.nan, "x"])
def test_bad_level(level):
    X, y = sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="level must"):
        judge(AlphaRidgeClassifier().fit(X, y), level)


@pytest.mark.parametrize("model", [None, AlphaRidgeClassifier()])
def test_no_fitted_classifier_of_two(model):
    with pytest.raises(ValueError, match="two classes"):
        judge(model)


def test_three_classes_are_refused():
    X, _ = sample(np.random.default_rng(0))
    with pytest.raises(ValueError, match="two classes"):
        judge(AlphaRidgeClassifier().fit(X, np.arange(24) % 3))
