r"""The fine-tuned ridge classifier, for every α at once; for every γ as well; and with several outputs and few ranks.

Statement (THEORY §1). ``w_α = α w̃ + a`` where a minimises ``‖y − X(α w̃ + a)‖²/n + γ‖a‖²``. With the resolvent
``Q = (XᵀX/n + γI)⁻¹`` it is affine in α,

    w_α = w₀ + α w₁,        w₀ = Q Xᵀy/n,        w₁ = γ Q w̃,

so one factorisation serves all α, and all sources at once. It is made on the smaller side: as written for p ≤ n, and
through ``S = XXᵀ/n + γI`` for p > n, since ``QXᵀ = XᵀS⁻¹``:

    w₀ = XᵀS⁻¹y/n,          w₁ = w̃ − XᵀS⁻¹Xw̃/n,

which at γ = 0 is the interpolator of least ``‖a‖``. Cost: O(np·min(n, p)), one Cholesky factorisation.

For many penalties, the singular value decomposition ``X = U diag(s) Vᵀ`` takes the place of Cholesky's factor: with it
every γ costs O((n + p) r) more, r the rank of X (`RidgePath`). Its residuals are ``A y``, those of the source's
predictions ``A Xw̃``, with ``A = I − X(XᵀX + nγI)⁻¹Xᵀ = U diag(nγ/(s² + nγ)) Uᵀ + (I − UUᵀ)``. An intercept that is
not penalised takes the mean off the columns of X, and I − UUᵀ is then I − 11ᵀ/n − UUᵀ.

With d outputs, and a deviation of limited rank as LoRA's adapters have it, ``W = diag(α)W̃ + A`` where A minimises
``‖Y − XWᵀ‖²/n + γ‖A‖²`` over the d × p matrices of rank r at most (reduced-rank regression: Izenman 1975; with a ridge:
Mukherjee and Zhu 2011). Let Â be the minimiser without that limit, ridge of the residuals ``Y − XW̃ᵀdiag(α)``. Around it
the objective grows by ``‖F(Â) − F(A)‖²``, where ``F(A) = (XAᵀ/√n ; √γ Aᵀ)`` are the fitted values, the penalty taken as
p more samples. So F(A) has to be the best approximation of F(Â) of rank r: with P the projector on its first r right
singular vectors, those in the space of outputs,

    A = P Â.

For r ≥ d it is Â. Cost beside that of Â: a singular value decomposition, O((n+p) d·min(d, n+p)).
"""

from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import lapack

from rmt_alpha._validation import FloatArray, integer, lengths, real, real_array

_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 16 * _EPS
"""How far, relative to X, the decomposed matrix may be from X."""
_CLOSE = 0.1
"""Below this, 1 minus the squares of a row of U is not precise enough."""


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
    X, y, gamma = _samples(X), real_array("y", y), real("gamma", gamma, 0.0)
    n, p = X.shape
    if y.shape != (n,):
        raise ValueError(f"y must have shape ({n},) to fit the rows of X, got {y.shape}")
    w = np.empty((p, 0)) if w_source is None else real_array("w_source", w_source)
    if w.shape[0:1] != (p,) or w.ndim > 2:
        raise ValueError(f"w_source must have shape ({p},) or ({p}, K) to fit the columns of X, got {w.shape}")
    solution = _smaller_side(X, y, w.reshape(p, -1), gamma)
    if not np.isfinite(solution).all():
        raise ValueError("X, y, w_source or gamma must be smaller: their products exceed float64")
    return solution[:, 0], solution[:, 1:].reshape(w.shape)


class RidgePath:
    """Ridge of one set of samples at every penalty, for any responses and sources, from one decomposition.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Samples in rows.
    fit_intercept : bool, default False
        Whether the model has an intercept, which is not penalised.

    Attributes
    ----------
    n, p : int
        Shape of X.
    mean : ndarray, shape (p,)
        What was subtracted from the rows: their mean, or 0 without an intercept.
    U, s, Vt : ndarray, shapes (n, r), (r,), (r, p)
        Singular value decomposition of what is left, of rank r.

    Raises
    ------
    ValueError
        If X is not a finite matrix, or too large for its squares.

    Notes
    -----
    Singular values below the largest times ``max(n, p)`` times the precision of float64 count as 0. γ = 0 stands for
    the limit γ → 0: of the best fits, the one of least ``‖a‖``.
    Cost: the decomposition, O(np·min(n, p)). The methods take arguments that have been checked.

    Examples
    --------
    >>> X, y = [[1.0, 2.0], [1.0, -1.0], [0.0, 1.0]], np.array([1.0, 1.0, -1.0])
    >>> path = RidgePath(X)
    >>> path.ridge(y[:, None], np.array([0.5, 5.0])).round(4)
    array([[[ 0.5941, -0.0792]],
    <BLANKLINE>
           [[ 0.118 , -0.0056]]])
    >>> path.deviation(np.array([[1.0, 0.0]]), np.array([0.5])).round(4)
    array([[[ 0.4455, -0.0594]]])
    """

    def __init__(self, X: ArrayLike, *, fit_intercept: bool = False) -> None:
        X = _samples(X)
        self.n, self.p = X.shape
        self.fit_intercept = fit_intercept
        with np.errstate(over="ignore", invalid="ignore"):
            self.mean, centred = np.zeros(self.p), X
            if fit_intercept:
                constant = (X[0] == X).all(axis=0)  # whose mean may be rounded, and then what is left is no zero
                self.mean = np.where(constant, X[0], X.mean(axis=0))
                centred = X - self.mean
            if not np.isfinite(np.square(centred).sum()):
                raise ValueError(
                    f"X must be smaller: the squares of entries up to {np.abs(X).max():.1e} exceed float64"
                )
        U, s, Vt = np.linalg.svd(_reflect(centred)[1:] if fit_intercept else centred, full_matrices=False)
        if fit_intercept:
            U = _reflect(np.concatenate([np.zeros((1, U.shape[1])), U]))
        rank = int((s > max(X.shape) * _EPS * s[:1]).sum())
        self.U, self.s, self.Vt = U[:, :rank], s[:rank], Vt[:rank]

    @property
    def saturated(self) -> bool:
        """Whether the samples can be fitted exactly, so that no residual is left at γ = 0."""
        return bool(len(self.s) == self.n - self.fit_intercept)

    def ridge(self, B: FloatArray, gamma: FloatArray) -> FloatArray:
        """Fit ridge to responses.

        Parameters
        ----------
        B : ndarray, shape (n, k)
            Responses in columns.
        gamma : ndarray, shape (q,)
            Penalties.

        Returns
        -------
        ndarray, shape (q, k, p)
            Weights.
        """
        with np.errstate(over="ignore"):
            factor = 1.0 / (self.s + gamma[:, None] / self.s * self.n)
        return _product(factor, self._centred(B).T @ self.U, self.Vt)

    def deviation(self, W: FloatArray, gamma: FloatArray) -> FloatArray:
        """Take from source weights ``w̃`` what ridge fits to ``Xw̃``: what each unit of α adds.

        Parameters
        ----------
        W : ndarray, shape (..., p)
            Source weights, along the last axis.
        gamma : ndarray, shape (q,)
            Penalties.

        Returns
        -------
        ndarray, shape (q, ..., p)
            The rest. What of w̃ is outside the span of the samples stays as it is, or is 0 where it is as small as
            rounding.
        """
        inside = W @ self.Vt.T
        outside = W - inside @ self.Vt if len(self.s) < self.p else np.zeros_like(W)
        outside[lengths(outside) <= max(self.n, self.p) * _EPS * lengths(W)] = 0.0
        rows = inside.reshape(W.size // self.p, len(self.s))  # no -1: there may be no singular value
        kept = _product(self._shares(gamma)[0], rows, self.Vt)
        return np.asarray(kept.reshape(len(gamma), *W.shape) + outside)

    def residuals(self, B: FloatArray, gamma: FloatArray, *, spanned: int = 0) -> tuple[FloatArray, FloatArray]:
        """Take from responses what ridge fits to them.

        Parameters
        ----------
        B : ndarray, shape (n, k)
            Responses in columns.
        gamma : ndarray, shape (q,)
            Penalties.
        spanned : int, default 0
            So many of the last columns are known to be some ``Xw̃``: what of them seems to be outside the span of the
            features is rounding.

        Returns
        -------
        residuals : ndarray, shape (q, n, k)
            ``c A b``. The factor c is one number for each γ and sample. It is 1; but where a sample alone determines
            some direction of the features, so that its row of A tends to 0 with γ, it is ``s_r²/(nγ) + 1``, s_r the
            smallest singular value: so γ = 0 is a case like any other.
        diagonal : ndarray, shape (q, n)
            That of ``c A``.
        """
        kept, shrunk = self._shares(gamma)
        scaled = (self.s[-1:] / self.s) ** 2 * shrunk + kept
        alone, free = self._outside
        B = self._centred(B)
        inside = B.T @ self.U
        values, diagonal = np.empty((len(gamma), B.shape[1], self.n)), np.empty((len(gamma), self.n))
        for rows, factor in ((alone, scaled), (~alone, kept)):
            if rows.any():
                U = self.U[rows]
                values[:, :, rows] = _product(factor, inside, U.T)
                diagonal[:, rows] = factor @ np.square(U).T
        if not self.saturated:
            rest = B.T - inside @ self.U.T
            rest[len(rest) - spanned :] = 0.0
            level = np.ones_like(diagonal)
            leaning = np.square(self.U[alone] / (self.s / self.s[-1:]))
            level[:, alone] = scaled @ (leaning / leaning.sum(axis=1, keepdims=True)).T
            values += level[:, None] * rest
            diagonal += level * free
        return np.swapaxes(values, 1, 2), diagonal

    def fitted(self, B: FloatArray, gamma: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return what ridge fits to responses.

        Parameters
        ----------
        B : ndarray, shape (n, k)
            Responses in columns.
        gamma : ndarray, shape (q,)
            Penalties.

        Returns
        -------
        fitted : ndarray, shape (q, n, k)
            ``(I − A) b``.
        leverage : ndarray, shape (q, n)
            The diagonal of I − A.
        """
        shrunk = self._shares(gamma)[1]
        offset = B.mean(axis=0)[:, None] if self.fit_intercept else 0.0
        values = _product(shrunk, self._centred(B).T @ self.U, self.U.T) + offset
        return np.swapaxes(values, 1, 2), shrunk @ np.square(self.U).T + self.fit_intercept / self.n

    def _centred(self, B: FloatArray) -> FloatArray:
        return B - B.mean(axis=0) if self.fit_intercept else B

    def _shares(self, gamma: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return ``nγ/(s² + nγ)`` and ``s²/(s² + nγ)``, shape (q, r); no square over- or underflows."""
        with np.errstate(over="ignore", divide="ignore"):
            penalty = gamma[:, None]
            return 1.0 / (1.0 + self.s / penalty * (self.s / self.n)), 1.0 / (1.0 + penalty / self.s * self.n / self.s)

    @cached_property
    def _outside(self) -> tuple[NDArray[np.bool_], FloatArray]:
        """Which samples determine a direction alone, and the diagonal of the projector outside the features' span.

        Alone is who has no part outside that span (and the intercept's). A perturbation E of X moves the part of
        sample i by at most ``‖E‖‖uᵢ/s‖``, uᵢ its row of U, and decompositions have ``‖E‖`` of some rounding units of
        s₁. Parts below that are none.
        """
        if self.saturated:
            return np.ones(self.n, bool), np.zeros(self.n)
        U = self.U
        if self.fit_intercept:
            U = np.column_stack([U, np.full(self.n, self.n**-0.5)])
        free = 1.0 - np.square(U).sum(axis=1)
        close = np.flatnonzero(free < _CLOSE)
        columns = -U @ U[close].T
        columns[close, np.arange(len(close))] += 1.0
        free[close] = np.square(columns).sum(axis=0)
        alone = np.zeros(self.n, bool)
        alone[close] = np.sqrt(free[close]) <= _ROUNDING * np.linalg.norm(self.U[close] / (self.s / self.s[:1]), axis=1)
        return alone, free


def _reflect(B: FloatArray) -> FloatArray:
    """Exchange, by a reflection, the mean of the rows, times √n, for minus the first row.

    Of columns without a mean the rest is all there is, and reflected back it has none, whatever is rounded between.
    """
    v = np.full(len(B), len(B) ** -0.5)
    v[0] += 1.0
    return np.asarray(B - np.outer(v, v @ B) / v[0])


def _product(factor: FloatArray, inside: FloatArray, basis: FloatArray) -> FloatArray:
    """Scale the rows of `inside` by each of the q factors and leave the basis: one product for all of them."""
    coefficients = factor[:, None, :] * inside
    q, k, r = coefficients.shape
    return np.asarray((coefficients.reshape(q * k, r) @ basis).reshape(q, k, basis.shape[1]))


def reduced_rank_ridge(
    X: ArrayLike, Y: ArrayLike, W_source: ArrayLike | None, gamma: float, alpha: ArrayLike, rank: int
) -> FloatArray:
    """Return the matrix ``αW̃ + A`` of ridge regression fine-tuned from W̃ by a deviation A of limited rank.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Samples in rows.
    Y : array_like, shape (n, d)
        Responses, those of a sample in a row.
    W_source : array_like, shape (d, p), or None
        Source weights W̃, an output in each row; None for a regression from scratch.
    gamma : float
        Ridge penalty γ ≥ 0 on A.
    alpha : float or array_like, shape (d,)
        Finite scale of W̃, or one for each of its rows. Without a source it changes nothing.
    rank : int
        Largest rank of A, at least 0.

    Returns
    -------
    ndarray, shape (d, p)
        ``diag(α)W̃ + A``, A the global minimiser of ``‖Y − X(diag(α)W̃ + A)ᵀ‖²/n + γ‖A‖²``. For γ > 0 it is unique
        unless two equal singular values of the fitted values are parted by the limit; then any of them is returned.
        At γ = 0 and p > n the samples do not span the features, and others fit as well: this is the limit γ → 0.

    Raises
    ------
    ValueError
        As in `affine_ridge`, or if `rank` is not an integer of at least 0.

    Notes
    -----
    What a low-rank adapter with the same penalty on its product BA converges to: as a function of B and A the objective
    has saddle points but no other local minimum.

    Examples
    --------
    >>> X, Y = [[1.0, 2.0], [1.0, -1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 2.0], [-1.0, 1.0]]
    >>> W = reduced_rank_ridge(X, Y, [[1.0, 0.0], [0.0, 1.0]], gamma=0.5, alpha=0.8, rank=1)
    >>> W.round(4)
    array([[ 0.8968, -0.1382],
           [ 0.5949, -0.0496]])
    >>> int(np.linalg.matrix_rank(W - 0.8 * np.eye(2)))
    1
    """
    X, Y, gamma = _samples(X), real_array("Y", Y), real("gamma", gamma, 0.0)
    n, p = X.shape
    if Y.ndim != 2 or len(Y) != n or Y.size == 0:
        raise ValueError(f"Y must have shape ({n}, d) to fit the rows of X, got {Y.shape}")
    d = Y.shape[1]
    W = np.zeros((d, p)) if W_source is None else real_array("W_source", W_source)
    if W.shape != (d, p):
        raise ValueError(f"W_source must have shape ({d}, {p}) to fit the columns of Y and X, got {W.shape}")
    scale, rank = real_array("alpha", alpha), integer("rank", rank, 0)
    if scale.shape not in ((), (d,)):
        raise ValueError(f"alpha must be a number or have shape ({d},) to fit the columns of Y, got {scale.shape}")

    with np.errstate(over="ignore", invalid="ignore"):  # looked for in the results
        frozen = scale[..., None] * W
        residuals = Y - X @ frozen.T
        weights = _smaller_side(X, residuals, np.empty((p, 0)), gamma)
        fitted = np.concatenate([X @ weights / n**0.5, gamma**0.5 * weights])
    if not (np.isfinite(frozen).all() and np.isfinite(fitted).all() and np.isfinite(weights).all()):
        raise ValueError("X, Y, W_source, alpha or gamma must be smaller: their products exceed float64")
    leading = np.linalg.svd(fitted, full_matrices=False)[2][:rank]
    return np.asarray(frozen + (leading.T @ (leading @ weights.T) if rank < d else weights.T))


def _samples(X: ArrayLike) -> FloatArray:
    X = real_array("X", X)
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"X must be a matrix with at least one row and one column, got shape {X.shape}")
    return X


def _smaller_side(X: FloatArray, y: FloatArray, w: FloatArray, gamma: float) -> FloatArray:
    """Return w₀, one for each response, and w₁ in columns; not finite where products overflow."""
    n, p = X.shape
    with np.errstate(over="ignore", invalid="ignore"):  # looked for in the results
        gram = X.T @ X if p <= n else X @ X.T
        if not np.isfinite(gram).all():
            raise ValueError(f"X must be smaller: the squares of entries up to {np.abs(X).max():.1e} exceed float64")
        if p <= n:
            return primal(gram, X.T @ y, w, n, gamma)
        solution = np.asarray(X.T @ dual(gram, y, X @ w, gamma))
        solution[:, solution.shape[1] - w.shape[1] :] += w
        return solution


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
