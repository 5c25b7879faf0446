r"""Rules that choose α, for every γ at once: what the estimators and the study of real tasks share.

Each rule turns training samples into a law (`MarginLaw` for labels, `RiskLaw` for other responses) at every penalty,
and takes that law's own optimal α:

- ``"loo"``: the leave-one-out law (`rmt_alpha.estimation.leave_one_out`);
- ``"theory"``: the isotropic theory with estimated parameters (`rmt_alpha.estimation.plug_in`), one variance for all
  features;
- ``"theory-cov"``: the deterministic equivalents with an estimated covariance (`rmt_alpha.estimation.mixtures`);
- ``"robust"``: the average over models (`rmt_alpha.estimation.robust`).

For responses that are no labels the two theories need no more than ``α* = ⟨W_t, W_s⟩/⟨W_s, W_s⟩`` (THEORY §9), in the
inner product ``tr(A GΣG Bᵀ)``, ``G = (Σ+κI)⁻¹``. Since ``GΣG W_t = G²ΣW_t``, and ``ΣW_t = E[xy]``, the first is linear
in the samples for a given covariance: a multiple of the identity, or Ledoit and Wolf's estimate.

An optimal α can be infinite (the source is better alone) or undefined (the source is forgotten or zero). A classifier
has finite weights: α is kept within `_FAR` times the α at which source and rest contribute equally, which is within 1 %
of the angle of the limit, and is 0 where it does not matter.

A penalty is chosen by the accuracy or risk that the leave-one-out law gives at the α chosen for it; not by that of the
isotropic theory, whose word on γ (the larger the better) no real data obey. For ``"robust"`` it is the mean of the
leave-one-out law's and its own: the one is right on average and errs with few samples, the other has a prior. With more
than two classes, where each against the rest has one label much more often than the other, what counts is the margin
between a sample's own class and each other one.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.special import ndtr

from rmt_alpha._validation import FloatArray, check_memory, in_range, power_of_two
from rmt_alpha.estimation.leave_one_out import LOOResult, loo_predictions
from rmt_alpha.estimation.mixtures import estimate_mixture, shrunk_covariance
from rmt_alpha.estimation.plug_in import estimate_problem
from rmt_alpha.estimation.robust import Belief, believe, robust_margin_law, robust_risk_law
from rmt_alpha.estimation.splits import MIN_TRAINING, within_classes
from rmt_alpha.laws import MarginLaw, RiskLaw
from rmt_alpha.problem import FixedSource
from rmt_alpha.ridge import RidgePath
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge

RULES = ("robust", "loo", "theory", "theory-cov")
_FAR = 100.0


@dataclass(frozen=True, eq=False)
class Training:
    """Training samples as the rules want them, decomposed once; nothing is checked.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Samples in rows, n ≥ 2, in the units in which the penalty is meant.
    Y : ndarray, shape (n, d)
        Responses.
    W : ndarray, shape (K, d, p)
        Source weights w̃.
    labels : bool
        Whether the responses are labels ±1, so that accuracy counts and not risk.
    fit_intercept : bool
        Whether there is an intercept.
    shared : bool, default False
        Whether all outputs have the same α.
    """

    X: FloatArray
    Y: FloatArray
    W: FloatArray
    labels: bool
    fit_intercept: bool
    shared: bool = False

    @cached_property
    def path(self) -> RidgePath:
        """The decomposed samples."""
        return RidgePath(self.X, fit_intercept=self.fit_intercept)

    @cached_property
    def belief(self) -> Belief:
        """What the robust rule thinks of the task."""
        return believe(self.path, self.Y, self.W)

    def weights(self, gamma: FloatArray) -> FloatArray:
        """Fit at each penalty, for every α.

        Parameters
        ----------
        gamma : ndarray, shape (q,)
            Penalties.

        Returns
        -------
        ndarray, shape (q, d, K+1, p)
            w₀ and what each unit of α_k adds.
        """
        w0 = self.path.ridge(self.Y, gamma)[:, :, None]
        return np.concatenate([w0, np.swapaxes(self.path.deviation(self.W, gamma), 1, 2)], axis=2)

    def leave_one_out(self, gamma: FloatArray) -> LOOResult:
        """Predict every sample without it, at each penalty.

        Parameters
        ----------
        gamma : ndarray, shape (q,)
            Penalties.

        Returns
        -------
        LOOResult
            With an axis for the outputs.
        """
        k, d, p = self.W.shape
        with np.errstate(over="ignore", invalid="ignore"):  # looked for in the predictions
            F = (self.X @ self.W.reshape(k * d, p).T).reshape(len(self.X), k, d).swapaxes(1, 2)
        return LOOResult(loo_predictions(self.path, self.Y, F, gamma), self.Y.T, gamma)

    def law(self, rule: str, gamma: FloatArray, loo: LOOResult | None = None) -> MarginLaw | RiskLaw:
        """Return the law that a rule makes of the samples.

        Parameters
        ----------
        rule : str
            One of `RULES`.
        gamma : ndarray, shape (q,)
            Penalties.
        loo : LOOResult, optional
            What `leave_one_out` gave, if it is there already.

        Returns
        -------
        MarginLaw or RiskLaw
            Of batch shape (q, d), or (q,) where outputs share α.
        """
        law: MarginLaw | RiskLaw
        if rule == "loo":
            loo = self.leave_one_out(gamma) if loo is None else loo
            law = loo.margin_law() if self.labels else loo.risk_law()
        elif rule == "robust":
            make = robust_margin_law if self.labels else robust_risk_law
            law = make(self.path, self.Y, self.W, self.belief, gamma)
        else:
            law = self._normalised_theory(rule, gamma)
        return _pooled(law) if self.shared else law

    def choose(self, rule: str | FloatArray, gamma: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Choose α at each penalty.

        Parameters
        ----------
        rule : str or ndarray, shape (d, K)
            One of `RULES`, or α as it is.
        gamma : ndarray, shape (q,)
            Penalties.

        Returns
        -------
        alpha : ndarray, shape (q, d, K)
            Finite.
        score : ndarray, shape (q,)
            What penalties are compared by, the larger the better: the mean accuracy over the outputs, or minus the sum
            of risks, as the module describes.

        Raises
        ------
        ValueError
            If a theory has too few samples of a label.
        """
        k, d = self.W.shape[:2]
        loo = self.leave_one_out(gamma)
        law = self.law(rule, gamma, loo) if isinstance(rule, str) else None
        alpha = np.asarray(rule) if law is None else finite_alpha(law)
        alpha = np.broadcast_to(alpha[:, None] if law is not None and self.shared else alpha, (len(gamma), d, k))
        if self.labels and d > 1:
            return alpha, _accuracy_between(loo, alpha)
        each = alpha[:, 0] if self.shared else alpha
        a = None if k == 0 else each[..., 0] if k == 1 else each
        score = _score(self.law("loo", gamma, loo), a)
        if law is not None and rule == "robust":
            score = 0.5 * (score + _score(law, a))
        return alpha, score

    def _normalised_theory(self, rule: str, gamma: FloatArray) -> MarginLaw | RiskLaw:
        """Return a theory's law, computed in units of features and of sources in which nothing over- or underflows."""
        if self.labels:
            positive = (self.Y > 0.0).sum(axis=0)
            rarest = int(np.minimum(positive, len(self.Y) - positive).min())
            if rarest < MIN_TRAINING:
                raise ValueError(
                    f"alpha={rule!r} needs at least {MIN_TRAINING} samples with each label (of each class, and not of "
                    f"it), got {rarest} with one: use 'robust' or 'loo'"
                )
        unit = power_of_two(self.X)
        with np.errstate(over="ignore"):
            W, gamma = self.W * unit, gamma / unit / unit
        sizes = np.array([power_of_two(w) for w in W])
        if not (in_range(gamma, 60).all() and in_range(sizes, 60).all()):
            raise ValueError(
                f"alpha={rule!r} needs other units: gamma must be 0 or within a factor of 1e±60 of the squares of X, "
                "and source_coef within as much of the inverse of X"
            )
        scaled = replace(self, X=self.X / unit, W=W / sizes[:, None, None])
        covariance = rule == "theory-cov"
        if self.labels:
            sizes = np.concatenate([[1.0], sizes])
            laws = [scaled._theory(output, gamma, covariance) for output in range(self.Y.shape[1])]
            mean, cov = (np.stack([getattr(law, name) for law in laws], axis=1) for name in ("mean", "cov"))
            return MarginLaw(mean * sizes, cov * sizes * sizes[:, None])
        linear, quadratic = scaled._regression_theory(gamma, covariance)
        # the constant part, which is not estimated, does not count
        return RiskLaw(np.zeros(linear.shape[:2]), linear * sizes, quadratic * sizes * sizes[:, None])

    def _theory(self, output: int, gamma: FloatArray, covariance: bool) -> MarginLaw:
        n, p = self.X.shape
        y, W = self.Y[:, output], self.W[:, output]
        residuals = within_classes(self.X, y)[1]
        variance = sum(float(np.square(r).sum()) for r in residuals) / ((n - 2) * p)
        if not covariance and len(W) == 1 and variance > 0.0:
            unit = variance**0.5
            return estimate_problem(self.X / unit, y, W[0] * unit).margin_law(n, p, gamma / variance)
        mixture = estimate_mixture(self.X, y, source_coef=W, shrinkage="ledoit-wolf" if covariance else 1.0)
        return Equivalent(mixture, tuple(FixedSource(w) for w in W)).law(n, gamma)

    def _regression_theory(self, gamma: FloatArray, covariance: bool) -> tuple[FloatArray, FloatArray]:
        """Return ⟨W_t, W_s⟩ and ⟨W_s, W_s⟩, shapes (q, d, K) and (q, d, K, K)."""
        n, p = self.X.shape
        free = n - self.fit_intercept
        rows = self.X - self.path.mean
        slope = rows.T @ self.Y / free
        if covariance:
            check_memory(f"a covariance of p={p}", 64.0 * p**2)
            eigenvalues, basis = np.linalg.eigh(shrunk_covariance(rows, free))
            eigenvalues = np.maximum(eigenvalues, 0.0)  # but for rounding
            slope, W = basis.T @ slope, self.W @ basis
        else:
            eigenvalues, W = np.full(p, float(np.square(rows).sum()) / (free * p)), self.W
        kappa = np.asarray(effective_ridge(eigenvalues, n, gamma).kappa)[:, None]
        pull = np.divide(kappa, eigenvalues + kappa, out=np.ones((len(gamma), p)), where=eigenvalues + kappa > 0.0)
        linear = np.einsum("qp,kdp,pd->qdk", pull**2, W, slope)
        return linear, np.einsum("qp,kdp,ldp->qdkl", pull**2 * eigenvalues, W, W, optimize=True)


def default_grid(X: FloatArray, *, fit_intercept: bool = True) -> FloatArray:
    """Return the penalties that are tried where none are given.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Training samples, in the units in which the penalty is meant.
    fit_intercept : bool, default True
        Whether the mean of each feature is taken off first.

    Returns
    -------
    ndarray, shape (13,)
        The mean square of the entries, which is the mean eigenvalue of ``XᵀX/n``, times 10⁻³ to 10³, two a decade; of
        features that are all 0, as if it were 1.

    Examples
    --------
    >>> default_grid(np.array([[1.0, 3.0], [3.0, -1.0]]))[[0, 6, 12]].tolist()
    [0.0025, 2.5, 2500.0]
    """
    mean_square = float(np.square(X - X.mean(axis=0) * fit_intercept).mean())
    return np.asarray((mean_square if mean_square > 0.0 else 1.0) * np.logspace(-3.0, 3.0, 13))


def _score(law: MarginLaw | RiskLaw, alpha: FloatArray | None) -> FloatArray:
    """Return the mean accuracy over the outputs, ½ where there is no prediction, or minus the sum of risks."""
    if isinstance(law, MarginLaw):
        return np.asarray(np.nan_to_num(law.accuracy(alpha), nan=0.5).mean(axis=-1))
    return np.asarray(-np.asarray(law.risk(alpha)).reshape(len(law), -1).sum(axis=-1))


def best_penalty(score: FloatArray, gamma: FloatArray) -> int:
    """Choose a penalty.

    Parameters
    ----------
    score, gamma : ndarray, shape (q,)
        What `Training.choose` returns, and the penalties.

    Returns
    -------
    int
        The place of the largest score, nan being none; of equal ones, that of the largest penalty.

    Examples
    --------
    >>> best_penalty(np.array([0.7, 0.9, 0.9]), np.array([1.0, 3.0, 2.0]))
    1
    """
    score = np.where(np.isnan(score), -np.inf, score)
    return int(np.lexsort((gamma, score))[-1])


def margins_between(scores: FloatArray, Y: FloatArray) -> FloatArray:
    """Return the score of each sample's own class minus that of every other one.

    Parameters
    ----------
    scores : ndarray, shape (..., d, n)
        Scores of d classes.
    Y : ndarray, shape (d, n)
        Labels, +1 for a sample's own class.

    Returns
    -------
    ndarray, shape (..., n(d−1))
        The margins.

    Examples
    --------
    >>> margins_between(np.array([[3.0, 1.0], [2.0, 1.5], [0.0, 4.0]]), np.array([[1, -1], [-1, -1], [-1, 1]]))
    array([3. , 1. , 2.5, 3. ])
    """
    own = Y > 0.0
    margins = (scores * own).sum(axis=-2, keepdims=True) - scores
    return np.asarray(margins[..., ~own])


def _accuracy_between(loo: LOOResult, alpha: FloatArray) -> FloatArray:
    """Return the accuracy, for Gaussian margins, with which left-out samples are told from another class."""
    predictions = np.einsum("qdnk,qdk->qdn", loo.predictions[..., 1:], alpha) + loo.predictions[..., 0]
    margins = margins_between(predictions, loo.y)
    mean, spread = margins.mean(axis=1), margins.std(axis=1)
    return np.asarray(ndtr(np.divide(mean, spread, out=np.zeros_like(mean), where=spread > 0.0)))


def _pooled(law: MarginLaw | RiskLaw) -> MarginLaw | RiskLaw:
    """Return the law for one α for all outputs: of the margins of all of them, or of the sum of the risks."""
    if isinstance(law, RiskLaw):
        return RiskLaw(law.constant.sum(axis=1), law.linear.sum(axis=1), law.quadratic.sum(axis=1))
    mean, second = law.mean.mean(axis=1), _second_moment(law).mean(axis=1)
    return MarginLaw(mean, second - mean[..., :, None] * mean[..., None, :])


def _second_moment(law: MarginLaw) -> FloatArray:
    return np.asarray(law.cov + law.mean[..., :, None] * law.mean[..., None, :])


def finite_alpha(law: MarginLaw | RiskLaw) -> FloatArray:
    """Return the best α of a law, finite as a classifier's weights have to be: see the module.

    Parameters
    ----------
    law : MarginLaw or RiskLaw
        One law or a batch of them, K sources.

    Returns
    -------
    ndarray, shape (..., K)
        Batch shape, with an axis for the sources also for one.

    Examples
    --------
    >>> finite_alpha(MarginLaw([-0.1, 0.5], [[1.0, 0.0], [0.0, 1.0]])).round(4)  # α* = inf
    array([89.8888])
    """
    direction = _best_direction(law)
    k = law.n_sources
    for index in np.argwhere(np.isnan(direction).any(axis=-1)):
        where = tuple(index)
        direction[where] = 0.0
        direction[(*where, 0)] = 1.0
        kept: list[int] = []
        for source in range(k if k > 1 else 0):
            part = _best_direction(_only(law[where] if where else law, [*kept, source]))
            if np.isfinite(part).all():
                kept.append(source)
                direction[where] = 0.0
                direction[(*where, [0, *(i + 1 for i in kept)])] = part
    first, alpha = direction[..., :1], direction[..., 1:]
    if isinstance(law, RiskLaw) or k == 0:
        return alpha
    second = _second_moment(law)
    scratch = np.sqrt(second[..., 0, 0])[..., None]
    source = np.sqrt(np.einsum("...k,...kl,...l->...", alpha, second[..., 1:, 1:], alpha))[..., None]
    limit = np.divide(_FAR * scratch, source, out=np.zeros_like(source), where=source > 0.0)
    return np.where(first == 1.0, np.minimum(1.0, np.where(source > 0.0, limit, 1.0)), limit) * alpha


def _best_direction(law: MarginLaw | RiskLaw) -> FloatArray:
    """Return (1, α*), or (0, u) where the source is better alone; nan where it is undefined."""
    if isinstance(law, MarginLaw):
        return law.best_direction() if law.n_sources else np.ones((*law.shape, 1))
    alpha = np.asarray(law.optimal_alpha()).reshape(*law.shape, law.n_sources)
    return np.concatenate([np.ones((*law.shape, 1)), alpha], axis=-1)


def _only(law: MarginLaw | RiskLaw, sources: list[int]) -> MarginLaw | RiskLaw:
    """Return a single law with some of its sources."""
    if isinstance(law, MarginLaw):
        kept = [0, *(k + 1 for k in sources)]
        return MarginLaw(law.mean[kept], law.cov[np.ix_(kept, kept)])
    return RiskLaw(law.constant, law.linear[sources], law.quadratic[np.ix_(sources, sources)])
