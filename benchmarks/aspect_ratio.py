"""Sweep the aspect ratio η = p/n: theory, exact streaming draws and dense draws, with z-scores.

    python benchmarks/aspect_ratio.py --out aspect_ratio.png

p and N stay, n = p/η varies. Streaming draws are so cheap that the O(1/n) bias of theory shows in their z; dense draws
are few, and against the streaming mean their z is free of that bias.
"""

import argparse
from typing import Any

import numpy as np

import rmt_alpha as ra

SETTING: dict[str, Any] = {"beta": 0.8, "gamma": 0.2, "mu": 1.2, "gamma_source": 1.0}


def plot(
    eta: np.ndarray, theory: ra.Sweep, exact: ra.Sweep, matrices: ra.Sweep, z: dict[str, np.ndarray], path: str
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for k, (label, style) in enumerate(zip(("α = 0", "α = 1", "α = α*"), ("C7", "C0", "C1"), strict=True)):
        upper.plot(
            theory["p"][:, k] / theory["n"][:, k], theory["accuracy"][:, k], color=style, label=f"{label}, theory"
        )
        upper.plot(eta, exact["simulated_accuracy"][:, k], "o", ms=4, color=style)
        upper.errorbar(
            eta,
            matrices["simulated_accuracy"][:, k],
            2 * matrices["stderr_accuracy"][:, k],
            fmt="s",
            ms=6,
            mfc="none",
            lw=1,
            color=style,
        )
        for (name, values), marker in zip(z.items(), ("o", "s"), strict=True):
            lower.plot(eta, values[:, k], marker, ms=4, mfc="none", color=style, label=name if k == 1 else None)
    upper.plot([], [], "ko", ms=4, label="streaming")
    upper.plot([], [], "ks", ms=6, mfc="none", label="dense, ± 2 s.e.")
    upper.set(xscale="log", ylabel="accuracy")
    upper.legend(frameon=False, fontsize=8, ncols=2)
    lower.axhspan(-3, 3, color="0.92", zorder=0)
    lower.set(xlabel="η = p/n", ylabel="z")
    lower.legend(frameon=False, fontsize=8)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--p", type=int, default=400, help="dimension (default: %(default)s)")
    parser.add_argument("--points", type=int, default=9, help="values of η from .1 to 10 (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=20_000, help="streaming draws at each η (default: %(default)s)")
    parser.add_argument("--dense-trials", type=int, default=100, help="dense draws at each η (default: %(default)s)")
    parser.add_argument("--out", help="picture")
    arguments = parser.parse_args()

    p = arguments.p
    n = np.unique(np.round(p / np.geomspace(0.1, 10.0, arguments.points)).astype(int))[::-1]
    grid = {**SETTING, "n": n, "p": p, "n_source": 2 * p, "seed": 0}
    exact = ra.sweep(**grid, trials=arguments.trials, method="streaming")
    matrices = ra.sweep(**grid, trials=arguments.dense_trials, method="dense")
    error = np.hypot(exact["stderr_accuracy"], matrices["stderr_accuracy"])
    difference = matrices["simulated_accuracy"] - exact["simulated_accuracy"]
    z = {"streaming − theory": exact["z"], "dense − streaming": difference / error}

    header = ("η", "n", "α", "theory", "streaming", "± s.e.", "z", "dense", "± s.e.", "z")
    print(f"p = {p}, N = {2 * p}, {arguments.trials} streaming and {arguments.dense_trials} dense draws at each η")
    print("{:>8}{:>7}{:>9}{:>9}{:>11}{:>9}{:>7}{:>9}{:>9}{:>7}".format(*header))
    for i, k in np.ndindex(exact.shape):
        print(
            f"{p / n[i]:8.3f}{n[i]:7d}{exact['alpha_value'][i, k]:9.3f}{exact['accuracy'][i, k]:9.4f}"
            f"{exact['simulated_accuracy'][i, k]:11.5f}{exact['stderr_accuracy'][i, k]:9.5f}"
            f"{z['streaming − theory'][i, k]:7.2f}"
            f"{matrices['simulated_accuracy'][i, k]:9.4f}{matrices['stderr_accuracy'][i, k]:9.4f}"
            f"{z['dense − streaming'][i, k]:7.2f}"
        )
    if arguments.out:
        theory = ra.sweep(**grid | {"n": p / np.geomspace(0.1, 10.0, 200)}, trials=0)
        plot(p / n, theory, exact, matrices, z, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
