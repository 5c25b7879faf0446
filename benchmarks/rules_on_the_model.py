"""Rules for α on data drawn from the isotropic model: accuracy that each loses to the best α.

    python -m benchmarks.rules_on_the_model

μ and μ_⊥ of length 1, a source trained by ridge on N = 2000 samples with γ̃ = 1, n target samples in p dimensions, half
of them with each label. Every draw makes its own source. Accuracy is exact given the weights; the best α is that of the
theory. In thousandths, ± the standard error over draws.
"""

import argparse

import numpy as np
from scipy.special import ndtr

import rmt_alpha as ra
from benchmarks.reports import table
from rmt_alpha._random import seed_sequence, stream
from rmt_alpha.estimation.rules import RULES, Training
from rmt_alpha.ridge import RidgePath

SETTINGS = ((40, 400, 0.8), (200, 400, 0.8), (1000, 400, 0.8), (40, 400, -0.8))
GAMMAS = np.array([0.1, 1.0])
N = 2000


def losses(n: int, p: int, beta: float, draw: np.random.Generator) -> np.ndarray:
    """Return what α = 0, α = 1 and each rule lose to the best α, shape (methods, penalties)."""
    mean = np.zeros(p)
    mean[:2] = beta, (1.0 - beta**2) ** 0.5
    y = draw.choice([-1.0, 1.0], N)
    X = draw.standard_normal((N, p))
    X[:, 0] += y
    source = RidgePath(X).ridge(y[:, None], np.array([1.0]))[0]
    y = np.repeat([-1.0, 1.0], n // 2)
    X = draw.standard_normal((n, p)) + np.outer(y, mean)
    samples = Training(X, y[:, None], source[None], labels=True, fit_intercept=False)
    weights = samples.weights(GAMMAS)[:, 0]
    best = ra.optimal_alpha(beta, n, p, GAMMAS, n_source=N, gamma_source=1.0)
    alphas = [best, np.zeros(2), np.ones(2), *(samples.choose(rule, GAMMAS)[0][:, 0, 0] for rule in RULES)]
    w = weights[:, 0] + np.array(alphas)[..., None] * weights[:, 1]
    accuracy = ndtr(w @ mean / np.linalg.norm(w, axis=-1))
    return accuracy[0] - accuracy[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=30, help="draws of each setting (default: %(default)s)")
    parser.add_argument("--settings", type=int, default=len(SETTINGS), help="how many (default: %(default)s)")
    arguments = parser.parse_args()
    rows = []
    for i, (n, p, beta) in enumerate(SETTINGS[: arguments.settings]):
        found = [losses(n, p, beta, stream(seed_sequence(0), i, k)) for k in range(arguments.draws)]
        mean, error = 1000 * np.mean(found, axis=0), 1000 * np.std(found, axis=0, ddof=1) / len(found) ** 0.5
        for j, gamma in enumerate(GAMMAS):
            cells = [f"{m:.1f} ± {e:.1f}" for m, e in zip(mean[:, j], error[:, j], strict=True)]
            rows.append([str(n), str(p), f"{beta:g}", f"{gamma:g}", *cells])
    print(table(["n", "p", "β", "γ", "α = 0", "α = 1", *RULES], rows))


if __name__ == "__main__":
    main()
