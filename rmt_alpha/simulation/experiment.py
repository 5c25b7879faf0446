"""Finite-size experiments as a user sees them: repeated, kept trial by trial, and averaged.

A trial is a margin law (M, V) of its own, so that one run answers for every α. With Gaussian noise the margin of a
fresh target point is exactly Gaussian given the trained weights, and a trial's accuracy has no test-set noise. With
other noise M and V are still the exact moments, while accuracy is counted on the margins of a test sample.
"""

import math
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rmt_alpha import _tables
from rmt_alpha._random import Seed, seed_sequence
from rmt_alpha._validation import FloatArray, check_memory, real_array
from rmt_alpha.estimate import Estimate, counted_trials
from rmt_alpha.laws import MarginLaw, Result, flatten, number_names, zero_and_one
from rmt_alpha.problem import Experiment
from rmt_alpha.simulation import dense, streaming
from rmt_alpha.simulation.checkpoint import PathLike, checkpoint_path, stored_seeds
from rmt_alpha.simulation.noise import Noise
from rmt_alpha.simulation.runner import Job, Sampler, run
from rmt_alpha.spread import Fluctuations

METHODS = ("auto", "streaming", "dense")

_BLOCK = 2**20
"""Test margins that are looked at together."""


@dataclass(frozen=True, eq=False)
class Simulation:
    """Finite-size experiments: one margin law per trial, good for every α.

    With one source α has no trailing axis, with K > 1 sources it carries one of length K, and without a source it is
    left out, as in `MarginLaw`.

    Parameters
    ----------
    law : MarginLaw
        Leading axis: trials; then the shape of `beta`, if there is one. The margin's mean and variance in each trial,
        given the trained weights; exact for every law of the noise. With Gaussian noise the margin is Gaussian, so
        the accuracy of a trial has no test-set noise.
    experiment : Experiment or Transfer
        What was repeated.
    seed : SeedSequence
        Reproduces the run; ``seed.entropy`` tells what was drawn for ``seed=None``.
    margins : ndarray, shape (trials, ..., test_size, K+1), optional
        With non-Gaussian noise the margins of each trial's own test points, column k for the weights w_k: at α they are
        ``margins @ (1, α)``. `accuracy` and `quantile` count them; everything else comes from `law`.
    method : {"streaming", "dense"}, optional
        How trials were sampled.
    """

    law: MarginLaw
    experiment: Any
    seed: np.random.SeedSequence
    margins: FloatArray | None = None
    method: str | None = None

    def __repr__(self) -> str:
        return f"Simulation(trials={len(self.law)}, shape={self.law.shape[1:]}, entropy={self.seed.entropy})"

    def _repr_html_(self) -> str:
        def cells(index: _tables.Index) -> _tables.Cells:
            law, margins = self.law, self.margins
            if index:
                at: Any = (slice(None), *index)
                law = MarginLaw._trusted(law.mean[at], law.cov[at])
                margins = None if margins is None else margins[at]
            part, K = replace(self, law=law, margins=margins), law.n_sources
            alphas = dict(zip(("0", "1"), zero_and_one(K), strict=True)) if K else {}
            found = {f"accuracy at α = {name}": part.accuracy(alpha) for name, alpha in alphas.items()}
            found = found or {"accuracy": part.accuracy()}
            if K <= 3 and not index:
                numbers = Estimate.of(flatten(law))
                values = zip(np.atleast_1d(numbers.value).tolist(), np.atleast_1d(numbers.stderr).tolist(), strict=True)
                found = {
                    name: Estimate(*value, numbers.n) for name, value in zip(number_names(K), values, strict=True)
                } | found
            return {name: (estimate.value, estimate.stderr) for name, estimate in found.items()}

        how = "" if self.method is None else f", {self.method}"
        tested = "" if self.margins is None else f", {_tables.counted(self.margins.shape[-2], 'test point')} in each"
        note = f"{counted_trials(len(self.law), how + tested)}; {self._problem()}"
        return _tables.show("Simulation", self.law.shape[1:], note, cells)

    def _problem(self) -> str:
        """Write the problem, without what has its default."""
        e = self.experiment
        if not isinstance(e, Experiment):
            return _tables.text(repr(e))
        values = {f.name: getattr(e, f.name) for f in fields(e)}
        given = {f.name: values[f.name] for f in fields(e) if f.name == "beta" or values[f.name] != f.default}
        return ", ".join(f"{name} = {_tables.text(x)}" for name, x in given.items())

    def __getitem__(self, index: Any) -> "Simulation":
        """Select entries of `beta`."""
        if not isinstance(self.experiment, Experiment):
            raise IndexError("only the entries of beta can be selected, and this problem has none")
        beta = np.asarray(self.experiment.beta)
        chosen = np.arange(beta.size).reshape(beta.shape)[index]

        def select(array: FloatArray) -> FloatArray:
            return np.asarray(array.reshape(len(array), beta.size, *array.shape[1 + beta.ndim :])[:, chosen])

        law = MarginLaw._trusted(select(self.law.mean), select(self.law.cov))
        margins = None if self.margins is None else select(self.margins)
        experiment = replace(self.experiment, beta=beta[index])
        return replace(self, law=law, experiment=experiment, margins=margins)

    def _against(self, alpha: ArrayLike | None, *, infinite: bool) -> tuple[FloatArray, tuple[int, ...]]:
        """Return α as an array, and the shape to which it broadcasts with `beta`."""
        law = self.law
        array = law[0].checked_alpha(alpha, infinite=infinite)
        shape = np.broadcast_shapes(array.shape if law.n_sources == 1 else array.shape[:-1], law.shape[1:])
        n_bytes = 16.0 * (law.n_sources + 1) * len(law) * math.prod(shape)
        check_memory(f"alpha of shape {array.shape} at {len(law)} trials", n_bytes)
        return array, shape

    def _of_law(self, answer: Callable[..., Result], alpha: ArrayLike | None) -> FloatArray:
        """Return an answer of the law for every trial, with axes for α between the trials and beta's own."""
        law = self.law
        array, shape = self._against(alpha, infinite=law.n_sources == 1)
        new = (1,) * (len(shape) - len(law.shape) + 1)
        mean, cov = (a.reshape(len(law), *new, *a.shape[1:]) for a in (law.mean, law.cov))
        return np.asarray(answer(MarginLaw._trusted(mean, cov), array if law.n_sources else None))

    def _accuracies(self, alpha: ArrayLike | None) -> FloatArray:
        """Return the accuracy of every trial: of its law, or counted on its test points."""
        if self.margins is None:
            return self._of_law(MarginLaw.accuracy, alpha)
        K = self.law.n_sources
        array, shape = self._against(alpha, infinite=K == 1)
        a = np.broadcast_to(array[..., None] if K == 1 else array, (*shape, K)).reshape(math.prod(shape), K)
        trials, *batch = self.law.shape
        entry = np.broadcast_to(np.arange(math.prod(batch)).reshape(batch), shape).ravel()
        margins = self.margins.reshape(trials, math.prod(batch), *self.margins.shape[-2:])
        return _counted(margins, entry, a).reshape(trials, *shape)

    def accuracy(self, alpha: ArrayLike | None = None) -> Estimate:
        """Mean accuracy over the trials.

        Parameters
        ----------
        alpha : array_like
            Scale(s) of the source(s); broadcasts against the shape of `beta`. ±inf stands for the limit (one source).

        Returns
        -------
        Estimate
            Of the broadcast shape. With non-Gaussian noise it is the share of correctly classified test points, and the
            standard error holds their chance as well.
        """
        return Estimate.of(self._accuracies(alpha))

    def risk(self, alpha: ArrayLike | None = None) -> Estimate:
        """Mean squared risk over the trials, for clean labels.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy`.

        Returns
        -------
        Estimate
            Of the broadcast shape; of `law` for every noise, since it takes no more than the margin's moments.
        """
        return Estimate.of(self._of_law(MarginLaw.risk, alpha))

    def quantile(self, alpha: ArrayLike | None, q: ArrayLike) -> Result:
        """Quantiles of the accuracy between trials.

        Parameters
        ----------
        alpha : array_like or None
            As in `accuracy`; None without a source.
        q : array_like
            Probabilities in [0, 1].

        Returns
        -------
        float or ndarray
            The shape of `q`, then the broadcast shape of `alpha` and `beta`.
        """
        probabilities = real_array("q", q, 0.0, 1.0)
        result = np.quantile(self._accuracies(alpha), probabilities, axis=0)
        return float(result) if result.ndim == 0 else result

    def optimal_alpha(self) -> FloatArray:
        """Each trial's own α*, the one that is best for its data if the margin is Gaussian.

        Returns
        -------
        ndarray, shape (trials, ...)
            As `MarginLaw.optimal_alpha`, of `law` for every noise.
        """
        return np.asarray(self.law.optimal_alpha())

    def five_numbers(self) -> Estimate:
        """Means over the trials of (M₀, M₁, V₀₀, V₀₁, V₁₁), with one source; of `law` for every noise.

        Returns
        -------
        Estimate
            The shape of `beta`, then a trailing axis of length 5.

        Raises
        ------
        ValueError
            If there is not exactly one source.
        """
        if self.law.n_sources != 1:
            raise ValueError(f"five_numbers needs a problem with one source, this one has {self.law.n_sources}")
        return Estimate.of(flatten(self.law))

    def fluctuations(self) -> Fluctuations:
        """Spread of the law between trials: the sample's answer to the question that theory's `fluctuations` answers.

        Returns
        -------
        Fluctuations
            Around the mean of the trials' numbers, with their sample covariance and no bias; of `law` for every noise.
            Its batch is the shape of `beta`.

        Raises
        ------
        ValueError
            If there are fewer than two trials.

        Examples
        --------
        >>> import rmt_alpha as ra
        >>> setting = dict(beta=0.8, n=200, p=400, gamma=0.1)
        >>> run = ra.simulate(**setting, trials=2000, seed=0)
        >>> (run.fluctuations().std / ra.fluctuations(**setting).std).round(1)
        array([1., 1., 1., 1., 1.])
        """
        trials = len(self.law)
        if trials < 2:
            raise ValueError(f"fluctuations needs at least 2 trials, this simulation has {trials}")
        law = MarginLaw._trusted(self.law.mean.mean(axis=0), self.law.cov.mean(axis=0))
        deviations = flatten(self.law) - flatten(law)
        cov = np.einsum("t...i,t...j->...ij", deviations, deviations) / (trials - 1)
        return Fluctuations._trusted(flatten(law), cov, np.zeros(deviations.shape[1:]))


def _counted(margins: FloatArray, entry: NDArray[np.intp], a: FloatArray) -> FloatArray:
    """Count the positive margins at α.

    margins (trials, B, T, K+1); for each of the S values of α the place `entry` among the B, and the row of a (S, K).
    The result has shape (trials, S).
    """
    trials, _, T, _ = margins.shape
    S = len(entry)
    share = np.empty(trials * S)
    step = max(_BLOCK // T, 1)
    for start in range(0, trials * S, step):
        trial, s = np.divmod(np.arange(start, min(start + step, trials * S)), S)
        m = margins[trial, entry[s]]
        with np.errstate(over="ignore", invalid="ignore"):
            at = m[..., 0] + np.einsum("btk,bk->bt", m[..., 1:], a[s])
        at = np.where(np.isnan(at), m[..., 0], at)  # α = ±inf where the source has no say
        share[start : start + step] = (at > 0.0).mean(axis=-1)
    return share.reshape(trials, S)


def repeat(
    sampler: Sampler,
    experiment: Any,
    *,
    trials: int,
    seed: Seed = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool = False,
    checkpoint: PathLike | None = None,
) -> Simulation:
    """Carry out trials of one sampler.

    Parameters
    ----------
    sampler : Sampler
        What to repeat.
    experiment : Experiment or Transfer
        What the sampler stands for.
    trials, seed, executor, workers, progress, checkpoint
        As in `simulate`.

    Returns
    -------
    Simulation
        The trials.

    Raises
    ------
    ValueError, OSError, RuntimeError
        As in `simulate`.
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
    margins = records.get("margins")
    if margins is not None:
        margins.flags.writeable = False
    law = MarginLaw._trusted(records["mean"], records["cov"])
    return Simulation(law, experiment, root, margins, sampler.specification["method"])


def carry_out(
    sampler: Sampler,
    *,
    trials: int,
    seed: Seed,
    executor: Executor | None,
    workers: int | None,
    progress: bool,
    checkpoint: PathLike | None,
) -> tuple[dict[str, FloatArray], np.random.SeedSequence]:
    """Carry out trials of one sampler, with the seed of the checkpoint if there is no other.

    Parameters
    ----------
    sampler : Sampler
        What to repeat.
    trials, seed, executor, workers, progress, checkpoint
        As in `simulate`.

    Returns
    -------
    records : dict of ndarray
        The arrays of the sampler's record, with a leading trials axis.
    root : SeedSequence
        Reproduces the run.

    Raises
    ------
    ValueError, OSError, RuntimeError
        As in `simulate`.
    """
    root = None
    if seed is None and checkpoint is not None:
        stored = stored_seeds(checkpoint_path(checkpoint))
        root = stored[0] if stored else None
    root = seed_sequence(seed) if root is None else root
    (records,) = run(
        [Job(sampler, root)], trials, executor=executor, workers=workers, progress=progress, checkpoint=checkpoint
    )
    return records, root


def simulate(
    beta: Any,
    n: int,
    p: int,
    gamma: float,
    *,
    mu: float = 1.0,
    mu_perp: float = 1.0,
    n_source: int | None = None,
    gamma_source: float | None = None,
    label_noise: float = 0.0,
    label_noise_source: float = 0.0,
    trials: int = 1000,
    seed: Seed = None,
    method: str = "auto",
    noise: str = "gaussian",
    dof: float | None = None,
    test_size: int | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    progress: bool = False,
    checkpoint: PathLike | None = None,
) -> Simulation:
    """Carry out the transfer experiment many times: fresh source, fresh target, exact accuracy.

    Parameters
    ----------
    beta : float or array_like
        Alignment of the tasks, in [-1, 1]. All entries of an array share each trial's source and noise.
    n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `optimal_alpha`, single values; n, p and n_source are integers.
    trials : int, default 1000
        Number of experiments.
    seed : int, SeedSequence, Generator or None
        Source of randomness. The same seed gives the same trials, whatever `executor`, `workers` and `checkpoint`, and
        a longer run starts with the shorter one. A SeedSequence is left unchanged; a Generator is asked for one seed;
        None asks the operating system, or takes the seed of the checkpoint that is continued. With the oracle and with
        a trained source the target's random numbers are the same. For "dense" they do not depend on the number of
        sources (`Transfer`) or on label noise either; a target that is streamed takes others then, of the right law.
    method : {"auto", "streaming", "dense"}
        How a trial is sampled: "streaming" draws its exact law without matrices, in time O(min(N, p) + min(n, p)) and
        constant memory, with Gaussian noise; "dense" makes the data matrices. "auto" streams where it can. The two have
        the same law, not the same numbers.
    noise : {"gaussian", "rademacher", "uniform", "laplace", "student"}
        Law of the independent standardised entries of the noise, source and target. Other than Gaussian it takes the
        method "dense", and accuracy comes from test points.
    dof : float, optional
        Degrees of freedom, above 4, of "student".
    test_size : int, optional
        Fresh test points of each trial with non-Gaussian noise, by default 2000. With Gaussian noise accuracy is exact
        given the trained weights, and needs none.
    executor : concurrent.futures.Executor, optional
        Where the work is done, by default in threads of this process. Any executor will do: a ``ProcessPoolExecutor``,
        loky's, mpi4py's ``MPIPoolExecutor``, or on a cluster ``client.get_executor(pure=False)`` of a Dask client
        (without ``pure=False`` Dask remembers failures, and repeats them). It is left open. The results do not depend
        on it, bit for bit on one machine and to rounding on others.
    workers : int, optional
        Number of threads, by default as many as this process may use CPUs. An executor has its own number of workers,
        and this is left out.
    progress : bool, default False
        Show a progress bar on standard error.
    checkpoint : str or path, optional
        File in which finished trials are kept, so that a run that was stopped by Ctrl-C, a dead worker or anything else
        is finished by the same call. A file that is there is continued if it belongs to the same problem and seed, also
        with more trials or fewer than before; anything else is refused and left as it is. One run at a time can use it.

    Returns
    -------
    Simulation
        The margin's law in every trial, and estimates made of them.

    Raises
    ------
    ValueError
        If an argument is outside its range; if the trials in work or the records of all would not fit in memory; or if
        `checkpoint` is damaged, in use, or belongs to another problem, seed or version of the random streams, NumPy's
        and Numba's included.
    OSError
        If `checkpoint` cannot be read or written.
    RuntimeError
        If `executor` fails, because a worker died, say. The message tells how much is finished and where it is kept.

    See Also
    --------
    margin_law : what these experiments converge to.

    Notes
    -----
    Ctrl-C waits for the chunks under way, one in each thread, and keeps them: trials that take about 30 ms together
    ("streaming") or 0.2 s ("dense"), but one trial at least, half a minute of streaming if min(n, p) = 10⁹. Ctrl-C once
    more does not wait; what was finished before is kept.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> setting = dict(beta=0.8, n=100, p=200, gamma=0.5)
    >>> run = ra.simulate(**setting, trials=200, seed=1)
    >>> estimate = run.accuracy(1.0)
    >>> abs(estimate.value - ra.accuracy(1.0, **setting)) < 5 * estimate.stderr
    True
    """
    experiment = Experiment(
        beta,
        n,
        p,
        gamma,
        mu=mu,
        mu_perp=mu_perp,
        n_source=n_source,
        gamma_source=gamma_source,
        label_noise=label_noise,
        label_noise_source=label_noise_source,
    )
    return repeat(
        sampler_of(experiment, method, Noise(noise, dof), test_size),
        experiment,
        trials=trials,
        seed=seed,
        executor=executor,
        workers=workers,
        progress=progress,
        checkpoint=checkpoint,
    )


def sampler_of(experiment: Experiment, method: str, noise: Noise, test_size: int | None) -> Sampler:
    """Choose how to sample an isotropic experiment.

    Parameters
    ----------
    experiment : Experiment
        The problem.
    method, test_size
        As in `simulate`.
    noise : Noise
        The law of the noise.

    Returns
    -------
    Sampler
        Streaming or dense.

    Raises
    ------
    ValueError
        If the method is unknown or does not apply, or a trial would not fit in memory.
    """
    if choose(method, noise, test_size, streams=True) == "streaming":
        return streaming.isotropic(experiment)
    sampler = dense.isotropic(experiment, noise, test_size)
    e = experiment
    check_memory(f"one trial at n={e.n}, p={e.p}, n_source={e.n_source}", sampler.memory)
    return sampler


def choose(method: str, noise: Noise, test_size: int | None, *, streams: bool) -> str:
    """Decide between "streaming" and "dense".

    Parameters
    ----------
    method, test_size
        As in `simulate`.
    noise : Noise
        The law of the noise.
    streams : bool
        Whether all covariances are positive multiples of the identity.

    Returns
    -------
    str
        "streaming" or "dense".

    Raises
    ------
    ValueError
        If the method is unknown or does not apply, or a test sample is asked for of a trial that is streamed.
    """
    if str(method) not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method == "streaming" and not noise.gaussian:
        raise ValueError(f'method must be "dense" with noise={noise.name!r}: streaming takes Gaussian noise')
    if method == "streaming" and not streams:
        raise ValueError('method must be "dense" where a covariance is not a positive multiple of the identity')
    if method == "auto":
        method = "streaming" if noise.gaussian and streams else "dense"
    if method == "streaming" and test_size is not None:
        raise ValueError("test_size needs non-Gaussian noise: the accuracy of a streamed trial is exact")
    return method
