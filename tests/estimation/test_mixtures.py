"""The mixture behind labelled samples: exact identities, optimality, bias, and what the law makes of it."""

import sys

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.covariance import ledoit_wolf, oas

from rmt_alpha.estimation import mixtures
from rmt_alpha.estimation.mixtures import estimate_mixture
from rmt_alpha.estimation.plug_in import estimate_problem
from rmt_alpha.problem import FixedSource, GaussianMixture
from rmt_alpha.ridge import affine_ridge
from rmt_alpha.theory.isotropic import fixed_source_law
from rmt_alpha.transfer import Transfer


def power_law(seed, p, exponent=1.0, strength=0.3):
    """A random basis, eigenvalues 1/k with mean 1, and a mean that is spread as the noise is."""
    rng = np.random.default_rng(seed)
    values = np.arange(1.0, p + 1.0) ** -exponent
    values *= p / values.sum()
    basis = np.linalg.qr(rng.standard_normal((p, p)))[0]
    mean = basis @ (strength * np.sqrt(values) * rng.standard_normal(p))
    return GaussianMixture(mean, basis * values @ basis.T)


def draw(rng, mixture, n, share=0.5):
    y = np.where(np.arange(n) < share * n, 1.0, -1.0)
    X = rng.standard_normal((n, mixture.p))
    mixture.colour(X)
    return X + np.outer(y, mixture.mean) + 3.0, y


def half_difference(X, y):
    return 0.5 * (X[y > 0].mean(axis=0) - X[y < 0].mean(axis=0))


def residuals(X, y):
    return np.vstack([X[y == sign] - X[y == sign].mean(axis=0) for sign in (-1, 1)])


def full(mixture):
    covariance = mixture.covariance
    return covariance if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, (mixture.p,)))


# Covariance.


@pytest.mark.parametrize("name", ["ledoit-wolf", "oas", 0.0, 0.37, 1.0])
@pytest.mark.parametrize(("n", "share"), [(24, 0.5), (50, 0.3)])
def test_without_reference_it_is_scikit_learns(name, n, share):
    X, y = draw(np.random.default_rng(1), power_law(0, 30), n, share)
    R = residuals(X, y)
    if isinstance(name, str):
        whole = (ledoit_wolf if name == "ledoit-wolf" else oas)(R, assume_centered=True)[0] * n / (n - 2)
    else:
        S = R.T @ R / (n - 2)
        whole = (1 - name) * S + name * np.trace(S) / 30 * np.eye(30)
    np.testing.assert_allclose(full(estimate_mixture(X, y, shrinkage=name)), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_weights_are_the_optimal_ones(seed):
    """Against a general optimiser, for Gram matrices whose optimum is inside, on every edge and at the corners."""
    rng = np.random.default_rng(seed)
    half = rng.standard_normal((2, 3)) * [[1.0], [rng.choice([0.3, 1.0, 3.0])]]
    gram = half @ half.T
    b = float(np.exp(rng.normal(-0.5, 1.0)))

    def loss(x):
        return x @ gram @ x - 2 * b * x.sum()

    box = {"bounds": [(0, 1), (0, 1)], "constraints": {"type": "ineq", "fun": lambda x: 1 - x.sum()}}
    best = min(minimize(loss, start, **box, tol=1e-14).fun for start in ([0.1, 0.1], [0.8, 0.1], [0.1, 0.8]))
    x = mixtures._least(gram, b)
    assert x.min() >= 0
    assert x.sum() <= 1 + 1e-12
    assert loss(x) == pytest.approx(best, abs=1e-7)


def test_weights_of_degenerate_directions():
    same = np.array([[2.0, 2.0], [2.0, 2.0]])  # both targets are one
    assert mixtures._least(same, 1.0).sum() == pytest.approx(0.5)
    assert mixtures._least(np.zeros((2, 2)), 0.0).tolist() == [0.0, 0.0]
    assert mixtures._least(np.array([[4.0]]), 1.0).tolist() == [0.25]


def error(mixture, truth):
    return np.linalg.norm(mixture.covariance - truth.covariance)


def test_reference_helps_where_it_is_alike_and_costs_little_where_it_is_not():
    rng = np.random.default_rng(2)
    truth, other = power_law(3, 80), power_law(4, 80)
    ratios = []
    for _ in range(8):
        X, y = draw(rng, truth, 30)
        alone = error(estimate_mixture(X, y), truth)
        references = [GaussianMixture(np.zeros(80), c) for c in (0.2 * truth.covariance, other.covariance, None)]
        ratios.append([error(estimate_mixture(X, y, reference=r), truth) / alone for r in references])
    alike, unlike, none = np.mean(ratios, axis=0)
    assert alike < 0.5
    assert 0.95 < unlike < 1.1
    assert none == pytest.approx(1.0, abs=1e-9)  # a multiple of the identity is there already


# Mean.


@pytest.mark.parametrize(("strength", "seed"), [(0.02, 2), (1.0, 5)])
def test_isotropic_shrinkage_is_the_plug_in(strength, seed):
    """With Σ̂ a multiple of the identity: s, and m² by the rule max(m̂², s²/‖w̃‖²)."""
    rng = np.random.default_rng(seed)
    X, y = draw(rng, power_law(6, 50, 0.3, strength), 24)
    w = rng.standard_normal(50)
    mean = estimate_mixture(X, y, source_coef=w, shrinkage=1.0).mean
    expected = estimate_problem(X, y, w)
    assert expected.at_bound == (strength == 0.02)
    assert w @ mean == pytest.approx(expected.s, rel=1e-10)
    assert mean @ mean == pytest.approx(expected.m2, rel=1e-10)


@pytest.mark.parametrize("reference", [None, power_law(8, 60)])
@pytest.mark.parametrize("sourced", [False, True])
def test_length_is_unbiased_in_its_metric_and_the_plain_mean_is_not(reference, sourced):
    """⟨μ, Bμ⟩ for the B of each draw, B = (Σ̂ + tr Σ̂/p)⁻¹; rows that Σ̂ has seen would understate the noise."""
    rng = np.random.default_rng(7)
    truth = power_law(8, 60, 1.0, 0.3)
    ours, plain = [], []
    for _ in range(300):
        X, y = draw(rng, truth, 36, 0.4)
        w = rng.standard_normal(60) if sourced else None
        mixture = estimate_mixture(X, y, source_coef=w, reference=reference)
        sigma = mixture.covariance
        B = np.linalg.inv(sigma + np.trace(sigma) / 60 * np.eye(60))
        target = truth.mean @ B @ truth.mean
        ours.append(mixture.mean @ B @ mixture.mean / target - 1)
        plain.append(half_difference(X, y) @ B @ half_difference(X, y) / target - 1)
    stderr = np.std(ours) / np.sqrt(len(ours))
    assert stderr < 0.03
    assert abs(np.mean(ours)) < 3.5 * stderr
    assert np.mean(plain) > 0.1


def test_component_that_the_source_sees_is_kept():
    rng = np.random.default_rng(9)
    X, y = draw(rng, power_law(10, 40), 20)
    w = rng.standard_normal(40)
    kept = estimate_mixture(X, y, source_coef=w).mean
    assert w @ kept == pytest.approx(w @ half_difference(X, y), rel=1e-10)
    without = estimate_mixture(X, y).mean
    assert w @ without != pytest.approx(w @ half_difference(X, y), rel=1e-3)
    for scale in (1e-90, 1e90):  # only its direction matters
        np.testing.assert_allclose(estimate_mixture(X, y, source_coef=scale * w).mean, kept, rtol=1e-9)
    units = np.full(40, 1e20)
    np.testing.assert_allclose(
        estimate_mixture(units * X, y, source_coef=1e300 * w, scale=units).mean / units, kept, rtol=1e-9
    )
    np.testing.assert_array_equal(estimate_mixture(X, y, source_coef=0 * w).mean, without)


@pytest.mark.parametrize(("n", "strength"), [(10, 0.3), (40, 0.3), (40, 0.0)])
def test_several_sources_by_the_dense_formula(n, strength):
    """μ = a + c r, a = B⁻¹W(WᵀB⁻¹W)⁺Wᵀμ̂, whatever the lengths of the sources, and c² = max(0, 1 − f tr(BΣ)/rᵀBr)."""
    rng = np.random.default_rng(24)
    X, y = draw(rng, power_law(10, 30, 1.0, strength), n)
    W = rng.standard_normal((2, 30))
    mixture = estimate_mixture(X, y, source_coef=W * [[1e-50], [3.0]])
    inverse = mixture.covariance + np.trace(mixture.covariance) / 30 * np.eye(30)
    naive = half_difference(X, y)
    along = inverse @ W.T @ np.linalg.pinv(W @ inverse @ W.T) @ W @ naive
    rest, left = mixture.mean - along, naive - along
    np.testing.assert_allclose(W @ mixture.mean, W @ naive, rtol=1e-9)
    c = rest @ left / (left @ left)
    np.testing.assert_allclose(rest, c * left, atol=1e-10)
    within = residuals(X, y)
    S = within.T @ within / (n - 2)
    target = np.trace(S) / 30 * np.eye(30)
    own = np.linalg.norm(mixture.covariance - target) / np.linalg.norm(S - target)
    q = np.einsum("ij,jk,ik->i", within, np.linalg.inv(inverse), within)
    noise = (q / (1.0 - own * q / (n - 2))).sum() / (n - 2) / n
    assert c**2 == pytest.approx(max(0.0, 1.0 - noise / (left @ np.linalg.solve(inverse, left))), rel=1e-8)
    assert (c > 1e-9) == (strength > 0.0)


def test_sources_that_add_nothing():
    """Zeros, multiples and sums of other sources; and all of the features' directions at once."""
    rng = np.random.default_rng(25)
    X, y = draw(rng, power_law(10, 12), 24)
    W = rng.standard_normal((2, 12))
    expected = estimate_mixture(X, y, source_coef=W).mean
    for more in (np.zeros((1, 12)), W[:1], -1e30 * W[1:], (W[0] + W[1])[None]):
        np.testing.assert_allclose(estimate_mixture(X, y, source_coef=np.vstack([more, W])).mean, expected, rtol=1e-8)
    np.testing.assert_array_equal(
        estimate_mixture(X, y, source_coef=np.zeros((2, 12))).mean, estimate_mixture(X, y).mean
    )
    np.testing.assert_allclose(estimate_mixture(X, y, source_coef=np.eye(12)).mean, half_difference(X, y), rtol=1e-9)
    np.testing.assert_allclose(
        estimate_mixture(X, y, source_coef=W[:1]).mean, estimate_mixture(X, y, source_coef=W[0]).mean, rtol=1e-13
    )


@pytest.mark.parametrize("degrees", [19, 20])
def test_shrunk_covariance_is_scikit_learns(degrees):
    rows = np.random.default_rng(26).standard_normal((20, 30)) * np.linspace(0.2, 2.0, 30)
    expected = ledoit_wolf(rows, assume_centered=True)[0] * 20 / degrees
    np.testing.assert_allclose(mixtures.shrunk_covariance(rows, degrees), expected, rtol=1e-10, atol=1e-13)
    assert not mixtures.shrunk_covariance(np.zeros((3, 2)), 2).any()


def test_without_a_signal_the_mean_is_the_one_for_which_the_source_is_best():
    rng = np.random.default_rng(21)
    X, y = draw(rng, power_law(10, 40, 1.0, 0.0), 20)
    w = rng.standard_normal(40)
    mixture = estimate_mixture(X, y, source_coef=w)
    direction = mixture.covariance @ w + np.trace(mixture.covariance) / 40 * w
    np.testing.assert_allclose(mixture.mean, direction * (w @ half_difference(X, y)) / (w @ direction), rtol=1e-9)
    assert not estimate_mixture(X, y).mean.any()


def test_many_samples_give_the_truth():
    truth = power_law(11, 10)
    X, y = draw(np.random.default_rng(12), truth, 100_000, 0.3)
    mixture = estimate_mixture(X, y, source_coef=np.ones(10), reference=power_law(13, 10))
    np.testing.assert_allclose(mixture.mean, truth.mean, atol=0.02)
    np.testing.assert_allclose(mixture.covariance, truth.covariance, atol=0.05)


# Both.


def test_units_origin_and_axes_do_not_matter():
    rng = np.random.default_rng(14)
    X, y = draw(rng, power_law(15, 20), 16)
    reference, w = power_law(16, 20), rng.standard_normal(20)
    base = estimate_mixture(X, y, source_coef=w, reference=reference)
    turn = np.linalg.qr(rng.standard_normal((20, 20)))[0]
    turned = estimate_mixture(
        X @ turn + 5.0,
        y,
        source_coef=turn.T @ w,
        reference=GaussianMixture(reference.mean, turn.T @ reference.covariance @ turn),
    )
    np.testing.assert_allclose(turn @ turned.mean, base.mean, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(turn @ turned.covariance @ turn.T, base.covariance, rtol=1e-9, atol=1e-11)
    for scale in (1e-90, 1e-20, 1e90):
        scaled = estimate_mixture(scale * X, y, source_coef=w, reference=reference)
        np.testing.assert_allclose(scaled.mean / scale, base.mean, rtol=1e-9, atol=1e-11)
        np.testing.assert_allclose(scaled.covariance / scale / scale, base.covariance, rtol=1e-9, atol=1e-11)


def test_scale_is_the_unit_of_the_estimate():
    """The same as estimating in these units and going back, whatever they are."""
    rng = np.random.default_rng(22)
    X, y = draw(rng, power_law(23, 20), 16)
    reference, w = power_law(24, 20), rng.standard_normal(20)
    for units in (np.exp(rng.standard_normal(20)), np.geomspace(1e-40, 1e40, 20)):
        inside = estimate_mixture(X, y, source_coef=w, reference=reference)
        outer = GaussianMixture(units * reference.mean, full(reference) * units * units[:, None])
        found = estimate_mixture(X * units, y, source_coef=w / units, reference=outer, scale=units)
        np.testing.assert_allclose(found.mean / units, inside.mean, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(full(found) / units / units[:, None], full(inside), rtol=1e-9, atol=1e-12)
        plain = estimate_mixture(X * units, y, source_coef=w / units, reference=outer)
        assert not np.allclose(full(plain) / units / units[:, None], full(inside), rtol=0.1)


def test_features_that_do_not_vary():
    rng = np.random.default_rng(17)
    X, y = draw(rng, power_law(18, 8), 30)
    w, reference = rng.standard_normal(8), power_law(19, 8)
    at = [2, 2]  # where columns are inserted
    wide = estimate_mixture(
        np.insert(X, at, np.column_stack([np.full(30, 0.1), 0.7 * y]), axis=1),
        y,
        source_coef=np.insert(w, at, 9.0),
        reference=GaussianMixture(
            np.zeros(10), np.insert(np.insert(reference.covariance, at, 0.0, axis=0), at, 0.0, axis=1) + np.eye(10)
        ),
    )
    assert wide.mean[2:4] == pytest.approx([0.0, 0.7])
    assert not wide.covariance[2:4].any()
    rest = [0, 1, 4, 5, 6, 7, 8, 9]
    shifted = GaussianMixture(np.zeros(8), reference.covariance + np.eye(8))
    again = estimate_mixture(X, y, source_coef=w, reference=shifted)
    np.testing.assert_allclose(wide.mean[rest], again.mean, rtol=1e-12)
    np.testing.assert_allclose(wide.covariance[np.ix_(rest, rest)], again.covariance, rtol=1e-12)

    still = estimate_mixture(np.outer(y, [1.0, 2.0]), y, source_coef=[1.0, 0.0])
    assert still.mean.tolist() == [1.0, 2.0]
    assert still.covariance == 0.0


@pytest.mark.parametrize("shrinkage", ["ledoit-wolf", "oas", 0.0])
@pytest.mark.parametrize(("n", "p"), [(8, 1), (8, 2), (9, 30), (8, 7)])
def test_tiny_samples(n, p, shrinkage):
    rng = np.random.default_rng(20)
    y = np.resize([-1.0, 1.0], n)
    for reference in (None, GaussianMixture(np.ones(p), 0.0), GaussianMixture(np.ones(p), np.arange(1.0, p + 1))):
        mixture = estimate_mixture(
            rng.standard_normal((n, p)), y, source_coef=np.ones(p), reference=reference, shrinkage=shrinkage
        )
        assert np.isfinite(mixture.mean).all()
        assert np.trace(np.atleast_2d(mixture.covariance)) > 0


def transfers(seed, draws, n=40, p=60):
    """Laws of a simulated problem: the truth, from samples with covariance, from samples as if isotropic."""
    rng = np.random.default_rng(seed)
    old = power_law(seed, p, 1.5, 0.25)
    new = GaussianMixture(0.5 * old.mean + 0.2 * old.root @ rng.standard_normal(p), 1.5 * old.covariance)
    for _ in range(draws):
        X_old, y_old = draw(rng, old, 350)
        X, y = draw(rng, new, n)
        w = affine_ridge(X_old - X_old.mean(axis=0), y_old, None, 1.0)[0]
        found = Transfer.from_data(X_old, y_old, X, y, gamma=1.0, source_coef=w)
        rough = estimate_problem(X, y, w)
        yield (
            Transfer(new, n, 1.0, [FixedSource(w)]).margin_law(),
            found.margin_law(),
            fixed_source_law(rough.s, rough.w_perp2, rough.m2, n, p, 1.0),
        )


@pytest.mark.parametrize("seed", [0, 3])
def test_predicted_curve_is_within_its_spread_of_the_truth(seed):
    alpha = np.linspace(-1.0, 3.0, 9)
    truth, found, rough = np.moveaxis([[law.accuracy(alpha) for law in laws] for laws in transfers(seed, 30)], 1, 0)
    spread = found.std(axis=0, ddof=1)
    assert (np.abs((found - truth).mean(axis=0)) < spread).all()
    assert spread.max() < 0.08
    assert np.abs(found - truth).mean() < 0.6 * np.abs(rough - truth).mean()


# What is refused.

ROWS = np.arange(32.0).reshape(8, 4) % 5
SIGNS = np.resize([-1.0, 1.0], 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": ROWS[0]}, "X must be a matrix"),
        ({"X": np.where(ROWS == 3, np.nan, ROWS)}, "X must be finite"),
        ({"X": 1e101 * ROWS}, "X must be in"),
        ({"y": SIGNS[1:]}, "y must have shape"),
        ({"y": 2 * SIGNS}, "y must hold the labels"),
        ({"y": [1, 1, 1, 1, 1, -1, -1, -1]}, "y must have at least 4 samples of each label, got 3"),
        ({"X": 1e-200 * ROWS}, "X must vary by 1e-100 or more within the classes, or not at all, got 2.25e-200"),
        ({"scale": np.ones(3)}, r"scale must have shape \(4,\)"),
        ({"scale": [1, 1, 1, 0]}, "scale must be in"),
        ({"source_coef": np.ones(3)}, r"source_coef must have shape \(4,\)"),
        ({"source_coef": np.ones((2, 3))}, r"source_coef must have shape \(4,\), or one such row for each source"),
        ({"source_coef": np.ones((1, 2, 4))}, r"source_coef must have shape \(4,\)"),
        ({"source_coef": 1.0}, r"source_coef must have shape \(4,\)"),
        ({"source_coef": [1, 1, 1, np.inf]}, "source_coef must be finite"),
        ({"reference": GaussianMixture(np.ones(3))}, "reference must have the dimension 4"),
        ({"shrinkage": "lasso"}, "shrinkage must be 'ledoit-wolf', 'oas' or a number"),
        ({"shrinkage": 1.1}, r"shrinkage must be in \[0, 1\]"),
        ({"shrinkage": np.nan}, "shrinkage must be in"),
        ({"shrinkage": True}, "shrinkage must be real"),
    ],
)
def test_bad_input(change, message):
    arguments = {"X": ROWS, "y": SIGNS} | change
    with pytest.raises(ValueError, match=message):
        estimate_mixture(arguments.pop("X"), arguments.pop("y"), **arguments)


def test_what_does_not_fit_in_memory_is_refused():
    wide = np.broadcast_to(ROWS[:, :1], (8, 10**7))
    with pytest.raises(ValueError, match="p=10000000"):
        estimate_mixture(wide, SIGNS)


def test_scikit_learn_is_asked_for_by_name_only(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.covariance", None)
    assert estimate_mixture(ROWS, SIGNS, shrinkage=0.5).p == 4
    with pytest.raises(ValueError, match=r"shrinkage='oas' needs scikit-learn: pip install \"rmt_alpha\[data\]\""):
        estimate_mixture(ROWS, SIGNS, shrinkage="oas")
