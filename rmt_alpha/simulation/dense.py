r"""Finite-size experiments with their matrices: any covariance, any noise, any sources; the reference for all else.

A trial makes the data sets of THEORY §1, trains each ridge source on its own, and solves the fine-tuning once: with K
sources ``w_α = w₀ + Σ α_k w_k`` is affine in α, W = (w₀, …, w_K). Given the weights, the margin of a fresh target point
has the moments

    M = Wᵀμ,        V = WᵀΣW,

whatever the law of the noise: no test-set noise, and good for every α. With Gaussian noise the margin is Gaussian and
this is all there is to know. With other noise the margins ``y Wᵀx`` of a fresh test sample are kept beside it.

Samples. Noise that is symmetric about 0 does not see the true label y, so rows are made as ``y x = μ + Σ^{1/2}z``, as
if y = 1 for all, and training sees the labels f = 1, or −1 where one was flipped. With Z the matrix of the
``Σ^{1/2}z``, the data matrix ``X = Z + 1μᵀ`` is never formed: the mean changes a Gram matrix by rank two, and all
target means share that of the noise,

    p ≤ n:   XᵀX = ZᵀZ + aμᵀ + μaᵀ,   a = Zᵀ1 + μ n/2,         Xᵀf = Zᵀf + μ 1ᵀf,
    p > n:   XXᵀ = ZZᵀ + a1ᵀ + 1aᵀ,   a = Zμ + 1 ‖μ‖²/2,       Xw = Zw + 1 μᵀw,       Xᵀc = Zᵀc + μ 1ᵀc.

For p ≤ n only sums over samples are needed, so noise is made in blocks and forgotten.

Randomness. Role 0 is the target, role k source k. Each role has streams of its own for noise, flips of labels and test
points: the children (role, 0), (role, 1), (role, 2) of the chunk's root, from which its trials draw one after another.

Cost of a data set of n samples: O(np·min(n, p)) time; O(p²) memory for p ≤ n and O(np) for p > n, besides n labels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rmt_alpha._random import stream
from rmt_alpha._validation import FloatArray, check_memory, integer, real, real_array
from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture, RidgeSource, Source, Task, check_sources
from rmt_alpha.ridge import dual, primal
from rmt_alpha.simulation.noise import GAUSSIAN, Noise
from rmt_alpha.simulation.specification import as_json, of_experiment, of_transfer

TEST_SIZE = 2000
"""Test points of a trial with non-Gaussian noise, unless told otherwise."""

_BLOCK = 2**17
"""Numbers in a block of noise: 1 MB, about what a cache holds."""

_ROWS = 256
"""Rows in a block at least, so that adding its products to a large Gram matrix costs little beside making them."""


@dataclass(frozen=True, eq=False)
class Dense:
    """Sampler of a transfer problem that makes its matrices.

    Parameters
    ----------
    target : GaussianMixture
        The target task.
    n : int
        Number of target samples.
    gamma : float
        Ridge penalty γ ≥ 0 of the fine-tuning.
    sources : iterable of RidgeSource or FixedSource, default ()
        The K sources.
    noise : Noise
        Law of the noise, in all tasks.
    test_size : int, optional
        Test points of each trial with non-Gaussian noise, by default 2000; forbidden with Gaussian noise.
    means : array_like, shape (..., p), optional
        Target means, which share the sources and the noise of each trial; by default the one of `target`.
    problem : dict, optional
        What `specification` says of the problem, in terms of JSON; by default all parameters above.

    Raises
    ------
    ValueError
        If a number of samples is not an integer, a dimension does not fit, or a parameter is outside its range. So that
        nothing overflows, entries of means and weights end at 1e30, those of covariances and penalties at 1e60.

    Examples
    --------
    >>> target = GaussianMixture([1.0, 0.5, 0.0], covariance=[1.0, 2.0, 0.5])
    >>> sampler = Dense(target, n=20, gamma=0.1, sources=[FixedSource([1.0, 0.0, 0.0])])
    >>> draws = sampler.sample(np.random.SeedSequence(0), trials=5)
    >>> draws["mean"].shape, draws["cov"].shape
    ((5, 2), (5, 2, 2))
    """

    target: GaussianMixture
    n: int
    gamma: float
    sources: tuple[Source, ...] = ()
    noise: Noise = GAUSSIAN
    test_size: int | None = None
    means: FloatArray | None = None
    problem: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        sources = check_sources(self.target, self.sources)
        if self.noise.gaussian and self.test_size is not None:
            raise ValueError("test_size needs non-Gaussian noise: with Gaussian noise the accuracy of a trial is exact")
        if not self.noise.gaussian:
            test_size = integer("test_size", TEST_SIZE if self.test_size is None else self.test_size)
            object.__setattr__(self, "test_size", test_size)
        _prepare("target", self.target)
        means = real_array("means", self.target.mean if self.means is None else self.means, -1e30, 1e30).view()
        if means.shape[-1:] != (self.target.p,):
            raise ValueError(f"means must have a trailing axis of length {self.target.p}, got shape {means.shape}")
        means.flags.writeable = False
        object.__setattr__(self, "means", means)
        object.__setattr__(self, "sources", sources)
        object.__setattr__(self, "n", integer("n", self.n))
        object.__setattr__(self, "gamma", real("gamma", self.gamma, 0.0, 1e60))
        for k, source in enumerate(sources):
            if isinstance(source, FixedSource):
                real_array(f"sources[{k}].weights", source.weights, -1e30, 1e30)
            else:
                integer(f"sources[{k}].n", source.n)
                real(f"sources[{k}].gamma", source.gamma, 0.0, 1e60)
                _prepare(f"sources[{k}].mixture", source.mixture)

    @property
    def _means(self) -> FloatArray:
        assert self.means is not None  # since __post_init__
        return self.means

    @property
    def chunk(self) -> int:
        """Trials per chunk: an estimated 0.2 s of work, but 1 at least, and at most 256 or 32 MB of records.

        The estimate: 0.1 ms for a trial. For each data set, with q = min(n, p), 10 ns for each of n·p random numbers,
        0.02 ns for each of n·p·q products, 0.05 ns for each of n·p·p if its covariance is a full matrix; once per mean
        0.1 ms and 0.02 ns for each of q³ products. And 10 ns for each of test_size·p random numbers of a test sample.
        """
        work = 100_000_000 + 10_000 * (self.test_size or 0) * self.target.p
        work += sum(picoseconds(mixture, n, systems=means) for mixture, n, means in self._data_sets)
        numbers = sum(math.prod(shape) for shape in self.record.values())
        return max(min(200_000_000_000 // work, 2**22 // max(numbers, 1), 256), 1)

    @property
    def record(self) -> dict[str, tuple[int, ...]]:
        """Arrays of one trial: their names and shapes."""
        shape, size = self._means.shape[:-1], len(self.sources) + 1
        record: dict[str, tuple[int, ...]] = {"mean": (*shape, size), "cov": (*shape, size, size)}
        if self.test_size is not None:
            record["margins"] = (*shape, self.test_size, size)
        return record

    @property
    def memory(self) -> float:
        """Bytes that a chunk in work needs at most, beside its records: noise, Gram matrices, labels and weights."""
        p, size = self.target.p, len(self.sources) + 1
        noise = self._buffer
        if not self.noise.gaussian or any(mixture.covariance.ndim == 2 for mixture, _, _ in self._data_sets):
            noise += min(self._buffer, _block(p) * p)
        square = max(5.0 * min(n, p) ** 2 + 5.0 * n for _, n, _ in self._data_sets)
        return 8.0 * (noise + square + 6.0 * self._means.size * size) + 2**15

    @property
    def specification(self) -> dict[str, Any]:
        """The problem and the method in terms of JSON."""
        problem = self.problem
        if problem is None:
            problem = of_transfer(self.target, self.n, self.gamma, self.sources) | {"means": as_json(self._means)}
        noise = {"noise": self.noise.name, "dof": self.noise.dof, "test_size": self.test_size}
        return {"method": "dense", **problem, **noise}

    @property
    def _data_sets(self) -> list[tuple[GaussianMixture, int, int]]:
        """Mixture, samples and number of means of every data set that a trial makes, the target's first."""
        trained = [source for source in self.sources if isinstance(source, RidgeSource)]
        target = (self.target, self.n, self._means.size // self.target.p)
        return [target, *((source.mixture, int(source.n), 1) for source in trained)]

    @property
    def _buffer(self) -> int:
        """Numbers of noise in memory at once: for p > n a data set, which is needed twice, else a block."""
        p = self.target.p
        return max(min(self.test_size or 0, _block(p)) * p, *(buffer_size(n, p) for _, n, _ in self._data_sets))

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
        p, size = self.target.p, len(self.sources) + 1
        records = {name: np.empty((trials, *shape)) for name, shape in self.record.items()}
        means, w = self._means.reshape(-1, p), np.empty((p, size - 1))
        streams = [[stream(root, role, kind) for kind in (0, 1, 2)] for role in range(size)]
        buffer = np.empty(self._buffer)

        for trial in range(trials):
            for k, source in enumerate(self.sources):
                w[:, k] = self._source(source, k + 1, streams[k + 1], buffer)
            W = _train(self.target, self.n, self.gamma, means, w, self.noise, streams[0], buffer)
            half = self.target.apply_root(W)
            mean = (means[:, None, :] @ W)[:, 0]
            records["mean"][trial] = mean.reshape(self.record["mean"])
            records["cov"][trial] = (half.swapaxes(1, 2) @ half).reshape(self.record["cov"])
            if self.test_size is not None:
                margins = records["margins"][trial].reshape(-1, self.test_size, size)
                for rows, z in blocks(self.noise, streams[0][2], self.test_size, p, buffer):
                    np.add(z @ half, mean[:, None], out=margins[:, rows])
        return records

    def _source(self, source: Source, role: int, streams: list[np.random.Generator], buffer: FloatArray) -> FloatArray:
        """Return the weights of a source, trained anew unless they are fixed."""
        if isinstance(source, FixedSource):
            return source.weights
        mixture, none = source.mixture, np.empty((source.p, 0))
        try:
            W = _train(mixture, int(source.n), source.gamma, mixture.mean[None], none, self.noise, streams, buffer)
        except ValueError as error:
            raise ValueError(f"source {role}: {error}") from None
        return W[0, :, 0]


def isotropic(experiment: Experiment, noise: Noise = GAUSSIAN, test_size: int | None = None) -> Dense:
    """Return the sampler of an isotropic experiment.

    Isotropic Gaussian noise looks the same from everywhere, so that μ and μ_⊥ may lie along two coordinate axes. Any
    other noise is not blind to the axes: along one of them the margin would be a single noise entry in law, however
    large p is. There the directions are spread over all coordinates, where the central limit theorem applies,

        μ/mu = (1, …, 1)/√p,        μ_⊥/mu_perp = √(2/p) cos(π(i+½)/p),   i = 0, …, p−1.

    Parameters
    ----------
    experiment : Experiment
        The problem; all entries of its `beta` share the source and the noise of a trial.
    noise : Noise
        Law of the noise.
    test_size : int, optional
        As in `Dense`.

    Returns
    -------
    Dense
        Its record has the shape of `beta`.

    Examples
    --------
    >>> sampler = isotropic(Experiment([0.2, 0.8], n=20, p=40, gamma=0.1))
    >>> sampler.record
    {'mean': (2, 2), 'cov': (2, 2, 2)}
    """
    e = experiment
    check_memory(f"{e.beta.size} means of p={e.p}", 24.0 * e.beta.size * e.p)
    axes = _axes(e.p, spread=not noise.gaussian)
    mu = e.mu * axes[0]
    source: Source = FixedSource(mu)
    if e.n_source is not None and e.gamma_source is not None:
        source = RidgeSource(GaussianMixture(mu, label_noise=e.label_noise_source), e.n_source, e.gamma_source)
    target = GaussianMixture(mu, label_noise=e.label_noise)
    means = e.coordinates @ axes
    return Dense(target, e.n, e.gamma, (source,), noise, test_size, means, of_experiment(e))


def _axes(p: int, *, spread: bool) -> FloatArray:
    """Return two orthonormal directions in rows, along coordinate axes or spread; p = 1 has no second one."""
    axes = np.zeros((2, p))
    if not spread:
        axes[[0, 1][:p], [0, 1][:p]] = 1.0
        return axes
    axes[0] = p**-0.5
    if p > 1:
        axes[1] = (2.0 / p) ** 0.5 * np.cos(np.pi * (np.arange(p) + 0.5) / p)
    return axes


def _train(
    mixture: GaussianMixture,
    n: int,
    gamma: float,
    means: FloatArray,
    w: FloatArray,
    noise: Noise,
    streams: list[np.random.Generator],
    buffer: FloatArray,
) -> FloatArray:
    """Return W of one data set for each of the means, shape (means, p, K+1), from source weights of shape (p, K)."""
    p = mixture.p
    f = np.ones(n)
    if mixture.label_noise:
        f[streams[1].random(n) < mixture.label_noise] = -1.0
    labels = np.stack([np.ones(n), f])
    W = np.empty((len(means), p, w.shape[1] + 1))

    if p <= n:
        gram, sums = np.zeros((p, p)), np.zeros((2, p))
        for rows, Z in blocks(noise, streams[0], n, p, buffer):
            mixture.colour(Z)
            gram += Z.T @ Z
            sums += labels[:, rows] @ Z
        for b, mu in enumerate(means):
            a = sums[0] + mu * (0.5 * n)
            W[b] = primal(gram + np.outer(a, mu) + np.outer(mu, a), sums[1] + mu * f.sum(), w, n, gamma)
        return W

    Z = buffer[: n * p].reshape(n, p)
    for _, block in blocks(noise, streams[0], n, p, buffer, keep=True):
        mixture.colour(block)
    gram, Zw = Z @ Z.T, Z @ w
    for b, mu in enumerate(means):
        a = Z @ mu + 0.5 * (mu @ mu)
        C = dual(gram + a[:, None] + a, f, Zw + mu @ w, gamma)
        W[b] = Z.T @ C + np.outer(mu, C.sum(axis=0))
        W[b, :, 1:] += w
    return W


def blocks(
    noise: Noise, stream: np.random.Generator, n: int, p: int, buffer: FloatArray, *, keep: bool = False
) -> Iterator[tuple[slice, FloatArray]]:
    """Make n rows of noise block by block.

    Parameters
    ----------
    noise : Noise
        Its law.
    stream : numpy.random.Generator
        Where the random numbers come from.
    n, p : int
        Rows and columns.
    buffer : ndarray
        Vector in which the rows are made, of `buffer_size` at least.
    keep : bool, default False
        Whether all rows are to be kept, one after another; else each block is made in the buffer's front.

    Yields
    ------
    rows : slice
        The place of the block among the n rows.
    block : ndarray
        The block, a view of the buffer.
    """
    step = _block(p)
    for start in range(0, n, step):
        rows = slice(start, min(start + step, n))
        size = (rows.stop - start) * p
        place = start * p if keep else 0
        block = buffer[place : place + size].reshape(-1, p)
        noise.fill(stream, block)
        yield rows, block


def buffer_size(n: int, p: int) -> int:
    """Return the numbers of noise that a data set has in memory at once.

    Parameters
    ----------
    n, p : int
        Samples and features.

    Returns
    -------
    int
        All n·p for p > n, where they are needed twice, else a block.
    """
    return (n if p > n else min(n, _block(p))) * p


def picoseconds(task: Task, n: int, *, systems: int = 1) -> int:
    """Estimate the time of a data set.

    Parameters
    ----------
    task : Task
        What is sampled.
    n : int
        Number of samples.
    systems : int, default 1
        Ridge systems that are solved on it.

    Returns
    -------
    int
        Picoseconds, a function of the shape only.
    """
    p, q, full = task.p, min(n, task.p), task.covariance.ndim == 2
    return n * p * (10_000 + 20 * q + 50 * p * full) + systems * (100_000_000 + 20 * q**3)


def prepare_covariance(name: str, task: Task) -> None:
    """Check the size of a covariance's numbers, and have its root computed, once for all chunks.

    Parameters
    ----------
    name : str
        What the task is called.
    task : Task
        Whose covariance it is.

    Raises
    ------
    ValueError
        If an entry exceeds 1e60.
    """
    real_array(f"{name}.covariance", task.covariance, -1e60, 1e60)
    _ = task.root


def _block(p: int) -> int:
    """Return the number of rows in which noise is made at a time."""
    return max(_BLOCK // p, _ROWS)


def _prepare(name: str, mixture: GaussianMixture) -> None:
    """Check the size of a mixture's numbers, and have its root computed."""
    real_array(f"{name}.mean", mixture.mean, -1e30, 1e30)
    prepare_covariance(name, mixture)
