"""A transfer in the few coordinates that matter: what is invariant survives, units are those of unit noise."""

import numpy as np
import pytest

from rmt_alpha.coordinates import TrainedSource, isotropic_coordinates
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource

P = 7
RNG = np.random.default_rng(0)
MEAN, OLD, WEIGHTS, OTHER = RNG.standard_normal((4, P))
TARGET = GaussianMixture(MEAN, 4.0, 0.1)
SOURCES = [
    RidgeSource(GaussianMixture(OLD, 0.25, 0.2), 30, 0.5),
    FixedSource(WEIGHTS),
    RidgeSource(GaussianMixture(OTHER, 9.0), 12, 0.3),
]


def vectors(reduced):
    return [reduced.mean, *(s.mean if isinstance(s, TrainedSource) else s for s in reduced.sources)]


def test_lengths_and_angles_survive_in_units_of_the_noise():
    reduced = np.stack(vectors(isotropic_coordinates(TARGET, 2.0, SOURCES)))
    assert reduced.shape == (4, 4)
    original = np.stack([MEAN / 2.0, OLD / 0.5, WEIGHTS * 2.0, OTHER / 3.0])
    np.testing.assert_allclose(reduced @ reduced.T, original @ original.T, rtol=1e-12)


def test_penalties_and_scales_are_in_units_of_the_noise():
    reduced = isotropic_coordinates(TARGET, 2.0, SOURCES)
    first, fixed, third = reduced.sources
    assert reduced.gamma == 0.5
    assert isinstance(fixed, np.ndarray)
    assert (first.n, first.gamma, first.label_noise, first.scale) == (30, 2.0, 0.2, 4.0)
    assert (third.n, third.gamma, third.label_noise) == (12, pytest.approx(0.3 / 9.0), 0.0)
    assert third.scale == pytest.approx(2.0 / 3.0)  # σ of the target over that of the source


def test_the_target_is_along_the_first_axis():
    reduced = isotropic_coordinates(TARGET, 2.0, SOURCES)
    np.testing.assert_allclose(np.abs(reduced.mean), [np.linalg.norm(MEAN) / 2.0, 0.0, 0.0, 0.0], atol=1e-15)
    alone = isotropic_coordinates(TARGET, 2.0, [])
    assert alone.mean.shape == (1,)
    assert alone.sources == ()


@pytest.mark.parametrize("p", [1, 2])
def test_there_are_no_more_coordinates_than_dimensions(p):
    reduced = isotropic_coordinates(
        GaussianMixture(MEAN[:p]), 1.0, [FixedSource(WEIGHTS[:p]), FixedSource(OLD[:p]), FixedSource(OTHER[:p])]
    )
    assert all(vector.shape == (p,) for vector in vectors(reduced))
    assert reduced.sources[1] @ reduced.mean == pytest.approx(OLD[:p] @ MEAN[:p])


def test_vectors_that_depend_on_each_other_or_vanish_are_legal():
    zero = np.zeros(P)
    reduced = isotropic_coordinates(
        GaussianMixture(zero), 1.0, [FixedSource(WEIGHTS), FixedSource(2.0 * WEIGHTS), FixedSource(zero)]
    )
    np.testing.assert_array_equal(reduced.mean, 0.0)
    np.testing.assert_allclose(reduced.sources[1], 2.0 * reduced.sources[0], rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(reduced.sources[2], 0.0)


@pytest.mark.parametrize(
    ("target", "gamma", "sources", "text"),
    [
        (GaussianMixture(MEAN, np.linspace(1, 2, P)), 1.0, [], r"target.covariance must be a positive multiple"),
        (GaussianMixture(MEAN, 0.0), 1.0, [], r"target.covariance must be a positive multiple"),
        (
            TARGET,
            1.0,
            [RidgeSource(GaussianMixture(OLD, 0.0), 5, 0.1)],
            r"sources\[0\].mixture.covariance must be a pos",
        ),
        (GaussianMixture(MEAN, 1e61), 1.0, [], r"target.covariance must be"),
        (
            GaussianMixture(MEAN, 1e-40),
            1e30,
            [],
            r"gamma must be at most 1e60 times the covariance, got 1e\+30 and 1e-40",
        ),
        (GaussianMixture(MEAN, 1e-50), 1e300, [], r"gamma must be at most 1e60"),
        (
            TARGET,
            1.0,
            [SOURCES[1], RidgeSource(GaussianMixture(OLD, 1e-40), 5, 1e30)],
            r"sources\[1\].gamma must be at most",
        ),
        (TARGET, 1.0, [FixedSource(1e31 * WEIGHTS)], r"sources\[0\].weights must be in"),
        (TARGET, 1.0, [FixedSource(WEIGHTS[:3])], "sources"),
    ],
)
def test_what_has_no_coordinates_is_refused_by_name(target, gamma, sources, text):
    with pytest.raises(ValueError, match=text):
        isotropic_coordinates(target, gamma, sources)


def test_the_ends_of_the_range_belong_to_it():
    assert isotropic_coordinates(GaussianMixture(MEAN, 1e-60), 1.0, []).gamma == pytest.approx(1e60)
    assert isotropic_coordinates(GaussianMixture(MEAN, 1e60), 1.0, []).gamma == pytest.approx(1e-60)
