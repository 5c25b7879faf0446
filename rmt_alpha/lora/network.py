"""Networks of layers: what lies between the adapted layers, and what lies after them.

A network is a `Module` made of modules; its parameters carry the place of their layer, as in ``"0.lora_A"``. `Linear`
trains its weights themselves: to pre-train a network, or to compare an adapter with full fine-tuning. Where the
arithmetic of a layer overflows, its network stops with a `ValueError` that says where.
"""

import math
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, check_memory, integer, real_array
from rmt_alpha.lora.layers import (
    Arrays,
    LoRALinear,
    Module,
    NonFiniteError,
    _gradient_at,
    _inputs,
    _weight_and_bias,
)


class Linear(Module):
    """A linear layer whose weights are trained: ``y = Wx + b``.

    Parameters
    ----------
    weight : array_like, shape (out, in)
        Initial weights, copied.
    bias : array_like, shape (out,), optional
        Initial bias, copied; without it there is none.

    Raises
    ------
    ValueError
        If a shape does not fit or an entry is not finite.

    Examples
    --------
    >>> Linear([[1.0, 2.0]], [0.5]).forward([[1.0, 1.0], [0.0, 1.0]])
    array([[3.5],
           [2.5]])
    """

    def __init__(self, weight: ArrayLike, bias: ArrayLike | None = None) -> None:
        super().__init__()
        W, b = _weight_and_bias(weight, bias)
        self.weight, self.bias = W.copy(), None if b is None else b.copy()
        self._trained["weight"] = self.weight
        if self.bias is not None:
            self._trained["bias"] = self.bias

    @classmethod
    def random(cls, in_features: int, out_features: int, seed: Seed = None) -> "Linear":
        """Return a layer with normal weights of variance 2/in and no bias yet (0), the start for networks of ReLUs.

        Parameters
        ----------
        in_features, out_features : int
            Numbers of inputs and outputs.
        seed : int, SeedSequence, Generator or None
            Seed of the weights.

        Returns
        -------
        Linear
            A layer to be trained.

        Raises
        ------
        ValueError
            If a number is not a positive integer, or the weights would not fit in memory.
        """
        shape = integer("out_features", out_features), integer("in_features", in_features)
        check_memory("weights of out_features × in_features", 8 * math.prod(shape))
        weight = stream(seed_sequence(seed), 3).standard_normal(shape) * math.sqrt(2.0 / shape[1])
        return cls(weight, np.zeros(shape[0]))

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs; see `rmt_alpha.lora.layers.Module.forward`."""
        inputs = _inputs(x, self.weight.shape[1])
        self._kept = {"x": inputs}
        with np.errstate(all="ignore"):
            y = inputs @ self.weight.T
            return y if self.bias is None else y + self.bias

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients; see `rmt_alpha.lora.layers.Module.backward`."""
        x = self._seen()["x"]
        g = _gradient_at(grad_output, (*x.shape[:-1], len(self.weight)))
        rows = g.reshape(-1, len(self.weight))
        with np.errstate(all="ignore"):
            grads = {"weight": rows.T @ x.reshape(-1, x.shape[-1])}
            if self.bias is not None:
                grads["bias"] = rows.sum(axis=0)
            return grads, g @ self.weight


class ReLU(Module):
    """The positive part of every entry; its derivative at 0 is 0."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs; see `rmt_alpha.lora.layers.Module.forward`."""
        inputs = real_array("x", x)
        self._kept = {"x": inputs}
        return np.maximum(inputs, 0.0)

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients; see `rmt_alpha.lora.layers.Module.backward`."""
        x = self._seen()["x"]
        return {}, np.where(x > 0.0, _gradient_at(grad_output, x.shape), 0.0)


class Tanh(Module):
    """The hyperbolic tangent of every entry."""

    def __init__(self) -> None:
        super().__init__()

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs; see `rmt_alpha.lora.layers.Module.forward`."""
        y: FloatArray = np.tanh(real_array("x", x))
        self._kept = {"y": y.copy()}  # what is returned may be changed
        return y

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients; see `rmt_alpha.lora.layers.Module.backward`."""
        y = self._seen()["y"]
        return {}, _gradient_at(grad_output, y.shape) * (1.0 - y) * (1.0 + y)


class Sequential(Module):
    """Layers one after the other.

    Parameters
    ----------
    layers : iterable of Module
        The layers, the first on the inputs; at least one, and none twice, as each keeps one forward pass.

    Raises
    ------
    ValueError
        If there is no layer, something is not a layer, or one occurs twice.

    Examples
    --------
    >>> from rmt_alpha.lora.layers import AlphaLoRALinear
    >>> first = AlphaLoRALinear([[1.0, -1.0], [2.0, 0.0]], rank=1, alpha=0.5, seed=0)
    >>> network = Sequential([first, ReLU(), Linear([[1.0, 1.0]])])
    >>> network.forward([[1.0, 3.0], [3.0, 1.0]])
    array([[1.],
           [4.]])
    >>> sorted(network.parameters())
    ['0.alpha', '0.lora_A', '0.lora_B', '2.weight']
    """

    def __init__(self, layers: Iterable[Module]) -> None:
        super().__init__()
        try:
            self.layers = tuple(layers)
        except TypeError:
            raise ValueError(f"layers must be layers in their order, got {layers!r}") from None
        if not self.layers or not all(isinstance(layer, Module) for layer in self.layers):
            raise ValueError(f"layers must hold at least one layer, and only layers, got {self.layers!r}")
        self._leaves = tuple(leaf for layer in self.layers for leaf in getattr(layer, "_leaves", (layer,)))
        if len({id(leaf) for leaf in self._leaves}) < len(self._leaves):
            raise ValueError("layers must not hold a layer twice: it could keep one forward pass only")

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs; see `rmt_alpha.lora.layers.Module.forward`."""
        self._forget()
        y = real_array("x", x)
        for place, layer in enumerate(self.layers):
            if place and not np.isfinite(y).all():
                raise NonFiniteError(f"x or the parameters must be smaller: the outputs of layer {place - 1} overflow")
            y = layer.forward(y)
        return y

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients; see `rmt_alpha.lora.layers.Module.backward`."""
        later, g = self._down_to_first(grad_output)
        own, g = self.layers[0].backward(g)
        return self._named([own, *later]), g

    def parameter_gradients(self, grad_output: ArrayLike) -> Arrays:
        """Return the first part of `backward` alone; see `rmt_alpha.lora.layers.Module.parameter_gradients`."""
        later, g = self._down_to_first(grad_output)
        return self._named([self.layers[0].parameter_gradients(g), *later])

    def _down_to_first(self, grad_output: ArrayLike) -> tuple[list[Arrays], FloatArray]:
        """Return the gradients of all layers but the first, and the gradient at the outputs of that one."""
        g = real_array("grad_output", grad_output)
        later: list[Arrays] = []
        for layer in reversed(self.layers[1:]):
            own, g = layer.backward(g)
            if not np.isfinite(g).all():
                raise NonFiniteError("grad_output or the parameters must be smaller: a gradient at a layer overflows")
            later.insert(0, own)
        return later, g

    def parameters(self) -> Arrays:
        """Return the trainable arrays of all layers; see `rmt_alpha.lora.layers.Module.parameters`."""
        return self._named(layer.parameters() for layer in self.layers)

    def update_penalty(self) -> tuple[float, Arrays]:
        """Return the sum over the layers; see `rmt_alpha.lora.layers.Module.update_penalty`."""
        values, grads = zip(*(layer.update_penalty() for layer in self.layers), strict=True)
        return sum(values), self._named(grads)

    def merge(self) -> Self:
        """Run all adapted layers on merged weights until `unmerge`; the layers' own `merge` returns these.

        Returns
        -------
        Sequential
            The network itself.
        """
        for layer in self._adapters():
            layer.merge()
        return self

    def unmerge(self) -> Self:
        """Run on frozen weights and adapters again.

        Returns
        -------
        Sequential
            The network itself.
        """
        for layer in self._adapters():
            layer.unmerge()
        return self

    def disable(self) -> AbstractContextManager[Any]:
        """Run all adapted layers as the frozen ones from now on.

        Returns
        -------
        contextlib.AbstractContextManager
            A context that puts every layer back as it was: ``with network.disable(): …``.
        """
        context = ExitStack()
        for layer in self._adapters():
            context.push(layer.disable())
        return context

    def enable(self) -> Self:
        """Undo `disable` in all layers.

        Returns
        -------
        Sequential
            The network itself.
        """
        for layer in self._adapters():
            layer.enable()
        return self

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy a state into all layers; see `rmt_alpha.lora.layers.Module.load_state_dict`."""
        if any(layer.merged for layer in self._adapters()):
            raise RuntimeError("a merged layer takes no state: call unmerge() first")
        super().load_state_dict(state)

    def _state(self) -> Arrays:
        return self._named(layer._state() for layer in self.layers)

    def _adapters(self) -> tuple[LoRALinear, ...]:
        return tuple(adapter for layer in self.layers for adapter in layer._adapters())

    def _forget(self) -> None:
        for layer in self.layers:
            layer._forget()

    @staticmethod
    def _named(arrays: Iterable[Arrays]) -> Arrays:
        return {f"{place}.{name}": array for place, own in enumerate(arrays) for name, array in own.items()}
