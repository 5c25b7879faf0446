"""The banded elimination against the banded matrix itself, and against the limit that theory knows."""

import numpy as np
import pytest

from rmt_alpha.elimination import absorb, absorb_inverse, corner, corner_inverse, start
from rmt_alpha.theory.isotropic import effective_ridge, residual_fraction

SHAPES = [(1, 1), (1, 5), (5, 1), (2, 2), (3, 5), (5, 3), (4, 9), (9, 4), (12, 12)]


def band(rng, n, p, k, q):
    """X/√n as the module's statement has it, with non-zero numbers of any size wherever it allows them."""
    X = np.zeros((p, n))
    for j in range(n):
        for row in range(max(j - q, 0), min(j + k + 1, p)):
            X[row, j] = rng.uniform(0.3, 1.0) * rng.choice([-1.0, 1.0])
    return X / np.sqrt(n)


def through_the_chain(X, W, gamma, k, q, *, inverse):
    """The corner of a banded matrix: ⟨w_a, e₁⟩ and ⟨w_a, w_b⟩."""
    p, n = X.shape
    size = (0.0,) * (k + q)
    last = min(n, p + q) - 1
    C, E = np.empty((k + q, k + q), X.dtype), np.empty((k + q, k + q), X.dtype)
    start(C, E, 1.0 if inverse else gamma, last - q + 1, p)
    columns = np.zeros((k + q + 1, n), X.dtype)
    for j in range(n):
        for i in range(k + q + 1):
            if 0 <= j - q + i < p:
                columns[i, last - j] = X[j - q + i, j]
    (absorb_inverse if inverse else absorb)(C, E, columns, last, gamma, size)
    c = np.zeros(k + 1, X.dtype)
    c[: min(p, k + 1)] = X[: k + 1, 0]
    first, gram = np.empty(W.shape[1] + 1, X.dtype), np.empty((W.shape[1] + 1,) * 2, X.dtype)
    close = corner_inverse if inverse else corner
    close(C[q - 1 :, q - 1 :], E[q - 1 :, q - 1 :], c, W, gamma, first, gram)
    return first, gram


def directly(X, W, gamma):
    p = len(X)
    padded = np.zeros((p, W.shape[1]))
    rows = min(p, len(W))
    padded[:rows] = W[:rows]
    if len(X) <= X.shape[1]:
        solved = np.linalg.solve(X @ X.T + gamma * np.eye(p), np.column_stack([X[:, 0], gamma * padded]))
    else:
        S = X.T @ X + gamma * np.eye(X.shape[1])
        solved = np.column_stack([X @ np.linalg.solve(S, np.eye(len(S))[:, 0]), padded])
        solved[:, 1:] -= X @ np.linalg.solve(S, X.T @ padded)
    return solved[0], solved.T @ solved


@pytest.mark.parametrize("K", [0, 1, 2])
@pytest.mark.parametrize(("n", "p", "q"), [(n, p, q) for n, p in SHAPES for q in (1, 2) if q <= n])
def test_the_chain_solves_the_banded_system(n, p, K, q):
    k = K + 1
    rng = np.random.default_rng([n, p, K, q])
    X = band(rng, n, p, k, q)
    W = rng.standard_normal((k, K))
    W[p:] = 0.0
    for gamma in (0.7, 1e-3):
        expected = directly(X, W, gamma)
        for inverse in (False, True):
            result = through_the_chain(X, W, gamma, k, q, inverse=inverse)
            for a, b in zip(result, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9 * np.abs(b).max())


@pytest.mark.parametrize(("n", "p"), [(3, 5), (4, 9), (10, 11)])
@pytest.mark.parametrize("gamma", [0.0, 1e-12, 1e-6])
def test_the_inverse_form_is_exact_down_to_no_penalty(n, p, gamma):
    rng = np.random.default_rng([n, p])
    X, W = band(rng, n, p, 2, 1), rng.standard_normal((2, 1))
    first, gram = through_the_chain(X, W, gamma, 2, 1, inverse=True)
    expected_first, expected_gram = directly(X, W, gamma)
    scale = np.sqrt(np.diag(expected_gram))
    np.testing.assert_allclose(first, expected_first, atol=1e-11 * scale.max())
    np.testing.assert_allclose(gram, expected_gram, atol=1e-11 * np.outer(scale, scale).max())


@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize(("eta", "gamma"), [(0.4, 0.3), (2.5, 0.1), (1.1, 2.0)])
def test_the_fixed_point_is_the_closed_form(k, q, eta, gamma):
    kappa, h = effective_ridge(1.0, eta, gamma), residual_fraction(1.0, eta, gamma)
    rho, size = gamma / kappa, k + q
    column = np.zeros((size + 1, 4000))
    column[0], column[-1] = 1.0, np.sqrt(eta)
    C, E = np.empty((size, size)), np.empty((size, size))
    start(C, E, gamma, 0, size)
    absorb(C, E, column, 4000, gamma, (0.0,) * size)
    lower = np.tril(np.ones((size, size))) > 0
    np.testing.assert_allclose(C[lower], (rho * (1 + kappa) * np.eye(size))[lower], atol=1e-12)
    np.testing.assert_allclose(E[lower], (np.eye(size) / h)[lower], rtol=1e-11, atol=1e-11)
    start(C, E, 1.0, 0, size)
    absorb_inverse(C, E, column, 4000, gamma, (0.0,) * size)
    np.testing.assert_allclose(C[lower], (kappa / (1 + kappa) * np.eye(size))[lower], atol=1e-12)
    np.testing.assert_allclose(E[lower], ((kappa / (1 + kappa)) ** 2 / h * np.eye(size))[lower], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("inverse", [False, True])
def test_complex_numbers_pass_so_that_derivatives_are_exact(inverse):
    rng = np.random.default_rng(0)
    n, p, k, q = 6, 7, 2, 1
    X, W = band(rng, n, p, k, q), rng.standard_normal((k, 1))
    step = 1e-30j * (X != 0.0) * rng.standard_normal(X.shape)
    first, gram = through_the_chain(X + step, W.astype(complex), 0.3, k, q, inverse=inverse)
    size = 1e-6
    above = through_the_chain(X + size * step.imag * 1e30, W, 0.3, k, q, inverse=inverse)
    below = through_the_chain(X - size * step.imag * 1e30, W, 0.3, k, q, inverse=inverse)
    for value, high, low in zip((first, gram), above, below, strict=True):
        np.testing.assert_allclose(value.imag * 1e30, (high - low) / (2 * size), rtol=1e-6, atol=1e-7)
