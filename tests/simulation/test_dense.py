"""The dense sampler: exact records, and theory within chance of them."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy import stats

import rmt_alpha as ra
from rmt_alpha.comparison import compare
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.simulation import dense
from rmt_alpha.simulation.dense import Dense
from rmt_alpha.simulation.noise import GAUSSIAN, Noise
from rmt_alpha.theory import errata

ROOT = np.random.SeedSequence(2024)
RNG = np.random.default_rng(7)

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_same_test_refuses_the_published_length_of_the_source(runs):
    clean = [run for run in runs if run.experiment.n_source and not run.experiment.label_noise_source]
    assert len(clean) == 3
    assert largest_excess(clean) <= 1.0
    for run in clean:  # N from p/3 to 5p
        assert largest_excess([run], published_law) > 1.0


@pytest.mark.slow
def test_the_published_length_of_the_source_is_off_by_far():
    for n, p, n_source in [(150, 150, 160), (120, 200, 210), (100, 250, 80)]:
        run = ra.simulate(0.8, n, p, 0.5, mu=1.5, n_source=n_source, gamma_source=0.2, trials=150, seed=5)
        assert compare(run, [2.0]).agrees
        comparison = compare(run, law=published_law(run.experiment))
        assert comparison.quantities[-1] == "V11"
        assert np.abs(comparison.excess[-1]) > 3 * comparison.threshold
        assert not comparison.agrees


def stream(role, kind):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(ROOT.entropy, spawn_key=(role, kind))))


def square_root(covariance, p):
    """Any form to a full matrix, by another way than the package's."""
    sigma = covariance if np.ndim(covariance) == 2 else np.eye(p) * covariance
    U, d, _ = np.linalg.svd(sigma)
    return U * np.sqrt(np.where(d > 1e-13 * d[0], d, 0.0)) @ U.T


def textbook(sampler, trials):
    """The experiment as one would write it down, from the random numbers that the sampler takes: weights per trial."""
    p, noise = sampler.target.p, sampler.noise
    signs = np.random.default_rng(99)
    streams = {}

    def samples(role, mixture, mean, n):
        """Rows x with labels y of either sign, and the labels that training sees."""
        numbers, flips = streams.setdefault(role, (stream(role, 0), stream(role, 1)))
        turned = noise.sample(numbers, (n, p)) @ square_root(mixture.covariance, p)
        flipped = flips.random(n) < mixture.label_noise if mixture.label_noise else np.zeros(n, bool)
        y = signs.choice([-1.0, 1.0], n)
        return y[:, None] * (mean + turned), np.where(flipped, -y, y)

    results = []
    for _ in range(trials):
        w = np.empty((p, len(sampler.sources)))
        for k, source in enumerate(sampler.sources):
            if isinstance(source, FixedSource):
                w[:, k] = source.weights
                continue
            X, y = samples(k + 1, source.mixture, source.mixture.mean, int(source.n))
            w[:, k] = np.linalg.solve(X.T @ X / len(y) + source.gamma * np.eye(p), X.T @ y / len(y))
        X, y = samples(0, sampler.target, sampler.target.mean, sampler.n)
        Q = np.linalg.inv(X.T @ X / len(y) + sampler.gamma * np.eye(p))
        results.append(np.column_stack([Q @ X.T @ y / len(y), sampler.gamma * Q @ w]))
    return np.array(results)


def wishart(p, freedom, seed=0):
    A = np.random.default_rng(seed).standard_normal((p, freedom))
    return A @ A.T / freedom


def mixtures(p, seed=0):
    """Two tasks of every form of covariance."""
    rng = np.random.default_rng(seed)
    forms = [None, 0.3, rng.uniform(0.1, 3.0, p), wishart(p, 2 * p), wishart(p, max(p // 2, 1), seed=1)]
    for form in forms:
        mean, other = rng.standard_normal((2, p)) * (2.0 / p) ** 0.5
        yield (
            GaussianMixture(mean, form, label_noise=0.2),
            GaussianMixture(other, None if form is None else np.asarray(form) * 2.0, label_noise=0.1),
        )


def sources(k, source_task, n=50):
    p = source_task.p
    return [
        RidgeSource(source_task, n, 0.4),
        FixedSource(np.linspace(-1.0, 1.0, p)),
        RidgeSource(GaussianMixture(np.linspace(1.0, 0.0, p)), 15, 0.7),
    ][:k]


@pytest.mark.slow
@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize(("n", "p"), [(40, 12), (12, 30), (20, 20), (1, 4), (5, 1)])
@pytest.mark.parametrize("noise", [GAUSSIAN, Noise("uniform"), Noise("student", 7.0)], ids=lambda noise: noise.name)
def test_a_draw_is_the_textbook_experiment(n, p, k, noise):
    for target, source_task in mixtures(p):
        sampler = Dense(target, n, 0.25, sources(k, source_task), noise)
        draws = sampler.sample(ROOT, 3)
        W = textbook(sampler, 3)
        sigma = square_root(target.covariance, p) @ square_root(target.covariance, p)
        np.testing.assert_allclose(draws["mean"], np.einsum("tpk,p->tk", W, target.mean), rtol=1e-9, atol=1e-11)
        cov = np.einsum("tpk,pq,tql->tkl", W, sigma, W)
        np.testing.assert_allclose(draws["cov"], cov, rtol=1e-9, atol=1e-11)
        assert draws["mean"].shape == (3, k + 1)


def test_blocks_of_noise_add_up(monkeypatch):
    """With many blocks, a last one that is not full, and rows kept or forgotten."""
    for n, p in [(700, 10), (30, 50)]:
        for target, source_task in mixtures(p):
            whole = Dense(target, n, 0.25, sources(3, source_task, n=301), Noise("laplace"), 500)
            with monkeypatch.context() as patch:
                expected = whole.sample(ROOT, 2)
                patch.setattr(dense, "_block", lambda p: 7)  # noqa: ARG005
                draws = whole.sample(ROOT, 2)
            for name, array in expected.items():
                np.testing.assert_allclose(draws[name], array, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("form", [0.7, np.linspace(0.2, 2.0, 8), wishart(8, 12), wishart(8, 3)])
def test_a_record_predicts_a_test_set(form):
    """Given the weights: moments and accuracy of a brute-force test sample, made with another root of Σ."""
    rng, size = np.random.default_rng(3), 200_000
    target = GaussianMixture(rng.standard_normal(8) * 0.4, form, label_noise=0.3)
    sampler = Dense(target, 20, 0.3, [RidgeSource(GaussianMixture(target.mean + 0.1), 40, 0.5)])
    draws, (W,) = sampler.sample(ROOT, 1), textbook(sampler, 1)
    sigma = form if np.ndim(form) == 2 else np.eye(8) * form
    y = rng.choice([-1.0, 1.0], size)
    x = np.outer(y, target.mean) + rng.multivariate_normal(np.zeros(8), sigma, size, method="svd")
    law = MarginLaw(draws["mean"][0], draws["cov"][0])
    for alpha in (-1.5, 0.0, 2.5):
        margins = y * (x @ W @ [1.0, alpha])
        mean, variance = law.moments(alpha)
        assert abs(margins.mean() - mean) < 4 * np.sqrt(variance / size)
        assert abs(margins.var() / variance - 1) < 4 * np.sqrt(2 / size)
        accuracy = law.accuracy(alpha)
        assert abs(np.mean(margins > 0) - accuracy) < 4 * np.sqrt(accuracy * (1 - accuracy) / size)


def same(first, second, **tolerance):
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_allclose(first[name], second[name], **(tolerance or {"rtol": 0.0, "atol": 0.0}))


@pytest.mark.parametrize("noise", [GAUSSIAN, Noise("rademacher")], ids=lambda noise: noise.name)
@pytest.mark.parametrize(("n", "p"), [(30, 10), (10, 30)])
def test_the_forms_of_a_covariance_agree(n, p, noise):
    def draws(form, source_form):
        source = RidgeSource(GaussianMixture(np.linspace(0, 1, p), source_form), 25, 0.3)
        return Dense(GaussianMixture(np.linspace(1, 0, p), form), n, 0.2, [source], noise).sample(ROOT, 3)

    same(draws(None, 2.0), draws(np.ones(p), np.full(p, 2.0)))
    diagonal = np.linspace(0.1, 2.0, p)
    same(draws(diagonal, 1.0), draws(np.diag(diagonal), np.eye(p)))
    nearly = np.diag(diagonal)
    nearly[0, 1] = nearly[1, 0] = 1e-14  # takes the way of full matrices
    assert GaussianMixture(np.ones(p), nearly).eigenvectors is not None
    same(draws(diagonal, None), draws(nearly, None), rtol=1e-8, atol=1e-10)


def test_no_source_is_the_first_entry_of_any():
    target = GaussianMixture(np.linspace(1, 0, 9), 0.5, label_noise=0.1)
    plain = Dense(target, 12, 0.3).sample(ROOT, 4)
    assert plain["mean"].shape == (4, 1)
    for k in (1, 3):
        draws = Dense(target, 12, 0.3, sources(k, GaussianMixture(np.ones(9)))).sample(ROOT, 4)
        np.testing.assert_allclose(draws["mean"][:, :1], plain["mean"], rtol=1e-13)
        np.testing.assert_allclose(draws["cov"][:, :1, :1], plain["cov"], rtol=1e-13)
    MarginLaw(draws["mean"], draws["cov"])


@pytest.mark.parametrize("noise", [GAUSSIAN, Noise("rademacher"), Noise("laplace")], ids=lambda noise: noise.name)
@pytest.mark.parametrize(("n", "p"), [(30, 10), (10, 30)])
def test_fewer_trials_are_the_beginning_of_more(n, p, noise):
    target, source_task = next(mixtures(p))
    sampler = Dense(target, n, 0.3, sources(3, source_task), noise, None if noise.gaussian else 33)
    long = sampler.sample(ROOT, 7)
    for trials in (1, 4):
        same(sampler.sample(ROOT, trials), {name: array[:trials] for name, array in long.items()})
    assert len(np.unique(long["mean"][:, 0])) == 7
    assert not np.array_equal(sampler.sample(np.random.SeedSequence(1), 7)["mean"], long["mean"])
    same(pickle.loads(pickle.dumps(sampler)).sample(ROOT, 7), long)


def test_roles_leave_each_other_alone():
    """A source, its label noise or a larger test sample change no draw of another role."""
    target = GaussianMixture(np.linspace(1, 0, 9), 0.5, label_noise=0.1)
    task, noisy = GaussianMixture(np.ones(9)), GaussianMixture(np.ones(9), label_noise=0.3)
    noise, fixed = Noise("uniform"), FixedSource(np.ones(9))
    one, two, flips = (
        Dense(target, 12, 0.3, [RidgeSource(first, 20, 0.1), second], noise, size).sample(ROOT, 3)
        for first, second, size in [
            (task, fixed, 50),
            (task, RidgeSource(task, 20, 0.1), 90),
            (noisy, fixed, 50),
        ]
    )
    for name in ("mean", "cov"):
        kept = (slice(None), *[slice(2)] * (one[name].ndim - 1))
        np.testing.assert_allclose(two[name][kept], one[name][kept], rtol=1e-13)
    assert np.array_equal(two["margins"][0, :50, 0], one["margins"][0, :, 0])
    assert not np.array_equal(two["mean"][:, 2], two["mean"][:, 1])  # two sources of one task are two samples
    assert np.array_equal(flips["mean"][:, 0], one["mean"][:, 0])
    assert (flips["mean"][:, 1] != one["mean"][:, 1]).all()


def test_all_means_share_source_and_noise():
    for n, p in [(30, 10), (10, 30)]:
        target, source_task = next(mixtures(p))
        means = RNG.standard_normal((2, 3, p))
        sampler = Dense(target, n, 0.3, sources(3, source_task), Noise("laplace"), 20, means)
        draws = sampler.sample(ROOT, 2)
        assert {name: array.shape[1:] for name, array in draws.items()} == sampler.record
        assert draws["margins"].shape == (2, 2, 3, 20, 4)
        for index in np.ndindex(2, 3):
            alone = Dense(
                GaussianMixture(means[index], label_noise=0.2), n, 0.3, sources(3, source_task), Noise("laplace"), 20
            )
            place = (slice(None), *index)
            same(alone.sample(ROOT, 2), {name: array[place] for name, array in draws.items()}, rtol=1e-9, atol=1e-11)


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


@pytest.mark.slow
@pytest.mark.parametrize("side", ["target", "source"])
def test_label_noise_flips_the_share_it_says(side):
    """In one dimension, without penalty and almost without noise the classifier counts: w = (1 − 2ε̂)/μ."""
    tasks = {"target": GaussianMixture([1.0], 1e-20), "source": GaussianMixture([1.0], 1e-20)}
    tasks[side] = GaussianMixture([1.0], 1e-20, label_noise=0.2)
    n = 50
    # a large penalty on the deviation: w₁ is the source
    draws = Dense(tasks["target"], n, 1e-12, [RidgeSource(tasks["source"], n, 1e-12)]).sample(ROOT, 2000)["mean"]
    if side == "source":
        assert np.abs(draws[:, 0] - 1.0).max() < 1e-8
        draws = Dense(tasks["target"], n, 1e12, [RidgeSource(tasks["source"], n, 1e-12)]).sample(ROOT, 2000)["mean"]
    flipped = 0.5 * n * (1.0 - draws[:, 0 if side == "target" else 1])
    np.testing.assert_allclose(flipped, np.round(flipped), atol=1e-6)
    assert abs(flipped.mean() - 0.2 * n) < 4 * np.sqrt(0.2 * 0.8 * n / 2000)
    assert abs(flipped.var() / (0.2 * 0.8 * n) - 1) < 4 * np.sqrt(2 / 2000)


@pytest.mark.parametrize(("n", "p"), [(150, 60), (60, 150)])
def test_fixed_weights_follow_the_closed_form(n, p):
    """Weights and mean in general position are an oracle problem in disguise."""
    rng = np.random.default_rng(5)
    mean, w = rng.standard_normal((2, p)) * (1.4 / p) ** 0.5
    w += 0.7 * mean
    draws = Dense(GaussianMixture(mean, label_noise=0.1), n, 0.4, [FixedSource(w)]).sample(ROOT, 400)
    mu = np.linalg.norm(w)
    beta = mean @ w / mu**2
    mu_perp = np.linalg.norm(mean - beta * w) / np.sqrt(1 - beta**2)
    law = ra.margin_law(beta, n, p, 0.4, mu=mu, mu_perp=mu_perp, label_noise=0.1)
    measured = np.column_stack([draws["mean"], draws["cov"][:, 0], draws["cov"][:, 1, 1]])
    theory = np.concatenate([law.mean, law.cov[0], law.cov[1, 1:]])
    error = measured.std(axis=0) / np.sqrt(400)
    assert (np.abs(measured.mean(axis=0) - theory) < 4 * error + 2.0 * np.abs(theory) / min(n, p)).all()
    assert (error < 0.03 * np.abs(theory) + 0.002).all()


NON_GAUSSIAN = [Noise("rademacher"), Noise("uniform"), Noise("laplace"), Noise("student", 5.0)]


def excess_of_margins(draws, alpha):
    """Mean over the trials of correct test margins − Φ, and its standard error."""
    correct = (draws["margins"] @ [1.0, alpha] > 0).mean(axis=-1)
    difference = correct - MarginLaw(draws["mean"], draws["cov"]).accuracy(alpha)
    return difference.mean(), difference.std() / np.sqrt(len(difference))


@pytest.mark.slow
@pytest.mark.parametrize("noise", NON_GAUSSIAN, ids=lambda noise: noise.name)
@pytest.mark.parametrize(("n", "p", "n_source"), [(100, 300, 200), (200, 80, None)])
def test_margins_of_spread_means_are_gaussian(noise, n, p, n_source):
    source = {} if n_source is None else {"n_source": n_source, "gamma_source": 0.5}
    draws = dense.isotropic(Experiment(0.6, n, p, 0.3, **source), noise).sample(ROOT, 60)
    assert draws["margins"].shape == (60, 2000, 2)
    for alpha in (-1.0, 0.0, 1.5):
        difference, error = excess_of_margins(draws, alpha)
        assert error < 0.003
        assert abs(difference) < 4 * error + 0.5 / p
    # the moments are those of the record
    a = np.array([1.0, 0.7])
    margins = draws["margins"] @ a
    mean, variance = draws["mean"] @ a, a @ draws["cov"] @ a
    standard = (margins.mean(axis=1) - mean) / np.sqrt(variance / 2000)
    assert stats.kstest(standard, stats.norm.cdf).pvalue > 1e-3
    ratio = margins.var(axis=1, ddof=1) / variance
    assert abs(ratio.mean() - 1) < 4 * ratio.std() / np.sqrt(60)


def test_margins_of_a_mean_on_an_axis_are_not():
    """Why the means are spread: along a coordinate axis the noise's own law decides, and the test above sees it."""
    axis = np.zeros(300)
    axis[0] = 1.0
    for noise in NON_GAUSSIAN[:3]:
        draws = Dense(GaussianMixture(axis), 100, 50.0, [FixedSource(axis)], noise).sample(ROOT, 30)
        difference, error = excess_of_margins(draws, 100.0)
        assert abs(difference) > 10 * error + 0.5 / 300


@pytest.mark.slow
@pytest.mark.parametrize("noise", NON_GAUSSIAN, ids=lambda noise: noise.name)
def test_moments_do_not_depend_on_the_law_of_the_noise(noise):
    experiment = Experiment(0.6, 150, 120, 0.3, mu=1.3, n_source=200, gamma_source=0.5, label_noise=0.1)
    first = dense.isotropic(experiment).sample(ROOT, 200)
    second = dense.isotropic(experiment, noise, test_size=1).sample(ROOT, 200)
    for name in ("mean", "cov"):
        difference = second[name].mean(axis=0) - first[name].mean(axis=0)
        error = np.hypot(first[name].std(axis=0), second[name].std(axis=0)) / np.sqrt(200)
        assert (np.abs(difference) < 4 * error + 2.0 / 120 * np.abs(first[name].mean(axis=0))).all()


def test_coordinates_of_the_isotropic_problem():
    for p in (2, 3, 50):
        for noise in (GAUSSIAN, Noise("uniform")):
            sampler = dense.isotropic(Experiment([[0.6, -1.0]], 10, p, 0.1, mu=2.0, mu_perp=0.5), noise)
            means, (source,) = sampler.means, sampler.sources
            assert means.shape == (1, 2, p)
            np.testing.assert_allclose(means @ source.weights, [[0.6 * 4, -4.0]], rtol=1e-12)
            squares = (means**2).sum(axis=-1)
            np.testing.assert_allclose(squares, [[0.36 * 4 + 0.64 * 0.25, 4.0]], rtol=1e-12)
            assert noise.gaussian or (means != 0).all()
    (mean,) = dense.isotropic(Experiment(1.0, 10, 1, 0.1, mu=2.0), Noise("uniform")).means
    assert mean == 2.0


def test_a_chunk_is_a_function_of_the_shape():
    def chunk(n, p, n_source=None, beta=0.5, noise=GAUSSIAN):
        source = {} if n_source is None else {"n_source": n_source, "gamma_source": 0.1}
        return dense.isotropic(Experiment(beta, n, p, 1.0, **source), noise).chunk

    assert chunk(10, 20) == 256
    assert chunk(3000, 3000) == 1
    assert 2 <= chunk(200, 400, 5000) <= 10
    assert chunk(10, 20, 10_000) < 256
    assert chunk(100, 100, beta=np.linspace(0, 1, 100)) < 256
    assert chunk(10, 200, noise=NON_GAUSSIAN[0]) < 256
    large = dense.isotropic(Experiment(1.0, 10, 1, 1.0), NON_GAUSSIAN[0], test_size=10**6)
    assert large.chunk * 16e6 < 2**25  # bytes
    diagonal, full = (GaussianMixture(np.ones(500), form) for form in (2.0, wishart(500, 10)))
    assert Dense(full, 100, 1.0).chunk < Dense(diagonal, 100, 1.0).chunk


MEMORY = {
    "small": dense.isotropic(Experiment(0.5, 20, 30, 0.1, n_source=40, gamma_source=1.0)),
    "wide": dense.isotropic(Experiment(0.5, 50, 4000, 0.1)),
    "long source": dense.isotropic(Experiment(0.5, 100, 150, 0.1, n_source=5000, gamma_source=1.0)),
    "long": dense.isotropic(Experiment(0.5, 100_000, 3, 0.1, label_noise=0.2)),
    "square": dense.isotropic(Experiment(0.5, 500, 500, 0.1)),
    "beta": dense.isotropic(Experiment(np.linspace(-1, 1, 20), 100, 150, 0.1, n_source=200, gamma_source=1.0)),
    "laplace": dense.isotropic(Experiment(0.5, 100, 200, 0.1), Noise("laplace")),
    "student": dense.isotropic(Experiment(0.5, 300, 200, 0.1, n_source=600, gamma_source=1.0), Noise("student", 5.0)),
    "full": Dense(GaussianMixture(np.ones(600), wishart(600, 100)), 100, 0.5, [FixedSource(np.ones(600))] * 3),
    "full, many samples": Dense(GaussianMixture(np.ones(200), wishart(200, 100)), 3000, 0.5),
}


@pytest.mark.parametrize("case", MEMORY)
def test_memory_is_an_honest_bound(case):
    sampler = MEMORY[case]
    sampler.sample(ROOT, 1)
    tracemalloc.start()
    try:
        records = sum(array.nbytes for array in sampler.sample(ROOT, 2).values())
        needed = tracemalloc.get_traced_memory()[1] - records
    finally:
        tracemalloc.stop()
    assert needed <= sampler.memory <= 2.1 * needed


def test_a_specification_tells_problems_apart():
    p = 5
    task, other = GaussianMixture(np.ones(p)), GaussianMixture(np.ones(p), 2.0, label_noise=0.1)
    uniform = Noise("uniform")
    samplers = [
        Dense(task, 10, 1.0),
        Dense(task, 11, 1.0),
        Dense(task, 10, 1.5),
        Dense(other, 10, 1.0),
        Dense(GaussianMixture(np.ones(p), np.arange(5.0)), 10, 1.0),
        Dense(GaussianMixture(np.full(p, 2.0)), 10, 1.0),
        Dense(task, 10, 1.0, means=np.ones((1, p))),
        Dense(task, 10, 1.0, means=np.zeros(p)),
        Dense(task, 10, 1.0, [FixedSource(np.ones(p))]),
        Dense(task, 10, 1.0, [FixedSource(np.zeros(p))]),
        Dense(task, 10, 1.0, [RidgeSource(task, 10, 1.0)]),
        Dense(task, 10, 1.0, [RidgeSource(task, 12, 1.0)]),
        Dense(task, 10, 1.0, [RidgeSource(task, 10, 2.0)]),
        Dense(task, 10, 1.0, [RidgeSource(other, 10, 1.0)]),
        Dense(task, 10, 1.0, noise=uniform),
        Dense(task, 10, 1.0, noise=uniform, test_size=10),
        Dense(task, 10, 1.0, noise=Noise("student", 5.0)),
        Dense(task, 10, 1.0, noise=Noise("student", 6.0)),
    ]
    texts = [json.dumps(sampler.specification, sort_keys=True) for sampler in samplers]
    assert len(set(texts)) == len(samplers)
    again = pickle.loads(pickle.dumps(samplers[0]))
    assert json.dumps(again.specification, sort_keys=True) == texts[0]
    assert json.loads(texts[0])["method"] == "dense"


TASK = GaussianMixture(np.ones(5))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dense(TASK, 10.5, 1.0), "n must be an integer, got 10.5"),
        (lambda: Dense(TASK, 0, 1.0), "n must be an integer of at least 1"),
        (lambda: Dense(TASK, 10, -1.0), "gamma must be in"),
        (lambda: Dense(TASK, 10, 1e61), "gamma must be in"),
        (lambda: Dense(None, 10, 1.0), "target must be a GaussianMixture"),
        (lambda: Dense(TASK, 10, 1.0, [TASK]), r"sources\[0\] must be"),
        (lambda: Dense(TASK, 10, 1.0, [RidgeSource(TASK, 9.5, 1.0)]), r"sources\[0\].n must be an integer, got 9.5"),
        (lambda: Dense(TASK, 10, 1.0, [RidgeSource(TASK, 9, 1e61)]), r"sources\[0\].gamma must be in"),
        (lambda: Dense(TASK, 10, 1.0, [FixedSource(np.full(5, 1e31))]), r"sources\[0\].weights must be in"),
        (lambda: Dense(GaussianMixture([1e31]), 10, 1.0), r"target\.mean must be in"),
        (lambda: Dense(TASK, 10, 1.0, means=np.full(5, 1e31)), "means must be in"),
        (lambda: Dense(GaussianMixture([1.0], 1e61), 10, 1.0), "target.covariance must be in"),
        (lambda: Dense(TASK, 10, 1.0, test_size=100), "test_size needs non-Gaussian noise"),
        (lambda: Dense(TASK, 10, 1.0, noise=Noise("uniform"), test_size=0), "test_size must be an integer of at least"),
        (lambda: Dense(TASK, 10, 1.0, noise=Noise("uniform"), test_size=1.5), "test_size must be an integer"),
        (lambda: Dense(TASK, 10, 1.0, means=np.ones(4)), "means must have a trailing axis of length 5"),
        (lambda: Dense(TASK, 10, 1.0, means=np.nan * np.ones(5)), "means must be in"),
        (lambda: dense.isotropic(Experiment(np.zeros(10**6), 10, 10**9, 1.0)), "1000000 means of p=1000000000"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_singular_system_says_whose_it_is():
    singular = GaussianMixture(np.zeros(4), [1.0, 1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match=r"^gamma must be larger"):
        Dense(singular, 10, 0.0, [FixedSource(np.ones(4))]).sample(ROOT, 1)
    with pytest.raises(ValueError, match=r"^source 2: gamma must be larger"):
        Dense(TASK, 10, 1.0, [FixedSource(np.ones(5)), RidgeSource(GaussianMixture(np.zeros(5), 0.0), 10, 0.0)]).sample(
            ROOT, 1
        )


@pytest.mark.parametrize("scale", [1e-60, 1e29])
def test_legal_extremes_stay_finite(scale):
    for n, p in [(12, 5), (5, 12)]:
        target = GaussianMixture(np.full(p, scale), scale**2, label_noise=0.1)
        draws = Dense(target, n, scale**2, [FixedSource(np.full(p, scale)), RidgeSource(target, n, scale**2)]).sample(
            ROOT, 2
        )
        unit = GaussianMixture(np.ones(p), 1.0, label_noise=0.1)
        expected = Dense(unit, n, 1.0, [FixedSource(np.ones(p)), RidgeSource(unit, n, 1.0)]).sample(ROOT, 2)
        # weights of trained classifiers scale as 1/x, given ones as x
        units = np.array([1.0, scale**2, 1.0])
        np.testing.assert_allclose(draws["mean"], expected["mean"] * units, rtol=1e-9)
        np.testing.assert_allclose(draws["cov"], expected["cov"] * np.outer(units, units), rtol=1e-9)
