"""What the figures show."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import rmt_alpha as ra
from rmt_alpha import plots

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


def test_estimates_have_bars_of_two_standard_errors(ax):
    estimate = ra.simulate(**SETTING, trials=10, seed=0).accuracy([0.0, 1.0])
    assert plots.estimates(ax, [0.0, 1.0], estimate) is ax
    (bars,) = ax.containers
    segments = bars[2][0].get_segments()
    np.testing.assert_allclose([s[1, 1] - s[0, 1] for s in segments], 4 * estimate.stderr)


def test_nan_on_the_axis_is_refused(ax):
    with pytest.raises(ValueError, match="alpha"):
        plots.accuracy_curve(ax, ra.margin_law(**SETTING), [0.0, np.nan])
