r"""Proofs of what the fluctuation theory rests on: the elimination chain near the corner, and how the corner closes it.

What is taken as known: the map of the elimination and what its corner says of the classifiers (`rmt_alpha.elimination`,
THEORY §7); that χ² of K degrees of freedom has mean K, and χ the variance ½ + O(1/K); and that a contracting chain with
small independent noise is, to first order, a linear autoregression, whose mean obeys the same recursion with half the
second derivatives added (two of its solutions differ by what powers of J make small). The rest is derived: fixed point,
Jacobians, spectral radius, stationary covariance and drift of the chain, the five numbers at its fixed point (a proof
of THEORY §4 that uses no deterministic equivalent), and what an accuracy makes of their spread.

The map is written once, in `_eliminated`. Its matrices may be of symbols, or be power series around the fixed point,
cut after second order, which add and multiply as matrices do. With l, d the last column and pivot of C₊, the new entry
(i, j) is made of the old entry (i−1, j−1), the last row's entries i−1 and j−1, its pivot, and cᵢ, cⱼ, c_d alone: the
entries of a state of size 3 are of all kinds that there are. (With i or j = 0 the old entries are those of the border,
γ, 1 and 0.) The statements are shown for size 3; what speaks of d itself is checked for sizes 1 to 5.

θ = η/(1+κ)² = 1 − h is spelled out, since θ has another meaning in `rmt_alpha.theory.symbolic.proofs`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp

from rmt_alpha.theory.symbolic import expressions
from rmt_alpha.theory.symbolic.expressions import Expr, Phi, letters
from rmt_alpha.theory.symbolic.printing import to_text
from rmt_alpha.theory.symbolic.proving import Claim, Proof, _Block, _cancels, _Derivation, _in_kappa, is_positive

L = letters

_SIZES = (1, 2, 3, 4, 5)
_SHOWN = 3

_K1 = 1 + L.kappa
_POINT = _K1 - L.eta  # C*, such that the pivot is 1 + κ
_THETA = 1 - L.h
_PHI = sp.sqrt(L.eta) / _K1

_LEFT, _RIGHT = _Block("k", real=True), _Block("q", real=True)
_C_DD, _E_DD, _C_DI, _E_DI = (_Block(f"δ{x}_{at}", real=True) for at in ("dd", "di") for x in "CE")
_C_0, _C_I, _C_D = (_Block(f"δc{at}", real=True) for at in ("₀", "_i", "_d"))
_X = _Block("x", real=True)


# How identities are decided here: with κ and h free, the rest has no denominators but 1 + κ and h.


def _in_h(expr: Expr) -> Expr:
    """Leave κ and h alone; both together are as free as κ and η are."""
    eta, rho = _THETA * _K1**2, 1 - _THETA * _K1
    return expr.subs({L.lam: L.m**2 + _K1, L.gamma: L.kappa * rho, L.rho: rho, L.eta: eta})


def _is_zero(expr: Expr) -> bool:
    return _cancels(_in_h(sp.sympify(expr)))


def _by_gamma(expr: Expr) -> Expr:
    """Return the derivative in γ; κ moves by 1/h."""
    return sp.diff(_in_kappa(expr), L.kappa) / L.h


class _ChainDerivation(_Derivation):
    is_zero = staticmethod(_is_zero)


# The map, and its expansion.


@dataclass(frozen=True)
class _Series:
    """A power series of matrices or numbers, cut after second order."""

    terms: tuple[Any, Any, Any]

    def __add__(self, other: "_Series") -> "_Series":
        return _series(a + b for a, b in zip(self.terms, other.terms, strict=True))

    def __sub__(self, other: "_Series") -> "_Series":
        return _series(a - b for a, b in zip(self.terms, other.terms, strict=True))

    def __mul__(self, other: "_Series") -> "_Series":
        (a, b, c), (x, y, z) = self.terms, other.terms
        return _Series((a * x, a * y + b * x, a * z + b * y + c * x))

    def __pow__(self, power: int) -> "_Series":
        a, b, c = self.terms
        slope, bend = power * a ** (power - 1), power * (power - 1) * a ** (power - 2)
        return _Series((a**power, slope * b, slope * c + bend * b**2 / 2))

    def __getitem__(self, key: Any) -> "_Series":
        return _series(x[key] for x in self.terms)

    @property
    def T(self) -> "_Series":  # noqa: N802
        return _series(x.T for x in self.terms)


def _series(terms: Iterable[Any]) -> _Series:
    constant, first, second = terms
    return _Series((constant, first, second))


def _eliminated(C: Any, E: Any) -> tuple[Any, Any]:
    """Eliminate the last row of (C₊, E₊)."""
    last, e, inverse, curvature = C[:, -1], E[:, -1], C[-1, -1] ** -1, E[-1, -1]
    C = C - last * last.T * inverse
    E = E - (last * e.T + e * last.T) * inverse + last * last.T * (curvature * inverse * inverse)
    return C[:-1, :-1], E[:-1, :-1]


def _absorbed(C: Expr, E: Expr, c: Expr, gamma: Expr) -> tuple[Expr, Expr]:
    """Take a column into the state: the map of the elimination."""
    new: tuple[Expr, Expr] = _eliminated(sp.diag(gamma, C) + c * c.T, sp.diag(1, E))
    return new


def _symbols(size: int) -> tuple[Expr, Expr, Expr]:
    """Return a state and a column of independent symbols, to stand for these or for how they move."""
    state = [sp.Matrix(size, size, lambda i, j, x=x: sp.Symbol(f"{x}{max(i, j)}{min(i, j)}", real=True)) for x in "CE"]
    return state[0], state[1], sp.Matrix([sp.Symbol(f"c{i}", real=True) for i in range(size + 1)])


def _lower(matrix: Expr) -> list[Expr]:
    return [matrix[i, j] for i in range(matrix.rows) for j in range(i + 1)]


def _column(size: int) -> Expr:
    return sp.Matrix([1, *[0] * (size - 1), sp.sqrt(L.eta)])


@cache
def _expansion(size: int) -> tuple[_Series, _Series]:
    """Return the map around its fixed point, in powers of how state and column move."""
    C, E, c = _symbols(size)
    nothing, column = sp.zeros(size + 1, size + 1), _Series((_column(size), c, sp.zeros(size + 1, 1)))
    bordered = _Series((sp.diag(L.gamma, _POINT * sp.eye(size)), sp.diag(0, C), nothing)) + column * column.T
    slope = _Series((sp.diag(1, sp.eye(size) / L.h), sp.diag(0, E), nothing))
    new: tuple[_Series, _Series] = _eliminated(bordered, slope)
    return new


@cache
def _jacobians(size: int) -> tuple[Expr, Expr]:
    """J and B, from the expansion; the lower triangle of C row by row, then that of E."""
    C, E, c = _symbols(size)
    C_new, E_new = _expansion(size)
    moved = sp.Matrix([*_lower(C_new.terms[1]), *_lower(E_new.terms[1])])
    return moved.jacobian([*_lower(C), *_lower(E)]), moved.jacobian(list(c))


# The chain.


def chain_point(claim: Claim = None) -> Proof:
    """Prove the fixed point of the elimination chain, and that E stays the derivative of C.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "C_star" and "E_star", the diagonal entries.

    Returns
    -------
    Proof
        The statement and its steps.

    Raises
    ------
    ProofError
        If a claim is false.

    Examples
    --------
    >>> to_text(chain_point().claims["C_star"])
    'ρ*(κ + 1)'
    """
    d = _ChainDerivation("chain_point", {"C_star": L.rho * _K1, "E_star": 1 / L.h}, claim)
    C, E, c = _symbols(_SHOWN)
    moved = (entry.diff(_X).subs(_X, 0) for entry in _absorbed(C + _X * E, E, c, L.gamma + _X)[0])
    d.need(
        all(_is_zero(one - other) for one, other in zip(moved, _absorbed(C, E, c, L.gamma)[1], strict=True)),
        "the new E is the derivative of the new C",
    )
    d.step("The map takes C and its derivative in γ to another pair of that kind, for any state and column")
    x, y = _X, sp.Symbol("y")
    C_new, E_new = _absorbed(x * sp.eye(_SHOWN), y * sp.eye(_SHOWN), _column(_SHOWN), L.gamma)
    d.step(
        "The border and the limit of a column, around a multiple x of the identity",
        ("plus", sp.diag(L.gamma, x * sp.eye(_SHOWN)) + _column(_SHOWN) * _column(_SHOWN).T),
    )
    others = [sp.diag(C_new[0, 0], x * sp.eye(_SHOWN - 1)), sp.diag(E_new[0, 0], y * sp.eye(_SHOWN - 1))]
    d.need([C_new, E_new] == others, "all entries but the first are in their place")
    quadratic = sp.Poly(sp.fraction(sp.together(C_new[0, 0] - x))[0], x)
    leading, _, constant = quadratic.all_coeffs()
    d.need(is_positive(-constant / leading), "the roots have a negative product")
    claimed = d.claims["C_star"]
    d.need(is_positive(claimed), "C* is positive")
    d.need(_is_zero(quadratic.as_expr().subs(x, _in_h(claimed))), f"C* = {to_text(claimed)}")
    d.proved("C_star")
    d.step(
        "The first entry stays where a quadratic vanishes whose roots have a negative product: C* is the positive one",
        sp.Eq(sp.collect(quadratic.as_expr(), x), 0, evaluate=False),
        ("C_star", claimed),
    )
    d.need(_is_zero(claimed + L.eta - _K1), "the pivot is 1 + κ")
    linear = sp.Poly((E_new[0, 0] - y).subs(x, _POINT), y)
    slope, constant = linear.all_coeffs()
    d.step("The pivot C* + η is 1 + κ, and the equation for E is linear", *d.agree(E_star=-constant / slope))
    d.need(_is_zero(d.claims["E_star"] - _by_gamma(claimed)), "E* is the derivative of C*")
    d.step("E* is the derivative of C* in γ, since κ grows by 1/h")
    return d.done(
        "Fixed point of the elimination chain for the column (1, 0, ..., 0, √η): C* and E* times the identity.",
        "Closing the chain there is another proof of the law of the margin (proof on the corner).",
    )


def _general(entry: Expr, row: int, size: int) -> Expr:
    """Rename the symbols of which row `row` of a moved first column is made to those of any row."""
    last, old = size - 1, row - 1
    names = {f"C{last}{last}": _C_DD, f"E{last}{last}": _E_DD, "c0": _C_0, f"c{size}": _C_D}
    if row > 0:
        names |= {f"C{last}{old}": _C_DI, f"E{last}{old}": _E_DI, f"c{row}": _C_I}
    return entry.subs({sp.Symbol(name, real=True): letter for name, letter in names.items()})


def chain_jacobian(claim: Claim = None) -> Proof:
    """Prove how the chain moves to first order: its Jacobians in state and column.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "dC_00", "dE_00", "dC_i0" and "dE_i0".

    Returns
    -------
    Proof
        The statement and its steps.

    Raises
    ------
    ProofError
        If a claim is false.

    Notes
    -----
    The index d stands for the last row of the old state, and of it i for the entry i−1.

    Examples
    --------
    >>> to_text(chain_jacobian().claims["dC_i0"])
    'ρ*δc_i - sqrt(η)*δC_di/(κ + 1)'
    """
    own = {
        "dC_00": _THETA * _C_DD + 2 * L.rho * _C_0 - 2 * L.rho * _PHI * _C_D,
        "dE_00": _THETA * _E_DD
        - 2 * _THETA / (_K1 * L.h) * _C_DD
        + 2 * _THETA / L.h * _C_0
        + 2 * _PHI * (1 - 2 * _K1 * _THETA) / (_K1 * L.h) * _C_D,
        "dC_i0": -_PHI * _C_DI + L.rho * _C_I,
        "dE_i0": -_PHI * _E_DI + _PHI / (_K1 * L.h) * _C_DI + _THETA / L.h * _C_I,
    }
    d = _ChainDerivation("chain_jacobian", own, claim)
    for size in _SIZES:
        old, new = _symbols(size)[:2], _expansion(size)
        for kept, matrix, star in zip(old, new, (_POINT, 1 / L.h), strict=True):
            d.need(all(map(_is_zero, matrix.terms[0] - star * sp.eye(size))), "the expansion is around a fixed point")
            d.need(matrix.terms[1][1:, 1:] == kept[:-1, :-1], "all but the first column is moved along the diagonal")
        for i in range(size):
            C_i0, E_i0 = (_general(x.terms[1][i, 0], i, size) for x in new)
            if size != _SHOWN or i > 1:
                names = ("dC_i0", "dE_i0") if i else ("dC_00", "dE_00")
                same = (_is_zero(d.claims[name] - x) for name, x in zip(names, (C_i0, E_i0), strict=True))
                d.need(all(same), f"row {i} of {size} moves as all rows do")
            elif i == 0:
                corner = d.agree(dC_00=C_i0, dE_00=E_i0)
            else:
                column = d.agree(dC_i0=C_i0, dE_i0=E_i0)
    d.step("The entry in the corner, to first order around the fixed point", *corner)
    d.step("The others of the first column", *column)
    d.step("Entries elsewhere are the old ones of one place up the diagonal, to first order")
    return d.done(
        "Jacobians of the elimination chain in state and column, at its fixed point.",
        "Each entry feels one old entry of C, one of E, and the noise of the column: first order has no sums.",
    )


def chain_return(claim: Claim = None) -> Proof:
    """Prove the spectral radius of the chain: every entry comes back after d steps, multiplied by 1 − h.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "returned", and for size 3 of its "characteristic" (that of J_C, in
        x) and "radius".

    Returns
    -------
    Proof
        The statement and its steps.

    Raises
    ------
    ProofError
        If a claim is false.

    Examples
    --------
    >>> to_text(chain_return().claims["radius"])
    '(1 - h)**(1/3)'
    """
    own = {"returned": _THETA, "characteristic": (_X**_SHOWN - _THETA) ** 2, "radius": sp.cbrt(_THETA)}
    d = _ChainDerivation("chain_return", own, claim)
    for size in _SIZES:
        J = _jacobians(size)[0]
        half = J.rows // 2
        A, off = J[:half, :half], J[half:, half:] - J[:half, :half]
        d.need(J[:half, half:].is_zero_matrix and all(map(_is_zero, off)), "J is a block triangle with J_C twice")
        if size == _SHOWN:
            d.step(
                "J acts on C alone by this, for d = 3, and on E in the same way, but for what C adds",
                ("J_C", A.applyfunc(sp.factor)),
            )
        power = (_in_h(A) ** size).applyfunc(sp.cancel)
        claimed = d.claims["returned"]
        d.need(all(map(_is_zero, power - claimed * sp.eye(half))), f"J_C to the power {size} is {to_text(claimed)}")
    d.proved("returned")
    d.step("Its power d is this factor times the identity (d = 1 to 4)", ("returned", d.claims["returned"]))
    J = _jacobians(_SHOWN)[0]
    half = J.rows // 2
    characteristic = sp.factor((_X * sp.eye(half) - J[:half, :half]).det(method="berkowitz"))
    d.step(
        "The characteristic polynomial for d = 3, of which that of J is the square",
        *d.agree(characteristic=characteristic),
    )
    radius = _in_kappa(d.claims["radius"])
    if not (radius.is_positive and _is_zero(d.claims["radius"] ** _SHOWN - _THETA)):
        d.fail(f"the spectral radius is claimed to be {to_text(d.claims['radius'])}, which it is not")
    d.proved("radius")
    d.step("All its roots have the same modulus", ("radius", d.claims["radius"]))
    d.need(is_positive(L.h) and is_positive(_THETA), "h lies between 0 and 1")
    return d.done(
        "Every entry of the state comes back after d steps, multiplied by 1 - h; in E with something of C.",
        "The spectral radius is the root of 1 - h of order d, below 1: the chain forgets where it began.",
    )


# First order: the covariance. Second order: the drift.


def _stationary(size: int, var_C: Expr, cov: Expr, var_E: Expr) -> tuple[Expr, Expr]:
    """P and N: n times the variances of a state in pairs (C_ij/C*, E_ij), and of a column."""
    twice = sp.diag(*(1 + (i == j) for i in range(size) for j in range(i + 1)))
    mixed = _POINT * cov * twice
    P = sp.Matrix(sp.BlockMatrix([[_POINT**2 * var_C * twice, mixed], [mixed, var_E * twice]]))
    return P, sp.diag(sp.S.Half, *[1] * (size - 1), sp.S.Half)


def _root(expr: Expr, unknown: Expr) -> Expr:
    """Return the root of what is linear in the unknown, in κ and h."""
    return sp.factor(_in_h(-expr.subs(unknown, 0) / sp.diff(expr, unknown)))


def _pairs() -> dict[str, Expr]:
    """Return the covariance of a pair (C_ij/C*, E_ij), i ≠ j, as the theory has it."""
    first = 1 / (_K1**2 * L.h)
    return {
        "var_C": first,
        "cov_CE": first * _THETA * L.kappa / L.h**2,
        "var_E": first * _THETA * (L.rho**2 + _THETA * L.kappa**2) / L.h**4,
    }


def chain_covariance(claim: Claim = None) -> Proof:
    """Prove the stationary covariance of the chain: a pair of correlated GOE matrices.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "var_C", "cov_CE" and "var_E", for entries i ≠ j.

    Returns
    -------
    Proof
        The statement and its steps.

    Raises
    ------
    ProofError
        If a claim is false.

    Examples
    --------
    >>> to_text(chain_covariance().claims["var_C"])
    '1/(h*(κ + 1)**2)'
    """
    d = _ChainDerivation("chain_covariance", _pairs(), claim)
    C_10, E_10 = (_general(x.terms[1][1, 0], 1, _SHOWN) for x in _expansion(_SHOWN))
    rows = sp.Matrix([C_10 / _POINT, E_10]).jacobian([_C_DI, _E_DI, _C_I])
    through, noise = rows[:, :2] * sp.diag(_POINT, 1), rows[:, 2]
    u, v, w = sp.symbols("u v w", real=True)
    pair = sp.Matrix([[u, v], [v, w]])
    balance = pair - through * pair * through.T - noise * noise.T
    u_root = _root(balance[0, 0], u)
    v_root = _root(balance[0, 1].subs(u, u_root), v)
    w_root = _root(balance[1, 1].subs({u: u_root, v: v_root}), w)
    d.step(
        "In a stationary state the pair (i, 0) varies as the one that it is made of, since entries only move",
        *d.agree(var_C=u_root, cov_CE=v_root, var_E=w_root),
    )
    for size in _SIZES:
        J, B = (sp.SparseMatrix(_in_h(x)) for x in _jacobians(size))
        P, N = (sp.SparseMatrix(_in_h(x)) for x in _stationary(size, *d.claims.values()))
        rest = P - J * P * J.T - B * N * B.T
        d.need(all(map(_is_zero, rest.todok().values())), "P = JPJᵀ + BNBᵀ")
    d.step(
        "With these for i ≠ j, and twice as much for i = j, all pairs independent, P = JPJᵀ + BNBᵀ for d = 1 to 4",
        ("N", _stationary(_SHOWN, *d.claims.values())[1]),
    )
    d.step("There is no other solution, since J contracts (proof on the spectral radius)")
    return d.done(
        "Stationary covariance of the elimination chain, times n, for entries i ≠ j; for i = j it is twice as much.",
        "Near the corner C and E are a pair of correlated GOE matrices; each pair of entries is independent of others.",
    )


@cache
def _curvature(size: int) -> tuple[Expr, Expr]:
    """Return n times the mean of the second-order terms of the map: ½(F_xx:P + F_cc:N)."""
    C, E, c = _symbols(size)
    P, N = _stationary(size, *_pairs().values())
    moved, spread = [*_lower(C), *_lower(E), *c], sp.diag(P, N)

    def mean(form: Expr) -> Expr:
        terms = sp.Poly(form, *moved).terms() if form != 0 else []
        places = ([at for at, power in enumerate(powers) for _ in range(power)] for powers, _ in terms)
        return sp.Add(*(x * spread[i, j] for (i, j), (_, x) in zip(places, terms, strict=True)))

    C_new, E_new = (x.terms[2].applyfunc(mean) for x in _expansion(size))
    return C_new, E_new


def chain_drift(claim: Claim = None) -> Proof:
    """Prove how far the mean of the chain's state is from the fixed point.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "chi_0" and "chi_d" (means of column q), "xi" and "epsilon".

    Returns
    -------
    Proof
        The statement and its steps.

    Raises
    ------
    ProofError
        If a claim is false.

    Examples
    --------
    >>> to_text(chain_drift().claims["xi"])
    '(k + κ*(1 - h)/h - κ*q)/(h*(κ + 1)**2)'
    """
    k, q = _LEFT, _RIGHT
    xi = (k - q * L.kappa + _THETA * L.kappa / L.h) / (_K1**2 * L.h)
    own = {
        "chi_0": -(q / 2 + sp.Rational(1, 4)),
        "chi_d": -((k + q) / 2 + sp.Rational(1, 4)) / sp.sqrt(L.eta),
        "xi": xi,
        "epsilon": _epsilon(),
    }
    d = _ChainDerivation("chain_drift", own, claim)
    # E χ_K is √(K − ½) up to O(K^{-3/2}): its square lacks the variance to K. With x = 1/n:
    degrees = {"chi_0": 1 - q * _X, "chi_d": L.eta - (k + q) * _X}
    means = {name: sp.sqrt(x - _X / 2).diff(_X).subs(_X, 0) for name, x in degrees.items()}
    d.step(
        "The means of χ with n - q and p - k - q degrees of freedom, whose square lacks the variance ½",
        *d.agree(**means),
    )
    curved_C, curved_E = _curvature(_SHOWN)
    d.need(curved_C.is_diagonal() and curved_E.is_diagonal(), "off the diagonal nothing moves")
    of_C, of_E = (sp.factor(_in_h(x[0, 0])) for x in (curved_C, curved_E))
    d.step(
        "The means of the second-order terms of the map, half the second derivatives times P and N, in the corner",
        ("curved_C", of_C),
        ("curved_E", of_E),
    )
    level_C, slope_C, level_E, slope_E = sp.symbols("level_C slope_C level_E slope_E")
    C_mean, E_mean = level_C + q * slope_C, level_E + q * slope_E  # to be solved for
    before = {_C_DD: C_mean.subs(q, q + 1), _E_DD: E_mean.subs(q, q + 1), _C_0: means["chi_0"], _C_D: means["chi_d"]}
    C_new, E_new = (_general(x.terms[1][0, 0], 0, _SHOWN).subs(before) for x in _expansion(_SHOWN))
    solved: dict[Expr, Expr] = {}
    for balance, level, slope in (
        (C_mean - C_new - of_C, level_C, slope_C),
        (E_mean - E_new - of_E, level_E, slope_E),
    ):
        known = balance.subs(solved)
        solved[slope] = _root(sp.diff(known, q), slope)
        solved[level] = _root(known.subs({q: 0, slope: solved[slope]}), level)
    C_mean, E_mean = C_mean.subs(solved), E_mean.subs(solved)
    d.step(
        "The mean state after column q is J times the one after q + 1, plus B times the means of χ, plus these",
        *d.agree(xi=C_mean / _POINT, epsilon=E_mean),
    )
    for mean, curved in ((C_mean, curved_C), (E_mean, curved_E)):
        rest = (mean - mean.subs(q, q + 1) - curved[i, i] for i in range(1, _SHOWN))
        d.need(all(map(_is_zero, rest)), "the other diagonal entries move as the first does")
    d.step("The other diagonal entries agree: what is lost with a column is their own second-order term")
    d.need(_is_zero(d.claims["epsilon"] - _by_gamma(_POINT * d.claims["xi"])), "ε is the derivative of C*ξ")
    d.step("Since E = dC/dγ in every draw, ε must be the derivative of C*ξ in γ, and it is")
    return d.done(
        "How far the mean is off on the diagonals of C/C* and E, times n, once the columns from number q on are taken.",
        "The biases of order 1/n that the corner passes on to the five numbers.",
    )


def _epsilon() -> Expr:
    """ε as `rmt_alpha.theory.fluctuations` computes it."""
    k, q = _LEFT, _RIGHT
    ratio, factor = _THETA * L.kappa / L.h, L.rho / (_K1 * L.h)
    by_kappa = (_THETA - L.rho / _K1 - 2 * _THETA * factor) / (_K1 * L.h)
    numerator_by_kappa = _THETA / L.h * (1 - 2 * (L.kappa + ratio) / _K1) - q
    return (by_kappa * (k - q * L.kappa + ratio) + factor * numerator_by_kappa) / L.h


# The corner.


def corner(claim: Claim = None) -> Proof:
    """Prove the five numbers from the chain's fixed point, label noise included.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "M0", "M1", "V00", "V01" and "V11" (`five_numbers`), of the entries
        "G_00", "G_0k", "G_0r", "G_kk", "G_kr", "G_rr", "G_ll", "G_ls" and "G_ss" of L⁻¹, and of "bend".

    Returns
    -------
    Proof
        The statement and its steps.

    Raises
    ------
    ProofError
        If a claim is false.

    Notes
    -----
    L has rows for k = 2 directions of the features, along μ_β and off it, for those of the two labels, and for the two
    columns.

    Examples
    --------
    >>> to_text(corner().claims["G_kk"])
    '(m**2 + ρ*(κ + 1))/λ'
    """
    root, scale = sp.sqrt(L.eta), L.rho * _K1
    entries = {
        "G_00": _K1 / L.lam,
        "G_0k": -L.m * root / L.lam,
        "G_0r": L.m / L.lam,
        "G_kk": (L.m**2 + scale) / L.lam,
        "G_kr": root / L.lam,
        "G_rr": -1 / L.lam,
        "G_ll": L.rho,
        "G_ls": root / _K1,
        "G_ss": -1 / _K1,
    }
    own = {**entries, **expressions.five_numbers(of="letters"), "bend": (L.eta - 2 * _K1 - L.m**2) / L.lam**2}
    d = _ChainDerivation("corner", own, claim)

    # for any C, and with Z's last rows eliminated, LZ = R is the ridge problem (C + UUᵀ)z = Ub + γa
    C, U = sp.Matrix(2, 2, sp.symbols("C:4")), sp.Matrix(2, 2, sp.symbols("U:4"))
    z, a, b = (sp.Matrix(sp.symbols(f"{x}:2")) for x in ("z", "a", "b"))
    lower = (U.T * z - b) / scale  # what the second rows of L say
    upper = scale * (C / scale * z + U * lower - L.kappa / _K1 * a)
    d.need(all(map(_is_zero, upper - ((C + U * U.T) * z - U * b - L.gamma * a))), "L solves the ridge problem")
    columns = sp.Matrix([[L.m, 0], [0, 0], [root, 0], [0, root]])
    matrix = sp.Matrix(sp.BlockMatrix([[sp.eye(4), columns], [columns.T, -scale * sp.eye(2)]]))
    source = sp.Matrix([L.s / L.m, L.w_perp, 0, 0, 0, 0])
    right = sp.Matrix.hstack(sp.eye(6)[:, 4:], L.kappa / _K1 * source)
    d.step(
        "Whatever C is, the classifiers of f₁, of f₂, and what is left of the source solve LZ = R; for C = C*I",
        ("L", matrix),
        ("R", right),
    )
    pivots = scale * sp.eye(2) + columns.T * columns
    d.need(all(map(_is_zero, pivots - sp.diag(L.lam, _K1))), "ρ(1+κ) + UᵀU is the diagonal matrix of λ and 1 + κ")
    inverse = sp.diag(1 / L.lam, 1 / _K1)
    d.step("It is inverted by blocks", ("pivots", sp.diag(L.lam, _K1)))
    G = sp.Matrix(
        sp.BlockMatrix(
            [[sp.eye(4) - columns * inverse * columns.T, columns * inverse], [inverse * columns.T, -inverse]]
        )
    )
    d.need(all(map(_is_zero, matrix * G - sp.eye(6))), "G is the inverse of L")
    at = {"0": 0, "k": 2, "l": 3, "r": 4, "s": 5}
    places = {name: (at[name[2]], at[name[3]]) for name in entries}
    rest = G.copy()
    for i, j in places.values():
        rest[i, j] = rest[j, i] = 0
    rest[1, 1] -= 1
    d.need(rest.is_zero_matrix, "L⁻¹ has no other entries")
    first, second = list(entries)[:6], list(entries)[6:]
    d.step("The entries of L⁻¹ in the rows 0, k and r", *d.agree(**{name: G[places[name]] for name in first}))
    d.step("Those in the rows k + 1 and r + 1", *d.agree(**{name: G[places[name]] for name in second}))
    Z = G * right
    M, V = L.m * Z[0, :], Z[:4, :].T * Z[:4, :] / L.h
    d.need(all(map(_is_zero, (M[1], V[0, 1]))), "what is odd in f₂ vanishes")
    noise2 = 1 - L.t**2  # τ̂², and what is odd in τ̂ vanishes with f₂
    d.step(
        "M is m times the first row of Z, V is ZᵀEZ; the observed labels combine f₁ and f₂ with weights t and √(1−t²)",
        *d.agree(M0=L.t * M[0], M1=M[2]),
        *d.agree(V00=L.t**2 * V[0, 0] + noise2 * V[1, 1], V01=L.t * V[0, 2], V11=V[2, 2]),
    )
    d.need(_is_zero(V[1, 2]), "the second label does not see the source")
    norm2 = _Block("G", real=True)
    square = (L.kappa / _K1) ** 2 / L.h
    length = sp.expand(V[2, 2] / square).subs(L.w_perp**2, norm2 - L.s**2 / L.m**2)
    slope, along, rest = sp.diff(length, norm2), sp.diff(length, L.s, 2) / 2, length.subs({norm2: 0, L.s: 0})
    d.need(_is_zero(slope - 1) and _is_zero(rest), "V₁₁ is linear in the source's squared length")
    d.step("V₁₁ in terms of products of the source, up to a factor: ‖w̃‖² + bend s²", *d.agree(bend=along))
    return d.done(
        "The linear matrix L that closes the chain has this inverse at the fixed point, and gives the five numbers.",
        "The law of the margin once more, from the chain alone: no deterministic equivalent was used.",
    )


# What an accuracy makes of the numbers.


def ratio_spread(claim: Claim = None) -> Proof:
    """Prove spread and mean of the ratio that an accuracy is Φ of, to leading order.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "S_var", "S_mean", "risk_var" and "mean_accuracy".

    Returns
    -------
    Proof
        The statement and its steps.

    Raises
    ------
    ProofError
        If a claim is false.

    Examples
    --------
    >>> to_text(ratio_spread().claims["mean_accuracy"])
    'Φ(S̄/sqrt(V_S + 1))'
    """
    m, v = L.m, L.u  # the margin's mean and variance
    A, B, D, b_m, b_v = (_Block(x, real=True) for x in ("A", "B", "D", "b_m", "b_v"))
    mean, variance = _Block("S̄", real=True), _Block("V_S", positive=True)
    half = sp.S.Half
    own = {
        "S_var": A / v - m * B / v**2 + m**2 * D / (4 * v**3),
        "S_mean": m / sp.sqrt(v)
        + b_m / sp.sqrt(v)
        - m * b_v / (2 * v ** (3 * half))
        - B / (2 * v ** (3 * half))
        + 3 * m * D / (8 * v ** (5 * half)),
        "risk_var": 4 * (1 - m) ** 2 * A - 4 * (1 - m) * B + D,
        "mean_accuracy": Phi(mean / sp.sqrt(1 + variance)),
    }
    d = _ChainDerivation("ratio_spread", own, claim)
    spread, bias = sp.Matrix([[A, B], [B, D]]), sp.Matrix([b_m, b_v])

    def carried(function: Expr) -> tuple[Expr, Expr]:
        """Variance and mean of a function of the two, to leading order."""
        slope, bend = sp.Matrix([function]).jacobian([m, v]), sp.hessian(function, (m, v))
        return (slope * spread * slope.T)[0], function + (slope * bias)[0] + (bend * spread).trace() / 2

    ratio = m / sp.sqrt(v)
    S_var, S_mean = carried(ratio)
    d.step(
        "The margin's mean m and variance u have variances A, D and covariance B between draws: S to first order",
        ("S_ratio", ratio),
        *d.agree(S_var=S_var),
    )
    d.step("To second order, with the biases of m and u", *d.agree(S_mean=S_mean))
    d.step("The squared risk, to first order", *d.agree(risk_var=carried((1 - m) ** 2 + v)[0]))
    claimed = d.claims["mean_accuracy"]
    heat = sp.diff(claimed, variance) - sp.diff(claimed, mean, 2) / 2
    if not (claimed.subs(variance, 0) == Phi(mean) and _is_zero(heat)):
        d.fail(f"E Φ(S) is claimed to be {to_text(claimed)}, which it is not")
    d.proved("mean_accuracy")
    d.step(
        "A mean over a Gaussian S solves the heat equation in mean and variance, and is Φ where the variance is 0",
        ("mean_accuracy", claimed),
    )
    return d.done(
        "What the spread of mean and variance of a margin makes of accuracy and risk.",
        "The prediction intervals for accuracies rest on these.",
    )
