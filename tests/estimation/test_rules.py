"""The rules: each α from the law it is said to come from, and finite whatever that law is."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import rmt_alpha as ra
from rmt_alpha.estimation import rules
from rmt_alpha.estimation.mixtures import estimate_mixture
from rmt_alpha.estimation.robust import believe, robust_margin_law, robust_risk_law
from rmt_alpha.estimation.rules import RULES, Training, default_grid, margins_between
from rmt_alpha.laws import MarginLaw, RiskLaw
from rmt_alpha.ridge import RidgePath, affine_ridge
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge

GAMMA = np.array([0.05, 1.0, 10.0])
N, P = 24, 30


def task(seed=0, d=1, k=1, labels=True, **options):
    rng = np.random.default_rng(seed)
    means = 0.4 * rng.standard_normal((d, P))
    Y = np.where((np.arange(N) % max(d, 2))[:, None] == np.arange(max(d, 2)), 1.0, -1.0)[:, -d:]
    X = rng.standard_normal((N, P)) * np.linspace(0.5, 2.0, P) + 0.5 * Y @ means + 0.3
    if not labels:
        Y = X @ means.T + rng.standard_normal((N, d))
    W = means + 0.5 * rng.standard_normal((k, d, P))
    return Training(X, Y, W, labels, options.pop("fit_intercept", True), **options)


def test_weights_are_those_of_the_affine_ridge():
    training = task(1, d=2, k=3, labels=False, fit_intercept=False)
    for gamma, parts in zip(GAMMA, training.weights(GAMMA), strict=True):
        for j in range(2):
            w0, w1 = affine_ridge(training.X, training.Y[:, j], training.W[:, j].T, float(gamma))
            assert_allclose(parts[j], np.vstack([w0, w1.T]), rtol=1e-9, atol=1e-12)


# Which law.


@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_law_of_labels(k, fit_intercept):
    training = task(2, k=k, fit_intercept=fit_intercept)
    X, y, W = training.X, training.Y[:, 0], training.W[:, 0]
    path = RidgePath(X, fit_intercept=fit_intercept)
    robust = robust_margin_law(path, training.Y, training.W, believe(path, training.Y, training.W), GAMMA)
    degrees = N - 2
    within = np.vstack([X[y == sign] - X[y == sign].mean(axis=0) for sign in (-1, 1)])
    v = np.square(within).sum() / degrees / P
    if k == 1:
        isotropic = ra.estimate_problem(X / v**0.5, y, W[0] * v**0.5).margin_law(N, P, GAMMA / v)
    else:
        mixture = estimate_mixture(X, y, source_coef=W, shrinkage=1.0)
        assert_allclose(mixture.covariance, np.full(P, v))
        isotropic = Equivalent(mixture, [ra.FixedSource(w) for w in W]).law(N, GAMMA)
    general = Equivalent(estimate_mixture(X, y, source_coef=W), [ra.FixedSource(w) for w in W]).law(N, GAMMA)
    loo = ra.leave_one_out(X, y, W, GAMMA, fit_intercept=fit_intercept).margin_law()
    for rule, law in (("loo", loo), ("robust", robust[:, 0]), ("theory", isotropic), ("theory-cov", general)):
        ours = training.law(rule, GAMMA)
        assert ours.shape == (3, 1)
        assert_allclose(ours.mean[:, 0], law.mean, rtol=1e-9, atol=1e-13)
        assert_allclose(ours.cov[:, 0], law.cov, rtol=1e-9, atol=1e-13)
        alpha, score = training.choose(rule, GAMMA)
        assert alpha.shape == (3, 1, k)
        best = np.asarray(law.optimal_alpha()).reshape(3, -1) if k else np.empty((3, 0))
        assert_allclose(alpha[:, 0], best, rtol=1e-9)
        a = None if k == 0 else best[:, 0] if k == 1 else best
        expected = np.asarray(loo.accuracy(a))
        if rule == "robust":
            expected = 0.5 * (expected + law.accuracy(a))
        assert_allclose(score, expected, rtol=1e-9)


def test_both_ways_to_the_isotropic_theory_agree():
    """One source by the closed form, more by the equivalents: a second one of zeros changes nothing."""
    training = task(3)
    twice = task(3)
    object.__setattr__(twice, "W", np.concatenate([training.W, 0.0 * training.W]))
    one, two = training.law("theory", GAMMA), twice.law("theory", GAMMA)
    assert_allclose(two.mean[..., :2], one.mean, rtol=1e-8)
    assert_allclose(two.cov[..., :2, :2], one.cov, rtol=1e-8)


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_the_law_of_responses(k, shared):
    """The theories from the definition in THEORY §9, with W_t = Σ⁻¹E[xy] estimated in the metric of the ridge."""
    training = task(4, d=2, k=k, labels=False, shared=shared)
    X, Y, W = training.X, training.Y, training.W
    rows = X - X.mean(axis=0)
    S = rows.T @ rows / (N - 1)
    path = RidgePath(X, fit_intercept=True)
    robust = robust_risk_law(path, Y, W, believe(path, Y, W), GAMMA)
    loo = ra.leave_one_out(X, Y, W, GAMMA, fit_intercept=True).risk_law()
    from sklearn.covariance import ledoit_wolf_shrinkage

    u = ledoit_wolf_shrinkage(rows, assume_centered=True)
    m = np.trace(S) / P
    covariances = {"theory": m * np.eye(P), "theory-cov": (1 - u) * S + u * m * np.eye(P)}
    alphas = {}
    for rule, sigma in covariances.items():
        alphas[rule] = np.empty((3, 2, k))
        for q, gamma in enumerate(GAMMA):
            kappa = effective_ridge(np.linalg.eigvalsh(sigma), N, gamma).kappa
            G = np.linalg.inv(sigma + kappa * np.eye(P))
            metric = G @ sigma @ G
            target = np.linalg.solve(sigma, rows.T @ Y / (N - 1)).T
            inner = np.einsum("kdp,pr,ldr->dkl", W, metric, W), np.einsum("kdp,pr,dr->dk", W, metric, target)
            if shared:
                inner = tuple(np.broadcast_to(part.sum(axis=0), part.shape) for part in inner)
            alphas[rule][q] = np.linalg.solve(inner[0], inner[1][..., None])[..., 0]
    total = {}
    for rule, law in (("loo", loo), ("robust", robust)):
        parts = (law.constant, law.linear, law.quadratic)
        total[rule] = RiskLaw(*(part.sum(axis=1) for part in parts)) if shared else law
        best = np.asarray(total[rule].optimal_alpha()).reshape(3, -1, k)
        alphas[rule] = np.broadcast_to(best, (3, 2, k))
    for rule in RULES:
        alpha, score = training.choose(rule, GAMMA)
        assert_allclose(alpha, alphas[rule], rtol=1e-8)
        each = alphas[rule][..., 0] if k == 1 else alphas[rule]
        expected = -np.asarray(loo.risk(each)).sum(axis=1)
        if rule == "robust":
            expected = 0.5 * (expected - np.asarray(robust.risk(each)).sum(axis=1))
        assert_allclose(score, expected, rtol=1e-8)


def test_a_given_alpha_is_judged_by_the_left_out_samples():
    training = task(5, d=1, k=2)
    alpha, score = training.choose(np.array([[0.3, -0.4]]), GAMMA)
    assert_allclose(alpha, np.broadcast_to([[0.3, -0.4]], (3, 1, 2)))
    loo = training.leave_one_out(GAMMA)
    assert_allclose(score, loo.margin_law()[:, 0].accuracy([0.3, -0.4]))


def test_several_classes_are_judged_by_telling_them_apart():
    """Φ(mean/sd) of the score of a sample's own class minus that of each other, over all left-out samples."""
    training = task(6, d=3)
    alpha, score = training.choose("loo", GAMMA)
    loo = training.leave_one_out(GAMMA)
    for q in range(3):
        scores = loo.predictions[q, ..., 0] + alpha[q] * loo.predictions[q, ..., 1]
        own = training.Y.argmax(axis=1)
        margins = [scores[own[i], i] - scores[c, i] for i in range(N) for c in range(3) if c != own[i]]
        assert sorted(margins_between(scores, training.Y.T)) == pytest.approx(sorted(margins))
        assert score[q] == pytest.approx(ra.MarginLaw([np.mean(margins)], [[np.var(margins)]]).accuracy())


def test_alpha_of_labels_that_is_shared_is_that_of_all_margins_together():
    each, shared = task(7, d=3), task(7, d=3, shared=True)
    loo = each.leave_one_out(GAMMA)
    margins = (loo.y[..., None] * loo.predictions).reshape(3, -1, 2)
    together = shared.law("loo", GAMMA)
    for q, alpha in enumerate(shared.choose("loo", GAMMA)[0]):
        mean = margins[q].mean(axis=0)
        cov = np.mean([part.cov for part in loo.margin_law()[q]], axis=0)
        cov = cov + np.cov([part.mean for part in loo.margin_law()[q]], rowvar=False, ddof=0)
        assert_allclose(alpha, ra.MarginLaw(mean, cov).optimal_alpha())
        assert_allclose(together.mean[q], mean)
        assert_allclose(together.cov[q], cov)


# Finite, whatever the law.


def test_an_infinite_alpha_is_near_its_limit():
    alone = MarginLaw([[-0.1, 0.5], [-0.1, -0.5]], [[[1.0, s * 0.2], [s * 0.2, 0.8]] for s in (1, -1)])
    assert alone.optimal_alpha().tolist() == [np.inf, -np.inf]
    alpha = rules.finite_alpha(alone)
    assert alpha.shape == (2, 1)
    assert_allclose(alone.accuracy(alpha[:, 0]), alone.best_accuracy(), atol=2e-3)
    far = MarginLaw([0.001, 0.5], [[1.0, 0.0], [0.0, 1.0]])  # finite, but farther than that
    assert far.optimal_alpha() == pytest.approx(500.0)
    assert rules.finite_alpha(far)[0] == pytest.approx(100.0 * (1.0 + 1e-6) ** 0.5 / 1.25**0.5)
    near = MarginLaw([0.1, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    assert rules.finite_alpha(near)[0] == near.optimal_alpha()
    several = MarginLaw([-0.2, 0.3, 0.2], np.eye(3))
    alpha = rules.finite_alpha(several)
    assert_allclose(alpha[0] / alpha[1], 1.5)
    assert several.accuracy(alpha) == pytest.approx(several.best_accuracy(), abs=3e-3)
    assert rules.finite_alpha(MarginLaw([0.2], [[1.0]])).shape == (0,)


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_sources_of_zeros_and_twins_count_once(rule, labels):
    """The first of equal sources gets their α, and one of zeros 0."""
    one, several = task(8, k=1, labels=labels), task(8, k=1, labels=labels)
    w = one.W[0]
    object.__setattr__(several, "W", np.array([0.0 * w, w, w, -2.0 * w]))
    alpha, score = several.choose(rule, GAMMA)
    assert np.isfinite(alpha).all()
    assert not alpha[..., 0].any()
    if rule == "robust":  # has a prior for "all together", which a twin changes
        assert (alpha[..., 2:] == 0.0).all()
    else:
        expected, score_of_one = one.choose(rule, GAMMA)
        assert_allclose(alpha, np.pad(expected, ((0, 0), (0, 0), (1, 2))), rtol=1e-6)
        assert_allclose(score, score_of_one, rtol=1e-6)
    object.__setattr__(one, "W", 0.0 * one.W)
    assert not one.choose(rule, GAMMA)[0].any()


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("rule", RULES)
def test_a_forgotten_source_has_alpha_zero(rule, labels, fit_intercept):
    """At γ = 0 with more samples than features, and in directions that no sample has."""
    training = task(9, labels=labels)
    tall = Training(training.X[:, :5], training.Y, training.W[..., :5], labels, fit_intercept)
    alpha, score = tall.choose(rule, np.array([0.0, 1.0]))
    assert alpha[0, 0, 0] == 0.0
    assert alpha[1, 0, 0] != 0.0
    assert np.isfinite(score).all()
    still = Training(np.ones((8, 3)), training.Y[:8], np.ones((1, 1, 3)), labels, True)
    alpha, score = still.choose(rule, np.array([0.0, 1.0]))
    assert not alpha.any()
    assert np.isfinite(score).all()
    nothing = Training(np.zeros((8, 3)), training.Y[:8], np.ones((1, 1, 3)), labels, fit_intercept)
    alpha, score = nothing.choose(rule, np.array([0.0, 1.0]))
    assert not alpha.any()
    assert np.isfinite(score).all()
    if labels and not fit_intercept:  # nothing is predicted
        assert score.tolist() == [0.5, 0.5]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("labels", [False, True])
def test_samples_of_a_single_direction(rule, labels):
    """Equal rows up to a sign: nothing is shrunk, and rounding makes eigenvalues negative that are 0."""
    training = task(14, labels=labels)
    signs = np.resize([-1.0, 1.0], N)
    line = Training(np.outer(signs, np.ones(6)), training.Y, training.W[..., :6], labels, False)
    alpha, score = line.choose(rule, GAMMA)
    assert np.isfinite(alpha).all()
    assert np.isfinite(score).all()


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("labels", [False, True])
def test_units(rule, labels):
    training = task(10, k=2, labels=labels)
    alpha, score = training.choose(rule, GAMMA)
    for unit in (1e-70, 1e-3, 1e70):
        scaled = Training(unit * training.X, training.Y, training.W / unit, labels, True)
        other, same = scaled.choose(rule, GAMMA * unit**2)
        assert_allclose(other, alpha, rtol=1e-7)
        assert_allclose(same, score, rtol=1e-7)
    longer = Training(training.X, training.Y, training.W * np.array([1e-50, 1e40])[:, None, None], labels, True)
    assert_allclose(longer.choose(rule, GAMMA)[0], alpha / [1e-50, 1e40], rtol=1e-7)


@pytest.mark.parametrize("rule", RULES[:2])
def test_two_samples_are_enough(rule):
    training = task(11)
    few = Training(training.X[:2], training.Y[:2], training.W, True, True)
    alpha, score = few.choose(rule, GAMMA)
    assert np.isfinite(alpha).all()
    assert np.isfinite(score).all()


def test_theories_say_what_they_need():
    training = task(12)
    Y = np.where(np.arange(N) < 3, 1.0, -1.0)[:, None]
    for rule in ("theory", "theory-cov"):
        with pytest.raises(ValueError, match=rf"alpha='{rule}' needs at least 4 samples .* got 3 with one"):
            Training(training.X, Y, training.W, True, True).choose(rule, GAMMA)
        with pytest.raises(ValueError, match=r"needs other units: gamma must be 0 or within"):
            training.choose(rule, np.array([1e-70]))
        with pytest.raises(ValueError, match=r"source_coef within as much"):
            Training(training.X, training.Y, 1e-80 * training.W, True, True).choose(rule, GAMMA)


def test_the_default_grid_is_around_the_mean_eigenvalue():
    X = np.random.default_rng(13).standard_normal((50, 8)) + 3.0
    centred = X - X.mean(axis=0)
    assert default_grid(X)[6] == pytest.approx(np.linalg.eigvalsh(centred.T @ centred / 50).mean())
    assert default_grid(X, fit_intercept=False)[6] == pytest.approx(np.linalg.eigvalsh(X.T @ X / 50).mean())
    assert_allclose(default_grid(np.zeros((3, 2))), np.logspace(-3, 3, 13))
