"""The one place that configures Numba.

Three decorators, typed so that strict type checkers accept what they decorate:

- `jit`: a scalar function that other kernels call,
- `ufunc`: a NumPy ufunc of a scalar kernel,
- `gufunc`: a generalised ufunc, for kernels with several outputs.

All compile at their first call, follow NumPy's error model (1/0 is inf, not an exception) and keep strict IEEE
arithmetic. Compiled code is cached on disk in a folder whose name holds a hash of this package's sources: Numba
itself looks only at the file of the outermost function, and would run a stale kernel after an edit in another
module.

With ``NUMBA_DISABLE_JIT=1`` the same names run the plain Python functions, so that coverage and debuggers see every
branch.
"""

import hashlib
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, Protocol, TypeVar, cast

import numba
import numpy as np

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

config: Any = numba.config  # typed loosely, as Numba's decorators have no types
_vectorize: Any = numba.vectorize
_guvectorize: Any = numba.guvectorize

_lock = threading.Lock()


class Ufunc(Protocol):
    """What a decorated kernel offers to its callers."""

    def __call__(self, *args: Any) -> Any:
        """Evaluate the kernel, broadcasting the arguments."""


def jit(function: Kernel) -> Kernel:
    """Compile a scalar function for use inside other kernels (it is inlined there and cached with them)."""
    return cast(Kernel, numba.njit(error_model="numpy", nogil=True)(function))


def ufunc(function: Callable[..., float]) -> Ufunc:
    """Make a NumPy ufunc, one float64 output, of a scalar kernel of float64 arguments."""
    if config.DISABLE_JIT:
        return _interpreted(function, None)
    with _cache_folder() as cached:
        compiled: Ufunc = _vectorize(cache=cached)(function)
    return compiled


def gufunc(signature: str) -> Callable[[Callable[..., None]], Ufunc]:
    """Make a generalised ufunc; the caller passes the output arrays, so that it compiles at its first call."""

    def decorate(function: Callable[..., None]) -> Ufunc:
        if config.DISABLE_JIT:
            return _interpreted(function, signature)
        with _cache_folder() as cached:
            compiled: Ufunc = _guvectorize(signature, cache=cached)(function)
        return compiled

    return decorate


@contextmanager
def _cache_folder() -> Iterator[bool]:
    """Point Numba at this package's cache while a kernel is declared; yield whether there is one."""
    folder = _cache_path()
    with _lock:
        before = config.CACHE_DIR
        config.CACHE_DIR = folder or before
        try:
            yield folder is not None
        finally:
            config.CACHE_DIR = before


@cache
def _cache_path() -> str | None:
    """Return the cache folder of these sources, or None where it cannot be written."""
    root = config.CACHE_DIR or os.path.join(_user_cache(), "rmt_alpha")
    folder = os.path.join(root, f"rmt_alpha-{_source_hash()}")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _user_cache() -> str:
    home = os.path.expanduser("~")
    if sys.platform == "win32":
        return os.environ.get("LOCALAPPDATA", home)
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches")
    return os.environ.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")


def _source_hash() -> str:
    package = pathlib.Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _interpreted(function: Callable[..., Any], signature: str | None) -> Ufunc:
    """Return the Python function as a ufunc: NumPy scalars in, so that its arithmetic follows IEEE as well."""
    if signature is None:

        def scalar(*args: Any) -> Any:
            with np.errstate(all="ignore"):
                return function(*map(np.float64, args))

        loop = np.vectorize(scalar, otypes=[np.float64])
        return cast(Ufunc, wraps(function)(lambda *args: loop(*args)[()]))

    inputs, outputs = (part.count("(") for part in signature.split("->"))
    cores = [part.count(",") + 1 if part else 0 for part in signature.replace("->", ",")[1:-1].split("),(")]

    def looped(*args: Any) -> None:
        arrays = [np.asarray(arg) for arg in args]
        shape = np.broadcast_shapes(*(a.shape[: a.ndim - core] for a, core in zip(arrays, cores, strict=True)))
        views = [
            a if i >= inputs else np.broadcast_to(a, shape + a.shape[a.ndim - core :])
            for i, (a, core) in enumerate(zip(arrays, cores, strict=True))
        ]
        assert len(views) == inputs + outputs
        with np.errstate(all="ignore"):
            for index in np.ndindex(shape):
                function(*(view[index] for view in views))

    return cast(Ufunc, wraps(function)(looped))
