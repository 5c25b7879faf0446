"""The explorer: one static page whose formulas are those of `rmt_alpha.theory.symbolic`, written out as JavaScript.

    python docs/explorer/build.py OUT.html

Every number on the page is a chain of small functions, one for each letter of THEORY §4, and each function is what
`rmt_alpha.theory.symbolic.to_javascript` makes of a SymPy expression. In three places the expressions are rewritten
first, lest digits be lost:

- η − 1 is ``(p − n)/n``, which is exact to rounding where n and p are close;
- 1 − t² and 1 − t are ``4ε(1 − ε)`` and ``2ε``;
- ρ = γ/κ takes its limits at γ = 0, which are 1 − η for p < n and 0 otherwise.
"""

import argparse
import html
from pathlib import Path
from typing import Any

import sympy as sp

import rmt_alpha
from rmt_alpha.theory import symbolic
from rmt_alpha.theory.symbolic.expressions import abbreviations, letters, target_norm

Formulas = dict[str, Any]
"""SymPy expressions by the name of what they compute, in an order in which they can be evaluated."""

L = letters

n, p, n_source = (sp.Symbol(name, positive=True) for name in ("n", "p", "n_source"))
label_noise, label_noise_source = (sp.Symbol(name, nonnegative=True) for name in ("label_noise", "label_noise_source"))

INPUTS = (
    *("beta", "n", "p", "gamma", "mu", "mu_perp", "label_noise"),
    *("n_source", "gamma_source", "label_noise_source"),
)
"""What the page's controls set; the last three for a trained source only."""


def _resolvent() -> Formulas:
    """Return η, κ, ρ, h of n samples with penalty γ."""
    kept = symbolic.kappa(stable=True).subs(L.eta, p / n)
    kappa = kept.replace(lambda x: isinstance(x, sp.UnevaluatedExpr), lambda x: x.func(sp.together(x.args[0])))
    below, above = (symbolic.limit("rho", at).subs(L.eta, p / n) for at in ("gamma->0, eta<1", "gamma->0, eta>1"))
    gamma = sp.Symbol("gamma", nonnegative=True)
    meaning = abbreviations("gamma")
    rho = (meaning[L.rho].subs(L.gamma, gamma), gamma > 0), (sp.together(below), p < n), (above, True)
    return {"eta": p / n, "kappa": kappa, "rho": sp.Piecewise(*rho), "h": meaning[L.h]}


def _of_source(formulas: Formulas) -> Formulas:
    """Return the same of the source's N samples."""
    names = {n: n_source} | {L[name]: L[f"{name}_source"] for name in ("eta", "gamma", "kappa", "rho", "h")}
    names[sp.Symbol("gamma", nonnegative=True)] = sp.Symbol("gamma_source", nonnegative=True)
    return {f"{name}_source": value.xreplace(names) for name, value in formulas.items()}


def _flips(expr: Any) -> Any:
    """Write 1 − t² and 1 − t in terms of the label noise."""
    result = expr
    for t, noise in ((L.t, label_noise), (L.t_source, label_noise_source)):
        result = result.subs({1 - t**2: 4 * noise * (1 - noise), 1 - t: 2 * noise})
    return result


def formulas() -> dict[str, Formulas]:
    """Collect the page's formulas.

    Returns
    -------
    dict of dict
        ``"oracle"`` and ``"ridge"``: everything that does not depend on α, for either source. ``"curves"``: what does.
    """
    noise = {"t": 1 - 2 * label_noise}
    target = _resolvent() | noise | {"m": target_norm(), "lam": abbreviations()[L.lam]}
    meaning = abbreviations("gamma", "gamma")
    trained = _of_source(_resolvent()) | {"t_source": noise["t"].subs(label_noise, label_noise_source)}
    trained |= {name: meaning[L[name]] for name in ("lam_source", "r")}
    law = {
        **symbolic.five_numbers(of="letters"),
        "optimal_alpha": symbolic.optimal_alpha(of="letters"),
        "worst_alpha": symbolic.worst_alpha(of="letters"),
        "risk_optimal_alpha": symbolic.risk_optimal_alpha(of="letters"),
        "limit_scale": symbolic.limit("optimal_alpha", "gamma->oo", scaled=True),
        "limit_risk": symbolic.limit("risk", "gamma->oo", scaled=True),
        "limit_accuracy": symbolic.Phi(sp.sqrt(symbolic.limit("best_snr2", "gamma->oo"))),
    }
    curves = {"accuracy": symbolic.accuracy(of="letters"), "risk": symbolic.risk(of="letters")}
    sources = {
        name: {letter.name: value for letter, value in symbolic.definitions(name, of="letters").items()}
        for name in ("oracle", "ridge")
    }
    found = {
        "oracle": target | sources["oracle"] | law,
        "ridge": target | trained | sources["ridge"] | law,
        "curves": curves,
    }
    return {group: {name: _flips(value) for name, value in part.items()} for group, part in found.items()}


def javascript() -> str:
    """Write the formulas as JavaScript.

    Returns
    -------
    str
        A constant ``theory`` with the functions ``oracle(x)`` and ``ridge(x)``, which add to the object x everything
        that does not depend on α, and ``accuracy(alpha, x)`` and ``risk(alpha, x)``, which take such an x.

    Raises
    ------
    ValueError
        If a formula needs what is not computed before it.
    """
    groups = formulas()
    helpers, functions, lines = "", [], []
    for group, part in groups.items():
        own = ["alpha"] if group == "curves" else []
        known = {*INPUTS, *own, *(groups["ridge"] if own else ())}
        calls = {}
        for name, value in part.items():
            symbols = letters.sorted(value.free_symbols)
            missing = [x.name for x in symbols if x.name not in known]
            if missing:
                raise ValueError(f"{name} must follow what it needs, {', '.join(missing)} is missing")
            known.add(name)
            function = f"{name}_of_{group}" if name in ("s", "w_perp") else f"{name}_of"  # two sources, two formulas
            calls[name] = f"{function}({', '.join(x.name if x.name in own else f'x.{x.name}' for x in symbols)})"
            code = symbolic.to_javascript(value, symbols, name=function)
            start = code.index(f"function {function}(")
            helpers = code[:start] or helpers  # Φ, the same for all that need it
            if code[start:] not in functions:
                functions.append(code[start:])
        if own:
            lines += [f"const {name} = (alpha, x) => {call};" for name, call in calls.items()]
        else:
            lines += [
                f"function {group}(x) {{",
                *(f"  x.{name} = {call};" for name, call in calls.items()),
                "  return x;\n}",
            ]
    inside = "\n".join([helpers, *functions, *lines, "return {oracle, ridge, accuracy, risk};"])
    return f"const theory = (() => {{\n{inside}\n}})();"


def page(home: str | None = None) -> str:
    """Put the formulas into the page.

    Parameters
    ----------
    home : str, optional
        Where a link to the documentation leads.

    Returns
    -------
    str
        The whole page, which loads nothing.
    """
    link = f'<p><a href="{html.escape(home)}">rmt_alpha documentation</a></p>' if home else ""
    text = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    parts = {"/*FORMULAS*/": javascript(), "<!--HOME-->": link, "<!--VERSION-->": html.escape(rmt_alpha.__version__)}
    for mark, part in parts.items():
        if text.count(mark) != 1:
            raise ValueError(f"page.html must contain {mark} once, got {text.count(mark)}")
        text = text.replace(mark, part)
    return text


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the explorer, one self-contained page.")
    parser.add_argument("out", type=Path, metavar="OUT.html")
    out = parser.parse_args().out
    if not out.parent.is_dir():
        parser.error(f"OUT.html must be in a folder that exists, got {out}: there is no folder {out.parent}")
    out.write_text(page(), encoding="utf-8")
