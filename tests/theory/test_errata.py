"""The published code's numbers, and what the correction changes."""

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha.theory import errata
from rmt_alpha.theory.isotropic import residual_fraction, source_numbers

SETTING = {"beta": 0.8, "n": 200, "p": 400, "gamma": 0.5, "n_source": 400, "gamma_source": 0.1, "mu": 1.5}


def test_the_measured_example():
    assert errata.published_second_moment(3.0, **SETTING) == pytest.approx(1.182, abs=5e-4)
    assert errata.published_optimal_alpha(**SETTING) == pytest.approx(-5.36, abs=5e-3)
    mean, variance = ra.margin_law(**SETTING).moments(3.0)
    assert mean**2 + variance == pytest.approx(3.614, abs=5e-4)
    assert ra.optimal_alpha(**SETTING) == pytest.approx(0.415, abs=5e-4)
    assert ra.accuracy(errata.published_optimal_alpha(**SETTING), **SETTING) == pytest.approx(0.407, abs=5e-4)
    assert ra.accuracy(0.415, **SETTING) == pytest.approx(0.805, abs=5e-4)


def test_the_two_lengths_differ_as_stated():
    p, n, gamma, mu = 300.0, 250.0, 0.2, 1.3
    s, w_perp2, m2 = source_numbers(0.4, p, mu=mu, n_source=n, gamma_source=gamma)
    h = residual_fraction(n, p, gamma)
    ratio = mu**2 * 0.4 / s  # λ̃ = β mu²/s
    missing = (1 - h) * (mu**2 / ratio) ** 2
    published = errata.published_norm2(p, n, gamma, mu=mu)
    assert (published + missing) / h == pytest.approx(s**2 / m2 + w_perp2 + (1 / h - 1) * 0, rel=1e-12)


def test_the_difference_vanishes_for_many_source_samples():
    many = SETTING | {"n_source": 4e8}
    assert errata.published_optimal_alpha(**many) == pytest.approx(ra.optimal_alpha(**many), rel=1e-5)
    mean, variance = ra.margin_law(**many).moments(3.0)
    assert errata.published_second_moment(3.0, **many) == pytest.approx(mean**2 + variance, rel=1e-5)


def test_arguments_broadcast_and_are_checked():
    alpha = errata.published_optimal_alpha(**SETTING | {"n_source": np.array([400.0, 4000.0])})
    assert alpha.shape == (2,)
    assert alpha[0] == errata.published_optimal_alpha(**SETTING)
    with pytest.raises(ValueError, match="gamma must be"):
        errata.published_optimal_alpha(**SETTING | {"gamma": 0.0})
    with pytest.raises(ValueError, match="gamma_source"):
        errata.published_norm2(400, 400, -1.0)
    with pytest.raises(ValueError, match="alpha"):
        errata.published_second_moment(np.nan, **SETTING)
