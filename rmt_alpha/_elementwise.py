"""Functions of arrays that other array libraries may drive, as they drive NumPy's ufuncs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rmt_alpha._validation import FloatArray


class Elementwise:
    """A function of broadcasting arrays, bound to its keyword names, that speaks NumPy's ufunc protocol.

    An argument whose type overrides ``__array_ufunc__`` (xarray, dask, pandas, …) takes over: it unwraps its data,
    calls this object again on plain arrays, and wraps the result. So labels and lazy chunks survive, and the function
    itself, its checks included, only ever sees what NumPy can convert.
    """

    nout = 1
    signature = None

    def __init__(self, function: Callable[..., FloatArray], names: list[str]) -> None:
        self.function = function
        self.names = names
        self.nin = len(names)
        self.__name__ = function.__name__

    def __call__(self, *args: Any, dtype: Any = np.float64) -> Any:
        """Evaluate at `args`, one per name; `dtype` is what lazy array types are told, always float64."""
        for arg in args:
            override = getattr(type(arg), "__array_ufunc__", None)
            if override is not None and override is not np.ndarray.__array_ufunc__:
                result = override(arg, self, "__call__", *args, dtype=dtype)
                if result is not NotImplemented:
                    return result
        return self.function(**dict(zip(self.names, args, strict=True)))


def elementwise(function: Callable[..., FloatArray], arguments: dict[str, Any], optional: tuple[str, ...] = ()) -> Any:
    """Evaluate `function` at its keyword `arguments`, leaving out the optional ones that are None.

    Returns a Python float for scalars, an array for arrays, and the caller's own type for duck arrays.
    """
    given = {name: value for name, value in arguments.items() if value is not None or name not in optional}
    result = Elementwise(function, list(given))(*given.values())
    return float(result) if isinstance(result, np.ndarray | np.generic) and result.ndim == 0 else result
