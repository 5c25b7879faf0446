r"""What to choose in a transfer problem of any covariance: α and γ together, and whether to transfer at all.

The questions of `rmt_alpha.theory.choice`, answered from the deterministic equivalents (THEORY §3), where nothing is a
closed form in γ or n, but one eigendecomposition serves any number of them.

**α and γ together.** For each γ the best α, and its SNR ``√(MᵀV⁻¹M)``, are the margin law's. The best γ is sought as
there: the three highest local maxima of a logarithmic grid, eight points a decade, are refined, and compared with γ = 0
and γ = ∞. The grid covers with eight decades on either side the scales on which the law varies: the eigenvalues of Σ,
``tr Σ/n``, and the ridges at which source and data weigh the same, in mean or in spread.

**From scratch.** With G = (Σ+κI)⁻¹, ``a = μᵀGμ``, ``s = μᵀGΣGμ``, ``τ = (1−t²)/t²`` and ``B = 1 + τ(1+a)²``,

    SNR² = h a²/(s + (1−h)B),        n = κ df₁(κ)/z,    1−h = z df₂/(κ df₁),    z = κ − γ,

which is smooth in z on the scales of the eigenvalues and of γ, also where it has narrow dips in n (double descent). Its
limit for n → ∞ is ``F(γ)``, ``F(κ) = a²/s``. A transfer of SNR² = q, which D = F(γ) − q is missing, is reached where

    h a² ≥ q [s + (1−h)B],        or        s(D − E) ≥ (1−h)(a² + qB),    E = F(γ) − F(κ),

whichever has the smaller terms: the first keeps its digits near a coin, the second near the limit. E is a sum over
deviations of the eigenvalues from a mean one, and D = [missing from scratch at this n] − [what the sources add], each
without a difference of SNRs: so n′ is exact for any n unless those two are the same up to rounding (a relative 1e-7:
then it is nan, and so it is where squares leave the range of float64). The last crossing is the
smallest z. It is sought on a grid of sixteen points a decade, from where the inequality holds for certain to where it
cannot, and then ever closer, the dips between its points included.

Without penalty κ = 0 from n = rank Σ on. Unless μ has a part in the null space of Σ accuracy grows there from ½, so
the last crossing lies there: ``n′ = rank Σ · (F² + qB)/(FD)``, F = μᵀΣ⁻¹μ. If μ has one, only flipped labels leave
errors: ``n′ = rank Σ · (1 + qτ)`` with them; without them training from scratch makes no error from n = rank Σ on,
and n′ is sought below.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from rmt_alpha._validation import FloatArray, lengths
from rmt_alpha.laws import MarginLaw, Result
from rmt_alpha.problem import FixedSource, GaussianMixture
from rmt_alpha.theory.choice import JointChoice, maximum
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge

_MARGIN = 1e8
"""How far the grid of γ reaches beyond the smallest and the largest scale."""

_TIE = 1e-12
"""γ or c at an end of its range wins unless the inside is better by more than this, relative in SNR."""

_COLLINEAR = 1e-6
"""Sources at a smaller angle to those before them count as their combinations."""

_LOST = 1e9 * np.finfo(np.float64).eps
"""A difference smaller than this in units of its terms has too few digits left."""

_PER_DECADE, _POINTS, _ZOOMS = 16, 17, 14
"""Points of the grid of z in a decade; points in each refinement of a crossing; how often that shrinks, by 16."""

_BLOCK = 2**18
"""Numbers in a block of the grid of z."""


# α and γ together.


def joint_choice(equivalent: Equivalent, n: float, gamma: float) -> JointChoice:
    """Find the best α and γ together, and what each of them alone would bring.

    Parameters
    ----------
    equivalent : Equivalent
        Target and sources, at least one.
    n : float
        Number of target samples, positive.
    gamma : float
        Ridge penalty from which gains are counted.

    Returns
    -------
    JointChoice
        ``α = 1`` stands for every source kept whole. α and c are vectors for several sources; a source that is zero or,
        to 1e-6, a combination of those before it, is not needed: its α is 0. If γ = inf is best, α is 0 and c says how
        the sources weigh beside the data, unless they are best used alone: then c is infinite, and α, of largest entry
        ±1, says how they are combined. A γ below every scale of the problem stands for γ → 0 where that is better than
        γ = 0, at which a source can be forgotten. nan where the law is, where V is singular up to rounding, and for α
        where none matters.

    Raises
    ------
    ValueError
        If there is no source or an argument is outside its range.

    Examples
    --------
    >>> target = GaussianMixture([1.0, 0.5, 0.0, 0.2], covariance=[1.0, 2.0, 0.5, 0.1])
    >>> print(joint_choice(Equivalent(target, [FixedSource([1.0, 0.0, 0.0, 0.5])]), n=5, gamma=0.1))
                       γ       α  accuracy     gain
    as given         0.1       1    0.8011  +0.0000
    best α           0.1   3.069    0.8193  +0.0182
    best γ          8.85       1    0.8618  +0.0607
    both           16.62  0.2727    0.8644  +0.0633
    """
    K = len(equivalent.sources)
    if K == 0:
        raise ValueError("sources must have at least one entry: without a source there is no α to choose")
    needed = _needed(equivalent)
    reduced = _only(equivalent, needed)
    whole: Any = np.ones(K) if K > 1 else 1.0
    given, limit, reduced_limit = equivalent.law(n, gamma), equivalent.limit_law(n), reduced.limit_law(n)
    low, high = _range(equivalent.target.eigenvalues, n, limit)

    def each(numbers: Any) -> Result:
        """Give the sources that are not needed their zeros."""
        full = np.zeros(K) if needed else np.full(K, np.nan)
        full[needed] = numbers
        return full if K > 1 else float(full[0])

    def best(gammas: FloatArray) -> FloatArray:
        return _best_snr(reduced.law(n, gammas))

    def at_one(gammas: FloatArray) -> FloatArray:
        return _snr(equivalent.law(n, gammas), np.ones(K + 1))

    alone = np.ones(K + 1)
    alone[0] = 0.0 if needed else 1.0  # without any source γ = ∞ is ridge from scratch as well
    gamma_best = _best_gamma(best, low, high, float(_best_snr(reduced_limit)))
    gamma_one = _best_gamma(at_one, low, high, float(_snr(limit, alone)))
    alpha: Any
    if np.isinf(gamma_best):
        alpha, c = _at_infinity(reduced_limit)
        accuracy = _best_accuracy(reduced_limit)
    elif np.isnan(gamma_best):
        alpha, c, accuracy = np.nan, np.nan, np.nan
    else:
        law = reduced.law(n, gamma_best)
        alpha, accuracy = law.optimal_alpha() if needed else np.nan, _best_accuracy(law)
        c = alpha * effective_ridge(equivalent.target.eigenvalues, n, gamma_best).kappa
    single = equivalent.law(n, gamma_one).accuracy(whole) if np.isfinite(gamma_one) else _phi(_snr(limit, alone))
    reduced_given = reduced.law(n, gamma)
    return JointChoice(
        alpha=each(alpha),
        gamma=gamma_best,
        c=each(c),
        accuracy=accuracy,
        gamma_at_one=gamma_one,
        accuracy_at_one=single,
        gamma_given=float(gamma),
        accuracy_given=given.accuracy(whole),
        alpha_given=each(reduced_given.optimal_alpha() if needed else np.nan),
        accuracy_alpha_given=_best_accuracy(reduced_given),
    )


def limit_accuracy(equivalent: Equivalent, n: float) -> float:
    """Accuracy at the best α as γ → ∞.

    Parameters
    ----------
    equivalent : Equivalent
        Target and sources.
    n : float
        Number of target samples, positive.

    Returns
    -------
    float
        Of `Equivalent.limit_law`, with the sources that are needed; nan as in `joint_choice`.
    """
    return _best_accuracy(_only(equivalent, _needed(equivalent)).limit_law(n))


def _needed(equivalent: Equivalent) -> list[int]:
    """Return the sources that are not combinations of those before them; what was trained never is."""
    needed, basis = [], np.zeros((0, equivalent.target.p))
    for k, source in enumerate(equivalent.sources):
        if isinstance(source, FixedSource):
            length = lengths(source.weights)
            if length == 0.0:
                continue
            rest = source.weights / length
            rest = rest - (basis @ rest) @ basis
            if np.linalg.norm(rest) < _COLLINEAR:
                continue
            basis = np.vstack([basis, rest / np.linalg.norm(rest)])
        needed.append(k)
    return needed


def _only(equivalent: Equivalent, needed: list[int]) -> Equivalent:
    if len(needed) == len(equivalent.sources):
        return equivalent
    return Equivalent(equivalent.target, tuple(equivalent.sources[k] for k in needed))


def _at_infinity(limit: MarginLaw) -> tuple[Any, Any]:
    """Return α and c at γ = ∞."""
    if limit.n_sources == 0:
        return np.nan, np.nan
    mean, cov = limit.mean.copy(), limit.cov.copy()
    mean[0], cov[0], cov[:, 0], cov[0, 0] = 0.0, 0.0, 0.0, 1.0  # data that know nothing
    alone = _best_direction(MarginLaw._trusted(mean, cov))
    if alone[1:].any() and _as_good(float(_snr(limit, alone)), float(_best_snr(limit))):
        alpha = alone[1:] / np.abs(alone[1:]).max()
        return alpha, np.where(alpha == 0.0, 0.0, np.copysign(np.inf, alpha))
    c = np.asarray(limit.optimal_alpha())
    return np.where(np.isnan(c), np.nan, 0.0), c


def _range(values: FloatArray, n: float, limit: MarginLaw) -> tuple[float, float]:
    """Return bounds for γ beyond which the law has nothing new."""
    with np.errstate(all="ignore"):
        spread = np.sqrt(np.diagonal(limit.cov))
        ridges = [np.abs(limit.mean[0] / limit.mean[1:]), spread[0] / spread[1:]]
    scales = np.concatenate([values, [values.sum() / n], *ridges])
    scales = scales[(scales > 0.0) & np.isfinite(scales)]
    low, high = np.min(scales, initial=1.0), np.max(scales, initial=1.0)
    return max(low / _MARGIN, 1e-59), min(high * _MARGIN, 1e59)


def _best_gamma(function: Any, low: float, high: float, at_infinity: float) -> float:
    """Return the γ in [0, ∞] at which a function is largest."""
    if at_infinity == np.inf:
        return np.inf
    inside = float(maximum(lambda x: function(x[0])[None], np.array([low]), np.array([high]))[0])
    at_zero, height = (float(function(np.array([x]))[0]) for x in (0.0, inside))
    if np.isnan(height):
        return np.nan
    best = inside
    if _as_good(at_zero, height):
        best, height = 0.0, max(height, at_zero)
    return np.inf if _as_good(at_infinity, height) else best


def _as_good(end: float, height: float) -> bool:
    return end >= (height - _TIE * abs(height) if np.isfinite(height) else height)


def _snr(law: MarginLaw, direction: FloatArray) -> FloatArray:
    """Return mean over standard deviation along (1, α), or any multiple of it."""
    with np.errstate(all="ignore"):
        mean = np.einsum("...k,...k->...", law.mean, direction)
        finite = np.where(np.isinf(law.cov), 0.0, law.cov)  # an infinite V₀₀ has no other entries beside it
        variance = np.maximum(np.einsum("...j,...jk,...k->...", direction, finite, direction), 0.0)
        return np.asarray(np.where(np.isinf(law.cov[..., 0, 0]), 0.0, mean / np.sqrt(variance)))


def _best_direction(law: MarginLaw) -> FloatArray:
    """Return the best (1, α), or (0, α); where V is singular, a part without noise, or the data if no α matters."""
    direction = law.best_direction()
    clean = (np.einsum("...jj->...j", law.cov) == 0.0) & (law.mean != 0.0)
    part = np.argmax(clean, axis=-1)[..., None]
    other = np.eye(law.n_sources + 1)[part[..., 0]] * np.where(np.take_along_axis(law.mean, part, -1) < 0.0, -1.0, 1.0)
    forgotten = (law.mean[..., 1:] == 0.0).all(axis=-1) & (law.cov[..., 1:, 1:] == 0.0).all(axis=(-2, -1))
    known = (clean.any(axis=-1) | forgotten | (law.mean == 0.0).all(axis=-1))[..., None]
    return np.where(np.isnan(direction) & known, other, direction)


def _best_snr(law: MarginLaw) -> FloatArray:
    """Return the SNR at α*, or what stands for it where the law has forgotten its sources."""
    return _snr(law, _best_direction(law))


def _best_accuracy(law: MarginLaw) -> float:
    """Return the accuracy at α*; 1 where a part of the margin has no noise."""
    accuracy = float(law.best_accuracy())
    return _phi(_best_snr(law)) if np.isnan(accuracy) else accuracy


def _phi(snr: FloatArray) -> float:
    return float(special.ndtr(snr))


# The number of samples from which on training from scratch is as good.


def sample_gain(equivalent: Equivalent, n: float, gamma: float, alpha: ArrayLike | None = None) -> float:
    """Target samples n′ from which on training from scratch is as good as the transfer with n.

    Parameters
    ----------
    equivalent : Equivalent
        Target and sources.
    n : float
        Number of target samples, positive.
    gamma : float
        Ridge penalty γ ≥ 0, with the sources and from scratch.
    alpha : array_like, optional
        Scale of each source, shape () for one and (K,) for several. Left out, the best, α*.

    Returns
    -------
    float
        The smallest n′ ≥ 0 such that training from scratch is at least as accurate with every number of samples from n′
        on; inf if there is none, which is possible where Σ is not a multiple of I and γ > 0, or where the transfer
        makes no error. 0 where the transfer is no better than a coin. nan as in `joint_choice`, and where the transfer
        is so close to what training from scratch tends to that the difference is lost in rounding (not for α = 0),
        or squares leave the range of float64.
        As in `rmt_alpha.effective_sample_gain`, compare with α = 0 to tell what the sources are worth.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> target = GaussianMixture([1.0, 0.5, 0.0, 0.2], covariance=[1.0, 2.0, 0.5, 0.1])
    >>> equivalent = Equivalent(target, [FixedSource([1.0, 0.0, 0.0, 0.5])])
    >>> [round(sample_gain(equivalent, n=5, gamma=0.1, alpha=a), 2) for a in (0.0, 1.0)]
    [5.0, 7.32]
    """
    if alpha is None:
        law = _only(equivalent, _needed(equivalent)).law(n, gamma)
        direction = _best_direction(law)
    else:
        law = equivalent.law(n, gamma)
        scales = law.checked_alpha(alpha, infinite=False)
        if scales.size != len(equivalent.sources):
            raise ValueError(f"alpha must have one entry per source here, got shape {scales.shape}")
        direction = np.concatenate([[1.0], scales.ravel()])
        direction /= np.abs(direction).max()
    scratch = _Scratch(equivalent.target, gamma)
    level = float(_snr(law, direction))
    if np.isnan(level):
        return np.nan
    if level <= 0.0 or scratch.rank == 0:  # without noise any number of samples does
        return 0.0
    if np.isinf(level):
        return float(scratch.rank) if gamma == 0.0 and scratch.exact else np.inf
    with np.errstate(all="ignore"):
        q = level * level
        added, size = _added(law, direction)
        missing = scratch.missing(n) - added if np.isfinite(scratch.limit) else np.inf
        if not abs(missing) > _LOST * size:
            return np.nan
        if missing < 0.0:
            return np.inf
        samples = scratch.samples(q, missing)
    return samples if np.isfinite(samples) else np.nan


def _added(law: MarginLaw, direction: FloatArray) -> tuple[float, float]:
    """Return what the sources add to SNR², and the size of the terms of that difference."""
    first, rest = direction[0], direction[1:]
    m0, v00, m1 = law.mean[0], law.cov[0, 0], law.mean[1:] @ rest
    v01, v11 = law.cov[0, 1:] @ rest, rest @ law.cov[1:, 1:] @ rest
    terms = np.array([2.0 * first * m0 * m1, m1 * m1, -2.0 * first * m0 * m0 * (v01 / v00), -m0 * m0 * (v11 / v00)])
    terms /= first * first * v00 + 2.0 * first * v01 + v11
    return float(terms.sum()), float(np.abs(terms).sum())


class _Scratch:
    """Training from scratch with penalty γ, as a function of z = κ − γ; see the module for the notation."""

    def __init__(self, target: GaussianMixture, gamma: float) -> None:
        noise, power = target.label_noise, np.square(target.coordinates(target.mean))
        self.eigenvalues, self.gamma = target.eigenvalues, gamma
        self.tau = 4.0 * noise * (1.0 - noise) / (1.0 - 2.0 * noise) ** 2
        seen = (target.eigenvalues > 0.0) | (power > 0.0)
        self.values, self.power = target.eigenvalues[seen], power[seen]
        self.rank = int(np.count_nonzero(self.values))
        self.null = float(self.power[self.values == 0.0].sum())
        self.exact = self.null > 0.0 and self.tau == 0.0
        with np.errstate(all="ignore"):
            self.a = float((self.power / (self.values + gamma)).sum())
            self.square = self.power / np.square(self.values + gamma)  # of the entries of Gμ at κ = γ
            self.s = float(self.values @ self.square) if gamma or not self.null else 0.0
            self.limit = self.a * self.a / self.s if self.s > 0.0 else np.inf

    def numbers(self, z: FloatArray) -> tuple[FloatArray, ...]:
        """Return h, 1−h, a, s, B, E and n."""
        kappa = self.gamma + z
        G = 1.0 / (self.values + kappa[:, None])
        r = self.values * G
        df1, df2 = r.sum(axis=1), np.square(r).sum(axis=1)
        h = (self.gamma + z * kappa * ((r * G).sum(axis=1) / df1)) / kappa
        a, s = G @ self.power, (r * G) @ self.power
        weights = self.values * self.square
        heavy = G @ weights
        middle = r @ weights / heavy  # a mean eigenvalue
        off = G * (heavy / self.s)[:, None] * (middle[:, None] - self.values)  # G less its mean
        kept = ((self.values + self.gamma) * G) @ weights  # s(γ) × [what w̄(κ) keeps of w̄(γ)]
        turn = self.gamma * (off @ self.square)
        fall = z * self.a**2 * (np.square(off) @ weights) + (2.0 * self.a * kept - self.s * z * turn) * turn
        n = kappa * df1 / z
        return h, df2 / n, a, s, self.flips(a), z * fall / (self.s * s), n

    def flips(self, a: Any) -> Any:
        return 1.0 + self.tau * np.square(1.0 + a)

    def missing(self, n: float) -> float:
        """Return F(γ) − SNR² with n samples."""
        ridge = effective_ridge(self.eigenvalues, n, self.gamma)
        if ridge.kappa == 0.0:
            off, a, s, E = self.rank / n, self.a, self.s, 0.0
        else:
            _, off, a, s, _, E, _ = (x[0] for x in self.numbers(np.array([ridge.kappa * ridge.df1 / n])))
        B = self.flips(a)
        return float(E + a * a * off * (s + B) / (s * (s + off * B)))

    def samples(self, q: float, missing: float) -> float:
        """Return the n from which on SNR² is at least q = F(γ) − D, 0 < D = `missing`."""
        if self.gamma == 0.0 and not self.exact:
            if self.null:
                return self.rank * (1.0 + q * self.tau)
            return float(self.rank * ((self.limit + q * (self.flips(self.limit) / self.limit)) / missing))

        def excess(z: FloatArray) -> FloatArray:
            blocks = np.array_split(z, z.size * self.values.size // _BLOCK + 1)
            return np.concatenate([self._excess(block, q, missing) for block in blocks])

        start, stop = self._ends(q, missing)
        if not 0.0 < start < stop < np.inf:
            return np.nan
        z = np.geomspace(start, stop, int(_PER_DECADE * np.log10(stop / start)) + 2)
        z = np.sort(np.concatenate([z, _dips(excess, z)]))
        if excess(z[:1]) < 0.0 or not excess(z[-1:]) < 0.0:  # squares that overflow
            return np.nan
        for _ in range(_ZOOMS):
            i = max(int(np.argmax(excess(z) < 0.0)), 1)
            z = np.linspace(z[i - 1], z[i], _POINTS)
        return float(self.numbers(z[:1])[-1][0])

    def _excess(self, z: FloatArray, q: float, missing: float) -> FloatArray:
        """Return the difference of the two sides of the inequality, in units of what they are near a coin."""
        h, off, a, s, B, E, _ = self.numbers(z)
        reached, wanted = h * a * a, q * (s + off * B)
        left, right = s * (missing - E), off * (a * a + q * B)
        near_limit = s * (missing + E) + right < reached + wanted
        return np.asarray(np.where(near_limit, left - right, reached - wanted) / (reached + wanted))

    def _ends(self, q: float, missing: float) -> tuple[float, float]:
        """Return bounds of the smallest z at which SNR² = q."""
        largest, total = self.values.max(), self.values.sum()
        stop = max(
            self.gamma, largest, 8.0 * self.power.sum() * (self.power.sum() / q) * total / (self.values @ self.values)
        )
        z = 1e-3 * (self.gamma or self.values[self.values > 0.0].min())  # up to which 1−h and E, or else h, are linear
        h, off, a, s, B, E, _ = (x[0] for x in self.numbers(np.array([z])))
        if self.gamma == 0.0:
            room = h * (self.null / z) ** 2 / (q * (s + 1.0))
        elif np.isinf(missing):
            room = h * a * a / (q * off * B)
        else:
            room = s * missing / (s * E + off * (a * a + q * B))
        return 1e-2 * z * min(1.0, room), 2.0 * stop


def _dips(function: Callable[[FloatArray], FloatArray], z: FloatArray) -> FloatArray:
    """Return the local minima of a function that is positive at the points around them: it may not be between."""
    values, u = function(z), np.log(z)
    lowest = np.flatnonzero((values[1:-1] < values[:-2]) & (values[1:-1] <= values[2:]) & (values[1:-1] >= 0.0)) + 1
    found = [
        optimize.minimize_scalar(
            lambda x: float(function(np.exp([x]))[0]),
            bounds=(u[j - 1], u[j + 1]),
            method="bounded",
            options={"xatol": 1e-8},
        ).x
        for j in lowest
    ]
    return np.exp(np.array(found))
