r"""A transfer problem in general, tied to what can be asked of it.

The model (THEORY §1). The target task has n samples ``x = y μ + Σ^{1/2}z`` with labels y = ±1, of which training sees a
share ε flipped. Source k is a classifier w̃_k: given as it is, or trained by ridge on samples of a task of its own. The
fine-tuned classifier is ``w_α = Σ α_k w̃_k + a`` where a minimises

    ‖f − X(Σ α_k w̃_k + a)‖²/n + γ‖a‖²,

f the labels that training sees. So α = (1, …) keeps a source whole and α = 0 trains from scratch.
"""

from concurrent.futures import Executor
from dataclasses import dataclass
from os import PathLike

from rmt_alpha._random import Seed
from rmt_alpha._validation import integer, real
from rmt_alpha.problem import GaussianMixture, RidgeSource, Source, check_sources
from rmt_alpha.simulation import dense, streaming
from rmt_alpha.simulation.experiment import Simulation, choose, repeat
from rmt_alpha.simulation.noise import Noise
from rmt_alpha.simulation.runner import Sampler


@dataclass(frozen=True, eq=False)
class Transfer:
    """A target task, and sources to start from.

    Parameters
    ----------
    target : GaussianMixture
        The target task.
    n : float
        Number of target samples, positive; a whole number where it is simulated.
    gamma : float
        Ridge penalty γ ≥ 0 on the deviation from the sources.
    sources : iterable of RidgeSource or FixedSource, default ()
        The K sources, of the target's dimension; none is plain ridge.

    Raises
    ------
    ValueError
        If a dimension does not fit or a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from rmt_alpha.problem import RidgeSource
    >>> old = GaussianMixture(np.full(30, 0.2), covariance=np.linspace(0.5, 2.0, 30))
    >>> new = GaussianMixture(np.linspace(0.0, 0.4, 30), label_noise=0.1)
    >>> problem = Transfer(new, n=20, gamma=0.5, sources=[RidgeSource(old, n=200, gamma=1.0)])
    >>> run = problem.simulate(trials=50, seed=0)
    >>> run.accuracy(1.0).value > run.accuracy(0.0).value
    True
    """

    target: GaussianMixture
    n: float
    gamma: float
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", check_sources(self.target, self.sources))
        object.__setattr__(self, "n", real("n", self.n, 0.0, open_low=True))
        object.__setattr__(self, "gamma", real("gamma", self.gamma, 0.0))

    def simulate(
        self,
        trials: int = 1000,
        seed: Seed = None,
        *,
        method: str = "auto",
        noise: str = "gaussian",
        dof: float | None = None,
        test_size: int | None = None,
        executor: Executor | None = None,
        workers: int | None = None,
        progress: bool = False,
        checkpoint: str | PathLike[str] | None = None,
    ) -> Simulation:
        """Carry out the experiment many times: fresh sources, fresh target samples.

        Parameters
        ----------
        trials : int, default 1000
            Number of experiments.
        seed, executor, workers, progress, checkpoint
            As in `rmt_alpha.simulate`.
        method : {"auto", "streaming", "dense"}
            How a trial is sampled: "streaming" draws the exact law without matrices where all covariances are positive
            multiples of the identity and the noise is Gaussian; "dense" makes the data matrices. "auto" streams where
            it can.
        noise : {"gaussian", "rademacher", "uniform", "laplace", "student"}
            Law of the independent standardised entries of z, in all tasks.
        dof : float, optional
            Degrees of freedom, above 4, of "student".
        test_size : int, optional
            Fresh test points of each trial with non-Gaussian noise, by default 2000; with Gaussian noise accuracy is
            exact given the weights, and needs none.

        Returns
        -------
        Simulation
            The margin's moments of every trial, and estimates made of them; its `experiment` is this problem.

        Raises
        ------
        ValueError
            If an argument is outside its range, a number of samples is not an integer, or one trial would not fit in
            memory.
        """
        law, n = Noise(noise, dof), integer("n", self.n)
        if choose(method, law, test_size, streams=self._isotropic) == "streaming":
            sampler: Sampler = streaming.isotropic_mixtures(self.target, n, self.gamma, self.sources)
        else:
            sampler = dense.Dense(self.target, n, self.gamma, self.sources, law, test_size)
        return repeat(
            sampler,
            self,
            trials=trials,
            seed=seed,
            executor=executor,
            workers=workers,
            progress=progress,
            checkpoint=checkpoint,
        )

    @property
    def _isotropic(self) -> bool:
        """Whether all covariances are positive multiples of the identity."""
        mixtures = [self.target, *(source.mixture for source in self.sources if isinstance(source, RidgeSource))]
        return all(mixture.covariance.ndim == 0 and mixture.covariance > 0.0 for mixture in mixtures)
