r"""Trained layers against theory, in the isotropic model: that a layer is w_α, and where a trained α rests.

Fixed α. With one output the update ``u = s BA`` is any vector, and the objective of `train`, squared loss plus γ‖u‖²,
is strictly convex in u. Let g be its gradient there. Where training rests ``s Bᵀg = 0`` and ``s Ag = 0``: so g = 0
unless B = 0, and the layer is ``w_α = w₀ + α w₁`` of THEORY §1, whatever rank and scaling.

Trained α (THEORY §11). α rests where the source's output is orthogonal to the held-out residuals, while the adapter
rests too. With w̃ the source's weights, that is

    on fresh data      w̃ᵀ(Σ + μμᵀ) w_α = t w̃ᵀμ
    on a fixed batch   w̃ᵀX_hᵀ(y_h − X_h w_α) = 0

for the w_α of the training data at hand: linear equations in α. Both gradients vanish there. So neither the learning
rates, nor the number T of adapter steps between two of α, nor the start have a say in where that is, only in how soon
it is reached. From one training set to the next the solution differs by O(1/√n), and its mean is `trained_alpha` up to
O(1/n). That holds also with the *training* batch for α: a fixed direction sees training residuals γ/κ times as long as
fresh ones, which leaves the place where they are 0. Where the adapter has not moved yet, α heads for the best scale of
the source alone,

    α₀ = t s/(‖w̃‖² + s²),        s = w̃ᵀμ.

Verdict. Training takes half a second, drawing data and solving for the resting α some milliseconds. So the mean of the
learned α is estimated as the mean over the trained draws of (learned − resting), plus the mean of the resting α over
many more draws: a control variate, valid whether or not training goes where it should. Let SE be its standard error.
A theory is refused when it is off by more than

    q SE + ½ |α_trained| (1/(t² n h) + 1/(t_s² N h̃) + 1/p),

q Student's quantile for the trained draws; a theory that is undefined (nan) is not judged. The last term bounds the
O(1/n) bias. Of 142 random problems with p = 30 and 60, 2500 draws each, 98 tell the constant to ¼ (one standard error),
and it is 0.48 at most. In the others the resting α scatters too widely to tell, as where n > p and γ is small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from tqdm import tqdm

from rmt_alpha._blas import one_blas_thread
from rmt_alpha._random import Seed, child, seed_sequence, stream
from rmt_alpha._validation import FloatArray, boolean, integer, real, real_array
from rmt_alpha.estimate import Estimate
from rmt_alpha.laws import MarginLaw
from rmt_alpha.lora.layers import AlphaLoRALinear
from rmt_alpha.lora.optimizers import Adam, Optimizer
from rmt_alpha.lora.training import Batch, Draw, History, train
from rmt_alpha.problem import Experiment
from rmt_alpha.ridge import affine_ridge
from rmt_alpha.theory.isotropic import margin_law, optimal_alpha, residual_fraction
from rmt_alpha.theory.trained import trained_alpha

LEVEL = 1e-3
"""Bound on the probability that any of a family of verdicts refuses a correct theory."""

ALLOWANCE = 0.5
"""Relative bias of the resting α that is allowed for, times the effective number of samples."""

THEORIES = ("trained", "optimal", "risk_optimal")
"""Theories of where α rests: `trained_alpha`, α*, and the α of least squared risk for labels as observed."""

ADAPTERS: tuple[dict[str, Any], ...] = (
    {"rank": 1},
    {"rank": 4, "lora_alpha": 10.0},
    {"rank": 4, "lora_alpha": 3.0, "rank_stabilized": True},
)
"""Adapters that all come to the same classifier."""

UNDONE = 1e-12
"""Part of the source's output below which what the adapter leaves of it is rounding error."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One training set of the isotropic model, with the source that was drawn for it.

    Parameters
    ----------
    inputs : array_like, shape (n, p)
        Training samples in rows.
    labels : array_like, shape (n,)
        Their labels ±1, some flipped.
    source : array_like, shape (p,)
        Weights w̃ of the source.
    mean : array_like, shape (p,)
        The target's mean μ_β.
    gamma : float
        Ridge penalty γ ≥ 0.
    label_noise : float
        Probability that a label is flipped, in [0, ½).

    Raises
    ------
    ValueError
        If a shape does not fit, a number is outside its range, or ridge regression has no solution.
    """

    inputs: FloatArray
    labels: FloatArray
    source: FloatArray
    mean: FloatArray
    gamma: float
    label_noise: float

    _affine: tuple[FloatArray, FloatArray] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("inputs", "labels", "source", "mean"):
            array = np.array(real_array(name, getattr(self, name)))
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        shape = self.inputs.shape
        if self.inputs.ndim != 2 or not self.inputs.size:
            raise ValueError(f"inputs must be a matrix with at least one row and one column, got shape {shape}")
        for name, size in (("labels", shape[0]), ("source", shape[1]), ("mean", shape[1])):
            found = getattr(self, name).shape
            if found != (size,):
                raise ValueError(f"{name} must have shape ({size},) to fit inputs of shape {shape}, got {found}")
        object.__setattr__(self, "gamma", real("gamma", self.gamma, 0.0))
        object.__setattr__(self, "label_noise", real("label_noise", self.label_noise, 0.0, 0.5, open_high=True))
        with one_blas_thread():
            w0, w1 = affine_ridge(self.inputs, self.labels, self.source, self.gamma)
        object.__setattr__(self, "_affine", (w0, w1))

    def classifier(self, alpha: ArrayLike) -> FloatArray:
        """Return the ridge classifier ``w_α``, solved for.

        Parameters
        ----------
        alpha : array_like
            Values of α.

        Returns
        -------
        ndarray, shape (..., p)
            One classifier for each.
        """
        w0, w1 = self._affine
        return np.asarray(w0 + real_array("alpha", alpha)[..., None] * w1)

    def distance(self, weights: ArrayLike, alphas: ArrayLike) -> FloatArray:
        """Return how far trained weights are from the ridge classifiers they should be.

        Parameters
        ----------
        weights : array_like, shape (k, p)
            What was trained.
        alphas : array_like, shape (k,)
            With which α.

        Returns
        -------
        ndarray, shape (k,)
            ``‖w − w_α‖/‖w_α‖`` of each.
        """
        solved = self.classifier(alphas)
        apart = real_array("weights", weights) - solved
        return np.asarray(np.linalg.norm(apart, axis=1) / np.linalg.norm(solved, axis=1))

    def accuracy(self, weights: ArrayLike) -> FloatArray:
        """Return the accuracy of classifiers on fresh data, exactly.

        Parameters
        ----------
        weights : array_like, shape (..., p)
            Classifiers.

        Returns
        -------
        ndarray
            Φ of the margin's mean over its standard deviation, one for each.

        Raises
        ------
        ValueError
            If the shape does not fit.
        """
        w = real_array("weights", weights)
        if w.shape[-1:] != self.mean.shape:
            raise ValueError(f"weights must have shape (..., {self.mean.size}), got {w.shape}")
        largest = np.abs(w).max(axis=-1, keepdims=True)
        w = w / np.where(largest > 0.0, largest, 1.0)  # only the direction counts
        law = MarginLaw((w @ self.mean)[..., None], np.square(w).sum(axis=-1)[..., None, None])
        return np.asarray(law.accuracy())

    def fresh(self, size: int) -> Draw:
        """Return a source of fresh batches, for the argument `held_out` of `train`.

        Parameters
        ----------
        size : int
            Samples in a batch.

        Returns
        -------
        callable
            A function of a Generator that returns inputs and labels, flipped as often as those of training.

        Raises
        ------
        ValueError
            If `size` is not an integer of at least 1.
        """
        rows = integer("size", size)
        return lambda rng: _data(self.mean, rows, self.label_noise, rng)

    def resting_alpha(self, held_out: Batch | None = None) -> float:
        """Return the α at which its gradient on held-out data and that of the adapter vanish.

        Parameters
        ----------
        held_out : (inputs, labels), optional
            A fixed batch; by default fresh data without end.

        Returns
        -------
        float
            The solution of a linear equation, see the module. nan where the adapter undoes whatever α does (γ = 0,
            p ≤ n; or on the training batch, n ≤ p) or no output of the source is seen (w̃ = 0, or a batch of zeros):
            where less than `UNDONE` of that output is left.

        Raises
        ------
        ValueError
            If the batch is no pair of real arrays that fit, or empty.
        """
        w0, w1 = self._affine
        with np.errstate(over="ignore", invalid="ignore"):  # looked for in the result
            if held_out is None:
                overlap = self.source @ self.mean
                pull, aim = self.source + overlap * self.mean, (1.0 - 2.0 * self.label_noise) * overlap
            else:
                X, y = self._batch(held_out)
                outputs = X @ self.source
                pull, aim = outputs @ X, outputs @ y
            left = pull @ w1
            if not abs(left) > UNDONE * (pull @ self.source):
                return float("nan")
            alpha = float((aim - pull @ w0) / left)
        return alpha if np.isfinite(alpha) else float("nan")

    def _batch(self, held_out: object) -> tuple[FloatArray, FloatArray]:
        if not (isinstance(held_out, tuple | list) and len(held_out) == 2):
            raise ValueError(f"held_out must be a pair of inputs and labels, got {type(held_out).__name__}")
        X, y = (real_array("held_out", part) for part in held_out)
        y = y.ravel()
        if X.shape != (y.size, self.source.size) or not y.size:
            raise ValueError(
                f"held_out must have at least one row of {self.source.size} inputs, and a label for each, got shapes "
                f"{X.shape}, {y.shape}"
            )
        return X, y

    def layer(self, alpha: float = 1.0, **options: Any) -> AlphaLoRALinear:
        """Return an untrained layer of one output on the source's weights.

        Parameters
        ----------
        alpha : float, default 1
            The initial α.
        **options
            Those of `AlphaLoRALinear`; `init` is "uniform" here unless given, from which training is faster.

        Returns
        -------
        AlphaLoRALinear
            The layer.
        """
        return AlphaLoRALinear(self.source[None], alpha=alpha, **{"init": "uniform", **options})


def draw(experiment: Experiment, seed: Seed = None) -> Sample:
    """Draw a source and a training set.

    Parameters
    ----------
    experiment : Experiment
        The problem, with a single β.
    seed : int, SeedSequence, Generator or None
        Seed of all draws.

    Returns
    -------
    Sample
        The data. The means lie along the first two axes, which isotropic noise does not notice.

    Raises
    ------
    ValueError
        If there are several β, or ridge regression has no solution.

    Examples
    --------
    >>> sample = draw(Experiment(0.8, n=30, p=20, gamma=0.5), seed=0)
    >>> round(sample.resting_alpha(), 3), float(sample.accuracy(sample.classifier(1.0)).round(3))
    (0.561, 0.779)
    """
    e, root = experiment, seed_sequence(seed)
    if e.beta.ndim:
        raise ValueError(f"beta must be a single number in a trained experiment, got shape {e.beta.shape}")
    axes = np.eye(2, e.p)
    source = e.mu * axes[0]
    if e.n_source is not None and e.gamma_source is not None:
        X, y = _data(source, e.n_source, e.label_noise_source, stream(root, 1))
        with one_blas_thread():
            source = affine_ridge(X, y, None, e.gamma_source)[0]
    mean = e.coordinates @ axes
    X, y = _data(mean, e.n, e.label_noise, stream(root, 0))
    return Sample(X, y, source, mean, e.gamma, e.label_noise)


def trained_classifiers(
    sample: Sample,
    alphas: ArrayLike,
    *,
    steps: int = 3000,
    optimizer: Optimizer = Adam(0.02),  # noqa: B008 - frozen
    seed: Seed = 0,
    **options: Any,
) -> FloatArray:
    """Train a layer for each of several fixed α.

    Parameters
    ----------
    sample : Sample
        The data.
    alphas : array_like, shape (k,)
        Values of α.
    steps, optimizer
        As in `train`.
    seed : int, SeedSequence, Generator or None
        Seed of the initial adapters.
    **options
        Those of the layer.

    Returns
    -------
    ndarray, shape (k, p)
        The weights of each layer, merged: `Sample.classifier` of these α, as far as training converged.

    Raises
    ------
    ValueError
        If `alphas` is not a vector with at least one entry, or as in `train` and `AlphaLoRALinear`.

    Examples
    --------
    >>> sample = draw(Experiment(0.8, n=30, p=20, gamma=0.5), seed=0)
    >>> layers = trained_classifiers(sample, [-1.0, 2.5], rank=1)
    >>> bool(np.allclose(layers, sample.classifier([-1.0, 2.5]), rtol=0, atol=1e-8))
    True
    """
    root, values, weights = seed_sequence(seed), _alphas(alphas), []
    with one_blas_thread():
        for i, alpha in enumerate(values):
            layer = sample.layer(float(alpha), train_alpha=False, seed=child(root, i), **options)
            train(layer, sample.inputs, sample.labels, ridge=sample.gamma, steps=steps, optimizer=optimizer)
            weights.append(layer.merge()[0][0])
    return np.array(weights)


def learned_alpha(
    sample: Sample,
    *,
    held_out: Batch | Draw | None = None,
    alpha: float = 1.0,
    steps: int = 3000,
    optimizer: Optimizer = Adam(0.01, betas=(0.9, 0.99)),  # noqa: B008 - frozen
    seed: Seed = 0,
    rank: int = 8,
    layer: dict[str, Any] | None = None,
    **training: Any,
) -> tuple[float, History]:
    """Train α beside the adapter, as the α-LoRA paper does.

    Parameters
    ----------
    sample : Sample
        The data.
    held_out : (inputs, labels) or callable, optional
        Data for α, as in `train`; by default fresh batches as large as the training set.
    alpha : float, default 1
        The initial α.
    steps, optimizer
        As in `train`.
    seed : int, SeedSequence, Generator or None
        Seed of the initial adapter and of the batches.
    rank : int, default 8
        Rank of the adapter.
    layer : dict, optional
        Other options of the layer, `init` for example.
    **training
        Further arguments of `train`. `ridge` is the sample's γ unless given.

    Returns
    -------
    alpha : float
        Mean of α over the second half of the steps: it keeps trembling where held-out batches are fresh.
    history : History
        What `train` returns.

    Raises
    ------
    ValueError
        If `layer` is no dict or has an option that is an argument here, or as in `train` and `AlphaLoRALinear`.

    Examples
    --------
    >>> sample = draw(Experiment(0.8, n=60, p=20, gamma=1.0), seed=0)
    >>> alpha, history = learned_alpha(sample, steps=3000)
    >>> abs(alpha - sample.resting_alpha()) < 0.03
    True
    """
    root = seed_sequence(seed)
    more: Any = {} if layer is None else layer
    if not isinstance(more, dict) or not more.keys().isdisjoint(("alpha", "train_alpha", "rank", "seed")):
        raise ValueError(f"layer must be a dict of options other than alpha, train_alpha, rank and seed, got {layer!r}")
    stream_ = sample.fresh(len(sample.labels)) if held_out is None else held_out
    model = sample.layer(alpha, rank=rank, seed=child(root, 0), **more)
    arguments = {"ridge": sample.gamma, "seed": child(root, 1), **training}
    with one_blas_thread():
        history = train(
            model, sample.inputs, sample.labels, held_out=stream_, steps=steps, optimizer=optimizer, **arguments
        )
    path = history.alpha["alpha"]
    return float(path[path.size // 2 :].mean()), history


def resting_alphas(experiment: Experiment, trials: int, seed: Seed = None) -> FloatArray:
    """Draw training sets and return where α rests on each, held-out data being fresh.

    Parameters
    ----------
    experiment : Experiment
        The problem, with a single β.
    trials : int
        Number of training sets.
    seed : int, SeedSequence, Generator or None
        Seed of all draws.

    Returns
    -------
    ndarray, shape (trials,)
        `Sample.resting_alpha` of each.

    Examples
    --------
    >>> resting_alphas(Experiment(0.8, n=30, p=20, gamma=0.5), trials=3, seed=0).shape
    (3,)
    """
    root = seed_sequence(seed)
    with one_blas_thread():
        return np.array([draw(experiment, child(root, i)).resting_alpha() for i in range(integer("trials", trials))])


def theories(experiment: Experiment) -> dict[str, float]:
    """Return what each theory of `THEORIES` predicts for the learned α.

    Parameters
    ----------
    experiment : Experiment
        The problem, with a single β.

    Returns
    -------
    dict of str to float
        α by the name of the theory.

    Examples
    --------
    >>> {name: round(alpha, 3) for name, alpha in theories(Experiment(0.8, n=60, p=120, gamma=0.5)).items()}
    {'trained': 0.452, 'optimal': 0.946, 'risk_optimal': 0.411}
    """
    setting = _setting(experiment)
    risk = margin_law(**setting).risk_law(experiment.label_noise)
    values = trained_alpha(**setting), optimal_alpha(**setting), risk.optimal_alpha()
    return dict(zip(THEORIES, map(float, values), strict=True))


def adapter_free_alpha(experiment: Experiment) -> float:
    """Return α₀, the scale of the source alone that has the least squared risk: where α heads before the adapter moves.

    Parameters
    ----------
    experiment : Experiment
        The problem, with a single β.

    Returns
    -------
    float
        ``α₀ = t s/(‖w̃‖² + s²)``, the mean s and ‖w̃‖² over sources in place of their draws. nan where there is no
        source (w̃ = 0), or it has no finite length (γ̃ = 0, N = p).

    Examples
    --------
    >>> round(adapter_free_alpha(Experiment(0.8, n=60, p=120, gamma=0.5)), 4)  # .8/(1 + .64)
    0.4878
    """
    e, beta = experiment, _setting(experiment)["beta"]
    along = length2 = e.mu**2
    if (
        e.n_source is not None and e.gamma_source is not None
    ):  # a ridge classifier of its own task: the mean and the variance of its margin there
        own = margin_law(1.0, e.n_source, e.p, e.gamma_source, mu=e.mu, mu_perp=0.0, label_noise=e.label_noise_source)
        along, length2 = float(own.mean[0]), float(own.cov[0, 0])
    s = beta * along
    return (1.0 - 2.0 * e.label_noise) * s / (length2 + s**2) if 0.0 < length2 < np.inf else float("nan")


@dataclass(frozen=True)
class Verdict:
    """The learned α beside the theories of where it rests.

    Parameters
    ----------
    plain : Estimate
        Mean of the learned α over the trained draws.
    estimate : Estimate
        The same mean with the control variate; n counts the trained draws.
    offset : Estimate
        Learned minus resting α of the same draw.
    theory : dict of str to float
        α by the name of the theory.
    allowance : float
        Bound on the O(1/n) bias.
    level : float
        Probability with which a correct theory may be refused.
    """

    plain: Estimate
    estimate: Estimate
    offset: Estimate
    theory: dict[str, float]
    allowance: float
    level: float = LEVEL

    @property
    def z(self) -> dict[str, float]:
        """Standard scores of (learned − theory), without any allowance.

        nan where the theory is, infinite where all draws agree on another α, and nan where on that of the theory.
        """
        value, stderr = self.estimate.value, self.estimate.stderr
        with np.errstate(divide="ignore", invalid="ignore"):
            return {name: float(np.divide(value - alpha, stderr)) for name, alpha in self.theory.items()}

    @property
    def tolerance(self) -> float:
        """What chance and bias explain; nan where `trained_alpha` is."""
        quantile = float(stats.t.isf(0.5 * self.level, self.estimate.n - 1))
        return quantile * float(self.estimate.stderr) + self.allowance

    def refused(self, name: str) -> bool:
        """Tell whether a theory is further off than chance and bias explain.

        Parameters
        ----------
        name : str
            One of `THEORIES`.

        Returns
        -------
        bool
            Whether it is. False where the theory or the tolerance is nan: then there is nothing to judge.

        Raises
        ------
        ValueError
            If there is no theory of that name.
        """
        if name not in self.theory:
            raise ValueError(f"name must be one of {', '.join(map(repr, self.theory))}, got {name!r}")
        return abs(float(self.estimate.value) - self.theory[name]) > self.tolerance


def judge(
    experiment: Experiment,
    learned: Sequence[float] | FloatArray,
    resting: Sequence[float] | FloatArray,
    more: FloatArray,
    level: float = LEVEL,
) -> Verdict:
    """Hold learned α against the theories.

    Parameters
    ----------
    experiment : Experiment
        The problem.
    learned : array_like, shape (d,)
        The learned α of some draws, at least three.
    resting : array_like, shape (d,)
        The resting α of the same draws, finite.
    more : array_like, shape (m,)
        Resting α of other draws, at least two, finite.
    level : float, default 1e-3
        Probability with which a correct theory may be refused.

    Returns
    -------
    Verdict
        Estimates, theories, and what chance explains.

    Raises
    ------
    ValueError
        If shapes do not fit, there are too few draws, or one has no α where it rests.

    Examples
    --------
    >>> experiment = Experiment(0.6, n=100, p=100, gamma=1.0, mu=1.5, mu_perp=1.2)
    >>> resting = resting_alphas(experiment, 200, seed=0)  # as if learned exactly
    >>> verdict = judge(experiment, resting[:8], resting[:8], resting[8:])
    >>> {name: verdict.refused(name) for name in THEORIES}
    {'trained': False, 'optimal': True, 'risk_optimal': True}
    """
    found, rest, others = (real_array(*pair) for pair in (("learned", learned), ("resting", resting), ("more", more)))
    if found.ndim != 1 or found.shape != rest.shape or found.size < 3 or others.ndim != 1 or others.size < 2:
        raise ValueError(
            f"learned and resting must be vectors of one length of at least 3, and more one of at least 2, got shapes "
            f"{found.shape}, {rest.shape}, {others.shape}"
        )
    offset, mean = Estimate.of(found - rest), Estimate.of(others)
    value, stderr = float(offset.value) + float(mean.value), float(np.hypot(offset.stderr, mean.stderr))
    theory = theories(experiment)
    return Verdict(
        plain=Estimate.of(found),
        estimate=Estimate(value, stderr, found.size),
        offset=offset,
        theory=theory,
        allowance=ALLOWANCE * abs(theory["trained"]) * _inverse_samples(experiment),
        level=real("level", level, 0.0, 1.0, open_low=True, open_high=True),
    )


def fixed_alpha_study(
    experiment: Experiment,
    alphas: ArrayLike,
    trials: int,
    seed: Seed = None,
    *,
    steps: int = 1000,
    adapters: Sequence[dict[str, Any]] = ADAPTERS,
    progress: bool = False,
) -> tuple[FloatArray, Estimate]:
    """Train layers at fixed α on several data sets, and hold them against the ridge classifier.

    Parameters
    ----------
    experiment : Experiment
        The problem, with a single β.
    alphas : array_like, shape (k,)
        Values of α.
    trials : int
        Number of data sets.
    seed : int, SeedSequence, Generator or None
        Seed of all draws.
    steps : int, default 1000
        Steps of each training.
    adapters : sequence of dict
        Options of the layers, taken in turn.
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    distances : ndarray, shape (k,)
        The largest ``‖w − w_α‖/‖w_α‖`` over the data sets, w the trained weights.
    accuracy : Estimate
        Mean accuracy of the trained layers at each α.

    Raises
    ------
    ValueError
        If an argument is outside its range.

    Examples
    --------
    >>> distances, accuracy = fixed_alpha_study(Experiment(0.8, n=30, p=20, gamma=0.5), [-1.0, 2.5], trials=2, seed=0)
    >>> bool((distances < 1e-6).all()), accuracy.value.shape
    (True, (2,))
    """
    root, values, count = seed_sequence(seed), _alphas(alphas), integer("trials", trials)
    if not adapters:
        raise ValueError("adapters must have at least one entry, got none")
    distances, accuracies = [], []
    for i in tqdm(range(count), disable=not boolean("progress", progress), desc="training"):
        sample = draw(experiment, child(root, 0, i))
        options = adapters[i % len(adapters)]
        layers = trained_classifiers(sample, values, steps=steps, seed=child(root, 1, i), **options)
        distances.append(sample.distance(layers, values))
        accuracies.append(sample.accuracy(layers))
    return np.max(distances, axis=0), Estimate.of(np.array(accuracies))


def trained_alpha_study(
    experiment: Experiment,
    trials: int,
    seed: Seed = None,
    *,
    draws: int = 500,
    steps: int = 2000,
    level: float = LEVEL,
    progress: bool = False,
) -> Verdict:
    """Train α beside the adapter on several data sets, fresh batches held out, and judge the theories.

    Parameters
    ----------
    experiment : Experiment
        The problem, with a single β.
    trials : int
        Number of data sets to train on, at least 3.
    seed : int, SeedSequence, Generator or None
        Seed of all draws.
    draws : int, default 500
        Number of further data sets on which the resting α is only solved for, at least 2.
    steps : int, default 2000
        Steps of each training.
    level : float, default 1e-3
        Probability with which a correct theory may be refused.
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    Verdict
        What `judge` returns.

    Raises
    ------
    ValueError
        If an argument is outside its range, or α rests nowhere (see `Sample.resting_alpha`).

    Examples
    --------
    >>> experiment = Experiment(0.6, n=60, p=40, gamma=1.0, mu=1.5, mu_perp=1.2)
    >>> trained_alpha_study(experiment, trials=3, seed=0, draws=50).refused("trained")
    False
    """
    level = real("level", level, 0.0, 1.0, open_low=True, open_high=True)
    root, count = seed_sequence(seed), integer("trials", trials, 3)
    more = resting_alphas(experiment, integer("draws", draws, 2), child(root, 2))
    if np.isnan(more).any():  # before anything is trained
        raise ValueError("experiment must have an alpha that rests: gamma > 0 or p > n, and a source that is not 0")
    learned, resting = [], []
    for i in tqdm(range(count), disable=not boolean("progress", progress), desc="training"):
        sample = draw(experiment, child(root, 0, i))
        learned.append(learned_alpha(sample, steps=steps, seed=child(root, 1, i))[0])
        resting.append(sample.resting_alpha())
    return judge(experiment, learned, resting, more, level)


def _alphas(alphas: ArrayLike) -> FloatArray:
    values = real_array("alphas", alphas)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"alphas must be a vector with at least one entry, got shape {values.shape}")
    return values


def _data(mean: FloatArray, n: int, label_noise: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Draw samples and observed labels."""
    y = rng.choice([-1.0, 1.0], n)
    X = rng.standard_normal((n, mean.size)) + y[:, None] * mean
    return X, np.where(rng.random(n) < label_noise, -y, y)


def _setting(e: Experiment) -> dict[str, Any]:
    if e.beta.ndim:
        raise ValueError(f"beta must be a single number here, got shape {e.beta.shape}")
    return {**vars(e), "beta": float(e.beta)}


def _inverse_samples(e: Experiment) -> float:
    """Return 1/(t² n h) + 1/(t_s² N h̃) + 1/p, infinite where an h is 0."""
    inverse = 1.0 / e.p
    target, source = (e.n, e.gamma, e.label_noise), (e.n_source, e.gamma_source, e.label_noise_source)
    for n, gamma, label_noise in (target, source):
        if n is not None and gamma is not None:
            effective = (1.0 - 2.0 * label_noise) ** 2 * n * float(residual_fraction(n, e.p, gamma))
            inverse += 1.0 / effective if effective > 0.0 else np.inf
    return inverse
