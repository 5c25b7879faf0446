"""Joint choice and the worth of sources for any covariance: against the isotropic closed form and brute force."""

import math

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import optimize, stats

import rmt_alpha as ra
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.theory.choice import effective_sample_gain, optimal_alpha_gamma
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge
from rmt_alpha.theory.general_choice import joint_choice, limit_accuracy, sample_gain
from tests.theory import general_oracle

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


@pytest.mark.slow
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
        want, crossings = last_crossing(equivalent, 1e-7, level, np.geomspace(0.1, 1e6, 1001))
        found.append(crossings)
        assert sample_gain(equivalent, n, 1e-7, 0.02) == pytest.approx(want, rel=1e-7)
    assert max(found) >= 3


@pytest.mark.parametrize("above", [3e-2, 3e-3, 1e-4, 1e-6])
@pytest.mark.parametrize("smallest", [0.5, 0.05])
def test_a_level_just_above_a_dip_is_crossed_there(smallest, above):
    """The two crossings around the bottom of a dip are close together, and the last ones."""
    equivalent, _, _ = anisotropic(9, covariance=np.linspace(smallest, 2.0, 24))
    scratch, gamma = Equivalent(equivalent.target), 1e-3

    def accuracy(n):
        return scratch.law(n, gamma).accuracy()

    lowest = optimize.minimize_scalar(accuracy, bounds=(12, 60), method="bounded", options={"xatol": 1e-7}).x
    bottom = accuracy(lowest)
    level = bottom + above * (bottom - 0.5)
    assert level < min(accuracy(12.0), accuracy(60.0))
    start = optimize.brentq(lambda n: accuracy(n) - level, 1e-3, 12.0, xtol=1e-12)
    want = optimize.brentq(lambda n: accuracy(n) - level, lowest, 60.0, xtol=1e-12)
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


# Degenerate choices.

MEAN, SPECTRUM, SOURCE = np.array([1.0, 0.5, 0.0, 0.2]), np.array([1.0, 2.0, 0.5, 0.1]), np.array([1.0, 0.0, 0.0, 0.5])


def small(*sources, mean=MEAN, covariance=SPECTRUM, label_noise=0.0):
    return Equivalent(GaussianMixture(mean, covariance, label_noise), [FixedSource(w) for w in sources])


@pytest.mark.parametrize(
    ("sources", "kept"),
    [
        ([SOURCE, SOURCE], 0),
        ([SOURCE, -2e9 * SOURCE], 0),
        ([0 * SOURCE, SOURCE], 1),
        ([SOURCE, SOURCE + 1e-9 * MEAN], 0),
    ],
)
def test_sources_that_add_nothing_are_left_out(sources, kept):
    two, one = small(*sources), small(sources[kept])
    choice, want = joint_choice(two, 5.0, 0.1), joint_choice(one, 5.0, 0.1)
    for name in ("accuracy", "accuracy_alpha_given"):
        assert getattr(choice, name) == pytest.approx(getattr(want, name), rel=1e-13)
    assert choice.gamma == pytest.approx(want.gamma, rel=1e-6)
    for name in ("alpha", "c", "alpha_given"):
        assert getattr(choice, name)[kept] == pytest.approx(getattr(want, name), rel=1e-6)
        assert getattr(choice, name)[1 - kept] == 0.0
    both = two.law(5.0, choice.gamma)
    assert both.accuracy(choice.alpha) == pytest.approx(choice.accuracy, rel=1e-12)
    assert choice.accuracy_given == two.law(5.0, 0.1).accuracy([1.0, 1.0])
    assert choice.accuracy_at_one >= choice.accuracy_given
    assert limit_accuracy(two, 5.0) == limit_accuracy(one, 5.0)
    assert sample_gain(two, 5.0, 0.1) == sample_gain(one, 5.0, 0.1)


def test_a_source_at_a_small_angle_is_another_one():
    two = joint_choice(small(SOURCE, SOURCE + 1e-4 * MEAN), 5.0, 0.1)
    assert np.all(two.alpha != 0.0)
    assert two.accuracy > joint_choice(small(SOURCE), 5.0, 0.1).accuracy + 1e-3


@pytest.mark.parametrize("sources", [[0 * SOURCE], [0 * SOURCE, 0 * SOURCE]])
def test_no_source_to_speak_of(sources):
    choice = joint_choice(small(*sources), 5.0, 0.1)
    assert np.isnan(choice.alpha).all()
    assert np.isnan(choice.c).all()
    assert choice.accuracy == pytest.approx(choice.accuracy_at_one, rel=1e-14)
    assert choice.accuracy_alpha_given == choice.accuracy_given == small().law(5.0, 0.1).accuracy()
    assert limit_accuracy(small(*sources), 5.0) == small().limit_law(5.0).accuracy()


def test_no_source_to_speak_of_where_no_penalty_is_too_large():
    problem = {"beta": 0.5, "n": 5.0, "p": 20, "mu": 0.0, "mu_perp": 1.3, "gamma": 0.4}
    got, want = joint_choice(*general(**problem)), optimal_alpha_gamma(**problem)
    assert repr(got) == repr(want)
    assert got.gamma == np.inf


@pytest.mark.parametrize("beta", [-1.0, 1.0])
def test_source_used_alone_as_in_the_closed_form(beta):
    problem = {"beta": beta, "n": 15.0, "p": 30, "mu": 1.5, "gamma": 0.1, "label_noise": 0.1}
    got, want = joint_choice(*general(**problem)), optimal_alpha_gamma(**problem)
    for name in ("alpha", "c", "gamma", "accuracy", "accuracy_at_one", "alpha_given", "accuracy_alpha_given"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-9)
    assert got.gamma_at_one == pytest.approx(want.gamma_at_one, rel=1e-5)
    assert str(got).splitlines()[-1] == str(want).splitlines()[-1]


def test_sources_used_alone_are_combined():
    """Together they are Σ⁻¹μ, the best classifier there is."""
    best = MEAN / SPECTRUM
    choice = joint_choice(small(best + SOURCE, 2.0 * best - SOURCE), 5.0, 0.1)
    np.testing.assert_allclose(choice.alpha, [1.0, 1.0], rtol=1e-7)
    assert choice.c.tolist() == [np.inf, np.inf]
    assert choice.gamma == np.inf
    assert choice.accuracy == pytest.approx(stats.norm.cdf(math.sqrt(MEAN @ best)), rel=1e-14)
    assert small(choice.alpha @ [best + SOURCE, 2.0 * best - SOURCE]).law(5.0, 1e14).accuracy(1.0) == pytest.approx(
        choice.accuracy, rel=1e-10
    )


@pytest.mark.parametrize("length", [1e-12, 1e12])
def test_a_source_of_any_length(length):
    """γ at α = 1 grows with the length's inverse, far beyond the scales of the data."""
    choice = joint_choice(small(length * np.array([1.0, -0.9, 0.0, 0.5])), 5.0, 0.1)
    unit = joint_choice(small([1.0, -0.9, 0.0, 0.5]), 5.0, 0.1)
    assert choice.accuracy == pytest.approx(unit.accuracy, rel=1e-12)
    assert choice.c * length == pytest.approx(unit.c, rel=1e-5)
    laws = small(length * np.array([1.0, -0.9, 0.0, 0.5])).law(5.0, np.geomspace(1e-20, 1e20, 4001))
    assert choice.accuracy_at_one == pytest.approx(laws.accuracy(1.0).max(), rel=1e-6)
    if length < 1.0:
        assert choice.gamma_at_one > 1e11


def test_without_noise_everything_is_right():
    for source, gamma in ((SOURCE, np.inf), (-SOURCE, 0.0)):
        choice = joint_choice(small(source, covariance=0.0), 5.0, 0.1)
        assert choice.accuracy == choice.accuracy_at_one == choice.accuracy_given == choice.accuracy_alpha_given == 1.0
        assert choice.gamma_at_one == gamma
    assert limit_accuracy(small(SOURCE, covariance=0.0), 5.0) == 1.0


def test_noiseless_directions_are_found():
    """μ has a part in the null space: γ = 0 sees it from n = rank on. Or the source has: then it is best alone."""
    flat = [1.0, 1.0, 0.0, 0.0]
    choice = joint_choice(small(SOURCE, covariance=flat), 5.0, 0.1)
    assert (choice.gamma, choice.accuracy, choice.accuracy_at_one) == (0.0, 1.0, 1.0)
    choice = joint_choice(small([0.0, 0.0, 0.0, -1.0], covariance=flat), 1.0, 0.1)
    assert (choice.gamma, choice.alpha, choice.c, choice.accuracy) == (np.inf, -1.0, -np.inf, 1.0)


def test_no_signal_is_a_coin():
    choice = joint_choice(small(SOURCE, mean=0 * MEAN), 5.0, 0.1)
    assert (choice.accuracy, choice.accuracy_at_one, choice.gamma) == (0.5, 0.5, np.inf)
    assert math.isnan(choice.alpha)
    assert sample_gain(small(SOURCE, mean=0 * MEAN), 5.0, 0.1) == 0.0


# The number of samples at the edges.


def exact_snr2(problem, n, gamma, sources=(), alpha=0.0):
    """SNR² in mpmath; at α* for None."""
    M, V = general_oracle.margin_law(problem, n, gamma, sources, digits=mp.dps)
    if alpha is None:
        best = M[0] ** 2 * V[1][1] - 2 * M[0] * M[1] * V[0][1] + M[1] ** 2 * V[0][0]
        return best / (V[0][0] * V[1][1] - V[0][1] ** 2)
    mean, variance = M[0], V[0][0]
    if sources:
        mean, variance = mean + mpf(alpha) * M[1], variance + 2 * mpf(alpha) * V[0][1] + mpf(alpha) ** 2 * V[1][1]
    return mean**2 / variance


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "gamma", "alpha", "covariance", "label_noise"),
    [
        (10.0, 0.1, 1.0, [2.0, 0.3, 0.01], 0.1),
        (1e-3, 1e-6, 0.3, [2.0, 0.3, 0.01], 0.0),
        (1e4, 1e-30, None, [2.0, 0.3, 0.01], 0.0),
        (2.0, 1e-50, 1.0, [2.0, 0.3, 0.01], 0.1),
        (1e10, 1e-12, None, [2.0, 0.3, 0.01], 0.1),
        (1e12, 10.0, None, [1.5, 1.5, 1.5], 0.1),
        (1e12, 1e-3, 0.3, [1.5, 1.5, 1.5], 0.0),
        (1e16, 1.0, -0.01, [2.0, 0.3, 0.01], 0.0),
        (1e3, 1e6, 0.3, [2.0, 0.3, 0.01], 0.0),
        (1.5, 0.0, 1.0, [2.0, 0.0, 0.01], 0.0),
    ],
)
def test_exactly_as_good_in_what_is_reached_and_in_what_is_missing(n, gamma, alpha, covariance, label_noise):
    mean, source = np.array([0.7, -0.4, 0.3]), np.array([0.9, -0.1, -0.2])
    got = sample_gain(small(source, mean=mean, covariance=covariance, label_noise=label_noise), n, gamma, alpha)
    problem = general_oracle.Mixture(mean.tolist(), np.diag(covariance).tolist(), label_noise)
    with mp.workdps(120):
        transfer = exact_snr2(problem, n, gamma, [source.tolist()], alpha)
        limit = exact_snr2(problem, 1e90, gamma) if gamma else mp.inf
        if got == np.inf:
            assert transfer > limit
            return
        level = exact_snr2(problem, got, gamma)
        assert abs(level / transfer - 1) < 1e-9
        assert gamma == 0.0 or abs((limit - level) / (limit - transfer) - 1) < 1e-9


@pytest.mark.parametrize("gamma", [1e-50, 1e-30, 1e-12, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("covariance", [[1.0, 2.0, 0.5, 0.1], [1.0, 1.0, 0.0, 0.0], [1e-12, 1.0, 1e12, 1.0]])
def test_scratch_is_worth_itself(gamma, covariance):
    equivalent = small(SOURCE, covariance=covariance, label_noise=0.05)
    n = np.array([1e2, 1e4, 1e10, 1e16, 1e20, 1e40, 1e60])
    got = [sample_gain(equivalent, x, gamma, 0.0) for x in n]
    np.testing.assert_allclose(got, n, rtol=1e-12)


def test_scratch_is_worth_itself_without_penalty():
    for covariance in (SPECTRUM, [1.0, 1.0, 0.0, 0.0]):
        equivalent = small(SOURCE, covariance=covariance, label_noise=0.05)
        for n in (4.5, 1e2, 1e10, 1e60):
            assert sample_gain(equivalent, n, 0.0, 0.0) == pytest.approx(n, rel=1e-13)
            assert sample_gain(equivalent, n, 0.0) == pytest.approx(n, rel=1e-13)
            assert sample_gain(equivalent, n, 0.0, 1.0) == pytest.approx(n, rel=1e-13)


@pytest.mark.parametrize("alpha", [None, 0.0, 1.0])
@pytest.mark.parametrize(("n", "label_noise"), [(0.5, 0.0), (1.0, 0.0), (1.5, 0.0), (1.0, 0.1), (1.5, 0.1)])
def test_no_penalty_on_a_mean_that_leaves_the_noise(n, label_noise, alpha):
    """Σ of rank 2, and μ with a part in its null space: no error from n = 2 on, or only those of wrong labels."""
    equivalent = small(SOURCE, covariance=[1.0, 1.0, 0.0, 0.0], label_noise=label_noise)
    law = equivalent.law(n, 0.0)
    level = law.best_accuracy() if alpha is None else law.accuracy(alpha)
    grid = np.concatenate([np.linspace(0.2, 1.9999, 800), 2.0 + np.geomspace(1e-3, 1e3, 400)])
    want, _ = last_crossing(equivalent, 0.0, level, grid)
    got = sample_gain(equivalent, n, 0.0, alpha)
    assert got == pytest.approx(want, rel=1e-9)
    assert (got > 2.0) == (label_noise > 0.0)
    assert got == pytest.approx(sample_gain(equivalent, n, 1e-13, alpha), rel=1e-8)


def test_no_penalty_and_no_error():
    flat = small(SOURCE, covariance=[1.0, 1.0, 0.0, 0.0])
    assert [sample_gain(flat, n, 0.0, 1.0) for n in (2.0, 5.0, 1e60)] == [2.0, 2.0, 2.0]
    assert sample_gain(small([0, 0, 0, 1.0], covariance=[1.0, 1.0, 0.0, 0.0]), 5.0, 0.1, 5.0) == np.inf
    assert sample_gain(small(SOURCE, covariance=0.0), 5.0, 0.1, 1.0) == 0.0
    noisy = small(SOURCE, covariance=[1.0, 1.0, 0.0, 0.0], label_noise=0.1)
    assert sample_gain(noisy, 2.0, 0.0, 1.0) == 0.0  # as many samples as dimensions with noise: a coin


def test_signal_only_where_there_is_no_noise():
    """A penalty keeps the noise of the others in; with n = 5 as good as with itself."""
    equivalent = small([0.5, 0.0, 1.0, 0.0], mean=[0.0, 0.0, 1.0, 0.0], covariance=[1.0, 1.0, 0.0, 0.0])
    assert sample_gain(equivalent, 5.0, 0.1, 0.0) == pytest.approx(5.0, rel=1e-12)
    got = sample_gain(equivalent, 5.0, 0.1, 1.0)
    assert Equivalent(equivalent.target).law(got, 0.1).accuracy() == pytest.approx(
        equivalent.law(5.0, 0.1).accuracy(1.0), rel=1e-12
    )


@pytest.mark.parametrize("gamma", [0.0, 0.1])
def test_hardly_better_than_a_coin(gamma):
    equivalent = small(SOURCE)
    law = equivalent.law(2.0, gamma)
    alpha = law.worst_alpha() * (1.0 - 1e-8)
    got = sample_gain(equivalent, 2.0, gamma, alpha)
    assert got == pytest.approx(4.0, rel=1e-12) if gamma == 0.0 else 0.0 < got < 1e-12
    if gamma:
        reached = Equivalent(equivalent.target).law(got, gamma)
        mean, variance = law.moments(alpha)
        assert reached.mean[0] / math.sqrt(reached.cov[0, 0]) == pytest.approx(mean / math.sqrt(variance), rel=1e-12)


def test_a_difference_lost_in_rounding_is_nan():
    """Σ = I, where the source adds O(n⁻²) to an SNR² that is 1/n below its limit."""
    equivalent = small(SOURCE, covariance=1.0)
    assert sample_gain(equivalent, 1e12, 1.0) == pytest.approx(1e12, rel=1e-9)
    assert math.isnan(sample_gain(equivalent, 1e25, 1.0))
    assert sample_gain(equivalent, 1e25, 1.0, 0.0) == pytest.approx(1e25, rel=1e-12)


def test_source_alone_is_the_limit_of_large_scales():
    ends = [sample_gain(small(SOURCE), 50.0, 0.1, alpha) for alpha in (1e12, 1e300)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-9)
    assert 1.0 < ends[1] < 50.0


@pytest.mark.parametrize(
    ("mean", "covariance", "n", "gamma"),
    [
        ([1e29, 1e29], [1e-60, 1e-59], 5.0, 1e-60),
        ([1e27], [1e-43], 1e5, 1e-30),
        ([1e29, 1e-21], [1e-48, 1e7], 1e-5, 1e-41),
    ],
)
def test_squares_beyond_float64_are_nan(mean, covariance, n, gamma):
    equivalent = small(mean, mean=mean, covariance=covariance, label_noise=0.1)
    assert math.isnan(sample_gain(equivalent, n, gamma, 0.0))


def test_long_mean_does_not_drown_the_rest():
    """κ, μ and Σ are many orders of magnitude apart; for Σ = λI E vanishes, whatever the size of its terms."""
    assert sample_gain(small(SOURCE, mean=1e28 * MEAN, covariance=1e-58), 5.0, 1e-40, 0.0) == pytest.approx(5.0)
    assert sample_gain(small(SOURCE, mean=1e12 * MEAN, covariance=0.3), 5.0, 7.0, 0.0) == pytest.approx(5.0, rel=1e-12)


def test_directions_without_mean_or_noise_do_not_matter():
    """Neither have the three others with a spectrum of their own: n = 2 is below their number, with γ = 0."""
    padded = small(SOURCE, covariance=[1.0, 2.0, 0.0, 0.1])
    bare = small(SOURCE[[0, 1, 3]], mean=MEAN[[0, 1, 3]], covariance=[1.0, 2.0, 0.1])
    for gamma in (0.0, 0.1):
        got = sample_gain(padded, 2.0, gamma, 1.0)
        assert got == pytest.approx(sample_gain(bare, 2.0, gamma, 1.0), rel=1e-12)
        assert got > 2.0


@pytest.mark.parametrize("covariance", [1e-3, 1.0, 50.0])
def test_any_scale_of_an_isotropic_problem(covariance):
    """Also where μ is long, the penalty large and the source good, up to 1e20 samples: in units of √Σ it is Σ = I."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        mu, n, gamma = 10.0 ** rng.uniform(-2, 5), 10.0 ** rng.uniform(0, 20), 10.0 ** rng.uniform(-6, 6)
        root, axes = math.sqrt(covariance), np.eye(3)
        target = GaussianMixture(root * mu * (0.6 * axes[0] + 0.8 * axes[1]), covariance, label_noise=0.1)
        source = FixedSource(mu / root * axes[0])
        problem = {"beta": 0.6, "n": n, "p": 3, "gamma": gamma, "mu": mu, "mu_perp": mu, "label_noise": 0.1}
        for alpha in (None, 0.0, 1e-3):
            got = sample_gain(Equivalent(target, [source]), n, covariance * gamma, alpha)
            want = effective_sample_gain(**problem, alpha=alpha)
            assert got == pytest.approx(want, rel=1e-7) or (math.isnan(got) and n > 1e6 and alpha != 0.0)


@pytest.mark.slow
def test_both_are_at_least_as_good_as_either_or_unknown():
    """Also where Σ is singular and V with it, as several sources show the mean where there is no noise."""
    target = GaussianMixture([-9.3, -3.8, -3.1, -9.0], [0.0, 0.0, 0.0, 1.4], label_noise=0.2)
    fixed = [[-0.769, -0.283, -0.285, -0.929], [-11.159, -4.565, -3.729, -10.81]]
    problems = [(target, [FixedSource(w) for w in fixed])]
    rng = np.random.default_rng(5)
    for _ in range(30):
        values = rng.exponential(size=5) * (rng.random(5) < 0.6)
        mean = rng.standard_normal(5)
        sources = [FixedSource(mean * rng.uniform(0.5, 2.0, 5)) for _ in range(rng.integers(1, 4))]
        problems.append((GaussianMixture(mean, values, rng.choice([0.0, 0.2])), sources))
    defined = 0
    for mixture, sources in problems:
        for n, gamma in ((15.0, 0.0), (3.0, 0.1)):
            choice = joint_choice(Equivalent(mixture, sources), n, gamma)
            assert np.isnan(choice.gamma) == np.isnan(choice.accuracy)
            if np.isnan(choice.accuracy):
                continue
            defined += 1
            assert choice.accuracy >= choice.accuracy_at_one - 1e-9
            assert np.isnan(choice.accuracy_alpha_given) or choice.accuracy >= choice.accuracy_alpha_given - 1e-9
    assert defined > 40
