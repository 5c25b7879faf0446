"""Limits of the symbolic layer: approached at parameters 10^±8, equal to those of THEORY, refused where unclear."""

import math
from functools import cache
from typing import get_args

import pytest
import sympy as sp
from mpmath import mp, mpf

from rmt_alpha.theory import symbolic
from rmt_alpha.theory.isotropic import effective_ridge
from rmt_alpha.theory.symbolic import limits
from rmt_alpha.theory.symbolic.expressions import Of, Source
from tests.theory import oracle

L = symbolic.letters
SOURCES = get_args(Source)

pytestmark = pytest.mark.slow  # all together


# Each limit is approached.

PLAIN = {
    **{"s": 0.7, "w_perp2": 0.4, "m2": 1.7, "beta": 0.6, "mu": 1.3, "mu_perp": 0.8, "alpha": 1.4},
    **{"eta": 0.35, "gamma": 0.3, "noise": 0.15, "eta_source": 0.5, "gamma_source": 0.8, "noise_source": 0.1},
}
SETTINGS = {
    "noisy": PLAIN,
    "clean": PLAIN | {"noise": 0.0, "noise_source": 0.0},
    "against": PLAIN | {"s": -1.2, "beta": -0.3, "eta": 0.8, "gamma": 1.9, "mu": 0.6, "mu_perp": 1.6, "alpha": -0.8},
}
ABOVE = {"noisy": 2.6, "clean": 1.4, "against": 5.0}
AT = {
    "gamma->0, eta<1": ("gamma", 1e-8),
    "gamma->0, eta>1": ("gamma", 1e-8),
    "gamma->oo": ("gamma", 1e8),
    "eta->0": ("eta", 1e-8),
    "eta->oo": ("eta", 1e8),
    "beta->0": ("beta", 1e-8),
    "n_source->oo": ("eta_source", 1e-8),
}


def setting(name, at):
    """The parameters, one of them at 10^±8."""
    moving, value = AT[at]
    return SETTINGS[name] | ({"eta": ABOVE[name]} if "eta>1" in at else {}) | {moving: value}


def exact_quantities(source, x, *, scaled):
    """All quantities from THEORY §3 to 50 digits, with c = ακ instead of α if `scaled`."""
    target = {"n": 1.0, "p": x["eta"], "gamma": x["gamma"], "label_noise": x["noise"]}
    mixture = {"mu": x["mu"], "mu_perp": x["mu_perp"]}
    if source == "arbitrary":
        law = oracle.fixed_source_law(**{name: x[name] for name in ("s", "w_perp2", "m2")}, **target)
    elif source == "oracle":
        law = oracle.margin_law(x["beta"], **mixture, **target)
    else:
        own = {"gamma_source": x["gamma_source"], "label_noise_source": x["noise_source"]}
        law = oracle.margin_law(x["beta"], **mixture, **target, **own, n_source=x["eta"] / x["eta_source"])
    with mp.workdps(50):
        kappa, h = oracle.resolvent(mpf(1), mpf(x["eta"]), mpf(x["gamma"]))
        unit = kappa if scaled else mpf(1)
        mean, variance = law.mean(x["alpha"] / unit), law.variance(x["alpha"] / unit)
        m0, m1, v00, v01, v11, best = law
        return {
            "kappa": kappa,
            "rho": mpf(x["gamma"]) / kappa,
            "h": h,
            "margin_mean": mean,
            "margin_variance": variance,
            "accuracy": mp.ncdf(mean / mp.sqrt(variance)),
            "risk": (1 - mean) ** 2 + variance,
            "optimal_alpha": unit * best,
            "worst_alpha": -unit * m0 / m1,
            "risk_optimal_alpha": unit * ((1 - m0) * m1 - v01) / (m1**2 + v11),
            "best_snr2": m0 * (m0 + best * m1) / (v00 + best * v01),
        }


def value_of(limit, source, x):
    """Evaluate a limit, m, s and w⊥ included."""
    values = {L[name]: x[name] for name in ("eta", "gamma", "beta", "mu", "mu_perp", "eta_source", "gamma_source")}
    values |= {L.kappa: effective_ridge(1.0, x["eta"], x["gamma"]), L.alpha: x["alpha"], L.c: x["alpha"]}
    values |= {L.kappa_source: effective_ridge(1.0, x["eta_source"], x["gamma_source"])}
    values |= {L.t: 1 - 2 * x["noise"], L.t_source: 1 - 2 * x["noise_source"]}
    if source == "arbitrary":
        values |= {L.m: math.sqrt(x["m2"]), L.s: x["s"], L.w_perp: math.sqrt(x["w_perp2"])}
    else:
        values[L.m] = math.sqrt(x["beta"] ** 2 * x["mu"] ** 2 + (1 - x["beta"] ** 2) * x["mu_perp"] ** 2)
    return float(limit.subs(values))


def quantity(name, *, clean, scaled):
    """The expression of that name, for clean labels with t = 1 inserted before the limit."""
    expr = L[name] if name in ("kappa", "rho", "h") else getattr(symbolic, name)(of="letters")
    return (expr.subs(L.t, 1) if clean else expr) * (L.kappa if scaled and name.endswith("_alpha") else 1)


limit_of = cache(symbolic.limit)


@cache
def leading(name, at, source, *, clean, scaled):
    """Power of the moving parameter by which the quantity goes, and the limit of what is left."""
    expr, moving = quantity(name, clean=clean, scaled=scaled), L[AT[at][0]]
    for power in (0, 1, -1, 2, -2):
        limit = limit_of(expr / moving**power, at, source, scaled=scaled)
        if not (limit == 0 or limit.has(sp.oo, -sp.oo)):
            return power, limit
    raise AssertionError("neither finite nor of first or second order")


LIMITS = [
    (at, source, name, scaled)
    for at in AT
    for source in SOURCES
    if source in limits._SOURCES.get(at, SOURCES)
    for name in get_args(limits.Quantity)
    for scaled in ((False, True) if "gamma" in at else (False,))
]


def test_every_limit_is_tested():
    assert set(AT) == set(get_args(limits.At))


@pytest.mark.parametrize(("at", "source", "name", "scaled"), LIMITS)
def test_limit_is_approached_at_ten_to_the_eight(at, source, name, scaled):
    """To relative precision; what vanishes or diverges is compared through its leading order."""
    for labels in SETTINGS:
        x = setting(labels, at)
        near = exact_quantities(source, x, scaled=scaled)[name]
        clean = labels == "clean"
        power, limit = leading(name, at, source, clean=clean, scaled=scaled)
        with mp.workdps(50):
            left = float(near / mpf(x[AT[at][0]]) ** power)
        assert left == pytest.approx(value_of(limit, source, x), rel=1e-5, abs=0.0), labels
        got = limit_of(quantity(name, clean=clean, scaled=scaled), at, source, scaled=scaled)
        tends = power * (1 if AT[at][1] < 1 else -1)
        want = 0.0 if tends > 0 else math.copysign(math.inf, left) if tends < 0 else value_of(limit, source, x)
        assert value_of(got, source, x) == want, labels
        if not clean:
            assert limit_of(name, at, source, scaled=scaled) == got


@pytest.mark.parametrize("source", SOURCES)
def test_clean_labels_are_told_from_noisy_ones(source):
    noisy = symbolic.limit("risk_optimal_alpha", "gamma->0, eta<1", source)
    assert noisy.has(sp.oo)
    assert noisy.subs(L.t, 1) is sp.nan  # not infinite: the limit is another one
    clean = symbolic.limit(symbolic.risk_optimal_alpha(of="letters").subs(L.t, 1), "gamma->0, eta<1", source)
    want = L.m**2 * L.s / (L.m**2 * L.w_perp**2 * (L.m**2 + 1) ** 2 + L.s**2 * (L.m**2 + 1))
    x = setting("clean", "gamma->0, eta<1")
    assert value_of(clean, source, x) == pytest.approx(value_of(symbolic.spell_out(want, source), source, x))


def test_infinite_limits_have_the_signs_that_are_not_known():
    limit = symbolic.limit
    assert limit("optimal_alpha", "gamma->0, eta<1", "oracle") == sp.oo * sp.sign(L.beta)
    assert limit("risk_optimal_alpha", "gamma->0, eta<1") == sp.oo * sp.sign(L.s) * sp.sign(1 - L.t)
    assert limit("worst_alpha", "beta->0", "oracle") == -sp.oo
    assert limit((1 - L.eta) * (1 + L.m**2) / L.kappa, "gamma->0, eta<1") == sp.oo
    assert limit((1 - L.eta) * (1 + L.m**2) / L.gamma, "gamma->0, eta>1") == -sp.oo
    assert limit((1 - L.eta) * L.kappa, "gamma->oo") == sp.oo * sp.sign(1 - L.eta)
    assert limit((1 + 2 * L.rho - 2 * L.rho_source) / L.kappa, "gamma->0, eta<1").has(sp.sign)  # each ρ its own
    assert limit(L.kappa * L.w_perp**2, "gamma->oo").subs(L.w_perp, 0) is sp.nan
    aligned = symbolic.optimal_alpha(of="letters").subs(L.w_perp, 0)
    assert limit(L.kappa * aligned, "gamma->oo") == sp.oo * sp.sign(L.s)


def test_limits_are_those_of_theory():
    clean = {L.t: 1}
    total = L.w_perp**2 + L.s**2 / L.m**2
    snr2 = (L.m**4 * L.w_perp**2 + L.eta * L.s**2) / (L.m**2 * L.w_perp**2 + L.eta * total)
    assert sp.simplify(symbolic.limit("best_snr2", "gamma->oo").subs(clean) - snr2) == 0
    noisy = snr2.subs(L.eta, L.eta / L.t**2)
    assert sp.simplify(symbolic.limit("best_snr2", "gamma->oo") - noisy) == 0
    best = symbolic.limit("optimal_alpha", "gamma->oo", scaled=True)
    assert best == L.eta * L.s / (L.t * L.m**2 * L.w_perp**2)
    forgotten = symbolic.limit("optimal_alpha", "gamma->0, eta<1", scaled=True).subs(clean)
    assert forgotten == L.eta * L.s / ((1 + L.m**2) * L.m**2 * L.w_perp**2 + L.eta * L.s**2)
    assert symbolic.limit("optimal_alpha", "gamma->0, eta<1") == sp.oo * sp.sign(L.s)
    assert symbolic.limit("kappa", "gamma->0, eta>1") == L.eta - 1
    assert not symbolic.limit("accuracy", "gamma->0, eta<1").has(L.alpha)
    source = symbolic.limit("worst_alpha", "n_source->oo", "ridge")
    scale = L.t_source / (L.mu**2 + 1 + L.gamma_source)  # w̃ = t_s μ/(mu² + 1 + γ̃)
    assert sp.simplify(source - symbolic.worst_alpha("oracle", of="letters") / scale) == 0


@pytest.mark.parametrize("name", ["accuracy", "best_snr2", "margin_mean", "margin_variance", "risk", "h"])
@pytest.mark.parametrize(
    ("one", "other", "source"),
    [
        ("gamma->oo", "eta->0", "arbitrary"),
        ("gamma->oo", "eta->oo", "arbitrary"),
        ("gamma->0, eta<1", "eta->0", "arbitrary"),
        ("gamma->0, eta>1", "eta->oo", "arbitrary"),
        ("gamma->oo", "beta->0", "oracle"),
        ("gamma->0, eta>1", "beta->0", "oracle"),
        ("eta->0", "beta->0", "ridge"),
        ("n_source->oo", "beta->0", "ridge"),
        ("n_source->oo", "gamma->oo", "ridge"),
        ("n_source->oo", "eta->0", "ridge"),
    ],
)
def test_limits_agree_with_each_other(name, one, other, source):
    forth = symbolic.limit(symbolic.limit(name, one, source), other, source)
    back = symbolic.limit(symbolic.limit(name, other, source), one, source)
    x = PLAIN | ({"eta": 2.6} if "eta>1" in one else {})
    assert value_of(forth, source, x) == pytest.approx(value_of(back, source, x), rel=1e-13)


# Expressions.


POINT = {L.eta: 2.6, L.m: 2, L.s: 2, L.w_perp: 0.1, L.t: 1, L.alpha: 1}


def test_limits_go_through_sums_and_powers_of_phi():
    accuracy = symbolic.accuracy(of="letters")
    right = symbolic.limit(accuracy, "gamma->0, eta>1").subs(POINT)
    assert 0.9 < right < 0.95
    assert float(symbolic.limit(1 - accuracy, "gamma->0, eta>1").subs(POINT)) == pytest.approx(1 - float(right))
    assert float(symbolic.limit(accuracy**2, "gamma->0, eta>1").subs(POINT)) == pytest.approx(float(right) ** 2)
    assert symbolic.limit(accuracy / L.kappa, "gamma->oo") == 0
    assert symbolic.limit(1 + symbolic.Phi(-L.kappa), "gamma->oo") == 1
    assert symbolic.limit(L.kappa**3 * symbolic.Phi(-L.kappa), "gamma->oo") == 0  # beyond all powers
    assert symbolic.limit(1 / symbolic.Phi(-L.kappa), "gamma->oo") == sp.oo


@pytest.mark.parametrize("at", get_args(limits.At))
def test_closed_form_of_kappa_is_kappa(at):
    source = "ridge" if at == "n_source->oo" else "oracle"
    for stable in (True, False):
        assert symbolic.limit(symbolic.kappa(stable=stable), at, source) == symbolic.limit("kappa", at, source)
    for name in ("optimal_alpha", "accuracy"):
        x = setting("noisy", at)
        want = value_of(symbolic.limit(name, at, source), source, x)
        for of in get_args(Of):
            expr = getattr(symbolic, name)(source, of=of)
            assert value_of(symbolic.limit(expr, at, source), source, x) == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize(
    ("expr", "message"),
    [
        (sp.exp(-L.kappa), "must consist of sums, products, fixed powers and Φ, got exp"),
        (sp.log(L.kappa), "must consist of sums, products, fixed powers and Φ, got log"),
        (sp.Abs(L.s - L.kappa), "must consist of sums, products, fixed powers and Φ, got Abs"),
        (2**L.kappa, "must consist of sums, products, fixed powers and Φ, got Pow"),
        (sp.Piecewise((L.kappa, L.s > 0), (1, True)), "got Piecewise"),
        (symbolic.above_one(), "must be a real SymPy expression, got "),
        (sp.true, "must be a real SymPy expression, got True"),
        (None, "must be a real SymPy expression, got None"),
        (3, "must be a real SymPy expression, got 3"),
        (["kappa"], r"must be a real SymPy expression, got \['kappa'\]"),
        (sp.oo * sp.sign(L.kappa - L.eta), "must be finite"),
        (1 - symbolic.Phi(L.kappa), "must not have leading terms that cancel under a root or in Φ"),
        (sp.sqrt(1 + L.kappa) - sp.sqrt(L.kappa), "must not have leading terms that cancel under a root or in Φ"),
        (L.kappa * (symbolic.Phi(1 / L.kappa) - symbolic.Phi(0)), "must not have leading terms that cancel"),
        (symbolic.Phi(-L.kappa) / symbolic.Phi(-(L.kappa**2)), "must not divide one vanishing Φ by another"),
    ],
)
def test_unclear_limits_are_refused(expr, message):
    with pytest.raises(ValueError, match=f"quantity {message}" if message.startswith("must") else message):
        symbolic.limit(expr, "gamma->oo")


def test_scaled_limit_of_an_expression_holds_c():
    expr = symbolic.margin_mean(of="letters") * L.kappa
    assert sp.simplify(symbolic.limit(expr, "gamma->oo", scaled=True) - (L.t * L.m**2 + L.c * L.s)) == 0


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="source must be 'oracle' or 'ridge' for at='beta->0', got 'arbitrary'"):
        symbolic.limit("kappa", "beta->0")
    with pytest.raises(ValueError, match="source must be 'ridge' for at='n_source->oo', got 'oracle'"):
        symbolic.limit("kappa", "n_source->oo", "oracle")
    with pytest.raises(ValueError, match=r"at must be one of 'gamma->0, eta<1', .*, got 'gamma->1'"):
        symbolic.limit("kappa", "gamma->1")
    with pytest.raises(ValueError, match=r"quantity must be one of 'kappa', .*, got 'lambda'"):
        symbolic.limit("lambda", "gamma->oo")
    with pytest.raises(ValueError, match="scaled must be True or False, got 'no'"):
        symbolic.limit("kappa", "gamma->oo", scaled="no")
