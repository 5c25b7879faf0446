r"""How a proof is made, and how what it claims is decided.

A `Proof` is a statement with the steps that were computed on the way to it. A `_Derivation` is one in the making: it
compares claims with what is derived, and raises a `ProofError` at the first that is something else.

Identities are decided exactly: both sides are rational functions of independent letters (η, κ, …; γ and h follow from
the fixed point), and their difference is brought to lowest terms; matrices of any size are words in letters that do
not commute. A sign is decided by positive coefficients: with ρ = 1/(1+u) and t = 1/(1+v), which leaves u > 0, v ≥ 0 and
κ > 0 free, η = κ + 1 − ρ(κ + 1) and all else are rational. "Positive" is never "not negative": s and w⊥ may vanish, but
only one of them where the source is not 0, which is then said.
"""

import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy as sp

from rmt_alpha.theory.symbolic.expressions import GLYPHS, Expr, _expression, abbreviations, letters
from rmt_alpha.theory.symbolic.printing import to_latex, to_text

Claim = Mapping[str, Expr] | None
"""Expressions to put in the place of a statement's own, by name."""

L = letters

_NAMES = {
    "kappa_stable": ("κ", r"\kappa"),
    "h_sum": ("h", "h"),
    "QAQ": ("v·E[QAQ]v", r"v^\top\mathbb{E}[QAQ]\,v"),
    "QQ_along": ("μ·E[Q²]μ/m²", r"\mu_\beta^\top\mathbb{E}[Q^2]\mu_\beta/m^2"),
    "QQ_off": ("v·E[Q²]v", r"v^\top\mathbb{E}[Q^2]\,v"),
    "product": ("product", r"\mathrm{product}"),
    "fixed_gamma": ("γ", r"\gamma"),
    "kappa_prime": ("dκ/dγ", r"\frac{d\kappa}{d\gamma}"),
    "objective": ("L", "L"),
    "schur": ("min L", r"\min_w L"),
    "w_alpha": ("w_α", r"w_\alpha"),
    "envelope": ("d min L/dz", r"\frac{d}{dz}\min_w L"),
    "moment": ("ZᵀZ/n", r"\frac{1}{n}Z^\top Z"),
    "column": ("column", r"\mathrm{column}"),
    "P": ("P", "P"),
    "q": ("q", "q"),
    "Q_prime": ("dQ/dz", r"\frac{dQ}{dz}"),
    "C": ("C", "C"),
    "S": ("S", "S"),
    "df2": ("df₂/n", r"\mathrm{df}_2/n"),
    "accuracy": ("accuracy", r"\mathrm{accuracy}"),
    "risk": ("risk", r"\mathrm{risk}"),
    "theta_prime": ("dθ/dz", r"\frac{d\theta}{dz}"),
    "risk_mean": ("R(w̄)", r"R(\bar w)"),
    "w_perp2": ("w⊥²", r"w_\perp^2"),
    "s_oracle": ("s of μ", r"s(\mu)"),
    "w_perp2_oracle": ("w⊥² of μ", r"w_\perp^2(\mu)"),
    "m2": ("m²", "m^2"),
    "r2": ("r²", "r^2"),
    "norm2": ("‖w̃‖²", r"\lVert\tilde w\rVert^2"),
    "published": ("‖w̃‖² (published)", r"\lVert\tilde w\rVert^2_{\mathrm{published}}"),
    "difference": ("published − correct", r"\mathrm{published} - \mathrm{correct}"),
    "optimum": ("α*", r"\alpha^*"),
    "worst": ("worst α", r"\alpha_{\mathrm{worst}}"),
    "risk_optimum": ("α of least risk", r"\alpha_{\mathrm{risk}}"),
    "snr2": ("mean²/var", r"\frac{\mathrm{mean}^2}{\mathrm{var}}"),
    "determinant": ("det V", r"\det V"),
    "divisor": ("divisor of α*", r"\mathrm{divisor\ of\ }\alpha^*"),
    "slope": ("d(mean²/var)/dα", r"\frac{d}{d\alpha}\frac{\mathrm{mean}^2}{\mathrm{var}}"),
    "gap": (
        "mean²(α*)/var(α*) − mean²/var",
        r"\frac{\mathrm{mean}^2(\alpha^*)}{\mathrm{var}(\alpha^*)} - \frac{\mathrm{mean}^2}{\mathrm{var}}",
    ),
    "risk_slope": ("d risk/dα", r"\frac{d\,\mathrm{risk}}{d\alpha}"),
    "best": ("M·V⁻¹M", r"M^\top V^{-1}M"),
    "best_clean": ("M·V⁻¹M at t = 1", r"M^\top V^{-1}M\big|_{t=1}"),
    "ratio": ("(α of least risk)/α*", r"\alpha_{\mathrm{risk}}/\alpha^*"),
    "bound_by_kappa": ("d bound/dκ", r"\frac{d}{d\kappa}\sup w_\perp^2"),
    "bound_by_t": ("d bound/dt", r"\frac{d}{dt}\sup w_\perp^2"),
    "h_prime": ("dh/dγ", r"\frac{dh}{d\gamma}"),
    "T1": ("T₁", "T_1"),
    "T2": ("T₂", "T_2"),
    "T3": ("T₃", "T_3"),
    "loss": ("L", "L"),
    "w_along": ("w̄ along μ", r"\bar w_\parallel"),
    "w_off": ("w̄ off μ", r"\bar w_\perp"),
    "variance": ("var", r"\mathrm{var}"),
    "mean": ("mean", r"\mathrm{mean}"),
    "var": ("var", r"\mathrm{var}"),
    "target": ("μ_β", r"\mu_\beta"),
    "gain": ("g", "g"),
    "trace": ("tr E[Q]/p", r"\mathrm{tr}\,\mathbb{E}[Q]/p"),
    "M_infinite": ("M∞", r"M_\infty"),
    "V_infinite": ("V∞", r"V_\infty"),
    "second_moment": ("var + mean²", r"\mathrm{var} + \mathrm{mean}^2"),
    "bound": ("bound on w⊥²", r"\sup w_\perp^2"),
    "above_one": ("α* > 1", r"\alpha^* > 1"),
    "short": ("bound > 0", r"\mathrm{bound} > 0"),
    "excess": ("α* − 1", r"\alpha^* - 1"),
    "plus": ("C₊", "C_+"),
    "C_star": ("C*", "C^*"),
    "E_star": ("E*", "E^*"),
    "dC_00": ("δC′₀₀", r"\delta C'_{00}"),
    "dE_00": ("δE′₀₀", r"\delta E'_{00}"),
    "dC_i0": ("δC′_i0", r"\delta C'_{i0}"),
    "dE_i0": ("δE′_i0", r"\delta E'_{i0}"),
    "returned": ("factor", r"\mathrm{factor}"),
    "characteristic": ("det(x − J_C)", r"\det(x - J_C)"),
    "radius": ("spectral radius", r"\mathrm{spectral\ radius}"),
    "J_C": ("J_C", "J_C"),
    "N": ("N", "N"),
    "var_C": ("n·Var(C_ij/C*)", r"n\,\mathrm{Var}(C_{ij}/C^*)"),
    "cov_CE": ("n·Cov(C_ij/C*, E_ij)", r"n\,\mathrm{Cov}(C_{ij}/C^*, E_{ij})"),
    "var_E": ("n·Var E_ij", r"n\,\mathrm{Var}\,E_{ij}"),
    "chi_0": ("n·E δc₀", r"n\,\mathbb{E}\,\delta c_0"),
    "chi_d": ("n·E δc_d", r"n\,\mathbb{E}\,\delta c_d"),
    "curved_C": ("n·E δ²C′₀₀", r"n\,\mathbb{E}\,\delta^2 C'_{00}"),
    "curved_E": ("n·E δ²E′₀₀", r"n\,\mathbb{E}\,\delta^2 E'_{00}"),
    "xi": ("ξ", r"\xi"),
    "epsilon": ("ε", r"\varepsilon"),
    "L": ("L", "L"),
    "R": ("R", "R"),
    "pivots": ("ρ(1+κ) + UᵀU", r"\rho(1+\kappa) + U^\top U"),
    "G_00": ("(L⁻¹)₀₀", r"(L^{-1})_{0,0}"),
    "G_0k": ("(L⁻¹)_0k", r"(L^{-1})_{0,k}"),
    "G_0r": ("(L⁻¹)_0r", r"(L^{-1})_{0,r}"),
    "G_kk": ("(L⁻¹)_kk", r"(L^{-1})_{k,k}"),
    "G_kr": ("(L⁻¹)_kr", r"(L^{-1})_{k,r}"),
    "G_rr": ("(L⁻¹)_rr", r"(L^{-1})_{r,r}"),
    "G_ll": ("(L⁻¹)_k+1,k+1", r"(L^{-1})_{k+1,k+1}"),
    "G_ls": ("(L⁻¹)_k+1,r+1", r"(L^{-1})_{k+1,r+1}"),
    "G_ss": ("(L⁻¹)_r+1,r+1", r"(L^{-1})_{r+1,r+1}"),
    "bend": ("bend", r"\mathrm{bend}"),
    "S_ratio": ("S", "S"),
    "S_var": ("Var S", r"\mathrm{Var}\,S"),
    "S_mean": ("E S", r"\mathbb{E}\,S"),
    "risk_var": ("Var risk", r"\mathrm{Var\,risk}"),
    "mean_accuracy": ("E Φ(S)", r"\mathbb{E}\,\Phi(S)"),
}
"""Names of quantities that are no letters, in text and in LaTeX."""


class ProofError(Exception):
    """A claim that is not what the proof derives."""


def _name(name: str) -> tuple[str, str]:
    return _NAMES.get(name) or GLYPHS[name]


@dataclass(frozen=True)
class Step:
    """One step of a proof.

    Parameters
    ----------
    text : str
        What is done.
    formulas : tuple
        What comes out: relations, or pairs of a quantity's name and its value.
    """

    text: str
    formulas: tuple[Any, ...] = ()


@dataclass(frozen=True, repr=False)
class Proof:
    """A statement and how it follows; shows itself as mathematics in a notebook and as text elsewhere.

    Parameters
    ----------
    name : str
        Name of the proof.
    statement : str
        What is proved, in words.
    claims : mapping of str to sympy.Basic
        The formulas of the statement, by name.
    steps : tuple of Step
        The derivation, as it was computed.
    conclusion : str
        What it means.

    Examples
    --------
    >>> from rmt_alpha.theory.symbolic import proofs
    >>> print(proofs.rho_and_h().conclusion)
    ρ lies in (0, 1) and h in (ρ, 1), and h is what a change of κ costs in γ.
    """

    name: str
    statement: str
    claims: Mapping[str, Expr]
    steps: tuple[Step, ...]
    conclusion: str

    def __repr__(self) -> str:
        return f"<Proof {self.name}: {self.statement}>"

    def __str__(self) -> str:
        lines = [f"{self.name}: {self.statement}", *(f"    {_text(item)}" for item in self.claims.items()), ""]
        for number, step in enumerate(self.steps, 1):
            lines += [f"{number}. {step.text}", *(f"       {_text(formula)}" for formula in step.formulas)]
        return "\n".join([*lines, "", f"∎ {self.conclusion}"])

    def _repr_latex_(self) -> str:
        rows = [*_paragraph(r"\textbf{Statement.}", self.statement), *map(_latex, self.claims.items())]
        names = [_name(name) for name in self.claims]
        once = [(name, value) for name, value in self.claims.items() if names.count(_name(name)) == 1]
        for number, step in enumerate(self.steps, 1):
            rows.append(rf"\textbf{{{number}.}}\ {_prose(step.text)}")
            # a long formula of the statement is not written again: MathJax shows nothing that exceeds 5 KB
            stated = [x for x in step.formulas if x in once and len(_latex(x)) > _LONG]
            rows += [_latex(x) for x in step.formulas if x not in stated]
            if stated:
                listed = r",\ ".join(_name(name)[1] for name, _ in stated)
                rows.append(rf"\qquad {listed} \text{{ as stated}}")
        rows += _paragraph(r"\blacksquare", self.conclusion)
        body = " \\\\\n".join(f"& {row}" for row in rows)
        body = re.sub(r"\\\\\n(?=& \\textbf|& \\blacksquare)", r"\\\\[3pt]\n", body)  # between the steps
        return f"$$\\begin{{aligned}}\n{body}\n\\end{{aligned}}$$"


def _paragraph(mark: str, text: str) -> list[str]:
    """Break a sentence into rows that fit a page, since mathematics does not break by itself."""
    first, *rest = (_prose(line) for line in textwrap.wrap(text, _WIDTH, break_on_hyphens=False))
    return [rf"{mark}\ {first}", *(rf"\phantom{{{mark}}}\ {line}" for line in rest)]


def _text(formula: Any) -> str:
    if not isinstance(formula, tuple):
        return to_text(formula)
    name, value = formula
    if isinstance(value, sp.MatrixBase):
        rows = ("[" + ", ".join(map(to_text, row)) + "]" for row in value.tolist())
        return f"{_name(name)[0]} = [{', '.join(rows)}]"
    return to_text(value) if isinstance(value, sp.Rel) else f"{_name(name)[0]} = {to_text(value)}"


def _latex(formula: Any) -> str:
    name, value = formula if isinstance(formula, tuple) else ("", formula)
    left = "" if not name or isinstance(value, sp.Rel) else f"{_name(name)[1]} = "
    short = re.sub(r"([_^])\{([0-9A-Za-z])\}", r"\1\2", to_latex(value))
    return rf"\qquad {left}{short}"


_MARKS = {
    **{glyph: latex for glyph, latex in GLYPHS.values() if not glyph.isascii()},
    **{"⊥": r"_\perp ", "∞": r"\infty ", "√": r"\surd ", "½": r"\tfrac12 ", "‖": r"\Vert ", "→": r"\to ", "−": "-"},
    **{"⟨": r"\langle ", "⟩": r"\rangle ", "·": r"\cdot ", "δ": r"\delta ", "Σ": r"\Sigma ", "Φ": r"\Phi "},
    **{"χ": r"\chi ", "ξ": r"\xi ", "ε": r"\varepsilon ", "′": "'", "₊": "_+", "S̄": r"\bar S "},
    **{"w̃": r"\tilde w ", "w̄": r"\bar w ", "w∥": r"w_\parallel ", "≥": r"\ge ", "≠": r"\ne ", "*": "^*"},
    **{mark: f"^{{{plain}}}" for mark, plain in zip("²⁻¹ᵀ", ("2", "-1", "", r"\top"), strict=True)},
    **{mark: f"_{{{plain}}}" for plain, mark in enumerate("₀₁₂₃")},
}
"""Signs of text in LaTeX, within mathematics."""

_WORD = re.compile(r"(?<![\\A-Za-z])[a-z]{3,}")
"""A word among signs, such as "var"."""

_LONG = 100
"""Characters of LaTeX of a formula that is not written twice."""

_WIDTH = 100
"""Characters of a line of words at most."""

_MARK = re.compile("|".join(map(re.escape, sorted(_MARKS, key=len, reverse=True))))


def _marked(text: str) -> str:
    """Write the signs of a text in LaTeX, each apart from a letter that follows it."""

    def written(found: re.Match[str]) -> str:
        following, mark = text[found.end() : found.end() + 1], _MARKS[found.group()]
        return f"{mark} " if mark[-1].isalpha() and following.isascii() and following.isalpha() else mark

    return _MARK.sub(written, text)


def _prose(text: str) -> str:
    """Write a sentence in LaTeX: words as text, and what is no word as mathematics."""
    parts = []
    for ascii_only, other in re.findall(r"([\x00-\x7f]*(?:\s|$))|(\S+)", text):
        if other:  # with the punctuation that ends it left to the words
            sign = other.rstrip(".,:;)")
            opening = "(" if sign.startswith("(") and sign.count("(") > sign.count(")") else ""
            math = _marked(sign.removeprefix(opening).replace("⁻¹", "^{-1}"))
            math = _WORD.sub(lambda found: rf"\mathrm{{{found.group()}}}", math)
            parts += [("text", opening), ("math", math), ("text", other[len(sign) :])]
        else:
            parts.append(("text", ascii_only))
    joined: list[tuple[str, str]] = []
    for kind, part in parts:
        if part and joined and joined[-1][0] == kind == "text":
            joined[-1] = kind, joined[-1][1] + part
        elif part:
            joined.append((kind, part))
    return "".join(rf"\text{{{part}}}" if kind == "text" else part for kind, part in joined)


# How identities and signs are decided.


def _in_kappa(expr: Expr) -> Expr:
    for letter, value in abbreviations().items():
        expr = expr.subs(letter, value)
    return expr


def _is_zero(expr: Expr) -> bool:
    """Decide whether an expression in the letters vanishes identically, given what the letters mean."""
    return _cancels(_in_kappa(sp.sympify(expr)))


@cache
def _cancels(expr: Expr) -> bool:
    return bool(sp.expand(sp.fraction(sp.together(expr))[0]) == 0)


def is_positive(expr: Expr, *, nonzero: Iterable[Expr] = ()) -> bool:
    """Tell whether an expression is above 0: a ratio of polynomials with positive coefficients, neither of them 0.

    Parameters
    ----------
    expr : sympy.Expr
        A rational function of the letters.
    nonzero : iterable of letters
        Letters that may vanish or have any sign (s, w⊥, β, …), but are known not to be 0.

    Returns
    -------
    bool
        False says nothing: what is positive in some other way is not recognised.

    Notes
    -----
    ρ = 1/(1+u), so that η = (1+κ)(1−ρ) = (1+κ)u/(1+u), and t = 1/(1+v) leave all letters free, and so with a tilde.
    Real letters must stand in even powers. One monomial at least must be made of letters that cannot vanish.

    Examples
    --------
    >>> is_positive(L.h - L.rho), is_positive(L.kappa - L.eta)
    (True, False)
    >>> is_positive(L.w_perp), is_positive(L.w_perp, nonzero=[L.w_perp])
    (False, True)
    """
    return 0 not in (signs := _signs(expr, frozenset(nonzero))) and math.prod(signs) > 0


def is_nonnegative(expr: Expr, *, nonzero: Iterable[Expr] = ()) -> bool:
    """Tell whether an expression is 0 or above, by the coefficients of its numerator.

    Parameters
    ----------
    expr : sympy.Expr
        A rational function of the letters.
    nonzero : iterable of letters
        As in `is_positive`.

    Returns
    -------
    bool
        False says nothing. The denominator must be recognised as different from 0.

    Examples
    --------
    >>> is_nonnegative(1 - L.t), is_positive(1 - L.t), is_nonnegative(L.t - 1)
    (True, False, False)
    """
    nonzero = frozenset(nonzero)
    return is_positive(expr, nonzero=nonzero) or math.prod(_signs(expr, nonzero, strict=False)) > 0


def _for_a_source(test: Callable[..., bool], expr: Expr) -> bool:
    """Apply `is_positive` or `is_nonnegative` where the source is not 0: s or w⊥ is not."""
    return test(expr, nonzero=[L.s]) and test(expr, nonzero=[L.w_perp])


def _signs(expr: Expr, nonzero: frozenset[Expr], *, strict: bool = True) -> tuple[int, int]:
    """Return the signs of numerator and denominator, 0 where one is not recognised."""
    free = {L.t: 1 / (1 + L.v), L.t_source: 1 / (1 + L.v_source)}
    free[L.eta] = (1 + L.kappa) * L.u / (1 + L.u)
    free[L.eta_source] = (1 + L.kappa_source) * L.u_source / (1 + L.u_source)
    return _signs_of_ratio(_in_kappa(sp.sympify(expr)).subs(free), nonzero, strict)


@cache
def _signs_of_ratio(expr: Expr, nonzero: frozenset[Expr], strict: bool) -> tuple[int, int]:
    if not expr.is_rational_function(*expr.free_symbols) or expr.has(sp.oo, sp.zoo, sp.nan):
        return 0, 0
    above, below = sp.fraction(sp.cancel(sp.together(expr)))
    return (0 if above == 0 and strict else _sign(above, nonzero, strict)), _sign(below, nonzero)


def _sign(polynomial: Expr, nonzero: frozenset[Expr], strict: bool = True) -> int:
    """±1 where all monomials have that sign, and if `strict` one of them cannot vanish; else 0."""
    found = sp.Poly(polynomial, *(polynomial.free_symbols or {L.u}))
    even, certain = True, not strict
    for powers in found.monoms():
        present = [(x, k) for x, k in zip(found.gens, powers, strict=True) if k]
        even = even and all(k % 2 == 0 or x.is_nonnegative for x, k in present)
        certain = certain or all(x.is_positive or x in nonzero for x, _ in present)
    if not all(x.is_real for x in found.coeffs()):
        return 0
    signs = {int(sp.sign(x)) for x in found.coeffs()} if polynomial != 0 else {1}
    return signs.pop() if even and certain and len(signs) == 1 else 0


class _Derivation:
    """A proof in the making: what is claimed, and the steps so far."""

    is_zero = staticmethod(_is_zero)
    """Decides an identity."""

    def __init__(self, name: str, own: Mapping[str, Expr], claim: Claim) -> None:
        if not isinstance(claim, Mapping | None):
            raise ValueError(f"claim must be a mapping of names to expressions, got {claim!r}")
        unknown = [x for x in claim or () if x not in own]
        if unknown:
            raise ValueError(f"claim must be about {', '.join(own)}, got {', '.join(sorted(map(str, unknown)))}")
        given = {x: _expression(f"claim[{x!r}]", value) for x, value in (claim or {}).items()}
        for x, value in given.items():
            if isinstance(value, sp.Rel) is not isinstance(own[x], sp.Rel):
                kind = "a relation" if isinstance(own[x], sp.Rel) else "no relation"
                raise ValueError(f"claim[{x!r}] must be {kind}, got {value}")
        self.name, self.claims, self.steps = name, {**own, **given}, list[Step]()
        self._open = set(own)
        for x, value in self.claims.items():
            if any(L[y] in value.free_symbols for y, glyph in GLYPHS.items() if glyph == _NAMES.get(x, GLYPHS.get(x))):
                self.fail(f"{_name(x)[0]} is claimed in terms of itself, as {to_text(value)}")

    def step(self, text: str, *formulas: Any) -> None:
        self.steps.append(Step(text, formulas))

    def fail(self, text: str) -> None:
        raise ProofError(f"{self.name}: {text}")

    def need(self, condition: bool, text: str) -> None:
        """Check a fact on the way."""
        if not condition:
            self.fail(f"it is not true that {text}")

    def same(self, one: Expr, other: Expr) -> Expr:
        """Check an identity on the way; return its second side, usually the shorter."""
        self.need(self.is_zero(one - other), f"{to_text(one)} = {to_text(other)}")
        return other

    def agree(self, **derived: Expr) -> list[tuple[str, Expr]]:
        """Compare claims with what was derived; return them."""
        for name, value in derived.items():
            claimed = self.claims[name]
            if not self.is_zero(claimed - value):
                self.fail(f"{_name(name)[0]} is claimed to be {to_text(claimed)}, which it is not")
            self._open.discard(name)
        return [(name, self.claims[name]) for name in derived]

    def proved(self, name: str) -> None:
        """Say that a claim was settled in another way."""
        self._open.discard(name)

    def done(self, statement: str, conclusion: str) -> Proof:
        if self._open:
            self.fail(f"nothing was derived about {', '.join(sorted(self._open))}")
        return Proof(self.name, statement, self.claims, tuple(self.steps), conclusion)


# Letters that are no numbers of THEORY, and relations.


class _Block(sp.Symbol):  # type: ignore[misc]
    """A letter that is no number of THEORY §4, named as in text; a matrix or vector of any size does not commute."""

    __slots__ = ()

    def _latex(self, _printer: Any, **_settings: Any) -> str:
        marked = _marked(self.name).strip()
        return re.sub(r"_([a-z]{2,})", r"_{\1}", marked)


class _Equivalent(sp.Eq):  # type: ignore[misc]
    """That two matrices are deterministic equivalents."""

    rel_op = "≈"

    def _latex(self, printer: Any, **_settings: Any) -> str:
        return rf"{printer._print(self.lhs)} \approx {printer._print(self.rhs)}"


class _Trace(sp.Function):  # type: ignore[misc]
    """Trace of a product of blocks: a number."""

    nargs = 1
    is_commutative = True

    def _latex(self, printer: Any, **_settings: Any) -> str:
        return rf"\mathrm{{tr}}\left({printer._print(self.args[0])}\right)"

    def _sympystr(self, printer: Any) -> str:
        return f"tr({printer._print(self.args[0])})"


def _block(name: str) -> _Block:
    return _Block(name, commutative=False)
