"""Small samplers that tests of the runner repeat: module-level, so that any process can make them from their pickle."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import threadpoolctl

from rmt_alpha._random import stream


@dataclass(frozen=True)
class Numbers:
    """Random numbers of two roles, drawn trial by trial."""

    width: int = 2
    chunk: int = 4
    memory: float = 0.0
    seconds: float = 0.0

    @property
    def specification(self) -> dict[str, Any]:
        return {"method": "numbers", "width": self.width, "nested": {"exact": 0.1}}

    @property
    def record(self) -> dict[str, tuple[int, ...]]:
        return {"mean": (self.width,), "cov": (2, self.width)}

    def sample(self, root, trials):
        time.sleep(self.seconds)
        first, second = stream(root, 0), stream(root, 1)
        records = [(first.standard_normal(self.width), second.standard_normal((2, self.width))) for _ in range(trials)]
        mean, cov = zip(*records, strict=True)
        return {"mean": np.array(mean), "cov": np.array(cov)}


@dataclass(frozen=True)
class Faulty(Numbers):
    """The same numbers, but chunk `at` fails while the file `marker` is there."""

    at: int = 3
    marker: str = ""
    how: str = "value"

    def sample(self, root, trials):
        if root.spawn_key[-1] == self.at and Path(self.marker).exists():
            time.sleep(0.3)  # others come first
            if self.how == "exit":
                os._exit(1)
            raise ValueError("gamma must be larger for these samples")
        return super().sample(root, trials)


@dataclass(frozen=True)
class Heavy(Numbers):
    """The same numbers, of a sampler that weighs something."""

    ballast: bytes = b""


@dataclass(frozen=True)
class Threads(Numbers):
    """Records how many threads BLAS has."""

    @property
    def record(self) -> dict[str, tuple[int, ...]]:
        return {"threads": ()}

    def sample(self, root, trials):  # noqa: ARG002
        info = [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        time.sleep(0.01)
        return {"threads": np.full(trials, max(info), dtype=float)}


def two_blas_threads():
    """Make sure that this process has more BLAS threads than a task should use."""
    threadpoolctl.threadpool_limits(2, user_api="blas")
