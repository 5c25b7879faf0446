"""Seeds, shapes and estimates of repeated experiments."""

import numpy as np
import pytest
import threadpoolctl

import rmt_alpha as ra
from rmt_alpha.estimate import Estimate

SETTING = {"n": 12, "p": 20, "gamma": 0.3, "mu": 1.2, "mu_perp": 0.8}
SOURCE = {"n_source": 15, "gamma_source": 0.7}


def same(a, b):
    return np.array_equal(a.law.mean, b.law.mean) and np.array_equal(a.law.cov, b.law.cov)


def test_a_seed_reproduces_and_seeds_differ():
    first = ra.simulate(0.5, **SETTING, **SOURCE, trials=5, seed=3)
    assert same(first, ra.simulate(0.5, **SETTING, **SOURCE, trials=5, seed=3))
    assert not same(first, ra.simulate(0.5, **SETTING, **SOURCE, trials=5, seed=4))
    assert len(np.unique(first.law.mean[:, 0])) == 5


def test_results_do_not_depend_on_the_threads_of_the_caller():
    problem = {"beta": 0.5, "n": 300, "p": 400, "gamma": 0.1, "n_source": 500, "gamma_source": 0.5}
    runs = []
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads, user_api="blas"):
            runs.append(ra.simulate(**problem, trials=2, seed=3))
            pools = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
            assert set(pools) == {threads}  # given back
    assert same(*runs)


def test_a_longer_run_starts_with_the_shorter():
    short = ra.simulate(0.5, **SETTING, **SOURCE, trials=4, seed=3)
    long = ra.simulate(0.5, **SETTING, **SOURCE, trials=9, seed=3)
    assert np.array_equal(long.law.mean[:4], short.law.mean)


def test_a_source_leaves_the_target_alone():
    without = ra.simulate(0.5, **SETTING, trials=4, seed=3)
    with_source = ra.simulate(0.5, **SETTING, **SOURCE, trials=4, seed=3)
    assert np.array_equal(without.law.mean[:, 0], with_source.law.mean[:, 0])
    assert not np.array_equal(without.law.mean[:, 1], with_source.law.mean[:, 1])


def test_the_seed_can_be_a_sequence_which_is_left_unchanged():
    root = np.random.SeedSequence(5)
    run = ra.simulate(0.5, **SETTING, trials=3, seed=root)
    assert root.n_children_spawned == 0
    assert same(run, ra.simulate(0.5, **SETTING, trials=3, seed=5))
    children = root.spawn(2)
    runs = [ra.simulate(0.5, **SETTING, trials=3, seed=child) for child in children]
    assert not same(*runs)
    assert not same(run, runs[0])


def test_the_seed_can_be_a_generator_or_nothing():
    runs = [ra.simulate(0.5, **SETTING, trials=3, seed=np.random.default_rng(1)) for _ in range(2)]
    assert same(*runs)
    drawn = runs[0].seed.entropy
    assert same(runs[0], ra.simulate(0.5, **SETTING, trials=3, seed=drawn))
    unseeded = ra.simulate(0.5, **SETTING, trials=3)
    assert same(unseeded, ra.simulate(0.5, **SETTING, trials=3, seed=unseeded.seed.entropy))
    assert not same(unseeded, ra.simulate(0.5, **SETTING, trials=3))


def test_all_beta_share_source_and_noise():
    run = ra.simulate([[0.2, 0.5, 0.9]], **SETTING, **SOURCE, trials=4, seed=1)
    assert run.law.shape == (4, 1, 3)
    single = ra.simulate(0.5, **SETTING, **SOURCE, trials=4, seed=1)
    assert np.array_equal(run[0, 1].law.cov, single.law.cov)
    assert run[0, 1].experiment.beta == 0.5


def test_selecting_beta_leaves_the_trials_in_front():
    beta = np.linspace(-0.9, 0.9, 12).reshape(2, 3, 2)
    run = ra.simulate(beta, **SETTING, trials=4, seed=1)
    for index in (0, (0, slice(None), [0, 1]), (Ellipsis, 1), beta > 0):
        chosen = run[index]
        assert chosen.law.shape == (4, *beta[index].shape)
        assert np.array_equal(chosen.experiment.beta, beta[index])
        for place in np.ndindex(beta[index].shape):
            (origin,) = np.argwhere(beta == beta[index][place])
            assert np.array_equal(chosen.law.mean[:, *place], run.law.mean[:, *origin])


def test_alpha_broadcasts_against_beta():
    run = ra.simulate([0.2, 0.9], **SETTING, trials=6, seed=1)
    alpha = np.linspace(-1, 2, 5)
    estimate = run.accuracy(alpha[:, None])
    assert np.shape(estimate.value) == (5, 2)
    assert estimate.n == 6
    for i in range(5):
        for j in range(2):
            each = run.law[:, j].accuracy(alpha[i])
            assert estimate.value[i, j] == pytest.approx(np.mean(each), rel=1e-14)
            assert estimate.stderr[i, j] == pytest.approx(np.std(each, ddof=1) / np.sqrt(6), rel=1e-12)
    assert np.shape(run.risk(alpha[:, None]).value) == (5, 2)
    assert run.risk(0.5).value[1] == pytest.approx(np.mean(run.law[:, 1].risk(0.5)), rel=1e-14)
    with pytest.raises(ValueError, match="alpha"):
        run.accuracy(alpha)


def test_scalars_come_out_as_floats():
    run = ra.simulate(0.5, **SETTING, trials=6, seed=1)
    assert type(run.accuracy(1.0).value) is float
    assert type(run.quantile(1.0, 0.5)) is float
    assert run.optimal_alpha().shape == (6,)


def test_quantiles_are_those_of_the_trials():
    run = ra.simulate([0.2, 0.9], **SETTING, trials=11, seed=1)
    accuracies = np.sort(run.law.accuracy(0.7), axis=0)
    assert np.array_equal(run.quantile(0.7, [0.0, 0.5, 1.0]), accuracies[[0, 5, 10]])
    with pytest.raises(ValueError, match="q must be in"):
        run.quantile(0.7, 1.5)


def test_answers_that_would_not_fit_in_memory_are_refused():
    run = ra.simulate(0.5, **SETTING, trials=100, seed=1)
    with pytest.raises(ValueError, match="alpha of shape"):
        run.accuracy(np.broadcast_to(0.5, (10**9,)))


def test_five_numbers_are_the_means_of_the_law():
    run = ra.simulate([0.2, 0.9], **SETTING, trials=7, seed=1)
    numbers = run.five_numbers()
    mean, cov = run.law.mean.mean(axis=0), run.law.cov.mean(axis=0)
    expected = np.stack([mean[:, 0], mean[:, 1], cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1]], axis=-1)
    np.testing.assert_allclose(numbers.value, expected, rtol=1e-14)


def test_one_trial_has_no_standard_error():
    estimate = ra.simulate(0.5, **SETTING, trials=1, seed=1).accuracy(1.0)
    assert np.isnan(estimate.stderr)
    assert Estimate.of(np.array([2.0])).value == 2.0


def test_the_progress_bar_goes_to_standard_error(capsys):
    ra.simulate(0.5, **SETTING, trials=2, seed=1, progress=True)
    out, err = capsys.readouterr()
    assert "trials" in err
    assert out == ""


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"n": 10.5}, "n"),
        ({"n": 0}, "n"),
        ({"n": [10, 20]}, "n"),
        ({"p": True}, "p"),
        ({"p": 1}, "p"),
        ({"p": np.nan}, "p"),
        ({"p": "20"}, "p"),
        ({"gamma": [0.1, 0.2]}, "gamma"),
        ({"gamma": -1.0}, "gamma"),
        ({"mu": np.inf}, "mu"),
        ({"mu": 1e40}, "mu"),
        ({"gamma": 1e70}, "gamma"),
        ({"label_noise": 0.5}, "label_noise"),
        ({"beta": 1.1}, "beta"),
        ({"beta": "a"}, "beta"),
        ({"n_source": 10}, "gamma_source"),
        ({"n_source": 10.5, "gamma_source": 1.0}, "n_source"),
        ({"gamma_source": 1.0}, "n_source"),
        ({"label_noise_source": 0.1}, "label_noise_source"),
        ({"trials": 0}, "trials"),
        ({"trials": 2.5}, "trials"),
        ({"trials": 10**13}, "trials"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"method": "magic"}, "method"),
        ({"method": None}, "method"),
        ({"n": 10**7, "p": 10**7}, "n=10000000"),
        ({"n_source": 10**12, "gamma_source": 1.0}, "n_source=1000000000000"),
        ({"n": 10**400}, "n"),
    ],
)
def test_bad_input_is_refused_by_name(change, name):
    arguments = {"beta": 0.5, **SETTING, "trials": 3, "seed": 0} | change
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        ra.simulate(**arguments)
