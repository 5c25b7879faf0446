"""The sampler of regression: exact records, and theory within chance of them."""

import json
import pickle
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from rmt_alpha.laws import RiskLaw
from rmt_alpha.problem import FixedSource, GaussianMixture, RegressionTask, RidgeSource
from rmt_alpha.regression import RegressionTransfer
from rmt_alpha.simulation import dense
from rmt_alpha.simulation.noise import GAUSSIAN, Noise
from rmt_alpha.simulation.regression import Regression
from tests.theory.regression_oracle import equivalent, forms, of_law

ROOT = np.random.SeedSequence(2025)


def wishart(p, freedom, seed=0):
    A = np.random.default_rng(seed).standard_normal((p, freedom))
    return A @ A.T / freedom


def rotated(values, seed):
    U = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))[0]
    return U * values @ U.T


# Theory against simulation.


def problems(scale):
    """Outputs of unequal noise; non-commuting Σ and Σ_s; trained and fixed sources; n and N on both sides of p."""
    rng = np.random.default_rng(3)

    def weights(d, p):
        return rng.standard_normal((d, p)) / p**0.5

    p = 20 * scale  # both kinds of source, p > n, p < N
    W = weights(3, p)
    target = RegressionTask(W, wishart(p, 2 * p, 1), [0.3, 0.5, 0.8])
    old = RegressionTask(0.7 * W + 0.6 * weights(3, p), wishart(p, 3 * p, 2), 0.4)
    fixed = FixedSource(0.5 * W + 0.5 * weights(3, p))
    yield RegressionTransfer(target, 15 * scale, 0.3, [RidgeSource(old, 26 * scale, 0.1), fixed])

    p = 12 * scale  # a power law, turned against a diagonal, and weights that lie along its larger part; p < n, p > N
    W = weights(2, p) @ rotated(np.linspace(2.0, 0.2, p), 4)
    target = RegressionTask(W, rotated(p**0.5 / np.arange(1.0, p + 1), 4), 0.6)
    old = RegressionTask(0.8 * W + 0.3 * weights(2, p), np.linspace(0.1, 3.0, p), 0.2)
    yield RegressionTransfer(target, 30 * scale, 0.02, [RidgeSource(old, 10 * scale, 0.3)])

    p = 24 * scale  # no penalty: interpolation in the target, and in a source of deficient rank
    W = weights(4, p)
    target = RegressionTask(W, None, [0.1, 0.2, 0.4, 0.8])
    old = RegressionTask(W + 0.5 * weights(4, p), wishart(p, p // 2, 5), 0.5)
    yield RegressionTransfer(
        target, 8 * scale, 0.0, [FixedSource(0.6 * W + 0.3 * weights(4, p)), RidgeSource(old, 6 * scale, 0.0)]
    )

    p = 16 * scale  # one output, n = p and N near p, a source that points backwards, eigenvectors in another order
    W, values = weights(1, p), np.geomspace(0.05, 5.0, p)
    target = RegressionTask(W, rotated(values, 6), 0.5)
    old = RegressionTask(-W + 0.2 * weights(1, p), rotated(np.roll(values, p // 3), 6) + wishart(p, p, 7) / 20, 0.3)
    yield RegressionTransfer(target, 16 * scale, 0.05, [RidgeSource(old, 18 * scale, 0.02)])


def effective_size(problem):
    """``1/(1/p + 1/(n h) + Σ 1/(N h_s))``, by which the bias of theory is measured."""
    sizes = [(problem.target, problem.n, problem.gamma)]
    sizes += [(s.mixture, s.n, s.gamma) for s in problem.sources if isinstance(s, RidgeSource)]
    return 1 / (1 / problem.target.p + sum(1 / (n * equivalent(task, n, gamma)[1]) for task, n, gamma in sizes))


def discrepancies(problem, run, expected):
    """Standard scores of all forms beyond the allowance, and of the risk at the best α of each row.

    The allowance is half the size √(form_aa form_bb) of an entry, over the effective size: problems of these kinds with
    p from 24 to 192 show up to 0.4.
    """
    drawn, root = of_law(run.law), np.sqrt(len(run.law))
    allowed = 0.5 / effective_size(problem)
    scale = np.sqrt(np.einsum("jaa,jbb->jab", expected, expected))

    def beyond(values, theory, allowance):
        return np.maximum(np.abs(values.mean(axis=0) - theory) - allowance, 0.0) / (values.std(axis=0) / root)

    # any α serves, the same for a wrong theory: it is that of the package
    alpha = np.atleast_2d(problem.risk_law(per_output=True).optimal_alpha().reshape(problem.target.d, -1))
    a = np.column_stack([np.ones(problem.target.d), -alpha])
    risk = beyond(
        np.einsum("ja,tjab,jb->tj", a, drawn, a),
        np.einsum("ja,jab,jb->j", a, expected, a),
        allowed * np.einsum("ja,jab,jb->j", np.abs(a), scale, np.abs(a)),
    )
    upper = np.triu_indices(expected.shape[-1])
    return np.concatenate([beyond(drawn, expected, allowed * scale)[:, upper[0], upper[1]].ravel(), risk])


def largest_excess(runs, theory):
    """The largest discrepancy, over the largest that chance explains in the family at level 1e-3."""
    found = [discrepancies(run.experiment, run, theory(run.experiment)) for run in runs]
    count = sum(map(len, found))
    return max(map(np.max, found)) / stats.t.isf(0.5e-3 / count, len(runs[0].law) - 1)


def predicted(problem):
    return of_law(problem.risk_law(per_output=True))


@pytest.fixture(scope="module")
def runs():
    return [problem.simulate(600, seed=30 + i, workers=1) for i, problem in enumerate(problems(8))]


@pytest.mark.slow
def test_theory_is_within_chance_of_simulation(runs):
    assert largest_excess(runs, predicted) <= 1.0


@pytest.mark.slow
def test_the_same_test_refuses_a_source_without_its_h(runs):
    for run in runs:
        e = run.experiment
        wrong = forms(e.target, e.n, e.gamma, e.sources, drop_h=True)
        assert largest_excess([run], lambda _, wrong=wrong: wrong) > 2.0


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["no trained part", "no target h", "commuting"])
def test_the_same_test_refuses_other_mistakes(runs, wrong):
    def theory(e):
        if wrong == "no trained part":
            kept = [s if isinstance(s, FixedSource) else FixedSource(_mean(s)) for s in e.sources]
            return predicted(RegressionTransfer(e.target, e.n, e.gamma, kept))
        if wrong == "no target h":
            return predicted(e) * equivalent(e.target, e.n, e.gamma)[1]
        diagonal = RegressionTask(e.target.weights, e.target.eigenvalues, e.target.noise)
        return predicted(RegressionTransfer(diagonal, e.n, e.gamma, e.sources))

    assert largest_excess(runs[:2], theory) > 2.0


def _mean(source):
    _, _, G, sigma = equivalent(source.mixture, source.n, source.gamma)
    return source.mixture.weights @ sigma @ G


@pytest.mark.slow
def test_theory_is_within_chance_of_simulation_for_other_noise():
    """Universality: only the first two moments of the noise matter."""
    problem = next(problems(6))
    laws = [problem.simulate(400, seed=50, noise=name, workers=1) for name in ("rademacher", "laplace")]
    assert largest_excess(laws, predicted) <= 1.0


@pytest.mark.slow
def test_theory_is_within_chance_of_large_simulations():
    large = [problem.simulate(120, seed=70 + i, workers=1) for i, problem in enumerate(problems(20))]
    assert largest_excess(large, predicted) <= 1.0


# Exact records.


def stream(role, kind):
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(ROOT.entropy, spawn_key=(role, kind))))


def square_root(task):
    """Σ^{1/2} by another way than the package's."""
    sigma = task.covariance if np.ndim(task.covariance) == 2 else np.eye(task.p) * task.covariance
    U, s, _ = np.linalg.svd(sigma)
    return U * np.sqrt(np.where(s > 1e-13 * s[0], s, 0.0)) @ U.T


def textbook(sampler, trials):
    """The experiment as one would write it down, from the random numbers of the sampler: the form of each output."""
    streams = {}

    def samples(role, task, n):
        features, responses = streams.setdefault(role, (stream(role, 0), stream(role, 1)))
        X = sampler.noise.sample(features, (n, task.p)) @ square_root(task)
        return X, X @ task.weights.T + task.noise * sampler.noise.sample(responses, (n, task.d))

    results = []
    for _ in range(trials):
        sources = []
        for k, source in enumerate(sampler.sources):
            if isinstance(source, FixedSource):
                sources.append(np.atleast_2d(source.weights))
                continue
            X, Y = samples(k + 1, source.mixture, int(source.n))
            sources.append(np.linalg.solve(X.T @ X / len(X) + source.gamma * np.eye(X.shape[1]), X.T @ Y / len(X)).T)
        X, Y = samples(0, sampler.target, sampler.n)
        Q = np.linalg.inv(X.T @ X / len(X) + sampler.gamma * np.eye(X.shape[1]))
        fitted = [(Q @ X.T @ Y / len(X)).T, *(sampler.gamma * w @ Q for w in sources)]
        errors = np.array([sampler.target.weights - fitted[0], *fitted[1:]])
        sigma = square_root(sampler.target) @ square_root(sampler.target)
        form = np.einsum("ajp,pq,bjq->jab", errors, sigma, errors)
        form[:, 0, 0] += sampler.target.noise**2
        results.append(form)
    return np.array(results)


def drawn(draws):
    return of_law(RiskLaw(draws["constant"], draws["linear"], draws["quadratic"]))


def tasks(p, d, seed=0):
    """Two tasks of every form of covariance."""
    rng = np.random.default_rng(seed)
    covariances = [None, 0.3, rng.uniform(0.1, 3.0, p), wishart(p, 2 * p), wishart(p, max(p // 2, 1), seed=1)]
    for form in covariances:
        first, second = rng.standard_normal((2, d, p)) if p > 1 else rng.standard_normal((2, 1))
        yield (
            RegressionTask(first, form, rng.uniform(0.0, 1.0, d)),
            RegressionTask(second, None if form is None else np.asarray(form) * 2.0, 0.4),
        )


def sources(k, old, n=50):
    rng = np.random.default_rng(8)
    shape = (old.d, old.p) if old.p > 1 else (1,)
    return [
        RidgeSource(old, n, 0.4),
        FixedSource(rng.standard_normal(shape)),
        RidgeSource(RegressionTask(rng.standard_normal(shape), noise=0.5), 15, 0.7),
    ][:k]


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize(("n", "p", "d"), [(40, 12, 3), (12, 30, 2), (20, 20, 1), (1, 4, 2), (5, 1, 1)])
@pytest.mark.parametrize("noise", [GAUSSIAN, Noise("uniform"), Noise("student", 7.0)], ids=lambda noise: noise.name)
def test_a_draw_is_the_textbook_experiment(n, p, d, k, noise):
    for target, old in tasks(p, d):
        sampler = Regression(target, n, 0.25, sources(k, old), noise)
        draws = sampler.sample(ROOT, 3)
        assert {name: array.shape[1:] for name, array in draws.items()} == sampler.record
        np.testing.assert_allclose(drawn(draws), textbook(sampler, 3), rtol=1e-9, atol=1e-11)


def test_a_record_predicts_a_test_set():
    """The risk of a brute-force test sample, at an α of its own for each row."""
    rng, size = np.random.default_rng(3), 200_000
    target = RegressionTask(rng.standard_normal((2, 8)), wishart(8, 12), [0.3, 1.1])
    old = FixedSource(rng.standard_normal((2, 8)))
    (form,) = textbook(Regression(target, 20, 0.3, [old]), 1)  # makes the weights once more, below
    draws = Regression(target, 20, 0.3, [old]).sample(ROOT, 1)
    np.testing.assert_allclose(drawn(draws)[0], form, rtol=1e-10)
    Z, E = stream(0, 0).standard_normal((20, 8)), stream(0, 1).standard_normal((20, 2))
    X = Z @ square_root(target)
    alpha = np.array([0.7, -1.4])
    start = alpha[:, None] * old.weights
    residual = X @ (target.weights - start).T + E * target.noise
    fitted = start + np.linalg.solve(X.T @ X + 20 * 0.3 * np.eye(8), X.T @ residual).T
    x = rng.multivariate_normal(np.zeros(8), target.covariance, size, method="svd")
    y = x @ target.weights.T + rng.standard_normal((size, 2)) * target.noise
    errors = np.square(y - x @ fitted.T)
    law = RiskLaw(draws["constant"][0], draws["linear"][0], draws["quadratic"][0])
    assert (np.abs(errors.mean(axis=0) - law.risk(alpha)) < 4 * errors.std(axis=0) / size**0.5).all()


def test_blocks_of_noise_add_up(monkeypatch):
    """With many blocks, a last one that is not full, and rows kept or forgotten."""
    for n, p in [(700, 10), (30, 50)]:
        for target, old in tasks(p, 2):
            whole = Regression(target, n, 0.25, sources(3, old, n=301), Noise("laplace"))
            with monkeypatch.context() as patch:
                expected = drawn(whole.sample(ROOT, 2))
                patch.setattr(dense, "_block", lambda p: 7)  # noqa: ARG005
                np.testing.assert_allclose(drawn(whole.sample(ROOT, 2)), expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("noise", [GAUSSIAN, Noise("rademacher"), Noise("laplace")], ids=lambda noise: noise.name)
@pytest.mark.parametrize(("n", "p"), [(30, 10), (10, 30)])
def test_fewer_trials_are_the_beginning_of_more(n, p, noise):
    target, old = next(tasks(p, 2))
    sampler = Regression(target, n, 0.3, sources(3, old), noise)
    long = drawn(sampler.sample(ROOT, 7))
    for trials in (1, 4):
        assert np.array_equal(drawn(sampler.sample(ROOT, trials)), long[:trials])
    assert len(np.unique(long[:, 0, 0, 0])) == 7
    assert not np.array_equal(drawn(sampler.sample(np.random.SeedSequence(1), 7)), long)
    assert np.array_equal(drawn(pickle.loads(pickle.dumps(sampler)).sample(ROOT, 7)), long)


def test_roles_leave_each_other_alone():
    """A source or its noise changes no draw of another role."""
    target, task = next(tasks(9, 2))
    noisy, fixed = RegressionTask(task.weights, noise=3.0), FixedSource(np.ones((2, 9)))
    one, two, louder = (
        drawn(Regression(target, 12, 0.3, chosen, Noise("uniform")).sample(ROOT, 3))
        for chosen in (
            [RidgeSource(task, 20, 0.1), fixed],
            [RidgeSource(task, 20, 0.1), RidgeSource(task, 20, 0.1)],
            [RidgeSource(noisy, 20, 0.1), fixed],
        )
    )
    np.testing.assert_allclose(two[..., :2, :2], one[..., :2, :2], rtol=1e-12)
    assert not np.isclose(two[..., 2, 2], two[..., 1, 1]).any()  # two sources of one task are two samples
    np.testing.assert_allclose(louder[..., [0, 2], :][..., [0, 2]], one[..., [0, 2], :][..., [0, 2]], rtol=1e-12)
    assert not np.isclose(louder[..., 1, 1], one[..., 1, 1]).any()


def test_without_noise_and_penalty_the_fit_is_exact():
    target, old = RegressionTask(np.linspace(1.0, 2.0, 6)), RegressionTask(np.ones(6), 2.0)
    draws = Regression(target, 30, 0.0, [RidgeSource(old, 40, 0.0)]).sample(ROOT, 3)
    assert not drawn(draws).any()
    kept = Regression(target, 30, 1e9, [RidgeSource(old, 40, 0.0)]).sample(ROOT, 3)  # the source is what is left
    np.testing.assert_allclose(kept["quadratic"][:, 0, 0, 0], 6.0, rtol=1e-7)


def test_a_chunk_is_a_function_of_the_shape():
    def chunk(n, p, d=1, k=0, covariance=None, **change):
        rng = np.random.default_rng(0)
        return Regression(
            RegressionTask(rng.standard_normal((d, p)), covariance),
            n,
            1.0,
            [FixedSource(np.ones((d, p)))] * k,
            **change,
        ).chunk

    assert chunk(10, 20) == 256
    assert chunk(3000, 3000) == 1
    assert chunk(200, 400) > chunk(200, 400, d=50) > chunk(200, 400, d=50, k=3)
    assert chunk(100, 500, covariance=wishart(500, 10)) < chunk(100, 500)
    d, k = 400, 20
    assert chunk(2, 2, d, k) * 8 * d * (k + 1) ** 2 < 2**26  # bytes


MEMORY = {
    "small": Regression(
        RegressionTask(np.ones((3, 30))), 20, 0.1, [RidgeSource(RegressionTask(np.ones((3, 30))), 40, 1.0)]
    ),
    "wide": Regression(RegressionTask(np.ones(4000)), 50, 0.1),
    "long": Regression(RegressionTask(np.ones((2, 3)), noise=0.5), 100_000, 0.1),
    "long source": Regression(
        RegressionTask(np.ones(150)), 100, 0.1, [RidgeSource(RegressionTask(np.ones(150), wishart(150, 9)), 5000, 1.0)]
    ),
    "square": Regression(RegressionTask(np.ones(500)), 500, 0.1),
    "many outputs": Regression(RegressionTask(np.ones((200, 100))), 80, 0.1, [FixedSource(np.ones((200, 100)))] * 3),
    "many outputs of many samples": Regression(RegressionTask(np.ones((200, 100))), 900, 0.1),
    "laplace, wide": Regression(RegressionTask(np.ones((2, 3000))), 70, 0.1, noise=Noise("laplace")),
    "student": Regression(RegressionTask(np.ones((5, 200))), 300, 0.1, noise=Noise("student", 5.0)),
    "full": Regression(RegressionTask(np.ones((5, 600)), wishart(600, 100)), 100, 0.5),
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
    p = 30
    task, other = RegressionTask(np.ones(p)), RegressionTask(np.ones(p), 2.0, 0.1)
    samplers = [
        Regression(task, 10, 0.1),
        Regression(task, 11, 0.1),
        Regression(task, 10, 0.2),
        Regression(task, 10, 0.1, noise=Noise("uniform")),
        Regression(task, 10, 0.1, noise=Noise("student", 5.0)),
        Regression(task, 10, 0.1, noise=Noise("student", 6.0)),
        Regression(other, 10, 0.1),
        Regression(RegressionTask(np.ones(p), 2.0), 10, 0.1),
        Regression(RegressionTask(np.r_[np.ones(p - 1), 1.5]), 10, 0.1),
        Regression(RegressionTask(np.ones((2, p))), 10, 0.1),
        Regression(task, 10, 0.1, [FixedSource(np.ones(p))]),
        Regression(task, 10, 0.1, [FixedSource(np.r_[np.ones(p - 1), 1.5])]),
        Regression(task, 10, 0.1, [RidgeSource(task, 20, 0.1)]),
        Regression(task, 10, 0.1, [RidgeSource(other, 20, 0.1)]),
        Regression(task, 10, 0.1, [RidgeSource(task, 21, 0.1)]),
        Regression(task, 10, 0.1, [RidgeSource(task, 20, 0.2)]),
    ]
    texts = [json.dumps(sampler.specification, sort_keys=True) for sampler in samplers]
    assert len(set(texts)) == len(texts)
    again = Regression(RegressionTask(np.ones((1, p)), np.eye(p)), 10.0, 0.1, iter([]))
    assert json.dumps(again.specification, sort_keys=True) == texts[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 10.5}, r"n must be an integer, got 10\.5"),
        ({"gamma": 1e61}, "gamma must be in"),
        ({"target": GaussianMixture(np.ones(4))}, "target must be a RegressionTask"),
        ({"target": RegressionTask(np.full(4, 1e31))}, r"target\.weights must be in"),
        ({"target": RegressionTask(np.ones(4), 1e61)}, r"target\.covariance must be in"),
        ({"target": RegressionTask(np.ones(4), noise=1e31)}, r"target\.noise must be in"),
        ({"sources": [RidgeSource(RegressionTask(np.ones(4)), 9.5, 0.1)]}, r"sources\[0\]\.n must be an integer"),
        ({"sources": [RidgeSource(RegressionTask(np.ones(4)), 9, 1e61)]}, r"sources\[0\]\.gamma must be in"),
        ({"sources": [RidgeSource(RegressionTask(np.full(4, 1e31)), 9, 1)]}, r"sources\[0\]\.mixture\.weights must be"),
        ({"sources": [FixedSource(np.full(4, 1e31))]}, r"sources\[0\]\.weights must be in"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        Regression(**{"target": RegressionTask(np.ones(4)), "n": 10, "gamma": 0.1} | change)


def test_a_singular_sample_is_refused_by_name():
    flat = RegressionTask(np.ones(4), [1.0, 1.0, 1.0, 0.0])
    with pytest.raises(ValueError, match="gamma must be larger"):
        Regression(flat, 20, 0.0).sample(ROOT, 1)
    with pytest.raises(ValueError, match="source 1: gamma must be larger"):
        Regression(RegressionTask(np.ones(4)), 20, 0.1, [RidgeSource(flat, 30, 0.0)]).sample(ROOT, 1)
