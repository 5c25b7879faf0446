"""What the figures show."""

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_rgb
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

import rmt_alpha as ra
from rmt_alpha import plots
from rmt_alpha.estimation.held_out import held_out_curves
from rmt_alpha.lora.training import History

SETTING = {"beta": 0.8, "n": 60, "p": 90, "gamma": 0.2}


@pytest.fixture
def ax():
    return Figure().subplots()


def points(ax, marker):
    return [tuple(float(v[0]) for v in line.get_data()) for line in ax.lines if line.get_marker() == marker]


def test_accuracy_curve_marks_best_and_worst(ax):
    law, grid = ra.margin_law(**SETTING), np.linspace(-2, 3, 21)
    assert plots.accuracy_curve(ax, law, grid, label="curve", color="C3") is ax
    x, y = ax.lines[0].get_data()
    np.testing.assert_array_equal(x, grid)
    np.testing.assert_array_equal(y, law.accuracy(grid))
    assert points(ax, "*") == [(law.optimal_alpha(), law.best_accuracy())]
    assert points(ax, "x") == [(law.worst_alpha(), 0.5)]
    assert ax.get_legend_handles_labels()[1] == ["curve"]


def test_marks_off_the_axis_are_left_out(ax):
    plots.accuracy_curve(ax, ra.margin_law(**SETTING), [5.0, 6.0])
    plots.accuracy_curve(ax, ra.margin_law(**SETTING | {"n": 200, "gamma": 0.0}), [-1.0, 1.0])  # α* is nan
    assert points(ax, "*") == points(ax, "x") == []


def test_risk_curve_marks_its_minimum(ax):
    law, grid = ra.margin_law(**SETTING), np.linspace(-2, 3, 21)
    assert plots.risk_curve(ax, law, grid) is ax
    ((x, y),) = points(ax, "*")
    assert x == law.risk_optimal_alpha()
    assert y <= law.risk(grid).min()


@pytest.mark.parametrize("draw", [plots.accuracy_curve, plots.risk_curve])
@pytest.mark.parametrize("make", [ra.margin_law, ra.fluctuations])
def test_a_batch_or_several_sources_are_no_curve(ax, draw, make):
    with pytest.raises(ValueError, match=r"law must be a single one, got shape \(2,\): index it"):
        draw(ax, make([0.1, 0.2], 40, 100, 1.0), [0.0, 1.0])
    three = ra.MarginLaw([0.5, 0.1, 0.2, 0.3], np.eye(4))
    with pytest.raises(ValueError, match="law must have one source, got 3"):  # of which three values of α are one
        draw(ax, three, [0.0, 1.0, 2.0])
    assert not ax.lines
    assert not ax.collections


def test_a_batch_of_risks_is_no_curve(ax):
    with pytest.raises(ValueError, match=r"law must be a single one, got shape \(2,\)"):
        plots.risk_curve(ax, ra.margin_law([0.1, 0.2], 40, 100, 1.0).risk_law(), [0.0, 1.0])
    assert not ax.lines


def test_estimates_need_an_alpha_each(ax):
    three = ra.Estimate(np.zeros(3), np.ones(3), 10)
    with pytest.raises(ValueError, match=r"alpha must have the shape of estimate, \(3,\), one for each, got \(2,\)"):
        plots.estimates(ax, [0.0, 1.0], three)
    assert not ax.containers
    assert not ax.lines


def test_estimates_have_bars_of_two_standard_errors(ax):
    estimate = ra.simulate(**SETTING, trials=10, seed=0).accuracy([0.0, 1.0])
    assert plots.estimates(ax, [0.0, 1.0], estimate) is ax
    (bars,) = ax.containers
    segments = bars[2][0].get_segments()
    np.testing.assert_allclose([s[1, 1] - s[0, 1] for s in segments], 4 * estimate.stderr)


def band(ax):
    """Return the ends of a band at the grid points, low and high."""
    vertices = ax.collections[-1].get_paths()[0].vertices
    n = (len(vertices) - 3) // 2
    return vertices[1 : n + 1, 1], vertices[n + 2 : 2 * n + 2, 1][::-1]


def test_accuracy_curve_of_fluctuations_has_the_band_of_single_draws(ax):
    spread, grid = ra.fluctuations(**SETTING), np.linspace(-2, 3, 21)
    plots.accuracy_curve(ax, spread, grid, label="curve", coverage=0.99, color="C3")
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), spread.law.accuracy(grid))
    assert points(ax, "*") == [(spread.law.optimal_alpha(), spread.law.best_accuracy())]
    np.testing.assert_allclose(band(ax), spread.accuracy_interval(grid, 0.99))
    (drawn,) = ax.collections
    assert drawn.get_facecolor()[0, :3] == pytest.approx(to_rgb("C3"))
    assert drawn.get_facecolor()[0, 3] < 0.3
    assert drawn.get_linewidth() == 0.0
    plots.accuracy_curve(ax, ra.fluctuations(**SETTING | {"n": 20}), grid, label="other", coverage=0.99)
    assert labels(ax) == ["curve", "99 % of draws", "other"]  # named once
    FigureCanvasAgg(ax.figure).draw()


def test_risk_curve_of_fluctuations_ends_at_0(ax):
    spread, grid = ra.Fluctuations(ra.margin_law(**SETTING), 0.07 * np.eye(5)), np.linspace(-2, 3, 21)
    plots.risk_curve(ax, spread, grid)
    low, high = band(ax)
    risk, half = spread.law.risk(grid), 1.6448536269514722 * spread.risk_std(grid)
    np.testing.assert_allclose(high, risk + half)
    np.testing.assert_allclose(low, np.maximum(risk - half, 0.0))
    assert 0.1 < (risk < half).mean() < 1.0
    assert labels(ax) == ["theory", "90 % of draws"]
    assert len(points(ax, "*")) == 1


def test_a_law_has_no_band(ax):
    plots.accuracy_curve(ax, ra.margin_law(**SETTING), [0.0, 1.0])
    plots.risk_curve(ax, ra.margin_law(**SETTING), [0.0, 1.0])
    assert not ax.collections


@pytest.mark.parametrize("draw", [plots.accuracy_curve, plots.risk_curve])
@pytest.mark.parametrize("coverage", [0.0, 1.0, "0.9"])
def test_a_coverage_out_of_range_is_refused(ax, draw, coverage):
    with pytest.raises(ValueError, match="coverage must"):
        draw(ax, ra.fluctuations(**SETTING), [0.0, 1.0], coverage=coverage)
    assert not ax.lines


def test_estimates_tell_the_spread_of_draws_from_the_error_of_their_mean(ax):
    run = ra.simulate(**SETTING, trials=50, seed=0)
    ends = run.quantile([0.0, 1.0], [0.05, 0.95])
    plots.estimates(ax, [0.0, 1.0], run.accuracy([0.0, 1.0]), spread=ends, color="C2")
    errors, spread = ax.collections
    np.testing.assert_allclose([s[:, 1] for s in spread.get_segments()], ends.T)
    np.testing.assert_array_equal([s[:, 0] for s in spread.get_segments()], [[0.0, 0.0], [1.0, 1.0]])
    assert spread.get_color()[0, :3] == pytest.approx(to_rgb("C2"))
    assert spread.get_alpha() < 0.5
    assert spread.get_zorder() < errors.get_zorder()
    assert labels(ax) == ["simulation"]
    FigureCanvasAgg(ax.figure).draw()
    plots.estimates(ax, 1.0, run.accuracy(1.0), spread=run.quantile(1.0, [0.05, 0.95]))
    for wrong in (ends[0], ends[:, :1], [0.1, 0.2, 0.3]):
        with pytest.raises(ValueError, match=r"spread must have shape \(2, 2\)"):
            plots.estimates(ax, [0.0, 1.0], run.accuracy([0.0, 1.0]), spread=wrong)


def test_nan_on_the_axis_is_refused(ax):
    with pytest.raises(ValueError, match="alpha"):
        plots.accuracy_curve(ax, ra.margin_law(**SETTING), [0.0, np.nan])


BETA, ETA = np.linspace(-0.5, 1.0, 31), np.geomspace(0.2, 5.0, 21)
TRAINED = {"mu": 1.2, "n_source": 200, "gamma_source": 1.0}


def labels(ax):
    return ax.get_legend_handles_labels()[1]


def test_phase_diagram_shows_the_best_scale(ax):
    assert plots.phase_diagram(ax, BETA, ETA, p=100, gamma=0.3, limit=4.0, **TRAINED) is ax
    best = ra.optimal_alpha(BETA, 100 / ETA[:, None], 100, 0.3, **TRAINED)
    mesh = ax.collections[0]
    np.testing.assert_array_equal(mesh.get_array().mask, best <= 0.0)
    np.testing.assert_array_equal(mesh.get_array().compressed(), best[best > 0.0])
    assert mesh.get_clim() == (0.25, 4.0)
    np.testing.assert_allclose(mesh.norm([0.25, 1.0, 4.0]), [0.0, 0.5, 1.0], atol=1e-12)  # white is 1
    assert ax.get_yscale() == "log"
    assert len(ax.figure.axes) == 2  # with the colour bar
    assert labels(ax) == [r"$\alpha^* \leq 0$", r"$\alpha^* = 1$", r"$\alpha = 1$ worse than $\alpha = 0$"]


def vertices(contours):
    return np.concatenate([path.vertices for path in contours.get_paths()])


def test_phase_diagram_has_the_two_boundaries_where_they_are(ax):
    beta, eta = np.linspace(0.01, 1.0, 150), np.geomspace(0.2, 5.0, 150)
    plots.phase_diagram(ax, beta, eta, p=100, gamma=0.3, colour_bar=False, **TRAINED)
    assert len(ax.figure.axes) == 1
    sets = [c for c in ax.collections if isinstance(c, ContourSet)]
    one, hatched, edge = sets
    b, e = vertices(one).T
    np.testing.assert_allclose(ra.optimal_alpha(b, 100 / e, 100, 0.3, **TRAINED), 1.0, atol=1e-2)
    b, e = vertices(edge).T
    whole, scratch = (ra.accuracy(a, b, 100 / e, 100, 0.3, **TRAINED) for a in (1.0, 0.0))
    np.testing.assert_allclose(whole, scratch, atol=1e-4)
    assert hatched.hatches == ["////"]
    (inside,) = hatched.get_paths()
    worse = ra.accuracy(1.0, beta, 100 / eta[:, None], 100, 0.3, **TRAINED) < ra.accuracy(
        0.0, beta, 100 / eta[:, None], 100, 0.3, **TRAINED
    )
    points = np.stack(np.meshgrid(beta, eta), axis=-1)[1:-1, 1:-1].reshape(-1, 2)
    assert np.mean(inside.contains_points(points) == worse[1:-1, 1:-1].ravel()) > 0.99
    assert 0.1 < worse.mean() < 0.9


@pytest.mark.parametrize(
    ("beta", "eta", "gamma", "meshes", "contours"),
    [
        ([0.9, 1.0], [2.0, 4.0], 0.3, 1, 0),  # neither boundary, α* > 1
        ([0.1, 0.2], [0.1, 0.2], 30.0, 1, 1),  # hatched throughout
        ([-0.9, -0.5], [2.0, 4.0], 0.3, 2, 1),  # nothing but grey
        ([0.1, 0.9], [0.2, 0.5], 0.0, 2, 0),  # undefined
    ],
)
def test_phase_diagram_without_some_of_its_parts(ax, beta, eta, gamma, meshes, contours):
    plots.phase_diagram(ax, beta, eta, p=100, gamma=gamma, mu=1.5)
    assert sum(isinstance(c, QuadMesh) for c in ax.collections) == meshes
    assert sum(isinstance(c, ContourSet) for c in ax.collections) == contours
    FigureCanvasAgg(ax.figure).draw()


def test_phase_diagram_takes_its_largest_limit(ax):
    plots.phase_diagram(ax, BETA, ETA, p=100, gamma=0.3, limit=1e100, **TRAINED)
    FigureCanvasAgg(ax.figure).draw()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("beta", [0.5, 0.2]),
        ("beta", [0.0, 1.5]),
        ("beta", 0.5),
        ("eta", [0.0, 1.0]),
        ("eta", [1.0]),
        ("p", 0.0),
        ("p", [1.0, 2.0]),
        ("gamma", -1.0),
        ("gamma", [0.1, 0.2]),
        ("limit", 1.0),
        ("limit", 1e308),
        ("n", 3.0),
        ("mu", [1.0, 2.0]),
        ("label_noise", 0.7),
    ],
)
def test_phase_diagram_refuses_by_name(ax, name, value):
    arguments = {"beta": [0.0, 1.0], "eta": [0.5, 2.0], "p": 100, "gamma": 0.1, name: value}
    with pytest.raises(ValueError, match=rf"\b{name} must"):
        plots.phase_diagram(ax, **arguments)


# Held-out curves.


def test_held_out_draws_both_predictions_and_where_they_fail(ax):
    setting = {"n": 20, "gamma": 10.0, "gamma_source": 1.0, "alphas": np.linspace(-1, 2, 13), "splits": 10, "seed": 0}
    curves = held_out_curves("digits:2,3", "digits:8,9", **setting)
    assert plots.held_out(ax, curves) is ax
    lines = {line.get_label(): line for line in ax.lines}
    second = curves.with_covariance
    for label, expected in (
        ("measured on held-out rows", curves.accuracy.value),
        ("isotropic prediction", curves.prediction),
        ("prediction with covariance", second.prediction),
    ):
        np.testing.assert_array_equal(lines[label].get_ydata(), expected)
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [curves.median_alpha, second.median_alpha]
    assert [line.get_color() for line in dashed] == [plots.COLOURS[1], plots.COLOURS[2]]
    bars = [(bar.get_x(), bar.get_x() + bar.get_width()) for bar in ax.patches]
    np.testing.assert_allclose(bars, [*curves.verdict().ranges, *curves.verdict(second).ranges])
    assert len(curves.verdict().ranges) == 1
    assert curves.verdict(second).holds


def test_held_out_without_covariance(ax):
    setting = {"n": 20, "gamma": 10.0, "gamma_source": 1.0, "alphas": [0.0, 1.0], "splits": 3, "seed": 0}
    plots.held_out(ax, held_out_curves("digits:2,3", "digits:8,9", **setting, shrinkage=None))
    assert "prediction with covariance" not in ax.get_legend_handles_labels()[1]


# Trainings.


def history(**changed):
    parts = {
        "loss": np.array([5.0, 3.0, 2.0, 1.5, 1.2, 1.1, 1.05]),
        "alpha": {"alpha": np.array([1.0, 0.8, 0.7, 0.65])},
        "alpha_steps": np.array([0, 2, 4, 6]),
        "alpha_loss": np.array([4.0, 2.5, 2.0]),
        "validation_loss": np.array([6.0, 2.1, 2.4]),
        "validation_steps": np.array([0, 3, 6]),
        "best_step": 3,
        "stopped_early": False,
    }
    return History(**parts | changed)


NOTHING = {"alpha": {}, "alpha_loss": np.array([]), "validation_loss": np.array([])}
NOTHING |= {"alpha_steps": np.array([0]), "validation_steps": np.array([], dtype=int)}


def drawn(ax):
    return {line.get_label(): tuple(map(list, line.get_data())) for line in ax.lines}


def test_training_curve_has_every_loss_at_its_step(ax):
    run = history()
    assert plots.training_curve(ax, run) is ax
    assert drawn(ax) == {
        "objective": ([0, 1, 2, 3, 4, 5, 6], list(run.loss)),
        "loss of the batches for α": ([2, 4, 6], [4.0, 2.5, 2.0]),
        "validation loss": ([0, 3, 6], [6.0, 2.1, 2.4]),
        "least validation loss": ([3], [2.1]),
    }
    assert points(ax, "*") == [(3.0, 2.1)]
    assert ax.get_yscale() == "log"
    FigureCanvasAgg(ax.figure).draw()


def test_training_curve_without_some_of_its_parts(ax):
    plots.training_curve(ax, history(**NOTHING))
    assert list(drawn(ax)) == ["objective"]


@pytest.mark.parametrize("name", ["loss", "alpha_loss", "validation_loss"])
def test_a_loss_of_nothing_has_no_logarithm(ax, name):
    losses = getattr(history(), name).copy()
    losses[-1] = 0.0
    plots.training_curve(ax, history(**{name: losses}))
    assert ax.get_yscale() == "linear"


def test_alpha_history_has_every_row_and_what_to_compare_with(ax):
    rows = np.array([[1.0, 2.0], [0.9, 2.1], [0.8, 2.2], [0.7, 2.3]])
    run = history(alpha={"0.alpha": history().alpha["alpha"], "2.alpha": rows})
    assert plots.alpha_history(ax, run, reference={"theory": 0.6, "best": -1.5}) is ax
    assert drawn(ax) == {
        "0.alpha": ([0, 2, 4, 6], [1.0, 0.8, 0.7, 0.65]),
        "2.alpha[0]": ([0, 2, 4, 6], [1.0, 0.9, 0.8, 0.7]),
        "2.alpha[1]": ([0, 2, 4, 6], [2.0, 2.1, 2.2, 2.3]),
        "theory": ([0, 1], [0.6, 0.6]),
        "best": ([0, 1], [-1.5, -1.5]),
    }
    assert len({line.get_color() for line in ax.lines[:3]}) == 3
    assert len({line.get_linestyle() for line in ax.lines[3:]}) == 2
    FigureCanvasAgg(ax.figure).draw()


def test_alpha_history_without_alpha_or_reference(ax):
    plots.alpha_history(ax, history(**NOTHING))
    assert not ax.lines


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"theory": np.inf}, r"reference\['theory'\] must be finite"),
        ({"best": 1.0, "theory": [1.0, 2.0]}, r"reference\['theory'\] must be a number or .* got shape \(2,\)"),
        (0.5, "reference must map labels to values, got 0.5"),
    ],
)
def test_alpha_history_refuses_what_cannot_be_drawn(ax, reference, message):
    with pytest.raises(ValueError, match=message):
        plots.alpha_history(ax, history(), reference=reference)
    assert not ax.lines


@pytest.mark.parametrize(("count", "labels"), [(6, [f"alpha[{row}]" for row in range(6)]), (7, ["alpha, 7 rows"])])
def test_many_rows_of_alpha_have_one_label(ax, count, labels):
    rows = np.arange(4.0 * count).reshape(4, count)
    theory = -np.arange(1.0, count + 1.0)
    plots.alpha_history(ax, history(alpha={"alpha": rows}), reference={"theory": theory, "all": 0.5})
    assert ax.get_legend_handles_labels()[1] == [*labels, "theory", "all"]
    paths, lines = ax.lines[:count], ax.lines[count:-1]
    np.testing.assert_array_equal([line.get_ydata() for line in paths], rows.T)
    np.testing.assert_array_equal([line.get_ydata()[0] for line in lines], theory)
    assert [line.get_color() for line in lines] == [line.get_color() for line in paths]
    assert len({line.get_color() for line in paths}) == len(labels)
    FigureCanvasAgg(ax.figure).draw()


def test_curves_of_one_point_can_be_seen(ax):
    one = {"alpha": {"alpha": np.array([1.0])}, "alpha_steps": np.array([0, 5]), "alpha_loss": np.array([2.0])}
    plots.training_curve(ax, history(**one))
    dots = {line.get_label(): line.get_marker() for line in ax.lines}
    assert dots["loss of the batches for α"] == "o"
    assert dots["objective"] == dots["validation loss"] == "None"
    plots.alpha_history(ax, history(**one | {"alpha_steps": np.array([0])}))
    assert ax.lines[-1].get_marker() == "o"


def test_noise_of_minibatches_stays_in_the_background(ax):
    plots.training_curve(ax, history())
    lines = {line.get_label(): line for line in ax.lines}
    assert lines["objective"].get_alpha() < 1.0
    assert lines["validation loss"].get_alpha() is None
    assert lines["objective"].get_linewidth() < lines["validation loss"].get_linewidth()


@pytest.mark.parametrize(("draw", "mean"), [(plots.accuracy_curve, "mean_accuracy"), (plots.risk_curve, "mean_risk")])
def test_curves_of_order_2_are_means_over_draws(draw, mean):
    spread, grid = ra.fluctuations(0.5, 20, 30, 0.2), np.linspace(-1, 3, 9)
    ax = draw(Figure().subplots(), spread, grid, order=2)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), getattr(spread, mean)(grid), rtol=1e-12)
    assert np.abs(ax.lines[0].get_ydata() - draw(Figure().subplots(), spread, grid).lines[0].get_ydata()).max() > 1e-3
    with pytest.raises(ValueError, match="order must be 1 with a MarginLaw"):
        draw(Figure().subplots(), spread.law, grid, order=2)
    for wrong in (1.0, [], [[0.0, 1.0]]):
        with pytest.raises(ValueError, match="alpha must be a vector"):
            draw(Figure().subplots(), spread, wrong)
    with pytest.raises(ValueError, match="coverage"):
        draw(Figure().subplots(), spread.law, grid, coverage=90)
