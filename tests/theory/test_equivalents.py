"""Deterministic equivalents: against high precision, against the closed form, and by their symmetries and limits."""

import pickle

import numpy as np
import pytest
from mpmath import mp

import rmt_alpha as ra
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource
from rmt_alpha.theory import equivalents
from rmt_alpha.theory import isotropic as isotropic_theory
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge
from tests.theory import general_oracle as oracle

# The effective ridge.


def spectrum(rng, p):
    """Flat, exponential, power law, twelve decades, spiked, two scales, rank-deficient."""
    kinds = [
        np.full(p, 10.0 ** rng.uniform(-6, 6)),
        rng.exponential(size=p),
        np.arange(1.0, p + 1) ** -rng.uniform(0.5, 6.0),
        10.0 ** rng.uniform(-12, 0, p),
        np.r_[10.0 ** rng.uniform(0, 8), np.ones(p - 1)],
        np.where(rng.random(p) < 0.5, 1e-12, 1.0),
        np.r_[1.0, np.where(rng.random(p - 1) < 0.5, 0.0, 10.0 ** rng.uniform(-6, 6, p - 1))],
    ]
    return kinds[rng.integers(len(kinds))]


def random_ridge(rng):
    p = int(rng.integers(1, 120))
    eigenvalues = rng.permutation(spectrum(rng, p))
    rank = np.count_nonzero(eigenvalues)
    n = [rank, float(rng.integers(1, 2 * p + 1)), rng.uniform(0.1, 3.0 * p), rank + 10.0 ** rng.uniform(-6, 0)]
    gamma = [0.0, 1e-30, 10.0 ** rng.uniform(-15, 3), 10.0 ** rng.uniform(-3, 1)]
    return eigenvalues, float(n[rng.integers(4)]), float(gamma[rng.integers(4)])


@pytest.mark.slow
def test_effective_ridge_has_every_digit_after_few_steps():
    """On 1,000 spectra high precision finds the root within 1e-12 of the result, on either side."""
    rng = np.random.default_rng(0)
    steps = []
    with mp.workdps(60):
        for _ in range(1000):
            eigenvalues, n, gamma = random_ridge(rng)
            ridge = effective_ridge(eigenvalues, n, gamma)
            assert ridge.converged
            if gamma == 0.0 and n >= np.count_nonzero(eigenvalues):
                assert ridge.kappa == 0.0
                continue
            kappa = mp.mpf(float(ridge.kappa))
            assert oracle.excess(eigenvalues, n, gamma, kappa * (1 - mp.mpf("1e-12"))) < 0
            assert oracle.excess(eigenvalues, n, gamma, kappa * (1 + mp.mpf("1e-12"))) > 0
            h = 1 - mp.fsum((mp.mpf(x) / (mp.mpf(x) + kappa)) ** 2 for x in eigenvalues) / mp.mpf(n)
            assert abs(ridge.residual_fraction / h - 1) < 1e-11
            steps.append(int(ridge.iterations))
    assert len(steps) > 700
    assert max(steps) <= 8
    assert np.median(steps) <= 4


def test_effective_ridge_agrees_with_bisection_and_with_the_closed_form():
    eigenvalues = np.arange(1.0, 21.0) ** -3.0
    with mp.workdps(50):
        exact = [[float(oracle.effective_ridge(eigenvalues, n, g)) for g in (0.0, 1e-6, 0.3)] for n in (5, 20.5, 50)]
    result = effective_ridge(eigenvalues, np.array([[5], [20.5], [50]]), [0.0, 1e-6, 0.3]).kappa
    exact[1][0] = exact[2][0] = 0.0  # where bisection ends at its lower end
    np.testing.assert_allclose(result, exact, rtol=1e-14)
    n, gamma = np.array([10.0, 50.0, 200.0])[:, None], np.array([0.0, 1e-8, 0.1, 30.0])
    flat = effective_ridge(np.ones(50), n, gamma)
    np.testing.assert_allclose(flat.kappa, isotropic_theory.effective_ridge(n, 50, gamma), rtol=1e-14)
    np.testing.assert_allclose(flat.residual_fraction, isotropic_theory.residual_fraction(n, 50, gamma), rtol=1e-14)
    np.testing.assert_allclose(flat.df1, 50 / (1 + flat.kappa), rtol=1e-14)
    np.testing.assert_allclose(flat.df2, 50 / (1 + flat.kappa) ** 2, rtol=1e-14)


def test_effective_ridge_without_penalty_follows_the_rank():
    eigenvalues = [2.0, 0.0, 0.5, 0.0, 0.01]
    ridge = effective_ridge(eigenvalues, [2.0, 3.0, 4.0], 0.0)
    assert ridge.kappa[0] > 0.0
    np.testing.assert_array_equal(ridge.kappa[1:], 0.0)
    np.testing.assert_array_equal(ridge.residual_fraction[1:], [0.0, 0.25])
    np.testing.assert_array_equal(ridge.df1[1:], 3.0)
    np.testing.assert_array_equal(ridge.iterations[1:], 0)
    empty = effective_ridge(np.zeros(3), 2.0, [0.0, 0.7])
    np.testing.assert_array_equal(empty.kappa, [0.0, 0.7])
    np.testing.assert_array_equal(empty.residual_fraction, 1.0)


def test_effective_ridge_scales_with_the_units():
    eigenvalues = np.geomspace(1e-3, 1.0, 12)
    for unit in (1e-40, 1e40):
        np.testing.assert_allclose(
            effective_ridge(unit * eigenvalues, 7.0, unit * 0.2).kappa,
            unit * effective_ridge(eigenvalues, 7.0, 0.2).kappa,
            rtol=1e-14,
        )


def test_few_steps_suffice_where_newton_alone_only_halves():
    """As many samples as large eigenvalues, the others up to 56 decades smaller: κ is their geometric mean."""
    for small in (1e-6, 1e-30, 1e-56):
        for gamma in (0.0, 1e-3 * small):
            ridge = effective_ridge([1.0] * 3 + [small] * 5, 3.0, gamma)
            assert ridge.kappa == pytest.approx(np.sqrt(small * (5.0 + 3.0 * gamma / small) / 3.0), rel=1e-2)
            assert ridge.iterations <= 8
    # and with every eigenvalue counted, n = rank and a tiny penalty
    ridge = effective_ridge(np.ones(7), 7.0, 1e-40)
    assert ridge.kappa == pytest.approx(1e-20, rel=1e-12, abs=0.0)
    assert ridge.iterations <= 8


def test_effective_ridge_takes_long_vectors_and_checks_what_it_returns():
    n, gamma = np.full(20000, 3.0), np.full(20000, 0.1)
    assert effective_ridge([1.0, 2.0], n, gamma).kappa.shape == (20000,)
    with pytest.raises(ValueError, match="GiB"):
        effective_ridge([1.0, 2.0], np.ones((10**6, 1)), np.ones(10**6))


def test_labelled_arrays_are_not_paired_by_position():
    xarray = pytest.importorskip("xarray")
    n, gamma = xarray.DataArray([5.0, 6.0], dims="n"), xarray.DataArray([0.1, 0.2], dims="g")
    with pytest.raises(ValueError, match="n must be a plain array"):
        effective_ridge([1.0, 2.0], n, 0.1)
    with pytest.raises(ValueError, match="gamma must be a plain array"):
        Equivalent(GaussianMixture(np.ones(2))).law(5.0, gamma)
    with pytest.raises(ValueError, match="n must be a plain array"):
        Equivalent(GaussianMixture(np.ones(2))).limit_law(n)


def test_effective_ridge_says_where_it_did_not_converge():
    out = effective_ridge([1.0, 2.0], [1.0, 1e61, 1.0], [0.1, 0.1, 1e-61])
    np.testing.assert_array_equal(out.converged, [True, False, False])
    np.testing.assert_array_equal(np.isnan(out.kappa), [False, True, True])
    assert not effective_ridge([1e-61, 1.0], 2.0, 0.1).converged
    scalar = effective_ridge([1.0], 2.0, 0.1)
    assert scalar.kappa.shape == ()
    assert scalar.converged


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eigenvalues": [1.0, -1e-9]}, r"eigenvalues must be in \[0, inf\), got -1e-09 at index \(1,\)"),
        ({"eigenvalues": []}, "eigenvalues must be a vector with at least one entry"),
        ({"eigenvalues": np.eye(2)}, "eigenvalues must be a vector"),
        ({"n": 0.0}, "n must be in"),
        ({"gamma": [0.1, -0.1]}, "gamma must be in"),
        ({"n": [1.0, 2.0], "gamma": [0.1, 0.2, 0.3]}, "do not broadcast"),
    ],
)
def test_nonsense_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        effective_ridge(**{"eigenvalues": [1.0, 2.0], "n": 2.0, "gamma": 0.1} | change)


# The law, against high precision.


def rotation(rng, p):
    return np.linalg.qr(rng.standard_normal((p, p)))[0]


def matrix(covariance, p):
    covariance = np.asarray(covariance)
    return covariance.tolist() if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, p)).tolist()


def covariance(rng, p, form):
    eigenvalues = rng.permutation(np.arange(1.0, p + 1) ** -rng.uniform(0.5, 2.0)) * rng.uniform(0.5, 3.0)
    if form == "full":
        Q = rotation(rng, p)
        full = (Q * eigenvalues) @ Q.T
        return 0.5 * (full + full.T)
    return {"identity": 1.0, "scalar": 0.7, "diagonal": eigenvalues}[form]


def precise(mixture):
    return oracle.Mixture(mixture.mean.tolist(), matrix(mixture.covariance, mixture.p), mixture.label_noise)


def as_oracle(source):
    if isinstance(source, FixedSource):
        return source.weights.tolist()
    return oracle.Ridge(precise(source.mixture), source.n, source.gamma)


def assert_law(law, mean, cov, tolerance):
    """Entries of M to a tolerance in units of the margin's deviations, those of V in units of the variances."""
    cov = np.array(cov, dtype=float)
    scale = np.sqrt(np.diag(cov))
    np.testing.assert_array_less(np.abs(law.mean - np.array(mean, dtype=float)), tolerance * scale)
    np.testing.assert_array_less(np.abs(law.cov - cov), tolerance * np.outer(scale, scale))


FORMS = ["identity", "scalar", "diagonal", "full"]


@pytest.mark.slow
@pytest.mark.parametrize("target_form", FORMS)
@pytest.mark.parametrize("source_form", FORMS)
def test_every_form_of_covariance_agrees_with_dense_matrices(target_form, source_form):
    rng = np.random.default_rng([FORMS.index(target_form), FORMS.index(source_form)])
    p = 6
    target = GaussianMixture(rng.standard_normal(p), covariance(rng, p, target_form), 0.1)
    other = GaussianMixture(rng.standard_normal(p), covariance(rng, p, source_form), 0.15)
    same = GaussianMixture(rng.standard_normal(p), target.covariance)
    sources = [RidgeSource(other, 9.5, 0.3), FixedSource(rng.standard_normal(p)), RidgeSource(same, 4.0, 0.02)]
    for n, gamma in ((3.0, 0.2), (11.0, 0.01)):
        law = Equivalent(target, sources).law(n, gamma)
        assert_law(law, *oracle.margin_law(precise(target), n, gamma, map(as_oracle, sources)), 1e-13)
        plain = Equivalent(target).law(n, gamma)
        assert_law(plain, law.mean[:1], law.cov[:1, :1], 1e-14)


@pytest.mark.slow
def test_bad_conditioning_and_missing_rank_cost_no_digits():
    """Eigenvalues over twelve decades, with and without zeros, a mean and a source in every direction."""
    rng = np.random.default_rng(3)
    p = 8
    for eigenvalues in (np.geomspace(1e-12, 1.0, p), np.r_[np.geomspace(1e-12, 1.0, p - 3), 0.0, 0.0, 0.0]):
        target = GaussianMixture(rng.standard_normal(p), rng.permutation(eigenvalues), 0.2)
        other = GaussianMixture(rng.standard_normal(p), rng.permutation(eigenvalues))
        sources = [RidgeSource(other, 6.0, 1e-7), FixedSource(rng.standard_normal(p))]
        for n, gamma in ((3.0, 0.0), (3.0, 1e-9), (5.0, 1e-6), (8.0, 1e-4), (20.0, 1e-13)):
            law = Equivalent(target, sources).law(n, gamma)
            assert_law(law, *oracle.margin_law(precise(target), n, gamma, map(as_oracle, sources), digits=80), 1e-11)


def test_the_classifier_agrees_with_dense_matrices_and_with_the_law():
    rng = np.random.default_rng(4)
    p = 6
    for form in FORMS:
        target = GaussianMixture(rng.standard_normal(p), covariance(rng, p, form), 0.1)
        weights = rng.standard_normal((2, p))
        equivalent = Equivalent(target, [FixedSource(w) for w in weights])
        alpha = np.array([[0.3, -2.0], [0.0, 1.5]])
        result = equivalent.classifier(4.0, 0.3, alpha)
        exact = [oracle.classifier(precise(target), 4.0, 0.3, weights.tolist(), a) for a in alpha]
        np.testing.assert_allclose(result, np.array(exact, dtype=float), rtol=1e-12, atol=1e-14)
        law = equivalent.law(4.0, 0.3)
        np.testing.assert_allclose(result @ target.mean, law.mean[0] + alpha @ law.mean[1:], rtol=1e-12)
        one = Equivalent(target, [FixedSource(weights[0])])
        np.testing.assert_array_equal(one.classifier(4.0, 0.3, [[0.3], [0.0]]).shape, (2, 1, p))
        np.testing.assert_allclose(one.classifier(4.0, 0.3, 0.0), Equivalent(target).classifier(4.0, 0.3), rtol=1e-13)
        with pytest.raises(ValueError, match="alpha is required"):
            one.classifier(4.0, 0.3)


# The law, against the closed form.


def isotropic(rng):
    """Parameters of a random problem, and the same problem in coordinates (with no rounding in its angles)."""
    p, noise = int(rng.integers(2, 60)), rng.uniform(0.0, 0.4, 2) * (rng.random(2) < 0.7)
    beta = float(rng.choice([rng.uniform(-1, 1), 0.0, 0.6, -0.8]))
    mu, mu_perp = 10.0 ** rng.uniform(-1, 1, 2)
    parameters = {
        "beta": beta,
        "n": rng.uniform(1, 100),
        "p": p,
        "gamma": 10.0 ** rng.uniform(-8, 3) * (rng.random() < 0.9),
        "mu": mu,
        "mu_perp": mu_perp,
        "label_noise": noise[0],
    }
    old, new = np.zeros((2, p))
    i, j = rng.permutation(p)[:2]
    old[i] = mu
    new[i], new[j] = beta * mu, np.sqrt((1 - beta) * (1 + beta)) * mu_perp
    source = FixedSource(old)
    if rng.random() < 0.7:
        N, penalty = rng.uniform(1, 200), 10.0 ** rng.uniform(-3, 3)
        parameters |= {"n_source": N, "gamma_source": penalty, "label_noise_source": noise[1]}
        source = RidgeSource(GaussianMixture(old, label_noise=noise[1]), N, penalty)
    return parameters, Equivalent(GaussianMixture(new, label_noise=noise[0]), [source])


def test_identity_covariance_is_the_closed_form():
    rng = np.random.default_rng(5)
    for _ in range(500):
        parameters, equivalent = isotropic(rng)
        exact = ra.margin_law(**parameters)
        law = equivalent.law(parameters["n"], parameters["gamma"])
        np.testing.assert_allclose(law.mean, exact.mean, rtol=1e-11)
        np.testing.assert_allclose(law.cov, exact.cov, rtol=1e-11)


def test_a_multiple_of_the_identity_is_a_change_of_units():
    rng = np.random.default_rng(6)
    p, scale = 9, 2.5
    mean, weights = rng.standard_normal((2, p))
    unit = Equivalent(GaussianMixture(mean, label_noise=0.1), [FixedSource(weights)]).law(6.0, 0.3)
    other = Equivalent(GaussianMixture(scale * mean, scale**2, 0.1), [FixedSource(weights / scale)]).law(
        6.0, 0.3 * scale**2
    )
    np.testing.assert_allclose(other.mean, unit.mean, rtol=1e-13)
    np.testing.assert_allclose(other.cov, unit.cov, rtol=1e-13)


@pytest.mark.parametrize("shared", [True, False])
def test_a_rotated_problem_has_the_same_law(shared):
    """A diagonal problem and the full one that it becomes in other axes, the source's covariance shared or not."""
    rng = np.random.default_rng([7, shared])
    p = 40
    axes, turn = rng.permutation(p), rotation(rng, p)
    values = np.arange(1.0, p + 1) ** -1.5
    theirs = values if shared else values[axes]
    means, fixed = rng.standard_normal((2, p)), rng.standard_normal(p)

    def problem(Q):
        def full(diagonal):
            return diagonal if Q is None else 0.5 * ((Q * diagonal) @ Q.T + ((Q * diagonal) @ Q.T).T)

        to = (lambda v: v) if Q is None else (lambda v: Q @ v)
        source = RidgeSource(GaussianMixture(to(means[1]), full(theirs), 0.15), 70, 0.01)
        return Equivalent(GaussianMixture(to(means[0]), full(values), 0.1), [source, FixedSource(to(fixed))])

    n, gamma = np.array([[15.0], [90.0]]), np.array([1e-4, 0.1, 10.0])
    diagonal, full = problem(None).law(n, gamma), problem(turn).law(n, gamma)
    np.testing.assert_allclose(full.mean, diagonal.mean, rtol=1e-10)
    np.testing.assert_allclose(full.cov, diagonal.cov, rtol=1e-10, atol=1e-10 * diagonal.cov[..., :1, :1].min())


# Structure and limits.


def random_equivalent(rng, p=12):
    target = GaussianMixture(rng.standard_normal(p), covariance(rng, p, "diagonal"), 0.1)
    other = GaussianMixture(rng.standard_normal(p), covariance(rng, p, "full"))
    return Equivalent(target, [RidgeSource(other, 30, 0.1), FixedSource(rng.standard_normal(p))])


def test_a_grid_is_its_points(monkeypatch):
    equivalent = random_equivalent(np.random.default_rng(8))
    n, gamma = np.array([3.0, 12.0, 50.0])[:, None], np.array([0.0, 0.01, 1.0, 1e4])
    law = equivalent.law(n, gamma)
    assert law.shape == (3, 4)
    for i in range(3):
        for j in range(4):
            one = equivalent.law(n[i, 0], gamma[j])
            np.testing.assert_allclose(law.mean[i, j], one.mean, rtol=1e-13)
            np.testing.assert_allclose(law.cov[i, j], one.cov, rtol=1e-12)
    monkeypatch.setattr(equivalents, "BLOCK", 1)
    np.testing.assert_allclose(equivalent.law(n, gamma).cov, law.cov, rtol=1e-12)
    assert equivalent.law(np.empty((0, 2)), 0.1).shape == (0, 2)


def test_the_limit_of_a_large_penalty():
    rng = np.random.default_rng(9)
    equivalent = random_equivalent(rng)
    n, gamma = np.array([5.0, 40.0]), 1e10
    kappa = effective_ridge(equivalent.target.eigenvalues, n, gamma).kappa
    law, limit = equivalent.law(n, gamma), equivalent.limit_law(n)
    scale = np.stack([kappa, np.ones(2), np.ones(2)], axis=-1)
    np.testing.assert_allclose(law.mean * scale, limit.mean, rtol=1e-8)
    np.testing.assert_allclose(law.cov * scale[:, :, None] * scale[:, None, :], limit.cov, rtol=1e-8, atol=1e-9)
    # and for Σ = I it is THEORY §5
    beta, n, p, mu_perp = 0.6, 30.0, 20, 0.9
    old, new = np.zeros((2, p))
    old[0], new[:2] = 1.3, [beta * 1.3, 0.8 * mu_perp]
    for noise in (0.0, 0.1):
        law = Equivalent(GaussianMixture(new, label_noise=noise), [FixedSource(old)]).limit_law(n)
        s, off, m2 = isotropic_theory.source_numbers(beta, p, mu=1.3, mu_perp=mu_perp)
        t = 1 - 2 * noise
        assert law.optimal_alpha() == pytest.approx(p / n * s / (t * m2 * off), rel=1e-12)
        w2 = off + s**2 / m2
        snr2 = (m2**2 * off + p / n / t**2 * s**2) / (m2 * off + p / n / t**2 * w2)
        assert law.best_accuracy() == pytest.approx(ra.MarginLaw([snr2**0.5], [[1.0]]).accuracy(), rel=1e-12)


def test_without_penalty_only_the_null_space_of_the_covariance_remembers():
    """γ = 0 and n ≥ rank Σ: the rules, and the same law as γ → 0 gives."""
    rng = np.random.default_rng(10)
    values = np.r_[2.0, 1.0, 0.3, 0.0, 0.0]
    sources = [FixedSource(rng.standard_normal(5))]
    for mean in (np.array([1.0, -0.5, 0.2, 0.0, 0.0]), rng.standard_normal(5)):
        for noise in (0.0, 0.1):
            equivalent = Equivalent(GaussianMixture(mean, values, noise), sources)
            law, near = equivalent.law([4.0, 7.0], 0.0), equivalent.law([4.0, 7.0], 1e-13)
            np.testing.assert_allclose(law.mean, near.mean, atol=1e-11)
            np.testing.assert_allclose(law.cov, near.cov, atol=1e-11)
            np.testing.assert_array_equal(law.mean[:, 1], 0.0)
            np.testing.assert_array_equal(law.cov[:, 1, 1], 0.0)
            np.testing.assert_allclose(
                equivalent.classifier(4.0, 0.0, 0.7), equivalent.classifier(4.0, 1e-13, 0.7), atol=1e-11
            )
            at_rank = equivalent.law(3.0, 0.0)
            seen = noise > 0.0 or not mean[3:].any()
            assert at_rank.cov[0, 0] == (np.inf if seen else 0.0)
    # a direction without noise that shows the mean makes no errors, whatever n
    assert Equivalent(GaussianMixture(mean, values), sources).law(4.0, 0.0).accuracy(5.0) == 1.0


def test_a_rotated_singular_problem_has_the_same_law():
    """The null space of a full matrix is known to rounding only, which must not pass for a mean without noise."""
    rng = np.random.default_rng(13)
    p, rank = 8, 5
    values = np.r_[np.geomspace(1e-6, 2.0, rank), np.zeros(p - rank)]
    turn, n = rotation(rng, p), np.array([4.0, 5.0, 9.0])
    inside, outside, fixed = rng.standard_normal(p) * (values > 0.0), rng.standard_normal(p), rng.standard_normal(p)
    for mean in (inside, outside):
        for gamma in (0.0, 1e-3):
            laws, heads = [], []
            for Q in (np.eye(p), turn):
                covariance = (Q * values) @ Q.T
                mixture = GaussianMixture(Q @ mean, 0.5 * (covariance + covariance.T))
                sources = [RidgeSource(mixture, 9.0, 0.0), FixedSource(Q @ fixed)]
                equivalent = Equivalent(mixture, sources)
                laws.append(equivalent.law(n, gamma))
                heads.append(equivalent.classifier(9.0, gamma, [0.5, 0.5]) @ Q)
            np.testing.assert_allclose(laws[1].mean, laws[0].mean, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(laws[1].cov, laws[0].cov, rtol=1e-7, atol=1e-9)
            np.testing.assert_allclose(heads[1], heads[0], rtol=1e-6, atol=1e-7)


def test_squares_that_leave_float64_are_nan_as_well():
    target, ones = GaussianMixture([1.0, 0.5], [1.0, 2.0]), FixedSource([1.0, 1.0])
    for size in (1e-170, 1e170, 1e300):
        for equivalent in (
            Equivalent(target, [FixedSource([size, 0.0])]),
            Equivalent(target, [FixedSource([size, size])]),
            Equivalent(GaussianMixture([size, size], [1.0, 2.0]), [ones]),
            Equivalent(target, [RidgeSource(GaussianMixture([size, size]), 5, 0.1)]),
        ):
            assert np.isnan(equivalent.law(5.0, 0.1).mean).all()
            assert np.isnan(equivalent.classifier(5.0, 0.1, 1.0)).all()
    law = Equivalent(GaussianMixture([7e3, 2e4, -1e4], [1e16, 3e-25, 1e21]), [FixedSource([1.0, 2.0, 3.0])]).law(
        15466, 2e-9
    )
    ra.MarginLaw(law.mean, law.cov)  # whatever is lost to rounding, V is a covariance


def test_a_classifier_is_that_of_one_n_and_one_penalty():
    equivalent = Equivalent(GaussianMixture(np.ones(3)), [FixedSource(np.ones(3))])
    for change in ({"n": [5.0, 6.0]}, {"gamma": [0.1, 0.2]}):
        with pytest.raises(ValueError, match="must be a single number"):
            equivalent.classifier(**{"n": 5.0, "gamma": 0.1, "alpha": 1.0} | change)
    wide = Equivalent(GaussianMixture(np.ones(10**6)), [FixedSource(np.ones(10**6))])
    with pytest.raises(ValueError, match="GiB"):
        wide.classifier(5.0, 0.1, np.zeros(10**5))
    assert equivalent.law(10**25, 0.1).mean.shape == (2,)


def test_what_is_undefined_is_nan_without_a_warning():
    p = 6
    source = RidgeSource(GaussianMixture(np.ones(p)), p, 0.0)  # infinitely long
    endless = RidgeSource(GaussianMixture(np.ones(p), np.diag(np.ones(p)) + 0.1), p, 0.0)
    target = GaussianMixture(np.ones(p), np.linspace(1.0, 2.0, p))
    for equivalent in (
        Equivalent(target, [source]),
        Equivalent(target, [endless]),
        Equivalent(target, [FixedSource(np.full(p, 1e31))]),
        Equivalent(target, [FixedSource(np.full(p, 1e-32))]),
        Equivalent(GaussianMixture(np.full(p, 1e40), target.covariance), [FixedSource(np.ones(p))]),
        Equivalent(GaussianMixture(np.ones(p), np.full(p, 1e70)), [FixedSource(np.ones(p))]),
    ):
        for law in (equivalent.law(4.0, 0.1), equivalent.limit_law(4.0)):
            assert np.isnan(law.mean).all()
            assert np.isnan(law.optimal_alpha())
    mixed = Equivalent(target).law([1.0, 1e70], 0.1)
    np.testing.assert_array_equal(np.isnan(mixed.mean[:, 0]), [False, True])


def test_shared_covariances_are_decomposed_once(monkeypatch):
    rng = np.random.default_rng(11)
    one, two = covariance(rng, 5, "full"), covariance(rng, 5, "full")
    calls = []
    monkeypatch.setattr(np.linalg, "eigh", lambda a, eigh=np.linalg.eigh: calls.append(1) or eigh(a))
    sources = [RidgeSource(GaussianMixture(rng.standard_normal(5), c), 9, 0.1) for c in (one, two, two.copy(), 2.0)]
    equivalent = Equivalent(GaussianMixture(np.ones(5), one.copy()), sources)
    equivalent.law([2.0, 3.0], 0.1)
    equivalent.classifier(2.0, 0.1, [1.0] * 4)
    assert len(calls) == 2
    again = pickle.loads(pickle.dumps(equivalent))
    np.testing.assert_array_equal(again.law(2.0, 0.1).cov, equivalent.law(2.0, 0.1).cov)


def test_covariances_are_positive_and_sources_may_be_combined():
    """V is PSD, and a fixed source that is split in two keeps the law along the sum."""
    rng = np.random.default_rng(12)
    for _ in range(50):
        law = random_equivalent(rng).law(10.0 ** rng.uniform(0, 2), 10.0 ** rng.uniform(-4, 2))
        ra.MarginLaw(law.mean, law.cov)  # whose constructor checks
    target = GaussianMixture(rng.standard_normal(7), covariance(rng, 7, "full"), 0.2)
    one, two = rng.standard_normal((2, 7))
    whole = Equivalent(target, [FixedSource(0.3 * one - 2.0 * two)]).law(5.0, 0.2)
    parts = Equivalent(target, [FixedSource(one), FixedSource(two)]).law(5.0, 0.2)
    assert whole.accuracy(1.0) == pytest.approx(parts.accuracy([0.3, -2.0]), rel=1e-12)


def test_bad_sources_are_refused():
    with pytest.raises(ValueError, match=r"sources\[0\] must have the dimension 3 of target, got 2"):
        Equivalent(GaussianMixture(np.ones(3)), [FixedSource([1.0, 2.0])])
    equivalent = Equivalent(GaussianMixture(np.ones(3)))
    with pytest.raises(ValueError, match="n must be in"):
        equivalent.law(0.0, 0.1)
    with pytest.raises(ValueError, match="n must be in"):
        equivalent.limit_law(0.0)
    with pytest.raises(ValueError, match="GiB"):
        equivalent.law(np.ones((10**6, 1)), np.ones(10**6))
