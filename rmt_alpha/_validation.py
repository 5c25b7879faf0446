"""Checks of arguments, shared by every front: one wording, one set of rules.

Every check raises a `ValueError` that names the argument, the value and the allowed range, and returns the
argument in the form the mathematics wants. Strings, booleans, complex numbers, objects and masked arrays are not
real numbers here, even where NumPy would convert them.
"""

import math
import numbers
import operator
import os
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def array_override(value: object) -> Any:
    """Return the ``__array_ufunc__`` of a type that brings its own (xarray, dask, pandas, …), else None."""
    override = getattr(type(value), "__array_ufunc__", None)
    return None if override is np.ndarray.__array_ufunc__ else override


def plain(name: str, value: object) -> None:
    """Refuse labelled and lazy arrays where their labels would be dropped and their shapes paired by position."""
    if array_override(value) is not None:
        raise ValueError(
            f"{name} must be a plain array here, got {type(value).__name__}: convert it with numpy.asarray"
        )


def real_array(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    open_low: bool = False,
    open_high: bool = False,
    infinite: bool = False,
    nan: bool = False,
) -> FloatArray:
    """Return `value` as a float64 array whose entries all lie between `low` and `high`.

    The ends belong to the range unless `open_low`, `open_high`; nan only with `nan`, and an infinite entry only with
    `infinite`. One pass for the smallest and one for the largest entry, so that checking costs little beside
    computing.
    """
    array = _float64(name, value)
    if array.size and not nan:
        smallest, largest = (array.item(),) * 2 if array.ndim == 0 else (float(array.min()), float(array.max()))
        # nan fails both comparisons, since min and max propagate it
        legal = (smallest > low if open_low else smallest >= low) and (largest < high if open_high else largest <= high)
        if not legal or not (infinite or (math.isfinite(smallest) and math.isfinite(largest))):
            _refuse(name, array, low, high, open_low, open_high, infinite)
    return array


def _float64(name: str, value: object) -> FloatArray:
    """Return real numbers as a float64 array."""
    if type(value) is float or type(value) is int:
        try:
            return np.array(float(value))
        except OverflowError:
            raise ValueError(f"{name} must be within the range of float64, got {_show(value)}") from None
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(f"{name} must not be a masked array: fill or drop the masked entries first")
    try:
        raw = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be a real number or an array of them: {error}") from None
    if raw.dtype == np.float64:
        return raw
    if raw.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be real numbers, got {_show(value)} (dtype {raw.dtype})")
    with np.errstate(over="ignore"):
        array = raw.astype(np.float64)
    if raw.dtype.kind == "f" and np.any(np.isinf(array) & np.isfinite(raw)):
        raise ValueError(f"{name} must be within the range of float64, got {_show(value)}")
    return array


def _show(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # an integer with too many digits to print
        return f"something of type {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _refuse(
    name: str, array: FloatArray, low: float, high: float, open_low: bool, open_high: bool, infinite: bool
) -> None:
    below = array <= low if open_low else array < low
    above = array >= high if open_high else array > high
    wrong = np.isnan(array) | below | above
    if not infinite:
        wrong |= np.isinf(array)
    index = np.unravel_index(int(np.argmax(wrong)), array.shape)
    where = f" at index {tuple(int(i) for i in index)}" if array.shape not in ((), (1,)) else ""
    left = "(" if open_low or low == -math.inf else "["
    right = ")" if open_high or high == math.inf else "]"
    allowed = f"in {left}{low:g}, {high:g}{right}"
    if low == -math.inf and high == math.inf:
        allowed = "a number (not nan)" if infinite else "finite"
    raise ValueError(f"{name} must be {allowed}, got {float(array[index])!r}{where}")


def real(name: str, value: object, low: float = -math.inf, high: float = math.inf, **ends: bool) -> float:
    """Return a single real number between `low` and `high`; the options are those of `real_array`."""
    array = real_array(name, value, low, high, **ends)
    if array.ndim:
        raise ValueError(f"{name} must be a single number, got an array of shape {array.shape}")
    return float(array)


def integer(name: str, value: object, low: int = 1) -> int:
    """Return a single integer that is at least `low`; 3.0 counts as an integer, True and 3.5 do not."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        try:
            number = operator.index(value) if isinstance(value, numbers.Integral) else float(value)
        except OverflowError:
            number = math.inf
        if isinstance(number, int) or number.is_integer():
            if number >= low:
                return int(number)
        elif math.isfinite(number) and number >= low:
            raise ValueError(f"{name} must be an integer, got {_show(value)}")
    raise ValueError(f"{name} must be an integer of at least {low}, got {_show(value)}")


def boolean(name: str, value: object) -> bool:
    """Return True or False; nothing else counts as one of them, not even 0 and 1."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False, got {_show(value)}")
    return bool(value)


def in_range(array: FloatArray, digits: int) -> NDArray[np.bool_]:
    """Tell which entries are 0 or of a size within 1e±digits."""
    size = np.abs(array)
    return np.asarray((size == 0.0) | ((size >= 10.0**-digits) & (size <= 10.0**digits)))


def lengths(rows: FloatArray) -> FloatArray:
    """Return the Euclidean norms of rows, in which no square over- or underflows."""
    largest = np.abs(rows).max(axis=-1, keepdims=True)
    units = np.where(largest > 0.0, largest, 1.0)
    return np.asarray(largest[..., 0] * np.linalg.norm(rows / units, axis=-1))


def power_of_two(array: FloatArray) -> float:
    """Return the power of two just above the size of the largest entry, 1 if all are 0: dividing by it is exact."""
    largest = float(np.abs(array).max(initial=0.0))
    return math.ldexp(1.0, math.frexp(largest)[1]) if largest > 0.0 else 1.0


def broadcast_shape(shapes: dict[str, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the common shape of the named shapes; refuse those that do not fit together or into memory."""
    listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items() if shape)
    try:
        shape = np.broadcast_shapes(*shapes.values())
    except ValueError:
        raise ValueError(f"the shapes of the arguments do not broadcast: {listed}") from None
    check_memory(f"a result of shape {shape} (from {listed})", 8.0 * math.prod(shape))
    return shape


def check_memory(what: str, n_bytes: float) -> None:
    """Refuse, before anything is allocated, what needs more than the memory of this machine."""
    if n_bytes < 2.0**26:  # not worth asking
        return
    n_bytes = min(n_bytes, sys.float_info.max)  # an integer may be beyond float64
    limit = _memory_limit()
    if n_bytes > limit:
        raise ValueError(
            f"{what} would need {n_bytes / 2**30:.3g} GiB of memory, more than the {limit / 2**30:.3g} GiB available"
        )


def _memory_limit() -> float:
    """Return the bytes this process may hope for: three quarters of the physical memory, or of the cgroup's limit."""
    limit = 8.0 * 2**30
    if hasattr(os, "sysconf"):
        limit = float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max") as file:
            limit = min(limit, float(file.read()))
    except (OSError, ValueError):  # no cgroup here, or "max"
        pass
    return 0.75 * limit
