import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmt_alpha.estimation.leave_one_out import LOOResult, leave_one_out, loo_predictions
from rmt_alpha.ridge import RidgePath

EPS = np.finfo(np.float64).eps


def refitted(X, y, W, gamma, intercept, digits=60):
    """Predictions (n, K+1) by fitting the n − 1 others with the penalty nγ, in `digits` digits, by normal equations.

    γ = 0 is a penalty so small that it changes nothing in float64; more digits make up for what that costs.
    """
    n, p = X.shape
    k = len(W)
    found = np.empty((n, k + 1))
    with mpmath.workdps(digits if gamma else 2 * digits):
        rows = mpmath.matrix([[mpmath.mpf(x) for x in row] + [mpmath.mpf(1)] * intercept for row in X.tolist()])
        said = rows[:, :p] * mpmath.matrix(W.T.tolist()) if k else None
        right = mpmath.matrix(n, k + 1)
        for i in range(n):
            right[i, 0] = mpmath.mpf(y[i])
            for j in range(k):
                right[i, j + 1] = -said[i, j]
        gram, moments = rows.T * rows, rows.T * right
        for j in range(p):
            gram[j, j] += n * mpmath.mpf(gamma) if gamma else mpmath.mpf(10) ** (-2 * digits // 3)
        for i in range(n):
            own = rows[i, :]
            lu, pivots = mpmath.mp.LU_decomp(gram - own.T * own)
            for j in range(k + 1):
                column = moments[:, j] - own.T * right[i, j]
                a = mpmath.mp.U_solve(lu, mpmath.mp.L_solve(lu, column, pivots))
                found[i, j] = (own * a)[0] + (said[i, j - 1] if j else 0)
    return found


def condition(X, gamma, intercept):
    """What the module's docstring says errors grow with."""
    n = len(X)
    singular = []
    for rows in (X, *(np.delete(X, i, axis=0) for i in range(n))):
        s = np.linalg.svd(rows - intercept * rows.mean(axis=0), compute_uv=False)
        singular.append(s[s > 1e-14 * max(s[0], np.finfo(float).tiny)])
    s = np.concatenate(singular)
    return (singular[0][0] ** 2 + n * gamma) / (s.min() ** 2 + n * gamma) if len(singular[0]) else 1.0


def assert_close(found, wanted, X, y, W, tolerance):
    """Compare each part relative to its size; where a source's part is the rest of a cancellation, to what it says."""
    sizes = np.abs(wanted).max(axis=0) + np.array([np.abs(y).max(), *(np.abs(X @ w).max() for w in W)])
    assert np.isfinite(found).all()
    assert (np.abs(found - wanted).max(axis=0) <= tolerance * sizes).all()


KINDS = ("any", "equal rows", "equal columns", "constant column", "alone", "small numbers", "zero row", "zero")


@st.composite
def problems(draw):
    """Shapes, ranks and penalties; matrices of small integers, whose ranks are exact in float64."""
    n, p = draw(st.integers(2, 6)), draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(KINDS))
    X = rng.integers(-3, 4, (n, p)).astype(float)
    if kind == "equal rows":
        X[-1] = X[0]
    elif kind == "equal columns":
        X[:, -1] = X[:, 0]
    elif kind == "constant column":
        X[:, 0] = 2.0
    elif kind == "alone":
        X[1:, 0] = 0.0
        X[0, 0] = 1.0
    elif kind == "small numbers":
        X = rng.standard_normal((n, p)) * 10.0 ** rng.uniform(-8, 0, p)
    elif kind == "zero row":
        X[0] = 0.0
    elif kind == "zero":
        X[:] = 0.0
    y = rng.choice([-1.0, 1.0], n) if draw(st.booleans()) else rng.standard_normal(n)
    W = rng.integers(-3, 4, (draw(st.integers(0, 2)), p)).astype(float)
    gamma = draw(st.one_of(st.just(0.0), st.floats(-12.0, 8.0).map(lambda x: 10.0**x)))
    return X, y, W, gamma, draw(st.booleans())


@settings(max_examples=120, deadline=None)
@given(problems())
def test_equals_refitting_everything_but_one(problem):
    X, y, W, gamma, intercept = problem
    found = leave_one_out(X, y, W if len(W) else None, gamma, fit_intercept=intercept).predictions
    tolerance = max(100 * EPS * condition(X, gamma, intercept), 1e-13)
    assert_close(found, refitted(X, y, W, gamma, intercept), X, y, W, tolerance)


@pytest.mark.parametrize(("n", "p"), [(12, 40), (40, 12), (15, 15), (16, 15), (2, 9), (9, 1), (3, 2)])
@pytest.mark.parametrize("intercept", [False, True])
def test_ten_digits_for_every_penalty_that_matters(n, p, intercept):
    """Least squares with the penalty as p more samples: another algorithm, and shapes of practical size."""
    rng = np.random.default_rng(n)
    X, y, W = rng.standard_normal((n, p)) + 0.5, rng.standard_normal(n), rng.standard_normal((2, p))
    penalties = 10.0 ** np.arange(-6, 7)
    loo = leave_one_out(X, y, W, penalties, fit_intercept=intercept)
    for gamma, found in zip(penalties, loo.predictions, strict=True):
        for i in range(n):
            others = np.arange(n) != i
            rows = np.column_stack([X, np.ones(n)])[:, : p + intercept]
            penalty = np.sqrt(n * gamma) * np.eye(p, p + intercept)
            for alpha in ([0.0, 0.0], [0.7, -1.3]):
                right = np.concatenate([(y - X @ W.T @ alpha)[others], np.zeros(p)])
                a = np.linalg.lstsq(np.vstack([rows[others], penalty]), right)[0]
                expected = X[i] @ W.T @ alpha + rows[i] @ a
                assert found[i] @ [1.0, *alpha] == pytest.approx(expected, rel=1e-10, abs=1e-10 * np.abs(y).max())


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("gamma", [1e-12, 1e-6, 1e6, 1e12])
@pytest.mark.parametrize(("n", "p"), [(7, 3), (7, 6), (5, 9)])
def test_parts_that_are_small_keep_their_digits(n, p, gamma, intercept):
    """A forgotten source (γ → 0, p < n), a task hardly learned (γ → ∞): against refits in 60 digits, each by itself."""
    rng = np.random.default_rng(3)
    X, y, W = rng.standard_normal((n, p)), rng.standard_normal(n), rng.standard_normal((1, p))
    y -= intercept * y.mean()
    found = leave_one_out(X, y, W[0], gamma, fit_intercept=intercept).predictions
    wanted = refitted(X, y, W, gamma, intercept)
    np.testing.assert_array_less(np.abs(found - wanted).max(axis=0), 1e-12 * np.abs(wanted).max(axis=0))


def test_samples_that_determine_a_direction_alone_have_a_limit():
    """Sample 0 is the only one with feature 0: without it the weight there is what the source says."""
    rng = np.random.default_rng(0)
    X, y, w = rng.standard_normal((8, 3)), rng.standard_normal(8), np.array([1.7, 0.4, -0.3])
    X[1:, 0] = 0.0
    loo = leave_one_out(X, y, w, [0.0, 1e-14, 1e-9])
    weights = np.linalg.lstsq(X[1:, 1:], y[1:])[0]
    for predictions in loo.predictions:
        np.testing.assert_allclose(predictions[0], [X[0, 1:] @ weights, X[0, 0] * w[0]], rtol=1e-7)
    assert np.array_equal(loo.predictions[0, 1:, 1], np.zeros(7))  # the others have forgotten it
    assert (loo.predictions[1:, 1:, 1] != 0.0).any()


@pytest.mark.parametrize("gamma", [0.0, 1e-14])
def test_an_outlier_and_a_lone_direction_cost_no_more_digits_than_they_must(gamma):
    """Errors grow with the ratio of sizes here, not with its square."""
    rng = np.random.default_rng(8)
    y, w = rng.standard_normal(8), np.array([[1.7, 0.4, -0.3]])
    others = rng.standard_normal(7)
    large, larger = np.r_[1e4, others][:, None], np.r_[1e5, others][:, None]
    lone = rng.standard_normal((8, 3)) * [1.0, 1.0, 1e-5]
    lone[1:, 0] = 0.0
    for X, W in ((large, w[:, :1]), (larger, w[:, :1]), (lone, w)):
        found, wanted = leave_one_out(X, y, W[0], gamma).predictions, refitted(X, y, W, gamma, False)
        assert_close(found, wanted, X, y, W, 1e-10)
    e1 = leave_one_out(larger, y, w[0, :1], 0.0).predictions[:, 1]
    assert np.array_equal(e1, np.zeros(8))  # the outlier is not alone: the others determine its direction as well


@pytest.mark.parametrize("gamma", [0.0, 1e-3, 10.0])
def test_a_singular_value_near_rounding_does_no_harm_where_the_penalty_rules(gamma):
    """Columns equal but for 1e-13, rows beside one that is nearly alone: what is 0 and what is not is open here."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((6, 4))
    X[:, 3] = X[:, 2] * (1.0 + 1e-13 * rng.standard_normal(6))
    X[1:, 0] *= 1e-9
    y, W = rng.standard_normal(6), rng.standard_normal((1, 4))
    for intercept in (False, True):
        found = leave_one_out(X, y, W[0], gamma, fit_intercept=intercept).predictions
        if gamma:
            tolerance = 100 * EPS * condition(X, gamma, intercept)
            assert_close(found, refitted(X, y, W, gamma, intercept), X, y, W, tolerance)
        assert np.isfinite(found).all()


@pytest.mark.parametrize("offset", [1e6, -1e8])
def test_a_large_mean_is_left_to_the_intercept(offset):
    rng = np.random.default_rng(2)
    X, y = rng.integers(-8, 9, (9, 4)) / 8, rng.integers(-8, 9, 9) / 8
    w = np.array([1.0, -0.5, 0.25, 2.0])
    plain = leave_one_out(X, y, w, 0.1, fit_intercept=True)
    moved = leave_one_out(X + offset, y + offset, w, 0.1, fit_intercept=True)
    shift = moved.predictions - plain.predictions - [offset, 0.0]
    shift[:, 1] -= offset * w.sum() - (offset * w).sum()
    assert np.abs(shift).max() < 100 * EPS * abs(offset)


@pytest.mark.parametrize("scale", [1e-100, 1e100])
@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_units_do_not_matter(scale, shape):
    rng = np.random.default_rng(4)
    X, y, w = rng.standard_normal(shape), rng.standard_normal(shape[0]), rng.standard_normal(shape[1])
    plain = leave_one_out(X, y, w, [0.0, 0.3], fit_intercept=True)
    in_x = leave_one_out(X * scale, y, w / scale, np.array([0.0, 0.3]) * scale * scale, fit_intercept=True)
    in_y = leave_one_out(X, y * scale, w * scale, [0.0, 0.3], fit_intercept=True)
    in_w = leave_one_out(X, y, w * scale, [0.0, 0.3], fit_intercept=True)
    np.testing.assert_allclose(in_x.predictions, plain.predictions, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(in_y.predictions / scale, plain.predictions, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(in_w.predictions / [1.0, scale], plain.predictions, rtol=1e-9, atol=1e-13)
    alpha = plain.risk_law()[1].optimal_alpha()
    assert in_x.risk_law()[1].optimal_alpha() == pytest.approx(alpha, rel=1e-9)
    assert in_y.risk_law()[1].optimal_alpha() == pytest.approx(alpha, rel=1e-9)
    assert in_w.risk_law()[1].optimal_alpha() * scale == pytest.approx(alpha, rel=1e-9)


@pytest.mark.parametrize("gamma", [5e-324, 1e-300, 1e300, np.finfo(np.float64).max])
def test_extreme_penalties_are_the_limits(gamma):
    rng = np.random.default_rng(5)
    for n, p in ((8, 3), (3, 8)):
        X, y, w = rng.standard_normal((n, p)), rng.standard_normal(n), rng.standard_normal(p)
        found = leave_one_out(X, y, w, gamma).predictions
        limit = leave_one_out(X, y, w, 0.0).predictions if gamma < 1.0 else np.column_stack([np.zeros(n), X @ w])
        np.testing.assert_allclose(found, limit, atol=1e-12)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((1e200, 1.0, 1.0), "X must be smaller"),
        ((3e307, 1.0, 1.0), "X must be smaller"),
        ((1e-200, 1.0, 1.0), "float64 does not hold the squares"),
        ((1.0, 1e180, 1.0), "float64 does not hold the squares"),
        ((1.0, 1.0, 1e180), "float64 does not hold the squares"),
        ((1.0, 1.0, 1e-180), "float64 does not hold the squares"),
        ((1e150, 1.0, 1e200), "X, y or source_coef must be smaller"),
    ],
)
def test_what_float64_does_not_hold_is_refused(sizes, message):
    rng = np.random.default_rng(6)
    X, y, w = rng.standard_normal((5, 3)), rng.standard_normal(5), rng.standard_normal(3)
    with pytest.raises(ValueError, match=message):
        leave_one_out(X * sizes[0], y * sizes[1], w * sizes[2], 1.0).risk_law()


# The result.


def two_classes(n=12, p=5, seed=0):
    rng = np.random.default_rng(seed)
    y = np.where(np.arange(n) % 3 == 0, -1.0, 1.0)
    return rng.standard_normal((n, p)) + 0.5 * y[:, None], y, rng.standard_normal((3, p))


@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("shape", [(), (2,), (2, 3)])
def test_shapes(k, outputs, shape):
    rng = np.random.default_rng(7)
    X, y, _ = two_classes()
    many = () if outputs is None else (outputs,)
    Y = y if outputs is None else np.column_stack([np.roll(y, j) for j in range(outputs)])
    W = rng.standard_normal((k, *many, 5)) if k else None
    gamma = rng.uniform(0.1, 2.0, shape)
    loo = leave_one_out(X, Y, W, gamma)
    batch = (*shape, *many)
    assert loo.n_sources == k
    assert loo.predictions.shape == (*batch, 12, k + 1)
    assert loo.margin_law().shape == loo.risk_law().shape == batch
    assert loo.margin_law().n_sources == loo.risk_law().n_sources == k
    alpha = None if k == 0 else rng.standard_normal(batch if k == 1 else (*batch, k))
    for answer in (loo.prediction, loo.residuals, loo.margins):
        assert answer(alpha).shape == (*batch, 12)
    for answer in (loo.accuracy, loo.risk):
        assert np.shape(answer(alpha)) == batch
        assert isinstance(answer(alpha), float if batch == () else np.ndarray)
    curve = None if k == 0 else rng.standard_normal((4, *([1] * len(batch)), *([k] if k > 1 else [])))
    assert np.shape(loo.risk(curve)) == (batch if k == 0 else (4, *batch))
    # one output, one penalty at a time
    for at in np.ndindex(batch):
        g, j = at[: len(shape)], at[len(shape) :]
        single = leave_one_out(X, Y[:, *j], None if W is None else W[:, *j], gamma[g])
        np.testing.assert_allclose(loo.predictions[at], single.predictions, rtol=1e-12, atol=1e-13)


def test_answers_are_those_of_the_left_out_samples():
    X, y, W = two_classes()
    loo = leave_one_out(X, y, W[:2], [0.2, 3.0], fit_intercept=True)
    alpha = np.array([0.4, -0.7])
    f = loo.predictions[..., 0] + loo.predictions[..., 1:] @ alpha
    np.testing.assert_allclose(loo.prediction(alpha), f, rtol=1e-13)
    np.testing.assert_allclose(loo.residuals(alpha), y - f, rtol=1e-12)
    np.testing.assert_allclose(loo.margins(alpha), y * f, rtol=1e-13)
    np.testing.assert_allclose(loo.accuracy(alpha), (y * f > 0.0).mean(axis=1), rtol=1e-15)
    np.testing.assert_allclose(loo.risk(alpha), np.square(y - f).mean(axis=1), rtol=1e-13)
    np.testing.assert_allclose(loo.risk_law().risk(alpha), loo.risk(alpha), rtol=1e-12)
    mean, variance = loo.margin_law().moments(alpha)
    np.testing.assert_allclose(mean, (y * f).mean(axis=1), rtol=1e-12)
    np.testing.assert_allclose(variance, (y * f).var(axis=1, ddof=1), rtol=1e-12)


def test_a_small_risk_keeps_its_digits():
    source = np.arange(1.0, 6.0)
    loo = LOOResult(np.column_stack([1.0 - 1000.0 * source, source]), np.ones(5) + 2.0**-30, np.asarray(1.0))
    assert loo.risk(1000.0) == 2.0**-60


def test_the_best_alpha_is_the_ratio_of_residuals():
    X, y, W = two_classes()
    loo = leave_one_out(X, y, W[0], 0.3)
    e0, e1 = loo.residuals(0.0), loo.residuals(0.0) - loo.residuals(1.0)
    assert loo.risk_law().optimal_alpha() == pytest.approx(e0 @ e1 / (e1 @ e1), rel=1e-12)


def test_a_margin_of_nothing_counts_half():
    loo = LOOResult(np.array([[0.0], [1.0], [-2.0], [3.0]]), np.ones(4), np.asarray(1.0))
    assert loo.accuracy() == 0.625


def test_penalties_are_selected_like_entries_of_an_array():
    X, y, W = two_classes()
    Y = np.column_stack([y, -y])
    gamma = np.geomspace(0.1, 10.0, 6).reshape(2, 3)
    loo = leave_one_out(X, Y, np.stack([W[0], W[1]]), gamma)
    for index in (0, (1, 2), slice(1), (..., 0), (slice(None), [0, 2]), gamma > 1.0, -1):
        chosen = loo[index]
        assert np.array_equal(chosen.gamma, gamma[index])
        expected = leave_one_out(X, Y, np.stack([W[0], W[1]]), gamma[index]).predictions
        np.testing.assert_allclose(chosen.predictions, expected, rtol=1e-12, atol=1e-14)
        assert np.shape(chosen.risk(0.3)) == (*np.shape(gamma[index]), 2)
    with pytest.raises(IndexError):
        loo[0, 0, 0]
    with pytest.raises(IndexError, match="single penalty"):
        loo[0, 0][0]


def test_no_penalty_at_all_is_an_empty_result():
    X, y, W = two_classes()
    assert leave_one_out(X, y, W[0], []).predictions.shape == (0, 12, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones(3)}, "X must be a matrix"),
        ({"X": np.ones((1, 2)), "y": np.ones(1)}, "X must have at least 2 rows to leave one out, got 1"),
        ({"X": np.full((4, 2), np.nan)}, "X must be finite"),
        ({"y": np.ones(3)}, r"y must have shape \(4,\) or \(4, d\)"),
        ({"y": np.ones((4, 0))}, "y must have shape"),
        ({"y": np.ones((4, 1, 1))}, "y must have shape"),
        ({"y": [1.0, np.inf, 1.0, 1.0]}, "y must be finite"),
        ({"source_coef": np.ones(3)}, r"source_coef must have shape \(2,\)"),
        ({"source_coef": np.ones((2, 1, 2))}, r"source_coef must have shape \(2,\)"),
        ({"source_coef": 1.0}, r"source_coef must have shape \(2,\)"),
        ({"y": np.ones((4, 3)), "source_coef": np.ones(2)}, r"source_coef must have shape \(3, 2\)"),
        ({"source_coef": [np.nan, 1.0]}, "source_coef must be finite"),
        ({"gamma": -1e-3}, "gamma must be in"),
        ({"gamma": np.nan}, "gamma must be in"),
        ({"gamma": np.inf}, "gamma must be in"),
        ({"fit_intercept": 1}, "fit_intercept must be True or False"),
    ],
)
def test_bad_input(change, message):
    arguments = {"X": np.arange(8.0).reshape(4, 2) ** 2, "y": np.ones(4), "source_coef": np.ones(2), "gamma": 0.5}
    with pytest.raises(ValueError, match=message):
        leave_one_out(**arguments | change)


def test_margins_need_labels_and_alpha_its_shape():
    X, y, W = two_classes()
    loo = leave_one_out(X, 0.5 * y, W[:2], 1.0)
    for answer in (lambda: loo.margins([1.0, 1.0]), lambda: loo.accuracy([1.0, 1.0]), loo.margin_law):
        with pytest.raises(ValueError, match="y must be the labels -1 and"):
            answer()
    for alpha, message in ((None, "alpha is required"), (1.0, "trailing axis of length 2"), ([np.inf, 1.0], "finite")):
        with pytest.raises(ValueError, match=message):
            loo.risk(alpha)
    with pytest.raises(ValueError, match="alpha must be left out"):
        leave_one_out(X, y, None, 1.0).prediction(1.0)


def test_leaves_its_arguments_alone():
    X, y, W = two_classes()
    copies = X.copy(), y.copy(), W.copy()
    leave_one_out(X, y, W, [0.0, 1.0], fit_intercept=True)
    path = RidgePath(X)
    loo_predictions(path, y[:, None], (X @ W.T)[:, None], np.array([0.0, 1.0]))
    for array, copy in zip((X, y, W), copies, strict=True):
        assert np.array_equal(array, copy)
