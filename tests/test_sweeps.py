"""Sweeps: the grid and its labels, theory and simulation at every point, the table in every form, every executor."""

import csv
import importlib
import itertools
import math
import pickle
import sys
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha.problem import Isotropic
from rmt_alpha.simulation import runner
from rmt_alpha.sweeps import Sweep, sweep

FIXED = {"p": 30, "mu": 0.9, "mu_perp": 1.1, "n_source": 40, "gamma_source": 0.5, "label_noise": 0.1}
FIXED |= {"label_noise_source": 0.05}
BETA, N, GAMMA = [0.2, 0.8], [10, 20, 50], [0.1, 2.0]
ALPHA = (0.0, "optimal", 2.5, -math.inf)
TRIALS = 6


@pytest.fixture(scope="module")
def grid():
    return sweep(BETA, N, gamma=GAMMA, **FIXED, alpha=ALPHA, trials=TRIALS, seed=5)


def single(beta, n, gamma):
    return {"beta": beta, "n": n, "gamma": gamma, **FIXED}


def at(alpha, problem):
    return ra.optimal_alpha(**problem) if alpha == "optimal" else alpha


def same(left, right):
    """Equality of tables to the last bit, where nan equals nan."""
    left, right = left.columns(), right.columns()
    assert list(left) == list(right)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name, strict=True)


# The grid.


def test_axes_are_in_the_order_of_the_arguments(grid):
    assert grid.dims == ("beta", "n", "gamma", "alpha")
    assert grid.shape == (2, 3, 2, 4)
    names = [*(name for name in Isotropic(0.5, 1, 1, 1).__dataclass_fields__ if not name.startswith("shape"))]
    assert list(grid.columns())[:11] == [*names, "alpha"]
    later = sweep(0.5, 10, 20, 0.1, mu=[1, 2], label_noise=[0.0, 0.1, 0.2], alpha=0.0, trials=0)
    assert later.dims == ("mu", "label_noise", "alpha")
    assert later.shape == (2, 3, 1)


def test_rows_run_through_the_grid_with_their_labels(grid):
    expected = [(*point, alpha) for *point, alpha in itertools.product(BETA, N, GAMMA, ["0", "optimal", "2.5", "-inf"])]
    rows = list(grid.rows())
    assert [(row["beta"], row["n"], row["gamma"], row["alpha"]) for row in rows] == expected
    assert {(row["p"], row["mu"], row["n_source"], row["trials"]) for row in rows} == {(30, 0.9, 40, TRIALS)}
    assert all(type(row["n"]) is int and type(row["gamma"]) is float for row in rows)


def test_theory_is_what_single_calls_say(grid):
    for row in grid.rows():
        problem = single(row["beta"], row["n"], row["gamma"])
        alpha = at(row["alpha"] if row["alpha"] == "optimal" else float(row["alpha"]), problem)
        assert row["alpha_value"] == alpha
        assert row["optimal_alpha"] == ra.optimal_alpha(**problem)
        assert row["worst_alpha"] == ra.worst_alpha(**problem)
        assert row["accuracy"] == ra.accuracy(alpha, **problem)
        assert row["risk"] == ra.risk(alpha, **problem)


def test_second_order_is_what_single_calls_say(grid):
    pytest.importorskip("xarray")
    second = sweep(BETA, N, gamma=GAMMA, **FIXED, alpha=ALPHA, trials=TRIALS, seed=5, order=2)
    assert list(second.columns()) == [
        *list(grid.columns())[: list(grid.columns()).index("risk") + 1],
        "mean_accuracy",
        "mean_risk",
        *list(grid.columns())[list(grid.columns()).index("risk") + 1 :],
    ]
    for row, first in zip(second.rows(), grid.rows(), strict=True):
        problem = single(row["beta"], row["n"], row["gamma"])
        optimal = row["alpha"] == "optimal"
        alpha = ra.optimal_alpha(**problem, order=2) if optimal else float(row["alpha"])
        assert row["alpha_value"] == alpha
        assert row["optimal_alpha"] == ra.optimal_alpha(**problem, order=2)
        assert row["worst_alpha"] == ra.worst_alpha(**problem, order=2)
        assert row["accuracy"] == ra.accuracy(alpha, **problem, order=2)
        assert row["risk"] == ra.risk(alpha, **problem, order=2)
        assert row["mean_accuracy"] == pytest.approx(ra.fluctuations(**problem).mean_accuracy(alpha), rel=1e-13)
        assert row["mean_risk"] == pytest.approx(ra.fluctuations(**problem).mean_risk(alpha), rel=1e-13)
        difference = row["simulated_accuracy"] - row["mean_accuracy"]
        assert row["z"] == pytest.approx(difference / row["stderr_accuracy"])
        assert optimal or row["simulated_accuracy"] == first["simulated_accuracy"]  # the same draws
    assert (grid.order, second.order, second.to_xarray().attrs["order"]) == (1, 2, 2)
    assert repr(second).endswith("order=2)")
    assert "order" not in repr(grid)
    theory = sweep(0.5, [10, 20], 15, 0.1, trials=0, order=2)
    assert theory.order == 2
    assert theory["accuracy"][1, 1] == ra.accuracy(1.0, 0.5, 20, 15, 0.1, order=2)


@pytest.mark.slow
def test_second_order_removes_the_bias_of_z():
    setting = {"beta": 0.6, "n": 60, "p": 40, "gamma": 0.1, "mu": 1.2, "mu_perp": 0.8, "n_source": 75}
    setting |= {"gamma_source": 0.1, "alpha": [0.0, 1.0, 3.0], "trials": 20_000, "seed": 0}
    first, second = (sweep(**setting, order=order)["z"] for order in (1, 2))
    assert np.abs(first).min() > 6.0
    assert np.abs(second).max() < 4.0


def test_every_point_can_be_repeated_alone(grid):
    """Problem i, counted without β, draws from the child (i,) of the sweep's seed."""
    for i, (n, gamma) in enumerate(itertools.product(N, GAMMA)):
        seed = np.random.SeedSequence(5, spawn_key=(i,))
        run = ra.simulate(**single(BETA, n, gamma), trials=TRIALS, seed=seed)
        rows = [row for row in grid.rows() if (row["n"], row["gamma"]) == (n, gamma)]
        for row in rows:
            b = BETA.index(row["beta"])
            accuracy, risk = run[b].accuracy(row["alpha_value"]), run[b].risk(row["alpha_value"])
            assert row["simulated_accuracy"] == pytest.approx(accuracy.value, rel=1e-14)
            assert row["stderr_accuracy"] == pytest.approx(accuracy.stderr, rel=1e-12)
            assert row["simulated_risk"] == pytest.approx(risk.value, rel=1e-14)
            assert row["stderr_risk"] == pytest.approx(risk.stderr, rel=1e-12, nan_ok=True)
            z = (row["simulated_accuracy"] - row["accuracy"]) / row["stderr_accuracy"]
            assert row["z"] == pytest.approx(z, rel=1e-12)


def test_the_simulation_of_a_point(grid):
    for b, i, j in np.ndindex(2, 3, 2):
        run = grid.simulation(b, i, j)
        alone = ra.simulate(**single(BETA[b], N[i], GAMMA[j]), trials=TRIALS, seed=run.seed)
        np.testing.assert_array_equal(run.law.mean, alone.law.mean)
        assert (run.experiment.n, run.experiment.gamma, float(run.experiment.beta)) == (N[i], GAMMA[j], BETA[b])
    assert grid.simulation(-1, -1, -1).experiment.n == N[-1]
    for wrong in ((0,), (0, 0, 0, 0), (0, 3, 0), (0, 0.5, 0), (0, slice(2), 0)):
        with pytest.raises(IndexError, match="beta, n, gamma"):
            grid.simulation(*wrong)


def test_a_seed_sequence_keeps_its_key_and_its_state():
    seed = np.random.SeedSequence(3, spawn_key=(7,))
    table = sweep(0.5, [10, 12], 20, 0.1, trials=2, seed=seed)
    assert table.simulation(1).seed.spawn_key == (7, 1)
    assert seed.n_children_spawned == 0
    same(table, sweep(0.5, [10, 12], 20, 0.1, trials=2, seed=table.seed))
    fresh = sweep(0.5, [10, 12], 20, 0.1, trials=2)
    same(fresh, sweep(0.5, [10, 12], 20, 0.1, trials=2, seed=fresh.seed.entropy))


def test_a_longer_sweep_begins_with_the_shorter_one():
    short, long = (sweep([0.3, 0.7], [10, 12], 20, 0.1, trials=trials, seed=0) for trials in (3, 9))
    np.testing.assert_array_equal(short.simulation(1, 1).law.mean, long.simulation(1, 1).law.mean[:3])


def test_all_beta_share_their_draws_unless_they_vary_in_step():
    shared = sweep([0.5, 0.5], 10, 20, 0.1, trials=3, seed=0)
    np.testing.assert_array_equal(shared.simulation(0).law.mean, shared.simulation(1).law.mean)
    apart = sweep([0.5, 0.5], [10, 10], 20, 0.1, trials=3, seed=0, together=[("beta", "n")])
    assert (apart.simulation(0).law.mean != apart.simulation(1).law.mean).all()


def test_arguments_that_vary_in_step_share_an_axis():
    table = sweep(0.5, [10, 20, 40], [15, 30, 60], [0.1, 0.2], trials=4, seed=0, together=[("p", "n")], alpha=1.0)
    assert table.dims == ("n_p", "gamma", "alpha")
    assert [(row["n"], row["p"], row["gamma"]) for row in table.rows()] == [
        (n, p, gamma) for n, p in ((10, 15), (20, 30), (40, 60)) for gamma in (0.1, 0.2)
    ]
    for k, row in enumerate(table.rows()):
        run = ra.simulate(
            0.5, row["n"], row["p"], row["gamma"], trials=4, seed=np.random.SeedSequence(0, spawn_key=(k,))
        )
        assert row["simulated_accuracy"] == run.accuracy(1.0).value
        assert row["accuracy"] == ra.accuracy(1.0, 0.5, row["n"], row["p"], row["gamma"])

    table = sweep(
        [0.1, 0.5], [10, 20], [15, 30, 60], 0.1, mu=[1, 2, 3], trials=0, together=[["beta", "n"], ["mu", "p"]]
    )
    assert table.dims == ("beta_n", "p_mu", "alpha")
    assert table.shape == (2, 3, 3)
    assert [(row["beta"], row["p"]) for row in table.rows()][::3] == list(itertools.product((0.1, 0.5), (15, 30, 60)))


def test_no_axis_but_alpha():
    table = sweep(0.5, 10, 20, 0.1, trials=5, seed=1)
    assert table.dims == ("alpha",)
    run = ra.simulate(0.5, 10, 20, 0.1, trials=5, seed=np.random.SeedSequence(1, spawn_key=(0,)))
    np.testing.assert_array_equal(table.simulation().law.mean, run.law.mean)
    assert table["accuracy"].tolist() == ra.accuracy(table["alpha_value"], 0.5, 10, 20, 0.1).tolist()
    assert table["alpha"].tolist() == ["0", "1", "optimal"]
    assert math.isnan(table["n_source"][0])


def test_alpha_is_a_column_of_numbers_where_no_word_is_among_it():
    table = sweep(0.5, 10, 20, 0.1, alpha=np.linspace(0, 1, 3), trials=0)
    assert table["alpha"].tolist() == [0.0, 0.5, 1.0]
    assert sweep(0.5, 10, 20, 0.1, alpha="optimal", trials=0)["alpha"].tolist() == ["optimal"]


def test_theory_alone_has_no_simulated_columns_and_takes_any_n():
    table = sweep(0.5, [10.5, 20], 30.5, 0.1, trials=0)
    assert list(table.columns())[11:] == ["alpha_value", "optimal_alpha", "worst_alpha", "accuracy", "risk"]
    assert table["n"][:, 0].tolist() == [10.5, 20.0]
    assert table["accuracy"][0, 1] == ra.accuracy(1.0, 0.5, 10.5, 30.5, 0.1)
    with pytest.raises(ValueError, match="trials=0"):
        table.simulation(0)


def test_what_is_undefined_is_nan_and_the_rest_is_not():
    """γ = 0 with more samples than dimensions forgets the source: there is no α*."""
    table = sweep(0.5, 40, 20, [0.0, 0.1], trials=4, seed=0)
    for name in ("alpha_value", "accuracy", "risk", "simulated_accuracy", "stderr_accuracy", "simulated_risk", "z"):
        assert np.isnan(table[name]).tolist() == [[False, False, True], [False, False, False]], name
    one = sweep(0.5, 10, 20, 0.1, trials=1, seed=0)
    assert np.isnan(one["z"]).all()
    assert np.isfinite(one["simulated_accuracy"]).all()


def test_a_difference_within_rounding_has_z_0():
    """Without a target mean, accuracy is ½ for sure."""
    table = sweep(0.5, 10, 20, 0.1, mu=0.0, mu_perp=0.0, alpha=[0.0], trials=4, seed=0)
    assert (table["simulated_accuracy"], table["stderr_accuracy"], table["z"]) == (0.5, 0.0, 0.0)


def test_other_noise_goes_to_the_simulator():
    common = {"trials": 3, "noise": "student", "dof": 7, "test_size": 50}
    table = sweep([0.2, 0.9], [10, 15], 20, 0.1, alpha=[1.0], seed=2, **common)
    run = ra.simulate([0.2, 0.9], 15, 20, 0.1, seed=np.random.SeedSequence(2, spawn_key=(1,)), **common)
    assert table["simulated_accuracy"][:, 1, 0].tolist() == run.accuracy(1.0).value.tolist()
    assert table.simulation(0, 1).margins.shape == (3, 50, 2)
    assert not table.simulations[0].margins.flags.writeable
    assert set(table.columns()["method"]) == {"dense"}
    assert table.noise.dof == 7


def test_theory_and_simulation_agree_and_a_wrong_theory_does_not():
    table = sweep([0.3, 0.8], [100, 200], 150, [0.2, 1.0], trials=60, seed=0)
    assert np.abs(table["z"]).max() < 5.5  # 24 scores, with an allowance for the bias
    wrong = ra.accuracy(table["alpha_value"], 0.1, 100, 150, 1.0)
    assert np.abs((table["simulated_accuracy"] - wrong) / table["stderr_accuracy"]).max() > 20


# The table in its forms.


def test_columns_are_read_only_and_shaped_like_the_grid(grid):
    assert grid["accuracy"].shape == grid["n"].shape == grid["method"].shape == grid.shape
    for name in grid.columns():
        with pytest.raises(ValueError, match="read-only"):
            grid[name][...] = grid[name]
        np.testing.assert_array_equal(grid[name].ravel(), grid.columns()[name])
    with pytest.raises(KeyError):
        grid["nonsense"]


def test_csv_holds_every_bit(grid, tmp_path):
    path = tmp_path / "table.csv"
    grid.to_csv(path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    columns = grid.columns()
    assert list(rows[0]) == list(columns)
    for name, column in columns.items():
        read = np.array([row[name] for row in rows])
        np.testing.assert_array_equal(read.astype(column.dtype), column, err_msg=name, strict=True)
    assert rows[3]["stderr_risk"] == "nan"  # at α = −∞
    with pytest.raises(OSError, match="no"):
        grid.to_csv(tmp_path / "no" / "folder.csv")


def test_pandas_agrees_with_the_rows(grid, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = grid.to_pandas()
    for left, right in zip(frame.to_dict("records"), grid.rows(), strict=True):
        assert list(left) == list(right)
        assert all(left[k] == right[k] or (left[k] != left[k] and right[k] != right[k]) for k in left)
    grid.to_csv(tmp_path / "table.csv")
    read = pandas.read_csv(tmp_path / "table.csv")  # whose fast parser may miss the last bit
    pandas.testing.assert_frame_equal(read, frame, rtol=1e-14)
    assert "<table" in grid._repr_html_()


def test_xarray_agrees_with_the_rows(grid):
    pytest.importorskip("xarray")
    data = grid.to_xarray()
    assert dict(data.sizes) == dict(zip(grid.dims, grid.shape, strict=True))
    for row in grid.rows():
        point = data.sel(beta=row["beta"], n=row["n"], gamma=row["gamma"], alpha=row["alpha"])
        for name in ("alpha_value", "optimal_alpha", "accuracy", "simulated_risk", "z", "method", "mu", "n_source"):
            value = point[name].item()
            assert value == row[name] or (math.isnan(value) and math.isnan(row[name]))
    assert data["optimal_alpha"].dims == ("beta", "n", "gamma")
    assert data.attrs["entropy"] == "5"
    assert (data.attrs["trials"], data.attrs["noise"], data.attrs["order"]) == (TRIALS, "gaussian", 1)

    data = sweep(0.5, [10, 20], [15, 30], 0.1, trials=0, together=[("n", "p")]).to_xarray()
    assert data["n"].dims == data["p"].dims == ("n_p",)
    assert data["accuracy"].dims == ("n_p", "alpha")
    assert "entropy" not in data.attrs


@pytest.mark.parametrize(("method", "package"), [("to_pandas", "pandas"), ("to_xarray", "xarray")])
def test_a_missing_package_is_named_with_the_extra_that_has_it(grid, monkeypatch, method, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"{package}.*pip install 'rmt_alpha\[table\]'"):
        getattr(grid, method)()


def test_nothing_optional_is_loaded_before_it_is_used():
    assert not {"pandas", "xarray"} & set(vars(importlib.import_module("rmt_alpha.sweeps")))


def test_repr_says_what_was_swept(grid):
    assert repr(grid) == "Sweep(beta: 2, n: 3, gamma: 2, alpha: 4; trials=6, entropy=5)"
    assert repr(sweep(0.5, 10, 20, 0.1, trials=0)) == "Sweep(alpha: 3; theory alone)"


def test_a_sweep_can_be_pickled(grid):
    copy = pickle.loads(pickle.dumps(grid))
    assert isinstance(copy, Sweep)
    same(copy, grid)


# Where and how it is computed.

WORK = {"beta": [0.2, 0.8], "n": [10, 20, 40], "p": 30, "gamma": [0.1, 1.0], "n_source": 50, "gamma_source": 1.0}
WORK |= {"trials": 300, "seed": 11}


@pytest.fixture(scope="module", params=["dense", "streaming"])
def work(request):
    return WORK | {"method": request.param}


@pytest.fixture(scope="module")
def undisturbed(work):
    return sweep(**work, workers=1)


@pytest.mark.slow
def test_the_number_of_threads_makes_no_difference(work, undisturbed):
    assert set(undisturbed.columns()["method"]) == {work["method"]}
    same(sweep(**work, workers=3), undisturbed)


@pytest.mark.slow
def test_processes_make_no_difference(work, undisturbed):
    with ProcessPoolExecutor(2) as executor:
        same(sweep(**work, executor=executor), undisturbed)


@pytest.mark.slow
def test_a_dask_cluster_makes_no_difference(work, undisturbed):
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0") as cluster,
        distributed.Client(cluster) as client,
        client.get_executor(pure=False) as executor,
    ):
        same(sweep(**work, executor=executor), undisturbed)


def test_progress_is_on_standard_error(capsys):
    sweep(0.5, [10, 20], 20, 0.1, trials=3, seed=0, progress=True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "6/6" in err


class Interrupt(ProcessPoolExecutor):
    """Stops the run after a few chunks, as Ctrl-C would."""

    def __init__(self):
        super().__init__(1)
        self.left = 3

    def submit(self, *args, **kwargs):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        return super().submit(*args, **kwargs)


def test_an_interrupted_sweep_is_continued(work, undisturbed, tmp_path, monkeypatch):
    path = tmp_path / "sweep.sqlite"
    with Interrupt() as executor, pytest.raises(KeyboardInterrupt):
        sweep(**work, executor=executor, checkpoint=path)
    assert path.exists()
    same(sweep(**work, checkpoint=path), undisturbed)
    monkeypatch.setattr(runner, "_work", None)  # everything is in the file now
    same(sweep(**work, checkpoint=path), undisturbed)
    same(sweep(**work | {"seed": None}, checkpoint=path), undisturbed)
    other = sweep(**work, checkpoint=path, alpha=[0.5])  # every α is in the same draws
    assert other["simulated_accuracy"].shape == (2, 3, 2, 1)


@pytest.mark.parametrize(
    ("change", "what"),
    [({"seed": 12}, "seed"), ({"n": [10, 20, 41]}, "problem"), ({"n": [10, 20]}, "number of jobs")],
)
def test_a_checkpoint_of_another_sweep_is_refused(tmp_path, change, what):
    path = tmp_path / "sweep.sqlite"
    work = WORK | {"trials": 2}
    sweep(**work, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=rf"sweep\.sqlite belongs to another.*{what}|{what}.*there"):
        sweep(**work | change, checkpoint=path)
    assert path.read_bytes() == before


# Bad input.

LEGAL = {"beta": 0.5, "n": 10, "p": 20, "gamma": 0.1, "trials": 2, "seed": 0}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"beta": [0.1, 1.5]}, r"beta must be in \[-1, 1\], got 1.5 at index \(1,\)"),
        ({"beta": []}, "beta must"),
        ({"beta": [[0.1]]}, r"beta must be a number or a one-dimensional .*\(1, 1\)"),
        ({"beta": None}, "beta must"),
        ({"beta": "0.5"}, "beta must"),
        ({"beta": np.ma.array([0.5])}, "beta must not"),
        ({"n": [10, 0]}, r"n must be in \(0"),
        ({"n": [10, 10.5]}, "n must be an integer, got 10.5"),
        ({"n": math.nan}, "n must"),
        ({"p": [1, 2]}, "p must be at least 2"),
        ({"p": [20, -1]}, "p must"),
        ({"gamma": [0.1, -0.1]}, r"gamma must be in \[0"),
        ({"mu": [1.0, math.inf]}, "mu must"),
        ({"mu_perp": -1.0}, "mu_perp must"),
        ({"n_source": [10, 20]}, "gamma_source is required"),
        ({"gamma_source": [0.1]}, "gamma_source needs n_source"),
        ({"n_source": [None, 10], "gamma_source": 1.0}, "n_source must"),
        ({"n_source": [10, 10.5], "gamma_source": 1.0}, "n_source must be an integer"),
        ({"label_noise": [0.1, 0.5]}, r"label_noise must be in \[0, 0.5\)"),
        ({"label_noise_source": [0.0, 0.1]}, "label_noise_source needs n_source"),
        ({"alpha": []}, "alpha must"),
        ({"alpha": "best"}, "alpha must .*'best'"),
        ({"alpha": [0.0, "best"]}, "alpha must .*'best'"),
        ({"alpha": [0.0, math.nan]}, "alpha must"),
        ({"alpha": [[0.0]]}, "alpha must"),
        ({"alpha": None}, "alpha must"),
        ({"alpha": [True]}, "alpha must"),
        ({"alpha": [0.0, [1.0]]}, "alpha must"),
        ({"alpha": object()}, "alpha must"),
        ({"order": 3}, "order must be 1 or 2, got 3"),
        ({"order": "2"}, "order must"),
        ({"trials": -1}, "trials must"),
        ({"trials": 2.5}, "trials must"),
        ({"seed": -1}, "seed must"),
        ({"method": "guess"}, "method must"),
        ({"noise": "pink"}, "noise must"),
        ({"dof": 5.0}, "dof needs"),
        ({"noise": "student"}, "dof is required"),
        ({"test_size": 10}, "test_size needs"),
        ({"workers": 0}, "workers must"),
        ({"executor": 3}, "executor must"),
        ({"checkpoint": 3}, "checkpoint must"),
        ({"trials": 0, "checkpoint": "sweep.sqlite"}, "checkpoint .*trials"),
        ({"together": [("beta", "n")]}, "together: beta is a single value"),
        ({"beta": [0.1, 0.2], "n": [1, 2, 3], "together": [("beta", "n")]}, r"together: .*beta.* 2.*n.* 3"),
        ({"beta": [0.1, 0.2], "together": [("beta", "best")]}, "together .*'best'"),
        ({"beta": [0.1, 0.2], "together": [("beta", "alpha")]}, "together .*'alpha'"),
        ({"beta": [0.1, 0.2], "together": [("beta",)]}, "together"),
        ({"beta": [0.1, 0.2], "together": [("beta", "beta")]}, "together .* once, got 'beta'"),
        ({"beta": [0.1, 0.2], "n": [1, 2], "together": ("beta", "n")}, r"together must be .*\[\(\"n\", \"p\"\)\]"),
        ({"together": 3}, "together must"),
        ({"together": [3]}, "together must"),
        ({"n": range(1, 10**6), "p": range(2, 10**6)}, "grid .*memory"),
        ({"trials": 10**12}, "trials=1000000000000"),
    ],
)
def test_bad_input_is_refused_by_name_before_any_work(monkeypatch, change, match):
    monkeypatch.setattr(runner, "_work", None)  # would fail in another way
    with pytest.raises(ValueError, match=match):
        sweep(**LEGAL | change)


def test_one_illegal_point_among_many_stops_the_sweep(tmp_path):
    path = tmp_path / "sweep.sqlite"
    with pytest.raises(ValueError, match="n must be an integer"):
        sweep([0.1, 0.2], np.append(np.arange(10.0, 100.0), 100.5), 20, 0.1, trials=2, checkpoint=path)
    assert not path.exists()
