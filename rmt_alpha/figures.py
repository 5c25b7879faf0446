r"""The figures of the α-LoRA paper that this package covers, drawn anew.

Each shows three things that must not be taken for one another: the corrected theory (a curve), the mean of simulated
experiments with bars of two standard errors of that mean (dots), and where single draws of the training samples lie (a
band, of theory where there is one for it). The drawing itself is done by functions on an Axes, in `rmt_alpha.plots`;
here are the settings, the simulations and the style. Simulated experiments are exact and seeded, so the same numbers of
trials and the same seed give the same figures. Each figure draws from a seed of its own, whichever others are drawn.

References: THEORY §4, §7–§9, §12; arXiv 2510.21345.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from tqdm import tqdm

from rmt_alpha import plots
from rmt_alpha._random import Seed, child, seed_sequence
from rmt_alpha._validation import check_memory, integer
from rmt_alpha.estimation.datasets import load
from rmt_alpha.estimation.held_out import held_out_curves
from rmt_alpha.problem import RegressionTask, RidgeSource
from rmt_alpha.regression import RegressionTransfer
from rmt_alpha.simulation.experiment import Simulation, simulate
from rmt_alpha.theory.fluctuations import fluctuations
from rmt_alpha.theory.isotropic import margin_law, optimal_alpha

COLUMN, PAGE = 3.4, 7.0
"""Widths of a figure of one panel, and of more, in inches."""

SUFFIXES = (".pdf", ".png")
"""Endings of the files of a figure."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P")
"""Lines and markers that go with the colours, so that a figure can be read without them."""

STYLE: dict[Any, Any] = {
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 6.5,
    "legend.frameon": True,
    "legend.edgecolor": "none",
    "legend.framealpha": 0.85,
    "legend.handlelength": 2.4,
    "legend.borderaxespad": 0.3,
    "legend.labelspacing": 0.3,
    "legend.columnspacing": 1.2,
    "lines.linewidth": 1.2,
    "lines.markersize": 4.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": cycler(color=plots.COLOURS) + cycler(linestyle=LINES),
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "hatch.linewidth": 0.5,
    "savefig.dpi": 300.0,
    "pdf.fonttype": 42,
}
"""The style of all figures, for `matplotlib.rc_context`: sizes in points, at the width that they are printed in."""

FIGURE_1: dict[str, Any] = {"n_source": 5000, "gamma_source": 5.0, "n": 40, "p": 1000, "gamma": 0.1}
FIGURE_1 |= {"mu": 0.8, "mu_perp": 0.8}
"""Setting of the paper's Figure 1."""

_FIGURE_1_BETA = (0.2, 0.5, 0.9)
_DECISION: dict[str, Any] = {"beta": 0.9, "n_source": 2000, "gamma_source": 5.0, "n": 40, "p": 400, "gamma": 0.1}
_DECISION |= {"mu": 1.5, "mu_perp": 1.5}
_BETA: dict[str, Any] = {"n_source": 2000, "gamma_source": 1.0, "n": 200, "gamma": 1.0}
_BETA_ETA = (0.25, 1, 4)
_GAMMAS: dict[str, Any] = {"beta": 0.8, "n_source": 500, "n": 200, "p": 400}
_GAMMA: dict[str, Any] = {"beta": 0.8, "n_source": 2000, "gamma_source": 1.0, "n": 200, "p": 400}
_REGRESSION: dict[str, Any] = {"n_source": 400, "gamma_source": 0.1, "n": 100, "p": 200, "gamma": 0.1}
_REGRESSION_NOISE, _REGRESSION_EIGENVALUES = 0.5, (0.1, 4.0)
_REAL = (("digits:2,3", "digits:8,9", 20, 10.0), ("digits:6,8", "digits:5,9", 40, 1.0))
"""Source, target, n and γ of two transfers between pairs of digits; γ̃ = 1."""

_SYMBOLS = {"beta": "β", "n_source": "N", "gamma_source": "γ̃", "n": "n", "p": "p", "gamma": "γ"}
_SYMBOLS |= {"mu": "‖μ‖", "mu_perp": "‖μ_⊥‖"}


@dataclass(frozen=True)
class Draws:
    """Where a figure gets its simulated experiments.

    Parameters
    ----------
    trials : int
        Experiments behind each dot.
    root : SeedSequence
        Seed of the figure.
    progress : bool
        Whether to show progress on standard error.
    """

    trials: int
    root: np.random.SeedSequence
    progress: bool

    def one(self, **problem: Any) -> Simulation:
        """Repeat one isotropic experiment.

        Parameters
        ----------
        **problem
            Its parameters, as those of `rmt_alpha.simulate`.

        Returns
        -------
        Simulation
            As many experiments as `trials` says.
        """
        return simulate(**problem, trials=self.trials, seed=self.root, progress=self.progress)

    def each(self, problems: Iterable[Mapping[str, Any]]) -> list[Simulation]:
        """Repeat several isotropic experiments, each with random numbers of its own.

        Parameters
        ----------
        problems : iterable of dict
            Their parameters, as for `one`.

        Returns
        -------
        list of Simulation
            One for each problem.
        """
        listed = list(problems)
        return [
            simulate(**problem, trials=self.trials, seed=child(self.root, i))
            for i, problem in enumerate(tqdm(listed, desc="simulations", leave=False, disable=not self.progress))
        ]


@dataclass(frozen=True)
class Drawing:
    """What `draw` knows of a figure.

    Parameters
    ----------
    shows : str
        What is to be seen.
    setting : str
        For which problem.
    function : str
        What draws it on an Axes, in `rmt_alpha.plots`.
    trials : int
        Experiments (of real data: random splits) behind each dot, unless told otherwise.
    size : tuple of float
        Width and height in inches.
    panels : int
        Number of Axes, side by side.
    fill : callable
        Draws on these Axes.
    """

    shows: str
    setting: str
    function: str
    trials: int
    size: tuple[float, float]
    panels: int
    fill: Callable[[list[Axes], Draws], None]


def draw(name: str, *, trials: int | None = None, seed: Seed = 0, progress: bool = False) -> Figure:
    r"""Draw one of the figures.

    Parameters
    ----------
    name : str
        One of `NAMES`.
    trials : int, optional
        Experiments behind each dot, at least 2, or random splits of real data; by default as many as the figure wants.
    seed : int, SeedSequence, Generator or None, default 0
        Source of randomness.
    progress : bool, default False
        Show progress bars on standard error.

    Returns
    -------
    matplotlib.figure.Figure
        In the size in which it is printed: 3.4 inches wide with one panel, 7 with more. `save` writes it.

    Raises
    ------
    ValueError
        If there is no such figure, `trials` is not an integer of at least 2, or scikit-learn, which has the real data,
        is missing.

    Examples
    --------
    >>> figure = draw("alpha-beta", trials=20)
    >>> figure.axes[0].get_xlabel(), figure.get_size_inches()
    ('alignment $\\beta$', array([3.4, 2.6]))
    """
    if name not in FIGURES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    drawing = FIGURES[name]
    count = integer("trials", drawing.trials if trials is None else trials, 2)
    draws = Draws(count, child(seed_sequence(seed), NAMES.index(name)), progress)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=drawing.size, layout="constrained")
        drawing.fill(list(figure.subplots(1, drawing.panels, squeeze=False)[0]), draws)
    return figure


def save(figure: Figure, name: str, folder: str | os.PathLike[str] = ".") -> tuple[Path, ...]:
    """Write a figure as PDF and as PNG; files of that name are replaced when both are complete.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What `draw` returned.
    name : str
        Name of the files, without ending.
    folder : str or path, default "."
        An existing folder.

    Returns
    -------
    tuple of Path
        The files.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    parts = {Path(folder, name + suffix): Path(folder, f".{name}.{os.getpid()}{suffix}") for suffix in SUFFIXES}
    try:
        with mpl.rc_context(STYLE):
            for part in parts.values():
                undated = {"CreationDate": None} if part.suffix == ".pdf" else {}
                figure.savefig(part, metadata=undated)
        for file, part in parts.items():
            part.replace(file)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    return tuple(parts)


def _described(problem: Mapping[str, Any], **varied: Any) -> str:
    """Say a setting in symbols."""
    setting = dict(problem) | varied
    values = {symbol: setting[name] for name, symbol in _SYMBOLS.items() if name in setting}
    values |= {name: value for name, value in setting.items() if name not in _SYMBOLS}
    shown = {
        symbol: value if isinstance(value, str) else ", ".join(f"{float(one):g}" for one in np.ravel(value))
        for symbol, value in values.items()
    }
    return "; ".join(f"{symbol} = {text}" for symbol, text in shown.items())


def _error(trials: int, what: str = "mean") -> str:
    return f"{what} of {trials} ± 2 s.e."


def _mark(ax: Axes, marker: str, label: str) -> None:
    """Name a mark of the curves in the legend."""
    edge: dict[str, Any] = {"markeredgecolor": "black", "markersize": 8.0} if marker == "*" else {}
    ax.plot([], [], marker, color="0.5", label=label, **edge)


def _lines(ax: Axes) -> None:
    """Mark ordinary fine-tuning."""
    ax.axvline(1.0, **_THIN)
    _name_line(ax)


def _name_line(ax: Axes) -> None:
    """Say what the vertical line is."""
    at: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "xytext": (2, -2), "textcoords": "offset points"}
    ax.annotate(r"$\alpha = 1$", (1.0, 1.0), va="top", color="0.4", fontsize="small", **at)


_THIN: dict[str, Any] = {"color": "0.7", "linewidth": 0.6, "linestyle": "-", "zorder": 0.5}


def _entries(*axes: Axes) -> tuple[list[Any], list[str]]:
    """Return what goes into a legend: curves, then marks, then the band and the dots that all curves have."""
    named: dict[str, Any] = {}
    for ax in axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    labels = sorted(named, key=lambda label: label.startswith(("90 %", "mean")))
    return [named[label] for label in labels], labels


def _accuracy_alpha(axes: list[Axes], draws: Draws) -> None:
    (ax,) = axes
    beta = np.array(_FIGURE_1_BETA)
    spread = fluctuations(beta, **FIGURE_1)
    low, high = float(np.min(spread.law.worst_alpha())) - 0.8, 1.4 * float(np.max(optimal_alpha(beta, **FIGURE_1)))
    grid, few = np.linspace(low, high, 241), np.linspace(low + 0.3, high - 0.3, 11)
    run = draws.one(beta=beta, **FIGURE_1)
    _lines(ax)
    ax.axhline(0.5, **_THIN)
    for i in range(beta.size):
        style: dict[str, Any] = {"color": plots.COLOURS[i], "linestyle": LINES[i]}
        plots.accuracy_curve(ax, spread[i], grid, label=rf"theory, $\beta = {beta[i]:g}$", **style)
        label = "_" if i else _error(draws.trials)
        plots.estimates(ax, few, run[i].accuracy(few), label=label, color=plots.COLOURS[i], fmt=MARKERS[i])
    _mark(ax, "*", r"$\alpha^*$")
    _mark(ax, "x", r"worst $\alpha$")
    ax.legend(*_entries(ax), ncols=2, loc="lower right")


def _decision_function(axes: list[Axes], draws: Draws) -> None:
    run, best = draws.one(**_DECISION), float(optimal_alpha(**_DECISION))
    for i, (ax, alpha, name) in enumerate(
        zip(axes, (0.0, 1.0, best), ("0", "1", rf"\alpha^* = {best:.1f}"), strict=True)
    ):
        plots.decision_function(ax, run, alpha, seed=child(draws.root, 1, i))
        accuracy = float(margin_law(**_DECISION).accuracy(alpha))
        equal = "" if name.startswith("\\") else r"\alpha = "
        ax.set_title(rf"${equal}{name}$: accuracy {accuracy:.3f} in theory")
    for ax in axes[1:]:
        ax.set_ylabel("")
    _legend_below(axes, 5)


def _legend_below(axes: list[Axes], columns: int) -> None:
    """Put one legend of all panels below them."""
    figure: Any = axes[0].figure
    figure.legend(*_entries(*axes), loc="outside lower center", ncols=columns)


def _alpha_beta(axes: list[Axes], draws: Draws) -> None:
    (ax,) = axes
    grid, few = np.linspace(0.0, 1.0, 101), np.linspace(0.1, 1.0, 7)
    problems = [_BETA | {"p": int(eta * _BETA["n"])} for eta in _BETA_ETA]
    runs = draws.each(problem | {"beta": few} for problem in problems)
    ax.axhline(1.0, **_THIN)
    for i, (eta, problem, run) in enumerate(zip(_BETA_ETA, problems, runs, strict=True)):
        plots.parameter_curve(
            ax,
            "beta",
            grid,
            "optimal_alpha",
            runs=[run[j] for j in range(few.size)],
            label=rf"theory, $\eta = {eta:g}$",
            dots="_" if i else _error(draws.trials, "mean law"),
            style={"color": plots.COLOURS[i], "linestyle": LINES[i]},
            marker=MARKERS[i],
            **problem,
        )
    ax.legend(*_entries(ax), loc="upper left")


def _alpha_gammas(axes: list[Axes], draws: Draws) -> None:
    (ax,) = axes
    grid, few = np.geomspace(1e-2, 1e2, 121), np.geomspace(0.03, 30.0, 4)
    runs = draws.each(_GAMMAS | {"gamma_source": old, "gamma": new} for old in few for new in few)
    dots = f"{len(runs)} mean laws of {draws.trials}"
    plots.alpha_map(ax, {"gamma_source": grid, "gamma": grid}, runs=runs, dots=dots, limit=100.0, **_GAMMAS)
    _legend_below(axes, 2)


def _gamma(axes: list[Axes], draws: Draws) -> None:
    grid, few = np.geomspace(1e-2, 1e2, 121), np.geomspace(1e-2, 1e2, 9)
    runs = draws.each(_GAMMA | {"gamma": gamma} for gamma in few)
    scales: list[tuple[Any, str]]
    scales = [(0.0, r"$\alpha = 0$"), (1.0, r"$\alpha = 1$"), (None, r"$\alpha^*$ of accuracy")]
    least: list[tuple[Any, str]] = [("risk", r"$\alpha$ of least risk")]
    for ax, quantity, shown in zip(axes, ("accuracy", "risk"), (scales, scales + least), strict=True):
        for i, (alpha, name) in enumerate(shown):
            plots.parameter_curve(
                ax,
                "gamma",
                grid,
                quantity,
                alpha=alpha,
                runs=runs,
                label=f"theory, {name}",
                dots="_" if i else _error(draws.trials),
                style={"color": plots.COLOURS[i], "linestyle": LINES[i]},
                marker=MARKERS[i],
                **_GAMMA,
            )
    _legend_below(axes, 3)


def regression_problem(beta: float) -> RegressionTransfer:
    """Return the regression of the figure "regression".

    Parameters
    ----------
    beta : float
        Alignment: the target's weights are ``β w + √(1−β²) w_⊥``, those of the source w, orthonormal and spread over
        all features.

    Returns
    -------
    RegressionTransfer
        With one output, from a source trained by ridge.
    """
    setting, p = _REGRESSION, _REGRESSION["p"]
    old = np.full(p, p**-0.5)
    across = (2.0 / p) ** 0.5 * np.cos(np.pi * (np.arange(p) + 0.5) / p * 8.0)
    covariance = np.geomspace(*_REGRESSION_EIGENVALUES, p)
    tasks = [
        RegressionTask(w, covariance, _REGRESSION_NOISE)
        for w in (old, beta * old + ((1.0 - beta) * (1.0 + beta)) ** 0.5 * across)
    ]
    source = RidgeSource(tasks[0], setting["n_source"], setting["gamma_source"])
    return RegressionTransfer(tasks[1], setting["n"], setting["gamma"], (source,))


def _regression(axes: list[Axes], draws: Draws) -> None:
    (ax,) = axes
    grid, few = np.linspace(-1.0, 2.5, 141), np.linspace(-0.8, 2.3, 9)
    check_memory(f"trials {draws.trials} × alphas {grid.size}", 32.0 * draws.trials * grid.size)
    _lines(ax)
    for i, beta in enumerate(_FIGURE_1_BETA):
        problem = regression_problem(beta)
        run = problem.simulate(draws.trials, child(draws.root, i), progress=draws.progress)
        style: dict[str, Any] = {"color": plots.COLOURS[i], "linestyle": LINES[i]}
        plots.risk_curve(ax, problem.risk_law(), grid, label=rf"theory, $\beta = {beta:g}$", **style)
        ends = np.quantile(np.asarray(run.total[:, None].risk(grid)), [0.05, 0.95], axis=0)
        ax.fill_between(
            grid, *ends, color=plots.COLOURS[i], alpha=0.18, linewidth=0, label="_" if i else "90 % of simulated draws"
        )
        label = "_" if i else _error(draws.trials)
        plots.estimates(ax, few, run.risk(few), label=label, color=plots.COLOURS[i], fmt=MARKERS[i])
    _mark(ax, "*", r"$\alpha$ of least risk")
    ax.legend(*_entries(ax), loc="upper left")


def _real_data(axes: list[Axes], draws: Draws) -> None:
    for i, (ax, (source, target, n, gamma)) in enumerate(zip(axes, _REAL, strict=True)):
        curves = held_out_curves(
            load(source),
            load(target),
            n=n,
            gamma=gamma,
            gamma_source=1.0,
            alphas=np.linspace(-1.0, 3.0, 81),
            splits=draws.trials,
            seed=child(draws.root, i),
            progress=draws.progress,
        )
        plots.held_out(ax, curves)
        _name_line(ax)
        for line in ax.lines:
            if str(line.get_label()).startswith("its "):  # in the manner of the curve to which it belongs
                line.set(linestyle=LINES[plots.COLOURS.index(line.get_color())], linewidth=0.8)
        ax.set_title(rf"{curves.source} $\to$ {curves.target}, $n = {n}$, $\gamma = {gamma:g}$")
        refuted = f"bar: prediction refuted, beyond {curves.verdict().threshold:.3g} s.e."
    handles, labels = _held_out_entries(axes, draws.trials, refuted)
    figure: Any = axes[0].figure
    figure.legend(handles, labels, loc="outside lower center", ncols=3)


def _held_out_entries(axes: list[Axes], splits: int, refuted: str) -> tuple[list[Any], list[str]]:
    """Return a column of the legend for the measurement, and one for each prediction: curve, its α*, band."""
    columns: dict[str, dict[str, Any]] = {}
    line: Any
    for ax in axes:
        for line, label in zip(*ax.get_legend_handles_labels(), strict=True):
            if not label.startswith("fails"):  # in the colour of one prediction, where it stands for both
                columns.setdefault(line.get_color(), {}).setdefault(label, line)
    for colour, column in columns.items():
        measured = colour == plots.COLOURS[0]
        label = f"band: mean of {splits} splits ± 2 s.e." if measured else "band: ± 1 s.d. between splits"
        column[label] = Patch(color=colour, alpha=0.2, linewidth=0)
        if measured:
            column[refuted] = Patch(color="0.5", linewidth=0)
    entries = [entry for column in columns.values() for entry in column.items()]
    return [handle for _, handle in entries], [label for label, _ in entries]


FIGURES: dict[str, Drawing] = {
    "accuracy-alpha": Drawing(
        "accuracy against α, with α* and the worst α, for three β",
        _described(FIGURE_1, beta=_FIGURE_1_BETA),
        "accuracy_curve, estimates",
        2000,
        (COLUMN, 2.6),
        1,
        _accuracy_alpha,
    ),
    "decision-function": Drawing(
        "histograms of the decision function w_αᵀx, one point of either class in each trial, and the Gaussians of "
        "theory, at α = 0, 1, α*",
        _described(_DECISION),
        "decision_function",
        4000,
        (PAGE, 2.3),
        3,
        _decision_function,
    ),
    "alpha-beta": Drawing(
        "α* against β for several η = p/n",
        _described(_BETA, η=_BETA_ETA),
        "parameter_curve",
        500,
        (COLUMN, 2.6),
        1,
        _alpha_beta,
    ),
    "alpha-gammas": Drawing(
        "α* over (γ̃, γ), a map, with simulated values, marked where they are more than 3 standard errors off",
        _described(_GAMMAS),
        "alpha_map",
        500,
        (COLUMN, 2.8),
        1,
        _alpha_gammas,
    ),
    "gamma": Drawing(
        "accuracy and risk against γ at α = 0, 1 and the α* of accuracy; risk also at the α of least risk",
        _described(_GAMMA),
        "parameter_curve",
        500,
        (PAGE, 2.6),
        2,
        _gamma,
    ),
    "regression": Drawing(
        "risk of a regression against α, with the α of least risk, for three β",
        _described(
            _REGRESSION,
            beta=_FIGURE_1_BETA,
            σ=_REGRESSION_NOISE,
            spectrum="geometric from {:g} to {:g}".format(*_REGRESSION_EIGENVALUES),
        ),
        "risk_curve, estimates",
        200,
        (COLUMN, 2.6),
        1,
        _regression,
    ),
    "real-data": Drawing(
        "accuracy on held-out rows against α, two predictions of it, and bars where these are refuted",
        ", and ".join(f"{old} → {new}, n = {n}, γ = {gamma:g}" for old, new, n, gamma in _REAL) + "; γ̃ = 1",
        "held_out",
        40,
        (PAGE, 2.9),
        2,
        _real_data,
    ),
}
"""The figures by name, in the order in which they are drawn."""

NAMES = tuple(FIGURES)
"""Names of the figures."""
