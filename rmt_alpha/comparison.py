r"""Theory against simulation, by z-scores.

Each quantity has its standard score and the part of it that the theory's own error cannot explain,

    z = Δ/stderr,    excess = sign(Δ) · max(0, |Δ| − allowance)/stderr,        Δ = simulated mean − theory.

The theory is the limit of large n and p; at finite size the mean of a draw is off by O(1/n). The allowance bounds that
bias. The constants are somewhat more than what random problems show.

Isotropic problems. With ``1/n_eff = 1/(t² n h) + 1/(t_s² N h̃) + 1/p``, in which t²n is the number of samples that noisy
labels are worth, the allowance is

    (0.5 √V₀₀, 0.5 √V₁₁, 0.75 V₀₀, 0.5 √(V₀₀V₁₁), 4 V₁₁)/n_eff     for (M₀, M₁, V₀₀, V₀₁, V₁₁),
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

**Second order.** With ``order=2`` theory is corrected by the bias (THEORY §8): the numbers are those of the limit plus
their bias, and an accuracy is the mean over draws, ``Φ(E S/√(1 + Var S))`` with ``S = m/√v`` (`rmt_alpha.spread`). What
remains is O(1/n²). The allowance is

    first-order allowance · min(1, 1/n_eff)                                 for a number, but V_kl with k, l > 0,
    first-order allowance · min(1, 2/n_eff)                                                for V_kl with k, l > 0,
    first-order allowance · min(1, 3/n_eff) + min(1, (s² + r) Var S) |mean accuracy − Φ(s)|      for an accuracy,

where the first-order allowance of an accuracy is without its last term, s is the limit of S, and r the excess kurtosis
of the numbers of flipped labels, ``Σ 1/(nε(1−ε))`` over the tasks with label noise. For a Transfer, whose covariances
have to be multiples of the identity, ``1/n_eff = e + 1/p``, e being the bias in its own row. On 1,300 random isotropic
problems and 270 transfers, with n_eff from 4 to 60 and 2,000 to 400,000 trials each, what four standard errors leave
unexplained was below the allowance everywhere, and needed 2.0 in place of the 3 for accuracies near 1. The hardest of
2,000 others, n = 35, p = 27, γ = .0015 (n_eff = 6.4, and V₁₁ small as κ²), needs nine tenths of it in order 1 and seven
tenths in order 2, both for V₁₁. Near accuracy 1, S is far from Gaussian, most of all where few flipped labels decide:
hence the last term, which is next to nothing elsewhere. ``excess`` is then in units of the larger of stderr and its
prediction σ/√T (below), for a few trials without a rare flip look more alike than they are.

**Spread between draws.** A draw is off by much more than the mean of T draws is: the sample's standard deviation
``s = stderr √T`` beside the one that theory predicts (THEORY §8), σ. Where theory has none, for other covariances and
noise that is not Gaussian, σ is nan. The scores

    spread_z = (s − σ)/se,        se = max(s, σ)/2 · √((k − (T−3)/(T−1))/T),        k = max(3, sample kurtosis) + r,

take the standard error of a sample standard deviation from ``Var s² = σ⁴ (k − (T−3)/(T−1))/T``; with k = 3 it is that
of Gaussian draws, ``σ/√(2(T−1))``. V and rare flips have longer tails, which few trials miss: k is no less than 3 + r,
and the larger of the two scales counts. σ itself is right up to a relative O(1/n), for which ``spread_excess`` allows
by

    σ (1.5, 1.5, 4, 8)/n_eff                            for (M, V₀₀, V₀ₖ, V_kl with k, l > 0),
    0.8 sd(S)/n_eff + min(1, r Var S) σ                 for an accuracy Φ(S),

n_eff as above. The first term of an accuracy is no part of ``σ = φ(S) sd(S)``: near 1 it is the few bad draws that
spread, by more than the slope of Φ tells.

The verdicts are family-wise: theory and simulation agree when every ``|excess|`` stays below Student's quantile at
level 0.001 over the number of quantities; their spreads agree when every ``|spread_excess|`` does.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from rmt_alpha import _tables
from rmt_alpha._validation import FloatArray, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.laws import MarginLaw, flatten, number_names
from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture
from rmt_alpha.simulation.experiment import Simulation
from rmt_alpha.spread import Fluctuations
from rmt_alpha.theory.equivalents import effective_ridge
from rmt_alpha.theory.fluctuations import checked_order, fluctuations
from rmt_alpha.theory.isotropic import margin_law, residual_fraction
from rmt_alpha.transfer import Transfer

LEVEL = 1e-3
"""Bound on the probability that a comparison with a correct theory reports a disagreement."""

MIN_TRIALS = 10
"""Fewer trials have so wide a threshold that they agree with everything."""

SECOND_ORDER, SECOND_ORDER_SOURCES, SECOND_ORDER_ACCURACY = 1.0, 2.0, 3.0
"""The allowance of order 2 is that of order 1 times this over n_eff: for M, V₀₀ and V₀ₖ, for V_kl, for an accuracy."""

MIN_EFFECTIVE = 4.0
"""With a smaller n_eff, or 1/e_k, the allowance is as large as the quantities, and agreement would mean nothing."""

_ROWS = 30
"""Quantities that a notebook shows."""


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Theory beside simulation, one row per quantity. Prints as a table.

    Parameters
    ----------
    quantities : tuple of str
        Names of the rows: M0, …, V00, V01, …, then ``accuracy(α)`` for each α.
    theory, simulated, stderr, allowance : ndarray, shape (rows,)
        Value in theory, mean over the trials, its standard error, and the allowance for what theory leaves out.
    spread, predicted_spread, spread_stderr, spread_allowance : ndarray, shape (rows,)
        Standard deviation between draws, simulated (``stderr √trials``) and in theory; the standard error of the first;
        and the allowance for what the second leaves out. Theory's are nan where it does not know: for a `Transfer`
        whose covariances are not all multiples of the identity, and for noise that is not Gaussian. (There the spread
        of an accuracy holds the chance of the test points, too.)
    trials : int
        Number of simulated experiments.
    order : {1, 2}
        Of the theory.
    """

    quantities: tuple[str, ...]
    theory: FloatArray
    simulated: FloatArray
    stderr: FloatArray
    allowance: FloatArray
    spread: FloatArray
    predicted_spread: FloatArray
    spread_stderr: FloatArray
    spread_allowance: FloatArray
    trials: int
    order: int = 1

    def __repr__(self) -> str:
        verdicts = f"agrees={self.agrees}, spreads_agree={self.spreads_agree}"
        return f"Comparison(quantities={len(self.quantities)}, trials={self.trials}, order={self.order}, {verdicts})"

    def __str__(self) -> str:
        records = self._records()
        names = {"theory": "theory", "simulated": "simulated", **_tables.ERRORS, "allowance": "allowance"}
        names |= {"z": "z", "excess": "excess", "spread_excess": "of spread"}
        if not self._knows_spreads:
            names = {name: label for name, label in names.items() if name not in ("predicted_spread", "spread_excess")}
        styles = {i: "+z.2f" for i, name in enumerate(names, 1) if name in ("z", "excess", "spread_excess")}
        rows = [(record["quantity"], *(record[name] for name in names)) for record in records]
        left = "1/n" if self.order == 1 else "1/n²"
        meaning = "z: difference over its standard error. excess: what it has beyond an allowance for the "
        meaning += f"O({left}) bias."
        if self._knows_spreads:
            meaning += " of spread: the same of the scatter of single draws, whose standard error is another."
        verdict = (
            f"Theory and simulation {_verb(self.agrees)}: |excess| ≤ {self.threshold:.2f} is within chance for "
            f"{len(records)} quantities (level {LEVEL:g}, {self.trials} trials)."
        )
        errors = self._two_errors(agree=self.spreads_agree)
        lines = [*_tables.lines(("quantity", *names.values()), rows, ".5f", styles), ""]
        lines += [*textwrap.wrap(meaning, 100), *textwrap.wrap(verdict, 100)]
        return "\n".join([*lines, *textwrap.wrap(f"In {records[-1]['quantity']} {errors}", 100)])

    def _two_errors(self, *, agree: bool) -> str:
        """Tell, of the last quantity, the spread of single draws from the error of their mean."""
        known = not np.isnan(self.predicted_spread[-1])
        theory = f" (theory: {self.predicted_spread[-1]:.2g})" if known else ""
        verdict = f" All such spreads {_verb(agree)} with theory." if known else ""
        return (
            f"single draws scatter by {self.spread[-1]:.2g}{theory}, and the mean of {self.trials} draws is good to "
            f"{self.stderr[-1]:.2g}.{verdict}"
        )

    def _records(self) -> list[dict[str, Any]]:
        """Return the rows with all that is known of each quantity, by name."""
        names = ["theory", "simulated", "stderr", "allowance", "z", "excess"]
        names += ["spread", "predicted_spread", "spread_z", "spread_excess"]
        columns = self.quantities, *(getattr(self, name) for name in names)
        return [dict(zip(("quantity", *names), row, strict=True)) for row in zip(*columns, strict=True)]

    @property
    def _knows_spreads(self) -> bool:
        return not np.isnan(self.predicted_spread).all()

    def _repr_html_(self) -> str:
        columns: dict[str, Iterable[Any]] = {
            "theory": self.theory,
            "simulated": zip(self.simulated, self.stderr, strict=True),
            "z": (f"{x:z.1f}" for x in self.z),
            "excess": (f"{x:z.1f}" for x in self.excess),
        }
        verdict = "agree" if self.agrees else "disagree"
        if self._knows_spreads:
            both = zip(self.spread, self.predicted_spread, strict=True)
            columns["spread / theory"] = (" / ".join(f"{x:#.2g}".rstrip(".") for x in pair) for pair in both)
            columns["z of spread"] = (f"{x:z.1f}" for x in self.spread_z)
            verdict += f", their spreads {'agree' if self.spreads_agree else 'disagree'}"
        rows = list(zip(self.quantities, *columns.values(), strict=True))
        caption = f"Comparison of {self.trials} trials with theory of order {self.order}: they {verdict}"
        return _tables.table(caption, ("quantity", *columns), rows[:_ROWS], more=max(len(rows) - _ROWS, 0))

    @property
    def z(self) -> FloatArray:
        """Standard scores of the differences; those within rounding error are 0."""
        return self._score(np.zeros_like(self.allowance), self.stderr)

    @property
    def excess(self) -> FloatArray:
        """Standard scores of what the differences have beyond the allowance."""
        if self.order == 1:
            return self._score(self.allowance, self.stderr)
        return self._score(self.allowance, np.fmax(self.stderr, self.predicted_spread / np.sqrt(self.trials)))

    @property
    def spread_z(self) -> FloatArray:
        """Standard scores of the differences of the spreads; nan where theory predicts none."""
        return self._spread_score(np.zeros_like(self.spread_allowance))

    @property
    def spread_excess(self) -> FloatArray:
        """Standard scores of what the differences of the spreads have beyond their allowance."""
        return self._spread_score(self.spread_allowance)

    def _score(self, allowance: FloatArray, stderr: FloatArray) -> FloatArray:
        return _beyond(self.simulated - self.theory, allowance, 1e-12 * np.abs(self.theory), stderr)

    def _spread_score(self, allowance: FloatArray) -> FloatArray:
        rounding = 1e-12 * (np.abs(self.theory) + self.predicted_spread)
        return _beyond(self.spread - self.predicted_spread, allowance, rounding, self.spread_stderr)

    @property
    def threshold(self) -> float:
        """Largest ``|excess|``, or ``|spread_excess|``, that chance explains: Student's family-wise quantile."""
        return float(stats.t.isf(0.5 * LEVEL / len(self.quantities), self.trials - 1))

    @property
    def agrees(self) -> bool:
        """Whether every ``|excess|`` stays below the threshold."""
        return bool((np.abs(self.excess) <= self.threshold).all())

    @property
    def spreads_agree(self) -> bool:
        """Whether every ``|spread_excess|`` that there is stays below the threshold."""
        return not (np.abs(self.spread_excess) > self.threshold).any()


def _verb(agree: bool) -> str:
    return "agree" if agree else "DISAGREE"


def _beyond(difference: FloatArray, allowance: FloatArray, rounding: FloatArray, stderr: FloatArray) -> FloatArray:
    """Return what the differences have beyond the allowance and the rounding error, in standard errors."""
    beyond = np.abs(difference) - allowance
    beyond[beyond <= rounding] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(beyond == 0.0, 0.0, np.sign(difference) * beyond / stderr)


def compare(
    simulation: Simulation, alpha: ArrayLike = (), *, law: MarginLaw | None = None, order: int = 1
) -> Comparison:
    """Hold a simulation of one problem against theory.

    Parameters
    ----------
    simulation : Simulation
        At least ten trials of an isotropic problem with a single β, or of a `Transfer` with Gaussian noise.
    alpha : array_like, optional
        Values of α whose accuracies are compared as well, with a trailing axis of length K for K > 1 sources. Without a
        source there is nothing to choose, and the accuracy is always compared.
    law : MarginLaw, optional
        The theory; by default the package's own, the `margin_law` of the same problem. The predicted spread is the
        package's own in either case.
    order : {1, 2}, default 1
        1: the limit of many samples and dimensions. 2: the means over draws to second order, `margin_law` with
        ``order=2`` and `Fluctuations.mean_accuracy`, with a much smaller allowance.

    Returns
    -------
    Comparison
        M, the upper triangle of V, and the accuracies: their means over the trials, and their spread.

    Raises
    ------
    ValueError
        If there are fewer than ten trials or several β, where theory has no finite law (γ = 0, n = p), or where n or p
        is so small that a comparison would mean nothing. If `order` is 2 with a `law`, with noise that is not Gaussian,
        or for a `Transfer` with a covariance that is not a multiple of the identity.

    Examples
    --------
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, n=60, p=120, gamma=0.5, trials=100, seed=0)
    >>> result = compare(run, [0.0, 1.0])
    >>> result.agrees, result.spreads_agree
    (True, True)
    >>> result.quantities[:2], result.spread[:2].round(3), result.predicted_spread[:2].round(3)
    (('M0', 'M1'), array([0.031, 0.046]), array([0.032, 0.044]))
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
    if checked_order(order) == 2 and law is not None:
        raise ValueError("order must be 1 with a law of your own: order=2 is the package's own theory")
    require_trials(len(simulation.law))
    _require_theory(simulation)
    between = _fluctuations(simulation, order)
    if law is None:
        law = e.margin_law() if isinstance(e, Transfer) else _asymptotic(e)
    if not (np.isfinite(law.mean).all() and np.isfinite(law.cov).all()):
        raise ValueError(f"law must be finite: the theory says nothing about {e}")
    bias, rare = _transfer_bias(e) if isinstance(e, Transfer) else _isotropic_bias(e), _flips(e)
    if not (bias * MIN_EFFECTIVE <= 1.0).all():
        raise ValueError(
            f"n, p and n_source must be larger, or label noise lower, to tell theory and simulation apart: these "
            f"experiments are worth {1.0 / bias.max():.2g} samples, at least {MIN_EFFECTIVE:g} are needed"
        )
    alphas = _alphas(alpha, simulation.law)
    i, j = np.triu_indices(K + 1)
    trials, T = simulation.law, len(simulation.law)
    numbers, accuracies = flatten(trials), simulation._accuracies(alphas)
    d, estimates = numbers.shape[-1], (Estimate.of(numbers), Estimate.of(accuracies))
    value = np.concatenate([np.atleast_1d(estimate.value) for estimate in estimates])
    stderr = np.concatenate([np.atleast_1d(estimate.stderr) for estimate in estimates])
    predicted = np.atleast_1d(law.accuracy(alphas))
    if isinstance(e, Transfer):
        at_mean = MarginLaw._trusted(trials.mean.mean(axis=0), trials.cov.mean(axis=0))
        total, factor = bias.sum() - K * bias[0], np.where(i == j, 3.0, 1.0)
        factor[0] *= 1.0 + (e.margin_law().mean[0] / (1.0 - 2.0 * e.target.label_noise)) ** 2  # M₀/t = a/(1+a)
        scatter, dimension = np.abs(value[d:] - np.atleast_1d(at_mean.accuracy(alphas))), 1.0 / e.target.p
    else:
        total, factor = bias[0], np.choose((i > 0) * 1 + (j > 0), [0.75, 0.5, 4.0])
        scatter, dimension = _curvature(predicted, T * np.square(stderr[d:])), 0.0
    own = np.concatenate([bias, np.where(i == j, bias[i], bias[i] + bias[j] - bias[0]), np.full(len(predicted), total)])
    scale = np.sqrt(np.diagonal(law.cov))
    unit = np.concatenate([0.5 * scale, factor * scale[i] * scale[j], np.full(len(predicted), 0.1)])
    allowance, theory, inverse = unit * own, np.concatenate([flatten(law), predicted]), own + dimension
    if order == 1:
        allowance[d:] += scatter
    else:
        assert between is not None  # or it would have been refused
        theory, factors, more = _second_order(between, alphas, inverse, rare)
        allowance = allowance * factors + more
    deviation, spread_allowance = _spread(between, alphas, inverse, rare)
    spread = np.sqrt(T) * stderr
    relative_error = _relative_error(np.column_stack([numbers, accuracies]), rare)
    return Comparison(
        quantities=_names(alphas, K),
        theory=theory,
        simulated=value,
        stderr=stderr,
        allowance=allowance,
        spread=spread,
        predicted_spread=deviation,
        spread_stderr=np.fmax(spread, deviation) * relative_error,
        spread_allowance=spread_allowance,
        trials=T,
        order=order,
    )


def _second_order(
    between: Fluctuations, alphas: FloatArray | None, inverse: FloatArray, rare: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the means over draws, and factors and terms of the allowance; `inverse` holds 1/n_eff."""
    ratio, _, std = (np.atleast_1d(x) for x in between._ratio(alphas))
    accuracy, numbers = np.atleast_1d(between.mean_accuracy(alphas)), flatten(between.corrected_law)
    if not np.isfinite(numbers).all():
        raise ValueError("order must be 1 for so few samples: the corrected V is not positive semi-definite")
    i, _ = np.triu_indices(between.n_sources + 1)
    of_cov = np.where(i > 0, SECOND_ORDER_SOURCES, SECOND_ORDER)
    of_accuracy = np.full(accuracy.shape, SECOND_ORDER_ACCURACY)
    constants = np.concatenate([np.full(between.n_sources + 1, SECOND_ORDER), of_cov, of_accuracy])
    curvature = np.minimum(1.0, (np.square(ratio) + rare) * np.square(std)) * np.abs(accuracy - special.ndtr(ratio))
    more = np.concatenate([np.zeros_like(numbers), curvature])
    return np.concatenate([numbers, accuracy]), np.minimum(1.0, constants * inverse), more


def _spread(
    between: Fluctuations | None, alphas: FloatArray | None, inverse: FloatArray, rare: float
) -> tuple[FloatArray, FloatArray]:
    """Return the spread in theory and its allowance, nan where there is none; `inverse` holds 1/n_eff."""
    if between is None:
        return np.full(len(inverse), np.nan), np.full(len(inverse), np.nan)
    i, j = np.triu_indices(between.n_sources + 1)
    relative = np.concatenate([np.full(between.n_sources + 1, 1.5), np.choose((i > 0) * 1 + (j > 0), [1.5, 4.0, 8.0])])
    accuracy, of_ratio = np.atleast_1d(between.accuracy_std(alphas)), np.atleast_1d(between._ratio(alphas)[2])
    allowance = np.concatenate([relative * between.std, 0.8 * of_ratio]) * inverse
    flips = np.minimum(1.0, rare * np.square(of_ratio)) * accuracy
    allowance += np.concatenate([np.zeros_like(between.std), flips])
    return np.concatenate([between.std, accuracy]), allowance


def _flips(e: Experiment | Transfer) -> float:
    """Return r, the excess kurtosis of the numbers of flipped labels, at most 1e12; 0 without label noise."""
    if isinstance(e, Transfer):
        trained = [
            (source.n, source.mixture.label_noise) for source in e.sources if not isinstance(source, FixedSource)
        ]
        tasks = [(e.n, e.target.label_noise), *trained]
    else:
        tasks = [(e.n, e.label_noise), (e.n_source or 0, e.label_noise_source)]
    return min(1e12, sum(1.0 / max(n * noise * (1.0 - noise), 1e-12) for n, noise in tasks if noise > 0.0))


def _relative_error(draws: FloatArray, rare: float) -> FloatArray:
    """Return the relative standard errors of the standard deviations of columns (T, rows)."""
    T = len(draws)
    with np.errstate(divide="ignore", invalid="ignore"):
        deviations = draws - draws.mean(axis=0)
        squares = np.square(deviations / np.abs(deviations).max(axis=0))  # which neither under- nor overflow
        kurtosis = np.fmax(3.0, T * np.square(squares).sum(axis=0) / np.square(squares.sum(axis=0))) + rare
    return np.asarray(0.5 * np.sqrt((kurtosis - (T - 3.0) / (T - 1.0)) / T))


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
    numbers = number_names(K)
    if alphas is None:
        return (*numbers, "accuracy")
    return (*numbers, *("accuracy(" + ", ".join(f"{x:.4g}" for x in np.atleast_1d(a)) + ")" for a in alphas))


def _curvature(accuracy: FloatArray, variance: FloatArray) -> FloatArray:
    """Return |s|/(2φ(s)) times the variance between trials, by which the mean of Φ differs from Φ of the mean."""
    s = np.abs(special.ndtri(np.clip(accuracy, 1e-300, 1.0 - 1e-16)))
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
    return margin_law(**_parameters(e))


def _parameters(e: Experiment) -> dict[str, Any]:
    return {field.name: getattr(e, field.name) for field in fields(e)}


def _fluctuations(simulation: Simulation, order: int) -> Fluctuations | None:
    """Return theory's spread between draws, None where it has none; which order 2 cannot do without."""
    e = simulation.experiment
    if simulation.margins is not None:
        if order == 2:
            raise ValueError("order must be 1 for noise that is not Gaussian: there is no theory of second order")
        return None
    if not isinstance(e, Transfer):
        return fluctuations(**_parameters(e))
    try:
        return e.fluctuations()
    except ValueError as error:
        if order == 2:
            raise ValueError(f"order must be 1 for this Transfer: {error}") from None
        return None
