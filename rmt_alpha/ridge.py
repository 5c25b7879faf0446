r"""The fine-tuned ridge classifier, for every α at once.

Statement (THEORY §1). ``w_α = α w̃ + a`` where a minimises ``‖y − X(α w̃ + a)‖²/n + γ‖a‖²``. With the resolvent
``Q = (XᵀX/n + γI)⁻¹`` it is affine in α,

    w_α = w₀ + α w₁,        w₀ = Q Xᵀy/n,        w₁ = γ Q w̃,

so one factorisation serves all α, and all sources at once. It is made on the smaller side: as written for p ≤ n, and
through ``S = XXᵀ/n + γI`` for p > n, since ``QXᵀ = XᵀS⁻¹``:

    w₀ = XᵀS⁻¹y/n,          w₁ = w̃ − XᵀS⁻¹Xw̃/n,

which at γ = 0 is the interpolator of least ``‖a‖``. Cost: O(np·min(n, p)), one Cholesky factorisation.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack

from rmt_alpha._validation import FloatArray, real, real_array


def affine_ridge(X: ArrayLike, y: ArrayLike, w_source: ArrayLike | None, gamma: float) -> tuple[FloatArray, FloatArray]:
    """Return (w₀, w₁): the ridge classifier fine-tuned from source weights w̃ is ``w₀ + α w₁`` for every α.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Samples in rows.
    y : array_like, shape (n,)
        Labels ±1, or any real response.
    w_source : array_like, shape (p,) or (p, K), or None
        Source weights w̃, one source or K of them in columns; None for plain ridge.
    gamma : float
        Ridge penalty γ ≥ 0 on the deviation from ``α w̃``.

    Returns
    -------
    w0 : ndarray, shape (p,)
        The classifier trained from scratch.
    w1 : ndarray, shape (p,) or (p, K)
        What each unit of α adds, shaped as `w_source`; (p, 0) without a source. With K sources
        ``w_α = w0 + w1 @ alpha``.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, γ < 0, the system is singular to working precision: γ = 0
        (or too small to matter) and dependent columns (p ≤ n) or rows (p > n); or products of the arguments overflow.

    Examples
    --------
    >>> X, y = [[1.0, 2.0], [1.0, -1.0], [0.0, 1.0]], [1.0, 1.0, -1.0]
    >>> w0, w1 = affine_ridge(X, y, [1.0, 0.0], gamma=0.5)
    >>> w0.round(4), w1.round(4)
    (array([ 0.5941, -0.0792]), array([ 0.4455, -0.0594]))
    """
    X = real_array("X", X)
    y = real_array("y", y)
    gamma = real("gamma", gamma, 0.0)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X must be a matrix with at least one row and one column, got shape {X.shape}")
    n, p = X.shape
    if y.shape != (n,):
        raise ValueError(f"y must have shape ({n},) to fit the rows of X, got {y.shape}")
    w = np.empty((p, 0)) if w_source is None else real_array("w_source", w_source)
    if w.shape[0:1] != (p,) or w.ndim > 2:
        raise ValueError(f"w_source must have shape ({p},) or ({p}, K) to fit the columns of X, got {w.shape}")

    with np.errstate(over="ignore", invalid="ignore"):  # looked for in the results
        gram = X.T @ X if p <= n else X @ X.T
        if not np.isfinite(gram).all():
            raise ValueError(f"X must be smaller: the squares of entries up to {np.abs(X).max():.1e} exceed float64")
        if p <= n:
            solution = primal(gram, X.T @ y, w.reshape(p, -1), n, gamma)
        else:
            solution = X.T @ dual(gram, y, X @ w.reshape(p, -1), gamma)
            solution[:, 1:] += w.reshape(p, -1)
    if not np.isfinite(solution).all():
        raise ValueError("X, y, w_source or gamma must be smaller: their products exceed float64")
    return solution[:, 0], solution[:, 1:].reshape(w.shape)


def primal(gram: FloatArray, right: FloatArray, w: FloatArray, n: int, gamma: float) -> FloatArray:
    """Solve the p × p system, of arguments that are not checked.

    Parameters
    ----------
    gram : ndarray, shape (p, p)
        ``XᵀX``, overwritten.
    right : ndarray, shape (p,) or (p, d)
        ``Xᵀy``, for d responses in columns.
    w : ndarray, shape (p, K)
        Source weights w̃ in columns.
    n : int
        Number of samples.
    gamma : float
        Ridge penalty γ.

    Returns
    -------
    ndarray, shape (p, K+1) or (p, d+K)
        w₀, one for each response, and w₁ in columns.
    """
    return _solve(gram, n, gamma, np.column_stack([right / n, gamma * w]))


def dual(gram: FloatArray, y: FloatArray, Xw: FloatArray, gamma: float) -> FloatArray:
    """Solve the n × n system, of arguments that are not checked.

    Parameters
    ----------
    gram : ndarray, shape (n, n)
        ``XXᵀ``, overwritten.
    y : ndarray, shape (n,) or (n, d)
        Responses, d of them in columns.
    Xw : ndarray, shape (n, K)
        ``Xw̃``.
    gamma : float
        Ridge penalty γ.

    Returns
    -------
    ndarray, shape (n, K+1) or (n, d+K)
        C, with which ``(w₀, w₁) = XᵀC + (0, w̃)``.
    """
    return _solve(gram, len(y), gamma, np.column_stack([y, -Xw]) / len(y))


def _solve(gram: FloatArray, n: int, gamma: float, right: FloatArray) -> FloatArray:
    """Solve ``(gram/n + γI) x = right``, overwriting `gram`; refuse a system that is singular to working precision."""
    gram /= n
    gram.flat[:: len(gram) + 1] += gamma
    norm = np.abs(gram).sum(axis=0).max()
    factor, failed = lapack.dpotrf(gram)
    # LAPACK itself, since SciPy reports a bad condition as a warning and catching those is not thread-safe.
    reciprocal_condition = 0.0 if failed else lapack.dpocon(factor, norm)[0]
    if not reciprocal_condition > len(gram) * np.finfo(np.float64).eps:
        raise ValueError(
            f"gamma must be larger for these samples: with gamma={gamma!r} the ridge system is singular to working "
            f"precision (reciprocal condition number {reciprocal_condition:.1e})"
        )
    return np.asarray(lapack.dpotrs(factor, right)[0])
