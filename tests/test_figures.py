"""The figures of the paper: that what is drawn is right, the files, and the command."""

import json
import re

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection, PolyCollection, QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from scipy.stats import norm, t

import rmt_alpha as ra
from rmt_alpha import cli, figures, plots
from rmt_alpha.laws import flatten

SETTING = {"beta": 0.8, "n": 60, "p": 90, "mu": 1.2, "n_source": 100, "gamma_source": 0.5}
GAMMA = np.geomspace(0.05, 20.0, 9)


@pytest.fixture
def ax():
    return Figure().subplots()


@pytest.fixture(scope="module")
def run():
    return ra.simulate(**SETTING, gamma=0.2, trials=400, seed=0)


def ends(band):
    """Return the ends of a band at the grid points, low and high."""
    vertices = band.get_paths()[0].vertices
    n = (len(vertices) - 3) // 2
    return vertices[1 : n + 1, 1], vertices[n + 2 : 2 * n + 2, 1][::-1]


def bands(ax):
    return [c for c in ax.collections if isinstance(c, PolyCollection)]


def dots(ax):
    """Return places, values and two standard errors of every row of dots."""
    rows = []
    for points, _, (bars,) in (container.lines for container in ax.containers):
        half = [0.5 * (s[1, 1] - s[0, 1]) for s in bars.get_segments()]
        rows.append((*points.get_data(), np.array(half)))
    return rows


def curves(ax):
    return {line.get_label(): line.get_ydata() for line in ax.lines if line.get_label().startswith("theory")}


def stars(ax):
    found = [line for line in ax.lines if line.get_marker() == "*" and len(line.get_xdata())]
    return [float(line.get_xdata()[0]) for line in found]


# The decision function.


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.0, 1.7, -0.6])
def test_decision_function_has_the_gaussians_of_theory_and_their_spread(ax, run, alpha):
    assert plots.decision_function(ax, run, alpha, coverage=0.8) is ax
    spread = ra.fluctuations(**SETTING, gamma=0.2)
    gaussians = [line for line in ax.lines if line.get_label().startswith("theory")]
    for line, y in zip(gaussians, (-1, 1), strict=True):
        x, drawn = line.get_data()

        def density(numbers, x=x, y=y):
            m, v = numbers[0] + alpha * numbers[1], numbers[2] + 2 * alpha * numbers[3] + alpha**2 * numbers[4]
            return norm.pdf(x, y * m, np.sqrt(v))

        numbers = flatten(spread.law)
        np.testing.assert_allclose(drawn, density(numbers), rtol=1e-12)
        gradient = np.stack([(density(numbers + h) - density(numbers - h)) / 2e-6 for h in 1e-6 * np.eye(5)])
        std = np.sqrt(np.einsum("ix,ij,jx->x", gradient, spread.cov, gradient))
        low, high = ends(bands(ax)[(y + 1) // 2])
        np.testing.assert_allclose(high, drawn + norm.ppf(0.9) * std, atol=1e-7)
        np.testing.assert_allclose(low, np.maximum(drawn - norm.ppf(0.9) * std, 0.0), atol=1e-7)
    assert [line.get_linestyle() for line in gaussians] == ["-", "--"]
    assert "class −1: 400 trials ± 2 s.e." in ax.get_legend_handles_labels()[1]
    FigureCanvasAgg(ax.figure).draw()


def test_histograms_are_normalised_and_of_the_draws(ax, run):
    alpha, bins = 0.4, 12  # far from where the variance is 1
    plots.decision_function(ax, run, alpha, bins=bins, seed=4)
    mean, variance = run.law.moments(alpha)
    errors = [c for c in ax.collections if hasattr(c, "get_segments")]
    for y, patch, bars in zip((-1, 1), ax.patches, errors, strict=True):
        height, edges, _ = patch.get_data()
        assert len(height) == bins
        width = np.diff(edges)
        assert (height * width).sum() == pytest.approx(1.0)
        # given its weights, each experiment has its own Gaussian: the chance of a bin is exact
        chance = np.diff(norm.cdf((edges[:, None] - y * mean) / np.sqrt(variance)), axis=0).mean(axis=1)
        error = np.sqrt(chance * (1.0 - chance) / 400) / width
        many = chance > 0.02
        z = (height - chance / width)[many] / error[many]
        assert many.sum() >= 5
        assert np.abs(z).max() < 4.0
        half = np.array([0.5 * (s[1, 1] - s[0, 1]) for s in bars.get_segments()])
        share = height * width
        np.testing.assert_allclose(half, 2.0 * np.sqrt(share * (1.0 - share) / 400) / width)
        other = np.diff(norm.cdf((edges[:, None] + y * mean) / np.sqrt(variance)), axis=0).mean(axis=1)
        assert np.abs((height - other / width)[many] / error[many]).max() > 10.0  # the classes are told apart


def test_points_of_the_decision_function_are_seeded(run):
    heights = []
    for seed in (1, 1, 2):
        ax = Figure().subplots()
        plots.decision_function(ax, run, 1.0, seed=seed)
        heights.append(ax.patches[0].get_data().values)
    np.testing.assert_array_equal(heights[0], heights[1])
    assert len(heights[2]) != len(heights[0]) or (heights[2] != heights[0]).any()


def test_decision_function_refuses_what_it_cannot_draw(ax, run):
    several = ra.simulate(**SETTING | {"beta": [0.2, 0.8]}, gamma=0.2, trials=2, seed=0)
    other = ra.simulate(0.8, 10, 12, 0.2, noise="laplace", test_size=10, trials=2, seed=0)
    for what, alpha, message in (
        (several, 1.0, "run must be a simulation of an isotropic problem with a single beta"),
        (other, 1.0, "run must have Gaussian noise"),
        (run, np.inf, "alpha must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            plots.decision_function(ax, what, alpha)
    for name in ("bins", "coverage"):
        with pytest.raises(ValueError, match=f"{name} must"):
            plots.decision_function(ax, run, 1.0, **{name: 0})
    assert not ax.lines
    assert not ax.patches


# Against a parameter.


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [0.3, None, "risk"])
def test_accuracy_and_risk_against_a_parameter(run, alpha):
    def scales(gamma):
        if alpha == "risk":
            return ra.margin_law(**SETTING, gamma=gamma).risk_optimal_alpha()
        return ra.optimal_alpha(**SETTING, gamma=gamma) if alpha is None else np.full(np.shape(gamma), alpha)

    at = scales(GAMMA)
    spread = ra.fluctuations(**SETTING, gamma=GAMMA)
    for quantity, value in (("accuracy", ra.accuracy), ("risk", ra.risk)):
        ax = Figure().subplots()
        runs = (run, ra.simulate(**SETTING, gamma=1.0, trials=50, seed=1))
        plots.parameter_curve(ax, "gamma", GAMMA, quantity, alpha=alpha, runs=runs, style={"color": "C3"}, **SETTING)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), value(at, **SETTING, gamma=GAMMA), rtol=1e-12)
        (band,) = bands(ax)
        if quantity == "accuracy":
            expected = spread.accuracy_interval(at, 0.9)
        else:
            half = norm.ppf(0.95) * spread.risk_std(at)
            expected = np.maximum(spread.law.risk(at) - half, 0.0), spread.law.risk(at) + half
        np.testing.assert_allclose(ends(band), expected)
        ((places, middle, half),) = dots(ax)
        np.testing.assert_array_equal(places, [0.2, 1.0])
        for i, one in enumerate(runs):
            estimate = getattr(one, quantity)(scales(places[i]))
            assert (middle[i], half[i]) == pytest.approx((estimate.value, 2.0 * estimate.stderr))
        assert ax.containers[0].lines[0].get_color() == "C3"
        assert ax.get_xscale() == "log"
        assert ax.get_ylabel() == {"accuracy": "accuracy", "risk": "squared risk"}[quantity]


def test_optimal_alpha_against_a_parameter(ax, run):
    beta, problem = np.linspace(0.0, 1.0, 6), {key: SETTING[key] for key in SETTING if key != "beta"} | {"gamma": 0.2}
    plots.parameter_curve(ax, "beta", beta, "optimal_alpha", runs=[run], coverage=0.5, **problem)
    best = ra.optimal_alpha(beta, **problem)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), best)
    half = norm.ppf(0.75) * ra.fluctuations(beta, **problem).optimal_alpha_std()
    np.testing.assert_allclose(ends(bands(ax)[0]), [best - half, best + half])
    assert ax.get_xscale() == "linear"

    ((place,), (value,), (two_errors,)), numbers = dots(ax)[0], flatten(run.law)

    def of_mean(rows):
        M0, M1, V00, V01, V11 = rows.mean(axis=0)
        return (M1 * V00 - M0 * V01) / (M0 * V11 - M1 * V01)

    without = [of_mean(np.delete(numbers, i, axis=0)) for i in range(len(numbers))]
    jackknife = np.std(without) * np.sqrt(len(numbers) - 1.0)
    assert place == 0.8
    assert value == pytest.approx(of_mean(numbers), rel=1e-9)
    assert two_errors == pytest.approx(2.0 * jackknife, rel=0.02)


def test_undefined_scales_leave_a_gap(ax):
    gamma = [0.0, 0.5, 1.0]
    plots.parameter_curve(ax, "gamma", gamma, **SETTING | {"n": 200})
    np.testing.assert_array_equal(np.isnan(ax.lines[0].get_ydata()), [True, False, False])
    assert ax.get_xscale() == "linear"
    plots.parameter_curve(ax, "gamma", gamma, alpha=0.0, **SETTING | {"n": 200})
    assert np.isfinite(ax.lines[1].get_ydata()).all()
    FigureCanvasAgg(ax.figure).draw()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "eta"}, "name must be one of beta, n, p"),
        ({"quantity": "error"}, "quantity must be one of accuracy, risk, optimal_alpha, got 'error'"),
        ({"values": [1.0, 0.5]}, "gamma must be a vector of at least two increasing"),
        ({"values": [-1.0, 0.5]}, "gamma must"),
        ({"alpha": np.inf}, "alpha must be finite"),
        ({"alpha": "best"}, "alpha must be a number, None or 'risk', got 'best'"),
        ({"coverage": 1.0}, "coverage must"),
        ({"gamma": 0.3}, "gamma must not be given twice"),
        ({"mu": [1.0, 2.0]}, "mu must be a single number"),
        ({"beta": 1.5}, "beta must"),
        ({"n": 61}, "runs must be of the problem drawn, n=61.0, got n=60"),
        ({"label_noise": 0.1}, "runs must be of the problem drawn, label_noise=0.1"),
        ({"name": "n", "values": [10, 20], "gamma": 0.3, "n": None}, "runs must be of the problem drawn, gamma=0.3"),
    ],
)
def test_parameter_curve_refuses_by_name(ax, run, changed, message):
    arguments = {"name": "gamma", "values": GAMMA, "runs": [run], **SETTING} | changed
    arguments = {key: value for key, value in arguments.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        plots.parameter_curve(ax, **arguments)
    assert not ax.lines
    assert not ax.collections


def test_a_run_with_other_defaults_is_of_another_problem(ax):
    longer = ra.simulate(**SETTING, gamma=0.2, mu_perp=1.1, trials=2, seed=0)
    with pytest.raises(ValueError, match=r"mu_perp=1\.0, got mu_perp=1\.1"):
        plots.parameter_curve(ax, "gamma", GAMMA, runs=[longer], **SETTING)


# Maps.


def test_alpha_map_shows_the_best_scale_and_where_it_is_1(ax, run):
    problem = {key: SETTING[key] for key in SETTING if key != "gamma_source"}
    old, new = np.geomspace(0.01, 50.0, 61), np.geomspace(0.02, 100.0, 51)
    assert plots.alpha_map(ax, {"gamma_source": old, "gamma": new}, runs=[run], limit=4.0, **problem) is ax
    best = ra.optimal_alpha(**problem, gamma_source=old, gamma=new[:, None])
    mesh = next(c for c in ax.collections if isinstance(c, QuadMesh))
    np.testing.assert_array_equal(mesh.get_array(), best)
    (lines,) = [c for c in ax.collections if isinstance(c, ContourSet)]
    np.testing.assert_allclose(lines.levels, [0.25, 0.5, 1.0, 2.0, 4.0])
    middle = next(path for path, level in zip(lines.get_paths(), lines.levels, strict=True) if level == 1.0)
    x, y = middle.vertices[1:-1].T
    np.testing.assert_allclose(ra.optimal_alpha(**problem, gamma_source=x, gamma=y), 1.0, atol=0.02)
    assert lines.get_linewidth()[2] > lines.get_linewidth()[0]
    circles, crosses = (c for c in ax.collections if isinstance(c, PathCollection))
    np.testing.assert_array_equal(circles.get_offsets(), [[0.5, 0.2]])
    assert len(crosses.get_offsets()) == 0
    M0, M1, V00, V01, V11 = flatten(run.law).mean(axis=0)
    np.testing.assert_allclose(circles.get_array(), (M1 * V00 - M0 * V01) / (M0 * V11 - M1 * V01))
    assert circles.norm is mesh.norm
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert "gamma" in ax.get_xlabel()
    assert len(ax.figure.axes) == 2
    FigureCanvasAgg(ax.figure).draw()


def test_alpha_map_marks_what_theory_does_not_predict(ax, run):
    problem = {key: SETTING[key] for key in SETTING if key != "gamma_source"}
    grid = {"gamma_source": np.geomspace(0.1, 1.0, 5), "gamma": np.geomspace(0.1, 1.0, 5)}
    other = ra.simulate(**SETTING | {"gamma_source": 0.2}, gamma=0.4, trials=400, seed=3)
    right = plots.alpha_map(Figure().subplots(), grid, runs=[run, other], **problem)
    law = run.fluctuations()
    z = (law.law.optimal_alpha() - ra.optimal_alpha(**SETTING, gamma=0.2)) / (law.optimal_alpha_std() / 20.0)
    assert abs(z) < 3.0
    # one of the two claims to be of another penalty, where α* is half as large
    wrong = ra.simulate(**SETTING, gamma=2.0, trials=400, seed=3)
    object.__setattr__(wrong, "experiment", run.experiment)
    plots.alpha_map(ax, grid, runs=[wrong, other], dots="two", **problem)
    circles, crosses = (c for c in ax.collections if isinstance(c, PathCollection))
    np.testing.assert_array_equal(circles.get_offsets(), [[0.2, 0.4]])
    np.testing.assert_array_equal(crosses.get_offsets(), [[0.5, 0.2]])
    assert crosses.norm is circles.norm
    largest = [re.search(r"largest .*= ([0-9.]+)", one.get_legend_handles_labels()[1][0])[1] for one in (right, ax)]
    assert float(largest[0]) >= round(abs(z), 2)
    assert float(largest[1]) > 20.0
    assert ax.get_legend_handles_labels()[1] == [f"two, largest $|z| = {largest[1]}$", "$|z| > 3$: 1"]
    assert right.get_legend_handles_labels()[1][1] == "$|z| > 3$: none"
    unknown = plots.alpha_map(
        Figure().subplots(),
        {"beta": [0.4, 0.5], "gamma": [0.0, 1.0]},
        n=20,
        p=20,
        runs=[ra.simulate(0.5, 20, 20, 0.0, trials=5, seed=0)],
    )
    assert "simulation, largest $|z| = nan$" in unknown.get_legend_handles_labels()[1]  # not 0: nothing was compared
    FigureCanvasAgg(ax.figure).draw()


def test_alpha_map_of_negative_scales_that_have_no_colour(ax):
    runs = [ra.simulate(-0.5, 20, 20, gamma, trials=20, seed=0) for gamma in (0.5, 1.0)]
    plots.alpha_map(ax, {"beta": [-0.9, -0.5], "gamma": [0.5, 1.0]}, n=20, p=20, runs=runs)
    circles = next(c for c in ax.collections if isinstance(c, PathCollection))
    assert len(circles.get_offsets()) == 2
    FigureCanvasAgg(ax.figure).draw()


def test_alpha_map_without_lines_or_logarithms(ax):
    grid = {"beta": [-0.9, -0.5], "gamma": [0.0, 1.0]}
    plots.alpha_map(ax, grid, n=60, p=90, colour_bar=False)
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
    assert not any(isinstance(c, ContourSet) for c in ax.collections)
    assert ax.get_legend_handles_labels()[1] == [r"$\alpha^* \leq 0$"]
    assert len(ax.figure.axes) == 1
    FigureCanvasAgg(ax.figure).draw()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"grid": {"gamma": [0.1, 1.0]}}, "grid must map two of"),
        ({"grid": {"gamma": [0.1, 1.0], "eta": [1.0, 2.0]}}, "grid must map two of"),
        ({"grid": [0.1, 1.0]}, "grid must map two of"),
        ({"grid": {"gamma": [0.1, 1.0], "n": [2.0, 1.0]}}, "n must"),
        ({"gamma": 1.0}, "gamma must not be given twice"),
        ({"limit": 1.0}, "limit must"),
        ({"p": 91}, "runs must be of the problem drawn, p=91"),
    ],
)
def test_alpha_map_refuses_by_name(ax, run, changed, message):
    problem = {key: SETTING[key] for key in SETTING if key != "gamma_source"}
    arguments = {"grid": {"gamma_source": [0.1, 1.0], "gamma": [0.1, 1.0]}, "runs": [run], **problem} | changed
    with pytest.raises(ValueError, match=message):
        plots.alpha_map(ax, **arguments)
    assert not ax.collections


def test_risk_curve_of_a_risk_law(ax):
    law, grid = figures.regression_problem(0.5).risk_law(), np.linspace(-1.0, 2.0, 7)
    plots.risk_curve(ax, law, grid)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), law.risk(grid))
    assert stars(ax) == [law.optimal_alpha()]
    assert not ax.collections


# The figures.


@pytest.fixture(scope="module")
def drawn():
    """Draw every figure once, from few experiments, as bad luck with constrained layout would be an error."""
    made = {name: figures.draw(name, trials=4, seed=5) for name in figures.NAMES}
    for figure in made.values():
        FigureCanvasAgg(figure).draw()
    return made


def panels(figure):
    return [ax for ax in figure.axes if not hasattr(ax, "_colorbar")]


@pytest.mark.parametrize("name", figures.NAMES)
def test_every_figure_fits_its_column_and_needs_no_colour(drawn, name):
    figure = drawn[name]
    width, height = figure.get_size_inches()
    axes = panels(figure)
    assert width == (figures.COLUMN if len(axes) == 1 else figures.PAGE)
    box = figure.get_tightbbox()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < width + 0.02
    assert box.y1 < height + 0.02
    texts = [text for text in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if text.get_text().strip()]
    assert min(text.get_fontsize() for text in texts) >= 6.0
    for ax in axes:
        assert ax.get_xlabel()
        lines = [line for line in ax.lines if line.get_label().startswith("theory")]
        assert len({line.get_linestyle() for line in lines}) == len(lines)
        markers = [container.lines[0].get_marker() for container in ax.containers]
        assert len(set(markers)) == len(markers)
    legends = [*figure.legends, *(ax.get_legend() for ax in axes if ax.get_legend())]
    named = " ".join(text.get_text() for legend in legends for text in legend.get_texts())
    if name not in ("alpha-gammas", "real-data"):
        assert "90 % of" in named
    if name != "alpha-gammas":
        assert "± 2 s.e." in named


def test_figure_1_has_the_numbers_of_the_paper(drawn):
    (ax,) = panels(drawn["accuracy-alpha"])
    np.testing.assert_allclose(stars(ax), [1.632, 4.099, 7.471], atol=5e-4)
    crosses = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "x" and len(line.get_xdata())]
    np.testing.assert_allclose(crosses, [-1.412, -0.565, -0.314], atol=5e-4)
    grid = ax.lines[2].get_xdata()
    for i, beta in enumerate((0.2, 0.5, 0.9)):
        label = rf"theory, $\beta = {beta}$"
        np.testing.assert_allclose(curves(ax)[label], ra.accuracy(grid, beta, **figures.FIGURE_1), rtol=1e-12)
        spread = ra.fluctuations(beta, **figures.FIGURE_1)
        np.testing.assert_allclose(ends(bands(ax)[i]), spread.accuracy_interval(grid, 0.9))
        places, value, _ = dots(ax)[i]
        off = (value - ra.accuracy(places, beta, **figures.FIGURE_1)) / spread.accuracy_std(places)
        assert np.abs(off).max() < 2.0  # four of their standard errors, as they are means of four


def test_the_other_figures_show_what_they_say(drawn):
    heights = [ax.get_title() for ax in panels(drawn["decision-function"])]
    setting = figures.FIGURES["decision-function"].setting
    assert "β = 0.9; N = 2000" in setting
    problem = {"beta": 0.9, "n": 40, "p": 400, "gamma": 0.1, "mu": 1.5, "mu_perp": 1.5}
    problem |= {"n_source": 2000, "gamma_source": 5.0}
    best = ra.optimal_alpha(**problem)
    for title, alpha in zip(heights, (0.0, 1.0, best), strict=True):
        assert title.endswith(f"accuracy {ra.accuracy(alpha, **problem):.3f} in theory")

    (ax,) = panels(drawn["alpha-beta"])
    beta, problem = np.linspace(0.0, 1.0, 101), {"n_source": 2000, "gamma_source": 1.0, "n": 200, "gamma": 1.0}
    for eta in (0.25, 1, 4):
        np.testing.assert_array_equal(
            curves(ax)[rf"theory, $\eta = {eta}$"], ra.optimal_alpha(beta, p=200 * eta, **problem)
        )
    assert [len(row[0]) for row in dots(ax)] == [7, 7, 7]

    (ax,) = panels(drawn["alpha-gammas"])
    marks = [c for c in ax.collections if isinstance(c, PathCollection)]
    assert sum(len(c.get_offsets()) for c in marks) == 16
    values = np.concatenate([c.get_array() for c in marks])
    assert (marks[0].norm.vmin, marks[0].norm.vmax) == pytest.approx((0.01, 100.0))
    assert 0.01 < values.min() < values.max() < 100.0  # none is of the colour of the scale's ends
    named = [text.get_text() for legend in drawn["alpha-gammas"].legends for text in legend.get_texts()]
    assert named[0].startswith("16 mean laws of 4, largest $|z| = ")
    assert named[1].startswith("$|z| > 3$: ")

    for ax, value in zip(panels(drawn["gamma"]), (ra.accuracy, ra.risk), strict=True):
        gamma, problem = np.geomspace(0.01, 100.0, 121), {"beta": 0.8, "n": 200, "p": 400}
        problem |= {"n_source": 2000, "gamma_source": 1.0, "gamma": gamma}
        scales = [0.0, 1.0, ra.optimal_alpha(**problem)]
        if value is ra.risk:
            scales.append(ra.margin_law(**problem).risk_optimal_alpha())
        for line, alpha in zip(curves(ax).values(), scales, strict=True):
            np.testing.assert_allclose(line, value(alpha, **problem), rtol=1e-12)
        assert len(bands(ax)) == len(dots(ax)) == len(scales)
    named = [text.get_text() for text in drawn["gamma"].legends[0].get_texts()]
    assert named[:4] == list(curves(ax))
    assert named[2:4] == [r"theory, $\alpha^*$ of accuracy", r"theory, $\alpha$ of least risk"]

    (ax,) = panels(drawn["regression"])
    laws = [figures.regression_problem(beta).risk_law() for beta in (0.2, 0.5, 0.9)]
    assert stars(ax) == [law.optimal_alpha() for law in laws]
    for law, (places, value, two_errors), band in zip(laws, dots(ax), bands(ax), strict=True):
        assert (np.abs(value - law.risk(places)) < 6.0 * two_errors + 0.1).all()
        low, high = ends(band)
        assert (low < high).all()

    for ax in panels(drawn["real-data"]):
        lines = {line.get_label(): line for line in ax.lines}
        assert lines["measured on held-out rows"].get_linestyle() == "-"
        shown = {line.get_color(): line.get_linestyle() for name, line in lines.items() if "prediction" in name}
        assert len(set(shown.values())) == 2
        assert [text.get_text() for text in ax.texts] == [r"$\alpha = 1$"]
        own = [line for line in ax.lines if line.get_label().startswith("its ")]
        assert all(line.get_linestyle() == shown[line.get_color()] for line in own)
    named = [text.get_text() for text in drawn["real-data"].legends[0].get_texts()]
    first = named.index("isotropic prediction")
    assert [name[:3] for name in named[:first]] == ["mea", "ban", "bar"]
    assert [name[:3] for name in named[first:]] == ["iso", "its", "ban", "pre", "its", "ban"]
    bar = drawn["real-data"].legends[0].get_patches()[1]
    assert bar.get_facecolor()[:3] == (0.5, 0.5, 0.5)  # of no prediction
    threshold = t.ppf(norm.cdf(3.0), 3)
    assert named[2] == f"bar: prediction refuted, beyond {threshold:.3g} s.e."


def test_the_target_of_the_regression_is_aligned_as_said():
    for beta in (0.2, 0.9):
        problem = figures.regression_problem(beta)
        old, new = problem.sources[0].mixture.weights[0], problem.target.weights[0]
        assert (old @ new, new @ new, old @ old) == pytest.approx((beta, 1.0, 1.0))


def test_a_seed_fixes_a_figure_whichever_others_are_drawn():
    first, again, other = (dots(panels(figures.draw("alpha-beta", trials=3, seed=s))[0]) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (np.array(first)[:, 1] != np.array(other)[:, 1]).any()
    with pytest.raises(ValueError, match=r"name must be one of accuracy-alpha, .* got 'Figure 1'"):
        figures.draw("Figure 1")
    with pytest.raises(ValueError, match="trials must be an integer of at least 2, got 1"):
        figures.draw("gamma", trials=1)


def test_the_style_is_that_of_colour_blind_readers_and_is_left_behind():
    from matplotlib import rcParams

    before = dict(rcParams)
    figure = figures.draw("alpha-beta", trials=2)
    assert dict(rcParams) == before
    (ax,) = panels(figure)
    colours = [line.get_color() for line in ax.lines if line.get_label().startswith("theory")]
    assert colours == list(plots.COLOURS[:3])
    assert len(set(figures.LINES)) == len(set(figures.MARKERS)) == len(plots.COLOURS)


# The files.


@pytest.mark.slow
def test_files_are_vector_and_pixels(drawn, tmp_path):
    files = figures.save(drawn["alpha-beta"], "alpha-beta", tmp_path)
    assert [file.name for file in files] == ["alpha-beta.pdf", "alpha-beta.png"]
    assert files[0].read_bytes()[:5] == b"%PDF-"
    assert files[1].read_bytes()[:4] == b"\x89PNG"
    width = int.from_bytes(files[1].read_bytes()[16:20], "big")
    assert width == figures.COLUMN * 300
    first = files[0].read_bytes()
    figures.save(drawn["alpha-beta"], "alpha-beta", tmp_path)
    assert files[0].read_bytes() == first  # undated
    assert len(list(tmp_path.iterdir())) == 2


def test_an_interrupted_save_leaves_the_old_files(drawn, tmp_path, monkeypatch):
    for suffix in figures.SUFFIXES:
        (tmp_path / f"alpha-beta{suffix}").write_text("old")
    whole = Figure.savefig

    def interrupted(self, file, **options):
        if file.suffix == ".png":
            file.write_text("half")
            raise KeyboardInterrupt
        whole(self, file, **options)

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        figures.save(drawn["alpha-beta"], "alpha-beta", tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["alpha-beta.pdf", "alpha-beta.png"]
    assert {file.read_text() for file in tmp_path.iterdir()} == {"old"}


# The command.


@pytest.fixture
def command(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder; return its status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*argv):
        try:
            status = cli.main(["figures", *map(str, argv)])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return call


@pytest.mark.slow
def test_the_command_writes_what_it_says(command, tmp_path):
    status, out, err = command("regression", "alpha-beta", "regression", "--out", "new/one", "--trials", 2, "--json")
    data = json.loads(out)
    assert (status, err) == (0, "")
    assert [entry["name"] for entry in data["figures"]] == ["regression", "alpha-beta"]
    assert [entry["trials"] for entry in data["figures"]] == [2, 2]
    files = [file for entry in data["figures"] for file in entry["files"]]
    assert sorted(files) == sorted(str(file.relative_to(tmp_path)) for file in (tmp_path / "new/one").iterdir())
    status, out, err = command("alpha-beta", "--trials", 2)
    assert out == "Written: rmt_alpha_figures/alpha-beta.pdf, rmt_alpha_figures/alpha-beta.png\n"


def test_the_command_passes_on_seed_and_trials(command, monkeypatch):
    asked = []
    monkeypatch.setattr(figures, "draw", lambda name, **options: asked.append((name, options)))
    monkeypatch.setattr(figures, "save", lambda *_: ())
    assert command("--seed", 7, "--trials", 30)[0] == 0
    assert command("gamma")[0] == 0
    assert [name for name, _ in asked] == [*figures.NAMES, "gamma"]
    assert asked[0][1] == {"trials": 30, "seed": 7, "progress": False}
    assert asked[-1][1] == {"trials": None, "seed": 0, "progress": False}


def test_a_person_sees_the_progress(command, monkeypatch):
    from rmt_alpha.cli import _figures

    monkeypatch.setattr(_figures, "interactive", lambda _: True)
    status, out, err = command("alpha-beta", "alpha-gammas", "--trials", 2)
    assert status == 0
    assert "alpha-beta (1 of 2)" in err
    assert "alpha-gammas (2 of 2)" in err
    assert "simulations: " in err
    assert "simulations" not in out


def test_the_list_says_all_and_draws_nothing(command, tmp_path):
    status, out, _ = command("--list")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines() if line[0] != " "] == ["name", *figures.NAMES]
    assert max(map(len, out.splitlines())) <= 120
    for text in ("β = 0.2, 0.5, 0.9", "‖μ_⊥‖ = 0.8", "digits:6,8 → digits:5,9"):
        assert text in out
    rows = json.loads(command("gamma", "--list", "--json")[1])["figures"]
    assert [row["name"] for row in rows] == ["gamma"]
    assert hasattr(plots, rows[0]["function"])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["alpha"], "NAME must be one of accuracy-alpha, .* got 'alpha'"),
        (["gamma", "--trials", "1"], "--trials must be an integer of at least 2, got 1"),
        (["gamma", "--trials", "1e3"], "--trials"),
        (["gamma", "--seed", "-1"], "--seed"),
        (["gamma", "--out", "file"], "--out file"),
        (["gamma", "--out", ""], "--out must name a folder, got ''"),
        (["gamma", "--out", "file/in"], "--out file/in"),
        (["gamma", "--out", "."], r"gamma.png is a folder"),
    ],
)
def test_bad_input_is_refused_before_the_work(command, monkeypatch, tmp_path, argv, message):
    monkeypatch.setattr(figures, "draw", None)
    (tmp_path / "file").write_text("")
    (tmp_path / "gamma.png").mkdir()
    status, out, err = command(*argv)
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert re.search(message, err)


def test_an_unwritable_folder_is_refused(command, monkeypatch):
    from rmt_alpha.cli import _figures

    monkeypatch.setattr(_figures.os, "access", lambda *_: False)
    status, _, err = command("gamma", "--trials", 2)
    assert status == 2
    assert "--out rmt_alpha_figures cannot be written" in err


def test_a_full_disk_is_status_2(command, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    status, _, err = command("gamma", "--trials", 2)
    assert status == 2
    assert "--out rmt_alpha_figures: No space left on device" in err


def test_an_interruption_keeps_what_was_finished(command, monkeypatch, tmp_path):
    whole = figures.draw

    def draw(name, **options):
        if name == "gamma":
            raise KeyboardInterrupt
        return whole(name, **options)

    monkeypatch.setattr(figures, "draw", draw)
    status, out, err = command("alpha-beta", "gamma", "--trials", 2)
    assert (status, out) == (130, "")
    assert "Written before the interruption: alpha-beta" in err
    kept = sorted(file.name for file in (tmp_path / "rmt_alpha_figures").iterdir())
    assert kept == ["alpha-beta.pdf", "alpha-beta.png"]


def test_without_scikit_learn_the_real_data_are_left_out(command, monkeypatch):
    from rmt_alpha.cli import _figures

    asked = []
    monkeypatch.setattr(_figures, "find_spec", lambda _: None)
    monkeypatch.setattr(figures, "draw", lambda name, **_: asked.append(name))
    monkeypatch.setattr(figures, "save", lambda *_: ())
    status, out, _ = command()
    assert status == 0
    assert asked == [name for name in figures.NAMES if name != "real-data"]
    assert 'Left out: real-data, whose data need scikit-learn (pip install "rmt_alpha[data]").' in out
    asked.clear()
    command("real-data")
    assert asked == ["real-data"]  # which says itself what is missing
