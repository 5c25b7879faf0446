"""Bad input is a ValueError that names the argument, and nothing else; legal extremes give a right number or nan."""

import fractions
import inspect
import math
import re
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mpmath import mp, mpf

import rmt_alpha as ra
from rmt_alpha import Isotropic, MarginLaw, RiskLaw
from rmt_alpha._validation import integer, real, real_array
from rmt_alpha.theory.isotropic import (
    effective_ridge,
    fixed_source_law,
    fixed_source_optimal_alpha,
    source_numbers,
)
from tests.theory import oracle

PROBLEM = {
    "beta": 0.5,
    "n": 40.0,
    "p": 100.0,
    "gamma": 0.3,
    "mu": 1.2,
    "mu_perp": 0.8,
    "n_source": 300.0,
    "gamma_source": 0.7,
    "label_noise": 0.1,
    "label_noise_source": 0.2,
}
FIXED = {"s": 0.5, "w_perp2": 0.3, "m2": 1.1, "n": 40.0, "p": 100.0, "gamma": 0.3, "label_noise": 0.1}
LAW = MarginLaw([0.5, 0.4], [[1.0, 0.1], [0.1, 0.5]])


def subset(arguments, names):
    return {name: arguments[name] for name in names.split()}


CALLS = {
    "optimal_alpha": (ra.optimal_alpha, PROBLEM),
    "worst_alpha": (ra.worst_alpha, PROBLEM),
    "accuracy": (ra.accuracy, {"alpha": 0.7} | PROBLEM),
    "risk": (ra.risk, {"alpha": 0.7} | PROBLEM),
    "margin_law": (ra.margin_law, PROBLEM),
    "Isotropic": (Isotropic, PROBLEM),
    "effective_ridge": (effective_ridge, subset(PROBLEM, "n p gamma")),
    "source_numbers": (
        source_numbers,
        subset(PROBLEM, "beta p mu mu_perp n_source gamma_source label_noise_source"),
    ),
    "fixed_source_law": (fixed_source_law, FIXED),
    "fixed_source_optimal_alpha": (fixed_source_optimal_alpha, FIXED),
    "MarginLaw.accuracy": (LAW.accuracy, {"alpha": 0.7}),
    "MarginLaw.error": (LAW.error, {"alpha": 0.7}),
    "MarginLaw.risk": (LAW.risk, {"alpha": 0.7}),
    "MarginLaw.risk_law": (LAW.risk_law, {"label_noise": 0.1}),
    "RiskLaw.risk": (LAW.risk_law().risk, {"alpha": 0.7}),
}
OUTSIDE = {
    "alpha": (),
    "s": (),
    "beta": (1.1, -1.1, 1 + 2**-52, 1e300),
    "n": (0, -0.0, -1, -5e-324),
    "p": (0, -3.5),
    "gamma": (-1e-300, -1),
    "mu": (-1.0, -1e-300),
    "mu_perp": (-1.0,),
    "n_source": (0.0, -7),
    "gamma_source": (-0.1,),
    "label_noise": (-0.1, 0.5, 1),
    "label_noise_source": (-1e-9, 0.5, 0.7),
    "w_perp2": (-1e-12,),
    "m2": (-1e-12,),
}
NOT_NUMBERS = (
    "0.5",
    b"0.5",
    True,
    np.True_,
    0.5 + 0j,
    np.complex128(0.5),
    object(),
    {},
    {0.5},
    fractions.Fraction(1, 2),
    np.datetime64("2025-01-01"),
    10**400,
    -(10**400),
    [10**400],
    [0.5, None],
    ["0.5"],
    [[0.5], [0.5, 0.5]],
    [True, False],
    np.array([0.5, None], dtype=object),
    np.array(["0.5"]),
    np.array([0.5 + 1e-9j]),
    np.ma.masked_array([0.5, 0.5], [False, True]),
    np.ma.masked_array([0.5, 0.5]),
    np.ma.masked,
    np.zeros(2, dtype=[("x", float)]),
)
INFINITE = (math.inf, -math.inf, np.longdouble("1e400"))
TOO_LONG_TO_SHOW = (10**5000, [10**5000])  # Python refuses to print these


def assert_refused(argument, function, *args, **kwargs):
    """A ValueError that has the argument's name in it, and no warning (which pytest makes an error)."""
    with pytest.raises(ValueError, match=rf"\b{argument}\b"):
        function(*args, **kwargs)


def bad_values(call, argument):
    """Strategy for what `argument` of `call` must not be: of the wrong kind, or outside its range in some entry."""
    takes_infinity = argument == "alpha" and not call.startswith("RiskLaw")
    outside = [*OUTSIDE[argument], math.nan, *(() if takes_infinity else INFINITE)]
    wrong, legal = st.sampled_from(outside), CALLS[call][1][argument]
    padded = st.tuples(st.integers(0, 3), wrong, st.integers(0, 3)).map(
        lambda parts: [legal] * parts[0] + [parts[1]] + [legal] * parts[2]
    )
    arrays = padded.map(np.array)
    in_range = wrong | wrong.map(np.float64) | wrong.map(np.array) | padded | arrays | arrays.map(lambda x: x[:, None])
    return in_range | st.sampled_from(NOT_NUMBERS)


@pytest.mark.parametrize("call", CALLS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_bad_values_are_refused_by_name(call, data):
    function, legal = CALLS[call]
    argument = data.draw(st.sampled_from(sorted(legal)))
    assert_refused(argument, function, **legal | {argument: data.draw(bad_values(call, argument))})


PAIRS = [(call, argument) for call, (_, legal) in CALLS.items() for argument in legal]


@pytest.mark.parametrize(("call", "argument"), PAIRS)
def test_what_is_not_a_number_is_refused_by_name(call, argument):
    function, legal = CALLS[call]
    for value in NOT_NUMBERS:
        assert_refused(argument, function, **legal | {argument: value})


@pytest.mark.parametrize("call", CALLS)
def test_none_is_refused_by_name(call):
    """Only n_source and gamma_source may be None, and only both: one of them is half a source."""
    function, legal = CALLS[call]
    for argument in legal:
        assert_refused(argument, function, **legal | {argument: None})


@pytest.mark.parametrize("value", TOO_LONG_TO_SHOW, ids=["int", "list"])
def test_number_too_long_to_show_is_refused_by_name(value):
    for call, argument in PAIRS:
        function, legal = CALLS[call]
        assert_refused(argument, function, **legal | {argument: value})


@pytest.mark.parametrize("call", CALLS)
def test_no_argument_escapes_these_tests(call):
    function, legal = CALLS[call]
    assert set(inspect.signature(function).parameters) - {"order"} == set(legal)


@pytest.mark.parametrize("order", [0, 3, 1.5, math.nan, True, None, "1", [1], np.array([1, 2])], ids=repr)
def test_order_other_than_one_and_two_is_refused(order):
    for function in (ra.margin_law, ra.optimal_alpha, ra.worst_alpha):
        assert_refused("order", function, **PROBLEM, order=order)
    for function in (ra.accuracy, ra.risk):
        assert_refused("order", function, alpha=1.0, **PROBLEM, order=order)


@pytest.mark.parametrize("function", [ra.optimal_alpha, ra.worst_alpha, ra.margin_law, Isotropic, source_numbers])
def test_half_a_source_is_refused(function):
    target = {"beta": 0.5, "p": 100} | ({} if function is source_numbers else {"n": 40, "gamma": 0.3})
    assert_refused("gamma_source is required with n_source", function, **target, n_source=300)
    assert_refused("gamma_source needs n_source", function, **target, gamma_source=0.7)
    for noise in (0.2, [0.0, 0.2]):
        assert_refused("label_noise_source needs n_source", function, **target, label_noise_source=noise)
    function(**target, label_noise_source=[0.0, 0.0])


@pytest.mark.parametrize("function", [fixed_source_law, fixed_source_optimal_alpha])
def test_overlap_with_a_mean_that_is_zero_is_refused(function):
    assert_refused("s", function, **FIXED | {"m2": 0.0})
    assert_refused("s", function, **FIXED | {"m2": [0.0, 1.0], "s": [[0.0], [1e-300]]})
    function(**FIXED | {"m2": [0.0, 1.0], "s": [0.0, 1.0]})


@pytest.mark.parametrize("call", [call for call in CALLS if len(CALLS[call][1]) > 1])
@settings(max_examples=30, deadline=None)
@given(data=st.data(), shape=st.sampled_from([(2,), (4,), (3, 4), (5, 1, 2)]))
def test_shapes_that_do_not_fit_are_refused_by_both_names(call, data, shape):
    function, legal = CALLS[call]
    first, second = data.draw(st.permutations(sorted(legal)))[:2]
    arrays = {first: np.full((2, 3), legal[first]), second: np.full(shape, legal[second])}
    assert_refused(first, function, **legal | arrays)
    assert_refused(second, function, **legal | arrays)


def too_large(call):
    """A function, and arguments whose result would have 10¹² entries."""
    function, legal = CALLS[call]
    column, row = (10**6, 1), (1, 10**6)
    if "." not in call:
        first, second = list(legal)[:2]
        return function, legal | {first: np.full(column, legal[first]), second: np.full(row, legal[second])}
    law = ra.margin_law(**PROBLEM | {"beta": [0.5]})[np.zeros(column, dtype=int)]
    method = getattr(law.risk_law() if call.startswith("RiskLaw") else law, call.split(".")[1])
    return method, {name: np.full(row, value) for name, value in legal.items()}


@pytest.mark.parametrize("call", CALLS)
def test_result_beyond_the_memory_is_refused_before_it_is_tried(call):
    function, arguments = too_large(call)
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(ValueError, match="memory") as caught:
            function(**arguments)
        assert time.perf_counter() - start < 2.0
        assert tracemalloc.get_traced_memory()[1] < 1e8
    finally:
        tracemalloc.stop()
    for name in [name for name, value in arguments.items() if np.ndim(value)]:
        assert re.search(rf"\b{name}\b", str(caught.value))


# Laws given by hand.


@pytest.mark.parametrize("value", [None, *NOT_NUMBERS], ids=lambda value: type(value).__name__)
def test_laws_refuse_what_is_not_numbers(value):
    assert_refused("mean", MarginLaw, value, np.eye(2))
    assert_refused("cov", MarginLaw, [0.5, 0.4], value)
    assert_refused("constant", RiskLaw, value, [0.5], [[1.0]])
    assert_refused("linear", RiskLaw, 1.0, value, [[1.0]])
    assert_refused("quadratic", RiskLaw, 1.0, [0.5], value)


NUMBERS = st.floats() | st.sampled_from([0.0, 1.0, 5e-324, 1e-160, 1e160, 1.7e308])


@settings(max_examples=300, deadline=None)
@given(data=st.data(), size=st.integers(1, 3))
def test_any_numbers_make_a_margin_law_or_a_named_refusal(data, size):
    mean = data.draw(st.lists(NUMBERS, min_size=size, max_size=size))
    cov = np.diag(data.draw(st.lists(NUMBERS, min_size=size, max_size=size)))
    off = data.draw(NUMBERS)
    cov[0, -1] = cov[-1, 0] = off if size > 1 else cov[0, 0]
    try:
        law = MarginLaw(mean, cov)
    except ValueError:
        assert_refused("(mean|cov) must", MarginLaw, mean, cov)
        return
    scale = cov[np.isfinite(cov)].max(initial=0.0)
    assert np.isfinite(mean).all()
    assert cov.min() >= -scale
    assert np.all(np.diag(cov) >= -1e-10 * scale)
    best, direction = law.best_accuracy(), law.best_direction()
    assert np.isnan(best) or 0.0 <= best <= 1.0
    assert np.isnan(direction).all() or direction[0] in (0.0, 1.0)


@settings(max_examples=200, deadline=None)
@given(constant=NUMBERS, linear=NUMBERS, quadratic=NUMBERS, alpha=st.floats(-1e100, 1e100))
def test_any_numbers_make_a_risk_law_or_a_named_refusal(constant, linear, quadratic, alpha):
    legal = math.isfinite(constant) and math.isfinite(linear) and math.isfinite(quadratic) and quadratic >= 0.0
    if not legal:
        assert_refused("(constant|linear|quadratic)", RiskLaw, constant, [linear], [[quadratic]])
        return
    if max(map(abs, (constant, linear, quadratic))) > 1e100:
        return  # legal, but terms of the quadratic may leave float64 though their sum does not
    law = RiskLaw(constant, [linear], [[quadratic]])
    exact = mpf(constant) - 2 * mpf(linear) * mpf(alpha) + mpf(quadratic) * mpf(alpha) ** 2
    terms = abs(mpf(constant)) + 2 * abs(mpf(linear) * mpf(alpha)) + mpf(quadratic) * mpf(alpha) ** 2
    assert right(law.risk(alpha), exact, slack=1e-15 * terms)
    assert right(law.optimal_alpha(), mpf(linear) / mpf(quadratic) if quadratic else None)


# Legal extremes: a right number, or nan by rule.

LARGEST = mpf(np.finfo(float).max)
DIGITS = 2000  # cancellation between numbers from 1e-324 to 1e308, squared


def right(got, want, slack=0.0):
    """Whether a result is nan, or `want` (None: undefined) to 12 digits, rounding to 0 and to inf included."""
    if math.isnan(got):
        return True
    if want is None:
        return False
    if math.isinf(got):
        return want * math.copysign(1, got) + slack > LARGEST * (1 - mpf(1e-9))
    return abs(mpf(got) - want) <= mpf(1e-12) * abs(want) + slack + 1e-323


SIZES = st.sampled_from([5e-324, 1e-300, 1e-200, 1e-160, 1e-40, 0.01, 1.0, 7.0, 1e40, 1e160, 1e200, 1e300, 1.7e308])
SIZES |= st.floats(-300, 300).map(lambda exponent: 10.0**exponent)
SIZES |= st.floats(-3, 3).map(lambda exponent: 10.0**exponent)
PENALTIES = SIZES | st.just(0.0)
ALPHAS = SIZES | SIZES.map(lambda x: -x) | st.just(0.0)
NOISES = st.sampled_from([0.0, 5e-324, 1e-10, 0.3, 0.5 - 2**-54])
ALIGNMENTS = st.sampled_from([-1.0, -1 + 2**-53, -0.3, -1e-200, 0.0, 5e-324, 1e-10, 0.8, 1.0])
TARGETS = {"n": SIZES, "p": SIZES, "gamma": PENALTIES, "label_noise": NOISES}
ORACLES = TARGETS | {"beta": ALIGNMENTS, "mu": PENALTIES, "mu_perp": PENALTIES}
TRAINED = ORACLES | {"n_source": SIZES, "gamma_source": PENALTIES, "label_noise_source": NOISES}
EXTREME_PROBLEMS = (st.fixed_dictionaries(ORACLES) | st.fixed_dictionaries(TRAINED)).filter(
    # where 1 − df₂/n is 0 the oracle has nothing to say; test_isotropic tests the rule
    lambda problem: (
        (problem["gamma"] or problem["n"] != problem["p"])
        and (problem.get("gamma_source") or problem.get("n_source") != problem["p"])
    )
)
EXTREME_SOURCES = st.fixed_dictionaries(TARGETS | {"s": ALPHAS, "w_perp2": PENALTIES, "m2": SIZES}).filter(
    lambda problem: problem["gamma"] or problem["n"] != problem["p"]
)


def five_numbers(law):
    return (*law.mean.tolist(), law.cov[0, 0], law.cov[0, 1], law.cov[1, 1])


def assert_right_law(law, alpha, exact):
    """The five numbers are right, and so are the answers at `alpha`, to what rounding them may cost."""
    with mp.workdps(DIGITS):
        m0, m1, v00, v01, v11, _ = exact
        slack = 0, 0, 0, 1e-15 * mp.sqrt(v00 * v11), 0  # V01 matters beside the variances only
        for got, want, lost in zip(five_numbers(law), exact[:5], slack, strict=True):
            assert right(got, want, lost)
        mean, variance, weight = exact.mean(mpf(alpha)), exact.variance(mpf(alpha)), abs(mpf(alpha))
        terms = v00 + 2 * weight * abs(v01) + weight**2 * v11
        assert right(law.risk(alpha), (1 - mean) ** 2 + variance, 1e-12 * ((1 + m0 + weight * abs(m1)) ** 2 + terms))
        snr = mean / mp.sqrt(variance)
        blur = (m0 + weight * abs(m1)) / mp.sqrt(variance) + abs(snr) * terms / variance
        accuracy = 0.5 * math.erfc(-float(max(min(snr, 99), -99)) / math.sqrt(2))
        assert right(law.accuracy(alpha), accuracy, 1e-14 * (1 + blur))
        assert right(law.error(alpha), 1 - accuracy, 1e-14 * (1 + blur))
        assert right(law.worst_alpha(), -m0 / m1 if m1 else None)


@settings(max_examples=200, deadline=None)
@given(problem=EXTREME_PROBLEMS, alpha=ALPHAS)
@example(problem={"beta": 0.8, "n": 400.0, "p": 200.0, "gamma": 1e-200, "mu": 1.0, "mu_perp": 1.0}, alpha=1e200)
@example(problem={"beta": 0.8, "n": 20.0, "p": 40.0, "gamma": 1.0, "mu": 1e-160, "mu_perp": 1.0}, alpha=1e160)
@example(problem={"beta": 0.8, "n": 1e300, "p": 1e300, "gamma": 1e308, "mu": 1.0, "mu_perp": 1.0}, alpha=1.0)
@example(problem={"beta": 0.8, "n": 1e-300, "p": 1e300, "gamma": 1.0, "mu": 1.0, "mu_perp": 1.0}, alpha=1.0)
@example(problem={"beta": 0.8, "n": 20.0, "p": 40.0, "gamma": 1.0, "mu": 1e200, "mu_perp": 1e-200}, alpha=1.0)
@example(problem={"beta": 0.0, "n": 20.0, "p": 40.0, "gamma": 1.0, "mu": 1.0, "mu_perp": 0.0}, alpha=1.0)
@example(problem={"beta": 5e-324, "n": 20.0, "p": 40.0, "gamma": 1.0, "mu": 0.01, "mu_perp": 0.0}, alpha=1.0)
def test_legal_extremes_give_right_numbers_or_nan(problem, alpha):
    exact = oracle.margin_law(**problem, digits=DIGITS)
    assert_right_law(ra.margin_law(**problem), alpha, exact)
    assert right(ra.optimal_alpha(**problem), exact.alpha)
    assert 0.0 <= ra.accuracy(alpha, **problem) <= 1.0 or math.isnan(ra.accuracy(alpha, **problem))


@settings(max_examples=150, deadline=None)
@given(problem=EXTREME_SOURCES, alpha=ALPHAS)
@example(problem={"s": 1e200, "w_perp2": 0.0, "m2": 1.0, "n": 20.0, "p": 40.0, "gamma": 1.0}, alpha=1.0)
def test_legal_extremes_of_a_fixed_source(problem, alpha):
    exact = oracle.fixed_source_law(**problem, digits=DIGITS)
    assert_right_law(fixed_source_law(**problem), alpha, exact)
    assert right(fixed_source_optimal_alpha(**problem), exact.alpha)


@settings(max_examples=200, deadline=None)
@given(problem=EXTREME_PROBLEMS)
def test_legal_extremes_of_the_parts(problem):
    n, p, gamma = (problem[name] for name in ("n", "p", "gamma"))
    source = {name: value for name, value in problem.items() if name not in ("n", "gamma", "label_noise")}
    with mp.workdps(DIGITS):
        assert right(effective_ridge(n, p, gamma), oracle.resolvent(mpf(n), mpf(p), mpf(gamma)).kappa)
        for got, want in zip(source_numbers(**source), oracle.source_numbers(**source, digits=DIGITS), strict=True):
            assert right(got, want)


# The checks themselves.


def test_real_array_takes_what_lies_in_the_range():
    assert real_array("x", [0, 1], 0.0, 1.0).tolist() == [0.0, 1.0]
    assert real_array("x", math.inf, infinite=True) == math.inf
    assert real_array("x", np.float32(0.5)).dtype == np.float64
    assert real_array("x", []).shape == (0,)
    for ends, value in (({"open_low": True}, 0.0), ({"open_high": True}, 1.0)):
        assert_refused("x", real_array, "x", [0.5, value], 0.0, 1.0, **ends)
        real_array("x", [0.5, 1.0 - value], 0.0, 1.0, **ends)


@pytest.mark.parametrize(
    ("value", "options", "message"),
    [
        (1.5, {"low": -1.0, "high": 1.0}, "x must be in [-1, 1], got 1.5"),
        (0, {"low": 0.0, "open_low": True}, "x must be in (0, inf), got 0.0"),
        ([[0.0, 0.5]], {"low": 0.0, "high": 0.5, "open_high": True}, "x must be in [0, 0.5), got 0.5 at index (0, 1)"),
        ([1.0, -math.inf], {}, "x must be finite, got -inf at index (1,)"),
        (math.nan, {"infinite": True}, "x must be a number (not nan), got nan"),
    ],
)
def test_message_has_name_range_value_and_place(value, options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        real_array("x", value, **options)


def test_real_takes_one_number():
    assert real("x", np.array(0.5), 0.0) == 0.5
    assert type(real("x", 3)) is float
    for value in ([0.5], [], -0.5, math.nan, "0.5", None):
        assert_refused("x", real, "x", value, 0.0)


@pytest.mark.parametrize("value", [3, 3.0, np.int64(3), np.uint8(3), np.float32(3.0), np.array(3), np.array(3.0)])
def test_integer_takes_whole_numbers(value):
    assert integer("n", value) == 3
    assert type(integer("n", value)) is int


def test_integer_keeps_large_numbers_exact():
    assert integer("n", 2**70 + 1) == 2**70 + 1
    assert integer("n", 0, low=0) == 0


@pytest.mark.parametrize(
    "value",
    [0, -3, 3.5, np.float64(2.5), math.nan, math.inf, -math.inf, "3", None, True, np.True_, 3 + 0j, [3], np.array([3]),
     np.array(True), fractions.Fraction(7, 2), fractions.Fraction(10**400, 3), -(10**5000)],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_integer_refuses_the_rest(value):
    assert_refused("n", integer, "n", value)


def test_labelled_arrays_are_not_paired_by_position():
    xarray = pytest.importorskip("xarray")
    labelled = xarray.DataArray([0.1, 0.2, 0.3], dims="b")
    assert_refused("beta", ra.margin_law, labelled, [10.0, 20.0, 30.0], 40, 0.1)
    assert_refused("n", ra.simulate, 0.5, labelled, 40, 0.1)


def test_whole_numbers_beyond_int64_are_numbers():
    assert ra.optimal_alpha(0.5, 10**20, 40, 0.1) == ra.optimal_alpha(0.5, 1e20, 40, 0.1)


def test_companions_of_labelled_and_lazy_arrays_are_refused_by_name():
    xarray, dask = pytest.importorskip("xarray"), pytest.importorskip("dask.array")
    for array in (xarray.DataArray([0.1, 0.2], dims="b"), dask.from_array(np.array([0.1, 0.2]))):
        for wrong in (None, {}, "x", math.nan):
            assert_refused("n", ra.optimal_alpha, array, wrong, 400, 0.1)
        assert_refused("beta|n", ra.optimal_alpha, array, [1.0, 2.0, 3.0], 400, 0.1)
    assert_refused("alpha", ra.margin_law(0.5, 20, 30, 0.1).accuracy, xarray.DataArray([0.1, 0.2], dims="b"))


@pytest.mark.parametrize("samples", [1.0, [], "a", [None], np.array(1.0)])
def test_what_is_no_sample_makes_no_estimate(samples):
    assert_refused("samples", ra.Estimate.of, samples)


def test_definiteness_is_refused_for_its_own_reason():
    with pytest.raises(ValueError, match=r"eigenvalue -0\.8"):
        MarginLaw([1, 1, 1], [[1, 0.9, 0.9], [0.9, 1, -0.9], [0.9, -0.9, 1]])
    assert ra.margin_law(0.8, 400, 400, 0.1)
