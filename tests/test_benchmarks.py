"""The benchmark scripts run, and what they time is the same on both sides."""

import os
import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.slow  # all together


def run(script, arguments, folder):
    """Run a script, its kernels compiled even where those of the tests are not."""
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, check=False, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("closed_form.py", ["--points", "1000", "--quad-points", "3", "--repeats", "1"], "against quad"),
        ("import_time.py", ["--repeats", "1"], "import rmt_alpha / import numpy"),
        (
            "simulators.py",
            ["--size", "1000", "--largest", "2000", "--largest-dense", "120", "--repeats", "1", "--out", "a.png"],
            "plain / streaming",
        ),
        (
            "aspect_ratio.py",
            ["--p", "40", "--points", "3", "--trials", "20", "--dense-trials", "5", "--out", "a.png"],
            "z",
        ),
        ("convergence.py", ["--size", "1000", "--trials", "10", "--precision", "1", "--out", "a.png"], "slope"),
        ("phase_diagram.py", ["--points", "20", "--out", "a.png"], "α* > 1"),
        ("real_features.py", ["--digits", "2", "--splits", "2", "--n", "20", "--gamma", "1"], "gain"),
        ("regression.py", ["--sizes", "24", "48", "--trials", "200", "--out", "a.png"], "Slope"),
        ("universality.py", ["--scales", "1", "--trials", "3", "--test-size", "20"], "student"),
        (
            "anisotropic.py",
            ["--p", "60", "--trials", "12", "--small", "20", "30", "--precision", "300", "--out", "a.png"],
            "exponent",
        ),
        (
            "lora_ridge.py",
            ["--trials", "2", "--steps", "300", "--problems", "1", "--out", "a.png"],
            "accuracy, trained",
        ),
        (
            "lora_alpha.py",
            ["--trials", "3", "--draws", "20", "--settings", "1", "--regimes", "1", "--out", "a.png"],
            "Refused",
        ),
        (
            "lora_rows.py",
            ["--p", "12", "--sizes", "10", "20", "--draws", "2", "--steps", "50", "--out", "a.png"],
            "place",
        ),
        (
            "lora_rank.py",
            [
                *("--p", "12", "--n", "15", "--n-source", "50", "--classes", "3", "--draws", "3"),
                *("--tests", "50", "--step", "0.5", "--steps", "50", "--out", "a.png"),
            ],
            "full rank",
        ),
        (
            "lora_digits.py",
            ["--models", "linear", "--tasks", "2", "--seeds", "1", "--tuning", "1", "--per-class", "4"],
            "from scratch",
        ),
        ("path.py", ["--p", "60", "--repeats", "1"], "path / eigendecomposition"),
        (
            "real_tasks.py",
            [
                "--tasks",
                "2",
                "2",
                "2",
                "--splits",
                "1",
                "--n",
                "10",
                "--others",
                "0",
                "--half",
                "choose",
                "--docs",
                "a",
            ],
            "robust − first rule",
        ),
        ("rules_on_the_model.py", ["--draws", "2", "--settings", "1"], "theory-cov"),
        (
            "fluctuations.py",
            [
                *("all", "--draws-spread", "20", "--draws-small", "150", "--draws-coverage", "40"),
                *("--draws-order", "40", "--draws-slope", "3", "--repeats", "1", "--docs", "a"),
            ],
            "A grid of 10⁴ problems",
        ),
        ("leave_one_out.py", ["--shapes", "20x30", "30x20", "--repeats", "1"], "path / SVD"),
    ],
)
def test_script_runs(script, arguments, says, tmp_path):
    assert says in run(script, arguments, tmp_path)
    assert ("--out" in arguments) == (tmp_path / "a.png").exists()


def test_a_large_draw_takes_no_more_memory_than_a_small_one(tmp_path):
    small, large = (float(run("simulators.py", ["--draw", size], tmp_path)) for size in ("1000", "1000000"))
    assert large - small < 20  # MB; three numbers per dimension would be 24
