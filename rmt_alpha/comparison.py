r"""Theory against simulation, by z-scores.

Each quantity has its standard score and the part of it that the theory's own error cannot explain,

    z = Δ/stderr,    excess = sign(Δ) · max(0, |Δ| − allowance)/stderr,        Δ = simulated mean − theory.

The theory is the limit of large n and p; at finite size the mean of a draw is off by O(1/n). The allowance bounds that
bias: with ``1/n_eff = 1/(n h) + 1/(N h̃) + 1/p`` it is, over n_eff,

    0.5 √V₀₀ for M₀,  0.5 √V₁₁ for M₁,  0.5 V₀₀ for V₀₀,  0.5 √(V₀₀V₁₁) for V₀₁,  2 V₁₁ for V₁₁,  0.1 for an accuracy,

somewhat more than what random problems with n, N and p between 20 and 120 show. The verdict is family-wise: theory and
simulation agree when every ``|excess|`` stays below Student's quantile at level 0.001 over the number of quantities.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from rmt_alpha._validation import FloatArray, real_array
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Experiment
from rmt_alpha.simulation.runner import Simulation
from rmt_alpha.theory.isotropic import margin_law, residual_fraction

LEVEL = 1e-3
"""Probability that a comparison with a correct theory reports a disagreement."""

_NUMBERS = ("M0", "M1", "V00", "V01", "V11")


@dataclass(frozen=True, eq=False)
class Comparison:
    """Theory beside simulation, one row per quantity.

    Parameters
    ----------
    quantities : tuple of str
        Names of the rows: the five numbers, then ``accuracy(α)`` for each α.
    theory, simulated, stderr, allowance : ndarray, shape (rows,)
        Asymptotic value, mean over the trials, its standard error, and the allowance for the O(1/n) bias.
    trials : int
        Number of simulated experiments.
    """

    quantities: tuple[str, ...]
    theory: FloatArray
    simulated: FloatArray
    stderr: FloatArray
    allowance: FloatArray
    trials: int

    @property
    def z(self) -> FloatArray:
        """Standard scores of the differences; those within rounding error are 0."""
        return self._score(np.zeros_like(self.allowance))

    @property
    def excess(self) -> FloatArray:
        """Standard scores of what the differences have beyond the allowance."""
        return self._score(self.allowance)

    def _score(self, allowance: FloatArray) -> FloatArray:
        difference = self.simulated - self.theory
        beyond = np.abs(difference) - allowance
        beyond[beyond <= 1e-12 * np.abs(self.theory)] = 0.0
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(beyond == 0.0, 0.0, np.sign(difference) * beyond / self.stderr)

    @property
    def threshold(self) -> float:
        """Largest ``|excess|`` that chance explains: Student's quantile at the family-wise level."""
        return float(stats.t.isf(0.5 * LEVEL / len(self.quantities), self.trials - 1))

    @property
    def agrees(self) -> bool:
        """Whether every ``|excess|`` stays below the threshold."""
        return bool((np.abs(self.excess) <= self.threshold).all())


def compare(simulation: Simulation, alpha: ArrayLike = (), *, law: MarginLaw | None = None) -> Comparison:
    """Hold a simulation of one problem against theory.

    Parameters
    ----------
    simulation : Simulation
        At least two trials of a problem with a single β.
    alpha : array_like, optional
        Values of α whose accuracies are compared as well.
    law : MarginLaw, optional
        The theory; by default the package's own, `margin_law` of the same problem.

    Returns
    -------
    Comparison
        The five numbers and the accuracies.

    Raises
    ------
    ValueError
        If there are fewer than two trials or several β, or where theory has no finite law (γ = 0, n = p).

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, n=60, p=120, gamma=0.5, trials=100, seed=0)
    >>> compare(run, [0.0, 1.0]).agrees
    True
    """
    e = simulation.experiment
    if len(simulation.law) < 2:
        raise ValueError("trials must be at least 2: one trial has no standard error")
    if e.beta.ndim:
        raise ValueError(f"beta must be a single number in a comparison, got shape {e.beta.shape}")
    if law is None:
        law = _asymptotic(e)
    if not (np.isfinite(law.mean).all() and np.isfinite(law.cov).all()):
        raise ValueError("gamma must be positive at n = p: the theory has no finite law there")
    alphas = real_array("alpha", alpha, infinite=True).ravel()
    numbers, accuracy = simulation.five_numbers(), simulation.accuracy(alphas)
    v00, v01, v11 = law.cov[0, 0], law.cov[0, 1], law.cov[1, 1]
    scale = np.array([0.5 * v00**0.5, 0.5 * v11**0.5, 0.5 * v00, 0.5 * (v00 * v11) ** 0.5, 2.0 * v11])
    return Comparison(
        quantities=(*_NUMBERS, *(f"accuracy({a:.4g})" for a in alphas)),
        theory=np.concatenate([law.mean, [v00, v01, v11], np.atleast_1d(law.accuracy(alphas))]),
        simulated=np.concatenate([numbers.value, accuracy.value]),
        stderr=np.concatenate([numbers.stderr, accuracy.stderr]),
        allowance=np.concatenate([scale, np.full(alphas.size, 0.1)]) / _effective_samples(e),
        trials=len(simulation.law),
    )


def _effective_samples(e: Experiment) -> float:
    inverse = 1.0 / e.p
    for n, gamma in ((e.n, e.gamma), (e.n_source, e.gamma_source)):
        if n is not None and gamma is not None:
            h = residual_fraction(n, e.p, gamma)
            inverse += 1.0 / (n * h) if h > 0.0 else np.inf
    return float(1.0 / inverse)


def _asymptotic(e: Experiment) -> MarginLaw:
    return margin_law(
        e.beta,
        e.n,
        e.p,
        e.gamma,
        mu=e.mu,
        mu_perp=e.mu_perp,
        n_source=e.n_source,
        gamma_source=e.gamma_source,
        label_noise=e.label_noise,
        label_noise_source=e.label_noise_source,
    )
