"""Joint choice of α and γ, and what a source is worth: against the 50-digit oracle and brute force."""

import math

import numpy as np
import pytest
import xarray as xr
from mpmath import mp, mpf
from scipy import optimize

import rmt_alpha as ra
from rmt_alpha.theory import choice as choice_module
from rmt_alpha.theory import isotropic
from rmt_alpha.theory.choice import JointChoice, effective_sample_gain, limit_accuracy, maximum, optimal_alpha_gamma
from tests.theory import oracle

TRAINED = {"n_source": 2000, "gamma_source": 1.0}
SETTING = {"beta": 0.6, "n": 150, "p": 260, "mu": 1.3, "mu_perp": 0.7, "n_source": 330, "gamma_source": 0.4}
NOISY = SETTING | {"label_noise": 0.12, "label_noise_source": 0.07}


def log_uniform(rng, low, high, size):
    return 10.0 ** rng.uniform(low, high, size)


def some_problems(rng, size, *, trained):
    """Random problems without γ: every shape from n ≫ p to n ≪ p, half of them with label noise, any sign of β."""
    p = log_uniform(rng, 0.5, 4, size)
    noise = np.where(rng.random(size) < 0.5, 0.0, rng.uniform(0, 0.45, size))
    problems = {"beta": rng.uniform(-1, 1, size), "n": p * log_uniform(rng, -1.5, 1.5, size), "p": p}
    problems |= {"mu": log_uniform(rng, -0.7, 0.5, size), "mu_perp": log_uniform(rng, -0.7, 0.5, size)}
    problems |= {"label_noise": noise}
    if trained:
        problems |= {"n_source": p * log_uniform(rng, -1.5, 1.5, size), "gamma_source": log_uniform(rng, -4, 2, size)}
        problems |= {"label_noise_source": noise[::-1]}
    return problems


def rows(problems):
    return [{k: float(v) for k, v in zip(problems, row, strict=True)} for row in zip(*problems.values(), strict=True)]


def exact_snr2(law, alpha=None):
    """SNR² in mpmath at α, or MᵀV⁻¹M."""
    if alpha is not None:
        return law.mean(mpf(alpha)) ** 2 / law.variance(mpf(alpha))
    inner = law.m0**2 * law.v11 - 2 * law.m0 * law.m1 * law.v01 + law.m1**2 * law.v00
    return inner / (law.v00 * law.v11 - law.v01**2)


def snr(law, alpha):
    mean, variance = law.moments(alpha)
    return mean / np.sqrt(variance)


# The ceiling, γ → ∞.


@pytest.mark.slow  # long numbers
@pytest.mark.parametrize("trained", [False, True])
def test_ceiling_is_the_limit_of_the_oracle(trained):
    problems = some_problems(np.random.default_rng(1), 150, trained=trained)
    choice, ceiling = optimal_alpha_gamma(**problems), limit_accuracy(**problems)
    np.testing.assert_array_equal(choice.accuracy, ceiling)
    for i, problem in enumerate(rows(problems)):
        law = oracle.margin_law(**problem, gamma=mpf(10) ** 40, digits=200)
        with mp.workdps(200):
            kappa = oracle.resolvent(mpf(problem["n"]), mpf(problem["p"]), mpf(10) ** 40).kappa
            assert float(mp.ncdf(mp.sqrt(exact_snr2(law)))) == pytest.approx(ceiling[i], rel=1e-12)
            assert float(law.alpha * kappa) == pytest.approx(choice.c[i], rel=1e-12)
    assert np.all(choice.alpha == 0.0)
    assert np.all(np.isinf(choice.gamma))


def test_ceiling_is_the_limit_of_the_margin_law():
    problems = some_problems(np.random.default_rng(2), 200, trained=True)
    law = ra.margin_law(**problems, gamma=1e12)
    np.testing.assert_allclose(law.best_accuracy(), limit_accuracy(**problems), rtol=1e-9)


def test_nothing_exceeds_the_ceiling_and_much_comes_close():
    rng = np.random.default_rng(3)
    problems = {k: v[:, None] for k, v in some_problems(rng, 100, trained=True).items()}
    gamma = log_uniform(rng, -4, 6, (100, 60))
    best = ra.optimal_alpha(**problems, gamma=gamma)
    scale = np.where(
        rng.random(gamma.shape) < 0.5, best * rng.normal(1, 0.1, gamma.shape), rng.normal(0, 3, gamma.shape)
    )
    reached = ra.accuracy(scale, **problems, gamma=gamma)
    ceiling = limit_accuracy(**problems)
    assert np.all(reached <= ceiling + 1e-14)
    assert np.mean(reached.max(axis=1) > ceiling[:, 0] - 0.01) > 0.9


@pytest.mark.parametrize("beta", [-1.0, 1.0])
def test_source_along_the_target_mean_is_used_alone(beta):
    """w⊥ = 0: c* is infinite, and any α of its sign reaches Φ(m), the best possible."""
    problem = {"beta": beta, "n": 70, "p": 30, "mu": 1.5, "mu_perp": 0.7, "label_noise": 0.1}
    choice = optimal_alpha_gamma(**problem)
    assert choice.c == beta * np.inf
    assert choice.alpha == beta
    assert choice.accuracy == pytest.approx(float(mp.ncdf(1.5)), rel=1e-14)
    for alpha in (choice.alpha, 0.01 * beta):
        assert ra.accuracy(alpha, **problem, gamma=1e13) == pytest.approx(choice.accuracy, rel=1e-10)
    assert str(choice).splitlines()[-1].split()[:3] == ["both", "inf", f"{beta:g}"]


def test_without_a_source_the_ceiling_is_that_of_ridge():
    problem = {"beta": 0.5, "n": 50, "p": 200, "mu": 0.0, "mu_perp": 1.3, "label_noise": 0.1}
    choice = optimal_alpha_gamma(**problem, gamma=0.4)
    assert choice.accuracy == pytest.approx(ra.accuracy(0.0, **problem, gamma=1e14), rel=1e-12)
    assert choice.accuracy_at_one == pytest.approx(choice.accuracy, rel=1e-12)
    assert choice.gamma_at_one == np.inf
    assert math.isnan(choice.alpha)
    assert math.isnan(choice.c)
    assert choice.accuracy_alpha_given == pytest.approx(ra.accuracy(0.0, **problem, gamma=0.4), rel=1e-14)


def test_target_without_mean_is_a_coin():
    problem = {"beta": 1.0, "n": 50, "p": 200, "mu": 0.0, **TRAINED}
    assert limit_accuracy(**problem) == 0.5
    choice = optimal_alpha_gamma(**problem, gamma=0.3)
    assert (choice.accuracy_at_one, choice.accuracy_alpha_given) == (0.5, 0.5)
    assert effective_sample_gain(**problem, gamma=0.3) == 0.0


# The best γ for α = 1.


@pytest.mark.parametrize(
    ("n", "p", "mu", "mu_perp", "beta", "n_source", "gamma_source", "at_one", "joint"),
    [
        (20, 400, 1.2, 1.0, 0.8, 2000, 1.0, 0.8118, 0.8122),
        (40, 1000, 0.8, 0.8, 0.5, 5000, 5.0, 0.6416, 0.6417),
        (200, 400, 1.0, 1.0, 0.8, 2000, 1.0, 0.7779, 0.7818),
        (1000, 400, 1.0, 1.0, 0.5, 2000, 1.0, 0.7866, 0.8041),
    ],
)
def test_numbers_of_the_theory(n, p, mu, mu_perp, beta, n_source, gamma_source, at_one, joint):
    source = {"mu": mu, "mu_perp": mu_perp, "n_source": n_source, "gamma_source": gamma_source}
    choice = optimal_alpha_gamma(beta, n, p, **source)
    assert (round(choice.accuracy_at_one, 4), round(choice.accuracy, 4)) == (at_one, joint)


@pytest.mark.slow  # where kernels are interpreted
@pytest.mark.parametrize("trained", [False, True])
def test_best_penalty_equals_brute_force(trained):
    problems = some_problems(np.random.default_rng(4), 60, trained=trained)
    if not trained:
        problems["beta"][:10] = 1.0  # where several local optima are common
    choice = optimal_alpha_gamma(**problems)
    grid = np.concatenate([[0.0], np.geomspace(1e-14, 1e14, 1500)])
    columns = {k: v[:, None] for k, v in problems.items()}
    heights = snr(ra.margin_law(**columns, gamma=grid), 1.0)
    found = snr(ra.margin_law(**problems, gamma=np.minimum(choice.gamma_at_one, 1e17)), 1.0)
    error = (found - heights.max(axis=1)) / np.abs(found)
    assert error.min() > -1e-13
    assert error.max() < 4e-4  # what the grid misses
    np.testing.assert_allclose(
        choice.accuracy_at_one, ra.accuracy(1.0, **problems, gamma=np.minimum(choice.gamma_at_one, 1e17))
    )
    assert np.all(choice.gain_alpha_once_tuned > -1e-15)
    at_zero, at_infinity = choice.gamma_at_one == 0.0, np.isinf(choice.gamma_at_one)
    assert at_zero.sum() > 3
    assert trained or at_infinity.sum() > 3
    assert (~at_zero & ~at_infinity).sum() > 10


@pytest.mark.slow
def test_inside_the_best_penalty_is_where_the_slope_vanishes():
    problems = some_problems(np.random.default_rng(5), 100, trained=True)
    gamma = optimal_alpha_gamma(**problems).gamma_at_one
    inside = (gamma > 0.0) & np.isfinite(gamma)
    assert inside.sum() > 30
    some = {k: v[inside] for k, v in problems.items()}
    below, at, above = (snr(ra.margin_law(**some, gamma=gamma[inside] * (1 + d)), 1.0) for d in (-1e-2, 0.0, 1e-2))
    curvature = (2 * at - below - above) / 1e-4
    offset = (above - below) / 2e-2 / curvature  # of the vertex of the parabola, relative to γ
    assert np.all(curvature > 0.0)
    assert np.all(np.abs(offset) < 1e-2)  # the parabola's own error


def two_optima(end):
    """Problems in which α = 1 has a local optimum inside and one at γ = ∞; `end` tells where the better one is."""
    if end:
        return {"beta": 0.94, "n": 4.0, "p": 3.4, "mu": 2.7, "mu_perp": 5.0}
    return {"beta": 0.7, "n": 4600, "p": 520, "mu": 0.7, "mu_perp": 2.9, "label_noise": 0.47} | {
        "n_source": 270,
        "gamma_source": 0.0,
        "label_noise_source": 0.07,
    }


@pytest.mark.parametrize("end", [False, True])
def test_better_of_two_local_optima_is_taken(end):
    problem = two_optima(end)
    heights = snr(ra.margin_law(**problem, gamma=np.geomspace(1e-10, 1e14, 2000)), 1.0)
    slopes = np.diff(heights)
    turns = np.flatnonzero(np.diff(np.sign(slopes[np.abs(slopes) > 1e-9])))
    assert len(turns) == 2  # up, down, up
    choice = optimal_alpha_gamma(**problem)
    assert np.isinf(choice.gamma_at_one) == end
    assert choice.accuracy_at_one >= float(mp.ncdf(heights.max())) - 1e-14


def test_several_maxima_are_refined_before_they_are_compared():
    """A narrow peak between two points of the grid beats a lower, broad one that the grid sees better."""

    def peaks(x):
        u = np.log(x)
        return np.exp(-((u / 3) ** 2)) + 1.02 * np.exp(-(((u - 12.0) / 0.3) ** 2))

    best = maximum(peaks, np.array([1e-8, 1e-9]), np.array([1e9, 1e8]))
    np.testing.assert_allclose(best, np.exp(12.0), rtol=1e-6)


def test_source_that_points_the_wrong_way_is_best_kept_weak():
    """β < 0: at γ = ∞ only the source would be left, and accuracy below ½."""
    choice = optimal_alpha_gamma(-0.5, [10, 1000], 100, mu=2.0)
    assert np.all(choice.gamma_at_one < 1.0)
    assert np.all(choice.c < 0.0)
    assert np.all(choice.gain_alpha_once_tuned > 0.01)


# The decomposition.


def test_choice_at_a_given_penalty():
    choice = optimal_alpha_gamma(**NOISY, gamma=0.3)
    law = ra.margin_law(**NOISY, gamma=0.3)
    assert choice.gamma_given == 0.3
    assert choice.accuracy_given == law.accuracy(1.0)
    assert choice.alpha_given == pytest.approx(law.optimal_alpha(), rel=1e-10)
    assert choice.accuracy_alpha_given == pytest.approx(law.best_accuracy(), rel=1e-12)
    assert choice.gain_gamma == choice.accuracy_at_one - choice.accuracy_given > 0.0
    assert choice.gain_alpha == choice.accuracy_alpha_given - choice.accuracy_given > 0.0
    assert choice.gain_both == choice.accuracy - choice.accuracy_given
    assert choice.gain_both > max(choice.gain_gamma, choice.gain_alpha)
    assert choice.gain_alpha_once_tuned == choice.accuracy - choice.accuracy_at_one > 0.0
    assert all(type(getattr(choice, name)) is float for name in JointChoice.__dataclass_fields__)


@pytest.mark.slow  # long numbers
def test_best_accuracy_at_a_given_penalty_equals_the_oracle():
    rng = np.random.default_rng(6)
    problems = some_problems(rng, 150, trained=True) | {"gamma": log_uniform(rng, -5, 4, 150)}
    got = optimal_alpha_gamma(**problems).accuracy_alpha_given
    for i, problem in enumerate(rows(problems)):
        with mp.workdps(60):
            exact = float(mp.ncdf(mp.sqrt(exact_snr2(oracle.margin_law(**problem, digits=60)))))
        assert got[i] == pytest.approx(exact, rel=1e-12)


@pytest.mark.parametrize(("n", "p"), [(100, 300), (300, 100), (200, 200)])
def test_choice_without_given_penalty_zero(n, p):
    choice = optimal_alpha_gamma(**SETTING | {"n": n, "p": p}, gamma=0.0)
    law = ra.margin_law(**SETTING | {"n": n, "p": p}, gamma=0.0)
    assert choice.accuracy_alpha_given == pytest.approx(law.best_accuracy(), rel=1e-12)
    assert math.isnan(choice.alpha_given) == (p <= n)


def test_without_a_given_penalty_there_is_nothing_to_gain_from():
    choice = optimal_alpha_gamma(**SETTING)
    assert choice.gain_gamma is choice.gain_alpha is choice.gain_both is None
    assert choice.gain_alpha_once_tuned > 0.0


def test_choice_broadcasts_and_can_be_indexed():
    problem = SETTING | {"beta": np.array([[0.2], [0.7]]), "n": np.array([20, 200, 2000])}
    choice = optimal_alpha_gamma(**problem, gamma=0.1)
    assert choice.shape == (2, 3)
    assert {np.shape(getattr(choice, name)) for name in JointChoice.__dataclass_fields__} == {(2, 3)}
    one = optimal_alpha_gamma(**problem | {"beta": 0.7, "n": 200}, gamma=0.1)
    picked = choice[1, 1]
    assert repr(picked) == repr(one)
    assert picked.gamma_at_one == pytest.approx(one.gamma_at_one, rel=1e-5)
    assert choice[0].shape == (3,)
    assert repr(choice) == "JointChoice(shape=(2, 3))"
    assert "index it" in str(choice)
    assert optimal_alpha_gamma([], 20, 30).shape == (0,)
    with pytest.raises(IndexError, match="single problem"):
        one[0]


def test_large_batches_are_evaluated_in_pieces(monkeypatch):
    monkeypatch.setattr(choice_module, "_CHUNK", 3000)  # three problems at a time
    n = np.geomspace(10, 1000, 11)
    choice = optimal_alpha_gamma(0.5, n, 100, mu=1.2)
    alone = [optimal_alpha_gamma(0.5, x, 100, mu=1.2).accuracy_at_one for x in n]
    np.testing.assert_allclose(choice.accuracy_at_one, alone, rtol=1e-13)


def test_table_shows_the_decomposition():
    lines = str(optimal_alpha_gamma(**NOISY, gamma=0.3)).splitlines()
    assert [line.split()[0] for line in lines] == ["γ", "as", "best", "best", "both"]
    gains = [float(line.split()[-1]) for line in lines[1:]]
    assert gains[0] == 0.0
    assert gains[3] >= max(gains)
    assert len(str(optimal_alpha_gamma(**NOISY)).splitlines()) == 3


def test_choice_follows_the_rules_of_the_closed_form():
    assert math.isnan(limit_accuracy(0.5, 1e70, 10))
    assert math.isnan(limit_accuracy(0.5, 10, 10, mu=1e40))
    undefined = optimal_alpha_gamma(0.5, 50, 200, gamma=0.3, n_source=200, gamma_source=0.0)
    assert all(math.isnan(getattr(undefined, n)) for n in JointChoice.__dataclass_fields__ if n != "gamma_given")
    with pytest.raises(ValueError, match="gamma must be"):
        optimal_alpha_gamma(0.5, 10, 10, gamma=-1.0)
    with pytest.raises(ValueError, match="gamma_source is required"):
        limit_accuracy(0.5, 10, 10, n_source=30)
    with pytest.raises(ValueError, match="beta must be a plain array"):
        optimal_alpha_gamma(xr.DataArray([0.1, 0.2]), 10, 10)


def test_answers_keep_the_callers_arrays():
    beta = xr.DataArray([0.1, 0.9], dims="task")
    for answer in (limit_accuracy(beta, 10, 20), effective_sample_gain(beta, 10, 20, 0.1, alpha=1.0)):
        assert isinstance(answer, xr.DataArray)
        assert answer.dims == ("task",)
    assert effective_sample_gain(beta, 10, 20, 0.1).values[1] == effective_sample_gain(0.9, 10, 20, 0.1)


# What the source is worth.


def last_crossing(problem, level, n):
    """The n from which on accuracy from scratch stays at least `level`, by brute force on a grid; and all crossings."""

    def excess(n):
        return ra.accuracy(0.0, **problem | {"n": n}) - level

    crossings = np.flatnonzero(np.diff(excess(n) >= 0.0))
    i = crossings[-1]
    assert excess(n[-1]) > 0.0
    return optimize.brentq(excess, n[i], n[i + 1], xtol=1e-10, rtol=1e-14), len(crossings)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "alpha", "crossings"),
    [(60, None, 3), (150, 0.0, 3), (200, 0.0, 3), (250, 0.4, 3), (60, 1.0, 3), (900, None, 1)],
)
def test_last_of_several_crossings_is_found(n, alpha, crossings):
    """Double descent at γ = .01, p = 400: from scratch accuracy falls between n = 200 and n = 380."""
    problem = {"beta": 0.3, "n": n, "p": 400, "gamma": 0.01, "n_source": 800, "gamma_source": 2.0}
    law = ra.margin_law(**problem)
    level = law.best_accuracy() if alpha is None else law.accuracy(alpha)
    want, found = last_crossing(problem, level, np.geomspace(1, 1e6, 20001))
    assert found == crossings
    assert effective_sample_gain(**problem, alpha=alpha) == pytest.approx(want, rel=1e-8)


@pytest.mark.parametrize("alpha", [None, 0.0, 1.0, -0.7, 30.0])
@pytest.mark.parametrize("trained", [False, True])
def test_from_scratch_with_that_many_samples_is_exactly_as_good(alpha, trained):
    """In the exact SNR² as in what is missing to the best possible, m² − SNR²."""
    rng = np.random.default_rng(7)
    problems = some_problems(rng, 60, trained=trained) | {"gamma": log_uniform(rng, -5, 6, 60)}
    got = effective_sample_gain(**problems, alpha=alpha)
    assert (got > 0.0).sum() > 20
    for n, problem in zip(got, rows(problems), strict=True):
        law = oracle.margin_law(**problem, digits=80)
        scratch = oracle.margin_law(**problem | {"n": n}, digits=80) if n else None
        with mp.workdps(80):
            if scratch is None:
                assert law.mean(mpf(alpha)) <= 0
                continue
            square = mpf(problem["beta"]) ** 2
            m2 = square * mpf(problem["mu"]) ** 2 + (1 - square) * mpf(problem["mu_perp"]) ** 2
            transfer, level = exact_snr2(law, alpha), scratch.m0**2 / scratch.v00
            assert abs(level / transfer - 1) < 1e-11
            assert abs((m2 - level) / (m2 - transfer) - 1) < 1e-11


@pytest.mark.slow  # where kernels are interpreted
def test_from_there_on_it_stays_as_good():
    rng = np.random.default_rng(8)
    problems = {k: v[:, None] for k, v in some_problems(rng, 200, trained=True).items()}
    problems |= {"gamma": log_uniform(rng, -6, 1, (200, 1))}
    found = effective_sample_gain(**problems)
    level = ra.margin_law(**problems).best_accuracy()
    after = ra.accuracy(0.0, **problems | {"n": found * (1 + np.geomspace(1e-7, 1e6, 300))})
    before = ra.accuracy(0.0, **problems | {"n": found * (1 - np.geomspace(1e-7, 1e-3, 20))})
    assert np.all(after >= level - 1e-13)
    assert np.all(before <= level + 1e-13)
    crossed_before = (ra.accuracy(0.0, **problems | {"n": found * np.geomspace(1e-3, 1, 300)}) > level + 1e-9).any(
        axis=1
    )
    assert 10 < crossed_before.sum() < 190  # double descent


def test_no_transfer_is_worth_its_own_samples():
    rng = np.random.default_rng(9)
    problems = some_problems(rng, 200, trained=False) | {"gamma": log_uniform(rng, 0, 4, 200)}  # no double descent
    np.testing.assert_allclose(effective_sample_gain(**problems, alpha=0.0), problems["n"], rtol=1e-10)


def test_source_helps_exactly_where_it_is_worth_more_samples_than_none():
    rng = np.random.default_rng(10)
    problems = some_problems(rng, 2000, trained=True) | {"gamma": log_uniform(rng, -5, 3, 2000)}
    worth = effective_sample_gain(**problems, alpha=1.0) - effective_sample_gain(**problems, alpha=0.0)
    gain = ra.accuracy(1.0, **problems) - ra.accuracy(0.0, **problems)
    clear = np.abs(gain) > 1e-9
    assert np.array_equal(np.sign(worth[clear]), np.sign(gain[clear]))
    assert 100 < (gain[clear] > 0.0).sum() < 1900
    assert np.any((effective_sample_gain(**problems, alpha=1.0) > problems["n"]) & (gain < -1e-6))  # n' > n is not it


def test_useless_source_at_its_best_scale_is_no_source():
    problem = {"beta": 0.0, "n": 60, "p": 200, "gamma": 0.4, "mu": 1.3, "label_noise": 0.1}
    assert effective_sample_gain(**problem) == effective_sample_gain(**problem, alpha=0.0)
    assert effective_sample_gain(**problem) == pytest.approx(60, rel=1e-12)
    assert effective_sample_gain(**problem, alpha=1.0) < 60


def test_transfer_no_better_than_a_coin_is_worth_no_sample():
    worst = ra.worst_alpha(**NOISY, gamma=0.3)
    alpha = worst * np.array([0.9, 1.1, 50.0])
    got = effective_sample_gain(**NOISY, gamma=0.3, alpha=alpha)
    assert got[0] > 0.0
    assert got[1:].tolist() == [0.0, 0.0]


def test_source_alone_is_the_limit_of_large_scales():
    ends = effective_sample_gain(**NOISY, gamma=0.3, alpha=[1e9, np.inf, -np.inf])
    assert ends[0] == pytest.approx(ends[1], rel=1e-7)
    assert ends[2] == 0.0
    assert 50 < ends[1] < 150


def test_samples_without_penalty():
    """γ = 0: below p the last crossing lies above p; above p no α matters; at p the classifier is a coin."""
    problem = {k: v for k, v in NOISY.items() if k != "n"} | {"gamma": 0.0}
    got = effective_sample_gain(n=130, **problem)
    want, crossings = last_crossing(
        problem, ra.margin_law(n=130, **problem).best_accuracy(), np.geomspace(1, 1e6, 20001)
    )
    assert crossings >= 1
    assert got == pytest.approx(want, rel=1e-8)
    assert got > 260
    for alpha in (None, 0.0, 1.0, np.inf):
        assert effective_sample_gain(n=700, **problem, alpha=alpha) == pytest.approx(700, rel=1e-13)
        assert effective_sample_gain(n=260, **problem, alpha=alpha) == 0.0
    small = effective_sample_gain(n=130, **problem | {"gamma": 1e-12})
    assert small == pytest.approx(got, rel=1e-9)


@pytest.mark.parametrize(
    ("beta", "n", "p", "mu", "label_noise", "gamma"),
    [
        (1.0, 127.8061944929166, 158.8595048908234, 2.8488292118761716, 0.41796033514411535, 1083218219.9589086),
        (-1.0, 30267.465273464608, 2.673049405097795, 0.02401297143312598, 0.0, 9626267.594289845),
        (1.0, 120.0, 160.0, 2.8, 0.4, 1e9),
    ],
)
def test_nearly_perfect_transfer_keeps_its_digits(beta, n, p, mu, label_noise, gamma):
    """w⊥ = 0 and a large γ: x = 1 to machine precision, and n′ is told by 1 − x alone."""
    problem = {"beta": beta, "n": n, "p": p, "mu": mu, "label_noise": label_noise, "gamma": gamma}
    for alpha in (None, beta):
        got = effective_sample_gain(**problem, alpha=alpha)
        law, scratch = oracle.margin_law(**problem, digits=100), oracle.margin_law(**problem | {"n": got}, digits=100)
        with mp.workdps(100):
            missing = [mpf(mu) ** 2 - x for x in (exact_snr2(law, alpha), scratch.m0**2 / scratch.v00)]
            assert missing[0] < 1e-14 * mpf(mu) ** 2
            assert abs(missing[1] / missing[0] - 1) < 1e-12


def test_sample_gain_follows_the_rules_of_the_closed_form():
    assert math.isnan(effective_sample_gain(0.5, 1e70, 10, 0.1))
    assert math.isnan(effective_sample_gain(0.5, 10, 10, 0.1, mu=1e40))
    assert effective_sample_gain([0.1, 0.2], 10, 20, 0.1, alpha=[[0.0], [1.0], [2.0]]).shape == (3, 2)
    with pytest.raises(ValueError, match="alpha must be"):
        effective_sample_gain(0.5, 10, 10, 0.1, alpha=np.nan)
    with pytest.raises(ValueError, match=r"broadcast: alpha \(3,\)"):
        effective_sample_gain([0.1, 0.2], 10, 10, 0.1, alpha=[0.0, 1.0, 2.0])


@pytest.mark.slow  # where kernels are interpreted
def test_simulation_agrees_on_what_a_source_is_worth():
    """Twice the samples or half of them are off by .04, twenty times the allowance for a finite size."""
    problem = {"beta": 0.8, "p": 400, "gamma": 1.0, "n_source": 2000, "gamma_source": 1.0}
    worth = effective_sample_gain(n=50, **problem, alpha=1.0)
    transfer = ra.simulate(n=50, **problem, trials=4000, seed=1, workers=1).accuracy(1.0)
    scratch, half, twice = (
        ra.simulate(n=round(n), **problem, trials=4000, seed=2, workers=1).accuracy(0.0).value
        for n in (worth, worth / 2, worth * 2)
    )
    assert transfer.stderr < 3e-4
    assert transfer.value == pytest.approx(scratch, abs=2e-3)
    assert half + 0.02 < scratch < twice - 0.02


def test_source_alone_is_worth_nothing_exactly_where_it_points_away():
    rng = np.random.default_rng(11)
    problems = some_problems(rng, 500, trained=True) | {"gamma": log_uniform(rng, -5, 5, 500)}
    s, _, _ = isotropic.source_numbers(
        **{k: problems[k] for k in problems if k not in ("n", "gamma", "label_noise")},
    )
    zero = effective_sample_gain(**problems, alpha=np.inf) == 0.0
    assert np.array_equal(zero, s <= 0.0)
