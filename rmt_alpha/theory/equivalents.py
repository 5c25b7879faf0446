r"""Deterministic equivalents for any covariance and any sources: the law of the margin from one eigendecomposition.

Statement (THEORY §3). Target samples are ``x = y μ + Σ^{1/2}z``, t = 1 − 2ε. The effective ridge κ is the non-negative
root of

    κ = γ + (κ/n) tr Σ(Σ+κI)⁻¹,        df₁ = tr Σ(Σ+κI)⁻¹,   df₂ = tr Σ²(Σ+κI)⁻²,   h = 1 − df₂/n.

With ``H = (Σ + μμᵀ + κI)⁻¹`` and W the p × K matrix of the sources, the classifier behaves as

    w̄_α = H (t μ + κ W α),
    mean(α) = μᵀw̄_α,        var(α) = w̄_αᵀ Σ w̄_α + ((1−h)/h) R(w̄_α),        R(w) = 1 − 2t μᵀw + wᵀ(Σ+μμᵀ)w,

both quadratic in (1, α), which gives M and V. A source trained by ridge on N samples of its own task enters by its
mean w̄_s, the same formula there without a source, and by its covariance ``C_s = (R_s(w̄_s)/(N h_s)) G_sΣ_sG_s``, which
adds ``(κ²/h) tr(GΣG C_s)`` to its own variance in V; G = (Σ+κI)⁻¹, and index s marks what belongs to the source.

In the eigenbasis of Σ everything is a sum over eigenvalues λᵢ. With ``kᵢ = κ/(λᵢ+κ)``, ``rᵢ = λᵢ/(λᵢ+κ)``,
``a = μᵀGμ``, ``b = κ WᵀGμ`` and ``g = Gμ/(1+a)``,

    w̄₀ = t g,    w̄_k = κGw_k − b_k g,    M₀ = t a/(1+a),    M_k = b_k/(1+a),
    h V₀₀ = w̄₀ᵀΣw̄₀ + (1−h) [t²/(1+a)² + 4ε(1−ε)],
    h V_kl = w̄_kᵀΣw̄_l + (1−h) M_k M_l + δ_kl κ² tr(GΣG C_k),
    h V₀k = t/(1+a)² · { γ μᵀGΣGw_k + κ Σᵢ μᵢ wᵢₖ (r̄ − d̄ᵢ)/(λᵢ+κ) + (a' b_k − a b_k') },

where the last line is what is left when all that cancels has been taken out: dᵢ = kᵢ − k₁, ``r̄ = Σ rⱼdⱼ/n``,
``d̄ᵢ = df₁ dᵢ/n``, and a', b' are a, b with each term times dᵢ. All d vanish for Σ = I.

Training α itself (THEORY §11, `rmt_alpha.theory.trained`) ends where ``(W̃ᵀW̃ − κW̃ᵀHW̃)α = t W̃ᵀHμ``, in the mean over
trained sources

    [W̄ᵀΣGW̄ + κ(1+a) W̄ᵀggᵀW̄ + diag(tr ΣGC_k)] α = t W̄ᵀg,        W̄ the matrix of the w̄_k.

Numerics of κ. ``φ(κ) = κ(1 − df₁/n) − γ`` is convex and increasing to the right of its root, so Newton's iteration
from any point there descends to it and needs no safeguard. It starts from the least of the bounds that follow from
Jensen's inequality for all but the k largest eigenvalues (k = 0, 1, …; those k contribute less than 1 each to df₁):

    m κ² + (λ̄(n−r) − nγ) κ − nγλ̄ = 0,        m = n − k > 0,  r = rank Σ,  λ̄ the mean of the r−k smallest ones,

exact for Σ = I, and stops when the iterate no longer decreases. ``n − df₁`` is computed as
``(n − #{λᵢ>κ}) + Σ_{λᵢ>κ} kᵢ − Σ_{λᵢ≤κ} rᵢ``, whose terms are at most 3nh in size, while κ changes by less than h⁻¹
times the relative error of that difference: so κ has all its digits at any condition number. Where n is the number of
large eigenvalues, and γ and the others are tiny, Newton's steps only halve κ. So while they shorten it by a quarter or
more, another is tried: with A and B the positive and the negative terms of that sum, ``A = B + nγ/κ`` is solved by
Newton's rule for the logarithms, and a step in κ from there, which leads to the right of the root, is taken if shorter.

By rule: at γ = 0 with n ≥ rank Σ, κ = 0 and h = 1 − rank/n. The classifier then keeps of its sources only what lies in
the null space of Σ, where no sample varies. (With n = rank, h = 0: V₀₀ = inf.) A source with h_s = 0 makes the law nan.
So do lengths of μ and w̃ outside 1e±30, and eigenvalues, n and γ outside 1e±60 (other than 0).

Cost: one eigendecomposition for each distinct full covariance, one p × p product for each source whose eigenbasis is
another one, then O(pK²) for each (n, γ).
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt_alpha._jit import jit, routine
from rmt_alpha._validation import FloatArray, broadcast_shape, check_memory, in_range, lengths, plain, real, real_array
from rmt_alpha.laws import MarginLaw, Result, RiskLaw
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource, Source, Task, check_sources

_STEPS = 100
"""Newton steps after which the iteration counts as failed; a dozen is much."""

BLOCK = 2**16
"""Numbers in a block of the grid (n, γ): half a megabyte, which a cache holds."""


# The effective ridge.


class EffectiveRidge(NamedTuple):
    """Effective ridge and degrees of freedom, each of the broadcast shape of n and γ.

    Parameters
    ----------
    kappa : float or ndarray
        κ.
    df1, df2 : float or ndarray
        Degrees of freedom, ``tr Σ(Σ+κI)⁻¹`` and ``tr Σ²(Σ+κI)⁻²``.
    residual_fraction : float or ndarray
        ``h = 1 − df₂/n`` as a sum of positive terms.
    iterations : int or ndarray
        Newton steps taken; 0 where κ is known by rule.
    converged : bool or ndarray
        Whether the iteration came to rest. False, and the numbers nan, outside the range of `effective_ridge`.
    """

    kappa: Any
    df1: Any
    df2: Any
    residual_fraction: Any
    iterations: Any
    converged: Any


@jit
def _degrees(eigenvalues: FloatArray, n: float, kappa: float) -> tuple[float, float, float, float, float, float]:
    """Return A and B, whose difference is n − df₁, how fast they change with log κ, and df₁, df₂."""
    above, kept, lost = 0, 0.0, 0.0
    rise, fall, df1, df2 = 0.0, 0.0, 0.0, 0.0
    for i in range(eigenvalues.size):
        total = eigenvalues[i] + kappa
        if total == 0.0:
            continue
        r, k = eigenvalues[i] / total, kappa / total
        if eigenvalues[i] > kappa:
            above += 1
            kept += k
            rise += r * k
        else:
            lost += r
            fall += r * k
        df1 += r
        df2 += r * r
    spare = n - above
    return max(spare, 0.0) + kept, max(-spare, 0.0) + lost, rise, fall, df1, df2


@jit
def _descend(eigenvalues: FloatArray, n: float, gamma: float, kappa: float) -> float:
    """Return a point between the root and κ, or κ itself where rounding hides the difference."""
    penalty = n * gamma
    A, B, rise, fall, _, _ = _degrees(eigenvalues, n, kappa)
    newton = (penalty + kappa * (rise + fall)) / (A - B + rise + fall)
    if newton > 0.75 * kappa:
        return newton
    down = B + penalty / kappa
    leap = kappa * (down / A) ** (1.0 / (rise / A + (fall + penalty / kappa) / down))
    A, B, rise, fall, _, _ = _degrees(eigenvalues, n, leap)
    slope = A - B + rise + fall
    if slope > 0.0:  # where φ increases Newton's step leads to the right of the root, from the left as well
        return float(min(newton, (penalty + leap * (rise + fall)) / slope))
    return newton


@jit
def _upper_bound(eigenvalues: FloatArray, rank: int, n: float, gamma: float) -> float:
    """Return the least of the bounds on κ, from decreasing eigenvalues; positive unless κ is 0."""
    bound = n * gamma / (n - rank) if n > rank else np.inf
    tail = 0.0
    for k in range(rank - 1, -1, -1):
        tail += eigenvalues[k]
        m = n - k
        if m > 0.0:
            mean = tail / (rank - k)
            b, c = mean * (n - rank) - n * gamma, n * gamma * mean
            root = np.sqrt(b * b + 4.0 * m * c)
            bound = min(bound, 2.0 * c / (root + b) if b > 0.0 else 0.5 * (root - b) / m)
    return bound


@routine
def _solve(
    eigenvalues: FloatArray,
    rank: int,
    n: FloatArray,
    gamma: FloatArray,
    result: FloatArray,
    iterations: NDArray[np.int64],
    converged: NDArray[np.bool_],
) -> None:
    """Fill the rows (κ, df₁, df₂, h) of the result, from decreasing eigenvalues."""
    for j in range(n.size):
        kappa = 0.0
        steps = 0
        done = gamma[j] == 0.0 and n[j] >= rank
        if not done:
            kappa = _upper_bound(eigenvalues, rank, n[j], gamma[j])
            while not done and steps < _STEPS:
                step = _descend(eigenvalues, n[j], gamma[j], kappa)
                done = step >= kappa * (1.0 - 4e-16)
                kappa = step
                steps += 1
            kappa = max(kappa, gamma[j])  # which it is, but for rounding; nor is h above 1
        _, _, rise, fall, df1, df2 = _degrees(eigenvalues, n[j], kappa)
        h = (n[j] - rank) / n[j] if kappa == 0.0 else min(gamma[j] / kappa + (rise + fall) / n[j], 1.0)
        result[0, j] = kappa if done else np.nan
        result[1, j] = df1 if done else np.nan
        result[2, j] = df2 if done else np.nan
        result[3, j] = h if done else np.nan
        iterations[j] = steps
        converged[j] = done


def effective_ridge(eigenvalues: ArrayLike, n: ArrayLike, gamma: ArrayLike) -> EffectiveRidge:
    """Effective ridge κ of data with any covariance: the penalty that the population problem sees.

    Parameters
    ----------
    eigenvalues : array_like, shape (p,)
        Eigenvalues of the covariance Σ, non-negative, in any order; zeros are directions without noise.
    n : float or array_like
        Number of samples, positive.
    gamma : float or array_like
        Ridge penalty γ ≥ 0.

    Returns
    -------
    EffectiveRidge
        κ and what follows from it, with the iterations it took. At γ = 0 with no fewer samples than rank Σ, κ is 0 by
        rule. nan where eigenvalues, n or γ are not 0 and outside 1e±60.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    See Also
    --------
    rmt_alpha.theory.isotropic.effective_ridge : the closed form for Σ = I.

    Notes
    -----
    THEORY §3. Newton's iteration descends to the root from an upper bound (see the module): five steps or so, and κ has
    all digits of float64, whatever the condition number.

    Examples
    --------
    >>> ridge = effective_ridge([4.0, 1.0, 0.25, 0.0], n=2, gamma=[0.0, 0.5])
    >>> ridge.kappa.round(4), ridge.df1.round(4)
    (array([0.4061, 1.4258]), array([2.    , 1.2986]))
    >>> bool(ridge.converged.all())
    True
    """
    for name, value in (("eigenvalues", eigenvalues), ("n", n), ("gamma", gamma)):
        plain(name, value)
    values = real_array("eigenvalues", eigenvalues, 0.0)
    if values.ndim != 1 or values.size == 0:
        raise ValueError(f"eigenvalues must be a vector with at least one entry, got shape {values.shape}")
    samples, penalty = real_array("n", n, 0.0, open_low=True), real_array("gamma", gamma, 0.0)
    shape = broadcast_shape({"n": samples.shape, "gamma": penalty.shape})
    check_memory(f"effective ridges of shape {shape}", 100.0 * math.prod(shape))
    samples, penalty = (np.broadcast_to(array, shape).ravel() for array in (samples, penalty))
    decreasing = np.sort(values)[::-1].copy()
    result = np.empty((4, samples.size))
    iterations, converged = np.empty(samples.size, np.int64), np.empty(samples.size, np.bool_)
    legal = in_range(samples, 60) & in_range(penalty, 60) & in_range(values, 60).all()
    if not legal.any():
        decreasing = np.zeros(1)  # whatever the eigenvalues are, all that follows is nan
    with np.errstate(all="ignore"):
        _solve(
            decreasing,
            int(np.count_nonzero(decreasing)),
            np.where(legal, samples, 1.0),
            np.where(legal, penalty, 1.0),
            result,
            iterations,
            converged,
        )
    result[:, ~legal], converged[~legal], iterations[~legal] = np.nan, False, 0
    return EffectiveRidge(*(array.reshape(shape)[()] for array in (*result, iterations, converged)))


# The law of the margin.


@dataclass(frozen=True, eq=False)
class Equivalent:
    """Deterministic equivalent of the fine-tuned classifier, ready for any number of samples and any penalty.

    Parameters
    ----------
    target : GaussianMixture
        The target task.
    sources : iterable of RidgeSource or FixedSource, default ()
        The K sources.

    Raises
    ------
    ValueError
        If a dimension does not fit.

    Notes
    -----
    What takes long, the decomposition of full covariances, is done at the first question and kept.

    Examples
    --------
    >>> target = GaussianMixture([1.0, 0.5, 0.0], covariance=[1.0, 2.0, 0.5])
    >>> equivalent = Equivalent(target, [FixedSource([1.0, 0.0, 0.0])])
    >>> equivalent.law(n=[2, 20], gamma=0.1).optimal_alpha().round(3)
    array([1.852, 3.307])
    """

    target: GaussianMixture
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", check_sources(self.target, self.sources))

    def __getstate__(self) -> dict[str, Any]:
        return {"target": self.target, "sources": self.sources}

    @cached_property
    def _mean(self) -> FloatArray:
        """μ in the eigenbasis."""
        return self.target.coordinates(self.target.mean)

    @cached_property
    def _sources(self) -> tuple[FloatArray, FloatArray]:
        """Means w̄_k of the sources and the diagonals of their covariances C_k, shape (p, K), in the eigenbasis."""
        weights, spread = np.zeros((2, len(self.sources), self.target.p))
        known: list[Task] = [self.target]
        for k, source in enumerate(self.sources):
            if isinstance(source, FixedSource):
                weights[k] = source.weights
                continue
            basis = source.mixture.alike(known)
            known.append(basis)
            weights[k], variances = _trained(source, basis)
            spread[k] = self.target.diagonal(basis, variances)
        return self.target.coordinates(weights).T.copy(), spread.T.copy()

    @cached_property
    def _legal(self) -> bool:
        """Whether lengths and eigenvalues are in the range in which nothing over- or underflows."""
        rows = np.vstack([self.target.mean, self._sources[0].T])
        return bool(in_range(lengths(rows), 30).all() and in_range(self.target.eigenvalues, 60).all())

    def law(self, n: ArrayLike, gamma: ArrayLike) -> MarginLaw:
        """Law of the margin as a function of α.

        Parameters
        ----------
        n : float or array_like
            Number of target samples, positive.
        gamma : float or array_like
            Ridge penalty γ ≥ 0 of the fine-tuning.

        Returns
        -------
        MarginLaw
            Batched over the broadcast shape of n and gamma; nan by the rules of the module.

        Raises
        ------
        ValueError
            If an argument is outside its range or the shapes do not broadcast.
        """
        ridge = effective_ridge(self.target.eigenvalues, n, gamma)
        shape, size, K = np.shape(ridge.kappa), np.size(ridge.kappa), len(self.sources)
        samples, penalty = (np.broadcast_to(np.asarray(x, np.float64), shape).ravel() for x in (n, gamma))
        ridge = EffectiveRidge(*(np.ravel(array) for array in ridge))
        check_memory(f"laws of shape {shape}", 16.0 * size * (K + 2) * (K + 1))
        mean, cov = np.empty((size, K + 1)), np.empty((size, K + 1, K + 1))
        step = max(BLOCK // (self.target.p * (K + 1)), 1)
        for start in range(0, size, step):
            at = slice(start, start + step)
            one = EffectiveRidge(*(array[at] for array in ridge))
            mean[at], cov[at] = self._block(samples[at], penalty[at], one)
        allowed = np.isfinite(cov)
        allowed[..., 0, 0] |= cov[..., 0, 0] == np.inf
        lost = ~(allowed.all(axis=(1, 2)) & np.isfinite(mean).all(axis=1) & self._legal)
        mean[lost], cov[lost] = np.nan, np.nan
        return MarginLaw._trusted(mean.reshape(*shape, K + 1), cov.reshape(*shape, K + 1, K + 1))

    def _block(self, n: FloatArray, gamma: FloatArray, ridge: EffectiveRidge) -> tuple[FloatArray, FloatArray]:
        """Return M and V of several (n, γ), one on the leading axis of each array; see the module for the sums."""
        values, mu, (w, spread) = self.target.eigenvalues, self._mean, self._sources
        t, flips = _labels(self.target)
        h, one_minus_h, kappa = ridge.residual_fraction, ridge.df2 / n, ridge.kappa
        mean, cov = np.empty((n.size, w.shape[1] + 1)), np.empty((n.size, w.shape[1] + 1, w.shape[1] + 1))
        with np.errstate(all="ignore"):
            G, k, a, inverse, g = _resolvent(values, mu, kappa)
            b = k @ (mu[:, None] * w)
            mean[:, 0] = np.where(np.isinf(a), t, t * (a * inverse))
            mean[:, 1:] = b * inverse[:, None]
            signal, off = np.sqrt(values), k[:, :, None] * w - g[:, :, None] * b[:, None, :]

            risk = (t * inverse) ** 2 + flips
            cov[:, 0, 0] = t * t * (np.square(g) @ values) + one_minus_h * risk

            half = signal[:, None] * off
            cov[:, 1:, 1:] = np.einsum("jpk,jpl->jkl", half, half)
            cov[:, 1:, 1:] += one_minus_h[:, None, None] * mean[:, 1:, None] * mean[:, None, 1:]
            own = np.arange(1, w.shape[1] + 1)
            cov[:, own, own] += np.square(k) @ (values[:, None] * spread)

            r = values * G
            d = (values[0] - values) * G[:, :1] * k
            turn = ((r * d).sum(axis=1) / n)[:, None] - (ridge.df1 / n)[:, None] * d
            cross = (G * (gamma[:, None] * r + kappa[:, None] * turn)) @ (mu[:, None] * w)
            cross += ((G * d) @ np.square(mu))[:, None] * b - a[:, None] * ((k * d) @ (mu[:, None] * w))
            cross = np.where(kappa[:, None] == 0.0, 0.0, t * inverse[:, None] ** 2 * cross)
            largest = np.sqrt(cov[:, :1, 0] * cov[:, own, own])  # at spreads of 1e±20 rounding would exceed it
            cov[:, 0, 1:] = np.clip(cross, -largest, largest)
            cov[:, 1:, 0] = cov[:, 0, 1:]

            interpolates = h == 0.0
            cov /= np.where(interpolates, 1.0, h)[:, None, None]
            cov[interpolates, 0, 0] = np.where(cov[interpolates, 0, 0] == 0.0, 0.0, np.inf)
        return mean, cov

    def trained_alpha(self, n: ArrayLike, gamma: ArrayLike) -> Result:
        """Scale(s) at which α comes to rest when it is trained on held-out squared loss beside a converged adapter.

        Parameters
        ----------
        n : float or array_like
            Number of target samples, positive.
        gamma : float or array_like
            Ridge penalty γ ≥ 0 of the fine-tuning.

        Returns
        -------
        float or ndarray
            Of the broadcast shape of n and gamma, with a trailing axis of length K unless K = 1. nan where κ = 0 (γ = 0
            and n ≥ rank Σ: any α is at rest), where sources are 0 or dependent, and by the rules of the module.

        Raises
        ------
        ValueError
            If an argument is outside its range or the shapes do not broadcast.

        Notes
        -----
        THEORY §11; `rmt_alpha.trained_alpha` for Σ = I.

        Examples
        --------
        >>> target = GaussianMixture([1.0, 0.5, 0.0], covariance=[1.0, 2.0, 0.5])
        >>> equivalent = Equivalent(target, [FixedSource([1.0, 0.0, 0.0])])
        >>> equivalent.trained_alpha(n=[2, 20], gamma=0.1).round(3)
        array([0.478, 0.472])
        """
        kappa = effective_ridge(self.target.eigenvalues, n, gamma).kappa
        shape, K = np.shape(kappa), len(self.sources)
        kappa = np.ravel(kappa)
        check_memory(f"equations of shape {shape}", 24.0 * kappa.size * K * (K + 1))
        push, pull = np.empty((kappa.size, K)), np.empty((kappa.size, K, K))
        step = max(BLOCK // (self.target.p * (K + 1)), 1)
        for start in range(0, kappa.size, step):
            at = slice(start, start + step)
            push[at], pull[at] = self._forces(kappa[at])
        undefined = (kappa == 0.0) | ~np.isfinite(push).all(axis=1) | ~np.isfinite(pull).all(axis=(1, 2))
        pull[undefined | (not self._legal)] = np.nan
        # the equilibrium is the minimum of a quadratic form: see `trained`
        law = RiskLaw._trusted(np.zeros(shape), push.reshape(*shape, K), pull.reshape(*shape, K, K))
        return law.optimal_alpha()

    def _forces(self, kappa: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the right side and the matrix of the equation for the trained α, for each κ."""
        values, mu, (w, spread) = self.target.eigenvalues, self._mean, self._sources
        with np.errstate(all="ignore"):
            G, _, _, inverse, g = _resolvent(values, mu, kappa)
            r, overlap = values * G, g @ w
            half = np.sqrt(r)[:, :, None] * w
            pull = np.einsum("jpk,jpl->jkl", half, half)
            pull += (kappa / inverse)[:, None, None] * overlap[:, :, None] * overlap[:, None, :]
            own = np.arange(w.shape[1])
            pull[:, own, own] += r @ spread
        return _labels(self.target)[0] * overlap, pull

    def limit_law(self, n: ArrayLike) -> MarginLaw:
        """Law of the margin as γ → ∞, a function of ``c = ακ``.

        Parameters
        ----------
        n : float or array_like
            Number of target samples, positive.

        Returns
        -------
        MarginLaw
            Of the classifier ``t μ + W c + noise``, to which ``κ w_α`` tends at fixed c: its α is c. Batched over n.

        Raises
        ------
        ValueError
            If n is not positive.

        Notes
        -----
        THEORY §5 for any covariance: ``M = (t‖μ‖², Wᵀμ)`` and
        ``V = (tμ, W)ᵀΣ(tμ, W) + diag(tr Σ²/n, tr ΣC₁, …, tr ΣC_K)``.

        Examples
        --------
        >>> equivalent = Equivalent(GaussianMixture([1.0, 0.0]), [FixedSource([0.6, 0.8])])
        >>> law = equivalent.limit_law(n=1.0)
        >>> round(law.optimal_alpha(), 6), law.cov.tolist()
        (1.875, [[3.0, 0.6], [0.6, 1.0]])
        """
        plain("n", n)
        samples = real_array("n", n, 0.0, open_low=True)
        values, (w, spread) = self.target.eigenvalues, self._sources
        t, _ = _labels(self.target)
        vectors = np.column_stack([t * self._mean, w])
        half = np.sqrt(values)[:, None] * vectors
        with np.errstate(all="ignore"):
            cov = half.T @ half + np.diag(np.concatenate([[0.0], values @ spread]))
            cov = np.tile(cov, (*samples.shape, 1, 1))
            cov[..., 0, 0] += np.square(values).sum() / samples
            mean = np.broadcast_to(self._mean @ vectors, cov.shape[:-1]).copy()
        lost = ~(np.isfinite(cov).all(axis=(-2, -1)) & in_range(samples, 60) & self._legal)
        mean[lost], cov[lost] = np.nan, np.nan
        return MarginLaw._trusted(mean, cov)

    def classifier(self, n: float, gamma: float, alpha: ArrayLike | None = None) -> FloatArray:
        """Deterministic equivalent ``w̄_α`` of the fine-tuned classifier.

        Parameters
        ----------
        n : float
            Number of target samples, positive.
        gamma : float
            Ridge penalty γ ≥ 0 of the fine-tuning.
        alpha : array_like
            Finite scale(s) of the source(s), shaped as in `MarginLaw`; left out when there is none.

        Returns
        -------
        ndarray, shape (..., p)
            ``H(tμ + κWα)``, for every α; nan by the rules of the module.

        Raises
        ------
        ValueError
            If an argument is outside its range.
        """
        n, gamma = real("n", n, 0.0, open_low=True), real("gamma", gamma, 0.0)
        scales = self.law(n, gamma).checked_alpha(alpha, infinite=False)
        scales = scales[..., None] if len(self.sources) == 1 else scales
        check_memory(f"classifiers for alpha of shape {scales.shape}", 16.0 * self.target.p * scales[..., :1].size)
        kappa = np.atleast_1d(effective_ridge(self.target.eigenvalues, n, gamma).kappa)
        w = self._sources[0]
        with np.errstate(all="ignore"):
            _, k, _, _, g = _resolvent(self.target.eigenvalues, self._mean, kappa)
            b = k[0] @ (self._mean[:, None] * w)
            affine = np.column_stack([_labels(self.target)[0] * g[0], k[0][:, None] * w - g[0][:, None] * b])
            weights = self.target.combine(affine[:, 0] + scales @ affine[:, 1:].T)
        return weights if self._legal else np.full_like(weights, np.nan)


def _resolvent(
    values: FloatArray, mu: FloatArray, kappa: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return G and κG (diagonals), ``a = μᵀGμ``, 1/(1+a) and ``g = Gμ/(1+a)``, for each κ; at κ = 0 their limits."""
    total = values + kappa[:, None]
    G, k = np.where(total == 0.0, 0.0, 1.0 / total), np.where(total == 0.0, 1.0, kappa[:, None] / total)
    null = np.where(values == 0.0, mu, 0.0)  # in which μ is seen without noise
    exact = (kappa == 0.0) & null.any()
    a = np.where(exact, np.inf, G @ np.square(mu))
    inverse = 1.0 / (1.0 + a)
    g = G * mu * inverse[:, None]
    g[exact] = null / (null @ null)
    return G, k, a, inverse, g


def _labels(mixture: GaussianMixture) -> tuple[float, float]:
    """Return t and 1 − t²."""
    noise = mixture.label_noise
    return 1.0 - 2.0 * noise, 4.0 * noise * (1.0 - noise)


def _trained(source: RidgeSource[GaussianMixture], basis: Task) -> tuple[FloatArray, FloatArray]:
    """Return the mean w̄_s, and the eigenvalues of C_s; `basis` is a task with the source's covariance."""
    values, (t, flips) = basis.eigenvalues, _labels(source.mixture)
    legal = in_range(lengths(source.mixture.mean), 30)
    mu = np.where(legal, basis.coordinates(source.mixture.mean), np.nan)
    ridge = effective_ridge(values, source.n, source.gamma)
    with np.errstate(all="ignore"):
        G, _, _, inverse, g = _resolvent(values, mu, np.atleast_1d(ridge.kappa))
        mean = t * g[0]
        risk = np.square(mean) @ values + (t * inverse[0]) ** 2 + flips
        variances = values * np.square(G[0]) * (risk / (source.n * ridge.residual_fraction))
        return basis.combine(mean), variances
