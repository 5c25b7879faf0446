"""The one place that configures Numba.

Three decorators, typed so that strict type checkers accept what they decorate:

- `jit`: a function that other kernels call,
- `ufunc`: a NumPy ufunc of a scalar kernel,
- `routine`: a loop over arrays that Python calls,

and `local`, a small vector for the inside of a loop.

There is none for generalised ufuncs: Numba caches those in two files that know each other by the order in which the
process compiled, and processes that compile at the same time leave a mixture that crashes.

Kernels compile at their first call, run without the interpreter's lock, follow NumPy's error model (1/0 is inf, not an
exception) and keep strict IEEE arithmetic. A process that forks while one of its threads compiles leaves the child a
lock that nobody opens: call what the children will call once before, or spawn them.

Compiled code is cached on disk in a folder whose name holds a hash of this package's sources: Numba itself looks only
at the file of the outermost function, and would run a stale kernel after an edit in another module. In the folder every
piece of code has an index of its own. Numba would list all signatures of a function in one, for all processors, and
name the files of code by their number in the list, without a lock: processes that compile different pieces at the same
time leave an index that takes one for another, which fails, or crashes, in every process that comes later. Hence the
folder is that of one version of Numba and one processor, and `_CacheFiles` keeps the signatures of a routine apart.

With ``NUMBA_DISABLE_JIT=1`` the same names run the plain Python functions, so that coverage and debuggers see every
branch.
"""

import hashlib
import inspect
import math
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, update_wrapper, wraps
from typing import Any, Protocol, TypeVar, cast

import numba
import numpy as np

from rmt_alpha._validation import FloatArray

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_numba: Any = numba  # typed loosely: Numba's decorators have no types
config = _numba.config

_lock = threading.Lock()

_BLOCK = 2**14
"""Elements in a block of `_Kernel`: ten operands fill 1.3 MB, and a block costs far more than the call of its loop."""


class Ufunc(Protocol):
    """What a decorated kernel offers to its callers."""

    def __call__(self, *args: Any) -> Any:
        """Evaluate the kernel, broadcasting the arguments."""


def jit(function: Kernel) -> Kernel:
    """Compile a scalar function for use inside other kernels (it is inlined there and cached with them)."""
    return cast(Kernel, _numba.njit(error_model="numpy", nogil=True)(function))


def routine(function: Kernel) -> Kernel:
    """Compile a function over arrays, scalars and NumPy generators, lazily and with a cache, releasing the GIL."""
    if config.DISABLE_JIT:
        return function
    compiled: Any = None

    @wraps(function)
    def call(*args: Any) -> Any:
        nonlocal compiled
        if compiled is None:
            with _lock:
                if compiled is None:
                    with _cache_folder() as cached:
                        dispatcher = _numba.njit(error_model="numpy", nogil=True, cache=cached)(function)
                    if cached:
                        dispatcher._cache._cache_file = _CacheFiles(dispatcher._cache)
                    compiled = dispatcher  # which other threads call from here on
        return compiled(*args)

    return cast(Kernel, call)


class _CacheFiles:
    """The files of a routine in Numba's cache: an index and a file of code for each signature."""

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def _of(self, key: Any) -> Any:
        function, place = self._cache._impl.filename_base, self._cache._impl.locator
        files = _numba.core.caching.IndexDataCacheFile
        return files(self._cache.cache_path, f"{function}-{_digest(repr(key))}", place.get_source_stamp())

    def load(self, key: Any) -> Any:
        """Return what is stored under Numba's key (signature, processor, bytecode), or None."""
        return self._of(key).load(key)

    def save(self, key: Any, data: Any) -> None:
        """Store the data under the key; who stores the same at the same time stores it in the same place."""
        self._of(key).save(key, data)


def ufunc(function: Callable[..., float]) -> Ufunc:
    """Make a NumPy ufunc, one float64 output, of a scalar kernel of float64 arguments."""
    if config.DISABLE_JIT:
        return _interpreted(function)
    return _Kernel(function)


class _Kernel:
    """A ufunc that is compiled, or read from the cache, when it is first called, and takes long sweeps by blocks.

    Numba's loop is vectorised only where every operand is contiguous, which a scalar beside an array is not. So scalars
    are spread over one block, once, and the loop runs over blocks that stay in the processor's cache.
    """

    def __init__(self, function: Callable[..., float]) -> None:
        update_wrapper(self, function)
        self._function = function
        self._compiled: Any = None

    def _evaluate(self, *args: Any) -> Any:
        if self._compiled is None:
            with _lock:
                if self._compiled is None:
                    arguments = ",".join(["float64"] * len(inspect.signature(self._function).parameters))
                    with _cache_folder() as cached:
                        self._compiled = _numba.vectorize([f"float64({arguments})"], cache=cached)(self._function)
        with np.errstate(all="ignore"):  # a vectorised loop evaluates both sides of a branch
            return self._compiled(*args)

    def __call__(self, *args: Any) -> Any:
        swept = {np.shape(arg) for arg in args if np.ndim(arg)}
        size = math.prod(next(iter(swept))) if len(swept) == 1 else 0
        if size < 2 * _BLOCK or all(map(np.ndim, args)):
            return self._evaluate(*args)
        result = np.empty(swept.pop())
        flat = result.reshape(-1)
        spread = [None if np.ndim(arg) else np.full(_BLOCK, arg) for arg in args]
        arrays = [np.ascontiguousarray(arg).reshape(-1) for arg in args]
        for start in range(0, size, _BLOCK):
            stop = min(start + _BLOCK, size)
            block = (a[start:stop] if s is None else s[: stop - start] for a, s in zip(arrays, spread, strict=True))
            self._evaluate(*block, flat[start:stop])
        return result


def _local() -> Callable[..., FloatArray]:
    if config.DISABLE_JIT:
        return lambda size, like: np.empty(len(size), like.dtype)

    @_numba.extending.intrinsic  # type: ignore[untyped-decorator]
    def local(_typing: Any, size: Any, like: Any) -> Any:
        array = _numba.types.Array(like.dtype, 1, "C")

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:  # noqa: ARG001
            item = context.get_value_type(like.dtype)
            bytes_ = context.get_constant(_numba.types.intp, context.get_abi_sizeof(item))
            length = context.get_constant(_numba.types.intp, size.count)
            result = _numba.np.arrayobj.make_array(array)(context, builder)
            data = _numba.core.cgutils.alloca_once(builder, item, size=size.count)
            _numba.np.arrayobj.populate_array(
                result, data=data, shape=[length], strides=[bytes_], itemsize=bytes_, meminfo=None
            )
            return result._getvalue()

        return array(size, like), generate

    return cast(Callable[..., FloatArray], local)


local = _local()
"""``local(size, like)``: an uninitialised vector as long as the tuple `size`, of the type of the array `like`.

It lies on the stack, so that loops that Numba unrolls keep it in registers, and ends with the function that made it.
"""


@contextmanager
def _cache_folder() -> Iterator[bool]:
    """Point Numba at this package's cache while a kernel is compiled; yield whether there is one."""
    folder, before = _cache_path(), config.CACHE_DIR
    config.CACHE_DIR = folder or before
    try:
        yield folder is not None
    finally:
        config.CACHE_DIR = before


@cache
def _cache_path() -> str | None:
    """Return the cache folder of these sources and this compiler, or None where it cannot be written."""
    root = config.CACHE_DIR or os.path.join(_user_cache(), "rmt_alpha")
    folder = os.path.join(root, f"rmt_alpha-{_source_hash()}-{_compiler_hash()}")
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


def _compiler_hash() -> str:
    processor = _numba.core.registry.cpu_target.target_context.codegen().magic_tuple()
    return _digest(repr((_numba.__version__, processor)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _interpreted(function: Callable[..., float]) -> Ufunc:
    """Return the Python function as a ufunc: NumPy scalars in, so that its arithmetic follows IEEE as well."""
    loop = np.vectorize(lambda *args: function(*map(np.float64, args)), otypes=[np.float64])

    def broadcast(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return loop(*args)[()]

    return cast(Ufunc, wraps(function)(broadcast))
