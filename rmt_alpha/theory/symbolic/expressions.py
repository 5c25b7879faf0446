r"""The closed form of the isotropic theory as SymPy expressions, in the compact forms of THEORY §4.

Every expression is built from *letters*, positive or real symbols with THEORY's names. Some letters are independent
(η, m, s, w⊥, t and κ or γ), the others abbreviate:

    λ = m² + 1 + κ,    ρ = γ/κ = 1 − η/(1+κ),    h = 1 − η/(1+κ)² = ρ + ηκ/(1+κ)²,

and the same with a tilde for a source that was itself trained by ridge. The argument `of` says how far an expression is
spelled out:

- ``"letters"``: all abbreviations stay letters, as THEORY prints them;
- ``"kappa"``: in η, κ and the numbers of the source (ρ and h in the first forms, γ as κρ);
- ``"gamma"``: in η, γ and the numbers of the source (ρ and h in the second forms, sums of positive terms, and κ in the
  form that never cancels).

The source enters through s = ⟨w̃, μ_β⟩ and w⊥². They stay letters for ``source="arbitrary"``; for ``"oracle"`` (w̃ = μ)
and ``"ridge"`` they become functions of β, mu = ‖μ‖, mu_perp = ‖μ_⊥‖ and, for ridge, of η̃ = p/N, κ̃ or γ̃, and t_s.
"""

from collections.abc import Iterable
from typing import Any, Literal, get_args

import sympy as sp
from sympy.core.function import ArgumentIndexError

Expr = Any
"""A SymPy expression (SymPy ships no types)."""

Source = Literal["arbitrary", "oracle", "ridge"]
Of = Literal["letters", "kappa", "gamma"]

GLYPHS = {
    "alpha": ("α", r"\alpha"),
    "c": ("c", "c"),
    "beta": ("β", r"\beta"),
    "eta": ("η", r"\eta"),
    "gamma": ("γ", r"\gamma"),
    "kappa": ("κ", r"\kappa"),
    "m": ("m", "m"),
    "s": ("s", "s"),
    "w_perp": ("w⊥", r"w_\perp"),
    "t": ("t", "t"),
    "mu": ("μ", r"\mu"),
    "mu_perp": ("μ⊥", r"\mu_\perp"),
    "eta_source": ("η̃", r"\tilde{\eta}"),
    "gamma_source": ("γ̃", r"\tilde{\gamma}"),
    "kappa_source": ("κ̃", r"\tilde{\kappa}"),
    "t_source": ("t_s", "t_s"),
    "lam": ("λ", r"\lambda"),
    "rho": ("ρ", r"\rho"),
    "h": ("h", "h"),
    "lam_source": ("λ̃", r"\tilde{\lambda}"),
    "rho_source": ("ρ̃", r"\tilde{\rho}"),
    "h_source": ("h̃", r"\tilde{h}"),
    "r": ("r", "r"),
    "theta": ("θ", r"\theta"),
    "z": ("z", "z"),
    "a": ("a", "a"),
    "tau": ("τ", r"\tau"),
    "u": ("u", "u"),
    "v": ("v", "v"),
    "u_source": ("ũ", r"\tilde{u}"),
    "v_source": ("ṽ", r"\tilde{v}"),
    "M0": ("M₀", "M_0"),
    "M1": ("M₁", "M_1"),
    "V00": ("V₀₀", "V_{00}"),
    "V01": ("V₀₁", "V_{01}"),
    "V11": ("V₁₁", "V_{11}"),
}
"""How a letter looks in text and in LaTeX; in this order letters become arguments of functions."""


class Letter(sp.Symbol):  # type: ignore[misc]
    """A symbol of THEORY: its name is that of the argument in Python, its LaTeX that of the page.

    Parameters
    ----------
    name : str
        One of the names in ``GLYPHS``.
    **assumptions
        As of `sympy.Symbol`.
    """

    __slots__ = ()

    def _latex(self, _printer: Any, **_settings: Any) -> str:
        return GLYPHS[self.name][1]


class _Kept(sp.UnevaluatedExpr):  # type: ignore[misc]
    """A real number that is computed first, and not merged into the sum in which it stands."""

    is_commutative = True
    is_real = True


class Phi(sp.Function):  # type: ignore[misc]
    """Distribution function Φ of the standard normal law.

    SymPy would write it as ``erf(x/√2)/2 + ½``, which loses all digits of small probabilities.

    Parameters
    ----------
    x : sympy.Expr
        The argument.
    """

    nargs = 1

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        """Return the value at 0 and at ±∞.

        Parameters
        ----------
        x : sympy.Expr
            The argument.

        Returns
        -------
        sympy.Expr or None
            None where there is no simpler value.
        """
        return {sp.S.Zero: sp.S.Half, sp.oo: sp.S.One, -sp.oo: sp.S.Zero}.get(x)

    def fdiff(self, argindex: int = 1) -> Expr:
        """Return the density.

        Parameters
        ----------
        argindex : int
            1, the only argument.

        Returns
        -------
        sympy.Expr
            The derivative.

        Raises
        ------
        ArgumentIndexError
            For any other index.
        """
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return sp.exp(-(self.args[0] ** 2) / 2) / sp.sqrt(2 * sp.pi)

    def _eval_rewrite_as_erfc(self, x: Expr, **_: Any) -> Expr:
        return sp.erfc(-x / sp.sqrt(2), evaluate=False) / 2

    def _eval_evalf(self, precision: int) -> Expr:
        value = sp.erfc(-self.args[0] / sp.sqrt(2)) / 2
        return value._eval_evalf(precision)

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        power = "" if exp is None else f"^{{{exp}}}"
        return rf"\Phi{power}\left({printer._print(self.args[0])}\right)"


class _Letters:
    """The letters, as attributes: ``letters.eta``, ``letters.kappa``, …."""

    alpha, s, beta, c, z, a, tau = (Letter(x, real=True) for x in ("alpha", "s", "beta", "c", "z", "a", "tau"))
    M0, M1, V00, V01, V11 = (Letter(name, real=True) for name in ("M0", "M1", "V00", "V01", "V11"))
    w_perp, r, mu_perp = (Letter(name, nonnegative=True) for name in ("w_perp", "r", "mu_perp"))
    v, v_source = (Letter(name, nonnegative=True) for name in ("v", "v_source"))
    eta, gamma, kappa, m, t = (Letter(name, positive=True) for name in ("eta", "gamma", "kappa", "m", "t"))
    lam, rho, h, mu, theta, u = (Letter(name, positive=True) for name in ("lam", "rho", "h", "mu", "theta", "u"))
    eta_source, gamma_source, kappa_source, t_source, lam_source, rho_source, h_source, u_source = (
        Letter(f"{name}_source", positive=True) for name in ("eta", "gamma", "kappa", "t", "lam", "rho", "h", "u")
    )

    def __getitem__(self, name: object) -> Letter:
        if not isinstance(name, str) or name not in GLYPHS:
            raise ValueError(f"no letter is called {name!r}; the letters are {', '.join(GLYPHS)}")
        return getattr(self, name)  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        return f"letters({', '.join(GLYPHS)})"

    @staticmethod
    def sorted(found: Iterable[Expr]) -> list[Expr]:
        """Sort symbols in THEORY's order, strangers last."""
        order = list(GLYPHS)
        return sorted(found, key=lambda x: (order.index(x.name) if x.name in order else len(order), x.name))


letters = _Letters()
"""The letters of THEORY, as attributes and by name: ``letters.eta``, ``letters["eta"]``."""


def _check(name: str, value: str, kind: Any) -> None:
    if value not in get_args(kind):
        raise ValueError(f"{name} must be one of {', '.join(map(repr, get_args(kind)))}, got {value!r}")


def _expression(name: str, value: Any) -> Expr:
    """Return a SymPy expression or relation, from one or from a number."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return sp.sympify(value)
    if not isinstance(value, sp.Expr | sp.Rel):
        raise ValueError(f"{name} must be a SymPy expression, got {value!r}")
    return value


# What the abbreviations mean.


def _closed_kappa(eta: Expr, gamma: Expr, *, stable: bool) -> Expr:
    b = _Kept(eta - 1) + gamma if stable else eta - 1 + gamma  # in this order: η − 1 is exact near 1
    root = sp.sqrt(b**2 + 4 * gamma)
    half = sp.Mul(sp.S.Half, root + b, evaluate=False)  # lest SymPy halves every term
    return sp.Piecewise((half, b >= 0), (2 * gamma / (root + _Kept(1 - eta) - gamma), True)) if stable else half


def _resolvent(of: str, eta: Expr, gamma: Expr, kappa: Expr, rho: Expr, h: Expr) -> dict[Expr, Expr]:
    """ρ, h, and the one of κ, γ that the other determines."""
    if of == "gamma":
        closed = _closed_kappa(eta, gamma, stable=True)
        return {h: rho + eta * kappa / (1 + kappa) ** 2, rho: gamma / kappa, kappa: closed}
    return {gamma: kappa * rho, rho: 1 - eta / (1 + kappa), h: 1 - eta / (1 + kappa) ** 2}


def abbreviations(of: str = "kappa", of_source: str = "kappa") -> dict[Expr, Expr]:
    """Say what r, λ, ρ, h stand for, and γ in terms of κ or κ in terms of γ, without and with a tilde.

    Parameters
    ----------
    of, of_source : {"kappa", "gamma"}
        Which of κ and γ is the independent one, for target and source.

    Returns
    -------
    dict
        Substitute the items in order.

    Examples
    --------
    >>> abbreviations("gamma")[letters.rho]
    gamma/kappa
    """
    L = letters
    mu2, k1 = L.mu**2, 1 + L.kappa_source
    flips = (1 - L.t_source**2) * mu2 * (mu2 + 2 * k1)
    spread = L.eta_source * (1 + (flips + L.t_source**2 * mu2) / k1**2) / (L.h_source * L.lam_source**2)
    source = _resolvent(of_source, L.eta_source, L.gamma_source, L.kappa_source, L.rho_source, L.h_source)
    target = _resolvent(of, L.eta, L.gamma, L.kappa, L.rho, L.h)
    return {L.r: sp.sqrt(spread), L.lam_source: mu2 + k1, **source, L.lam: L.m**2 + 1 + L.kappa, **target}


def target_norm() -> Expr:
    """Length m of the target's mean ``β μ + √(1−β²) μ_⊥``."""
    L = letters
    return sp.sqrt(L.beta**2 * L.mu**2 + (1 - L.beta) * (1 + L.beta) * L.mu_perp**2)


def definitions(source: Source = "arbitrary", *, of: Of = "kappa") -> dict[Expr, Expr]:
    """Say what letters stand for, each in terms of letters further down or of independent ones.

    Parameters
    ----------
    source : {"arbitrary", "oracle", "ridge"}
        Whose s, w⊥ and m to define; an arbitrary source's are independent.
    of : {"letters", "kappa", "gamma"}
        The first gives only the source's s and w⊥, the others all letters; see the module's notes.

    Returns
    -------
    dict
        Substituting the items in order spells an expression out.

    Raises
    ------
    ValueError
        If an argument is none of its values.

    Examples
    --------
    >>> definitions()[letters.lam]
    kappa + m**2 + 1
    >>> definitions("oracle", of="letters")[letters.s]
    beta*mu**2
    """
    _check("source", source, Source)
    _check("of", of, Of)
    L = letters
    off = (1 - L.beta) * (1 + L.beta) * L.mu**2 * L.mu_perp**2 / L.m**2
    found: dict[Expr, Expr] = {}
    if source == "oracle":
        found = {L.s: L.beta * L.mu**2, L.w_perp: sp.sqrt(off)}
    elif source == "ridge":
        gain = L.t_source / L.lam_source
        found = {L.s: gain * L.beta * L.mu**2, L.w_perp: sp.sqrt(gain**2 * off + L.r**2)}
    if of != "letters":
        found |= abbreviations(of, of)
    if of != "letters" and source != "arbitrary":
        found[L.m] = target_norm()
    return found


def spell_out(expr: Expr, source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Substitute the definitions of its letters into an expression.

    Parameters
    ----------
    expr : sympy.Expr
        An expression in the letters.
    source, of
        As in `definitions`.

    Returns
    -------
    sympy.Expr
        The expression, not simplified.

    Raises
    ------
    ValueError
        If `source` or `of` is none of its values, or `expr` is no expression.

    Examples
    --------
    >>> spell_out(1 / letters.lam)
    1/(kappa + m**2 + 1)
    """
    expr = _expression("expr", expr)
    for letter, value in definitions(source, of=of).items():
        expr = expr.subs(letter, value)
    return expr


# The closed form.


def kappa(*, stable: bool = False) -> Expr:
    """Effective ridge κ in terms of η and γ.

    Parameters
    ----------
    stable : bool, default False
        Return the two forms that never subtract nearly equal numbers, one for each sign of ``b = η − 1 + γ``.

    Returns
    -------
    sympy.Expr
        ``(b + √(b² + 4γ))/2``; with `stable` its equal ``2γ/(√(b² + 4γ) − b)`` where b is negative.

    Raises
    ------
    ValueError
        If `stable` is neither True nor False.

    Examples
    --------
    >>> kappa().subs({letters.eta: 2, letters.gamma: 0})
    1
    """
    if not isinstance(stable, bool):
        raise ValueError(f"stable must be True or False, got {stable!r}")
    return _closed_kappa(letters.eta, letters.gamma, stable=stable)


def five_numbers(source: Source = "arbitrary", *, of: Of = "kappa") -> dict[str, Expr]:
    """Means and covariances (M₀, M₁, V₀₀, V₀₁, V₁₁) that make the margin's law.

    Parameters
    ----------
    source : {"arbitrary", "oracle", "ridge"}
        What becomes of s and w⊥; see the module's notes.
    of : {"letters", "kappa", "gamma"}
        How far abbreviations are spelled out; see the module's notes.

    Returns
    -------
    dict
        From "M0", "M1", "V00", "V01", "V11".

    Raises
    ------
    ValueError
        If an argument is none of its values.

    Notes
    -----
    THEORY §4.

    Examples
    --------
    >>> five_numbers(of="letters")["M1"]
    kappa*s/lam
    """
    scale = letters.h * letters.lam**2
    numbers = {name: x if name.startswith("M") else x / scale for name, x in _five_numbers().items()}
    return {name: spell_out(value, source, of=of) for name, value in numbers.items()}


def _five_numbers() -> dict[str, Expr]:
    """Return the numbers in letters, V's times hλ²."""
    L = letters
    mean, k1 = (L.t * L.m**2 / L.lam, L.kappa * L.s / L.lam), 1 + L.kappa
    flips = (1 - L.t**2) * L.m**2 * (L.m**2 + 2 * k1) / k1**2
    v00 = L.t**2 * L.m**2 + L.eta * (1 + flips)
    v11 = L.kappa**2 * (L.lam**2 * L.w_perp**2 / k1**2 + L.s**2 / L.m**2 * (1 + L.eta * L.m**2 / k1**2))
    return dict(zip(("M0", "M1", "V00", "V01", "V11"), (*mean, v00, L.t * L.gamma * L.s, v11), strict=True))


def _mean() -> Expr:
    return (letters.t * letters.m**2 + letters.alpha * letters.kappa * letters.s) / letters.lam


def _variance() -> Expr:
    v, alpha = _five_numbers(), letters.alpha
    return (v["V00"] + 2 * alpha * v["V01"] + alpha**2 * v["V11"]) / (letters.h * letters.lam**2)


def margin_mean(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Mean ``M₀ + αM₁`` of the margin of a fresh target point.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        In α and the letters of `of`.

    Raises
    ------
    ValueError
        As in `five_numbers`.

    Examples
    --------
    >>> margin_mean(of="letters")
    (alpha*kappa*s + m**2*t)/lam
    """
    return spell_out(_mean(), source, of=of)


def margin_variance(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Variance ``V₀₀ + 2αV₀₁ + α²V₁₁`` of the margin of a fresh target point.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        In α and the letters of `of`.

    Raises
    ------
    ValueError
        As in `five_numbers`.

    Examples
    --------
    >>> margin_variance(of="letters").subs({letters.s: 0, letters.w_perp: 0, letters.t: 1})
    (eta + m**2)/(h*lam**2)
    """
    return spell_out(_variance(), source, of=of)


def accuracy(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Probability ``Φ(mean/√variance)`` of a correct (clean) label.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        In α and the letters of `of`.

    Raises
    ------
    ValueError
        As in `five_numbers`.

    Examples
    --------
    >>> accuracy(of="letters").subs({letters.alpha: 0, letters.t: 1})
    Phi(sqrt(h)*m**2/sqrt(eta + m**2))
    """
    return spell_out(Phi(_mean() / sp.sqrt(_variance())), source, of=of)


def risk(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Squared risk ``(1 − mean)² + variance`` for clean labels.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        In α and the letters of `of`.

    Raises
    ------
    ValueError
        As in `five_numbers`.

    Examples
    --------
    >>> risk(of="letters").subs({letters.alpha: 0, letters.t: 1})
    (1 - m**2/lam)**2 + (eta + m**2)/(h*lam**2)
    """
    return spell_out((1 - _mean()) ** 2 + _variance(), source, of=of)


def optimal_alpha(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Scale α* of the source that maximises the accuracy, a ratio of sums of positive terms (save the sign of s).

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        In the letters of `of`.

    Raises
    ------
    ValueError
        As in `five_numbers`.

    See Also
    --------
    rmt_alpha.theory.symbolic.proofs.optimum

    Examples
    --------
    >>> optimal_alpha().subs(letters.t, 1)
    eta*s*(kappa + 1)/(kappa*(eta*s**2 + m**2*w_perp**2*(kappa + m**2 + 1)))
    """
    L = letters
    gain = L.eta * L.s * (1 + L.kappa + (1 - L.t**2) * L.m**2)
    return spell_out(gain / (L.t * L.kappa * (L.lam * (L.m**2 * L.w_perp**2) + L.eta * L.s**2)), source, of=of)


def worst_alpha(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Scale ``−M₀/M₁`` at which the margin's mean vanishes and accuracy is ½.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        In the letters of `of`.

    Raises
    ------
    ValueError
        As in `five_numbers`.

    Examples
    --------
    >>> worst_alpha()
    -m**2*t/(kappa*s)
    """
    L = letters
    return spell_out(-L.t * L.m**2 / (L.kappa * L.s), source, of=of)


def risk_optimal_alpha(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Scale of least squared risk for clean labels, simplified so that nothing cancels.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        ``−((M₀−1)M₁ + V₀₁)/(M₁² + V₁₁)``. For clean training labels η enters through κ alone.

    Raises
    ------
    ValueError
        As in `five_numbers`.

    See Also
    --------
    rmt_alpha.theory.symbolic.proofs.risk_optimum

    Examples
    --------
    >>> risk_optimal_alpha(of="letters").subs(letters.t, 1)
    m**2*s/(lam**2*m**2*w_perp**2/(kappa + 1)**2 + s**2*(m**2 + 1))
    """
    L = letters
    gain = L.m**2 * L.s * (L.kappa + (1 - L.t) * (L.rho + L.h * L.m**2))
    cost = L.lam**2 * (L.m**2 * L.w_perp**2) / (1 + L.kappa) ** 2 + (1 + L.m**2) * L.s**2
    return spell_out(gain / (L.kappa * cost), source, of=of)


def best_snr2(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Squared signal-to-noise ratio ``MᵀV⁻¹M`` at α*: h times a number that is free of κ for clean labels.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Expr
        The accuracy at α* is Φ of its root (THEORY §5).

    Raises
    ------
    ValueError
        As in `five_numbers`.

    See Also
    --------
    rmt_alpha.theory.symbolic.proofs.factorisation

    Examples
    --------
    >>> best_snr2(of="letters").subs({letters.t: 1, letters.s: 0})
    h*m**4/(eta + m**2)
    """
    L = letters
    u, flips = 1 / (1 + L.kappa), 1 - L.t**2
    noise = L.eta * L.s**2 * (1 + flips * L.eta * L.m**2 * u**2)
    noise += L.w_perp**2 * L.m**2 * (L.t**2 * L.m**2 + L.eta + flips * L.eta * L.m**2 * u * (2 + L.m**2 * u))
    return spell_out(L.h * L.m**2 * (L.eta * L.s**2 + L.t**2 * L.m**4 * L.w_perp**2) / noise, source, of=of)


def above_one(source: Source = "arbitrary", *, of: Of = "kappa") -> Expr:
    """Inequality that holds exactly where α* > 1, that is where ordinary fine-tuning leans too little on its source.

    Parameters
    ----------
    source, of
        As in `five_numbers`.

    Returns
    -------
    sympy.Rel
        An upper bound on κλm²w⊥².

    Raises
    ------
    ValueError
        As in `five_numbers`.

    See Also
    --------
    rmt_alpha.theory.symbolic.proofs.larger_than_one : Its derivation, and its reading in words.

    Examples
    --------
    >>> above_one().subs(letters.t, 1)
    eta*s*(-kappa*s + kappa + 1) > kappa*m**2*w_perp**2*(kappa + m**2 + 1)
    """
    L = letters
    left = L.eta * L.s * (1 + L.kappa + (1 - L.t**2) * L.m**2 - L.t * L.kappa * L.s)
    return spell_out(sp.Gt(left, L.t * L.kappa * L.lam * (L.m**2 * L.w_perp**2)), source, of=of)
