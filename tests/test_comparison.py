"""The verdict on theory and simulation: right when right, and able to say no."""

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha.comparison import LEVEL, compare
from rmt_alpha.laws import MarginLaw

SETTING = {"beta": 0.6, "n": 40, "p": 60, "gamma": 0.3, "mu": 1.2, "mu_perp": 0.8}
SOURCE = {"n_source": 50, "gamma_source": 0.4}


@pytest.fixture(scope="module")
def run():
    return ra.simulate(**SETTING, **SOURCE, trials=400, seed=2)


def test_rows_are_the_five_numbers_and_the_accuracies(run):
    comparison = compare(run, [0.0, 2.5])
    assert comparison.quantities == ("M0", "M1", "V00", "V01", "V11", "accuracy(0)", "accuracy(2.5)")
    law = ra.margin_law(**SETTING, **SOURCE)
    expected = [*law.mean, law.cov[0, 0], law.cov[0, 1], law.cov[1, 1], law.accuracy(0.0), law.accuracy(2.5)]
    np.testing.assert_allclose(comparison.theory, expected, rtol=1e-14)
    np.testing.assert_allclose(comparison.simulated[-1], run.accuracy(2.5).value)
    np.testing.assert_allclose(comparison.z, (comparison.simulated - comparison.theory) / comparison.stderr)
    assert (np.abs(comparison.excess) <= np.abs(comparison.z)).all()
    assert compare(run).quantities == ("M0", "M1", "V00", "V01", "V11")


@pytest.mark.parametrize("number", range(5))
def test_an_error_in_any_single_number_is_found(run, number):
    law = ra.margin_law(**SETTING, **SOURCE)
    mean, cov = law.mean.copy(), law.cov.copy()
    where = [(mean, 0), (mean, 1), (cov, (0, 0)), (cov, (0, 1)), (cov, (1, 1))][number]
    where[0][where[1]] *= 3
    comparison = compare(run, law=MarginLaw._trusted(mean, cov))
    assert not comparison.agrees
    assert np.argmax(np.abs(comparison.excess)) == number


def test_the_wrong_problem_is_found(run):
    other = ra.margin_law(**SETTING | {"gamma": 0.8}, **SOURCE)
    assert not compare(run, [1.0], law=other).agrees


def test_false_alarms_are_rarer_than_the_level_allows():
    alarms = 0
    for seed in range(200):
        run = ra.simulate(**SETTING, **SOURCE, trials=20, seed=seed)
        alarms += not compare(run, [0.0, 1.0, 3.0]).agrees
    assert LEVEL == 1e-3
    assert alarms <= 2  # P(more than 2 of 200) is 1e-3 at the level itself


def test_rounding_errors_do_not_count():
    forgets = ra.simulate(0.5, 30, 10, 0.0, trials=30, seed=0)
    comparison = compare(forgets, [1.0])
    assert comparison.z[1] == comparison.z[4] == 0.0
    assert comparison.agrees


@pytest.mark.slow
def test_random_problems_raise_no_false_alarm_and_wrong_laws_always_do():
    """Strong and weak signals, noisy labels, few and many samples: n, N and p from 8 to 200."""
    rng = np.random.default_rng(7)
    alarms, judged = 0, 0
    for k in range(400):
        n, p, n_source = (int(x) for x in np.exp(rng.uniform(np.log(8), np.log(200), 3)))
        problem = {
            "beta": float(rng.uniform(-1, 1)),
            "n": n,
            "p": p,
            "gamma": float(10 ** rng.uniform(-2, 2)),
            "mu": float(10 ** rng.uniform(-1, 1)),
            "mu_perp": float(10 ** rng.uniform(-1, 1)),
            "label_noise": float(rng.choice([0.0, 0.2, 0.45])),
        }
        if k % 3:
            problem |= {
                "n_source": n_source,
                "gamma_source": float(10 ** rng.uniform(-2, 2)),
                "label_noise_source": float(rng.choice([0.0, 0.2, 0.45])),
            }
        run = ra.simulate(**problem, trials=200, seed=k)
        try:
            alarms += not compare(run, [0.0, 1.0, -2.0]).agrees
        except ValueError as refusal:
            if "to tell theory and simulation apart" not in str(refusal):
                raise
            continue
        judged += 1
        law = ra.margin_law(**problem)
        assert not compare(run, law=MarginLaw(2 * law.mean, 4 * law.cov)).agrees
    assert judged > 100
    assert alarms <= 2  # P(more than 2 of 200) is 1e-3 at the level itself


def test_experiments_that_are_worth_too_few_samples_are_refused():
    for few in ({"n": 200, "p": 100, "gamma": 1.0, "label_noise": 0.49}, {"n": 1, "p": 1000, "gamma": 0.1}):
        run = ra.simulate(0.8, **few, trials=10, seed=0)
        with pytest.raises(ValueError, match=r"n, p and n_source .* label noise"):
            compare(run)


def test_what_is_no_simulation_or_law_is_refused(run):
    with pytest.raises(ValueError, match="simulation must be"):
        compare(1)
    law = ra.margin_law(**SETTING, **SOURCE)
    batch = MarginLaw(law.mean[None], law.cov[None])
    for wrong in (3, batch, MarginLaw([1.0], [[1.0]]), MarginLaw([1.0, 1.0, 1.0], np.eye(3))):
        with pytest.raises(ValueError, match="law must be"):
            compare(run, law=wrong)


def test_refusals():
    run = ra.simulate(0.5, 10, 20, 0.1, trials=9, seed=0)
    with pytest.raises(ValueError, match="trials must be at least 10"):
        compare(run)
    with pytest.raises(ValueError, match="beta must be a single number"):
        compare(ra.simulate([0.5, 0.6], 10, 20, 0.1, trials=10, seed=0))
    with pytest.raises(ValueError, match="gamma must be positive"):
        compare(ra.simulate(0.5, 10, 10, 0.0, trials=10, seed=0))
    with pytest.raises(ValueError, match="gamma_source must be positive"):
        compare(ra.simulate(0.5, 5, 10, 0.1, n_source=10, gamma_source=0.0, trials=10, seed=0))
    with pytest.raises(ValueError, match="law must be finite"):
        compare(ra.simulate(0.5, 5, 10, 0.1, trials=10, seed=0), law=ra.margin_law(0.5, 10, 10, 0.0))
    with pytest.raises(ValueError, match="alpha"):
        compare(ra.simulate(0.5, 10, 20, 0.1, trials=10, seed=0), [np.nan])
