"""Mixtures and sources: what they hold, what they compute, what they refuse."""

import pickle

import numpy as np
import pytest
import threadpoolctl
from scipy.linalg import sqrtm

from rmt_alpha import problem as problem_room
from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture, Isotropic, RidgeSource, check_sources

RNG = np.random.default_rng(0)
FULL = (lambda A: A @ A.T)(RNG.standard_normal((6, 6)))
MEAN = RNG.standard_normal(6)
COVARIANCES = {"none": None, "scalar": 0.25, "diagonal": np.arange(6.0), "full": FULL}


def dense_form(covariance):
    return np.broadcast_to(1.0 if covariance is None else covariance, (6,)) * np.eye(6)


@pytest.mark.parametrize("kind", COVARIANCES)
def test_a_mixture_computes_with_its_covariance(kind):
    mixture = GaussianMixture(MEAN, COVARIANCES[kind])
    sigma = FULL if kind == "full" else dense_form(COVARIANCES[kind])
    root = np.real(sqrtm(FULL)) if kind == "full" else np.sqrt(sigma)
    vectors, rows = RNG.standard_normal((2, 6, 3)), RNG.standard_normal((5, 6))
    np.testing.assert_allclose(mixture.apply(vectors), sigma @ vectors, rtol=1e-12)
    np.testing.assert_allclose(mixture.apply_root(vectors), root @ vectors, rtol=1e-9, atol=1e-12)
    coloured = rows.copy()
    mixture.colour(coloured)
    np.testing.assert_allclose(coloured, rows @ root, rtol=1e-9, atol=1e-12)
    vectors = np.eye(6) if mixture.eigenvectors is None else mixture.eigenvectors
    np.testing.assert_allclose(vectors * mixture.eigenvalues @ vectors.T, sigma, rtol=1e-11, atol=1e-12)
    assert mixture.eigenvalues.shape == (6,)
    assert (mixture.eigenvectors is None) == (kind != "full")
    assert mixture.p == 6


def test_a_full_matrix_that_is_diagonal_is_kept_as_its_diagonal():
    mixture = GaussianMixture(MEAN, np.diag(np.arange(6.0)))
    assert np.array_equal(mixture.covariance, np.arange(6.0))
    assert mixture.eigenvectors is None


def test_a_constant_diagonal_is_kept_as_a_number():
    for covariance in (3.0, np.full(6, 3.0), 3.0 * np.eye(6)):
        mixture = GaussianMixture(MEAN, covariance)
        assert mixture.covariance.shape == ()
        assert mixture.covariance == 3.0
        assert not mixture.covariance.flags.writeable
    assert GaussianMixture([1.0], [[2.0]]).covariance.shape == ()
    assert GaussianMixture(MEAN, np.zeros((6, 6))).root == 0.0


@pytest.mark.parametrize("rank", [1, 3, 5])
@pytest.mark.parametrize("scale", [1e-280, 1.0, 1e200])
def test_a_deficient_rank_is_seen_at_any_scale(rank, scale):
    A = RNG.standard_normal((6, rank))
    mixture = GaussianMixture(MEAN, A @ A.T * scale)
    assert np.count_nonzero(mixture.eigenvalues) == rank
    root = mixture.root / np.sqrt(scale)
    np.testing.assert_allclose(root @ root, A @ A.T, rtol=1e-12, atol=1e-12)
    assert np.array_equal(mixture.root, mixture.root.T)


def test_badly_scaled_features_keep_the_root_of_the_whole():
    size = 10.0 ** np.array([-8, -4, 0, 2, 4, 5])
    sigma = FULL * np.outer(size, size)
    root = GaussianMixture(MEAN, sigma).root
    assert np.abs(root @ root - sigma).max() < 1e-15 * 6 * np.linalg.norm(sigma)
    assert np.linalg.eigvalsh(root)[0] > -1e-15 * np.linalg.norm(root)


def test_tolerance_for_rounding_errors():
    values, vectors = np.linalg.eigh(FULL)
    norm = np.linalg.norm(FULL)
    for least, legal in [(-0.5e-10, True), (-3e-10, False)]:
        values[0] = least * norm
        sigma = vectors * values @ vectors.T
        if legal:
            mixture = GaussianMixture(MEAN, sigma)
            assert mixture.eigenvalues[0] == 0.0
            assert np.array_equal(mixture.covariance, mixture.covariance.T)
        else:
            with pytest.raises(ValueError, match="covariance must be positive semi-definite, it has the eigenvalue -"):
                GaussianMixture(MEAN, sigma)
    skew = np.triu(np.ones((6, 6)), 1) * norm
    GaussianMixture(MEAN, FULL + 0.5e-10 * skew)
    with pytest.raises(ValueError, match="covariance must be symmetric"):
        GaussianMixture(MEAN, FULL + 3e-10 * skew)


@pytest.mark.parametrize("scale", [1e-250, 1e250])
def test_an_indefinite_matrix_is_refused_at_any_scale(scale):
    with pytest.raises(ValueError, match="positive semi-definite"):
        GaussianMixture([0.0, 0.0], np.array([[1.0, 2.0], [2.0, 1.0]]) * scale)


def test_the_root_does_not_depend_on_the_threads_of_the_caller():
    A = RNG.standard_normal((400, 500))
    roots = []
    for threads in (1, 2):
        with threadpoolctl.threadpool_limits(threads, user_api="blas"):
            roots.append(GaussianMixture(A[:, 0], A @ A.T).root)
    assert np.array_equal(*roots)


def test_arrays_are_read_only_and_the_callers_stay_his_own():
    mean, covariance, weights = MEAN.copy(), FULL.copy(), MEAN.copy()
    mixture, source = GaussianMixture(mean, covariance), FixedSource(weights)
    assert mixture.root is mixture.root  # computed once
    for array in (mean, covariance, weights):
        array[...] = 7.0
    for problem in (mixture, source, pickle.loads(pickle.dumps(mixture)), pickle.loads(pickle.dumps(source))):
        names = ("weights",) if isinstance(problem, FixedSource) else ("mean", "covariance", "root", "eigenvalues")
        for name in names:
            with pytest.raises(ValueError, match="read-only"):
                getattr(problem, name)[...] = 1.0
    assert np.array_equal(mixture.mean, MEAN)
    assert np.array_equal(source.weights, MEAN)
    np.testing.assert_allclose(mixture.covariance, FULL)


def test_pickling_keeps_all_that_a_problem_says():
    mixture = GaussianMixture(MEAN, FULL, label_noise=0.2)
    source = pickle.loads(pickle.dumps(RidgeSource(mixture, 10, 0.5)))
    again = source.mixture
    assert np.array_equal(again.mean, mixture.mean)
    assert np.array_equal(again.root, mixture.root)
    assert np.array_equal(again.eigenvectors, mixture.eigenvectors)
    assert (again.label_noise, source.n, source.gamma, source.p) == (0.2, 10, 0.5, 6)


def test_a_mixture_tells_its_form():
    assert repr(GaussianMixture(MEAN)) == "GaussianMixture(p=6, covariance=1·I, label_noise=0)"
    assert "full" in repr(GaussianMixture(MEAN, FULL))
    assert "diagonal" in repr(GaussianMixture(MEAN, np.arange(6.0)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GaussianMixture(1.0), "mean must be a vector"),
        (lambda: GaussianMixture([]), "mean must be a vector"),
        (lambda: GaussianMixture([[1.0]]), "mean must be a vector"),
        (lambda: GaussianMixture([np.nan]), "mean must be finite"),
        (lambda: GaussianMixture("mean"), "mean must be real numbers"),
        (lambda: GaussianMixture(MEAN, -1.0), r"covariance must be in \[0, inf\)"),
        (lambda: GaussianMixture(MEAN, [-1.0, 1, 1, 1, 1, 1]), r"covariance must be in .* at index \(0,\)"),
        (lambda: GaussianMixture(MEAN, np.ones(5)), r"covariance must have shape \(\), \(6,\) or \(6, 6\)"),
        (lambda: GaussianMixture(MEAN, np.ones((5, 5))), "covariance must have shape"),
        (lambda: GaussianMixture(MEAN, np.ones((6, 6, 1))), "covariance must have shape"),
        (lambda: GaussianMixture(MEAN, np.inf), "covariance must be finite"),
        (lambda: GaussianMixture(MEAN, -np.eye(6)), "covariance must be in"),
        (lambda: GaussianMixture(MEAN, np.triu(np.ones((6, 6)))), "covariance must be symmetric"),
        (lambda: GaussianMixture(MEAN, np.ones((6, 6)) - np.eye(6)), "has the eigenvalue -1"),
        (lambda: GaussianMixture(MEAN, label_noise=0.5), "label_noise must be in"),
        (lambda: GaussianMixture(MEAN, label_noise=[0.1]), "label_noise must be a single number"),
        (lambda: RidgeSource(MEAN, 10, 1.0), "mixture must be a GaussianMixture, got ndarray"),
        (lambda: RidgeSource(GaussianMixture(MEAN), 0, 1.0), r"n must be in \(0"),
        (lambda: RidgeSource(GaussianMixture(MEAN), "10", 1.0), "n must be real"),
        (lambda: RidgeSource(GaussianMixture(MEAN), 10, -1.0), "gamma must be in"),
        (lambda: RidgeSource(GaussianMixture(MEAN), 10, [1.0]), "gamma must be a single number"),
        (lambda: FixedSource(None), "weights must be"),
        (lambda: FixedSource([[[1.0]]]), "weights must be a vector"),
        (lambda: FixedSource([np.inf]), "weights must be finite"),
        (lambda: check_sources(MEAN, ()), "target must be a GaussianMixture"),
        (lambda: check_sources(GaussianMixture(MEAN), 3), "sources must be a sequence"),
        (lambda: check_sources(GaussianMixture(MEAN), [MEAN]), r"sources\[0\] must be a RidgeSource or a FixedSource"),
        (
            lambda: check_sources(GaussianMixture(MEAN), [FixedSource(MEAN), FixedSource(MEAN[:5])]),
            r"sources\[1\] must have the dimension 6 of target, got 5",
        ),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_real_numbers_of_samples_are_legal_in_theory():
    assert RidgeSource(GaussianMixture(MEAN), 10.5, 0.0).n == 10.5


@pytest.mark.parametrize("sources", [[], (), iter([FixedSource(MEAN)])])
def test_sources_come_as_any_iterable(sources):
    assert isinstance(check_sources(GaussianMixture(MEAN), sources), tuple)


def test_an_experiment_stays_read_only_when_it_travels():
    e = pickle.loads(pickle.dumps(Experiment([0.2, 0.8], n=10, p=20, gamma=0.1)))
    assert not e.beta.flags.writeable
    assert e.n == 10
    problem = pickle.loads(pickle.dumps(Isotropic([0.2, 0.8], n=10, p=20, gamma=0.1)))
    assert not problem.beta.flags.writeable
    assert problem.shape == (2,)


def test_a_covariance_that_does_not_fit_is_refused():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            problem_room, "check_memory", lambda what, size: (_ for _ in ()).throw(ValueError(f"{what} {size}"))
        )
        with pytest.raises(ValueError, match="a covariance of p=2"):
            GaussianMixture([1.0, 0.0], [[2.0, 1.0], [1.0, 2.0]])
