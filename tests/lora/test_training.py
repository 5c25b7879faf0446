"""Training: what it converges to, what moves what, and how it ends."""

import inspect
import itertools
import pickle

import numpy as np
import pytest

from rmt_alpha.lora import (
    SGD,
    Adam,
    AdamW,
    AlphaLoRALinear,
    DoRALinear,
    Linear,
    LoRALinear,
    ReLU,
    Sequential,
    Tanh,
    squared,
    train,
)
from rmt_alpha.lora.training import DECAYS
from rmt_alpha.ridge import affine_ridge, reduced_rank_ridge


def regression(n, p, d=1, seed=0):
    """Inputs, targets, a source."""
    rng = np.random.default_rng(seed)
    T, W = rng.standard_normal((2, d, p)) / p**0.5
    X = rng.standard_normal((n, p))
    return X, X @ T.T + 0.5 * rng.standard_normal((n, d)), 0.8 * T + 0.4 * W


def layer(W, **options):
    return AlphaLoRALinear(W, **{"rank": 2, "lora_alpha": 3.0, "seed": 1, "alpha": 0.4} | options)


def moved(W, **options):
    """A layer whose update is not 0."""
    made = layer(W, **options)
    made.parameters()["lora_B"][:] = np.random.default_rng(9).standard_normal((len(W), made.rank))
    return made


def bits(model):
    return {name: array.tobytes() for name, array in model.state_dict().items()}


def loss_on(model, data):
    return squared(model.forward(data[0]), data[1])[0]


# What a trained layer is.


@pytest.mark.slow
@pytest.mark.parametrize(("n", "p"), [(60, 25), (30, 50)])
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("alpha", [-0.7, 0.0, 0.4, 2.5])
def test_one_output_becomes_the_ridge_classifier_of_the_theory(n, p, rank, alpha):
    X, y, W = regression(n, p)
    w0, w1 = affine_ridge(X, y[:, 0], W[0], 0.3)
    trained = layer(W, alpha=alpha, train_alpha=False, rank=rank)
    train(trained, X, y[:, 0], ridge=0.3, steps=1500, optimizer=Adam(5e-2))
    np.testing.assert_allclose(trained.merge()[0][0], w0 + alpha * w1, atol=1e-6 * np.linalg.norm(w0 + alpha * w1))


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2, 3, 4])
def test_outputs_become_reduced_rank_ridge_each_with_its_alpha(rank):
    X, Y, W = regression(40, 15, d=3, seed=4)
    alpha = np.array([-0.5, 0.3, 2.0])
    trained = layer(W, alpha=alpha, train_alpha=False, rank=rank)
    train(trained, X, Y, ridge=0.3, steps=3000, optimizer=Adam(2e-2))
    expected = reduced_rank_ridge(X, Y, W, 0.3, alpha, rank)
    np.testing.assert_allclose(trained.merge()[0], expected, atol=1e-6)
    assert rank > 2 or np.abs(expected - reduced_rank_ridge(X, Y, W, 0.3, alpha, 3)).max() > 1e-3


def test_a_deep_network_learns_exclusive_or():
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], (80, 2)) + 0.2 * rng.standard_normal((80, 2))
    classes = (X[:, 0] * X[:, 1] > 0).astype(int)
    first = AlphaLoRALinear(rng.standard_normal((6, 2)), rng.standard_normal(6), rank=2, lora_alpha=4.0, seed=1)
    network = Sequential([first, Tanh(), LoRALinear(0.1 * rng.standard_normal((2, 6)), np.zeros(2), rank=2, seed=2)])
    settings = {"loss": "cross_entropy", "steps": 400, "batch_size": 16, "optimizer": Adam(3e-2), "seed": 3}
    history = train(network, X, classes, **settings)
    assert list(history.alpha) == ["0.alpha"]
    assert history.loss[0] > 0.5
    assert history.loss[-20:].mean() < 0.05
    assert (network.forward(X).argmax(axis=1) == classes).all()


# What moves the adapter and what moves α.


def test_the_adapter_follows_the_gradient_of_the_objective():
    """One step of plain descent, against central differences of ‖Y − X(αW₀ + sBA)ᵀ‖²/n + γ‖sBA‖² written densely."""
    X, Y, W = regression(30, 7, d=3)
    trained, gamma, rate = moved(W), 0.6, 1e-3
    start = trained.state_dict()
    A, B, s = start["lora_A"], start["lora_B"], 3.0 / 2.0

    def objective(A, B):
        return ((Y - X @ (0.4 * W + s * B @ A).T) ** 2).sum() / 30 + gamma * ((s * B @ A) ** 2).sum()

    history = train(
        trained, X, Y, ridge=gamma, steps=1, alpha_every=1, optimizer=SGD(rate), alpha_optimizer=SGD(1e-300)
    )
    assert history.loss[0] == pytest.approx(objective(A, B), rel=1e-13)
    h = 1e-6
    for name, at in (("lora_A", lambda E: objective(A + E, B)), ("lora_B", lambda E: objective(A, B + E))):
        gradient = (start[name] - trained.parameters()[name]) / rate
        for index in np.ndindex(gradient.shape):
            E = np.zeros(gradient.shape)
            E[index] = h
            assert gradient[index] == pytest.approx((at(E) - at(-E)) / (2 * h), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("alpha", [0.4, [0.4, -1.0, 2.0]])
def test_alpha_follows_the_gradient_of_the_held_out_loss(alpha):
    X, Y, W = regression(30, 7, d=3)
    X_apart, Y_apart, _ = regression(20, 7, d=3, seed=5)
    trained = moved(W, alpha=alpha)
    rates = {"optimizer": SGD(1e-3), "alpha_optimizer": SGD(1e-2), "decay": "constant"}
    history = train(trained, X, Y, ridge=0.6, steps=3, held_out=(X_apart, Y_apart), alpha_every=3, **rates)
    # the adapter, after its three steps, does not move any more
    update, before = trained.update(), np.array(alpha)
    residuals = Y_apart - X_apart @ (before.reshape(-1, 1) * W + update).T
    rows = -2.0 * (residuals * (X_apart @ W.T)).sum(axis=0) / 20
    assert history.alpha_loss == pytest.approx([(residuals**2).sum() / 20], rel=1e-13)
    expected = before - 1e-2 * (rows if before.ndim else rows.sum())
    np.testing.assert_allclose(trained.parameters()["alpha"], expected, rtol=1e-12)
    np.testing.assert_array_equal(history.alpha["alpha"], [before, trained.parameters()["alpha"]])
    np.testing.assert_array_equal(history.alpha_steps, [0, 3])


def test_alpha_moves_at_multiples_only_and_only_by_held_out_data():
    X, Y, W = regression(30, 7, d=3)
    drawn = []

    def draw(rng):
        drawn.append(rng.standard_normal((5, 7)))
        return drawn[-1], drawn[-1] @ W.T

    history = train(layer(W), X, Y, steps=23, alpha_every=5, held_out=draw, seed=0)
    np.testing.assert_array_equal(history.alpha_steps, [0, 5, 10, 15, 20])
    assert len(drawn) == 4
    assert not np.array_equal(drawn[0], drawn[1])
    assert (np.diff(history.alpha["alpha"]) != 0).all()
    # held-out data that α cannot change: zeros
    still = train(layer(W), X, Y, steps=23, alpha_every=5, held_out=(np.zeros((4, 7)), np.ones((4, 3))))
    assert (still.alpha["alpha"] == 0.4).all()


def test_held_out_data_move_alpha_alone():
    """While α does not feed back (a source of 0 on the training inputs), the adapter ends in the same bits."""
    X, Y, W = regression(30, 7, d=3)
    X[:, 3:], W[:, :3] = 0.0, 0.0
    ends = {}
    for name, held_out in (("none", None), ("some", regression(20, 7, d=3, seed=5)[:2])):
        trained = layer(W)
        train(trained, X, Y, steps=40, batch_size=8, held_out=held_out, optimizer=Adam(1e-2), seed=0)
        ends[name] = trained.state_dict()
    assert ends["none"].pop("alpha") == 0.4  # no slope on the training data
    assert ends["some"].pop("alpha") != 0.4
    for name, array in ends["none"].items():
        np.testing.assert_array_equal(array, ends["some"][name])


def test_fixed_alpha_never_moves():
    X, Y, W = regression(30, 7, d=3)
    trained = layer(W, train_alpha=False)
    history = train(trained, X, Y, steps=30, alpha_every=1)
    assert history.alpha == {}
    assert history.alpha_loss.size == 0
    assert trained.state_dict()["alpha"] == 0.4


def test_alpha_is_trained_alone_without_an_adapter():
    """It comes to rest at the scale that least squares gives."""
    X, y, W = regression(50, 7)
    trained = layer(W, rank=0)
    train(trained, X, y, steps=2000, alpha_every=1, alpha_optimizer=Adam(1e-2), alpha_decay="linear")
    f = X @ W[0]
    assert trained.parameters()["alpha"] == pytest.approx(f @ y[:, 0] / (f @ f), rel=1e-6)


def test_learning_rates_fall_in_a_straight_line():
    model, steps = moved(np.ones((1, 2))), []

    class Record(SGD):
        def step(self, parameters, grads, state, learning_rate):
            steps.append((self.learning_rate, learning_rate))
            super().step(parameters, grads, state, learning_rate)

    for decay, alpha_decay in itertools.product(DECAYS, DECAYS):
        steps.clear()
        rates = {"optimizer": Record(0.1), "alpha_optimizer": Record(0.2), "alpha_every": 2}
        train(model, [[1.0, 0.5]], [[0.0]], steps=4, decay=decay, alpha_decay=alpha_decay, **rates)
        fall = {"linear": [1.0, 0.75, 0.5, 0.25], "constant": [1.0] * 4}
        np.testing.assert_allclose([r for base, r in steps if base == 0.1], 0.1 * np.array(fall[decay]), rtol=1e-14)
        np.testing.assert_allclose([r for base, r in steps if base == 0.2], 0.2 * np.array(fall[alpha_decay][1::2]))


# Batches and seeds.


def orders(seed, **options):
    """Which samples made each batch."""
    seen = []

    def loss(outputs, targets):
        seen.append(np.asarray(targets)[:, 0].astype(int).tolist())
        return squared(outputs, targets)

    X, targets = np.eye(11, 4), np.arange(11.0)[:, None]
    train(LoRALinear(np.ones((1, 4)), rank=1, seed=0), X, targets, loss=loss, seed=seed, **options)
    return [batch for batch in seen if len(batch) < 11]


def test_an_epoch_uses_every_sample_once():
    batches = orders(0, batch_size=4, steps=6)
    assert [len(batch) for batch in batches] == [4, 4, 3, 4, 4, 3]
    first, second = np.concatenate(batches[:3]).tolist(), np.concatenate(batches[3:]).tolist()
    assert sorted(first) == sorted(second) == list(range(11))
    assert first != second
    assert first != sorted(first)


def test_held_out_data_have_an_order_of_their_own():
    """As many samples and batches of the same size, in another order, which leaves that of the training data alone."""
    seen = {"training": [], "held-out": []}

    def loss(outputs, targets):
        if len(targets) < 11:
            where, rows = divmod(np.asarray(targets)[:, 0].astype(int), 100)
            seen["held-out" if where[0] else "training"].append(rows.tolist())
        return squared(outputs, targets)

    inputs, targets = np.eye(11, 4), np.arange(11.0)[:, None]
    options = {"held_out": (inputs, targets + 100), "alpha_every": 1, "alpha_batch_size": 4}
    train(layer(np.ones((1, 4))), inputs, targets, loss=loss, batch_size=4, steps=6, seed=0, **options)
    assert seen["training"] == orders(0, batch_size=4, steps=6)
    assert [len(batch) for batch in seen["held-out"]] == [4, 4, 3, 4, 4, 3]
    assert sorted(np.concatenate(seen["held-out"][3:])) == list(range(11))
    assert seen["held-out"] != seen["training"]


def test_seeds_fix_the_order():
    runs = {seed: orders(seed, batch_size=4, steps=6) for seed in (0, 1)}
    assert runs[0] == orders(0, batch_size=4, steps=6) == orders(np.random.SeedSequence(0), batch_size=4, steps=6)
    assert runs[0] != runs[1]
    drawn = [orders(np.random.default_rng(5), batch_size=4, steps=6) for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_same_seed_same_bits():
    X, Y, W = regression(30, 7, d=3)
    ends = []
    for seed in (3, 3, 4):
        trained = layer(W)
        options = {"batch_size": 8, "alpha_batch_size": 5, "held_out": regression(20, 7, d=3, seed=5)[:2]}
        history = train(trained, X, Y, steps=25, optimizer=Adam(1e-2), seed=seed, **options)
        ends.append((bits(trained), history.loss.tobytes()))
    assert ends[0] == ends[1]
    assert ends[0][0]["alpha"] != ends[2][0]["alpha"]
    assert ends[0][1] != ends[2][1]


def test_a_function_that_draws_has_a_stream_of_its_own():
    seen = []

    def draw(rng):
        seen.append(rng.standard_normal(3))
        return X, Y

    X, Y, W = regression(30, 7, d=3)
    for _ in range(2):
        train(layer(W), X, Y, steps=3, alpha_every=1, batch_size=8, held_out=draw, seed=4)
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence(4, spawn_key=(1,))))
    np.testing.assert_array_equal(seen[:3], stream.standard_normal((3, 3)))
    np.testing.assert_array_equal(seen[3:], seen[:3])


def test_minibatches_need_no_more_memory_before_the_first_step():
    """Nor is anything of a pass left after the last one."""
    rows = []

    def loss(outputs, targets):
        rows.append(len(outputs))
        return squared(outputs, targets)

    X, Y, W = regression(2000, 7, d=3)
    model = Sequential([layer(W), ReLU(), Linear(np.eye(3))])
    small = len(pickle.dumps(model))
    options = {"held_out": (X, Y), "batch_size": 300.0, "alpha_batch_size": 7, "alpha_every": 1}
    train(model, X, Y, loss=loss, steps=2, **options)
    assert rows == [300] * 6 + [200] + [256] * 7 + [208] + [300, 7] * 2
    with pytest.raises(RuntimeError, match="backward needs a forward pass before it"):
        model.backward(Y)
    assert len(pickle.dumps(model)) == small
    rows.clear()
    train(model, X, Y, loss=loss, steps=1, alpha_every=1)
    assert rows == [2000] * 3


# Early stopping.


def overfitting():
    X, Y, W = regression(72, 20, d=2)
    return X[:12], Y[:12], 0.5 * W, (X[12:], Y[12:])


def test_patience_brings_the_best_state_back():
    X, Y, W, validation = overfitting()
    trained = LoRALinear(W, rank=2, seed=0)
    options = {"steps": 2000, "optimizer": Adam(1e-2), "validation": validation, "validate_every": 3}
    history = train(trained, X, Y, patience=7, **options)
    best = int(np.argmin(history.validation_loss))
    assert history.stopped_early
    assert len(history.loss) == history.validation_steps[-1] == history.best_step + 3 * 7 < 2000
    assert history.best_step == history.validation_steps[best]
    assert 0 < best == len(history.validation_loss) - 8
    assert loss_on(trained, validation) == pytest.approx(history.validation_loss[best], rel=1e-12)
    np.testing.assert_array_equal(history.validation_steps, 3 * np.arange(len(history.validation_loss)))

    without = LoRALinear(W, rank=2, seed=0)
    other = train(without, X, Y, **options | {"steps": len(history.loss), "decay": "constant"})
    assert other.best_step == len(history.loss)
    assert not other.stopped_early
    last = loss_on(without, validation)
    assert last == pytest.approx(other.validation_loss[-1], rel=1e-12)
    assert last > other.validation_loss.min() * 1.001


def test_the_best_state_comes_back_when_the_steps_run_out_too():
    X, Y, W, validation = overfitting()
    trained = LoRALinear(W, rank=2, seed=0)
    options = {"steps": 400, "optimizer": Adam(3e-2), "validation": validation, "validate_every": 150}
    history = train(trained, X, Y, patience=50, **options)
    np.testing.assert_array_equal(history.validation_steps, [0, 150, 300, 400])  # the end is looked at as well
    assert not history.stopped_early
    assert history.best_step == history.validation_steps[history.validation_loss.argmin()] < 400
    assert loss_on(trained, validation) == pytest.approx(history.validation_loss.min(), rel=1e-12)


@pytest.mark.parametrize("patience", [1, 3])
def test_a_plateau_is_no_progress(patience):
    """Equal losses: the first of them counts."""
    X, Y, W, validation = overfitting()
    options = {"optimizer": SGD(1e-300), "validation": validation, "validate_every": 5, "patience": patience}
    history = train(LoRALinear(W, rank=1, seed=0), X, Y, steps=200, **options)
    assert (history.validation_loss == history.validation_loss[0]).all()
    assert history.stopped_early
    assert (history.best_step, len(history.loss)) == (0, 5 * patience)


def test_watching_changes_nothing():
    X, Y, W, validation = overfitting()
    ends = []
    for options in ({}, {"validation": validation, "validate_every": 1}):
        trained = layer(W)
        history = train(trained, X, Y, steps=30, batch_size=5, seed=1, **options)
        ends.append((bits(trained), history.loss.tobytes()))
    assert ends[0] == ends[1]


# The history.


def test_the_history_holds_every_step():
    X, Y, W = regression(30, 7, d=3)
    options = {"validation": (X, Y), "validate_every": 4, "alpha_every": 6}
    history = train(layer(W, alpha=[1.0, 2.0, 3.0]), X, Y, ridge=0.3, steps=12, **options)
    assert history.loss.shape == (12,)
    assert history.alpha["alpha"].shape == (3, 3)
    assert history.alpha_loss.shape == (2,)
    assert history.alpha_steps.tolist() == [0, 6, 12]
    assert history.validation_steps.tolist() == [0, 4, 8, 12]
    np.testing.assert_array_equal(history.alpha["alpha"][0], [1.0, 2.0, 3.0])
    # B = 0 at the start: no ridge yet; the validation loss never has any
    assert history.loss[0] == pytest.approx(history.validation_loss[0], rel=1e-13)
    assert history.validation_loss[1] < history.loss[4]


def test_a_bar_is_shown_on_demand(capsys):
    X, y, W = regression(10, 3)
    train(LoRALinear(W, rank=1), X, y, steps=3)
    assert capsys.readouterr().err == ""
    train(LoRALinear(W, rank=1), X, y, steps=3, progress=True)
    assert "training: 100%" in capsys.readouterr().err


def test_a_loss_of_ones_own():
    X, Y, W = regression(30, 7, d=3)

    def quartic(outputs, targets):
        error = outputs - targets
        return (error**4).sum() / len(error), 4.0 * error**3 / len(error)

    trained = LoRALinear(W, rank=3, seed=0)
    history = train(trained, X, Y, loss=quartic, steps=300, optimizer=Adam(1e-2))
    assert history.loss[0] == pytest.approx(((Y - X @ W.T) ** 4).sum() / 30)
    assert history.loss[-1] < 0.7 * history.loss[0]


@pytest.mark.parametrize("kind", [DoRALinear, LoRALinear])
def test_other_layers_train(kind):
    X, Y, W = regression(60, 7, d=3)
    for ia3 in (None, "output"):
        trained = kind(W, rank=2, seed=0, ia3=ia3)
        history = train(trained, X, Y, steps=200, ridge=0.1, optimizer=Adam(1e-2))
        assert history.loss[-1] < 0.95 * history.loss[0]


# How it ends otherwise.


def networks(seed=0):
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((5, 7)), rng.standard_normal((2, 5))
    return {
        "layer": LoRALinear(first[:2], rank=2, seed=0),
        "deep": Sequential([Linear(first), Linear(second)]),
        "bounded": Sequential([LoRALinear(first, rank=2, seed=0), ReLU(), Linear(second)]),
    }


@pytest.mark.parametrize("name", ["layer", "deep", "bounded"])
@pytest.mark.parametrize("optimizer", [SGD(10.0), SGD(1e200), Adam(1e200)])
def test_divergence_is_an_error_that_says_so(name, optimizer):
    X, Y, _ = regression(30, 7, d=2)
    with pytest.raises(ValueError, match=r"learning rate must be smaller: the training diverged after \d+ steps"):
        train(networks()[name], X, Y, steps=500, optimizer=optimizer, ridge=0.1 if name == "layer" else 0.0)


def test_divergence_at_the_very_last_step_is_seen():
    def steady(outputs, targets):  # noqa: ARG001
        return 0.0, np.ones(outputs.shape)

    X, Y, W = regression(30, 7, d=2)
    with pytest.raises(ValueError, match="diverged after 1 steps"):
        train(moved(W, train_alpha=False), 1e100 * X, Y, steps=1, optimizer=SGD(1e300), loss=steady)


def jump_at(step, value, gradient):
    """A loss that is 1 with slopes of 1, and another from some step on."""
    calls = itertools.count(-1)  # it is looked at once before the first step

    def loss(outputs, targets):  # noqa: ARG001
        late = next(calls) >= step
        return value if late else 1.0, np.full(outputs.shape, gradient if late else 1.0)

    return loss


@pytest.mark.parametrize(("value", "gradient"), [(np.nan, 1.0), (np.inf, 1.0), (1.0, np.nan), (1.0, 1e160)])
@pytest.mark.parametrize("optimizer", [Adam(1e-3), AdamW(1e-3)])
def test_a_loss_that_is_no_longer_finite_ends_the_training(value, gradient, optimizer):
    """And a gradient whose square is not, after which Adam would make steps of 0 for ever."""
    X, Y, W = regression(30, 7, d=2)
    options = {"steps": 20, "optimizer": optimizer}
    with pytest.raises(ValueError, match="diverged after 4 steps"):
        train(LoRALinear(W, rank=2), X, Y, loss=jump_at(4, value, gradient), **options)
    with pytest.raises(ValueError, match=r"inputs must be smaller, or the weights: .* before any step"):
        train(LoRALinear(W, rank=2), X, Y, loss=jump_at(0, value, gradient), **options)


@pytest.mark.parametrize("name", ["inputs", "held_out", "validation"])
@pytest.mark.parametrize("size", [1e155, 1e300])
def test_data_that_are_too_large_are_named(name, size):
    X, Y, W = regression(30, 7, d=2)
    for network in (False, True):
        model = Sequential([layer(W), Linear(1e10 * np.eye(2))]) if network else layer(W)
        state = bits(model)
        with pytest.raises(ValueError, match=f"^{name} must be smaller, or the weights: .* before any step"):
            train(**{"model": model, "inputs": X, "targets": Y, name: size * X if name == "inputs" else (size * X, Y)})
        assert bits(model) == state


def test_a_ridge_that_overflows_is_not_noted_as_a_loss():
    X, Y, W = regression(30, 7, d=2)
    with pytest.raises(ValueError, match="is not finite before any step"):
        train(moved(W), X, Y, ridge=1e308)


def test_errors_of_a_loss_of_ones_own_are_passed_on():
    def picky(outputs, targets):  # noqa: ARG001
        raise ValueError("temperature must be finite")

    X, Y, W = regression(30, 7, d=2)
    with pytest.raises(ValueError, match=r"^temperature must be finite$"):
        train(LoRALinear(W, rank=1), X, Y, loss=picky)


def test_divergence_with_patience_leaves_the_best_state():
    X, Y, W = regression(30, 7, d=2)
    trained = LoRALinear(W, rank=2, seed=0)
    with pytest.raises(ValueError, match="diverged"):
        train(trained, X, Y, steps=500, optimizer=SGD(10.0), validation=(X, Y), validate_every=1, patience=400)
    assert squared(trained.forward(X), Y)[0] <= squared(X @ W.T, Y)[0]


@pytest.mark.parametrize("patience", [None, 1000])
def test_an_interruption_leaves_what_was_learned(patience):
    X, Y, W, validation = overfitting()

    def draws(interrupted):
        """Nothing to learn from the fifth batch, or a break there."""
        for count in range(1, 7):
            if interrupted and count == 5:
                raise KeyboardInterrupt
            yield (np.zeros((1, 20)), np.zeros((1, 2))) if count == 5 else validation

    ends, histories = [], []
    for steps, interrupted in ((1000, True), (50, False)):
        model, batches = layer(W), draws(interrupted)
        options = {"alpha_optimizer": SGD(0.01), "decay": "constant", "validation": validation, "patience": patience}
        try:
            histories.append(
                train(model, X, Y, steps=steps, optimizer=Adam(2e-2), held_out=lambda _: next(batches), **options)  # noqa: B023
            )
        except KeyboardInterrupt:
            assert interrupted
        ends.append(bits(model))
    assert len(histories) == 1
    assert ends[0] == ends[1]
    best = histories[0].validation_loss.min()
    assert histories[0].validation_loss[-1] > 1.01 * best
    assert loss_on(model, validation) == pytest.approx(best if patience else histories[0].validation_loss[-1])


def test_a_learned_state_survives_another_training_of_an_equal_layer():
    X, Y, W = regression(30, 7, d=3)
    trained, other = layer(W), layer(W)
    train(trained, X, Y, steps=20, optimizer=Adam(1e-2))
    state = bits(trained)
    train(other, X, Y, steps=10, optimizer=Adam(1e-1))
    assert bits(trained) == state


# Bad input.

X, Y, SOURCE = regression(12, 4, d=2)
CLASSES = np.arange(12) % 2
BAD = [
    ("model", object()),
    ("model", ReLU()),
    ("model", None),
    ("inputs", np.ones((11, 4))),
    ("inputs", np.full((12, 4), np.nan)),
    ("inputs", np.ones((12, 3))),
    ("inputs", "nonsense"),
    ("targets", Y[:, :1]),
    ("targets", Y[:11]),
    ("targets", [1.0, [2.0]]),
    ("targets", np.full((12, 2), np.nan)),
    ("targets", np.ma.masked_array(Y, mask=Y > 1.0)),
    ("held_out", (X, np.full((12, 2), np.nan))),
    ("held_out", (X, np.ma.masked_array(Y, mask=Y > 1.0))),
    ("validation", (X, np.full((12, 2), np.inf))),
    ("validation", (X, np.ma.masked_array(Y, mask=Y > 1.0))),
    ("loss", "hinge"),
    ("loss", None),
    ("loss", lambda outputs, targets: 1.0),  # noqa: ARG005
    ("loss", lambda outputs, targets: ("much", outputs)),  # noqa: ARG005
    ("loss", lambda outputs, targets: (1.0, "steep")),  # noqa: ARG005
    ("ridge", -1.0),
    ("steps", 0),
    ("steps", 2.5),
    ("batch_size", 13),
    ("batch_size", 0),
    ("optimizer", "adam"),
    ("optimizer", Adam),
    ("decay", "cosine"),
    ("decay", ["linear"]),
    ("held_out", 3.0),
    ("held_out", (X, Y, Y)),
    ("held_out", (X, Y[:5])),
    ("held_out", (X[:0], Y[:0])),
    ("alpha_optimizer", None),
    ("alpha_every", 0),
    ("alpha_every", 3),
    ("alpha_batch_size", 13),
    ("alpha_decay", "none"),
    ("validation", X),
    ("validation", (X, Y[:5])),
    ("validate_every", -1),
    ("patience", 0),
    ("patience", 3),
    ("seed", -1),
    ("progress", "yes"),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_input_is_refused_before_anything_is_changed(name, value):
    model = layer(SOURCE)
    state = bits(model)
    word = {"inputs": "inputs|x"}.get(name, name)
    with pytest.raises(ValueError, match=rf"\b({word})\b.* must|must .*\b{word}\b"):
        train(**{"model": model, "inputs": X, "targets": Y, "alpha_every": 1, "steps": 2} | {name: value})
    assert bits(model) == state


@pytest.mark.parametrize("part", ["targets", "held_out", "validation"])
def test_bad_targets_anywhere_are_refused_before_anything_is_changed(part):
    """A label that the first minibatches would not meet, nor the first rows."""
    inputs, classes = np.tile(X, (50, 1)), np.tile(CLASSES, 50)
    labels = np.where(np.arange(600) == 599, 7, classes)
    model = layer(SOURCE)
    state = bits(model)
    given = {"targets": classes} | {part: labels if part == "targets" else (inputs, labels)}
    with pytest.raises(ValueError, match="targets must be classes from 0 to 1"):
        train(model, inputs, loss="cross_entropy", batch_size=2, alpha_batch_size=2, steps=300, **given)
    assert bits(model) == state


def test_held_out_data_need_an_alpha():
    for model in (LoRALinear(SOURCE, rank=1), layer(SOURCE, train_alpha=False)):
        with pytest.raises(ValueError, match="held_out must be None"):
            train(model, X, Y, held_out=(X, Y))


def test_a_function_that_draws_batches_is_held_to_its_contract():
    with pytest.raises(ValueError, match="alpha_batch_size must be None"):
        train(layer(SOURCE), X, Y, held_out=lambda rng: (X, Y), alpha_batch_size=3)  # noqa: ARG005
    for batch in (None, (X, Y[:3]), (np.full((2, 4), np.nan), Y[:2])):
        with pytest.raises(ValueError, match="held_out must"):
            train(layer(SOURCE), X, Y, held_out=lambda rng, batch=batch: batch, alpha_every=1)  # noqa: ARG005
    with pytest.raises(ValueError, match="targets must have shape"):
        train(layer(SOURCE), X, Y, held_out=lambda rng: (X, Y[:, :1]), alpha_every=1)  # noqa: ARG005


@pytest.mark.parametrize("switch", ["merge", "disable"])
def test_a_layer_that_does_not_run_as_itself_is_refused(switch):
    """Its gradients are 0 or missing, and yet weight decay and ridge would move it."""
    for deep in (False, True):
        one = moved(SOURCE)
        model = Sequential([Linear(np.eye(4)), Sequential([one])]) if deep else one
        getattr(one, switch)()
        state = bits(model)
        options = {"ridge": 0.1, "validation": (X, Y), "patience": 3}
        with pytest.raises(ValueError, match="model must be neither merged nor disabled to be trained"):
            train(model, X, Y, **options)
        assert bits(model) == state
        one.unmerge().enable()
        train(model, X, Y, steps=10, **options)


def test_a_ridge_on_nothing_is_refused():
    layers = {
        "full": Linear(SOURCE),
        "alpha": layer(SOURCE, rank=0),
        "ia3": LoRALinear(SOURCE, rank=0, ia3="output"),
        "deep": Sequential([Linear(np.eye(4)), ReLU(), LoRALinear(SOURCE, rank=0, ia3="input")]),
    }
    for model in layers.values():
        with pytest.raises(ValueError, match=r"ridge must be 0 for a model without an additive update, got 0\.1"):
            train(model, X, Y, ridge=0.1)
        train(model, X, Y, steps=10)


def test_more_steps_than_a_history_has_room_for():
    with pytest.raises(ValueError, match=r"the history of so many steps would need 7\.45e\+11 GiB"):
        train(layer(SOURCE), X, Y, steps=10**20)


def test_defaults_are_those_of_the_paper():
    default = {name: given.default for name, given in inspect.signature(train).parameters.items()}
    assert default["optimizer"] == AdamW(1e-4, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.01)
    assert default["alpha_optimizer"] == Adam(5e-3, betas=(0.9, 0.999), eps=1e-8)
    assert (default["alpha_every"], default["validate_every"], default["steps"]) == (10, 10, 1000)
    assert (default["decay"], default["alpha_decay"], default["ridge"]) == ("linear", "constant", 0.0)


@pytest.mark.parametrize("optimizer", [SGD(0.1), Adam(1e-2), AdamW(1e-2)])
def test_data_without_a_finite_squared_gradient_change_nothing(optimizer):
    layer = LoRALinear([[1e-60, 1e-60]], rank=1, seed=0)
    before = layer.state_dict()
    with pytest.raises(ValueError, match="must be smaller"):
        train(layer, np.full((2, 2), 1e200), np.zeros((2, 1)), steps=3, optimizer=optimizer)
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])
