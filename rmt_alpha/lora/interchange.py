r"""Interchange with PEFT: names and shapes of adapters in Hugging Face's library, without the library.

PEFT keeps an adapter as arrays, ``base_model.model.<path>.<name>`` with the path of the adapted module, and a
configuration of its own, in which the scaling s is: `to_peft` and `peft_config`. One adapter is of one method:

    LORA     lora_A.weight (r, in), lora_B.weight (out, r), with DoRA lora_magnitude_vector (out,)
    IA3      ia3_l (out, 1) on the output, bias included, or (1, in) on the input
    GLORA    glora_A … glora_E, see below

GLoRA (arXiv 2306.07967) replaces W₀ and b₀ by

    W₀ + W₀∘A + B,        b₀ + b₀∘D + E + W₀C.

α-LoRA, ``diag(α)W₀ + s BA``, is its member with ``A = α − 1`` (a vector, one number for each row), ``B = s BA`` (of low
rank), ``C = E = 0``, and ``D = α − 1`` if α scales the bias, else 0. PEFT has one setting for the kinds of A and B. So
A too is written in low-rank factors, ``(α − 1) 1ᵀ`` filled up with zeros to the common rank. That is exact for PEFT to
apply; training there would not keep A to one number a row.

The way into torch, for layers that were trained here around the weights of a torch model::

    config = peft.get_peft_config(peft_config(layers))                     # or glora_config
    model = peft.get_peft_model(model, config)
    arrays = {name: torch.from_numpy(array) for name, array in to_peft(layers).items()}   # or to_glora
    peft.set_peft_model_state_dict(model, arrays)

Configurations name the modules by a regular expression of their whole paths, since PEFT compares the entries of a list
with the ends of paths: ``["fc"]`` would mean ``block.fc`` as well. Arrays are float64 here; PEFT casts them to the type
of its own. Where the arithmetic overflows they hold inf, without a warning.
"""

import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._validation import FloatArray, real_array
from rmt_alpha.lora.layers import AlphaLoRALinear, Arrays, DoRALinear, LoRALinear

_PREFIX = "base_model.model."
_SUFFIXES = {
    "lora_A": "lora_A.weight",
    "lora_B": "lora_B.weight",
    "lora_magnitude_vector": "lora_magnitude_vector",
    "ia3_l": "ia3_l",
}

Layers = Mapping[str, LoRALinear]
"""Layers by the path of the module that they stand for, as in ``"model.layers.0.self_attn.q_proj"``."""


def to_peft(layers: Layers) -> Arrays:
    """Return the arrays of a LoRA, DoRA or IA³ adapter, named as PEFT names them.

    Parameters
    ----------
    layers : mapping of str to LoRALinear
        Layers by the path of the module they stand for, all of one method: LoRA, DoRA, or IA³ (rank 0 with `ia3`).

    Returns
    -------
    dict of str to ndarray
        Copies of the adapters' arrays.

    Raises
    ------
    ValueError
        If there is no layer, a path is not one, methods are mixed, or PEFT has no such method: rank 0 without `ia3`,
        `ia3` beside a rank, and α ≠ 1, for which there is `to_glora`.

    Examples
    --------
    >>> for name, array in to_peft({"head": LoRALinear([[1.0, 2.0], [0.0, 1.0]], rank=1, seed=0)}).items():
    ...     print(name, array.shape)
    base_model.model.head.lora_A.weight (1, 2)
    base_model.model.head.lora_B.weight (2, 1)
    """
    _method(layers)
    arrays: Arrays = {}
    for path, layer in layers.items():
        state = layer.state_dict()
        state.pop("alpha", None)  # it is 1
        if layer.ia3:
            state["ia3_l"] = state["ia3_l"].reshape((1, -1) if layer.ia3 == "input" else (-1, 1))
        arrays |= {f"{_PREFIX}{path}.{_SUFFIXES[name]}": array for name, array in state.items()}
    return arrays


def from_peft(arrays: Mapping[str, ArrayLike]) -> dict[str, Arrays]:
    """Return the states of layers from the arrays of a LoRA, DoRA or IA³ adapter of PEFT.

    Parameters
    ----------
    arrays : mapping of str to array_like
        What `to_peft` returns, or what PEFT saved: anything that NumPy takes for arrays of real numbers.

    Returns
    -------
    dict of str to dict of str to ndarray
        For each module path what `rmt_alpha.lora.layers.LoRALinear.load_state_dict` takes.

    Raises
    ------
    ValueError
        If there is no array, a name is not one of PEFT's, an entry is not finite, a shape is not as it should be, or
        the arrays of a module are not those of one method, as where A comes without B.

    Notes
    -----
    The scaling and whether IA³ is on the input are in PEFT's configuration, and given when a layer is built.

    Examples
    --------
    >>> layers = {"head": LoRALinear([[1.0, 2.0], [0.0, 1.0]], rank=1, seed=0)}
    >>> for path, state in from_peft(to_peft(layers)).items():
    ...     layers[path].load_state_dict(state)
    """
    pattern = re.compile(rf"{re.escape(_PREFIX)}(.+)\.({'|'.join(map(re.escape, _SUFFIXES.values()))})")
    states: dict[str, Arrays] = {}
    given: Any = arrays
    if not isinstance(given, Mapping) or not given:
        raise ValueError(f"arrays must be a mapping of PEFT's names to arrays, with at least one, got {given!r}")
    for key, value in given.items():
        found = pattern.fullmatch(key) if isinstance(key, str) else None
        if not found:
            raise ValueError(f"arrays must have names {_PREFIX}<path>.{{{', '.join(_SUFFIXES.values())}}}, got {key!r}")
        path, suffix = found.groups()
        name, array = suffix.removesuffix(".weight"), real_array(key, value)
        if name == "ia3_l" and array.ndim == 2 and 1 in array.shape:
            array = array.ravel()
        if array.ndim != (2 if suffix.endswith(".weight") else 1):
            raise ValueError(f"{key} has shape {array.shape}, which is not PEFT's")
        states.setdefault(path, {})[name] = array.copy()
    for path, state in states.items():
        shapes = {name: array.shape for name, array in state.items()}
        match shapes:
            case {"ia3_l": _, **rest} if not rest:
                continue
            case {"lora_A": (rank, _), "lora_B": (out, r), **rest} if rank == r:
                if rest in ({}, {"lora_magnitude_vector": (out,)}):
                    continue
        raise ValueError(f"arrays must be those of one method, as to_peft has them, got shapes {shapes} at {path!r}")
    return states


def peft_config(layers: Layers) -> dict[str, Any]:
    """Return what PEFT's ``adapter_config.json`` must say, so that the arrays of `to_peft` do what the layers do.

    Parameters
    ----------
    layers : mapping of str to LoRALinear
        Layers as in `to_peft`.

    Returns
    -------
    dict
        Plain numbers, strings and dictionaries; ``json.dumps`` takes it, and so do PEFT's configurations.

    Raises
    ------
    ValueError
        As `to_peft`, or if some but not all layers are rank-stabilised.

    Examples
    --------
    >>> layer = LoRALinear([[1.0, 2.0], [0.0, 1.0]], rank=1, lora_alpha=3.0, seed=0)
    >>> config = peft_config({"head": layer})
    >>> config["peft_type"], config["target_modules"], config["r"], config["lora_alpha"], config["use_rslora"]
    ('LORA', 'head', 1, 3.0, False)
    """
    method = _method(layers)
    if method == "IA3":
        inputs = _pattern(path for path, layer in layers.items() if layer.ia3 == "input")
        return {"peft_type": "IA3", "target_modules": _pattern(layers), "feedforward_modules": inputs or []}
    stabilised = {layer.rank_stabilized for layer in layers.values()}
    if len(stabilised) > 1:
        raise ValueError("layers must be all rank-stabilised or none of them, as PEFT has one setting for all")
    first = next(iter(layers.values()))
    # PEFT takes the first pattern that fits the end of a path: the longest must come first
    paths = sorted(layers, key=len, reverse=True)
    ranks, alphas = ({re.escape(path): getattr(layers[path], x) for path in paths} for x in ("rank", "lora_alpha"))
    return {
        "peft_type": "LORA",
        "target_modules": _pattern(layers),
        "r": first.rank,
        "lora_alpha": first.lora_alpha,
        "rank_pattern": ranks if len(set(ranks.values())) > 1 else {},
        "alpha_pattern": alphas if len(set(alphas.values())) > 1 else {},
        "use_rslora": stabilised.pop(),
        "use_dora": method == "DORA",
        "lora_dropout": 0.0,
        "bias": "none",
    }


def save_peft(path: str | os.PathLike[str], layers: Layers) -> None:
    """Write the arrays of `to_peft` to a file.

    Parameters
    ----------
    path : str or path-like
        The file; NumPy adds ``.npz`` to a name without it.
    layers : mapping of str to LoRALinear
        Layers as in `to_peft`.

    Raises
    ------
    ValueError
        As `to_peft`, or if `path` is not one.
    OSError
        If the file cannot be written.

    Notes
    -----
    For `to_glora`: ``numpy.savez(path, **to_glora(layers))``.
    """
    arrays: dict[str, Any] = dict(to_peft(layers))
    np.savez(_path(path), **arrays)


def load_peft(path: str | os.PathLike[str]) -> dict[str, Arrays]:
    """Read a file of `save_peft`, or an ``.npz`` of a PEFT adapter's arrays.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    dict of str to dict of str to ndarray
        States by module path, as `from_peft` returns them.

    Raises
    ------
    ValueError
        If it is not a path of such a file, or the file is damaged.
    OSError
        If it cannot be read.
    """
    with open(_path(path), "rb") as stream:
        try:
            with np.load(stream, allow_pickle=False) as file:
                arrays = dict(file)
        # TypeError: a single array, which `with` does not take
        except (ValueError, TypeError, OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"path must be a whole .npz file of numbers, got {path!r}: {error}") from None
    return from_peft(arrays)


def to_glora(layers: Layers) -> Arrays:
    """Return α-LoRA layers as the arrays of a GLoRA adapter, named as PEFT names them.

    Parameters
    ----------
    layers : mapping of str to AlphaLoRALinear or LoRALinear
        Layers by the path of the module they stand for; LoRA counts as α = 1.

    Returns
    -------
    dict of str to ndarray
        ``glora_A.Xd @ glora_A.Xu`` is A with the columns α − 1, and ``glora_B.Xd @ glora_B.Xu`` is s BA; all ranks are
        filled up to the highest, at least 1. If any α scales a bias, ``glora_D.X`` and ``glora_E.X`` of layers with a
        bias are D and E. What PEFT is told not to use it keeps as ``zeros``, and so they are here.

    Raises
    ------
    ValueError
        If there is no layer, a path is not one, or a layer is DoRA or IA³.

    Notes
    -----
    There is no way back: the scaling, and whether α is a number, are not in the arrays.

    Examples
    --------
    >>> arrays = to_glora({"head": AlphaLoRALinear([[1.0, 2.0], [0.0, 1.0]], alpha=[0.5, 3.0], rank=1, seed=0)})
    >>> A = arrays["base_model.model.head.glora_A.Xd"] @ arrays["base_model.model.head.glora_A.Xu"]
    >>> A
    array([[-0.5, -0.5],
           [ 2. ,  2. ]])
    """
    rank, scales_bias = _glora(layers)
    arrays: Arrays = {}
    for path, layer in layers.items():
        off = np.broadcast_to(_alpha(layer) - 1.0, layer.out_features)
        ones = np.ones((1, layer.in_features))
        state = {"lora_A": ones[:0], "lora_B": off[:, None][:, :0]} | layer.state_dict()  # those of rank 0
        with np.errstate(over="ignore"):
            factors = {"A": (off[:, None], ones), "B": (layer.scaling * state["lora_B"], state["lora_A"])}
        own: Arrays = {}
        for name, (left, right) in factors.items():
            missing = rank - left.shape[1]
            own[f"{name}.Xd"] = np.pad(left, ((0, 0), (0, missing)))
            own[f"{name}.Xu"] = np.pad(right, ((0, missing), (0, 0)))
        has_bias = layer.bias is not None
        kind = "X" if scales_bias and has_bias else "zeros"
        own[f"D.{kind}"] = off * (has_bias and getattr(layer, "scale_bias", False))
        own |= {"C.zeros": np.zeros((layer.in_features, 1)), f"E.{kind}": np.zeros(layer.out_features)}
        arrays |= {f"{_PREFIX}{path}.glora_{name}": array for name, array in own.items()}
    return arrays


def glora_config(layers: Layers) -> dict[str, Any]:
    """Return what PEFT's ``adapter_config.json`` must say, so that the arrays of `to_glora` do what the layers do.

    Parameters
    ----------
    layers : mapping of str to AlphaLoRALinear or LoRALinear
        Layers as in `to_glora`.

    Returns
    -------
    dict
        Plain numbers and strings.

    Raises
    ------
    ValueError
        As `to_glora`.
    """
    rank, scales_bias = _glora(layers)
    return {
        "peft_type": "GLORA",
        "target_modules": _pattern(layers),
        "r": rank,
        "config_A_B": "lora",
        "config_C": "none",
        "config_D_E": "vector" if scales_bias else "none",
        "bias": "none",
    }


def _check(layers: Any) -> None:
    if not isinstance(layers, Mapping) or not layers:
        raise ValueError(f"layers must be a mapping of module paths to layers, with at least one, got {layers!r}")
    for path, layer in layers.items():
        if not isinstance(path, str) or not all(path.split(".")):
            raise ValueError(f"layers must have module paths as names, got {path!r}")
        if not isinstance(layer, LoRALinear):
            raise ValueError(f"layers must be LoRALinear or a kind of it, got {type(layer).__name__} at {path!r}")


def _method(layers: Layers) -> str:
    """Return PEFT's name of the one method of all layers."""
    _check(layers)
    methods = set()
    for path, layer in layers.items():
        if (_alpha(layer) != 1.0).any():
            raise ValueError(f"layers must have alpha = 1 to be LoRA, unlike {path!r}: to_glora takes any alpha")
        if bool(layer.rank) == bool(layer.ia3) or (layer.ia3 and isinstance(layer, DoRALinear)):
            raise ValueError(
                f"layers must have either a rank or ia3 to be adapters of PEFT, got rank {layer.rank} and "
                f"ia3 {layer.ia3!r} in a {type(layer).__name__} at {path!r}"
            )
        methods.add("IA3" if layer.ia3 else "DORA" if isinstance(layer, DoRALinear) else "LORA")
    if len(methods) > 1:
        raise ValueError(f"layers must be of one method, got {', '.join(sorted(methods))}")
    return methods.pop()


def _glora(layers: Layers) -> tuple[int, bool]:
    """Return the common rank, and whether some α scales a bias."""
    _check(layers)
    for path, layer in layers.items():
        if layer.ia3 or isinstance(layer, DoRALinear):
            raise ValueError(f"layers must be α-LoRA or LoRA to be GLoRA, unlike {path!r}")
    scales_bias = any(getattr(layer, "scale_bias", False) and layer.bias is not None for layer in layers.values())
    return max(1, *(layer.rank for layer in layers.values())), scales_bias


def _pattern(paths: Iterable[str]) -> str:
    """Return a regular expression that fits these paths and no others."""
    return "|".join(map(re.escape, paths))


def _path(path: str | os.PathLike[str]) -> str:
    try:
        return os.fsdecode(path)
    except TypeError:
        raise ValueError(f"path must be the path of a file, got {path!r}") from None


def _alpha(layer: LoRALinear) -> FloatArray:
    return layer.state_dict()["alpha"] if isinstance(layer, AlphaLoRALinear) else np.ones(())
