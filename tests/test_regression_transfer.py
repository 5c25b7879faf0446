"""A regression problem, its law and its simulation: what goes in, what comes out, what is refused."""

import pickle

import numpy as np
import pytest

from rmt_alpha.problem import FixedSource, GaussianMixture, RegressionTask, RidgeSource, check_sources
from rmt_alpha.regression import RegressionTransfer
from rmt_alpha.transfer import Transfer

P, D = 12, 3
RNG = np.random.default_rng(0)
FULL = (lambda A: A @ A.T / P)(RNG.standard_normal((P, 2 * P)))
NEW = RegressionTask(RNG.standard_normal((D, P)), 0.7, [0.3, 0.5, 1.0])
OLD = RegressionTask(NEW.weights + 0.4 * RNG.standard_normal((D, P)), FULL, 0.2)
SOURCES = [RidgeSource(OLD, 60, 0.5), FixedSource(RNG.standard_normal((D, P))), RidgeSource(NEW, 30, 0.2)]


def problem(k=3, n=20, gamma=0.3):
    return RegressionTransfer(NEW, n, gamma, SOURCES[:k])


@pytest.mark.parametrize("k", [0, 1, 3])
def test_laws_and_simulations_have_every_number_of_sources(k):
    p = problem(k)
    run = p.simulate(5, seed=1)
    assert run.experiment is p
    assert (run.law.shape, run.law.n_sources, run.total.shape) == ((5, D), k, (5,))
    assert (p.risk_law().shape, p.risk_law(per_output=True).shape) == ((), (D,))
    alpha = None if k == 0 else 0.7 if k == 1 else np.full(k, 0.7)
    rows, total = run.risk(alpha, per_output=True), run.risk(alpha)
    assert np.shape(rows.value) == (D,)
    assert isinstance(total.value, float)
    assert total.value == pytest.approx(np.sum(rows.value), rel=1e-12)
    assert total.value == pytest.approx(np.mean([law.risk(alpha) for law in run.total]), rel=1e-12)
    if k:
        core = () if k == 1 else (k,)
        assert run.optimal_alpha().shape == (5, *core)
        assert run.optimal_alpha(per_output=True).shape == (5, D, *core)


def test_alpha_of_a_simulation_broadcasts_with_the_outputs():
    for k, core in ((1, ()), (3, (3,))):
        run = problem(k).simulate(6, seed=2)
        grid = RNG.standard_normal((4, *core))
        np.testing.assert_allclose(run.risk(grid).value, [run.risk(a).value for a in grid])
        each = RNG.standard_normal((4, D, *core))
        rows = run.risk(each, per_output=True)
        assert rows.value.shape == rows.stderr.shape == (4, D)
        for i, j in np.ndindex(4, D):
            values = [law[j].risk(each[i, j]) for law in run.law]
            assert rows.value[i, j] == pytest.approx(np.mean(values), rel=1e-12)
            assert rows.stderr[i, j] == pytest.approx(np.std(values, ddof=1) / 6**0.5, rel=1e-9)
        one = run.risk(each[:, :1], per_output=True)
        assert np.array_equal(one.value, run.risk(np.repeat(each[:, :1], D, axis=1), per_output=True).value)


def test_the_best_alphas_are_the_best():
    run = problem(1).simulate(50, seed=3)
    for per_output, law in ((False, run.total), (True, run.law)):
        best = run.optimal_alpha(per_output=per_output)
        for change in (-0.01, 0.01):
            assert (law.risk(best) < law.risk(best + change)).all()
    theory, mean = problem(1).risk_law(per_output=True).optimal_alpha(), run.optimal_alpha(per_output=True)
    assert np.abs(np.median(mean, axis=0) - theory).max() < 0.1


def test_a_path_is_made_of_problems():
    n, gamma = np.array([[10.0], [40.0]]), np.array([0.0, 0.2, 3.0])
    for per_output in (False, True):
        path = problem().path(n, gamma, per_output=per_output)
        assert path.shape == ((2, 3, D) if per_output else (2, 3))
        for i, j in np.ndindex(2, 3):
            one = problem(n=n[i, 0], gamma=gamma[j]).risk_law(per_output=per_output)
            for name in ("constant", "linear", "quadratic"):
                np.testing.assert_allclose(getattr(path[i, j], name), getattr(one, name), rtol=1e-12, atol=1e-15)
    assert problem().path(gamma=gamma).shape == (3,)
    assert problem().path(n=n).shape == (2, 1)
    assert problem().path().constant == problem().risk_law().constant
    with pytest.raises(ValueError, match="do not broadcast"):
        problem().path([1, 2], [1, 2, 3])


def test_a_vector_is_a_single_output():
    vector = RegressionTransfer(RegressionTask(NEW.weights[0]), 20, 0.3, [FixedSource(OLD.weights[0])])
    matrix = RegressionTransfer(RegressionTask(NEW.weights[:1]), 20, 0.3, [FixedSource(OLD.weights[:1])])
    assert vector.risk_law().optimal_alpha() == matrix.risk_law().optimal_alpha()
    first, second = vector.simulate(3, seed=0), matrix.simulate(3, seed=0)
    assert np.array_equal(first.law.linear, second.law.linear)
    assert first.law.shape == (3, 1)


def test_any_number_of_workers_gives_the_same_bits():
    runs = [problem().simulate(700, seed=4, workers=workers) for workers in (1, 3)]
    for name in ("constant", "linear", "quadratic"):
        assert np.array_equal(getattr(runs[0].law, name), getattr(runs[1].law, name))
    short = problem().simulate(300, seed=4)
    assert np.array_equal(short.law.linear, runs[0].law.linear[:300])
    assert not np.array_equal(problem().simulate(3, seed=5).law.linear, runs[0].law.linear[:3])


def test_a_run_is_continued_and_another_problem_refused(tmp_path):
    path = tmp_path / "run.sqlite"
    first = problem().simulate(20, checkpoint=path)
    longer = problem().simulate(300, checkpoint=path)
    assert longer.seed.entropy == first.seed.entropy
    assert np.array_equal(longer.law.quadratic[:20], first.law.quadratic)
    whole = problem().simulate(300, seed=first.seed)
    assert np.array_equal(longer.law.quadratic, whole.law.quadratic)
    with pytest.raises(ValueError, match="belongs to another problem: gamma is"):
        problem(gamma=0.4).simulate(20, seed=first.seed, checkpoint=path)
    louder = RegressionTransfer(RegressionTask(NEW.weights, 0.7, 0.4), 20, 0.3, SOURCES)
    with pytest.raises(ValueError, match="belongs to another problem"):
        louder.simulate(20, seed=first.seed, checkpoint=path)
    nothing = tmp_path / "plain.sqlite"
    plain = problem(0).simulate(10, checkpoint=nothing)
    assert np.array_equal(problem(0).simulate(10, checkpoint=nothing).law.constant, plain.law.constant)


def test_problems_and_runs_can_be_pickled_and_are_frozen():
    again = pickle.loads(pickle.dumps(problem()))
    assert again.risk_law().constant == pytest.approx(problem().risk_law().constant, rel=1e-14)
    run = pickle.loads(pickle.dumps(problem().simulate(2, seed=0)))
    assert np.array_equal(again.simulate(2, seed=0).law.linear, run.law.linear)
    assert repr(run) == "RegressionSimulation(trials=2, d=3, entropy=0)"
    with pytest.raises(AttributeError):
        again.n = 3
    for array in (run.law.constant, again.target.weights, again.target.noise, again.target.covariance):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1.0


def test_a_task_tells_its_form_and_keeps_its_own_numbers():
    weights, noise = np.ones((2, 4)), np.array([0.1, 0.2])
    task = RegressionTask(weights, np.diag([1.0, 2.0, 3.0, 4.0]), noise)
    weights[...] = noise[...] = 7.0
    assert np.array_equal(task.weights, np.ones((2, 4)))
    assert np.array_equal(task.noise, [0.1, 0.2])
    assert repr(task) == "RegressionTask(d=2, p=4, covariance=diagonal)"
    assert (task.d, task.p, task.eigenvectors) == (2, 4, None)
    assert RegressionTask(np.ones(5)).weights.shape == (1, 5)
    full = RegressionTask(np.ones((2, P)), FULL)
    np.testing.assert_allclose(full.root @ full.root, FULL, atol=1e-13)
    assert np.array_equal(pickle.loads(pickle.dumps(full)).eigenvectors, full.eigenvectors)


def test_theory_knows_no_whole_numbers_but_a_simulation_does():
    half = RegressionTransfer(NEW, 20.5, 0.3, [RidgeSource(OLD, 9.5, 0.1)])
    assert np.isfinite(half.risk_law().best_risk())
    with pytest.raises(ValueError, match=r"n must be an integer, got 20\.5"):
        half.simulate(2)
    with pytest.raises(ValueError, match=r"sources\[0\].n must be an integer, got 9\.5"):
        RegressionTransfer(NEW, 20, 0.3, [RidgeSource(OLD, 9.5, 0.1)]).simulate(2)


def test_what_does_not_fit_in_memory_is_refused_before_it_is_tried():
    with pytest.raises(ValueError, match="GiB"):
        RegressionTransfer(RegressionTask(np.zeros(10**6)), 10**6 - 1, 1.0).simulate(2)
    with pytest.raises(ValueError, match="GiB"):
        RegressionTransfer(NEW, 20, 1.0, [RidgeSource(OLD, 1e13, 0.1)]).simulate(2)
    with pytest.raises(ValueError, match="GiB"):
        problem(1).simulate(10**12)
    with pytest.raises(ValueError, match="GiB"):
        problem(1).simulate(3000).risk(np.broadcast_to(0.5, (10**7,)))


MIXTURE = GaussianMixture(np.ones(P))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RegressionTransfer(MIXTURE, 20, 0.3), "target must be a RegressionTask, got GaussianMixture"),
        (lambda: RegressionTransfer(NEW, 0, 0.3), r"n must be in \(0"),
        (lambda: RegressionTransfer(NEW, "20", 0.3), "n must be real"),
        (lambda: RegressionTransfer(NEW, 20, -0.3), "gamma must be in"),
        (
            lambda: RegressionTransfer(NEW, 20, 0.3, SOURCES[0]),
            "sources must be a sequence of sources, got RidgeSource",
        ),
        (lambda: RegressionTransfer(NEW, 20, 0.3, [OLD]), r"sources\[0\] must be a RidgeSource or a FixedSource"),
        (
            lambda: RegressionTransfer(NEW, 20, 0.3, [RidgeSource(MIXTURE, 20, 0.1)]),
            r"sources\[0\]\.mixture must be a RegressionTask, as target is, got GaussianMixture",
        ),
        (
            lambda: RegressionTransfer(NEW, 20, 0.3, [SOURCES[0], FixedSource(np.ones((D, P + 1)))]),
            r"sources\[1\] must have the dimension 12 of target, got 13",
        ),
        (
            lambda: RegressionTransfer(NEW, 20, 0.3, [FixedSource(np.ones(P))]),
            r"sources\[0\] must have as many outputs as target, 3, got 1",
        ),
        (
            lambda: RegressionTransfer(NEW, 20, 0.3, [RidgeSource(RegressionTask(np.ones((2, P))), 20, 0.1)]),
            r"sources\[0\] must have as many outputs as target, 3, got 2",
        ),
        (lambda: Transfer(NEW, 20, 0.3), "target must be a GaussianMixture, got RegressionTask"),
        (
            lambda: Transfer(MIXTURE, 20, 0.3, [RidgeSource(OLD, 20, 0.1)]),
            r"sources\[0\]\.mixture must be a GaussianMixture, as target is, got RegressionTask",
        ),
        (
            lambda: check_sources(MIXTURE, [FixedSource(np.ones(P)), FixedSource(np.ones((1, P)))]),
            r"sources\[1\]\.weights must be a vector to fit a GaussianMixture, got shape \(1, 12\)",
        ),
        (lambda: RegressionTask(1.0), "weights must be a vector"),
        (lambda: RegressionTask(np.ones((3, 1, 1))), r"weights must be a vector .* got shape \(3, 1, 1\)"),
        (lambda: RegressionTask(np.ones((1, 2, 2))), "weights must be a vector"),
        (lambda: RegressionTask(np.ones((0, 2))), "weights must be a vector"),
        (lambda: RegressionTask([[np.nan, 1.0]]), "weights must be finite"),
        (lambda: RegressionTask(np.ones((2, 4)), np.ones(3)), r"covariance must have shape .* to fit weights"),
        (lambda: RegressionTask(np.ones((2, 4)), noise=-0.1), "noise must be in"),
        (lambda: RegressionTask(np.ones((2, 4)), noise=[0.1]), r"noise must be a number or have shape \(2,\)"),
        (lambda: RegressionTask(np.ones((2, 4)), noise=np.inf), "noise must be"),
    ],
)
def test_bad_problems_are_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise": "cauchy"}, "noise must be one of gaussian"),
        ({"noise": "student"}, "dof is required"),
        ({"dof": 5}, "dof needs noise"),
        ({"trials": 0}, "trials must be an integer"),
        ({"seed": "x"}, "seed must be"),
        ({"workers": 0}, "workers must be"),
    ],
)
def test_bad_simulations_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        problem(1).simulate(**{"trials": 2, "seed": 0} | change)


@pytest.mark.parametrize("per_output", [False, True])
def test_a_bad_alpha_is_refused_by_name(per_output):
    run = problem(1).simulate(2, seed=0)
    for alpha in (None, np.inf, "x", np.ones(7) if per_output else 1j):
        with pytest.raises(ValueError, match="alpha"):
            run.risk(alpha, per_output=per_output)
    with pytest.raises(ValueError, match="alpha must have a trailing axis of length 3"):
        problem(3).simulate(2, seed=0).risk(1.0, per_output=per_output)
    with pytest.raises(ValueError, match="alpha must be left out"):
        problem(0).simulate(2, seed=0).risk(1.0, per_output=per_output)
