"""Figures: every function draws on the Axes that it is given, and returns it.

Colours are those of Okabe and Ito, distinguishable by colour-blind readers.
"""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

from rmt_alpha._validation import real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.estimation.held_out import HeldOutCurves
from rmt_alpha.laws import MarginLaw

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def accuracy_curve(ax: Axes, law: MarginLaw, alpha: ArrayLike, *, label: str = "theory", **style: Any) -> Axes:
    """Draw accuracy against α, with a star at α* and a cross where accuracy is ½.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    law : MarginLaw
        A single law of one source.
    alpha : array_like
        Values of α, increasing.
    label : str, default "theory"
        Name in the legend.
    **style
        Passed to ``ax.plot``.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> ax = accuracy_curve(Figure().subplots(), ra.margin_law(0.8, 200, 400, 0.1), np.linspace(-1, 3, 50))
    >>> ax.get_ylabel()
    'accuracy'
    """
    grid = real_array("alpha", alpha)
    (line,) = ax.plot(grid, law.accuracy(grid), label=label, **style)
    best, worst = law.optimal_alpha(), law.worst_alpha()
    colour = line.get_color()
    if grid[0] <= best <= grid[-1]:
        ax.plot(best, law.accuracy(best), "*", color=colour, markersize=11, markeredgecolor="black", zorder=4)
    if grid[0] <= worst <= grid[-1]:
        ax.plot(worst, 0.5, "x", color=colour, markersize=7, zorder=4)
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("accuracy")
    return ax


def risk_curve(ax: Axes, law: MarginLaw, alpha: ArrayLike, *, label: str = "theory", **style: Any) -> Axes:
    """Draw squared risk against α, with a star at its minimum.

    Parameters
    ----------
    ax, law, alpha, label, **style
        As in `accuracy_curve`.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> ax = risk_curve(Figure().subplots(), ra.margin_law(0.8, 200, 400, 0.1), np.linspace(-1, 3, 50))
    >>> ax.get_ylabel()
    'squared risk'
    """
    grid = real_array("alpha", alpha)
    (line,) = ax.plot(grid, law.risk(grid), label=label, **style)
    best = law.risk_optimal_alpha()
    if grid[0] <= best <= grid[-1]:
        ax.plot(best, law.risk(best), "*", color=line.get_color(), markersize=11, markeredgecolor="black", zorder=4)
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("squared risk")
    return ax


def estimates(ax: Axes, alpha: ArrayLike, estimate: Estimate, *, label: str = "simulation", **style: Any) -> Axes:
    """Draw Monte-Carlo means with bars of two standard errors.

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
    **style
        Passed to ``ax.errorbar``.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, 20, 40, 0.1, trials=10, seed=0)
    >>> ax = estimates(Figure().subplots(), [0, 1], run.accuracy([0, 1]))
    >>> len(ax.containers)
    1
    """
    bars: dict[str, Any] = {"fmt": "o", "markersize": 4, "capsize": 2, **style}
    ax.errorbar(alpha, estimate.value, yerr=2 * np.asarray(estimate.stderr), label=label, **bars)
    return ax


def held_out(ax: Axes, curves: HeldOutCurves) -> Axes:
    """Draw a predicted accuracy curve over the one measured on held-out rows, and shade where it fails.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Where to draw.
    curves : HeldOutCurves
        What `held_out_curves` returns.

    Returns
    -------
    matplotlib.axes.Axes
        `ax`. Bands: two standard errors of the measured mean over splits; one standard deviation of the prediction
        between splits.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from rmt_alpha.estimation.datasets import load
    >>> from rmt_alpha.estimation.held_out import held_out_curves
    >>> setting = dict(n=40, gamma=1.0, gamma_source=1.0, alphas=[0.0, 0.5, 1.0], splits=5, seed=0)
    >>> ax = held_out(Figure().subplots(), held_out_curves(load("digits:6,8"), load("digits:5,9"), **setting))
    >>> ax.get_legend_handles_labels()[1][:2]
    ['measured on held-out rows', 'isotropic prediction']
    """
    alpha, measured = curves.alphas, curves.accuracy
    bands = (
        ("measured on held-out rows", COLOURS[0], np.asarray(measured.value), 2 * np.asarray(measured.stderr)),
        ("isotropic prediction", COLOURS[1], curves.prediction, curves.prediction_spread),
    )
    for label, colour, middle, half in bands:
        ax.plot(alpha, middle, color=colour, label=label)
        low, high = np.clip([middle - half, middle + half], 0.0, 1.0)
        ax.fill_between(alpha, low, high, color=colour, alpha=0.2, linewidth=0)
    verdict = curves.verdict()
    for i, (left, right) in enumerate(verdict.ranges):
        label = "_" if i else f"prediction fails ({verdict.threshold:.3g} errors)"
        ax.axvspan(left, right, color="0.5", alpha=0.12, linewidth=0, label=label)
    if alpha[0] <= curves.median_alpha <= alpha[-1]:
        ax.axvline(curves.median_alpha, color=COLOURS[1], linestyle="--", label=r"predicted $\alpha^*$ (median)")
    ax.axvline(1.0, color="0.6", linewidth=0.8)
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("accuracy")
    return ax
