r"""Regression with several outputs: the risk of fine-tuned ridge as a quadratic in α, for any covariance and sources.

Statement (THEORY §9). Target samples are ``y = W x + σ ε`` with ``x ~ (0, Σ)``, W of shape d × p; sources are d × p
matrices W_k. The fine-tuned matrix is ``W_α = Σ α_k W_k + A`` where A minimises
``‖Y − X(Σ α_k W_k + A)ᵀ‖²/n + γ‖A‖²``. With κ and h of the target (`equivalents`), ``G = (Σ+κI)⁻¹`` and
``D = W − Σ α_k W_k``, output j has the risk, its noise included,

    risk_j(α) = [κ² (D GΣG Dᵀ)_jj + σ_j²] / h.

A source trained by ridge on N samples of its own task, κ_s, h_s, ``G_s = (Σ_s+κ_sI)⁻¹``, enters by its mean
``W̄_s = W_sΣ_sG_s``, and adds to its own coefficient α_s² of output j

    (κ²/h) tr(GΣG C_sj),    C_sj = R_sj/(N h_s) · G_sΣ_sG_s,    R_sj = κ_s² (W_s G_sΣ_sG_s W_sᵀ)_jj + σ_sj².

Derivation. With ``Q = (XᵀX/n+γI)⁻¹`` the error is ``W − W_α = γDQ − σεᵀXQ/n``, linear in D and in the noise. Given X it
has, in the mean over ε, the risk ``γ² (DQΣQDᵀ)_jj + σ_j² (1 + tr ΣQ(XᵀX/n)Q/n)``, and the deterministic equivalents

    γQ → κG,    γ²QBQ → κ² [GBG + tr(ΣGBG)/(nh) · GΣG],    tr BQ(XᵀX/n)Q → tr(ΣGBG)/h

for B = Σ, where ``tr(ΣGΣG)/n = 1−h``, give 1/h times ``κ²GΣG`` and times σ². For a source's own samples the same three
give the mean of W̃_s, ``W_s(I−κ_sG_s)``, and for any B that of ``(W̃_s B W̃_sᵀ)_jj``, which is
``(W̄_s B W̄_sᵀ)_jj + tr(B C_sj)``; here B is the target's κ²GΣG/h. So each output is THEORY §3 with μ = 0, where the
variance 1 of a label is σ².

Training α itself (THEORY §11, `rmt_alpha.theory.trained`) ends where held-out residuals are orthogonal to the sources'
outputs: for each output, or for the sum over all, and each source k

    ⟨W_k, W − Σ α_l W_l⟩ = 0        in the inner product        ⟨A, B⟩ = tr(A ΣG Bᵀ),

since ``W_kΣ(W − W_α)ᵀ`` tends to ``κ W_kΣGDᵀ``; a trained source adds ``tr(ΣG C_sj)`` to its own square. The α of least
risk takes GΣG for ΣG. Where Σ is a multiple of the identity they are proportional, and the two α are the same.

In the eigenbasis of Σ everything is a sum over its eigenvalues of positive weights ``b_i = (κ/(λ_i+κ))² λ_i/h`` times
products of coordinates, and what a common factor b leaves to κ, n and γ is one matrix product for a whole grid.

By rule: at γ = 0 with n ≥ rank Σ, κ = 0 and h = 1 − rank/n: the sources are forgotten (α* is nan) and the risk is σ²/h;
for n = rank, inf where there is noise and 0 where there is none. A source with h_s = 0 (trained without penalty on
N = rank Σ_s samples) is W_s exactly without noise, and makes the law nan with noise. So do lengths of rows and σ
outside 1e±30, and eigenvalues, numbers of samples and penalties outside 1e±60 (other than 0).

Cost: one eigendecomposition for each distinct full covariance, one p × p product for each trained source whose
eigenbasis is another one, then O(pK²) for each (n, γ), times d for separate outputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._validation import FloatArray, check_memory, in_range, lengths
from rmt_alpha.laws import Result, RiskLaw
from rmt_alpha.problem import FixedSource, RegressionSource, RegressionTask, RidgeSource, Task, check_regression_sources
from rmt_alpha.theory.equivalents import BLOCK, EffectiveRidge, effective_ridge


@dataclass(frozen=True, eq=False)
class RegressionEquivalent:
    """Deterministic equivalent of fine-tuned ridge regression, ready for any number of samples and any penalty.

    Parameters
    ----------
    target : RegressionTask
        The target task.
    sources : iterable of RidgeSource or FixedSource, default ()
        The K sources.

    Raises
    ------
    ValueError
        If a shape does not fit.

    Notes
    -----
    What takes long, the decomposition of full covariances, is done at the first question and kept.

    Examples
    --------
    >>> task = RegressionTask([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], covariance=[2.0, 1.0, 0.5], noise=0.1)
    >>> old = FixedSource([[0.8, 0.1, 0.5], [0.1, 0.4, 0.5]])
    >>> RegressionEquivalent(task, [old]).law(2, 0.1, per_output=True).optimal_alpha().round(3)
    array([1.153, 1.558])
    """

    target: RegressionTask
    sources: tuple[RegressionSource, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", check_regression_sources(self.target, self.sources))

    def __getstate__(self) -> dict[str, Any]:
        return {"target": self.target, "sources": self.sources}

    @cached_property
    def _coordinates(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """What the law takes of the tasks.

        The rows of W, W̄_1, …, W̄_K in the eigenbasis of Σ, shape (K+1, d, p); of each source the diagonal of G_sΣ_sG_s
        there, shape (K, p), and R_sj/(N h_s), shape (K, d). The last two are 0 for a fixed source.
        """
        K, d, p = len(self.sources), self.target.d, self.target.p
        rows, spread, excess = np.empty((K + 1, d, p)), np.zeros((K, p)), np.zeros((K, d))
        rows[0] = self.target.weights
        known: list[Task] = [self.target]
        for k, source in enumerate(self.sources):
            if isinstance(source, FixedSource):
                rows[k + 1] = source.weights
                continue
            basis = source.mixture.alike(known)
            known.append(basis)
            rows[k + 1], variances, excess[k] = _trained(source, basis)
            spread[k] = self.target.diagonal(basis, variances)
        return self.target.coordinates(rows), spread, excess

    def law(self, n: ArrayLike, gamma: ArrayLike, *, per_output: bool = False) -> RiskLaw:
        """Risk as a function of α: the mean squared error on a fresh sample ``(x, y)``, the noise of y included.

        Parameters
        ----------
        n : float or array_like
            Number of target samples, positive.
        gamma : float or array_like
            Ridge penalty γ ≥ 0 of the fine-tuning.
        per_output : bool, default False
            Whether each output has its own law, and so its own α, or the law is that of the sum over the outputs.

        Returns
        -------
        RiskLaw
            Batched over the broadcast shape of n and gamma, with a last axis of length d if `per_output`; inf and nan
            by the rules of the module.

        Raises
        ------
        ValueError
            If an argument is outside its range or the shapes do not broadcast.
        """
        target, K = self.target, len(self.sources)
        ridge = effective_ridge(target.eigenvalues, n, gamma)
        outputs = self._outputs(per_output)
        kappa, h = np.ravel(ridge.kappa)[:, None], np.ravel(ridge.residual_fraction)[:, None]
        forms = self._forms(ridge, outputs, lambda at: _weights(target.eigenvalues, kappa[at], h[at]))
        noise = np.array([np.square(target.noise[j]).sum() for j in outputs])
        with np.errstate(all="ignore"):
            constant = forms[..., 0, 0] + np.where(noise == 0.0, 0.0, noise / h)
            lost = ~(np.isfinite(forms).all(axis=(2, 3)) & (np.isfinite(constant) | (h == 0.0)))
        forms[lost], constant[lost] = np.nan, np.nan
        batch = (*np.shape(ridge.kappa), target.d) if per_output else np.shape(ridge.kappa)
        return RiskLaw._trusted(
            constant.reshape(batch),
            forms[..., 0, 1:].reshape(*batch, K),
            forms[..., 1:, 1:].reshape(*batch, K, K),
        )

    def trained_alpha(self, n: ArrayLike, gamma: ArrayLike, *, per_output: bool = False) -> Result:
        """Scale(s) at which α comes to rest when it is trained on held-out squared loss beside a converged adapter.

        Parameters
        ----------
        n : float or array_like
            Number of target samples, positive.
        gamma : float or array_like
            Ridge penalty γ ≥ 0 of the fine-tuning.
        per_output : bool, default False
            Whether each output trains its own α, or all share one.

        Returns
        -------
        float or ndarray
            Of the broadcast shape of n and gamma, then an axis of length d if `per_output`, then one of length K unless
            K = 1. nan where κ = 0 (γ = 0 and n ≥ rank Σ: any α is at rest), where sources are 0 or dependent, and by
            the rules of the module.

        Raises
        ------
        ValueError
            If an argument is outside its range or the shapes do not broadcast.

        Examples
        --------
        >>> task = RegressionTask([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], covariance=[2.0, 1.0, 0.5], noise=0.1)
        >>> old = FixedSource([[0.8, 0.1, 0.5], [0.1, 0.4, 0.5]])
        >>> RegressionEquivalent(task, [old]).trained_alpha(2, 0.1, per_output=True).round(3)
        array([1.193, 1.652])
        """
        values, K = self.target.eigenvalues, len(self.sources)
        ridge = effective_ridge(values, n, gamma)
        kappa = np.ravel(ridge.kappa)[:, None]
        forms = self._forms(ridge, self._outputs(per_output), lambda at: _pulls(values, kappa[at]))
        shape = (*np.shape(ridge.kappa), self.target.d) if per_output else np.shape(ridge.kappa)
        forms = forms.reshape(*shape, K + 1, K + 1)
        # the equilibrium is the minimum of a quadratic form: see `trained`
        return RiskLaw._trusted(forms[..., 0, 0], forms[..., 0, 1:], forms[..., 1:, 1:]).optimal_alpha()

    def _outputs(self, per_output: bool) -> list[slice]:
        """Return which outputs share an α."""
        return [slice(j, j + 1) for j in range(self.target.d)] if per_output else [slice(None)]

    def _forms(self, ridge: EffectiveRidge, outputs: list[slice], weigh: Callable[[slice], FloatArray]) -> FloatArray:
        """Return the products of W, W_1, …, W_K, in the mean over trained sources, shape (size, outputs, K+1, K+1).

        The inner product is that of a function of Σ, whose eigenvalues `weigh` gives for a slice of the grid (n, γ).
        """
        target, K = self.target, len(self.sources)
        shape, size = np.shape(ridge.kappa), np.size(ridge.kappa)
        check_memory(f"risk laws of shape {shape}, {len(outputs)} in each", 24.0 * size * len(outputs) * (K + 1) ** 2)
        check_memory(f"products of {K + 1} weights in p={target.p}", 8.0 * target.p * (K + 1) ** 2)
        rows, spread, excess = self._coordinates
        forms = np.empty((size, len(outputs), K + 1, K + 1))
        own, step = np.arange(1, K + 1), max(BLOCK // target.p, 1)
        with np.errstate(all="ignore"):
            for start in range(0, size, step):
                at = slice(start, start + step)
                b = weigh(at)
                spreads = b @ spread.T
                for i, j in enumerate(outputs):
                    products = np.einsum("ajp,bjp->pab", rows[:, j], rows[:, j]).reshape(target.p, -1)
                    forms[at, i] = (b @ products).reshape(-1, K + 1, K + 1)
                    forms[at, i, own, own] += spreads * excess[:, j].sum(axis=1)
        forms[:, [not _legal(target, rows[:, j], j) for j in outputs]] = np.nan
        return forms


def _pulls(values: FloatArray, kappa: FloatArray) -> FloatArray:
    """Return the eigenvalues of ΣG, for each κ; nan at κ = 0."""
    return np.where(kappa == 0.0, np.nan, values / (values + kappa))


def _weights(values: FloatArray, kappa: FloatArray, h: FloatArray) -> FloatArray:
    """Return b, the eigenvalues of κ²GΣG/h, for each κ; 0 at κ = 0."""
    k = kappa / (values + kappa)
    return np.where(kappa == 0.0, 0.0, np.square(k) * values / h)


def _trained(source: RidgeSource[RegressionTask], basis: Task) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return W̄_s, the eigenvalues of G_sΣ_sG_s, and R_sj/(N h_s); `basis` is a task with the source's covariance."""
    task, values = source.mixture, basis.eigenvalues
    ridge = effective_ridge(values, source.n, source.gamma)
    legal = in_range(lengths(task.weights), 30) & in_range(task.noise, 30)
    w = np.where(legal[:, None], basis.coordinates(task.weights), np.nan)
    with np.errstate(all="ignore"):
        total = values + ridge.kappa
        G, k = np.where(total == 0.0, 0.0, 1.0 / total), np.where(total == 0.0, 0.0, ridge.kappa / total)
        variances = values * np.square(G)
        excess = (np.square(k * w) @ values + np.square(task.noise)) / (source.n * ridge.residual_fraction)
        if ridge.residual_fraction == 0.0:
            excess = np.where(task.noise == 0.0, 0.0, np.nan)
    return basis.combine(w * (values * G)), variances, excess


def _legal(target: RegressionTask, rows: FloatArray, outputs: slice) -> bool:
    """Tell whether lengths are in the range in which nothing over- or underflows."""
    sizes = np.concatenate([lengths(rows).ravel(), target.noise[outputs]])
    return bool(in_range(sizes, 30).all())
