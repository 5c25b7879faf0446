"""The suite and the scripts of `benchmarks` run, and what they time is the same on both sides."""

import contextlib
import dataclasses
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
from benchmarks import aspect_ratio, simulators, suite, tables, timing

ROOT = pathlib.Path(__file__).parents[1]

GROUPS = {
    "timing": [
        ("import_time", "--repeats 1", "import rmt_alpha / import numpy"),
        (
            "simulators",
            "--size 1000 --largest 2000 --largest-dense 120 --repeats 1 --out a.png",
            "plain / streaming",
        ),
        ("path", "--p 60 --repeats 1", "path / eigendecomposition"),
        ("leave_one_out", "--shapes 20x30 30x20 --repeats 1", "path / SVD"),
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


def tied(folder):
    """Return the document of a folder, of which all cases and tables are those of the code."""
    about = json.loads((folder / "suite.json").read_text(encoding="utf-8"))
    assert [case["name"] for case in about["cases"]] == [*suite_command.CASES]
    for found in about["cases"]:
        case = suite_command.CASES[found["name"]]
        assert (found["job"], found["against"], found["size"]) == (case.job, case.against, case.label)
    for name, text in tables.fragments(suite_command.CASES, about).items():
        assert (folder / f"{name}.md").read_text(encoding="utf-8") == text
    return about


def test_the_tables_of_the_documentation_are_those_of_its_numbers():
    about = tied(ROOT / "docs" / "benchmarks" / "suite")
    assert about["quick"] is False
    for found in about["cases"]:
        case = suite_command.CASES[found["name"]]
        assert [row["size"] for row in found["rows"]] == [*case.sizes, *case.alone]


@pytest.mark.slow
def test_the_suite_runs(tmp_path):
    command = ["-m", "benchmarks", "--quick", "--json", "new/all.json", "--docs", "docs/suite", "--keep", "kept.jsonl"]
    done = start(command, tmp_path)
    assert done.returncode == 0, done.stderr
    found = tied(tmp_path / "docs" / "suite")
    assert json.loads((tmp_path / "new" / "all.json").read_text(encoding="utf-8")) == found
    assert found.keys() == {"date", "machine", "versions", "quick", "repeats", "cases"}
    assert found["quick"] is True
    assert found["machine"].keys() == {"cpu", "cores", "os", "blas", "blas_threads"}
    assert found["machine"]["blas_threads"] == 1
    assert {"Python", "rmt_alpha", "numpy", "scipy", "numba", "scikit-learn"} == found["versions"].keys()
    kept = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {record["settings"]["work"] for record in kept} == {"measured", "at"}
    for record in kept:
        assert record["settings"]["of"].keys() == {"machine", "versions", "sources"}
        assert record["settings"]["of"]["machine"] == found["machine"]
    for case in found["cases"]:
        assert case.keys() == {"name", "job", "against", "size", "slopes", "rows"}
        assert [row["size"] for row in case["rows"]] == [*suite_command.CASES[case["name"]].quick]
        assert all(np.isfinite(case["slopes"]["both"][side]) for side in ("ours", "theirs"))
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


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--json", "folder"], ("--json", "folder is a folder")),
        (["--json", "file/a.json"], ("--json", "file cannot be made a folder")),
        (["--keep", "folder"], ("--keep", "folder is a folder")),
        (["--keep", "file/k.jsonl"], ("--keep", "file cannot be made a folder")),
        (["--keep", "file"], ("--keep", "file must be a file of finished results")),
        (["--docs", "file"], ("--docs", "file cannot be made a folder")),
    ],
)
def test_places_that_cannot_be_written_are_exit_2_before_anything_is_timed(
    arguments, words, capsys, tmp_path, monkeypatch, toy
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("something else, without an end of line")
    with pytest.raises(SystemExit) as stopped:
        suite_command.main(arguments)
    assert stopped.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
    assert toy == []
    assert (tmp_path / "file").read_text() == "something else, without an end of line"
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize("keep", [["--keep", "new/kept.jsonl"], []])
def test_an_interruption_says_where_the_finished_comparisons_are(keep, toy, capsys, tmp_path, monkeypatch):
    case = counted(toy)

    def pair(size):
        if size == 100:
            raise KeyboardInterrupt
        return case.pair(size)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(suite_command, "CASES", {"toy": dataclasses.replace(case, pair=pair)})
    assert suite_command.main(["toy", *keep]) == 130
    message = capsys.readouterr().err
    assert "Stopped: " in message
    assert (keep or ["--keep nothing"])[-1].replace("--keep ", "") in message
    if keep:
        assert len((tmp_path / "new" / "kept.jsonl").read_text().splitlines()) == 1
        monkeypatch.setattr(suite_command, "CASES", {"toy": case})
        toy.clear()
        assert suite_command.main(["toy", *keep]) == 0
        assert set(toy) == {100, 1000}


def test_without_scikit_learn_it_says_what_to_install(tmp_path):
    hidden = "import runpy, sys; sys.modules['sklearn'] = None; sys.argv[0] = 'benchmarks'"
    done = start(["-c", f"{hidden}; runpy.run_module('benchmarks', run_name='__main__')", "--list"], tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert "pip install 'rmt_alpha[data]'" in done.stderr
    assert "Traceback" not in done.stderr


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


@pytest.mark.parametrize("what", ["machine", "sources", "version_numbers"])
def test_numbers_of_another_machine_or_other_sources_are_not_shown_as_those_of_here(what, toy, tmp_path, monkeypatch):
    command = ["toy", "--keep", str(tmp_path / "kept.jsonl")]
    assert suite_command.main(command) == 0
    monkeypatch.setattr(suite_command, what, lambda *_: {"another": 1})
    toy.clear()
    assert suite_command.main(command) == 0
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
    assert simulators.against_draws(ours, theirs).holds
    assert not simulators.against_draws(ours, theirs + np.array([0.0, 0.0, 0.04])).holds


@pytest.mark.parametrize("pair", [simulators.stream, aspect_ratio.against_one_draw])
def test_another_penalty_is_not_taken_for_the_same_experiment(pair, monkeypatch):
    assert pair(25).agreement().holds
    right = simulators.plain_weights
    for name in ("gamma", "gamma_source"):
        monkeypatch.setattr(simulators, "plain_weights", lambda rng, p, n=name: right(rng, p | {n: 1.5 * p[n]}))
        assert not pair(25).agreement().holds, name


def test_another_penalty_is_seen_with_full_covariances(monkeypatch):
    assert simulators.matrices_at(20).agreement().holds
    right = simulators.Ridge
    monkeypatch.setattr(simulators, "Ridge", lambda alpha, **rest: right(alpha=1.5 * alpha, **rest))
    assert not simulators.matrices_at(20).agreement().holds


def test_many_draws_are_compared_where_they_are_cheap():
    assert [simulators.draws_at(size) for size in (20, 50, 400, 10_000)] == [200, 200, 25, 8]


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
    assert suite.slopes(rows) == {
        "both": {"sizes": [2, 8], "ours": pytest.approx(2.0), "theirs": pytest.approx(1.0)},
        "beyond": {"sizes": [4, 16], "ours": pytest.approx(2.0)},
    }
    assert suite.slopes(rows[:4])["beyond"] is None
    assert suite.slopes(rows[:2])["both"]["ours"] < 0.0  # what a call costs, where there are no larger sizes
    assert suite.slopes(rows[4:]) == {"both": None, "beyond": None}


def test_tables_say_where_the_other_way_is_faster():
    case = counted([])
    slow = {"case": "toy", "size": 1, "agreement": {"kind": "z", "value": 1.26, "allowed": 5.0}, "rounds": 3}
    slow |= {"ours": 2e-3, "theirs": 1e-3, "ratio": 0.5, "quartiles": [0.4, 0.6]}
    fast = slow | {"size": 1000, "ours": 3.21e-5, "theirs": 1.5, "ratio": 46_729.0, "quartiles": [1.0, 50_000.0]}
    fast["rounds"] = 15
    fast["agreement"] = {"kind": "relative", "value": 2.4e-15, "allowed": 1e-9}
    alone = fast | {"size": 10**6, "theirs": None, "ratio": None, "quartiles": None, "agreement": None}
    cases, rows = {"toy": case}, [slow, fast, alone]
    assert tables.slower(cases, rows) == "The other way is faster in: toy (m = 1)."
    assert tables.slower(cases, rows[1:]) == "The other way is faster in: none."

    def cells(table):
        plain = (line.replace("\N{NO-BREAK SPACE}", " ").strip("|") for line in table.splitlines()[2:])
        return [[cell.strip() for cell in line.split("|")] for line in plain]

    assert cells(tables.comparisons(cases, rows)) == [
        ["toy", "m = 1", "2.00 ms", "1.00 ms", "**0.500 (0.400–0.600)**", "3", "1.3 s.e."],
        ["", "m = 1000", "32.1 µs", "1.50 s", "46,700 (1.00–50,000)", "15", "2e‑15"],
        ["", "m = 10⁶", "32.1 µs", "–", "–", "15", "–"],
    ]
    assert tables.shown(1024) == "1024"
    slopes = ["−0.60, 1.06 (1–1000)", "−0.30 (1–10⁶)"]
    assert cells(tables.overview(cases, rows)) == [["toy", "m = 1000", "46,700 (1.00–50,000)", *slopes]]
    assert cells(tables.overview(cases, rows[:2]))[0][-1] == "–"
