"""Repeats an experiment: one seed, one stream per trial and role, results as a law with a leading trials axis.

Randomness. Trial j of role r (0: target, 1: source) draws from the child ``spawn_key + (j, r)`` of the seed's
`numpy.random.SeedSequence`. So trial j is the same whatever the number of trials, source and target do not disturb each
other, and the caller's own object is left as it was.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from tqdm import tqdm

from rmt_alpha._blas import one_blas_thread
from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, broadcast_shape, check_memory, integer, plain, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.laws import MarginLaw, Result
from rmt_alpha.problem import Experiment
from rmt_alpha.simulation import dense

_METHODS = ("auto", "dense")


@dataclass(frozen=True, eq=False)
class Simulation:
    """Finite-size experiments: one margin law per trial, good for every α.

    Parameters
    ----------
    law : MarginLaw
        Leading axis: trials; then the shape of `beta`. Given the trained weights the margin is exactly Gaussian, so the
        accuracy of a trial has no test-set noise.
    experiment : Experiment
        What was repeated.
    seed : SeedSequence
        Reproduces the run; ``seed.entropy`` tells what was drawn for ``seed=None``.
    """

    law: MarginLaw
    experiment: Experiment
    seed: np.random.SeedSequence

    def __repr__(self) -> str:
        return f"Simulation(trials={len(self.law)}, shape={self.law.shape[1:]}, entropy={self.seed.entropy})"

    def __getitem__(self, index: Any) -> "Simulation":
        """Select entries of `beta`."""
        beta = self.experiment.beta
        chosen = np.arange(beta.size).reshape(beta.shape)[index]
        trials = len(self.law)
        mean = self.law.mean.reshape(trials, -1, 2)[:, chosen]
        cov = self.law.cov.reshape(trials, -1, 2, 2)[:, chosen]
        return Simulation(MarginLaw._trusted(mean, cov), replace(self.experiment, beta=beta[index]), self.seed)

    def _against(self, alpha: ArrayLike) -> tuple[FloatArray, MarginLaw]:
        """Return α and the law with axes for α between the trials and beta's own, so that they broadcast."""
        plain("alpha", alpha)
        array = real_array("alpha", alpha, infinite=True)
        law = self.law
        shape = broadcast_shape({"alpha": array.shape, "beta": law.shape[1:]})
        check_memory(f"alpha of shape {array.shape} at {len(law)} trials", 32.0 * len(law) * math.prod(shape))
        trials, batch = law.shape[0], law.shape[1:]
        new = (1,) * (array.ndim - len(batch))
        return array, MarginLaw._trusted(
            law.mean.reshape(trials, *new, *batch, 2), law.cov.reshape(trials, *new, *batch, 2, 2)
        )

    def accuracy(self, alpha: ArrayLike) -> Estimate:
        """Mean accuracy over the trials.

        Parameters
        ----------
        alpha : array_like
            Scale of the source; broadcasts against the shape of `beta`.

        Returns
        -------
        Estimate
            Of the broadcast shape.
        """
        array, law = self._against(alpha)
        return Estimate.of(np.asarray(law.accuracy(array)))

    def risk(self, alpha: ArrayLike) -> Estimate:
        """Mean squared risk over the trials, for clean labels.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy`.

        Returns
        -------
        Estimate
            Of the broadcast shape.
        """
        array, law = self._against(alpha)
        return Estimate.of(np.asarray(law.risk(array)))

    def quantile(self, alpha: ArrayLike, q: ArrayLike) -> Result:
        """Quantiles of the accuracy between trials.

        Parameters
        ----------
        alpha : array_like
            As in `accuracy`.
        q : array_like
            Probabilities in [0, 1].

        Returns
        -------
        float or ndarray
            The shape of `q`, then the broadcast shape of `alpha` and `beta`.
        """
        array, law = self._against(alpha)
        result = np.quantile(np.asarray(law.accuracy(array)), real_array("q", q, 0.0, 1.0), axis=0)
        return float(result) if result.ndim == 0 else result

    def optimal_alpha(self) -> FloatArray:
        """Each trial's own α*, the one that is best for its data.

        Returns
        -------
        ndarray, shape (trials, ...)
            As `MarginLaw.optimal_alpha`.
        """
        return np.asarray(self.law.optimal_alpha())

    def five_numbers(self) -> Estimate:
        """Means over the trials of (M₀, M₁, V₀₀, V₀₁, V₁₁).

        Returns
        -------
        Estimate
            The shape of `beta`, then a trailing axis of length 5.
        """
        mean, cov = self.law.mean, self.law.cov
        return Estimate.of(np.concatenate([mean, cov[..., 0, :], cov[..., 1, 1:]], axis=-1))


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
    progress: bool = False,
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
        Source of randomness. The same seed gives the same trials, and a longer run starts with the shorter one. A
        SeedSequence is left unchanged; a Generator is asked for one seed; None asks the operating system.
    method : {"auto", "dense"}
        How a trial is sampled: "dense" makes the data matrices. "auto" chooses for you.
    progress : bool, default False
        Show a progress bar on standard error.

    Returns
    -------
    Simulation
        The five numbers of every trial, and estimates made of them.

    Raises
    ------
    ValueError
        If an argument is outside its range, or the matrices of one trial would not fit in memory.

    See Also
    --------
    margin_law : what these experiments converge to.

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
    trials = integer("trials", trials)
    if method not in _METHODS:
        raise ValueError(f"method must be one of {', '.join(_METHODS)}, got {method!r}")
    shape = (trials, *experiment.beta.shape)
    check_memory(f"the records of {trials} trials", 48.0 * np.prod(shape, dtype=float))
    check_memory(
        f"one trial at n={experiment.n}, p={experiment.p}, n_source={experiment.n_source}", dense.memory(experiment)
    )
    root = seed_sequence(seed)
    mean, cov = np.empty((*shape, 2)), np.empty((*shape, 2, 2))
    with one_blas_thread():
        for trial in tqdm(range(trials), desc="trials", disable=not progress):
            target_stream, source_stream = (stream(root, trial, role) for role in (0, 1))
            mean[trial], cov[trial] = dense.draw(experiment, source_stream, target_stream)
    return Simulation(MarginLaw._trusted(mean, cov), experiment, root)
