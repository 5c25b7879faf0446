"""A transfer problem and its simulation: what goes in, what comes out, what is refused."""

import pickle

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.transfer import Transfer

P = 12
OLD = GaussianMixture(np.full(P, 0.4), np.linspace(0.5, 2.0, P))
NEW = GaussianMixture(np.linspace(0.0, 0.8, P), 0.7, label_noise=0.1)
SOURCES = [RidgeSource(OLD, 60, 0.5), FixedSource(np.ones(P)), RidgeSource(NEW, 30, 0.2)]


def problem(k):
    return Transfer(NEW, n=20, gamma=0.3, sources=SOURCES[:k])


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("noise", ["gaussian", "laplace"])
def test_a_simulation_has_every_number_of_sources(k, noise):
    run = problem(k).simulate(5, seed=1, noise=noise, test_size=None if noise == "gaussian" else 40)
    assert run.law.mean.shape == (5, k + 1)
    assert run.law.n_sources == k
    assert run.experiment.sources == tuple(SOURCES[:k])
    if noise == "gaussian":
        assert run.margins is None
    else:
        assert run.margins.shape == (5, 40, k + 1)


@pytest.mark.slow
def test_the_isotropic_experiment_is_a_transfer():
    """One problem through both doors: the same law, by means and standard errors."""
    n, p, mu, mu_perp, beta = 60, 40, 1.2, 0.9, 0.7
    along, across = np.zeros((2, p))
    along[3], across[5] = mu, mu_perp
    target = GaussianMixture(beta * along + np.sqrt(1 - beta**2) * across, label_noise=0.1)
    source = RidgeSource(GaussianMixture(along, label_noise=0.2), 80, 0.5)
    first = Transfer(target, n, 0.3, [source]).simulate(400, seed=1).five_numbers()
    second = ra.simulate(
        beta,
        n,
        p,
        0.3,
        mu=mu,
        mu_perp=mu_perp,
        n_source=80,
        gamma_source=0.5,
        label_noise=0.1,
        label_noise_source=0.2,
        trials=400,
        seed=2,
    ).five_numbers()
    assert (np.abs(first.value - second.value) < 4 * np.hypot(first.stderr, second.stderr)).all()
    assert (first.stderr < 0.05 * np.abs(second.value) + 0.01).all()


def test_the_best_choice_and_the_ceiling_are_those_of_its_own_samples_and_penalty():
    """The formulas are compared in tests/theory/test_general_choice.py; these methods say which n and γ are meant."""
    along, across = np.eye(2, 40) * [[1.2], [0.9]]
    target = GaussianMixture(0.7 * along + np.sqrt(1 - 0.7**2) * across)
    transfer = Transfer(target, 60, 0.3, [FixedSource(along)])
    isotropic = {"beta": 0.7, "n": 60, "p": 40, "mu": 1.2, "mu_perp": 0.9}
    got, want = transfer.optimal_alpha_gamma(), ra.optimal_alpha_gamma(**isotropic, gamma=0.3)
    for name in ("alpha", "gamma", "accuracy", "gamma_given", "accuracy_given", "alpha_given", "accuracy_alpha_given"):
        assert getattr(got, name) == pytest.approx(getattr(want, name), rel=1e-6), name
    assert transfer.limit_accuracy() == pytest.approx(ra.limit_accuracy(**isotropic), rel=1e-9)


@pytest.mark.slow
def test_theory_is_what_simulation_converges_to():
    """One, no and three sources; the exact oracle is in tests/theory/test_equivalents.py."""
    for k in (0, 1, 3):
        law, run = problem(k).margin_law(), problem(k).simulate(2000, seed=3, workers=1)
        assert law.n_sources == k
        alpha = None if k == 0 else 0.7 if k == 1 else [0.7, 0.2, -0.3]
        estimate = run.accuracy(alpha)
        assert abs(estimate.value - law.accuracy(alpha)) < 4 * estimate.stderr + 0.1 / P


def test_a_path_is_a_grid_of_problems():
    gamma, n = np.array([0.0, 0.3, 2.0]), np.array([[5.0], [20.0]])
    law = problem(3).path(n=n, gamma=gamma)
    for i, j in np.ndindex(law.shape):
        one = Transfer(NEW, n[i, 0], gamma[j], SOURCES).margin_law()
        np.testing.assert_allclose(law.mean[i, j], one.mean, rtol=1e-12)
        np.testing.assert_allclose(law.cov[i, j], one.cov, rtol=1e-11)
    assert problem(1).path(n=[5, 6]).shape == (2,)
    assert problem(1).path(gamma=[5, 6, 7]).shape == (3,)
    assert problem(1).path().shape == ()
    with pytest.raises(ValueError, match="do not broadcast"):
        problem(1).path(n=[5, 6], gamma=[1, 2, 3])
    with pytest.raises(ValueError, match="gamma must be in"):
        problem(1).path(gamma=-1)


def test_the_equivalent_classifier_is_the_mean_of_the_trained_ones():
    """Along every axis, by means and standard errors over trainings written out here."""
    rng = np.random.default_rng(0)
    p, n, gamma = 10, 60, 0.3
    target = GaussianMixture(np.linspace(0.1, 0.6, p), np.linspace(0.2, 2.0, p), 0.1)
    w, alpha, trials = rng.standard_normal(p), np.array([0.0, 1.5]), 4000
    sums = np.zeros((2, 2, p))
    for _ in range(trials):
        y = rng.choice([-1.0, 1.0], n)
        X = y[:, None] * target.mean + rng.standard_normal((n, p)) * target.root
        f = np.where(rng.random(n) < 0.1, -y, y)
        Q = np.linalg.inv(X.T @ X / n + gamma * np.eye(p))
        trained = Q @ X.T @ f / n + alpha[:, None] * gamma * (Q @ w)
        sums += np.stack([trained, trained**2])
    mean = sums[0] / trials
    error = np.sqrt((sums[1] / trials - mean**2) / trials)
    predicted = Transfer(target, n, gamma, [FixedSource(w)]).equivalent_classifier(alpha)
    assert (np.abs(mean - predicted) < 4 * error + 0.3 / n * np.linalg.norm(predicted, axis=1, keepdims=True)).all()
    assert np.abs(mean - predicted)[1].max() < 0.1 * np.abs(predicted[1] - predicted[0]).max()


def test_a_seed_reproduces_and_a_longer_run_starts_with_the_shorter():
    short, long = (problem(3).simulate(trials, seed=4) for trials in (3, 8))
    assert np.array_equal(long.law.mean[:3], short.law.mean)
    other = problem(3).simulate(3, seed=5)
    assert not np.array_equal(other.law.mean, short.law.mean)


def test_accuracy_at_every_source():
    run = problem(3).simulate(40, seed=4)
    alpha = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.5]])
    estimate = run.accuracy(alpha)
    np.testing.assert_allclose(estimate.value, np.mean([law.accuracy(alpha) for law in run.law], axis=0))
    assert run.optimal_alpha().shape == (40, 3)


def test_problems_can_be_pickled_and_are_frozen():
    again = pickle.loads(pickle.dumps(problem(3)))
    assert np.array_equal(again.simulate(2, seed=0).law.mean, problem(3).simulate(2, seed=0).law.mean)
    with pytest.raises(AttributeError):
        again.n = 3


def test_theory_knows_no_whole_numbers_but_a_simulation_does():
    with pytest.raises(ValueError, match=r"n must be an integer, got 20\.5"):
        Transfer(NEW, 20.5, 0.3).simulate(2)
    with pytest.raises(ValueError, match=r"sources\[0\].n must be an integer, got 9\.5"):
        Transfer(NEW, 20, 0.3, [RidgeSource(OLD, 9.5, 0.1)]).simulate(2)


def test_what_does_not_fit_in_memory_is_refused_before_it_is_tried():
    wide = GaussianMixture(np.zeros(10**6))
    with pytest.raises(ValueError, match="GiB"):
        Transfer(wide, 10**6 - 1, 1.0).simulate(2, method="dense")
    with pytest.raises(ValueError, match="GiB"):
        Transfer(NEW, 20, 1.0, [RidgeSource(OLD, 1e13, 0.1)]).simulate(2)
    with pytest.raises(ValueError, match="GiB"):
        problem(1).simulate(10**12)
    with pytest.raises(ValueError, match="GiB"):
        problem(1).simulate(1000, noise="laplace", test_size=10**9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.ones(P)}, "target must be a GaussianMixture, got ndarray"),
        ({"n": 0}, r"n must be in \(0"),
        ({"n": "20"}, "n must be real"),
        ({"n": [20]}, "n must be a single number"),
        ({"gamma": -0.1}, "gamma must be in"),
        ({"gamma": np.nan}, "gamma must be in"),
        ({"gamma": None}, "gamma must be"),
        ({"sources": SOURCES[0]}, "sources must be a sequence of sources, got RidgeSource"),
        ({"sources": None}, "sources must be a sequence of sources, got NoneType"),
        ({"sources": [OLD]}, r"sources\[0\] must be a RidgeSource or a FixedSource, got GaussianMixture"),
        ({"sources": "source"}, r"sources\[0\] must be"),
        ({"sources": [SOURCES[0], FixedSource([1.0])]}, r"sources\[1\] must have the dimension 12 of target, got 1"),
    ],
)
def test_bad_problems_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        Transfer(**{"target": NEW, "n": 20, "gamma": 0.3, "sources": SOURCES} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "magic"}, "method must be one of auto, streaming, dense, got 'magic'"),
        ({"method": None}, "method must be one of"),
        ({"noise": "cauchy"}, "noise must be one of gaussian"),
        ({"noise": None}, "noise must be one of gaussian"),
        ({"noise": "student"}, "dof is required"),
        ({"noise": "student", "dof": 4}, r"dof must be in \(4"),
        ({"dof": 5}, "dof needs noise"),
        ({"test_size": 100}, "test_size needs non-Gaussian noise"),
        ({"noise": "uniform", "test_size": 0}, "test_size must be an integer"),
        ({"trials": 0}, "trials must be an integer"),
        ({"trials": 2.5}, "trials must be an integer"),
        ({"seed": "x"}, "seed must be"),
    ],
)
def test_bad_simulations_are_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        problem(1).simulate(**{"trials": 2, "seed": 0} | change)


def test_a_singular_sample_is_refused_by_name():
    flat = GaussianMixture(np.zeros(P), np.r_[np.ones(P - 1), 0.0])
    with pytest.raises(ValueError, match="gamma must be larger"):
        Transfer(flat, 20, 0.0).simulate(2, seed=0)
    with pytest.raises(ValueError, match="source 1: gamma must be larger"):
        Transfer(NEW, 20, 0.1, [RidgeSource(flat, 30, 0.0)]).simulate(2, seed=0)


def test_isotropic_problems_stream_and_others_do_not():
    rng = np.random.default_rng(0)
    isotropic = GaussianMixture(rng.standard_normal(6), 2.0, 0.1)
    source = RidgeSource(GaussianMixture(rng.standard_normal(6), 0.5), 9, 0.2)
    transfer = Transfer(isotropic, 5, 0.3, [source, FixedSource(rng.standard_normal(6))])
    auto, streamed, dense = (transfer.simulate(400, seed=1, method=m) for m in ("auto", "streaming", "dense"))
    assert np.array_equal(auto.law.cov, streamed.law.cov)
    assert not np.array_equal(auto.law.cov, dense.law.cov)
    for alpha in ([0.0, 0.0], [1.0, 0.5]):
        a, b = streamed.accuracy(alpha), dense.accuracy(alpha)
        assert abs(a.value - b.value) < 4 * np.hypot(a.stderr, b.stderr)
    for mixture in (GaussianMixture(np.ones(6), np.arange(1.0, 7.0)), GaussianMixture(np.ones(6), 0.0)):
        other = Transfer(mixture, 5, 0.3, [source])
        other.simulate(2, seed=0)
        with pytest.raises(ValueError, match="method must be"):
            other.simulate(2, method="streaming")
    with pytest.raises(ValueError, match="method must be"):
        transfer.simulate(2, method="streaming", noise="uniform")


# From data.


def samples(mixture, n, seed):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) < 0.4 * n, 1.0, -1.0)
    X = rng.standard_normal((n, mixture.p))
    mixture.colour(X)
    return X + np.outer(y, mixture.mean) - 2.0, y


FULL = GaussianMixture(NEW.mean, np.diag(np.linspace(0.4, 1.5, P)) + 0.2)
ROWS = (*samples(OLD, 60, 0), *samples(FULL, 30, 1))


@pytest.mark.parametrize("given", ["gamma_source", "source_coef", "weights alone"])
def test_many_samples_tell_the_problem(given):
    X_old, y_old, X_new, y_new = *samples(OLD, 60_000, 2), *samples(FULL, 60_000, 3)
    w = np.linspace(1.0, -0.5, P)
    options = {"gamma_source": 0.5, "n_source": 40} if given == "gamma_source" else {"source_coef": w}
    source = RidgeSource(GaussianMixture(OLD.mean, OLD.covariance), 40, 0.5)
    truth = Transfer(FULL, 25, 0.3, [source if given == "gamma_source" else FixedSource(w)])
    if given == "weights alone":
        X_old = y_old = None
    found = Transfer.from_data(X_old, y_old, X_new, y_new, n=25, gamma=0.3, **options)
    assert (found.n, found.gamma) == (25, 0.3)
    for n, gamma in ((25, 0.3), (100, 2.0)):
        one, other = found.path(n, gamma), truth.path(n, gamma)
        np.testing.assert_allclose(one.mean, other.mean, rtol=0.03, atol=0.01)
        np.testing.assert_allclose(one.cov, other.cov, rtol=0.05, atol=0.01)


def test_numbers_of_samples_are_those_given():
    trained = Transfer.from_data(*ROWS, gamma=0.3, gamma_source=0.5)
    assert (trained.n, trained.sources[0].n, trained.sources[0].gamma) == (30, 60, 0.5)
    fixed = Transfer.from_data(*ROWS, n=7, gamma=0.3, source_coef=np.ones(P))
    assert fixed.n == 7
    assert fixed.sources[0].weights.tolist() == [1.0] * P


def test_source_rows_lend_their_covariance():
    w = np.linspace(1.0, -0.5, P)
    whole = Transfer.from_data(*ROWS, gamma=0.3, source_coef=w)
    alone = Transfer.from_data(None, None, *ROWS[2:], gamma=0.3, source_coef=w)
    assert not np.allclose(whole.target.covariance, alone.target.covariance)
    trained = Transfer.from_data(*ROWS, gamma=0.3, gamma_source=0.5)
    np.testing.assert_array_equal(trained.target.covariance, whole.target.covariance)
    # the kept component is the one that the source's mean weights see
    X, y = ROWS[2:]
    difference = 0.5 * (X[y > 0].mean(axis=0) - X[y < 0].mean(axis=0))
    mean_weights = Transfer(trained.sources[0].mixture, 60, 0.5).equivalent_classifier()
    assert mean_weights @ trained.target.mean == pytest.approx(mean_weights @ difference, rel=1e-9)


@pytest.mark.parametrize("alone", [False, True])
def test_units_of_the_features_do_not_matter(alone):
    """What is estimated in other units is the same mixture; only the penalty of ridge knows them."""
    units, w = np.geomspace(0.01, 100.0, P), np.linspace(1.0, -0.5, P)
    X_old, y_old, X_new, y_new = ROWS
    sources = [(None, None)] * 2 if alone else [(X_old, y_old), (X_old * units, y_old)]
    one = Transfer.from_data(*sources[0], X_new, y_new, gamma=0.3, source_coef=w).target
    other = Transfer.from_data(*sources[1], X_new * units, y_new, gamma=0.3, source_coef=w / units).target
    np.testing.assert_allclose(other.mean / units, one.mean, rtol=1e-9)
    np.testing.assert_allclose(other.covariance / units / units[:, None], one.covariance, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("m", "bound"), [(40, 0.012), (100, 0.008)])
def test_prediction_is_nearly_unbiased_where_the_signal_is_in_features_of_small_variance(m, bound):
    """Shrinking towards tr Σ/p would blur the small variances, and the accuracy there: -.03 at m = 40."""
    scale, old, new = np.geomspace(2.0, 0.2, 50), np.linspace(0.4, 0.0, 50), np.full(50, 0.2)
    tasks = [GaussianMixture(mean, scale**2) for mean in (old, new)]
    alpha = np.array([0.0, 1.0, 2.0])
    truth = Transfer(tasks[1], 40, 0.5, [RidgeSource(tasks[0], 400, 1.0)]).margin_law().accuracy(alpha)
    found = []
    for seed in range(12):
        rows = (*samples(tasks[0], 400, seed), *samples(tasks[1], m, 100 + seed))
        problem = Transfer.from_data(*rows, n=40, gamma=0.5, gamma_source=1.0)
        found.append(problem.margin_law().accuracy(alpha))
    assert np.abs(np.mean(found, axis=0) - truth).max() < bound


def test_what_is_estimated_can_be_simulated():
    found = Transfer.from_data(*ROWS, gamma=0.3, gamma_source=0.5)
    alpha = np.array([0.0, 1.0])
    run = found.simulate(400, seed=0).accuracy(alpha)
    assert (np.abs(run.value - found.margin_law().accuracy(alpha)) < 0.03).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, "either source_coef, for known weights, or gamma_source"),
        ({"source_coef": np.ones(P), "gamma_source": 1.0}, "either source_coef"),
        ({"source_coef": np.ones(P), "n_source": 10}, "n_source needs gamma_source"),
        ({"source_coef": np.ones(P - 1)}, r"source_coef must have shape \(12,\)"),
        ({"source_coef": np.full(P, np.nan)}, "source_coef must be finite"),
        ({"gamma_source": -1.0}, "gamma_source must be in"),
        ({"gamma_source": 1.0, "gamma": -1.0}, "gamma must be in"),
        ({"gamma_source": 1.0, "n": 0}, "n must be in"),
        ({"gamma_source": 1.0, "X_source": None}, "X_source and y_source must be given together"),
        ({"gamma_source": 1.0, "X_source": None, "y_source": None}, "gamma_source needs X_source and y_source"),
        ({"gamma_source": 1.0, "X_source": ROWS[0][:, 1:]}, "X_target must have 11 columns to fit X_source"),
        ({"gamma_source": 1.0, "y_source": ROWS[3]}, "X_source, y_source: y must have shape"),
        ({"gamma_source": 1.0, "y_target": np.ones(30)}, "X_target, y_target: y must have at least 4 samples"),
        ({"gamma_source": 1.0, "shrinkage": 2.0}, "shrinkage must be in"),
        (
            {"gamma_source": 1.0, "X_target": np.ones((30, P))},
            "X_target, y_target: no feature varies within the classes",
        ),
        (
            {"source_coef": np.ones(P), "X_source": np.outer(ROWS[1], np.ones(P))},
            "X_source, y_source: no feature varies",
        ),
        ({"gamma_source": 1.0, "X_target": 1e-200 * ROWS[2]}, "X_target, y_target: X must vary by 1e-100 or more"),
        ({"gamma_source": 1.0, "X_source": 1e-200 * ROWS[0]}, "X_source, y_source: X must vary by 1e-100 or more"),
    ],
)
def test_data_that_do_not_fit(change, message):
    names = ("X_source", "y_source", "X_target", "y_target")
    arguments = dict(zip(names, ROWS, strict=True)) | {"gamma": 0.3} | change
    with pytest.raises(ValueError, match=message):
        Transfer.from_data(*[arguments.pop(name) for name in names], **arguments)


def test_features_in_absurdly_different_units_are_refused():
    """Beside the square of the largest, float64 would take the noise of the others for none, and promise certainty."""
    rng = np.random.default_rng(0)
    y = np.repeat([-1.0, 1.0], 20)
    X = rng.standard_normal((40, 20)) + np.outer(y, np.full(20, 0.2))
    units = np.r_[1e8, np.ones(19)]
    with pytest.raises(ValueError, match="X_target, y_target: the features' standard deviations must be within"):
        Transfer.from_data(None, None, X * units, y, gamma=0.1, source_coef=np.ones(20))
    with pytest.raises(ValueError, match="X_source, y_source: the features' standard deviations must be within"):
        Transfer.from_data(X * units, y, X, y, gamma=0.1, gamma_source=1.0)


ISOTROPIC = [RidgeSource(GaussianMixture(np.full(P, 0.4), 2.0, 0.2), 60, 0.5), FixedSource(np.ones(P) / P)]


@pytest.mark.parametrize("k", [0, 1, 2])
def test_fluctuations_are_around_the_law(k):
    several = Transfer(NEW, n=20, gamma=0.3, sources=ISOTROPIC[:k])
    spread, law = several.fluctuations(), several.margin_law()
    assert spread.shape == ()
    assert spread.n_sources == k
    np.testing.assert_array_equal(spread.law.mean, law.mean)
    np.testing.assert_array_equal(spread.law.cov, law.cov)
    assert (spread.std > 0.0).all()
    corrected = several.margin_law(order=2)
    np.testing.assert_array_equal(corrected.mean, law.mean + spread.bias[: k + 1])
    np.testing.assert_array_equal(corrected.cov[0], law.cov[0] + spread.bias[k + 1 : 2 * k + 2])
    assert not np.array_equal(corrected.cov, law.cov)


def test_order_is_checked_and_other_covariances_have_no_second_one():
    with pytest.raises(ValueError, match="order must be 1 or 2, got 3"):
        Transfer(NEW, 20, 0.3).margin_law(order=3)
    for change in ({"target": OLD}, {"sources": [RidgeSource(OLD, 5, 0.1)]}):
        other = Transfer(**{"target": NEW, "n": 20, "gamma": 0.3} | change)
        assert np.isfinite(other.margin_law().cov).all()
        for method in (other.fluctuations, lambda other=other: other.margin_law(order=2)):
            with pytest.raises(ValueError, match="covariance must be a positive multiple of the identity"):
                method()
