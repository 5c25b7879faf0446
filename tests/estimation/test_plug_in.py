import numpy as np
import pytest

from rmt_alpha.estimation.plug_in import anisotropy, estimate_problem, trace_of_square
from rmt_alpha.estimation.splits import within_classes
from rmt_alpha.theory.isotropic import fixed_source_law

LENGTH2 = 0.49


def samples(rng, n, n_positive, p, *, origin=0.0, noise="gaussian", scale=1.0, label_noise=0.0):
    """Target with m² = 1 and a source with s = .42, ‖w̃‖² = .49."""
    y = np.repeat([-1.0, 1.0], [n - n_positive, n_positive])
    z = rng.standard_normal((n, p)) if noise == "gaussian" else rng.standard_t(5, (n, p)) / np.sqrt(5 / 3)
    X = origin + z * scale
    X[:, 0] += y
    w = np.zeros(p)
    w[:2] = np.sqrt(LENGTH2) * np.array([0.6, 0.8])
    return X, np.where(rng.random(n) < label_noise, -y, y), w


def repeat(trials, seed, *shape, **kind):
    rng = np.random.default_rng(seed)
    estimates = [estimate_problem(*samples(rng, *shape, **kind)) for _ in range(trials)]
    return {name: np.array([getattr(e, name) for e in estimates]) for name in vars(estimates[0])}


def z_score(values, truth):
    return (values.mean() - truth) / (values.std(ddof=1) / np.sqrt(len(values)))


CASES = [
    ((40, 20, 60), {}),
    ((30, 15, 200), {}),
    ((60, 20, 30), {"origin": 3.0}),  # unequal classes, centred anywhere
    ((40, 20, 60), {"noise": "student"}),
    ((40, 20, 60), {"scale": np.sqrt(np.geomspace(0.05, 5.0, 60))}),
]


@pytest.mark.parametrize(("shape", "kind"), CASES)
def test_estimates_are_unbiased_and_know_their_errors(shape, kind):
    found = repeat(1200, 1, *shape, **kind)
    assert abs(z_score(found["s"], 0.42)) < 4
    assert abs(z_score(found["m2_unbiased"], 1.0)) < 4
    for name, estimate in (("s_stderr", "s"), ("m2_stderr", "m2_unbiased")):
        ratio = np.sqrt(np.mean(found[name] ** 2)) / found[estimate].std(ddof=1)
        assert 0.9 < ratio < 1.1, (name, ratio)


@pytest.mark.slow
def test_these_tests_have_power():
    """What they would say of the formula for a known origin, on self-centred rows, and of the plain jackknife."""
    rng, n, p = np.random.default_rng(2), 30, 200
    naive, jackknife, m2 = [], [], []
    for _ in range(600):
        X, y, w = samples(rng, n, n // 2, p)
        Z = X - X.mean(axis=0)
        naive.append((np.sum((Z.T @ y) ** 2) - np.sum(Z**2)) / (n * (n - 1)))
        left_out = [estimate_problem(np.delete(X, i, 0), np.delete(y, i), w).m2_unbiased for i in range(0, n, 3)]
        jackknife.append((n - 1) * np.var(left_out))
        m2.append(estimate_problem(X, y, w).m2_unbiased)
    assert z_score(np.array(naive), 1.0) > 4
    assert np.mean(naive) - np.mean(m2) == pytest.approx(p / (n * (n - 1)), rel=0.01)
    assert np.sqrt(np.mean(jackknife)) / np.std(m2) > 1.1


def test_error_of_w_perp2():
    found = repeat(600, 3, 300, 150, 40)
    assert found["w_perp2"].mean() == pytest.approx(0.64 * LENGTH2, abs=0.01)
    assert np.sqrt(np.mean(found["w_perp2_stderr"] ** 2)) / found["w_perp2"].std(ddof=1) == pytest.approx(1, abs=0.1)


def test_origin_and_row_order_do_not_matter():
    X, y, w = samples(np.random.default_rng(4), 30, 10, 50)
    order = np.random.default_rng(5).permutation(30)
    one, other = estimate_problem(X, y, w), estimate_problem(X[order] + np.linspace(-9, 9, 50), y[order], w)
    for name, value in vars(one).items():
        assert vars(other)[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name


def test_equals_the_textbook_formula_where_that_holds():
    """Balanced rows with a known origin: the same up to the pairs that only tell about the origin."""
    found = []
    rng = np.random.default_rng(6)
    for _ in range(400):
        X, y, w = samples(rng, 60, 30, 40)
        textbook = (np.sum((X.T @ y) ** 2) - np.sum(X**2)) / (60 * 59)
        e = estimate_problem(X, y, w)
        assert e.s == pytest.approx(np.mean(y * (X @ w)), rel=1e-9, abs=1e-12)
        found.append((textbook, e.m2_unbiased))
    spread = np.std(found, axis=0)
    assert spread[1] / spread[0] == pytest.approx(1.0, abs=0.03)
    assert np.corrcoef(np.transpose(found))[0, 1] > 0.99


def test_rule_for_small_m2():
    found = repeat(300, 7, 12, 6, 300)
    bound = found["s"] ** 2 / LENGTH2
    at_bound = found["at_bound"]
    assert 0.1 < at_bound.mean() < 0.9
    assert np.array_equal(at_bound, found["m2_unbiased"] < bound)
    np.testing.assert_allclose(found["m2"], np.maximum(found["m2_unbiased"], bound), rtol=1e-12)
    assert (found["m2"] > 0).all()
    assert (found["w_perp2"][at_bound] == 0).all()
    assert (found["w_perp2"] >= 0).all()
    assert (found["w_perp2"] <= LENGTH2).all()
    assert (found["w_perp2_stderr"] <= LENGTH2 / 2).all()
    np.testing.assert_allclose(
        found["w_perp2"]
        + np.where(at_bound, bound, found["s"] ** 2) / np.where(at_bound, bound / LENGTH2, found["m2"]),
        LENGTH2,
        rtol=1e-9,
    )


def test_degenerate_data():
    y = np.repeat([-1.0, 1.0], 4)
    nothing = estimate_problem(np.zeros((8, 3)), y, np.ones(3))
    assert (nothing.s, nothing.m2, nothing.w_perp2) == (0.0, 0.0, 3.0)
    noiseless = estimate_problem(np.outer(y, [2.0, 0.0]), y, np.array([3.0, 4.0]))
    assert (noiseless.s, noiseless.m2, noiseless.w_perp2) == (6.0, 4.0, 16.0)
    assert noiseless.s_stderr == noiseless.m2_stderr == noiseless.w_perp2_stderr == 0.0
    X = np.random.default_rng(8).standard_normal((8, 3))
    silent = estimate_problem(X, y, np.zeros(3))
    assert (silent.s, silent.w_perp2, silent.w_perp2_stderr) == (0.0, 0.0, 0.0)
    assert np.isfinite(noiseless.margin_law(8, 2, 0.5).accuracy([0.0, 1.0])).all()


@pytest.mark.parametrize(("x", "v"), [(1e100, 1e100), (1e-60, 1.0), (1.0, 1e-99), (1e99, 1e-99), (1.0, 1e100)])
def test_scale_of_samples_and_weights(x, v):
    X, y, w = samples(np.random.default_rng(4), 30, 15, 50)
    X /= np.abs(X).max()
    one, other = estimate_problem(X, y, w), estimate_problem(X * x, y, w * v)
    units = {"s": x * v, "m2": x**2, "w_perp2": v**2}
    for name, value in vars(one).items():
        unit = next((u for start, u in units.items() if name in (start, f"{start}_stderr", f"{start}_unbiased")), 1.0)
        assert vars(other)[name] == pytest.approx(value * unit, rel=1e-9), name
    other.margin_law(30, 50, 1.0)  # accepts the numbers, and may say nan


def test_margin_law_is_that_of_the_numbers():
    e = estimate_problem(*samples(np.random.default_rng(9), 100, 50, 40))
    law, expected = e.margin_law([50, 100], 40, 0.3), fixed_source_law(e.s, e.w_perp2, e.m2, [50, 100], 40, 0.3)
    assert np.array_equal(law.mean, expected.mean)
    assert np.array_equal(law.cov, expected.cov)


def test_label_noise():
    epsilon, t = 0.15, 0.7
    found = repeat(600, 10, 100, 50, 40, label_noise=epsilon)
    assert abs(z_score(found["s"], t * 0.42)) < 4
    assert abs(z_score(found["m2_unbiased"], t**2)) < 4
    e = estimate_problem(*samples(np.random.default_rng(11), 4000, 2000, 40, label_noise=epsilon))
    truth = fixed_source_law(0.42, 0.64 * LENGTH2, 1.0, 100, 40, 0.3, label_noise=epsilon)
    law = e.margin_law(100, 40, 0.3, label_noise=epsilon)
    assert law.accuracy(1.0) == pytest.approx(truth.accuracy(1.0), abs=0.01)
    assert law.mean == pytest.approx(truth.mean, abs=0.03)
    with pytest.raises(ValueError, match="label_noise must be in"):
        e.margin_law(100, 40, 0.3, label_noise=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(8), np.ones(8), np.ones(1)), "X must be a matrix"),
        ((np.ones((8, 2)), np.ones(7), np.ones(2)), r"y must have shape \(8,\)"),
        ((np.ones((8, 2)), np.zeros(8), np.ones(2)), "y must hold the labels"),
        ((np.ones((8, 2)), np.ones(8), np.ones(2)), "at least 4 samples of each label, got 0 of one"),
        ((np.ones((8, 2)), np.repeat([-1, 1], [3, 5]), np.ones(2)), "got 3 of one"),
        ((np.ones((8, 2)), np.repeat([-1, 1], 4), np.ones(3)), r"source_coef must have shape \(2,\)"),
        ((np.ones((8, 2)), np.repeat([-1, 1], 4), [1.0, np.inf]), "source_coef must be finite"),
        ((np.ones((8, 2)), np.repeat([-1, 1], 4), [1.0, 1e200]), r"source_coef must be in \[-1e\+100, 1e\+100\]"),
        ((np.ones((8, 2)), np.repeat([-1, 1], 4), [0.0, 1e-200]), "source_coef must differ from 0 by at least 1e-100"),
        ((np.eye(8) * 1e-200, np.repeat([-1, 1], 4), np.ones(8)), "X must differ from 0 by at least 1e-100"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        estimate_problem(*arguments)


# Traces.


@pytest.mark.parametrize("noise", ["gaussian", "student"])
@pytest.mark.parametrize(("sizes", "p"), [((5, 9), 30), ((40, 12), 6)])
def test_trace_of_square_is_unbiased(noise, sizes, p):
    rng = np.random.default_rng(12)
    factors = [rng.standard_normal((p, p)) / np.sqrt(p) for _ in sizes]
    weights = [0.3, 0.9]
    truth = np.sum(sum(a * f.T @ f for a, f in zip(weights, factors, strict=True)) ** 2)
    found = []
    for _ in range(3000):
        residuals = []
        for n, f in zip(sizes, factors, strict=True):
            z = rng.standard_normal((n, p)) if noise == "gaussian" else rng.standard_t(9, (n, p)) / np.sqrt(9 / 7)
            z = z @ f
            residuals.append(z - z.mean(axis=0))
        found.append(trace_of_square(residuals, weights))
    assert abs(z_score(np.array(found), truth)) < 4


@pytest.mark.parametrize("n", [10, 100])
def test_anisotropy(n):
    rng = np.random.default_rng(13)
    spectrum = np.geomspace(0.01, 10.0, 50)

    def mean(scale):
        y = np.repeat([-1.0, 1.0], n // 2)
        return np.mean([anisotropy(within_classes(rng.standard_normal((n, 50)) * scale, y)[1]) for _ in range(200)])

    assert mean(1.0) == pytest.approx(1.0, abs=0.05)
    assert mean(np.sqrt(spectrum)) == pytest.approx(50 * (spectrum**2).sum() / spectrum.sum() ** 2, rel=0.1)
    line = rng.standard_normal((n, 1)) * np.ones(50)
    assert anisotropy([line - line.mean(axis=0)] * 2) > 25  # p for one direction, up to the noise of n samples
    assert np.isnan(anisotropy([np.zeros((5, 3))]))
