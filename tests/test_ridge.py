import numpy as np
import pytest

from rmt_alpha.ridge import affine_ridge, dual, primal


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
