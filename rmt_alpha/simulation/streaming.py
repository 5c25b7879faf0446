r"""Exact finite-size experiments without matrices: time O(min(N, p) + min(n, p)) for a draw, memory O(1).

Statement (THEORY §7). For isotropic Gaussian data the law of (M, V) is that of a few numbers at the corner of a banded
random matrix, which `rmt_alpha.elimination` reaches column by column. A source is that routine with k = 1 fixed
feature direction (its mean); K sources make one target with k = K+1 (its mean and the source weights).

- *Source.* It yields ``a = ⟨w̃, μ⟩/‖μ‖`` and ``‖w̃‖²``. Nothing else singles out a direction: w̃ is ``a μ/‖μ‖`` plus
  ``√(‖w̃‖² − a²)`` in a direction that is uniform among those orthogonal to μ, independent of all else. Its coordinates
  in the span of all means, and along the parts of the earlier sources outside of it, are those of a normalised Gaussian
  vector.
- *Target.* The first fixed direction is that of the target's mean, the next ones are w̃₁, …, w̃_K made orthonormal.
- *Label noise.* Rotate the samples so that ``y_observed = √n f₁``. Of n labels a share ``ε̂ ~ Binomial(n, ε)/n`` is
  flipped, so ``⟨y_true, y_observed⟩/n = 1 − 2ε̂`` and ``y_true = √n [(1−2ε̂) f₁ + 2√(ε̂(1−ε̂)) f₂]``: the direction f₂ is
  fixed as well (q = 2), and the mean enters columns 0 and 1. Which labels were flipped does not matter, since the noise
  looks the same from everywhere. A single sample has no f₂: its label is right or wrong (q = 1, ε̂ = 0 or 1).

All target means of an experiment (an array of β) share its noise: a mean enters the last columns only.

Random numbers. A column takes normals and two χ variates. χ_ν with ν ≥ 8 comes from a normal z by Marsaglia and Tsang's
cube, ``χ² = 2d(1+t)³``, ``d = ν/2 − 1/3``, ``t = z/(3√d)``, accepted with probability ``e^{−h}``,
``h = 3d [log-series of t from t⁴ on] = d (3t − 3t²/2 + t³ − 3 log(1+t))``. Since ``h ≤ h̄ = z⁴/(54 d)`` for t ≥ −½ is
nearly always tiny, no uniform number is drawn for it: an exponential clock runs down by h̄, and where it rings there is
a rejection with probability ``(1 − e^{−h})/(1 − e^{−h̄})``, so that all are what they would be one by one. χ with fewer
degrees of freedom is the length of a normal vector.

Reference: G. Marsaglia and W. W. Tsang, "A simple method for generating gamma variables", ACM TOMS 26 (2000) 363–372.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_alpha._jit import jit, routine
from rmt_alpha._random import stream
from rmt_alpha._validation import FloatArray, integer
from rmt_alpha.coordinates import TrainedSource, isotropic_coordinates
from rmt_alpha.elimination import absorb, absorb_inverse, corner, corner_inverse, start
from rmt_alpha.problem import Experiment, GaussianMixture, RidgeSource, Source, check_sources
from rmt_alpha.simulation.specification import of_experiment, of_transfer

_BLOCK = 64
"""Columns drawn at a time: enough to keep loops vectorised, few enough to stay in the processor's first cache."""

_LONGEST = 1e5
"""Means may be so many standard deviations long: their square, times float64's 2e-16, is lost in precision."""

_SQUARES = 8
"""Below so many degrees of freedom χ is made of squares."""


# Random columns.


@jit
def _chi(rng: np.random.Generator, dof: int) -> float:
    """Draw one χ variate."""
    if dof < _SQUARES:
        total = 0.0
        for _ in range(dof):
            total += rng.standard_normal() ** 2
        return math.sqrt(total)
    d = 0.5 * dof - 1.0 / 3.0
    while True:
        z = rng.standard_normal()
        if rng.standard_exponential() > _hazard(z, dof):
            return math.sqrt(2.0 * d * (1.0 + z / (3.0 * math.sqrt(d))) ** 3)


@jit
def _hazard(z: float, dof: int) -> float:
    """Return h, minus the logarithm of the probability to accept the proposal that is made of z."""
    if dof < _SQUARES:
        return 0.0
    d = 0.5 * dof - 1.0 / 3.0
    t = z / (3.0 * math.sqrt(d))
    if t <= -1.0:
        return np.inf
    return max(d * (t * (3.0 - t * (1.5 - t)) - 3.0 * math.log1p(t)), 0.0)


@jit
def _propose(z: FloatArray, count: int, dof: int, scale: float, bound: FloatArray, chi: FloatArray) -> None:
    """Turn normals into proposals of ``scale χ`` with `dof`, `dof` + 1, … degrees of freedom; add h̄ to `bound`."""
    for b in range(count):
        twice = max(dof + b - 2.0 / 3.0, 1.0)
        root = math.sqrt(twice)
        t = (math.sqrt(2.0) / 3.0) * z[b] / root
        square = z[b] * z[b]
        bound[b] += square * square / (27.0 * twice) if t >= -0.5 else np.inf
        chi[b] = scale * root * (1.0 + t) * math.sqrt(max(1.0 + t, 0.0))


@jit
def _draw(
    rng: np.random.Generator,
    j: int,
    count: int,
    n: int,
    p: int,
    q: int,
    clock: float,
    columns: FloatArray,
    normals: FloatArray,
    bound: FloatArray,
) -> float:
    """Draw columns j, …, j − count + 1 over √n into those of `columns`, which has a row per entry; return the clock."""
    last = len(columns) - 1
    k, scale = last - q, 1.0 / math.sqrt(n)
    for i in range(1, last):
        for b in range(count):
            columns[i, b] = scale * rng.standard_normal()
    for i in range(2):
        for b in range(count):
            normals[i, b] = rng.standard_normal()
    for b in range(count):
        bound[b] = 0.0
    upper, lower = n - j, p - k - j
    _propose(normals[0], count, upper, scale, bound, columns[0])
    _propose(normals[1], count, lower, scale, bound, columns[last])
    for b in range(count):
        clock -= bound[b]
        if clock < 0.0:
            if rng.random() * -math.expm1(-bound[b]) < -math.expm1(
                -_hazard(normals[0, b], upper + b) - _hazard(normals[1, b], lower + b)
            ):
                columns[0, b] = scale * _chi(rng, upper + b)
                columns[last, b] = scale * _chi(rng, lower + b)
            clock = rng.standard_exponential()
    for b in range(min(count, _SQUARES - upper)):
        columns[0, b] = scale * _chi(rng, upper + b)
    for b in range(min(count, _SQUARES - lower)):
        columns[last, b] = scale * _chi(rng, lower + b)
    for b in range(min(count, j + k - p)):  # rows from p on
        for i in range(last):
            if j - b - q + i >= p:
                columns[i, b] = 0.0
    for b in range(max(0, j - q + 1), count):  # rows above the first
        for i in range(q - j + b):
            columns[i, b] = 0.0
    return clock


@routine
def _resolve(
    rng: np.random.Generator,
    n: int,
    p: int,
    gamma: float,
    norms: FloatArray,
    weights: FloatArray,
    flipped: FloatArray,
    size: tuple[float, ...],
    first: FloatArray,
    gram: FloatArray,
) -> None:
    """Carry out one experiment per entry of `flipped` (ε̂), each for all means.

    norms (means,); weights (trials, means, k, K); first (trials, means, K+1) and gram (trials, means, K+1, K+1) are
    written: the margins' means over the norms, and their covariances.
    """
    k = weights.shape[2]
    q, state = len(size) - k, len(size)
    last = min(n, p + q) - 1
    C, E = np.empty((state, state)), np.empty((state, state))
    C0, E0 = np.empty((state, state)), np.empty((state, state))
    columns, final = np.empty((state + 1, _BLOCK)), np.empty((state + 1, q))
    own, c = np.empty((state + 1, 1)), np.empty(k + 1)
    normals, bound = np.empty((2, _BLOCK)), np.empty(_BLOCK)
    for trial in range(len(flipped)):
        clock = rng.standard_exponential()
        start(C0, E0, 1.0 if p > n else gamma, last - q + 1, p)
        j = last
        while j >= q:
            count = min(_BLOCK, j - q + 1)
            clock = _draw(rng, j, count, n, p, q, clock, columns, normals, bound)
            if p > n:
                absorb_inverse(C0, E0, columns, count, gamma, size)
            else:
                absorb(C0, E0, columns, count, gamma, size)
            j -= count
        _draw(rng, q - 1, q, n, p, q, clock, final, normals, bound)
        share = flipped[trial]
        for i in range(len(norms)):
            written = first[trial, i], gram[trial, i]
            for a in range(state):
                for b in range(state):
                    C[a, b] = C0[a, b]
                    E[a, b] = E0[a, b]
            for a in range(state + 1):
                own[a, 0] = final[a, 0]
            own[1, 0] += 2.0 * math.sqrt(share * (1.0 - share)) * norms[i]
            for a in range(k + 1):
                c[a] = final[q + a, q - 1]
            c[0] += (1.0 - 2.0 * share) * norms[i]
            if p > n:
                absorb_inverse(C, E, own, q - 1, gamma, size)
                corner_inverse(C[q - 1 :, q - 1 :], E[q - 1 :, q - 1 :], c, weights[trial, i], gamma, *written)
            else:
                absorb(C, E, own, q - 1, gamma, size)
                corner(C[q - 1 :, q - 1 :], E[q - 1 :, q - 1 :], c, weights[trial, i], gamma, *written)


@dataclass(frozen=True, eq=False)
class Streaming:
    """Sampler of an isotropic Gaussian transfer problem that makes no matrices.

    All vectors are given by their coordinates in an orthonormal basis of a space of dimension d ≤ p that holds them.

    Parameters
    ----------
    means : ndarray, shape (..., d)
        Target means; they share the sources and the noise of each trial.
    n, p : int
        Number of target samples, and dimension.
    gamma : float
        Ridge penalty γ ≥ 0 of the fine-tuning.
    label_noise : float
        Probability that a target label is flipped.
    sources : tuple of TrainedSource or ndarray, shape (d,)
        The K sources, trained or of fixed weights.
    problem : dict
        What `specification` says of the problem, in terms of JSON: as it was posed, for the coordinates are only as
        good as rounding.

    Raises
    ------
    ValueError
        If a number of samples or dimensions exceeds 2⁵³.

    Examples
    --------
    >>> sampler = Streaming(np.array([0.8, 0.6]), 500, 1000, 0.1, 0.0, (np.array([1.0, 0.0]),), {})
    >>> draws = sampler.sample(np.random.SeedSequence(0), trials=2)
    >>> draws["mean"].shape, draws["cov"].shape
    ((2, 2), (2, 2, 2))
    """

    means: FloatArray
    n: int
    p: int
    gamma: float
    label_noise: float
    sources: tuple[TrainedSource | FloatArray, ...]
    problem: dict[str, Any]

    def __post_init__(self) -> None:
        trained = [("n_source", source.n) for source in self.sources if isinstance(source, TrainedSource)]
        for name, size in [("n", self.n), ("p", self.p), *trained]:
            if size > 2**53:
                raise ValueError(f"{name} must be at most 2^53, got {size}")

    @property
    def chunk(self) -> int:
        """Trials per chunk: those of about 2²⁰ columns, 30 ms of work, but 1 at least and 4096 at most.

        A source of N samples counts min(N, p) columns, the target min(n, p) and 16 for each of its means.
        """
        sizes = [self.n, *(int(source.n) for source in self.sources if isinstance(source, TrainedSource))]
        columns = sum(min(size, self.p) for size in sizes) + 16 * math.prod(self.means.shape[:-1])
        return min(max(2**20 // columns, 1), 4096)

    @property
    def record(self) -> dict[str, tuple[int, ...]]:
        """Arrays of one trial: their names and shapes."""
        shape, size = self.means.shape[:-1], len(self.sources) + 1
        return {"mean": (*shape, size), "cov": (*shape, size, size)}

    @property
    def memory(self) -> float:
        """Bytes that a chunk in work needs beside its records; no dimension of the data appears."""
        d, size = self.means.shape[-1] + len(self.sources), len(self.sources) + 1
        return 32.0 * float(self.chunk * math.prod(self.means.shape[:-1]) * (d + size) * size)

    @property
    def specification(self) -> dict[str, Any]:
        """The problem and the method in terms of JSON."""
        return {"method": "streaming", **self.problem}

    def sample(self, root: np.random.SeedSequence, trials: int) -> dict[str, FloatArray]:
        """Carry out the first trials of a chunk.

        Parameters
        ----------
        root : SeedSequence
            The chunk's root.
        trials : int
            Number of trials; fewer are the beginning of more.

        Returns
        -------
        dict of ndarray
            The arrays of `record`, with a leading trials axis.
        """
        d, K = self.means.shape[-1], len(self.sources)
        means = self.means.reshape(-1, d)
        weights = np.zeros((trials, min(self.p, d + K), K))
        for k, source in enumerate(self.sources):
            if isinstance(source, TrainedSource):
                weights[:, :, k] = self._train(root, k + 1, source, weights.shape[1], trials)
            else:
                weights[:, :d, k] = source
        norms = np.sqrt(np.square(means).sum(axis=-1))
        coordinates = _triangular(means, norms, weights)
        first, gram = _experiments(root, 0, self.n, self.p, self.gamma, self.label_noise, norms, coordinates)
        record = self.record
        return {
            "mean": (norms[:, None] * first).reshape(trials, *record["mean"]),
            "cov": gram.reshape(trials, *record["cov"]),
        }

    def _train(
        self, root: np.random.SeedSequence, role: int, source: TrainedSource, dimension: int, trials: int
    ) -> FloatArray:
        """Return the coordinates of a trained source, shape (trials, dimension)."""
        norm = float(np.sqrt(np.square(source.mean).sum()))
        unit = source.mean / norm if norm > 0.0 else np.eye(len(source.mean))[0]
        along, square = _experiments(
            root,
            role,
            int(source.n),
            self.p,
            source.gamma,
            source.label_noise,
            np.array([norm]),
            np.empty((trials, 1, 1, 0)),
        )
        along = along[:, 0]
        across = np.sqrt(np.maximum(square[:, 0, 0] - along**2, 0.0))
        # A Gaussian vector orthogonal to the mean: in the span, along the earlier sources' own axes, along its new one.
        known = min(dimension, len(unit) + role - 1)
        direction = np.zeros((trials, dimension))
        direction[:, :known] = stream(root, role, 2).standard_normal((trials, known))
        span = direction[:, : len(unit)]
        span -= (span @ unit)[:, None] * unit
        if known < self.p:
            direction[:, known] = np.sqrt(stream(root, role, 3).chisquare(self.p - known, trials))
        length = np.sqrt(np.square(direction).sum(axis=-1, keepdims=True))
        np.divide(direction, length, out=direction, where=length > 0.0)
        direction *= across
        span += along * unit
        return source.scale * direction


def _experiments(
    root: np.random.SeedSequence,
    role: int,
    n: int,
    p: int,
    gamma: float,
    label_noise: float,
    norms: FloatArray,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Draw the flips of the labels and carry out the experiments of a role: `first` and `gram` of `_resolve`."""
    trials, B, k, K = weights.shape
    flipped = np.asarray(stream(root, role, 1).binomial(n, label_noise, trials) / n)
    q = 2 if label_noise > 0.0 and n > 1 else 1
    first, gram = np.empty((trials, B, K + 1)), np.empty((trials, B, K + 1, K + 1))
    _resolve(stream(root, role, 0), n, p, gamma, norms, weights, flipped, (0.0,) * (k + q), first, gram)
    return first, gram


def _triangular(means: FloatArray, norms: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the coordinates of the sources (trials, D, K) in axes that begin with each mean: (trials, means, K+1, K).

    The next axes are those of the sources made orthonormal. A source that adds no direction adds no axis.
    """
    trials, D, K = weights.shape
    B, d = means.shape
    first = np.zeros((B, D))
    first[:, :d] = means
    first[norms == 0.0, 0] = 1.0
    first /= np.where(norms == 0.0, 1.0, norms)[:, None]
    axes = [np.broadcast_to(first, (trials, B, D))]
    result = np.zeros((trials, B, K + 1, K))
    for k in range(K):
        rest = np.repeat(weights[:, None, :, k], B, axis=1)
        size = np.sqrt(np.square(rest).sum(axis=-1))
        for _ in range(2):  # once more against what rounding left
            for i, axis in enumerate(axes):
                coordinate = (axis * rest).sum(axis=-1)
                result[:, :, i, k] += coordinate
                rest = rest - coordinate[..., None] * axis
        length = np.sqrt(np.square(rest).sum(axis=-1))
        length[length <= 8 * D * np.finfo(np.float64).eps * size] = 0.0
        result[:, :, k + 1, k] = length
        axes.append(np.divide(rest, length[..., None], out=np.zeros_like(rest), where=length[..., None] > 0.0))
    return result


def isotropic(experiment: Experiment) -> Streaming:
    """Return the sampler of an isotropic experiment.

    Parameters
    ----------
    experiment : Experiment
        The problem; all entries of its `beta` share the source and the noise of a trial.

    Returns
    -------
    Streaming
        Its record has the shape of `beta`.

    Examples
    --------
    >>> isotropic(Experiment([0.2, 0.8], n=20, p=40, gamma=0.1)).record
    {'mean': (2, 2), 'cov': (2, 2, 2)}
    """
    e, d = experiment, min(experiment.p, 2)
    _require_precise("mu", e.mu)
    _require_precise("mu_perp", e.mu_perp)
    mu = np.array([e.mu, 0.0])[:d]
    source: TrainedSource | FloatArray = mu
    if e.n_source is not None and e.gamma_source is not None:
        source = TrainedSource(mu, e.n_source, e.gamma_source, e.label_noise_source)
    return Streaming(e.coordinates[..., :d], e.n, e.p, e.gamma, e.label_noise, (source,), of_experiment(e))


def isotropic_mixtures(target: GaussianMixture, n: int, gamma: float, sources: Iterable[Source]) -> Streaming:
    """Return the sampler of a transfer between mixtures whose covariances are multiples of the identity.

    Parameters
    ----------
    target : GaussianMixture
        The target task.
    n : int
        Number of target samples.
    gamma : float
        Ridge penalty of the fine-tuning.
    sources : iterable of RidgeSource or FixedSource
        The sources.

    Returns
    -------
    Streaming
        Of one target mean.

    Raises
    ------
    ValueError
        If a covariance is not a positive multiple of the identity.

    Examples
    --------
    >>> from rmt_alpha.problem import FixedSource
    >>> target = GaussianMixture([1.0, 0.5, 0.0], covariance=2.0)
    >>> isotropic_mixtures(target, n=20, gamma=0.1, sources=[FixedSource([1.0, 0.0, 0.0])]).record
    {'mean': (2,), 'cov': (2, 2)}
    """
    sources = check_sources(target, sources)
    n = integer("n", n)
    reduced = isotropic_coordinates(target, gamma, sources)
    _require_precise("target.mean", _longest(target))
    for k, source in enumerate(sources):
        if isinstance(source, RidgeSource):
            _require_precise(f"sources[{k}].mixture.mean", _longest(source.mixture))
            integer(f"sources[{k}].n", source.n)
    problem = of_transfer(target, n, gamma, sources)
    return Streaming(reduced.mean, n, target.p, reduced.gamma, target.label_noise, reduced.sources, problem)


def _longest(mixture: GaussianMixture) -> float:
    """Return the largest entry of the mean, in standard deviations."""
    return float(np.abs(mixture.mean).max() / mixture.root)


def _require_precise(name: str, ratio: float) -> None:
    """Refuse means beside which float64 would not see the noise."""
    if not ratio <= _LONGEST:
        raise ValueError(
            f"{name} must be at most {_LONGEST:g} standard deviations of the noise to be sampled by streaming, which "
            f"loses digits like its square; got {ratio:.3g}"
        )
