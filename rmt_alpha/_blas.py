"""One BLAS thread for computations that repeat small linear algebra.

More threads gain nothing there, lose much on a busy machine, and split sums in an order that depends on their number:
with one, results are bit-identical wherever they are computed on the same machine.

The limit belongs to the process, not to a thread: so blocks that overlap, nested or in several threads, are counted;
the first sets the limit and the last lifts it.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

_lock = threading.Lock()
_blocks = 0
_limit: Any = None
_found: tuple[int, ThreadpoolController] | None = None
"""Libraries, and how many modules had been loaded when they were looked for."""


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit the BLAS libraries that are loaded to one thread, for the time of a block."""
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _blocks, _limit, _found
    with _lock:
        if _blocks == 0:
            modules = len(sys.modules)  # SciPy, for one, brings a BLAS of its own when it is loaded
            if _found is None or _found[0] != modules:
                _found = modules, ThreadpoolController()  # takes milliseconds
            _limit = _found[1].limit(limits=1, user_api="blas")
        _blocks += 1


def _leave() -> None:
    global _blocks, _limit
    with _lock:
        _blocks -= 1
        if _blocks == 0:
            _limit.restore_original_limits()
            _limit = None
