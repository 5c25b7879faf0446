r"""Covariance and bias of the numbers by the generic recipe of THEORY §8: an oracle without closed forms.

All that is taken from the package is the map of a column, `rmt_alpha.elimination`, and how it closes; they run here as
plain Python, on complex numbers or on those of mpmath. Its fixed point is found by iteration, derivatives by Cauchy's
formula, the stationary covariance by SciPy's Lyapunov solver, the drift by linear solves; then the delta method to
second order, through the corner, in everything that is random there: the state, the last q columns, the share ε̂ of
flipped labels, and of a trained source (a, ‖w̃‖²) and the direction of the rest.

Where the theory rotates the samples by the true labels, here it is by the observed ones, as in the sampler: the mean
enters the columns as ``t̂μ`` and ``τ̂μ``. Both forms of the state are at hand, (C, E) and (Π, F).
"""

import math
import types
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mpmath import mp, mpf
from scipy import linalg

from rmt_alpha import elimination


class Expansion(NamedTuple):
    """Limit, bias and covariance, in the order (M₀, …, M_K, V₀₀, V₀₁, …, V_KK)."""

    limit: np.ndarray
    bias: np.ndarray
    cov: np.ndarray


class Trained(NamedTuple):
    """A source that is trained on n samples of a task with this mean."""

    mean: np.ndarray
    n: float
    gamma: float
    label_noise: float = 0.0
    scale: float = 1.0


def plain(kernel):
    """The same code for arrays of any numbers."""
    function = getattr(kernel, "py_func", kernel)
    names = function.__globals__ | {"local": lambda size, like: np.empty(len(size), like.dtype)}
    return types.FunctionType(function.__code__, names)


class Map(NamedTuple):
    """The map of the elimination for states of one size, in one of its two forms, on flat arrays."""

    gamma: float
    size: int
    inverse: bool

    def matrices(self, state):
        T = self.size * (self.size + 1) // 2
        result = np.zeros((2, self.size, self.size), state.dtype)
        i, j = np.tril_indices(self.size)
        result[:, i, j] = state[:T], state[T:]
        return result

    def flat(self, matrices):
        i, j = np.tril_indices(self.size)
        return matrices[:, i, j].ravel()

    def __call__(self, state, column):
        absorb = plain(elimination.absorb_inverse if self.inverse else elimination.absorb)
        matrices = self.matrices(state)
        absorb(*matrices, column[:, None], 1, self.gamma, (0.0,) * self.size)
        return self.flat(matrices)

    def close(self, state, q, column, weights):
        """⟨w_a, e₁⟩, and the upper triangle of ⟨w_a, w_b⟩; of sources with coordinates `weights`, shape (k, K)."""
        C, E = self.matrices(state)[:, q - 1 :, q - 1 :]
        K = weights.shape[1]
        first, gram = np.empty(K + 1, state.dtype), np.empty((K + 1, K + 1), state.dtype)
        corner = plain(elimination.corner_inverse if self.inverse else elimination.corner)
        corner(C, E, column, weights, self.gamma, first, gram)
        return np.concatenate([first, gram[np.triu_indices(K + 1)]])

    def column(self, eta, zero=0.0):
        """The limit of a column near the corner."""
        root = mp.sqrt(eta) if isinstance(eta, mpf) else math.sqrt(eta)
        return np.array([1.0 + zero, *[zero] * (self.size - 1), root])

    def fixed_point(self, eta, digits=30):
        """Iterate until it is near, then by Newton's method with derivatives of 16 digits; numbers of mpmath."""
        with mp.workdps(digits):
            exact = self._replace(gamma=mpf(self.gamma))
            column, rough = exact.column(mpf(eta), mpf(0)), self.column(float(eta)).astype(complex)
            first = mpf(1) if self.inverse else mpf(self.gamma)
            state = self.flat(np.stack([first * np.eye(self.size, dtype=int), mpf(1) * np.eye(self.size, dtype=int)]))
            step = state
            while np.abs(step / _state_scale(state)).max() > 1e-4:
                before = state
                for _ in range(self.size):
                    state = exact(state, column)
                step = state - before
            while np.abs(step / _state_scale(state)).max() > mpf(10) ** (5 - digits):
                J = derivatives(lambda x: self(x, rough), state.astype(float), np.eye(len(state)), _state_scale(state))[
                    0
                ]
                inverse = np.linalg.inv(np.eye(len(state)) - J.T)
                step = inverse @ (exact(state, column) - state)
                state = state + step
            return state


def derivatives(
    f: Callable[[np.ndarray], np.ndarray], at: np.ndarray, directions: np.ndarray, scale: np.ndarray | float
) -> tuple[np.ndarray, np.ndarray]:
    """First and second derivatives along directions (rows), of a function that is real on the real axis.

    By Cauchy's formula on a circle of 8 points, in the length of ``direction / scale`` one of 0.03: what is neglected
    is the share of the ninth derivative (the tenth for the second), 1e-12.
    """
    turns = np.exp(1j * np.pi * (np.arange(4) + 0.5) / 4)  # the other half is conjugate
    first, second = [], []
    for direction in directions:
        length = np.abs(direction / scale).max()
        radius = 0.03 / length if length > 0.0 else 1.0
        values = np.stack([f(at + radius * turn * direction) for turn in turns])
        first.append((values / turns[:, None]).real.mean(axis=0) / radius)
        second.append(2.0 * (values / turns[:, None] ** 2).real.mean(axis=0) / radius**2)
    return np.stack(first), np.stack(second)


def propagate(f, inputs: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]) -> Expansion:
    """The delta method to second order, for independent inputs (value, bias, covariance, scale on which f varies)."""
    at, bias, scale = (np.concatenate([x[i] for x in inputs]) for i in (0, 1, 3))
    values, vectors = [], []
    for cov in (x[2] for x in inputs):
        units = np.sqrt(np.maximum(np.diagonal(cov), 1e-300))
        lengths, axes = np.linalg.eigh(cov / units / units[:, None])
        values.append(np.sqrt(np.maximum(lengths, 0.0)))
        vectors.append(units[:, None] * axes)
    directions = (linalg.block_diag(*vectors) * np.concatenate(values)).T
    directions = directions[np.abs(directions).max(axis=1) > 0.0]
    first, second = derivatives(f, at, directions, scale)
    drift = derivatives(f, at, bias[None], scale)[0][0] if np.any(bias) else 0.0
    return Expansion(f(at.astype(complex)).real, drift + 0.5 * second.sum(axis=0), first.T @ first)


class Stationary(NamedTuple):
    """The chain near the corner: the state's limit, J, B, n times its covariance, and after column j n times its bias.

    The bias is ``level + j · slope``.
    """

    point: np.ndarray
    jacobian: np.ndarray
    input: np.ndarray
    covariance: np.ndarray
    level: np.ndarray
    slope: np.ndarray


def stationary(chain: Map, eta: float, k: int) -> Stationary:
    """Linearise around the fixed point; solve for covariance and drift."""
    point, column = chain.fixed_point(eta).astype(float), chain.column(eta)
    size, T = chain.size, len(point)
    scales = _state_scale(point), _column_scale(chain, eta)
    step = _split(chain, [T])
    J = derivatives(lambda x: chain(x, column.astype(complex)), point, np.eye(T), scales[0])[0].T
    B = derivatives(lambda c: chain(point.astype(complex), c), column, np.eye(size + 1), scales[1])[0].T
    noise = _noise(size)
    P = linalg.solve_discrete_lyapunov(J, B * noise @ B.T)
    inputs = [(point, np.zeros(T), P, scales[0]), (column, np.zeros(size + 1), np.diag(noise), scales[1])]
    curved = propagate(step, inputs).bias
    constant, linear = _column_bias(size, eta, k)
    solve = np.eye(T) - J
    slope = np.linalg.solve(solve, B @ linear)
    level = np.linalg.solve(solve, J @ slope + B @ constant + curved)
    return Stationary(point, J, B, P, level, slope)


def _split(function, lengths):
    ends = np.cumsum(lengths)
    return lambda x: function(*np.split(x, ends))


def _noise(size):
    """n times the variances of a column: χ, normal, …, χ."""
    noise = np.ones(size + 1)
    noise[[0, -1]] = 0.5
    return noise


def _column_bias(size, eta, k):
    """n times the bias of column j, (χ_{n−j}, …, χ_{p−k−j})/√n: a constant, and what j multiplies."""
    constant, linear = np.zeros((2, size + 1))
    constant[[0, -1]] = -0.25, -(k / 2 + 0.25) / math.sqrt(eta)
    linear[[0, -1]] = -0.5, -0.5 / math.sqrt(eta)
    return constant, linear


def _state_scale(point):
    """C* and E* are multiples of the identity."""
    return np.repeat([float(point[0]), float(point[len(point) // 2])], len(point) // 2)


def _column_scale(chain, eta):
    return np.full(chain.size + 1, min(1.0, math.sqrt(eta)))


def expand(
    mean: np.ndarray,
    n: float,
    p: float,
    gamma: float,
    sources: list[np.ndarray | Trained],
    *,
    label_noise: float = 0.0,
    q: int | None = None,
    inverse: bool = False,
) -> Expansion:
    """Return limit, bias and covariance of the numbers of a transfer, all vectors in the same c coordinates.

    q, the number of fixed sample directions, is 2 with label noise; without any, 1 and 2 must be the same.
    """
    q = q or (2 if label_noise else 1)
    c = len(mean)
    m = np.linalg.norm(mean)
    rotation = np.linalg.qr(np.column_stack([mean, np.eye(c)]))[0].T
    rotation = rotation * np.sign(rotation[0] @ mean) if m else np.eye(c)
    trained = [source for source in sources if isinstance(source, Trained)]
    k, eta = c + len(trained), p / n
    chain = Map(gamma, k + q, inverse)
    at = stationary(chain, eta, k)

    inputs = [(at.point, (at.level + q * at.slope) / n, at.covariance / n, _state_scale(at.point))]
    constant, linear = _column_bias(k + q, eta, k)
    for j in range(q - 1, -1, -1):
        variances = _noise(k + q)
        variances[: q - j] = 0.0  # rows above the first
        shift = constant + j * linear
        shift[: q - j] = 0.0
        column = chain.column(eta)
        column[0] = 0.0
        inputs.append((column, shift / n, np.diag(variances) / n, _column_scale(chain, eta)))
    flips = label_noise * (1.0 - label_noise)
    inputs.append((np.array([label_noise]), np.zeros(1), np.array([[flips / n]]), np.array([flips or 1.0])))
    for source in trained:
        own = expand(source.mean, source.n, p, source.gamma, [], label_noise=source.label_noise)
        units = source.scale / np.linalg.norm(source.mean), source.scale**2
        scaling = np.diag(units)
        along, square = own.limit * units
        spread = square - along * along
        scale = np.array([0.5 * spread / math.sqrt(square), spread])
        inputs.append((np.array([along, square]), own.bias * units, scaling @ own.cov @ scaling, scale))
        free = np.zeros(k)  # coordinates of a uniform direction
        inputs.append((free, free, np.eye(k) / p, np.ones(k)))

    def corner(*parts):
        state, columns, (flipped,), rest = parts[0], parts[1 : q + 1], parts[q + 1], list(parts[q + 2 :])
        t, tau = 1.0 - 2.0 * flipped, 2.0 * np.sqrt(flipped * (1.0 - flipped))
        weights = np.zeros((k, len(sources)), complex)
        number = c
        for i, source in enumerate(sources):
            if not isinstance(source, Trained):
                weights[:c, i] = rotation @ source
                continue
            (along, square), others = rest.pop(0), rest.pop(0).copy()
            direction = rotation @ source.mean / np.linalg.norm(source.mean)
            others[:c] -= direction * (direction @ others[:c])
            others[number:] = 0.0  # the product of two random directions is one number
            others[number] = np.sqrt(1.0 - others @ others)
            weights[:, i] = np.sqrt(square - along * along) * others
            weights[:c, i] += along * direction
            number += 1
        if q == 2:
            column = columns[0].copy()
            column[1] += tau * m
            state = chain(state, column)
        column = columns[-1][q:].copy()
        column[0] += t * m
        numbers = chain.close(state, q, column, weights)
        numbers[: len(sources) + 1] *= m
        return numbers

    return propagate(_split(corner, [len(x[0]) for x in inputs[:-1]]), inputs)


def exact_limit(m, along, across, eta, gamma, label_noise, *, inverse, digits=40):
    """The five numbers of the chain's fixed point, for a source with coordinates along and off the mean."""
    q = 2 if label_noise else 1
    with mp.workdps(digits):
        chain = Map(mpf(gamma), 2 + q, inverse)
        zero, root, flipped, m = mpf(0), mp.sqrt(mpf(eta)), mpf(label_noise), mpf(m)
        state = Map(gamma, 2 + q, inverse).fixed_point(eta, digits)
        if q == 2:
            state = chain(state, np.array([zero, 2 * mp.sqrt(flipped * (1 - flipped)) * m, zero, zero, root]))
        column, weights = np.array([(1 - 2 * flipped) * m, zero, root]), np.array([[mpf(along)], [mpf(across)]])
        numbers = chain.close(state, q, column, weights)
        numbers[:2] *= m
        return numbers.astype(float)
