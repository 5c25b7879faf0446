"""Seeds and streams: one entropy, and for every role in a computation its own child, named by an explicit key.

Children are made without `spawn`, which counts them in the caller's object: so that object is left as it was, and the
streams of one role do not depend on which others there are.
"""

from typing import Any

import numpy as np

from rmt_alpha._validation import integer

Seed = int | np.random.SeedSequence | np.random.Generator | None


def seed_sequence(seed: Any) -> np.random.SeedSequence:
    """Return the root of all streams: of an int, itself, drawn from a Generator, or from the operating system."""
    if isinstance(seed, np.random.SeedSequence):
        return seed
    if isinstance(seed, np.random.Generator):
        return np.random.SeedSequence(int.from_bytes(seed.bytes(16), "little"))
    return np.random.SeedSequence(None if seed is None else integer("seed", seed, low=0))


def child(root: np.random.SeedSequence, *key: int) -> np.random.SeedSequence:
    """Return the child of `root` with this key."""
    return np.random.SeedSequence(root.entropy, spawn_key=(*root.spawn_key, *key), pool_size=root.pool_size)


def stream(root: np.random.SeedSequence, *key: int) -> np.random.Generator:
    """Return a generator of its own, seeded by the child of `root` with this key."""
    return np.random.Generator(np.random.PCG64(child(root, *key)))
