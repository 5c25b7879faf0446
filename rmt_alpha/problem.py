"""Transfer problems: frozen descriptions that check their parameters once, so that no front has to.

The isotropic problem (THEORY §1): target samples ``x = y μ_β + z`` with ``μ_β = β μ + √(1−β²) μ_⊥``, μ ⊥ μ_⊥,
z ~ N(0, I_p), and a source classifier that is either the oracle ``w̃ = μ`` or the ridge classifier of `n_source`
samples ``x = y μ + z`` with penalty `gamma_source`.
"""

from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import ArrayLike

from rmt_alpha._validation import FloatArray, broadcast_shape, integer, plain, real, real_array


@dataclass(frozen=True, eq=False)
class Isotropic:
    """One isotropic transfer problem, or an array of them (all parameters broadcast).

    Arrays are not copied: they were checked as they are, and must not be changed afterwards.

    Parameters
    ----------
    beta : array_like
        Alignment β of the two tasks, in [-1, 1].
    n : array_like
        Number of target samples, positive; any real number, since the theory only sees ratios.
    p : array_like
        Dimension, positive.
    gamma : array_like
        Ridge penalty γ ≥ 0 of the fine-tuning.
    mu, mu_perp : array_like, default 1
        Norms of μ and μ_⊥, non-negative.
    n_source : array_like, optional
        Number N of source samples. None: the oracle source w̃ = μ.
    gamma_source : array_like, optional
        Ridge penalty γ̃ ≥ 0 of the source; required with `n_source`, forbidden without.
    label_noise, label_noise_source : array_like, default 0
        Probability ε in [0, ½) that a training label is flipped, in the target and in the source.

    Attributes
    ----------
    shape : tuple of int
        The shape to which all parameters broadcast.
    shapes : dict
        The shape of each parameter, by name.

    Raises
    ------
    ValueError
        If a parameter is outside its range, if the shapes do not broadcast, or if only one of `n_source`,
        `gamma_source` is given, or label noise of a source that was not trained.

    Examples
    --------
    >>> problem = Isotropic([0.2, 0.8], n=200, p=400, gamma=0.1)
    >>> problem.shape
    (2,)
    """

    beta: ArrayLike
    n: ArrayLike
    p: ArrayLike
    gamma: ArrayLike
    mu: ArrayLike = 1.0
    mu_perp: ArrayLike = 1.0
    n_source: ArrayLike | None = None
    gamma_source: ArrayLike | None = None
    label_noise: ArrayLike = 0.0
    label_noise_source: ArrayLike = 0.0
    shapes: dict[str, tuple[int, ...]] = field(init=False, repr=False)
    shape: tuple[int, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.init:
                plain(f.name, getattr(self, f.name))
        checked = {
            "beta": real_array("beta", self.beta, -1.0, 1.0),
            "n": real_array("n", self.n, 0.0, open_low=True),
            "p": real_array("p", self.p, 0.0, open_low=True),
            "gamma": real_array("gamma", self.gamma, 0.0),
            "mu": real_array("mu", self.mu, 0.0),
            "mu_perp": real_array("mu_perp", self.mu_perp, 0.0),
            "label_noise": real_array("label_noise", self.label_noise, 0.0, 0.5, open_high=True),
            "label_noise_source": real_array("label_noise_source", self.label_noise_source, 0.0, 0.5, open_high=True),
        }
        if self.n_source is not None and self.gamma_source is not None:
            checked["n_source"] = real_array("n_source", self.n_source, 0.0, open_low=True)
            checked["gamma_source"] = real_array("gamma_source", self.gamma_source, 0.0)
        elif self.n_source is not None:
            raise ValueError("gamma_source is required with n_source, for the ridge of the source")
        elif self.gamma_source is not None:
            raise ValueError("gamma_source needs n_source: without it the source is the oracle w̃ = mu, never trained")
        elif checked["label_noise_source"].any():
            raise ValueError("label_noise_source needs n_source: the oracle source w̃ = mu saw no labels")
        for name, array in checked.items():
            view = array.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)
        shapes = {name: array.shape for name, array in checked.items()}
        object.__setattr__(self, "shapes", shapes)
        object.__setattr__(self, "shape", broadcast_shape(shapes))


@dataclass(frozen=True, eq=False)
class Experiment:
    """An isotropic problem that can be carried out: whole numbers of samples and features, one value of each parameter.

    Only `beta` may be an array: one experiment then serves all its entries, which share source and noise.

    Parameters
    ----------
    beta, n, p, gamma, mu, mu_perp, n_source, gamma_source, label_noise, label_noise_source
        As in `Isotropic`.

    Raises
    ------
    ValueError
        As in `Isotropic`; also if a parameter other than `beta` is an array, if n, p or n_source is not an integer, if
        a length exceeds 1e30 or a penalty 1e60, or if p = 1 leaves no room for μ_⊥, which ``|β| < 1`` and mu_perp > 0
        ask for.

    Examples
    --------
    >>> Experiment(0.8, n=10.5, p=20, gamma=0.1)
    Traceback (most recent call last):
        ...
    ValueError: n must be an integer, got 10.5
    """

    beta: FloatArray
    n: int
    p: int
    gamma: float
    mu: float = 1.0
    mu_perp: float = 1.0
    n_source: int | None = None
    gamma_source: float | None = None
    label_noise: float = 0.0
    label_noise_source: float = 0.0

    def __post_init__(self) -> None:
        problem = Isotropic(**{f.name: getattr(self, f.name) for f in fields(self)})
        object.__setattr__(self, "beta", problem.beta)
        largest = {"mu": 1e30, "mu_perp": 1e30, "gamma": 1e60, "gamma_source": 1e60}
        for name in (*largest, "label_noise", "label_noise_source"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, real(name, getattr(self, name), 0.0, largest.get(name, 0.5)))
        for name in ("n", "p", "n_source"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name)))
        if self.p == 1 and self.mu_perp != 0.0 and np.any(np.abs(self.beta) != 1.0):
            raise ValueError("p must be at least 2 unless |beta| = 1 or mu_perp = 0: p = 1 has no room for mu_perp")
