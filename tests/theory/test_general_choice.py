"""Joint choice and the worth of sources for any covariance: against the isotropic closed form and brute force."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

import rmt_alpha as ra
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.theory.choice import effective_sample_gain, optimal_alpha_gamma
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge
from rmt_alpha.theory.general_choice import joint_choice, sample_gain

ISOTROPIC = [
    {"beta": 0.5, "n": 75.0, "p": 30, "gamma": 0.1, "n_source": 150.0, "gamma_source": 1.0, "label_noise": 0.1},
    {"beta": 0.8, "n": 10.0, "p": 30, "gamma": 0.02, "mu": 1.4, "mu_perp": 0.6, "n_source": 20.0, "gamma_source": 0.3},
    {"beta": -0.4, "n": 20.0, "p": 30, "gamma": 2.0, "mu": 0.7, "mu_perp": 1.3, "label_noise": 0.2},
    {"beta": 0.7, "n": 11.0, "p": 30, "gamma": 0.0, "mu": 1.4, "label_noise": 0.05},
    {"beta": 0.7, "n": 77.0, "p": 30, "gamma": 0.0, "mu": 1.4, "label_noise": 0.05},
]


def general(beta, n, p, gamma, mu=1.0, mu_perp=1.0, n_source=None, gamma_source=None, label_noise=0.0):
    """The same problem in vectors, with the oracle as a fixed source."""
    axes = np.eye(p)
    target = GaussianMixture(beta * mu * axes[0] + math.sqrt(1 - beta**2) * mu_perp * axes[1], label_noise=label_noise)
    old = GaussianMixture(mu * axes[0])
    source = FixedSource(old.mean) if n_source is None else RidgeSource(old, n_source, gamma_source)
    return Equivalent(target, [source]), n, gamma


def anisotropic(seed, K=1, p=24, covariance=None):
    """A target with a power-law spectrum, and K fixed sources that half know its best classifier."""
    rng = np.random.default_rng(seed)
    spectrum = np.arange(1, p + 1) ** -rng.uniform(0.3, 2.0) * 10.0 ** rng.uniform(-1, 1)
    spectrum = spectrum if covariance is None else covariance
    mean = rng.normal(size=p) * np.sqrt(spectrum) * rng.uniform(0.2, 0.6)
    best = mean / spectrum
    weights = [best + np.linalg.norm(best) / math.sqrt(p) * rng.normal(size=p) for _ in range(K)]
    target = GaussianMixture(mean, covariance=spectrum, label_noise=rng.choice([0.0, 0.1]))
    return (
        Equivalent(target, [FixedSource(w) for w in weights]),
        p * 10.0 ** rng.uniform(-1, 1),
        10.0 ** rng.uniform(-3, 1),
    )


@pytest.mark.parametrize("problem", ISOTROPIC)
def test_equal_to_the_closed_form_where_there_is_one(problem):
    equivalent, n, gamma = general(**problem)
    got, want = joint_choice(equivalent, n, gamma), optimal_alpha_gamma(**problem)
    for name in ("alpha", "gamma", "c", "accuracy", "accuracy_at_one", "accuracy_given"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-9)
    assert got.gamma_at_one == pytest.approx(want.gamma_at_one, rel=1e-5)
    assert got.alpha_given == pytest.approx(want.alpha_given, rel=1e-9, nan_ok=True)
    assert got.accuracy_alpha_given == pytest.approx(want.accuracy_alpha_given, rel=1e-11)
    for alpha in (None, 0.0, 1.0, -0.6):
        worth = effective_sample_gain(**problem, alpha=alpha)
        assert sample_gain(equivalent, n, gamma, alpha) == pytest.approx(worth, rel=1e-8)


@pytest.mark.parametrize(("seed", "K"), [(1, 1), (2, 1), (3, 1), (4, 1), (5, 2), (6, 2), (7, 3)])
def test_joint_choice_equals_brute_force(seed, K):
    equivalent, n, gamma = anisotropic(seed, K)
    choice = joint_choice(equivalent, n, gamma)
    grid = np.concatenate([[0.0], np.geomspace(1e-12, 1e12, 2400)])
    laws, ones = equivalent.law(n, grid), np.ones(K) if K > 1 else 1.0
    assert laws.best_accuracy().max() == pytest.approx(choice.accuracy, rel=1e-5)
    assert laws.best_accuracy().max() <= choice.accuracy + 1e-12
    assert laws.accuracy(ones).max() == pytest.approx(choice.accuracy_at_one, rel=1e-5)
    assert laws.accuracy(ones).max() <= choice.accuracy_at_one + 1e-13
    if np.isfinite(choice.gamma):
        at = equivalent.law(n, choice.gamma)
        assert at.accuracy(choice.alpha) == pytest.approx(choice.accuracy, rel=1e-12)
        kappa = effective_ridge(equivalent.target.eigenvalues, n, choice.gamma).kappa
        np.testing.assert_allclose(choice.c, kappa * np.asarray(choice.alpha), rtol=1e-14)
    assert choice.accuracy_given == equivalent.law(n, gamma).accuracy(ones)
    assert choice.gain_both >= max(choice.gain_alpha, choice.gain_gamma) - 1e-12
    assert np.shape(choice.alpha) == np.shape(choice.c) == (() if K == 1 else (K,))
    assert len(str(choice).splitlines()) == 5


def test_the_best_penalty_is_finite_where_noise_is_not_isotropic():
    kinds = [joint_choice(*anisotropic(seed)).gamma for seed in range(1, 13)]
    assert sum(0.0 < gamma < np.inf for gamma in kinds) >= 6


def test_a_rotation_changes_nothing():
    equivalent, n, gamma = anisotropic(8, K=2)
    turn = stats.ortho_group.rvs(24, random_state=0)
    target = equivalent.target
    turned = GaussianMixture(turn @ target.mean, turn * target.covariance @ turn.T, target.label_noise)
    rotated = Equivalent(turned, [FixedSource(turn @ s.weights) for s in equivalent.sources])
    one, other = joint_choice(equivalent, n, gamma), joint_choice(rotated, n, gamma)
    assert other.accuracy == pytest.approx(one.accuracy, rel=1e-11)
    assert other.accuracy_at_one == pytest.approx(one.accuracy_at_one, rel=1e-11)
    assert other.gamma == pytest.approx(one.gamma, rel=1e-4)
    assert sample_gain(rotated, n, gamma, [0.3, 0.1]) == pytest.approx(
        sample_gain(equivalent, n, gamma, [0.3, 0.1]), 1e-8
    )


def last_crossing(equivalent, gamma, level, n):
    scratch = Equivalent(equivalent.target)

    def excess(n):
        return scratch.law(n, gamma).accuracy() - level

    crossings = np.flatnonzero(np.diff(excess(n) >= 0.0))
    i = crossings[-1]
    return optimize.brentq(excess, n[i], n[i + 1], xtol=1e-10, rtol=1e-14), len(crossings)


def test_last_of_several_crossings_is_found():
    """Two groups of eigenvalues a factor 10⁴ apart: accuracy from scratch dips at n = 8 and at n = 24."""
    equivalent, _, _ = anisotropic(9, covariance=np.repeat([1.0, 1e-4], [8, 16]))
    found = []
    for n in (3.0, 6.0, 12.0, 20.0):
        level = equivalent.law(n, 1e-7).accuracy(0.02)
        want, crossings = last_crossing(equivalent, 1e-7, level, np.geomspace(0.1, 1e6, 4001))
        found.append(crossings)
        assert sample_gain(equivalent, n, 1e-7, 0.02) == pytest.approx(want, rel=1e-7)
    assert max(found) >= 3


@pytest.mark.parametrize("above", [3e-2, 3e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("smallest", [0.5, 0.05])
def test_a_level_just_above_a_dip_is_crossed_there(smallest, above):
    """The two crossings around the bottom of a dip are close together, and the last ones."""
    equivalent, _, _ = anisotropic(9, covariance=np.linspace(smallest, 2.0, 24))
    scratch, gamma = Equivalent(equivalent.target), 1e-3
    n = np.geomspace(12, 60, 4000)
    i = int(np.argmin(scratch.law(n, gamma).accuracy()))
    assert 0 < i < len(n) - 1
    bottom = scratch.law(n[i], gamma).accuracy()
    level = bottom + above * (bottom - 0.5)
    start = optimize.brentq(lambda x: scratch.law(x, gamma).accuracy() - level, 1e-3, 10.0, xtol=1e-12)
    want, crossings = last_crossing(equivalent, gamma, level, np.concatenate([[1e-3, 10.0], n, [1e3]]))
    assert crossings == 3
    assert sample_gain(equivalent, start, gamma, 0.0) == pytest.approx(want, rel=1e-5)


def test_no_penalty_can_be_best():
    """Fewer samples than dimensions, and a steep spectrum that is a ridge by itself: the data are best interpolated."""
    equivalent, n, gamma = anisotropic(179)
    choice = joint_choice(equivalent, n, gamma)
    assert choice.gamma == choice.gamma_at_one == 0.0
    without, laws = equivalent.law(n, 0.0), equivalent.law(n, np.geomspace(1e-9, 1e3, 300))
    assert choice.accuracy == without.best_accuracy() > laws.best_accuracy().max()
    assert choice.accuracy_at_one == without.accuracy(1.0) > laws.accuracy(1.0).max()
    assert choice.alpha == without.optimal_alpha()


def test_a_narrow_dip_is_not_overlooked():
    """γ = 1e-12: accuracy from scratch falls to a coin's within a relative 1e-5 or so around n = rank Σ, and rises."""
    equivalent, _, _ = anisotropic(10)
    level = equivalent.law(5.0, 1e-12).accuracy(0.0)
    got = sample_gain(equivalent, 5.0, 1e-12, 0.0)
    assert got > 24
    scratch = Equivalent(equivalent.target)
    assert scratch.law(got, 1e-12).accuracy() == pytest.approx(level, rel=1e-9)
    assert np.all(scratch.law(got * np.geomspace(1 + 1e-9, 1e6, 500), 1e-12).accuracy() >= level)
    assert scratch.law(24.0, 1e-12).accuracy() < level


def test_no_number_of_samples_replaces_a_source_that_knows_more():
    """With γ = 5 and Σ ≠ I training from scratch never gets to Σ⁻¹μ, which the source has."""
    target = GaussianMixture(np.array([0.1, 1.0]), covariance=[0.01, 1.0])
    equivalent = Equivalent(target, [FixedSource([10.0, 1.0])])
    assert Equivalent(target).law(1e15, 5.0).accuracy() < equivalent.law(50, 5.0).best_accuracy() - 0.01
    assert sample_gain(equivalent, 50, 5.0) == np.inf
    assert np.isfinite(sample_gain(equivalent, 50, 0.0, 0.5))


def test_transfer_no_better_than_a_coin_is_worth_no_sample():
    equivalent, n, gamma = anisotropic(1)
    worst = equivalent.law(n, gamma).worst_alpha()
    assert sample_gain(equivalent, n, gamma, 1.001 * worst) == 0.0
    assert sample_gain(equivalent, n, gamma, 0.9 * worst) > 0.0
    assert math.isnan(sample_gain(equivalent, 1e70, gamma))


def test_without_sources_scratch_is_itself():
    alone = Equivalent(anisotropic(1)[0].target)
    assert sample_gain(alone, 300.0, 0.5) == pytest.approx(300.0, rel=1e-9)
    with pytest.raises(ValueError, match="sources must have at least one"):
        joint_choice(alone, 30.0, 0.5)


def test_arguments_are_checked():
    equivalent, _, _ = anisotropic(5, K=2)
    with pytest.raises(ValueError, match="alpha must"):
        sample_gain(equivalent, 30.0, 0.5, 1.0)
    with pytest.raises(ValueError, match="alpha must have one entry per source"):
        sample_gain(equivalent, 30.0, 0.5, [[1.0, 2.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match="gamma must"):
        joint_choice(equivalent, 30.0, -1.0)
    with pytest.raises(ValueError, match="n must"):
        sample_gain(equivalent, 0.0, 0.5)


def test_undefined_problems_are_nan():
    """A source trained without penalty on as many samples as dimensions is infinitely long."""
    mixture = GaussianMixture(np.ones(6) / 2)
    equivalent = Equivalent(mixture, [RidgeSource(mixture, 6, 0.0)])
    choice = joint_choice(equivalent, 20.0, 0.3)
    assert math.isnan(choice.accuracy)
    assert math.isnan(choice.gamma_at_one)
    assert math.isnan(sample_gain(equivalent, 20.0, 0.3))
    assert not math.isnan(ra.margin_law(0.5, 20, 6, 0.3).best_accuracy())
