r"""A choice of α that few samples can bear: average over what the task may be, then ask for the best α.

Why. With 10 or 40 samples no estimate of the margin law is precise enough for its α* (leave-one-out's variance of α* is
larger than what α can gain), and nobody knows whether the source is related to the task. So a prior is needed, on the
task and not on α: what the best α is at a given γ then follows, and differs from γ to γ.

The models. What the samples' features can say of the responses is ``g = c f + h``, where ``f = Xw̃`` is the source's
prediction, c an unknown number and h a Gaussian function with the covariance ``K_b = X(XᵀX)ᵇXᵀ``: linear, with weights
of covariance ∝ I for b = 0, and ∝ XᵀX for b = 1, where the signal is in directions of large variance. Responses are
``y = g + noise``. Let ν be the noise's share of the variance of y, and u the source's share of the rest:

    y ~ N(0, τ² [(1−ν)(1−u) K_b/tr K_b + (1−ν) u f fᵀ/‖f‖² + ν I/m]),

m the number of samples, less one for an intercept: it takes the mean off y and off the columns of X, and I is then the
projector on what has none (restricted likelihood).

b is 0, ½ or 1; ν is uniform in (0, 1), on a grid that is finer near 0, where little noise is left; the source matters
with probability 1/4, and then it explains 1.5, 9 or 49 times as much as h (u = .6, .9, .98), and c is positive with
probability .95. τ² has the prior 1/τ². For each (b, ν, u) everything is closed: with C the matrix in brackets the
likelihood is ``|C|^(−1/2) (yᵀC⁻¹y)^(−m/2)``, and c, its sign not yet asked for, has a t distribution with m degrees of
freedom. One thing is approximated: for the probability of the sign, and the mean of c given it, the t distribution
is replaced by the Gaussian that has ``τ² = yᵀC⁻¹y/m``: probabilities change by less than .016 at m = 10 (.072 at
m = 2, .13 at m = 1), and the mean exists at m = 1 as well. The mean of h's weights is linear in c. Averaging over all
models gives the weights

    w̄ = E[c] w̃ + E[h's weights],

an estimate of the best linear predictor of the task, and the probability that the source matters.

Several sources: each alone, with probability 1/8 divided by their number, or all together, with 1/8, where the share
u is divided equally and signs are free. Several outputs have the model in common, not c and h: a source is related to
the task or it is not. Their likelihoods are multiplied, to the power r/d if the d outputs have rank r: classes told
apart one against the rest say the same thing d times in d − 1 ways.

The law. The fine-tuned classifier w_α = w₀ + α w₁ at the penalty γ is known; what is not known is the task. With the
second moment S of the features, shrunk towards a multiple of the identity (oracle approximating shrinkage: Chen,
Wiesel, Eldar and Hero 2010, IEEE Trans. Signal Process. 58), the model says of a fresh sample

    E[y wᵢᵀx] = wᵢᵀS w̄ = Mᵢ,        E[(wᵢᵀx)(wⱼᵀx)] = wᵢᵀS wⱼ = Vᵢⱼ + MᵢMⱼ

(with an intercept x is less its mean, and what the intercept adds to a margin is left out), a `MarginLaw` for labels
±1. Its optimal α is the choice: the one whose classifier, at this γ, is nearest w̄ in angle. For other responses the
angle does not count, the distance does; but α should not repair what the noise in these very samples did to w₀, with
tiny w₁ at small γ. Were w̄ right, w_α − w̄ would be ``D(αw̃ − w̄)``, D what ridge leaves of weights (w₁ = Dw̃), plus a
part from the noise that α does not change. So the `RiskLaw` is

    risk(α) = const + (w̄ − αw̃)ᵀDSD(w̄ − αw̃).

Where the numbers come from. The probabilities ¼ and .95, the values of b and u and the grid of ν were chosen on one
half of the tasks of `benchmarks/real_tasks.py`, which reports on the other; there is a plateau around them. Cost,
beside the decomposition of X: O(n d K²) for each of 21 models, 84 with one source.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr

from rmt_alpha._validation import FloatArray, lengths
from rmt_alpha.estimation.leave_one_out import check_squares
from rmt_alpha.laws import MarginLaw, RiskLaw
from rmt_alpha.ridge import RidgePath

_EDGES = np.array([0.0, 0.01, 0.06, 0.2, 0.4, 0.6, 0.8, 1.0])
_NOISE, _WIDTH = 0.5 * (_EDGES[1:] + _EDGES[:-1]), np.diff(_EDGES)
"""Values of ν, the middles of cells, and their prior probabilities, the cells' widths."""
_SHARE = np.array([0.6, 0.9, 0.98])
_POWERS = (0.0, 0.5, 1.0)
_RELATED, _POSITIVE = 0.25, 0.95
_EXPLAINED = 0.99
"""Largest share of the labels' variance that a margin law may claim: with all of it V would be singular."""


@dataclass(frozen=True, eq=False)
class Belief:
    """What the samples say of the task, averaged over the models.

    Parameters
    ----------
    weights : ndarray, shape (d, p)
        Posterior mean w̄ of the best linear predictor of each output.
    related : float
        Posterior probability that a source matters.
    source : ndarray, shape (d, K)
        Posterior mean of each source's coefficient c.
    """

    weights: FloatArray
    related: float
    source: FloatArray


def believe(path: RidgePath, Y: FloatArray, W: FloatArray) -> Belief:
    """Average over the models.

    Parameters
    ----------
    path : RidgePath
        The decomposed samples.
    Y : ndarray, shape (n, d)
        Responses, one output in each column.
    W : ndarray, shape (K, d, p)
        Source weights w̃.

    Returns
    -------
    Belief
        The averages.

    Raises
    ------
    ValueError
        If they exceed float64.

    Notes
    -----
    A response counts as constant, or a source as silent on the samples, where only rounding says otherwise.
    """
    rounding = max(path.n, path.p) * np.finfo(np.float64).eps
    unit_y, unit_w = (np.abs(array).max(axis=-1, initial=0.0) for array in (Y.T, W))
    Y = Y / np.where(unit_y > 0.0, unit_y, 1.0)
    W = W / np.where(unit_w > 0.0, unit_w, 1.0)[..., None]
    s = path.s / path.s[:1]
    size_y, size_w = np.linalg.norm(Y, axis=0), np.linalg.norm(W, axis=-1).T
    if path.fit_intercept:
        Y = Y - Y.mean(axis=0)
    F = s[:, None, None] * np.moveaxis(W @ path.Vt.T, -1, 0).swapaxes(1, 2)  # the sources' predictions, in the basis U
    least_y, least_f = rounding * size_y, rounding * size_w
    size_y, size_f = np.linalg.norm(Y, axis=0), np.linalg.norm(F, axis=0)
    size_f = np.where(size_f > least_f, size_f, 0.0)
    varies, speaks = size_y > least_y, (size_f > 0.0).any(axis=0)
    source, weights = np.zeros(size_f.shape), np.zeros((len(size_y), path.p))
    if not varies.any() or not len(s):
        return Belief(weights, _RELATED * bool(speaks.any()), source)
    Y, F = Y[:, varies] / size_y[varies], F[:, varies][:, :, speaks]
    unit = size_f[np.ix_(varies, speaks)]
    F = np.divide(F, unit, out=np.zeros_like(F), where=unit > 0.0)

    inside = path.U.T @ Y
    outside = np.zeros(Y.shape[1]) if path.saturated else np.maximum(1.0 - np.square(inside).sum(axis=0), 0.0)
    free = path.n - path.fit_intercept
    tried = [(power, *chosen) for power in _POWERS for chosen in _sets(F.shape[2])]
    models = [_models(s, free, power, members, inside, outside, F) for power, members, _ in tried]
    prior = np.concatenate([m.cell * probability for m, (_, _, probability) in zip(models, tried, strict=True)])
    matters = np.concatenate(
        [np.full(len(m.cell), bool(members)) for m, (_, members, _) in zip(models, tried, strict=True)]
    )
    independent = np.linalg.matrix_rank(Y) / Y.shape[1]
    log = independent * np.concatenate([model.evidence for model in models]) + np.log(prior)
    chance = np.exp(log - log.max())
    chance /= chance.sum()
    c = np.concatenate([model.c for model in models])
    shape = np.concatenate([model.shape for model in models])
    drawn = np.tensordot(shape.T * chance, c, axes=1)  # (r, d, K)
    rest = (chance @ shape)[:, None] * inside - (F * drawn).sum(axis=2)
    source[np.ix_(varies, speaks)] = size_y[varies, None] * np.divide(
        np.tensordot(chance, c, axes=1), unit, out=np.zeros_like(unit), where=unit > 0.0
    )
    weights[varies] = size_y[varies, None] * (rest.T @ path.Vt)
    weights += np.einsum("dk,kdp->dp", source, W)
    with np.errstate(over="ignore"):
        weights = weights / path.s[0] * unit_y[:, None]
        source = source / path.s[0] * (unit_y[:, None] / np.where(unit_w > 0.0, unit_w, 1.0).T)
    if not (np.isfinite(weights).all() and np.isfinite(source).all()):
        raise ValueError("X, y or source_coef must be in other units: the weights that fit them exceed float64")
    return Belief(weights, float(chance[matters].sum()), source)


class _Models(NamedTuple):
    """Models that differ in ν and u only, m of them."""

    cell: FloatArray
    """Prior probability of (ν, u), shape (m,)."""
    evidence: FloatArray
    """Logarithm of the likelihood, summed over the outputs, shape (m,)."""
    c: FloatArray
    """Posterior mean of the sources' coefficients, shape (m, d, K)."""
    shape: FloatArray
    """What the weights of h are in the basis V, per response left by the sources in the basis U, shape (m, r)."""


def _sets(k: int) -> list[tuple[list[int], float]]:
    """Return the sets of sources that may matter, with their probabilities."""
    if k == 0:
        return [([], 1.0)]
    alone = _RELATED if k == 1 else 0.5 * _RELATED
    sets = [([], 1.0 - _RELATED), *(([source], alone / k) for source in range(k))]
    return sets if k == 1 else [*sets, (list(range(k)), 0.5 * _RELATED)]


def _models(
    s: FloatArray, free: int, power: float, members: list[int], Y: FloatArray, outside: FloatArray, F: FloatArray
) -> _Models:
    """Compare responses with the models of one b and one set of sources.

    The responses and predictions are of unit length, in the basis of the singular vectors: Y (r, d) and what of its
    squares is outside the basis (d,), F (r, d, K). The singular values s are relative to the largest; `free` is the
    number of samples less that of intercepts.
    """
    kernel = s ** (2.0 + 2.0 * power)
    total = kernel.sum()
    noise, share = (grid.ravel() for grid in np.meshgrid(_NOISE, _SHARE if members else [0.0], indexing="ij"))
    cell = np.repeat(_WIDTH, len(noise) // len(_NOISE)) / (len(noise) // len(_NOISE))
    penalty = noise / ((1.0 - noise) * (1.0 - share)) * total / free
    inverse = 1.0 / (kernel + penalty[:, None])
    determinant = (free - len(s)) * np.log(penalty) - np.log(inverse).sum(axis=1)

    f = F[:, :, members]
    g = (share / (1.0 - share) * total / max(len(members), 1))[:, None, None]
    yy = inverse @ np.square(Y) + outside / penalty[:, None]
    fy = np.tensordot(inverse, f * Y[:, :, None], axes=1)
    ff = np.tensordot(inverse, f[:, :, :, None] * f[:, :, None, :], axes=1)
    inner = np.eye(len(members)) + g[..., None] * ff
    mean = g * np.linalg.solve(inner, fy[..., None])[..., 0]
    left = yy - (fy * mean).sum(axis=2)
    evidence = -0.5 * (determinant[:, None] + np.linalg.slogdet(inner)[1] + free * np.log(left))
    if len(members) == 1:
        sd = np.sqrt(left[..., None] / free * g / inner[..., 0])
        logs, means = zip(
            *(
                (np.log(2.0 * probability) + log_ndtr(sign * mean / sd), _half(mean, sd, sign))
                for sign, probability in ((1.0, _POSITIVE), (-1.0, 1.0 - _POSITIVE))
            ),
            strict=True,
        )
        both = np.logaddexp(*logs)
        evidence += both[..., 0]
        mean = sum(np.exp(log - both) * half for log, half in zip(logs, means, strict=True))
    c = np.zeros((len(noise), *F.shape[1:]))
    c[:, :, members] = mean
    return _Models(cell, evidence.sum(axis=1), c, inverse * s ** (1.0 + 2.0 * power))


def _half(mean: FloatArray, sd: FloatArray, sign: float) -> FloatArray:
    """Mean of a Gaussian variable of which the sign is known."""
    z = sign * mean / sd
    density = np.exp(-0.5 * z * z - 0.5 * np.log(2.0 * np.pi) - log_ndtr(z))
    return np.asarray(sign * sd * np.maximum(z + density, 0.0))


def _second_moments(path: RidgePath, parts: FloatArray) -> FloatArray:
    """Return ``vᵢᵀS vⱼ`` of weights in the last axis but one of `parts`."""
    free = path.n - path.fit_intercept
    root = path.s / free**0.5
    intensity = _shrinkage(root, path.p, free)
    length = float(lengths(root)) if len(root) else 0.0
    with np.errstate(over="ignore"):  # looked for in the results
        seen = (1.0 - intensity) ** 0.5 * root * (parts @ path.Vt.T)
        unseen = intensity**0.5 * length / path.p**0.5 * parts
        images = np.concatenate([seen, unseen], axis=-1)
    check_squares(np.swapaxes(images, -1, -2))
    return np.asarray(images @ np.swapaxes(images, -1, -2))


def _shrinkage(root: FloatArray, p: int, n: int) -> float:
    """Intensity of the oracle approximating shrinkage, from the nonzero singular values behind a covariance."""
    spectrum = np.square(root / root[:1])
    trace, square = float(spectrum.sum()), float(np.square(spectrum).sum())
    spread = square - trace**2 / p
    if spread <= p * np.finfo(np.float64).eps * square:  # a multiple of the identity as it is
        return 1.0
    return min(1.0, ((1.0 - 2.0 / p) * square + trace**2) / ((n + 1.0 - 2.0 / p) * spread))


def robust_margin_law(path: RidgePath, Y: FloatArray, W: FloatArray, belief: Belief, gamma: FloatArray) -> MarginLaw:
    """Law of the margin by the model, for labels ±1.

    Parameters
    ----------
    path, Y, W
        As in `believe`.
    belief : Belief
        What it found.
    gamma : ndarray, shape (q,)
        Penalties.

    Returns
    -------
    MarginLaw
        Of batch shape (q, d).

    Raises
    ------
    ValueError
        If float64 does not hold the squares of what the classifiers say.
    """
    w0 = path.ridge(Y, gamma)[:, :, None]
    mean = np.broadcast_to(belief.weights[:, None], w0.shape)
    w1 = np.swapaxes(path.deviation(W, gamma), 1, 2)
    S = _second_moments(path, np.concatenate([w0, w1, mean], axis=2))
    explained, M, second = S[..., -1, -1], S[..., :-1, -1], S[..., :-1, :-1]
    M = M * np.sqrt(_EXPLAINED / np.maximum(explained, _EXPLAINED))[..., None]
    return MarginLaw(M, second - M[..., :, None] * M[..., None, :])


def robust_risk_law(path: RidgePath, Y: FloatArray, W: FloatArray, belief: Belief, gamma: FloatArray) -> RiskLaw:
    """Squared risk by the model, for any responses.

    Parameters
    ----------
    path, Y, W
        As in `believe`.
    belief : Belief
        What it found.
    gamma : ndarray, shape (q,)
        Penalties.

    Returns
    -------
    RiskLaw
        Of batch shape (q, d).
    """
    Y = Y - Y.mean(axis=0) if path.fit_intercept else Y
    check_squares(Y)
    kept = np.swapaxes(path.deviation(np.concatenate([W, belief.weights[None]]), gamma), 1, 2)
    mean = np.broadcast_to(belief.weights[:, None], kept[:, :, -1:].shape)
    noise = path.ridge(Y, gamma)[:, :, None] + kept[:, :, -1:] - mean
    S = _second_moments(path, np.concatenate([kept, noise, mean], axis=2))
    left = np.maximum(np.square(Y).mean(axis=0) - S[..., -1, -1], 0.0)
    constant = left + S[..., -2, -2] + S[..., -3, -3]
    return RiskLaw(constant, S[..., :-3, -3], S[..., :-3, :-3])
