r"""The banded elimination of THEORY §7: the resolvent of an isotropic data matrix, without the matrix.

Statement. Let Z be p×n with independent N(0, 1) entries (columns are samples), of which k directions of the features
and q directions of the samples are fixed by something else: the means and the source weights, the labels. Alternate
Householder rotations of the rows and of the columns that are not fixed leave Z with the same law and make it banded:
its column j = 0, 1, … is empty but for

    row j−q (if ≥ 0)           χ_{n−j}
    rows max(j−q+1, 0) … j+k−1   N(0, 1)
    row j+k                    χ_{p−k−j}      (χ of no degrees of freedom is 0)

all independent, and without the rows from p on. So ``S = XXᵀ/n + γI`` has bandwidth k+q, and all that a ridge
classifier is made of sits in its first k+1 rows. They are reached by eliminating rows from the last to the first,
while columns are drawn when they are first needed. What is left of the rows below is a square state of size k+q:
either

- the Schur complement C and its derivative ``E = dC/dγ``, from γI and I, or
- ``Π = γ C⁻¹`` and ``F = γ² C⁻¹ E C⁻¹``, both from I, where p > n leaves C of the size of γ: exact down to γ = 0.

A column c (over √n; first entry: row j−q) takes the state one row up. With the new row in front, and l, d (e, d') the
last column and pivot of C₊ (E₊),

    C₊ = diag(γ, C) + ccᵀ,      E₊ = diag(1, E),
    C ← C₊ − l lᵀ/d,            E ← E₊ − (l eᵀ + e lᵀ)/d + l lᵀ d'/d²        without the last row and column;

    Π₊ = diag(1, Π),            F₊ = diag(1, F),      v = Π₊c,   f = F₊c,   D = γ + cᵀv,
    Π ← Π₊ − v vᵀ/D,            F ← F₊ − (f vᵀ + v fᵀ)/D + v vᵀ (cᵀf)/D²     without the last row and column.

Rows that do not exist are harmless: a dummy row from p on is one of a unit diagonal that no column touches, and for
rows above the first the column has a 0. Column 0 is the data's ``Xy/n`` and closes the corner: with W the source
weights in the fixed coordinates, ``Z = (C + ccᵀ)⁻¹ [c, γW]`` holds the first rows of the classifiers w₀, w₁, …, and as
``−d(C⁻¹)/dγ`` is the corner of Q²,

    ⟨w_a, e₁⟩ = Z_{0a},        ⟨w_a, w_b⟩ = (ZᵀEZ)_{ab}.

The state's size is known to the compiler: functions take it as the length of a tuple, for which Numba compiles code of
its own, its loops unrolled. Every function is arithmetic alone, so that it also maps complex numbers.

Cost: O((k+q)²) operations a column, no memory. Reference: THEORY §7, §8.
"""

import numpy as np

from rmt_alpha._jit import jit, local
from rmt_alpha._validation import FloatArray


@jit
def start(C: FloatArray, E: FloatArray, diagonal: float, first: int, p: int) -> None:
    """Write the state before any column.

    Parameters
    ----------
    C, E : ndarray, shape (k+q, k+q)
        (C, E) or (Π, F), overwritten.
    diagonal : float
        γ for C, 1 for Π; E and F begin with 1.
    first : int
        The state's first row; the others follow.
    p : int
        Number of rows that exist.
    """
    for i in range(len(C)):
        for h in range(len(C)):
            C[i, h] = 0.0
            E[i, h] = 0.0
        C[i, i] = diagonal if first + i < p else 1.0
        E[i, i] = 1.0


@jit
def absorb(
    C: FloatArray, E: FloatArray, columns: FloatArray, count: int, gamma: float, size: tuple[float, ...]
) -> None:
    """Take columns into (C, E).

    Parameters
    ----------
    C, E : ndarray, shape (k+q, k+q)
        The state, overwritten; the lower triangles count.
    columns : ndarray, shape (k+q+1, at least `count`)
        Columns over √n, the last one of the data first; entry 0 is the new row's.
    count : int
        How many of them.
    gamma : float
        Ridge penalty γ.
    size : tuple of k+q floats
        Its length tells the compiler the size of the state.
    """
    k = len(size)
    c, u, g, e = local((0.0, *size), C), local(size, C), local(size, C), local(size, C)
    for b in range(count):
        for i in range(k + 1):
            c[i] = columns[i, b]
        inverse = 1.0 / (C[k - 1, k - 1] + c[k] * c[k])
        half = 0.5 * E[k - 1, k - 1]
        for i in range(k):
            u[i] = (C[k - 1, i - 1] if i > 0 else 0.0) + c[k] * c[i]
            g[i] = u[i] * inverse
            e[i] = (E[k - 1, i - 1] if i > 0 else 0.0) - g[i] * half
        for i in range(k - 1, -1, -1):
            for h in range(i, -1, -1):
                if h > 0:
                    C[i, h] = C[i - 1, h - 1] + c[i] * c[h] - g[i] * u[h]
                    E[i, h] = E[i - 1, h - 1] - (g[i] * e[h] + e[i] * g[h])
                else:
                    C[i, h] = (gamma if i == 0 else 0.0) + c[i] * c[h] - g[i] * u[h]
                    E[i, h] = (1.0 if i == 0 else 0.0) - (g[i] * e[h] + e[i] * g[h])


@jit
def absorb_inverse(
    P: FloatArray, F: FloatArray, columns: FloatArray, count: int, gamma: float, size: tuple[float, ...]
) -> None:
    """Take columns into (Π, F).

    Parameters
    ----------
    P, F : ndarray, shape (k+q, k+q)
        The state, overwritten; the lower triangles count.
    columns : ndarray, shape (k+q+1, at least `count`)
        Columns over √n, the last one of the data first; entry 0 is the new row's.
    count : int
        How many of them.
    gamma : float
        Ridge penalty γ.
    size : tuple of k+q floats
        Its length tells the compiler the size of the state.
    """
    k = len(size)
    c, v, f, g = local((0.0, *size), P), local(size, P), local(size, P), local(size, P)
    for b in range(count):
        for i in range(k + 1):
            c[i] = columns[i, b]
        pivot, curvature = gamma + c[0] * c[0], c[0] * c[0]
        for i in range(k + 1):
            x, y = c[0], c[0]
            if i > 0:
                x, y = 0.0 * x, 0.0 * y
                for h in range(1, k + 1):
                    x += (P[i - 1, h - 1] if h <= i else P[h - 1, i - 1]) * c[h]
                    y += (F[i - 1, h - 1] if h <= i else F[h - 1, i - 1]) * c[h]
                pivot += c[i] * x
                curvature += c[i] * y
            if i < k:
                v[i] = x
                f[i] = y
        inverse = 1.0 / pivot
        half = 0.5 * curvature * inverse
        for i in range(k):
            g[i] = v[i] * inverse
            f[i] -= half * v[i]
        for i in range(k - 1, -1, -1):
            for h in range(i, -1, -1):
                if h > 0:
                    P[i, h] = P[i - 1, h - 1] - g[i] * v[h]
                    F[i, h] = F[i - 1, h - 1] - (f[i] * g[h] + g[i] * f[h])
                else:
                    P[i, h] = (1.0 if i == 0 else 0.0) - g[i] * v[h]
                    F[i, h] = (1.0 if i == 0 else 0.0) - (f[i] * g[h] + g[i] * f[h])


@jit
def corner(
    C: FloatArray, E: FloatArray, c: FloatArray, weights: FloatArray, gamma: float, first: FloatArray, gram: FloatArray
) -> None:
    """Close (C, E) with column 0.

    Parameters
    ----------
    C, E : ndarray, shape (k+1, k+1)
        The state of rows 0 … k; the lower triangles count.
    c : ndarray, shape (k+1,)
        Column 0 over √n.
    weights : ndarray, shape (k, K)
        First k coordinates of the K sources, which have no others.
    gamma : float
        Ridge penalty γ.
    first : ndarray, shape (K+1,)
        Written: ``⟨w_a, e₁⟩``.
    gram : ndarray, shape (K+1, K+1)
        Written: ``⟨w_a, w_b⟩``.
    """
    rows, sources = len(c), weights.shape[1]
    A, Z = np.empty((rows, rows), C.dtype), np.empty((rows, sources + 1), C.dtype)
    for i in range(rows):
        for h in range(rows):
            A[i, h] = C[max(i, h), min(i, h)] + c[i] * c[h]
        Z[i, 0] = c[i]
        for a in range(sources):
            Z[i, a + 1] = gamma * weights[i, a] if i < rows - 1 else 0.0
    for i in range(rows):  # positive definite: no pivoting
        for h in range(i + 1, rows):
            ratio = A[h, i] / A[i, i]
            for j in range(i + 1, rows):
                A[h, j] -= ratio * A[i, j]
            for a in range(sources + 1):
                Z[h, a] -= ratio * Z[i, a]
    for i in range(rows - 1, -1, -1):
        for a in range(sources + 1):
            for h in range(i + 1, rows):
                Z[i, a] -= A[i, h] * Z[h, a]
            Z[i, a] /= A[i, i]
    for a in range(sources + 1):
        first[a] = Z[0, a]
        for b in range(a + 1):
            gram[a, b] = 0.0
            for i in range(rows):
                for h in range(rows):
                    gram[a, b] += Z[i, a] * E[max(i, h), min(i, h)] * Z[h, b]
            gram[b, a] = gram[a, b]


@jit
def corner_inverse(
    P: FloatArray, F: FloatArray, c: FloatArray, weights: FloatArray, gamma: float, first: FloatArray, gram: FloatArray
) -> None:
    """Close (Π, F) with column 0.

    Parameters
    ----------
    P, F : ndarray, shape (k+1, k+1)
        The state of rows 0 … k; the lower triangles count.
    c : ndarray, shape (k+1,)
        Column 0 over √n.
    weights : ndarray, shape (k, K)
        First k coordinates of the K sources, which have no others.
    gamma : float
        Ridge penalty γ.
    first : ndarray, shape (K+1,)
        Written: ``⟨w_a, e₁⟩``.
    gram : ndarray, shape (K+1, K+1)
        Written: ``⟨w_a, w_b⟩``.
    """
    rows, sources = len(c), weights.shape[1]
    v, f = np.zeros(rows, P.dtype), np.zeros(rows, P.dtype)
    pivot, curvature = gamma + 0.0 * c[0], 0.0 * c[0]
    for i in range(rows):
        for h in range(rows):
            v[i] += P[max(i, h), min(i, h)] * c[h]
            f[i] += F[max(i, h), min(i, h)] * c[h]
        pivot += c[i] * v[i]
        curvature += c[i] * f[i]
    first[0] = v[0] / pivot
    gram[0, 0] = curvature / pivot / pivot
    for a in range(sources):
        along, bent = 0.0 * pivot, 0.0 * pivot
        for h in range(rows - 1):
            along += v[h] * weights[h, a]
            bent += f[h] * weights[h, a]
        first[a + 1] = -v[0] * (along / pivot)
        for h in range(rows - 1):
            first[a + 1] += P[h, 0] * weights[h, a]
        gram[0, a + 1] = (bent - curvature * (along / pivot)) / pivot
        gram[a + 1, 0] = gram[0, a + 1]
        for b in range(a + 1):
            gram[a + 1, b + 1] = 0.0
            for i in range(rows - 1):
                for h in range(rows - 1):
                    new = F[max(i, h), min(i, h)]
                    new -= (f[i] * v[h] + v[i] * f[h] - v[i] * v[h] * (curvature / pivot)) / pivot
                    gram[a + 1, b + 1] += weights[i, a] * new * weights[h, b]
            gram[b + 1, a + 1] = gram[a + 1, b + 1]
