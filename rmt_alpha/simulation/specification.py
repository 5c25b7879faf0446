"""Simulated problems in terms of JSON: what a checkpoint is bound to, in the words of whoever posed the problem."""

import hashlib
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from rmt_alpha._validation import FloatArray
from rmt_alpha.problem import Experiment, FixedSource, GaussianMixture, Source

_FEW = 16
"""Arrays of so many numbers are written out."""


def of_experiment(experiment: Experiment) -> dict[str, Any]:
    """Describe an isotropic experiment.

    Parameters
    ----------
    experiment : Experiment
        The problem.

    Returns
    -------
    dict
        Its parameters by name.
    """
    values = {f.name: getattr(experiment, f.name) for f in fields(experiment)}
    return values | {"beta": as_json(np.asarray(experiment.beta))}


def of_transfer(target: GaussianMixture, n: int, gamma: float, sources: Iterable[Source]) -> dict[str, Any]:
    """Describe a transfer between mixtures.

    Parameters
    ----------
    target : GaussianMixture
        The target task.
    n : int
        Number of target samples.
    gamma : float
        Ridge penalty of the fine-tuning.
    sources : iterable of RidgeSource or FixedSource
        The sources.

    Returns
    -------
    dict
        Its parameters by name, large arrays by their digests.
    """
    described = [
        {"weights": as_json(source.weights)}
        if isinstance(source, FixedSource)
        else {"mixture": _mixture(source.mixture), "n": source.n, "gamma": source.gamma}
        for source in sources
    ]
    return {"target": _mixture(target), "n": n, "gamma": gamma, "sources": described}


def _mixture(mixture: GaussianMixture) -> dict[str, Any]:
    return {
        "mean": as_json(mixture.mean),
        "covariance": as_json(mixture.covariance),
        "label_noise": mixture.label_noise,
    }


def as_json(array: FloatArray) -> Any:
    """Return an array in terms of JSON.

    Parameters
    ----------
    array : ndarray
        Any array of float64.

    Returns
    -------
    list or dict
        Its numbers if they are few, else its shape and the SHA-256 of its content.
    """
    if array.size <= _FEW:
        return array.tolist()
    content = np.ascontiguousarray(array, dtype="<f8").tobytes()
    return {"shape": list(array.shape), "sha256": hashlib.sha256(content).hexdigest()}
