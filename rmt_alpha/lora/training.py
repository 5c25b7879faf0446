r"""Training of adapters: the α-LoRA paper's procedure, and what is needed around it.

Statement (THEORY §11). The adapter θ follows the gradient of the *training* loss plus a ridge on the update,

    L(f(x), y) averaged over a minibatch + γ‖s BA‖²,

and every T-th step α follows the gradient of the loss on a *held-out* batch, the adapter held fixed. The paper's rules
are AdamW (learning rate 1e-4, betas .9 and .99, linear decay) for θ, Adam (5e-3) for α and T = 10; they are the
defaults. With one output, squared loss and γ > 0, θ converges to the ridge classifier of THEORY §1 for the α of the
moment: exactly so under Adam or SGD, since AdamW's weight decay is one more pull, on A and B apart. Where α comes to
rest is not the α of highest accuracy: `rmt_alpha.trained_alpha`. Without held-out data α follows the loss on the
training data, which is not the paper's procedure: what the adapter has fitted already counts as evidence then.

Stopping rule: `steps` steps; with patience, the first `patience` observations in a row without a new least validation
loss. A number that is no longer finite ends the training as diverged; so does a squared gradient beyond float64, after
which Adam would stand still.

Randomness: minibatches of the training data and of the held-out data have streams of their own, so that the order of
one does not depend on the other. Cost: one forward and one backward pass a step, and before the first step one forward
pass over all data, in slices of 256 rows or of the minibatch, whichever is more, to refuse what does not fit.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from rmt_alpha import _tables
from rmt_alpha._random import Seed, seed_sequence, stream
from rmt_alpha._validation import FloatArray, boolean, check_memory, integer, real, real_array
from rmt_alpha.lora.layers import Arrays, Module, NonFiniteError
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

_SLICE = 256
"""Rows looked at together before the first step, unless a minibatch has more."""

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

    def _repr_html_(self) -> str:
        courses = {"loss": self.loss, "loss of α": self.alpha_loss, "validation loss": self.validation_loss}
        courses |= {f"α of {name or 'the layer'}": course for name, course in self.alpha.items()}
        rows = [(name, course[0], course[-1]) for name, course in courses.items() if len(course)]
        note = f"{_tables.counted(len(self.loss), 'step')}, left at step {self.best_step}"
        stopped = ", stopped early" if self.stopped_early else ""
        return _tables.table(f"History: {note}{stopped}", ("quantity", "first", "last"), rows)


@dataclass
class _Diary:
    """A history in the making."""

    loss: list[float] = field(default_factory=list)
    alpha: list[Arrays] = field(default_factory=list)
    alpha_steps: list[int] = field(default_factory=list)
    alpha_loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    validation_steps: list[int] = field(default_factory=list)
    best: int = 0
    """Which observation was the first with the least loss."""

    def note_alpha(self, alphas: Arrays) -> None:
        self.alpha.append({name: array.copy() for name, array in alphas.items()})
        self.alpha_steps.append(len(self.loss))

    def note_validation(self, value: float) -> None:
        self.validation_loss.append(value)
        self.validation_steps.append(len(self.loss))
        if value < self.validation_loss[self.best]:
            self.best = len(self.validation_loss) - 1

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


def _expect_finite(*arrays: ArrayLike) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise NonFiniteError("a number is not finite")


@contextmanager
def _before_a_step(name: str) -> Iterator[None]:
    """Name the data on which the model has no finite loss or squared gradient before it was trained."""
    try:
        yield
    except NonFiniteError as error:
        raise ValueError(
            f"{name} must be smaller, or the weights: the loss or its squared gradient is not finite before any step"
        ) from error


@dataclass(frozen=True)
class _Objective:
    """The loss of a model on a batch, and its gradients."""

    model: Module
    loss: Loss

    def value(self, batch: Data) -> float:
        return self._at_outputs(batch)[0]

    def gradients(self, batch: Data, ridge: float = 0.0) -> tuple[float, Arrays]:
        value, gradient = self._at_outputs(batch)
        _expect_finite(gradient)
        grads = self.model.parameter_gradients(gradient)
        if ridge:
            size, pull = self.model.update_penalty()
            value += ridge * size
            for name, array in pull.items():
                grads[name] += ridge * array
            _expect_finite(value)
        return value, grads

    def _at_outputs(self, batch: Data) -> tuple[float, FloatArray]:
        """Return the loss and its gradient at the outputs."""
        outputs = self.model.forward(batch[0])
        _expect_finite(outputs)
        result: object = self.loss(outputs, batch[1])
        if not (isinstance(result, tuple | list) and len(result) == 2):
            raise ValueError(f"loss must return a value and a gradient, got {result!r}")
        value = real("loss", result[0], infinite=True, nan=True)
        _expect_finite(value)
        return value, real_array("loss", result[1], infinite=True, nan=True)


class _Descent:
    """Parameters that follow gradients by a rule of their own."""

    def __init__(self, parameters: Arrays, optimizer: Optimizer, decay: Decay) -> None:
        self.parameters, self.optimizer, self.decay = parameters, optimizer, decay
        self.state = optimizer.start(parameters)

    def step(self, grads: Arrays, done: float) -> None:
        _expect_finite(*(np.square(grads[name]) for name in self.parameters))  # before anything moves
        rate = self.optimizer.learning_rate * self.decay(done)
        self.optimizer.step(self.parameters, grads, self.state, rate)


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
        A layer or a network, neither merged nor disabled. Its parameters called ``alpha`` are trained as α, all others
        as the adapter; there may be none of either, not of both.
    inputs : array_like, shape (n, ...)
        Training inputs.
    targets : array_like, shape (n, ...)
        Their targets: of the shape of the outputs for squared loss, classes for cross-entropy.
    loss : {"squared", "cross_entropy"} or callable, default "squared"
        Name of a loss of `rmt_alpha.lora.losses`, or a function that returns a value and its gradient.
    ridge : float, default 0
        Penalty γ ≥ 0 on the squared length of the additive updates ``s BA`` (not on B and A apart); 0 where there are
        none.
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
        Number T of steps of the adapter before each step of α, at most `steps`.
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
    array([1. , 0.3])
    """
    if not isinstance(model, Module):
        raise ValueError(f"model must be a Module of rmt_alpha.lora, got {type(model).__name__}")
    if any(adapter.merged or adapter.disabled for adapter in model._adapters()):
        raise ValueError("model must be neither merged nor disabled to be trained: call unmerge() and enable() first")
    parameters = model.parameters()
    if not parameters:
        raise ValueError("model must have parameters to train, got none")
    alphas = {name: array for name, array in parameters.items() if name.rpartition(".")[2] == "alpha"}
    measure = _choice("loss", loss, LOSSES) if not callable(loss) else loss
    ridge, steps = real("ridge", ridge, 0.0), integer("steps", steps)
    if ridge and not model.update_penalty()[1]:
        raise ValueError(f"ridge must be 0 for a model without an additive update, got {ridge!r}")
    check_memory("the history of so many steps", 8 * steps)
    alpha_every, validate_every = integer("alpha_every", alpha_every), integer("validate_every", validate_every)
    if alphas and alpha_every > steps:
        raise ValueError(f"alpha_every must be at most steps, {steps}, for alpha to be trained, got {alpha_every}")
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
    progress = boolean("progress", progress)

    root = seed_sequence(seed)
    data = _data("inputs", (inputs, targets))
    batches = _batches("batch_size", data, batch_size, stream(root, 0))
    if held_out is not None and not alphas:
        raise ValueError("held_out must be None for a model without a trained alpha, which alone would use it")
    apart = None
    if callable(held_out):
        if alpha_batch_size is not None:
            raise ValueError(f"alpha_batch_size must be None where held_out draws batches, got {alpha_batch_size!r}")
        draws = _drawn(held_out, stream(root, 1))
    else:
        apart = None if held_out is None else _data("held_out", held_out)
        draws = _batches("alpha_batch_size", apart or data, alpha_batch_size, stream(root, 1))
    watched = None if validation is None else _data("validation", validation)

    objective, diary = _Objective(model, measure), _Diary()
    for name, known, size in (("inputs", data, batch_size), ("held_out", apart, alpha_batch_size)):
        with _before_a_step(name):  # what does not fit is refused before anything is changed
            for part in _slices(known, size) if known else ():
                objective.value(part)
    best_state: Arrays = {}

    def observe(known: Data) -> None:
        diary.note_validation(objective.value(known))
        if patience is not None and not diary.idle:
            best_state.update(model.state_dict())

    diary.note_alpha(alphas)
    if watched is not None:
        with _before_a_step("validation"):
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
        _expect_finite(*parameters.values())
    except NonFiniteError as error:
        if not diary.loss:
            with _before_a_step("inputs"):
                raise
        diverged = f"the learning rate must be smaller: the training diverged after {len(diary.loss)} steps"
        raise ValueError(diverged) from error
    finally:
        if patience is not None:
            model.load_state_dict(best_state)
        model._forget()
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
    if isinstance(batch[1], np.ma.MaskedArray):
        raise ValueError(f"{name} must not have a masked array of targets: fill or drop the masked entries first")
    try:
        targets = np.asarray(batch[1])
    except ValueError as error:
        raise ValueError(f"{name} must have targets that are an array: {error}") from None
    if targets.dtype.kind == "f" and not np.isfinite(targets).all():
        raise ValueError(f"{name} must have targets that are finite, got one that is not")
    if inputs.ndim == 0 or targets.ndim == 0 or len(inputs) != len(targets) or not len(inputs):
        raise ValueError(f"{name} must have as many rows as its targets, got shapes {inputs.shape}, {targets.shape}")
    return inputs, targets


def _slices(data: Data, size: int | None) -> Iterator[Data]:
    """Yield all data in order, in batches of at least `_SLICE` rows."""
    inputs, targets = data
    size = len(inputs) if size is None else max(int(size), _SLICE)
    for first in range(0, len(inputs), size):
        yield inputs[first : first + size], targets[first : first + size]


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
