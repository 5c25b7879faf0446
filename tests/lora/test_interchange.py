"""Names, shapes and meaning of exported adapters, against formulas of PEFT's layers written out here."""

import copy
import json
import re

import numpy as np
import pytest

import rmt_alpha as ra
from rmt_alpha.lora.interchange import from_peft, glora_config, load_peft, peft_config, save_peft, to_glora, to_peft
from rmt_alpha.lora.layers import AlphaLoRALinear, DoRALinear, LoRALinear
from tests.lora.test_layers import randomise

PREFIX = "base_model.model."
X = np.random.default_rng(0).standard_normal((6, 5))


def layer(cls=LoRALinear, seed=0, bias=True, **options):
    rng = np.random.default_rng(seed)
    built = cls(rng.standard_normal((3, 5)), rng.standard_normal(3) if bias else None, seed=seed, **options)
    randomise(built, rng)
    return built


LORA = {
    "model.layers.0.q_proj": {"rank": 2, "lora_alpha": 3.0},
    "model.layers.1.q_proj": {"rank": 4, "lora_alpha": 5.0, "bias": False},
}
METHODS = {
    "LoRA": (LoRALinear, LORA),
    "rsLoRA": (LoRALinear, {path: options | {"rank_stabilized": True} for path, options in LORA.items()}),
    "DoRA": (DoRALinear, LORA),
    "IA3": (LoRALinear, {"fc": {"rank": 0, "ia3": "input"}, "my_fc": {"rank": 0, "ia3": "output"}}),
    "one": (AlphaLoRALinear, {"head": {"rank": 2, "lora_alpha": 3.0, "train_alpha": False, "scale_bias": True}}),
}
ALPHA = {
    "a": {"alpha": 0.3, "rank": 2, "lora_alpha": 5.0},
    "b": {"alpha": [0.5, -2.0, 1.5], "rank": 3, "rank_stabilized": True, "scale_bias": True},
    "c": {"alpha": -0.7, "rank": 0, "bias": False, "scale_bias": True},
    "d": {"alpha": [2.0, 0.1, 0.6], "rank": 1, "train_alpha": False},
}


def adapter(method, seed=0):
    cls, options = METHODS[method]
    return {path: layer(cls, seed + i, **given) for i, (path, given) in enumerate(options.items())}


def alphas(*names):
    return {path: layer(AlphaLoRALinear, i, **ALPHA[path]) for i, path in enumerate(names or ALPHA)}


def as_peft_computes(arrays, config, path, weight, bias, x):
    """The output of PEFT's layer at a path, from what is exported and nothing else."""
    own = {key.removeprefix(f"{PREFIX}{path}."): array for key, array in arrays.items() if f"{PREFIX}{path}." in key}
    base = x @ weight.T
    b = 0.0 if bias is None else bias
    if config["peft_type"] == "IA3":
        if config["feedforward_modules"] and re.fullmatch(config["feedforward_modules"], path):
            return (x * own["ia3_l"].ravel()) @ weight.T + b
        return (base + b) * own["ia3_l"].ravel()

    def of(pattern, default):
        return next((v for k, v in config[pattern].items() if re.match(rf"(.*\.)?({k})$", path)), config[default])

    rank = of("rank_pattern", "r")
    assert own["lora_A.weight"].shape == (rank, weight.shape[1])
    size = of("alpha_pattern", "lora_alpha") / (np.sqrt(rank) if config["use_rslora"] else rank)
    delta = size * own["lora_B.weight"] @ own["lora_A.weight"]
    if not config["use_dora"]:
        return base + x @ delta.T + b
    norm = np.linalg.norm(weight + delta, axis=1)
    return own["lora_magnitude_vector"] / norm * (base + x @ delta.T) + b


@pytest.mark.parametrize("method", METHODS)
def test_what_is_exported_determines_the_layers(method):
    layers = adapter(method)
    arrays, config = to_peft(layers), json.loads(json.dumps(peft_config(layers)))
    others = [f"block.{path}" for path in layers] + [path.replace(".", "x") + "x" for path in layers]
    assert [path for path in [*layers, *others] if re.fullmatch(config["target_modules"], path)] == list(layers)
    for path, own in layers.items():
        y = as_peft_computes(arrays, config, path, own.weight, own.bias, X)
        assert y == pytest.approx(own.forward(X), rel=1e-12, abs=1e-12)


def test_names_and_shapes():
    shapes = {name.removeprefix(PREFIX): array.shape for name, array in to_peft(adapter("DoRA")).items()}
    assert shapes == {
        "model.layers.0.q_proj.lora_A.weight": (2, 5),
        "model.layers.0.q_proj.lora_B.weight": (3, 2),
        "model.layers.0.q_proj.lora_magnitude_vector": (3,),
        "model.layers.1.q_proj.lora_A.weight": (4, 5),
        "model.layers.1.q_proj.lora_B.weight": (3, 4),
        "model.layers.1.q_proj.lora_magnitude_vector": (3,),
    }
    shapes = {name: array.shape for name, array in to_peft(adapter("IA3")).items()}
    assert shapes == {"base_model.model.fc.ia3_l": (1, 5), "base_model.model.my_fc.ia3_l": (3, 1)}
    assert set(to_peft(adapter("one"))) == {f"{PREFIX}head.lora_{x}.weight" for x in "AB"}
    assert set(to_peft({"0": layer(rank=1)})) == {f"{PREFIX}0.lora_{x}.weight" for x in "AB"}


@pytest.mark.parametrize("method", ["LoRA", "rsLoRA", "DoRA", "IA3"])
def test_states_come_back_through_arrays_and_files(method, tmp_path):
    layers = adapter(method)
    others = copy.deepcopy(layers)
    for other in others.values():
        randomise(other, np.random.default_rng(59))
    save_peft(tmp_path / "adapter.npz", layers)
    with np.load(tmp_path / "adapter.npz", allow_pickle=False) as file:
        assert set(file) == set(to_peft(layers))
    for states in (from_peft(to_peft(layers)), load_peft(tmp_path / "adapter.npz")):
        assert states.keys() == layers.keys()
        for path, state in states.items():
            assert not np.array_equal(others[path].forward(X), layers[path].forward(X))
            others[path].load_state_dict(state)
            assert np.array_equal(others[path].forward(X), layers[path].forward(X))
            randomise(others[path], np.random.default_rng(60))


def test_what_is_exported_are_copies():
    layers = adapter("IA3")
    before = layers["fc"].forward(X)
    for array in to_peft(layers).values():
        array += 1.0
    assert np.array_equal(layers["fc"].forward(X), before)
    layers = alphas()
    before = {path: own.forward(X) for path, own in layers.items()}
    for array in to_glora(layers).values():
        array += 1.0
    assert all(np.array_equal(own.forward(X), before[path]) for path, own in layers.items())
    arrays = to_peft(adapter("DoRA"))
    states = from_peft(arrays)
    for array in arrays.values():
        array += 1.0
    assert np.array_equal(
        states["model.layers.0.q_proj"]["lora_A"] + 1.0, arrays[f"{PREFIX}model.layers.0.q_proj.lora_A.weight"]
    )


def test_single_precision_and_lists_are_read():
    factors = {"lora_B.weight": np.ones((3, 2), np.float32), "lora_A.weight": [[1], [2]]}
    states = from_peft(
        {f"{PREFIX}x.y.{name}": array for name, array in factors.items()} | {f"{PREFIX}x.ia3_l": [[1], [2]]}
    )
    assert states["x.y"]["lora_B"].dtype == np.float64
    assert states["x.y"]["lora_A"].tolist() == [[1.0], [2.0]]
    assert states["x"]["ia3_l"].tolist() == [1.0, 2.0]


# GLoRA


@pytest.mark.parametrize("paths", [("a", "b", "c", "d"), ("a", "d"), ("c",)])
def test_alpha_lora_is_glora(paths):
    layers = alphas(*paths)
    arrays, config = to_glora(layers), json.loads(json.dumps(glora_config(layers)))
    assert (config["peft_type"], config["config_A_B"], config["config_C"]) == ("GLORA", "lora", "none")
    assert config["config_D_E"] == ("vector" if "b" in paths else "none")
    assert all(array.flags.c_contiguous and array.dtype == np.float64 for array in arrays.values())
    for path, own in layers.items():
        W0, b0, r = own.weight, own.bias, config["r"]
        mine = {
            key.removeprefix(f"{PREFIX}{path}.glora_"): array for key, array in arrays.items() if f".{path}." in key
        }
        assert mine["A.Xd"].shape == mine["B.Xd"].shape == (3, r)
        assert mine["A.Xu"].shape == mine["B.Xu"].shape == (r, 5)
        A, B = mine.pop("A.Xd") @ mine.pop("A.Xu"), mine.pop("B.Xd") @ mine.pop("B.Xu")
        for row, alpha in zip(A, np.broadcast_to(own.state_dict()["alpha"], 3), strict=True):
            assert row.tolist() == pytest.approx([alpha - 1.0] * 5)
        update = own.update()
        assert update == pytest.approx(B, rel=1e-13, abs=1e-15)
        y = X @ (W0 + W0 * A + B).T
        if b0 is not None:
            D, E = (mine.pop("D.X"), mine.pop("E.X")) if config["config_D_E"] == "vector" else (0.0, 0.0)
            y += b0 + b0 * D + E
        unused = {"C"} if b0 is not None and config["config_D_E"] == "vector" else {"C", "D", "E"}
        assert set(mine) == {f"{name}.zeros" for name in unused}
        assert not any(array.any() for array in mine.values())
        assert y == pytest.approx(own.forward(X), rel=1e-12, abs=1e-12)


def test_lora_is_glora_with_alpha_one():
    layers = {"plain": layer(rank=2, lora_alpha=3.0)} | alphas("b")
    arrays = to_glora(layers)
    assert not arrays[f"{PREFIX}plain.glora_A.Xd"].any()
    assert not arrays[f"{PREFIX}plain.glora_D.X"].any()
    left, right = (arrays[f"{PREFIX}plain.glora_B.{x}"] for x in ("Xd", "Xu"))
    assert left @ right == pytest.approx(layers["plain"].update(), rel=1e-13, abs=1e-15)


# Bad input


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (None, "layers must be a mapping of module paths to layers, with at least one, got None"),
        ({}, "layers must be a mapping .* with at least one"),
        ({"": layer(rank=1)}, "layers must have module paths as names, got ''"),
        ({"a..b": layer(rank=1)}, "layers must have module paths as names, got 'a..b'"),
        ({3: layer(rank=1)}, "layers must have module paths as names, got 3"),
        ({"a": np.ones(3)}, "layers must be LoRALinear or a kind of it, got ndarray at 'a'"),
    ],
)
@pytest.mark.parametrize("function", [to_peft, peft_config, to_glora, glora_config])
def test_what_is_no_mapping_of_layers_is_refused(function, layers, message):
    with pytest.raises(ValueError, match=message):
        function(layers)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            {"a": layer(AlphaLoRALinear, rank=1, alpha=0.5)},
            "alpha = 1 to be LoRA, unlike 'a': to_glora takes any alpha",
        ),
        ({"a": layer(rank=0)}, "either a rank or ia3 .* rank 0 and ia3 None in a LoRALinear at 'a'"),
        ({"a": layer(rank=1, ia3="input")}, "either a rank or ia3 .* rank 1 and ia3 'input'"),
        ({"a": layer(DoRALinear, rank=0, ia3="input")}, "either a rank or ia3 .* in a DoRALinear"),
        ({"a": layer(rank=1), "b": layer(DoRALinear, rank=1)}, "one method, got DORA, LORA"),
    ],
)
@pytest.mark.parametrize("function", [to_peft, peft_config])
def test_what_peft_has_no_adapter_for_is_refused(function, layers, message):
    with pytest.raises(ValueError, match=message):
        function(layers)


def test_more_that_is_refused(tmp_path):
    mixed = {"a": layer(rank=1), "b": layer(rank=1, rank_stabilized=True)}
    with pytest.raises(ValueError, match="all rank-stabilised or none"):
        peft_config(mixed)
    for other in (layer(DoRALinear, rank=1), layer(rank=0, ia3="output"), layer(AlphaLoRALinear, rank=1, ia3="input")):
        with pytest.raises(ValueError, match="α-LoRA or LoRA to be GLoRA, unlike 'x'"):
            to_glora({"x": other})
    for arrays, message in (
        ({"a.lora_A.weight": np.ones((1, 2))}, "arrays must have names base_model.model.<path>"),
        ({f"{PREFIX}a.glora_A.Xd": np.ones((1, 2))}, "arrays must have names"),
        ({f"{PREFIX}a.lora_A.default.weight": np.ones((1, 2))}, "arrays must have names"),
        ({f"{PREFIX}a.lora_A.weight": np.ones(2)}, r"a.lora_A.weight has shape \(2,\)"),
        ({f"{PREFIX}a.lora_magnitude_vector": np.ones((2, 1))}, r"magnitude_vector has shape \(2, 1\)"),
        ({f"{PREFIX}a.ia3_l": np.ones((2, 2))}, r"ia3_l has shape \(2, 2\)"),
        ({f"{PREFIX}a.ia3_l": [[np.nan]]}, "a.ia3_l must be finite"),
        ({}, "arrays must be a mapping .* with at least one, got {}"),
        (None, "arrays must be a mapping .* got None"),
        ([1], "arrays must be a mapping"),
        ({3: np.ones((1, 2))}, "arrays must have names .* got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            from_peft(arrays)
    shapes = {"lora_A.weight": (2, 3), "lora_B.weight": (4, 2), "lora_magnitude_vector": (4,), "ia3_l": (1, 3)}
    for change in (
        {"lora_A.weight": None},
        {"lora_B.weight": None},
        {"lora_A.weight": None, "lora_B.weight": None},
        {"lora_B.weight": (4, 5)},
        {"lora_magnitude_vector": (3,)},
        {"ia3_l": (1, 3)},
    ):
        given = {name: shape for name, shape in ({**shapes, "ia3_l": None} | change).items() if shape}
        with pytest.raises(ValueError, match=r"arrays must be those of one method, .* at 'a\.b'"):
            from_peft({f"{PREFIX}a.b.{name}": np.ones(shape) for name, shape in given.items()})
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"path must be a whole \.npz file"):
        load_peft(tmp_path / "one.npy")
    np.savez(tmp_path / "objects.npz", **{f"{PREFIX}a.ia3_l": np.array([{}])})
    with pytest.raises(ValueError, match=r"path must be a whole \.npz file .* allow_pickle=False"):
        load_peft(tmp_path / "objects.npz")
    with pytest.raises(FileNotFoundError):
        load_peft(tmp_path / "missing.npz")


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "adapter.npz"
    save_peft(path, adapter("LoRA"))
    whole = path.read_bytes()
    broken = bytearray(whole)
    broken[len(whole) // 3] ^= 255
    for content in (b"", whole[: len(whole) // 2], whole[:4], bytes(broken), b"text"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"path must be a whole \.npz file"):
            load_peft(path)
    np.savez(path)
    with pytest.raises(ValueError, match=r"arrays must be a mapping .* with at least one"):
        load_peft(path)
    for nonsense in (3, None, object()):
        with pytest.raises(ValueError, match="path must be the path of a file"):
            load_peft(nonsense)
        with pytest.raises(ValueError, match="path must be the path of a file"):
            save_peft(nonsense, adapter("LoRA"))


def test_overflow_gives_no_warnings():
    own = layer(AlphaLoRALinear, rank=1, lora_alpha=1e10, alpha=0.5)
    own.parameters()["lora_B"][:] = 1e300
    assert np.isinf(to_glora({"a": own})[f"{PREFIX}a.glora_B.Xd"]).all()


def test_the_functions_are_beside_the_layers():
    assert ra.lora.interchange.to_peft is ra.lora.to_peft is to_peft
    for name in ("from_peft", "peft_config", "save_peft", "load_peft", "to_glora", "glora_config"):
        assert name in ra.lora.__all__
        assert getattr(ra.lora, name) is getattr(ra.lora.interchange, name)


def test_patterns_are_of_their_own_module_only():
    layers = {"q": layer(rank=1, lora_alpha=2.0), "a.q": layer(rank=2, lora_alpha=2.0), "axq": layer(rank=3)}
    config = peft_config(layers)
    for path, own in layers.items():
        (rank, alpha) = (
            next(value for key, value in config[kind].items() if re.match(rf"(.*\.)?({key})$", path))
            for kind in ("rank_pattern", "alpha_pattern")
        )
        assert (rank, alpha) == (own.rank, own.lora_alpha)
    assert peft_config({"q": layers["q"]})["rank_pattern"] == {}
