r"""Proofs that SymPy carries out: from the model's deterministic equivalent to every formula of THEORY §4 to §6.

What is taken as known is one theorem (the first-order deterministic equivalent of a resolvent; Louart, Liao, Couillet,
Annals of Applied Probability 28 (2018), Theorem 1): for n independent concentrated vectors zᵢ with second moment
``C = E[zᵢzᵢᵀ]`` and any positive matrix S, as n and p grow together,

    (ZᵀZ/n + S)⁻¹ ≈ (θC + S)⁻¹,    θ = 1/(1+δ),    δ = (1/n) tr C(θC + S)⁻¹.

Everything else is derived. With S = γI and κ := γ/θ it is the fixed point of THEORY §3. Second order comes by moving S
and differentiating: θ moves along, by the implicit derivative of its own equation. With the label as one more
coordinate of zᵢ = (xᵢ, yᵢ), and S = ((γI + zA, αγw̃), (·, α²γ‖w̃‖²)), the Schur complement of the label's entry is

    L(z) = min_w ‖y − Xw‖²/n + γ‖w − αw̃‖² + z wᵀAw,        dL/dz = w_αᵀ A w_α   at z = 0

(proof `loss`), so that the theorem for L gives the law of w_α itself, label noise included. (A small number added to
S's last entry makes S positive and adds itself to L. L is concave in z, and the resolvent analytic: derivatives
converge with them.)

Each proof is a function. It returns a `Proof`, whose steps were computed while the function ran, and it raises a
`ProofError` where what it claims is not what it derived. The claims are the package's own expressions; the argument
`claim` puts others in their place, by name, so that one can see a false statement fail:

    optimum({"optimum": -optimal_alpha(of="letters")})      raises ProofError

How a claim is decided is said in `rmt_alpha.theory.symbolic.proving`. The fluctuation theory of THEORY §8 rests on
something else, and its proofs are in `rmt_alpha.theory.symbolic.chain_proofs`.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp

from rmt_alpha.theory.symbolic import expressions
from rmt_alpha.theory.symbolic.chain_proofs import (
    chain_covariance,
    chain_drift,
    chain_jacobian,
    chain_point,
    chain_return,
    corner,
    ratio_spread,
)
from rmt_alpha.theory.symbolic.expressions import Expr, Phi, abbreviations, definitions, letters
from rmt_alpha.theory.symbolic.printing import to_text
from rmt_alpha.theory.symbolic.proving import (
    Claim,
    Proof,
    ProofError,
    _Block,
    _block,
    _Derivation,
    _Equivalent,
    _for_a_source,
    _in_kappa,
    _is_zero,
    _name,
    _sign,
    _Trace,
    is_nonnegative,
    is_positive,
)

L = letters


# The model.

_SAMPLES = sp.Symbol("n", positive=True)

_X, _XT, _Y, _YT, _W, _WT = map(_block, ("X", "Xᵀ", "y", "yᵀ", "w", "wᵀ"))
_SOURCE, _SOURCE_T, _A, _I = map(_block, ("w̃", "w̃ᵀ", "A", "I"))
_P, _RESOLVENT, _PULL, _PULL_T = map(_block, ("P", "Q", "q", "qᵀ"))  # Q is the inverse of P

_Z, _ZT, _S, _C = map(_block, ("Z", "Zᵀ", "S", "C"))
_DELTA = _Block("δ", positive=True)


def _vanishes(expr: Expr) -> bool:
    """Decide whether a sum of products of blocks is 0, given PQ = QP = 1 and that a number is its own transpose."""
    total: dict[tuple[Expr, ...], Expr] = {}
    for term in sp.Add.make_args(sp.expand(expr)):
        factors, blocks = term.args_cnc()
        word: list[Expr] = []
        for block in (x for power in blocks for x in [power.as_base_exp()[0]] * int(power.as_base_exp()[1])):
            if block == _I:
                continue
            if word and {word[-1], block} == {_P, _RESOLVENT}:
                word.pop()
            else:
                word.append(block)
        key = tuple(word)
        if word and word[0] in (_YT, _WT, _SOURCE_T, _PULL_T) and word[-1] in (_Y, _W, _SOURCE, _PULL):
            key = min(key, tuple(map(_transposed, reversed(word))), key=lambda x: [y.name for y in x])
        total[key] = total.get(key, sp.S.Zero) + sp.Mul(*factors)
    return all(sp.expand(x) == 0 for x in total.values())


def _transposed(block: Expr) -> Expr:
    if block in (_A, _P, _RESOLVENT):
        return block
    return _block(block.name.removesuffix("ᵀ") if block.name.endswith("ᵀ") else f"{block.name}ᵀ")


def loss(claim: Claim = None) -> Proof:
    """Prove how the model reaches the theorem: the classifier's loss is a Schur complement, its slope a quadratic form.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "schur", "w_alpha" and "envelope".

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
    Matrices have any size: they are letters that do not commute, whose products are compared word by word.

    Examples
    --------
    >>> to_text(loss().claims["envelope"])
    'w_αᵀ*A*w_α'
    """
    best, best_t = _block("w_α"), _block("w_αᵀ")
    square = _YT * _Y / _SAMPLES + L.alpha**2 * L.gamma * _SOURCE_T * _SOURCE
    own = {
        "schur": square - _PULL_T * _RESOLVENT * _PULL,
        "w_alpha": _RESOLVENT * (_XT * _Y / _SAMPLES + L.alpha * L.gamma * _SOURCE),
        "envelope": best_t * _A * best,
    }
    d = _Derivation("loss", own, claim)

    def settle(name: str, derived: Expr) -> tuple[str, Expr]:
        """Compare a claim with what was derived, both spelled out."""
        meant = (d.claims[name] - derived).subs({best: _RESOLVENT * _PULL, best_t: _PULL_T * _RESOLVENT})
        if not _vanishes(meant.subs({_PULL: q, _PULL_T: q_t})):
            d.fail(f"{_name(name)[0]} is claimed to be {to_text(d.claims[name])}, which it is not")
        d.proved(name)
        return name, d.claims[name]

    residual, residual_t = _Y - _X * _W, _YT - _WT * _XT
    away, away_t = _W - L.alpha * _SOURCE, _WT - L.alpha * _SOURCE_T
    objective = residual_t * residual / _SAMPLES + L.gamma * away_t * away + L.z * _WT * _A * _W
    d.step(
        "Fine-tuning learns the deviation from the scaled source by ridge: it minimises this, at z = 0",
        ("objective", objective),
    )
    moment = sp.Matrix([[_XT * _X, _XT * _Y], [_YT * _X, _YT * _Y]]) / _SAMPLES
    fixed = sp.Matrix(
        [
            [L.gamma * _I + L.z * _A, L.alpha * L.gamma * _SOURCE],
            [L.alpha * L.gamma * _SOURCE_T, L.alpha**2 * L.gamma * _SOURCE_T * _SOURCE],
        ]
    )
    whole = moment + fixed
    form = (sp.Matrix([[_WT, -1]]) * whole * sp.Matrix([_W, -1]))[0]
    d.need(_vanishes(objective - form), "L is the quadratic form of the two matrices")
    d.step(
        "That is a quadratic form in (w, -1): second moments of samples with labels, Z = (X, y), and a fixed S",
        ("moment", moment),
        ("S", fixed),
    )
    (p, q), (q_t, number) = whole.tolist()
    d.step("Names for two blocks of their sum", ("P", p), ("q", q))
    least = number - _PULL_T * _RESOLVENT * _PULL
    centred, centred_t = _W - _RESOLVENT * _PULL, _WT - _PULL_T * _RESOLVENT
    completed = centred_t * _P * centred + least
    plain = _WT * _P * _W - _WT * _PULL - _PULL_T * _W + number
    d.need(_vanishes(objective - plain.subs({_P: p, _PULL: q, _PULL_T: q_t})), "P and q are the form's blocks")
    d.need(_vanishes(completed - plain), "the square is complete")
    d.step("The square completed, where Q is the inverse of P", ("objective", completed))
    d.step("P is positive, so L is least where the square vanishes", settle("w_alpha", _RESOLVENT * _PULL))
    d.step("What is left is the Schur complement of the last entry", settle("schur", least))
    upper, lower = -_P * _RESOLVENT * _PULL + _PULL, -_PULL_T * _RESOLVENT * _PULL + number
    d.need(_vanishes(upper) and _vanishes(lower - least), "the last column of the inverse is (-Qq, 1) over min L")
    column = sp.Matrix([-_RESOLVENT * _PULL, 1])
    d.step(
        "The sum maps this column to (0, min L): its inverse tells both min L and the classifier", ("column", column)
    )
    theta_c = L.theta * _C + _S
    d.step(
        "Taken as known is a theorem: such an inverse is, as n and p grow together, as good as a fixed matrix",
        _Equivalent((_ZT * _Z / _SAMPLES + _S) ** -1, theta_c**-1, evaluate=False),
        sp.Eq(L.theta * (1 + _DELTA), 1, evaluate=False),
        sp.Eq(_DELTA, _Trace(_C * theta_c**-1) / _SAMPLES, evaluate=False),
    )
    slope = -_RESOLVENT * sp.diff(p, L.z) * _RESOLVENT
    d.need(_vanishes(sp.diff(p, L.z) * _RESOLVENT + _P * slope), "PQ = I stays true as z moves")
    d.step("PQ = I is true for all z, so its derivative vanishes", ("Q_prime", slope))
    d.need(sp.diff(q, L.z) == 0 and sp.diff(number, L.z) == 0, "z is in P alone")
    d.step("Only Q moves in min L: its slope is a form in the classifier", settle("envelope", -_PULL_T * slope * _PULL))
    return d.done(
        "The fine-tuned classifier, and its loss as a Schur complement, for data of any size.",
        "The theorem, applied to min L and to its slope in z, gives the mean and the variance of the margin.",
    )


# The resolvent.

_FIXED_POINT = L.gamma + L.kappa * L.eta / (1 + L.kappa)
"""γ + (κ/n) tr Σ(Σ+κI)⁻¹ for Σ = I: p of the n-th parts, each κ/(1+κ)."""


def effective_ridge(claim: Claim = None) -> Proof:
    """Prove that κ is the positive root of a quadratic, in both of its forms.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "kappa" (`kappa`) and "kappa_stable" (``kappa(stable=True)``).

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
    >>> effective_ridge().name
    'effective_ridge'
    >>> effective_ridge({"kappa": -expressions.kappa()})
    Traceback (most recent call last):
        ...
    rmt_alpha.theory.symbolic.proving.ProofError: effective_ridge: κ is claimed to be ..., which it is not
    """
    own = {"kappa": expressions.kappa(), "kappa_stable": expressions.kappa(stable=True)}
    d = _Derivation("effective_ridge", own, claim)
    delta = L.eta / (L.theta + L.gamma)
    d.step("The theorem for Σ = I and S = γI: p equal eigenvalues", sp.Eq(L.theta * (1 + delta), 1, evaluate=False))
    inserted = sp.cancel((L.theta * (1 + delta) - 1).subs(L.theta, L.gamma / L.kappa) * L.kappa)
    d.need(sp.expand(sp.fraction(sp.together(inserted - (_FIXED_POINT - L.kappa)))[0]) == 0, "κ = γ/θ is a fixed point")
    d.step(
        "For the effective ridge in the place of θ this is a fixed-point equation",
        sp.Eq(L.kappa, L.gamma / L.theta, evaluate=False),
        sp.Eq(L.kappa, _FIXED_POINT, evaluate=False),
    )
    quadratic = sp.Poly(sp.fraction(sp.together(L.kappa - _FIXED_POINT))[0], L.kappa)
    d.step("Cleared of its denominator", sp.Eq(sp.collect(quadratic.as_expr(), L.kappa), 0, evaluate=False))
    leading, linear, constant = quadratic.all_coeffs()
    d.need(leading == 1 and (-constant).is_positive, "the roots have a negative product")
    d.step("The product of the roots is negative: one is positive, the larger one", ("product", constant))
    b, root = -linear, sp.Symbol("R", positive=True)
    square = sp.expand(b**2 - 4 * constant)
    larger = (b + root) / 2

    def in_root(expr: Expr) -> Expr:
        """Write R for √(b² + 4γ)."""
        return expr.replace(
            lambda x: x.is_Pow and not x.exp.is_Integer,
            lambda x: root ** (2 * x.exp) if sp.expand(x.base - square) == 0 else x,
        )

    def equals_larger(expr: Expr) -> bool:
        """Compare with the larger root, where R² is b² + 4γ."""
        numerator = sp.fraction(sp.together(expr - larger))[0]
        if not (numerator.is_polynomial(root) and sp.Poly(numerator, root).as_expr().is_polynomial()):
            return False
        return bool(sp.rem(sp.Poly(numerator, root), sp.Poly(root**2 - square, root)).as_expr().expand() == 0)

    def wrong(expr: Expr) -> None:
        d.fail(f"κ is claimed to be {to_text(expr)}, which it is not")

    if not equals_larger(in_root(d.claims["kappa"].doit())):
        wrong(d.claims["kappa"])
    d.proved("kappa")
    d.step("It is", ("kappa", d.claims["kappa"]))
    stable = sp.piecewise_fold(d.claims["kappa_stable"].doit())
    d.need(isinstance(stable, sp.Piecewise) and len(stable.args) == 2, "κ is claimed in two forms")
    (upper, condition), (lower, otherwise) = stable.args
    order = isinstance(condition, sp.GreaterThan | sp.StrictGreaterThan | sp.LessThan | sp.StrictLessThan)
    d.need(
        order and otherwise == sp.true and sp.expand(condition.gts - condition.lts - b) == 0,
        "the two forms of κ part at b = 0",
    )
    size = sp.Symbol("B", positive=True)
    for form, sign in ((upper, 1), (lower, -1)):
        plain = in_root(form).replace(  # |b| is b or −b; any other absolute value stays, and fails
            lambda x: isinstance(x, sp.Abs) and sp.expand(x.args[0] ** 2 - b**2) == 0, lambda _, sign=sign: sign * b
        )
        if not equals_larger(plain):
            wrong(form)
        sums = sp.fraction(sp.together(plain.subs(L.eta, sign * size + 1 - L.gamma)))
        d.need(all(_sign(sp.expand(x), frozenset()) > 0 for x in sums), f"{to_text(form)} subtracts nothing")
    d.proved("kappa_stable")
    d.step(
        "The larger root is the product over the smaller one: each form adds positive numbers only where it applies",
        ("kappa_stable", d.claims["kappa_stable"]),
    )
    return d.done(
        "The effective ridge of isotropic data is the positive root of a quadratic.",
        "Both forms are the same positive number; the second one never subtracts nearly equal numbers.",
    )


def rho_and_h(claim: Claim = None) -> Proof:
    """Prove the identities of ρ = γ/κ and h = 1 − df₂/n.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "gamma", "rho", "h" and "h_sum".

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
    >>> to_text(rho_and_h().claims["h_sum"])
    'η*κ/(κ + 1)**2 + ρ'
    """
    own = {
        "gamma": abbreviations()[L.gamma],
        "rho": abbreviations()[L.rho],
        "h": abbreviations()[L.h],
        "h_sum": abbreviations("gamma")[L.h],
    }
    d = _Derivation("rho_and_h", own, claim)
    gamma = L.kappa - (_FIXED_POINT - L.gamma)
    d.step("γ in terms of κ, from the fixed point", ("fixed_gamma", gamma))
    d.step("Divided by κ", *d.agree(rho=sp.cancel(gamma / L.kappa), gamma=gamma))
    df2 = L.eta / (1 + L.kappa) ** 2
    d.step("The share of the squared degrees of freedom has p equal terms", ("df2", df2))
    d.step("It is what h lacks to 1", *d.agree(h=1 - df2))
    d.step("As a sum of positive terms", *d.agree(h_sum=gamma / L.kappa + L.kappa * df2))
    d.step("It is also the slope of γ as a function of κ", ("h", d.same(sp.diff(gamma, L.kappa), 1 - df2)))
    d.step("So κ moves with γ by the inverse of that", ("kappa_prime", d.same(1 / sp.diff(gamma, L.kappa), 1 / L.h)))
    d.step("And together", sp.Eq(L.h * (1 + L.kappa), d.same(L.h * (1 + L.kappa), L.kappa + L.rho), evaluate=False))
    for number, text in ((L.h - L.rho, "h > ρ"), (1 - L.h, "h < 1"), (L.rho, "ρ > 0")):
        d.need(is_positive(number), text)
    return d.done(
        "Shares of the samples that ridge leaves over.",
        "ρ lies in (0, 1) and h in (ρ, 1), and h is what a change of κ costs in γ.",
    )


def _moved_theta(bulk: Expr) -> Expr:
    """dθ/dz at z = 0 for S = γI + zA on Σ = I, where `bulk` is A's mean eigenvalue."""
    equation = L.theta * (1 + L.eta / (L.theta + L.gamma + L.z * L.a)) - 1  # to be averaged over A's eigenvalues a
    by_theta, by_z = (sp.diff(equation, x).subs(L.z, 0) for x in (L.theta, L.z))
    if sp.diff(by_theta, L.a) != 0 or sp.diff(by_z, L.a, 2) != 0:
        raise ProofError("the trace depends on more of A than its mean eigenvalue")
    return (-by_z / by_theta).subs({L.a: bulk, L.theta: L.rho})


_INFLATION = (1 - L.h) / L.h
"""df₂/(n − df₂)."""


def second_order(claim: Claim = None) -> Proof:
    """Prove the second-order deterministic equivalent E[QAQ], reduced to isotropic numbers.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "QAQ", "QQ_along", "QQ_off" and "V11".

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
    >>> to_text(second_order().claims["QQ_off"])
    '1/(h*ρ**2*(κ + 1)**2)'
    """
    own = {
        "QAQ": (L.a + _INFLATION * L.tau) / (L.rho * (1 + L.kappa)) ** 2,
        "QQ_along": (1 + _INFLATION * (1 + L.m**2)) / (L.rho * L.lam) ** 2,
        "QQ_off": 1 / (L.h * L.rho**2 * (1 + L.kappa) ** 2),
        "V11": expressions.five_numbers(of="letters")["V11"],
    }
    d = _Derivation("second_order", own, claim)
    d.step(
        "The slope of the resolvent in z (proof loss), whose mean the theorem gives",
        ("Q_prime", -_RESOLVENT * _A * _RESOLVENT),
    )
    d.step(
        "θ moves with z; its own equation feels A through its mean eigenvalue τ alone",
        ("theta_prime", d.same(_moved_theta(L.tau), _INFLATION * L.tau)),
    )

    def second(c: Expr, a: Expr, bulk: Expr) -> Expr:
        """−d/dz of 1/(θc + γ + za): along a common eigenvector of C and A, with eigenvalues c and a."""
        resolvent = 1 / (L.theta * c + L.gamma + L.z * a)
        moved = sp.diff(resolvent, L.z) + sp.diff(resolvent, L.theta) * _moved_theta(bulk)
        return -moved.subs({L.z: 0, L.theta: L.rho})

    one = sp.S.One
    d.step("Without a mean, along a unit vector v with Av = av", *d.agree(QAQ=second(one, L.a, L.tau)))
    mean = sp.Matrix([L.m, 0])
    bulk = sp.eye(2) + mean * mean.T
    d.need(list(bulk * mean) == list((1 + L.m**2) * mean), "the target mean is an eigenvector of C")
    d.step(
        "For A the identity, along the target mean, an eigenvector of C in the coordinates (along, off)",
        ("C", bulk),
        *d.agree(QQ_along=second(1 + L.m**2, one, one)),
    )
    d.step("The same off the target mean", *d.agree(QQ_off=second(one, one, one)))
    trace = d.same(1 / (L.rho + L.gamma), 1 / (1 + L.kappa - L.eta))
    d.step(
        "The last is also the fall of this mean eigenvalue as γ grows, since κ grows by 1/h",
        ("trace", trace),
    )
    d.same(-sp.diff(trace, L.kappa) / L.h, d.claims["QQ_off"])
    along, off = d.claims["QQ_along"], d.claims["QQ_off"]
    d.step(
        "The source adds to the classifier what Q leaves of it: its two parts weigh the last two",
        *d.agree(V11=L.gamma**2 * (L.s**2 / L.m**2 * along + L.w_perp**2 * off)),
    )
    return d.done(
        "Second-order deterministic equivalent of the resolvent Q, for isotropic noise.",
        "E[QAQ] is the product of the means, enlarged by the fluctuation of θ; V₁₁ is an instance.",
    )


# The law of the margin.


@dataclass(frozen=True)
class _Law:
    """What the theorem says in the plane of μ_β and w̃, in the coordinates (along μ_β, off it); at z = 0."""

    moment: Expr
    """C, of a sample with its label."""

    fixed: Expr
    """S."""

    loss: Expr
    """min L, still in terms of z and θ."""

    mean: tuple[Expr, Expr]
    """w̄, the minimiser."""

    risk: Expr
    """dL/dθ."""

    variance: Expr
    """dL/dz, θ moving along."""


@cache
def _derived_law() -> _Law:
    mu, source = sp.Matrix([L.m, 0]), sp.Matrix([L.s / L.m, L.w_perp])
    moment = sp.Matrix(sp.BlockMatrix([[sp.eye(2) + mu * mu.T, L.t * mu], [L.t * mu.T, sp.eye(1)]]))
    pulled, length2 = L.alpha * L.gamma * source, sp.Matrix([L.alpha**2 * L.gamma * source.dot(source)])
    fixed = sp.Matrix(sp.BlockMatrix([[(L.gamma + L.z) * sp.eye(2), pulled], [pulled.T, length2]]))
    whole = L.theta * moment + fixed
    resolvent, pull = whole[:2, :2].inv(), whole[:2, 2]
    loss = whole[2, 2] - (pull.T * resolvent * pull)[0]
    here = {L.z: 0, L.theta: L.rho, L.gamma: L.kappa * L.rho}
    along, off, by_z, by_theta = (
        sp.factor(x.subs(here)) for x in (*(resolvent * pull), sp.diff(loss, L.z), sp.diff(loss, L.theta))
    )
    return _Law(moment, fixed, loss, (along, off), by_theta, by_z + by_theta * _moved_theta(sp.S.One))


def _coefficients(expr: Expr, degree: int) -> list[Expr]:
    """Coefficients in α of a polynomial, from the constant one."""
    return [sp.diff(expr, L.alpha, k).subs(L.alpha, 0) / math.factorial(k) for k in range(degree + 1)]


@cache
def _derived_numbers() -> dict[str, Expr]:
    """Return the five numbers as they come out of the theorem."""
    law = _derived_law()
    m0, m1 = _coefficients(L.m * law.mean[0], 1)
    v00, v01, v11 = _coefficients(law.variance, 2)
    return {"M0": m0, "M1": m1, "V00": v00, "V01": v01 / 2, "V11": v11}


def margin_law(claim: Claim = None) -> Proof:
    """Prove the five numbers, from the model.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "M0", "M1", "V00", "V01" and "V11" (`five_numbers`), "mean"
        (`margin_mean`), "var" (`margin_variance`), "accuracy" and "risk".

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
    >>> to_text(margin_law().claims["M1"])
    'κ*s/λ'
    """
    own = expressions.five_numbers(of="letters") | {
        "mean": expressions.margin_mean(of="letters"),
        "var": expressions.margin_variance(of="letters"),
        "accuracy": expressions.accuracy(of="letters"),
        "risk": expressions.risk(of="letters"),
    }
    d = _Derivation("margin_law", own, claim)
    law = _derived_law()
    d.step(
        "C of a sample with its label, and S (proof loss) with A the identity, along and off the target mean",
        ("C", law.moment),
        ("S", law.fixed),
    )
    d.step("By the theorem min L is the Schur complement of the last entry of θC + S", ("loss", law.loss))
    plain = (L.t * L.m + L.alpha * L.kappa * L.s / L.m) / L.lam, L.alpha * L.kappa * L.w_perp / (1 + L.kappa)
    along, off = (d.same(entry, value) for entry, value in zip(law.mean, plain, strict=True))
    mu, source = sp.Matrix([L.m, 0]), sp.Matrix([L.s / L.m, L.w_perp])
    population = (sp.eye(2) + mu * mu.T + L.kappa * sp.eye(2)).inv() * (L.t * mu + L.alpha * L.kappa * source)
    d.need(all(_is_zero(x - y) for x, y in zip(population, plain, strict=True)), "w̄ is a ridge classifier")
    d.step(
        "Its minimiser at z = 0: the ridge classifier of the population with penalty κ, which starts at the source",
        sp.Eq(L.theta, L.rho, evaluate=False),
        *(("w_along", along), ("w_off", off)),
    )
    risk = 1 - 2 * L.t * L.m * along + (1 + L.m**2) * along**2 + off**2
    d.step(
        "The slope of min L in θ is the mean squared error of w̄ on observed labels",
        ("risk_mean", d.same(law.risk, risk)),
    )
    variance = along**2 + off**2 + _INFLATION * risk
    d.step(
        "The slope of min L in z, θ moving along, is the margin's variance",
        ("variance", d.same(law.variance, variance)),
        *d.agree(var=law.variance),
    )
    d.step("The margin's mean is m times the first coordinate of w̄", *d.agree(mean=L.m * along))
    d.step("The coefficients of 1 and α in the mean", *d.agree(**_part("M0", "M1")))
    d.step("The coefficients of 1, 2α and α² in the variance", *d.agree(**_part("V00", "V01", "V11")))
    d.step("The squared error of a margin from 1", *d.agree(risk=(1 - L.m * along) ** 2 + law.variance))
    claimed = d.claims["accuracy"]
    if not (isinstance(claimed, Phi) and _is_ratio(claimed.args[0], L.m * along, law.variance)):
        d.fail(f"accuracy is claimed to be {to_text(claimed)}, which it is not")
    d.proved("accuracy")
    d.step("A Gaussian margin is positive with this probability", ("accuracy", claimed))
    return d.done(
        "The law of the margin of a fresh target point, for an arbitrary source.",
        "The margin is Gaussian given the classifier, so these five numbers are all that accuracy depends on.",
    )


def _is_ratio(expr: Expr, mean: Expr, variance: Expr) -> bool:
    """Decide whether an expression is mean/√variance: its square is, and its sign is the mean's."""
    roots = [x for x in sp.Mul.make_args(expr) if x.is_Pow and x.exp.is_Rational and not x.exp.is_Integer]
    rest = expr / sp.Mul(*roots)
    unknown = [x for x in roots if not is_positive(x.base)]  # of one the sign follows from that of the square
    if len(unknown) > 1 or not rest.is_rational_function(*rest.free_symbols):
        return False
    return _is_zero(expr**2 * variance - mean**2) and is_positive(rest / mean)


def _part(*names: str) -> dict[str, Expr]:
    return {name: _derived_numbers()[name] for name in names}


def trained_source(claim: Claim = None) -> Proof:
    """Prove the two numbers of a source that was itself trained by ridge, and of the oracle, its mean without noise.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "m2", "r2", "s", "w_perp2", "s_oracle" and "w_perp2_oracle".

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
    >>> to_text(trained_source().claims["s"])
    'β*μ**2*t_s/λ̃'
    """
    numbers = definitions("ridge", of="letters")
    oracle = definitions("oracle", of="letters")
    own = {
        "m2": expressions.target_norm() ** 2,
        "r2": abbreviations()[L.r] ** 2,
        "s": numbers[L.s],
        "w_perp2": numbers[L.w_perp] ** 2,
        "s_oracle": oracle[L.s],
        "w_perp2_oracle": oracle[L.w_perp] ** 2,
    }
    d = _Derivation("trained_source", own, claim)
    gain = L.t_source / L.lam_source
    length, norm2 = (_as_source(_derived_numbers()[name]) for name in ("M0", "V00"))
    d.step(
        "The source is a classifier trained from scratch: M₀ of its own problem is ⟨w̃, μ⟩",
        ("M0", d.same(length, gain * L.mu**2)),
    )
    d.step("Its mean is therefore gμ, with the gain", ("gain", gain))
    d.step("V₀₀ of its own problem is ‖w̃‖². What is not in the mean is", *d.agree(r2=norm2 - (gain * L.mu) ** 2))
    mean, target = sp.Matrix([L.mu, 0]), sp.Matrix([L.beta * L.mu, sp.sqrt(1 - L.beta**2) * L.mu_perp])
    d.step("In the plane of the two means the target's is this vector, of length m", ("target", target))
    norm = target.dot(target)
    d.step("Its squared length", *d.agree(m2=norm))

    def numbers_of(gain: Expr) -> tuple[Expr, Expr]:
        """Overlap of gμ with the target mean, and the squared length of what is off it."""
        overlap = gain * mean.dot(target)
        return overlap, gain**2 * mean.dot(mean) - overlap**2 / norm

    def in_m(expr: Expr) -> Expr:
        return expr.subs(L.m, sp.sqrt(norm))

    def settle(s: str, w_perp2: str, gain: Expr, noise: Expr) -> list[tuple[str, Expr]]:
        """Compare claims, m in them spelled out, with what was derived."""
        for name, value in zip((s, w_perp2), numbers_of(gain), strict=True):
            value = value + (noise if name == w_perp2 else 0)
            if not _is_zero(in_m(d.claims[name]) - value):
                d.fail(f"{_name(name)[0]} is claimed to be {to_text(d.claims[name])}, which it is not")
            d.proved(name)
        return [(name, d.claims[name]) for name in (s, w_perp2)]

    d.step(
        "The oracle is the source's mean itself: gain 1 and no noise",
        *settle("s_oracle", "w_perp2_oracle", sp.S.One, sp.S.Zero),
    )
    d.step(
        "With the gain, and all of r² off the target mean since it is isotropic", *settle("s", "w_perp2", gain, L.r**2)
    )
    return d.done(
        "Overlap and off-target length of a source trained by ridge on its own samples, and of the oracle.",
        "Such a source acts as gμ with isotropic noise of squared length r².",
    )


def _as_source(expr: Expr) -> Expr:
    """Read an expression of the target's problem as one of the source's."""
    pairs = {L.m: L.mu} | {L[name]: L[f"{name}_source"] for name in ("eta", "gamma", "kappa", "rho", "h", "lam", "t")}
    return expr.subs(pairs, simultaneous=True)


# What follows from the five numbers.

_MEAN = L.M0 + L.alpha * L.M1
_VARIANCE = L.V00 + 2 * L.alpha * L.V01 + L.alpha**2 * L.V11


def _insert(expr: Expr) -> Expr:
    """Insert the five numbers of THEORY §4."""
    return expr.subs({L[name]: value for name, value in expressions.five_numbers(of="letters").items()})


def optimum(claim: Claim = None) -> Proof:
    """Prove α* and the worst α, from d(mean²/variance)/dα = 0.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "optimum" (`optimal_alpha`) and "worst" (`worst_alpha`).

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
    >>> optimum({"optimum": -expressions.optimal_alpha()})  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    rmt_alpha.theory.symbolic.proving.ProofError: optimum: α* is claimed to be …, which it is not
    """
    own = {"optimum": expressions.optimal_alpha(of="letters"), "worst": expressions.worst_alpha(of="letters")}
    d = _Derivation("optimum", own, claim)
    slope, worst, best = _critical()
    d.step("What is largest where accuracy is, for a positive mean", ("snr2", _MEAN**2 / _VARIANCE))
    d.step("The squared signal-to-noise ratio has two critical points, since its slope factors", ("slope", slope))
    d.step("One is the zero of the mean, where accuracy is ½", ("worst", worst), *d.agree(worst=_insert(worst)))
    d.step("The other", ("optimum", best))
    top = sp.factor((_MEAN**2 / _VARIANCE).subs(L.alpha, best))
    determinant = L.V00 * L.V11 - L.V01**2
    square = (L.alpha * (L.M0 * L.V11 - L.M1 * L.V01) - (L.M1 * L.V00 - L.M0 * L.V01)) ** 2
    gap = d.same(top - _MEAN**2 / _VARIANCE, square / (determinant * _VARIANCE))
    d.step("It is the maximum of mean²/var: the gap is a square over det V·var", ("gap", gap))
    divisor, signal = L.M0 * L.V11 - L.M1 * L.V01, sp.factor(_MEAN.subs(L.alpha, best))
    for value, text in (
        (determinant, "det V > 0"),
        (divisor, "M₀V₁₁ > M₁V₀₁"),
        (signal, "the mean is positive at α*"),
    ):
        d.need(_for_a_source(is_positive, _insert(value)), text)
    d.step("Both are positive for a source that is not 0", ("determinant", determinant), ("divisor", divisor))
    d.step("The mean is positive there, so accuracy is largest, not smallest", ("mean", signal))
    d.step("With the five numbers inserted, and h eliminated", *d.agree(optimum=_insert(best)))
    return d.done(
        "The scale of a source that is not 0 at which accuracy is largest, and, for s not 0, the one at which it is ½.",
        "Accuracy has one maximum in α; beyond the zero of the mean it is below ½.",
    )


@cache
def _critical() -> tuple[Expr, Expr, Expr]:
    """Slope of mean²/variance in α, and its zeros: the worst α and α*."""
    slope = sp.factor(sp.diff(_MEAN**2 / _VARIANCE, L.alpha))
    return slope, _linear_root(_MEAN), _linear_root(sp.fraction(slope)[0] / _MEAN)


def _linear_root(expr: Expr) -> Expr:
    """Root in α of what must be linear in it."""
    slope, constant = sp.Poly(sp.cancel(expr), L.alpha).all_coeffs()
    return sp.factor(-constant / slope)


def risk_optimum(claim: Claim = None) -> Proof:
    """Prove the α of least squared risk.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "risk_optimum" (`risk_optimal_alpha`).

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
    >>> risk_optimum().steps[1].text
    'It is linear in α and rises; its zero'
    """
    d = _Derivation("risk_optimum", {"risk_optimum": expressions.risk_optimal_alpha(of="letters")}, claim)
    slope = sp.diff((1 - _MEAN) ** 2 + _VARIANCE, L.alpha)
    d.step("The slope of the squared risk for clean labels", ("risk_slope", slope))
    best = _linear_root(slope)
    d.need(_for_a_source(is_positive, _insert(sp.diff(slope, L.alpha))), "the risk is convex")
    d.step("It is linear in α and rises; its zero", ("risk_optimum", best))
    d.step("With the five numbers inserted", *d.agree(risk_optimum=_insert(best)))
    clean = d.claims["risk_optimum"].subs(L.t, 1)
    d.need(not sp.cancel(_in_kappa(clean)).has(L.eta), "for clean labels η enters through κ alone")
    ratio = clean / expressions.optimal_alpha(of="letters").subs(L.t, 1)
    d.same(ratio, clean / _insert(_critical()[2]).subs(L.t, 1))
    d.need(sp.cancel(_in_kappa(ratio)).has(L.eta), "the two scales are different functions")
    d.step("For clean labels η enters through κ alone, in α* it does not", ("risk_optimum", clean), ("ratio", ratio))
    return d.done(
        "The scale of a source that is not 0 at which squared risk is least.",
        "In general that is another scale than α*; for clean training labels it depends on η through κ alone.",
    )


def factorisation(claim: Claim = None) -> Proof:
    """Prove that all a penalty costs at α* is the factor h.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "best" (`best_snr2`, any label noise) and "best_clean" (t = 1).

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
    >>> to_text(factorisation().claims["best_clean"])
    'h*(η*s**2 + m**4*w⊥**2)/(η*(w⊥**2 + s**2/m**2) + m**2*w⊥**2)'
    """
    norm2 = L.w_perp**2 + L.s**2 / L.m**2
    infinite = (L.m**4 * L.w_perp**2 + L.eta * L.s**2) / (L.m**2 * L.w_perp**2 + L.eta * norm2)
    d = _Derivation("factorisation", {"best": expressions.best_snr2(of="letters"), "best_clean": L.h * infinite}, claim)
    M, V = sp.Matrix([L.M0, L.M1]), sp.Matrix([[L.V00, L.V01], [L.V01, L.V11]])
    best = sp.factor((M.T * V.inv() * M)[0])
    d.step("The squared signal-to-noise ratio at α*", ("best", best))
    derived = _insert(best)
    d.step("With the five numbers inserted", *d.agree(best=derived))
    d.step("For clean labels", *d.agree(best_clean=derived.subs(L.t, 1)))
    c = sp.Matrix([L.m**2, L.s]), sp.Matrix([[L.m**2 + L.eta, L.s], [L.s, norm2]])
    d.same((c[0].T * c[1].inv() * c[0])[0], infinite)
    d.step(
        "Its second factor is the ratio of the law of γ → ∞ in the variables (1, ακ)",
        ("M_infinite", c[0]),
        ("V_infinite", c[1]),
    )
    h = abbreviations()[L.h]
    h_prime = sp.diff(h, L.kappa) / L.h
    d.need(is_positive(h_prime), "h grows with γ")
    d.step("h grows with γ, since κ grows by 1/h (proof on h)", ("h_prime", sp.factor(sp.diff(h, L.kappa)) / L.h))
    rest = sp.diff(_in_kappa(d.claims["best"] / L.h), L.kappa)
    d.need(_for_a_source(is_nonnegative, rest), "the second factor never falls as κ grows")
    d.step("With label noise the second factor never falls as κ grows: its slope has no negative coefficient")
    two = _two_sources()
    d.need(_factorises(*two), "two sources have the same factor h")
    d.step(
        "A combination of sources is one source, so the best of all has the factor h too; for two, in full",
        ("M_infinite", two[2]),
        ("V_infinite", two[3]),
    )
    return d.done(
        "For clean labels the best signal-to-noise ratio squared is h times what an infinite penalty would give.",
        "Best accuracy never falls as γ grows, with label noise neither. Any number of sources: the same factor h.",
    )


def _two_sources() -> tuple[Expr, Expr, Expr, Expr]:
    """Return M and V of two sources, and M∞ and V∞, from their combination as one source, for clean labels."""
    weights, (s1, s2) = sp.symbols("a_0 a_1 a_2", real=True), sp.symbols("s_1 s_2", real=True)
    g11, g12, g22 = sp.symbols("g_11 g_12 g_22", real=True)  # products of their parts off the target mean
    start, one, other = weights
    off2 = g11 * one**2 + 2 * g12 * one * other + g22 * other**2
    combined = {L.s: s1 * one + s2 * other, L.w_perp: sp.sqrt(off2)}

    def quadratic(numbers: Mapping[str, Expr]) -> tuple[Expr, Expr]:
        """Gradient of the mean and half the Hessian of the variance in the weights of (target, source, source)."""
        m0, m1, v00, v01, v11 = (x.subs(combined) for x in numbers.values())
        mean, variance = start * m0 + m1, start**2 * v00 + 2 * start * v01 + v11
        return sp.Matrix([sp.diff(mean, x) for x in weights]), sp.hessian(sp.expand(variance), weights) / 2

    clean = {name: x.subs(L.t, 1) for name, x in expressions.five_numbers(of="letters").items()}
    norm2 = L.w_perp**2 + L.s**2 / L.m**2
    infinite = dict(zip(clean, (L.m**2, L.s, L.m**2 + L.eta, L.s, norm2), strict=True))
    return *quadratic(clean), *quadratic(infinite)


def _factorises(mean: Expr, cov: Expr, mean_infinite: Expr, cov_infinite: Expr) -> bool:
    """Decide whether M·V⁻¹M = h M∞·V∞⁻¹M∞."""
    one, other = (((m.T * v.adjugate() * m)[0], v.det()) for m, v in ((mean, cov), (mean_infinite, cov_infinite)))
    return _is_zero(one[0] * other[1] - L.h * other[0] * one[1])


def published_terms(claim: Claim = None) -> Proof:
    """Prove that the paper's T₁, T₂, T₃ are V + M², for an arbitrary source and clean labels.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "T1", "T2" and "T3".

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
    >>> len(published_terms().claims)
    3
    """
    rest, norm2 = 1 - L.h, L.w_perp**2 + L.s**2 / L.m**2
    own = {
        "T1": rest / L.h + L.m**2 / (L.h * L.lam) * ((L.m**2 + 1) / L.lam - 2 * rest),
        "T2": 2 * L.kappa * L.s / (L.h * L.lam) * ((L.m**2 + 1) / L.lam - rest),
        "T3": L.kappa**2 / L.h * (L.s**2 / L.lam**2 + rest / L.eta * (norm2 + L.s**2 * (L.m**2 / L.lam - 2) / L.lam)),
    }
    d = _Derivation("published_terms", own, claim)
    moment = _VARIANCE + _MEAN**2
    d.step("The second moment of the margin", ("second_moment", moment))
    derived = [_insert(x).subs(L.t, 1) for x in _coefficients(moment, 2)]
    for power, name, value in zip(("1", "α", "α²"), own, derived, strict=True):
        d.step(f"Its coefficient of {power}, at t = 1", *d.agree(**{name: value}))
    return d.done(
        "The paper's second moment T₁ + αT₂ + α²T₃, in its own form.",
        "For an arbitrary source the paper's terms are the variance plus the squared mean.",
    )


def erratum(claim: Claim = None) -> Proof:
    """Prove what the published code's length of a ridge-trained source lacks.

    Parameters
    ----------
    claim : mapping of str to sympy.Expr, optional
        What to put in the place of the statement's "norm2" (the correct ‖w̃‖²) and "difference". What was
        published is given, not claimed.

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
    >>> published = dict(erratum().steps[2].formulas)["published"]
    >>> erratum({"norm2": published})  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    rmt_alpha.theory.symbolic.proving.ProofError: erratum: ‖w̃‖² is claimed to be …, which it is not
    """
    h, lam, mu2, eta = L.h_source, L.lam_source, L.mu**2, L.eta_source
    k1 = 1 + L.kappa_source
    own = {
        "norm2": (mu2 / lam**2 + (1 - h) * (1 - mu2 / lam) ** 2) / h,
        "difference": -eta * (eta + mu2 + h * mu2**2) / (k1**2 * h * lam**2),
    }
    published = mu2 / lam**2 + (1 - h) * (1 - 2 * mu2 / lam)
    d = _Derivation("erratum", own, claim)
    norm2 = _as_source(_derived_numbers()["V00"]).subs(L.t_source, 1)
    d.step(
        "The source is a classifier trained from scratch: ‖w̃‖² is V₀₀ of its own problem",
        ("norm2", d.same(norm2, (mu2 + eta) / (h * lam**2))),
    )
    d.step("The same, in the form of the published one", *d.agree(norm2=norm2))
    d.step("Given: what the published code has instead", ("published", published))
    difference = published - norm2
    d.step("Their difference, factored", *d.agree(difference=difference))
    d.need(is_positive(-difference), "the published length is too small")
    in_kappa = _in_kappa(d.claims["difference"])
    d.need(sp.limit(in_kappa, eta, 0) == 0 == sp.limit(in_kappa, L.kappa_source, sp.oo), "it vanishes at both ends")
    d.step("It is negative: without the factor 1/h̃ and the square's last term the length is always too small")
    return d.done(
        "The squared length of a source trained by ridge: the correct one, and the published code's.",
        "The difference is never 0; it vanishes for many samples of the source, η̃ → 0, and with the source, γ̃ → ∞.",
    )


def larger_than_one(claim: Claim = None) -> Proof:
    """Prove when α* > 1, and say it in words.

    Parameters
    ----------
    claim : mapping of str to sympy.Basic, optional
        What to put in the place of the statement's "above_one" (`above_one`), "bound" (on w⊥²) and "short" (where the
        bound is positive, for s > 0).

    Returns
    -------
    Proof
        The statement and its steps; the conclusion is the reading in words.

    Raises
    ------
    ProofError
        If a claim is false.

    Examples
    --------
    >>> print(to_text(larger_than_one().claims["above_one"].subs(L.t, 1)))
    η*s*(κ + 1 - κ*s) > κ*λ*m**2*w⊥**2
    """
    B = 1 + L.kappa + (1 - L.t**2) * L.m**2 - L.t * L.kappa * L.s
    own = {
        "above_one": expressions.above_one(of="letters"),
        "bound": L.eta * L.s * B / (L.t * L.kappa * L.lam * L.m**2),
        "short": sp.Gt(1 + L.kappa + (1 - L.t**2) * L.m**2, L.t * L.kappa * L.s),
    }
    d = _Derivation("larger_than_one", own, claim)
    best = d.same(_insert(_critical()[2]), expressions.optimal_alpha(of="letters"))  # derived as in proof optimum
    excess, positive = sp.fraction(sp.together(best - 1))
    d.need(_for_a_source(is_positive, positive), "the denominator of α* is positive")
    d.step(
        "α* (proof optimum) less 1, over a denominator that is positive for a source that is not 0",
        ("excess", excess / positive),
    )

    def settle(name: str, value: Expr) -> tuple[str, Expr]:
        """Compare a claimed inequality with value > 0: the two may differ by a positive factor."""
        claimed = d.claims[name]
        greater = isinstance(claimed, sp.StrictGreaterThan | sp.StrictLessThan)
        if not (greater and _for_a_source(is_positive, (claimed.gts - claimed.lts) / value)):
            d.fail(f"{_name(name)[0]} is claimed to mean {to_text(claimed)}, which it does not")
        d.proved(name)
        return name, claimed

    d.step("Its numerator is positive exactly where", settle("above_one", excess))
    slope, nothing, constant = sp.Poly(excess, L.w_perp).all_coeffs()
    d.need(nothing == 0 and is_positive(-slope), "w⊥² counts against α*")
    d.step("Solved for w⊥², which must be below", *d.agree(bound=-constant / slope))
    bound = _in_kappa(-constant / slope)
    d.step("For s > 0 the bound is positive exactly where the source is short enough", settle("short", bound / L.s))
    by_kappa, by_t = (sp.factor(sp.diff(bound, x)) for x in (L.kappa, L.t))
    short = sp.solve(B - sp.Symbol("q", positive=True), L.s)[0]  # a source so short that B = q > 0
    d.need(is_positive(-(by_kappa / L.s).subs(L.s, short)), "the bound falls as κ grows")
    d.need(is_positive(-by_t / L.s), "the bound falls as t grows")
    d.step("Then it falls as κ, and so γ, grows", ("bound_by_kappa", by_kappa))
    d.step("For s > 0 it falls as t grows, and so rises with label noise", ("bound_by_t", by_t))
    for x in (L.kappa, L.t):
        d.need(
            _for_a_source(is_positive, -sp.diff(_in_kappa(best), x) / L.s), f"α* falls as {to_text(x)} grows, for s > 0"
        )
    d.step("So does α* itself: for s > 0 its slopes in κ and in t are negative")
    return d.done(
        "Where ordinary fine-tuning (α = 1) leans too little on its source.",
        "α* > 1 where the source points the right way and is short enough for its dirt, what of it is off the target "
        "mean. A small penalty and noisy target labels push α* up; a clean source still has to be short.",
    )


PROOFS: dict[str, Callable[..., Proof]] = {
    proof.__name__: proof
    for proof in (
        loss,
        effective_ridge,
        rho_and_h,
        second_order,
        margin_law,
        trained_source,
        optimum,
        risk_optimum,
        factorisation,
        published_terms,
        erratum,
        larger_than_one,
        chain_point,
        chain_jacobian,
        chain_return,
        chain_covariance,
        chain_drift,
        corner,
        ratio_spread,
    )
}
"""All proofs, by name, in the order in which they build on each other."""


def verify(proofs: Iterable[str] | None = None, *, echo: Callable[[str], object] = print) -> list[Proof]:
    """Carry out proofs; print a line for each.

    Parameters
    ----------
    proofs : iterable of str, optional
        Names from ``PROOFS``; all of them by default.
    echo : callable, optional
        Where the lines go.

    Returns
    -------
    list of Proof
        What was proved.

    Raises
    ------
    ProofError
        After all have run, if one of them failed, in whatever way; the first failure is its cause.
    ValueError
        If there is no proof of a given name, or `echo` cannot be called.

    Examples
    --------
    >>> done = verify(["rho_and_h"])  # doctest: +ELLIPSIS
    rho_and_h        ... s  ok
    """
    if not isinstance(proofs, Iterable | None):
        raise ValueError(f"proofs must be names of proofs, got {proofs!r}")
    if not callable(echo):
        raise ValueError(f"echo must be a function, got {echo!r}")
    names: list[Any] = list(PROOFS) if proofs is None else [proofs] if isinstance(proofs, str) else list(proofs)
    unknown = [name for name in names if not isinstance(name, str) or name not in PROOFS]
    if unknown:
        raise ValueError(f"proofs must be among {', '.join(PROOFS)}, got {unknown[0]!r}")
    done: list[Proof] = []
    failed: dict[str, Exception] = {}
    for name in names:
        start, outcome = time.perf_counter(), "ok"
        try:
            done.append(PROOFS[name]())
        except Exception as error:
            failed[name] = error
            outcome = f"FAILED: {_failure(name, error)}"
        echo(f"{name:<16} {time.perf_counter() - start:5.2f} s  {outcome}")
    if failed:
        raise ProofError("; ".join(_failure(name, error) for name, error in failed.items())) from next(
            iter(failed.values())
        )
    return done


def _failure(name: str, error: Exception) -> str:
    return str(error) if isinstance(error, ProofError) else f"{name}: {type(error).__name__}: {error}"
