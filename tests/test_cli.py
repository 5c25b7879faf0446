"""The command line: every command's answers, both ways of saying them, and its refusals."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha import cli

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
    command = [sys.executable, "-m", "rmt_alpha"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
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


def test_compare_disagrees_with_status_1(run, monkeypatch):
    """A theory of another problem, as a broken formula would be."""
    from rmt_alpha import comparison

    monkeypatch.setattr(comparison, "margin_law", lambda *a, **k: ra.margin_law(0.1, *a[1:], **k))
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


TRANSFER = ["transfer", "digits:6,8", "digits:5,9", "--splits", "6", "--points", "9"]


def test_transfer_predicts_measures_and_draws(run, tmp_path):
    status, out, _ = run(*TRANSFER)
    assert status == 0
    assert "best in hindsight" in out
    assert "FAILS" in out or "cannot tell" in out
    assert (tmp_path / "rmt_alpha_transfer.png").read_bytes()[:4] == PNG

    data = strict_json(run(*TRANSFER, "--json")[1])
    assert [entry["at"] for entry in data["accuracies"]] == ["scratch", "fine_tuning", "predicted_alpha", "hindsight"]
    alpha = data["curve"]["alpha"]
    assert (alpha[0], alpha[-1], len(alpha)) == (-1, 3, 9)
    measured = dict(zip(alpha, data["curve"]["measured"], strict=True))
    assert data["accuracies"][0]["measured"] == pytest.approx(measured[0.0])
    assert data["accuracies"][1]["measured"] == pytest.approx(measured[1.0])
    assert data["accuracies"][3]["measured"] == pytest.approx(max(measured.values()))
    assert data["prediction_holds"] is (False if data["prediction_fails"] else None)  # too few splits to hold

    more = strict_json(run(*TRANSFER, "--splits", "12", "--json")[1])
    assert more["prediction_holds"] is (not more["prediction_fails"])


def test_transfer_says_so_where_the_theory_is_undefined(run):
    status, out, _ = run(*TRANSFER, "--gamma", "1e90")
    assert status == 0
    assert "undefined here" in out
    data = strict_json(run(*TRANSFER, "--gamma", "1e90", "--json")[1])
    assert data["prediction_undefined"]
    assert data["prediction_holds"] is None
    assert data["largest_difference"] is None


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
    assert "p = 4 features" in out


def test_the_seed_decides(run):
    texts = [run("compare", *PROBLEM, "--trials", 10, "--seed", seed)[1] for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize("command", ["demo", "optimal", "curve", "compare", "errata", "transfer"])
def test_every_command_has_help_with_an_example(run, command):
    status, out, _ = run(command, "--help")
    assert status == 0
    assert f"example: rmt-alpha {command}" in " ".join(out.split())
    assert "--json" in out
    assert "--seed" in out


def test_the_examples_run(run):
    for command in ("optimal", "curve", "compare", "errata", "transfer"):
        out = " ".join(run(command, "--help")[1].split())
        example = out.split(f"example: rmt-alpha {command}")[1].split()
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
        (["optimal", *PROBLEM, "--trials", "1", "--n", "1e12"], "n=1000000000000"),
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
    lines = cli._table(["a", "long name"], [(1.0, "x"), (10.25, "yy")], ".2f")
    assert lines == ["    a  long name", " 1.00          x", "10.25         yy"]
    assert len({len(line) for line in lines}) == 1


def test_json_holds_no_numpy():
    data = {"a": np.array([1.0, np.nan]), "b": (np.float64(2.0), np.inf), "c": np.bool_(True)}
    assert cli._plain(data) == {"a": [1.0, None], "b": [2.0, None], "c": True}
