"""The suite and the scripts of `benchmarks` run, and what they time is the same on both sides."""

import contextlib
import importlib
import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import __main__ as suite_command
from benchmarks import suite, timing
from benchmarks.simulators import against_draws

ROOT = pathlib.Path(__file__).parents[1]

GROUPS = {
    "timing": [
        ("closed_form", "--points 1000 --quad-points 3 --repeats 1", "against quad"),
        ("import_time", "--repeats 1", "import rmt_alpha / import numpy"),
        (
            "simulators",
            "--size 1000 --largest 2000 --largest-dense 120 --repeats 1 --out a.png",
            "plain / streaming",
        ),
        ("path", "--p 60 --repeats 1", "path / eigendecomposition"),
        ("leave_one_out", "--shapes 20x30 30x20 --repeats 1", "path / SVD"),
        ("lora_layer", "--sizes 20 --repeats 1", "merged / layer"),
    ],
    "theory against draws": [
        ("aspect_ratio", "--n 40 --points 3 --trials 100 --dense-trials 5 --out a.png", "Dense against streaming"),
        ("convergence", "--size 1000 --trials 10 --precision 1 --out a.png", "slope"),
        ("phase_diagram", "--points 20 --out a.png", "α* > 1"),
        ("regression", "--sizes 24 48 --trials 200 --out a.png", "Slope"),
        ("universality", "--scales 1 --trials 3 --test-size 20", "student"),
        ("anisotropic", "--p 60 --trials 12 --small 20 30 --precision 300 --out a.png", "exponent"),
        (
            "fluctuations",
            "all --draws-spread 20 --draws-small 150 --draws-coverage 40 --draws-order 40 --draws-slope 3 --repeats 1 "
            "--docs a",
            "A grid of 10⁴ problems",
        ),
    ],
    "real data": [
        ("real_features", "--digits 2 --splits 2 --n 20 --gamma 1", "gain"),
        ("real_tasks", "--tasks 2 2 2 --splits 1 --n 10 --others 0 --half choose --docs a", "robust − first rule"),
        ("rules_on_the_model", "--draws 2 --settings 1", "theory-cov"),
        ("lora_digits", "--models linear --tasks 2 --seeds 1 --tuning 1 --per-class 4", "from scratch"),
    ],
    "layers": [
        ("lora_ridge", "--trials 2 --steps 300 --problems 1 --out a.png", "accuracy, trained"),
        ("lora_alpha", "--trials 3 --draws 20 --settings 1 --regimes 1 --out a.png", "Refused"),
        ("lora_rows", "--p 12 --sizes 10 20 --draws 2 --steps 50 --out a.png", "place"),
        (
            "lora_rank",
            "--p 12 --n 15 --n-source 50 --classes 3 --draws 3 --tests 50 --step 0.5 --steps 50 --out a.png",
            "full rank",
        ),
    ],
}
"""Scripts, with arguments that make them short, and a word that their output ends with; those of a group one by one."""

SHORTER = {"lora_digits": {"STEPS": {"linear": 10, "network": 10}}, "simulators": {"CHUNKS": 2}}
"""What no argument makes short."""


def start(command, folder, given=None):
    """Run Python in a folder, its kernels compiled even where those of the tests are not."""
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *command],
        input=given,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=folder,
        env=environment,
    )


def run_group():
    """Run the group named on standard input, each script in a folder of its own; say what they printed."""
    said = {}
    root = pathlib.Path.cwd()
    for name, arguments, _ in GROUPS[sys.stdin.read()]:
        script = importlib.import_module(f"benchmarks.{name}")
        vars(script).update(SHORTER.get(name, {}))
        (root / name).mkdir()
        os.chdir(root / name)
        sys.argv = [name, *arguments.split()]
        with contextlib.redirect_stdout(io.StringIO()) as out:
            script.main()
        said[name] = out.getvalue()
    print(json.dumps(said))


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_scripts_run(group, tmp_path):
    done = start(["-c", "from tests.test_benchmarks import run_group; run_group()"], tmp_path, group)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for name, arguments, word in GROUPS[group]:
        assert word in said[name], name
        assert ("--out" in arguments) == (tmp_path / name / "a.png").exists(), name


def test_every_script_is_run():
    scripts = {file.stem for file in (ROOT / "benchmarks").glob("*.py") if "def main()" in file.read_text()}
    assert {name for group in GROUPS.values() for name, _, _ in group} == scripts


@pytest.mark.slow
def test_a_script_is_run_by_its_name(tmp_path):
    done = start(["-m", "benchmarks.simulators", "--draw", "1000", "1000000"], tmp_path)
    assert done.returncode == 0, done.stderr
    small, large = map(float, done.stdout.split())
    assert (
        large - small < 20
    )  # MB: a large draw takes no more than a small one; three numbers per dimension would be 24


# The suite.


@pytest.mark.slow
def test_the_suite_runs(tmp_path):
    command = ["-m", "benchmarks", "--quick", "--json", "all.json", "--docs", "docs/suite", "--keep", "kept.jsonl"]
    done = start(command, tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))
    assert found.keys() == {"date", "machine", "versions", "quick", "repeats", "cases"}
    assert found["quick"] is True
    assert found["machine"].keys() == {"cpu", "cores", "os", "blas", "blas_threads"}
    assert found["machine"]["blas_threads"] == 1
    assert {"Python", "rmt_alpha", "numpy", "scipy", "numba", "scikit-learn"} == found["versions"].keys()
    assert [case["name"] for case in found["cases"]] == [*suite_command.CASES]
    for case in found["cases"]:
        assert case.keys() == {"name", "job", "against", "size", "slopes", "rows"}
        assert all(np.isfinite(case["slopes"][side]) for side in ("ours", "theirs"))
        for row in case["rows"]:
            assert row.keys() == {"size", "agreement", "rounds", "ours", "theirs", "ratio", "quartiles"}
            low, high = row["quartiles"]
            assert 0.0 < low <= row["ratio"] <= high
            assert row["ours"] > 0.0 < row["theirs"]
            assert row["agreement"]["value"] <= row["agreement"]["allowed"]
            assert row["agreement"]["kind"] in ("relative", "z")
        assert case["name"] in done.stdout
    texts = {file.stem: file.read_text(encoding="utf-8") for file in (tmp_path / "docs" / "suite").glob("*.md")}
    assert texts.keys() == {"summary", "cases", "sizes", "aspect_ratio"}
    assert "not a measurement" in texts["summary"]
    assert "The other way is faster in" in texts["summary"]
    assert found["machine"]["cpu"] in texts["summary"]
    assert "Dense against streaming draws" in texts["aspect_ratio"]
    for name in suite_command.CASES:
        assert f"**{name}**" in texts["cases"]
        assert f"| {name} " in texts["sizes"]
        assert f"| {name} " in texts["summary"]
    for picture in ("sizes", "aspect_ratio"):
        assert (tmp_path / "docs" / "suite" / f"{picture}.png").stat().st_size > 10_000


def counted(calls, *, result=2.0):
    """Return a case of which both sides count their calls."""

    def pair(size):
        def ours():
            calls.append(size)
            return 2.0

        return suite.Pair(ours, lambda: [ours() for _ in range(3)], lambda: suite.to_rounding(ours(), result))

    return suite.Case("counting", "counting thrice", "m", pair, sizes=(10, 100), quick=(1, 2), alone=(1000,))


@pytest.fixture
def toy(monkeypatch):
    """A suite of one cheap case; the list of its calls."""
    calls = []
    monkeypatch.setattr(suite, "SHORTEST", 1e-5)
    monkeypatch.setattr(suite_command, "SECONDS", 1e-3)
    monkeypatch.setattr(suite_command, "CASES", {"toy": counted(calls)})
    return calls


def test_list_names_the_cases(capsys):
    assert suite_command.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[::2]] == [*suite_command.CASES]
    assert all("against" in line for line in lines[1::2])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], ("nonsense", "closed-form", "dimension-ratios")),
        (["dense", "--repeats", "0"], ("--repeats", "0", "at least 1")),
        (["dense", "--docs", "somewhere"], ("--docs", "all cases")),
    ],
)
def test_bad_arguments_are_exit_2(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        suite_command.main(arguments)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
    assert not list(tmp_path.iterdir())


def test_names_are_unique():
    modules = [importlib.import_module(f"benchmarks.{file.stem}") for file in (ROOT / "benchmarks").glob("[a-z]*.py")]
    names = [name for module in modules for name in getattr(module, "CASES", {})]
    assert sorted(names) == sorted(set(names)) == sorted(suite_command.CASES)


def test_finished_comparisons_survive(toy, tmp_path):
    file = tmp_path / "kept.jsonl"
    assert suite_command.main(["toy", "--keep", str(file), "--json", str(tmp_path / "first.json")]) == 0
    assert set(toy) == {10, 100, 1000}
    toy.clear()
    assert suite_command.main(["toy", "--keep", str(file), "--json", str(tmp_path / "second.json")]) == 0
    assert toy == []
    first, second = (json.loads((tmp_path / f"{name}.json").read_text())["cases"] for name in ("first", "second"))
    assert first == second
    assert suite_command.main(["toy", "--keep", str(file), "--repeats", "4"]) == 0
    assert set(toy) == {10, 100, 1000}


@pytest.mark.usefixtures("toy")
def test_beyond_its_sizes_the_other_way_is_not_run(tmp_path):
    assert suite_command.main(["toy", "--json", str(tmp_path / "a.json"), "--repeats", "5"]) == 0
    (case,) = json.loads((tmp_path / "a.json").read_text())["cases"]
    assert [row["size"] for row in case["rows"]] == [10, 100, 1000]
    assert [row["theirs"] is None for row in case["rows"]] == [False, False, True]
    assert case["rows"][2]["ratio"] is None
    assert all(3 <= row["rounds"] <= 5 for row in case["rows"])


@pytest.mark.parametrize("result", [2.0 + 1e-6, np.nan])
def test_results_that_differ_are_not_timed(result, toy, monkeypatch, capsys):
    monkeypatch.setattr(suite_command, "CASES", {"toy": counted(toy, result=result)})
    assert suite_command.main(["toy"]) == 1
    assert "toy, m = 10: results differ" in capsys.readouterr().err
    assert len(toy) == 1


def test_means_of_other_draws_are_seen():
    rng = np.random.default_rng(0)
    ours, theirs = rng.normal(0.7, 0.01, (400, 3)), rng.normal(0.7, 0.01, (8, 3))
    assert against_draws(ours, theirs).holds
    assert not against_draws(ours, theirs + np.array([0.0, 0.0, 0.04])).holds


def test_a_time_is_that_of_one_job_and_slopes_are_those_of_the_large_sizes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def pair(size):
        def wait(seconds):
            now[0] += seconds

        ours, theirs = (lambda: wait(1e-3 if size == 1 else 2e-4 * size**2)), (lambda: wait(5e-4 * size))
        return suite.Pair(ours, theirs, lambda: suite.to_rounding(1.0, 1.0), (2, 5))

    case = suite.Case("waiting", "waiting", "s", pair, sizes=(1, 2, 4, 8), quick=(), alone=(16,))
    rows = [suite.compared("wait", case, size, 3, 0.0) for size in (*case.sizes, *case.alone)]
    assert [row["ours"] for row in rows] == pytest.approx([5e-4, *(1e-4 * size**2 for size in (2, 4, 8, 16))])
    assert [row["theirs"] for row in rows[:4]] == pytest.approx([1e-4 * size for size in case.sizes])
    assert [row["ratio"] for row in rows[1:4]] == pytest.approx([1 / size for size in (2, 4, 8)])
    assert suite.slopes(rows) == {"ours": pytest.approx(2.0), "theirs": pytest.approx(1.0)}
    assert suite.slopes(rows[:2])["ours"] < 0.0  # what a call costs, where there are no larger sizes
    assert suite.slopes(rows[4:]) == {"ours": None, "theirs": None}


def test_tables_say_where_the_other_way_is_faster():
    case = counted([])
    slow = {"case": "toy", "size": 1, "agreement": {"kind": "z", "value": 1.26, "allowed": 5.0}, "rounds": 3}
    slow |= {"ours": 2e-3, "theirs": 1e-3, "ratio": 0.5, "quartiles": [0.4, 0.6]}
    fast = slow | {"size": 1000, "ours": 3.21e-5, "theirs": 1.5, "ratio": 46_729.0, "quartiles": [1.0, 50_000.0]}
    fast["agreement"] = {"kind": "relative", "value": 2.4e-15, "allowed": 1e-9}
    alone = fast | {"size": 10**6, "theirs": None, "ratio": None, "quartiles": None, "agreement": None}
    cases, rows = {"toy": case}, [slow, fast, alone]
    assert suite.slower(cases, rows) == "The other way is faster in: toy (m = 1)."
    assert suite.slower(cases, rows[1:]) == "The other way is faster in: none."
    lines = suite.comparisons(cases, rows).splitlines()[2:]
    cells = [[cell.strip() for cell in line.replace("\N{NO-BREAK SPACE}", " ").strip("|").split("|")] for line in lines]
    assert cells[0] == ["toy", "m = 1", "2.00 ms", "1.00 ms", "**0.500 (0.400–0.600)**", "1.3 s.e."]
    assert cells[1] == ["", "m = 1000", "32.1 µs", "1.50 s", "46,700 (1.00–50,000)", "2e‑15"]
    assert cells[2] == ["", "m = 10⁶", "32.1 µs", "–", "–", "–"]
    assert suite.shown(1024) == "1024"
    assert "46,700" in suite.overview(cases, rows)
