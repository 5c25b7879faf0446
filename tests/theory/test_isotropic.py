"""The isotropic closed form: against the 50-digit oracle, against THEORY's numbers and limits, and its invariants."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

import rmt_alpha as ra
from rmt_alpha.theory.isotropic import (
    effective_ridge,
    fixed_source_law,
    fixed_source_optimal_alpha,
    source_numbers,
)
from tests.theory import oracle

NUMBERS = ("M0", "M1", "V00", "V01", "V11", "alpha*")
PRECISION = 1e-12

unhurried = settings(deadline=None, max_examples=200)  # the first call of a kernel compiles it


def relative_errors(got, want):
    """Entry by entry; 0 where both are equal (0 = 0 included), inf where one is nan."""
    got, want = np.asarray(got, dtype=float), np.asarray(want, dtype=float)
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.abs(got - want) / np.abs(want)
    return np.where(got == want, 0.0, np.where(np.isnan(errors), np.inf, errors))


def five_numbers(law):
    return np.stack([law.mean[..., 0], law.mean[..., 1], law.cov[..., 0, 0], law.cov[..., 0, 1], law.cov[..., 1, 1]])


# The closed form equals THEORY §3 to 12 digits.


def log_uniform(rng, low, high, size):
    return 10.0 ** rng.uniform(low, high, size)


def some_alignments(rng, size):
    """Uniform in [-1, 1], and masses close to and exactly at -1, 0 and 1."""
    sign, gap = rng.choice([-1.0, 1.0], size), log_uniform(rng, -16, 0, size)
    kinds = [rng.uniform(-1, 1, size), sign * (1 - gap), sign * gap, sign, np.zeros(size)]
    return np.choose(rng.integers(len(kinds), size=size), kinds)


def some_label_noise(rng, size):
    return np.where(rng.random(size) < 0.3, 0.0, rng.uniform(0, 0.49, size))


def some_problems(rng, source, size):
    """Random problems (as arguments of the public functions) for one kind of source."""
    n = log_uniform(rng, 0, 9, size)
    p = n * log_uniform(rng, -6, 6, size)
    target = {"n": n, "p": p, "gamma": log_uniform(rng, -10, 10, size), "label_noise": some_label_noise(rng, size)}
    if source == "fixed":
        sign, some = rng.choice([-1.0, 1.0], size), rng.random(size) < 0.9
        s, w_perp2, m2 = log_uniform(rng, -6, 6, (3, size))
        return target | {"s": sign * s, "w_perp2": np.where(some, w_perp2, 0.0), "m2": m2}
    mu, mu_perp = log_uniform(rng, -3, 3, (2, size))
    target |= {"beta": some_alignments(rng, size), "mu": mu, "mu_perp": mu_perp}
    if source == "oracle":
        return target
    return target | {
        "n_source": p / log_uniform(rng, -6, 6, size),
        "gamma_source": log_uniform(rng, -10, 10, size),
        "label_noise_source": some_label_noise(rng, size),
    }


def nearly_singular(rng, problems):
    """Move problems to p = n + k, N = p + k for a few integers k, with almost no penalty."""
    size = len(problems["n"])
    n = np.ceil(problems["n"]) + 3
    moved = problems | {"n": n, "p": n + rng.integers(-3, 4, size), "gamma": log_uniform(rng, -10, -8, size)}
    if "n_source" in problems:
        moved["n_source"] = np.maximum(moved["p"] + rng.integers(-3, 4, size), 1)
        moved["gamma_source"] = log_uniform(rng, -10, -8, size)
    return moved


def oracle_errors(problems):
    """Relative errors, shape (6, size), of the five numbers and α*."""
    fixed = "s" in problems
    law = fixed_source_law(**problems) if fixed else ra.margin_law(**problems)
    alpha = fixed_source_optimal_alpha(**problems) if fixed else ra.optimal_alpha(**problems)
    exact = oracle.fixed_source_law if fixed else oracle.margin_law
    rows = zip(*problems.values(), strict=True)
    want = [[float(x) for x in exact(**dict(zip(problems, row, strict=True)))] for row in rows]
    want = np.transpose(want)
    want[3][problems["gamma"] == 0.0] = 0.0  # V01 is proportional to γ: the oracle's rounding is left
    return relative_errors([*five_numbers(law), alpha], want)


def assert_precise(problems):
    errors = oracle_errors(problems)
    number, index = np.unravel_index(np.argmax(errors), errors.shape)
    worst = {name: float(values[index]) for name, values in problems.items()}
    assert errors.max() <= PRECISION, f"{NUMBERS[number]} is off by {errors.max():.2g} (relative) at {worst}"


@pytest.mark.slow
def test_closed_form_equals_the_oracle_on_ten_thousand_problems():
    rng = np.random.default_rng(20250611)
    for source in ("oracle", "ridge", "fixed"):
        assert_precise(some_problems(rng, source, 3400))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["oracle", "ridge", "fixed"])
def test_closed_form_equals_the_oracle_where_samples_and_dimension_nearly_cancel(source):
    rng = np.random.default_rng(73)
    assert_precise(nearly_singular(rng, some_problems(rng, source, 600)))


@pytest.mark.parametrize("source", ["oracle", "ridge", "fixed"])
def test_closed_form_equals_the_oracle_without_penalty_above_the_threshold(source):
    rng = np.random.default_rng(74)
    problems = some_problems(rng, source, 300)
    problems |= {"p": problems["n"] * (1 + log_uniform(rng, -6, 6, 300)), "gamma": np.zeros(300)}
    if source == "ridge":
        problems |= {"n_source": problems["p"] * rng.choice([0.3, 0.999], 300), "gamma_source": np.zeros(300)}
    assert_precise(problems)


def test_comparison_sees_the_twelfth_digit():
    want = np.array([0.3, -2e-9, 5e11])
    for spoilt in (want * (1 + 1e-11), -want, want * np.nan, want * np.inf, want * 0):
        for i in range(3):
            got = want.copy()
            got[i] = spoilt[i]
            assert np.flatnonzero(relative_errors(got, want) > PRECISION).tolist() == [i]
    assert relative_errors(want * (1 + 1e-13), want).max() < PRECISION
    assert relative_errors([0.0, 1e-300], [0.0, 0.0]).tolist() == [0.0, np.inf]


@pytest.mark.parametrize("name", ["gamma", "mu", "n_source", "label_noise"])
def test_comparison_sees_an_oracle_that_is_slightly_wrong(name, monkeypatch):
    """An argument that differs in the eleventh digit is enough to fail the precision test."""
    exact = oracle.margin_law
    monkeypatch.setattr(oracle, "margin_law", lambda **problem: exact(**problem | {name: problem[name] * (1 + 1e-11)}))
    with pytest.raises(AssertionError, match="is off by"):
        assert_precise(some_problems(np.random.default_rng(75), "ridge", 100))


@pytest.mark.parametrize(("beta", "mu"), [(3e-161, 1e28), (-7e-162, 1e30), (2e-158, 1e26)])
def test_alignment_whose_square_underflows_keeps_its_digits(beta, mu):
    problem = {"beta": beta, "n": 50, "p": 70, "gamma": 0.3, "mu": mu, "mu_perp": 0.0}
    want = [float(x) for x in oracle.margin_law(**problem, digits=600)]
    got = [*five_numbers(ra.margin_law(**problem)), ra.optimal_alpha(**problem)]
    assert relative_errors(got, want).max() <= PRECISION


# The numbers of THEORY §12, §5 and §6, to the digits given there.

FIGURE_1 = {"n": 40, "p": 1000, "gamma": 0.1, "mu": 0.8, "mu_perp": 0.8, "n_source": 5000, "gamma_source": 5}


@pytest.mark.parametrize(
    ("beta", "best", "worst", "at_one", "at_best"),
    [(0.2, 1.632, -1.412, 0.570, 0.572), (0.5, 4.099, -0.565, 0.613, 0.639), (0.9, 7.471, -0.314, 0.668, 0.731)],
)
def test_figure_1(beta, best, worst, at_one, at_best):
    alpha = ra.optimal_alpha(beta, **FIGURE_1)
    assert round(alpha, 3) == best
    assert round(ra.worst_alpha(beta, **FIGURE_1), 3) == worst
    accuracies = ra.accuracy([0, 1, alpha], beta, **FIGURE_1)
    assert accuracies.round(3).tolist() == [0.549, at_one, at_best]


@pytest.mark.parametrize(("eta", "best"), [(0.01, "0.0439"), (0.1, "0.3907"), (1, "1.645"), (10, "1.179")])
def test_figure_2(eta, best):
    alpha = ra.optimal_alpha(0.8, 200, 200 * eta, 1.0, n_source=2000, gamma_source=1.0)
    assert f"{alpha:.{len(best) - 2}f}" == best


@pytest.mark.parametrize(
    ("n", "p", "mu", "mu_perp", "beta", "n_source", "gamma_source", "at_one", "joint"),
    [
        (20, 400, 1.2, 1.0, 0.8, 2000, 1.0, 0.8118, 0.8122),
        (40, 1000, 0.8, 0.8, 0.5, 5000, 5.0, 0.6416, 0.6417),
        (200, 400, 1.0, 1.0, 0.8, 2000, 1.0, 0.7779, 0.7818),
        (1000, 400, 1.0, 1.0, 0.5, 2000, 1.0, 0.7866, 0.8041),
    ],
)
def test_what_the_best_penalty_leaves_for_alpha(n, p, mu, mu_perp, beta, n_source, gamma_source, at_one, joint):
    source = {"mu": mu, "mu_perp": mu_perp, "n_source": n_source, "gamma_source": gamma_source}
    penalties = np.geomspace(1e-3, 1e3, 2000)
    assert round(ra.accuracy(1.0, beta, n, p, penalties, **source).max(), 4) == at_one
    assert round(ra.margin_law(beta, n, p, 1e9, **source).best_accuracy(), 4) == joint


def test_penalty_tending_to_zero_keeps_an_advantage_over_none():
    best = ra.margin_law(0.5, n=1000, p=400, gamma=[1e-9, 0.0]).best_accuracy()
    assert best.round(4).tolist() == [0.7473, 0.7437]


def paper_second_moment(alpha, s, w2, m2, n, p, gamma):
    """E[(w_αᵀx)²] as the paper organises it, T₁ + αT₂ + α²T₃ (THEORY §6; t = 1), at 50 digits."""
    with mp.workdps(50):
        s, w2, m2, eta = mpf(s), mpf(w2), mpf(m2), mpf(p) / n
        kappa, h = oracle.resolvent(mpf(n), mpf(p), mpf(gamma))
        lam = m2 + 1 + kappa
        t1 = (1 - h) / h + m2 / (h * lam) * ((m2 + 1) / lam - 2 * (1 - h))
        t2 = 2 * kappa * s / (h * lam) * ((m2 + 1) / lam - (1 - h))
        t3 = kappa**2 / h * (s**2 / lam**2 + (1 - h) / eta * (w2 + s**2 * (m2 / lam - 2) / lam))
        return t1 + alpha * t2 + alpha**2 * t3


@unhurried
@given(
    s=st.integers(-30, 30),
    off=st.just(0.0) | st.floats(1e-3, 30),
    m2=st.floats(0.01, 30),
    n=st.integers(1, 3000),
    p=st.integers(1, 3000),
    gamma=st.floats(1e-3, 1e3),
    alpha=st.floats(-5, 5),
)
def test_second_moment_is_the_papers(s, off, m2, n, p, gamma, alpha):
    law = fixed_source_law(s, off, m2, n, p, gamma)
    a = np.array([1.0, alpha])
    terms = np.outer(a, a) * (law.cov + np.outer(law.mean, law.mean))
    with mp.workdps(50):
        w2 = off + mpf(s) ** 2 / m2
    exact = float(paper_second_moment(alpha, s, w2, m2, n, p, gamma))
    assert terms.sum() == pytest.approx(exact, abs=1e-12 * np.abs(terms).sum())


def test_erratum_to_the_published_code():
    """The published ‖w̃‖² lacks a factor and a square; the corrected law is what Monte Carlo (3.641 ± .037) finds."""
    problem = {"n": 200, "p": 400, "gamma": 0.5}
    source = {"mu": 1.5, "mu_perp": 1.0, "n_source": 400, "gamma_source": 0.1}
    s, w_perp2, m2 = source_numbers(0.8, 400, **source)
    assert float(paper_second_moment(3, s, w_perp2 + s * s / m2, m2, **problem)) == pytest.approx(3.614, abs=5e-4)
    alpha = ra.optimal_alpha(0.8, **problem, **source)
    assert round(alpha, 3) == 0.415
    accuracies = ra.accuracy([alpha, -5.36], 0.8, **problem, **source)
    assert accuracies.round(3).tolist() == [0.805, 0.407]

    kappa, h = oracle.resolvent(mpf(400), mpf(400), mpf("0.1"))
    lam = 1.5**2 + 1 + kappa
    published = 1.5**2 / lam**2 + (1 - h) * (1 - 2 * 1.5**2 / lam)
    assert float(paper_second_moment(3, s, published, m2, **problem)) == pytest.approx(1.182, abs=5e-4)


# The limits of THEORY §5.


def random_targets(seed, label_noise):
    """Twenty problems with a fixed source, at moderate values: arrays s, w⊥², m² and ε."""
    rng = np.random.default_rng(seed)
    s, w_perp2, m2 = rng.uniform(-1.5, 1.5, 20), rng.uniform(0.05, 2, 20), rng.uniform(0.2, 3, 20)
    return s, w_perp2, m2, rng.uniform(0.05, 0.4, 20) if label_noise else np.zeros(20)


def best_snr2(law):
    """MᵀV⁻¹M."""
    return np.einsum("...i,...ij,...j->...", law.mean, np.linalg.inv(law.cov), law.mean)


def test_without_penalty_and_fewer_dimensions_than_samples_the_source_is_forgotten():
    problem = {"beta": 0.7, "n": 300, "p": 90, "gamma": 0.0, "mu": 1.3, "mu_perp": 0.6, "label_noise": 0.15}
    m2, eta, t2 = 0.49 * 1.69 + 0.51 * 0.36, 0.3, 0.7**2
    law = ra.margin_law(**problem)
    assert (law.mean[1], law.cov[0, 1], law.cov[1, 1]) == (0.0, 0.0, 0.0)
    assert math.isnan(ra.optimal_alpha(**problem))
    assert math.isnan(ra.worst_alpha(**problem))
    variance = (t2 * m2 + eta * (1 + (1 - t2) * m2 * (m2 + 2))) / (1 - eta)
    accuracy = float(mp.ncdf(0.7 * m2 / math.sqrt(variance)))
    assert ra.accuracy([-3.0, 0.0, 1.0, 1e300, np.inf], **problem) == pytest.approx(accuracy, rel=1e-14)
    assert law.best_accuracy() == pytest.approx(accuracy, rel=1e-14)


def test_optimal_alpha_grows_like_one_over_the_effective_ridge_below_the_threshold():
    s, w_perp2, m2, _ = random_targets(1, label_noise=False)
    n, p, gamma = 1000, 350, 1e-9
    alpha = fixed_source_optimal_alpha(s, w_perp2, m2, n, p, gamma)
    limit = 0.35 * s / ((1 + m2) * m2 * w_perp2 + 0.35 * s**2)
    np.testing.assert_allclose(effective_ridge(n, p, gamma) * alpha, limit, rtol=1e-7)


def test_penalty_tends_to_zero_continuously_above_the_threshold():
    s, w_perp2, m2, noise = random_targets(2, label_noise=True)
    assert effective_ridge(100, 350, 0.0) == pytest.approx(2.5, rel=1e-15)
    laws = [fixed_source_law(s, w_perp2, m2, 100, 350, gamma, label_noise=noise) for gamma in (0.0, 1e-12)]
    np.testing.assert_allclose(five_numbers(laws[0]), five_numbers(laws[1]), rtol=1e-10, atol=1e-11)
    assert np.all(five_numbers(laws[0])[3] == 0.0)


def test_interpolation_at_the_threshold_is_a_coin():
    problem = {"beta": 0.7, "n": 120, "p": 120, "gamma": 0.0, "mu": 1.3}
    law = ra.margin_law(**problem)
    assert law.cov[0, 0] == np.inf
    assert ra.accuracy([-1e200, -1.0, 0.0, 2.0, np.inf], **problem).tolist() == [0.5] * 5
    assert law.best_accuracy() == 0.5
    assert ra.risk(2.0, **problem) == np.inf
    assert math.isnan(ra.optimal_alpha(**problem))
    assert ra.accuracy(2.0, **problem | {"gamma": 1e-14}) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("label_noise", [False, True])
def test_infinite_penalty(label_noise):
    s, w_perp2, m2, noise = random_targets(3, label_noise)
    n, p, gamma = 250, 700, 1e10
    t, eta = 1 - 2 * noise, 2.8
    snr2 = (m2**2 * w_perp2 + eta / t**2 * s**2) / (m2 * w_perp2 + eta / t**2 * (w_perp2 + s**2 / m2))
    law = fixed_source_law(s, w_perp2, m2, n, p, gamma, label_noise=noise)
    np.testing.assert_allclose(best_snr2(law), snr2, rtol=1e-8)
    c = effective_ridge(n, p, gamma) * fixed_source_optimal_alpha(s, w_perp2, m2, n, p, gamma, label_noise=noise)
    np.testing.assert_allclose(c, eta * s / (t * m2 * w_perp2), rtol=1e-8)
    scale = np.stack([np.full(20, gamma), np.ones(20)], axis=-1)  # to the variables (1, c)
    np.testing.assert_allclose(law.mean * scale, np.stack([t * m2, s], axis=-1), rtol=1e-8)
    cov = np.array([[t**2 * m2 + eta, t * s], [t * s, w_perp2 + s**2 / m2]]).transpose(2, 0, 1)
    np.testing.assert_allclose(law.cov * scale[:, None] * scale[..., None], cov, rtol=1e-8)


@pytest.mark.parametrize(("n", "p", "gamma"), [(300, 100, 1e-6), (300, 100, 2.0), (100, 300, 0.0), (100, 300, 0.5)])
def test_penalty_costs_exactly_the_factor_h(n, p, gamma):
    s, w_perp2, m2, _ = random_targets(4, label_noise=False)
    eta, kappa = p / n, effective_ridge(n, p, gamma)
    limit = (m2**2 * w_perp2 + eta * s**2) / (m2 * w_perp2 + eta * (w_perp2 + s**2 / m2))
    law = fixed_source_law(s, w_perp2, m2, n, p, gamma)
    np.testing.assert_allclose(best_snr2(law), (1 - eta / (1 + kappa) ** 2) * limit, rtol=1e-10)


@pytest.mark.parametrize(("n", "p", "gamma"), [(300, 100, 1e-6), (300, 100, 2.0), (100, 300, 0.0), (100, 300, 0.5)])
def test_best_signal_to_noise_with_label_noise(n, p, gamma):
    s, w_perp2, m2, noise = random_targets(5, label_noise=True)
    eta, kappa, t2 = p / n, effective_ridge(n, p, gamma), (1 - 2 * noise) ** 2
    u = 1 / (1 + kappa)
    h, flips = 1 - eta * u**2, 1 - t2
    along = eta * s**2 * (1 + flips * eta * m2 * u**2)
    off = w_perp2 * (t2 * m2**2 + eta * m2 + flips * eta * m2**2 * u * (2 + m2 * u))
    snr2 = h * m2 * (eta * s**2 + t2 * m2**2 * w_perp2) / (along + off)
    np.testing.assert_allclose(best_snr2(fixed_source_law(s, w_perp2, m2, n, p, gamma, label_noise=noise)), snr2, 1e-9)


@pytest.mark.parametrize("gamma_source", [0.0, 0.3])
def test_source_of_infinitely_many_samples_is_a_shrunken_mean(gamma_source):
    mu, noise, m2 = 1.7, 0.2, 0.36 * 1.7**2 + 0.64 * 0.5**2
    arguments = {"mu": mu, "mu_perp": 0.5, "gamma_source": gamma_source, "label_noise_source": noise}
    s, w_perp2, target2 = source_numbers(-0.6, 50.0, n_source=1e18, **arguments)
    gain = (1 - 2 * noise) / (mu**2 + 1 + gamma_source)
    assert target2 == pytest.approx(m2, rel=1e-14)
    assert s == pytest.approx(-0.6 * gain * mu**2, rel=1e-14)
    assert w_perp2 == pytest.approx(0.64 * gain**2 * mu**2 * 0.5**2 / m2, rel=1e-13)


# Degenerate corners, by the documented rules.


@pytest.mark.parametrize("source", [{}, {"n_source": 500, "gamma_source": 0.5}])
@pytest.mark.parametrize("corner", [{"beta": 0.0, "mu": 1.2, "mu_perp": 0.0}, {"beta": 1.0, "mu": 0.0}])
def test_target_without_mean_is_a_coin_for_every_alpha(source, corner):
    problem = {"n": 50, "p": 200, "gamma": 0.4, "label_noise": 0.1} | corner | source
    assert ra.accuracy([-2.0, 0.0, 1.0, 1e200], **problem).tolist() == [0.5] * 4
    assert math.isnan(ra.optimal_alpha(**problem))
    assert math.isnan(ra.worst_alpha(**problem))
    law, exact = ra.margin_law(**problem), oracle.margin_law(**problem)
    assert relative_errors(five_numbers(law), [float(x) for x in exact[:5]]).max() <= PRECISION


def test_oracle_source_without_mean_leaves_the_target_to_itself():
    problem = {"beta": 0.5, "n": 50, "p": 200, "gamma": 0.4, "mu": 0.0, "mu_perp": 1.3}
    accuracies = ra.accuracy([-2.0, 0.0, 1.0, np.inf], **problem)
    assert math.isnan(ra.optimal_alpha(**problem))
    assert math.isnan(ra.worst_alpha(**problem))
    assert accuracies[0] > 0.6
    assert np.all(accuracies == accuracies[0])
    assert ra.margin_law(**problem).best_accuracy() == accuracies[0]


def test_source_trained_on_pure_noise_is_best_left_out():
    problem = {"beta": 0.5, "n": 50, "p": 200, "gamma": 0.4, "mu": 0.0, "n_source": 30, "gamma_source": 0.2}
    assert ra.optimal_alpha(**problem) == 0.0
    assert math.isnan(ra.worst_alpha(**problem))
    assert ra.accuracy(1.0, **problem) < ra.accuracy(0.0, **problem)


def test_orthogonal_tasks_with_an_oracle_source():
    problem = {"beta": 0.0, "n": 50, "p": 200, "gamma": 0.4, "mu": 1.3, "label_noise": 0.1}
    assert ra.optimal_alpha(**problem) == 0.0
    assert math.isnan(ra.worst_alpha(**problem))
    assert np.all(np.diff(ra.accuracy([0.0, 1.0, 2.0, 1e9], **problem)) < 0.0)


def test_source_at_its_own_interpolation_threshold_is_undefined():
    problem = {"beta": 0.5, "n": 50, "p": 200, "gamma": 0.4, "n_source": 200, "gamma_source": 0.0}
    law = ra.margin_law(**problem)
    assert math.isnan(ra.optimal_alpha(**problem))
    assert math.isnan(ra.accuracy(1.0, **problem))
    assert np.isnan(law.mean).all()
    assert np.isnan(law.cov).all()
    assert not math.isnan(ra.optimal_alpha(**problem | {"n_source": 201}))


def test_aligned_oracle_source_needs_no_off_target_part():
    """β = ±1: w⊥ = 0 and α* = (1 + κ + (1−t²)m²)/(t κ s)."""
    for beta in (-1.0, 1.0):
        kappa = effective_ridge(70, 30, 0.2)
        alpha = ra.optimal_alpha(beta, 70, 30, 0.2, mu=1.5, mu_perp=0.7, label_noise=0.1)
        want = (1 + kappa + 0.36 * 1.5**2) / (0.8 * kappa * beta * 1.5**2)
        assert alpha == pytest.approx(want, rel=1e-14)


# Invariants, over the whole legal domain.

EVERYDAY = (1e-10, 1e10)
EXTREMES = (5e-324, 1e-300, 1e-200, 1e-100, 1e100, 1e200, 1e300, 1.7e308)
COMMON = st.floats(-10, 10).map(lambda exponent: 10.0**exponent)
MODERATE = st.floats(-1.5, 1.5).map(lambda exponent: 10.0**exponent)
ALIGNMENTS = st.floats(-1, 1) | st.sampled_from([-1.0, -1 + 1e-15, -1e-300, 0.0, 1e-9, 1 - 1e-9, 1 - 2**-53, 1.0])
FLIPS = st.just(0.0) | st.floats(0, 0.49)


def problems_of(magnitude):
    """Every argument but β, with either kind of source."""
    size, penalty = magnitude, magnitude | st.just(0.0)
    norms = {"mu": penalty, "mu_perp": penalty}
    target = {"n": size, "p": size, "gamma": penalty, "label_noise": FLIPS} | norms
    source = {"n_source": size, "gamma_source": penalty, "label_noise_source": FLIPS}
    return st.fixed_dictionaries(target) | st.fixed_dictionaries(target | source)


PROBLEMS = problems_of(MODERATE) | problems_of(COMMON) | problems_of(COMMON | st.sampled_from(EXTREMES))


def may_be_undefined(beta, n, p, gamma, mu, mu_perp, n_source=None, gamma_source=None, **_noise):
    """Whether a rule makes α* nan: source forgotten or never there, no target mean, or beyond everyday magnitudes."""
    sizes = [x for x in (n, p, gamma, mu, mu_perp, n_source, gamma_source, abs(beta)) if x]
    return (
        (gamma == 0.0 and p <= n)
        or mu == 0.0
        or (mu_perp == 0.0 and beta == 0.0)
        or (gamma_source == 0.0 and n_source == p)
        or min(sizes) < EVERYDAY[0]
        or max(sizes) > EVERYDAY[1]
    )


def rounding(law):
    """How far the accuracy that float64 finds may be off, at any α.

    Errors of some ulp in M and V, seen where both variances are 1, and amplified where V is nearly singular.
    """
    m0, m1, v00, v01, v11 = (float(x) for x in five_numbers(law))
    if not (v00 > 0.0 and v11 > 0.0):
        return 1e-15
    sd0, sd1 = math.sqrt(v00), math.sqrt(v11)
    gap = 1.0 - abs(v01 / sd0 / sd1)
    return 1e-14 * (1.0 + abs(m0) / sd0 + abs(m1) / sd1) / max(gap, 1e-16) ** 1.5


def best_accuracy(beta, problem):
    """Accuracy at the closed form's α*, and its rounding error; nan only where a rule says so."""
    law = ra.margin_law(beta, **problem)
    alpha = ra.optimal_alpha(beta, **problem)
    accuracy = math.nan if math.isnan(alpha) else law.accuracy(alpha)
    assert not math.isnan(accuracy) or may_be_undefined(beta, **problem)
    return accuracy, rounding(law)


@unhurried
@given(beta=ALIGNMENTS, problem=PROBLEMS, alpha=st.floats(allow_nan=False), factor=st.floats(-3, 3))
@example(beta=0.5, problem={"n": 400, "p": 200, "gamma": 1e-200, "mu": 1, "mu_perp": 1}, alpha=1e200, factor=1.0)
@example(beta=0.5, problem={"n": 400, "p": 200, "gamma": 0.3, "mu": 2, "mu_perp": 1}, alpha=np.inf, factor=1.1)
def test_no_alpha_is_better_than_the_optimal_one(beta, problem, alpha, factor):
    best, error = best_accuracy(beta, problem)
    if not math.isnan(best):
        others = [alpha, ra.optimal_alpha(beta, **problem) * factor, 0.0, 1.0]
        assert best >= ra.accuracy(others, beta, **problem).max() - error


@unhurried
@given(beta=ALIGNMENTS, problem=PROBLEMS)
def test_covariance_is_positive_semi_definite(beta, problem):
    m0, _, v00, v01, v11 = five_numbers(ra.margin_law(beta, **problem))
    if np.isnan(m0):
        assert may_be_undefined(beta, **problem)
    elif v00 == np.inf:
        assert v01 == v11 == 0.0
    else:
        tiny = 5e-324  # what an entry may lose to underflow
        assert v00 >= 0.0
        assert v11 >= 0.0
        assert abs(v01) <= math.sqrt(v00 + tiny) * math.sqrt(v11 + tiny) * (1 + 1e-14)


@unhurried
@given(beta=ALIGNMENTS, problem=PROBLEMS)
def test_turning_the_source_round_turns_alpha_round_bit_for_bit(beta, problem):
    for function in (ra.optimal_alpha, ra.worst_alpha):
        np.testing.assert_array_equal(function(-beta, **problem), -function(beta, **problem))


@unhurried
@given(problem=PROBLEMS)
def test_orthogonal_source_is_left_out(problem):
    alpha = ra.optimal_alpha(0.0, **problem)
    assert alpha == 0.0 or (math.isnan(alpha) and may_be_undefined(0.0, **problem))


@unhurried
@given(
    s=st.floats(1e-6, 1e6),
    w_perp2=COMMON | st.just(0.0),
    target=st.fixed_dictionaries({"m2": COMMON, "n": COMMON, "p": COMMON, "gamma": COMMON, "label_noise": FLIPS}),
    power=st.integers(-30, 30),
    factor=st.floats(1e-3, 1e3),
)
def test_alpha_undoes_the_length_of_the_source(s, w_perp2, target, power, factor):
    alpha = fixed_source_optimal_alpha(s, w_perp2, **target)
    assert fixed_source_optimal_alpha(-s, w_perp2, **target) == -alpha
    scaled = fixed_source_optimal_alpha(-factor * s, factor**2 * w_perp2, **target)
    assert scaled == pytest.approx(-alpha / factor, rel=1e-14, abs=0.0)
    c = 2.0**power
    assert fixed_source_optimal_alpha(c * s, c * c * w_perp2, **target) == alpha / c
    law, longer = fixed_source_law(s, w_perp2, **target), fixed_source_law(c * s, c * c * w_perp2, **target)
    assert longer.accuracy(alpha / c) == pytest.approx(law.accuracy(alpha), rel=0.0, abs=rounding(law))


@unhurried
@given(betas=st.tuples(ALIGNMENTS, ALIGNMENTS), problem=PROBLEMS)
@example(betas=(0.3, 0.4), problem={"n": 200, "p": 400, "gamma": 0.1, "label_noise": 0.2, "mu": 1.0})
def test_better_alignment_never_hurts_at_equal_norms(betas, problem):
    problem = problem | {"mu_perp": problem["mu"]}
    (worse, error0), (better, error1) = (best_accuracy(beta, problem) for beta in sorted(betas, key=abs))
    assert not better < worse - error0 - error1


@unhurried
@given(beta=ALIGNMENTS, problem=PROBLEMS, factor=st.floats(1, 1e6))
def test_more_penalty_never_hurts(beta, problem, factor):
    stiffer = problem | {"gamma": min(problem["gamma"] * factor, 1.7e308)}
    (worse, error0), (better, error1) = best_accuracy(beta, problem), best_accuracy(beta, stiffer)
    assert not better < worse - error0 - error1


def test_any_penalty_beats_none():
    penalties = np.array([0.0, 1e-9, 1e-3, 0.1, 1.0, 10.0, 1e3, 1e9])
    for p in (100, 400):
        best = ra.margin_law(0.6, 200, p, penalties, mu=1.2, label_noise=0.1).best_accuracy()
        assert np.all(np.diff(best) > 0.0)


def test_more_target_samples_can_hurt():
    """Double descent at a small penalty (THEORY §4)."""
    best = ra.margin_law(0.3, n=[200, 380], p=400, gamma=0.01, n_source=2000, gamma_source=1.0).best_accuracy()
    assert best.round(3).tolist() == [0.667, 0.620]
    few, many = ra.margin_law(0.3, n=[200, 380], p=400, gamma=1e9, n_source=2000, gamma_source=1.0).best_accuracy()
    assert many > few


@unhurried
@given(beta=ALIGNMENTS.filter(bool), problem=PROBLEMS)
def test_worst_alpha_makes_a_coin(beta, problem):
    law = ra.margin_law(beta, **problem)
    worst = ra.worst_alpha(beta, **problem)
    assert not math.isnan(worst) or may_be_undefined(beta, **problem)
    if math.isfinite(worst) and rounding(law) < 0.1:
        assert law.accuracy(worst) == pytest.approx(0.5, rel=0.0, abs=rounding(law))
        assert law.accuracy(2 * worst) < 0.5 + rounding(law)


@unhurried
@given(beta=ALIGNMENTS, problem=PROBLEMS)
def test_closed_form_is_the_hubs_optimum(beta, problem):
    """Up to what V's near-singularity costs the hub; the closed form has no cancellation."""
    law, alpha = ra.margin_law(beta, **problem), ra.optimal_alpha(beta, **problem)
    m0, m1, v00, v01, v11 = (float(x) for x in five_numbers(law))
    if math.isnan(alpha) or not (v00 > 0.0 and v11 > 0.0):
        assert may_be_undefined(beta, **problem)
        return
    sd0, sd1 = math.sqrt(v00), math.sqrt(v11)
    correlation = v01 / sd0 / sd1
    x0 = m0 / sd0 - correlation * (m1 / sd1)
    lost = 1e-14 * (abs(m0) / sd0 + abs(m1) / sd1)
    if x0 > 1e3 * lost and 1 - abs(correlation) > 1e-13:
        assert law.optimal_alpha() == pytest.approx(alpha, rel=lost / x0, abs=lost / x0 * (sd0 / sd1))


# Calling conventions.

ARGUMENTS = {
    "beta": [0.3, -0.8],
    "n": [50.0, 400.0, 900.0],
    "p": [300.0, 700.0],
    "gamma": [0.02, 1.0, 3.0],
    "mu": [0.7, 1.6],
    "mu_perp": [0.5, 1.1, 1.9],
    "n_source": [80.0, 1000.0],
    "gamma_source": [0.1, 0.9, 4.0],
    "label_noise": [0.0, 0.2],
    "label_noise_source": [0.0, 0.1, 0.3],
}
ALPHA = {"alpha": [-1.0, 0.4]}
FIXED = {"s": [-0.5, 1.2], "w_perp2": [0.0, 0.3, 2.0], "m2": [0.4, 2.5]}
CALLS = [
    (ra.optimal_alpha, ARGUMENTS),
    (ra.worst_alpha, ARGUMENTS),
    (ra.accuracy, ALPHA | ARGUMENTS),
    (ra.risk, ALPHA | ARGUMENTS),
    (ra.margin_law, ARGUMENTS),
    (effective_ridge, {name: ARGUMENTS[name] for name in ("n", "p", "gamma")}),
    (source_numbers, {name: values for name, values in ARGUMENTS.items() if name not in ("n", "gamma", "label_noise")}),
    (fixed_source_law, FIXED | {name: ARGUMENTS[name] for name in ("n", "p", "gamma", "label_noise")}),
    (fixed_source_optimal_alpha, FIXED | {name: ARGUMENTS[name] for name in ("n", "p", "gamma", "label_noise")}),
]


def as_arrays(result):
    """The parts of a result, each an array of the batch's shape (or broadcasting to it)."""
    if isinstance(result, ra.MarginLaw):
        return list(five_numbers(result))
    return [np.asarray(part) for part in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize(("function", "arguments"), CALLS, ids=lambda x: getattr(x, "__name__", ""))
def test_every_argument_broadcasts_along_an_axis_of_its_own(function, arguments):
    lengths = [len(values) for values in arguments.values()]
    axes = np.ix_(*map(np.array, arguments.values()))
    batch = as_arrays(function(**dict(zip(arguments, axes, strict=True))))
    assert np.broadcast_shapes(*(part.shape for part in batch)) == tuple(lengths)
    batch = [np.broadcast_to(part, lengths) for part in batch]
    for index in np.random.default_rng(5).integers(lengths, size=(60, len(lengths))):
        single = as_arrays(function(**{name: v[i] for (name, v), i in zip(arguments.items(), index, strict=True)}))
        assert all(part.shape == () for part in single)
        np.testing.assert_allclose([part[tuple(index)] for part in batch], single, rtol=1e-14)


@pytest.mark.parametrize("function", [ra.optimal_alpha, ra.worst_alpha])
def test_result_has_the_full_shape_even_where_an_argument_does_not_matter(function):
    assert function(0.5, [50, 60], 70, 0.1, label_noise=[[0.1], [0.2], [0.3]]).shape == (3, 2)
    assert function(0.5, 50, 70, np.full((2, 2), 0.1)).shape == (2, 2)
    assert function(0.5, 50, 70, 0.1, label_noise_source=[0.0, 0.0]).shape == (2,)
    assert function(np.zeros((0, 3)), 50, 70, 0.1).shape == (0, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beta", "n", "gamma", "label_noise_source"])
def test_long_sweep_of_one_argument_is_its_pieces(name):
    """Long enough for every way in which a kernel may go through an array, and not contiguous."""
    problem = {argument: values[0] for argument, values in ARGUMENTS.items()}
    sweep = np.linspace(*ARGUMENTS[name][:2], 120_006).reshape(3, -1)[:, ::-1]
    whole = [ra.optimal_alpha(**problem | {name: sweep}), ra.accuracy(0.4, **problem | {name: sweep})]
    for index in [(0, 0), (1, 7), (2, 20_000), (2, -1)]:
        piece = problem | {name: sweep[index]}
        single = [ra.optimal_alpha(**piece), ra.accuracy(0.4, **piece)]
        np.testing.assert_allclose([part[index] for part in whole], single, rtol=1e-14)


@pytest.mark.parametrize(("function", "arguments"), CALLS, ids=lambda x: getattr(x, "__name__", ""))
def test_scalars_of_every_kind_give_python_floats(function, arguments):
    scalars = {name: values[1] for name, values in arguments.items()}
    want = function(**scalars)
    for kind in (np.float64, np.array, lambda x: int(x) if x.is_integer() else x):
        got = function(**{name: kind(x) for name, x in scalars.items()})
        np.testing.assert_array_equal(as_arrays(got), as_arrays(want))
        if not isinstance(got, ra.MarginLaw):
            assert {type(part) for part in (got if isinstance(got, tuple) else (got,))} == {float}


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float32, np.float16])
def test_arrays_of_any_real_type_are_taken_at_their_value(dtype):
    n = np.array([[20, 30], [40, 200]], dtype=dtype)
    got = ra.optimal_alpha(0.5, n, 50, 0.1)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, ra.optimal_alpha(0.5, n.tolist(), 50, 0.1))


SHORT_CALLS = [
    ra.optimal_alpha,
    ra.worst_alpha,
    lambda *args: ra.accuracy(0.7, *args),
    lambda *args: ra.risk(0.7, *args),
]
BETAS, SAMPLES = np.array([-0.2, 0.5, 0.9]), np.array([30.0, 500.0])


@pytest.mark.parametrize("function", SHORT_CALLS)
def test_xarray_keeps_its_labels(function):
    xr = pytest.importorskip("xarray")
    beta = xr.DataArray(BETAS, dims="beta", coords={"beta": BETAS})
    n = xr.DataArray(SAMPLES, dims="n", coords={"n": SAMPLES})
    result = function(beta, n, 100, 0.1)
    assert result.dims == ("beta", "n")
    np.testing.assert_array_equal(result.coords["n"], SAMPLES)
    np.testing.assert_array_equal(result.values, function(BETAS[:, None], SAMPLES, 100, 0.1))


@pytest.mark.parametrize("function", SHORT_CALLS)
def test_pandas_keeps_its_index(function):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"beta": BETAS, "n": [30, 500, 40]}, index=["a", "b", "c"])
    result = function(frame["beta"], frame["n"], 100, 0.1)
    assert isinstance(result, pd.Series)
    assert result.index.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(result.to_numpy(), function(BETAS, frame["n"].to_numpy(), 100, 0.1))


@pytest.mark.parametrize("name", ["optimal_alpha", "worst_alpha", "limit_accuracy", "accuracy_std", "trained_alpha"])
def test_results_are_called_what_they_are(name):
    """An array of α that is called beta, as its argument is, could not stand beside it in a table."""
    xr, pd = pytest.importorskip("xarray"), pytest.importorskip("pandas")
    function = getattr(ra, name)
    others = (100, 200, 0.5)[: 2 if name == "limit_accuracy" else 3]
    if name == "accuracy_std":
        function = partial(function, 1.0)
    result = function(xr.DataArray(BETAS, dims="beta", coords={"beta": BETAS}, name="beta"), *others)
    assert result.to_dataset()[name].dims == ("beta",)
    assert function(pd.Series(BETAS, name="beta"), *others).name == name


@pytest.mark.parametrize("function", SHORT_CALLS)
def test_dask_stays_lazy(function):
    da = pytest.importorskip("dask.array")
    result = function(da.from_array(BETAS, chunks=2)[:, None], da.from_array(SAMPLES, chunks=1), 100, 0.1)
    assert isinstance(result, da.Array)
    assert result.chunks == ((2, 1), (1, 1))
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result.compute(), function(BETAS[:, None], SAMPLES, 100, 0.1))


@pytest.mark.parametrize("function", SHORT_CALLS)
def test_bad_value_inside_a_lazy_array_is_refused_when_computed(function):
    da = pytest.importorskip("dask.array")
    lazy = function(da.from_array(np.array([0.5, 1.1]), chunks=1), 30, 100, 0.1)
    with pytest.raises(ValueError, match=r"beta must be in \[-1, 1\], got 1\.1"):
        lazy.compute()


def test_the_ends_of_the_range_belong_to_it():
    for gamma in (1e-60, 1e60):
        assert np.isfinite(ra.optimal_alpha(0.9, 200, 100, gamma))
    assert np.isfinite(ra.optimal_alpha(0.9, 200, 100, 0.1, mu=1e-30, mu_perp=1e-30))
    for beyond in ({"gamma": 9e-61}, {"gamma": 0.1, "mu": 9e-31}):
        assert np.isnan(ra.optimal_alpha(0.9, 200, 100, **beyond))
