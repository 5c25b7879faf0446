"""The margin law from THEORY §3 in mpmath: an oracle that shares no formula with the package.

Nothing of §4 is used. With Σ = I everything happens in the plane of μ_β and w̃, in the coordinates (along μ_β, off it),
where ``H = (I + μ_βμ_βᵀ + κI)⁻¹ = diag(1/λ, 1/(1+κ))``. In homogeneous form, a = (a₀, a₁),

    w̄_a = H(a₀ t μ_β + a₁ κ w̃),
    mean(a) = μ_βᵀw̄_a,    var(a) = ‖w̄_a‖² + df₂/(n − df₂)·R(a),
    R(a) = a₀² − 2 a₀ t μ_βᵀw̄_a + ‖w̄_a‖² + (μ_βᵀw̄_a)²,

and M, V are the coefficients of the linear and the quadratic form. A trained source adds its own randomness to V₁₁
by the source rule at the end of §3.

The parameters are floats, taken exactly; `digits` must exceed what cancellation eats (50 do for parameters within
1e±10, about 2000 for all that float64 can hold).
"""

from typing import NamedTuple

from mpmath import mp, mpf


class Law(NamedTuple):
    """The five numbers, and α* = x₁/x₀ with x = V⁻¹M (None where V or M vanishes)."""

    m0: mpf
    m1: mpf
    v00: mpf
    v01: mpf
    v11: mpf
    alpha: mpf | None

    def mean(self, alpha: float) -> mpf:
        return self.m0 + alpha * self.m1

    def variance(self, alpha: float) -> mpf:
        return self.v00 + 2 * alpha * self.v01 + alpha**2 * self.v11


class Resolvent(NamedTuple):
    """Effective ridge κ, and h = 1 − df₂/n."""

    kappa: mpf
    h: mpf


def margin_law(
    beta: float,
    n: float,
    p: float,
    gamma: float,
    mu: float = 1.0,
    mu_perp: float = 1.0,
    n_source: float | None = None,
    gamma_source: float | None = None,
    label_noise: float = 0.0,
    label_noise_source: float = 0.0,
    *,
    digits: int = 50,
) -> Law:
    """Return the law for the oracle source w̃ = μ, or for one trained by ridge on n_source samples."""
    with mp.workdps(digits):
        source = _source(beta, p, mu, mu_perp, n_source, gamma_source, label_noise_source)
        return _law(*source, mpf(n), mpf(p), mpf(gamma), 1 - 2 * mpf(label_noise))


def source_numbers(
    beta: float,
    p: float,
    mu: float = 1.0,
    mu_perp: float = 1.0,
    n_source: float | None = None,
    gamma_source: float | None = None,
    label_noise_source: float = 0.0,
    *,
    digits: int = 50,
) -> tuple[mpf, mpf, mpf]:
    """Return (s, w⊥², m²), in the mean over a trained source's randomness."""
    with mp.workdps(digits):
        m, along, off, spread = _source(beta, p, mu, mu_perp, n_source, gamma_source, label_noise_source)
        return m * along, off**2 + spread, m**2


def fixed_source_law(
    s: float,
    w_perp2: float,
    m2: float,
    n: float,
    p: float,
    gamma: float,
    label_noise: float = 0.0,
    *,
    digits: int = 50,
) -> Law:
    """Return the law for a source with overlap s = ⟨w̃, μ_β⟩ and squared length w_perp2 off the target mean."""
    with mp.workdps(digits):
        m = mp.sqrt(mpf(m2))
        along, off = mpf(s) / m if m else mpf(0), mp.sqrt(mpf(w_perp2))
        return _law(m, along, off, mpf(0), mpf(n), mpf(p), mpf(gamma), 1 - 2 * mpf(label_noise))


def resolvent(n: mpf, p: mpf, gamma: mpf) -> Resolvent:
    """Solve ``κ = γ + (κ/n) tr Σ(Σ+κI)⁻¹`` for Σ = I: the positive root of a quadratic."""
    linear = 1 - p / n - gamma
    kappa = (mp.sqrt(linear**2 + 4 * gamma) - linear) / 2
    return Resolvent(kappa, 1 - p / (n * (1 + kappa) ** 2))


def _source(
    beta: float,
    p: float,
    mu: float,
    mu_perp: float,
    n_source: float | None,
    gamma_source: float | None,
    label_noise_source: float,
) -> tuple[mpf, mpf, mpf, mpf]:
    """Return ‖μ_β‖, the coordinates of the source's mean w̄_s along and off μ_β, and E‖w̃ − w̄_s‖²."""
    beta, mu, mu_perp = mpf(beta), mpf(mu), mpf(mu_perp)
    target = beta * mu, mp.sqrt(1 - beta**2) * mu_perp  # μ_β along μ and μ_⊥
    m = mp.hypot(*target)
    length, spread = mu, mpf(0)
    if n_source is not None:
        length, spread = _trained_source(mu, mpf(n_source), mpf(p), mpf(gamma_source), 1 - 2 * mpf(label_noise_source))
    along, off = (length * target[0] / m, length * target[1] / m) if m else (mpf(0), length)
    return m, along, off, spread


def _trained_source(mu: mpf, n: mpf, p: mpf, gamma: mpf, t: mpf) -> tuple[mpf, mpf]:
    """Return the length of w̄_s = H_s t_s μ, and E‖w̃‖² − ‖w̄_s‖² (the source rule with B = I)."""
    kappa, h = resolvent(n, p, gamma)
    length = t * mu / (mu**2 + 1 + kappa)
    risk = 1 - 2 * t * mu * length + length**2 * (1 + mu**2)
    return length, p / (n * (1 + kappa) ** 2) / h * risk


def _law(m: mpf, along: mpf, off: mpf, spread: mpf, n: mpf, p: mpf, gamma: mpf, t: mpf) -> Law:
    kappa, h = resolvent(n, p, gamma)
    inflation = (1 - h) / h  # df₂/(n − df₂)
    lam = 1 + m**2 + kappa
    scratch = t * m / lam, mpf(0)  # w̄ of a = (1, 0)
    source = kappa * along / lam, kappa * off / (1 + kappa)  # w̄ of a = (0, 1)

    def variance(a0: int, u: tuple[mpf, mpf], b0: int, v: tuple[mpf, mpf]) -> mpf:
        """Polar form of var."""
        inner, mean_u, mean_v = u[0] * v[0] + u[1] * v[1], m * u[0], m * v[0]
        return inner + inflation * (a0 * b0 - t * (a0 * mean_v + b0 * mean_u) + inner + mean_u * mean_v)

    m0, m1 = m * scratch[0], m * source[0]
    v00, v01 = variance(1, scratch, 1, scratch), variance(1, scratch, 0, source)
    bulk = (kappa / (1 + kappa)) ** 2 / h  # B₀ = bulk·I
    v11 = variance(0, source, 0, source) + bulk * spread
    x0, x1 = v11 * m0 - v01 * m1, v00 * m1 - v01 * m0  # V⁻¹M times det V
    return Law(m0, m1, v00, v01, v11, x1 / x0 if x0 else None)
