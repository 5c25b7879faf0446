"""Optimizers against their formulas written out number by number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmt_alpha.lora import SGD, Adam, AdamW

RNG = np.random.default_rng(3)
START = {"a": RNG.standard_normal((2, 3)), "b": RNG.standard_normal(4), "c": np.array(0.7)}
GRADS = [{name: RNG.standard_normal(x.shape) * 10.0**k for name, x in START.items()} for k in (0, 1, -2, 0, -1, 1)]
RATES = [0.1, 0.08, 0.3, 0.02, 0.05, 0.01]


def run(rule):
    parameters = {name: x.copy() for name, x in START.items()}
    state = rule.start(parameters)
    for grads, rate in zip(GRADS, RATES, strict=True):
        rule.step(parameters, grads, state, rate)
    return parameters


def written_out(update):
    """Apply a rule for single numbers, which sees the gradients so far, to every number by itself."""
    result = {}
    for name, start in START.items():
        result[name] = np.empty(start.shape)
        for index in np.ndindex(start.shape):
            x = float(start[index])
            for t in range(1, len(GRADS) + 1):
                x = update(x, [float(g[name][index]) for g in GRADS[:t]], RATES[t - 1])
            result[name][index] = x
    return result


def assert_same(actual, expected):
    assert actual.keys() == expected.keys()
    for name, x in expected.items():
        np.testing.assert_allclose(actual[name], x, rtol=1e-12, atol=1e-14)


def average(values, beta):
    """Weighted average of all values so far with weights βᵗ⁻ⁱ, as bias correction makes it."""
    weights = [beta ** (len(values) - 1 - i) for i in range(len(values))]
    return sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)


@given(st.floats(0.0, 0.99))
def test_sgd_adds_up_its_momentum(momentum):
    def update(x, gradients, rate):
        return x - rate * sum(momentum**i * g for i, g in enumerate(reversed(gradients)))

    assert_same(run(SGD(momentum=momentum)), written_out(update))


@given(st.floats(0.0, 0.99), st.floats(0.0, 0.999), st.sampled_from([1e-8, 0.3]), st.sampled_from([0.0, 0.4]))
def test_adam_divides_weighted_averages(b1, b2, eps, weight_decay):
    """The bias-corrected averages, as averages of all gradients; decay apart from them."""

    def update(x, gradients, rate):
        shrunk = x - rate * weight_decay * x
        return shrunk - rate * average(gradients, b1) / (average([g * g for g in gradients], b2) ** 0.5 + eps)

    rule = AdamW(betas=(b1, b2), eps=eps, weight_decay=weight_decay) if weight_decay else Adam(betas=(b1, b2), eps=eps)
    assert_same(run(rule), written_out(update))


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e6])
def test_the_first_step_of_adam_has_the_size_of_the_learning_rate(size):
    rule, parameters = Adam(betas=(0.9, 0.99)), {"x": np.zeros(3)}
    rule.step(parameters, {"x": size * np.array([1.0, -2.0, 0.5])}, rule.start(parameters), 0.03)
    np.testing.assert_allclose(parameters["x"], [-0.03, 0.03, -0.03], rtol=1e-4)


def test_weight_decay_does_not_pass_through_the_averages():
    """With gradient 0 the parameters shrink by 1 − ν decay and nothing is remembered; Adam leaves them alone."""
    for rule, factor in ((AdamW(weight_decay=0.5), 0.9), (Adam(), 1.0)):
        parameters = {"x": np.array([2.0, -3.0])}
        state = rule.start(parameters)
        rule.step(parameters, {"x": np.zeros(2)}, state, 0.2)
        np.testing.assert_allclose(parameters["x"], [2.0 * factor, -3.0 * factor], rtol=1e-15)
        assert not state.first["x"].any()
        assert not state.second["x"].any()
        assert state.steps == 1


@pytest.mark.parametrize("rule", [SGD(0.09, momentum=0.9), Adam(0.05), AdamW(0.05, weight_decay=0.0)])
def test_converges_on_an_ill_conditioned_quadratic(rule):
    curvature, rotation = np.geomspace(0.1, 10.0, 5), np.linalg.qr(np.random.default_rng(0).standard_normal((5, 5)))[0]
    H, best = rotation * curvature @ rotation.T, np.arange(5.0)
    parameters = {"x": np.zeros(5)}
    state = rule.start(parameters)
    for t in range(3000):
        rule.step(parameters, {"x": H @ (parameters["x"] - best)}, state, rule.learning_rate * (1.0 - t / 3000))
    np.testing.assert_allclose(parameters["x"], best, atol=1e-8)


@pytest.mark.parametrize("rule", [SGD(momentum=0.5), Adam(), AdamW()])
def test_updates_in_place_and_only_what_it_is_given(rule):
    parameters = {name: x.copy() for name, x in START.items()}
    before, grads = dict(parameters), {name: g.copy() for name, g in GRADS[0].items()} | {"d": np.ones(2)}
    kept = {name: g.copy() for name, g in grads.items()}
    state = rule.start(parameters)
    rule.step(parameters, grads, state, 0.1)
    for name, x in START.items():
        assert parameters[name] is before[name]
        assert (parameters[name] != x).all()
        assert rule.start(parameters).first[name] is not state.first[name]
    for name, g in kept.items():
        np.testing.assert_array_equal(grads[name], g)


@pytest.mark.parametrize("rule", [SGD(momentum=0.5), Adam(), AdamW()])
def test_overflow_gives_no_warnings(rule):
    parameters = {"x": np.array([1.0, 1e308])}
    state = rule.start(parameters)
    for _ in range(3):
        rule.step(parameters, {"x": np.array([1e160, 1e308])}, state, 1e10)
    assert isinstance(rule, SGD) or np.isinf(state.second["x"]).all()


@pytest.mark.parametrize(
    ("rule", "name", "value"),
    [
        *(
            (rule, "learning_rate", value)
            for rule in (SGD, Adam, AdamW)
            for value in (0.0, -1.0, np.nan, "1", [0.1, 0.2])
        ),
        *((SGD, "momentum", value) for value in (-0.1, 1.0, None)),
        *((rule, "betas", value) for rule in (Adam, AdamW) for value in ((0.9, 1.0), (-0.1, 0.9), (0.9,), 0.9, "ab")),
        *((rule, "eps", value) for rule in (Adam, AdamW) for value in (0.0, -1e-8)),
        *((AdamW, "weight_decay", value) for value in (-0.1, np.inf)),
    ],
)
def test_bad_values_are_refused_by_name(rule, name, value):
    with pytest.raises(ValueError, match=rf"\b{name} must"):
        rule(**{name: value})
