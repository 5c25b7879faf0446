"""Figures: every function draws on the Axes that it is given, and returns it.

Colours are those of Okabe and Ito, distinguishable by colour-blind readers.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm
from numpy.typing import ArrayLike
from scipy import special

from rmt_alpha._validation import FloatArray, real, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.estimation.held_out import HeldOutCurves, Prediction, Verdict
from rmt_alpha.laws import MarginLaw
from rmt_alpha.lora.training import History
from rmt_alpha.spread import Fluctuations
from rmt_alpha.theory.fluctuations import checked_order
from rmt_alpha.theory.isotropic import accuracy, optimal_alpha

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

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
        If `alpha` is not a vector of finite numbers, `coverage` not between 0 and 1, or `order` neither 1 nor, with
        `Fluctuations`, 2. Nothing is drawn then.

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
        ax.plot(best, value(best), "*", color=colour, markersize=11, markeredgecolor="black", zorder=4)
    if grid[0] <= worst <= grid[-1]:
        ax.plot(worst, 0.5, "x", color=colour, markersize=7, zorder=4)
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("accuracy")
    return ax


def risk_curve(
    ax: Axes,
    law: MarginLaw | Fluctuations,
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
    ax, law, alpha, label, coverage, order, **style
        As in `accuracy_curve`. The band takes the risk of a draw for Gaussian around the limit, and ends at 0.

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
        middle, half = np.asarray(value(grid)), special.ndtri(0.5 + 0.5 * share) * np.asarray(law.risk_std(grid))
        band = np.maximum(middle - half, 0.0), middle + half
    colour = _curve(ax, grid, value(grid), band, share, {"label": label, **style})
    best = limit.risk_optimal_alpha()
    if grid[0] <= best <= grid[-1]:
        ax.plot(best, value(best), "*", color=colour, markersize=11, markeredgecolor="black", zorder=4)
    ax.set_xlabel(r"$\alpha$")
    ax.set_ylabel("squared risk")
    return ax


def _checked_curve(
    law: MarginLaw | Fluctuations, alpha: ArrayLike, coverage: float, order: int
) -> tuple[FloatArray, MarginLaw, float]:
    """Check what a curve is drawn of; return the values of α, the law without its spread, and the coverage."""
    grid = real_array("alpha", alpha)
    if grid.ndim != 1 or not grid.size:
        raise ValueError(f"alpha must be a vector with at least one entry, got shape {grid.shape}")
    share = real("coverage", coverage, 0.0, 1.0, open_low=True, open_high=True)
    if checked_order(order) == 2 and not isinstance(law, Fluctuations):
        raise ValueError("order must be 1 with a MarginLaw: the mean over draws takes Fluctuations")
    return grid, law.law if isinstance(law, Fluctuations) else law, share


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
        If `spread` does not have two ends for each entry. Nothing is drawn then.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> import rmt_alpha as ra
    >>> run = ra.simulate(0.8, 20, 40, 0.1, trials=10, seed=0)
    >>> ax = estimates(Figure().subplots(), [0, 1], run.accuracy([0, 1]), spread=run.quantile([0, 1], [0.05, 0.95]))
    >>> len(ax.containers), len(ax.collections[-1].get_segments())
    (1, 2)
    """
    ends = None if spread is None else real_array("spread", spread)
    if ends is not None and ends.shape != (2, *np.shape(estimate.value)):
        wanted = (2, *np.shape(estimate.value))
        raise ValueError(f"spread must have shape {wanted}, two ends for each estimate, got {ends.shape}")
    bars: dict[str, Any] = {"fmt": "o", "markersize": 4, "capsize": 2, **style}
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

    style: dict[str, Any] = {"shading": "nearest", "rasterized": True}
    shown = np.ma.masked_where(~(best > 0.0), best)
    mesh = ax.pcolormesh(columns, rows, shown, cmap=_diverging(), norm=LogNorm(1.0 / top, top), **style)
    ax.set_yscale("log")
    plain = ((best <= 0.0, "0.75", r"$\alpha^* \leq 0$"), (np.isnan(best), "0.9", r"$\alpha^*$ undefined"))
    for where, grey, label in plain:
        if where.any():
            ax.pcolormesh(columns, rows, np.ma.masked_where(~where, best), cmap=ListedColormap([grey]), **style)
            ax.fill([], [], color=grey, label=label)
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
        figure: Any = ax.get_figure()
        bar = figure.colorbar(mesh, ax=ax, extend="both", label=r"best scale $\alpha^*$")
        bar.ax.yaxis.set_major_formatter("{x:g}")
    return ax


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


def _diverging() -> ListedColormap:
    """Blue to red through white, distinguishable by colour-blind readers, without the ends that hide black lines."""
    return ListedColormap(colormaps["RdBu_r"](np.linspace(0.1, 0.9, 256)))


def _increasing(name: str, value: ArrayLike) -> FloatArray:
    low, high = (-1.0, 1.0) if name == "beta" else (0.0, np.inf)
    array = real_array(name, value, low, high, open_low=name == "eta")
    if array.ndim != 1 or array.size < 2 or not (np.diff(array) > 0.0).all():
        raise ValueError(f"{name} must be a vector of at least two increasing numbers, got {value!r}")
    return array
