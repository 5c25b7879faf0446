"""How fast theory becomes exact: streaming experiments from p = 20 to 10⁶.

    python -m benchmarks.convergence --out convergence.png

- at p = 10⁶ the means of the five numbers and of an accuracy, against theory,
- the bias of theory against p on logarithmic axes, with slopes of a power law fitted by weighted least squares: it is
  O(1/p), so they are about −1.
"""

import argparse
from typing import Any

import numpy as np
from scipy import optimize

import rmt_alpha as ra

NAMES = ("M0", "M1", "V00", "V01", "V11", "accuracy")


def setting(p: int) -> dict[str, Any]:
    """Return a problem with fixed ratios: p/n = ½, p/N = 1."""
    return {"beta": 0.8, "mu": 1.5, "n": 2 * p, "p": p, "gamma": 2.0, "n_source": p, "gamma_source": 1.0}


def against_theory(p: int, trials: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return theory, mean and standard error of the five numbers and of the accuracy at α = 1."""
    law = ra.margin_law(**setting(p))
    run = ra.simulate(**setting(p), trials=trials, seed=p, method="streaming")
    numbers, accuracy = run.five_numbers(), run.accuracy(1.0)
    theory = np.array([*law.mean, law.cov[0, 0], law.cov[0, 1], law.cov[1, 1], law.accuracy(1.0)])
    return theory, np.append(numbers.value, accuracy.value), np.append(numbers.stderr, accuracy.stderr)


def slope(sizes: np.ndarray, bias: np.ndarray, stderr: np.ndarray) -> tuple[float, float]:
    """Return the exponent of ``bias = c sizes^exponent``, with its standard error; the bias may have either sign."""
    guess = (bias[0] * sizes[0], -1.0)
    try:
        (_, exponent), cov = optimize.curve_fit(
            lambda x, c, k: c * x**k, sizes, bias, guess, stderr, absolute_sigma=True
        )
    except RuntimeError:  # nothing but noise
        return np.nan, np.nan
    return float(exponent), float(np.sqrt(cov[1, 1]))


def plot(sizes: np.ndarray, bias: np.ndarray, stderr: np.ndarray, path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    ax = figure.subplots()
    for i, name in enumerate(NAMES):
        ax.errorbar(sizes, np.abs(bias[:, i]), stderr[:, i], fmt="os^vDP"[i] + "-", ms=4, lw=1, label=name)
    ax.plot(sizes, 2 * np.abs(bias).max() * sizes[0] / sizes, "k:", lw=1, label="slope −1")
    ax.set(xscale="log", yscale="log", xlabel="p", ylabel="|mean of exact draws − theory|")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8, ncols=2)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10**6, help="the large p (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=2500, help="draws there (default: %(default)s)")
    parser.add_argument("--precision", type=int, default=1000, help="draws / p for the bias (default: %(default)s)")
    parser.add_argument("--out", help="picture of the bias against p")
    arguments = parser.parse_args()

    theory, mean, stderr = against_theory(arguments.size, arguments.trials)
    print(f"p = {arguments.size}, {arguments.trials} draws")
    print(f"{'':10}{'theory':>12}{'mean':>12}{'± s.e.':>12}{'relative':>12}{'z':>8}")
    for row in zip(NAMES, theory, mean, stderr, strict=True):
        name, t, m, s = row
        print(f"{name:10}{t:12.6f}{m:12.6f}{s:12.1e}{m / t - 1:12.1e}{(m - t) / s:8.2f}")

    sizes = np.array([20.0, 40, 80, 160, 320, 640, 1280])
    results = [against_theory(int(p), arguments.precision * int(p)) for p in sizes]
    bias = np.array([mean - theory for theory, mean, _ in results])
    errors = np.array([stderr for *_, stderr in results])
    print(f"\nBias against p, {arguments.precision}·p draws each (± standard error)")
    print(f"{'p':>10}" + "".join(f"{name:>21}" for name in NAMES))
    for p, values, error in zip(sizes, bias, errors, strict=True):
        print(f"{p:>10.0f}" + "".join(f"{v:>+11.2e} ± {s:.1e}" for v, s in zip(values, error, strict=True)))
    fits = [slope(sizes, bias[:, i], errors[:, i]) for i in range(len(NAMES))]
    print(f"{'slope':>10}" + "".join(f"{value:>11.2f} ± {error:<7.2f}" for value, error in fits))
    if arguments.out:
        plot(sizes, bias, errors, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
