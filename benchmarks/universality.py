"""Accuracy under five laws of the noise, against the theory, which knows its first two moments only.

    python -m benchmarks.universality

Each law has independent standardised entries in both tasks; accuracy is that of fresh test points. z is the difference
from theory over the standard error. Beside it stands the exact Gaussian experiment at the same finite size (streaming,
many more trials): what of z it does not share is the law's own O(1/n) effect, largest for heavy tails. So the table is
made at two sizes.
"""

import argparse
from typing import Any

import numpy as np

import rmt_alpha as ra

LAWS: dict[str, dict[str, Any]] = {
    "gaussian": {},
    "rademacher": {},
    "uniform": {},
    "laplace": {},
    "student": {"dof": 5.0},
}


def table(scale: int, trials: int, test_size: int) -> None:
    """Print the table at one size; larger problems need fewer trials for the same error."""
    setting: dict[str, Any] = {"beta": 0.7, "mu": 1.2, "mu_perp": 0.9, "gamma": 0.3, "gamma_source": 0.8}
    setting |= {"n": 300 * scale, "p": 400 * scale, "n_source": 900 * scale}
    alphas = np.array([0.0, 1.0, ra.optimal_alpha(**setting)])
    theory = np.asarray(ra.margin_law(**setting).accuracy(alphas))
    exact = ra.simulate(**setting, trials=100 * trials, seed=0).accuracy(alphas)
    print(", ".join(f"{name} = {value}" for name, value in setting.items()) + f", {trials} trials")
    print(f"{'law':12}{'α':>8}{'theory':>10}{'measured':>10}{'± s.e.':>9}{'z':>7}{'exact Gaussian':>16}{'z':>7}")
    for law, parameters in LAWS.items():
        noise = {} if law == "gaussian" else {"noise": law, "test_size": test_size, **parameters}
        measured = ra.simulate(**setting, trials=trials, seed=1, method="dense", **noise).accuracy(alphas)
        z = (measured.value - theory) / measured.stderr
        z_exact = (measured.value - exact.value) / np.hypot(measured.stderr, exact.stderr)
        for i, alpha in enumerate(alphas):
            print(
                f"{law:12}{alpha:8.3f}{theory[i]:10.4f}{measured.value[i]:10.4f}{measured.stderr[i]:9.4f}{z[i]:7.2f}"
                f"{exact.value[i]:16.4f}{z_exact[i]:7.2f}"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 3], help="of n, p and n_source (default: 1 3)")
    parser.add_argument("--trials", type=int, default=300, help="experiments at scale 1 (default: %(default)s)")
    parser.add_argument("--test-size", type=int, default=4000, help="test points at scale 1 (default: %(default)s)")
    arguments = parser.parse_args()
    for scale in arguments.scales:
        table(scale, max(arguments.trials // scale, 2), arguments.test_size * scale)
        print()


if __name__ == "__main__":
    main()
