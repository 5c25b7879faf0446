"""The streaming sampler against its dense twin, in law."""

import importlib.util
import pathlib
import pickle

import numpy as np
import pytest
from numpy.random import SeedSequence
from scipy import stats

import rmt_alpha as ra
from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.simulation import dense, streaming
from tests.test_elimination import directly

LEVEL = 1e-3

# beta, n, p, gamma, N, γ̃, label noise of target and source
PROBLEMS = [
    (1.0, 1, 1, 0.5, None, None, 0.0, 0.0),
    (1.0, 5, 1, 0.3, 3, 0.2, 0.2, 0.1),
    (0.6, 1, 5, 0.0, None, None, 0.3, 0.0),
    (0.6, 5, 1, 1e-9, None, None, 0.0, 0.0),
    (0.6, 2, 2, 0.7, 1, 0.3, 0.0, 0.2),
    (-0.7, 3, 5, 0.0, 4, 0.5, 0.0, 0.0),
    (0.6, 3, 5, 1e-9, 9, 0.5, 0.25, 0.0),
    (0.6, 5, 3, 0.2, None, None, 0.0, 0.0),
    (0.4, 5, 3, 1e-9, 2, 0.1, 0.3, 0.3),
    (0.6, 2, 2, 1e-2, None, None, 0.2, 0.0),
    (0.6, 4, 9, 1e3, 6, 1e3, 0.0, 0.1),
    (0.8, 12, 20, 0.05, 40, 0.3, 0.1, 0.0),
    (0.3, 25, 15, 0.1, 8, 1e-9, 0.0, 0.0),
    (0.9, 30, 80, 0.0, 50, 0.0, 0.0, 0.2),
    (0.5, 40, 40, 0.01, 40, 0.01, 0.15, 0.15),
    # several blocks of columns
    (0.7, 150, 120, 0.05, None, None, 0.0, 0.0),
    (0.7, 120, 150, 0.0, 140, 0.05, 0.2, 0.0),
    (0.7, 130, 130, 0.02, 90, 0.1, 0.1, 0.2),
]


def experiment(beta, n, p, gamma, n_source, gamma_source, label_noise, label_noise_source):
    mu_perp = 0.0 if p == 1 else 0.8
    return Experiment(beta, n, p, gamma, 1.2, mu_perp, n_source, gamma_source, label_noise, label_noise_source)


def quantities(draws):
    """The distinct entries of (M, V) and the accuracy at two α, a row per trial; what is 0 but for rounding is 0."""
    mean, cov = draws["mean"], draws["cov"]
    deviation = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    mean = np.where(np.abs(mean) < 1e-11 * deviation, 0.0, mean)
    cov = np.where(np.abs(cov) < 1e-11 * deviation[:, :, None] * deviation[:, None], 0.0, cov)
    upper = np.triu_indices(mean.shape[-1])
    columns = [*mean.T, *cov[:, upper[0], upper[1]].T]
    if mean.shape[-1] == 2:
        law = ra.MarginLaw._trusted(mean.copy(), cov.copy())
        columns += [law.accuracy(alpha) for alpha in (-0.6, 1.7)]
    return np.stack(columns)


def p_values(draws, reference):
    pairs = zip(quantities(draws), quantities(reference), strict=True)
    return [stats.ks_2samp(a, b).pvalue for a, b in pairs]


@pytest.mark.slow
@pytest.mark.parametrize("problem", PROBLEMS[::4])
def test_a_few_draws_follow_the_law_of_the_matrices(problem):
    e = experiment(*problem)
    draws, reference = (
        streaming.isotropic(e).sample(SeedSequence(1), 600),
        dense.isotropic(e).sample(SeedSequence(2), 600),
    )
    assert min(p_values(draws, reference)) > LEVEL / (7 * 4)


@pytest.fixture(scope="module")
def references():
    """Draws of the dense twin, fewer where several blocks make them expensive."""
    draws = [20_000 if min(problem[1:3]) < 64 else 4000 for problem in PROBLEMS]
    return [
        dense.isotropic(experiment(*problem)).sample(SeedSequence(11), count)
        for problem, count in zip(PROBLEMS, draws, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(PROBLEMS)))
def test_the_law_is_that_of_the_matrices(references, index):
    draws = streaming.isotropic(experiment(*PROBLEMS[index])).sample(SeedSequence(12), 20_000)
    assert min(p_values(draws, references[index])) > LEVEL / (7 * len(PROBLEMS))


MUTANTS = [
    ("upper, lower = n - j, p - k - j", "upper, lower = n - j + 1, p - k - j"),
    ("upper, lower = n - j, p - k - j", "upper, lower = n - j - 1, p - k - j"),
    ("upper, lower = n - j, p - k - j", "upper, lower = n - j, p - k - j + 1"),
    ("upper, lower = n - j, p - k - j", "upper, lower = n - j, p - k - j - 1"),
    ("own[1, 0] += 2.0 *", "own[1, 0] += 0.0 *"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "wrong"), MUTANTS)
def test_one_wrong_degree_of_freedom_is_noticed(references, tmp_path, line, wrong):
    """The suite above, fed a sampler whose source differs in one place."""
    source = pathlib.Path(streaming.__file__).read_text()
    assert source.count(line) == 1
    path = tmp_path / "mutant.py"
    path.write_text(source.replace(line, wrong))
    spec = importlib.util.spec_from_file_location("mutant", path)
    mutant = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(mutant)
    worst = 1.0
    for i, problem in enumerate(PROBLEMS):
        if problem[4] is not None:
            continue  # enough to be noticed, and half the compilation
        draws = mutant.isotropic(experiment(*problem)).sample(SeedSequence(12), 20_000)
        worst = min(worst, *p_values(draws, references[i]))
    assert worst < LEVEL / (7 * len(PROBLEMS))


@pytest.mark.slow
def test_several_sources_share_the_kernel():
    rng = np.random.default_rng(0)
    p = 6
    task = [GaussianMixture(rng.standard_normal(p), s, noise) for s, noise in ((0.5, 0.2), (2.0, 0.0), (1.0, 0.1))]
    sources = [RidgeSource(task[1], 4, 0.3), FixedSource(rng.standard_normal(p)), RidgeSource(task[2], 9, 0.1)]
    draws = streaming.isotropic_mixtures(task[0], 5, 0.4, sources).sample(SeedSequence(1), 3000)
    reference = dense.Dense(task[0], 5, 0.4, tuple(sources)).sample(SeedSequence(2), 3000)
    assert draws["cov"].shape == (3000, 4, 4)
    assert min(p_values(draws, reference)) > LEVEL / 14


def test_no_source_is_plain_ridge():
    target = GaussianMixture([1.0, 0.3], 0.7, 0.1)
    draws = streaming.isotropic_mixtures(target, 4, 0.2, []).sample(SeedSequence(1), 2000)
    reference = dense.Dense(target, 4, 0.2).sample(SeedSequence(2), 2000)
    assert draws["mean"].shape == (2000, 1)
    assert min(p_values(draws, reference)) > LEVEL / 2


def test_sources_that_depend_on_each_other_are_legal():
    target = GaussianMixture([1.0, 0.3, 0.0])
    w = np.array([2.0, 0.6, 0.0])  # along the mean
    other = np.array([0.0, 1.0, 1.0])
    sources = [FixedSource(w), FixedSource(other), FixedSource(w + other)]
    draws = streaming.isotropic_mixtures(target, 4, 0.2, sources).sample(SeedSequence(1), 50)
    np.testing.assert_allclose(draws["mean"][:, 3], draws["mean"][:, 1] + draws["mean"][:, 2], rtol=1e-12)
    reference = dense.Dense(target, 4, 0.2, tuple(sources)).sample(SeedSequence(2), 50)
    assert min(p_values(draws, reference)) > LEVEL / 14


def test_all_beta_share_source_and_noise():
    betas = np.array([[0.2, -0.5, 0.9]])
    together = streaming.isotropic(Experiment(betas, 30, 20, 0.3, n_source=25, gamma_source=0.5, label_noise=0.1))
    draws = together.sample(SeedSequence(3), 4)
    assert draws["mean"].shape == (4, 1, 3, 2)
    for i, beta in enumerate(betas[0]):
        alone = streaming.isotropic(Experiment(beta, 30, 20, 0.3, n_source=25, gamma_source=0.5, label_noise=0.1))
        for name, array in alone.sample(SeedSequence(3), 4).items():
            np.testing.assert_allclose(array, draws[name][:, 0, i], rtol=1e-12)


def test_fewer_trials_are_the_beginning_of_more():
    e = Experiment(0.6, 70, 90, 0.2, n_source=80, gamma_source=0.4, label_noise=0.1, label_noise_source=0.2)
    sampler = pickle.loads(pickle.dumps(streaming.isotropic(e)))
    more, fewer = sampler.sample(SeedSequence(5), 7), sampler.sample(SeedSequence(5), 3)
    for name in more:
        assert np.array_equal(more[name][:3], fewer[name])


def test_a_source_leaves_the_target_alone():
    without = streaming.isotropic(Experiment(0.6, 30, 20, 0.2)).sample(SeedSequence(5), 3)
    trained = streaming.isotropic(Experiment(0.6, 30, 20, 0.2, n_source=25, gamma_source=0.4)).sample(
        SeedSequence(5), 3
    )
    np.testing.assert_allclose(without["mean"][:, 0], trained["mean"][:, 0], rtol=1e-12)
    assert not np.allclose(without["mean"][:, 1], trained["mean"][:, 1])


@pytest.mark.slow
@pytest.mark.parametrize("j", [3, 60, 200, 298, 299, 300])
def test_columns_are_those_of_the_statement(j):
    n, p, k, q = 400, 300, 2, 1
    columns, normals, bound = np.empty((4, 64)), np.empty((2, 64)), np.empty(64)
    rng, clock, count, drawn = np.random.default_rng(j), 1.0, min(j, 64), []
    places = [0, 1, count - 1]
    for _ in range(1500):
        clock = streaming._draw(rng, j, count, n, p, q, clock, columns, normals, bound)
        drawn.append(columns[:, places] * np.sqrt(n))
    drawn = np.array(drawn)
    for place, b in enumerate(places):
        rows = j - b - 1 + np.arange(4)
        laws = [stats.chi(n - j + b), stats.norm, stats.norm, stats.chi(max(p - k - j + b, 1))]
        for i, (row, law) in enumerate(zip(rows, laws, strict=True)):
            if row < p:
                assert stats.kstest(drawn[:, i, place], law.cdf).pvalue > LEVEL / 12
            else:
                assert (drawn[:, i, place] == 0).all()
    entries = drawn.reshape(len(drawn), -1)
    entries = entries[:, entries.std(axis=0) > 0]
    assert np.abs(np.corrcoef(entries.T) - np.eye(entries.shape[1])).max() < 6 / np.sqrt(len(drawn))


@pytest.mark.parametrize("share", [0.0, 0.2])
@pytest.mark.parametrize("K", [0, 1, 2])
@pytest.mark.parametrize(("n", "p"), [(1, 4), (5, 3), (3, 5), (64, 65), (66, 64), (150, 120), (120, 150), (130, 130)])
def test_every_column_is_drawn_once_and_in_its_place(n, p, K, share):
    """The columns that the kernel draws, as the matrix that they stand for; solved as a matrix."""
    k, q = K + 1, 2 if share and n > 1 else 1
    share = round(share * n) / n
    norms, gamma = np.array([1.3, 0.4]), 0.3
    weights = np.random.default_rng(1).standard_normal((1, 2, k, K))
    first, gram = np.empty((1, 2, K + 1)), np.empty((1, 2, K + 1, K + 1))
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    streaming._resolve(rng, n, p, gamma, norms, weights, np.array([share]), (0.0,) * (k + q), first, gram)

    X, clock = np.zeros((p + k + q, n)), again.standard_exponential()
    columns, normals, bound = np.empty((k + q + 1, 64)), np.empty((2, 64)), np.empty(64)
    todo = list(range(min(n, p + q) - 1, q - 1, -1))
    blocks = [todo[i : i + 64] for i in range(0, len(todo), 64)] + [list(range(q - 1, -1, -1))]
    for block in blocks:
        clock = streaming._draw(again, block[0], len(block), n, p, q, clock, columns, normals, bound)
        for b, j in enumerate(block):
            for i in range(k + q + 1):
                if j - q + i >= 0:
                    X[j - q + i, j] = columns[i, b]
    assert (X[p:] == 0).all()
    assert rng.random() == again.random()
    for mean, w, f, V in zip(norms, weights[0], first[0], gram[0], strict=True):
        data = X[:p].copy()
        data[0, 0] += mean * (1 - 2 * share)
        if q == 2:
            data[0, 1] += mean * 2 * np.sqrt(share * (1 - share))
        expected_first, expected_gram = directly(data, w, gamma)
        np.testing.assert_allclose(f, expected_first, atol=1e-10 * np.abs(expected_first).max())
        np.testing.assert_allclose(V, expected_gram, atol=1e-10 * np.abs(expected_gram).max())


@pytest.mark.parametrize("dof", [1, 2, 7, 8, 9, 20, 1000])
def test_chi_has_its_law(dof):
    rng = np.random.default_rng(dof)
    values = [streaming._chi(rng, dof) for _ in range(5000)]
    assert stats.kstest(values, stats.chi(dof).cdf).pvalue > LEVEL / 7


@pytest.mark.slow
def test_the_clock_makes_proposals_exact():
    """Few degrees of freedom: far out, proposals that are never rejected are visibly too frequent."""
    rng, clock, count = np.random.default_rng(1), 1.0, 3
    columns, normals, bound = np.empty((4, 64)), np.empty((2, 64)), np.empty(64)
    unchecked, drawn, proposal = [], [], np.empty(64)
    for _ in range(60_000):
        clock = streaming._draw(rng, 1000, count, 1008, 10**6, 1, clock, columns, normals, bound)
        drawn.append(columns[0, :count] * np.sqrt(1008))
        streaming._propose(normals[0], count, 8, 1.0, bound, proposal)
        unchecked.append(proposal[:count].copy())
    law = stats.chi(8 + np.arange(count))

    def far_out(values):
        level = law.cdf(np.array(values)).ravel()
        return stats.binomtest(int(np.sum(np.minimum(level, 1 - level) < 1e-3)), level.size, 2e-3).pvalue

    assert stats.kstest(law.cdf(np.array(drawn)).ravel(), "uniform").pvalue > LEVEL / 2
    assert far_out(drawn) > LEVEL / 2
    assert far_out(unchecked) < LEVEL / 2


def test_the_bound_is_above_the_hazard():
    for dof in (8, 9, 30, 1000, 10**6):
        z = np.linspace(-8.0, 8.0, 2001)
        bound = np.zeros(z.size)
        streaming._propose(z, z.size, dof, 1.0, bound, np.empty(z.size))
        exact = np.array([streaming._hazard(value, dof + b) for b, value in enumerate(z)])
        assert (exact <= bound * (1 + 1e-6) + 1e-12).all()
        assert (exact >= 0).all()


@pytest.mark.parametrize(
    ("change", "name"), [({"n": 2**54}, "n"), ({"p": 2**60}, "p"), ({"n_source": 2**54}, "n_source")]
)
def test_sizes_beyond_counting_are_refused(change, name):
    arguments = {"beta": 0.5, "n": 10, "p": 20, "gamma": 0.1, "n_source": 10, "gamma_source": 0.1}
    with pytest.raises(ValueError, match=rf"\b{name}\b"):
        streaming.isotropic(Experiment(**arguments | change))


def test_only_multiples_of_the_identity_stream():
    plain, diagonal = GaussianMixture([1.0, 0.0]), GaussianMixture([1.0, 0.0], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"target\.covariance"):
        streaming.isotropic_mixtures(diagonal, 5, 0.1, [])
    with pytest.raises(ValueError, match=r"sources\[0\]\.mixture\.covariance"):
        streaming.isotropic_mixtures(plain, 5, 0.1, [RidgeSource(diagonal, 5, 0.1)])
    with pytest.raises(ValueError, match=r"\bn\b"):
        streaming.isotropic_mixtures(plain, 5.5, 0.1, [])


def test_a_million_dimensions_take_no_memory():
    sampler = streaming.isotropic(Experiment(0.6, 10**6, 10**6, 0.2, n_source=10**6, gamma_source=0.4))
    assert sampler.memory < 1e4
    assert sampler.chunk == 1


NEAR = GaussianMixture([1.0, 0.5])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: streaming.isotropic(Experiment(0.5, 10, 20, 0.1, mu=1e6)), "mu must be at most 100000"),
        (lambda: streaming.isotropic(Experiment(0.5, 10, 20, 0.1, mu_perp=1e6)), "mu_perp must be at most"),
        (
            lambda: streaming.isotropic_mixtures(GaussianMixture([1e200, 0.0]), 5, 0.1, []),
            r"target\.mean must be at most",
        ),
        (lambda: streaming.isotropic_mixtures(GaussianMixture([1.0, 0.0], 1e-30), 5, 0.1, []), r"target\.mean must be"),
        (lambda: streaming.isotropic_mixtures(GaussianMixture([1.0, 0.0], 5e-324), 5, 0.1, []), r"target\.covariance"),
        (lambda: streaming.isotropic_mixtures(NEAR, 5, 1e70, []), "gamma must be at most"),
        (lambda: streaming.isotropic_mixtures(NEAR, 5, 0.1, [FixedSource([1e200, 0.0])]), r"sources\[0\]\.weights"),
        (
            lambda: streaming.isotropic_mixtures(NEAR, 5, 0.1, [RidgeSource(GaussianMixture([1e9, 0.0]), 5, 0.1)]),
            r"sources\[0\]\.mixture\.mean",
        ),
        (lambda: streaming.isotropic_mixtures(NEAR, 5, 0.1, [RidgeSource(NEAR, 5, 1e70)]), r"sources\[0\]\.gamma"),
        (lambda: streaming.isotropic_mixtures(NEAR, 5, 0.1, [RidgeSource(NEAR, 5.5, 0.1)]), r"sources\[0\]\.n"),
    ],
)
def test_what_would_lose_its_digits_is_refused_by_name(call, name):
    with pytest.raises(ValueError, match=name):
        call()


@pytest.mark.parametrize(("n", "p"), [(4, 4), (3, 5), (5, 3), (1, 2), (2, 1)])
@pytest.mark.parametrize("gamma", [0.0, 1e-60, 1e-9, 1e3, 1e60])
@pytest.mark.parametrize("mu", [0.0, 1e-30, 1e5])
def test_legal_extremes_stay_finite(n, p, gamma, mu):
    for label_noise in (0.0, 0.4999):
        e = Experiment(1.0 if p == 1 else 0.6, n, p, gamma, mu, mu, 3, max(gamma, 1e-9), label_noise, label_noise)
        draws = streaming.isotropic(e).sample(SeedSequence(0), 50)
        assert np.isfinite(draws["mean"]).all()
        assert np.isfinite(draws["cov"]).all()
        assert (np.diagonal(draws["cov"], axis1=1, axis2=2) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("label_noise", [0.0, 0.2])
@pytest.mark.parametrize(("n", "p"), [(12, 20), (20, 12)])
def test_the_longest_means_follow_the_law_of_the_matrices(n, p, label_noise):
    e = Experiment(0.6, n, p, 0.5, mu=1e5, mu_perp=1e5, label_noise=label_noise)
    draws, reference = (room.isotropic(e).sample(SeedSequence(7), 1500) for room in (streaming, dense))
    assert min(p_values(draws, reference)) > LEVEL / (7 * 4)


def test_a_checkpoint_is_bound_to_the_problem_as_it_was_posed():
    rng = np.random.default_rng(0)
    source = RidgeSource(GaussianMixture(rng.standard_normal(30)), 9, 0.2)
    target = GaussianMixture(rng.standard_normal(30), 2.0)
    described = streaming.isotropic_mixtures(target, 5, 0.1, [source]).specification
    assert described["target"]["covariance"] == 2.0
    assert described["sources"][0]["n"] == 9
    assert described == streaming.isotropic_mixtures(target, 5, 0.1, [source]).specification
    assert described != streaming.isotropic_mixtures(target, 5, 0.2, [source]).specification
    assert streaming.isotropic(Experiment(0.5, 10, 20, 0.1)).specification["beta"] == 0.5
