r"""Transfer in regression, tied to what can be asked of it.

The model (THEORY §9). The target task has n samples ``y = W x + σ ε`` with d outputs and ``x = Σ^{1/2} z``. Source k is
a d × p matrix W_k: given as it is, or trained by ridge on samples of a task of its own. The fine-tuned matrix is
``W_α = Σ α_k W_k + A`` where A minimises

    ‖Y − X(Σ α_k W_k + A)ᵀ‖²/n + γ‖A‖².

So α = (1, …) keeps a source whole and α = 0 trains from scratch. The outputs do not see each other: each has a risk of
its own, quadratic in α, and may have an α of its own (a row of the matrix scaled by its own number, as in the α-LoRA
layer); or all share the α that is best for the sum.
"""

from concurrent.futures import Executor
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from typing import Any

from numpy.typing import ArrayLike

from rmt_alpha import _tables
from rmt_alpha._random import Seed
from rmt_alpha._validation import integer, real
from rmt_alpha.laws import Result, RiskLaw
from rmt_alpha.problem import RegressionSource, RegressionTask, check_regression_sources
from rmt_alpha.simulation.noise import Noise
from rmt_alpha.simulation.regression import Regression, RegressionSimulation, repeat
from rmt_alpha.theory.regression import RegressionEquivalent


@dataclass(frozen=True, eq=False)
class RegressionTransfer:
    """A target task of regression, and sources to start from.

    Parameters
    ----------
    target : RegressionTask
        The target task.
    n : float
        Number of target samples, positive; a whole number where it is simulated.
    gamma : float
        Ridge penalty γ ≥ 0 on the deviation from the sources.
    sources : iterable of RidgeSource or FixedSource, default ()
        The K sources, with the dimension and the outputs of the target; none is plain ridge.

    Raises
    ------
    ValueError
        If a shape does not fit or a parameter is outside its range.

    Examples
    --------
    >>> import numpy as np
    >>> from rmt_alpha.problem import RidgeSource
    >>> weights = np.random.default_rng(0).standard_normal((2, 60)) / 60**0.5
    >>> old = RegressionTask(weights, covariance=np.linspace(0.5, 2.0, 60), noise=0.5)
    >>> new = RegressionTask(weights * [[1.5], [0.6]], noise=0.5)
    >>> problem = RegressionTransfer(new, n=40, gamma=0.5, sources=[RidgeSource(old, n=200, gamma=0.1)])
    >>> problem.risk_law(per_output=True).optimal_alpha().round(3)
    array([1.503, 0.62 ])
    >>> run = problem.simulate(trials=200, seed=0)
    >>> estimate = run.risk(1.0)
    >>> abs(estimate.value - problem.risk_law().risk(1.0)) < 4 * estimate.stderr
    True
    """

    target: RegressionTask
    n: float
    gamma: float
    sources: tuple[RegressionSource, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", check_regression_sources(self.target, self.sources))
        object.__setattr__(self, "n", real("n", self.n, 0.0, open_low=True))
        object.__setattr__(self, "gamma", real("gamma", self.gamma, 0.0))

    def _repr_html_(self) -> str:
        return _tables.problem("RegressionTransfer", self.target, self.n, self.gamma, self.sources)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_equivalent"}

    @cached_property
    def _equivalent(self) -> RegressionEquivalent:
        return RegressionEquivalent(self.target, self.sources)

    def risk_law(self, *, per_output: bool = False) -> RiskLaw:
        """Asymptotic risk as a function of α: mean squared error on fresh samples, noise of the responses included.

        Parameters
        ----------
        per_output : bool, default False
            Whether to give the law of each output, or of their sum.

        Returns
        -------
        RiskLaw
            A single law, or one for each output, shape (d,): then ``optimal_alpha()`` is the best α of each row.

        Notes
        -----
        THEORY §9, `rmt_alpha.theory.regression`.
        """
        return self.path(per_output=per_output)

    def path(self, n: ArrayLike | None = None, gamma: ArrayLike | None = None, *, per_output: bool = False) -> RiskLaw:
        """Risk laws on a grid of sample sizes and penalties, from one eigendecomposition of each covariance.

        Parameters
        ----------
        n : array_like, optional
            Numbers of target samples, positive; by default that of this problem.
        gamma : array_like, optional
            Ridge penalties γ ≥ 0; by default that of this problem.
        per_output : bool, default False
            As in `risk_law`.

        Returns
        -------
        RiskLaw
            Batched over the broadcast shape of n and gamma, with a last axis for the outputs if `per_output`.

        Raises
        ------
        ValueError
            If an argument is outside its range or the shapes do not broadcast.
        """
        n, gamma = self.n if n is None else n, self.gamma if gamma is None else gamma
        return self._equivalent.law(n, gamma, per_output=per_output)

    def trained_alpha(self, *, per_output: bool = False) -> Result:
        """Scale(s) at which α comes to rest when it is trained on held-out squared loss beside a converged adapter.

        Parameters
        ----------
        per_output : bool, default False
            Whether each row of the matrix trains its own α, or all share one.

        Returns
        -------
        float or ndarray
            A number for one source, else shape (K,), after an axis of length d if `per_output`. nan where no α is
            preferred (γ = 0 and n ≥ rank Σ) and where sources are 0 or dependent.

        See Also
        --------
        risk_law : whose ``optimal_alpha()`` is the α of least risk.

        Notes
        -----
        THEORY §11: ⟨W, W_1⟩/⟨W_1, W_1⟩ for one source, as the α of least risk, but in the inner product of ΣG instead
        of GΣG. Where Σ is a multiple of the identity both are the same number.

        Examples
        --------
        >>> from rmt_alpha.problem import FixedSource
        >>> task = RegressionTask([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5]], covariance=[2.0, 1.0, 0.5])
        >>> problem = RegressionTransfer(task, 2, 0.1, [FixedSource([[0.8, 0.1, 0.5], [0.1, 0.4, 0.5]])])
        >>> round(problem.trained_alpha(), 3), round(problem.risk_law().optimal_alpha(), 3)
        (1.312, 1.295)
        """
        return self._equivalent.trained_alpha(self.n, self.gamma, per_output=per_output)

    def simulate(
        self,
        trials: int = 1000,
        seed: Seed = None,
        *,
        noise: str = "gaussian",
        dof: float | None = None,
        executor: Executor | None = None,
        workers: int | None = None,
        progress: bool = False,
        checkpoint: str | PathLike[str] | None = None,
    ) -> RegressionSimulation:
        """Carry out the experiment many times: fresh sources, fresh target samples.

        Parameters
        ----------
        trials : int, default 1000
            Number of experiments.
        seed, executor, workers, progress, checkpoint
            As in `rmt_alpha.simulate`.
        noise : {"gaussian", "rademacher", "uniform", "laplace", "student"}
            Law of the independent standardised entries of z and of the noise of the responses, in all tasks.
        dof : float, optional
            Degrees of freedom, above 4, of "student".

        Returns
        -------
        RegressionSimulation
            The risk law of every trial, and estimates made of them; its `experiment` is this problem.

        Raises
        ------
        ValueError
            If an argument is outside its range, a number of samples is not an integer, or one trial would not fit in
            memory.
        """
        sampler = Regression(self.target, integer("n", self.n), self.gamma, self.sources, Noise(noise, dof))
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
