"""When to keep more of a source, and when less: α* over the alignment β and the aspect ratio η = p/n, for three γ.

    python -m benchmarks.phase_diagram --out phase_diagram.png

The source is a ridge classifier of N = 2p samples. Printed beside the picture: the share of the plane where α* exceeds
1, and where ordinary fine-tuning is worse than training from scratch.
"""

import argparse

import numpy as np

import rmt_alpha as ra

PENALTIES = (0.01, 0.3, 10.0)


def plot(beta: np.ndarray, eta: np.ndarray, setting: dict[str, float], path: str) -> None:
    from matplotlib.figure import Figure

    from rmt_alpha import plots

    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    panels = figure.subplots(1, len(PENALTIES), sharey=True)
    for ax, gamma in zip(panels, PENALTIES, strict=True):
        plots.phase_diagram(ax, beta, eta, gamma=gamma, colour_bar=ax is panels[-1], **setting)
        ax.set_title(rf"$\gamma$ = {gamma:g}")
        ax.label_outer()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200, help="values of β and of η (default: %(default)s)")
    parser.add_argument("--p", type=float, default=400.0, help="dimension (default: %(default)s)")
    parser.add_argument("--mu", type=float, default=1.5, help="norms of the means (default: %(default)s)")
    parser.add_argument("--out", help="picture")
    arguments = parser.parse_args()

    p, mu = arguments.p, arguments.mu
    setting = {"p": p, "mu": mu, "mu_perp": mu, "n_source": 2.0 * p, "gamma_source": 1.0}
    beta, eta = np.linspace(-0.3, 1.0, arguments.points), np.geomspace(0.05, 20.0, arguments.points)

    print(f"p = {p:g}, norms {mu:g}, N = {2 * p:g}, γ̃ = 1; shares of the plane with β from 0 to 1, η from .05 to 20")
    print(f"{'γ':>8}{'α* > 1':>10}{'α = 1 worse':>14}{'it loses':>11}{'α* gains over the better of 0 and 1':>38}")
    b = np.linspace(0.0, 1.0, arguments.points)[1:]
    for gamma in PENALTIES:
        law = ra.margin_law(b, p / eta[:, None], gamma=gamma, **setting)
        best = ra.optimal_alpha(b, p / eta[:, None], gamma=gamma, **setting)
        scratch, whole = law.accuracy(0.0), law.accuracy(1.0)
        print(
            f"{gamma:8g}{(best > 1.0).mean():10.1%}{(whole < scratch).mean():14.1%}{(scratch - whole).max():11.4f}"
            f"{(law.best_accuracy() - np.maximum(scratch, whole)).max():38.4f}"
        )
    if arguments.out:
        plot(beta, eta, setting, arguments.out)
        print(f"Written: {arguments.out}")


if __name__ == "__main__":
    main()
