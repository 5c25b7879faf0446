"""Seeds, shapes and estimates of repeated experiments."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import threadpoolctl

import rmt_alpha as ra
from rmt_alpha.estimate import Estimate
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Experiment
from rmt_alpha.simulation import experiment as room
from rmt_alpha.simulation.experiment import Simulation, repeat
from tests.simulation.samplers import Numbers

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


@pytest.mark.parametrize("method", ["streaming", "dense"])
def test_a_source_leaves_the_target_alone(method):
    without = ra.simulate(0.5, **SETTING, trials=4, seed=3, method=method)
    with_source = ra.simulate(0.5, **SETTING, **SOURCE, trials=4, seed=3, method=method)
    np.testing.assert_allclose(without.law.mean[:, 0], with_source.law.mean[:, 0], rtol=1e-12)
    assert not np.array_equal(without.law.mean[:, 1], with_source.law.mean[:, 1])


def test_more_sources_leave_a_dense_target_alone():
    mixture, fixed = ra.GaussianMixture(np.linspace(0.1, 0.4, 20)), ra.FixedSource(np.ones(20))
    for method, alone in [("dense", True), ("streaming", False)]:
        runs = [ra.Transfer(mixture, 12, 0.3, [fixed] * K).simulate(3, 1, method=method) for K in (1, 2)]
        first = [run.law.mean[:, 0] for run in runs]
        assert np.allclose(*first, rtol=1e-12) == alone


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


@pytest.mark.slow
def test_workers_and_executors_change_nothing():
    # the default chunk of this shape has hundreds of trials
    problem = {"beta": [0.2, 0.5], **SETTING, **SOURCE, "trials": 700, "seed": 3}
    run = ra.simulate(**problem, workers=1)
    assert same(run, ra.simulate(**problem, workers=3))
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as executor:
        assert same(run, ra.simulate(**problem, executor=executor))


# Checkpoints.


def test_a_checkpoint_continues_a_run_and_its_seed(tmp_path):
    path = tmp_path / "run.sqlite"
    first = ra.simulate(0.5, **SETTING, trials=5, checkpoint=path)
    longer = ra.simulate(0.5, **SETTING, trials=9, checkpoint=str(path))
    assert longer.seed.entropy == first.seed.entropy
    assert np.array_equal(longer.law.mean[:5], first.law.mean)
    assert same(longer, ra.simulate(0.5, **SETTING, trials=9, seed=first.seed.entropy, checkpoint=path))
    assert same(longer, ra.simulate(0.5, **SETTING, trials=9, seed=first.seed))
    with pytest.raises(ValueError, match="belongs to another seed"):
        ra.simulate(0.5, **SETTING, trials=9, seed=1, checkpoint=path)


def test_a_generator_continues_the_run_of_its_seed(tmp_path):
    path = tmp_path / "run.sqlite"
    first = ra.simulate(0.5, **SETTING, trials=5, seed=np.random.default_rng(2), checkpoint=path)
    assert same(first, ra.simulate(0.5, **SETTING, trials=5, seed=np.random.default_rng(2), checkpoint=path))
    child = np.random.SeedSequence(4, spawn_key=(1, 2))
    run = ra.simulate(0.5, **SETTING, trials=5, seed=child, checkpoint=tmp_path / "child.sqlite")
    again = ra.simulate(0.5, **SETTING, trials=5, checkpoint=tmp_path / "child.sqlite")
    assert same(run, again)
    assert again.seed.spawn_key == (1, 2)


CHANGES = [
    {"beta": 0.6},
    {"n": 13},
    {"p": 21},
    {"gamma": 0.30000000000000004},
    {"mu": 1.3},
    {"mu_perp": 0.9},
    {"n_source": 16},
    {"gamma_source": 0.8},
    {"label_noise": 0.1},
    {"label_noise_source": 0.1},
    {"n_source": None, "gamma_source": None},
    {"noise": "laplace"},
]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_checkpoint_of_another_problem_is_refused(change, tmp_path):
    path = tmp_path / "run.sqlite"
    problem = {"beta": 0.5, **SETTING, **SOURCE, "trials": 2, "seed": 1}
    ra.simulate(**problem, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="belongs to another problem"):
        ra.simulate(**problem | change, checkpoint=path)
    assert path.read_bytes() == before


# Noise that is not Gaussian.


@pytest.fixture(scope="module")
def counted():
    return ra.simulate([[0.2, 0.5, 0.9]], **SETTING, **SOURCE, trials=7, seed=1, noise="laplace", test_size=31)


def test_other_noise_counts_test_points(counted):
    assert counted.margins.shape == (7, 1, 3, 31, 2)
    assert not counted.margins.flags.writeable
    alpha = np.array([-2.0, 0.0, 0.7, 1e300])[:, None, None]
    estimate = counted.accuracy(alpha)
    assert np.shape(estimate.value) == (4, 1, 3)
    for i, j in np.ndindex(4, 3):
        each = [np.mean(m[:, 0] + alpha[i, 0, 0] * m[:, 1] > 0) for m in counted.margins[:, 0, j]]
        assert estimate.value[i, 0, j] == pytest.approx(np.mean(each), rel=1e-14)
        assert estimate.stderr[i, 0, j] == pytest.approx(np.std(each, ddof=1) / np.sqrt(7), rel=1e-12)
    middle = counted.quantile(0.7, 0.5)
    assert np.array_equal(middle, np.median((counted.margins @ [1.0, 0.7] > 0).mean(axis=-1), axis=0))


def test_answers_of_the_moments_are_those_of_the_law(counted):
    gaussian = Simulation(counted.law, counted.experiment, counted.seed)
    assert np.array_equal(counted.risk(0.5).value, gaussian.risk(0.5).value)
    assert np.array_equal(counted.five_numbers().value, gaussian.five_numbers().value)
    assert np.array_equal(counted.optimal_alpha(), gaussian.optimal_alpha())
    assert not np.array_equal(counted.accuracy(0.5).value, gaussian.accuracy(0.5).value)


def test_an_infinite_alpha_leaves_the_source_alone_to_speak(counted):
    m = counted.margins
    for alpha, expected in [(np.inf, m[..., 1] > 0), (-np.inf, m[..., 1] < 0)]:
        assert np.array_equal(counted.accuracy(alpha).value, expected.mean(axis=-1).mean(axis=0))
    # where it says nothing, the rest decides
    silent = m.copy()
    silent[..., ::2, 1] = 0.0
    run = Simulation(counted.law, counted.experiment, counted.seed, silent)
    expected = np.where(silent[..., 1] == 0.0, silent[..., 0], -silent[..., 1]) > 0
    assert np.array_equal(run.accuracy(-np.inf).value, expected.mean(axis=-1).mean(axis=0))


def test_no_alpha_gives_no_accuracy(counted):
    for run in (counted[0, 1], ra.simulate(0.5, **SETTING, trials=3, seed=1)):
        assert np.shape(run.accuracy([]).value) == (0,)


def test_selecting_beta_selects_its_margins(counted):
    chosen = counted[0, 1:]
    assert np.array_equal(chosen.margins, counted.margins[:, 0, 1:])
    assert np.array_equal(chosen.accuracy(0.7).value, counted.accuracy(0.7).value[0, 1:])


@pytest.mark.parametrize("block", [1, 40, 100, 10**6])
def test_margins_are_counted_block_by_block(counted, block, monkeypatch):
    alpha = np.linspace(-1, 2, 5)[:, None, None]
    expected = counted.accuracy(alpha).value
    monkeypatch.setattr(room, "_BLOCK", block)
    assert np.array_equal(counted.accuracy(alpha).value, expected)


def test_counting_takes_little_memory():
    import tracemalloc

    rng = np.random.default_rng(0)
    law = MarginLaw(np.tile([0.5, 0.3], (50, 1)), np.tile(np.eye(2), (50, 1, 1)))
    experiment = Experiment(0.5, **SETTING)
    run = Simulation(law, experiment, np.random.SeedSequence(0), rng.standard_normal((50, 2000, 2)))
    tracemalloc.start()
    estimate = run.accuracy(np.linspace(-1, 1, 200))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64e6  # all margins at all α would take 160 MB, and as much again on the way
    assert estimate.value.shape == (200,)


def test_other_noise_survives_a_checkpoint_and_a_pickle(tmp_path):
    problem = {"beta": 0.5, **SETTING, "noise": "student", "dof": 6.0, "test_size": 9, "seed": 2}
    path = tmp_path / "run.sqlite"
    ra.simulate(**problem, trials=3, checkpoint=path)
    run = ra.simulate(**problem, trials=5, checkpoint=path)
    straight = ra.simulate(**problem, trials=5)
    assert same(run, straight)
    assert np.array_equal(run.margins, straight.margins)
    again = pickle.loads(pickle.dumps(run))
    assert same(again, run)
    assert again.accuracy(0.3).value == run.accuracy(0.3).value


# Any number of sources.


class Laws(Numbers):
    """Random margin laws of K sources."""

    K = 2

    @property
    def record(self):
        return {"mean": (self.K + 1,), "cov": (self.K + 1, self.K + 1), "margins": (6, self.K + 1)}

    def sample(self, root, trials):
        rng = np.random.default_rng(root)
        mean = rng.standard_normal((trials, self.K + 1))
        half = rng.standard_normal((trials, self.K + 1, self.K + 1))
        margins = rng.standard_normal((trials, 6, self.K + 1))
        return {"mean": mean, "cov": half @ half.swapaxes(1, 2), "margins": margins}


class NoSource(Laws):
    K = 0


def test_several_sources_have_a_trailing_axis():
    run = repeat(Laws(), None, trials=9, seed=1)
    exact = Simulation(run.law, None, run.seed)
    alphas = np.random.default_rng(0).standard_normal((5, 4, 2))
    for each in (run, exact):
        estimate = each.accuracy(alphas)
        assert np.shape(estimate.value) == (5, 4)
        assert estimate.value[3, 1] == pytest.approx(each.accuracy(alphas[3, 1]).value, rel=1e-14)
    assert exact.accuracy(alphas[3, 1]).value == pytest.approx(np.mean(run.law.accuracy(alphas[3, 1])), rel=1e-14)
    share = np.mean(run.margins @ [1.0, *alphas[3, 1]] > 0)
    assert run.accuracy(alphas[3, 1]).value == pytest.approx(share, rel=1e-14)
    assert np.shape(run.risk(alphas).value) == (5, 4)
    assert run.optimal_alpha().shape == (9, 2)
    assert np.shape(run.quantile(alphas, [0.1, 0.9, 0.5])) == (3, 5, 4)
    with pytest.raises(ValueError, match="five_numbers needs a problem with one source, this one has 2"):
        run.five_numbers()
    with pytest.raises(ValueError, match="alpha must have a trailing axis of length 2"):
        run.accuracy(1.0)
    with pytest.raises(ValueError, match="alpha"):
        run.accuracy([np.inf, 0.0])
    with pytest.raises(IndexError, match="beta"):
        run[0]


def test_without_a_source_alpha_is_left_out():
    run = repeat(NoSource(), None, trials=9, seed=1)
    assert run.accuracy().value == pytest.approx(np.mean(run.margins > 0), rel=1e-14)
    exact = Simulation(run.law, None, run.seed)
    assert exact.accuracy().value == pytest.approx(np.mean(run.law.accuracy()), rel=1e-14)
    assert type(exact.risk().value) is float
    assert type(run.quantile(None, 0.5)) is float
    with pytest.raises(ValueError, match="alpha must be left out"):
        run.accuracy(1.0)


def test_alpha_is_required_with_a_source():
    with pytest.raises(ValueError, match="alpha is required"):
        ra.simulate(0.5, **SETTING, trials=3, seed=1).accuracy()


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
        ({"trials": 10**400}, "trials"),
        ({"progress": "no"}, "progress"),
        ({"seed": -1}, "seed"),
        ({"seed": "x"}, "seed"),
        ({"seed": 1.5}, "seed"),
        ({"method": "magic"}, "method"),
        ({"method": None}, "method"),
        ({"noise": "cauchy"}, "noise"),
        ({"noise": None}, "noise"),
        ({"noise": "student"}, "dof"),
        ({"noise": "student", "dof": 4.0}, "dof"),
        ({"dof": 5.0}, "dof"),
        ({"test_size": 100}, "test_size"),
        ({"test_size": 100, "method": "streaming"}, "test_size needs non-Gaussian noise"),
        ({"test_size": 100, "method": "dense"}, "test_size needs non-Gaussian noise"),
        ({"noise": "laplace", "test_size": 0}, "test_size"),
        ({"workers": 0}, "workers"),
        ({"executor": "threads"}, "executor"),
        ({"checkpoint": 3}, "checkpoint"),
        ({"checkpoint": "a\0b"}, "checkpoint"),
        ({"checkpoint": ":memory:", "seed": None}, "checkpoint"),
        ({"n": 10**7, "p": 10**7, "method": "dense"}, "n=10000000"),
        ({"n_source": 10**12, "gamma_source": 1.0, "method": "dense"}, "n_source=1000000000000"),
        ({"n": 2**60}, "n"),
        ({"noise": "laplace", "method": "streaming"}, "method"),
        ({"n": 10**400}, "n"),
    ],
)
def test_bad_input_is_refused_by_name(change, name):
    arguments = {"beta": 0.5, **SETTING, "trials": 3, "seed": 0} | change
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        ra.simulate(**arguments)


def test_auto_streams_where_it_can():
    run = ra.simulate(0.5, **SETTING, **SOURCE, trials=5, seed=3)
    streamed, dense = (
        ra.simulate(0.5, **SETTING, **SOURCE, trials=5, seed=3, method=m) for m in ("streaming", "dense")
    )
    assert same(run, streamed)
    assert not same(run, dense)
    uniform = ra.simulate(0.5, **SETTING, trials=5, seed=3, noise="uniform")
    assert uniform.margins is not None


@pytest.mark.slow
def test_sizes_that_no_matrix_could_hold_are_drawn():
    problem = {"beta": 0.6, "n": 10**6, "p": 3 * 10**6, "gamma": 0.4, "n_source": 2 * 10**6, "gamma_source": 0.7}
    run, law = ra.simulate(**problem, trials=2, seed=0), ra.margin_law(**problem)
    np.testing.assert_allclose(run.law.mean, np.broadcast_to(law.mean, (2, 2)), rtol=0.01)
    np.testing.assert_allclose(run.law.cov, np.broadcast_to(law.cov, (2, 2, 2)), rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("beta", [0.5, [0.2, 0.5, 0.9]])
def test_fluctuations_are_those_of_the_trials(beta):
    run = ra.simulate(beta, **SETTING, **SOURCE, trials=50, seed=3)
    spread = run.fluctuations()
    assert spread.shape == np.shape(beta)
    for index in np.ndindex(spread.shape):
        mean, cov = (getattr(run.law, name)[(slice(None), *index)] for name in ("mean", "cov"))
        numbers = np.stack([*mean.T, cov[:, 0, 0], cov[:, 0, 1], cov[:, 1, 1]])
        np.testing.assert_allclose(spread.cov[index], np.cov(numbers), rtol=1e-12)
        np.testing.assert_allclose(spread.numbers[index], numbers.mean(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(spread.bias, 0.0)
    estimate = run.five_numbers()
    np.testing.assert_allclose(spread.numbers, estimate.value, rtol=1e-12)
    np.testing.assert_allclose(spread.std / np.sqrt(50), estimate.stderr, rtol=1e-12)


def test_fluctuations_of_every_noise_and_number_of_sources():
    mixture = ra.GaussianMixture(np.linspace(0.1, 0.4, 20))
    run = ra.Transfer(mixture, 10, 0.3).simulate(6, seed=1, noise="laplace", test_size=30)
    assert run.fluctuations().names == ("M0", "V00")
    several = ra.Transfer(mixture, 10, 0.3, [ra.FixedSource(np.ones(20)), ra.RidgeSource(mixture, 9, 0.2)])
    spread = several.simulate(6, seed=1).fluctuations()
    assert spread.n_sources == 2
    assert spread.cov.shape == (9, 9)


def test_one_trial_does_not_fluctuate():
    with pytest.raises(ValueError, match="at least 2 trials, this simulation has 1"):
        ra.simulate(0.5, **SETTING, trials=1, seed=3).fluctuations()
