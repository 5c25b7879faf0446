"""Heads in files: what is saved is what is loaded, nothing else is loaded, and no save loses a file."""

import copy
import os

import numpy as np
import pandas
import pytest
from sklearn.cross_decomposition import PLSRegression
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import (
    BayesianRidge,
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifierCV,
    SGDClassifier,
)
from sklearn.svm import SVC

from rmt_alpha.estimation import heads
from rmt_alpha.estimation.estimators import AlphaRidge, AlphaRidgeClassifier
from rmt_alpha.estimation.heads import Head, load_head, save_head

EVERYTHING = {
    "coef": [[0.5, -2.0, 1e-300]],
    "intercept": [0.25],
    "classes": ["ham", "spam"],
    "features": ("a", "b", "γ"),
    "alpha": [0.8, -1.5],
    "gamma": 0.1,
    "scale": [1.0, 2.0, 3.0],
    "slope": 1.75,
}
LEFT_OUT = object()
X = np.array([[1.0, 2.0, 3.0], [-4.0, -1.0, 0.0], [2.0, 0.5, 1.0]])


def saved(tmp_path, **changes):
    """Write a head's file by hand, with some arrays changed or left out."""
    arrays = {"version": 1, **EVERYTHING, "features": np.array(EVERYTHING["features"])} | changes
    path = tmp_path / "head.npz"
    np.savez(path, allow_pickle=True, **{name: value for name, value in arrays.items() if value is not LEFT_OUT})
    return path


def assert_same(head, other):
    for name in EVERYTHING:
        ours, theirs = getattr(head, name), getattr(other, name)
        if ours is None or theirs is None:
            assert ours is theirs, name
        else:
            assert np.array_equal(ours, theirs), name
            assert np.asarray(ours).dtype == np.asarray(theirs).dtype, name


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict.fromkeys(["classes", "features", "alpha", "gamma", "scale", "slope"]),
        {"coef": np.arange(3.0), "intercept": 1.0, "alpha": 0.5},
        {"coef": np.eye(3), "intercept": 0.0, "classes": [3, 5, 8], "alpha": np.zeros((3, 2))},
        {"coef": np.eye(3), "intercept": np.arange(3.0), "classes": None, "slope": None},
        {"classes": [False, True]},
        {"classes": [-1.5, 2.5]},
    ],
)
def test_what_is_saved_is_loaded(tmp_path, changes):
    head = Head(**(EVERYTHING | changes))
    save_head(tmp_path / "head.npz", head)
    again = load_head(str(tmp_path / "head.npz"))
    assert_same(head, again)
    assert os.listdir(tmp_path) == ["head.npz"]
    with np.load(tmp_path / "head.npz", allow_pickle=False) as file:
        assert int(file["version"]) == 1
        assert set(file) == {"version", *EVERYTHING}
    assert_same(copy.deepcopy(again), head)


def test_predictions_of_a_binary_head():
    head = Head(**EVERYTHING)
    scores = X @ np.array(EVERYTHING["coef"][0]) + 0.25
    assert head.decision_function(X) == pytest.approx(scores, rel=1e-15)
    assert head.predict(X).tolist() == ["ham", "spam", "spam"]
    assert head.predict_proba(X)[:, 1] == pytest.approx(1 / (1 + np.exp(-1.75 * scores)))
    assert head.predict_proba(X).sum(axis=1) == pytest.approx([1.0] * 3)
    assert np.array_equal(
        Head(coef=[1e90], slope=10.0, classes=[0, 1]).predict_proba([[1e90], [-1e90]]), [[0, 1], [1, 0]]
    )


def test_predictions_of_other_heads():
    head = Head(coef=np.diag([1.0, 2.0, -1.0]), intercept=[0.0, 1.0, 0.0], classes=["x", "y", "z"], slope=0.5)
    scores = np.array([[1.0, 5.0, -3.0], [-4.0, -1.0, 0.0], [2.0, 2.0, -1.0]])
    assert np.array_equal(head.decision_function(X), scores)
    assert head.predict(X).tolist() == ["y", "z", "x"]
    exponentials = np.exp(0.5 * scores)
    assert head.predict_proba(X) == pytest.approx(exponentials / exponentials.sum(axis=1, keepdims=True))
    assert Head(coef=[1.0, 0.0, 1.0], intercept=0.5).predict(X) == pytest.approx([4.5, -3.5, 3.5])
    assert Head(coef=np.eye(3)[:2]).predict(X) == pytest.approx(X[:, :2])
    assert not hasattr(Head(coef=[1.0]), "classes_")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda head: head.predict([[1.0, 2.0]]), r"X must have shape \(n, 3\)"),
        (lambda head: head.predict([1.0, 2.0, 3.0]), r"X must have shape \(n, 3\)"),
        (lambda head: head.predict([[1.0, 2.0, np.nan]]), "X must be finite"),
        (lambda head: head.predict([["a", "b", "c"]]), "X must be real numbers"),
        (lambda head: head.decision_function([[1e308, -1e308, 0.0]]), "X or coef must be smaller"),
        (lambda _: Head(coef=[1.0]).predict_proba([[1.0]]), "slope"),
    ],
)
def test_bad_samples(call, message):
    with pytest.raises(ValueError, match=message):
        call(Head(**EVERYTHING))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"coef": 1.0}, r"coef must have shape \(p,\) or \(d, p\)"),
        ({"coef": np.ones((1, 1, 3))}, r"coef must have shape"),
        ({"coef": np.ones((0, 3))}, r"coef must have shape"),
        ({"coef": np.ones((1, 0))}, r"coef must have shape"),
        ({"coef": [[0.0, np.nan, 1.0]]}, "coef must be finite"),
        ({"coef": ["a", "b", "c"]}, "coef must be real numbers"),
        ({"intercept": [0.0, 1.0]}, r"intercept must be a number or have shape \(1,\)"),
        ({"intercept": np.inf}, "intercept must be finite"),
        ({"classes": ["ham"]}, "classes must be 2"),
        ({"classes": [0, 1, 2]}, "classes must be 2"),
        ({"classes": [3, 3]}, "classes must be different"),
        ({"classes": [0.0, np.nan]}, "classes must be finite"),
        ({"classes": ["a", "b\0"]}, "classes must not hold the character NUL"),
        ({"classes": np.array(["a\0", "a"], dtype=object)}, "classes must not hold the character NUL"),
        ({"classes": [0, None]}, "classes must be numbers, booleans or strings"),
        ({"classes": [1j, 2j]}, "classes must be numbers, booleans or strings"),
        ({"features": ("a", "b")}, "features must name the 3 columns"),
        ({"features": ("a", "b", 3)}, "features must be strings"),
        ({"features": ("a", "b", "c\0")}, "features must not hold the character NUL"),
        ({"alpha": np.nan}, "alpha must be finite"),
        ({"gamma": -0.5}, r"gamma must be in \[0, inf\), got -0.5"),
        ({"gamma": [1.0]}, "gamma must be a single number"),
        ({"scale": [1.0, 1.0]}, r"scale must have shape \(3,\)"),
        ({"scale": [1.0, 0.0, 1.0]}, r"scale must be in \(0, inf\)"),
        ({"slope": -1.0}, r"slope must be in \[0, inf\)"),
        ({"classes": None}, "slope"),
    ],
)
def test_no_head(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        Head(**(EVERYTHING | changes))
    arrays = {name: [] if value is None else np.asarray(value) for name, value in changes.items()}
    pickled = any(np.asarray(array).dtype.kind == "O" for array in arrays.values())
    in_files = not pickled and "\\x00" not in repr(changes)
    if in_files and message != "features must be strings":
        with pytest.raises(ValueError, match=rf"head\.npz: {message}"):
            load_head(saved(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": LEFT_OUT}, "is not a whole saved head: it has no array 'version'"),
        ({"coef": LEFT_OUT}, "has no array 'coef'"),
        ({"intercept": LEFT_OUT}, "has no array 'intercept'"),
        ({"slope": LEFT_OUT}, "has no array 'slope'"),
        ({"coef": []}, "coef must"),
        ({"extra": 3.0}, "has arrays that no head has: 'extra'"),
        ({"version": 2}, "version must be 1, got 2"),
        ({"version": "1"}, "version must"),
        ({"version": [1]}, "version must"),
        ({"coef": np.array([1.0, None, 2.0])}, "'coef' cannot be read"),
        ({"classes": np.array(["a", None])}, "'classes' cannot be read"),
        ({"features": np.arange(3)}, "features must be strings"),
        ({"features": np.array([["a", "b", "c"]])}, "features must be strings"),
    ],
)
def test_no_file_of_a_head(tmp_path, changes, message):
    with pytest.raises(ValueError, match=r"head\.npz: ") as error:
        load_head(saved(tmp_path, **changes))
    assert message in str(error.value)


def test_damaged_files(tmp_path):
    path = tmp_path / "head.npz"
    with pytest.raises(ValueError, match=r"head\.npz: no such file"):
        load_head(path)
    with pytest.raises(ValueError, match="is not a file"):
        load_head(tmp_path)
    with pytest.raises(ValueError, match="path must be text or a path"):
        load_head(3)
    save_head(path, Head(**EVERYTHING))
    content = path.read_bytes()
    reasons = set()
    for size in range(0, len(content), 97):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"head\.npz: is (not|a damaged)"):
            load_head(path)
    for at in range(0, len(content), 13):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x55]) + content[at + 1 :])
        reason = None
        try:
            assert_same(load_head(path), Head(**EVERYTHING))  # what zip does not look at: dates, attributes
        except ValueError as error:
            reason = str(error)
        assert reason is None or reason.startswith(f"{path}: ")
        reasons.add(reason)
    assert len(reasons) > 5
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(path)
    with pytest.raises(ValueError, match=r"is not an \.npz archive"):
        load_head(path)


@pytest.mark.parametrize("place", ["savez", "fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_save_loses_nothing(tmp_path, monkeypatch, place, error):
    path = tmp_path / "head.npz"
    save_head(path, Head(**EVERYTHING))
    before = path.read_bytes()

    def fail(*_, **__):
        raise error

    monkeypatch.setattr(heads.np if place == "savez" else heads.os, place, fail)
    with pytest.raises(type(error)):
        save_head(path, Head(coef=[1.0]))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["head.npz"]


def test_bad_paths(tmp_path):
    head = Head(coef=[1.0])
    for wrong in (tmp_path / "head.csv", tmp_path / "head", 3):
        with pytest.raises(ValueError, match="path must"):
            save_head(wrong, head)
    with pytest.raises(OSError, match="No such file"):
        save_head(tmp_path / "no" / "head.npz", head)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression().fit(X, ["b", "a", "b"]),
        LogisticRegression().fit(np.vstack([X, X]), np.array(["c", "a", "b"] * 2, dtype=object)),
        Ridge().fit(X, [1.0, 2.0, 4.0]),
        LinearRegression(fit_intercept=False).fit(X, np.eye(3)[:, :2]),
        SVC(kernel="linear").fit(X, ["b", "a", "b"]),
    ],
)
def test_heads_of_fitted_linear_models(tmp_path, model):
    path = tmp_path / "head.npz"
    save_head(path, model)
    head = load_head(path)
    assert np.array_equal(head.coef_, np.atleast_2d(model.coef_))
    assert head.predict(X) == pytest.approx(model.predict(X)) if head.classes is None else True
    if head.classes is not None:
        assert head.decision_function(X) == pytest.approx(model.decision_function(X))
        assert head.predict(X).tolist() == model.predict(X).tolist()


def test_what_is_no_linear_model(tmp_path):
    for wrong in (LogisticRegression(), np.ones(3), "head.npz", None):
        with pytest.raises(ValueError, match="head must be a Head or a fitted linear model"):
            save_head(tmp_path / "head.npz", wrong)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SVC(kernel="linear"), "those of SVC are for pairs of classes"),
        (PLSRegression(1), "predict of PLSRegression is not coef_ x"),
        (PoissonRegressor(), "predict of PoissonRegressor is not coef_ x"),
    ],
)
def test_weights_that_do_something_else(model, message):
    samples = np.random.default_rng(0).standard_normal((12, 3)) + 0.5
    with pytest.raises(ValueError, match=message):
        heads.head_of(model.fit(samples, [0, 1, 2] * 4))


def test_sparse_weights():
    samples = np.random.default_rng(0).standard_normal((12, 3))
    model = SGDClassifier(random_state=0).fit(samples, [0, 1, 2] * 4)
    weights = model.coef_.copy()
    assert np.array_equal(heads.head_of(model.sparsify()).coef, weights)


@pytest.mark.parametrize("model", [RidgeClassifierCV(), BayesianRidge(), HuberRegressor()])
def test_what_others_call_alpha_and_scale_is_not_kept(model):
    samples = np.random.default_rng(0).standard_normal((12, 3))
    head = heads.head_of(model.fit(samples, [0, 1] * 6))
    assert head.alpha is head.gamma is head.scale is head.slope is None


def test_our_own_numbers_are_kept_when_frozen():
    samples = np.random.default_rng(0).standard_normal((12, 3))
    model = AlphaRidgeClassifier(np.ones(3), 0.5, 0.1).fit(samples, [0, 1] * 6)
    head = heads.head_of(FrozenEstimator(model))
    assert (head.alpha, head.gamma, head.slope) == (0.5, 0.1, model.slope_)


def test_tables_need_the_features_of_the_head():
    head = Head([1.0, 2.0], classes=[0, 1], features=("a", "b"), slope=1.0)
    table = pandas.DataFrame([[1.0, -1.0]], columns=["a", "b"])
    assert head.decision_function(table) == [-1.0]
    assert head.decision_function(table.rename(columns={"a": 0, "b": 1})) == [-1.0]  # no names
    assert Head([1.0, 2.0]).decision_function(table) == [-1.0]
    for call in (head.decision_function, head.predict, head.predict_proba):
        with pytest.raises(ValueError, match="in their order: its column 0 is 'b', the head's 'a'"):
            call(table[["b", "a"]])
    with pytest.raises(ValueError, match="its column 1 is 'c', the head's 'b'"):
        head.predict(table.rename(columns={"b": "c"}))
    with pytest.raises(ValueError, match="its column 1 is None, the head's 'b'"):
        head.predict(table[["a"]])


@pytest.mark.parametrize("labels", [["b", "a"] * 6, [True, False] * 6, [7, 3, 5] * 4])
def test_heads_of_our_classifiers(tmp_path, labels):
    rng = np.random.default_rng(0)
    names = ["a", "b", "c"]
    samples = pandas.DataFrame(rng.standard_normal((12, 3)) + np.eye(3)[np.unique(labels, return_inverse=True)[1]])
    samples.columns = names
    samples *= [1.0, 10.0, 0.1]
    outputs = len(set(labels)) if len(set(labels)) > 2 else 1
    model = AlphaRidgeClassifier(rng.standard_normal((outputs, 3)), scale="std").fit(samples, labels)
    save_head(tmp_path / "head.npz", model)
    head = load_head(tmp_path / "head.npz")
    assert head.features == tuple(names)
    assert head.predict_proba(samples) == pytest.approx(model.predict_proba(samples), rel=1e-12)
    assert head.predict(samples).tolist() == model.predict(samples).tolist()
    assert head.gamma == 1.0
    assert np.array_equal(head.alpha, model.alpha_)
    assert np.array_equal(head.scale, model.scale_)

    # and as a source, in original units: α = 1 with a heavy penalty returns it
    again = AlphaRidgeClassifier(head, alpha=1.0, gamma=1e12, scale="std").fit(samples, labels)
    assert again.coef_ == pytest.approx(model.coef_, rel=1e-6, abs=1e-9)
    renamed = samples.rename(columns={"a": "z"})
    with pytest.raises(ValueError, match="same features"):
        AlphaRidgeClassifier(head).fit(renamed, labels)


def test_heads_of_our_regressions(tmp_path):
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((12, 3))
    for responses in (samples[:, 0], samples[:, :2] + 1.0):
        model = AlphaRidge(responses.T @ samples / 12, alpha=0.5, gamma=0.1).fit(samples, responses)
        save_head(tmp_path / "head.npz", model)
        head = load_head(tmp_path / "head.npz")
        assert head.classes is None
        assert head.alpha == 0.5
        assert head.predict(samples) == pytest.approx(model.predict(samples))
