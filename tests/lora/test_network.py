"""Networks: gradients through all layers by complex step, names, states."""

import copy
import pickle

import numpy as np
import pytest

from rmt_alpha.lora.layers import AlphaLoRALinear, DoRALinear, LoRALinear, Module
from rmt_alpha.lora.network import Linear, ReLU, Sequential, Tanh
from tests.lora.test_layers import assert_close, complex_step, dense_output, dense_update, randomise


def network(seed=0, activation=Tanh, adapters=0):
    rng = np.random.default_rng(seed)

    def weights(n_out, n_in):
        return rng.standard_normal((n_out, n_in)), rng.standard_normal(n_out)

    built = Sequential(
        [
            AlphaLoRALinear(*weights(4, 3), alpha=[0.4, -1.3, 2.0, 0.7], rank=2, lora_alpha=3.0, seed=1),
            activation(),
            Sequential([DoRALinear(*weights(5, 4), rank=3, rank_stabilized=True, seed=2), activation()]),
            LoRALinear(*weights(4, 5), rank=1, lora_alpha=0.6, ia3="input", seed=3),
            activation(),
            Linear(*weights(2, 4)),
        ]
    )
    randomise(built, np.random.default_rng(adapters))
    return built


def analytic(layer, values, x):
    """The network's output for parameters of other values, complex ones too."""
    if isinstance(layer, Sequential):
        for place, part in enumerate(layer.layers):
            own = {k.removeprefix(f"{place}."): v for k, v in values.items() if k.startswith(f"{place}.")}
            x = analytic(part, own, x)
        return x
    if isinstance(layer, Tanh):
        return np.tanh(x)
    if isinstance(layer, ReLU):
        return x * (x.real > 0.0)
    if isinstance(layer, Linear):
        return x @ values["weight"].T + values.get("bias", 0.0)
    return dense_output(layer, values, x)


@pytest.mark.parametrize("activation", [Tanh, ReLU])
@pytest.mark.parametrize("batch", [(6,), (2, 3), (), (0,)])
def test_gradients_through_a_network_are_complex_steps(activation, batch):
    layers = network(4, activation)
    rng = np.random.default_rng(5)
    x, g = rng.standard_normal((*batch, 3)), rng.standard_normal((*batch, 2))
    y = layers.forward(x)
    assert_close({"y": y}, {"y": analytic(layers, layers.parameters(), x).real}, 1e-12)
    grads, grad_input = layers.backward(g)
    alone = layers.parameter_gradients(g)
    assert list(alone) == list(grads)
    assert all(np.array_equal(alone[name], grads[name]) for name in grads)
    expected = complex_step(lambda v: (g * analytic(layers, v, v["x"])).sum(), {**layers.parameters(), "x": x})
    assert_close(grads | {"x": grad_input}, expected, 1e-10)


def test_the_penalty_is_the_sum_over_the_layers():
    layers = network()
    value, grads = layers.update_penalty()
    first, second, third = layers.layers[0], layers.layers[2].layers[0], layers.layers[3]

    def total(values):
        parts = ((first, "0."), (second, "2.0."), (third, "3."))
        return sum(
            (dense_update(part, {k: values[where + k] for k in ("lora_A", "lora_B")}) ** 2).sum()
            for part, where in parts
        )

    own = {name: layers.parameters()[name] for name in grads}
    assert value == pytest.approx(total(own), rel=1e-12)
    assert set(grads) == {f"{where}lora_{x}" for where in ("0.", "2.0.", "3.") for x in "AB"}
    assert_close(grads, complex_step(total, own))


def test_linear_without_a_bias_and_a_random_one():
    layer = Linear(np.arange(6.0).reshape(2, 3))
    x, g = np.random.default_rng(6).standard_normal((4, 3)), np.ones((4, 2))
    assert layer.forward(x) == pytest.approx(x @ np.arange(6.0).reshape(2, 3).T)
    grads, grad_input = layer.backward(g)
    assert grads.keys() == {"weight"}
    assert grads["weight"] == pytest.approx(np.tile(x.sum(axis=0), (2, 1)))
    assert grad_input == pytest.approx(np.tile([3.0, 5.0, 7.0], (4, 1)))
    random = Linear.random(200, 300, seed=1)
    assert random.weight.shape == (300, 200)
    assert not random.bias.any()
    assert random.weight.var() == pytest.approx(2.0 / 200, rel=0.05)
    assert np.array_equal(random.weight, Linear.random(200, 300, seed=1).weight)
    assert not np.array_equal(random.weight, Linear.random(200, 300, seed=2).weight)


def test_linear_trains_copies():
    W, b = np.eye(2), np.zeros(2)
    layer = Linear(W, b)
    for array in layer.parameters().values():
        array += 1.0
    assert np.array_equal(layer.forward([1.0, 0.0]), [3.0, 2.0])
    assert np.array_equal(W, np.eye(2))
    assert not b.any()


def test_relu_has_no_slope_at_zero():
    layer = ReLU()
    assert layer.forward([-1.0, 0.0, 2.0]).tolist() == [0.0, 0.0, 2.0]
    assert layer.backward([1.0, 1.0, 1.0])[1].tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("layer", [Tanh(), ReLU(), LoRALinear(np.eye(3), rank=1, seed=0), network()])
def test_outputs_may_be_changed(layer):
    x = np.random.default_rng(7).standard_normal((2, 3))
    y = layer.forward(x)
    expected = layer.backward(np.ones_like(y))[1].copy()
    y = layer.forward(x)
    y *= 0.0
    assert np.array_equal(layer.backward(np.ones_like(y))[1], expected)


def test_states_and_copies_of_networks():
    layers, other = network(1), network(1, adapters=2)
    x = np.random.default_rng(8).standard_normal((4, 3))
    before = layers.forward(x)
    assert np.abs(other.forward(x) - before).max() > 0.1
    other.load_state_dict(layers.state_dict())
    assert np.array_equal(other.forward(x), before)

    twin = copy.deepcopy(layers)
    for array in twin.parameters().values():
        array += 0.25
    assert np.array_equal(layers.forward(x), before)
    assert twin.forward(x) == pytest.approx(analytic(twin, twin.parameters(), x).real, rel=1e-11)
    assert layers.parameter_count() == sum(array.size for array in layers.parameters().values())


def test_a_state_needs_unmerged_layers_however_deep_and_changes_all_or_nothing():
    layers = network()
    state = layers.state_dict()
    layers.layers[2].layers[0].merge()
    with pytest.raises(RuntimeError, match="merged layer takes no state"):
        layers.load_state_dict(state)
    layers.layers[2].layers[0].unmerge()
    wrong = {name: array + 1.0 for name, array in state.items()} | {"5.bias": np.ones(3)}
    with pytest.raises(ValueError, match=r"5\.bias must have shape \(2,\), got \(3,\)"):
        layers.load_state_dict(wrong)
    assert all(np.array_equal(layers.state_dict()[name], array) for name, array in state.items())


def test_overflow_gives_no_warnings():
    layer = Linear([[1e300]], [0.0])
    assert layer.forward([1e10])[0] == np.inf
    assert layer.backward([1e10])[1][0] == np.inf


def test_what_overflows_inside_a_network_is_said_where():
    layers = Sequential([Linear([[1.0]]), Linear([[1e300]]), Linear([[1e300]])])
    with pytest.raises(ValueError, match="x or the parameters must be smaller: the outputs of layer 1 overflow"):
        layers.forward([1e10])
    layers.forward([1e-300])
    with pytest.raises(ValueError, match="grad_output or the parameters must be smaller"):
        layers.backward([1e100])


def test_all_adapters_of_a_network_are_merged_and_switched_together():
    layers = network(9)
    x = np.random.default_rng(10).standard_normal((4, 3))
    before = layers.forward(x)
    adapted = [layers.layers[0], layers.layers[2].layers[0], layers.layers[3]]
    assert layers.merge() is layers
    assert all(layer.merged for layer in adapted)
    assert layers.forward(x) == pytest.approx(before, rel=1e-11, abs=1e-12)
    assert layers.unmerge() is layers
    assert np.array_equal(layers.forward(x), before)

    hidden = x
    for layer in adapted:
        hidden = np.tanh(hidden @ layer.weight.T + layer.bias)
    expected = layers.layers[-1].forward(hidden)
    adapted[1].disable()
    with layers.disable():
        assert all(layer.disabled for layer in adapted)
        assert layers.forward(x) == pytest.approx(expected, rel=1e-13)
    assert [layer.disabled for layer in adapted] == [False, True, False]  # as it was
    layers.disable()
    assert layers.forward(x) == pytest.approx(expected, rel=1e-13)
    assert layers.enable() is layers
    assert np.array_equal(layers.forward(x), before)


def test_what_a_pass_keeps_is_not_copied():
    """Ten thousand rows in one pass, and a pickle of the size of the network."""
    layers = network()
    small = len(pickle.dumps(layers))
    x = np.random.default_rng(0).standard_normal((10_000, 3))
    before = layers.forward(x)
    assert len(pickle.dumps(layers)) == small < 10_000
    for other in (copy.deepcopy(layers), pickle.loads(pickle.dumps(layers))):
        with pytest.raises(RuntimeError, match="backward needs a forward pass before it"):
            other.backward(before)
        assert np.array_equal(other.forward(x), before)
    assert layers.backward(before)[1].shape == x.shape


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Linear(np.ones(3)), r"weight must be a matrix of shape \(out, in\)"),
        (lambda: Linear(np.ones((2, 3)), np.ones(3)), r"bias must have shape \(2,\) to fit weight, got \(3,\)"),
        (lambda: Linear.random(0, 2), "in_features must be an integer of at least 1"),
        (lambda: Linear.random(2, 1.5), "out_features must be an integer"),
        (lambda: Linear.random(10**7, 10**7), "weights of out_features × in_features would need"),
        (lambda: Linear(np.ones((2, 3))).forward(np.ones(2)), "x must have a last axis of length 3"),
        (lambda: Sequential([]), "layers must hold at least one layer"),
        (lambda: Sequential(3), "layers must be layers in their order, got 3"),
        (lambda: Sequential([ReLU(), np.tanh]), "layers must hold at least one layer, and only layers"),
        (lambda: Sequential([relu := ReLU(), Tanh(), relu]), "layers must not hold a layer twice"),
        (lambda: Sequential([tanh := Tanh(), Sequential([tanh])]), "layers must not hold a layer twice"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("layer", [Linear(np.eye(2)), ReLU(), Tanh(), Sequential([ReLU()])])
def test_backward_passes_need_forward_passes_of_their_shape(layer):
    with pytest.raises(RuntimeError, match="backward needs a forward pass before it"):
        layer.backward([1.0, 1.0])
    layer.forward(np.ones((3, 2)))
    with pytest.raises(ValueError, match=r"grad_output must have shape \(3, 2\), got \(2, 2\)"):
        layer.backward(np.ones((2, 2)))
    with pytest.raises(ValueError, match="x must be finite"):
        layer.forward([np.nan, 1.0])
    assert isinstance(layer, Module)


def test_a_refused_input_is_not_remembered():
    layer = Linear(np.eye(2))
    layer.forward([1.0, 2.0])
    with pytest.raises(ValueError, match="x must have a last axis"):
        layer.forward([1.0, 2.0, 3.0])
    assert layer.backward([1.0, 1.0])[0]["weight"].tolist() == [[1.0, 2.0], [1.0, 2.0]]


def test_a_failed_forward_pass_leaves_nothing_to_go_back_through():
    layers = [Linear([[1.0]]) for _ in range(3)]
    network = Sequential(layers)
    network.forward([[1.0]])
    layers[1].weight[:] = 1e200
    with pytest.raises(ValueError, match="overflow"):
        network.forward([[1e200]])
    with pytest.raises(RuntimeError, match="forward pass"):
        network.backward([[1.0]])
