"""The dense reference: exact records, and theory within chance of them."""

import numpy as np
import pytest
from scipy import stats

import rmt_alpha as ra
from rmt_alpha.comparison import compare
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Experiment
from rmt_alpha.ridge import affine_ridge
from rmt_alpha.simulation import dense
from rmt_alpha.theory import errata

# (n, p, N): η from 1/5 to 5, N far above, near and below p
SHAPES = [
    (300, 60, 300),
    (60, 300, 900),
    (150, 150, 160),
    (120, 200, 210),
    (200, 120, 40),
    (100, 250, 80),
    (250, 200, None),
]
REST = [
    {"beta": 0.8, "gamma": 0.5, "mu": 1.5, "mu_perp": 1.0},
    {"beta": -0.6, "gamma": 2.0, "mu": 1.2, "mu_perp": 0.7, "label_noise": 0.15},
]


def problems():
    for i, (n, p, n_source) in enumerate(SHAPES):
        problem = {"n": n, "p": p, **REST[i % 2]}
        if n_source is not None:
            problem |= {"n_source": n_source, "gamma_source": 0.2, "label_noise_source": 0.1 * (i % 2)}
        yield problem


@pytest.fixture(scope="module")
def runs():
    return [ra.simulate(**problem, trials=150, seed=11 + i) for i, problem in enumerate(problems())]


def family_wise(comparisons):
    """Student's quantile at level 1e-3 over all quantities of all comparisons."""
    count = sum(len(c.quantities) for c in comparisons)
    return stats.t.isf(0.5e-3 / count, comparisons[0].trials - 1)


def largest_excess(runs, law=lambda e: None):  # noqa: ARG005
    """The largest discrepancy of all runs with a theory, over the largest that chance explains in the family."""
    comparisons = [compare(run, [-1.0, 0.3, 2.0], law=law(run.experiment)) for run in runs]
    return max(np.abs(c.excess).max() for c in comparisons) / family_wise(comparisons)


def test_theory_is_within_chance_of_simulation_at_every_shape(runs):
    assert largest_excess(runs) <= 1.0


def published_law(e):
    """The five numbers with the published length of the source in T₃."""
    keys = ("beta", "n", "p", "gamma", "n_source", "gamma_source")
    second = [
        errata.published_second_moment(a, **{k: getattr(e, k) for k in keys}, mu=e.mu, mu_perp=e.mu_perp)
        for a in (-1.0, 0.0, 1.0)
    ]
    law = ra.margin_law(**{k: getattr(e, k) for k in keys}, mu=e.mu, mu_perp=e.mu_perp)
    cov = law.cov.copy()
    cov[1, 1] = 0.5 * (second[0] + second[2]) - second[1] - law.mean[1] ** 2
    return MarginLaw._trusted(law.mean.copy(), cov)


def test_the_same_test_refuses_the_published_length_of_the_source(runs):
    clean = [run for run in runs if run.experiment.n_source and not run.experiment.label_noise_source]
    assert len(clean) == 3
    assert largest_excess(clean) <= 1.0
    for run in clean:  # N from p/3 to 5p
        assert largest_excess([run], published_law) > 1.0


def test_the_published_length_of_the_source_is_off_by_far():
    for n, p, n_source in [(150, 150, 160), (120, 200, 210), (100, 250, 80)]:
        run = ra.simulate(0.8, n, p, 0.5, mu=1.5, n_source=n_source, gamma_source=0.2, trials=150, seed=5)
        assert compare(run, [2.0]).agrees
        comparison = compare(run, law=published_law(run.experiment))
        assert comparison.quantities[-1] == "V11"
        assert np.abs(comparison.excess[-1]) > 3 * comparison.threshold
        assert not comparison.agrees


def test_a_record_predicts_the_accuracy_on_a_test_set():
    e = Experiment(0.7, n=20, p=30, gamma=0.3, mu=1.2, mu_perp=0.8, n_source=40, gamma_source=0.5, label_noise=0.3)
    mean, cov = dense.draw(e, np.random.default_rng(1), np.random.default_rng(2))

    source, target = np.zeros(30), np.zeros(30)
    source[0] = 1.2
    target[:2] = 0.7 * 1.2, np.sqrt(1 - 0.7**2) * 0.8
    noise, true, observed = dense._samples(np.random.default_rng(1), 40, 30, 0.0)
    w_source, _ = affine_ridge(noise + np.outer(true, source), observed, None, 0.5)
    noise, true, observed = dense._samples(np.random.default_rng(2), 20, 30, 0.3)
    assert (true != observed).any()
    w0, w1 = affine_ridge(noise + np.outer(true, target), observed, w_source, 0.3)

    rng, size = np.random.default_rng(3), 200_000
    y = rng.choice([-1.0, 1.0], size)
    x = np.outer(y, target) + rng.standard_normal((size, 30))
    for alpha in (-1.5, 0.0, 2.5):
        accuracy = MarginLaw(mean, cov).accuracy(alpha)
        correct = np.mean(y * (x @ (w0 + alpha * w1)) > 0)
        assert abs(correct - accuracy) < 4 * np.sqrt(accuracy * (1 - accuracy) / size)


@pytest.mark.parametrize(("n", "p", "n_source"), [(1, 1, 1), (1, 5, 2), (5, 1, 1), (2, 2, 2), (3, 4, None)])
def test_small_shapes_give_legal_laws(n, p, n_source):
    source = {} if n_source is None else {"n_source": n_source, "gamma_source": 0.5}
    run = ra.simulate(1.0 if p == 1 else 0.5, n, p, 0.2, **source, trials=50, seed=0)
    assert np.isfinite(run.law.mean).all()
    MarginLaw(run.law.mean, run.law.cov)  # symmetric and positive semi-definite


def test_no_penalty_is_legal_on_both_sides_of_interpolation():
    forgets = ra.simulate(0.5, 30, 10, 0.0, trials=5, seed=0)
    assert (forgets.law.mean[:, 1] == 0).all()
    interpolates = ra.simulate(0.5, 10, 30, 0.0, trials=5, seed=0)
    # a minimum-norm deviation is orthogonal to what it deviates from
    assert np.abs(interpolates.law.cov[:, 0, 1]).max() < 1e-13


def test_label_noise_flips_the_share_it_says():
    _, true, observed = dense._samples(np.random.default_rng(0), 100_000, 1, 0.2)
    assert abs(np.mean(true != observed) - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 100_000)
    _, true, observed = dense._samples(np.random.default_rng(0), 1000, 1, 0.0)
    assert (true == observed).all()


def test_memory_counts_the_larger_data_set():
    small = Experiment(0.5, n=10, p=100, gamma=1.0)
    large = Experiment(0.5, n=10, p=100, gamma=1.0, n_source=1000, gamma_source=1.0)
    assert dense.memory(large) > 10 * dense.memory(small) > 8 * 10 * 100
