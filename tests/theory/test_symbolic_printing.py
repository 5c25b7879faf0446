"""Ways out of SymPy: LaTeX and text that can be read, NumPy functions, and JavaScript run by node."""

import inspect
import json
import math
import os
import shutil
import subprocess
from typing import get_args

import numpy as np
import pytest
import sympy as sp
from matplotlib.mathtext import MathTextParser
from mpmath import mp, mpf
from scipy import special

import rmt_alpha as ra
from rmt_alpha.theory import symbolic
from rmt_alpha.theory.isotropic import effective_ridge
from rmt_alpha.theory.symbolic import printing
from rmt_alpha.theory.symbolic.expressions import Of, Source

L = symbolic.letters
SOURCES = get_args(Source)
EXPRESSIONS = (
    *("margin_mean", "margin_variance", "accuracy", "risk", "optimal_alpha", "worst_alpha"),
    *("risk_optimal_alpha", "best_snr2", "above_one"),
)

pytestmark = pytest.mark.slow  # all together


# Functions.


def test_callables_broadcast_and_give_floats():
    function = symbolic.to_callable(
        symbolic.accuracy(of="letters"), ["alpha", "eta", "gamma", "m2", "s", "w_perp2", "t"]
    )
    alpha, eta = np.linspace(-2, 2, 5), np.array([[0.5], [2.0]])
    got = function(alpha, eta, 0.1, 1.0, 0.8, 0.36, t=1.0)
    want = [[ra.accuracy(a, 0.8, 200, 200 * e, 0.1) for a in alpha] for e in eta[:, 0]]
    np.testing.assert_allclose(got, want, rtol=1e-12)
    assert type(function(1, 2, 0.1, 1, 0.8, 0.36, 1)) is float
    assert type(symbolic.to_callable(symbolic.above_one())(2, 1, 1, 0.8, 0.6, 1)) is bool
    assert function.__doc__.startswith("(alpha, eta, gamma, m2, s, w_perp2, t) ↦ Φ(")


def test_arguments_that_the_expression_lacks_broadcast_too():
    worst = symbolic.to_callable(symbolic.worst_alpha(), ["eta", "kappa", "m", "s", "t"])
    np.testing.assert_array_equal(worst(np.ones(4), 1, 1, 1, 1), np.full(4, -1.0))
    assert worst(np.ones((3, 1)), 1, 1, np.ones(2), 1).shape == (3, 2)
    one = symbolic.to_callable(symbolic.limit("h", "gamma->oo"), ["eta"])
    assert one(np.ones(3)).dtype == float
    np.testing.assert_array_equal(one(np.ones(3)), np.ones(3))
    assert type(one(2)) is float
    assert one(np.ones(0)).shape == (0,)
    truth = symbolic.to_callable(sp.true, ["eta"])(np.ones(2))
    assert truth.dtype == bool
    got = worst(np.ones(4), 1, 1, 1, 1)
    got[0] = 7  # its own memory
    assert got[1] == -1


def test_undefined_is_nan_or_infinite_without_a_warning():
    worst = symbolic.to_callable(symbolic.worst_alpha())
    assert not math.isfinite(worst(1.0, 1.0, 0.0, 1.0))
    assert symbolic.to_callable(symbolic.kappa(stable=True))(1.0, 0.0) == 0.0


def test_default_arguments_are_in_theorys_order():
    kappa = symbolic.to_callable(symbolic.kappa())
    assert kappa(2.0, 0.0) == 1.0
    assert L.sorted({sp.Symbol("x"), L.t, L.eta, L.alpha}) == [L.alpha, L.eta, L.t, sp.Symbol("x")]


def test_infinite_limits_become_functions():
    signed = symbolic.to_callable(symbolic.limit("optimal_alpha", "gamma->0, eta<1"), ["s"])
    np.testing.assert_array_equal(signed(np.array([-1.0, 0.0, 2.0])), [-np.inf, np.nan, np.inf])


def test_bad_arguments_of_functions_are_named():
    expr = symbolic.optimal_alpha()
    for function in (symbolic.to_callable, symbolic.to_javascript):
        with pytest.raises(ValueError, match="args must determine the expression, s, t is missing"):
            function(expr, ["eta", "kappa", "m", "w_perp"])
        with pytest.raises(ValueError, match="no letter is called 'epsilon'"):
            function(expr, ["epsilon"])
        with pytest.raises(ValueError, match="args must be a sequence of names, got the string 'eta'"):
            function(expr, "eta")
        with pytest.raises(ValueError, match="args must be different, got eta, eta"):
            function(expr, ["eta", "eta"])
        with pytest.raises(ValueError, match="args must be different, got m, m2"):
            function(expr, ["m", "m2"])
    for name in ("Phi", "1x", "a b", "é", "return", "new"):
        with pytest.raises(ValueError, match="name must be an identifier"):
            symbolic.to_javascript(expr, name=name)


@pytest.mark.parametrize("function", [symbolic.to_callable, symbolic.to_javascript])
@pytest.mark.parametrize("expr", ["x", 3, None, [L.s], sp.Matrix([L.s]), sp.I * L.s])
def test_what_is_no_expression_is_refused(function, expr):
    with pytest.raises(ValueError, match="expr must be a real SymPy expression or relation, got "):
        function(expr)


@pytest.mark.parametrize("function", [symbolic.to_callable, symbolic.to_javascript])
def test_what_cannot_be_arguments_is_refused(function):
    for args, message in [
        (5, "args must be a list or tuple of names, got 5"),
        ({"s"}, "args must be a list or tuple of names, got {'s'}"),
        ([[]], r"args must be names or symbols, got \[\]"),
        ([None], "args must be names or symbols, got None"),
        ([L.s + 1], r"args must be names or symbols, got s \+ 1"),
        (["s", sp.Symbol("a b")], "args must have names that can be a function's arguments, got 'a b'"),
        (["s", "lambda"], "args must have names that can be a function's arguments, got 'lambda'"),
    ]:
        with pytest.raises(ValueError, match=message):
            function(L.s, args)
    with pytest.raises(ValueError, match="args must be different, got s, s"):
        function(L.s + sp.Symbol("s"))


def test_symbols_of_ones_own_are_arguments():
    x = sp.Symbol("x")
    for args in (["s", x], [L.s, "x"], None):
        assert symbolic.to_callable(L.s + 2 * x, args)(1, 2) == 5.0
    assert symbolic.to_javascript(L.s + x, ["x", "s"]).startswith("function f(x, s) {")
    assert symbolic.to_callable(L.eta + 1, [sp.Symbol("eta")])(1) == 2.0  # a letter's name means the letter
    with pytest.raises(ValueError, match="args must determine the expression, s is missing"):
        symbolic.to_callable(sp.Symbol("s") + x, ["s", "x"])


def test_kappa_and_gamma_together_are_refused():
    for name in ("", "_source"):
        args = [f"eta{name}", f"gamma{name}", f"kappa{name}"]
        for expr in (L[f"h{name}"], L[f"kappa{name}"], L.s):
            with pytest.raises(ValueError, match="args must not hold both kappa and gamma of a fixed point unless"):
                symbolic.to_callable(expr, [*args, "s"])
    assert symbolic.to_callable(L.gamma / L.kappa, ["gamma", "kappa"])(1, 2) == 0.5
    assert symbolic.to_callable(L.h * L.h_source, ["eta", "gamma", "eta_source", "kappa_source"])(1, 1, 1, 1) > 0


def test_values_are_named_where_they_are_wrong():
    worst = symbolic.to_callable(symbolic.worst_alpha(), ["kappa", "m", "s", "t"])
    assert list(inspect.signature(worst).parameters) == ["kappa", "m", "s", "t"]
    with pytest.raises(TypeError, match="missing a required argument: 't'"):
        worst(1, 2, 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'bogus'"):
        worst(1, 2, 3, 4, bogus=5)
    for value in ("a", None, 1j, True, [[1], [1, 2]], np.ma.masked_array([1.0], [True])):
        with pytest.raises(ValueError, match="m must"):
            worst(1, value, 3, 4)
    with pytest.raises(ValueError, match=r"the shapes of the arguments do not broadcast: kappa \(3,\), m \(2,\)"):
        worst(np.ones(3), np.ones(2), 1, 1)
    assert math.isnan(worst(1, np.nan, 1, 1))


# LaTeX and text.


def test_latex_and_text():
    assert symbolic.to_latex(symbolic.worst_alpha()) == r"- \frac{m^{2} t}{\kappa s}"
    assert symbolic.to_latex(L.w_perp**2 + L.kappa_source) in (
        r"\tilde{\kappa} + w_\perp^{2}",
        r"w_\perp^{2} + \tilde{\kappa}",
    )
    assert symbolic.worst_alpha()._repr_latex_() == r"$\displaystyle - \frac{m^{2} t}{\kappa s}$"
    assert symbolic.to_latex(symbolic.accuracy(of="letters")).startswith(r"\Phi\left(")
    assert symbolic.to_latex(symbolic.Phi(L.s) ** 2) == r"\Phi^{2}\left(s\right)"
    assert symbolic.to_text(sp.Eq(L.lam, 1 - L.eta, evaluate=False)) == "λ = 1 - η"
    assert symbolic.to_text(symbolic.Phi(L.s)) == "Φ(s)"
    for source in SOURCES:
        for of in get_args(Of):
            for name in (*EXPRESSIONS, "above_one"):
                latex = symbolic.to_latex(getattr(symbolic, name)(source, of=of))
                assert latex.count("{") == latex.count("}")


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_latex_keeps_letters_and_says_once_what_they_stand_for(name, source):
    parser = MathTextParser("path")
    longest = {"arbitrary": 800, "oracle": 1000, "ridge": 1900}[source]
    for of in get_args(Of):
        expr = getattr(symbolic, name)(source, of=of)
        latex = symbolic.to_latex(expr)
        parser.parse(f"${latex}$")  # no cases, and brackets in pairs
        assert len(latex) < longest
        assert latex.count("where") <= 1
        closed = [rf"{k} = \frac{{" for k in (r"\kappa", r"\tilde{\kappa}") if f"{k} =" in latex]
        assert bool(closed) == (of == "gamma" and expr.has(sp.Piecewise))
        assert latex.count(r"\sqrt{4 \gamma") <= 1
        assert latex.count(r"\sqrt{4 \tilde{\gamma}") <= 1
        assert latex.count("m^{2} =") == (of != "letters" and source != "arbitrary")
        assert latex.count(r"\tilde{\lambda} =") == (of != "letters" and source == "ridge")
        if of == "letters":
            assert latex == symbolic.to_latex(expr, keep=())


def test_letters_are_folded_where_they_are_spelled_out():
    both = symbolic.accuracy("ridge", of="gamma")
    folded = printing.fold(both, get_args(printing.Keep))
    assert {L.kappa, L.kappa_source, L.m, L.lam_source} <= folded.free_symbols
    assert not folded.has(sp.Piecewise)
    values = {L.alpha: 0.7, L.eta: 0.4, L.gamma: 0.3, L.t: 0.8, L.beta: 0.6, L.mu: 1.2, L.mu_perp: 0.7}
    values |= {L.eta_source: 1.5, L.gamma_source: 0.2, L.t_source: 0.9}
    args = [x.name for x in values]
    got = symbolic.to_callable(symbolic.spell_out(folded, of="gamma").subs(L.m, printing.target_norm()), args)
    want = symbolic.to_callable(both, args)
    assert got(*values.values()) == pytest.approx(want(*values.values()), rel=1e-13)
    for k in (1, -1, 2, sp.Rational(1, 2), sp.Rational(-3, 2)):
        for stable in (True, False):
            assert printing.fold(symbolic.kappa(stable=stable) ** k, ["kappa"]) == L.kappa**k


def test_what_is_itself_a_definition_is_printed_as_it_is():
    assert "cases" in symbolic.to_latex(symbolic.kappa(stable=True))
    assert "where" not in symbolic.to_latex(1 / symbolic.kappa())
    assert symbolic.to_text(symbolic.definitions("ridge")[L.lam_source]) == "κ̃ + μ**2 + 1"
    equation = sp.Eq(L.kappa, symbolic.kappa(), evaluate=False)
    assert symbolic.to_text(equation).startswith("κ = ")
    assert symbolic.to_text(symbolic.worst_alpha(of="gamma")).startswith("-m**2*t/(κ*s), where κ = (")
    assert "where" not in symbolic.to_latex(symbolic.worst_alpha("oracle"), keep=["kappa"])


def test_what_cannot_be_printed_is_refused():
    for function in (symbolic.to_latex, symbolic.to_text):
        for expr in ("x+", None, 3):
            with pytest.raises(ValueError, match="expr must be a SymPy object, got"):
                function(expr)
        for keep in ("kappa", ["rho"]):
            with pytest.raises(ValueError, match=r"keep must be a sequence of 'kappa', .*, got "):
                function(L.s, keep=keep)
        assert "s" in function(sp.Matrix([[L.s, 1]]))


# JavaScript.


def run_javascript(code, data):
    """Run code that maps the list `data` to the list it returns, in node."""
    node = shutil.which("node")
    if node is None:
        assert "CI" not in os.environ, "node is needed to test the JavaScript"
        pytest.skip("node is not installed")
    program = (
        f"{code}\nconst data = JSON.parse(require('fs').readFileSync(0));\nconsole.log(JSON.stringify(run(data)));"
    )
    done = subprocess.run([node, "-e", program], input=json.dumps(data), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_phi_in_javascript_has_all_digits():
    rng = np.random.default_rng(4)
    x = np.concatenate([np.linspace(-37, 9, 4001), rng.uniform(-6, 6, 4000), [0.0, -0.0, 1e-300, -1e-10, -40, 40, 300]])
    code = symbolic.to_javascript(symbolic.Phi(L.s), ["s"]) + "\nconst run = (data) => data.map((x) => f(x));"
    got = np.array(run_javascript(code, x.tolist()))
    with mp.workdps(40):
        exact = np.array([float(mp.ncdf(mpf(value))) for value in x])
    np.testing.assert_allclose(got, exact, rtol=2e-15, atol=1e-300)
    ordinary = x > -5
    np.testing.assert_allclose(got[ordinary], special.ndtr(x[ordinary]), rtol=1e-14)
    np.testing.assert_allclose(got, special.ndtr(x), rtol=2e-10, atol=1e-300)  # SciPy's tail is the less exact one
    ends = "\nconst run = () => [f(Infinity), f(-Infinity), Number.isNaN(f(NaN))];"
    assert run_javascript(symbolic.to_javascript(symbolic.Phi(L.s), ["s"]) + ends, 0) == [1, 0, True]


@pytest.mark.parametrize("of", get_args(Of))
@pytest.mark.parametrize("source", SOURCES)
def test_javascript_gives_the_same_numbers(source, of):
    rng = np.random.default_rng(5)
    penalty = "kappa" if of == "kappa" else "gamma"
    args = ["alpha", "eta", penalty, "t"]
    args += ["m2", "s", "w_perp2"] if source == "arbitrary" else ["beta", "mu", "mu_perp"]
    args += ["eta_source", f"{penalty}_source", "t_source"] if source == "ridge" else []
    values = rng.uniform(0.05, 0.95, (len(args), 200)) * np.where(rng.random((len(args), 200)) < 0.5, 1.0, 1.05)
    exprs = [getattr(symbolic, name)(source, of=of) for name in EXPRESSIONS]
    functions = [symbolic.to_javascript(expr, args, name=f"g{i}") for i, expr in enumerate(exprs)]
    calls = ", ".join(f"rows.map((row) => g{i}(...row))" for i in range(len(exprs)))
    got = run_javascript("\n".join([*functions, f"const run = (rows) => [{calls}];"]), values.T.tolist())
    for name, expr, column in zip(EXPRESSIONS, exprs, got, strict=True):
        want = symbolic.to_callable(expr, args)(*values)
        np.testing.assert_allclose(column, want, rtol=1e-12, err_msg=name)


def test_javascript_of_kappa_and_inequality_runs_in_kappa_too():
    code = symbolic.to_javascript(symbolic.kappa(stable=True), ["eta", "gamma"], name="kappa")
    assert "Phi" not in code
    rows = [[2.0, 0.1], [0.5, 1e-9], [1.0, 1e-12], [1e8, 3.0]]
    got = run_javascript(code + "\nconst run = (rows) => rows.map((row) => kappa(...row));", rows)
    np.testing.assert_allclose(got, [effective_ridge(1.0, *row) for row in rows], rtol=1e-14)


def test_infinite_limits_run_in_javascript():
    code = symbolic.to_javascript(symbolic.limit("optimal_alpha", "gamma->0, eta<1"), ["s"])
    ends = "\nconst run = () => [f(-1) === -Infinity, Number.isNaN(f(0)), f(2) === Infinity];"
    assert run_javascript(code + ends, 0) == [True, True, True]


@pytest.mark.parametrize("name", ["eval", "arguments", "Number", "Infinity", "NaN", "undefined", "Math", "1x", 3, None])
def test_names_that_mean_something_in_javascript_are_refused(name):
    with pytest.raises(ValueError, match="name must be an identifier that JavaScript and this code leave free, got"):
        symbolic.to_javascript(L.s, name=name)
    if isinstance(name, str) and name.isidentifier():
        with pytest.raises(ValueError, match="args must be an identifier that JavaScript"):
            symbolic.to_javascript(L.s * sp.Symbol(name))


def test_shared_parts_do_not_hide_arguments():
    own = sp.Symbol("_0")
    code = symbolic.to_javascript((L.s + own) ** 2 + sp.sqrt(L.s + own), ["s", "_0"])
    assert run_javascript(code + "\nconst run = () => f(1, 3);", 0) == 18
