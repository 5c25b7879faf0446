r"""Training of adapters: the α-LoRA paper's procedure, and what is needed around it.

Statement (THEORY §11). The adapter θ follows the gradient of the *training* loss plus a ridge on the update,

    L(f(x), y) averaged over a minibatch + γ‖s BA‖²,

and every T-th step α follows the gradient of the loss on a *held-out* batch, the adapter held fixed. The paper's rules
are AdamW (learning rate 1e-4, betas .9 and .99, linear decay) for θ, Adam (5e-3) for α and T = 10; they are the
defaults. With one output, squared loss and γ > 0, θ converges to the ridge classifier of THEORY §1 for the α of the
moment: exactly so under Adam or SGD, since AdamW's weight decay is one more pull, on A and B apart. Where α comes to
rest is not the α of highest accuracy: `rmt_alpha.trained_alpha`.

Stopping rule: `steps` steps; with patience, the first `patience` observations in a row without a new least validation
loss. A number that is no longer finite ends the training as diverged.

Randomness: minibatches of the training data and of the held-out data have streams of their own, so that the order of
one does not depend on the other. Cost: one forward and one backward pass a step.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, integer, real, real_array
from rmt_alpha.lora.layers import Arrays, Module
from rmt_alpha.lora.losses import LOSSES, Loss
from rmt_alpha.lora.optimizers import Adam, AdamW, Optimizer

Batch = tuple[ArrayLike, ArrayLike]
"""Inputs and targets."""

Draw = Callable[[np.random.Generator], Batch]
"""A function that returns a fresh batch."""

Decay = Callable[[float], float]
"""Factor of the learning rate when a fraction of the steps is done."""

Data = tuple[FloatArray, NDArray[Any]]
T = TypeVar("T")

DECAYS: dict[str, Decay] = {"linear": lambda done: 1.0 - done, "constant": lambda done: 1.0}  # noqa: ARG005
"""The decays by name."""


@dataclass(frozen=True, eq=False)
class History:
    """What happened in a training.

    Parameters
    ----------
    loss : ndarray, shape (steps,)
        Objective on the batch of each step, ridge included, before the step.
    alpha : dict of str to ndarray, shape (k+1, ...)
        Each trained α, at the start and after each of its k steps.
    alpha_steps : ndarray of int, shape (k+1,)
        Number of steps made at these moments.
    alpha_loss : ndarray, shape (k,)
        Loss on the batch of each step of α.
    validation_loss : ndarray, shape (v,)
        Validation loss, from before the first step on.
    validation_steps : ndarray of int, shape (v,)
        Number of steps made at these moments.
    best_step : int
        Number of steps made by the state that the model was left in.
    stopped_early : bool
        Whether patience ran out.
    """

    loss: FloatArray
    alpha: Arrays
    alpha_steps: NDArray[np.int64]
    alpha_loss: FloatArray
    validation_loss: FloatArray
    validation_steps: NDArray[np.int64]
    best_step: int
    stopped_early: bool


@dataclass
class _Diary:
    """A history in the making."""

    loss: list[float] = field(default_factory=list)
    alpha: list[Arrays] = field(default_factory=list)
    alpha_steps: list[int] = field(default_factory=list)
    alpha_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)

    def note_alpha(self, alphas: Arrays) -> None:
        self.alpha.append({name: array.copy() for name, array in alphas.items()})
        self.alpha_steps.append(len(self.loss))

    def note_validation(self, value: float) -> None:
        self.validation_loss.append(value)
        self.validation_steps.append(len(self.loss))

    @property
    def best(self) -> int:
        """Which observation was the first with the least loss."""
        return int(np.argmin(self.validation_loss))

    @property
    def idle(self) -> int:
        """How many observations were made since."""
        return len(self.validation_loss) - 1 - self.best

    def closed(self, best_step: int, stopped_early: bool) -> History:
        return History(
            loss=np.array(self.loss),
            alpha={name: np.array([at[name] for at in self.alpha]) for name in self.alpha[0]},
            alpha_steps=np.array(self.alpha_steps, dtype=np.int64),
            alpha_loss=np.array(self.alpha_loss),
            validation_loss=np.array(self.validation_loss),
            validation_steps=np.array(self.validation_steps, dtype=np.int64),
            best_step=best_step,
            stopped_early=stopped_early,
        )


class _DivergedError(ValueError):
    """A number of the model is not finite."""


@contextmanager
def _diverging() -> Iterator[None]:
    """Tell divergence from other errors: inputs are finite, so what a layer or a loss refuses came from the model."""
    try:
        yield
    except ValueError as error:
        if "must be finite" not in str(error):
            raise
        raise _DivergedError(str(error)) from None


@dataclass(frozen=True)
class _Objective:
    """The loss of a model on a batch, and its gradients."""

    model: Module
    loss: Loss

    @_diverging()
    def value(self, batch: Data) -> float:
        value, _ = self.loss(self.model.forward(batch[0]), batch[1])
        return real("loss", value)

    @_diverging()
    def gradients(self, batch: Data, ridge: float = 0.0) -> tuple[float, Arrays]:
        value, gradient = self.loss(self.model.forward(batch[0]), batch[1])
        grads = self.model.parameter_gradients(gradient)
        if ridge:
            size, pull = self.model.update_penalty()
            value += ridge * size
            for name, array in pull.items():
                grads[name] += ridge * array
        return real("loss", value), grads


class _Descent:
    """Parameters that follow gradients by a rule of their own."""

    def __init__(self, parameters: Arrays, optimizer: Optimizer, decay: Decay) -> None:
        self.parameters, self.optimizer, self.decay = parameters, optimizer, decay
        self.memory = optimizer.start(parameters)

    def step(self, grads: Arrays, done: float) -> None:
        rate = self.optimizer.learning_rate * self.decay(done)
        self.optimizer.step(self.parameters, grads, self.memory, rate)


@np.errstate(over="ignore", invalid="ignore")  # looked for in the results
def train(
    model: Module,
    inputs: ArrayLike,
    targets: ArrayLike,
    *,
    loss: str | Loss = "squared",
    ridge: float = 0.0,
    steps: int = 1000,
    batch_size: int | None = None,
    optimizer: Optimizer = AdamW(1e-4, betas=(0.9, 0.99)),  # noqa: B008 - frozen
    decay: str = "linear",
    held_out: Batch | Draw | None = None,
    alpha_optimizer: Optimizer = Adam(5e-3),  # noqa: B008 - frozen
    alpha_every: int = 10,
    alpha_batch_size: int | None = None,
    alpha_decay: str = "constant",
    validation: Batch | None = None,
    validate_every: int = 10,
    patience: int | None = None,
    seed: Seed = None,
    progress: bool = False,
) -> History:
    """Train a model in place.

    Parameters
    ----------
    model : Module
        A layer or a network. Its parameters called ``alpha`` are trained as α, all others as the adapter; there may be
        none of either, not of both.
    inputs : array_like, shape (n, ...)
        Training inputs.
    targets : array_like, shape (n, ...)
        Their targets: of the shape of the outputs for squared loss, classes for cross-entropy.
    loss : {"squared", "cross_entropy"} or callable, default "squared"
        Name of a loss of `rmt_alpha.lora.losses`, or a function that returns a value and its gradient.
    ridge : float, default 0
        Penalty γ ≥ 0 on the squared length of the additive updates ``s BA`` (not on B and A apart).
    steps : int, default 1000
        Number of steps at most.
    batch_size : int, optional
        Samples in a minibatch, drawn without replacement and shuffled anew when all were used; all samples by default.
    optimizer : Optimizer, default AdamW(1e-4, betas=(0.9, 0.99))
        Rule for all parameters but α.
    decay : {"linear", "constant"}
        How its learning rate falls: in a straight line to 0 at the end, or not at all.
    held_out : (inputs, targets) or callable, optional
        Data for α, or a function of a Generator that returns a fresh batch. By default α is trained on the training
        data. A model without a trained α takes none.
    alpha_optimizer : Optimizer, default Adam(5e-3)
        Rule for α.
    alpha_every : int, default 10
        Number T of steps of the adapter before each step of α.
    alpha_batch_size : int, optional
        Samples in a minibatch for α; all of them by default, and the whole batch that a function returns.
    alpha_decay : {"linear", "constant"}
        As `decay`, for α.
    validation : (inputs, targets), optional
        Data on which the loss is observed, without any ridge.
    validate_every : int, default 10
        Number of steps between two observations; one more is made after the last step.
    patience : int, optional
        Stop when this many observations in a row bring no new least validation loss, and leave the model in the state
        that had it, also when the steps ran out. By default no state is brought back.
    seed : int, SeedSequence, Generator or None
        Seed of the minibatches. The same seed, data and model give the same bits.
    progress : bool, default False
        Whether to show a bar.

    Returns
    -------
    History
        Losses and values of α on the way.

    Raises
    ------
    ValueError
        If an argument is outside its range or shapes do not fit; nothing is changed then, unless it is a batch of
        one's own function that does not fit. Or if the training diverges: some number is no longer finite.

    Notes
    -----
    The parameters are updated in place at every step. So when interrupted, the model has what it learned so far; the
    history is lost. However the training ends, by an error or an interruption too, a model trained with patience is
    left in its best state.

    Examples
    --------
    >>> from rmt_alpha.lora import AlphaLoRALinear
    >>> rng = np.random.default_rng(0)
    >>> X, source = rng.standard_normal((80, 5)), np.array([[1.0, -1.0, 0.5, 0.0, 2.0]])
    >>> y = 0.3 * X @ source.T  # the same direction, shorter
    >>> layer = AlphaLoRALinear(source, rank=1, seed=0)
    >>> history = train(layer, X[:40], y[:40], held_out=(X[40:], y[40:]), ridge=1.0, steps=4000)
    >>> history.alpha["alpha"][[0, -1]].round(2)
    array([1.  , 0.32])
    """
    if not isinstance(model, Module):
        raise ValueError(f"model must be a Module of rmt_alpha.lora, got {type(model).__name__}")
    parameters = model.parameters()
    if not parameters:
        raise ValueError("model must have parameters to train, got none")
    alphas = {name: array for name, array in parameters.items() if name.rpartition(".")[2] == "alpha"}
    measure = _choice("loss", loss, LOSSES) if not callable(loss) else loss
    ridge, steps = real("ridge", ridge, 0.0), integer("steps", steps)
    alpha_every, validate_every = integer("alpha_every", alpha_every), integer("validate_every", validate_every)
    for name, rule in (("optimizer", optimizer), ("alpha_optimizer", alpha_optimizer)):
        if isinstance(rule, type) or not isinstance(rule, Optimizer):
            raise ValueError(f"{name} must be an optimizer such as Adam(), got {rule!r}")
    alpha_descent = _Descent(alphas, alpha_optimizer, _choice("alpha_decay", alpha_decay, DECAYS))
    adapter = {name: array for name, array in parameters.items() if name not in alphas}
    descent = _Descent(adapter, optimizer, _choice("decay", decay, DECAYS))
    if patience is not None:
        patience = integer("patience", patience)
        if validation is None:
            raise ValueError(f"patience must be None without validation data, got {patience}")
    if not isinstance(progress, bool | np.bool_):
        raise ValueError(f"progress must be True or False, got {progress!r}")

    root = seed_sequence(seed)
    data = _data("inputs", (inputs, targets))
    batches = _batches("batch_size", data, batch_size, stream(root, 0))
    if held_out is not None and not alphas:
        raise ValueError("held_out must be None for a model without a trained alpha, which alone would use it")
    if callable(held_out):
        if alpha_batch_size is not None:
            raise ValueError(f"alpha_batch_size must be None where held_out draws batches, got {alpha_batch_size!r}")
        apart, draws = data, _drawn(held_out, stream(root, 1))
    else:
        apart = data if held_out is None else _data("held_out", held_out)
        draws = _batches("alpha_batch_size", apart, alpha_batch_size, stream(root, 1))
    watched = None if validation is None else _data("validation", validation)

    objective, diary = _Objective(model, measure), _Diary()
    for known in (data, apart):  # what does not fit is refused before anything is changed
        objective.value(known)
    best_state: Arrays = {}

    def observe(known: Data) -> None:
        diary.note_validation(objective.value(known))
        if patience is not None and not diary.idle:
            best_state.update(model.state_dict())

    diary.note_alpha(alphas)
    if watched is not None:
        observe(watched)
    try:
        for step in tqdm(range(1, steps + 1), disable=not progress, desc="training", unit="step"):
            done = (step - 1) / steps
            value, grads = objective.gradients(next(batches), ridge)
            descent.step(grads, done)
            diary.loss.append(value)
            if alphas and step % alpha_every == 0:
                value, grads = objective.gradients(next(draws))
                alpha_descent.step(grads, done)
                diary.alpha_loss.append(value)
                diary.note_alpha(alphas)
            if watched is not None and (step % validate_every == 0 or step == steps):
                observe(watched)
                if diary.idle == patience:
                    break
        if not all(np.isfinite(array).all() for array in parameters.values()):
            raise _DivergedError("parameters must be finite")
    except _DivergedError as error:
        diverged = f"the learning rate must be smaller: the training diverged after {len(diary.loss)} steps"
        raise ValueError(diverged) from error
    finally:
        if patience is not None:
            model.load_state_dict(best_state)
    return diary.closed(
        best_step=len(diary.loss) if patience is None else diary.validation_steps[diary.best],
        stopped_early=patience is not None and diary.idle >= patience,
    )


def _choice(name: str, value: object, choices: Mapping[str, T]) -> T:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return choices[value]


def _data(name: str, batch: object) -> Data:
    """Return inputs and targets as arrays of the same length."""
    if not (isinstance(batch, tuple | list) and len(batch) == 2):
        raise ValueError(f"{name} must be a pair of inputs and targets, got {type(batch).__name__}")
    inputs = real_array(name, batch[0])
    try:
        targets = np.asarray(batch[1])
    except ValueError as error:
        raise ValueError(f"{name} must have targets that are an array: {error}") from None
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"{name} must have as many rows as its targets, got shapes {inputs.shape}, {targets.shape}")
    return inputs, targets


def _drawn(draw: Draw, rng: np.random.Generator) -> Iterator[Data]:
    while True:
        yield _data("held_out", draw(rng))


def _batches(name: str, data: Data, size: int | None, rng: np.random.Generator) -> Iterator[Data]:
    """Check the size now, and yield minibatches for ever."""
    n = len(data[0])
    size = n if size is None else integer(name, size)
    if size > n:
        raise ValueError(f"{name} must be at most the number of samples, {n}, got {size}")
    return _shuffled(data, size, rng)


def _shuffled(data: Data, size: int, rng: np.random.Generator) -> Iterator[Data]:
    inputs, targets = data
    n = len(inputs)
    while True:
        if size == n:
            yield data
            continue
        order = rng.permutation(n)
        for first in range(0, n, size):
            rows = order[first : first + size]
            yield inputs[rows], targets[rows]
