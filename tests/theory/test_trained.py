"""Where trained α comes to rest: high precision, limits and rules, and draws of the experiment itself."""

import math
import pickle
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from mpmath import mp, mpf

import rmt_alpha as ra
from rmt_alpha.problem import FixedSource, GaussianMixture, RegressionTask, RidgeSource
from rmt_alpha.ridge import affine_ridge
from rmt_alpha.theory import equivalents, regression
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge
from rmt_alpha.theory.regression import RegressionEquivalent
from tests.theory import general_oracle, oracle, regression_oracle
from tests.theory.test_equivalents import FORMS, covariance, precise, rotation
from tests.theory.test_isotropic import (
    ALIGNMENTS,
    ARGUMENTS,
    PROBLEMS,
    may_be_undefined,
    nearly_singular,
    relative_errors,
    some_problems,
    unhurried,
)

# The isotropic closed form, against 80 digits.


def rest(source, mean, covariance, kappa, t):
    """α of the joint minimum over (α, a) of ``E(f − (αw̃ + a)ᵀx)² + κ‖a‖²``, from its normal equations in full."""
    p = len(mean)
    second = covariance + mean * mean.T  # of x
    system, right = mp.matrix(p + 1), mp.matrix(p + 1, 1)
    pull, push = second * source, t * (source.T * mean)[0]
    system[0, 0], right[0] = (source.T * pull)[0], push
    for i in range(p):
        system[0, i + 1] = system[i + 1, 0] = pull[i]
        right[i + 1] = t * mean[i]
        for j in range(p):
            system[i + 1, j + 1] = second[i, j] + (kappa if i == j else 0)
    return mp.lu_solve(system, right)[0]


def isotropic_oracle(label_noise=0.0, digits=80, **problem):
    """Σ = I happens in three dimensions: along μ_β, along the rest of the source's mean, and along its noise."""
    n, gamma = problem.pop("n"), problem.pop("gamma")
    names = {"mu": 1.0, "mu_perp": 1.0, "n_source": None, "gamma_source": None, "label_noise_source": 0.0}
    with mp.workdps(digits):
        arguments = (problem.get(name, default) for name, default in names.items())
        m, along, off, spread = oracle._source(problem["beta"], problem["p"], *arguments)
        kappa, _ = oracle.resolvent(mpf(n), mpf(problem["p"]), mpf(gamma))
        source = mp.matrix([along, off, mp.sqrt(spread)])
        return rest(source, mp.matrix([m, 0, 0]), mp.eye(3), kappa, 1 - 2 * mpf(label_noise))


def assert_precise(problems):
    rows = (dict(zip(problems, row, strict=True)) for row in zip(*problems.values(), strict=True))
    want = [float(isotropic_oracle(**row)) for row in rows]
    errors = relative_errors(ra.trained_alpha(**problems), want)
    worst = {name: float(values[errors.argmax()]) for name, values in problems.items()}
    assert errors.max() <= 1e-12, f"α is off by {errors.max():.2g} (relative) at {worst}"


@pytest.mark.slow
@pytest.mark.parametrize("source", ["oracle", "ridge"])
def test_closed_form_equals_the_joint_minimum(source):
    rng = np.random.default_rng(31)
    assert_precise(some_problems(rng, source, 600))
    assert_precise(nearly_singular(rng, some_problems(rng, source, 150)))


@pytest.mark.slow
def test_closed_form_equals_the_joint_minimum_at_the_ends_of_its_domain():
    """Sizes within 1e±60, lengths within 1e±30, alignments down to 1e-300: what is not nan has its digits."""
    rng, seen = np.random.default_rng(32), 0
    for _ in range(500):
        n, p, n_source, *penalties = 10.0 ** rng.uniform(-60, 60, 5)
        mu, mu_perp = 10.0 ** rng.uniform(-30, 30, 2)
        gamma, gamma_source = np.where(rng.random(2) < 0.3, 0.0, penalties)
        problem = {"beta": rng.choice([1.0, 1 - 2**-53, 10.0 ** rng.uniform(-300, 0)]), "n": n, "p": p, "gamma": gamma}
        problem |= {
            "mu": mu,
            "mu_perp": rng.choice([0.0, mu_perp]),
            "label_noise": rng.choice([0.0, 0.3, 0.5 - 2**-54]),
        }
        if rng.random() < 0.6:
            problem |= {"n_source": n_source, "gamma_source": gamma_source, "label_noise_source": 0.2}
        problem = {name: float(value) for name, value in problem.items()}
        alpha = ra.trained_alpha(**problem)
        if not math.isnan(alpha):
            assert alpha == pytest.approx(float(isotropic_oracle(**problem, digits=1500)), rel=1e-12, abs=1e-300), (
                problem
            )
            seen += 1
    assert seen > 200


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gamma", "mu", "n_source", "label_noise"])
def test_that_comparison_sees_the_eleventh_digit(name, monkeypatch):
    exact = isotropic_oracle
    wrong = lambda **problem: exact(**problem | {name: problem[name] * (1 + 3e-11)})  # noqa: E731
    monkeypatch.setitem(globals(), "isotropic_oracle", wrong)
    with pytest.raises(AssertionError, match="is off by"):
        assert_precise(some_problems(np.random.default_rng(75), "ridge", 100))


def test_the_numbers_of_the_theory():
    """The setting in which THEORY §11 compares the three: ‖μ‖ = 1.1 and w̃ = (.5, .8), 300 samples in 400 dimensions."""
    mean, weights = np.zeros((2, 400))
    mean[0], weights[:2] = 1.1, [0.5, 0.8]
    problem = ra.Transfer(GaussianMixture(mean), 300, 0.4, [FixedSource(weights)])
    law = problem.margin_law()
    assert round(problem.trained_alpha(), 4) == 0.3522
    assert (round(law.risk_optimal_alpha(), 3), round(law.optimal_alpha(), 3)) == (0.257, 0.473)


@unhurried
@given(beta=ALIGNMENTS, problem=PROBLEMS)
def test_alpha_lies_between_its_limits(beta, problem):
    """From κ → 0 to κ → ∞ it grows; whatever is undefined is nan by a rule, and without a warning."""
    alpha = ra.trained_alpha(beta, **problem)
    np.testing.assert_array_equal(ra.trained_alpha(-beta, **problem), -alpha)
    if math.isnan(alpha):
        assert may_be_undefined(beta, **problem)
        return
    names = ("mu", "mu_perp", "n_source", "gamma_source", "label_noise_source")
    s, w_perp2, m2 = oracle.source_numbers(beta, problem["p"], **{k: problem[k] for k in names if k in problem})
    t, along = 1 - 2 * mpf(problem.get("label_noise", 0.0)), s**2 / m2 if m2 else mpf(0)
    ends = sorted([t * s / ((1 + m2) * (along + w_perp2)), t * s / ((1 + m2) * along + w_perp2)])
    slack = 1e-12 * float(max(map(abs, ends)))
    assert float(ends[0]) - slack <= alpha <= float(ends[1]) + slack


def test_alpha_grows_with_the_penalty_while_the_most_accurate_one_falls():
    gamma = np.array([1e-9, 1e-3, 0.1, 1.0, 10.0, 1e9])
    problem = {"beta": 0.6, "n": 300, "p": 120, "mu": 1.4, "mu_perp": 0.8, "label_noise": 0.1}
    alpha = ra.trained_alpha(gamma=gamma, **problem)
    assert (np.diff(alpha) > 0.0).all()
    assert (np.diff(ra.optimal_alpha(gamma=gamma, **problem)) < 0.0).all()
    s, m2, w2 = 0.6 * 1.4**2, 0.36 * 1.4**2 + 0.64 * 0.8**2, 1.4**2
    np.testing.assert_allclose(alpha[[0, -1]], [0.8 * s / ((1 + m2) * w2), 0.8 * s / (w2 + s**2)], rtol=1e-7)


def test_rules_of_the_closed_form():
    problem = {"beta": 0.5, "n": 50, "p": 200, "gamma": 0.4, "mu": 1.3, "label_noise": 0.1}
    trained = {"n_source": 30, "gamma_source": 0.2}
    for change in ({"gamma": 0.0, "p": 50}, {"gamma": 0.0, "p": 20}, {"mu": 0.0}, {"mu": 1e31}, {"n": 1e61}):
        assert math.isnan(ra.trained_alpha(**problem | change))
    assert math.isnan(ra.trained_alpha(**problem | {"n_source": 200, "gamma_source": 0.0}))
    for change in ({"beta": 0.0}, {"beta": 0.0, "mu_perp": 0.0}, {"mu": 0.0} | trained, {"beta": 0.0} | trained):
        assert ra.trained_alpha(**problem | change) == 0.0
    assert ra.trained_alpha(**problem | {"gamma": 0.0}) > 0.0
    assert ra.trained_alpha(1e-300, 50, 200, 0.4) == pytest.approx(1e-10 * ra.trained_alpha(1e-290, 50, 200, 0.4))


def test_arguments_broadcast_and_labelled_arrays_pass():
    xarray = pytest.importorskip("xarray")
    axes = np.ix_(*map(np.array, ARGUMENTS.values()))
    batch = ra.trained_alpha(**dict(zip(ARGUMENTS, axes, strict=True)))
    assert batch.shape == tuple(map(len, ARGUMENTS.values()))
    for index in np.random.default_rng(5).integers(batch.shape, size=(30, batch.ndim)):
        single = ra.trained_alpha(**{name: v[i] for (name, v), i in zip(ARGUMENTS.items(), index, strict=True)})
        assert type(single) is float
        assert batch[tuple(index)] == pytest.approx(single, rel=1e-14)
    labelled = ra.trained_alpha(
        xarray.DataArray([0.2, 0.7], dims="beta"), xarray.DataArray([50, 60], dims="n"), 70, 0.1
    )
    assert labelled.dims == ("beta", "n")
    assert ra.trained_alpha(0.5, 50, 70, 0.1, label_noise_source=[0.0, 0.0]).shape == (2,)
    with pytest.raises(ValueError, match="gamma must be in"):
        ra.trained_alpha(0.5, 50, 70, -0.1)


# Any covariance.


def matrices(mixture, n, gamma):
    """(Σ, μ, κ, G, H, t) of a mixture, in mpmath."""
    sigma, mu, kappa, G, H, _ = general_oracle._equivalent(precise(mixture), n, gamma)
    return sigma, mu, kappa, G, H, 1 - 2 * mpf(mixture.label_noise)


def statement(target, n, gamma, sources):
    """Solve ``(W̃ᵀW̃ − κW̃ᵀHW̃)α = tW̃ᵀHμ`` as it stands, with the mean of a trained source's squares."""
    with mp.workdps(50):
        _, mu, kappa, G, H, t = matrices(target, n, gamma)
        columns, own = [], []
        for source in sources:
            if isinstance(source, FixedSource):
                columns.append(mp.matrix(source.weights.tolist()))
                own.append(mpf(0))
                continue
            sigma_s, mu_s, _, G_s, H_s, t_s = matrices(source.mixture, source.n, source.gamma)
            w = t_s * H_s * mu_s
            spread = G_s * sigma_s * G_s
            risk = (1 - 2 * t_s * (mu_s.T * w) + w.T * (sigma_s + mu_s * mu_s.T) * w)[0]
            risk /= source.n - general_oracle._trace(sigma_s * spread)
            own.append(risk * general_oracle._trace((mp.eye(target.p) - kappa * G) * spread))
            columns.append(w)
        K = len(columns)
        system = mp.matrix(K)
        for i in range(K):
            for j in range(K):
                system[i, j] = (columns[i].T * (columns[j] - kappa * H * columns[j]))[0] + (own[i] if i == j else 0)
        right = [t * (w.T * H * mu)[0] for w in columns]
        return np.array([float(x) for x in mp.lu_solve(system, mp.matrix(right))])


@pytest.mark.slow
@pytest.mark.parametrize("target_form", FORMS)
@pytest.mark.parametrize("source_form", FORMS)
def test_every_form_of_covariance_agrees_with_dense_matrices(target_form, source_form):
    rng = np.random.default_rng([FORMS.index(target_form), FORMS.index(source_form), 11])
    p = 5
    target = GaussianMixture(rng.standard_normal(p), covariance(rng, p, target_form), 0.1)
    old = GaussianMixture(rng.standard_normal(p), covariance(rng, p, source_form), 0.15)
    sources = [RidgeSource(old, 8.5, 0.2), FixedSource(rng.standard_normal(p)), RidgeSource(target, 4, 0.05)]
    for K in (1, 3):
        equivalent = Equivalent(target, sources[:K])
        for n, gamma in [(3, 0.02), (12.5, 0.4)]:
            want = statement(target, n, gamma, sources[:K])
            np.testing.assert_allclose(np.atleast_1d(equivalent.trained_alpha(n, gamma)), want, rtol=1e-10)


def test_sources_as_they_are_share_the_joint_minimum_with_the_adapter():
    rng = np.random.default_rng(3)
    p, n, gamma = 9, 6.0, 0.3
    target = GaussianMixture(rng.standard_normal(p), covariance(rng, p, "full"), 0.12)
    W = rng.standard_normal((p, 2))
    second = target.covariance + np.outer(target.mean, target.mean)
    frame = np.column_stack([W, np.eye(p)])
    kappa = effective_ridge(target.eigenvalues, n, gamma).kappa
    penalty = np.diag(np.r_[0.0, 0.0, np.full(p, kappa)])
    joint = np.linalg.solve(frame.T @ second @ frame + penalty, 0.76 * frame.T @ target.mean)
    problem = ra.Transfer(target, n, gamma, [FixedSource(w) for w in W.T])
    np.testing.assert_allclose(problem.trained_alpha(), joint[:2], rtol=1e-11)


def test_identity_covariance_is_the_closed_form():
    along, across = np.zeros((2, 80))
    along[3], across[5] = 1.2, 0.9
    target = GaussianMixture(0.7 * along + np.sqrt(0.51) * across, label_noise=0.1)
    problem = {"n": 50, "p": 80, "gamma": 0.2, "mu": 1.2, "mu_perp": 0.9, "label_noise": 0.1}
    trained = {"n_source": 70, "gamma_source": 0.4, "label_noise_source": 0.2}
    ridge = RidgeSource(GaussianMixture(along, label_noise=0.2), 70, 0.4)
    for source, arguments in ((FixedSource(along), {}), (ridge, trained)):
        alpha = ra.Transfer(target, 50, 0.2, [source]).trained_alpha()
        assert type(alpha) is float
        assert alpha == pytest.approx(ra.trained_alpha(0.7, **problem, **arguments), rel=1e-12)


def test_a_grid_is_its_points(monkeypatch):
    rng = np.random.default_rng(8)
    p, n, gamma = 12, np.array([3.0, 12.0, 50.0])[:, None], np.array([0.0, 0.01, 1.0, 1e4])
    target = GaussianMixture(rng.standard_normal(p), covariance(rng, p, "full"), 0.1)
    sources = [RidgeSource(GaussianMixture(rng.standard_normal(p)), 30, 0.1), FixedSource(rng.standard_normal(p))]
    task = RegressionTask(rng.standard_normal((2, p)), target.covariance, 0.3)
    for K in (1, 2):
        rows = [RidgeSource(task, 30, 0.1), FixedSource(rng.standard_normal((2, p)))][:K]
        one = Equivalent(target, sources[:K]).trained_alpha
        many = RegressionEquivalent(task, rows).trained_alpha
        for alpha, batch in ((one, ()), (many, ()), (partial(many, per_output=True), (2,))):
            grid = np.asarray(alpha(n, gamma))
            assert grid.shape == (3, 4, *batch, K)[: None if K > 1 else -1]
            for i, j in np.ndindex(3, 4):
                np.testing.assert_allclose(grid[i, j], alpha(n[i, 0], gamma[j]), rtol=1e-10)
            with monkeypatch.context() as patch:
                patch.setattr(equivalents, "BLOCK", 1)
                patch.setattr(regression, "BLOCK", 1)
                np.testing.assert_allclose(alpha(n, gamma), grid, rtol=1e-10)
            assert np.isnan(grid[1:, 0]).all()  # γ = 0 and n ≥ p: every α is at rest
            assert not np.isnan(grid[0, 0]).any()
    assert Equivalent(target).trained_alpha(3.0, 0.1).shape == (0,)
    again = pickle.loads(pickle.dumps(ra.Transfer(target, 3.0, 0.1, sources)))
    np.testing.assert_array_equal(again.trained_alpha(), Equivalent(target, sources).trained_alpha(3.0, 0.1))


def test_a_rotated_problem_comes_to_rest_at_the_same_place():
    rng = np.random.default_rng(2)
    p = 10
    turn, values, theirs = rotation(rng, p), np.arange(1.0, p + 1) ** -1.5, rng.uniform(0.2, 2.0, p)
    mean, other = rng.standard_normal((2, p))
    full = [0.5 * (A + A.T) for A in ((turn * v) @ turn.T for v in (values, theirs))]
    plain = ra.Transfer(
        GaussianMixture(mean, values, 0.1), 6, 0.1, [RidgeSource(GaussianMixture(other, theirs), 9, 0.2)]
    )
    source = RidgeSource(GaussianMixture(turn @ other, full[1]), 9, 0.2)
    turned = ra.Transfer(GaussianMixture(turn @ mean, full[0], 0.1), 6, 0.1, [source])
    assert turned.trained_alpha() == pytest.approx(plain.trained_alpha(), rel=1e-11)


def test_what_is_undefined_is_nan_without_a_warning():
    p = 6
    target = GaussianMixture(np.ones(p), np.linspace(1.0, 2.0, p))
    w = np.arange(1.0, p + 1)
    endless = RidgeSource(GaussianMixture(np.ones(p), np.linspace(0.5, 1.0, p)), p, 0.0)
    for sources in ([FixedSource(0 * w)], [FixedSource(w), FixedSource(2 * w)], [endless], [FixedSource(1e31 * w)]):
        assert np.isnan(Equivalent(target, sources).trained_alpha(4.0, [0.1, 2.0])).all()
    deficient = GaussianMixture(np.r_[1.0, 0.0, 1.0], [1.0, 2.0, 0.0])
    alpha = Equivalent(deficient, [FixedSource([1.0, 1.0, 1.0])]).trained_alpha([1.0, 2.0, 3.0], [[0.0], [0.1]])
    np.testing.assert_array_equal(np.isnan(alpha), [[False, True, True], [False] * 3])
    with pytest.raises(ValueError, match="GiB"):
        Equivalent(target, [FixedSource(w)]).trained_alpha(np.ones((10**6, 1)), np.ones(10**6))
    task = RegressionTask([w, np.ones(p)], 2.0, 0.1)
    rows = RegressionEquivalent(task, [FixedSource([0 * w, w])]).trained_alpha(4.0, 0.1, per_output=True)
    np.testing.assert_array_equal(np.isnan(rows), [True, False])
    long = RegressionEquivalent(task, [FixedSource([1e31 * w, w])]).trained_alpha(4.0, 0.1, per_output=True)
    np.testing.assert_array_equal(np.isnan(long), [True, False])


# Regression.


def test_regression_solves_the_statement_in_full_matrices():
    rng = np.random.default_rng(4)
    p, d = 8, 3
    target = RegressionTask(rng.standard_normal((d, p)), covariance(rng, p, "full"), [0.1, 0.5, 0.9])
    old = RegressionTask(rng.standard_normal((d, p)), covariance(rng, p, "full"), 0.7)
    sources = [RidgeSource(old, 11.5, 0.2), FixedSource(rng.standard_normal((d, p)))]
    for n, gamma in [(5, 0.05), (20.5, 0.6)]:
        _, _, G, sigma = regression_oracle.equivalent(target, n, gamma)
        _, h_s, G_s, sigma_s = regression_oracle.equivalent(old, 11.5, 0.2)
        mean = old.weights @ sigma_s @ G_s
        miss = old.weights - mean
        excess = np.einsum("jp,pq,jq->j", miss, sigma_s, miss) + 0.49
        own = np.trace(sigma @ G @ G_s @ sigma_s @ G_s) / 11.5 / h_s * excess
        rows = np.stack([mean, sources[1].weights])
        system = np.einsum("ajp,pq,bjq->jab", rows, sigma @ G, rows)
        system[:, 0, 0] += own
        right = np.einsum("ajp,pq,jq->ja", rows, sigma @ G, target.weights)
        for K in (1, 2):
            problem = ra.RegressionTransfer(target, n, gamma, sources[:K])
            want = np.linalg.solve(system[:, :K, :K], right[:, :K, None])[..., 0]
            np.testing.assert_allclose(problem.trained_alpha(per_output=True).reshape(d, K), want, rtol=1e-9)
            want = np.linalg.solve(system[:, :K, :K].sum(axis=0), right[:, :K].sum(axis=0))
            np.testing.assert_allclose(np.atleast_1d(problem.trained_alpha()), want, rtol=1e-9)


def test_regression_trains_the_best_alpha_where_the_covariance_is_a_multiple_of_the_identity():
    rng = np.random.default_rng(6)
    p = 9
    old = RegressionTask(rng.standard_normal((2, p)), covariance(rng, p, "full"), 0.4)
    sources = [RidgeSource(old, 12, 0.2), FixedSource(rng.standard_normal((2, p)))]
    for form, same in ((0.6, True), (np.linspace(0.2, 2.0, p), False)):
        problem = ra.RegressionTransfer(RegressionTask(rng.standard_normal((2, p)), form, 0.3), 7, 0.2, sources)
        for per_output in (True, False):
            best = problem.risk_law(per_output=per_output).optimal_alpha()
            gap = np.abs(problem.trained_alpha(per_output=per_output) / best - 1)
            assert gap.max() < 1e-10 if same else gap.max() > 1e-2


# Draws of the experiment: in each, the α at which the held-out gradient vanishes, its adapter the ridge solution.


def spread_out(p, decay, low=0.0):
    values = np.arange(1.0, p + 1) ** -decay + low
    return values / values.mean()


def classifier_problem(name):
    rng = np.random.default_rng(20)
    p = 160
    values = spread_out(p, 0.7, 0.05)
    mean = rng.standard_normal(p) * np.sqrt(values) * 1.3 / np.sqrt(p)
    near = mean + rng.standard_normal(p) * 0.8 / np.sqrt(p)
    if name == "trained":
        turn = rotation(rng, p)
        theirs = (turn * spread_out(p, 0.4)) @ turn.T
        old = GaussianMixture(near, 0.5 * (theirs + theirs.T), 0.1)
        return ra.Transfer(GaussianMixture(mean, values), 200, 0.1, [RidgeSource(old, 240, 0.3)])
    target = GaussianMixture(mean, values, label_noise=0.12)
    if name == "noisy labels":
        return ra.Transfer(target, 300, 0.3, [FixedSource(near)])
    old = GaussianMixture(near, spread_out(p, 0.3), 0.05)
    return ra.Transfer(target, 240, 0.5, [RidgeSource(old, 200, 0.2), FixedSource(mean[::-1] + 0.5 * near)])


def labelled(mixture, n, rng):
    y = rng.choice([-1.0, 1.0], n)
    X = y[:, None] * mixture.mean + mixture.apply_root(rng.standard_normal((n, mixture.p)).T).T
    return X, np.where(rng.random(n) < mixture.label_noise, -y, y)


def draw(problem, rng):
    """α of one experiment, from the true moments of held-out samples."""
    columns = []
    for source in problem.sources:
        if isinstance(source, FixedSource):
            columns.append(source.weights)
        else:
            columns.append(affine_ridge(*labelled(source.mixture, int(source.n), rng), None, source.gamma)[0])
    W = np.column_stack(columns)
    w0, w1 = affine_ridge(*labelled(problem.target, int(problem.n), rng), W, problem.gamma)
    mu = problem.target.mean
    outputs = problem.target.apply(W) + np.outer(mu, mu @ W)  # (Σ + μμᵀ)W̃
    t = 1 - 2 * problem.target.label_noise
    return np.linalg.solve(outputs.T @ w1, t * W.T @ mu - outputs.T @ w0)


def excess(draws, theory, n):
    """Largest deviation of the mean, in units of 4.5 standard errors and a relative 1/n."""
    mean, stderr = draws.mean(axis=0), draws.std(axis=0, ddof=1) / len(draws) ** 0.5
    return (np.abs(mean - theory) / (4.5 * stderr + 1.0 / n * np.abs(mean))).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["trained", "noisy labels", "two sources"])
def test_draws_of_the_experiment_come_to_rest_there(name):
    """And neither at the most accurate α nor at that of least risk."""
    problem, rng = classifier_problem(name), np.random.default_rng(21)
    draws = np.array([draw(problem, rng) for _ in range(2000)])
    law = problem.margin_law()
    noisy = law.risk_law(problem.target.label_noise)
    assert excess(draws, np.atleast_1d(problem.trained_alpha()), problem.n) < 1.0
    for other in (law.optimal_alpha(), law.risk_optimal_alpha(), noisy.optimal_alpha()):
        assert excess(draws, np.atleast_1d(other), problem.n) > 2.0


@pytest.mark.slow
def test_draws_of_regression_come_to_rest_there():
    rng = np.random.default_rng(22)
    p, d, n, gamma = 150, 2, 100, 0.2
    values, theirs = spread_out(p, 0.8, 0.05), spread_out(p, 0.5)
    weights = rng.standard_normal((d, p)) / p**0.5
    target = RegressionTask(weights * np.linspace(2.0, 0.5, p), values, [0.3, 0.6])
    old = RegressionTask(weights + rng.standard_normal((d, p)) * 0.5 / p**0.5, theirs[::-1], 0.5)
    problem = ra.RegressionTransfer(target, n, gamma, [RidgeSource(old, 200, 0.1)])

    def samples(task, size):
        X = rng.standard_normal((size, p)) * np.sqrt(task.covariance)
        return X, X @ task.weights.T + rng.standard_normal((size, d)) * task.noise

    products = np.empty((2000, 2, d))
    for one in products:
        X, Y = samples(old, 200)
        W = np.stack([affine_ridge(X, y, None, 0.1)[0] for y in Y.T])
        X, Y = samples(target, n)
        for j in range(d):
            w0, w1 = affine_ridge(X, Y[:, j], W[j], gamma)
            one[:, j] = W[j] * values @ (target.weights[j] - w0), W[j] * values @ w1
    best = {flag: problem.risk_law(per_output=flag).optimal_alpha() for flag in (True, False)}
    rows, shared = products[:, 0] / products[:, 1], products[:, 0].sum(axis=1) / products[:, 1].sum(axis=1)
    assert excess(rows, problem.trained_alpha(per_output=True), n) < 1.0
    assert excess(shared[:, None], np.atleast_1d(problem.trained_alpha()), n) < 1.0
    assert excess(rows, best[True], n) > 2.0
    assert excess(shared[:, None], np.atleast_1d(best[False]), n) > 2.0
