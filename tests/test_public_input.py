"""Nonsense in any argument of any public function is a ValueError that names it."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import rmt_alpha as ra
from rmt_alpha import lora, plots
from rmt_alpha.comparison import compare
from rmt_alpha.estimation.datasets import LabelledData, load
from rmt_alpha.estimation.held_out import held_out_curves
from rmt_alpha.estimation.mixtures import estimate_mixture
from rmt_alpha.ridge import affine_ridge, reduced_rank_ridge
from rmt_alpha.theory import errata
from rmt_alpha.theory.equivalents import Equivalent, effective_ridge

RNG = np.random.default_rng(0)
X = RNG.standard_normal((40, 3))
Y = np.repeat([-1.0, 1.0], 20)
DATA = LabelledData(X + np.outer(Y, [1, 0, 0]), Y)
OTHER = LabelledData(RNG.standard_normal((40, 3)) + np.outer(Y, [1, 1, 0]), Y)
RUN = ra.simulate(0.5, 20, 30, 0.1, trials=10, seed=0)
LAW = ra.margin_law(0.5, 20, 30, 0.1)
SPREAD = ra.fluctuations(0.5, 20, 30, 0.1)
TRAINED = {"beta": 0.5, "n": 20, "p": 30, "gamma": 0.1, "n_source": 40, "gamma_source": 0.2, "mu": 1.0, "mu_perp": 1.0}
MIXTURE = ra.GaussianMixture([1.0, 0.5], 2.0)
TASK = ra.RegressionTask([[1.0, 0.5], [0.0, 1.0]], 2.0, 0.3)
REGRESSION = ra.RegressionTransfer(TASK, 10, 0.1, [ra.RidgeSource(TASK, 12, 0.3)])
PROBLEM = ra.Transfer(MIXTURE, 10, 0.1, [ra.RidgeSource(MIXTURE, 12, 0.3)])
CURVES = {
    "source": DATA,
    "target": OTHER,
    "n": 16,
    "gamma": 1.0,
    "gamma_source": 1.0,
    "alphas": [0.0, 1.0],
    "splits": 2,
}

WEIGHT = [[1.0, 0.0, 2.0]]
LAYER = lora.AlphaLoRALinear(WEIGHT, rank=1, seed=0)
HISTORY = lora.train(LAYER, X, Y, steps=10)
LORA = {"weight": WEIGHT, "bias": [0.5], "rank": 1, "lora_alpha": 2.0, "ia3": "input", "init": "uniform", "seed": 0}
LORA |= {"rank_stabilized": True}
ADAPTER = {"head": lora.LoRALinear(WEIGHT, rank=1, seed=0)}

CALLS = {
    "simulate": (ra.simulate, TRAINED | {"label_noise": 0.1, "label_noise_source": 0.1, "trials": 2, "seed": 0}),
    "method": (ra.simulate, TRAINED | {"trials": 2, "method": "dense"}),
    "noise": (ra.simulate, TRAINED | {"trials": 2, "noise": "student", "dof": 5.0, "test_size": 10}),
    "workers": (ra.simulate, TRAINED | {"trials": 2, "workers": 1}),
    "progress": (ra.simulate, TRAINED | {"trials": 2, "progress": False}),
    "executor": (ra.simulate, TRAINED | {"trials": 2, "executor": None}),
    "checkpoint": (ra.simulate, TRAINED | {"trials": 2, "checkpoint": None}),
    "GaussianMixture": (ra.GaussianMixture, {"mean": [1.0, 0.0], "covariance": [1.0, 2.0], "label_noise": 0.1}),
    "RidgeSource": (ra.RidgeSource, {"mixture": MIXTURE, "n": 10, "gamma": 0.1}),
    "FixedSource": (ra.FixedSource, {"weights": [1.0, 0.0]}),
    "Transfer": (ra.Transfer, {"target": MIXTURE, "n": 10, "gamma": 0.1, "sources": [ra.FixedSource([1.0, 0.0])]}),
    "Transfer.simulate": (PROBLEM.simulate, {"trials": 2, "seed": 0, "method": "dense", "workers": 1}),
    "Transfer.path": (PROBLEM.path, {"n": [10.0], "gamma": [0.1]}),
    "Transfer.equivalent_classifier": (PROBLEM.equivalent_classifier, {"alpha": 1.0}),
    "Transfer.effective_sample_gain": (PROBLEM.effective_sample_gain, {"alpha": 1.0}),
    "limit_accuracy": (ra.limit_accuracy, {name: x for name, x in TRAINED.items() if name != "gamma"}),
    "optimal_alpha_gamma": (ra.optimal_alpha_gamma, TRAINED | {"label_noise": 0.1}),
    "trained_alpha": (ra.trained_alpha, TRAINED | {"label_noise": 0.1, "label_noise_source": 0.1}),
    "effective_sample_gain": (ra.effective_sample_gain, TRAINED | {"alpha": 1.0, "label_noise": 0.1}),
    "estimate_mixture": (
        estimate_mixture,
        {"X": X, "y": Y, "source_coef": np.ones(3), "scale": np.ones(3), "shrinkage": 0.1},
    ),
    "Transfer.from_data": (
        lambda **given: ra.Transfer.from_data(X_source=X, y_source=Y, **given),
        {"X_target": X, "y_target": Y, "gamma": 0.1, "n": 20, "gamma_source": 0.2, "n_source": 30, "shrinkage": 0.1},
    ),
    "effective_ridge": (effective_ridge, {"eigenvalues": [1.0, 2.0], "n": 10, "gamma": 0.1}),
    "Equivalent": (Equivalent, {"target": MIXTURE, "sources": [ra.FixedSource([1.0, 0.0])]}),
    "RegressionTask": (ra.RegressionTask, {"weights": [[1.0, 0.0]], "covariance": [1.0, 2.0], "noise": 0.1}),
    "RegressionTransfer": (
        ra.RegressionTransfer,
        {"target": TASK, "n": 10, "gamma": 0.1, "sources": [ra.FixedSource(np.eye(2))]},
    ),
    "RegressionTransfer.path": (REGRESSION.path, {"n": [10.0], "gamma": [0.1]}),
    "RegressionTransfer.simulate": (
        REGRESSION.simulate,
        {"trials": 2, "seed": 0, "noise": "student", "dof": 5.0, "workers": 1},
    ),
    "RegressionSimulation.risk": (REGRESSION.simulate(2, seed=0).risk, {"alpha": 1.0}),
    "sweep": (ra.sweep, TRAINED | {"label_noise": 0.1, "trials": 2, "seed": 0, "method": "dense", "together": ()}),
    "compare": (compare, {"simulation": RUN, "alpha": [1.0], "law": LAW}),
    "Simulation.accuracy": (RUN.accuracy, {"alpha": 1.0}),
    "Simulation.risk": (RUN.risk, {"alpha": 1.0}),
    "Simulation.quantile": (RUN.quantile, {"alpha": 1.0, "q": 0.5}),
    "fluctuations": (ra.fluctuations, TRAINED | {"label_noise": 0.1, "label_noise_source": 0.1}),
    "accuracy_std": (ra.accuracy_std, {"alpha": 1.0} | TRAINED),
    "margin_law": (ra.margin_law, TRAINED | {"order": 2}),
    "Fluctuations": (ra.Fluctuations, {"law": LAW, "cov": np.eye(5), "bias": np.zeros(5)}),
    "Fluctuations.accuracy_std": (SPREAD.accuracy_std, {"alpha": 1.0}),
    "Fluctuations.accuracy_interval": (SPREAD.accuracy_interval, {"alpha": 1.0, "coverage": 0.9}),
    "Fluctuations.risk_std": (SPREAD.risk_std, {"alpha": 1.0}),
    "Transfer.margin_law": (PROBLEM.margin_law, {"order": 2}),
    "MarginLaw.moments": (LAW.moments, {"alpha": 1.0}),
    "Estimate.of": (ra.Estimate.of, {"samples": [1.0, 2.0]}),
    "published_norm2": (errata.published_norm2, {"p": 30, "n_source": 40, "gamma_source": 0.2, "mu": 1.0}),
    "published_second_moment": (errata.published_second_moment, {"alpha": 1.0, **TRAINED}),
    "published_optimal_alpha": (errata.published_optimal_alpha, TRAINED),
    "affine_ridge": (affine_ridge, {"X": X, "y": Y, "w_source": np.ones(3), "gamma": 0.1}),
    "reduced_rank_ridge": (
        reduced_rank_ridge,
        {"X": X, "Y": X[:, :2], "W_source": np.eye(2, 3), "gamma": 0.1, "alpha": 0.5, "rank": 1},
    ),
    "estimate_problem": (ra.estimate_problem, {"X": X, "y": Y, "source_coef": np.ones(3)}),
    "leave_one_out": (
        ra.leave_one_out,
        {"X": X, "y": Y, "source_coef": np.ones(3), "gamma": 0.1, "fit_intercept": True},
    ),
    "AlphaRidgeClassifier": (
        lambda **given: ra.AlphaRidgeClassifier(**given).fit(X, Y),
        {"source_coef": np.ones(3), "alpha": 0.5, "gamma": 0.1, "fit_intercept": True, "per_class": True},
    ),
    "AlphaRidge": (
        lambda **given: ra.AlphaRidge(**given).fit(X, Y),
        {"source_coef": np.ones(3), "alpha": 0.5, "gamma": 0.1, "scale": np.ones(3), "per_output": True},
    ),
    "LabelledData": (LabelledData, {"X": X, "y": Y}),
    "held_out_curves": (held_out_curves, CURVES | {"n_source": 16, "seed": 0}),
    "accuracy_curve": (lambda alpha: plots.accuracy_curve(Figure().subplots(), LAW, alpha), {"alpha": [0.0, 1.0]}),
    "phase_diagram": (
        lambda **given: plots.phase_diagram(Figure().subplots(), **given),
        {"beta": [0.0, 1.0], "eta": [0.1, 1.0], "p": 30, "gamma": 0.1, "limit": 10.0, "mu": 1.0},
    ),
    "LoRALinear": (lora.LoRALinear, LORA),
    "AlphaLoRALinear": (lora.AlphaLoRALinear, LORA | {"alpha": 0.5, "train_alpha": True, "scale_bias": False}),
    "DoRALinear": (lora.DoRALinear, LORA | {"detach_norm": False}),
    "Linear": (lora.Linear, {"weight": WEIGHT, "bias": [0.5]}),
    "Linear.random": (lora.Linear.random, {"in_features": 3, "out_features": 2, "seed": 0}),
    "Sequential": (lora.Sequential, {"layers": [LAYER]}),
    "forward": (lora.AlphaLoRALinear(WEIGHT, seed=0).forward, {"x": X}),
    "load_state_dict": (LAYER.load_state_dict, {"state": LAYER.state_dict()}),
    "train": (
        lora.train,
        {
            **{"model": LAYER, "inputs": X, "targets": Y, "loss": "squared", "ridge": 0.1, "steps": 2, "batch_size": 8},
            **{"optimizer": lora.SGD(0.01), "decay": "linear", "held_out": (X, Y), "alpha_optimizer": lora.Adam(0.01)},
            **{"alpha_every": 1, "alpha_batch_size": 8, "alpha_decay": "constant", "validation": (X, Y)},
            **{"validate_every": 1, "patience": 3, "seed": 0, "progress": False},
        },
    ),
    "squared": (lora.squared, {"outputs": X, "targets": X}),
    "softmax_cross_entropy": (lora.softmax_cross_entropy, {"outputs": X, "targets": np.arange(40) % 3}),
    "SGD": (lora.SGD, {"learning_rate": 0.1, "momentum": 0.5}),
    "AdamW": (lora.AdamW, {"learning_rate": 0.1, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.1}),
    **{function.__name__: (function, {"layers": ADAPTER}) for function in (lora.to_peft, lora.peft_config)},
    **{function.__name__: (function, {"layers": ADAPTER}) for function in (lora.to_glora, lora.glora_config)},
    "from_peft": (lora.from_peft, {"arrays": lora.to_peft(ADAPTER)}),
    "alpha_history": (
        lambda **given: plots.alpha_history(Figure().subplots(), HISTORY, **given),
        {"reference": {"theory": 0.5}},
    ),
    "a reference": (
        lambda value: plots.alpha_history(Figure().subplots(), HISTORY, reference={"value": value}),
        {"value": 0.5},
    ),
    "risk_curve": (lambda alpha: plots.risk_curve(Figure().subplots(), LAW, alpha), {"alpha": [0.0, 1.0]}),
}
OPTIONAL = {"w_source", "law", "seed", "n_source", "gamma_source", "dof", "test_size", "workers", "covariance"}
OPTIONAL |= {"executor", "checkpoint", "bias", "lora_alpha", "ia3"}
OPTIONAL |= {"batch_size", "held_out", "alpha_batch_size", "validation", "patience", "reference"}
OPTIONAL_HERE = {
    ("optimal_alpha_gamma", "gamma"),
    ("Transfer.from_data", "n"),
    *((call, "source_coef") for call in ("estimate_mixture", "leave_one_out", "AlphaRidgeClassifier", "AlphaRidge")),
    ("AlphaRidge", "scale"),
    ("estimate_mixture", "scale"),
    ("reduced_rank_ridge", "W_source"),
}
NONSENSE = {
    "object": object(),
    "string": "nonsense",
    "ragged": [1.0, [2.0]],
    "complex": 1j,
    "nan": np.nan,
    "None": None,
}


@pytest.mark.parametrize("call", CALLS)
def test_the_calls_themselves_are_legal(call):
    function, arguments = CALLS[call]
    function(**arguments)


@pytest.mark.parametrize("kind", NONSENSE)
@pytest.mark.parametrize(("call", "name"), [(call, name) for call, (_, given) in CALLS.items() for name in given])
def test_nonsense_is_refused_by_name(call, name, kind):
    if kind == "None" and name in OPTIONAL:
        return  # has a meaning
    if kind == "None" and (call.endswith((".path", "effective_sample_gain")) or (call, name) in OPTIONAL_HERE):
        return  # the problem's own, the best, or none to count from
    if call == "Estimate.of" and kind == "nan":
        kind = "object"  # a sample may be nan, where a problem is undefined
    if name == "checkpoint" and kind == "string":
        return  # a path
    function, arguments = CALLS[call]
    with pytest.raises(ValueError, match=rf"\b{name}\b|nonsense"):
        function(**arguments | {name: NONSENSE[kind]})


@pytest.mark.parametrize("spec", [3, None, object(), 1.5, b"digits:6,8"])
def test_a_specification_is_text_or_a_path(spec):
    with pytest.raises(ValueError, match="spec must be"):
        load(spec)
