"""What a spread of the numbers makes of accuracy, risk and α*, by differences and by samples."""

import copy
import math
import pickle

import numpy as np
import pytest
from scipy import stats

import rmt_alpha as ra
from rmt_alpha import Fluctuations, MarginLaw
from rmt_alpha.laws import flatten, number_names
from tests.test_laws import random_laws

INF = math.inf


def count(n_sources):
    return (n_sources + 1) * (n_sources + 4) // 2


def law_of(numbers, n_sources):
    """The law with these numbers, written out."""
    size = n_sources + 1
    cov = np.empty((*numbers.shape[:-1], size, size))
    at = size
    for i in range(size):
        for j in range(i, size):
            cov[..., i, j] = cov[..., j, i] = numbers[..., at]
            at += 1
    assert at == numbers.shape[-1]
    return MarginLaw._trusted(numbers[..., :size].copy(), cov)


def some_law(seed, n_sources, shape=()):
    """Laws whose accuracy is neither a half nor one, at any moderate α."""
    rng = np.random.default_rng([seed, n_sources])
    size = n_sources + 1
    mean = rng.uniform(0.3, 0.9, (*shape, size)) * np.where(np.arange(size) % 3 == 2, -1.0, 1.0)
    factor = 0.4 * rng.standard_normal((*shape, size, size)) / math.sqrt(size)
    cov = factor @ np.swapaxes(factor, -1, -2) + np.eye(size) * rng.uniform(0.5, 1.2, (*shape, size, 1))
    return MarginLaw(mean, cov)


def random_spread(seed, n_sources, shape=(), size=1e-3):
    """Laws with a covariance of their numbers of this size squared, and so is the bias."""
    rng = np.random.default_rng([seed, n_sources])
    d = count(n_sources)
    factor = size * rng.standard_normal((*shape, d, d)) / math.sqrt(d)
    cov = factor @ np.swapaxes(factor, -1, -2)
    return Fluctuations(some_law(seed, n_sources, shape), cov, size**2 * rng.standard_normal((*shape, d)))


def gradient(function, numbers, n_sources, step=1e-5):
    """Central differences of a function of a law."""
    units = np.eye(len(numbers)) * step
    above, below = (np.stack([function(law_of(numbers + sign * u, n_sources)) for u in units]) for sign in (1, -1))
    return (above - below) / (2 * step)


def hessian(function, numbers, n_sources, step=1e-3):
    units = np.eye(len(numbers)) * step

    def at(offset):
        return function(law_of(numbers + offset, n_sources))

    return np.array([[(at(u + v) - at(u - v) - at(v - u) + at(-u - v)) / (4 * step**2) for v in units] for u in units])


ALPHAS = [
    *[(0, None)],
    *[(1, alpha) for alpha in (0.0, -0.4, 1.0, 2.7, -35.0, INF, -INF)],
    *[(3, alpha) for alpha in ([0.3, -0.2, 0.9], [4.0, -1.5, 0.2], [0.0, 0.0, 0.0])],
]


@pytest.mark.parametrize(("n_sources", "alpha"), ALPHAS, ids=str)
def test_accuracy_std_follows_from_differences(n_sources, alpha):
    spread = random_spread(3, n_sources)
    slope = gradient(lambda law: law.accuracy(alpha), spread.numbers, n_sources)
    assert spread.accuracy_std(alpha) == pytest.approx(math.sqrt(slope @ spread.cov @ slope), rel=1e-6)
    assert spread.accuracy_std(alpha) > 3e-5


@pytest.mark.parametrize(("n_sources", "alpha"), [x for x in ALPHAS if not np.isinf(np.sum(x[1] or 0.0))], ids=str)
def test_risk_std_follows_from_differences(n_sources, alpha):
    spread = random_spread(4, n_sources)
    slope = gradient(lambda law: law.risk(alpha), spread.numbers, n_sources)
    assert spread.risk_std(alpha) == pytest.approx(math.sqrt(slope @ spread.cov @ slope), rel=1e-6)


@pytest.mark.parametrize("n_sources", [1, 2, 3])
@pytest.mark.parametrize("seed", [5, 6, 8])
def test_optimal_alpha_std_follows_from_differences(seed, n_sources):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((n_sources + 1, n_sources + 3)) * rng.uniform(0.3, 3.0, (n_sources + 1, 1))
    law = MarginLaw(factor @ factor.T @ rng.uniform(0.3, 2.0, n_sources + 1), factor @ factor.T)  # x = V⁻¹M > 0
    spread = Fluctuations(law, random_spread(seed, n_sources).cov)
    step = 1e-6 * np.abs(spread.numbers).min()
    slope = gradient(lambda law: law.optimal_alpha(), spread.numbers, n_sources, step).reshape(count(n_sources), -1)
    want = np.sqrt(np.diag(slope.T @ spread.cov @ slope))
    np.testing.assert_allclose(np.atleast_1d(spread.optimal_alpha_std()), want, rtol=1e-4)


@pytest.mark.parametrize(("n_sources", "alpha"), ALPHAS, ids=str)
def test_mean_accuracy_is_of_second_order(n_sources, alpha):
    """Bias times slope plus half of covariance times curvature, each alone and both."""
    spread = random_spread(3, n_sources, size=3e-3)
    law, zero = spread.law, np.zeros_like(spread.bias)

    def accuracy(law):
        return law.accuracy(alpha)

    moved = gradient(accuracy, spread.numbers, n_sources) @ spread.bias
    curved = 0.5 * np.sum(hessian(accuracy, spread.numbers, n_sources) * spread.cov)
    assert min(abs(moved), abs(curved)) > 1e-8
    for cov, bias, want in (
        (0 * spread.cov, spread.bias, moved),
        (spread.cov, zero, curved),
        (spread.cov, spread.bias, moved + curved),
    ):
        got = Fluctuations(law, cov, bias).mean_accuracy(alpha) - law.accuracy(alpha)
        assert got == pytest.approx(want, rel=1e-3, abs=2e-10)


@pytest.mark.parametrize(
    ("n_sources", "alpha"), [(0, None), (1, 0.7), (1, -3.0), (1, INF), (3, [0.3, -0.2, 2.0])], ids=str
)
def test_gaussian_numbers_keep_to_mean_and_interval(n_sources, alpha):
    """Within five standard errors, and in the tails a little for what is not Gaussian in the ratio."""
    spread = random_spread(3, n_sources, size=0.02)
    rng = np.random.default_rng(1)
    size = 40_000
    draws = rng.multivariate_normal(spread.numbers + spread.bias, spread.cov, size=size, method="svd")
    accuracy = law_of(draws, n_sources).accuracy(alpha)
    error = spread.accuracy_std(alpha) / math.sqrt(size)
    assert accuracy.std() == pytest.approx(spread.accuracy_std(alpha), rel=0.02)
    assert abs(accuracy.mean() - spread.mean_accuracy(alpha)) < 5 * error
    for coverage in (0.5, 0.9, 0.99):
        low, high = spread.accuracy_interval(alpha, coverage=coverage)
        tail = (1 - coverage) / 2
        allowed = 5 * math.sqrt(tail / size) + 0.05 * tail
        assert abs((accuracy < low).mean() - tail) < allowed
        assert abs((accuracy > high).mean() - tail) < allowed


@pytest.mark.parametrize("coverage", [1e-9, 0.3, 0.9, 1 - 1e-12])
def test_an_interval_is_symmetric_in_the_ratio(coverage):
    """Around its mean, by the normal quantile times its standard deviation."""
    spread = random_spread(7, 1, size=0.1)
    alpha = np.array([-2.0, 0.0, 0.5, INF])
    low, high = (stats.norm.ppf(end) for end in spread.accuracy_interval(alpha, coverage))
    ratio = stats.norm.ppf(spread.law.accuracy(alpha))
    std = spread.accuracy_std(alpha) / stats.norm.pdf(ratio)
    np.testing.assert_allclose((high - low) / 2, stats.norm.ppf(0.5 + coverage / 2) * std, rtol=1e-4, atol=1e-12)
    middle = (low + high) / 2
    mean = stats.norm.ppf(spread.mean_accuracy(alpha)) * np.sqrt(1 + std**2)
    np.testing.assert_allclose(middle, mean, rtol=1e-6, atol=1e-9)
    other = Fluctuations(spread.law, spread.cov, spread.bias + 0.01 * (np.arange(5) == 0))  # of M₀
    a = np.stack([np.isfinite(alpha), np.where(np.isinf(alpha), 1.0, alpha)], axis=-1)
    deviation = np.sqrt(np.einsum("ai,ij,aj->a", a, spread.law.cov, a))
    moved = [stats.norm.ppf(end) for end in other.accuracy_interval(alpha, coverage)]
    np.testing.assert_allclose((moved[0] + moved[1]) / 2 - middle, 0.01 * a[:, 0] / deviation, rtol=1e-4, atol=1e-9)
    assert np.abs(middle - ratio).max() > 1e-3


def test_default_coverage_is_nine_tenths():
    spread = random_spread(7, 1)
    assert spread.accuracy_interval(0.5) == spread.accuracy_interval(0.5, 0.9)
    low, high = spread.accuracy_interval(0.5)
    assert 0.0 < low < spread.mean_accuracy(0.5) < high < 1.0


# Shapes.


@pytest.mark.parametrize("n_sources", [0, 1, 3])
def test_batch_answers_are_those_of_its_members(n_sources):
    spread = random_spread(9, n_sources, (2, 3))
    alpha = None if n_sources == 0 else 0.7 if n_sources == 1 else np.array([0.2, -0.4, 1.3])
    answers = {name: getattr(spread, name)(alpha) for name in ("accuracy_std", "mean_accuracy", "risk_std")}
    low, high = spread.accuracy_interval(alpha, 0.8)
    answers |= {"low": low, "high": high, "optimal_alpha_std": spread.optimal_alpha_std()}
    for i, j in np.ndindex(2, 3):
        one = spread[i, j]
        assert one.shape == ()
        low, high = one.accuracy_interval(alpha, 0.8)
        single = {name: getattr(one, name)(alpha) for name in ("accuracy_std", "mean_accuracy", "risk_std")}
        assert {type(x) for x in (*single.values(), low, high)} == {float}
        single |= {"low": low, "high": high, "optimal_alpha_std": one.optimal_alpha_std()}
        for name, value in single.items():
            np.testing.assert_allclose(answers[name][i, j], value, rtol=1e-12, err_msg=name)
    assert answers["accuracy_std"].shape == (2, 3)
    assert answers["optimal_alpha_std"].shape == ((2, 3) if n_sources == 1 else (2, 3, n_sources))
    assert spread.std.shape == (2, 3, count(n_sources))
    assert spread.correlation.shape == (2, 3, count(n_sources), count(n_sources))


def test_alpha_broadcasts_against_the_batch():
    spread = random_spread(10, 1, (3,))
    alpha = np.linspace(-1, 2, 5)[:, None]
    assert spread.accuracy_std(alpha).shape == (5, 3)
    np.testing.assert_allclose(spread.accuracy_std(alpha)[4], spread.accuracy_std(2.0), rtol=1e-12)
    with pytest.raises(ValueError, match="do not broadcast"):
        spread.accuracy_std([1.0, 2.0])
    several = random_spread(10, 3, (3,))
    assert several.risk_std(np.ones((5, 1, 3))).shape == (5, 3)
    assert several.mean_accuracy(np.ones(3)).shape == (3,)


def test_infinite_alpha_is_the_limit_and_huge_ones_do_not_overflow():
    spread = random_spread(11, 1)
    for sign in (1.0, -1.0):
        for method in (spread.accuracy_std, spread.mean_accuracy):
            assert method(sign * INF) == pytest.approx(method(sign * 1e14), rel=1e-9)
            assert method(sign * INF) == pytest.approx(method(sign * 1e300), rel=1e-12)
    several = random_spread(11, 3)
    for method in (several.accuracy_std, several.mean_accuracy):
        assert method([1e200, 0.0, -2e200]) == pytest.approx(method([1e14, 0.0, -2e14]), rel=1e-9)


def test_an_infinite_alpha_is_refused_where_it_has_no_limit():
    with pytest.raises(ValueError, match="alpha"):
        random_spread(11, 1).risk_std(INF)
    with pytest.raises(ValueError, match="alpha"):
        random_spread(11, 3).accuracy_std([INF, 0.0, 0.0])


@pytest.mark.parametrize("alpha", [1e160, 1e308])
def test_a_risk_beyond_all_numbers_is_not_finite_and_warns_of_nothing(alpha):
    assert not math.isfinite(random_spread(11, 1).risk_std(alpha))


# The container.


@pytest.mark.parametrize("n_sources", range(13))
def test_numbers_have_an_order_and_names(n_sources):
    law = random_laws(1, n_sources)
    numbers = flatten(law)
    names = number_names(n_sources)
    assert len(names) == len(numbers) == len(set(names)) == count(n_sources)
    for name, number in zip(names, numbers, strict=True):
        indices = name[1:].split(",") if "," in name else name[1:] if name[0] == "V" else [name[1:]]
        place = tuple(int(i) for i in indices)
        assert number == (law.mean if name[0] == "M" else law.cov)[place]
        assert place == tuple(sorted(place))
    spread = Fluctuations(law, np.eye(len(numbers)))
    assert spread.n_sources == n_sources
    assert spread.names == names
    np.testing.assert_array_equal(spread.law.cov, law.cov)
    np.testing.assert_array_equal(spread.law.mean, law.mean)
    np.testing.assert_array_equal(spread.bias, 0.0)


def test_names_of_one_source():
    assert number_names(1) == ("M0", "M1", "V00", "V01", "V11")
    assert number_names(9)[-1] == "V99"
    assert number_names(10)[-1] == "V10,10"


def test_standard_deviations_and_correlations():
    spread = random_spread(12, 1, (4,))
    np.testing.assert_allclose(spread.std**2, np.einsum("...ii->...i", spread.cov), rtol=1e-12)
    factor = spread.std[:, :, None] * spread.std[:, None, :]
    np.testing.assert_allclose(spread.correlation * factor, spread.cov, rtol=1e-12)
    still = Fluctuations(spread.law[0], np.diag([1.0, 0.0, 4.0, 1.0, 1.0]))
    assert np.isnan(still.correlation[1]).all()
    assert np.isnan(still.correlation[:, 1]).all()
    assert still.correlation[2, 2] == 1.0
    np.testing.assert_array_equal(still.std, [1.0, 0.0, 2.0, 1.0, 1.0])


def test_the_corrected_law_is_the_limit_plus_the_bias():
    law = MarginLaw([[0.5, 0.4]] * 4, [[[1.0, 0.1], [0.1, 0.5]]] * 4)
    bias = np.array([[0.1, -0.2, 0.3, 0.05, -0.1], [0, 0, -1.1, 0, 0], [0, 0, 0, 0.7, 0], [0, 0, 0, 0, -0.4]])
    spread = Fluctuations(law, np.tile(np.eye(5), (4, 1, 1)), bias)
    corrected = spread.corrected_law
    np.testing.assert_allclose(corrected.mean[0], [0.6, 0.2])
    np.testing.assert_allclose(corrected.cov[0], [[1.3, 0.15], [0.15, 0.4]])
    assert np.isnan(corrected.mean[1:3]).all()  # a variance below 0, a correlation above 1
    assert np.isnan(corrected.cov[1:3]).all()
    np.testing.assert_allclose(corrected.cov[3], [[1.0, 0.1], [0.1, 0.1]])
    np.testing.assert_array_equal(spread.law.mean, law.mean)


def test_no_finite_optimum_has_no_spread():
    at_infinity = MarginLaw([-0.5, 0.5], [[1.0, 0.0], [0.0, 1.0]])
    assert at_infinity.optimal_alpha() == INF
    forgotten = MarginLaw([0.5, 0.0], [[1.0, 0.0], [0.0, 0.0]])
    for law in (at_infinity, forgotten):
        assert math.isnan(Fluctuations(law, np.eye(5)).optimal_alpha_std())
    batch = MarginLaw._trusted(
        *(np.stack([getattr(law, name) for law in (at_infinity, random_laws(3, 1))]) for name in ("mean", "cov"))
    )
    np.testing.assert_array_equal(
        np.isnan(Fluctuations(batch, np.tile(np.eye(5), (2, 1, 1))).optimal_alpha_std()), [True, False]
    )
    assert Fluctuations(MarginLaw([1.0], [[1.0]]), np.eye(2)).optimal_alpha_std().shape == (0,)


def test_a_source_that_is_forgotten_is_so_at_every_alpha():
    """As the law's own accuracy."""
    spread = ra.fluctuations(0.7, 200, 100, 0.0)
    for alpha in (1.3, -1e9, INF, -INF):
        assert spread.law.accuracy(alpha) == spread.law.accuracy(0.0)
        assert spread.accuracy_std(alpha) == pytest.approx(spread.accuracy_std(0.0), rel=1e-12)
        assert spread.mean_accuracy(alpha) == pytest.approx(spread.mean_accuracy(0.0), rel=1e-12)


def test_what_is_not_finite_is_nan_without_a_warning():
    spread = ra.fluctuations(0.7, [100, 50], 100, 0.0)
    assert spread.law.cov[0, 0, 0] == INF
    answers = [spread.accuracy_std(1.3), spread.mean_accuracy(1.3), spread.risk_std(1.3), spread.optimal_alpha_std()]
    for answer in (*answers, *spread.accuracy_interval(1.3)):
        np.testing.assert_array_equal(np.isnan(answer), [True, False])
    assert np.isnan(spread.correlation[0]).all()
    assert np.isnan(spread.corrected_law.mean[0]).all()


def test_rounding_below_zero_is_zero():
    law = random_laws(3, 1)
    cov = -1e-30 * np.eye(5)
    spread = Fluctuations._trusted(flatten(law), cov, np.zeros(5))
    assert spread.accuracy_std(0.5) == spread.risk_std(0.5) == spread.optimal_alpha_std() == 0.0
    np.testing.assert_array_equal(spread.std, 0.0)


def test_batches_are_indexed_iterated_and_counted():
    spread = random_spread(13, 1, (3, 2))
    assert len(spread) == 3
    assert [one.shape for one in spread] == [(2,)] * 3
    np.testing.assert_array_equal(spread[1:, 0].cov, spread.cov[1:, 0])
    np.testing.assert_array_equal(spread[[2, 0]].bias, spread.bias[[2, 0]])
    np.testing.assert_array_equal(spread[..., 1].law.cov, spread.law.cov[..., 1, :, :])
    with pytest.raises(TypeError, match="no length"):
        len(spread[0, 0])
    with pytest.raises(IndexError, match="cannot be indexed"):
        spread[0, 0][0]


def test_copies_and_pickles_are_equal_and_read_only():
    spread = random_spread(14, 1, (2,))
    for other in (pickle.loads(pickle.dumps(spread)), copy.deepcopy(spread), copy.copy(spread)):
        for name in ("numbers", "cov", "bias"):
            np.testing.assert_array_equal(getattr(other, name), getattr(spread, name))
            with pytest.raises(ValueError, match="read-only"):
                getattr(other, name)[...] = 0.0


def test_no_reference_to_the_callers_arrays_is_kept():
    law, cov, bias = random_laws(3, 1), np.eye(5), np.zeros(5)
    spread = Fluctuations(law, cov, bias)
    cov[0, 0], bias[0] = 7.0, 7.0
    assert spread.cov[0, 0] == 1.0
    assert spread.bias[0] == 0.0


def test_repr_tells_what_is_inside():
    spread = Fluctuations(MarginLaw([0.5], [[1.25]]), np.diag([0.01, 0.04]))
    assert repr(spread) == "Fluctuations(M0 = 0.5 ± 0.1, V00 = 1.25 ± 0.2)"
    assert repr(random_spread(1, 3, (2, 1))) == "Fluctuations(shape=(2, 1), n_sources=3)"


LAW = random_laws(3, 1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"law": flatten(LAW)}, "law must be a MarginLaw, got ndarray"),
        ({"cov": np.eye(4)}, r"cov must have shape \(5, 5\).*got \(4, 4\)"),
        ({"cov": np.zeros(5)}, "cov must have shape"),
        ({"bias": np.zeros(4)}, r"bias must have shape \(5,\)"),
        ({"cov": -np.eye(5)}, "cov must be positive semi-definite"),
        ({"cov": np.eye(5) + np.eye(5, k=1)}, "cov must be symmetric"),
        ({"cov": np.full((5, 5), np.nan)}, "cov"),
        ({"cov": np.full((5, 5), INF)}, "cov"),
        ({"bias": [0, 0, 0, 0, np.nan]}, "bias"),
        ({"cov": "1"}, "cov"),
    ],
)
def test_bad_input_is_refused(arguments, text):
    with pytest.raises(ValueError, match=text):
        Fluctuations(**{"law": LAW, "cov": np.eye(5), "bias": np.zeros(5)} | arguments)


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90, math.nan, "0.9", None, [0.5]], ids=str)
def test_coverage_is_a_probability(coverage):
    with pytest.raises(ValueError, match="coverage"):
        random_spread(1, 1).accuracy_interval(0.5, coverage)


@pytest.mark.parametrize("method", ["accuracy_std", "mean_accuracy", "accuracy_interval", "risk_std"])
def test_alpha_is_checked(method):
    for n_sources, alpha in ((1, None), (1, math.nan), (0, 1.0), (3, [1.0, 2.0]), (3, 1.0), (1, "1")):
        with pytest.raises(ValueError, match="alpha"):
            getattr(random_spread(1, n_sources), method)(alpha)


def test_mean_risk_is_that_of_gaussian_numbers():
    law = MarginLaw([0.4, 0.3], [[0.6, 0.05], [0.05, 0.4]])
    rng = np.random.default_rng(5)
    root = 0.02 * rng.standard_normal((5, 5))
    bias = 0.01 * rng.standard_normal(5)
    spread = Fluctuations(law, root @ root.T, bias)
    draws = flatten(law) + bias + rng.standard_normal((400_000, 5)) @ root.T
    for alpha in (-0.7, 0.0, 2.5):
        mean = draws[:, 0] + alpha * draws[:, 1]
        risk = (1.0 - mean) ** 2 + draws[:, 2] + 2.0 * alpha * draws[:, 3] + alpha**2 * draws[:, 4]
        found = spread.mean_risk(alpha)
        assert abs(found - risk.mean()) < 4.0 * risk.std() / np.sqrt(len(risk)) + np.square(bias).sum() * 10
        assert abs(found - law.risk(alpha)) > 10.0 * risk.std() / np.sqrt(len(risk))


def test_alpha_that_hangs_on_the_last_digits_is_nan():
    for gamma in (1e3, 1e5, 1e6):
        spread = ra.fluctuations(1.0, 1000, 1000, gamma)
        assert abs(spread.optimal_alpha_std() / 0.04472 - 1.0) < 0.01
        assert abs(ra.optimal_alpha(1.0, 1000, 1000, gamma, order=2) - 0.999) < 1e-3 + 2.0 / gamma
    for gamma in (1e9, 1e12, 1e15, 1e30):
        assert np.isnan(ra.fluctuations(1.0, 1000, 1000, gamma).optimal_alpha_std())
        assert np.isnan(ra.optimal_alpha(1.0, 1000, 1000, gamma, order=2))
    assert np.isfinite(ra.optimal_alpha([0.7, -0.2], 1000, 1000, 1e12, order=2)).all()


def test_a_spread_needs_a_finite_law():
    with pytest.raises(ValueError, match="law must be finite"):
        Fluctuations(ra.margin_law(0.5, 50, 50, 0.0), np.eye(5))


def test_risk_varies_by_the_square_of_the_largest_alpha():
    forgetful = ra.fluctuations(0.5, 100, 50, 0.0)
    assert forgetful.risk_std(50.0) == forgetful.risk_std(0.0) > 0.0
    spread = ra.fluctuations(0.5, 50, 100, 0.1)
    assert spread.risk_std(1e150) == pytest.approx(spread.risk_std(1e50) * 1e200, rel=1e-12)


def test_too_many_alphas_are_refused_before_they_are_tried():
    with pytest.raises(ValueError, match=r"alpha of shape .* memory"):
        ra.fluctuations(np.zeros(10**3), 50, 100, 0.1).accuracy_std(np.zeros((10**6, 1)))
