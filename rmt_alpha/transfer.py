r"""A transfer problem in general, tied to what can be asked of it.

The model (THEORY §1). The target task has n samples ``x = y μ + Σ^{1/2}z`` with labels y = ±1, of which training sees a
share ε flipped. Source k is a classifier w̃_k: given as it is, or trained by ridge on samples of a task of its own. The
fine-tuned classifier is ``w_α = Σ α_k w̃_k + a`` where a minimises

    ‖f − X(Σ α_k w̃_k + a)‖²/n + γ‖a‖²,

f the labels that training sees. So α = (1, …) keeps a source whole and α = 0 trains from scratch.
"""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

from numpy.typing import ArrayLike

from rmt_alpha._random import Seed
from rmt_alpha._validation import FloatArray, integer, real
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import GaussianMixture, RidgeSource, Source, check_sources
from rmt_alpha.simulation import dense, streaming
from rmt_alpha.simulation.experiment import Simulation, choose, repeat
from rmt_alpha.simulation.noise import Noise
from rmt_alpha.simulation.runner import Sampler
from rmt_alpha.theory.equivalents import Equivalent


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
    >>> law = problem.margin_law()
    >>> round(law.optimal_alpha(), 3), round(law.accuracy(1.0), 3), round(law.best_accuracy(), 3)
    (2.185, 0.761, 0.772)
    >>> round(problem.simulate(trials=1000, seed=0, workers=1).accuracy(1.0).value, 3)
    0.764
    """

    target: GaussianMixture
    n: float
    gamma: float
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", check_sources(self.target, self.sources))
        object.__setattr__(self, "n", real("n", self.n, 0.0, open_low=True))
        object.__setattr__(self, "gamma", real("gamma", self.gamma, 0.0))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_equivalent"}

    @cached_property
    def _equivalent(self) -> Equivalent:
        return Equivalent(self.target, self.sources)

    def margin_law(self) -> MarginLaw:
        """Asymptotic law of the margin as a function of α.

        Returns
        -------
        MarginLaw
            K sources. nan by rule: see `rmt_alpha.theory.equivalents`.

        Notes
        -----
        THEORY §3. What `simulate` converges to, with an error of order 1/n.
        """
        return self.path()

    def path(self, n: ArrayLike | None = None, gamma: ArrayLike | None = None) -> MarginLaw:
        """Laws of the margin for other numbers of samples and other penalties, from one eigendecomposition.

        Parameters
        ----------
        n : array_like, optional
            Numbers of target samples, positive; by default this problem's.
        gamma : array_like, optional
            Ridge penalties γ ≥ 0 of the fine-tuning; by default this problem's.

        Returns
        -------
        MarginLaw
            Batched over the broadcast shape of n and gamma: give n a trailing axis for a grid.

        Raises
        ------
        ValueError
            If an argument is outside its range or the shapes do not broadcast.

        Examples
        --------
        >>> import numpy as np
        >>> from rmt_alpha.problem import FixedSource
        >>> target = GaussianMixture([0.8, 0.6, 0.0], covariance=[1.0, 0.5, 0.2])
        >>> problem = Transfer(target, n=5, gamma=0.1, sources=[FixedSource([1.0, 0.0, 0.0])])
        >>> law = problem.path(n=np.array([[5], [50]]), gamma=[0.01, 0.1, 1.0])
        >>> law.best_accuracy().round(3)
        array([[0.756, 0.801, 0.833],
               [0.866, 0.869, 0.872]])
        """
        return self._equivalent.law(self.n if n is None else n, self.gamma if gamma is None else gamma)

    def equivalent_classifier(self, alpha: ArrayLike | None = None) -> FloatArray:
        """Deterministic equivalent of the fine-tuned classifier: what its weights are on average.

        Parameters
        ----------
        alpha : array_like
            Scale(s) of the source(s), as in `MarginLaw`; left out when there is none.

        Returns
        -------
        ndarray, shape (..., p)
            ``w̄_α = (Σ + μμᵀ + κI)⁻¹ (tμ + κ Σ α_k w̄_k)``, w̄_k being the mean of source k, for every α. The weights of
            one training scatter around it, but every fixed linear function of them tends to that of w̄_α.

        Raises
        ------
        ValueError
            If an argument is outside its range.

        Examples
        --------
        >>> problem = Transfer(GaussianMixture([1.0, 0.5], covariance=[1.0, 0.2]), n=10, gamma=0.1)
        >>> problem.equivalent_classifier().round(3)
        array([0.334, 0.587])
        """
        return self._equivalent.classifier(self.n, self.gamma, alpha)

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
