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

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha import _tables
from rmt_alpha._random import Seed
from rmt_alpha._validation import FloatArray, integer, real, real_array
from rmt_alpha.estimation.datasets import labelled
from rmt_alpha.estimation.mixtures import estimate_mixture
from rmt_alpha.estimation.splits import MIN_TRAINING, Standardiser, within_classes
from rmt_alpha.laws import MarginLaw, Result
from rmt_alpha.problem import FixedSource, GaussianMixture, RidgeSource, Source, check_sources
from rmt_alpha.simulation import dense, streaming
from rmt_alpha.simulation.experiment import Simulation, choose, repeat
from rmt_alpha.simulation.noise import Noise
from rmt_alpha.simulation.runner import Sampler
from rmt_alpha.spread import Fluctuations
from rmt_alpha.theory.choice import JointChoice
from rmt_alpha.theory.equivalents import Equivalent
from rmt_alpha.theory.fluctuations import checked_order, transfer_fluctuations
from rmt_alpha.theory.general_choice import joint_choice, limit_accuracy, sample_gain

_SPREAD = 1e-12
"""Smallest variance of a feature in units of the largest, beside which an eigenvalue has digits left."""


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

    def _repr_html_(self) -> str:
        return _tables.problem("Transfer", self.target, self.n, self.gamma, self.sources)

    @classmethod
    def from_data(
        cls,
        X_source: ArrayLike | None,
        y_source: ArrayLike | None,
        X_target: ArrayLike,
        y_target: ArrayLike,
        *,
        gamma: float,
        n: float | None = None,
        source_coef: ArrayLike | None = None,
        gamma_source: float | None = None,
        n_source: float | None = None,
        shrinkage: str | float = "ledoit-wolf",
    ) -> "Transfer":
        """Estimate the problem behind labelled samples of two tasks, to predict what fine-tuning on them will give.

        Parameters
        ----------
        X_source, y_source : array_like, shapes (N, p) and (N,)
            Samples of the source in rows, and their labels ±1, at least four of each. None for both: only the source's
            weights are known.
        X_target, y_target : array_like, shapes (m, p) and (m,)
            Samples of the target, of the same features in the same units, again at least four of each label. Those that
            the classifier will be trained on are as good as any, but not those that the prediction is going to be
            tested on.
        gamma : float
            Ridge penalty γ ≥ 0 of the fine-tuning.
        n : float, optional
            Number of samples of the fine-tuning; by default m.
        source_coef : array_like, shape (p,), optional
            The source's weights w̃, as they are: the prediction is for this source.
        gamma_source : float, optional
            Ridge penalty γ̃ ≥ 0 of a source that is trained on samples like `X_source`: the prediction is an average
            over such sources. Either this or `source_coef` is required.
        n_source : float, optional
            Number of samples of that training; by default N.
        shrinkage : {"ledoit-wolf", "oas"} or float, default "ledoit-wolf"
            How covariances are estimated: scikit-learn's intensity of shrinkage, or a number in [0, 1].

        Returns
        -------
        Transfer
            One source. Only means and covariances are kept, not the samples.

        Raises
        ------
        ValueError
            If a shape does not fit, an argument is outside its range or missing, a label is too rare, no feature varies
            within the classes, standard deviations of features differ by more than 1e6, or scikit-learn is missing.

        Notes
        -----
        See `rmt_alpha.estimation.mixtures` for the estimates. They are made in units of the features' standard
        deviations, pooled over both tasks as `rmt_alpha.estimation.splits.Standardiser` does, so that the units of X
        matter to the ridge penalty alone. The model's origin is the midpoint of the class means, so
        training and test samples have to be centred there, by each task's own. Labels are taken to be right. The law
        knows one covariance for both classes, and Gaussian noise.

        Bias and error. In the example below accuracy is .943, .953, .951 at α = 0, 1, 2. Over 25 draws, the prediction
        from m target rows is on average

        ====  =================  ===========================
        m     as below           with axes turned at random
        ====  =================  ===========================
        8     .992, .993, .985   .966, .973, .966
        20    .961, .968, .961   .911, .930, .931
        40    .948, .958, .952   .909, .927, .928
        100   .947, .956, .952   .924, .938, .937
        400   .944, .953, .950   .933, .944, .941
        ====  =================  ===========================

        with a standard deviation of .01 at m = 40 as below, .02 turned. Few rows promise too much: over ten kinds of
        simulated problem (p = 60) the root mean squared error is .062 at m = 8, .034 at 20, .022 at 40 and .016 at
        100, and the worst at m = 8 is .84 instead of .66. Where the signal is in directions of small variance that are
        no features, the prediction is too low. It carries no error bar: repeat it on random splits of the rows, as
        `rmt_alpha.estimation.held_out.held_out_curves` does, and look at the spread.

        Examples
        --------
        >>> import numpy as np
        >>> from rmt_alpha.problem import RidgeSource
        >>> rng = np.random.default_rng(0)
        >>> scale, old, new = np.geomspace(2.0, 0.2, 50), np.linspace(0.4, 0.0, 50), np.full(50, 0.2)
        >>> y_old, y_new = np.repeat([-1.0, 1.0], 200), np.repeat([-1.0, 1.0], 20)
        >>> X_old = rng.standard_normal((400, 50)) * scale + np.outer(y_old, old)
        >>> X_new = rng.standard_normal((40, 50)) * scale + np.outer(y_new, new)
        >>> problem = Transfer.from_data(X_old, y_old, X_new, y_new, gamma=0.5, gamma_source=1.0)
        >>> source = RidgeSource(GaussianMixture(old, scale**2), n=400, gamma=1.0)
        >>> truth = Transfer(GaussianMixture(new, scale**2), n=40, gamma=0.5, sources=[source])
        >>> alpha = np.array([0.0, 1.0, 2.0])
        >>> problem.margin_law().accuracy(alpha).round(2), truth.margin_law().accuracy(alpha).round(2)
        (array([0.95, 0.96, 0.95]), array([0.94, 0.95, 0.95]))
        """
        if (source_coef is None) == (gamma_source is None):
            raise ValueError("give either source_coef, for known weights, or gamma_source, for a source to be trained")
        if (X_source is None) != (y_source is None):
            raise ValueError("X_source and y_source must be given together")
        if source_coef is not None and n_source is not None:
            raise ValueError("n_source needs gamma_source: the weights source_coef are not trained again")
        weights = None if source_coef is None else real_array("source_coef", source_coef)
        target = _rows("X_target, y_target", X_target, y_target)
        old, options = None, {"shrinkage": shrinkage, "scale": Standardiser.fit(*target, *target).scale}
        if X_source is not None and y_source is not None:
            rows = _rows("X_source, y_source", X_source, y_source)
            p = rows[0].shape[1]
            if target[0].shape[1] != p:
                raise ValueError(f"X_target must have {p} columns to fit X_source, got shape {target[0].shape}")
            options["scale"] = Standardiser.fit(*rows, *target).scale
            old = _estimate("X_source, y_source", rows, **options)
            n_source = len(rows[1]) if n_source is None else n_source
        if gamma_source is None:
            assert weights is not None
            source: Source = FixedSource(weights)
        elif old is None or n_source is None:
            raise ValueError(
                "gamma_source needs X_source and y_source, samples like those that the source is trained on"
            )
        else:
            N, penalty = real("n_source", n_source, 0.0, open_low=True), real("gamma_source", gamma_source, 0.0)
            source = RidgeSource(old, n=N, gamma=penalty)
            trained = cls(old, n=source.n, gamma=source.gamma).equivalent_classifier()
            weights = trained if np.isfinite(trained).all() else None
        new = _estimate("X_target, y_target", target, source_coef=weights, reference=old, **options)
        return cls(new, n=len(target[1]) if n is None else n, gamma=gamma, sources=(source,))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_equivalent"}

    @cached_property
    def _equivalent(self) -> Equivalent:
        return Equivalent(self.target, self.sources)

    def margin_law(self, order: int = 1) -> MarginLaw:
        """Asymptotic law of the margin as a function of α.

        Parameters
        ----------
        order : {1, 2}, default 1
            1: the limit. 2: corrected by the O(1/n) bias of its numbers, where all covariances are positive multiples
            of the identity.

        Returns
        -------
        MarginLaw
            K sources. nan by rule: see `rmt_alpha.theory.equivalents`; with ``order=2`` also where samples are so few
            that the corrected V is not positive semi-definite.

        Raises
        ------
        ValueError
            If `order` is neither 1 nor 2, or 2 with a covariance that is not a positive multiple of the identity.

        Notes
        -----
        THEORY §3 and §8. What `simulate` converges to, with an error of order 1/n, or 1/n² with ``order=2``.
        """
        return self.path() if checked_order(order) == 1 else self.fluctuations().corrected_law

    def fluctuations(self) -> Fluctuations:
        """Spread of the law between draws at this n and p: error bars of the predictions.

        Returns
        -------
        Fluctuations
            Covariance between draws of M and V, sources and target all drawn anew, and the bias of their means; each to
            leading order, 1/n. nan where the law is not finite.

        Raises
        ------
        ValueError
            If a covariance is not a positive multiple of the identity: there is no theory of the others' spread yet.

        See Also
        --------
        rmt_alpha.fluctuations : the isotropic model, batched.

        Notes
        -----
        THEORY §8.

        Examples
        --------
        >>> import numpy as np
        >>> from rmt_alpha.problem import RidgeSource
        >>> old, new = GaussianMixture(np.full(300, 0.1)), GaussianMixture(np.linspace(0.0, 0.2, 300), covariance=2.0)
        >>> problem = Transfer(new, n=200, gamma=0.5, sources=[RidgeSource(old, n=900, gamma=1.0)])
        >>> spread = problem.fluctuations()
        >>> round(spread.law.accuracy(1.0), 3), round(spread.accuracy_std(1.0), 3)
        (0.832, 0.009)
        """
        return transfer_fluctuations(self.margin_law(), self.target, self.n, self.gamma, self.sources)

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

    def trained_alpha(self) -> Result:
        """Scale(s) at which α comes to rest when it is trained on held-out squared loss beside a converged adapter.

        Returns
        -------
        float or ndarray
            A number for one source, else shape (K,): the solution of ``(W̃ᵀW̃ − κW̃ᵀHW̃)α = t W̃ᵀHμ`` with
            ``H = (Σ + μμᵀ + κI)⁻¹``, in the mean over trained sources. nan where no α is preferred (γ = 0 and
            n ≥ rank Σ) and where sources are 0 or dependent.

        See Also
        --------
        rmt_alpha.trained_alpha : the isotropic model.

        Notes
        -----
        THEORY §11, the α-LoRA paper's own training: neither ``margin_law().optimal_alpha()`` nor
        ``margin_law().risk_optimal_alpha()``.

        Examples
        --------
        >>> from rmt_alpha.problem import FixedSource
        >>> target = GaussianMixture([0.8, 0.6, 0.0], covariance=[1.0, 0.5, 0.2])
        >>> problem = Transfer(target, n=5, gamma=0.1, sources=[FixedSource([1.0, 0.0, 0.0])])
        >>> round(problem.trained_alpha(), 3), round(problem.margin_law().optimal_alpha(), 3)
        (0.368, 1.075)
        """
        return self._equivalent.trained_alpha(self.n, self.gamma)

    def limit_accuracy(self) -> float:
        """Accuracy at the best α as γ → ∞: what is left where the penalty leaves only ``c = ακ`` to choose.

        Returns
        -------
        float
            For Σ = I the ceiling over all γ; for other covariances an interior γ can be better. Sources that are zero
            or combinations of others are left out.

        Notes
        -----
        THEORY §5; the law itself is `Equivalent.limit_law`.

        Examples
        --------
        >>> from rmt_alpha.problem import FixedSource
        >>> source = FixedSource([1.0, 0.0, 0.0])
        >>> round(Transfer(GaussianMixture([0.8, 0.6, 0.0]), 5, 0.1, [source]).limit_accuracy(), 4)
        0.8107
        """
        return limit_accuracy(self._equivalent, self.n)

    def optimal_alpha_gamma(self) -> JointChoice:
        """Find the best α and γ together, and what each of them alone would bring over α = 1 at this γ.

        Returns
        -------
        JointChoice
            ``α = 1`` stands for every source kept whole; α and c are vectors for several sources, 0 for one that is
            zero or a combination of those before it. Where the sources are best used alone, γ = inf and c is infinite,
            and α, of largest entry ±1, says how they are combined. α is nan where none matters.

        Raises
        ------
        ValueError
            If there is no source.

        See Also
        --------
        rmt_alpha.optimal_alpha_gamma : the isotropic model, in which γ = inf is always best.

        Examples
        --------
        >>> from rmt_alpha.problem import FixedSource
        >>> target = GaussianMixture([1.0, 0.5, 0.0, 0.2], covariance=[1.0, 2.0, 0.5, 0.1])
        >>> problem = Transfer(target, n=5, gamma=0.1, sources=[FixedSource([1.0, 0.0, 0.0, 0.5])])
        >>> print(problem.optimal_alpha_gamma())
                           γ       α  accuracy     gain
        as given         0.1       1    0.8011  +0.0000
        best α           0.1   3.069    0.8193  +0.0182
        best γ          8.85       1    0.8618  +0.0607
        both           16.62  0.2727    0.8644  +0.0633
        """
        return joint_choice(self._equivalent, self.n, self.gamma)

    def effective_sample_gain(self, alpha: ArrayLike | None = None) -> float:
        """Target samples n′ from which on training from scratch is as good as this transfer with n.

        Parameters
        ----------
        alpha : array_like, optional
            Scale of each source, shape () for one and (K,) for several. Left out, the best, α*.

        Returns
        -------
        float
            The smallest n′ such that training from scratch, at this γ, is at least as accurate with every number of
            samples from n′ on; inf if there is none, 0 where the transfer is no better than a coin. The sources are
            worth as many samples as n′ exceeds that of α = 0, which double descent can take beyond n. nan where the law
            is, and where all but the last digits of the accuracy are that of scratch with infinitely many samples.

        Raises
        ------
        ValueError
            If `alpha` is not finite or has the wrong shape.

        See Also
        --------
        rmt_alpha.effective_sample_gain : the isotropic model.

        Examples
        --------
        >>> from rmt_alpha.problem import FixedSource
        >>> target = GaussianMixture([1.0, 0.5, 0.0, 0.2], covariance=[1.0, 2.0, 0.5, 0.1])
        >>> problem = Transfer(target, n=5, gamma=0.1, sources=[FixedSource([1.0, 0.0, 0.0, 0.5])])
        >>> round(problem.effective_sample_gain(0.0), 2), round(problem.effective_sample_gain(1.0), 2)
        (5.0, 7.32)
        """
        return sample_gain(self._equivalent, self.n, self.gamma, alpha)

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


def _rows(names: str, X: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return labelled samples, enough of each label and not all alike; messages start with the names."""
    try:
        X, y = labelled(X, y)
        rarest = min(int((y == sign).sum()) for sign in (-1.0, 1.0))
        if rarest < MIN_TRAINING:
            raise ValueError(f"y must have at least {MIN_TRAINING} samples of each label, got {rarest} of one")
        if not any(residuals.any() for residuals in within_classes(X, y)[1]):
            raise ValueError("no feature varies within the classes")
    except ValueError as error:
        raise ValueError(f"{names}: {error}") from None
    return X, y


def _estimate(names: str, rows: tuple[FloatArray, FloatArray], **options: Any) -> GaussianMixture:
    """Estimate a mixture of which float64 can hold all variances beside the largest."""
    try:
        mixture = estimate_mixture(*rows, **options)
        variances = np.diagonal(mixture.covariance) if mixture.covariance.ndim == 2 else mixture.covariance.ravel()
        smallest, largest = variances[variances > 0.0].min(), variances.max()
        if smallest < _SPREAD * largest:
            raise ValueError(
                f"the features' standard deviations must be within a factor 1e6, they go from {smallest**0.5:.3g} to "
                f"{largest**0.5:.3g}: measure them in other units"
            )
    except ValueError as error:
        raise ValueError(f"{names}: {error}") from None
    return mixture
