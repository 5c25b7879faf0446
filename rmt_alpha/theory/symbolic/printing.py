r"""Ways out of SymPy: LaTeX, text, NumPy functions and JavaScript.

Φ is evaluated by SciPy's ``ndtr`` in Python. In JavaScript it comes along as a function of its own: the rational
minimax approximations of W. J. Cody, "Rational Chebyshev approximation for the error function", Mathematics of
Computation 23 (1969) 631–637, with the coefficients of his public-domain routine CALERF (netlib, specfun), for

    erf(z)                        |z| ≤ 0.46875
    exp(z²) erfc(z)               0.46875 < z ≤ 4
    exp(z²) erfc(z) z             4 < z,  as 1/√π − R(1/z²)/z²

at z = |x|/√2. The exponential is computed from x itself, split as in his ANORM (ACM TOMS 19 (1993) 22–32):
``x² = q² + (x−q)(x+q)`` with q = x rounded towards zero to a multiple of 1/16, so that q² is exact. Relative errors
stay below 1e-15 or so, small probabilities included.
"""

import inspect
import keyword
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
import sympy as sp
from scipy import special
from sympy.logic.boolalg import BooleanAtom
from sympy.printing.jscode import JavascriptCodePrinter
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from rmt_alpha._validation import broadcast_shape, plain, real_array
from rmt_alpha.theory.symbolic import expressions
from rmt_alpha.theory.symbolic.expressions import GLYPHS, Expr, Phi, abbreviations, letters, target_norm

Keep = Literal["kappa", "kappa_source", "m", "lam_source"]

L = letters

_SQUARES = {"m2": L.m, "w_perp2": L.w_perp}
"""Arguments that are squares of letters: the names that the numeric functions use."""


def expression(name: str, value: Any, *, relations: bool = False) -> Expr:
    """Return `value` if it is a real SymPy expression.

    Parameters
    ----------
    name : str
        What to call it in the error.
    value : sympy.Basic
        The expression.
    relations : bool, default False
        Allow relations as well.

    Returns
    -------
    sympy.Basic
        `value` itself.

    Raises
    ------
    ValueError
        If it is something else: text is not parsed, and numbers of Python are not converted.

    Examples
    --------
    >>> expression("expr", letters.s)
    s
    """
    kinds = (sp.Expr, sp.Rel, BooleanAtom) if relations else (sp.Expr,)
    if not isinstance(value, kinds) or getattr(value, "is_Matrix", False) or value.has(sp.I):
        what = "a real SymPy expression or relation" if relations else "a real SymPy expression"
        raise ValueError(f"{name} must be {what}, got {value!r}")
    return value


_POWERS = [sp.Rational(sign * k, 2) for k in range(1, 9) for sign in (1, -1) if sign * k != 2]


@cache
def _closed_forms() -> dict[str, list[tuple[Expr, Expr]]]:
    """List what stands for a letter where it is spelled out, and what to put there."""
    pairs = {"kappa": (L.eta, L.gamma), "kappa_source": (L.eta_source, L.gamma_source)}
    found = {
        name: [
            (expressions._closed_kappa(*pair, stable=stable) ** k, L[name] ** k)
            for stable in (True, False)
            for k in (*_POWERS, sp.S.One)  # SymPy takes powers of a piecewise function piece by piece
        ]
        for name, pair in pairs.items()
    }
    return found | {"lam_source": [(abbreviations()[L.lam_source], L.lam_source)], "m": [(target_norm() ** 2, L.m**2)]}


def fold(expr: Expr, keep: Iterable[str]) -> Expr:
    """Put letters back where they have been spelled out; the inverse of `spell_out` for them.

    Parameters
    ----------
    expr : sympy.Basic
        An expression or relation.
    keep : iterable of str
        From "kappa", "kappa_source", "m", "lam_source".

    Returns
    -------
    sympy.Basic
        An equal expression.

    Examples
    --------
    >>> from rmt_alpha.theory.symbolic import worst_alpha
    >>> fold(worst_alpha(of="gamma"), ["kappa"])
    -m**2*t/(kappa*s)
    """
    for name in keep:
        forms = dict(_closed_forms()[name])
        expr = expr.subs(forms) if name in ("m", "lam_source") else expr.xreplace(forms)  # sums hide in longer sums
    return expr


def _folded(expr: Expr, keep: Sequence[str]) -> tuple[Expr, list[tuple[Expr, Expr]]]:
    """Fold `expr`; return it with what the new letters stand for."""
    if isinstance(keep, str) or not set(keep) <= set(get_args(Keep)):
        raise ValueError(f"keep must be a sequence of {', '.join(map(repr, get_args(Keep)))}, got {keep!r}")
    if not isinstance(expr, sp.Expr | sp.Rel) or getattr(expr, "is_Matrix", False):
        return expr, []
    forms = _closed_forms()
    news = [name for name in keep if L[name] not in expr.free_symbols and all(expr != x for x, _ in forms[name])]
    result = fold(expr, news)
    meaning = [(letter, form) for name in news for form, letter in forms[name][-1:] if result.has(L[name])]
    return result, meaning


def _printable(expr: Any) -> None:
    if not isinstance(expr, sp.Basic | sp.MatrixBase):
        raise ValueError(f"expr must be a SymPy object, got {expr!r}")


class _PositiveFirst:
    """For printers: sums begin with a positive term where there is one."""

    def _as_ordered_terms(self, expr: Expr, order: str | None = None) -> list[Expr]:
        terms = super()._as_ordered_terms(expr, order=order)  # type: ignore[misc]
        return sorted(terms, key=lambda term: bool(term.could_extract_minus_sign()))


class _Text(_PositiveFirst, StrPrinter):  # type: ignore[misc]
    """Plain text with THEORY's letters."""

    def _print_Letter(self, expr: Expr) -> str:  # noqa: N802
        return GLYPHS[expr.name][0]

    def _print_Phi(self, expr: Expr) -> str:  # noqa: N802
        return f"Φ({self._print(expr.args[0])})"

    def _print_Relational(self, expr: Expr) -> str:  # noqa: N802
        sign = {"==": "=", ">=": "≥", "<=": "≤"}.get(expr.rel_op, expr.rel_op)
        return f"{self._print(expr.lhs)} {sign} {self._print(expr.rhs)}"


class _Latex(_PositiveFirst, LatexPrinter):  # type: ignore[misc]
    pass


def to_text(expr: Expr, *, keep: Sequence[Keep] = get_args(Keep)) -> str:
    """Write an expression as one line of text with Greek letters.

    Parameters
    ----------
    expr : sympy.Basic
        Any expression or relation.
    keep : sequence of str, default ("kappa", "kappa_source", "m", "lam_source")
        Which letters to print as letters where the expression has them spelled out; what they stand for follows once.

    Returns
    -------
    str
        For reading; ``str(expr)`` is what SymPy reads back.

    Raises
    ------
    ValueError
        If `expr` is no SymPy object or `keep` names something else.

    Examples
    --------
    >>> to_text(1 / letters.lam + letters.w_perp**2)
    'w⊥**2 + 1/λ'
    """
    _printable(expr)
    expr, meaning = _folded(expr, keep)
    print_ = _Text().doprint
    where = ", ".join(f"{print_(letter)} = {print_(value)}" for letter, value in meaning)
    return f"{print_(expr)}{', where ' if where else ''}{where}"


def to_latex(expr: Expr, *, keep: Sequence[Keep] = get_args(Keep)) -> str:
    r"""Write an expression in LaTeX, with the letters of THEORY.

    Parameters
    ----------
    expr : sympy.Basic
        Any expression or relation.
    keep : sequence of str, default ("kappa", "kappa_source", "m", "lam_source")
        Which letters to print as letters where the expression has them spelled out; what they stand for follows once.

    Returns
    -------
    str
        Without dollar signs.

    Raises
    ------
    ValueError
        If `expr` is no SymPy object or `keep` names something else.

    Examples
    --------
    >>> print(to_latex(1 - letters.eta / (1 + letters.kappa) ** 2))
    1 - \frac{\eta}{\left(\kappa + 1\right)^{2}}
    >>> from rmt_alpha.theory.symbolic import worst_alpha
    >>> print(to_latex(worst_alpha("oracle")))
    - \frac{m^{2} t}{\beta \kappa \mu^{2}}\quad\mathrm{where}\quad m^{2} = ...
    """
    _printable(expr)
    expr, meaning = _folded(expr, keep)
    print_ = _Latex().doprint
    where = r",\quad ".join(f"{print_(letter)} = {print_(value)}" for letter, value in meaning)
    return str(print_(expr)) + (r"\quad\mathrm{where}\quad " + where if where else "")


def _arguments(expr: Expr, args: Sequence[str | Expr] | None) -> tuple[Expr, list[Expr]]:
    """Express `expr` in `args`; return it with the symbols for them."""
    expression("expr", expr, relations=True)
    free = expr.free_symbols
    if args is None:
        symbols = L.sorted(free)
        _check_names([x.name for x in symbols])
        return expr, symbols
    if isinstance(args, str):
        raise ValueError(f"args must be a sequence of names, got the string {args!r}")
    if not isinstance(args, list | tuple):
        raise ValueError(f"args must be a list or tuple of names, got {args!r}")
    for arg in args:
        if not isinstance(arg, str | sp.Symbol):
            raise ValueError(f"args must be names or symbols, got {arg!r}")
    names = [arg if isinstance(arg, str) else arg.name for arg in args]
    _check_names(names)
    symbols = [_symbol(arg, name, free) for arg, name in zip(args, names, strict=True)]
    if any({one, other} <= set(symbols) and not {one, other} <= free for one, other in _PAIRS):
        raise ValueError("args must not hold both kappa and gamma of a fixed point unless the expression does")
    of, of_source = ("gamma" if x in symbols else "kappa" for x in (L.gamma, L.gamma_source))
    meaning = abbreviations(of, of_source) | {L.m: target_norm()}  # through γ where it is given: nothing cancels
    meaning |= {_SQUARES[x.name]: sp.sqrt(x) for x in symbols if x.name in _SQUARES}
    spelled: dict[Expr, Expr] = {}
    for letter, value in reversed(meaning.items()):  # a meaning needs later letters only
        if letter not in symbols:
            spelled[letter] = value.xreplace(spelled)
    expr = expr.xreplace(spelled)
    missing = L.sorted(expr.free_symbols - set(symbols))
    if missing:
        raise ValueError(f"args must determine the expression, {', '.join(x.name for x in missing)} is missing")
    return expr, symbols


_PAIRS = ((L.kappa, L.gamma), (L.kappa_source, L.gamma_source))
"""Letters that determine each other."""


def _check_names(names: list[str]) -> None:
    roots = [_SQUARES[name].name if name in _SQUARES else name for name in names]
    if len(set(roots)) < len(roots):
        raise ValueError(f"args must be different, got {', '.join(names)}")
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name):
            raise ValueError(f"args must have names that can be a function's arguments, got {name!r}")


def _symbol(arg: str | Expr, name: str, free: set[Expr]) -> Expr:
    """Symbol that an argument means: the expression's own of that name, else a letter's square or a letter."""
    if arg in free:
        return arg
    if name not in GLYPHS:
        own = [x for x in free if x.name == name]
        if len(own) == 1:
            return own[0]
    return sp.Symbol(name, nonnegative=True) if name in _SQUARES else L[name]


def to_callable(expr: Expr, args: Sequence[str | Expr] | None = None) -> Callable[..., Any]:
    """Turn an expression into a function of NumPy arrays.

    Parameters
    ----------
    expr : sympy.Basic
        Any expression or relation.
    args : sequence of str or sympy.Symbol, optional
        The function's arguments, in order; by default the expression's own letters, in THEORY's order (see
        ``letters``). Abbreviations that are not among them are computed from those that are: κ from eta and gamma, h
        and ρ from kappa, and so on. "m2" and "w_perp2" stand for the squares.

    Returns
    -------
    callable
        Takes arrays of real numbers that broadcast, by position or by name, and returns an array of their common shape,
        whether the expression depends on them or not; a float (bool for a relation) where all are scalars. What is
        undefined is nan. Raises a `ValueError` that names the argument if a value is no real number.

    Raises
    ------
    ValueError
        If `expr` is no real expression, an argument is unknown or given twice, the arguments do not determine the
        expression, or contradict each other: kappa and gamma together are refused unless `expr` has both.

    Examples
    --------
    >>> from rmt_alpha.theory.symbolic import optimal_alpha, to_callable
    >>> alpha = to_callable(optimal_alpha(of="letters"), ["eta", "gamma", "m2", "s", "w_perp2", "t"])
    >>> round(alpha(2.0, 0.1, 1.0, s=0.8, w_perp2=0.36, t=1.0), 4)
    1.2162
    """
    expr, symbols = _arguments(expr, args)
    function = sp.lambdify(symbols, expr, modules=[{"Phi": special.ndtr}, "numpy"], cse=True)
    parameters = [inspect.Parameter(x.name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for x in symbols]
    signature = inspect.Signature(parameters)
    kind = float if isinstance(expr, sp.Expr) else bool

    def evaluate(*values: Any, **named: Any) -> Any:
        given = signature.bind(*values, **named).arguments
        for name, value in given.items():
            plain(name, value)
            given[name] = real_array(name, value, infinite=True, nan=True)
        shape = broadcast_shape({name: value.shape for name, value in given.items()})
        with np.errstate(all="ignore"):  # undefined is nan
            result = np.asarray(function(*given.values()), dtype=kind)
        return np.broadcast_to(result, shape).copy() if shape else result.item()

    names = ", ".join(x.name for x in symbols)
    evaluate.__doc__ = f"({names}) ↦ {to_text(expr)}"
    evaluate.__signature__ = signature  # type: ignore[attr-defined]
    return evaluate


_PHI = """function Phi(x) {
  // W. J. Cody's approximations of erf and erfc (Math. Comp. 23, 1969; CALERF), at z = |x|/sqrt(2).
  const ratio = (p, q, v) => p.reduce((a, c) => a * v + c) / q.reduce((a, c) => a * v + c);
  const z = Math.abs(x) * Math.SQRT1_2, v = z * z;
  if (!(z > 0.46875)) {
    return 0.5 + 0.5 * Math.sign(x) * z * ratio(
      [1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2,
       3.20937758913846947e3],
      [1, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3], v);
  }
  if (z > 30) return x > 0 ? 1 : 0;
  let scaled;  // exp(z²)·erfc(z)
  if (z <= 4) {
    scaled = ratio(
      [2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1,
       2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
       1.23033935479799725e3],
      [1, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
       3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3], z);
  } else {
    scaled = (0.56418958354775628695 - ratio(
      [1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
       1.60837851487422766e-2, 6.58749161529837803e-4],
      [1, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
       2.33520497626869185e-3], 1 / v) / v) / z;
  }
  const q = Math.trunc(Math.abs(x) * 16) / 16;  // q² is exact
  const tail = 0.5 * scaled * Math.exp(-q * q / 2) * Math.exp(-(Math.abs(x) - q) * (Math.abs(x) + q) / 2);
  return x > 0 ? 1 - tail : tail;
}
"""


_RESERVED = """Infinity Math NaN Number Phi arguments await break case catch class const continue debugger default
delete do else enum eval export extends false finally for function if implements import in instanceof interface let new
null package private protected public return static super switch this throw true try typeof undefined var void while
with yield"""


def _check_javascript(what: str, name: Any) -> None:
    if not (isinstance(name, str) and name.isidentifier() and name.isascii()) or name in _RESERVED.split():
        raise ValueError(f"{what} must be an identifier that JavaScript and this code leave free, got {name!r}")


class _JavaScript(JavascriptCodePrinter):  # type: ignore[misc]
    def _print_Phi(self, expr: Expr) -> str:  # noqa: N802
        return f"Phi({self._print(expr.args[0])})"


def to_javascript(expr: Expr, args: Sequence[str | Expr] | None = None, *, name: str = "f") -> str:
    """Turn an expression into the source of a JavaScript function of numbers.

    Parameters
    ----------
    expr : sympy.Basic
        Any expression or relation.
    args : sequence of str or sympy.Symbol, optional
        As in `to_callable`.
    name : str, default "f"
        Name of the function.

    Returns
    -------
    str
        ``function name(…) {…}``, after a function ``Phi`` where the expression needs it.

    Raises
    ------
    ValueError
        As in `to_callable`, or if `name`, or that of an argument, cannot be a name in JavaScript.

    Examples
    --------
    >>> print(to_javascript(letters.m**2 / letters.lam, ["m2", "kappa"], name="mean"))
    function mean(m2, kappa) {
      return m2/(kappa + m2 + 1);
    }
    """
    _check_javascript("name", name)
    expr, symbols = _arguments(expr, args)
    for x in symbols:
        _check_javascript("args", x.name)
    printer = _JavaScript()
    shared, (result,) = sp.cse([expr], symbols=sp.numbered_symbols("_", exclude=symbols), order="none")
    lines = [f"  const {x.name} = {_one_line(printer, value)};" for x, value in shared]
    lines.append(f"  return {_one_line(printer, result)};")
    head = f"function {name}({', '.join(x.name for x in symbols)}) {{"
    return (_PHI if expr.has(Phi) else "") + "\n".join([head, *lines, "}"])


def _one_line(printer: JavascriptCodePrinter, expr: Expr) -> str:
    return " ".join(printer.doprint(expr).split())
