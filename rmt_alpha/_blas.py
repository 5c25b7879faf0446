"""One BLAS thread for computations that repeat small linear algebra.

More threads gain nothing there, lose much on a busy machine, and split sums in an order that depends on their number:
with one, results are bit-identical wherever they are computed on the same machine.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Limit the BLAS libraries that are loaded to one thread, for the time of a block."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
