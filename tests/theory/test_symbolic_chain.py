"""The proofs of the fluctuation theory speak of the package's own chain, and fail where it is altered."""

import numpy as np
import pytest
import sympy as sp

import rmt_alpha as ra
from rmt_alpha.elimination import absorb
from rmt_alpha.spread import Fluctuations
from rmt_alpha.theory import symbolic
from rmt_alpha.theory.fluctuations import Ridge, chain
from rmt_alpha.theory.symbolic import chain_proofs
from rmt_alpha.theory.symbolic.proving import ProofError

L = symbolic.letters

pytestmark = pytest.mark.slow  # all together

N, P, GAMMA = 40.0, 60.0, 0.3
RIDGE = Ridge.of(*(np.array(x) for x in (N, P, GAMMA)))


def number(expr, **more):
    """Evaluate at the problem above; other letters by name."""
    letters = {L.eta: RIDGE.eta, L.kappa: RIDGE.kappa, L.rho: RIDGE.rho, L.h: RIDGE.h, L.gamma: GAMMA}
    values = {letter: sp.Float(float(x), 30) for letter, x in letters.items()}
    return float(expr.subs(values).subs({x: more[x.name] for x in expr.free_symbols if x.name in more}))


def matrix(expr):
    return np.array([[number(x) for x in row] for row in expr.tolist()])


def test_the_map_is_that_of_the_elimination():
    rng = np.random.default_rng(8)
    half = rng.normal(size=(2, 3, 3))
    C, E = half @ half.swapaxes(1, 2)
    column = rng.normal(size=4)
    want = chain_proofs._absorbed(*map(sp.Matrix, (C, E, column)), sp.Float(GAMMA))
    absorb(C, E, column[:, None], 1, GAMMA, (0.0,) * 3)
    for got, new in zip((C, E), want, strict=True):
        np.testing.assert_allclose(np.tril(got), np.tril(np.array(new, float)), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 4])
def test_what_is_proved_is_what_the_package_computes(size):
    linear = chain(N, P, GAMMA, size)
    J, B = map(matrix, chain_proofs._jacobians(size))
    covariance, noise = map(matrix, chain_proofs._stationary(size, *chain_proofs.chain_covariance().claims.values()))
    point = [number(x) for x in chain_proofs.chain_point().claims.values()]
    np.testing.assert_allclose(J, linear.jacobian, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(B, linear.input, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(covariance, linear.covariance, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(noise, np.diag(linear.noise))
    np.testing.assert_allclose(np.multiply.outer(point, np.eye(size)), linear.point, rtol=1e-12)
    assert number(chain_proofs.chain_return().claims["returned"]) == pytest.approx(linear.spectral_radius**size)


@pytest.mark.parametrize(("k", "q"), [(1, 1), (2, 2), (5, 1), (0, 3)])
def test_the_drift_is_what_the_package_computes(k, q):
    claims = chain_proofs.chain_drift().claims
    got = [number(claims[name], k=k, q=q) for name in ("xi", "epsilon")]
    np.testing.assert_allclose(got, RIDGE.drift(k, q), rtol=1e-12)


def test_the_spread_of_a_ratio_is_what_the_package_computes():
    law = ra.MarginLaw(mean=[0.7, 0.3], cov=[[0.8, 0.1], [0.1, 0.5]])
    half = np.random.default_rng(8).normal(size=(5, 5)) / 20
    spread = Fluctuations(law, half @ half.T, [0.02, 0, 0.03, 0, 0])  # at α = 0 only M₀ and V₀₀ count
    numbers = {"m": 0.7, "u": 0.8, "A": spread.cov[0, 0], "B": spread.cov[0, 2], "D": spread.cov[2, 2]}
    claims = chain_proofs.ratio_spread().claims
    got = {name: number(claims[name], **numbers, b_m=0.02, b_v=0.03) for name in ("S_var", "S_mean", "risk_var")}
    _, mean, std = spread._ratio(0.0)
    assert got["S_mean"] == pytest.approx(float(mean), rel=1e-12)
    assert got["S_var"] == pytest.approx(float(std) ** 2, rel=1e-12)
    assert got["risk_var"] == pytest.approx(spread.risk_std(0.0) ** 2, rel=1e-12)
    accuracy = claims["mean_accuracy"].subs(
        {x: {"S̄": mean, "V_S": std**2}[x.name] for x in claims["mean_accuracy"].free_symbols}
    )
    assert float(accuracy.evalf()) == pytest.approx(spread.mean_accuracy(0.0), rel=1e-12)


# Altered chains and statements.


@pytest.fixture
def afresh():
    def forget():
        for function in (chain_proofs._expansion, chain_proofs._jacobians, chain_proofs._curvature):
            function.cache_clear()

    forget()
    yield
    forget()


def assert_fail(*names):
    for name in names:
        with pytest.raises(ProofError):
            getattr(chain_proofs, name)()


@pytest.mark.parametrize(
    ("square", "cross", "bend"), [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (1, 2, 1), (1, 1, 2), (1, 0, 1), (1, 1, 0)]
)
@pytest.mark.usefixtures("afresh")
def test_another_map_fails(monkeypatch, square, cross, bend):
    def altered(C, E):
        last, e, inverse, curvature = C[:, -1], E[:, -1], C[-1, -1] ** -1, E[-1, -1]

        def times(factor, x):
            return factor * x if isinstance(x, sp.MatrixBase) else chain_proofs._series(factor * y for y in x.terms)

        C = C - times(square, last * last.T * inverse)
        E = (
            E
            - times(cross, (last * e.T + e * last.T) * inverse)
            + times(bend, last * last.T * (curvature * inverse**2))
        )
        return C[:-1, :-1], E[:-1, :-1]

    monkeypatch.setattr(chain_proofs, "_eliminated", altered)
    assert_fail("chain_point", "chain_jacobian")


@pytest.mark.parametrize(
    ("name", "altered", "names"),
    [
        ("_column", lambda true: lambda size: 2 * true(size), ("chain_point", "chain_jacobian")),
        ("_pairs", lambda true: lambda: true() | {"cov_CE": sp.S.Zero}, ("chain_covariance", "chain_drift")),
        ("_stationary", lambda true: lambda *x: (true(*x)[0], sp.eye(x[0] + 1)), ("chain_covariance", "chain_drift")),
    ],
)
@pytest.mark.usefixtures("afresh")
def test_another_chain_fails(monkeypatch, name, altered, names):
    monkeypatch.setattr(chain_proofs, name, altered(getattr(chain_proofs, name)))
    assert_fail(*names)


def test_what_is_nearly_true_fails():
    """Where the fixed point alone, clean labels or one side of the data would not tell."""
    k, q = chain_proofs._LEFT, chain_proofs._RIGHT
    drift, pairs = chain_proofs.chain_drift().claims, chain_proofs._pairs()
    for proof, claim in (
        (chain_proofs.chain_point, {"C_star": L.rho * (1 + L.kappa) - L.gamma - 1 + L.h}),
        (chain_proofs.chain_point, {"C_star": -L.eta * L.kappa / (1 + L.kappa)}),  # the other root
        (chain_proofs.chain_return, {"radius": sp.sqrt(1 - L.h)}),
        (chain_proofs.chain_return, {"radius": -sp.cbrt(1 - L.h)}),
        (chain_proofs.chain_return, {"characteristic": sp.expand(chain_proofs._X**6 - (1 - L.h) ** 2)}),
        (chain_proofs.chain_covariance, {"var_C": 2 * pairs["var_C"]}),
        (chain_proofs.chain_covariance, {"var_E": pairs["cov_CE"] ** 2 / pairs["var_C"]}),  # a correlation of 1
        (chain_proofs.chain_drift, {"xi": drift["xi"].subs(q, q + 1)}),
        (chain_proofs.chain_drift, {"xi": drift["xi"].subs({k: q, q: k}, simultaneous=True)}),
        (chain_proofs.chain_drift, {"epsilon": drift["epsilon"].subs(q, 0)}),
        (chain_proofs.corner, {"V00": symbolic.five_numbers(of="letters")["V00"].subs(L.t, 1)}),
        (chain_proofs.corner, {"V01": symbolic.five_numbers(of="letters")["V01"] * L.t}),
        (chain_proofs.ratio_spread, {"mean_accuracy": symbolic.Phi(chain_proofs.ratio_spread().claims["S_mean"])}),
    ):
        with pytest.raises(ProofError):
            proof(claim)


def test_equal_forms_pass():
    assert chain_proofs.chain_point({"C_star": 1 + L.kappa - L.eta}).name == "chain_point"
    xi = sp.expand(chain_proofs.chain_drift().claims["xi"])
    assert chain_proofs.chain_drift({"xi": xi}).claims["xi"] == xi
