"""Functions of arrays that other array libraries may drive, as they drive NumPy's ufuncs."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rmt_alpha._validation import FloatArray, array_override, broadcast_shape, real_array


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
        name = getattr(function, "func", function).__name__  # that of a partial function is its function's
        self.__name__ = name.removeprefix("_").removesuffix("_array")

    def __call__(self, *args: Any, dtype: Any = np.float64) -> Any:
        """Evaluate at `args`, one per name; `dtype` is what lazy array types are told, always float64."""
        foreign = [arg for arg in args if array_override(arg) is not None]
        if foreign:
            shapes = {}
            for name, arg in zip(self.names, args, strict=True):  # what is plain can be checked before anything is lazy
                if array_override(arg) is None:
                    shapes[name] = real_array(name, arg, infinite=name == "alpha").shape
            broadcast_shape(shapes)
            for arg in foreign:
                override: Any = array_override(arg)
                try:
                    result = override(arg, self, "__call__", *args, dtype=dtype)
                except ValueError as error:
                    if str(error).startswith(("the shapes of the arguments", *(f"{name} must" for name in self.names))):
                        raise  # it is ours
                    raise ValueError(f"{self._described(args)} cannot be combined: {error}") from error
                if result is not NotImplemented:
                    return result
            raise ValueError(f"{self._described(args)} cannot be combined: convert them to one kind of array")
        return self.function(**dict(zip(self.names, args, strict=True)))

    def _described(self, args: tuple[Any, ...]) -> str:
        """Name the arguments that are arrays, with their types and shapes."""
        arrays = [(n, a) for n, a in zip(self.names, args, strict=True) if np.ndim(a)]
        return ", ".join(f"{name} ({type(arg).__name__} {np.shape(arg)})" for name, arg in arrays)


def elementwise(function: Callable[..., FloatArray], arguments: dict[str, Any], optional: tuple[str, ...] = ()) -> Any:
    """Evaluate `function` at its keyword `arguments`, leaving out the optional ones that are None.

    Returns a Python float for scalars, an array for arrays, and the caller's own type for duck arrays, which, where
    they can have a name, get that of the function and not that of an argument.
    """
    given = {name: value for name, value in arguments.items() if value is not None or name not in optional}
    evaluate = Elementwise(function, list(given))
    result = evaluate(*given.values())
    if isinstance(result, np.ndarray | np.generic):
        return float(result) if result.ndim == 0 else result
    return result.rename(evaluate.__name__) if hasattr(result, "name") and hasattr(result, "rename") else result
