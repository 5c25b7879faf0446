import numpy as np
import pytest
from scipy import optimize

from rmt_alpha.ridge import RidgePath, affine_ridge, dual, primal, reduced_rank_ridge


def problem(n, p, k=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * rng.uniform(0.3, 3.0, p)
    shape = (p,) if k is None else (p, k)
    return X, rng.choice([-1.0, 1.0], n), rng.standard_normal(shape)


SHAPES = [(30, 7), (7, 30), (12, 12), (1, 5), (5, 1), (1, 1)]


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("k", [None, 1, 3])
def test_equals_the_textbook_formula(n, p, k):
    X, y, w = problem(n, p, k)
    gamma = 0.37
    Q = np.linalg.inv(X.T @ X / n + gamma * np.eye(p))
    w0, w1 = affine_ridge(X, y, w, gamma)
    assert w0.shape == (p,)
    assert w1.shape == w.shape
    np.testing.assert_allclose(w0, Q @ X.T @ y / n, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(w1, gamma * Q @ w, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("n", "p"), SHAPES)
@pytest.mark.parametrize("gamma", [1e-6, 0.2, 40.0])
def test_gradient_vanishes(n, p, gamma):
    """w_α = αw̃ + a with a the minimiser: independent of any formula for the solution."""
    X, y, w = problem(n, p, seed=1)
    w0, w1 = affine_ridge(X, y, w, gamma)
    for alpha in (-1.3, 0.0, 2.7):
        deviation = w0 + alpha * w1 - alpha * w
        gradient = X.T @ (X @ (alpha * w + deviation) - y) / n + gamma * deviation
        np.testing.assert_allclose(gradient, 0.0, atol=1e-12 * (1.0 + gamma))


def test_interpolates_with_the_least_deviation_without_penalty():
    X, y, w = problem(9, 40, seed=2)
    w0, w1 = affine_ridge(X, y, w, 0.0)
    for alpha in (0.0, 1.7):
        deviation = w0 + alpha * w1 - alpha * w
        np.testing.assert_allclose(X @ (alpha * w + deviation), y, atol=1e-12)
        np.testing.assert_allclose(deviation, np.linalg.lstsq(X, y - alpha * X @ w, rcond=None)[0], atol=1e-12)


def test_forgets_the_source_without_penalty_in_few_dimensions():
    X, y, w = problem(40, 9, seed=3)
    w0, w1 = affine_ridge(X, y, w, 0.0)
    np.testing.assert_allclose(w0, np.linalg.lstsq(X, y, rcond=None)[0], atol=1e-12)
    assert np.array_equal(w1, np.zeros(9))


@pytest.mark.parametrize(("n", "p"), [(30, 7), (7, 30)])
def test_no_source(n, p):
    X, y, w = problem(n, p)
    w0, w1 = affine_ridge(X, y, None, 0.3)
    assert w1.shape == (p, 0)
    np.testing.assert_allclose(w0, affine_ridge(X, y, w, 0.3)[0], rtol=1e-13)


def test_leaves_its_arguments_alone():
    X, y, w = problem(6, 6)
    copies = X.copy(), y.copy(), w.copy()
    affine_ridge(X, y, w, 0.3)
    for array, copy in zip((X, y, w), copies, strict=True):
        assert np.array_equal(array, copy)


def dependent_columns(n, p):
    X = problem(n, p)[0]
    X[:, -1] = X[:, 0] + X[:, 1]
    return X


@pytest.mark.parametrize(
    ("X", "gamma"),
    [
        (dependent_columns(60, 10), 0.0),
        (dependent_columns(60, 10), 1e-18),
        (dependent_columns(10, 60)[[0, 0, 1]], 0.0),  # the same sample twice
        (np.zeros((5, 3)), 0.0),
        (np.zeros((3, 5)), 0.0),
    ],
)
def test_singular_is_a_value_error(X, gamma):
    with pytest.raises(ValueError, match="gamma must be larger"):
        affine_ridge(X, np.ones(len(X)), np.ones(X.shape[1]), gamma)


@pytest.mark.parametrize("seed", range(20))
def test_singular_is_noticed_whatever_the_rounding(seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((150, 80))
    X[:, 40] = X @ (rng.standard_normal(80) * (np.arange(80) != 40))
    with pytest.raises(ValueError, match="gamma must be larger"):
        affine_ridge(X, np.ones(150), None, 0.0)


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_both_sides_solve_the_same_problem(n, p):
    X, y, w = problem(n, p, 2, seed=4)
    small = primal(X.T @ X, X.T @ y, w, n, 0.2)
    large = X.T @ dual(X @ X.T, y, X @ w, 0.2)
    large[:, 1:] += w
    np.testing.assert_allclose(small, large, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(small, np.column_stack(affine_ridge(X, y, w, 0.2)), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_scale_is_not_singularity(scale):
    X, y, w = problem(20, 6)
    w0, _ = affine_ridge(X * scale, y, w, 0.0)
    np.testing.assert_allclose(w0 * scale, affine_ridge(X, y, w, 0.0)[0], rtol=1e-10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(3), np.ones(3), None, 1.0), "X must be a matrix"),
        ((np.ones((0, 3)), np.ones(0), None, 1.0), "X must be a matrix"),
        ((np.ones((3, 2)), np.ones(2), None, 1.0), r"y must have shape \(3,\)"),
        ((np.ones((3, 2)), np.ones(3), np.ones(3), 1.0), r"w_source must have shape \(2,\)"),
        ((np.ones((3, 2)), np.ones(3), np.ones((2, 1, 1)), 1.0), "w_source must have shape"),
        ((np.ones((3, 2)), np.ones(3), 1.0, 1.0), "w_source must have shape"),
        ((np.ones((3, 2)), np.ones(3), None, -1.0), "gamma must be in"),
        ((np.ones((3, 2)), np.ones(3), None, np.inf), "gamma must be in"),
        ((np.array([[np.nan]]), np.ones(1), None, 1.0), r"X must be finite, got nan at index \(0, 0\)"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        affine_ridge(*arguments)


@pytest.mark.parametrize(("n", "p"), [(20, 6), (6, 20)])
def test_overflow_is_a_value_error(n, p):
    X, y, w = problem(n, p)
    with pytest.raises(ValueError, match=r"X must be smaller: the squares of entries up to .*e\+200 exceed float64"):
        affine_ridge(X * 1e200, y, w, 1.0)
    with pytest.raises(ValueError, match="X, y, w_source or gamma must be smaller"):
        affine_ridge(X * 1e150, y * 1e200, w * 1e200, 1.0)
    if p < n:
        with pytest.raises(ValueError, match="X, y, w_source or gamma must be smaller"):
            affine_ridge(X, y, w * 1e200, 1e200)


# Several outputs, and a deviation of limited rank.


def outputs(n, p, d, seed=0):
    """Samples, responses of some low rank and noise, a source, and scales of its rows."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * rng.uniform(0.3, 3.0, p)
    truth = rng.standard_normal((d, 2)) @ rng.standard_normal((2, p)) + 0.3 * rng.standard_normal((d, p))
    return X, X @ truth.T + rng.standard_normal((n, d)), rng.standard_normal((d, p)), rng.uniform(-1.5, 2.5, d)


def objective(X, Y, frozen, A, gamma):
    return np.square(Y - X @ (frozen + A).T).sum() / len(X) + gamma * np.square(A).sum()


def descended(X, Y, frozen, gamma, rank, rng):
    """The objective where BFGS in B and A comes to rest, from a random start."""
    d, p = frozen.shape

    def value(theta):
        B, A = theta[: d * rank].reshape(d, rank), theta[d * rank :].reshape(rank, p)
        misses = X @ (frozen + B @ A).T - Y
        slope = 2.0 * (misses.T @ X / len(X) + gamma * B @ A)
        return objective(X, Y, frozen, B @ A, gamma), np.r_[(slope @ A.T).ravel(), (B.T @ slope).ravel()]

    start = rng.standard_normal(rank * (d + p))
    return optimize.minimize(value, start, jac=True, method="BFGS", options={"gtol": 1e-8, "maxiter": 5000}).fun


@pytest.mark.parametrize(("n", "p", "d"), [(30, 5, 4), (6, 9, 4), (4, 4, 3), (9, 3, 6)])
@pytest.mark.parametrize("rank", [1, 2])
def test_no_descent_finds_a_better_matrix_of_that_rank(n, p, d, rank):
    X, Y, W, alpha = outputs(n, p, d, seed=n)
    rng, gamma = np.random.default_rng(rank), 0.37
    for scale, frozen in ((0.6, 0.6 * W), (alpha, alpha[:, None] * W)):
        A = reduced_rank_ridge(X, Y, W, gamma, scale, rank) - frozen
        assert np.linalg.matrix_rank(A, tol=1e-10) == rank
        best = objective(X, Y, frozen, A, gamma)
        found = [descended(X, Y, frozen, gamma, rank, rng) for _ in range(4)]
        assert min(found) == pytest.approx(best, rel=1e-8)  # not only a bound: it is reached
        assert min(found) >= best * (1 - 1e-12)


@pytest.mark.parametrize(("n", "p", "d"), [(30, 7, 3), (7, 30, 3), (7, 30, 9), (30, 7, 9), (5, 5, 1), (1, 1, 1)])
@pytest.mark.parametrize("scaled", ["all", "rows", "none"])
def test_full_rank_is_ridge_of_every_output(n, p, d, scaled):
    X, Y, W, alpha = outputs(n, p, d, seed=5)
    source, scale = (None if scaled == "none" else W), (alpha if scaled == "rows" else 0.7)
    full = np.empty((d, p))
    for j in range(d):
        w0, w1 = affine_ridge(X, Y[:, j], W[j], 0.2)
        full[j] = w0 + (0.0 if source is None else np.broadcast_to(scale, d)[j]) * w1
    for rank in (d, d + 1, min(n, p, d)):  # a ridge solution lies in the span of the samples
        np.testing.assert_allclose(reduced_rank_ridge(X, Y, source, 0.2, scale, rank), full, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize(("n", "p"), [(40, 12), (12, 40)])
def test_more_rank_never_fits_worse_and_none_leaves_the_source(n, p):
    X, Y, W, alpha = outputs(n, p, 6, seed=2)
    frozen = alpha[:, None] * W
    found = [reduced_rank_ridge(X, Y, W, 0.3, alpha, rank) - frozen for rank in range(7)]
    assert not found[0].any()
    assert np.linalg.matrix_rank(found[3], tol=1e-10) == 3
    assert (np.diff([objective(X, Y, frozen, A, 0.3) for A in found]) < 0.0).all()


def test_reduced_rank_without_penalty_is_the_limit_of_small_ones():
    for n, p in ((40, 12), (12, 40)):
        X, Y, W, alpha = outputs(n, p, 5, seed=3)
        limit = [reduced_rank_ridge(X, Y, W, gamma, alpha, 2) for gamma in (0.0, 1e-10)]
        np.testing.assert_allclose(*limit, rtol=1e-7, atol=1e-8)


def test_outputs_that_tie_are_as_good_as_each_other():
    """Two outputs of equal weight on orthogonal features: either is kept, and the objective is known."""
    A = reduced_rank_ridge(np.eye(2), np.eye(2), None, 0.5, 1.0, 1)
    assert np.linalg.matrix_rank(A, tol=1e-10) == 1
    assert objective(np.eye(2), np.eye(2), 0.0, A, 0.5) == pytest.approx(0.5 + 0.25, rel=1e-12)


def test_reduced_rank_leaves_its_arguments_alone():
    arguments = outputs(6, 9, 3)
    copies = [array.copy() for array in arguments]
    X, Y, W, alpha = arguments
    reduced_rank_ridge(X, Y, W, 0.3, alpha, 2)
    for array, copy in zip(arguments, copies, strict=True):
        assert np.array_equal(array, copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones(3)}, "X must be a matrix"),
        ({"Y": np.ones(3)}, r"Y must have shape \(3, d\)"),
        ({"Y": np.ones((2, 2))}, r"Y must have shape \(3, d\)"),
        ({"Y": np.ones((3, 0))}, r"Y must have shape \(3, d\)"),
        ({"W_source": np.ones(2)}, r"W_source must have shape \(4, 2\)"),
        ({"W_source": np.ones((2, 4))}, r"W_source must have shape \(4, 2\)"),
        ({"alpha": [1.0, 2.0]}, r"alpha must be a number or have shape \(4,\)"),
        ({"alpha": np.inf}, "alpha must be finite"),
        ({"rank": -1}, "rank must be an integer of at least 0"),
        ({"rank": 1.5}, "rank must be an integer"),
        ({"gamma": -0.1}, "gamma must be in"),
        ({"X": np.ones((3, 2)), "gamma": 0.0}, "gamma must be larger"),
        ({"W_source": np.full((4, 2), 1e200), "alpha": 1e200}, "W_source, alpha or gamma must be smaller"),
        ({"X": np.full((3, 2), 1e200)}, "X must be smaller"),
    ],
)
def test_bad_input_with_several_outputs(change, message):
    rng = np.random.default_rng(0)
    arguments = {"X": rng.standard_normal((3, 2)), "Y": rng.standard_normal((3, 4)), "W_source": np.ones((4, 2))}
    with pytest.raises(ValueError, match=message):
        reduced_rank_ridge(**arguments | {"gamma": 0.1, "alpha": 0.5, "rank": 1} | change)


# Every penalty, from one decomposition.


PENALTIES = np.array([1e-6, 0.2, 40.0])


@pytest.mark.parametrize(("n", "p"), SHAPES)
def test_path_is_ridge_at_every_penalty(n, p):
    X, y, w = problem(n, p, 2, seed=6)
    path = RidgePath(X)
    fitted, left = path.ridge(np.column_stack([y, X[:, 0]]), PENALTIES), path.deviation(w.T, PENALTIES)
    assert fitted.shape == (3, 2, p)
    assert left.shape == (3, 2, p)
    for q, gamma in enumerate(PENALTIES):
        w0, w1 = affine_ridge(X, y, w, gamma)
        np.testing.assert_allclose(fitted[q, 0], w0, rtol=1e-9, atol=1e-9 * np.abs(w0).max())
        np.testing.assert_allclose(left[q], w1.T, atol=1e-9 * np.abs(w).max())


@pytest.mark.parametrize(("n", "p"), [(9, 4), (4, 9), (5, 5), (2, 1)])
def test_path_with_an_intercept_is_least_squares_with_a_column_that_costs_nothing(n, p):
    X, y, w = problem(n, p, 1, seed=7)
    X += 3.0
    path = RidgePath(X, fit_intercept=True)
    rows = np.column_stack([X, np.ones(n)])
    for q, gamma in enumerate(PENALTIES):
        penalty = np.sqrt(n * gamma) * np.eye(p, p + 1)
        right = np.column_stack([y, X @ w])
        expected = np.linalg.lstsq(np.vstack([rows, penalty]), np.vstack([right, np.zeros((p, 2))]))[0][:p].T
        np.testing.assert_allclose(path.ridge(right, PENALTIES)[q], expected, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(w.T - path.deviation(w.T, PENALTIES)[q], expected[1:], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("n", "p"), [(9, 4), (4, 9), (5, 5), (2, 1)])
def test_path_takes_responses_to_residuals(n, p, intercept):
    X = problem(n, p, seed=8)[0]
    path = RidgePath(X, fit_intercept=intercept)
    values, diagonal = path.residuals(np.eye(n), PENALTIES)
    fitted, leverage = path.fitted(np.eye(n), PENALTIES)
    C = np.eye(n) - intercept / n
    for q, gamma in enumerate(PENALTIES):
        centred = C @ X
        A = C - centred @ np.linalg.solve(centred.T @ centred + n * gamma * np.eye(p), centred.T)
        factor = path.s[-1] ** 2 / (n * gamma) + 1.0 if path.saturated else 1.0
        np.testing.assert_allclose(values[q], factor * A, atol=1e-9 * factor)
        np.testing.assert_allclose(diagonal[q], factor * np.diag(A), atol=1e-9 * factor)
        np.testing.assert_allclose(fitted[q], np.eye(n) - A, atol=1e-9)
        np.testing.assert_allclose(leverage[q], 1.0 - np.diag(A), atol=1e-9)


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("rows", [[0, 0, 1, 2], [0, 0, 0, 0], [0, 1, 2, 3]])
def test_path_without_penalty_is_the_fit_of_least_length(rows, intercept):
    X, y, w = problem(4, 9, 1, seed=9)
    X = X[rows]
    path = RidgePath(X, fit_intercept=intercept)
    assert path.U.shape[1] == np.linalg.matrix_rank(X - intercept * X.mean(axis=0))
    centred = X - intercept * X.mean(axis=0)
    pseudo = np.linalg.pinv(centred, rcond=1e-12)
    found = path.ridge(y[:, None], np.zeros(1))[0, 0], path.deviation(w.T, np.zeros(1))[0, 0]
    np.testing.assert_allclose(found[0], pseudo @ (y - intercept * y.mean()), atol=1e-12)
    np.testing.assert_allclose(found[1], w[:, 0] - pseudo @ centred @ w[:, 0], atol=1e-12)


def test_path_keeps_what_little_is_left_of_a_source():
    """γ tiny and dependent columns: w₁ = O(γ) where w̃ is in the span of the samples, not rounding."""
    rng = np.random.default_rng(0)
    X = rng.integers(-3, 4, (8, 3)).astype(float)
    path, single = RidgePath(np.column_stack([X, X[:, 0]])), RidgePath(X @ np.diag([2.0**0.5, 1.0, 1.0]))
    w = np.array([2.0**0.5, -1.0, 0.5])
    left = path.deviation(np.array([[1.0, -1.0, 0.5, 1.0]]), np.array([1e-12]))[0, 0]
    expected = single.deviation(w[None], np.array([1e-12]))[0, 0] * [0.5**0.5, 1.0, 1.0]
    np.testing.assert_allclose(left, expected[[0, 1, 2, 0]], rtol=1e-10)


@pytest.mark.parametrize("own", [1e-6, 1e-9, 1e-12])
@pytest.mark.parametrize("intercept", [False, True])
def test_path_without_penalty_knows_samples_that_are_nearly_alone(own, intercept):
    """One direction, where the first sample is at 1 and the only other one not at 0 is at `own`.

    Without the first, the line through the others goes on to 1, and 1/own times as far as its points are apart. If the
    first counted as alone, the others would say nothing of that direction.
    """
    rng = np.random.default_rng(12)
    basis = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    along, b = np.zeros((7, 3)), rng.standard_normal(7)
    along[:2, 0], along[3:, 1:] = (1.0, own), rng.integers(-3, 4, (4, 2))
    for X, y in ((along[:3, :1], b[:3]), (along @ basis, b)):
        values, diagonal = RidgePath(X, fit_intercept=intercept).residuals(y[:, None], np.zeros(1))
        others = np.linalg.lstsq(np.column_stack([along[2 : len(X), 1:], np.full(len(X) - 2, intercept)]), y[2:])[0]
        start = others[-1] if intercept else 0.0
        found = values[0, 0, 0] / diagonal[0, 0]
        assert found == pytest.approx(y[0] - start - (y[1] - start) / own, rel=1000 * np.finfo(float).eps / own)


@pytest.mark.parametrize("scale", [1e-180, 1e-100, 1e100, 1e150])
@pytest.mark.parametrize(("n", "p"), [(9, 4), (4, 9)])
def test_path_in_any_units(n, p, scale):
    X, y, w = problem(n, p, 1, seed=10)
    plain, scaled = RidgePath(X, fit_intercept=True), RidgePath(X * scale, fit_intercept=True)
    B, zero = y[:, None], np.zeros(1)
    np.testing.assert_allclose(scaled.ridge(B, zero) * scale, plain.ridge(B, zero), rtol=1e-9)
    for a, b in zip(scaled.residuals(B, zero), plain.residuals(B, zero), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    if 1e-160 < scale < 1e160:
        gamma = np.array([0.3])
        units = gamma * scale * scale
        np.testing.assert_allclose(scaled.ridge(B, units) * scale, plain.ridge(B, gamma), rtol=1e-9)
        np.testing.assert_allclose(scaled.deviation(w.T, units), plain.deviation(w.T, gamma), rtol=1e-9)


def test_path_of_extreme_penalties():
    X, y, w = problem(6, 4, 1, seed=11)
    path = RidgePath(X)
    huge = np.array([1e300, np.finfo(np.float64).max])
    np.testing.assert_allclose(path.ridge(y[:, None], huge)[0, 0], X.T @ y / 6 / 1e300, rtol=1e-10)
    np.testing.assert_allclose(path.deviation(w.T, huge)[:, 0], np.tile(w[:, 0], (2, 1)), rtol=1e-14)
    np.testing.assert_allclose(path.residuals(y[:, None], huge)[0][..., 0], np.tile(y, (2, 1)), rtol=1e-14)


def test_path_of_one_sample_and_of_no_features():
    path = RidgePath([[2.0, 1.0]], fit_intercept=True)
    assert path.saturated
    assert path.U.shape == (1, 0)
    assert not path.ridge(np.ones((1, 1)), np.ones(1)).any()
    path = RidgePath(np.zeros((3, 2)))
    np.testing.assert_array_equal(path.residuals(np.eye(3), np.zeros(2))[0], np.tile(np.eye(3), (2, 1, 1)))
    np.testing.assert_array_equal(path.deviation(np.eye(2), np.zeros(1))[0], np.eye(2))


def test_path_of_what_is_too_large():
    for X in (np.full((3, 2), 1e200) * [[1.0], [2.0], [3.0]], np.full((3, 2), 1.7e308)):
        with pytest.raises(ValueError, match=r"X must be smaller: the squares of entries up to .* exceed float64"):
            RidgePath(X)
    with pytest.raises(ValueError, match="X must be a matrix"):
        RidgePath(np.ones(3))


def test_constant_features_have_no_rank_whatever_their_mean_rounds_to():
    rng = np.random.default_rng(4)
    constant = np.tile(1.0 / rng.uniform(1.0, 3.0, 5), (7, 1))
    assert constant.mean(axis=0).tolist() != constant[0].tolist()  # or this would be no test
    assert len(RidgePath(constant, fit_intercept=True).s) == 0
    mixed = RidgePath(np.column_stack([constant * 1e9, 1e-9 * rng.standard_normal((7, 2))]), fit_intercept=True)
    assert len(mixed.s) == 2
