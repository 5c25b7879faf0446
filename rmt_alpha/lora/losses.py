"""Losses of a batch, with their gradients: means over the samples.

    squared                  ‖f − y‖², summed over the outputs
    softmax cross-entropy    log Σ_c exp f_c − f_y

So ``squared`` plus a ridge on the update is the objective of the theory, ``‖Y − XWᵀ‖²/n + γ‖s BA‖²`` (THEORY §1, §9).
The logarithm is taken around the largest output of each sample, so that no exponential overflows; where that is the
output of the class, it is ``log(1 + Σ_{c≠y} exp(f_c − f_y))``. The gradient there is ``−Σ_{c≠y} p_c`` and not
``p_y − 1``, with p the softmax. So confident samples keep their digits. A value beyond float64 is inf.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._validation import FloatArray, real_array

Loss = Callable[[FloatArray, ArrayLike], tuple[float, FloatArray]]
"""A function of outputs and targets that returns a value and its gradient at the outputs."""


def squared(outputs: ArrayLike, targets: ArrayLike) -> tuple[float, FloatArray]:
    """Return the mean squared error, summed over the outputs.

    Parameters
    ----------
    outputs : array_like, shape (..., d)
        Outputs f of the network; all axes but the last count samples.
    targets : array_like, shape (..., d)
        Targets y; for d = 1 the last axis may be missing.

    Returns
    -------
    value : float
        Mean over the samples of ``‖f − y‖²``.
    gradient : ndarray, shape (..., d)
        Its gradient at the outputs.

    Raises
    ------
    ValueError
        If the shapes differ, there is no sample, or an entry is not finite.

    Examples
    --------
    >>> value, gradient = squared([[1.0, 2.0], [0.0, 1.0]], [[0.0, 2.0], [0.0, 3.0]])
    >>> value, gradient.tolist()
    (2.5, [[1.0, 0.0], [0.0, -2.0]])
    """
    f, y = _outputs(outputs), real_array("targets", targets)
    if y.shape != f.shape and (*y.shape, 1) != f.shape:
        raise ValueError(f"targets must have shape {f.shape} to fit the outputs, got {y.shape}")
    samples = f.size // f.shape[-1]
    with np.errstate(over="ignore"):  # inf, as documented
        error = f - y.reshape(f.shape)
        return float(np.vdot(error, error)) / samples, 2.0 / samples * error


def softmax_cross_entropy(outputs: ArrayLike, targets: ArrayLike) -> tuple[float, FloatArray]:
    """Return the mean negative log-likelihood of classes whose log-odds are the outputs.

    Parameters
    ----------
    outputs : array_like, shape (..., C)
        One output f_c for each class, up to a constant its log-probability.
    targets : array_like of int, shape (...)
        Classes, 0 to C − 1.

    Returns
    -------
    value : float
        Mean over the samples of ``log Σ_c exp f_c − f_y``.
    gradient : ndarray, shape (..., C)
        Its gradient at the outputs.

    Raises
    ------
    ValueError
        If the shapes do not fit, there is no sample, or a target is not a class.

    Examples
    --------
    >>> value, gradient = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> round(value, 4), gradient.tolist()
    (0.6931, [[0.5, -0.5]])
    """
    f = _outputs(outputs)
    if isinstance(targets, np.ma.MaskedArray):
        raise ValueError("targets must not be a masked array: fill or drop the masked entries first")
    try:
        classes = np.asarray(targets)
    except ValueError as error:
        raise ValueError(f"targets must be an array of integers: {error}") from None
    if classes.dtype.kind not in "iu":
        raise ValueError(f"targets must be integers, the classes 0 to {f.shape[-1] - 1}, got dtype {classes.dtype}")
    if classes.shape != f.shape[:-1]:
        raise ValueError(f"targets must have shape {f.shape[:-1]} to fit the outputs, got {classes.shape}")
    if classes.min() < 0 or classes.max() >= f.shape[-1]:
        raise ValueError(f"targets must be classes from 0 to {f.shape[-1] - 1}, got {classes.min()} to {classes.max()}")
    rows, right = f.reshape(-1, f.shape[-1]), (np.arange(classes.size), classes.ravel())
    with np.errstate(over="ignore"):  # inf, as documented
        below = rows - rows.max(axis=1, keepdims=True)
    gradient, depth = np.exp(below), below[right]
    own, gradient[right] = gradient[right], 0.0
    others = gradient.sum(axis=1)
    total = own + others
    value = float((np.where(depth == 0.0, np.log1p(others), np.log(total) - depth) / classes.size).sum())
    gradient[right] = -others
    gradient /= (classes.size * total)[:, None]
    return value, gradient.reshape(f.shape)


def _outputs(outputs: ArrayLike) -> FloatArray:
    f = real_array("outputs", outputs)
    if f.ndim == 0 or f.size == 0:
        raise ValueError(f"outputs must have shape (..., d) with at least one sample, got shape {f.shape}")
    return f


LOSSES: dict[str, Loss] = {"squared": squared, "cross_entropy": softmax_cross_entropy}
"""The losses by name."""
