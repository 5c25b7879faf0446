"""Networks of layers: what lies between the adapted layers, and what lies after them.

A network is a `Module` made of modules; its parameters carry the place of their layer, as in ``"0.lora_A"``. `Linear`
trains its weights themselves: to pre-train a network, or to compare an adapter with full fine-tuning.
"""

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, integer, real_array
from rmt_alpha.lora.layers import Arrays, Module


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
        self.weight = self._trained["weight"] = real_array("weight", weight).copy()
        if self.weight.ndim != 2 or self.weight.size == 0:
            raise ValueError(f"weight must be a matrix of shape (out, in), got shape {self.weight.shape}")
        self.bias = None
        if bias is not None:
            self.bias = self._trained["bias"] = real_array("bias", bias).copy()
            if self.bias.shape != self.weight.shape[:1]:
                raise ValueError(f"bias must have shape {self.weight.shape[:1]} to fit weight, got {self.bias.shape}")
        self._x: FloatArray | None = None

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
            If a number is not a positive integer.
        """
        shape = integer("out_features", out_features), integer("in_features", in_features)
        weight = stream(seed_sequence(seed)).standard_normal(shape) * math.sqrt(2.0 / shape[1])
        return cls(weight, np.zeros(shape[0]))

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs; see `rmt_alpha.lora.layers.Module.forward`."""
        inputs = real_array("x", x)
        if inputs.shape[-1:] != self.weight.shape[1:]:
            raise ValueError(f"x must have a last axis of length {self.weight.shape[1]}, got shape {inputs.shape}")
        self._x = inputs
        with np.errstate(all="ignore"):
            y = inputs @ self.weight.T
            return y if self.bias is None else y + self.bias

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients; see `rmt_alpha.lora.layers.Module.backward`."""
        x = _seen(self._x)
        g = _fitting(grad_output, (*x.shape[:-1], len(self.weight)))
        rows = g.reshape(-1, len(self.weight))
        with np.errstate(all="ignore"):
            grads = {"weight": rows.T @ x.reshape(-1, x.shape[-1])}
            if self.bias is not None:
                grads["bias"] = rows.sum(axis=0)
            return grads, g @ self.weight


class ReLU(Module):
    """The positive part of every entry; its derivative at 0 is 0."""

    _x: FloatArray | None = None

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs; see `rmt_alpha.lora.layers.Module.forward`."""
        self._x = real_array("x", x)
        return np.maximum(self._x, 0.0)

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients; see `rmt_alpha.lora.layers.Module.backward`."""
        x = _seen(self._x)
        return {}, np.where(x > 0.0, _fitting(grad_output, x.shape), 0.0)


class Tanh(Module):
    """The hyperbolic tangent of every entry."""

    _y: FloatArray | None = None

    def forward(self, x: ArrayLike) -> FloatArray:
        """Return the outputs; see `rmt_alpha.lora.layers.Module.forward`."""
        y: FloatArray = np.tanh(real_array("x", x))
        self._y = y.copy()  # what is returned may be changed
        return y

    def backward(self, grad_output: ArrayLike) -> tuple[Arrays, FloatArray]:
        """Return the gradients; see `rmt_alpha.lora.layers.Module.backward`."""
        y = _seen(self._y)
        return {}, _fitting(grad_output, y.shape) * (1.0 - y) * (1.0 + y)


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
        y = real_array("x", x)
        for layer in self.layers:
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
            later.insert(0, own)
        return later, g

    def parameters(self) -> Arrays:
        """Return the trainable arrays of all layers; see `rmt_alpha.lora.layers.Module.parameters`."""
        return self._named(layer.parameters() for layer in self.layers)

    def update_penalty(self) -> tuple[float, Arrays]:
        """Return the sum over the layers; see `rmt_alpha.lora.layers.Module.update_penalty`."""
        values, grads = zip(*(layer.update_penalty() for layer in self.layers), strict=True)
        return sum(values), self._named(grads)

    def load_state_dict(self, state: Mapping[str, ArrayLike]) -> None:
        """Copy a state into all layers; see `rmt_alpha.lora.layers.Module.load_state_dict`."""
        if any(getattr(layer, "merged", False) for layer in self._leaves):
            raise RuntimeError("a merged layer takes no state: call unmerge() first")
        super().load_state_dict(state)

    def _state(self) -> Arrays:
        return self._named(layer._state() for layer in self.layers)

    @staticmethod
    def _named(arrays: Iterable[Arrays]) -> Arrays:
        return {f"{place}.{name}": array for place, own in enumerate(arrays) for name, array in own.items()}


def _seen(kept: FloatArray | None) -> FloatArray:
    if kept is None:
        raise RuntimeError("backward needs a forward pass before it")
    return kept


def _fitting(grad_output: ArrayLike, shape: tuple[int, ...]) -> FloatArray:
    g = real_array("grad_output", grad_output)
    if g.shape != shape:
        raise ValueError(f"grad_output must have shape {shape}, got {g.shape}")
    return g
