r"""Limits of the closed form, taken by SymPy.

Every quantity is a rational function of η, κ (with γ through the fixed point γ = κρ) and the numbers of the source, or
Φ of such a function over the root of another. So a limit is a substitution that leaves one small positive letter z, and
then the leading term in z:

    "gamma->0, eta<1"         κ = z                         (ρ → 1 − η: the source is forgotten)
    "gamma->0, eta>1"         κ = η − 1 + z                 (ρ → 0: interpolation of least deviation)
    "gamma->oo"               κ = 1/z
    "eta->0"                  η = z at fixed γ, so κ → γ    (many samples)
    "eta->oo"                 κ = 1/z at fixed γ,           (few samples)
                              η = (1+κ)(1 − γ/κ)
    "beta->0"                 β = z
    "n_source->oo"            η̃ = z at fixed γ̃, so κ̃ → γ̃

The leading term is found factor by factor and term by term, so that forms survive. Φ counts as a number where its limit
is one, and as smaller than any power of z where it vanishes. Nothing else is let in: a limit that these rules do not
settle is refused, not guessed.

Where γ moves, α is held, or with ``scaled=True`` the product c = ακ, which is what survives as γ → ∞ and what stays
finite at α* as γ → 0 below the threshold η = 1.
"""

from typing import Literal, get_args

import sympy as sp

from rmt_alpha.theory.symbolic import expressions
from rmt_alpha.theory.symbolic.expressions import Expr, Phi, Source, _check, definitions, letters
from rmt_alpha.theory.symbolic.printing import expression, fold
from rmt_alpha.theory.symbolic.proving import is_positive

At = Literal["gamma->0, eta<1", "gamma->0, eta>1", "gamma->oo", "eta->0", "eta->oo", "beta->0", "n_source->oo"]
Quantity = Literal[
    "kappa",
    "rho",
    "h",
    "margin_mean",
    "margin_variance",
    "accuracy",
    "risk",
    "optimal_alpha",
    "worst_alpha",
    "risk_optimal_alpha",
    "best_snr2",
]

L = letters

_Z = sp.Symbol("z", positive=True)

_ROUTES: dict[str, dict[Expr, Expr]] = {
    "gamma->0, eta<1": {L.kappa: _Z},
    "gamma->0, eta>1": {L.kappa: L.eta - 1 + _Z},
    "gamma->oo": {L.kappa: 1 / _Z},
    "eta->0": {L.eta: (1 + L.kappa) * (1 - L.gamma / L.kappa), L.kappa: L.gamma + _Z},
    "eta->oo": {L.eta: (1 + L.kappa) * (1 - L.gamma / L.kappa), L.kappa: 1 / _Z},
    "beta->0": {L.beta: _Z},
    "n_source->oo": {
        L.eta_source: (1 + L.kappa_source) * (1 - L.gamma_source / L.kappa_source),
        L.kappa_source: L.gamma_source + _Z,
    },
}
"""What to substitute, in order, so that z → 0⁺ is the limit."""

_RANGES: dict[str, dict[Expr, Expr]] = {
    "gamma->0, eta<1": {L.eta: 1 - L.rho},
    "gamma->0, eta>1": {L.eta: 1 + L.theta},
    "beta->0": {L.mu_perp: L.m},
}
"""For the signs of infinite limits, what is left in a share 0 < ρ < 1 or positive numbers θ and m."""

_ALIGNED = {1 - L.beta: L.u, 1 + L.beta: L.u}
"""Not negative: |β| ≤ 1."""

_SOURCES: dict[str, tuple[str, ...]] = {"beta->0": ("oracle", "ridge"), "n_source->oo": ("ridge",)}
"""Limits that do not concern every source."""


def limit(quantity: str | Expr, at: At, source: Source = "arbitrary", *, scaled: bool = False) -> Expr:
    """Limit of a quantity in closed form.

    Parameters
    ----------
    quantity : str or sympy.Expr
        "kappa", "rho", "h", "margin_mean", "margin_variance", "accuracy", "risk", "optimal_alpha", "worst_alpha",
        "risk_optimal_alpha" or "best_snr2"; or an expression in the letters, such as another limit: sums, products and
        fixed powers, also of Φ. κ may stand in it as a letter or in closed form.
    at : str
        "gamma->0, eta<1", "gamma->0, eta>1", "gamma->oo", "eta->0", "eta->oo" (both at fixed γ), "beta->0" or
        "n_source->oo" (at fixed γ̃). β goes to 0 from above; what is odd in β (worst α, which goes to −∞) has the
        opposite limit from below.
    source : {"arbitrary", "oracle", "ridge"}
        As in `five_numbers`; β exists for the latter two, N for the last.
    scaled : bool, default False
        Hold c = ακ rather than α: α becomes c/κ, and the special values of α are multiplied by κ.

    Returns
    -------
    sympy.Expr
        The limit, ±oo included. An infinite one carries the sign of what may have either sign or vanish, as
        ``sign(s)``; where that is 0 the limit is another one, and inserting it gives nan.

    Raises
    ------
    ValueError
        If an argument is none of its values, or the limit does not concern the source; if the quantity is none of the
        above, or its leading terms cancel under a root or in Φ.

    Notes
    -----
    THEORY §5. A letter counts as different from its special values, and the limit there need not be the special value
    of the limit. So insert such a value before the limit, not after: α of least risk is infinite as γ → 0 below the
    threshold with label noise and finite for clean labels, and κα* diverges as γ → ∞ for a source along the target's
    mean only:

    >>> from rmt_alpha.theory.symbolic import optimal_alpha, risk_optimal_alpha
    >>> limit("risk_optimal_alpha", "gamma->0, eta<1")
    oo*sign(s)*sign(1 - t)
    >>> clean = risk_optimal_alpha(of="letters").subs(letters.t, 1)
    >>> limit(clean, "gamma->0, eta<1")
    m**2*s/(m**2*w_perp**2*(m**2 + 1)**2 + s**2*(m**2 + 1))
    >>> limit(letters.kappa * optimal_alpha(of="letters").subs(letters.w_perp, 0), "gamma->oo")
    oo*sign(s)

    Examples
    --------
    >>> limit("optimal_alpha", "gamma->oo", scaled=True).subs(letters.t, 1)
    eta*s/(m**2*w_perp**2)
    >>> limit("kappa", "gamma->0, eta>1")
    eta - 1
    """
    _check("at", at, At)
    _check("source", source, Source)
    if source not in _SOURCES.get(at, get_args(Source)):
        raise ValueError(f"source must be {' or '.join(map(repr, _SOURCES[at]))} for at={at!r}, got {source!r}")
    if not isinstance(scaled, bool):
        raise ValueError(f"scaled must be True or False, got {scaled!r}")
    expr = _quantity(quantity) if isinstance(quantity, str) else expression("quantity", quantity)
    expr = fold(expr, ("kappa", "kappa_source"))
    if scaled:
        expr = expr.subs(L.alpha, L.c / L.kappa)
        if isinstance(quantity, str) and quantity.endswith("_alpha"):
            expr *= L.kappa
    meaning = definitions(source)
    norm = meaning.pop(L.m, L.m)
    if at == "beta->0":  # nothing else moves m
        meaning[L.m] = norm
    for letter, value in (*meaning.items(), *_ROUTES[at].items()):
        expr = expr.subs(letter, value)
    return _at_zero(expr, _RANGES.get(at, {}))


def _quantity(name: str) -> Expr:
    _check("quantity", name, Quantity)
    return L[name] if name in ("kappa", "rho", "h") else getattr(expressions, name)(of="letters")


def _at_zero(expr: Expr, ranges: dict[Expr, Expr]) -> Expr:
    """Limit as z → 0⁺."""
    if isinstance(expr, Phi):
        return Phi(_at_zero(expr.args[0], ranges))
    coefficient, order = _leading(expr, ranges)
    if order > 0:
        return sp.S.Zero
    return coefficient if order == 0 else _sign(coefficient, ranges) * sp.oo


def _sign(expr: Expr, ranges: dict[Expr, Expr]) -> Expr:
    """Sign of a product, as far as it is known."""
    powers = (x.as_base_exp() for x in sp.Mul.make_args(expr))
    return sp.Mul(*(_sign_of_power(base, power, ranges) for base, power in powers))


def _sign_of_power(base: Expr, power: Expr, ranges: dict[Expr, Expr]) -> Expr:
    if power.is_negative and base.xreplace(_ALIGNED).is_nonnegative:  # not 0, or there would be no coefficient
        return sp.S.One
    free = base.subs(ranges)
    if free.is_rational_function(*free.free_symbols):
        if is_positive(free):
            return sp.S.One
        if is_positive(-free):
            return (-sp.S.One) ** power
    return sp.sign(base) ** (2 if power.is_even else 1)


def _leading(expr: Expr, ranges: dict[Expr, Expr]) -> tuple[Expr, Expr]:
    """Coefficient and power of the leading term in z, taken term by term and factor by factor: forms survive."""
    if not expr.has(_Z):
        return expr, sp.S.Zero
    if expr.has(sp.oo, -sp.oo, sp.zoo, sp.nan):
        raise ValueError(f"quantity must be finite, got {expr.subs(_Z, L.z)}")
    if expr == _Z:
        return sp.S.One, sp.S.One
    if isinstance(expr, Phi):
        value = _at_zero(expr, ranges)
        return (value, sp.S.Zero) if value != 0 else (sp.S.One, sp.oo)
    if expr.is_Pow and not expr.exp.has(_Z):
        coefficient, order = _leading(expr.base, ranges)
        return coefficient**expr.exp, order * expr.exp
    if not (expr.is_Add or expr.is_Mul):
        raise ValueError(f"quantity must consist of sums, products, fixed powers and Φ, got {type(expr).__name__}")
    parts = [_leading(x, ranges) for x in expr.args]
    if expr.is_Mul:
        order = sum(k for _, k in parts)
        if order is sp.nan:
            raise ValueError("quantity must not divide one vanishing Φ by another")
        return sp.Mul(*(x for x, _ in parts)), order
    lowest = min(k for _, k in parts)
    coefficient = sp.Add(*(x for x, k in parts if k == lowest))
    if abs(lowest) != sp.oo and not _vanishes(coefficient):
        return coefficient, lowest
    if not expr.is_rational_function(_Z) or expr.has(Phi):
        raise ValueError("quantity must not have leading terms that cancel under a root or in Φ")
    above, below = (sp.Poly(x, _Z).terms()[-1] for x in sp.fraction(sp.together(expr)))  # leading terms cancel
    return sp.factor(above[1] / below[1]), sp.Integer(above[0][0] - below[0][0])


def _vanishes(expr: Expr) -> bool:
    """Tell whether a sum is 0; for roots and Φ it may be found out by numbers."""
    if expr.is_rational_function(*expr.free_symbols):
        return bool(sp.expand(sp.fraction(sp.together(expr))[0]) == 0)
    return expr.equals(0) is not False
