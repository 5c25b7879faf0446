r"""Fluctuations of the isotropic model at finite n and p: a central limit theorem for the numbers of the margin law.

Statement. Let n, p and the N_k go to infinity, their ratios having positive limits, while h and h_k stay away from 0
(γ > 0, or γ = 0 and p/n does not tend to 1). Let ν be the numbers of a draw's margin law (M, V), and ν̄ those of the
closed form at these n, p, N_k. Then ``√n (ν − ν̄)`` is asymptotically Gaussian, and the mean of ν is
``ν̄ + b/n + o(1/n)``. Covariance and b are those of a smooth function, written below, of a few Gaussian variables.

**The chain** (`rmt_alpha.elimination`). A draw of the target sits at the corner of a banded matrix, and the elimination
of its rows from the last to the first is a Markov chain on (C, E): symmetric matrices of size d = k+q, C a Schur
complement and ``E = dC/dγ``. Near the corner its column tends to ``(1, 0, …, 0, √η)``, first entry on top, with
independent fluctuations of variance ``(½, 1, …, 1, ½)/n``. With the effective ridge κ, ``k₁ = 1+κ``, ``ρ = γ/κ``,
``h = 1 − θ``, ``θ = η/k₁²``, ``φ = √θ``, the map has the fixed point and the Jacobian

    C* = ρk₁ I,    E* = I/h,
    δC'₀₀ = θ δC_dd + 2ρ δc₀ − 2ρφ δc_d,
    δE'₀₀ = θ δE_dd − 2θ/(k₁h) δC_dd + 2θ/h δc₀ + 2φ(1 − 2k₁θ)/(k₁h) δc_d,
    δC'ᵢ₀ = −φ δC_dᵢ + ρ δcᵢ,
    δE'ᵢ₀ = −φ δE_dᵢ + φ/(k₁h) δC_dᵢ + θ/h δcᵢ,              (·)'ᵢⱼ = (·)ᵢ₋₁ⱼ₋₁   for i, j > 0,

in which the index d stands for the last row of the old state, and of it i for the entry i−1 (i = 1 … d−1). So every
entry comes back after d steps, multiplied by θ: the spectral radius is ``θ^{1/d} = (1−h)^{1/d}``. The discrete Lyapunov
equation ``P = JPJᵀ + BNBᵀ`` has a solution in closed form: all pairs (Cᵢⱼ, Eᵢⱼ) are independent, and

    n Cov (C_ij/C*, E_ij) = (1 + δ_ij) [ 1/(k₁²h)       θκ/(k₁²h³)             ]
                                      [ θκ/(k₁²h³)      θ(ρ² + θκ²)/(k₁²h⁵)    ]:

the corner is a pair of correlated GOE matrices. Its mean, after the columns from number q on, is off by ``I/n`` times

    ξ = (k − qκ + θκ/h)/(k₁²h)  for C/C*,          ε = (ρk₁ξ)' for E, the derivative being d/dγ = (1/h) d/dκ.

**The corner.** Rotate the samples so that the true labels are ``√n f₁`` and the observed ones ``√n (t̂f₁ + τ̂f₂)``,
``t̂ = 1 − 2ε̂``, ``t̂² + τ̂² = 1``. With μ the target's mean, along the first of the k fixed directions, columns 0 and 1
of the data are ``c⁰ = (μ + N/√n, χ_{p−k}/√n, 0)`` and ``c¹ = (N/√n, N/√n, χ_{p−k−1}/√n)``. They enter the linear matrix

    L = [ C/C*   U      ]        U = (c⁰, c¹),
        [ Uᵀ    −ρk₁ I₂ ]

whose entries are independent. With the right-hand sides ``R = (e_{c⁰}, e_{c¹}, (κ/k₁)W)``, W the source weights, and
``Z = L⁻¹R``, columns of Z are the classifiers trained on f₁ and on f₂, and what is left of the sources:

    M_a = μᵀz_a,        V_ab = z_aᵀEz_b.

Everything is rational in independent entries. δL and δE go into first order by ``δZ = −L⁻¹ δL Z``, into second order by
``E[δL B δL]``, which is ``S_ij B_ji`` off the diagonal and ``Σ_j S_ij B_jj`` on it, for entries of variances S. The
limit of L is inverted by hand, ``(ρk₁ + UᵀU) = diag(λ, k₁)``. Nothing is divided by γ.

**Label noise.** The observed labels combine the two classifiers: ``M₀ = t̂M_{f₁} + τ̂M_{f₂}``, and so on. f₂ can be
flipped, so what is odd in it vanishes in the mean; nε̂ is binomial, whence ``t̂ = cos ψ̂`` with ``Var ψ̂ ≃ 1/n``,
``E t̂ = t`` and ``E t̂² = t² + (1−t²)/n``.

**Random sources.** A source that is trained on N samples is the same chain without a source of its own: it yields
``a = ⟨w̃, μ_s⟩/‖μ_s‖`` and ‖w̃‖². The rest of w̃ points in a uniform direction, whose product with a given vector v has
variance ``‖v_⊥‖²(‖w̃‖² − a²)/p``. By THEORY §4 the target's numbers are linear in the squared lengths and products of
the sources, quadratic in ``s_k = ⟨w̃_k, μ⟩``: covariance and bias follow from the chain rule.

Cost: a few products of matrices of size k+4 for a problem, vectorised over arrays of problems. γ = 0 is allowed. V₀ₖ is
of the size of γ, and the one number whose spread is a difference of larger terms: it counts as constant, as it is for
γ = 0, where rounding would make up its standard deviation, below ``1e-7 √(V₀₀Vₖₖ/n)``. The expansion means something
where ``nh ≫ k+q`` and p ≫ 1; where nh < 1 results are nan by rule. Reference: THEORY §8.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._elementwise import elementwise
from rmt_alpha._validation import FloatArray, check_memory, integer, lengths, real, real_array
from rmt_alpha.coordinates import TrainedSource, isotropic_coordinates
from rmt_alpha.laws import MarginLaw, flatten
from rmt_alpha.problem import GaussianMixture, Isotropic, Source
from rmt_alpha.spread import Fluctuations
from rmt_alpha.theory import closed_form

_BLOCK = 2**11
"""Problems that are worked on together: some tens of MB."""


_FEWEST = 1.0
"""With fewer degrees of freedom nh left, an expansion in their inverse says nothing, and results are nan by rule."""

_ROUNDING = 1e-14
"""A variance that is smaller in units of the terms whose difference it is has no digits left."""


# The chain.


class Ridge(NamedTuple):
    """What the limit of a ridge problem is made of, in arrays of one shape.

    Parameters
    ----------
    n : ndarray
        Number of samples.
    eta : ndarray
        Aspect ratio η.
    kappa : ndarray
        Effective ridge κ.
    rho : ndarray
        ρ = γ/κ.
    h : ndarray
        Residual fraction h.
    """

    n: FloatArray
    eta: FloatArray
    kappa: FloatArray
    rho: FloatArray
    h: FloatArray

    @classmethod
    def of(cls, n: FloatArray, p: FloatArray, gamma: FloatArray) -> "Ridge":
        """Solve for the effective ridge.

        Parameters
        ----------
        n, p, gamma : ndarray
            Number of samples, dimension, ridge penalty.

        Returns
        -------
        Ridge
            Of their shape.
        """
        kappa, h, eta = closed_form.resolvent(n, p, gamma)
        return cls(n, eta, kappa, closed_form.penalty_ratio(n, p, gamma), h)

    @property
    def k1(self) -> FloatArray:
        """1 + κ."""
        return 1.0 + self.kappa

    @property
    def theta(self) -> FloatArray:
        """θ = 1 − h, without the cancellation."""
        return self.eta / self.k1 / self.k1

    def variances(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Describe the pair of GOE matrices to which the chain's state at the corner tends.

        Returns
        -------
        first, cross, second : ndarray
            n times the variance of C_ij/C*, its covariance with E_ij, and the variance of E_ij, for i ≠ j; on the
            diagonal it is twice as much.
        """
        kappa, rho, h, k1, theta = self.kappa, self.rho, self.h, self.k1, self.theta
        first = 1.0 / (k1 * k1 * h)
        return first, first * theta * kappa / h**2, first * theta * (rho * rho + theta * kappa * kappa) / h**4

    def drift(self, k: int, q: int) -> tuple[FloatArray, FloatArray]:
        """Return how far the state's mean is from the fixed point.

        Parameters
        ----------
        k, q : int
            Fixed directions of the features and of the samples: all columns from number q on have been taken.

        Returns
        -------
        xi, epsilon : ndarray
            n times the biases of the diagonal entries of C/C* and of E.
        """
        kappa, rho, h, k1, theta = self.kappa, self.rho, self.h, self.k1, self.theta
        ratio = theta * kappa / h
        numerator = k - q * kappa + ratio
        factor = rho / (k1 * h)  # and ε = d(factor · numerator)/dγ
        by_kappa = (theta - rho / k1 - 2.0 * theta * factor) / (k1 * h)
        numerator_by_kappa = theta / h * (1.0 - 2.0 * (kappa + ratio) / k1) - q
        return numerator / (k1 * k1 * h), (by_kappa * numerator + factor * numerator_by_kappa) / h


class Chain(NamedTuple):
    """The elimination chain near the corner, linear around its fixed point.

    Parameters
    ----------
    point : ndarray, shape (2, d, d)
        C* and E*.
    jacobian : ndarray, shape (d(d+1), d(d+1))
        J, the derivative of the next state by the state: the lower triangle of C row by row, then that of E.
    input : ndarray, shape (d(d+1), d+1)
        B, its derivative by the column.
    noise : ndarray, shape (d+1,)
        n times the variances of the column's entries, first entry on top.
    covariance : ndarray, shape (d(d+1), d(d+1))
        P, n times the stationary covariance of the state.
    spectral_radius : float
        That of J, ``(1 − h)^{1/d}``.
    """

    point: FloatArray
    jacobian: FloatArray
    input: FloatArray
    noise: FloatArray
    covariance: FloatArray
    spectral_radius: float


def chain(n: float, p: float, gamma: float, size: int) -> Chain:
    """Linearise the elimination chain, and solve its Lyapunov equation.

    Parameters
    ----------
    n, p : float
        Number of samples and dimension, positive.
    gamma : float
        Ridge penalty γ ≥ 0.
    size : int
        d = k+q, the size of the state, at least 1.

    Returns
    -------
    Chain
        Fixed point, Jacobians, stationary covariance, spectral radius: all in closed form.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Notes
    -----
    The map itself is `rmt_alpha.elimination.absorb`. See this module's head for the formulas.

    Examples
    --------
    >>> from scipy.linalg import solve_discrete_lyapunov
    >>> linear = chain(n=400, p=1000, gamma=0.3, size=3)
    >>> P = solve_discrete_lyapunov(linear.jacobian, linear.input * linear.noise @ linear.input.T)
    >>> np.allclose(P, linear.covariance, rtol=0, atol=1e-12)
    True
    """
    d = integer("size", size, 1)
    arrays = (
        real_array(name, real(name, x, 0.0, open_low=name != "gamma"))
        for name, x in zip(("n", "p", "gamma"), (n, p, gamma), strict=True)
    )
    ridge = Ridge.of(*arrays)
    rho, h, k1, theta = (float(x) for x in (ridge.rho, ridge.h, ridge.k1, ridge.theta))
    phi = math.sqrt(theta)
    entries = [(i, j) for i in range(d) for j in range(i + 1)]
    place = {entry: number for number, entry in enumerate(entries)}
    T = len(entries)
    J, B = np.zeros((2 * T, 2 * T)), np.zeros((2 * T, d + 1))
    for (i, j), at in place.items():
        if j > 0:
            J[at, place[i - 1, j - 1]] = J[T + at, T + place[i - 1, j - 1]] = 1.0
            continue
        old = place[d - 1, i - 1] if i > 0 else place[d - 1, d - 1]
        if i > 0:
            J[at, old] = J[T + at, T + old] = -phi
            J[T + at, old] = phi / (k1 * h)
            B[at, i], B[T + at, i] = rho, theta / h
        else:
            J[at, old] = J[T + at, T + old] = theta
            J[T + at, old] = -2.0 * theta / (k1 * h)
            B[at, [0, d]] = 2.0 * rho, -2.0 * rho * phi
            B[T + at, [0, d]] = 2.0 * theta / h, 2.0 * phi * (1.0 - 2.0 * k1 * theta) / (k1 * h)
    twice = np.array([1.0 + (i == j) for i, j in entries])
    scale = rho * k1
    first, cross, second = (float(x) for x in ridge.variances())
    P = np.block(
        [
            [np.diag(scale * scale * first * twice), np.diag(scale * cross * twice)],
            [np.diag(scale * cross * twice), np.diag(second * twice)],
        ]
    )
    noise = np.ones(d + 1)
    noise[[0, d]] = 0.5
    return Chain(np.stack([scale * np.eye(d), np.eye(d) / h]), J, B, noise, P, theta ** (1.0 / d))


# The corner.


def _profile(matrix: FloatArray, variances: FloatArray) -> FloatArray:
    """Return E[δA B δA'] for symmetric matrices δA, δA' whose entries ij have the covariance `variances` each."""
    result = variances * np.swapaxes(matrix, -1, -2)
    diagonal = np.einsum("...ij,...jj->...i", variances, matrix)
    index = np.arange(matrix.shape[-1])
    result[..., index, index] = diagonal
    return result


def _goe(size: int, rows: int, variance: FloatArray) -> FloatArray:
    """Return the variances of a matrix of which the first rows and columns are a GOE matrix, the others 0."""
    result = np.zeros((len(variance), size, size))
    result[:, :rows, :rows] = variance[:, None, None] * (1.0 + np.eye(rows))
    return result


def _corner(
    ridge: Ridge, norm: FloatArray, weights: FloatArray, probe: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return limit, n times the bias and n times the covariance of the numbers of (w_{f₁}, w_{f₂}, w_1, …, w_K).

    The mean has length norm (B,), and its direction is the first of the k coordinates in which weights (B, k, K) are
    given; M_a is probe (B,) times that coordinate of w_a. The numbers are in the order of `flatten`, as if there were
    K+1 sources.
    """
    batch, k, K = weights.shape
    r, size = k + 2, k + 4
    kappa, rho, h, k1 = ridge.kappa, ridge.rho, ridge.h, ridge.k1
    root, lam = np.sqrt(ridge.eta), norm * norm + k1
    G = np.zeros((batch, size, size))  # L⁻¹; the limit of L has blocks of rows (0, k, r), of rows (k+1, r+1), and 1
    diagonal = np.arange(r)
    G[:, diagonal, diagonal] = 1.0
    G[:, 0, 0], G[:, k, k], G[:, r, r] = k1 / lam, (norm * norm + rho * k1) / lam, -1.0 / lam
    G[:, 0, k] = G[:, k, 0] = -norm * root / lam
    G[:, 0, r] = G[:, r, 0] = norm / lam
    G[:, k, r] = G[:, r, k] = root / lam
    G[:, k + 1, k + 1], G[:, r + 1, r + 1] = rho, -1.0 / k1
    G[:, k + 1, r + 1] = G[:, r + 1, k + 1] = root / k1
    right = np.zeros((batch, size, K + 2))
    right[:, r, 0] = right[:, r + 1, 1] = 1.0
    right[:, :k, 2:] = (kappa / k1)[:, None, None] * weights
    Z = G @ right
    E = np.zeros((batch, size, 1))
    E[:, :r, 0] = 1.0 / h[:, None]

    first, cross, second = ridge.variances()
    xi, epsilon = ridge.drift(k, 2)
    in_L, in_both, in_E = (_goe(size, r, variance) for variance in (first, cross, second))
    in_L[:, :r, r:] = 1.0
    in_L[:, k, r] = in_L[:, k + 1, r + 1] = 0.5  # χ_{p−k} and χ_{p−k−1}
    in_L[:, k + 1, r] = 0.0
    in_L[:, r:, :r] = np.swapaxes(in_L[:, :r, r:], 1, 2)
    shift_L = np.zeros_like(G)
    shift_L[:, diagonal, diagonal] = xi[:, None]
    for row, column, fixed in ((k, r, k), (k + 1, r + 1, k + 1)):  # √n (E χ_{p−fixed} − √p), times √n
        shift_L[:, row, column] = shift_L[:, column, row] = -(0.5 * fixed + 0.25) / root

    # limits, and gradients as symmetric matrices
    i, j = np.triu_indices(K + 2)
    EZ = E * Z
    z, v, u = np.swapaxes(Z, 1, 2), np.swapaxes(G @ EZ, 1, 2), probe[:, None] * G[:, 0]
    M, V = probe[:, None] * Z[:, 0], z @ EZ
    by_L = np.concatenate([-_outer(u[:, None], z), -_outer(v[:, j], z[:, i]) - _outer(v[:, i], z[:, j])], axis=1)
    by_E = _outer(z[:, i], z[:, j])
    by_L, by_E = by_L.reshape(batch, -1, size * size), by_E.reshape(batch, -1, size * size)

    def weighted(variances: FloatArray) -> FloatArray:  # of a sum over i ≤ j, in which entries i < j count twice
        twice = 2.0 * variances
        twice[:, np.arange(size), np.arange(size)] *= 0.5
        return twice.reshape(batch, 1, size * size)

    cov = (by_L * weighted(in_L)) @ np.swapaxes(by_L, 1, 2)
    mixed = (by_L * weighted(in_both)) @ np.swapaxes(by_E, 1, 2)
    cov[:, :, K + 2 :] += mixed
    cov[:, K + 2 :, :] += np.swapaxes(mixed, 1, 2)
    cov[:, K + 2 :, K + 2 :] += (by_E * weighted(in_E)) @ np.swapaxes(by_E, 1, 2)

    moved = _profile(G, in_L) - shift_L
    bias_M = (u[:, None] @ moved @ Z)[:, 0]
    once = v @ moved @ Z - z @ _profile(G, in_both) @ Z
    both = _profile(G @ (E * G), in_L)
    both[:, diagonal, diagonal] += epsilon[:, None]
    bias_V = once + np.swapaxes(once, 1, 2) + z @ both @ Z
    return np.concatenate([M, V[:, i, j]], axis=1), np.concatenate([bias_M, bias_V[:, i, j]], axis=1), cov


def _outer(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the symmetric parts of abᵀ, for vectors on the last axis."""
    product = a[..., :, None] * b[..., None, :]
    return np.asarray(0.5 * (product + np.swapaxes(product, -1, -2)))


# Label noise.


def _upper(size: int) -> dict[tuple[int, int], int]:
    """Return where `flatten` puts V_ij, for either order of i and j, in the numbers of laws with size − 1 sources."""
    i, j = np.triu_indices(size)
    places = {}
    for at, (a, b) in enumerate(zip(i.tolist(), j.tolist(), strict=True), start=size):
        places[a, b] = places[b, a] = at
    return places


def _observed(
    ridge: Ridge, norm: FloatArray, weights: FloatArray, probe: FloatArray, label_noise: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return limit, bias and covariance (not times n) of the numbers for labels of which a share is flipped."""
    limit, bias, cov = _corner(ridge, norm, weights, probe)
    batch, _, K = weights.shape
    old, new = _upper(K + 2), _upper(K + 1)
    t, tau2 = 1.0 - 2.0 * label_noise, 4.0 * label_noise * (1.0 - label_noise)
    tau = np.sqrt(tau2)
    through = np.zeros((batch, K + 1 + len(set(new.values())), limit.shape[1]))
    through[:, 0, 0], through[:, 0, 1] = t, tau
    through[:, new[0, 0], old[0, 0]] = t * t
    through[:, new[0, 0], old[0, 1]] = 2.0 * t * tau
    through[:, new[0, 0], old[1, 1]] = tau2
    for a in range(1, K + 1):
        through[:, a, a + 1] = 1.0
        through[:, new[0, a], old[0, a + 1]] = t
        through[:, new[0, a], old[1, a + 1]] = tau
        for b in range(a, K + 1):
            through[:, new[a, b], old[a + 1, b + 1]] = 1.0
    turn = np.zeros(through.shape[:2])  # minus the derivative by ψ̂
    bend = limit[:, old[0, 0]] - limit[:, old[1, 1]]
    turn[:, 0] = tau * limit[:, 0]
    turn[:, new[0, 0]] = 2.0 * t * tau * bend
    for a in range(1, K + 1):
        turn[:, new[0, a]] = tau * limit[:, old[0, a + 1]]
    shift = (through @ bias[..., None])[..., 0]
    shift[:, new[0, 0]] += tau2 * bend  # E t̂² = t² + (1−t²)/n
    total = through @ cov @ np.swapaxes(through, 1, 2) + turn[:, :, None] * turn[:, None, :]
    n = np.where(ridge.n * ridge.h < _FEWEST, np.nan, ridge.n)[:, None]
    return (through @ limit[..., None])[..., 0], shift / n, total / n[..., None]


# Random sources.


class _SourceSpread(NamedTuple):
    """A source in c coordinates of a batch of problems, and how it varies between draws.

    mean (B, c); direction (B, c), the unit vector along which its component a is taken; spread (B,), the squared length
    of what points in a random direction orthogonal to that; bias (B, 2) and cov (B, 2, 2) of (a, ‖w̃‖²).
    """

    mean: FloatArray
    direction: FloatArray
    spread: FloatArray
    bias: FloatArray
    cov: FloatArray

    @classmethod
    def fixed(cls, weights: FloatArray) -> "_SourceSpread":
        """Describe weights (B, c) that do not vary."""
        batch = len(weights)
        return cls(weights, np.zeros_like(weights), np.zeros(batch), np.zeros((batch, 2)), np.zeros((batch, 2, 2)))

    @classmethod
    def trained(
        cls, ridge: Ridge, direction: FloatArray, norm: FloatArray, label_noise: FloatArray, scale: FloatArray
    ) -> "_SourceSpread":
        """Describe `scale` times the ridge classifier of a task whose mean is ``norm · direction``."""
        limit, bias, cov = _observed(ridge, norm, np.zeros((len(norm), 1, 0)), np.ones_like(norm), label_noise)
        spread = closed_form.source_spread(norm, ridge.kappa, ridge.h, ridge.eta, label_noise)
        units = np.stack([scale, scale * scale], axis=-1)
        return cls(
            (scale * limit[:, 0])[:, None] * direction,
            direction,
            scale * scale * spread,
            units * bias,
            units[:, :, None] * units[:, None, :] * cov,
        )


def _products(
    p: FloatArray, target: FloatArray, sources: list[_SourceSpread]
) -> tuple[dict[tuple[int, int], int], FloatArray, FloatArray]:
    """Return bias and covariance of the products (s_1, …, s_K, G_11, G_12, …, G_KK) of the sources.

    s are those with the target's mean (B, c), G those with each other, in the order of an upper triangle; the first
    result tells where each G_ab is.
    """
    K, places = len(sources), _upper(len(sources))
    size = K + K * (K + 1) // 2
    bias, cov = np.zeros((len(p), size)), np.zeros((len(p), size, size))
    for a, source in enumerate(sources):
        others = [(a, target), *((places[a, b], other.mean) for b, other in enumerate(sources) if b != a)]
        load = np.zeros((len(p), 2, size))
        across = np.zeros((len(p), target.shape[1], size))
        load[:, 1, places[a, a]] = 1.0
        for at, vector in others:
            load[:, 0, at] = (source.direction * vector).sum(axis=-1)
            across[:, :, at] = vector - load[:, 0, at, None] * source.direction
        bias += (source.bias[:, None, :] @ load)[:, 0]
        cov += np.swapaxes(load, 1, 2) @ source.cov @ load
        cov += (source.spread / p)[:, None, None] * (np.swapaxes(across, 1, 2) @ across)
        for b, other in enumerate(sources[:a]):
            cov[:, places[a, b], places[a, b]] += source.spread * other.spread / p
    return places, bias, cov


def _reflection(vectors: FloatArray) -> tuple[FloatArray, Callable[[FloatArray], FloatArray]]:
    """Return lengths (B,), and an orthogonal map that takes each of the vectors (B, c) to the first axis."""
    norm = lengths(vectors)
    unit = np.divide(vectors, norm[:, None], out=np.zeros_like(vectors), where=norm[:, None] > 0.0)
    unit[norm == 0.0, 0] = 1.0
    sign = np.where(unit[:, 0] < 0.0, 1.0, -1.0)[:, None]  # the mirror image that needs no cancellation
    normal = unit.copy()
    normal[:, 0] -= sign[:, 0]

    def turn(others: FloatArray) -> FloatArray:
        along = (normal * others).sum(axis=-1) / (1.0 - sign[:, 0] * unit[:, 0])
        return np.asarray(sign * (others - along[:, None] * normal))

    return norm, turn


def _spread(
    ridge: Ridge, p: FloatArray, mean: FloatArray, label_noise: FloatArray, sources: list[_SourceSpread]
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return limit, bias and covariance of the numbers of a draw: of target and sources together."""
    batch, c = mean.shape
    K = len(sources)
    norm, turn = _reflection(mean)
    weights = np.zeros((batch, c + K, K))
    for a, source in enumerate(sources):
        weights[:, :c, a] = turn(source.mean)
        weights[:, c + a, a] = np.sqrt(source.spread)
    limit, bias, cov = _observed(ridge, norm, weights, norm, label_noise)
    if not K:
        return limit, bias, cov

    at, products_bias, products_cov = _products(p, mean, sources)
    numbers, s = _upper(K + 1), norm[:, None] * weights[:, 0]
    m2 = norm * norm
    lam = m2 + ridge.k1
    square = (ridge.kappa / ridge.k1) ** 2 / ridge.h  # V_ab = square (G_ab + bend s_a s_b)
    bend = (ridge.eta - 2.0 * ridge.k1 - m2) / (lam * lam)
    through = np.zeros((batch, bias.shape[1], products_bias.shape[1]))
    for a in range(K):
        through[:, a + 1, a] = ridge.kappa / lam
        through[:, numbers[0, a + 1], a] = (1.0 - 2.0 * label_noise) * ridge.rho * ridge.kappa / (ridge.h * lam * lam)
        for b in range(a, K):
            row = numbers[a + 1, b + 1]
            through[:, row, at[a, b]] = square
            through[:, row, a] += square * bend * s[:, b]
            through[:, row, b] += square * bend * s[:, a]
            bias[:, row] += square * bend * products_cov[:, a, b]
    bias += (through @ products_bias[..., None])[..., 0]
    cov = cov + through @ products_cov @ np.swapaxes(through, 1, 2)
    for a in range(1, K + 1):
        row, size = numbers[0, a], limit[:, numbers[0, 0]] * limit[:, numbers[a, a]] / ridge.n
        constant = ~(cov[:, row, row] > _ROUNDING * size)
        bias[constant, row] = cov[constant, row] = 0.0
        cov[constant, :, row] = 0.0
    return limit, bias, cov


# The problems.


def _in_blocks(
    law: MarginLaw, parameters: dict[str, Any], solve: Callable[..., tuple[FloatArray, FloatArray, FloatArray]]
) -> Fluctuations:
    """Return the fluctuations around a law; `solve` takes the parameters, each of shape (B,)."""
    numbers = flatten(law)
    size, d = math.prod(law.shape), numbers.shape[-1]
    check_memory(f"fluctuations of shape {law.shape}", 8.0 * size * d * (d + 4))
    flat = {name: np.broadcast_to(value, law.shape).reshape(size) for name, value in parameters.items()}
    bias, cov = np.empty((size, d)), np.empty((size, d, d))
    for start in range(0, size, _BLOCK):
        block = slice(start, start + _BLOCK)
        with np.errstate(all="ignore"):  # what is not finite is nan by rule
            _, bias[block], cov[block] = solve(**{name: value[block] for name, value in flat.items()})
    cov = 0.5 * (cov + np.swapaxes(cov, -1, -2))
    good = np.isfinite(numbers).all(axis=-1).reshape(size) & np.isfinite(bias).all(axis=-1)
    good &= np.isfinite(cov).all(axis=(-2, -1))
    bias[~good], cov[~good] = np.nan, np.nan
    return Fluctuations._trusted(numbers, cov.reshape(*law.shape, d, d), bias.reshape(*law.shape, d))


def isotropic_fluctuations(problem: Isotropic) -> Fluctuations:
    """Return the fluctuations of an isotropic problem, or of an array of them.

    Parameters
    ----------
    problem : Isotropic
        The problem.

    Returns
    -------
    Fluctuations
        As `fluctuations`.
    """

    def solve(
        beta: FloatArray,
        n: FloatArray,
        p: FloatArray,
        gamma: FloatArray,
        mu: FloatArray,
        mu_perp: FloatArray,
        label_noise: FloatArray,
        label_noise_source: FloatArray,
        n_source: FloatArray | None = None,
        gamma_source: FloatArray | None = None,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        axis = np.zeros((len(beta), 2))
        axis[:, 0] = 1.0
        mean = np.stack([beta * mu, np.sqrt((1.0 - beta) * (1.0 + beta)) * mu_perp], axis=-1)
        if n_source is None or gamma_source is None:
            source = _SourceSpread.fixed(mu[:, None] * axis)
        else:
            ridge = Ridge.of(n_source, p, gamma_source)
            source = _SourceSpread.trained(ridge, axis, mu, label_noise_source, np.ones_like(mu))
        return _spread(Ridge.of(n, p, gamma), p, mean, label_noise, [source])

    parameters = {name: getattr(problem, name) for name in problem.shapes}
    return _in_blocks(closed_form.isotropic_law(problem), parameters, solve)


def transfer_fluctuations(
    law: MarginLaw, target: GaussianMixture, n: float, gamma: float, sources: Iterable[Source]
) -> Fluctuations:
    """Return the fluctuations of a transfer between mixtures whose covariances are multiples of the identity.

    Parameters
    ----------
    law : MarginLaw
        The limit, a single law.
    target : GaussianMixture
        The target task.
    n : float
        Number of target samples.
    gamma : float
        Ridge penalty of the fine-tuning.
    sources : iterable of RidgeSource or FixedSource
        The K sources.

    Returns
    -------
    Fluctuations
        Single. nan as for `fluctuations`.

    Raises
    ------
    ValueError
        If a covariance is not a positive multiple of the identity.
    """
    reduced = isotropic_coordinates(target, gamma, sources)
    p, first = float(target.p), np.eye(len(reduced.mean))[0]

    def one(value: float) -> FloatArray:
        return np.full(1, float(value))

    def solve() -> tuple[FloatArray, FloatArray, FloatArray]:
        spreads = []
        for source in reduced.sources:
            if isinstance(source, TrainedSource):
                norm = float(lengths(source.mean))
                direction = source.mean / norm if norm > 0.0 else first
                ridge = Ridge.of(one(source.n), one(p), one(source.gamma))
                noise, scale = one(source.label_noise), one(source.scale)
                spreads.append(_SourceSpread.trained(ridge, direction[None], one(norm), noise, scale))
            else:
                spreads.append(_SourceSpread.fixed(source[None]))
        ridge = Ridge.of(one(n), one(p), one(reduced.gamma))
        return _spread(ridge, one(p), reduced.mean[None], one(target.label_noise), spreads)

    return _in_blocks(law, {}, solve)


# The public functions.


def checked_order(order: int) -> int:
    """Return the order of an expansion.

    Parameters
    ----------
    order : int
        1 for the limit, 2 for its correction by the bias.

    Returns
    -------
    int
        The same.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if integer("order", order) not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order!r}")
    return int(order)


def fluctuations(
    beta: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    mu: ArrayLike = 1.0,
    mu_perp: ArrayLike = 1.0,
    n_source: ArrayLike | None = None,
    gamma_source: ArrayLike | None = None,
    label_noise: ArrayLike = 0.0,
    label_noise_source: ArrayLike = 0.0,
) -> Fluctuations:
    """Spread of the margin law between draws at finite n and p: error bars of the theory's predictions.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    Fluctuations
        Batched over the broadcast shape of the arguments: covariance between draws of (M₀, M₁, V₀₀, V₀₁, V₁₁), source
        and target both drawn anew, and the bias of their means; each to leading order, 1/n. nan where the law is not
        finite. V₀₁, of the size of γ, counts as constant where its spread is below 1e-7 √(V₀₀V₁₁/n).

    Raises
    ------
    ValueError
        If an argument is outside its range, a labelled or lazy array, or the shapes do not broadcast.

    See Also
    --------
    accuracy_std : the standard deviation of the accuracy alone.
    margin_law : the limit, and with ``order=2`` the limit plus the bias.

    Notes
    -----
    THEORY §8. To be believed where n times `rmt_alpha.theory.isotropic.residual_fraction` is well above 1, and nan
    where it is below 1, for the source as well as for the target. Accuracies and intervals also need a dimension p of
    some tens: below, an accuracy near its best α hardly depends on the numbers to first order.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> spread = ra.fluctuations(0.8, n=200, p=400, gamma=0.1)
    >>> spread.correlation.round(2)[0]
    array([ 1.  , -0.27,  0.1 ,  0.6 , -0.19])
    >>> best = spread.law.optimal_alpha()
    >>> round(best, 2), round(spread.optimal_alpha_std(), 2)
    (1.22, 0.16)
    >>> [round(end, 3) for end in spread.accuracy_interval(best, coverage=0.99)]
    [0.716, 0.758]
    """
    return isotropic_fluctuations(
        Isotropic(
            beta=beta,
            n=n,
            p=p,
            gamma=gamma,
            mu=mu,
            mu_perp=mu_perp,
            n_source=n_source,
            gamma_source=gamma_source,
            label_noise=label_noise,
            label_noise_source=label_noise_source,
        )
    )


def fixed_source_fluctuations(
    s: ArrayLike,
    w_perp2: ArrayLike,
    m2: ArrayLike,
    n: ArrayLike,
    p: ArrayLike,
    gamma: ArrayLike,
    *,
    label_noise: ArrayLike = 0.0,
) -> Fluctuations:
    """Spread of the margin law between draws for an arbitrary fixed source classifier w̃.

    Parameters
    ----------
    s, w_perp2, m2, n, p, gamma, label_noise
        As in `rmt_alpha.theory.isotropic.fixed_source_law`.

    Returns
    -------
    Fluctuations
        As `fluctuations`, but only the target is drawn anew.

    Raises
    ------
    ValueError
        As in `rmt_alpha.theory.isotropic.fixed_source_law`.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> spread = fixed_source_fluctuations(s=0.8, w_perp2=0.36, m2=1.0, n=200, p=400, gamma=0.1)  # the oracle, β = .8
    >>> bool(np.allclose(spread.cov, ra.fluctuations(0.8, n=200, p=400, gamma=0.1).cov, rtol=1e-12))
    True
    """
    parameters, shape = closed_form.checked_fixed_source(s, w_perp2, m2, n, p, gamma, label_noise)
    law = closed_form.five_number_law(**parameters, shape=shape)

    def solve(
        s: FloatArray,
        w_perp2: FloatArray,
        m2: FloatArray,
        n: FloatArray,
        p: FloatArray,
        gamma: FloatArray,
        label_noise: FloatArray,
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        m = np.sqrt(m2)
        along = np.where(m > 0.0, s / np.where(m > 0.0, m, 1.0), 0.0)
        mean = np.stack([m, np.zeros_like(m)], axis=-1)
        source = _SourceSpread.fixed(np.stack([along, np.sqrt(w_perp2)], axis=-1))
        return _spread(Ridge.of(n, p, gamma), p, mean, label_noise, [source])

    return _in_blocks(law, parameters, solve)


def _accuracy_std_array(alpha: ArrayLike, **parameters: Any) -> FloatArray:
    return np.asarray(isotropic_fluctuations(closed_form.problem_at(alpha, parameters)).accuracy_std(alpha))


def accuracy_std(
    alpha: Any,
    beta: Any,
    n: Any,
    p: Any,
    gamma: Any,
    *,
    mu: Any = 1.0,
    mu_perp: Any = 1.0,
    n_source: Any = None,
    gamma_source: Any = None,
    label_noise: Any = 0.0,
    label_noise_source: Any = 0.0,
) -> Any:
    """How far the accuracy of the α-scaled classifier varies between draws: its standard deviation.

    Parameters
    ----------
    alpha : float or array_like
        Scale of the source weights; ±inf stands for the limit.
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`.

    Returns
    -------
    float or array
        Between classifiers that are each trained on a draw of its own of target and source samples; O(1/√n). nan where
        the law is not finite, and as in `fluctuations`, which also says when to believe it.

    Raises
    ------
    ValueError
        If an argument is outside its range or the shapes do not broadcast.

    See Also
    --------
    accuracy : what it is the spread of.
    fluctuations : intervals, correlations, the spread of α*.

    Notes
    -----
    THEORY §8.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> setting = dict(beta=0.9, n=40, p=1000, gamma=0.1, mu=0.8, mu_perp=0.8, n_source=5000, gamma_source=5)
    >>> ra.accuracy([0, 1, 7.471], **setting).round(4), ra.accuracy_std([0, 1, 7.471], **setting).round(4)
    (array([0.5493, 0.6678, 0.7311]), array([0.0097, 0.0071, 0.0026]))
    """
    return elementwise(
        _accuracy_std_array,
        {
            "alpha": alpha,
            "beta": beta,
            "n": n,
            "p": p,
            "gamma": gamma,
            "mu": mu,
            "mu_perp": mu_perp,
            "n_source": n_source,
            "gamma_source": gamma_source,
            "label_noise": label_noise,
            "label_noise_source": label_noise_source,
        },
        optional=closed_form.SOURCE,
    )
