r"""One finite-size experiment, with its matrices: the reference that everything else is tested against.

A draw makes the two data sets of THEORY §1, trains the source by ridge (unless it is the oracle) and solves the
fine-tuning once: ``w_α = w₀ + α w₁`` is affine in α. Given the weights the margin of a fresh target point is exactly
Gaussian with, since Σ = I,

    M = (w₀, w₁)ᵀ μ_β,        V = (w₀, w₁)ᵀ (w₀, w₁),

so a draw is one record of five numbers, free of test-set noise and good for every α. The coordinates have ``μ = mu e₁``
and ``μ_⊥ = mu_perp e₂``: no loss of generality, as isotropic noise looks the same from everywhere.

Cost: O(N p min(N, p) + n p min(n, p)) time, O((N + n) p) memory.
"""

import math

import numpy as np

from rmt_alpha._validation import FloatArray
from rmt_alpha.problem import Experiment
from rmt_alpha.ridge import affine_ridge


def draw(
    experiment: Experiment, source_stream: np.random.Generator, target_stream: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Carry out one experiment.

    Parameters
    ----------
    experiment : Experiment
        The problem; every entry of its `beta` sees the same source and the same noise.
    source_stream, target_stream : numpy.random.Generator
        Where source and target take their random numbers from; an oracle source takes none.

    Returns
    -------
    mean : ndarray, beta's shape + (2,)
        M of each entry of `beta`.
    cov : ndarray, beta's shape + (2, 2)
        V of each entry of `beta`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> mean, cov = draw(Experiment(0.8, n=20, p=40, gamma=0.1), rng, rng)
    >>> mean.shape, cov.shape
    ((2,), (2, 2))
    """
    e, beta = experiment, experiment.beta
    source = _mean(e.p, e.mu, 0.0)
    if e.n_source is not None and e.gamma_source is not None:
        noise, true, observed = _samples(source_stream, e.n_source, e.p, e.label_noise_source)
        noise += np.outer(true, source)
        source, _ = affine_ridge(noise, observed, None, e.gamma_source)

    noise, true, observed = _samples(target_stream, e.n, e.p, e.label_noise)
    mean, cov = np.empty((*beta.shape, 2)), np.empty((*beta.shape, 2, 2))
    for index in np.ndindex(beta.shape):
        b = float(beta[index])
        target = _mean(e.p, b * e.mu, math.sqrt((1.0 - b) * (1.0 + b)) * e.mu_perp)
        weights = np.stack(affine_ridge(noise + np.outer(true, target), observed, source, e.gamma))
        mean[index] = weights @ target
        cov[index] = weights @ weights.T
    return mean, cov


def memory(experiment: Experiment) -> float:
    """Return the bytes that the largest step of `draw` needs: two copies of its data and two square matrices.

    Parameters
    ----------
    experiment : Experiment
        The problem.

    Returns
    -------
    float
        Bytes.
    """
    sizes = [experiment.n] if experiment.n_source is None else [experiment.n, experiment.n_source]
    return max(16.0 * (size * experiment.p + min(size, experiment.p) ** 2) for size in sizes)


def _mean(p: int, along: float, across: float) -> FloatArray:
    """Return ``along e₁ + across e₂``; the caller has made sure that p = 1 needs no e₂."""
    mean = np.zeros(p)
    mean[:2] = (along, across)[:p]
    return mean


def _samples(
    stream: np.random.Generator, n: int, p: int, label_noise: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the noise of n samples, their true labels and the labels that training sees."""
    true = stream.choice([-1.0, 1.0], size=n)
    observed = np.where(stream.random(n) < label_noise, -true, true)
    return stream.standard_normal((n, p)), true, observed
