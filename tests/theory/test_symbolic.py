"""The symbolic layer: equal to the numeric one, and proofs that can fail."""

import math
import pickle
import re
import subprocess
import sys
from functools import cache
from typing import get_args

import numpy as np
import pytest
import sympy as sp
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from mpmath import mp
from scipy import special
from sympy.core.function import ArgumentIndexError

import rmt_alpha as ra
from rmt_alpha.theory import errata, symbolic
from rmt_alpha.theory.isotropic import (
    effective_ridge,
    fixed_source_law,
    fixed_source_optimal_alpha,
    residual_fraction,
    source_numbers,
)
from rmt_alpha.theory.symbolic import expressions, proofs, proving
from rmt_alpha.theory.symbolic.expressions import GLYPHS, Letter, Of, Source, abbreviations
from rmt_alpha.theory.symbolic.proofs import PROOFS
from rmt_alpha.theory.symbolic.proving import ProofError
from tests.theory import oracle

L = symbolic.letters
SOURCES = get_args(Source)

pytestmark = pytest.mark.slow  # all together

EXPRESSIONS = (
    "margin_mean",
    "margin_variance",
    "accuracy",
    "risk",
    "optimal_alpha",
    "worst_alpha",
    "risk_optimal_alpha",
    "best_snr2",
)

thousand = settings(deadline=None, max_examples=1000)


# Symbolic equals numeric.


def powers(low, high):
    return st.floats(low, high).map(lambda x: 10.0**x)


FLIPS = st.just(0.0) | st.floats(1e-3, 0.49)
ALPHAS = st.floats(-10, 10)
SHAPES = st.tuples(powers(0, 6), powers(-4, 4)).map(lambda x: {"n": x[0], "p": x[0] * x[1]}) | st.tuples(
    st.integers(4, 10**5), st.integers(-3, 3)
).map(lambda x: {"n": float(x[0]), "p": float(x[0] + x[1])})
PENALTIES = powers(-5, 5)
ALIGNMENTS = st.floats(-1, 1).filter(lambda beta: abs(beta) > 1e-6)


def target_arguments(p, n, gamma, label_noise):
    return {"eta": p / n, "gamma": gamma, "t": 1.0 - 2.0 * label_noise}


@cache
def compiled(of):
    """{source: {name: function}} of everything, by keyword in one set of arguments per source."""
    target = ["alpha", "eta", "gamma" if of != "kappa" else "kappa", "t"]
    own = {
        "arbitrary": ["m2", "s", "w_perp2"],
        "oracle": ["beta", "mu", "mu_perp"],
        "ridge": [
            "beta",
            "mu",
            "mu_perp",
            "eta_source",
            "gamma_source" if of != "kappa" else "kappa_source",
            "t_source",
        ],
    }
    result = {}
    for source, names in own.items():
        exprs = symbolic.five_numbers(source, of=of) | {
            name: getattr(symbolic, name)(source, of=of) for name in EXPRESSIONS
        }
        result[source] = {name: symbolic.to_callable(expr, [*target, *names]) for name, expr in exprs.items()}
    return result


def assert_equal_to(law, best, source, arguments, alpha, exact):
    """Compare all functions of a source with the law; `exact` is that law to 50 digits, for what the hub cancels."""
    numbers = dict(zip(("M0", "M1", "V00", "V01", "V11"), [*law.mean, *law.cov[np.triu_indices(2)]], strict=True))
    numbers |= {"optimal_alpha": best, "worst_alpha": law.worst_alpha()}
    m0, m1, v00, v01, v11 = exact[:5]
    with mp.workdps(50):
        numbers["risk_optimal_alpha"] = float(((1 - m0) * m1 - v01) / (m1**2 + v11))
        numbers["best_snr2"] = float((m0**2 * v11 + m1**2 * v00 - 2 * m0 * m1 * v01) / (v00 * v11 - v01**2))
    mean, variance = law.moments(alpha)
    size = abs(numbers["M0"]) + abs(alpha * numbers["M1"])
    spread = numbers["V00"] + abs(2 * alpha * numbers["V01"]) + alpha**2 * numbers["V11"]
    lost = 1 + size / math.sqrt(variance) + spread / variance  # what a sum of numbers of both signs loses
    kappa = {"kappa": effective_ridge(1.0, arguments["eta"], arguments["gamma"])}
    share = residual_fraction(1.0, arguments["eta"], arguments["gamma"])
    if source == "ridge":
        kappa["kappa_source"] = effective_ridge(1.0, arguments["eta_source"], arguments["gamma_source"])
        share = min(share, residual_fraction(1.0, arguments["eta_source"], arguments["gamma_source"]))
    for of in get_args(Of):
        given = {"alpha": alpha, **arguments}
        rel = 1e-12
        if of == "kappa":
            # ρ and h as differences: in η and κ alone they cannot be had any better
            given = {name: x for name, x in given.items() if not name.startswith("gamma")} | kappa
            rho = min(arguments["gamma"] / kappa["kappa"], 1.0)
            rel = max(rel, 2e-15 / min(rho, share))
        got = {name: function(**given) for name, function in compiled(of)[source].items()}
        for name, want in numbers.items():
            assert got[name] == pytest.approx(want, rel=rel, abs=0.0), (of, name)
        assert got["margin_mean"] == pytest.approx(mean, rel=0.0, abs=rel * size), of
        assert got["margin_variance"] == pytest.approx(variance, rel=0.0, abs=rel * spread), of
        assert got["accuracy"] == pytest.approx(law.accuracy(alpha), rel=0.0, abs=rel * lost), of
        assert got["risk"] == pytest.approx(law.risk(alpha), rel=0.0, abs=rel * ((1 + size) ** 2 + spread)), of


@thousand
@given(
    shape=SHAPES,
    gamma=PENALTIES,
    noise=FLIPS,
    s=powers(-3, 3),
    sign=st.sampled_from([-1.0, 1.0]),
    w_perp2=st.just(0.0) | powers(-3, 3),
    m2=powers(-3, 2),
    alpha=ALPHAS,
)
def test_arbitrary_source_equals_the_numeric_kernels(shape, gamma, noise, s, sign, w_perp2, m2, alpha):
    problem = {"s": sign * s, "w_perp2": w_perp2, "m2": m2, **shape, "gamma": gamma, "label_noise": noise}
    arguments = target_arguments(shape["p"], shape["n"], gamma, noise)
    arguments |= {"m2": m2, "s": sign * s, "w_perp2": w_perp2}
    law, exact = fixed_source_law(**problem), oracle.fixed_source_law(**problem)
    assert_equal_to(law, fixed_source_optimal_alpha(**problem), "arbitrary", arguments, alpha, exact)


@thousand
@given(
    beta=ALIGNMENTS,
    shape=SHAPES,
    gamma=PENALTIES,
    noise=FLIPS,
    mu=powers(-1.5, 1),
    mu_perp=powers(-1.5, 1),
    alpha=ALPHAS,
)
def test_oracle_source_equals_the_public_functions(beta, shape, gamma, noise, mu, mu_perp, alpha):
    problem = {"beta": beta, **shape, "gamma": gamma, "mu": mu, "mu_perp": mu_perp, "label_noise": noise}
    arguments = target_arguments(shape["p"], shape["n"], gamma, noise) | {"beta": beta, "mu": mu, "mu_perp": mu_perp}
    law, exact = ra.margin_law(**problem), oracle.margin_law(**problem)
    assert_equal_to(law, ra.optimal_alpha(**problem), "oracle", arguments, alpha, exact)


@thousand
@given(
    beta=ALIGNMENTS,
    shape=SHAPES,
    gamma=PENALTIES,
    noise=FLIPS,
    mu=powers(-1.5, 1),
    mu_perp=powers(-1.5, 1),
    ratio=powers(-4, 4),
    gamma_source=PENALTIES,
    noise_source=FLIPS,
    alpha=ALPHAS,
)
def test_ridge_source_equals_the_public_functions(
    beta, shape, gamma, noise, mu, mu_perp, ratio, gamma_source, noise_source, alpha
):
    source = {"n_source": shape["p"] / ratio, "gamma_source": gamma_source, "label_noise_source": noise_source}
    problem = {"beta": beta, **shape, "gamma": gamma, "mu": mu, "mu_perp": mu_perp, "label_noise": noise, **source}
    arguments = target_arguments(shape["p"], shape["n"], gamma, noise) | {"beta": beta, "mu": mu, "mu_perp": mu_perp}
    arguments |= {"eta_source": shape["p"] / source["n_source"], "gamma_source": gamma_source}
    arguments["t_source"] = 1.0 - 2.0 * noise_source
    law, exact = ra.margin_law(**problem), oracle.margin_law(**problem)
    assert_equal_to(law, ra.optimal_alpha(**problem), "ridge", arguments, alpha, exact)


@pytest.mark.parametrize("of", get_args(Of))
@pytest.mark.parametrize("name", ["V01", "margin_mean", "margin_variance", "accuracy", "risk", "optimal_alpha"])
def test_comparison_sees_the_tenth_digit(monkeypatch, of, name):
    problem = {"s": 0.8, "w_perp2": 0.3, "m2": 1.2, "n": 100.0, "p": 250.0, "gamma": 0.3, "label_noise": 0.1}
    arguments = target_arguments(250.0, 100.0, 0.3, 0.1) | {"m2": 1.2, "s": 0.8, "w_perp2": 0.3}
    law, exact = fixed_source_law(**problem), oracle.fixed_source_law(**problem)
    best = fixed_source_optimal_alpha(**problem)
    assert_equal_to(law, best, "arbitrary", arguments, 0.7, exact)
    true = compiled(of)["arbitrary"][name]
    monkeypatch.setitem(compiled(of)["arbitrary"], name, lambda **given: true(**given) * (1 + 1e-10))
    with pytest.raises(AssertionError, match=name if name in ("V01", "optimal_alpha") else of):
        assert_equal_to(law, best, "arbitrary", arguments, 0.7, exact)


@cache
def resolvent_functions():
    return [symbolic.to_callable(x, ["eta", "gamma"]) for x in (symbolic.kappa(stable=True), symbolic.kappa(), L.h)]


@thousand
@given(n=powers(0, 6), ratio=powers(-6, 6), gamma=powers(-6, 6))
@example(n=1.0, ratio=1.0, gamma=1e-6)
def test_kappa_equals_the_numeric_kernel(n, ratio, gamma):
    eta = ratio * n / n
    stable, textbook, h = resolvent_functions()
    want = effective_ridge(1.0, eta, gamma)
    assert stable(eta, gamma) == pytest.approx(want, rel=1e-13, abs=0.0)
    assert textbook(eta, gamma) == pytest.approx(want, rel=0.0, abs=1e-15 * (1 + eta + gamma))
    assert h(eta, gamma) == pytest.approx(residual_fraction(1.0, eta, gamma), rel=1e-12, abs=0.0)


def test_every_expression_speaks_of_the_letters_it_should():
    target = {"kappa": {L.eta, L.kappa, L.t, L.alpha}, "gamma": {L.eta, L.gamma, L.t, L.alpha}}
    own = {"arbitrary": {L.m, L.s, L.w_perp}, "oracle": {L.beta, L.mu, L.mu_perp}}
    own["ridge"] = own["oracle"] | {L.eta_source, L.t_source}
    for name in (*EXPRESSIONS, "above_one"):
        for source in SOURCES:
            for of, allowed in target.items():
                extra = {L[f"{of}_source"]} if source == "ridge" else set()
                assert getattr(symbolic, name)(source, of=of).free_symbols <= allowed | own[source] | extra
    assert symbolic.kappa().free_symbols == symbolic.kappa(stable=True).free_symbols == {L.eta, L.gamma}


def test_forms_are_those_of_theory():
    clean = {L.t: 1}
    assert symbolic.optimal_alpha(of="letters").subs(clean) == L.eta * L.s * (1 + L.kappa) / (
        L.kappa * (L.lam * L.m**2 * L.w_perp**2 + L.eta * L.s**2)
    )
    assert symbolic.five_numbers(of="letters")["V00"].subs(clean) == (L.m**2 + L.eta) / (L.h * L.lam**2)
    assert symbolic.worst_alpha() == -L.t * L.m**2 / (L.kappa * L.s)
    longest = max(sp.count_ops(getattr(symbolic, name)()) for name in EXPRESSIONS)
    assert longest < 90  # not expanded


# Proofs.


def alterations(value):
    """False versions of a claim, by what was done to it."""
    if isinstance(value, sp.Rel):
        yield "sign", sp.Gt(-value.lhs, value.rhs)
        yield "direction", sp.Lt(value.lhs, value.rhs)
        yield "factor h", sp.Gt(value.lhs * L.h, value.rhs)
        yield "factor 2", sp.Gt(2 * value.lhs, value.rhs)
        return
    yield "sign", -value
    yield "factor h", value * L.h
    yield "shift", value + 1


@pytest.mark.parametrize("proof", PROOFS.values(), ids=PROOFS)
def test_altered_statement_fails(proof):
    for name, value in proof().claims.items():
        for how, altered in alterations(value):
            try:
                proof({name: altered})
            except ProofError:
                continue
            pytest.fail(f"{proof.__name__} proves {name} with another {how}")


def test_there_is_a_proof_of_every_expression():
    claimed = [claim for proof in PROOFS.values() for claim in proof().claims.values()]
    ways = ("margin_mean", "margin_variance", "accuracy", "risk")
    for expr in (
        symbolic.kappa(),
        symbolic.kappa(stable=True),
        *symbolic.five_numbers(of="letters").values(),
        *(
            getattr(symbolic, f"{name}")(of="letters")
            for name in (*ways, "optimal_alpha", "worst_alpha", "risk_optimal_alpha")
        ),
        *(getattr(symbolic, name)(of="letters") for name in ("best_snr2", "above_one")),
        *(value for letter, value in abbreviations().items() if letter in (L.gamma, L.rho, L.h)),
        abbreviations("gamma")[L.h],
        abbreviations()[L.r] ** 2,
        symbolic.definitions("oracle")[L.m] ** 2,
        *(
            x ** (2 if letter == L.w_perp else 1)
            for source in ("oracle", "ridge")
            for letter, x in symbolic.definitions(source, of="letters").items()
        ),
    ):
        assert expr in claimed, expr


@pytest.mark.parametrize(
    ("name", "altered"),
    [
        ("_mean", lambda true: true.subs(L.alpha, -L.alpha)),
        ("_variance", lambda true: 2 * true),
        ("_five_numbers", lambda true: true | {"V01": true["V01"] * L.t}),
        ("accuracy", lambda true: symbolic.Phi(-true.args[0])),
        ("accuracy", lambda true: symbolic.Phi(sp.Abs(true.args[0]))),
        ("risk", lambda true: true + L.alpha),
        ("definitions", lambda true: true | {L.s: -true.get(L.s, L.s)}),
        ("target_norm", lambda true: true.subs(L.mu_perp, L.mu)),
        ("best_snr2", lambda true: true / L.h),
        ("optimal_alpha", lambda true: true.subs(L.t, 1)),
    ],
)
def test_verify_notices_an_altered_expression(monkeypatch, name, altered):
    true = getattr(expressions, name)
    for module in (expressions, proofs):
        if hasattr(module, name):
            monkeypatch.setattr(module, name, lambda *args, **kwargs: altered(true(*args, **kwargs)))
    proofs._derived_numbers()  # what follows from the theorem is not the package's expressions
    with pytest.raises(ProofError):
        symbolic.verify(["margin_law", "trained_source", "optimum", "factorisation"], echo=lambda _: None)


def test_accuracy_is_recognised_in_other_forms_and_signs():
    mean, variance = (symbolic.margin_mean(of="letters"), symbolic.margin_variance(of="letters"))
    x = symbolic.accuracy(of="letters").args[0]
    assert proofs._is_ratio(x, mean, variance)
    assert proofs._is_ratio(sp.expand(mean) / sp.sqrt(variance), mean, variance)
    for other in (-x, sp.Abs(x), 2 * x, x**2, sp.sqrt(x**2), x * sp.sqrt(L.s**2) / L.s, mean, sp.exp(x)):
        assert not proofs._is_ratio(other, mean, variance), other


def test_classifier_and_loss_hold_for_dense_data():
    """The claims of `loss` in numbers, for matrices that SymPy never saw."""
    rng = np.random.default_rng(8)
    n, p, alpha, gamma = 7, 4, 0.7, 0.3
    X, y, source, half = rng.normal(size=(n, p)), rng.normal(size=n), rng.normal(size=p), rng.normal(size=(p, p))
    A = half @ half.T

    def best(z):
        system = np.vstack([X / math.sqrt(n), math.sqrt(gamma) * np.eye(p), math.sqrt(z) * half.T])
        target = np.concatenate([y / math.sqrt(n), math.sqrt(gamma) * alpha * source, np.zeros(p)])
        w = np.linalg.lstsq(system, target, rcond=None)[0]
        return w, np.sum((system @ w - target) ** 2)

    Q = np.linalg.inv(X.T @ X / n + gamma * np.eye(p))
    S = np.block(
        [
            [gamma * np.eye(p), alpha * gamma * source[:, None]],
            [alpha * gamma * source, alpha**2 * gamma * source @ source],
        ]
    )
    Z = np.column_stack([X, y])
    inverse = np.linalg.inv(Z.T @ Z / n + S)
    w, value = best(0.0)
    np.testing.assert_allclose(w, Q @ (X.T @ y / n + alpha * gamma * source), rtol=1e-10)
    np.testing.assert_allclose(-inverse[:-1, -1] / inverse[-1, -1], w, rtol=1e-10)
    assert 1 / inverse[-1, -1] == pytest.approx(value, rel=1e-10)
    assert (best(1e-6)[1] - value) / 1e-6 == pytest.approx(w @ A @ w, rel=1e-4)


def test_blocks_do_not_commute():
    X, y, Q, P = proofs._X, proofs._Y, proofs._RESOLVENT, proofs._P
    assert proofs._vanishes(P * Q * y - y)
    assert proofs._vanishes(proofs._YT * X * proofs._W - proofs._WT * proofs._XT * y)
    assert not proofs._vanishes(X * y - y * X)
    assert not proofs._vanishes(P * X * Q - X)
    assert not proofs._vanishes(proofs._XT * X - X * proofs._XT)


def test_two_sources_have_the_factor_h_and_no_other():
    numbers = {L.m: 2} | dict.fromkeys(sp.symbols("s_1 g_11", real=True), 3)  # it is slow in all letters
    mean, cov, *infinite = (x.subs(numbers) for x in proofs._two_sources())
    assert not proofs._factorises(mean, cov / L.h, *infinite)


def test_a_claim_in_terms_of_itself_is_no_proof():
    with pytest.raises(ProofError, match="ρ is claimed in terms of itself, as ρ"):
        proofs.rho_and_h({"rho": L.rho, "h": L.h})
    with pytest.raises(ProofError, match="h is claimed in terms of itself"):
        proofs.rho_and_h({"h_sum": L.h})


@pytest.mark.parametrize("size", [sp.Abs(L.eta - 1), sp.Abs(L.eta - 1 - L.gamma), sp.Abs(L.s)])
def test_another_absolute_value_in_kappa_fails(size):
    b = L.eta - 1 + L.gamma
    root = sp.sqrt(b**2 + 4 * L.gamma)

    def stable(x, condition=b >= 0):
        return {"kappa_stable": sp.Piecewise(((x + root) / 2, condition), (2 * L.gamma / (x + root), True))}

    assert proofs.effective_ridge(stable(sp.Abs(b))).name == "effective_ridge"
    with pytest.raises(ProofError):
        proofs.effective_ridge(stable(size))
    for condition in (sp.Ne(b, 0), b <= 0):
        with pytest.raises(ProofError, match="part at b = 0"):
            proofs.effective_ridge(stable(sp.Abs(b), condition))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: proofs.optimum(3), "claim must be a mapping of names to expressions, got 3"),
        (lambda: proofs.optimum({"optimum": "x"}), r"claim\['optimum'\] must be a SymPy expression, got 'x'"),
        (lambda: proofs.optimum({"optimum": None}), r"claim\['optimum'\] must be a SymPy expression, got None"),
        (lambda: proofs.optimum({"optimum": sp.Gt(L.s, 0)}), r"claim\['optimum'\] must be no relation, got s > 0"),
        (lambda: proofs.larger_than_one({"short": L.s}), r"claim\['short'\] must be a relation, got s"),
        (lambda: proofs.optimum({3: L.s}), "claim must be about optimum, worst, got 3"),
        (lambda: symbolic.verify(5), "proofs must be names of proofs, got 5"),
        (lambda: symbolic.verify([[]]), r"proofs must be among .*, got \[\]"),
        (lambda: symbolic.verify(["loss"], echo=None), "echo must be a function, got None"),
        (lambda: symbolic.kappa(stable="no"), "stable must be True or False, got 'no'"),
        (lambda: symbolic.spell_out("x"), "expr must be a SymPy expression, got 'x'"),
        (lambda: L[[]], r"no letter is called \[\]"),
        (lambda: symbolic.risk(None), "source must be one of .*, got None"),
    ],
)
def test_bad_claims_and_names_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_numbers_are_claims_and_expressions():
    with pytest.raises(ProofError, match="κ is claimed to be 1"):
        proofs.effective_ridge({"kappa": 1})
    assert symbolic.spell_out(3) == 3


def test_published_length_is_refused():
    published = dict(proofs.erratum().steps[2].formulas)["published"]
    with pytest.raises(ProofError, match="erratum"):
        proofs.erratum({"norm2": published})
    numbers = {"mu": 1.5, "eta_source": 1.0, "gamma_source": 0.1}
    got = symbolic.to_callable(published, list(numbers))(**numbers)
    assert got == pytest.approx(errata.published_norm2(400, 400, 0.1, mu=1.5), rel=1e-12)
    s, w_perp2, m2 = source_numbers(0.8, 400, mu=1.5, n_source=400, gamma_source=0.1)
    correct = symbolic.to_callable(proofs.erratum().claims["norm2"], list(numbers))(**numbers)
    assert correct == pytest.approx(s**2 / m2 + w_perp2, rel=1e-12)
    difference = symbolic.to_callable(proofs.erratum().claims["difference"], list(numbers))(**numbers)
    assert difference == pytest.approx(got - correct, rel=1e-12)


def test_subtly_false_statements_fail():
    """Where a numeric test could be lucky: forms that agree for clean labels, for equal norms, or far from a corner."""
    alpha = symbolic.optimal_alpha(of="letters")
    with pytest.raises(ProofError):
        proofs.optimum({"optimum": alpha.subs(L.t, 1)})
    with pytest.raises(ProofError):
        proofs.optimum({"optimum": symbolic.risk_optimal_alpha(of="letters")})
    with pytest.raises(ProofError):
        proofs.margin_law({"V01": symbolic.five_numbers(of="letters")["V01"] * L.t})
    with pytest.raises(ProofError):
        proofs.trained_source({"w_perp2": (proofs.trained_source().claims["w_perp2"]).subs(L.mu_perp, L.mu)})
    with pytest.raises(ProofError):
        proofs.factorisation({"best": proofs.factorisation().claims["best_clean"]})
    b = L.eta - 1 + L.gamma
    with pytest.raises(ProofError):
        proofs.effective_ridge({"kappa": (b - sp.sqrt(b**2 + 4 * L.gamma)) / 2})  # the other root
    swapped = symbolic.kappa(stable=True).args
    with pytest.raises(ProofError):
        proofs.effective_ridge({"kappa_stable": sp.Piecewise((swapped[1][0], swapped[0][1]), (swapped[0][0], True))})
    with pytest.raises(ProofError):
        proofs.effective_ridge({"kappa_stable": sp.Piecewise((swapped[0][0], b > 1), (swapped[1][0], True))})


def test_equivalent_statement_passes():
    expanded = sp.expand(symbolic.optimal_alpha(of="letters"))
    assert proofs.optimum({"optimum": expanded}).claims["optimum"] == expanded
    assert proofs.optimum({"optimum": symbolic.optimal_alpha()}).name == "optimum"


def test_claim_about_something_else_is_refused():
    with pytest.raises(ValueError, match="claim must be about optimum, worst, got beta"):
        proofs.optimum({"beta": L.beta})
    with pytest.raises(ValueError, match="claim must be about norm2, difference, got published"):  # it is given
        proofs.erratum({"published": L.mu})


def test_an_unchecked_claim_is_no_proof():
    derivation = proving._Derivation("nothing", {"h": L.rho}, None)
    with pytest.raises(ProofError, match="nothing was derived about h"):
        derivation.done("", "")


@pytest.mark.parametrize(
    ("expr", "positive", "nonnegative"),
    [
        (L.eta + L.s**2, True, True),
        (1 - L.t, False, True),  # 0 for clean labels
        (L.t - 1, False, False),
        (L.s**2, False, True),
        (L.w_perp, False, True),
        (L.alpha**2, False, True),
        (L.v, False, True),
        (1 / L.s**2, False, False),
        (L.h - L.rho, True, True),
        (-L.eta, False, False),
        (L.s, False, False),
        (L.eta - L.kappa, False, False),
        (L.eta - L.eta, False, True),
        (-L.m / (-1 - L.kappa), True, True),
        (1 - L.h_source, True, True),
        (1 + 2 * L.rho - 2 * L.rho_source, False, False),  # the shares of source and target are free
        (symbolic.Phi(L.s), False, False),
        (sp.sqrt(L.eta), False, False),
        (sp.zoo, False, False),
        (sp.nan, False, False),
    ],
)
def test_signs(expr, positive, nonnegative):
    assert proving.is_positive(expr) is positive
    assert proving.is_nonnegative(expr) is nonnegative


def test_signs_where_the_source_is_not_0():
    norm2 = L.w_perp**2 + L.s**2 / L.m**2
    assert not proving.is_positive(norm2)
    assert proving.is_positive(norm2, nonzero=[L.s])
    assert proving.is_positive(L.s**2, nonzero=[L.s])
    assert not proving.is_positive(L.s, nonzero=[L.s])
    assert proving._for_a_source(proving.is_positive, norm2)
    assert not proving._for_a_source(proving.is_positive, L.s**2)
    assert not proving._for_a_source(proving.is_positive, L.w_perp)


def test_verify_prints_a_line_for_each_proof(capsys):
    done = symbolic.verify()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PROOFS) == [proof.name for proof in done]
    assert all(line.endswith(" s  ok") for line in lines)


def test_verify_raises_after_all_have_run(capsys, monkeypatch):
    wrong = {"rho": L.h}
    monkeypatch.setitem(PROOFS, "rho_and_h", lambda: proofs.rho_and_h(wrong))
    with pytest.raises(ProofError, match="rho_and_h: ρ is claimed to be h, which it is not"):
        symbolic.verify(["rho_and_h", "risk_optimum"])
    lines = capsys.readouterr().out.splitlines()
    assert "FAILED: rho_and_h: ρ is claimed" in lines[0]
    assert lines[1].startswith("risk_optimum")
    assert lines[1].endswith("ok")


def test_verify_reports_any_failure(monkeypatch):
    def broken():
        raise ZeroDivisionError("1/0")

    monkeypatch.setitem(PROOFS, "rho_and_h", broken)
    lines = []
    with pytest.raises(ProofError, match="rho_and_h: ZeroDivisionError: 1/0") as caught:
        symbolic.verify(["rho_and_h", "loss"], echo=lines.append)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert lines[0].endswith("FAILED: rho_and_h: ZeroDivisionError: 1/0")
    assert lines[1].endswith("ok")


def test_verify_names_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"proofs must be among loss, .* got 'nonsense'"):
        symbolic.verify(["rho_and_h", "nonsense"])
    lines = []
    assert [proof.name for proof in symbolic.verify("erratum", echo=lines.append)] == ["erratum"]
    assert len(lines) == 1


@pytest.mark.parametrize("name", PROOFS)
def test_proof_shows_itself(name):
    proof = PROOFS[name]()
    text, latex = str(proof), proof._repr_latex_()
    assert text.startswith(f"{name}: {proof.statement}")
    assert text.endswith(f"∎ {proof.conclusion}")
    assert latex.startswith("$$\\begin{aligned}")
    assert latex.endswith("\\end{aligned}$$")
    assert latex.count("{") == latex.count("}")
    assert latex.count("\\left") == latex.count("\\right")
    for step in proof.steps:
        assert step.text in text
        assert proving._prose(step.text) in latex
        assert len(step.text) < 115
        assert not set(step.text) & set("_$&%#\\{}~")  # plain in LaTeX as well
    assert latex.isascii()  # words and mathematics apart
    assert len(latex) < 5000  # MathJax shows no more
    assert not re.search(r"\\(theta|gamma|alpha|kappa)[A-Za-z]", latex)
    assert all(line.isprintable() for line in text.splitlines())
    assert "Matrix" not in text
    assert max(map(len, latex.splitlines())) < 700
    copy = pickle.loads(pickle.dumps(proof))
    assert (copy.name, copy.statement, copy.conclusion, len(copy.steps)) == (
        *(name, proof.statement, proof.conclusion),
        len(proof.steps),
    )
    with pytest.raises(AttributeError):
        proof.name = "another"


# When is α* above 1?


@cache
def inequality_functions():
    bound = proofs.larger_than_one().claims["bound"]
    exprs = symbolic.optimal_alpha(of="letters"), symbolic.above_one(of="letters"), bound
    return [symbolic.to_callable(expr, ["eta", "gamma", "m2", "s", "w_perp2", "t"]) for expr in exprs]


@thousand
@given(
    eta=powers(-2, 2),
    gamma=powers(-3, 3),
    m2=powers(-2, 1),
    s=st.floats(-3, 3),
    w_perp2=powers(-3, 1),
    t=st.floats(0.05, 1),
)
def test_inequality_tells_when_alpha_is_above_one(eta, gamma, m2, s, w_perp2, t):
    values = (eta, gamma, m2, s, w_perp2, t)
    alpha, above, bound = (function(*values) for function in inequality_functions())
    assume(abs(alpha - 1) > 1e-9)
    assert above is (alpha > 1)
    assert (w_perp2 < bound) is (alpha > 1)


def test_inequality_is_read_in_words():
    words = proofs.larger_than_one().conclusion
    assert "points the right way and is short enough for its dirt" in words
    assert "noisy target labels push α* up" in words


def test_words_and_mathematics_are_apart():
    prose = proving._prose("V₀₀ of its own problem is ‖w̃‖². Where α* > 1 (γ → ∞), w⊥² counts, in Q⁻¹")
    assert prose == (
        r"V_{00}\text{ of its own problem is }\Vert \tilde w \Vert ^{2}\text{. Where }\alpha^*\text{ > 1 (}\gamma"
        r"\text{ }\to \text{ }\infty \text{), }w_\perp^{2}\text{ counts, in }Q^{-1}"
    )


def test_alpha_is_raised_by_label_noise_and_by_a_dirty_but_short_source():
    alpha = symbolic.to_callable(symbolic.optimal_alpha(of="letters"), ["eta", "gamma", "m2", "s", "w_perp2", "t"])
    assert alpha(2.0, 0.1, 1.0, 0.01, 0.01, 1.0) > 1
    by_noise = [alpha(2.0, 1.0, 1.0, 0.8, 1.0, t) for t in (1.0, 0.8, 0.5, 0.2)]
    assert sorted(by_noise) == by_noise


# Letters and arguments.


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="source must be one of 'arbitrary', 'oracle', 'ridge', got 'lora'"):
        symbolic.optimal_alpha("lora")
    with pytest.raises(ValueError, match="of must be one of 'letters', 'kappa', 'gamma', got 'eta'"):
        symbolic.risk(of="eta")
    with pytest.raises(ValueError, match="no letter is called 'zeta'"):
        L["zeta"]


def test_letters_are_positive_or_real_as_in_theory():
    assert L.eta.is_positive
    assert L.w_perp.is_nonnegative
    assert L.s.is_real
    assert L.s.is_positive is None
    assert {name for name in GLYPHS if L[name].name != name} == set()
    assert all(isinstance(L[name], Letter) for name in GLYPHS)
    assert pickle.loads(pickle.dumps(L.kappa)) == L.kappa
    assert "kappa" in repr(L)


def test_phi():
    x = L.s
    assert symbolic.Phi(0) == sp.Rational(1, 2)
    assert (symbolic.Phi(sp.oo), symbolic.Phi(-sp.oo)) == (1, 0)
    density = sp.diff(symbolic.Phi(x), x)
    assert density == sp.exp(-(x**2) / 2) / sp.sqrt(2 * sp.pi)
    assert float(symbolic.Phi(-30).evalf(30)) == pytest.approx(special.ndtr(-30), rel=1e-12)
    assert sp.N(symbolic.Phi(x).rewrite(sp.erfc).subs(x, 0.7)) == pytest.approx(special.ndtr(0.7))
    with pytest.raises(ArgumentIndexError):
        symbolic.Phi(x).fdiff(2)


def test_the_package_imports_without_sympy():
    code = "import sys, rmt_alpha, rmt_alpha.theory.isotropic, rmt_alpha.cli; print('sympy' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
