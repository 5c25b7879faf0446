"""Noise laws: standardised, and the laws they say they are."""

import pickle

import numpy as np
import pytest
from scipy import stats

from rmt_alpha.simulation.noise import GAUSSIAN, LAWS, Noise

NOISES = {
    "gaussian": (GAUSSIAN, 3.0, stats.norm()),
    "rademacher": (Noise("rademacher"), 1.0, None),
    "uniform": (Noise("uniform"), 9 / 5, stats.uniform(-np.sqrt(3), 2 * np.sqrt(3))),
    "laplace": (Noise("laplace"), 6.0, stats.laplace(0, np.sqrt(0.5))),
    "student": (Noise("student", 12.5), 3 + 6 / 8.5, stats.t(12.5, 0, np.sqrt(10.5 / 12.5))),
}
SIZE = 400_000


def test_every_law_is_tested():
    assert set(NOISES) == set(LAWS)


@pytest.mark.parametrize("name", NOISES)
def test_moments(name):
    noise, fourth, _ = NOISES[name]
    z = noise.sample(np.random.default_rng(1), (SIZE // 4, 4)).ravel()
    assert z.dtype == np.float64
    for power, moment in [(1, 0.0), (2, 1.0), (3, 0.0), (4, fourth)]:
        values = z**power
        assert abs(values.mean() - moment) < 4 * values.std() / np.sqrt(SIZE) + 1e-15


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, (_, _, law) in NOISES.items() if law is not None])
def test_the_law_is_the_one_it_says(name):
    noise, _, law = NOISES[name]
    assert stats.kstest(noise.sample(np.random.default_rng(2), SIZE), law.cdf).pvalue > 1e-3
    others = [other for key, (_, _, other) in NOISES.items() if other is not None and key != name]
    for other in others:  # and the test would see another
        assert stats.kstest(noise.sample(np.random.default_rng(2), SIZE), other.cdf).pvalue < 1e-6


def test_rademacher_entries_are_independent_signs():
    z = Noise("rademacher").sample(np.random.default_rng(3), SIZE)
    assert set(np.unique(z)) == {-1.0, 1.0}
    for lag in range(1, 65):  # within and beyond the words that the bits come from
        assert abs(np.mean(z[lag:] * z[:-lag])) < 5 / np.sqrt(SIZE)


@pytest.mark.parametrize("name", NOISES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (7, 9), (0, 4)])
def test_any_shape(name, shape):
    z = NOISES[name][0].sample(np.random.default_rng(0), shape)
    assert z.shape == shape
    assert np.isfinite(z).all()


@pytest.mark.parametrize("name", NOISES)
def test_filling_rows_leaves_the_others(name):
    noise = NOISES[name][0]
    out = np.full((4, 3), 7.0)
    noise.fill(np.random.default_rng(0), out[1:3])
    assert (out[[0, 3]] == 7.0).all()
    assert np.array_equal(out[1:3], noise.sample(np.random.default_rng(0), (2, 3)))


def test_noise_is_a_value():
    assert Noise() == GAUSSIAN
    assert Noise("student", 5) == Noise("student", 5.0) == pickle.loads(pickle.dumps(Noise("student", 5)))
    assert [Noise(name, 5 if name == "student" else None).gaussian for name in LAWS] == [True] + [False] * 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cauchy",), "noise must be one of gaussian, rademacher, uniform, laplace, student, got 'cauchy'"),
        ((None,), "noise must be one of"),
        ((3,), "noise must be one of"),
        ((["gaussian"],), "noise must be one of"),
        (("student",), "dof is required"),
        (("student", 4.0), r"dof must be in \(4, inf\)"),
        (("student", np.inf), "dof must be"),
        (("student", "5"), "dof must be real"),
        (("gaussian", 5.0), "dof needs noise"),
    ],
)
def test_bad_input_is_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        Noise(*arguments)
