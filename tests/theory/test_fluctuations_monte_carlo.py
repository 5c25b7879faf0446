"""The spread of draws as the streaming sampler draws them: deviations, correlations, shapes of laws, coverage, bias."""

import importlib.util
import math
import pathlib
from functools import cache

import numpy as np
import pytest
from scipy import stats

import rmt_alpha as ra
from rmt_alpha.laws import flatten
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.theory import fluctuations as room
from rmt_alpha.transfer import Transfer

pytestmark = pytest.mark.slow

LEVEL = 1e-3

# n, p, γ, N, γ̃, label noise of target and source: half are far from N = p and γ = 1, trained sources on both sides
LARGE = {
    "no source noise": (400, 300, 0.2, None, None, 0.0, 0.0),
    "noisy": (300, 450, 0.1, None, None, 0.2, 0.0),
    "few": (40, 900, 0.05, None, None, 0.1, 0.0),
    "strong": (300, 400, 30.0, None, None, 0.15, 0.0),
    "long source": (250, 350, 0.3, 3000, 0.5, 0.0, 0.1),
    "short source": (400, 200, 0.1, 150, 0.3, 0.1, 0.2),
}
SMALL = {
    "no source noise": (50, 50, 0.3, None, None, 0.0, 0.0),
    "noisy": (50, 40, 0.5, None, None, 0.15, 0.0),
    "few": (20, 60, 0.5, None, None, 0.1, 0.0),
    "many": (60, 20, 0.5, None, None, 0.0, 0.0),
    "long source": (50, 50, 0.4, 400, 0.5, 0.1, 0.2),
    "short source": (40, 30, 1.0, 60, 1.0, 0.0, 0.1),
}
NAMES = ("n", "p", "gamma", "n_source", "gamma_source", "label_noise", "label_noise_source")
DRAWS, MANY = 6000, 60_000


def problem(values):
    return {"beta": 0.7, "mu": 1.2, "mu_perp": 0.8} | dict(zip(NAMES, values, strict=True))


@cache
def simulated(name, small):
    values, draws = (SMALL[name], MANY) if small else (LARGE[name], DRAWS)
    run = ra.simulate(**problem(values), trials=draws, seed=21)
    return run.law, run.fluctuations()


def several(n=150, p=120):
    """Trained sources whose tasks are alike, in units of their own, and a fixed one between them."""
    rng = np.random.default_rng(0)
    a, b, c, d = rng.standard_normal((4, p)) / math.sqrt(p)
    mean = 0.72 * a + 0.36 * b + 0.5 * d
    sources = [
        RidgeSource(GaussianMixture(1.2 * a, 0.8, 0.2), 200, 0.4),
        RidgeSource(GaussianMixture(1.35 * b + 0.5 * a, 2.0), 150, 0.9),
        FixedSource(0.7 * c + 0.36 * a),
    ]
    return Transfer(GaussianMixture(1.3 * mean, 1.7, 0.1), n, 0.5, sources)


def moment_excess(numbers, theory, order):
    """Largest excess over its threshold of log standard deviations and z-transformed correlations.

    Their standard errors are estimated, from the fourth moments of the draws; the allowance is of the order of 1/n.
    """
    draws, d = numbers.shape
    x = (numbers - numbers.mean(axis=0)) / numbers.std(axis=0)
    log_ratio = np.log(numbers.std(axis=0) / theory.std)
    error = (x**2).std(axis=0) / 2.0 / math.sqrt(draws)
    i, j = np.triu_indices(d, 1)
    sample = np.corrcoef(numbers.T)[i, j]
    influence = x[:, i] * x[:, j] - 0.5 * sample * (x[:, i] ** 2 + x[:, j] ** 2)
    correlation_error = influence.std(axis=0) / math.sqrt(draws)
    level = stats.norm.isf(0.5 * LEVEL / 10 / (d + len(i)))
    one = np.abs(log_ratio) / (level * error + order)
    two = np.abs(sample - theory.correlation[i, j]) / (level * correlation_error + order)
    return max(one.max(), two.max())


def large_excess(fluctuations=ra.fluctuations):
    """For all large shapes and for three sources."""
    results = []
    for name, values in LARGE.items():
        law, _ = simulated(name, small=False)
        results.append(moment_excess(flatten(law), fluctuations(**problem(values)), order=0.5 / values[0] + 0.01))
    return results


def test_deviations_and_correlations_are_those_of_draws():
    assert max(large_excess()) < 1.0


@cache
def three_sources():
    return several().simulate(4000, seed=5).law


def test_deviations_and_correlations_of_three_sources():
    assert moment_excess(flatten(three_sources()), several().fluctuations(), order=0.03) < 1.0


def bias_excess(fluctuations=ra.fluctuations):
    """Mean of the small shapes' numbers against limit plus bias: an allowance of a twentieth of the first-order gap."""
    results = []
    for name, values in SMALL.items():
        _, draws = simulated(name, small=True)
        theory = fluctuations(**problem(values))
        gap, error = draws.numbers - theory.numbers, draws.std / math.sqrt(MANY)
        level = stats.norm.isf(0.5 * LEVEL / 10 / len(SMALL) / 5)
        results.append((np.abs(gap - theory.bias) / (level * error + 0.05 * np.abs(gap))).max())
    return results


def test_means_are_limit_plus_bias():
    assert max(bias_excess()) < 1.0


def test_the_first_order_alone_is_refused():
    """So is the bias itself seen, and not its allowance."""
    for name, values in SMALL.items():
        _, draws = simulated(name, small=True)
        theory = ra.fluctuations(**problem(values))
        z = (draws.numbers - theory.numbers) / draws.std * math.sqrt(MANY)
        assert np.abs(z).max() > 8.0
        for number in np.flatnonzero(np.abs(z) > 6.0):
            assert abs(theory.bias[number] / (draws.numbers - theory.numbers)[number] - 1.0) < 0.6


ALPHAS = (0.0, 1.0, -0.7, math.inf)


def test_accuracies_are_gaussian_with_these_moments():
    """Kolmogorov-Smirnov, of the ratio in units of its standard deviation; its mean is of second order."""
    p_values, count = [], 1500
    for name, values in LARGE.items():
        law, _ = simulated(name, small=False)
        theory = ra.fluctuations(**problem(values))
        for alpha in ALPHAS[:3]:
            accuracy = law[:count].accuracy(alpha)
            low, high = (stats.norm.ppf(end) for end in theory.accuracy_interval(alpha, 0.5))
            deviation = (high - low) / 2 / stats.norm.ppf(0.75)
            standard = (stats.norm.ppf(accuracy) - (low + high) / 2) / deviation
            p_values.append(stats.kstest(standard, "norm").pvalue)
    assert min(p_values) > LEVEL / len(p_values)


def coverage_excess(law, theory, alpha, n):
    """Of what is outside the intervals, over its binomial error; one tail has the other's share in part, as 1/√n."""
    accuracy, results = law.accuracy(alpha), []
    level = stats.norm.isf(0.5 * LEVEL / 10 / 200)
    for coverage in (0.9, 0.99):
        low, high = theory.accuracy_interval(alpha, coverage)
        below, above = (accuracy < low).mean(), (accuracy > high).mean()
        for share, want, allowance in (
            (below, 0.5 * (1 - coverage), 4.0 / math.sqrt(n)),
            (above, 0.5 * (1 - coverage), 4.0 / math.sqrt(n)),
            (below + above, 1 - coverage, 0.1),
        ):
            results.append(abs(share - want) / (level * math.sqrt(want * coverage / len(law)) + allowance * want))
    return max(results)


def test_intervals_cover_what_they_say():
    for name, values in LARGE.items():
        law, _ = simulated(name, small=False)
        theory = ra.fluctuations(**problem(values))
        for alpha in (*ALPHAS, float(theory.law.optimal_alpha())):
            assert coverage_excess(law, theory, alpha, values[0]) < 1.0, (name, alpha)
    for alpha in ([0.5, 0.2, 0.3], [0.0, 0.0, 0.0], [1.0, -1.0, 2.0]):
        assert coverage_excess(three_sources(), several().fluctuations(), alpha, 150) < 1.0, alpha


def test_coverage_is_right_to_a_percentage_point():
    setting = problem((400, 500, 0.1, 600, 0.4, 0.1, 0.1))
    theory = ra.fluctuations(**setting)
    law = ra.simulate(**setting, trials=20_000, seed=22).law
    for alpha in (0.0, 1.0, float(theory.law.optimal_alpha())):
        for coverage in (0.9, 0.99):
            low, high = theory.accuracy_interval(alpha, coverage)
            inside = ((law.accuracy(alpha) >= low) & (law.accuracy(alpha) <= high)).mean()
            assert abs(inside - coverage) < 0.01


def test_risk_accuracy_and_optimal_alpha_vary_as_they_should():
    """Fixed sources and trained ones; standard deviations to 4 standard errors and 2 %."""
    allowed = 4 / math.sqrt(2 * DRAWS) + 0.02
    for name, values in LARGE.items():
        law, _ = simulated(name, small=False)
        theory = ra.fluctuations(**problem(values))
        for alpha in (0.0, 1.0, -0.7):
            assert law.accuracy(alpha).std() == pytest.approx(theory.accuracy_std(alpha), rel=allowed), name
            assert law.risk(alpha).std() == pytest.approx(theory.risk_std(alpha), rel=allowed + 0.02), name
        if theory.optimal_alpha_std() < 0.1 * abs(theory.law.optimal_alpha()):
            assert law.optimal_alpha().std() == pytest.approx(theory.optimal_alpha_std(), rel=allowed + 0.05), name


def test_the_mean_accuracy_is_of_second_order():
    for name, values in SMALL.items():
        law, _ = simulated(name, small=True)
        theory = ra.fluctuations(**problem(values))
        for alpha in ALPHAS[:3]:
            accuracy = law.accuracy(alpha)
            error, gap = accuracy.std() / math.sqrt(MANY), accuracy.mean() - theory.law.accuracy(alpha)
            assert abs(accuracy.mean() - theory.mean_accuracy(alpha)) < 4.5 * error + 0.15 * abs(gap), (name, alpha)


# Power: a theory that leaves something out is refused.

COVARIANCES = [
    ("in_L[:, k, r] = in_L[:, k + 1, r + 1] = 0.5", "in_L[:, k, r] = in_L[:, k + 1, r + 1] = 1.0"),
    (
        "total = through @ cov @ np.swapaxes(through, 1, 2) + turn[:, :, None] * turn[:, None, :]",
        "total = through @ cov @ np.swapaxes(through, 1, 2)",
    ),
    ("cov += (source.spread / p)[:, None, None] *", "cov += 0.0 *"),
]
BIASES = [
    ("= -(0.5 * fixed + 0.25) / root", "= -0.5 * fixed / root"),
    ("shift[:, new[0, 0]] += tau2 * bend", "shift[:, new[0, 0]] += 0.0"),
    ("bias[:, row] += square * bend * products_cov[:, a, b]", "bias[:, row] += 0.0"),
]


def mutant(tmp_path, line, wrong):
    source = pathlib.Path(room.__file__).read_text()
    assert source.count(line) == 1
    path = tmp_path / "mutant.py"
    path.write_text(source.replace(line, wrong))
    spec = importlib.util.spec_from_file_location("mutant", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fluctuations


@pytest.mark.parametrize(("line", "wrong"), COVARIANCES)
def test_a_missing_variance_is_noticed(line, wrong, tmp_path):
    assert max(large_excess(mutant(tmp_path, line, wrong))) > 1.1


@pytest.mark.parametrize(("line", "wrong"), BIASES)
def test_a_missing_bias_is_noticed(line, wrong, tmp_path):
    assert max(bias_excess(mutant(tmp_path, line, wrong))) > 1.1
