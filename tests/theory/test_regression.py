"""Risk laws of regression: the statement in p × p matrices, its rules, limits and invariants."""

import mpmath
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rmt_alpha.laws import RiskLaw
from rmt_alpha.problem import FixedSource, GaussianMixture, RegressionTask, RidgeSource
from rmt_alpha.theory import isotropic, regression
from rmt_alpha.theory.equivalents import Equivalent
from rmt_alpha.theory.regression import RegressionEquivalent
from tests.theory.regression_oracle import forms, of_law

P = 18
RNG = np.random.default_rng(5)
FORMS = {
    "none": None,
    "scalar": 0.6,
    "diagonal": RNG.uniform(0.1, 3.0, P),
    "deficient": np.r_[np.zeros(4), RNG.uniform(0.5, 2.0, P - 4)],
    "full": (lambda A: A @ A.T / P)(RNG.standard_normal((P, 2 * P))),
    "other full": (lambda A: A @ A.T / P)(RNG.standard_normal((P, P // 2))),
}


def risk_law(target, n, gamma, sources=(), *, per_output=False):
    return RegressionEquivalent(target, sources).law(n, gamma, per_output=per_output)


def weights(d=3, p=P):
    return RNG.standard_normal((d, p))


def tasks(form, source_form, d=3):
    noise = 0.5 if d == 1 else np.linspace(0.2, 0.9, d)
    return RegressionTask(weights(d), FORMS[form], noise), RegressionTask(weights(d), FORMS[source_form], 0.7)


@pytest.mark.slow
@pytest.mark.parametrize("source_form", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_equals_the_statement_in_full_matrices(form, source_form):
    for d in (1, 3):
        target, old = tasks(form, source_form, d)
        sources = [RidgeSource(old, 25.5, 0.2), FixedSource(weights(d)), RidgeSource(target, 9, 0.05)]
        for n, gamma in [(7, 0.02), (30.5, 0.3), (18, 5.0)]:
            for K in (0, 1, 3):
                expected = forms(target, n, gamma, sources[:K])
                scale = np.sqrt(np.einsum("jaa,jbb->jab", expected, expected))
                rows = risk_law(target, n, gamma, sources[:K], per_output=True)
                assert rows.shape == (d,)
                assert np.abs(of_law(rows) - expected).max() <= 1e-11 * scale.max()
                total = risk_law(target, n, gamma, sources[:K])
                assert total.shape == ()
                np.testing.assert_allclose(of_law(total), expected.sum(axis=0), rtol=1e-10, atol=1e-11 * scale.max())


@pytest.mark.parametrize("source_form", FORMS)
@pytest.mark.parametrize("form", FORMS)
def test_a_classifier_without_a_mean_is_a_regression_on_noise(form, source_form):
    """Labels that have nothing to do with the samples are responses of variance 1 with W = 0."""
    w = weights(1)[0]
    tasks = [RegressionTask(np.zeros(P), FORMS[name], 1.0) for name in (form, source_form)]
    mixtures = [GaussianMixture(np.zeros(P), FORMS[name]) for name in (form, source_form)]
    n, gamma = np.array([[6.0], [40.0]]), np.array([0.05, 0.8, 3.0])
    law = risk_law(tasks[0], n, gamma, [FixedSource(w), RidgeSource(tasks[1], 20, 0.3)])
    twin = Equivalent(mixtures[0], [FixedSource(w), RidgeSource(mixtures[1], 20, 0.3)]).law(n, gamma).risk_law()
    np.testing.assert_allclose(of_law(law), of_law(twin), rtol=1e-12, atol=1e-14)


def test_identity_covariance_has_the_simple_form():
    W, old = weights(), weights()
    for n, gamma in [(9, 0.1), (40, 0.7), (18, 0.01)]:
        kappa, h = isotropic.effective_ridge(n, P, gamma), isotropic.residual_fraction(n, P, gamma)
        law = risk_law(RegressionTask(W, noise=0.5), n, gamma, [FixedSource(old)], per_output=True)
        for alpha in (-1.3, 0.0, 0.4, 2.2):
            expected = ((kappa / (1 + kappa)) ** 2 * np.square(W - alpha * old).sum(axis=1) + 0.25) / h
            np.testing.assert_allclose(law.risk(alpha), expected, rtol=1e-11)
        rows = (W * old).sum(axis=1) / (old * old).sum(axis=1)
        np.testing.assert_allclose(law.optimal_alpha(), rows, rtol=1e-11)
        both = risk_law(RegressionTask(W, noise=0.5), n, gamma, [FixedSource(old)])
        assert both.optimal_alpha() == pytest.approx((W * old).sum() / (old * old).sum(), rel=1e-11)


def test_a_scaled_copy_is_undone_and_leaves_the_noise():
    """W_s = W/c, row by row: the best α of row j is c_j, and its risk σ²/h."""
    c = np.array([0.5, -2.0, 3.0])
    target = RegressionTask(weights(), FORMS["full"], [0.1, 0.5, 2.0])
    law = risk_law(target, 11, 0.2, [FixedSource(target.weights / c[:, None])], per_output=True)
    np.testing.assert_allclose(law.optimal_alpha(), c, rtol=1e-12)
    h = forms(RegressionTask(np.zeros((3, P)), FORMS["full"], 1.0), 11, 0.2, [])[:, 0, 0] ** -1
    np.testing.assert_allclose(law.best_risk(), target.noise**2 / h, rtol=1e-9)


def test_badly_scaled_problems_keep_their_digits():
    """Eigenvalues from 1e-8 to 1e4, tiny penalties and n close to p, in 50 digits."""
    p, N = 14, 15
    values = np.geomspace(1e-8, 1e4, p)
    values_s = values[::-1] ** 0.7
    W, old = weights(2, p), weights(2, p)
    target, source = RegressionTask(W, values, 0.3), RidgeSource(RegressionTask(old, values_s, 1e-3), N, 1e-9)
    with mpmath.workdps(50):

        def degrees(lam, n, gamma):
            lam = [mpmath.mpf(float(x)) for x in lam]

            def residual(log):
                kappa = mpmath.exp(log)
                return kappa * (1 - sum(x / (x + kappa) for x in lam) / n) - mpmath.mpf(gamma)

            low, high = mpmath.log(mpmath.mpf("1e-25")), mpmath.log(mpmath.mpf("1e6"))
            for _ in range(200):
                middle = (low + high) / 2
                low, high = (middle, high) if residual(middle) < 0 else (low, middle)
            kappa = mpmath.exp(low)
            return lam, kappa, 1 - sum((x / (x + kappa)) ** 2 for x in lam) / n

        for n, gamma in [(14, 1e-12), (13, 1e-6), (15, 1e-14), (40, 1e-3)]:
            lam, kappa, h = degrees(values, n, gamma)
            lam_s, kappa_s, h_s = degrees(values_s, N, 1e-9)
            b = [x * (kappa / (x + kappa)) ** 2 / h for x in lam]
            spread = sum(w * x / (x + kappa_s) ** 2 for w, x in zip(b, lam_s, strict=True)) / (N * h_s)
            law = risk_law(target, n, gamma, [source], per_output=True)
            for j in range(2):
                w, o = [mpmath.mpf(float(x)) for x in W[j]], [mpmath.mpf(float(x)) for x in old[j]]
                mean = [x * s / (s + kappa_s) for x, s in zip(o, lam_s, strict=True)]
                excess = sum(s * (x * kappa_s / (s + kappa_s)) ** 2 for x, s in zip(o, lam_s, strict=True))
                excess += mpmath.mpf(float(source.mixture.noise[j])) ** 2
                constant = sum(c * x * x for c, x in zip(b, w, strict=True)) + mpmath.mpf(0.3) ** 2 / h
                cross = sum(c * x * y for c, x, y in zip(b, w, mean, strict=True))
                sizes = sum(c * abs(x * y) for c, x, y in zip(b, w, mean, strict=True))
                square = sum(c * y * y for c, y in zip(b, mean, strict=True)) + spread * excess
                assert abs(law.constant[j] / constant - 1) < 1e-12
                assert abs(law.quadratic[j, 0, 0] / square - 1) < 1e-12
                assert abs(law.linear[j, 0] - cross) < 1e-12 * sizes


def test_without_penalty_and_with_enough_samples_the_source_is_forgotten():
    target, old = tasks("deficient", "full")  # rank P − 4
    for n in (P - 4.0, P - 3.5, 40.0):
        law = risk_law(target, n, 0.0, [FixedSource(weights()), RidgeSource(old, 30, 0.1)], per_output=True)
        assert not law.linear.any()
        assert not law.quadratic.any()
        assert np.isnan(law.optimal_alpha()).all()
        h = 1 - (P - 4) / n
        np.testing.assert_allclose(law.constant, np.inf if h == 0 else target.noise**2 / h, rtol=1e-12)
    exact = risk_law(RegressionTask(weights(), FORMS["deficient"]), P - 4, 0.0, per_output=True)
    assert np.array_equal(exact.constant, np.zeros(3))


def test_the_rules_without_penalty_are_limits():
    target, old = tasks("deficient", "full")
    sources = [FixedSource(weights()), RidgeSource(old, 2 * P, 0.0)]
    for n in (8, 30):
        rule, limit = (of_law(risk_law(target, n, gamma, sources)) for gamma in (0.0, 1e-11))
        np.testing.assert_allclose(limit, rule, rtol=1e-8, atol=1e-8)
    noiseless = RegressionTask(target.weights, target.covariance)
    assert 0.0 < risk_law(noiseless, P - 4, 1e-12).constant < 1e-4
    assert risk_law(target, P - 4, 1e-12).constant > 1e4
    for N in (2 * P, P // 2):
        rule, limit = (of_law(risk_law(target, 20, 0.1, [RidgeSource(old, N, gamma)])) for gamma in (0.0, 1e-11))
        np.testing.assert_allclose(limit, rule, rtol=1e-8)


def test_a_source_at_its_interpolation_threshold():
    _, old = tasks("full", "full")
    target = RegressionTask(weights(), FORMS["other full"], 0.3)
    law = risk_law(target, 20, 0.1, [RidgeSource(old, P, 0.0)])
    assert np.isnan(of_law(law)).all()
    assert np.isnan(law.risk(0.0))
    exact = RidgeSource(RegressionTask(old.weights, FORMS["full"]), P, 0.0)
    expected = risk_law(target, 20, 0.1, [FixedSource(old.weights)])
    np.testing.assert_allclose(of_law(risk_law(target, 20, 0.1, [exact])), of_law(expected), rtol=1e-9)
    some = RidgeSource(RegressionTask(old.weights, FORMS["full"], [0.0, 0.1, 0.0]), P, 0.0)
    rows = risk_law(target, 20, 0.1, [some], per_output=True)
    assert np.array_equal(np.isnan(rows.optimal_alpha()), [False, True, False])


def test_a_source_of_many_samples_is_its_shrunk_matrix():
    target, old = tasks("full", "other full")
    sigma = FORMS["other full"]
    shrunk = old.weights @ np.linalg.solve(sigma + 0.3 * np.eye(P), sigma)
    limit = of_law(risk_law(target, 20, 0.1, [FixedSource(shrunk)]))
    for N in (1e6, 1e8):
        error = np.abs(of_law(risk_law(target, 20, 0.1, [RidgeSource(old, N, 0.3)])) - limit).max()
        assert error < 1e3 * np.abs(limit).max() / N


def test_a_rotated_problem_is_the_same_problem():
    U = np.linalg.qr(RNG.standard_normal((P, P)))[0]
    target, old = tasks("diagonal", "full")
    fixed = weights()
    law = risk_law(target, 20, 0.1, [RidgeSource(old, 30, 0.2), FixedSource(fixed)], per_output=True)
    turned = RegressionTask(target.weights @ U.T, U * target.covariance @ U.T, target.noise)
    old = RegressionTask(old.weights @ U.T, U @ old.covariance @ U.T, old.noise)
    again = risk_law(turned, 20, 0.1, [RidgeSource(old, 30, 0.2), FixedSource(fixed @ U.T)], per_output=True)
    np.testing.assert_allclose(of_law(again), of_law(law), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("c", [1e-20, 0.3, -7.0, 1e20])
def test_alpha_undoes_the_length_of_a_source(c):
    target, _ = tasks("full", "none")
    w = weights()
    one, scaled = (risk_law(target, 11, 0.4, [FixedSource(v)]) for v in (w, c * w))
    assert scaled.optimal_alpha() == pytest.approx(one.optimal_alpha() / c, rel=1e-12)
    assert scaled.best_risk() == pytest.approx(one.best_risk(), rel=1e-12)


def test_all_outputs_together_are_the_sum():
    target, old = tasks("full", "other full")
    sources = [RidgeSource(old, 30, 0.2), FixedSource(weights())]
    n, gamma = np.array([[10.0], [20.0], [50.0]]), np.array([0.0, 0.5])
    rows, total = (risk_law(target, n, gamma, sources, per_output=flag) for flag in (True, False))
    assert (rows.shape, total.shape) == ((3, 2, 3), (3, 2))
    np.testing.assert_allclose(of_law(rows).sum(axis=2), of_law(total), rtol=1e-12)
    own = rows.best_risk().sum(axis=-1)
    assert (own <= total.best_risk() * (1 + 1e-12))[np.isfinite(own)].all()
    alone = risk_law(RegressionTask(target.weights[1], FORMS["full"], target.noise[1]), 20, 0.5)
    assert alone.constant == pytest.approx(rows.constant[1, 1, 1], rel=1e-12)


@settings(deadline=None)  # the first call of a kernel compiles it
@given(
    n=st.floats(0.01, 1e6),
    gamma=st.just(0.0) | st.floats(1e-12, 1e12),
    decay=st.floats(0.0, 6.0),
    rank=st.integers(0, P),
    N=st.floats(0.01, 1e6),
    penalty=st.floats(1e-12, 1e12),
    noise=st.floats(1e-3, 1e3),
)
@example(n=1.2000000000000002, gamma=1.9375, decay=0.0, rank=0, N=1.0, penalty=1.0, noise=1.0)
def test_risks_hold_the_noise_and_more_sources_do_not_harm(n, gamma, decay, rank, N, penalty, noise):
    values = np.where(np.arange(P) < rank, np.arange(1.0, P + 1) ** -decay, 0.0)
    rng = np.random.default_rng(1)
    target = RegressionTask(rng.standard_normal((2, P)), values, noise)
    sources = [FixedSource(rng.standard_normal((2, P)))]
    sources.append(RidgeSource(RegressionTask(rng.standard_normal((2, P)), FORMS["full"], 0.3), N, penalty))
    risks = []
    for K in (0, 1, 2):
        law = risk_law(target, n, gamma, sources[:K], per_output=True)
        if K == 0 and np.isinf(law.constant).any():
            return  # n = rank, without penalty
        RiskLaw(law.constant, law.linear, law.quadratic)  # legal
        risks.append(law.best_risk())
        assert (law.constant >= noise**2).all()
    for more, fewer in zip(risks[1:], risks, strict=False):
        seen = np.isfinite(more) & np.isfinite(fewer)  # the source is not forgotten, nor lost to rounding
        assert (more <= fewer * (1 + 1e-9))[seen].all()
        assert (more >= noise**2 * (1 - 1e-9))[seen].all()


def test_a_grid_is_its_entries(monkeypatch):
    target, old = tasks("full", "diagonal")
    sources = [RidgeSource(old, 30, 0.2), FixedSource(weights())]
    n, gamma = np.linspace(5, 60, 7)[:, None], np.array([0.0, 0.1, 2.0])
    monkeypatch.setattr(regression, "BLOCK", 5 * P)  # a last block that is not full
    for per_output in (False, True):
        grid = risk_law(target, n, gamma, sources, per_output=per_output)
        for i, j in np.ndindex(7, 3):
            one = risk_law(target, float(n[i, 0]), gamma[j], sources, per_output=per_output)
            np.testing.assert_allclose(of_law(grid[i, j]), of_law(one), rtol=1e-12, atol=1e-15)
        RiskLaw(grid.constant, grid.linear, grid.quadratic)  # symmetric and positive semi-definite
    assert risk_law(target, np.zeros((0,)) + 1, 0.1, sources).shape == (0,)


def test_each_covariance_is_decomposed_once(monkeypatch):
    decomposed, eigh = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: decomposed.append(1) or eigh(a))
    full, other = FORMS["full"], FORMS["other full"]
    sources = [RidgeSource(RegressionTask(weights(), form.copy()), 30, 0.2) for form in (full, other, other)]
    risk_law(RegressionTask(weights(), full), np.linspace(5, 50, 20), 0.1, sources)
    assert len(decomposed) == 2


@pytest.mark.parametrize(
    ("change", "legal"),
    [
        ({"scale": 1e-29}, True),
        ({"scale": 1e-32}, False),
        ({"scale": 1e28}, True),
        ({"scale": 1e31}, False),
        ({"noise": 1e-31}, False),
        ({"source": 1e31}, False),
        ({"source": 0.0}, True),
        ({"spectrum": 1e58}, True),
        ({"spectrum": 1e61}, False),
        ({"spectrum": 1e-58}, True),
        ({"spectrum": 1e-62}, False),
        ({"gamma": 1e61}, False),
        ({"n": 1e61}, False),
        ({"source_n": 1e61}, False),
    ],
)
def test_what_would_over_or_underflow_is_nan(change, legal):
    ones = np.full(P, P**-0.5)
    target = RegressionTask(
        change.get("scale", 1.0) * ones, change.get("spectrum", 1.0) * FORMS["diagonal"], change.get("noise", 0.5)
    )
    trained = RidgeSource(RegressionTask(ones), change.get("source_n", 20.0), 0.1)
    sources = [FixedSource(change.get("source", 1.0) * ones), trained]
    for per_output in (False, True):
        law = risk_law(target, change.get("n", 10.0), change.get("gamma", 0.3), sources, per_output=per_output)
        assert np.isfinite(of_law(law)).all() if legal else np.isnan(of_law(law)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0.0}, r"n must be in \(0"),
        ({"gamma": [-0.1]}, "gamma must be in"),
        ({"n": [1.0, 2.0], "gamma": [1.0, 2.0, 3.0]}, "do not broadcast"),
        ({"target": GaussianMixture(np.ones(P))}, "target must be a RegressionTask, got GaussianMixture"),
        ({"sources": 3}, "sources must be a sequence"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        risk_law(**{"target": RegressionTask(weights()), "n": 10.0, "gamma": 0.1, "sources": ()} | change)


def test_what_does_not_fit_in_memory_is_refused_before_it_is_tried():
    with pytest.raises(ValueError, match="GiB"):
        risk_law(RegressionTask(weights()), np.broadcast_to(1.0, (10**6, 1)), np.broadcast_to(0.1, 10**6))


def test_squares_that_leave_float64_are_nan_in_regression_as_well():
    weights = np.array([[1.0, 0.5, 0.2]])
    target = RegressionTask(weights, [1.0, 2.0, 0.5], 0.1)
    sources = [FixedSource(1e-170 * weights), FixedSource(1e170 * weights)]
    sources += [RidgeSource(RegressionTask(scale * weights, noise=noise), 5, 0.1) for scale, noise in EXTREME]
    for source in sources:
        assert np.isnan(risk_law(target, 4.0, 0.1, [source]).constant)


EXTREME = ((1e170, 0.1), (1e-170, 0.1), (1.0, 1e150), (1.0, 1e-150))
