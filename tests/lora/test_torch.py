"""Layers, losses and optimizers against PyTorch, and exported adapters in PEFT, where these are installed."""

import numpy as np
import pytest

from rmt_alpha.lora.interchange import from_peft, glora_config, peft_config, to_glora, to_peft
from rmt_alpha.lora.layers import AlphaLoRALinear, DoRALinear
from rmt_alpha.lora.losses import softmax_cross_entropy, squared
from rmt_alpha.lora.network import Linear, ReLU, Sequential, Tanh
from rmt_alpha.lora.optimizers import SGD, Adam, AdamW
from tests.lora.test_interchange import METHODS, adapter, alphas
from tests.lora.test_layers import EVERY, assert_close, build, every

torch = pytest.importorskip("torch")


def tensors(arrays, grad=False):
    return {name: torch.tensor(array, requires_grad=grad) for name, array in arrays.items()}


def transcribed(layer, values, x):
    """The layer as one would write it in PyTorch."""
    if isinstance(layer, Sequential):
        for place, part in enumerate(layer.layers):
            own = {k.removeprefix(f"{place}."): v for k, v in values.items() if k.startswith(f"{place}.")}
            x = transcribed(part, own, x)
        return x
    if isinstance(layer, Tanh | ReLU):
        return torch.tanh(x) if isinstance(layer, Tanh) else torch.relu(x)
    if isinstance(layer, Linear):
        return torch.nn.functional.linear(x, values["weight"], values["bias"])
    W, b = torch.tensor(layer.weight), None if layer.bias is None else torch.tensor(layer.bias)
    if layer.ia3 == "input":
        x = x * values["ia3_l"]
    y = torch.nn.functional.linear(x, W)
    if isinstance(layer, AlphaLoRALinear):
        y = values["alpha"] * (y if b is None or not layer.scale_bias else y + b)
        b = None if layer.scale_bias else b
    if layer.rank:
        size = layer.lora_alpha / (layer.rank**0.5 if layer.rank_stabilized else layer.rank)
        y = y + size * (x @ values["lora_A"].T @ values["lora_B"].T)
    if isinstance(layer, DoRALinear):
        norm = torch.linalg.norm(W + size * values["lora_B"] @ values["lora_A"], dim=1)
        y = y * values["lora_magnitude_vector"] / (norm.detach() if layer.detach_norm else norm)
    y = y if b is None else y + b
    return y * values["ia3_l"] if layer.ia3 == "output" else y


def compare(layer, x, g):
    x_torch = torch.tensor(x, requires_grad=True)
    values = tensors(layer.state_dict(), grad=True)
    y = transcribed(layer, values, x_torch)
    assert layer.forward(x) == pytest.approx(y.detach().numpy(), rel=1e-12, abs=1e-12)
    y.backward(torch.tensor(g))
    grads, grad_input = layer.backward(g)
    expected = {name: values[name].grad.numpy() for name in layer.parameters()}
    assert_close(grads | {"x": grad_input}, expected | {"x": x_torch.grad.numpy()}, 1e-12)


@every
@pytest.mark.parametrize("batch", [(7,), (2, 4), ()])
def test_layers(kind, options, batch):
    rng = np.random.default_rng(1)
    compare(build(kind, seed=2, **options), rng.standard_normal((*batch, 5)), rng.standard_normal((*batch, 3)))


def test_a_network():
    first = [build(kind, seed=i, n_out=5, **({"rank": 2} | options)) for i, (kind, options) in enumerate(EVERY[:3])]
    layers = Sequential([first[0], Tanh(), first[1], ReLU(), first[2], Linear(np.ones((2, 5)), [0.5, -1.0])])
    rng = np.random.default_rng(3)
    compare(layers, rng.standard_normal((9, 5)), rng.standard_normal((9, 2)))


@pytest.mark.parametrize("shape", [(6,), (2, 3)])
def test_losses(shape):
    rng = np.random.default_rng(4)
    f, y, classes = rng.standard_normal((*shape, 4)), rng.standard_normal((*shape, 4)), rng.integers(0, 4, shape)
    f[0] += 800.0
    outputs = torch.tensor(f, requires_grad=True)
    expected = torch.nn.functional.mse_loss(outputs, torch.tensor(y), reduction="sum") / classes.size
    expected.backward()
    value, gradient = squared(f, y)
    assert value == pytest.approx(expected.item(), rel=1e-13)
    assert gradient == pytest.approx(outputs.grad.numpy(), rel=1e-13)

    outputs = torch.tensor(f, requires_grad=True)
    expected = torch.nn.functional.cross_entropy(outputs.reshape(-1, 4), torch.tensor(classes.ravel()))
    expected.backward()
    value, gradient = softmax_cross_entropy(f, classes)
    assert value == pytest.approx(expected.item(), rel=1e-12)
    assert gradient == pytest.approx(outputs.grad.numpy(), rel=1e-11, abs=1e-14)


@pytest.mark.parametrize(
    ("rule", "theirs"),
    [
        (SGD(0.03), lambda p: torch.optim.SGD(p, 0.03)),
        (SGD(0.03, momentum=0.8), lambda p: torch.optim.SGD(p, 0.03, momentum=0.8)),
        (Adam(0.02), lambda p: torch.optim.Adam(p, 0.02)),
        (Adam(0.02, (0.7, 0.9), 1e-3), lambda p: torch.optim.Adam(p, 0.02, (0.7, 0.9), 1e-3)),
        (AdamW(0.02, (0.9, 0.99)), lambda p: torch.optim.AdamW(p, 0.02, (0.9, 0.99))),
        (AdamW(0.02, weight_decay=0.3), lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.3)),
    ],
)
def test_optimizers(rule, theirs):
    rng = np.random.default_rng(5)
    parameters = {"a": rng.standard_normal((3, 2)), "b": np.array(0.7)}
    copies = tensors(parameters, grad=True)
    optimizer, state = theirs(list(copies.values())), rule.start(parameters)
    for step in range(50):
        grads = {"a": rng.standard_normal((3, 2)), "b": np.array(rng.standard_normal())}
        rate = rule.learning_rate * (1.0 - step / 50)
        for name, copy in copies.items():
            copy.grad = torch.tensor(grads[name])
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        rule.step(parameters, grads, state, rate)
        for name, copy in copies.items():
            assert parameters[name] == pytest.approx(copy.detach().numpy(), rel=1e-10, abs=1e-12)


# PEFT


def around(layers):
    """A torch model that has the frozen layers at their paths."""
    model = torch.nn.Module()
    for path, layer in layers.items():
        *parents, last = path.split(".")
        place = model
        for name in parents:
            if not hasattr(place, name):
                place.add_module(name, torch.nn.Module())
            place = getattr(place, name)
        linear = torch.nn.Linear(5, 3, bias=layer.bias is not None, dtype=torch.float64)
        linear.weight.data.copy_(torch.tensor(layer.weight))
        if layer.bias is not None:
            linear.bias.data.copy_(torch.tensor(layer.bias))
        place.add_module(last, linear)
    return model


@pytest.mark.filterwarnings("default")  # of PEFT and what it imports
@pytest.mark.parametrize("method", [*METHODS, "GLoRA"])
def test_peft_adapts_no_other_modules(method):
    """Not even one whose path ends as an adapted one's does, be it a linear layer or something that has no adapter."""
    peft = pytest.importorskip("peft")
    layers = adapter(method) if method in METHODS else alphas()
    config = peft_config(layers) if method in METHODS else glora_config(layers)
    model = around(layers | {f"block.{path}": layer for path, layer in layers.items()})
    model.norms = around(layers)
    for path in layers:
        parent, _, last = path.rpartition(".")
        setattr(model.norms.get_submodule(parent), last, torch.nn.LayerNorm(5))
    wrapped = peft.get_peft_model(model, peft.get_peft_config(config), autocast_adapter_dtype=False)
    adapted = {name for name, module in wrapped.base_model.model.named_modules() if hasattr(module, "base_layer")}
    assert adapted == set(layers)


@pytest.mark.filterwarnings("default")  # of PEFT and what it imports
@pytest.mark.parametrize("method", [*METHODS, "GLoRA", "GLoRA, bias not scaled"])
def test_peft_does_what_the_exported_layers_do(method):
    peft = pytest.importorskip("peft")
    if method in METHODS:
        layers = adapter(method)
        arrays, config = to_peft(layers), peft_config(layers)
    else:
        layers = alphas() if method == "GLoRA" else alphas("a", "d")
        arrays, config = to_glora(layers), glora_config(layers)
    model = peft.get_peft_model(around(layers), peft.get_peft_config(config), autocast_adapter_dtype=False)
    result = peft.set_peft_model_state_dict(model, tensors(arrays))
    assert not result.unexpected_keys
    assert not any("lora_" in name or "ia3_" in name for name in result.missing_keys)
    theirs = peft.get_peft_model_state_dict(model)
    assert {name: tuple(tensor.shape) for name, tensor in theirs.items()} == {k: v.shape for k, v in arrays.items()}
    if method in METHODS:
        for path, state in from_peft(theirs).items():
            assert_close(state, {k: v for k, v in layers[path].state_dict().items() if k != "alpha"}, 0.0)
    x = np.random.default_rng(6).standard_normal((4, 5))
    for path, layer in layers.items():
        y = model.base_model.model.get_submodule(path)(torch.tensor(x)).detach().numpy()
        assert y == pytest.approx(layer.forward(x), rel=1e-12, abs=1e-12)
