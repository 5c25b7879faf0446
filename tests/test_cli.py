"""The command line: every command's answers, both ways of saying them, and its refusals."""

import csv
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import tomllib
from contextlib import closing

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha import cli, plots, symbolic
from rmt_alpha.cli import _fit, _lora, _shared, _tasks

PROBLEM = ["--beta", "0.8", "--n", "60", "--p", "90", "--gamma", "0.2", "--n-source", "100", "--gamma-source", "0.5"]
SETTING = {"beta": 0.8, "n": 60, "p": 90, "gamma": 0.2, "n_source": 100, "gamma_source": 0.5}
PNG = b"\x89PNG"


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in an empty folder; return its status and what it printed."""
    monkeypatch.chdir(tmp_path)

    def call(*argv):
        try:
            status = cli.main([str(word) for word in argv])
        except SystemExit as stop:  # argparse stops by itself
            status = stop.code
        out, err = capsys.readouterr()
        return status, out, err

    return call


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_no_argument_is_the_demo(tmp_path):
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}  # two thousand experiments take minutes to interpret
    done = subprocess.run(
        [sys.executable, "-m", "rmt_alpha"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "agree within chance" in " ".join(done.stdout.split())
    for number in ("1.632", "-1.412", "4.099", "-0.565", "7.471", "-0.314", "0.549", "0.639", "0.731"):
        assert number in done.stdout
    assert (tmp_path / "rmt_alpha_demo.png").read_bytes()[:4] == PNG


def test_demo_json(run, tmp_path):
    status, out, _ = run("demo", "--json", "--trials", 10, "--seed", 7, "--out", "picture.svg")
    data = strict_json(out)
    assert status == 0
    assert data["seed"] == 7
    assert data["agrees"] is True
    assert [entry["beta"] for entry in data["results"]] == [0.2, 0.5, 0.9]
    assert data["results"][2]["optimal_alpha"] == pytest.approx(7.471, abs=5e-4)
    assert len(data["results"][0]["accuracies"]) == 3
    assert "<svg" in (tmp_path / "picture.svg").read_text(encoding="utf-8")
    entry = data["results"][2]["accuracies"][2]
    assert entry["spread"] == pytest.approx(entry["stderr"] * np.sqrt(10.0))
    std = ra.accuracy_std(data["results"][2]["optimal_alpha"], 0.9, **data["setting"])
    assert entry["predicted_spread"] == pytest.approx(std, rel=1e-12)
    assert data["spreads_agree"] is True
    assert f"single draws scatter by {entry['spread']:.2g} (theory: " in data["summary"]
    assert f"the mean of 10 draws is good to {entry['stderr']:.2g}" in data["summary"]


def test_demo_draws_the_band_and_the_errors_of_the_mean(run, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    out = run("demo", "--trials", 10)[1]
    assert max(map(len, out.splitlines())) <= 120
    (ax,) = figures[0].axes
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named.count("90 % of draws") == 1
    assert "mean of 10 ± 2 s.e." in named
    assert len(ax.containers) == 3
    theory = [line for line in ax.lines if line.get_label().startswith("theory")]
    assert [line.get_linestyle() for line in theory] == ["-", "--", "-."]  # to be told apart without colour
    assert [container.lines[0].get_marker() for container in ax.containers] == ["o", "s", "^"]
    bands = [c for c in ax.collections if c.get_alpha() is not None]
    assert len(bands) == 3
    setting = {"n": 40, "p": 1000, "gamma": 0.1, "mu": 0.8, "mu_perp": 0.8, "n_source": 5000, "gamma_source": 5.0}
    low, high = ra.fluctuations(0.9, **setting).accuracy_interval(ax.lines[0].get_xdata(), 0.9)
    drawn = bands[2].get_paths()[0].get_extents()
    assert (drawn.ymin, drawn.ymax) == pytest.approx((low.min(), high.max()))


def test_optimal_says_what_the_functions_say(run):
    status, out, _ = run("optimal", *PROBLEM, "--json")
    data = strict_json(out)
    law = ra.margin_law(**SETTING)
    assert status == 0
    assert data["optimal_alpha"] == [ra.optimal_alpha(**SETTING)]
    assert data["worst_alpha"] == [law.worst_alpha()]
    assert data["accuracy_optimal"] == [law.best_accuracy()]
    status, out, _ = run("optimal", *PROBLEM)
    assert f"{ra.optimal_alpha(**SETTING):.4f}" in out


def test_optimal_says_how_far_single_draws_are_off(run):
    data, spread = strict_json(run("optimal", *PROBLEM, "--json")[1]), ra.fluctuations(**SETTING)
    best = ra.optimal_alpha(**SETTING)
    assert data["accuracy_0_std"] == pytest.approx([spread.accuracy_std(0.0)], rel=1e-12)
    assert data["accuracy_1_std"] == pytest.approx([spread.accuracy_std(1.0)], rel=1e-12)
    assert data["accuracy_optimal_std"] == pytest.approx([spread.accuracy_std(best)], rel=1e-12)
    assert data["optimal_alpha_std"] == pytest.approx([spread.optimal_alpha_std()], rel=1e-12)
    out = run("optimal", *PROBLEM)[1]
    assert f"{best:.4f} ± {spread.optimal_alpha_std():.4f}" in out
    assert f"{ra.accuracy(1.0, **SETTING):.4f} ± {spread.accuracy_std(1.0):.4f}" in out
    assert max(map(len, out.splitlines())) <= 120
    second = strict_json(run("optimal", *PROBLEM, "--order", 2, "--json")[1])
    assert second["optimal_alpha"] == [ra.optimal_alpha(**SETTING, order=2)]
    assert second["worst_alpha"] == [ra.worst_alpha(**SETTING, order=2)]
    assert second["accuracy_1"] == pytest.approx([spread.mean_accuracy(1.0)], rel=1e-12)
    undefined = strict_json(run("optimal", "--beta", 0.8, "--n", 400, "--p", 200, "--gamma", 0, "--json")[1])
    assert undefined["optimal_alpha_std"] == [None]
    assert undefined["accuracy_optimal_std"] == undefined["accuracy_1_std"] != [None]  # no α matters


@pytest.mark.parametrize("order", [1, 2])
def test_curve_draws_the_band_of_single_draws(run, monkeypatch, order):
    drawn = []
    for name in ("accuracy_curve", "risk_curve"):
        curve = getattr(plots, name)
        monkeypatch.setattr(
            plots, name, lambda *a, curve=curve, **k: drawn.append((a[1], k["order"])) or curve(*a, **k)
        )
    assert run("curve", *PROBLEM, "--order", order, "--out", "curve.png")[0] == 0
    assert [drawn_order for _, drawn_order in drawn] == [order, order]
    for law, _ in drawn:
        np.testing.assert_array_equal(law.cov, ra.fluctuations(**SETTING).cov)


def test_optimal_at_several_beta_with_simulation(run):
    status, out, _ = run("optimal", *PROBLEM[2:], "--beta", 0.1, 0.8, "--trials", 8, "--seed", 3, "--json")
    data = strict_json(out)
    sim = ra.simulate(**SETTING, trials=8, seed=3)
    assert status == 0
    assert data["beta"] == [0.1, 0.8]
    assert data["simulated_1"][1] == sim.accuracy(1.0).value
    assert data["stderr_optimal"][1] == pytest.approx(sim.accuracy(ra.optimal_alpha(**SETTING)).stderr)


def test_what_is_undefined_is_null_in_json(run):
    status, out, _ = run("optimal", "--beta", 0.8, "--n", 400, "--p", 200, "--gamma", 0, "--json")
    assert status == 0
    assert strict_json(out)["optimal_alpha"] == [None]
    assert "nan" in run("optimal", "--beta", 0.8, "--n", 400, "--p", 200, "--gamma", 0)[1]


def test_curve_prints_writes_and_draws(run, tmp_path):
    arguments = ["curve", *PROBLEM, "--points", 5, "--alpha-min", -2, "--alpha-max", 2]
    status, out, _ = run(*arguments)
    rows = list(csv.DictReader(out.splitlines()))
    assert status == 0
    assert [float(row["alpha"]) for row in rows] == [-2, -1, 0, 1, 2]
    assert float(rows[4]["accuracy"]) == ra.accuracy(2.0, **SETTING)
    assert float(rows[4]["risk"]) == ra.risk(2.0, **SETTING)
    spread = ra.fluctuations(**SETTING)
    assert float(rows[4]["accuracy_std"]) == pytest.approx(spread.accuracy_std(2.0), rel=1e-12)
    assert float(rows[4]["risk_std"]) == pytest.approx(spread.risk_std(2.0), rel=1e-12)
    rows = list(csv.DictReader(run(*arguments, "--order", 2)[1].splitlines()))
    assert float(rows[4]["accuracy"]) == pytest.approx(ra.fluctuations(**SETTING).mean_accuracy(2.0), rel=1e-12)
    assert float(rows[4]["risk"]) == pytest.approx(ra.fluctuations(**SETTING).mean_risk(2.0), rel=1e-12)

    assert run(*arguments, "--trials", 4, "--out", "curve.csv")[0] == 0
    with (tmp_path / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    estimate = ra.simulate(**SETTING, trials=4, seed=0).accuracy(-1.0)
    assert float(rows[1]["simulated_accuracy"]) == pytest.approx(estimate.value, rel=1e-12)
    assert float(rows[1]["stderr_accuracy"]) == pytest.approx(estimate.stderr, rel=1e-9)

    for suffix in ("png", "pdf", "svg"):
        assert run(*arguments, "--trials", 4, "--out", f"curve.{suffix}")[0] == 0
        assert (tmp_path / f"curve.{suffix}").stat().st_size > 1000


def test_curve_chooses_an_axis_that_shows_the_special_alphas(run):
    _, out, _ = run("curve", *PROBLEM, "--json")
    alpha = strict_json(out)["alpha"]
    assert alpha[0] < ra.worst_alpha(**SETTING) < ra.optimal_alpha(**SETTING) < alpha[-1]
    assert run("curve", "--beta", 0, "--n", 400, "--p", 200, "--gamma", 0)[0] == 0


def test_curve_orders_several_beta_one_after_the_other(run):
    _, out, _ = run("curve", *PROBLEM[2:], "--beta", 0.3, 0.8, "--points", 3, "--alpha-min", 0, "--alpha-max", 2)
    rows = list(csv.DictReader(out.splitlines()))
    assert [row["beta"] for row in rows] == ["0.3"] * 3 + ["0.8"] * 3
    assert float(rows[5]["accuracy"]) == ra.accuracy(2.0, **SETTING)


def test_compare_agrees_and_says_so(run):
    status, out, _ = run("compare", *PROBLEM, "--trials", 60)
    assert status == 0
    assert "Theory and simulation agree" in out
    data = strict_json(run("compare", *PROBLEM, "--trials", 60, "--alpha", 0.5, "--json")[1])
    assert [row["quantity"] for row in data["rows"]][-1] == "accuracy(0.5)"
    last = data["rows"][-1]
    assert last["spread"] == pytest.approx(last["stderr"] * np.sqrt(60.0))
    assert last["predicted_spread"] == pytest.approx(ra.accuracy_std(0.5, **SETTING), rel=1e-12)
    assert data["spreads_agree"] is True
    assert max(map(len, out.splitlines())) <= 120
    header = out.splitlines()[0]
    assert header.index("± s.e.") < header.index("± one draw") < header.index("predicted") < header.index("allowance")
    assert "the mean of 60 draws is good to" in " ".join(out.split())


def test_compare_to_second_order(run):
    status, out, _ = run("compare", *PROBLEM, "--trials", 60, "--order", 2, "--json")
    data = strict_json(out)
    assert status == 0
    assert data["order"] == 2
    assert data["rows"][0]["theory"] == ra.margin_law(**SETTING, order=2).mean[0]
    assert data["rows"][-1]["allowance"] < 0.004
    assert "O(1/n²)" in run("compare", *PROBLEM, "--trials", 60, "--order", 2)[1]
    assert run("compare", *PROBLEM, "--order", 3)[0] == 2


def test_compare_finds_a_wrong_spread_with_status_1(run, monkeypatch):
    from rmt_alpha import comparison

    monkeypatch.setattr(comparison, "fluctuations", lambda **k: ra.fluctuations(**k | {"n": 2000}))
    status, out, _ = run("compare", *PROBLEM, "--trials", 60)
    assert status == 1
    assert "Theory and simulation agree" in out
    assert "spreads DISAGREE" in " ".join(out.split())


def test_compare_disagrees_with_status_1(run, monkeypatch):
    """A theory of another problem, as a broken formula would be."""
    from rmt_alpha import comparison

    monkeypatch.setattr(comparison, "margin_law", lambda **k: ra.margin_law(**k | {"beta": 0.1}))
    status, out, _ = run("compare", *PROBLEM, "--trials", 60)
    assert status == 1
    assert "DISAGREE" in out


def test_errata_shows_both_beside_monte_carlo(run):
    status, out, _ = run("errata", "--trials", 25, "--json")
    published, corrected = strict_json(out)["formulas"]
    assert status == 0
    assert published["second_moment"] == pytest.approx(1.182, abs=5e-4)
    assert corrected["second_moment"] == pytest.approx(3.614, abs=5e-4)
    assert abs(published["z"]) > 20 > 5 > abs(corrected["z"])
    assert published["simulated_accuracy"] < 0.5 < corrected["simulated_accuracy"]
    assert "-5.357" in run("errata", "--trials", 2)[1]


def test_lora_demo_where_trainings_are_perfect(run, monkeypatch):
    """Solved instead of trained: what is said then, and that it comes from the data."""
    from rmt_alpha.lora import experiments

    fixed, asked = [], []

    def classifiers(sample, alphas, **options):
        fixed.append((options["steps"], options["rank"]))
        return sample.classifier(alphas)

    def learned(sample, **options):
        asked.append(options)
        return sample.resting_alpha(), None

    monkeypatch.setattr(experiments, "trained_classifiers", classifiers)
    monkeypatch.setattr(experiments, "learned_alpha", learned)
    status, out, _ = run("lora-demo", "--trials", 6, "--json")
    data = strict_json(out)
    assert status == 0
    assert data["exact"] is True
    assert data["agrees"] is True
    for row in data["trained_alpha"]:
        assert row["refused"] == {"trained": False, "optimal": True, "risk_optimal": True}
        assert row["theories"]["trained"] == ra.trained_alpha(0.6, row["n"], **_lora.LORA_DEMO)
        # Student's quantile at 5 degrees of freedom, level 0.001 over two problems; the allowance, spelled out
        inverse = 1 / 100
        for n, gamma in ((row["n"], 1.0), (200, 0.5)):
            kappa = max(np.roots([1.0, 1.0 - 100 / n - gamma, -gamma]))
            inverse += 1 / (n * (1 - 100 / n / (1 + kappa) ** 2))
        allowance = 0.5 * row["theories"]["trained"] * inverse
        assert row["tolerance"] == pytest.approx(7.976 * row["stderr"] + allowance, rel=1e-4)
    assert fixed == [(_lora.LORA_DEMO_STEPS, rank) for rank in (1, 4, 4)] * 4
    assert [set(options) for options in asked] == [{"steps", "seed"}] * 12  # the held-out data are the fresh default
    for row in data["fixed_alpha"]:
        assert row["theory"] == pytest.approx(ra.accuracy(row["alpha"], 0.6, 50, **_lora.LORA_DEMO))
        assert abs(row["trained"] - row["theory"]) < 6 * row["stderr"]


@pytest.mark.slow
def test_lora_demo_trains_what_theory_says(run, tmp_path):
    status, out, _ = run("lora-demo", "--trials", 5)
    assert status == 0
    text = " ".join(out.split())
    assert "trained layers are the ridge classifiers" in text
    assert "that it finds α* is refuted, that it finds the α of least risk is refuted" in text
    setting = {"beta": 0.6, "p": 100, "gamma": 1.0, "mu": 1.5, "mu_perp": 1.2, "n_source": 200, "gamma_source": 0.5}
    for n in (50, 200):
        for theory in (ra.trained_alpha, ra.optimal_alpha):
            assert f"{theory(n=n, **setting):.4f}" in out
    assert f"{ra.accuracy(0.0, n=50, **setting):.4f}" in out
    assert (tmp_path / "rmt_alpha_lora_demo.png").read_bytes()[:4] == PNG


def test_lora_demo_trains_long_enough():
    """A draw on which 600 steps leave more than is called exact."""
    from rmt_alpha.lora.experiments import draw, trained_classifiers
    from rmt_alpha.problem import Experiment

    sample = draw(Experiment(**_lora.LORA_DEMO, beta=0.6, n=50), 5000 + 1371)
    alphas = [2.0 * ra.worst_alpha(0.6, 50, **_lora.LORA_DEMO)]
    layer = trained_classifiers(sample, alphas, steps=_lora.LORA_DEMO_STEPS, seed=1371, rank=1)[0]
    solved = sample.classifier(alphas)[0]
    assert np.linalg.norm(layer - solved) < 1e-3 * _lora.EXACT * np.linalg.norm(solved)


@pytest.mark.slow
def test_lora_demo_finds_what_is_not_so(run, tmp_path, monkeypatch):
    """Trainings that stop far too early, and the theory of another quantity: both are status 1."""
    from rmt_alpha.lora import experiments

    train = experiments.train
    monkeypatch.setattr(experiments, "train", lambda *a, **k: train(*a, **{**k, "steps": 25}))
    monkeypatch.setattr(experiments, "trained_alpha", ra.optimal_alpha)
    status, out, _ = run("lora-demo", "--trials", 5, "--seed", 3, "--json", "--out", "picture.svg")
    data = strict_json(out)
    assert status == 1
    assert data["exact"] is False
    assert data["seed"] == 3
    assert data["agrees"] is False
    assert [row["n"] for row in data["trained_alpha"]] == [50, 200]
    last = data["trained_alpha"][1]
    assert last["theories"]["trained"] == ra.optimal_alpha(0.6, 200, **_lora.LORA_DEMO)
    assert last["refused"]["trained"] is True
    assert max(row["largest_difference"] for row in data["fixed_alpha"]) > 1e-3
    assert "are NOT the ridge classifiers" in data["summary"]
    assert "does NOT rest" in data["summary"]
    assert "<svg" in (tmp_path / "picture.svg").read_text(encoding="utf-8")


TRANSFER = ["transfer", "digits:6,8", "digits:5,9", "--splits", "6", "--points", "9"]


def test_transfer_predicts_measures_and_draws(run, tmp_path):
    status, out, _ = run(*TRANSFER)
    assert status == 0
    assert "best in hindsight" in out
    assert "FAILS" in out or "cannot tell" in out
    assert (tmp_path / "rmt_alpha_transfer.png").read_bytes()[:4] == PNG

    data = strict_json(run(*TRANSFER, "--json")[1])
    places = ["scratch", "fine_tuning", "predicted_alpha", "predicted_alpha_with_covariance", "hindsight"]
    assert [entry["at"] for entry in data["accuracies"]] == places
    alpha = data["curve"]["alpha"]
    assert (alpha[0], alpha[-1], len(alpha)) == (-1, 3, 9)
    measured = dict(zip(alpha, data["curve"]["measured"], strict=True))
    assert data["accuracies"][0]["measured"] == pytest.approx(measured[0.0])
    assert data["accuracies"][1]["measured"] == pytest.approx(measured[1.0])
    assert data["accuracies"][4]["measured"] == pytest.approx(max(measured.values()))
    for name in ("predicted", "predicted_with_covariance"):
        curve = dict(zip(alpha, data["curve"][name], strict=True))
        assert data["accuracies"][0][name] == pytest.approx(curve[0.0])
        assert data["accuracies"][1][name] == pytest.approx(curve[1.0])
    assert data["accuracies"][0]["predicted"] != data["accuracies"][0]["predicted_with_covariance"]
    assert data["prediction_holds"] is (False if data["prediction_fails"] else None)  # too few splits to hold

    more = strict_json(run(*TRANSFER, "--splits", "12", "--json")[1])
    assert more["prediction_holds"] is (not more["prediction_fails"])
    assert more["with_covariance"]["prediction_holds"] is (not more["with_covariance"]["prediction_fails"])


def test_transfer_without_scikit_learn_leaves_out_a_prediction(run, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    y = np.resize([-1.0, 1.0], 60)
    np.savez(tmp_path / "data.npz", X=rng.standard_normal((60, 5)) + np.outer(y, [1, 0, 0, 0, 0]), y=y)
    arguments = ["transfer", "data.npz", "data.npz", "--n", 12, "--splits", 4, "--points", 3]
    assert "prediction with covariance is left out" not in run(*arguments)[1]
    monkeypatch.setitem(sys.modules, "sklearn", None)
    status, out, _ = run(*arguments)
    assert status == 0
    assert "The prediction with covariance is left out." in out
    assert '    pip install "rmt_alpha[data]"\n' in out
    data = strict_json(run(*arguments, "--json")[1])
    assert data["with_covariance"] is None
    assert [entry["at"] for entry in data["accuracies"]] == ["scratch", "fine_tuning", "predicted_alpha", "hindsight"]
    assert list(data["curve"]) == ["alpha", "measured", "stderr", "predicted", "predicted_spread"]
    monkeypatch.setitem(sys.modules, "sklearn.covariance", None)
    assert strict_json(run(*arguments, "--json", "--shrinkage", 0.4)[1])["with_covariance"] is not None
    status, _, err = run(*arguments, "--shrinkage", "oas")
    assert status == 2
    assert 'pip install "rmt_alpha[data]"' in err


@pytest.mark.slow
def test_transfer_shrinks_as_told(run):
    def predicted(*options):
        data = strict_json(run(*TRANSFER, "--json", *options)[1])
        return data["accuracies"][0]["predicted_with_covariance"]

    assert predicted() == predicted("--shrinkage", "ledoit-wolf")
    assert len({predicted(), predicted("--shrinkage", "oas"), predicted("--shrinkage", "0.9")}) == 3
    for wrong in ("lasso", "1.5"):
        status, _, err = run(*TRANSFER, "--shrinkage", wrong)
        assert status == 2
        assert "shrinkage must be" in err


def test_transfer_legend_is_beside_the_curves(run, monkeypatch):
    """With seven entries, none of which may hide a curve."""
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: figures.append(figure))
    run(*TRANSFER, "--gamma", "10", "--splits", "12")
    (figure,) = figures
    figure.draw_without_rendering()
    (legend,) = figure.legends
    (ax,) = figure.axes
    assert len(legend.get_texts()) == 7
    assert legend.get_window_extent().y1 < ax.get_window_extent().y0
    assert ax.get_legend() is None


def test_transfer_says_so_where_the_theory_is_undefined(run):
    status, out, _ = run(*TRANSFER, "--gamma", "1e90")
    assert status == 0
    assert "undefined here" in out
    data = strict_json(run(*TRANSFER, "--gamma", "1e90", "--json")[1])
    assert data["prediction_undefined"]
    assert data["prediction_holds"] is None
    assert data["largest_difference"] is None
    assert data["with_covariance"]["prediction_undefined"]


def test_transfer_reads_files_and_writes_csv(run, tmp_path):
    rng = np.random.default_rng(0)
    y = np.repeat([-1.0, 1.0], 40)
    X = rng.standard_normal((80, 5)) + np.outer(y, [1, 0, 0, 0, 0])
    X[:, 4] = 7.0  # constant features are no error
    np.savez(tmp_path / "source.npz", X=X, y=y)
    names = np.where(y > 0, "spam", "ham")
    lines = ["a,b,c,d,e,label", *(",".join([*map(str, row), name]) for row, name in zip(X, names, strict=True))]
    (tmp_path / "target.csv").write_text("\n".join(lines), encoding="utf-8")
    arguments = ["transfer", "source.npz", "target.csv", "--n", 20, "--splits", 4, "--points", 3, "--out", "curve.csv"]
    status, out, err = run(*arguments)
    assert status == 0, err
    with (tmp_path / "curve.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["alpha"]) for row in rows] == [-1, 1, 3]
    assert all(0 <= float(row["measured"]) <= 1 for row in rows)
    assert all(0 <= float(row["predicted_with_covariance"]) <= 1 for row in rows)
    assert "p = 4 features" in out


def labelled_file(path, n=40, p=6, seed=0, shift=1.0, names=("ham", "spam")):
    """Write samples of the model as CSV, +1 the second name."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1], n // 2)
    X = rng.standard_normal((n, p)) + np.outer(2 * y - 1, [shift, 0.5 * shift, *[0.0] * (p - 2)])
    header = ",".join([*(f"x{j}" for j in range(p)), "label"])
    lines = [",".join([*map(repr, row.tolist()), names[k]]) for row, k in zip(X, y, strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return X, 2.0 * y - 1.0


@pytest.fixture
def mail(tmp_path):
    """Four files: many source rows, forty target rows, fresh ones, and some of other features."""
    data = {name: labelled_file(tmp_path / f"{name}.csv", n, seed=k) for k, (name, n) in enumerate(MAIL.items())}
    (tmp_path / "other.csv").write_text("a,b,label\n1,2,x\n2,3,x\n3,4,y\n4,6,y\n", encoding="utf-8")
    return data


MAIL = {"source": 400, "few": 40, "fresh": 60}
FIT = ["fit", "few.csv", "--source-data", "source.csv"]


def test_fit_is_what_the_estimator_says(run, mail, tmp_path):
    from rmt_alpha.estimation.estimators import AlphaRidgeClassifier
    from rmt_alpha.estimation.heads import load_head
    from rmt_alpha.estimation.judgement import judge
    from rmt_alpha.estimation.splits import Standardiser

    status, out, err = run(*FIT, "--gamma", "loo", "--save", "head.npz", "--json")
    assert (status, err) == (0, "")
    data = strict_json(out)
    scale = Standardiser.fit(*mail["source"], *mail["few"]).scale
    source = AlphaRidgeClassifier(scale=scale).fit(*mail["source"])
    model = AlphaRidgeClassifier(source, gamma="loo", scale=scale).fit(*mail["few"])
    judgement = judge(model)
    assert data["alpha"] == pytest.approx(model.alpha_)
    assert data["gamma"] == pytest.approx(model.gamma_)
    assert data["related"] == pytest.approx(model.related_)
    assert (data["n"], data["p"], data["rows"], data["scale"]) == (40, 6, {"ham": 20, "spam": 20}, "source")
    assert data["sources"] == [{"name": "source.csv", "rows": 400}]
    assert data["interval"] == pytest.approx(judgement.interval)
    assert data["expected_accuracy"] == judgement.accuracy
    assert data["law_accuracy"] == pytest.approx(judgement.law_accuracy)
    assert data["source_share"] == pytest.approx(judgement.share)
    assert [row["at"] for row in data["leave_one_out"]] == ["scratch", "fine_tuning", "chosen"]
    for row in data["leave_one_out"]:
        assert row["risk"] == pytest.approx(judgement.at[row["at"]].risk)
        assert row["accuracy"] == judgement.at[row["at"]].hits / 40
        assert row["p_value"] == pytest.approx(judgement.at[row["at"]].p_value)

    head = load_head(tmp_path / "head.npz")
    assert data["saved"] == "head.npz"
    assert head.class_names == ("ham", "spam")
    assert head.features == tuple(f"x{j}" for j in range(6))
    X, y = mail["fresh"]
    assert head.decision_function(X) == pytest.approx(model.decision_function(X))
    assert head.scale == pytest.approx(scale)

    status, out, _ = run(*FIT, "--gamma", "loo", "--predict", "fresh.csv", "--out", "predictions.csv")
    assert status == 0
    for number in (f"α = {model.alpha_:.4g}", f"γ = {model.gamma_:.4g}", f"matters: {model.related_:.2f}"):
        assert number in out
    rows = read_csv(tmp_path / "predictions.csv")
    assert [row["row"] for row in rows] == [str(i) for i in range(1, 61)]
    assert [row["predicted"] for row in rows] == ["spam" if f > 0 else "ham" for f in model.decision_function(X)]
    assert [float(row["probability"]) for row in rows] == pytest.approx(model.predict_proba(X).max(axis=1))
    assert [row["label"] for row in rows] == ["spam" if label > 0 else "ham" for label in y]
    assert f"Right: {model.score(X, y):.3f}, 95% interval" in out

    status, again, _ = run("fit", "--head", "head.npz", "--predict", "fresh.csv", "--out", "again.csv")
    assert status == 0
    assert "the labels ham, spam" in again
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "predictions.csv").read_bytes()
    assert "50 more rows with --out" in run("fit", "--head", "head.npz", "--predict", "fresh.csv")[1]
    said = strict_json(run("fit", "--head", "head.npz", "--predict", "fresh.csv", "--json")[1])
    assert said["alpha"] == data["alpha"]
    assert said["predictions"]["accuracy"] == model.score(X, y)
    assert len(said["predictions"]["rows"]["predicted"]) == 60


@pytest.mark.usefixtures("mail")
def test_fit_from_a_saved_head_and_from_several(run, tmp_path):
    assert run("fit", "source.csv", "--save", "source.npz", "--scale", "std")[0] == 0
    one = strict_json(run("fit", "few.csv", "--source", "source.npz", "--json")[1])
    assert one["scale"] == "source"
    assert one["sources"] == [{"name": "source.npz", "rows": None}]
    assert one["alpha"] > 0.3
    same = strict_json(run("fit", "few.csv", "--source-data", "source.csv", "--scale", "none", "--json")[1])
    assert same["scale"] == "none"
    two = strict_json(
        run("fit", "few.csv", "--source", "source.npz", "--source-data", "fresh.csv", "--alpha", 0.5, "--json")[1]
    )
    assert [source["name"] for source in two["sources"]] == ["source.npz", "fresh.csv"]
    assert two["alpha"] == [0.5, 0.5]
    out = run("fit", "few.csv", "--source-data", "fresh.csv", "--source", "source.npz", "--alpha", "loo")[1]
    assert out.index("Source fresh.csv (60 rows)") < out.index("Source source.npz: α")

    # the label names of a head in the other order: it means the same
    from rmt_alpha.estimation.heads import Head, load_head, save_head

    head = load_head(tmp_path / "source.npz")
    turned = Head(-head.coef, -head.intercept, head.classes[::-1], scale=head.scale)
    save_head(tmp_path / "turned.npz", turned)
    assert strict_json(run("fit", "few.csv", "--source", "turned.npz", "--json")[1])["alpha"] == one["alpha"]
    save_head(tmp_path / "bare.npz", Head(head.coef))  # labels and units unknown
    assert strict_json(run("fit", "few.csv", "--source", "bare.npz", "--json")[1])["scale"] == "std"
    status, _, err = run("fit", "few.csv", "--source", "bare.npz", "--scale", "source")
    assert status == 2
    assert "--scale source needs" in err


@pytest.mark.usefixtures("mail")
def test_fit_judges(run, tmp_path):
    from rmt_alpha.estimation import robust
    from rmt_alpha.estimation.heads import Head, save_head

    assert robust._RELATED == _fit.RELATED
    rng = np.random.default_rng(1)
    save_head(tmp_path / "noise.npz", Head(rng.standard_normal(6) * [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]))
    out = run("fit", "few.csv", "--source", "noise.npz", "--alpha", 0.0)[1]
    assert "Nothing speaks for the source: 0.0% of" in out
    assert "α = 0" not in out.split("Nothing")[1]  # which is what it is
    save_head(tmp_path / "truth.npz", Head([1.0, 0.5, 0.0, 0.0, 0.0, 0.0]))
    out = run("fit", "few.csv", "--source", "truth.npz", "--alpha", -5, "--gamma", 10)[1]
    assert "This α is WORSE than α = 0: " in out
    assert "This α is WORSE than α = 1: " in out
    labelled_file(tmp_path / "wide.csv", 16, 60, seed=3)
    save_head(tmp_path / "wide.npz", Head([1.0, 0.5, *[0.0] * 58]))
    out = run("fit", "wide.csv", "--source", "wide.npz", "--alpha", 5)[1]
    assert "This α is better than α = 0: this α alone is right on" in " ".join(out.split())
    assert "α = 1 may do as well within error" in out
    out = run("fit", "few.csv")[1]
    assert "Source" not in out
    assert "fine-tuning" not in out
    assert "Accuracy to expect" in out


def test_fit_predicts_where_labels_differ(run, tmp_path, mail):
    labelled_file(tmp_path / "renamed.csv", 10, names=("no", "yes"))
    out = run(*FIT, "--predict", "renamed.csv")[1]
    assert "Not among the head's labels: no, yes. Nothing counts" in out
    assert "Right:" not in out
    assert "accuracy" not in strict_json(run(*FIT, "--predict", "renamed.csv", "--json")[1])["predictions"]

    # a head of three classes, trained elsewhere, without probabilities
    from sklearn.linear_model import RidgeClassifier

    from rmt_alpha.estimation.heads import save_head

    X, y = mail["source"]
    kinds = np.where(X[:, 5] > 1.0, "junk", np.where(y > 0, "spam", "ham"))
    model = RidgeClassifier().fit(X, kinds)
    save_head(tmp_path / "three.npz", model)
    data = strict_json(run("fit", "--head", "three.npz", "--predict", "fresh.csv", "--json")[1])["predictions"]
    assert data["rows"]["predicted"] == model.predict(mail["fresh"][0]).tolist()
    assert data["rows"]["probability"] == [None] * 60
    assert data["accuracy"] == np.mean(model.predict(mail["fresh"][0]) == np.where(mail["fresh"][1] > 0, "spam", "ham"))
    status, _, err = run("fit", "few.csv", "--source", "three.npz")
    assert status == 2
    assert "3 outputs" in err


def test_fit_predicts_samples_without_labels(run, tmp_path, mail):
    run(*FIT, "--save", "head.npz")
    command = ["fit", "--head", "head.npz", "--predict"]
    labelled = strict_json(run(*command, "fresh.csv", "--json")[1])["predictions"]["rows"]
    lines = (tmp_path / "fresh.csv").read_text(encoding="utf-8").splitlines()
    (tmp_path / "bare.csv").write_text("\n".join(line.rpartition(",")[0] for line in lines), encoding="utf-8")
    np.savez(tmp_path / "bare.npz", X=mail["fresh"][0])
    for name in ("bare.csv", "bare.npz"):
        status, out, _ = run(*command, name, "--out", "a.csv")
        assert status == 0
        assert "Right:" not in out
        rows = read_csv(tmp_path / "a.csv")
        assert list(rows[0]) == ["row", "predicted", "probability"]
        assert [row["predicted"] for row in rows] == labelled["predicted"]
        assert [float(row["probability"]) for row in rows] == pytest.approx(labelled["probability"])
        assert run(*FIT, "--predict", name)[0] == 0
    (tmp_path / "bad.csv").write_text("x0,x1,x2,x3,x4,x5\n1,2,3,4,5\n", encoding="utf-8")
    status, _, err = run(*command, "bad.csv")
    assert status == 2
    assert "bad.csv: line 2 has 5 cells" in err
    np.savez(tmp_path / "bad.npz", X=[[1.0, np.inf]])
    assert "bad.npz: X must be finite" in run(*command, "bad.npz")[2]
    np.savez(tmp_path / "bad.npz", X=np.ones((3, 2)))
    assert "head.npz has 6 features, bad.npz has 2" in run(*command, "bad.npz")[2]
    (tmp_path / "bad.npz").write_bytes((tmp_path / "bare.npz").read_bytes().replace(b"NUMPY", b"NUMBY"))
    status, _, err = run(*command, "bad.npz")
    assert status == 2
    assert "bad.npz: " in err


@pytest.mark.usefixtures("mail")
def test_fit_predicts_columns_by_name_and_whatever_labels(run, tmp_path):
    run("fit", "few.csv", "--save", "head.npz")
    command = ["fit", "--head", "head.npz", "--json", "--predict"]
    straight = strict_json(run(*command, "fresh.csv")[1])["predictions"]
    table = read_csv(tmp_path / "fresh.csv")
    columns = ["x3", "id", "label", "x0", "x5", "x1", "x4", "x2"]
    lines = [",".join(row[name] for name in columns) for row in (row | {"id": "k"} for row in table)]
    (tmp_path / "turned.csv").write_text("\n".join([",".join(columns), *lines]), encoding="utf-8")
    assert strict_json(run(*command, "turned.csv")[1])["predictions"] == straight | {"data": "turned.csv"}
    # one row, hence one label
    (tmp_path / "one.csv").write_text("\n".join([",".join(columns), lines[0]]), encoding="utf-8")
    one = strict_json(run(*command, "one.csv")[1])["predictions"]
    assert one["accuracy"] == float(one["rows"]["predicted"] == one["rows"]["label"])
    assert one["rows"]["label"] == ["ham"]


def test_fit_knows_numbers_however_they_are_written(run, tmp_path):
    labelled_file(tmp_path / "a.csv", names=("1000001", "1000002"))
    labelled_file(tmp_path / "b.csv", names=("1000001.0", "1.000002e6"))
    plain, other = (
        run("fit", "a.csv", "--save", "head.npz", "--predict", name, "--json")[1] for name in ("a.csv", "b.csv")
    )
    assert strict_json(other)["rows"] == {"1000001": 20, "1000002": 20}
    assert strict_json(other)["predictions"]["accuracy"] == strict_json(plain)["predictions"]["accuracy"] > 0.5
    # the other way round, a source means the same
    from rmt_alpha.estimation.heads import Head, load_head, save_head

    head = load_head(tmp_path / "head.npz")
    save_head(tmp_path / "turned.npz", Head(-head.coef, -head.intercept, head.classes[::-1]))
    alphas = [
        strict_json(run("fit", "b.csv", "--source", f"{name}.npz", "--json")[1])["alpha"] for name in ("head", "turned")
    ]
    assert alphas[0] == pytest.approx(alphas[1])
    assert alphas[0] > 0


def test_fit_trains_no_source_on_the_target(run):
    data = strict_json(run("fit", "digits:3,8/2", "--source-data", "digits:3,5", "--json")[1])
    assert data["sources"][0]["rows"] == 365 - 91  # the 3s of the second half are in both
    status, _, err = run("fit", "digits:3,8", "--source-data", "digits:3,8")
    assert status == 2
    assert "without the rows that are in digits:3,8 as well" in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fit"], ["DATA is missing"]),
        (["fit", "no.csv"], ["no.csv: no such file"]),
        (["fit", "other.csv", "--source-data", "source.csv"], ["source.csv has 6 features, other.csv has 2"]),
        (["fit", "few.csv", "--source", "no.npz"], ["no.npz: no such file"]),
        (["fit", "few.csv", "--source", "few.csv"], ["few.csv: is not an .npz archive"]),
        (["fit", "few.csv", "--source", "two.npz"], ["two.npz has 2 features"]),
        (["fit", "few.csv", "--source", "named.npz"], ["named.npz has the feature 'a' where few.csv has 'x0'"]),
        (["fit", "one.csv"], ["one.csv: ", "two distinct labels, found 1: spam"]),
        ([*FIT, "--gamma", "-1"], ["gamma must be in [0, inf), got -1"]),
        ([*FIT, "--gamma", "auto"], ["gamma must be", "'auto'"]),
        ([*FIT, "--gamma-source", "-1"], ["source.csv, --gamma-source: gamma must"]),
        ([*FIT, "--alpha", "best"], ["alpha must be", "'best'"]),
        ([*FIT, "--alpha", "nan"], ["alpha must be"]),
        ([*FIT, "--scale", "max"], ["--scale"]),
        (["fit", "few.csv", "--scale", "source"], ["--scale source needs"]),
        ([*FIT, "--save", "head.csv"], ["--save must end in .npz"]),
        ([*FIT, "--save", "no/such/head.npz"], ["--save no/such/head.npz cannot be written"]),
        ([*FIT, "--out", "a.csv"], ["--out needs --predict"]),
        ([*FIT, "--predict", "fresh.csv", "--out", "a.png"], ["--out must end in .csv"]),
        ([*FIT, "--predict", "fresh.csv", "--out", "no/a.csv"], ["--out no/a.csv cannot be written"]),
        ([*FIT, "--predict", "fresh.csv", "--out", "./fresh.csv"], ["--out fresh.csv is read as well"]),
        (["fit", "few.csv", "--source", "two.npz", "--save", "two.npz"], ["--save two.npz is read as well"]),
        ([*FIT, "--predict", "nowhere.csv"], ["nowhere.csv: no such file"]),
        ([*FIT, "--predict", "."], [".: unknown kind of data"]),
        (["fit", "--head", "no.npz", "--predict", "few.csv"], ["no.npz: no such file"]),
        (["fit", "wide.csv", "--gamma", "0", "--alpha", "theory", "--source-data", "few.csv"], ["few.csv has 6"]),
        (["fit", "tiny.csv", "--source-data", "few.csv", "--alpha", "theory"], ["label", "4"]),
        ([*FIT, "--predict", "other.csv", "--save", "head.npz"], ["other.csv: the header must hold", "x0, x1, x2"]),
        (["fit", "few.csv", "--alpha", "0.5"], ["--alpha needs a source"]),
        (["fit", "few.csv", "--source", "two.npz", "--gamma-source", "1"], ["--gamma-source needs --source-data"]),
        (["fit", "--head", "two.npz"], ["--head needs --predict"]),
        (["fit", "few.csv", "--head", "two.npz", "--predict", "few.csv"], ["leave out DATA"]),
        (["fit", "--head", "two.npz", "--gamma", "1", "--save", "a.npz"], ["leave out --save, --gamma"]),
        (["fit", "--head", "two.npz", "--predict", "few.csv"], ["two.npz is a regression"]),
        (
            ["fit", "--head", "named.npz", "--predict", "other.csv"],
            ["other.csv: the header must hold the head's features a, b, c"],
        ),
        (["fit", "--head", "cut.npz", "--predict", "other.csv"], ["cut.npz: "]),
    ],
)
@pytest.mark.usefixtures("mail")
def test_bad_input_of_fit_is_exit_2(run, tmp_path, argv, words):
    from rmt_alpha.estimation.heads import Head, save_head

    labelled_file(tmp_path / "one.csv", 10, names=("spam", "spam"))
    labelled_file(tmp_path / "wide.csv", 10, 20)
    labelled_file(tmp_path / "tiny.csv", 6)
    save_head(tmp_path / "two.npz", Head([1.0, 2.0]))
    save_head(tmp_path / "named.npz", Head(np.ones(6), classes=["ham", "spam"], features=tuple("abcdef")))
    (tmp_path / "cut.npz").write_bytes((tmp_path / "two.npz").read_bytes()[:-30])
    before = sorted(tmp_path.iterdir())
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    for word in words:
        assert word in err
    assert "Traceback" not in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.usefixtures("mail")
def test_fit_without_scikit_learn_says_what_to_install(run, monkeypatch):
    monkeypatch.delitem(sys.modules, "rmt_alpha.estimation.estimators", raising=False)
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    status, out, err = run(*FIT)
    assert (status, out) == (2, "")
    assert 'pip install "rmt_alpha[data]"' in err


BENCHMARK = ["benchmark-tasks", "--half", "choose", "--tasks", "2", "--n", "10", "--splits", "2", "--gamma", "1"]


def test_benchmark_tasks_says_what_the_study_says(run, tmp_path):
    from itertools import islice

    from rmt_alpha.estimation import study
    from rmt_alpha.estimation.tasks import digit_tasks

    tasks = [
        t for kind in _tasks.KINDS for t in islice(filter(lambda t: study.half(t) == "choose", digit_tasks(kind)), 2)
    ]
    result = study.run(tasks, n=(10,), gamma=(1.0,), splits=2, seed=3)
    status, out, err = run(*BENCHMARK, "--seed", 3, "--json", "--out", "table.csv")
    assert (status, err) == (0, "")
    data = strict_json(out)
    assert data["tasks"] == [task.name for task in tasks]
    assert data["cells"] == result.cells()
    assert data["against_first_rule"] == result.against("first rule")
    assert data["methods"][0]["regret"] == pytest.approx(np.mean(result.regret("α = 0")))
    level = [cell["difference"] >= -cell["stderr"] for cell in data["cells"]]
    assert data["cells_level"] == sum(level)
    rows = read_csv(tmp_path / "table.csv")
    assert len(rows) == 6 * 2 * len(study.METHODS)
    row = next(r for r in rows if (r["task"], r["gamma"], r["method"]) == (tasks[4].name, "loo", "robust"))
    assert float(row["accuracy"]) == result.method("robust")[4, 0, 1]

    status, out, _ = run(*BENCHMARK, "--seed", 3, "--kind", "shifted", "shifted", "--n", 10, 10, "--gamma", 1, 1)
    assert status == 0
    assert "2 tasks of the half “choose”, 2 splits" in out
    assert sum(line.split()[:1] == ["shifted"] for line in out.splitlines()) == 2
    cell = next(c for c in data["cells"] if (c["kind"], c["gamma"]) == ("shifted", "loo"))
    line = next(line for line in out.splitlines() if line.split()[:3] == ["shifted", "10", "loo"])
    assert line.split()[3:10] == [f"{cell['accuracy'][name]:.3f}" for name in _tasks.SHOWN]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--tasks", "1"], "--tasks must"),
        (["--tasks", "1000"], "--tasks must be at most"),
        (["--n", "9"], "n must be even"),
        (["--n", "2"], "n must be"),
        (["--n", "10", "1000"], "--n must be at most"),
        (["--gamma", "-1"], "gamma must"),
        (["--gamma", "x"], "--gamma"),
        (["--splits", "0"], "splits must"),
        (["--workers", "0"], "workers must"),
        (["--kind", "other"], "--kind"),
        (["--half", "both"], "--half"),
        (["--out", "a.png"], "--out must end in .csv"),
    ],
)
def test_bad_input_of_benchmark_tasks_is_exit_2(run, options, word):
    status, out, err = run(*BENCHMARK, *options)
    assert (status, out) == (2, "")
    assert word in err
    assert "Traceback" not in err


GRID = """
trials = 8
seed = 3
method = "dense"

[grid]
beta = [0.2, 0.8]
n = [10, 20]
p = [15, 30]
gamma = 0.1
n_source = 40
gamma_source = {start = 0.1, stop = 10, num = 3, spacing = "log"}
alpha = [0.5, "optimal"]
together = [["n", "p"]]
"""


@pytest.fixture
def sweep_file(tmp_path):
    (tmp_path / "sweep.toml").write_text(GRID, encoding="utf-8")
    return tmp_path / "sweep.toml"


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_sweep_writes_trials_and_table(run, tmp_path, sweep_file):
    status, out, err = run("sweep", sweep_file, "--out", "results.sqlite")
    assert (status, err) == (0, "")
    assert "12 points at 2 values of α, 8 trials" in out
    assert "results.sqlite" in out
    rows = read_csv(tmp_path / "results.csv")
    assert len(rows) == 24
    setting = {"n": 20, "p": 30, "gamma": 0.1, "n_source": 40, "gamma_source": 1.0}
    row = next(r for r in rows if (r["beta"], r["n"], r["gamma_source"], r["alpha"]) == ("0.8", "20", "1.0", "0.5"))
    sim = ra.simulate([0.2, 0.8], **setting, trials=8, seed=np.random.SeedSequence(3, spawn_key=(4,)), method="dense")
    assert float(row["accuracy"]) == ra.accuracy(0.5, 0.8, **setting)
    assert float(row["simulated_accuracy"]) == pytest.approx(sim[1].accuracy(0.5).value, rel=1e-14)
    largest = max(abs(float(r["z"])) for r in rows)
    assert f"{largest:.2f}" in out

    status, out, _ = run("sweep", sweep_file, "--out", "more.sqlite", "--csv", "table.csv", "--workers", 2, "--json")
    data = strict_json(out)
    assert status == 0
    assert data["largest_z"] == largest
    assert (data["points"], data["rows"], data["trials"], data["seed"]) == (12, 24, 8, 3)
    assert (data["axes"], data["out"], data["csv"]) == (
        ["beta", "n_p", "gamma_source", "alpha"],
        "more.sqlite",
        "table.csv",
    )
    assert (tmp_path / "table.csv").read_bytes() == (tmp_path / "results.csv").read_bytes()
    assert not (tmp_path / "more.csv").exists()


def test_sweep_takes_trials_and_seed_from_the_command_line_first(run, tmp_path, sweep_file):
    assert run("sweep", sweep_file, "--out", "a.sqlite", "--trials", 2, "--seed", 9)[0] == 0
    sim = ra.simulate(0.5, 10, 20, 0.1, trials=2, seed=np.random.SeedSequence(0, spawn_key=(0,)))
    assert {row["trials"] for row in read_csv(tmp_path / "a.csv")} == {"2"}
    (tmp_path / "least.toml").write_text("[grid]\nbeta = 0.5\nn = 10\np = 20\ngamma = 0.1\n", encoding="utf-8")
    assert run("sweep", "least.toml", "--out", "b.sqlite", "--trials", 2)[0] == 0  # seed 0, as everywhere
    assert [row["alpha"] for row in read_csv(tmp_path / "b.csv")] == ["0", "1", "optimal"]
    assert float(read_csv(tmp_path / "b.csv")[1]["simulated_accuracy"]) == sim.accuracy(1.0).value
    assert json.loads(run("sweep", "least.toml", "--out", "c.sqlite", "--json")[1])["trials"] == 100


def test_sweep_of_theory_alone_keeps_no_trials(run, tmp_path, sweep_file):
    status, out, _ = run("sweep", sweep_file, "--out", "a.sqlite", "--trials", 0)
    assert status == 0
    assert "no trials" in out
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", "sweep.toml"]
    assert "simulated_accuracy" not in read_csv(tmp_path / "a.csv")[0]
    sweep_file.write_text(GRID.replace("seed = 3", "order = 2"), encoding="utf-8")
    assert run("sweep", sweep_file, "--out", "b.sqlite", "--trials", 0)[0] == 0
    row = read_csv(tmp_path / "b.csv")[0]
    setting = {name: float(row[name]) for name in ("beta", "n", "p", "gamma", "n_source", "gamma_source")}
    assert float(row["accuracy"]) == ra.accuracy(float(row["alpha_value"]), **setting, order=2)


def test_sweep_ranges(run, tmp_path):
    text = """
    [grid]
    beta = {start = -0.5, stop = 0.5, num = 3}
    n = {start = 10, stop = 1000, num = 4, spacing = "log"}
    p = 50
    gamma = {start = 1e-2, stop = 1e2, num = 3, spacing = "log"}
    alpha = {start = 0, stop = 1, num = 2}
    """
    (tmp_path / "ranges.toml").write_text(text, encoding="utf-8")
    assert run("sweep", "ranges.toml", "--out", "a.sqlite", "--trials", 0)[0] == 0
    rows = read_csv(tmp_path / "a.csv")
    assert len(rows) == 3 * 4 * 3 * 2
    assert {row["beta"] for row in rows} == {"-0.5", "0.0", "0.5"}
    assert {row["n"] for row in rows} == {"10", "46", "215", "1000"}  # counts are rounded
    assert sorted(float(row["gamma"]) for row in rows)[::24] == pytest.approx([0.01, 1.0, 100.0])
    assert {row["alpha"] for row in rows} == {"0.0", "1.0"}


def test_the_sweep_that_help_shows_runs(run, tmp_path):
    text = run("sweep", "--help")[1].split("with sweep.toml such as")[1]
    assert tomllib.loads(text) == tomllib.loads(cli.SWEEP)
    (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
    example = run("sweep", "--help")[1].split("example: rmt-alpha ")[1].splitlines()[0].split()
    status, out, err = run(*example, "--trials", 3)
    assert status == 0, err
    assert "12 points" in out


def test_sweep_continues_only_what_it_is_told_to(run, tmp_path, sweep_file):
    command = ["sweep", sweep_file, "--out", "a.sqlite"]
    assert run(*command, "--resume", "--trials", 3)[0] == 0  # nothing there yet: a start
    kept, table = (tmp_path / "a.sqlite").read_bytes(), (tmp_path / "a.csv").read_bytes()
    status, out, err = run(*command)
    assert (status, out) == (2, "")
    assert "--out a.sqlite is there already" in err
    assert "--resume" in err

    other = tmp_path / "other.toml"
    for old, new, what in (("0.8", "0.7", "problem"), ("seed = 3", "seed = 4", "seed"), ("n = [10", "n = [11", "n is")):
        other.write_text(GRID.replace(old, new), encoding="utf-8")
        status, out, err = run("sweep", other, "--out", "a.sqlite", "--resume")
        assert (status, out) == (2, "")
        assert "a.sqlite belongs to another" in err
        assert what in err
        assert (tmp_path / "a.sqlite").read_bytes() == kept
        assert (tmp_path / "a.csv").read_bytes() == table

    assert run(*command, "--resume")[0] == 0
    assert run("sweep", sweep_file, "--out", "b.sqlite")[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


def test_sweep_overwrites_nothing_that_was_not_named(run, tmp_path, sweep_file):
    (tmp_path / "a.csv").write_text("precious", encoding="utf-8")
    status, _, err = run("sweep", sweep_file, "--out", "a.sqlite")
    assert status == 2
    assert "a.csv" in err
    assert "--csv" in err
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == "precious"
    assert not (tmp_path / "a.sqlite").exists()
    assert run("sweep", sweep_file, "--out", "a.sqlite", "--csv", "a.csv", "--trials", 2)[0] == 0  # named


@pytest.mark.parametrize("content", [b"", b"not a database at all", b"SQLite format 3\0" + bytes(500)])
def test_sweep_leaves_foreign_files_as_they_are(run, tmp_path, sweep_file, content):
    (tmp_path / "a.sqlite").write_bytes(content)
    status, out, err = run("sweep", sweep_file, "--out", "a.sqlite", "--resume")
    assert (status, out) == (2, "")
    assert "a.sqlite" in err
    assert "Traceback" not in err
    assert (tmp_path / "a.sqlite").read_bytes() == content


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seed = 3", "seed = ", ["not a TOML file"]),
        ("seed = 3", "seed = \udcff", ["not a TOML file"]),
        ("[grid]", "[grd]", ["[grid]"]),
        ("[grid]", "grid = 3\n[other]", ["[grid]"]),
        ("seed = 3", "sed = 3", ["sed is unknown", "seed"]),
        ("beta = ", "bta = ", ["grid.bta is unknown", "beta"]),
        ("gamma = 0.1\n", "", ["grid.gamma is missing"]),
        ("seed = 3", "seed = 3.0", ["seed must be of type int", "3.0"]),
        ("seed = 3", "seed = true", ["seed must"]),
        ("seed = 3", "seed = -3", ["seed must"]),
        ("trials = 8", "trials = 'many'", ["trials must", "'many'"]),
        ("trials = 8", "trials = -1", ["trials must"]),
        ('"dense"', '"guess"', ["method must", "guess"]),
        ('"dense"', "1", ["method must", "str"]),
        ("seed = 3", 'noise = "pink"', ["noise must", "pink"]),
        ("seed = 3", 'noise = "student"', ["dof is required"]),
        ("seed = 3", 'noise = "student"\ndof = "5"', ["dof must"]),
        ("seed = 3", "test_size = 5", ["test_size"]),
        ("[0.2, 0.8]", "[0.2, 1.8]", ["beta must", "1.8"]),
        ("[0.2, 0.8]", "[0.2, true]", ["grid.beta must", "True"]),
        ("[0.2, 0.8]", "[0.2, [0.8]]", ["grid.beta must"]),
        ("[0.2, 0.8]", '"0.2"', ["beta must", "0.2"]),
        ("[0.2, 0.8]", "1979-05-27", ["grid.beta must"]),
        ("[0.2, 0.8]", "nan", ["beta must"]),
        ("[0.2, 0.8]", "[]", ["beta must"]),
        ("n = [10, 20]", "n = [10, 20.5]", ["n must be an integer", "20.5"]),
        ("n = [10, 20]", "n = [10, 20, 30]", ["together", "n has 3", "p has 2"]),
        ("n = [10, 20]", "n = 10", ["together", "n is a single value"]),
        ("gamma = 0.1", "gamma = -0.1", ["gamma must"]),
        ("n_source = 40\n", "", ["gamma_source needs n_source"]),
        ('[["n", "p"]]', '[["n", "q"]]', ["together", "'q'"]),
        ('[["n", "p"]]', '["n", "p"]', ["together"]),
        ('"optimal"', '"best"', ["alpha must", "best"]),
        ("start = 0.1, ", "", ["grid.gamma_source must have start"]),
        ("num = 3", "num = 3, step = 1", ["grid.gamma_source", "step"]),
        ("num = 3", "num = 0", ["grid.gamma_source.num must"]),
        ("num = 3", "num = 2.5", ["grid.gamma_source.num must"]),
        ("num = 3", "num = 1000000000000", ["grid.gamma_source.num"]),
        ("start = 0.1", "start = 0", ["grid.gamma_source.start must"]),
        ("start = 0.1", "start = 'a'", ["grid.gamma_source.start must"]),
        ("stop = 10", "stop = inf", ["grid.gamma_source.stop must"]),
        ('"log"', '"cubic"', ["grid.gamma_source.spacing must", "cubic"]),
    ],
)
def test_a_bad_sweep_file_is_exit_2_and_names_file_and_key(run, tmp_path, old, new, words):
    assert old in GRID
    (tmp_path / "bad.toml").write_bytes(GRID.replace(old, new, 1).encode("utf-8", "surrogateescape"))
    status, out, err = run("sweep", "bad.toml", "--out", "a.sqlite")
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    for word in ("bad.toml", *words):
        assert word in err
    assert [file.name for file in tmp_path.iterdir()] == ["bad.toml"]


@pytest.mark.parametrize(
    ("argv", "word"),
    [
        (["sweep.toml"], "--out"),
        (["no.toml", "--out", "a.sqlite"], "no.toml"),
        ([".", "--out", "a.sqlite"], "."),
        (["sweep.toml", "--out", "."], "--out"),
        (["sweep.toml", "--out", "no/such/a.sqlite"], "--out"),
        (["sweep.toml", "--out", "a.csv"], "different"),
        (["sweep.toml", "--out", "a.sqlite", "--csv", "sweep.toml"], "different"),
        (["sweep.toml", "--out", "a.sqlite", "--csv", "no/such/a.csv"], "--csv"),
        (["sweep.toml", "--out", "a.sqlite", "--workers", "0"], "--workers"),
        (["sweep.toml", "--out", "a.sqlite", "--trials", "-1"], "--trials"),
        (["sweep.toml", "--out", "a.sqlite", "--seed", "-1"], "--seed"),
    ],
)
@pytest.mark.usefixtures("sweep_file")
def test_bad_input_of_sweep_is_exit_2(run, tmp_path, argv, word):
    status, out, err = run("sweep", *argv)
    assert (status, out) == (2, "")
    assert word in err
    assert "Traceback" not in err
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.toml"]


LONG = """
trials = 256
seed = 5
method = "dense"

[grid]
beta = 0.5
n = {start = 20, stop = 59, num = 40}
p = 30
gamma = [0.1, 1.0]
"""
MAIN = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); from rmt_alpha.cli import main; "


def start_sweep(folder, *options):
    """Start `rmt-alpha sweep` in a process of its own."""
    (folder / "long.toml").write_text(LONG, encoding="utf-8")
    command = [sys.executable, "-c", MAIN + "sys.exit(main())", "sweep", "long.toml", "--out", "long.sqlite", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for_progress(process, path):
    """Wait until the process has saved something."""
    before = None
    while process.poll() is None:
        size = path.stat().st_size if path.exists() else None
        if before is not None and size > before:
            return
        before = size
        time.sleep(0.005)


def saved_chunks(path):
    """Count what a process that is dead has saved."""
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute("SELECT count(*) FROM chunks").fetchone()[0]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_in_a_sweep_leaves_a_file_that_is_continued(tmp_path):
    path = tmp_path / "long.sqlite"
    process = start_sweep(tmp_path, "--workers", "1")
    wait_for_progress(process, path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert err == "long.sqlite keeps what is finished: the same command with --resume continues\ninterrupted\n"
    assert not (tmp_path / "long.csv").exists()
    assert 0 < saved_chunks(path) < 80
    out, err = start_sweep(tmp_path, "--resume").communicate(timeout=120)
    assert "80 points" in out, err
    assert saved_chunks(path) == 80
    assert len(read_csv(tmp_path / "long.csv")) == 240


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_sweep_that_is_killed_ten_times_gives_the_same_table(tmp_path):
    undisturbed, disturbed = tmp_path / "undisturbed", tmp_path / "disturbed"
    undisturbed.mkdir()
    disturbed.mkdir()
    begun = time.monotonic()
    out, err = start_sweep(undisturbed).communicate(timeout=120)
    assert "80 points" in out, err
    duration = time.monotonic() - begun
    rng, path, counts = np.random.default_rng(0), disturbed / "long.sqlite", []
    for kill in range(10):
        process = start_sweep(disturbed, "--resume", "--workers", "1")
        if kill % 2:  # in the middle of the work; the others anywhere, while it starts too
            wait_for_progress(process, path)
        time.sleep(rng.uniform(0.0, 0.05 if kill % 2 else 0.3) * duration)
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL  # it was not finished yet
        counts.append(saved_chunks(path))
        assert not (disturbed / "long.csv").exists()
    assert counts == sorted(counts)  # nothing that was finished was lost
    assert 0 < counts[-1] < 80
    out, err = start_sweep(disturbed, "--resume").communicate(timeout=120)
    assert "80 points" in out, err
    assert (disturbed / "long.csv").read_bytes() == (undisturbed / "long.csv").read_bytes()


def test_the_seed_decides(run):
    texts = [run("compare", *PROBLEM, "--trials", 10, "--seed", seed)[1] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "command",
    ["demo", "optimal", "curve", "compare", "errata", "lora-demo", "transfer", "sweep", "fit", "benchmark-tasks"],
)
def test_every_command_has_help_with_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"example: rmt-alpha {command}" in " ".join(out.split())
    assert "--json" in out
    assert "--seed" in out


@pytest.mark.slow
def test_the_examples_run(run):
    for command in ("optimal", "curve", "compare", "errata", "transfer", "fit"):
        out = run(command, "--help")[1]
        example = out.split(f"example: rmt-alpha {command}")[1].splitlines()[0].split()
        assert run(command, *example)[0] == 0


def test_version(run):
    assert run("--version")[1].strip().endswith(ra.__version__)


@pytest.mark.parametrize(
    ("argv", "name"),
    [
        (["nonsense"], "nonsense"),
        (["optimal"], "--beta"),
        (["optimal", *PROBLEM, "--beta", "1.1"], "beta"),
        (["optimal", *PROBLEM, "--beta", "nan"], "beta"),
        (["optimal", *PROBLEM, "--beta", "x"], "--beta"),
        (["optimal", *PROBLEM, "--n", "0"], "n must"),
        (["optimal", *PROBLEM, "--n", "inf"], "n must"),
        (["optimal", *PROBLEM, "--n", "1e999"], "n must"),
        (["optimal", *PROBLEM, "--gamma", "-1"], "gamma"),
        (["optimal", *PROBLEM, "--label-noise", "0.5"], "label_noise"),
        (["optimal", *PROBLEM, "--mu", "-0.5"], "mu"),
        (["optimal", *PROBLEM, "--trials", "-3"], "trials"),
        (["optimal", *PROBLEM, "--trials", "1", "--n", "10.5"], "n must be an integer"),
        (["optimal", *PROBLEM, "--trials", "1", "--n", "1e16"], "n must be at most 2^53"),
        (["optimal", *PROBLEM, "--seed", "-1", "--trials", "1"], "seed"),
        (["optimal", *PROBLEM, "--seed", "x"], "--seed"),
        (["optimal", *PROBLEM[:-2]], "gamma_source"),
        (["curve", *PROBLEM, "--points", "1"], "--points"),
        (["curve", *PROBLEM, "--points", "1000000000000"], "--points"),
        (["curve", *PROBLEM, "--alpha-min", "3", "--alpha-max", "2"], "--alpha-min"),
        (["curve", *PROBLEM, "--alpha-min", "nan"], "--alpha-min"),
        (["curve", *PROBLEM, "--out", "curve.xyz"], "--out"),
        (["curve", *PROBLEM, "--out", "no/such/folder/curve.csv"], "--out"),
        (["curve", *PROBLEM, "--out", "no/such/folder/curve.png"], "--out"),
        (["curve", *PROBLEM, "--out", "."], "--out"),
        (["compare", *PROBLEM, "--trials", "1"], "trials"),
        (["compare", *PROBLEM, "--trials", "0"], "trials"),
        (["compare", *PROBLEM, "--alpha", "nan"], "alpha"),
        (["compare", *PROBLEM, "--n", "90", "--gamma", "0"], "gamma must be positive"),
        (["compare", *PROBLEM, "--p", "1"], "p must be at least 2"),
        (["compare", *PROBLEM, "--mu", "1e40"], "mu must"),
        (["compare", *PROBLEM, "--p", "100", "--gamma-source", "0"], "gamma_source must be positive"),
        (["curve", *PROBLEM, "--alpha-min", "-1e308", "--alpha-max", "1e308"], "--alpha-min"),
        (["curve", *PROBLEM, "--seed", "-1"], "--seed"),
        (["errata", "--label-noise", "0.1"], "--label-noise"),
        (["errata", "--gamma", "0"], "gamma"),
        (["errata", "--gamma-source", "0"], "--gamma-source"),
        (["compare", *PROBLEM, "--trials", "9"], "trials"),
        (["compare", *PROBLEM, "--label-noise", "0.49"], "label noise"),
        (["compare", *PROBLEM, "--beta", "-inf"], "beta"),
        (["errata", "--trials", "1"], "trials"),
        (["errata", "--alpha", "inf"], "alpha"),
        (["transfer", "digits:6,8"], "target"),
        (["transfer", "digits:6,8", "digits:6,6"], "digits:6,6"),
        (["transfer", "digits:6,8", "no.csv"], "no.csv"),
        ([*TRANSFER, "--n", "4"], "n must"),
        ([*TRANSFER, "--n", "100000"], "n must"),
        ([*TRANSFER, "--n-source", "100000"], "n_source must"),
        ([*TRANSFER, "--gamma", "-1"], "gamma"),
        ([*TRANSFER, "--gamma-source", "nan"], "gamma_source"),
        ([*TRANSFER, "--splits", "1"], "splits"),
        ([*TRANSFER, "--points", "1000000000000"], "--points"),
        ([*TRANSFER, "--alpha-max", "-2"], "--alpha-min"),
        ([*TRANSFER, "--out", "picture.xyz"], "--out"),
        (["demo", "--trials", "1"], "trials"),
        (["lora-demo", "--trials", "4"], "--trials"),
        (["lora-demo", "--out", "demo.csv"], "--out"),
        (["lora-demo", "--seed", "-1"], "seed"),
        (["demo", "--trials", "2", "--out", "demo.csv"], "--out"),
    ],
)
def test_bad_input_is_exit_2_and_names_the_argument(run, argv, name):
    status, out, err = run(*argv)
    assert status == 2
    assert name in err
    assert "Traceback" not in err
    assert out == ""


def test_a_reader_that_stops_is_no_error(tmp_path):
    command = f"{sys.executable} -m rmt_alpha curve {' '.join(PROBLEM)} --points 20000 | head -n 1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("alpha,beta")
    assert done.stderr == ""


def test_a_terminal_without_greek_letters_is_no_error(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    for command in (["optimal", "--help"], ["compare", *PROBLEM, "--trials", "10"]):
        done = subprocess.run(
            [sys.executable, "-m", "rmt_alpha", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == b""


def test_numbers_with_exponents_may_be_negative(run):
    status, out, _ = run("optimal", *PROBLEM[2:], "--beta", "-1e-1", "-.5", "--json")
    assert status == 0
    assert strict_json(out)["beta"] == [-0.1, -0.5]


def test_errata_far_out_is_no_error(run):
    status, out, _ = run("errata", "--trials", 2, "--alpha", "1e200", "--json")
    assert status == 0
    assert strict_json(out)["monte_carlo"]["second_moment"] is None
    assert run("errata", "--trials", 2, "--gamma", "1e58", "--json")[0] == 0


def test_an_unwritable_file_is_refused_before_the_work(run, monkeypatch):
    monkeypatch.setattr(ra, "simulate", None)  # would be called first otherwise
    status, _, err = run("demo", "--out", "no/such/folder/demo.png")
    assert status == 2
    assert "--out" in err


def test_an_interruption_is_status_130(run, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(ra, "simulate", interrupt)
    status, _, err = run("compare", *PROBLEM)
    assert status == 130
    assert "interrupted" in err


def test_tables_line_up():
    lines = _shared.table(["a", "long name"], [(1.0, "x"), (10.25, "yy")], ".2f")
    assert lines == ["    a  long name", " 1.00          x", "10.25         yy"]
    assert len({len(line) for line in lines}) == 1


def test_json_holds_no_numpy():
    data = {"a": np.array([1.0, np.nan]), "b": (np.float64(2.0), np.inf), "c": np.bool_(True)}
    assert _shared.plain(data) == {"a": [1.0, None], "b": [2.0, None], "c": True}


def test_verify_shows_every_proof(capsys, monkeypatch):
    proof, names = symbolic.proofs.rho_and_h, list(symbolic.proofs.PROOFS)
    # all of them prove themselves in theory/test_symbolic.py
    monkeypatch.setattr(symbolic.proofs, "PROOFS", dict.fromkeys(names, proof))
    assert cli.main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all(line.endswith("ok") for line in lines)


def test_verify_reports_a_false_proof(capsys, monkeypatch):
    def false():
        raise symbolic.ProofError("1 is not 2")

    monkeypatch.setattr(symbolic.proofs, "PROOFS", {"rho_and_h": symbolic.proofs.rho_and_h, "false": false})
    assert cli.main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "ok" in out
    assert "1 is not 2" in out
    assert cli.main(["verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["agrees"] is False
