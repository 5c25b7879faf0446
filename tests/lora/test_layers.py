"""Layers against their dense formulas, differentiated by complex step; and what merging, switching and loading keep."""

import copy
import math
import pickle

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from rmt_alpha.lora.layers import AlphaLoRALinear, DoRALinear, LoRALinear, Module
from rmt_alpha.lora.network import Linear

STEP = 1e-30
CLASSES = {"LoRALinear": LoRALinear, "AlphaLoRALinear": AlphaLoRALinear, "DoRALinear": DoRALinear}


# The oracle: dense matrices, for real and complex parameters alike


def dense_update(layer, values):
    if not layer.rank:
        return np.zeros_like(layer.weight)
    size = layer.lora_alpha / (layer.rank**0.5 if layer.rank_stabilized else layer.rank)
    return size * values["lora_B"] @ values["lora_A"]


def dense_weights(layer, values):
    """W and b′ of a layer whose parameters have other values, by the formulas as they stand in the papers."""
    b = 0.0 if layer.bias is None else layer.bias
    W = layer.weight + dense_update(layer, values)
    if isinstance(layer, AlphaLoRALinear):
        alpha = values["alpha"] * np.ones(layer.out_features)
        W = np.diag(alpha) @ layer.weight + dense_update(layer, values)
        b = alpha * b if layer.scale_bias else b
    if isinstance(layer, DoRALinear):
        V = layer.weight + dense_update(layer, layer.state_dict() if layer.detach_norm else values)
        W = np.diag(values["lora_magnitude_vector"] / np.sqrt((V * V).sum(axis=1))) @ W
    if layer.ia3 == "input":
        W = W @ np.diag(values["ia3_l"])
    if layer.ia3 == "output":
        W, b = np.diag(values["ia3_l"]) @ W, values["ia3_l"] * b
    return W, b


def dense_output(layer, values, x):
    W, b = dense_weights(layer, values)
    return x @ W.T + b


def complex_step(function, values):
    """The gradient of a scalar function of named arrays, one entry at a time."""
    grads = {}
    for name, value in values.items():
        grads[name] = np.zeros(np.shape(value))
        for index in np.ndindex(np.shape(value)):
            moved = np.array(value, complex)
            moved[index] += 1j * STEP
            grads[name][index] = function(values | {name: moved}).imag / STEP
    return grads


def assert_close(actual, expected, tolerance=1e-11):
    assert actual.keys() == expected.keys()
    for name, array in expected.items():
        assert np.shape(actual[name]) == np.shape(array), name
        scale = np.abs(array).max(initial=1.0)  # of what is summed up, as all numbers here are
        assert np.abs(actual[name] - array).max(initial=0.0) <= tolerance * scale, name


def randomise(layer, rng):
    """Move every parameter away from where it starts, in place."""
    for array in layer.parameters().values():
        array += 0.5 * rng.standard_normal(array.shape)


def build(kind, seed=0, n_out=3, n_in=5, bias=True, **options):
    rng = np.random.default_rng(seed)
    layer = CLASSES[kind](
        rng.standard_normal((n_out, n_in)), rng.standard_normal(n_out) if bias else None, seed=seed, **options
    )
    randomise(layer, rng)
    return layer


@st.composite
def layers(draw):
    kind = draw(st.sampled_from(list(CLASSES)))
    n_out = draw(st.integers(1, 4))
    options = {
        "n_out": n_out,
        "n_in": draw(st.integers(1, 4)),
        "bias": draw(st.booleans()),
        "rank": draw(st.integers(0, 5)),
        "lora_alpha": draw(st.sampled_from([0.3, 2.5, 7.0])),
        "rank_stabilized": draw(st.booleans()),
        "ia3": draw(st.sampled_from([None, "input", "output"])),
        "init": draw(st.sampled_from(["gaussian", "uniform"])),
    }
    if kind == "AlphaLoRALinear":
        number = st.sampled_from([-1.7, 0.0, 0.4, 2.3])
        options["alpha"] = draw(number | st.lists(number, min_size=n_out, max_size=n_out))
        options |= {"train_alpha": draw(st.booleans()), "scale_bias": draw(st.booleans())}
    if kind == "DoRALinear":
        options["detach_norm"] = draw(st.booleans())
    layer = build(kind, draw(st.integers(0, 2**32 - 1)), **options)
    if kind == "DoRALinear":  # so that rows have digits left to compare
        row = np.linalg.norm(dense_update(layer, layer.state_dict()) + layer.weight, axis=1)
        assume((row > 0.05).all())
    return layer


BATCHES = st.sampled_from([(), (1,), (4,), (0,), (2, 3), (2, 0, 1)])


@settings(max_examples=400, deadline=None)
@given(layers(), BATCHES, st.integers(0, 2**32 - 1))
def test_forward_and_backward_are_the_dense_formula_and_its_complex_step(layer, batch, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((*batch, layer.in_features))
    g = rng.standard_normal((*batch, layer.out_features))
    y = layer.forward(x)
    assert y.shape == g.shape
    state = layer.state_dict()  # a fixed α is in it, and not among the parameters
    assert_close({"y": y}, {"y": dense_output(layer, state, x)}, 1e-12)

    grads, grad_input = layer.backward(g)
    expected = complex_step(
        lambda v: (g * dense_output(layer, state | v, v["x"])).sum(), {**layer.parameters(), "x": x}
    )
    assert_close(grads | {"x": grad_input}, expected)
    alone = layer.parameter_gradients(g)
    assert alone.keys() == grads.keys()
    assert all(np.array_equal(alone[name], grads[name]) for name in grads)


@settings(max_examples=100, deadline=None)
@given(layers())
def test_the_update_and_its_length(layer):
    value, grads = layer.update_penalty()
    own = {name: layer.parameters()[name] for name in grads}
    assert set(grads) == {"lora_A", "lora_B"} & set(layer.parameters())
    assert layer.update() == pytest.approx(dense_update(layer, own), rel=1e-13, abs=1e-15)
    assert value == pytest.approx((dense_update(layer, own) ** 2).sum(), rel=1e-12, abs=1e-15)
    assert_close(grads, complex_step(lambda v: (dense_update(layer, v) ** 2).sum(), own))


def test_what_does_not_train_has_no_update():
    assert Module().update_penalty() == (0.0, {})
    assert LoRALinear(np.eye(2), rank=0).update_penalty() == (0.0, {})
    with pytest.raises(NotImplementedError):
        Module().forward([1.0])
    with pytest.raises(NotImplementedError):
        Module().backward([1.0])


@pytest.mark.parametrize("close", [1e-1, 1e-3, 1e-6])
def test_the_norm_of_a_row_that_the_update_nearly_cancels(close):
    rng = np.random.default_rng(3)
    layer = DoRALinear(rng.standard_normal((3, 6)), rank=2, lora_alpha=3.0, seed=1)
    values = layer.parameters()
    values["lora_A"][0], values["lora_B"][0] = layer.weight[0], [(-1.0 + close) / layer.scaling, close]
    V = dense_update(layer, values) + layer.weight
    assert np.linalg.norm(V[0]) < 10 * close * np.linalg.norm(layer.weight[0])
    x = rng.standard_normal((4, 6))
    expected = x @ (values["lora_magnitude_vector"] / np.linalg.norm(V, axis=1) * V.T)
    # V itself has lost −log₁₀ close digits, its norm no more than that
    assert layer.forward(x) == pytest.approx(expected, rel=1e-14 / close, abs=1e-13 / close)
    c, _ = layer._norm()
    assert c == pytest.approx(np.linalg.norm(V, axis=1), rel=1e-15 / close + 1e-13)


def exact_rows(layer):
    """Rows of V = W₀ + s BA in 60 digits."""
    A, B = (layer.parameters()[name] for name in ("lora_A", "lora_B"))
    W, factors = mpmath.matrix(layer.weight.tolist()), (mpmath.matrix(B.tolist()), mpmath.matrix(A.tolist()))
    return W + mpmath.mpf(layer.scaling) * (factors[0] * factors[1])


@pytest.mark.parametrize("close", [0.03, 2e-3, 1e-5, 1e-8, 1e-12])
def test_the_norm_of_a_short_row_keeps_the_digits_that_the_row_has(close):
    """W₀ + sBA at one part in 1/close, in numbers of few bits: V itself is exact, and so must c be."""
    W, short = np.array([[3.0, -1.0, 2.0], [1.0, 2.0, 0.5]]), 2.0 ** round(math.log2(close))
    layer = DoRALinear(W, rank=1, lora_alpha=0.5, seed=0)
    layer.parameters()["lora_A"][:], layer.parameters()["lora_B"][:, 0] = W[0], [2.0 * (short - 1.0), 0.25]
    with mpmath.workdps(60):
        expected = [float(mpmath.norm(exact_rows(layer)[i, :])) for i in range(2)]
    assert expected[0] == pytest.approx(short * math.sqrt(14.0))
    assert layer._norm()[0] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("t", [1e2, 1e4, 1e6])
def test_rows_of_a_that_are_nearly_the_same_cost_no_more_digits_than_the_update_itself(t):
    """BA = t (A₁ − A₂) loses log₁₀ t digits; products like AAᵀ would lose twice as many."""
    rng = np.random.default_rng(4)
    layer = DoRALinear(rng.standard_normal((3, 6)), rank=2, lora_alpha=3.0, seed=1)
    A, B = (layer.parameters()[name] for name in ("lora_A", "lora_B"))
    A[1] = A[0] + rng.standard_normal(6) / t
    B[:] = np.outer([1.0, -0.7, 2.0], [t, -t])
    x, g, allowed = rng.standard_normal((4, 6)), rng.standard_normal((4, 3)), 1e-14 * t
    y, c = layer.forward(x), layer._norm()[0]
    grads, (value, pull) = layer.backward(g)[0], layer.update_penalty()
    with mpmath.workdps(60):
        V = exact_rows(layer)
        norms = [mpmath.norm(V[i, :]) for i in range(3)]
        updates = V - mpmath.matrix(layer.weight.tolist())
        m, s = mpmath.matrix(layer.parameters()["lora_magnitude_vector"].tolist()), mpmath.mpf(layer.scaling)
        unit = mpmath.matrix([[V[i, j] / norms[i] for j in range(6)] for i in range(3)])
        G = mpmath.matrix(g.T.tolist()) * mpmath.matrix(x.tolist())  # the gradient at W
        along = [mpmath.fsum(G[i, j] * unit[i, j] for j in range(6)) for i in range(3)]
        at_V = mpmath.matrix(
            [[m[i] / norms[i] * (G[i, j] - along[i] * unit[i, j]) for j in range(6)] for i in range(3)]
        )
        left, right = mpmath.matrix(B.tolist()), mpmath.matrix(A.tolist())
        expected = {
            "c": mpmath.matrix(norms).T,
            "y": mpmath.matrix(x.tolist()) * mpmath.matrix([[m[i] * unit[i, j] for i in range(3)] for j in range(6)]),
            "lora_A": s * left.T * at_V,
            "lora_B": s * at_V * right.T,
            "penalty": mpmath.matrix([[mpmath.fsum(u**2 for u in updates)]]),
            "pull of A": 2 * s * left.T * updates,
            "pull of B": 2 * s * updates * right.T,
        }
        expected = {name: np.array(array.tolist(), float) for name, array in expected.items()}
    found = {"c": c, "y": y, "penalty": value, "lora_A": grads["lora_A"], "lora_B": grads["lora_B"]}
    found |= {"pull of A": pull["lora_A"], "pull of B": pull["lora_B"]}
    for name, array in found.items():
        off = np.abs(array - expected[name]).max() / np.abs(expected[name]).max()
        assert off < allowed, (name, off)


def test_the_penalty_is_not_negative_where_factors_have_less_than_their_rank():
    for seed in range(50):
        rng = np.random.default_rng(seed)
        layer = LoRALinear(np.zeros((4, 5)) + 1.0, rank=3, seed=seed)
        A, B = (layer.parameters()[name] for name in ("lora_A", "lora_B"))
        A[:], B[:] = np.outer([1.0, 2.0, -1.0], rng.standard_normal(5)), rng.standard_normal((4, 3))
        B[:, 2] = B[:, 0] + 2.0 * B[:, 1]  # BA = 0
        assert 0.0 <= layer.update_penalty()[0] < 1e-28


@pytest.mark.parametrize("size", [1e155, 1e160, 1e200])
def test_a_norm_whose_square_overflows(size):
    layer = DoRALinear([[1.0, 2.0], [3.0, 4.0]], rank=1, seed=0)
    layer.parameters()["lora_A"][:], layer.parameters()["lora_B"][:] = [0.3, -0.4], [[size], [0.5]]
    expected = np.array([[0.6, -0.8], [3.15, 3.8]])
    expected *= np.array([[5**0.5], [5.0 / np.hypot(3.15, 3.8)]])
    assert layer.forward([1.0, 0.5]) == pytest.approx(expected @ [1.0, 0.5], rel=1e-12)
    assert layer.merge()[0] == pytest.approx(expected, rel=1e-12)


def test_rows_of_any_length_keep_their_digits():
    W = np.array([[3e80, 4e80], [3e-80, 4e-80], [1.0, 0.0]])
    layer = DoRALinear(W, rank=1, seed=0)
    assert layer.parameters()["lora_magnitude_vector"] == pytest.approx([5e80, 5e-80, 1.0], rel=1e-14)
    assert layer.forward([1.0, 1.0]) == pytest.approx([7e80, 7e-80, 1.0], rel=1e-14)
    with pytest.raises(ValueError, match=r"weight must have rows of lengths between .* in row 1"):
        DoRALinear([[1.0, 0.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"weight must have rows of lengths between .* got .*2e\+150.* in row 0"):
        DoRALinear([[2e150, 0.0], [0.0, 1.0]])


def test_overflow_and_lost_rows_give_no_warnings():
    layer = LoRALinear([[1e300, 1e300]], rank=1, seed=0)
    assert layer.forward([1e10, 1e10])[0] == np.inf
    assert layer.backward([1e10])[1][0] == np.inf
    layer.parameters()["lora_A"][:] = layer.parameters()["lora_B"][:] = 1e200
    assert layer.update()[0, 0] == np.inf
    assert layer.update_penalty()[0] == np.inf
    assert layer.merge()[0][0, 0] == np.inf
    lost = DoRALinear([[1.0, 2.0], [3.0, 4.0]], rank=1, seed=0)
    lost.parameters()["lora_A"][:], lost.parameters()["lora_B"][0] = [1.0, 2.0], -1.0
    assert np.isnan(lost.forward([1.0, 1.0])).tolist() == [True, False]
    assert np.isnan(lost.backward([1.0, 1.0])[0]["lora_magnitude_vector"]).tolist() == [True, False]
    assert np.isnan(lost.merge()[0]).any(axis=1).tolist() == [True, False]


# Merging and switching


EVERY = [
    ("LoRALinear", {"rank": 2, "lora_alpha": 3.0}),
    ("LoRALinear", {"rank": 0, "ia3": "output"}),
    ("LoRALinear", {"rank": 4, "rank_stabilized": True, "lora_alpha": 0.7, "ia3": "input", "bias": False}),
    ("AlphaLoRALinear", {"rank": 2, "alpha": -0.6, "lora_alpha": 5.0}),
    ("AlphaLoRALinear", {"rank": 1, "alpha": [0.3, -2.0, 0.0], "scale_bias": True, "ia3": "output"}),
    ("AlphaLoRALinear", {"rank": 3, "alpha": 1.7, "train_alpha": False, "bias": False}),
    ("DoRALinear", {"rank": 2, "lora_alpha": 0.9}),
    ("DoRALinear", {"rank": 3, "detach_norm": True, "ia3": "input"}),
]
every = pytest.mark.parametrize(("kind", "options"), EVERY)


@every
def test_merged_weights_do_what_the_layer_does(kind, options):
    layer = build(kind, **options)
    x = np.random.default_rng(5).standard_normal((2, 7, 5))
    before = layer.forward(x)
    weight, bias = layer.merge()
    W, b = dense_weights(layer, layer.state_dict())
    assert weight == pytest.approx(W, rel=1e-12, abs=1e-13)
    assert (bias is None) == (layer.bias is None)
    if bias is not None:
        assert bias == pytest.approx(b, rel=1e-12, abs=1e-13)
    assert layer.merged
    assert layer.forward(x) == pytest.approx(before, rel=1e-12, abs=1e-12)
    assert layer.forward(x) == pytest.approx(x @ weight.T + (0.0 if bias is None else bias), rel=1e-12, abs=1e-12)
    with pytest.raises(RuntimeError, match="merged layer has no gradients"):
        layer.backward(before)
    with pytest.raises(RuntimeError, match="merged layer takes no state"):
        layer.load_state_dict(layer.state_dict())

    weight[:] = 0.0  # what was handed out is a copy
    assert layer.forward(x) == pytest.approx(before, rel=1e-12, abs=1e-12)
    layer.parameters().popitem()[1][...] += 1.0  # counts after unmerge only
    assert layer.forward(x) == pytest.approx(before, rel=1e-12, abs=1e-12)
    assert layer.unmerge() is layer
    assert np.abs(layer.forward(x) - before).max() > 1e-3


@every
def test_unmerging_restores_every_bit(kind, options):
    layer = build(kind, **options)
    x = np.random.default_rng(6).standard_normal((9, 5))
    before, g = layer.forward(x), np.ones((9, 3))
    grads, grad_input = layer.backward(g)
    for _ in range(3):
        layer.merge()
        layer.merge()
        layer.unmerge()
    assert np.array_equal(layer.forward(x), before)
    again, grad_again = layer.backward(g)
    assert np.array_equal(grad_again, grad_input)
    assert all(np.array_equal(again[name], grads[name]) for name in grads)


@every
def test_a_disabled_layer_is_the_frozen_one(kind, options):
    layer = build(kind, **options)
    x, g = np.random.default_rng(7).standard_normal((4, 5)), np.ones((4, 3))
    adapted = layer.forward(x)
    frozen = x @ layer.weight.T + (0.0 if layer.bias is None else layer.bias)
    with layer.disable():
        assert layer.disabled
        assert np.array_equal(layer.forward(x), frozen)
        grads, grad_input = layer.backward(g)
        assert grads.keys() == layer.parameters().keys()
        assert all(grads[name].shape == array.shape for name, array in layer.parameters().items())
        assert not any(array.any() for array in grads.values())
        assert np.array_equal(grad_input, g @ layer.weight)
        with layer.disable():
            pass
        assert layer.disabled
        layer.merge()
        assert np.array_equal(layer.forward(x), frozen)
        assert np.array_equal(layer.backward(g)[1], g @ layer.weight)
    assert not layer.disabled
    assert layer.forward(x) == pytest.approx(adapted, rel=1e-12, abs=1e-12)
    layer.unmerge()
    assert np.array_equal(layer.forward(x), adapted)
    layer.disable()
    assert np.array_equal(layer.forward(x), frozen)
    assert layer.enable() is layer
    assert np.array_equal(layer.forward(x), adapted)


def test_the_context_restores_after_an_error():
    layer = build("LoRALinear", rank=1)
    with pytest.raises(KeyError), layer.disable():
        raise KeyError
    assert not layer.disabled


# States, parameters, frozen weights


@every
def test_a_state_makes_another_layer_the_same(kind, options):
    layer = build(kind, **options)
    other = CLASSES[kind](layer.weight, layer.bias, seed=99, **{k: v for k, v in options.items() if k != "bias"})
    x = np.random.default_rng(8).standard_normal((4, 5))
    state = layer.state_dict()
    assert not np.array_equal(other.forward(x), layer.forward(x))
    live = other.parameters()
    other.load_state_dict(state)
    assert all(other.parameters()[name] is array for name, array in live.items())
    assert np.array_equal(other.forward(x), layer.forward(x))
    for array in state.values():
        array += 1.0
    assert np.array_equal(other.forward(x), layer.forward(x))
    assert all(not np.shares_memory(array, layer._state()[name]) for name, array in state.items())
    assert layer.parameter_count() == sum(array.size for array in layer.parameters().values())
    assert set(state) - set(layer.parameters()) == ({"alpha"} if options.get("train_alpha") is False else set())


def test_parameter_counts():
    assert build("LoRALinear", rank=2).parameter_count() == 2 * (3 + 5)
    assert build("LoRALinear", rank=0).parameter_count() == 0
    assert build("LoRALinear", rank=1, ia3="input").parameter_count() == 3 + 5 + 5
    assert build("AlphaLoRALinear", rank=2, alpha=0.5).parameter_count() == 17
    assert build("AlphaLoRALinear", rank=2, alpha=[0.5, 1.0, 2.0]).parameter_count() == 19
    assert build("AlphaLoRALinear", rank=2, alpha=0.5, train_alpha=False).parameter_count() == 16
    assert build("DoRALinear", rank=2).parameter_count() == 19


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lora_A": None}, r"state must have the names \['alpha', 'lora_A', 'lora_B'\], got \['alpha', 'lora_B'\]"),
        ({"other": 1.0}, "state must have the names .* got .*other"),
        ({"lora_B": np.zeros((2, 3))}, r"lora_B must have shape \(3, 2\), got \(2, 3\)"),
        ({"alpha": [0.5]}, r"alpha must have shape \(\), got \(1,\)"),
        ({"lora_B": np.full((3, 2), np.nan)}, "lora_B must be finite"),
        ({"lora_B": "text"}, "lora_B must be real numbers"),
        ({1: 0.0}, "state must have the names .* got .1, 'alpha'"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(change, message):
    layer = build("AlphaLoRALinear", rank=2, alpha=0.5)
    before = layer.state_dict()
    # what fits comes first and differs, so that a part of it could have been copied
    state = {name: array + 1.0 for name, array in before.items()} | change
    state = {name: value for name, value in state.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        layer.load_state_dict(state)
    assert all(np.array_equal(layer.state_dict()[name], array) for name, array in before.items())


@every
def test_frozen_arrays_never_change_and_stay_the_users(kind, options):
    rng = np.random.default_rng(9)
    W, b = rng.standard_normal((3, 5)), rng.standard_normal(3)
    W_before, b_before = W.copy(), b.copy()
    layer = CLASSES[kind](W, b, seed=1, **{k: v for k, v in options.items() if k != "bias"})
    for _ in range(3):
        layer.forward(rng.standard_normal((4, 5)))
        for name, grad in layer.backward(rng.standard_normal((4, 3)))[0].items():
            layer.parameters()[name] -= 0.1 * grad
        layer.merge()
        layer.unmerge()
    assert np.array_equal(W, W_before)
    assert np.array_equal(b, b_before)
    assert np.shares_memory(W, layer.weight)
    assert W.flags.writeable
    assert b.flags.writeable
    for array in (layer.weight, layer.bias):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0


def test_alpha_is_a_copy():
    alpha = np.array([0.5, 2.0])
    layer = AlphaLoRALinear(np.eye(2), alpha=alpha, rank=1, seed=0)
    layer.parameters()["alpha"] += 1.0
    assert alpha.tolist() == [0.5, 2.0]


@every
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda layer: pickle.loads(pickle.dumps(layer))])
def test_copies_are_independent_and_whole(kind, options, duplicate):
    layer = build(kind, **options)
    x = np.random.default_rng(10).standard_normal((4, 5))
    before = layer.forward(x)
    other = duplicate(layer)
    assert np.array_equal(other.forward(x), before)
    for array in other.parameters().values():
        array += 0.25
    for name, array in other.parameters().items():
        assert np.array_equal(array, layer.parameters()[name] + 0.25)
    assert np.array_equal(layer.forward(x), before)
    expected = dense_output(other, other.state_dict(), x)  # what is updated is what is used
    assert other.forward(x) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    assert np.abs(other.forward(x) - before).max() > 1e-3
    assert not other.weight.flags.writeable
    assert other.bias is None or not other.bias.flags.writeable
    with pytest.raises(RuntimeError, match="backward needs a forward pass before it"):
        duplicate(layer).backward(np.ones((4, 3)))  # what is kept for it is not copied


# Initialisation


def test_all_start_as_the_frozen_layer():
    rng = np.random.default_rng(11)
    W, b, x = rng.standard_normal((4, 6)), rng.standard_normal(4), rng.standard_normal((5, 6))
    for cls in CLASSES.values():
        for ia3 in (None, "input", "output"):
            layer = cls(W, b, rank=2, lora_alpha=7.0, ia3=ia3, seed=0)
            assert layer.forward(x) == pytest.approx(x @ W.T + b, rel=1e-13, abs=1e-14)
            assert not layer.parameters()["lora_B"].any()
    layer = AlphaLoRALinear(W, b, alpha=0.3, rank=2, seed=0)
    assert layer.forward(x) == pytest.approx(0.3 * (x @ W.T) + b, rel=1e-13, abs=1e-14)
    layer = AlphaLoRALinear(W, b, alpha=0.3, scale_bias=True, rank=2, seed=0)
    assert layer.forward(x) == pytest.approx(0.3 * (x @ W.T + b), rel=1e-13, abs=1e-14)


def test_laws_of_the_initial_factor():
    W = np.ones((2, 400))
    gaussian = LoRALinear(W, rank=5, seed=0).parameters()["lora_A"]
    assert stats.kstest(gaussian.ravel(), stats.norm(scale=1 / 5).cdf).pvalue > 1e-3
    uniform = LoRALinear(W, rank=5, init="uniform", seed=0).parameters()["lora_A"]
    assert stats.kstest(uniform.ravel(), stats.uniform(-1 / 20, 2 / 20).cdf).pvalue > 1e-3
    assert np.abs(uniform).max() <= 1 / 20


def test_the_stream_is_the_layers_own():
    """It is not what a user draws from the same seed, nor that of another kind of layer."""
    A = LoRALinear(np.ones((4, 3)), rank=4, seed=3).parameters()["lora_A"]
    for other in (np.random.default_rng(3).standard_normal(12), math.sqrt(3 / 2) * Linear.random(3, 4, seed=3).weight):
        assert np.abs(4.0 * A.ravel() - other.ravel()).min() > 1e-6


def test_seeds():
    def first(seed):
        return LoRALinear(np.ones((2, 3)), rank=2, seed=seed).parameters()["lora_A"]

    assert np.array_equal(first(3), first(3))
    assert np.array_equal(first(3), first(np.random.SeedSequence(3)))
    assert not np.array_equal(first(3), first(4))
    generator = np.random.default_rng(3)
    assert not np.array_equal(first(generator), first(generator))
    assert not np.array_equal(first(None), first(None))


def test_scalings():
    W = np.ones((2, 3))
    assert LoRALinear(W, rank=4).scaling == 1.0
    assert LoRALinear(W, rank=4, lora_alpha=10.0).scaling == 2.5
    assert LoRALinear(W, rank=4, lora_alpha=10.0, rank_stabilized=True).scaling == 5.0
    assert LoRALinear(W, rank=3, rank_stabilized=True).scaling == pytest.approx(math.sqrt(3.0))
    assert LoRALinear(W, rank=0, lora_alpha=10.0).scaling == 0.0


def test_ia3_is_alpha_lora_on_weights_and_bias():
    rng = np.random.default_rng(12)
    W, b, x, scale = rng.standard_normal((3, 4)), rng.standard_normal(3), rng.standard_normal((5, 4)), [0.5, -1.0, 2.0]
    ia3 = LoRALinear(W, b, rank=0, ia3="output")
    ia3.parameters()["ia3_l"][:] = scale
    alpha = AlphaLoRALinear(W, b, rank=0, alpha=scale, scale_bias=True)
    assert ia3.forward(x) == pytest.approx(alpha.forward(x), rel=1e-13, abs=1e-14)


# Bad input


W = np.ones((2, 3))


@pytest.mark.parametrize(
    ("cls", "arguments", "message"),
    [
        (LoRALinear, {"weight": np.ones(3)}, r"weight must be a matrix of shape \(out, in\), got shape \(3,\)"),
        (LoRALinear, {"weight": np.ones((0, 3))}, r"weight must be a matrix .* got shape \(0, 3\)"),
        (LoRALinear, {"weight": [[np.nan]]}, "weight must be finite"),
        (LoRALinear, {"weight": W, "bias": np.ones(3)}, r"bias must have shape \(2,\) to fit weight, got \(3,\)"),
        (LoRALinear, {"weight": W, "bias": [0.0, np.inf]}, "bias must be finite"),
        (LoRALinear, {"weight": W, "rank": -1}, "rank must be an integer of at least 0, got -1"),
        (LoRALinear, {"weight": W, "rank": 1.5}, "rank must be an integer"),
        (LoRALinear, {"weight": W, "rank": 10**12}, "an adapter of this rank would need 3.73e.04 GiB"),
        (LoRALinear, {"weight": W, "rank": 10**400}, "an adapter of this rank would need"),
        (LoRALinear, {"weight": W, "rank_stabilized": "no"}, "rank_stabilized must be True or False, got 'no'"),
        (AlphaLoRALinear, {"weight": W, "train_alpha": 1}, "train_alpha must be True or False, got 1"),
        (AlphaLoRALinear, {"weight": W, "scale_bias": "False"}, "scale_bias must be True or False"),
        (DoRALinear, {"weight": W, "detach_norm": None}, "detach_norm must be True or False, got None"),
        (LoRALinear, {"weight": W, "lora_alpha": 0.0}, r"lora_alpha must be in \(0, inf\), got 0.0"),
        (LoRALinear, {"weight": W, "lora_alpha": np.nan}, r"lora_alpha must be"),
        (LoRALinear, {"weight": W, "ia3": "both"}, "ia3 must be None, 'input' or 'output', got 'both'"),
        (LoRALinear, {"weight": W, "init": "zeros"}, "init must be 'gaussian' or 'uniform', got 'zeros'"),
        (LoRALinear, {"weight": W, "seed": -1}, "seed must be an integer of at least 0"),
        (
            AlphaLoRALinear,
            {"weight": W, "alpha": np.ones(3)},
            r"alpha must be a number or have shape \(2,\), got \(3,\)",
        ),
        (AlphaLoRALinear, {"weight": W, "alpha": np.nan}, "alpha must be finite"),
    ],
)
def test_bad_options_are_refused(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(**arguments)


def test_bad_passes_are_refused():
    layer = build("AlphaLoRALinear", rank=1)
    with pytest.raises(RuntimeError, match="backward needs a forward pass before it"):
        layer.backward(np.ones(3))
    with pytest.raises(ValueError, match=r"x must have a last axis of length 5, got shape \(2, 3\)"):
        layer.forward(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"x must have a last axis of length 5, got shape \(\)"):
        layer.forward(1.0)
    with pytest.raises(ValueError, match="x must be finite"):
        layer.forward(np.full(5, np.nan))
    layer.forward(np.ones((2, 5)))
    with pytest.raises(ValueError, match=r"grad_output must have shape \(2, 3\), got \(3, 2\)"):
        layer.backward(np.ones((3, 2)))
    with pytest.raises(ValueError, match="grad_output must be finite"):
        layer.backward(np.full((2, 3), np.inf))


def test_a_backward_pass_belongs_to_the_last_forward_pass():
    layer = build("DoRALinear", rank=2)
    x, g = np.random.default_rng(13).standard_normal((2, 4, 5)), np.ones((4, 3))
    layer.forward(x[0])
    first = layer.backward(g)[1]
    layer.forward(x[1])
    second = layer.backward(g)[0]["lora_A"]
    with layer.disable():
        layer.forward(x[0])
    assert np.array_equal(layer.backward(g)[1], g @ layer.weight)  # of the frozen layer, although it is enabled now
    layer.forward(x[0])
    assert np.array_equal(layer.backward(g)[1], first)
    layer.forward(x[1])
    with layer.disable():
        assert np.array_equal(layer.backward(g)[0]["lora_A"], second)


@pytest.mark.parametrize("kind", [LoRALinear, DoRALinear])
def test_a_scaling_whose_square_overflows_leaves_the_frozen_layer(kind):
    W = np.array([[1.0, 2.0, 3.0], [1.0, 0.0, 1.0]])
    layer = kind(W, rank=2, lora_alpha=1e200, seed=0)
    x = np.array([1.0, -1.0, 0.5])
    np.testing.assert_allclose(layer.forward(x), W @ x, rtol=1e-15)
    np.testing.assert_allclose(layer.merge()[0], W, rtol=1e-15)
    assert layer.update_penalty()[0] == 0.0


def test_the_gradient_of_dora_keeps_its_radial_part_however_long_the_update():
    def gradients(size):
        layer = DoRALinear([[1.0, 2.0, 3.0], [1.0, 0.0, 1.0]], rank=1)
        parameters = layer.parameters()
        parameters["lora_A"][:] = [[1.0, 1.0, 2.0]]
        parameters["lora_B"][:] = np.array([[1.0], [2.0]]) * size
        layer.forward([1.0, -1.0, 0.5])
        return layer.backward([1.0, 1.0])[0]

    expected = gradients(1e50)["lora_A"]
    np.testing.assert_allclose(expected, [[1.754, -2.456, 0.351]], atol=1e-3)
    for size in (1e120, 1e160, 1e165, 1e200):
        np.testing.assert_allclose(gradients(size)["lora_A"], expected, rtol=1e-12)
