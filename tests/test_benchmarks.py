"""The benchmark scripts run, and what they time is the same on both sides."""

import pathlib
import subprocess
import sys

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(
    ("script", "arguments", "says"),
    [
        ("closed_form.py", ["--points", "1000", "--quad-points", "3", "--repeats", "1"], "against quad"),
        ("import_time.py", ["--repeats", "1"], "import rmt_alpha / import numpy"),
    ],
)
def test_script_runs(script, arguments, says):
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
