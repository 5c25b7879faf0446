r"""Transfer between isotropic mixtures in the few coordinates that matter.

A task with covariance σ²I is, divided by σ, one with covariance I: its mean and the inverse of its weights are divided
by σ, its penalty by σ². What is left of p dimensions is the span of the target's mean, the sources' means and the fixed
weights: noise looks the same from everywhere. The exact sampler and the theory of fluctuations both start from there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rmt_alpha._blas import one_blas_thread
from rmt_alpha._validation import FloatArray, real, real_array
from rmt_alpha.problem import FixedSource, GaussianMixture, Source, check_sources


@dataclass(frozen=True, eq=False)
class TrainedSource:
    """A source that is trained by ridge, its noise of unit variance.

    Parameters
    ----------
    mean : ndarray, shape (d,)
        Coordinates of the source task's mean.
    n : float
        Number of source samples.
    gamma : float
        Ridge penalty of the source.
    label_noise : float
        Probability that a label of the source is flipped.
    scale : float
        Factor by which its weights are multiplied.
    """

    mean: FloatArray
    n: float
    gamma: float
    label_noise: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Coordinates:
    """An isotropic transfer, its noise of unit variance, in an orthonormal basis of the span of all its vectors.

    Parameters
    ----------
    mean : ndarray, shape (d,)
        The target's mean.
    gamma : float
        Ridge penalty of the fine-tuning.
    sources : tuple of TrainedSource or ndarray, shape (d,)
        The sources, trained or of fixed weights.
    """

    mean: FloatArray
    gamma: float
    sources: tuple[TrainedSource | FloatArray, ...]


def isotropic_coordinates(target: GaussianMixture, gamma: float, sources: Iterable[Source]) -> Coordinates:
    """Reduce a transfer between mixtures whose covariances are multiples of the identity.

    Parameters
    ----------
    target : GaussianMixture
        The target task.
    gamma : float
        Ridge penalty of the fine-tuning.
    sources : iterable of RidgeSource or FixedSource
        The sources.

    Returns
    -------
    Coordinates
        The same problem in at most K+1 dimensions.

    Raises
    ------
    ValueError
        If a covariance is not a positive multiple of the identity, a penalty exceeds 1e60 times it, or fixed
        weights exceed 1e30.

    Examples
    --------
    >>> target = GaussianMixture([3.0, 4.0, 0.0], covariance=4.0)
    >>> reduced = isotropic_coordinates(target, 2.0, [FixedSource([1.0, 0.0, 0.0])])
    >>> np.abs(reduced.mean).round(3), reduced.gamma, np.abs(reduced.sources[0]).round(3)
    (array([2.5, 0. ]), 0.5, array([1.2, 1.6]))
    """
    sources = check_sources(target, sources)
    sigma = _deviation("target", target)
    vectors = [target.mean / sigma]
    for k, source in enumerate(sources):
        if isinstance(source, FixedSource):
            vectors.append(sigma * real_array(f"sources[{k}].weights", source.weights, -1e30, 1e30))
        else:
            vectors.append(source.mixture.mean / _deviation(f"sources[{k}].mixture", source.mixture))
    with one_blas_thread():  # simulations are to be the same bits for any number
        mean, *coordinates = np.linalg.qr(np.stack(vectors, axis=-1))[1].T
    reduced: list[TrainedSource | FloatArray] = []
    for k, (source, vector) in enumerate(zip(sources, coordinates, strict=True)):
        if isinstance(source, FixedSource):
            reduced.append(vector)
        else:
            mixture, scale = source.mixture, float(target.root / source.mixture.root)
            penalty = _penalty(f"sources[{k}].gamma", source.gamma, mixture)
            reduced.append(TrainedSource(vector, source.n, penalty, mixture.label_noise, scale))
    return Coordinates(mean, _penalty("gamma", gamma, target), tuple(reduced))


def _deviation(name: str, mixture: GaussianMixture) -> float:
    """Return σ, unless the covariance is not σ²I."""
    if mixture.covariance.ndim or mixture.covariance == 0.0:
        raise ValueError(
            f"{name}.covariance must be a positive multiple of the identity for streaming and for fluctuations, "
            f"got {mixture._form}"
        )
    real(f"{name}.covariance", float(mixture.covariance), 1e-60, 1e60)
    return float(mixture.root)


def _penalty(name: str, gamma: float, mixture: GaussianMixture) -> float:
    """Return γ in units of the covariance."""
    with np.errstate(over="ignore"):
        ratio = float(gamma / mixture.covariance)
    if ratio > 1e60:
        raise ValueError(f"{name} must be at most 1e60 times the covariance, got {gamma:g} and {mixture.covariance:g}")
    return ratio
