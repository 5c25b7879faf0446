"""Figures: every function draws on the Axes that it is given, and returns it.

Colours are those of Okabe and Ito, distinguishable by colour-blind readers.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps, rcParams
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap, LogNorm
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike
from scipy import special

from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, integer, real, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.estimation.held_out import HeldOutCurves, Prediction, Verdict
from rmt_alpha.laws import MarginLaw, RiskLaw
from rmt_alpha.lora.training import History
from rmt_alpha.problem import Experiment
from rmt_alpha.simulation.experiment import Simulation
from rmt_alpha.spread import Fluctuations
from rmt_alpha.theory.fluctuations import checked_order, fluctuations
from rmt_alpha.theory.isotropic import accuracy, margin_law, optimal_alpha

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

_REFUTED = 3.0
"""Standard errors beyond which a simulated mean is marked as one that theory does not predict."""

_NO_LOSS = 1e-12
"""A difference of accuracies that is rounding."""


def accuracy_curve(
    ax: Axes,
    law: MarginLaw | Fluctuations,
    alpha: ArrayLike,
    *,
    label: str = "theory",
    coverage: float = 0.9,
    order: int = 1,
    **style: Any,
) -> Axes:
    """Draw accuracy against α, with a star at α* and a cross where accuracy is ½.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    law : MarginLaw or Fluctuations
        A single one of one source. With `Fluctuations` the curve is that of the limit, in a band which holds the
        accuracy of a single draw with probability `coverage`, at each α.
    alpha : array_like
        Values of α, increasing.
    label : str, default "theory"
        Name in the legend.
    coverage : float, default 0.9
        Of the band, above 0 and below 1. In the legend it is named once for all curves: "90 % of draws".
    order : {1, 2}, default 1
        1 draws the law; 2 draws the mean over draws to second order, and takes `Fluctuations`.
    **style
        Passed to ``ax.plot``.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Raises
    ------
    ValueError
        If `law` is a batch or not of one source, `alpha` not a vector of finite numbers, `coverage` not between 0 and
        1, or `order` neither 1 nor, with `Fluctuations`, 2. Nothing is drawn then.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> ax = accuracy_curve(Figure().subplots(), ra.margin_law(0.8, 200, 400, 0.1), np.linspace(-1, 3, 50))
    >>> ax.get_ylabel()
    'accuracy'
    >>> ax = accuracy_curve(ax, ra.fluctuations(0.8, 50, 100, 0.1), np.linspace(-1, 3, 50), label="fewer samples")
    >>> ax.get_legend_handles_labels()[1]
    ['theory', 'fewer samples', '90 % of draws']
    """
    grid, limit, share = _checked_curve(law, alpha, coverage, order)
    band, value = None, limit.accuracy
    if isinstance(law, Fluctuations):
        band, value = law.accuracy_interval(grid, share), limit.accuracy if order == 1 else law.mean_accuracy
    colour = _curve(ax, grid, value(grid), band, share, {"label": label, **style})
    best, worst = limit.optimal_alpha(), limit.worst_alpha()
    if grid[0] <= best <= grid[-1]:
        ax.plot(best, value(best), "*", color=colour, markeredgecolor="black", zorder=4, **_size(11))
    if grid[0] <= worst <= grid[-1]:
        ax.plot(worst, 0.5, "x", color=colour, zorder=4, **_size(7))
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("accuracy")
    return ax


def risk_curve(
    ax: Axes,
    law: MarginLaw | Fluctuations | RiskLaw,
    alpha: ArrayLike,
    *,
    label: str = "theory",
    coverage: float = 0.9,
    order: int = 1,
    **style: Any,
) -> Axes:
    """Draw squared risk against α, with a star at its minimum.

    Parameters
    ----------
    ax, alpha, label, coverage, order, **style
        As in `accuracy_curve`. The band takes the risk of a draw for Gaussian around the limit, and ends at 0.
    law : MarginLaw, Fluctuations or RiskLaw
        A single one of one source; with `Fluctuations` there is a band. A `RiskLaw` may be that of a regression.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Raises
    ------
    ValueError
        As in `accuracy_curve`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> ax = risk_curve(Figure().subplots(), ra.margin_law(0.8, 200, 400, 0.1), np.linspace(-1, 3, 50))
    >>> ax.get_ylabel()
    'squared risk'
    """
    grid, limit, share = _checked_curve(law, alpha, coverage, order)
    band, value = None, limit.risk
    if isinstance(law, Fluctuations):
        value = limit.risk if order == 1 else law.mean_risk
        band = _risk_band(value, law, grid, share)
    colour = _curve(ax, grid, value(grid), band, share, {"label": label, **style})
    best = limit.optimal_alpha() if isinstance(limit, RiskLaw) else limit.risk_optimal_alpha()
    if grid[0] <= best <= grid[-1]:
        ax.plot(best, value(best), "*", color=colour, markeredgecolor="black", zorder=4, **_size(11))
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("squared risk")
    return ax


def _checked_curve(
    law: MarginLaw | RiskLaw | Fluctuations, alpha: ArrayLike, coverage: float, order: int
) -> tuple[FloatArray, Any, float]:
    """Check what a curve is drawn of; return the values of α, the law without its spread, and the coverage."""
    grid = real_array("alpha", alpha)
    if grid.ndim != 1 or not grid.size:
        raise ValueError(f"alpha must be a vector with at least one entry, got shape {grid.shape}")
    share = real("coverage", coverage, 0.0, 1.0, open_low=True, open_high=True)
    if law.shape:
        raise ValueError(f"law must be a single one, got shape {law.shape}: index it")
    if law.n_sources != 1:
        raise ValueError(f"law must have one source, got {law.n_sources}: a curve shows one α")
    if checked_order(order) == 2 and not isinstance(law, Fluctuations):
        raise ValueError(f"order must be 1 with a {type(law).__name__}: the mean over draws takes Fluctuations")
    return grid, law.law if isinstance(law, Fluctuations) else law, share


def _size(points: float) -> dict[str, Any]:
    """Return the size of a marker, which is so many points where the style leaves markers as they are, at 6."""
    return {"markersize": points * rcParams["lines.markersize"] / 6.0}


def _deviations(coverage: float) -> float:
    """Return how many standard deviations on either side hold that share of a Gaussian."""
    share = real("coverage", coverage, 0.0, 1.0, open_low=True, open_high=True)
    return float(special.ndtri(0.5 + 0.5 * share))


def _risk_band(
    value: Callable[[FloatArray], Any], spread: Fluctuations, alpha: FloatArray, coverage: float
) -> tuple[FloatArray, FloatArray]:
    """Return the ends around `value` between which the risk of a single draw lies, taken for Gaussian."""
    middle, half = np.asarray(value(alpha)), _deviations(coverage) * np.asarray(spread.risk_std(alpha))
    return np.maximum(middle - half, 0.0), middle + half


def _curve(ax: Axes, x: FloatArray, y: Any, band: Any, coverage: float, style: dict[str, Any]) -> Any:
    """Draw a curve, and the band of single draws if there is one; return the colour."""
    (line,) = ax.plot(x, y, **style)
    colour = line.get_color()
    if band is not None:
        label = f"{100.0 * coverage:.12g} % of draws"
        named = label in ax.get_legend_handles_labels()[1]
        ax.fill_between(x, *band, color=colour, alpha=0.18, linewidth=0, label="_" if named else label)
    return colour


def estimates(
    ax: Axes,
    alpha: ArrayLike,
    estimate: Estimate,
    *,
    label: str = "simulation",
    spread: ArrayLike | None = None,
    **style: Any,
) -> Axes:
    """Draw Monte-Carlo means with bars of two standard errors, and the spread of the draws behind them.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    alpha : array_like
        Values of α, one per entry of `estimate`.
    estimate : Estimate
        Means and standard errors.
    label : str, default "simulation"
        Name in the legend.
    spread : array_like, shape (2, ...), optional
        Two ends per entry of `estimate`, such as ``run.quantile(alpha, [0.05, 0.95])``: where single draws lie, a pale
        bar without caps, much longer than the error of their mean.
    **style
        Passed to ``ax.errorbar``.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Raises
    ------
    ValueError
        If `alpha` does not have the shape of `estimate`, or `spread` not two ends for each entry. Nothing is drawn
        then.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, 20, 40, 0.1, trials=10, seed=0)
    >>> ax = estimates(Figure().subplots(), [0, 1], run.accuracy([0, 1]), spread=run.quantile([0, 1], [0.05, 0.95]))
    >>> len(ax.containers), len(ax.collections[-1].get_segments())
    (1, 2)
    """
    if np.shape(alpha) != np.shape(estimate.value):
        wanted = np.shape(estimate.value)
        raise ValueError(f"alpha must have the shape of estimate, {wanted}, one for each, got {np.shape(alpha)}")
    ends = None if spread is None else real_array("spread", spread)
    if ends is not None and ends.shape != (2, *np.shape(estimate.value)):
        wanted = (2, *np.shape(estimate.value))
        raise ValueError(f"spread must have shape {wanted}, two ends for each estimate, got {ends.shape}")
    bars: dict[str, Any] = {"fmt": "o", "capsize": 2, **_size(4), **style}
    drawn = ax.errorbar(alpha, estimate.value, yerr=2 * np.asarray(estimate.stderr), label=label, **bars)
    if ends is not None:
        colour = drawn.lines[2][0].get_colors()
        low, high = ends
        ax.vlines(np.asarray(alpha), low, high, colors=colour, alpha=0.4, linewidth=1.0, zorder=1.5)
    return ax


def held_out(ax: Axes, curves: HeldOutCurves) -> Axes:
    """Draw the predicted accuracy curves over the one measured on held-out rows, and mark where they fail.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    curves : HeldOutCurves
        What `held_out_curves` returns.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`. Bands: two standard errors of the measured mean over splits; one standard deviation of a prediction
        between splits. A bar at the bottom, in the colour of its prediction, is where that fails.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rmt_alpha.estimation.datasets import load
    >>> from rmt_alpha.estimation.held_out import held_out_curves
    >>> setting = dict(n=40, gamma=1.0, gamma_source=1.0, alphas=[0.0, 0.5, 1.0], splits=5, seed=0)
    >>> ax = held_out(Figure().subplots(), held_out_curves(load("digits:6,8"), load("digits:5,9"), **setting))
    >>> ax.get_legend_handles_labels()[1][:3]
    ['measured on held-out rows', 'isotropic prediction', 'prediction with covariance']
    """
    alpha, measured = curves.alphas, curves.accuracy
    predictions: list[tuple[str, str, Verdict, Prediction]]
    predictions = [("isotropic prediction", COLOURS[1], curves.verdict(), curves)]
    if (second := curves.with_covariance) is not None:
        predictions.append(("prediction with covariance", COLOURS[2], curves.verdict(second), second))
    bands = [
        ("measured on held-out rows", COLOURS[0], np.asarray(measured.value), 2 * np.asarray(measured.stderr)),
        *((label, colour, one.prediction, one.prediction_spread) for label, colour, _, one in predictions),
    ]
    for label, colour, middle, half in bands:
        ax.plot(alpha, middle, color=colour, label=label)
        low, high = np.clip([middle - half, middle + half], 0.0, 1.0)
        ax.fill_between(alpha, low, high, color=colour, alpha=0.2, linewidth=0)
    for _, colour, _, one in predictions:
        if alpha[0] <= one.median_alpha <= alpha[-1]:
            ax.axvline(one.median_alpha, color=colour, linestyle="--", label=r"its $\alpha^*$ (median)")
    for row, (_, colour, verdict, _) in enumerate(predictions):
        for i, (left, right) in enumerate(verdict.ranges):
            label = "_" if i else f"fails ({verdict.threshold:.3g} errors)"
            bottom = 0.03 * row
            ax.axvspan(left, right, bottom, bottom + 0.02, color=colour, linewidth=0, label=label)
    ax.axvline(1.0, color="0.6", linewidth=0.8)
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("accuracy")
    return ax


def phase_diagram(
    ax: Axes,
    beta: ArrayLike,
    eta: ArrayLike,
    *,
    p: float,
    gamma: float,
    limit: float = 10.0,
    colour_bar: bool = True,
    **problem: Any,
) -> Axes:
    r"""Draw α* over the alignment β and the aspect ratio η = p/n: when to keep more of a source, and when less.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    beta : array_like
        Values of β in [-1, 1], increasing, at least two.
    eta : array_like
        Values of η, positive and increasing, at least two.
    p : float
        Dimension; n = p/η.
    gamma : float
        Ridge penalty γ ≥ 0 of the fine-tuning.
    limit : float, default 10
        Colours tell α* apart from 1/limit to limit; above 1 and at most 1e100.
    colour_bar : bool, default True
        Whether to draw one beside the Axes.
    **problem
        Single values of the other parameters of `rmt_alpha.optimal_alpha`; not n, which is p/η.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, with labels for a legend. In colour: α*, on a logarithmic scale with its middle at 1 (ordinary
        fine-tuning; black line). Grey: α* ≤ 0, where the source points away from the target. Light grey: α* is
        undefined. Hatched: ordinary fine-tuning is worse than training from scratch.

    Raises
    ------
    ValueError
        If the axes are not increasing, `limit` or a parameter of the problem is outside its range, or n is given.

    Notes
    -----
    With ``colour_bar=False``, ``ax.collections[0]`` is what a colour bar of one's own needs.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> ax = phase_diagram(Figure().subplots(), np.linspace(0, 1, 20), np.geomspace(0.1, 10, 20), p=400, gamma=1.0)
    >>> ax.get_xlabel(), ax.get_yscale()
    ('alignment $\\beta$', 'log')
    """
    columns, rows = _increasing("beta", beta), _increasing("eta", eta)
    dimension, top = real("p", p, 0.0, open_low=True), real("limit", limit, 1.0, 1e100, open_low=True)
    if "n" in problem:
        raise ValueError(f"n must not be given: it is p/eta, got {problem['n']!r}")
    setting = {"n": dimension / rows[:, None], "p": dimension, "gamma": real("gamma", gamma, 0.0), **problem}
    for name, value in problem.items():
        if value is not None:
            real(name, value)
    best = optimal_alpha(columns, **setting)
    loss = accuracy(0.0, columns, **setting) - accuracy(1.0, columns, **setting)

    mesh, shown = _scales(ax, columns, rows, best, top)
    ax.set_yscale("log")
    if shown.count() and shown.min() < 1.0 < shown.max():
        ax.contour(columns, rows, shown, levels=[1.0], colors="black", linewidths=2.0)
    ax.plot([], [], color="black", linewidth=2.0, label=r"$\alpha^* = 1$")
    if np.nanmax(loss, initial=0.0) > _NO_LOSS:
        hatched = ax.contourf(columns, rows, loss, levels=[_NO_LOSS, 1.0], colors="none", hatches=["////"])
        hatched.set(edgecolor="0.2", linewidth=0.0)
        if np.nanmin(loss) < _NO_LOSS:
            ax.contour(columns, rows, loss, levels=[_NO_LOSS], colors="0.2", linewidths=0.8, linestyles="--")
    ax.fill([], [], facecolor="none", edgecolor="0.2", hatch="////", label=r"$\alpha = 1$ worse than $\alpha = 0$")
    ax.set_xlabel(r"alignment $\beta$")
    ax.set_ylabel(r"aspect ratio $\eta = p/n$")
    if colour_bar:
        _colour_bar(ax, mesh)
    return ax


def decision_function(
    ax: Axes,
    run: Simulation,
    alpha: float,
    *,
    bins: int = 30,
    coverage: float = 0.9,
    seed: Seed = 0,
) -> Axes:
    r"""Draw histograms of the decision function w_αᵀx of both classes, and the Gaussians of theory.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    run : Simulation
        What `rmt_alpha.simulate` returned, with Gaussian noise and a single β. Given its weights, the decision function
        of an experiment is exactly Gaussian; of each experiment one fresh point of either class is taken.
    alpha : float
        Scale α of the source.
    bins : int, default 30
        Bins of equal width, shared by the classes.
    coverage : float, default 0.9
        As in `accuracy_curve`: of the band in which the density of a single trained classifier lies, at each point.
    seed : int, SeedSequence, Generator or None
        Source of randomness for the points.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, with labels for a legend. Histograms are normalised to area 1, their thin bars are two standard errors.
        The Gaussians ``N(±m, v)`` are those of theory for the problem of `run`. A vertical line at 0 is where the
        classifier decides.

    Raises
    ------
    ValueError
        If `run` has more than one β or non-Gaussian noise, or is no isotropic problem, or a number is outside its
        range. Nothing is drawn then.

    Notes
    -----
    The band is of first order in the spread: with f the density of ``N(m, v)``, the standard deviation is that of
    ``f_m δm + f_v δv``, where ``f_m = f·(x−m)/v`` and ``f_v = f·((x−m)²/v − 1)/(2v)``, and ends at 0.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, 50, 100, 0.1, mu=1.5, mu_perp=1.5, trials=200, seed=0)
    >>> ax = decision_function(Figure().subplots(), run, ra.optimal_alpha(0.8, 50, 100, 0.1, mu=1.5, mu_perp=1.5))
    >>> ax.get_legend_handles_labels()[1][:3]
    ['class −1: 200 trials ± 2 s.e.', 'theory, class −1', '90 % of draws']
    """
    scale, bins, deviations = real("alpha", alpha), integer("bins", bins), _deviations(coverage)
    spread = fluctuations(**_problem("run", run))
    if run.margins is not None:
        raise ValueError("run must have Gaussian noise: the decision function of a class is Gaussian with no other")
    random = stream(seed_sequence(seed))
    means, variances = (np.asarray(moment) for moment in run.law.moments(scale))
    theory_mean, theory_variance = (float(moment) for moment in spread.law.moments(scale))
    points = {y: y * means + np.sqrt(variances) * random.standard_normal(means.size) for y in (-1, 1)}
    edges = np.histogram_bin_edges(np.concatenate([points[-1], points[1]]), bins)
    width, centres = edges[1] - edges[0], 0.5 * (edges[1:] + edges[:-1])
    reach = max(abs(edges[0]), abs(edges[-1]), abs(theory_mean) + 3.5 * theory_variance**0.5)
    x = np.linspace(-reach, reach, 301)
    powers = scale ** np.arange(3.0) * np.array([1.0, 2.0, 1.0])  # of α in v
    for y, fill in ((-1, True), (1, False)):
        name, colour = f"class {'−' if y < 0 else '+'}1", COLOURS[0 if y < 0 else 1]
        height, _ = np.histogram(points[y], edges, density=True)
        share = height * width
        error = np.sqrt(share * (1.0 - share) / means.size) / width
        outline: dict[str, Any] = {"alpha": 0.35, "linewidth": 0} if fill else {"linewidth": 0.8}
        ax.stairs(height, edges, fill=fill, color=colour, label=f"{name}: {means.size} trials ± 2 s.e.", **outline)
        ax.vlines(centres, height - 2.0 * error, height + 2.0 * error, color=colour, linewidth=0.6)
        from_mean = x - y * theory_mean
        density = np.exp(-0.5 * from_mean**2 / theory_variance) / np.sqrt(2.0 * np.pi * theory_variance)
        by_mean = density * from_mean / theory_variance
        by_variance = density * (from_mean**2 / theory_variance - 1.0) / (2.0 * theory_variance)
        gradient = np.concatenate(
            [y * by_mean[:, None] * [1.0, scale], by_variance[:, None] * powers],
            axis=1,
        )
        half = deviations * np.sqrt(np.einsum("xi,ij,xj->x", gradient, spread.cov, gradient))
        band = np.maximum(density - half, 0.0), density + half
        line: dict[str, Any] = {"color": colour, "linestyle": "-" if fill else "--", "label": f"theory, {name}"}
        _curve(ax, x, density, band, coverage, line)
    ax.axvline(0.0, color="0.4", linewidth=0.8, linestyle=":")
    ax.set_ylim(bottom=0.0)
    ax.set_xlabel(r"decision function $w_\alpha^{\top} x$")
    ax.set_ylabel("density")
    return ax


_PARAMETERS = {
    "beta": r"alignment $\beta$",
    "n": "target samples $n$",
    "p": "dimension $p$",
    "gamma": r"ridge penalty $\gamma$",
    "mu": r"norm of the source mean $\|\mu\|$",
    "mu_perp": r"norm of the orthogonal direction $\|\mu_\perp\|$",
    "n_source": "source samples $N$",
    "gamma_source": r"source's ridge penalty $\tilde\gamma$",
    "label_noise": r"label noise $\varepsilon$",
    "label_noise_source": r"source's label noise $\tilde\varepsilon$",
}
"""Names of the axes of the problem's parameters."""

_LOGARITHMIC = {"n", "p", "gamma", "n_source", "gamma_source"}

_QUANTITIES = {"accuracy": "accuracy", "risk": "squared risk", "optimal_alpha": r"best scale $\alpha^*$"}


def parameter_curve(
    ax: Axes,
    name: str,
    values: ArrayLike,
    quantity: str = "accuracy",
    *,
    alpha: float | Literal["risk"] | None = None,
    runs: Iterable[Simulation] = (),
    label: str = "theory",
    dots: str = "simulation",
    coverage: float = 0.9,
    style: Mapping[str, Any] | None = None,
    marker: str = "o",
    **problem: Any,
) -> Axes:
    r"""Draw accuracy, risk or α* against any parameter of an isotropic problem, and simulations beside it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    name : str
        The parameter, as `rmt_alpha.optimal_alpha` calls it: "beta", "gamma", "n_source", …
    values : array_like
        Values of the parameter, increasing, at least two.
    quantity : {"accuracy", "risk", "optimal_alpha"}, default "accuracy"
        What to draw.
    alpha : float or "risk", optional
        Where accuracy or risk is taken. At each value of the parameter theory finds the others: None stands for α*, of
        greatest accuracy, and "risk" for the α of least risk.
    runs : iterable of Simulation
        Simulations of the same problem with a single β, one for each dot, which may have any value of the parameter.
    label, dots : str
        Names of the curve and of the dots in the legend.
    coverage : float, default 0.9
        Of the band, as in `accuracy_curve`. For α* it holds the α that is best for a single draw.
    style : dict, optional
        Passed to ``ax.plot``; the dots take the curve's colour.
    marker : str, default "o"
        Of the dots. Their bars are two standard errors of the mean.
    **problem
        The other parameters of `rmt_alpha.optimal_alpha`, single values.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`. Sample sizes, dimensions and penalties are on a logarithmic scale unless one is 0.

    Raises
    ------
    ValueError
        If a parameter is outside its range or given twice, or a run is of another problem. Nothing is drawn then.

    Notes
    -----
    The mean of each draw's own α* has heavy tails where the signal is weak. So a dot is the α* of the mean law of the
    draws, which theory predicts, and its error follows from their covariance (`rmt_alpha.spread`).

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> problem = dict(beta=0.8, n=50, p=100)
    >>> runs = [ra.simulate(**problem, gamma=gamma, trials=20, seed=0) for gamma in (0.1, 1.0)]
    >>> ax = parameter_curve(Figure().subplots(), "gamma", np.geomspace(0.01, 10, 20), alpha=1, runs=runs, **problem)
    >>> ax.get_xlabel(), ax.get_xscale(), ax.get_ylabel()
    ('ridge penalty $\\gamma$', 'log', 'accuracy')
    """
    if name not in _PARAMETERS:
        raise ValueError(f"name must be one of {', '.join(_PARAMETERS)}, got {name!r}")
    if quantity not in _QUANTITIES:
        raise ValueError(f"quantity must be one of {', '.join(_QUANTITIES)}, got {quantity!r}")
    at: float | str | None
    if isinstance(alpha, str):
        if (at := alpha) != "risk":
            raise ValueError(f"alpha must be a number, None or 'risk', got {alpha!r}")
    else:
        at = None if alpha is None else real("alpha", alpha)
    grid, setting = _increasing(name, values), _single(problem, name)
    points = setting | {name: grid}
    spread, best = fluctuations(**points), np.asarray(optimal_alpha(**points))
    scale = best if quantity == "optimal_alpha" else _taken(at, points, grid.shape)
    defined = np.where(np.isnan(scale), 0.0, scale)  # no law takes a scale that is undefined
    parts: tuple[Any, ...]
    if quantity == "optimal_alpha":
        half = _deviations(coverage) * np.asarray(spread.optimal_alpha_std())
        parts = best, best - half, best + half
    elif quantity == "risk":
        parts = spread.law.risk(defined), *_risk_band(spread.law.risk, spread, defined, coverage)
    else:
        parts = spread.law.accuracy(defined), *spread.accuracy_interval(defined, coverage)
    middle, *band = (np.where(np.isnan(scale), np.nan, part) for part in parts)

    measured = [_measured(run, setting, name, quantity, at) for run in runs]
    colour = _curve(ax, grid, middle, band, coverage, {"label": label, **(style or {})})
    if measured:
        places, estimated = zip(*measured, strict=True)
        value, stderr = np.array([(one.value, one.stderr) for one in estimated]).T
        estimates(ax, places, Estimate(value, stderr, estimated[0].n), label=dots, color=colour, fmt=marker)
    if name in _LOGARITHMIC and grid[0] > 0.0:
        ax.set_xscale("log")
    ax.set_xlabel(_PARAMETERS[name])
    ax.set_ylabel(_QUANTITIES[quantity])
    return ax


def alpha_map(
    ax: Axes,
    grid: Mapping[str, ArrayLike],
    *,
    runs: Iterable[Simulation] = (),
    dots: str = "simulation",
    limit: float = 10.0,
    colour_bar: bool = True,
    **problem: Any,
) -> Axes:
    r"""Draw α* over two parameters of an isotropic problem, in colour and with labelled lines of equal α*.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    grid : dict of str to array_like
        Two parameters as `rmt_alpha.optimal_alpha` calls them, the first along the horizontal axis, such as
        ``{"gamma_source": …, "gamma": …}``; increasing values, at least two of each.
    runs : iterable of Simulation
        Simulations of the same problem with a single β, at any values of the two. Each is a mark in the colour of its
        α*: a circle, or a cross where that is more than 3 standard errors from theory.
    dots : str
        Name of the simulations in the legend, in which the largest difference |z|, in standard errors, is added to it.
    limit : float, default 10
        Colours tell α* apart from 1/limit to limit; above 1 and at most 1e100.
    colour_bar : bool, default True
        Whether to draw one beside the Axes.
    **problem
        The other parameters of `rmt_alpha.optimal_alpha`, single values.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`. Colours and greys are those of `phase_diagram`: white, and a thick line, where α* = 1.

    Raises
    ------
    ValueError
        If a parameter is outside its range or given twice, or a run is of another problem. Nothing is drawn then.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> grid = {"gamma_source": np.geomspace(0.01, 100, 20), "gamma": np.geomspace(0.01, 100, 20)}
    >>> ax = alpha_map(Figure().subplots(), grid, beta=0.8, n=200, p=400, n_source=500)
    >>> ax.get_xlabel(), ax.get_yscale()
    ("source's ridge penalty $\\tilde\\gamma$", 'log')
    """
    given: Any = grid
    if not isinstance(given, Mapping) or len(given) != 2 or not set(given) <= set(_PARAMETERS):
        raise ValueError(f"grid must map two of {', '.join(_PARAMETERS)} to their values, got {given!r}")
    (across, up), (columns, rows) = given, (_increasing(name, values) for name, values in given.items())
    setting, top = _single(problem, across, up), real("limit", limit, 1.0, 1e100, open_low=True)
    best = np.asarray(optimal_alpha(**setting | {across: columns, up: rows[:, None]}))
    measured = [(_place(run, setting, across, up), _own_alpha(run)) for run in runs]

    mesh, shown = _scales(ax, columns, rows, best, top)
    for name, axis, values in ((across, "x", columns), (up, "y", rows)):
        scale = "log" if name in _LOGARITHMIC and values[0] > 0.0 else "linear"
        ax.set(**{f"{axis}label": _PARAMETERS[name], f"{axis}scale": scale})
    levels = [level for level in top ** np.array([-1.0, -0.5, 0.0, 0.5, 1.0]) if shown.min() < level < shown.max()]
    if shown.count() and levels:
        lines = ax.contour(
            columns, rows, shown, levels, colors="black", linewidths=[1.6 if level == 1.0 else 0.6 for level in levels]
        )
        for text in ax.clabel(lines, fmt="%.2g", fontsize="small"):
            text.set_path_effects([withStroke(linewidth=2.0, foreground="white")])
    if measured:
        places, estimated = zip(*measured, strict=True)
        x, y = np.transpose(places)
        value, stderr = np.array([(one.value, one.stderr) for one in estimated]).T
        off = np.abs(value - np.asarray(optimal_alpha(**setting | {across: x, up: y}))) / stderr
        refuted = off > _REFUTED
        colour: dict[str, Any] = {"cmap": mesh.cmap, "norm": mesh.norm, "edgecolors": "black", "zorder": 3}
        named = f"{dots}, largest $|z| = {np.fmax.reduce(off):.2f}$"
        wrong = f"$|z| > {_REFUTED:g}$: {np.count_nonzero(refuted) or 'none'}"
        for where, label, marker, size in ((~refuted, named, "o", None), (refuted, wrong, "X", 60.0)):
            mark: dict[str, Any] = {"marker": marker, "s": size, "linewidths": 0.8}
            ax.scatter(x[where], y[where], c=value[where], label=label, **mark, **colour)
    if colour_bar:
        _colour_bar(ax, mesh)
    return ax


def _single(problem: Mapping[str, Any], *varied: str) -> dict[str, Any]:
    """Return the parameters of a problem that are not varied, after a check that each is a single value."""
    for name in varied:
        if name in problem:
            raise ValueError(f"{name} must not be given twice, got {problem[name]!r} beside the values of the axis")
    return {name: value if value is None else real(name, value) for name, value in problem.items()}


def _problem(name: str, run: Simulation) -> dict[str, Any]:
    """Return the parameters of the isotropic problem that was simulated, which has a single β."""
    if not isinstance(run.experiment, Experiment) or run.law.shape[1:]:
        raise ValueError(f"{name} must be a simulation of an isotropic problem with a single beta, got {run!r}")
    return {field.name: getattr(run.experiment, field.name) for field in fields(run.experiment)}


def _place(run: Simulation, setting: Mapping[str, Any], *varied: str) -> list[float]:
    """Return the values of the varied parameters in a run, after a check that the others are those of the curve."""
    simulated = _problem("runs", run)
    expected = {field.name: field.default for field in fields(Experiment)} | dict(setting)
    for name, value in simulated.items():
        if name not in varied and value != expected[name]:
            raise ValueError(f"runs must be of the problem drawn, {name}={expected[name]!r}, got {name}={value!r}")
    return [float(simulated[name]) for name in varied]


def _measured(
    run: Simulation, setting: Mapping[str, Any], name: str, quantity: str, alpha: float | str | None
) -> tuple[float, Estimate]:
    """Return where a run's dot is, and its estimate."""
    (place,) = _place(run, setting, name)
    if quantity == "optimal_alpha":
        return place, _own_alpha(run)
    scale = float(_taken(alpha, dict(setting) | {name: place}))
    return place, run.risk(scale) if quantity == "risk" else run.accuracy(scale)


def _taken(alpha: float | str | None, problem: Mapping[str, Any], shape: tuple[int, ...] = ()) -> FloatArray:
    """Return the scales at which accuracy or risk of a problem is taken."""
    if alpha is None:
        return np.asarray(optimal_alpha(**problem))
    if alpha == "risk":
        return np.asarray(margin_law(**problem).risk_optimal_alpha())
    return np.full(shape, alpha)


def _own_alpha(run: Simulation) -> Estimate:
    """Return the α* of the mean law of a run's draws, with the standard error that their covariance implies."""
    spread, trials = run.fluctuations(), len(run.law)
    return Estimate(float(spread.law.optimal_alpha()), float(spread.optimal_alpha_std()) / trials**0.5, trials)


def training_curve(ax: Axes, history: History) -> Axes:
    """Draw the losses of a training against its steps, with a star at the least validation loss.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    history : History
        What `rmt_alpha.lora.train` returned.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, with labels for a legend. The objective is thin and pale, as it is noisy on minibatches. The scale of the
        losses is logarithmic unless one is 0 or negative.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rmt_alpha.lora import AlphaLoRALinear, train
    >>> layer = AlphaLoRALinear([[1.0, 2.0]], rank=1, seed=0)
    >>> history = train(layer, [[1.0, 0.0], [0.0, 1.0]], [0.5, 1.0], steps=20)
    >>> training_curve(Figure().subplots(), history).get_legend_handles_labels()[1]
    ['objective', 'loss of the batches for α']
    """
    curves = (
        ("objective", np.arange(len(history.loss)), history.loss),
        ("loss of the batches for α", history.alpha_steps[1:], history.alpha_loss),
        ("validation loss", history.validation_steps, history.validation_loss),
    )
    for (label, steps, losses), colour in zip(curves, COLOURS, strict=False):
        if losses.size:
            thin: dict[str, Any] = {"linewidth": 0.6, "alpha": 0.6} if label == "objective" else {"linewidth": 1.2}
            ax.plot(steps, losses, color=colour, label=label, marker=_dot(losses), **thin)
    if (watched := history.validation_loss).size:
        best = int(np.argmin(watched))
        style: dict[str, Any] = {"color": COLOURS[2], "markersize": 11, "markeredgecolor": "black", "zorder": 4}
        ax.plot(history.validation_steps[best], watched[best], "*", label="least validation loss", **style)
    if all((losses > 0.0).all() for _, _, losses in curves):
        ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.set_ylabel("loss")
    return ax


def alpha_history(ax: Axes, history: History, *, reference: Mapping[str, ArrayLike] | None = None) -> Axes:
    """Draw every trained α against the steps.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    history : History
        What `rmt_alpha.lora.train` returned.
    reference : dict of str to array_like, optional
        Values to compare with, by label: horizontal lines. One number, or one for each row of an α, in the colours of
        the rows.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`, with labels for a legend: the names of the parameters, and of up to six rows of each; more rows have one
        colour and one label.

    Raises
    ------
    ValueError
        If a reference is not finite, or has neither one value nor one for each row of an α. Nothing is drawn then.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rmt_alpha.lora import AlphaLoRALinear, train
    >>> layer = AlphaLoRALinear([[1.0, 2.0], [2.0, 0.0]], alpha=[1.0, 0.5], rank=1, seed=0)
    >>> history = train(layer, [[1.0, 0.0], [0.0, 1.0]], [[0.5, 1.0], [1.0, 0.0]], steps=20)
    >>> ax = alpha_history(Figure().subplots(), history, reference={"theory": 0.5})
    >>> ax.get_legend_handles_labels()[1]
    ['alpha[0]', 'alpha[1]', 'theory']
    """
    given: Any = {} if reference is None else reference
    if not isinstance(given, Mapping):
        raise ValueError(f"reference must map labels to values, got {given!r}")
    compared = {label: real_array(f"reference[{label!r}]", value) for label, value in given.items()}
    lines: list[tuple[str, str, FloatArray]] = []
    colours: dict[tuple[int, ...], list[str]] = {(): ["0.25"]}  # of references, by their shapes
    used = 0
    for name, values in history.alpha.items():
        rows = values.reshape(len(values), -1).T
        count = len(rows)
        if values.ndim == 1:
            labels = [name]
        elif count <= len(COLOURS):
            labels = [f"{name}[{row}]" for row in range(count)]
        else:
            labels = [f"{name}, {count} rows"] + ["_"] * (count - 1)
        own = [COLOURS[(used + (label != "_") * row) % len(COLOURS)] for row, label in enumerate(labels)]
        used += len(set(own))
        lines += zip(labels, own, rows, strict=True)
        colours.setdefault(values.shape[1:], own)
    for label, values in compared.items():
        if values.shape not in colours:
            raise ValueError(
                f"reference[{label!r}] must be a number or have one for each row of an alpha, got shape {values.shape}"
            )
    for label, colour, path in lines:
        ax.plot(history.alpha_steps, path, color=colour, label=label, marker=_dot(path))
    for i, (label, values) in enumerate(compared.items()):
        style: dict[str, Any] = {"linestyle": ("--", ":", "-.")[i % 3], "linewidth": 1.2}
        for row, (value, colour) in enumerate(zip(values.ravel(), colours[values.shape], strict=True)):
            ax.axhline(value, color=colour, label="_" if row else label, **style)
    ax.set_xlabel("step")
    ax.set_ylabel(r"$\alpha$")
    return ax


def _dot(path: FloatArray) -> str | None:
    """Return the marker without which a curve of one point is invisible."""
    return "o" if path.size == 1 else None


def _scales(
    ax: Axes, columns: FloatArray, rows: FloatArray, best: FloatArray, top: float
) -> tuple[QuadMesh, np.ma.MaskedArray[Any, Any]]:
    """Colour every α* of a grid, white at 1, grey where it has no logarithm; return the mesh, and what it shows."""
    style: dict[str, Any] = {"shading": "nearest", "rasterized": True}
    shown = np.ma.masked_where(~(best > 0.0), best)
    mesh = ax.pcolormesh(columns, rows, shown, cmap=_diverging(), norm=LogNorm(1.0 / top, top), **style)
    plain = ((best <= 0.0, "0.75", r"$\alpha^* \leq 0$"), (np.isnan(best), "0.9", r"$\alpha^*$ undefined"))
    for where, grey, label in plain:
        if where.any():
            ax.pcolormesh(columns, rows, np.ma.masked_where(~where, best), cmap=ListedColormap([grey]), **style)
            ax.fill([], [], color=grey, label=label)
    return mesh, shown


def _colour_bar(ax: Axes, mesh: QuadMesh) -> None:
    figure: Any = ax.get_figure()
    bar = figure.colorbar(mesh, ax=ax, extend="both", label=r"best scale $\alpha^*$")
    bar.ax.yaxis.set_major_formatter("{x:g}")


def _diverging() -> ListedColormap:
    """Blue to red through white, distinguishable by colour-blind readers, without the ends that hide black lines."""
    return ListedColormap(colormaps["RdBu_r"](np.linspace(0.1, 0.9, 256)))


def _increasing(name: str, value: ArrayLike) -> FloatArray:
    low, high = (-1.0, 1.0) if name == "beta" else (0.0, np.inf)
    array = real_array(name, value, low, high, open_low=name == "eta")
    if array.ndim != 1 or array.size < 2 or not (np.diff(array) > 0.0).all():
        raise ValueError(f"{name} must be a vector of at least two increasing numbers, got {value!r}")
    return array
