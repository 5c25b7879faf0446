r"""Theory against simulation, by z-scores.

Each quantity has its standard score and the part of it that the theory's own error cannot explain,

    z = Δ/stderr,    excess = sign(Δ) · max(0, |Δ| − allowance)/stderr,        Δ = simulated mean − theory.

The theory is the limit of large n and p; at finite size the mean of a draw is off by O(1/n). The allowance bounds that
bias. With ``1/n_eff = 1/(t² n h) + 1/(t_s² N h̃) + 1/p``, in which t²n is the number of samples that noisy labels are
worth, it is

    (0.5 √V₀₀, 0.5 √V₁₁, 0.5 V₀₀, 0.5 √(V₀₀V₁₁), 2 V₁₁)/n_eff      for (M₀, M₁, V₀₀, V₀₁, V₁₁),
    0.1/n_eff + |s|/(2φ(s)) · Var                                  for an accuracy Φ(s),

the last term being what the curvature of Φ makes of the variance Var between trials. The constants are somewhat more
than what random problems show. The verdict is family-wise: theory and simulation agree when every ``|excess|`` stays
below Student's quantile at level 0.001 over the number of quantities.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rmt_alpha._validation import FloatArray, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Experiment
from rmt_alpha.simulation.experiment import Simulation
from rmt_alpha.theory.isotropic import margin_law, residual_fraction

LEVEL = 1e-3
"""Bound on the probability that a comparison with a correct theory reports a disagreement."""

MIN_TRIALS = 10
"""Fewer trials have so wide a threshold that they agree with everything."""

MIN_EFFECTIVE = 4.0
"""With a smaller n_eff the allowance is as large as the quantities, and agreement would mean nothing."""

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
        At least ten trials of a problem with a single β.
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
        If there are fewer than ten trials or several β, where theory has no finite law (γ = 0, n = p), or where n_eff
        is so small that a comparison would mean nothing.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, n=60, p=120, gamma=0.5, trials=100, seed=0)
    >>> compare(run, [0.0, 1.0]).agrees
    True
    """
    if not isinstance(simulation, Simulation):
        raise ValueError(f"simulation must be what simulate returns, got {type(simulation).__name__}")
    if law is not None and (getattr(law, "shape", None) != () or getattr(law, "n_sources", None) != 1):
        raise ValueError(f"law must be a single MarginLaw of one source, got {law!r}")
    e = simulation.experiment
    if not isinstance(e, Experiment):
        raise ValueError(f"simulation must be of an isotropic problem, that of simulate, got one of {type(e).__name__}")
    require_trials(len(simulation.law))
    if e.beta.ndim:
        raise ValueError(f"beta must be a single number in a comparison, got shape {e.beta.shape}")
    for name, n, gamma in (("gamma", e.n, e.gamma), ("gamma_source", e.n_source, e.gamma_source)):
        if gamma == 0.0 and n == e.p:
            raise ValueError(
                f"{name} must be positive with as many samples as dimensions: the theory is not finite there"
            )
    if law is None:
        law = _asymptotic(e)
    if not (np.isfinite(law.mean).all() and np.isfinite(law.cov).all()):
        raise ValueError(f"law must be finite: the theory says nothing about {e}")
    size = _effective_samples(e)
    if size < MIN_EFFECTIVE:
        raise ValueError(
            f"n, p and n_source must be larger, or label noise lower, to tell theory and simulation apart: these "
            f"experiments are worth {size:.2g} samples, at least {MIN_EFFECTIVE:g} are needed"
        )
    alphas = real_array("alpha", alpha, infinite=True).ravel()
    numbers, accuracy = simulation.five_numbers(), simulation.accuracy(alphas)
    predicted = np.atleast_1d(law.accuracy(alphas))
    v00, v01, v11 = law.cov[0, 0], law.cov[0, 1], law.cov[1, 1]
    scale = np.array([0.5 * v00**0.5, 0.5 * v11**0.5, 0.5 * v00, 0.5 * (v00 * v11) ** 0.5, 2.0 * v11])
    return Comparison(
        quantities=(*_NUMBERS, *(f"accuracy({a:.4g})" for a in alphas)),
        theory=np.concatenate([law.mean, [v00, v01, v11], predicted]),
        simulated=np.concatenate([numbers.value, accuracy.value]),
        stderr=np.concatenate([numbers.stderr, accuracy.stderr]),
        allowance=np.concatenate([scale / size, 0.1 / size + _curvature(predicted, accuracy)]),
        trials=len(simulation.law),
    )


def require_trials(trials: int) -> None:
    """Refuse a number of trials that could not tell a wrong theory from a right one.

    Parameters
    ----------
    trials : int
        Number of simulated experiments.

    Raises
    ------
    ValueError
        If there are fewer than ten.
    """
    if trials < MIN_TRIALS:
        raise ValueError(f"trials must be at least {MIN_TRIALS}: fewer cannot tell a wrong theory from a right one")


def _curvature(accuracy: FloatArray, estimate: Estimate) -> FloatArray:
    """Return |s|/(2φ(s)) times the variance between trials, by which the mean of Φ differs from Φ of the mean."""
    s = np.abs(special.ndtri(np.clip(accuracy, 1e-300, 1.0 - 1e-16)))
    variance = np.square(estimate.stderr) * estimate.n
    return np.asarray(0.5 * s * np.sqrt(2.0 * np.pi) * np.exp(0.5 * s * s) * variance)


def _effective_samples(e: Experiment) -> float:
    inverse = 1.0 / e.p
    target, source = (e.n, e.gamma, e.label_noise), (e.n_source, e.gamma_source, e.label_noise_source)
    for n, gamma, label_noise in (target, source):
        if n is not None and gamma is not None:
            inverse += 1.0 / ((1.0 - 2.0 * label_noise) ** 2 * n * residual_fraction(n, e.p, gamma))
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
