"""One α for each output, and adapters of small rank: trained layers against what they should come to."""

import importlib
import pathlib
import sys

import numpy as np
import pytest

from rmt_alpha.lora import Adam, AlphaLoRALinear, train
from rmt_alpha.problem import FixedSource, RegressionTask
from rmt_alpha.regression import RegressionTransfer
from rmt_alpha.ridge import affine_ridge, reduced_rank_ridge

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scripts():
    """The benchmark scripts, which are no package."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield {name: importlib.import_module(name) for name in ("lora_rank",)}
    finally:
        sys.path.remove(str(BENCHMARKS))


def regression(n, p, d, seed):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) * np.geomspace(0.3, 2.0, p)
    old, new = rng.standard_normal((2, d, p)) / p**0.5
    return X, X @ (old + new).T + 0.3 * rng.standard_normal((n, d)), old


def objective(X, Y, update, frozen, gamma):
    return np.sum(np.square(Y - X @ (frozen + update).T)) / len(X) + gamma * np.sum(np.square(update))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rank", "alpha"), [(30, 1, 0.4), (30, 2, [-0.5, 0.3, 1.6, 2.0]), (8, 3, 2.5)])
def test_a_trained_layer_of_small_rank_is_the_exact_one(n, rank, alpha):
    gamma = 0.2
    X, Y, old = regression(n, 12, 4, seed=rank)
    layer = AlphaLoRALinear(
        old, alpha=alpha, train_alpha=False, rank=rank, lora_alpha=1.7 * rank, init="uniform", seed=3
    )
    train(layer, X, Y, ridge=gamma, steps=4000, optimizer=Adam(1e-2))
    exact = reduced_rank_ridge(X, Y, old, gamma, alpha, rank)
    assert np.abs(layer.merge()[0] - exact).max() < 1e-8

    # another stationary point, the largest part of the update left out: no gradient, and far away
    frozen = np.reshape(alpha, (-1, 1)) * old
    full = np.transpose([affine_ridge(X, y, None, gamma)[0] for y in (Y - X @ frozen.T).T]).T
    axes = np.linalg.eigh(full @ (X.T @ X / n + gamma * np.eye(12)) @ full.T)[1][:, ::-1]
    kept = axes[:, 1 : rank + 1]
    saddle = AlphaLoRALinear(old, alpha=alpha, train_alpha=False, rank=rank, lora_alpha=1.7 * rank)
    saddle.load_state_dict({"alpha": alpha, "lora_A": kept.T @ full, "lora_B": kept / 1.7})
    history = train(saddle, X, Y, ridge=gamma, steps=1, optimizer=Adam(1e-300))
    residual = (saddle.forward(X) - Y) * 2.0 / n
    grads, pull = saddle.backward(residual)[0], saddle.update_penalty()[1]
    assert all(np.abs(grads[name] + gamma * pull[name]).max() < 1e-12 for name in ("lora_A", "lora_B"))
    assert np.abs(saddle.merge()[0] - exact).max() > 1e-2
    assert history.loss[0] > objective(X, Y, exact - frozen, frozen, gamma) + 1e-3


D, P, N, NOISE, GAMMA = 3, 40, 80, 0.2, 0.1
DEGREES = np.array([-0.5, 0.4, 1.5])


def rows(covariance):
    """Return a problem whose rows are related to different degree, along directions of large variance."""
    old, own = np.random.default_rng(5).standard_normal((2, D, P)) / P**0.5
    fade = covariance / (covariance + 0.5)
    target = RegressionTask(DEGREES[:, None] * fade * old + 0.3 * own, covariance, NOISE)
    return RegressionTransfer(target, N, GAMMA, [FixedSource(old)])


def one_draw(transfer, seed):
    """Return samples, and for each row the α where training comes to rest and that of least risk, in this draw."""
    rng, target, old = np.random.default_rng([seed, 7]), transfer.target, transfer.sources[0].weights
    X = rng.standard_normal((N, P)) * np.broadcast_to(target.covariance, P) ** 0.5
    Y = X @ target.weights.T + NOISE * rng.standard_normal((N, D))
    scratch, pull = np.swapaxes([affine_ridge(X, y, w, GAMMA) for y, w in zip(Y.T, old, strict=True)], 0, 1)
    missing = (target.weights - scratch) * target.covariance
    return X, Y, *(np.sum(v * missing, axis=1) / np.sum(v * pull * target.covariance, axis=1) for v in (old, pull))


@pytest.mark.slow
@pytest.mark.parametrize("covariance", [np.ones(P), np.geomspace(0.05, 5.0, P)], ids=["identity", "anisotropic"])
def test_each_row_learns_where_its_training_rests(covariance):
    transfer = rows(covariance)
    everything = P**0.5 * np.diag(covariance**0.5)  # samples whose second moments are those of the population
    for seed in range(2):
        X, Y, rest, best = one_draw(transfer, seed)
        layer = AlphaLoRALinear(
            transfer.sources[0].weights,
            alpha=np.full(D, 0.5),
            rank=D + 1,
            lora_alpha=2.0 * D,
            init="uniform",
            seed=seed,
        )
        train(
            layer,
            X,
            Y,
            ridge=GAMMA,
            steps=4000,
            optimizer=Adam(1e-2),
            held_out=(everything, everything @ transfer.target.weights.T),
            alpha_optimizer=Adam(3e-2),
            alpha_decay="linear",
        )
        learned = layer.parameters()["alpha"]
        assert np.abs(learned - rest).max() < 2e-3
        assert np.abs(learned - best).max() > 0.05


@pytest.mark.parametrize("covariance", [np.ones(P), np.geomspace(0.05, 5.0, P)], ids=["identity", "anisotropic"])
def test_theory_knows_the_rest_point_of_each_row(covariance):
    transfer = rows(covariance)
    rest = np.array([one_draw(transfer, seed)[2] for seed in range(600)])
    error = rest.std(axis=0, ddof=1) / len(rest) ** 0.5

    def away(alpha):
        return np.abs(rest.mean(axis=0) - alpha) / (4.0 * error + 1.0 / N)  # 6e-5 for each row

    theory, least = transfer.trained_alpha(per_output=True), transfer.risk_law(per_output=True).optimal_alpha()
    assert away(theory).max() < 1.0
    if covariance.min() == covariance.max():
        np.testing.assert_allclose(theory, least, rtol=1e-12)
    else:
        assert away(least).max() > 3.0


def test_the_top_of_a_curve(scripts):
    alphas = scripts["lora_rank"].grid(0.1)
    assert {-0.5, 0.0, 1.0, 4.0} <= set(alphas.round(12))
    at, height = scripts["lora_rank"].top(alphas, 0.7 - 0.1 * (alphas - 1.23) ** 2)
    assert at == pytest.approx(1.23, abs=0.006)
    assert height == pytest.approx(0.7, abs=1e-5)
    assert scripts["lora_rank"].top(alphas, alphas)[0] == pytest.approx(4.0)


SMALL = {"relation": "weakly related, β = 0.3", "p": 12, "n": 20, "n_source": 200, "classes": 4, "n_test": 150}


def test_a_draw_counts_for_each_rank_what_its_head_gets_right(scripts):
    rank = scripts["lora_rank"]
    head, (X, labels), (X_test, truth) = rank.problem(seed=3, **SMALL)
    right = np.array(rank.draw(gamma=0.4, step=0.5, seed=3, **SMALL)["right"])
    alphas, Y = rank.grid(0.5), np.eye(4)[labels] - 0.25
    assert right.shape == (alphas.size, 4)
    hits = [int(np.sum(np.argmax(X_test @ head.T, axis=1) == truth))] * int(np.sum(alphas > 0.0))
    assert right[alphas > 0.0, 0].tolist() == hits  # rank 0 is the head
    full = [  # and rank C − 1 is full rank
        np.transpose(
            [affine_ridge(X, y - alpha * X @ w, None, 0.4)[0] + alpha * w for y, w in zip(Y.T, head, strict=True)]
        )
        for alpha in alphas
    ]
    assert right[:, 3].tolist() == [int(np.sum(np.argmax(X_test @ w, axis=1) == truth)) for w in full]
    assert (right[:, 1] != right[:, 3]).any()


@pytest.mark.slow
def test_a_small_rank_moves_the_best_alpha_where_classes_are_weakly_related(scripts):
    """Towards 1, as a small update cannot replace the source; where they are close it is beyond 1 at every rank."""
    rank, alphas = scripts["lora_rank"], scripts["lora_rank"].grid(0.25)
    sizes = {"p": 40, "n": 24, "n_source": 800, "classes": 6, "n_test": 1000}
    best = {}
    for relation in ("weakly related, β = 0.3", "closely related, β = 0.9"):
        right = [rank.draw(gamma=1.0, step=0.25, seed=s, relation=relation, **sizes)["right"] for s in range(12)]
        best[relation] = [rank.top(alphas, curve)[0] for curve in np.mean(right, axis=0).T[1:]]
    weakly, closely = best.values()
    assert weakly[-1] < 0.5  # about .3, and .8 at rank 1
    assert weakly[0] > weakly[-1] + 0.25
    assert min(closely) > 1.0
