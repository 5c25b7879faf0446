"""Time a training step of an α-LoRA layer: against what it cannot do without, and against merged weights.

    python -m benchmarks.lora_layer

One forward and one backward pass of a square layer of rank 8, 256 inputs, all gradients: of A, B, α and the inputs.
Beside it

- the two products with the frozen weights that any such pass has, ``xW₀ᵀ`` and ``gW₀``,
- a pass in NumPy through ``W = αW₀ + sBA``, by the chain rule: the way of a program that makes W anew at every step.

Checked first: the products against the layer at B = 0, α = 1, and all gradients of the second.
"""

import argparse
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.suite import Agreement, Case, Pair, to_rounding
from benchmarks.timing import ratio, side_by_side
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256, 1024], help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=15, help="alternating rounds (default: %(default)s)")
    arguments = parser.parse_args()
    print(f"{'size':>6}{'layer':>12}{'products / layer':>18}{'merged / layer':>16}")
    for size in arguments.sizes:
        layer, x, g = data(size)
        tasks = partial(step, layer, x, g), partial(products, layer.weight, x, g), partial(merged, layer, x, g)
        with threadpool_limits(1, user_api="blas"):
            seconds = side_by_side(*tasks, repeats=arguments.repeats)
        millis = 1e3 * np.median(seconds[:, 0])
        print(f"{size:6}{millis:9.2f} ms{ratio(seconds, 0, 1):18.2f}{ratio(seconds, 0, 2):16.2f}")


if __name__ == "__main__":
    main()
