"""A training step of an α-LoRA layer against what it cannot do without, and against merged weights.

    python -m benchmarks lora-layer lora-floor

One forward and one backward pass of a square layer of rank 8, 256 inputs, all gradients: of A, B, α and the inputs.
Beside it

- the two products with the frozen weights that any such pass has, ``xW₀ᵀ`` and ``gW₀``,
- a pass in NumPy through ``W = αW₀ + sBA``, by the chain rule: the way of a program that makes W anew at every step.

Checked first: the products against the layer at B = 0, α = 1, and all gradients of the second.
"""

from functools import partial

import numpy as np

from benchmarks.suite import Agreement, Case, Pair, to_rounding
from rmt_alpha.lora import AlphaLoRALinear

BATCH, RANK = 256, 8


def data(size: int) -> tuple[AlphaLoRALinear, np.ndarray, np.ndarray]:
    """Return a layer with an adapter that is not 0, inputs, and gradients at its outputs."""
    rng = np.random.default_rng(0)
    layer = AlphaLoRALinear(rng.standard_normal((size, size)) / size**0.5, alpha=0.8, rank=RANK, lora_alpha=12, seed=0)
    layer.parameters()["lora_B"][:] = rng.standard_normal((size, RANK))
    return layer, rng.standard_normal((BATCH, size)), rng.standard_normal((BATCH, size))


def step(layer: AlphaLoRALinear, x: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    """Return outputs, gradient at the inputs, and those of A, B and α."""
    outputs = layer.forward(x)
    grads, at_inputs = layer.backward(g)
    return [outputs, at_inputs, *(grads[name] for name in ("lora_A", "lora_B", "alpha"))]


def products(weight: np.ndarray, x: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    return [x @ weight.T, g @ weight]


def merged(layer: AlphaLoRALinear, x: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    """Return the same as `step`, through the merged weights."""
    parameters, s = layer.parameters(), layer.scaling
    A, B, alpha = (parameters[name] for name in ("lora_A", "lora_B", "alpha"))
    W = alpha * layer.weight + s * B @ A
    of_W = g.T @ x
    return [x @ W.T, g @ W, s * B.T @ of_W, s * (of_W @ A.T), np.vdot(of_W, layer.weight)]


def flat(arrays: list[np.ndarray]) -> np.ndarray:
    """Return all entries, each array in units of its largest."""
    return np.concatenate([np.ravel(array) / np.abs(array).max() for array in arrays])


def floor(size: int) -> Pair:
    """Return a step: ours, and the two products without which there is none."""
    layer, x, g = data(size)

    def agreement() -> Agreement:
        fresh = AlphaLoRALinear(layer.weight, rank=RANK, seed=0)
        return to_rounding(flat(step(fresh, x, g)[:2]), flat(products(layer.weight, x, g)))

    return Pair(partial(step, layer, x, g), partial(products, layer.weight, x, g), agreement)


def through_merged(size: int) -> Pair:
    """Return a step: ours, and through the merged weights."""
    layer, x, g = data(size)
    ours, theirs = partial(step, layer, x, g), partial(merged, layer, x, g)
    return Pair(ours, theirs, lambda: to_rounding(flat(ours()), flat(theirs())))


_JOB = f"forward and backward pass of an α-LoRA layer, width × width, rank {RANK}, {BATCH} inputs"
CASES = {
    "lora-layer": Case(
        _JOB,
        "plain NumPy through W = αW₀ + sBA",
        "width",
        through_merged,
        sizes=(64, 128, 256, 512, 1024),
        quick=(16, 32),
    ),
    "lora-floor": Case(
        _JOB,
        "the two products with W₀ alone, less than the job",
        "width",
        floor,
        sizes=(64, 128, 256, 512, 1024),
        quick=(16, 32),
    ),
}
