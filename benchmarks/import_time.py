"""Time ``import rmt_alpha`` beside ``import numpy``.

    python -m benchmarks.import_time

Fresh interpreters in alternation: one that imports nothing, one with numpy, one with rmt_alpha. The start of the
interpreter itself is taken off before the ratio, so that it cannot hide the difference.
"""

import argparse
import subprocess
import sys
import time

import numpy as np

STATEMENTS = ("pass", "import numpy", "import rmt_alpha")


def seconds(statement: str) -> float:
    """Time a fresh interpreter that runs one statement, in a folder where only installed packages are found."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", statement], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="alternating runs (default: %(default)s)")
    arguments = parser.parse_args()
    for statement in STATEMENTS:  # the first start reads the disk
        seconds(statement)
    times = np.array([[seconds(statement) for statement in STATEMENTS] for _ in range(arguments.repeats)])
    start, numpy, package = np.median(times, axis=0)
    ours, reference = package - start, numpy - start
    print(f"interpreter {start * 1e3:.1f} ms, numpy +{reference * 1e3:.1f} ms, rmt_alpha +{ours * 1e3:.1f} ms")
    print(f"import rmt_alpha / import numpy: {ours / reference:.2f} (whole processes: {package / numpy:.2f})")


if __name__ == "__main__":
    main()
