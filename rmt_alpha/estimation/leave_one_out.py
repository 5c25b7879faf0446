r"""Exact leave-one-out of the fine-tuned ridge classifier, for every α and γ from one decomposition.

Statement (THEORY §10). Let ``w_α = α w̃ + a`` be fitted to n samples with the penalty ``nγ‖a‖²``, ``A`` the matrix that
takes the responses to the residuals of ridge (`rmt_alpha.ridge`), ``f = Xw̃`` what the source says, and

    e₀ = A y/diag A,        e₁ = A f/diag A.

If sample i is left out and the n − 1 others are fitted again with the same penalty nγ (not (n−1)γ), the residual of i
is exactly ``e₀ᵢ − α e₁ᵢ``: so the prediction for i is ``(yᵢ − e₀ᵢ) + α e₁ᵢ``, affine in α like the classifier itself.
The same holds with an intercept, which is fitted again as well. Hence

- the mean squared residual is a quadratic in α, a `RiskLaw`: its minimiser is ``⟨e₀, e₁⟩/⟨e₁, e₁⟩``;
- the pairs ``(yᵢ(yᵢ − e₀ᵢ), yᵢ e₁ᵢ)`` have a mean and a covariance, a `MarginLaw`, whose α* is the leave-one-out
  estimate of the best α.

Precision. Three things would lose digits, each where the exact result is small beside what it is computed from.

- Where A is near I the prediction is computed as ``((I−A) y − diag(I−A) y)/diag A``, elsewhere as ``y − e₀``: at small
  γ the first would cancel, at large γ the second.
- With fewer features than samples e₁ is O(γ). Since f is in the span of the features, its part outside is left out and
  not rounded.
- Where leverage is near 1, ``1 − Σ Uᵢₖ²`` is replaced by the squared length of the part outside the span.

What remains is the condition of the problem itself. With s₁ the largest singular value of X (its mean taken off, if
there is an intercept) and s the smallest one, short of 0, of X and of X without one of its rows, errors are some tens
of rounding units times ``(s₁² + nγ)/(s² + nγ)``, relative to the largest of responses, f and predictions.

γ = 0 needs no other formula; it stands for γ → 0, which is the refit of least ‖a‖. Where a sample alone determines some
direction of the features (all of them do if the samples can be fitted exactly, p ≥ n), its row of A/(nγ) has a limit,
and so have the ratios. For the other samples A is a projection, and e₁ = 0: the refit has forgotten its source.

Cost: one singular value decomposition of X, then O(n r) for each γ, r ≤ min(n, p); no system is solved.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha import _tables
from rmt_alpha._validation import FloatArray, boolean, check_memory, in_range, real_array
from rmt_alpha.laws import MarginLaw, Result, RiskLaw, zero_and_one
from rmt_alpha.ridge import RidgePath

_DIGITS = 145
"""Sizes of predictions of which float64 holds the squares, and sums of them: within 1e±this."""


@dataclass(frozen=True, eq=False)
class LOOResult:
    """Leave-one-out predictions of the fine-tuned ridge classifier, affine in α, and what follows from them.

    Parameters
    ----------
    predictions : ndarray, shape (..., n, K+1)
        Prediction of each sample by the fit without it: entry 0 at α = 0, entry k what each unit of α_k adds. The
        leading axes are those of γ, then, with several outputs, one for the outputs.
    y : ndarray, shape (n,) or (d, n)
        Responses.
    gamma : ndarray
        Ridge penalties.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = np.repeat([-1.0, 1.0], 20)
    >>> X = rng.standard_normal((40, 100)) + np.outer(y, np.eye(100)[0])
    >>> loo = leave_one_out(X, y, 0.5 * np.eye(100)[0], gamma=[0.1, 1.0])
    >>> loo.margin_law().optimal_alpha().round(2), loo.accuracy(1.0)
    (array([1.3 , 0.89]), array([0.825, 0.85 ]))
    """

    predictions: FloatArray = field(repr=False)
    y: FloatArray = field(repr=False)
    gamma: FloatArray

    def _repr_html_(self) -> str:
        *shape, n, _ = self.predictions.shape

        def cells(index: _tables.Index) -> _tables.Cells:
            if not index:
                return self._cells()
            axes = self.gamma.ndim
            gamma = np.broadcast_to(self.gamma[index[:axes]], index[0].shape)
            y = self.y if len(index) == axes else self.y[index[axes]]
            return LOOResult(self.predictions[index], y, gamma)._cells()

        note = f"{_tables.counted(n, 'sample')}, each left out once, {_tables.counted(self.n_sources, 'source')}"
        return _tables.show("LOOResult", tuple(shape), note, cells)

    def _cells(self) -> _tables.Cells:
        """Return what a notebook shows."""
        K, labels = self.n_sources, bool((np.abs(self.y) == 1.0).all())
        found: dict[str, Any] = {"γ": self.gamma if self.gamma.ndim else _tables.text(self.gamma)}
        if K:
            with suppress(ValueError):  # float64 does not hold the squares: there is no law to be shown
                found["α*"] = (self.margin_law() if labels else self.risk_law()).optimal_alpha()
        alphas = dict(zip((" at α = 0", " at α = 1"), zero_and_one(K), strict=True)) if K else {"": None}
        if labels:
            found |= {f"accuracy{at}": self.accuracy(alpha) for at, alpha in alphas.items()}
        return found | {f"risk{at}": self.risk(alpha) for at, alpha in alphas.items()}

    @property
    def n_sources(self) -> int:
        """K, the number of sources."""
        return int(self.predictions.shape[-1]) - 1

    def prediction(self, alpha: ArrayLike | None = None) -> FloatArray:
        """Prediction of each sample by the fit without it.

        Parameters
        ----------
        alpha : array_like, optional
            Scale of the source, or K of them on the last axis, as in `MarginLaw`; left out when there is none.

        Returns
        -------
        ndarray, shape (..., n)
            The axes before the last are the broadcast shape of α and of γ (and outputs).
        """
        batch, k = self.predictions.shape[:-2], self.n_sources
        a = RiskLaw(np.zeros(batch), np.zeros((*batch, k)), np.zeros((*batch, k, k))).checked_alpha(
            alpha, infinite=False
        )
        if k == 1:
            a = a[..., None]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(self.predictions[..., 0] + np.einsum("...nk,...k->...n", self.predictions[..., 1:], a))

    def residuals(self, alpha: ArrayLike | None = None) -> FloatArray:
        """Response minus prediction of each sample.

        Parameters
        ----------
        alpha : array_like, optional
            As in `prediction`.

        Returns
        -------
        ndarray, shape (..., n)
            As `prediction`.
        """
        with np.errstate(invalid="ignore"):
            return np.asarray(self.y - self.prediction(alpha))

    def margins(self, alpha: ArrayLike | None = None) -> FloatArray:
        """Margin ``y·f(x)`` of each sample; labels must be ±1.

        Parameters
        ----------
        alpha : array_like, optional
            As in `prediction`.

        Returns
        -------
        ndarray, shape (..., n)
            As `prediction`.
        """
        self._labels()
        return np.asarray(self.y * self.prediction(alpha))

    def accuracy(self, alpha: ArrayLike | None = None) -> Result:
        """Fraction of samples that the fit without them puts on the right side; labels must be ±1.

        Parameters
        ----------
        alpha : array_like, optional
            As in `prediction`.

        Returns
        -------
        float or ndarray
            Samples with margin 0 count half.
        """
        return _result(0.5 + 0.5 * np.sign(self.margins(alpha)).mean(axis=-1))

    def risk(self, alpha: ArrayLike | None = None) -> Result:
        """Mean squared residual.

        Parameters
        ----------
        alpha : array_like, optional
            As in `prediction`.

        Returns
        -------
        float or ndarray
            The same as `risk_law` says, also where little is left of it.
        """
        with np.errstate(over="ignore"):
            return _result(np.square(self.residuals(alpha)).mean(axis=-1))

    def margin_law(self) -> MarginLaw:
        """Mean and covariance over the samples of the margin's parts; labels must be ±1.

        Returns
        -------
        MarginLaw
            Batched over γ (and outputs). The covariance has the divisor n − 1.

        Raises
        ------
        ValueError
            If labels are not ±1, or float64 does not hold the squares of the predictions.
        """
        self._labels()
        check_squares(self.predictions)
        parts = self.y[..., None] * self.predictions
        mean = parts.mean(axis=-2)
        parts = parts - mean[..., None, :]
        return MarginLaw(mean, np.swapaxes(parts, -1, -2) @ parts / (parts.shape[-2] - 1))

    def risk_law(self) -> RiskLaw:
        """Mean squared residual as a quadratic in α.

        Returns
        -------
        RiskLaw
            Batched over γ (and outputs). Its optimal α is ``⟨e₀, e₁⟩/⟨e₁, e₁⟩``.

        Raises
        ------
        ValueError
            If float64 does not hold the squares of responses and predictions.
        """
        check_squares(self.predictions[..., 1:])
        residual, source = self.y - self.predictions[..., 0], self.predictions[..., 1:]
        check_squares(residual[..., None])
        n = residual.shape[-1]
        return RiskLaw(
            np.square(residual).mean(axis=-1),
            np.einsum("...nk,...n->...k", source, residual) / n,
            np.swapaxes(source, -1, -2) @ source / n,
        )

    def __len__(self) -> int:
        """Length of the first axis of the penalties."""
        return len(self.gamma)

    def __bool__(self) -> bool:  # or no penalty would be no result
        return True

    def __getitem__(self, index: Any) -> "LOOResult":
        """Select penalties, as NumPy would select entries of `gamma`."""
        if not self.gamma.ndim:
            raise IndexError("a LOOResult of a single penalty has nothing to select")
        chosen = np.arange(self.gamma.size).reshape(self.gamma.shape)[index]
        flat = self.predictions.reshape(self.gamma.size, *self.predictions.shape[self.gamma.ndim :])
        return LOOResult(flat[chosen], self.y, np.asarray(self.gamma.ravel()[chosen]))

    def _labels(self) -> None:
        if (np.abs(self.y) != 1.0).any():
            raise ValueError("y must be the labels -1 and +1 for margins, it has other responses")


def _result(values: FloatArray) -> Result:
    return float(values) if values.ndim == 0 else values


def check_squares(parts: FloatArray) -> None:
    """Refuse what float64 cannot square and add.

    Parameters
    ----------
    parts : ndarray, shape (..., n, k)
        Predictions or residuals of n samples, in columns.

    Raises
    ------
    ValueError
        If a column's largest entry is too large or, short of 0, too small.
    """
    largest = np.abs(parts).max(axis=-2)
    if not in_range(largest, _DIGITS).all():
        wrong = float(largest[~in_range(largest, _DIGITS)][0])
        raise ValueError(
            f"X, y, source_coef or gamma must be in other units: float64 does not hold the squares of predictions or "
            f"residuals of {wrong:.1e}, allowed are 0 and 1e-{_DIGITS} to 1e+{_DIGITS}"
        )


def leave_one_out(
    X: ArrayLike,
    y: ArrayLike,
    source_coef: ArrayLike | None = None,
    gamma: ArrayLike = 1.0,
    *,
    fit_intercept: bool = False,
) -> LOOResult:
    """Leave every sample out once, for every α and each γ, without fitting again.

    Parameters
    ----------
    X : array_like, shape (n, p)
        Samples in rows, at least 2.
    y : array_like, shape (n,) or (n, d)
        Labels ±1 or any real responses; several outputs in columns.
    source_coef : array_like, shape (p,), (d, p) for several outputs, or (K, p), (K, d, p), optional
        Source weights w̃, an output in each row; several sources on a leading axis. Left out, plain ridge.
    gamma : float or array_like, default 1
        Ridge penalties γ ≥ 0, of any shape; 0 stands for the limit γ → 0.
    fit_intercept : bool, default False
        Whether the model has an intercept, fitted without a penalty.

    Returns
    -------
    LOOResult
        Batched over γ, then over outputs if y has columns.

    Raises
    ------
    ValueError
        If a shape does not fit, an entry is not finite, γ < 0, there is one sample only, or products of the arguments
        exceed float64.

    Examples
    --------
    >>> X, y = [[1.0, 2.0], [1.0, -1.0], [0.0, 1.0], [2.0, 0.0]], [1.0, 1.0, -1.0, -1.0]
    >>> loo = leave_one_out(X, y, [1.0, 0.0], gamma=0.5)
    >>> loo.residuals(0.8).round(4)
    array([ 1.9778,  1.08  , -1.1164, -2.8581])
    >>> from rmt_alpha.ridge import affine_ridge
    >>> w0, w1 = affine_ridge(X[1:], y[1:], [1.0, 0.0], gamma=0.5 * 4 / 3)  # the penalty nγ stays
    >>> round(float(y[0] - X[0] @ (w0 + 0.8 * w1)), 4)
    1.9778
    """
    path = RidgePath(X, fit_intercept=boolean("fit_intercept", fit_intercept))
    n, p = path.n, path.p
    if n < 2:
        raise ValueError(f"X must have at least 2 rows to leave one out, got {n}")
    y, gamma = real_array("y", y), real_array("gamma", gamma, 0.0)
    if y.shape[:1] != (n,) or y.ndim > 2 or y.size == 0:
        raise ValueError(f"y must have shape ({n},) or ({n}, d) to fit the rows of X, got {y.shape}")
    outputs = y.shape[1:]
    W = np.empty((0, *outputs, p)) if source_coef is None else real_array("source_coef", source_coef)
    if W.ndim == len(outputs) + 1:
        W = W[None]
    if W.shape[1:] != (*outputs, p):
        one = f"({', '.join(map(str, (*outputs, p)))}{'' if outputs else ','})"
        raise ValueError(f"source_coef must have shape {one}, or one more leading axis for the sources, got {W.shape}")
    columns = y.reshape(n, -1)
    with np.errstate(over="ignore", invalid="ignore"):  # looked for in the predictions
        F = np.asarray(X, dtype=np.float64) @ W.reshape(-1, p).T
    F = np.moveaxis(F.reshape(n, len(W), columns.shape[1]), 1, 2)
    predictions = loo_predictions(path, columns, F, gamma.ravel())
    return LOOResult(predictions.reshape(*gamma.shape, *outputs, n, len(W) + 1), y.T, gamma)


def loo_predictions(path: RidgePath, Y: FloatArray, F: FloatArray, gamma: FloatArray) -> FloatArray:
    """Predict each sample by the fit without it, of arguments that have been checked.

    Parameters
    ----------
    path : RidgePath
        The decomposed samples.
    Y : ndarray, shape (n, d)
        Responses.
    F : ndarray, shape (n, d, K)
        What each source says of them, ``Xw̃``.
    gamma : ndarray, shape (q,)
        Penalties.

    Returns
    -------
    ndarray, shape (q, d, n, K+1)
        As in `LOOResult`.

    Raises
    ------
    ValueError
        If products of the arguments exceed float64, or memory would not do.
    """
    n, d, k = F.shape
    check_memory(f"leave-one-out of {len(gamma)} penalties", 40.0 * len(gamma) * n * d * (k + 1))
    with np.errstate(over="ignore", invalid="ignore"):  # looked for in the results
        both, diagonal = path.residuals(np.concatenate([Y, F.reshape(n, -1)], axis=1), gamma, spanned=d * k)
        smooth, leverage = path.fitted(Y, gamma)
        ratios = np.swapaxes(both, 1, 2) / diagonal[:, None]
        direct = np.swapaxes(smooth, 1, 2) - leverage[:, None] * Y.T
        direct = direct / np.maximum(1.0 - leverage, 0.5)[:, None]
        scratch = np.where(leverage[:, None] < 0.5, direct, Y.T - ratios[:, :d])
        sources = np.swapaxes(ratios[:, d:].reshape(len(gamma), d, k, n), 2, 3)
        predictions = np.concatenate([scratch[..., None], sources], axis=-1)
    if not np.isfinite(predictions).all():
        raise ValueError("X, y or source_coef must be smaller: their products exceed float64")
    return predictions
