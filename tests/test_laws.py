"""The hub: MarginLaw and RiskLaw, single and batched, with no, one and several sources."""

import copy
import dataclasses
import itertools
import pickle

import numpy as np
import pytest
from mpmath import mp, mpf
from scipy import optimize, stats

import rmt_alpha as ra
from rmt_alpha import MarginLaw, RiskLaw
from rmt_alpha.laws import is_positive

INF = np.inf


def random_laws(seed, n_sources, shape=()):
    """Laws with a mean that is mostly, but not always, best used with the target's own part."""
    rng = np.random.default_rng(seed)
    size = n_sources + 1
    mean = rng.normal(size=(*shape, size))
    mean[..., 0] += 1.5
    factor = rng.normal(size=(*shape, size, size + 2)) * rng.uniform(0.1, 3.0, size=(*shape, size, 1))
    return MarginLaw(mean, factor @ np.swapaxes(factor, -1, -2))


def weights(alpha, n_sources):
    """a = (1, α)."""
    return np.concatenate([[1.0], np.reshape(alpha, n_sources)])


def plain_accuracy(law, a):
    """Φ(a·M/√(aᵀVa)) of one law in any direction a."""
    return stats.norm.cdf(a @ law.mean / np.sqrt(a @ law.cov @ a))


def single_alphas(seed, n_sources, count=5):
    rng = np.random.default_rng(seed)
    return list(rng.normal(scale=2.0, size=(count, n_sources)) if n_sources > 1 else rng.normal(scale=2.0, size=count))


# Accuracy, error and risk are what THEORY §2 says.


@pytest.mark.parametrize("n_sources", [0, 1, 2, 3])
def test_answers_of_a_single_law(n_sources):
    law = random_laws(1, n_sources)
    for alpha in single_alphas(2, n_sources) if n_sources else [None]:
        a = weights([] if alpha is None else alpha, n_sources)
        accuracy, mean, variance = plain_accuracy(law, a), a @ law.mean, a @ law.cov @ a
        assert law.accuracy(alpha) == pytest.approx(accuracy, rel=1e-13)
        assert law.error(alpha) == pytest.approx(1 - accuracy, rel=1e-12)
        assert law.risk(alpha) == pytest.approx((1 - mean) ** 2 + variance, rel=1e-13)
        assert {type(answer(alpha)) for answer in (law.accuracy, law.error, law.risk)} == {float}


@pytest.mark.parametrize("n_sources", [0, 1, 2, 3])
def test_batch_answers_are_those_of_its_members(n_sources):
    laws = random_laws(3, n_sources, (4, 3))
    alpha = np.random.default_rng(4).normal(size=(3, n_sources))
    alpha = alpha[..., 0] if n_sources == 1 else alpha
    arguments = (alpha,) if n_sources else ()
    for i, j in np.ndindex(4, 3):
        one = laws[i, j]
        own = (alpha[j],) if n_sources else ()
        for name in ("accuracy", "error", "risk"):
            assert getattr(laws, name)(*arguments)[i, j] == pytest.approx(getattr(one, name)(*own), rel=1e-14)
        for name in ("optimal_alpha", "risk_optimal_alpha", "best_direction", "best_accuracy"):
            np.testing.assert_allclose(getattr(laws, name)()[i, j], getattr(one, name)(), rtol=1e-12)
        assert laws.risk_law().risk(*arguments)[i, j] == pytest.approx(one.risk(*own), rel=1e-13)


def test_one_source_needs_no_trailing_axis_and_broadcasts_like_an_array():
    laws = random_laws(5, 1, (3,))
    curve = np.linspace(-2, 2, 7)
    per_law = laws.accuracy(curve[:, None])
    assert per_law.shape == (7, 3)
    for k in range(3):
        np.testing.assert_allclose(per_law[:, k], laws[k].accuracy(curve), rtol=1e-15)
    assert laws.optimal_alpha().shape == laws.worst_alpha().shape == laws.best_accuracy().shape == (3,)
    assert laws.best_direction().shape == (3, 2)


def test_several_sources_carry_a_trailing_axis():
    laws = random_laws(6, 2, (3,))
    assert laws.accuracy(np.zeros((7, 1, 2))).shape == (7, 3)
    assert laws.optimal_alpha().shape == laws.risk_optimal_alpha().shape == (3, 2)
    assert laws.best_direction().shape == (3, 3)
    assert laws.accuracy([0.0, 0.0]).shape == (3,)


def test_a_source_with_weight_zero_does_not_count():
    law = random_laws(7, 2)
    alone = MarginLaw(law.mean[:2], law.cov[:2, :2])
    assert law.accuracy([0.7, 0.0]) == pytest.approx(alone.accuracy(0.7), rel=1e-14)
    scratch = MarginLaw(law.mean[:1], law.cov[:1, :1])
    assert law.accuracy([0.0, 0.0]) == pytest.approx(scratch.accuracy(), rel=1e-14)


@pytest.mark.parametrize("snr", [-37.0, -3.0, -0.1, 0.0, 0.1, 3.0, 8.0, 20.0, 37.0])
def test_error_is_exact_in_both_tails(snr):
    law = MarginLaw([snr * 1.5, 1.0], [[2.25, 0.0], [0.0, 1.0]])
    with mp.workdps(50):
        exact = float(mp.ncdf(-mpf(snr)))
    assert law.error(0.0) == pytest.approx(exact, rel=1e-15 * (4 + snr**2))
    assert law.accuracy(0.0) == pytest.approx(float(mp.ncdf(snr)), rel=1e-15 * (4 + snr**2))
    assert law.accuracy(0.0) + law.error(0.0) == pytest.approx(1.0, rel=4e-16)


def test_accuracy_below_a_half_is_shown():
    law = MarginLaw([-1.0, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    assert law.accuracy(0.0) == pytest.approx(stats.norm.cdf(-1.0), rel=1e-14)
    assert law.accuracy(-1.0) < law.accuracy(0.0)


# The special values of α.


def best_numeric_alpha(law):
    """Brute force: the best direction a = (cos θ, sin θ), a₀ > 0, of a law with one source."""
    sd = np.sqrt(np.diag(law.cov))

    def loss(theta):
        a = np.array([np.cos(theta), np.sin(theta)]) / sd
        return -(a @ law.mean) / np.sqrt(a @ law.cov @ a)

    grid = np.linspace(-np.pi / 2, np.pi / 2, 2001)[1:-1]
    start = grid[np.argmin([loss(theta) for theta in grid])]
    found = optimize.minimize_scalar(
        loss, bounds=(start - 2e-3, start + 2e-3), method="bounded", options={"xatol": 1e-11}
    )
    return np.tan(found.x) * sd[0] / sd[1], stats.norm.cdf(-found.fun)


def inner_laws(seed, n_sources, count):
    """Single laws whose optimum is finite: V⁻¹M has a positive first entry."""
    laws = random_laws(seed, n_sources, (4 * count,))
    inside = np.linalg.solve(laws.cov, laws.mean[..., None])[:, 0, 0] > 0.0
    return [laws[i] for i in np.flatnonzero(inside)[:count]]


def test_optimal_alpha_is_the_brute_force_optimum_for_one_source():
    for law in inner_laws(8, 1, 20):
        alpha, accuracy = best_numeric_alpha(law)
        assert law.optimal_alpha() == pytest.approx(alpha, rel=1e-6, abs=1e-6)
        assert law.accuracy(law.optimal_alpha()) == pytest.approx(accuracy, rel=1e-13)
        assert law.best_accuracy() == pytest.approx(accuracy, rel=1e-13)


@pytest.mark.parametrize("n_sources", [2, 3])
def test_optimal_alpha_is_the_brute_force_optimum_for_several_sources(n_sources):
    for law in inner_laws(9, n_sources, 6):
        best = law.optimal_alpha()
        starts = [np.zeros(n_sources), best + 1.0, best * 0.5]
        found = [optimize.minimize(lambda a, law=law: law.error(a), start, tol=1e-12) for start in starts]
        least = min(found, key=lambda result: result.fun)
        assert law.error(best) <= least.fun * (1 + 1e-12)
        np.testing.assert_allclose(best, least.x, rtol=1e-3, atol=1e-3)
        assert law.best_accuracy() == pytest.approx(law.accuracy(best), rel=1e-13)


def test_kernel_of_one_source_agrees_with_the_general_solution():
    laws = random_laws(10, 1, (200,))
    direction, alpha = laws.best_direction(), laws.optimal_alpha()
    finite = np.isfinite(alpha)
    assert 100 < finite.sum() < 200
    np.testing.assert_allclose(direction[finite], np.stack([np.ones(200), alpha], axis=-1)[finite], rtol=1e-10)
    np.testing.assert_array_equal(direction[~finite, 0], 0.0)
    np.testing.assert_array_equal(direction[~finite, 1], np.sign(alpha[~finite]))
    np.testing.assert_allclose(laws.best_accuracy(), laws.accuracy(alpha), rtol=1e-13)


def test_scale_of_the_units_does_not_matter():
    """M and V in other units of the margin and of the source: α* in the inverse units, also far from 1."""
    law = inner_laws(11, 1, 1)[0]
    for margin, source in itertools.product([1e-60, 1.0, 1e60], [1e-50, 1.0, 1e50]):
        a = margin * np.array([1.0, source])
        scaled = MarginLaw(a * law.mean, np.outer(a, a) * law.cov)
        assert scaled.optimal_alpha() == pytest.approx(law.optimal_alpha() / source, rel=1e-12)
        assert scaled.best_direction()[1] == pytest.approx(law.optimal_alpha() / source, rel=1e-12)
        assert scaled.best_accuracy() == pytest.approx(law.best_accuracy(), rel=1e-13)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_optimum_of_one_source_at_infinity(sign):
    """x[0] < 0: the target's own part only harms, and the supremum Φ(|M₁|/√V₁₁) is reached at sign(M₁)·inf."""
    law = MarginLaw([-0.3, sign * 0.8], [[1.0, 0.1], [0.1, 0.5]])
    assert law.optimal_alpha() == sign * INF
    assert law.best_direction().tolist() == [0.0, sign]
    supremum = stats.norm.cdf(0.8 / np.sqrt(0.5))
    assert law.best_accuracy() == pytest.approx(supremum, rel=1e-14)
    assert law.accuracy(law.optimal_alpha()) == pytest.approx(supremum, rel=1e-14)
    assert np.all(law.accuracy(sign * np.geomspace(0.1, 1e6, 50)) < supremum)


def test_optimum_of_several_sources_at_infinity():
    law = MarginLaw([-0.3, 0.8, 0.2], [[1.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, 0.9]])
    assert np.isnan(law.optimal_alpha()).all()
    direction = law.best_direction()
    u = np.linalg.solve(law.cov[1:, 1:], law.mean[1:])
    np.testing.assert_allclose(direction, [0.0, *(u / np.linalg.norm(u))], rtol=1e-14)
    supremum = stats.norm.cdf(np.sqrt(law.mean[1:] @ u))
    assert law.best_accuracy() == pytest.approx(supremum, rel=1e-14)
    assert law.accuracy(1e8 * direction[1:]) == pytest.approx(supremum, rel=1e-7)


@pytest.mark.parametrize("n_sources", [1, 2])
def test_no_direction_beats_the_best(n_sources):
    laws = random_laws(12, n_sources, (50,))
    rng = np.random.default_rng(13)
    best = laws.best_accuracy()
    for law, most in zip((laws[i] for i in range(50)), best, strict=True):
        a = rng.normal(size=(200, n_sources + 1))
        a[:, 0] = np.abs(a[:, 0])
        assert max(plain_accuracy(law, row) for row in a) <= most * (1 + 1e-14)


@pytest.mark.parametrize(
    "cov",
    [
        [[1.0, 2.0], [2.0, 4.0]],
        [[1.0, 0.0], [0.0, 0.0]],
        [[0.0, 0.0], [0.0, 1.0]],
        [[INF, 0.0], [0.0, 1.0]],
        [[0.5, 0.1, 0.1], [0.1, 0.3, 0.3], [0.1, 0.3, 0.3]],
        [[INF, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    ],
)
def test_singular_covariance_has_no_optimum(cov):
    law = MarginLaw([0.5, 0.4, 0.3][: len(cov)], cov)
    assert np.isnan(law.optimal_alpha()).all()
    assert np.isnan(law.best_direction()).all()
    assert np.isnan(law.best_accuracy())


def test_barely_regular_covariance_has_an_optimum():
    for gap, regular in [(1e-13, True), (1e-16, False)]:
        law = MarginLaw([0.5, 0.4], [[1.0, 1.0 - gap], [1.0 - gap, 1.0]])
        assert np.isfinite(law.optimal_alpha()) == regular
        assert np.isfinite(law.best_direction()).all() == regular


@pytest.mark.parametrize("n_sources", [1, 2])
def test_forgotten_sources_leave_the_accuracy_of_the_target_alone(n_sources):
    size = n_sources + 1
    cov = np.zeros((size, size))
    cov[0, 0] = 1.44
    law = MarginLaw([0.6] + [0.0] * n_sources, cov)
    accuracy = stats.norm.cdf(0.5)
    assert law.best_accuracy() == pytest.approx(accuracy, rel=1e-14)
    assert np.isnan(law.optimal_alpha()).all()
    for alpha in (0.0, -3.0, 1e200):
        assert law.accuracy(alpha if n_sources == 1 else [alpha, 1.0]) == pytest.approx(accuracy, rel=1e-14)
    mixed = MarginLaw([[0.6, 0.0], [0.6, 0.4]], [[[1.44, 0.0], [0.0, 0.0]], [[1.44, 0.0], [0.0, 0.0]]])
    assert np.isnan(mixed.best_accuracy()).tolist() == [False, True]


def test_worst_alpha_is_the_zero_of_the_mean():
    laws = random_laws(14, 1, (30,))
    worst = laws.worst_alpha()
    np.testing.assert_allclose(worst, -laws.mean[:, 0] / laws.mean[:, 1], rtol=1e-15)
    np.testing.assert_allclose(laws.accuracy(worst), 0.5, rtol=1e-14)
    beyond = worst - np.sign(laws.mean[:, 1])
    assert np.all(laws.accuracy(beyond) < 0.5)
    assert np.isnan(MarginLaw([0.5, 0.0], np.eye(2)).worst_alpha())


@pytest.mark.parametrize("n_sources", [0, 2])
def test_worst_alpha_needs_one_source(n_sources):
    with pytest.raises(ValueError, match=f"worst_alpha needs a law with one source, this one has {n_sources}"):
        random_laws(15, n_sources).worst_alpha()


@pytest.mark.parametrize("n_sources", [1, 2, 3])
def test_risk_optimal_alpha_is_the_numeric_minimum(n_sources):
    laws = random_laws(16, n_sources, (5,))
    best = laws.risk_optimal_alpha()
    for i in range(5):
        found = optimize.minimize(laws[i].risk, np.zeros(n_sources) if n_sources > 1 else 0.0, tol=1e-12)
        np.testing.assert_allclose(np.atleast_1d(best[i]), found.x, rtol=1e-5, atol=1e-6)
        assert laws[i].risk(best[i]) <= found.fun * (1 + 1e-14)


def test_risk_optimal_alpha_is_not_the_optimal_alpha():
    law = inner_laws(17, 1, 1)[0]
    m0, m1 = law.mean
    (v00, v01), (_, v11) = law.cov
    assert law.risk_optimal_alpha() == pytest.approx(((1 - m0) * m1 - v01) / (m1**2 + v11), rel=1e-13)
    assert law.optimal_alpha() == pytest.approx((m1 * v00 - m0 * v01) / (m0 * v11 - m1 * v01), rel=1e-12)
    assert law.risk(law.risk_optimal_alpha()) < law.risk(law.optimal_alpha())


@pytest.mark.parametrize("n_sources", [0, 1, 2])
@pytest.mark.parametrize("label_noise", [0.0, 0.15, 0.49])
def test_risk_law_for_observed_labels(n_sources, label_noise):
    law = random_laws(18, n_sources)
    risk_law = law.risk_law(label_noise)
    t = 1 - 2 * label_noise
    for alpha in single_alphas(19, n_sources) if n_sources else [None]:
        a = weights([] if alpha is None else alpha, n_sources)
        mean, variance = a @ law.mean, a @ law.cov @ a
        assert risk_law.risk(alpha) == pytest.approx(1 - 2 * t * mean + mean**2 + variance, rel=1e-12)
    assert risk_law.n_sources == n_sources


def test_risk_law_broadcasts_label_noise_against_the_batch():
    laws = random_laws(20, 1, (3,))
    noise = np.array([[0.0], [0.2]])
    batch = laws.risk_law(noise)
    assert batch.shape == (2, 3)
    for i, j in np.ndindex(2, 3):
        one = laws[j].risk_law(noise[i, 0])
        assert batch.risk(0.7)[i, j] == pytest.approx(one.risk(0.7), rel=1e-14)
        assert batch.optimal_alpha()[i, j] == pytest.approx(one.optimal_alpha(), rel=1e-13)


# RiskLaw on its own.


@pytest.mark.parametrize("n_sources", [1, 2, 3])
def test_risk_law_minimum(n_sources):
    rng = np.random.default_rng(21)
    factor = rng.normal(size=(4, n_sources, n_sources + 1))
    law = RiskLaw(rng.uniform(5, 9, 4), rng.normal(size=(4, n_sources)), factor @ np.swapaxes(factor, -1, -2))
    best = np.reshape(law.optimal_alpha(), (4, n_sources))
    np.testing.assert_allclose(np.einsum("...jk,...k->...j", law.quadratic, best), law.linear, rtol=1e-9)
    np.testing.assert_allclose(law.best_risk(), law.constant - np.sum(law.linear * best, axis=-1), rtol=1e-10)
    shifted = best + 0.1 * rng.normal(size=best.shape)
    assert np.all(law.risk(shifted[..., 0] if n_sources == 1 else shifted) > law.best_risk())


def test_singular_risk_law_has_no_single_minimum():
    law = RiskLaw([1.0, 1.0], [[0.5, 0.5], [0.5, 0.5]], [[[1.0, 1.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    assert np.isnan(law.optimal_alpha()).tolist() == [[True, True], [False, False]]
    assert np.isnan(law.best_risk()).tolist() == [True, False]
    assert law.best_risk()[1] == pytest.approx(0.5)


def test_risk_law_without_sources_is_a_constant():
    law = RiskLaw([2.0, 3.0], np.zeros((2, 0)), np.zeros((2, 0, 0)))
    assert law.risk().tolist() == law.best_risk().tolist() == [2.0, 3.0]
    assert law.optimal_alpha().shape == (2, 0)


# The far ends.


def test_infinite_alpha_is_the_limit():
    law = MarginLaw([0.5, 0.4], [[1.0, 0.1], [0.1, 0.5]])
    limit = stats.norm.cdf(0.4 / np.sqrt(0.5))
    assert law.accuracy([-INF, INF]) == pytest.approx([1 - limit, limit], rel=1e-14)
    assert law.error([-INF, INF]) == pytest.approx([limit, 1 - limit], rel=1e-14)
    assert law.risk([-INF, INF]).tolist() == [INF, INF]
    assert MarginLaw([1.0, 1.0], [[INF, 0.0], [0.0, 1.0]]).accuracy([0.0, 2.0, -INF, INF]).tolist() == [0.5] * 4


def test_huge_alpha_does_not_overflow():
    law = MarginLaw([0.5, 0.4], [[1.0, 0.1], [0.1, 0.5]])
    huge = np.array([-1e308, -1e200, 1e200, 1e308])
    np.testing.assert_allclose(law.accuracy(huge), law.accuracy(np.sign(huge) * INF), rtol=1e-15)
    assert law.risk(1e100) == pytest.approx(0.66e200, rel=1e-14)
    assert law.risk(huge).tolist() == [INF] * 4
    assert law.risk_law().risk(1e200) == INF


def test_huge_alphas_of_several_sources_do_not_overflow():
    law = MarginLaw([0.5, 0.4, 0.3], [[1.0, 0.1, 0.0], [0.1, 0.5, 0.2], [0.0, 0.2, 0.9]])
    for direction in ([1.0, 0.0], [0.3, -0.7]):
        far = plain_accuracy(law, np.array([0.0, *direction]))
        for scale in (1e100, 1e200, 1e307):
            assert law.accuracy(np.multiply(scale, direction)) == pytest.approx(far, rel=1e-14)
            assert law.error(np.multiply(scale, direction)) == pytest.approx(1 - far, rel=1e-13)
    assert law.risk([1e200, 1e200]) == INF


def test_margin_without_noise_is_certain():
    law = MarginLaw([0.5, 0.4], np.zeros((2, 2)))
    assert law.accuracy([0.0, -1.0, -1.25, -2.0])[[0, 1, 3]].tolist() == [1.0, 1.0, 0.0]
    assert np.isnan(law.accuracy(-1.25))


def test_a_risk_that_forgets_its_sources_is_the_same_for_every_alpha():
    law = RiskLaw([0.7, 0.7, 0.7], [[0.0], [0.5], [0.5]], [[[0.0]], [[0.0]], [[2.0]]])
    np.testing.assert_array_equal(law.best_risk(), [0.7, np.nan, 0.575])
    several = RiskLaw(0.7, [0.0, 0.0], np.zeros((2, 2)))
    assert several.best_risk() == 0.7


def test_a_risk_is_never_negative():
    x = 1 / 1.7
    law = RiskLaw(1.0, [1.0 / x], [[1.0 / x**2]])  # (1 − α/x)²
    assert (np.asarray(law.risk(np.linspace(0.5, 0.7, 4001))) >= 0.0).all()
    assert law.best_risk() >= 0.0


# Containers.


def test_indexing_selects_along_the_batch():
    laws = random_laws(22, 2, (3, 4))
    assert laws.shape == (3, 4)
    assert len(laws) == 3
    for index in (0, -1, slice(1, None), (slice(None), 2), (..., [0, 3]), ([0, 2], [1, 1]), (None, 1), (0, 0)):
        picked = laws[index]
        assert isinstance(picked, MarginLaw)
        assert picked.n_sources == 2
        rest = np.broadcast_to(np.arange(12).reshape(3, 4)[index], picked.shape)
        np.testing.assert_array_equal(picked.mean, laws.mean.reshape(12, 3)[rest])
        np.testing.assert_array_equal(picked.cov, laws.cov.reshape(12, 3, 3)[rest])
    risks = RiskLaw(np.arange(6.0).reshape(2, 3), np.zeros((2, 3, 1)), np.ones((2, 3, 1, 1)))
    assert risks[1, 2].constant == 5.0  # whose batch leaves nothing of the array
    mask = laws.best_accuracy() > np.median(laws.best_accuracy())
    assert laws[mask].shape == (6,)
    assert [law.shape for law in laws] == [(4,)] * 3


def test_indexing_errors():
    laws = random_laws(23, 1, (3,))
    with pytest.raises(IndexError):
        laws[3]
    with pytest.raises(IndexError, match="single law"):
        laws[0][0]
    with pytest.raises(TypeError, match="single law"):
        len(laws[0])


def test_empty_batch_gives_empty_answers():
    for n_sources in (1, 2):
        laws = random_laws(24, n_sources, (0,))
        assert len(laws) == 0
        assert laws.best_accuracy().shape == (0,)
        assert laws.optimal_alpha().shape == ((0,) if n_sources == 1 else (0, 2))
        assert laws.accuracy(0.5 if n_sources == 1 else [0.5, 0.5]).shape == (0,)


def test_repr_tells_what_is_inside():
    law = MarginLaw([0.5, 0.25], [[1.0, 0.125], [0.125, 0.5]])
    assert repr(law) == "MarginLaw(mean=[0.5, 0.25], cov=[[1.0, 0.125], [0.125, 0.5]])"
    copy = eval(repr(law))
    assert copy.accuracy(2.0) == law.accuracy(2.0)
    assert repr(random_laws(25, 3, (2, 5))) == "MarginLaw(shape=(2, 5), n_sources=3)"
    assert repr(law.risk_law()) == "RiskLaw(shape=(), n_sources=1)"


LAWS = {
    "MarginLaw": (MarginLaw([[0.5, 0.4]], [[[1.0, 0.1], [0.1, 0.5]]]), ("mean", "cov")),
    "MarginLaw of a front": (ra.margin_law([0.5], 20, 30, 0.1), ("mean", "cov")),
    "MarginLaw by index": (ra.margin_law([0.5], 20, 30, 0.1)[:1], ("mean", "cov")),
    "RiskLaw": (RiskLaw([1.0], [[0.5]], [[[2.0]]]), ("constant", "linear", "quadratic")),
    "RiskLaw of a margin": (MarginLaw([[0.5, 0.4]], [np.eye(2)]).risk_law(), ("constant", "linear", "quadratic")),
}


@pytest.mark.parametrize(("law", "names"), LAWS.values(), ids=LAWS)
def test_laws_cannot_be_changed(law, names):
    for name in names:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(law, name, 0.0)
        with pytest.raises(ValueError, match="read-only"):
            getattr(law, name)[...] = 7.0


def test_laws_keep_no_reference_to_the_callers_arrays():
    mean, cov, linear = np.array([0.5, 0.4]), np.array([[1.0, 0.1], [0.1, 0.5]]), np.array([0.5])
    law, risk_law = MarginLaw(mean, cov), RiskLaw(1.0, linear, [[2.0]])
    before = law.accuracy(1.0), risk_law.risk(1.0)
    for array in (mean, cov, linear):
        array[...] = 9.0
    assert (law.accuracy(1.0), risk_law.risk(1.0)) == before


# Refusals.

EYE = np.eye(2)


@pytest.mark.parametrize(
    ("mean", "cov", "name"),
    [
        (0.5, [[1.0]], "mean"),
        ([], np.zeros((0, 0)), "mean"),
        ([0.5, np.nan], EYE, "mean"),
        ([0.5, INF], EYE, "mean"),
        (["0.5", "0.4"], EYE, "mean"),
        ([0.5, 0.4j], EYE, "mean"),
        ([0.5, 0.4], np.eye(3), "cov"),
        ([0.5, 0.4], [1.0, 1.0], "cov"),
        ([[0.5, 0.4]], EYE, "cov"),
        ([0.5, 0.4], [[1.0, np.nan], [np.nan, 1.0]], "cov"),
        ([0.5, 0.4], [[1.0, INF], [INF, 1.0]], "cov"),
        ([0.5, 0.4], [[-INF, 0.0], [0.0, 1.0]], "cov"),
        ([0.5, 0.4], [[1.0, 0.2], [0.1, 1.0]], "cov"),
        ([0.5, 0.4], [[1.0, 2.0], [2.0, 1.0]], "cov"),
        ([0.5, 0.4], [[1.0, 0.0], [0.0, -1e-9]], "cov"),
        ([0.5, 0.4], [[-1.0, 0.0], [0.0, INF]], "cov"),
        ([0.5, 0.4], [[1.0, 0.0], [0.0]], "cov"),
        ([[0.5, 0.4]] * 2, [EYE, [[1.0, 2.0], [2.0, 1.0]]], "cov"),
    ],
)
def test_margin_law_refuses(mean, cov, name):
    with pytest.raises(ValueError, match=rf"^{name} must"):
        MarginLaw(mean, cov)


@pytest.mark.parametrize(
    ("constant", "linear", "quadratic", "name"),
    [
        (np.nan, [0.5], [[1.0]], "constant"),
        ([1.0], [0.5], [[1.0]], "constant"),
        (True, [0.5], [[1.0]], "constant"),
        (1.0, 0.5, [[1.0]], "linear"),
        (1.0, [INF], [[1.0]], "linear"),
        (1.0, [0.5], [1.0], "quadratic"),
        (1.0, [0.5], [[INF]], "quadratic"),
        (1.0, [0.5], [[-1.0]], "quadratic"),
        (1.0, [0.5, 0.5], [[1.0, 0.3], [0.2, 1.0]], "quadratic"),
    ],
)
def test_risk_law_refuses(constant, linear, quadratic, name):
    with pytest.raises(ValueError, match=rf"^{name} must"):
        RiskLaw(constant, linear, quadratic)


def test_tolerance_of_symmetry_is_relative():
    for scale in (1e-150, 1.0, 1e150):
        MarginLaw([0.0, 0.0], scale * np.array([[1.0, 0.5], [0.5 + 1e-12, 1.0]]))
        MarginLaw([0.0, 0.0], scale * np.array([[1.0, 1.0 + 1e-12], [1.0 + 1e-12, 1.0]]))
        with pytest.raises(ValueError, match="cov must be symmetric"):
            MarginLaw([0.0, 0.0], scale * np.array([[1.0, 0.5], [0.5 + 1e-8, 1.0]]))


@pytest.mark.parametrize("method", ["accuracy", "error", "risk"])
def test_alpha_is_checked(method):
    single, double, none = (getattr(random_laws(26, k, (4,)), method) for k in (1, 2, 0))
    for call, alpha, message in [
        (single, np.nan, r"alpha must be a number \(not nan\)"),
        (single, [[0.0], [np.nan]], r"alpha must be .* at index \(1, 0\)"),
        (single, "1", "alpha must be real numbers"),
        (single, None, "alpha is required"),
        (single, [0.0, 1.0, 2.0], "alpha"),
        (double, 0.5, "alpha must have a trailing axis of length 2"),
        (double, [0.5, 0.5, 0.5], "alpha must have a trailing axis of length 2"),
        (double, [np.nan, 0.5], "alpha must be finite"),
        (double, [INF, 0.5], "alpha must be finite"),
        (double, np.zeros((3, 2)), "alpha"),
        (none, 0.5, "alpha must be left out"),
    ]:
        with pytest.raises(ValueError, match=message):
            call(alpha)


def test_risk_law_checks_alpha_and_label_noise():
    law = random_laws(27, 1, (4,))
    for alpha in (np.nan, INF, None, [0.0, 1.0]):
        with pytest.raises(ValueError, match="alpha"):
            law.risk_law().risk(alpha)
    for label_noise in (-0.1, 0.5, np.nan, "0", [0.1, 0.2]):
        with pytest.raises(ValueError, match="label_noise"):
            law.risk_law(label_noise)


# What a batch can do.


def test_copies_stay_read_only():
    law = MarginLaw([[0.5, 0.4], [0.3, 0.2]], np.broadcast_to(np.eye(2), (2, 2, 2)))
    for twin in (copy.deepcopy(law), pickle.loads(pickle.dumps(law))):
        assert np.array_equal(twin.mean, law.mean)
        with pytest.raises(ValueError, match="read-only"):
            twin.mean[0, 0] = 1.0


def test_laws_can_be_iterated_and_risk_laws_indexed():
    law = MarginLaw([[0.5, 0.4], [0.3, 0.2]], np.broadcast_to(np.eye(2), (2, 2, 2)))
    assert [each.optimal_alpha() for each in law] == law.optimal_alpha().tolist()
    risks = law.risk_law()
    assert len(risks) == 2
    assert [each.best_risk() for each in risks] == risks.best_risk().tolist()
    assert risks[1].risk(0.5) == risks.risk(0.5)[1]


@pytest.mark.parametrize(
    "cov",
    [
        [[1e12, 0.0], [0.0, -1.0]],
        [[1.0, 1e-6], [1e-6, 1e-13]],
        [[1.0, 0.1], [0.1, 0.0]],
        [[np.inf, 0.1], [0.1, 1.0]],
        [[1.0, 0.0], [0.0, np.inf]],
    ],
)
def test_indefinite_covariances_are_refused_at_every_scale(cov):
    with pytest.raises(ValueError, match="cov must be"):
        MarginLaw([0.5, 0.4], cov)


def test_nothing_to_gain_is_a_coin():
    for mean in ([0.0, 0.0], [-0.5, 0.0], [0.0, 0.0, 0.0], [-0.5, 0.0, 0.0]):
        assert MarginLaw(mean, np.eye(len(mean))).best_accuracy() == 0.5


def test_positive_matrices_are_told_from_the_others():
    cases = [
        ([[1.0, 0.5], [0.5, 1.0]], True),
        ([[1.0, 1.0], [1.0, 1.0]], True),
        ([[1.0, 1.0 + 1e-12], [1.0 + 1e-12, 1.0]], True),  # rounding
        ([[1.0, 1.0 + 1e-8], [1.0 + 1e-8, 1.0]], False),
        ([[1.0, -1.1], [-1.1, 1.0]], False),
        ([[-1e-300, 0.0], [0.0, 1.0]], False),
        ([[0.0, 0.0], [0.0, 1.0]], True),
        ([[0.0, 1e-300], [1e-300, 1.0]], False),
        ([[0.0, 0.0], [0.0, 0.0]], True),
        ([[1e-200, 0.9e-50], [0.9e-50, 1e100]], True),  # units do not matter
        ([[1e-200, 1.1e-50], [1.1e-50, 1e100]], False),
        ([[1e-300, 1e200], [1e200, 1.0]], False),
        ([[INF, 0.0], [0.0, 1.0]], False),
        ([[1.0, np.nan], [np.nan, 1.0]], False),
    ]
    matrices, good = np.array([case[0] for case in cases]), np.array([case[1] for case in cases])
    np.testing.assert_array_equal(is_positive(matrices), good)
    np.testing.assert_array_equal(is_positive(matrices.reshape(7, 2, 2, 2)), good.reshape(7, 2))
    for matrix, want in zip(matrices, good, strict=True):
        assert is_positive(matrix) == want
    three = np.array([[1.0, 0.9, 0.9], [0.9, 1.0, 0.1], [0.9, 0.1, 1.0]])  # pairs are, all three are not
    assert not is_positive(three)
    assert is_positive(three * 0.5 + 0.5 * np.eye(3))
    assert is_positive(np.zeros((0, 2, 2))).shape == (0,)
    assert is_positive(np.array([[2.0]]))
    assert not is_positive(np.array([[-2.0]]))
