"""Losses against other formulas, and their gradients against complex steps."""

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_alpha.lora import softmax_cross_entropy, squared

SHAPES = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(tuple)


def numbers(seed, shape, scale=3.0):
    return scale * np.random.default_rng(seed).standard_normal(shape)


def squared_plainly(f, y):
    return ((f - y) ** 2).sum() / np.prod(f.shape[:-1])


def cross_entropy_plainly(f, classes):
    """For complex outputs too, which are moderate here."""
    chosen = np.take_along_axis(f, classes[..., None], axis=-1)[..., 0]
    return np.mean(np.log(np.exp(f).sum(axis=-1)) - chosen)


def complex_step(function, f):
    gradient = np.empty(f.shape)
    for index in np.ndindex(f.shape):
        moved = f.astype(complex)
        moved[index] += 1e-30j
        gradient[index] = function(moved).imag / 1e-30
    return gradient


@given(SHAPES, st.integers(0, 99))
def test_squared_is_the_mean_over_samples_of_squared_lengths(shape, seed):
    f, y = numbers(seed, shape), numbers(seed + 100, shape)
    value, gradient = squared(f, y)
    assert value == pytest.approx(squared_plainly(f, y), rel=1e-13)
    np.testing.assert_allclose(gradient, complex_step(lambda z: squared_plainly(z, y), f), rtol=1e-12, atol=1e-14)


@given(SHAPES, st.integers(0, 99))
def test_cross_entropy_is_the_mean_of_negative_log_probabilities(shape, seed):
    f, classes = numbers(seed, shape), np.random.default_rng(seed).integers(0, shape[-1], shape[:-1])
    value, gradient = softmax_cross_entropy(f, classes)
    assert isinstance(value, float)
    assert value == pytest.approx(cross_entropy_plainly(f, classes), rel=1e-12, abs=1e-14)
    expected = complex_step(lambda z: cross_entropy_plainly(z, classes), f)
    np.testing.assert_allclose(gradient, expected, rtol=1e-11, atol=1e-14)


def test_gradients_are_those_of_the_functions_themselves():
    """Central differences of the losses as they are."""
    f, y, classes = numbers(1, (5, 3)), numbers(2, (5, 3)), np.array([0, 2, 1, 1, 0])
    direction, h = numbers(3, (5, 3)), 1e-5
    for loss, targets in ((squared, y), (softmax_cross_entropy, classes)):
        slope = (loss(f + h * direction, targets)[0] - loss(f - h * direction, targets)[0]) / (2 * h)
        assert np.vdot(loss(f, targets)[1], direction) == pytest.approx(slope, rel=1e-7)


def test_targets_of_one_output_need_no_last_axis():
    f, y = numbers(0, (4, 3, 1)), numbers(1, (4, 3))
    value, gradient = squared(f, y)
    assert value == pytest.approx(np.mean((f[..., 0] - y) ** 2), rel=1e-14)
    np.testing.assert_allclose(gradient[..., 0], 2 * (f[..., 0] - y) / 12, rtol=1e-14)


@pytest.mark.parametrize("rows", [[[1e3, -1e3, 0.0]], [[-1e3, -1e3 - 2.5, -1e3]], [[1e3, 1e3 + 1e-6, 5.0]]])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_large_outputs_do_not_overflow(rows, label):
    with mpmath.workdps(50):
        f = [mpmath.mpf(x) for x in rows[0]]
        total = mpmath.fsum(map(mpmath.exp, f))
        expected = mpmath.log(total) - f[label]
        slopes = [mpmath.exp(x) / total - (i == label) for i, x in enumerate(f)]
    value, gradient = softmax_cross_entropy(rows, [label])
    assert value == pytest.approx(float(expected), rel=1e-12, abs=0.0)
    np.testing.assert_allclose(gradient[0], np.array(slopes, float), rtol=1e-9, atol=0.0)


@pytest.mark.parametrize("z", [0.5, -1.0, -30.0, -40.0, -700.0, 3.0, 40.0])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_confident_samples_keep_their_digits(z, label):
    with mpmath.workdps(400):
        f = [mpmath.mpf(0), mpmath.mpf(z), mpmath.mpf(z) - 0.5]
        parts = [mpmath.exp(x) for x in f]
        expected = mpmath.log(sum(parts)) - f[label]
        slopes = [part / sum(parts) - (i == label) for i, part in enumerate(parts)]
    value, gradient = softmax_cross_entropy([[0.0, z, z - 0.5]], [label])
    assert value == pytest.approx(float(expected), rel=1e-13, abs=0.0)
    np.testing.assert_allclose(gradient[0], np.array(slopes, float), rtol=1e-13, atol=0.0)


def test_what_exceeds_float64_is_infinite_without_a_warning():
    assert squared([[1e308]], [[-1e308]])[0] == np.inf
    assert squared([[1e200]], [[0.0]])[0] == np.inf
    value, gradient = softmax_cross_entropy([[1.5e308, -1.5e308]], [1])
    assert value == np.inf
    np.testing.assert_array_equal(gradient, [[1.0, -1.0]])


def test_arguments_are_left_alone():
    f, y = numbers(0, (3, 2)), numbers(1, (3, 2))
    kept = f.copy(), y.copy()
    squared(f, y)
    softmax_cross_entropy(f, [0, 1, 1])
    np.testing.assert_array_equal(f, kept[0])
    np.testing.assert_array_equal(y, kept[1])


@pytest.mark.parametrize("loss", [squared, softmax_cross_entropy])
def test_masks_are_not_dropped(loss):
    targets = np.ma.masked_array([0, 1, 1], mask=[False, True, False])
    with pytest.raises(ValueError, match="targets must not be a masked array"):
        loss(np.zeros((3, 2))[:, : 1 if loss is squared else 2], targets)


@pytest.mark.parametrize("loss", [squared, softmax_cross_entropy])
@pytest.mark.parametrize("outputs", [np.ones((0, 3)), np.ones((3, 0)), 1.0, [[np.nan, 1.0]], "nonsense", None])
def test_bad_outputs_are_refused(loss, outputs):
    with pytest.raises(ValueError, match="outputs must"):
        loss(outputs, [0])


@pytest.mark.parametrize(
    "targets",
    [np.ones(3), np.ones((3, 1)), np.ones((1, 3, 2)), np.full((3, 2), np.inf), "nonsense", [1.0, [2.0]], None],
)
def test_bad_targets_of_squared_are_refused(targets):
    with pytest.raises(ValueError, match="targets must"):
        squared(np.ones((3, 2)), targets)


@pytest.mark.parametrize(
    "targets", [[0, 1], [0.0, 1.0, 1.0], [0, 1, 2], [0, -1, 1], [[0], [1], [1]], [True, False, True], [0, [1], 1], None]
)
def test_bad_classes_are_refused(targets):
    with pytest.raises(ValueError, match="targets must"):
        softmax_cross_entropy(np.zeros((3, 2)), targets)


def test_a_mean_that_can_be_represented_is_returned():
    value, _ = softmax_cross_entropy([[1.7e308, 0.0], [1.7e308, 0.0]], [1, 1])
    assert value == 1.7e308
