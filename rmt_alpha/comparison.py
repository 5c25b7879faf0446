r"""Theory against simulation, by z-scores.

Each quantity has its standard score and the part of it that the theory's own error cannot explain,

    z = Δ/stderr,    excess = sign(Δ) · max(0, |Δ| − allowance)/stderr,        Δ = simulated mean − theory.

The theory is the limit of large n and p; at finite size the mean of a draw is off by O(1/n). The allowance bounds that
bias. The constants are somewhat more than what random problems show.

Isotropic problems. With ``1/n_eff = 1/(t² n h) + 1/(t_s² N h̃) + 1/p``, in which t²n is the number of samples that noisy
labels are worth, the allowance is

    (0.5 √V₀₀, 0.5 √V₁₁, 0.5 V₀₀, 0.5 √(V₀₀V₁₁), 2 V₁₁)/n_eff      for (M₀, M₁, V₀₀, V₀₁, V₁₁),
    0.1/n_eff + |s|/(2φ(s)) · Var                                  for an accuracy Φ(s),

the last term being what the curvature of Φ makes of the variance Var between trials.

Any covariance, any number of sources. The dimension has no say here (directions without variance change nothing), only
what the effective ridge leaves of it. The target has a relative bias e₀, and each source one of its own,

    e₀ = 1/(t² n h),      e_k = e₀ + 1/(t_k² N_k h_k) + (noise_k/V_kk) ‖A_k‖/tr A_k      (fixed sources: e_k = e₀).

The first two terms bound what finite size does to the effective ridges: by the central limit theorem of Bai and
Silverstein (2004) the mean of 1/κ is off by a relative ``(df₂ − df₃)/(nh)² ≤ 1/(nh)``. The third stands for what theory
leaves out on purpose. noise_k, the part of V_kk that comes from the scatter of the source's weights, is the trace of
``A_k = (GΣG)^{1/2} G_kΣ_kG_k (GΣG)^{1/2}`` up to a factor, and matrices of low rank that should stand beside A_k change
it by a few times ‖A_k‖: one part in p for identity covariances. The allowance is

    0.5 √V_kk e_k for M_k,          3 V₀₀ e₀ (1 + (a/(1+a))²) for V₀₀,        a = μᵀGμ,
    3 V_kk e_k for V_kk, k > 0,     √(V_kk V_ll) (e_k + e_l − e₀) for V_kl,
    0.1 (e₀ + Σ (e_k − e₀)) + |mean over the trials of Φ − Φ at their mean M and V| for an accuracy.

V₀₀ holds (1+a)⁻², and a varies like a mean of n squares, with relative variance 2/n: so the mean of (1+a)⁻² is larger
by 6 (a/(1+a))²/n, which shows where the mean is many standard deviations long. The last term of an accuracy is there
because few directions may carry the variance. Then it differs from trial to trial, however many samples there are, and
the mean accuracy is not that of the mean variance; such a problem is judged by M and V.

The verdict is family-wise: theory and simulation agree when every ``|excess|`` stays below Student's quantile at level
0.001 over the number of quantities.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rmt_alpha._validation import FloatArray, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.laws import MarginLaw
from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture
from rmt_alpha.simulation.experiment import Simulation
from rmt_alpha.theory.equivalents import effective_ridge
from rmt_alpha.theory.isotropic import margin_law, residual_fraction
from rmt_alpha.transfer import Transfer

LEVEL = 1e-3
"""Bound on the probability that a comparison with a correct theory reports a disagreement."""

MIN_TRIALS = 10
"""Fewer trials have so wide a threshold that they agree with everything."""

MIN_EFFECTIVE = 4.0
"""With a smaller n_eff, or 1/e_k, the allowance is as large as the quantities, and agreement would mean nothing."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Theory beside simulation, one row per quantity.

    Parameters
    ----------
    quantities : tuple of str
        Names of the rows: M0, …, V00, V01, …, then ``accuracy(α)`` for each α.
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
        At least ten trials of an isotropic problem with a single β, or of a `Transfer` with Gaussian noise.
    alpha : array_like, optional
        Values of α whose accuracies are compared as well, with a trailing axis of length K for K > 1 sources. Without a
        source there is nothing to choose, and the accuracy is always compared.
    law : MarginLaw, optional
        The theory; by default the package's own, the `margin_law` of the same problem.

    Returns
    -------
    Comparison
        M, the upper triangle of V, and the accuracies.

    Raises
    ------
    ValueError
        If there are fewer than ten trials or several β, where theory has no finite law (γ = 0, n = p), or where n or p
        is so small that a comparison would mean nothing.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, n=60, p=120, gamma=0.5, trials=100, seed=0)
    >>> compare(run, [0.0, 1.0]).agrees
    True
    >>> task = GaussianMixture([0.2] * 60, covariance=[4.0] * 20 + [0.5] * 40)
    >>> run = Transfer(task, n=80, gamma=0.5).simulate(100, seed=0, workers=1)
    >>> compare(run).quantities
    ('M0', 'V00', 'accuracy')
    """
    if not isinstance(simulation, Simulation):
        raise ValueError(f"simulation must be what simulate returns, got {type(simulation).__name__}")
    e, K = simulation.experiment, simulation.law.n_sources
    if law is not None and (getattr(law, "shape", None) != () or getattr(law, "n_sources", None) != K):
        raise ValueError(f"law must be a single MarginLaw of {K} source(s), got {law!r}")
    require_trials(len(simulation.law))
    _require_theory(simulation)
    if law is None:
        law = e.margin_law() if isinstance(e, Transfer) else _asymptotic(e)
    if not (np.isfinite(law.mean).all() and np.isfinite(law.cov).all()):
        raise ValueError(f"law must be finite: the theory says nothing about {e}")
    bias = _transfer_bias(e) if isinstance(e, Transfer) else _isotropic_bias(e)
    if not (bias * MIN_EFFECTIVE <= 1.0).all():
        raise ValueError(
            f"n, p and n_source must be larger, or label noise lower, to tell theory and simulation apart: these "
            f"experiments are worth {1.0 / bias.max():.2g} samples, at least {MIN_EFFECTIVE:g} are needed"
        )
    alphas = _alphas(alpha, simulation.law)
    i, j = np.triu_indices(K + 1)
    trials = simulation.law
    numbers = Estimate.of(np.concatenate([trials.mean, trials.cov[:, i, j]], axis=-1))
    accuracy, predicted = simulation.accuracy(alphas), np.atleast_1d(law.accuracy(alphas))
    if isinstance(e, Transfer):
        at_mean = MarginLaw._trusted(trials.mean.mean(axis=0), trials.cov.mean(axis=0))
        total, factor = bias.sum() - K * bias[0], np.where(i == j, 3.0, 1.0)
        factor[0] *= 1.0 + (e.margin_law().mean[0] / (1.0 - 2.0 * e.target.label_noise)) ** 2  # M₀/t = a/(1+a)
        scatter = np.abs(np.atleast_1d(accuracy.value - at_mean.accuracy(alphas)))
    else:
        total, factor = bias[0], np.where((i == 1) & (j == 1), 2.0, 0.5)
        scatter = _curvature(predicted, accuracy)
    scale = np.sqrt(np.diagonal(law.cov))
    factor *= np.where(i == j, bias[i], bias[i] + bias[j] - bias[0])
    return Comparison(
        quantities=_names(alphas, K),
        theory=np.concatenate([law.mean, law.cov[i, j], predicted]),
        simulated=np.concatenate([numbers.value, np.atleast_1d(accuracy.value)]),
        stderr=np.concatenate([numbers.stderr, np.atleast_1d(accuracy.stderr)]),
        allowance=np.concatenate([0.5 * scale * bias, factor * scale[i] * scale[j], 0.1 * total + scatter]),
        trials=len(trials),
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


def _require_theory(simulation: Simulation) -> None:
    """Refuse problems for which there is no theory."""
    e = simulation.experiment
    if isinstance(e, Transfer):
        if simulation.margins is not None:
            raise ValueError("simulation must have Gaussian noise: theory knows no other along the axes of a Transfer")
        return
    if not isinstance(e, Experiment):
        raise ValueError(f"simulation must be of an isotropic problem or a Transfer, got one of {type(e).__name__}")
    if e.beta.ndim:
        raise ValueError(f"beta must be a single number in a comparison, got shape {e.beta.shape}")
    for name, n, gamma in (("gamma", e.n, e.gamma), ("gamma_source", e.n_source, e.gamma_source)):
        if gamma == 0.0 and n == e.p:
            raise ValueError(
                f"{name} must be positive with as many samples as dimensions: the theory is not finite there"
            )


def _alphas(alpha: ArrayLike, law: MarginLaw) -> FloatArray | None:
    """Return values of α, in rows for more than one source; None without a source."""
    K = law.n_sources
    array = real_array("alpha", alpha, infinite=K == 1)
    if K == 0:
        if array.size:
            raise ValueError("alpha must be left out: this problem has no source")
        return None
    if K == 1:
        return array.ravel()
    return law[0].checked_alpha(array, infinite=False).reshape(-1, K) if array.size else np.empty((0, K))


def _names(alphas: FloatArray | None, K: int) -> tuple[str, ...]:
    comma = "," if K > 9 else ""
    numbers = [f"M{k}" for k in range(K + 1)] + [f"V{k}{comma}{m}" for k in range(K + 1) for m in range(k, K + 1)]
    if alphas is None:
        return (*numbers, "accuracy")
    return (*numbers, *("accuracy(" + ", ".join(f"{x:.4g}" for x in np.atleast_1d(a)) + ")" for a in alphas))


def _curvature(accuracy: FloatArray, estimate: Estimate) -> FloatArray:
    """Return |s|/(2φ(s)) times the variance between trials, by which the mean of Φ differs from Φ of the mean."""
    s = np.abs(special.ndtri(np.clip(accuracy, 1e-300, 1.0 - 1e-16)))
    variance = np.square(estimate.stderr) * estimate.n
    return np.asarray(0.5 * s * np.sqrt(2.0 * np.pi) * np.exp(0.5 * s * s) * variance)


def _isotropic_bias(e: Experiment) -> FloatArray:
    """Return (e₀, e₁), which are the same."""
    inverse = 1.0 / e.p
    target, source = (e.n, e.gamma, e.label_noise), (e.n_source, e.gamma_source, e.label_noise_source)
    for n, gamma, label_noise in (target, source):
        if n is not None and gamma is not None:
            inverse += 1.0 / ((1.0 - 2.0 * label_noise) ** 2 * n * residual_fraction(n, e.p, gamma))
    return np.full(2, inverse)


def _transfer_bias(e: Transfer) -> FloatArray:
    """Return (e₀, …, e_K), infinite where h = 0."""
    cov = np.diagonal(e.margin_law().cov)
    kappa, inverse = _ridge(e.target, e.n, e.gamma)
    bias = np.full(len(e.sources) + 1, inverse)
    for k, source in enumerate(e.sources, start=1):
        if isinstance(source, FixedSource):
            continue
        kappa_source, inverse = _ridge(source.mixture, source.n, source.gamma)
        bias[k] += inverse
        mean = Transfer(source.mixture, source.n, source.gamma).equivalent_classifier()
        fixed = Transfer(e.target, e.n, e.gamma, (FixedSource(mean),)).margin_law().cov[1, 1]
        if fixed < cov[k] * (1.0 - 1e-12):  # or there is no scatter, and A = 0
            bias[k] += (1.0 - fixed / cov[k]) * _share(e.target, kappa, source.mixture, kappa_source)
    return bias


def _ridge(mixture: GaussianMixture, n: float, gamma: float) -> tuple[float, float]:
    """Return κ and 1/(t²nh)."""
    ridge = effective_ridge(mixture.eigenvalues, n, gamma)
    with np.errstate(divide="ignore"):
        return ridge.kappa, (1.0 - 2.0 * mixture.label_noise) ** -2 / (n * ridge.residual_fraction)


def _share(target: GaussianMixture, kappa: float, source: GaussianMixture, kappa_source: float) -> float:
    """Return ‖A‖/tr A, from a square root of A in the eigenbases."""
    ours, theirs = _root(target.eigenvalues, kappa), _root(source.eigenvalues, kappa_source)
    overlap = target.overlap(source)
    if overlap is None:
        squares = np.square(ours * theirs)
        return float(squares.max() / squares.sum())
    root = ours[:, None] * overlap * theirs
    return float(np.linalg.eigvalsh(root @ root.T)[-1] / np.square(root).sum())


def _root(eigenvalues: FloatArray, kappa: float) -> FloatArray:
    """Return √(GΣG), scaled to 1 at most."""
    root = np.sqrt(eigenvalues) / np.where(eigenvalues == 0.0, 1.0, eigenvalues + kappa)
    return np.asarray(root / root.max())


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
