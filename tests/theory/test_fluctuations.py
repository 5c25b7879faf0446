"""The spread between draws: against the chain itself, against a recipe without closed forms, and its invariants."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy import linalg

import rmt_alpha as ra
from rmt_alpha.elimination import absorb, absorb_inverse, start
from rmt_alpha.laws import flatten
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.theory import fluctuations as room
from rmt_alpha.theory.fluctuations import chain, fixed_source_fluctuations
from rmt_alpha.theory.isotropic import effective_ridge, fixed_source_law, residual_fraction
from rmt_alpha.transfer import Transfer
from tests.theory import chain_oracle
from tests.theory.chain_oracle import Trained

unhurried = settings(deadline=None, max_examples=15)


def decades(low, high):
    return st.floats(low, high).map(lambda x: 10.0**x)


def some_problems(seed, size, *, trained, label_noise=True):
    """Random problems, as arguments of the public functions: of every shape, the expansion need not mean anything."""
    rng = np.random.default_rng(seed)

    def log_uniform(low, high):
        return 10.0 ** rng.uniform(low, high, size)

    def flips():
        return np.where(rng.random(size) < 0.5, 0.0, rng.uniform(0.0, 0.45, size)) if label_noise else np.zeros(size)

    n = log_uniform(1, 4)
    problems = {"beta": rng.uniform(-1, 1, size), "n": n, "p": n * log_uniform(-2, 2), "gamma": log_uniform(-4, 3)}
    problems |= {"mu": log_uniform(-1, 1), "mu_perp": log_uniform(-1, 1), "label_noise": flips()}
    if trained:
        problems |= {"n_source": n * log_uniform(-1, 2), "gamma_source": log_uniform(-4, 3)}
        problems["label_noise_source"] = flips()
    return problems


def single(problems, index):
    return {name: float(value[index]) for name, value in problems.items()}


def some_transfer(seed=0, p=30, scale=1.0, **changes):
    """Three sources of every kind, in units of `scale`."""
    rng = np.random.default_rng(seed)
    mean, old, other, weights = rng.standard_normal((4, p)) * np.array([[1.3], [1.0], [0.7], [0.4]]) / np.sqrt(p)
    mean = mean + 0.6 * old + 0.3 * other
    square = scale**2
    setting = {
        "target": GaussianMixture(scale * mean, 1.7 * square, 0.1),
        "n": 40,
        "gamma": 0.5 * square,
        "sources": [
            RidgeSource(GaussianMixture(scale * old, 0.8 * square, 0.2), 50, 0.4 * square),
            FixedSource((weights + 0.2 * mean) / scale),
            RidgeSource(GaussianMixture(1.5 * scale * other, 2.0 * square), 25, 0.9 * square),
        ],
    }
    return Transfer(**setting | changes)


def natural_units(cov):
    """Standard deviations; for V_ab the geometric mean of those of V_aa and V_bb: its own may vanish as γ → 0."""
    std = np.sqrt(np.diagonal(cov, axis1=-2, axis2=-1)).copy()
    n_sources = next(K for K in range(20) if cov.shape[-1] == (K + 1) * (K + 4) // 2)
    i, j = np.triu_indices(n_sources + 1)
    own = std[..., n_sources + 1 :][..., i == j]
    std[..., n_sources + 1 :] = np.sqrt(own[..., i] * own[..., j])
    return std


def assert_covariance(got, want, atol):
    """Entry by entry in natural units."""
    units = natural_units(want)
    scale = np.maximum(units[..., :, None] * units[..., None, :], 1e-300)
    np.testing.assert_allclose(got / scale, want / scale, rtol=0, atol=atol)


def assert_same(got, want, rtol=1e-9):
    """Numbers, covariance and bias, the latter two in natural units."""
    assert_covariance(got.cov, want.cov, rtol)
    units = natural_units(want.cov)
    assert (np.abs(got.numbers - want.numbers) <= rtol * (np.abs(want.numbers) + 1e-3 * units)).all()
    assert (np.abs(got.bias - want.bias) <= rtol * (np.abs(want.bias) + units)).all()


# The map.


@pytest.mark.parametrize("size", range(1, 6))
def test_jacobians_are_those_of_the_map(size):
    """Complex steps through the elimination itself, in both of its forms."""
    rng = np.random.default_rng(size)
    for _ in range(3):
        eta, gamma = 10.0 ** rng.uniform([-2, -2], [2, 3])
        linear = chain(n=1.0, p=eta, gamma=gamma, size=size)
        T = size * (size + 1) // 2
        level, slope = linear.point[:, 0, 0]
        for inverse in (False, True):
            form = chain_oracle.Map(gamma, size, inverse)
            change = np.eye(2 * T)  # from (C, E) to the form's state
            point = linear.point
            if inverse:
                point = np.stack([gamma / level * np.eye(size), gamma**2 / level**2 * linear.point[1]])
                change[:T, :T] *= -gamma / level**2
                change[T:, T:] *= gamma**2 / level**2
                change[T:, :T] = -2.0 * gamma**2 * slope / level**3 * np.eye(T)
            state, column = form.flat(point), form.column(eta)
            steps = [form(state + 1e-30j * unit, column.astype(complex)) for unit in np.eye(2 * T)]
            J = np.stack(steps, axis=-1).imag * 1e30
            steps = [form(state.astype(complex), column + 1e-30j * unit) for unit in np.eye(size + 1)]
            B = np.stack(steps, axis=-1).imag * 1e30
            error = 1e-12 * max(1.0, eta / level) if not inverse else 1e-12 * max(1.0, level / gamma)
            np.testing.assert_allclose(form(state, column), state, rtol=0, atol=error * np.abs(state).max())
            want = change @ linear.jacobian @ np.linalg.inv(change)
            np.testing.assert_allclose(J, want, rtol=0, atol=error * np.abs(want).max())
            want = change @ linear.input
            np.testing.assert_allclose(B, want, rtol=0, atol=error * np.abs(want).max())


@pytest.mark.parametrize("size", range(1, 6))
def test_the_covariance_solves_the_lyapunov_equation(size):
    rng = np.random.default_rng(size)
    for eta, gamma in 10.0 ** rng.uniform([-2, -2], [2, 3], (6, 2)):
        linear = chain(n=1.0, p=eta, gamma=gamma, size=size)
        J, P = linear.jacobian, linear.covariance
        source = linear.input * linear.noise @ linear.input.T
        units = np.sqrt(np.diag(P))
        np.testing.assert_allclose((J @ P @ J.T + source - P) / units / units[:, None], 0.0, atol=1e-12)
        solved = linalg.solve_discrete_lyapunov(J / units[:, None] * units, source / units / units[:, None])
        np.testing.assert_allclose(P / units / units[:, None], solved, rtol=0, atol=1e-9)
        np.testing.assert_array_equal(linear.noise, [0.5, *[1.0] * (size - 1), 0.5])
        radius = np.abs(np.linalg.eigvals(J)).max()
        assert linear.spectral_radius == pytest.approx((1.0 - residual_fraction(1.0, eta, gamma)) ** (1 / size))
        assert radius == pytest.approx(linear.spectral_radius, rel=1e-5)  # eigenvalues are defective


def test_the_chain_depends_on_ratios():
    one, other = chain(n=30, p=50, gamma=0.2, size=3), chain(n=3e5, p=5e5, gamma=0.2, size=3)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [("n", 0), ("n", -1.0), ("p", 0), ("gamma", -0.1), ("gamma", math.nan), ("size", 0), ("size", 1.5), ("p", [1.0])],
)
def test_the_chain_refuses_bad_input(name, value):
    with pytest.raises(ValueError, match=name):
        chain(**{"n": 10, "p": 20, "gamma": 0.1, "size": 3} | {name: value})


def test_the_chain_without_penalty_above_the_threshold_is_all_finite():
    linear = chain(n=10, p=20, gamma=0.0, size=3)
    assert all(np.isfinite(x).all() for x in linear)
    np.testing.assert_array_equal(linear.point[0], 0.0)  # C = γ Π⁻¹


# The fixed point is the closed form.


@given(
    eta=decades(-2, 2),
    gamma=decades(-6, 3),
    lengths=st.tuples(*[decades(-1, 1)] * 3),
    sign=st.sampled_from([-1.0, 1.0]),
    label_noise=st.one_of(st.just(0.0), st.floats(0.01, 0.45)),
    inverse=st.booleans(),
)
@example(eta=1.0, gamma=1e-5, lengths=(1.2, 0.6, 0.7), sign=1.0, label_noise=0.0, inverse=False)  # radius .998
@example(eta=95.0, gamma=1e-6, lengths=(8.1, 0.3, 2.0), sign=-1.0, label_noise=0.1, inverse=False)
@example(eta=0.02, gamma=1e-6, lengths=(0.4, 3.0, 0.2), sign=1.0, label_noise=0.3, inverse=True)
@unhurried
def test_the_fixed_point_is_the_closed_form(eta, gamma, lengths, sign, label_noise, inverse):
    """To the last digit: the elimination's own code runs on 40 of them. What it loses in 16 is the next test's."""
    m, along, across = lengths
    size = 4 if label_noise else 3
    assume((1.0 - residual_fraction(1.0, eta, gamma)) ** (1 / size) < 0.999)
    got = chain_oracle.exact_limit(m, sign * along, across, eta, gamma, label_noise, inverse=inverse)
    law = fixed_source_law(sign * m * along, across**2, m * m, 1.0, eta, gamma, label_noise=label_noise)
    np.testing.assert_allclose(got, flatten(law), rtol=1e-12)


@given(
    eta=decades(-2, 2),
    gamma=decades(-6, 3),
    lengths=st.tuples(*[decades(-1, 1)] * 3),
    label_noise=st.one_of(st.just(0.0), st.floats(0.01, 0.45)),
)
@settings(deadline=None, max_examples=50)
def test_iteration_in_double_precision_ends_in_the_closed_form(eta, gamma, lengths, label_noise):
    """In the form that the sampler takes for the shape; V₀₁, which cancels as γ → 0, relative to √(V₀₀V₁₁).

    The pivots of (C, E) are of order 1 for η < 1, those of (Π, F) for η > 1; what a step rounds off is repeated 1/h
    times in C, and once more in E.
    """
    m, along, across = lengths
    q = 2 if label_noise else 1  # and a direction that nothing uses: one size to compile
    h = residual_fraction(1.0, eta, gamma)
    assume((1.0 - h) ** 0.25 < 0.999)
    steps = math.ceil(8 - 4 * (45 - 2 * min(math.log(gamma), 0.0)) / math.log(1.0 - h))  # E begins with 1/γ²
    inverse = eta > 1.0
    form = chain_oracle.Map(gamma, 4, inverse)
    state, column = np.empty((2, 4, 4)), form.column(eta)
    chain_oracle.plain(start)(*state, 1.0 if inverse else gamma, 0, 4)
    columns = np.repeat(column[:, None], steps, axis=1)
    (absorb_inverse if inverse else absorb)(*state, columns, steps, gamma, (0.0,) * 4)
    state = form.flat(state)
    if q == 2:
        column[:2] = 0.0, 2.0 * math.sqrt(label_noise * (1.0 - label_noise)) * m
        state = form(state, column)
    column = np.array([(1.0 - 2.0 * label_noise) * m, *[0.0] * (3 - q), math.sqrt(eta)])
    weights = np.array([[along], [across], *[[0.0]] * (2 - q)])
    got = form.close(state, q, column, weights) * [m, m, 1.0, 1.0, 1.0]
    law = fixed_source_law(m * along, across**2, m * m, 1.0, eta, gamma, label_noise=label_noise)
    error = 1e-12 + 1e-14 / h**2
    scale = np.sqrt([*law.mean**2, law.cov[0, 0] ** 2, law.cov[0, 0] * law.cov[1, 1], law.cov[1, 1] ** 2])
    np.testing.assert_allclose(got / scale, flatten(law) / scale, rtol=0, atol=error)


# Covariance and bias are those of the generic recipe.


def in_its_form(problem):
    """Which form keeps more digits."""
    return problem["p"] > problem["n"] and problem["gamma"] < 10.0


def fixed_source_recipe(*, n, p, gamma, label_noise, m, along, across, q=None):
    vectors = np.array([m, 0.0]), [np.array([along, across])]
    inverse = in_its_form({"n": n, "p": p, "gamma": gamma})
    return chain_oracle.expand(vectors[0], n, p, gamma, vectors[1], label_noise=label_noise, q=q, inverse=inverse)


def assert_recipe(spread, recipe, n):
    """What differences of the recipe allow: biases relative to them, or to what a spread of 1/100 gives."""
    np.testing.assert_allclose(spread.numbers, recipe.limit, rtol=1e-10, atol=1e-15)
    assert_covariance(spread.cov, recipe.cov, 1e-7)
    units = natural_units(recipe.cov) / math.sqrt(n)
    assert (np.abs(spread.bias - recipe.bias) < 1e-5 * (np.abs(recipe.bias) + 0.01 * units)).all()


FIXED = [  # n, p, γ, ε, m, source along and off the mean
    (400, 1000, 0.3, 0.0, 1.2, 0.6, 0.7),
    (1000, 400, 0.1, 0.15, 1.2, -0.6, 0.7),
    (300, 300, 0.05, 0.3, 0.5, 0.9, 0.2),
    (50, 45, 0.01, 0.0, 2.5, 0.4, 1.3),
    (1000, 12, 1e-3, 0.2, 2.0, 0.4, 0.4),
    (900, 10, 50.0, 0.0, 3.0, 0.4, 0.2),
    (20, 1500, 1e-3, 0.1, 0.7, -1.0, 0.3),
    (20, 1800, 0.4, 0.0, 3.0, 0.3, 2.0),
    (30, 1000, 800.0, 0.05, 0.7, 0.4, 0.9),
    (500, 450, 900.0, 0.25, 0.3, 0.4, 0.9),
    (60, 90, 0.0, 0.0, 1.1, 0.8, 0.5),
    (60, 75, 0.0, 0.1, 1.1, 0.8, 0.5),
]


@pytest.mark.slow
@pytest.mark.parametrize(("n", "p", "gamma", "label_noise", "m", "along", "across"), FIXED)
def test_a_fixed_source_follows_the_generic_recipe(n, p, gamma, label_noise, m, along, across):
    spread = fixed_source_fluctuations(m * along, across**2, m * m, n, p, gamma, label_noise=label_noise)
    problem = {"n": n, "p": p, "gamma": gamma, "label_noise": label_noise, "m": m, "along": along, "across": across}
    for q in [2] if label_noise else [1, 2]:
        assert_recipe(spread, fixed_source_recipe(**problem, q=q), n)


def test_the_recipe_is_the_same_in_both_forms():
    mean, source = np.array([1.2, 0.0]), [np.array([0.6, 0.7])]
    one, other = (
        chain_oracle.expand(mean, 60, 80, 0.4, source, label_noise=0.1, inverse=inverse) for inverse in (False, True)
    )
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-7)


TRAINED = [
    {"beta": 0.7, "n": 50, "p": 100, "gamma": 0.3, "mu": 1.2, "mu_perp": 0.8, "n_source": 80, "gamma_source": 0.5},
    {
        "beta": -0.4,
        "n": 90,
        "p": 30,
        "gamma": 2.0,
        "mu": 1.2,
        "mu_perp": 0.8,
        "n_source": 40,
        "gamma_source": 0.2,
        "label_noise": 0.1,
        "label_noise_source": 0.25,
    },
    {"beta": 0.1, "n": 70, "p": 60, "gamma": 0.05, "mu": 0.6, "mu_perp": 2.0, "n_source": 500, "gamma_source": 30.0},
]


@pytest.mark.parametrize("problem", TRAINED, ids=["three", "noisy", "long"])
def test_a_trained_source_follows_the_generic_recipe(problem):
    beta, mu = problem["beta"], problem["mu"]
    source = Trained(
        np.array([mu, 0.0]), problem["n_source"], problem["gamma_source"], problem.get("label_noise_source", 0.0)
    )
    recipe = chain_oracle.expand(
        np.array([beta * mu, math.sqrt(1.0 - beta**2) * problem["mu_perp"]]),
        problem["n"],
        problem["p"],
        problem["gamma"],
        [source],
        label_noise=problem.get("label_noise", 0.0),
        inverse=in_its_form(problem),
    )
    assert_recipe(ra.fluctuations(**problem), recipe, problem["n"])


@pytest.mark.slow
def test_several_sources_follow_the_generic_recipe():
    """Trained and fixed ones; each pair of them has a product of its own."""
    mean = np.array([0.9, 0.4, -0.3])
    sources = [
        Trained(np.array([1.0, 0.5, 0.0]), 120, 0.4, 0.1),
        np.array([0.3, 0.2, 0.5]),
        Trained(np.array([0.2, -0.8, 0.4]), 60, 1.5, 0.0, 0.7),
    ]
    n, p, gamma, flips = 80, 70, 0.3, 0.15
    recipe = chain_oracle.expand(mean, n, p, gamma, sources, label_noise=flips)
    padded = np.zeros((4, p))
    padded[0, :3], padded[2, :3] = mean, sources[1]
    padded[1, :3], padded[3, :3] = sources[0].mean, sources[2].mean
    # σ of the third task is 1/.7: its weights count .7 times in units of the target
    sigma = 1.0 / 0.7
    third = GaussianMixture(padded[3] * sigma, sigma**2)
    problem = Transfer(
        GaussianMixture(padded[0], label_noise=flips),
        n,
        gamma,
        [
            RidgeSource(GaussianMixture(padded[1], label_noise=0.1), 120, 0.4),
            FixedSource(padded[2]),
            RidgeSource(third, 60, 1.5 * sigma**2),
        ],
    )
    assert_recipe(problem.fluctuations(), recipe, n)


def test_no_source_follows_the_generic_recipe():
    recipe = chain_oracle.expand(np.array([1.2]), 50, 60, 0.3, [], label_noise=0.2)
    mean = np.zeros(60)
    mean[7] = -1.2
    assert_recipe(Transfer(GaussianMixture(mean, label_noise=0.2), 50, 0.3).fluctuations(), recipe, 50)


@pytest.mark.parametrize("trained", [False, True])
def test_a_random_source_adds_its_derivatives(trained):
    """From the spread of a fixed source and of the source alone, by differences of the closed form in (s, ‖w̃‖²)."""
    beta, mu, mu_perp, p = 0.6, 1.1, 0.9, 80.0
    target = {"n": 60.0, "p": p, "gamma": 0.4, "label_noise": 0.1}
    own = {"n_source": 70.0, "gamma_source": 0.3, "label_noise_source": 0.15} if trained else {}
    spread = ra.fluctuations(beta, mu=mu, mu_perp=mu_perp, **target, **own)
    m2 = (beta * mu) ** 2 + (1 - beta**2) * mu_perp**2
    numbers, bias, cov = np.array([beta * mu**2, mu**2]), np.zeros(2), np.zeros((2, 2))
    if trained:
        axis = np.zeros(int(p))
        axis[0] = mu
        source = Transfer(GaussianMixture(axis, label_noise=0.15), 70, 0.3).fluctuations()
        units = np.array([beta, 1.0])  # M₀ is ⟨w̃, μ⟩
        numbers, bias, cov = units * source.numbers, units * source.bias, units[:, None] * units * source.cov
        cov[0, 0] += (1 - beta**2) * mu_perp**2 * (source.numbers[1] - (source.numbers[0] / mu) ** 2) / p

    def closed_form(s, square):
        return flatten(fixed_source_law(s, square - s * s / m2, m2, **target))

    step = 1e-3 * np.abs(numbers)
    points = {(i, j): closed_form(*(numbers + step * (i, j))) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    D = np.stack([points[1, 0] - points[-1, 0], points[0, 1] - points[0, -1]], axis=-1) / (2 * step)
    second = np.stack([points[1, 0] + points[-1, 0], points[0, 1] + points[0, -1]], axis=-1) - 2 * points[0, 0][:, None]
    mixed = (points[1, 1] - points[1, -1] - points[-1, 1] + points[-1, -1]) / (4 * step[0] * step[1])
    fixed = fixed_source_fluctuations(numbers[0], numbers[1] - numbers[0] ** 2 / m2, m2, **target)
    want_cov = fixed.cov + D @ cov @ D.T
    curved = 0.5 * (second / step**2) @ np.diag(cov) + mixed * cov[0, 1]
    np.testing.assert_allclose(spread.numbers, points[0, 0], rtol=1e-12)
    std = np.sqrt(np.diag(want_cov))
    np.testing.assert_allclose(spread.cov / std / std[:, None], want_cov / std / std[:, None], rtol=0, atol=1e-5)
    np.testing.assert_allclose(spread.bias, fixed.bias + D @ bias + curved, rtol=1e-5)
    if trained:
        assert np.abs(spread.bias - fixed.bias).max() > 0.1 * np.abs(fixed.bias).max()


# Invariants.


@pytest.mark.parametrize("trained", [False, True])
def test_the_limit_inside_is_the_margin_law(trained, monkeypatch):
    seen, spread = [], room._spread
    monkeypatch.setattr(room, "_spread", lambda *args: seen.append(spread(*args)) or seen[-1])
    problems = some_problems(1, 400, trained=trained)
    law = ra.fluctuations(**problems).law
    assert np.isfinite(flatten(law)).all()
    np.testing.assert_allclose(seen[0][0], flatten(ra.margin_law(**problems)), rtol=1e-9)
    np.testing.assert_array_equal(law.mean, ra.margin_law(**problems).mean)
    some_transfer().fluctuations()
    np.testing.assert_allclose(seen[1][0][0], flatten(some_transfer().margin_law()), rtol=1e-10)


@pytest.mark.parametrize("trained", [False, True])
def test_covariances_are_symmetric_and_positive(trained):
    problems = some_problems(2, 600, trained=trained)
    enough = problems["n"] * residual_fraction(problems["n"], problems["p"], problems["gamma"]) >= 1.0
    if trained:
        size, penalty = problems["n_source"], problems["gamma_source"]
        enough &= size * residual_fraction(size, problems["p"], penalty) >= 1.0
    spread = ra.fluctuations(**problems)
    assert (np.isnan(spread.std).all(axis=-1) == ~enough).all()
    assert np.isnan(spread.bias[~enough]).all()
    spread = spread[enough]
    std = spread.std
    assert (std > 0.0).all()
    np.testing.assert_array_equal(spread.cov, np.swapaxes(spread.cov, -1, -2))
    correlation = spread.cov / std[..., :, None] / std[..., None, :]
    assert np.linalg.eigvalsh(correlation).min() > -1e-10


@pytest.mark.parametrize("trained", [False, True])
def test_batch_and_blocks_are_loops_of_scalars(trained, monkeypatch):
    problems = some_problems(3, 23, trained=trained)
    whole = ra.fluctuations(**problems)
    monkeypatch.setattr(room, "_BLOCK", 5)
    blocks = ra.fluctuations(**problems)
    np.testing.assert_allclose(blocks.cov, whole.cov, rtol=1e-12, atol=0)
    np.testing.assert_allclose(blocks.bias, whole.bias, rtol=1e-9, atol=1e-12)
    for i in range(23):
        assert_same(whole[i], ra.fluctuations(**single(problems, i)))


def test_arguments_broadcast_and_more_than_a_block_of_them_fit():
    beta, gamma = np.linspace(-1, 1, 7)[:, None], np.geomspace(0.01, 10, room._BLOCK // 5)
    spread = ra.fluctuations(beta, 50, 70, gamma)
    assert spread.shape == (7, len(gamma))
    assert spread.cov.shape == (7, len(gamma), 5, 5)
    for i, j in [(0, 0), (6, -1), (5, 3), (2, 200)]:
        assert_same(spread[i, j], ra.fluctuations(float(beta[i, 0]), 50, 70, float(gamma[j])))
    assert ra.fluctuations([], 50, 70, 0.1).cov.shape == (0, 5, 5)
    assert ra.fluctuations(0.5, 50, 70, 0.1).shape == ()


SIGNS = np.array([1.0, -1.0, 1.0, -1.0, 1.0])


def scaled(spread, units):
    """The same spread with its numbers in other units."""
    numbers, cov, bias = units * spread.numbers, units[:, None] * units * spread.cov, units * spread.bias
    return ra.Fluctuations._trusted(numbers, cov, bias)


@pytest.mark.parametrize("trained", [False, True])
def test_the_other_sign_of_beta_flips_signs(trained):
    problems = some_problems(4, 100, trained=trained)
    one, other = ra.fluctuations(**problems), ra.fluctuations(**problems | {"beta": -problems["beta"]})
    assert_same(other, scaled(one, SIGNS))


@pytest.mark.parametrize("c", [-0.3, 7.0])
def test_the_length_of_a_source_scales_its_numbers(c):
    problems = some_problems(5, 100, trained=False)
    s, square, m2 = problems["beta"] * problems["mu"], problems["mu_perp"], problems["mu"] ** 2
    rest = [problems[name] for name in ("n", "p", "gamma")]
    flips = problems["label_noise"]
    one = fixed_source_fluctuations(s, square, m2, *rest, label_noise=flips)
    other = fixed_source_fluctuations(c * s, c * c * square, m2, *rest, label_noise=flips)
    units = np.array([1.0, c, 1.0, c, c * c])
    np.testing.assert_allclose(other.numbers, units * one.numbers, rtol=1e-12)
    assert_same(other, scaled(one, units))


def test_the_oracle_is_a_fixed_source():
    problems = some_problems(6, 100, trained=False)
    beta, mu, mu_perp = (problems.pop(name) for name in ("beta", "mu", "mu_perp"))
    mu[:20], mu_perp[:20] = 1e-3 * mu[:20], 1e-3 * mu_perp[:20]
    off = (1 - beta) * (1 + beta) * mu_perp**2
    m2 = (beta * mu) ** 2 + off
    assert_same(
        fixed_source_fluctuations(beta * mu**2, mu**2 * off / m2, m2, **problems),
        ra.fluctuations(beta, mu=mu, mu_perp=mu_perp, **problems),
    )


def test_a_target_without_a_mean_has_no_overlap():
    want = ra.fluctuations(0.0, 50, 60, 0.3, mu=1.3, mu_perp=0.0, label_noise=0.1)
    assert_same(fixed_source_fluctuations(0.0, 1.69, 0.0, 50, 60, 0.3, label_noise=0.1), want)


@pytest.mark.parametrize("trained", [False, True])
def test_ratios_decide_but_for_the_rate(trained):
    problems = some_problems(7, 100, trained=trained)
    sizes = {name: 1000.0 * value for name, value in problems.items() if name in ("n", "p", "n_source")}
    one, other = ra.fluctuations(**problems), ra.fluctuations(**problems | sizes)
    assert_same(ra.Fluctuations._trusted(other.numbers.copy(), 1000.0 * other.cov, 1000.0 * other.bias), one)


def test_a_little_label_noise_changes_little():
    problems = some_problems(8, 100, trained=True, label_noise=False)
    one, other = ra.fluctuations(**problems), ra.fluctuations(**problems | {"label_noise": 1e-13})
    assert_same(other, one, rtol=1e-7)
    assert_same(ra.fluctuations(**problems | {"label_noise_source": 1e-13}), one, rtol=1e-7)


@pytest.mark.parametrize("trained", [False, True])
def test_one_source_by_either_door(trained):
    """The span's orthonormal basis, however the vectors lie in it."""
    p, beta, mu, mu_perp = 40, -0.7, 1.2, 0.9
    axes = np.linalg.qr(np.random.default_rng(1).standard_normal((p, 2)))[0].T
    along, across = mu * axes[0], mu_perp * axes[1]
    target = GaussianMixture(beta * along + math.sqrt(1 - beta**2) * across, label_noise=0.1)
    source = RidgeSource(GaussianMixture(along, label_noise=0.2), 60, 0.4) if trained else FixedSource(along)
    own = {"n_source": 60, "gamma_source": 0.4, "label_noise_source": 0.2} if trained else {}
    want = ra.fluctuations(beta, 50, p, 0.3, mu=mu, mu_perp=mu_perp, label_noise=0.1, **own)
    assert_same(Transfer(target, 50, 0.3, [source]).fluctuations(), want)


def test_units_of_the_features_do_not_matter():
    assert_same(some_transfer(scale=3.0).fluctuations(), some_transfer().fluctuations())


def places(n_sources, kept):
    """Where the numbers of some sources are among those of all."""
    names = ra.Fluctuations._trusted(*np.zeros((3, (n_sources + 1) * (n_sources + 4) // 2))).names
    kept = [0, *(k + 1 for k in kept)]
    wanted = [f"M{k}" for k in kept] + [f"V{a}{b}" for i, a in enumerate(kept) for b in kept[i:]]
    return [names.index(name) for name in wanted]


@pytest.mark.parametrize("kept", [(0,), (1,), (2,), (0, 2), (1, 2), ()])
def test_other_sources_do_not_matter(kept):
    problem = some_transfer()
    whole = problem.fluctuations()
    part = some_transfer(sources=[problem.sources[k] for k in kept]).fluctuations()
    at = places(3, kept)
    assert_same(part, ra.Fluctuations._trusted(whole.numbers[at], whole.cov[np.ix_(at, at)], whole.bias[at]))


def test_the_order_of_sources_does_not_matter():
    problem = some_transfer()
    whole, turned = problem.fluctuations(), some_transfer(sources=problem.sources[::-1]).fluctuations()
    at = [0, 3, 2, 1, 4, 7, 6, 5, 13, 12, 10, 11, 9, 8]
    assert [turned.names[i] for i in at][:8] == ["M0", "M3", "M2", "M1", "V00", "V03", "V02", "V01"]
    assert_same(ra.Fluctuations._trusted(turned.numbers[at], turned.cov[np.ix_(at, at)], turned.bias[at]), whole)


def test_a_source_of_no_weight_changes_nothing():
    problem = some_transfer()
    more = some_transfer(sources=[*problem.sources, FixedSource(np.zeros(30))]).fluctuations()
    at = places(4, (0, 1, 2))
    rest = np.setdiff1d(np.arange(len(more.names)), at)
    assert_same(
        ra.Fluctuations._trusted(more.numbers[at], more.cov[np.ix_(at, at)], more.bias[at]), problem.fluctuations()
    )
    for array in (more.numbers[rest], more.bias[rest], more.cov[rest]):
        np.testing.assert_allclose(array, 0.0, atol=1e-15)


def test_sums_of_fixed_sources_are_sums():
    """The law of a₁w₁ + a₂w₂ by both ways."""
    rng = np.random.default_rng(2)
    target, (one, two) = GaussianMixture(rng.standard_normal(20) / 4, label_noise=0.1), rng.standard_normal((2, 20)) / 4
    pair = Transfer(target, 30, 0.3, [FixedSource(one), FixedSource(two)]).fluctuations()
    total = Transfer(target, 30, 0.3, [FixedSource(0.5 * one - 2.0 * two)]).fluctuations()
    a, b = 0.5, -2.0
    through = np.zeros((5, 9))  # M0 M1 M2 V00 V01 V02 V11 V12 V22
    through[0, 0] = through[2, 3] = 1.0
    through[1, 1:3] = through[3, 4:6] = a, b
    through[4, 6:] = a * a, 2 * a * b, b * b
    assert_same(
        total,
        ra.Fluctuations._trusted(through @ pair.numbers, through @ pair.cov @ through.T, through @ pair.bias),
    )


def test_a_fixed_direction_that_nothing_uses_changes_nothing():
    ridge = room.Ridge.of(np.full(1, 40.0), np.full(1, 60.0), np.full(1, 0.3))
    results = []
    for free in (0, 3):
        mean, weights = (np.array([[*v, *[0.0] * free]]) for v in ([0.9, -0.4], [0.3, 1.1]))
        task, flips = np.array([[0.6, 0.8, *[0.0] * free]]), np.array([0.1])
        trained = room._SourceSpread.trained(ridge, task, np.array([1.2]), flips, np.array([0.7]))
        sources = [room._SourceSpread.fixed(weights), trained]
        results.append(room._spread(ridge, np.full(1, 60.0), mean, flips, sources))
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("first", [1.0, -1.0, 1e-9, 0.0])
def test_a_reflection_takes_vectors_to_the_first_axis(first):
    vectors = np.array([[first, 0.3, -0.2], [first, 0.0, 1e-12], [first, 0.0, 0.0]])
    norm, turn = room._reflection(vectors)
    np.testing.assert_allclose(norm, np.linalg.norm(vectors, axis=1), rtol=1e-15)
    np.testing.assert_allclose(turn(vectors), norm[:, None] * np.array([1.0, 0.0, 0.0]), atol=1e-15)
    rows = np.stack([turn(np.tile(unit, (3, 1))) for unit in np.eye(3)], axis=-1)
    np.testing.assert_allclose(rows @ np.swapaxes(rows, 1, 2), np.tile(np.eye(3), (3, 1, 1)), atol=1e-15)


def test_a_profile_is_an_expectation():
    """Term by term, for a matrix between that is not symmetric."""
    rng = np.random.default_rng(3)
    B, variances = rng.standard_normal((2, 4, 4)), rng.uniform(size=(2, 4, 4))
    variances = variances + np.swapaxes(variances, 1, 2)
    want = np.zeros((2, 4, 4))
    for i, j, k, m in np.ndindex(4, 4, 4, 4):
        if {i, j} == {k, m}:
            want[:, i, m] += B[:, j, k] * variances[:, i, j]
    np.testing.assert_allclose(room._profile(B, variances), want, rtol=1e-14)


# Where nothing is defined, and extremes.


@pytest.mark.parametrize("which", ["law", "bias", "cov"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_all_of_a_spread_is_nan_where_anything_is_not_finite(which, value):
    mean, V = np.full((2, 1), 0.5), np.ones((2, 1, 1))
    bias, cov = np.ones((2, 2)), np.tile(np.eye(2), (2, 1, 1))
    {"law": V[:, 0], "bias": bias, "cov": cov[:, 0]}[which][1, 0] = value
    spread = room._in_blocks(ra.MarginLaw._trusted(mean, V), {}, lambda: (None, bias, cov))
    np.testing.assert_array_equal(spread.cov[0], np.eye(2))
    np.testing.assert_array_equal(spread.bias[0], 1.0)
    assert np.isnan(spread.cov[1]).all()
    assert np.isnan(spread.bias[1]).all()


def test_no_penalty():
    below, at, above = ra.fluctuations(0.7, [200, 100, 50], 100, 0.0, label_noise=0.1)
    assert np.isnan(at.cov).all()
    assert np.isnan(at.bias).all()
    for spread in (below, above):
        assert np.isfinite(spread.cov).all()
        assert np.isfinite(spread.bias).all()
    np.testing.assert_array_equal(below.std > 0.0, [True, False, True, False, False])  # the source is forgotten
    np.testing.assert_array_equal(above.std > 0.0, [True, True, True, False, True])  # it is orthogonal to the rest
    for n, without in ((200, below), (50, above)):
        limit = ra.fluctuations(0.7, n, 100, 1e-9, label_noise=0.1)
        np.testing.assert_allclose(limit.cov, without.cov, rtol=1e-6, atol=1e-10)
        np.testing.assert_allclose(limit.bias, without.bias, rtol=1e-6, atol=1e-7)
    singular = ra.fluctuations(0.7, 200, 100, 0.3, n_source=[100, 300], gamma_source=0.0)
    assert np.isnan(singular[0].cov).all()
    assert np.isfinite(singular[1].cov).all()


@pytest.mark.parametrize(
    "change",
    [{"mu": 0.0}, {"beta": 0.0}, {"beta": 1.0}, {"beta": -1.0}, {"mu_perp": 0.0}, {"mu": 0.0, "mu_perp": 0.0}],
    ids=str,
)
@pytest.mark.parametrize("trained", [False, True])
def test_degenerate_geometry_is_the_limit(change, trained):
    """Also where the target or the source has no mean."""
    problem = {"beta": 0.6, "n": 50, "p": 70, "gamma": 0.2, "mu": 1.1, "mu_perp": 0.8, "label_noise": 0.1}
    if trained:
        problem |= {"n_source": 60, "gamma_source": 0.4, "label_noise_source": 0.2}
    problem |= change
    near = {name: value + 1e-9 if value == 0.0 else value * (1 - 1e-16) for name, value in change.items()}
    spread, close = ra.fluctuations(**problem), ra.fluctuations(**problem | near)
    for array in ("numbers", "cov", "bias"):
        assert np.isfinite(getattr(spread, array)).all()
        np.testing.assert_allclose(getattr(close, array), getattr(spread, array), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("trained", [False, True])
def test_extremes_are_finite_or_nan_and_warn_of_nothing(trained):
    """Every warning is an error here."""
    rng = np.random.default_rng(9)
    size = 1500

    def extreme(low, high, zero):
        return np.where(rng.random(size) < 0.1, 0.0 if zero else 1.0, 10.0 ** rng.uniform(low, high, size))

    problems = {"beta": rng.choice([-1.0, 1.0, 0.0, 1e-160, 0.3, 1 - 1e-16], size)}
    problems |= {name: extreme(-70, 70, False) for name in ("n", "p")} | {"gamma": extreme(-70, 70, True)}
    problems |= {name: extreme(-40, 40, True) for name in ("mu", "mu_perp")} | {
        "label_noise": extreme(-300, -0.4, True)
    }
    if trained:
        problems |= {"n_source": extreme(-70, 70, False), "gamma_source": extreme(-70, 70, True)}
    spread = ra.fluctuations(**problems)
    nan = np.isnan(spread.cov).all(axis=(-2, -1))
    assert (np.isfinite(spread.cov).all(axis=(-2, -1)) | nan).all()
    np.testing.assert_array_equal(np.isnan(spread.bias).all(axis=-1), nan)
    assert np.isfinite(spread.bias[~nan]).all()
    assert 0.02 < nan.mean() < 1.0
    for answer in (spread.accuracy_std(1.0), spread.optimal_alpha_std(), spread.mean_accuracy(-np.inf)):
        assert (answer[~np.isnan(answer)] >= 0.0).all()
        assert np.isfinite(answer[~np.isnan(answer)]).all()
        assert np.isnan(answer[nan]).all()
    assert np.isnan(flatten(spread.corrected_law)[nan]).all()


def test_a_long_target_mean_keeps_its_digits():
    """The reflection cancels nothing where source and target are almost the same."""
    one = fixed_source_fluctuations(s=1e6, w_perp2=1e-8, m2=1e12, n=50, p=60, gamma=0.3)
    other = fixed_source_fluctuations(s=-1e6, w_perp2=1e-8, m2=1e12, n=50, p=60, gamma=0.3)
    np.testing.assert_allclose(other.cov, SIGNS[:, None] * SIGNS * one.cov, rtol=1e-9)


# The laws and answers of second order.


@pytest.mark.parametrize("trained", [False, True])
def test_second_order_is_the_limit_plus_the_bias(trained):
    problems = some_problems(10, 200, trained=trained) | {"mu": np.full(200, 0.8)}
    problems |= {"n": 0.03 * problems["n"], "p": 0.03 * problems["p"]}  # so few that the bias says nothing of some
    spread, law = ra.fluctuations(**problems), ra.margin_law(**problems, order=2)
    corrected = spread.numbers + spread.bias
    good = (corrected[:, [2, 4]] > 0.0).all(axis=1) & (corrected[:, 2] * corrected[:, 4] > corrected[:, 3] ** 2)
    assert 0.2 < good.mean() < 1.0
    np.testing.assert_array_equal(np.isfinite(law.mean).all(axis=1), good)
    np.testing.assert_allclose(flatten(law)[good], corrected[good], rtol=1e-15)
    assert np.isnan(flatten(law)[~good]).all()
    alpha = np.linspace(-2.0, 3.0, 200)
    np.testing.assert_array_equal(ra.accuracy(alpha, **problems, order=2), law.accuracy(alpha))
    np.testing.assert_array_equal(ra.risk(alpha, **problems, order=2), law.risk(alpha))
    np.testing.assert_array_equal(ra.optimal_alpha(**problems, order=2), law.optimal_alpha())
    np.testing.assert_array_equal(ra.worst_alpha(**problems, order=2), law.worst_alpha())


def test_second_order_of_a_fixed_source():
    arguments = (0.8, 0.36, 1.0, 50, 60, 0.1)
    law = fixed_source_law(*arguments, label_noise=0.1, order=2)
    spread = fixed_source_fluctuations(*arguments, label_noise=0.1)
    np.testing.assert_array_equal(flatten(law), spread.numbers + spread.bias)
    assert np.abs(spread.bias / spread.numbers).max() > 1e-3


def test_first_order_is_the_default_and_the_limit():
    problem = {"beta": 0.7, "n": 50, "p": 60, "gamma": 0.3, "n_source": 40, "gamma_source": 0.2}
    np.testing.assert_array_equal(ra.margin_law(**problem).cov, ra.margin_law(**problem, order=1).cov)
    np.testing.assert_array_equal(ra.fluctuations(**problem).law.cov, ra.margin_law(**problem).cov)
    for function, alpha in ((ra.accuracy, [1.3]), (ra.risk, [1.3]), (ra.optimal_alpha, []), (ra.worst_alpha, [])):
        first, default, second = (function(*alpha, **problem, **order) for order in ({"order": 1}, {}, {"order": 2}))
        assert first == default
        assert second != first
        assert second == pytest.approx(first, rel=0.3)
        large = {name: value * 1e6 if name in ("n", "p", "n_source") else value for name, value in problem.items()}
        assert function(*alpha, **large, order=2) == pytest.approx(first, rel=1e-6)


def test_accuracy_std_is_that_of_the_spread():
    problems = some_problems(11, 50, trained=True)
    alpha = np.linspace(-2.0, 2.0, 50)
    np.testing.assert_array_equal(ra.accuracy_std(alpha, **problems), ra.fluctuations(**problems).accuracy_std(alpha))
    assert type(ra.accuracy_std(1.0, 0.5, 20, 30, 0.1)) is float
    assert ra.accuracy_std([0.0, math.inf], 0.5, 20, 30, 0.1).shape == (2,)
    with pytest.raises(ValueError, match="do not broadcast"):
        ra.accuracy_std(np.zeros(3), 0.5, [20, 30], 30, 0.1)


@pytest.mark.parametrize(
    "name", ["beta", "n", "p", "gamma", "mu", "mu_perp", "n_source", "gamma_source", "label_noise"]
)
@pytest.mark.parametrize("value", [math.nan, -2.0, "1"])
def test_bad_input_is_refused_by_name(name, value):
    problem = {"beta": 0.5, "n": 20, "p": 30, "gamma": 0.1, "n_source": 40, "gamma_source": 0.2} | {name: value}
    with pytest.raises(ValueError, match=name):
        ra.fluctuations(**problem)
    with pytest.raises(ValueError, match=name):
        ra.accuracy_std(1.0, **problem)


def test_a_source_without_a_place_is_refused():
    with pytest.raises(ValueError, match="s must be 0 where m2 is 0"):
        fixed_source_fluctuations(0.5, 1.0, 0.0, 20, 30, 0.1)
    with pytest.raises(ValueError, match="multiple of the identity"):
        Transfer(GaussianMixture([1.0, 0.5], [1.0, 2.0]), 20, 0.1).fluctuations()


ORDERS = [ra.optimal_alpha, ra.worst_alpha]
BETAS, SAMPLES = np.array([-0.2, 0.5, 0.9]), np.array([30.0, 500.0])


def standard_deviation(beta, n, p, gamma):
    return ra.accuracy_std(1.3, beta, n, p, gamma)


def second_order(beta, n, p, gamma):
    return ra.optimal_alpha(beta, n, p, gamma, order=2)


@pytest.mark.parametrize("function", [standard_deviation, second_order])
def test_duck_arrays_pass_through(function):
    xr, pd, da = (pytest.importorskip(name) for name in ("xarray", "pandas", "dask.array"))
    want = function(BETAS[:, None], SAMPLES, 100, 0.1)
    labelled = function(
        xr.DataArray(BETAS, dims="beta", coords={"beta": BETAS}),
        xr.DataArray(SAMPLES, dims="n", coords={"n": SAMPLES}),
        100,
        0.1,
    )
    assert labelled.dims == ("beta", "n")
    np.testing.assert_array_equal(labelled.coords["n"], SAMPLES)
    np.testing.assert_allclose(labelled.values, want, rtol=1e-12)
    frame = pd.Series(BETAS, index=["a", "b", "c"])
    series = function(frame, 30, 100, 0.1)
    assert series.index.tolist() == ["a", "b", "c"]
    np.testing.assert_allclose(series.to_numpy(), want[:, 0], rtol=1e-12)
    lazy = function(da.from_array(BETAS, chunks=2)[:, None], da.from_array(SAMPLES, chunks=1), 100, 0.1)
    assert isinstance(lazy, da.Array)
    assert lazy.chunks == ((2, 1), (1, 1))
    np.testing.assert_allclose(lazy.compute(), want, rtol=1e-12)


def test_effective_ridge_of_the_module_is_the_theorys():
    problems = some_problems(12, 50, trained=False)
    n, p, gamma = (problems[name] for name in ("n", "p", "gamma"))
    ridge = room.Ridge.of(n, p, gamma)
    np.testing.assert_array_equal(ridge.kappa, effective_ridge(n, p, gamma))
    np.testing.assert_allclose(ridge.rho * ridge.kappa, gamma, rtol=1e-12)
    np.testing.assert_allclose(ridge.k1, 1.0 + ridge.kappa, rtol=1e-15)
    np.testing.assert_allclose(1.0 - ridge.theta, ridge.h, rtol=1e-9)


def test_what_would_not_fit_in_memory_is_refused(monkeypatch):
    def refuse(what, n_bytes):
        assert n_bytes > 8.0 * 21 * 30
        raise ValueError(f"{what} would need too much")

    monkeypatch.setattr(room, "check_memory", refuse)
    with pytest.raises(ValueError, match=r"fluctuations of shape \(3, 7\)"):
        ra.fluctuations(np.zeros((3, 1)), np.full(7, 30.0), 40, 0.1)


def test_the_mixed_number_varies_in_proportion_to_the_penalty_or_not_at_all():
    """Never by rounding noise: for p > n its spread is a difference of terms 1/γ times as large."""
    gamma = np.geomspace(1e-13, 1e-3, 21)[:, None]
    scaled = ra.fluctuations(0.8, [30, 200, 10], [60, 400, 1000], gamma, mu=1.2).std[..., 3] / gamma
    assert ((scaled == 0.0) | (np.abs(scaled / scaled[-1] - 1.0) < 0.02)).all()
    assert (scaled[0] == 0.0).all()
    unpenalised = ra.fluctuations(0.8, [30, 200], [60, 400], 0.0, mu=1.2, label_noise=0.1)
    assert (unpenalised.bias[:, 3] == 0.0).all()
    assert (unpenalised.cov[:, 3] == 0.0).all()
