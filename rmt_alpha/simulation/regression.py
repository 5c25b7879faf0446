r"""Regression experiments with their matrices: any covariance, any noise, any number of outputs and sources.

A trial makes the data sets of THEORY §9, trains each ridge source on its own, and solves the fine-tuning once, for all
outputs and sources together. With ``Q = (XᵀX/n+γI)⁻¹`` and E the noise of the responses, n × d, the error

    W − W_α = E_0 − Σ α_k E_k,        E_0ᵀ = γQWᵀ − QXᵀE/n,    E_kᵀ = γQW_kᵀ,

is affine in α, and the responses themselves are never needed: nothing cancels where a fit is nearly exact. Given the
errors, output j of a fresh target sample has the risk

    risk_j(α) = (E_0 − Σ α_k E_k)_j Σ (E_0 − Σ α_k E_k)_jᵀ + σ_j²,

whatever the law of the noise: no test-set noise, and good for every α. The system is solved on the smaller side, see
`rmt_alpha.ridge`. For p ≤ n only sums over samples are needed, so features are made in blocks and forgotten.

Randomness. Role 0 is the target, role k source k. Each role has a stream for the features and one for the noise of the
responses: the children (role, 0) and (role, 1) of the chunk's root, from which its trials draw one after another.

Cost of a data set of n samples: O(np·min(n, p)) time, and O(np) more for each output of each source; O(p²) memory for
p ≤ n and O(np) for p > n, besides n responses.
"""

import math
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._random import Seed, stream
from rmt_alpha._validation import FloatArray, check_memory, integer, real, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.laws import RiskLaw
from rmt_alpha.problem import FixedSource, RegressionSource, RegressionTask, RidgeSource, check_regression_sources
from rmt_alpha.ridge import dual, primal
from rmt_alpha.simulation.checkpoint import PathLike
from rmt_alpha.simulation.dense import blocks, buffer_size, picoseconds, prepare_covariance
from rmt_alpha.simulation.experiment import carry_out
from rmt_alpha.simulation.noise import GAUSSIAN, Noise
from rmt_alpha.simulation.specification import as_json


@dataclass(frozen=True, eq=False)
class Regression:
    """Sampler of a regression problem.

    Parameters
    ----------
    target : RegressionTask
        The target task.
    n : int
        Number of target samples.
    gamma : float
        Ridge penalty γ ≥ 0 of the fine-tuning.
    sources : iterable of RidgeSource or FixedSource, default ()
        The K sources.
    noise : Noise
        Law of the noise, of features and responses, in all tasks.

    Raises
    ------
    ValueError
        If a number of samples is not an integer, a shape does not fit, or a parameter is outside its range. So that
        nothing overflows, entries of weights and noise end at 1e30, those of covariances and penalties at 1e60.

    Examples
    --------
    >>> target = RegressionTask([[1.0, 0.5, 0.0], [0.0, 0.5, 1.0]], covariance=[1.0, 2.0, 0.5], noise=0.2)
    >>> sampler = Regression(target, n=20, gamma=0.1, sources=[FixedSource([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])])
    >>> draws = sampler.sample(np.random.SeedSequence(0), trials=5)
    >>> draws["constant"].shape, draws["linear"].shape, draws["quadratic"].shape
    ((5, 2), (5, 2, 1), (5, 2, 1, 1))
    """

    target: RegressionTask
    n: int
    gamma: float
    sources: tuple[RegressionSource, ...] = ()
    noise: Noise = GAUSSIAN

    def __post_init__(self) -> None:
        sources = check_regression_sources(self.target, self.sources)
        _prepare("target", self.target)
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
    def chunk(self) -> int:
        """Trials per chunk: an estimated 0.2 s of work, but 1 at least, and at most 256 or 32 MB of records.

        The estimate: 0.1 ms for a trial. For each data set, with q = min(n, p), what `dense` estimates for one mean,
        and for each of its d(K+2) right-hand sides (2d for a source) 0.1 ns for each of q(n+p) products.
        """
        work = 100_000_000
        for i, (task, n) in enumerate(self._data_sets):
            sides = task.d * (2 if i else len(self.sources) + 2)
            work += picoseconds(task, n) + 100 * sides * min(n, task.p) * (n + task.p)
        numbers = sum(math.prod(shape) for shape in self.record.values())
        return max(min(200_000_000_000 // work, 2**22 // numbers, 256), 1)

    @property
    def record(self) -> dict[str, tuple[int, ...]]:
        """Arrays of one trial: their names and shapes."""
        d, K = self.target.d, len(self.sources)
        return {"constant": (d,), "linear": (d, K), "quadratic": (d, K, K)}

    @property
    def memory(self) -> float:
        """Bytes that a chunk in work needs at most, beside its records: noise, Gram matrices, right-hand sides."""
        d, p, sides = self.target.d, self.target.p, self.target.d * (len(self.sources) + 2)
        noise = features = max(buffer_size(n, p) for _, n in self._data_sets)
        turned = not self.noise.gaussian or any(task.covariance.ndim == 2 for task, _ in self._data_sets)
        if turned:
            noise += min(features, buffer_size(max(features, p), p))
        responses = (1.2 if self.noise.gaussian else 2.2) * d
        square = max(3.0 * min(n, p) ** 2 + 2.0 * sides * min(n, p) + responses * n for _, n in self._data_sets)
        return 8.0 * (noise + square + 5.0 * sides * p) + 2**15

    @property
    def specification(self) -> dict[str, Any]:
        """The problem and the method in terms of JSON."""
        sources = [
            {"weights": as_json(source.weights)}
            if isinstance(source, FixedSource)
            else {"task": _described(source.mixture), "n": source.n, "gamma": source.gamma}
            for source in self.sources
        ]
        problem = {"target": _described(self.target), "n": self.n, "gamma": self.gamma, "sources": sources}
        return {"method": "regression", **problem, "noise": self.noise.name, "dof": self.noise.dof}

    @property
    def _data_sets(self) -> list[tuple[RegressionTask, int]]:
        """Task and samples of every data set that a trial makes, the target's first."""
        trained = [source for source in self.sources if isinstance(source, RidgeSource)]
        return [(self.target, self.n), *((source.mixture, int(source.n)) for source in trained)]

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
        d, p, size = self.target.d, self.target.p, len(self.sources) + 1
        records = {name: np.empty((trials, *shape)) for name, shape in self.record.items()}
        streams = [[stream(root, role, kind) for kind in (0, 1)] for role in range(size)]
        buffer = np.empty(max(buffer_size(n, p) for _, n in self._data_sets))
        w = np.empty((p, size, d))

        for trial in range(trials):
            w[:, 0] = self.target.weights.T
            for k, source in enumerate(self.sources):
                w[:, k + 1] = self._source(source, k + 1, streams[k + 1], buffer)
            errors = _errors(self.target, self.n, self.gamma, w, self.noise, streams[0], buffer)
            half = self.target.apply_root(errors.reshape(p, -1)).reshape(p, size, d)
            forms = half.transpose(2, 1, 0) @ half.transpose(2, 0, 1)
            records["constant"][trial] = forms[:, 0, 0] + np.square(self.target.noise)
            records["linear"][trial] = forms[:, 0, 1:]
            records["quadratic"][trial] = forms[:, 1:, 1:]
        return records

    def _source(
        self, source: RegressionSource, role: int, streams: list[np.random.Generator], buffer: FloatArray
    ) -> FloatArray:
        """Return the weights of a source, shape (p, d), trained anew unless they are fixed."""
        if isinstance(source, FixedSource):
            return source.weights.T.reshape(source.p, -1)
        true = source.mixture.weights.T
        try:
            errors = _errors(source.mixture, int(source.n), source.gamma, true[:, None], self.noise, streams, buffer)
        except ValueError as error:
            raise ValueError(f"source {role}: {error}") from None
        return true - errors[:, 0]


def _errors(
    task: RegressionTask,
    n: int,
    gamma: float,
    w: FloatArray,
    noise: Noise,
    streams: list[np.random.Generator],
    buffer: FloatArray,
) -> FloatArray:
    """Return the errors E_0, E_1, … of one data set, for W and the sources in w, both of shape (p, K+1, d)."""
    p, d = task.p, task.d
    sides = w.reshape(p, -1)
    residuals = noise.sample(streams[1], (n, d))
    residuals *= task.noise

    if p <= n:
        gram, right = np.zeros((p, p)), np.zeros((p, d))
        for rows, Z in blocks(noise, streams[0], n, p, buffer):
            task.colour(Z)
            gram += Z.T @ Z
            right += Z.T @ residuals[rows]
        solution = primal(gram, right, sides, n, gamma)
    else:
        Z = buffer[: n * p].reshape(n, p)
        for _, block in blocks(noise, streams[0], n, p, buffer, keep=True):
            task.colour(block)
        solution = Z.T @ dual(Z @ Z.T, residuals, Z @ sides, gamma)
        solution[:, d:] += sides
    errors = solution[:, d:].reshape(w.shape)
    errors[:, 0] -= solution[:, :d]
    return errors


def _prepare(name: str, task: RegressionTask) -> None:
    """Check the size of a task's numbers, and have its root computed."""
    real_array(f"{name}.weights", task.weights, -1e30, 1e30)
    real_array(f"{name}.noise", task.noise, 0.0, 1e30)
    prepare_covariance(name, task)


def _described(task: RegressionTask) -> dict[str, Any]:
    return {"weights": as_json(task.weights), "covariance": as_json(task.covariance), "noise": as_json(task.noise)}


@dataclass(frozen=True, eq=False)
class RegressionSimulation:
    """Finite-size regression experiments: one risk law per trial and output, good for every α.

    With one source α has no trailing axis, with K > 1 sources it carries one of length K, and without a source it is
    left out, as in `RiskLaw`. Where a method is asked `per_output`, the outputs are the last axis before that one.

    Parameters
    ----------
    law : RiskLaw, shape (trials, d)
        The risk of each output in each trial, given the trained weights; exact for every law of the noise.
    experiment : RegressionTransfer
        What was repeated.
    seed : SeedSequence
        Reproduces the run; ``seed.entropy`` tells what was drawn for ``seed=None``.
    """

    law: RiskLaw
    experiment: Any
    seed: np.random.SeedSequence

    def __repr__(self) -> str:
        trials, d = self.law.shape
        return f"RegressionSimulation(trials={trials}, d={d}, entropy={self.seed.entropy})"

    @property
    def total(self) -> RiskLaw:
        """The risk summed over the outputs in each trial, shape (trials,)."""
        law = self.law
        return RiskLaw._trusted(law.constant.sum(axis=1), law.linear.sum(axis=1), law.quadratic.sum(axis=1))

    def risk(self, alpha: ArrayLike | None = None, *, per_output: bool = False) -> Estimate:
        """Mean risk over the trials.

        Parameters
        ----------
        alpha : array_like
            Finite scale(s) of the source(s). If `per_output`, its last axis broadcasts with the outputs, so that each
            may have its own α; a single value is that of all.
        per_output : bool, default False
            Whether to give the risk of each output, or their sum.

        Returns
        -------
        Estimate
            Of the shape of `alpha`; if `per_output`, of what it broadcasts to with the outputs.
        """
        law = self.law if per_output else self.total
        array = law[0].checked_alpha(alpha, infinite=False)
        grid = array.shape if law.n_sources == 1 else array.shape[:-1]
        shape = np.broadcast_shapes(grid, law.shape[1:])
        n_bytes = 16.0 * (law.n_sources + 1) * len(law) * math.prod(shape)
        check_memory(f"alpha of shape {array.shape} at {len(law)} trials", n_bytes)
        new = (1,) * (len(shape) - len(law.shape) + 1)
        spread = (a.reshape(len(law), *new, *a.shape[1:]) for a in (law.constant, law.linear, law.quadratic))
        return Estimate.of(np.asarray(RiskLaw._trusted(*spread).risk(array if law.n_sources else None)))

    def optimal_alpha(self, *, per_output: bool = False) -> FloatArray:
        """Each trial's own α of least risk.

        Parameters
        ----------
        per_output : bool, default False
            Whether each output has its own α, or all share one.

        Returns
        -------
        ndarray, shape (trials,) or (trials, d)
            As `RiskLaw.optimal_alpha`.
        """
        return np.asarray((self.law if per_output else self.total).optimal_alpha())


def repeat(
    sampler: Regression,
    experiment: Any,
    *,
    trials: int,
    seed: Seed = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool = False,
    checkpoint: PathLike | None = None,
) -> RegressionSimulation:
    """Carry out trials of one sampler.

    Parameters
    ----------
    sampler : Regression
        What to repeat.
    experiment : RegressionTransfer
        What the sampler stands for.
    trials, seed, executor, workers, progress, checkpoint
        As in `rmt_alpha.simulate`.

    Returns
    -------
    RegressionSimulation
        The trials.

    Raises
    ------
    ValueError, OSError, RuntimeError
        As in `rmt_alpha.simulate`.
    """
    records, root = carry_out(
        sampler,
        trials=trials,
        seed=seed,
        executor=executor,
        workers=workers,
        progress=progress,
        checkpoint=checkpoint,
    )
    return RegressionSimulation(RiskLaw._trusted(*(records[name] for name in sampler.record)), experiment, root)
